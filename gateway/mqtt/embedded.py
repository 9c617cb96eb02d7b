"""The embedded broker for the demo and small tests: amqtt on the loopback, in a process of its own.

MQTT 3.1.1, QoS 0 and 1; it keeps nothing across its own restart and has no shared subscriptions. Machines, gateways and
readers have the rights of the protocol. Who is who the client ids say, or user names with a file of passwords.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import uvloop

from gateway.errors import WeldGateError
from gateway.mqtt.passwords import read_passwords

START_TIMEOUT_S = 15.0
"""Importing amqtt takes a slow laptop a second or two."""
STOP_TIMEOUT_S = 5.0


class BrokerStartError(WeldGateError):
    """The embedded broker's process ended or said nothing; its own words are on stderr."""


class EmbeddedBroker:
    """The broker's process. It ends with ``stop`` and when this process ends, however that happens.

    ``port`` 0 takes a free one; ``url`` is known once ``start`` has returned.
    """

    def __init__(self, port: int = 0, passwords: Path | None = None) -> None:
        self._port = port
        self._passwords = passwords
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    async def start(self) -> None:
        """Returns once the broker listens; raises BrokerStartError."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "gateway.mqtt.embedded", "--port", str(self._port), "--until-stdin-closes"]
        if self._passwords is not None:
            command += ["--passwords", str(self._passwords)]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_S)
        except TimeoutError:
            line = b""
        self.url = line.decode().strip()
        if not self.url:
            await self.stop()
            raise BrokerStartError(f"the embedded broker did not start on port {self._port}; is the port in use?")

    async def stop(self) -> None:
        """End the process, by force after a while."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.communicate()


async def _serve(port: int, passwords: Mapping[str, str] | None, *, until_stdin_closes: bool) -> None:
    """Print the URL once it listens, and run until a signal or the parent's end."""
    from gateway.mqtt.loopback import LoopbackBroker  # only this process pays for importing amqtt

    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    # Ctrl-C in the demo's terminal reaches this process too; the gateway still needs the broker to say goodbye
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if until_stdin_closes else end.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), end.set)
    broker = LoopbackBroker(port, passwords)
    await broker.start()
    print(f"mqtt://127.0.0.1:{broker.port}", flush=True)
    await end.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), STOP_TIMEOUT_S / 2)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway.mqtt.embedded", description="A broker for demo and tests.")
    parser.add_argument("--port", type=int, default=1883, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--passwords", type=Path, help="file in Mosquitto's form; nobody else may connect")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that holds the pipe")
    chosen = parser.parse_args(arguments)
    try:
        passwords = read_passwords(chosen.passwords) if chosen.passwords else None
        uvloop.run(_serve(chosen.port, passwords, until_stdin_closes=chosen.until_stdin_closes))
    except WeldGateError as error:
        sys.exit(f"embedded broker: {error}")
    except OSError as error:
        sys.exit(f"embedded broker, port {chosen.port}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
