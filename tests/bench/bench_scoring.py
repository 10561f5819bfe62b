"""How many users a second a scorer gets through, and where the time goes.

Run: python tests/bench/bench_scoring.py [users ...]. Patterns are made up in memory, so that the figures are of our
code and not of a local table. What reading and writing adds is measured against the local AWS as CPU time of this
process alone, and what waiting for answers adds by a write that takes as long as DynamoDB's does. The yardstick beside
the model's one call per batch is scikit-learn's own answer to the same rows, by a model rebuilt from the card.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import ChurnModel
from engagement.domain.due import DuePattern
from engagement.domain.features import NAMES, features
from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.pattern_bytes import decode, encode
from engagement.domain.planning import Thresholds, next_due_at, silence_outreach
from engagement.domain.profile import ConsentPolicy
from engagement.domain.scores import ChurnScores
from engagement.domain.tick import Tick
from engagement.services.scoring import BATCH, Scoring
from engagement.store import keys
from engagement.store.scores import Scores
from engagement.store.table import Item, PatternItem, bind
from infra.local.emulator import Emulator, environment
from models.train import probabilities
from tests.builders import NOW, interaction, policy

MODEL = Path(__file__).parents[2] / "models" / "churn"
SIZES = (1_000, 10_000, 100_000)
DISTINCT = 1_000
"""Histories that are folded; bigger populations repeat them, since folding is not what is measured."""
ANSWER_SECONDS = 0.005
"""A DynamoDB write within a region takes a few milliseconds."""
LEAVING = ChurnScores(0.95, 0.9, 0.85)
THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6)


class Memory:
    """Due patterns in memory; a write takes `answer_seconds`, as waiting for one does."""

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
                bot_id=bot_id, user_id=user_id, state=state, version=1, due_at=NOW, scores=None, scored_at=None
            )

    def record(self, seen: DuePattern, scores: ChurnScores, **_: Any) -> bool:
        if self._answer_seconds:
            time.sleep(self._answer_seconds)
        return True

    def postpone(self, seen: DuePattern, until: datetime) -> bool:
        return True

    def get(self, *_: Any) -> None:
        """Nobody has a profile: planning is measured up to the question who they are."""


def main(sizes: Sequence[int]) -> None:
    """Print three tables: the split by population, batches beside single calls, and writers."""
    console = Console()
    model = ChurnModel.load(MODEL)
    folded = track(range(DISTINCT), description="making up users", console=console, transient=True)
    states = [encode(made_up(random.Random(seed))) for seed in folded]

    split = Table("users", "users/s", "µs per user", title="One run: CPU time without the table")
    for part in ("decode", "features", "ONNX", "plan", "rest"):
        split.add_column(f"{part} %")
    for users in track(sizes, description="scoring", console=console, transient=True):
        split.add_row(*row_of(users, states, model))
    console.print(split)

    rows = [features(decode(state), NOW) for state in states]
    textbook = rebuilt()
    calls = Table("rows per call", "ONNX µs per row", "scikit-learn µs per row", "x ONNX", title="The model")
    for size in (1, 100, BATCH, DISTINCT):
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        arrays = [np.array(batch) for batch in batches]
        ours = cpu_seconds(lambda them=batches: [model.predict(batch) for batch in them]) / len(rows)
        theirs = cpu_seconds(lambda them=arrays: [probabilities(textbook, array) for array in them]) / len(rows)
        calls.add_row(str(size), f"{ours * 1e6:.1f}", f"{theirs * 1e6:.1f}", f"{theirs / ours:.1f}")
    console.print(calls)
    console.print(store_costs(states, model))

    writing = Table("writers", "users/s", "x one writer", title=f"Writes answered after {ANSWER_SECONDS * 1e3:.0f} ms")
    single = 0.0
    for writers in track((1, 2, 4, 8, 16), description="writing", console=console, transient=True):
        rate = 1_000 / seconds(lambda count=writers: run(Memory(states, 1_000, ANSWER_SECONDS), model, count), 1)
        single = single or rate
        writing.add_row(str(writers), f"{rate:.0f}", f"{rate / single:.1f}")
    console.print(writing)


def row_of(users: int, states: list[bytes], model: ChurnModel) -> tuple[str, ...]:
    """Measure a run over `users` users, and its parts over the same patterns."""
    repeats = 3 if users <= SIZES[1] else 1
    total = cpu_seconds(lambda: run(Memory(states, users), model, 1), repeats) / users
    patterns = [decode(state) for state in states]
    rows = [features(pattern, NOW) for pattern in patterns]
    answers = model.predict(rows)
    parts = (
        cpu_seconds(lambda: [decode(state) for state in states]),
        cpu_seconds(lambda: [features(pattern, NOW) for pattern in patterns]),
        cpu_seconds(lambda: [model.predict(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]),
        cpu_seconds(lambda: [planned(pattern, scores) for pattern, scores in zip(patterns, answers, strict=True)]),
    )
    shares = [part / len(states) / total for part in parts]
    return (
        str(users),
        f"{1 / total:.0f}",
        f"{total * 1e6:.0f}",
        *(f"{share * 100:.0f}" for share in (*shares, 1 - sum(shares))),
    )


def planned(pattern: Pattern, scores: ChurnScores) -> object:
    """Ask what a run asks about each user once they are scored."""
    return silence_outreach(pattern, scores, THRESHOLDS, NOW), next_due_at(pattern, NOW)


def rebuilt() -> list[Pipeline]:
    """Return the model in scikit-learn, with the coefficients of its card."""
    card = json.loads((MODEL / "card.json").read_text())
    pipelines = []
    for weights in card["model"]["log_odds"].values():
        logit = LogisticRegression()
        logit.classes_ = np.array([False, True])
        logit.coef_ = np.array([[weights[name] for name in NAMES]])
        logit.intercept_ = np.array([weights["start"]])
        pipelines.append(Pipeline([("logit", logit)]))
    return pipelines


def store_costs(states: list[bytes], model: ChurnModel) -> Table:
    """Measure the real store's share of this process's CPU time, against the local AWS."""
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
        queried = time.process_time()
        found = list(store.load(users))
        loaded = time.process_time()
        for seen in found:
            store.record(seen, LEAVING, scored_by=model.version, now=NOW, next_due_at=NOW + timedelta(days=1))
        written = time.process_time()
    costs = Table("step", "CPU µs per user", title=f"The table, {len(found)} users")
    for step, spent in (("query", queried - began), ("read", loaded - queried), ("write", written - loaded)):
        costs.add_row(step, f"{spent / len(found) * 1e6:.0f}")
    return costs


def run(memory: Memory, model: ChurnModel, writers: int) -> None:
    """Score everybody in `memory`."""
    scoring = Scoring(
        scores=memory,  # no profiles, so nothing is ever planned
        profiles=memory,
        outreaches=memory,
        planner=memory,
        model=model,
        ml_enabled=True,
        thresholds=THRESHOLDS,
        policy=policy(consent=ConsentPolicy.ASSUME),
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
