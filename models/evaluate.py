"""Evaluation: every dataset answered by models that never saw it, beside the baselines they have to beat."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engagement.domain.mood import NAMES as MOOD_NAMES
from engagement.domain.pattern import HOURS_OF_DAY
from engagement.domain.timing import NAMES as TIMING_NAMES
from models.baselines import BgNbd, dirichlet, logit, one_level, own_histogram
from models.dataset import HORIZONS, ChurnExamples, Dataset
from models.export import publish_churn, publish_mood, publish_timing
from models.metrics import (
    DRAWS,
    Measure,
    Numbers,
    Scorer,
    calibration,
    churn_scorer,
    interval,
    measure,
    mood_scorer,
    timing_scorer,
)
from models.train import (
    TRAINERS,
    hour_shares,
    moods,
    probabilities,
    train_churn,
    train_mood,
    train_timing,
    weights,
)

FEWEST_TESTED = 150
"""A dataset with fewer tested examples stays out of the averages."""
MODEL = "model"
RULES = "rules"
RFM_LOGIT = "RFM logit"
BG_NBD = "BG/NBD"
RECENCY = "recency logit"
BASE_RATE = "base rate"
RULE = "rule"
DIRICHLET = "Dirichlet 10"
OWN_HISTOGRAM = "own histogram"
POPULATION = "population"
UNIFORM = "uniform"
ONE_LEVEL = "one-step EB 20"
OWN_MEAN = "own mean"
EWMA = "EWMA 0.3"

CHURN_TASKS = tuple(f"churn_{horizon}d" for horizon in HORIZONS)
TASKS = (*CHURN_TASKS, "timing", "mood")
METRICS = {
    **dict.fromkeys(CHURN_TASKS, ("auc", "brier", "ece")),
    "timing": ("log_loss", "top_3"),
    "mood": ("r2", "mae"),
}
"""The first is the one that the candidates are compared by."""
LOWER_IS_BETTER = frozenset({"brier", "ece", "log_loss", "mae"})


@dataclass(frozen=True, slots=True)
class Answers:
    """What candidates said of the held-back examples of one dataset and task.

    Attributes:
        user: number of the user of each example.
        labels: what happened, a row for each example.
        said: by candidate, the model first; of the same shape as `labels`.
    """

    user: NDArray[np.int64]
    labels: NDArray[Any]
    said: Mapping[str, Numbers]


@dataclass(frozen=True, slots=True)
class Round:
    """One dataset, left out of training.

    Attributes:
        dataset: its name.
        churn, timing, mood: the answers.
    """

    dataset: str
    churn: Answers
    timing: Answers
    mood: Answers

    def answers(self, task: str) -> Answers:
        """Return the answers that one of `TASKS` is about."""
        return {"timing": self.timing, "mood": self.mood}.get(task, self.churn)


def leave_one_out(datasets: Sequence[Dataset], keep: Path | None = None) -> Iterator[Round]:
    """Train on all datasets but one and ask about that one, for each in turn.

    Args:
        datasets: at least two.
        keep: folder to publish the models to, below the name of the dataset they never saw.
    """
    for left_out in datasets:
        others = [data for data in datasets if data is not left_out]
        folder = keep / left_out.name if keep else None
        yield Round(
            left_out.name,
            _churn(left_out, others, folder),
            _timing(left_out, others, folder),
            _mood(left_out, others, folder),
        )


def _churn(left_out: Dataset, others: Sequence[Dataset], folder: Path | None) -> Answers:
    trained = [data.churn for data in others]
    pipelines = train_churn(trained)
    if folder:
        publish_churn(pipelines, others, {}, folder / "churn")
    data = left_out.churn
    tested = data.eligible & data.held_back
    labels = np.column_stack([data.stayed_away(horizon)[tested] for horizon in HORIZONS])
    buy_till_you_die = BgNbd(left_out.rhythms)
    said = {
        MODEL: probabilities(pipelines, data.features[tested]),
        RULES: data.rules[tested],
        RFM_LOGIT: _logits(trained, lambda known: known.rfm, data.rfm[tested]),
        BG_NBD: np.column_stack([buy_till_you_die.stays_away(data.rhythm[tested], horizon) for horizon in HORIZONS]),
        RECENCY: _logits(
            trained, lambda known: np.log1p(known.silence)[:, None], np.log1p(data.silence[tested])[:, None]
        ),
        BASE_RATE: _base_rates(trained, int(tested.sum())),
    }
    return Answers(data.user[tested], labels, said)


def _logits(trained: Sequence[ChurnExamples], columns: Callable[[ChurnExamples], Numbers], asked: Numbers) -> Numbers:
    """Return what a plain logistic regression, trained like the model on the benchmark's task, says by horizon."""
    known = np.concatenate([columns(data)[data.eligible] for data in trained])
    weight = np.concatenate([weights(data)[data.eligible] for data in trained])
    labels = (np.concatenate([data.stayed_away(horizon)[data.eligible] for data in trained]) for horizon in HORIZONS)
    return np.column_stack([logit(known, stayed_away, weight, asked) for stayed_away in labels])


def _base_rates(trained: Sequence[ChurnExamples], count: int) -> Numbers:
    known = [data for data in trained if data.eligible.any()]
    shares = [np.mean([data.stayed_away(horizon)[data.eligible].mean() for data in known]) for horizon in HORIZONS]
    return np.tile(shares, (count, 1))


def _timing(left_out: Dataset, others: Sequence[Dataset], folder: Path | None) -> Answers:
    trained = train_timing([data.timing for data in others])
    if folder:
        publish_timing(trained, others, {}, folder / "timing")
    data = left_out.timing
    tested = data.held_back
    if not tested.any():
        return Answers(data.user[tested], data.hours[tested], {})
    own, population = data.own_hours[tested], np.exp(data.features[tested][:, :, TIMING_NAMES.index("population")])
    said = {
        MODEL: hour_shares(trained, data.features[tested]),
        RULE: data.rule[tested],
        DIRICHLET: dirichlet(own, population),
        OWN_HISTOGRAM: own_histogram(own),
        POPULATION: population,
        UNIFORM: np.full_like(own, 1 / HOURS_OF_DAY),
    }
    return Answers(data.user[tested], data.hours[tested], said)


def _mood(left_out: Dataset, others: Sequence[Dataset], folder: Path | None) -> Answers:
    trained = [data.mood for data in others]
    model = train_mood(trained)
    if folder:
        publish_mood(model, others, {}, folder / "mood")
    everything = [np.ones(len(data.user), np.bool_) for data in trained]
    data = left_out.mood
    tested = data.held_back
    if not tested.any():
        return Answers(data.user[tested], data.mood[tested], {})
    rows, population = data.features[tested], data.features[tested][:, MOOD_NAMES.index("population")]
    said = {
        MODEL: moods(model.regressor, rows),
        **{kind: moods(trainer(trained, everything), rows) for kind, trainer in TRAINERS.items()},
        ONE_LEVEL: one_level(data.own_mean[tested], data.messages[tested], population),
        OWN_MEAN: data.own_mean[tested],
        EWMA: data.ewma[tested],
        POPULATION: population,
    }
    return Answers(data.user[tested], data.mood[tested], said)


# --- figures ---


def measures(found: Round, draws: int = DRAWS) -> list[Measure]:
    """Return how well each candidate did; a task without examples, or with one outcome only, has no measures."""
    measured: list[Measure] = []
    for column, task in enumerate(CHURN_TASKS):
        labels = found.churn.labels[:, column]
        if labels.any() and not labels.all():
            scorers = {who: churn_scorer(labels, said[:, column]) for who, said in found.churn.said.items()}
            measured += measure(task, found.dataset, found.churn.user, scorers, draws)
    others: tuple[tuple[str, Answers, Callable[[Any, Numbers], Scorer]], ...] = (
        ("timing", found.timing, timing_scorer),
        ("mood", found.mood, mood_scorer),
    )
    for task, answers, scorer in others:
        if len(answers.user):
            scorers = {who: scorer(answers.labels, said) for who, said in answers.said.items()}
            measured += measure(task, found.dataset, answers.user, scorers, draws)
    return measured


def averages(measured: Iterable[Measure], task: str, candidate: str) -> dict[str, float]:
    """Return the means over the datasets with enough tested examples, to 4 digits; empty where there is none."""
    chosen = _chosen(measured, task, candidate)
    if not chosen:
        return {}
    return {name: _rounded(np.mean([one.values[name] for one in chosen])) for name in METRICS[task]}


def intervals(measured: Iterable[Measure], task: str, candidate: str) -> dict[str, list[float]]:
    """Return the 95 % intervals of the same means: users are resampled within each dataset.

    Resampling adds noise, which a calibration error counts as error: its draws are moved back by that.
    """
    chosen = _chosen(measured, task, candidate)
    if not chosen:
        return {}
    draws = {name: np.mean([one.draws[name] for one in chosen], axis=0) for name in METRICS[task]}
    if "ece" in draws:
        draws["ece"] = draws["ece"] - draws["ece"].mean() + np.mean([one.values["ece"] for one in chosen])
    return {name: _interval(values) for name, values in draws.items()}


def ahead(measured: Sequence[Measure], task: str, candidate: str) -> tuple[float, list[float]]:
    """Return by how much the model is better than a candidate in the task's first metric, and the 95 % interval."""
    name = METRICS[task][0]
    sign = -1 if name in LOWER_IS_BETTER else 1
    pairs = list(zip(_chosen(measured, task, MODEL), _chosen(measured, task, candidate), strict=True))
    gain = np.mean([model.values[name] - other.values[name] for model, other in pairs])
    draws = np.mean([model.draws[name] - other.draws[name] for model, other in pairs], axis=0)
    return _rounded(sign * gain), _interval(sign * draws)


def _chosen(measured: Iterable[Measure], task: str, candidate: str) -> list[Measure]:
    return [one for one in measured if (one.task, one.candidate) == (task, candidate) and one.tested >= FEWEST_TESTED]


def _interval(draws: Numbers) -> list[float]:
    return [_rounded(end) for end in interval(draws)]


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def candidates(measured: Iterable[Measure], task: str) -> list[str]:
    """Return who was measured, the model first."""
    return list(dict.fromkeys(one.candidate for one in measured if one.task == task))


def for_card(measured: Sequence[Measure], rounds: Sequence[Round], tasks: Sequence[str]) -> dict[str, Any]:
    """Return what a model's card says of its quality.

    Args:
        measured: of all datasets.
        rounds: the answers that were measured.
        tasks: those of `TASKS` that the model is for.
    """
    datasets = sorted({one.dataset for one in measured if one.task in tasks and one.tested >= FEWEST_TESTED})
    return {
        "protocol": "leave one dataset out: each is answered by the same procedure trained on the others; the last "
        "40 % of cut-offs; mean over datasets; 95 % intervals from resampling users within each dataset",
        "datasets": len(datasets),
        **{task: {who: _card_line(measured, task, who) for who in candidates(measured, task)} for task in tasks},
        "by_dataset": {
            dataset: {
                one.task: _rounded(one.values[METRICS[one.task][0]])
                for one in measured
                if (one.dataset, one.candidate) == (dataset, MODEL) and one.task in tasks
            }
            for dataset in datasets
        },
        "calibration": {task: calibration_of(rounds, task, MODEL) for task in tasks},
    }


def _card_line(measured: Sequence[Measure], task: str, candidate: str) -> dict[str, Any]:
    means = averages(measured, task, candidate)
    ends = intervals(measured, task, candidate)
    line: dict[str, Any] = {}
    for name, value in means.items():
        line |= {name: value, f"{name}_95": ends[name]}
    if means and candidate != MODEL:
        line["model_better_by"], line["model_better_by_95"] = ahead(measured, task, candidate)
    return line


def calibration_of(rounds: Sequence[Round], task: str, candidate: str) -> list[dict[str, float]]:
    """Return what a candidate said and what happened, in ten bins; every dataset weighs the same.

    Of timing, each hour of each user is one thing said: its share, and the share of the sessions that started in it.
    """
    parts = [_said_and_seen(found, task, candidate) for found in rounds if _is_tested(found, task)]
    said, seen = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return calibration(said, seen, np.concatenate([np.full(len(part[0]), 1 / len(part[0])) for part in parts]))


def _said_and_seen(found: Round, task: str, candidate: str) -> tuple[Numbers, Numbers]:
    answers = found.answers(task)
    said, seen = answers.said[candidate], answers.labels
    if task in CHURN_TASKS:
        column = CHURN_TASKS.index(task)
        return said[:, column], seen[:, column].astype(float)
    return said.ravel(), seen.ravel()


def _is_tested(found: Round, task: str) -> bool:
    return len(found.answers(task).user) >= FEWEST_TESTED
