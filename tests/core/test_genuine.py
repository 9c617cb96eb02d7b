"""Whether a certificate is the one on record: every field alone, every verdict, and what is shown of numbers."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.genuine import FIELDS, GROUNDS, Claim, GroundText, Hidden, Registered, compare, same_name
from gateway.core.model import Verification

NUMBER, OTHER = Hidden("index-1", "**1234"), Hidden("index-2", "**5678")
ID_NUMBER = Hidden("index-3", "**999X")
ON_RECORD = Registered(
    ref="ref-f",
    operator_id="P1",
    number=NUMBER,
    item="fusion",
    valid_until=date(2028, 12, 31),
    status="valid",
    verification="verified",
    name="样例·甲",
    id_number=ID_NUMBER,
    issued_on=date(2022, 12, 20),
    valid_from=date(2023, 1, 1),
    review_due=date(2026, 1, 1),
)
WHOLE = Claim(**{name: getattr(ON_RECORD, name) for name in FIELDS})
OTHERWISE: dict[str, Any] = {
    "number": OTHER,
    "name": "样例乙",
    "id_number": OTHER,
    "item": "brazing",
    "issued_on": date(2022, 12, 21),
    "valid_from": date(2023, 1, 2),
    "valid_until": date(2029, 12, 31),
    "review_due": date(2027, 1, 1),
}
UNKNOWABLE = ("name", "id_number", "issued_on", "valid_from", "review_due")


def row(**different: Any) -> Registered:
    return structs.replace(ON_RECORD, **different)


def test_what_agrees_in_every_field_with_a_verified_row_is_verified() -> None:
    check = compare(WHOLE, [ON_RECORD])
    assert (check.verdict, check.ground, check.differences, check.unknown) == ("verified", "agrees", (), ())
    assert (check.certificate, check.operator_id, check.status) == ("ref-f", "P1", "valid")


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "number"])
def test_what_is_not_claimed_is_not_compared(field: str) -> None:
    assert compare(structs.replace(WHOLE, **{field: None}), [ON_RECORD]).verdict == "verified"


@pytest.mark.parametrize("field", FIELDS)
def test_one_field_that_differs_makes_it_counterfeit_and_is_named(field: str) -> None:
    check = compare(structs.replace(WHOLE, **{field: OTHERWISE[field]}), [ON_RECORD])
    assert (check.verdict, check.ground) == ("counterfeit", "differs")
    assert [difference.field for difference in check.differences] == [field]


def test_every_difference_is_named() -> None:
    check = compare(Claim(**OTHERWISE), [ON_RECORD])
    assert tuple(difference.field for difference in check.differences) == FIELDS


def test_what_no_registry_has_is_not_verified_and_no_forgery_either() -> None:
    check = compare(WHOLE, [])
    assert (check.verdict, check.ground, check.certificate) == ("unverified", "not_on_record", None)


@pytest.mark.parametrize(
    ("verification", "verdict", "ground"),
    [
        ("verified", "verified", "agrees"),
        ("unverified", "unverified", "unverified_on_record"),
        ("counterfeit", "counterfeit", "counterfeit_on_record"),
    ],
)
def test_a_claim_is_no_better_than_the_row_that_it_agrees_with(
    verification: Verification, verdict: str, ground: str
) -> None:
    check = compare(WHOLE, [row(verification=verification)])
    assert (check.verdict, check.ground) == (verdict, ground)


def test_what_differs_from_a_row_that_is_not_verified_is_counterfeit() -> None:
    claim = structs.replace(WHOLE, valid_until=OTHERWISE["valid_until"])
    assert compare(claim, [row(verification="unverified")]).ground == "differs"


@pytest.mark.parametrize("field", UNKNOWABLE)
def test_what_the_registry_does_not_know_is_neither_right_nor_wrong(field: str) -> None:
    check = compare(WHOLE, [row(**{field: None})])
    assert (check.verdict, check.ground, check.unknown) == ("unverified", "not_known", (field,))


def test_a_genuine_certificate_may_be_revoked_and_the_check_says_so() -> None:
    check = compare(WHOLE, [row(status="revoked")])
    assert (check.verdict, check.status) == ("verified", "revoked")


# --- several rows -----------------------------------------------------------------------------------------------

BRAZING = row(ref="ref-b", item="brazing", verification="unverified")


@pytest.mark.parametrize("rows", [[ON_RECORD, BRAZING], [BRAZING, ON_RECORD]])
def test_of_several_items_the_claimed_one_is_compared(rows: list[Registered]) -> None:
    assert compare(WHOLE, rows).certificate == "ref-f"
    assert compare(structs.replace(WHOLE, item="brazing"), rows).ground == "unverified_on_record"
    assert compare(structs.replace(WHOLE, item=None), rows).verdict == "verified"


def test_an_item_that_the_number_does_not_carry_is_counterfeit() -> None:
    check = compare(structs.replace(WHOLE, item="pressure"), [ON_RECORD, BRAZING])
    assert [(one.field, one.claimed) for one in check.differences] == [("item", "pressure")]


def test_without_a_number_a_certificate_for_an_item_that_nobody_holds_is_not_on_record() -> None:
    claim = structs.replace(WHOLE, number=None, item="pressure")
    assert compare(claim, [ON_RECORD, BRAZING]).ground == "not_on_record"
    assert compare(structs.replace(claim, item="fusion"), [BRAZING, ON_RECORD]).verdict == "verified"


# --- names and numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["样例甲", "样例・甲", "样例•甲", " 样 例　甲", "样例·甲\n"])
def test_names_are_compared_without_white_space_and_dots(name: str) -> None:
    assert compare(structs.replace(WHOLE, name=name), [ON_RECORD]).verdict == "verified"


@given(st.text(max_size=20))
def test_a_name_compared_once_compares_the_same_again(name: str) -> None:
    assert same_name(same_name(name)) == same_name(name)


def test_differences_show_numbers_and_names_masked() -> None:
    shown = {one.field: (one.claimed, one.registered) for one in compare(Claim(**OTHERWISE), [ON_RECORD]).differences}
    assert shown["number"] == ("**5678", "**1234")
    assert shown["id_number"] == ("**5678", "**999X")
    assert shown["name"] == ("样**", "样***")
    assert shown["valid_until"] == ("2029-12-31", "2028-12-31")


claims = st.builds(
    Claim, **{field: st.sampled_from([None, getattr(WHOLE, field), OTHERWISE[field]]) for field in FIELDS}
)
rows = st.builds(
    row,
    verification=st.sampled_from(["verified", "unverified", "counterfeit"]),
    item=st.sampled_from(["fusion", "brazing"]),
    **{field: st.sampled_from([None, getattr(ON_RECORD, field)]) for field in UNKNOWABLE},
)


@given(claims, st.lists(rows, max_size=3))
def test_verified_is_only_what_agrees_in_every_claimed_field_with_a_verified_row(
    claim: Claim, registered: list[Registered]
) -> None:
    check = compare(claim, registered)
    agreeing = [
        one
        for one in registered
        if one.verification == "verified" and all(getattr(one, name) == getattr(claim, name) for name in claim.said)
    ]
    assert (check.verdict == "verified") == bool(agreeing)
    assert (check.ground == "differs") == bool(check.differences)


@pytest.mark.parametrize("text", GROUNDS.values(), ids=GROUNDS)
def test_an_inspector_reads_what_came_out_and_what_to_do_in_both_languages(text: GroundText) -> None:
    assert text.message_zh.endswith("。")
    assert text.remedy_zh.endswith("。")
    assert (text.message_en + text.remedy_en).isascii()
