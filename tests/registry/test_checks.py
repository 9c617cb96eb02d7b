"""Claims read from scanned texts, compared with a real registry, and what the ledger keeps of each check."""

import json
import sqlite3
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.core.genuine import Check
from gateway.errors import DatabaseUnavailable
from gateway.registry.checks import check_certificate, recorded_in_words
from gateway.registry.claims import LONGEST_CLAIM, ClaimError, PlainClaim, read_claim
from gateway.registry.importer import Store
from gateway.store.controls import ControlError
from gateway.store.ledger import check as findings
from gateway.store.ledger import checks_of, decode_record, read_head, rows_in_order
from gateway.store.vault import VaultError, open_vault
from tests.registry.conftest import NOW, Import, Write
from tests.registry.people import ANNA, BERT, FILES, PHONE

NUMBER = f"T{ANNA}"

# --- reading ----------------------------------------------------------------------------------------------------

WHOLE = PlainClaim(
    number=NUMBER,
    name="样例 甲",
    id_number=ANNA,
    item="fusion",
    issued_on=date(2024, 1, 2),
    valid_from=date(2024, 1, 2),
    valid_until=date(2030, 1, 1),
    review_due=date(2027, 1, 1),
)
IN_CHINESE = f"""证号：{NUMBER}
姓名：样例 甲
身份证号：{ANNA}
准操项目：熔化焊接与热切割作业

初领日期：2024/1/2
有效期始：2024/1/2
有效期止：2030/1/1
应复审日期：2027/1/1
"""
IN_ENGLISH = (
    f"number: {NUMBER.lower()}; NAME:样例  甲;id_number : {ANNA.lower()} ; item: fusion; issued_on: 2024-01-02; "
    "valid_from: 2024-01-02; valid_until: 2030-01-01 00:00:00; review_due: 46388;"
)
AS_JSON = json.dumps(
    {
        "证号": NUMBER,
        "name": "样例 甲",
        "身份证号": ANNA,
        "准操项目": "熔化焊接与热切割",
        "issued_on": "2024-01-02",
        "有效期始": "2024-01-02",
        "valid_until": "2030-01-01",
        "review_due": "2027-01-01",
    }
)


@pytest.mark.parametrize("text", [IN_CHINESE, IN_ENGLISH, AS_JSON, "\ufeff" + AS_JSON], ids=["zh", "en", "json", "bom"])
def test_a_scanned_text_is_read_in_either_language_and_form(text: str) -> None:
    assert read_claim(text) == WHOLE


def test_what_is_empty_was_not_said_and_what_is_no_field_is_named() -> None:
    claim = read_claim(f'{{"number": "{NUMBER}", "name": "", "item": null, "签发机关": "样例局", "{ANNA}": "x"}}')
    assert (claim.number, claim.name, claim.item) == (NUMBER, None, None)
    assert claim.passed_over[0] == "签发机关"
    assert ANNA not in str(claim.passed_over)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "neither 证号 number nor 身份证号 id_number is given; add one. Known are: 证号 number, 姓名 name"),
        ("姓名:样例甲", "neither 证号 number nor"),
        (
            f"证号:{NUMBER};有效期止:2030-02-30",
            "有效期止 valid_until = '2030-02-30': is a date that does not exist; correct",
        ),
        (f"number:{NUMBER}\nitem:电焊", "准操项目 item = '电焊': is none of: fusion=熔化焊接与热切割作业"),
        (f"number:{NUMBER};证号:{NUMBER}", "证号 number: stands there twice; keep one"),
        (NUMBER, "part 1: has no label; write label: value"),
        (f'{{"number": {NUMBER}', "begins like a JSON object, but is none"),
        ('{"id_number": 990000199001010019}', "id_number: is no text; put the value in quotes"),
        ('{"number": {"T": 1}}', "number: is no text"),
        ("{" * 5000, "begins like a JSON object"),
        ("number:" + "9" * LONGEST_CLAIM, "characters, at most"),
    ],
)
def test_a_claim_that_cannot_be_read_says_where_and_what_to_do(text: str, says: str) -> None:
    with pytest.raises(ClaimError) as refused:
        read_claim(text)
    message = str(refused.value)
    assert says in message
    assert ANNA not in message
    assert "\n" not in message


def test_a_wrong_id_number_is_not_repeated() -> None:
    wrong = ANNA[:-1] + ("0" if ANNA[-1] != "0" else "1")
    with pytest.raises(ClaimError, match=r"身份证号 id_number = .*has a wrong check digit") as refused:
        read_claim(f"身份证号:{wrong}")
    assert wrong not in str(refused.value)
    assert wrong[-4:] in str(refused.value)


@given(st.text(max_size=300) | st.text('{}":;：；,\n numberT证号0129-', max_size=80))
def test_no_text_does_anything_but_read_or_be_refused(text: str) -> None:
    try:
        claim = read_claim(text)
    except ClaimError:
        return
    assert claim.number or claim.id_number


# --- checking ---------------------------------------------------------------------------------------------------

BY = "Wang An"


@pytest.fixture
def county(store: Store, write: Write, bring_in: Import) -> Store:
    bring_in(*(write(f"{name}.csv", rows) for name, rows in FILES.items()))
    return store


def checked(county: Store, text: str) -> Check:
    return check_certificate(county.engine, county.vault, read_claim(text), BY, NOW)


def records(engine: Engine) -> list[bytes]:
    with engine.connect() as connection:
        return [row.record for row in rows_in_order(connection) if row.kind == "check"]


@pytest.mark.parametrize(
    ("text", "verdict", "ground"),
    [
        (
            f"证号:{NUMBER};姓名:样例甲;身份证号:{ANNA};准操项目:熔化焊接与热切割;有效期止:2030-01-01",
            "verified",
            "agrees",
        ),
        (f"证号:{NUMBER}", "verified", "agrees"),
        (f"身份证号:{ANNA};准操项目:钎焊", "verified", "agrees"),
        (f"身份证号:{ANNA};准操项目:压力焊", "unverified", "not_on_record"),
        (f"身份证号:{BERT}", "unverified", "not_on_record"),
        (f"证号:T{BERT};姓名:样例甲", "unverified", "not_on_record"),
        (f"证号:{NUMBER};初领日期:2024-01-02", "unverified", "not_known"),
        (f"证号:{NUMBER};有效期止:2031-01-01", "counterfeit", "differs"),
        (f"证号:{NUMBER};姓名:样例乙;身份证号:{BERT}", "counterfeit", "differs"),
        (f"证号:{NUMBER};准操项目:压力焊", "counterfeit", "differs"),
    ],
)
def test_a_claim_is_compared_with_the_registry(county: Store, text: str, verdict: str, ground: str) -> None:
    check = checked(county, text)
    assert (check.verdict, check.ground) == (verdict, ground)


def test_each_check_is_recorded_with_who_and_what_came_out_and_without_numbers(county: Store) -> None:
    check = checked(county, f"证号:{NUMBER};姓名:样例乙;身份证号:{BERT};有效期止:2031-01-01")
    (record,) = records(county.engine)
    content = json.loads(record)
    assert (content["kind"], content["at"], content["operator_id"]) == ("check", NOW, "P-1")
    assert content["message_id"] == check.check_id
    assert content["body"] == {
        "by": BY,
        "registry": 1,
        "verdict": "counterfeit",
        "ground": "differs",
        "claimed": ["number", "name", "id_number", "valid_until"],
        "differs": ["name", "id_number", "valid_until"],
        "number": "*" * 15 + NUMBER[-4:],
        "id_number": "*" * 14 + BERT[-4:],
        "certificate": check.certificate,
    }
    for personal in (ANNA, BERT, ANNA[:14], BERT[:14], PHONE, "样例"):
        assert personal.encode() not in record
        assert personal not in str(check)


def test_the_chain_holds_with_checks_in_it_and_a_check_is_told_in_words(county: Store) -> None:
    checked(county, f"证号:{NUMBER}")
    check = checked(county, f"证号:{NUMBER};姓名:样例乙;初领日期:2024-01-02")
    with county.engine.connect() as connection:
        assert list(findings(rows_in_order(connection), read_head(connection))) == []
        (row,) = checks_of(connection, check.check_id or "")
    words = "\n".join(recorded_in_words(decode_record(row.record)))
    assert "证书核验 certificate check  假证 counterfeit" in words
    for line in (f"核验人 by       {BY}", "不一致 differs  name", "没有登记 not on record  issued_on"):
        assert line in words
    assert "registry version 1" in words
    assert ANNA not in words


def test_invariant_without_a_record_there_is_no_verdict(county: Store) -> None:
    url = county.engine.url.database
    assert url is not None
    with sqlite3.connect(url) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'no space'); END")
    with pytest.raises(DatabaseUnavailable, match="the check was not recorded, so it tells nothing: no space"):
        checked(county, f"证号:{NUMBER}")
    assert records(county.engine) == []


def test_with_another_vault_nothing_is_found_and_nothing_is_said(county: Store, tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="not the vault that this database was filled with"):
        check_certificate(county.engine, open_vault(tmp_path / "other"), read_claim(f"证号:{NUMBER}"), BY, NOW)
    assert records(county.engine) == []


@pytest.mark.parametrize("by", ["", "—", ANNA])
def test_a_check_has_the_name_of_a_person(county: Store, by: str) -> None:
    with pytest.raises(ControlError, match="by = "):
        check_certificate(county.engine, county.vault, read_claim(f"证号:{NUMBER}"), by, NOW)


def test_before_the_first_import_there_is_nothing_to_compare_with(store: Store) -> None:
    with pytest.raises(ClaimError, match="no registries yet"):
        checked(store, f"证号:{NUMBER}")
