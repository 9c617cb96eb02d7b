"""Connections between clients and the broker: in order and late by some milliseconds, stalled, cut, or hostile.

A connection is what TCP makes of a bad line: bytes come late, but in order, until one end gives up. Loss, duplicates
and a changed order therefore come from broken connections, and without those only in hostile runs.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from msgspec import Struct

from tests.simulation.statistics import Statistics
from tests.simulation.timeline import Timeline

BROKER_PATIENCE = 1.5
"""A broker gives up on a silent client after one and a half times its keep-alive (MQTT 3.1.1, section 3.1.2.10)."""


class Weather(Struct, frozen=True):
    """How the lines of a run are. ``hostile``: the part of packets that is lost, doubled or put out of order."""

    base_ms: int = 20
    jitter_ms: int = 60
    spikes: float = 0.002
    spike_ms: int = 8_000
    hostile: float = 0.0


class Client(Protocol):
    """One end of a line: a chip's modem or a gateway's link."""

    client_id: str
    line: "Line"

    def on_connected(self, connection: "Connection", *, resumed: bool) -> None: ...
    def on_publish(self, connection: "Connection", mid: int, topic: str, payload: bytes, retained: bool) -> None: ...
    def on_acknowledged(self, connection: "Connection", mid: int) -> None: ...
    def on_closed(self, connection: "Connection") -> None: ...
    def on_unreachable(self) -> None: ...


class Line:
    """The way from one client to the broker; it outlives connections. ``*_until``: stalled until then."""

    __slots__ = ("connection", "down_until", "keepalive_ms", "random", "up_until", "weather")

    def __init__(self, random: Random, weather: Weather, keepalive_ms: int) -> None:
        self.random = random
        self.weather = weather
        self.keepalive_ms = keepalive_ms
        self.up_until = 0
        self.down_until = 0
        self.connection: Connection | None = None

    def delay(self) -> int:
        weather = self.weather
        delay = weather.base_ms + int(self.random.random() * weather.jitter_ms)
        if weather.spikes and self.random.random() < weather.spikes:
            delay += int(self.random.random() * weather.spike_ms)
        return delay


class Connection:
    """One TCP connection. Each end closes by itself; what arrives at a closed end is gone."""

    __slots__ = (
        "_down_last",
        "_lost",
        "_stats",
        "_timeline",
        "_up_last",
        "broker_open",
        "client",
        "client_open",
        "line",
    )

    def __init__(self, client: Client, timeline: Timeline, stats: Statistics, lost: Callable[..., None]) -> None:
        self.client = client
        self.line = client.line
        self.client_open = True
        self.broker_open = True
        self._stats = stats
        self._lost = lost
        self._timeline = timeline
        self._up_last = 0
        self._down_last = 0
        self.line.connection = self

    # --- packets ---

    def up(self, take: Callable[..., object], *arguments: Any, packet: bool = True) -> None:
        """From client to broker."""
        times = self._times(packet)
        for _ in range(times):
            when = max(self._timeline.now + self.line.delay(), self.line.up_until)
            self._up_last = when = self._ordered(when, self._up_last, packet)
            self._timeline.at(when, self._arrive_up, take, arguments)

    def down(self, take: Callable[..., object], *arguments: Any, packet: bool = True) -> None:
        """From broker to client."""
        times = self._times(packet)
        for _ in range(times):
            when = max(self._timeline.now + self.line.delay(), self.line.down_until)
            self._down_last = when = self._ordered(when, self._down_last, packet)
            self._timeline.at(when, self._arrive_down, take, arguments)

    def _times(self, packet: bool) -> int:
        """How often a packet arrives."""
        hostile = self.line.weather.hostile
        if not hostile or not packet:
            return 1
        chance = self.line.random.random()
        if chance < hostile:
            self._stats.fault("packet lost")
            return 0
        if chance < 2 * hostile:
            self._stats.fault("packet doubled")
            return 2
        return 1

    def _ordered(self, when: int, last: int, packet: bool) -> int:
        hostile = self.line.weather.hostile
        if hostile and packet and self.line.random.random() < hostile:
            self._stats.fault("packet out of order")
            return when
        return max(when, last)

    def _arrive_up(self, take: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if self.broker_open:
            take(self, *arguments)

    def _arrive_down(self, take: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if self.client_open:
            take(self, *arguments)

    # --- ends ---

    def close_client_end(self, *, silently: bool = False) -> None:
        """The client hangs up; ``silently``: it lost its power, and the broker hears nothing of it."""
        if self.client_open:
            self.client_open = False
            if not silently:
                self.up(self._lost, packet=False)

    def close_broker_end(self) -> None:
        """The broker hangs up, or notices that the client did."""
        if self.broker_open:
            self.broker_open = False
            self.down(_tell_client, packet=False)

    @property
    def stalled(self) -> bool:
        return max(self.line.up_until, self.line.down_until) > self._timeline.now


def _tell_client(connection: Connection) -> None:
    connection.client_open = False
    connection.client.on_closed(connection)


class Network:
    """Stalls lines and lets both ends notice in their time."""

    def __init__(self, timeline: Timeline, on_broker_gives_up: Callable[[Connection], None]) -> None:
        self._timeline = timeline
        self._give_up = on_broker_gives_up

    def stall(self, line: Line, duration: int, *, up: bool = True, down: bool = True) -> None:
        """Nothing gets through one way or both; with both and for long enough it is a partition."""
        until = self._timeline.now + duration
        if up:
            line.up_until = max(line.up_until, until)
        if down:
            line.down_until = max(line.down_until, until)
        connection = line.connection
        if connection is None or duration < line.keepalive_ms:
            return
        client_notices = line.keepalive_ms + int(line.random.random() * line.keepalive_ms)
        self._timeline.after(client_notices, self._client_gives_up, connection)
        if up:
            self._timeline.after(int(line.keepalive_ms * BROKER_PATIENCE), self._broker_gives_up, connection)

    def vanish(self, connection: Connection) -> None:
        """The client is gone without a word."""
        connection.close_client_end(silently=True)
        patience = int(connection.line.keepalive_ms * BROKER_PATIENCE)
        self._timeline.after(patience, self._broker_misses, connection)

    def heal(self, line: Line) -> None:
        line.up_until = line.down_until = 0

    def reset(self, connection: Connection) -> None:
        """Both ends lose it at once."""
        self._give_up(connection)
        if connection.client_open:
            connection.client_open = False
            connection.client.on_closed(connection)

    def _client_gives_up(self, connection: Connection) -> None:
        if connection.client_open and connection.stalled:
            connection.close_client_end()
            connection.client.on_closed(connection)

    def _broker_gives_up(self, connection: Connection) -> None:
        if connection.broker_open and connection.line.up_until > self._timeline.now:
            self._give_up(connection)

    def _broker_misses(self, connection: Connection) -> None:
        if connection.broker_open:
            self._give_up(connection)
