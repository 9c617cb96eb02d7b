"""Holds every answer of the gateway against the protocol and the oracle, and counts what it saw.

Times named ``*_ms`` are monotonic milliseconds of the fleet, ``wall_ms`` Unix milliseconds.
"""

from collections import Counter
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.core.model import Event
from gateway.core.reasons import REASONS
from gateway.wire import topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant, TokenError
from simulator.grants import Verify
from simulator.oracle import Question, county_day, named_person, registry_codes
from simulator.registry import Registry
from simulator.report import Check, Mismatch, Report, latency
from simulator.sessions import Asking, Codes, Seen, Sessions

STALE_MS = 60_000
SKEW_MS = 2_000
"""The gateway's wall clock may differ from ours by this much."""
START_BY_LIMIT_S = 30
EVERY_CODE = frozenset(REASONS)

Rule = Literal["oracle", "malformed", "retained"]

ANSWERED = "every request is answered"
READABLE = "every decision is readable, at most 4 KiB and not retained"
FORM = "an allow carries a grant and no reason, a deny a reason and no grant"
SAME_BYTES = "a repeated request gets the byte-identical decision"
GRANTS = "every grant is signed and fits its request"
COMMANDS = "every command is signed and addressed to its machine"
UNDER = "as the registry files say: "


class Sent(Struct):
    """One request as it first went out. ``chip`` is the serial in the chip's status, ``label`` the act behind it.

    ``answer`` is the SHA-256 of the first decision's bytes.
    """

    request_id: str
    machine_id: str
    credential: str
    challenge: str
    label: str
    chip: str | None
    at: int | None
    sent_ms: float
    wall_ms: int
    rule: Rule = "oracle"
    by_chip: bool = True
    excused: bool = False
    answer: bytes | None = None


class Audit:
    """One run's observer. Everything that leaves or reaches a chip passes through here."""

    def __init__(self, registry: Registry, verify: Verify) -> None:
        self.sessions = Sessions()
        self.faults: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.decisions = self.allowed = self.undetermined = self.repeats = self.foreign = self.commands = 0
        self._registry = registry
        self._verify = verify
        self._sent: dict[tuple[str, str], Sent] = {}
        self._unanswered: dict[tuple[str, str], Sent] = {}
        self._reasons: Counter[str] = Counter()
        self._latency_ms: list[float] = []
        self._checks: dict[str, Check] = {name: Check(name) for name in (ANSWERED, READABLE, FORM, SAME_BYTES, GRANTS)}

    # --- what leaves --------------------------------------------------------------------------------------------

    def asked(self, sent: Sent) -> bool:
        """A request goes out; False if it went out before (then the same answer is due)."""
        key = (sent.machine_id, sent.request_id)
        if key in self._sent:
            return False
        self._sent[key] = sent
        if sent.rule != "retained":
            self._unanswered[key] = sent
        person = named_person(self._registry, sent.credential)
        if person is not None and not self._registry_codes(sent, sent.wall_ms).must:
            self.sessions.asked(Asking(sent.request_id, sent.machine_id, person))
        return True

    def excuse(self, machine_id: str, *, raw_only: bool) -> None:
        """The machine lost its connection or its mains: what it cannot ask again need not be answered."""
        for sent in self._unanswered.values():
            if sent.machine_id == machine_id and not (raw_only and sent.by_chip):
                sent.excused = True

    def reported(self, machine_id: str, event: Event, now_ms: float) -> None:
        """A chip publishes an event for the first time."""
        self.kept["event"] += 1
        self.kept[event.kind] += 1
        for session_id in self._ended_by(machine_id, event):
            self.sessions.ending(session_id, round(now_ms))

    def delivered(self, machine_id: str, event: Event, now_ms: float) -> None:
        """The broker has the event. A rejected grant leaves it to the gateway what becomes of its session."""
        if event.kind != "grant_rejected":
            for session_id in self._ended_by(machine_id, event):
                self.sessions.gone(session_id, round(now_ms))

    def _ended_by(self, machine_id: str, event: Event) -> list[str]:
        if event.kind == "boot":
            return self.sessions.at_machine(machine_id)
        ends = event.kind in ("locked", "grant_rejected") and event.session_id is not None
        return [event.session_id] if ends and event.session_id else []

    # --- what arrives -------------------------------------------------------------------------------------------

    def arrived(self, machine_id: str, topic: str, payload: bytes, *, retained: bool, now_ms: float) -> None:
        """A message for a chip."""
        if topic == topics.command(machine_id):
            self._command(machine_id, payload, round(now_ms))
            return
        decision = _decode(payload)
        readable = decision is not None and not retained and len(payload) <= MAX_PAYLOAD_BYTES
        if decision is None or not readable:
            got = f"{len(payload)} bytes{', retained' if retained else ''}{'' if decision else ', not a decision'}"
            self._fail(READABLE, Mismatch(READABLE, "", machine_id, "", "a decision by the protocol", got))
            return
        self._pass(READABLE)
        sent = self._sent.get((machine_id, decision.request_id))
        if sent is None:
            self._foreign(machine_id, decision, round(now_ms))
        elif sent.answer is not None:
            self.repeats += 1
            self._check(
                SAME_BYTES,
                sent,
                sent.answer == sha256(payload).digest(),
                "the bytes of the first answer",
                "other bytes",
            )
        else:
            sent.answer = sha256(payload).digest()
            self._unanswered.pop((machine_id, decision.request_id), None)
            self._first_answer(sent, decision, now_ms)

    def _first_answer(self, sent: Sent, decision: DecisionMessage, now_ms: float) -> None:
        codes = frozenset(reason.code for reason in decision.reasons)
        self.decisions += 1
        self.allowed += decision.outcome == "allow"
        self._reasons.update(codes)
        self._latency_ms.append(now_ms - sent.sent_ms)
        self._check(FORM, sent, _well_formed(decision), FORM, f"{decision.outcome} with {_shown(codes)}")
        self._check_codes(sent, decision, codes, now_ms)
        self.sessions.answered(sent.request_id)
        if decision.outcome == "allow":
            self._take_grant(sent, decision, now_ms)

    def _check_codes(self, sent: Sent, decision: DecisionMessage, got: frozenset[str], now_ms: float) -> None:
        expected = self._expected(sent, now_ms)
        wall_ms = sent.wall_ms + round(now_ms - sent.sent_ms)
        self.undetermined += bool(expected.may) and sent.rule == "oracle"
        right = expected.allows(got) and (decision.outcome == "deny") == bool(got)
        if sent.rule == "retained":
            right = right or got == {"request_retained"}
        says = _shown(expected.must) + (f", perhaps {_shown(expected.may)}" if expected.may else "")
        says += f" on {county_day(wall_ms)}"
        self._check(UNDER + sent.label, sent, right, says, f"{decision.outcome}: {_shown(got)}")

    def _expected(self, sent: Sent, now_ms: float) -> Codes:
        if sent.rule == "malformed":
            return Codes(frozenset({"request_malformed"}), EVERY_CODE)
        wall_ms = sent.wall_ms + round(now_ms - sent.sent_ms)
        base = self._registry_codes(sent, wall_ms)
        if "machine_unknown" in base.must:
            return base
        person = named_person(self._registry, sent.credential)
        held = self.sessions.codes(sent.request_id, sent.machine_id, person, round(sent.sent_ms), round(now_ms))
        return Codes(base.must | held.must, base.may | held.may)

    def _registry_codes(self, sent: Sent, wall_ms: int) -> Codes:
        """Codes of the files and of the clock between publication and ``wall_ms``; a new day makes both days right."""
        question = Question(sent.machine_id, sent.credential, sent.chip)
        first, last = sent.wall_ms - SKEW_MS, wall_ms + SKEW_MS
        before = registry_codes(self._registry, question, county_day(first)) | _stale(sent.at, first)
        after = registry_codes(self._registry, question, county_day(last)) | _stale(sent.at, last)
        return Codes(before & after, before ^ after)

    def _take_grant(self, sent: Sent, decision: DecisionMessage, now_ms: float) -> None:
        try:
            grant = msgspec.convert(self._verify(decision.grant or ""), Grant)
        except (TokenError, msgspec.ValidationError) as error:
            self._check(GRANTS, sent, False, "a grant with a good signature", str(error))
            return
        wrong = _grant_faults(grant, sent, decision)
        self._check(GRANTS, sent, not wrong, "a grant for this request", ", ".join(wrong))
        lease_end_ms = round(sent.sent_ms) + (grant.exp - grant.iat + grant.lease_s) * 1000
        seen = Seen(grant.sid, sent.machine_id, sent.credential, round(sent.sent_ms), round(now_ms), lease_end_ms)
        self.sessions.opened(seen, round(now_ms))

    def _foreign(self, machine_id: str, decision: DecisionMessage, now_ms: int) -> None:
        """Not asked for in this run: by phone, or left over from an earlier run. It may have opened a session."""
        self.foreign += 1
        if decision.outcome == "allow" and decision.session_id:
            seen = Seen(decision.session_id, machine_id, "", now_ms, now_ms, now_ms, ending_ms=now_ms, renewed=True)
            self.sessions.opened(seen, now_ms)

    def _command(self, machine_id: str, payload: bytes, now_ms: int) -> None:
        self.commands += 1
        try:
            message = msgspec.json.decode(payload, type=CommandMessage)
            command = msgspec.convert(self._verify(message.command), Command)
            right = command.aud == machine_id and command.jti == message.command_id
            got = f"aud {command.aud}, jti {command.jti}"
        except (TokenError, msgspec.MsgspecError, UnicodeError) as error:
            self._fail(COMMANDS, Mismatch(COMMANDS, "", machine_id, "", "a signed command", str(error)))
            return
        if right:
            self._pass(COMMANDS)
        else:
            self._fail(COMMANDS, Mismatch(COMMANDS, message.command_id, machine_id, "", "its own address", got))
        if command.cmd == "renew" and command.sid:
            self.sessions.renewed(command.sid, now_ms + (command.lease_s or 0) * 1000)

    # --- the end ------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        return len(self._sent)

    @property
    def mismatches(self) -> int:
        return sum(len(check.failed) for check in self._checks.values())

    def waiting(self) -> int:
        """Requests that still have to be answered."""
        return sum(not sent.excused for sent in self._unanswered.values())

    def close(self, report: Report) -> Report:
        """Count what was never answered and fill in the figures."""
        unanswered = [sent for sent in self._unanswered.values() if not sent.excused]
        for sent in unanswered:
            self._check(ANSWERED, sent, False, "a decision", "nothing")
        self._checks[ANSWERED].passed += self.decisions
        report.requests, report.decisions, report.unanswered = self.requests, self.decisions, len(unanswered)
        report.allowed, report.denied = self.allowed, self.decisions - self.allowed
        report.by_reason = dict(self._reasons.most_common())
        report.undetermined, report.repeats, report.foreign = self.undetermined, self.repeats, self.foreign
        report.sessions, report.grants_rejected = self.kept["unlocked"], self.kept["grant_rejected"]
        report.commands, report.usage = self.commands, self.kept["usage"]
        report.events = self.kept["event"]
        report.faults_injected = dict(sorted(self.faults.items()))
        report.latency_ms = latency(self._latency_ms)
        report.mismatches = self.mismatches
        report.mismatch_details = [mismatch for check in self._checks.values() for mismatch in check.failed]
        report.checks = list(self._checks.values())
        return report

    def _check(self, name: str, sent: Sent, right: bool, expected: str, got: str) -> None:
        if right:
            self._pass(name)
        else:
            self._fail(name, Mismatch(name, sent.request_id, sent.machine_id, sent.credential[:64], expected, got))

    def _pass(self, name: str) -> None:
        self._checks.setdefault(name, Check(name)).passed += 1

    def _fail(self, name: str, mismatch: Mismatch) -> None:
        self._checks.setdefault(name, Check(name)).failed.append(mismatch)


def _decode(payload: bytes) -> DecisionMessage | None:
    try:
        return msgspec.json.decode(payload, type=DecisionMessage)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def _stale(at: int | None, wall_ms: int) -> frozenset[str]:
    return frozenset({"request_stale"}) if at is not None and abs(wall_ms - at) > STALE_MS else frozenset()


def _well_formed(decision: DecisionMessage) -> bool:
    bare = decision.grant is None and decision.session_id is None
    full = bool(decision.grant) and bool(decision.session_id)
    return (full and not decision.reasons) if decision.outcome == "allow" else (bare and bool(decision.reasons))


def _grant_faults(grant: Grant, sent: Sent, decision: DecisionMessage) -> list[str]:
    """What in a grant does not fit the request that it answers."""
    wanted = {
        "aud": (grant.aud, sent.machine_id),
        "jti": (grant.jti, sent.request_id),
        "sid": (grant.sid, decision.session_id),
        "cha": (grant.cha, sent.challenge),
        "n": (grant.n, 0),
    }
    faults = [f"{name} {got!r}" for name, (got, due) in wanted.items() if got != due]
    if not 0 < grant.exp - grant.iat <= START_BY_LIMIT_S:
        faults.append(f"start-by {grant.exp - grant.iat} s after iat")
    if grant.lease_s < 1:
        faults.append(f"lease {grant.lease_s} s")
    return faults


def _shown(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes)) if codes else "nothing against it"
