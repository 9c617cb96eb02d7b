"""The commands of authorised people as they are met on the command line, on a real database."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.operator import codes
from gateway.clock import now_ms
from gateway.core.credential import genuine, make_code, mask, read_code, step_at
from gateway.core.model import Event
from gateway.core.rules import completed_years, local_time
from gateway.gate.entry import EventBody
from gateway.keys import open_code_keys, open_keys
from gateway.registry.acts import when
from gateway.store.journal import CHIP_COLUMNS, USAGE_COLUMNS, Batch, Journal
from gateway.store.ledger import Draft
from gateway.store.prepared import Row
from gateway.wire.codec import encode
from tests.controls.conftest import Office
from tests.service import county
from tests.store.databases import decision, session
from tests.support.gateway import weldgate

WANG = ("--by", "Wang An", "--reason", "it leaks, 漏电")
NOW = now_ms()
MINUTE_MS = 60_000


def write(office: Office, **batch: Any) -> None:
    """What a gateway would have written."""
    journal = Journal(office.engine.dialect, open_keys(office.keys).signer())
    with office.engine.connect() as connection:
        journal.commit(connection, Batch(**batch))


def running(number: int, **different: Any) -> Row:
    """A session of the welder at the machine of this number, granted so many minutes ago."""
    granted = NOW - number * MINUTE_MS
    times = {"granted_at": granted, "leased_at": granted, "lease_until": granted + 900_000}
    about = times | {"unlocked_at": granted + 1000} | different
    return session(f"session-{number}", county.machine(number), county.welder(number), **about)


def usage(number: int, **different: Any) -> Row:
    values = {
        "session_id": f"session-{number}",
        "machine_id": county.machine(number),
        "seq": 7,
        "received_at": NOW,
        "at": NOW,
        "relay": "closed",
        "enabled_s": 70,
        "arc_s": 42,
        "idle_s": 28,
        "arcs": 9,
        "energy_wh": 310.5,
        "current_a": 118.0,
        "voltage_v": 24.1,
        "final": False,
    }
    return tuple((values | different)[name] for name in USAGE_COLUMNS)


# --- machine ----------------------------------------------------------------------------------------------------


def test_a_machine_is_locked_and_released_with_who_and_why(office: Office) -> None:
    (said,) = office.does("machine", "lock", "HJ-0001", *WANG)
    assert said.startswith("已锁定 locked  HJ-0001  ")
    assert "Wang An: it leaks, 漏电" in said
    assert "锁定 hold          已锁定 locked" in "\n".join(office.does("machine", "show", "HJ-0001"))
    (said,) = office.does("machine", "unlock", "HJ-0001", *WANG)
    assert said.startswith("已解除 released  HJ-0001  ")
    assert "锁定 hold          未锁定 not held" in office.does("machine", "show", "HJ-0001")


@pytest.mark.parametrize("typed", ["hj-0001", " HJ-0001 ", "ＨＪ－０００１"])
def test_a_machine_is_known_however_its_number_is_typed(office: Office, typed: str) -> None:
    assert "  HJ-0001  " in office.does("machine", "out-of-service", typed, *WANG)[0]


@pytest.mark.parametrize("order", ["lock", "out-of-service", "unlock"])
def test_an_order_about_a_machine_that_is_not_registered_is_refused(office: Office, order: str) -> None:
    said = office.refuses("machine", order, "HJ-9999", *WANG)
    assert "machine = 'HJ-9999': no machine of this number is registered; compare it with the machine's label" in said


def test_orders_that_change_nothing_are_refused_and_say_what_holds(office: Office) -> None:
    assert "is neither locked nor out of service" in office.refuses("machine", "unlock", "HJ-0001", *WANG)
    office.does("machine", "out-of-service", "HJ-0001", *WANG)
    said = office.refuses("machine", "lock", "HJ-0001", "--by", "Li Bo", "--reason", "also leaks")
    assert "HJ-0001: is out of service already, since" in said
    assert "by Wang An (it leaks, 漏电); nothing was changed" in said


@pytest.mark.parametrize("missing", ["--by", "--reason"])
def test_nobody_orders_anything_without_a_name_and_a_reason(office: Office, missing: str) -> None:
    words = dict(zip(WANG[::2], WANG[1::2], strict=True))
    del words[missing]
    done = office.run("machine", "lock", "HJ-0001", *(word for pair in words.items() for word in pair))
    assert done.returncode == 2
    assert missing in done.stderr
    assert office.records() == 1, "the import alone"


def test_a_personal_number_in_place_of_a_machine_or_a_person_is_not_repeated(office: Office) -> None:
    number = county.id_number(1)
    for command in (("machine", "show"), ("operator", "show")):
        said = office.refuses(*command, number)
        assert number not in said
        assert number[-4:] in said


def test_a_machine_shows_everything_that_is_known_of_it(office: Office) -> None:
    event = Event("evt-00000001", 12, "tamper", NOW, "session-1", "housing opened")
    judged = EventBody(None, encode(event).decode(), None, (9, 11))
    chip: Row = ("HJ-0001", NOW, False, "WG-1", "2.0.1", "closed", "challenge-1", NOW)
    assert len(chip) == len(CHIP_COLUMNS)
    write(
        office,
        drafts=[
            decision("request-0001", at=NOW - 2000),
            decision("request-0002", outcome="allow", at=NOW - 1000),
            Draft("event", NOW, encode(judged), "HJ-0001", "evt-00000001"),
        ],
        opened=[running(1)],
        usage=[usage(1)],
        chips=[chip],
        lost=[("HJ-0001", NOW, 9, 11), ("HJ-0001", NOW + 1, 13, None)],
    )
    lines = office.does("machine", "show", "HJ-0001")
    shown = "\n".join(lines)
    assert lines[0] == "设备 machine       HJ-0001  fusion  active  division 330521  一号车间"
    assert f"企业 firm          {county.FIRM}  样例企业  active" in lines
    assert "registered WG-1, reported WG-1  离线 offline, 最后上报 last heard" in shown
    assert f"session-1  welding  {mask('P0001')}  自 since {when(NOW - MINUTE_MS)}" in shown
    assert f"租约至 lease until {when(NOW - MINUTE_MS + 900_000)}" in shown
    assert f"  {when(NOW - 1000)}  允许 allowed  P0***23  request-0002" in lines
    refused = lines.index(f"  {when(NOW - 2000)}  拒绝 refused  P0***23  request-0001")
    assert "✗ operator_blocked: 本人已被禁止作业。 You are barred from working." in lines[refused + 1]
    assert lines.index(f"  {when(NOW - 1000)}  允许 allowed  P0***23  request-0002") < refused
    assert "事件 events 9-11 未收到 never received" in shown
    assert "编号自 13 起重新开始 numbers began anew where 13 was due" in shown
    assert f"  {when(NOW)}  #12 tamper  session-1 housing opened" in lines
    assert "P0001" not in shown


def test_a_machine_shows_its_offline_list(office: Office) -> None:
    until = NOW // 1000 + 7200
    with office.engine.begin() as connection:
        names = [row[1] for row in connection.exec_driver_sql("PRAGMA table_info(offline_lists)")]
        values: dict[str, Any] = {
            "machine_id": "HJ-0001",
            "list_version": 3,
            "at": NOW,
            "offline_for_s": 3600,
            "lease_s": 900,
            "entries": json.dumps([["P0001", until - 60], ["P0002", until]]).encode(),
        }
        row = tuple(values[name] for name in names)
        connection.exec_driver_sql(f"INSERT INTO offline_lists VALUES ({', '.join('?' * len(row))})", row)
    shown = "\n".join(office.does("machine", "show", "HJ-0001"))
    assert f"version 3  {when(NOW)}  2 人 people, 至 until {when(until * 1000)}" in shown
    assert "usable for 3600 s without connection" in shown


def test_a_machine_of_which_nothing_is_known_shows_as_much(office: Office) -> None:
    lines = office.does("machine", "show", "HJ-NO-FIRM")
    assert f"企业 firm          {county.UNREGISTERED}  —  未登记 not registered" in lines
    assert "锁具 chip          registered —  从未上报 never reported" in lines
    assert "会话 session       无 none" in lines
    assert "离线名单 offline   无 none" in lines


# --- session ----------------------------------------------------------------------------------------------------


@pytest.fixture
def with_sessions(office: Office) -> Office:
    """Five sessions, one in each state, the lowest number granted last; and one that ended."""
    over = {"ended_at": NOW, "end_reason": "operator"}
    write(
        office,
        opened=[
            running(1, unlocked_at=None),
            running(2),
            running(3),
            running(4),
            running(5, drained_at=NOW, drain_reason="revoked"),
            running(6, **over, division="330522"),
        ],
        usage=[usage(3), usage(4, current_a=0.0), usage(6, final=True)],
    )
    return office


def test_open_sessions_are_listed_with_their_state_the_latest_first(with_sessions: Office) -> None:
    header, *lines = with_sessions.does("session", "list")
    assert [title for title in header.split() if title.isascii()][:3] == ["state", "machine", "operator"]
    assert [line.split()[:3] for line in lines] == [
        ["granted", "HJ-0001", "P0001"],
        ["unlocked", "HJ-0002", "P0002"],
        ["welding", "HJ-0003", "P0003"],
        ["idle", "HJ-0004", "P0004"],
        ["draining", "HJ-0005", "P0005"],
    ]
    assert [line.split()[-1] for line in lines] == [f"session-{number}" for number in range(1, 6)]
    assert "revoked" in lines[4]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--all",), [1, 2, 3, 4, 5, 6]),
        (("--ended",), [6]),
        (("--machine", "HJ-0003"), [3]),
        (("--operator", "P0004"), [4]),
        (("--operator", "P0004", "--machine", "HJ-0003"), []),
        (("--division", "330522"), []),
        (("--division", "330522", "--all"), [6]),
        (("--limit", "2"), [1, 2]),
    ],
)
def test_sessions_are_chosen(with_sessions: Office, options: tuple[str, ...], found: list[int]) -> None:
    lines = with_sessions.does("session", "list", *options)[1:]
    assert [line.split()[-1] for line in lines] == [f"session-{number}" for number in found]


def test_where_there_are_more_sessions_than_shown_somebody_says_so(with_sessions: Office) -> None:
    assert "there are more than 2" in with_sessions.run("session", "list", "--limit", "2").stderr
    assert with_sessions.run("session", "list", "--limit", "5").stderr == ""


def test_sessions_as_json_are_one_object_a_line(with_sessions: Office) -> None:
    lines = [json.loads(line) for line in with_sessions.does("session", "list", "--json", "--all")]
    assert [line["state"] for line in lines] == ["granted", "unlocked", "welding", "idle", "draining", "ended"]
    assert (lines[2]["operator_id"], lines[2]["arc_s"], lines[2]["current_a"]) == ("P0003", 42, 118.0)
    assert (lines[5]["end_reason"], lines[5]["ended_at"]) == ("operator", NOW)


def test_all_and_ended_are_not_asked_for_together(with_sessions: Office) -> None:
    assert "--all, --ended: give one of them" in with_sessions.refuses("session", "list", "--all", "--ended")


def test_only_an_open_session_is_ended_and_only_once(with_sessions: Office) -> None:
    (said,) = with_sessions.does("session", "end", "session-3", *WANG)
    assert "session is being ended  session-3  HJ-0003" in said
    assert "session-3: its end is ordered already" in with_sessions.refuses("session", "end", "session-3", *WANG)
    said = with_sessions.refuses("session", "end", "session-6", *WANG)
    assert f"session-6: ended at {when(NOW)} (operator)" in said
    assert "session = 'session-7': there is no such session" in with_sessions.refuses(
        "session", "end", "session-7", *WANG
    )


# --- override ---------------------------------------------------------------------------------------------------

ASK = ("override", "ask", "P0001", "HJ-0001", "--code", "operator_not_employed", "--minutes", "30")


def test_two_people_make_an_override(office: Office) -> None:
    override_id, *said = office.does(*ASK, *WANG)
    assert f"weldgate override approve {override_id}" in said[-1]
    listed = office.does("override", "list", "--active")
    assert listed[1].startswith(f"待批准 asked  {override_id}  P0001")
    (said_so,) = office.does("override", "approve", override_id, "--by", "Li Bo")
    assert said_so.startswith(f"已批准 approved  {override_id}  P0001 at HJ-0001, operator_not_employed  至 until ")
    assert office.does("override", "list", "--active")[1].startswith(f"有效 in force  {override_id}")
    (ended,) = office.does("override", "end", override_id, *WANG)
    assert ended.startswith(f"已终止 ended  {override_id}")
    assert office.does("override", "list", "--active")[1] == "共 overrides 0: 无 none; 使用 used 0"
    assert office.does("override", "list")[1].startswith(f"已终止 ended  {override_id}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"P0001": "P-NOBODY"}, "operator = 'P-NOBODY': nobody of this number is registered"),
        ({"HJ-0001": "HJ-9999"}, "machine = 'HJ-9999': no machine of this number"),
        ({"operator_not_employed": "certificate_expired"}, "code = certificate_expired: nobody may override it"),
        ({"operator_not_employed": "nonsense"}, "code = 'nonsense': there is no such reason"),
        ({"30": "0"}, "minutes = 0: use 1 to 60"),
        ({"30": "61"}, "minutes = 61: use 1 to 60"),
        ({"Wang An": "p0001"}, "by = 'p0001': is the operator"),
        ({"Wang An": "样例甲"}, "by = '样例甲': is the operator"),
        ({"it leaks, 漏电": "ok"}, "reason = 'ok': say in a few words why"),
    ],
)
def test_an_override_that_may_not_be_is_not_asked_for(office: Office, change: dict[str, str], says: str) -> None:
    assert says in office.refuses(*(change.get(word, word) for word in (*ASK, *WANG)))


def test_an_override_is_not_approved_by_who_must_not(office: Office) -> None:
    override_id = office.does(*ASK, "--code", "certificate_unverified", *WANG)[0]
    approve = ("override", "approve", override_id)
    assert "asked for it; a second person has to approve" in office.refuses(*approve, "--by", " wang an ")
    assert "is the operator whom" in office.refuses(*approve, "--by", "P0001")
    assert "certificate_unverified only a regulator lets pass; use --level regulator" in office.refuses(
        *approve, "--by", "Li Bo"
    )
    office.does(*approve, "--by", "Li Bo", "--level", "regulator")
    assert "is approved already and in force" in office.refuses(*approve, "--by", "Zhao", "--level", "regulator")


def test_overrides_are_counted_by_firm_machine_and_person(office: Office) -> None:
    for operator, machine in (
        ("P0001", "HJ-0001"),
        ("P0001", "HJ-0002"),
        ("P0002", "HJ-0002"),
        ("P0003", "HJ-STOPPED"),
    ):
        office.does("override", "ask", operator, machine, *ASK[4:], *WANG)
    lines = office.does("override", "list")
    assert lines[-4:] == [
        "共 overrides 4: 待批准 asked 4; 使用 used 0",
        f"按企业 by firm: {county.FIRM} 3, {county.STOPPED} 1",
        "按设备 by machine: HJ-0002 2, HJ-STOPPED 1, HJ-0001 1",
        "按人员 by person: P0001 2, P0003 1, P0002 1",
    ]


def test_overrides_of_long_ago_are_shown_to_who_asks_for_them(office: Office) -> None:
    override_id = office.does(*ASK, *WANG)[0]
    with office.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE controls SET at = at - 40 * 86400000")
    assert override_id not in "\n".join(office.does("override", "list"))
    assert office.does("override", "list", "--since", "41")[1].startswith(f"未批准过期 lapsed  {override_id}")
    assert "--active, --since: give one of them" in office.refuses("override", "list", "--active", "--since", "3")


# --- operator ---------------------------------------------------------------------------------------------------


def with_keys(office: Office, *words: str) -> list[str]:
    return office.does("operator", "code", *words, "--keys", str(office.keys))


@pytest.fixture
def key(office: Office) -> bytes:
    return open_code_keys(office.keys)[0]


def test_a_code_is_genuine_and_says_until_when_it_is_taken(office: Office, key: bytes) -> None:
    text, until = with_keys(office, "P0001")
    code = read_code(text)
    assert code is not None
    assert code.operator_id == "P0001"
    assert genuine(code, [key])
    assert abs(code.step - step_at(now_ms())) <= 1
    begins = code.step * 30_000
    assert f"valid until {when(begins + 30_000)[11:]}, 最迟 taken until {when(begins + 60_000)[11:]}" in until


def test_a_code_as_qr_is_drawn_in_the_terminal(office: Office, key: bytes) -> None:
    text, *picture, until = with_keys(office, "P0001", "--qr")
    assert read_code(text) is not None
    assert len(picture) >= 15
    assert {len(line) for line in picture} == {len(picture[0])}
    assert "▀" in "".join(picture)
    assert "valid until" in until


def test_watching_shows_each_next_code_when_its_time_begins() -> None:
    clock = [NOW - NOW % 30_000 + 29_000]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += round(seconds * 1000)

    shown = codes(b"k" * 32, "P0001", lambda: clock[0], wait)
    step = step_at(clock[0])
    assert [next(shown).code for _ in range(3)] == [make_code(b"k" * 32, "P0001", step + later) for later in range(3)]
    assert waited == [1.0, 30.0]


def test_nobody_gets_a_code_who_is_not_registered(office: Office, key: bytes) -> None:
    said = office.refuses("operator", "code", "P-NOBODY", "--keys", str(office.keys))
    assert "operator = 'P-NOBODY': nobody of this number is registered; compare it with the badge" in said


def test_no_secret_is_made_where_the_gateway_has_none(office: Office, tmp_path: Path) -> None:
    """Its codes would be refused, and nobody would know why."""
    said = office.refuses("operator", "code", "P0001", "--keys", str(tmp_path / "elsewhere"))
    assert "there is no codes.json; name the folder of the gateway's keys" in said
    assert not (tmp_path / "elsewhere").exists()


def test_a_new_secret_makes_other_codes_and_the_old_ones_stay_genuine(office: Office, tmp_path: Path) -> None:
    keys = tmp_path / "own-keys"
    before = open_code_keys(keys)
    assert weldgate("keys", "rotate-codes", "--keys", str(keys)).returncode == 0
    after = open_code_keys(keys)
    assert after[1:] == before
    assert after[0] not in before
    text = office.does("operator", "code", "P0001", "--keys", str(keys))[0]
    code = read_code(text)
    assert code is not None
    assert genuine(code, after[:1])
    assert (keys / "codes.json").stat().st_mode & 0o077 == 0


def test_a_person_shows_as_the_registry_has_them_without_personal_numbers(office: Office) -> None:
    write(office, opened=[running(1)])
    override_id = office.does(*ASK, *WANG)[0]
    lines = office.does("operator", "show", "P0001")
    shown = "\n".join(lines)
    age = completed_years(date(1985, 6, 7), local_time(NOW).date())
    assert lines[0] == f"人员 operator      P0001  样**  active  年龄 age {age}"
    assert "身份证 ID number 有 yes  手机 phone 有 yes" in lines[1]
    assert f"{county.FIRM}  样例企业  " in lines[2]
    assert "至今 until now" in lines[2]
    assert "-f  ***************" in lines[3]
    assert "fusion" in lines[3]
    assert "valid  verified" in lines[3]
    assert f"session-1  HJ-0001  unlocked  自 since {when(NOW - MINUTE_MS)}" in lines[4]
    assert f"{override_id}  asked  HJ-0001  operator_not_employed" in lines[5]
    assert lines[6].startswith("四色码 colour      蓝 blue  自 from ")
    assert lines[6].endswith("起为 on: 黄 yellow")
    for personal in (county.id_number(1), county.id_number(1)[:14], "12900000001", "样例甲"):
        assert personal not in shown


def test_a_person_who_is_not_registered_is_not_shown(office: Office) -> None:
    assert "operator = 'P-NOBODY': nobody of this number" in office.refuses("operator", "show", "P-NOBODY")


# --- the database -----------------------------------------------------------------------------------------------

COMMANDS = (
    ("machine", "lock", "HJ-0001", *WANG),
    ("machine", "show", "HJ-0001"),
    ("session", "list"),
    ("session", "end", "session-1", *WANG),
    (*ASK, *WANG),
    ("override", "list"),
    ("operator", "show", "P0001"),
    ("enterprise", "show", county.FIRM),
    ("enterprise", "expiring"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_database_that_is_not_there_or_not_ours_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "empty.db").touch()
    for name, says in (("missing.db", "there is no file"), ("empty.db", "no such table")):
        done = weldgate(*command, "--database", f"sqlite:///{tmp_path / name}")
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "missing.db").exists()
