"""The flood limit: a bounded memory that lets each user have so many interactions a minute."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.flood import MAX_USERS, FloodLimit

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def seconds(number: float) -> datetime:
    return T0 + timedelta(seconds=number)


def test_a_thousand_updates_in_ten_seconds_keep_no_more_than_the_limit() -> None:
    """R13: and nobody else notices."""
    limit = FloodLimit(60)
    kept = sum(limit.admit(1, seconds(number / 100)) for number in range(1_000))

    assert kept == 60
    assert limit.admit(2, seconds(10))


@given(gaps=st.lists(st.integers(0, 30), min_size=1, max_size=200), per_minute=st.integers(1, 10))
def test_no_minute_holds_more_than_the_limit(gaps: list[int], per_minute: int) -> None:
    """R13: any minute, not only those of the clock."""
    limit, at, kept = FloodLimit(per_minute), 0, []
    for gap in gaps:
        at += gap
        if limit.admit(1, seconds(at)):
            kept.append(at)

    assert all(sum(start <= other < start + 60 for other in kept) <= per_minute for start in kept)
    assert kept


def test_a_minute_later_the_user_is_welcome_again() -> None:
    limit = FloodLimit(2)

    assert [limit.admit(1, seconds(s)) for s in (0, 1, 2, 59, 60, 60, 61)] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_replay_that_begins_earlier_is_not_shut_out() -> None:
    """A demonstration plays its weeks again from the first day."""
    limit = FloodLimit(1)
    limit.admit(1, T0)

    assert limit.admit(1, T0 - timedelta(days=30))


@pytest.mark.parametrize("users", [MAX_USERS, 3 * MAX_USERS])
def test_a_flood_of_users_costs_no_more_memory(users: int) -> None:
    """R13."""
    limit = FloodLimit(2)
    for user in range(users):
        limit.admit(user, T0)

    assert len(limit._admitted) == MAX_USERS
