"""Registries of a province's size, brought in beside a running gateway: how long it takes, and who waits for it.

``python -m tests.soak scale``: a gateway with a few machines decides fifty times a second while the province's files
are imported into its database, and then one row of a hundred once more, changed.
"""

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from tests.bench.processes import memory_mib
from tests.soak import staff
from tests.support.brokers import Limits, Mosquitto
from tests.support.chips import ROOT, Chips, Seen, a_request
from tests.support.gateway import Gateway, weldgate
from tests.support.waiting import eventually

MACHINES = 60
"""They are asked at one after the other, each by its own welder."""
EVERY_S = 0.02
WARM_S, STEADY_S = 3.0, 20.0
HELD_WITHIN_S = 120.0
ANSWERED_WITHIN_S = 30.0
ONE_OF = 100
CHANGES = {
    "enterprises": ("name", "样例改名企业"),
    "operators": ("phone", "12900000001"),
    "certificates": ("authority", "样例审批局"),
    "machines": ("location", "九号车间"),
}
"""What one row of a hundred says instead, by registry."""

Tell = Callable[[str], None]


class Delays(Struct, frozen=True):
    """From scan to answer, ms."""

    decisions: int
    p50: float
    p99: float
    most: float


class Import(Struct, frozen=True):
    """One import: how long its process took; from its version's publication until decisions rested on it; how many
    rows the gateway took over and how long reading and taking them took it; its memory afterwards (both processes)."""

    what: str
    import_s: float
    held_after_s: float
    rows: int
    delta_s: float
    memory_mib: float
    meanwhile: Delays
    at_delta: Delays


class Asker:
    """Asks every 20 ms, whatever becomes of the answers."""

    def __init__(self, chips: Chips) -> None:
        self._chips, self._over = chips, threading.Event()
        self._asked: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        chips.on_seen = self._hear

    def run(self) -> None:
        due, number = time.time(), 0
        while not self._over.is_set():
            number, place = number + 1, number % MACHINES
            request_id = f"scale-{number:08}"
            message = msgspec.json.encode(a_request(staff.welder(place), request_id))
            self._asked[request_id] = time.time()
            self._chips.send(f"{ROOT}/{staff.machine(place)}/request", message)
            due += EVERY_S
            self._over.wait(max(0.0, due - time.time()))

    def end(self) -> None:
        self._over.set()

    def delays(self, since: float, until: float) -> Delays:
        """Of what was asked between two times (Unix seconds); waits for the answers."""
        asked = {one: at for one, at in self._asked.copy().items() if since <= at <= until}
        eventually(lambda: self._answered.keys() >= asked.keys(), ANSWERED_WITHIN_S, "an answer to each scan")
        taken = sorted((self._answered[one] - at) * 1000 for one, at in asked.items())
        return (
            Delays(len(taken), *(taken[int((len(taken) - 1) * share)] for share in (0.5, 0.99, 1))) if taken else NONE
        )

    def _hear(self, seen: Seen) -> None:
        if seen.topic.startswith(f"{ROOT}/HJ-") and seen.topic.endswith("/decision"):
            self._answered.setdefault(seen.content["request_id"], time.time())


NONE = Delays(0, 0, 0, 0)


def measure(profile: str = "province", tell: Tell = lambda _: None) -> tuple[Delays, list[Import]]:
    """Delays with nothing else going on, and what each import did."""
    with TemporaryDirectory(prefix="weldgate-soak-", dir=_work()) as name:
        folder = Path(name)
        files, database = folder / profile, ("--database", f"sqlite:///{folder / 'gate.db'}")
        store = (*database, "--keys", str(folder / "keys"))
        tell(f"making the sample of a {profile}")
        assert weldgate("registry", "sample", "--profile", profile, "--out", str(files)).returncode == 0
        few = staff.write(folder / "few", MACHINES)
        assert weldgate("registry", "import", str(few), *store).returncode == 0
        with _beside(folder) as (gateway, asker):
            tell("deciding with nothing else going on")
            time.sleep(WARM_S)
            began = time.time()
            time.sleep(STEADY_S)
            steady = asker.delays(began, time.time())
            changed = _changed(files, folder / "changed")
            imports = []
            for what, which in (
                ("first import", files),
                ("1 % of the rows", changed),
                ("1 %, as all files anew", files),
            ):
                tell(what)
                imports.append(_import(what, which, store, gateway, asker))
                tell(repr(imports[-1]))
            return steady, imports


def _work() -> Path:
    """On a real disk: decisions are synced."""
    work = Path("var")
    work.mkdir(exist_ok=True)
    return work


@contextmanager
def _beside(folder: Path) -> Iterator[tuple[Gateway, Asker]]:
    broker = Mosquitto(Limits()).start()
    gateway = Gateway(broker.url, folder / "gate.db", folder / "keys").start().until_ready()
    try:
        with Chips(broker.port) as chips:
            asker = Asker(chips)
            asking = threading.Thread(target=asker.run)
            asking.start()
            try:
                yield gateway, asker
            finally:
                asker.end()
                asking.join()
    finally:
        gateway.close()
        broker.close()


def _import(what: str, files: Path, store: tuple[str, ...], gateway: Gateway, asker: Asker) -> Import:
    command = [sys.executable, "-m", "gateway", "registry", "import", str(files), *store]
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = time.time()
    assert done.returncode == 0, done.stdout + done.stderr
    last = gateway.rows("SELECT version, at FROM registry_changes WHERE version IS NOT NULL ORDER BY version DESC")[0]

    def loaded() -> list[dict[str, object]]:
        return [one for one in gateway.events("registry.loaded") if one["version"] == last["version"] and one["rows"]]

    event = eventually(loaded, HELD_WITHIN_S, f"version {last['version']} held")[0]
    held, took = datetime.fromisoformat(str(event["timestamp"])).timestamp(), float(str(event["seconds"]))
    return Import(
        what,
        ended - began,
        held - ended,
        int(str(event["rows"])),
        took,
        memory_mib(gateway.pid),
        asker.delays(began, held - took),
        asker.delays(held - took, held),
    )


def _changed(files: Path, folder: Path) -> Path:
    """One row of a hundred of each registry, with another value in a column."""
    folder.mkdir()
    for name, (column, value) in CHANGES.items():
        with (
            (files / f"{name}.csv").open(encoding="utf-8-sig", newline="") as before,
            (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as after,
        ):
            reader = csv.DictReader(before)
            writer = csv.DictWriter(after, reader.fieldnames or ())
            writer.writeheader()
            writer.writerows(row | {column: value} for number, row in enumerate(reader) if not number % ONE_OF)
    return folder
