"""What a result means for the verdict, and how it is told."""

from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from simulator.conformance.cases import About, Kit, Result
from simulator.conformance.report import conforms, junit, show

MUST = About("CHIP-1.1", "It does", "它做到", "What a chip does, 1")
SHOULD = About("CHIP-1.2", "It might", "它可以", "What a chip does, 1", "should")
FAILED = Result(MUST, "failed", "an event", "none\x07 [b]at all[/b]", ("chip → PUBLISH \x00",), 1.5)

VERDICTS = (
    # result                                          conforms    with --allow-not-run
    (Result(MUST, "passed"), True, True),
    (FAILED, False, False),
    (Result(SHOULD, "failed", "a", "b"), True, True),
    (Result(MUST, "not run", seen="pass --driver"), False, True),
    (Result(MUST, "not run", seen="without clock", declared=True), True, True),
)


@pytest.mark.parametrize(("result", "strict", "lenient"), VERDICTS)
def test_the_verdict(result: Result, strict: bool, lenient: bool) -> None:
    results = [Result(MUST, "passed"), result]
    assert (conforms(results, allow_not_run=False), conforms(results, allow_not_run=True)) == (strict, lenient)


def test_junit_has_one_testcase_a_requirement_and_is_xml_whatever_a_device_sent() -> None:
    text = junit(
        [FAILED, Result(SHOULD, "failed", "a", "b"), Result(MUST, "not run", seen="pass --tap")], "weldgate.chip"
    )
    suite = ET.fromstring(text)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "expected an event" in (failure.get("message") or "")
    assert "What a chip does, 1" in (failure.text or "")


def test_a_person_reads_what_was_expected_and_seen_and_the_packets() -> None:
    console = Console(file=StringIO(), width=140)
    show(console, [FAILED, Result(MUST, "not run", seen="pass --tap")], allow_not_run=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("CHIP-1.1", "它做到", "an event", "[b]at all[/b]", "chip → PUBLISH", "pass --tap", "does not conform"):
        assert part in text


def test_ids_are_chosen_by_their_beginning_and_sorted_by_their_numbers() -> None:
    kit: Kit[None] = Kit()
    for case_id in ("OTHERS-04", "CHIP-1.10", "CHIP-1.9", "CHIP-11.1", "CHIP-1.1"):

        @kit.case(case_id, "", "", "")
        async def run(_: None) -> None:
            """Nothing."""

    ids = [case.about.id for case in kit.chosen(())]
    assert ids == ["CHIP-1.1", "CHIP-1.9", "CHIP-1.10", "CHIP-11.1", "OTHERS-04"]
    assert [case.about.id for case in kit.chosen(("CHIP-1",))] == ids[:3]
    assert [case.about.id for case in kit.chosen(("CHIP-1.1",))] == ids[:1]
    with pytest.raises(ValueError, match="twice"):
        kit.case("CHIP-1.1", "", "", "")(run)
