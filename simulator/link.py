"""A chip's own MQTT connection on the event loop. Speaks the chip's language: events in, ``Publish`` out.

The chip keeps what is not acknowledged, so each connection starts with an empty paho client and nothing is ever sent
twice behind the chip's back. MQTT 3.1.1, persistent session, QoS 1 both ways.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from gateway.wire import topics
from simulator.chip import WILL
from simulator.signals import Connected, Delivered, Disconnected, Event, MessageArrived, Publish

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.2
LAST_BACKOFF_S = 10.0
CONNECTING_AT_ONCE = 32
"""Half-open connections of one fleet: a broker's listen queue is not endless."""
FILES_BESIDE_LINKS = 200
"""Open files that the process needs besides one socket per chip."""


class BrokerUrlError(Exception):
    """Not a usable broker address; the message says what is wrong and shows one that works."""


class CredentialsError(Exception):
    """A chip has nothing to say who it is with; the message names the option, the machine and the remedy."""


class Broker(Struct, frozen=True):
    """Where the broker is and who we are to it: one user for all chips, or each chip by itself."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    tls_dir: Path | None = None
    passwords: Mapping[str, str] = {}

    def user(self, machine_id: str) -> tuple[str | None, str | None]:
        """User name and password of a chip: its own where chips have passwords, else those of the URL."""
        return (machine_id, self.passwords[machine_id]) if self.passwords else (self.username, self.password)

    def tls_context(self, machine_id: str) -> ssl.SSLContext:
        """For a chip's connection, with its own certificate where there is a folder of them; raises OSError."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.tls_dir is not None:
            context.load_cert_chain(*_certificate_files(self.tls_dir, machine_id), password="")
        return context

    def check(self, machine_id: str) -> None:
        """Raises CredentialsError where the chip lacks a certificate or password that the others have."""
        if self.passwords and machine_id not in self.passwords:
            raise CredentialsError(
                f"--passwords: none for {machine_id}; make one: weldgate broker password {machine_id}"
            )
        for path in _certificate_files(self.tls_dir, machine_id) if self.tls_dir is not None else ():
            if not path.is_file():
                raise CredentialsError(f"--tls-dir: no {path}; make it: weldgate pki issue {machine_id}")


def _certificate_files(folder: Path, machine_id: str) -> tuple[Path, Path]:
    return folder / f"{machine_id}.crt", folder / f"{machine_id}.key"


def parse_passwords(text: str) -> dict[str, str]:
    """Passwords by machine from lines ``MACHINE_ID:PASSWORD``; raises CredentialsError, which quotes no password."""
    passwords = {}
    for number, line in enumerate(text.splitlines(), 1):
        machine_id, colon, password = line.partition(":")
        if not (machine_id and colon and password):
            raise CredentialsError(
                f"--passwords: line {number} is not MACHINE_ID:PASSWORD, as weldgate broker password --out writes it"
            )
        passwords[machine_id] = password
    return passwords


def parse_broker(url: str, ca_file: str | None = None) -> Broker:
    """``mqtt://[user:password@]host[:port]`` or ``mqtts://…``; raises BrokerUrlError, which never quotes a password.

    ``ca_file`` is a PEM file of the authorities to trust instead of the system's.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerUrlError(f"not a URL ({error}); write for example mqtt://127.0.0.1:1883") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise BrokerUrlError("needs the form mqtt://host:port or mqtts://user:password@host:port")
    tls = parts.scheme == "mqtts"
    username, password = parts.username, parts.password
    return Broker(
        parts.hostname,
        port or (8883 if tls else 1883),
        tls,
        unquote(username) if username else None,
        unquote(password) if password else None,
        ca_file,
    )


def allow_open_files(links: int) -> int:
    """Raise the soft limit of open files for so many links; returns how many links the limit carries."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = links + FILES_BESIDE_LINKS
    if soft < wanted and (hard == resource.RLIM_INFINITY or soft < hard):
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - FILES_BESIDE_LINKS


class Link:
    """One connection. ``feed`` takes the chip's events; ``refusal`` is why the broker last turned us away.

    Raises CredentialsError at once where the chip cannot say who it is.
    """

    def __init__(
        self, broker: Broker, machine_id: str, feed: Callable[[Event], None], slots: asyncio.Semaphore, random: Random
    ) -> None:
        broker.check(machine_id)
        self.online = False
        self.refusal = ""
        self._broker = broker
        self._machine_id = machine_id
        self._feed = feed
        self._slots = slots
        self._random = random
        self._client: Client | None = None
        self._socket: Any = None
        self._down = asyncio.Event()
        self._keys: dict[int, int] = {}
        self._away_s = 0.0

    async def run(self) -> None:
        """Connect, stay connected, reconnect with jittered backoff; until cancelled."""
        backoff_s = FIRST_BACKOFF_S
        try:
            while True:
                if await self._connect():
                    await self._down.wait()
                    backoff_s = FIRST_BACKOFF_S
                away_s, self._away_s = self._away_s, 0.0
                await asyncio.sleep(away_s or backoff_s * self._random.uniform(0.5, 1.5))
                backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)
        finally:
            self.cut()

    def publish(self, message: Publish) -> None:
        """Publish at QoS 1; without a connection it goes nowhere (the chip knows)."""
        if self._client is None or not self.online:
            return
        info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        if message.key is not None:
            self._keys[info.mid] = message.key

    def cut(self, away_s: float = 0.0) -> None:
        """Break the connection as a dead modem does, and stay away for ``away_s`` seconds. The last will follows."""
        self._away_s = away_s
        if self._client is not None and self._socket is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                self._socket.shutdown(socket.SHUT_RDWR)
            self._readable()

    def keep_alive(self) -> None:
        """Once a second."""
        if self._client is not None:
            self._client.loop_misc()

    async def _connect(self) -> bool:
        self._down.clear()
        self._keys.clear()
        client = self._new_client()
        async with self._slots:
            try:
                await asyncio.to_thread(client.reconnect)
            except OSError as error:
                self.refusal = str(error)
                return False
        self._client = client
        self._attach(client)
        return True

    def _new_client(self) -> Client:
        """A client that is about to connect; its socket is not on the event loop yet, so CONNECT goes out at once."""
        broker, machine_id = self._broker, self._machine_id
        client = Client(CallbackAPIVersion.VERSION2, client_id=machine_id, clean_session=False)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)
        client.will_set(topics.to_gateway(machine_id, "status"), WILL, qos=1, retain=True)
        username, password = broker.user(machine_id)
        if username is not None:
            client.username_pw_set(username, password)
        if broker.tls:
            client.tls_set_context(broker.tls_context(machine_id))
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = _no_delay
        client.on_socket_close = self._on_socket_close
        client.connect_async(broker.host, broker.port, KEEPALIVE_S)
        return client

    def _attach(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        self._socket = client.socket()
        client.on_socket_register_write = lambda _client, _data, sock: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = _stop_writing
        loop.add_reader(self._socket, self._readable)
        if client.want_write():
            client.loop_write()

    def _readable(self) -> None:
        """TLS may hold decrypted packets of which the socket shows nothing."""
        if self._client is None:
            return
        self._client.loop_read()
        while isinstance(self._socket, ssl.SSLSocket) and self._client is not None and self._socket.pending():
            self._client.loop_read()

    # --- callbacks of paho --------------------------------------------------------------------------------------

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
            return
        filters = (topics.decision(self._machine_id), topics.command(self._machine_id))
        client.subscribe([(name, 1) for name in filters])
        self.online, self.refusal = True, ""
        self._feed(Connected())

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._feed(MessageArrived(message.topic, bytes(message.payload), message.retain))

    def _on_publish(self, _client: Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        key = self._keys.pop(mid, None)
        if key is not None:
            self._feed(Delivered(key))

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        self._client = None
        self._down.set()
        if self.online:
            self.online = False
            self._feed(Disconnected())

    def _on_socket_close(self, _client: Client, _data: Any, sock: Any) -> None:
        if self._socket is sock:
            asyncio.get_running_loop().remove_reader(sock)
            self._socket = None


def _no_delay(_client: Client, _data: Any, sock: Any) -> None:
    """Without it every QoS 1 answer waits 40 ms for Nagle."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _stop_writing(_client: Client, _data: Any, sock: Any) -> None:
    asyncio.get_running_loop().remove_writer(sock)
