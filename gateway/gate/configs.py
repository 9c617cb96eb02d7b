"""Chips go by the policy's idle lock and drain deadline: each is told by ``config`` at connect, and when they change.

Nothing that has to be safe rests on that a chip took it: the wire shows no more than that its challenge was used up.
"""

from gateway.core.lease import COMMAND_TTL_S
from gateway.core.model import Event, Millis, Status
from gateway.gate.entry import Entry
from gateway.gate.leases import new_id
from gateway.gate.lists import SETTLED_MS
from gateway.gate.settings import Asked, Setting
from gateway.gate.state import GateState
from gateway.wire.tokens import Command

TOLD_AGAIN_MS = 600_000
"""A chip that seems not to have taken it is told again after so long."""
TOLD_AT_ONCE = 100
"""Chips told at a tick: a county's within half a minute."""


def wanted(state: GateState) -> Setting:
    lease = state.rulebook.policy.lease
    return Setting(lease.idle_lock_s, lease.drain_deadline_s)


def hear_status(state: GateState, machine_id: str, status: Status, *, back: bool, fresh: bool) -> None:
    """A chip showed its status: note whether it took its setting, else tell it soon; also one that is ``back``."""
    settings, now = state.settings, state.wall_ms()
    if back:
        settings.begin_anew(machine_id, now + SETTLED_MS)
    elif fresh:
        settings.show_fresh(machine_id, now)
    if status.online and settings.held.get(machine_id) != wanted(state) and not settings.under_way(machine_id, now):
        settings.due[machine_id] = now + SETTLED_MS


def hear_event(state: GateState, machine_id: str, event: Event) -> None:
    """A chip began anew, or refused a command."""
    now = state.wall_ms()
    if event.kind == "boot":
        state.settings.begin_anew(machine_id, now + SETTLED_MS)
    elif event.kind == "grant_rejected":
        state.settings.refuse(machine_id, event.detail.get("command_id"), now + TOLD_AGAIN_MS)


def configs_due(state: GateState, now: Millis) -> list[Entry]:
    """Chips that have to be told by now."""
    due = state.settings.due
    ready = [machine_id for machine_id, at in due.items() if at <= now][:TOLD_AT_ONCE]
    for machine_id in ready:
        del due[machine_id]
    return [Entry(command=command) for machine_id in ready if (command := _config(state, machine_id, now))]


def _config(state: GateState, machine_id: str, now: Millis) -> Command | None:
    """The command for the chip's present challenge, unless something else is under way that uses it up."""
    settings, chip, setting = state.settings, state.chips[machine_id], wanted(state)
    if settings.held.get(machine_id) == setting or not chip.online or chip.challenge is None:
        return None
    if _challenge_in_use(state, machine_id, chip.challenge, now):
        settings.due[machine_id] = now + SETTLED_MS
        return None
    asked = settings.asked[machine_id] = Asked(new_id(), setting, now)
    settings.due[machine_id] = now + TOLD_AGAIN_MS
    return Command(
        aud=machine_id,
        cmd="config",
        exp=now // 1000 + COMMAND_TTL_S,
        iat=now // 1000,
        jti=asked.command_id,
        cha=chip.challenge,
        idle_lock_s=setting.idle_lock_s,
        drain_deadline_s=setting.drain_deadline_s,
    )


def _challenge_in_use(state: GateState, machine_id: str, challenge: str, now: Millis) -> bool:
    """Whether a grant, a renewal or a list may be on its way for it."""
    session = state.sessions.at_machine(machine_id)
    if session is not None and (session.state == "granted" or session.live.asked_with == challenge):
        return True
    return state.offline.under_way(machine_id, now)
