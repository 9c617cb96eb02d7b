"""Personal numbers at rest: sealed, found by a keyed hash, and the keys readable by their owner alone."""

import os
import threading
from datetime import date
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.core.model import CertificateStatus
from gateway.store.entries import CertificateEntry
from gateway.store.registry import import_rows
from gateway.store.vault import FILE_NAME, Vault, VaultError, fingerprint, mask, open_vault, write_secret
from tests.store.databases import AT

NUMBER = "990000199001010017"
VAULT = Vault(bytes(range(32)), bytes(range(32, 64)))


@given(st.text(max_size=64))
def test_what_is_sealed_opens_again(number: str) -> None:
    assert VAULT.open(VAULT.seal(number)) == number


def test_the_same_number_is_sealed_differently_each_time_and_never_in_clear() -> None:
    sealed = {VAULT.seal(NUMBER) for _ in range(50)}
    assert len(sealed) == 50
    assert all(NUMBER.encode() not in one for one in sealed)


@pytest.mark.parametrize("place", range(12 + len(NUMBER) + 16))
def test_a_sealed_number_with_one_bit_changed_does_not_open(place: int) -> None:
    sealed = bytearray(VAULT.seal(NUMBER))
    sealed[place] ^= 1
    with pytest.raises(InvalidTag):
        VAULT.open(bytes(sealed))


def test_another_vault_opens_nothing() -> None:
    with pytest.raises(InvalidTag):
        Vault(bytes(32), bytes(32)).open(VAULT.seal(NUMBER))


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_index_finds_the_same_number_and_no_other(one: str, other: str) -> None:
    assert (VAULT.index(one) == VAULT.index(other)) == (one == other)


def test_the_index_is_128_bits_and_tells_nothing_without_its_key() -> None:
    assert len(VAULT.index(NUMBER)) == 32
    assert VAULT.index(NUMBER) != Vault(bytes(range(32)), bytes(32)).index(NUMBER)


@given(st.text(max_size=40))
def test_a_masked_number_shows_at_most_its_last_four_characters(number: str) -> None:
    shown = mask(number)
    assert shown.lstrip("*") in ("", number[-4:].lstrip("*"))
    assert len(shown) >= len(number)


def test_the_file_is_made_once_for_its_owner_alone_and_keeps_its_keys(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "keys"
    first = open_vault(folder)
    path = folder / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    content = path.read_bytes()
    second = open_vault(folder)
    assert path.read_bytes() == content
    assert second.open(first.seal(NUMBER)) == NUMBER
    assert second.index(NUMBER) == first.index(NUMBER)
    assert [one.name for one in folder.iterdir()] == [FILE_NAME]


def test_whatever_the_umask_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        open_vault(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_vault_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    open_vault(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(VaultError, match=f"{mode:04o}.*chmod 600"):
        open_vault(tmp_path)


def test_a_fingerprint_tells_vaults_apart_and_is_no_key(tmp_path: Path) -> None:
    one, other = open_vault(tmp_path / "a"), open_vault(tmp_path / "b")
    assert fingerprint(one) == fingerprint(open_vault(tmp_path / "a")) != fingerprint(other)


def test_two_vaults_have_two_keys(tmp_path: Path) -> None:
    assert open_vault(tmp_path / "a").index(NUMBER) != open_vault(tmp_path / "b").index(NUMBER)


def test_of_two_that_make_the_file_at_once_the_first_one_s_keys_hold_for_both(tmp_path: Path) -> None:
    start, indexes = threading.Barrier(2), []

    def make() -> None:
        start.wait(30)
        indexes.append(open_vault(tmp_path).index(NUMBER))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(indexes) == 2
    assert len(set(indexes)) == 1


def test_what_a_process_left_behind_that_died_while_writing_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / f"vault.{os.getpid()}.partial").write_bytes(b"half")
    open_vault(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_existing_secret_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    write_secret(path, b"first")
    write_secret(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


# --- INVARIANT: one number has one index ------------------------------------------------------------------------


def _certificate(status: CertificateStatus) -> CertificateEntry:
    return CertificateEntry("T990000199001010017", "P000123", "fusion", date(2030, 1, 1), status, "verified")


def test_invariant_a_database_takes_no_registry_sealed_with_another_vault(engine: Engine, tmp_path: Path) -> None:
    """Or a revoked certificate would stand as a new row beside the valid one."""
    right, wrong = open_vault(tmp_path / "right"), open_vault(tmp_path / "wrong")
    import_rows(engine, right, {"certificates": [_certificate("valid")]}, "first", AT)
    with pytest.raises(VaultError, match=FILE_NAME):
        import_rows(engine, wrong, {"certificates": [_certificate("revoked")]}, "second", AT + 1)
    summary = import_rows(engine, right, {"certificates": [_certificate("revoked")]}, "third", AT + 2)
    counts = summary.counts["certificates"]
    assert (summary.version, counts.added, counts.changed) == (2, 0, 1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT status FROM certificates").fetchall() == [("revoked",)]
