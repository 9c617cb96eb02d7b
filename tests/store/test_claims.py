"""Whose word counts where sources contradict each other."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.core.model import CertificateStatus, Verification
from gateway.store.changes import Origin
from gateway.store.claims import Claim, Precedence, merged
from gateway.store.entries import CertificateEntry
from gateway.store.forms import FORMS
from gateway.store.registry import apply_entries, conflicts
from gateway.store.vault import open_vault
from gateway.store.writing import How
from tests.store.databases import AT, Databases

TABLE = FORMS["certificates"].table
ALIKE = Precedence()
STATUSES: tuple[CertificateStatus, ...] = ("valid", "suspended", "revoked")


class Registry:
    def __init__(self, engine: Engine, keys: Path) -> None:
        self.engine, self.vault, self.now = engine, open_vault(keys), AT

    def says(
        self,
        source: str,
        status: CertificateStatus,
        until: date = date(2031, 1, 1),
        verification: Verification = "verified",
        precedence: Precedence = ALIKE,
    ) -> None:
        self.now += 1000
        entry = CertificateEntry("NO-000001", "P1", "fusion", until, status, verification)
        origin = Origin(source, "test", self.now)
        how = How(precedence=precedence)
        apply_entries(self.engine, self.vault, {"certificates": [entry]}, origin, self.now, how)

    @property
    def held(self) -> tuple[str, date]:
        with self.engine.connect() as connection:
            row = connection.execute(TABLE.select()).one()
            return row.status, row.valid_until


@pytest.fixture
def registry(databases: Databases, tmp_path: Path) -> Iterator[Registry]:
    engine = databases.engine()
    yield Registry(engine, tmp_path / "keys")
    engine.dispose()


def test_one_source_may_take_back_its_own_word(registry: Registry) -> None:
    registry.says("province", "revoked")
    registry.says("province", "valid")
    assert registry.held[0] == "valid"
    assert conflicts(registry.engine, 10) == []


@pytest.mark.parametrize("order", [("province", "files"), ("files", "province")])
def test_of_equals_the_strictest_word_counts_in_whatever_order_they_speak(
    registry: Registry, order: tuple[str, str]
) -> None:
    words: dict[str, CertificateStatus] = {"province": "revoked", "files": "valid"}
    for source in order:
        registry.says(source, words[source])
    registry.says("files", "valid")
    assert registry.held[0] == "revoked"
    [conflict] = conflicts(registry.engine, 10)
    assert (conflict.field, dict(conflict.values), conflict.holds) == ("status", words, "revoked")


def test_the_conflict_ends_when_both_say_the_same(registry: Registry) -> None:
    registry.says("files", "valid")
    registry.says("province", "revoked")
    registry.says("province", "valid")
    assert registry.held[0] == "valid"
    assert conflicts(registry.engine, 10) == []


def test_the_first_in_rank_counts_even_where_another_is_stricter(registry: Registry) -> None:
    ranked = Precedence({"certificates": ("province", "files")})
    registry.says("files", "revoked", precedence=ranked)
    registry.says("province", "valid", precedence=ranked)
    assert registry.held[0] == "valid"


def test_precedence_can_differ_by_field(registry: Registry) -> None:
    ranked = Precedence({"certificates": ("province", "files"), "certificates.valid_until": ("files", "province")})
    registry.says("files", "valid", date(2030, 1, 1), precedence=ranked)
    registry.says("province", "suspended", date(2035, 1, 1), precedence=ranked)
    assert registry.held == ("suspended", date(2030, 1, 1))


claims = st.lists(
    st.builds(
        Claim,
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5),
        st.fixed_dictionaries({"status": st.sampled_from(STATUSES)}),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda claim: claim.source,
)


@given(claims=claims, ranked=st.permutations(["a", "b", "c"]).map(tuple), some=st.integers(0, 3))
def test_the_word_that_counts_is_somebodys_the_first_in_rank_else_the_strictest(
    claims: list[Claim], ranked: tuple[str, ...], some: int
) -> None:
    order = ranked[:some]
    old = {column.name: None for column in TABLE.columns}
    status = merged(TABLE, old, claims, Precedence({"certificates": order}))["status"]
    first = [claim for name in order for claim in claims if claim.source == name]
    strictest = max((claim.row["status"] for claim in claims), key=STATUSES.index)
    assert status == (first[0].row["status"] if first else strictest)
