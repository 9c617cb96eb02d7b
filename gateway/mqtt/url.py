"""A broker's address as a URL: ``mqtt[s]://user:password@host:port``."""

from urllib.parse import unquote, urlsplit

from msgspec import Struct

from gateway.errors import WeldGateError

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerUrlError(WeldGateError):
    """The broker's URL cannot be used."""


class BrokerUrl(Struct, frozen=True):
    """Where and as whom to connect. The password shows in no representation."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        who = f"{self.user}:***@" if self.user else ""
        return f"mqtt{'s' if self.tls else ''}://{who}{self.host}:{self.port}"

    __str__ = __repr__


def parse_broker_url(url: str) -> BrokerUrl:
    """The parts of ``url``; raises BrokerUrlError, which never repeats the URL (it may hold a password)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote the password
        raise BrokerUrlError(
            "--broker: cannot be read as mqtt[s]://user:password@host:port; percent-encode / # ? @ : in the password"
        ) from None
    if parts.scheme not in DEFAULT_PORTS:
        raise BrokerUrlError(f"--broker: scheme {parts.scheme!r} is not known; use mqtt:// or mqtts://")
    if not parts.hostname:
        raise BrokerUrlError("--broker: the host is missing; use mqtt[s]://user:password@host:port")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return BrokerUrl(parts.hostname, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts", user, password)
