"""What the last check of the ledger found, in a file from which node_exporter hands it to Prometheus."""

from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile


@dataclass(frozen=True, slots=True)
class Audited:
    """A ledger of so many ``records`` was checked; ``at`` is Unix seconds UTC."""

    intact: bool
    records: int
    at: float


def audit_metrics(audited: Audited) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauges = (
        ("weldgate_audit_intact", "1 where the last check of the ledger found nothing wrong.", audited.intact),
        ("weldgate_audit_records", "Records in the ledger at its last check.", audited.records),
        ("weldgate_audit_timestamp_seconds", "When the ledger was last checked.", audited.at),
    )
    for name, about, value in gauges:
        Gauge(name, about, registry=registry).set(value)
    return registry


def write_audited(textfile: Path, audited: Audited) -> None:
    """Whoever reads meanwhile sees the old file or the new one. Raises OSError."""
    write_to_textfile(str(textfile), audit_metrics(audited))
