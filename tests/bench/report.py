"""Figures as a table and as docs/benchmark.{json,md,svg}; page and plot are made from the JSON alone."""

import os
import platform
import subprocess
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Leg, Machine, Process, Profile
from tests.bench.plot import draw
from tests.support.brokers import mosquitto_binary

COLUMNS = (
    "devices", "responder", "answers/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "its CPU µs", "broker µs", "load µs",
    "wrong",
)  # fmt: skip
_NUMBERS = (
    ("rate", ",.0f"), ("p50_ms", ".3f"), ("p95_ms", ".3f"), ("p99_ms", ".3f"), ("max_ms", ".1f"),
    ("responder_us", ".0f"), ("broker_us", ".0f"), ("load_us", ".0f"),
)  # fmt: skip
_PAGE = """# Benchmark

Made by `make bench` (and `make bench ARGS="--profile province"`); do not edit.

Closed loop: each device has a connection of its own and one request in flight, QoS 1, MQTT 3.1.1. Every answer of the
gateway is a signed allow from its registry, committed to SQLite (`synchronous=FULL`) before it is sent, and the load
checks each. The echo is paho on asyncio and uvloop; it answers with 700 fixed bytes and decides nothing: what it
reaches is what broker, load and client library leave for any responder in Python. Broker, load and responder share the
cores. Rounds of gateway and echo alternate; medians over the rounds; CPU is user and system time per answer.
"""


def machine() -> Machine:
    """Where the figures were taken."""
    models = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    cpu = next(models, platform.machine()).rpartition(":")[2].strip()
    said = subprocess.run([mosquitto_binary() or "mosquitto", "-h"], capture_output=True, text=True, check=False).stdout
    mosquitto = said.partition("\n")[0].rpartition(" ")[2]
    kernel = ".".join(platform.release().split(".")[:2])
    return Machine(cpu, os.cpu_count() or 0, kernel, platform.python_version(), mosquitto)


def show(profile: Profile, console: Console) -> None:
    """The table on the terminal."""
    table = Table(title=f"Registry of a {profile.profile}; medians of {_windows(profile)}", box=SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "responder" else "right", no_wrap=True)
    for row in _rows(profile):
        table.add_row(*row, style="bold" if row[1] == "ratio" else "", end_section=row[1] == "ratio")
    console.print(table)
    for process in profile.processes:
        console.print(_process_line(process))


def write(profile: Profile, folder: Path) -> None:
    """Put this run in the place of the last one over the same registry, and make page and plot anew."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "benchmark.json"
    kept = msgspec.json.decode(record.read_bytes(), type=list[Profile]) if record.exists() else []
    profiles = sorted([*(one for one in kept if one.profile != profile.profile), profile], key=lambda one: one.profile)
    record.write_bytes(msgspec.json.format(msgspec.json.encode(profiles), indent=1) + b"\n")
    (folder / "benchmark.md").write_text("\n".join([_PAGE, *(_section(one) for one in profiles)]), encoding="utf-8")
    draw(profiles[0], folder / "benchmark.svg")


def _section(profile: Profile) -> str:
    where = profile.machine
    lines = [
        f"## Registry of a {profile.profile}\n",
        f"{where.cpu}, {where.cores} cores, Linux {where.kernel}, Python {where.python}, Mosquitto {where.mosquitto}; "
        f"{_windows(profile)}.\n",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---:|' * len(COLUMNS)}",
        *(f"| {' | '.join(row)} |" for row in _rows(profile)),
        "",
        *(f"- {_process_line(process)}" for process in profile.processes),
    ]
    if profile.profile == "county":
        lines.append("\n![Share of answers by latency, gateway and echo](benchmark.svg)")
    return "\n".join(lines) + "\n"


def _windows(profile: Profile) -> str:
    rounds = len(profile.legs[0].rounds)
    return f"{rounds} round{'s' if rounds > 1 else ''} of {profile.seconds:g} s"


def _rows(profile: Profile) -> list[list[str]]:
    rows = []
    for devices in profile.device_counts:
        gateway, echo = profile.leg("gateway", devices), profile.leg("echo", devices)
        rows += [_row(leg) for leg in (gateway, echo) if leg]
        if gateway and echo:
            rows.append(_ratio(gateway, echo))
    return rows


def _row(leg: Leg) -> list[str]:
    numbers = (format(leg.median(field), form) for field, form in _NUMBERS)
    return [str(leg.devices), leg.responder, *numbers, str(leg.faults)]


def _ratio(gateway: Leg, echo: Leg) -> list[str]:
    """The gateway's figure divided by the echo's."""
    pairs = ((gateway.median(field), echo.median(field)) for field, _ in _NUMBERS)
    return [str(gateway.devices), "ratio", *(f"{ours / theirs:.2f}" if theirs else "-" for ours, theirs in pairs), ""]


def _process_line(process: Process) -> str:
    return (
        f"{process.responder}: ready after {process.ready_s:.1f} s, "
        f"{process.memory_before_mib:.0f} MiB before the load, {process.memory_after_mib:.0f} MiB after it"
    )
