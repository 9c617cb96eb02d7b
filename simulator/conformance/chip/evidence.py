"""Duty 6: nothing that happened is lost or out of order because the network was away. Ids CHIP-6."""

from gateway.core.model import Event, Usage
from simulator.conformance.cases import Failed, expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.kit import case

DUTY_6 = "What a chip does, 6"
MANY_EVENTS = 60


def numbers(events: list[Event]) -> list[int]:
    return [one.seq for one in events]


async def tampers(bench: Bench, times: int) -> None:
    for _ in range(times):
        await bench.do("tamper")


@case(
    "CHIP-6.1",
    "Events of a time without network follow later, in order and without a gap",
    "断网期间的事件恢复后按序补报，无缺号",
    DUTY_6,
)
async def events_follow(bench: Bench) -> None:
    await bench.do("tamper")
    before = await bench.event("tamper")
    await bench.cut_off()
    await tampers(bench, 3)
    await bench.network_back()

    def all_three() -> list[Event] | None:
        later = [one for one in bench.events() if one.seq > before.seq]
        return later if sum(one.kind == "tamper" for one in later) >= 3 else None

    later = await bench.sees(all_three, "three events `tamper` after the network was back")
    wanted = list(range(before.seq + 1, before.seq + 1 + len(later)))
    expect(numbers(later) == wanted, f"seq {wanted} in this order", numbers(later))
    bench.at_rest()


@case(
    "CHIP-6.2",
    "The number of an event is never reset: it goes on after a power failure",
    "事件序号永不复位，断电后继续递增",
    "event: seq",
)
async def numbers_go_on(bench: Bench) -> None:
    await bench.do("tamper")
    before = await bench.event("tamper")
    mark = bench.mark()
    await bench.power_cycle()
    await bench.event("boot", mark)
    first = next(one.seq for one in bench.events(mark) if one.event_id != before.event_id)
    expect(first == before.seq + 1, f"seq {before.seq + 1} on the first event after power-up", first)
    bench.at_rest()


@case(
    "CHIP-6.3",
    "An event without a PUBACK is sent again after the next connect, with the same event_id",
    "未获 PUBACK 的事件重连后以相同编号重发",
    DUTY_6,
)
async def unacknowledged_event(bench: Bench) -> None:
    bench.broker.acknowledges = False
    await bench.do("tamper")
    first = await bench.event("tamper")
    bench.broker.acknowledges = True
    mark = bench.mark()
    bench.broker.cut()
    await bench.back_on_air(mark)
    again = await bench.event("tamper", mark)
    expect(again == first, f"the same event again: {first.event_id} number {first.seq}", again)
    bench.at_rest()


@case(
    "CHIP-6.4",
    "Usage of a time without network follows later; a session's final figures are never lost",
    "断网期间的用量事后补报，会话终值不丢失",
    DUTY_6,
    takes_s=25,
)
async def usage_follows(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 18))
    await bench.cut_off()
    await bench.do("arc_on")
    await bench.pause(6)
    await bench.do("arc_off")
    await bench.relay_becomes("open", device_s=unlocked.lease_s)
    await bench.network_back()

    def final() -> Usage | None:
        return next((one for one in bench.usage(unlocked.session_id) if one.final), None)

    last = await bench.sees(final, "the final usage of the session")
    expect(last.arcs == 1 and last.arc_s >= 4, "one arc of about 6 s in the final figures", last)
    expect(last.enabled_s >= unlocked.lease_s * 0.8, f"about {unlocked.lease_s} s enabled", last)
    bench.at_rest()


@case(
    "CHIP-6.5",
    "What is delivered later comes in the order in which it happened: unlocked, final usage, locked",
    "补报顺序与发生顺序一致：解锁、终值用量、锁定",
    DUTY_6,
    takes_s=5,
)
async def order_of_delivery(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.cut_off()
    await bench.do("tamper")
    await bench.relay_becomes("open", device_s=unlocked.lease_s)
    mark = bench.mark()
    await bench.network_back()
    await bench.event("locked", mark, session_id=unlocked.session_id)
    told = [one.content for one in bench.since(mark)]
    order = [one.kind if isinstance(one, Event) else "final" for one in told if _tells(one)]
    order = list(dict.fromkeys(order))
    expect(order in (["tamper", "final", "locked"], ["tamper", "locked", "final"]), "tamper before the end", order)
    events = numbers(bench.events(mark))
    expect(events == sorted(events), "seq rising", events)
    bench.at_rest()


def _tells(one: object) -> bool:
    return (isinstance(one, Event) and one.kind in ("tamper", "locked")) or (isinstance(one, Usage) and one.final)


@case(
    "CHIP-6.6",
    "Events are never dropped silently: with a full memory the missing ones leave a gap in seq",
    "事件绝不悄悄丢弃：存满时缺号可见",
    DUTY_6,
)
async def never_silently(bench: Bench) -> None:
    await bench.do("tamper")
    first = await bench.event("tamper")
    await bench.cut_off()
    await bench.do("tamper", times=MANY_EVENTS)
    mark = bench.mark()
    await bench.network_back()
    await bench.quiet()
    await bench.do("tamper")
    wanted = first.seq + MANY_EVENTS + 1
    last = await bench.sees(lambda: _latest(bench, mark, wanted), f"an event with seq {wanted}: every one is counted")
    expect(last.seq == wanted, f"seq {wanted} on the event after {MANY_EVENTS} others", last.seq)
    bench.at_rest()


def _latest(bench: Bench, mark: int, wanted: int) -> Event | None:
    """The event that comes to the number, or the last one where the numbers stay behind."""
    events = bench.events(mark)
    return next((one for one in events if one.seq >= wanted), None)


@case("CHIP-6.7", "No two events share a number or an id", "事件编号和序号不重复", "event: event_id, seq")
async def unique_numbers(bench: Bench) -> None:
    await tampers(bench, 3)

    def three() -> list[Event] | None:
        found = [one for one in bench.events() if one.kind == "tamper"]
        return found if len(found) >= 3 else None

    found = await bench.sees(three, "three events `tamper` with three ids")
    if len(set(numbers(found))) != len(found):
        raise Failed("three numbers", str(numbers(found)))
    bench.at_rest()


@case(
    "CHIP-6.8",
    "Out of memory for usage without network, it merges the oldest reports first: what it tells later has no hole",
    "断网期间用量存满时先合并最旧的记录：补报的用量序号连续",
    DUTY_6,
    takes_s=95,
)
async def oldest_usage_merges_first(bench: Bench) -> None:
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, int(bench.options.offline_s) + 60))
    await bench.do("arc_on")
    await bench.cut_off()
    await bench.pause(bench.options.offline_s)
    mark = bench.mark()
    await bench.network_back()
    await bench.do("arc_off")
    await bench.lock(unlocked)

    def final() -> Usage | None:
        return next((one for one in bench.usage(unlocked.session_id) if one.final), None)

    await bench.sees(final, "the final usage of the session")
    told = list(dict.fromkeys(one.seq for one in bench.usage(unlocked.session_id, mark)))
    first, last = told[0], max(told)
    whole = told == list(range(first, last + 1))
    expect(whole, f"every usage report from number {first} to {last}: older ones merge first", told)
