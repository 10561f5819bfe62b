"""The mood of a user: close to the population's until they have written enough, and silent about what is noise."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from math import inf, isfinite, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.interaction import SentimentType
from engagement.domain.mood import (
    KAPPA,
    NAMES,
    Direction,
    mood_features,
    mood_level,
    mood_trend,
)
from engagement.domain.pattern import EMPTY, Pattern, fold, merge
from engagement.domain.population import BUNDLED
from tests.builders import interaction

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = START + timedelta(days=60)


def wrote(*moods: tuple[float, float], start: int = 0) -> Pattern:
    """Fold messages given as (days after START, sentiment)."""
    return fold(
        EMPTY,
        [
            interaction(
                start + number,
                START + timedelta(days=day),
                sentiment=sentiment,
                sentiment_type=SentimentType.NEUTRAL,
            )
            for number, (day, sentiment) in enumerate(moods)
        ],
    )


messages = st.lists(st.tuples(st.floats(0, 90), st.floats(-1, 1)), max_size=60)


@given(messages)
@settings(max_examples=100, deadline=None)
def test_any_history_gives_finite_numbers_in_range(moods: list[tuple[float, float]]) -> None:
    """R34"""
    pattern = wrote(*moods)
    level = mood_level(pattern, BUNDLED, NOW)
    row = mood_features(pattern, BUNDLED, NOW)

    assert -1 <= level.level <= 1
    assert 0 < level.standard_error < 1
    assert level.messages == len(moods)
    assert len(row) == len(NAMES)
    assert all(map(isfinite, row))


@given(messages, st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_merged_halves_have_the_mood_of_the_whole(moods: list[tuple[float, float]], cut: int) -> None:
    halves = wrote(*moods[:cut]), wrote(*moods[cut:], start=1_000)

    whole, merged = wrote(*moods), reduce(merge, halves)

    assert mood_features(merged, BUNDLED, NOW) == mood_features(whole, BUNDLED, NOW)


def test_who_wrote_nothing_has_the_mood_of_the_others() -> None:
    level = mood_level(EMPTY, BUNDLED, NOW)

    assert level.level == pytest.approx(BUNDLED.mood)
    assert level.messages == 0


def test_one_angry_message_hardly_moves_the_level() -> None:
    """The last message alone predicts worse than a constant; here it counts as one against the prior's thirty."""
    level = mood_level(wrote((59, -1.0)), BUNDLED, NOW).level

    assert BUNDLED.mood - 0.1 < level < BUNDLED.mood


@pytest.mark.parametrize("mood", [-0.6, 0.0, 0.6])
def test_the_level_approaches_what_somebody_keeps_writing(mood: float) -> None:
    few, many = (mood_level(wrote(*[(59, mood)] * count), BUNDLED, NOW) for count in (5, 500))

    assert abs(many.level - mood) < 0.02
    assert abs(few.level - mood) > abs(many.level - mood)
    assert many.standard_error < few.standard_error


def test_what_was_written_lately_counts_more() -> None:
    before = [(1.0, 0.5)] * 40
    lately = [(59.0, -0.5)] * 40

    declined = mood_level(wrote(*before, *lately), BUNDLED, NOW).level
    recovered = mood_level(wrote(*[(1.0, -0.5)] * 40, *[(59.0, 0.5)] * 40), BUNDLED, NOW).level

    assert declined < 0 < recovered


def test_the_standard_error_is_that_of_the_posterior_mean() -> None:
    """With the population's own scatter: sqrt(variance / (messages + kappa))."""
    spread = sqrt(BUNDLED.mood_variance)
    moods = [(30.0, BUNDLED.mood + spread * sign) for sign in (-1, 1)] * 50
    level = mood_level(wrote(*moods), BUNDLED, NOW)

    assert level.standard_error == pytest.approx(sqrt(BUNDLED.mood_variance / (100 + KAPPA)), rel=0.02)


def test_a_trend_needs_messages_on_both_sides() -> None:
    for pattern in (EMPTY, wrote((59, -0.9)), wrote((10, 0.9))):
        trend = mood_trend(pattern, BUNDLED, NOW)

        assert (trend.change, trend.standard_error, trend.direction) == (0.0, inf, Direction.STEADY)


@pytest.mark.parametrize(
    ("before", "lately", "direction"),
    [(0.5, -0.5, Direction.DECLINING), (-0.5, 0.5, Direction.IMPROVING), (0.3, 0.3, Direction.STEADY)],
)
def test_a_plain_turn_is_named(before: float, lately: float, direction: Direction) -> None:
    pattern = wrote(*[(20.0, before)] * 20, *[(55.0, lately)] * 20)

    assert mood_trend(pattern, BUNDLED, NOW).direction is direction


def test_noise_is_called_a_trend_no_more_often_than_two_standard_errors_say() -> None:
    """A thousand users whose mood never moves: about one in twenty, by chance."""
    rng = random.Random(1)
    trends = []
    for _ in range(1_000):
        moods = [(rng.uniform(0, 60), max(-1.0, min(1.0, rng.gauss(0.1, 0.35)))) for _ in range(60)]
        trends.append(mood_trend(wrote(*moods), BUNDLED, NOW).direction)

    false = sum(trend is not Direction.STEADY for trend in trends)
    assert false <= 70


def test_a_user_who_scatters_more_needs_a_bigger_change() -> None:
    calm = wrote(*[(20.0, 0.2)] * 10, *[(55.0, -0.15)] * 10)
    moody = wrote(*[(20.0, 1.0), (20.0, -0.6)] * 5, *[(55.0, 0.65), (55.0, -0.95)] * 5)

    assert mood_trend(calm, BUNDLED, NOW).change == pytest.approx(mood_trend(moody, BUNDLED, NOW).change)
    assert mood_trend(calm, BUNDLED, NOW).direction is Direction.DECLINING
    assert mood_trend(moody, BUNDLED, NOW).direction is Direction.STEADY


def test_a_gloomier_population_shrinks_towards_gloom() -> None:
    gloomy = replace(BUNDLED, mood=-0.4)

    assert mood_level(wrote((59, 0.3)), gloomy, NOW).level < mood_level(wrote((59, 0.3)), BUNDLED, NOW).level
