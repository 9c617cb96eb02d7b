"""The registries over HTTP: as a decision sees them."""

from sqlalchemy import insert

from gateway.core.model import Enterprise
from gateway.store.changes import Origin, Tally, begin, open_for_writing, publish
from gateway.store.tables import RegistrySource, metadata
from tests.api.served import VAULT, Served
from tests.core.matrix import certificate, employment, machine, operator
from tests.gate.gates import NOW


async def test_a_person_with_certificates_and_employments(api: Served) -> None:
    answer = await api.get("/operators/P000123")
    assert answer.status == 200
    held, work = certificate(ref="ref-P000123"), employment()
    assert answer.body == {
        "operator_id": "P000123",
        "status": "active",
        "certificates": [
            {
                "ref": held.ref,
                "number": held.number,
                "item": "fusion",
                "valid_from": held.valid_from and held.valid_from.isoformat(),
                "valid_until": held.valid_until.isoformat(),
                "review_due": held.review_due and held.review_due.isoformat(),
                "reviewed_on": held.reviewed_on and held.reviewed_on.isoformat(),
                "status": "valid",
                "verification": "verified",
            }
        ],
        "employments": [{"uscc": work.uscc, "since": work.since and work.since.isoformat(), "until": None}],
        "version": 7,
    }


async def test_it_changes_when_decisions_do(api: Served) -> None:
    api.gate.change(operator(operator_id="P000123", status="blocked"))
    answer = await api.get("/operators/P000123")
    assert (answer.body["status"], answer.body["version"]) == ("blocked", 8)


async def test_somebody_whom_only_a_certificate_names_has_no_status(api: Served) -> None:
    api.gate.change(("P-LOOSE", certificate(ref="loose")))
    answer = await api.get("/operators/P-LOOSE")
    assert (answer.status, answer.body["status"], len(answer.body["certificates"])) == (200, None, 1)


async def test_a_firm(api: Served) -> None:
    api.gate.change(Enterprise("91330521MA28A0AA00", "330521", "closed"))
    answer = await api.get("/enterprises/91330521MA28A0AA00")
    assert answer.body == {"uscc": "91330521MA28A0AA00", "division": "330521", "status": "closed", "version": 8}


async def test_a_machine_and_who_holds_it(api: Served) -> None:
    known = machine(machine_id="HJ-0001")
    answer = await api.get("/machines/HJ-0001")
    assert answer.body == {
        "machine_id": "HJ-0001",
        "chip": known.chip,
        "uscc": known.uscc,
        "process": known.process,
        "division": known.division,
        "status": known.status,
        "hold": None,
        "version": 7,
    }
    api.gate.control("lock")
    assert (await api.get("/machines/HJ-0001")).body["hold"] == {"kind": "locked", "since": NOW}


async def test_the_version_that_holds_and_the_age_of_each_source(api: Served) -> None:
    with api.engine.begin() as connection:
        row = {"source": "city", "confirmed_at": NOW - 90_000, "problem": "answered 500 for 12900000001"}
        connection.execute(insert(metadata.tables[RegistrySource.__tablename__]).values(**row, position="{}"))
    answer = await api.get("/registry")
    (source,) = answer.body.pop("sources")
    assert answer.body == {"version": 7, "confirmed_at": NOW - 60_000, "age_s": 60}
    assert (source["source"], source["confirmed_at"], source["age_s"]) == ("city", NOW - 90_000, 90)
    assert source["problem"] == "answered 500 for *******0001"


async def test_versions_the_latest_first_as_many_as_wanted(api: Served) -> None:
    with api.engine.begin() as connection:
        open_for_writing(connection, VAULT)
        for number in (1, 2, 3):
            change = begin(connection, Origin("files", f"import {number}", NOW), NOW)
            publish(connection, change, NOW + number, Tally(added=number))
    answer = await api.get("/registry/versions?limit=2")
    assert [one["version"] for one in answer.body["versions"]] == [3, 2]
    assert answer.body["versions"][0] == {
        "version": 3,
        "at": NOW + 3,
        "source": "files",
        "note": "import 3",
        "added": 3,
        "changed": 0,
        "removed": 0,
    }
