"""One tick of a schedule: what time it stands for, and which share of the due index it works on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engagement.errors import BadTickError

EXPECTED = 'expected {"scheduled_time": "2026-11-22T12:00:00Z", "shard": 0, "of": 1}'


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick.

    Attributes:
        now: the time the tick was scheduled for, aware UTC; functions know no other clock.
        shard: which share of the index's partitions to work on, [0, of).
        of: number of shares.
    """

    now: datetime
    shard: int
    of: int

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Tick":
        """Read a schedule's event; `shard` and `of` may be left out by those that work on everything.

        Raises:
            BadTickError: no readable time with a zone, or a shard outside its range.
        """
        try:
            now = datetime.fromisoformat(event["scheduled_time"])
            shard, of = int(event.get("shard", 0)), int(event.get("of", 1))
        except (KeyError, TypeError, ValueError) as error:
            raise BadTickError(f"unreadable tick; {EXPECTED}") from error
        if now.tzinfo is None or not 0 <= shard < of:
            raise BadTickError(f"a tick without a zone, or with a shard out of range; {EXPECTED}")
        return cls(now=now.astimezone(UTC), shard=shard, of=of)

    def partitions(self, count: int) -> range:
        """Return this tick's share of `count` index partitions; all shares together cover each exactly once."""
        return range(self.shard, count, self.of)
