"""``weldgate broker``: the files it writes, and the passwords that Mosquitto and the embedded broker both take."""

import subprocess
from pathlib import Path

import pytest

from gateway.mqtt.passwords import hashed, matches, read_passwords
from tests.identity.conftest import INSTANCE, Files, run
from tests.identity.test_pki import modes, refused


def configure(files: Files, folder: Path, *others: object) -> dict[str, str]:
    """The generated texts by file name."""
    run("broker", "config", "--out", folder, "--gateway", INSTANCE, "--dir", files.folder, *others)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_configuration_names_files_that_are_there_and_its_owner_s_alone(files: Files, tmp_path: Path) -> None:
    written = configure(files, tmp_path / "out", "--passwords")
    assert set(written) == {
        *("weldgate.conf", "weldgate.acl", "weldgate.passwords"),
        *("ca.crt", "crl.pem", "server.crt", "server.key"),
    }
    named = [line.split()[1] for line in written["weldgate.conf"].splitlines() if "file " in line and "#" not in line]
    assert {Path(name).parent for name in named} == {tmp_path / "out"}
    assert {Path(name).name for name in named} == set(written) - {"weldgate.conf"}
    assert modes(tmp_path / "out") == {0o600}


def test_the_authority_s_key_does_not_go_to_the_broker(files: Files, tmp_path: Path) -> None:
    secret = (files.folder / "ca.key").read_text()
    assert secret not in configure(files, tmp_path / "out", "--passwords").values()


def test_without_passwords_a_certificate_is_the_only_way_in(files: Files, tmp_path: Path) -> None:
    text = configure(files, tmp_path / "out")["weldgate.conf"]
    assert text.count("\nlistener ") == 1
    for line in (
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        "tls_version tlsv1.2",
    ):
        assert f"\n{line}\n" in text
    assert "password_file" not in text


def settings(text: str) -> dict[str, str]:
    """The configuration's lines by their first word; of several listeners the last one's."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def test_the_limits_line_by_line(files: Files, tmp_path: Path) -> None:
    """For a county of 2,000 machines that all weld for an hour without a gateway: 400 messages each."""
    found = settings(configure(files, tmp_path / "out")["weldgate.conf"])
    assert {name: found[name] for name in found if not name.endswith(("file", "listener"))} == {
        "per_listener_settings": "false",
        "allow_anonymous": "false",
        "max_queued_messages": "800000",
        "max_inflight_messages": "1000",
        "persistence": "true",
        "autosave_interval": "60",
        "persistent_client_expiration": "30d",
        "set_tcp_nodelay": "true",
        "message_size_limit": "8192",
        "memory_limit": str(1024 * 2**20),
        "max_keepalive": "600",
        "connection_messages": "true",
        "log_type": "notice",
        "log_timestamp_format": "%Y-%m-%dT%H:%M:%S",
        "max_connections": "10000",
        "tls_version": "tlsv1.2",
        "require_certificate": "true",
        "use_identity_as_username": "true",
        "use_username_as_clientid": "true",
    }


@pytest.mark.parametrize(
    ("given", "queued", "memory_mib"),
    [
        (("--machines", 1603, "--hours", 1), 641_200, 1_024),
        (("--machines", 1603, "--hours", 4), 2_564_800, 1_969),
        (("--machines", 20, "--hours", 0.5), 10_000, 1_024),
        (("--machines", 1603, "--hours", 4, "--memory-mib", 4_000), 2_564_800, 4_000),
    ],
)
def test_the_queue_is_sized_by_machines_and_hours_and_the_memory_by_the_queue(
    files: Files, tmp_path: Path, given: tuple[object, ...], queued: int, memory_mib: int
) -> None:
    found = settings(configure(files, tmp_path / "out", *given)["weldgate.conf"])
    assert (int(found["max_queued_messages"]), int(found["memory_limit"])) == (queued, memory_mib * 2**20)


def test_memory_in_which_the_queue_has_no_room_is_refused(files: Files, tmp_path: Path) -> None:
    """Mosquitto would run out of memory before it drops anything."""
    command = ("broker", "config", "--out", tmp_path / "out", "--gateway", "x", "--dir", files.folder)
    message = refused(*command, "--memory-mib", "512")
    assert "--memory-mib 512" in message
    assert "800,000 waiting messages need 791" in message
    assert not (tmp_path / "out").exists()


def test_the_folder_at_the_broker_may_be_another(files: Files, tmp_path: Path) -> None:
    text = configure(files, tmp_path / "out", "--installed-in", "/etc/mosquitto/weldgate")["weldgate.conf"]
    assert "\nacl_file /etc/mosquitto/weldgate/weldgate.acl\n" in text
    assert str(tmp_path) not in text


def test_writing_again_keeps_the_passwords(files: Files, tmp_path: Path) -> None:
    configure(files, tmp_path / "out", "--passwords")
    hashes = tmp_path / "out" / "weldgate.passwords"
    run("broker", "password", "HJ-0001", "--passwords", hashes)
    before = hashes.read_text()
    assert configure(files, tmp_path / "out", "--passwords")["weldgate.passwords"] == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--gateway", "a/b"), "weldgate-a/b"),
        (("--reader", "UPPER"), "reader-UPPER"),
        (("--server", "nobody.example"), "nobody.example"),
        (("--installed-in", "/etc/a\nb"), "control character"),
        (("--address", "127.0.0.1\nallow_anonymous true"), "--address"),
    ],
)
def test_what_cannot_be_configured_is_said(files: Files, tmp_path: Path, given: tuple[str, ...], says: str) -> None:
    message = refused("broker", "config", "--out", tmp_path / "out", "--gateway", "x", "--dir", files.folder, *given)
    assert says in message
    assert not (tmp_path / "out").exists()


def test_without_a_broker_s_certificate_it_says_how_to_make_one(tmp_path: Path) -> None:
    run("pki", "init", "--dir", tmp_path / "pki")
    assert "weldgate pki issue" in refused(
        "broker", "config", "--out", tmp_path / "out", "--gateway", "x", "--dir", tmp_path / "pki"
    )


def test_of_several_brokers_one_has_to_be_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    run("pki", "init", "--dir", folder)
    for host in ("a.example", "b.example"):
        run("pki", "issue", "--server", host, "--dir", folder)
    command = ("broker", "config", "--out", tmp_path / "out", "--gateway", "x", "--dir", folder)
    assert "a.example, b.example" in refused(*command)
    run(*command, "--server", "b.example")
    assert (tmp_path / "out" / "server.crt").read_bytes() == (folder / "servers" / "b.example.crt").read_bytes()


# --- passwords --------------------------------------------------------------------------------------------------


def test_passwords_are_handed_over_once_and_kept_as_hashes(tmp_path: Path) -> None:
    hashes, target = tmp_path / "hashes", tmp_path / "handed-over"
    run("broker", "password", "HJ-0001", "HJ-0002", "--passwords", hashes, "--out", target)
    made = dict(line.split(":") for line in target.read_text().splitlines())
    kept = read_passwords(hashes)
    assert set(made) == set(kept) == {"HJ-0001", "HJ-0002"}
    assert all(matches(made[name], kept[name]) for name in made)
    assert not matches(made["HJ-0001"], kept["HJ-0002"])
    assert not any(password in hashes.read_text() for password in made.values())
    assert len({*made.values()}) == 2
    assert min(map(len, made.values())) >= 32
    assert modes(tmp_path) == {0o600}
    assert "is there already" in refused("broker", "password", "HJ-0003", "--passwords", hashes, "--out", target), (
        "an earlier file is not written over"
    )
    assert "HJ-0003" not in read_passwords(hashes)


def test_without_a_file_they_are_shown(tmp_path: Path) -> None:
    name, password = run("broker", "password", "HJ-0001", "--passwords", tmp_path / "hashes").split()[0].split(":")
    assert matches(password, read_passwords(tmp_path / "hashes")[name])


def test_a_second_password_has_to_be_asked_for_and_ends_the_first(tmp_path: Path) -> None:
    hashes = tmp_path / "hashes"
    first = run("broker", "password", "HJ-0001", "--passwords", hashes).strip().split(":")[1]
    run("broker", "password", "HJ-0002", "--passwords", hashes)
    assert "--renew" in refused("broker", "password", "HJ-0001", "--passwords", hashes)
    assert matches(first, read_passwords(hashes)["HJ-0001"])
    run("broker", "password", "HJ-0001", "--renew", "--passwords", hashes)
    assert not matches(first, read_passwords(hashes)["HJ-0001"])
    assert set(read_passwords(hashes)) == {"HJ-0001", "HJ-0002"}


def test_a_password_can_be_taken_away(tmp_path: Path) -> None:
    hashes = tmp_path / "hashes"
    run("broker", "password", "HJ-0001", "HJ-0002", "--passwords", hashes)
    run("broker", "password", "HJ-0001", "--remove", "--passwords", hashes)
    assert set(read_passwords(hashes)) == {"HJ-0002"}
    assert "HJ-0001" in refused("broker", "password", "HJ-0001", "--remove", "--passwords", hashes)


@pytest.mark.parametrize("name", ["weldgate-county", "reader-board", "hj-1", "HJ:1", "HJ-0001\nHJ-0002", "+", ""])
def test_a_machine_gets_no_other_name_s_password(tmp_path: Path, name: str) -> None:
    assert repr(name) in refused("broker", "password", "--passwords", tmp_path / "hashes", "--", name)
    assert not (tmp_path / "hashes").exists()


def test_nobody_named_is_an_error(tmp_path: Path) -> None:
    assert "nobody is named" in refused("broker", "password", "--passwords", tmp_path / "hashes")


def test_a_file_that_is_no_password_file_is_refused(tmp_path: Path) -> None:
    hashes = tmp_path / "hashes"
    hashes.write_text("HJ-0001:$7$101$x$y\nnonsense\n")
    assert "line 2" in refused("broker", "password", "HJ-0002", "--passwords", hashes)


def test_the_hash_is_mosquitto_s_own_form(tmp_path: Path) -> None:
    """What mosquitto_passwd makes is taken here; that Mosquitto takes ours every test by password shows."""
    hashes = tmp_path / "hashes"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(hashes), "HJ-0001", "open-sesame"], check=True)
    stored = read_passwords(hashes)["HJ-0001"]
    assert matches("open-sesame", stored)
    assert not matches("open-sesame ", stored)
    ours = hashed("open-sesame")
    assert [len(part) for part in ours.split("$")] == [len(part) for part in stored.split("$")]
    assert ours.split("$")[:3] == stored.split("$")[:3]


@pytest.mark.parametrize("stored", ["", "$6$old$form", "$7$many$x$y", "$7$101$!!$!!", "open-sesame"])
def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    assert not matches("open-sesame", stored)
    assert not matches("", stored)
