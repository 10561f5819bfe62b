"""Planning: which messages somebody may need now, of all seven types, and when to look at them again.

    type                   trigger                                           priority     at most once
    mood_support           the mood has turned down beyond chance            1            a fortnight
    re_engagement          at risk although they just wrote something good   0.9          a week
    milestone_celebration  a milestone was reached                           0.9          a milestone
    achievement_unlock     a difficult one was                               0.9          a milestone
    re_engagement          silent beyond their habit, churn high             P(churn)     a step of a silence
    personalized_checkin   silent beyond their habit, churn rising           P(churn)     a step of a silence
    topic_follow_up        left a topic that they kept coming back to        up to 0.5    a topic and month
    feature_suggestion     a regular's fifth day, using one or two ways,     up to 0.25   a quarter
                           while the operator names features to suggest

Campaign and period name an outreach, so planning it again, at any time and by any run, meets itself. A silence is one
stretch without an interaction. It brings three messages at most, whichever they are, each further from the one before
(`SPACING`); the first sign of life ends it, and who answered none is left alone until they return by themselves.
Silence, topics and features wait until our last message of any kind is `REST` old; support and celebrations do not.

Whether a message may be sent, and when, is the gate's question; what it achieves is measured, not assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Self

from engagement.domain.interaction import EngagementType
from engagement.domain.mood import Direction, MoodTrend, mood_trend
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType, iso_week
from engagement.domain.pattern import DAY, TYPES, Pattern, last_seen
from engagement.domain.population import Population
from engagement.domain.quiet import IsOpen
from engagement.domain.scores import ChurnScores
from engagement.domain.timing import best_send_time
from engagement.domain.topics import PRIVATE_TOPICS

MIN_INTERACTIONS = 3
"""Of somebody who wrote less we know neither rhythm nor hour."""
GAPS = 20
"""Gaps between active days that say what is usual."""
VALID_FOR = timedelta(days=2)
"""From planning to expiry: the best hour comes within a day, and a sender that was down has another to catch up."""
CELEBRATION_VALID_FOR = timedelta(days=3)
"""A celebration waits out a daily cap that something else used up."""
BEST_HOUR_WITHIN = timedelta(hours=24)
REST = timedelta(days=7)

SILENCE = "silence"
MIN_SILENCE = timedelta(days=3)
SPACING = (timedelta(days=7), timedelta(days=14))
"""From the first message of a silence to the second, and from there to the third, which is the last."""
STEPS = len(SPACING) + 1

AT_RISK = "at_risk"
AT_RISK_PRIORITY = 0.9
AT_RISK_AFTER = timedelta(hours=6)
"""Nobody is told that they are missed while they are still here."""

CHURN_HIGH = "churn_14d_high"
CHURN_RISING = "churn_14d_rising"
CHURN_DETECTED = "high_churn_risk_detected"
CHURN_TRIGGERS = frozenset({CHURN_HIGH, CHURN_RISING, CHURN_DETECTED})
"""What a churn score called for, and a lower one takes back."""

MOOD_SUPPORT_PRIORITY = 1.0
FORTNIGHT = timedelta(days=14)

CELEBRATION = 0.9
MILESTONE = "milestone"
UNLOCKS_FROM = 4
"""Difficulty, [1, 5], from which a milestone is unlocked rather than reached."""

TOPIC_WEIGHT = 0.5
"""Priority of a follow-up on the only topic somebody has; less where the topic is one of several."""
TOPIC_MENTIONS = 3
"""From here on they cared about it."""
TOPIC_FRESH = timedelta(days=30)
"""An older topic is history."""
TOPIC_AGAIN_AFTER = timedelta(days=28)
"""The end of one month and the beginning of the next are no two months."""
SUGGESTION_WEIGHT = 0.25
FEW_WAYS = 2
REGULAR_DAYS = 5
"""Active days from which somebody is a regular: before that, every way to talk to the bot is still new to them."""
SUGGEST_EVERY = 5
"""A suggestion is thought of on every fifth active day: spread over the quarter, and hardly anybody is looked up daily
who was told already."""
WAYS = dict(
    zip(
        TYPES,
        (
            "messages",
            "commands",
            "button presses",
            "voice messages",
            "files",
            "stickers",
            "reactions",
            "inline queries",
        ),
        strict=True,
    )
)
DAILY = timedelta(days=1)
WEEKLY = timedelta(days=7)
FORGOTTEN_AFTER = timedelta(days=365)

ORDER = (
    OutreachType.MOOD_SUPPORT,
    OutreachType.MILESTONE_CELEBRATION,
    OutreachType.ACHIEVEMENT_UNLOCK,
    OutreachType.RE_ENGAGEMENT,
    OutreachType.PERSONALIZED_CHECKIN,
    OutreachType.TOPIC_FOLLOW_UP,
    OutreachType.FEATURE_SUGGESTION,
)
"""Of equal priorities the earlier wins."""
AT_ONCE = frozenset({OutreachType.MOOD_SUPPORT, OutreachType.MILESTONE_CELEBRATION, OutreachType.ACHIEVEMENT_UNLOCK})
"""Sent in the next open hour; everything else waits for the user's best one."""

_UNDER_WAY = frozenset({OutreachState.SCHEDULED, OutreachState.CLAIMED, OutreachState.SENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Churn probabilities [0, 1] over 14 days from which we write.

    Attributes:
        re_engagement: from here on the user is asked back.
        checkin: from here on, and below `re_engagement`, we ask how they are.
        features: what the operator named that may be suggested; nothing is suggested while there is none.
    """

    re_engagement: float
    checkin: float
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One message that somebody may need; the gate says whether and when they may get it.

    Attributes:
        outreach_type: why we write.
        campaign: with `period` the outreach's identity; no "#" in either.
        period: the slot it may happen once in.
        priority: [0, 1], higher first.
        trigger: what called for it, in a short code safe to log.
        planned_at: when it was planned; `now` while planning.
        due_at: earliest time at which it is wanted.
        expires_at: at this time it is worth nothing any more.
        arm: as recorded; None while planning.
        values: what the template says besides the name, by placeholder.
        needed: False where what called for it is gone.
    """

    outreach_type: OutreachType
    campaign: str
    period: str
    priority: float
    trigger: str
    planned_at: datetime
    due_at: datetime
    expires_at: datetime
    arm: Arm | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    needed: bool = True

    @classmethod
    def of(cls, outreach: Outreach, *, needed: bool = True) -> Self:
        """Return an outreach as the gate judges it at the moment of sending.

        Args:
            outreach: as it is kept.
            needed: False where what called for it is gone, see `is_still_needed`.
        """
        return cls(
            outreach_type=outreach.outreach_type,
            campaign=outreach.campaign,
            period=outreach.period,
            priority=outreach.priority,
            trigger=outreach.trigger,
            planned_at=outreach.planned_at,
            due_at=outreach.due_at,
            expires_at=outreach.expires_at,
            arm=outreach.arm,
            values=outreach.values,
            needed=needed,
        )


def candidates(
    pattern: Pattern,
    scores: ChurnScores,
    thresholds: Thresholds,
    trend: MoodTrend,
    history: Sequence[Outreach],
    now: datetime,
    *,
    asked: bool = False,
) -> tuple[Candidate, ...]:
    """Return every message that a user's pattern calls for now, the most urgent first.

    Args:
        pattern: the user's.
        scores: of the same pattern at `now`.
        thresholds: the operator's.
        trend: of the same pattern at `now`.
        history: the user's outreach so far, in any order; without it nothing is known to have been said already.
        now: aware UTC.
        asked: an interaction of good quality asked for the scoring.
    """
    found = [mood_support(trend, history, now)]
    if rested(history, now):
        found += [
            at_risk_outreach(pattern, scores, thresholds, now) if asked else None,
            silence_outreach(pattern, scores, thresholds, now, history),
            topic_follow_up(pattern, now, history),
            feature_suggestion(pattern, thresholds.features, now, history),
        ]
    known = {(outreach.campaign, outreach.period) for outreach in history}
    called_for = [one for one in found if one is not None and (one.campaign, one.period) not in known]
    return tuple(sorted(called_for, key=lambda one: (-one.priority, ORDER.index(one.outreach_type))))


def rested(history: Sequence[Outreach], now: datetime) -> bool:
    """Say whether nothing is on its way to the user and our last message is at least `REST` old.

    A message that was held out counts as one: both arms keep the same distances.
    """
    return not any(
        (outreach.exposed_at is not None and now < outreach.exposed_at + REST)
        or (outreach.state in _UNDER_WAY and now < outreach.expires_at)
        for outreach in history
    )


# --- silence ---


def usual_gap(pattern: Pattern) -> timedelta:
    """Return the median distance of the user's last active days; zero where there are fewer than two."""
    gaps = [later - earlier for earlier, later in pairwise(pattern.days[-GAPS - 1 :])]
    return timedelta(days=median(gaps)) if gaps else timedelta()


def unusual_silence(pattern: Pattern) -> timedelta:
    """Return how long a silence must be to be longer than is usual for this user."""
    return max(MIN_SILENCE, usual_gap(pattern))


def is_silent(pattern: Pattern, now: datetime) -> bool:
    """Say whether the user has been silent for longer than is usual for them."""
    seen_at = last_seen(pattern)
    return seen_at is not None and now - seen_at >= unusual_silence(pattern)


def silence_outreach(
    pattern: Pattern,
    scores: ChurnScores,
    thresholds: Thresholds,
    now: datetime,
    history: Sequence[Outreach] = (),
) -> Candidate | None:
    """Return the step of the win-back that the user's silence calls for now; None where it calls for none.

    Args:
        pattern: the user's.
        scores: of the same pattern at `now`.
        thresholds: the operator's.
        now: aware UTC.
        history: the user's outreach so far; without it the first step is meant.
    """
    seen_at = last_seen(pattern)
    if seen_at is None or pattern.total < MIN_INTERACTIONS or not is_silent(pattern, now):
        return None
    if scores.churn_14d >= thresholds.re_engagement:
        outreach_type, trigger = OutreachType.RE_ENGAGEMENT, CHURN_HIGH
    elif scores.churn_14d >= thresholds.checkin:
        outreach_type, trigger = OutreachType.PERSONALIZED_CHECKIN, CHURN_RISING
    else:
        return None
    step = _next_step(seen_at, history, now)
    if step is None:
        return None
    return Candidate(
        outreach_type=outreach_type,
        campaign=SILENCE,
        period=silence_period(seen_at, step),
        priority=scores.churn_14d,
        trigger=trigger,
        planned_at=now,
        due_at=now,
        expires_at=now + VALID_FOR,
    )


def silence_period(seen_at: datetime, step: int) -> str:
    """Name a step, [1, `STEPS`], of the silence that began at `seen_at`."""
    return f"{seen_at:%Y-%m-%d}-{step}"


def _next_step(seen_at: datetime, history: Sequence[Outreach], now: datetime) -> int | None:
    for step in range(STEPS, 0, -1):
        period = silence_period(seen_at, step)
        for taken in history:
            if (taken.campaign, taken.period) == (SILENCE, period):
                last = taken.exposed_at or taken.planned_at
                return step + 1 if step < STEPS and now >= last + SPACING[step - 1] else None
    return 1


def at_risk_outreach(pattern: Pattern, scores: ChurnScores, thresholds: Thresholds, now: datetime) -> Candidate | None:
    """Return the message for somebody who has just written something good and yet is about to leave.

    It goes out at a good hour some hours later, and not at all if they come back before.
    """
    if pattern.total < MIN_INTERACTIONS or scores.churn_14d < thresholds.re_engagement:
        return None
    return Candidate(
        outreach_type=OutreachType.RE_ENGAGEMENT,
        campaign=AT_RISK,
        period=iso_week(now.date()),
        priority=AT_RISK_PRIORITY,
        trigger=CHURN_DETECTED,
        planned_at=now,
        due_at=now + AT_RISK_AFTER,
        expires_at=now + AT_RISK_AFTER + VALID_FOR,
    )


# --- mood ---


def mood_support(trend: MoodTrend, history: Sequence[Outreach], now: datetime) -> Candidate | None:
    """Return support for somebody whose mood has turned down beyond chance; once a fortnight at most.

    Args:
        trend: the user's at `now`.
        history: their outreach so far.
        now: aware UTC.
    """
    if trend.direction is not Direction.DECLINING:
        return None
    this = OutreachType.MOOD_SUPPORT
    if any(outreach.outreach_type is this and now < outreach.planned_at + FORTNIGHT for outreach in history):
        return None
    return support("mood_declining", now)


def support(trigger: str, now: datetime) -> Candidate:
    """Return support, at once.

    Args:
        trigger: what called for it.
        now: aware UTC.
    """
    return Candidate(
        outreach_type=OutreachType.MOOD_SUPPORT,
        campaign=OutreachType.MOOD_SUPPORT,
        period=f"fortnight-{int(now.timestamp()) // int(FORTNIGHT.total_seconds())}",
        priority=MOOD_SUPPORT_PRIORITY,
        trigger=trigger,
        planned_at=now,
        due_at=now,
        expires_at=now + VALID_FOR,
    )


def mood_candidate(before: Pattern, after: Pattern, population: Population, now: datetime) -> Candidate | None:
    """Return support where the latest interactions have turned the user's mood down beyond chance.

    Args:
        before: the user's pattern without them.
        after: the pattern with them.
        population: see `mood.mood_trend`.
        now: aware UTC.
    """
    if mood_trend(before, population, now).direction is Direction.DECLINING:
        return None
    return mood_support(mood_trend(after, population, now), (), now)


# --- milestones ---


def celebration_candidate(name: str, display_name: str, difficulty: int, now: datetime) -> Candidate:
    """Return the celebration of a milestone, at once.

    Args:
        name: of the milestone; celebrated once.
        display_name: what the user reads.
        difficulty: [1, 5]; a difficult one is unlocked rather than reached.
        now: aware UTC.
    """
    return Candidate(
        outreach_type=celebration_type(difficulty),
        campaign=MILESTONE,
        period=name,
        priority=CELEBRATION,
        trigger="milestone_reached",
        planned_at=now,
        due_at=now,
        expires_at=now + CELEBRATION_VALID_FOR,
        values={"milestone": display_name},
    )


def celebration_type(difficulty: int) -> OutreachType:
    """Return how a milestone of that difficulty, [1, 5], is celebrated."""
    return OutreachType.ACHIEVEMENT_UNLOCK if difficulty >= UNLOCKS_FROM else OutreachType.MILESTONE_CELEBRATION


# --- topics and features ---


@dataclass(frozen=True, slots=True)
class LeftTopic:
    """A topic that somebody cared about and left.

    Attributes:
        slug: of the topic catalogue; never one of `PRIVATE_TOPICS`.
        mentions: interactions that touched it.
        absent: how long ago the newest was, whole days.
        priority: (0, `TOPIC_WEIGHT`], by its share of all mentions.
    """

    slug: str
    mentions: int
    absent: timedelta
    priority: float


def left_topics(pattern: Pattern, now: datetime) -> list[LeftTopic]:
    """Return the topics that a user kept coming back to and left, the most cared about first."""
    today = int(now.timestamp()) // DAY
    unusual = unusual_silence(pattern)
    all_mentions = sum(mentions for _, mentions, _ in pattern.topics)
    found = [
        (mentions, day, slug)
        for slug, mentions, day in pattern.topics
        if slug not in PRIVATE_TOPICS
        and mentions >= TOPIC_MENTIONS
        and unusual <= timedelta(days=today - day) <= TOPIC_FRESH
    ]
    return [
        LeftTopic(slug, mentions, timedelta(days=today - day), TOPIC_WEIGHT * mentions / all_mentions)
        for mentions, day, slug in sorted(found, reverse=True)
    ]


def topic_follow_up(pattern: Pattern, now: datetime, history: Sequence[Outreach] = ()) -> Candidate | None:
    """Return the follow-up on the topic that the user cared about most of those they left and we did not take up.

    Args:
        pattern: the user's.
        now: aware UTC.
        history: their outreach so far; a topic is taken up once a month at most.
    """
    lately = {
        outreach.period.rpartition(".")[0]
        for outreach in history
        if outreach.campaign == OutreachType.TOPIC_FOLLOW_UP and now < outreach.planned_at + TOPIC_AGAIN_AFTER
    }
    for topic in left_topics(pattern, now):
        if topic.slug not in lately:
            return about_topic(topic.slug, topic.priority, now)
    return None


def about_topic(slug: str, priority: float, now: datetime) -> Candidate:
    """Return a follow-up on a topic.

    Args:
        slug: of the topic catalogue, none of `PRIVATE_TOPICS`.
        priority: [0, 1].
        now: aware UTC.
    """
    return Candidate(
        outreach_type=OutreachType.TOPIC_FOLLOW_UP,
        campaign=OutreachType.TOPIC_FOLLOW_UP,
        period=f"{slug}.{now:%Y-%m}",
        priority=priority,
        trigger="topic_left",
        planned_at=now,
        due_at=now,
        expires_at=now + VALID_FOR,
        values={"topic": slug.replace("_", " ")},
    )


def used_ways(pattern: Pattern) -> list[EngagementType]:
    """Return the ways in which the user has talked to the bot."""
    return [way for way, count in zip(TYPES, pattern.by_type, strict=True) if count]


def suggestion_priority(ways: int) -> float:
    """Return how much speaks for suggesting another way to somebody who uses so many: (0, `SUGGESTION_WEIGHT`)."""
    return SUGGESTION_WEIGHT * (1 - ways / len(TYPES))


def is_day_of_suggestions(pattern: Pattern) -> bool:
    """Say whether the user's newest active day is one on which a suggestion is thought of."""
    return len(pattern.days) % SUGGEST_EVERY == 0


def feature_suggestion(
    pattern: Pattern, features: Sequence[str], now: datetime, history: Sequence[Outreach] = ()
) -> Candidate | None:
    """Return the suggestion of a feature, for a regular who talks to the bot in few ways; once a quarter.

    Args:
        pattern: the user's.
        features: what the operator named, the first first; each is suggested to a user once.
        now: aware UTC.
        history: the user's outreach so far.
    """
    if len(pattern.days) < REGULAR_DAYS or not is_day_of_suggestions(pattern) or is_silent(pattern, now):
        return None
    used = used_ways(pattern)
    suggested = {outreach.values.get("feature") for outreach in history}
    feature = next((feature for feature in features if feature not in suggested), None)
    if len(used) > FEW_WAYS or feature is None:
        return None
    return Candidate(
        outreach_type=OutreachType.FEATURE_SUGGESTION,
        campaign=OutreachType.FEATURE_SUGGESTION,
        period=f"{now.year}-Q{(now.month + 2) // 3}",
        priority=suggestion_priority(len(used)),
        trigger="few_ways_used",
        planned_at=now,
        due_at=now,
        expires_at=now + VALID_FOR,
        values={"feature": feature},
    )


# --- the moment of sending, and the next look ---


def is_still_needed(outreach: Outreach, pattern: Pattern, scores: ChurnScores, thresholds: Thresholds) -> bool:
    """Say at the moment of sending whether what called for an outreach still does.

    Whether the user came back, where that makes it pointless, is the gate's question.

    Args:
        outreach: as it was planned.
        pattern: the user's, now.
        scores: of the same pattern, now.
        thresholds: the operator's.
    """
    if outreach.trigger in CHURN_TRIGGERS:
        return scores.churn_14d >= thresholds.checkin
    match outreach.outreach_type:
        case OutreachType.TOPIC_FOLLOW_UP:
            slug = outreach.period.rpartition(".")[0]
            planned_on = int(outreach.planned_at.timestamp()) // DAY
            return not any(topic == slug and day >= planned_on for topic, _, day in pattern.topics)
        case OutreachType.FEATURE_SUGGESTION:
            return outreach.values.get("feature") in thresholds.features
        case _:
            return True


def send_time(hours: Sequence[float], weekdays: Sequence[float], is_open: IsOpen, now: datetime) -> datetime:
    """Return the best time of the next day and night at which the user may be written to.

    Args:
        hours: how good each UTC hour of day is for them, 24 positive numbers.
        weekdays: how good each UTC weekday is, Monday first, positive.
        is_open: see `quiet.open_hours`.
        now: aware UTC.
    """
    return best_send_time(hours, now, within=BEST_HOUR_WITHIN, weekdays=weekdays, is_open=is_open)


def next_due_at(pattern: Pattern, now: datetime) -> datetime | None:
    """Return when to score the user again; None where only their return would change anything.

    Daily for a fortnight of silence, then ever more seldom, weekly from the 98th day on; never after a year.
    """
    seen_at = last_seen(pattern)
    if seen_at is None or now - seen_at > FORGOTTEN_AFTER:
        return None
    return now + min(max((now - seen_at) / 14, DAILY), WEEKLY)
