"""What acts on a gateway from outside, as commands: each is run to its end, without a shell."""

import asyncio
import shlex
from collections.abc import Mapping
from pathlib import Path

from simulator.conformance.gateway.stand import Act, Hooks
from simulator.conformance.gateway.tap import Tap

WITHIN_S = 120.0
FOLDER = "{folder}"


class HookError(Exception):
    """A command cannot be run or did not do its work; the message says which and how."""


def hooks_of(commands: Mapping[str, str | None], tap: Tap | None) -> Hooks:
    """Hooks from the commands ``stop``, ``start``, ``restart``, ``import``, ``break`` and ``mend``; raises HookError.

    A restart stands for stop and start in one: nothing can be done while the gateway is down.
    """
    importing = commands["import"]
    if importing is not None and FOLDER not in importing:
        raise HookError(f"--import-command {importing}: has no {FOLDER} for the folder of the files")
    restart = commands["restart"]
    if restart is not None and (commands["stop"] or commands["start"]):
        raise HookError("--restart-command: not together with --stop-command and --start-command")

    async def import_files(folder: Path) -> bool:
        return await _run((importing or "").replace(FOLDER, str(folder)), "--import-command") == 0

    return Hooks(
        stop=_act(commands["stop"], "--stop-command"),
        start=_act(commands["start"], "--start-command"),
        restart=_act(restart, "--restart-command"),
        import_files=import_files if importing else None,
        break_storage=_act(commands["break"], "--break-storage-command"),
        mend_storage=_act(commands["mend"], "--mend-storage-command"),
        tap=tap,
    )


def _act(command: str | None, option: str) -> Act | None:
    if command is None:
        return None

    async def act() -> None:
        if code := await _run(command, option):
            raise HookError(f"{option} {command}: ended with exit code {code}; try it by hand")

    return act


async def _run(command: str, option: str) -> int:
    """The exit code; what it prints goes nowhere, for a table is on the screen."""
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*shlex.split(command), stdin=null, stdout=null, stderr=null)
    except (OSError, ValueError) as error:
        raise HookError(f"{option} {command}: {error}") from error
    try:
        return await asyncio.wait_for(process.wait(), WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise HookError(
            f"{option} {command}: not done within {WITHIN_S:g} s; let it start what stays in the background"
        ) from None
