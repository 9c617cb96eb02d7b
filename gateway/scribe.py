"""The scribe's process: forked before the gateway starts anything of its own, ended by the gateway's end."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.keys import open_keys
from gateway.store.engine import open_engine
from gateway.store.scribe import Scribe

SOCKET_BYTES = 1 << 20
"""Room for a full batch, so that handing one over seldom waits."""


@contextmanager
def scribe(database: str, keys: Path) -> Iterator[socket.socket]:
    """Run a scribe on the database with the keys of a folder; yields the gate's end of its socket.

    Call it from a process with one thread and no event loop yet: it forks. Raises WeldGateError where the database
    or the keys cannot be used.
    """
    open_keys(keys)
    open_engine(database).dispose()
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    child = os.fork()
    if child == 0:
        ours.close()
        _write_until_closed(theirs, database, keys)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        os.waitpid(child, 0)


def _write_until_closed(sock: socket.socket, database: str, keys: Path) -> None:
    """The child's whole life. Signals are the gateway's affair: the scribe ends when its socket closes."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        Scribe(open_engine(database, migrate=False), open_keys(keys).signer()).serve(sock)
        code = 0
    finally:
        os._exit(code)  # nothing of the parent's is to be cleaned up here
