"""Reading the project's documents: fenced blocks, headings, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READMES = (ROOT / "README.md", ROOT / "README.zh.md")
PAGES = (*READMES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``info`` is what stands behind the fence."""

    page: Path
    info: str
    content: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}, block {self.content.splitlines()[0]!r}"


def blocks(page: Path, info: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those with exactly this info."""
    found = [Block(page, match[1].strip(), match[2]) for match in _FENCE.finditer(page.read_text(encoding="utf-8"))]
    return [block for block in found if info is None or block.info == info]


def all_blocks(info: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, info)]


def headings(page: Path) -> list[tuple[int, str]]:
    """Depth and text, without what only looks like a heading inside a fence."""
    return [(len(marks), text) for marks, text in _HEADING.findall(_without_fences(page))]


def anchors(page: Path) -> set[str]:
    """What a link may name behind the ``#``, as GitHub makes it of headings."""
    return {_NOT_IN_ANCHORS.sub("", text.replace("`", "").lower()).replace(" ", "-") for _, text in headings(page)}


def links(page: Path) -> Iterator[str]:
    yield from _LINK.findall(_without_fences(page))


def _without_fences(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
