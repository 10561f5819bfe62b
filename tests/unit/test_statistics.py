"""What moves the counters: integers on days that the items name for good, so that they can be counted again."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.outreach import MOVES, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.statistics import (
    ENDS,
    activity_moves,
    band,
    band_moves,
    ending_moves,
    joined,
    outreach_moves,
    planning_moves,
)
from tests.builders import NOW, interaction

OUTREACH = Outreach(
    bot_id=1,
    user_id=7,
    campaign="silence",
    period="2026-11-01-1",
    outreach_type=OutreachType.RE_ENGAGEMENT,
    state=OutreachState.SCHEDULED,
    priority=0.9,
    trigger="churn_14d_high",
    template="re_engagement.open_door",
    planned_at=datetime(2026, 11, 21, 23, 59, tzinfo=UTC),
    due_at=NOW,
    expires_at=NOW + timedelta(days=2),
)
HISTORY = st.lists(st.integers(0, 40 * 24), min_size=1, max_size=30)


@given(HISTORY, st.randoms())
def test_active_days_and_new_users_move_alike_in_any_order_and_any_split(hours: list[int], random: object) -> None:
    """What the batches of a history move adds up to what the whole moves."""
    history = [interaction(number, NOW + timedelta(hours=hour)) for number, hour in enumerate(hours)]
    whole = activity_moves(EMPTY, fold(EMPTY, history))
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' own
    pattern, moved = EMPTY, Counter[tuple[date | None, str]]()
    for one in shuffled:
        after = fold(pattern, [one, one])
        moved.update(activity_moves(pattern, after))
        pattern = after

    assert {key: count for key, count in moved.items() if count} == whole
    assert sum(count for (_, name), count in whole.items() if name == "new_users") == 1
    assert {day for day, name in whole if name == "dau"} == {one.occurred_at.date() for one in history}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_user_is_in_exactly_the_band_of_their_newest_score(scores: list[float]) -> None:
    moved = joined(*(band_moves(before, after) for before, after in zip([None, *scores], scores, strict=False)))

    assert moved == {(None, f"band:{band(scores[-1])}"): 1}


@pytest.mark.parametrize(("score", "expected"), [(0.0, 0), (0.19, 0), (0.2, 1), (0.79, 3), (0.8, 4), (1.0, 4)])
def test_bands_begin_at_their_edges(score: float, expected: int) -> None:
    assert band(score) == expected


@pytest.mark.parametrize("end", ENDS)
def test_an_outreach_is_booked_on_the_day_of_its_planning(end: OutreachState) -> None:
    day = date(2026, 11, 21)

    assert planning_moves(OUTREACH) == {(day, "planned:re_engagement"): 1}
    assert {key[0] for key in ending_moves(OUTREACH, end)} == {day}
    assert ending_moves(OUTREACH, end)[day, f"{end}:re_engagement"] == 1


def test_what_is_sent_and_answered_is_also_counted_by_its_template() -> None:
    day = date(2026, 11, 21)

    assert outreach_moves(replace(OUTREACH, state=OutreachState.RESPONDED)) == {
        (day, "planned:re_engagement"): 1,
        (day, "sent:re_engagement"): 1,
        (day, "sent@re_engagement.open_door"): 1,
        (day, "responded:re_engagement"): 1,
        (day, "responded@re_engagement.open_door"): 1,
    }


@pytest.mark.parametrize("state", OutreachState)
def test_a_state_says_what_was_counted_on_the_way_to_it(state: OutreachState) -> None:
    """So that the reconciler needs the items alone: no state can be reached with different counters."""
    counted = outreach_moves(replace(OUTREACH, state=state))
    ways = [before for before in OutreachState if state in MOVES[before]]

    assert counted[date(2026, 11, 21), "planned:re_engagement"] == 1
    if state in ENDS:
        assert not any(before in ENDS for before in ways)
        assert counted == joined(planning_moves(OUTREACH), ending_moves(OUTREACH, state))
