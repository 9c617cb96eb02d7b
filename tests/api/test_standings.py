"""Colours over HTTP: why, until when and what to do, for a person and for a firm; and what runs out there soon."""

from datetime import timedelta

from gateway.core.model import Enterprise
from tests.api.served import Served
from tests.core.matrix import certificate, employment, operator
from tests.gate.gates import TODAY

FIRM = employment().uscc
SOON = TODAY + timedelta(days=10)


async def test_who_is_in_order_has_a_colour_and_no_causes(api: Served) -> None:
    answer = await api.get("/operators/P000123/standing")
    changes_on = answer.body.pop("changes_on")
    assert answer.body == {"operator_id": "P000123", "colour": "blue", "state": "in_order", "causes": [], "version": 7}
    assert changes_on > TODAY.isoformat()


async def test_who_is_not_learns_why_until_when_and_what_to_do(api: Served) -> None:
    api.gate.change(("P000123", certificate(ref="ref-P000123", valid_until=SOON)))
    answer = await api.get("/operators/P000123/standing")
    assert (answer.body["colour"], answer.body["state"], answer.body["version"]) == ("yellow", "soon", 8)
    assert answer.body["changes_on"] == (SOON + timedelta(days=1)).isoformat()
    assert answer.body["causes"] == [
        {
            "code": "certificate_expires_soon",
            "refuses": False,
            "since": None,
            "until": SOON.isoformat(),
            "certificate": "ref-P000123",
            "item": "fusion",
            "message_zh": "操作证即将到期。",
            "remedy_zh": "请在到期前到培训机构办理换证。",
            "message_en": "The certificate is about to expire.",
            "remedy_en": "Have it renewed at a training centre before its last day.",
        }
    ]


async def test_a_firm_stands_by_its_people_and_names_who_stands_worst(api: Served) -> None:
    api.gate.change(operator(operator_id="P000456", status="blocked"))
    answer = await api.get(f"/enterprises/{FIRM}/standing")
    assert (answer.body["uscc"], answer.body["colour"], answer.body["causes"]) == (FIRM, "yellow", [])
    assert answer.body["people"] == {"blue": 2, "red": 1}
    assert (answer.body["worst"], answer.body["worst_cause"]["code"]) == ("P000456", "operator_blocked")


async def test_a_firm_that_was_closed_says_so_itself(api: Served) -> None:
    api.gate.change(Enterprise(FIRM, "330521", "closed"))
    answer = await api.get(f"/enterprises/{FIRM}/standing")
    assert answer.body["colour"] == "red"
    assert [cause["code"] for cause in answer.body["causes"]] == ["enterprise_closed"]


async def test_what_runs_out_at_a_firm_within_so_many_days(api: Served) -> None:
    api.gate.change(
        ("P000123", certificate(ref="ref-P000123", valid_until=TODAY + timedelta(days=70))),
        ("P000456", certificate(ref="ref-P000456", valid_until=SOON)),
    )
    found = {
        query: [one["operator_id"] for one in (await api.get(f"/enterprises/{FIRM}/expiring{query}")).body["expiring"]]
        for query in ("", "?days=60", "?days=90")
    }
    assert found == {"": ["P000456"], "?days=60": ["P000456"], "?days=90": ["P000456", "P000123"]}
    assert (await api.get(f"/enterprises/{FIRM}/expiring?days=31")).status == 400


async def test_whom_no_registry_names_has_no_colour(api: Served) -> None:
    for path in ("/operators/P-NOBODY/standing", "/enterprises/NOFIRM/standing", "/enterprises/NOFIRM/expiring"):
        assert (await api.get(path)).status == 404
