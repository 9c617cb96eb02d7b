"""The registries in memory: what decisions read instead of the database. Kept up to date by versions."""

import gc

from msgspec import Struct, field
from sqlalchemy import Engine

from gateway.core.model import Certificate, Control, Employment, Enterprise, Machine, Millis, Operator
from gateway.registry.controls import Controls
from gateway.store.readers import Known, rows_since
from gateway.store.registry import current_state


class Delta:
    """What has changed since a version, read in one transaction. ``version`` is None before the first import."""

    def __init__(self, version: int | None, confirmed_at: Millis, batches: list[tuple[str, list[Known]]]) -> None:
        self.version = version
        self.confirmed_at = confirmed_at
        self.batches = batches

    @property
    def rows(self) -> int:
        return sum(len(rows) for _, rows in self.batches)


class Changed(Struct):
    """Whom a delta concerns."""

    operators: set[str] = field(default_factory=set)
    enterprises: set[str] = field(default_factory=set)
    machines: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


def read_delta(engine: Engine, since: int) -> Delta:
    """Everything later than version ``since``; blocks, so call it in a thread."""
    with engine.connect() as connection, connection.begin():
        state = current_state(connection)
        if state is None:
            return Delta(None, 0, [])
        version, confirmed_at = state
        return Delta(version, confirmed_at, list(rows_since(connection, since)) if version > since else [])


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

    def knows_operator(self, operator_id: str) -> bool:
        """Whether any registry names this person."""
        return operator_id in self.operators or operator_id in self.certificates or operator_id in self.employments

    def employments_at(self, operator_id: str, uscc: str) -> tuple[Employment, ...]:
        return tuple([work for work in self.employments.get(operator_id, ()) if work.uscc == uscc])

    def age_s(self, now: Millis) -> int | None:
        """Seconds since a source last confirmed the registries; None before the first import."""
        return max(0, now - self.confirmed_at) // 1000 if self.version else None

    def apply(self, delta: Delta) -> Changed:
        """Take over what has changed. The collector leaves loaded rows alone: scanning them stops everything."""
        changed = Changed()
        if delta.version is None:
            return changed
        for table, rows in delta.batches:
            for row in rows:
                self._take(table, row, changed)
        self.version, self.confirmed_at = delta.version, delta.confirmed_at
        if delta.batches:
            gc.collect()
            gc.freeze()
        return changed

    def _take(self, table: str, row: Known, changed: Changed) -> None:
        match row:
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
                raise TypeError(f"{table}: {type(row).__name__} is no registry row")

    def _employ(self, operator_id: str, employment: Employment) -> None:
        others = [
            work
            for work in self.employments.get(operator_id, ())
            if work.uscc != employment.uscc or work.since not in (employment.since, None)
        ]
        self.employments[operator_id] = (*others, employment)

    def _certify(self, operator_id: str, certificate: Certificate) -> set[str]:
        """Put the certificate to its holder, and take it from whoever held it before. Returns whom that concerns."""
        before = self._holders.get(certificate.ref)
        if before is not None:
            left = tuple(held for held in self.certificates[before] if held.ref != certificate.ref)
            if left:
                self.certificates[before] = left
            else:
                del self.certificates[before]
        self._holders[certificate.ref] = operator_id
        self.certificates[operator_id] = (*self.certificates.get(operator_id, ()), certificate)
        return {operator_id, before or operator_id}
