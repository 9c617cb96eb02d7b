"""Structured logs: one JSON object a line on stderr, stable event names, personal numbers struck out."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from gateway.observe import events

_PERSONAL = re.compile(r"(?<![0-9])(?:[0-9]{6}(?:18|19|20)[0-9]{9}[0-9Xx]|(?:86)?1[3-9][0-9]{9})(?![0-9])")
"""ID numbers (GB 11643) and mobile phone numbers, wherever a text carries them."""
STRUCK_OUT = "***"


def strike_out(text: str) -> str:
    """The text without ID and phone numbers.

    >>> strike_out("no 99000019900101000X here")
    'no *** here'
    """
    return _PERSONAL.sub(STRUCK_OUT, text)


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """INVARIANT: no log line carries an ID number or a phone number, whatever was put into it."""
    return {strike_out(key): _struck_out(value) for key, value in event.items()}


def _struck_out(value: Any) -> Any:
    """``value`` in a form that JSON has, however deep its texts lie."""
    if isinstance(value, dict):
        return {strike_out(str(key)): _struck_out(held) for key, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_struck_out(held) for held in value]
    return value if value is None or isinstance(value, bool | int | float) else strike_out(str(value))


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Set up logging for the process; ``level`` is debug, info, warning or error; ``stream`` takes the lines."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    server = logging.getLogger("aiohttp.server")
    server.handlers, server.propagate = [HttpErrors()], False


class HttpErrors(logging.Handler):
    """What the web server logs of requests that it cannot read or answer: only which error, never what was sent.

    INVARIANT: a request's own bytes stand in no log; they may hold anybody's number.
    """

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        self._log.warning("http.error", error=error.__name__ if error else record.levelname)


class Log:
    """Writes what an operator of the gateway has to know; single decisions are in the ledger, here only at debug."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def __call__(self, event: events.Observed) -> None:
        match event:
            case events.Trouble(where, problem):
                self._log.warning("trouble", where=where, problem=problem)
            case events.Recovered(where, detail):
                self._log.info("recovered", where=where, detail=detail)
            case events.RegistryLoaded(version, _, rows, seconds):
                self._log.info("registry.loaded", version=version, rows=rows, seconds=round(seconds, 3))
            case events.SourceSynced(source, rows, seconds) if rows:
                self._log.info("source.synced", source=source, rows=rows, seconds=round(seconds, 3))
            case events.PolicyAdopted(version, digest):
                self._log.info("policy.adopted", version=version, hash=digest)
            case events.Denied(kind, address, limited) if not limited:
                self._log.warning("api.denied", kind=kind, address=address)
            case events.Locking(session_id, machine_id, _, reason, again) if not again:
                self._log.info("session.locking", session_id=session_id, machine_id=machine_id, reason=reason)
            case events.StrayRelay(machine_id, session_id):
                self._log.warning("relay.stray", machine_id=machine_id, session_id=session_id)
            case events.EvidenceLost(machine_id, missing):
                self._log.warning("evidence.lost", machine_id=machine_id, events=missing)
            case events.Rejected(kind, problem):
                self._log.info("message.rejected", kind=kind, problem=problem)
            case events.Reported(machine_id, kind) if kind in ("tamper", "arc_without_lease", "relay_stuck"):
                self._log.warning("chip.alarm", machine_id=machine_id, kind=kind)
            case events.Decided(machine_id, asked, _, decision) if decision.faults:
                self._log.error(
                    "decision.fault", machine_id=machine_id, request_id=asked.request_id, faults=decision.faults
                )
            case events.NotAnswered(machine_id, request_id, why):
                self._log.warning("phone.unanswered", machine_id=machine_id, request_id=request_id, why=why)
            case _:
                pass
