"""How many users a second a scorer gets through, and where the time goes.

Run: python tests/bench/bench_scoring.py [users ...]. Patterns are made up in memory, so that the figures are of our
code and not of a local table. What reading and writing adds is measured against the local AWS as CPU time of this
process alone, once for all sizes, and what waiting for answers adds by a write that takes as long as DynamoDB's does.
All is one core's: the time that a Lambda of one core has for everything but waiting. The yardstick beside
the churn and the timing model's one call per batch is scikit-learn's own answer to the same rows, by logistic
regressions rebuilt from the cards (what serves as the mood model is a formula, which scikit-learn has no part in).
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel
from engagement.clients.serving import ServingModels
from engagement.domain.census import Census, Tally
from engagement.domain.due import DuePattern, Scored
from engagement.domain.features import NAMES, features
from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.mood import mood_features, mood_trend
from engagement.domain.outcome import Watched, ripen, watch
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.pattern_bytes import decode, encode
from engagement.domain.planning import Thresholds, candidates, next_due_at, send_time
from engagement.domain.population import BUNDLED
from engagement.domain.profile import ConsentPolicy
from engagement.domain.quiet import open_hours
from engagement.domain.scores import ChurnScores
from engagement.domain.templates import Texts
from engagement.domain.tick import Tick
from engagement.domain.timing import NAMES as TIMING_NAMES
from engagement.domain.timing import hour_features
from engagement.domain.zone import QUIET
from engagement.services.planner import Planner
from engagement.services.scoring import BATCH, Scoring
from engagement.store import keys
from engagement.store.scores import Scores
from engagement.store.table import Item, PatternItem, bind
from infra.local.emulator import Emulator, environment
from models.train import hour_shares, probabilities
from tests.builders import NOW, interaction, policy, profile

MODELS = Path(__file__).parents[2] / "models"
SIZES = (1_000, 10_000, 100_000)
DISTINCT = 1_000
"""Histories that are folded; bigger populations repeat them, since folding is not what is measured."""
ANSWER_SECONDS = 0.005
"""A DynamoDB write within a region takes a few milliseconds."""
LEAVING = ChurnScores(0.95, 0.9, 0.85)
WATCHED = Watched(at=NOW - timedelta(days=7), churn_7d=0.5, by="churn-1-01234567")
THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6)


class Memory:
    """Due patterns in memory, each with a score whose week is over; a write takes `answer_seconds`, as waiting does."""

    partitions = 16

    def __init__(self, states: list[bytes], users: int, answer_seconds: float = 0.0) -> None:
        self._states = states
        self._users = users
        self._answer_seconds = answer_seconds

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        return ((1, user_id) for user_id in range(partition, self._users, self.partitions))

    def load(self, users: Iterable[tuple[int, int]]) -> Iterator[DuePattern]:
        for bot_id, user_id in users:
            state = self._states[user_id % len(self._states)]
            yield DuePattern(
                bot_id=bot_id,
                user_id=user_id,
                state=state,
                version=1,
                due_at=NOW,
                scores=None,
                scored_at=None,
                watched=WATCHED,
            )

    def record(self, seen: DuePattern, scored: Scored, **_: Any) -> bool:
        if self._answer_seconds:
            time.sleep(self._answer_seconds)
        return True

    def postpone(self, seen: DuePattern, until: datetime) -> bool:
        return True

    def add(self, bot_id: int, day: date, share: int, census: Census) -> None:
        """Take the census."""

    def of_days(self, *_: Any) -> Census:
        return Census()

    def get(self, *_: Any) -> None:
        """Nobody has a profile: planning is measured up to the question who they are."""


def main(sizes: Sequence[int]) -> None:
    """Print what a run takes and where, the models beside scikit-learn, the table's share, and what writers gain."""
    console = Console()
    models = ServingModels(
        churn=ChurnModel.load(MODELS / "churn"),
        timing=TimingModel.load(MODELS / "timing"),
        mood=MoodModel.load(MODELS / "mood"),
    )
    folded = track(range(DISTINCT), description="making up users", console=console, transient=True)
    states = [encode(made_up(random.Random(seed))) for seed in folded]

    read, write = table_seconds(states, models.churn.version if models.churn else "")
    split = Table("", *(f"{users:,} users" for users in sizes), title="One run, a core's µs per user")
    columns = [
        column_of(users, states, models, read, write)
        for users in track(sizes, description="scoring", console=console, transient=True)
    ]
    for part, *figures in zip(PARTS, *columns, strict=True):
        split.add_row(part, *figures)
    console.print(split)
    hours = cpu_seconds(lambda: write_to(states, models)) / len(states)
    console.print(f"and {hours * 1e6:.0f} µs for each user who is to be written to: best hour by ONNX, quiet hours")
    console.print(beside_scikit_learn(states, models))

    writing = Table("writers", "users/s", "x one writer", title=f"Writes answered after {ANSWER_SECONDS * 1e3:.0f} ms")
    single = 0.0
    for writers in track((1, 2, 4, 8, 16), description="writing", console=console, transient=True):
        rate = 1_000 / seconds(lambda count=writers: run(Memory(states, 1_000, ANSWER_SECONDS), models, count), 1)
        single = single or rate
        writing.add_row(str(writers), f"{rate:.0f}", f"{rate / single:.1f}")
    console.print(writing)


PARTS = ("read", "decode", "features", "churn ONNX", "mood ONNX", "plan", "census", "rest", "write", "users/s")


def column_of(users: int, states: list[bytes], models: ServingModels, read: float, write: float) -> list[str]:
    """Measure a run over `users` users in memory, and its parts over the same patterns; the table's share is given."""
    repeats = 3 if users <= SIZES[1] else 1
    memory = cpu_seconds(lambda: run(Memory(states, users), models, 1), repeats) / users
    patterns = [decode(state) for state in states]
    rows = [features(pattern, NOW) for pattern in patterns]
    moods = [mood_features(pattern, BUNDLED, NOW) for pattern in patterns]
    answers = models.churn.predict(rows) if models.churn else []
    parts = [
        cpu_seconds(action) / len(states)
        for action in (
            lambda: [decode(state) for state in states],
            lambda: [(features(p, NOW), mood_features(p, BUNDLED, NOW)) for p in patterns],
            lambda: [models.churn.predict(batch) for batch in batches(rows, BATCH)],
            lambda: [models.mood.predict(batch) for batch in batches(moods, BATCH)],
            lambda: [planned(p, scores) for p, scores in zip(patterns, answers, strict=True)],
            lambda: census_of(patterns, rows, answers),
        )
    ]
    figures = (read, *parts, memory - sum(parts), write)
    return [*(f"{figure * 1e6:.1f}" for figure in figures), f"{1 / (read + memory + write):.0f}"]


def planned(pattern: Pattern, scores: ChurnScores) -> object:
    """Ask what a run asks about each user once they are scored."""
    trend = mood_trend(pattern, BUNDLED, NOW)
    return candidates(pattern, scores, THRESHOLDS, trend, (), NOW), next_due_at(pattern, NOW)


def write_to(states: list[bytes], models: ServingModels) -> None:
    """Ask of each when to write to them, as of the few who are to be written to."""
    for state in states:
        pattern = decode(state)
        (hours,) = models.timing.predict([hour_features(pattern, BUNDLED, NOW)])
        send_time(hours, BUNDLED.weekdays, open_hours(pattern, profile(), QUIET), NOW)


def census_of(patterns: Sequence[Pattern], rows: Sequence[tuple[float, ...]], answers: Sequence[ChurnScores]) -> Census:
    """Count them all, with what became of their earlier scores."""
    tally = Tally()
    for pattern, row, scores in zip(patterns, rows, answers, strict=True):
        watch(WATCHED, pattern, scores.churn_7d, WATCHED.by, NOW)
        tally.count(pattern, row, scores, ripen(WATCHED, pattern, NOW), NOW)
    return tally.census()


def beside_scikit_learn(states: list[bytes], models: ServingModels) -> Table:
    """Measure both on the same rows, in calls of several sizes; a user of the timing model is 24 rows."""
    table = Table(
        "model", "users per call", "ONNX µs per user", "scikit-learn µs per user", "x ONNX", title="The models"
    )
    patterns = [decode(state) for state in states]
    churn, timing = rebuilt_churn(), rebuilt_timing()
    rows = [features(pattern, NOW) for pattern in patterns]
    hours = [hour_features(pattern, BUNDLED, NOW) for pattern in patterns]
    for name, users, ours, theirs in (
        ("churn", rows, models.churn, lambda array: probabilities(churn, array)),
        ("timing", hours, models.timing, lambda array: hour_shares(timing, array)),
    ):
        for size in (1, 100, BATCH, DISTINCT):
            calls = batches(users, size)
            onnx = cpu_seconds(lambda them=calls, model=ours: [model.predict(call) for call in them]) / len(users)
            sklearn = cpu_seconds(lambda them=calls, ask=theirs: [ask(np.array(c)) for c in them]) / len(users)
            table.add_row(name, str(size), f"{onnx * 1e6:.1f}", f"{sklearn * 1e6:.1f}", f"{sklearn / onnx:.1f}")
    return table


def batches(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Part the rows."""
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def rebuilt_churn() -> list[Pipeline]:
    """Return the model in scikit-learn, with the coefficients of its card."""
    card = json.loads((MODELS / "churn" / "card.json").read_text())
    return [
        Pipeline([("logit", logit([weights[name] for name in NAMES], weights["start"]))])
        for weights in card["model"]["log_odds"].values()
    ]


def rebuilt_timing() -> LogisticRegression:
    """Return the model in scikit-learn, with the coefficients of its card."""
    weights = json.loads((MODELS / "timing" / "card.json").read_text())["model"]["log_odds"]
    return logit([weights[name] for name in TIMING_NAMES], 0.0)


def logit(weights: list[float], start: float) -> LogisticRegression:
    """Return a fitted logistic regression."""
    model = LogisticRegression()
    model.classes_ = np.array([False, True])
    model.coef_ = np.array([weights])
    model.intercept_ = np.array([start])
    return model


def table_seconds(states: list[bytes], version: str) -> tuple[float, float]:
    """Return what reading and writing a user takes of this process's CPU time, against the local AWS."""
    with Emulator() as emulator:
        os.environ.update(environment(emulator.endpoint))
        bind("rekindle")
        Item.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        with PatternItem.batch_write() as batch:
            for user_id, state in enumerate(states):
                shard = keys.score_shard(user_id % Scores.partitions)
                pk = keys.user(1, user_id)
                batch.save(PatternItem(pk, keys.PATTERN, state=state, version=1, due_shard=shard, due_at=NOW))
        store = Scores()
        began = time.process_time()
        users = [user for partition in range(store.partitions) for user in store.due(partition, NOW)]
        found = list(store.load(users))
        loaded = time.process_time()
        for seen in found:
            watched = Watched(at=NOW, churn_7d=LEAVING.churn_7d, by=version)
            scored = Scored(churn=LEAVING, by=version, mood=0.1, watched=watched)
            store.record(seen, scored, now=NOW, next_due_at=NOW + timedelta(days=1))
        written = time.process_time()
    return (loaded - began) / len(found), (written - loaded) / len(found)


def run(memory: Memory, models: ServingModels, writers: int) -> None:
    """Score everybody in `memory`."""
    scoring = Scoring(
        bot_id=1,
        scores=memory,  # no profiles, so nothing is ever planned
        profiles=memory,
        outreaches=memory,
        censuses=memory,
        planner=Planner(policy(consent=ConsentPolicy.ASSUME), Texts),
        models=lambda: models,
        thresholds=THRESHOLDS,
        writers=writers,
    )
    scoring.score_due(Tick(now=NOW, shard=0, of=1), lambda: 900.0)


def cpu_seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """Return the CPU seconds of the cheapest of `repeats` calls; others on the machine do not count."""
    return seconds(action, repeats, time.process_time)


def seconds(action: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of the fastest of `repeats` calls, on the wall or by another clock."""
    best = float("inf")
    for _ in range(repeats):
        began = clock()
        action()
        best = min(best, clock() - began)
    return best


def made_up(rng: random.Random) -> Pattern:
    """Return a user whose activity spreads as widely as real ones', silent for up to two months."""
    last = NOW - timedelta(days=rng.expovariate(1 / 12))
    events = min(int(rng.paretovariate(0.8)), 600)
    habit = rng.uniform(0.2, 6)
    times = [last]
    for _ in range(events):
        step = rng.expovariate(20) if rng.random() < 0.6 else rng.expovariate(1 / habit)
        times.append(times[-1] - timedelta(days=step))
    return fold(EMPTY, (made(number, at) for number, at in enumerate(times)))


def made(number: int, at: datetime) -> Interaction:
    """Build an interaction at a time."""
    return interaction(number, at.replace(microsecond=0), sentiment=0.2, sentiment_type=SentimentType.POSITIVE)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or SIZES)
