"""Which decisions a page or an export is about, as its address or form says."""

from collections.abc import Mapping
from datetime import date
from typing import get_args
from urllib.parse import urlencode

from msgspec import Struct

from gateway.core.days import begins, number_of
from gateway.core.model import Outcome
from gateway.core.reasons import REASONS
from gateway.registry.values import personal_identifier
from gateway.site.visit import Visit
from gateway.store.figures.decisions import Wanted

FIELDS = ("division", "firm", "machine", "person", "outcome", "reason", "since", "until", "kind")
NUMBERS = ("machine", "person", "reason")
"""Fields in which somebody might type a personal number."""
LONGEST = 256


class Filter(Struct, frozen=True):
    """What was typed, and what it means. ``problem`` says what cannot be used; then nothing is looked for."""

    typed: Mapping[str, str]
    wanted: Wanted
    problem: str = ""

    @property
    def query(self) -> str:
        """The same as a part of an address."""
        return urlencode({name: value for name, value in self.typed.items() if value})

    def without(self, *names: str) -> str:
        """The same but some."""
        return urlencode({name: value for name, value in self.typed.items() if value and name not in names})


def filter_of(visit: Visit, fields: Mapping[str, str]) -> Filter:
    """By the fields of an address or a form; what is empty limits nothing."""
    typed = {name: fields.get(name, "").strip()[:LONGEST] for name in FIELDS}
    if any(personal_identifier(typed[name]) for name in NUMBERS):
        return Filter(dict.fromkeys(FIELDS, ""), Wanted(), visit.text("请不要输入身份证号或手机号；请用人员编号查找。"))
    since, until = _day(typed["since"]), _day(typed["until"])
    if (typed["since"] and since is None) or (typed["until"] and until is None):
        return Filter(typed, Wanted(), visit.text("日期要写成 2026-01-31 这样。"))
    if since is not None and until is not None and until < since:
        return Filter(typed, Wanted(), visit.text("结束日期在开始日期之前。"))
    if typed["division"] and not (typed["division"].isascii() and typed["division"].isdigit()):
        return Filter(typed, Wanted(), visit.text("行政区划代码只有数字。"))
    return Filter(
        typed,
        Wanted(
            division=typed["division"],
            uscc=typed["firm"].upper() or None,
            machine_id=typed["machine"].upper() or None,
            operator_id=typed["person"] or None,
            outcome=next((known for known in get_args(Outcome) if known == typed["outcome"]), None),
            reason=typed["reason"] if typed["reason"] in REASONS else None,
            kind="offline" if typed["kind"] == "offline" else None,
            since=begins(number_of(since)) if since else None,
            until=begins(number_of(until) + 1) if until else None,
        ),
    )


def _day(text: str) -> date | None:
    """As browsers send it (HTML, 2.3.5.2)."""
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-31") else None
    except ValueError:
        return None
