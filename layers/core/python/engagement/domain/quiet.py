"""The gate's question about the hour: may this user be written to at that moment?

Quiet hours go by the zone the user set. Where they set none, by what language and activity say of their zone; and an
hour in which they themselves keep being active is none of their quiet ones, wherever they may live.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from engagement.domain.pattern import DAY, HOURS_OF_DAY, SLOT, Pattern
from engagement.domain.profile import UNSET_ZONE, Profile
from engagement.domain.timing import SECONDS_OF_HOUR
from engagement.domain.zone import QUARTER, is_zone, quiet_hours_utc, zone_posterior

HABIT_DAYS = 3
"""Who talks at an hour on that many days is up then: one night is an accident, three are a habit."""
_STEP = timedelta(minutes=QUARTER)

IsOpen = Callable[[datetime], bool]


def open_hours(pattern: Pattern, profile: Profile, quiet: tuple[int, int]) -> IsOpen:
    """Return the function that says of a moment, aware, whether the user may be written to.

    Args:
        pattern: the user's.
        profile: the same user's; a zone that does not exist counts as none.
        quiet: first local hour of the quiet ones and the hour they end; two equal ones mean none.
    """
    if quiet[0] == quiet[1]:
        return lambda _: True
    if is_set(profile.zone):
        return _open_by(_clock(profile.zone), quiet)
    posterior, awake = zone_posterior(pattern, profile.language_code), habitual_hours(pattern)

    @cache
    def quiet_on(day: date) -> tuple[bool, ...]:
        return quiet_hours_utc(posterior, day, quiet)

    def is_open(at: datetime) -> bool:
        utc = at.astimezone(UTC)
        return utc.hour in awake or not quiet_on(utc.date())[utc.hour]

    return is_open


def likeliest_open_hours(pattern: Pattern, profile: Profile, quiet: tuple[int, int]) -> IsOpen:
    """Return what `open_hours` would, were the user certain to live where they most likely do."""
    posterior, awake = zone_posterior(pattern, profile.language_code), habitual_hours(pattern)
    is_open = _open_by(timezone(timedelta(minutes=posterior.best_minutes)), quiet)
    return lambda at: at.astimezone(UTC).hour in awake or is_open(at)


def is_set(zone: str) -> bool:
    """Say whether a profile's zone is one that the user set."""
    return zone != UNSET_ZONE and is_zone(zone)


@lru_cache(maxsize=1_024)
def _clock(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)


def _open_by(zone: tzinfo, quiet: tuple[int, int]) -> IsOpen:
    begin, hours = quiet[0], (quiet[1] - quiet[0]) % HOURS_OF_DAY
    return lambda at: (at.astimezone(zone).hour - begin) % HOURS_OF_DAY >= hours


def open_from(is_open: IsOpen, at: datetime, before: datetime) -> datetime | None:
    """Return the first moment from `at` on at which the user may be written to; all changes are on quarter hours.

    Returns:
        None where there is none before `before`.
    """
    if at < before and not is_open(at):
        at += timedelta(minutes=QUARTER - at.minute % QUARTER)
        at = at.replace(second=0, microsecond=0)
        while at < before and not is_open(at):
            at += _STEP
    return at if at < before else None


def habitual_hours(pattern: Pattern) -> frozenset[int]:
    """Return the UTC hours in which the user was active on at least `HABIT_DAYS` of their last 60 days."""
    active = {(slot * SLOT // DAY, slot * SLOT // SECONDS_OF_HOUR % HOURS_OF_DAY) for slot in pattern.slots}
    days = Counter(hour for _, hour in active)
    return frozenset(hour for hour, count in days.items() if count >= HABIT_DAYS)
