"""Analytics: what was sent, what came back and what it changed, from the counters, for reports and dashboards.

Counts are of cohorts: an outreach counts on the day it was planned, whenever it was sent or answered, so that no rate
exceeds 100 %. Nothing here reads a user's items.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import isfinite
from typing import Any, Protocol

from engagement.domain.census import BAND_EDGES
from engagement.domain.confidence import Interval, wilson_interval
from engagement.domain.lift import Effect, Lift, report
from engagement.domain.outreach import OutreachState, OutreachType
from engagement.domain.statistics import LEFT, PRESSES

PLANNED = "planned"
PRESSED = (*dict.fromkeys(PRESSES.values()), LEFT)
"""What people press under a message, and leaving without a press; see `domain.statistics`."""
AWARD = "award:"
PERCENT = 100.0


class StatisticsReader(Protocol):
    """Where the counters are read, summed over all shares; see `store.statistics`."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        """Read the counters of each day that has any."""
        ...

    def gauges(self, bot_id: int) -> Counter[str]:
        """Read the gauges."""
        ...

    def lift(self, bot_id: int, experiment: str) -> dict[str, Counter[str]]:
        """Read the sums of an experiment's groups."""
        ...


class Analytics:
    """What an operator asks about all users together."""

    def __init__(self, *, bot_id: int, statistics: StatisticsReader, experiment: str) -> None:
        """Wire it.

        Args:
            bot_id: whose users.
            statistics: the counters.
            experiment: name of the running one, whose effects are reported.
        """
        self._bot_id = bot_id
        self._statistics = statistics
        self._experiment = experiment

    def get_outreach_analytics(self, days: int = 30, *, now: datetime) -> dict[str, Any]:
        """Return how the outreach planned in the last days did, under the guide's names, and what it changes.

        All rates are percentages, 0.0 where there is nothing to take them of.

        Args:
            days: UTC days, today included; 1 or more.
            now: aware.

        Returns:
            period_days; overall_metrics and by_outreach_type with total_outreaches (planned), successful_sends,
            total_responses, opened, not_now, stopped (by a button under the message) and left (blocked the bot or
            stopped otherwise within a week), held_out, send_rate (of the planned) and response_rate (of the sent);
            template_performance with sends, responses, response_rate and its 95 % interval for one look (Wilson),
            not_now, stopped and left; held_out; and lift, of all users of the experiment whatever the period. JSON can
            hold it; what has no limit is None there.

        Raises:
            ValueError: `days` is not positive.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        counts = self._sum(days, now)
        kinds = [kind.value for kind in OutreachType if counts[f"{PLANNED}:{kind}"]]
        overall = _performance(counts, list(OutreachType))
        return {
            "period_days": days,
            "overall_metrics": overall,
            "by_outreach_type": {kind: _performance(counts, [kind]) for kind in kinds},
            "template_performance": _templates(counts),
            "held_out": overall["held_out"],
            "lift": [as_json(lift) for lift in self.lift()],
        }

    def lift(self) -> list[Lift]:
        """Return what the experiment knows so far.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return report(self._statistics.lift(self._bot_id, self._experiment))

    def get_daily_active_users(self, days: int = 30, *, now: datetime) -> dict[str, int]:
        """Return the users active on each of the last UTC days, by ISO date, the oldest first.

        Raises:
            ValueError, StoreUnavailableError: as for `get_outreach_analytics`.
        """
        first, last = _period(days, now)
        found = self._statistics.of_days(self._bot_id, first, last)
        each = (first + timedelta(days=number) for number in range(days))
        return {day.isoformat(): found[day]["dau"] if day in found else 0 for day in each}

    def get_churn_risk_distribution(self) -> dict[str, int]:
        """Return the users by the band of their newest 14-day churn score, "0-20%" and so on.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        gauges = self._statistics.gauges(self._bot_id)
        edges = [0.0, *BAND_EDGES, 1.0]
        names = (f"{low:.0%}-{high:.0%}".replace("%-", "-") for low, high in pairwise(edges))
        return {name: gauges[f"band:{band}"] for band, name in enumerate(names)}

    def get_milestone_progress_stats(self, days: int = 30, *, now: datetime) -> dict[str, int]:
        """Return how often each milestone was reached in the last UTC days, the most frequent first.

        Raises:
            ValueError, StoreUnavailableError: as for `get_outreach_analytics`.
        """
        awards = Counter(
            {name.removeprefix(AWARD): many for name, many in self._sum(days, now).items() if name.startswith(AWARD)}
        )
        return dict(sorted(awards.items(), key=lambda award: (-award[1], award[0])))

    def get_engagement_dashboard_data(self, days: int = 30, *, now: datetime) -> dict[str, Any]:
        """Return the four parts of the guide's dashboard.

        Raises:
            ValueError, StoreUnavailableError: as for `get_outreach_analytics`.
        """
        return {
            "daily_active_users": self.get_daily_active_users(days, now=now),
            "churn_risk_distribution": self.get_churn_risk_distribution(),
            "outreach_performance": self.get_outreach_analytics(days, now=now),
            "milestone_progress": self.get_milestone_progress_stats(days, now=now),
        }

    def _sum(self, days: int, now: datetime) -> Counter[str]:
        total: Counter[str] = Counter()
        for counts in self._statistics.of_days(self._bot_id, *_period(days, now)).values():
            total.update(counts)
        return total


def as_json(lift: Lift) -> dict[str, Any]:
    """Return a group's lift as JSON has it: shares and moods as they are, no limit as None."""
    return {
        "group": lift.group,
        "words": lift.words,
        "split": {
            "treated": lift.balance.treated,
            "held_out": lift.balance.held_out,
            "expected_treated": lift.balance.expected_treated,
            "broken": lift.balance.broken,
            "words": lift.balance.words,
        },
        "effects": {effect.measure.value: _effect(effect, lift) for effect in lift.effects},
    }


def _effect(effect: Effect, lift: Lift) -> dict[str, Any]:
    return {
        "treated": effect.treated,
        "held_out": effect.held_out,
        "lift": effect.lift,
        "interval": _limits(effect.interval),
        "relative": effect.relative,
        "relative_interval": _limits(effect.relative_interval),
        "visible": effect.visible,
        "verdict": lift.verdict(effect.measure).value,
    }


def _limits(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [limit if isfinite(limit) else None for limit in interval]


def _period(days: int, now: datetime) -> tuple[date, date]:
    """Return the first and the last day."""
    if days < 1:
        raise ValueError(f"analytics cover 1 day or more, not {days}")
    today = now.astimezone(UTC).date()
    return today - timedelta(days=days - 1), today


def _performance(counts: Mapping[str, int], kinds: list[str]) -> dict[str, Any]:
    def count(what: str) -> int:
        return sum(counts.get(f"{what}:{kind}", 0) for kind in kinds)

    planned, sent, responses = count(PLANNED), count(OutreachState.SENT), count(OutreachState.RESPONDED)
    return {
        "total_outreaches": planned,
        "successful_sends": sent,
        "total_responses": responses,
        **{what: count(what) for what in PRESSED},
        "held_out": count(OutreachState.HELD_OUT),
        "send_rate": _percent(sent, planned),
        "response_rate": _percent(responses, sent),
    }


def _templates(counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return how each template did, the most sent first."""
    prefix = f"{OutreachState.SENT}@"
    sends = {name.removeprefix(prefix): many for name, many in counts.items() if name.startswith(prefix) and many}
    return {
        name: {
            "sends": many,
            "responses": (responses := counts.get(f"{OutreachState.RESPONDED}@{name}", 0)),
            "response_rate": _percent(responses, many),
            "interval": [PERCENT * limit for limit in wilson_interval(responses, many)],
            **{what: counts.get(f"{what}@{name}", 0) for what in PRESSED},
        }
        for name, many in sorted(sends.items(), key=lambda item: (-item[1], item[0]))
    }


def _percent(part: int, whole: int) -> float:
    return PERCENT * part / whole if whole else 0.0
