"""Closed-loop load: every device on a connection of its own, one request in flight each, QoS 1.

It shares the cores with what it measures, so it spends little: one thread, epoll, packets by hand, one ``recv`` and
one ``send`` a round trip. A low-water mark keeps the broker's four-byte PUBACK from waking it: the acknowledgement is
read together with the decision, and the decision's own acknowledgement leaves together with the next request.
"""

import argparse
import gc
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.wire.topics import decision, to_gateway
from tests.bench.devices import Device, from_registry, made_up
from tests.bench.processes import cpu_seconds
from tests.support import packets

WAKE_AT_BYTES = 64
"""Longer than a PUBACK, shorter than any decision."""
HANDSHAKE_TIMEOUT_S = 10.0
DRAIN_S = 15.0
"""How long the last answers may take; half of what a chip waits before it gives up."""
_RECV_BYTES = 65_536
_POLL_S = 0.05
_BLANK, _AT = "########", 4_444_444_444_444

Check = Callable[[bytes, bytes], bool]


@dataclass(frozen=True)
class Result:
    """One measured window. ``cpu_s`` is user and system time by process; ``latencies_ns`` is sorted."""

    devices: int
    seconds: float
    latencies_ns: "array[int]"
    wrong: int
    unanswered: int
    cpu_s: dict[str, float] = field(default_factory=dict)
    first_wrong: str = ""

    @property
    def rate(self) -> float:
        """Round trips per second."""
        return len(self.latencies_ns) / self.seconds

    def quantile_ms(self, share: float) -> float:
        if not self.latencies_ns:
            return float("nan")
        return self.latencies_ns[min(int(share * len(self.latencies_ns)), len(self.latencies_ns) - 1)] / 1e6

    def cpu_us(self, process: str) -> float:
        """Processor time per round trip, microseconds."""
        return self.cpu_s[process] / max(len(self.latencies_ns), 1) * 1e6


def allowed(payload: bytes, request_id: bytes) -> bool:
    """An allow with a grant, for this request, in the gateway's canonical JSON."""
    return b'"outcome":"allow"' in payload and b'"grant":"ey' in payload and request_id in payload


def answered(payload: bytes, _request_id: bytes) -> bool:
    """Anything as long as a decision."""
    return len(payload) > WAKE_AT_BYTES


class Client:
    """One device's connection. ``ask`` and ``answers`` are the whole of a round trip."""

    __slots__ = (
        "_packet_id",
        "_recv",
        "_rest",
        "_send",
        "_stem",
        "_template",
        "count",
        "request_id",
        "sent_ns",
        "sock",
    )

    def __init__(self, device: Device, port: int, stem: str) -> None:
        self.sock = _connected(device.machine_id, port)
        self._send, self._recv = self.sock.send, self.sock.recv
        self._stem = f"{stem}-{device.machine_id}-".encode()
        self._template = _template(device, self._stem)
        self._rest = b""
        self.count = 0
        self.sent_ns = 0
        self.request_id = b""

    def ask(self, at_ms: int, acknowledge: bytes = b"") -> None:
        """Send the next request behind the acknowledgement of the last decision."""
        self.count += 1
        number = b"%08d" % self.count
        self.request_id = self._stem + number
        packet_id = (self.count % 65_535 + 1).to_bytes(2, "big")
        packet = acknowledge + self._template % (packet_id, at_ms, number, number)
        self.sent_ns = time.perf_counter_ns()
        sent = self._send(packet)
        assert sent == len(packet), "a request is far smaller than a socket's buffer"

    def answers(self) -> tuple[bytes, bytes]:
        """The payload of the answer that has arrived, if one has, and the acknowledgement it is owed."""
        data = self._rest + self._recv(_RECV_BYTES)
        payload, owed, end = b"", b"", 0
        for first, start, end in packets.whole_packets(data):
            if first & 0xF0 == packets.PUBLISH:
                body = start + 2 + int.from_bytes(data[start : start + 2], "big")
                owed += packets.puback(data[body : body + 2])
                payload = data[body + 2 : end]
        self._rest = data[end:]
        return payload, owed

    def close(self) -> None:
        self.sock.settimeout(HANDSHAKE_TIMEOUT_S)
        self.sock.sendall(packets.DISCONNECT)
        self.sock.close()


class Load:
    """All devices of one run. ``check(payload, request id)`` says whether an answer is the right one."""

    def __init__(self, devices: list[Device], port: int, check: Check, stem: str) -> None:
        self._check = check
        self._clients = {}
        self._epoll = select.epoll()
        for device in devices:
            client = Client(device, port, stem)
            self._clients[client.sock.fileno()] = client
            self._epoll.register(client.sock, select.EPOLLIN)
        self._latencies: array[int] = array("q")
        self._waiting = 0
        self._wrong = 0
        self._first_wrong = ""

    def run(self, warm_up_s: float, seconds: float, watched: dict[str, int]) -> Result:
        """Warm up, measure, let the last answers come in. ``watched`` names processes whose CPU time is measured."""
        gc.collect()
        gc.freeze()
        for client in self._clients.values():
            client.ask(time.time_ns() // 1_000_000)
        self._waiting = len(self._clients)
        self._serve(warm_up_s)
        before, latencies, started = _cpu(watched), array("q"), time.perf_counter()
        self._latencies = latencies
        self._serve(seconds)
        took, after = time.perf_counter() - started, _cpu(watched)
        self._latencies = array("q")
        self._drain()
        spent = {name: after[name] - before[name] for name in after}
        ordered = array("q", sorted(latencies))
        return Result(len(self._clients), took, ordered, self._wrong, self._waiting, spent, self._first_wrong)

    def close(self) -> None:
        self._epoll.close()
        for client in self._clients.values():
            client.close()

    def _serve(self, seconds: float) -> None:
        """Answer each right answer with the next request, until the time is over."""
        clients, poll, clock = self._clients, self._epoll.poll, time.perf_counter_ns
        until = clock() + int(seconds * 1e9)
        while clock() < until:
            ready = poll(_POLL_S)
            at_ms = time.time_ns() // 1_000_000
            for descriptor, _ in ready:
                client = clients[descriptor]
                payload, owed = client.answers()
                if payload:
                    self._latencies.append(clock() - client.sent_ns)
                    if not self._check(payload, client.request_id):
                        self._note_wrong(payload)
                    client.ask(at_ms, owed)

    def _drain(self) -> None:
        """Take the answers that are still under way, and ask nothing more."""
        deadline = time.monotonic() + DRAIN_S
        while self._waiting and time.monotonic() < deadline:
            for descriptor, _ in self._epoll.poll(_POLL_S):
                client = self._clients[descriptor]
                payload, owed = client.answers()
                if payload:
                    client.sock.send(owed)
                    self._waiting -= 1
                    if not self._check(payload, client.request_id):
                        self._note_wrong(payload)

    def _note_wrong(self, payload: bytes) -> None:
        self._first_wrong = self._first_wrong or payload.decode(errors="replace")
        self._wrong += 1


def measure(load: Load, warm_up_s: float, seconds: float, watched: dict[str, int]) -> Result:
    """One run with its connections closed at the end."""
    try:
        return load.run(warm_up_s, seconds, watched)
    finally:
        load.close()


def _connected(machine_id: str, port: int) -> socket.socket:
    """A connection that has subscribed to the machine's decisions."""
    sock = socket.create_connection(("127.0.0.1", port), HANDSHAKE_TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(packets.connect(f"bench-{machine_id}") + packets.subscribe(decision(machine_id)))
    answer = b""
    while len(answer) < 9 and (more := sock.recv(9 - len(answer))):
        answer += more
    if answer[3:4] != b"\x00" or answer[4:5] != bytes([packets.SUBACK]) or answer[8:] != b"\x01":
        raise ConnectionError(f"the broker refused {machine_id}: {answer.hex()}")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_AT_BYTES)
    sock.setblocking(False)
    return sock


def _template(device: Device, stem: bytes) -> bytes:
    payload = (
        f'{{"at":{_AT},"challenge":"bench-{_BLANK}","credential":"{device.badge}","method":"scan",'
        f'"request_id":"{stem.decode()}{_BLANK}"}}'
    )
    template = packets.publish_template(to_gateway(device.machine_id, "request"), payload.encode())
    return template.replace(str(_AT).encode(), b"%d").replace(_BLANK.encode(), b"%b")


def _cpu(watched: dict[str, int]) -> dict[str, float]:
    return {"load": time.process_time()} | {name: cpu_seconds(pid) for name, pid in watched.items()}


def main(arguments: list[str]) -> None:
    """Print one line of figures; exits with 1 when an answer was wrong or missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help="mqtt://127.0.0.1:PORT")
    parser.add_argument("--registry", type=Path, help="folder of CSV files; without it the answers are not checked")
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds that are not measured")
    parser.add_argument("--pid", type=int, action="append", default=[], help="also show this process's CPU time")
    chosen = parser.parse_args(arguments)
    registry: Path | None = chosen.registry
    devices = from_registry(registry, chosen.devices) if registry else made_up(chosen.devices)
    port, stem = int(chosen.broker.rpartition(":")[2]), f"b{time.time_ns() // 1_000_000:x}"
    load = Load(devices, port, allowed if registry else answered, stem)
    result = measure(load, chosen.warm_up, chosen.seconds, {str(pid): pid for pid in chosen.pid})
    print(_line(result))
    if result.first_wrong:
        print(f"first wrong answer: {result.first_wrong}")
    sys.exit(bool(result.wrong or result.unanswered))


def _line(result: Result) -> str:
    quantiles = ", ".join(f"p{share * 100:g} {result.quantile_ms(share):.3f} ms" for share in (0.5, 0.95, 0.99, 1))
    spent = ", ".join(f"{name} {result.cpu_us(name):.1f} us" for name in result.cpu_s)
    return (
        f"{result.devices} devices: {result.rate:,.0f}/s, {quantiles}; wrong {result.wrong}, "
        f"unanswered {result.unanswered}; CPU per round trip: {spent}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
