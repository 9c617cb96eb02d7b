"""What the documents say about payloads: the meaning of every field, and patterns as everybody reads them."""

from msgspec import inspect as types

from gateway.core import model
from gateway.wire import messages
from gateway.wire.tokens import Command, Grant


class DriftError(Exception):
    """A document and the code cannot be brought together; the message says where."""


MEANINGS: dict[type, dict[str, str]] = {
    model.Request: {
        "request_id": "Made by the chip, new for each scan; repeated unchanged until answered.",
        "credential": "The scanned text. 1 to 256 printable characters make a badge; anything else is refused by name.",
        "challenge": "The chip's current challenge; the grant repeats it.",
        "method": "How it was read.",
        "at": "When, by the chip's wall clock; null where it has none.",
    },
    model.Usage: {
        "session_id": "From the decision.",
        "seq": "Rises within the session; an older report never replaces a newer one.",
        "at": "When, by the chip's wall clock.",
        "relay": "Where the relay stands.",
        "enabled_s": "Seconds with the relay closed since the session began.",
        "arc_s": "Seconds with welding current.",
        "idle_s": "Seconds closed without current.",
        "arcs": "Arcs struck.",
        "energy_wh": "Energy, watt-hours.",
        "current_a": "Latest welding current, ampere.",
        "voltage_v": "Latest arc voltage, volt.",
        "final": "True once, in the last report of the session.",
    },
    model.Event: {
        "event_id": "Made by the chip, unique per machine; a repeat changes nothing.",
        "seq": "Counts the chip's events and is never reset: a gap is lost evidence.",
        "kind": "What happened.",
        "at": "When, by the chip's wall clock.",
        "session_id": "The session concerned.",
        "reason": "Why; of a `locked` it becomes the end reason of the session (64 characters of it).",
        "detail": "Anything more; recorded as sent. Never put personal numbers here.",
    },
    model.Status: {
        "online": "The last will carries `false` and nothing else.",
        "challenge": "The current challenge.",
        "chip": "Serial of the lock chip; compared with the registered one.",
        "firmware": "Version of the chip's software.",
        "relay": "Where the relay stands.",
        "session_id": "The running session.",
        "at": "When, by the chip's wall clock.",
    },
    messages.DecisionMessage: {
        "at": "When it was decided, Unix milliseconds.",
        "grant": "The signed grant; null on deny.",
        "outcome": "The decision.",
        "reasons": "Every reason that refuses; empty on allow.",
        "request_id": "The request answered.",
        "session_id": "The session opened; null on deny.",
    },
    messages.WireReason: {
        "code": "Stable code, see [reasons](reasons.md).",
        "message": "What is wrong: Chinese, then English after a space.",
        "remedy": "What to do about it, in the same form.",
        "resolver": "Who can resolve it first.",
    },
    Grant: {
        "aud": "The machine.",
        "cha": "The challenge of the request.",
        "exp": "Start-by: seconds since 1970, at most 30 after `iat`.",
        "iat": "When it was issued, seconds since 1970.",
        "jti": "The request id.",
        "lease_s": "How long the relay may stay closed, from acceptance by the chip's monotonic clock.",
        "sid": "The session id.",
        "iss": "The issuer.",
        "n": "0; a command within the session counts on from here.",
    },
    messages.CommandMessage: {
        "command": "The signed command.",
        "command_id": "Its id, the `jti` of its claims; the same id again is the same command.",
    },
    Command: {
        "aud": "The machine.",
        "cmd": "What to do.",
        "exp": "The last second in which a chip with a clock carries it out, seconds since 1970.",
        "iat": "When it was issued, seconds since 1970.",
        "jti": "The command id.",
        "iss": "The issuer.",
        "n": "Rises within the session that `sid` names: a command whose number is not above the last one is refused.",
        "sid": "The session that it is for.",
        "cha": "The challenge that the chip shows now; carrying the command out uses it up.",
        "lease_s": "How long the relay may stay closed from acceptance on; of a list, the lease of each unlock.",
        "when": "`between_arcs`: at the next moment without welding current; `now`: at once.",
        "deadline_s": "Seconds after which the relay opens although an arc burns.",
        "reason": "Why; becomes the reason of the chip's `locked`.",
        "list_version": "Rises with every change of the machine's list.",
        "base_version": "The list that a difference builds on; without it the list is whole.",
        "entries": "Who may unlock: the credential's digest, and until when in seconds since 1970.",
        "gone": "Digests that a difference takes off the list.",
        "offline_for_s": "How long after its last contact a chip may use the list, seconds; 0 is never.",
        "idle_lock_s": "Idle time after which the chip locks, seconds.",
        "drain_deadline_s": "How long an arc may go on after the lease, seconds.",
    },
    messages.FeedDecision: {
        "at": "When it was decided, Unix milliseconds.",
        "division": "Division of the machine, `000000` where it is not registered.",
        "enterprise": "Credit code of the machine's firm.",
        "machine_id": "The machine.",
        "operator": "The person's id, masked.",
        "outcome": "The decision.",
        "reasons": "Codes that refused.",
        "request_id": "The request.",
        "warnings": "Codes that failed without refusing.",
    },
    messages.FeedUsage: {
        "arc_s": "Seconds with welding current.",
        "arcs": "Arcs struck.",
        "at": "When it was folded, Unix milliseconds.",
        "division": "Division of the machine.",
        "enabled_s": "Seconds with the relay closed.",
        "energy_wh": "Energy, watt-hours.",
        "final": "True at the session's end; again if a later report comes in after that.",
        "idle_s": "Seconds closed without current.",
        "machine_id": "The machine.",
        "session_id": "The session.",
    },
    messages.FeedAlert: {
        "at": "When it was noticed, Unix milliseconds.",
        "detail": "Codes, sequence numbers or seconds that say more; may be empty.",
        "division": "Division of the machine, `000000` where it is not registered.",
        "kind": "What a person should look at.",
        "machine_id": "The machine.",
        "session_id": "The session concerned; null where there is none.",
    },
    messages.GatewayStatus: {
        "at": "When, Unix milliseconds; in the last will, when the gateway started.",
        "online": "False in the last will and after an orderly stop.",
        "registry_version": "The registry version that decisions use.",
        "version": "The gateway's version.",
    },
}


def fields(struct: type) -> tuple[types.Field, ...]:
    """The fields of a struct; raises DriftError for anything else."""
    info = types.type_info(struct)
    if not isinstance(info, types.StructType):
        raise DriftError(f"{struct.__name__} is no struct")
    return info.fields


def meanings(struct: type) -> dict[str, str]:
    """The meaning of each field by its name on the wire; raises DriftError where one lacks or is too many."""
    said, names = MEANINGS[struct], {field.encode_name for field in fields(struct)}
    for lacking in sorted(names - said.keys()):
        raise DriftError(f"docs/payloads.py: MEANINGS lacks {struct.__name__}.{lacking}")
    for gone in sorted(said.keys() - names):
        raise DriftError(f"docs/payloads.py: MEANINGS knows {struct.__name__}.{gone}, which is gone")
    return said


def readable(pattern: str) -> str:
    """A pattern without what only says that Python's ``$`` must not match before a line break."""
    return pattern.replace(r"(?!\n)", "")
