"""A county's people run through everything that prints, publishes or stores: no personal number comes out anywhere."""

import csv
import http.client
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.api.gateways import event, push, takes_pushes, token_for
from tests.service.conftest import StartGateway, started_mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.gateway import Gateway, weldgate

_DIGITS = re.compile(rb"[0-9]{11,}[Xx]?")
WHO = ("--by", "Wang An", "--reason", "复核身份 check of identity")
SCANS = 150
"""People who scan, spread over the registry, so that those in trouble are among them."""


class Numbers:
    """Every ID, phone and certificate number of a registry's files."""

    def __init__(self, files: Path) -> None:
        people, certificates = rows(files, "operators"), rows(files, "certificates")
        self.ids = [row["id_number"] for row in people]
        self.phones = [row["phone"] for row in people if row["phone"]]
        self.certificates = [row["number"] for row in certificates]
        self._all: set[bytes] = set()
        self.also((*self.ids, *self.phones, *self.certificates))

    def also(self, numbers: Iterable[str]) -> None:
        """These must come out nowhere either."""
        self._all |= {number.lstrip("T").encode() for number in numbers if number}
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

    def __init__(self, folder: Path, numbers: Numbers) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.numbers = numbers
        self.database = ("--database", f"sqlite:///{folder}/county.db")
        self.store = (*self.database, "--keys", str(folder / "keys"))
        self.out: dict[str, bytes] = {}
        self.shown: list[str] = []

    def command(self, name: str, *arguments: str, stdin: str = "") -> None:
        done = weldgate(*arguments, stdin=stdin)
        self.out[name] = (done.stdout + done.stderr).encode()

    def show(self, operator_id: str, field: str) -> None:
        """The one command whose result is a full number."""
        done = weldgate("operator", "number", operator_id, "--field", field, *WHO, *self.store)
        self.shown.append(done.stdout.strip())
        self.out[f"what the command says besides, {operator_id}"] = done.stderr.encode()

    def on_disk(self, when: str) -> None:
        for file in sorted(self.folder.glob("county.db*")):
            self.out[f"{file.name} {when}"] = file.read_bytes()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, start_gateway_of_module: StartGateway) -> Run:
    folder = tmp_path_factory.mktemp("county")
    weldgate("registry", "sample", "--out", str(folder / "files"))
    run = Run(folder, Numbers(folder / "files"))
    run.command("import", "registry", "import", str(run.files), *run.store)
    run.command("import with mistakes", "registry", "import", str(spoilt(run.files, folder / "spoilt")), *run.store)
    broker = started_mosquitto()
    try:
        gateway = start_gateway_of_module(
            broker.url,
            database=folder / "county.db",
            keys=folder / "keys",
            log_level="debug",
            options=takes_pushes(folder),
        ).until_ready()
        with Chips(broker.port) as chips:
            at_work(run, gateway, chips)
            run.out["MQTT"] = b"\n".join(seen.topic.encode() + b" " + seen.payload for seen in chips.seen)
        cared_for(run)
        asked_by_http(run, gateway)
        looked_at(run, gateway, folder)
        run.on_disk("at work")
        assert gateway.drain() == 0
        run.out["log"] = gateway.log.encode()
    finally:
        broker.close()
    run.on_disk("afterwards")
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


def cared_for(run: Run) -> None:
    """What people do with the registries and their keys while the gateway works, also by mistake."""
    people = rows(run.files, "operators")
    machine = rows(run.files, "machines")[0]["machine_id"]
    numbers = (*run.numbers.ids[:2], *run.numbers.phones[:2], *run.numbers.certificates[:2])
    new_phones = moved(run.files, run.folder / "moved")
    run.numbers.also(row["phone"] for row in rows(new_phones, "operators"))
    run.command("dry import", "registry", "import", "--dry-run", str(new_phones), *run.store)
    run.command("second import", "registry", "import", str(new_phones), *run.store)
    for field in ("id_number", "phone"):
        run.show(people[7]["operator_id"], field)
    for number in numbers:
        run.command(f"find {len(run.out)}", "operator", "find", *run.store, stdin=f"{number}\n")
        for command in (
            ("operator", "show", number),
            ("machine", "show", number),
            ("enterprise", "show", number),
            ("session", "end", number, *WHO),
            ("registry", "history", number),
            ("registry", "as-of", "2099-01-01", number),
        ):
            run.command(f"{command[:2]} {len(run.out)}", *command, *run.database)
        said = ("--by", "Wang An", "--reason", f"is it {number}?")
        run.command(f"lock {len(run.out)}", "machine", "lock", machine, *said, *run.database)
        run.command(f"number {len(run.out)}", "operator", "number", number, "--field", "phone", *WHO, *run.store)
    for person in people[:30]:
        operator_id = person["operator_id"]
        run.command(f"show {operator_id}", "operator", "show", operator_id, *run.database)
        run.command(f"history {operator_id}", "registry", "history", operator_id, *run.database)
        run.command(f"history {operator_id}, JSON", "registry", "history", "--json", operator_id, *run.database)
    for at, certificate in enumerate(rows(run.files, "certificates")[:10]):
        claim = run.folder / "claim.txt"
        claim.write_text(f"证号: {certificate['number']}\n身份证号: {run.numbers.ids[at + at % 2]}\n姓名: 样例\n")
        checked = ("certificate", "check", "--claim", str(claim), "--by", "Wang An")
        run.command(f"check {at}", *checked, *run.store)
    for name in ("versions", "conflicts", "holds"):
        run.command(f"registry {name}", "registry", name, *run.database)
    run.command("expiring", "enterprise", "expiring", "--days", "90", *run.database)
    run.command("rollback", "registry", "rollback", "1", *WHO, *run.store)
    run.command("rotate", "keys", "rotate-vault", *run.store[2:])
    run.command("reseal", "registry", "reseal", *run.store)
    run.command("retire", "keys", "retire-vault", "1", *run.store)
    run.command("dry purge", "purge", "--dry-run", *WHO, *run.database)
    run.command("purge", "purge", *WHO, *run.database)
    run.command("sessions", "session", "list", *run.database)


def moved(files: Path, target: Path) -> Path:
    """The people's file with some telephones changed, so that rows are written over."""
    target.mkdir()
    text = (files / "operators.csv").read_text(encoding="utf-8-sig").splitlines()
    header, *people = (line.split(",") for line in text)
    phone = header.index("phone")
    for cells in people[:200]:
        cells[phone] = f"129{int(cells[phone][3:] or 0) ^ 1:08}" if cells[phone] else ""
    (target / "operators.csv").write_text("\n".join(",".join(line) for line in (header, *people)), encoding="utf-8")
    return target


def asked_by_http(run: Run, gateway: Gateway) -> None:
    """Numbers where they do not belong, in paths, queries, headers and bodies; and where they do, in what is pushed."""
    token = token_for(gateway, "codes", "registry:read")
    pushed_by_http(run, gateway)
    for number in (run.numbers.ids[9], run.numbers.phones[9], run.numbers.certificates[9]):
        for method, path in (
            ("GET", f"/{number}"),
            ("GET", f"/metrics?name={number}"),
            ("POST", f"/api/v1/operators/{number}/code"),
            ("POST", f"/api/v1/registry/{number}"),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
            headers = {"Authorization": f"Bearer {token}", "X-Number": number}
            connection.request(method, path, body=f'{{"number":"{number}"}}', headers=headers)
            response = connection.getresponse()
            head = "\n".join(f"{name}: {value}" for name, value in response.getheaders())
            run.out[f"{method} {len(run.out)}"] = head.encode() + response.read()
            connection.close()


def pushed_by_http(run: Run, gateway: Gateway) -> None:
    """What is taken, what is unknown, and what cannot be read."""
    number, unknown = run.numbers.certificates[11], run.numbers.certificates[12][:-1] + "?"
    for said in (
        event("suspend", number=number, item="fusion"),
        event("revoke", number=unknown),
        event("issue", certificate={"number": number, "item": "glueing"}),
    ):
        answered = push(gateway, said)
        run.out[f"pushed {said['kind']}"] = json.dumps(answered.body).encode()
    assert b"applied" in run.out["pushed suspend"]


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
    assert b"registry version 2" in run.out["second import"]
    assert len([said for name, said in run.out.items() if name.startswith("find ") and b"*" in said]) > 4
    assert b"key version 2 seals" in run.out["rotate"]
    assert run.out["reseal"].split()[0] == run.out["reseal"].split()[2] != b"0"
    assert b"an hour after" in run.out["retire"]
    assert b"nothing is due" in run.out["purge"]
    assert {"county.db at work", "county.db-wal at work", "county.db afterwards"} <= set(run.out)
    assert b"as version 3" in run.out["rollback"]
    assert any(b"to version 2" in said for name, said in run.out.items() if name.startswith("history "))
    for kind in (b"access", b"check", b"registry"):
        assert b'"kind":"%b"' % kind in run.out["records"]


def test_a_full_number_came_out_where_it_was_asked_for_and_nowhere_else(run: Run) -> None:
    assert len(run.shown) == 2
    assert run.shown[0] in run.numbers.ids


def test_no_personal_number_comes_out_anywhere(run: Run) -> None:
    assert {name: found for name, content in run.out.items() if (found := run.numbers.found_in(content))} == {}
