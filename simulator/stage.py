"""Carries out the acts of a scenario on the rigs, each in real time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from gateway.core.model import Request
from gateway.wire import topics
from gateway.wire.codec import encode
from simulator.arms import Lock
from simulator.audit import Audit
from simulator.faults import junk, malformed_request
from simulator.rig import Rig
from simulator.scenario import Act, Kind
from simulator.signals import ArcStarted, ArcStopped, OperatorEnds, PowerOff, PowerOn, Publish, Tampered

ANSWER_WITHIN_S = 32.0
"""A little more than the chip itself waits."""
LOST_ANSWER_S = 12.0
ARC_S = (0.3, 1.2)
PAUSE_S = (0.1, 0.5)
ALARM_S = 0.8
DARK_S = 0.5
STALE_BY_S = (90, 600)
FAULTS: frozenset[Kind] = frozenset(
    {
        "lost_answer",
        "duplicate",
        "old_request",
        "old_id",
        "malformed",
        "junk",
        "retained",
        "stale_clock",
        "reconnect",
        "offline_work",
        "power_cycle",
        "alarm",
        "unreadable_badge",
    }
)


class Stage:
    """``over`` is set when the run ends: people then finish what they do."""

    def __init__(self, rigs: dict[str, Rig], audit: Audit, over: asyncio.Event) -> None:
        self._rigs = rigs
        self._audit = audit
        self._over = over
        self._plays: dict[Kind, Callable[[Rig, Act, Random], Awaitable[None]]] = {
            "scan_again": self._scan_again,
            "second_person": self._just_scan,
            "second_machine": self._just_scan,
            "lost_answer": self._lost_answer,
            "duplicate": self._duplicate,
            "old_request": self._old_request,
            "old_id": self._old_id,
            "malformed": self._malformed,
            "junk": self._junk,
            "retained": self._retained,
            "stale_clock": self._stale_clock,
            "reconnect": self._reconnect,
            "offline_work": self._offline_work,
            "power_cycle": self._power_cycle,
            "alarm": self._alarm,
            "unreadable_badge": self._unreadable_badge,
        }

    async def play(self, act: Act) -> None:
        """One act from beginning to end."""
        rig = self._rigs[act.machine_id]
        if act.kind in FAULTS:
            self._audit.faults[act.kind] += 1
        play = self._plays.get(act.kind, self._work)
        await play(rig, act, Random(act.number))  # noqa: S311  (a scenario, not a secret)

    # --- honest people ------------------------------------------------------------------------------------------

    async def _work(self, rig: Rig, act: Act, random: Random) -> None:
        """Scan; weld and end work if let in, go away if not."""
        shown = await rig.scan(act.credential, act.kind, ANSWER_WITHIN_S)
        if shown is not None and shown.outcome == "allow":
            await self._weld(rig, act, random)

    async def _just_scan(self, rig: Rig, act: Act, random: Random) -> None:
        await self._work(rig, act, random)

    async def _scan_again(self, rig: Rig, act: Act, _: Random) -> None:
        """The same person in the same session: it is replaced, the work goes on."""
        await rig.scan(act.credential, act.kind, ANSWER_WITHIN_S)

    async def _weld(self, rig: Rig, act: Act, random: Random) -> None:
        """Arcs and pauses for ``work_s`` seconds, then the end of work; sooner if the machine locks meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + act.work_s
        rig.worker = act.credential
        while loop.time() < end and not self._over.is_set() and rig.unlocked_by(act.credential):
            rig.strike(random)
            await self._pause(min(random.uniform(*ARC_S), max(0.0, end - loop.time())))
            rig.rest()
            await self._pause(min(random.uniform(*PAUSE_S), max(0.0, end - loop.time())))
        if rig.unlocked_by(act.credential):
            rig.feed(OperatorEnds())

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    # --- faults on the way --------------------------------------------------------------------------------------

    async def _lost_answer(self, rig: Rig, act: Act, random: Random) -> None:
        """The chip repeats its request and gets the same bytes."""
        rig.mischief.lose_answers = 1
        await self._work(rig, act, random)
        rig.mischief.lose_answers = 0

    async def _duplicate(self, rig: Rig, act: Act, random: Random) -> None:
        rig.mischief.send_twice = True
        await self._work(rig, act, random)

    async def _old_request(self, rig: Rig, _act: Act, random: Random) -> None:
        """A recorded request is played back."""
        if rig.asked_once:
            _, payload = random.choice(rig.asked_once)
            rig.link.publish(Publish(topics.to_gateway(rig.machine_id, "request"), payload))

    async def _old_id(self, rig: Rig, act: Act, random: Random) -> None:
        """An old id with another badge and the present challenge: the old answer all the same."""
        if rig.asked_once:
            old, _ = random.choice(rig.asked_once)
            request = Request(old.request_id, act.credential, rig.chip.challenge, "keypad", rig.moment().wall_ms)
            rig.link.publish(Publish(topics.to_gateway(rig.machine_id, "request"), encode(request)))

    async def _unreadable_badge(self, rig: Rig, act: Act, _: Random) -> None:
        request, sent = rig.raw_request(act.credential, act.kind, "oracle")
        rig.send_raw(sent, encode(request))

    async def _malformed(self, rig: Rig, act: Act, random: Random) -> None:
        request, sent = rig.raw_request(act.credential, act.kind, "malformed")
        bad = malformed_request(request.request_id, act.credential, request.challenge, random)
        rig.send_raw(sent, bad.payload)

    async def _junk(self, rig: Rig, _act: Act, random: Random) -> None:
        rig.link.publish(junk(rig.machine_id, random))

    async def _retained(self, rig: Rig, act: Act, _: Random) -> None:
        """Left on the broker for a moment, then removed, so that no later run finds it."""
        request, sent = rig.raw_request(act.credential, act.kind, "retained")
        rig.send_raw(sent, encode(request), retain=True)
        rig.link.publish(Publish(topics.to_gateway(rig.machine_id, "request"), b"", retain=True))

    async def _stale_clock(self, rig: Rig, act: Act, random: Random) -> None:
        off_ms = 1000 * random.randint(*STALE_BY_S) * random.choice((-1, 1))
        rig.mischief.clock_off_ms = off_ms
        await self._work(rig, act, random)
        rig.mischief.clock_off_ms = 0

    async def _reconnect(self, rig: Rig, _act: Act, random: Random) -> None:
        rig.link.cut(random.uniform(0.1, 1.5))

    async def _offline_work(self, rig: Rig, act: Act, random: Random) -> None:
        """The network is gone while the session runs; nothing changes for the welder, reports follow later."""
        shown = await rig.scan(act.credential, act.kind, ANSWER_WITHIN_S)
        if shown is not None and shown.outcome == "allow":
            rig.link.cut(random.uniform(0.5, act.work_s + 0.5))
            await self._weld(rig, act, random)

    async def _power_cycle(self, rig: Rig, _act: Act, _: Random) -> None:
        """The mains fail in mid-session: locked on return."""
        rig.feed(PowerOff())
        rig.link.cut(DARK_S)
        await asyncio.sleep(DARK_S / 2)
        rig.feed(PowerOn())
        if rig.link.online:
            rig.link.cut()  # connected in the dark; the chip has to hear of its connection

    async def _alarm(self, rig: Rig, _act: Act, random: Random) -> None:
        if rig.chip.lock is not Lock.LOCKED or random.random() < 0.5:
            rig.feed(Tampered())
            return
        rig.feed(ArcStarted())
        await asyncio.sleep(ALARM_S)
        rig.feed(ArcStopped())
