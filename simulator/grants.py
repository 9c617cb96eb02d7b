"""What a chip checks before it believes a signed token. Pure; every refusal has a stable word."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.wire.tokens import Command, Grant, TokenError

Verify = Callable[[str], dict[str, object]]
"""The claims of a token whose signature is good; raises TokenError."""

T = TypeVar("T")


class RefusedError(Exception):
    """A token that a chip does not act on: ``reason`` and ``detail`` for the event, ``session_id`` as far as it could
    be read."""

    def __init__(self, reason: str, session_id: str | None = None, detail: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.session_id = session_id
        self.detail = detail or {}


class Expected(Struct, frozen=True):
    """What a chip holds a token against. ``wall_ms`` is None where it has no wall clock.

    ``session_id`` and ``request_id`` are those of the running session.
    """

    machine_id: str
    challenge: str
    wall_ms: int | None
    session_id: str | None = None
    last_n: int = 0
    request_id: str | None = None


def check_grant(token: str, verify: Verify, request_id: str, expected: Expected) -> Grant:
    """The grant, fit to close the relay now; raises RefusedError."""
    grant = _claims(token, verify, Grant)
    _check_address(grant.aud, grant.jti, request_id, grant.sid, expected)
    if grant.cha != expected.challenge:
        raise RefusedError("other_challenge", grant.sid)
    _check_time(grant.exp, grant.sid, expected)
    if grant.lease_s < 1 or grant.n != 0:
        raise RefusedError("malformed", grant.sid)
    return grant


def check_command(token: str, verify: Verify, command_id: str, expected: Expected) -> Command:
    """The command, fit to be carried out now; raises RefusedError. Whatever it is addressed by has to fit."""
    command = _claims(token, verify, Command)
    session_id = None if command.sid is UNSET else command.sid
    _check_address(command.aud, command.jti, command_id, session_id, expected)
    if command.cha is not UNSET and command.cha != expected.challenge:
        raise RefusedError("other_challenge", session_id)
    if session_id is not None and session_id != expected.session_id:
        raise RefusedError("other_session", session_id)
    if session_id is not None and command.n <= expected.last_n:
        raise RefusedError("replayed", session_id)
    if session_id is None and command.cha is UNSET:
        raise RefusedError("malformed")
    _check_time(command.exp, session_id, expected)
    if not _complete(command):
        raise RefusedError("malformed", session_id)
    return command


def _complete(command: Command) -> bool:
    """Whether it says everything that its kind needs, with figures that can be meant."""
    match command.cmd:
        case "renew":
            return command.sid is not UNSET and _at_least(1, command.lease_s)
        case "lock":
            return command.deadline_s is UNSET or command.deadline_s >= 0
        case "offline_list":
            addressed = command.cha is not UNSET and command.list_version is not UNSET
            usable = command.offline_for_s == 0 or _at_least(1, command.lease_s)
            return addressed and usable and command.entries is not UNSET and _at_least(0, command.offline_for_s)
        case "config":
            return all(value is UNSET or value >= 1 for value in (command.idle_lock_s, command.drain_deadline_s))


def _at_least(least: int, value: int | UnsetType) -> bool:
    return value is not UNSET and value >= least


def _claims(token: str, verify: Verify, kind: type[T]) -> T:
    try:
        return msgspec.convert(verify(token), kind)
    except TokenError as error:
        raise RefusedError("bad_signature") from error
    except msgspec.ValidationError as error:
        raise RefusedError("malformed") from error


def _check_address(audience: str, jti: str, message_id: str, session_id: str | None, expected: Expected) -> None:
    if audience != expected.machine_id:
        raise RefusedError("other_machine", session_id)
    if jti != message_id:
        raise RefusedError("other_request", session_id)


def _check_time(exp: int, session_id: str | None, expected: Expected) -> None:
    """``exp`` is whole seconds; a chip without a wall clock relies on its challenge alone."""
    if expected.wall_ms is not None and expected.wall_ms > exp * 1000:
        raise RefusedError("late", session_id)
