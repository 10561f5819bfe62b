"""An exposure, the moment a message is sent or held out, and what came of it within a week; the same in both arms.

- `expose`: at the commit; when it was, and whether it is the user's first.
- The stream tells of the first thing that the user did by themselves after it (`store.outreaches.answer`); a message
  that was sent counts as answered within `RESPONSE`. A press of its own buttons is no answer (R90).
- `outcomes_of`: `SETTLE_AFTER` later, added up; `domain.lift` says what that means for the experiment.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from engagement.domain.delivery import DeliveryOutcome
from engagement.domain.experiment import ALL
from engagement.domain.outreach import Outreach, OutreachState
from engagement.domain.pattern import DAY, MILLI, Pattern
from engagement.domain.profile import Awaiting, Profile

RESPONSE = timedelta(hours=24)
"""Within which an interaction counts as the answer to a message."""
WEEK = timedelta(days=7)
SETTLE_AFTER = WEEK + timedelta(days=1)
"""Telegram delivers late updates for a day."""
NOT_OURS = frozenset({DeliveryOutcome.BLOCKED, DeliveryOutcome.UNREACHABLE})
"""Reasons of a failure that say: the user had blocked the bot before the message."""


def met_by(outreach: Outreach) -> dict[str, str]:
    """Return the groups that an exposure to it counts in, and how a profile's `met` names each.

    None without an experiment's name: nothing is measured of what was planned before there was one.
    """
    if not outreach.experiment:
        return {}
    return {group: f"{outreach.experiment}:{group}" for group in (ALL, str(outreach.outreach_type))}


def expose(outreach: Outreach, profile: Profile, now: datetime) -> Outreach:
    """Return the outreach as it is once it is sent or held out.

    Args:
        outreach: claimed.
        profile: as read just now; the commit refuses if `met` says something else by then.
        now: aware; the second it is in is the time of the exposure.
    """
    first_of = frozenset(group for group, name in met_by(outreach).items() if name not in profile.met)
    return replace(outreach, exposed_at=now.astimezone(UTC).replace(microsecond=0), first_of=first_of)


def awaiting_of(outreach: Outreach) -> Awaiting:
    """Return how the profile remembers an exposure.

    Raises:
        ValueError: it was none.
    """
    if outreach.exposed_at is None:
        raise ValueError("nothing is awaited of an outreach that nobody was exposed to")
    return Awaiting(outreach.exposed_at, outreach.campaign, outreach.period)


def responds(outreach: Outreach, at: datetime) -> bool:
    """Say whether an interaction at `at` answers the message; only what was certainly sent can be answered."""
    is_sent = outreach.state in {OutreachState.SENT, OutreachState.RESPONDED}
    return is_sent and _within(outreach, at, RESPONSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What came of one exposure.

    Attributes:
        returned_24h: the user did something by themselves within 24 h.
        returned_7d: they did within 7 days.
        responded: they answered a message that was sent.
        mood_after: mean sentiment [-1, 1] of the 7 UTC days after the day of the exposure; None without messages whose
            sentiment is known.
        blocked: they blocked the bot within 7 days, and have not unblocked it.
        opted_out: they stopped outreach within 7 days, by a button under the message or in any other way, and have
            not taken the latter back; or they asked to be forgotten meanwhile.
        left: they blocked the bot or stopped outreach, and not by a button under this message.
    """

    returned_24h: bool
    returned_7d: bool
    responded: bool
    mood_after: float | None
    blocked: bool
    opted_out: bool
    left: bool = False

    def as_json(self) -> str:
        """Return it as it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `as_json` wrote."""
        return cls(**json.loads(text))


def outcomes_of(outreach: Outreach, pattern: Pattern, profile: Profile | None) -> Outcomes:
    """Add up what came of an exposure.

    Args:
        outreach: exposed at least `SETTLE_AFTER` ago.
        pattern: the user's, as it is then.
        profile: the user's; None where they asked to be forgotten.
    """
    returned_at = outreach.returned_at
    had_blocked_before = outreach.state is OutreachState.FAILED and outreach.reason in NOT_OURS
    blocked = (
        profile is not None
        and profile.blocked
        and not had_blocked_before
        and _within(outreach, profile.status_at, WEEK)
    )
    has_stopped = profile is not None and profile.opted_out and _within(outreach, profile.opted_out_at, WEEK)
    opted_out = outreach.forgotten or has_stopped or _within(outreach, outreach.stopped_at, WEEK)
    return Outcomes(
        returned_24h=_within(outreach, returned_at, RESPONSE),
        returned_7d=_within(outreach, returned_at, WEEK),
        responded=returned_at is not None and responds(outreach, returned_at),
        mood_after=_mood_after(awaiting_of(outreach).exposed_at, pattern),
        blocked=blocked,
        opted_out=opted_out,
        left=(blocked or opted_out) and outreach.stopped_at is None,
    )


def _within(outreach: Outreach, at: datetime | None, window: timedelta) -> bool:
    exposed_at = outreach.exposed_at
    return exposed_at is not None and at is not None and exposed_at < at <= exposed_at + window


def _mood_after(exposed_at: datetime, pattern: Pattern) -> float | None:
    day = int(exposed_at.timestamp()) // DAY
    week = [bucket for bucket in pattern.buckets if day < bucket.day <= day + WEEK.days]
    messages = sum(bucket.sentiment_events for bucket in week)
    return sum(bucket.sentiment_milli for bucket in week) / messages / MILLI if messages else None
