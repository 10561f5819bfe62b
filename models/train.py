"""Training: examples of many communities -> the three models, the same to the last bit each time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from engagement.domain.mood import NAMES as MOOD_NAMES
from engagement.domain.pattern import DAY
from engagement.domain.timing import NAMES as TIMING_NAMES
from models.dataset import HORIZONS, MOOD_DAYS, ChurnExamples, Flags, MoodExamples, TimingExamples
from models.metrics import Numbers, interval, mood_scorer, resampled

REGULARISATION = 1.0
DIGITS = 6
"""Significant digits of a trained number: what another processor's rounding changes lies beyond them."""

TIMING_RIDGE = 1e-3
NEWTON_STEPS = 50
CONVERGED = 1e-10

EMPIRICAL_BAYES = "empirical Bayes"
LINEAR = "linear regression"
BOOSTING = "gradient boosting"
FEWEST_VALIDATED = 150
"""Examples held back, below which a dataset has no say in which mood model serves."""


class _Examples(Protocol):
    """Looks at users of one dataset."""

    @property
    def user(self) -> NDArray[np.int64]:
        """One number for each look."""
        ...


# --- churn ---


def train_churn(examples: Sequence[ChurnExamples]) -> tuple[Pipeline, ...]:
    """Train a logistic regression for each of `HORIZONS` on all examples of all datasets.

    Raises:
        ValueError: there is no dataset, or all users of all of them stayed away, or none did.
    """
    if not examples:
        raise ValueError("there is nothing to train on")
    features = np.concatenate([data.features for data in examples])
    weight = np.concatenate([weights(data) for data in examples])
    return tuple(
        _fit(features, np.concatenate([data.stayed_away(horizon) for data in examples]), weight) for horizon in HORIZONS
    )


def weights(data: ChurnExamples) -> Numbers:
    """Return the weight of each example: a dataset counts by the square root of its size, not by its size.

    What was left out of the benchmark's task (newcomers, the long silent) counts as much as the task itself: those
    users are scored too, and a model that never saw them is wrong about them.
    """
    task = int(data.eligible.sum())
    other = len(data.eligible) - task
    size = np.sqrt(task or other)
    weight: Numbers = np.where(data.eligible, size / max(task, 1), size / max(other, 1))
    return weight


def _fit(features: Numbers, stayed_away: Flags, weight: Numbers) -> Pipeline:
    if stayed_away.all() or not stayed_away.any():
        raise ValueError("one outcome only: nobody stayed away, or everybody did")
    # The second-order solver ends at the optimum itself, so the result does not depend on the path to it.
    logit = LogisticRegression(C=REGULARISATION, solver="newton-cholesky", tol=1e-10, max_iter=100)
    pipeline = Pipeline([("scale", StandardScaler()), ("logit", logit)])
    pipeline.fit(features, stayed_away, logit__sample_weight=weight / weight.mean())
    return rounded(pipeline)


def rounded(pipeline: Pipeline) -> Pipeline:
    """Round the numbers of a scaled logistic regression to `DIGITS`."""
    scale, logit = pipeline["scale"], pipeline["logit"]
    scale.mean_, scale.scale_ = _rounded(scale.mean_), _rounded(scale.scale_)
    logit.coef_, logit.intercept_ = _rounded(logit.coef_), _rounded(logit.intercept_)
    return pipeline


def _rounded(numbers: Numbers) -> Numbers:
    flat = [float(f"{number:.{DIGITS}g}") for number in numbers.ravel()]
    return np.array(flat).reshape(numbers.shape)


def probabilities(pipelines: Sequence[Pipeline], features: Numbers) -> Numbers:
    """Return scikit-learn's P(stayed away), a row for each row and a column for each of `HORIZONS`.

    Who stays away for 30 days stays away for 14: where the three fits disagree, the shorter horizon's wins.
    """
    columns = [pipeline.predict_proba(features)[:, list(pipeline.classes_).index(True)] for pipeline in pipelines]
    lowest: Numbers = np.minimum.accumulate(np.column_stack(columns), axis=1)
    return lowest


# --- timing ---


def train_timing(examples: Sequence[TimingExamples]) -> LogisticRegression:
    """Train a conditional logit: the log odds of one hour against another are what the features' difference weighs.

    Fitted exactly, by Newton's method. scikit-learn's own fit can only be asked about one hour, or one pair of hours,
    at a time, which on the public streams is .001 worse in log-loss (2.9304 and 2.9302 against 2.9294).

    Returns:
        A logistic regression without intercept, whose `decision_function` of the 24 rows of a user is to be
        normalised; see `hour_shares`.

    Raises:
        ValueError: there is nothing to train on.
    """
    known = [data for data in examples if len(data.user)]
    if not known:
        raise ValueError("there is nothing to train on")
    features = np.concatenate([data.features for data in known])
    hours = np.concatenate([data.hours for data in known])
    weight = np.concatenate([_even_weights(data) for data in known])
    weight = weight / weight.sum()
    coefficients = np.zeros(len(TIMING_NAMES))
    for _ in range(NEWTON_STEPS):
        shares = _softmax(features @ coefficients)
        expected = np.einsum("nh,nhk->nk", shares, features)
        slope = weight @ (np.einsum("nh,nhk->nk", hours, features) - expected) - 2 * TIMING_RIDGE * coefficients
        scatter = np.einsum("n,nh,nhj,nhk->jk", weight, shares, features, features, optimize=True)
        curvature = scatter - np.einsum("n,nj,nk->jk", weight, expected, expected)
        step = np.linalg.solve(curvature + 2 * TIMING_RIDGE * np.eye(len(coefficients)), slope)
        coefficients = coefficients + step
        if np.abs(step).max() < CONVERGED:
            break
    logit = LogisticRegression(fit_intercept=False)
    logit.classes_, logit.n_features_in_ = np.array([False, True]), len(TIMING_NAMES)
    logit.coef_, logit.intercept_ = _rounded(coefficients[None, :]), np.zeros(1)
    return logit


def hour_shares(logit: LogisticRegression, features: Numbers) -> Numbers:
    """Return scikit-learn's shares of the 24 hours, a row for each user.

    Args:
        logit: as trained.
        features: [users, 24, features].
    """
    users, hours, names = features.shape
    return _softmax(logit.decision_function(features.reshape(-1, names)).reshape(users, hours))


def _softmax(scores: Numbers) -> Numbers:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Numbers = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _even_weights(data: _Examples) -> Numbers:
    """Return the weight of each example: a dataset counts by the square root of its size, as in `weights`."""
    return np.full(len(data.user), max(len(data.user), 1) ** -0.5)


# --- mood ---


@dataclass(frozen=True, slots=True)
class TrainedMood:
    """What serves, and what was not good enough to.

    Attributes:
        kind: `EMPIRICAL_BAYES`, `LINEAR` or `BOOSTING`.
        regressor: scikit-learn's; see `moods`.
        refused: the other kinds, with R2 over the empirical-Bayes level's on what was held back: "r2_gain" and
            its interval "low" and "high"; None where nothing could be held back.
    """

    kind: str
    regressor: Any
    refused: dict[str, dict[str, float] | None]


def train_mood(examples: Sequence[MoodExamples]) -> TrainedMood:
    """Train a linear and a gradient-boosted model; take one only if it beats the empirical-Bayes level beyond doubt.

    They are fitted to what happened before the held-back cut-offs and compared there; the better one whose gain in R2
    (mean over datasets) has an interval above zero is fitted to everything and served. On real people neither was.

    Raises:
        ValueError: there is nothing to train on.
    """
    known = [data for data in examples if len(data.user)]
    if not known:
        raise ValueError("there is nothing to train on")
    gains = _gains(known)
    better = {kind: gain for kind, gain in gains.items() if gain and gain["low"] > 0}
    kind = max(better, key=lambda name: better[name]["r2_gain"], default=EMPIRICAL_BAYES)
    everything = [np.ones(len(data.user), np.bool_) for data in known]
    regressor = TRAINERS[kind](known, everything) if better else level_alone()
    return TrainedMood(kind, regressor, {name: gain for name, gain in gains.items() if name != kind})


def moods(regressor: Any, features: Numbers) -> Numbers:
    """Return scikit-learn's expected moods, [-1, 1]."""
    expected: Numbers = np.clip(regressor.predict(features), -1, 1)
    return expected


def level_alone() -> LinearRegression:
    """Return the empirical-Bayes level as a regression that passes it on: nothing is left to be fitted."""
    regression = LinearRegression()
    regression.n_features_in_ = len(MOOD_NAMES)
    regression.coef_ = np.array([1.0 if name == "level" else 0.0 for name in MOOD_NAMES])
    regression.intercept_ = 0.0
    return regression


def fit_linear(examples: Sequence[MoodExamples], chosen: Sequence[Flags]) -> LinearRegression:
    """Fit a linear regression to the chosen examples."""
    regression = LinearRegression().fit(*_mood_rows(examples, chosen))
    regression.coef_ = _rounded(regression.coef_)
    regression.intercept_ = float(_rounded(np.array([regression.intercept_]))[0])
    return regression


def fit_boosting(examples: Sequence[MoodExamples], chosen: Sequence[Flags]) -> GradientBoostingRegressor:
    """Fit gradient boosting, as tame as it has to be with so much noise, to the chosen examples."""
    boosting = GradientBoostingRegressor(
        n_estimators=150, max_depth=2, learning_rate=0.03, subsample=0.5, min_samples_leaf=50, random_state=0
    )
    return boosting.fit(*_mood_rows(examples, chosen))


TRAINERS: dict[str, Callable[[Sequence[MoodExamples], Sequence[Flags]], Any]] = {
    LINEAR: fit_linear,
    BOOSTING: fit_boosting,
}


def _mood_rows(examples: Sequence[MoodExamples], chosen: Sequence[Flags]) -> tuple[Numbers, Numbers, Numbers]:
    """Return features, labels and weights of the chosen examples of each dataset."""
    pairs = list(zip(examples, chosen, strict=True))
    return (
        np.concatenate([data.features[rows] for data, rows in pairs]),
        np.concatenate([data.mood[rows] for data, rows in pairs]),
        np.concatenate([_even_weights(data)[rows] for data, rows in pairs]),
    )


def _gains(examples: Sequence[MoodExamples]) -> dict[str, dict[str, float] | None]:
    """Return what each kind gains over the level in R2 where it was held back, with its interval."""
    earlier = [_known_before_held_back(data) for data in examples]
    judges = [data for data in examples if data.held_back.sum() >= FEWEST_VALIDATED]
    if not judges or not any(rows.any() for rows in earlier):
        return dict.fromkeys(TRAINERS)
    found: dict[str, dict[str, float] | None] = {}
    for kind, trainer in TRAINERS.items():
        regressor = trainer(examples, earlier)
        gains, draws = zip(*(_gain(data, regressor) for data in judges), strict=True)
        low, high = interval(np.mean(draws, axis=0))
        found[kind] = {"r2_gain": round(float(np.mean(gains)), 4), "low": round(low, 4), "high": round(high, 4)}
    return found


def _known_before_held_back(data: MoodExamples) -> Flags:
    """Return which examples' labels were all known by the first held-back cut-off."""
    first = data.at[data.held_back].min(initial=np.inf)
    known: Flags = data.at + MOOD_DAYS * DAY <= first
    return known


def _gain(data: MoodExamples, regressor: Any) -> tuple[float, Numbers]:
    held = data.held_back
    rows, labels = data.features[held], data.mood[held]
    served = mood_scorer(labels, moods(regressor, rows))
    level = mood_scorer(labels, moods(level_alone(), rows))
    draws = [served(drawn)["r2"] - level(drawn)["r2"] for drawn in resampled(data.user[held])]
    everybody = np.ones(len(labels))
    return served(everybody)["r2"] - level(everybody)["r2"], np.array(draws)
