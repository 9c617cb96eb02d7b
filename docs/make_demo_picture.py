"""Draws docs/images/demo.svg from what ``weldgate demo`` shows. Run: ``python docs/make_demo_picture.py``."""

import html
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.cells import cell_len

PICTURE = Path(__file__).resolve().parent / "images" / "demo.svg"
DEMO = (sys.executable, "-m", "gateway", "demo", "--machines", "200", "--for", "20s", "--picture", str(PICTURE))
_REMOTE_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_TEXT = re.compile(r'textLength="[0-9.]+"([^>]*)>([^<]*)</text>')
_CELL = 12.2
"""Width of one cell in rich's picture."""


def main() -> int:
    """Run the demo in a folder of its own; its exit code."""
    with tempfile.TemporaryDirectory(prefix="weldgate-picture-") as folder:
        done = subprocess.run(DEMO, cwd=folder, check=False)  # noqa: S603  (our own command)
    if done.returncode == 0:
        PICTURE.write_text(mended(PICTURE.read_text(encoding="utf-8")), encoding="utf-8")
    return done.returncode


def mended(svg: str) -> str:
    """Without remote fonts, and with Chinese as wide as a terminal shows it (rich counts its characters once)."""
    svg = _REMOTE_FONTS.sub("", svg).replace("Fira Code, monospace", "Fira Code, Noto Sans Mono CJK SC, monospace")
    return _TEXT.sub(_wide, svg)


def _wide(found: re.Match[str]) -> str:
    length = _CELL * cell_len(html.unescape(found[2]))
    return f'textLength="{length:.1f}"{found[1]}>{found[2]}</text>'


if __name__ == "__main__":
    sys.exit(main())
