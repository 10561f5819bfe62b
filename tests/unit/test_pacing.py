"""Pacing: no second holds too many messages, overall or for one chat."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.pacing import Pacer

TOLERANCE = 1e-6


def starts(per_second: int, arrivals: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Let messages arrive, each some time after the one before was started; return when each was started."""
    pacer, now, started = Pacer(per_second), 100.0, []
    for chat, pause in arrivals:
        now += pause
        peeked = pacer.wait(chat, now)
        wait = pacer.reserve(chat, now)
        assert wait == peeked
        assert wait >= 0
        now += wait
        started.append((chat, now))
    return started


arrivals = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 5.0]) | st.floats(0, 2)), max_size=60
)


@given(per_second=st.integers(1, 30), arrivals=arrivals)
def test_every_window_of_a_second_holds_at_most_as_many_as_allowed(
    per_second: int, arrivals: list[tuple[int, float]]
) -> None:
    """R53: a sliding window, not a calendar second."""
    started = starts(per_second, arrivals)
    times = [at for _, at in started]
    assert times == sorted(times)
    for first, last in zip(times, times[per_second:], strict=False):
        assert last - first >= 1 - TOLERANCE
    for chat in range(1, 5):
        assert all(b - a >= 1 - TOLERANCE for a, b in pairwise(at for c, at in started if c == chat))


def test_an_idle_sender_does_not_wait() -> None:
    assert starts(25, [(chat, 0.0) for chat in range(25)])[-1][1] == 100.0


def test_a_burst_is_spread_at_the_full_rate() -> None:
    """R53: 250 messages at 25 a second take nine seconds after the first 25, and no longer."""
    started = starts(25, [(chat, 0.0) for chat in range(250)])
    assert started[-1][1] == pytest.approx(109.0)


def test_looking_reserves_nothing() -> None:
    pacer = Pacer(1)
    assert [pacer.wait(1, 5.0) for _ in range(3)] == [0.0] * 3
    pacer.reserve(1, 5.0)
    assert [pacer.wait(2, 5.0) for _ in range(3)] == [1.0] * 3


def test_a_pacer_remembers_only_the_chats_of_the_last_second() -> None:
    pacer = Pacer(1_000)
    for chat in range(5_000):
        pacer.reserve(chat, chat / 100)
    assert len(pacer._by_chat) <= 102


def test_no_pace_is_no_pace() -> None:
    with pytest.raises(ValueError, match="switch outreach off"):
        Pacer(0)
