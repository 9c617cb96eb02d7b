"""The same message again, late, in another order, or with the retained flag. Ids GW-2."""

import asyncio

import msgspec

from gateway.wire import topics
from simulator.conformance.cases import expect
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.stand import Stand

GROUND = "Ground rules"


@case(
    "GW-2.1",
    "The same request again gets the same bytes, and no second session",
    "重复请求得到逐字节相同的答复，不开第二个会话",
    GROUND,
)
async def same_bytes(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge)
    for dup in (False, True, True):
        await stand.send(place.machine_id, "request", fields, dup=dup)
    last = await stand.answer(place.machine_id, fields["request_id"], number=3)
    stand.read(place.machine_id, last)
    different = {seen.payload for seen in stand.answers(place.machine_id, fields["request_id"])}
    expect(len(different) == 1, "the same bytes three times", f"{len(different)} different answers")


@case(
    "GW-2.2",
    "A known request id with other content gets the first answer, whatever it asks now",
    "相同编号、不同内容：返回首次答复",
    GROUND,
)
async def same_id_other_content(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request("CKP-REVOKED")
    await stand.send(place.machine_id, "request", fields)
    first = await stand.answer(place.machine_id, fields["request_id"])
    await stand.send(place.machine_id, "request", fields | {"credential": place.badge, "challenge": "another-one"})
    second = await stand.answer(place.machine_id, fields["request_id"], number=2)
    expect(second.payload == first.payload, "the bytes of the first answer", second.payload)


@case("GW-2.3", "The same request id from another machine is another request", "不同设备的相同编号互不相干", GROUND)
async def same_id_other_machine(stand: Stand) -> None:
    one, other = stand.place(), stand.place()
    fields = stand.request(one.badge)
    for place in (one, other):
        await stand.send(place.machine_id, "request", fields | {"credential": place.badge})
        decision = stand.read(place.machine_id, await stand.answer(place.machine_id, fields["request_id"]))
        expect(decision.outcome == "allow", f"allow at {place.machine_id}", decision)
        expect(stand.grant(decision).aud == place.machine_id, f"a grant for {place.machine_id}", decision)


@case(
    "GW-2.4", "A request that arrives twice at the same moment is one session", "同时到达的两份请求只开一个会话", GROUND
)
async def at_the_same_moment(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge)
    payload, topic = msgspec.json.encode(fields), topics.to_gateway(place.machine_id, "request")
    devices = [await stand.device() for _ in range(6)]
    await asyncio.gather(*(device.publish(topic, payload) for device in devices))
    last = await stand.answer(place.machine_id, fields["request_id"], number=len(devices))
    stand.read(place.machine_id, last)
    sessions = {seen.content.get("session_id") for seen in stand.answers(place.machine_id, fields["request_id"])}
    expect(len(sessions) == 1, "one session_id", sessions)


@case("GW-2.5", "A decision comes at QoS 1 and is never retained", "决定以 QoS 1 发布且从不保留", GROUND)
async def never_retained(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    seen = await stand.answer(place.machine_id, fields["request_id"])
    stand.read(place.machine_id, seen)
    expect(seen.qos == 1 and not seen.retain, "QoS 1, not retained", f"QoS {seen.qos}, retained: {seen.retain}")


@case(
    "GW-2.6",
    "A request left behind on the broker is a replay: it is not answered after a restart",
    "代理上残留的请求视为重放：重启后不再答复",
    GROUND,
)
async def retained_request(stand: Stand) -> None:
    """Live it is a request like any other; a gateway that subscribes anew gets the copy that was left behind."""
    stand.may_restart()
    place = stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields, retain=True)
    stand.read(place.machine_id, await stand.answer(place.machine_id, fields["request_id"]))
    await stand.restart()
    await stand.quiet()
    await stand.air.publish(topics.to_gateway(place.machine_id, "request"), b"", retain=True)
    answers = stand.answers(place.machine_id, fields["request_id"])
    expect(len(answers) == 1, "no answer to the copy left behind", f"{len(answers)} answers")


@case("GW-2.7", "The answer is the same bytes after a restart of the gateway", "网关重启后答复仍逐字节相同", GROUND)
async def after_a_restart(stand: Stand) -> None:
    stand.may_restart()
    place = stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    first = await stand.answer(place.machine_id, fields["request_id"])
    stand.read(place.machine_id, first)
    await stand.restart()
    await stand.send(place.machine_id, "request", fields)
    again = await stand.answer(place.machine_id, fields["request_id"], number=2)
    expect(again.payload == first.payload, "the same bytes", again.payload)


@case(
    "GW-2.8",
    "A chip that lost its connection before the answer asks again and has it",
    "连接在答复前中断：重新询问得到同一答复",
    GROUND,
)
async def lost_connection(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge)
    topic, payload = topics.to_gateway(place.machine_id, "request"), msgspec.json.encode(fields)
    for clean in (True, False):
        device = await stand.device(f"kit-lost-{place.machine_id}-{clean}", clean=clean)
        await device.subscribe(topics.decision(place.machine_id))
        await device.publish(topic, payload)
        await device.vanish()
    await stand.answer(place.machine_id, fields["request_id"], number=2)
    device = await stand.device(f"kit-lost-{place.machine_id}-True")
    await device.subscribe(topics.decision(place.machine_id))
    await device.publish(topic, payload)
    seen = await stand.answer(place.machine_id, fields["request_id"], device=device)
    decision = stand.read(place.machine_id, seen)
    expect(decision.outcome == "allow", "allow", decision)
    different = {one.payload for one in stand.answers(place.machine_id, fields["request_id"])}
    expect(different == {seen.payload}, "the same bytes each time", f"{len(different)} different answers")


@case("GW-2.9", "A chip that acknowledges late holds up nobody else", "迟迟不确认的锁具不影响他人", GROUND)
async def late_acknowledgement(stand: Stand) -> None:
    slow, quick = stand.place(), stand.place()
    device = await stand.device()
    device.acknowledges = False
    await device.subscribe(topics.decision(slow.machine_id))
    await stand.let_in(slow)
    await stand.let_in(quick)


@case(
    "GW-2.10",
    "A session's end that arrives before its begin ends it all the same",
    "结束事件先于开始事件到达，会话仍结束",
    GROUND,
)
async def out_of_order(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    session_id = (await stand.let_in(place)).session_id
    await stand.usage(place.machine_id, session_id or "", 3, final=True, relay="open")
    await stand.event(place.machine_id, "locked", session_id, reason="operator", seq=12)
    await stand.event(place.machine_id, "unlocked", session_id, seq=11)
    decision = await stand.ask(place.machine_id, other.badge)
    expect(decision.outcome == "allow", "allow for the next welder", [reason.code for reason in decision.reasons])
