"""Decisions: lists with filters, one with its evidence, and all of them for an export."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateway.core.model import Millis, Outcome
from gateway.core.reach import Reach
from gateway.store.engine import reading
from gateway.store.figures.reading import Page, before, narrowing, page
from gateway.store.figures.records import DecisionKind
from gateway.store.figures.tables import DECISIONS, REASONS, table
from gateway.store.reach import Condition, in_division, within
from gateway.store.tables import EnterpriseRow, LedgerRow, OperatorRow

_people, _firms, _ledger = table(OperatorRow), table(EnterpriseRow), table(LedgerRow)
FEW_DIVISIONS = 32
"""Up to so many, each is looked up by itself and the results are merged; what is spread over more is a large share of
all decisions, and soon found among them."""
EXPORTED_AT_ONCE = 1000


class DecisionEntry(Struct, frozen=True):
    """A decision as a list shows it. ``division`` and ``uscc`` are the machine's at that time, "" where it was not
    registered; ``firm`` and ``operator`` are today's names; ``operator_id`` is None where the code named nobody."""

    seq: int
    at: Millis
    kind: DecisionKind
    division: str
    uscc: str
    machine_id: str
    operator_id: str | None
    outcome: Outcome
    method: str | None
    request_id: str | None
    session_id: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    overridden: tuple[str, ...]
    operator: str | None
    firm: str | None

    @property
    def place(self) -> tuple[Millis, int]:
        """Where it stands in a list."""
        return self.at, self.seq


class Wanted(Struct, frozen=True):
    """Which decisions: those that fit whatever is given. ``division`` is a prefix, ``reason`` any of a refusal's; from
    ``since`` until before ``until``."""

    division: str = ""
    uscc: str | None = None
    machine_id: str | None = None
    operator_id: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    kind: DecisionKind | None = None
    since: Millis | None = None
    until: Millis | None = None


ANY = Wanted()


def decisions(
    connection: Connection,
    reach: Reach,
    wanted: Wanted = ANY,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[DecisionEntry]:
    """The latest first; ``after`` is that of the page before."""
    found = _entries(connection, _found(connection, reach, wanted, limit + 1, after))
    return page(found, limit, lambda entry: entry.place)


def decision(connection: Connection, reach: Reach, seq: int) -> DecisionEntry | None:
    """One decision, by its record's number."""
    query = sa.select(DECISIONS).where(DECISIONS.c.seq == seq, within(reach, DECISIONS))
    return next(iter(_entries(connection, query)), None)


def exported(engine: Engine, reach: Reach, wanted: Wanted = ANY) -> Iterator[DecisionEntry]:
    """All of them, the latest first, some at a time and each lot in a transaction of its own: an export that somebody
    takes an hour to fetch holds nothing up. What is decided after the first lot may be missing."""
    after: tuple[Any, ...] | None = None
    while True:
        with reading(engine).begin() as connection:
            lot = decisions(connection, reach, wanted, EXPORTED_AT_ONCE, after)
        yield from lot.rows
        if lot.after is None:
            return
        after = lot.after


# --- which index finds them -------------------------------------------------------------------------------------


def _found(
    connection: Connection, reach: Reach, wanted: Wanted, limit: int, after: tuple[Any, ...] | None
) -> sa.Select[Any]:
    """Rows of ``decisions``, by the index that leaves the fewest to look through."""
    limits = _Limits(reach, wanted, limit, after)
    if wanted.machine_id is not None:
        return limits.by(DECISIONS.c.machine_id, wanted.machine_id)
    if (operator_id := wanted.operator_id or reach.operator_id) is not None:
        return limits.by(DECISIONS.c.operator_id, operator_id)
    if wanted.kind == "offline":
        return limits.by_time()
    if wanted.reason is not None:
        return limits.by_reason(wanted.reason)
    if (uscc := wanted.uscc or reach.uscc) is not None:
        return limits.by(DECISIONS.c.uscc, uscc)
    prefix = max(wanted.division, reach.division or "", key=len)
    codes = _codes(connection, prefix) if prefix else None
    return limits.by_time() if codes is None else limits.by_divisions(codes)


class _Limits(Struct, frozen=True):
    """What every way of finding them is held to."""

    reach: Reach
    wanted: Wanted
    limit: int
    after: tuple[Any, ...] | None

    def by(self, column: sa.Column[str], value: str) -> sa.Select[Any]:
        return self._last(sa.select(DECISIONS).where(column == value, *self._rest()))

    def by_time(self) -> sa.Select[Any]:
        """Backwards through all, or through all of a rare kind."""
        query = sa.select(DECISIONS).where(*self._rest())
        if self.wanted.kind == "offline":
            query = query.where(DECISIONS.c.kind == sa.literal_column("'offline'"))
        elif self.wanted.outcome == "deny":
            query = query.where(DECISIONS.c.outcome == sa.literal_column("'deny'"))
        return self._last(query)

    def by_divisions(self, codes: list[str]) -> sa.Select[Any]:
        """The last ones of each division, merged."""
        if not codes:
            return sa.select(DECISIONS).where(sa.false())
        each = [self.by(DECISIONS.c.division, code).subquery() for code in codes]
        if len(each) == 1:
            return sa.select(each[0])
        merged = sa.union_all(*(sa.select(one) for one in each)).subquery()
        order = (merged.c.at.desc(), merged.c.seq.desc())
        return sa.select(merged).order_by(*order).limit(self.limit)

    def by_reason(self, code: str) -> sa.Select[Any]:
        """Reasons carry division and firm, so what is out of reach is passed over without being looked up."""
        place, joined = (REASONS.c.at, REASONS.c.seq), DECISIONS.join(REASONS, REASONS.c.seq == DECISIONS.c.seq)
        query = sa.select(DECISIONS).select_from(joined).where(REASONS.c.code == code, *self._times(REASONS))
        query = query.where(within(self.reach, REASONS), in_division(REASONS.c.division, self.wanted.division))
        query = query.where(before(place, self.after), *self._unplaced())
        if self.wanted.uscc is not None:
            query = query.where(REASONS.c.uscc == self.wanted.uscc)
        return query.order_by(*(column.desc() for column in place)).limit(self.limit)

    def _rest(self) -> Iterator[Condition]:
        """All that is asked for, in a form that leaves the choice of the index alone."""
        wanted = self.wanted
        yield narrowing(within(self.reach, DECISIONS))
        yield narrowing(in_division(DECISIONS.c.division, wanted.division))
        for name in ("uscc", "operator_id"):
            if (value := getattr(wanted, name)) is not None:
                yield narrowing(DECISIONS.c[name] == value)
        if wanted.reason is not None:
            yield (sa.literal(" ") + DECISIONS.c.reasons + " ").contains(f" {wanted.reason} ", autoescape=True)
            yield DECISIONS.c.outcome == "deny"
        yield before((DECISIONS.c.at, DECISIONS.c.seq), self.after)
        yield from self._times(DECISIONS)
        yield from self._unplaced()

    def _unplaced(self) -> Iterator[Condition]:
        if self.wanted.outcome is not None:
            yield DECISIONS.c.outcome == self.wanted.outcome
        if self.wanted.kind is not None:
            yield DECISIONS.c.kind == self.wanted.kind

    def _times(self, of: sa.Table) -> Iterator[Condition]:
        if self.wanted.since is not None:
            yield of.c.at >= self.wanted.since
        if self.wanted.until is not None:
            yield of.c.at < self.wanted.until

    def _last(self, query: sa.Select[Any]) -> sa.Select[Any]:
        return query.order_by(DECISIONS.c.at.desc(), DECISIONS.c.seq.desc()).limit(self.limit)


def _codes(connection: Connection, prefix: str) -> list[str] | None:
    """The divisions below a prefix that decisions were made in, by a leap in the index from each to the next; None if
    they are more than a few."""
    column = DECISIONS.c.division
    first = sa.select(sa.func.min(column).label("code")).where(in_division(column, prefix))
    found = first.cte("found", recursive=True)
    following = sa.select(sa.func.min(column)).where(column > found.c.code, in_division(column, prefix))
    found = found.union_all(sa.select(following.scalar_subquery()).where(found.c.code.is_not(None)))
    codes = sa.select(found.c.code).where(found.c.code.is_not(None)).limit(FEW_DIVISIONS + 1)
    rows = list(connection.execute(codes).scalars())
    return rows if len(rows) <= FEW_DIVISIONS else None


def _entries(connection: Connection, query: sa.Select[Any]) -> list[DecisionEntry]:
    """Rows of ``decisions`` with today's names, in their order."""
    found = query.subquery()
    named = found.outerjoin(_people, _people.c.operator_id == found.c.operator_id)
    named = named.outerjoin(_firms, _firms.c.uscc == found.c.uscc)
    names = (_people.c.name, _firms.c.name)
    ordered = sa.select(found, *names).select_from(named).order_by(found.c.at.desc(), found.c.seq.desc())
    return [_entry(*row) for row in connection.execute(ordered)]


def _entry(*row: Any) -> DecisionEntry:
    first = DecisionEntry.__struct_fields__.index("reasons")
    codes = [tuple(text.split()) for text in row[first : first + 3]]
    values: tuple[Any, ...] = (*row[:first], *codes, *row[first + 3 :])
    return DecisionEntry(*values)
