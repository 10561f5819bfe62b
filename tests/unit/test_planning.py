"""Which messages are called for, how rarely, and when a score is looked at again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.interaction import EngagementType
from engagement.domain.mood import Direction, MoodTrend, mood_trend
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.planning import (
    AT_RISK_AFTER,
    DAILY,
    FORGOTTEN_AFTER,
    FORTNIGHT,
    MIN_SILENCE,
    REST,
    SPACING,
    STEPS,
    VALID_FOR,
    WEEKLY,
    Candidate,
    Thresholds,
    candidates,
    celebration_candidate,
    feature_suggestion,
    is_still_needed,
    mood_candidate,
    next_due_at,
    rested,
    send_time,
    silence_outreach,
    topic_follow_up,
    usual_gap,
)
from engagement.domain.population import BUNDLED
from engagement.domain.quiet import habitual_hours, open_hours
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.templates import VALUES
from engagement.domain.topics import CATALOGUE, PRIVATE_TOPICS
from engagement.domain.zone import QUIET, SAFE_HOURS
from tests.builders import NOW, interaction, pattern_of, profile, silent_for

START = datetime(2026, 1, 5, 19, 0, tzinfo=UTC)
THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6, features=("habits", "/reminders"))
DAY = timedelta(days=1)
STEADY = MoodTrend(change=-0.1, standard_error=0.08, direction=Direction.STEADY)
DECLINING = MoodTrend(change=-0.3, standard_error=0.1, direction=Direction.DECLINING)


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
        period="2026-01-14-1",
        priority=0.9,
        trigger="churn_14d_high",
        planned_at=now,
        due_at=now,
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

    found = [silence_outreach(pattern, churn(score), THRESHOLDS, now) for now in days for score in (0.7, 0.9)]

    assert {(c.campaign, c.period) for c in found if c} == {("silence", "2026-01-14-1")}


def test_another_silence_has_names_of_its_own() -> None:
    names = {
        candidate.period
        for pattern in (every(1), every(1, count=11))
        if (candidate := silence_outreach(pattern, churn(0.9), THRESHOLDS, seen(pattern) + timedelta(days=5)))
    }

    assert names == {"2026-01-14-1", "2026-01-15-1"}


def as_sent(candidate: Candidate, exposed_at: datetime | None, arm: Arm = Arm.TREATED) -> Outreach:
    """What is kept of a candidate that was planned, and sent or held out where a time is given."""
    ended = OutreachState.HELD_OUT if arm is Arm.HELD_OUT else OutreachState.SENT
    return Outreach(
        bot_id=1,
        user_id=7,
        campaign=candidate.campaign,
        period=candidate.period,
        outreach_type=candidate.outreach_type,
        state=ended if exposed_at else OutreachState.SCHEDULED,
        priority=candidate.priority,
        trigger=candidate.trigger,
        template=f"{candidate.outreach_type}.open_door",
        planned_at=candidate.planned_at,
        due_at=candidate.due_at,
        expires_at=candidate.expires_at,
        arm=arm,
        values=candidate.values,
        exposed_at=exposed_at,
    )


def everything(
    pattern: Pattern,
    history: list[Outreach],
    now: datetime,
    risk: float = 0.9,
    trend: MoodTrend = STEADY,
    *,
    asked: bool = False,
) -> tuple[Candidate, ...]:
    return candidates(pattern, churn(risk), THRESHOLDS, trend, history, now, asked=asked)


@pytest.mark.parametrize("arm", Arm)
def test_the_win_back_has_three_steps_ever_further_apart_and_ends(arm: Arm) -> None:
    """R37, R43: each day of half a year; a message that was held out keeps the same distances as one that was sent."""
    pattern = every(1)
    history: list[Outreach] = []
    for day in range(MIN_SILENCE.days, 180):
        now = seen(pattern) + day * DAY
        for candidate in everything(pattern, history, now, risk=0.7 if len(history) == 0 else 0.9):
            history.append(as_sent(candidate, now, arm))

    assert [outreach.period for outreach in history] == ["2026-01-14-1", "2026-01-14-2", "2026-01-14-3"]
    assert [outreach.outreach_type.value for outreach in history] == [
        "personalized_checkin",
        "re_engagement",
        "re_engagement",
    ]
    days = [(outreach.planned_at - seen(pattern)) // DAY for outreach in history]
    assert days == [MIN_SILENCE.days, MIN_SILENCE.days + 7, MIN_SILENCE.days + 7 + 14]


@given(st.lists(st.floats(0, 30), max_size=40), st.booleans())
def test_steps_keep_their_distances_whenever_they_are_looked_for(gaps: list[float], delivered: bool) -> None:
    """R37: looked at any times, sent at once or never; the steps come in their order."""
    pattern, now, history = every(1), seen(every(1)) + MIN_SILENCE, []
    for gap in gaps:
        now += gap * DAY
        history += [as_sent(c, now if delivered else None) for c in everything(pattern, history, now)]

    assert [outreach.period for outreach in history] == [f"2026-01-14-{step}" for step in range(1, len(history) + 1)]
    assert len(history) <= STEPS
    for earlier, later, spacing in zip(history, history[1:], SPACING, strict=False):
        assert later.planned_at - earlier.planned_at >= spacing


def test_the_first_sign_of_life_ends_the_win_back() -> None:
    pattern = every(1)
    first = silence_outreach(pattern, churn(0.9), THRESHOLDS, seen(pattern) + 5 * DAY)
    assert first
    history = [as_sent(first, first.planned_at)]
    returned = fold(pattern, [interaction(99, seen(pattern) + 6 * DAY)])

    assert everything(returned, history, seen(returned) + 1 * DAY) == ()
    (new,) = everything(returned, history, seen(returned) + 10 * DAY)
    assert new.period == f"{seen(returned):%Y-%m-%d}-1"


@pytest.mark.parametrize("arm", Arm)
def test_our_last_message_of_any_kind_must_be_a_week_old(arm: Arm) -> None:
    pattern = every(1)
    now = seen(pattern) + 30 * DAY
    other = celebration_candidate("chatty_newcomer", "Chatty Newcomer", 1, now - 10 * DAY)

    def planned_after(exposed_at: datetime | None) -> bool:
        return bool(everything(pattern, [as_sent(other, exposed_at, arm)], now))

    assert planned_after(now - REST)
    assert not planned_after(now - REST + timedelta(seconds=1))
    assert planned_after(None), "it expired, and never was sent"
    under_way = as_sent(celebration_candidate("x", "X", 1, now), None)
    assert not rested([under_way], now)


# --- the other types ---


def test_a_good_interaction_of_somebody_at_risk_calls_for_a_message_later() -> None:
    """The guide's quality > 0.7 and churn > 0.8: not at once, and nothing where nobody asked."""
    pattern = silent_for(0)

    (back, *_) = everything(pattern, [], NOW, risk=0.85, asked=True)

    assert (back.outreach_type, back.priority, back.trigger) == ("re_engagement", 0.9, "high_churn_risk_detected")
    assert back.due_at == NOW + AT_RISK_AFTER
    assert back.planned_at == NOW
    assert not [c for c in everything(pattern, [], NOW, risk=0.85) if c.outreach_type == "re_engagement"]
    assert not [c for c in everything(pattern, [], NOW, risk=0.79, asked=True) if c.outreach_type == "re_engagement"]
    again = everything(pattern, [as_sent(back, NOW - 8 * DAY)], NOW, risk=0.85, asked=True)
    assert back not in again, "once a week"


def moody(gloomy_days: int) -> Pattern:
    """Six weeks of joy and then some days of gloom, up to NOW."""
    return fold(
        EMPTY,
        [
            interaction(day, NOW - day * DAY, sentiment=-0.8 if day < gloomy_days else 0.8, sentiment_type="positive")
            for day in range(50)
        ],
    )


def test_support_is_called_for_at_the_turn_of_the_mood_and_not_before_or_after() -> None:
    turns = [mood_candidate(moody(day), moody(day + 1), BUNDLED, NOW) for day in range(14)]

    (turn,) = [candidate for candidate in turns if candidate]
    turned = turns.index(turn)
    assert mood_trend(moody(turned), BUNDLED, NOW).direction is Direction.STEADY
    assert mood_trend(moody(turned + 1), BUNDLED, NOW).direction is Direction.DECLINING
    assert (turn.outreach_type, turn.priority, turn.due_at) == ("mood_support", 1.0, NOW)


def test_support_comes_once_a_fortnight() -> None:
    """R37: the stream and the schedule name it alike."""
    (support, *_) = everything(silent_for(0), [], NOW, trend=DECLINING)
    told = [as_sent(support, NOW)]

    for day in range(FORTNIGHT.days):
        assert "mood_support" not in {c.outreach_type for c in everything(silent_for(0), told, NOW + day * DAY)}
    later = everything(silent_for(0), told, NOW + FORTNIGHT, trend=DECLINING)
    assert later[0].outreach_type == "mood_support"
    assert later[0].period != support.period


def test_support_does_not_wait_for_rest() -> None:
    other = celebration_candidate("chatty_newcomer", "Chatty Newcomer", 1, NOW - DAY)

    (support,) = everything(silent_for(5), [as_sent(other, NOW - DAY)], NOW, trend=DECLINING)

    assert support.outreach_type == "mood_support"


@pytest.mark.parametrize("difficulty", range(1, 6))
def test_a_milestone_is_celebrated_once_and_a_difficult_one_unlocked(difficulty: int) -> None:
    candidate = celebration_candidate("super_communicator", "Super Communicator", difficulty, NOW)

    assert (candidate.campaign, candidate.period) == ("milestone", "super_communicator")
    assert candidate.outreach_type == ("achievement_unlock" if difficulty >= 4 else "milestone_celebration")
    assert candidate.values == {"milestone": "Super Communicator"}


def cared_about(*slugs: str, ago: int = 5) -> Pattern:
    """A daily user of three weeks who talked about each topic four times, last `ago` days ago."""
    daily = [interaction(number, NOW - number * DAY) for number in range(21)]
    mentions = [
        interaction(100 * kind + number, NOW - (ago + number) * DAY, topics=(slug,))
        for kind, slug in enumerate(slugs, 1)
        for number in range(4)
    ]
    return fold(EMPTY, [*daily, *mentions])


def test_a_left_topic_is_taken_up_once_a_month_and_then_another() -> None:
    """R37."""
    pattern = cared_about("travel", "machine_learning")

    first = topic_follow_up(pattern, NOW)
    assert first
    second = topic_follow_up(pattern, NOW + 8 * DAY, [as_sent(first, NOW)])
    assert second
    assert topic_follow_up(pattern, NOW + 9 * DAY, [as_sent(first, NOW), as_sent(second, NOW)]) is None
    assert [first.values["topic"], second.values["topic"]] == ["travel", "machine learning"]
    assert (first.period, second.period) == ("travel.2026-11", "machine_learning.2026-11")


@pytest.mark.parametrize("slug", sorted(PRIVATE_TOPICS))
def test_a_private_topic_is_never_brought_up(slug: str) -> None:
    assert slug in CATALOGUE
    assert topic_follow_up(cared_about(slug), NOW) is None


def test_a_regular_is_shown_what_the_operator_named_once_a_quarter() -> None:
    regular = silent_for(0, active_days=15)
    (shown,) = everything(regular, [], NOW)

    assert (shown.outreach_type, shown.period, shown.values) == (
        "feature_suggestion",
        "2026-Q4",
        {"feature": "habits"},
    )
    assert everything(regular, [as_sent(shown, NOW - 30 * DAY)], NOW) == ()
    assert everything(silent_for(0, active_days=14), [], NOW) == (), "thought of on every fifth day"


def test_each_feature_is_suggested_to_a_user_once_in_the_operators_order() -> None:
    regular = silent_for(0, active_days=15)
    first = feature_suggestion(regular, ("habits", "/reminders"), NOW - 200 * DAY)
    assert first
    second = feature_suggestion(regular, ("habits", "/reminders"), NOW, [as_sent(first, NOW)])
    assert second
    assert [first.values, second.values] == [{"feature": "habits"}, {"feature": "/reminders"}]
    assert (
        feature_suggestion(regular, ("habits", "/reminders"), NOW, [as_sent(first, NOW), as_sent(second, NOW)]) is None
    )


def test_nothing_is_suggested_while_the_operator_has_named_nothing() -> None:
    """No built-in list that may be false of this bot, whatever few ways somebody uses."""
    for first in EngagementType:
        for second in EngagementType:
            kinds = (first, second)
            pattern = fold(
                EMPTY, [interaction(day, NOW - day * DAY, engagement_type=kinds[day % 2]) for day in range(10)]
            )
            assert feature_suggestion(pattern, (), NOW) is None
            assert feature_suggestion(pattern, ("habits",), NOW)


def test_a_suggestion_is_needed_while_the_operator_names_its_feature() -> None:
    regular = silent_for(0, active_days=15)
    candidate = feature_suggestion(regular, ("habits",), NOW)
    assert candidate
    planned, scores = as_sent(candidate, NOW), rule_scores(regular, NOW)
    assert is_still_needed(planned, regular, scores, THRESHOLDS)
    assert not is_still_needed(planned, regular, scores, replace(THRESHOLDS, features=("/reminders",)))


patterns = st.builds(
    lambda days, topics, ago: fold(
        EMPTY, [interaction(n, NOW - (ago + day) * DAY, topics=topics) for n, day in enumerate(days)]
    ),
    st.lists(st.floats(0, 120), max_size=15),
    st.sets(st.sampled_from(sorted(CATALOGUE)), max_size=3).map(lambda slugs: tuple(sorted(slugs))),
    st.floats(0, 400),
)


@given(patterns, st.floats(0, 1), st.sampled_from([STEADY, DECLINING]), st.booleans())
def test_every_candidate_is_whole_and_the_most_urgent_comes_first(
    pattern: Pattern, risk: float, trend: MoodTrend, asked: bool
) -> None:
    """R37: what was planned is not called for again; keys hold no separator; a text is never left without a value."""
    found = everything(pattern, [], NOW, risk, trend, asked=asked)

    assert [c.priority for c in found] == sorted((c.priority for c in found), reverse=True)
    for candidate in found:
        assert 0 <= candidate.priority <= 1
        assert "#" not in candidate.campaign + candidate.period + candidate.trigger
        assert candidate.planned_at == NOW <= candidate.due_at < candidate.expires_at <= NOW + 3 * DAY
        assert candidate.values.keys() == VALUES[candidate.outreach_type]
        assert all(value.strip() for value in candidate.values.values())
        planned = as_sent(candidate, None)
        assert candidate not in everything(pattern, [planned], NOW, risk, trend, asked=asked)
        assert Candidate.of(planned) == replace(candidate, arm=Arm.TREATED)
    assert len({(c.campaign, c.period) for c in found}) == len(found)


@pytest.mark.parametrize(
    ("candidate", "pattern", "risk", "needed"),
    [
        (silence_outreach(silent_for(5), churn(0.9), THRESHOLDS, NOW), silent_for(5), 0.6, True),
        (silence_outreach(silent_for(5), churn(0.9), THRESHOLDS, NOW), silent_for(5), 0.59, False),
        (topic_follow_up(cared_about("travel"), NOW), cared_about("travel"), 0.1, True),
        (topic_follow_up(cared_about("travel"), NOW), cared_about("travel", ago=0), 0.1, False),
        (everything(silent_for(0, active_days=15), [], NOW)[0], silent_for(0), 0.1, True),
        (
            replace(everything(silent_for(0, active_days=15), [], NOW)[0], values={"feature": "retired"}),
            silent_for(0),
            0.1,
            False,
        ),
        (celebration_candidate("x", "X", 1, NOW), silent_for(0), 0.0, True),
    ],
)
def test_at_the_moment_of_sending_it_is_asked_again_whether_it_is_needed(
    candidate: Candidate | None, pattern: Pattern, risk: float, needed: bool
) -> None:
    """The churn score fell, the topic came up, the operator no longer names the feature: then it is said no more."""
    assert candidate
    assert is_still_needed(as_sent(candidate, None), pattern, churn(risk), THRESHOLDS) is needed


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
