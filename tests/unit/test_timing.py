"""The best hour to write: where a user's habits are, when that comes next, and nothing odd for anybody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import exp, isclose, isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.pattern import EMPTY, HOURS_OF_WEEK, Pattern
from engagement.domain.population import BUNDLED
from engagement.domain.timing import NAMES, best_send_time, hour_features, hour_shares
from tests.builders import pattern_of

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(hours=24)


def daily_at(*hours: int, days: int = 14) -> Pattern:
    return pattern_of([MONDAY + timedelta(days=day, hours=hour, minutes=10) for day in range(days) for hour in hours])


times = st.integers(0, 365 * 86_400).map(lambda seconds: MONDAY + timedelta(seconds=seconds))
patterns = st.lists(times, max_size=40).map(pattern_of)


def shares_of(pattern: Pattern, now: datetime = MONDAY + timedelta(days=14)) -> tuple[float, ...]:
    return hour_shares(pattern, BUNDLED, now)


@given(patterns, times)
@settings(max_examples=100, deadline=None)
def test_the_shares_of_any_history_are_positive_and_sum_to_one(pattern: Pattern, now: datetime) -> None:
    """R34: also at a time before the history's end."""
    shares = shares_of(pattern, now)

    assert len(shares) == 24
    assert all(isfinite(share) and share > 0 for share in shares)
    assert isclose(sum(shares), 1)


def test_a_lifetime_of_a_billion_messages_gives_finite_rows() -> None:
    """R34: a sketch whose sets are empty or whose counts are huge."""
    hours = [0] * HOURS_OF_WEEK
    hours[30] = 10**9
    old = replace(EMPTY, total=10**9, days=tuple(range(400)), hours_of_week=tuple(hours))

    lifetime = [row[NAMES.index("lifetime")] for row in hour_features(old, BUNDLED, MONDAY)]

    assert all(map(isfinite, lifetime))
    assert max(range(24), key=lifetime.__getitem__) == 6


def test_an_unknown_user_has_the_populations_hours() -> None:
    assert shares_of(EMPTY) == pytest.approx(BUNDLED.hours)


@pytest.mark.parametrize("hour", range(24))
def test_a_daily_habit_is_found_at_any_hour_also_across_midnight(hour: int) -> None:
    shares = shares_of(daily_at(hour))

    assert max(range(24), key=shares.__getitem__) == hour
    assert sum(shares[(hour + near) % 24] for near in (-1, 0, 1)) > 0.5


def test_a_single_burst_weighs_as_one_session_and_not_by_its_messages() -> None:
    habit = [MONDAY + timedelta(days=day, hours=19) for day in range(10)]
    burst = [MONDAY + timedelta(days=3, hours=3, seconds=second) for second in range(60)]

    shares = shares_of(pattern_of(habit + burst))

    assert max(range(24), key=shares.__getitem__) in {18, 19, 20}


@given(patterns, times)
@settings(max_examples=100, deadline=None)
def test_the_send_time_is_in_the_window_and_never_in_the_past(pattern: Pattern, now: datetime) -> None:
    shares = shares_of(pattern, now)
    at = best_send_time(shares, now, within=DAY)

    assert now < at <= now + DAY
    assert at.tzinfo is UTC
    assert (at.minute, at.second) == (30, 0)
    assert shares[at.hour] == pytest.approx(max(shares))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (MONDAY.replace(hour=8), MONDAY.replace(hour=19, minute=30)),
        (MONDAY.replace(hour=19, minute=29), MONDAY.replace(hour=19, minute=30)),
        (MONDAY.replace(hour=19, minute=30), MONDAY.replace(hour=19, minute=30) + DAY),
        (MONDAY.replace(hour=23, minute=59), MONDAY.replace(hour=19, minute=30) + DAY),
    ],
)
def test_the_next_evening_is_taken_once_this_ones_middle_has_passed(now: datetime, expected: datetime) -> None:
    assert best_send_time(shares_of(daily_at(19)), now, within=DAY) == expected


@pytest.mark.parametrize(("asked_at", "answer"), [((0, 0), 16), ((16, 45), 17), ((17, 45), 16)])
def test_of_equally_good_hours_the_next_one_is_taken(asked_at: tuple[int, int], answer: int) -> None:
    """Given hours 16 and 17, equal in the habit as in the population."""
    hour, minute = asked_at
    pattern = daily_at(16, 17)
    shares = shares_of(pattern)
    assert shares[16] == pytest.approx(shares[17])
    assert max(shares) == pytest.approx(shares[16])

    assert best_send_time(shares, MONDAY.replace(hour=hour, minute=minute), within=DAY).hour == answer


def test_a_window_too_short_for_any_middle_of_an_hour_means_now() -> None:
    now = MONDAY.replace(hour=12, minute=40)

    assert best_send_time(shares_of(daily_at(19)), now, within=timedelta(minutes=20)) == now


def test_a_short_window_takes_the_best_of_what_it_holds() -> None:
    now = MONDAY.replace(hour=8)

    assert best_send_time(shares_of(daily_at(19)), now, within=timedelta(hours=4)).hour == 11


def test_a_habit_keeps_its_hour_on_every_day_of_the_year() -> None:
    """Europe's clocks change twice in 2026; in UTC no hour is missing or doubled."""
    shares = shares_of(daily_at(1))

    answers = [best_send_time(shares, MONDAY + timedelta(days=day), within=DAY) for day in range(365)]

    assert answers == [MONDAY + timedelta(days=day, hours=1, minutes=30) for day in range(365)]


@given(patterns, times)
@settings(max_examples=100, deadline=None)
def test_the_models_rows_are_logs_of_shares_for_any_history(pattern: Pattern, now: datetime) -> None:
    """R34"""
    rows = hour_features(pattern, BUNDLED, now)

    assert [len(row) for row in rows] == [len(NAMES)] * 24
    for column in zip(*rows, strict=True):
        assert isclose(sum(exp(value) for value in column), 1)
    assert [exp(row[NAMES.index("habit")]) for row in rows] == pytest.approx(shares_of(pattern, now))


def test_a_newcomers_hours_lie_between_their_own_and_the_populations() -> None:
    once = shares_of(daily_at(3, days=1))
    often = shares_of(daily_at(3, days=14))

    assert BUNDLED.hours[3] < once[3] < often[3]


def test_a_habit_of_last_autumn_is_remembered_when_the_half_hours_are_not() -> None:
    """The sketch keeps half-hours for 60 days and the hours of each week for a year."""
    autumn = [MONDAY - timedelta(days=200) + timedelta(days=day, hours=5) for day in range(40)]
    pattern = pattern_of([*autumn, MONDAY.replace(hour=15)])

    shares = shares_of(pattern, MONDAY + DAY)

    assert shares[5] > 2 * BUNDLED.hours[5]


@given(patterns, times, st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_a_weekday_that_the_population_prefers_wins_among_equal_hours(
    pattern: Pattern, now: datetime, weekday: int
) -> None:
    weekdays = [2.0 if day == weekday else 1.0 for day in range(7)]
    shares = shares_of(pattern, now)

    at = best_send_time(shares, now, within=timedelta(days=7), weekdays=weekdays)

    assert at.weekday() == weekday
    assert shares[at.hour] == pytest.approx(max(shares))
