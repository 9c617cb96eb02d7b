"""kill -9 under load: nothing is lost, nothing is double."""

import random
import time
from collections import defaultdict
from threading import Lock, Thread

import msgspec

from tests.service import county
from tests.service.conftest import StartGateway
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, Seen, a_request, new_id

DEVICES = 32
KILLS = 3
UNDER_LOAD_S = 1.0
REPEAT_AFTER_S = 0.4
ANSWERED_WITHIN_S = 30.0


class Morning:
    """Devices that scan again as soon as they have an answer, and repeat what stays unanswered. Some repeat what was
    answered long ago."""

    def __init__(self, chips: Chips) -> None:
        self.answers: dict[str, set[bytes]] = defaultdict(set)
        self.machine_of: dict[str, str] = {}
        self._chips = chips
        self._open: dict[str, tuple[bytes, float]] = {}
        self._lock = Lock()
        self._random = random.Random(7)
        self._over = False
        self._repeater = Thread(target=self._repeat, name="repeats")
        chips.on_seen = self._on_seen

    def begin(self) -> None:
        for number in range(1, DEVICES + 1):
            self._scan(number)
        self._repeater.start()

    def end(self) -> bool:
        """No new scans; True once everything is answered."""
        self._over = True
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while self._open and time.monotonic() < deadline:
            time.sleep(REPEAT_AFTER_S)
        left = list(self._open)
        self._open.clear()
        self._repeater.join()
        assert not left, f"never answered: {left}"
        return True

    def _scan(self, number: int) -> None:
        welder = county.welder(self._random.choice((number, number, self._random.randint(1, DEVICES))))
        request_id = new_id()
        self.machine_of[request_id] = county.machine(number)
        payload = msgspec.json.encode(a_request(welder, request_id, at=None))
        with self._lock:
            self._open[request_id] = payload, time.monotonic()
        self._send(request_id, payload)

    def _send(self, request_id: str, payload: bytes) -> None:
        self._chips.send(f"{ROOT}/{self.machine_of[request_id]}/request", payload)

    def _on_seen(self, seen: Seen) -> None:
        if not seen.topic.endswith("/decision") or "/feed/" in seen.topic:
            return
        request_id = seen.content["request_id"]
        with self._lock:
            self.answers[request_id].add(seen.payload)
            known = self._open.pop(request_id, None)
        if known is None or self._over:
            return
        if self._random.random() < 0.1:
            self._send(request_id, known[0])  # once more, though it was answered
        self._scan(int(self.machine_of[request_id].removeprefix("HJ-")))

    def _repeat(self) -> None:
        while not self._over or self._open:
            time.sleep(REPEAT_AFTER_S / 4)
            now = time.monotonic()
            with self._lock:
                late = [(key, payload) for key, (payload, at) in self._open.items() if now - at > REPEAT_AFTER_S]
                self._open |= {key: (payload, now) for key, payload in late}
            for request_id, payload in late:
                self._send(request_id, payload)


def test_kill_9_under_load_loses_nothing_and_doubles_nothing(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        morning = Morning(chips)
        morning.begin()
        for _ in range(KILLS):
            time.sleep(UNDER_LOAD_S)  # not a wait: this long it works under load
            gateway.kill()
            gateway.start().until_ready()
        time.sleep(UNDER_LOAD_S)
        assert morning.end()
        assert len(morning.answers) == len(morning.machine_of) > 10 * DEVICES
        twice = {request_id for request_id, contents in morning.answers.items() if len(contents) > 1}
        assert not twice, "one content per request id"
        assert gateway.drain() == 0
    recorded = gateway.rows("SELECT message_id, count(*) AS times FROM ledger WHERE kind = 'decision' GROUP BY 1")
    assert {row["message_id"]: row["times"] for row in recorded} == dict.fromkeys(morning.machine_of, 1)
    sessions = gateway.rows("SELECT request_id FROM sessions")
    allows = gateway.rows("SELECT message_id FROM ledger WHERE kind = 'decision' AND outcome = 'allow'")
    assert sorted(row["request_id"] for row in sessions) == sorted(row["message_id"] for row in allows)
    by_machine = gateway.rows("SELECT machine_id FROM sessions WHERE ended_at IS NULL GROUP BY 1 HAVING count(*) > 1")
    by_welder = gateway.rows("SELECT operator_id FROM sessions WHERE ended_at IS NULL GROUP BY 1 HAVING count(*) > 1")
    assert by_machine == by_welder == []
    gateway.intact()
