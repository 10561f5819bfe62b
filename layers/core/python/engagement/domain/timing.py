"""Planning: the hour of day at which a user is most likely to start talking, and when it comes next.

All in UTC: a habit of somebody whose clocks change moves by an hour for a few weeks, which is less than the kernel is
wide, and no hour is ever missing or doubled.

The timing model is a conditional logit over the 24 hours: it weighs four opinions about each hour, every one the log of
a share that is smoothed over neighbouring hours and shrunk to the population's, so that a newcomer has no extreme ones.

    name               counts, per UTC hour of day                                             shrunk by   read off
    habit              session starts of the last 60 days, and .8 of each week's active days   4           slots, weeks
                       spread over that week's active hours, half-life 240 days
    recent_habit       session starts of the last 60 days, half-life 60 days                   4           slots
    lifetime           interactions of the whole lifetime, as many as there were active days   20          hours_of_week
    population         the bot's users as a whole                                              -           population

Each is a natural logarithm of a share, (-7, 0).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import exp, log

from engagement.domain.pattern import DAY, HOURS_OF_DAY, WEEK, Pattern, session_starts
from engagement.domain.population import Population

VERSION = 1
"""Part of the timing model's card: a model is served only with the features it was trained on."""
NAMES = ("habit", "recent_habit", "lifetime", "population")

SIGMA = 1.5
"""Hours; width of the circular Gaussian kernel."""
KAPPA = 4.0
"""Weight of the population's hours, in session starts: four of one's own count as much as everybody else together."""
LIFETIME_KAPPA = 20.0
WEEKS_COUNT = 0.8
"""What an active day of the last year adds, beside one for each session start of the last 60 days.

These numbers were picked by leave-one-dataset-out log-loss on nine public event streams (UTC hours of the next 14 days'
session starts); they sit on a broad optimum.
"""
WEEKS_HALF_LIFE = 240.0
RECENT_HALF_LIFE = 60.0
"""Days."""
SECONDS_OF_HOUR = 3_600


def _kernel() -> tuple[float, ...]:
    """Return the weight of an hour 0, 1, ... 23 hours away on the circle; sums to 1."""
    distances = [min(hour, HOURS_OF_DAY - hour) for hour in range(HOURS_OF_DAY)]
    raw = [exp(-(distance**2) / (2 * SIGMA**2)) for distance in distances]
    return tuple(weight / sum(raw) for weight in raw)


_KERNEL = _kernel()
_KERNELS = tuple(tuple(_KERNEL[other - hour] for other in range(HOURS_OF_DAY)) for hour in range(HOURS_OF_DAY))
"""For each hour what one count in it adds to every hour."""
_HOURS_OF_MASK = tuple(tuple(hour for hour in range(12) if mask >> hour & 1) for mask in range(1 << 12))


def hour_features(pattern: Pattern, population: Population, now: datetime) -> tuple[tuple[float, ...], ...]:
    """Return what the timing model sees: 24 rows, one an hour of the UTC day, of `NAMES`; finite for every pattern.

    Args:
        pattern: the user's.
        population: what the user's few data are shrunk to.
        now: aware.
    """
    habit, recent, lifetime = _counts(pattern, now)
    columns = (
        _log_shares(habit, population, KAPPA),
        _log_shares(recent, population, KAPPA),
        _log_shares(lifetime, population, LIFETIME_KAPPA),
        [log(share) for share in population.hours],
    )
    return tuple(zip(*columns, strict=True))


def hour_shares(pattern: Pattern, population: Population, now: datetime) -> tuple[float, ...]:
    """Return the share of a user's sessions that start in each UTC hour of day; 24 positive numbers that sum to 1.

    The rule, where no model serves: the smoothed and shrunk habit as it is.
    """
    habit, _, _ = _counts(pattern, now)
    return _shares(habit, population, KAPPA)


def _counts(pattern: Pattern, now: datetime) -> tuple[list[float], list[float], list[float]]:
    """Return habit, recent habit and lifetime, as counts by UTC hour of day."""
    at = now.timestamp()
    habit, recent, lifetime = ([0.0] * HOURS_OF_DAY for _ in range(3))
    for start in session_starts(pattern):
        hour = start // SECONDS_OF_HOUR % HOURS_OF_DAY
        habit[hour] += 1
        recent[hour] += 0.5 ** (max(at - start, 0.0) / DAY / RECENT_HALF_LIFE)
    today = at / DAY
    for week, mask in pattern.weeks:
        active_days = bisect_left(pattern.days, (week + 1) * WEEK) - bisect_left(pattern.days, week * WEEK)
        # The middle of the week, or of what has passed of it.
        age = max(today - (week + 0.5) * WEEK, 0.0)
        hours = (*_HOURS_OF_MASK[mask & 0xFFF], *(12 + hour for hour in _HOURS_OF_MASK[mask >> 12]))
        each = WEEKS_COUNT * 0.5 ** (age / WEEKS_HALF_LIFE) * active_days / len(hours)
        for hour in hours:
            habit[hour] += each
    if pattern.total:
        each = len(pattern.days) / pattern.total
        for hour_of_week, interactions in enumerate(pattern.hours_of_week):
            if interactions:
                lifetime[hour_of_week % HOURS_OF_DAY] += each * interactions
    return habit, recent, lifetime


def _shares(counts: Sequence[float], population: Population, kappa: float) -> tuple[float, ...]:
    smooth = [kappa * share for share in population.hours]
    for kernel, count in zip(_KERNELS, counts, strict=True):
        if count:
            smooth = [value + count * weight for value, weight in zip(smooth, kernel, strict=True)]
    total = sum(smooth)
    return tuple(value / total for value in smooth)


def _log_shares(counts: Sequence[float], population: Population, kappa: float) -> list[float]:
    return [log(share) for share in _shares(counts, population, kappa)]


def best_send_time(
    shares: Sequence[float],
    now: datetime,
    *,
    within: timedelta,
    weekdays: Sequence[float] = (1.0,) * 7,
    is_open: Callable[[datetime], bool] | None = None,
) -> datetime:
    """Return the middle of the best open hour in (now, now + within]; the earliest of equally good ones.

    Args:
        shares: how good each UTC hour of day is, 24 positive numbers.
        now: aware UTC.
        within: how long the message can wait; where no middle of an open hour falls into it, the answer is `now`.
        weekdays: how good each UTC weekday is, Monday first, positive.
        is_open: says of the middle of an hour whether the user may be written to in it; None permits every hour.
    """
    middle = now.replace(minute=30, second=0, microsecond=0)
    if middle <= now:
        middle += timedelta(hours=1)
    best = now
    best_share = -1.0
    while middle <= now + within:
        share = shares[middle.hour] * weekdays[middle.weekday()]
        # A rounding error must not make a later hour win over an equally good earlier one.
        if share > best_share * (1 + 1e-9) and (is_open is None or is_open(middle)):
            best, best_share = middle, share
        middle += timedelta(hours=1)
    return best
