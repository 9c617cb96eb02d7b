"""``weldgate enterprise``: how a firm and its people stand, and what runs out there soon."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

import typer
from sqlalchemy import Connection

from gateway.cli.colours import COLOURS, ITEMS, causes_in_words, in_short
from gateway.cli.desk import looking, opened, print_table, say
from gateway.cli.options import DatabaseOption, PolicyOption
from gateway.clock import now_ms
from gateway.core.colour import SEVERITY, FirmStanding, Standing, explained, firm_standing, person_standing
from gateway.core.genuine import masked_name
from gateway.core.model import Enterprise
from gateway.core.policy import Rulebook
from gateway.core.rules import employed_on, local_time
from gateway.errors import WeldGateError
from gateway.registry.expiring import Expiry, expiring
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.registry.standing import person_on_record
from gateway.registry.values import half_width, shown
from gateway.store import overview
from gateway.store.engine import DEFAULT_URL, reading
from gateway.store.overview import FirmFacts
from gateway.upkeep import load_policy

app = typer.Typer(help="Firms: their colour and their people's, what runs out soon.", no_args_is_help=True)

PEOPLE = ("颜色 colour", "人员 operator", "姓名 name", "原因 because")
RUNS_OUT = (
    *("企业 firm", "人员 operator", "最后一天 last day", "还剩 days left"),
    *("项目 item", "证书 certificate", "事项 what"),
)


# --- show -------------------------------------------------------------------------------------------------------


@app.command()
def show(
    uscc: Annotated[str, typer.Argument(help="The firm's credit code.")],
    policy: PolicyOption = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """How a firm stands: its status, its colour, and its present people with theirs, the worst first."""
    with looking(database) as connection:
        rulebook, today = Rulebook(load_policy(policy)), local_time(now_ms()).date()
        firm, people = _known(connection, uscc, rulebook, today)
        registered = Enterprise(firm.uscc, firm.division, firm.status) if firm else None
        stands = firm_standing(registered, people, rulebook)
        for line in _in_words(half_width(uscc), firm, stands):
            say(line)
        worst_first = sorted(people, key=lambda who: (-SEVERITY.index(people[who].state), who))
        print_table(PEOPLE, [_person(connection, who, people[who]) for who in worst_first])


def _known(
    connection: Connection, typed: str, rulebook: Rulebook, today: date
) -> tuple[FirmFacts | None, dict[str, Standing]]:
    """The firm and how each of its present people stands."""
    uscc = half_width(typed)
    firm, staff = overview.firm(connection, uscc), overview.staff(connection, uscc)
    if firm is None and not staff:
        raise WeldGateError(
            f"enterprise = {shown(typed, personal=False)!r}: no firm of this credit code is registered; compare it, or "
            "import the firm (weldgate registry import)"
        )
    people = {}
    for operator_id in staff:
        person = person_on_record(connection, operator_id)
        if any(work.uscc == uscc and employed_on(work, today) for work in person.employments):
            people[operator_id] = person_standing(person, rulebook, today)
    return firm, people


def _in_words(uscc: str, firm: FirmFacts | None, stands: FirmStanding) -> Iterator[str]:
    about = f"{firm.name or '—'}  {firm.status}  division {firm.division}" if firm else "未登记 not registered"
    yield f"企业 firm          {uscc}  {about}"
    yield f"四色码 colour      {COLOURS[stands.colour]}"
    yield from causes_in_words(stands.causes)
    counts = "  ".join(f"{word} {stands.people.get(colour, 0)}" for colour, word in COLOURS.items())
    yield f"人数 people        {sum(stands.people.values())}: {counts}"


def _person(connection: Connection, operator_id: str, stands: Standing) -> tuple[str, ...]:
    known = overview.operator(connection, operator_id)
    return (
        COLOURS[stands.colour],
        operator_id,
        masked_name(known.name if known else None),
        in_short(stands.causes[0]) if stands.causes else "—",
    )


# --- expiring ---------------------------------------------------------------------------------------------------


@app.command("expiring")
def expiring_command(
    uscc: Annotated[str | None, typer.Argument(help="The firm's credit code; without it, everybody.")] = None,
    days: Annotated[int, typer.Option(min=0, max=366, help="Within so many days.")] = 30,
    policy: PolicyOption = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Certificates, re-reviews and employments that run out soon, firm by firm, the first to run out first."""
    with opened(database) as engine:
        snapshot = Snapshot()
        snapshot.apply(read_delta(reading(engine), snapshot.version))
        today, rulebook = local_time(now_ms()).date(), Rulebook(load_policy(policy))
        found = expiring(snapshot, half_width(uscc) if uscc else None, rulebook, today, days)
        print_table(RUNS_OUT, map(_cells, found))


def _cells(expiry: Expiry) -> tuple[str, ...]:
    return (
        expiry.uscc or "—",
        expiry.operator_id,
        expiry.last_day.isoformat(),
        str(expiry.days_left),
        ITEMS[expiry.item] if expiry.item else "—",
        expiry.number or "—",
        f"{expiry.code}: {explained(expiry.code).message_zh}",
    )
