"""What the demo shows: decisions as they fall, with reasons, and the tally."""

from collections import Counter, deque
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.core.credential import mask
from gateway.core.reasons import REASONS
from gateway.core.rules import local_time
from gateway.observe.events import Decided, Observed, Rejected, SessionEnded

SHOWN = 14
"""Decisions on the board; fits a terminal of 40 lines with the tally."""
MOST_REASONS = 8


class Board:
    """An observer of the gateway that rich can draw."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._latest: deque[Decided] = deque(maxlen=SHOWN)
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._dropped = 0
        self._ended = 0

    def __call__(self, event: Observed) -> None:
        if isinstance(event, Decided):
            self._latest.appendleft(event)
            self._outcomes[event.decision.outcome] += 1
            self._reasons.update(event.decision.reasons)
        elif isinstance(event, Rejected):
            self._dropped += 1
        elif isinstance(event, SessionEnded):
            self._ended += 1

    def __rich__(self) -> RenderableType:
        return Group(self._head(), self._decisions(), self._tally())

    def _head(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for what, address in self._addresses.items():
            grid.add_row(Text(what, style="dim"), Text(address, style="bold cyan"))
        return Panel(grid, title="焊机准入演示 WeldGate demo", title_align="left", border_style="blue")

    def _decisions(self) -> RenderableType:
        table = Table(expand=True, box=None, pad_edge=False)
        table.add_column("时间 time", width=9, style="dim")
        table.add_column("焊机 machine", width=16)
        table.add_column("人员 who", width=8)
        table.add_column("结果", width=6)
        table.add_column("原因 reason", ratio=1, no_wrap=True, overflow="ellipsis")
        for event in self._latest:
            table.add_row(*_row(event))
        return table

    def _tally(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        counts = Text.assemble(
            (f"允许 allowed {self._outcomes['allow']}", "bold green"),
            "   ",
            (f"拒绝 refused {self._outcomes['deny']}", "bold red"),
            f"   结束 sessions ended {self._ended}   丢弃 dropped {self._dropped}",
        )
        for code, number in self._reasons.most_common(MOST_REASONS):
            table.add_row(f"{number:>5}", Text(code, style="yellow"), REASONS[code].message_zh)
        return Panel(Group(counts, table), border_style="blue")


def _row(event: Decided) -> tuple[RenderableType, ...]:
    allowed = event.decision.outcome == "allow"
    who = mask(event.facts.operator_id) if event.facts.operator_id else "—"
    verdict = Text("✔ 允许", style="bold green") if allowed else Text("✘ 拒绝", style="bold red")
    why = "；".join(REASONS[code].message_zh.rstrip("。") for code in event.decision.reasons)
    codes = " ".join(event.decision.reasons)
    reason = (
        Text.assemble(why, (f"  {codes}", "dim")) if codes else Text(f"租期 lease {event.decision.lease_s} s", "dim")
    )
    return f"{local_time(event.facts.now):%H:%M:%S}", event.machine_id, who, verdict, reason
