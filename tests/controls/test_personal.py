"""Personal numbers on the command line: shown only to who says who they are and why, found, re-keyed and purged."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.clock import now_ms
from gateway.keys import open_keys
from gateway.store.journal import Batch, Journal
from gateway.store.purge import DAY_MS
from gateway.store.vault import FILE_NAME, open_vault, rotate
from tests.controls.conftest import Office
from tests.service import county
from tests.store.databases import decision
from tests.support.gateway import weldgate

WHO = ("--by", "Wang An", "--reason", "复核身份 check of identity")
NOW = now_ms()


@pytest.fixture
def archive(office: Office, tmp_path: Path) -> Office:
    """An office with keys of its own, which may be changed."""
    shutil.copytree(office.keys, tmp_path / "keys")
    return replace(office, keys=tmp_path / "keys")


def keys(office: Office) -> tuple[str, str]:
    return "--keys", str(office.keys)


# --- operator number --------------------------------------------------------------------------------------------


def test_a_full_number_is_shown_and_who_asked_is_on_record(office: Office) -> None:
    command = ("operator", "number", county.welder(1), "--field", "id_number", *WHO, *keys(office))
    assert office.does(*command) == [county.id_number(1)]
    with office.engine.connect() as connection:
        record = bytes(connection.exec_driver_sql("SELECT record FROM ledger WHERE kind = 'access'").scalar_one())
    assert b'"by":"Wang An"' in record
    assert county.id_number(1).encode() not in record
    assert "intact" in office.does("audit", "verify")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "…", "--reason", "check of identity"), "give the name of the person"),
        (("--by", "Wang An", "--reason", "so"), "say in a few words why"),
        (("--by", "Wang An", "--reason", f"is it {county.id_number(1)}?"), "looks like an ID number"),
    ],
)
def test_without_a_name_and_a_reason_no_number_is_shown(office: Office, words: tuple[str, ...], said: str) -> None:
    refused = office.refuses("operator", "number", county.welder(1), "--field", "phone", *words, *keys(office))
    assert said in refused
    assert county.id_number(1) not in refused


def test_a_number_that_nobody_knows_and_a_person_whom_nobody_knows_are_told(office: Office) -> None:
    command = ("operator", "number", "P-NOBODY", "--field", "phone", *WHO, *keys(office))
    assert "nobody of this number is registered" in office.refuses(*command)


def test_with_another_vault_nothing_is_shown_and_nothing_recorded(office: Office, tmp_path: Path) -> None:
    command = ("operator", "number", county.welder(1), "--field", "id_number", *WHO)
    assert "there is no vault.json" in office.refuses(*command, "--keys", str(tmp_path / "other"))
    open_vault(tmp_path / "other")
    assert FILE_NAME in office.refuses(*command, "--keys", str(tmp_path / "other"))


# --- operator find ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["{}", " {}\n", "T{}\n"])
def test_a_person_is_found_by_a_number_that_is_not_on_the_command_line(office: Office, typed: str) -> None:
    number = county.id_number(1)
    done = weldgate("operator", "find", "--database", office.url, *keys(office), stdin=typed.format(number))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{county.welder(1)}  ")
    assert number[-4:] in done.stdout
    assert number not in done.stdout + done.stderr


def test_whoever_is_not_there_is_not_found(office: Office) -> None:
    done = weldgate("operator", "find", "--database", office.url, *keys(office), stdin="990000199001019999\n")
    assert (done.returncode, done.stdout) == (1, "")


# --- keys -------------------------------------------------------------------------------------------------------


def test_the_vault_is_rotated_sealed_anew_and_its_old_key_kept_for_an_hour(archive: Office) -> None:
    said = weldgate("keys", "rotate-vault", *keys(archive))
    assert "key version 2 seals from now on" in said.stdout
    assert "within 10 s" in said.stdout
    (said_anew,) = archive.does("registry", "reseal", *keys(archive))
    rows, _, of = said_anew.partition(" rows")[0].partition(" of ")
    assert rows == of != "0"
    assert archive.does("registry", "reseal", *keys(archive))[0].startswith("0 of ")
    assert "an hour after the rotation" in archive.refuses("keys", "retire-vault", "1", *keys(archive))
    number = ("operator", "number", county.welder(1), "--field", "id_number", *WHO)
    assert archive.does(*number, *keys(archive)) == [county.id_number(1)]


def test_an_old_key_is_retired_when_nothing_needs_it(archive: Office) -> None:
    rotate(archive.keys, NOW - 2 * 3_600_000)
    assert "rows are sealed with it" in archive.refuses("keys", "retire-vault", "1", *keys(archive))
    archive.does("registry", "reseal", *keys(archive))
    assert "retired key version 1" in archive.does("keys", "retire-vault", "1", *keys(archive))[0]


# --- purge ------------------------------------------------------------------------------------------------------


@pytest.fixture
def aged(office: Office, tmp_path: Path) -> Office:
    """Refusals of sixty days, and nothing else on record."""
    with office.engine.begin() as connection:
        for table in ("ledger", "ledger_head"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    journal = Journal(office.engine.dialect, open_keys(tmp_path / "signing").signer())
    with office.engine.connect() as connection:
        for day in range(60, 0, -1):
            refusal = decision(f"request-{day:04}", at=NOW - day * DAY_MS)
            journal.commit(connection, Batch([refusal]))
    return office


@pytest.fixture
def thirty_days(tmp_path: Path) -> tuple[str, str]:
    policy = tmp_path / "policy.toml"
    policy.write_text("[retention]\nledger_days = 30\nusage_days = 0\n")
    return "--policy", str(policy)


def test_a_dry_run_tells_what_is_due_and_deletes_nothing(aged: Office, thirty_days: tuple[str, str]) -> None:
    said = "\n".join(aged.does("purge", "--dry-run", *WHO, *thirty_days))
    assert "用量 usage" in said
    assert "永久保存 kept for ever" in said
    assert "the ledger goes up to record 29" in said
    assert "nothing was deleted" in said
    assert aged.records() == 60


def test_a_purge_deletes_it_and_audit_goes_on_from_there(aged: Office, thirty_days: tuple[str, str]) -> None:
    (head,) = aged.does("audit", "verify")
    noted = head.rpartition(" ")[2]
    said = "\n".join(aged.does("purge", *WHO, *thirty_days))
    assert "the ledger goes up to record 29" in said
    assert aged.records() == 32
    assert "intact: 32 records (up to record 29 purged)" in aged.does("audit", "verify")[0]
    aged.does("audit", "verify", "--expect-head", noted)
    aged.does("audit", "export", "--out", str(aged.database.with_suffix(".jsonl")))
    assert len(aged.database.with_suffix(".jsonl").read_text().splitlines()) == 31
    assert "records up to 29 are purged" in aged.refuses("audit", "show", "request-0060")
    aged.does("audit", "show", "request-0005")
    assert "nothing is due" in "\n".join(aged.does("purge", *WHO, *thirty_days))


def test_a_head_that_was_noted_and_is_purged_is_told_apart_from_a_forged_one(
    aged: Office, thirty_days: tuple[str, str]
) -> None:
    with aged.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT seq, hash FROM ledger WHERE seq IN (20, 29) ORDER BY seq").all()
    aged.does("purge", *WHO, *thirty_days)
    gone, last = (f"{seq}:{digest.hex()}" for seq, digest in rows)
    assert aged.run("audit", "verify", "--expect-head", last).returncode == 0
    done = aged.run("audit", "verify", "--expect-head", gone)
    assert done.returncode == 1
    assert "record 20: the record that was noted is purged, as all up to 29: note a newer head" in done.stdout
    assert aged.run("audit", "verify", "--expect-head", f"29:{'0' * 64}").returncode == 1


def test_by_default_the_ledger_is_kept(aged: Office) -> None:
    assert "nothing is due" in "\n".join(aged.does("purge", *WHO))
    assert aged.records() == 60


def test_a_purge_without_a_name_and_a_reason_is_refused(aged: Office, thirty_days: tuple[str, str]) -> None:
    said = aged.refuses("purge", "--by", "Wang An", "--reason", "old", *thirty_days)
    assert "say in a few words why" in said
