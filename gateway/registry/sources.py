"""``registry.toml``: where registries come from, who may push, whom to believe, and how much may change at once."""

import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from gateway.core import documents
from gateway.core.documents import Document, DocumentError
from gateway.errors import WeldGateError
from gateway.registry.importer import FILES
from gateway.registry.push import SecretError, parse_secret
from gateway.registry.rows import KIND_OF
from gateway.registry.values import Unreadable
from gateway.store.claims import Precedence
from gateway.store.guard import Guard
from gateway.store.writing import How

PAGE = "docs/sources.md"
PORTAL = "firm-portal"
"""The source of what firms say of their own people on their pages."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Registry = str
"""Name of a kind in ``gateway.registry.columns.KINDS``."""


class SourcesError(WeldGateError):
    """``registry.toml`` cannot be used; the message names line, key, value and remedy."""


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """How a source knows us. The secret itself stands in an environment variable or in a file of its own."""

    kind: Literal["none", "bearer", "basic", "header"] = "none"
    token_env: str = ""
    token_file: str = ""
    user: str = ""
    header: str = ""


class Breaker(Struct, frozen=True, forbid_unknown_fields=True):
    """After ``failures`` in a row nothing is asked for ``open_s``."""

    failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    open_s: Seconds = 30


class Names(Struct, frozen=True, forbid_unknown_fields=True):
    """What a source calls the parts of its answers (``rows`` to ``as_of``) and of a question (the others)."""

    rows: str = "rows"
    count: str = "count"
    next: str = "next"
    more: str = "more"
    as_of: str = "as_of"
    cursor: str = "cursor"
    limit: str = "limit"
    page: str = "page"
    updated_since: str = "updated_since"


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """One registry on the network."""

    kind: Literal["http"]
    base_url: str
    registries: Annotated[tuple[Registry, ...], Meta(min_length=1)]
    auth: Auth = Auth()
    paths: dict[Registry, str] = {}
    fields: dict[Registry, dict[str, str]] = {}
    values: dict[Registry, dict[str, dict[str, str]]] = {}
    names: Names = Names()
    paging: Literal["cursor", "page"] = "cursor"
    page_size: Annotated[int, Meta(ge=1, le=10_000)] = 500
    incremental: Literal["cursor", "updated_since", "none"] = "cursor"
    since_as: Literal["ms", "iso"] = "ms"
    etag: Literal["page", "registry"] = "page"
    interval_s: Seconds = 10
    timeout_s: Seconds = 10
    retries: Annotated[int, Meta(ge=0, le=10)] = 3
    rate_per_s: Annotated[float, Meta(gt=0, le=10_000)] = 10
    breaker: Breaker = Breaker()
    max_lag_s: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 0
    lookup: str = ""
    lookup_timeout_s: Annotated[float, Meta(gt=0, le=10)] = 0.6
    required: bool = False
    skip_bad_rows: bool = False
    plain_http: bool = False
    ca_file: str = ""

    def path(self, registry: Registry) -> str:
        return self.paths.get(registry, f"/{registry}")


class Sender(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may push events; the secret of its signatures stands elsewhere."""

    secret_env: str = ""
    secret_file: str = ""


class GuardTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A change that takes the right to weld from more than ``share_percent`` of all people, and from at least
    ``at_least``, waits for somebody to confirm it."""

    share_percent: Annotated[float, Meta(gt=0, le=100)] = 2.0
    at_least: Annotated[int, Meta(ge=0)] = 20


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``registry.toml``."""

    sources: dict[str, Source] = {}
    push: dict[str, Sender] = {}
    precedence: dict[str, tuple[str, ...]] = {}
    guard: GuardTable = GuardTable()

    def how(self) -> How:
        """What goes for every way into the registries."""
        orders = {_stored(key): order for key, order in self.precedence.items()}
        return How(precedence=Precedence(orders), guard=Guard(self.guard.share_percent, self.guard.at_least))


def _stored(key: str) -> str:
    """A registry's column as the database names it.

    >>> _stored("certificates"), _stored("employments.from"), _stored("operators.id_number")
    ('certificates', 'employments.since', 'operators.id_number_index')
    """
    registry, dot, name = key.partition(".")
    column = next((column for column in KIND_OF[registry].columns if column.name == name), None)
    return registry + dot + (column.into + ("_index" if column.personal else "") if column else "")


def load_sources(path: Path) -> Sources:
    """Raises SourcesError."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SourcesError(f"--registry {path}: {error}; name a file that describes the sources, see {PAGE}") from error


def parse(text: str, name: str = "registry.toml") -> Sources:
    """Raises SourcesError with line, key, value and remedy; where a secret might stand, without the value."""
    document = Document(text, name, PAGE, _may_hold_a_secret)
    try:
        sources = document.decode(Sources)
        for path, problem in _problems(sources):
            raise document.error(path, problem)
    except DocumentError as error:
        raise SourcesError(str(error)) from error
    return sources


_KEYS = {key for table in (Source, Names, Breaker, GuardTable) for key in table.__struct_fields__} - {"base_url"}


def _may_hold_a_secret(path: documents.Path) -> bool:
    """Also a key that nobody knows: somebody may have put a token into the wrong table."""
    return path[:1] == ("push",) or "auth" in path or not _KEYS.issuperset(path[-1:])


# --- what types alone cannot refuse -----------------------------------------------------------------------------

Problem = tuple[documents.Path, str]


def _problems(sources: Sources) -> Iterator[Problem]:
    for table, names in (("sources", sources.sources), ("push", sources.push)):
        for name in names:
            if not NAME.fullmatch(name) or name in (FILES, PORTAL):
                taken = f"{FILES!r} or {PORTAL!r}"
                yield (table, name), f"{name!r} is no name for a source; use a-z, 0-9, '-' and '_', not {taken}"
    for name, source in sources.sources.items():
        for path, problem in _source_problems(source):
            yield ("sources", name, *path), problem
    for name, sender in sources.push.items():
        if bool(sender.secret_env) == bool(sender.secret_file):
            yield ("push", name), "needs secret_env or secret_file, one of the two"
    yield from _precedence_problems(sources)


def _source_problems(source: Source) -> Iterator[Problem]:
    if problem := _url_problem(source):
        yield ("base_url",), problem
    yield from _auth_problems(source.auth)
    yield from _registry_problems(source)
    if source.incremental == "cursor" and source.paging != "cursor":
        yield ("paging",), "pages by number cannot go on from a cursor; set incremental to updated_since or none"
    if source.lookup and source.lookup.count("{operator_id}") != 1:
        yield ("lookup",), "names no person; write {operator_id} where the person's id stands"
    for key, path in (("lookup", source.lookup), *((f"paths.{name}", path) for name, path in source.paths.items())):
        if path and not path.startswith("/"):
            yield tuple(key.split(".")), f"{path!r} does not begin with '/'; it is put behind base_url"


def _url_problem(source: Source) -> str | None:
    try:
        url = urlsplit(source.base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        return "is no URL; write https://host:port/path"
    if url.scheme not in ("http", "https") or not host:
        return "is no URL of HTTP; write https://host:port/path"
    if url.username or url.password or url.query or url.fragment:
        return "holds a user, a password, a query or a fragment; secrets stand under auth, as an environment or a file"
    if url.scheme == "http" and not source.plain_http and not _is_loopback(host):
        return "lets anybody on the way read and change what the gate rests on; use https, or set plain_http = true"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _auth_problems(auth: Auth) -> Iterator[Problem]:
    given = [name for name in ("token_env", "token_file", "user", "header") if getattr(auth, name)]
    wanted = {"none": [], "bearer": [], "basic": ["user"], "header": ["header"]}[auth.kind]
    if auth.kind != "none" and ("token_env" in given) == ("token_file" in given):
        yield ("auth",), "needs token_env or token_file, one of the two"
    for name in wanted:
        if name not in given:
            yield ("auth",), f"kind {auth.kind!r} needs {name}"
    for name in given:
        if name not in wanted and (auth.kind == "none" or not name.startswith("token_")):
            yield ("auth", name), f"has no use with kind {auth.kind!r}; remove it"
    if auth.header and not _HEADER.fullmatch(auth.header):
        yield ("auth", "header"), "is no header's name; use letters, digits and '-'"


def _registry_problems(source: Source) -> Iterator[Problem]:
    for name in source.registries:
        if name not in KIND_OF:
            yield ("registries",), f"{name!r} is no registry; use some of {', '.join(KIND_OF)}"
    if len(set(source.registries)) < len(source.registries):
        yield ("registries",), "names a registry twice; keep one"
    for table in ("paths", "fields", "values"):
        for name in getattr(source, table):
            if name not in source.registries:
                yield (table, name), f"{name!r} is not in registries; add it there or remove this"
    for name, fields in source.fields.items():
        yield from ((("fields", name, theirs), why) for theirs, why in _field_problems(name, fields))
    for name, values in source.values.items():
        yield from ((("values", name, *path), why) for path, why in _value_problems(name, values))


def _field_problems(registry: Registry, fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for theirs, ours in fields.items():
        if why := _unknown_column(registry, ours):
            yield theirs, why
        if list(fields.values()).count(ours) > 1:
            yield theirs, f"{ours!r} is filled from two fields; keep one"


def _value_problems(registry: Registry, values: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    columns = {column.name: column for column in KIND_OF[registry].columns} if registry in KIND_OF else {}
    for name, mapping in values.items():
        if why := _unknown_column(registry, name):
            yield (name,), why
        for theirs, ours in mapping.items() if name in columns else ():
            try:
                columns[name].read(ours)
            except Unreadable as error:
                yield (name, theirs), f"{ours!r} {error}"


def _unknown_column(registry: Registry, column: str) -> str | None:
    kind = KIND_OF.get(registry)
    if kind is None or column in (known := [known.name for known in kind.columns]):
        return None
    return f"{column!r} is no column of {registry}; use one of {', '.join(known)}"


def _precedence_problems(sources: Sources) -> Iterator[Problem]:
    known = {FILES, PORTAL, *sources.sources, *sources.push}
    for key, order in sources.precedence.items():
        registry, _, column = key.partition(".")
        if registry not in KIND_OF:
            yield ("precedence", key), f"{registry!r} is no registry; use one of {', '.join(KIND_OF)}"
        elif column and (why := _unknown_column(registry, column)):
            yield ("precedence", key), why
        for name in order:
            if name not in known:
                yield ("precedence", key), f"{name!r} is no source; use some of {', '.join(sorted(known))}"
        if len(set(order)) < len(order):
            yield ("precedence", key), "names a source twice; keep one"


# --- secrets ----------------------------------------------------------------------------------------------------

OTHERS = 0o077
Environment = Mapping[str, str]


def auth_headers(name: str, auth: Auth, environment: Environment = os.environ) -> dict[str, str]:
    """What a request carries to be let in. Raises SourcesError, without the secret."""
    if auth.kind == "none":
        return {}
    token = _secret(f"[sources.{name}.auth]", "token", (auth.token_env, auth.token_file), environment)
    form: dict[str, Callable[[], tuple[str, str]]] = {
        "bearer": lambda: ("Authorization", f"Bearer {token}"),
        "basic": lambda: ("Authorization", f"Basic {b64encode(f'{auth.user}:{token}'.encode()).decode()}"),
        "header": lambda: (auth.header, token),
    }
    header, value = form[auth.kind]()
    return {header: value}


def push_secrets(name: str, sender: Sender, environment: Environment = os.environ) -> tuple[bytes, ...]:
    """The secrets of a sender's signatures: one, or with a space between them several while one takes the place of
    another. Raises SourcesError."""
    written = _secret(f"[push.{name}]", "secret", (sender.secret_env, sender.secret_file), environment)
    try:
        return tuple(parse_secret(one) for one in written.split())
    except SecretError as error:
        raise SourcesError(f"[push.{name}] secret: {error}") from error


def _secret(section: str, what: str, places: tuple[str, str], environment: Environment) -> str:
    variable, file = places
    where = f"{section} {what}_env = {variable!r}" if variable else f"{section} {what}_file = {file!r}"
    secret = environment.get(variable, "").strip() if variable else _secret_in(where, Path(file))
    if not secret or not secret.isascii() or not secret.isprintable():
        raise SourcesError(f"{where}: holds no {what}; put one line of printable ASCII there")
    return secret


def _secret_in(where: str, path: Path) -> str:
    try:
        if (mode := path.stat().st_mode & 0o777) & OTHERS:
            raise SourcesError(f"{where}: has mode {mode:04o}; others may read it: chmod 600 it")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise SourcesError(f"{where}: {reason}; name a file that holds one line") from error
