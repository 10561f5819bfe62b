"""Planning and prediction: what a bot's users are like as a whole; one user's few data are shrunk towards it."""

from dataclasses import dataclass

_HOURS_PER_MILLE = (32, 30, 29, 29, 29, 30, 32, 34, 38, 41, 43, 44, 46, 49, 52, 55, 57, 57, 55, 52, 48, 44, 39, 35)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The users of one bot.

    Attributes:
        hours: shares of session starts by UTC hour of day; 24 positive numbers that sum to 1, each user counting once.
        weekdays: shares of session starts by UTC weekday, Monday first; 7 positive numbers that sum to 1.
        mood: mean sentiment of a message, [-1, 1].
        mood_variance: variance of the sentiment of one user's messages around that user's mean, > 0.
    """

    hours: tuple[float, ...]
    weekdays: tuple[float, ...]
    mood: float
    mood_variance: float


BUNDLED = Population(
    hours=tuple(share / sum(_HOURS_PER_MILLE) for share in _HOURS_PER_MILLE),
    weekdays=(1 / 7,) * 7,
    mood=0.08,
    mood_variance=0.1,
)
"""Before anything is known of a bot's users: the mean of nine public event streams, rounded.

The hours are of communities of Europe and the Americas; no weekday is preferred, since a bot's week is its own.
"""
