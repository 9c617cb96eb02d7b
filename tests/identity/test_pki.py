"""``weldgate pki``: what the authority issues, what it refuses, and what its files are like."""

import json
import ssl
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.pki.authority import make_authority, open_authority
from gateway.pki.certificates import Period
from gateway.pki.folder import PkiError, read_index
from gateway.pki.orders import Order
from tests.identity.conftest import run
from tests.service import county
from tests.support.gateway import weldgate

NOW = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
COUNTY = 1_603


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a fresh authority."""
    run("pki", "init", "--dir", tmp_path / "pki")
    return tmp_path / "pki"


def refused(*arguments: object) -> str:
    """The message of a command that has to fail."""
    done = weldgate(*map(str, arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("weldgate: ")
    return done.stderr


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def common_name(subject: x509.Name) -> str:
    (attribute,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


# --- what is issued ---------------------------------------------------------------------------------------------


def test_a_machine_s_certificate_names_it_and_is_for_clients_alone(folder: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder, "--days", 30)
    made = certificate(folder / "machines" / "HJ-0001.crt")
    authority = certificate(folder / "ca.crt")
    assert common_name(made.subject) == "HJ-0001"
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    made.verify_directly_issued_by(authority)
    left = made.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_a_broker_s_certificate_has_its_names_and_is_for_servers_alone(folder: Path) -> None:
    run(
        "pki",
        "issue",
        "--server",
        "broker.example",
        "--server",
        "192.0.2.7",
        "--server",
        "2001:db8::7",
        "--dir",
        folder,
    )
    made = certificate(folder / "servers" / "broker.example.crt")
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "2001:db8::7"]
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_the_authority_signs_certificates_and_no_further_authorities(folder: Path) -> None:
    authority = certificate(folder / "ca.crt")
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_a_gateway_s_certificate_has_its_client_id(folder: Path) -> None:
    run("pki", "issue", "--gateway", "county_1", "--dir", folder)
    assert common_name(certificate(folder / "gateways" / "weldgate-county_1.crt").subject) == "weldgate-county_1"


def test_every_file_is_its_owner_s_alone(folder: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    run("pki", "revoke", "HJ-0001", "--dir", folder)
    assert modes(folder) == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "machines")} == {0o700}


@pytest.mark.parametrize("what", ["file", "folder", "database"])
def test_a_whole_county_is_issued_at_once(folder: Path, tmp_path: Path, what: str) -> None:
    run("registry", "sample", "--out", tmp_path / "sample")
    database = f"sqlite:///{tmp_path / 'county.db'}"
    if what == "database":
        run("registry", "import", tmp_path / "sample", "--database", database, "--keys", tmp_path / "keys")
    source: dict[str, tuple[object, ...]] = {
        "file": ("--from", tmp_path / "sample" / "machines.csv"),
        "folder": ("--from", tmp_path / "sample"),
        "database": ("--all-machines", "--database", database),
    }
    run("pki", "issue", *source[what], "--dir", folder)
    index = read_index(folder)
    files = list((folder / "machines").glob("*.crt"))
    assert len(files) == len(index) == len({one.serial for one in index}) > COUNTY * 0.9
    listed = (tmp_path / "sample" / "machines.csv").read_text(encoding="utf-8-sig")
    in_use = [line for line in listed.splitlines()[1:] if "decommissioned" not in line]
    assert len(files) == len(in_use)


def test_every_certificate_of_a_county_has_its_own_serial_and_key(folder: Path) -> None:
    issued = open_authority(folder, None).issue(
        [Order("machine", f"HJ-{number:04}") for number in range(COUNTY)], datetime.now(UTC), 30
    )
    made = [certificate(folder / "machines" / f"{one.name}.crt") for one in issued]
    keys = {one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in made}
    assert len({one.serial_number for one in made}) == len(keys) == COUNTY
    assert [f"{one.serial_number:040x}" for one in made] == [one.serial for one in issued]


def test_a_second_run_issues_to_new_machines_alone(folder: Path, tmp_path: Path) -> None:
    files = county.write(tmp_path / "files", county.rows())
    run("pki", "issue", county.machine(1), "--dir", folder)
    before = (folder / "machines" / "HJ-0001.crt").read_bytes()
    said = run("pki", "issue", "--from", files, "--dir", folder)
    assert "1 have a certificate that holds: left alone" in said
    assert (folder / "machines" / "HJ-0001.crt").read_bytes() == before
    assert not (folder / "machines" / "HJ-SCRAP.crt").exists(), "what is decommissioned gets none"
    assert "0 issued" not in run("pki", "issue", "--from", files, "--dir", folder)


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "weldgate-county",
        "reader-board",
        "hj-0001",
        "HJ",
        "HJ-0001/..",
        "../../x",
        "+",
        "#",
        "HJ 1",
        "-HJ1",
        "A" * 33,
        "",
    ],
)
def test_a_machine_is_issued_no_other_name(folder: Path, name: str) -> None:
    assert f"machine {name!r}" in refused("pki", "issue", "--dir", folder, "--", name)
    assert read_index(folder) == []


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--gateway", "a/b"),
        ("--gateway", "+"),
        ("--gateway", "x" * 33),
        ("--gateway", "x\n"),
        ("--reader", "BOARD"),
        ("--reader", "a_b"),
        ("--server", "*"),
        ("--server", "a b"),
        ("--server", "../x"),
        ("--server", "mqtts://broker"),
    ],
)
def test_other_names_keep_to_their_form(folder: Path, option: str, name: str) -> None:
    assert "not a name of this kind" in refused("pki", "issue", option, name, "--dir", folder)
    assert read_index(folder) == []


def test_one_wrong_name_issues_to_nobody(folder: Path) -> None:
    refused("pki", "issue", "HJ-0001", "wrong", "--dir", folder)
    assert read_index(folder) == []
    assert not (folder / "machines").exists()


# --- again ------------------------------------------------------------------------------------------------------


def test_a_second_certificate_has_to_be_asked_for(folder: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    (first,) = read_index(folder)
    message = refused("pki", "issue", "HJ-0001", "--dir", folder)
    assert first.serial in message
    assert "--renew" in message
    assert "hold until they are revoked" in run("pki", "issue", "HJ-0001", "--renew", "--dir", folder)
    assert [one.revoked_at for one in read_index(folder)] == [None, None]


def test_after_a_revocation_or_the_end_a_new_one_is_issued(folder: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    run("pki", "revoke", "HJ-0001", "--dir", folder)
    run("pki", "issue", "HJ-0001", "--dir", folder)
    authority = open_authority(folder, None)
    authority.issue([Order("machine", "HJ-0002")], NOW - timedelta(days=40), 30)
    authority.issue([Order("machine", "HJ-0002")], datetime.now(UTC), 30)
    assert len(read_index(folder)) == 4


# --- revoking ---------------------------------------------------------------------------------------------------


def revoked(folder: Path) -> list[str]:
    crl = x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
    key = certificate(folder / "ca.crt").public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    return [f"{one.serial_number:040x}" for one in crl]


def test_the_list_of_revoked_ones_holds_what_was_revoked_and_lasts_as_long_as_the_authority(folder: Path) -> None:
    assert revoked(folder) == []
    for _ in range(2):
        run("pki", "issue", "HJ-0001", "HJ-0002", "--renew", "--dir", folder)
    first, second, third, fourth = read_index(folder)
    run("pki", "revoke", first.serial, "--dir", folder)
    assert revoked(folder) == [first.serial]
    run("pki", "revoke", "HJ-0002", "--dir", folder)
    assert set(revoked(folder)) == {first.serial, second.serial, fourth.serial}
    assert third.serial not in revoked(folder)
    crl = x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
    assert crl.next_update_utc == certificate(folder / "ca.crt").not_valid_after_utc


def test_each_list_is_newer_than_the_one_before_it_and_none_is_of_the_future(folder: Path) -> None:
    """OpenSSL keeps the older of two lists of the same second, and takes none that begins later."""
    run("pki", "issue", "HJ-0001", "HJ-0002", "--dir", folder)
    numbers, times = [], []
    for command in (("revoke", "HJ-0001"), ("revoke", "HJ-0002"), ("revoke", "HJ-0002"), ("crl",)):
        run("pki", *command, "--dir", folder)
        crl = x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
        numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
        times.append(crl.last_update_utc)
    assert numbers == [2, 3, 4, 5]
    assert times == sorted(set(times))
    assert times[-1] < datetime.now(UTC)


def test_what_has_run_out_leaves_the_list(folder: Path) -> None:
    authority = open_authority(folder, None)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    authority.issue([Order("machine", "HJ-0001")], long_ago, 30)
    authority.revoke("HJ-0001", long_ago)
    assert len(revoked(folder)) == 1
    authority.write_revoked(datetime.now(UTC))
    assert revoked(folder) == []


def test_revoking_twice_says_so(folder: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    assert "revoked HJ-0001" in run("pki", "revoke", "HJ-0001", "--dir", folder)
    assert "was revoked before" in run("pki", "revoke", "HJ-0001", "--dir", folder)


def test_what_was_never_issued_cannot_be_revoked(folder: Path) -> None:
    assert "'HJ-0009'" in refused("pki", "revoke", "HJ-0009", "--dir", folder)


# --- the authority's own key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "environment"])
def test_a_passphrase_seals_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    folder, file = tmp_path / "pki", tmp_path / "passphrase"
    file.write_text("open sesame\n")
    given = ("--passphrase-file", file) if how == "file" else ()
    if how == "environment":
        monkeypatch.setenv("WELDGATE_PKI_PASSPHRASE", "open sesame")
    run("pki", "init", "--dir", folder, *given)
    assert b"ENCRYPTED" in (folder / "ca.key").read_bytes()
    run("pki", "issue", "HJ-0001", "--dir", folder, *given)
    monkeypatch.delenv("WELDGATE_PKI_PASSPHRASE", raising=False)
    assert "passphrase" in refused("pki", "issue", "HJ-0002", "--dir", folder)
    file.write_text("another one")
    message = refused("pki", "issue", "HJ-0002", "--dir", folder, "--passphrase-file", file)
    assert "check the passphrase" in message
    assert "another one" not in message


def test_no_option_takes_a_passphrase_itself() -> None:
    done = weldgate("pki", "issue", "--help")
    assert "--passphrase-file" in done.stdout
    assert "--passphrase " not in done.stdout


def test_a_key_that_others_may_read_is_refused(folder: Path) -> None:
    (folder / "ca.key").chmod(0o640)
    assert "chmod 600" in refused("pki", "issue", "HJ-0001", "--dir", folder)


def test_a_key_of_another_authority_is_refused(folder: Path, tmp_path: Path) -> None:
    make_authority(tmp_path / "other", "other", Period(NOW, NOW + timedelta(days=9)), None)
    (folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(PkiError, match="does not belong to"):
        open_authority(folder, None)


def test_an_authority_is_not_made_over_another(folder: Path) -> None:
    before = (folder / "ca.key").read_bytes()
    assert "holds an authority already" in refused("pki", "init", "--dir", folder)
    assert (folder / "ca.key").read_bytes() == before


def test_nothing_outlives_the_authority(tmp_path: Path) -> None:
    run("pki", "init", "--dir", tmp_path / "pki", "--days", 100)
    message = refused("pki", "issue", "HJ-0001", "--dir", tmp_path / "pki", "--days", 101)
    assert "--days 101" in message
    assert "at most" in message


@pytest.mark.parametrize("command", [("issue", "HJ-0001"), ("revoke", "HJ-0001"), ("crl",), ("list",)])
def test_without_an_authority_it_says_how_to_make_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "weldgate pki init" in refused("pki", *command, "--dir", tmp_path / "nothing")


@pytest.mark.parametrize("given", [(), ("HJ-0001", "--gateway", "x"), ("--all-machines", "--server", "x")])
def test_a_command_issues_to_one_kind(folder: Path, given: tuple[str, ...], tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'county.db'}"
    run("registry", "import", county.write(tmp_path / "f", county.rows()), "--database", database, "--keys", tmp_path)
    assert "issue for whom" in refused("pki", "issue", *given, "--dir", folder, "--database", database)


def test_a_bad_row_of_a_registry_file_is_shown(folder: Path, tmp_path: Path) -> None:
    tables = county.rows()
    tables["machines"].append(("HJ+1", "", county.FIRM, "fusion", county.DIVISION, "", "active"))
    message = refused("pki", "issue", "--from", county.write(tmp_path / "files", tables), "--dir", folder)
    assert "machines.csv" in message
    assert "HJ+1" in message


# --- what a chip gets -------------------------------------------------------------------------------------------


def test_a_bundle_holds_what_a_chip_is_provisioned_with(folder: Path, tmp_path: Path) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    target, keys = tmp_path / "HJ-0001.tar", tmp_path / "keys"
    run("pki", "bundle", "HJ-0001", "--out", target, "--dir", folder, "--keys", keys, "--broker", "mqtts://b.example")
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        assert {entry.mode for entry in tar} == {0o600}
        tar.extractall(tmp_path / "chip", filter="data")
    chip = tmp_path / "chip"
    context = ssl.create_default_context(cafile=str(chip / "ca.crt"))
    context.load_cert_chain(chip / "client.crt", chip / "client.key")
    provision = json.loads((chip / "provision.json").read_bytes())
    assert (provision["machine_id"], provision["client_id"]) == ("HJ-0001", "HJ-0001")
    assert (provision["broker"], provision["algorithms"]) == ("mqtts://b.example", ["ES256"])
    assert (chip / "jwks.json").read_text() == run("keys", "public", "--out", "-", "--keys", keys)
    assert '"d"' not in (chip / "jwks.json").read_text(), "no private part"


@pytest.mark.parametrize("state", ["never issued", "revoked", "lost"])
def test_there_is_no_bundle_without_a_certificate_that_holds(folder: Path, tmp_path: Path, state: str) -> None:
    if state != "never issued":
        run("pki", "issue", "HJ-0001", "--dir", folder)
    if state == "revoked":
        run("pki", "revoke", "HJ-0001", "--dir", folder)
    if state == "lost":
        (folder / "machines" / "HJ-0001.key").unlink()
    target = tmp_path / "chip.tar"
    given = ("--dir", folder, "--keys", tmp_path / "keys", "--broker", "mqtts://b.example")
    message = refused("pki", "bundle", "HJ-0001", "--out", target, *given)
    assert "HJ-0001" in message
    assert "weldgate pki issue" in message
    assert not target.exists()


def test_a_bundle_can_trust_two_authorities(folder: Path, tmp_path: Path) -> None:
    run("pki", "init", "--dir", tmp_path / "old")
    run("pki", "issue", "HJ-0001", "--dir", folder)
    target = tmp_path / "chip.tar"
    given = ("--dir", folder, "--trust", tmp_path / "old", "--keys", tmp_path / "keys", "--broker", "mqtts://b.example")
    run("pki", "bundle", "HJ-0001", "--out", target, *given)
    with tarfile.open(target) as tar:
        tar.extractall(tmp_path / "chip", filter="data")
    expected = (folder / "ca.crt").read_bytes() + (tmp_path / "old" / "ca.crt").read_bytes()
    assert (tmp_path / "chip" / "ca.crt").read_bytes() == expected
    assert "nowhere" in refused("pki", "bundle", "HJ-0001", "--out", target, *given, "--trust", tmp_path / "nowhere")


def provisioned(path: Path) -> dict[str, str]:
    """What a bundle tells its chip of itself."""
    with tarfile.open(path) as tar:
        held = tar.extractfile("provision.json")
        assert held is not None
        told: dict[str, str] = json.loads(held.read())
        return told


@pytest.mark.parametrize("whose", ["named", "files", "database"])
def test_many_bundles_are_a_folder_of_one_for_each_machine(folder: Path, tmp_path: Path, whose: str) -> None:
    files, database = county.write(tmp_path / "files", county.rows()), f"sqlite:///{tmp_path / 'county.db'}"
    run("registry", "import", files, "--database", database, "--keys", tmp_path / "keys")
    run("pki", "issue", "--from", files, "--dir", folder)
    machines = sorted(path.stem for path in (folder / "machines").glob("*.crt"))
    who: dict[str, list[object]] = {
        "named": [*machines],
        "files": ["--from", files],
        "database": ["--all-machines", "--database", database],
    }
    target = tmp_path / "bundles"
    given = ("--out", target, "--dir", folder, "--keys", tmp_path / "keys", "--broker", "mqtts://b.example:8883")
    assert f"{len(machines)} bundles" in run("pki", "bundle", *who[whose], *given)
    assert sorted(path.stem for path in target.iterdir()) == machines
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}
    assert target.stat().st_mode & 0o777 == 0o700
    for machine_id in machines:
        told = provisioned(target / f"{machine_id}.tar")
        assert (told["machine_id"], told["broker"]) == (machine_id, "mqtts://b.example:8883")


def test_one_machine_without_a_certificate_is_named_before_any_bundle_is_written(folder: Path, tmp_path: Path) -> None:
    files = county.write(tmp_path / "files", county.rows())
    run("pki", "issue", "HJ-0001", "--dir", folder)
    given = ("--from", files, "--dir", folder, "--keys", tmp_path / "keys", "--broker", "mqtts://b.example")
    message = refused("pki", "bundle", "--out", tmp_path / "bundles", *given)
    assert "'HJ-0002': has no certificate" in message
    assert "more machines like it" in message
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "--broker"),
        (("--broker", "b.example:8883"), "scheme"),
        (("--broker", "mqtt://b.example"), "needs mqtts://HOST:PORT"),
        (("--broker", "mqtts://who:secret-words@b.example"), "nobody's name or password"),
    ],
)
def test_a_bundle_that_would_send_its_chip_nowhere_is_refused(
    folder: Path, tmp_path: Path, given: tuple[str, ...], says: str
) -> None:
    run("pki", "issue", "HJ-0001", "--dir", folder)
    done = weldgate("pki", "bundle", "HJ-0001", "--out", str(tmp_path / "chip.tar"), "--dir", str(folder), *given)
    assert done.returncode != 0
    assert says in done.stderr
    assert "secret-words" not in done.stderr
    assert not (tmp_path / "chip.tar").exists()


@pytest.mark.parametrize("given", [(), ("HJ-0001", "--all-machines")])
def test_bundles_are_for_one_choice_of_machines(folder: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    database = f"sqlite:///{tmp_path / 'county.db'}"
    run(
        "registry",
        "import",
        county.write(tmp_path / "files", county.rows()),
        "--database",
        database,
        "--keys",
        tmp_path,
    )
    others = ("--out", tmp_path / "x", "--dir", folder, "--broker", "mqtts://b.example", "--database", database)
    assert "bundle for whom" in refused("pki", "bundle", *given, *others)
