"""Unlocks without a connection: who may, as a signed list for each machine; and what was done with it, decided again.

A list holds the machine's latest welders who would be let in, each until their ground ends. It goes to chips that have
a clock, for their present challenge; a fresh challenge afterwards shows that it was taken.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.core.credential import offline_digest
from gateway.core.decide import standing
from gateway.core.lease import CLOCK_ERROR_S, COMMAND_TTL_S, lasts_until, over_at
from gateway.core.model import Asked, Event, Facts, Method, Millis, Status
from gateway.gate.entry import DecisionBody, Entry
from gateway.gate.leases import new_id
from gateway.gate.lists import SETTLED_MS, OfflineList, Welders
from gateway.gate.sessions import Session
from gateway.gate.state import GateState
from gateway.observe.events import JudgedAfterwards, Observed, SessionEnded
from gateway.wire.tokens import Command

REFUSED_MS = 60_000
"""A chip that refused a list for its challenge shows another one first; if not, it is tried again after a minute."""
OFFERED_AT_ONCE = 100
"""Lists made at a tick: each looks at a machine's welders, some ten milliseconds in all."""
MAX_LEASE_S = 30 * 86_400
NO_END_S = 4_102_444_800
"""The year 2100, for those whose ground no day ends: how long a list may be used is bounded anyway."""
_encode = msgspec.json.Encoder().encode


# --- lists ------------------------------------------------------------------------------------------------------


def offered(state: GateState) -> bool:
    """Whether chips get lists at all: a rolling code cannot be checked without the gateway, so badges must count."""
    policy = state.rulebook.policy
    return policy.offline.for_s > 0 and "badge" in policy.credentials.kinds


def show_status(state: GateState, machine_id: str, status: Status, *, fresh: bool) -> None:
    """A chip showed its status: note whether it took its list, and look at the list soon."""
    offline = state.offline
    if fresh:
        offline.show_fresh(machine_id, state.wall_ms())
    if not status.online:
        offline.asked.pop(machine_id, None)
    if status.online and (offered(state) or machine_id in offline.sent):
        offline.due[machine_id] = state.wall_ms() + SETTLED_MS


def hear_refusal(state: GateState, machine_id: str, event: Event) -> None:
    """A chip refused a grant or a command: perhaps its list."""
    command_id, held = event.detail.get("command_id"), event.detail.get("list_version")
    wait_ms = SETTLED_MS if event.reason in ("other_list", "replayed") else REFUSED_MS
    state.offline.refuse(machine_id, command_id, held, state.wall_ms() + wait_ms)


def lists_due(state: GateState, now: Millis) -> list[Entry]:
    """Lists that have to be sent by now."""
    offline = state.offline
    ready = [machine_id for machine_id, at in offline.due.items() if at <= now][:OFFERED_AT_ONCE]
    for machine_id in ready:
        del offline.due[machine_id]
    return [entry for machine_id in ready if (entry := _offer(state, machine_id, now)) is not None]


def _offer(state: GateState, machine_id: str, now: Millis) -> Entry | None:
    """The machine's list, where its chip may not have it as it is now, or has not heard from us for long."""
    chip, before = state.chips[machine_id], state.offline.sent.get(machine_id)
    if not chip.online or not chip.clock or chip.challenge is None:
        return None
    session = state.sessions.at_machine(machine_id)
    if state.settings.under_way(machine_id, now) or (session is not None and session.state == "granted"):
        state.offline.due[machine_id] = now + SETTLED_MS
        return None
    current = _current(state, machine_id, now)
    if before is None and not current.welders:
        return None
    same = before is not None and before.content == current.content
    if before is not None:
        if same and state.offline.taken.get(machine_id) == before.version and not _long_ago(before, now):
            _look_again_in_time(state, machine_id, before)
            return None
        current = structs.replace(current, version=before.version if same else before.version + 1)
    command = _command(state, machine_id, current, before)
    state.offline.sent[machine_id], state.offline.asked[machine_id] = current, command.jti
    _look_again_in_time(state, machine_id, current)
    row = (machine_id, current.version, now, current.for_s, current.lease_s, _encode(current.welders))
    return Entry(command=command, offline_list=None if same else row)


def _current(state: GateState, machine_id: str, now: Millis) -> OfflineList:
    policy = state.rulebook.policy.offline
    if not offered(state):
        return OfflineList(1, now, 0, policy.lease_s, ())
    return OfflineList(1, now, policy.for_s, policy.lease_s, _welders(state, machine_id, now))


def _long_ago(held: OfflineList, now: Millis) -> bool:
    return held.for_s > 0 and now - held.at >= held.for_s * 500


def _look_again_in_time(state: GateState, machine_id: str, current: OfflineList) -> None:
    """A chip may use its list for a while after the last contact: half of that later it hears from us again."""
    if current.for_s:
        state.offline.due[machine_id] = current.at + current.for_s * 500


def _welders(state: GateState, machine_id: str, now: Millis) -> Welders:
    """The machine's latest welders who would be let in with their badge now, and until when."""
    policy = state.rulebook.policy.offline
    since = now - policy.recent_days * 86_400_000
    found = []
    for operator_id in state.offline.latest(machine_id, since, policy.operators):
        facts = _without_sessions(state.facts(machine_id, operator_id))
        decision, until = standing(_asked(operator_id, None, None), facts, state.rulebook)
        if decision.outcome == "allow":
            found.append((operator_id, NO_END_S if until is None else until // 1000))
    return tuple(sorted(found))


def _without_sessions(facts: Facts) -> Facts:
    """An override is for the one time that two people had in mind, and running work stands in nobody's way later."""
    return structs.replace(facts, machine_session=None, operator_session=None, override=None)


def _command(state: GateState, machine_id: str, current: OfflineList, before: OfflineList | None) -> Command:
    """The whole list, or the difference to the one that the chip is known to hold, whichever says less."""
    challenge, now = state.chips[machine_id].challenge, current.at
    entries = _digests(machine_id, current.welders)
    base: int | UnsetType = UNSET
    gone: tuple[str, ...] | UnsetType = UNSET
    if (
        before is not None
        and before.version < current.version
        and state.offline.taken.get(machine_id) == before.version
    ):
        held = _digests(machine_id, before.welders)
        news = tuple(entry for entry in entries if entry not in held)
        left = {digest for digest, _ in held} - {digest for digest, _ in entries}
        if len(news) + len(left) < len(entries):
            base, gone, entries = before.version, tuple(sorted(left)), news
    return Command(
        aud=machine_id,
        cmd="offline_list",
        exp=now // 1000 + COMMAND_TTL_S,
        iat=now // 1000,
        jti=new_id(),
        cha=challenge or "",
        list_version=current.version,
        base_version=base,
        entries=entries,
        gone=gone,
        offline_for_s=current.for_s,
        lease_s=current.lease_s,
    )


def _digests(machine_id: str, welders: Welders) -> Welders:
    return tuple((offline_digest(machine_id, operator_id), until) for operator_id, until in welders)


# --- what was done with them ------------------------------------------------------------------------------------


class Told(Struct, frozen=True):
    """What an ``offline_unlock`` tells in its detail."""

    entry: str = ""
    list_version: int = 0
    lease_s: Annotated[int, Meta(ge=0, le=MAX_LEASE_S)] = 0
    method: Method | None = None


def judge(state: GateState, machine_id: str, event: Event, observed: list[Observed]) -> DecisionBody:
    """Decide an unlock that has happened, on what is known now and the time at which it happened, and open its
    session. Where it would have been refused, the session is locked as any other that may not go on."""
    now = state.wall_ms()
    told = _told(event)
    at = event.at if event.at is not None and event.at <= now else now
    stale = _make_way(state, machine_id, at, observed)
    operator_id = _who(state, machine_id, told.entry)
    asked = _asked(event.event_id, told.method, event.at)
    known = state.facts(machine_id, operator_id)
    permits = state.permits(known.machine, known.operator_id, at)
    facts = structs.replace(known, now=at, clock_behind_s=0, permits=permits)
    decision = standing(asked, facts, state.rulebook)[0]
    if event.session_id is not None and not stale:
        session = _open(state, machine_id, event, facts, told.lease_s, at)
        session.live.denied = decision.outcome == "deny" or not (offered(state) or machine_id in state.offline.sent)
    observed.append(JudgedAfterwards(machine_id, facts, decision))
    return DecisionBody(asked, decision, facts, state.rulebook.hash, state.snapshot.version, ())


def _told(event: Event) -> Told:
    try:
        return msgspec.convert(event.detail, Told)
    except msgspec.ValidationError:
        return Told()


def _asked(request_id: str, method: Method | None, at: Millis | None) -> Asked:
    return Asked(request_id, credential="", credential_kind="badge", challenge="", method=method, at=at)


def _make_way(state: GateState, machine_id: str, at: Millis, observed: list[Observed]) -> bool:
    """A chip unlocks offline from an open relay only: whatever session was open before is over.

    True where a later session is open: this one has long ended, and its news was overtaken.
    """
    before = state.sessions.at_machine(machine_id)
    if before is not None and at < before.granted_at:
        return True
    if before is not None and state.sessions.step(before, "replaced", at, "replaced"):
        observed.append(SessionEnded(before.session_id, machine_id, before.division, "replaced"))
    return False


def _who(state: GateState, machine_id: str, digest: str) -> str | None:
    """The person behind an entry: on the last list, else among those who are or were employed by the machine's firm."""
    machine, listed = state.snapshot.machines.get(machine_id), state.offline.sent.get(machine_id)
    people = [operator_id for operator_id, _ in listed.welders] if listed else []
    if machine is not None:
        employed = state.snapshot.employments.items()
        people += [who for who, works in employed if any(work.uscc == machine.uscc for work in works)]
    return next((who for who in people if offline_digest(machine_id, who) == digest), None)


def _open(state: GateState, machine_id: str, event: Event, facts: Facts, lease_s: int, at: Millis) -> Session:
    """The session as it is: of a person who is in another one, it names nobody, and the record tells who it was.

    Its lease is reckoned from now on: a chip's clock may be wrong, and what has ended already is told right after.
    """
    operator_id, listed = facts.operator_id, state.offline.sent.get(machine_id)
    longest = max(state.rulebook.policy.offline.lease_s, listed.lease_s if listed else 0)
    lease_s = min(lease_s or longest, longest)
    lease_until = lasts_until(state.wall_ms() + CLOCK_ERROR_S * 1000, lease_s)
    session = Session(
        session_id=event.session_id or "",
        machine_id=machine_id,
        operator_id=None if state.sessions.of_operator(operator_id) else operator_id,
        request_id=event.event_id,
        division=facts.machine.division if facts.machine else None,
        granted_at=at,
        unlocked_at=at,
        open_until=over_at(lease_until, state.drain_s),
        has_clock=event.at is not None,
        offline=True,
        lease_s=lease_s,
        leased_at=at,
        lease_until=lease_until,
    )
    state.sessions.open(session)
    state.agenda.review((session,))
    return session
