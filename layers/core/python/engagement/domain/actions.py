"""Next best action: all outreach types ranked for one user, each with the one reason that speaks for or against it.

    type                    speaks for it                                                             score
    mood_support            the mood has turned down by more than two standard errors                 1
    milestone_celebration   a milestone was just reached                                              0.9
    achievement_unlock      a difficult one was                                                       0.9
    re_engagement           silent for longer than usual, churn from the upper threshold on           P(churn in 14 d)
    personalized_checkin    silent for longer than usual, churn between the thresholds                P(churn in 14 d)
    topic_follow_up         a topic they kept coming back to has not come up for longer than usual    up to 0.5
    feature_suggestion      every fifth day of a regular who uses one or two ways to talk to the bot  up to 0.25

Everything else scores 0 and says why. The rules are those of `domain.planning`, and so are the scores: its priorities.
They rank the types against each other and are no probabilities of success; what a message achieves is measured, not
assumed. Whether one may be sent at all is the gate's question.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engagement.domain.explanation import duration, silence_words
from engagement.domain.mood import Direction, MoodTrend
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import TYPES, Pattern
from engagement.domain.planning import (
    CELEBRATION,
    FEW_WAYS,
    MIN_INTERACTIONS,
    MOOD_SUPPORT_PRIORITY,
    ORDER,
    REGULAR_DAYS,
    SUGGEST_EVERY,
    WAYS,
    Thresholds,
    celebration_type,
    is_day_of_suggestions,
    is_silent,
    left_topics,
    suggestion_priority,
    used_ways,
)
from engagement.domain.scores import ChurnScores


class ActionReason(StrEnum):
    """What speaks for an outreach type or against it; codes safe to log."""

    MOOD_DECLINING = "mood_declining"
    MILESTONE_REACHED = "milestone_reached"
    CHURN_HIGH = "churn_14d_high"
    CHURN_RISING = "churn_14d_rising"
    TOPIC_LEFT = "topic_left"
    FEW_WAYS_USED = "few_ways_used"

    TOO_LITTLE_KNOWN = "too_little_known"
    MOOD_NOT_DECLINING = "mood_not_declining"
    NO_MILESTONE = "no_milestone"
    CELEBRATED_INSTEAD = "celebrated_instead"
    SILENCE_USUAL = "silence_usual"
    CHURN_LOW = "churn_low"
    CHURN_CALLS_FOR_MORE = "churn_calls_for_more"
    NO_TOPIC_LEFT = "no_topic_left"
    NOT_A_REGULAR = "not_a_regular"
    NO_FEATURES = "no_features"
    ANOTHER_DAY = "another_day"
    SILENT = "silent"
    MANY_WAYS_USED = "many_ways_used"


R = ActionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One outreach type, judged for one user.

    Attributes:
        outreach_type: what could be sent.
        score: how much speaks for it, [0, 1]; 0 where it does not apply.
        reason: why, or why not.
        words: the reason as a phrase for people.
    """

    outreach_type: OutreachType
    score: float
    reason: ActionReason
    words: str


def rank_actions(
    pattern: Pattern,
    scores: ChurnScores,
    trend: MoodTrend,
    thresholds: Thresholds,
    now: datetime,
    *,
    milestone: str | None = None,
    difficulty: int = 1,
) -> tuple[Action, ...]:
    """Return all seven outreach types, the best first; where even that one scores 0, nothing is called for.

    Args:
        pattern: the user's.
        scores: of the same pattern at `now`.
        trend: likewise.
        thresholds: the operator's.
        now: aware UTC.
        milestone: display name of a milestone reached within the last day; None where there is none.
        difficulty: the milestone's, [1, 5].
    """
    silent = is_silent(pattern, now)
    judged = (
        _mood_support(trend),
        *_celebrations(milestone, difficulty),
        *_silence_actions(pattern, scores, thresholds, now, silent=silent),
        _topic_follow_up(pattern, now),
        _feature_suggestion(pattern, thresholds, now, silent=silent),
    )
    return tuple(sorted(judged, key=lambda action: (-action.score, ORDER.index(action.outreach_type))))


def _against(outreach_type: OutreachType, reason: ActionReason, words: str) -> Action:
    return Action(outreach_type=outreach_type, score=0.0, reason=reason, words=words)


def _mood_support(trend: MoodTrend) -> Action:
    this = OutreachType.MOOD_SUPPORT
    if trend.direction is Direction.DECLINING:
        words = f"the last fortnight's messages are {-trend.change:.2f} darker than those before"
        return Action(outreach_type=this, score=MOOD_SUPPORT_PRIORITY, reason=R.MOOD_DECLINING, words=words)
    if trend.standard_error == float("inf"):
        return _against(this, R.TOO_LITTLE_KNOWN, "too few messages to tell where the mood goes")
    return _against(this, R.MOOD_NOT_DECLINING, "the mood has not turned down beyond chance")


def _celebrations(milestone: str | None, difficulty: int) -> tuple[Action, Action]:
    """Judge both ways to celebrate: a milestone is celebrated in one of them."""
    reached, unlocked = OutreachType.MILESTONE_CELEBRATION, OutreachType.ACHIEVEMENT_UNLOCK
    if milestone is None:
        words = "no milestone was reached within the last day"
        return _against(reached, R.NO_MILESTONE, words), _against(unlocked, R.NO_MILESTONE, words)
    this = celebration_type(difficulty)
    (other,) = {reached, unlocked} - {this}
    return (
        Action(outreach_type=this, score=CELEBRATION, reason=R.MILESTONE_REACHED, words=f"just reached: {milestone}"),
        _against(other, R.CELEBRATED_INSTEAD, "the milestone is celebrated, and once is enough"),
    )


def _silence_actions(
    pattern: Pattern, scores: ChurnScores, thresholds: Thresholds, now: datetime, *, silent: bool
) -> tuple[Action, Action]:
    """Judge re-engagement and check-in as `planning.silence_outreach` does: at most one of them applies."""
    back, checkin = OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN
    if pattern.total < MIN_INTERACTIONS:
        reason, words = R.TOO_LITTLE_KNOWN, f"fewer than {MIN_INTERACTIONS} interactions"
        return _against(back, reason, words), _against(checkin, reason, words)
    silence = silence_words(pattern, now)
    if not silent:
        return _against(back, R.SILENCE_USUAL, silence), _against(checkin, R.SILENCE_USUAL, silence)
    risk = scores.churn_14d
    words = f"{silence}; {risk:.0%} likely to stay away for two more weeks"
    if risk >= thresholds.re_engagement:
        return (
            Action(outreach_type=back, score=risk, reason=R.CHURN_HIGH, words=words),
            _against(checkin, R.CHURN_CALLS_FOR_MORE, "the risk calls for re-engagement"),
        )
    low = _against(back, R.CHURN_LOW, f"{words}, below {thresholds.re_engagement:.0%}")
    if risk >= thresholds.checkin:
        return low, Action(outreach_type=checkin, score=risk, reason=R.CHURN_RISING, words=words)
    return low, _against(checkin, R.CHURN_LOW, f"{words}, below {thresholds.checkin:.0%}")


def _topic_follow_up(pattern: Pattern, now: datetime) -> Action:
    this = OutreachType.TOPIC_FOLLOW_UP
    topics = left_topics(pattern, now)
    if not topics:
        return _against(this, R.NO_TOPIC_LEFT, "no topic that they kept coming back to and then left")
    best = topics[0]
    words = f"{best.slug.replace('_', ' ')}: {best.mentions} times, not for {duration(best.absent)}"
    return Action(outreach_type=this, score=best.priority, reason=R.TOPIC_LEFT, words=words)


def _feature_suggestion(pattern: Pattern, thresholds: Thresholds, now: datetime, *, silent: bool) -> Action:
    this = OutreachType.FEATURE_SUGGESTION
    if not thresholds.features:
        return _against(this, R.NO_FEATURES, "no features to suggest were named: see the setting `features`")
    if len(pattern.days) < REGULAR_DAYS:
        return _against(this, R.NOT_A_REGULAR, f"active on fewer than {REGULAR_DAYS} days")
    if silent:
        return _against(this, R.SILENT, silence_words(pattern, now))
    used = used_ways(pattern)
    if len(used) > FEW_WAYS:
        return _against(this, R.MANY_WAYS_USED, f"knows {len(used)} of {len(TYPES)} ways to talk to the bot already")
    if not is_day_of_suggestions(pattern):
        return _against(this, R.ANOTHER_DAY, f"thought of on every {SUGGEST_EVERY}th active day")
    words = f"a regular who only sends {' and '.join(WAYS[way] for way in used)}"
    return Action(outreach_type=this, score=suggestion_priority(len(used)), reason=R.FEW_WAYS_USED, words=words)
