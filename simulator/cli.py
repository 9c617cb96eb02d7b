"""The ``weldsim`` command."""

import asyncio
import re
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from msgspec.structs import replace
from rich.console import Console
from rich.live import Live
from rich.text import Text

from simulator import report as reports
from simulator.cast import CastError
from simulator.conformance.cli import app as conformance
from simulator.fleet import Fleet, FleetError, FleetOptions, Progress
from simulator.link import Broker, BrokerUrlError, CredentialsError, parse_broker, parse_passwords
from simulator.registry import RegistryFileError, load
from simulator.registry_service.cli import registry
from simulator.report import Report
from simulator.scenario import SCENARIOS, ScenarioName

app = typer.Typer(
    name="weldsim",
    help="WeldGate's simulator: a fleet of reference lock chips against any gateway over a real broker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(conformance, name="conformance")
app.command()(registry)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@app.callback()
def weldsim() -> None:
    """Plays lock chips and their operators against a gateway and checks every answer."""


@app.command()
def run(
    registry: Annotated[Path, typer.Option(help="Folder with the five registry files as CSV.")],
    jwks: Annotated[Path, typer.Option(help="The gateway's public keys, as `weldgate keys public --out FILE` writes.")],
    broker: Annotated[str, typer.Option(help="mqtt://… or mqtts://user:password@host:port")] = "mqtt://127.0.0.1:1883",
    broker_ca: Annotated[Path | None, typer.Option(help="PEM file of the authorities to trust for mqtts://.")] = None,
    tls_dir: Annotated[
        Path | None, typer.Option(help="Folder with MACHINE_ID.crt and MACHINE_ID.key of every chip, for mqtts://.")
    ] = None,
    passwords: Annotated[
        Path | None, typer.Option(help="Each chip's password, as `weldgate broker password --out FILE` writes them.")
    ] = None,
    machines: Annotated[int, typer.Option(min=1, help="How many chips.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed plays the same acts.")] = 1,
    duration: Annotated[str, typer.Option("--for", help="How long: 60s, 2m, 1h.")] = "60s",
    scenario: Annotated[str, typer.Option(help=" | ".join(SCENARIOS))] = "mixed-faults",
    rate: Annotated[float | None, typer.Option(min=0.01, help="Acts a second; default 0.075 a machine.")] = None,
    usage_every: Annotated[str, typer.Option(help="Interval of usage reports, whole seconds.")] = "10s",
    leave_alone: Annotated[
        list[str] | None, typer.Option(help="A machine, on the air besides, or a person that the run does not touch.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report here, JSON.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Play a scenario; exit code 0 if every answer was right, 1 if not, 2 if the run could not take place."""
    try:
        options = FleetOptions(
            broker=_identified(parse_broker(broker, _readable(broker_ca)), tls_dir, passwords),
            registry=load(registry),
            jwks=_read_jwks(jwks),
            machines=machines,
            seed=seed,
            for_s=_seconds("--for", duration),
            scenario=_scenario(scenario),
            rate=rate,
            leave_alone=tuple(leave_alone or ()),
            usage_every_s=max(1, round(_seconds("--usage-every", usage_every))),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(_run(options, quiet=quiet))
    except BrokerUrlError as error:
        raise _stop(f"--broker: {error}") from None
    except (RegistryFileError, CastError, CredentialsError, FleetError) as error:
        raise _stop(str(error)) from None
    _write(result, report, junit)
    if not quiet:
        typer.echo("\n".join(reports.summary(result)))
    raise typer.Exit(1 if result.mismatches else 0)


async def _run(options: FleetOptions, *, quiet: bool) -> Report:
    """The run with a live line where a person watches."""
    console = Console(stderr=True)
    watched = console.is_terminal and not quiet
    with Live(console=console, transient=True, refresh_per_second=4) if watched else nullcontext() as live:
        fleet = Fleet(options, (lambda progress: live.update(_line(progress))) if live else None)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
        return await fleet.run()


def _line(progress: Progress) -> Text:
    wrong = f"{progress.mismatches} mismatches"
    return Text.assemble(
        f"{progress.stage} {progress.elapsed_s:4.0f} s · {progress.online} chips online · ",
        f"{progress.requests} requests · {progress.decisions} decisions · ",
        (wrong, "bold red" if progress.mismatches else "green"),
    )


def _write(result: Report, report: Path | None, junit: Path | None) -> None:
    for option, path, content in (("--report", report, reports.to_json), ("--junit", junit, reports.to_junit)):
        if path is not None:
            try:
                reports.write(path, content(result))
            except OSError as error:
                raise _stop(f"{option} {path}: {error.strerror}; choose a place that can be written") from None


def _readable(ca_file: Path | None) -> str | None:
    if ca_file is not None and not ca_file.is_file():
        raise _stop(f"--broker-ca {ca_file}: no such file; give a PEM file of the authorities to trust")
    return str(ca_file) if ca_file else None


def _identified(broker: Broker, tls_dir: Path | None, passwords: Path | None) -> Broker:
    """The broker with what each chip proves its name with."""
    if tls_dir is not None and not broker.tls:
        raise _stop(f"--tls-dir {tls_dir}: certificates need TLS; give --broker mqtts://…")
    if passwords is None:
        return replace(broker, tls_dir=tls_dir)
    try:
        read = parse_passwords(passwords.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _stop(f"--passwords {passwords}: {error}; give the file of weldgate broker password --out") from None
    if not read:
        raise _stop(f"--passwords {passwords}: is empty; give the file of weldgate broker password --out")
    return replace(broker, tls_dir=tls_dir, passwords=read)


def _seconds(option: str, text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise _stop(f"{option} {text}: not a duration; write for example 60s, 2m or 1h")
    return float(found[1]) * _UNIT_S[found[2]]


def _scenario(text: str) -> ScenarioName:
    for name in SCENARIOS:
        if name == text:
            return name
    raise _stop(f"--scenario {text}: not known; use one of {', '.join(SCENARIOS)}")


def _read_jwks(path: Path) -> dict[str, object]:
    remedy = "make it with: weldgate keys public --out FILE"
    try:
        jwks = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise _stop(f"--jwks {path}: {error.strerror}; {remedy}") from None
    except msgspec.MsgspecError:
        raise _stop(f"--jwks {path}: not a JWK Set in JSON; {remedy}") from None
    if not jwks.get("keys"):
        raise _stop(f"--jwks {path}: holds no keys; {remedy}")
    return jwks


def _stop(message: str) -> typer.Exit:
    """Say what is wrong and end with exit code 2."""
    typer.echo(f"weldsim: {message}", err=True)
    return typer.Exit(2)
