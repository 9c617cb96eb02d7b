"""The in-memory scribe of the mass runs is the real one on SQLite, as far as any order can tell."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest

from gateway.store import orders
from gateway.store.journal import CHANGED_COLUMNS, SESSION_COLUMNS, Batch, Book
from gateway.store.ledger import Draft, Key
from gateway.store.scribe import Scribe
from gateway.wire.answer import Order
from gateway.wire.tokens import Signer
from tests.simulation.database import Database, ScribeModel
from tests.simulation.tokens import MacSigner
from tests.store.databases import AT, IMPATIENT, Databases, decision, locked, make_template, other

ORDERS = 400
MACHINES = ("HJ-0001", "HJ-0002", "HJ-0003")
PEOPLE = ("P000001", "P000002", None)
_SESSION: dict[str, Any] = {
    "division": None,
    "granted_at": AT,
    "unlocked_at": None,
    "open_until": AT + 900_000,
    "ended_at": None,
    "end_reason": None,
    "has_clock": True,
    "offline": False,
    "lease_s": 900,
    "leased_at": AT,
    "lease_until": AT + 900_000,
    "n": 0,
    "rev": 0,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def databases(template: Path, tmp_path: Path) -> Iterator[Databases]:
    made = Databases(template, tmp_path)
    yield made
    made.close()


class Ordering:
    """Random orders over few names, so that every second one meets something that is there already."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._revs: dict[str, int] = {}

    def next(self) -> orders.Order:
        chance = self._random.random()
        if chance < 0.1:
            since = self._random.choice((None, AT - 1, AT + 1))
            return orders.Recall([self._key() for _ in range(5)], self._random.random() < 0.5, since)
        if chance < 0.15:
            return orders.LookUp([self._key() for _ in range(5)], self._random.sample(MACHINES, 2))
        return orders.Probe() if chance < 0.18 else orders.Commit(self._batch())

    def _batch(self) -> Batch:
        few = self._random.randrange
        return Batch(
            drafts=[self._draft() for _ in range(few(3))],
            changed=[self._changed() for _ in range(few(2))],
            opened=[self._opened() for _ in range(few(2))],
            usage=[self._usage() for _ in range(few(3))],
            chips=[self._chip() for _ in range(few(3))],
            codes=[(AT // 30_000 + few(60), self._random.choice(PEOPLE[:2])) for _ in range(few(2))],
            seqs=[(self._machine(), few(3), self._random.choice((None, 0, 1, 2))) for _ in range(few(2))],
            lost=[(self._machine(), AT + few(4), few(4), self._random.choice((None, 9))) for _ in range(few(2))],
            lists=[(self._machine(), few(9), AT, 600, 60, b'[["P000001",1]]') for _ in range(few(2))],
            orders=[Order(f"command-{few(99)}", b'{"aud":"HJ-0001"}') for _ in range(few(2))],
        )

    def _machine(self) -> str:
        return self._random.choice(MACHINES)

    def _key(self) -> Key:
        return (self._machine(), "decision", f"request-{self._random.randrange(200):04}")

    def _draft(self) -> Draft:
        machine_id, _, message_id = self._key()
        at = AT + self._random.randrange(-50, 50)
        if self._random.random() < 0.3:
            return other("event", self._random.choice((None, message_id)), machine_id)
        return decision(message_id, machine_id, self._random.choice(("allow", "deny")), at)

    def _opened(self) -> tuple[Any, ...]:
        session_id = f"session-{self._random.randrange(40)}"
        ended = {"ended_at": AT, "end_reason": "replaced"} if self._random.random() < 0.2 else {}
        who = {"machine_id": self._machine(), "operator_id": self._random.choice(PEOPLE)}
        row = _SESSION | who | ended | {"session_id": session_id, "request_id": f"request-{session_id}"}
        row["granted_at"] = AT + self._random.randrange(-5, 5)
        return tuple(row.get(name) for name in SESSION_COLUMNS)

    def _changed(self) -> tuple[Any, ...]:
        session_id = f"session-{self._random.randrange(40)}"
        seen = self._random.choice((0, 0, 0, 1, 2))
        ended = {"ended_at": AT + 5, "end_reason": "locked"} if self._random.random() < 0.8 else {}
        row = _SESSION | ended | {"session": session_id, "seen": seen, "rev": seen + 1}
        return tuple(row.get(name) for name in CHANGED_COLUMNS)

    def _usage(self) -> tuple[Any, ...]:
        session_id, seq = f"session-{self._random.randrange(3)}", self._random.randrange(20)
        return (session_id, self._machine(), seq, AT, None, "closed", seq, seq, 0, 1, 1.5, None, None, False)

    def _chip(self) -> tuple[Any, ...]:
        said = [self._random.choice((None, text)) for text in ("CHIP-1", "firmware", "open", "challenge")]
        return (self._machine(), AT, True, *said, self._random.choice((None, AT)))


def _told(result: orders.Result) -> Any:
    """What the gate sees of a result: never why something was refused, and of the chain only where it ends."""
    match result:
        case orders.Refused():
            return "refused"
        case orders.Unavailable():
            return "unavailable"
        case orders.Committed(head, replies, commands):
            return head.seq, head.latest_at, replies, commands
        case orders.Recalled(answers, book):
            return sorted(answers), _sorted(book)
        case orders.Found(answers, about):
            return sorted(answers), [sorted(map(tuple, rows)) for rows in (about.sessions, about.gaps)], about.seqs
    return result


def _sorted(book: Book) -> dict[str, Any]:
    """The order of rows means nothing, but for who was let in last; there only equal times may differ."""
    parts: dict[str, Any] = msgspec.structs.asdict(book)
    recent = [row[-1] for row in parts["recent"]]
    assert recent == sorted(recent)
    return {
        name: sorted(map(repr, map(tuple, part))) if isinstance(part, list) else part for name, part in parts.items()
    }


@pytest.mark.parametrize("seed", range(8))
def test_the_model_gives_what_the_real_scribe_gives(databases: Databases, seed: int) -> None:
    signer = MacSigner(b"key")
    path, switch = databases.file(), Database()
    real = Scribe(databases.engine(path, IMPATIENT), cast(Signer, signer))
    model, ordering, random = ScribeModel(switch, signer), Ordering(seed), Random(seed)
    kinds = set()
    for number in range(ORDERS):
        order = ordering.next()
        if random.random() < 0.01:
            switch.away = True
            with locked(path):
                if isinstance(order, orders.Commit):
                    assert _told(real.carry_out(order)) in ("unavailable", "refused")
                    model.carry_out(order)
            switch.away = False
        expected, got = real.carry_out(order), model.carry_out(order)
        assert _told(got) == _told(expected), f"order {number}: {order}"
        kinds.add(type(expected))
        if isinstance(expected, orders.Refused):
            recall = orders.Recall([])
            assert _told(model.carry_out(recall)) == _told(real.carry_out(recall))
    assert kinds == {orders.Committed, orders.Refused, orders.Recalled, orders.Found, orders.Writable}
