"""Files that people take away, made in a process of their own: a million rows hold an interpreter for a minute, and the
lock decides in ours."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from aiohttp import web

from gateway.errors import ToldInBoth
from gateway.site.child import ended, started
from gateway.site.sheets import Format, Job

CHUNK_BYTES = 64 << 10
MOST_AT_ONCE = 2
"""Files that are made at the same time; whoever comes then is told to come again."""
TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class ExportError(ToldInBoth):
    """No file was made."""


class Exports:
    """Makes few files at a time."""

    def __init__(self) -> None:
        self._made = 0

    async def file(self, job: Job) -> AsyncGenerator[bytes, None]:
        """The file in pieces. Raises ExportError; what came before it is no whole file."""
        if self._made >= MOST_AT_ONCE:
            raise ExportError("other files are being made; try again in a minute", "正在导出的人太多，请过一分钟再试。")
        self._made += 1
        try:
            async with aclosing(_pieces(job)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._made -= 1


EXPORTS: web.AppKey[Exports] = web.AppKey("exports", Exports)


async def _pieces(job: Job) -> AsyncGenerator[bytes, None]:
    child = await started("gateway.site.sheets")
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(msgspec.json.encode(job))
        child.stdin.close()
        while piece := await child.stdout.read(CHUNK_BYTES):
            yield piece
        if await child.wait():
            raise ExportError(
                f"the file was not finished ({child.returncode}); try again, or with fewer rows",
                "导出没有完成。请再试一次，或缩小范围。",
            )
    finally:
        await ended(child)
