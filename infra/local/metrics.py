"""What the functions on the local AWS counted: their EMF log lines, added up (it makes no metrics of them itself)."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAGE = 10_000


@dataclass(slots=True)
class Totals:
    """Sums over log lines.

    Attributes:
        metrics: (service, metric) -> sum of its values.
        errors: (service) -> lines logged as ERROR or CRITICAL.
    """

    metrics: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def of(self, metric: str) -> float:
        """Return a metric's sum over all services."""
        return sum(value for (_, name), value in self.metrics.items() if name == metric)


def add_up(lines: Iterable[str], totals: Totals) -> None:
    """Add log lines to totals; lines that are neither EMF nor a structured log line count for nothing.

    EMF: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "_aws" in entry:
            _add_metrics(entry, totals)
        elif entry.get("level") in {"ERROR", "CRITICAL"}:
            totals.errors[str(entry.get("service", ""))] += 1


def _add_metrics(entry: Mapping[str, Any], totals: Totals) -> None:
    for directive in entry["_aws"].get("CloudWatchMetrics", ()):
        for metric in directive["Metrics"]:
            value = entry.get(metric["Name"], 0)
            totals.metrics[str(entry.get("service", "")), metric["Name"]] += (
                sum(value) if isinstance(value, list) else value
            )


class MetricsReader:
    """Reads log groups from where it last stopped, so that asking often stays cheap."""

    def __init__(self, logs: Any, groups: Iterable[str]) -> None:
        self._logs = logs
        self._totals = Totals()
        self._read_until = dict.fromkeys(groups, 0)
        # Events have no ids on the local AWS; each invocation writes a log stream of its own.
        self._at_the_edge: dict[str, set[tuple[str, str]]] = {group: set() for group in self._read_until}

    def totals(self) -> Totals:
        """Return the sums since the deployment."""
        for group in self._read_until:
            while self._read_page(group):
                pass
        return self._totals

    def _read_page(self, group: str) -> bool:
        """Read on from the newest event's millisecond, passing over those of it that were read before.

        The local AWS gives a first page and no way to the next, oldest event first. Returns whether there may be more.
        """
        newest, edge = self._read_until[group], self._at_the_edge[group]
        events = self._logs.filter_log_events(logGroupName=group, startTime=newest, limit=PAGE)["events"]
        fresh = [event for event in events if (event["logStreamName"], event["message"]) not in edge]
        add_up((event["message"] for event in fresh), self._totals)
        for event in fresh:
            if event["timestamp"] > newest:
                newest, edge = event["timestamp"], set()
            edge.add((event["logStreamName"], event["message"]))
        self._read_until[group], self._at_the_edge[group] = newest, edge
        return bool(fresh) and len(events) == PAGE
