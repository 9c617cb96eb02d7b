"""``weldsim conformance``: a verdict per requirement on a chip or a gateway."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from simulator.conformance import report
from simulator.conformance.cases import Case, Failed, Result
from simulator.conformance.chip.all import CHIP
from simulator.conformance.chip.bench import Bench, Options
from simulator.conformance.chip.broker import Broker
from simulator.conformance.driver import Driver, DriverError, ManualDriver, ProgramDriver
from simulator.conformance.gateway import county
from simulator.conformance.gateway.all import GATEWAY
from simulator.conformance.gateway.hooks import HookError, hooks_of
from simulator.conformance.gateway.stand import Options as GatewayOptions
from simulator.conformance.gateway.stand import Stand
from simulator.conformance.gateway.tap import Tap
from simulator.conformance.keys import PUBLIC, KeyFileError, Keys, keys_in
from simulator.conformance.packet_log import PacketLog
from simulator.conformance.runner import play
from simulator.link import BrokerUrlError, parse_broker
from simulator.oracle import county_day

app = typer.Typer(help="Check a chip or a gateway against every requirement of the protocol.", no_args_is_help=True)
CAPABILITIES = ("clock", "offline", "config", "relay-sense", "end-of-work", "display")
GATEWAY_CAPABILITIES = ("mqtt5", "offline")
MANUAL_LEASE_S = 30.0
MANUAL_PROMPT_S = 15.0
"""A person needs time to read and to measure."""


@app.command()
def keys(
    keys: Annotated[Path, typer.Option(help="Folder for the kit's key; made if it is not there.")] = Path(
        "conformance"
    ),
) -> None:
    """Make the key that the kit signs with, and print where the device's JWKS is."""
    _keys(keys)
    typer.echo(str(keys / PUBLIC))


@app.command(name="list")
def list_cases() -> None:
    """Every requirement of a chip and of a gateway as a Markdown table."""
    for kit in (CHIP, GATEWAY):
        typer.echo("\n".join(report.listing([case.about for case in kit.chosen(())])) + "\n")


@app.command()
def chip(
    listen: Annotated[str, typer.Option(help="HOST:PORT where the kit is the broker for the device.")] = "0.0.0.0:1883",
    keys: Annotated[Path, typer.Option(help="Folder with the kit's key, see `keys`.")] = Path("conformance"),
    machine_id: Annotated[
        str, typer.Option(help="The machine id that the device was provisioned with.")
    ] = "HJ-CONFORM-1",
    driver: Annotated[str | None, typer.Option(help="Program that acts on the device, one JSON line each way.")] = None,
    manual: Annotated[
        bool, typer.Option("--manual", help="A person acts on the device and is told what to do.")
    ] = False,
    idle_lock_s: Annotated[int, typer.Option(min=5, help="Idle lock that the device is configured with.")] = 20,
    drain_s: Annotated[int, typer.Option(min=2, help="Drain deadline that the device is configured with.")] = 10,
    offline_s: Annotated[
        float, typer.Option(min=30, help="Seconds without network for CHIP-6.8: longer than it can keep every report.")
    ] = Options().offline_s,
    badge: Annotated[str, typer.Option(help="Text of the code that is scanned.")] = "CONFORMANCE-1",
    prompt_s: Annotated[float, typer.Option(min=0.1, help="Seconds within which the device has to react.")] = 5.0,
    time_scale: Annotated[float, typer.Option(min=1, help="The device's clocks run so many times faster.")] = 1.0,
    without: Annotated[list[str] | None, typer.Option(help=f"Lacks: {', '.join(CAPABILITIES)}.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these ids, or what begins so: CHIP-1, CHIP-1.6.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM chain, for a device that speaks TLS alone.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the chain.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    allow_not_run: Annotated[bool, typer.Option("--allow-not-run", help="Cases not run do not spoil it.")] = False,
) -> None:
    """Play a hostile network and a gateway against one device. Exit code 0: conforms; 1: does not; 2: no run."""
    host, port = _address(listen)
    scale_floor = Options().lease_real_s if time_scale == 1 else 0.5
    options = Options(
        machine_id=machine_id,
        badge=badge,
        idle_lock_s=idle_lock_s,
        drain_s=drain_s,
        offline_s=offline_s,
        scale=time_scale,
        prompt_s=MANUAL_PROMPT_S if manual else prompt_s,
        lease_real_s=MANUAL_LEASE_S if manual else scale_floor,
        quiet_s=Options().quiet_s if time_scale == 1 else 0.25,
        without=_without(without, CAPABILITIES),
    )
    if manual == bool(driver):
        raise _stop("needs one of --driver COMMAND and --manual")
    _can_tell_apart(options)
    cases = _chosen(CHIP.chosen(tuple(only or ())), only)
    tls = _tls(tls_cert, tls_key)
    console = Console()
    try:
        results = asyncio.run(_chip(cases, options, (host, port, tls), driver, _keys(keys), console))
    except (OSError, DriverError) as error:
        raise _stop(f"{error}" if isinstance(error, DriverError) else f"--listen {listen}: {error.strerror}") from None
    finish(console, results, "weldgate.chip", junit, allow_not_run=allow_not_run)


async def _chip(
    cases: Sequence[Case[Bench]],
    options: Options,
    listen: tuple[str, int, ssl.SSLContext | None],
    command: str | None,
    keys: Keys,
    console: Console,
) -> list[Result]:
    log = PacketLog()
    broker = Broker(options.machine_id, log)
    await broker.start(*listen)
    program = ProgramDriver(command) if command else None
    driver: Driver = program or ManualDriver(console)
    try:
        if program is not None:
            await program.start()
        bench = Bench(broker, driver, keys, options, log)
        return await watched(cases, bench, console, options.scale)
    finally:
        if program is not None:
            await program.close()
        await broker.close()


@app.command()
def registry(
    out: Annotated[Path, typer.Option(help="Folder for the five files.")] = Path("conformance/registry"),
) -> None:
    """Write the made-up county that a gateway has to import before its check: made of today's date."""
    try:
        county.write(out, county.tables(county_day(time.time_ns() // 1_000_000)))
    except OSError as error:
        raise _stop(f"--out {out}: {error.strerror}; choose a place that can be written") from None
    typer.echo(str(out))


@app.command()
def gateway(
    registry: Annotated[Path, typer.Option(help="Folder that `conformance registry` wrote, imported in the gateway.")],
    jwks: Annotated[Path, typer.Option(help="The gateway's public keys.")],
    broker: Annotated[str, typer.Option(help="mqtt://… or mqtts://user:password@host:port")] = "mqtt://127.0.0.1:1883",
    broker_ca: Annotated[Path | None, typer.Option(help="PEM file of the authorities to trust for mqtts://.")] = None,
    stop_command: Annotated[str | None, typer.Option(help="Kills the gateway, without a goodbye.")] = None,
    start_command: Annotated[str | None, typer.Option(help="Starts it again on the same database.")] = None,
    restart_command: Annotated[
        str | None, typer.Option(help="Instead of both: cases that need it down are not run.")
    ] = None,
    import_command: Annotated[
        str | None, typer.Option(help="Imports the registry files in {folder}; 0 = taken.")
    ] = None,
    code_command: Annotated[
        str | None, typer.Option(help="Prints the present rolling code of {operator} as its first word.")
    ] = None,
    break_storage_command: Annotated[str | None, typer.Option(help="Makes its database refuse to be written.")] = None,
    mend_storage_command: Annotated[str | None, typer.Option(help="Lets it be written again.")] = None,
    tap: Annotated[str | None, typer.Option(help="HOST:PORT for the kit to listen on; the gateway's broker.")] = None,
    answer_s: Annotated[float, typer.Option(min=0.1, help="Seconds within which a decision has to come.")] = 5.0,
    ready_s: Annotated[float, typer.Option(min=0.1, help="Seconds within which it answers after a start.")] = 60.0,
    longest_s: Annotated[float, typer.Option(min=1, help="Longest lease that a case waits for.")] = 120.0,
    without: Annotated[list[str] | None, typer.Option(help=f"Lacks: {', '.join(GATEWAY_CAPABILITIES)}.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these ids, or what begins so: GW-1, OTHERS-05.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    allow_not_run: Annotated[bool, typer.Option("--allow-not-run", help="Cases not run do not spoil it.")] = False,
) -> None:
    """Play hostile and unlucky chips against one gateway. Exit code 0: conforms; 1: does not; 2: no run."""
    console, log = Console(), PacketLog()
    try:
        there = parse_broker(broker, str(broker_ca) if broker_ca else None)
        listening = Tap(there.host, there.port, log) if tap else None
        commands = {"stop": stop_command, "start": start_command, "restart": restart_command}
        commands |= {"import": import_command, "code": code_command}
        commands |= {"break": break_storage_command, "mend": mend_storage_command}
        hooks = hooks_of(commands, listening)
        options = GatewayOptions(
            answer_s=answer_s, ready_s=ready_s, longest_s=longest_s, without=_without(without, GATEWAY_CAPABILITIES)
        )
        stand = Stand(there, _jwks(jwks), county.read(registry), hooks, options, log)
        cases = _chosen(GATEWAY.chosen(tuple(only or ())), only)
        at = _address(tap, "--tap") if tap else None
        results = asyncio.run(_gateway(cases, stand, listening, at, console))
    except BrokerUrlError as error:
        raise _stop(f"--broker: {error}") from None
    except ValueError as error:
        raise _stop(
            f"--registry {registry}: {error}; write it with: weldsim conformance registry --out FOLDER"
        ) from None
    except HookError as error:
        raise _stop(str(error)) from None
    except OSError as error:
        raise _stop(f"{error.filename or broker}: {error.strerror or error}") from None
    finish(console, results, "weldgate.gateway", junit, allow_not_run=allow_not_run)


async def _gateway(
    cases: Sequence[Case[Stand]], stand: Stand, tap: Tap | None, at: tuple[str, int] | None, console: Console
) -> list[Result]:
    if tap is not None and at is not None:
        await tap.start(*at)
    try:
        with suppress(Failed):  # then every case says so
            await stand.first_contact()
        return await watched(cases, stand, console)
    finally:
        await stand.close()
        if tap is not None:
            await tap.close()


async def watched(cases: Sequence[Case[Any]], stand: Any, console: Console, scale: float = 1.0) -> list[Result]:
    """The run, with a progress bar where a person watches and is not asked anything."""
    if not console.is_terminal:
        return await play(cases, stand)
    with report.ProgressBar(console, cases, scale) as bar:
        return await play(cases, stand, bar.watch)


def finish(console: Console, results: Sequence[Result], suite: str, junit: Path | None, *, allow_not_run: bool) -> None:
    """Table, file, exit code."""
    report.show(console, results, allow_not_run=allow_not_run)
    if junit is not None:
        try:
            report.write(junit, report.junit(results, suite))
        except OSError as error:
            raise _stop(f"--junit {junit}: {error.strerror}; choose a place that can be written") from None
    raise typer.Exit(0 if report.conforms(results, allow_not_run=allow_not_run) else 1)


# --- options ----------------------------------------------------------------------------------------------------


def _jwks(path: Path) -> dict[str, Any]:
    remedy = "make it with: weldgate keys public --out FILE"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise _stop(f"--jwks {path}: {error.strerror}; {remedy}") from None
    except msgspec.MsgspecError:
        raise _stop(f"--jwks {path}: not a JWK Set in JSON; {remedy}") from None
    if not found.get("keys"):
        raise _stop(f"--jwks {path}: holds no keys; {remedy}")
    return found


def _address(text: str, option: str = "--listen") -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise _stop(f"{option} {text}: write HOST:PORT, for example 0.0.0.0:1883")
    return host.strip("[]"), int(port)


def _can_tell_apart(options: Options) -> None:
    """A lock that is late must not be taken for another one that is in time."""
    prompt_s = options.prompt_s * options.scale
    for option, seconds in (("--drain-s", options.drain_s), ("--idle-lock-s", options.idle_lock_s)):
        if seconds <= prompt_s:
            raise _stop(f"{option} {seconds}: has to be longer than the {prompt_s:g} s that a reaction may take")


def _keys(folder: Path) -> Keys:
    try:
        return keys_in(folder)
    except KeyFileError as error:
        raise _stop(f"--keys {error}") from None


def _without(names: list[str] | None, known: tuple[str, ...]) -> frozenset[str]:
    for name in names or ():
        if name not in known:
            raise _stop(f"--without {name}: not a capability that may be missing; known: {', '.join(known)}")
    return frozenset(names or ())


def _chosen(cases: list[Case[Any]], only: list[str] | None) -> list[Case[Any]]:
    if not cases:
        raise _stop(f"--only {' '.join(only or [])}: no case has such an id; see `weldsim conformance list`")
    return cases


def _tls(chain: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if chain is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise _stop(f"--tls-cert {chain}: {error.strerror or error}; give PEM files of a chain and its key") from None
    return context


def _stop(message: str) -> typer.Exit:
    """Say what is wrong and end with exit code 2."""
    typer.echo(f"weldsim conformance: {message}", err=True)
    return typer.Exit(2)
