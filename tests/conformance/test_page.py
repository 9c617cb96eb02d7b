"""docs/conformance.md lists every requirement. ``python -m tests.conformance.test_page`` writes the lists anew."""

import re
from pathlib import Path

from simulator.conformance.chip.all import CHIP
from simulator.conformance.gateway.all import GATEWAY
from simulator.conformance.report import listing

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_PART = re.compile(r"(<!-- cases:(chip|gateway) -->\n).*?(<!-- /cases -->)", re.DOTALL)


def rewritten(page: str) -> str:
    abouts = {
        "chip": [case.about for case in CHIP.chosen(())],
        "gateway": [case.about for case in GATEWAY.chosen(())],
    }
    return _PART.sub(lambda found: f"{found[1]}{chr(10).join(listing(abouts[found[2]]))}\n{found[3]}", page)


def test_the_page_lists_every_requirement_as_the_kit_has_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(_PART.findall(page)) == 2
    assert rewritten(page) == page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
