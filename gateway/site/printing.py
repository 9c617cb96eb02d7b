"""PDF from HTML, made in a process of its own: laying pages out holds the interpreter for seconds, and the lock decides
in ours.

``python -m gateway.site.printing`` reads HTML on standard input and writes the PDF on standard output. Nothing but
``data:`` addresses is fetched.
"""

import asyncio
import os
import resource
import sys

from aiohttp import web

from gateway.errors import ToldInBoth
from gateway.site.child import ended, started

WITHIN_S = 40.0
"""A hundred sheets take a few seconds; what takes longer is broken or too much."""
CPU_S = 30
MEMORY_BYTES = 2 << 30
WAITING_AT_MOST = 4
"""One prints at a time, so many wait for it; further ones are told to come again."""
NICENESS = 10
"""Whoever waits for a lock comes first."""
_PDF = b"%PDF-"


class PrintingError(ToldInBoth):
    """Nothing was printed."""


class Printer:
    """Prints one document at a time."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._one_prints = asyncio.Lock()
        self._wanted = 0

    async def pdf(self, html: str) -> bytes:
        """Raises PrintingError."""
        if self._wanted > WAITING_AT_MOST:
            raise PrintingError(
                f"{self._wanted} documents wait to be printed; try again in a minute",
                "正在打印的人太多，请过一分钟再试。",
            )
        self._wanted += 1
        try:
            async with self._one_prints:
                return await _printed(html, self._within_s)
        finally:
            self._wanted -= 1


PRINTER: web.AppKey[Printer] = web.AppKey("printer", Printer)


async def _printed(html: str, within_s: float) -> bytes:
    child = await started("gateway.site.printing", errors=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(within_s):
            made, said = await child.communicate(html.encode())
    except TimeoutError:
        raise PrintingError(
            f"it took longer than {within_s:.0f} s; print fewer pages", "打印用时太长，没有完成。请少选一些再试。"
        ) from None
    finally:
        await ended(child)
    if child.returncode or not made.startswith(_PDF):
        raise PrintingError(
            f"the printer failed ({child.returncode}): {said.decode(errors='replace').strip().rpartition(chr(10))[2]}",
            "打印没有成功。请再试一次；一直这样时，请联系系统管理员。",
        )
    return made


def main() -> None:
    """Print one document within bounds of time and memory."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    import weasyprint  # type: ignore[import-untyped]  # half a second and megabytes that the gateway never needs
    from weasyprint.urls import URLFetcher  # type: ignore[import-untyped]

    html = sys.stdin.buffer.read().decode()
    fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    sys.stdout.buffer.write(weasyprint.HTML(string=html, url_fetcher=fetcher).write_pdf())


if __name__ == "__main__":
    main()
