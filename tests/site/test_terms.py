"""Every value that a record or a registry can hold has its name on the pages: a new one is not forgotten."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from gateway.site import terms
from gateway.site.firm import words as firm
from gateway.site.regulator import words as regulator
from gateway.site.welder import words as welder


def values_of(kind: Any) -> set[str]:
    """What a Literal lists, through those that it is made of."""
    return {value for part in get_args(kind) for value in (values_of(part) if get_origin(part) is Literal else {part})}


def named(module: ModuleType) -> list[tuple[str, Any, Mapping[Any, str]]]:
    """A module's tables whose keys are a Literal."""
    return [
        (name, get_args(hint)[0], getattr(module, name))
        for name, hint in get_type_hints(module).items()
        if get_origin(hint) is Mapping and get_origin(get_args(hint)[0]) is Literal
    ]


@pytest.mark.parametrize("module", [terms, firm, regulator, welder], ids=lambda module: module.__name__)
def test_every_value_has_its_name(module: ModuleType) -> None:
    tables = named(module)
    assert tables
    for name, kind, table in tables:
        assert set(table) == values_of(kind), name
