"""Opening the database by URL, bringing its schema up to date, and the dialect's own settings."""

from contextlib import suppress
from math import nan
from pathlib import Path
from shutil import disk_usage

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import DatabaseUnavailable

DEFAULT_URL = "sqlite:///var/weldgate.db"
SQLITE_BUSY_MS = 5000
"""How long a writer waits for another process's write before it reports the database as busy."""
SQLITE_PAGE_BYTES = 8192
SQLITE_CACHE_KIB = 16_384
"""Holds the indexes of a county; the default of 2 MiB reads them again and again."""
SQLITE_CHECKPOINT_PAGES = 2048
"""16 MiB of log between checkpoints. More saves some copying, and stops everybody for longer each time."""
_READS = "weldgate_reads"


def open_engine(url: str, *, migrate: bool = True, must_exist: bool = False, durable: bool = True) -> Engine:
    """An engine for ``url``; makes a SQLite file's folder and, unless told otherwise, upgrades the schema.

    Without ``durable`` a commit may be lost with the power, whole: for what can be made anew. Nobody waits for the disk
    then while it holds the write lock.

    Raises DatabaseUnavailable when the URL cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
            _prepare_file(Path(parsed.database), must_exist=must_exist)
        engine = sa.create_engine(parsed)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _sqlite_connect)
            event.listen(engine, "begin", _sqlite_begin)
        if not durable:
            event.listen(engine, "connect", _RELAXED[engine.dialect.name])
        if migrate:
            from gateway.store.schema import upgrade

            upgrade(engine)
        return engine
    except ModuleNotFoundError as error:
        raise DatabaseUnavailable(f"--database: {error}; use for example {DEFAULT_URL}") from error
    except (ArgumentError, ValueError):  # their text may quote the password
        raise DatabaseUnavailable(
            "--database: cannot be read as a SQLAlchemy URL; percent-encode @ : / in a password; "
            f"use for example {DEFAULT_URL}"
        ) from None
    except (sa.exc.DBAPIError, OSError) as error:
        reason = getattr(error, "orig", error)
        raise DatabaseUnavailable(
            f"--database {make_url(url)!r}: {reason}; check path, rights and free space"
        ) from error


def database_file(url: str) -> Path | None:
    """The file that a usable URL names; None where the database is no file."""
    parsed = make_url(url)
    named = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if named else None


def room(file: Path | None) -> tuple[float, float]:
    """Bytes of a database's file with its log, and bytes that its file system has left for this user. NaN where there
    is no such file, or it cannot be looked at."""
    if file is None:
        return nan, nan
    try:
        held = file.stat().st_size
        with suppress(FileNotFoundError):
            held += file.with_name(f"{file.name}-wal").stat().st_size
        return held, disk_usage(file.parent).free
    except OSError:
        return nan, nan


def _prepare_file(path: Path, *, must_exist: bool) -> None:
    if must_exist and not path.is_file():
        raise DatabaseUnavailable(f"--database: there is no file {path}; name an existing database")
    path.parent.mkdir(parents=True, exist_ok=True)


def reading(engine: Engine) -> Engine:
    """The same database for readers: their transactions never take the write lock."""
    return engine.execution_options(**{_READS: True})


def _sqlite_connect(dbapi_connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the begin event below opens transactions
    cursor = dbapi_connection.cursor()
    for pragma in (
        f"page_size={SQLITE_PAGE_BYTES}",  # of a new file; a ledger row takes some 2.5 kB
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit is on the disk when it returns: the ledger's promise
        f"busy_timeout={SQLITE_BUSY_MS}",
        f"cache_size=-{SQLITE_CACHE_KIB}",
        f"wal_autocheckpoint={SQLITE_CHECKPOINT_PAGES}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_relaxed(dbapi_connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    """The log is on the disk with the scribe's next commit, and before it is copied into the file. When to copy it is
    for whoever writes to say: within a commit it would look as if the write lock was held for that long."""
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA wal_autocheckpoint=0")
    cursor.close()


def _postgresql_relaxed(dbapi_connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute("SET synchronous_commit TO off")
    cursor.close()
    dbapi_connection.commit()


_RELAXED = {"sqlite": _sqlite_relaxed, "postgresql": _postgresql_relaxed}


def _sqlite_begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
