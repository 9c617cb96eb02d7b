"""The databases and the signer of the store's tests."""

from tests.store.conftest import connection, databases, engine, journal, signer, template

__all__ = ("connection", "databases", "engine", "journal", "signer", "template")
