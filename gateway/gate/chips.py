"""What is known of each chip: what its status said last, the numbers of its events, which codes were shown to it."""

from collections.abc import Iterable

from msgspec import Struct, field

from gateway.core.credential import STEPS_OFF, Code, genuine, step_at
from gateway.core.model import CodeUse, Millis, Status
from gateway.store.journal import CODES_KEPT_STEPS
from gateway.store.prepared import Row

CHALLENGES_REMEMBERED = 8
"""A status may come twice, and late: a challenge that was seen before is no news."""


class Chip(Struct):
    """One chip. ``challenge`` is its present one as far as is known, ``session_id`` what it runs.

    ``at`` is the time by its own clock that it told last, None without one; ``heard_at`` when that was by ours.
    """

    serial: str | None = None
    online: bool = True
    challenge: str | None = None
    at: Millis | None = None
    heard_at: Millis = 0
    session_id: str | None = None
    before: list[str] = field(default_factory=list)

    @property
    def clock(self) -> bool:
        """Whether it told the time."""
        return self.at is not None

    @property
    def clock_off_ms(self) -> int | None:
        """How far its clock stood from ours when it told the time; what came late makes it look slow, never fast."""
        return None if self.at is None else self.at - self.heard_at

    def takes(self, status: Status, now: Millis) -> bool:
        """Take over what a status says; True if its challenge is a new one."""
        self.online = status.online
        if status.chip is not None:
            self.serial = status.chip
        if status.challenge is None:
            return False
        if (status.challenge, status.at) != (self.challenge, self.at):  # else it is the one that came before
            self.tells_time(status.at, now)
        self.session_id = status.session_id
        return self._shows(status.challenge)

    def tells_time(self, at: Millis | None, now: Millis) -> None:
        self.at, self.heard_at = at, now

    def _shows(self, challenge: str) -> bool:
        fresh = challenge != self.challenge and challenge not in self.before
        if challenge != self.challenge and self.challenge is not None:
            self.before = [*self.before, self.challenge][-CHALLENGES_REMEMBERED:]
        self.challenge = challenge
        return fresh

    def stands_as(self, row: Row) -> None:
        """Take over a row of the chips table where it says something else: another gateway has heard of it since."""
        _, heard_at, online, serial, _, _, challenge, at = row
        if (online, serial, challenge, at) == (self.online, self.serial, self.challenge, self.at):
            return
        self.online, self.serial, self.session_id = online, serial, None
        self.tells_time(at, heard_at)
        if challenge is not None:
            self._shows(challenge)


class Chips:
    """All chips by machine. A machine whose chip never spoke is online as far as anybody knows."""

    def __init__(self) -> None:
        self._chips: dict[str, Chip] = {}
        self._seqs: dict[str, int] = {}
        self._gaps: dict[str, list[tuple[int, int]]] = {}

    def __getitem__(self, machine_id: str) -> Chip:
        return self._chips.get(machine_id) or Chip()

    def take(self, machine_id: str, status: Status, now: Millis) -> bool:
        return self._chips.setdefault(machine_id, Chip()).takes(status, now)

    def tells_time(self, machine_id: str, at: Millis | None, now: Millis) -> Chip | None:
        """Its clock is another one from now on; the chip, where anything is known of it."""
        chip = self._chips.get(machine_id)
        if chip is not None:
            chip.tells_time(at, now)
        return chip

    def shift(self, by_ms: int) -> None:
        """Our clock was set: what chips' clocks were held against is another one."""
        for chip in self._chips.values():
            chip.heard_at += by_ms

    def load(self, rows: Iterable[Row]) -> None:
        """Rows of the chips table."""
        for machine_id, heard_at, online, serial, _, _, challenge, at in rows:
            self._chips[machine_id] = Chip(serial, online, challenge, at, heard_at)

    def refresh(self, rows: Iterable[Row]) -> None:
        """Take over what the database holds of some chips."""
        for row in rows:
            self._chips.setdefault(row[0], Chip()).stands_as(row)

    def load_seqs(self, seqs: dict[str, int]) -> None:
        self._seqs = seqs
        self._gaps = {}

    def refresh_seqs(self, machine_ids: Iterable[str], seqs: dict[str, int], gaps: Iterable[Row]) -> None:
        """Take over what the database holds of some machines' numbers: the last one, and (machine, first, last) of
        what was missing."""
        for machine_id in machine_ids:
            self._gaps[machine_id] = []
        self._seqs |= seqs
        for machine_id, first, last in gaps:
            self._gaps[machine_id].append((first, last))

    def online(self) -> tuple[int, int]:
        """How many of those that ever spoke are online by their last word, and how many are not."""
        online = sum([chip.online for chip in self._chips.values()])
        return online, len(self._chips) - online

    def last_seq(self, machine_id: str) -> int | None:
        """The number from which the machine's next event is counted; None before the first."""
        return self._seqs.get(machine_id)

    def count(self, machine_id: str, seq: int) -> tuple[int, int | None] | None:
        """Note an event's number, of an event that is not on record. What is missing before it, if any: (first, last),
        ``last`` None where the numbers began anew and nobody can say how many are lost.

        A lower number than the last is one that was missed, and comes late; else it was used before.
        """
        last, gaps = self._seqs.get(machine_id), self._gaps.setdefault(machine_id, [])
        if last is not None and seq <= last:
            if any(first <= seq <= until for first, until in gaps):
                return None
            self._seqs[machine_id] = seq
            return last + 1, None
        self._seqs[machine_id] = seq
        if last is None or seq == last + 1:
            return None
        gaps.append((last + 1, seq - 1))
        return gaps[-1]


class Codes:
    """The keys of rolling codes, and which codes were shown."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._keys = tuple(keys)
        self._used: set[tuple[int, str]] = set()
        self._fresh: list[Row] = []
        self._step = 0

    def load(self, rows: Iterable[Row]) -> None:
        self._used = {(step, operator_id) for step, operator_id in rows}
        self._fresh.clear()

    def show(self, code: Code, now: Millis) -> CodeUse | None:
        """What the code proves now, None if it is not genuine. It is used up by that, whatever is decided."""
        if not genuine(code, self._keys):
            return None
        step, shown = step_at(now), (code.step, code.operator_id)
        use = CodeUse(code.step, code.step - step, shown in self._used)
        if not use.used and abs(use.steps_off) <= STEPS_OFF:
            self._forget(step)
            self._used.add(shown)
            self._fresh.append(shown)
        return use

    def _forget(self, step: int) -> None:
        """Once for each time step: what was shown long ago has expired by far."""
        if step != self._step:
            self._step = step
            self._used = {old for old in self._used if old[0] > step - CODES_KEPT_STEPS}

    def take_fresh(self) -> list[Row]:
        """Rows to insert for what was shown since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh
