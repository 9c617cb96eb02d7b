"""What goes wrong in other back ends of this kind. Ids OTHERS, numbered as in the project's list of such faults."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.wire import topics
from gateway.wire.messages import DecisionMessage
from simulator.conformance import mqtt
from simulator.conformance.cases import Failed, NotRun, expect
from simulator.conformance.gateway import county
from simulator.conformance.gateway.device import Seen
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.sessions import codes
from simulator.conformance.gateway.stand import Place, Stand, now_ms
from simulator.conformance.gateway.tap import Tap

WHERE = "Where others fail"
RACERS = 8
TEMPTING = (
    "ADMIN",
    "admin",
    "*",
    "any",
    "0000",
    "MASTER",
    "maintenance",
    "WG1/CKP0001/0/AAAAAAAAAAAAAAAA",
    "' OR 1=1 --",
)
CLAIMS: dict[str, Any] = {
    "outcome": "allow",
    "verified": True,
    "face_match": 0.999,
    "operator_id": "CKP0001",
    "certificates": [{"item": "fusion", "valid_until": "2099-12-31", "status": "valid"}],
    "override": "supervisor",
    "lease_s": 86_400,
    "policy": "none",
}
ODD: tuple[dict[str, Any], ...] = (
    {"at": 0},
    {"at": 2**53 - 1},
    {"credential": ""},
    {"credential": "x" * 300},
    {"credential": "CKP0001\x00"},
    {"credential": "CKP0001 "},
    {"credential": "‮CKP0001"},
    {"challenge": ""},
    {"challenge": "c" * 200},
    {"method": None},
)


@case(
    "OTHERS-01", "A denied start opens no session: it stands in nobody's way", "被拒绝的启动不产生会话", f"{WHERE}, 1"
)
async def denied_opens_nothing(stand: Stand) -> None:
    place = stand.place()
    denied = await stand.ask(place.machine_id, "CKP-REVOKED")
    expect((denied.outcome, denied.session_id) == ("deny", None), "a deny without session_id", denied)
    after = await stand.ask(place.machine_id, place.badge)
    expect(after.outcome == "allow", "allow for the next welder", codes(after))


async def race(stand: Stand, starts: list[tuple[str, str]]) -> list[str]:
    """All at once, each over a connection of its own; the outcomes."""
    devices = [await stand.device() for _ in starts]
    asked = [stand.request(badge) for _, badge in starts]
    lines = zip(devices, starts, asked, strict=True)
    await asyncio.gather(
        *(
            device.publish(topics.to_gateway(machine_id, "request"), msgspec.json.encode(fields))
            for device, (machine_id, _), fields in lines
        )
    )
    found = [
        stand.read(machine_id, await stand.answer(machine_id, fields["request_id"]))
        for (machine_id, _), fields in zip(starts, asked, strict=True)
    ]
    return [decision.outcome for decision in found]


@case(
    "OTHERS-02",
    "Of many who want one machine, or one welder at many machines, at once exactly one wins",
    "同时争用：同一设备或同一人员只有一个成功",
    f"{WHERE}, 2",
)
async def one_winner(stand: Stand) -> None:
    places = [stand.place() for _ in range(RACERS)]
    outcomes = await race(stand, [(places[0].machine_id, place.badge) for place in places])
    expect(outcomes.count("allow") == 1, f"one allow of {RACERS} welders at one machine", outcomes)
    places = [stand.place() for _ in range(RACERS)]
    outcomes = await race(stand, [(place.machine_id, places[0].badge) for place in places])
    expect(outcomes.count("allow") == 1, f"one allow of {RACERS} machines for one welder", outcomes)


@case(
    "OTHERS-03",
    "Somebody who was let in many times today is looked at anew each time",
    "频繁通过者每次仍重新核验",
    f"{WHERE}, 3",
)
async def nothing_slides(stand: Stand) -> None:
    stand.need(stand.hooks.import_files, "--import-command with {folder} in it")
    place = stand.place()
    for _ in range(5):
        session_id, _ = await stand.unlocked(place)
        await stand.event(place.machine_id, "locked", session_id, reason="operator")
    await stand.import_tables(county.revoked(stand.files, place.badge))
    try:
        await refused_soon(stand, place, "certificate_revoked")
    finally:
        await stand.import_tables(stand.files)


async def refused_soon(stand: Stand, place: Place, code: str) -> None:
    """Within the time for an answer a change of the registry has arrived."""
    give_up = time.monotonic() + stand.options.answer_s
    while code not in (seen := codes(await stand.ask(place.machine_id, place.badge))):
        expect(time.monotonic() < give_up, f"{code} after the import", seen or "allow")
        await asyncio.sleep(0.2)


@case(
    "OTHERS-04-GW",
    "An unlock reply is not retained: who subscribes later hears nothing of it",
    "解锁答复不保留：后来订阅者收不到",
    f"{WHERE}, 4",
)
async def nothing_left_behind(stand: Stand) -> None:
    place = stand.place()
    await stand.let_in(place)
    late = await stand.device()
    await late.subscribe(topics.decision(place.machine_id), topics.command(place.machine_id))
    await stand.quiet()
    expect(not late.seen, "silence for a late subscriber", [seen.topic for seen in late.seen])


@case(
    "OTHERS-05",
    "An answer to a chip that is away is not taken for delivered, even over a restart",
    "对离线锁具的答复不视为送达，重启后仍可得到",
    f"{WHERE}, 5",
)
async def away_and_restarted(stand: Stand) -> None:
    stand.may_restart()
    place = stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    first = await stand.answer(place.machine_id, fields["request_id"])
    stand.read(place.machine_id, first)
    await stand.restart()
    chip = await stand.device()
    await chip.subscribe(topics.decision(place.machine_id))
    await chip.publish(topics.to_gateway(place.machine_id, "request"), msgspec.json.encode(fields))
    again = await stand.answer(place.machine_id, fields["request_id"], device=chip)
    expect(again.payload == first.payload, "the same bytes for the chip that was away", again.payload)


@case(
    "OTHERS-06-GW",
    "A session of which nothing more is heard ends by time",
    "失联的会话按时结束",
    f"{WHERE}, 6",
    takes_s=30,
)
async def silent_session(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    decision = await stand.let_in(place)
    grant = stand.grant(decision)
    if grant.lease_s > stand.options.longest_s:
        raise NotRun(f"leases of {grant.lease_s} s: configure the gateway to {stand.options.longest_s:g} s or less")
    give_up = time.monotonic() + grant.lease_s + stand.options.overtime_s
    while (after := await stand.ask(place.machine_id, other.badge)).outcome == "deny":
        expect(time.monotonic() < give_up, "the machine free some time after the lease", codes(after))
        await asyncio.sleep(1)


@case(
    "OTHERS-07-GW",
    "While the gateway is down nobody passes; what was asked meanwhile is answered with a grant of after",
    "网关停机期间无人放行，恢复后才签发授权",
    f"{WHERE}, 7",
)
async def down(stand: Stand) -> None:
    stand.may_stop()
    place = stand.place()
    await stand.stop()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    await stand.quiet()
    expect(not stand.answers(place.machine_id, fields["request_id"]), "no answer while it is down", "one")
    up_s = int(time.time())
    await stand.start()
    await stand.send(place.machine_id, "request", fields)
    decision = stand.read(place.machine_id, await stand.answer(place.machine_id, fields["request_id"]))
    if decision.outcome == "allow":
        expect(stand.grant(decision).iat >= up_s, "a grant issued after the start", stand.grant(decision))


@case("OTHERS-08-GW", "No credential bypasses the checks", "没有任何凭证可绕过核验", f"{WHERE}, 8")
async def no_master_credential(stand: Stand) -> None:
    place = stand.place()
    for text in TEMPTING:
        decision = await stand.ask(place.machine_id, text)
        expect(decision.outcome == "deny", f"deny for {text!r}", decision.outcome)


@case(
    "OTHERS-08-COUNT-GW",
    "No credential is exempt from the counts: whoever tries a bypass stands on the feed as refused",
    "任何尝试均计入公开记录：试用“万能码”者同样公布为被拒绝",
    f"{WHERE}, 8",
)
async def every_try_is_counted(stand: Stand) -> None:
    place = stand.place()
    for text in TEMPTING:
        await _told(stand, await stand.ask(place.machine_id, text))


async def _told(stand: Stand, decision: DecisionMessage) -> None:
    """Others hear of a refusal, with all its reasons."""
    told = await stand.feed("decision", lambda one: one.get("request_id") == decision.request_id, "the refusal")
    expect(told.get("outcome") == decision.outcome, decision.outcome, told)
    expect(list(told.get("reasons", [])) == codes(decision), f"the reasons {codes(decision)}", told)


@case(
    "OTHERS-09-GW",
    "A refusal is told to the welder with its remedy, and to everybody else on the feed",
    "拒绝原因告知焊工，并公开发布",
    f"{WHERE}, 9",
)
async def refusals_are_told(stand: Stand) -> None:
    place = stand.place()
    decision = await stand.ask(place.machine_id, "CKP-REVOKED")
    expect(bool(decision.reasons), "reasons", decision)
    for reason in decision.reasons:
        expect(bool(reason.message and reason.remedy), "a message and a remedy", reason)
    await _told(stand, decision)


@case(
    "OTHERS-10",
    "What cannot be recorded does not happen: with its storage broken nobody is let in",
    "无法记录则不放行：存储故障时不得解锁",
    f"{WHERE}, 10",
)
async def broken_storage(stand: Stand) -> None:
    break_it = stand.need(stand.hooks.break_storage, "--break-storage-command and --mend-storage-command")
    mend_it = stand.need(stand.hooks.mend_storage, "--break-storage-command and --mend-storage-command")
    place = stand.place()
    fields = stand.request(place.badge)
    await break_it()
    try:
        await stand.send(place.machine_id, "request", fields)
        await stand.quiet()
        outcomes = [seen.content.get("outcome") for seen in stand.answers(place.machine_id, fields["request_id"])]
    finally:
        await mend_it()
    expect("allow" not in outcomes, "no allow while nothing can be recorded", outcomes)
    await stand.until_ready()


@case(
    "OTHERS-11-GW",
    "Nothing that a chip claims about a person changes the decision",
    "锁具自报的核验结果不影响决定",
    f"{WHERE}, 11",
)
async def claims_of_the_chip(stand: Stand) -> None:
    place = stand.place()
    plain = await stand.ask(place.machine_id, "CKP-REVOKED")
    claiming = await stand.ask(place.machine_id, "CKP-REVOKED", **CLAIMS)
    expect(codes(claiming) == codes(plain) != [], f"the same refusal {codes(plain)}", codes(claiming) or "allow")
    grant = stand.grant(await stand.let_in(place, lease_s=86_400, operator_id="CKP-REVOKED"))
    expect(grant.lease_s < CLAIMS["lease_s"], "a lease of the policy", grant.lease_s)


@case(
    "OTHERS-12",
    "A longer valid certificate for another item helps nobody",
    "其他准操项目的长效证书不起作用",
    f"{WHERE}, 12",
)
async def other_item(stand: Stand) -> None:
    place = stand.place()
    decision = await stand.ask(place.machine_id, "CKP-WRONG-ITEM-LASTS")
    expect(codes(decision) == ["certificate_expired"], "certificate_expired", codes(decision) or "allow")
    decision = await stand.ask(place.machine_id, "CKP-PRESSURE")
    expect(codes(decision) == ["certificate_wrong_item"], "certificate_wrong_item", codes(decision) or "allow")


@case(
    "OTHERS-13", "However a question is put, the decision is the same", "无论以何种方式请求，决定一致", f"{WHERE}, 13"
)
async def one_decision(stand: Stand) -> None:
    place = stand.place()
    for badge in ("CKP-REVOKED", "CKP-STRANGER", "CKP-EVERYTHING", "CKP-NOBODY"):
        seen = {tuple(codes(await stand.ask(place.machine_id, badge, **how))) for how in _ways()}
        expect(len(seen) == 1 and () not in seen, f"one refusal for {badge}", seen)


def _ways() -> Iterator[dict[str, Any]]:
    for method in ("scan", "card", "keypad"):
        yield {"method": method}
    yield {"at": None}
    yield {"challenge": "another-challenge-1"}


@case(
    "OTHERS-14-GW",
    "Its connection to the broker breaks without a word: it is back and answers",
    "与代理的连接突然中断后自动恢复",
    f"{WHERE}, 14",
)
async def connection_breaks(stand: Stand) -> None:
    tap = stand.need(stand.hooks.tap, "--tap HOST:PORT, and the gateway's broker set to that address")
    await stand.let_in(stand.place())
    before = tap.connections
    tap.cut()
    give_up = time.monotonic() + stand.options.ready_s
    while tap.connections == before:
        expect(time.monotonic() < give_up, f"a new connection to the broker within {stand.options.ready_s:g} s", "none")
        await asyncio.sleep(0.02)
    await stand.until_ready()
    await stand.let_in(stand.place())


@case("OTHERS-15-GW", "Events of the time while it was down are not lost", "停机期间的事件不丢失", f"{WHERE}, 15")
async def events_while_down(stand: Stand) -> None:
    stand.may_stop()
    place, other = stand.place(), stand.place()
    session_id, _ = await stand.unlocked(place)
    await stand.stop()
    await stand.event(place.machine_id, "locked", session_id, reason="operator")
    await stand.start()
    decision = await stand.ask(place.machine_id, other.badge)
    expect(decision.outcome == "allow", "the machine free after the start", codes(decision))


@case(
    "OTHERS-16-GW",
    "It acknowledges a request only once its decision is durable",
    "决定落盘之后才确认消息",
    f"{WHERE}, 16",
)
async def durable_before_acknowledged(stand: Stand) -> None:
    """Killed at the moment of the PUBACK it must know, afterwards, what it had decided before."""
    tap = stand.need(stand.hooks.tap, "--tap HOST:PORT, and the gateway's broker set to that address")
    stand.may_stop()
    place, other = stand.place(), stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    await _acknowledged(stand, tap, fields["request_id"].encode())
    await stand.stop()
    stopped_ms = now_ms()
    await stand.start()
    await stand.send(place.machine_id, "request", fields | {"credential": other.badge, "challenge": "another-one"})
    seen = await stand.answer(place.machine_id, fields["request_id"])
    decision = stand.read(place.machine_id, seen)
    expect(decision.at <= stopped_ms, "the decision of before the kill", f"made {decision.at - stopped_ms} ms after it")


async def _acknowledged(stand: Stand, tap: Tap, marker: bytes) -> None:
    """Waits for the gateway's PUBACK of the message that holds the marker."""
    give_up = time.monotonic() + stand.options.answer_s
    while time.monotonic() < give_up:
        waiting: set[int] = set()
        for one in tap.passed:
            if one.packet.kind == mqtt.PUBLISH and not one.from_gateway and marker in one.packet.body:
                waiting.add(mqtt.read_publish(one.packet, one.version).packet_id)
            elif one.packet.kind == mqtt.PUBACK and one.from_gateway and mqtt.read_packet_id(one.packet) in waiting:
                return
        await asyncio.sleep(0.001)
    raise Failed("a PUBACK of the gateway for the request", f"none within {stand.options.answer_s:g} s")


@case(
    "OTHERS-17", "What a check cannot work with refuses and is not skipped", "无法执行的检查按拒绝处理", f"{WHERE}, 17"
)
async def odd_input(stand: Stand) -> None:
    place = stand.place()
    for odd in ODD:
        fields = stand.request("CKP-REVOKED") | odd
        await stand.send(place.machine_id, "request", fields)
        seen: Seen = await stand.answer(place.machine_id, fields["request_id"])
        outcome = stand.read(place.machine_id, seen).outcome
        expect(outcome == "deny", f"deny for {odd}", outcome)


@case(
    "OTHERS-18",
    "An import with a mistake changes nothing: nobody is revoked by it",
    "导入文件有误时不生效，不误吊销",
    f"{WHERE}, 18",
)
async def wrong_import(stand: Stand) -> None:
    stand.need(stand.hooks.import_files, "--import-command with {folder} in it")
    place = stand.place()
    wrong = {name: list(rows) for name, rows in county.revoked(stand.files, place.badge).items()}
    status = county.COLUMNS["certificates"].index("status")
    wrong["certificates"][-1] = [*wrong["certificates"][-1][:status], "gone", *wrong["certificates"][-1][status + 1 :]]
    taken = await stand.import_tables(wrong)
    try:
        expect(not taken, "the import refused", "taken")
        await stand.let_in(place)
    finally:
        if taken:
            await stand.import_tables(stand.files)


@case(
    "OTHERS-19",
    "Expired is after the last day, whatever the days of the months",
    "过期按实际日期判断，与月份天数无关",
    f"{WHERE}, 19",
)
async def days_to_expiry(stand: Stand) -> None:
    place = stand.place()
    for days in county.EXPIRED_DAYS:
        decision = await stand.ask(place.machine_id, county.expired_welder(days))
        expect(codes(decision) == ["certificate_expired"], f"certificate_expired {days} days after", codes(decision))
    lasting = await stand.ask(place.machine_id, "CKP-LASTS")
    expect(lasting.outcome == "allow", "allow for a certificate that lasts some weeks", codes(lasting))


@case(
    "OTHERS-20",
    "A subscription that is granted and delivers nothing loses no request: it is answered once deliveries come",
    "订阅成功但不投递时请求不丢失，恢复后即答复",
    f"{WHERE}, 20",
)
async def deaf_subscription(stand: Stand) -> None:
    tap = stand.need(stand.hooks.tap, "--tap HOST:PORT, and the gateway's broker set to that address")
    place = stand.place()
    fields = stand.request(place.badge)
    tap.deaf = True
    try:
        await stand.send(place.machine_id, "request", fields)
        await stand.quiet()
        expect(not stand.answers(place.machine_id, fields["request_id"]), "nothing delivered, nothing answered", "one")
    finally:
        tap.deaf = False
    tap.cut()
    seen = await stand.answer(place.machine_id, fields["request_id"], within_s=stand.options.ready_s)
    stand.read(place.machine_id, seen)
