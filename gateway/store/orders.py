"""What the gate asks of the scribe and what it gets back, as frames on a socket: 4 bytes of length, then msgpack."""

import msgspec
from msgspec import Struct

from gateway.core.model import Millis
from gateway.store.journal import Batch
from gateway.store.ledger import Draft, Head, Key
from gateway.store.prepared import Row

LENGTH_BYTES = 4


class Commit(Struct, frozen=True, tag=True, array_like=True):
    """Make a batch durable."""

    batch: Batch


class Recall(Struct, frozen=True, tag=True, array_like=True):
    """Read back what is on record: after a failure memory may be ahead of the database or behind it."""

    keys: list[Key]
    with_chips: bool = True
    accept_clock: Draft | None = None
    """Records that the clock is right although the ledger holds later records."""


class Probe(Struct, frozen=True, tag=True, array_like=True):
    """Find out whether the database takes writes."""


class Committed(Struct, frozen=True, tag=True, array_like=True):
    """The batch is durable; ``replies`` belong to its drafts."""

    head: Head
    replies: list[bytes | None]


class Recalled(Struct, frozen=True, tag=True, array_like=True):
    """``answers`` holds the reply (None for an event) of each key on record; ``latest`` is the latest record's time."""

    answers: list[tuple[Key, bytes | None]]
    sessions: list[Row]
    chips: dict[str, str]
    latest: Millis


class Writable(Struct, frozen=True, tag=True, array_like=True):
    """The database takes writes."""


class Refused(Struct, frozen=True, tag=True, array_like=True):
    """The database refuses the content; nothing of it was written."""

    problem: str


class Unavailable(Struct, frozen=True, tag=True, array_like=True):
    """The database cannot be used now; nothing was written."""

    problem: str


Order = Commit | Recall | Probe
Result = Committed | Recalled | Writable | Refused | Unavailable

_encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_result = msgspec.msgpack.Decoder(Result).decode


def frame(message: Order | Result) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
