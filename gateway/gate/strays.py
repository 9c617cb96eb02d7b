"""A relay that is closed without a session: after a restore from an old backup, an override, or a fault of the lock."""

from gateway.core.model import Millis, Usage
from gateway.gate.alerts import alert
from gateway.gate.entry import CommandBody, Entry
from gateway.gate.leases import lock_unknown
from gateway.gate.state import GateState, Stray
from gateway.observe.events import StrayRelay
from gateway.store.ledger import Draft
from gateway.wire.codec import encode

OLD_MS = 60_000
"""Usage that a chip dates further back was kept while it was offline, and shows what is over."""
FORGOTTEN_MS = 600_000
LOCKED_AGAIN_MS = 60_000
PACE_MS = 5_000
READ_AGAIN_MS = 10_000
"""For another session of the same machine the database is asked again after so long."""
SETTLES_MS = 60_000
"""So long after a chip's word that its session is over, reports of before may still come, or come again."""
END_MS = 5_000
"""A report that a chip dates later than so long after the end of its session is none of before."""


def is_live(usage: Usage, now: Millis, *, clock: bool = True) -> bool:
    """Whether the report shows a relay that is closed at present. Without a trustworthy clock it may."""
    kept = clock and usage.at is not None and now - usage.at > OLD_MS
    return usage.relay == "closed" and not usage.final and not kept


def _is_of_before(state: GateState, usage: Usage, now: Millis) -> bool:
    """Whether the report may have been sent before its chip told the end of the session, and overtaken by that."""
    told = state.sessions.told_end(usage.session_id)
    if told is None or not 0 <= now - told.heard_at <= SETTLES_MS:
        return False
    return usage.at is None or told.chip_at is None or usage.at <= told.chip_at + END_MS


def _keeps_pace(seen: Stray, usage: Usage, now: Millis) -> bool:
    """Whether the chip's clock went on between two reports as ours did, however wrong it is: they are of now. What was
    kept while it was offline comes all at once."""
    if usage.at is None or seen.chip_at is None:
        return True
    passed_ms = now - seen.at
    return passed_ms >= PACE_MS and abs(usage.at - seen.chip_at - passed_ms) <= passed_ms // 2


def lock_stray(state: GateState, machine_id: str, usage: Usage, entry: Entry) -> Entry:
    """Send a lock to a chip whose relay is closed for a session that is not open, and tell somebody.

    At the first report the sessions are read back: another gateway may have opened this one. At the next it is locked,
    and again every minute. A chip that invents sessions must not keep the gate busy either.
    """
    now, session_id = state.wall_ms(), usage.session_id
    seen = state.strays.get(machine_id)
    closed = usage.relay == "closed" and not usage.final
    if not closed or _is_of_before(state, usage, now) or state.in_doubt:
        return entry
    if seen is None or seen.session_id != session_id or not 0 <= now - seen.at < FORGOTTEN_MS:
        if seen is None or not 0 <= now - seen.at < READ_AGAIN_MS:
            state.strays[machine_id] = Stray(session_id, now, usage.at)
            state.in_doubt = True
        return entry
    waits = seen.locked and now - seen.at < LOCKED_AGAIN_MS
    if waits or not (is_live(usage, now) or _keeps_pace(seen, usage, now)):
        return entry
    state.strays[machine_id] = Stray(session_id, now, usage.at, locked=True)
    command = lock_unknown(state, machine_id, session_id, now)
    entry.draft = Draft("command", now, encode(CommandBody(command, "no_session")), machine_id, command.jti)
    entry.command = command
    entry.feed = alert(state, "relay_closed_without_session", machine_id, session_id)
    entry.observed += (StrayRelay(machine_id, session_id),)
    return entry
