"""Scoring: which outreach a user's silence calls for, if any, and when to look at them again.

The rule keeps outreach rare. A silence is one stretch without an interaction; once it is longer than is usual for this
user, the score says whether to write and in which tone. One silence brings `NUDGES` messages at most, whichever they
are, each planned at least `REST` after the one before and after our last message of any kind. Who did not answer them
is left alone until they return by themselves. The silence and the number of the message name the outreach, so planning
it again, at any time and by any run, meets itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import Pattern, last_seen
from engagement.domain.profile import Profile
from engagement.domain.quiet import IsOpen
from engagement.domain.scores import ChurnScores
from engagement.domain.timing import best_send_time

CAMPAIGN = "silence"
MIN_INTERACTIONS = 3
"""Of somebody who wrote less we know neither rhythm nor hour."""
MIN_SILENCE = timedelta(days=3)
REST = timedelta(days=14)
NUDGES = 2
BEST_HOUR_WITHIN = timedelta(hours=24)
VALID_FOR = timedelta(days=2)
"""From planning to expiry: the best hour comes within a day, and a sender that was down has another to catch up."""
GAPS = 20
"""Gaps between active days that say what is usual."""

DAILY = timedelta(days=1)
WEEKLY = timedelta(days=7)
FORGOTTEN_AFTER = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Churn probabilities [0, 1] over 14 days from which we write.

    Attributes:
        re_engagement: from here on the user is asked back.
        checkin: from here on, and below `re_engagement`, we ask how they are.
    """

    re_engagement: float
    checkin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An outreach worth planning; when is `send_time`'s question, whether the user may be written to the gate's.

    Attributes:
        outreach_type: why we write.
        campaign: with a period the outreach's identity.
        periods: names of this silence's messages, in the order in which they may be used, for example
            ("2026-11-03-1", "2026-11-03-2").
        priority: [0, 1], higher first.
        trigger: what called for it, in a short code safe to log.
        expires_at: after this it is worth nothing.
    """

    outreach_type: OutreachType
    campaign: str
    periods: tuple[str, ...]
    priority: float
    trigger: str
    expires_at: datetime


def usual_gap(pattern: Pattern) -> timedelta:
    """Return the median distance of the user's last active days; zero where there are fewer than two."""
    gaps = [later - earlier for earlier, later in pairwise(pattern.days[-GAPS - 1 :])]
    return timedelta(days=median(gaps)) if gaps else timedelta()


def silence_outreach(pattern: Pattern, scores: ChurnScores, thresholds: Thresholds, now: datetime) -> Candidate | None:
    """Return the outreach that the user's silence calls for now; None where it calls for none.

    Args:
        pattern: the user's.
        scores: of the same pattern at `now`.
        thresholds: the operator's.
        now: aware UTC.
    """
    seen_at = last_seen(pattern)
    if seen_at is None or pattern.total < MIN_INTERACTIONS:
        return None
    if now - seen_at < max(MIN_SILENCE, usual_gap(pattern)):
        return None
    if scores.churn_14d >= thresholds.re_engagement:
        outreach_type, trigger = OutreachType.RE_ENGAGEMENT, "churn_14d_high"
    elif scores.churn_14d >= thresholds.checkin:
        outreach_type, trigger = OutreachType.PERSONALIZED_CHECKIN, "churn_14d_rising"
    else:
        return None
    return Candidate(
        outreach_type=outreach_type,
        campaign=CAMPAIGN,
        periods=tuple(f"{seen_at:%Y-%m-%d}-{number}" for number in range(1, NUDGES + 1)),
        priority=scores.churn_14d,
        trigger=trigger,
        expires_at=now + VALID_FOR,
    )


def send_time(hours: Sequence[float], weekdays: Sequence[float], is_open: IsOpen, now: datetime) -> datetime:
    """Return the best time of the next day and night at which the user may be written to.

    Args:
        hours: how good each UTC hour of day is for them, 24 positive numbers.
        weekdays: how good each UTC weekday is, Monday first, positive.
        is_open: see `quiet.open_hours`.
        now: aware UTC.
    """
    return best_send_time(hours, now, within=BEST_HOUR_WITHIN, weekdays=weekdays, is_open=is_open)


def rested(profile: Profile, min_gap: timedelta, now: datetime) -> bool:
    """Say whether our last message to the user is at least `REST` old.

    Args:
        profile: the user's; committing a message sets its `next_ok_at` to that time plus `min_gap`.
        min_gap: the operator's minimum distance of two messages.
        now: aware.
    """
    return profile.next_ok_at is None or now >= profile.next_ok_at - min_gap + REST


def next_due_at(pattern: Pattern, now: datetime) -> datetime | None:
    """Return when to score the user again; None where only their return would change anything.

    Daily for a fortnight of silence, then ever more seldom, weekly from the 98th day on; never after a year.
    """
    seen_at = last_seen(pattern)
    if seen_at is None or now - seen_at > FORGOTTEN_AFTER:
        return None
    return now + min(max((now - seen_at) / 14, DAILY), WEEKLY)
