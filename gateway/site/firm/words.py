"""What the portal calls things, in Chinese: translated where it is shown."""

from collections.abc import Iterable, Mapping
from datetime import date

from msgspec import Struct

from gateway.core.colour import Cause, Standing, explained
from gateway.core.model import Colour
from gateway.core.reasons import REASONS, Reason
from gateway.core.session import OPEN_STATES
from gateway.registry.acts import OverrideState
from gateway.registry.values import without_numbers
from gateway.site.terms import SESSION_STATES

MACHINE_STATES: Mapping[str, str] = {
    **{state: SESSION_STATES[state] for state in OPEN_STATES},
    "locked": "已锁定",
    "out_of_service": "已停用",
    "suspended": "登记为停用",
    "silent": "锁具不在线",
    "never": "锁具从未联系",
    "free": "空闲，已上锁",
    "decommissioned": "已报废",
}
"""One for each machine, in the order in which they are told."""
MACHINE_STYLES: Mapping[str, str] = {
    **dict.fromkeys(OPEN_STATES, "good"),
    **dict.fromkeys(("locked", "out_of_service", "suspended", "decommissioned", "silent"), "bad"),
}
GRANT_STATES: Mapping[OverrideState, str] = {
    "asked": "待批准",
    "lapsed": "没有批准，已失效",
    "in_force": "生效中",
    "ended": "已结束",
    "over": "已到期",
}


class Explained(Struct, frozen=True):
    """A cause with its words."""

    cause: Cause
    reason: Reason


def causes_of(standing: Standing) -> list[Explained]:
    return [Explained(cause, explained(cause.code)) for cause in standing.causes]


def reasons_of(codes: Iterable[str]) -> list[Reason]:
    """Codes of records that a later version wrote are left out."""
    return [REASONS[code] for code in codes if code in REASONS]


def counted(standings: Iterable[Standing]) -> list[tuple[Colour, int]]:
    """How many people have which colour, the worst first; none of a colour is told, too."""
    colours = [standing.colour for standing in standings]
    order: tuple[Colour, ...] = ("red", "yellow", "grey", "blue")
    return [(colour, colours.count(colour)) for colour in order]


def shown_again(typed: str) -> str:
    """What somebody typed, for a form to hold it still. INVARIANT: no personal number in the wrong field is repeated.

    >>> shown_again("HJ-0001"), shown_again("12900000001")
    ('HJ-0001', '')
    """
    return typed if without_numbers(typed) == typed else ""


def read_day(text: str) -> date | None:
    """A day as browsers send it (HTML, 2.3.5.2); None for anything else."""
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-01") else None
    except ValueError:
        return None
