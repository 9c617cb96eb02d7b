"""The scribe's process: forked before the gateway starts anything of its own, ended by the gateway's end."""

import gc
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import WeldGateError
from gateway.keys import open_keys
from gateway.store.engine import open_engine
from gateway.store.scribe import Scribe

SOCKET_BYTES = 1 << 20
"""Room for a full batch, so that handing one over seldom waits."""
ERROR_BYTES = 4096
END_WITHIN_S = 3.0


@contextmanager
def scribe(database: str, keys: Path) -> Iterator[socket.socket]:
    """Run a scribe on the database, brought up to date, with the keys of a folder; yields the gate's end of its socket.

    Call it from a process with one thread and no event loop yet: it forks. Raises WeldGateError where the database
    or the keys cannot be used.
    """
    gc.freeze()  # what is loaded by now is shared between the processes; the collector would copy it by touching it
    _prepare(database, keys)
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    child = _fork(lambda: _write_until_closed(theirs, ours, database, keys))
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        _await_end(child)


def _await_end(child: int) -> None:
    """The scribe ends when its socket closes; one that hangs in the disk is left no longer than a while."""
    give_up = time.monotonic() + END_WITHIN_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.01)


def _prepare(database: str, keys: Path) -> None:
    """Make keys where there are none and bring the schema up to date, in a process of its own.

    It takes the migrations' memory with it, and the gateway's process never holds a private key.
    """
    reading, writing = os.pipe()

    def work() -> None:
        try:
            open_keys(keys)
            open_engine(database).dispose()
        except WeldGateError as error:
            os.write(writing, str(error).encode()[:ERROR_BYTES])

    child = _fork(work)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        problem = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if problem or status:
        raise WeldGateError(problem or "keys and database could not be prepared; see above")


def _write_until_closed(sock: socket.socket, gates_end: socket.socket, database: str, keys: Path) -> None:
    """The scribe's whole life. Signals are the gateway's affair: the scribe ends when its socket closes."""
    gates_end.close()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    Scribe(open_engine(database, migrate=False), open_keys(keys).signer()).serve(sock)


def _fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child that cleans up nothing of the parent's; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001  (the child must not run on in its parent's code, whatever happened)
        traceback.print_exc()
    finally:
        os._exit(code)
