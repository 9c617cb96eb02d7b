"""``weldgate demo``: broker, database, gateway and a simulated fleet in one go, on this machine alone."""

import asyncio
import io
import re
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.live import Live

from gateway.app import Gateway
from gateway.cli.board import Board
from gateway.cli.console import err, out, reporting_errors
from gateway.cli.townspeople import Townspeople, settle
from gateway.clock import now_ms
from gateway.core.rules import local_time
from gateway.errors import WeldGateError
from gateway.keys import open_keys
from gateway.mqtt.embedded import EmbeddedBroker
from gateway.mqtt.url import parse_broker_url
from gateway.observe import logs
from gateway.registry.importer import Store, import_files
from gateway.registry.sample import PROFILES, generate
from gateway.registry.sheets import write_files
from gateway.scribe import scribe
from gateway.settings import Settings, load_settings
from gateway.store.engine import open_engine
from gateway.store.vault import open_vault, write_secret

app = typer.Typer(add_completion=False)

FOLDER = Path("var/demo")
PREFERRED_PORTS = {"broker": 1883, "http": 8080}
READY_WITHIN_S = 20.0
UNTIL_STOPPED = "8760h"
FRAMES_PER_S = 4
PICTURE_COLUMNS = 118


class Demo(Struct, frozen=True):
    """What a run of the demo was asked for."""

    machines: int
    seed: int
    duration: str | None
    report: Path
    picture: Path | None
    people: Townspeople


@app.command()
def demo(
    machines: Annotated[int, typer.Option(min=1, max=1603, help="How many machines of the county take part.")] = 200,
    duration: Annotated[str | None, typer.Option("--for", help="How long: 20s, 5m; default until Ctrl-C.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write what the fleet found here, JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Save the last frame here, SVG.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same county and the same acts.")] = 1,
) -> None:
    """Watch a county at work: decisions with their reasons. Exit code 0 only if every answer was right."""
    with reporting_errors():
        if duration is not None and not re.fullmatch(r"[0-9.]+(ms|s|m|h)", duration):
            raise WeldGateError(f"--for {duration}: not a duration; write for example 20s or 5m")
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        with (FOLDER / "gateway.log").open("w", encoding="utf-8") as log:
            logs.configure("info", log)
            settings = _settings(f"mqtt://127.0.0.1:{_free_port(PREFERRED_PORTS['broker'])}")
            people = _prepare(settings, seed)
            wanted = Demo(machines, seed, duration, report or FOLDER / "report.json", picture, people)
            with scribe(settings.database, settings.keys) as sock:
                code = uvloop.run(_run(wanted, settings, sock))
    raise typer.Exit(code)


async def _run(wanted: Demo, settings: Settings, sock: socket.socket) -> int:
    async with EmbeddedBroker(parse_broker_url(settings.broker.get_secret_value()).port) as broker:
        board = Board(_addresses(f"http://{settings.http}", broker.url, wanted.people))
        gateway = Gateway(settings, sock, observers=(board,))
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(gateway.run(), name="gateway")
            await _until_ready(gateway)
            with Live(board, console=out, refresh_per_second=FRAMES_PER_S, vertical_overflow="crop"):
                code = await _fleet(broker.url, wanted)
            gateway.stop()
            await serving
    if wanted.picture is not None:
        _save(board, wanted.picture)
    _conclude(wanted, code)
    return code


def _addresses(http: str, broker: str, people: Townspeople) -> dict[str, str]:
    """Where to look, and as whom."""
    return {
        "焊工 welder": f"{http}/w  {people.welder}  焊机 machine {people.machine_id}",
        "单位 firm": f"{http}/f  {people.firm}",
        "监管 regulator": f"{http}/r  {people.regulator}",
        "网关 gateway": f"{http}/accounts  {people.keeper}",
        "MQTT · 指标 metrics": f"{broker} · {http}/metrics",
        "日志 log": str(FOLDER / "gateway.log"),
    }


def _prepare(settings: Settings, seed: int) -> Townspeople:
    """A fresh county in a fresh database, and the keys that chips are provisioned with."""
    err.print(f"preparing a county in {FOLDER} …")
    county = FOLDER / "county"
    paths = write_files(generate(PROFILES["county"], seed, local_time(now_ms()).date()), county)
    engine = open_engine(settings.database)
    vault = open_vault(settings.keys)
    import_files(Store(engine, vault), paths, now_ms())
    people = settle(engine, vault)
    engine.dispose()
    address = {"url": f"http://{settings.http}"}
    write_secret(FOLDER / "sign-ins.json", msgspec.json.encode(address | msgspec.to_builtins(people)))
    (FOLDER / "jwks.json").write_bytes(open_keys(settings.keys).public())
    return people


def _settings(broker: str) -> Settings:
    return load_settings(
        broker=broker,
        database=f"sqlite:///{FOLDER / 'weldgate.db'}",
        http=f"127.0.0.1:{_free_port(PREFERRED_PORTS['http'])}",
        keys=FOLDER / "keys",
        instance="demo",
    )


async def _until_ready(gateway: Gateway) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        await gateway.ready.wait()


async def _fleet(broker: str, wanted: Demo) -> int:
    """Run the simulated fleet to its end, or until Ctrl-C; its exit code."""
    command = [sys.executable, "-m", "simulator", "run", "--broker", broker, "--registry", str(FOLDER / "county")]
    command += ["--jwks", str(FOLDER / "jwks.json"), "--machines", str(wanted.machines), "--seed", str(wanted.seed)]
    command += ["--for", wanted.duration or UNTIL_STOPPED, "--report", str(wanted.report), "--quiet"]
    command += ["--leave-alone", wanted.people.machine_id, "--leave-alone", wanted.people.operator_id]
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, process.send_signal, signal.SIGINT)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


def _save(board: Board, picture: Path) -> None:
    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO())
    console.print(board)
    picture.write_text(console.export_svg(title="weldgate demo"), encoding="utf-8")


def _conclude(wanted: Demo, code: int) -> None:
    try:
        report = msgspec.json.decode(wanted.report.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise WeldGateError(f"the fleet left no report ({error}); see {FOLDER / 'gateway.log'}") from error
    latency = report["latency_ms"]
    out.print()
    out.print(
        f"{report['decisions']} decisions: {report['allowed']} allowed, {report['denied']} refused, "
        f"{report['mismatches']} mismatches; answered in p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
    out.print(f"the record: {sys.argv[0]} audit verify --database sqlite:///{FOLDER / 'weldgate.db'}")
    if code:
        out.print(f"NOT AS EXPECTED: see mismatch_details in {wanted.report}", style="bold red")


def _free_port(preferred: int) -> int:
    """The preferred port, or a free one where it is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise WeldGateError("no free port on 127.0.0.1; close some programs and try again")
