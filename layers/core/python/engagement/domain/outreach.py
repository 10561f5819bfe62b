"""One outreach: a message we mean to send, and the states it may pass through."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple


class OutreachType(StrEnum):
    """Why we write."""

    MILESTONE_CELEBRATION = "milestone_celebration"
    RE_ENGAGEMENT = "re_engagement"
    PERSONALIZED_CHECKIN = "personalized_checkin"
    FEATURE_SUGGESTION = "feature_suggestion"
    MOOD_SUPPORT = "mood_support"
    TOPIC_FOLLOW_UP = "topic_follow_up"
    ACHIEVEMENT_UNLOCK = "achievement_unlock"


class OutreachState(StrEnum):
    """Where an outreach stands; `MOVES` says what may follow."""

    SCHEDULED = "scheduled"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    RESPONDED = "responded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    HELD_OUT = "held_out"


S = OutreachState
MOVES: dict[OutreachState, frozenset[OutreachState]] = {
    S.SCHEDULED: frozenset({S.CLAIMED, S.EXPIRED, S.CANCELLED}),
    # Back to scheduled when the claimer died or the cap says "later".
    S.CLAIMED: frozenset({S.SCHEDULED, S.SENDING, S.SUPPRESSED, S.CANCELLED, S.FAILED, S.EXPIRED}),
    # SENDING is the point of no return: the message may be out. Back to scheduled only on proof that it is not.
    S.SENDING: frozenset({S.SENT, S.FAILED, S.UNKNOWN, S.SCHEDULED}),
    S.SENT: frozenset({S.RESPONDED}),
    S.RESPONDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.SUPPRESSED: frozenset(),
    S.EXPIRED: frozenset(),
    S.UNKNOWN: frozenset(),
    S.HELD_OUT: frozenset(),
}


class OutreachKey(NamedTuple):
    """Which outreach: one campaign, to one user, in one period."""

    bot_id: int
    user_id: int
    campaign: str
    period: str


class Commit(StrEnum):
    """The answer to "may I send this now?", given in the transaction that counts the message."""

    COMMITTED = "committed"
    """Counted and marked as being sent: the one who asked sends it, once."""
    LOST = "lost"
    """The claim is somebody else's by now: drop it."""
    REFUSED = "refused"
    """The user's profile does not allow it (any more): read it again and ask the gate."""
    BUSY = "busy"
    """Other transactions on the same user kept getting in the way: try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outreach:
    """One outreach of one campaign to one user in one period; that triple is its identity.

    Attributes:
        bot_id: number before the colon of the bot's token.
        user_id: Telegram's id of the user.
        campaign: what it belongs to; the outreach type where there is no named campaign.
        period: the slot it may happen once in, for example an ISO week ("2026-W47").
        outreach_type: why we write.
        state: where it stands.
        priority: order among due ones, [0, 1], higher first.
        trigger: why it was planned, in a short code safe to log (for example "churn_14d").
        template: name of the template; chosen when planned.
        planned_at: when it was planned.
        due_at: earliest time to send.
        expires_at: after this it is worth nothing.
        reason: why it ended where it did, from a closed list; None while it is under way or was sent.
        attempts: sends tried.
        message_id: Telegram's id of the message once sent.
        sent_at: when Telegram accepted it.
    """

    bot_id: int
    user_id: int
    campaign: str
    period: str
    outreach_type: OutreachType
    state: OutreachState
    priority: float
    trigger: str
    template: str
    planned_at: datetime
    due_at: datetime
    expires_at: datetime
    reason: str | None = None
    attempts: int = 0
    message_id: int | None = None
    sent_at: datetime | None = None

    @property
    def key(self) -> OutreachKey:
        """Its identity."""
        return OutreachKey(self.bot_id, self.user_id, self.campaign, self.period)


def iso_week(day: date) -> str:
    """Return the ISO week of `day`, for example "2026-W47": the period of a weekly campaign."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"
