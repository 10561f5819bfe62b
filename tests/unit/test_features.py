"""Features and the rule score: finite for everybody, moved by silence alone, the same whenever they are computed."""

import math
from dataclasses import astuple
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.features import NAMES, SILENCE_LIMIT, features, silence_days
from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.mood import mood_features
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.pattern_bytes import decode, encode
from engagement.domain.population import BUNDLED
from engagement.domain.scores import rule_scores
from engagement.domain.timing import hour_features
from tests.builders import NOW, interaction, pattern_of

DAY = timedelta(days=1)
COUNTERS = ("active_days_30", "active_days_90", "active_half_hours_3")


def named(pattern: Pattern, now: datetime) -> dict[str, float]:
    return dict(zip(NAMES, features(pattern, now), strict=True))


def event(number: int, age: int) -> Interaction:
    """An interaction `age` seconds ago; of most of them the mood is known."""
    if not number % 4:
        return interaction(number, NOW - timedelta(seconds=age))
    return interaction(
        number, NOW - timedelta(seconds=age), sentiment=age % 19 / 10 - 0.9, sentiment_type=SentimentType.NEUTRAL
    )


histories = st.lists(st.integers(0, 3 * 365 * 86_400), min_size=1, max_size=60, unique=True).map(
    lambda ages: [event(number, age) for number, age in enumerate(ages, start=1)]
)
clocks = st.integers(-5 * 365 * 86_400, 50 * 365 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(history=histories, now=clocks)
@settings(max_examples=200)
def test_every_pattern_at_any_time_gives_finite_features_and_probabilities(
    history: list[Interaction], now: datetime
) -> None:
    """R34: a clock may be years ahead of the events, or behind them."""
    pattern = fold(EMPTY, history)

    row = features(pattern, now)
    scores = astuple(rule_scores(pattern, now))

    assert len(row) == len(NAMES)
    assert all(math.isfinite(value) for value in row)
    assert all(0 < score < 1 for score in scores)


def test_a_user_never_seen_has_a_finite_score_close_to_one() -> None:
    """R34"""
    assert all(math.isfinite(value) for value in features(EMPTY, NOW))
    assert silence_days(EMPTY, NOW) == SILENCE_LIMIT
    assert min(astuple(rule_scores(EMPTY, NOW))) > 0.99


def test_a_user_with_one_interaction_a_second_ago_has_a_finite_score() -> None:
    """R34"""
    newcomer = pattern_of([NOW - timedelta(seconds=1)])

    assert all(math.isfinite(value) for value in features(newcomer, NOW))
    assert 0.3 < rule_scores(newcomer, NOW).churn_14d < 0.95


def test_edits_alone_do_not_make_a_user_seen() -> None:
    """R34: nothing but an edit is in such a pattern, so its times are all zero."""
    edited = Pattern(edits=1)

    assert features(edited, NOW) == features(EMPTY, NOW)


def test_an_interaction_of_the_future_counts_as_just_now() -> None:
    """A clock that is wrong by an hour must not put an age below zero."""
    ahead = pattern_of([NOW + timedelta(hours=1)])

    assert silence_days(ahead, NOW) == 0
    assert features(ahead, NOW) == pytest.approx(features(pattern_of([NOW]), NOW))


@given(history=histories, hours=st.lists(st.integers(0, 24 * 400), min_size=2, max_size=8))
@settings(max_examples=150)
def test_silence_alone_lowers_activity_and_raises_the_rule_score(history: list[Interaction], hours: list[int]) -> None:
    """A score that freezes while a user is silent misses exactly those who leave."""
    pattern = fold(EMPTY, history)
    times = [NOW + timedelta(hours=hour) for hour in sorted(set(hours))]

    rows = [named(pattern, time) for time in times]
    scores = [astuple(rule_scores(pattern, time)) for time in times]

    for before, after in pairwise(rows):
        assert all(after[name] <= before[name] for name in COUNTERS)
        assert after["long_silence"] >= before["long_silence"]
    for earlier, later in pairwise(scores):
        assert all(new > old for new, old in zip(later, earlier, strict=True))


@given(history=histories)
@settings(max_examples=100)
def test_a_score_never_rises_with_the_horizon(history: list[Interaction]) -> None:
    """Who stays away for a month stays away for a week."""
    scores = rule_scores(fold(EMPTY, history), NOW)

    assert scores.churn_7d >= scores.churn_14d >= scores.churn_30d


def hours(pattern: Pattern, now: datetime) -> tuple[tuple[float, ...], ...]:
    return hour_features(pattern, BUNDLED, now)


def mood_row(pattern: Pattern, now: datetime) -> tuple[float, ...]:
    return mood_features(pattern, BUNDLED, now)


@given(history=histories, data=st.data())
@settings(max_examples=100)
def test_the_order_of_delivery_changes_no_feature(history: list[Interaction], data: st.DataObject) -> None:
    """R22: of churn, timing or mood."""
    shuffled = data.draw(st.permutations(history))

    for make in (features, hours, mood_row):
        assert make(fold(EMPTY, shuffled), NOW) == make(fold(EMPTY, history), NOW)


@given(history=histories, ago=st.integers(0, 3 * 365 * 86_400))
@settings(max_examples=150)
def test_a_replayed_history_gives_the_features_that_were_served_then(history: list[Interaction], ago: int) -> None:
    """R76: what came after a time cannot be seen in the features of that time.

    Given a pattern as it was stored at a time, a batch an interaction, bytes and back;
    When the whole history is known and only what came before that time is replayed;
    Then the features are equal to the last bit.
    """
    then = NOW - timedelta(seconds=ago)
    served = EMPTY
    for event in sorted(history, key=lambda event: event.occurred_at):
        if event.occurred_at < then:
            served = decode(encode(fold(served, [event])))

    replayed = fold(EMPTY, [event for event in reversed(history) if event.occurred_at < then])

    for make in (features, hours, mood_row):
        assert make(replayed, then) == make(served, then)


def test_active_days_and_half_hours_weigh_by_their_half_life() -> None:
    """One active day, 30 days before a midnight: half a day of half-life 30; and 90 days before: half of the other."""
    midnight = NOW.replace(hour=0)
    month = named(pattern_of([midnight - 30 * DAY]), midnight)
    quarter = named(pattern_of([midnight - 90 * DAY, midnight]), midnight)
    days = named(pattern_of([midnight - 3 * DAY]), midnight)

    assert month["active_days_30"] == pytest.approx(math.log1p(0.5))
    assert quarter["active_days_90"] == pytest.approx(math.log1p(1.5))
    assert days["active_half_hours_3"] == pytest.approx(math.log1p(0.5))


def test_a_habit_fades_faster_past_a_month_of_silence() -> None:
    """A regular who has been away for 92 days: a third of a month's weight, to the power of 0.75."""
    midnight = NOW.replace(hour=0)
    regular = pattern_of(midnight - number * DAY for number in range(92, 120))

    away = named(regular, midnight)

    counted = math.log1p(sum(0.5 ** (age / 90) for age in range(92, 120)))
    assert away["long_silence"] == pytest.approx(math.log(93 / 31))
    assert away["active_days_90"] == pytest.approx(counted / 3**0.75)


def test_own_gaps_tell_a_monthly_user_from_a_daily_one() -> None:
    """After five silent days, gaps of 29 days say "as usual", gaps of one day say nothing as long was ever seen."""
    last = NOW - 5 * DAY
    monthly = pattern_of(last - 29 * number * DAY for number in range(12))
    daily = pattern_of(last - number * DAY for number in range(12))

    # Longer than 5 days: eleven gaps of 29 and the assumed 16 and 64; longer than 35: only the 64.
    assert named(monthly, NOW)["own_gap_log_odds"] == pytest.approx(math.log(1.5 / 12.5))
    assert named(daily, NOW)["own_gap_log_odds"] == pytest.approx(math.log(1.5 / 1.5))


def test_the_rule_ranks_a_silent_regular_above_an_active_one_and_below_a_stranger() -> None:
    """The fallback has to sort users even though no model is there."""
    active = pattern_of(NOW - number * DAY for number in range(30))
    drifting = pattern_of(NOW - number * DAY for number in range(20, 50))

    scores = [rule_scores(pattern, NOW).churn_14d for pattern in (active, drifting, EMPTY)]

    assert scores == sorted(scores)
    assert scores[0] < 0.05 < 0.15 < scores[1] < scores[2]
