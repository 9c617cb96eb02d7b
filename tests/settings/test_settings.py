"""Command line, then environment, then TOML file, then default; and no message ever repeats a password."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.settings import Settings, SettingsError, load_settings

URL = "mqtts://gateway:open-sesame@broker.example:8883"
PASSWORD = "open-sesame"


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith("WELDGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def toml(text: str, name: str = "weldgate.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refused(**given: Any) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(**given)
    return str(error.value)


# --- precedence -------------------------------------------------------------------------------------------------

VALUES: dict[str, tuple[Any, Any, Any]] = {
    # command line, environment, TOML
    "broker": ("mqtt://a:1", "mqtt://b:2", "mqtt://c:3"),
    "broker_ca": ("a.pem", "b.pem", "c.pem"),
    "broker_cert": ("a.crt", "b.crt", "c.crt"),
    "broker_key": ("a.key", "b.key", "c.key"),
    "mqtt": ("auto", "5", "3.1.1"),
    "database": ("sqlite:///a.db", "sqlite:///b.db", "sqlite:///c.db"),
    "http": ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    "address": ("https://a.example", "https://b.example", "https://c.example"),
    "proxies": ("10.0.0.1", "10.0.0.0/8", "192.0.2.1, 192.0.2.2"),
    "oidc_issuer": ("https://a.example", "https://b.example", "https://c.example"),
    "oidc_client_id": ("a", "b", "c"),
    "oidc_client_secret": ("a", "b", "c"),
    "oidc_claim": ("a", "b", "c"),
    "registry": ("a.toml", "b.toml", "c.toml"),
    "policy": ("a.toml", "b.toml", "c.toml"),
    "keys": ("a", "b", "c"),
    "instance": ("a", "b", "c"),
    "log_level": ("debug", "warning", "error"),
}


def value(settings: Settings, name: str) -> str:
    held = getattr(settings, name)
    return str(held.get_secret_value() if isinstance(held, SecretStr) else held)


def test_every_setting_is_among_those_tried_here() -> None:
    assert set(VALUES) | {"config", "accept_clock"} == set(Settings.model_fields)


@pytest.mark.parametrize("name", VALUES)
def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = value(load_settings(), name)
    command_line, environment, file = VALUES[name]
    toml(f'{name} = "{file}"\n')
    assert value(load_settings(), name) == file != default
    monkeypatch.setenv(f"WELDGATE_{name.upper()}", environment)
    assert value(load_settings(), name) == environment
    assert value(load_settings(**{name: command_line}), name) == command_line
    assert value(load_settings(**{name: None}), name) == environment


def test_defaults_are_those_that_are_published() -> None:
    settings = load_settings()
    assert settings.broker.get_secret_value() == "mqtt://127.0.0.1:1883"
    assert (settings.broker_ca, settings.broker_cert, settings.broker_key) == (None, None, None)
    assert settings.database == "sqlite:///var/weldgate.db"
    assert settings.http_address == ("127.0.0.1", 8080)
    assert settings.policy is None
    assert settings.keys == Path("var/keys")
    assert settings.log_level == "info"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", settings.instance)


def test_a_switch_is_thrown_back_by_whatever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("accept_clock = true")
    assert load_settings().accept_clock is True
    monkeypatch.setenv("WELDGATE_ACCEPT_CLOCK", "false")
    assert load_settings().accept_clock is False
    assert load_settings(accept_clock=True).accept_clock is True
    assert load_settings(accept_clock=None).accept_clock is False


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_file_s_own_name_can_be_given(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    toml('instance = "from-weldgate-toml"')
    other = toml('instance = "from-other-toml"', "other.toml")
    given = {}
    if how == "environment":
        monkeypatch.setenv("WELDGATE_CONFIG", str(other))
    else:
        given = {"config": other}
    assert load_settings(**given).instance == "from-other-toml"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_file_that_was_named_and_is_not_there_is_refused(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    if how == "environment":
        monkeypatch.setenv("WELDGATE_CONFIG", "nowhere.toml")
    else:
        given = {"config": Path("nowhere.toml")}
    assert "nowhere.toml" in refused(**given)


def test_without_a_file_nothing_is_missing() -> None:
    assert load_settings().log_level == "info"


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:8080", ("::1", 8080)), ("localhost:0", ("localhost", 0))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert load_settings(http=text).http_address == address


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert load_settings(log_level="WARNING").log_level == "warning"


# --- values that cannot be used ---------------------------------------------------------------------------------

BAD = [
    ("http", "8080", "host:port"),
    ("http", "127.0.0.1", "host:port"),
    ("http", ":8080", "host:port"),
    ("http", "127.0.0.1:http", "host:port"),
    ("http", "127.0.0.1:65536", "host:port"),
    ("http", "127.0.0.1:-1", "host:port"),
    ("log_level", "loud", "debug, info, warning or error"),
    ("log_level", "", "debug, info, warning or error"),
    ("instance", "", "1 to 32"),
    ("instance", "a b", "1 to 32"),
    ("instance", "a/b", "1 to 32"),
    ("instance", "a+", "1 to 32"),
    ("instance", "#", "1 to 32"),
    ("instance", "i" * 33, "1 to 32"),
    ("instance", "county\n", "1 to 32"),
]


@pytest.mark.parametrize(("name", "bad", "remedy"), BAD)
@pytest.mark.parametrize("where", ["command line", "environment", "file"])
def test_a_bad_value_is_named_with_the_remedy(
    where: str, name: str, bad: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {}
    if where == "command line":
        given = {name: bad}
    elif where == "environment":
        monkeypatch.setenv(f"WELDGATE_{name.upper()}", bad)
    else:
        toml(f"{name} = {bad!r}\n".replace("'", '"'))
    message = refused(**given)
    assert f"setting {name} = {bad!r}" in message
    assert remedy in message


@pytest.mark.parametrize(
    ("line", "named"), [("log_level = 7", "log_level"), ("http = 8080", "http"), ("keys = []", "keys")]
)
def test_a_value_of_another_type_is_named(line: str, named: str) -> None:
    toml(line)
    assert f"setting {named}" in refused()


def test_all_that_is_wrong_is_told_at_once() -> None:
    toml('http = "nowhere"\nlog_level = "loud"\ninstanze = "a"\n')
    message = refused()
    assert all(name in message for name in ("http", "log_level", "instanze"))


@pytest.mark.parametrize("text", ["http = ", "[http", 'http = "a"\nhttp = "b"', "\x00"])
def test_a_file_that_is_no_toml_is_refused(text: str) -> None:
    toml(text)
    assert "TOML" in refused()


def test_a_file_in_another_encoding_is_refused() -> None:
    Path("weldgate.toml").write_bytes('instance = "县"'.encode("gb18030"))
    assert "TOML" in refused()


# --- passwords --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f'broker = ["{URL}"]',
        f'[broker]\nurl = "{URL}"',
        f'brokr = "{URL}"',
        f'broker_url = "{URL}"',
        f'[mqtt]\nbroker = "{URL}"',
        f'mqtt = "{URL}"',
        f'[keys]\nbroker = "{URL}"',
        f'database = ["postgresql://weldgate:{PASSWORD}@host/db"]',
        f'[database]\nurl = "postgresql://weldgate:{PASSWORD}@host/db"',
        f'databse = "postgresql://weldgate:{PASSWORD}@host/db"',
        f'broker = "{URL}"\nhttp = "nowhere"',
        f'broker = "{URL}',
        f"broker = {URL}",
    ],
)
def test_whatever_is_wrong_no_password_is_repeated(text: str) -> None:
    toml(text)
    assert PASSWORD not in refused()


def test_settings_shown_or_printed_hide_the_broker_s_url() -> None:
    settings = load_settings(broker=URL)
    for shown in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert PASSWORD not in shown
    assert settings.broker.get_secret_value() == URL


def test_every_setting_says_in_a_sentence_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.description[0].isupper(), name
