"""Whether somebody has the right to weld at all: somewhere, some process, whatever machine. Pure."""

from collections.abc import Iterable
from datetime import date

from gateway.core.model import Certificate, Employment
from gateway.core.rules import CERTIFICATE_CHECKS, employed_on


def may_weld(
    status: str | None, certificates: Iterable[Certificate], employments: Iterable[Employment], today: date
) -> bool:
    """A person who is not blocked, with a certificate in order and work at a firm; ``employments`` are those at firms
    that may work."""
    return (
        status == "active"
        and any(in_order(certificate, today) for certificate in certificates)
        and any(employed_on(employment, today) for employment in employments)
    )


def in_order(certificate: Certificate, today: date) -> bool:
    """Nothing is wrong with it but, perhaps, that nobody has verified it yet."""
    return not any(
        failed(certificate, today) for code, failed in CERTIFICATE_CHECKS.items() if code != "certificate_unverified"
    )
