"""Contradicting sources and held changes over HTTP."""

import json

import pytest

from gateway.core.model import OperatorStatus
from gateway.store.changes import Origin
from gateway.store.entries import (
    UNKNOWN_DAY,
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    Entry,
    OperatorEntry,
)
from gateway.store.guard import Guard, Held
from gateway.store.ledger import decode_record, rows_in_order
from gateway.store.readers import reference
from gateway.store.registry import apply_entries
from gateway.store.writing import PLAINLY, How
from tests.api.served import VAULT, Answer, Served
from tests.gate.gates import NOW, TODAY
from tests.registry.people import ANNA, BERT, FIRM

STRICT = How(guard=Guard(share_percent=2.0, at_least=2))
PEOPLE = ("P1", "P2", "P3")


def bring_in(api: Served, source: str, rows: dict[str, list[Entry]], how: How = PLAINLY) -> None:
    apply_entries(api.engine, VAULT, rows, Origin(source, "call 12900000001", NOW), NOW, how)


def people(status: OperatorStatus, *who: str) -> dict[str, list[Entry]]:
    return {"operators": [OperatorEntry(operator_id, status) for operator_id in who or PEOPLE]}


def certificate(number: str, holder: str) -> CertificateEntry:
    return CertificateEntry(number, holder, "fusion", TODAY.replace(year=2040), "valid", "verified")


# --- contradictions ---------------------------------------------------------------------------------------------


async def test_contradictions_with_each_word_and_the_value_that_counts(api: Served) -> None:
    bring_in(api, "files", people("active"))
    bring_in(api, "city", people("blocked", "P2", "P3"))
    answer = await api.get("/registry/conflicts")
    assert answer.status == 200
    assert answer.body["conflicts"][0] == {
        "kind": "operators",
        "key": ["P2"],
        "field": "status",
        "values": [{"source": "city", "value": "blocked"}, {"source": "files", "value": "active"}],
        "holds": "blocked",
    }
    assert len(answer.body["conflicts"]) == 2
    assert len((await api.get("/registry/conflicts?limit=1")).body["conflicts"]) == 1


async def test_that_numbers_contradict_is_told_and_not_which_they_are(api: Served) -> None:
    for source, name, number in (("files", "样例甲", ANNA), ("city", "样例乙", BERT)):
        bring_in(api, source, {"operators": [OperatorEntry("P1", "active", name=name, id_number=number)]})
    answer = await api.get("/registry/conflicts")
    found = {
        one["field"]: (*(word["value"] for word in one["values"]), one["holds"]) for one in answer.body["conflicts"]
    }
    assert found == {"id_number": (None, None, None), "name": ("样**", "样**", "样**")}


async def test_a_certificate_is_named_by_its_reference(api: Served) -> None:
    for source, holder in (("files", "P1"), ("city", "P2")):
        bring_in(api, source, {"certificates": [certificate("NO-000001", holder)]})
    (conflict,) = (await api.get("/registry/conflicts")).body["conflicts"]
    assert (conflict["key"], conflict["field"]) == ([reference(VAULT.index("NO-000001"), "fusion")], "operator_id")


# --- held changes -----------------------------------------------------------------------------------------------


@pytest.fixture
def held(api: Served) -> str:
    """The hold of a change that would take the right to weld from everybody."""
    works: list[Entry] = [EmploymentEntry(who, FIRM, UNKNOWN_DAY) for who in PEOPLE]
    held: list[Entry] = [certificate(f"NO-{at:06}", who) for at, who in enumerate(PEOPLE)]
    firm: list[Entry] = [EnterpriseEntry(FIRM, "330521", "active")]
    bring_in(api, "files", people("active") | {"enterprises": firm, "employments": works, "certificates": held})
    with pytest.raises(Held) as refused:
        bring_in(api, "files", people("blocked"), STRICT)
    return refused.value.hold.hold_id


async def decide(api: Served, hold_id: str, how: str, reason: str = "核对无误") -> Answer:
    body = json.dumps({"reason": reason}).encode()
    return await api.call("POST", f"/registry/holds/{hold_id}/{how}", body, Content_Type="application/json")


async def test_a_held_change_waits_with_the_number_of_people_concerned(api: Served, held: str) -> None:
    answer = await api.get("/registry/holds")
    assert answer.body["holds"] == [
        {
            "hold_id": held,
            "at": NOW,
            "source": "files",
            "note": "call *******0001",
            "people": 3,
            "of_people": 3,
            "state": "held",
            "decided_at": None,
            "by": None,
            "reason": None,
        }
    ]


async def test_once_confirmed_it_goes_through_when_it_is_brought_in_again(api: Served, held: str) -> None:
    answer = await decide(api, held, "confirm")
    token_id = api.token.split("_")[1]
    assert (answer.status, answer.body["state"]) == (200, "confirmed")
    assert (answer.body["by"], answer.body["reason"], answer.body["decided_at"]) == (token_id, "核对无误", NOW)
    bring_in(api, "files", people("blocked"), STRICT)
    assert (await api.get("/registry/holds")).body["holds"][0]["state"] == "used"
    with api.engine.connect() as connection:
        told = [json.loads(bytes(decode_record(one.record).body)) for one in rows_in_order(connection)]
    assert [(one["hold_id"], one["state"], one["by"]) for one in told if "hold_id" in one] == [
        (held, "confirmed", token_id)
    ]


async def test_once_rejected_it_is_held_again(api: Served, held: str) -> None:
    assert (await decide(api, held, "reject", "文件有误")).body["state"] == "rejected"
    with pytest.raises(Held):
        bring_in(api, "files", people("blocked"), STRICT)


@pytest.mark.parametrize("again", ["confirm", "reject"])
async def test_what_was_decided_stays_so(api: Served, held: str, again: str) -> None:
    await decide(api, held, "reject", "文件有误")
    answer = await decide(api, held, again)
    assert (answer.status, answer.body["type"]) == (409, "/docs/api.md#conflict")
    assert "rejected already" in answer.body["detail"]


async def test_there_has_to_be_such_a_hold_and_a_reason_that_tells_something(api: Served, held: str) -> None:
    assert (await decide(api, "0a1b2c3d", "confirm")).status == 404
    for reason in ("ok", "      ", f"call {ANNA}"):
        answer = await decide(api, held, "confirm", reason)
        assert answer.status == 422
        assert ANNA not in answer.body["detail"]
    assert (await api.get("/registry/holds")).body["holds"][0]["state"] == "held"
