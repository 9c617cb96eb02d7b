"""The PEM files that a gateway is given: each mistake is named with its option, before anything is connected."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.errors import WeldGateError
from gateway.mqtt.url import Tls
from gateway.settings import SettingsError, load_settings
from tests.identity.conftest import GATEWAY, A, Files


def problem(**files: Path) -> str:
    with pytest.raises(WeldGateError) as error:
        Tls(**{name: str(path) for name, path in files.items()}).context()
    return str(error.value)


def test_a_certificate_and_its_key_are_taken_apart_or_from_one_file(files: Files, tmp_path: Path) -> None:
    certificate, key = files.pair(GATEWAY)
    Tls(str(files.authority), str(certificate), str(key)).context()
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    Tls(str(files.authority), str(both)).context()


def test_what_is_missing_is_named(files: Files, tmp_path: Path) -> None:
    certificate, key = files.pair(GATEWAY)
    assert "--broker-ca" in problem(ca_file=tmp_path / "nothing")
    assert "--broker-key" in problem(cert_file=certificate)
    assert "--broker-cert" in problem(cert_file=tmp_path / "nothing", key_file=key)
    assert "--broker-cert too" in problem(key_file=key)


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    assert "its own key" in problem(cert_file=files.pair(GATEWAY)[0], key_file=files.pair(A)[1])


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(files: Files, tmp_path: Path) -> None:
    certificate, path = files.pair(GATEWAY)
    key = load_pem_private_key(path.read_bytes(), None)
    sealed = tmp_path / "sealed.key"
    sealed.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    assert "without passphrase" in problem(cert_file=certificate, key_file=sealed)


def test_a_certificate_without_tls_is_refused() -> None:
    settings = load_settings(broker="mqtt://127.0.0.1", broker_cert="gateway.crt")
    with pytest.raises(SettingsError, match=r"broker_cert = 'gateway.crt': needs TLS"):
        _ = settings.broker_tls
    assert load_settings(broker="mqtts://127.0.0.1", broker_cert="gateway.crt").broker_tls.cert_file == "gateway.crt"
