"""Unlocks by a signed list while a chip has no connection: offered, and decided again afterwards. Ids GW-5."""

import time

from msgspec import UNSET

from gateway.core.credential import offline_digest
from gateway.wire.tokens import Command
from simulator.conformance.cases import expect
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.sessions import codes
from simulator.conformance.gateway.stand import Place, Stand, now_ms

LIST = "Command claims: offline_list"
UNLOCK = "Chip → gateway: event"
NEEDS = ("offline",)
LIST_WITHIN_S = 10.0
"""A gateway may wait until a chip that has just connected has repeated its requests."""
LEASE_S = 20


async def listed(stand: Stand, place: Place) -> Command:
    """The pair's welder works there once; the list that the chip is then sent for its present challenge."""
    session_id, _ = await stand.unlocked(place)
    await stand.event(place.machine_id, "locked", session_id, reason="operator")
    challenge = f"challenge-{session_id}"
    await stand.status(place.machine_id, place.serial, challenge)
    if await stand.any_command(place.machine_id, ("config", "offline_list"), LIST_WITHIN_S) == "config":
        challenge += "-2"  # a chip that takes its setting shows a fresh one
        await stand.status(place.machine_id, place.serial, challenge)
    found = await stand.command(place.machine_id, "offline_list", within_s=LIST_WITHIN_S)
    await stand.forget_status(place.machine_id)
    expect(found.cha == challenge, "the challenge of the latest status", found.cha)
    return found


async def unlocked_offline(stand: Stand, place: Place, badge: str, version: int) -> str:
    """The chip tells afterwards of an unlock by its list; the session's id, which is of the chip's own."""
    session_id = stand.new_id("offline")
    entry = offline_digest(place.machine_id, badge)
    detail = {"entry": entry, "list_version": version, "lease_s": LEASE_S, "method": "scan"}
    await stand.event(place.machine_id, "offline_unlock", session_id, detail=detail, at=now_ms() - 1_000)
    return session_id


@case(
    "GW-5.1",
    "A machine's latest welder stands on its signed offline list, for a time that ends",
    "本机最近的焊工列入签名离线名单，并有截止时间",
    LIST,
    takes_s=3,
    needs=NEEDS,
)
async def list_of_the_latest(stand: Stand) -> None:
    place = stand.place()
    found = await listed(stand, place)
    entries = dict(() if found.entries is UNSET else found.entries)
    until = entries.get(offline_digest(place.machine_id, place.badge), 0)
    expect(until > time.time(), f"an entry for {place.badge} that is not over", entries)
    bounded = (found.list_version, found.offline_for_s, found.lease_s)
    expect(all(one is not UNSET and one >= 1 for one in bounded), "list_version, offline_for_s and lease_s", bounded)


@case(
    "GW-5.2",
    "An unlock by the list is a session like any other once it is told: nobody else is let in there",
    "事后补报的离线解锁同样构成会话：他人不得使用该设备",
    UNLOCK,
    needs=NEEDS,
)
async def offline_session(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    session_id = await unlocked_offline(stand, place, place.badge, 1)
    decision = await stand.ask(place.machine_id, other.badge)
    expect(codes(decision) == ["machine_in_session"], "machine_in_session", codes(decision) or "allow")
    await stand.event(place.machine_id, "locked", session_id, reason="operator")


@case(
    "GW-5.3",
    "An unlock by the list that would have been refused is told: an alert, and its session is locked",
    "事后判定应拒绝的离线解锁：报警并锁定该会话",
    UNLOCK,
    needs=NEEDS,
)
async def refused_afterwards(stand: Stand) -> None:
    place = stand.place()
    session_id = await unlocked_offline(stand, place, "CKP-REVOKED-SINCE", 1)
    lock = await stand.command(place.machine_id, "lock")
    expect(lock.sid == session_id, f"a lock of {session_id}", lock.sid)
    await stand.feed(
        "alert",
        lambda one: (one.get("session_id"), one.get("kind")) == (session_id, "offline_refused"),
        f"alert offline_refused for {session_id}",
    )
    await stand.event(place.machine_id, "locked", session_id, reason="remote")
