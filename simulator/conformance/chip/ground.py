"""Ground rules and topics: connection, last will, QoS, retained flags, payloads. Ids CHIP-0."""

import time

import msgspec
from msgspec import Struct

from gateway.core.model import Event, Request, Status, Usage
from gateway.wire import topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.broker import Arrived
from simulator.conformance.chip.kit import case

USAGE_EVERY_S = 10
WELDS_FOR_S = 12.0
GROUND = "Ground rules"
TOPICS = "Chip → gateway"


class Day(Struct, frozen=True):
    """A short working day: boot, scan, unlock, weld, usage, end by lease. Everything that the device said."""

    said: list[Arrived]
    session_id: str
    request: Request
    lasted_s: float

    @property
    def statuses(self) -> list[Status]:
        return [message.content for message in self.said if isinstance(message.content, Status)]

    @property
    def usage(self) -> list[Usage]:
        said = [message.content for message in self.said if isinstance(message.content, Usage)]
        return [one for one in said if one.session_id == self.session_id]

    @property
    def events(self) -> list[Event]:
        return [message.content for message in self.said if isinstance(message.content, Event)]


async def working_day(bench: Bench) -> Day:
    """Played once; many ground rules are read off it."""
    mark = bench.mark()
    await bench.power_cycle()
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge, lease_s=max(bench.lease_s, 3 * USAGE_EVERY_S))
    began, unlocked = time.monotonic(), bench.allow(claims)
    await bench.relay_becomes("closed")
    await bench.do("arc_on")
    await bench.pause(WELDS_FOR_S)
    await bench.do("arc_off")
    await bench.pause(USAGE_EVERY_S + 1)
    before_the_end = bench.mark()
    bench.command("lock", sid=unlocked.session_id, n=1, when="now", reason="remote")
    lasted_s = (time.monotonic() - began) * bench.options.scale
    await bench.relay_becomes("open")
    await bench.event("locked", mark, session_id=unlocked.session_id)
    await bench.status("with the relay open", lambda one: one.relay == "open", before_the_end)
    await bench.quiet()
    bench.at_rest()
    return Day(bench.since(mark), unlocked.session_id, request, lasted_s)


@case(
    "CHIP-0.1",
    'Its last will is a retained {"online": false} on its status topic, QoS 1',
    '遗嘱消息：状态主题、保留、QoS 1、{"online": false}',
    TOPICS,
)
async def last_will(bench: Bench) -> None:
    will = bench.broker.connects[-1].will
    expect(will is not None, "a CONNECT with a last will", "none")
    if will is not None:
        expect(will.topic == topics.to_gateway(bench.options.machine_id, "status"), "the status topic", will.topic)
        expect(msgspec.json.decode(will.payload) == {"online": False}, '{"online": false}', will.payload)
        expect(will.retain and will.qos == 1, "retained at QoS 1", f"QoS {will.qos}, retained: {will.retain}")
    bench.at_rest()


@case("CHIP-0.2", "It subscribes to its decisions and commands at QoS 1", "以 QoS 1 订阅决定和命令主题", GROUND)
async def subscriptions(bench: Bench) -> None:
    for topic in (bench.decision_topic, bench.command_topic):
        granted = bench.broker.subscribed.get(topic)
        expect(granted is not None and granted >= 1, f"a subscription to {topic} at QoS 1", granted)
    bench.at_rest()


@case("CHIP-0.3", "Everything that it publishes is QoS 1", "所有消息均以 QoS 1 发布", GROUND, takes_s=25)
async def qos_1(bench: Bench) -> None:
    wrong = [message for message in (await bench.observed(working_day)).said if message.qos != 1]
    expect(not wrong, "QoS 1 on every message", [f"{message.topic} at QoS {message.qos}" for message in wrong])


@case("CHIP-0.4", "Only status is retained, and it always is", "只有状态消息保留，且必须保留", GROUND)
async def retained_status(bench: Bench) -> None:
    for message in (await bench.observed(working_day)).said:
        wanted = message.kind == "status"
        expect(message.retain == wanted, f"{message.topic} retained: {wanted}", f"retained: {message.retain}")


@case(
    "CHIP-0.5",
    "Its payloads are JSON objects in UTF-8 of the protocol's form, 4 KiB at most, on its own topics",
    "消息为 UTF-8 的 JSON 对象，格式符合协议，不超过 4 KiB，只用本机主题",
    GROUND,
)
async def well_formed(bench: Bench) -> None:
    for message in (await bench.observed(working_day)).said:
        short = len(message.payload) <= MAX_PAYLOAD_BYTES
        expect(short and not message.fault, "a message by the protocol", f"{message.topic}: {message.fault}")


@case(
    "CHIP-0.6",
    "Its status tells serial, challenge and relay at connect, and again at each change of relay and session",
    "连接时及每次变化时上报状态：序列号、挑战码、继电器、会话",
    TOPICS,
)
async def status_at_each_change(bench: Bench) -> None:
    day = await bench.observed(working_day)
    first = day.statuses[0]
    told = (first.online, bool(first.chip), bool(first.challenge), first.relay, first.session_id)
    expect(told == (True, True, True, "open", None), "online, with chip, challenge, relay open, no session", first)
    seen = [(one.relay, one.session_id) for one in day.statuses]
    expect(("closed", day.session_id) in seen, "a status with the relay closed in the session", seen)
    expect(seen[-1] == ("open", None), "a last status with the relay open and no session", seen)


@case(
    "CHIP-0.7",
    "A request carries what was scanned, the current challenge and its method",
    "请求包含扫码内容、当前挑战码和方式",
    TOPICS,
)
async def request_tells(bench: Bench) -> None:
    day = await bench.observed(working_day)
    expect(day.request.credential == bench.options.badge, f"credential {bench.options.badge}", day.request.credential)
    told = {one.challenge for one in day.statuses}
    expect(day.request.challenge in told, "the challenge of a status", day.request.challenge)


@case(
    "CHIP-0.8", "Usage comes every 10 s while unlocked, numbered in a row", "解锁期间每 10 秒上报用量，序号连续", TOPICS
)
async def usage_every_ten_seconds(bench: Bench) -> None:
    day = await bench.observed(working_day)
    wanted = int(day.lasted_s // USAGE_EVERY_S)
    expect(len(day.usage) >= wanted, f"{wanted} reports in {day.lasted_s:.0f} s", len(day.usage))
    numbers = list(dict.fromkeys(one.seq for one in day.usage))
    expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "seq without a gap", numbers)


@case(
    "CHIP-0.9",
    "The last usage of a session, and only that one, is final",
    "会话最后一条用量标记 final，且仅一条",
    TOPICS,
)
async def final_usage(bench: Bench) -> None:
    day = await bench.observed(working_day)
    finals = sorted({one.seq for one in day.usage if one.final})
    last = max((one.seq for one in day.usage), default=None)
    expect(finals == [last], f"one final report, number {last}", finals)


@case(
    "CHIP-0.10",
    "Usage is cumulative and adds up: enabled = arc + idle, arcs counted, nothing ever falls",
    "用量为累计值：启用时间 = 燃弧 + 空闲，数值只增不减",
    TOPICS,
)
async def usage_adds_up(bench: Bench) -> None:
    day = await bench.observed(working_day)
    for before, after in zip(day.usage, day.usage[1:], strict=False):
        grows = all(getattr(after, name) >= getattr(before, name) for name in ("enabled_s", "arc_s", "idle_s", "arcs"))
        expect(grows and after.energy_wh >= before.energy_wh, f"figures not below {before}", after)
    last = day.usage[-1]
    expect(abs(last.enabled_s - last.arc_s - last.idle_s) <= 1, "enabled_s = arc_s + idle_s", last)
    expect(abs(last.arc_s - WELDS_FOR_S) <= _TOLERANCE_S, f"arc_s near {WELDS_FOR_S:g}", last)
    expect(abs(last.enabled_s - day.lasted_s) <= 2 * _TOLERANCE_S, f"enabled_s near {day.lasted_s:.0f}", last)
    expect(last.arcs == 1 and last.energy_wh > 0, "one arc and some energy", last)


_TOLERANCE_S = 4.0


@case("CHIP-0.11", "It acknowledges every decision and command", "对每条决定和命令回复 PUBACK", GROUND)
async def acknowledges(bench: Bench) -> None:
    request = await bench.scan()
    denied = bench.say(bench.decision_topic, _denial(request))
    commanded = bench.say(bench.command_topic, b'{"command_id": "not-a-token", "command": "a.b.c"}')
    await bench.acknowledged(denied, "decision")
    await bench.acknowledged(commanded, "command")
    bench.at_rest()


def _denial(request: Request) -> bytes:
    body: dict[str, object] = {"at": 0, "grant": None, "outcome": "deny", "reasons": [], "session_id": None}
    return msgspec.json.encode({**body, "request_id": request.request_id})


@case("CHIP-0.12", "Fields that it does not know are passed over", "忽略未知字段", GROUND)
async def unknown_fields(bench: Bench) -> None:
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge, from_the_future={"a": [1, None]})
    token = bench.keys.signer.sign(claims)
    body = {"at": 0, "grant": token, "outcome": "allow", "reasons": [], "session_id": claims["sid"]}
    body |= {"request_id": request.request_id, "from_the_future": {"a": [1, None]}, "colour": "blue"}
    bench.say(bench.decision_topic, msgspec.json.encode(body))
    await bench.relay_becomes("closed")
    bench.command("lock", sid=claims["sid"], n=1, when="now", reason="remote", from_the_future=[1])
    await bench.relay_becomes("open")
    bench.at_rest()


@case("CHIP-0.13", "Junk on its topics changes nothing and stops nothing", "收到乱码不改变状态，也不影响工作", GROUND)
async def junk(bench: Bench) -> None:
    connection = len(bench.broker.connects)
    for payload in (b"", b"\xff\xfe", b"null", b"[]", b'{"outcome": "allow"}', b"{" * 5000, b'{"grant": 1}' * 600):
        bench.say(bench.decision_topic, payload)
        bench.say(bench.command_topic, payload)
    await bench.relay_stays("open")
    unlocked = await bench.unlock()
    expect(len(bench.broker.connects) == connection, "the same connection as before", "it was lost over the junk")
    await bench.lock(unlocked)


@case(
    "CHIP-0.14",
    "A decision that comes twice is one unlock: no second session, and the lease does not start anew",
    "重复送达的同一决定只解锁一次，租期不重新计算",
    GROUND,
    takes_s=3,
)
async def decision_twice(bench: Bench) -> None:
    unlocked = await bench.unlock()
    await bench.pause(unlocked.lease_s * 0.6)
    bench.say(bench.decision_topic, unlocked.sent, dup=True)
    await bench.relay_becomes("open", device_s=unlocked.lease_s * 0.4)
    late_s = (time.monotonic() - unlocked.at) * bench.options.scale - unlocked.lease_s
    expect(late_s < unlocked.lease_s * 0.45, "the relay open after one lease", f"{late_s:.1f} s later")
    await bench.event("locked", session_id=unlocked.session_id)
    told = [one for one in bench.events() if one.kind == "unlocked"]
    expect(len(told) == 1, "one event `unlocked`", len(told))
    bench.at_rest()


@case(
    "CHIP-0.15",
    "A denied request leaves the relay open, and the next scan asks anew",
    "被拒绝后继电器保持断开，再次扫码重新请求",
    TOPICS,
)
async def denied(bench: Bench) -> None:
    first = await bench.scan()
    await bench.deny(first)
    await bench.relay_stays("open")
    second = await bench.scan()
    expect(second.request_id != first.request_id, "another request_id for another scan", second.request_id)
    await bench.deny(second)
    bench.at_rest()


@case("CHIP-0.16", "Turned away by the broker it keeps trying until it is let in", "被代理拒绝连接后持续重试", GROUND)
async def refused_connection(bench: Bench) -> None:
    before = bench.broker.refused
    await bench.cut_off()
    tried = await bench.broker.until(lambda: bench.broker.refused > before or None, bench.options.ready_s)
    expect(bool(tried), "an attempt to connect again", f"none within {bench.options.ready_s:g} s")
    await bench.quiet()
    status = await bench.network_back()
    expect(status.online, "a status with online: true", status)
    bench.at_rest()
