"""Sealing anew after a rotation: everything that is sealed, nothing that somebody else changes meanwhile, and no key
retired that is needed."""

import os
from base64 import b64encode
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.store.beside import Pace
from gateway.store.changes import Origin
from gateway.store.entries import CertificateEntry, Entry, OperatorEntry
from gateway.store.registry import apply_entries
from gateway.store.reseal import reseal, retire
from gateway.store.tables import RegistryClaim, RegistryHistory, metadata
from gateway.store.vault import STILL_SEALING_MS, Vault, VaultError, keys_of, open_vault, rotate
from tests.store.databases import AT, Databases

AT_ONCE = Pace(rows=3, pause_s=0)
LATER = AT + STILL_SEALING_MS
ID_NUMBER, PHONE = "990000199001010017", "12900000001"
Seen = dict[tuple[str, str], tuple[str, int]]
_history, _claims = metadata.tables[RegistryHistory.__tablename__], metadata.tables[RegistryClaim.__tablename__]


def people(count: int) -> list[Entry]:
    """Every third without a telephone, every fourth without an ID number."""
    return [
        OperatorEntry(
            f"P{number:06}",
            "active",
            id_number=f"99000019900101{number:04}" if number % 4 else None,
            phone=f"129{number:08}" if number % 3 else None,
        )
        for number in range(1, count + 1)
    ]


def certificates(count: int) -> list[Entry]:
    return [
        CertificateEntry(
            f"T99000019900101{number:04}", f"P{number:06}", "fusion", date(2030, 1, 1), "valid", "verified"
        )
        for number in range(1, count + 1)
    ]


def sealed(vault: Vault, **different: Any) -> bytes:
    """A row as history and claims keep it."""
    row = {
        "operator_id": "P000001",
        "name": "样例一",
        "id_number_sealed": b64encode(vault.seal(ID_NUMBER, "id_number")).decode(),
        "phone_sealed": None,
        "born_on": "1990-01-01",
        "status": "active",
        "change": 1,
    }
    return msgspec.json.encode(row | different)


def bring_in(engine: Engine, vault: Vault, entries: dict[str, list[Entry]], at: int) -> None:
    apply_entries(engine, vault, entries, Origin("files", "", at), at)


def filled(engine: Engine, vault: Vault, count: int = 7) -> None:
    bring_in(engine, vault, {"operators": people(count), "certificates": certificates(count)}, AT)
    with engine.begin() as connection:
        for number in range(count):
            past = {"kind": "operators", "key": f"P{number:06}", "from_change": 1, "to_change": 2, "gone": False}
            connection.execute(sa.insert(_history).values(row=sealed(vault), **past))
            phone = b64encode(vault.seal(PHONE, "phone")).decode()
            claim = {"kind": "operators", "key": f"P{number:06}", "source": "office", "at": AT}
            connection.execute(sa.insert(_claims).values(row=sealed(vault, phone_sealed=phone), **claim))


def opened(engine: Engine, vault: Vault) -> Seen:
    """Every sealed number with the version that sealed it."""
    columns = (("operators", "id_number"), ("operators", "phone"), ("certificates", "number"))
    seen: Seen = {}
    with engine.connect() as connection:
        for table, what in columns:
            for key, value in connection.exec_driver_sql(f"SELECT rowid, {what}_sealed FROM {table}"):
                if value is not None:
                    seen[f"{table} {key}", what] = vault.opened(value, what)  # type: ignore[arg-type]
        for kept in (_history, _claims):
            for key, row in connection.execute(sa.select(kept.c.key, kept.c.row)):
                for what in ("id_number", "phone"):
                    value = msgspec.json.decode(row)[f"{what}_sealed"]
                    if value is not None:
                        raw = msgspec.convert(value, bytes)
                        seen[f"{kept.name} {key}", what] = vault.opened(raw, what)  # type: ignore[arg-type]
    return seen


def numbers(seen: Seen) -> dict[tuple[str, str], str]:
    return {where: number for where, (number, _) in seen.items()}


def versions(seen: Seen) -> set[int]:
    return {version for _, version in seen.values()}


def test_everything_is_sealed_anew_and_every_number_stays_what_it_was(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path))
    before = opened(engine, open_vault(tmp_path))
    rotate(tmp_path, AT)
    vault = open_vault(tmp_path)
    done = reseal(engine, vault, pace=AT_ONCE)
    after = opened(engine, vault)
    assert numbers(after) == numbers(before)
    assert (versions(before), versions(after)) == ({1}, {2})
    assert {where.split()[0] for where, _ in after} == {
        "operators",
        "certificates",
        "registry_history",
        "registry_claims",
    }
    assert (done.rows, done.resealed, done.overtaken, done.unreadable) == (32, 32, 0, 0)


def test_what_was_done_before_a_run_was_broken_off_is_not_done_again(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path))
    rotate(tmp_path, AT)
    vault = open_vault(tmp_path)

    class BrokenOffError(Exception):
        pass

    def stop_at_certificates(what: str, done: int, _of: int) -> None:
        if what.startswith("certificates") and done:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        reseal(engine, vault, stop_at_certificates, AT_ONCE)
    assert versions(opened(engine, vault)) == {1, 2}
    done = reseal(engine, vault, pace=AT_ONCE)
    assert 0 < done.resealed < done.rows
    assert versions(opened(engine, vault)) == {2}
    assert reseal(engine, vault, pace=AT_ONCE).resealed == 0


def test_a_number_that_an_import_changes_meanwhile_stays_as_the_import_has_it(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path))
    rotate(tmp_path, AT)
    vault = open_vault(tmp_path)
    changed = OperatorEntry("P000005", "active", phone="12999999999")

    def import_between(what: str, done: int, _of: int) -> None:
        if what == "operators.phone_sealed" and done == 3:  # P000007 and P000005 are read, and not yet written
            bring_in(engine, vault, {"operators": [changed]}, AT + 1)

    done = reseal(engine, vault, import_between, AT_ONCE)
    assert done.overtaken == 1
    seen = opened(engine, vault)
    assert ("12999999999", 2) in seen.values()
    assert versions(seen) == {2}


def test_numbers_sealed_before_keys_had_versions_are_sealed_anew_too(engine: Engine, tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    filled(engine, vault, 1)
    rotate(tmp_path, AT)
    key = AESGCM(keys_of(tmp_path).seals[0].key)
    nonce = b"\0\2" + os.urandom(10)  # as if it were a seal of version 2
    old = nonce + key.encrypt(nonce, PHONE.encode(), None)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE operators SET phone_sealed = :old"), {"old": old})
    vault = open_vault(tmp_path)
    reseal(engine, vault, pace=AT_ONCE)
    seen = opened(engine, vault)
    assert versions(seen) == {2}
    assert seen["operators 1", "phone"] == (PHONE, 2)


def test_a_number_that_does_not_open_is_counted_and_left_alone(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path), 1)
    rotate(tmp_path, AT)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE operators SET id_number_sealed = zeroblob(60)")
    done = reseal(engine, open_vault(tmp_path), pace=AT_ONCE)
    assert (done.unreadable, done.resealed) == (1, 4)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["rotate", "reseal", "import", "retire"]), max_size=8))
def test_whatever_the_order_no_number_is_ever_lost(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    engine, keys, now = databases.engine(), tmp_path_factory.mktemp("keys"), AT
    running = open_vault(keys)
    filled(engine, running, 4)
    known = numbers(opened(engine, running))
    for step in steps:
        now += STILL_SEALING_MS
        if step == "rotate":
            rotate(keys, now)
        elif step == "reseal":
            reseal(engine, open_vault(keys), pace=AT_ONCE)
        elif step == "import":
            bring_in(engine, open_vault(keys), {"operators": people(4)}, now)
        elif len(keys_of(keys).seals) > 1:
            oldest = keys_of(keys).seals[0].version
            needed = oldest in versions(opened(engine, open_vault(keys)))
            if needed:
                with pytest.raises(VaultError, match="rows are sealed with it"):
                    retire(engine, keys, oldest, now)
            else:
                retire(engine, keys, oldest, now)
        assert numbers(opened(engine, running)) == known


# --- retiring ---------------------------------------------------------------------------------------------------


def test_a_key_is_retired_when_nothing_is_sealed_with_it(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path), 2)
    rotate(tmp_path, AT)
    with pytest.raises(VaultError, match=r"version 1: 10 rows are sealed with it; .*registry reseal"):
        retire(engine, tmp_path, 1, LATER)
    reseal(engine, open_vault(tmp_path), pace=AT_ONCE)
    retire(engine, tmp_path, 1, LATER)
    assert [key.version for key in keys_of(tmp_path).seals] == [2]
    assert versions(opened(engine, open_vault(tmp_path))) == {2}


@pytest.mark.parametrize("table", ["registry_history", "registry_claims"])
def test_a_key_of_which_only_history_or_claims_hold_a_seal_stays(engine: Engine, tmp_path: Path, table: str) -> None:
    old = open_vault(tmp_path)
    filled(engine, old, 1)
    rotate(tmp_path, AT)
    reseal(engine, open_vault(tmp_path), pace=AT_ONCE)
    with engine.begin() as connection:
        connection.execute(sa.update(metadata.tables[table]).values(row=sealed(Vault(old_keys(tmp_path)))))
    with pytest.raises(VaultError, match="1 rows"):
        retire(engine, tmp_path, 1, LATER)


def old_keys(folder: Path) -> Any:
    keys = keys_of(folder)
    return type(keys)(keys.index, keys.seals[:1])


def test_no_key_is_retired_while_the_registries_are_being_written(engine: Engine, tmp_path: Path) -> None:
    filled(engine, open_vault(tmp_path), 1)
    rotate(tmp_path, AT)
    reseal(engine, open_vault(tmp_path), pace=AT_ONCE)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE registry_state SET writing = 7")
    with pytest.raises(VaultError, match="being written"):
        retire(engine, tmp_path, 1, LATER)
    assert len(keys_of(tmp_path).seals) == 2


def test_nothing_of_an_old_seal_stays_in_the_file(databases: Databases, tmp_path: Path) -> None:
    path = databases.file()
    engine = databases.engine(path)
    filled(engine, open_vault(tmp_path / "keys"), 7)
    with engine.connect() as connection:
        old = [row[0] for row in connection.exec_driver_sql("SELECT number_sealed FROM certificates")]
    rotate(tmp_path / "keys", AT)
    reseal(engine, open_vault(tmp_path / "keys"), pace=AT_ONCE)
    engine.dispose()
    content = path.read_bytes()
    assert not any(seal in content for seal in old)
