"""What somebody has to look at: sources that contradict each other, and changes that are held."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.core.genuine import masked_name
from gateway.core.model import Millis
from gateway.registry.acts import LONGEST_REASON, SHORTEST_REASON, author
from gateway.registry.preview import NUMBERS
from gateway.registry.values import without_numbers
from gateway.store import guard
from gateway.store.claims import Conflict
from gateway.store.controls import ControlError
from gateway.store.engine import reading
from gateway.store.guard import Hold, HoldDecided, HoldError, HoldState, decide_hold
from gateway.store.readers import reference
from gateway.store.registry import conflicts as contradictions
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError

# --- contradictions ---------------------------------------------------------------------------------------------


class Word(Struct, frozen=True):
    """What a source says; null where the field is a personal number, names of people masked."""

    source: str
    value: Any


class ConflictView(Struct, frozen=True):
    """Sources that contradict each other about one field of a row, named by its key (a certificate by its ``ref``).
    ``holds`` is the value that counts, shown as theirs are."""

    kind: str
    key: tuple[str, ...]
    field: str
    values: tuple[Word, ...]
    holds: Any


class ConflictsView(Struct, frozen=True):
    """Contradictions that stand now."""

    conflicts: tuple[ConflictView, ...]


class Most(Struct, frozen=True, forbid_unknown_fields=True):
    """How many at most."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def conflicts(services: Services, call: Call) -> ConflictsView:
    found = await asyncio.to_thread(contradictions, services.engine, call.query.limit)
    return ConflictsView(tuple(map(_conflict, found)))


def _conflict(found: Conflict) -> ConflictView:
    words = tuple(Word(source, _value(found, value)) for source, value in found.values)
    field = NUMBERS.get(found.field, found.field)
    return ConflictView(found.kind, _key(found), field, words, _value(found, found.holds))


def _value(found: Conflict, value: Any) -> Any:
    if found.field in NUMBERS:
        return None
    named = (found.kind, found.field) == ("operators", "name") and value is not None
    return masked_name(value) if named else value


def _key(found: Conflict) -> tuple[str, ...]:
    parts = tuple(str(part) for part in msgspec.json.decode(found.key))
    return (reference(*parts),) if found.kind == "certificates" else parts


# --- held changes -----------------------------------------------------------------------------------------------


class HoldView(Struct, frozen=True):
    """A change that was held: it would take the right to weld from ``people`` of ``of_people``. Times are Unix
    milliseconds; ``by`` is who decided, a token's id where it was done over this API."""

    hold_id: str
    at: Millis
    source: str
    note: str
    people: int
    of_people: int
    state: HoldState
    decided_at: Millis | None
    by: str | None
    reason: str | None


class HoldsView(Struct, frozen=True):
    """Changes that were held, the latest first, and what became of them."""

    holds: tuple[HoldView, ...]


class Because(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is decided so; goes on record."""

    reason: Annotated[str, Meta(min_length=SHORTEST_REASON, max_length=LONGEST_REASON)]


async def holds(services: Services, _: Call) -> HoldsView:
    def read() -> list[Hold]:
        with reading(services.engine).connect() as connection:
            return guard.holds(connection)

    return HoldsView(tuple(map(_hold, await asyncio.to_thread(read))))


async def confirm(services: Services, call: Call) -> HoldView:
    return await _decide(services, call, "confirmed")


async def reject(services: Services, call: Call) -> HoldView:
    return await _decide(services, call, "rejected")


async def _decide(services: Services, call: Call, state: Literal["confirmed", "rejected"]) -> HoldView:
    hold_id = call.named("hold_id")
    try:
        who = author(call.by, call.body.reason, services.state.wall_ms())
    except ControlError as error:
        raise ApiError("invalid", str(error)) from None
    said = (who.by, who.reason)
    try:
        return _hold(await asyncio.to_thread(decide_hold, services.engine, hold_id, state, said, who.at))
    except HoldDecided as error:
        raise ApiError("conflict", str(error)) from None
    except HoldError:
        raise ApiError("not-found", "hold_id: there is none such; GET /registry/holds lists all") from None


def _hold(hold: Hold) -> HoldView:
    shown = {name: getattr(hold, name) for name in HoldView.__struct_fields__}
    return HoldView(**shown | {"note": without_numbers(hold.note)})
