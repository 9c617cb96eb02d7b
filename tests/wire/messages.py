"""Hypothesis strategies for every message, and the one of each kind whose exact bytes are on file."""

from typing import Any, get_args

from hypothesis import strategies as st
from msgspec import Struct

from gateway.core.credential import offline_digest
from gateway.core.model import Event, EventKind, Request, Status, Usage
from gateway.wire.messages import (
    AlertKind,
    CommandMessage,
    DecisionMessage,
    FeedAlert,
    FeedDecision,
    FeedUsage,
    GatewayStatus,
    WireReason,
)
from gateway.wire.tokens import Command, CommandName, Grant
from gateway.wire.topics import ChipTopic

ids = st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True)
counts = st.integers(0, 2**53 - 1)
moments = st.none() | counts
texts = st.text(max_size=40)
amounts = st.floats(0, 1e6, allow_nan=False)
relays = st.sampled_from(["closed", "open"])
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)

requests = st.builds(
    Request,
    request_id=ids,
    credential=st.text(max_size=300),
    challenge=st.text(min_size=1, max_size=128),
    method=st.sampled_from(["scan", "card", "keypad"]),
    at=moments,
)
usages = st.builds(
    Usage,
    session_id=ids,
    seq=counts,
    at=moments,
    relay=relays,
    enabled_s=counts,
    arc_s=counts,
    idle_s=counts,
    arcs=counts,
    energy_wh=st.floats(0, 1e9, allow_nan=False),
    current_a=st.none() | amounts,
    voltage_v=st.none() | amounts,
    final=st.booleans(),
)
events = st.builds(
    Event,
    event_id=ids,
    seq=counts,
    kind=st.sampled_from(get_args(EventKind)),
    at=moments,
    session_id=st.none() | ids,
    reason=st.none() | st.text(max_size=256),
    detail=st.dictionaries(st.text(max_size=8), plain, max_size=4),
)
statuses = st.builds(
    Status,
    online=st.booleans(),
    challenge=st.none() | st.text(max_size=128),
    chip=st.none() | st.text(max_size=64),
    firmware=st.none() | st.text(max_size=64),
    relay=st.none() | relays,
    session_id=st.none() | ids,
    at=moments,
)
FROM_CHIPS: dict[ChipTopic, st.SearchStrategy[Any]] = {
    "request": requests,
    "usage": usages,
    "event": events,
    "status": statuses,
}

_reasons = st.builds(WireReason, texts, texts, texts, st.sampled_from(["operator", "regulator"]))
WITHOUT_FRACTIONS: st.SearchStrategy[Struct] = st.one_of(
    requests,
    events,
    statuses,
    st.builds(
        DecisionMessage,
        counts,
        st.none() | texts,
        st.sampled_from(["allow", "deny"]),
        st.lists(_reasons, max_size=3).map(tuple),
        ids,
        st.none() | ids,
    ),
    st.builds(CommandMessage, texts, ids),
    st.builds(
        FeedDecision,
        counts,
        texts,
        st.none() | texts,
        ids,
        st.none() | texts,
        st.sampled_from(["allow", "deny"]),
        st.lists(texts, max_size=3).map(tuple),
        ids,
        st.lists(texts, max_size=3).map(tuple),
    ),
    st.builds(FeedAlert, counts, texts, texts, st.sampled_from(get_args(AlertKind)), ids, st.none() | ids),
    st.builds(GatewayStatus, counts, st.booleans(), counts, texts),
)
"""Everything whose canonical form is that of RFC 8785 to the last byte."""

AT = 1781488800000
"""2026-06-15 10:00 in the county."""

GOLDEN_FROM_CHIPS: dict[str, tuple[ChipTopic, Request | Usage | Event | Status]] = {
    "request": ("request", Request("0f2a9c4e7b1d4a60", "P000123", "c-8f1e22", "scan", AT)),
    "request_without_clock": ("request", Request("0f2a9c4e7b1d4a61", "P000123", "c-8f1e23", "card", None)),
    "usage": (
        "usage",
        Usage("AZ8Vq0AAmJ3kQ2xW5c7d", 12, AT + 120_000, "closed", 120, 73, 21, 9, 152.25, 128.5, 24.75, False),
    ),
    "usage_final": (
        "usage",
        Usage("AZ8Vq0AAmJ3kQ2xW5c7d", 13, None, "open", 130, 73, 31, 9, 152.25, None, None, True),
    ),
    "event": (
        "event",
        Event(
            "ev-000000017",
            17,
            "locked",
            AT + 130_000,
            "AZ8Vq0AAmJ3kQ2xW5c7d",
            "idle",
            {"idle_s": 900, "注": "无人作业"},
        ),
    ),
    "event_boot": ("event", Event("ev-000000001", 1, "boot")),
    "status": ("status", Status(True, "c-8f1e22", "CHIP-0001", "1.4.2", "open", None, AT)),
    "status_last_will": ("status", Status(False)),
}
"""What chips send. ``status_last_will`` is on file as the protocol has it: ``online`` alone."""

GOLDEN_FROM_GATEWAY: dict[str, Struct] = {
    "decision_allow": DecisionMessage(
        AT, "header.claims.signature", "allow", (), "0f2a9c4e7b1d4a60", "AZ8Vq0AAmJ3kQ2xW5c7d"
    ),
    "command": CommandMessage("header.claims.signature", "cmd-00000001"),
    "feed_decision": FeedDecision(
        AT,
        "330521",
        "91330521MA00000017",
        "HJ-0001",
        "P0***23",
        "deny",
        ("certificate_expired",),
        "0f2a9c4e7b1d4a60",
        ("certificate_unverified",),
    ),
    "feed_decision_unknown_machine": FeedDecision(
        AT, "000000", None, "HJ-9999", None, "deny", ("machine_unknown",), "0f2a9c4e7b1d4a60", ()
    ),
    "feed_usage": FeedUsage(73, 9, AT, "330521", 130, 152.25, True, 31, "HJ-0001", "AZ8Vq0AAmJ3kQ2xW5c7d"),
    "feed_alert": FeedAlert(AT, "idle, 153 s", "330521", "lock_overdue", "HJ-0001", "AZ8Vq0AAmJ3kQ2xW5c7d"),
    "feed_alert_without_session": FeedAlert(AT, "18 to 20", "330521", "lost_evidence", "HJ-0001", None),
    "gateway_status": GatewayStatus(AT, True, 42, "0.1.0"),
    "gateway_status_last_will": GatewayStatus(AT, False, 42, "0.1.0"),
}

GOLDEN_GRANT = Grant(
    aud="HJ-0001",
    cha="c-8f1e22",
    exp=AT // 1000 + 30,
    iat=AT // 1000,
    jti="0f2a9c4e7b1d4a60",
    lease_s=900,
    sid="AZ8Vq0AAmJ3kQ2xW5c7d",
)


def _command(cmd: CommandName, **claims: Any) -> Command:
    return Command(aud="HJ-0001", cmd=cmd, exp=AT // 1000 + 30, iat=AT // 1000, jti="cmd-00000001", **claims)


_SESSION = "AZ8Vq0AAmJ3kQ2xW5c7d"
_UNTIL = 1_782_835_199
"""2026-06-30 at its last second in the county."""

GOLDEN_COMMANDS: dict[str, Command] = {
    "claims_renew": _command("renew", sid=_SESSION, n=1, lease_s=900),
    "claims_renew_without_clock": _command("renew", sid=_SESSION, n=2, cha="c-8f1e23", lease_s=900),
    "claims_lock": _command("lock", sid=_SESSION, n=3, reason="revoked", when="between_arcs", deadline_s=120),
    "claims_lock_now": _command("lock", sid=_SESSION, n=4, reason="tamper", when="now"),
    "claims_offline_list": _command(
        "offline_list",
        cha="c-8f1e23",
        list_version=7,
        entries=((offline_digest("HJ-0001", "P000123"), _UNTIL), (offline_digest("HJ-0001", "P000124"), _UNTIL)),
        offline_for_s=14_400,
        lease_s=900,
    ),
    "claims_offline_list_difference": _command(
        "offline_list",
        cha="c-8f1e23",
        list_version=8,
        base_version=7,
        entries=((offline_digest("HJ-0001", "P000125"), _UNTIL),),
        gone=(offline_digest("HJ-0001", "P000124"),),
        offline_for_s=14_400,
        lease_s=900,
    ),
    "claims_config": _command("config", cha="c-8f1e23", idle_lock_s=600, drain_deadline_s=60),
}
"""The claims in the tokens of commands, one of each way to say it."""
