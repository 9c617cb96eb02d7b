"""What a request is answered with. Ids GW-1."""

import time

import msgspec
from joserfc import jws

from gateway.core.reasons import REASONS
from gateway.wire import topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.tokens import ALGORITHM, ISSUER
from simulator.conformance import mqtt
from simulator.conformance.cases import expect
from simulator.conformance.gateway import county
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.stand import Stand

DECISION = "Gateway → chip"
GROUND = "Ground rules"
RESOLVERS = ("operator", "enterprise", "regulator", "training_centre", "machine_vendor", "gateway_operator")
START_BY_S = 30
STALE_MS = 600_000


@case(
    "GW-1.1",
    "Somebody in order is let in: allow, no reasons, a grant and a session",
    "合格人员放行：allow、无原因、有授权和会话",
    DECISION,
)
async def allows(stand: Stand) -> None:
    decision = await stand.let_in(stand.place())
    told = (decision.reasons, bool(decision.grant), bool(decision.session_id))
    expect(told == ((), True, True), "no reasons, a grant and a session_id", decision)


@case(
    "GW-1.2",
    "The grant is for this machine, request, session and challenge, and starts within 30 s",
    "授权对应本设备、本请求、本会话、本挑战码，30 秒内启动",
    "Grant claims",
)
async def grant_fits(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge)
    await stand.send(place.machine_id, "request", fields)
    decision = stand.read(place.machine_id, await stand.answer(place.machine_id, fields["request_id"]))
    grant = stand.grant(decision)
    told = (grant.iss, grant.aud, grant.jti, grant.sid, grant.cha, grant.n)
    wanted = (ISSUER, place.machine_id, fields["request_id"], decision.session_id, fields["challenge"], 0)
    expect(told == wanted, f"iss, aud, jti, sid, cha, n {wanted}", told)
    expect(0 < grant.exp - grant.iat <= START_BY_S, f"exp at most {START_BY_S} s after iat", grant.exp - grant.iat)
    expect(abs(grant.iat - time.time()) < 60, "iat near the present time", grant.iat)
    expect(grant.lease_s >= 1, "a lease", grant.lease_s)


@case(
    "GW-1.3",
    "The grant is a JWS compact token, ES256, with the key's id in its header",
    "授权为 JWS 紧凑格式，ES256，头部含 kid",
    "A grant and a command are JWS compact tokens",
)
async def grant_header(stand: Stand) -> None:
    decision = await stand.let_in(stand.place())
    header = jws.extract_compact((decision.grant or "").encode()).headers()
    expect(header.get("alg") == ALGORITHM and bool(header.get("kid")), f"alg {ALGORITHM} and a kid", header)
    stand.grant(decision)


@case("GW-1.4", "A refusal carries no grant and no session", "拒绝时不含授权和会话", DECISION)
async def denies(stand: Stand) -> None:
    decision = await stand.ask(stand.place().machine_id, "CKP-REVOKED")
    told = (decision.outcome, decision.grant, decision.session_id)
    expect(told == ("deny", None, None), "deny without grant and session", told)


@case("GW-1.5", "A refusal lists every check that failed, not the first", "拒绝时列出所有未通过的检查", "Reasons")
async def every_reason(stand: Stand) -> None:
    decision = await stand.ask(stand.place().machine_id, "CKP-EVERYTHING")
    seen = {reason.code for reason in decision.reasons}
    wanted = {"operator_blocked", "operator_not_employed", "certificate_expired", "certificate_revoked"}
    expect(seen == wanted, str(sorted(wanted)), sorted(seen))


@case("GW-1.6", "An unknown machine gives machine_unknown alone", "未登记设备只返回 machine_unknown", "Reasons")
async def unknown_machine(stand: Stand) -> None:
    decision = await stand.ask("CK-NOWHERE-1", "CKP-EVERYTHING")
    expect([reason.code for reason in decision.reasons] == ["machine_unknown"], "machine_unknown", decision.reasons)


@case("GW-1.7", "A chip that is not the registered one is refused", "芯片与登记不符时拒绝", "Reasons: chip_mismatch")
async def chip_mismatch(stand: Stand) -> None:
    place = stand.place()
    await stand.status(place.machine_id, "ANOTHER-CHIP-1", "challenge-of-another")
    decision = await stand.ask(place.machine_id, place.badge)
    await stand.status(place.machine_id, place.serial, "challenge-of-its-own")
    await stand.forget_status(place.machine_id)
    expect("chip_mismatch" in {reason.code for reason in decision.reasons}, "chip_mismatch", decision)


@case(
    "GW-1.8",
    "A request from a clock that is minutes off is refused as request_stale",
    "时间相差数分钟的请求以 request_stale 拒绝",
    "Reasons: request_stale",
)
async def stale(stand: Stand) -> None:
    place = stand.place()
    for off_ms in (-STALE_MS, STALE_MS):
        decision = await stand.ask(place.machine_id, place.badge, at=time.time_ns() // 1_000_000 + off_ms)
        expect("request_stale" in {reason.code for reason in decision.reasons}, "request_stale", decision)


@case("GW-1.9", "A chip without a clock (at: null) is served", "无时钟的锁具（at 为 null）照常服务", "request: at")
async def no_clock(stand: Stand) -> None:
    await stand.let_in(stand.place(), at=None)


@case("GW-1.10", "Unknown fields of a request are passed over", "忽略请求中的未知字段", GROUND)
async def unknown_fields(stand: Stand) -> None:
    await stand.let_in(stand.place(), from_the_future={"a": [1, None]}, colour="blue")


@case(
    "GW-1.11",
    "A malformed request with a readable id is refused as request_malformed",
    "格式错误但编号可读的请求以 request_malformed 拒绝",
    "Reasons: request_malformed",
)
async def malformed(stand: Stand) -> None:
    place = stand.place()
    for wrong in ({"challenge": 7}, {"method": "telepathy"}, {"at": "yesterday"}):
        decision = await stand.ask(place.machine_id, place.badge, **wrong)
        codes = [reason.code for reason in decision.reasons]
        expect(decision.outcome == "deny" and "request_malformed" in codes, f"request_malformed for {wrong}", codes)


@case("GW-1.12", "Junk gets no answer and stops nothing", "乱码不予答复，也不影响工作", GROUND)
async def junk(stand: Stand) -> None:
    place = stand.place()
    topic = topics.to_gateway(place.machine_id, "request")
    for payload in (b"", b"\xff\xfe\x00", b"null", b"[]", b"{" * 5000, b'"request"', b'{"request_id": "short"}'):
        await stand.air.publish(topic, payload)
    for kind in ("usage", "event"):
        await stand.air.publish(f"{topics.ROOT}/{place.machine_id}/{kind}", b'{"session_id": 1}')
    await stand.quiet()
    expect(not stand.air.on(topics.decision(place.machine_id)), "no answer to junk", "one came")
    await stand.let_in(place)


@case("GW-1.13", "A request of more than 4 KiB is never allowed", "超过 4 KiB 的请求不得放行", GROUND)
async def oversize(stand: Stand) -> None:
    place = stand.place()
    fields = stand.request(place.badge, padding="x" * MAX_PAYLOAD_BYTES)
    await stand.send(place.machine_id, "request", fields)
    await stand.quiet()
    outcomes = [seen.content.get("outcome") for seen in stand.answers(place.machine_id, fields["request_id"])]
    expect("allow" not in outcomes, "no allow", outcomes)


@case("GW-1.14", "A decision fits into 4 KiB, with every reason at once", "决定不超过 4 KiB", GROUND)
async def short_decisions(stand: Stand) -> None:
    fields = stand.request("CKP-EVERYTHING", at=1)
    await stand.send(county.MACHINE_STOPPED, "request", fields)
    seen = await stand.answer(county.MACHINE_STOPPED, fields["request_id"])
    expect(len(seen.payload) <= MAX_PAYLOAD_BYTES, f"{MAX_PAYLOAD_BYTES} bytes at most", len(seen.payload))


# --- MQTT 5 -------------------------------------------------------------------------------------------------------


@case(
    "GW-1.15",
    "A chip that speaks MQTT 5 is answered as one that speaks 3.1.1",
    "MQTT 5 与 3.1.1 的锁具得到同样的答复",
    GROUND,
)
async def both_versions(stand: Stand) -> None:
    for version in (mqtt.V311, mqtt.V5):
        place = stand.place()
        device = await stand.device(version=version)
        await device.subscribe(topics.decision(place.machine_id))
        fields = stand.request(place.badge)
        await device.publish(topics.to_gateway(place.machine_id, "request"), msgspec.json.encode(fields))
        seen = await stand.answer(place.machine_id, fields["request_id"], device=device)
        outcome = stand.read(place.machine_id, seen).outcome
        expect(outcome == "allow", f"allow over MQTT level {version}", outcome)


@case(
    "GW-1.16",
    "MQTT 5: a Response Topic under the sender's own topics is honoured, and Correlation Data echoed",
    "MQTT 5：响应主题在本机主题之下时生效，并回传关联数据",
    "MQTT 5",
    needs=("mqtt5",),
)
async def response_topic(stand: Stand) -> None:
    place = stand.place()
    device = await stand.device(version=mqtt.V5)
    own = f"{topics.ROOT}/{place.machine_id}/reply/1"
    await device.subscribe(own, topics.decision(place.machine_id))
    asked = {mqtt.RESPONSE_TOPIC: own.encode(), mqtt.CORRELATION: b"kit-1"}
    payload = msgspec.json.encode(stand.request(place.badge))
    await device.publish(topics.to_gateway(place.machine_id, "request"), payload, properties=asked)
    seen = await device.until(lambda: next(iter(device.on(own)), None), stand.options.answer_s)
    expect(seen is not None, f"the decision on {own}", "nothing there")
    if seen is not None:
        stand.read(place.machine_id, seen)
        echoed = seen.properties.get(mqtt.CORRELATION)
        expect(echoed == b"kit-1", "the Correlation Data of the request", echoed)


@case(
    "GW-1.17",
    "MQTT 5: a Response Topic elsewhere is not honoured: the decision comes on the machine's own topic",
    "MQTT 5：他处的响应主题无效，决定仍发往本机主题",
    "MQTT 5",
)
async def foreign_response_topic(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    device = await stand.device(version=mqtt.V5)
    foreign = f"{topics.ROOT}/{other.machine_id}/decision"
    await device.subscribe(foreign, topics.decision(place.machine_id))
    fields = stand.request(place.badge)
    asked = {mqtt.RESPONSE_TOPIC: foreign.encode(), mqtt.CORRELATION: b"kit-2"}
    topic = topics.to_gateway(place.machine_id, "request")
    await device.publish(topic, msgspec.json.encode(fields), properties=asked)
    stand.read(place.machine_id, await stand.answer(place.machine_id, fields["request_id"], device=device))
    await stand.quiet()
    expect(not device.on(foreign), f"nothing on {foreign}", "the decision")


@case(
    "GW-1.18",
    "MQTT 5: the message expiry of a decision is not longer than the grant's start-by",
    "MQTT 5：决定的消息过期时间不超过授权启动时限",
    "MQTT 5",
    needs=("mqtt5",),
)
async def message_expiry(stand: Stand) -> None:
    place = stand.place()
    device = await stand.device(version=mqtt.V5)
    await device.subscribe(topics.decision(place.machine_id))
    fields = stand.request(place.badge)
    await device.publish(topics.to_gateway(place.machine_id, "request"), msgspec.json.encode(fields))
    seen = await stand.answer(place.machine_id, fields["request_id"], device=device)
    grant = stand.grant(stand.read(place.machine_id, seen))
    expiry = seen.properties.get(mqtt.MESSAGE_EXPIRY)
    start_by_s = grant.exp - grant.iat
    told = int.from_bytes(expiry, "big") if expiry else None
    expect(told is not None and told <= start_by_s, f"a message expiry of at most {start_by_s} s", told)


@case(
    "GW-1.19",
    "Each reason has a known code, message and remedy in Chinese, and who can resolve it",
    "每条原因含代码、中文说明与处理办法、解决方",
    "Reasons",
)
async def reasons_are_whole(stand: Stand) -> None:
    decision = await stand.ask(county.MACHINE_STOPPED, "CKP-EVERYTHING")
    expect(len(decision.reasons) > 1, "several reasons", decision.reasons)
    for reason in decision.reasons:
        known = reason.code in REASONS and reason.resolver in RESOLVERS
        chinese = all(any("一" <= letter <= "鿿" for letter in text) for text in (reason.message, reason.remedy))
        expect(known and chinese, "a known code, texts in Chinese, a resolver", reason)
