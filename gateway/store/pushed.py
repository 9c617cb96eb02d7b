"""Pushed events into the registries: each delivery is one short transaction, and each event counts once.

INVARIANT: any order and any repetition of a sender's deliveries ends in the same registries.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable
from gateway.store.changes import Origin, Said, open_changes, open_for_writing
from gateway.store.entries import (
    UNKNOWN_DAY,
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    Entry,
    OperatorEntry,
)
from gateway.store.forms import FORMS, Content
from gateway.store.push_events import (
    CERTIFICATE_STATUS,
    ENTERPRISE_STATUS,
    GIVING,
    OPERATOR_STATUS,
    Barred,
    Certified,
    Employed,
    Event,
    EventOutcome,
    Halted,
    Outcome,
    Restated,
    Word,
    begun_and_open,
    employments,
    latest,
    operator_subject,
)
from gateway.store.registry import write_change
from gateway.store.tables import RegistryEvent, metadata
from gateway.store.vault import Vault
from gateway.store.writing import PLAINLY, How

_events = metadata.tables[RegistryEvent.__tablename__]
_UNSAID: Any = UNSET
"""For what an entry needs, and an event about one status does not speak of."""
_LATEST = 2**53 - 1
"""Which of a sender's words is the latest is found out here, not by when they are written."""


class Push(Struct, frozen=True):
    """A delivery: who sent it, when it came (Unix milliseconds), and what goes for every way into the registries."""

    sender: str
    now: Millis
    how: How = PLAINLY


def take_events(engine: Engine, vault: Vault, push: Push, events: Sequence[Event]) -> list[Outcome]:
    """Take a sender's events into the registries, all in one transaction that is durable when this returns.

    One outcome for each event, in their order. Raises DatabaseUnavailable, VaultError.
    """
    try:
        with engine.begin() as connection:
            open_for_writing(connection, vault)
            return _take(connection, vault, push, events)
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]  # further lines repeat the row
        raise DatabaseUnavailable(f"the delivery was not taken: {reason}; send it again") from error


def _take(connection: Connection, vault: Vault, push: Push, events: Sequence[Event]) -> list[Outcome]:
    known = _recorded(connection, push.sender, [event.event_id for event in events])
    fresh = {event.event_id: event for event in reversed(events) if event.event_id not in known}
    story = _Story(connection, vault, push.sender, fresh.values())
    for event in sorted(fresh.values(), key=lambda event: story.word(event).order):
        story.take(event)
    version = _write(connection, vault, push, fresh.values(), story)
    _record(connection, push, story, version)
    return _in_order(events, known, story, version)


def _write(connection: Connection, vault: Vault, push: Push, events: Collection[Event], story: "_Story") -> int | None:
    """What has changed, as one version of the registries with its record in the ledger."""
    entries = story.rows.entries()
    if not entries:
        return None
    listed = tuple(sorted(event.listed for event in events if story.word(event).outcome == "applied"))
    origin = Origin(push.sender, f"push of {len(events)} events", _LATEST)
    how = replace(push.how, said=Said(events=listed))
    version = write_change(connection, vault, entries, origin, push.now, how)
    story.notice_overruled()
    return version


def _in_order(
    events: Sequence[Event], known: Mapping[str, Outcome], story: "_Story", version: int | None
) -> list[Outcome]:
    """An event that stands twice in a delivery is a repeat the second time."""
    told, outcomes = dict(known), []
    for event in events:
        if event.event_id not in told:
            outcome = _settled(story.word(event), version)
            outcomes.append(outcome)
            told[event.event_id] = replace(outcome, repeated=True)
        else:
            outcomes.append(told[event.event_id])
    return outcomes


def _settled(word: Word, version: int | None) -> Outcome:
    outcome: EventOutcome = word.outcome  # type: ignore[assignment]
    return Outcome(word.event_id, outcome, version=version if outcome == "applied" else None)


# --- what is kept of events -------------------------------------------------------------------------------------


def _recorded(connection: Connection, sender: str, event_ids: Sequence[str]) -> dict[str, Outcome]:
    """Events that were taken before."""
    query = sa.select(_events.c.event_id, _events.c.outcome, _events.c.version)
    query = query.where(_events.c.source == sender, _events.c.event_id.in_(event_ids))
    return {row.event_id: Outcome(*row[:2], repeated=True, version=row.version) for row in connection.execute(query)}


def _words(connection: Connection, sender: str, subjects: Iterable[str]) -> dict[str, list[Word]]:
    query = sa.select(*(_events.c[name] for name in ("subject", "event_id", "at", "kind", "outcome")))
    query = query.where(_events.c.source == sender, _events.c.subject.in_(sorted(subjects)))
    words: dict[str, list[Word]] = defaultdict(list)
    for subject, event_id, at, kind, outcome in connection.execute(query):
        name, _, detail = kind.partition(" ")
        words[subject].append(Word(event_id, at, name, detail, outcome))
    return words


def _record(connection: Connection, push: Push, story: "_Story", version: int | None) -> None:
    rows = []
    for subject, word in story.fresh:
        settled = _settled(word, version)
        kept = {"source": push.sender, "event_id": word.event_id, "at": word.at, "received_at": push.now}
        kept["subject"] = subject
        kind = f"{word.kind} {word.detail}".strip()
        rows.append(kept | {"kind": kind, "outcome": settled.outcome, "version": settled.version})
    if rows:
        connection.execute(sa.insert(_events), rows)
    for word in story.came_true if version is not None else ():
        late = sa.update(_events).where(_events.c.source == push.sender, _events.c.event_id == word.event_id)
        connection.execute(late.values(outcome=word.outcome, version=_settled(word, version).version))


# --- rows as they stand within the transaction ------------------------------------------------------------------


class _Rows:
    """Rows of the registries by table, leading key and key, with what is put to them on top. ``log`` names each row
    that something new was put to, in order."""

    def __init__(self, connection: Connection, vault: Vault) -> None:
        self._connection, self._vault = connection, vault
        self._held: dict[str, dict[str, dict[Content, Content]]] = {name: defaultdict(dict) for name in FORMS}
        self._put: dict[str, dict[Content, Entry]] = defaultdict(dict)
        self._not_yet: set[_Place] = set()
        self._open = open_changes(connection, 0)
        self.log: list[_Place] = []

    def load(self, table: str, leading: Iterable[str]) -> None:
        for *row, change in self._read(table, leading):
            key = tuple(row[: FORMS[table].key])
            self._held[table][row[0]][key] = tuple(row)
            self._not_yet |= {(table, key)} if change in self._open else set()

    def _read(self, table: str, leading: Iterable[str]) -> Iterable[Any]:
        form = FORMS[table]
        query = sa.select(*form.selected(), form.table.c.change)
        return self._connection.execute(query.where(form.table.c[form.columns[0]].in_(sorted(set(leading)))))

    def held(self, table: str, leading: str) -> list[dict[str, Any]]:
        """All rows whose key begins with ``leading``."""
        names = FORMS[table].columns
        return [dict(zip(names, row, strict=True)) for row in self._held[table].get(leading, {}).values()]

    def put(self, table: str, entry: Entry) -> bool:
        """Whether the entry says anything new. What somebody else writes and does not hold yet may never hold."""
        form = FORMS[table]
        content = form.content(entry, self._vault)
        key, rows = content[: form.key], self._held[table][content[0]]
        before = rows.get(key)
        over = before or (UNSET,) * len(content)
        after = tuple(old if new is UNSET else new for old, new in zip(over, content, strict=True))
        if after == before and (table, key) not in self._not_yet:
            return False
        rows[key] = after
        self.log.append((table, key))
        self._put[table][key] = _merged(self._put[table].get(key), entry)
        return True

    def forget(self, table: str, leading: str, key: Content) -> None:
        self._held[table][leading].pop(key, None)
        self._put[table].pop(key, None)

    def entries(self) -> dict[str, list[Entry]]:
        return {table: list(entries.values()) for table, entries in self._put.items() if entries}

    def overruled(self) -> set["_Place"]:
        """What was put and does not stand so, now that it is written: another source's word is above it."""
        found: set[_Place] = set()
        for table, entries in self._put.items():
            stored = {
                tuple(row[: FORMS[table].key]): tuple(row) for *row, _ in self._read(table, (k[0] for k in entries))
            }
            found |= {(table, key) for key in entries if stored.get(key) != self._held[table][key[0]].get(key)}
        return found


_Place = tuple[str, Content]
"""A row by its table and key."""


def _merged(before: Entry | None, entry: Entry) -> Entry:
    """Both words about one row; the later one counts."""
    if before is None:
        return entry
    said = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return replace(before, **{name: value for name, value in said.items() if value is not UNSET})


# --- what events lead to ----------------------------------------------------------------------------------------


class _Story:
    """All that a sender has said about the subjects of a delivery, and the rows that it concerns.

    ``fresh`` are this delivery's words with their subjects; ``came_true`` earlier ones that had waited for what they
    are about.
    """

    def __init__(self, connection: Connection, vault: Vault, sender: str, events: Iterable[Event]) -> None:
        self._vault = vault
        self.rows = _Rows(connection, vault)
        self.fresh: list[tuple[str, Word]] = []
        self.came_true: list[Word] = []
        self._by_id: dict[str, Word] = {}
        self._subjects: dict[str, str] = {}
        self._changed: dict[str, list[_Place]] = {}
        for event in events:
            word = Word(event.event_id, event.at, event.kind, event.said.detail)
            self._by_id[event.event_id] = word
            self._subjects[event.event_id] = subject = event.said.subject(vault)
            self.fresh.append((subject, word))
        self._load(events)
        self._words = _words(connection, sender, {*self._subjects.values(), *_holders(events)})

    def word(self, event: Event) -> Word:
        return self._by_id[event.event_id]

    def _load(self, events: Iterable[Event]) -> None:
        leading: dict[str, set[str]] = defaultdict(set)
        for event in events:
            match event.said:
                case Certified(certificate, operator):
                    leading["certificates"].add(self._vault.index(certificate.number))
                    leading["operators"] |= {operator.operator_id} if operator else set()
                case Restated(number):
                    leading["certificates"].add(self._vault.index(number))
                case Barred(operator_id):
                    leading["operators"].add(operator_id)
                case Employed(operator_id):
                    leading["employments"].add(operator_id)
                case Halted(uscc):
                    leading["enterprises"].add(uscc)
        for table, keys in leading.items():
            self.rows.load(table, keys)

    def take(self, event: Event) -> None:
        """Let one event have its effect, and know its outcome."""
        said, word = event.said, self.word(event)
        told, before = self._words[self._subjects[event.event_id]], len(self.rows.log)
        match said:
            case Certified():
                word.outcome = self._certify(said, word, told)
            case Restated():
                word.outcome = self._restate(said, word, told)
            case Barred():
                word.outcome = self._bar(said, word, told)
            case Employed():
                word.outcome = self._employ(said, word, told)
            case Halted():
                word.outcome = self._halt(said, word, told)
        told.append(word)
        self._changed[word.event_id] = self.rows.log[before:]

    def notice_overruled(self) -> None:
        """Events that changed nothing after all."""
        overruled = self.rows.overruled()
        for _, word in self.fresh:
            if word.outcome == "applied" and overruled.issuperset(self._changed[word.event_id]):
                word.outcome = "unchanged"

    def _known_now(self, told: Iterable[Word], last: Word | None = None) -> None:
        """What words had waited for is there; of words about one register only the ``last`` has an effect."""
        for word in told:
            if word.pending:
                word.outcome = "applied" if last in (word, None) else "outdated"
                self.came_true += [word] if word.event_id not in self._by_id else []

    # --- certificates ---

    def _certify(self, said: Certified, word: Word, told: list[Word]) -> EventOutcome:
        changed = said.operator is not None and self._introduce(said.operator)
        newest = all(word.order > other.order for other in told if other.kind in GIVING and other.detail == word.detail)
        if newest:
            about = _about_item(told, word.detail)
            last = latest([*about, word]) or word
            changed |= self.rows.put("certificates", self._with_status(said.certificate, word, last))
            self._known_now(about, last)
        return _outcome(changed, newest)

    def _with_status(self, certificate: CertificateEntry, word: Word, last: Word) -> CertificateEntry:
        """A later word about the status stands above that of the certificate as it was given."""
        if last is word:
            return certificate
        held = self._item(certificate.number, certificate.item)
        if held is None or last.pending:
            return replace(certificate, status=CERTIFICATE_STATUS[last.kind])
        return replace(certificate, status=held["status"])

    def _item(self, number: str, item: str) -> dict[str, Any] | None:
        rows = self.rows.held("certificates", self._vault.index(number))
        return next((row for row in rows if row["item"] == item), None)

    def _restate(self, said: Restated, word: Word, told: list[Word]) -> EventOutcome:
        rows = self.rows.held("certificates", self._vault.index(said.number))
        rows = [row for row in rows if said.item in (None, row["item"])]
        if not rows:
            return "unknown" if latest([*told, word]) is word else "outdated"
        changed = newest = False
        for row in rows:
            about = _about_item(told, row["item"])
            last = latest([*about, word]) or word
            if last is word or last.pending:
                status = CERTIFICATE_STATUS[last.kind]
                entry = CertificateEntry(said.number, _UNSAID, row["item"], _UNSAID, status)
                changed |= self.rows.put("certificates", entry)
                self._known_now(about, last)
            newest |= last is word
        return _outcome(changed and newest, newest)

    # --- people ---

    def _introduce(self, operator: OperatorEntry) -> bool:
        """Bring in somebody whom the registries do not know; whoever is known stays as he is."""
        if self.rows.held("operators", operator.operator_id):
            return False
        told = self._words[operator_subject(operator.operator_id)]
        last = latest(told)
        status = OPERATOR_STATUS[last.kind] if last else operator.status
        self._known_now(told, last)
        return self.rows.put("operators", replace(operator, status=status))

    def _bar(self, said: Barred, word: Word, told: list[Word]) -> EventOutcome:
        def put(last: Word) -> bool:
            return self.rows.put("operators", OperatorEntry(said.operator_id, OPERATOR_STATUS[last.kind]))

        return self._last_word(bool(self.rows.held("operators", said.operator_id)), word, told, put)

    def _last_word(self, known: bool, word: Word, told: list[Word], put: Callable[[Word], bool]) -> EventOutcome:
        """The latest word counts, also one that came before its subject was known."""
        last = latest([*told, word]) or word
        if not known:
            return "unknown" if last is word else "outdated"
        changed = put(last) if last is word or last.pending else False
        self._known_now(told, last)
        return _outcome(changed and last is word, last is word)

    # --- employments and firms ---

    def _employ(self, said: Employed, word: Word, told: list[Word]) -> EventOutcome:
        rows = self.rows.held("employments", said.operator_id)
        on_file = {row["since"]: row["until"] for row in rows if row["uscc"] == said.uscc}
        before, after = employments(told), employments([*told, word])
        newest = latest([*told, word]) is word
        if not on_file and not after:
            return "unknown" if newest else "outdated"
        ends = {since: until for since, until in after.items() if since not in before or before[since] != until}
        if word.kind == "hire":
            ends |= {said.day: after[said.day]} if newest else {}
            self._replace_unknown_first_day(said, on_file)
            self._known_now(told)
        else:
            theirs = {since: until for since, until in on_file.items() if newest or since not in after}
            ends |= dict.fromkeys(begun_and_open(theirs, said.day), said.day)
        entries = [EmploymentEntry(said.operator_id, said.uscc, since, until) for since, until in ends.items()]
        changed = [self.rows.put("employments", entry) for entry in entries]
        return _outcome(any(changed), newest)

    def _replace_unknown_first_day(self, said: Employed, on_file: Iterable[date]) -> None:
        """As an import does: a first day that is new takes the place of an unknown one."""
        if said.day not in on_file:
            self.rows.forget("employments", said.operator_id, (said.operator_id, said.uscc, UNKNOWN_DAY))

    def _halt(self, said: Halted, word: Word, told: list[Word]) -> EventOutcome:
        firm = next(iter(self.rows.held("enterprises", said.uscc)), {})

        def put(last: Word) -> bool:
            from_status, to_status = ENTERPRISE_STATUS[last.kind]
            if firm["status"] != from_status:
                return False
            return self.rows.put("enterprises", EnterpriseEntry(said.uscc, _UNSAID, to_status))

        return self._last_word(bool(firm), word, told, put)


def _holders(events: Iterable[Event]) -> list[str]:
    """Subjects of the people who come with their certificates."""
    named = [event.said.operator for event in events if isinstance(event.said, Certified)]
    return [operator_subject(holder.operator_id) for holder in named if holder]


def _about_item(told: Iterable[Word], item: str) -> list[Word]:
    """Words about one item of a certificate, or about all of them."""
    return [word for word in told if word.detail in (item, "")]


def _outcome(changed: bool, newest: bool) -> EventOutcome:
    if changed:
        return "applied"
    return "unchanged" if newest else "outdated"
