"""What the registries held when, over HTTP."""

from datetime import date

import pytest

from gateway.core.model import OperatorStatus
from gateway.store.changes import Origin
from gateway.store.entries import UNKNOWN_DAY, EmploymentEntry, EnterpriseEntry, Entry, OperatorEntry
from gateway.store.history import mark_purged
from gateway.store.registry import apply_entries
from tests.api.served import VAULT, Served
from tests.gate.gates import NOW
from tests.registry.people import ANNA, FIRM, PHONE

SECOND = 1000


def person(status: OperatorStatus) -> OperatorEntry:
    return OperatorEntry("P1", status, name="样例甲", id_number=ANNA, phone=PHONE)


@pytest.fixture
def lived(api: Served) -> Served:
    """A person who came with version 1 and was blocked by version 2, a second later."""
    firm = EnterpriseEntry(FIRM, "330521", "active")
    work = EmploymentEntry("P1", FIRM, UNKNOWN_DAY, date(2030, 1, 1))
    bring_in(api, NOW, "files", {"operators": [person("active")], "enterprises": [firm], "employments": [work]})
    bring_in(api, NOW + SECOND, "city", {"operators": [person("blocked")]})
    return api


def bring_in(api: Served, now: int, source: str, rows: dict[str, list[Entry]]) -> None:
    apply_entries(api.engine, VAULT, rows, Origin(source, "test", now), now)


async def test_every_state_of_a_person_with_its_versions_and_source(lived: Served) -> None:
    answer = await lived.get("/operators/P1/history")
    assert (answer.status, answer.body["version"], answer.body["kept_since"]) == (200, 2, 0)
    assert answer.body["states"] == [
        {
            "kind": "employments",
            "from_version": 1,
            "from_at": NOW,
            "to_version": None,
            "gone": False,
            "source": "files",
            "row": {"operator_id": "P1", "uscc": FIRM, "until": "2030-01-01"},
        },
        {
            "kind": "operators",
            "from_version": 1,
            "from_at": NOW,
            "to_version": 2,
            "gone": False,
            "source": "files",
            "row": {"operator_id": "P1", "name": "样**", "status": "active"},
        },
        {
            "kind": "operators",
            "from_version": 2,
            "from_at": NOW + SECOND,
            "to_version": None,
            "gone": False,
            "source": "city",
            "row": {"operator_id": "P1", "name": "样**", "status": "blocked"},
        },
    ]


@pytest.mark.parametrize(
    ("at", "version", "statuses"),
    [(NOW - 1, 0, []), (NOW, 1, ["active"]), (NOW + SECOND - 1, 1, ["active"]), (NOW + SECOND, 2, ["blocked"])],
)
async def test_as_of_a_time_only_what_held_then(lived: Served, at: int, version: int, statuses: list[str]) -> None:
    answer = await lived.get(f"/operators/P1/history?at={at}")
    assert answer.body["version"] == version
    assert [one["row"]["status"] for one in answer.body["states"] if one["kind"] == "operators"] == statuses


async def test_a_firm_with_its_people(lived: Served) -> None:
    answer = await lived.get(f"/enterprises/{FIRM}/history")
    assert [one["kind"] for one in answer.body["states"]] == ["employments", "enterprises"]


async def test_what_was_purged_does_not_count_as_what_never_was(lived: Served) -> None:
    with lived.engine.begin() as connection:
        mark_purged(connection, NOW + 2 * SECOND)
    answer = await lived.get(f"/operators/P1/history?at={NOW}")
    assert (answer.status, answer.body["type"]) == (409, "/docs/api.md#conflict")
    assert "purged" in answer.body["detail"]
    assert (await lived.get("/operators/P1/history")).body["kept_since"] == 2


async def test_a_person_is_no_firm_and_nobody_has_no_history(lived: Served) -> None:
    for path in (f"/operators/{FIRM}", "/enterprises/P1", "/operators/P-NOBODY", "/enterprises/NOFIRM"):
        assert (await lived.get(f"{path}/history")).status == 404


async def test_no_history_holds_a_personal_number(lived: Served) -> None:
    told = str((await lived.get("/operators/P1/history")).body)
    assert ANNA not in told
    assert PHONE not in told
    assert VAULT.index(ANNA) not in told
