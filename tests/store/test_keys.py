"""The signing keys: made once, for their owner alone; rotated keys stay known until they are retired."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.keys import FILE_NAME, KeyRing, KeysError, open_keys
from gateway.wire.tokens import TokenError, Verifier


def published(keys: KeyRing) -> Verifier:
    """What a chip that was given the public set holds."""
    return Verifier(json.loads(keys.public()))


def test_keys_are_made_at_first_use_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "keys"
    keys = open_keys(folder)
    assert len(keys.kids) == 1
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert open_keys(folder).kids == keys.kids


def test_the_public_set_holds_no_private_part(tmp_path: Path) -> None:
    keys = open_keys(tmp_path)
    keys.rotate()
    for key in json.loads(keys.public())["keys"]:
        assert set(key) == {"crv", "kty", "x", "y", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    private = json.loads((tmp_path / FILE_NAME).read_bytes())["keys"]
    assert all(key["d"] not in keys.public().decode() for key in private)


def test_after_a_rotation_the_new_key_signs_and_the_old_one_s_tokens_are_still_good(tmp_path: Path) -> None:
    keys = open_keys(tmp_path)
    old, before = keys.signer(), keys.kids[0]
    assert keys.rotate() == keys.kids[0] != before
    again = open_keys(tmp_path)
    assert again.kids == [keys.kids[0], before]
    assert again.signer().kid == keys.kids[0]
    chip = published(again)
    assert chip.claims(old.sign({"aud": "HJ-0001"})) == {"aud": "HJ-0001"}
    assert chip.claims(again.signer().sign({"aud": "HJ-0002"})) == {"aud": "HJ-0002"}
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_after_its_retirement_a_key_s_tokens_are_refused(tmp_path: Path) -> None:
    keys = open_keys(tmp_path)
    old, kid = keys.signer(), keys.kids[0]
    keys.rotate()
    keys.retire(kid)
    assert kid not in open_keys(tmp_path).kids
    with pytest.raises(TokenError):
        published(keys).claims(old.sign({"aud": "HJ-0001"}))


def test_the_key_that_signs_is_never_retired_and_neither_is_an_unknown_one(tmp_path: Path) -> None:
    keys = open_keys(tmp_path)
    old = keys.kids[0]
    keys.rotate()
    for kid in (keys.kids[0], "unknown"):
        with pytest.raises(KeysError, match=old):
            keys.retire(kid)
    assert len(open_keys(tmp_path).kids) == 2


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o610])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    open_keys(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(KeysError, match=f"{mode:04o}.*chmod 600"):
        open_keys(tmp_path)


def _write(folder: Path, content: bytes) -> None:
    path = folder / FILE_NAME
    path.touch(0o600)
    path.write_bytes(content)


def _set_of(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


UNUSABLE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no JSON": lambda: b"{",
    "no set": lambda: b"[]",
    "null": lambda: b"null",
    "no keys": lambda: b"{}",
    "an empty set": lambda: _set_of(),
    "a key of no type": lambda: _set_of({"kty": "XX"}),
    "half a key": lambda: _set_of({"kty": "EC", "crv": "P-256", "x": "AA"}),
    "a public key": lambda: _set_of(ECKey.generate_key("P-256").as_dict(private=False)),
    "a key of another curve": lambda: _set_of(ECKey.generate_key("P-384").as_dict(private=True)),
    "an RSA key": lambda: _set_of(RSAKey.generate_key(2048).as_dict(private=True)),
    "a symmetric key": lambda: _set_of(OctKey.generate_key(256).as_dict(private=True)),
    "a good key and a public one": lambda: _set_of(
        ECKey.generate_key("P-256").as_dict(private=True), ECKey.generate_key("P-256").as_dict(private=False)
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_keys_that_cannot_sign_are_refused_at_the_start_with_the_remedy(tmp_path: Path, what: str) -> None:
    _write(tmp_path, UNUSABLE[what]())
    with pytest.raises(KeysError, match="restore it from a backup") as refused:
        open_keys(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert '"d"' not in str(refused.value)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeysError):
        open_keys(tmp_path / "keys")


def test_an_announced_key_is_in_the_public_set_and_signs_only_once_it_is_rotated_to(tmp_path: Path) -> None:
    signing = open_keys(tmp_path).kids[0]
    announced = open_keys(tmp_path).announce()
    assert open_keys(tmp_path).kids == [signing, announced]
    assert announced.encode() in open_keys(tmp_path).public()
    assert open_keys(tmp_path).signer().kid == signing
    assert open_keys(tmp_path).rotate(announced) == announced
    assert open_keys(tmp_path).kids == [announced, signing]
    assert open_keys(tmp_path).signer().kid == announced


def test_one_cannot_rotate_to_a_key_that_is_not_there(tmp_path: Path) -> None:
    ring = open_keys(tmp_path)
    with pytest.raises(KeysError, match="beside the one that signs"):
        ring.rotate(ring.kids[0])
