"""Processes beside the gateway that make files: what would hold the interpreter for seconds, while the lock decides in
ours."""

import asyncio
import os
import sys
from asyncio.subprocess import Process

_SECRET_SETTINGS = "WELDGATE_"  # noqa: S105  (what their names begin with)
"""The broker's password may stand in one: no child needs them."""


async def started(module: str, errors: int = asyncio.subprocess.DEVNULL) -> Process:
    """A Python module as a process, with pipes for what goes in and comes out."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_SETTINGS)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=pipe, stdout=pipe, stderr=errors, env=environment
    )


async def ended(process: Process) -> None:
    """Kill what still runs, and wait for it."""
    if process.returncode is None:
        process.kill()
        if process.stdout is not None:
            await process.stdout.read()  # what is left in the pipe, to its end: then it closes
        await process.wait()
