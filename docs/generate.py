"""Rewrites the generated parts of the documents from the code; ``--check`` tells what has drifted, exit code 1.

A generated part stands between ``<!-- generated:NAME -->`` and ``<!-- /generated -->``; NAME is a key of BLOCKS.
``asyncapi.json`` and ``openapi.json`` are generated as a whole.
"""

import inspect
import json
import re
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import asyncapi
import msgspec
import typer
import yaml
from msgspec import Struct
from msgspec import inspect as types
from payloads import DriftError, fields, meanings, readable
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from source_keys import SOURCE_KEYS

import gateway.cli
import simulator.cli
from gateway.core import model, policy, session
from gateway.core.colour import NOTICES
from gateway.core.lease import MIN_LEASE_S
from gateway.core.reasons import FIXED_CODES, REASONS, Reason
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.mqtt import mosquitto
from gateway.observe.metrics import Metrics
from gateway.registry import pace, pages, push, sources
from gateway.registry.columns import KINDS, Column
from gateway.settings import Settings
from gateway.store.api_tokens import SCOPES
from gateway.store.push_events import OUTCOMES
from gateway.web import openapi
from gateway.web.problems import PROBLEMS
from gateway.web.routes import ROOT, ROUTES
from gateway.wire import acl, messages, topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES, encode, wire_reasons
from gateway.wire.tokens import ALGORITHM, ISSUER, Command, Grant
from simulator import scenario
from simulator.arms import LOCK_ARMS, QUESTION_ARMS, LockArm, QuestionArm

DOCS = Path(__file__).resolve().parent
VECTOR = DOCS / "vectors" / "grant.json"
ASYNCAPI = DOCS / "asyncapi.json"
OPENAPI = DOCS / "openapi.json"
RULES_OF_ALERTS = DOCS.parent / "deploy" / "prometheus" / "rules"
_BLOCK = re.compile(r"(<!-- generated:([a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_PRINTABLE = {"<": "&lt;", ">": "&gt;", "|": "\\|", "\n": " "}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(value: str) -> str:
    """Free text for a cell of a table."""
    return "".join(_PRINTABLE.get(character, character) for character in value)


def code(value: object) -> str:
    """A literal for a cell; nothing for None."""
    return "" if value is None else "`" + str(value).replace("|", "\\|") + "`"


def fenced(language: str, content: str) -> str:
    return f"```{language}\n{content}\n```"


# --- settings, metrics, commands --------------------------------------------------------------------------------


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default is PydanticUndefined or default is None else code(default)
        option = "--" + name.replace("_", "-")
        rows.append([code(name), code(f"WELDGATE_{name.upper()}"), code(option), shown, text(str(field.description))])
    return table(["setting", "environment", "option of `serve`", "default", "meaning"], rows)


def _own_metrics() -> Iterator[tuple[str, str, str, str]]:
    """Name, type, labels and help of each metric that is WeldGate's own."""
    metrics = Metrics("0")
    labels = {m._name: m._labelnames for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)}
    for family in metrics.registry.collect():
        if family.name.startswith("weldgate_"):
            names = labels.get(family.name) or tuple(family.samples[0].labels if family.type == "gauge" else ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, " ".join(code(label) for label in names), family.documentation


def metrics() -> str:
    rows = [[code(name), kind, labels, text(about)] for name, kind, labels, about in _own_metrics()]
    return table(["metric", "type", "labels", "meaning"], rows)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each command that does something, with its full name."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _commands(command.get_command(None, name), f"{path} {name}")
    else:
        yield path, command


def commands() -> str:
    parts = []
    for name, app in (("weldgate", gateway.cli.app), ("weldsim", simulator.cli.app)):
        for path, command in _commands(typer.main.get_command(app), name):
            rows = [_parameter(parameter) for parameter in command.params]
            about = " ".join((command.help or "").split())
            parts.append(f"## `{path}`\n\n{text(about)}")
            if rows:
                parts[-1] += "\n\n" + table(["parameter", "takes", "default", "meaning"], rows)
    return "\n\n".join(parts)


def _parameter(parameter: Any) -> list[str]:
    name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
    default = getattr(parameter.default, "value", parameter.default)
    shown = "required" if parameter.required else "" if default in (None, False) else code(default)
    if isinstance(parameter.envvar, str):
        shown += f", or {code(parameter.envvar)}"
    return [code(name), _taken(parameter.type_descriptor.annotation), shown, text(parameter.help or "")]


def _taken(annotation: Any) -> str:
    """What a parameter takes; nothing for a switch."""
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return " ".join(code(choice) for choice in annotation)
    if annotation == list[str]:
        return "names"
    return {bool: "", str: "text", int: "integer", float: "number", Path: "path", datetime: "day"}.get(
        annotation, "paths"
    )


# --- policy and reasons -----------------------------------------------------------------------------------------

_POLICY_MEANINGS = {
    "version": "The policy's own name, for people; its SHA-256 is what the records hold.",
    "rules.<code>": "How one rule is applied: `enforce`, `warn` or `off`.",
    "grace.<code>": "Days after the last valid day on which the rule only warns.",
    "lease.lease_s": "How long a grant keeps the relay closed, seconds.",
    "lease.start_by_s": "How long a chip may take to accept a grant, seconds.",
    "lease.idle_lock_s": "Time without an arc after which a session is locked, seconds.",
    "lease.drain_deadline_s": "How long an arc may go on after a lock or the lease, seconds.",
    "lease.chip_drain_s": "The longest drain deadline that any chip was provisioned with, seconds.",
    "requests.max_age_s": "A request whose `at` is further from the gateway's clock is stale, seconds.",
    "requests.answer_within_s": "A request that waited longer inside the gateway is refused as `overloaded`, seconds.",
    "registry.max_age_s": "Registries that no import has confirmed for longer are stale, seconds.",
    "registry.sources.<source>": "The same for one source by its name; one that never confirmed is stale. "
    "Sources that are not named go by `max_age_s`.",
    "credentials.kinds": "Which kinds of credential are accepted: badges, rolling codes, by phone accounts.",
    "offline.for_s": "How long after its last contact a chip may unlock by its list, seconds; 0: never.",
    "offline.operators": "How many of a machine's latest welders its list holds at most.",
    "offline.recent_days": "Who was let in at the machine within so many days can be on its list.",
    "offline.lease_s": "How long one unlock by the list lasts, seconds.",
    "hours.from": "First minute of the permitted hours, county time, where the registry knows none; later than `until` "
    "spans midnight.",
    "hours.until": "End of the permitted hours.",
    "permits.special_hours": "Longest that a special hot-work permit counts, hours from its start.",
    "permits.grade_1_hours": "The same for grade 1.",
    "permits.grade_2_hours": "The same for grade 2.",
    "permits.guardian_required": "A permit that names no guardian does not count.",
    "age.min_years": "Youngest permitted age, completed years.",
    "age.max_years": "Oldest permitted age, completed years.",
    "colours.soon_days": "What runs out within so many days makes who is in order `soon`.",
    "colours.in_order": "Colour of a person or firm of which everything is in order.",
    "colours.soon": "Colour where something runs out soon or has to be seen to.",
    "colours.barred": "Colour where no machine may open.",
    "colours.none": "Colour of a person without a certificate on record, and of a firm without certified people.",
    "observe.enabled": "Observe mode: only the fixed reasons refuse; every would-be refusal is recorded.",
    "retention.usage_days": "Usage of sessions that have ended, since the last report.",
    "retention.sessions_days": "Sessions, since their end; no fewer than `offline.recent_days`.",
    "retention.lost_evidence_days": "Gaps in the event numbers of chips, since they were noticed.",
    "retention.offline_lists_days": "Offline lists, but for each machine's latest one.",
    "retention.history_days": "States of registry rows, since another took their place.",
    "retention.events_days": "Pushed events, but for the latest on each subject.",
    "retention.ledger_days": "Records of the ledger, from its beginning on.",
    "division.<six digits>.…": "Overrides for one division: `rules`, `grace`, `observe`.",
    "enterprise.<credit code>.…": "Overrides for one enterprise: `rules`, `grace`, `observe`.",
}


def policy_keys() -> str:
    rows, left = [], dict(_POLICY_MEANINGS)
    for key, kind, default in _policy_fields():
        if key not in left:
            raise DriftError(f"docs/generate.py: _POLICY_MEANINGS lacks {key}")
        rows.append([code(key), kind, code(default), text(left.pop(key))])
    if left:
        raise DriftError(f"docs/generate.py: _POLICY_MEANINGS knows {', '.join(left)}, which the policy does not have")
    return table(["key", "values", "default", "meaning"], rows)


def _policy_fields() -> Iterator[tuple[str, str, str | None]]:
    maps = {"rules": "<code>", "grace": "<code>", "division": "<six digits>.…", "enterprise": "<credit code>.…"}
    whole = policy.Policy()
    for outer in fields(policy.Policy):
        value = getattr(whole, outer.name)
        if outer.name in maps:
            kind = {"rules": "mode", "grace": f"0 to {policy.MAX_GRACE_DAYS}"}.get(outer.name, "tables")
            default = {"rules": "see below", "grace": "0"}.get(outer.name)
            yield f"{outer.name}.{maps[outer.name]}", kind, default
        elif isinstance(value, Struct):
            for inner in fields(type(value)):
                yield _policy_field(outer.name, inner, getattr(value, inner.name))
        else:
            yield outer.encode_name, described(outer.type), _toml(value)


def _policy_field(section: str, field: types.Field, value: object) -> tuple[str, str, str | None]:
    key = f"{section}.{field.encode_name}"
    if isinstance(field.type, types.DictType):
        return f"{key}.<source>", described(field.type.value_type), None
    return key, _narrowed(key, described(field.type)), _toml(value)


def _narrowed(key: str, kind: str) -> str:
    """What a new document may hold, where ``parse`` takes less than the type: stored documents may hold the rest."""
    return kind.replace("1 to", f"{MIN_LEASE_S} to") if key == "lease.lease_s" else kind


def _toml(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _rule_codes() -> set[str]:
    """Every code that a rule gives."""
    return {rule.code for group in RULES for rule in group.rules} | {rule.code for rule in CERTIFICATE_RULES}


def policy_rules() -> str:
    modes = policy.Rulebook(policy.Policy()).holds(None, None).modes
    rows, checked = [], _rule_codes()
    for name in (name for name in REASONS if name in checked):
        notes = ["fixed: always refuses"] if name in FIXED_CODES else []
        notes += ["grace"] if name in policy.GRACE_CODES else []
        rows.append([f"[{code(name)}](reasons.md#{name})", code(modes[name]), ", ".join(notes)])
    return table(["rule", "default", ""], rows)


def reasons_overview() -> str:
    checked = _rule_codes() | {"internal_error"}
    rows = [
        [
            f"[{code(name)}](#{name})",
            text(reason.message_zh),
            ", ".join(reason.resolvers),
            reason.override,
            "yes" if reason.fixed else "",
            "yes" if name in checked else "reserved",
        ]
        for name, reason in REASONS.items()
    ]
    return table(["code", "说明", "resolved by", "override", "fixed", "given"], rows)


def reasons() -> str:
    return "\n\n".join(_reason(reason) for reason in REASONS.values())


def _reason(reason: Reason) -> str:
    lines = [
        f"### {reason.code}",
        "",
        f"- 说明：{reason.message_zh}",
        f"- 办法：{reason.remedy_zh}",
        f"- Message: {reason.message_en}",
        f"- Remedy: {reason.remedy_en}",
        f"- Resolved by: {', '.join(reason.resolvers)}. Override on site: {reason.override}.",
    ]
    if reason.fixed:
        lines.append("- Fixed: refuses in every policy and in observe mode.")
    if reason.law:
        lines.append(f"- 法规 law: {reason.law}")
    return "\n".join(lines)


def notices() -> str:
    rows = [
        [code(name), text(notice.message_zh), text(notice.message_en), text(f"{notice.remedy_zh} {notice.remedy_en}")]
        for name, notice in NOTICES.items()
    ]
    return table(["code", "说明", "message", "办法 remedy"], rows)


_NEEDS = {
    "<lambda>": "always",
    "_knows_machine": "the machine is registered",
    "_readable": "the machine is registered and the scanned text can be read",
    "_knows_who": "the machine is registered and the text names somebody",
    "_by_phone": "the machine is registered and it was asked by phone",
    "_reached_by_phone": "the same, and its lock is online",
    "_who_asks_by_phone": "the machine is registered and somebody asked by phone",
    "_knows_operator": "the machine is registered and the person is in the operators' registry",
    "_knows_employer": "the machine, its firm and the person are known",
}


def rules() -> str:
    rows: list[list[str]] = []
    for group in RULES:
        needs = group.needs.__name__
        if needs not in _NEEDS:
            raise DriftError(f"docs/generate.py: _NEEDS has no words for {needs}")
        rows += [[str(len(rows) + n), _linked(rule.code), _NEEDS[needs]] for n, rule in enumerate(group.rules, 1)]
    return table(["", "check", "carried out when"], rows)


def certificate_rules() -> str:
    return table(["", "check"], [[str(n), _linked(rule.code)] for n, rule in enumerate(CERTIFICATE_RULES, 1)])


def _linked(name: str) -> str:
    return f"[{code(name)}](reasons.md#{name})"


# --- sessions and chips -----------------------------------------------------------------------------------------


def session_diagram() -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, step), (after, _) in session.TABLE.items():
        if state != after:
            arrows.setdefault((state, after), []).append(step)
    lines = ["stateDiagram-v2", "    [*] --> granted: allow"]
    lines += [f"    {state} --> {after}: {', '.join(steps)}" for (state, after), steps in arrows.items()]
    return fenced("mermaid", "\n".join([*lines, "    ended --> [*]"]))


def session_table() -> str:
    rows = [[code(state), code(step), code(after), text(why)] for (state, step), (after, why) in session.TABLE.items()]
    return table(["state", "step", "next state", "why"], rows)


def end_reasons() -> str:
    return table(["reason", "meaning"], [[code(word), text(why)] for word, why in session.END_REASONS.items()])


def lock_diagram() -> str:
    return _chip_diagram("OFF", LOCK_ARMS)


def lock_table() -> str:
    return _chip_table(LOCK_ARMS)


def question_table() -> str:
    return _chip_table(QUESTION_ARMS)


def _chip_diagram(start: str, arms: Any) -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, cue), arm in arms.items():
        if state is not arm.to:
            arrows.setdefault((state.name, arm.to.name), []).append(cue.name.lower())
    lines = ["stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {state} --> {after}: {', '.join(cues)}" for (state, after), cues in arrows.items()]
    return fenced("mermaid", "\n".join(lines))


def _chip_table(arms: Any) -> str:
    def row(state: Any, cue: Any, arm: LockArm | QuestionArm) -> list[str]:
        return [code(state.name), code(cue.name.lower()), code(arm.to.name), text(arm.why)]

    return table(["state", "cue", "next state", "why"], (row(state, cue, arm) for (state, cue), arm in arms.items()))


_ACT = re.compile(r'^    "(\w+)",(?:  # (.*))?$', re.MULTILINE)
_PLAIN_ACTS = {
    "unknown_badge": "a badge that names nobody",
    "unreadable_badge": "a text that can be no badge",
    "power_cycle": "the mains fail in mid-session",
}


def scenarios() -> str:
    names = list(scenario.SCENARIOS)
    rows = []
    for kind, about in _ACT.findall(inspect.getsource(scenario)):
        weights = [f"{scenario.SCENARIOS[name].weights.get(kind, '')}" for name in names]
        rows.append([code(kind), text(about or _PLAIN_ACTS[kind]), *weights])
    return table(["act", "what happens", *(code(name) for name in names)], rows)


# --- the wire ---------------------------------------------------------------------------------------------------


def payload(struct: type) -> Callable[[], str]:
    """The fields of one message."""

    def block() -> str:
        said = meanings(struct)
        rows = [
            [code(field.encode_name), described(field.type), _presence(field), said[field.encode_name]]
            for field in fields(struct)
        ]
        return table(["field", "type", "", "meaning"], rows)

    return block


def _presence(field: types.Field) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT:
        return "optional"
    return f"optional, {code(json.dumps(field.default))}"


def described(kind: types.Type) -> str:
    """A type in words."""
    match kind:
        case types.UnionType():
            return " or ".join(described(one) for one in kind.types)
        case types.NoneType():
            return "null"
        case types.BoolType():
            return "boolean"
        case types.IntType():
            return "integer" + _bounds(kind.ge, kind.le)
        case types.FloatType():
            return "number" + _bounds(kind.ge, kind.le)
        case types.StrType():
            return _string(kind)
        case types.LiteralType():
            return " ".join(code(value) for value in kind.values)
        case types.VarTupleType() | types.ListType():
            return f"array of {described(kind.item_type)}"
        case types.TupleType():
            return f"[{', '.join(described(one) for one in kind.item_types)}]"
        case types.StructType() | types.DictType():
            return "object"
        case _:
            raise DriftError(f"docs/generate.py: no words for the type {kind}")


def _bounds(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return ""
    return f", {least:g} to {'2^53 - 1' if most == 2**53 - 1 else f'{most:,.0f}'}"


def _string(kind: types.StrType) -> str:
    if kind.pattern:
        return f"string {code(readable(kind.pattern))}"
    lengths = [str(n) for n in (kind.min_length or 0, kind.max_length) if n is not None]
    return f"string, {' to '.join(lengths)} characters" if kind.max_length else "string"


def limits() -> str:
    rows = [
        ["payload, in both directions", f"{MAX_PAYLOAD_BYTES} bytes"],
        ["`machine_id`", code(readable(model.MACHINE_ID))],
        ["ids that a chip makes", code(readable(model.CHIP_MADE_ID))],
        ["signature", code(ALGORITHM)],
        ["issuer of grants", code(ISSUER)],
    ]
    return table(["what", "limit"], rows)


def rights() -> str:
    """Who may publish and hear what, from the table that every broker's access list is made of."""
    names = {"machine": "{machine_id}", "gateway": "{instance}", "reader": "{name}"}
    return table(
        ["identity", "may", "topics"],
        [
            [role, right.access, code(right.topic.replace(acl.OWN, names[role]))]
            for role, held in acl.RIGHTS.items()
            for right in held
        ],
    )


def access_list() -> str:
    return fenced("", mosquitto.access_list(["county-1"], ["board"]).strip())


def topic_list() -> str:
    machine, division = "{machine_id}", "{division}"
    to_gateway = [(topics.to_gateway(machine, kind), "chip") for kind in topics.CHIP_TOPICS]
    feeds = [
        (topics.feed(division, "decision"), "gateway"),
        (topics.feed(division, "usage"), "gateway"),
        (topics.feed(division, "alert"), "gateway"),
    ]
    rows = [
        *to_gateway,
        (topics.decision(machine), "gateway"),
        (topics.command(machine), "gateway"),
        *feeds,
        (topics.gateway_status("{instance}"), "gateway"),
    ]
    retained = ("status",)
    return table(
        ["topic", "published by", "QoS", "retained"],
        [[code(name), by, "1", "yes" if name.rsplit("/", 1)[1] in retained else "no"] for name, by in rows],
    )


_AT = 1_793_577_600_000


def example_request() -> str:
    request = model.Request("3f9a61c2-17", "P000123", "x8J2qTg6yXo1b0mZ", "scan", _AT)
    return fenced("json", encode(request).decode())


def example_deny() -> str:
    codes = ("certificate_expired",)
    deny = messages.DecisionMessage(_AT + 4, None, "deny", wire_reasons(codes), "3f9a61c2-17", None)
    return fenced("json", encode(deny).decode())


def _vector() -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(VECTOR.read_bytes())
    return vector


def example_allow() -> str:
    return fenced("json", str(_vector()["payload"]))


def example_grant() -> str:
    header, claims, _ = json.loads(_vector()["payload"])["grant"].split(".")
    parts = [json.dumps(json.loads(urlsafe_b64decode(part + "==")), indent=2) for part in (header, claims)]
    return "Header:\n\n" + fenced("json", parts[0]) + "\n\nClaims:\n\n" + fenced("json", parts[1])


def example_reports() -> str:
    sid = "AaGYnfYEbJvPYSYqyvMW"
    usage = model.Usage(sid, 3, _AT + 30_000, "closed", 30, 19, 11, 6, 31.5, 142.0, 24.1)
    event = model.Event("3f9a61c2-e8", 8, "locked", _AT + 65_000, sid, "operator")
    status = model.Status(True, "x8J2qTg6yXo1b0mZ", "C0000042", "1.4.2", "open", None, _AT)
    kinds = (("usage", usage), ("event", event), ("status", status))
    return "\n\n".join(f"`{kind}`:\n\n" + fenced("json", encode(message).decode()) for kind, message in kinds)


def example_feed() -> str:
    deny = messages.FeedDecision(
        _AT, "330521", "91330521990000010R", "HJ-330521-00042", "P3***23", "deny", ("certificate_expired",),
        "3f9a61c2-17", (),
    )  # fmt: skip
    usage = messages.FeedUsage(19, 6, _AT, "330521", 30, 31.5, False, 11, "HJ-330521-00042", "AaGYnfYEbJvPYSYqyvMW")
    return "\n\n".join(fenced("json", encode(message).decode()) for message in (deny, usage))


# --- alerts -----------------------------------------------------------------------------------------------------


def alerts() -> str:
    """Every alert with how bad it is, from the rules that Prometheus reads."""
    groups = [group for path in sorted(RULES_OF_ALERTS.glob("*.yml")) for group in _read_groups(path)]
    rows = [
        [f"[{rule['alert']}](#{rule['alert'].lower()})", code(rule["labels"]["severity"]), _summary(rule)]
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    ]
    return table(["alert", "severity", "meaning"], rows)


def _read_groups(path: Path) -> list[Any]:
    groups: list[Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return groups


def _summary(rule: Any) -> str:
    return text(str(rule["annotations"]["summary"]))


# --- registry files ---------------------------------------------------------------------------------------------


def registry_columns() -> str:
    parts = []
    for kind in KINDS:
        rows = [[code(c.name), c.chinese, "yes" if c.required else "", _choices(c)] for c in kind.columns]
        key = ", ".join(code({into.into: into.name for into in kind.columns}[name]) for name in kind.key)
        heading = f"### {kind.name} {kind.chinese}\n\nKey: {key}.\n\n"
        parts.append(heading + table(["column", "中文表头", "required", "values"], rows))
    return "\n\n".join(parts)


def source_keys(struct: type) -> Callable[[], str]:
    """The keys of one table of ``registry.toml``."""

    def block() -> str:
        left = dict(SOURCE_KEYS[struct])
        for name in struct.__struct_fields__:  # type: ignore[attr-defined]
            if name not in left:
                raise DriftError(f"docs/source_keys.py: SOURCE_KEYS lacks {struct.__name__}.{name}")
        rows = [[code(f.name), _key_type(f.type), _key_default(f), left.pop(f.name)] for f in fields(struct)]
        if left:
            raise DriftError(f"docs/source_keys.py: {struct.__name__} has no {', '.join(left)}")
        return table(["key", "values", "default", "meaning"], rows)

    return block


def breaker_table() -> str:
    rows = [[code(state), code(cue), code(after), text(why)] for (state, cue), (after, why) in pace.TABLE.items()]
    return table(["state", "cue", "next state", "why"], rows)


def fetch_problems() -> str:
    return table(["problem", "meaning"], [[code(name), text(why)] for name, why in pages.PROBLEMS.items()])


def _key_type(kind: types.Type) -> str:
    return "table" if isinstance(kind, types.StructType | types.DictType) else described(kind)


def _key_default(field: types.Field) -> str:
    plain = isinstance(field.default, str | int | float)
    return "required" if field.required else code(json.dumps(field.default)) if plain and field.default != "" else ""


def _choices(column: Column) -> str:
    listed = ", ".join(f"{code(english)} {chinese}" for english, chinese in column.choices.items())
    return listed + (" personal: sealed and masked" if column.personal else "")


# --- HTTP API ---------------------------------------------------------------------------------------------------


def api_scopes() -> str:
    return table(["scope", "what it is for"], [[code(scope), meaning] for scope, meaning in SCOPES.items()])


def api_routes() -> str:
    rows = []
    for route in ROUTES:
        statuses = " ".join(str(PROBLEMS[kind][0]) for kind in openapi.problems_of(route))
        access = "a sender's signature" if route.access == "signature" else code(route.access)
        rows.append([code(f"{route.method} {ROOT}{route.path}"), access, text(route.summary), statuses])
    return table(["route", "takes", "what it does", "errors"], rows)


def api_problems() -> str:
    return "\n\n".join(f"### {kind}\n\n{status} {title}. {about}" for kind, (status, title, about) in PROBLEMS.items())


def push_kinds() -> str:
    rows = []
    for kind, struct in push.EVENT_TYPES.items():
        own = [field for field in fields(struct) if field.encode_name not in ("event_id", "at")]
        shown = [code(field.encode_name) + ("" if field.required else " (optional)") for field in own]
        rows.append([code(kind), ", ".join(shown), text(struct.__doc__ or "")])
    return table(["kind", "fields", "meaning"], rows)


def push_outcomes() -> str:
    return table(["outcome", "meaning"], [[code(name), text(about)] for name, about in OUTCOMES.items()])


BLOCKS: dict[str, Callable[[], str]] = {
    "sources-keys": source_keys(sources.Sources),
    "source-keys": source_keys(sources.Source),
    "auth-keys": source_keys(sources.Auth),
    "breaker-keys": source_keys(sources.Breaker),
    "names-keys": source_keys(sources.Names),
    "sender-keys": source_keys(sources.Sender),
    "guard-keys": source_keys(sources.GuardTable),
    "breaker-table": breaker_table,
    "fetch-problems": fetch_problems,
    "settings": settings,
    "metrics": metrics,
    "alerts": alerts,
    "commands": commands,
    "policy-keys": policy_keys,
    "policy-rules": policy_rules,
    "reasons-overview": reasons_overview,
    "notices": notices,
    "reasons": reasons,
    "rules": rules,
    "certificate-rules": certificate_rules,
    "session-diagram": session_diagram,
    "session-table": session_table,
    "end-reasons": end_reasons,
    "lock-diagram": lock_diagram,
    "lock-table": lock_table,
    "question-table": question_table,
    "scenarios": scenarios,
    "topics": topic_list,
    "rights": rights,
    "access-list": access_list,
    "limits": limits,
    "request": payload(model.Request),
    "usage": payload(model.Usage),
    "command": payload(messages.CommandMessage),
    "command-claims": payload(Command),
    "feed-alert": payload(messages.FeedAlert),
    "event": payload(model.Event),
    "status": payload(model.Status),
    "decision": payload(messages.DecisionMessage),
    "wire-reason": payload(messages.WireReason),
    "grant": payload(Grant),
    "feed-decision": payload(messages.FeedDecision),
    "feed-usage": payload(messages.FeedUsage),
    "gateway-status": payload(messages.GatewayStatus),
    "example-request": example_request,
    "example-deny": example_deny,
    "example-allow": example_allow,
    "example-grant": example_grant,
    "example-reports": example_reports,
    "example-feed": example_feed,
    "registry-columns": registry_columns,
    "api-scopes": api_scopes,
    "api-routes": api_routes,
    "api-problems": api_problems,
    "push-kinds": push_kinds,
    "push-outcomes": push_outcomes,
}


def regenerated(document: str) -> str:
    """The document with its generated parts made anew."""

    def block(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            raise DriftError(f"no generated block is called {found[2]}")
        return f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}"

    return _BLOCK.sub(block, document)


def openapi_text() -> str:
    return json.dumps(openapi.document(), ensure_ascii=False, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    drifted = []
    whole = {ASYNCAPI: asyncapi.text, OPENAPI: openapi_text}
    for path in [*sorted(DOCS.rglob("*.md")), *whole]:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = whole[path]() if path in whole else regenerated(old)
        if new != old:
            drifted.append(path.relative_to(DOCS.parent))
            if arguments != ["--check"]:
                path.write_text(new, encoding="utf-8")
    for path in drifted:
        print(f"{path}: {'is not what the code says; run: python docs/generate.py' if arguments else 'rewritten'}")
    return 1 if drifted and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
