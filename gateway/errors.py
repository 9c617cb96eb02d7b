"""Errors that a person can act on. Each message names what is wrong, where, and the remedy."""


class WeldGateError(Exception):
    """Base of everything that a command prints as one line instead of a trace."""


class ToldInBoth(WeldGateError):
    """One that people read on pages, too: the message in English for a command, ``chinese`` tells the same."""

    def __init__(self, english: str, chinese: str = "") -> None:
        super().__init__(english)
        self.chinese = chinese or english


class Unanswered(WeldGateError):
    """Whoever asked by phone gets no answer now; ``why`` in a word. What was asked may be decided all the same."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class DatabaseUnavailable(WeldGateError):
    """The database cannot be used now: away, locked, full or of another version."""
