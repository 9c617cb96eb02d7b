"""A recorded decision in words, and made again from its own facts."""

from collections.abc import Iterator

import msgspec

from gateway.core.decide import decide
from gateway.core.model import Decision, Facts
from gateway.core.policy import Rulebook
from gateway.core.reasons import REASONS
from gateway.core.rules import local_time
from gateway.gate.entry import CommandBody, DecisionBody, EventBody
from gateway.store.ledger import Record

_decode_body = msgspec.json.Decoder(DecisionBody).decode
_decode_command = msgspec.json.Decoder(CommandBody).decode
_decode_event = msgspec.json.Decoder(EventBody).decode


def decision_of(record: Record) -> DecisionBody:
    return _decode_body(record.body)


def judgement_in(record: Record) -> DecisionBody | None:
    """What was decided in a record of any kind: a request, a running session, or an unlock without a connection."""
    match record.kind:
        case "decision":
            return decision_of(record)
        case "command":
            return _decode_command(record.body).review
        case "event":
            return _decode_event(record.body).judged
        case _:
            return None


def decide_again(body: DecisionBody, rulebook: Rulebook) -> Decision:
    """INVARIANT: the same request, facts and policy give the same decision, on any machine and on any day."""
    return decide(body.asked, body.facts, rulebook)


def in_words(record: Record) -> Iterator[str]:
    """Lines that tell a person what was asked, what was decided and why, Chinese with English beside it."""
    body = decision_of(record)
    decision, facts = body.decision, body.facts
    verdict = "允许解锁 allowed" if decision.outcome == "allow" else "拒绝解锁 refused"
    yield f"{local_time(record.at):%Y-%m-%d %H:%M:%S} (Asia/Shanghai)  {verdict}"
    yield f"设备 machine   {record.machine_id}  {_machine(body)}"
    yield f"人员 operator  {record.operator_id or '—'}  {_operator(body)}"
    if facts.enterprise:
        yield f"企业 firm      {facts.enterprise.uscc}  {facts.enterprise.status}"
    for work in facts.employments:
        yield f"从业 employed  {work.since or '?'} … {work.until or '至今 until now'}"
    for held in facts.certificates:
        mark = "→" if held.ref == decision.certificate else " "
        review = f"复审 review {held.review_due or '?'} / {held.reviewed_on or '未记录 not recorded'}"
        yield (
            f"证书 certificate {mark} {held.number}  {held.item}  {held.valid_from or '?'} … {held.valid_until}  "
            f"{review}  {held.status}  {held.verification}"
        )
    yield from _by_phone(body)
    yield from _permission(facts)
    for code in decision.reasons:
        yield from _reason("✗", code)
    for code in decision.overridden:
        yield from _reason("○", code)
    for code in decision.warnings:
        yield from _reason("!", code)
    for fault in decision.faults:
        yield f"✗ 检查未能执行 a check could not be carried out: {fault}"
    if facts.override is not None and decision.overridden:
        yield f"临时放行 override {facts.override.override_id}  {facts.override.level}, {_until(facts.override.until)}"
    if decision.outcome == "allow":
        yield f"授权 grant     须在 start within {decision.start_by_s} s，有效 lease {decision.lease_s} s"
    yield f"依据 rests on  policy {body.policy[:16]}…, registry version {body.registry}, waited {facts.waited_ms} ms"


def _by_phone(body: DecisionBody) -> Iterator[str]:
    """Who had signed in, and what was known of the lock."""
    presence = body.facts.presence
    if body.asked.method != "phone":
        return
    yield f"手机 phone     账号 account {body.asked.account_id or '?'}"
    if presence is not None:
        online = "在线 online" if presence.online and body.asked.challenge else "不在线 offline"
        off_ms = presence.clock_off_ms
        clock = "没有时钟 without a clock" if off_ms is None else f"时钟相差 clock off by {off_ms / 1000:+.1f} s"
        yield f"锁具 lock      {online}  {clock}"


def _permission(facts: Facts) -> Iterator[str]:
    """Permits, hours and sources, where there are any."""
    for permit in facts.permits:
        who, where = permit.operator_id or "任何人 anybody", permit.machine_id or "任何焊机 any machine"
        yield (
            f"作业票 permit  {permit.permit_id}  {permit.level}  {permit.status}  "
            f"{_moment(permit.starts_at)} … {_moment(permit.ends_at)}  {who}  {where}  "
            f"监护 guardian {permit.guardian or '?'}"
        )
    for span in facts.hours:
        where = span.machine_id or "全企业 all of the firm"
        yield f"时段 hours     {where}  星期 days {span.days}  {span.starts}-{span.ends}"
    for source, age_s in facts.source_ages:
        yield f"来源 source    {source}  confirmed {age_s} s ago"


def _moment(at: int) -> str:
    return f"{local_time(at):%Y-%m-%d %H:%M}"


def _until(at: int) -> str:
    return f"至 until {local_time(at):%H:%M:%S}"


def _machine(body: DecisionBody) -> str:
    machine = body.facts.machine
    if machine is None:
        return "未登记 not registered"
    chip = body.facts.chip_reported or "未上报 not reported"
    return f"{machine.process}  {machine.status}  division {machine.division}  chip {machine.chip or '—'} / {chip}"


def _operator(body: DecisionBody) -> str:
    operator = body.facts.operator
    return operator.status if operator else f"扫码内容 scanned {body.asked.credential!r}"


def _reason(mark: str, code: str) -> Iterator[str]:
    reason = REASONS[code]
    yield f"{mark} {code}: {reason.message_zh} {reason.message_en}"
    yield f"    办法 remedy: {reason.remedy_zh} {reason.remedy_en}"
    yield f"    谁能解决 resolved by: {', '.join(reason.resolvers)}; 现场可否放行 override: {reason.override}"
    if reason.law:
        yield f"    法规 law: {reason.law}"
