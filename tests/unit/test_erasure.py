"""R99: what an experiment keeps of an erased user's exposure is of nobody."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from engagement.domain.delivery import DeliveryOutcome
from engagement.domain.erasure import (
    CAMPAIGN,
    PERIOD,
    SWEEP_AGAIN_AFTER,
    TOMBSTONE_KEPT,
    awaits_outcome,
    settles_at,
    stub_of,
)
from engagement.domain.lift import increments
from engagement.domain.outcomes import SETTLE_AFTER, outcomes_of
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY
from engagement.domain.statistics import left_moves, outreach_moves
from tests.builders import NOW, profile

S = OutreachState
DAY = timedelta(days=1)
EXPOSED = Outreach(
    bot_id=1,
    user_id=7_000_000_001,
    campaign="topic_follow_up",
    period="diary_of_a_canary.2026-11",
    outreach_type=OutreachType.TOPIC_FOLLOW_UP,
    state=S.SENT,
    priority=0.123456,
    trigger="canary_trigger",
    template="topic_follow_up.heart_of_it",
    planned_at=NOW - DAY - timedelta(minutes=7),
    due_at=NOW - timedelta(minutes=3),
    expires_at=NOW + 2 * DAY,
    reason="canary_reason",
    attempts=3,
    message_id=424_242,
    sent_at=NOW + timedelta(seconds=1),
    arm=Arm.TREATED,
    treated_probability=0.8,
    experiment="first",
    program_probability=0.9,
    in_control=False,
    measured_by_type=True,
    template_probability=0.25,
    values={"topic": "canary"},
    covariate=0.73219,
    context=b"canary",
    exposed_at=NOW + timedelta(seconds=1),
    first_of=frozenset({"all", "topic_follow_up"}),
    returned_at=NOW + timedelta(hours=2),
    enhanced="a model",
    opened_at=NOW + timedelta(minutes=1),
    not_now_at=NOW + timedelta(minutes=2),
    stopped_at=NOW + timedelta(minutes=3),
)
STUB = stub_of(EXPOSED, 99)


def test_a_stub_names_nobody() -> None:
    """No user, campaign, period, value, context, message, time of day: nothing to find them by."""
    assert STUB.key == (1, -99, CAMPAIGN, PERIOD)
    assert (STUB.values, STUB.context, STUB.message_id, STUB.sent_at, STUB.returned_at) == ({}, None, None, None, None)
    assert (STUB.reason, STUB.enhanced, STUB.trigger, STUB.priority, STUB.attempts) == (None, None, CAMPAIGN, 0.0, 0)
    shown = repr(STUB)
    for canary in ("7000000001", "7_000_000_001", "canary", "diary", "424242", "0.73219", "0.123456"):
        assert canary not in shown


def test_a_stub_keeps_days_and_no_times() -> None:
    times = {field.name: getattr(STUB, field.name) for field in fields(STUB)}
    for name, at in times.items():
        if isinstance(at, datetime):
            assert at == datetime(at.year, at.month, at.day, tzinfo=UTC), name
    assert STUB.planned_at.date() == EXPOSED.planned_at.date()
    assert STUB.exposed_at == datetime(2026, 11, 22, tzinfo=UTC)


def test_a_stub_keeps_what_the_experiment_and_the_counters_need() -> None:
    for name in (
        "bot_id",
        "outreach_type",
        "template",
        "arm",
        "treated_probability",
        "program_probability",
        "template_probability",
        "experiment",
        "in_control",
        "measured_by_type",
        "first_of",
        "state",
    ):
        assert getattr(STUB, name) == getattr(EXPOSED, name)
    assert STUB.forgotten
    assert STUB.covariate == 0.7
    assert outreach_moves(STUB) == outreach_moves(EXPOSED), "R99: counters are booked on the same day"


@pytest.mark.parametrize("state", [S.SENT, S.RESPONDED, S.HELD_OUT, S.FAILED, S.UNKNOWN])
def test_every_state_stays_but_one_that_is_under_way(state: OutreachState) -> None:
    assert stub_of(replace(EXPOSED, state=state), 1).state is state


def test_a_message_under_way_may_be_out() -> None:
    """Whoever sends it finds nobody to record it of."""
    assert stub_of(replace(EXPOSED, state=S.SENDING), 1).state is S.UNKNOWN


def test_what_was_never_pressed_is_not_pressed_in_the_stub() -> None:
    calm = stub_of(replace(EXPOSED, opened_at=None, not_now_at=None, stopped_at=None), 1)
    assert (calm.opened_at, calm.not_now_at, calm.stopped_at) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "awaits"),
    [({}, True), ({"exposed_at": None}, False), ({"settled_at": NOW}, False), ({"state": S.HELD_OUT}, True)],
)
def test_only_what_the_experiment_still_waits_for_leaves_a_stub(changes: dict[str, object], awaits: bool) -> None:
    outreach = replace(EXPOSED, **changes)
    assert awaits_outcome(outreach) is awaits
    if not awaits:
        with pytest.raises(ValueError, match="stub"):
            stub_of(outreach, 1)


def test_a_stub_settles_when_its_users_outcome_would_have() -> None:
    """On the day after: its exposure is known to the day only, so never too early."""
    assert EXPOSED.exposed_at
    assert settles_at(STUB) >= EXPOSED.exposed_at + SETTLE_AFTER
    assert settles_at(STUB) - EXPOSED.exposed_at <= SETTLE_AFTER + DAY
    assert awaits_outcome(STUB)


@pytest.mark.parametrize("state", [S.SENT, S.RESPONDED, S.HELD_OUT, S.UNKNOWN, S.FAILED])
def test_a_forgotten_exposure_counts_as_stopped_and_not_returned(state: OutreachState) -> None:
    """Whoever is driven so far as to be forgotten is the worst outcome there is; both arms alike."""
    stub = stub_of(replace(EXPOSED, state=state, stopped_at=None, reason=DeliveryOutcome.REJECTED), 1)
    came = outcomes_of(stub, EMPTY, None)
    assert (came.returned_24h, came.returned_7d, came.responded, came.blocked) == (False, False, False, False)
    assert came.mood_after is None
    assert came.opted_out
    assert came.left
    assert bool(left_moves(stub, came)) is (state in (S.SENT, S.RESPONDED))
    assert increments(stub, came)


def test_who_pressed_stop_before_is_counted_by_that_press_and_not_again() -> None:
    came = outcomes_of(STUB, EMPTY, None)
    assert came.opted_out
    assert not came.left
    assert left_moves(STUB, came) == {}


def test_who_was_not_forgotten_has_not_opted_out_by_that() -> None:
    calm = replace(EXPOSED, stopped_at=None)
    assert not outcomes_of(calm, EMPTY, profile()).opted_out
    assert not outcomes_of(calm, EMPTY, None).opted_out, "gone in another way"


def test_a_tombstone_outlives_whatever_could_bring_the_user_back() -> None:
    """35 days of a restore, the stream's day; the second sweep comes after the longest run (15 minutes)."""
    assert TOMBSTONE_KEPT > 35 * DAY
    assert timedelta(minutes=15) < SWEEP_AGAIN_AFTER
