"""Prediction: the mood of what a user writes, and whether it moves; in VADER's compound units, [-1, 1].

A message's sentiment is mostly noise, so neither the last message nor a fast average says anything. The level is an
empirical-Bayes mean in two steps: everything the user ever wrote, shrunk to the population's mean, and then what they
wrote lately, shrunk to that. On public event streams it explains .08 of the variance of the next five messages' mean
(one step: .06; a gradient-boosted model on top of it: less; the last message: -3).

    name           range     meaning
    level          [-1, 1]   the two-step mean: what the next messages are expected to be like
    usual          [-1, 1]   the first step: what the user is usually like
    population     [-1, 1]   the mean of the bot's users
    log_messages   [0, 16]   log(1 + messages whose sentiment is known)
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import log1p, sqrt

from engagement.domain.pattern import DAY, MILLI, Pattern
from engagement.domain.population import Population

VERSION = 1
"""Part of the mood model's card: a model is served only with the features it was trained on."""
NAMES = ("level", "usual", "population", "log_messages")

KAPPA = 30.0
"""Messages that the prior counts as, in both steps: the ratio of the variance within a user to that between users."""
RECENT_HALF_LIFE = 20.0
"""Days."""
TREND_DAYS = 14
"""What was written in them is compared with the weeks before."""
SIGNIFICANT = 2.0
"""Standard errors."""


class Direction(StrEnum):
    """Where a user's mood moves."""

    IMPROVING = "improving"
    STEADY = "steady"
    DECLINING = "declining"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodLevel:
    """What a user's next messages are expected to be like.

    Attributes:
        level: [-1, 1].
        standard_error: of `level` as an estimate of the user's true mean; one message scatters far wider.
        messages: number of messages it is taken from.
    """

    level: float
    standard_error: float
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodTrend:
    """How the last fortnight differs from the weeks before it.

    Attributes:
        change: mean sentiment now less mean sentiment before; 0 where one of the two is empty.
        standard_error: of `change`; infinite where one of the two is empty.
        direction: steady unless `change` is more than two standard errors.
    """

    change: float
    standard_error: float
    direction: Direction


def mood_level(pattern: Pattern, population: Population, now: datetime) -> MoodLevel:
    """Return the two-step empirical-Bayes level; the population's mean for somebody who wrote nothing yet.

    Args:
        pattern: the user's.
        population: the prior.
        now: aware.
    """
    today = now.timestamp() / DAY
    weights = [(bucket, 0.5 ** (max(today - bucket.day, 0.0) / RECENT_HALF_LIFE)) for bucket in pattern.buckets]
    recent = sum(bucket.sentiment_events * weight for bucket, weight in weights)
    recent_sum = sum(bucket.sentiment_milli * weight for bucket, weight in weights) / MILLI
    level = (recent_sum + KAPPA * _usual(pattern, population)) / (recent + KAPPA)
    error = sqrt(_variance(pattern, population) / (pattern.sentiment_events + KAPPA))
    return MoodLevel(level=level, standard_error=error, messages=pattern.sentiment_events)


def mood_trend(pattern: Pattern, population: Population, now: datetime) -> MoodTrend:
    """Return how the last fortnight's messages differ from those of the six weeks before.

    Args:
        pattern: the user's.
        population: says how much a message scatters where the user's own messages are few.
        now: aware.
    """
    turn = int(now.timestamp()) // DAY - TREND_DAYS
    sums = {True: 0.0, False: 0.0}
    counts = {True: 0, False: 0}
    for bucket in pattern.buckets:
        sums[bucket.day > turn] += bucket.sentiment_milli / MILLI
        counts[bucket.day > turn] += bucket.sentiment_events
    if not counts[True] or not counts[False]:
        return MoodTrend(change=0.0, standard_error=float("inf"), direction=Direction.STEADY)
    change = sums[True] / counts[True] - sums[False] / counts[False]
    error = sqrt(_variance(pattern, population) * (1 / counts[True] + 1 / counts[False]))
    direction = Direction.STEADY
    if abs(change) > SIGNIFICANT * error:
        direction = Direction.IMPROVING if change > 0 else Direction.DECLINING
    return MoodTrend(change=change, standard_error=error, direction=direction)


def mood_features(pattern: Pattern, population: Population, now: datetime) -> tuple[float, ...]:
    """Return what the mood model sees, in the order of `NAMES`; finite for every pattern."""
    return (
        mood_level(pattern, population, now).level,
        _usual(pattern, population),
        population.mood,
        log1p(pattern.sentiment_events),
    )


def _usual(pattern: Pattern, population: Population) -> float:
    return (pattern.sentiment_milli / MILLI + KAPPA * population.mood) / (pattern.sentiment_events + KAPPA)


def _variance(pattern: Pattern, population: Population) -> float:
    """Return the variance of one of the user's messages, > 0: their own, shrunk to the population's."""
    count = pattern.sentiment_events
    own = 0.0
    if count:
        mean = pattern.sentiment_milli / MILLI / count
        own = max(pattern.sentiment_square_milli / MILLI - count * mean**2, 0.0)
    return (own + KAPPA * population.mood_variance) / (count + KAPPA)
