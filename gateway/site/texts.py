"""Chinese as it stands in templates and code; other languages from the catalogues beside it (GNU gettext)."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from babel.messages.pofile import read_po

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
NAMES: Mapping[Language, str] = {"zh": "中文", "en": "English"}
FOLDER = Path(__file__).with_name("texts")


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Translations by the Chinese text; one file per face, so that none is ever long."""
    found: dict[str, str] = {}
    for path in sorted((FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            found |= {
                str(message.id): str(message.string) for message in read_po(file) if message.id and message.string
            }
    return found


def translated(language: Language, text: str, **values: object) -> str:
    """The text in a language, the Chinese one where there is no other, with ``%(name)s`` filled in.

    >>> translated("zh", "还有 %(days)s 天", days=3)
    '还有 3 天'
    """
    found = catalogue(language).get(text, text)
    return found % values if values else found
