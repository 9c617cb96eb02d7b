"""``weldgate operator``: a person's rolling code, how the person stands, and personal numbers."""

import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import segno
import typer
from sqlalchemy import Connection

from gateway.cli.colours import person_in_words
from gateway.cli.desk import ByOption, ReasonOption, looking, opened, say
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption, PolicyOption
from gateway.clock import now_ms
from gateway.core.credential import STEP_S, STEPS_OFF
from gateway.core.genuine import masked_name
from gateway.core.model import Certificate, Millis
from gateway.core.policy import Rulebook
from gateway.core.rules import completed_years, local_time
from gateway.keys import CODES_FILE, KeysError, open_code_keys
from gateway.registry import orders, values
from gateway.registry.acts import author, overridings, when
from gateway.registry.personal import find as find_by_number
from gateway.registry.personal import read_number
from gateway.registry.standing import person_on_record
from gateway.store import overview
from gateway.store.access import Field
from gateway.store.controls import about_overrides_for, acts
from gateway.store.engine import DEFAULT_URL
from gateway.store.overview import OperatorFacts, Wanted
from gateway.store.vault import Number, mask, open_vault
from gateway.upkeep import load_policy
from gateway.web.codes import OperatorCode, operator_code

app = typer.Typer(help="Operators: a rolling code, how somebody stands, personal numbers.", no_args_is_help=True)
OperatorArgument = Annotated[str, typer.Argument(help="The person's number.")]

SHOWN_OVERRIDES = 5


# --- code -------------------------------------------------------------------------------------------------------


@app.command()
def code(
    operator: OperatorArgument,
    qr: Annotated[bool, typer.Option("--qr", help="Also as a QR code, for the machine's scanner.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with each next one, until Ctrl-C.")] = False,
    keys: KeysOption = DEFAULT_KEYS,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """The person's rolling code of the present 30 s; it opens once. With the keys of the gateways that check it."""
    with looking(database) as connection:
        operator_id = orders.registered_operator(connection, operator).operator_id
        key = _key(keys)
    for shown in codes(key, operator_id, now_ms, time.sleep):
        _print_code(shown, qr=qr)
        if not watch:
            return


def _key(keys: Path) -> bytes:
    """The secret that makes codes. One made here, beside the gateways, would make codes that they refuse."""
    if not (keys / CODES_FILE).is_file():
        raise KeysError(
            f"--keys {keys}: there is no {CODES_FILE}; name the folder of the gateway's keys, or start it once"
        )
    return open_code_keys(keys)[0]


def codes(
    key: bytes, operator_id: str, now: Callable[[], Millis], wait: Callable[[float], None]
) -> Iterator[OperatorCode]:
    """The present code, then each next one as its time begins; ``wait`` takes seconds."""
    while True:
        shown = operator_code(key, operator_id, now())
        yield shown
        while (left_ms := shown.valid_until - now()) > 0:
            wait(left_ms / 1000)


def _print_code(shown: OperatorCode, *, qr: bool) -> None:
    say(shown.code)
    if qr:
        segno.make(shown.code, error="m").terminal(compact=True)
    taken_until = shown.valid_until + STEPS_OFF * STEP_S * 1000
    say(
        f"有效至 valid until {local_time(shown.valid_until):%H:%M:%S}, 最迟 taken until "
        f"{local_time(taken_until):%H:%M:%S} (Asia/Shanghai), 只能用一次 opens once"
    )


# --- show -------------------------------------------------------------------------------------------------------


@app.command()
def show(operator: OperatorArgument, policy: PolicyOption = None, database: DatabaseOption = DEFAULT_URL) -> None:
    """How a person stands: registry (personal numbers never shown), certificates, running session, overrides; and the
    person's colour: why, until when, what to do."""
    with looking(database) as connection:
        rulebook, now = Rulebook(load_policy(policy)), now_ms()
        known = orders.registered_operator(connection, operator)
        for line in _in_words(connection, known, now):
            say(line)
        for line in person_in_words(person_on_record(connection, known.operator_id), rulebook, local_time(now).date()):
            say(line)


def _in_words(connection: Connection, known: OperatorFacts, now: Millis) -> Iterator[str]:
    operator_id, today = known.operator_id, local_time(now).date()
    name, age = masked_name(known.name), _age(known.born_on, today)
    yield f"人员 operator      {operator_id}  {name}  {known.status}  {age}"
    yield (
        f"证件 on record     身份证 ID number {_whether(known.has_id_number)}  手机 phone {_whether(known.has_phone)}"
    )
    for work, firm in overview.employments(connection, operator_id):
        yield f"从业 employed      {work.uscc}  {firm or '—'}  {work.since or '?'} … {work.until or '至今 until now'}"
    for certificate in overview.certificates(connection, operator_id):
        yield f"证书 certificate   {_certificate(certificate)}"
    for session in overview.sessions(connection, Wanted(operator_id=operator_id), limit=1):
        yield (
            f"会话 session       {session.session_id}  {session.machine_id}  {session.state}  自 since "
            f"{when(session.granted_at)}  租约至 lease until {when(session.lease_until)}"
        )
    for story in overridings(acts(connection, about_overrides_for(operator_id)))[:SHOWN_OVERRIDES]:
        until = story.until()
        ends = f"  至 until {when(until)}" if until else ""
        codes = " ".join(story.asked.codes)
        yield f"临时放行 override  {story.override_id}  {story.state(now)}  {story.asked.machine_id}  {codes}{ends}"


def _age(born_on: date | None, today: date) -> str:
    return f"年龄 age {completed_years(born_on, today)}" if born_on else "年龄未知 age unknown"


def _whether(known: bool) -> str:
    return "有 yes" if known else "无 no"


def _certificate(held: Certificate) -> str:
    review = f"复审 review {held.review_due or '?'} / {held.reviewed_on or '未记录 not recorded'}"
    return (
        f"{held.ref}  {held.number}  {held.item}  {held.valid_from or '?'} … {held.valid_until}  {review}  "
        f"{held.status}  {held.verification}"
    )


# --- personal numbers -------------------------------------------------------------------------------------------

_KINDS: dict[Number, str] = {"id_number": "身份证 ID number", "phone": "手机 phone", "number": "证书 certificate"}


@app.command()
def number(
    operator: OperatorArgument,
    by: ByOption,
    reason: ReasonOption,
    field: Annotated[Field, typer.Option("--field", help="Which number.")],
    database: DatabaseOption = DEFAULT_URL,
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Show a full ID number or phone number. Who reads whose, and why, goes on record before it is shown."""
    with opened(database) as engine:
        say(read_number(engine, open_vault(keys, must_exist=True), operator, field, author(by, reason, now_ms())))


@app.command()
def find(database: DatabaseOption = DEFAULT_URL, keys: KeysOption = DEFAULT_KEYS) -> None:
    """Whose ID number, phone number or certificate number is it? Reads the number from standard input: on the command
    line other users of the machine could see it. Shows it masked."""
    typed = typer.get_text_stream("stdin").readline()
    with looking(database) as connection:
        hits = find_by_number(connection, open_vault(keys, must_exist=True), typed)
        for hit in hits:
            operator_id = values.shown(hit.operator_id, personal=False)
            say(f"{operator_id}  {masked_name(hit.name)}  {_KINDS[hit.by]} {mask(typed.strip())}")
    if not hits:
        raise typer.Exit(1)
