"""The figures of a whole benchmark, as they are kept in docs/benchmark.json."""

from statistics import median

from msgspec import Struct

from tests.bench.load import Result

SHARES = tuple(share / 1000 for share in (1, 5, *range(10, 1000, 10), 995, 999))
"""Where a latency curve is sampled."""


class Round(Struct, frozen=True):
    """One measured window. Latencies in milliseconds, processor time in microseconds per answer."""

    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    responder_us: float
    broker_us: float
    load_us: float
    wrong: int
    unanswered: int
    curve_ms: tuple[float, ...]


class Leg(Struct, frozen=True):
    """One responder under one number of devices; its rounds were interleaved with the other responder's."""

    responder: str
    devices: int
    rounds: tuple[Round, ...]

    def median(self, field: str) -> float:
        return float(median(getattr(one, field) for one in self.rounds))

    @property
    def faults(self) -> int:
        """Answers that were wrong or never came."""
        return sum(one.wrong + one.unanswered for one in self.rounds)


class Process(Struct, frozen=True):
    """A responder's own figures: seconds until it took work, memory before and after the load."""

    responder: str
    ready_s: float
    memory_before_mib: float
    memory_after_mib: float


class Machine(Struct, frozen=True):
    cpu: str
    cores: int
    kernel: str
    python: str
    mosquitto: str


class Profile(Struct, frozen=True):
    """One run of the benchmark over one size of registry."""

    profile: str
    seconds: float
    machine: Machine
    processes: tuple[Process, ...]
    legs: tuple[Leg, ...]

    def leg(self, responder: str, devices: int) -> Leg | None:
        return next((leg for leg in self.legs if (leg.responder, leg.devices) == (responder, devices)), None)

    @property
    def device_counts(self) -> list[int]:
        return sorted({leg.devices for leg in self.legs})

    @property
    def faults(self) -> int:
        return sum(leg.faults for leg in self.legs)


def round_of(result: Result, responder: str) -> Round:
    p50, p95, p99, longest = (result.quantile_ms(share) for share in (0.5, 0.95, 0.99, 1))
    return Round(
        rate=round(result.rate, 1),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=longest,
        responder_us=round(result.cpu_us(responder), 1),
        broker_us=round(result.cpu_us("broker"), 1),
        load_us=round(result.cpu_us("load"), 1),
        wrong=result.wrong,
        unanswered=result.unanswered,
        curve_ms=tuple(result.quantile_ms(share) for share in SHARES),
    )
