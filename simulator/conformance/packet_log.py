"""What went over the line and what was done to the device, for a person who looks for the cause of a failure."""

import time
from collections import deque

from simulator.conformance import mqtt
from simulator.conformance.mqtt import Packet

KEPT = 2000
PAYLOAD_SHOWN = 240
"""Characters; a grant is longer, its end says nothing to a reader."""


class PacketLog:
    """Lines with the seconds since the start."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._since = 0
        self._total = 0
        self._began = time.monotonic()

    def begin(self, title: str) -> None:
        """A new case: ``excerpt`` begins here."""
        self._since = self._total
        self.note(f"=== {title}")

    def note(self, text: str) -> None:
        self._total += 1
        self._lines.append(f"{time.monotonic() - self._began:9.3f}  {text}")

    def packet(self, arrow: str, packet: Packet, version: int) -> None:
        self.note(f"{arrow} {describe(packet, version)}")

    def excerpt(self, lines: int) -> tuple[str, ...]:
        """The last lines of the present case."""
        wanted = min(lines, self._total - self._since, len(self._lines))
        return tuple(list(self._lines)[len(self._lines) - wanted :])


def describe(packet: Packet, version: int) -> str:
    """One line for a packet."""
    name = mqtt.KIND_NAMES.get(packet.kind, f"packet {packet.first:#04x}")
    try:
        if packet.kind == mqtt.PUBLISH:
            return f"{name} {_published(mqtt.read_publish(packet, version))}"
        if packet.kind == mqtt.CONNECT:
            return f"{name} {_connected(mqtt.read_connect(packet))}"
        if packet.kind == mqtt.SUBSCRIBE:
            return f"{name} {', '.join(text for text, _ in mqtt.read_subscribe(packet, version).filters)}"
        if packet.kind in (mqtt.PUBACK, mqtt.SUBACK):
            return f"{name} {mqtt.read_packet_id(packet)}"
    except mqtt.ProtocolError as error:
        return f"{name} ({error})"
    return name


def _published(message: mqtt.Publish) -> str:
    marks = f"#{message.packet_id} q{message.qos}{' retain' if message.retain else ''}{' dup' if message.dup else ''}"
    text = message.payload.decode("utf-8", "replace")
    shown = text if len(text) <= PAYLOAD_SHOWN else f"{text[:PAYLOAD_SHOWN]}… ({len(message.payload)} bytes)"
    return f"{marks} {message.topic} {shown}"


def _connected(message: mqtt.Connect) -> str:
    session = "clean" if message.clean else "kept session"
    will = f", will {message.will.topic}" if message.will else ", no will"
    return f"level {message.version} as {message.client_id}, {session}{will}"
