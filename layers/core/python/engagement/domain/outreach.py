"""One outreach: a message we mean to send, and the states it may pass through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class Arm(StrEnum):
    """Whether an outreach is sent, or only recorded: its user belongs to a control group."""

    TREATED = "treated"
    HELD_OUT = "held_out"


S = OutreachState
MOVES: dict[OutreachState, frozenset[OutreachState]] = {
    S.SCHEDULED: frozenset({S.CLAIMED, S.EXPIRED, S.CANCELLED}),
    # Back to scheduled when the claimer died or the cap says "later".
    # To held_out at the moment at which it would have been sent: a message that only the ledger knows of.
    S.CLAIMED: frozenset({S.SCHEDULED, S.SENDING, S.HELD_OUT, S.SUPPRESSED, S.CANCELLED, S.FAILED, S.EXPIRED}),
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
        arm: whether it is sent or held out; see `domain.experiment`.
        treated_probability: with which the user's arm is `treated`, [0, 1].
        experiment: name of the experiment that drew the arm.
        program_probability: with which the user is outside the global control group, (0, 1].
        in_control: the user belongs to the global control group.
        measured_by_type: the type has a control group of its own, so that its effect is measured within the program.
        template_probability: with which `template` was chosen among the eligible ones, (0, 1].
        values: what the template says besides the name, by placeholder; words of ours, never a user's.
        covariate: probability [0, 1] of coming back within 7 days without us, as predicted when planned.
        context: features of the decision when planned, for the uplift model; see `domain.uplift`.
        exposed_at: when it was committed or held out; None before, and where it was never.
        first_of: what it is the user's first exposure of: "all", the type, both or neither.
        returned_at: the user's first interaction after `exposed_at`.
        settled_at: when its outcomes were added up; see `domain.experiment`.
        enhanced: name of what rewrote the text, or None.
        opened_at: when its offer was first pressed; None while it was not (likewise for the next two).
        not_now_at: when "not now" was.
        stopped_at: when one of the buttons was that end messages, of its type or all.
        forgotten: its user was erased; this is what the experiment needs of it, and nobody's.
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
    arm: Arm = Arm.TREATED
    treated_probability: float = 1.0
    experiment: str = ""
    program_probability: float = 1.0
    in_control: bool = False
    measured_by_type: bool = False
    template_probability: float = 1.0
    values: Mapping[str, str] = field(default_factory=dict)
    covariate: float = 0.0
    context: bytes | None = None
    exposed_at: datetime | None = None
    first_of: frozenset[str] = frozenset()
    returned_at: datetime | None = None
    settled_at: datetime | None = None
    enhanced: str | None = None
    opened_at: datetime | None = None
    not_now_at: datetime | None = None
    stopped_at: datetime | None = None
    forgotten: bool = False

    @property
    def key(self) -> OutreachKey:
        """Its identity."""
        return OutreachKey(self.bot_id, self.user_id, self.campaign, self.period)


def iso_week(day: date) -> str:
    """Return the ISO week of `day`, for example "2026-W47": the period of a weekly campaign."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"
