"""From a cell's text to a value: dates, numbers and fixed values of the registry files. Pure."""

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from stdnum import numdb
from stdnum.cn import ric
from stdnum.cn import uscc as stdnum_uscc

from gateway.core.model import MACHINE_ID, Millis
from gateway.core.rules import COUNTY_ZONE
from gateway.store.vault import mask

CERTIFICATE_NUMBER = re.compile(r"T\d{17}[\dX]")
"""The usual style of a special-operation certificate's number: T and the ID number. Others get a warning."""
PHONE = re.compile(r"\+?\d{7,15}")

_MACHINE_ID = re.compile(MACHINE_ID)
_DIVISION = re.compile(r"\d{6}")
_ID_NUMBER = re.compile(r"\d{17}[\dX]")
_USCC = re.compile(r"[0-9A-HJ-NP-RTUW-Y]{18}")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2}))(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?")
_SERIAL = re.compile(r"\d{5}")
_MOMENT = re.compile(r"(\d{4}[-/]\d{1,2}[-/]\d{1,2})[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?")
_SERIAL_MOMENT = re.compile(r"(\d{5})(\.\d+)?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::00)?")
_DAYS = re.compile(r"[1-7](?:-[1-7])?(?:[,、]?[1-7](?:-[1-7])?)*")
_SERIAL_EPOCH = date(1899, 12, 30)
"""Day 0 of Excel's 1900 date system, as it counts from March 1900 on."""
_ROUNDED = re.compile(r"\d(\.\d+)?[Ee]\+\d+")
_PERSONAL = re.compile(r"\d{6}(?:19|20)\d{9}[\dXx]|(?<!\d)1\d{10}(?!\d)")
"""An ID number or mobile number."""
_HIDDEN = re.compile(r"\d{11,}[Xx]?|(?<!\d)\d{3}[ -]\d{4}[ -]\d{4}(?!\d)")
"""What might be one, damaged or in the wrong column. It hides some firms' codes too: file and line tell which."""
_DAY_S = 86_400
SHOWN_AT_MOST = 60
"""Characters of a cell that a message repeats."""
DATES_REMEMBERED = 100_000
"""Distinct date texts kept parsed: 270 years of days."""

Read = Callable[[str], Any]


class Unreadable(Exception):  # what the cell is, not what went wrong here
    """A cell's text is not what its column holds; the message is the reason, without the value."""


def required(read: Read) -> Read:
    """An empty cell is a mistake."""

    def read_required(text: str) -> Any:
        if not text:
            raise Unreadable("is empty, but required")
        return read(text)

    return read_required


def or_else(default: Any, read: Read) -> Read:
    """An empty cell stands for ``default``."""
    return lambda text: read(text) if text else default


def optional(read: Read) -> Read:
    """An empty cell is an unknown fact."""
    return or_else(None, read)


def either(choices: Mapping[str, str], read: Read) -> Read:
    """One of the fixed values in English or Chinese, else what ``read`` makes of it."""
    known = {english: english for english in choices} | {chinese: english for english, chinese in choices.items()}
    return lambda text: known.get(half_width(text).lower()) or read(text)


def half_width(text: str, *, upper: bool = True) -> str:
    """Codes as they are compared: half-width, upper case, without white space and invisible characters.

    >>> half_width(" ｔ１２３　４５x")
    'T12345X'
    """
    if not (text.isascii() and text.isprintable() and " " not in text):
        folded = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")
    return text.upper() if upper else text


# --- texts and codes --------------------------------------------------------------------------------------------


def text(length: int, *, folded: bool = False) -> Read:
    """Free text of at most ``length`` characters; runs of white space become one space. ``folded``: half-width, since
    it may be an identifier."""

    def read(raw: str) -> str:
        joined = " ".join((unicodedata.normalize("NFKC", raw) if folded else raw).split())
        if len(joined) > length:
            raise Unreadable(f"is longer than {length} characters")
        if not joined.isprintable():
            raise Unreadable("holds a character that cannot be printed")
        return sys.intern(joined)

    return read


def identifier(length: int, *, upper: bool = False, never: str | None = None) -> Read:
    """An identifier of at most ``length`` printable characters, half-width, in upper case if so told.

    ``never`` is how it must not begin: something else does.
    """

    def read(raw: str) -> str:
        code = half_width(raw, upper=upper)
        _refuse_rounded(code)
        if not 0 < len(code) <= length or not code.isprintable():
            raise Unreadable(f"is no identifier of 1 to {length} printable characters")
        if never is not None and code.startswith(never):
            raise Unreadable(f"begins with {never!r}, as rolling codes do; give another number")
        return sys.intern(code)

    return read


def chosen(choices: Mapping[str, str], also: Mapping[str, str]) -> Read:
    """One of the fixed values in English or Chinese (``choices``), or in a further spelling."""
    known = {english: english for english in choices} | {chinese: english for english, chinese in choices.items()}
    known |= also
    listed = " ".join(f"{english}={chinese}" for english, chinese in choices.items())

    def read(raw: str) -> str:
        value = known.get(raw) or known.get(half_width(raw).lower())
        if value is None:
            raise Unreadable(f"is none of: {listed}" if raw else f"is empty, but required; one of: {listed}")
        return value

    return read


def machine_id(raw: str) -> str:
    code = half_width(raw)
    if not _MACHINE_ID.fullmatch(code):
        raise Unreadable("is no machine id: 3 to 32 of A-Z, 0-9 and '-', not beginning with '-'")
    return code


def division(raw: str) -> str:
    code = half_width(raw)
    if not _DIVISION.fullmatch(code):
        raise Unreadable("is no division: six digits (GB/T 2260)")
    return sys.intern(code)


@lru_cache(DATES_REMEMBERED)
def uscc(raw: str) -> str:
    """A unified social credit code with its check character (GB 32100-2015)."""
    code = half_width(raw)
    _refuse_rounded(code)
    if not _USCC.fullmatch(code):
        raise Unreadable("is no unified social credit code: 18 characters, no I, O, S, V, Z (GB 32100)")
    if code[-1] != stdnum_uscc.calc_check_digit(code):
        raise Unreadable("has a wrong check character (GB 32100)")
    return code


def id_number(raw: str) -> str:
    """An 18-character ID number with its check digit and a birth date that exists (GB 11643)."""
    code = half_width(raw)
    _refuse_rounded(code)
    if not _ID_NUMBER.fullmatch(code):
        raise Unreadable("is no ID number: 17 digits and a check digit (GB 11643)")
    if code[-1] != ric.calc_check_digit(code):
        raise Unreadable("has a wrong check digit (GB 11643)")
    _calendar_day(code[6:10], code[10:12], code[12:14], "holds a birth date that does not exist")
    return code


def unknown_area(number: str) -> str | None:
    return None if _is_area(number[:6]) else "area code of the ID number is not known"


@lru_cache(DATES_REMEMBERED)
def _is_area(code: str) -> bool:
    return any(properties for _, properties in numdb.get("cn/loc").info(code))


def personal_identifier(code: str) -> str | None:
    return "looks like an ID number or phone number; records and logs show it" if _PERSONAL.search(code) else None


def phone(raw: str) -> str:
    """A telephone number without its separators; anything else as it stands (see ``strange_phone``)."""
    code = half_width(raw)
    _refuse_rounded(code)
    if len(code) > SHOWN_AT_MOST or not code.isprintable():
        raise Unreadable(f"is longer than {SHOWN_AT_MOST} characters or cannot be printed")
    return re.sub(r"[-()]", "", code)


def strange_phone(number: str) -> str | None:
    return None if PHONE.fullmatch(number) else "is no telephone number"


def strange_certificate(number: str) -> str | None:
    return None if CERTIFICATE_NUMBER.fullmatch(number) else "is not in the usual style T + ID number"


def _refuse_rounded(code: str) -> None:
    if _ROUNDED.fullmatch(code):
        raise Unreadable("was cut to 15 digits by a spreadsheet; format the column as text and enter it again")


# --- dates ------------------------------------------------------------------------------------------------------


@lru_cache(DATES_REMEMBERED)
def day(raw: str) -> date:
    """``YYYY-MM-DD``, ``YYYY/M/D`` (a time of day behind it is passed over) or Excel's five-digit day number.

    >>> day("2026/1/5"), day("46027")
    (datetime.date(2026, 1, 5), datetime.date(2026, 1, 5))
    """
    written = unicodedata.normalize("NFKC", raw).strip()
    if _SERIAL.fullmatch(written):
        return day((_SERIAL_EPOCH + timedelta(days=int(written))).isoformat())
    parts = _DATE.fullmatch(written)
    if parts is None:
        raise Unreadable("is no date: YYYY-MM-DD or YYYY/M/D")
    year, month, day_of_month = (part for part in parts.groups() if part is not None)
    return _calendar_day(year, month, day_of_month, "is a date that does not exist")


@lru_cache(DATES_REMEMBERED)
def _calendar_day(year: str, month: str, day_of_month: str, otherwise: str) -> date:
    try:
        return date(int(year), int(month), int(day_of_month))
    except ValueError:
        raise Unreadable(otherwise) from None


# --- times of day -----------------------------------------------------------------------------------------------


def moment(raw: str) -> Millis:
    """``YYYY-MM-DD HH:MM[:SS]``, ``YYYY/M/D H:MM`` or Excel's day number with a fraction, in the county's time.

    >>> moment("2026-01-05 08:00") == moment("2026/1/5 8:00") == moment("46027.3333333333")
    True
    """
    written = unicodedata.normalize("NFKC", raw).strip()
    if serial := _SERIAL_MOMENT.fullmatch(written):
        return _millis(day(serial[1]), round(float(serial[2] or 0) * _DAY_S))
    parts = _MOMENT.fullmatch(written)
    if parts is None:
        raise Unreadable("is no date with a time: YYYY-MM-DD HH:MM or YYYY/M/D H:MM")
    second_of_day = _second_of_day(int(parts[2]), int(parts[3]), int(parts[4] or 0))
    return _millis(day(parts[1]), second_of_day)


def _second_of_day(hour: int, minute: int, second: int) -> int:
    """24:00 is the midnight at the day's end."""
    if hour > 24 or minute > 59 or second > 59 or (hour == 24 and minute + second):
        raise Unreadable("holds a time that does not exist")
    return (hour * 60 + minute) * 60 + second


def _millis(on: date, second_of_day: int) -> Millis:
    try:
        local = datetime(on.year, on.month, on.day, tzinfo=COUNTY_ZONE) + timedelta(seconds=second_of_day)
        return round(local.timestamp() * 1000)
    except OverflowError:
        raise Unreadable("is a time that does not exist") from None


def shown_moment(at: Millis) -> str:
    """As registry files write it."""
    return f"{datetime.fromtimestamp(at / 1000, COUNTY_ZONE):%Y-%m-%d %H:%M:%S}"


def clock(raw: str) -> str:
    """A time of day as HH:MM, 00:00 to 24:00.

    >>> clock("8:00"), clock("24:00")
    ('08:00', '24:00')
    """
    parts = _CLOCK.fullmatch(half_width(raw))
    if parts is None:
        raise Unreadable("is no time of day: HH:MM")
    _second_of_day(int(parts[1]), int(parts[2]), 0)
    return f"{int(parts[1]):02}:{parts[2]}"


def first_clock(raw: str) -> str:
    """A time of day at which something begins: 24:00 is the next day's 00:00."""
    time = clock(raw)
    if time == "24:00":
        raise Unreadable("begins nothing; write 00:00 of the next day")
    return time


def weekdays(raw: str) -> str:
    """ISO weekdays (Monday is 1) in order, each once, from ``1-5``, ``1,3,5`` or ``135``.

    >>> weekdays("1-5"), weekdays("6，7"), weekdays("1-3,5")
    ('12345', '67', '1235')
    """
    written = half_width(raw)
    if not _DAYS.fullmatch(written):
        raise Unreadable(
            "lists no weekdays 1 to 7, as in 1-5 or 1,3,5; format the column as text, or it becomes a date"
        )
    held = set()
    for first, last in re.findall(r"([1-7])(?:-([1-7]))?", written):
        if last and last < first:
            raise Unreadable("names weekdays backwards; write 5-7,1 as 1,5-7")
        held |= set(range(int(first), int(last or first) + 1))
    return "".join(map(str, sorted(held)))


# --- for messages -----------------------------------------------------------------------------------------------


def shown(raw: str, *, personal: bool) -> str:
    """A cell's text for a message. INVARIANT: an ID number or phone number never shows, whatever its column."""
    if personal:
        hidden = mask(half_width(raw)[-SHOWN_AT_MOST:])
    else:
        hidden = without_numbers(raw)
        hidden = hidden if len(hidden) <= SHOWN_AT_MOST else hidden[:SHOWN_AT_MOST] + "…"
    return hidden if hidden.isprintable() else ascii(hidden)[1:-1]


def without_numbers(raw: str) -> str:
    """Any text with what might be an ID number or phone number masked.

    >>> without_numbers("call 12900000001")
    'call *******0001'
    """
    return _HIDDEN.sub(lambda found: mask(found.group()), unicodedata.normalize("NFKC", raw))
