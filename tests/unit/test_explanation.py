"""What a score is made of: effects that add up, and words that say what the user did."""

from datetime import timedelta
from math import exp, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.explanation import NEGLIGIBLE, SILENCE, TYPICAL, WORDS, duration, factors, typical_row, variants
from engagement.domain.features import BIN_EDGES, NAMES, bins_of, features
from engagement.domain.pattern import Pattern
from tests.builders import NOW, pattern_of, silent_for

WEIGHTS = (-0.3, -0.8, -0.9, 0.3, 0.6)


def logit(row: tuple[float, ...]) -> float:
    return 1 / (1 + exp(-2.0 - sum(weight * value for weight, value in zip(WEIGHTS, row, strict=True))))


def log_odds(probability: float) -> float:
    return log(probability / (1 - probability))


def explained(pattern: Pattern) -> dict[str, float]:
    rows = variants(features(pattern, NOW), TYPICAL)
    return {factor.feature: factor.effect for factor in factors(NAMES, [*map(logit, rows)], pattern, NOW)}


def test_every_feature_has_a_typical_value_and_words() -> None:
    assert len(TYPICAL) == len(NAMES)
    assert WORDS.keys() == {*NAMES, SILENCE}


@given(st.lists(st.floats(0, 200), min_size=1, max_size=40))
def test_the_effects_of_a_logistic_regression_add_up_to_its_distance_from_a_typical_user(days: list[float]) -> None:
    pattern = pattern_of(NOW - timedelta(days=day) for day in days)

    effects = explained(pattern)

    distance = log_odds(logit(features(pattern, NOW))) - log_odds(logit(TYPICAL))
    assert sum(effects.values()) == pytest.approx(distance, abs=len(NAMES) * NEGLIGIBLE)


@given(st.lists(st.floats(0, 1), min_size=len(NAMES) + 1, max_size=len(NAMES) + 1))
def test_whatever_a_model_answers_the_factors_are_finite_and_the_largest_comes_first(answers: list[float]) -> None:
    found = factors(NAMES, answers, silent_for(3), NOW)

    sizes = [abs(factor.effect) for factor in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(NEGLIGIBLE <= size < 30 for size in sizes)


@pytest.mark.parametrize("card", [{}, {"reference": {}}, {"reference": {"feature_bins": [[0.5, 0.5]]}}])
def test_a_card_that_says_nothing_of_its_users_leaves_the_typical_user_of_public_streams(card: dict[str, Any]) -> None:
    assert typical_row(card) == TYPICAL


@given(st.lists(st.tuples(*[st.floats(-5, 5)] * len(NAMES)), min_size=1, max_size=30))
def test_the_typical_user_of_a_card_lies_in_the_bin_of_the_median(rows: list[tuple[float, ...]]) -> None:
    counts = [[0] * (len(edges) + 1) for edges in BIN_EDGES]
    for row in rows:
        for bins, bin_ in zip(counts, bins_of(row), strict=True):
            bins[bin_] += 1
    shares = [[count / len(rows) for count in bins] for bins in counts]

    typical = typical_row({"reference": {"feature_bins": shares}})

    for feature, value in enumerate(typical):
        column = sorted(bins_of(row)[feature] for row in rows)
        edges = (-5.0, *BIN_EDGES[feature], 5.0)
        lower, upper = column[(len(rows) - 1) // 2], column[len(rows) // 2]
        assert edges[lower] - 1e-9 <= value <= edges[upper + 1] + 1e-9


def test_what_makes_no_difference_is_left_out() -> None:
    assert factors(NAMES, [0.7] * (len(NAMES) + 1), silent_for(3), NOW) == ()


@pytest.mark.parametrize(
    ("feature", "pattern", "words"),
    [
        ("active_days_30", silent_for(12), "active on 14 of the last 30 days"),
        ("active_days_30", silent_for(29, 1), "active on 1 of the last 30 days"),
        ("active_days_30", silent_for(30, 1), "not active in the last 30 days"),
        ("active_days_30", silent_for(45), "not active in the last 30 days"),
        ("active_days_90", silent_for(45), "active on 14 of the last 90 days"),
        ("active_half_hours_3", silent_for(12), "not active in the last 3 days"),
        ("active_half_hours_3", silent_for(0, 2), "active in 2 half-hours of the last 3 days"),
        ("own_gap_log_odds", silent_for(12), "silent for 12 days, usually every day"),
        ("own_gap_log_odds", silent_for(0.25, 1), "silent for 6 hours, no rhythm known yet"),
        ("long_silence", silent_for(45.6), "away for 45 days"),
        (
            SILENCE,
            pattern_of(NOW - timedelta(days=day) for day in (4, 6, 8)),
            "silent for 4 days, usually every 2 days",
        ),
    ],
)
def test_the_words_say_what_the_user_did(feature: str, pattern: Pattern, words: str) -> None:
    assert WORDS[feature](pattern, NOW) == words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(), "0 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=23, minutes=59), "23 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=1, hours=5), "1 day"),
        (timedelta(days=2.5), "2.5 days"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_durations_are_read_out_in_whole_units(length: timedelta, words: str) -> None:
    assert duration(length) == words
