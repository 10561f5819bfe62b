"""The leak canary: where the future does not depend on the past nobody can rank, and features that can are caught."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.clients.predictor import ChurnModel
from engagement.domain.features import features
from engagement.domain.interaction import Interaction
from engagement.domain.pattern import EMPTY, Pattern, fold
from models import judge, leaks, sample
from models.adapt import adapt_churn
from models.candidate import answers_of
from models.leaks import LeakError, require_no_leak, require_possible
from models.metrics import Numbers
from models.weekly import split, tables
from tests.builders import NOW, interaction

BUNDLED = Path(__file__).parents[2] / "models" / "churn"
BEGIN = NOW - timedelta(days=260)


def by_chance(user: int, dice: random.Random) -> list[Interaction]:
    """Somebody who comes by a coin that has no memory and is the same for everybody: one day in ten."""
    found, day = [], 0.0
    while (day := day + dice.expovariate(0.1)) < 260:
        found.append(interaction(len(found), BEGIN + timedelta(days=day), user_id=user))
    return found


@pytest.fixture(scope="module")
def crowd() -> list[list[Interaction]]:
    dice = random.Random(0)
    return [history for user in range(120) if (history := by_chance(user, dice))]


def auc_low(found: sample.Sample, rows: Numbers) -> float:
    """What the weekly training makes of these features: the lower bound of the 7-day AUC on the later looks."""
    table = tables(found)["churn"]
    fits, judges = split(table.at, found.first, NOW, 30)
    fits, judges = fits & table.task, judges & table.task
    said = answers_of(ChurnModel, BUNDLED, rows)
    fitted = adapt_churn(rows[fits], table.labels[fits], said[fits], table.task[fits])
    answers = fitted.answers(rows[judges], said[judges])
    shown = judge.churn_metrics(table.user[judges], table.labels[judges], answers)["churn_7d"]["auc"]
    assert shown["interval"][0] <= shown["value"] <= shown["interval"][1]
    return float(shown["interval"][0])


def test_an_honest_pipeline_ranks_no_better_than_chance_where_chance_is_all_there_is(
    crowd: list[list[Interaction]],
) -> None:
    """R76: the canary lives; an AUC of .5 is within the interval."""
    found = sample.sample(iter(crowd), NOW, limit=3_000)

    require_possible(auc_low(found, tables(found)["churn"].rows), ceiling=0.5)


@pytest.mark.parametrize("days", [7, 30])
def test_features_that_know_the_label_window_are_caught_twice(crowd: list[list[Interaction]], days: int) -> None:
    """R76: by what they make possible, and by comparing them with those of the history before the cut-off."""
    found = sample.sample(iter(crowd), NOW, limit=3_000)
    by_user = {sample._hash(f"1#{history[0].user_id}".encode()): history for history in crowd}

    def leaky(look: sample.Look) -> tuple[float, ...]:
        """Fold a week, or a month, too much."""
        until = look.at + days * 86_400
        known = [event for event in by_user[look.user] if event.occurred_at.timestamp() < until]
        return features(fold(EMPTY, known), datetime.fromtimestamp(look.at, UTC))

    rows = [leaky(look) for look in found.looks]

    with pytest.raises(LeakError, match="look for a label"):
        require_possible(auc_low(found, np.array(rows)), ceiling=0.5)
    caught = 0
    for look, row in zip(found.looks[:200], rows, strict=False):
        try:
            require_no_leak(by_user[look.user], look.at, row, features)
        except LeakError:
            caught += 1
    # Whoever did not come within that time left nothing to leak.
    assert caught > 60


def test_the_weekly_run_itself_refuses_features_that_know_the_future(
    crowd: list[list[Interaction]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R76: a fold that runs ahead of its cut-off stops the run."""
    history = crowd[0]

    def ahead(pattern: Pattern, events: Any) -> Pattern:
        return fold(EMPTY, history)

    monkeypatch.setattr(sample, "CHECKED_EVERY", 1)
    sample.sample([history], NOW)
    monkeypatch.setattr(sample, "fold", ahead)

    with pytest.raises(LeakError, match="before the cut-off"):
        sample.sample([history], NOW)


def test_the_ceiling_of_the_public_streams_is_an_alarm() -> None:
    """R76: no features and no kind of model came beyond .826 there."""
    require_possible(0.826, leaks.PUBLIC_CEILING)

    with pytest.raises(LeakError):
        require_possible(0.84, leaks.PUBLIC_CEILING)


@given(
    past=st.lists(st.integers(0, 150 * 86_400), min_size=3, max_size=40, unique=True),
    futures=st.lists(
        st.lists(st.integers(150 * 86_400 + 1, 250 * 86_400), max_size=20, unique=True), min_size=2, max_size=2
    ),
    mood=st.floats(-1, 1),
)
@settings(max_examples=40, deadline=None)
def test_what_happens_after_a_look_never_changes_what_it_sees(
    past: list[int], futures: list[list[int]], mood: float
) -> None:
    """R76: whatever follows, the looks up to then have the same features; only labels differ."""
    turn = BEGIN + timedelta(days=150)
    seen = []
    for number, future in enumerate(futures):
        seconds = sorted([*past, *future])
        history = [
            interaction(second, BEGIN + timedelta(seconds=second), sentiment=mood if second > 150 * 86_400 else 0.1)
            for second in seconds
        ]
        found = sample.sample([history], NOW, limit=10_000 + number)
        earlier = [look for look in found.looks if look.at <= turn.timestamp()]
        seen.append([(look.key, look.at, look.eligible, look.pattern) for look in earlier])

    assert seen[0] == seen[1]
