"""Weekly training: a candidate beside the serving and the bundled model, on looks that it was not fitted to.

Differences are of the same looks, with an interval from resampling users (all looks at one of them together), so what
one talkative user does is not taken for what users do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.dataset import HORIZONS
from models.metrics import Numbers, Scorer, churn_scorer, interval, mood_scorer, resampled, timing_scorer

Outcome = Literal["promote", "keep", "too_little_data", "one_class", "out_of_time"]

CANDIDATE, SERVING, BUNDLED = "candidate", "serving", "bundled"
ACCURACY_HORIZON = 14
"""Days."""
THRESHOLD = 0.5
SMALLEST = 1e-6
"""Probabilities are taken to be at least this far from 0 and 1."""
ROUNDING = 1e-5
"""Of a mean loss: float32 answers beside the float64 ones of a candidate that is the serving model once more."""
DIGITS = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one model's training.

    Attributes:
        name: "churn", "timing", "mood" or "uplift".
        outcome: "promote" where a candidate beat what serves; else why none did.
        reason: in words, with the numbers.
        samples: looks fitted to and judged on; of churn, those of the benchmark's task; of uplift, decisions.
        metrics: of the candidate and of what it was compared with, for JSON.
        directory: the candidate's folder, if it is to be promoted.
    """

    name: str
    outcome: Outcome
    reason: str
    samples: int
    metrics: dict[str, Any] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean loss of the candidate less that of another model, and the middle 95 % of it; below 0 it is better."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"

    @property
    def is_better(self) -> bool:
        """The whole interval speaks for the candidate, by more than rounding."""
        return self.high < -ROUNDING


def difference(users: NDArray[np.int64], weights: Numbers, candidate: Numbers, other: Numbers) -> Difference:
    """Compare two models' losses.

    Args:
        users: of each look.
        weights: of each look.
        candidate: its loss at each look.
        other: the other model's.
    """
    gaps = weights * (candidate - other)
    draws = [float((drawn * gaps).sum() / (drawn * weights).sum()) for drawn in resampled(users)]
    return Difference(float(gaps.sum() / weights.sum()), *interval(np.array(draws)))


def may_serve(over_serving: Difference, over_bundled: Difference) -> bool:
    """Say whether a candidate is to be promoted: better than what serves beyond chance, and no worse than bundled."""
    return over_serving.is_better and over_bundled.value <= 0


def churn_losses(stayed_away: NDArray[np.bool_], answers: Numbers) -> Numbers:
    """Return the log-loss of each look, the mean over all horizons."""
    said = np.clip(answers, SMALLEST, 1 - SMALLEST)
    losses: Numbers = -np.log(np.where(stayed_away, said, 1 - said)).mean(axis=1)
    return losses


def timing_losses(hours: Numbers, answers: Numbers) -> Numbers:
    """Return the log-loss of each look, the mean over the sessions that followed."""
    losses: Numbers = -(hours * np.log(np.maximum(answers, SMALLEST))).sum(axis=1)
    return losses


def mood_losses(moods: Numbers, answers: Numbers) -> Numbers:
    """Return the squared error of each look; all in one column."""
    losses: Numbers = ((answers - moods) ** 2)[:, 0]
    return losses


def churn_metrics(users: NDArray[np.int64], stayed_away: NDArray[np.bool_], answers: Numbers) -> dict[str, Any]:
    """Return AUC, Brier score and calibration error of each horizon, and the accuracy at 14 days and 0.5."""
    found: dict[str, Any] = {
        f"churn_{horizon}d": _measured(users, churn_scorer(stayed_away[:, column], answers[:, column]))
        for column, horizon in enumerate(HORIZONS)
    }
    column = HORIZONS.index(ACCURACY_HORIZON)
    found["accuracy"] = _rounded(np.mean((answers[:, column] >= THRESHOLD) == stayed_away[:, column]))
    return found


def timing_metrics(users: NDArray[np.int64], hours: Numbers, answers: Numbers) -> dict[str, Any]:
    """Return the log-loss and the share of sessions in the three hours called best."""
    return _measured(users, timing_scorer(hours, answers))


def mood_metrics(users: NDArray[np.int64], moods: Numbers, answers: Numbers) -> dict[str, Any]:
    """Return the share of the variance explained and the mean absolute error; all in one column."""
    return _measured(users, mood_scorer(moods[:, 0], answers[:, 0]))


def _measured(users: NDArray[np.int64], scorer: Scorer) -> dict[str, Any]:
    values = scorer(np.ones(len(users)))
    draws = [scorer(weights) for weights in resampled(users)]
    return {
        name: {"value": _rounded(value), "interval": _interval([draw[name] for draw in draws])}
        for name, value in values.items()
    }


def _interval(draws: Sequence[float]) -> list[float]:
    return [_rounded(bound) for bound in interval(np.array(draws))]


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def as_json(differences: Mapping[str, Difference]) -> dict[str, Any]:
    """Return differences as a verdict and a card show them."""
    return {
        name: {"value": _rounded(found.value), "interval": [_rounded(found.low), _rounded(found.high)]}
        for name, found in differences.items()
    }
