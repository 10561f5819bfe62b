"""The gate: may this message go to this user, and when? Asked when planning, and again at the moment of sending."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, Self
from zoneinfo import ZoneInfo

from engagement.domain.pattern import HOURS_OF_DAY
from engagement.domain.profile import ConsentPolicy, Profile, may_be_written_to
from engagement.domain.quiet import IsOpen, open_from
from engagement.errors import SettingsError

QUIET_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})", re.ASCII)


class Reason(StrEnum):
    """Why a message is not sent; each candidate gets exactly one, the first that applies in this order."""

    PAUSED = "paused"
    """The operator's kill switch is off."""
    OPTED_OUT = "opted_out"
    BLOCKED = "blocked"
    CONSENT = "consent"
    EXPIRED = "expired"
    NOT_NEEDED_ANY_MORE = "not_needed_any_more"
    """The user came back by themselves after it was planned."""
    MIN_GAP = "min_gap"
    """The gap after the previous message ends only after this one has expired."""
    DAILY_CAP = "daily_cap"
    """The day's messages are used up, and the next day begins only after this one has expired."""
    QUIET_HOURS = "quiet_hours"
    """The user's quiet hours end only after this one has expired."""
    ALREADY_PLANNED = "already_planned"
    """The same campaign and period again; said by the planner, never by `decide`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows.

    Attributes:
        consent: whether silence means no.
        max_per_day: messages per user and calendar day of theirs, >= 0.
        min_gap: elapsed time between two messages to one user.
        quiet: first local hour without messages and the hour in which they end; two equal ones mean none.
        enabled: the kill switch; False sends and plans nothing.
    """

    consent: ConsentPolicy
    max_per_day: int
    min_gap: timedelta
    quiet: tuple[int, int]
    enabled: bool

    @classmethod
    def of(cls, limits: Limits, *, enabled: bool = True) -> Self:
        """Read the operator's settings.

        Raises:
            SettingsError: a consent policy or quiet hours that do not exist.
        """
        try:
            consent = ConsentPolicy(limits.consent_policy)
        except ValueError as error:
            raise SettingsError(f"CONSENT_POLICY is {limits.consent_policy!r}; use ask or assume") from error
        return cls(
            consent=consent,
            max_per_day=limits.max_outreaches_per_user_per_day,
            min_gap=timedelta(hours=limits.min_hours_between_outreaches),
            quiet=quiet_of(limits.quiet_hours),
            enabled=enabled,
        )


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
    """

    zone: str
    day: str
    first_of_day: bool
    next_ok_at: datetime
    next_ok_before: datetime | None


def decide(
    *,
    profile: Profile,
    planned_at: datetime,
    due_at: datetime,
    expires_at: datetime,
    last_interaction_at: datetime | None,
    is_open: IsOpen,
    policy: Policy,
    now: datetime,
) -> Decision:
    """Decide on one message to one user.

    Args:
        profile: the user, as read just now.
        planned_at: when the message was planned; `now` while planning.
        due_at: when it was meant to go out.
        expires_at: at this time it is worth nothing any more.
        last_interaction_at: the user's newest interaction; None where coming back does not make the message pointless.
        is_open: says whether the user may be written to at a moment; see `quiet.open_hours`.
        policy: what the operator allows.
        now: aware UTC.

    Returns:
        The earliest permitted time >= max(now, due_at), or the reason why there is none before `expires_at`.
    """
    send_at = max(now, due_at)
    if not policy.enabled:
        return Decision(None, Reason.PAUSED)
    if profile.opted_out:
        return Decision(None, Reason.OPTED_OUT)
    if profile.blocked:
        return Decision(None, Reason.BLOCKED)
    if not may_be_written_to(profile, policy.consent):
        return Decision(None, Reason.CONSENT)
    if send_at >= expires_at:
        return Decision(None, Reason.EXPIRED)
    if last_interaction_at is not None and last_interaction_at > planned_at:
        return Decision(None, Reason.NOT_NEEDED_ANY_MORE)
    return _within_limits(profile, policy, is_open, send_at, expires_at)


def _within_limits(
    profile: Profile, policy: Policy, is_open: IsOpen, send_at: datetime, expires_at: datetime
) -> Decision:
    if profile.next_ok_at is not None:
        send_at = max(send_at, profile.next_ok_at)
    if send_at >= expires_at:
        return Decision(None, Reason.MIN_GAP)
    send_at = _cap_allows_at(profile, policy, send_at)
    if policy.max_per_day < 1 or send_at >= expires_at:
        return Decision(None, Reason.DAILY_CAP)
    # Last: waiting longer never breaks the gap or the cap.
    send_at = open_from(is_open, send_at)
    if send_at >= expires_at:
        return Decision(None, Reason.QUIET_HOURS)
    return Decision(send_at, None)


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
