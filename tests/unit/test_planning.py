"""Who is written to about their silence, and how rarely; and when a score is looked at again."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.planning import (
    DAILY,
    FORGOTTEN_AFTER,
    MIN_SILENCE,
    REST,
    VALID_FOR,
    WEEKLY,
    Candidate,
    Thresholds,
    next_due_at,
    rested,
    send_time,
    silence_outreach,
    usual_gap,
)
from engagement.domain.quiet import habitual_hours, open_hours
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.zone import QUIET, SAFE_HOURS
from tests.builders import interaction, pattern_of, profile

START = datetime(2026, 1, 5, 19, 0, tzinfo=UTC)
THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6)
MIN_GAP = timedelta(hours=12)


def every(days: int, count: int = 10) -> Pattern:
    """Active every `days` days, `count` times; the last time at START + (count - 1) * days."""
    return pattern_of([START + timedelta(days=days * i) for i in range(count)])


def churn(probability: float) -> ChurnScores:
    return ChurnScores(probability, probability, probability)


def seen(pattern: Pattern) -> datetime:
    return datetime.fromtimestamp(pattern.last_at, UTC)


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.0, None),
        (0.59, None),
        (0.6, OutreachType.PERSONALIZED_CHECKIN),
        (0.79, OutreachType.PERSONALIZED_CHECKIN),
        (0.8, OutreachType.RE_ENGAGEMENT),
        (1.0, OutreachType.RE_ENGAGEMENT),
    ],
)
def test_the_score_says_which_kind_of_message(probability: float, expected: OutreachType | None) -> None:
    pattern = every(1)

    candidate = silence_outreach(pattern, churn(probability), THRESHOLDS, seen(pattern) + timedelta(days=5))

    assert (candidate.outreach_type if candidate else None) is expected


def test_a_candidate_names_its_silence_and_expires_when_its_hour_is_long_past() -> None:
    pattern = every(1)
    now = seen(pattern) + timedelta(days=5)

    assert silence_outreach(pattern, churn(0.9), THRESHOLDS, now) == Candidate(
        outreach_type=OutreachType.RE_ENGAGEMENT,
        campaign="silence",
        periods=("2026-01-14-1", "2026-01-14-2"),
        priority=0.9,
        trigger="churn_14d_high",
        expires_at=now + VALID_FOR,
    )


@pytest.mark.parametrize(
    ("pattern", "silent_days", "why"),
    [
        (every(1), 2.9, "three days at least"),
        (every(7), 6.9, "a weekly user's week"),
        (pattern_of([START, START]), 10, "two interactions tell nothing"),
        (EMPTY, 10, "nobody has been here"),
    ],
)
def test_nothing_is_planned_where_silence_calls_for_nothing(pattern: Pattern, silent_days: float, why: str) -> None:
    now = (seen(pattern) if pattern.total else START) + timedelta(days=silent_days)

    assert silence_outreach(pattern, churn(1.0), THRESHOLDS, now) is None, why


def test_a_weekly_user_is_missed_after_a_week_and_not_after_three_days() -> None:
    weekly = every(7)

    assert usual_gap(weekly) == timedelta(days=7)
    assert silence_outreach(weekly, churn(0.9), THRESHOLDS, seen(weekly) + timedelta(days=7)) is not None


def test_planning_the_same_silence_again_names_the_same_outreach_whatever_the_week() -> None:
    """R37: the identity is of the silence, so runs on both sides of midnight, or of a Monday, agree."""
    pattern = every(1)
    days = [seen(pattern) + MIN_SILENCE + timedelta(days=day) for day in range(30)]

    candidates = [silence_outreach(pattern, churn(score), THRESHOLDS, now) for now in days for score in (0.7, 0.9)]

    assert {(c.campaign, c.periods) for c in candidates if c} == {("silence", ("2026-01-14-1", "2026-01-14-2"))}


def test_another_silence_has_names_of_its_own() -> None:
    first, second = every(1), every(1, count=11)

    names = [
        candidate.periods
        for pattern in (first, second)
        if (candidate := silence_outreach(pattern, churn(0.9), THRESHOLDS, seen(pattern) + timedelta(days=5)))
    ]

    assert len(names) == 2
    assert set(names[0]).isdisjoint(names[1])


def test_our_last_message_must_be_two_weeks_old() -> None:
    now = START + timedelta(days=30)
    sent_at = now - REST

    assert rested(profile(), MIN_GAP, now)
    assert rested(profile(next_ok_at=sent_at + MIN_GAP), MIN_GAP, now)
    assert not rested(profile(next_ok_at=sent_at + timedelta(seconds=1) + MIN_GAP), MIN_GAP, now)


@st.composite
def habits(draw: st.DrawFn) -> Pattern:
    """A user of any rhythm, from several times a day to once in two months."""
    gaps = draw(st.lists(st.floats(0.01, 60), min_size=2, max_size=12))
    at = START
    times = [at]
    for gap in gaps:
        at += timedelta(days=gap)
        times.append(at.replace(microsecond=0))
    return pattern_of(times)


@given(habits())
@settings(max_examples=50, deadline=None)
def test_a_silent_users_score_keeps_rising(pattern: Pattern) -> None:
    """A score must not freeze when somebody goes silent: nothing is stored, and yet it moves at every look."""
    looks = [seen(pattern) + timedelta(days=days) for days in (1, 2, 4, 8, 16, 32, 64, 128, 256)]

    scores = [rule_scores(pattern, now).churn_14d for now in looks]

    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize(
    ("silent_days", "expected"),
    [(0, DAILY), (14, DAILY), (28, 2 * DAILY), (98, WEEKLY), (365, WEEKLY), (365.1, None)],
)
def test_the_longer_the_silence_the_more_seldom_it_is_looked_at(silent_days: float, expected: timedelta | None) -> None:
    pattern = every(1)
    now = seen(pattern) + timedelta(days=silent_days)

    assert next_due_at(pattern, now) == (now + expected if expected else None)


def test_a_pattern_without_an_interaction_is_not_looked_at() -> None:
    """R34: only edits were seen; the first real interaction puts the user into the index."""
    edits_only = fold(EMPTY, [interaction(occurred_at=START, edited=True)])

    assert next_due_at(edits_only, START) is None
    assert silence_outreach(edits_only, churn(1.0), THRESHOLDS, START) is None


def test_a_year_of_silence_is_scored_less_than_a_hundred_times() -> None:
    pattern = every(1)
    looks = 0
    due = next_due_at(pattern, seen(pattern))
    while due is not None:
        looks += 1
        assert due - seen(pattern) < FORGOTTEN_AFTER + 2 * WEEKLY
        due = next_due_at(pattern, due)

    assert looks < 100


FLAT = (1 / 24,) * 24
EVERY_DAY = (1 / 7,) * 7


@given(
    zone=st.sampled_from(["Asia/Kolkata", "America/New_York", "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"]),
    hours=st.lists(st.floats(0.001, 1), min_size=24, max_size=24),
    minutes=st.integers(0, 366 * 24 * 60),
)
@settings(max_examples=200, deadline=None)
def test_who_set_a_zone_is_written_to_between_eight_and_ten_in_the_evening_of_it(
    zone: str, hours: list[float], minutes: int
) -> None:
    """R38, R40: at any time of the year, whatever their habit; the zone they set wins."""
    now = START + timedelta(minutes=minutes)
    night_owl = pattern_of([now - timedelta(days=day) for day in range(60)])

    at = send_time(hours, EVERY_DAY, open_hours(night_owl, profile(zone=zone), QUIET), now)

    assert now < at <= now + timedelta(hours=24)
    assert 8 <= at.astimezone(ZoneInfo(zone)).hour < 22


def test_whose_zone_is_unknown_is_written_to_when_most_are_up() -> None:
    """R40: no habit, no language: the safe window of all places where users live, not just any hour."""
    once = pattern_of([START])
    at = {
        send_time(
            FLAT, EVERY_DAY, open_hours(once, profile(language_code=None), QUIET), START + timedelta(hours=hour)
        ).hour
        for hour in range(24)
    }

    assert len(at) <= SAFE_HOURS
    assert at <= set(range(8, 20))


@pytest.mark.parametrize("hour", range(24))
def test_an_hour_in_which_they_keep_being_active_is_none_of_their_quiet_ones(hour: int) -> None:
    """Wherever they live: somebody who talks at that hour day after day is up then."""
    days = pattern_of([START.replace(hour=hour) + timedelta(days=day) for day in range(3)])
    likes = [1.0 if h == hour else 0.01 for h in range(24)]

    at = send_time(likes, EVERY_DAY, open_hours(days, profile(language_code="ru"), QUIET), START + timedelta(days=6))

    assert at.hour == hour


def test_a_habit_is_three_days_of_the_last_sixty() -> None:
    nights = [START.replace(hour=3) + timedelta(days=day) for day in range(3)]
    binge = [START.replace(hour=3) + timedelta(minutes=minute) for minute in range(0, 60, 5)]
    since = [START.replace(hour=13) + timedelta(days=61 + day) for day in range(4)]

    assert habitual_hours(pattern_of(nights)) == {3}
    assert habitual_hours(pattern_of([*nights[:2], *binge])) == frozenset()
    assert habitual_hours(pattern_of([*nights, *since])) == {13}
    assert habitual_hours(EMPTY) == frozenset()
