"""A database as ten counties would have filled it in a year, written straight into its tables."""

import hashlib
import json
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from gateway.core.days import HOUR_MS, begins, date_of, day_of, hour_of
from gateway.core.reasons import REASONS
from gateway.store.engine import SQLITE_PAGE_BYTES, open_engine
from gateway.store.tables import metadata

NOW = 1781488800000 + 2 * HOUR_MS
"""The Monday of the tests, some hours into the working day."""
TODAY = day_of(NOW)
REFUSED = 0.08
CODES = tuple(REASONS)


class Size(NamedTuple):
    """``machines``, ``firms`` and ``people`` in each county."""

    counties: int = 10
    machines: int = 1603
    firms: int = 660
    people: int = 1360
    days: int = 365
    decisions: int = 2_000_000
    sessions: int = 20_000_000

    def scaled(self, share: float) -> "Size":
        """Few of everything."""
        machines, firms, people = (max(2, round(n * share)) for n in (self.machines, self.firms, self.people))
        work = max(50, round(self.decisions * share)), max(100, round(self.sessions * share))
        return Size(3, machines, firms, people, 40, *work)


class Place(NamedTuple):
    machine_id: str
    uscc: str
    division: str
    welders: tuple[str, ...]


def make(path: Path, size: Size, seed: int = 1) -> None:
    """Make the database unless it is there already."""
    if path.exists():
        return
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    open_engine(f"sqlite:///{unfinished}").dispose()
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", f"page_size={SQLITE_PAGE_BYTES}"):
            database.execute(f"PRAGMA {pragma}")
        indexes = _without_indexes(database)
        _Year(database, size, random.Random(seed)).write()
        for sql in indexes:
            database.execute(sql)
        database.execute("PRAGMA journal_mode=WAL")
    unfinished.rename(path)


def _without_indexes(database: sqlite3.Connection) -> list[str]:
    """Drop what grows at random places, to be made at the end."""
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in found:
        database.execute(f"DROP INDEX {name}")
    return [sql for _, sql in found]


class _Year:
    def __init__(self, database: sqlite3.Connection, size: Size, chance: random.Random) -> None:
        self._database = database
        self._size = size
        self._chance = chance
        self._places: list[Place] = []
        self._pairs: dict[tuple[str, str], list[int]] = {}
        self._seq, self._hash = 0, bytes(32)
        self._open: set[str] = set()

    def write(self) -> None:
        self._database.execute("BEGIN")
        for county in range(self._size.counties):
            self._registries(f"3305{county + 1:02}", county)
        self._state()
        self._database.execute("COMMIT")
        for day in range(TODAY - self._size.days + 1, TODAY + 1):
            self._database.execute("BEGIN")
            self._day(day)
            self._database.execute("COMMIT")
        self._database.execute("BEGIN")
        self._insert("pairs", ((*key, *sums) for key, sums in self._pairs.items()))
        head = (1, self._seq, self._hash, NOW)
        self._insert("ledger_head", [head])
        self._database.execute("INSERT INTO figures_state (id, turn, seq) VALUES (1, 1, ?)", (self._seq,))
        self._database.execute("COMMIT")

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """In the order of the columns in ``gateway.store.tables``."""
        names = [column.name for column in metadata.tables[table].columns]
        sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        for lot in _lots(rows):
            self._database.executemany(sql, lot)

    # --- registries ---

    def _registries(self, county: str, number: int) -> None:
        chance, size = self._chance, self._size
        firms = [f"9133{county}{index:08}" for index in range(size.firms)]
        town = {uscc: county + (f"{chance.randint(101, 115)}" if chance.random() < 0.7 else "") for uscc in firms}
        self._insert("enterprises", ((u, f"厂 {u[-4:]}", town[u], "active", 1, "x") for u in firms))
        people = [f"P{number:02}{index:05}" for index in range(size.people)]
        staff: defaultdict[str, list[str]] = defaultdict(list)
        for index, who in enumerate(people):
            staff[firms[index % len(firms)]].append(who)
        self._insert(
            "operators", ((w, f"焊工 {w}", "1990-01-01", None, None, None, None, "active", 1, "x") for w in people)
        )
        since = str(date_of(TODAY - 2000))
        self._insert("employments", ((w, u, since, None, 1, "x") for u, all_of in staff.items() for w in all_of))
        self._insert("certificates", (self._certificate(who) for who in people if chance.random() < 0.9))
        for index in range(size.machines):
            uscc = (
                firms[min(int(chance.paretovariate(1.1)) - 1, len(firms) - 1)]
                if index % 4
                else firms[index % len(firms)]
            )
            machine_id = f"HJ{number:02}-{index:05}"
            welders = tuple(chance.sample(staff[uscc], min(len(staff[uscc]), 3)))
            self._places.append(Place(machine_id, uscc, town[uscc], welders))
        mine = self._places[-size.machines :]
        rows = ((p.machine_id, f"c-{p.machine_id}", p.uscc, "fusion", p.division, None, "active", 1, "x") for p in mine)
        self._insert("machines", rows)
        self._insert("chips", (self._chip(place) for place in mine if chance.random() < 0.95))

    def _certificate(self, who: str) -> tuple[Any, ...]:
        until = str(date_of(TODAY + self._chance.randint(-100, 1500)))
        dates = (str(date_of(TODAY - 900)), str(date_of(TODAY - 900)), until, None, None)
        return (
            *(f"index-{who}", "fusion", b"sealed", "T9***1", who, "焊接", *dates),
            *("bureau", "valid", "verified", 1, "x"),
        )

    def _chip(self, place: Place) -> tuple[Any, ...]:
        online = self._chance.random() < 0.9
        at = NOW - self._chance.randint(0, 40 * 24) * HOUR_MS
        return (place.machine_id, at, online, f"c-{place.machine_id}", "1.0", "open", "challenge", at)

    def _state(self) -> None:
        self._database.execute(
            "INSERT INTO registry_state (id, version, confirmed_at, vault) VALUES (1, 1, ?, 'vault')", (NOW,)
        )

    # --- work ---

    def _day(self, day: int) -> None:
        size, chance = self._size, self._chance
        count = _shared(size.sessions, size.days, day)
        width = min(NOW, begins(day + 1)) - begins(day)
        starts = sorted(begins(day) + int(chance.random() * width) for _ in range(count))
        used = self._places[len(self._places) // 25 :]  # the others were never unlocked
        sessions = [self._session(at, chance.choice(used)) for at in starts]
        self._insert("sessions", map(self._session_row, sessions))
        self._insert("usage", map(_usage_row, sessions))
        self._insert("session_index", map(_index_row, sessions))
        self._sum_up(day, sessions)
        decided = _shared(size.decisions, size.days, day)
        self._decide(day, chance.sample(sessions, min(len(sessions), decided)))

    def _session(self, at: int, place: Place) -> "_Session":
        welders = place.welders or ("",)
        who = welders[0] if self._chance.random() < 0.8 else self._chance.choice(welders)
        running = at > NOW - HOUR_MS and place.machine_id not in self._open and who not in self._open
        if running:
            self._open |= {place.machine_id, who}
        return _Session(
            f"s{at:013}{self._chance.getrandbits(24):06x}", at, place, who, self._chance.randint(60, 3000), running
        )

    def _session_row(self, one: "_Session") -> tuple[Any, ...]:
        ended = (None, None) if one.running else (one.at + one.arc_s * 2000, "operator")
        lease = (True, False, 900, one.at, one.at + 900_000, 0, None, None, None, None, 1)
        named = (one.session_id, one.place.machine_id, one.who, f"r-{one.session_id}", one.place.division[:6])
        return (*named, one.at, one.at + 1000, one.at + 10_000_000, *ended, *lease)

    def _sum_up(self, day: int, sessions: list["_Session"]) -> None:
        people: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
        firms: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
        for one in sessions:
            place = one.place
            figures = (1, *_figures(one))
            for sums in (
                people[day, place.machine_id, one.who, place.division, place.uscc],
                firms[day, place.division, place.uscc],
            ):
                for index, value in enumerate(figures):
                    sums[index] += value
            pair = self._pairs.setdefault((place.machine_id, one.who), [0, one.at + 1000, 0])
            pair[0] += 1
            pair[2] = one.at + 1000
        self._insert("usage_days", sorted((*key, *sums) for key, sums in people.items()))
        self._insert("firm_days", sorted((*key, *sums) for key, sums in firms.items()))

    def _decide(self, day: int, sessions: list["_Session"]) -> None:
        hours: Counter[tuple[Any, ...]] = Counter()
        days: Counter[tuple[Any, ...]] = Counter()
        ledger, index, reasons = [], [], []
        for one in sorted(sessions):
            refused = self._chance.random() < REFUSED
            codes = (
                tuple(dict.fromkeys(self._code() for _ in range(1 + (self._chance.random() < 0.3)))) if refused else ()
            )
            outcome, place = "deny" if refused else "allow", one.place
            ledger.append(self._record(one, outcome, codes))
            under = (place.division, place.uscc, outcome)
            for code in ("", *codes):
                hours[hour_of(one.at), *under, code] += 1
                days[day, *under, code] += 1
            session_id = None if refused else one.session_id
            named = (place.division, place.uscc, place.machine_id, one.who or None, outcome, "scan")
            index.append(
                (self._seq, one.at, "request", *named, f"r-{one.session_id}", session_id, " ".join(codes), "", "")
            )
            reasons += [(code, one.at, self._seq, place.division, place.uscc) for code in codes]
        self._insert("ledger", ledger)
        self._insert("decisions", index)
        self._insert("decision_reasons", sorted(reasons))
        self._insert("decision_hours", sorted((*key, count) for key, count in hours.items()))
        self._insert("decision_days", sorted((*key, count) for key, count in days.items()))

    def _code(self) -> str:
        """Some reasons are frequent, most are rare."""
        return CODES[min(int(self._chance.paretovariate(0.7)) - 1, len(CODES) - 1)]

    def _record(self, one: "_Session", outcome: str, codes: tuple[str, ...]) -> tuple[Any, ...]:
        self._seq += 1
        before, place = self._hash, one.place
        machine = {"division": place.division, "machine_id": place.machine_id, "uscc": place.uscc, "chip": "c"}
        body = {
            "asked": {"method": "scan", "request_id": f"r-{one.session_id}"},
            "decision": {"outcome": outcome, "reasons": codes, "warnings": []},
            "facts": {"machine": machine, "now": one.at, "operator_id": one.who, "padding": "·" * 300},
            "reply": {"session_id": one.session_id if outcome == "allow" else None, "grant": "j" * 400},
        }
        record = {"at": one.at, "body": body, "kind": "decision", "machine_id": place.machine_id}
        record |= {"message_id": f"r-{one.session_id}", "operator_id": one.who, "outcome": outcome}
        raw = json.dumps(record | {"prev": before.hex(), "seq": self._seq}, separators=(",", ":")).encode()
        self._hash = hashlib.sha256(raw).digest()
        named = (place.machine_id, f"r-{one.session_id}", one.who, outcome)
        return (self._seq, one.at, "decision", *named, raw, self._hash)


class _Session(NamedTuple):
    session_id: str
    at: int
    place: Place
    who: str
    arc_s: int
    running: bool


def _figures(one: _Session) -> tuple[int, ...]:
    return (2 * one.arc_s, one.arc_s, one.arc_s, one.arc_s // 60, one.arc_s * 100)


def _usage_row(one: _Session) -> tuple[Any, ...]:
    enabled, arc, idle, arcs, energy = _figures(one)
    at = one.at + one.arc_s * 2000
    latest = (120.0 if one.running else 0.0, 24.0, not one.running)
    return (one.session_id, one.place.machine_id, 9, at, at, "closed", enabled, arc, idle, arcs, energy / 1000, *latest)


def _index_row(one: _Session) -> tuple[Any, ...]:
    place = one.place
    return (
        one.session_id,
        place.machine_id,
        one.who,
        place.division,
        place.uscc,
        one.at,
        one.at + 1000,
        9,
        *_figures(one),
    )


def _shared(all_of: int, days: int, day: int) -> int:
    """Evenly over the days."""
    number = day - TODAY + days
    return all_of * number // days - all_of * (number - 1) // days


def _lots(rows: Iterable[tuple[Any, ...]], size: int = 5000) -> Iterator[list[tuple[Any, ...]]]:
    lot: list[tuple[Any, ...]] = []
    for row in rows:
        lot.append(row)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot
