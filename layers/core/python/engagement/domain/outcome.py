"""Watching: a 7-day score is set aside, and a week later the pattern itself says whether it came true."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta

from engagement.domain.features import in_task
from engagement.domain.pattern import DAY, SLOT, SLOT_WINDOW, Pattern

HORIZON_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A score that waits for its outcome.

    Attributes:
        at: when it was given, aware.
        churn_7d: the probability [0, 1] of no interaction in the 7 days from then.
        by: version of the model that gave it, or "rules".
    """

    at: datetime
    churn_7d: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A score whose outcome is known; `churn_7d` and `by` as in `Watched`."""

    churn_7d: float
    by: str
    stayed_away: bool


def ripen(watched: Watched | None, pattern: Pattern, now: datetime) -> Outcome | None:
    """Return what became of the watched score; None where there is none, or it is too early or too late to tell.

    An interaction counts if it came in (at, at + 7 days]. Of users who have been seen since, the pattern knows only
    the half-hours in which they were active: the week then begins with the first half-hour that starts at `at` or
    later, and has 336 of them. The scorer's ticks lie on that grid, so this is the week itself; from any other time it
    is a week that begins up to half an hour late. Half-hours are forgotten 60 days before the newest one: a score from
    before that has no outcome.

    Args:
        watched: the score.
        pattern: the same user's, as it is now.
        now: aware.
    """
    if watched is None or now < watched.at + timedelta(days=HORIZON_DAYS):
        return None
    at = watched.at.timestamp()
    if pattern.last_at <= at:
        stayed_away = True
    elif pattern.last_at <= at + HORIZON_DAYS * DAY:
        stayed_away = False
    else:
        begin = -int(-at // SLOT)
        if begin <= pattern.slots[-1] - SLOT_WINDOW:
            return None
        end = begin + HORIZON_DAYS * DAY // SLOT
        stayed_away = bisect_left(pattern.slots, begin) == bisect_left(pattern.slots, end)
    return Outcome(churn_7d=watched.churn_7d, by=watched.by, stayed_away=stayed_away)


def watch(watched: Watched | None, pattern: Pattern, churn_7d: float, by: str, now: datetime) -> Watched | None:
    """Return the score to watch from now on: the one that still waits, else the present one.

    Only users of whom the model's card speaks are watched, so that its figures and the live ones are about the same
    kind of people: of who left long ago any model is right.

    Args:
        watched: the score watched so far.
        pattern: the user's.
        churn_7d: the present score.
        by: who gave it.
        now: aware.
    """
    if watched is not None and now < watched.at + timedelta(days=HORIZON_DAYS):
        return watched
    return Watched(at=now, churn_7d=round(churn_7d, 4), by=by) if in_task(pattern, now) else None
