"""What certificates are made for, and which names may be in them."""

import ipaddress
import re

from msgspec import Struct

from gateway.pki.folder import Kind, PkiError
from gateway.wire import acl

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"^(?=.{{1,64}}$){_LABEL}(\.{_LABEL})*(?!\n)$")
_FORMS: dict[Kind, str] = {
    "machine": "a machine's id has 3 to 32 of A-Z 0-9 -, and begins with no -",
    "gateway": "an instance has 1 to 32 letters, digits, - or _",
    "reader": "a reader has 1 to 32 of a-z 0-9 -, and begins with no -",
    "server": "give DNS names of at most 64 characters or IP addresses",
}


class Order(Struct, frozen=True):
    """A certificate that is wanted. ``name`` becomes the common name; ``hosts`` are a server's names and addresses."""

    kind: Kind
    name: str
    hosts: tuple[str, ...] = ()


def for_server(hosts: tuple[str, ...]) -> Order:
    """One certificate for all names and addresses of one broker."""
    return Order("server", hosts[0], hosts)


def check(order: Order) -> None:
    """INVARIANT: a name says whose it is, so nobody is issued a name of another kind. Raises PkiError."""
    if order.kind == "server":
        wrong = [host for host in order.hosts if not is_host(host)]
    else:
        wrong = [] if acl.role_of(order.name) == order.kind else [order.name]
    if wrong:
        raise PkiError(f"{order.kind} {wrong[0]!r}: not a name of this kind; {_FORMS[order.kind]}")


def is_host(host: str) -> bool:
    return is_address(host) or _HOST.match(host) is not None


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
