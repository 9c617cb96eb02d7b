"""``weldgate audit``: the ledger checked, explained, exported and decided again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import track
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.cli.console import err, out, reporting_errors
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.core.model import Decision
from gateway.core.policy import Rulebook, from_document
from gateway.errors import WeldGateError
from gateway.gate.entry import DecisionBody
from gateway.gate.explain import decide_again, decision_of, in_words, judgement_in
from gateway.observe.audited import Audited, write_audited
from gateway.registry.checks import recorded_in_words
from gateway.store.engine import DEFAULT_URL, open_engine, reading
from gateway.store.journal import policy_document
from gateway.store.ledger import (
    Finding,
    Stored,
    check,
    checks_of,
    count,
    decisions_of,
    decode_record,
    read_anchor,
    read_head,
    rows_in_order,
)
from gateway.upkeep import load_policy

app = typer.Typer(help="The ledger: verify, show, export, replay.", no_args_is_help=True)

MOST_SHOWN = 20


@contextmanager
def _ledger(database: str) -> Iterator[Connection]:
    """A reading connection to the database, in one transaction: one consistent view."""
    with reporting_errors():
        engine = reading(open_engine(database, migrate=False, must_exist=True))
        try:
            with engine.connect() as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise WeldGateError(f"--database: {error.orig}; is it a WeldGate database of this version?") from error


def _rows(connection: Connection, what: str) -> Iterator[Stored]:
    """All rows, with a progress bar on a terminal."""
    rows = rows_in_order(connection)
    yield from track(rows, what, total=count(connection), console=err, transient=True, disable=not err.is_terminal)


@app.command()
def verify(
    database: DatabaseOption = DEFAULT_URL,
    expect_head: Annotated[
        str | None, typer.Option(help="SEQ:HASH noted earlier: the chain must still hold that record.")
    ] = None,
    textfile: Annotated[
        Path | None, typer.Option(help="File (*.prom) to write the outcome to, for node_exporter and Prometheus.")
    ] = None,
) -> None:
    """Check the whole chain; names every record that was changed, removed or reordered. Exit code 1 if any was."""
    with _ledger(database) as connection:
        anchor = read_anchor(connection)
        findings = list(check(_rows(connection, "verify"), read_head(connection), anchor))
        if expect_head is not None:
            findings += _missing_head(connection, expect_head)
        if textfile is not None:
            _tell_prometheus(textfile, Audited(not findings, count(connection), now_ms() / 1000))
        for finding in findings[:MOST_SHOWN]:
            out.print(f"record {finding.seq}: {finding.problem}", markup=False)
        if findings:
            out.print(f"NOT INTACT: {len(findings)} findings")
            raise typer.Exit(1)
        head = read_head(connection)
        where = f"{head.seq}:{head.hash.hex()}" if head else "0: empty"
        purged = f" (up to record {anchor.seq} purged)" if anchor.seq else ""
        out.print(f"intact: {count(connection)} records{purged}, head {where}", markup=False)


def _tell_prometheus(textfile: Path, audited: Audited) -> None:
    try:
        write_audited(textfile, audited)
    except OSError as error:
        raise WeldGateError(f"--textfile {textfile}: {error.strerror}; name a file in a folder that exists") from error


def _missing_head(connection: Connection, expected: str) -> list[Finding]:
    """Whether the record noted as SEQ:HASH is gone; tells a ledger that was replaced as a whole."""
    seq, _, digest = expected.partition(":")
    if not seq.isdigit():
        raise WeldGateError(f"--expect-head {expected!r}: use SEQ:HASH as printed by an earlier verify")
    anchor = read_anchor(connection)
    if int(seq) < anchor.seq:
        return [Finding(int(seq), f"the record that was noted is purged, as all up to {anchor.seq}: note a newer head")]
    if int(seq) == anchor.seq and digest == anchor.hash.hex():
        return []
    for row in rows_in_order(connection):
        if row.seq == int(seq):
            return [] if row.hash.hex() == digest else [Finding(row.seq, "it is not the record that was noted")]
    return [Finding(int(seq), "the record that was noted is not there")]


@app.command()
def show(request_id: str, database: DatabaseOption = DEFAULT_URL) -> None:
    """Explain a decision in words, by its request's id; or a certificate check by its own."""
    with _ledger(database) as connection:
        rows = decisions_of(connection, request_id) or checks_of(connection, request_id)
        if not rows:
            purged = read_anchor(connection).seq
            rest = f"; records up to {purged} are purged" if purged else ""
            raise WeldGateError(f"no decision on request {request_id!r} is on record, and no certificate check{rest}")
        for row in rows:
            words = in_words if row.kind == "decision" else recorded_in_words
            for line in words(decode_record(row.record)):
                out.print(line, markup=False)
            out.print(f"记录 record    {row.seq}, SHA-256 {row.hash.hex()}", markup=False)


@app.command()
def export(
    target: Annotated[Path, typer.Option("--out", help="File to write, one JSON object a line.")],
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Write every decision as JSON Lines."""
    with _ledger(database) as connection, target.open("wb") as file:
        for row in _rows(connection, "export"):
            if row.kind == "decision":
                file.write(msgspec.json.encode(_exported(row)) + b"\n")


def _exported(row: Stored) -> dict[str, Any]:
    body = decision_of(decode_record(row.record))
    return {
        "request_id": row.message_id,
        "machine_id": row.machine_id,
        "operator_id": row.operator_id,
        "outcome": row.outcome,
        "reasons": body.decision.reasons,
        "warnings": body.decision.warnings,
        "at": row.at,
        "division": body.facts.machine.division if body.facts.machine else None,
        "enterprise": body.facts.machine.uscc if body.facts.machine else None,
        "policy": body.policy,
        "registry_version": body.registry,
        "seq": row.seq,
        "hash": row.hash.hex(),
    }


@app.command()
def replay(
    database: DatabaseOption = DEFAULT_URL,
    policy: Annotated[
        Path | None, typer.Option(help="Try this policy on the past instead of the one that decided.")
    ] = None,
) -> None:
    """Decide everything on record again from its own facts: requests, running sessions that were ended, unlocks
    without a connection. Exit code 1 if a decision comes out differently from what its own policy decided; with
    --policy the differences are the answer, and the exit code is 0."""
    with _ledger(database) as connection:
        rulebooks = _Rulebooks(connection, Rulebook(load_policy(policy)) if policy else None)
        counts: Counter[str] = Counter()
        for row in _rows(connection, "replay"):
            if (body := judgement_in(decode_record(row.record))) is not None:
                counts["decisions"] += 1
                counts["different"] += _differs(row, body, rulebooks, shown=counts["different"] < MOST_SHOWN)
        out.print(f"{counts['decisions']} decisions, {counts['different']} different")
        if counts["different"] and policy is None:
            raise typer.Exit(1)


class _Rulebooks:
    """The rulebook that decided, by policy hash; or always the one to try."""

    def __init__(self, connection: Connection, tried: Rulebook | None) -> None:
        self._connection = connection
        self._tried = tried
        self._known: dict[str, Rulebook] = {}

    def of(self, digest: str) -> Rulebook:
        if self._tried is not None:
            return self._tried
        if digest not in self._known:
            stored = policy_document(self._connection, digest)
            if stored is None:
                raise WeldGateError(f"policy {digest} decided but is not in the database; restore it from a backup")
            self._known[digest] = Rulebook(from_document(stored))
        return self._known[digest]


def _differs(row: Stored, body: DecisionBody, rulebooks: _Rulebooks, *, shown: bool) -> bool:
    again = decide_again(body, rulebooks.of(body.policy))
    if again == body.decision:
        return False
    if shown:
        was, now = _outcome(body.decision), _outcome(again)
        out.print(f"record {row.seq}, request {row.message_id}: was {was}, comes out as {now}", markup=False)
    return True


def _outcome(decision: Decision) -> str:
    return f"{decision.outcome} {list(decision.reasons)}" if decision.reasons else decision.outcome
