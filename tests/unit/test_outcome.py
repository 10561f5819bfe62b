"""A score set aside, and what the pattern says of it a week later."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.outcome import Outcome, Watched, ripen, watch
from engagement.domain.pattern import SLOT, Pattern
from tests.builders import NOW, pattern_of, silent_for

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
HALF_HOUR = timedelta(seconds=SLOT)
BEFORE = [NOW - day * DAY for day in range(1, 5)]
WATCHED = Watched(at=NOW, churn_7d=0.25, by="1-abc")


def outcome(*later: datetime, at: datetime = NOW, now: datetime = NOW + WEEK) -> bool | None:
    """Whether the user stayed away, given when they came after a few days of talk."""
    found = ripen(replace(WATCHED, at=at), pattern_of([*BEFORE, *later]), now)
    return found.stayed_away if found else None


def test_who_was_not_seen_again_stayed_away() -> None:
    assert ripen(WATCHED, pattern_of(BEFORE), NOW + WEEK) == Outcome(churn_7d=0.25, by="1-abc", stayed_away=True)


@pytest.mark.parametrize("after", [timedelta(seconds=1), DAY, WEEK])
def test_who_came_within_the_week_did_not(after: timedelta) -> None:
    assert outcome(NOW + after) is False
    assert outcome(NOW + after, NOW + 20 * DAY, now=NOW + 21 * DAY) is (after == WEEK)


def test_the_last_second_of_the_week_is_in_the_half_hour_after_it() -> None:
    """The one difference from the exact window, and only for who came again later: it is a second wide."""
    last = NOW + WEEK

    assert outcome(last, now=last) is False
    assert outcome(last, last + DAY, now=last + DAY) is True
    assert outcome(last - timedelta(seconds=1), last + DAY, now=last + DAY) is False


@pytest.mark.parametrize("after", [WEEK + timedelta(seconds=1), 8 * DAY, 50 * DAY])
def test_who_came_only_later_stayed_away(after: timedelta) -> None:
    assert outcome(NOW + after, now=NOW + after) is True


def test_a_score_is_not_judged_before_its_week_is_over() -> None:
    """Even of who came back on the first day: judging the quick ones early would make the model look wrong."""
    assert outcome(NOW + DAY, now=NOW + WEEK - timedelta(seconds=1)) is None
    assert ripen(None, pattern_of(BEFORE), NOW) is None


def test_a_score_from_before_the_patterns_memory_is_not_judged() -> None:
    """Half-hours are kept for 60 days: of what was before the newest 60 days nothing is known."""
    remembered, forgotten = NOW + 60 * DAY - HALF_HOUR, NOW + 60 * DAY

    assert outcome(NOW + DAY, remembered, now=remembered) is False
    assert outcome(NOW + DAY, forgotten, now=forgotten) is None


def test_the_interactions_before_a_score_are_not_its_outcome() -> None:
    assert outcome(NOW, NOW + 10 * DAY, now=NOW + 10 * DAY, at=NOW + timedelta(seconds=1)) is True


grid = st.integers(0, 59 * 48 - 1)


@given(st.lists(grid, max_size=30), st.integers(0, SLOT - 1), st.integers(0, SLOT - 1))
def test_on_the_schedules_grid_the_half_hours_tell_exactly_what_happened(
    slots: list[int], within: int, later: int
) -> None:
    """Ticks come every half-hour, so that the window's half-hours are the window."""
    times = [NOW + slot * HALF_HOUR + timedelta(seconds=within) for slot in slots]
    last = NOW + 59 * DAY + timedelta(seconds=later)
    came = any(NOW <= at < NOW + WEEK for at in times)

    assert outcome(*times, last, now=last) is (not came)


@given(st.lists(grid, max_size=30), st.integers(0, SLOT - 1))
def test_off_the_grid_the_week_begins_up_to_half_an_hour_late(slots: list[int], off: int) -> None:
    times = [NOW + slot * HALF_HOUR for slot in slots]
    at, last = NOW + timedelta(seconds=off), NOW + 59 * DAY
    begins = NOW + (HALF_HOUR if off else timedelta())

    assert outcome(*times, last, at=at, now=last) is (not any(begins <= time < begins + WEEK for time in times))


def test_the_present_score_is_watched_until_its_week_is_over() -> None:
    pattern = silent_for(1)
    first = watch(None, pattern, 0.123456, "1-abc", NOW)
    assert first == Watched(at=NOW, churn_7d=0.1235, by="1-abc")

    assert watch(first, pattern, 0.5, "2-def", NOW + WEEK - timedelta(seconds=1)) is first
    assert watch(first, pattern, 0.5, "2-def", NOW + WEEK) == Watched(at=NOW + WEEK, churn_7d=0.5, by="2-def")


@pytest.mark.parametrize("pattern", [silent_for(1, active_days=2), silent_for(30.1), Pattern()])
def test_nobody_is_watched_of_whom_the_card_does_not_speak(pattern: Pattern) -> None:
    """Fewer than 3 interactions, or none for 30 days: the card's figures are not about them."""
    assert watch(None, pattern, 0.5, "1-abc", NOW) is None
    assert watch(replace(WATCHED, at=NOW - WEEK), pattern, 0.5, "1-abc", NOW) is None
