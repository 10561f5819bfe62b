"""Scoring: the probabilities that a user stays away, and the rule that gives them where no model does."""

from dataclasses import dataclass
from datetime import datetime
from math import exp, log1p

from engagement.domain.features import NAMES, features, silence_days
from engagement.domain.pattern import Pattern

ACTIVE_DAYS = NAMES.index("active_days_30")
_SILENCE_COUNTS = 0.4
_ACTIVITY_COUNTS = -1.8
_START_7, _START_14, _START_30 = 2.6, 2.1, 1.5


@dataclass(frozen=True, slots=True)
class ChurnScores:
    """Probabilities in [0, 1] of no interaction within the next 7, 14 and 30 days; they never rise with the horizon."""

    churn_7d: float
    churn_14d: float
    churn_30d: float


def rule_scores(pattern: Pattern, now: datetime) -> ChurnScores:
    """Score by two numbers alone: how long the user has been silent, and on how many recent days they were not.

    The score rises with every hour of silence. The weights are those of a logistic regression on public event streams
    (`models/churn/card.json` has its accuracy beside the model's), rounded, and with one slope for all horizons.

    Args:
        pattern: the user's; a user never seen scores close to 1.
        now: aware.
    """
    return rule(features(pattern, now)[ACTIVE_DAYS], silence_days(pattern, now))


def rule(active_days_30: float, silence: float) -> ChurnScores:
    """Score by the feature of that name and by days of silence."""
    evidence = _SILENCE_COUNTS * log1p(silence) + _ACTIVITY_COUNTS * active_days_30
    return ChurnScores(
        churn_7d=_probability(_START_7 + evidence),
        churn_14d=_probability(_START_14 + evidence),
        churn_30d=_probability(_START_30 + evidence),
    )


def _probability(log_odds: float) -> float:
    # |log odds| stays below 30: active_days_30 is a logarithm, and the silence is capped.
    return 1 / (1 + exp(-log_odds))
