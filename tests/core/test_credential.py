"""Reading a scanned text: badges, rolling codes and what is neither; and showing it without giving it away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import (
    CODE_PREFIX,
    MAX_LENGTH,
    STEP_S,
    genuine,
    kind_of,
    make_code,
    mask,
    offline_digest,
    read_code,
    step_at,
)

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
STEP = 59_785_920
LONGEST_CODE_ID = 225
"""What is left of 256 characters for the operator's id in a code."""
operator_ids = st.text(min_size=1, max_size=64).filter(str.isprintable)
steps = st.integers(0, 10**12 - 1)


# --- badges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["P", "P000123", "张三", "P" * 256, "a b", "990000199001010017", "wg1/P/1/A", "XWG1/P000123/1/A"]
)
def test_any_printable_text_of_up_to_256_characters_is_a_badge(text: str) -> None:
    assert kind_of(text) == "badge"
    assert read_code(text) is None


@pytest.mark.parametrize("text", ["", "P" * 257, "P\n", "\x00", "P\t1", "\u200bP", "P\x7f", "\ufeffP"])
def test_an_empty_overlong_or_unprintable_text_is_malformed(text: str) -> None:
    assert kind_of(text) == "malformed"


# --- rolling codes ----------------------------------------------------------------------------------------------


def test_a_code_names_operator_and_step_and_proves_them_by_sixteen_letters() -> None:
    code = make_code(KEY, "P000123", STEP)
    assert code == "WG1/P000123/59785920/UWTYNBCN7DTOYVA6"
    assert kind_of(code) == "code"


def test_a_step_lasts_half_a_minute() -> None:
    assert STEP_S == 30
    assert step_at(0) == step_at(29_999) == 0
    assert step_at(30_000) == 1


@given(operator_ids, steps)
def test_what_was_made_reads_back_and_is_genuine(operator_id: str, step: int) -> None:
    text = make_code(KEY, operator_id, step)
    code = read_code(text)
    assert kind_of(text) == "code"
    assert code is not None
    assert (code.operator_id, code.step) == (operator_id, step)
    assert genuine(code, (KEY,))


@given(operator_ids, steps)
def test_after_a_rotation_of_keys_a_code_of_either_is_genuine_and_of_no_other(operator_id: str, step: int) -> None:
    code = read_code(make_code(KEY, operator_id, step))
    assert code is not None
    assert genuine(code, (OTHER_KEY, KEY))
    assert genuine(code, (KEY, OTHER_KEY))
    assert not genuine(code, (OTHER_KEY,))
    assert not genuine(code, ())


@given(operator_ids, operator_ids, steps, steps)
def test_the_letters_of_one_code_prove_no_other_operator_and_no_other_step(
    operator_id: str, another: str, step: int, later: int
) -> None:
    letters = make_code(KEY, operator_id, step).rpartition("/")[2]
    forged = read_code(f"{CODE_PREFIX}{another}/{later}/{letters}")
    assert forged is not None
    assert genuine(forged, (KEY,)) == ((another, later) == (operator_id, step))


@given(operator_ids, steps, st.integers(0, 15), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_with_one_letter_changed_a_code_is_forged(operator_id: str, step: int, place: int, letter: str) -> None:
    text = make_code(KEY, operator_id, step)
    where = len(text) - 16 + place
    changed = text[:where] + letter + text[where + 1 :]
    code = read_code(changed)
    assert code is not None
    assert genuine(code, (KEY,)) == (changed == text)


@pytest.mark.parametrize(
    "text",
    [
        "WG1/",
        "WG1/P000123",
        "WG1/P000123/1",
        "WG1//1/ABCDEFGHIJKLMNOP",
        "WG1/P000123/x/ABCDEFGHIJKLMNOP",
        "WG1/P000123/-1/ABCDEFGHIJKLMNOP",
        "WG1/P000123/٣/ABCDEFGHIJKLMNOP",
        "WG1/P000123/1234567890123/ABCDEFGHIJKLMNOP",
        "WG1/P000123/1/ABCDEFGHIJKLMNO",
        "WG1/P000123/1/abcdefghijklmnop",
        "WG1/P000123/1/ABCDEFGHIJKLMNO1",
        "WG1/P000123/1/ABCDEFGHIJKLMNOP ",
    ],
)
def test_what_begins_like_a_code_and_is_none_is_malformed_and_no_badge(text: str) -> None:
    assert kind_of(text) == "malformed"
    assert read_code(text) is None


@given(st.text(max_size=300) | st.text("WG1/0A2\n", max_size=40))
def test_no_text_is_a_code_of_somebody_unless_it_has_its_form(text: str) -> None:
    assert (kind_of(text) == "code") == (read_code(text) is not None and len(text) <= MAX_LENGTH and text.isprintable())


@pytest.mark.parametrize("operator_id", ["P", "张三", "a/b", "WG1/P", "P 1", "x" * LONGEST_CODE_ID, "🔥" * 100])
def test_ids_of_every_script_and_length_that_fits_have_codes(operator_id: str) -> None:
    text = make_code(KEY, operator_id, STEP)
    code = read_code(text)
    assert (kind_of(text), code is not None and code.operator_id) == ("code", operator_id)


# --- showing them -----------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_masked_text_never_shows_more_than_two_characters_at_each_end(text: str) -> None:
    shown = mask(text)
    assert len(shown) <= 7
    assert "***" in shown
    if len(text) > 6:
        assert text not in shown


def test_on_a_list_a_credential_is_a_digest_that_another_machine_s_list_does_not_share() -> None:
    here, there = offline_digest("HJ-0001", "P000123"), offline_digest("HJ-0002", "P000123")
    assert here != there
    assert len(here) == len(there) == 16
    assert offline_digest("HJ-0001", "P000124") != here
