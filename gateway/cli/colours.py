"""A colour in words: why, until when, what to do."""

from collections.abc import Iterable, Iterator
from datetime import date

from gateway.core.colour import Cause, Person, changes_on, explained, person_standing
from gateway.core.model import Colour, Process
from gateway.core.policy import Rulebook

COLOURS: dict[Colour, str] = {"blue": "蓝 blue", "yellow": "黄 yellow", "red": "红 red", "grey": "灰 grey"}
ITEMS: dict[Process, str] = {"fusion": "熔化焊 fusion", "pressure": "压力焊 pressure", "brazing": "钎焊 brazing"}


def person_in_words(person: Person, rulebook: Rulebook, today: date) -> Iterator[str]:
    """The colour with the day on which it changes, then each cause with its remedy."""
    stands, day = person_standing(person, rulebook, today), changes_on(person, rulebook, today)
    yield f"四色码 colour      {COLOURS[stands.colour]}{_next(person, rulebook, day)}"
    yield from causes_in_words(stands.causes)


def _next(person: Person, rulebook: Rulebook, day: date | None) -> str:
    if day is None:
        return ""
    return f"  自 from {day} 起为 on: {COLOURS[person_standing(person, rulebook, day).colour]}"


def causes_in_words(causes: Iterable[Cause]) -> Iterator[str]:
    for cause in causes:
        said = explained(cause.code)
        yield f"  {in_short(cause)}: {said.message_zh} {said.message_en}"
        yield f"      办法 remedy: {said.remedy_zh} {said.remedy_en}"


def in_short(cause: Cause) -> str:
    """The code with what it is about and its days; marked ✗ where machines refuse for it, else !."""
    item = ITEMS[cause.item] if cause.item else ""
    since = f"自 since {cause.since}" if cause.since else ""
    until = f"至 until {cause.until}" if cause.until else ""
    return "  ".join(filter(None, (f"{'✗' if cause.refuses else '!'} {cause.code}", item, since, until)))
