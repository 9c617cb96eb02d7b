"""Colours, what runs out, and certificate checks as they are met on the command line, on a real database."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.clock import now_ms
from gateway.core.rules import local_time
from tests.controls.conftest import Office
from tests.service import county

TODAY = local_time(now_ms()).date()
ROWS_TODAY = date.today()  # noqa: DTZ011  (as the small county's rows are counted)
ANNA = county.id_number(1)
BY = ("--by", "Wang An")


def policy(tmp_path: Path, text: str) -> tuple[str, str]:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return "--policy", str(path)


# --- colours ----------------------------------------------------------------------------------------------------


def test_a_person_reads_why_since_when_and_what_to_do(office: Office) -> None:
    lines = office.does("operator", "show", "P-EXPIRED")
    at = lines.index("四色码 colour      红 red")
    expired = ROWS_TODAY - timedelta(days=99)
    assert lines[at + 1].startswith(f"  ✗ certificate_expired  熔化焊 fusion  自 since {expired}: 操作证已过有效期。")
    assert lines[at + 2].startswith("      办法 remedy: 请到培训机构")


def test_a_person_reads_until_when_and_which_colour_comes_then(office: Office) -> None:
    lines = office.does("operator", "show", "P-NOT-YET")
    begins = ROWS_TODAY + timedelta(days=100)
    assert f"四色码 colour      黄 yellow  自 from {begins} 起为 on: 蓝 blue" in lines
    assert f"  ✗ certificate_not_yet_valid  熔化焊 fusion  至 until {begins - timedelta(days=1)}: " in "\n".join(lines)


def test_the_colour_goes_by_the_policy_that_is_named(office: Office, tmp_path: Path) -> None:
    named = policy(tmp_path, "rules.certificate_expired = 'off'\ncolours.in_order = 'grey'")
    assert "四色码 colour      灰 grey" in "\n".join(office.does("operator", "show", "P-EXPIRED", *named))
    said = office.refuses("operator", "show", "P0001", *policy(tmp_path, "colours.soon = 'green'"))
    assert "line 1: colours.soon" in said


def test_a_firm_shows_its_colour_and_its_people_the_worst_first(office: Office) -> None:
    lines = office.does("enterprise", "show", county.FIRM.lower())
    assert lines[0] == f"企业 firm          {county.FIRM}  样例企业  active  division {county.DIVISION}"
    assert lines[1] == "四色码 colour      黄 yellow"
    assert lines[2] == "人数 people        77: 蓝 blue 65  黄 yellow 3  红 red 8  灰 grey 1"
    people = [line.split() for line in lines[4:]]
    assert [cells[1] for cells in people] == ["red"] * 8 + ["grey"] + ["yellow"] * 3 + ["blue"] * 65
    assert people[0][2:] == ["P-BLOCKED", "样**", "✗", "operator_blocked"]
    shown = "\n".join(lines)
    assert "P-LEFT" not in shown
    for personal in (ANNA, ANNA[:14], "129", "样例甲"):
        assert personal not in shown


def test_a_firm_that_stands_still_says_so(office: Office) -> None:
    lines = office.does("enterprise", "show", county.STOPPED)
    assert lines[1] == "四色码 colour      红 red"
    assert lines[2].startswith("  ✗ enterprise_production_suspended: 企业正在停产整顿")


def test_a_firm_that_nobody_knows_is_one_line(office: Office) -> None:
    assert "no firm of this credit code is registered; compare it" in office.refuses(
        "enterprise", "show", county.UNREGISTERED
    )
    assert ANNA not in office.refuses("enterprise", "show", ANNA)


def test_what_runs_out_is_listed_for_a_firm_or_for_all(office: Office) -> None:
    early, late = TODAY + timedelta(days=20), TODAY + timedelta(days=80)
    with office.engine.begin() as connection:
        change = "UPDATE certificates SET valid_until = ? WHERE operator_id = ?"
        connection.exec_driver_sql(change, (str(early), "P0001"))
        connection.exec_driver_sql(change, (str(late), "P0002"))
    header, *lines = office.does("enterprise", "expiring", county.FIRM)
    assert "days left" in header
    (line,) = lines
    assert line.split()[:4] == [county.FIRM, "P0001", str(early), "20"]
    assert line.endswith("certificate_expires_soon: 操作证即将到期。")
    assert f"***************{ANNA[-4:]}" in line
    assert [line.split()[1] for line in office.does("enterprise", "expiring", "--days", "90")[1:]] == ["P0001", "P0002"]
    assert office.does("enterprise", "expiring", county.STOPPED, "--days", "90")[1:] == []


# --- certificate checks -----------------------------------------------------------------------------------------


def check(office: Office, path: Path, text: str) -> "subprocess.CompletedProcess[str]":
    path.write_text(text, encoding="utf-8")
    return office.run("certificate", "check", "--claim", str(path), *BY, "--keys", str(office.keys))


def test_a_genuine_certificate_is_verified_and_what_was_passed_over_is_said(office: Office, tmp_path: Path) -> None:
    claim = f"证号：T{ANNA}；姓名：样例甲；准操项目：熔化焊接与热切割作业；签发机关：样例局"
    done = check(office, tmp_path / "scan", claim)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("结果 verdict     已核验 verified  [")
    assert done.stderr == "passed over: 签发机关\n"


def test_a_forged_one_is_counterfeit_with_the_differing_fields_and_explained_from_the_ledger(
    office: Office, tmp_path: Path
) -> None:
    done = check(office, tmp_path / "scan", f'{{"number": "T{ANNA}", "id_number": "{county.id_number(2)}"}}')
    assert done.returncode == 1
    first, *lines = done.stdout.splitlines()
    assert first.startswith("结果 verdict     假证 counterfeit  [")
    assert "\n".join(lines).count("✗") == 1
    assert any(line.startswith("✗ 身份证号 id_number: 所示 shown **************") for line in lines)
    check_id = first.split("[")[1].rstrip("]")
    told = "\n".join(office.does("audit", "show", check_id))
    assert "假证 counterfeit" in told
    assert "不一致 differs  id_number" in told
    assert office.does("audit", "verify")[0].startswith("intact: 2 records")
    for personal in (ANNA[:14], county.id_number(2)):
        assert personal not in done.stdout + told


def test_a_claim_comes_by_standard_input_so_that_no_number_is_an_argument(office: Office) -> None:
    command = [sys.executable, "-m", "gateway", "certificate", "check", "--claim", "-", *BY]
    command += ["--keys", str(office.keys), "--database", office.url]
    claim = f"证号：T{ANNA}\n".encode("gb18030")
    done = subprocess.run(command, input=claim, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "已核验 verified" in done.stdout.decode()


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("missing", "--claim missing: No such file or directory; name a file, or - for standard input"),
        (".", "--claim .: Is a directory"),
    ],
)
def test_a_claim_that_is_not_there_is_one_line(office: Office, claim: str, says: str) -> None:
    assert says in office.refuses("certificate", "check", "--claim", claim, *BY, "--keys", str(office.keys))


def test_no_vault_is_made_where_there_is_none(office: Office, tmp_path: Path) -> None:
    (tmp_path / "scan").write_text(f"证号:T{ANNA}", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    said = office.refuses("certificate", "check", "--claim", str(tmp_path / "scan"), *BY, "--keys", str(elsewhere))
    assert "there is no vault.json; name the folder" in said
    assert not elsewhere.exists()
