"""Next best action: all seven types, ranked, each with the one reason for or against it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.actions import Action, ActionReason, rank_actions
from engagement.domain.interaction import EngagementType
from engagement.domain.mood import Direction, MoodTrend
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.planning import PRIVATE_TOPICS, Thresholds, candidates, celebration_candidate
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.topics import CATALOGUE
from tests.builders import NOW, interaction, pattern_of, silent_for

THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6, features=("habits",))
STEADY = MoodTrend(change=-0.1, standard_error=0.08, direction=Direction.STEADY)
IMPROVING = MoodTrend(change=0.3, standard_error=0.1, direction=Direction.IMPROVING)
DECLINING = MoodTrend(change=-0.3, standard_error=0.1, direction=Direction.DECLINING)
UNKNOWN = MoodTrend(change=0.0, standard_error=float("inf"), direction=Direction.STEADY)


def churn(probability: float) -> ChurnScores:
    return ChurnScores(probability, probability, probability)


def ranked(
    pattern: Pattern = EMPTY, risk: float = 0.5, trend: MoodTrend = STEADY, milestone: str | None = None
) -> dict[OutreachType, Action]:
    actions = rank_actions(pattern, churn(risk), trend, THRESHOLDS, NOW, milestone=milestone)
    return {action.outreach_type: action for action in actions}


def best(actions: dict[OutreachType, Action]) -> OutreachType:
    return next(iter(actions))


def talked_about(*topics: tuple[str, int, int], silent_days: int = 0) -> Pattern:
    """Somebody active daily for three weeks, who mentioned each (slug, times, last time so many days ago)."""
    days = [NOW - timedelta(days=day) for day in range(silent_days, 21 + silent_days)]
    daily = [interaction(number, at) for number, at in enumerate(days)]
    mentions = [
        interaction(100 * (kind + 1) + number, NOW - timedelta(days=ago), topics=(slug,))
        for kind, (slug, times, ago) in enumerate(topics)
        for number in range(times)
    ]
    return fold(EMPTY, [*daily, *mentions])


patterns = st.builds(
    lambda days, kinds, topics, ago: fold(
        EMPTY,
        [
            interaction(
                number, NOW - timedelta(days=ago + day), engagement_type=kinds[number % len(kinds)], topics=topics
            )
            for number, day in enumerate(days)
        ],
    ),
    st.lists(st.floats(0, 120), max_size=15),
    st.lists(st.sampled_from(EngagementType), min_size=1, max_size=4),
    st.sets(st.sampled_from(sorted(CATALOGUE)), max_size=3).map(lambda slugs: tuple(sorted(slugs))),
    st.floats(0, 400),
)
trends = st.sampled_from((STEADY, IMPROVING, DECLINING, UNKNOWN))
risks = st.floats(0, 1)
milestones = st.none() | st.just("Super Communicator")


@given(patterns, risks, trends, milestones)
def test_every_type_is_judged_once_and_ranked(
    pattern: Pattern, risk: float, trend: MoodTrend, milestone: str | None
) -> None:
    actions = rank_actions(pattern, churn(risk), trend, THRESHOLDS, NOW, milestone=milestone)

    assert sorted(action.outreach_type for action in actions) == sorted(OutreachType)
    assert [action.score for action in actions] == sorted((action.score for action in actions), reverse=True)
    assert all(0 <= action.score <= 1 for action in actions)
    assert all(action.words for action in actions)
    assert actions == rank_actions(pattern, churn(risk), trend, THRESHOLDS, NOW, milestone=milestone)


@given(patterns, risks, trends, milestones)
def test_a_reason_speaks_either_for_a_type_or_against_it(
    pattern: Pattern, risk: float, trend: MoodTrend, milestone: str | None
) -> None:
    speaks_for = {
        ActionReason.MOOD_DECLINING,
        ActionReason.MILESTONE_REACHED,
        ActionReason.CHURN_HIGH,
        ActionReason.CHURN_RISING,
        ActionReason.TOPIC_LEFT,
        ActionReason.FEW_WAYS_USED,
    }
    for action in ranked(pattern, risk, trend, milestone).values():
        assert (action.reason in speaks_for) == (action.score > 0)


@given(patterns, st.floats(0.01, 1), trends)
def test_it_calls_for_what_the_scheduled_pass_would_plan(pattern: Pattern, risk: float, trend: MoodTrend) -> None:
    """One set of rules: the planner's (`planning.candidates`), with the same order, scores and reasons."""
    planned = candidates(pattern, churn(risk), THRESHOLDS, trend, (), NOW)

    called_for = [action for action in ranked(pattern, risk, trend).values() if action.score > 0]

    assert [(c.outreach_type, c.priority, c.trigger) for c in planned] == [
        (action.outreach_type, action.score, action.reason) for action in called_for
    ]


@given(st.integers(1, 5))
def test_a_milestone_is_celebrated_as_the_stream_would(difficulty: int) -> None:
    planned = celebration_candidate("super_communicator", "Super Communicator", difficulty, NOW)

    actions = rank_actions(
        EMPTY, churn(0.5), STEADY, THRESHOLDS, NOW, milestone="Super Communicator", difficulty=difficulty
    )

    assert (actions[0].outreach_type, actions[0].score, actions[0].reason) == (
        planned.outreach_type,
        planned.priority,
        planned.trigger,
    )


@given(patterns, st.floats(0, 300), st.floats(0, 300))
def test_more_silence_never_lowers_re_engagement(pattern: Pattern, some: float, more: float) -> None:
    def score(days: float) -> float:
        now = NOW + timedelta(days=days)
        actions = rank_actions(pattern, rule_scores(pattern, now), STEADY, THRESHOLDS, now)
        return next(action.score for action in actions if action.outreach_type is OutreachType.RE_ENGAGEMENT)

    sooner, later = sorted((some, more))
    assert score(sooner) <= score(later) + 1e-12


@given(patterns, risks, trends, milestones)
def test_mood_support_is_for_a_declining_mood_only_and_comes_before_everything_else(
    pattern: Pattern, risk: float, trend: MoodTrend, milestone: str | None
) -> None:
    actions = ranked(pattern, risk, trend, milestone)

    assert (actions[OutreachType.MOOD_SUPPORT].score > 0) == (trend is DECLINING)
    if trend is DECLINING:
        assert best(actions) is OutreachType.MOOD_SUPPORT


def test_a_mood_that_cannot_be_compared_is_not_called_steady() -> None:
    assert ranked(trend=UNKNOWN)[OutreachType.MOOD_SUPPORT].reason is ActionReason.TOO_LITTLE_KNOWN
    assert ranked(trend=STEADY)[OutreachType.MOOD_SUPPORT].reason is ActionReason.MOOD_NOT_DECLINING


def test_of_a_stranger_nothing_is_called_for() -> None:
    actions = ranked(EMPTY, risk=1.0, trend=UNKNOWN)

    assert {action.score for action in actions.values()} == {0.0}
    assert actions[OutreachType.RE_ENGAGEMENT].reason is ActionReason.TOO_LITTLE_KNOWN


def test_a_long_silence_with_a_high_risk_calls_the_user_back() -> None:
    actions = ranked(silent_for(12), risk=0.86)

    assert best(actions) is OutreachType.RE_ENGAGEMENT
    assert actions[OutreachType.RE_ENGAGEMENT].words == (
        "silent for 12 days, usually every day; 86% likely to stay away for two more weeks"
    )
    assert actions[OutreachType.PERSONALIZED_CHECKIN].reason is ActionReason.CHURN_CALLS_FOR_MORE
    assert actions[OutreachType.FEATURE_SUGGESTION].reason is ActionReason.SILENT


@pytest.mark.parametrize(
    ("pattern", "risk", "re_engagement", "checkin"),
    [
        (silent_for(2), 0.9, ActionReason.SILENCE_USUAL, ActionReason.SILENCE_USUAL),
        (silent_for(3), 0.9, ActionReason.CHURN_HIGH, ActionReason.CHURN_CALLS_FOR_MORE),
        (silent_for(12), 0.59, ActionReason.CHURN_LOW, ActionReason.CHURN_LOW),
        (silent_for(12), 0.6, ActionReason.CHURN_LOW, ActionReason.CHURN_RISING),
        (silent_for(12), 0.8, ActionReason.CHURN_HIGH, ActionReason.CHURN_CALLS_FOR_MORE),
        (silent_for(12, active_days=2), 0.8, ActionReason.TOO_LITTLE_KNOWN, ActionReason.TOO_LITTLE_KNOWN),
    ],
)
def test_the_silence_and_the_risk_say_how_to_write(
    pattern: Pattern, risk: float, re_engagement: ActionReason, checkin: ActionReason
) -> None:
    actions = ranked(pattern, risk)

    assert actions[OutreachType.RE_ENGAGEMENT].reason is re_engagement
    assert actions[OutreachType.PERSONALIZED_CHECKIN].reason is checkin


def test_a_topic_that_somebody_kept_coming_back_to_and_left_is_followed_up() -> None:
    actions = ranked(talked_about(("machine_learning", 6, 5), ("travel", 2, 5)))

    follow_up = actions[OutreachType.TOPIC_FOLLOW_UP]
    assert follow_up.reason is ActionReason.TOPIC_LEFT
    assert follow_up.words == "machine learning: 6 times, not for 5 days"
    assert follow_up.score == pytest.approx(0.5 * 6 / 8)


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (("travel", 2, 5), "mentioned twice is not cared about"),
        (("travel", 6, 1), "a topic of yesterday is not left"),
        (("travel", 6, 45), "history"),
        *(((slug, 6, 5), "private") for slug in sorted(PRIVATE_TOPICS)),
    ],
)
def test_other_topics_are_left_alone(topic: tuple[str, int, int], why: str) -> None:
    follow_up = ranked(talked_about(topic))[OutreachType.TOPIC_FOLLOW_UP]

    assert follow_up.reason is ActionReason.NO_TOPIC_LEFT, why


def test_private_topics_are_in_the_catalogue() -> None:
    assert CATALOGUE.keys() >= PRIVATE_TOPICS


def test_of_equally_frequent_topics_the_latest_is_taken_up() -> None:
    actions = ranked(talked_about(("travel", 3, 5), ("music", 3, 4), ("food", 3, 6)))

    assert actions[OutreachType.TOPIC_FOLLOW_UP].words.startswith("music")


def test_a_regular_who_only_writes_messages_is_shown_more() -> None:
    actions = ranked(silent_for(0.5, active_days=15))

    assert ranked(silent_for(0.5, active_days=14))[OutreachType.FEATURE_SUGGESTION].reason is ActionReason.ANOTHER_DAY
    assert best(actions) is OutreachType.FEATURE_SUGGESTION
    assert actions[OutreachType.FEATURE_SUGGESTION].words == "a regular who only sends messages"


def test_a_newcomer_and_somebody_who_uses_much_are_not_shown_more() -> None:
    kinds = (EngagementType.MESSAGE, EngagementType.COMMAND, EngagementType.STICKER)
    versatile = fold(
        EMPTY,
        [interaction(day, NOW - timedelta(days=day), engagement_type=kinds[day % 3]) for day in range(9)],
    )

    newcomer = ranked(pattern_of([NOW]))[OutreachType.FEATURE_SUGGESTION]
    assert newcomer.reason is ActionReason.NOT_A_REGULAR
    assert ranked(versatile)[OutreachType.FEATURE_SUGGESTION].reason is ActionReason.MANY_WAYS_USED


def test_a_milestone_is_celebrated_once() -> None:
    actions = ranked(silent_for(0.1), milestone="Super Communicator")

    assert best(actions) is OutreachType.MILESTONE_CELEBRATION
    assert actions[OutreachType.MILESTONE_CELEBRATION].words == "just reached: Super Communicator"
    assert actions[OutreachType.ACHIEVEMENT_UNLOCK].reason is ActionReason.CELEBRATED_INSTEAD
    assert ranked(silent_for(0.1))[OutreachType.MILESTONE_CELEBRATION].reason is ActionReason.NO_MILESTONE
