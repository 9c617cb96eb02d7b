"""What authorised people may order, and when: each function makes one act, or refuses it with the reason. Pure.

Two people make an override: one asks, another approves within an hour, and neither is the one whom it lets pass.
"""

import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from gateway.core.model import Control, Millis
from gateway.core.reasons import REASONS
from gateway.core.rules import local_time
from gateway.registry.values import Unreadable, personal_identifier, shown, text
from gateway.store.controls import ControlError, new_control_id

LONGEST_MINUTES = 60
APPROVED_WITHIN_MINUTES = 60
LONGEST_NAME = 128
SHORTEST_REASON, LONGEST_REASON = 4, 512
MINUTE_MS = 60_000
OVERRIDABLE = tuple(reason.code for reason in REASONS.values() if reason.override != "nobody")

Holding = Literal["lock", "out_of_service"]
Level = Literal["supervisor", "regulator"]
OverrideState = Literal["asked", "lapsed", "in_force", "ended", "over"]
_HELD: dict[str, str] = {"lock": "locked", "out_of_service": "out of service"}


class Author(Struct, frozen=True):
    """Who orders something, for what reason, and when."""

    by: str
    reason: str
    at: Millis


def author(by: str, reason: str, now: Millis) -> Author:
    """Raises ControlError for a name or a reason that tells nobody anything."""
    words = _read("reason", reason, LONGEST_REASON)
    if len(words) < SHORTEST_REASON:
        raise ControlError(f"reason = {words!r}: say in a few words why, at least {SHORTEST_REASON} characters")
    return Author(named(by), words, now)


def named(by: str) -> str:
    name = _read("by", by, LONGEST_NAME)
    if not person(name):
        raise ControlError(f"by = {name!r}: give the name of the person who orders this")
    return name


def person(name: str) -> str:
    """A name as it is compared: case, width, white space and punctuation make nobody a second person.

    >>> person("ＷＡＮＧ　an.") == person("Wang An")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


def _read(field: str, raw: str, longest: int) -> str:
    try:
        words: str = text(longest)(raw)
    except Unreadable as problem:
        raise ControlError(f"{field} = {shown(raw, personal=False)!r}: {problem}; change it") from None
    if personal_identifier(words):
        raise ControlError(
            f"{field} = {shown(words, personal=False)!r}: looks like an ID number or phone number, and the ledger "
            "keeps it for ever; name people by name or operator id"
        )
    return words


def when(at: Millis) -> str:
    """A moment in the county's time."""
    return f"{local_time(at):%Y-%m-%d %H:%M:%S}"


def _told(act: Control) -> str:
    return f"since {when(act.at)} by {act.by} ({act.reason})"


# --- machines and sessions --------------------------------------------------------------------------------------


def holding(acts: Iterable[Control]) -> Control | None:
    """The act that holds a machine, of all about it, the latest first."""
    for act in acts:
        if act.act in _HELD:
            return act
        if act.act == "release":
            return None
    return None


def hold(act: Holding, machine_id: str, author: Author, acts: Iterable[Control]) -> Control:
    """Lock a machine, or take it out of service (also where it is locked), until somebody releases it."""
    held = holding(acts)
    if held is not None and held.act in (act, "out_of_service"):
        raise ControlError(f"machine {machine_id}: is {_HELD[held.act]} already, {_told(held)}; nothing was changed")
    return Control(new_control_id(), author.at, act, author.by, author.reason, machine_id)


def release(machine_id: str, author: Author, acts: Iterable[Control]) -> Control:
    if holding(acts) is None:
        raise ControlError(
            f"machine {machine_id}: is neither locked nor out of service; `weldgate machine show {machine_id}` tells "
            "why it refuses"
        )
    return Control(new_control_id(), author.at, "release", author.by, author.reason, machine_id)


class Running(Struct, frozen=True):
    """A session as far as an order to end it has to know. ``ended_at`` is None while it is open."""

    session_id: str
    machine_id: str
    operator_id: str | None
    ended_at: Millis | None
    end_reason: str | None


def end_session(session: Running, author: Author, acts: Sequence[Control]) -> Control:
    """``acts``: those about the session."""
    if session.ended_at is not None:
        raise ControlError(
            f"session {session.session_id}: ended at {when(session.ended_at)} ({session.end_reason}); "
            "`weldgate session list` shows those that run"
        )
    if acts:
        raise ControlError(
            f"session {session.session_id}: its end is ordered already, {_told(acts[0])}; the lock is sent again "
            "until the chip reports"
        )
    act = Control(new_control_id(), author.at, "end_session", author.by, author.reason, session.machine_id)
    return structs.replace(act, operator_id=session.operator_id, session_id=session.session_id)


# --- overrides --------------------------------------------------------------------------------------------------


class Welder(Struct, frozen=True):
    """The person whom an override lets pass."""

    operator_id: str
    name: str | None


class Overriding(Struct, frozen=True):
    """One override from its asking on."""

    asked: Control
    approved: Control | None = None
    ended: Control | None = None

    @property
    def override_id(self) -> str:
        return self.asked.control_id

    def until(self) -> Millis | None:
        """When it is or was over; None if nobody approved it."""
        if self.approved is None:
            return None
        ends = [act for act in (self.approved.until, self.ended.at if self.ended else None) if act is not None]
        return min(ends, default=self.approved.at)

    def state(self, now: Millis) -> OverrideState:
        if self.ended is not None:
            return "ended"
        if self.approved is None:
            return "asked" if now - self.asked.at <= APPROVED_WITHIN_MINUTES * MINUTE_MS else "lapsed"
        return "in_force" if now < (self.approved.until or 0) else "over"


def overridings(acts: Iterable[Control]) -> list[Overriding]:
    """The overrides that acts speak of, the latest asked first, as the acts are."""
    known: dict[str, dict[str, Control]] = {}
    for act in acts:
        if act.override_id is not None:
            known.setdefault(act.override_id, {})[act.act] = act
    stories = [
        Overriding(said["override_asked"], said.get("override_approved"), said.get("override_ended"))
        for said in known.values()
        if "override_asked" in said
    ]
    return sorted(stories, key=lambda story: story.asked.at, reverse=True)


def ask_override(welder: Welder, machine_id: str, codes: Sequence[str], minutes: int, author: Author) -> Control:
    """Ask for codes to be let pass for one person at one machine; in force once a second person has approved."""
    if not 1 <= minutes <= LONGEST_MINUTES:
        raise ControlError(f"minutes = {minutes}: use 1 to {LONGEST_MINUTES}; ask again where that is too short")
    _not_the_welder(author.by, welder)
    override_id = new_control_id()
    return Control(
        control_id=override_id,
        at=author.at,
        act="override_asked",
        by=author.by,
        reason=author.reason,
        machine_id=machine_id,
        operator_id=welder.operator_id,
        override_id=override_id,
        codes=_overridable(codes),
        minutes=minutes,
    )


def _overridable(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes once each, in the order of the table."""
    for code in codes:
        if code not in REASONS:
            raise ControlError(f"code = {shown(code, personal=False)!r}: there is no such reason; {_listed()}")
        if code not in OVERRIDABLE:
            raise ControlError(f"code = {code}: nobody may override it; {_listed()}")
    if not codes:
        raise ControlError(f"code: name what is to be let pass; {_listed()}")
    return tuple(code for code in OVERRIDABLE if code in codes)


def _listed() -> str:
    return f"these can be overridden: {', '.join(OVERRIDABLE)}"


def _not_the_welder(by: str, welder: Welder) -> None:
    """INVARIANT: nobody has a hand in an override for themselves."""
    if person(by) in {person(welder.operator_id), person(welder.name or "")}:
        raise ControlError(f"by = {by!r}: is the operator whom the override lets pass; it takes two other people")


def approve_override(
    story: Overriding, others: Iterable[Overriding], welder: Welder, by: str, level: Level, now: Millis
) -> Control:
    """``others``: overrides for the same person at the same machine. It lasts from now on for the minutes asked for.

    INVARIANT: two people, neither of them the operator, make an override.
    """
    asked, name = story.asked, named(by)
    _still(story, now, ("asked",), "nothing was approved; ask anew if it is needed (weldgate override ask)")
    if person(name) == person(asked.by):
        raise ControlError(f"by = {name!r}: asked for it; a second person has to approve")
    _not_the_welder(name, welder)
    above = [code for code in asked.codes if REASONS[code].override == "regulator"]
    if above and level != "regulator":
        raise ControlError(f"level = {level}: {', '.join(above)} only a regulator lets pass; use --level regulator")
    for other in others:
        if other.state(now) == "in_force":
            raise ControlError(
                f"override {story.override_id}: {other.override_id} is in force for {asked.operator_id} at "
                f"{asked.machine_id} until {when(other.until() or now)}; end it first (weldgate override end)"
            )
    until = now + (asked.minutes or 0) * MINUTE_MS
    act = structs.replace(asked, control_id=new_control_id(), at=now, act="override_approved", by=name)
    return structs.replace(act, level=level, until=until)


def end_override(story: Overriding, author: Author) -> Control:
    """End an override that is in force, or withdraw one that nobody has approved yet."""
    _still(story, author.at, ("asked", "in_force"), "there is nothing to end")
    act = structs.replace(story.asked, control_id=new_control_id(), at=author.at, act="override_ended")
    return structs.replace(act, by=author.by, reason=author.reason)


def _still(story: Overriding, now: Millis, states: Container[OverrideState], remedy: str) -> None:
    state = story.state(now)
    if state not in states:
        raise ControlError(f"override {story.override_id}: {_PAST[state]}; {remedy}")


_PAST: dict[OverrideState, str] = {
    "lapsed": f"nobody approved it within {APPROVED_WITHIN_MINUTES} minutes",
    "in_force": "is approved already and in force",
    "ended": "was ended",
    "over": "is over",
}
