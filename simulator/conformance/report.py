"""Results for a person at a terminal, for a CI server, and as an exit code."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from simulator.conformance.cases import About, Case, Result, counts_against

_MARKS = {"passed": "[green]✓ passed[/]", "failed": "[bold red]✗ failed[/]", "not run": "[yellow]– not run[/]"}
_ADVICE = "[yellow]✗ advice[/]"


def conforms(results: Sequence[Result], *, allow_not_run: bool) -> bool:
    return not any(counts_against(result, allow_not_run=allow_not_run) for result in results)


# --- terminal ---------------------------------------------------------------------------------------------------


def show(console: Console, results: Sequence[Result], *, allow_not_run: bool) -> None:
    """The table, then what each failure expected and saw, then the verdict."""
    console.print(_table(results))
    for result in results:
        if result.state == "failed":
            _show_failure(console, result)
        elif result.state == "not run":
            console.print(f"[yellow]{result.about.id}[/] {escape(result.seen)}")
    console.print(verdict(results, allow_not_run=allow_not_run))


def verdict(results: Sequence[Result], *, allow_not_run: bool) -> str:
    """One line."""
    counts = {state: sum(result.state == state for result in results) for state in _MARKS}
    good = conforms(results, allow_not_run=allow_not_run)
    word = "[bold green]符合 conforms[/]" if good else "[bold red]不符合 does not conform[/]"
    return f"{word} · " + ", ".join(f"{number} {state}" for state, number in counts.items())


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "id", "requirement 要求", "clause 依据", "s"):
        table.add_column(name, justify="right" if name == "s" else "left")
    for result in results:
        about = result.about
        advice = result.state == "failed" and about.kind == "should"
        requirement = f"{escape(about.title_zh)}\n[dim]{escape(about.title)}[/]"
        mark = _ADVICE if advice else _MARKS[result.state]
        table.add_row(mark, about.id, requirement, escape(about.clause), f"{result.took_s:.1f}")
    return table


def _show_failure(console: Console, result: Result) -> None:
    console.rule(f"[red]{result.about.id}[/] {escape(result.about.title)}", align="left")
    console.print(f"expected 预期: {escape(result.expected)}\nseen     实际: {escape(result.seen)}")
    for line in result.log:
        console.print(f"[dim]{escape(line)}[/]", overflow="fold", highlight=False)


class ProgressBar:
    """Which case runs, and how long the waiting cases still take; ``with`` shows and removes it."""

    def __init__(self, console: Console, cases: Sequence[Case[object]], scale: float = 1.0) -> None:
        self._left_s = {case.about.id: _SHORT_S + case.about.takes_s / scale for case in cases}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("[dim]{task.fields[left]} left"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=len(cases), left="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, about: About, result: Result | None) -> None:
        """A case begins (None) or is over."""
        if result is not None:
            self._left_s.pop(about.id, None)
            self._bar.advance(self._task)
        left_s = sum(self._left_s.values())
        text = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
        self._bar.update(self._task, description=f"{about.id} {about.title_zh}", left=text)


_SHORT_S = 1.5
"""What a case takes that does not wait."""


# --- JUnit ------------------------------------------------------------------------------------------------------


def junit(results: Sequence[Result], suite: str) -> str:
    """One testcase a requirement; advice that is not followed is no failure there either."""
    failures = sum(_is_failure(result) for result in results)
    skipped = sum(result.state == "not run" for result in results)
    root = ET.Element("testsuite", name=suite, tests=str(len(results)), failures=str(failures), skipped=str(skipped))
    for result in results:
        root.append(_testcase(result, suite))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _testcase(result: Result, suite: str) -> ET.Element:
    about = result.about
    element = ET.Element("testcase", classname=suite, name=f"{about.id} {about.title}", time=f"{result.took_s:.3f}")
    if _is_failure(result):
        failure = ET.SubElement(element, "failure", message=_clean(f"expected {result.expected}; seen {result.seen}"))
        failure.text = _clean("\n".join((f"clause: {about.clause}", *result.log)))
    elif result.state == "not run":
        ET.SubElement(element, "skipped", message=_clean(result.seen))
    elif result.state == "failed":
        advice = ET.SubElement(element, "system-out")
        advice.text = _clean(f"advice not followed: expected {result.expected}; seen {result.seen}")
    return element


def _is_failure(result: Result) -> bool:
    return result.state == "failed" and result.about.kind == "must"


def _clean(text: str) -> str:
    """XML 1.0 holds no control characters, and a device may send any."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)


def write(path: Path, text: str) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def listing(abouts: Sequence[About]) -> Iterator[str]:
    """Every requirement as a Markdown table."""
    yield "| id | requirement | 要求 | clause | |"
    yield "| --- | --- | --- | --- | --- |"
    for about in abouts:
        kind = "" if about.kind == "must" else about.kind
        needs = f" (not with `--without {' '.join(about.needs)}`)" if about.needs else ""
        yield f"| {about.id} | {about.title}{needs} | {about.title_zh} | {about.clause} | {kind} |"
