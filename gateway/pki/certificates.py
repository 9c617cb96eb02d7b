"""X.509 certificates, and the list of revoked ones (RFC 5280)."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, KeySerializationEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from gateway.pki.orders import Order, is_address

BACKDATED = timedelta(hours=1)
"""A broker whose clock is behind takes a new certificate, and a new list of revoked ones, at once all the same."""
_SECOND = timedelta(seconds=1)

Key = ec.EllipticCurvePrivateKey


class Period(Struct, frozen=True):
    since: datetime
    until: datetime


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def own_certificate(name: str, key: Key, period: Period) -> x509.Certificate:
    """An authority's, signed by itself; it may sign certificates, but no further authorities."""
    builder = (
        _builder(name, key, period)
        .serial_number(x509.random_serial_number())
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


class Signer(Struct, frozen=True):
    """An authority's key and certificate."""

    key: Key
    certificate: x509.Certificate

    def certify(self, order: Order, key: Key, period: Period) -> x509.Certificate:
        """For clients or for a server, never for both: a chip cannot pass for the broker, nor the broker for a chip."""
        usage = ExtendedKeyUsageOID.SERVER_AUTH if order.kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(order.name, key, period)
            .serial_number(x509.random_serial_number())
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(self._id(), critical=False)
        )
        if order.hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in order.hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def revocation_list(self, revoked: Iterable[tuple[str, datetime]], now: datetime, last: bytes | None) -> bytes:
        """PEM. ``revoked`` are serials and times, ``last`` is the list before it.

        It holds until the authority ends: a list that runs out would lock everybody out.
        """
        number, last_update = _after(last, now - BACKDATED)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(last_update)
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(self._id(), critical=False)
        )
        for serial, at in revoked:
            one = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at)
            builder = builder.add_revoked_certificate(one.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def pem_key(key: Key, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _builder(name: str, key: Key, period: Period) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .not_valid_before(period.since - BACKDATED)
        .not_valid_after(period.until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _after(last: bytes | None, earliest: datetime) -> tuple[int, datetime]:
    """Number and time of a list: both above those of the last one, by which OpenSSL tells which is newer."""
    if last is None:
        return 1, earliest
    before = x509.load_pem_x509_crl(last)
    number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return number + 1, max(earliest, before.last_update_utc + _SECOND)
