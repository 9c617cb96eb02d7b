"""What a remote registry answered: whole and of the right form, or one named problem."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gateway.errors import WeldGateError
from gateway.registry.pace import moment_ms
from gateway.registry.sources import Names

LONGEST_CURSOR = 256
"""Characters; positions of all registries of a source are kept in one column."""
LONGEST_ETAG = 128

ProblemName = Literal[
    "connection",
    "timeout",
    "status",
    "gone",
    "redirect",
    "content_type",
    "too_large",
    "truncated",
    "not_json",
    "not_a_page",
    "repeats",
    "endless",
    "stale",
    "bad_rows",
    "other_person",
    "left_alone",
]
PROBLEMS: dict[ProblemName, str] = {
    "connection": "Nobody answers, or not by TLS with a name that is trusted.",
    "timeout": "No whole answer in time.",
    "status": "Another status than 200; 408, 429 and 5xx are asked again.",
    "gone": "The source has forgotten the cursor (410); the registry is read from the start.",
    "redirect": "Leads to another host, to no URL, or round in circles.",
    "content_type": "Not JSON by its own word.",
    "too_large": "An answer of more than 16 MiB.",
    "truncated": "Fewer rows than the page says, or the connection ended before the answer.",
    "not_json": "Cannot be read as JSON in UTF-8.",
    "not_a_page": "JSON of another form than described.",
    "repeats": "A cursor that was there before, or the same page twice.",
    "endless": "More pages than any registry has.",
    "stale": "Rows of a moment before the one that was read last, or older than `max_lag_s` allows.",
    "bad_rows": "Rows that cannot be read, or that contradict each other on one page.",
    "other_person": "A look-up tells of somebody else than was asked for.",
    "left_alone": "Not asked: the breaker is open, or (of a look-up) the rate is used up.",
}
"""What can be wrong with a source's answers; each is counted by its name."""


class FetchFailed(WeldGateError):
    """A source gave no usable answer. ``again``: the same request may go well; ``after_s``: not before so long."""

    def __init__(self, problem: ProblemName, detail: str, *, again: bool = True, after_s: float | None = None) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem, self.again, self.after_s = problem, again, after_s


class Answer(Struct, frozen=True):
    """Status, headers and whole body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RawPage(Struct, frozen=True):
    """One page as it came; ``next`` leads on, ``more``: there is a further page. ``as_of`` is the moment that the rows
    are of by the source's own clock, as it wrote it and in Unix milliseconds."""

    rows: list[object]
    next: str | None
    more: bool | None
    as_of: object
    as_of_ms: int | None
    etag: str | None


def page(answer: Answer, names: Names) -> RawPage:
    """Raises FetchFailed."""
    content = json_object(answer)
    rows = content.get(names.rows)
    if not isinstance(rows, list):
        raise FetchFailed("not_a_page", f"holds no list {names.rows!r}")
    count = content.get(names.count)
    if count is not None and count != len(rows):
        raise FetchFailed("truncated", f"{names.count} says {count!r}, but {len(rows)} rows are there")
    more = content.get(names.more)
    if more is not None and not isinstance(more, bool):
        raise FetchFailed("not_a_page", f"{names.more} is neither true nor false")
    as_of = content.get(names.as_of)
    return RawPage(rows, _cursor(content, names), more, as_of, as_of_moment(as_of, names), _etag(answer))


def as_of_moment(as_of: object, names: Names) -> int | None:
    moment = moment_ms(as_of)
    if as_of is not None and moment is None:
        raise FetchFailed("not_a_page", f"{names.as_of} is neither Unix milliseconds nor ISO 8601 with a zone")
    return moment


def json_object(answer: Answer) -> dict[str, Any]:
    """Raises FetchFailed."""
    form = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if form != "application/json" and not form.endswith("+json"):
        raise FetchFailed("content_type", f"is {form[:60] or 'of no content type'!r}, not application/json")
    try:
        content = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:  # which quotes nothing of the body
        raise FetchFailed("not_json", str(error)) from error
    except UnicodeDecodeError as error:
        raise FetchFailed("not_json", "is not UTF-8") from error
    if not isinstance(content, dict):
        raise FetchFailed("not_a_page", "is no JSON object")
    return content


def _cursor(content: Mapping[str, Any], names: Names) -> str | None:
    cursor = content.get(names.next)
    if isinstance(cursor, int) and not isinstance(cursor, bool):
        cursor = str(cursor)
    if cursor is None or cursor == "":
        return None
    if not isinstance(cursor, str) or len(cursor) > LONGEST_CURSOR or not (cursor.isascii() and cursor.isprintable()):
        raise FetchFailed("not_a_page", f"{names.next} is no printable ASCII of at most {LONGEST_CURSOR} characters")
    return cursor


def _etag(answer: Answer) -> str | None:
    etag = answer.headers.get("ETag")
    return etag if etag and len(etag) <= LONGEST_ETAG else None
