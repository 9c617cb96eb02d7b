"""Every setting of the gateway in one class: command line, then environment ``WELDGATE_…``, then TOML file."""

import re
import socket
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from gateway.core.accounts import Provider
from gateway.errors import WeldGateError
from gateway.mqtt.url import Tls, Version
from gateway.store.engine import DEFAULT_URL
from gateway.wire.acl import INSTANCE, gateway_name

DEFAULT_CONFIG = "weldgate.toml"


class SettingsError(WeldGateError):
    """A setting cannot be used; the message names it, the value and the remedy."""


class Settings(BaseSettings):
    """The order of precedence is: command line, environment, TOML file, default."""

    model_config = SettingsConfigDict(env_prefix="WELDGATE_", extra="forbid")

    config: Path = Field(default=Path(DEFAULT_CONFIG), description="TOML file with any of these settings.")
    broker: SecretStr = Field(
        default=SecretStr("mqtt://127.0.0.1:1883"),
        description="The MQTT broker: mqtt:// or mqtts://user:password@host:port.",
    )
    broker_ca: Path | None = Field(
        None, description="PEM file of the authorities to trust for mqtts:// (default: the system's)."
    )
    broker_cert: Path | None = Field(
        None, description="PEM file of the gateway's own certificate for mqtts://, as weldgate pki issue writes it."
    )
    broker_key: Path | None = Field(
        None, description="PEM file of the key to broker_cert (default: broker_cert holds it too)."
    )
    mqtt: Version = Field(
        default="auto", description="Version of MQTT: 5, 3.1.1, or auto (5, and 3.1.1 where the broker has no 5)."
    )
    database: str = Field(default=DEFAULT_URL, description="The database as a SQLAlchemy URL.")
    http: str = Field(default="127.0.0.1:8080", description="Where to serve HTTP: host:port.")
    address: str | None = Field(
        default=None,
        description="Where people reach the pages, for example https://weld.example.org (default: as they typed it).",
    )
    proxies: str = Field(
        default="",
        description="Addresses or networks of proxies whose X-Forwarded-* headers count, with commas between.",
    )
    oidc_issuer: str | None = Field(
        default=None, description="Identity provider for staff (OpenID Connect): its issuer's URL (default: none)."
    )
    oidc_client_id: str = Field(default="weldgate", description="As whom the gateway asks the identity provider.")
    oidc_client_secret: Path | None = Field(
        default=None, description="File with the secret that the identity provider knows the gateway by."
    )
    oidc_claim: str = Field(
        default="preferred_username", description="Claim of the identity provider that is the user name of an account."
    )
    registry: Path | None = Field(
        default=None,
        description="Sources of the registries as a TOML file (default: files that are imported, and nothing else).",
    )
    policy: Path | None = Field(default=None, description="The policy as a TOML file (default: the default policy).")
    keys: Path = Field(
        default=Path("var/keys"), description="Folder of the signing keys and the vault, made at first start."
    )
    instance: str = Field(
        default_factory=lambda: _default_instance(),
        description="Name of this gateway: its MQTT client id and status topic (default: the host's name).",
    )
    accept_clock: bool = Field(
        default=False, description="Take the clock as right although the ledger holds later records."
    )
    log_level: str = Field(default="info", description="Least severe log level written: debug, info, warning or error.")

    @field_validator("instance")
    @classmethod
    def _instance(cls, value: str) -> str:
        if not re.match(INSTANCE, value):
            raise ValueError("use 1 to 32 letters, digits, '-' or '_'")
        return value

    @field_validator("http")
    @classmethod
    def _http(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise ValueError("use host:port, for example 127.0.0.1:8080")
        return value

    @field_validator("address")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#\s]+/?", value):
            raise ValueError("use http:// or https:// and a host, for example https://weld.example.org")
        return value.rstrip("/") if value else None

    @field_validator("oidc_issuer")
    @classmethod
    def _oidc_issuer(cls, value: str | None) -> str | None:
        local = value is not None and re.match(r"http://(127\.0\.0\.1|localhost)(:|/|$)", value)
        if value is not None and not value.startswith("https://") and not local:
            raise ValueError("use https://: whoever can change what it answers signs in as anybody")
        return value

    @field_validator("proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        _networks(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _log_level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("use debug, info, warning or error")
        return value.lower()

    @property
    def trusted_proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return _networks(self.proxies)

    @property
    def provider(self) -> Provider | None:
        """Raises SettingsError for a secret that cannot be read."""
        if self.oidc_issuer is None:
            return None
        try:
            secret = self.oidc_client_secret.read_text(encoding="utf-8").strip() if self.oidc_client_secret else ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"setting oidc_client_secret = {str(self.oidc_client_secret)!r}: {error}") from None
        return Provider(self.oidc_issuer, self.oidc_client_id, secret, self.oidc_claim)

    @property
    def http_address(self) -> tuple[str, int]:
        host, _, port = self.http.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def broker_tls(self) -> Tls:
        """Raises SettingsError for a certificate that would never be shown."""
        if self.broker_cert and not self.broker.get_secret_value().startswith("mqtts://"):
            raise SettingsError(
                f"setting broker_cert = {str(self.broker_cert)!r}: needs TLS; give a broker with mqtts://"
            )
        authority, certificate, key = (
            str(path) if path else None for path in (self.broker_ca, self.broker_cert, self.broker_key)
        )
        return Tls(authority, certificate, key, gateway_name(self.instance))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = init_settings() | env_settings()
        path = Path(named.get("config", DEFAULT_CONFIG))
        if "config" in named and not path.is_file():
            raise SettingsError(f"setting config = {str(path)!r}: there is no such file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)


def load_settings(**given: Any) -> Settings:
    """Settings from all sources; ``given`` are the command line's, None where an option was not used.

    Raises SettingsError, which never repeats the broker's URL (it may hold a password).
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"the TOML file of settings: {error}") from None


def _explain(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    shown = f" = {problem['input']!r}" if name in _SHOWN and not isinstance(problem["input"], dict | list) else ""
    return f"setting {name}{shown}: {problem['msg'].removeprefix('Value error, ')}"


_SHOWN = frozenset(Settings.model_fields) - {"broker", "database", "mqtt"}
"""Values that a message may repeat: no URLs, which may hold a password, also where somebody writes one by mistake, and
nothing under a name that is none."""


def _networks(listed: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError."""
    return tuple(ip_network(one.strip()) for one in listed.split(",") if one.strip())


def _default_instance() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:32] or "gateway"
