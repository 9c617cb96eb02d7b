"""The policy document: every section and default, every way to get it wrong, its hash, and which override wins."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.policy import (
    GRACE_CODES,
    MODES,
    OFF_BY_DEFAULT,
    Colours,
    Offline,
    Permits,
    Policy,
    PolicyError,
    Retention,
    Rulebook,
    Scope,
    document,
    from_document,
    parse,
    policy_hash,
)
from gateway.core.reasons import FIXED_CODES, REASONS
from tests.core.worlds import policies

FIRM = "91330521MA00000017"
OTHER_FIRM = "91330521MA00000025"

WHOLE = f"""
version = "2026-06"

[rules]
certificate_unverified = "warn"
permit_missing = "enforce"
operator_age = "off"

[grace]
certificate_expired = 30
certificate_review_overdue = 60

[lease]
lease_s = 600
start_by_s = 20
idle_lock_s = 300
drain_deadline_s = 60

[requests]
max_age_s = 45
answer_within_s = 5

[registry]
max_age_s = 3600

[registry.sources]
permits = 600

[credentials]
kinds = ["badge"]

[offline]
for_s = 7200
operators = 10
recent_days = 14
lease_s = 300

[hours]
from = "22:00"
until = "06:30"

[permits]
special_hours = 4
grade_1_hours = 6
grade_2_hours = 24
guardian_required = true

[age]
min_years = 20
max_years = 60

[colours]
soon_days = 30
in_order = "grey"
soon = "red"
barred = "yellow"
none = "blue"

[observe]
enabled = true

[retention]
usage_days = 366
ledger_days = 3650

[division.330521.rules]
certificate_unverified = "enforce"

[division.330521.grace]
certificate_expired = 10

[division.330521.observe]
enabled = false

[enterprise.{FIRM}.rules]
certificate_unverified = "off"
"""


def test_every_section_of_the_document_is_read() -> None:
    policy = parse(WHOLE)
    assert policy.version == "2026-06"
    assert policy.rules == {"certificate_unverified": "warn", "permit_missing": "enforce", "operator_age": "off"}
    assert policy.grace == {"certificate_expired": 30, "certificate_review_overdue": 60}
    lease = policy.lease
    assert (lease.lease_s, lease.start_by_s, lease.idle_lock_s, lease.drain_deadline_s) == (600, 20, 300, 60)
    assert (policy.requests.max_age_s, policy.requests.answer_within_s) == (45, 5)
    assert (policy.registry.max_age_s, policy.registry.sources) == (3600, {"permits": 600})
    assert policy.credentials.kinds == ("badge",)
    assert policy.offline == Offline(for_s=7200, operators=10, recent_days=14, lease_s=300)
    assert (policy.hours.start, policy.hours.until) == ("22:00", "06:30")
    assert policy.permits == Permits(4, 6, 24, guardian_required=True)
    assert (policy.age.min_years, policy.age.max_years) == (20, 60)
    assert policy.colours == Colours(30, "grey", "red", "yellow", "blue")
    assert policy.observe.enabled
    assert policy.retention == Retention(usage_days=366, ledger_days=3650)
    division = policy.division["330521"]
    assert division.rules == {"certificate_unverified": "enforce"}
    assert division.grace == {"certificate_expired": 10}
    assert division.observe is not None
    assert not division.observe.enabled
    assert policy.enterprise[FIRM].rules == {"certificate_unverified": "off"}


def test_defaults_are_those_that_are_published() -> None:
    policy = parse("")
    assert policy == Policy()
    lease = policy.lease
    assert (lease.lease_s, lease.start_by_s, lease.idle_lock_s, lease.drain_deadline_s) == (900, 30, 900, 120)
    assert (policy.requests.max_age_s, policy.requests.answer_within_s) == (60, 10)
    assert (policy.registry.max_age_s, policy.registry.sources) == (7 * 24 * 3600, {})
    assert policy.credentials.kinds == ("badge", "code", "account")
    offline = policy.offline
    assert (offline.for_s, offline.operators, offline.recent_days, offline.lease_s) == (0, 20, 30, 900)
    assert (policy.hours.start, policy.hours.until) == ("00:00", "24:00")
    permits = policy.permits
    assert (permits.special_hours, permits.grade_1_hours, permits.grade_2_hours) == (8, 8, 72)
    assert not permits.guardian_required
    assert (policy.age.min_years, policy.age.max_years) == (18, 63)
    colours = policy.colours
    assert (colours.in_order, colours.soon, colours.barred, colours.none) == ("blue", "yellow", "red", "grey")
    assert colours.soon_days == 60
    assert not policy.observe.enabled
    assert policy.retention == Retention(1096, 1096, 1096, 1096, 1096, 1096, ledger_days=0)
    assert (policy.rules, policy.grace, policy.division, policy.enterprise) == ({}, {}, {}, {})


def test_by_default_every_rule_is_enforced_but_those_of_permits_and_hours() -> None:
    held = Rulebook(Policy()).holds("330521", FIRM)
    assert {code for code, mode in held.modes.items() if mode == "off"} == set(OFF_BY_DEFAULT)
    assert OFF_BY_DEFAULT == ("permit_missing", "permit_expired", "outside_permitted_hours")
    assert {code for code, mode in held.modes.items() if mode == "enforce"} == set(REASONS) - set(OFF_BY_DEFAULT)
    assert held.grace == {"certificate_expired": 0, "certificate_review_overdue": 0}
    assert not held.observe


@pytest.mark.parametrize("code", sorted(set(REASONS) - FIXED_CODES))
@pytest.mark.parametrize("mode", MODES)
def test_every_code_takes_every_mode(code: str, mode: str) -> None:
    held = Rulebook(parse(f"[rules]\n{code} = '{mode}'")).holds(None, None)
    assert held.modes[code] == mode


def test_codes_that_always_refuse_are_those_that_would_unlock_late_on_nothing_or_what_somebody_locked() -> None:
    assert {
        "request_malformed",
        "request_stale",
        "request_retained",
        "overloaded",
        "internal_error",
        "credential_replayed",
        "machine_out_of_service",
        "machine_offline",
        "machine_without_clock",
    } == FIXED_CODES


# --- which one holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("division", "uscc", "mode", "grace", "observe"),
    [
        (None, None, "warn", 30, True),
        ("330522", OTHER_FIRM, "warn", 30, True),
        ("330521", OTHER_FIRM, "enforce", 10, False),
        ("330522", FIRM, "off", 30, True),
        ("330521", FIRM, "off", 10, False),
    ],
)
def test_the_enterprise_beats_the_division_which_beats_the_base(
    division: str | None, uscc: str | None, mode: str, grace: int, observe: bool
) -> None:
    held = Rulebook(parse(WHOLE)).holds(division, uscc)
    assert held.modes["certificate_unverified"] == mode
    assert held.grace == {"certificate_expired": grace, "certificate_review_overdue": 60}
    assert held.observe is observe
    assert held.modes["operator_age"] == "off"


@given(policies)
def test_what_holds_for_one_machine_never_depends_on_who_was_asked_about_before(policy: Policy) -> None:
    places = [(None, None), ("330521", None), ("330521", FIRM), (None, FIRM), ("330599", OTHER_FIRM)]
    asked_in_turn = Rulebook(policy)
    assert [asked_in_turn.holds(*place) for place in places + places[::-1]] == [
        Rulebook(policy).holds(*place) for place in places + places[::-1]
    ]


# --- the hash ---------------------------------------------------------------------------------------------------


def test_the_hash_does_not_change_with_the_order_of_keys_and_sections() -> None:
    one = parse('version = "a"\n[rules]\noperator_age = "off"\ncertificate_expired = "warn"\n[lease]\nlease_s = 60\n')
    other = parse('[lease]\nlease_s = 60\n[rules]\ncertificate_expired = "warn"\noperator_age = "off"\n').__class__
    turned = parse(
        'lease = {lease_s = 60}\nversion = "a"\nrules.certificate_expired = "warn"\nrules.operator_age = "off"'
    )
    assert other is Policy
    assert policy_hash(one) == policy_hash(turned)
    assert document(one) == document(turned)


def test_the_hash_does_not_change_when_a_default_is_written_out() -> None:
    assert policy_hash(parse("[lease]\nlease_s = 900\n# the default\n")) == policy_hash(Policy())


@pytest.mark.parametrize(
    "changed",
    [
        'version = "other"',
        'rules.operator_age = "warn"',
        "grace.certificate_expired = 1",
        "lease.lease_s = 901",
        "lease.start_by_s = 29",
        "lease.idle_lock_s = 901",
        "lease.drain_deadline_s = 121",
        "requests.max_age_s = 61",
        "requests.answer_within_s = 9",
        "registry.max_age_s = 1",
        "registry.sources.permits = 604800",
        "credentials.kinds = []",
        'credentials.kinds = ["code"]',
        "offline.for_s = 1",
        "offline.operators = 21",
        "offline.recent_days = 31",
        "offline.lease_s = 901",
        'hours.from = "00:01"',
        'hours.until = "23:59"',
        "permits.special_hours = 7",
        "permits.grade_1_hours = 7",
        "permits.grade_2_hours = 71",
        "permits.guardian_required = true",
        "age.min_years = 19",
        "age.max_years = 62",
        "colours.soon_days = 59",
        'colours.in_order = "yellow"',
        'colours.soon = "blue"',
        'colours.barred = "grey"',
        'colours.none = "red"',
        "observe.enabled = true",
        "retention.usage_days = 0",
        "retention.sessions_days = 0",
        "retention.lost_evidence_days = 0",
        "retention.offline_lists_days = 0",
        "retention.history_days = 0",
        "retention.events_days = 0",
        "retention.ledger_days = 1096",
        'division.330521.rules.operator_age = "warn"',
        f'enterprise.{FIRM}.rules.operator_age = "warn"',
    ],
)
def test_the_hash_changes_with_whatever_is_said(changed: str) -> None:
    assert policy_hash(parse(changed)) != policy_hash(Policy())


def test_the_hash_of_the_default_policy_changes_only_on_purpose() -> None:
    """Recorded decisions name this hash. A new default or a new section makes a new one: say so in the changelog."""
    assert policy_hash(Policy()) == "46af65f2064135055d09d833cfec53aa5d07581670f633e73219f83c46700890"
    assert re.fullmatch("[0-9a-f]{64}", policy_hash(Policy()))


@given(policies)
def test_a_stored_document_reads_back_as_the_same_policy(policy: Policy) -> None:
    again = from_document(document(policy))
    assert again == policy
    assert policy_hash(again) == policy_hash(policy) == Rulebook(policy).hash


# --- what is refused --------------------------------------------------------------------------------------------

BAD = [
    # text, line, what the message has to name
    ("[lease]\nlease_s = \n", 2, "TOML"),
    ("[lease\nlease_s = 900\n", 1, "TOML"),
    ("[lease]\n\n\nlease_s = 900\nlease_s = 901\n", 5, "TOML"),
    ("version = 'a\n", 1, "TOML"),
    ("[lease]\nlease = 900\n", 2, "lease"),
    ("[leases]\nlease_s = 900\n", 1, "leases"),
    ("typo = 1\n", 1, "typo"),
    ("[lease]\nidle_lock_s = 900\nlease_s = 'long'\n", 3, "lease_s"),
    ("[lease]\nlease_s = 0\n", 2, "lease_s"),
    ("[lease]\nlease_s = -900\n", 2, "lease_s"),
    ("[lease]\nlease_s = 900.0\n", 2, "lease_s"),
    ("[lease]\nlease_s = 1\n", 2, "use 30 or more"),
    ("[lease]\nlease_s = 29\n", 2, "chips report every 10 s"),
    ("[lease]\nlease_s = true\n", 2, "lease_s"),
    ("[lease]\nlease_s = 2592001\n", 2, "lease_s"),
    ("[lease]\nstart_by_s = 31\n", 2, "start_by_s"),
    ("[lease]\nstart_by_s = 0\n", 2, "start_by_s"),
    ("[lease]\nidle_lock_s = 0\n", 2, "idle_lock_s"),
    ("[lease]\ndrain_deadline_s = '2 min'\n", 2, "drain_deadline_s"),
    ("[requests]\nmax_age_s = 0\n", 2, "max_age_s"),
    ("[requests]\nmax_age_s = nan\n", 2, "max_age_s"),
    ("[requests]\nanswer_within_s = 31\n", 2, "answer_within_s"),
    ("[lease]\nlease_s = 60\n\n[registry]\nmax_age_s = 'a week'\n", 5, "max_age_s"),
    ("[registry.sources]\nfirms = 60\npermits = 0\n", 3, "permits"),
    ("[registry]\nsources = 'permits'\n", 2, "sources"),
    ("[permits]\nspecial_hours = 0\n", 2, "special_hours"),
    ("[permits]\ngrade_2_hours = 721\n", 2, "grade_2_hours"),
    ("[permits]\ngrade_3_hours = 8\n", 2, "grade_3_hours"),
    ("[permits]\nguardian_required = 'yes'\n", 2, "guardian_required"),
    ("[credentials]\nkinds = 'badge'\n", 2, "kinds"),
    ("[credentials]\nkinds = ['face']\n", 2, "kinds"),
    ("[offline]\nfor_s = -1\n", 2, "for_s"),
    ("[offline]\nfor_s = 604801\n", 2, "for_s"),
    ("[offline]\noperators = 41\n", 2, "operators"),
    ("[offline]\noperators = 0\n", 2, "operators"),
    ("[offline]\nrecent_days = 367\n", 2, "recent_days"),
    ("[offline]\nlease_s = 0\n", 2, "lease_s"),
    ("[offline]\nenabled = true\n", 2, "enabled"),
    ("[hours]\nfrom = '25:00'\n", 2, "from"),
    ("[hours]\nfrom = '8:00'\n", 2, "from"),
    ("[hours]\nuntil = '24:01'\n", 2, "until"),
    ("[hours]\nfrom = 08:00:00\n", 2, "from"),
    ('[hours]\nuntil = "06:30\\n"\n', 2, "until"),
    ("[hours]\nstart = '08:00'\n", 2, "start"),
    ("[age]\nmin_years = 13\n", 2, "min_years"),
    ("[age]\nmax_years = 101\n", 2, "max_years"),
    ("[age]\nmax_years = 20\nmin_years = 21\n", 3, "min_years"),
    ("[colours]\nsoon_days = 367\n", 2, "soon_days"),
    ("[colours]\nsoon_days = -1\n", 2, "soon_days"),
    ("[colours]\nnone = 'green'\n", 2, "none"),
    ("[colours]\nred = 'barred'\n", 2, "red"),
    ("[division.330521]\ncolours = {soon_days = 1}\n", 2, "colours"),
    ("[observe]\nenabled = 'yes'\n", 2, "enabled"),
    ("[observe]\nenabled = 1\n", 2, "enabled"),
    ("[retention]\nusage_days = -1\n", 2, "usage_days"),
    ("[retention]\nledger_days = 36526\n", 2, "ledger_days"),
    ("[retention]\nledger = 30\n", 2, "ledger"),
    ("[retention]\nsessions_days = 29\n", 2, "recent_days"),
    ("[rules]\noperator_aged = 'off'\n", 2, "operator_aged"),
    ("[rules]\noperator_age = 'maybe'\n", 2, "maybe"),
    ("[rules]\noperator_age = 'Enforce'\n", 2, "Enforce"),
    ("[rules]\noperator_age = true\n", 2, "operator_age"),
    ("[rules]\noperator_blocked = 'warn'\nrequest_stale = 'warn'\n", 3, "request_stale"),
    ("[rules]\noverloaded = 'off'\n", 2, "overloaded"),
    ("[rules]\ninternal_error = 'off'\n", 2, "internal_error"),
    ("[grace]\ncertificate_expired = 367\n", 2, "367"),
    ("[grace]\ncertificate_expired = -1\n", 2, "-1"),
    ("[grace]\ncertificate_expired = 1.5\n", 2, "certificate_expired"),
    ("[grace]\ncertificate_revoked = 1\n", 2, "certificate_revoked"),
    ("version = 2\n", 1, "version"),
    ("rules = 'all'\n", 1, "rules"),
    ("\n[division.33052.rules]\noperator_age = 'off'\n", 2, "33052"),
    ("[division.33052X.rules]\noperator_age = 'off'\n", 1, "33052X"),
    ("[division.330521.rules]\noperator_blocked = 'off'\noperator_age = 'perhaps'\n", 3, "perhaps"),
    ("[division.330521.rules]\nrequest_malformed = 'warn'\n", 2, "request_malformed"),
    ("[division.330521.grace]\ncertificate_expired = 1000\n", 2, "1000"),
    ("[division.330521]\nlease = {lease_s = 1}\n", 2, "lease"),
    ("[division.330521.observe]\nenabled = 'no'\n", 2, "enabled"),
    ("[enterprise.9133.rules]\noperator_age = 'off'\n", 1, "9133"),
    (f"[enterprise.{FIRM.lower()}.rules]\noperator_age = 'off'\n", 1, FIRM.lower()),
    (f"[enterprise.{FIRM}.rules]\n\n\noperator_agee = 'off'\n", 4, "operator_agee"),
    (f"[enterprise.{FIRM}]\nrule.operator_age = 'off'\n", 2, "rule"),
    (
        f"[enterprise.{FIRM}.rules]\noperator_age = 'off'\n[enterprise.{OTHER_FIRM}]\nrule.operator_age = 'off'\n",
        4,
        "rule",
    ),
    ("[division.330521.observe]\nenabled = true\n[division.330522.observe]\nenabled = 'no'\n", 4, "330522"),
    ("[rules]\noperator_age = 'off'\noperator_blocked = 7\n", 3, "operator_blocked"),
    (
        "[division.330521.grace]\ncertificate_expired = 1\ncertificate_review_overdue = 'x'\n",
        3,
        "certificate_review_overdue",
    ),
    (f"[rules]\noperator_age = 'off'\n[enterprise.{FIRM}.rules]\noperator_age = 'of'\n", 4, "'of'"),
]


@pytest.mark.parametrize(("text", "line", "named"), BAD, ids=[text.replace("\n", "⏎") for text, _, _ in BAD])
def test_a_policy_that_cannot_hold_is_refused_with_line_and_reason(text: str, line: int, named: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(text, "county.toml")
    message = str(refused.value)
    assert message.startswith("county.toml")
    assert named in message
    assert f"line {line}" in message
    assert "\n" not in message


@given(st.text(max_size=200) | st.text("[]='\"#.\n abclrs_e019", max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    with contextlib.suppress(PolicyError):
        assert isinstance(parse(text), Policy)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), min_size=1), st.sampled_from(["rules", "division"]))
def test_no_code_and_no_division_is_taken_that_is_none(entries: dict[str, str], section: str) -> None:
    lines = "".join(f"{_quoted(key)} = {_quoted(value)}\n" for key, value in entries.items())
    known = section == "rules" and all(key in REASONS and value in MODES for key, value in entries.items())
    if not known:
        with pytest.raises(PolicyError):
            parse(f"[{section}]\n{lines}")


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}" for c in text) + '"'


def test_an_override_speaks_of_rules_grace_and_observing_alone() -> None:
    assert Scope.__struct_fields__ == ("rules", "grace", "observe")


def test_grace_is_for_what_runs_out() -> None:
    assert GRACE_CODES == ("certificate_expired", "certificate_review_overdue")
