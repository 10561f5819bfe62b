"""Milestones: what counts as an achievement, and how far a user is; read off the pattern, so the same for any order.

    metric                    type     counts
    total_interactions        count    interactions
    commands                  count    commands
    positive_interactions     count    interactions whose sentiment is positive or very positive
    greetings                 count    interactions that greet
    active_days               count    days with an interaction since the first one; UTC days, all of them
    early_mornings            count    local days with an interaction from 5 to 8 h, within the window
    late_nights               count    local nights with one from 22 to 4 h, a night being one, within the window
    weekend_days              count    local Saturdays and Sundays with one, within the window
    consecutive_active_days   streak   longest run of local days with an interaction, within the window
    average_quality           average  mean quality [0, 1] of all interactions, from the 20th on

The window is what the pattern remembers to the half-hour: the 60 days up to the newest interaction. A half-hour lies
in one local day wherever clocks differ from UTC by whole half-hours, across any change of clocks. Where they differ by
a quarter (Nepal, Eucla, the Chatham Islands) the first quarter of an hour of a day may count for the day before.

Local means by the zone the user set, else at the likeliest offset (`domain.zone`). Whoever changes zone has the same
half-hours looked at by the new clock: days may move, none is counted twice, and no award is taken back.

What grows only (all but the average) is reached or not whatever order, split or repetition an unbroken window had. An
average is what it was when somebody looked: after each batch of the stream.
"""

import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any, Self
from zoneinfo import ZoneInfo

from engagement.domain.interaction import EngagementType, SentimentType
from engagement.domain.pattern import LEVELS, MILLI, SLOT, TYPES, Pattern, run_starts
from engagement.domain.profile import UNSET_ZONE, Profile
from engagement.domain.zone import is_zone, zone_posterior

EARLY = range(5, 8)
"""Local hours of an early morning."""
LATE_FROM, LATE_UNTIL = 22, 4
"""Local hours between which a night is late; those after midnight belong to the evening before."""
WEEKEND = (5, 6)
"""Saturday and Sunday, Monday being 0."""
MIN_AVERAGED = 20
"""Interactions from which an average says something."""
BAR_WIDTH = 10
"""Characters of a progress bar."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
DIFFICULTIES = range(1, 6)
POINTS = range(10, 1_001)
DISPLAY_LIMIT = 64
"""Code points: what a message makes room for."""
DESCRIPTION_LIMIT = 200


class MetricType(StrEnum):
    """How a metric grows."""

    COUNT = "count"
    STREAK = "streak"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that a milestone sets a target for.

    Attributes:
        metric_type: how it grows.
        measure: reads it off a pattern; the second argument is the user's clock.
        at_most: the highest target that can be reached whatever day the window begins on.
    """

    metric_type: MetricType
    measure: Callable[[Pattern, tzinfo], float]
    at_most: float


def _of_type(engagement_type: EngagementType) -> Callable[[Pattern, tzinfo], float]:
    index = TYPES.index(engagement_type)
    return lambda pattern, _: pattern.by_type[index]


def _positive(pattern: Pattern, _: tzinfo) -> int:
    return sum(
        pattern.by_sentiment[LEVELS.index(level)] for level in (SentimentType.POSITIVE, SentimentType.VERY_POSITIVE)
    )


# Asked for the same pattern by each metric, and for the one before it.
@lru_cache(maxsize=4)
def _local(slots: tuple[int, ...], clock: tzinfo) -> tuple[tuple[int, int], ...]:
    """Return the local day (its ordinal) and hour in which each half-hour began."""
    begins = (datetime.fromtimestamp(slot * SLOT, clock) for slot in slots)
    return tuple((begin.toordinal(), begin.hour) for begin in begins)


def _early_mornings(pattern: Pattern, clock: tzinfo) -> int:
    return len({day for day, hour in _local(pattern.slots, clock) if hour in EARLY})


def _late_nights(pattern: Pattern, clock: tzinfo) -> int:
    hours = _local(pattern.slots, clock)
    evenings = {day for day, hour in hours if hour >= LATE_FROM}
    return len(evenings | {day - 1 for day, hour in hours if hour < LATE_UNTIL})


def _weekend_days(pattern: Pattern, clock: tzinfo) -> int:
    days = {day for day, _ in _local(pattern.slots, clock)}
    return sum(date.fromordinal(day).weekday() in WEEKEND for day in days)


def _runs(pattern: Pattern, clock: tzinfo) -> list[tuple[int, int]]:
    """Return the last day and the length of each run of active local days, in order."""
    days = tuple(sorted({day for day, _ in _local(pattern.slots, clock)}))
    return [(days[following - 1], following - start) for start, following in pairwise((*run_starts(days), len(days)))]


def _longest_streak(pattern: Pattern, clock: tzinfo) -> int:
    return max((length for _, length in _runs(pattern, clock)), default=0)


def _current_streak(pattern: Pattern, clock: tzinfo, now: datetime) -> int:
    """Return the run that ends today or yesterday; 0 if it is broken."""
    yesterday = now.astimezone(clock).toordinal() - 1
    return next((length for last_day, length in _runs(pattern, clock)[-1:] if last_day >= yesterday), 0)


def _average_quality(pattern: Pattern, _: tzinfo) -> float:
    return pattern.quality_milli / MILLI / pattern.total if pattern.total else 0.0


METRICS: dict[str, Metric] = {
    "total_interactions": Metric(MetricType.COUNT, lambda pattern, _: pattern.total, math.inf),
    "commands": Metric(MetricType.COUNT, _of_type(EngagementType.COMMAND), math.inf),
    "positive_interactions": Metric(MetricType.COUNT, _positive, math.inf),
    "greetings": Metric(MetricType.COUNT, lambda pattern, _: pattern.greetings, math.inf),
    "active_days": Metric(MetricType.COUNT, lambda pattern, _: len(pattern.days), math.inf),
    "early_mornings": Metric(MetricType.COUNT, _early_mornings, 59),
    "late_nights": Metric(MetricType.COUNT, _late_nights, 59),
    "weekend_days": Metric(MetricType.COUNT, _weekend_days, 16),
    "consecutive_active_days": Metric(MetricType.STREAK, _longest_streak, 59),
    "average_quality": Metric(MetricType.AVERAGE, _average_quality, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """The guide's EngagementMilestone: an achievement.

    Attributes:
        milestone_name: a name of lower-case letters, digits and underscores; kept with every award.
        display_name: what users read.
        description: what it is given for, in a sentence that users read.
        metric_name: one of `METRICS`.
        target_value: the metric's value that reaches it, > 0; whole unless the metric is an average.
        metric_type: of the metric.
        category: a name like `milestone_name`; statistics are added up by it.
        difficulty_level: 1 (easy) to 5.
        points: what it is worth, 10 to 1000.
        custom: the operator's own; False for the defaults.
        celebrated: whoever reaches it is congratulated; False awards it in silence.
        seeded_at: when it was put into force, aware UTC; None before. What a user did before is awarded silently.
    """

    milestone_name: str
    display_name: str
    description: str
    metric_name: str
    target_value: float
    metric_type: MetricType
    category: str
    difficulty_level: int
    points: int = 100
    custom: bool = True
    celebrated: bool = True
    seeded_at: datetime | None = None

    def __post_init__(self) -> None:
        """Check all of it, and take a metric type by its name.

        Raises:
            ValueError: what is wrong, with the milestone's name and what would be right.
        """
        if problems := self._problems():
            raise ValueError(f"milestone {self.milestone_name!s:.64}: {'; '.join(problems)}")
        object.__setattr__(self, "metric_type", MetricType(self.metric_type))

    def _problems(self) -> list[str]:
        metric = METRICS.get(self.metric_name) if isinstance(self.metric_name, str) else None
        checks = (
            (_is_name(self.milestone_name), "milestone_name: expected a name like power_user_week, 40 letters at most"),
            (_is_text(self.display_name, DISPLAY_LIMIT), f"display_name: expected 1 to {DISPLAY_LIMIT} characters"),
            (
                _is_text(self.description, DESCRIPTION_LIMIT),
                f"description: expected 1 to {DESCRIPTION_LIMIT} characters",
            ),
            (metric is not None, f"unknown metric_name {self.metric_name!r:.64}; use one of {', '.join(METRICS)}"),
            (
                metric is None or metric.metric_type == self.metric_type,
                f"metric_type: {self.metric_name} is a {metric and metric.metric_type.value}",
            ),
            (metric is None or _is_target(self.target_value, metric), _expected_target(self.metric_name, metric)),
            (_is_name(self.category), "category: expected a name like engagement"),
            (_is_whole(self.difficulty_level, DIFFICULTIES), "difficulty_level: expected 1 to 5"),
            (_is_whole(self.points, POINTS), "points: expected 10 to 1000"),
            (isinstance(self.celebrated, bool), "celebrated: expected true or false"),
            (self.seeded_at is None or self.seeded_at.tzinfo is not None, "seeded_at: expected a time with a zone"),
        )
        return [problem for holds, problem in checks if not holds]

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Self:
        """Read what `definition` gave.

        Raises:
            ValueError: an attribute is missing, unknown or wrong.
        """
        values = dict(definition)
        try:
            if values.get("seeded_at") is not None:
                values["seeded_at"] = datetime.fromisoformat(values["seeded_at"])
            return cls(**values)
        except TypeError as error:
            name = str(definition.get("milestone_name"))
            raise ValueError(f"milestone {name:.64}: {str(error).removeprefix('Milestone.__init__() ')}") from None

    def definition(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        seeded_at = self.seeded_at.astimezone(UTC).isoformat() if self.seeded_at else None
        return asdict(self) | {"metric_type": self.metric_type.value, "seeded_at": seeded_at}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_text(value: object, limit: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= limit and value.isprintable()


def _is_whole(value: object, allowed: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in allowed


def _is_target(value: object, metric: Metric) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= metric.at_most:
        return False
    return math.isfinite(value) and (metric.metric_type is MetricType.AVERAGE or value == int(value))


def _expected_target(name: str, metric: Metric | None) -> str:
    if metric is None:
        return ""
    kind = "a number" if metric.metric_type is MetricType.AVERAGE else "a whole number"
    limit = "" if math.isinf(metric.at_most) else f", at most {metric.at_most:g}"
    return f"target_value: expected {kind} above 0{limit} of {name}"


def parse(catalogue: str) -> tuple[Milestone, ...]:
    """Read a catalogue of milestones and check it.

    Args:
        catalogue: TOML, as `milestones.toml` describes itself.

    Raises:
        ValueError: no TOML, or a milestone that is not one.
    """
    tables = tomllib.loads(catalogue)
    if odd := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise ValueError(f"milestones: expected tables [<milestone_name>], got {odd}")
    return tuple(Milestone.of({**table, "milestone_name": name, "custom": False}) for name, table in tables.items())


# Part of the code, like a constant: read once, when the module is, so that a bad one is never deployed.
DEFAULTS = parse(resources.files(__package__).joinpath("milestones.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """A milestone that a user reached, once and for good."""

    milestone_name: str
    awarded_at: datetime
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a user is.

    Attributes:
        value: of the metric; of a streak that is not reached the run that is still alive.
        target: the value that reaches the milestone.
        share: of the way, [0, 1]; 1 where it is reached and nowhere else.
    """

    value: float
    target: float
    share: float

    def bar(self) -> str:
        """Return it for people, for example "▰▰▰▱▱▱▱▱▱▱ 30 / 100"."""
        full = int(self.share * BAR_WIDTH)
        return f"{'▰' * full}{'▱' * (BAR_WIDTH - full)} {_number(self.value)} / {_number(self.target)}"


def _number(value: float) -> str:
    # Cut off, not rounded: 0.699 is not yet 0.7.
    return f"{math.floor(value * 100) / 100:g}" if value != int(value) else f"{value:.0f}"


def clock_of(profile: Profile | None, pattern: Pattern) -> tzinfo:
    """Return the clock of a user's days: the zone they set, else the likeliest offset from UTC.

    Args:
        profile: the user's; None where there is none yet.
        pattern: the user's; says when they are awake.
    """
    if profile is not None and profile.zone != UNSET_ZONE and is_zone(profile.zone):
        return ZoneInfo(profile.zone)
    language_code = profile.language_code if profile else None
    return timezone(timedelta(minutes=zone_posterior(pattern, language_code).best_minutes))


def reached(milestone: Milestone, pattern: Pattern, clock: tzinfo) -> bool:
    """Say whether a history reaches a milestone, exactly: no float takes part in it.

    Args:
        milestone: which one.
        pattern: the user's.
        clock: see `clock_of`.
    """
    if milestone.metric_type is MetricType.AVERAGE:
        needed = round(milestone.target_value * MILLI)
        return pattern.total >= MIN_AVERAGED and pattern.quality_milli >= needed * pattern.total
    return METRICS[milestone.metric_name].measure(pattern, clock) >= milestone.target_value


def newly_reached(
    milestones: Collection[Milestone], awarded: Collection[str], pattern: Pattern, clock: tzinfo
) -> list[Milestone]:
    """Return the milestones that are reached and not awarded yet, the most difficult first.

    Args:
        milestones: those in force.
        awarded: names of those the user has.
        pattern: the user's.
        clock: see `clock_of`.
    """
    left = [milestone for milestone in milestones if milestone.milestone_name not in awarded]
    found = [milestone for milestone in left if reached(milestone, pattern, clock)]
    return sorted(found, key=lambda m: (m.difficulty_level, m.points, m.milestone_name), reverse=True)


def progress(milestone: Milestone, pattern: Pattern, clock: tzinfo, now: datetime) -> Progress:
    """Return how far a user is on the way to a milestone.

    Args:
        milestone: which one.
        pattern: the user's.
        clock: see `clock_of`.
        now: aware; a streak that ended before yesterday begins anew.
    """
    value, target = METRICS[milestone.metric_name].measure(pattern, clock), milestone.target_value
    if reached(milestone, pattern, clock):
        return Progress(value=value, target=target, share=1.0)
    share = value / target
    if milestone.metric_type is MetricType.STREAK:
        value = _current_streak(pattern, clock, now)
        share = value / target
    elif milestone.metric_type is MetricType.AVERAGE:
        share = min(share, pattern.total / MIN_AVERAGED)
    return Progress(value=value, target=target, share=min(share, math.nextafter(1, 0)))
