"""``weldgate pki``: the authority for devices, and what it issues."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.progress import Progress as Bar

from gateway.cli.console import err, out, reporting_errors
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.clock import now_ms
from gateway.errors import WeldGateError
from gateway.keys import open_keys
from gateway.mqtt.url import parse_broker_url
from gateway.pki import bundle as bundles
from gateway.pki.authority import Progress, make_authority, open_authority
from gateway.pki.certificates import Period
from gateway.pki.folder import AUTHORITY, FOLDERS, REVOKED, Issued, Kind, joined, put, read_index
from gateway.pki.orders import Order, for_server
from gateway.registry.machines import machines_in_database, machines_in_files
from gateway.store.engine import DEFAULT_URL, open_engine
from gateway.wire import acl

app = typer.Typer(help="Device certificates: who is who at the broker.", no_args_is_help=True)

DEFAULT_FOLDER = Path("var/pki")
AUTHORITY_DAYS = 7_300
MACHINE_DAYS = 1_825
"""Five years: a chip is visited seldom."""
OTHER_DAYS = 825
PASSPHRASE_VARIABLE = "WELDGATE_PKI_PASSPHRASE"  # noqa: S105  (its name, not its value)

FolderOption = Annotated[Path, typer.Option("--dir", envvar="WELDGATE_PKI", help="Folder of the authority.")]
TrustOption = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of another authority to trust beside this one, while one follows the other."),
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help=f"File with the passphrase of the authority's key; else the environment's {PASSPHRASE_VARIABLE}.",
    ),
]


_IDENTITIES: dict[Kind, Callable[[str], str]] = {"machine": str, "gateway": acl.gateway_name, "reader": acl.reader_name}


class _Wanted(Struct, frozen=True):
    """Orders of one command; of a ``bulk`` only those are carried out that have no certificate yet."""

    orders: list[Order]
    bulk: bool = False


@app.command()
def init(
    folder: FolderOption = DEFAULT_FOLDER,
    name: Annotated[str, typer.Option(help="The authority's common name.")] = "WeldGate devices",
    days: Annotated[int, typer.Option(min=1, help="How long it lasts.")] = AUTHORITY_DAYS,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make the authority. Its key stays in the folder: back it up, and keep it off the broker's machine."""
    with reporting_errors():
        now = utc_now()
        passphrase = _passphrase(passphrase_file)
        make_authority(folder, name, Period(now, now + timedelta(days=days)), passphrase)
        out.print(f"{folder}: an authority until {now + timedelta(days=days):%Y-%m-%d}", markup=False)
        if not passphrase:
            err.print(f"its key has no passphrase: to set one give --passphrase-file or {PASSPHRASE_VARIABLE} at init")


@app.command()
def issue(
    machine_ids: Annotated[list[str] | None, typer.Argument(help="Machines.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Registry file of machines, or a folder of it.")] = None,
    all_machines: Annotated[bool, typer.Option("--all-machines", help="Every machine in the database.")] = False,
    database: DatabaseOption = DEFAULT_URL,
    gateway: Annotated[list[str] | None, typer.Option(help="The instance of a gateway, as its setting says.")] = None,
    reader: Annotated[list[str] | None, typer.Option(help="Somebody who reads feeds; becomes reader-NAME.")] = None,
    server: Annotated[list[str] | None, typer.Option(help="Host names and addresses of the broker.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Validity; default 1825 for machines, else 825.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Also where there is a certificate that holds.")] = False,
    folder: FolderOption = DEFAULT_FOLDER,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make keys and certificates. From a file or the database: for those machines that have none."""
    with reporting_errors():
        named: dict[Kind, list[str]] = {
            "machine": machine_ids or [],
            "gateway": gateway or [],
            "reader": reader or [],
            "server": server or [],
        }
        wanted = _only_one(
            [*_named(named), *_machines(source, database if all_machines else None)],
            "issue for whom",
            "machine ids, --from, --all-machines, --gateway, --reader, --server",
        )
        authority = open_authority(folder, _passphrase(passphrase_file))
        now = utc_now()
        orders = _without_those_held(wanted, folder, now) if not renew else wanted.orders
        machines = wanted.orders[0].kind == "machine"
        with _bar() as progress:
            issued = authority.issue(
                orders, now, days or (MACHINE_DAYS if machines else OTHER_DAYS), renew=renew, progress=progress
            )
        _report(issued, folder, len(wanted.orders))
        if renew:
            out.print("earlier certificates hold until they are revoked or over: weldgate pki revoke SERIAL")


@app.command()
def revoke(
    what: Annotated[str, typer.Argument(metavar="NAME_OR_SERIAL", help="A machine, another name, or one serial.")],
    folder: FolderOption = DEFAULT_FOLDER,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Revoke all certificates of a name, or the one of a serial. The broker has to be given the new list."""
    with reporting_errors():
        authority = open_authority(folder, _passphrase(passphrase_file))
        revoked = authority.revoke(what, utc_now())
        for one in revoked:
            out.print(f"revoked {one.name} {one.serial}")
        if not revoked:
            out.print(f"{what}: was revoked before")
        _give_to_broker(folder)


@app.command()
def crl(folder: FolderOption = DEFAULT_FOLDER, passphrase_file: PassphraseOption = None) -> None:
    """Write the list of revoked certificates anew."""
    with reporting_errors():
        open_authority(folder, _passphrase(passphrase_file)).write_revoked(utc_now())
        _give_to_broker(folder)


@app.command("list")
def list_command(
    name: Annotated[str | None, typer.Argument(help="Only this name.")] = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Show what was issued, oldest first."""
    with reporting_errors():
        for one in read_index(folder):
            if name in (None, one.name):
                state = f"revoked {one.revoked_at:%Y-%m-%d}" if one.revoked_at else f"until {one.not_after:%Y-%m-%d}"
                out.print(f"{one.serial}  {one.kind:7}  {one.name:32}  {state}", markup=False)


@app.command()
def bundle(
    target: Annotated[Path, typer.Option("--out", help="For one machine a file, a tar; else a folder of them.")],
    broker: Annotated[str, typer.Option(help="Where the chips connect: mqtts://HOST:PORT.")],
    machine_ids: Annotated[list[str] | None, typer.Argument(help="Machines.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Registry file of machines, or a folder of it.")] = None,
    all_machines: Annotated[bool, typer.Option("--all-machines", help="Every machine in the database.")] = False,
    database: DatabaseOption = DEFAULT_URL,
    trust: TrustOption = None,
    keys: KeysOption = DEFAULT_KEYS,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Write what chips are provisioned with. It holds each chip's key: hand it over like a key, then delete it."""
    with reporting_errors():
        _check_broker(broker)
        wanted = _only_one(
            [*_named({"machine": machine_ids or []}), *_machines(source, database if all_machines else None)],
            "bundle for whom",
            "machine ids, --from, --all-machines",
        )
        around = bundles.Surroundings(broker, joined([folder, *(trust or [])], AUTHORITY), open_keys(keys).public())
        files = bundles.files_of_all(folder, [order.name for order in wanted.orders], utc_now())
        alone = len(files) == 1 and not wanted.bulk and not target.is_dir()
        try:
            _write_bundles(files, around, target, alone=alone)
        except OSError as error:
            raise WeldGateError(f"--out {target}: {error.strerror}; choose a place that can be written") from None
        out.print(str(target) if alone else f"{len(files):,} bundles in {target}", markup=False)


def _check_broker(url: str) -> None:
    """It goes to every chip."""
    broker = parse_broker_url(url)
    if not broker.tls or broker.user or broker.password:
        raise WeldGateError(
            f"--broker {broker}: a chip with a certificate needs mqtts://HOST:PORT, and nobody's name or password in it"
        )


def _write_bundles(
    files: Mapping[str, bundles.Files], around: bundles.Surroundings, target: Path, *, alone: bool
) -> None:
    if not alone:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _bar() as progress:
        for done, (machine_id, held) in enumerate(files.items(), 1):
            content = bundles.bundle(machine_id, held, around, utc_now())
            put(target if alone else target / f"{machine_id}.tar", content)
            progress("bundles", done, len(files))


# --- what is wanted ---------------------------------------------------------------------------------------------


def _only_one(wanted: Sequence[_Wanted], what: str, choices: str) -> _Wanted:
    """Orders of different kinds have different validity, so a command takes one."""
    if len(wanted) != 1:
        raise WeldGateError(f"{what}: {'several' if wanted else 'none'} given; give one of {choices}")
    if not wanted[0].orders:
        raise WeldGateError(f"{what}: no machine is there; import the registries first, or name machines")
    return wanted[0]


def _named(names: dict[Kind, list[str]]) -> Iterator[_Wanted]:
    for kind, given in names.items():
        unique = tuple(dict.fromkeys(given))
        if kind == "server" and unique:
            yield _Wanted([for_server(unique)])
        elif unique:
            yield _Wanted([Order(kind, _IDENTITIES[kind](name)) for name in unique])


def _machines(source: Path | None, database: str | None) -> Iterator[_Wanted]:
    if source is not None:
        yield _Wanted([Order("machine", name) for name in machines_in_files(source)], bulk=True)
    if database is not None:
        engine = open_engine(database, migrate=False, must_exist=True)
        yield _Wanted([Order("machine", name) for name in machines_in_database(engine)], bulk=True)
        engine.dispose()


def _without_those_held(wanted: _Wanted, folder: Path, now: datetime) -> list[Order]:
    if not wanted.bulk:
        return wanted.orders
    held = {(one.kind, one.name) for one in read_index(folder) if one.holds(now)}
    return [order for order in wanted.orders if (order.kind, order.name) not in held]


# --- around it --------------------------------------------------------------------------------------------------


def utc_now() -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def _passphrase(file: Path | None) -> bytes | None:
    """From a file or the environment, never from the command line, which other users of the machine can see."""
    if file is None:
        return os.environ.get(PASSPHRASE_VARIABLE, "").encode() or None
    try:
        passphrase = file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise WeldGateError(f"--passphrase-file {file}: {error.strerror}; name a file that can be read") from None
    if not passphrase:
        raise WeldGateError(f"--passphrase-file {file}: is empty; write the passphrase into its first line")
    return passphrase


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    with Bar(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def _report(issued: Sequence[Issued], folder: Path, wanted: int) -> None:
    for kind, name in FOLDERS.items():
        if count := sum(one.kind == kind for one in issued):
            out.print(f"{count:,} issued in {folder / name}, until {issued[0].not_after:%Y-%m-%d}", markup=False)
    if left := wanted - len(issued):
        out.print(f"{left:,} have a certificate that holds: left alone; --renew makes new ones")


def _give_to_broker(folder: Path) -> None:
    out.print(
        f"give {folder / REVOKED} to the broker and restart it: a connection that is open stays open until then",
        markup=False,
    )
