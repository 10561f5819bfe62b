"""Milestones in force: seeded and added by the operator, read by the stream, counted for the operator's eyes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from engagement.domain.milestones import DEFAULTS, Milestone

FRESH_FOR = timedelta(minutes=5)
COUNTED_FOR = timedelta(days=800)
"""The counters are kept as long."""
AWARD = "award:"
"""Begins the name of a milestone's counter; see `domain.statistics`."""


class MilestoneStore(Protocol):
    """Where definitions are kept; see `store.milestones`. Every method may raise StoreUnavailableError."""

    def all(self) -> Sequence[Milestone]:
        """Return the milestones in force."""
        ...

    def put(self, milestone: Milestone, at: datetime) -> None:
        """Keep one, over an older one of its name."""
        ...

    def delete(self, milestone_name: str) -> None:
        """Take one out of force."""
        ...


class Statistics(Protocol):
    """Where counters are read; see `store.statistics`."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        """Return the counters of each day that has any."""
        ...


class MilestonesInForce:
    """The milestones in force, read again after `FRESH_FOR`; one of each running copy."""

    def __init__(self, read: Callable[[], Sequence[Milestone]]) -> None:
        self._read = read
        self._found: Sequence[Milestone] = ()
        self._read_at: datetime | None = None

    def at(self, now: datetime) -> Sequence[Milestone]:
        """Return them; what the operator changed less than five minutes before `now` may be missing.

        Raises:
            StoreUnavailableError: they are to be read, and DynamoDB is in trouble.
        """
        # Events are not always in the order of time: an earlier one is as far away as a later one.
        if self._read_at is None or abs(now - self._read_at) >= FRESH_FOR:
            self._found, self._read_at = self._read(), now
        return self._found


class MilestoneSeeder:
    """The guide's seeder: puts milestones into force and counts what came of them.

    A milestone counts from the moment it is put into force: whoever had reached it before gets it without a message,
    at their next interaction.
    """

    def __init__(self, bot_id: int, milestones: MilestoneStore, statistics: Statistics) -> None:
        self._bot_id = bot_id
        self._milestones = milestones
        self._statistics = statistics

    def seed_default_milestones(self, *, now: datetime) -> dict[str, int]:
        """Put the defaults into force; one that the operator replaced by their own stays theirs.

        Args:
            now: aware.

        Returns:
            The guide's counts: `milestones_created`, `milestones_updated` (an earlier version of this package had
            another definition), `milestones_skipped` and `total_milestones`, which is of all in force.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; doing it again goes on where it stopped.
        """
        in_force = {milestone.milestone_name: milestone for milestone in self._milestones.all()}
        counts = dict.fromkeys(("milestones_created", "milestones_updated", "milestones_skipped"), 0)
        for default in DEFAULTS:
            known = in_force.get(default.milestone_name)
            if known is not None and (known.custom or replace(known, seeded_at=None) == default):
                counts["milestones_skipped"] += 1
                continue
            self._milestones.put(_seeded(default, known, now), now)
            counts["milestones_created" if known is None else "milestones_updated"] += 1
            in_force[default.milestone_name] = default
        return counts | {"total_milestones": len(in_force)}

    def add(self, milestone: Milestone, *, now: datetime) -> Milestone:
        """Put a milestone of the operator's own into force, over one of its name, and return it as it is kept.

        Args:
            milestone: checked when it was made.
            now: aware.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        known = {found.milestone_name: found for found in self._milestones.all()}.get(milestone.milestone_name)
        added = _seeded(replace(milestone, custom=True), known, now)
        self._milestones.put(added, now)
        return added

    def remove(self, milestone_name: str) -> bool:
        """Take a milestone out of force; awards that were given stay. False where there is none of that name.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        if milestone_name not in {milestone.milestone_name for milestone in self._milestones.all()}:
            return False
        self._milestones.delete(milestone_name)
        return True

    def get_milestone_stats(self, *, now: datetime) -> dict[str, Any]:
        """Return what is in force and what was awarded in the last 800 days, from the counters.

        Args:
            now: aware UTC.

        Returns:
            `active_milestones`, `total_awards`, `total_points` (of the milestones in force), and awards by name in
            `by_milestone` (noughts too, and those out of force), and of those in force in `by_category` and
            `by_difficulty`.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        in_force = self._milestones.all()
        awards: Counter[str] = Counter()
        for counters in self._statistics.of_days(self._bot_id, (now - COUNTED_FOR).date(), now.date()).values():
            for name, count in counters.items():
                if name.startswith(AWARD):
                    awards[name.removeprefix(AWARD)] += count
        by_category: Counter[str] = Counter()
        by_difficulty: Counter[int] = Counter()
        for milestone in in_force:
            by_category[milestone.category] += awards[milestone.milestone_name]
            by_difficulty[milestone.difficulty_level] += awards[milestone.milestone_name]
        return {
            "active_milestones": len(in_force),
            "total_awards": awards.total(),
            "total_points": sum(milestone.points * awards[milestone.milestone_name] for milestone in in_force),
            "by_milestone": dict.fromkeys((milestone.milestone_name for milestone in in_force), 0) | dict(awards),
            "by_category": dict(by_category),
            "by_difficulty": dict(sorted(by_difficulty.items())),
        }


def _seeded(milestone: Milestone, known: Milestone | None, now: datetime) -> Milestone:
    """Return a milestone in force: from now on, or from when it was, where it still asks for the same."""
    same = known is not None and (known.metric_name, known.target_value) == (
        milestone.metric_name,
        milestone.target_value,
    )
    return replace(milestone, seeded_at=known.seeded_at if known is not None and same else now)
