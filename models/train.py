"""Training: examples of many communities -> one logistic regression per horizon, the same to the last bit each time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from models.dataset import HORIZONS, Dataset

REGULARISATION = 1.0
DIGITS = 6
"""Significant digits of a trained number: what another processor's rounding changes lies beyond them."""


def train(datasets: Sequence[Dataset]) -> tuple[Pipeline, ...]:
    """Train on all examples of all datasets; return a pipeline for each of `HORIZONS`.

    Raises:
        ValueError: there is no dataset, or all users of all of them stayed away, or none did.
    """
    if not datasets:
        raise ValueError("there is nothing to train on")
    features = np.concatenate([data.features for data in datasets])
    weight = np.concatenate([weights(data) for data in datasets])
    return tuple(
        _fit(features, np.concatenate([data.stayed_away(horizon) for data in datasets]), weight) for horizon in HORIZONS
    )


def weights(data: Dataset) -> NDArray[np.float64]:
    """Return the weight of each example: a dataset counts by the square root of its size, not by its size.

    What was left out of the yardstick's task (newcomers, the long silent) counts as much as the task itself: those
    users are scored too, and a model that never saw them is wrong about them.
    """
    task = int(data.eligible.sum())
    other = len(data.eligible) - task
    size = np.sqrt(task or other)
    weight: NDArray[np.float64] = np.where(data.eligible, size / max(task, 1), size / max(other, 1))
    return weight


def _fit(features: NDArray[np.float64], stayed_away: NDArray[np.bool_], weight: NDArray[np.float64]) -> Pipeline:
    if stayed_away.all() or not stayed_away.any():
        raise ValueError("one outcome only: nobody stayed away, or everybody did")
    # The second-order solver ends at the optimum itself, so the result does not depend on the path to it.
    logit = LogisticRegression(C=REGULARISATION, solver="newton-cholesky", tol=1e-10, max_iter=100)
    pipeline = Pipeline([("scale", StandardScaler()), ("logit", logit)])
    pipeline.fit(features, stayed_away, logit__sample_weight=weight / weight.mean())
    scale = pipeline["scale"]
    scale.mean_, scale.scale_ = _rounded(scale.mean_), _rounded(scale.scale_)
    logit.coef_, logit.intercept_ = _rounded(logit.coef_), _rounded(logit.intercept_)
    return pipeline


def _rounded(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = [float(f"{number:.{DIGITS}g}") for number in numbers.ravel()]
    return np.array(flat).reshape(numbers.shape)


def probabilities(pipelines: Sequence[Pipeline], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scikit-learn's P(stayed away), a row for each row and a column for each of `HORIZONS`.

    Who stays away for 30 days stays away for 14: where the three fits disagree, the shorter horizon's wins.
    """
    columns = [pipeline.predict_proba(features)[:, list(pipeline.classes_).index(True)] for pipeline in pipelines]
    lowest: NDArray[np.float64] = np.minimum.accumulate(np.column_stack(columns), axis=1)
    return lowest
