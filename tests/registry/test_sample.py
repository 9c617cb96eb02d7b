"""The sample county: its sizes, its people in order and in trouble, and that it is the same for the same seed."""

from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from stdnum.cn import ric

from gateway.registry.columns import KINDS
from gateway.registry.importer import Report
from gateway.registry.sample import PROCESSES, PROFILES, Tables, generate
from gateway.registry.sheets import write_files
from gateway.registry.values import unknown_area
from tests.registry.conftest import Import

TODAY = date(2026, 11, 21)
Rows = list[dict[str, Any]]


def named(tables: Tables) -> dict[str, Rows]:
    return {
        kind.name: [dict(zip((c.name for c in kind.columns), row, strict=True)) for row in getattr(tables, kind.name)]
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def county() -> dict[str, Rows]:
    [tables] = generate(PROFILES["county"], 1, TODAY)
    return named(tables)


def in_order(certificate: dict[str, Any]) -> bool:
    return (
        certificate["valid_from"] <= TODAY <= certificate["valid_until"]
        and (certificate["review_due"] > TODAY or certificate["reviewed_on"] is not None)
        and (certificate["status"], certificate["verification"]) == ("valid", "verified")
    )


def employers(county: dict[str, Rows]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for job in county["employments"]:
        if job["from"] <= TODAY and (job["until"] is None or job["until"] >= TODAY):
            found[job["operator_id"]].add(job["uscc"])
    return found


def test_660_firms_1603_machines_and_1360_people_in_order(county: dict[str, Rows]) -> None:
    jobs, items = employers(county), defaultdict(set)
    for certificate in filter(in_order, county["certificates"]):
        items[certificate["operator_id"]].add(certificate["item"])
    processes = defaultdict(set)
    for machine in county["machines"]:
        processes[machine["uscc"]].add(machine["process"])
    able = [
        person
        for person in county["operators"]
        if person["status"] == "active"
        and any(items[person["operator_id"]] & processes[firm] for firm in jobs[person["operator_id"]])
    ]
    assert (len(county["enterprises"]), len(county["machines"]), len(able)) == (660, 1603, 1360)
    assert len(county["operators"]) == 1360 + 204


def test_every_machine_has_somebody_in_its_firm_who_may_use_it(county: dict[str, Rows]) -> None:
    jobs, held = employers(county), set()
    for certificate in filter(in_order, county["certificates"]):
        held |= {(firm, certificate["item"]) for firm in jobs[certificate["operator_id"]]}
    assert {(machine["uscc"], machine["process"]) for machine in county["machines"]} <= held


def test_a_realistic_share_is_in_trouble(county: dict[str, Rows]) -> None:
    certificates = county["certificates"]
    assert {row["status"] for row in certificates} == {"valid", "suspended", "revoked"}
    assert {row["verification"] for row in certificates} == {"verified", "unverified", "counterfeit"}
    assert any(row["valid_until"] < TODAY for row in certificates)
    assert any(row["valid_from"] > TODAY for row in certificates)
    assert any(row["review_due"] < TODAY and row["reviewed_on"] is None for row in certificates)
    assert {row["status"] for row in county["operators"]} == {"active", "blocked"}
    assert {row["operator_id"] for row in county["operators"]} > {row["operator_id"] for row in certificates}
    assert len(employers(county)) < len(county["operators"])
    assert {row["status"] for row in county["enterprises"]} == {
        "active",
        "production_suspended",
        "licence_suspended",
        "closed",
    }
    assert {row["status"] for row in county["machines"]} == {"active", "suspended", "decommissioned"}


def test_most_machines_weld_by_fusion(county: dict[str, Rows]) -> None:
    share = Counter(machine["process"] for machine in county["machines"])
    assert share["fusion"] > 0.85 * 1603
    assert set(share) == set(PROCESSES)


def test_nobody_can_be_a_real_person(county: dict[str, Rows]) -> None:
    numbers = [person["id_number"] for person in county["operators"]]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        assert number[-1] == ric.calc_check_digit(number)
        assert unknown_area(number) is not None
        assert 20 <= TODAY.year - int(number[6:10]) <= 56


def test_the_same_seed_and_day_make_the_same_county(county: dict[str, Rows]) -> None:
    [again] = generate(PROFILES["county"], 1, TODAY)
    [other] = generate(PROFILES["county"], 2, TODAY)
    assert named(again) == county
    assert named(other) != county


@pytest.mark.parametrize("profile", ["city", "province"])
def test_larger_profiles_share_their_totals_among_divisions(profile: str) -> None:
    whole = PROFILES[profile]
    first = next(generate(whole, 1, TODAY))
    assert len(whole.divisions) == len(set(whole.divisions))
    assert len(first.enterprises) == pytest.approx(whole.enterprises / len(whole.divisions), abs=1)
    assert len(first.operators) == pytest.approx((whole.certified + whole.troubled) / len(whole.divisions), abs=2)


def test_a_province_holds_700_000_certificates() -> None:
    province = PROFILES["province"]
    first = next(generate(province, 1, TODAY))
    assert len(first.certificates) * len(province.divisions) == pytest.approx(700_000, rel=0.03)


@pytest.mark.parametrize("day", [date(2028, 2, 29), date(2027, 2, 28), date(2026, 12, 31)])
def test_any_day_will_do(day: date) -> None:
    [tables] = generate(PROFILES["county"], 3, day)
    assert len(tables.machines) == 1603


def test_english_csv_and_chinese_xlsx_say_the_same(tmp_path: Path, bring_in: Import) -> None:
    write_files(generate(PROFILES["county"], 1, TODAY), tmp_path / "csv")
    write_files(generate(PROFILES["county"], 1, TODAY), tmp_path / "xlsx", form="xlsx", chinese=True)
    first: Report = bring_in(tmp_path / "csv")
    second: Report = bring_in(tmp_path / "xlsx")
    assert first.summary is not None
    assert second.summary is not None
    assert first.bad.lines == second.bad.lines == 0
    assert first.loose_ends == []
    assert second.summary.touched == 0
    assert second.summary.counts["operators"].unchanged == 1564
