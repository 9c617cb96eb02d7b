"""An MQTT broker as far as chips and gateways see it: QoS 1, persistent sessions, retained status, last wills.

At least once: what was not acknowledged goes out again, in order, after a reconnect. Gateways share their
subscription, each message to one of them. A crash loses what was not persisted, which may be everything.
"""

from collections import deque
from random import Random

from gateway.wire import topics
from tests.simulation.network import Client, Connection
from tests.simulation.statistics import Statistics
from tests.simulation.timeline import Timeline

GATEWAY_KINDS = frozenset(topics.CHIP_TOPICS)
RECORDED = frozenset(("request", "decision", "command"))
Message = tuple[str, bytes, bool]
"""Topic, payload, retained."""


class Session:
    """What a broker keeps for one client identity. ``pending`` holds what it has not acknowledged, in order."""

    __slots__ = ("client_id", "connection", "mid", "pending", "will")

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.connection: Connection | None = None
        self.mid = 0
        self.pending: dict[int, Message] = {}
        self.will: Message | None = None


class Broker:
    """``gateways`` are the members of the shared subscription; every other client is a chip with two topics of its
    own, its decisions and its commands."""

    def __init__(self, timeline: Timeline, random: Random, stats: Statistics, *, persistent: bool) -> None:
        self._timeline = timeline
        self._random = random
        self._stats = stats
        self._persistent = persistent
        self.up = True
        self.sessions: dict[str, Session] = {}
        self.gateways: list[str] = []
        self.retained: dict[str, bytes] = {}
        self.recorded: deque[tuple[str, bytes]] = deque(maxlen=100)
        """Requests and answers that somebody may say again."""
        self._owner: dict[str, str] = {}

    # --- connections ---

    def dial(self, client: Client, topics_of_it: tuple[str, ...], will: Message | None) -> None:
        """A client tries to connect: two round trips, the second with its subscriptions."""
        line = client.line
        if not self.up or max(line.up_until, line.down_until) > self._timeline.now:
            self._timeline.after(1_000, client.on_unreachable)
            return
        connection = Connection(client, self._timeline, self._stats, self.lost)
        connection.up(self._accept, topics_of_it, will, packet=False)

    def _accept(self, connection: Connection, topics_of_it: tuple[str, ...], will: Message | None) -> None:
        if not self.up:
            connection.close_broker_end()
            return
        client_id = connection.client.client_id
        session = self.sessions.get(client_id)
        resumed = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id)
        if session.connection is not None:
            self.lost(session.connection)  # a second connection of the same identity takes over
        session.connection, session.will = connection, will
        for topic in topics_of_it:
            self._owner[topic] = client_id
        connection.down(_tell_connected, resumed, packet=False)
        for mid, message in session.pending.items():
            connection.down(_deliver, mid, *message)
        if client_id in self.gateways:
            for topic, payload in self.retained.items():
                self._send(session, topic, payload, True)

    def lost(self, connection: Connection) -> None:
        """A connection is over without a DISCONNECT: its will is published."""
        connection.close_broker_end()
        session = self.sessions.get(connection.client.client_id)
        if session is not None and session.connection is connection:
            session.connection = None
            if session.will is not None:
                will, session.will = session.will, None
                self.publish(*will)

    def disconnected(self, connection: Connection) -> None:
        """An orderly DISCONNECT: the will is dropped."""
        session = self.sessions.get(connection.client.client_id)
        if session is not None and session.connection is connection:
            session.will = None

    def crash(self, down_ms: int) -> None:
        """The process dies. Without persistence sessions, retained messages and all that waits are gone."""
        self.up = False
        for session in self.sessions.values():
            if session.connection is not None:
                session.connection.close_broker_end()
                session.connection = session.will = None
        if not self._persistent:
            self.sessions.clear()
            self.retained.clear()
            self._owner.clear()
        self._timeline.after(down_ms, self._start)

    def _start(self) -> None:
        self.up = True

    # --- messages ---

    def from_client(self, connection: Connection, mid: int, topic: str, payload: bytes, retain: bool) -> None:
        """A client's PUBLISH; its acknowledgement says that the broker has it."""
        self.publish(topic, payload, retain)
        connection.down(_acknowledge, mid)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Route a message to whoever subscribes to its topic."""
        self._stats.count("messages")
        if retain:
            self.retained[topic] = payload
        kind = topic.rpartition("/")[2]
        if kind in RECORDED:
            self.recorded.append((topic, payload))
        if kind in GATEWAY_KINDS:
            member = self._member()
            if member is not None:
                self._send(member, topic, payload, False)
        elif (owner := self._owner.get(topic)) is not None:
            self._send(self.sessions[owner], topic, payload, False)

    def to_chip(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Something on a chip's topic that no gateway sent."""
        owner = self._owner.get(topic)
        if owner is not None and owner in self.sessions:
            self._send(self.sessions[owner], topic, payload, retained)

    def acknowledged(self, connection: Connection, mid: int) -> None:
        """A client's PUBACK."""
        session = self.sessions.get(connection.client.client_id)
        if session is not None and session.connection is connection:
            session.pending.pop(mid, None)

    def _member(self) -> Session | None:
        """The gateway whose turn it is; one that is not connected only where none is."""
        known = [self.sessions[name] for name in self.gateways if name in self.sessions]
        candidates = [session for session in known if session.connection is not None] or known
        if not candidates:
            return None
        if len(candidates) == 1:
            return candidates[0]
        return candidates[int(self._random.random() * len(candidates))]

    def _send(self, session: Session, topic: str, payload: bytes, retained: bool) -> None:
        session.mid += 1
        session.pending[session.mid] = (topic, payload, retained)
        if session.connection is not None:
            session.connection.down(_deliver, session.mid, topic, payload, retained)


def _tell_connected(connection: Connection, resumed: bool) -> None:
    connection.client.on_connected(connection, resumed=resumed)


def _deliver(connection: Connection, mid: int, topic: str, payload: bytes, retained: bool) -> None:
    connection.client.on_publish(connection, mid, topic, payload, retained)


def _acknowledge(connection: Connection, mid: int) -> None:
    connection.client.on_acknowledged(connection, mid)
