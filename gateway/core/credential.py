"""Reading a scanned text: which kind of credential it is, and whom it names. Pure."""

from typing import Literal

Kind = Literal["badge", "malformed"]
MAX_LENGTH = 256


def kind_of(text: str) -> Kind:
    """A ``badge`` carries the operator's id as plain text; anything empty, overlong or unprintable is malformed."""
    return "badge" if 0 < len(text) <= MAX_LENGTH and text.isprintable() else "malformed"


def mask(text: str) -> str:
    """At most two characters at each end, for records: people also scan identity cards by mistake.

    >>> mask("P000123")
    'P0***23'
    """
    return f"{text[:2]}***{text[-2:]}" if len(text) > 6 and text.isprintable() else "***"
