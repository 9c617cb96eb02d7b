"""``weldgate broker``: the configuration of a production Mosquitto, and passwords for chips without certificates."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import err, out, reporting_errors
from gateway.cli.pki import DEFAULT_FOLDER, FolderOption, TrustOption, utc_now
from gateway.errors import WeldGateError
from gateway.mqtt import mosquitto
from gateway.mqtt.passwords import hashed, new_password, password_file, read_passwords
from gateway.pki import folder as pki
from gateway.pki import orders
from gateway.registry.machines import machines_in_files
from gateway.wire import acl

app = typer.Typer(help="The MQTT broker: Mosquitto's configuration, passwords.", no_args_is_help=True)

_DEFAULTS = mosquitto.Plan(Path(), ())
PASSWORD_PORT = 8884


@app.command()
def config(
    target: Annotated[Path, typer.Option("--out", help="Folder to write; a file of passwords in it is kept.")],
    gateway: Annotated[list[str], typer.Option(help="The instance of each gateway, as its setting says.")],
    reader: Annotated[list[str] | None, typer.Option(help="Who may read feeds and figures as reader-NAME.")] = None,
    server: Annotated[str | None, typer.Option(help="First host of the broker's certificate, where several.")] = None,
    passwords: Annotated[bool, typer.Option("--passwords", help="A second listener, by password.")] = False,
    installed_in: Annotated[Path | None, typer.Option(help="Where the folder lies at the broker's.")] = None,
    address: Annotated[str, typer.Option(help="Listen on this address alone.")] = _DEFAULTS.address,
    port: Annotated[int, typer.Option(min=1, max=65535, help="For certificates.")] = _DEFAULTS.port,
    password_port: Annotated[int, typer.Option(min=1, max=65535, help="For passwords.")] = PASSWORD_PORT,
    max_connections: Annotated[int, typer.Option(min=1, help="For each listener.")] = _DEFAULTS.max_connections,
    machines: Annotated[
        int, typer.Option(min=1, help="How many machines there are: what they say waits while the gateway is away.")
    ] = _DEFAULTS.machines,
    hours: Annotated[
        float, typer.Option(min=0.1, max=720, help="How long a gateway may be away before anything is dropped.")
    ] = _DEFAULTS.hours,
    memory_mib: Annotated[
        int | None,
        typer.Option(min=64, help="What the broker may take; by default what the queue needs, 1024 at least."),
    ] = None,
    folder: FolderOption = DEFAULT_FOLDER,
    trust: TrustOption = None,
) -> None:
    """Write Mosquitto's configuration with TLS, identities and access list, and the certificates that it names."""
    with reporting_errors():
        plan = mosquitto.Plan(
            folder=_named_in_config(installed_in or target),
            gateways=tuple(dict.fromkeys(gateway)),
            readers=tuple(dict.fromkeys(reader or [])),
            address=address,
            port=port,
            password_port=password_port if passwords else 0,
            max_connections=max_connections,
            machines=machines,
            hours=hours,
            memory_mib=memory_mib or 0,
        )
        _check_names(plan)
        _check_address(address)
        _check_memory(plan)
        _write(target, _files(plan, [folder, *(trust or [])], server))
        if plan.password_port and not (target / mosquitto.PASSWORDS).exists():
            _write(target, {mosquitto.PASSWORDS: b""})
        out.print(
            f"room for {plan.queued_messages:,} waiting messages in {plan.limit_mib:,} MiB: {machines:,} machines that "
            f"all weld for {hours:g} h"
        )
        out.print(f"{target}: Mosquitto's user has to be able to read it; see docs/identity.md", markup=False)


@app.command()
def password(
    machine_ids: Annotated[list[str] | None, typer.Argument(help="Machines.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Registry file of machines, or a folder of it.")] = None,
    gateway: Annotated[list[str] | None, typer.Option(help="The instance of a gateway.")] = None,
    reader: Annotated[list[str] | None, typer.Option(help="Somebody who reads feeds; becomes reader-NAME.")] = None,
    passwords: Annotated[Path, typer.Option(help="The broker's file of hashes, changed in place.")] = Path(
        mosquitto.PASSWORDS
    ),
    target: Annotated[Path | None, typer.Option("--out", help="New file for passwords; else they are shown.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Also for names that have one: the old one ends.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the passwords away instead.")] = False,
) -> None:
    """Make a random password for each name. It is shown or written this once: the broker's file holds hashes alone."""
    with reporting_errors():
        machines = [*(machine_ids or []), *(machines_in_files(source) if source else [])]
        names = [*machines, *map(acl.gateway_name, gateway or []), *map(acl.reader_name, reader or [])]
        _check_identities(machines, names)
        held = read_passwords(passwords) if passwords.exists() else {}
        if remove:
            _remove(passwords, held, names)
            return
        if taken := [name for name in names if name in held and not renew]:
            raise WeldGateError(f"{taken[0]}: has a password already; --renew makes another one, and the old one ends")
        made = {name: new_password() for name in names}
        _export(target, made)
        _write(passwords.parent, {passwords.name: password_file(held | {n: hashed(p) for n, p in made.items()})})
        err.print("the broker takes them at its next reload or start", markup=False)


# --- files ------------------------------------------------------------------------------------------------------


def _files(plan: mosquitto.Plan, folders: Sequence[Path], server: str | None) -> dict[str, bytes]:
    """The broker shows a certificate of the first authority, and lets in those of all."""
    folder = folders[0]
    certificate, key = pki.files_of(folder, "server", server or _only_server(folder), utc_now())
    return {
        mosquitto.CONFIG: mosquitto.configuration(plan).encode(),
        mosquitto.ACL: mosquitto.access_list(plan.gateways, plan.readers).encode(),
        mosquitto.AUTHORITY: pki.joined(folders, pki.AUTHORITY),
        mosquitto.REVOKED: pki.joined(folders, pki.REVOKED),
        mosquitto.SERVER_CERT: certificate.read_bytes(),
        mosquitto.SERVER_KEY: key.read_bytes(),
    }


def _only_server(folder: Path) -> str:
    names = sorted({one.name for one in pki.read_index(folder) if one.kind == "server" and one.holds(utc_now())})
    if len(names) != 1:
        found = f"there are {', '.join(names)}; choose one with --server" if names else "make one: weldgate pki issue"
        raise WeldGateError(f"--dir {folder}: not one certificate of a broker; {found}")
    return names[0]


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            pki.put(folder / name, content, durable=True)
    except OSError as error:
        raise WeldGateError(f"{folder}: {error.strerror}; choose a folder that can be written") from None


def _export(target: Path | None, made: Mapping[str, str]) -> None:
    """Before the hashes are written: a password that nobody knows would lock a chip out."""
    lines = "".join(f"{name}:{secret}\n" for name, secret in made.items())
    if target is None:
        typer.echo(lines, nl=False)
    elif target.exists():
        raise WeldGateError(f"--out {target}: is there already; hand it over and delete it, or choose another file")
    else:
        _write(target.parent, {target.name: lines.encode()})


def _remove(passwords: Path, held: Mapping[str, str], names: list[str]) -> None:
    if missing := [name for name in names if name not in held]:
        raise WeldGateError(f"{missing[0]}: has no password in {passwords}; check the name and --passwords")
    left = {name: stored for name, stored in held.items() if name not in names}
    _write(passwords.parent, {passwords.name: password_file(left)})
    out.print(f"{len(names):,} removed; restart the broker: a connection that is open stays open until then")


# --- names ------------------------------------------------------------------------------------------------------


def _check_names(plan: mosquitto.Plan) -> None:
    _check_identities(
        [], [acl.gateway_name(name) for name in plan.gateways] + [acl.reader_name(n) for n in plan.readers]
    )


def _check_address(address: str) -> None:
    """It becomes a part of a line of the configuration."""
    if address and not orders.is_host(address):
        raise WeldGateError(f"--address {address!r}: no name or address of a host; give for example 192.0.2.7")


def _check_memory(plan: mosquitto.Plan) -> None:
    if plan.limit_mib < plan.needed_mib:
        raise WeldGateError(
            f"--memory-mib {plan.memory_mib}: {plan.queued_messages:,} waiting messages need {plan.needed_mib:,}; give "
            "that, or fewer --machines or --hours"
        )


def _check_identities(machines: list[str], names: list[str]) -> None:
    """A name says whose it is, so no machine gets a gateway's."""
    if not names:
        raise WeldGateError("for whom: nobody is named; give machine ids, --from, --gateway or --reader")
    wrong = [name for name in names if acl.role_of(name) is None]
    wrong += [name for name in machines if acl.role_of(name) != "machine"]
    if wrong:
        raise WeldGateError(
            f"{wrong[0]!r}: no name of the protocol; a machine has 3 to 32 of A-Z 0-9 -, a gateway's instance 1 to 32 "
            "letters, digits, - or _, a reader 1 to 32 of a-z 0-9 -"
        )


def _named_in_config(folder: Path) -> Path:
    path = folder.absolute()
    if re.search(r"[\x00-\x1f]", str(path)):
        raise WeldGateError(f"--installed-in {str(path)!r}: holds a control character; choose another folder")
    return path
