"""Duties 2 and 3: how long the relay stays closed, and what opens it. Ids CHIP-2 and CHIP-3."""

import time

from simulator.conformance import clocks
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench, Unlocked
from simulator.conformance.chip.kit import case

DUTY_2 = "What a chip does, 2"
DUTY_3 = "What a chip does, 3"
EARLY = 0.85
"""The part of a lease for which the relay has to be closed in any case; the rest is tolerance of the measurement."""
HOUR_MS = 3_600_000


async def lease_runs_out(bench: Bench, unlocked: Unlocked) -> None:
    """Closed until (nearly) the end of the lease that began with ``unlocked.at``, open soon after it."""
    passed_s = (time.monotonic() - unlocked.at) * bench.options.scale
    await bench.relay_stays("closed", device_s=max(0.01, unlocked.lease_s * EARLY - passed_s))
    await bench.relay_becomes("open", device_s=unlocked.lease_s * (1 - EARLY))
    await bench.event("locked", session_id=unlocked.session_id)


# --- duty 2 -------------------------------------------------------------------------------------------------------


@case(
    "CHIP-2.1",
    "It closes the relay on a grant that fits, and reports `unlocked`",
    "授权有效时闭合继电器并上报 unlocked",
    DUTY_2,
)
async def closes(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.status(
        "closed, in the session", lambda one: (one.relay, one.session_id) == ("closed", unlocked.session_id)
    )
    await bench.lock(unlocked)


@case(
    "CHIP-2.2",
    "The relay is closed for lease_s, no shorter and no longer",
    "继电器闭合时间等于 lease_s",
    DUTY_2,
    takes_s=3,
)
async def lease(bench: Bench) -> None:
    await lease_runs_out(bench, await bench.unlock())
    bench.at_rest()


@case(
    "CHIP-2.3",
    "The lease is measured by its own monotonic clock: setting the wall clock back or forth moves nothing",
    "租期按自身单调时钟计算，调整日历时钟不影响",
    DUTY_2,
    takes_s=6,
    needs=("clock",),
)
async def lease_by_monotonic_clock(bench: Bench) -> None:
    for jump_ms in (HOUR_MS, -HOUR_MS):
        unlocked = await bench.unlock()
        await bench.do("set_clock", unix_ms=clocks.wall_ms(bench.options.scale) + jump_ms)
        await lease_runs_out(bench, unlocked)
        await bench.do("set_clock", unix_ms=None)


@case("CHIP-2.4", "A renewal starts the lease anew", "续期后租期重新计算", DUTY_2, takes_s=6)
async def renewal(bench: Bench) -> None:
    unlocked = await bench.unlock()
    for number in (1, 2):
        await bench.pause(unlocked.lease_s * 0.6)
        renewed_at = time.monotonic()
        bench.command("renew", sid=unlocked.session_id, n=number, lease_s=unlocked.lease_s)
    await lease_runs_out(
        bench, Unlocked(unlocked.session_id, unlocked.request_id, "", unlocked.lease_s, b"", renewed_at)
    )
    bench.at_rest()


@case(
    "CHIP-2.5",
    "A renewal whose n does not rise is refused and reported: no replay",
    "序号 n 未递增的续期被拒绝并上报",
    "Command claims: n",
    takes_s=5,
)
async def renewal_replayed(bench: Bench) -> None:
    unlocked = await bench.unlock()
    bench.command("renew", sid=unlocked.session_id, n=5, lease_s=unlocked.lease_s)
    renewed_at = time.monotonic()
    await bench.pause(unlocked.lease_s * 0.5)
    for number in (5, 4):
        mark = bench.mark()
        bench.command("renew", sid=unlocked.session_id, n=number, lease_s=10 * unlocked.lease_s)
        await bench.event("grant_rejected", mark)
    await lease_runs_out(
        bench, Unlocked(unlocked.session_id, unlocked.request_id, "", unlocked.lease_s, b"", renewed_at)
    )
    bench.at_rest()


@case(
    "CHIP-2.6",
    "A renewal that is delivered twice renews once: the lease does not start anew with the second copy",
    "重复送达的续期只生效一次",
    "Ground rules",
    takes_s=5,
)
async def renewal_twice(bench: Bench) -> None:
    unlocked = await bench.unlock()
    payload = bench.command("renew", sid=unlocked.session_id, n=1, lease_s=unlocked.lease_s)
    renewed_at = time.monotonic()
    await bench.pause(unlocked.lease_s * 0.6)
    bench.say(bench.command_topic, payload, dup=True)
    await bench.relay_becomes("open", device_s=unlocked.lease_s * 0.4)
    lasted_s = (time.monotonic() - renewed_at) * bench.options.scale
    expect(lasted_s < unlocked.lease_s * 1.45, f"one lease of {unlocked.lease_s} s", f"{lasted_s:.1f} s")
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


# --- duty 3 -------------------------------------------------------------------------------------------------------


@case(
    "CHIP-3.1",
    "Lease over while welding: it waits for the end of the arc, then opens",
    "焊接中租期到：等电弧结束后断开",
    DUTY_3,
    takes_s=5,
)
async def lease_over_in_an_arc(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.do("arc_on")
    await bench.pause(unlocked.lease_s)
    await bench.relay_stays("closed", device_s=bench.options.drain_s * 0.4)
    await bench.do("arc_off")
    await bench.relay_becomes("open")
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-3.2",
    "Lease over while welding: at its deadline it opens in any case",
    "焊接中租期到：到截止时间无条件断开",
    DUTY_3,
    takes_s=14,
)
async def drain_deadline(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.do("arc_on")
    await bench.relay_becomes("open", device_s=unlocked.lease_s + bench.options.drain_s)
    await bench.event("locked", session_id=unlocked.session_id)


@case("CHIP-3.3", "`lock` with `now` opens at once, welding or not", "立即锁定命令：无论是否焊接立即断开", DUTY_3)
async def lock_now(bench: Bench) -> None:
    for welding in (False, True):
        unlocked = await bench.unlock(lease_s=max(bench.lease_s, 60))
        if welding:
            await bench.do("arc_on")
        bench.command("lock", sid=unlocked.session_id, n=1, when="now", reason="remote")
        await bench.relay_becomes("open")
        await bench.event("locked", session_id=unlocked.session_id)
        await bench.do("arc_off")


@case("CHIP-3.4", "`lock` between arcs opens at once where no current flows", "间隙锁定：无焊接电流时立即断开", DUTY_3)
async def lock_between_arcs(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 60))
    bench.command("lock", sid=unlocked.session_id, n=1, when="between_arcs", deadline_s=30, reason="revoked")
    await bench.relay_becomes("open")
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-3.5", "`lock` between arcs while welding waits for the end of the arc", "间隙锁定：焊接中等电弧结束", DUTY_3
)
async def lock_after_the_arc(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 90))
    await bench.do("arc_on")
    deadline_s = max(bench.lease_s * 3, 10)
    bench.command("lock", sid=unlocked.session_id, n=1, when="between_arcs", deadline_s=deadline_s, reason="revoked")
    await bench.relay_stays("closed", device_s=bench.lease_s)
    await bench.do("arc_off")
    await bench.relay_becomes("open")
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-3.6",
    "`lock` between arcs while welding opens at the deadline in any case",
    "间隙锁定：到截止时间无条件断开",
    DUTY_3,
    takes_s=3,
)
async def lock_at_the_deadline(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 600))
    await bench.do("arc_on")
    bench.command("lock", sid=unlocked.session_id, n=1, when="between_arcs", deadline_s=bench.lease_s, reason="revoked")
    await bench.relay_becomes("open", device_s=bench.lease_s)
    await bench.event("locked", session_id=unlocked.session_id)


@case(
    "CHIP-3.7",
    "A broken connection changes nothing while the lease lasts",
    "连接中断不影响租期内的工作",
    DUTY_3,
    takes_s=3,
)
async def broken_connection(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.cut_off()
    passed_s = (time.monotonic() - unlocked.at) * bench.options.scale
    await bench.relay_stays("closed", device_s=max(0.01, unlocked.lease_s * EARLY - passed_s))


@case(
    "CHIP-3.8",
    "The lease ends while the connection is broken, too; `locked` follows later",
    "断网期间租期到同样断开，事后补报 locked",
    DUTY_3,
    takes_s=3,
)
async def lease_over_offline(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.cut_off()
    await bench.relay_becomes("open", device_s=unlocked.lease_s)
    await bench.network_back()
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-3.9",
    "End of work at the machine opens the relay and ends the session",
    "焊工结束作业：断开继电器并结束会话",
    "Kinds: locked; usage, final",
    needs=("end-of-work",),
)
async def end_of_work(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 60))
    await bench.do("finish")
    await bench.relay_becomes("open")
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()
