"""Asks one HTTP registry: pages of a registry from a position on, and single people.

Whatever is wrong with an answer is a named problem; only what was read whole moves a position.
"""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp import ClientSession, ClientTimeout
from msgspec import Struct, field
from msgspec.structs import replace
from yarl import URL

from gateway.clock import monotonic_ns, now_ms
from gateway.core.credential import LONGEST_OPERATOR_ID
from gateway.registry.pace import (
    LONGEST_RETRY_AFTER_S,
    CircuitBreaker,
    TokenBucket,
    backoff_s,
    retry_after_s,
)
from gateway.registry.pages import Answer, FetchFailed, RawPage, as_of_moment, json_object, page
from gateway.registry.reading import BadRow
from gateway.registry.rows import KIND_OF, Rows
from gateway.registry.sources import Source, SourcesError, auth_headers
from gateway.registry.values import personal_identifier
from gateway.store.entries import Entry

BODY_BYTES = 16 * 2**20
"""Of one answer: 10,000 rows take a third of it."""
CHUNK_BYTES = 64 * 2**10
REDIRECTS = 3
MOST_PAGES = 100_000
"""Of one registry in one pass: what goes on for longer is going round in circles."""
OVERLAP_MS = 60_000
"""How far before its own clock a client asks a source that does not tell the moment of its rows."""
LOOKED_UP = ("operators", "certificates", "employments")

T = TypeVar("T")


class Position(Struct, frozen=True, omit_defaults=True):
    """How far one registry has been read: go on from ``cursor`` or ``since`` (as the source writes it). ``etag`` is of
    the question that this position leads to; ``as_of``, Unix ms, the latest moment that was read."""

    cursor: str | None = None
    since: str | None = None
    etag: str | None = None
    as_of: int | None = None

    @property
    def at_start(self) -> bool:
        return self.cursor is None and self.since is None


class Page(Struct, frozen=True):
    """Entries of one page and its bad rows. ``complete`` stands in the last page, where everything was read: only then
    is ``position`` another one. ``problem``: why the last page is not complete. ``as_of``: the moment that the source
    says the rows are of, Unix ms."""

    entries: list[Entry]
    bad: list[BadRow]
    position: Position
    complete: bool = False
    problem: str | None = None
    as_of: int | None = None


class Found(Struct, frozen=True):
    """All that a source knows of one person, by table."""

    entries: dict[str, list[Entry]]


class Absent(Struct, frozen=True):
    """The source says that it does not know the person."""


class Failed(Struct, frozen=True):
    """The source could not be asked, or gave no usable answer: nobody knows."""

    problem: str


class Ports(Struct, frozen=True):
    """Where a client takes time and chance from."""

    monotonic: Callable[[], float] = lambda: monotonic_ns() / 1e9
    wall_ms: Callable[[], int] = now_ms
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)


@asynccontextmanager
async def open_client(name: str, source: Source, ports: Ports | None = None) -> AsyncIterator["Client"]:
    """A client with its connections. Raises SourcesError for a secret or authority that cannot be read."""
    headers = {"Accept": "application/json", "User-Agent": "weldgate", **auth_headers(name, source.auth)}
    connector = aiohttp.TCPConnector(ssl=_trust(name, source.ca_file))
    async with ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Client(name, source, session, ports or Ports())


def _trust(name: str, ca_file: str) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "holds no certificate"
        raise SourcesError(f"[sources.{name}] ca_file = {ca_file!r}: {reason}; name a PEM file") from error


class Client:
    """One source. ``problems`` counts what was wrong with answers, ``warnings`` what was odd about rows."""

    def __init__(self, name: str, source: Source, session: ClientSession, ports: Ports) -> None:
        self.name, self.source = name, source
        self.problems: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self._session, self._ports = session, ports
        self._base = URL(source.base_url.rstrip("/"))
        self._breaker = CircuitBreaker(source.breaker.failures, source.breaker.open_s, ports.monotonic)
        self._bucket = TokenBucket(source.rate_per_s, ports.monotonic)
        self._rows = {registry: self._reader(registry) for registry in {*source.registries, *LOOKED_UP}}

    def _reader(self, registry: str) -> Rows:
        fields, values = self.source.fields.get(registry, {}), self.source.values.get(registry, {})
        return Rows(self.name, KIND_OF[registry], fields, values, self._warn)

    def _warn(self, origin: str, _row: int, what: str) -> None:
        self.warnings[f"{origin}: {what}"] += 1

    @property
    def registries(self) -> tuple[str, ...]:
        """In the order in which they are read: firms and people before what names them."""
        return tuple(name for name in KIND_OF if name in self.source.registries)

    # --- a registry, page by page -------------------------------------------------------------------------------

    async def fetch(self, registry: str, position: Position) -> AsyncIterator[Page]:
        """Pages from ``position`` on; the last one says whether everything was read. Raises FetchFailed.

        A source that has forgotten the position is read from the start.
        """
        walk = _Walk(self.source, registry, position, self._ports.wall_ms())
        while True:
            url = self._url(self.source.path(registry), walk.question)
            try:
                raw = await self._retrying(url, walk.etag, walk.take)
            except FetchFailed as error:
                if error.problem != "gone" or walk.begin.at_start:
                    raise
                walk = _Walk(self.source, registry, Position(as_of=position.as_of), self._ports.wall_ms())
                continue
            if raw is None:  # not modified
                yield Page([], [], position, complete=True)
                return
            entries, bad = self._rows[registry].read(raw.rows, walk.rows - len(raw.rows) + 1)
            if bad:
                walk.bad += len(bad)
                self.problems["bad_rows"] += 1
            if walk.done:
                yield replace(self._last_page(walk, entries, bad), as_of=raw.as_of_ms)
                return
            yield Page(entries, bad, walk.begin, as_of=raw.as_of_ms)

    def _last_page(self, walk: "_Walk", entries: list[Entry], bad: list[BadRow]) -> Page:
        problem = walk.lag(self._ports.wall_ms())
        if problem:
            self.problems["stale"] += 1
        if walk.bad and not self.source.skip_bad_rows:
            first = f", the first on this page: {bad[0]}" if bad else ""
            problem = f"bad_rows: {walk.bad} of {walk.registry}{first}"
        return Page(entries, bad, walk.begin if problem else walk.end(), complete=not problem, problem=problem)

    # --- one person ---------------------------------------------------------------------------------------------

    async def look_up(self, operator_id: str) -> Found | Absent | Failed:
        """One person with certificates and employments: one request, within ``lookup_timeout_s``."""
        if not self.source.lookup:
            return Failed("the source has no look-up")
        if len(operator_id) > LONGEST_OPERATOR_ID or personal_identifier(operator_id):
            return Failed("this may be an ID number, and none goes into a URL")
        if not self._bucket.try_take():
            self.problems["left_alone"] += 1
            return Failed("left_alone: asked as often as rate_per_s allows")
        url = self._url(self.source.lookup.replace("{operator_id}", quote(operator_id, safe="")), {})
        try:
            return await self._once(
                url, {}, self.source.lookup_timeout_s, lambda answer: self._person(operator_id, answer)
            )
        except FetchFailed as error:
            return Failed(str(error))

    def _person(self, operator_id: str, answer: Answer) -> Found | Absent:
        """Raises FetchFailed."""
        if answer.status == HTTPStatus.NOT_FOUND:
            return Absent()
        _refuse(answer, self._ports.wall_ms())
        content = json_object(answer)
        as_of = as_of_moment(content.get(self.source.names.as_of), self.source.names)
        if problem := _lag(self.source, as_of, self._ports.wall_ms()):
            raise FetchFailed("stale", problem)
        entries = {registry: self._persons(registry, content, operator_id) for registry in LOOKED_UP}
        entries = {registry: found for registry, found in entries.items() if found}
        return Found(entries) if entries else Absent()

    def _persons(self, registry: str, content: Mapping[str, Any], operator_id: str) -> list[Entry]:
        rows = [content.get("operator")] if registry == "operators" else content.get(registry, [])
        if not isinstance(rows, list):
            raise FetchFailed("not_a_page", f"{registry} is no list")
        entries, bad = self._rows[registry].read([row for row in rows if row is not None], 1)
        if bad:
            raise FetchFailed("bad_rows", str(bad[0]))
        if any(getattr(entry, "operator_id", None) != operator_id for entry in entries):
            raise FetchFailed("other_person", "speaks of another person than the one asked for")
        return entries

    # --- requests -----------------------------------------------------------------------------------------------

    def _url(self, path: str, question: Mapping[str, str]) -> URL:
        url = URL(f"{self._base}{path}", encoded=True)
        return url.update_query(question) if question else url

    async def _retrying(self, url: URL, etag: str | None, take: Callable[[RawPage], None]) -> RawPage | None:
        """The page at ``url``, which ``take`` has accepted, or None where it is as it was. Raises FetchFailed."""
        headers = {"If-None-Match": etag} if etag else {}
        tries = 0
        while True:
            await self._ports.sleep(self._bucket.take())
            try:
                return await self._once(
                    url, headers, self.source.timeout_s, lambda answer: self._page(answer, etag, take)
                )
            except FetchFailed as error:
                tries += 1
                wait_s = backoff_s(tries, self._ports.chance) if error.after_s is None else error.after_s
                if not error.again or tries > self.source.retries or wait_s > LONGEST_RETRY_AFTER_S:
                    raise
            await self._ports.sleep(wait_s)

    def _page(self, answer: Answer, etag: str | None, take: Callable[[RawPage], None]) -> RawPage | None:
        """None only for who asked about changes: else "not modified" tells nothing."""
        if answer.status == HTTPStatus.NOT_MODIFIED and etag:
            return None
        _refuse(answer, self._ports.wall_ms())
        raw = page(answer, self.source.names)
        take(raw)
        return raw

    async def _once(self, url: URL, headers: Mapping[str, str], timeout_s: float, read: Callable[[Answer], T]) -> T:
        """One request, past the breaker, and what ``read`` makes of its answer. Raises FetchFailed."""
        if not self._breaker.admit():
            self.problems["left_alone"] += 1
            reason = f"failed too often; it is asked again in {self._breaker.opens_in():.0f} s"
            raise FetchFailed("left_alone", reason, again=False)
        try:
            result = read(await self._answer(url, headers, timeout_s))
        except BaseException as error:  # a cancelled request tells no success either
            self._breaker.failed()
            if isinstance(error, FetchFailed):
                self.problems[error.problem] += 1
            raise
        self._breaker.succeeded()
        return result

    async def _answer(self, url: URL, headers: Mapping[str, str], timeout_s: float) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._following(url, headers)
        except TimeoutError:
            raise FetchFailed("timeout", f"no whole answer within {timeout_s:g} s") from None
        except aiohttp.ClientPayloadError:
            raise FetchFailed("truncated", "the connection ended before the answer did") from None
        except aiohttp.ClientError as error:
            raise FetchFailed("connection", f"{type(error).__name__} at {self._base.host}:{self._base.port}") from None

    async def _following(self, url: URL, headers: Mapping[str, str]) -> Answer:
        """The answer, behind redirects that stay with the same host: what we show to be let in is for nobody else."""
        for _ in range(REDIRECTS + 1):
            async with self._session.get(
                url, headers=headers, allow_redirects=False, timeout=ClientTimeout(total=None)
            ) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    return Answer(response.status, response.headers, await _body(response))
                url = self._location(url, response.headers.get("Location", ""))
        raise FetchFailed("redirect", f"leads on more than {REDIRECTS} times; correct base_url", again=False)

    def _location(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location))
            same = target.origin() == self._base.origin()
        except ValueError:
            raise FetchFailed("redirect", "leads to what is no URL") from None
        if not same:
            raise FetchFailed("redirect", "leads to another host; correct base_url", again=False)
        return target


async def _body(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > BODY_BYTES:
            raise FetchFailed("too_large", f"is larger than {BODY_BYTES >> 20} MiB; lower page_size", again=False)
        parts.append(part)
    return b"".join(parts)


def _refuse(answer: Answer, now: int) -> None:
    if answer.status == HTTPStatus.OK:
        return
    if answer.status == HTTPStatus.GONE:
        raise FetchFailed("gone", "has forgotten the cursor", again=False)
    again = answer.status >= 500 or answer.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    after_s = retry_after_s(answer.headers.get("Retry-After"), now / 1000)
    raise FetchFailed("status", f"answers with {answer.status}", again=again, after_s=after_s)


def _lag(source: Source, as_of: int | None, now: int) -> str | None:
    """How its rows are older than ``max_lag_s`` allows."""
    if not source.max_lag_s or (as_of is not None and now - as_of <= source.max_lag_s * 1000):
        return None
    return "does not tell the moment of its rows" if as_of is None else f"is {(now - as_of) // 1000} s behind"


class _Walk:
    """The way through one registry's pages: what to ask next, and whether an answer may follow the ones before."""

    def __init__(self, source: Source, registry: str, begin: Position, now: int) -> None:
        self.registry, self.begin = registry, begin
        self.rows = self.bad = 0
        self.done = False
        self._source, self._now = source, now
        self._pages = 0
        self._cursor = begin.cursor if source.incremental == "cursor" else None
        self._seen = {self._cursor}
        self._as_of = begin.as_of
        self._before: list[object] | None = None
        self._first: RawPage | None = None

    @property
    def question(self) -> dict[str, str]:
        """The query of the next page."""
        names = self._source.names
        asked = {names.limit: str(self._source.page_size)}
        if self._source.incremental == "updated_since" and self.begin.since:
            asked[names.updated_since] = self.begin.since
        if self._source.paging == "page":
            asked[names.page] = str(self._pages + 1)
        elif self._cursor:
            asked[names.cursor] = self._cursor
        return asked

    @property
    def etag(self) -> str | None:
        """An unchanged answer does not tell how old it is: who wants to know is not asked about changes alone."""
        return self.begin.etag if self._pages == 0 and not self._source.max_lag_s else None

    def take(self, raw: RawPage) -> None:
        """Go one page on. Raises FetchFailed for a page that cannot follow; nothing has changed then."""
        if self._as_of is not None and (raw.as_of_ms or self._as_of) < self._as_of:
            raise FetchFailed("stale", "tells of a moment before the one that was read last: an old copy answers")
        if self._pages >= MOST_PAGES:
            raise FetchFailed("endless", f"has more than {MOST_PAGES:,} pages", again=False)
        more = self._goes_on(raw)
        if more and self._repeats(raw):
            raise FetchFailed("repeats", "leads back to a page that was read before", again=False)
        self.done = not more
        self.rows += len(raw.rows)
        self._pages += 1
        self._as_of = raw.as_of_ms or self._as_of
        self._first, self._before = self._first or raw, raw.rows
        self._cursor = raw.next or self._cursor
        self._seen.add(self._cursor)

    def _goes_on(self, raw: RawPage) -> bool:
        if raw.more is not None:
            return raw.more
        return bool(raw.rows) if self._source.paging == "page" else raw.next is not None

    def _repeats(self, raw: RawPage) -> bool:
        if self._source.paging == "page":
            return bool(raw.rows) and raw.rows == self._before
        return raw.next is None or raw.next in self._seen

    def lag(self, now: int) -> str | None:
        problem = _lag(self._source, self._as_of, now)
        return f"stale: {self.registry} {problem}" if problem else None

    def end(self) -> Position:
        """Where the next pass begins. Where nothing came it asks the same question, to which the ETag belongs."""
        first = self._first
        assert first is not None, "an end without a page"
        moved = replace(self.begin, as_of=self._as_of, etag=None)
        if self._source.incremental == "cursor":
            moved = replace(moved, cursor=self._cursor)
        elif self._source.incremental == "updated_since" and (self.rows or not self.begin.since):
            moved = replace(moved, since=self._since(first))
        same = (moved.cursor, moved.since) == (self.begin.cursor, self.begin.since)
        covered = self._pages == 1 or self._source.etag == "registry"
        return replace(moved, etag=first.etag) if same and covered else moved

    def _since(self, first: RawPage) -> str:
        if first.as_of is not None:
            return str(first.as_of)
        moment = self._now - OVERLAP_MS
        return str(moment) if self._source.since_as == "ms" else datetime.fromtimestamp(moment / 1000, UTC).isoformat()
