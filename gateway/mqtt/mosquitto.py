"""The configuration of a production Mosquitto 2.0: who may connect, what each may do, how much it holds. Pure texts."""

from collections.abc import Iterable
from math import ceil
from pathlib import PurePath

from msgspec import Struct

from gateway.wire import acl, topics

CONFIG, ACL, PASSWORDS = "weldgate.conf", "weldgate.acl", "weldgate.passwords"
AUTHORITY, REVOKED, SERVER_CERT, SERVER_KEY = "ca.crt", "crl.pem", "server.crt", "server.key"
"""Files of the configuration's folder."""
MESSAGES_AN_HOUR = 400
"""Of one machine at most: 360 usage reports, one every 10 s, and what is asked, repeated and reported besides."""
LEAST_QUEUED = 10_000
"""For a handful of machines, too, a queue that a storm of reconnects does not fill."""
QUEUED_BYTES = 700
"""One waiting message in Mosquitto 2.0's memory: 560 measured with a usage report, and some room."""
RESERVE_MIB = 256
"""Connections, retained presences and the queues of chips, beside what waits for the gateway."""
LEAST_MEMORY_MIB = 1_024
INFLIGHT_MESSAGES = 1_000
MESSAGE_BYTES = 8_192
"""The protocol's payloads have at most 4 KiB; the rest is room for a topic and MQTT 5 properties."""
KEEPALIVE_S = 600
"""An MQTT 5 client that wants to be silent for longer is told this value; Mosquitto holds no older one to it."""
EXPIRATION = "30d"
"""A session that nobody has used for so long is forgotten, with what waits in it."""
AUTOSAVE_S = 60
_MOSQUITTO_ACCESS: dict[acl.Access, str] = {"publish": "write", "subscribe": "read"}


class Plan(Struct, frozen=True):
    """What one broker is to be: where its files lie, which gateways and readers it serves, its ports and limits.

    ``password_port`` 0 means no listener for chips without certificates. ``address`` "" means every address.
    ``machines`` and ``hours``: whose messages wait for a gateway that is away so long; ``memory_mib`` 0 means what that
    takes, and 1,024 at least.
    """

    folder: PurePath
    gateways: tuple[str, ...]
    readers: tuple[str, ...] = ()
    address: str = ""
    port: int = 8883
    password_port: int = 0
    max_connections: int = 10_000
    machines: int = 2_000
    hours: float = 1.0
    memory_mib: int = 0

    @property
    def queued_messages(self) -> int:
        """How many may wait for one client. What comes after that is dropped, though its sender was acknowledged."""
        return max(LEAST_QUEUED, ceil(self.machines * self.hours * MESSAGES_AN_HOUR))

    @property
    def needed_mib(self) -> int:
        """Memory for the queue and all else: with less, the broker runs out of it before the queue is full."""
        return ceil(self.queued_messages * QUEUED_BYTES / 2**20) + RESERVE_MIB

    @property
    def limit_mib(self) -> int:
        return self.memory_mib or max(LEAST_MEMORY_MIB, self.needed_mib)


def access_list(gateways: Iterable[str], readers: Iterable[str]) -> str:
    """Mosquitto's acl_file. What chips may do is a pattern; it applies to every name, so others are kept from it."""
    named = [acl.gateway_name(instance) for instance in gateways] + [acl.reader_name(name) for name in readers]
    return "\n\n".join(
        ["# Written by `weldgate broker config`: changes belong there.", *map(_of_user, named), _chips()]
    )


def _of_user(name: str) -> str:
    rights = [f"topic {_MOSQUITTO_ACCESS[right.access]} {right.topic}" for right in acl.rights_of(name)]
    return "\n".join([f"user {name}", f"topic deny {topics.ROOT}/{name}/#", *rights])


def _chips() -> str:
    lines = [
        f"pattern {_MOSQUITTO_ACCESS[right.access]} {right.topic.replace(acl.OWN, '%u')}"
        for right in acl.RIGHTS["machine"]
    ]
    return "\n".join(lines) + "\n"


def configuration(plan: Plan) -> str:
    """mosquitto.conf, without what the distribution's own file says already (where to log and where to persist)."""
    parts = [_general(plan), _limits(plan), _certificates(plan)]
    if plan.password_port:
        parts.append(_passwords(plan))
    return "\n\n".join(parts) + "\n"


def _general(plan: Plan) -> str:
    files = [f"acl_file {plan.folder / ACL}"]
    if plan.password_port:
        files.append(f"password_file {plan.folder / PASSWORDS}")
    return "\n".join(
        [
            "# Mosquitto 2.0 for WeldGate in production. Written by `weldgate broker config`: changes belong there.",
            "# 生产环境的 Mosquitto 配置，由 weldgate broker config 生成；请改命令参数，不要改本文件。",
            "",
            "# Nobody without a name; each name only its own topics. 不允许匿名；每个名称只能用自己的主题。",
            "per_listener_settings false",
            "allow_anonymous false",
            *files,
        ]
    )


def _limits(plan: Plan) -> str:
    return "\n".join(
        [
            "# Messages wait for a gateway that is down, also across a restart. 网关停机时消息排队，重启后还在。",
            f"# Room for {plan.machines:,} machines that all weld for {plan.hours:g} h; then what is new is dropped.",
            f"# 可容纳 {plan.machines:,} 台焊机同时作业 {plan.hours:g} 小时的消息；再多则丢弃新消息。",
            f"max_queued_messages {plan.queued_messages}",
            f"max_inflight_messages {INFLIGHT_MESSAGES}",
            "persistence true",
            f"autosave_interval {AUTOSAVE_S}",
            f"persistent_client_expiration {EXPIRATION}",
            "",
            "# Answers go out at once; one client cannot fill the memory. 答复立即发出；单个客户端占不满内存。",
            "set_tcp_nodelay true",
            f"message_size_limit {MESSAGE_BYTES}",
            f"memory_limit {plan.limit_mib * 2**20}",
            f"max_keepalive {KEEPALIVE_S}",
            "",
            "# Who comes and goes, and what goes wrong. 记录连接、断开和错误。",
            "connection_messages true",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        ]
    )


def _certificates(plan: Plan) -> str:
    return "\n".join(
        [
            "# By certificate: its name is user name and client id, whatever the client says.",
            "# 证书登录：证书上的名称即用户名和客户端标识，客户端自报的一律不算。",
            *_listener(plan, plan.port),
            f"cafile {plan.folder / AUTHORITY}",
            f"crlfile {plan.folder / REVOKED}",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
        ]
    )


def _passwords(plan: Plan) -> str:
    return "\n".join(
        [
            "# By password, for chips that can hold no certificate: the user name is the client id.",
            "# 密码登录，供不能存证书的芯片使用：用户名即客户端标识。",
            *_listener(plan, plan.password_port),
            "require_certificate false",
            "use_username_as_clientid true",
        ]
    )


def _listener(plan: Plan, port: int) -> list[str]:
    return [
        f"listener {port} {plan.address}".rstrip(),
        f"max_connections {plan.max_connections}",
        f"certfile {plan.folder / SERVER_CERT}",
        f"keyfile {plan.folder / SERVER_KEY}",
        "tls_version tlsv1.2",
    ]
