"""A county's people run through everything that prints, publishes or stores: no personal number comes out anywhere."""

import csv
import re
from pathlib import Path

import pytest

from tests.service.conftest import StartGateway, started_mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.gateway import Gateway, weldgate

_DIGITS = re.compile(rb"[0-9]{11,}[Xx]?")
SCANS = 150
"""People who scan, spread over the registry, so that those in trouble are among them."""


class Numbers:
    """Every ID, phone and certificate number of a registry's files."""

    def __init__(self, files: Path) -> None:
        people, certificates = rows(files, "operators"), rows(files, "certificates")
        self.ids = [row["id_number"] for row in people]
        self.phones = [row["phone"] for row in people if row["phone"]]
        self.certificates = [row["number"] for row in certificates]
        self._all = {number.lstrip("T").encode() for number in (*self.ids, *self.phones, *self.certificates)}
        self._lengths = sorted({len(number) for number in self._all})

    def found_in(self, content: bytes) -> set[bytes]:
        """Those that stand anywhere in ``content``."""
        found = set()
        for run in set(_DIGITS.findall(content)):
            for length in self._lengths:
                windows = {run[at : at + length].upper() for at in range(len(run) - length + 1)}
                found |= windows & self._all
        return found


def rows(files: Path, name: str) -> list[dict[str, str]]:
    with (files / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


class Run:
    """A county imported, a gateway at work over it, and all that came out, by name."""

    def __init__(self, files: Path, numbers: Numbers) -> None:
        self.files = files
        self.numbers = numbers
        self.out: dict[str, bytes] = {}

    def command(self, name: str, *arguments: str) -> None:
        done = weldgate(*arguments)
        self.out[name] = (done.stdout + done.stderr).encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, start_gateway_of_module: StartGateway) -> Run:
    folder = tmp_path_factory.mktemp("county")
    store = ("--database", f"sqlite:///{folder}/county.db", "--keys", str(folder / "keys"))
    weldgate("registry", "sample", "--out", str(folder / "files"))
    run = Run(folder / "files", Numbers(folder / "files"))
    run.command("import", "registry", "import", str(run.files), *store)
    run.command("import with mistakes", "registry", "import", str(spoilt(run.files, folder / "spoilt")), *store)
    broker = started_mosquitto()
    try:
        gateway = start_gateway_of_module(
            broker.url, database=folder / "county.db", keys=folder / "keys", log_level="debug"
        ).until_ready()
        with Chips(broker.port) as chips:
            at_work(run, gateway, chips)
            run.out["MQTT"] = b"\n".join(seen.topic.encode() + b" " + seen.payload for seen in chips.seen)
        looked_at(run, gateway, folder)
        assert gateway.drain() == 0
        run.out["log"] = gateway.log.encode()
    finally:
        broker.close()
    for file in sorted(folder.glob("county.db*")):
        run.out[file.name] = file.read_bytes()
    return run


def spoilt(files: Path, target: Path) -> Path:
    """The same files with a mistake in each kind of cell, so that the import complains about people by line."""
    target.mkdir()
    for name in ("operators", "certificates"):
        text = (files / f"{name}.csv").read_text(encoding="utf-8-sig").splitlines()
        for at in range(1, 60):
            text[at] = text[at].replace(",active", ",asleep").replace(",valid,", ",lost,").replace("-", "~")
        for at in range(60, 90):
            cells = text[at].split(",")
            cells[2 if name == "operators" else 0] += "9"
            text[at] = ",".join(cells)
        (target / f"{name}.csv").write_text("\n".join([*text, text[100], text[100]]), encoding="utf-8")
    return target


def at_work(run: Run, gateway: Gateway, chips: Chips) -> None:
    """People scan their codes, and by mistake their identity cards, certificates and phones."""
    machines = [row["machine_id"] for row in rows(run.files, "machines")]
    people = [row["operator_id"] for row in rows(run.files, "operators")]
    for at in range(SCANS):
        chips.ask(machines[at * 7 % len(machines)], people[at * len(people) // SCANS])
    for number in (*run.numbers.ids[:3], *run.numbers.phones[:3], *run.numbers.certificates[:3]):
        machine = machines[1]
        assert chips.codes(machine, number) == ["credential_unknown"]
        request = a_request(number, new_id(), method=number)
        chips.to_gateway(machine, "request", request)
        chips.answer(machine, str(request["request_id"]))
        chips.publish(f"{ROOT}/{machine}/request", f'{{"credential":"{number}","request_id":"{number}')
        chips.publish(f"{ROOT}/{machine}/event", f'{{"event_id":"{new_id()}","seq":1,"kind":"{number}"}}')
        chips.publish(f"{ROOT}/{machine}/status", f'{{"online":"{number}"}}')
    gateway.settle()


def looked_at(run: Run, gateway: Gateway, folder: Path) -> None:
    """Everything that a person can have shown."""
    for page in ("/", "/livez", "/readyz", "/metrics"):
        run.out[page] = gateway.get(page)[1].encode()
    ledger = ("--database", gateway.url)
    for command in ("verify", "replay"):
        run.command(f"audit {command}", "audit", command, *ledger)
    for row in gateway.rows("SELECT message_id FROM ledger WHERE kind = 'decision' ORDER BY seq"):
        run.command(f"audit show {row['message_id']}", "audit", "show", row["message_id"], *ledger)
    run.command("audit export", "audit", "export", "--out", str(folder / "export.jsonl"), *ledger)
    run.out["export"] = (folder / "export.jsonl").read_bytes()
    run.out["records"] = b"\n".join(row["record"] for row in gateway.rows("SELECT record FROM ledger"))


def test_the_search_would_find_a_number(run: Run) -> None:
    for file in run.files.glob("*.csv"):
        if file.stem in ("operators", "certificates"):
            assert len(run.numbers.found_in(file.read_bytes())) > 1_000
    for number in (run.numbers.ids[5], run.numbers.phones[5], run.numbers.certificates[5]):
        assert run.numbers.found_in(b"123" + number.encode() + b"45")


def test_everything_was_at_work(run: Run) -> None:
    assert b"registry version 1" in run.out["import"]
    assert b"nothing was imported" in run.out["import with mistakes"]
    assert b"intact" in run.out["audit verify"]
    assert len(run.out["export"].splitlines()) > SCANS
    assert b"weldgate_decisions_total" in run.out["/metrics"]
    assert b'"outcome":"allow"' in run.out["MQTT"]
    assert b"/feed/" in run.out["MQTT"]
    assert b"message.rejected" in run.out["log"]


def test_no_personal_number_comes_out_anywhere(run: Run) -> None:
    assert {name: found for name, content in run.out.items() if (found := run.numbers.found_in(content))} == {}
