"""The bare echo: paho on asyncio and uvloop answers each request with the same payload. It decides nothing.

What it reaches is what broker, load and client library leave for any responder in Python.
"""

import argparse
import asyncio
import socket
import sys
from typing import Any

import paho.mqtt.client as mqtt
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from gateway.wire.topics import ROOT, decision

ANSWER = b'{"grant":"' + b"e" * 680 + b'"}'
"""As long as an allow with its grant."""
READY = "ready"
_MISC_EVERY_S = 1.0


class Echo:
    """One client on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-echo")
        self._client.max_inflight_messages_set(0)
        self._client.on_socket_open = self._opened
        self._client.on_socket_close = self._closed
        self._client.on_socket_register_write = self._wants_to_write
        self._client.on_socket_unregister_write = self._has_written
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/request", qos=1)
        self._client.on_subscribe = lambda *_: print(READY, flush=True)
        self._client.on_message = self._answer

    async def run(self, port: int) -> None:
        self._client.connect("127.0.0.1", port)
        while self._client.loop_misc() == mqtt.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho's keep-alive is polled
            await asyncio.sleep(_MISC_EVERY_S)

    def _opened(self, client: mqtt.Client, _data: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(sock.fileno(), client.loop_read)

    def _closed(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        self._loop.remove_reader(sock.fileno())

    def _wants_to_write(self, client: mqtt.Client, _data: object, sock: Any) -> None:
        self._loop.add_writer(sock.fileno(), client.loop_write)

    def _has_written(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _answer(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        machine_id = message.topic.split("/")[2]
        client.publish(decision(machine_id), ANSWER, qos=1)


async def _run(port: int) -> None:
    await Echo().run(port)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.echo", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the broker on 127.0.0.1")
    uvloop.run(_run(parser.parse_args(arguments).port))


if __name__ == "__main__":
    main(sys.argv[1:])
