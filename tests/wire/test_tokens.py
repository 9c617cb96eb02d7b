"""Signed tokens, checked by an independent implementation; and every forgery that is known is refused."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey

from gateway.core.decide import decide
from gateway.core.policy import Lease, Policy, PolicyError, Rulebook, parse
from gateway.wire.tokens import ALGORITHM, ISSUER, Grant, Signer, TokenError, Verifier
from tests.core.matrix import asked, facts
from tests.wire.messages import counts, ids

GRANT = Grant("HJ-0001", "c-8f1e22", 1781488830, 1781488800, "0f2a9c4e7b1d4a60", 900, "AZ8Vq0AAmJ3kQ2xW5c7d")


@pytest.fixture(scope="session")
def verifier(key: ECKey) -> Verifier:
    return Verifier({"keys": [key.as_dict(private=False)]})


@pytest.fixture(scope="session")
def token(signer: Signer) -> str:
    return signer.sign(GRANT)


def part(token: str, place: int) -> dict[str, Any]:
    text = token.split(".")[place]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def b64(content: object) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def refused(verifier: Verifier, token: str) -> None:
    with pytest.raises(TokenError):
        verifier.claims(token)


# --- good tokens ------------------------------------------------------------------------------------------------


def test_the_header_names_the_algorithm_and_the_key_and_nothing_else(token: str, key: ECKey) -> None:
    assert part(token, 0) == {"alg": ALGORITHM, "kid": key.thumbprint()}
    assert ALGORITHM == "ES256"


def test_a_key_s_id_is_its_rfc_7638_thumbprint(signer: Signer, key: ECKey) -> None:
    public = {name: key.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(rfc8785.dumps(public)).digest()
    assert signer.kid == urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_an_independent_implementation_takes_a_grant_and_reads_every_claim(token: str, key: ECKey) -> None:
    public = ECKey.import_key(key.as_dict(private=False))
    claims = jwt.decode(token, public, algorithms=["ES256"]).claims
    assert claims == {
        "iss": ISSUER,
        "aud": "HJ-0001",
        "jti": "0f2a9c4e7b1d4a60",
        "sid": "AZ8Vq0AAmJ3kQ2xW5c7d",
        "cha": "c-8f1e22",
        "iat": 1781488800,
        "exp": 1781488830,
        "lease_s": 900,
        "n": 0,
    }


@given(st.builds(Grant, ids, st.text(max_size=128), counts, counts, ids, st.integers(1, 2_592_000), ids))
def test_whatever_is_signed_is_verified_and_comes_back(signer: Signer, key: ECKey, grant: Grant) -> None:
    verifier = Verifier({"keys": [key.as_dict(private=False)]})
    claims = verifier.claims(signer.sign(grant))
    assert claims == {name: getattr(grant, name) for name in Grant.__struct_fields__}


def test_with_several_keys_in_the_set_the_named_one_is_used(token: str, key: ECKey) -> None:
    others = [ECKey.generate_key("P-256", auto_kid=True).as_dict(private=False) for _ in range(2)]
    assert Verifier({"keys": [others[0], key.as_dict(private=False), others[1]]}).claims(token)["aud"] == "HJ-0001"


# --- forgeries --------------------------------------------------------------------------------------------------


def test_a_token_that_claims_to_need_no_signature_is_refused(verifier: Verifier, token: str, key: ECKey) -> None:
    _, claims, signature = token.split(".")
    for algorithm in ("none", "None", "NONE", ""):
        for header in ({"alg": algorithm}, {"alg": algorithm, "kid": key.thumbprint()}):
            refused(verifier, f"{b64(header)}.{claims}.")
            refused(verifier, f"{b64(header)}.{claims}.{signature}")


def test_the_public_key_is_no_secret_for_a_symmetric_signature(verifier: Verifier, token: str, key: ECKey) -> None:
    public = key.as_dict(private=False)
    signed = f"{b64({'alg': 'HS256', 'kid': key.thumbprint()})}.{token.split('.')[1]}"
    for secret in (key.as_pem(private=False), key.as_der(private=False), json.dumps(public).encode()):
        tag = urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        refused(verifier, f"{signed}.{tag}")


def test_another_key_under_the_same_id_is_refused(verifier: Verifier, key: ECKey) -> None:
    forged = jws.serialize_compact(
        {"alg": "ES256", "kid": key.thumbprint()},
        b'{"aud":"HJ-0001"}',
        ECKey.generate_key("P-256"),
        algorithms=["ES256"],
    )
    refused(verifier, forged)


def test_a_key_that_the_chip_does_not_know_is_refused(verifier: Verifier) -> None:
    refused(verifier, Signer(ECKey.generate_key("P-256", auto_kid=True)).sign(GRANT))


def test_another_algorithm_is_refused_even_with_a_good_signature() -> None:
    pair = RSAKey.generate_key(2048, auto_kid=True)
    token = jws.serialize_compact({"alg": "RS256", "kid": pair.thumbprint()}, b"{}", pair, algorithms=["RS256"])
    refused(Verifier({"keys": [pair.as_dict(private=False) | {"kid": pair.thumbprint()}]}), token)


def test_a_key_brought_along_in_the_header_is_not_used(verifier: Verifier) -> None:
    own = ECKey.generate_key("P-256", auto_kid=True)
    header = {"alg": "ES256", "kid": own.thumbprint(), "jwk": own.as_dict(private=False)}
    refused(verifier, jws.serialize_compact(header, b'{"aud":"HJ-0001"}', own, algorithms=["ES256"]))


def test_a_critical_extension_that_nobody_knows_is_refused(verifier: Verifier, token: str, key: ECKey) -> None:
    _, claims, signature = token.split(".")
    refused(verifier, f"{b64({'alg': 'ES256', 'kid': key.thumbprint(), 'crit': ['exp']})}.{claims}.{signature}")


def test_every_shorter_token_is_refused(verifier: Verifier, token: str) -> None:
    for length in range(len(token)):
        refused(verifier, token[:length])


def test_a_token_with_any_character_changed_is_refused_or_says_the_same(verifier: Verifier, token: str) -> None:
    for place in range(len(token)):
        changed = "A" if token[place] != "A" else "B"
        forged = token[:place] + changed + token[place + 1 :]
        try:
            claims = verifier.claims(forged)
        except TokenError:
            continue
        assert place == len(token) - 1, "only the unused bits of the last character may differ"
        assert claims == verifier.claims(token)


@pytest.mark.parametrize(
    ("claim", "value"), [("aud", "HJ-0002"), ("lease_s", 86_400), ("exp", 1781575200), ("cha", "other")]
)
def test_a_claim_changed_under_the_signature_is_refused(
    verifier: Verifier, token: str, claim: str, value: object
) -> None:
    header, _, signature = token.split(".")
    refused(verifier, f"{header}.{b64(part(token, 1) | {claim: value})}.{signature}")


@given(st.text(max_size=60) | st.text("eyJ.-_AQ=", max_size=40))
def test_no_text_does_anything_but_verify_or_be_refused(key: ECKey, text: str) -> None:
    refused(Verifier({"keys": [key.as_dict(private=False)]}), text)


@pytest.mark.parametrize(
    "header", ["[]", "null", "7", '"ES256"', "{}", '{"alg":7}', '{"alg":"ES256","kid":[]}', '{"alg":["ES256"]}', "\xff"]
)
def test_a_header_that_is_none_is_refused(verifier: Verifier, token: str, header: str) -> None:
    _, claims, signature = token.split(".")
    coded = urlsafe_b64encode(header.encode("latin-1")).rstrip(b"=").decode()
    refused(verifier, f"{coded}.{claims}.{signature}")


@pytest.mark.parametrize("claims", [b"", b"[]", b"7", b"null", b"\xff", b"[" * 5000])
def test_signed_claims_that_are_no_object_are_refused(verifier: Verifier, key: ECKey, claims: bytes) -> None:
    signed = jws.serialize_compact({"alg": "ES256", "kid": key.thumbprint()}, claims, key, algorithms=["ES256"])
    refused(verifier, signed)


def test_a_public_key_cannot_sign(key: ECKey) -> None:
    with pytest.raises(TokenError):
        Signer(ECKey.import_key(key.as_dict(private=False)))


# --- start-by ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 2_592_000))
def test_invariant_a_grant_never_starts_later_than_30_s_after_it_was_made(start_by_s: int, lease_s: int) -> None:
    decision = decide(asked(), facts(), Rulebook(Policy(lease=Lease(lease_s=lease_s, start_by_s=start_by_s))))
    assert decision.start_by_s == start_by_s <= 30


def test_no_policy_can_let_a_grant_start_later() -> None:
    with pytest.raises(PolicyError, match="start_by_s"):
        parse("lease.start_by_s = 31")
