"""Nobody who reads English meets a Chinese text that was forgotten."""

import pytest

from gateway.site.texts import LANGUAGES, Language, catalogue, translated
from tests.site.texts import CHINESE, PLACEHOLDER, shown, untranslatable

OTHERS = [language for language in LANGUAGES if language != "zh"]
THE_LANGUAGE_S_OWN_NAME = {"中文"}


def test_texts_are_found() -> None:
    assert {"焊工登录", "账号已停用，它的登录都已结束。", "网关管理"} <= set(shown())


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_and_nothing_else_is(language: Language) -> None:
    translations = catalogue(language)
    texts = shown()
    missing = [f"{where}  {text}" for text, where in texts.items() if text not in translations]
    assert [line for line in missing if line.split("  ", 1)[1] not in THE_LANGUAGE_S_OWN_NAME] == []
    assert [text for text in translations if text not in texts] == []


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_same_places_to_fill_in_and_no_chinese(language: Language) -> None:
    for text, translation in catalogue(language).items():
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(translation)), text
        assert not CHINESE.search(translation), text


def test_no_text_of_a_template_goes_untranslated() -> None:
    assert untranslatable() == []


def test_a_text_without_translation_is_shown_as_it_is() -> None:
    assert translated("en", "没有翻译 %(n)s", n=1) == "没有翻译 1"
