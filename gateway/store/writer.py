"""The one writer: a thread with one connection; callers await. Trouble with the database is told from conflicts."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from gateway.errors import DatabaseUnavailable
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import Head

T = TypeVar("T")


class Conflict(Exception):
    """The database refuses the content: a message is on record already, a session is open already, or a value is
    none that it takes. Trying the same again would fail again."""


class Writer:
    """Runs work on the writing connection, one piece after the other. Use as ``with Writer(engine) as writer``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._journal = Journal(engine.dialect)
        driver = engine.dialect.loaded_dbapi
        self._refusals = (IntegrityError, DataError, driver.IntegrityError, driver.DataError)
        self._failures = (SQLAlchemyError, driver.Error, OSError)
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._work.put(None)
        self._thread.join()

    async def commit(self, batch: Batch) -> Head:
        """Make the batch durable. Raises Conflict or DatabaseUnavailable; then nothing of it was written."""
        return await self.run(lambda connection: self._journal.commit(connection, batch))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """``work`` on the writing connection, in turn; its own transaction is its own affair."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: Exception | None) -> None:
            if result.cancelled():
                return
            if error is None:
                result.set_result(value)  # type: ignore[arg-type]
            else:
                result.set_exception(error)

        def piece() -> None:
            value, error = self._attempt(work)
            loop.call_soon_threadsafe(settle, value, error)

        self._work.put(piece)
        return await result

    def _serve(self) -> None:
        while (piece := self._work.get()) is not None:
            piece()
        self._disconnect()

    def _attempt(self, work: Callable[[Connection], T]) -> tuple[T | None, Exception | None]:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            return work(self._connection), None
        except self._refusals as error:
            return None, Conflict(str(getattr(error, "orig", error)))
        except self._failures as error:
            self._disconnect()
            return None, DatabaseUnavailable(f"database: {getattr(error, 'orig', None) or error}")
        except Exception as error:  # noqa: BLE001  (carried to the caller, whose task ends the process with it)
            return None, error

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError:  # the connection is given up either way
                pass
