"""People whom the registries do not hold as they would have to be let in: a source is asked, and their request waits.

Whoever was certified a moment ago may stand at a machine before any sync has brought the news. Each person is asked
about once in a while, whatever the answer was: whoever scans again and again does not make the gateway ask as often.
"""

from collections import OrderedDict

from gateway.core.model import Decision, Millis

ASKED_AGAIN_AFTER_MS = 30_000
"""An answer counts for so long, from the moment it was given: using it does not make it last."""
REMEMBERED = 10_000
"""People asked about lately; the earliest is forgotten first."""
CURABLE = frozenset(
    {
        "credential_unknown",
        "operator_unknown",
        "operator_not_employed",
        "employment_ended",
        "certificate_missing",
        "certificate_wrong_item",
        "certificate_not_yet_valid",
        "certificate_expired",
        "certificate_review_overdue",
        "certificate_suspended",
        "certificate_unverified",
    }
)
"""What fresher registries may cure. With any other reason nothing would come of asking."""


class Lookups:
    """Who is to be asked about, and who was. ``offered``: there is a source that can be asked."""

    def __init__(self) -> None:
        self.offered = False
        self._answered: OrderedDict[str, Millis] = OrderedDict()

    def wanted(self, operator_id: str, decision: Decision, now: Millis) -> bool:
        """Whether a refusal should wait for a source's answer about this person."""
        return (
            self.offered
            and decision.outcome == "deny"
            and CURABLE.issuperset(decision.reasons)
            and now - self._answered.get(operator_id, -ASKED_AGAIN_AFTER_MS) >= ASKED_AGAIN_AFTER_MS
        )

    def answered(self, operator_id: str, now: Millis) -> None:
        """A source has answered, or failed to: for a while nobody waits for it again."""
        self._answered.pop(operator_id, None)
        self._answered[operator_id] = now
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
