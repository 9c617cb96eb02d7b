"""Full personal numbers, for people who may see one: who asks and why is checked and goes on record."""

import re

from sqlalchemy import Connection, Engine

from gateway.registry.acts import Author
from gateway.registry.orders import registered_operator
from gateway.registry.values import half_width
from gateway.store.access import Access, Field, Hit, find_operator, reveal
from gateway.store.engine import reading
from gateway.store.vault import Vault


def read_number(engine: Engine, vault: Vault, operator_id: str, field: Field, author: Author) -> str:
    """The full number of a registered person, however theirs is typed; on record before it is returned.

    Raises ControlError, AccessError, VaultError, DatabaseUnavailable.
    """
    with reading(engine).connect() as connection:
        known = registered_operator(connection, operator_id).operator_id
    return reveal(engine, vault, Access(author.by, field, known, author.reason), author.at)


def find(connection: Connection, vault: Vault, typed: str) -> list[Hit]:
    """Whose number it is, however it is typed: of identity, of a certificate, or of a telephone with its separators."""
    number = half_width(typed)
    hits = find_operator(connection, vault, number)
    undivided = re.sub(r"[-()]", "", number)
    return hits if undivided == number else hits + find_operator(connection, vault, undivided)
