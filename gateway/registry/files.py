"""Registry files as lines of text cells: CSV in UTF-8 or GB18030, and the first sheet of an XLSX file."""

import codecs
import csv
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import ParseError

from msgspec import Struct
from openpyxl import load_workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.utils.exceptions import InvalidFileException

from gateway.errors import WeldGateError
from gateway.registry.values import shown

ENCODINGS = ("utf-8-sig", "gb18030")
"""In this order: GB18030 reads nearly anything, UTF-8 only what is UTF-8."""
SUFFIXES = (".csv", ".xlsx")
XLSX_BYTES = 4 * 2**30
"""Unpacked size of an XLSX file: above a province's largest sheet (1 GiB), far below what a zip bomb unpacks to."""
SHARED_TEXT_BYTES = 512 * 2**20
"""Unpacked size of an XLSX file's shared texts, which are held in memory."""
_EXACT_DIGITS = 10**15
"""A spreadsheet's numbers are exact below this."""
_DELIMITERS = ",;\t"
_CHUNK_BYTES = 2**20
warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
"""openpyxl warns of what it leaves out, such as a cell's drop-down list: nothing that is read here."""
_BROKEN_XLSX = (
    zipfile.BadZipFile,
    zlib.error,
    InvalidFileException,
    ParseError,
    KeyError,
    ValueError,
    IndexError,
    EOFError,
    TypeError,
)
"""What openpyxl lets through from files that are damaged or no workbooks."""

Cells = Sequence[str]
Advance = Callable[[int, int], None]
"""Called with how much of a file has been read, and out of how much."""
LINES_BETWEEN_ADVANCES = 2000


class RegistryFileError(WeldGateError):
    """A file cannot be read as a registry file; the message names the file, what is wrong and the remedy."""


class Broken(Struct, frozen=True):
    """A line whose cells cannot be told apart."""

    reason: str


Line = tuple[int, Cells | Broken]
"""Line number (in XLSX the row number), from 1, and the cells."""


class Sheet(Struct, frozen=True):
    """One file's headers and the lines below them."""

    headers: Cells
    lines: Iterator[Line]


@contextmanager
def open_sheet(path: Path, advance: Advance = lambda *_: None) -> Iterator[Sheet]:
    """A CSV or XLSX file, told apart by its first bytes. Raises RegistryFileError."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if start.startswith(b"PK\x03\x04"):
                yield _sheet(path, _checked(path, _xlsx_lines(path, file, advance)))
                return
            encoding = _encoding(path, file, start)
            file.seek(0)
            with io.TextIOWrapper(file, encoding, newline="") as text:
                yield _sheet(path, _csv_lines(file, text, advance))
    except OSError as error:
        raise RegistryFileError(f"{path}: {error.strerror or error}") from error


def registry_files(path: Path) -> list[Path]:
    """The CSV and XLSX files of a folder, not below it; hidden files and Excel's lock files are left out."""
    try:
        files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES and entry.is_file())
    except OSError as error:
        raise RegistryFileError(f"{path}: {error.strerror or error}") from error
    files = [file for file in files if not file.name.startswith((".", "~$"))]
    if not files:
        raise RegistryFileError(f"{path}: holds no CSV or XLSX file; name the files or another folder")
    return files


def _sheet(path: Path, lines: Iterator[Line]) -> Sheet:
    for number, cells in lines:
        if isinstance(cells, Broken):
            raise RegistryFileError(f"{path}:{number}: {cells.reason}")
        if any(cell.strip() for cell in cells):
            return Sheet(cells, lines)
    raise RegistryFileError(f"{path}: is empty; the first line must name the columns")


# --- CSV --------------------------------------------------------------------------------------------------------


def _encoding(path: Path, file: IO[bytes], start: bytes) -> str:
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise RegistryFileError(f"{path}: is an old Excel file (.xls); save it as .xlsx or as CSV UTF-8")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise RegistryFileError(f"{path}: is UTF-16; save it as CSV UTF-8")
    for encoding in ENCODINGS:
        file.seek(0)
        if _decodes(file, encoding):
            return encoding
    raise RegistryFileError(f"{path}: is neither UTF-8 nor GB18030; save it as CSV UTF-8")


def _decodes(file: IO[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := file.read(_CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(text: io.TextIOWrapper) -> str:
    """The sign that cuts the first line into the most cells."""
    first = next((line for line in text if line.strip()), "")
    text.seek(0)
    return max(_DELIMITERS, key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))


def _csv_lines(file: IO[bytes], text: io.TextIOWrapper, advance: Advance) -> Iterator[Line]:
    size = os.fstat(file.fileno()).st_size
    reader = csv.reader(text, delimiter=_delimiter(text))
    while True:
        number = reader.line_num + 1
        try:
            cells: Cells | Broken = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = Broken(f"is no readable CSV ({error}); look for a quotation mark that is not closed")
        if number % LINES_BETWEEN_ADVANCES == 0:
            advance(file.tell(), size)
        yield number, cells


# --- XLSX -------------------------------------------------------------------------------------------------------


def _checked(path: Path, lines: Iterator[Line]) -> Iterator[Line]:
    try:
        yield from lines
    except _BROKEN_XLSX as error:
        reason = shown(str(error), personal=False)
        raise RegistryFileError(f"{path}: is no readable XLSX workbook ({reason}); save it again as .xlsx") from error


def _xlsx_lines(path: Path, file: IO[bytes], advance: Advance) -> Iterator[Line]:
    _refuse_bomb(path, file)
    workbook = load_workbook(file, read_only=True, data_only=True)
    if workbook.epoch == CALENDAR_MAC_1904:
        raise RegistryFileError(f"{path}: counts days from 1904; save it with the 1900 date system")
    sheet = workbook.worksheets[0]
    rows = sheet.max_row or 0
    sheet.reset_dimensions()  # some programs write a wrong extent, which would cut off cells
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if number % LINES_BETWEEN_ADVANCES == 0:
            advance(number, max(rows, number))
        yield number, [_cell_text(value) for value in row]


def _refuse_bomb(path: Path, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    shared = sum(member.file_size for member in members if member.filename.endswith("sharedStrings.xml"))
    if sum(member.file_size for member in members) > XLSX_BYTES or shared > SHARED_TEXT_BYTES:
        raise RegistryFileError(f"{path}: unpacks to more than any registry holds; split it or save it as CSV")


def _cell_text(value: Any) -> str:
    """A cell as it would stand in a CSV file; numbers beyond a spreadsheet's precision in scientific notation."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_text(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _number_text(value: float) -> str:
    if abs(value) >= _EXACT_DIGITS:
        return f"{value:.14E}"
    return str(int(value)) if value == int(value) else repr(value)
