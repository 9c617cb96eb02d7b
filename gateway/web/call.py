"""What a handler of the HTTP API is given: the call, and the parts of the gateway that it may use."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Engine

from gateway.gate.state import GateState
from gateway.registry.values import personal_identifier
from gateway.store.api_tokens import Scope
from gateway.store.vault import Vault
from gateway.web.deliveries import Deliveries
from gateway.web.problems import ApiError, Kind

Method = Literal["GET", "POST"]
PARAMETERS: dict[str, str] = {
    "operator_id": "The person's number, as the registries have it.",
    "uscc": "The firm's unified social credit code.",
    "machine_id": "The machine's number.",
    "hold_id": "The hold, as `GET /registry/holds` lists it.",
}
"""What may stand in a path."""


class Services(Struct, frozen=True):
    """The parts of the gateway that handlers use. ``state`` is the event loop's; ``engine`` blocks: use it in a
    thread."""

    state: GateState
    engine: Engine
    vault: Vault
    code_keys: tuple[bytes, ...]
    deliveries: Deliveries


class Call(Struct, frozen=True):
    """One request that was let in: what stands in its path, its query and its body as the route's structs. ``raw`` and
    ``headers`` are for what is signed; ``by`` is the token's id."""

    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes
    headers: Mapping[str, str]
    by: str

    def named(self, parameter: str) -> str:
        """What the path names. Raises ApiError for a personal number: a URL ends in the logs of others.

        INVARIANT: no ID number or phone number stands in a URL.
        """
        value = self.path[parameter]
        if personal_identifier(value):
            raise ApiError(
                "malformed",
                f"{parameter}: looks like an ID number or phone number, which has no place in a URL; give people and "
                "machines numbers of their own",
            )
        return value


class Route(Struct, frozen=True):
    """One method of one path. ``access`` is the scope that it takes, or "signature" where the body is signed and the
    handler checks it. ``problems`` are its own: those that every route of its shape has are added."""

    method: Method
    path: str
    name: str
    access: Scope | Literal["signature"]
    summary: str
    answer: type
    handler: Callable[[Services, Call], Awaitable[Struct]]
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    problems: tuple[Kind, ...] = ()
