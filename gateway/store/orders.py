"""What the gate asks of the scribe and what it gets back, as frames on a socket: 4 bytes of length, then msgpack."""

import msgspec
from msgspec import Struct

from gateway.core.model import Millis
from gateway.store.journal import AboutMachines, Batch, Book
from gateway.store.ledger import Draft, Head, Key

LENGTH_BYTES = 4


class Commit(Struct, frozen=True, tag=True, array_like=True):
    """Make a batch durable."""

    batch: Batch


class Recall(Struct, frozen=True, tag=True, array_like=True):
    """Read back what is on record: after a failure memory may be ahead of the database or behind it."""

    keys: list[Key]
    whole: bool = True
    """Also what the gate learned from chips, and not only what it changes itself."""
    recent_since: Millis | None = None
    """Who was let in since then, for the offline lists; None without them."""
    accept_clock: Draft | None = None
    """Records that the clock is right although the ledger holds later records."""


class LookUp(Struct, frozen=True, tag=True, array_like=True):
    """Read what is on record of some messages and machines: another gateway may know more of them."""

    keys: list[Key]
    machine_ids: list[str]


class Probe(Struct, frozen=True, tag=True, array_like=True):
    """Find out whether the database takes writes."""


class Committed(Struct, frozen=True, tag=True, array_like=True):
    """The batch is durable; ``replies`` belong to its drafts, ``commands`` to its orders."""

    head: Head
    replies: list[bytes | None]
    commands: list[bytes] = []


class Recalled(Struct, frozen=True, tag=True, array_like=True):
    """``answers`` holds the reply (None for an event) of each key on record."""

    answers: list[tuple[Key, bytes | None]]
    book: Book


class Found(Struct, frozen=True, tag=True, array_like=True):
    """``answers`` as above."""

    answers: list[tuple[Key, bytes | None]]
    about: AboutMachines


class Writable(Struct, frozen=True, tag=True, array_like=True):
    """The database takes writes."""


class Refused(Struct, frozen=True, tag=True, array_like=True):
    """The database refuses the content; nothing of it was written. ``stale``: for what somebody else has written."""

    problem: str
    stale: bool = False


class Unavailable(Struct, frozen=True, tag=True, array_like=True):
    """The database cannot be used now; nothing was written."""

    problem: str


Order = Commit | Recall | LookUp | Probe
Result = Committed | Recalled | Found | Writable | Refused | Unavailable

_encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_result = msgspec.msgpack.Decoder(Result).decode


def frame(message: Order | Result) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
