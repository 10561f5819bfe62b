"""The pattern sketch: any order, any split, any duplication of a history folds to the same state."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from engagement.domain.pattern import (
    APPLIED_LIMIT,
    EMPTY,
    SLOT,
    Pattern,
    current_streak,
    fold,
    last_seen,
    longest_streak,
    merge,
    session_starts,
)
from engagement.domain.pattern_bytes import decode, encode
from engagement.errors import BadPatternError
from tests import builders

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # a Monday
# With a mood: what it adds to the sums is part of what must come out equal, and of what the bytes weigh.
interaction = partial(builders.interaction, sentiment=0.5, sentiment_type=SentimentType.POSITIVE, quality=0.4)


@st.composite
def histories(draw: st.DrawFn, size: int = 200) -> list[Interaction]:
    """Up to `size` interactions over two years, with ids in no relation to time (they restart after a silence)."""
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=size, unique=True))
    events = []
    for update_id in ids:
        sentiment = draw(st.none() | st.floats(-1, 1))
        events.append(
            interaction(
                update_id,
                START + timedelta(seconds=draw(st.integers(0, 730 * 86_400))),
                engagement_type=draw(st.sampled_from(EngagementType)),
                sentiment=sentiment,
                sentiment_type=SentimentType.UNKNOWN if sentiment is None else SentimentType.NEUTRAL,
                quality=draw(st.floats(0, 1)),
                is_question=draw(st.booleans()),
                is_greeting=draw(st.booleans()),
                topics=tuple(sorted(draw(st.sets(st.sampled_from(["health", "music", "work"]))))),
                reply_latency_seconds=draw(st.none() | st.integers(0, 10**6)),
                edited=draw(st.integers(0, 9)) == 0,
            )
        )
    return events


def folded_in_batches(deliveries: list[Interaction], batch_sizes: list[int]) -> Pattern:
    """Fold through the stored bytes, as the stream does."""
    pattern, start, turn = EMPTY, 0, 0
    while start < len(deliveries):
        size = batch_sizes[turn % len(batch_sizes)]
        pattern = decode(encode(fold(pattern, deliveries[start : start + size])))
        start, turn = start + size, turn + 1
    return pattern


@settings(max_examples=120, deadline=None)
@given(data=st.data(), history=histories())
def test_any_order_split_and_duplication_of_a_history_gives_an_equal_pattern(
    data: st.DataObject, history: list[Interaction]
) -> None:
    """R22, R30: 200 events, shuffled, repeated, cut into batches anywhere, stored and read between them."""
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=len(history)))
    deliveries = data.draw(st.permutations(history + repeated))
    sizes = data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=10))
    assert folded_in_batches(deliveries, sizes) == fold(EMPTY, history)


@settings(max_examples=60, deadline=None)
@given(history=histories(80), cut=st.integers(0, 80))
def test_merging_the_patterns_of_two_parts_equals_folding_the_whole(history: list[Interaction], cut: int) -> None:
    """R22: a partition's worth of history can be folded apart and merged, in either order."""
    left, right = fold(EMPTY, history[:cut]), fold(EMPTY, history[cut:])
    assert merge(left, right) == merge(right, left) == fold(EMPTY, history)


def test_merging_parts_that_share_an_update_is_refused() -> None:
    """A sum would count it twice, so the caller is told."""
    both = fold(EMPTY, [interaction(1, START)])
    with pytest.raises(ValueError, match="share updates"):
        merge(both, both)


@settings(max_examples=60, deadline=None)
@given(history=histories(120))
def test_the_bytes_read_back_to_an_equal_pattern(history: list[Interaction]) -> None:
    """Nothing is lost on the way to the table."""
    pattern = fold(EMPTY, history)
    assert decode(encode(pattern)) == pattern


@settings(max_examples=200, deadline=None)
@given(history=histories(20), data=st.data())
def test_damaged_bytes_are_refused_or_read_but_never_crash(history: list[Interaction], data: st.DataObject) -> None:
    """A poison item raises the one error that the stream turns into a dead letter."""
    raw = encode(fold(EMPTY, history))
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BadPatternError):
        decode(raw[:cut])


def test_another_format_is_refused_with_the_way_out() -> None:
    """A rolled-back deployment must not overwrite what a newer one wrote."""
    with pytest.raises(BadPatternError, match="deploy the version that wrote it"):
        decode(b"\xff" + encode(EMPTY)[1:])


def test_a_heavy_user_is_never_counted_twice() -> None:
    """R22: beyond the memory of 256 updates an old one is skipped, so that a redelivery cannot count again."""
    history = [interaction(i, START + timedelta(minutes=i)) for i in range(3 * APPLIED_LIMIT)]
    pattern = fold(EMPTY, history)
    assert len(pattern.applied) == APPLIED_LIMIT
    assert fold(pattern, history) == pattern
    assert pattern.total == len(history)


def test_exactly_as_many_updates_as_it_remembers_still_come_in_any_order() -> None:
    """R22: the memory has no floor before something fell out of it."""
    history = [interaction(i, START + timedelta(hours=i)) for i in range(APPLIED_LIMIT)]
    backwards = EMPTY
    for event in reversed(history):
        backwards = fold(backwards, [event])
    assert backwards == fold(EMPTY, history)


def test_an_edit_is_noted_but_never_counted() -> None:
    """R21: editing an old message is neither a new message nor a new active day."""
    pattern = fold(EMPTY, [interaction(1, START)])
    edited = fold(pattern, [interaction(2, START + timedelta(days=40), edited=True)])
    assert edited.edits == 1
    assert (edited.total, edited.days, edited.last_at) == (pattern.total, pattern.days, pattern.last_at)


def test_a_replay_after_23_hours_changes_nothing() -> None:
    """R28: the pattern knows event times only; when it is folded does not matter."""
    history = [interaction(i, START + timedelta(hours=3 * i)) for i in range(50)]
    pattern = fold(EMPTY, history)
    assert fold(pattern, history) is pattern


def test_swapping_two_interactions_keeps_streak_and_last_seen() -> None:
    """R30: a stream may deliver two sort keys of one user in either order."""
    monday, tuesday = interaction(9, START), interaction(4, START + timedelta(days=1))
    one = fold(fold(EMPTY, [monday]), [tuesday])
    other = fold(fold(EMPTY, [tuesday]), [monday])
    assert one == other
    assert last_seen(one) == tuesday.occurred_at
    assert current_streak(one, START + timedelta(days=1)) == longest_streak(one) == 2


@pytest.mark.parametrize(
    ("days", "today", "current", "longest"),
    [
        ([0], 0, 1, 1),
        ([0, 1, 2], 3, 3, 3),
        ([0, 1, 2], 4, 0, 3),
        ([0, 1, 4, 5, 6], 6, 3, 3),
        ([0, 1, 2, 3, 9], 9, 1, 4),
    ],
)
def test_streaks_are_runs_of_consecutive_days(days: list[int], today: int, current: int, longest: int) -> None:
    """A run lives on until a whole day was missed."""
    pattern = fold(EMPTY, [interaction(day, START + timedelta(days=day)) for day in days])
    assert current_streak(pattern, START + timedelta(days=today)) == current
    assert longest_streak(pattern) == longest


def test_sessions_are_runs_of_active_half_hours() -> None:
    """Talking through several slots is one session; a slot's pause begins another."""
    minutes = [0, 10, 35, 65, 200, 201]
    pattern = fold(EMPTY, [interaction(i, START + timedelta(minutes=m)) for i, m in enumerate(minutes)])
    starts = [datetime.fromtimestamp(at, UTC) for at in session_starts(pattern)]
    assert starts == [START, START + timedelta(minutes=180)]
    assert all(at % SLOT == 0 for at in session_starts(pattern))


def test_the_hour_of_week_begins_on_monday_at_midnight_utc() -> None:
    """Monday nine o'clock is the ninth hour."""
    pattern = fold(EMPTY, [interaction(1, START), interaction(2, START + timedelta(days=6, hours=14, minutes=59))])
    assert [hour for hour, count in enumerate(pattern.hours_of_week) if count] == [9, 167]


def test_the_hours_of_a_week_are_a_set_for_a_year_and_then_forgotten() -> None:
    """Weeks are counted from 1970-01-01: the 8th of January 2026 is a Thursday, on which one begins."""
    thursday = START.replace(day=8, hour=0)
    at = [thursday, thursday + timedelta(hours=23, minutes=59), thursday + timedelta(days=6, hours=5)]
    pattern = fold(
        EMPTY, [interaction(n, moment) for n, moment in enumerate([*at, *at, thursday - timedelta(hours=1)])]
    )
    year_later = fold(pattern, [interaction(100, thursday + timedelta(weeks=52))])

    week = int(thursday.timestamp()) // 86_400 // 7
    assert pattern.weeks == ((week - 1, 1 << 23), (week, 1 << 0 | 1 << 5 | 1 << 23))
    assert year_later.weeks == ((week + 52, 1),)
    assert decode(encode(year_later)) == year_later


def test_an_empty_pattern_was_never_seen() -> None:
    """A new user has no last time."""
    assert last_seen(EMPTY) is None
    assert current_streak(EMPTY, START) == longest_streak(EMPTY) == 0
    assert session_starts(EMPTY) == ()


@pytest.fixture
def typical_user() -> Callable[[int], Pattern]:
    """A user with `events` interactions in sessions of four, over three months."""

    def build(events: int) -> Pattern:
        history = []
        for session in range(events // 4):
            begin = START + timedelta(days=session * 90 / (events / 4), hours=session * 7 % 12)
            history += [
                interaction(
                    41_000_000 + session * 3_000 + 40 * i,
                    begin + timedelta(minutes=3 * i),
                    topics=("health", "music", "programming", "work")[i : i + 1],
                )
                for i in range(4)
            ]
        return fold(EMPTY, history)

    return build


@pytest.mark.parametrize(("events", "limit"), [(4, 120), (40, 400), (120, 800)])
def test_a_typical_users_pattern_stays_below_a_kilobyte(
    typical_user: Callable[[int], Pattern], events: int, limit: int
) -> None:
    """A write costs by the kilobyte: the whole item of a typical user is one write unit (counted elsewhere)."""
    assert len(encode(typical_user(events))) <= limit
