"""Files of others are what their publishers packed, and each is accounted for."""

import hashlib

from gateway.site.assets import FOLDER

VENDOR = FOLDER / "vendor"
ABOUT = {"README.md", "SHA256SUMS"}


def test_every_file_is_as_it_was_published() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    listed = {line.split("  ")[1]: line.split("  ")[0] for line in lines}
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert found == listed.keys() | ABOUT
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_every_file_says_where_it_comes_from() -> None:
    about = (VENDOR / "README.md").read_text()
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines():
        assert f"`{line.split('  ')[1]}`" in about


def test_the_reader_of_codes_fits_its_web_assembly() -> None:
    """The script holds the digest of the only binary that it works with."""
    digest = hashlib.sha256((VENDOR / "zxing_reader.wasm").read_bytes()).hexdigest()
    assert digest in (VENDOR / "barcode-detector.js").read_text()
