"""What a chip makes of a message: told apart, read and checked. Pure."""

from collections import deque

import msgspec
from msgspec import Struct

from gateway.wire import topics
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant
from simulator.grants import Expected, RefusedError, Verify, check_command, check_grant
from simulator.signals import MessageArrived

COMMANDS_REMEMBERED = 32
"""Ids of commands carried out, to take a second delivery for what it is."""


class Denied(Struct, frozen=True):
    """A deny, and why."""

    request_id: str
    codes: tuple[str, ...]


class Inbox:
    """Reads for one chip. ``dropped`` counts messages that could not be read."""

    def __init__(self, machine_id: str, verify: Verify) -> None:
        self.dropped = 0
        self._decisions = topics.decision(machine_id)
        self._commands = topics.command(machine_id)
        self._verify = verify
        self._carried_out: deque[str] = deque(maxlen=COMMANDS_REMEMBERED)

    def carried_out(self, command_id: str) -> None:
        """From now on the same command is a second delivery."""
        self._carried_out.append(command_id)

    def read(self, event: MessageArrived, expected: Expected) -> Grant | Command | Denied | None:
        """What to act on, None for nothing; raises RefusedError for a token that must not be believed."""
        if event.topic not in (self._decisions, self._commands):
            self.dropped += 1
            return None
        if event.retained:
            raise RefusedError("retained")
        try:
            if event.topic == self._decisions:
                return self._decision(msgspec.json.decode(event.payload, type=DecisionMessage), expected)
            return self._command(msgspec.json.decode(event.payload, type=CommandMessage), expected)
        except (msgspec.MsgspecError, UnicodeError):
            self.dropped += 1
            return None

    def _decision(self, decision: DecisionMessage, expected: Expected) -> Grant | Denied | None:
        """An allow is for a scan or, with a request id of the gateway's own, by phone: the same checks."""
        if decision.outcome == "deny":
            return Denied(decision.request_id, tuple(reason.code for reason in decision.reasons))
        if decision.request_id == expected.request_id:
            return None
        try:
            return check_grant(decision.grant or "", self._verify, decision.request_id, expected)
        except RefusedError as refused:
            refused.detail["request_id"] = decision.request_id
            raise

    def _command(self, message: CommandMessage, expected: Expected) -> Command | None:
        if message.command_id in self._carried_out:
            return None
        try:
            return check_command(message.command, self._verify, message.command_id, expected)
        except RefusedError as refused:
            refused.detail["command_id"] = message.command_id
            raise
