"""What moves the counters: integers on days that the items name for good, so that they can be counted again."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.interaction import Control
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import MOVES, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.statistics import (
    ENDS,
    PRESSES,
    activity_moves,
    band,
    band_moves,
    ending_moves,
    joined,
    left_moves,
    outreach_moves,
    planning_moves,
    press_moves,
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


LEFT = Outcomes(
    returned_24h=False, returned_7d=False, responded=False, mood_after=None, blocked=True, opted_out=False, left=True
)


@pytest.mark.parametrize("pressed", sorted(set(PRESSES.values())))
def test_each_kind_of_press_is_counted_by_type_and_template_on_the_day_of_planning(pressed: str) -> None:
    """R91: apart from answers, and from each other."""
    day = date(2026, 11, 21)
    assert press_moves(OUTREACH, pressed) == {
        (day, f"{pressed}:re_engagement"): 1,
        (day, f"{pressed}@re_engagement.open_door"): 1,
    }


def test_stop_of_the_type_and_of_all_are_one_kind_and_answers_to_us_are_none() -> None:
    """R91: the opened offer, "not now", stop; nothing else is counted by type."""
    assert {control: PRESSES.get(control) for control in Control if control in PRESSES} == {
        Control.OPENED: "opened",
        Control.NOT_NOW: "not_now",
        Control.STOP_TYPE: "stopped",
        Control.STOP_ALL: "stopped",
    }


@pytest.mark.parametrize("state", OutreachState)
def test_who_left_without_a_button_is_counted_where_a_message_was_sent(state: OutreachState) -> None:
    """R91: a block or a /stop within the week, once it is settled; nothing is counted of the held out."""
    day = date(2026, 11, 21)
    outreach = replace(OUTREACH, state=state)
    sent = state in (OutreachState.SENT, OutreachState.RESPONDED)
    expected = {(day, "left:re_engagement"): 1, (day, "left@re_engagement.open_door"): 1} if sent else {}
    assert left_moves(outreach, LEFT) == expected
    assert left_moves(outreach, replace(LEFT, left=False)) == {}


def test_what_was_pressed_can_be_counted_again_from_the_item() -> None:
    """R91: each kind once, whatever else became of it."""
    sent = replace(OUTREACH, state=OutreachState.SENT)
    pressed = replace(sent, opened_at=NOW, not_now_at=NOW, stopped_at=NOW)
    assert outreach_moves(pressed, LEFT) == joined(
        outreach_moves(sent),
        press_moves(sent, "opened"),
        press_moves(sent, "not_now"),
        press_moves(sent, "stopped"),
        press_moves(sent, "left"),
    )
    assert outreach_moves(sent, replace(LEFT, left=False)) == outreach_moves(sent)
