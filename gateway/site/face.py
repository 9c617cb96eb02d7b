"""What people of a role find: where they begin, and what there is."""

from msgspec import Struct

from gateway.core.accounts import Role


class Tab(Struct, frozen=True):
    """An entry of the navigation; ``label`` in Chinese."""

    path: str
    label: str


class Face(Struct, frozen=True):
    """``name`` in Chinese."""

    roles: tuple[Role, ...]
    home: str
    name: str
    tabs: tuple[Tab, ...]
