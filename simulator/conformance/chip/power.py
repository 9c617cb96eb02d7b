"""Duties 4 and 5: mains, idling, and what is wrong at the machine. Ids CHIP-4 and CHIP-5."""

import time

from gateway.core.model import EventKind
from simulator.conformance import clocks
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.kit import case

DUTY_4 = "What a chip does, 4"
DUTY_5 = "What a chip does, 5"
REPEATED_WITHIN_S = 30.0
"""The protocol says "keeps reporting" and names no interval; longer than this is not keeping on."""
HOUR_MS = 3_600_000


@case("CHIP-4.1", "Power-up is locked, whatever was before, and reported as `boot`", "上电即锁定，并上报 boot", DUTY_4)
async def power_up(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 600))
    await bench.power_off()
    bench.broker.cut()
    mark = bench.mark()
    await bench.power_on()
    await bench.relay_stays("open")
    await bench.event("boot", mark)
    expect(unlocked.lease_s > 0, "a lease that had not run out", unlocked)
    bench.at_rest()


@case("CHIP-4.2", "Idle longer than the configured time is locked", "空闲超过设定时间自动锁定", DUTY_4, takes_s=22)
async def idle_lock(bench: Bench) -> None:
    idle_s = bench.options.idle_lock_s
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 20 * idle_s))
    await bench.relay_stays("closed", device_s=idle_s * 0.7)
    await bench.relay_becomes("open", device_s=idle_s * 0.3)
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-4.3",
    "Welding is not idling: the idle clock starts again after each arc",
    "焊接不算空闲，每次收弧后重新计时",
    DUTY_4,
    takes_s=32,
)
async def welding_is_not_idle(bench: Bench) -> None:
    idle_s = bench.options.idle_lock_s
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 20 * idle_s))
    await bench.pause(idle_s * 0.6)
    await bench.do("arc_on")
    await bench.pause(idle_s * 0.2)
    await bench.do("arc_off")
    await bench.relay_stays("closed", device_s=idle_s * 0.6)
    await bench.lock(unlocked)


# --- duty 5 -------------------------------------------------------------------------------------------------------


async def reported_and_again(bench: Bench, kind: EventKind) -> None:
    """A second, other event of the kind while the trouble lasts."""
    first = await bench.event(kind, device_s=REPEATED_WITHIN_S)

    def second() -> bool | None:
        return any(one.kind == kind and one.event_id != first.event_id for one in bench.events()) or None

    await bench.sees(second, f"`{kind}` reported again while it lasts", device_s=REPEATED_WITHIN_S)


@case("CHIP-5.1", "Welding current without a lease is reported at once", "无授权出现焊接电流：立即上报", DUTY_5)
async def arc_without_lease(bench: Bench) -> None:
    began = time.monotonic()
    await bench.do("arc_on")
    await bench.event("arc_without_lease")
    expect(time.monotonic() - began <= bench.options.prompt_s + 1, "a report at once", "it came late")
    await bench.do("arc_off")
    await bench.quiet()
    bench.at_rest()


@case(
    "CHIP-5.2",
    "Welding current without a lease is reported again as long as it lasts",
    "无授权焊接电流持续时反复上报",
    DUTY_5,
    takes_s=10,
)
async def arc_without_lease_goes_on(bench: Bench) -> None:
    await bench.do("arc_on")
    await reported_and_again(bench, "arc_without_lease")


@case(
    "CHIP-5.3",
    "A relay that does not follow is reported at once",
    "继电器不动作：立即上报",
    DUTY_5,
    needs=("relay-sense",),
)
async def relay_stuck(bench: Bench) -> None:
    await bench.do("sense", relay="closed")
    await bench.event("relay_stuck")


@case(
    "CHIP-5.4",
    "A relay that does not follow is reported again as long as it lasts",
    "继电器故障持续时反复上报",
    DUTY_5,
    takes_s=10,
    needs=("relay-sense",),
)
async def relay_stuck_goes_on(bench: Bench) -> None:
    await bench.do("sense", relay="closed")
    await reported_and_again(bench, "relay_stuck")


@case(
    "CHIP-5.5",
    "A relay that does not close when told to is reported, too",
    "继电器未能闭合同样上报",
    DUTY_5,
    needs=("relay-sense",),
)
async def relay_does_not_close(bench: Bench) -> None:
    await bench.do("sense", relay="open")
    request = await bench.scan()
    bench.allow(bench.grant(request.request_id, request.challenge, lease_s=max(bench.lease_s, 20)))
    await bench.event("relay_stuck")


@case("CHIP-5.6", "An opened housing is reported", "外壳被打开时上报 tamper", "Kinds: tamper")
async def tamper(bench: Bench) -> None:
    await bench.do("tamper")
    await bench.event("tamper")
    bench.at_rest()


@case(
    "CHIP-5.7",
    "A jump of its wall clock is reported",
    "时钟跳变时上报 clock_reset",
    "Kinds: clock_reset",
    needs=("clock",),
)
async def clock_reset(bench: Bench) -> None:
    await bench.do("set_clock", unix_ms=clocks.wall_ms(bench.options.scale) - HOUR_MS)
    await bench.event("clock_reset")
