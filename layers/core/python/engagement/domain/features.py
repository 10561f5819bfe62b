"""Scoring: what the churn model sees of a pattern at a time; one function for training, serving and evaluation.

Every number is read off the pattern's exact sets at `now`: silence alone moves it, so a score never freezes, and a
history replayed to any time gives the numbers that were served then.

The five were picked by leave-one-dataset-out AUC on public event streams. Log silence and faster or slower active-day
counters add nothing beside them, nor do mood, message length and hours of the day. (The length of the last streak adds
.0005, but on top of the counters it counts against whoever came every day for years.)

Times are in days. A counter of half-life h is the sum of 0.5 ** (age / h) over what it counts; an age runs from the
start of the day or half-hour, and ages beyond ten half-lives are left out. Past a month of silence both day counters
fade by a further (31 / (1 + silence)) ** 0.75: the longer regulars have been away, the less their habit says.

    name                  range         meaning                                                         read off
    active_days_30        [0, 3.8]      log(1 + active UTC days, half-life 30), faded                   days
    active_days_90        [0, 4.9]      log(1 + active UTC days, half-life 90), faded                   days
    active_half_hours_3   [0, 5.4]      log(1 + active half-hours, half-life 3)                         slots
    own_gap_log_odds      [-4.9, 4.9]   of the last 60 gaps between active days and three assumed       days, last_at
                                        ones, those longer than the present silence (up to 30): log
                                        odds that one of them went on for 30 days more
    long_silence          [0, 4.8]      log((1 + silence) / 31) past 30 days of silence, else 0         last_at
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from math import exp, log, log1p
from operator import sub

from engagement.domain.pattern import DAY, SLOT, Pattern

VERSION = 1
"""Part of every model's card: a model is served only with the features it was trained on."""

NAMES = (
    "active_days_30",
    "active_days_90",
    "active_half_hours_3",
    "own_gap_log_odds",
    "long_silence",
)

SILENCE_LIMIT = 3_650.0
"""Days; longer silence, and a user never seen, count as this."""
LONG_SILENCE = 30
"""Days."""
FADE = 0.75
GAPS = 60
ASSUMED_GAPS = (4, 16, 64)
"""Days; they stand in for a history that is too short, and lose their say as gaps are seen."""
OUTLAST = 30
"""Days."""
MEMORY = 900
"""Days after which an active day is not counted any more; it would weigh less than a thousandth."""

TASK_INTERACTIONS = 3
TASK_SILENCE = 30
"""Days."""

BIN_EDGES = (
    (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.8, 2.4),
    (0.7, 0.9, 1.05, 1.2, 1.4, 1.7, 2.0, 2.5, 3.2),
    (0.005, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 1.2),
    (-2.0, -1.2, -0.8, -0.4, 0.1, 0.6, 0.9, 1.05, 1.3),
    (0.01, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4),
)
"""Where one bin ends and the next begins, for each of `NAMES`: what users are like, in numbers that add up.

The first four are the deciles, rounded, of ten public event streams (each by the square root of its size) over the
looks `in_task`: training's reference shares and a scoring pass's census both count these looks and no others, since
how many newcomers and long silent are looked at is decided by the schedule, not by the users. `long_silence` is 0 in
all of them; its edges are the deciles of the others. Part of `VERSION`.
"""


def _weights(half_life: float, step: float, days: float) -> tuple[float, ...]:
    """Return the weights of ages 0, 1, 2, ... steps of `step` days, up to `days`."""
    return tuple(0.5 ** (age * step / half_life) for age in range(round(days / step) + 1))


_DAYS_30 = _weights(30, 1, MEMORY)
_DAYS_90 = _weights(90, 1, MEMORY)
_HALF_HOURS_3 = _weights(3, SLOT / DAY, 30)


def silence_days(pattern: Pattern, now: datetime) -> float:
    """Return the days since the newest interaction, [0, `SILENCE_LIMIT`]."""
    if not pattern.total:
        return SILENCE_LIMIT
    return min(max((now.timestamp() - pattern.last_at) / DAY, 0.0), SILENCE_LIMIT)


def features(pattern: Pattern, now: datetime) -> tuple[float, ...]:
    """Return the features named by `NAMES`, in their order; finite for every pattern.

    Args:
        pattern: the user's; interactions later than `now` (a clock was wrong) count as just now.
        now: aware.
    """
    silence = silence_days(pattern, now)
    long_silence = max(log1p(silence) - log1p(LONG_SILENCE), 0.0)
    fade = exp(-FADE * long_silence)
    today, part_of_day = divmod(now.timestamp() / DAY, 1.0)
    half_hour, part_of_half_hour = divmod(now.timestamp() / SLOT, 1.0)
    day_ages = _ages(pattern.days, int(today), len(_DAYS_90))
    half_hour_ages = _ages(pattern.slots, int(half_hour), len(_HALF_HOURS_3))
    return (
        log1p(sum(map(_DAYS_30.__getitem__, day_ages)) * 0.5 ** (part_of_day / 30)) * fade,
        log1p(sum(map(_DAYS_90.__getitem__, day_ages)) * 0.5 ** (part_of_day / 90)) * fade,
        log1p(sum(map(_HALF_HOURS_3.__getitem__, half_hour_ages)) * 0.5 ** (part_of_half_hour * SLOT / DAY / 3)),
        _own_gap_log_odds(pattern.days, min(silence, LONG_SILENCE)),
        long_silence,
    )


def in_task(pattern: Pattern, now: datetime) -> bool:
    """Say whether the model's card speaks of this user: at least 3 interactions, one in the last 30 days."""
    return pattern.total >= TASK_INTERACTIONS and silence_days(pattern, now) <= TASK_SILENCE


def bins_of(row: Sequence[float]) -> tuple[int, ...]:
    """Return the bin of each feature by `BIN_EDGES`, [0, 9]; a value on an edge is in the upper bin."""
    return tuple(map(bisect_right, BIN_EDGES, row))


def _ages(units: tuple[int, ...], current: int, limit: int) -> list[int]:
    """Return how many units ago each of the ascending `units` was, [0, limit), leaving out the older ones."""
    ages = [current - unit for unit in units[bisect_right(units, current - limit) :]]
    return [max(age, 0) for age in ages] if ages and ages[-1] < 0 else ages


def _own_gap_log_odds(days: tuple[int, ...], silence: float) -> float:
    recent = days[-GAPS - 1 :]
    gaps = sorted((*map(sub, recent[1:], recent), *ASSUMED_GAPS))
    outlasted = len(gaps) - bisect_right(gaps, silence)
    far_outlasted = len(gaps) - bisect_right(gaps, silence + OUTLAST)
    # The halves keep the odds finite.
    return log((far_outlasted + 0.5) / (outlasted - far_outlasted + 0.5))
