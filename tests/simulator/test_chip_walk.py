"""The reference chip, whatever happens: when its relay may be closed at most, and what it owes the record."""

from collections.abc import Callable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import Event as ChipEvent
from gateway.core.model import Usage
from gateway.core.session import END_REASONS
from gateway.wire import topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES, decode
from simulator.arms import Lock
from simulator.signals import (
    ArcStarted,
    ArcStopped,
    Connected,
    Disconnected,
    Event,
    MessageArrived,
    OperatorEnds,
    PowerOff,
    PowerOn,
    Publish,
    Scanned,
    Tampered,
    Tick,
)
from tests.simulator.bench import OTHER_KEY, Bench

ANYTHING = st.lists(
    st.sampled_from(
        (
            "scan", "scan_other", "allow", "wrong_key", "stale", "retained", "replay", "deny", "end", "arc", "no_arc",
            "off", "on", "dark", "down", "up", "renew", "lock", "lock_soon", "wait_3", "wait_12", "wait_45", "tamper",
            "list", "no_list", "config", "creep_back", "jump_back", "jump_on",
        )
    ),
    max_size=40,
)  # fmt: skip
WITHOUT_CONNECTION = st.lists(
    st.sampled_from(
        (
            "list down", "list down wait_45", "scan", "scan", "end", "wait_3", "wait_12", "wait_45", "arc", "dark",
            "off", "on", "creep_back", "jump_back", "jump_on", "up allow down",
        )
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_the_relay_is_closed_only_by_a_fresh_grant_or_the_offline_list_and_never_beyond_its_lease(
    steps: list[str],
) -> None:
    play(steps)


@settings(max_examples=400, deadline=None)
@given(WITHOUT_CONNECTION)
def test_nor_is_it_whatever_happens_to_mains_and_clock_without_a_connection(phrases: list[str]) -> None:
    play([step for phrase in phrases for step in phrase.split()])


def play(steps: list[str]) -> "Walk":
    walk = Walk()
    for step in steps:
        walk.take(step)
        walk.check()
    walk.settle()
    return walk


def test_a_walk_gets_as_far_as_an_unlock_by_the_list() -> None:
    assert play(["list", "down", "wait_3", "scan", "dark", "scan"]).bench.closed == 2


class Walk:
    """A chip that anything may happen to, beside the least that can be said about when its relay may be closed.

    Times ``*_ms`` are right ones. ``heard_ms`` is when the last token came that the chip may have believed.
    """

    LEASE_S, OFFLINE_LEASE_S, DRAIN_S, FOR_S, UNTIL_S = 60, 40, 20, 80, 60

    def __init__(self) -> None:
        self.bench = Bench(drain_s=self.DRAIN_S)
        self.lease_until_ms = 0
        self.old: list[tuple[str, MessageArrived]] = []
        self.challenges = [self.bench.chip.challenge]
        self.number = 0
        self.listed_until_ms = 0
        self.heard_ms = 0
        self.void = self.woke_wrong = False

    def take(self, step: str) -> None:
        plain: dict[str, Event] = {
            "scan_other": Scanned("P9"), "end": OperatorEnds(), "arc": ArcStarted(), "no_arc": ArcStopped(),
            "off": PowerOff(), "down": Disconnected(), "up": Connected(), "tamper": Tampered(),
        }  # fmt: skip
        closed_before, bench = self.bench.closed, self.bench
        if step in plain:
            bench.give(plain[step])
        elif step.startswith("wait"):
            bench.wait(int(step.removeprefix("wait_")))
        else:
            getattr(self, f"_{step}")()
        if step not in ("allow", "scan"):
            assert bench.closed == closed_before, f"{step} closed the relay"

    def check(self) -> None:
        chip = self.bench.chip
        if chip.relay == "closed":
            drain_ms = self.DRAIN_S * 1000 if chip.lock is Lock.DRAINING else 0
            assert self.bench.right_ms <= self.lease_until_ms + drain_ms
            assert chip.session is not None
        if chip.lock in (Lock.OFF, Lock.LOCKED):
            assert chip.relay == "open"
            assert chip.session is None or chip.lock is Lock.OFF
        if chip.challenge != self.challenges[-1]:
            assert chip.challenge not in self.challenges
            self.challenges.append(chip.challenge)
        for action in self.bench.did:
            assert not isinstance(action, Publish) or len(action.payload) <= MAX_PAYLOAD_BYTES

    def settle(self) -> None:
        """Back on the air, it has told of every session: first that it began, then its usage, last how it ended."""
        for event in (PowerOn(), Connected(), OperatorEnds(), ArcStopped()):
            self.bench.give(event)
        told: dict[str, list[str]] = {}
        for message in self._reports():
            if isinstance(message, Usage):
                told.setdefault(message.session_id, []).append("usage")
            elif message.session_id is not None and message.kind != "grant_rejected":
                told.setdefault(message.session_id, []).append(message.kind)
                assert message.kind != "locked" or message.reason in END_REASONS
        for kinds in told.values():
            assert kinds[0] in ("unlocked", "offline_unlock")
            assert set(kinds[1:-1]) <= {"usage"}
            assert kinds[-1] in ("locked", "boot")

    def _reports(self) -> Iterator[ChipEvent | Usage]:
        for action in self.bench.did:
            named = topics.chip_topic(action.topic) if isinstance(action, Publish) else None
            if isinstance(action, Publish) and named is not None:
                message = decode(named[1], action.payload)
                if isinstance(message, (ChipEvent, Usage)):
                    yield message

    # --- unlocking by the list ----------------------------------------------------------------------------------

    def _scan(self) -> None:
        bench, chip = self.bench, self.bench.chip
        closed, locked, online = bench.closed, chip.lock is Lock.LOCKED, chip.online
        bench.give(Scanned("P1"))
        if bench.closed > closed:
            assert locked
            assert not online
            assert not self.void
            left_ms = self._left_ms()
            assert left_ms >= 1000
            self.lease_until_ms = bench.right_ms + left_ms

    def _left_ms(self) -> int:
        """The longest offline lease now. Tokens tell the time in whole seconds, so a wrong clock may gain a second."""
        longest_ms, now_ms = self.OFFLINE_LEASE_S * 1000, self.bench.right_ms
        if self.woke_wrong:
            return longest_ms if self.listed_until_ms else 0
        return min(longest_ms, min(self.heard_ms + self.FOR_S * 1000, self.listed_until_ms) - now_ms + 999)

    def _list(self) -> None:
        until_ms = self.bench.right_ms + self.UNTIL_S * 1000
        if self._believed(lambda: self._offer({"P1": self.UNTIL_S}, self.FOR_S)):
            self.listed_until_ms = until_ms

    def _no_list(self) -> None:
        if self._believed(lambda: self._offer({}, 0)):
            self.listed_until_ms = 0

    def _offer(self, people: dict[str, int], for_s: int) -> None:
        self.number += 1
        self.bench.offer(self.number, people, offline_for_s=for_s, lease_s=self.OFFLINE_LEASE_S)

    def _believed(self, say: Callable[[], object]) -> bool:
        """Say something for the chip's challenge; believed, it uses it up, and is a contact."""
        challenge = self.bench.chip.challenge
        say()
        if self.bench.chip.challenge == challenge:
            return False
        self._heard()
        return True

    def _heard(self) -> None:
        if self.bench.chip.lock is not Lock.OFF:
            self.heard_ms = self.bench.right_ms
            self.void = self.woke_wrong = False

    # --- clocks and mains ---------------------------------------------------------------------------------------

    def _creep_back(self) -> None:
        self._set_clock(-4_000)

    def _jump_back(self) -> None:
        self._set_clock(-20_000)
        self.void = self.void or self.bench.chip.lock is not Lock.OFF

    def _jump_on(self) -> None:
        self._set_clock(20_000)
        self.void = self.void or self.bench.chip.lock is not Lock.OFF

    def _set_clock(self, by_ms: int) -> None:
        self.bench.wall_off_ms += by_ms
        self.bench.give(Tick())

    def _on(self) -> None:
        self._wake(lambda: self.bench.give(PowerOn()))

    def _dark(self) -> None:
        self.bench.give(PowerOff())
        self._wake(self.bench.power_cycle)

    def _wake(self, power_on: Callable[[], object]) -> None:
        """A clock that was set while nobody could see it: from here on the chip knows no better."""
        was_off = self.bench.chip.lock is Lock.OFF
        power_on()
        if was_off:
            self.woke_wrong = self.woke_wrong or self.bench.wall_off_ms != self.bench.right_off_ms
            assert self.bench.chip.relay == "open"

    # --- what the gateway sends ---------------------------------------------------------------------------------

    def _allow(self) -> None:
        arrived = self.bench.allowed(self.bench.claims(lease_s=self.LEASE_S))
        self.old.append((self.bench.chip.challenge, arrived))
        if self._believed(lambda: self.bench.give(arrived)):
            self._lease_begins()

    def _renew(self) -> None:
        self.number += 1
        self.bench.command("renew", self.number, lease_s=self.LEASE_S)
        self._heard()
        if self.bench.chip.relay == "closed":
            self._lease_begins()

    def _lease_begins(self) -> None:
        self.lease_until_ms = self.bench.right_ms + self.LEASE_S * 1000

    def _lock(self) -> None:
        self.number += 1
        self.bench.command("lock", self.number, when="now", reason="remote")
        self._heard()
        clock_is_ahead = self.bench.wall_off_ms > self.bench.right_off_ms
        assert self.bench.chip.relay == "open" or clock_is_ahead

    def _lock_soon(self) -> None:
        self.number += 1
        self.bench.command("lock", self.number, when="between_arcs", deadline_s=15, reason="revoked")
        self._heard()

    def _config(self) -> None:
        self._believed(lambda: self.bench.address("config", idle_lock_s=30, drain_deadline_s=self.DRAIN_S - 5))

    def _wrong_key(self) -> None:
        self.bench.allow(self.bench.claims(), key=OTHER_KEY)

    def _stale(self) -> None:
        self.bench.allow(self.bench.claims(cha=self.challenges[0] if len(self.challenges) > 1 else "x"))

    def _retained(self) -> None:
        self.bench.allow(self.bench.claims(), retained=True)

    def _replay(self) -> None:
        """Grants for challenges that are gone. (One that was refused and still fits would be no replay.)"""
        for challenge, arrived in self.old:
            if challenge != self.bench.chip.challenge:
                self.bench.give(arrived)

    def _deny(self) -> None:
        if self.bench.requests:
            self.bench.deny("certificate_expired")
