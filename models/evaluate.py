"""Evaluation: every dataset scored by a model that never saw it, beside the baselines it has to beat."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from models.dataset import HORIZONS, Dataset
from models.export import publish
from models.train import probabilities, train, weights

BINS = 10
FEWEST_TESTED = 150
"""A dataset with fewer tested examples stays out of the averages."""
MODEL = "model"
RULES = "rules"
RECENCY = "recency logit"
BASE_RATE = "base rate"
CANDIDATES = (MODEL, RULES, RECENCY, BASE_RATE)


@dataclass(frozen=True, slots=True)
class Measure:
    """How well one candidate did on one dataset at one horizon.

    Attributes:
        dataset: name of the dataset left out of training.
        horizon: days.
        candidate: one of `CANDIDATES`.
        tested: number of examples: the yardstick's task on the last 40 % of cut-offs.
        stayed_away: share of them that did, [0, 1].
        auc: probability that a leaver is ranked above one who stays; 0.5 is chance.
        brier: mean squared error of the probabilities; smaller is better.
        ece: mean gap between predicted and observed over 10 equally filled bins; smaller is better.
    """

    dataset: str
    horizon: int
    candidate: str
    tested: int
    stayed_away: float
    auc: float
    brier: float
    ece: float


def leave_one_out(datasets: Sequence[Dataset], keep: Path | None = None) -> Iterator[list[Measure]]:
    """Train on all datasets but one and score that one, for each in turn.

    Args:
        datasets: at least two.
        keep: folder to publish the models to, each below the name of the dataset it never saw.
    """
    for left_out in datasets:
        others = [data for data in datasets if data is not left_out]
        pipelines = train(others)
        if keep:
            publish(pipelines, others, {}, keep / left_out.name)
        tested = left_out.eligible & left_out.held_back
        answers = {
            MODEL: probabilities(pipelines, left_out.features[tested]),
            RULES: left_out.rules[tested],
            RECENCY: _recency(others, left_out.silence[tested]),
            BASE_RATE: _base_rate(others, int(tested.sum())),
        }
        yield [
            measure
            for column, horizon in enumerate(HORIZONS)
            for candidate in CANDIDATES
            if (measure := _measure(left_out, horizon, candidate, tested, answers[candidate][:, column]))
        ]


def _recency(others: Sequence[Dataset], silence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what log silence alone, trained like the model on the yardstick's task, says for each horizon."""

    def column(horizon: int) -> NDArray[np.float64]:
        logit = LogisticRegression()
        known = np.concatenate([data.silence[data.eligible] for data in others])
        weight = np.concatenate([weights(data)[data.eligible] for data in others])
        logit.fit(
            np.log1p(known)[:, None],
            np.concatenate([data.stayed_away(horizon)[data.eligible] for data in others]),
            sample_weight=weight / weight.mean(),
        )
        answer: NDArray[np.float64] = logit.predict_proba(np.log1p(silence)[:, None])[:, 1]
        return answer

    return np.column_stack([column(horizon) for horizon in HORIZONS])


def _base_rate(others: Sequence[Dataset], count: int) -> NDArray[np.float64]:
    known = [data for data in others if data.eligible.any()]
    shares = [np.mean([data.stayed_away(horizon)[data.eligible].mean() for data in known]) for horizon in HORIZONS]
    return np.tile(shares, (count, 1))


def _measure(
    data: Dataset, horizon: int, candidate: str, tested: NDArray[np.bool_], answers: NDArray[np.float64]
) -> Measure | None:
    """Return the measure; None where only one outcome occurred, so that nothing can be ranked."""
    labels = data.stayed_away(horizon)[tested]
    if labels.all() or not labels.any():
        return None
    return Measure(
        dataset=data.name,
        horizon=horizon,
        candidate=candidate,
        tested=len(labels),
        stayed_away=float(labels.mean()),
        auc=float(roc_auc_score(labels, answers)),
        brier=float(np.mean((answers - labels) ** 2)),
        ece=calibration_error(labels, answers),
    )


def calibration_error(labels: NDArray[np.bool_], answers: NDArray[np.float64]) -> float:
    """Return the expected calibration error, [0, 1]: bins of equal size by predicted probability."""
    order = np.argsort(answers, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [len(part) * abs(labels[part].mean() - answers[part].mean()) for part in bins]
    return float(sum(gaps) / len(labels))


def averages(measures: Iterable[Measure], horizon: int, candidate: str) -> dict[str, float]:
    """Return the means over the datasets with enough tested examples, to 4 digits; empty where there is none."""
    chosen = [m for m in measures if (m.horizon, m.candidate) == (horizon, candidate) and m.tested >= FEWEST_TESTED]
    if not chosen:
        return {}
    return {
        name: round(float(np.mean([getattr(measure, name) for measure in chosen])), 4)
        for name in ("auc", "brier", "ece")
    }


def for_card(measures: Sequence[Measure]) -> dict[str, Any]:
    """Return the measures as a model's card shows them."""
    datasets = {m.dataset for m in measures if m.tested >= FEWEST_TESTED}
    return {
        "protocol": "leave one dataset out: each is scored by the same procedure trained on the others; "
        "users with at least 3 events, one in the last 30 days; the last 40 % of cut-offs; mean over datasets",
        "datasets": len(datasets),
        **{
            f"churn_{horizon}d": {candidate: averages(measures, horizon, candidate) for candidate in CANDIDATES}
            for horizon in HORIZONS
        },
        "auc_by_dataset": {
            name: {
                f"churn_{m.horizon}d": round(m.auc, 4) for m in measures if (m.dataset, m.candidate) == (name, MODEL)
            }
            for name in sorted(datasets)
        },
    }
