"""The trainer's computation: one bot's histories -> a verdict on each model, and the files of those to be promoted.

A candidate is fitted to looks whose labels were known before the first of the looks that it is judged on; those are
the last 30 % of cut-offs. What was judged is what is published: nothing is fitted again to all of it. The uplift model
learns from decisions instead of looks, and is judged in another way: see `models.uplift`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engagement.clients.predictor import CHURN, MOOD, TIMING, ChurnModel, Interface, MoodModel, TimingModel
from engagement.domain.champion import UPLIFT
from engagement.domain.features import BIN_EDGES, bins_of, features
from engagement.domain.history import History
from engagement.domain.interaction import Interaction
from engagement.domain.mood import mood_features
from engagement.domain.pattern import DAY, HOURS_OF_DAY
from engagement.domain.pattern_bytes import decode
from engagement.domain.population import Population
from engagement.domain.timing import hour_features
from engagement.domain.uplift import LoggedDecision
from engagement.errors import ModelUnavailableError
from models import judge, uplift
from models.adapt import Candidate, adapt_churn, adapt_mood, adapt_timing, boost_mood, shifted_only, task_weights
from models.candidate import answers_of, publish_candidate
from models.crowd import counts, population_of
from models.dataset import HORIZONS, MOOD_DAYS, TIMING_DAYS
from models.export import Served
from models.judge import BUNDLED, CANDIDATE, SERVING, Difference, Outcome, Verdict
from models.metrics import Numbers
from models.sample import Look, Sample, sample

ONE_OUTCOME = "one outcome only in {samples:,} labelled looks: there is nothing to tell apart"
LIMITS = (
    "Trained on and for one bot, with the users who allowed it; they may differ from those who did not.",
    "It says who is likely to stay away, not whom a message would bring back; who was written to is not told apart.",
)

WARM_UP = 0.25
"""Share of the history before the first look: until then patterns are shorter than those that are served."""
VALIDATED = 0.3
"""Share of the cut-offs that candidates are judged on: the last ones."""
FEWEST_USERS = 30
"""In what is fitted to, and in what is judged on."""
MOST_FITTED = 5_000
"""Looks of timing and of mood, whose rows are longer or whose fit is slower than churn's."""
READING_RESERVE = 60.0
"""Seconds kept back from reading for the training of four models."""
MODEL_RESERVE = 20.0
"""Seconds without which the training of a model is not begun."""


@dataclass(frozen=True, slots=True)
class Table:
    """The looks of one task as columns.

    Attributes:
        rows: features.
        labels: what happened; a row a look.
        user: hash of the user.
        at: epoch seconds of the cut-off.
        task: what the benchmark asks about; the rest is trained on too.
    """

    rows: Numbers
    labels: NDArray[Any]
    user: NDArray[np.int64]
    at: Numbers
    task: NDArray[np.bool_]

    def part(self, chosen: NDArray[np.bool_]) -> "Table":
        """Return the chosen looks."""
        return Table(self.rows[chosen], self.labels[chosen], self.user[chosen], self.at[chosen], self.task[chosen])


Fitter = Callable[[Table, Numbers], Iterator[Candidate]]
"""What is fitted to, and what the bundled model says of it -> candidates."""


@dataclass(frozen=True, slots=True)
class _Task:
    """How one model is trained.

    Attributes:
        client: what serves the model.
        window: days after a cut-off until its labels are known.
        candidates: fits them.
        loss: name of the loss that decides.
        losses: labels and answers -> the loss of each look.
        metrics: users, labels and answers -> what a verdict shows.
    """

    client: type[Served]
    window: int
    candidates: Fitter
    loss: str
    losses: Callable[[NDArray[Any], Numbers], Numbers]
    metrics: Callable[[NDArray[np.int64], NDArray[Any], Numbers], dict[str, Any]]


def _churn_candidates(fitted: Table, bundled: Numbers) -> Iterator[Candidate]:
    adapted = adapt_churn(fitted.rows, fitted.labels, bundled, fitted.task)
    yield adapted
    if adapted.forest:
        yield shifted_only(adapted)


def _timing_candidates(fitted: Table, bundled: Numbers) -> Iterator[Candidate]:
    yield adapt_timing(fitted.rows, fitted.labels, bundled)


def _mood_candidates(fitted: Table, bundled: Numbers) -> Iterator[Candidate]:
    yield boost_mood(fitted.rows, fitted.labels)
    yield adapt_mood(fitted.rows, fitted.labels, bundled)


TASKS = {
    "churn": _Task(ChurnModel, max(HORIZONS), _churn_candidates, "log-loss", judge.churn_losses, judge.churn_metrics),
    "timing": _Task(
        TimingModel, TIMING_DAYS, _timing_candidates, "log-loss", judge.timing_losses, judge.timing_metrics
    ),
    "mood": _Task(MoodModel, MOOD_DAYS, _mood_candidates, "squared error", judge.mood_losses, judge.mood_metrics),
}


def train_all(
    histories: Iterable[History],
    *,
    serving: Mapping[str, Path],
    bundled: Mapping[str, Path],
    out: Path,
    now: datetime,
    min_samples: int,
    remaining_seconds: Callable[[], float],
) -> list[Verdict]:
    """Train and judge every model; return a verdict on each, promising nothing that was not measured.

    Args:
        histories: each user's; read once, one history held at a time.
        serving: folder of the model that serves now, by name; no uplift model may serve.
        bundled: folder of the model that came with the code, by name.
        out: where candidates to be promoted are written, each into a folder of its name.
        now: end of what is known; aware.
        min_samples: fewest looks that a model is trained from.
        remaining_seconds: how long the run may still take; where it is short, reading stops early and the training
            makes do with what was read.

    Raises:
        LeakError: a feature knew what came after its cut-off; nothing was written.
        ModelUnavailableError: a bundled model cannot be used.
    """
    decisions: list[LoggedDecision] = []

    def interactions() -> Iterator[Sequence[Interaction]]:
        for history in histories:
            if history.decision:
                decisions.append(history.decision)
            yield history.interactions

    found = sample(interactions(), now, enough_time=lambda: remaining_seconds() > READING_RESERVE)
    verdicts = train(
        found,
        serving=serving,
        bundled=bundled,
        out=out,
        now=now,
        min_samples=min_samples,
        remaining_seconds=remaining_seconds,
    )
    if remaining_seconds() < MODEL_RESERVE:
        return [*verdicts, _out_of_time(UPLIFT, found)]
    of_uplift = uplift.train(
        decisions,
        serving=serving.get(UPLIFT),
        out=out / UPLIFT,
        now=now,
        min_samples=min_samples,
        complete=found.complete,
    )
    return [*verdicts, of_uplift]


def train(
    found: Sample,
    *,
    serving: Mapping[str, Path],
    bundled: Mapping[str, Path],
    out: Path,
    now: datetime,
    min_samples: int,
    remaining_seconds: Callable[[], float] = lambda: float("inf"),
) -> list[Verdict]:
    """Train and judge the models that learn from a sample of looks; as `train_all`."""
    if remaining_seconds() < MODEL_RESERVE:
        return [_out_of_time(name, found) for name in TASKS]
    verdicts = []
    for name, table in tables(found).items():
        if remaining_seconds() < MODEL_RESERVE:
            verdicts.append(_out_of_time(name, found))
            continue
        trial = _Trial(name, table, found, serving[name], bundled[name], now)
        verdicts.append(trial.run(out / name, min_samples))
    return verdicts


def _out_of_time(name: str, found: Sample) -> Verdict:
    return Verdict(name, "out_of_time", f"the time was up after reading {found.users:,} histories", 0)


def tables(found: Sample) -> dict[str, Table]:
    """Return the looks of each task as columns; of one sample always the same."""
    totals: defaultdict[float, NDArray[np.int64]] = defaultdict(lambda: np.zeros((), np.int64))
    rows = []
    for look in found.looks:
        pattern, now = decode(look.pattern), datetime.fromtimestamp(look.at, UTC)
        rows.append(features(pattern, now))
        totals[look.at] = totals[look.at] + counts(pattern)
    populations = {at: population_of(total) for at, total in totals.items()}
    timing = [look for look in found.looks if look.hours is not None][:MOST_FITTED]
    mood = [look for look in found.looks if look.mood is not None][:MOST_FITTED]
    hour_rows, mood_rows = _personal(timing, mood, populations)
    stayed_away = [[look.absence > horizon for horizon in HORIZONS] for look in found.looks]
    return {
        "churn": _table(found.looks, rows, np.array(stayed_away, np.bool_).reshape(-1, len(HORIZONS)), CHURN),
        "timing": _table(
            timing, hour_rows, np.array([look.hours for look in timing]).reshape(-1, HOURS_OF_DAY), TIMING
        ),
        "mood": _table(mood, mood_rows, np.array([look.mood for look in mood], float).reshape(-1, 1), MOOD),
    }


def _personal(
    timing: Sequence[Look], mood: Sequence[Look], populations: Mapping[float, Population]
) -> tuple[list[Any], list[Any]]:
    """Return the rows of timing and of mood, each shrunk to the users as they were at its cut-off."""
    found: dict[int, tuple[Any, Any]] = {}
    wanted = ({look.key for look in timing}, {look.key for look in mood})
    # A look at a time: decoded patterns are ten times the size of their bytes.
    for look in {look.key: look for look in (*timing, *mood)}.values():
        pattern, crowd, now = decode(look.pattern), populations[look.at], datetime.fromtimestamp(look.at, UTC)
        found[look.key] = (
            hour_features(pattern, crowd, now) if look.key in wanted[0] else None,
            mood_features(pattern, crowd, now) if look.key in wanted[1] else None,
        )
    return [found[look.key][0] for look in timing], [found[look.key][1] for look in mood]


def _table(looks: Sequence[Look], rows: Sequence[Any], labels: NDArray[Any], interface: Interface) -> Table:
    return Table(
        rows=np.array(rows, float).reshape(-1, *interface.shape),
        labels=labels,
        user=np.array([look.user for look in looks], np.uint64).view(np.int64),
        at=np.array([look.at for look in looks], float),
        task=np.array([look.eligible for look in looks], np.bool_),
    )


def split(at: Numbers, first: float, now: datetime, window: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which looks are fitted to and which are judged on.

    Args:
        at: epoch seconds of each look.
        first: epoch seconds of the earliest interaction.
        now: end of what is known.
        window: days after a look until its labels are known. Those of the fitted are before the first judged look.
    """
    usable = (at >= first + WARM_UP * (now.timestamp() - first)) & (at + window * DAY <= now.timestamp())
    cut_offs = np.unique(at[usable])
    if not len(cut_offs):
        return usable, usable
    turn = cut_offs[int(len(cut_offs) * (1 - VALIDATED))]
    return usable & (at + window * DAY <= turn), usable & (at >= turn)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One model's training."""

    name: str
    table: Table
    found: Sample
    serving: Path
    bundled: Path
    now: datetime

    def run(self, out: Path, min_samples: int) -> Verdict:
        """Fit the candidates, judge them, and publish the best of those that may serve."""
        task = TASKS[self.name]
        fits, judges = split(self.table.at, self.found.first, self.now, task.window)
        fitted, judged = self.table.part(fits), self.table.part(judges)
        samples = int(fitted.task.sum() + judged.task.sum())
        if shortage := self._shortage(fitted, judged, samples, min_samples):
            outcome: Outcome = "too_little_data" if self.found.complete else "out_of_time"
            return Verdict(self.name, outcome, shortage, samples)
        if _is_one_outcome(fitted) or _is_one_outcome(judged):
            return Verdict(self.name, "one_class", ONE_OUTCOME.format(samples=samples), samples)
        before = answers_of(task.client, self.bundled, fitted.rows)
        said = self._said(task.client, judged.rows)
        trials = []
        for candidate in task.candidates(fitted, before):
            said[CANDIDATE] = candidate.answers(judged.rows, said[BUNDLED])
            trials.append((candidate, said[CANDIDATE], _differences(task, judged, said)))
        # The best of those that may serve; where none may, the best of all is shown.
        candidate, said[CANDIDATE], against = min(trials, key=_rank)
        metrics = _metrics(task, judged, said, against) | {"kind": candidate.kind}
        tried = "; ".join(f"{each.kind}: {task.loss} {found[SERVING]} against what serves" for each, _, found in trials)
        reason = f"on {len(judged.at):,} later looks at {len(np.unique(judged.user)):,} users: {tried}"
        if not judge.may_serve(against[SERVING], against[BUNDLED]):
            return Verdict(self.name, "keep", f"not better beyond chance {reason}", samples, metrics)
        card = self._card(candidate, fitted, judged, metrics)
        try:
            publish_candidate(candidate, self.bundled, fitted.rows, card, out)
        except ModelUnavailableError as error:
            return Verdict(self.name, "keep", f"better, but it cannot be served: {error}", samples, metrics)
        return Verdict(
            self.name, "promote", f"{candidate.kind} is better beyond chance {reason}", samples, metrics, out
        )

    def _shortage(self, fitted: Table, judged: Table, samples: int, min_samples: int) -> str:
        """Say what there is too little of; "" where there is enough."""
        users = [len(np.unique(part.user[part.task])) for part in (fitted, judged)]
        if samples >= min_samples and min(users) >= FEWEST_USERS:
            return ""
        days = max((self.now.timestamp() - self.found.first) / DAY, 0.0)
        read = (
            "" if self.found.complete else f", all that was read of {self.found.users:,} users before the time was up"
        )
        return (
            f"{days:.0f} days of history{read} hold {samples:,} looks with a known outcome, at {users[0]:,} users to "
            f"learn from and {users[1]:,} to judge by later; it takes {min_samples:,} looks, {FEWEST_USERS} users in "
            "each part, and about four months"
        )

    def _said(self, client: type[Served], rows: Numbers) -> dict[str, Numbers]:
        """Return what the bundled and the serving model say; where the latter cannot be used, the former serves."""
        bundled = answers_of(client, self.bundled, rows)
        try:
            return {BUNDLED: bundled, SERVING: answers_of(client, self.serving, rows)}
        except ModelUnavailableError:
            return {BUNDLED: bundled, SERVING: bundled}

    def _card(self, candidate: Candidate, fitted: Table, judged: Table, metrics: dict[str, Any]) -> dict[str, Any]:
        card: dict[str, Any] = {
            "trained_at": self.now.isoformat(),
            "model": {"kind": candidate.kind, **candidate.details},
            "metrics": metrics,
            "limits": LIMITS,
            "data": {
                "users": self.found.users,
                "interactions": self.found.events,
                "looks_fitted": len(fitted.at),
                "looks_judged": len(judged.at),
            },
        }
        if self.name == "churn":
            card["horizons_days"] = list(HORIZONS)
            card["reference"] = _reference(fitted, judged, metrics)
        return card


def _rank(trial: tuple[Candidate, Numbers, Mapping[str, Difference]]) -> tuple[bool, float]:
    """Return what the best of several tried candidates is the smallest by."""
    _, _, against = trial
    return not judge.may_serve(against[SERVING], against[BUNDLED]), against[SERVING].value


def _is_one_outcome(part: Table) -> bool:
    labels = part.labels[part.task]
    alike = labels.min(axis=0) == labels.max(axis=0)
    # An hour in which nobody ever came says nothing; a horizon within which everybody came does.
    return bool(alike.any() if labels.dtype == np.bool_ else alike.all())


def _differences(task: _Task, judged: Table, said: Mapping[str, Numbers]) -> dict[str, Difference]:
    losses = {who: task.losses(judged.labels, answers) for who, answers in said.items()}
    weights = task_weights(judged.task)
    return {who: judge.difference(judged.user, weights, losses[CANDIDATE], losses[who]) for who in (SERVING, BUNDLED)}


def _metrics(
    task: _Task, judged: Table, said: Mapping[str, Numbers], against: Mapping[str, Difference]
) -> dict[str, Any]:
    """Return what a verdict shows: everybody on the benchmark's task, and the differences that decided."""
    asked = judged.part(judged.task)
    shown = {who: task.metrics(asked.user, asked.labels, answers[judged.task]) for who, answers in said.items()}
    found: dict[str, Any] = {**shown, "difference": {"loss": task.loss, **judge.as_json(against)}}
    if "accuracy" in shown[CANDIDATE]:
        found["accuracy"] = shown[CANDIDATE]["accuracy"]
    return found


def _reference(fitted: Table, judged: Table, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what live figures are compared with: the users trained on, and how well the candidate did."""
    rows = np.concatenate([part.rows[part.task] for part in (fitted, judged)])
    shares = [np.zeros(len(edges) + 1) for edges in BIN_EDGES]
    for row in rows.tolist():
        for share, bin_ in zip(shares, bins_of(row), strict=True):
            share[bin_] += 1 / len(rows)
    week = metrics[CANDIDATE]["churn_7d"]
    return {
        # What happened to one user three days later is hardly news: the sample is as large as its users are many.
        "looks": len(np.unique(np.concatenate([part.user[part.task] for part in (fitted, judged)]))),
        "feature_bins": [[round(value, 6) for value in share.tolist()] for share in shares],
        "auc_7d": week["auc"]["value"],
        "ece_7d": week["ece"]["value"],
    }
