"""The registries in memory: what decisions read instead of the database. Kept up to date by versions."""

import gc
from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.core.model import (
    Certificate,
    Control,
    Employment,
    Enterprise,
    Machine,
    Millis,
    Operator,
    Permit,
    WorkHours,
)
from gateway.registry.controls import Controls
from gateway.store.changes import read_state
from gateway.store.entries import WITHDRAWN
from gateway.store.readers import PERMITS_KEPT_MS, Gone, Known, rows_between

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


_Covered = tuple[str, str | None, str | None]
"""Firm, person, machine; None is any of the firm."""
_PermitKey = tuple[str, str | None, str | None]
"""Number of the permit, person, machine."""
_SpanKey = tuple[str | None, str, str]
"""Machine, days, beginning."""


class Snapshot:
    """Registries by key. ``version`` is 0 until the first import has been taken over.

    ``permits`` are held by firm, person and machine, ``hours`` by firm. ``source_confirmed``: when each source that
    has to be fresh last confirmed its registries.
    """

    def __init__(self) -> None:
        self.version = 0
        self.confirmed_at: Millis = 0
        self.machines: dict[str, Machine] = {}
        self.enterprises: dict[str, Enterprise] = {}
        self.operators: dict[str, Operator] = {}
        self.certificates: dict[str, tuple[Certificate, ...]] = {}
        self.employments: dict[str, tuple[Employment, ...]] = {}
        self.permits: dict[_Covered, tuple[Permit, ...]] = {}
        self.hours: dict[str, dict[_SpanKey, WorkHours]] = {}
        self.source_confirmed: dict[str, Millis] = {}
        self.controls = Controls()
        self._holders: dict[str, str] = {}
        self._staff: dict[str, list[str]] = {}
        self._permit_firms: dict[_PermitKey, str] = {}

    def knows_operator(self, operator_id: str) -> bool:
        """Whether any registry names this person."""
        return operator_id in self.operators or operator_id in self.certificates or operator_id in self.employments

    def employments_at(self, operator_id: str, uscc: str) -> tuple[Employment, ...]:
        return tuple([work for work in self.employments.get(operator_id, ()) if work.uscc == uscc])

    def employees_of(self, uscc: str) -> list[str]:
        """Everybody who is, was or will be employed by the firm, each once."""
        return [person for person in dict.fromkeys(self._staff.get(uscc, ())) if self.employments_at(person, uscc)]

    def permits_for(self, uscc: str, operator_id: str, machine_id: str) -> list[Permit]:
        """Permits of the firm that name this person or nobody, and this machine or none."""
        found: list[Permit] = []
        if self.permits:
            for who in (operator_id, None):
                for where in (machine_id, None):
                    found += self.permits.get((uscc, who, where), ())
        return found

    def hours_at(self, uscc: str, machine_id: str) -> tuple[WorkHours, ...]:
        """Hours registered for this machine, and for all of the firm."""
        return tuple([one for one in self.hours.get(uscc, {}).values() if one.machine_id in (None, machine_id)])

    def source_ages(self, now: Millis) -> tuple[tuple[str, int], ...]:
        """Seconds since each source that has to be fresh last confirmed its registries."""
        confirmed = sorted(self.source_confirmed.items())
        return tuple([(source, max(0, now - at) // 1000) for source, at in confirmed])

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
            case Permit():
                self._permit(row, changed)
            case WorkHours():
                self._open_hours(row, changed)
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
            case Permit():
                self._clear_permits((row.uscc, row.operator_id, row.machine_id), row.permit_id)
                _permit_concerns(row, changed)
            case WorkHours():
                self._open_hours(replace(row, ends=WITHDRAWN), changed)
            case _:
                raise TypeError(f"{type(row).__name__} is no registry row that can go")

    def _leave(self, operator_id: str, employment: Employment) -> None:
        """Take away the employment by the same firm from the same day on."""
        works = self.employments.get(operator_id, ())
        key = (employment.uscc, employment.since)
        self.employments[operator_id] = tuple(work for work in works if (work.uscc, work.since) != key)

    def _employ(self, operator_id: str, employment: Employment) -> None:
        if not self.employments_at(operator_id, employment.uscc):
            self._staff.setdefault(employment.uscc, []).append(operator_id)
        self._leave(operator_id, employment)
        self.employments[operator_id] = (*self.employments[operator_id], employment)

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

    def _permit(self, permit: Permit, changed: Changed) -> None:
        """Put the permit to its firm, and take it from the firm that it was of before."""
        who, where = permit.operator_id, permit.machine_id
        before = self._permit_firms.get((permit.permit_id, who, where), permit.uscc)
        self._clear_permits((before, who, where), permit.permit_id)
        covered = (permit.uscc, who, where)
        self.permits[covered] = (*self.permits.get(covered, ()), permit)
        self._permit_firms[permit.permit_id, who, where] = permit.uscc
        _permit_concerns(permit, changed)
        if before != permit.uscc:
            changed.enterprises.add(before)

    def _clear_permits(self, covered: _Covered, permit_id: str) -> None:
        """Take away one permit, and those beside it that are long over."""
        since, kept = self.confirmed_at - PERMITS_KEPT_MS, []
        for held in self.permits.pop(covered, ()):
            if held.permit_id == permit_id or held.ends_at <= since:
                del self._permit_firms[held.permit_id, held.operator_id, held.machine_id]
            else:
                kept.append(held)
        if kept:
            self.permits[covered] = tuple(kept)

    def _open_hours(self, hours: WorkHours, changed: Changed) -> None:
        spans = self.hours.setdefault(hours.uscc, {})
        key = (hours.machine_id, hours.days, hours.starts)
        if hours.ends == WITHDRAWN:
            spans.pop(key, None)
        else:
            spans[key] = hours
        if hours.machine_id is not None:
            changed.machines.add(hours.machine_id)
        else:
            changed.enterprises.add(hours.uscc)


def _permit_concerns(permit: Permit, changed: Changed) -> None:
    if permit.machine_id is not None:
        changed.machines.add(permit.machine_id)
    elif permit.operator_id is not None:
        changed.operators.add(permit.operator_id)
    else:
        changed.enterprises.add(permit.uscc)
