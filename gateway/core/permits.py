"""Hot-work permits: whom and what one covers, how long it counts, and which a decision has to know. Pure."""

from collections.abc import Iterable

from gateway.core.model import Machine, Millis, Permit
from gateway.core.policy import Permits

HOUR_MS = 3_600_000
AHEAD_MS = 24 * HOUR_MS
"""Permits that begin later are of no concern yet: a lease that could reach them is looked at again before."""
MOST = 20
"""Permits in one record: a firm may issue hundreds that name nobody."""

Span = tuple[Millis, Millis]


def covers(permit: Permit, machine: Machine, operator_id: str | None, rules: Permits) -> bool:
    """Whether a permit, while it lasts, is one for this person at this machine.

    INVARIANT: whoever welds is not the one who watches for fire. A guardian who is named by name alone cannot be told
    from the welder: names are no fact of a decision.
    """
    return (
        permit.status == "approved"
        and permit.uscc == machine.uscc
        and permit.machine_id in (None, machine.machine_id)
        and permit.operator_id in (None, operator_id)
        and (permit.guardian is None or permit.guardian != operator_id)
        and (permit.guardian is not None or not rules.guardian_required)
    )


def counts_from_to(permit: Permit, rules: Permits) -> Span:
    """From its start to its end or, if that comes first, as long as its level may last."""
    return permit.starts_at, min(permit.ends_at, permit.starts_at + rules.longest_hours(permit.level) * HOUR_MS)


def of_concern(permits: Iterable[Permit], operator_id: str | None, now: Millis) -> tuple[Permit, ...]:
    """Of permits for a person and machine those that a decision has to know: what goes on or begins within a day,
    and the latest that is over. By start; of more than ``MOST`` those that are likeliest to count.
    """
    current, latest = [], None
    for permit in permits:
        if permit.ends_at > now:
            if permit.starts_at <= now + AHEAD_MS:
                current.append(permit)
        elif _may_count(permit, operator_id) and (latest is None or latest.ends_at < permit.ends_at):
            latest = permit
    if len(current) > MOST:
        current = sorted(current, key=lambda permit: _likely(permit, operator_id, now))[-MOST:]
    known = current if latest is None else [latest, *current]
    return tuple(sorted(known, key=lambda permit: (permit.starts_at, permit.permit_id)))


def _likely(permit: Permit, operator_id: str | None, now: Millis) -> tuple[bool, bool, bool, Millis]:
    """One that has begun before one that has not, with a guardian before without, later before earlier."""
    return _may_count(permit, operator_id), permit.starts_at <= now, permit.guardian is not None, permit.starts_at


def _may_count(permit: Permit, operator_id: str | None) -> bool:
    return permit.status == "approved" and (permit.guardian is None or permit.guardian != operator_id)
