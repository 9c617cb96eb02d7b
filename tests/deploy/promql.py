"""What a PromQL expression asks for: metrics, and the labels that it takes of them."""

from collections.abc import Mapping
from typing import Any

import promql_parser

FROM_SCRAPING = frozenset({"instance", "job"})
"""Labels that Prometheus itself gives to whatever it reads."""
GRAFANA = {"$instance": ".*", "$division": ".*", "$__rate_interval": "10s", "$__range": "1m"}


def without_variables(expr: str) -> str:
    """The expression with what Grafana would put in, for everything and a short time."""
    for name, value in GRAFANA.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable that nobody sets: {expr}"
    return expr


def missing(expr: str, exported: Mapping[str, frozenset[str]]) -> list[str]:
    """What the expression asks for and nobody exports. ``exported``: each metric with the names of its labels.

    >>> missing('sum by (zone) (rate(a{code="1"}[5m])) / b', {"a": frozenset({"code"})})
    ['b', 'zone']
    """
    asked: dict[str, set[str]] = {}
    grouped: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, f"a selector without a name: {expr}"
            asked.setdefault(node.name, set()).update(matcher.name for matcher in node.matchers.matchers)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            grouped.update(node.modifier.matching.labels if node.modifier.matching else ())
            grouped.update(node.modifier.group_labels or ())

    promql_parser.walk(promql_parser.parse(expr), visit)
    known = FROM_SCRAPING.union(*(exported.get(metric, frozenset()) for metric in asked))
    gone = [metric for metric in asked if metric not in exported]
    gone += [
        f"{metric}{{{label}}}"
        for metric, labels in asked.items()
        for label in sorted(labels - FROM_SCRAPING - exported.get(metric, labels))
    ]
    return gone + sorted(grouped - known)
