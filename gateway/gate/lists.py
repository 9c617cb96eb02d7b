"""The offline lists in memory: which list a machine was sent last, and who was let in there lately."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct, structs

from gateway.core.model import Millis
from gateway.gate.settings import TAKEN_WITHIN_MS
from gateway.store.prepared import Row

_entries = msgspec.json.Decoder(list[tuple[str, int]]).decode
SETTLED_MS = 2_000
"""A chip that just came back may repeat a request: a command would use up the challenge that its grant is for."""
MOST_AHEAD = 100_000
"""A chip may be so many versions ahead of a restored backup; one that says more is not believed."""
Welders = tuple[tuple[str, int], ...]
"""(operator_id, until in seconds since 1970), by operator."""


class OfflineList(Struct, frozen=True):
    """The list that was sent to a machine last."""

    version: int
    at: Millis
    for_s: int
    lease_s: int
    welders: Welders

    @property
    def content(self) -> tuple[int, int, Welders]:
        """What makes a new version where it differs."""
        return self.for_s, self.lease_s, self.welders


class OfflineLists:
    """What was sent to whom. ``asked``: the command that it went with, until a fresh challenge shows that it was
    ``taken``, since the start."""

    def __init__(self) -> None:
        self.sent: dict[str, OfflineList] = {}
        self.taken: dict[str, int] = {}
        self.asked: dict[str, str] = {}
        self.due: dict[str, Millis] = {}
        self._recent: dict[str, dict[str, Millis]] = {}

    def load(self, lists: Iterable[Row], recent: Iterable[Row]) -> None:
        """Rows of the lists table, and (machine, operator, when last let in) with the latest last."""
        for machine_id, version, at, for_s, lease_s, welders in lists:
            self.sent[machine_id] = OfflineList(version, at, for_s, lease_s, tuple(_entries(welders)))
        for machine_id, operator_id, at in recent:
            self.let_in(machine_id, operator_id, at)

    def let_in(self, machine_id: str, operator_id: str, now: Millis) -> None:
        """Somebody was let in at the machine, and is the latest."""
        welders = self._recent.setdefault(machine_id, {})
        welders.pop(operator_id, None)
        welders[operator_id] = now

    def latest(self, machine_id: str, since: Millis, most: int) -> list[str]:
        """Who was let in at the machine since then, the latest first."""
        welders = self._recent.get(machine_id, {})
        return [operator_id for operator_id in reversed(welders) if welders[operator_id] >= since][:most]

    def take_back(self, lists: Iterable[Row]) -> None:
        """Memory has been read anew: what went with a batch that failed was never sent."""
        asked, self.asked, self.sent = self.asked, {}, {}
        self.load(lists, ())
        self.due |= dict.fromkeys(asked, 0)

    def under_way(self, machine_id: str, now: Millis) -> bool:
        """Whether the chip's present challenge may be used up by a list."""
        sent = self.sent.get(machine_id)
        if machine_id not in self.asked or sent is None or self.taken.get(machine_id) == sent.version:
            return False
        return now - sent.at <= TAKEN_WITHIN_MS

    def show_fresh(self, machine_id: str, now: Millis) -> None:
        """The chip shows a fresh challenge: it has used up the one that its list went with, if that was just now."""
        sent = self.sent.get(machine_id)
        if machine_id in self.asked and sent is not None and now - sent.at <= TAKEN_WITHIN_MS:
            self.taken[machine_id] = sent.version

    def refuse(self, machine_id: str, command_id: object, held: object, now: Millis) -> None:
        """The chip refused a command. If it was its list, it goes out again, whole, and above the version that the
        chip says it holds: after a restore from a backup ours may be lower."""
        if command_id is None or self.asked.get(machine_id) != command_id:
            return
        self.taken.pop(machine_id, None)
        self.due[machine_id] = now
        sent = self.sent[machine_id]
        if isinstance(held, int) and sent.version <= held < sent.version + MOST_AHEAD:
            self.sent[machine_id] = structs.replace(sent, version=held, welders=(("", 0),))

    def shift(self, by_ms: int) -> None:
        """The wall clock was set."""
        self.due = {machine_id: at + by_ms for machine_id, at in self.due.items()}
        self.sent = {machine_id: structs.replace(one, at=one.at + by_ms) for machine_id, one in self.sent.items()}

    def concern(self, machine_ids: Iterable[str], operators: set[str], now: Millis) -> None:
        """Something changed about these machines or people: look at the lists that name them."""
        named = {
            machine_id
            for machine_id, listed in self.sent.items()
            if any(operator_id in operators for operator_id, _ in listed.welders)
        }
        for machine_id in named | (self.sent.keys() & set(machine_ids)):
            self.due[machine_id] = now
