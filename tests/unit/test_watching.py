"""Judging the serving model: what is measured, what chance is allowed, and that neither cries wolf nor sleeps."""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from engagement.domain.census import OUTCOME_EDGES, Census, Outcomes, Tally
from engagement.domain.features import NAMES
from engagement.domain.outcome import Outcome
from engagement.domain.pattern import EMPTY
from engagement.domain.scores import ChurnScores
from engagement.domain.watching import DAYS, FEWEST, FEWEST_USERS, Health, judge
from tests.builders import NOW

BUNDLED: dict[str, Any] = {"version": "1-abc", "trained_at": None, "reference": {"auc_7d": 0.83, "ece_7d": 0.04}}
CHAMPION: dict[str, Any] = BUNDLED | {"trained_at": (NOW - timedelta(days=10)).isoformat()}
WORLDS = 200
ANYBODY = ChurnScores(0.5, 0.5, 0.5)


def judged(week: Census, card: dict[str, Any] = BUNDLED, earlier: Census | None = None) -> Health:
    return judge(week, week, earlier or Census(), card, NOW)


def counted(scores: Sequence[float], stayed_away: Sequence[bool], by: str = "1-abc") -> Census:
    tally = Tally()
    for score, away in zip(scores, stayed_away, strict=True):
        tally.count(EMPTY, (0.0,) * len(NAMES), ANYBODY, Outcome(churn_7d=score, by=by, stayed_away=away), NOW)
    return tally.census()


def drawn(rng: random.Random, users: int) -> tuple[list[float], list[bool]]:
    """Users as they are: most will stay away; the model that knows their probabilities has an AUC of .83."""
    chances = [1 / (1 + exp(-rng.gauss(1.5, 1.6))) for _ in range(users)]
    return chances, [rng.random() < chance for chance in chances]


def test_the_figures_are_those_of_the_exact_scores() -> None:
    scores, away = drawn(random.Random(1), 3_000)

    health = judged(counted(scores, away))

    assert health.outcomes == 3_000
    assert health.auc == pytest.approx(roc_auc_score(away, scores), abs=0.005)
    assert health.brier == pytest.approx(brier_score_loss(away, scores), abs=0.002)
    assert health.ece is not None
    assert health.ece_by_chance is not None
    assert health.ece < health.ece_by_chance < 0.03


def test_the_interval_of_the_ranking_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = random.Random(2)
    truth = judged(counted(*drawn(rng, 40_000))).auc
    assert truth
    hits = []
    for _ in range(WORLDS):
        health = judged(counted(*drawn(rng, 250)))
        assert health.auc
        assert health.auc_error
        hits.append(abs(health.auc - truth) < 1.96 * health.auc_error)

    assert 0.9 <= fmean(hits) <= 0.99


@pytest.mark.parametrize("users", [60, 200, 1_000])
def test_a_model_that_keeps_its_promise_is_called_degraded_in_one_of_twenty_weeks_at_most(users: int) -> None:
    """R87: noise is not a drop, however few users a bot has."""
    rng = random.Random(users)

    assert fmean(judged(counted(*drawn(rng, users))).degraded for _ in range(WORLDS)) <= 0.05


@pytest.mark.parametrize(("users", "found"), [(200, 0.9), (1_000, 1.0)])
def test_a_ranking_that_fell_by_more_than_a_tenth_is_found(users: int, found: float) -> None:
    """R87: the scores still look the same, but half of them are somebody else's."""
    rng = random.Random(users)

    def broken() -> bool:
        scores, away = drawn(rng, users)
        mixed = scores[: users // 4] + rng.sample(scores[users // 4 :], users - users // 4)
        return judged(counted(mixed, away)).degraded

    assert fmean(broken() for _ in range(WORLDS)) >= found


def test_probabilities_that_moved_away_from_what_happens_are_found() -> None:
    """R87: everybody is ranked as before, and far fewer stay away than the model says."""
    rng = random.Random(3)
    scores, away = drawn(rng, 1_000)
    worse = [1 / (1 + exp(-(log(p / (1 - p)) - 1.2))) for p in scores]

    health = judged(counted(worse, away))

    assert health.degraded
    assert health.auc
    assert health.auc > 0.8


@given(st.lists(st.booleans(), max_size=2 * FEWEST - 1))
def test_few_outcomes_never_raise_an_alarm(away: list[bool]) -> None:
    """R87: not even of a model that was wrong about every one of them."""
    health = judged(counted([0.01 if gone else 0.99 for gone in away], away))

    assert not health.degraded
    assert health.auc is None


def test_a_model_without_outcomes_or_reference_is_not_judged() -> None:
    rng = random.Random(4)
    scores, away = drawn(rng, 500)
    upside_down = [1 - score for score in scores]

    of_another = judged(counted(upside_down, away, by="0-old"))
    unmeasured = judged(counted(upside_down, away), {"version": "1-abc"})

    assert (of_another.outcomes, of_another.brier, of_another.degraded) == (0, None, False)
    assert (unmeasured.outcomes, unmeasured.degraded) == (500, False)


def looked_at(rng: np.random.Generator, users: int, shares: Sequence[Sequence[float]]) -> Census:
    """A week in which everybody was looked at every day, and hardly changed."""
    return Census(feature_bins=tuple(tuple((DAYS * rng.multinomial(users, share)).tolist()) for share in shares))


def like(shares: Sequence[Sequence[float]], looks: int | None = None) -> dict[str, Any]:
    """The card of a model that was trained on such users."""
    bins = [list(map(float, share)) for share in shares]
    return CHAMPION | {
        "reference": CHAMPION["reference"] | {"feature_bins": bins} | ({"looks": looks} if looks else {})
    }


@pytest.mark.parametrize("users", [20, FEWEST_USERS, 100, 2_000])
def test_users_like_those_of_the_training_are_called_drifted_in_one_of_twenty_weeks_at_most(users: int) -> None:
    """R87: the index of two samples of one population is not nought."""
    rng = np.random.default_rng(users)

    def alarmed() -> bool:
        shares = rng.dirichlet(np.full(10, 2), len(NAMES))
        trained_on = [rng.multinomial(500, share) / 500 for share in shares]
        return judged(looked_at(rng, users, shares), like(trained_on, looks=500)).drifted

    assert fmean(alarmed() for _ in range(WORLDS)) <= 0.05


def test_users_unlike_those_of_the_training_are_found_by_the_feature_that_moved() -> None:
    """R87"""
    rng = np.random.default_rng(5)
    before = [(0.1,) * 10] * len(NAMES)
    now = [(0.02,) * 5 + (0.18,) * 5, *before[1:]]

    health = judged(looked_at(rng, 500, now), like(before))

    assert health.drifted
    assert [name for name, drift in health.drift.items() if drift > 0.2] == [NAMES[0]]
    assert health.metrics()["FeatureDrift"] == health.drift[NAMES[0]]


def test_a_model_from_other_communities_is_judged_by_what_the_bots_users_were_before() -> None:
    """It knows their kind from elsewhere: that a bot's users differ from there is no news, that they change is."""
    rng = np.random.default_rng(6)
    elsewhere, here = [(0.05,) * 5 + (0.15,) * 5] * len(NAMES), [(0.15,) * 5 + (0.05,) * 5] * len(NAMES)
    card = BUNDLED | {"reference": {"feature_bins": elsewhere}}
    now = looked_at(rng, 500, here)

    assert judged(now, card).drift == {}
    assert not judged(now, card, earlier=looked_at(rng, 500, here)).drifted
    assert judged(now, card, earlier=looked_at(rng, 500, elsewhere)).drifted


def test_only_a_trained_model_has_an_age() -> None:
    """What came with the code is not trained on a bot's users, so it does not fall behind them."""
    assert judged(Census(), CHAMPION).age_days == 10
    assert judged(Census()).age_days is None
    assert judged(Census()).metrics()["ModelAgeDays"] is None


def test_what_is_wrong_is_said_with_a_remedy() -> None:
    """R87"""
    rng = random.Random(7)
    scores, away = drawn(rng, 500)

    (advice,) = judged(counted([1 - score for score in scores], away)).concerns()

    assert "roll back" in advice
    assert judged(counted(scores, away)).concerns() == ()


def test_every_outcome_bin_is_wide_enough_for_a_thousandth() -> None:
    """Sums of thousandths stay within their bin."""
    assert all(later - earlier >= 0.01 - 1e-9 for earlier, later in pairwise(OUTCOME_EDGES))
    assert len(Outcomes().seen) == 20
