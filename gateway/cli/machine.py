"""``weldgate machine``: lock a machine from afar, take it out of service, release it, look at it."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import typer
from sqlalchemy import Connection

from gateway.cli.desk import ByOption, ReasonOption, looking, opened, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.core.credential import mask
from gateway.core.model import Control, Event
from gateway.core.reasons import REASONS
from gateway.gate.entry import EventBody
from gateway.gate.explain import decision_of
from gateway.registry import orders
from gateway.registry.acts import Holding, author, holding, when
from gateway.store import overview
from gateway.store.controls import about_machine, acts
from gateway.store.engine import DEFAULT_URL
from gateway.store.ledger import Stored, decode_record
from gateway.store.overview import ListFacts, Lost, MachineFacts, SessionFacts, Wanted

app = typer.Typer(
    help="Machines: lock from afar, take out of service, release, show how they stand.", no_args_is_help=True
)
MachineArgument = Annotated[str, typer.Argument(help="The machine's number.")]

SHOWN_DECISIONS = 5
SHOWN_EVENTS = 5
SHOWN_GAPS = 10
_decode_body = msgspec.json.Decoder(EventBody).decode
_decode_event = msgspec.json.Decoder(Event).decode
_HOLDS = {"lock": "已锁定 locked", "out_of_service": "停用 out of service"}


# --- orders -----------------------------------------------------------------------------------------------------


@app.command()
def lock(machine: MachineArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """Lock a machine from afar: its session ends, and requests are refused until it is unlocked."""
    _hold("lock", machine, database, by, reason)


@app.command("out-of-service")
def out_of_service(
    machine: MachineArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL
) -> None:
    """Take a machine out of service: as lock, for a machine that must not be used until it is repaired or checked."""
    _hold("out_of_service", machine, database, by, reason)


def _hold(act: Holding, machine: str, database: str, by: str, reason: str) -> None:
    with opened(database) as engine:
        done = orders.hold_machine(engine, act, machine, author(by, reason, now_ms()))
        say(f"{_HOLDS[act]}  {_signed(done)}")
        with engine.connect() as connection:
            for session in overview.sessions(connection, Wanted(machine_id=done.machine_id), limit=1):
                say(f"会话正在结束 its session is being ended: {session.session_id}")


@app.command()
def unlock(
    machine: MachineArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL
) -> None:
    """Release a machine that is locked or out of service. Whoever wants to work scans again."""
    with opened(database) as engine:
        done = orders.release_machine(engine, machine, author(by, reason, now_ms()))
        say(f"已解除 released  {_signed(done)}")


def _signed(done: Control) -> str:
    return f"{done.machine_id}  {when(done.at)} (Asia/Shanghai)  {done.by}: {done.reason}  [{done.control_id}]"


# --- show -------------------------------------------------------------------------------------------------------


@app.command()
def show(machine: MachineArgument, database: DatabaseOption = DEFAULT_URL) -> None:
    """How a machine stands: registry, hold, lock chip, session, offline list, last decisions, lost evidence, events."""
    with looking(database) as connection:
        known = orders.registered_machine(connection, machine)
        for line in _in_words(connection, known):
            say(line)


def _in_words(connection: Connection, known: MachineFacts) -> Iterator[str]:
    machine_id = known.machine_id
    yield (
        f"设备 machine       {machine_id}  {known.process}  {known.status}  division {known.division}  "
        f"{known.location or '—'}"
    )
    yield f"企业 firm          {known.uscc}  {known.firm or '—'}  {known.firm_status or '未登记 not registered'}"
    yield f"锁定 hold          {_hold_in_words(acts(connection, about_machine(machine_id)))}"
    yield f"锁具 chip          {_chip(connection, known)}"
    running = overview.sessions(connection, Wanted(machine_id=machine_id), limit=1)
    yield f"会话 session       {_session(running[0]) if running else '无 none'}"
    yield f"离线名单 offline   {_list(overview.offline_list(connection, machine_id))}"
    yield f"最近核验 last {SHOWN_DECISIONS} decisions"
    for row in overview.latest_records(connection, machine_id, "decision", SHOWN_DECISIONS):
        yield from _decision(row)
    yield "丢失记录 lost evidence"
    yield from map(_gap, overview.lost_evidence(connection, machine_id, SHOWN_GAPS))
    yield f"最近事件 last {SHOWN_EVENTS} events"
    yield from map(_event, overview.latest_records(connection, machine_id, "event", SHOWN_EVENTS))


def _hold_in_words(known: Iterable[Control]) -> str:
    held = holding(known)
    if held is None:
        return "未锁定 not held"
    return f"{_HOLDS[held.act]}  自 since {when(held.at)}  {held.by}: {held.reason}"


def _chip(connection: Connection, known: MachineFacts) -> str:
    chip, registered = overview.chip(connection, known.machine_id), f"registered {known.chip or '—'}"
    if chip is None:
        return f"{registered}  从未上报 never reported"
    presence = "在线 online" if chip.online else "离线 offline"
    return (
        f"{registered}, reported {chip.chip or '—'}  {presence}, 最后上报 last heard {when(chip.received_at)}  "
        f"firmware {chip.firmware or '—'}  relay {chip.relay or '—'}"
    )


def _session(session: SessionFacts) -> str:
    who = mask(session.operator_id) if session.operator_id else "—"
    usage = f"最近用量 last usage {when(session.reported_at)}" if session.reported_at else "无用量 no usage yet"
    ground = f"  {session.drain_reason}" if session.drain_reason else ""
    return (
        f"{session.session_id}  {session.state}{ground}  {who}  自 since {when(session.granted_at)}  "
        f"租约至 lease until {when(session.lease_until)}  {usage}"
    )


def _list(held: ListFacts | None) -> str:
    if held is None:
        return "无 none"
    until = f", 至 until {when(held.until * 1000)}" if held.until else ""
    use = (
        f"失联后可用 usable for {held.offline_for_s} s without connection" if held.offline_for_s else "已收回 withdrawn"
    )
    return f"version {held.version}  {when(held.at)}  {held.people} 人 people{until}  {use}"


def _decision(row: Stored) -> Iterator[str]:
    decision = decision_of(decode_record(row.record)).decision
    verdict = "允许 allowed" if decision.outcome == "allow" else "拒绝 refused"
    yield f"  {when(row.at)}  {verdict}  {mask(row.operator_id) if row.operator_id else '—'}  {row.message_id}"
    for mark, codes in (("✗", decision.reasons), ("○", decision.overridden), ("!", decision.warnings)):
        for code in codes:
            yield f"    {mark} {code}: {REASONS[code].message_zh} {REASONS[code].message_en}"


def _gap(lost: Lost) -> str:
    noticed = f"  {when(lost.noticed_at)}  "
    if lost.last is None:
        return f"{noticed}编号自 {lost.first} 起重新开始 numbers began anew where {lost.first} was due"
    return f"{noticed}事件 events {lost.first}-{lost.last} 未收到 never received"


def _event(row: Stored) -> str:
    body = _decode_body(decode_record(row.record).body)
    event = _decode_event(body.payload)
    said = " ".join(word for word in (event.session_id, event.reason) if word)
    judged = f"  事后核验 judged {body.judged.decision.outcome}" if body.judged else ""
    return f"  {when(row.at)}  #{event.seq} {event.kind}  {said}{judged}".rstrip()
