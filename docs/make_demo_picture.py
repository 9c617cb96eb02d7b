"""Draws docs/images/demo.svg from what ``weldgate demo`` shows. Run: ``python docs/make_demo_picture.py``."""

import html
import importlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI

PICTURE = Path(__file__).resolve().parent / "images" / "demo.svg"
WIDTH = 120
_REMOTE_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_TEXT = re.compile(r'textLength="[0-9.]+"([^>]*)>([^<]*)</text>')
_CELL = 12.2
"""Width of one cell in rich's picture."""


def main() -> int:
    """Run the demo with a console that records; exit code of the demo."""
    demo = importlib.import_module("gateway.cli.demo")  # the package's own attribute ``demo`` is the command
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    demo.out = console  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="weldgate-picture-") as folder:
        os.chdir(folder)
        try:
            demo.demo(machines=200, duration="20s", report=None, seed=1)
        except typer.Exit as ended:
            if ended.exit_code:
                return int(ended.exit_code)
    PICTURE.write_text(_mended(console.export_svg(title="make demo", theme=MONOKAI)), encoding="utf-8")
    return 0


def _mended(svg: str) -> str:
    """Without remote fonts, and with Chinese as wide as a terminal shows it (rich counts its characters once)."""
    svg = _REMOTE_FONTS.sub("", svg).replace("Fira Code, monospace", "Fira Code, Noto Sans Mono CJK SC, monospace")
    return _TEXT.sub(_wide, svg)


def _wide(found: re.Match[str]) -> str:
    length = _CELL * cell_len(html.unescape(found[2]))
    return f'textLength="{length:.1f}"{found[1]}>{found[2]}</text>'


if __name__ == "__main__":
    sys.exit(main())
