"""Who may weld where today and why not: the one decision, asked about somebody who has not asked."""

from collections.abc import Iterable

from msgspec import Struct, structs

from gateway.core.decide import decide
from gateway.core.model import Asked, Decision
from gateway.gate.state import GateState

_NOBODY_ASKED = Asked(request_id="", credential="", credential_kind="session", challenge="")
"""As a running session is looked at again: by whatever credential the policy accepts."""


class Prospect(Struct, frozen=True):
    """What a request would lead to now."""

    machine_id: str
    operator_id: str
    decision: Decision

    @property
    def allowed(self) -> bool:
        return self.decision.outcome == "allow"


def prospect(state: GateState, machine_id: str, operator_id: str) -> Prospect:
    """Whether this person could start this machine, whoever welds there or elsewhere at the moment.

    INVARIANT: nothing but ``decide`` says who may weld.
    """
    facts = state.facts(machine_id, operator_id)
    facts = structs.replace(facts, machine_session=None, operator_session=None)
    return Prospect(machine_id, operator_id, decide(_NOBODY_ASKED, facts, state.rulebook))


def prospects(state: GateState, machine_ids: Iterable[str], operator_ids: Iterable[str]) -> list[Prospect]:
    """Each of these people at each of these machines."""
    people = list(operator_ids)
    return [prospect(state, machine_id, operator_id) for machine_id in machine_ids for operator_id in people]
