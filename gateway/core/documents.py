"""TOML documents read into structs; what cannot be used is named by line, key, value and remedy. Pure."""

import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

Path = tuple[str, ...]
"""The keys that lead to a value."""

ANY_KEY = "*"
"""Stands in a path for a key of a table that the decoder does not name."""
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^."\'\s]+)')

T = TypeVar("T")


class DocumentError(Exception):
    """A document cannot be used; the message names line, key, value and remedy."""


class Document:
    """One text; ``name`` and ``see`` (a page of the documents) stand in messages. Lines of paths that ``secret`` picks
    are not repeated behind their ``=``."""

    def __init__(self, text: str, name: str, see: str, secret: Callable[[Path], bool] = lambda _: False) -> None:
        self._text, self._name, self._see, self._secret = text, name, see, secret

    def decode(self, kind: type[T]) -> T:
        """Raises DocumentError."""
        try:
            raw = tomllib.loads(self._text)
            return msgspec.convert(raw, kind, strict=True)
        except tomllib.TOMLDecodeError as error:
            end = f"at line {len(self._text.splitlines())}, end of document"
            problem = str(error).replace("at end of document", end)
            raise DocumentError(f"{self._name}: not valid TOML: {problem}") from error
        except msgspec.ValidationError as error:
            path, problem = _path_of(str(error))
            raise self.error(_exactly(raw, path, kind), f"{problem}; see {self._see}") from error

    def error(self, path: Path, problem: str) -> DocumentError:
        """What is wrong at ``path``."""
        number = _line_of(self._text, path)
        line = self._text.splitlines()[number - 1].strip() if self._text else ""
        if self._secret(path):
            line = line.partition("=")[0].strip()
        at = f"{self._name}, line {number}: {'.'.join(path) or 'document'}"
        return DocumentError(f"{at}: {problem} (the line reads: {line})")


def _path_of(message: str) -> tuple[Path, str]:
    """``Expected `int`, got `str` - at `$.lease.lease_s``` as path and problem."""
    problem, _, where = message.partition(" - at ")
    unknown = re.search(r"unknown field `([^`]+)`", problem)
    keys = re.sub(r"\[[0-9]+\]", "", where.strip("`").removeprefix("$").replace("[...]", f".{ANY_KEY}"))
    path = tuple(part for part in keys.split(".") if part)
    return (*path, unknown.group(1)) if unknown else path, problem


def _exactly(raw: dict[str, Any], path: Path, kind: type) -> Path:
    """``path`` with the keys that the decoder left out: each is the first one that is refused as the whole is."""
    refusal = _refusal(raw, kind)
    for depth, key in enumerate(path):
        if key == ANY_KEY:
            held = _at(raw, path[:depth])
            narrowed = ((name, _with(raw, path[:depth], {name: held[name]})) for name in held)
            refused = ((name, document) for name, document in narrowed if _refusal(document, kind) == refusal)
            key, raw = next(refused, (ANY_KEY, raw))
            path = (*path[:depth], key, *path[depth + 1 :])
    return path


def _refusal(raw: dict[str, Any], kind: type) -> str | None:
    try:
        msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _at(raw: Any, path: Path) -> dict[str, Any]:
    """The table at ``path``; an empty one where there is none."""
    for key in path:
        raw = raw.get(key, {}) if isinstance(raw, dict) else {}
    return raw if isinstance(raw, dict) else {}


def _with(raw: dict[str, Any], path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The document with another table at ``path``."""
    return {**raw, path[0]: _with(raw[path[0]], path[1:], table)} if path else table


def _line_of(text: str, path: Path) -> int:
    """The 1-based line of the deepest part of ``path`` that the text names in its section."""
    section: list[str] = []
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = _keys(stripped.split("#")[0].strip("[] "))
            here = section
        else:
            here = [*section, *_keys(stripped.split("=")[0])]
        matched = min(len(here), len(path)) if _names(here, path) else 0
        if matched > depth:
            best, depth = number, matched
    return best


def _keys(dotted: str) -> list[str]:
    """The parts of a dotted key, quoted or not."""
    return [double or single or bare for double, single, bare in _KEY.findall(dotted)]


def _names(here: list[str], path: Path) -> bool:
    """Whether ``here`` is ``path``, leads to it or lies below it."""
    return all(want in (ANY_KEY, have) for have, want in zip(here, path, strict=False))
