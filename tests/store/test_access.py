"""Reading a full number: never without a record of who, whose and why; and people found by a number of theirs."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.errors import DatabaseUnavailable
from gateway.store.access import Access, AccessError, Field, Hit, find_operator, reveal
from gateway.store.changes import Origin
from gateway.store.entries import CertificateEntry, OperatorEntry
from gateway.store.ledger import check
from gateway.store.registry import apply_entries
from gateway.store.vault import Vault, VaultError, open_vault
from tests.store.databases import AT, IMPATIENT, Databases, locked, whole_chain

ID_NUMBER, PHONE, OTHER_ID = "990000199001010017", "12900000001", "990000199001010025"
REASON = "复核身份"


def access(field: Field = "id_number", operator_id: str = "P000001") -> Access:
    return Access("Wang An", field, operator_id, REASON)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return open_vault(tmp_path / "keys")


@pytest.fixture
def path(databases: Databases, vault: Vault) -> Path:
    path = databases.file()
    people = [
        OperatorEntry("P000001", "active", name="样例一", id_number=ID_NUMBER, phone=PHONE),
        OperatorEntry("P000002", "active", name="样例二", id_number=OTHER_ID, phone=PHONE),
        OperatorEntry("P000003", "active", name="样例三"),
    ]
    held = CertificateEntry("T" + OTHER_ID, "P000003", "fusion", date(2030, 1, 1), "valid", "verified")
    apply_entries(
        databases.engine(path),
        vault,
        {"operators": people, "certificates": [held]},
        Origin("files", "first", AT),
        AT,
    )
    return path


@pytest.fixture
def people(databases: Databases, path: Path) -> Engine:
    return databases.engine(path, IMPATIENT)


def records(engine: Engine) -> list[dict[str, Any]]:
    rows, head = whole_chain(engine)
    assert list(check(rows, head)) == []
    return [json.loads(row.record) for row in rows if row.kind == "access"]


@pytest.mark.parametrize(("field", "number"), [("id_number", ID_NUMBER), ("phone", PHONE)])
def test_the_number_is_read_and_who_read_whose_and_why_is_on_record(
    people: Engine, vault: Vault, field: Field, number: str
) -> None:
    assert reveal(people, vault, access(field), AT + 1) == number
    (record,) = records(people)
    assert (record["kind"], record["at"], record["operator_id"]) == ("access", AT + 1, "P000001")
    assert record["body"] == {"by": "Wang An", "field": field, "operator_id": "P000001", "reason": REASON}
    assert number not in json.dumps(record)


def test_invariant_no_record_no_number(people: Engine, path: Path, vault: Vault) -> None:
    with locked(path), pytest.raises(DatabaseUnavailable, match="not shown"):
        reveal(people, vault, access(), AT)
    with people.begin() as connection:
        connection.exec_driver_sql("CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(FAIL, 'full'); END")
    with pytest.raises(DatabaseUnavailable, match="not shown"):
        reveal(people, vault, access(), AT)
    assert records(people) == []


@pytest.mark.parametrize("operator_id", ["P000003", "P999999"])
def test_where_there_is_no_number_nothing_is_read_and_nothing_recorded(
    people: Engine, vault: Vault, operator_id: str
) -> None:
    with pytest.raises(AccessError, match=f"phone of operator {operator_id}: there is none"):
        reveal(people, vault, access("phone", operator_id), AT)
    assert records(people) == []


def test_a_seal_that_was_moved_from_another_person_is_not_shown(people: Engine, vault: Vault) -> None:
    with people.begin() as connection:
        other = "(SELECT id_number_sealed FROM operators WHERE operator_id = 'P000002')"
        connection.exec_driver_sql(f"UPDATE operators SET id_number_sealed = {other} WHERE operator_id = 'P000001'")
    with pytest.raises(VaultError, match="another person's"):
        reveal(people, vault, access(), AT)
    assert records(people) == []


def test_people_are_found_by_any_number_of_theirs(people: Engine, vault: Vault) -> None:
    with people.connect() as connection:
        assert find_operator(connection, vault, ID_NUMBER) == [Hit("P000001", "样例一", "id_number")]
        assert [hit.operator_id for hit in find_operator(connection, vault, PHONE)] == ["P000001", "P000002"]
        assert find_operator(connection, vault, "T" + OTHER_ID) == [Hit("P000003", "样例三", "number")]
        assert find_operator(connection, vault, ID_NUMBER[:-1]) == []
