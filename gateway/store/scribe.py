"""The scribe: makes drafts durable. It alone holds the signing key and the connection that writes.

It runs in a process of its own, one order after the other, so that signing and committing take no time from the
process that talks to the broker, and the key is not where untrusted bytes are read.
"""

import socket

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from gateway.store import orders
from gateway.store.journal import Batch, Journal, StaleError, probe, read_book, read_machines
from gateway.store.ledger import Key, on_record, reply_in
from gateway.wire.tokens import Signer

IN_DOUBT = "an earlier batch failed; read back first"


class Scribe:
    """Takes orders from one socket until it closes."""

    def __init__(self, engine: Engine, signer: Signer) -> None:
        self._engine = engine
        self._journal = Journal(engine.dialect, signer)
        self._connection: Connection | None = None
        self._in_doubt = True
        driver = engine.dialect.loaded_dbapi
        self._refusals = (
            StaleError,
            OverflowError,
            IntegrityError,
            DataError,
            driver.IntegrityError,
            driver.DataError,
        )
        self._failures = (SQLAlchemyError, driver.Error, OSError)

    def serve(self, sock: socket.socket) -> None:
        """Answer every order in turn; returns when the other side is gone."""
        with sock, sock.makefile("rb") as incoming:
            while len(length := incoming.read(orders.LENGTH_BYTES)) == orders.LENGTH_BYTES:
                order = orders.decode_order(incoming.read(int.from_bytes(length, "big")))
                sock.sendall(orders.frame(self.carry_out(order)))
        self._disconnect()

    def carry_out(self, order: orders.Order) -> orders.Result:
        """What the order leads to; trouble with the database is a result, not an error.

        After a failed commit every other one is refused until the gate has read back: what it sent meanwhile was
        decided on a state that never came to be.
        """
        try:
            result = self._attempt(order, self._connected())
        except self._refusals as error:
            result = orders.Refused(str(getattr(error, "orig", error)), isinstance(error, StaleError))
        except self._failures as error:
            self._disconnect()
            result = orders.Unavailable(str(getattr(error, "orig", None) or error))
        if isinstance(order, orders.Commit) and not isinstance(result, orders.Committed):
            self._in_doubt = True
        return result

    def _attempt(self, order: orders.Order, connection: Connection) -> orders.Result:
        match order:
            case orders.Commit(batch):
                return self._commit(connection, batch)
            case orders.Recall():
                return self._recall(connection, order)
            case orders.LookUp():
                return orders.Found(_answers(connection, order.keys), read_machines(connection, order.machine_ids))
            case orders.Probe():
                probe(connection)
                return orders.Writable()

    def _commit(self, connection: Connection, batch: Batch) -> orders.Result:
        if self._in_doubt:
            return orders.Refused(IN_DOUBT)
        return orders.Committed(*self._journal.commit(connection, batch))

    def _recall(self, connection: Connection, order: orders.Recall) -> orders.Result:
        if order.accept_clock is not None:
            self._journal.accept_clock(connection, order.accept_clock)
        book = read_book(connection, whole=order.whole, recent_since=order.recent_since)
        recalled = orders.Recalled(_answers(connection, order.keys), book)
        self._in_doubt = False
        return recalled

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError:  # the connection is given up either way
                pass


def _answers(connection: Connection, keys: list[Key]) -> list[tuple[Key, bytes | None]]:
    return [(key, reply_in(record)) for key, record in on_record(connection, keys).items()]
