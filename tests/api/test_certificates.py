"""Checks of certificates over HTTP: the verdict, its record, and no number in either."""

import json
from datetime import date
from typing import Any

import pytest

from gateway.store.changes import Origin
from gateway.store.entries import CertificateEntry, OperatorEntry
from gateway.store.ledger import decode_record, rows_in_order
from gateway.store.registry import apply_entries
from tests.api.served import VAULT, Answer, Served
from tests.gate.gates import NOW
from tests.registry.people import ANNA, BERT

NUMBER = f"T{ANNA}"
TRUE = {"number": NUMBER, "name": "样例甲", "id_number": ANNA, "item": "fusion", "valid_until": "2030/1/1"}


@pytest.fixture
def registered(api: Served) -> Served:
    held = CertificateEntry(NUMBER, "P1", "fusion", date(2030, 1, 1), "valid", "verified")
    holder = OperatorEntry("P1", "active", name="样例甲", id_number=ANNA)
    apply_entries(api.engine, VAULT, {"operators": [holder], "certificates": [held]}, Origin("files", "test", NOW), NOW)
    return api


async def check(api: Served, claim: Any) -> Answer:
    return await api.call("POST", "/certificates/check", json.dumps(claim).encode(), Content_Type="application/json")


def checks(api: Served) -> list[dict[str, Any]]:
    with api.engine.connect() as connection:
        found = [one.record for one in rows_in_order(connection) if one.kind == "check"]
    return [json.loads(bytes(decode_record(record).body)) for record in found]


async def test_a_true_one_is_verified_and_the_check_is_on_record_by_the_token(registered: Served) -> None:
    answer = await check(registered, TRUE)
    assert (answer.status, answer.body["verdict"], answer.body["ground"]) == (200, "verified", "agrees")
    assert (answer.body["operator_id"], answer.body["status"]) == ("P1", "valid")
    assert answer.body["valid_until"] == "2030-01-01"
    assert answer.body["message_zh"] == "与登记一致。"
    (record,) = checks(registered)
    assert (record["by"], record["verdict"]) == (registered.token.split("_")[1], "verified")


async def test_what_differs_is_named_and_masked(registered: Served) -> None:
    answer = await check(registered, TRUE | {"id_number": BERT, "name": "样例乙"})
    assert (answer.body["verdict"], answer.body["ground"]) == ("counterfeit", "differs")
    assert [one["field"] for one in answer.body["differences"]] == ["name", "id_number"]
    assert answer.body["differences"][0]["claimed"] == "样**"


async def test_no_number_stands_in_an_answer_or_on_record(registered: Served) -> None:
    answers = [await check(registered, claim) for claim in (TRUE, TRUE | {"id_number": BERT}, {"id_number": ANNA})]
    told = str([answer.body for answer in answers]) + str(checks(registered)) + str(registered.seen)
    assert len(checks(registered)) == len(answers)
    for number in (ANNA, BERT, NUMBER, VAULT.index(ANNA), VAULT.index(NUMBER)):
        assert number not in told


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ({}, "neither 证号 number nor 身份证号 id_number"),
        ({"number": "", "id_number": None}, "neither"),
        (TRUE | {"item": "电焊"}, "item = '电焊'"),
        (TRUE | {"valid_until": "2030-02-30"}, "does not exist"),
        (TRUE | {"id_number": ANNA[:-1]}, "id_number"),
        (TRUE | {"colour": "blue"}, "colour"),
        (TRUE | {"number": 5}, "number"),
    ],
)
async def test_a_claim_that_cannot_be_read_is_not_checked(registered: Served, claim: Any, says: str) -> None:
    answer = await check(registered, claim)
    assert (answer.status, answer.kind) == (422, "application/problem+json")
    assert says in answer.body["detail"]
    assert ANNA[:-1] not in answer.body["detail"]
    assert checks(registered) == []


async def test_without_registries_there_is_nothing_to_compare_with(api: Served) -> None:
    answer = await check(api, TRUE)
    assert answer.status == 409
    assert "weldgate registry import" in answer.body["detail"]
