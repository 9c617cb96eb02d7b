"""Reading a scanned text, and showing it without giving it away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import kind_of, mask


@pytest.mark.parametrize("text", ["P", "P000123", "张三", "P" * 256, "a b", "990000199001010017"])
def test_any_printable_text_of_up_to_256_characters_is_a_badge(text: str) -> None:
    assert kind_of(text) == "badge"


@pytest.mark.parametrize("text", ["", "P" * 257, "P\n", "\x00", "P\t1", "\u200bP", "P\x7f", "\ufeffP"])
def test_an_empty_overlong_or_unprintable_text_is_malformed(text: str) -> None:
    assert kind_of(text) == "malformed"


@given(st.text(max_size=300))
def test_a_masked_text_never_shows_more_than_two_characters_at_each_end(text: str) -> None:
    shown = mask(text)
    assert len(shown) <= 7
    assert "***" in shown
    if len(text) > 6:
        assert text not in shown
