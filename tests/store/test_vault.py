"""Personal numbers at rest: sealed, found by a keyed hash, and the keys readable by their owner alone."""

import json
import os
import threading
from base64 import b64encode
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.core.model import CertificateStatus
from gateway.store.changes import Origin
from gateway.store.entries import CertificateEntry
from gateway.store.registry import apply_entries
from gateway.store.vault import (
    FILE_NAME,
    LOOK_AGAIN_S,
    STILL_SEALING_MS,
    Keys,
    Number,
    SealKey,
    Vault,
    VaultError,
    fingerprint,
    keys_of,
    mask,
    open_vault,
    retire,
    rotate,
    write_secret,
)
from tests.store.databases import AT

NUMBER = "990000199001010017"
INDEX_KEY = bytes(range(32, 64))
VAULT = Vault(Keys(INDEX_KEY, (SealKey(1, 0, bytes(range(32))),)))
KINDS: tuple[Number, ...] = get_args(Number)


def old_seal(number: str, key: bytes, nonce: bytes | None = None) -> bytes:
    """As numbers were sealed before keys had versions."""
    nonce = nonce or os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, number.encode(), None)


@given(st.text(max_size=64), st.sampled_from(KINDS))
def test_what_is_sealed_opens_again(number: str, what: Number) -> None:
    assert VAULT.open(VAULT.seal(number, what), what) == number


@pytest.mark.parametrize(("one", "other"), [(one, other) for one in KINDS for other in KINDS if one != other])
def test_a_seal_of_one_kind_of_number_does_not_stand_for_another_kind(one: Number, other: Number) -> None:
    with pytest.raises(VaultError, match=other):
        VAULT.open(VAULT.seal(NUMBER, one), other)


def test_the_same_number_is_sealed_differently_each_time_and_never_in_clear() -> None:
    sealed = {VAULT.seal(NUMBER, "phone") for _ in range(50)}
    assert len(sealed) == 50
    assert all(NUMBER.encode() not in one for one in sealed)


@pytest.mark.parametrize("place", range(2 + 12 + len(NUMBER) + 16))
def test_a_sealed_number_with_one_bit_changed_does_not_open(place: int) -> None:
    sealed = bytearray(VAULT.seal(NUMBER, "phone"))
    sealed[place] ^= 1
    with pytest.raises(VaultError, match=FILE_NAME):
        VAULT.open(bytes(sealed), "phone")


@given(st.binary(max_size=60))
def test_bytes_that_are_no_seal_do_not_open(content: bytes) -> None:
    with pytest.raises(VaultError):
        VAULT.open(content, "phone")


def test_another_vault_opens_nothing() -> None:
    with pytest.raises(VaultError):
        Vault(Keys(bytes(32), (SealKey(1, 0, bytes(32)),))).open(VAULT.seal(NUMBER, "phone"), "phone")


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_index_finds_the_same_number_and_no_other(one: str, other: str) -> None:
    assert (VAULT.index(one) == VAULT.index(other)) == (one == other)


def test_the_index_is_128_bits_and_tells_nothing_without_its_key() -> None:
    assert len(VAULT.index(NUMBER)) == 32
    assert VAULT.index(NUMBER) != Vault(Keys(bytes(32), (SealKey(1, 0, bytes(range(32))),))).index(NUMBER)


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
    assert second.open(first.seal(NUMBER, "phone"), "phone") == NUMBER
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


# --- keys with versions -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(max_size=20)), min_size=1, max_size=6))
def test_whatever_key_sealed_a_number_it_opens(numbers: list[tuple[Number, str]]) -> None:
    keys, sealed = Keys(INDEX_KEY, ()), []
    for version, (what, number) in enumerate(numbers, 1):
        keys = Keys(INDEX_KEY, (*keys.seals, SealKey(version, 0, os.urandom(32))))
        sealed.append(Vault(keys).seal(number, what))
    opened = [Vault(keys).opened(seal, what) for seal, (what, _) in zip(sealed, numbers, strict=True)]
    assert opened == [(number, version) for version, (_, number) in enumerate(numbers, 1)]


def test_the_newest_key_seals_and_its_version_stands_at_the_seal_s_beginning(tmp_path: Path) -> None:
    first = open_vault(tmp_path).seal(NUMBER, "phone")
    assert rotate(tmp_path, AT) == 2
    vault = open_vault(tmp_path)
    second = vault.seal(NUMBER, "phone")
    assert (first[:2], second[:2], vault.newest) == (b"\0\1", b"\0\2", 2)
    assert [vault.opened(seal, "phone") for seal in (first, second)] == [(NUMBER, 1), (NUMBER, 2)]


def test_a_rotation_leaves_the_index_as_it_is(tmp_path: Path) -> None:
    before = open_vault(tmp_path)
    rotate(tmp_path, AT)
    assert open_vault(tmp_path).index(NUMBER) == before.index(NUMBER)
    assert fingerprint(open_vault(tmp_path)) == fingerprint(before)


def test_a_running_process_opens_what_another_sealed_with_a_key_added_since(tmp_path: Path) -> None:
    running = open_vault(tmp_path)
    rotate(tmp_path, AT)
    sealed = open_vault(tmp_path).seal(NUMBER, "phone")
    assert running.newest == 1
    assert running.open(sealed, "phone") == NUMBER
    assert running.newest == 2


def test_a_process_that_seals_takes_up_a_new_key_in_time(tmp_path: Path) -> None:
    clock_ns = [0]
    open_vault(tmp_path)
    running = Vault(keys_of(tmp_path), tmp_path / FILE_NAME, lambda: clock_ns[0])
    rotate(tmp_path, AT)
    assert running.opened(running.seal(NUMBER, "phone"), "phone") == (NUMBER, 1)
    clock_ns[0] = LOOK_AGAIN_S * 1_000_000_000 + 1
    assert running.opened(running.seal(NUMBER, "phone"), "phone") == (NUMBER, 2)
    assert LOOK_AGAIN_S * 1000 < STILL_SEALING_MS


def test_a_rotated_file_is_for_its_owner_alone_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    open_vault(tmp_path)
    rotate(tmp_path, AT)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [FILE_NAME]


def test_of_keys_that_are_added_at_once_none_is_lost(tmp_path: Path) -> None:
    open_vault(tmp_path)
    start, versions = threading.Barrier(4), []

    def add() -> None:
        start.wait(30)
        versions.append(rotate(tmp_path, AT))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(versions) == [2, 3, 4, 5]
    assert [key.version for key in keys_of(tmp_path).seals] == [1, 2, 3, 4, 5]


def test_a_retired_key_opens_nothing_any_more(tmp_path: Path) -> None:
    sealed = open_vault(tmp_path).seal(NUMBER, "phone")
    rotate(tmp_path, AT)
    retire(tmp_path, 1, AT + STILL_SEALING_MS)
    with pytest.raises(VaultError):
        open_vault(tmp_path).open(sealed, "phone")


def test_the_key_that_seals_one_that_may_still_and_one_that_is_not_there_are_not_retired(tmp_path: Path) -> None:
    open_vault(tmp_path)
    with pytest.raises(VaultError, match=r"is the key that seals.*rotate-vault"):
        retire(tmp_path, 1, AT)
    rotate(tmp_path, AT)
    with pytest.raises(VaultError, match="an hour after"):
        retire(tmp_path, 1, AT + STILL_SEALING_MS - 1)
    with pytest.raises(VaultError, match="no such key; there are: 1, 2"):
        retire(tmp_path, 3, AT)
    assert len(keys_of(tmp_path).seals) == 2


# --- files and seals from before keys had versions --------------------------------------------------------------

OLD_KEY = bytes(range(32))


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    content = {"seal": b64encode(OLD_KEY).decode(), "index": b64encode(INDEX_KEY).decode()}
    write_secret(tmp_path / FILE_NAME, json.dumps(content).encode())
    return tmp_path


@pytest.mark.parametrize("beginning", [b"", b"\0\1", b"\0\2", b"\xff\xff"], ids=["any", "as 1", "as 2", "unknown"])
def test_an_old_seal_opens_by_key_1_however_it_begins(old_file: Path, beginning: bytes) -> None:
    nonce = beginning + os.urandom(12 - len(beginning))
    sealed = old_seal(NUMBER, OLD_KEY, nonce)
    assert open_vault(old_file).opened(sealed, "phone") == (NUMBER, 1)
    rotate(old_file, AT)
    assert open_vault(old_file).opened(sealed, "phone") == (NUMBER, 1)


def test_an_old_file_goes_on_with_its_keys_and_seals_in_the_new_form(old_file: Path) -> None:
    vault = open_vault(old_file)
    assert vault.seal(NUMBER, "phone")[:2] == b"\0\1"
    assert vault.index(NUMBER) == VAULT.index(NUMBER)
    assert VAULT.open(vault.seal(NUMBER, "phone"), "phone") == NUMBER


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"index":"AAAA"}',
        b'{"index":"AAAA","seal":"AAAA"}',
        b'{"index":"AAAA","seals":[{"version":1,"at":0,"key":"AAAA"}]}',
        b'{"index":"AAAA","seals":[{"version":0,"at":0,"key":"AAAAAAAAAAAAAAAAAAAAAA=="}]}',
    ],
)
def test_a_file_without_keys_that_can_be_used_is_refused(tmp_path: Path, content: bytes) -> None:
    write_secret(tmp_path / FILE_NAME, content)
    with pytest.raises(VaultError, match="restore it from a backup"):
        open_vault(tmp_path)


# --- INVARIANT: one number has one index ------------------------------------------------------------------------


def _certificate(status: CertificateStatus) -> CertificateEntry:
    return CertificateEntry("T990000199001010017", "P000123", "fusion", date(2030, 1, 1), status, "verified")


def test_invariant_a_database_takes_no_registry_sealed_with_another_vault(engine: Engine, tmp_path: Path) -> None:
    """Or a revoked certificate would stand as a new row beside the valid one."""
    right, wrong = open_vault(tmp_path / "right"), open_vault(tmp_path / "wrong")
    apply_entries(engine, right, {"certificates": [_certificate("valid")]}, Origin("files", "first", AT), AT)
    with pytest.raises(VaultError, match=FILE_NAME):
        apply_entries(
            engine, wrong, {"certificates": [_certificate("revoked")]}, Origin("files", "second", AT + 1), AT + 1
        )
    summary = apply_entries(
        engine, right, {"certificates": [_certificate("revoked")]}, Origin("files", "third", AT + 2), AT + 2
    )
    counts = summary.counts["certificates"]
    assert (summary.version, counts.added, counts.changed) == (2, 0, 1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT status FROM certificates").fetchall() == [("revoked",)]
