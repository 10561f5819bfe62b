"""Exposures and what came of them: both arms by the same clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.interaction import SentimentType
from engagement.domain.outcomes import (
    RESPONSE,
    SETTLE_AFTER,
    WEEK,
    Outcomes,
    awaiting_of,
    expose,
    met_by,
    outcomes_of,
)
from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.profile import Awaiting
from tests.builders import NOW, interaction, profile

S = OutreachState
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
OUTREACH = Outreach(
    bot_id=1,
    user_id=7,
    campaign="silence",
    period="2026-11-03-1",
    outreach_type=OutreachType.RE_ENGAGEMENT,
    state=S.SENT,
    priority=0.9,
    trigger="churn_14d_high",
    template="re_engagement.open_door",
    planned_at=NOW - DAY,
    due_at=NOW,
    expires_at=NOW + DAY,
    experiment="first",
    exposed_at=NOW,
)


def came_of(returned_at: datetime | None = None, **changes: Any) -> Outcomes:
    return outcomes_of(replace(OUTREACH, returned_at=returned_at, **changes), EMPTY, profile())


@pytest.mark.parametrize(
    ("met", "first_of"),
    [
        (frozenset(), {"all", "re_engagement"}),
        (frozenset({"first:all"}), {"re_engagement"}),
        (frozenset({"first:re_engagement"}), {"all"}),
        (frozenset({"first:all", "first:re_engagement", "first:mood_support"}), set()),
        (frozenset({"earlier:all", "earlier:re_engagement"}), {"all", "re_engagement"}),
    ],
)
def test_an_exposure_is_the_first_of_whatever_was_not_met(met: frozenset[str], first_of: set[str]) -> None:
    exposed = expose(replace(OUTREACH, exposed_at=None), profile(met=met), NOW + timedelta(milliseconds=700))
    assert exposed.first_of == first_of
    assert exposed.exposed_at == NOW, "whole seconds, as the table keeps them"


def test_without_an_experiment_nothing_is_measured() -> None:
    outreach = replace(OUTREACH, experiment="")
    assert met_by(outreach) == {}
    assert expose(outreach, profile(), NOW).first_of == frozenset()


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds it
def test_what_a_profile_awaits_reads_back(now: datetime) -> None:
    exposed = expose(OUTREACH, profile(), now)
    assert Awaiting.parse(str(awaiting_of(exposed))) == awaiting_of(exposed)


def test_nothing_is_awaited_of_what_nobody_was_exposed_to() -> None:
    with pytest.raises(ValueError, match="exposed"):
        awaiting_of(replace(OUTREACH, exposed_at=None))


@pytest.mark.parametrize(
    ("after", "within"),
    [
        (None, (False, False)),
        (timedelta(), (False, False)),
        (SECOND, (True, True)),
        (RESPONSE, (True, True)),
        (RESPONSE + SECOND, (False, True)),
        (WEEK, (False, True)),
        (WEEK + SECOND, (False, False)),
    ],
)
@pytest.mark.parametrize("state", [S.SENT, S.RESPONDED, S.UNKNOWN, S.FAILED, S.HELD_OUT])
def test_returns_count_alike_in_every_arm_and_answers_where_something_was_sent(
    after: timedelta | None, within: tuple[bool, bool], state: OutreachState
) -> None:
    came = came_of(None if after is None else NOW + after, state=state)
    assert (came.returned_24h, came.returned_7d) == within
    assert came.responded is (within[0] and state in {S.SENT, S.RESPONDED})


@pytest.mark.parametrize(
    ("changes", "blocked", "opted_out"),
    [
        ({}, False, False),
        ({"blocked": True, "status_at": NOW + SECOND}, True, False),
        ({"blocked": True, "status_at": NOW + WEEK}, True, False),
        ({"blocked": True, "status_at": NOW + WEEK + SECOND}, False, False),
        ({"blocked": True, "status_at": NOW}, False, False),
        ({"blocked": False, "status_at": NOW + DAY}, False, False),
        ({"opted_out": True, "opted_out_at": NOW + DAY}, False, True),
        ({"opted_out": True, "opted_out_at": NOW - DAY}, False, False),
        ({"opted_out": True, "opted_out_at": NOW + 2 * WEEK}, False, False),
        ({"opted_out": False, "opted_out_at": NOW + DAY}, False, False),
    ],
)
def test_harm_is_what_happened_in_the_week_after(changes: dict[str, Any], blocked: bool, opted_out: bool) -> None:
    came = outcomes_of(OUTREACH, EMPTY, profile(**changes))
    assert (came.blocked, came.opted_out) == (blocked, opted_out)


@pytest.mark.parametrize("reason", ["blocked", "unreachable"])
def test_a_block_that_the_message_only_revealed_is_no_harm_of_it(reason: str) -> None:
    """R48: Telegram's 403 dates from the attempt; the block is older."""
    revealed = profile(blocked=True, status_at=NOW + SECOND)
    failed = replace(OUTREACH, state=S.FAILED, reason=reason)
    assert not outcomes_of(failed, EMPTY, revealed).blocked
    assert outcomes_of(replace(failed, reason="rejected"), EMPTY, revealed).blocked


def test_of_an_erased_user_only_the_return_is_known() -> None:
    came = outcomes_of(replace(OUTREACH, returned_at=NOW + SECOND), EMPTY, None)
    assert (came.returned_7d, came.blocked, came.opted_out, came.mood_after) == (True, False, False, None)


def test_the_mood_is_that_of_the_seven_days_after_the_day() -> None:
    """Each message weighs the same; those without a known sentiment nothing."""
    sentiments = [(0, -1.0), (1, 0.5), (1, 0.3), (3, None), (7, -0.2), (8, -1.0)]
    pattern = fold(
        EMPTY,
        [
            interaction(
                number,
                NOW + days * DAY,
                sentiment=value,
                sentiment_type=SentimentType.UNKNOWN if value is None else SentimentType.NEUTRAL,
            )
            for number, (days, value) in enumerate(sentiments)
        ],
    )
    assert outcomes_of(OUTREACH, pattern, profile()).mood_after == pytest.approx(0.2)
    assert outcomes_of(replace(OUTREACH, exposed_at=NOW - 30 * DAY), pattern, profile()).mood_after is None


@given(
    st.builds(
        Outcomes,
        returned_24h=st.booleans(),
        returned_7d=st.booleans(),
        responded=st.booleans(),
        mood_after=st.none() | st.floats(-1, 1),
        blocked=st.booleans(),
        opted_out=st.booleans(),
    )
)
def test_outcomes_read_back_as_they_were_kept(outcomes: Outcomes) -> None:
    assert Outcomes.from_json(outcomes.as_json()) == outcomes


def test_late_updates_have_a_day_to_come_in() -> None:
    assert SETTLE_AFTER - WEEK == DAY
