"""Errors of the HTTP API as problem documents (RFC 9457)."""

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from gateway.store.push_events import Outcome

Kind = Literal[
    "malformed",
    "unauthorized",
    "forbidden",
    "not-found",
    "method-not-allowed",
    "conflict",
    "too-large",
    "unsupported-media-type",
    "invalid",
    "too-many-requests",
    "internal",
    "unavailable",
]
PROBLEMS: dict[Kind, tuple[int, str, str]] = {
    "malformed": (400, "Bad Request", "The request cannot be read."),
    "unauthorized": (401, "Unauthorized", "No token, one that does not hold, or no sender's signature."),
    "forbidden": (403, "Forbidden", "The token does not have the scope that this takes."),
    "not-found": (404, "Not Found", "There is no such path, or the registries do not know what it names."),
    "method-not-allowed": (405, "Method Not Allowed", "The path is there for the methods in the header `Allow`."),
    "conflict": (409, "Conflict", "It cannot be done as things stand."),
    "too-large": (413, "Content Too Large", "The body is larger than 1 MiB."),
    "unsupported-media-type": (415, "Unsupported Media Type", "The body is not `application/json`."),
    "invalid": (422, "Unprocessable Content", "The body is JSON, but not what is asked for."),
    "too-many-requests": (429, "Too Many Requests", "Too many failed attempts from this address."),
    "internal": (500, "Internal Server Error", "The gateway has a bug; its log has the rest."),
    "unavailable": (503, "Service Unavailable", "The database cannot be used now, or too much waits for it."),
}
"""Every kind of error: its status, its title, and what it means."""
PAGE = "/docs/api.md"
CONTENT_TYPE = "application/problem+json"


class Problem(Struct, frozen=True, omit_defaults=True):
    """What is wrong with a request (RFC 9457, section 3). ``detail`` names the field, its value and the remedy."""

    type: str
    title: str
    status: int
    detail: str
    outcomes: tuple[Outcome, ...] | UnsetType = UNSET


class ApiError(Exception):
    """A request is answered with a problem; ``detail`` holds no personal number."""

    def __init__(
        self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None, outcomes: tuple[Outcome, ...] = ()
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers, self.outcomes = kind, detail, dict(headers or {}), outcomes

    @property
    def problem(self) -> Problem:
        status, title, _ = PROBLEMS[self.kind]
        return Problem(problem_type(self.kind), title, status, self.detail, self.outcomes or UNSET)


def problem_type(kind: Kind) -> str:
    """Where the documents tell of it, as a reference relative to the project."""
    return f"{PAGE}#{kind}"


def wait_and_see(kind: Kind, detail: str, seconds: int) -> ApiError:
    """An error that passes by itself."""
    return ApiError(kind, detail, {"Retry-After": str(seconds)})
