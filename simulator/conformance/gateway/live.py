"""A running session: renewed while it may go on, locked once it may not. Ids GW-4."""

import asyncio
import time
from functools import partial

from msgspec import UNSET, Struct

from gateway.wire.tokens import Command
from simulator.conformance.cases import NotRun, expect
from simulator.conformance.gateway import county
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.stand import Place, Stand

LEASES = "Command claims: renew, lock"
USAGE_EVERY_S = 10.0
"""As a chip reports: a lease of 20 s or less cannot be renewed before its half by that."""
REVOCATION_S = 10.0
"""Revocation reaches a running session without anybody scanning again: the import, a review, a signed word."""
RESENT_WITHIN_S = 15.0
ANSWERED_WITHIN_S = 1.0
"""A renewal that a report leads to is there by then."""


class Live(Struct, frozen=True):
    """A session that works and reports: what was sent to it; times in seconds since it began."""

    session_id: str
    machine_id: str
    lease_s: int
    renewals: list[tuple[float, Command]]


async def working_session(stand: Stand) -> Live:
    """Played once: usage as often as a chip reports, until two renewals came or one and a half leases are over."""
    place = stand.place()
    await stand.status(place.machine_id, place.serial, "challenge-live")
    session_id, grant = await stand.unlocked(place)
    _short(stand, grant.lease_s)
    began, seq = time.monotonic(), 0
    while len(renewals := _renewals(stand, place, began)) < 2 and time.monotonic() - began < 1.5 * grant.lease_s:
        await asyncio.sleep(began + (seq + 1) * USAGE_EVERY_S - time.monotonic())
        seq += 1
        await stand.usage(place.machine_id, session_id, seq)
        await stand.air.until(partial(_more, stand, place, len(renewals)), ANSWERED_WITHIN_S)
    await stand.forget_status(place.machine_id)
    return Live(session_id, place.machine_id, grant.lease_s, renewals)


def _renewals(stand: Stand, place: Place, began: float) -> list[tuple[float, Command]]:
    return [(at - began, command) for at, command in stand.timed_commands(place.machine_id, "renew")]


def _more(stand: Stand, place: Place, known: int) -> bool | None:
    return len(stand.commands(place.machine_id, "renew")) > known or None


def _short(stand: Stand, lease_s: int) -> None:
    if lease_s > stand.options.longest_s:
        raise NotRun(f"leases of {lease_s} s: configure the gateway to {stand.options.longest_s:g} s or less")


@case(
    "GW-4.1",
    "A session that reports usage is renewed before half of its lease is gone",
    "持续上报用量的会话在租期过半前续期",
    LEASES,
    takes_s=20,
)
async def renewed_in_time(stand: Stand) -> None:
    live = await stand.observed(working_session)
    after_s = live.renewals[0][0] if live.renewals else None
    half_s = live.lease_s / 2
    expect(after_s is not None and after_s < half_s, f"a renewal within {half_s:g} s of {live.lease_s}", after_s)


@case(
    "GW-4.2", "Renewals name machine and session, and their n rises from 1", "续期命令含设备与会话，n 从 1 递增", LEASES
)
async def renewals_fit(stand: Stand) -> None:
    live = await stand.observed(working_session)
    commands = [command for _, command in live.renewals]
    expect(len(commands) >= 2, "two renewals within one and a half leases", len(commands))
    for command in commands:
        told = (command.aud, command.sid)
        expect(told == (live.machine_id, live.session_id), f"aud and sid of {live.session_id}", told)
        expect(command.lease_s is not UNSET and command.lease_s >= 1, "a lease_s", command)
    numbers = [command.n for command in commands]
    expect(numbers[0] >= 1 and numbers == sorted(set(numbers)), "n rising from 1", numbers)
    expect(len({command.jti for command in commands}) == len(commands), "a command_id each", commands)


class Revoked(Struct, frozen=True):
    """A session whose welder's certificate was revoked while it ran; times in seconds since the import."""

    place: Place
    session_id: str
    locks: list[tuple[float, Command]]
    renewals_after: int
    locks_after_locked: int
    refused_after: list[str]


async def revoked_session(stand: Stand) -> Revoked:
    """Played once: revoke, keep working until two locks came, then lock."""
    stand.need(stand.hooks.import_files, "--import-command with {folder} in it")
    place = stand.place()
    await stand.status(place.machine_id, place.serial, "challenge-revoked")
    session_id, _ = await stand.unlocked(place)
    await stand.usage(place.machine_id, session_id, 1)
    expect(await stand.import_tables(county.revoked(stand.files, place.badge)), "the import taken", "refused")
    began, seq = time.monotonic(), 1
    locks: list[tuple[float, Command]] = []
    before = len(stand.commands(place.machine_id, "renew"))
    while len(locks) < 2 and time.monotonic() - began < REVOCATION_S + RESENT_WITHIN_S:
        seq += 1
        await stand.usage(place.machine_id, session_id, seq)
        await stand.air.until(lambda: None, 0.5)
        seen = stand.commands(place.machine_id, "lock")
        locks += [(time.monotonic() - began, one) for one in seen[len(locks) :]]
    renewals = len(stand.commands(place.machine_id, "renew")) - before
    await stand.event(place.machine_id, "locked", session_id, reason="revoked")
    told = len(stand.commands(place.machine_id, "lock"))
    again = await stand.ask(place.machine_id, place.badge)
    await stand.air.until(lambda: None, RESENT_WITHIN_S / 2 if locks else 0)
    after = len(stand.commands(place.machine_id, "lock")) - told
    await stand.forget_status(place.machine_id)
    await stand.import_tables(stand.files)
    codes = [reason.code for reason in again.reasons]
    return Revoked(place, session_id, locks, renewals, after, codes)


@case(
    "GW-4.3",
    "A revoked certificate locks the running session without anybody scanning again",
    "证书吊销后运行中的会话被锁定",
    LEASES,
    takes_s=20,
)
async def locked_on_revocation(stand: Stand) -> None:
    seen = await stand.observed(revoked_session)
    after_s = seen.locks[0][0] if seen.locks else None
    expect(after_s is not None and after_s <= REVOCATION_S, f"a lock within {REVOCATION_S:g} s of the import", after_s)


@case(
    "GW-4.4",
    "The lock names machine and session and says when: now, or between arcs with a deadline",
    "锁定命令含设备、会话和时机",
    LEASES,
)
async def lock_fits(stand: Stand) -> None:
    seen = await stand.observed(revoked_session)
    for _, command in seen.locks:
        told = (command.aud, command.sid)
        expect(told == (seen.place.machine_id, seen.session_id), f"aud and sid of {seen.session_id}", told)
        bounded = command.when == "now" or (command.when == "between_arcs" and bool(command.deadline_s))
        expect(bounded and command.n >= 1, "when, deadline_s and n", command)


@case(
    "GW-4.5",
    "The lock is sent again until the chip reports `locked`, and then no more",
    "锁定命令重发直至收到 locked，之后不再发送",
    LEASES,
)
async def lock_until_locked(stand: Stand) -> None:
    seen = await stand.observed(revoked_session)
    expect(len(seen.locks) >= 2, f"the lock again within {RESENT_WITHIN_S:g} s", f"{len(seen.locks)} in all")
    expect(seen.locks_after_locked == 0, "no lock after `locked`", seen.locks_after_locked)


@case(
    "GW-4.6", "What is revoked is not renewed, and the next scan is refused", "吊销后不再续期，再次扫码被拒绝", LEASES
)
async def not_renewed(stand: Stand) -> None:
    seen = await stand.observed(revoked_session)
    expect(seen.renewals_after == 0, "no renewal after the import", seen.renewals_after)
    expect("certificate_revoked" in seen.refused_after, "certificate_revoked at the next scan", seen.refused_after)


@case(
    "GW-4.7",
    "Tampering locks the running session at once: a lock with `now`, whether an arc burns or not",
    "防拆报警立即锁定运行中的会话（when 为 now）",
    LEASES,
)
async def tamper_locks_now(stand: Stand) -> None:
    place = stand.place()
    session_id, _ = await stand.unlocked(place)
    await stand.usage(place.machine_id, session_id, 1, current_a=120.0)
    await stand.event(place.machine_id, "tamper", session_id)
    lock = await stand.command(place.machine_id, "lock")
    told = (lock.sid, lock.when)
    expect(told == (session_id, "now"), f"a lock of {session_id}: now", told)
