"""``weldgate registry versions|history|as-of|rollback|conflicts``: what the registries held when, and by whose word."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer

from gateway.cli.desk import ByOption, ReasonOption, looking, opened, print_table, say
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.clock import now_ms
from gateway.core.model import Millis
from gateway.core.rules import COUNTY_ZONE
from gateway.errors import WeldGateError
from gateway.registry.acts import author, when
from gateway.registry.lives import held_at, known, lived
from gateway.registry.preview import NUMBERS
from gateway.registry.values import shown
from gateway.store import changes, history
from gateway.store.changes import Origin, Said
from gateway.store.engine import DEFAULT_URL
from gateway.store.history import Past
from gateway.store.registry import conflicts as contradictions
from gateway.store.rollback import roll_back
from gateway.store.vault import open_vault
from gateway.store.writing import How, Summary

TIMES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")


class VersionError(WeldGateError):
    """There is no such version."""


# --- versions ---------------------------------------------------------------------------------------------------


def versions(
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 20,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """What changed the registries: imports, syncs, pushes, orders, rollbacks."""
    headers = ("版本 version", "时间 at", "来源 source", "新增 added", "变更 changed", "删除 removed", "内容 what")
    with looking(database) as connection:
        rows = changes.latest_versions(connection, limit)
        print_table(headers, [(str(v), when(at), source, *map(str, n), note) for v, at, source, note, *n in rows])


# --- who had which status when ----------------------------------------------------------------------------------


def history_command(
    who: Annotated[str, typer.Argument(help="An operator's id, or a firm's credit code.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Every state of what the registries held about a person or a firm, the earliest first, by whose word and when."""
    with looking(database) as connection:
        states = lived(connection, who)
        if not states:
            named = shown(who, personal=False)
            raise WeldGateError(
                f"{named!r}: the registries never held anybody of this number; compare it with the badge"
            )
        if not as_json and (kept := history.kept_since(connection)):
            say(f"版本 {kept} 之前的状态已清除 states that ended before version {kept} are purged")
        for state in states:
            say(msgspec.json.encode(_shown(state)).decode() if as_json else _line(state))


def _shown(state: Past) -> dict[str, Any]:
    told = {"kind": state.kind, "from_version": state.from_version, "from": state.from_at, "source": state.source}
    return told | {"to_version": state.to_version, "gone": state.gone, "row": known(state)}


def _line(state: Past) -> str:
    until = f"至版本 to version {state.to_version}" if state.to_version else "现行 holds today"
    ended = " 后删除 then removed" if state.gone else ""
    fields = "  ".join(f"{name} {value}" for name, value in known(state).items())
    since = f"版本 version {state.from_version}  {when(state.from_at)}  {state.source}"
    return f"{since}  {until}{ended}  {state.kind}: {fields}"


def as_of(
    time: Annotated[str, typer.Argument(help="Local time: 2026-11-01, or '2026-11-01 08:30'.")],
    who: Annotated[str, typer.Argument(help="An operator's id, or a firm's credit code.")],
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """What the registries held about a person or a firm at a time."""
    at = _moment(time)
    with looking(database) as connection:
        version = changes.version_at(connection, at)
        history.check_kept(connection, version)
        say(f"时间 at {when(at)} (Asia/Shanghai)  版本 version {version or '无 none'}")
        for state in held_at(lived(connection, who), version):
            say(_line(state))


def _moment(text: str) -> Millis:
    for form in TIMES:
        try:
            return round(datetime.strptime(text, form).replace(tzinfo=COUNTY_ZONE).timestamp() * 1000)
        except ValueError:
            continue
    raise WeldGateError(f"time = {text!r}: write 2026-11-01 or '2026-11-01 08:30', county's time")


# --- going back -------------------------------------------------------------------------------------------------


def rollback(
    version: Annotated[int, typer.Argument(min=1, help="What held at this version holds again.")],
    by: ByOption,
    reason: ReasonOption,
    database: DatabaseOption = DEFAULT_URL,
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Undo every change of the registries after a version, as a new version. Locks and overrides stay as they are."""
    with opened(database) as engine:
        who = author(by, reason, now_ms())
        with engine.connect() as connection:
            current = changes.current_version(connection)
        if version >= current:
            raise VersionError(f"version = {version}: version {current} holds; name an earlier one")
        origin = Origin("rollback", f"to version {version}", who.at)
        how = How(said=Said(by=who.by, reason=who.reason))
        for line in _told(roll_back(engine, open_vault(keys), version, origin, who.at, how), version):
            say(line)


def _told(done: Summary, version: int) -> Iterator[str]:
    yield f"已恢复版本 {version} 的内容 what held at version {version} holds again, as version {done.version}"
    for name, count in done.counts.items():
        if count.added or count.changed or count.removed:
            yield f"  {name}: {count.added:,} added, {count.changed:,} changed, {count.removed:,} removed"


def conflicts(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100, database: DatabaseOption = DEFAULT_URL
) -> None:
    """Fields about which sources contradict each other, and the value that counts."""
    with opened(database) as engine:
        found = contradictions(engine, limit)
        for conflict in found:
            field = NUMBERS.get(conflict.field, conflict.field)
            hidden = conflict.field in NUMBERS
            words = "  ".join(f"{source}: {'…' if hidden else value}" for source, value in conflict.values)
            held = "…" if hidden else conflict.holds
            say(f"{conflict.kind} {_conflict_key(conflict.kind, conflict.key)}  {field}  {words}  → {held}")
        if not found:
            say("无冲突 no contradictions")


def _conflict_key(kind: str, key: str) -> str:
    """A certificate's key holds a number's index, which is of no use to a reader: its first characters name it."""
    parts: list[Any] = msgspec.json.decode(key)
    if kind == "certificates":
        parts[0] = parts[0][:20]
    return " ".join(map(str, parts))
