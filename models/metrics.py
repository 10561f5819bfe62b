"""Evaluation: how good answers are, and how much of it is luck; every metric takes weights, so users can be resampled.

An interval is the middle 95 % of what resampling users (all examples of one together) gives. The draws of two
candidates on the same examples are of the same users, so their difference has an interval too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Metrics = dict[str, float]
Scorer = Callable[[Numbers], Metrics]
"""Weights of the examples -> metrics."""

BINS = 10
DRAWS = 200
SEED = 0
INTERVAL = (2.5, 97.5)
"""Percentiles."""
SMALLEST_SHARE = 1e-6
"""An hour that a candidate calls impossible counts as this likely."""
BEST_HOURS = 3


@dataclass(frozen=True, slots=True)
class Measure:
    """How well one candidate did on one dataset.

    Attributes:
        task: "churn_7d", "churn_14d", "churn_30d", "timing" or "mood".
        dataset: name of the dataset.
        candidate: name of the candidate.
        tested: number of examples.
        values: the metrics.
        draws: the same on resampled users, one array a metric.
    """

    task: str
    dataset: str
    candidate: str
    tested: int
    values: Metrics
    draws: Mapping[str, Numbers]


def measure(
    task: str, dataset: str, users: NDArray[np.int64], scorers: Mapping[str, Scorer], draws: int = DRAWS
) -> list[Measure]:
    """Measure candidates on the same examples and the same resampled users."""
    everybody = np.ones(len(users))
    drawn: dict[str, list[Metrics]] = {candidate: [] for candidate in scorers}
    for weights in resampled(users, draws):
        for candidate, scorer in scorers.items():
            drawn[candidate].append(scorer(weights))
    found = []
    for candidate, scorer in scorers.items():
        values = scorer(everybody)
        columns = {name: np.array([draw[name] for draw in drawn[candidate]]) for name in values}
        found.append(Measure(task, dataset, candidate, len(users), values, columns))
    return found


def resampled(users: NDArray[np.int64], draws: int = DRAWS) -> Iterator[Numbers]:
    """Yield weights of examples: how often each one's user was drawn; the same sequence every time."""
    _, of = np.unique(users, return_inverse=True)
    count = int(of.max()) + 1 if len(of) else 0
    dice = np.random.default_rng(SEED)
    for _ in range(draws):
        yield np.bincount(dice.integers(0, count, count), minlength=count)[of].astype(float)


def interval(draws: Numbers) -> tuple[float, float]:
    """Return the middle 95 % of the draws."""
    low, high = np.nanpercentile(draws, INTERVAL)
    return float(low), float(high)


def churn_scorer(stayed_away: NDArray[np.bool_], answers: Numbers) -> Scorer:
    """Score probabilities of staying away.

    auc: probability that a leaver ranks above one who stays; 0.5 is chance. brier: mean squared error. ece: mean gap
    between said and seen over 10 equally filled bins.
    """
    order = np.argsort(answers, kind="stable")
    labels, ordered = stayed_away[order].astype(float), answers[order]
    _, tie = np.unique(ordered, return_inverse=True)
    bin_of = np.repeat(np.arange(BINS), [len(part) for part in np.array_split(order, BINS)])
    errors, gaps = (ordered - labels) ** 2, ordered - labels

    def score(weights: Numbers) -> Metrics:
        weight = weights[order]
        left, stayed = np.bincount(tie, weight * labels), np.bincount(tie, weight * (1 - labels))
        pairs = left.sum() * stayed.sum()
        won = (left * (np.cumsum(stayed) - stayed / 2)).sum()
        total = weight.sum()
        return {
            "auc": float(won / pairs) if pairs else float("nan"),
            "brier": float((weight * errors).sum() / total),
            "ece": float(np.abs(np.bincount(bin_of, weight * gaps)).sum() / total),
        }

    return score


def timing_scorer(hours: Numbers, answers: Numbers) -> Scorer:
    """Score shares of the 24 hours against the sessions that followed.

    log_loss: of one session's hour; uniform is 3.178. top_3: share of sessions in the three hours called best.
    """
    losses = -(hours * np.log(_normalised(answers))).sum(axis=1)
    hits = hit_rate(hours, answers, BEST_HOURS)

    def score(weights: Numbers) -> Metrics:
        total = weights.sum()
        return {"log_loss": float((weights * losses).sum() / total), "top_3": float((weights * hits).sum() / total)}

    return score


def mood_scorer(moods: Numbers, answers: Numbers) -> Scorer:
    """Score expected moods. r2: share of the variance explained, 0 for the mean; mae: mean absolute error."""
    squares, distances = (answers - moods) ** 2, np.abs(answers - moods)

    def score(weights: Numbers) -> Metrics:
        total = weights.sum()
        scatter = (weights * (moods - (weights * moods).sum() / total) ** 2).sum()
        return {
            "r2": float(1 - (weights * squares).sum() / scatter) if scatter else float("nan"),
            "mae": float((weights * distances).sum() / total),
        }

    return score


def _normalised(shares: Numbers) -> Numbers:
    possible = np.clip(shares, SMALLEST_SHARE, None)
    result: Numbers = possible / possible.sum(axis=1, keepdims=True)
    return result


def hit_rate(hours: Numbers, answers: Numbers, best: int) -> Numbers:
    """Return for each example the share of its sessions that fall into the `best` hours ranked highest."""
    chosen = np.argsort(-answers, axis=1, kind="stable")[:, :best]
    hits: Numbers = np.take_along_axis(hours, chosen, axis=1).sum(axis=1)
    return hits


def calibration(said: Numbers, seen: Numbers, weights: Numbers) -> list[dict[str, float]]:
    """Return what was said and what happened in 10 bins of equal weight, ascending by what was said."""
    order = np.argsort(said, kind="stable")
    weight = weights[order]
    bin_of = np.minimum((np.cumsum(weight) - weight / 2) / weight.sum() * BINS, BINS - 1).astype(int)
    sizes = np.bincount(bin_of, weight, BINS)
    columns = (np.bincount(bin_of, weight * values[order], BINS) for values in (said, seen))
    means = [column / np.maximum(sizes, 1e-12) for column in columns]
    return [
        {"said": round(float(a), 4), "seen": round(float(b), 4)}
        for a, b, size in zip(*means, sizes, strict=True)
        if size
    ]


def gains(stayed_away: NDArray[np.bool_], answers: Numbers, shares: Sequence[float]) -> list[float]:
    """Return which share of the leavers is among the given share of users, asked in the order of the answers."""
    found = np.cumsum(stayed_away[np.argsort(-answers, kind="stable")]) / stayed_away.sum()
    asked = np.arange(1, len(found) + 1) / len(found)
    return [float(value) for value in np.interp(shares, [0.0, *asked], [0.0, *found])]
