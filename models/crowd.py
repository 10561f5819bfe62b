"""Training and evaluation: what a stream's users are like as a whole at a time, as a scoring pass would count them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engagement.domain.census import DAYS_OF_WEEK, Census, Tally, population
from engagement.domain.pattern import HOURS_OF_DAY, Pattern
from engagement.domain.population import Population

SILENCE_DAYS = 365
"""Somebody silent for longer is not scored any more, and so not counted."""

Counts = NDArray[np.int64]
_PARTS = (HOURS_OF_DAY, DAYS_OF_WEEK, 4)


def counts(pattern: Pattern) -> Counts:
    """Return what one user adds to the counts of which a population is made; users' counts add up."""
    tally = Tally()
    tally.count_history(pattern)
    one = tally.census()
    moods = (one.messages, one.writers, one.sentiment_milli, one.scatter_milli)
    return np.array([*one.hours, *one.weekdays, *moods], np.int64)


def population_of(total: Counts) -> Population:
    """Return the population whose users' counts add up to `total`."""
    hours, weekdays, moods = np.split(total, np.cumsum(_PARTS[:-1]))
    messages, writers, sentiment_milli, scatter_milli = moods.tolist()
    return population(
        Census(
            hours=tuple(hours.tolist()),
            weekdays=tuple(weekdays.tolist()),
            messages=messages,
            writers=writers,
            sentiment_milli=sentiment_milli,
            scatter_milli=scatter_milli,
        )
    )


class Crowd:
    """The counts at each of a stream's cut-offs, added up user by user."""

    def __init__(self, cut_offs: int) -> None:
        self._totals = np.zeros((cut_offs, sum(_PARTS)), np.int64)

    def add(self, one: Counts, cut_offs: slice) -> None:
        """Count a user as they were at some consecutive cut-offs."""
        self._totals[cut_offs] += one

    def populations(self) -> Sequence[Population]:
        """Return the population at each cut-off."""
        return [population_of(total) for total in self._totals]
