"""A broker's address as a URL, ``mqtt[s]://user:password@host:port``, and the files that prove who is who on mqtts://."""

import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec import Struct

from gateway.errors import WeldGateError
from gateway.wire import acl

Version = Literal["auto", "5", "3.1.1"]
"""Of MQTT. ``auto`` is 5, and 3.1.1 from then on where the broker will have none of it."""
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


class Tls(Struct, frozen=True):
    """PEM files for mqtts://: the authorities to trust (None: the system's), and the client's certificate and key.

    ``name`` is whose certificate it has to be: with another identity's the broker would let us in, and leave us deaf.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    name: str | None = None

    def context(self) -> ssl.SSLContext:
        """At least TLS 1.2, the broker's name checked; raises WeldGateError with the option and the file."""
        if self.key_file and not self.cert_file:
            raise WeldGateError(f"--broker-key {self.key_file}: has no certificate; give --broker-cert too")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise WeldGateError(f"--broker-ca {self.ca_file}: {error}; use a PEM file of certificates") from error
        if self.cert_file:
            self._load_identity(context, self.cert_file)
        return context

    def _load_identity(self, context: ssl.SSLContext, cert_file: str) -> None:
        try:  # with a passphrase of None, OpenSSL would ask for one on the terminal
            context.load_cert_chain(cert_file, self.key_file, password="")
        except OSError as error:
            raise WeldGateError(
                f"--broker-cert {cert_file}, --broker-key {self.key_file}: {error}; "
                "use a PEM certificate and its own key without passphrase"
            ) from error
        owner = _common_name(cert_file)
        if self.name and acl.role_of(owner) and owner != self.name:
            raise WeldGateError(
                f"--broker-cert {cert_file}: is for {owner}, and this gateway is {self.name}; "
                "give the --instance that it was issued for, or another certificate"
            )


def _common_name(cert_file: str) -> str:
    """Of the first certificate in a PEM file that OpenSSL has read already; "" without one."""
    subject = x509.load_pem_x509_certificates(Path(cert_file).read_bytes())[0].subject
    return "".join(str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME))


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
