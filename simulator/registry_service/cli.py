"""``weldsim registry``."""

import asyncio
import re
import signal
import time
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from aiohttp import web

from simulator.registry import RegistryFileError
from simulator.registry_service import faults
from simulator.registry_service.county import load
from simulator.registry_service.push import Pusher, SecretError, read_secret
from simulator.registry_service.service import Service

SHUTDOWN_S = 1.0
"""How long a slow answer may still take when the service is stopped."""
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<host>[^:\s]+)):(?P<port>\d{1,5})")


def registry(
    folder: Annotated[Path, typer.Option("--registry", help="Folder with the registry files as CSV.")],
    listen: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:9090",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="slow=SHARE slow_s=SECONDS error=SHARE truncated=SHARE contradictory=SHARE stale"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same faults.")] = 1,
    token_file: Annotated[Path | None, typer.Option(help="Ask for the bearer token in this file.")] = None,
    push: Annotated[str | None, typer.Option(help="URL of a gateway to tell of changes at once.")] = None,
    push_secret_file: Annotated[Path | None, typer.Option(help="The secret of the signatures, whsec_….")] = None,
) -> None:
    """Serve the county's registries over HTTP, with faults by switch, until stopped."""
    try:
        host, port = _address(listen)
        chance = Random(seed)  # noqa: S311  (not a secret)
        pusher = _pusher(push, push_secret_file, seed)
        token = token_file.read_text(encoding="utf-8").strip() if token_file else None
        switched = faults.parse(fault or ())
        service = Service(load(folder, _wall_ms()), _wall_ms, chance, token, pusher)
        service.switch(switched)
        asyncio.run(_serve(service, pusher, host, port))
    except faults.FaultError as error:
        raise _stop(f"--fault {error}") from None
    except SecretError as error:
        raise _stop(f"--push-secret-file {error}") from None
    except RegistryFileError as error:
        raise _stop(str(error)) from None
    except OSError as error:
        raise _stop(f"{error}; choose another --listen, or another file") from None


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _pusher(url: str | None, secret: Path | None, seed: int) -> Pusher | None:
    if (url is None) != (secret is None):
        raise _stop("--push needs --push-secret-file, and the other way round")
    if url is None or secret is None:
        return None
    return Pusher(url, read_secret(secret), Random(f"{seed}/push"))  # noqa: S311  (not a secret)


def _address(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise _stop(f"--listen {text}: not host:port; write for example 127.0.0.1:9090")
    return found["six"] or found["host"], int(found["port"])


async def _serve(service: Service, pusher: Pusher | None, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(service.app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        typer.echo(f"listening on http://{host}:{port}")
        async with asyncio.TaskGroup() as group:
            pushing = group.create_task(pusher.run(), name="push") if pusher else None
            await stop.wait()
            if pushing:
                pushing.cancel()
    finally:
        await runner.cleanup()


def _stop(message: str) -> typer.Exit:
    """Say what is wrong and end with exit code 2."""
    typer.echo(f"weldsim: {message}", err=True)
    return typer.Exit(2)
