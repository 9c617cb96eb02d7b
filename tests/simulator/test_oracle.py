"""The oracle: what the registry files say, as a table that a regulator could check; and what sessions add."""

from datetime import date
from pathlib import Path

import pytest

from simulator.oracle import Question, county_day, registry_codes
from simulator.registry import Registry, RegistryFileError, birth_date, load
from simulator.sessions import LEASE_MARGIN_MS, OVER_MARGIN_MS, SETTLE_MS, Asking, Codes, Seen, Sessions

TODAY = date(2026, 6, 15)

ENTERPRISES = """uscc,name,division,status
F-GOOD,样例企业,990001,active
F-STOPPED,样例企业,990001,production_suspended
F-UNLICENSED,样例企业,990001,licence_suspended
F-CLOSED,样例企业,990001,closed
"""
MACHINES = """machine_id,chip,uscc,process,division,location,status
HJ-GOOD,C1,F-GOOD,fusion,990001,,active
HJ-NOCHIP,,F-GOOD,fusion,990001,,active
HJ-SUSPENDED,C1,F-GOOD,fusion,990001,,suspended
HJ-SCRAP,C1,F-GOOD,fusion,990001,,decommissioned
HJ-PRESSURE,C1,F-GOOD,pressure,990001,,active
HJ-STOPPED,C1,F-STOPPED,fusion,990001,,active
HJ-UNLICENSED,C1,F-UNLICENSED,fusion,990001,,active
HJ-CLOSED,C1,F-CLOSED,fusion,990001,,active
HJ-NOFIRM,C1,F-NOWHERE,fusion,990001,,active
"""
OPERATORS = """operator_id,name,id_number,phone,status
P-GOOD,样例,990000199001010017,,active
P-BLOCKED,样例,990000199001010017,,blocked
P-17,样例,990000200806160017,,active
P-18,样例,990000200806150017,,active
P-63,样例,990000196206160017,,active
P-64,样例,990000196206150017,,active
P-NOBIRTH,样例,,,active
P-ENDED,样例,990000199001010017,,active
P-LASTDAY,样例,990000199001010017,,active
P-TOMORROW,样例,990000199001010017,,active
P-ELSEWHERE,样例,990000199001010017,,active
P-BACK,样例,990000199001010017,,active
P-NOCERT,样例,990000199001010017,,active
P-CERTS,样例,990000199001010017,,active
"""
EMPLOYMENTS = """operator_id,uscc,from,until
P-GOOD,F-GOOD,2020-01-01,
P-GOOD,F-STOPPED,2020-01-01,
P-GOOD,F-UNLICENSED,2020-01-01,
P-GOOD,F-CLOSED,,
P-BLOCKED,F-GOOD,,
P-17,F-GOOD,,
P-18,F-GOOD,,
P-63,F-GOOD,,
P-64,F-GOOD,,
P-NOBIRTH,F-GOOD,,
P-ENDED,F-GOOD,2020-01-01,2026-06-14
P-LASTDAY,F-GOOD,2020/1/1,2026/6/15
P-TOMORROW,F-GOOD,2026-06-16,
P-ELSEWHERE,F-STOPPED,,
P-BACK,F-GOOD,2019-01-01,2020-01-01
P-BACK,F-GOOD,2026-06-15,
P-NOCERT,F-GOOD,,
P-CERTS,F-GOOD,,
P-GONE,F-GOOD,,
"""
CERTIFICATE_HEADER = (
    "number,operator_id,category,item,issued_on,valid_from,valid_until,review_due,reviewed_on,authority,status,"
    "verification\n"
)
GOOD_CERTIFICATE = "T1,{person},,fusion,2022-01-01,2022-01-01,2027-12-31,,,,valid,verified\n"
CERTIFIED = [line.split(",")[0] for line in OPERATORS.splitlines()[1:] if "CERT" not in line]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_with(tmp_path, "")


def registry_with(folder: Path, certificates: str) -> Registry:
    good = "".join(GOOD_CERTIFICATE.format(person=person) for person in [*CERTIFIED, "P-GONE"])
    texts = {
        "enterprises": ENTERPRISES,
        "machines": MACHINES,
        "operators": OPERATORS,
        "employments": EMPLOYMENTS,
        "certificates": CERTIFICATE_HEADER + good + certificates,
    }
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text("\ufeff" + text, encoding="utf-8")
    return load(folder)


CASES = (
    # machine         scanned text     codes
    ("HJ-GOOD", "P-GOOD", ""),
    ("HJ-NOCHIP", "P-GOOD", ""),
    ("HJ-UNKNOWN", "P-GOOD", "machine_unknown"),
    ("HJ-UNKNOWN", "", "machine_unknown"),
    ("HJ-SUSPENDED", "P-GOOD", "machine_suspended"),
    ("HJ-SCRAP", "P-GOOD", "machine_decommissioned"),
    ("HJ-STOPPED", "P-GOOD", "enterprise_production_suspended"),
    ("HJ-UNLICENSED", "P-GOOD", "enterprise_licence_suspended"),
    ("HJ-CLOSED", "P-GOOD", "enterprise_closed"),
    ("HJ-NOFIRM", "P-GOOD", "enterprise_unknown"),
    ("HJ-GOOD", "", "credential_malformed"),
    ("HJ-GOOD", "P" * 256, "credential_unknown"),
    ("HJ-GOOD", "P" * 257, "credential_malformed"),
    ("HJ-GOOD", "P-GOOD\n", "credential_malformed"),
    ("HJ-GOOD", "p-good", "credential_unknown"),
    ("HJ-CLOSED", "NOBODY", "credential_unknown enterprise_closed"),
    ("HJ-GOOD", "P-GONE", "operator_unknown"),
    ("HJ-GOOD", "P-BLOCKED", "operator_blocked"),
    ("HJ-GOOD", "P-17", "operator_age"),
    ("HJ-GOOD", "P-18", ""),
    ("HJ-GOOD", "P-63", ""),
    ("HJ-GOOD", "P-64", "operator_age"),
    ("HJ-GOOD", "P-NOBIRTH", ""),
    ("HJ-GOOD", "P-ENDED", "employment_ended"),
    ("HJ-GOOD", "P-LASTDAY", ""),
    ("HJ-GOOD", "P-TOMORROW", "operator_not_employed"),
    ("HJ-GOOD", "P-ELSEWHERE", "operator_not_employed"),
    ("HJ-GOOD", "P-BACK", ""),
    ("HJ-GOOD", "P-NOCERT", "certificate_missing"),
    ("HJ-PRESSURE", "P-GOOD", "certificate_wrong_item"),
    ("HJ-SCRAP", "P-NOCERT", "certificate_missing machine_decommissioned"),
)


@pytest.mark.parametrize(("machine_id", "text", "codes"), CASES)
def test_the_files_say(registry: Registry, machine_id: str, text: str, codes: str) -> None:
    assert registry_codes(registry, Question(machine_id, text, "C1"), TODAY) == set(codes.split())


def test_a_chip_that_is_not_the_registered_one(registry: Registry) -> None:
    assert registry_codes(registry, Question("HJ-GOOD", "P-GOOD", "C2"), TODAY) == {"chip_mismatch"}
    assert registry_codes(registry, Question("HJ-GOOD", "P-GOOD", None), TODAY) == set()
    assert registry_codes(registry, Question("HJ-NOCHIP", "P-GOOD", "C2"), TODAY) == set()


CERTIFICATES = (
    # item      issued      from        until       review_due  reviewed_on  status     verification  codes
    ("fusion", "2022-01-01", "", "2026-06-15", "", "", "valid", "verified", ""),
    ("fusion", "2022-01-01", "", "2026-06-14", "", "", "valid", "verified", "certificate_expired"),
    ("fusion", "2026-06-16", "", "2030-01-01", "", "", "valid", "verified", "certificate_not_yet_valid"),
    ("fusion", "2026-06-16", "2026-06-15", "2030-01-01", "", "", "valid", "verified", ""),
    ("fusion", "", "", "2030-01-01", "2026-06-15", "", "valid", "verified", ""),
    ("fusion", "", "", "2030-01-01", "2026-06-14", "", "valid", "verified", "certificate_review_overdue"),
    ("fusion", "", "", "2030-01-01", "2026-06-14", "2026-06-01", "valid", "verified", ""),
    ("fusion", "", "", "2030-01-01", "2026-06-14", "2024-12-13", "valid", "verified", ""),
    ("fusion", "", "", "2030-01-01", "2026-06-14", "2024-12-12", "valid", "verified", "certificate_review_overdue"),
    ("fusion", "", "", "2030-01-01", "2026-06-14", "2026-06-16", "valid", "verified", "certificate_review_overdue"),
    ("fusion", "", "", "2030-01-01", "", "", "suspended", "verified", "certificate_suspended"),
    ("fusion", "", "", "2030-01-01", "", "", "revoked", "verified", "certificate_revoked"),
    ("fusion", "", "", "2030-01-01", "", "", "valid", "counterfeit", "certificate_counterfeit"),
    ("fusion", "", "", "2030-01-01", "", "", "valid", "", "certificate_unverified"),
    ("brazing", "", "", "2020-01-01", "", "", "valid", "verified", "certificate_expired certificate_wrong_item"),
)


@pytest.mark.parametrize("row", CERTIFICATES, ids=lambda row: " ".join(filter(None, row)))
def test_one_certificate(tmp_path: Path, row: tuple[str, ...]) -> None:
    item, issued, begins, until, due, reviewed, status, verification, codes = row
    line = f"T9,P-CERTS,,{item},{issued},{begins},{until},{due},{reviewed},,{status},{verification}\n"
    registry = registry_with(tmp_path, line)
    assert registry_codes(registry, Question("HJ-GOOD", "P-CERTS", "C1"), TODAY) == set(codes.split())


SEVERAL = (
    # what                                     item, until, status of each                              codes
    ("one that passes is enough", "fusion 2020-01-01 valid; fusion 2030-01-01 valid", ""),
    ("the right item before any other", "brazing 2030-01-01 valid; fusion 2020-01-01 valid", "certificate_expired"),
    (
        "then the fewest failed",
        "fusion 2020-01-01 revoked; fusion 2019-01-01 valid",
        "certificate_expired",
    ),
    (
        "then the one valid longest",
        "fusion 2026-01-01 valid; fusion 2030-01-01 revoked",
        "certificate_revoked",
    ),
    ("a longer one for another item is not it", "fusion 2026-06-15 valid; pressure 2040-01-01 valid", ""),
)


@pytest.mark.parametrize(("what", "held", "codes"), SEVERAL, ids=[case[0] for case in SEVERAL])
def test_the_closest_certificate_decides(tmp_path: Path, what: str, held: str, codes: str) -> None:
    lines = ""
    for number, one in enumerate(held.split("; ")):
        item, until, status = one.split()
        lines += f"T{number},P-CERTS,,{item},,,{until},,,,{status},verified\n"
    registry = registry_with(tmp_path, lines)
    assert registry_codes(registry, Question("HJ-GOOD", "P-CERTS", "C1"), TODAY) == set(codes.split()), what


def test_the_day_is_the_countys() -> None:
    assert county_day(1_781_539_199_000) == date(2026, 6, 15)
    assert county_day(1_781_539_200_000) == date(2026, 6, 16)


def test_a_birth_date_comes_from_the_id_number_or_is_unknown() -> None:
    assert birth_date("990000199001010017") == date(1990, 1, 1)
    assert [birth_date(text) for text in ("", "990000900101001", "99000019901301001X")] == [None, None, None]


def test_a_bad_row_is_named_with_file_line_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(RegistryFileError, match=r"certificates\.csv, line 15: .*correct the row"):
        registry_with(tmp_path, "T9,P-CERTS,,plasma,,,2030-01-01,,,,valid,verified\n")
    with pytest.raises(RegistryFileError, match="--registry needs"):
        load(tmp_path / "nowhere")


# --- sessions ---------------------------------------------------------------------------------------------------

LEASE_MS = 900_000
OPERATOR, MACHINE = "operator_in_session", "machine_in_session"


def sessions_with_one() -> Sessions:
    """P1 let in at M1: asked at 1,000 ms, answered at 1,100 ms."""
    sessions = Sessions()
    sessions.opened(Seen("s1", "M1", "P1", 1_000, 1_100, 1_000 + LEASE_MS), 1_100)
    return sessions


CONFLICTS = (
    # who at which machine   code
    ("P1", "M1", None),
    ("P1", "M2", OPERATOR),
    ("P2", "M1", MACHINE),
    ("P2", "M2", None),
    (None, "M1", MACHINE),
    (None, "M2", None),
)


@pytest.mark.parametrize(("person", "machine_id", "code"), CONFLICTS)
def test_a_running_session_stands_in_the_way(person: str | None, machine_id: str, code: str | None) -> None:
    codes = sessions_with_one().codes("r2", machine_id, person, 2_000, 2_100)
    assert codes == Codes(frozenset({code} if code else ()))


SPANS = (
    # ended at  broker has it  asked   answered  must  may
    (None, None, 2_000, 2_100, True, False),
    (None, None, 1_050, 2_100, False, True),  # published before the first answer was here
    (3_000, None, 2_000, 2_900, True, False),
    (3_000, None, 2_000, 3_100, False, True),  # the end overtook the request, or not
    (3_000, 3_010, 3_020, 3_100, False, True),  # the gateway has it, or nearly
    (3_000, 3_010, 3_010 + SETTLE_MS, 5_000, False, False),
    (None, None, 1_000 + LEASE_MS, 1_000 + LEASE_MS, False, True),  # about when the lease ends
    (None, None, 1_000 + LEASE_MS + LEASE_MARGIN_MS, LEASE_MS + 9_000, False, True),  # an arc may outlast it
    (None, None, 1_000 + LEASE_MS + OVER_MARGIN_MS, LEASE_MS + OVER_MARGIN_MS + 9_000, False, False),
)


@pytest.mark.parametrize(("ended", "delivered", "asked", "answered", "must", "may"), SPANS)
def test_what_can_be_known_of_a_session(
    ended: int | None, delivered: int | None, asked: int, answered: int, must: bool, may: bool
) -> None:
    sessions = sessions_with_one()
    if ended is not None:
        sessions.ending("s1", ended)
    if delivered is not None:
        sessions.gone("s1", delivered)
    codes = sessions.codes("r2", "M1", "P2", asked, answered)
    assert (codes.must, codes.may) == (frozenset({MACHINE} if must else ()), frozenset({MACHINE} if may else ()))


def test_a_request_on_its_way_may_open_a_session_and_a_new_session_replaces_the_old() -> None:
    sessions = Sessions()
    sessions.asked(Asking("r1", "M1", "P1"))
    assert sessions.codes("r2", "M2", "P1", 0, 10) == Codes(frozenset(), frozenset({OPERATOR}))
    sessions.answered("r1")
    assert sessions.codes("r2", "M2", "P1", 0, 10) == Codes(frozenset())
    sessions = sessions_with_one()
    sessions.opened(Seen("s2", "M1", "P1", 5_000, 5_100, 5_000 + LEASE_MS), 5_100)
    sessions.ending("s2", 6_000)
    sessions.gone("s2", 6_010)
    assert sessions.codes("r3", "M1", "P2", 9_000, 9_100) == Codes(frozenset())


def test_a_determined_answer_is_exact_and_an_undetermined_one_has_room() -> None:
    codes = Codes(frozenset({"a"}), frozenset({"b"}))
    assert [codes.allows(frozenset(got)) for got in ("a", "ab", "", "b", "ac")] == [True, True, False, False, False]
