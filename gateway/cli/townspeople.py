"""Who signs in to the pages of the demo: one of each role, with secrets made for this run alone."""

import secrets
from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateway.clock import now_ms
from gateway.core.accounts import Role, weak_pin
from gateway.core.decide import decide
from gateway.core.model import Asked, Millis
from gateway.core.policy import Policy, Rulebook
from gateway.core.rules import local_time
from gateway.errors import WeldGateError
from gateway.gate.state import GateState
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.registry.standing import staff_on
from gateway.site.passwords import hash_of
from gateway.store import accounts
from gateway.store.access import Access, reveal
from gateway.store.overview import operator
from gateway.store.vault import Vault, VaultError

MAKER = "weldgate demo"


class SignIn(Struct, frozen=True):
    """What a visitor of the demo types in."""

    login: str
    secret: str

    def __str__(self) -> str:
        return f"{self.login}  {self.secret}"


class Townspeople(Struct, frozen=True):
    """The welder may start ``machine_id``, of the firm; nobody else in the demo touches either."""

    operator_id: str
    machine_id: str
    welder: SignIn
    firm: SignIn
    regulator: SignIn
    keeper: SignIn


def settle(engine: Engine, vault: Vault) -> Townspeople:
    """Make the accounts."""
    now = now_ms()
    snapshot = Snapshot()
    snapshot.apply(read_delta(engine, 0))
    for machine_id, uscc, operator_id in _pairs(snapshot, now):
        phone = _phone(engine, vault, operator_id, now)
        if phone is None:
            continue
        pin = _pin()
        with engine.begin() as connection:
            _account(connection, "welder", operator_id, operator_id, pin)
            return Townspeople(
                operator_id,
                machine_id,
                SignIn(phone, pin),
                _staff(connection, "firm", "firm", uscc),
                _staff(connection, "regulator", "county", snapshot.machines[machine_id].division),
                _staff(connection, "gateway_operator", "keeper", ""),
            )
    raise WeldGateError("the sample county has nobody who may weld; try another --seed")


def _pairs(snapshot: Snapshot, now: Millis) -> Iterator[tuple[str, str, str]]:
    """Machines and people of one firm whom the gate would let in: (machine, firm, operator)."""
    rulebook = Rulebook(Policy())
    state, today = GateState(snapshot, rulebook, lambda: now), local_time(now).date()
    for machine_id, machine in sorted(snapshot.machines.items()):
        people = staff_on(snapshot, machine.uscc, today)
        for operator_id in people if len(people) > 2 else ():
            asked = Asked("demo", "", "badge", "")
            if decide(asked, state.facts(machine_id, operator_id), rulebook).outcome == "allow":
                yield machine_id, machine.uscc, operator_id


def _phone(engine: Engine, vault: Vault, operator_id: str, now: Millis) -> str | None:
    try:
        return reveal(engine, vault, Access(MAKER, "phone", operator_id, "signs in to the demo"), now)
    except (WeldGateError, VaultError):
        return None


def _staff(connection: Connection, role: Role, login: str, where: str) -> SignIn:
    password = secrets.token_urlsafe(12)
    _account(connection, role, login, where, password)
    return SignIn(login, password)


def _account(connection: Connection, role: Role, login: str, where: str, secret: str) -> None:
    now, known = now_ms(), operator(connection, login)
    name = known.name if known and known.name else f"样例 {login}"
    account, _ = accounts.add(connection, role, login, name, where, MAKER, now)
    accounts.set_secret(connection, account, hash_of(secret), now)


def _pin() -> str:
    while weak_pin(pin := f"{secrets.randbelow(10**6):06}"):
        pass
    return pin
