"""The real scribe on SQLite for a share of the runs, with every order and result through the bytes of its socket."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.core.policy import Rulebook, document
from gateway.store import orders
from gateway.store.engine import open_engine
from gateway.store.journal import keep_policy
from gateway.store.scribe import Scribe
from gateway.wire.tokens import Signer
from tests.simulation.database import Database
from tests.store.databases import make_template


@cache
def _template() -> tuple[TemporaryDirectory[str], Path]:
    """A migrated database, made once a process; the folder goes with it."""
    folder = TemporaryDirectory(prefix="weldgate-simulation-")
    return folder, make_template(Path(folder.name) / "template.db")


class RealDatabase:
    """One SQLite file of a run."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._folder = TemporaryDirectory(prefix="weldgate-simulation-")
        path = Path(self._folder.name) / "gate.db"
        shutil.copyfile(_template()[1], path)
        self._engine = open_engine(f"sqlite:///{path}", migrate=False)

    def scribe(self, switch: Database) -> "RealScribe":
        """A scribe of its own connection; ``switch`` says when the database is away."""
        return RealScribe(Scribe(self._engine, self._signer), switch)

    def keep_policy(self, rulebook: Rulebook) -> None:
        """As a gateway does before it goes by it."""
        with self._engine.connect() as connection:
            keep_policy(connection, rulebook.hash, document(rulebook.policy), 0)

    def close(self) -> None:
        self._engine.dispose()
        self._folder.cleanup()


class RealScribe:
    """Carries out orders as they come through the socket."""

    def __init__(self, scribe: Scribe, switch: Database) -> None:
        self._scribe = scribe
        self._switch = switch
        self._in_doubt = False

    def carry_out(self, order: orders.Order) -> orders.Result:
        if self._switch.away:
            self._in_doubt = self._in_doubt or isinstance(order, orders.Commit)
            return orders.Unavailable("database is locked")
        if self._in_doubt and isinstance(order, orders.Commit):
            return orders.Refused("an earlier batch failed; read back first")
        result = self._scribe.carry_out(orders.decode_order(orders.frame(order)[orders.LENGTH_BYTES :]))
        if isinstance(result, orders.Recalled):
            self._in_doubt = False
        returned: orders.Result = orders.decode_result(orders.frame(result)[orders.LENGTH_BYTES :])
        return returned
