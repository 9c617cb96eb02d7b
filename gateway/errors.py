"""Errors that a person can act on. Each message names what is wrong, where, and the remedy."""


class WeldGateError(Exception):
    """Base of everything that a command prints as one line instead of a trace."""


class DatabaseUnavailable(WeldGateError):
    """The database cannot be used now: away, locked, full or of another version."""
