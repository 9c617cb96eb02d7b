"""Sessions by what the next request is answered with, and what others are told. Ids GW-3."""

from typing import Any

from gateway.wire import topics
from gateway.wire.messages import DecisionMessage
from simulator.conformance.cases import expect
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.stand import Stand

SESSIONS = "Reasons: machine_in_session, operator_in_session"
CHIP_EVENTS = "Chip → gateway: event"
FEED = "Gateway → everybody else"


def codes(decision: DecisionMessage) -> list[str]:
    return [reason.code for reason in decision.reasons]


@case(
    "GW-3.1",
    "One session a machine: a second welder is refused with machine_in_session",
    "一机一会话：第二名焊工以 machine_in_session 拒绝",
    SESSIONS,
)
async def machine_in_session(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    await stand.unlocked(place)
    decision = await stand.ask(place.machine_id, other.badge)
    expect(codes(decision) == ["machine_in_session"], "machine_in_session", codes(decision) or "allow")


@case(
    "GW-3.2",
    "One session a welder: a second machine is refused with operator_in_session",
    "一人一会话：第二台设备以 operator_in_session 拒绝",
    SESSIONS,
)
async def operator_in_session(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    await stand.unlocked(place)
    decision = await stand.ask(other.machine_id, place.badge)
    expect(codes(decision) == ["operator_in_session"], "operator_in_session", codes(decision) or "allow")


@case("GW-3.3", "The event `locked` frees machine and welder", "locked 事件释放设备和人员", CHIP_EVENTS)
async def locked_frees(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    session_id, _ = await stand.unlocked(place)
    await stand.event(place.machine_id, "locked", session_id, reason="operator")
    for machine_id, badge in ((place.machine_id, other.badge), (other.machine_id, place.badge)):
        decision = await stand.ask(machine_id, badge)
        expect(decision.outcome == "allow", f"allow for {badge} at {machine_id}", codes(decision))


@case("GW-3.4", "A `boot` ends the session: power-up is locked", "boot 事件结束会话：上电即锁定", CHIP_EVENTS)
async def boot_ends(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    session_id, _ = await stand.unlocked(place)
    await stand.event(place.machine_id, "boot", session_id, reason="power_up")
    decision = await stand.ask(place.machine_id, other.badge)
    expect(decision.outcome == "allow", "allow for the next welder", codes(decision))


@case("GW-3.5", "A grant that the chip refused is no session", "锁具拒绝的授权不构成会话", CHIP_EVENTS)
async def rejected_grant(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    decision = await stand.let_in(place)
    await stand.event(place.machine_id, "grant_rejected", decision.session_id, reason="other_challenge")
    after = await stand.ask(place.machine_id, other.badge)
    expect(after.outcome == "allow", "allow for the next welder", codes(after))


@case("GW-3.6", "The same welder may scan again at the same machine", "同一焊工可在同一设备再次扫码", SESSIONS)
async def scans_again(stand: Stand) -> None:
    place = stand.place()
    first, _ = await stand.unlocked(place)
    second = await stand.let_in(place)
    expect(second.session_id != first, "another session", second.session_id)


@case(
    "GW-3.7",
    "A late `locked` of an old session does not end the new one",
    "旧会话迟到的 locked 不结束新会话",
    CHIP_EVENTS,
)
async def late_locked(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    first, _ = await stand.unlocked(place)
    await stand.event(place.machine_id, "locked", first, reason="operator")
    await stand.unlocked(place)
    await stand.event(place.machine_id, "locked", first, reason="operator")
    decision = await stand.ask(place.machine_id, other.badge)
    expect(codes(decision) == ["machine_in_session"], "machine_in_session", codes(decision) or "allow")


@case(
    "GW-3.8",
    "An event that comes twice counts once: its second copy ends nothing",
    "重复送达的事件只计一次",
    "Ground rules",
)
async def event_twice(stand: Stand) -> None:
    place, other = stand.place(), stand.place()
    first, _ = await stand.unlocked(place)
    boot = await stand.event(place.machine_id, "boot", first, reason="power_up")
    await stand.unlocked(place)
    await stand.send(place.machine_id, "event", boot)
    decision = await stand.ask(place.machine_id, other.badge)
    expect(codes(decision) == ["machine_in_session"], "machine_in_session", codes(decision) or "allow")


# --- what others are told -----------------------------------------------------------------------------------------


@case(
    "GW-3.9",
    "The decision feed tells outcome and reasons, and neither credential nor grant nor the full operator",
    "决定的公开消息不含凭证、授权和完整人员编号",
    FEED,
)
async def decision_feed(stand: Stand) -> None:
    place = stand.place()
    decision = await stand.let_in(place)
    told = await stand.feed("decision", lambda one: one.get("request_id") == decision.request_id, "the decision")
    text = str(told)
    expect(told.get("outcome") == "allow" and told.get("machine_id") == place.machine_id, "outcome and machine", told)
    expect(place.badge not in text and (decision.grant or "-") not in text, "no credential and no grant", told)


@case("GW-3.10", "The usage feed tells a session's figures once at its end", "会话结束时发布一次用量汇总", FEED)
async def usage_feed(stand: Stand) -> None:
    place = stand.place()
    session_id, _ = await stand.unlocked(place)
    await stand.usage(place.machine_id, session_id, 1)
    await stand.usage(place.machine_id, session_id, 2, final=True, relay="open")
    await stand.event(place.machine_id, "locked", session_id, reason="operator")

    def final(one: dict[str, Any]) -> bool:
        return one.get("session_id") == session_id and one.get("final") is True

    told = await stand.feed("usage", final, "final usage of the session")
    figures = (told.get("enabled_s"), told.get("arc_s"), told.get("arcs"))
    expect(figures == (20, 12, 2), "enabled_s, arc_s, arcs (20, 12, 2)", figures)


async def alert(stand: Stand, kind: str, wanted: str, **other: Any) -> None:
    """An event of this kind makes an alert of that kind."""
    place = stand.place()
    await stand.event(place.machine_id, "boot", seq=1)
    await stand.event(place.machine_id, kind, **{"seq": 2} | other)
    await stand.feed(
        "alert", lambda one: (one.get("machine_id"), one.get("kind")) == (place.machine_id, wanted), f"alert {wanted}"
    )


@case("GW-3.11", "Tampering raises an alert", "防拆报警", FEED)
async def tamper_alert(stand: Stand) -> None:
    await alert(stand, "tamper", "tamper")


@case("GW-3.12", "Welding current without a lease raises an alert", "无授权焊接报警", FEED)
async def arc_alert(stand: Stand) -> None:
    await alert(stand, "arc_without_lease", "arc_without_lease", reason="current")


@case("GW-3.13", "A relay that does not follow raises an alert", "继电器故障报警", FEED)
async def stuck_alert(stand: Stand) -> None:
    await alert(stand, "relay_stuck", "relay_stuck", reason="closed")


@case("GW-3.14", "A gap in a chip's event numbers is lost evidence: an alert", "事件缺号即证据丢失，报警", "event: seq")
async def gap_alert(stand: Stand) -> None:
    await alert(stand, "grant_rejected", "lost_evidence", reason="other_challenge", seq=5)


@case("GW-3.15", "The gateway's own status is retained: online, version, registry_version", "网关状态为保留消息", FEED)
async def gateway_status(stand: Stand) -> None:
    device = await stand.device()
    await device.subscribe(f"{topics.ROOT}/gateway/+/status")
    seen = await device.until(
        lambda: next((one for one in device.seen if one.content.get("online") is True), None), stand.options.answer_s
    )
    expect(seen is not None and seen.retain, "a retained status with online: true", seen)
    told = seen.content if seen else {}
    expect({"version", "registry_version", "at"} <= set(told), "version, registry_version, at", told)
