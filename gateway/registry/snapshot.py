"""The registries in memory: what decisions read instead of the database. Kept up to date by versions."""

import gc
from collections.abc import Iterator

from msgspec import Struct, field
from sqlalchemy import Engine

from gateway.core.model import Certificate, Control, Employment, Enterprise, Machine, Millis, Operator
from gateway.registry.controls import Controls
from gateway.store.changes import read_state
from gateway.store.readers import Gone, Known, rows_between

ROWS_AT_ONCE = 250
"""Rows of a delta that are taken over before anybody else has a turn: well under a millisecond."""


class Delta(Struct, frozen=True):
    """What has changed since a version, read in one transaction. ``version`` is 0 before the first import."""

    version: int
    confirmed_at: Millis
    rows: list[Known | Gone]


class Changed(Struct):
    """Whom a delta concerns."""

    operators: set[str] = field(default_factory=set)
    enterprises: set[str] = field(default_factory=set)
    machines: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


def read_delta(engine: Engine, since: int) -> Delta:
    """Everything later than version ``since``; blocks, so call it in a thread."""
    with engine.connect() as connection, connection.begin():
        state = read_state(connection)
        if state is None or not state.version:
            return Delta(0, 0, [])
        changed = rows_between(connection, since, state.version) if state.version > since else ()
        return Delta(state.version, state.confirmed_at, [row for _, rows in changed for row in rows])


class Snapshot:
    """Registries by key. ``version`` is 0 until the first import has been taken over."""

    def __init__(self) -> None:
        self.version = 0
        self.confirmed_at: Millis = 0
        self.machines: dict[str, Machine] = {}
        self.enterprises: dict[str, Enterprise] = {}
        self.operators: dict[str, Operator] = {}
        self.certificates: dict[str, tuple[Certificate, ...]] = {}
        self.employments: dict[str, tuple[Employment, ...]] = {}
        self.controls = Controls()
        self._holders: dict[str, str] = {}
        self._staff: dict[str, list[str]] = {}

    def knows_operator(self, operator_id: str) -> bool:
        """Whether any registry names this person."""
        return operator_id in self.operators or operator_id in self.certificates or operator_id in self.employments

    def employments_at(self, operator_id: str, uscc: str) -> tuple[Employment, ...]:
        return tuple([work for work in self.employments.get(operator_id, ()) if work.uscc == uscc])

    def employees_of(self, uscc: str) -> list[str]:
        """Everybody who is, was or will be employed by the firm, each once."""
        return [person for person in dict.fromkeys(self._staff.get(uscc, ())) if self.employments_at(person, uscc)]

    def age_s(self, now: Millis) -> int | None:
        """Seconds since a source last confirmed the registries; None before the first import."""
        return max(0, now - self.confirmed_at) // 1000 if self.version else None

    def apply(self, delta: Delta) -> Changed:
        """Take over what has changed."""
        changed = Changed()
        for _ in self.take_over(delta, changed):
            pass
        return changed

    def take_over(self, delta: Delta, changed: Changed) -> Iterator[None]:
        """The same bit by bit, so that decisions go on in between: on some rows as they were, on others as they are.
        The version is the new one when all is done. The collector leaves loaded rows alone: scanning them stops
        everything."""
        if not delta.version:
            return
        for start in range(0, len(delta.rows), ROWS_AT_ONCE):
            for row in delta.rows[start : start + ROWS_AT_ONCE]:
                self._take(row, changed)
            yield
        self.version, self.confirmed_at = delta.version, delta.confirmed_at
        if delta.rows:
            gc.freeze()

    def _take(self, row: Known | Gone, changed: Changed) -> None:
        match row:
            case Gone(gone):
                self._drop(gone, changed)
            case Machine():
                self.machines[row.machine_id] = row
                changed.machines.add(row.machine_id)
            case Enterprise():
                self.enterprises[row.uscc] = row
                changed.enterprises.add(row.uscc)
            case Operator():
                self.operators[row.operator_id] = row
                changed.operators.add(row.operator_id)
            case Control():
                self.controls.take(row)
                changed.machines |= {row.machine_id} if row.machine_id else set()
                changed.sessions |= {row.session_id} if row.session_id else set()
            case (operator_id, Employment() as employment):
                self._employ(operator_id, employment)
                changed.operators.add(operator_id)
            case (_, operator_id, Certificate() as certificate):
                changed.operators |= self._certify(operator_id, certificate)
            case _:
                raise TypeError(f"{type(row).__name__} is no registry row")

    def _drop(self, row: Known, changed: Changed) -> None:
        """Forget a row that is gone."""
        match row:
            case Machine():
                self.machines.pop(row.machine_id, None)
                changed.machines.add(row.machine_id)
            case Enterprise():
                self.enterprises.pop(row.uscc, None)
                changed.enterprises.add(row.uscc)
            case Operator():
                self.operators.pop(row.operator_id, None)
                changed.operators.add(row.operator_id)
            case (operator_id, Employment() as employment):
                self._leave(operator_id, employment)
                changed.operators.add(operator_id)
            case (_, operator_id, Certificate() as certificate):
                changed.operators |= self._uncertify(operator_id, certificate)
            case _:
                raise TypeError(f"{type(row).__name__} is no registry row that can go")

    def _leave(self, operator_id: str, employment: Employment) -> None:
        works = self.employments.get(operator_id, ())
        key = (employment.uscc, employment.since)
        self.employments[operator_id] = tuple(work for work in works if (work.uscc, work.since) != key)

    def _employ(self, operator_id: str, employment: Employment) -> None:
        if not self.employments_at(operator_id, employment.uscc):
            self._staff.setdefault(employment.uscc, []).append(operator_id)
        others = [
            work
            for work in self.employments.get(operator_id, ())
            if work.uscc != employment.uscc or work.since not in (employment.since, None)
        ]
        self.employments[operator_id] = (*others, employment)

    def _certify(self, operator_id: str, certificate: Certificate) -> set[str]:
        """Put the certificate to its holder, and take it from whoever held it before. Returns whom that concerns."""
        concerned = self._uncertify(operator_id, certificate)
        self._holders[certificate.ref] = operator_id
        self.certificates[operator_id] = (*self.certificates.get(operator_id, ()), certificate)
        return concerned

    def _uncertify(self, operator_id: str, certificate: Certificate) -> set[str]:
        """Take the certificate from whoever holds it. Returns whom that concerns."""
        before = self._holders.pop(certificate.ref, None)
        if before is None:
            return {operator_id}
        left = tuple(held for held in self.certificates[before] if held.ref != certificate.ref)
        if left:
            self.certificates[before] = left
        else:
            del self.certificates[before]
        return {operator_id, before}
