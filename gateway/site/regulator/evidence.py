"""One decision explained: what was asked, every rule, the facts, and the proof that the record is what was written."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.genuine import masked_name
from gateway.core.model import Decision, Facts
from gateway.core.policy import Rulebook, from_document
from gateway.core.reasons import REASONS, Reason
from gateway.core.trace import Step, trace
from gateway.gate.entry import DecisionBody
from gateway.gate.explain import decide_again, judgement_in
from gateway.site.regulator import words
from gateway.site.regulator.ground import Crumb, crumbs_to
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.journal import policy_document
from gateway.store.proof import Proof, proof


class Evidence(Struct, frozen=True):
    """``again`` is the decision made anew from the record; None where the policy that decided is no longer kept."""

    proof: Proof
    body: DecisionBody
    steps: tuple[Step, ...]
    again: Decision | None
    name: str | None
    firm: str | None


def evidence(connection: Connection, seq: int) -> Evidence | None:
    """None where the record is none of a decision."""
    found = proof(connection, seq)
    body = None if found is None else _judged(found)
    if found is None or body is None:
        return None
    stored = policy_document(connection, body.policy)
    rulebook = Rulebook(from_document(stored)) if stored is not None else None
    steps = trace(body.asked, body.facts, body.decision, rulebook) if rulebook else ()
    again = decide_again(body, rulebook) if rulebook else None
    operator_id, machine = body.facts.operator_id, body.facts.machine
    person = overview.operator(connection, operator_id) if operator_id else None
    firm = overview.firm(connection, machine.uscc) if machine else None
    return Evidence(found, body, steps, again, person.name if person else None, firm.name if firm else None)


def _judged(found: Proof) -> DecisionBody | None:
    try:
        return judgement_in(found.record)
    except (msgspec.MsgspecError, UnicodeError):
        return None


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/decisions/{seq}``."""
    seq = visit.named("seq")
    found = await visit.parts.read(evidence, int(seq)) if seq.isascii() and seq.isdigit() and len(seq) < 19 else None
    if found is None or not _is_within(visit, found.body.facts):
        raise web.HTTPNotFound
    facts, decision = found.body.facts, found.body.decision
    machine = facts.machine
    here = Crumb(visit.request.path, visit.text("第 %(seq)s 号记录", seq=seq))
    above = [Crumb(f"/r/firms/{machine.uscc}", found.firm or machine.uscc)] if machine else []
    above += [Crumb(f"/r/machines/{machine.machine_id}", machine.machine_id)] if machine else []
    return visit.page(
        "regulator/decision.html",
        crumbs=crumbs_to(visit, machine.division if machine else None, *above, here),
        found=found,
        facts=facts,
        decision=decision,
        told=told(decision),
        person=masked_name(found.name),
        reasons=REASONS,
        words=words,
    )


def _is_within(visit: Visit, facts: Facts) -> bool:
    """By where the machine was when it was decided."""
    machine = facts.machine
    return visit.reach.holds_firm(machine.division, machine.uscc) if machine else visit.reach.holds_firm("", "")


class Told(Struct, frozen=True):
    """A code of a decision with its words. ``result`` is a key of ``words.RESULTS``."""

    result: str
    reason: Reason


def told(decision: Decision) -> list[Told]:
    """What refused, then what was let pass."""
    results: dict[str, Any] = {
        "refused": decision.reasons,
        "overridden": decision.overridden,
        "warned": decision.warnings,
    }
    return [Told(result, REASONS[code]) for result, codes in results.items() for code in codes]
