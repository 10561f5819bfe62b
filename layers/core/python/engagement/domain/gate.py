"""The gate: may this message go to this user, and when? Asked when planning, and again at the moment of sending."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, Self
from zoneinfo import ZoneInfo

from engagement.domain.experiment import Experiment, Shares, draw
from engagement.domain.outreach import Arm, OutreachType
from engagement.domain.pattern import HOURS_OF_DAY, Pattern, last_seen
from engagement.domain.planning import SILENCE, Candidate
from engagement.domain.profile import CRISIS_QUIET, FIRST_HOUR, ConsentPolicy, Profile, may_be_written_to
from engagement.domain.quiet import is_set, likeliest_open_hours, open_from, open_hours
from engagement.errors import SettingsError

SUPPORT_ANSWERED = "answered"
QUIET_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})", re.ASCII)
EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)


class Reason(StrEnum):
    """Why a message is not sent; each candidate gets exactly one, the first that applies in this order.

    Attributes:
        words: the reason as a clause for people.
    """

    words: str

    def __new__(cls, code: str, words: str) -> Self:
        """Make a member of its code, safe to log and to store, and its words."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.words = words
        return member

    PAUSED = "paused", "outreach is switched off"
    OPTED_OUT = "opted_out", "they asked not to be written to"
    BLOCKED = "blocked", "they blocked the bot, or their account is gone"
    CONSENT = "consent", "they have not agreed to be written to"
    TYPE_STOPPED = "type_stopped", "they asked for no more messages of this type"
    CRISIS = "crisis", "they wrote words of crisis lately: a person should answer"
    TYPE_OFF = "type_off", "this type of message is switched off"
    ROLLOUT = "rollout", "this type of message does not reach them yet: it is rolled out to a share of the users"
    EXPIRED = "expired", "its time is over"
    NOT_NEEDED_ANY_MORE = "not_needed_any_more", "what called for it is gone, for example because they came back"
    SERIES_ENDED = "series_ended", 'they pressed "not now" under a message of this series'
    FIRST_HOUR = "first_hour", "they came less than an hour ago, and it has expired by then"
    SNOOZED = "snoozed", 'they pressed "not now" under this type, and that lasts longer than it is worth sending'
    MIN_GAP = "min_gap", "the gap after the previous message ends only after this one has expired"
    DAILY_CAP = "daily_cap", "the day's messages are used up, and the next day begins after this one has expired"
    QUIET_HOURS = "quiet_hours", "their quiet hours end only after this one has expired"
    LOW_ZONE_CONFIDENCE = (
        "low_zone_confidence",
        "too little is known of where they live: by the likeliest clock it could be sent, by others it is night",
    )
    BUDGET = "budget", "the day's budget is used up, and the next one begins only after this one has expired"
    HELD_OUT = "held_out", "they belong to a control group: it is recorded and not sent"

    # Said by the planner, never by `decide`.
    NO_PROFILE = "no_profile", "nobody of that id is known, or they were erased"
    RESTING = "resting", "another message is on its way to them, or reached them in the last days"
    PRIVATE_TOPIC = "private_topic", "the topic is one that we never bring up"
    NO_UPLIFT = "no_uplift", "a message is not expected to help them"
    ALREADY_PLANNED = "already_planned", "the same campaign and period was planned before"
    OUTRANKED = "outranked", "something more important was planned for them"


NEVER = datetime.fromtimestamp(0, UTC)
POINTLESS_ON_RETURN = frozenset({OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN})
"""Nobody who came back by themselves is told that they were missed."""


class Limits(Protocol):
    """The settings that planner and sender share."""

    @property
    def consent_policy(self) -> str:
        """Either "ask" or "assume"."""
        ...

    @property
    def max_outreaches_per_user_per_day(self) -> int:
        """Cap per user-local calendar day."""
        ...

    @property
    def min_hours_between_outreaches(self) -> float:
        """Elapsed hours between two messages to one user."""
        ...

    @property
    def quiet_hours(self) -> str:
        """Local hours without messages, as "22-8"; or "off"."""
        ...

    @property
    def rollout(self) -> str:
        """Percent of users whom each type may reach; see `experiment.Shares`."""
        ...

    @property
    def daily_budget(self) -> int:
        """Messages a UTC day to all users together; 0 sets no limit."""
        ...

    @property
    def experiment(self) -> str:
        """Name of the running experiment."""
        ...

    @property
    def control_percent(self) -> float:
        """Percent of users who are never written to."""
        ...

    @property
    def type_control(self) -> str:
        """Percent of the others who are held out of each type; see `experiment.Shares`."""
        ...

    @property
    def mood_support(self) -> str:
        """Whether a person answers those who reply to support: "answered", or "off"."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows.

    Attributes:
        consent: whether silence means no.
        max_per_day: messages per user and calendar day of theirs, >= 0.
        min_gap: elapsed time between two messages to one user.
        quiet: first local hour without messages and the hour in which they end; two equal ones mean none.
        rollout: share of users whom each type may reach; support reaches nobody while nobody answers it (R103).
        experiment: who is held out.
        budget: messages a UTC day to all users together; 0 sets no limit.
        enabled: the kill switch; False sends and plans nothing.
        budget_left: what is left of today's budget, >= 0; None where there is none, or nobody has looked.
    """

    consent: ConsentPolicy
    max_per_day: int
    min_gap: timedelta
    quiet: tuple[int, int]
    rollout: Shares
    experiment: Experiment
    budget: int
    enabled: bool
    budget_left: int | None = None

    @classmethod
    def of(cls, limits: Limits, *, enabled: bool = True) -> Self:
        """Read the operator's settings.

        Raises:
            SettingsError: one that cannot be; it names the setting and says what to write.
        """
        try:
            consent = ConsentPolicy(limits.consent_policy)
        except ValueError as error:
            raise SettingsError(f"CONSENT_POLICY is {limits.consent_policy!r}; use ask or assume") from error
        if not EXPERIMENT_NAME.fullmatch(limits.experiment):
            raise SettingsError(f"EXPERIMENT is {limits.experiment!r}; use up to 40 letters, digits, - and _")
        if not 0 <= limits.control_percent < 100:
            raise SettingsError(f"CONTROL_PERCENT is {limits.control_percent:g}; use 0 up to, but not including, 100")
        if limits.daily_budget < 0:
            raise SettingsError(f"DAILY_BUDGET is {limits.daily_budget}; use a number of messages, or 0 for no limit")
        return cls(
            consent=consent,
            max_per_day=limits.max_outreaches_per_user_per_day,
            min_gap=timedelta(hours=limits.min_hours_between_outreaches),
            quiet=quiet_of(limits.quiet_hours),
            rollout=rollout_of(limits.rollout, limits.mood_support),
            experiment=Experiment(
                name=limits.experiment,
                control=limits.control_percent / 100,
                type_control=Shares.parse(limits.type_control, "TYPE_CONTROL"),
            ),
            budget=limits.daily_budget,
            enabled=enabled,
        )


def rollout_of(rollout: str, mood_support: str) -> Shares:
    """Read which types reach how many: support reaches nobody until the operator says that somebody answers (R103).

    Raises:
        SettingsError: a setting that cannot be.
    """
    if mood_support not in ("off", SUPPORT_ANSWERED):
        raise SettingsError(f"MOOD_SUPPORT is {mood_support!r}; use {SUPPORT_ANSWERED} or off")
    shares = Shares.parse(rollout, "ROLLOUT")
    return shares if mood_support == SUPPORT_ANSWERED else shares.without(OutreachType.MOOD_SUPPORT)


def quiet_of(setting: str) -> tuple[int, int]:
    """Read quiet hours, "22-8" or "off".

    Raises:
        SettingsError: it is neither.
    """
    if setting == "off":
        return 0, 0
    found = QUIET_HOURS.fullmatch(setting)
    begin, end = map(int, found.groups()) if found else (HOURS_OF_DAY, HOURS_OF_DAY)
    if max(begin, end) >= HOURS_OF_DAY or begin == end:
        raise SettingsError(f"QUIET_HOURS is {setting!r}; use two hours of the day, like 22-8, or off")
    return begin, end


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer: exactly one of the two is set.

    Attributes:
        send_at: earliest permitted time, aware UTC; the moment itself where it may be sent at once.
        reason: why it may not be sent at all.
    """

    send_at: datetime | None
    reason: Reason | None

    def __post_init__(self) -> None:
        if (self.send_at is None) == (self.reason is None):
            raise ValueError("a decision is either a time or a reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one message costs a user's allowance; written together with the decision to send it.

    Attributes:
        zone: the zone in which `day` was found.
        day: the user's calendar date (ISO).
        first_of_day: no message was counted on `day` before.
        next_ok_at: earliest time of the next message, whole seconds, never earlier than the gap asks for.
        next_ok_before: what it was before; given back with the charge if the message certainly was not sent.
        word: the profile's, as the gate saw it.
    """

    zone: str
    day: str
    first_of_day: bool
    next_ok_at: datetime
    next_ok_before: datetime | None
    word: int = 0


def decide(candidate: Candidate, profile: Profile, pattern: Pattern, policy: Policy, now: datetime) -> Decision:
    """Decide on one message to one user.

    Args:
        candidate: the message; its arm is None while it is being planned.
        profile: the user, as read just now.
        pattern: the same user's.
        policy: what the operator allows.
        now: aware UTC.

    Returns:
        The earliest permitted time >= max(now, candidate.due_at), or the one reason why there is none before
        `candidate.expires_at`. A message that is held out gets a time, as if it were sent, until that time has come.
    """
    reason = _refusal(candidate, profile, pattern, policy, now)
    if reason is not None:
        return Decision(None, reason)
    decision = _within_limits(candidate, profile, pattern, policy, now)
    if decision.send_at == now and candidate.arm is Arm.HELD_OUT:
        return Decision(None, Reason.HELD_OUT)
    return decision


def _refusal(candidate: Candidate, profile: Profile, pattern: Pattern, policy: Policy, now: datetime) -> Reason | None:
    """Return the reason that no waiting would remove."""
    if not policy.enabled:
        return Reason.PAUSED
    return (
        _users_word(candidate, profile, policy, now)
        or _operators_word(candidate, profile, policy)
        or _pointless(candidate, profile, pattern, now)
    )


def _users_word(candidate: Candidate, profile: Profile, policy: Policy, now: datetime) -> Reason | None:
    if profile.opted_out:
        return Reason.OPTED_OUT
    if profile.blocked:
        return Reason.BLOCKED
    if not may_be_written_to(profile, policy.consent):
        return Reason.CONSENT
    if profile.preferences.is_off(candidate.outreach_type):
        return Reason.TYPE_STOPPED
    if profile.crisis_at is not None and now < profile.crisis_at + CRISIS_QUIET:
        return Reason.CRISIS
    return None


def _operators_word(candidate: Candidate, profile: Profile, policy: Policy) -> Reason | None:
    share = policy.rollout.of(candidate.outreach_type)
    if share == 0:
        return Reason.TYPE_OFF
    if share < 1 and draw("rollout", profile.bot_id, profile.user_id, candidate.outreach_type) >= share:
        return Reason.ROLLOUT
    return None


def _pointless(candidate: Candidate, profile: Profile, pattern: Pattern, now: datetime) -> Reason | None:
    if max(now, candidate.due_at) >= candidate.expires_at:
        return Reason.EXPIRED
    if not candidate.needed or _came_back(candidate, pattern):
        return Reason.NOT_NEEDED_ANY_MORE
    if candidate.campaign == SILENCE and profile.preferences.ended_silence(since=last_seen(pattern) or NEVER):
        return Reason.SERIES_ENDED
    return None


def _came_back(candidate: Candidate, pattern: Pattern) -> bool:
    if candidate.outreach_type not in POINTLESS_ON_RETURN:
        return False
    seen_at = last_seen(pattern)
    return seen_at is not None and seen_at > candidate.planned_at


def _within_limits(candidate: Candidate, profile: Profile, pattern: Pattern, policy: Policy, now: datetime) -> Decision:
    """Wait for each limit in turn; waiting longer never breaks one that was kept before."""
    expires_at = candidate.expires_at
    send_at = max(now, candidate.due_at, profile.created_at + FIRST_HOUR)
    if send_at >= expires_at:
        return Decision(None, Reason.FIRST_HOUR)
    held_until = profile.preferences.held_until(candidate.outreach_type)
    if held_until is not None:
        send_at = max(send_at, held_until)
        if send_at >= expires_at:
            return Decision(None, Reason.SNOOZED)
    if profile.next_ok_at is not None:
        send_at = max(send_at, profile.next_ok_at)
        if send_at >= expires_at:
            return Decision(None, Reason.MIN_GAP)
    send_at = _cap_allows_at(profile, policy, send_at)
    if policy.max_per_day < 1 or send_at >= expires_at:
        return Decision(None, Reason.DAILY_CAP)
    return _in_open_hours(send_at, expires_at, profile, pattern, policy, now)


def _in_open_hours(
    send_at: datetime, expires_at: datetime, profile: Profile, pattern: Pattern, policy: Policy, now: datetime
) -> Decision:
    """Wait for the user's open hours and the budget; last, since only this takes knowing the user's clock."""
    is_open = open_hours(pattern, profile, policy.quiet)
    open_at = open_from(is_open, send_at, expires_at)
    if open_at is None:
        if not is_set(profile.zone):
            likeliest = likeliest_open_hours(pattern, profile, policy.quiet)
            if open_from(likeliest, send_at, expires_at) is not None:
                return Decision(None, Reason.LOW_ZONE_CONFIDENCE)
        return Decision(None, Reason.QUIET_HOURS)
    if policy.budget_left == 0 and open_at.date() == now.date():
        tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        open_at = open_from(is_open, tomorrow, expires_at)
        if open_at is None:
            return Decision(None, Reason.BUDGET)
    return Decision(open_at, None)


def _cap_allows_at(profile: Profile, policy: Policy, at: datetime) -> datetime:
    """Return the earliest time from `at` on that the daily cap allows.

    A user who moved west may have been counted on a date that has not begun where they are now: then that date's
    allowance is all there is until it is over.
    """
    if profile.cap_day is None:
        return at
    open_day = date.fromisoformat(profile.cap_day)
    if profile.cap_count >= policy.max_per_day:
        open_day += timedelta(days=1)
    if local_date(profile.zone, at) >= open_day:
        return at
    return start_of_day(profile.zone, open_day)


def charge(profile: Profile, policy: Policy, now: datetime) -> Charge:
    """Return what a message sent now costs the user's allowance."""
    day = local_date(profile.zone, now).isoformat()
    next_ok_at = now + policy.min_gap
    if next_ok_at.microsecond:
        # The table keeps whole seconds; cutting them off would shorten the gap.
        next_ok_at = next_ok_at.replace(microsecond=0) + timedelta(seconds=1)
    return Charge(
        zone=profile.zone,
        day=day,
        first_of_day=profile.cap_day != day,
        next_ok_at=next_ok_at,
        next_ok_before=profile.next_ok_at,
        word=profile.word,
    )


def local_date(zone: str, at: datetime) -> date:
    """Return the calendar date in `zone`; an unknown zone counts as UTC."""
    return at.astimezone(_zone(zone)).date()


def start_of_day(zone: str, day: date) -> datetime:
    """Return the first moment of a calendar date in `zone`, aware UTC; also where the clocks skip midnight."""
    # Midnight that does not exist reads with the offset before the change, which is the moment of the change itself;
    # midnight that exists twice reads as the first.
    return datetime.combine(day, time(), _zone(zone)).astimezone(UTC)


@lru_cache(maxsize=1_024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # a path, not in the database, or one of its folders
        return UTC
