"""What does to a device what no network can do: mains, badges, welding current, clock. One JSON line each way.

The kit writes ``{"do": "scan", "badge": "P1"}`` and the driver answers, once it is done, ``{"ok": true}`` or
``{"ok": false, "error": "no scanner on this bench"}``. ``relay?`` answers with ``"relay": "closed"`` or ``"open"``:
what the contact really is, measured and not asked of the device.
"""

import asyncio
import shlex
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.prompt import Confirm, Prompt

from gateway.core.model import Relay
from simulator.conformance.cases import NotRun

Do = Literal[
    "power_off", "power_on", "scan", "arc_on", "arc_off", "sense", "tamper", "finish", "set_clock", "relay?", "shown?"
]
STIMULI: dict[Do, tuple[str, str]] = {
    "power_off": ("Switch the device off", "断开锁具电源"),
    "power_on": ("Switch the device on", "接通锁具电源"),
    "scan": ("Scan a code with exactly this text", "扫码，内容为"),
    "arc_on": ("Let welding current flow (or simulate it at the sensor)", "接通焊接电流（或在传感器上模拟）"),
    "arc_off": ("Stop the welding current", "断开焊接电流"),
    "sense": (
        "Hold the relay's feedback contact at this state (follow = leave it alone)",
        "将继电器反馈触点固定为此状态（follow = 恢复正常）",
    ),
    "tamper": ("Open the housing, or press the tamper switch", "打开外壳或按下防拆开关"),
    "finish": ("Press the end-of-work button", "按下“结束作业”按钮"),
    "set_clock": (
        "Set the device's wall clock to this time (Unix ms; null = right again)",
        "设置锁具时钟（Unix 毫秒；null = 恢复正确时间）",
    ),
    "relay?": ("Is the relay closed? Measure it", "继电器是否闭合？请测量"),
    "shown?": ("What does the device show to the welder? Type it", "锁具向焊工显示了什么？请输入"),
}
ANSWER_WITHIN_S = 60.0
STOP_WITHIN_S = 5.0


class DriverError(Exception):
    """The driver itself is broken; the message says how and what to look at."""


class Answer(Struct, frozen=True):
    """What a driver says when it is done."""

    ok: bool
    error: str = ""
    relay: Relay | None = None
    shown: str | None = None


class Driver(Protocol):
    """``patient`` drivers are people: they cannot be asked twenty times a second."""

    patient: bool

    async def do(self, what: Do, **details: Any) -> Answer: ...


def need(answer: Answer, what: Do) -> Answer:
    """The answer of a stimulus that took place; raises NotRun for one that this bench does not offer."""
    if not answer.ok:
        raise NotRun(f"the driver could not do {what!r} ({answer.error or 'no reason given'}): teach it to")
    return answer


class ProgramDriver:
    """A program that reads one JSON object a line and answers one line when it has done it."""

    patient = False

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> "ProgramDriver":
        """Raises DriverError."""
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        except (OSError, IndexError) as error:
            raise DriverError(f"--driver cannot be started ({error}); give a command that runs by itself") from error
        return self

    async def close(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def do(self, what: Do, **details: Any) -> Answer:
        async with self._one_at_a_time:
            return await self._ask(msgspec.json.encode({"do": what, **details}))

    async def _ask(self, line: bytes) -> Answer:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise DriverError("the driver was not started")
        try:
            process.stdin.write(line + b"\n")
            await process.stdin.drain()
            answer = await asyncio.wait_for(process.stdout.readline(), ANSWER_WITHIN_S)
        except (OSError, TimeoutError) as error:
            raise DriverError(f"--driver gave no answer to {line.decode()} ({type(error).__name__})") from error
        if not answer:
            raise DriverError(f"--driver ended at {line.decode()}; see what it printed")
        try:
            return msgspec.json.decode(answer, type=Answer)
        except msgspec.MsgspecError as error:
            raise DriverError(f'--driver answered {line.decode()} with {answer!r}; expected {{"ok": true}}') from error


class ManualDriver:
    """A person at the terminal."""

    patient = True

    def __init__(self, console: Console) -> None:
        self._console = console

    async def do(self, what: Do, **details: Any) -> Answer:
        return await asyncio.to_thread(self._ask, what, details)

    def _ask(self, what: Do, details: dict[str, Any]) -> Answer:
        english, chinese = STIMULI[what]
        text = f"[bold]{chinese}[/] · {english}" + "".join(f": [cyan]{value}[/]" for value in details.values())
        if what == "relay?":
            return Answer(True, relay="closed" if Confirm.ask(text, console=self._console) else "open")
        said = Prompt.ask(f"{text} ⏎ (n = 做不到 cannot be done)" if what != "shown?" else text, console=self._console)
        if what == "shown?":
            return Answer(True, shown=said)
        return Answer(said.strip().lower() != "n", "the person at the bench said so")
