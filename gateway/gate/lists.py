"""The offline lists in memory: which list a machine was sent last, and who was let in there lately."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from gateway.core.model import Millis
from gateway.store.prepared import Row

_entries = msgspec.json.Decoder(list[tuple[str, int]]).decode
Welders = tuple[tuple[str, int], ...]
"""(operator_id, until in seconds since 1970), by operator."""


class OfflineList(Struct, frozen=True):
    """The list that was sent to a machine last."""

    version: int
    at: Millis
    for_s: int
    welders: Welders


class OfflineLists:
    """What was sent to whom. ``taken`` holds the versions that chips have shown to have, since the start."""

    def __init__(self) -> None:
        self.sent: dict[str, OfflineList] = {}
        self.taken: dict[str, int] = {}
        self.asked_with: dict[str, str] = {}
        self.due: dict[str, Millis] = {}
        self._recent: dict[str, dict[str, Millis]] = {}

    def load(self, lists: Iterable[Row], recent: Iterable[Row]) -> None:
        """Rows of the lists table, and (machine, operator, when last let in) with the latest last."""
        for machine_id, version, at, for_s, welders in lists:
            self.sent[machine_id] = OfflineList(version, at, for_s, tuple(_entries(welders)))
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

    def concern(self, machine_ids: Iterable[str], operators: set[str], now: Millis) -> None:
        """Something changed about these machines or people: look at the lists that name them."""
        named = {
            machine_id
            for machine_id, listed in self.sent.items()
            if any(operator_id in operators for operator_id, _ in listed.welders)
        }
        for machine_id in named | (self.sent.keys() & set(machine_ids)):
            self.due[machine_id] = now
