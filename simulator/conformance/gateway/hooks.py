"""What acts on a gateway from outside, as commands: each is run to its end, without a shell."""

import asyncio
import shlex
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from simulator.conformance.gateway.stand import Act, Hooks
from simulator.conformance.gateway.tap import Tap

WITHIN_S = 120.0
FOLDER, OPERATOR = "{folder}", "{operator}"


class HookError(Exception):
    """A command cannot be run or did not do its work; the message says which and how."""


def hooks_of(commands: Mapping[str, str | None], tap: Tap | None) -> Hooks:
    """Hooks from the commands ``stop``, ``start``, ``restart``, ``import``, ``code``, ``break`` and ``mend``.

    A restart stands for stop and start in one: nothing can be done while the gateway is down. Raises HookError.
    """
    importing, coding = commands["import"], commands["code"]
    if importing is not None and FOLDER not in importing:
        raise HookError(f"--import-command {importing}: has no {FOLDER} for the folder of the files")
    if coding is not None and OPERATOR not in coding:
        raise HookError(f"--code-command {coding}: has no {OPERATOR} for whose code it is")
    restart = commands["restart"]
    if restart is not None and (commands["stop"] or commands["start"]):
        raise HookError("--restart-command: not together with --stop-command and --start-command")

    async def import_files(folder: Path) -> bool:
        return (await _run((importing or "").replace(FOLDER, str(folder)), "--import-command")).exit_code == 0

    async def make_code(operator_id: str) -> str:
        done = await _run((coding or "").replace(OPERATOR, operator_id), "--code-command", heard=True)
        if done.exit_code or not done.words:
            raise HookError(f"--code-command {coding}: gave no code (exit code {done.exit_code}); try it by hand")
        return done.words[0]

    return Hooks(
        stop=_act(commands["stop"], "--stop-command"),
        start=_act(commands["start"], "--start-command"),
        restart=_act(restart, "--restart-command"),
        import_files=import_files if importing else None,
        make_code=make_code if coding else None,
        break_storage=_act(commands["break"], "--break-storage-command"),
        mend_storage=_act(commands["mend"], "--mend-storage-command"),
        tap=tap,
    )


def _act(command: str | None, option: str) -> Act | None:
    if command is None:
        return None

    async def act() -> None:
        if code := (await _run(command, option)).exit_code:
            raise HookError(f"{option} {command}: ended with exit code {code}; try it by hand")

    return act


class Done(Struct, frozen=True):
    """How a command ended, and the words that it printed, where they were listened to."""

    exit_code: int
    words: tuple[str, ...] = ()


async def _run(command: str, option: str, *, heard: bool = False) -> Done:
    """What it prints never reaches the screen, for a table is there. Only a command that leaves nothing behind may be
    ``heard``: what stays in the background would keep the line open."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command), stdin=null, stdout=pipe if heard else null, stderr=null
        )
    except (OSError, ValueError) as error:
        raise HookError(f"{option} {command}: {error}") from error
    try:
        said, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise HookError(
            f"{option} {command}: not done within {WITHIN_S:g} s; let it start what stays in the background"
        ) from None
    return Done(process.returncode or 0, tuple((said or b"").decode(errors="replace").split()))
