"""Counters: what moves in the same transaction as the state that it counts, by day and name.

Everything is an integer that adds up. A counter is booked on a day that its item names for good, so that it can be
counted again from the items (`services.reconciling`):

    name                    booked on                        counts
    dau                     day of the interaction (UTC)     users active on that day
    new_users               day of the first interaction     users
    planned:<type>          day of planning (UTC)            outreach that day's planning brought
    <end>:<type>            the same day of planning         those of them that ended so; see `ENDS`
    responded:<type>        the same day of planning         those of the sent that were answered; they stay sent
    opened:<type>           the same day of planning         those whose offer was pressed
    not_now:<type>          the same day of planning         those whose "not now" was
    stopped:<type>          the same day of planning         those whose stop was, of the type or of all
    left:<type>             the same day of planning         those after which their user left within a week without
                                                             that button: blocked the bot, or sent /stop; once settled
    <any of these>@<template>                                likewise by template: sent, responded, opened, not_now,
                                                             stopped, left
    award:<milestone>       day of the award (UTC)           awards
    band:<0..4>             (gauge: no day)                  users by the band of their newest 14-day churn score
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

from engagement.domain.census import BAND_EDGES
from engagement.domain.interaction import Control
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Outreach, OutreachState
from engagement.domain.pattern import Pattern

S = OutreachState
ENDS = (S.SENT, S.HELD_OUT, S.FAILED, S.SUPPRESSED, S.CANCELLED, S.EXPIRED, S.UNKNOWN)
"""States in which an outreach leaves the sender's hands; each is reached at most once."""

PRESSES = {
    Control.OPENED: "opened",
    Control.NOT_NOW: "not_now",
    Control.STOP_TYPE: "stopped",
    Control.STOP_ALL: "stopped",
}
"""What a press under an outreach is counted as."""
LEFT = "left"

Moves = Mapping[tuple[date | None, str], int]
"""By how much counters move; no day is a gauge."""
EPOCH = date(1970, 1, 1).toordinal()


def planned_on(outreach: Outreach) -> date:
    """Return the day that an outreach's counters are booked on."""
    return outreach.planned_at.astimezone(UTC).date()


def planning_moves(outreach: Outreach) -> Moves:
    """Return what planning it moves."""
    return {(planned_on(outreach), f"planned:{outreach.outreach_type}"): 1}


def ending_moves(outreach: Outreach, end: OutreachState) -> Moves:
    """Return what its move to `end`, one of `ENDS` or `responded`, moves."""
    day = planned_on(outreach)
    moves: dict[tuple[date | None, str], int] = {(day, f"{end}:{outreach.outreach_type}"): 1}
    if end in (S.SENT, S.RESPONDED):
        moves[day, f"{end}@{outreach.template}"] = 1
    return moves


def press_moves(outreach: Outreach, pressed: str) -> Moves:
    """Return what the first press of one kind, a value of `PRESSES`, moves."""
    day = planned_on(outreach)
    return {(day, f"{pressed}:{outreach.outreach_type}"): 1, (day, f"{pressed}@{outreach.template}"): 1}


def left_moves(outreach: Outreach, outcomes: Outcomes) -> Moves:
    """Return what settling an outreach moves after which its user left without pressing stop under it."""
    was_sent = outreach.state in (S.SENT, S.RESPONDED)
    return press_moves(outreach, LEFT) if was_sent and outcomes.left else {}


def activity_moves(before: Pattern, after: Pattern) -> Moves:
    """Return what a user's new interactions move: active days, and the day they were new on."""
    moves: Counter[tuple[date | None, str]] = Counter()
    known = set(before.days)
    for day in after.days:
        if day not in known:
            moves[date.fromordinal(EPOCH + day), "dau"] += 1
    if after.days and before.days[:1] != after.days[:1]:
        moves[date.fromordinal(EPOCH + after.days[0]), "new_users"] += 1
        if before.days:
            moves[date.fromordinal(EPOCH + before.days[0]), "new_users"] -= 1
    return {key: count for key, count in moves.items() if count}


def award_moves(milestones: Iterable[str], awarded_at: datetime) -> Moves:
    """Return what awards move."""
    day = awarded_at.astimezone(UTC).date()
    return {(day, f"award:{milestone}"): 1 for milestone in milestones}


def band_moves(before: float | None, after: float) -> Moves:
    """Return what a new 14-day churn score moves; None before the first."""
    old, new = None if before is None else band(before), band(after)
    if old == new:
        return {}
    gone: dict[tuple[date | None, str], int] = {} if old is None else {(None, f"band:{old}"): -1}
    return gone | {(None, f"band:{new}"): 1}


def band(churn_14d: float) -> int:
    """Return the band [0, 4] of a probability, by `census.BAND_EDGES`."""
    return bisect_right(BAND_EDGES, churn_14d)


def outreach_moves(outreach: Outreach, outcomes: Outcomes | None = None) -> Moves:
    """Return what an outreach has moved since it was planned.

    Args:
        outreach: as it is kept.
        outcomes: once it is settled.
    """
    if outreach.state is S.RESPONDED:
        ended = joined(ending_moves(outreach, S.SENT), ending_moves(outreach, S.RESPONDED))
    elif outreach.state in ENDS:
        ended = dict(ending_moves(outreach, outreach.state))
    else:
        ended = {}
    presses = {"opened": outreach.opened_at, "not_now": outreach.not_now_at, "stopped": outreach.stopped_at}
    pressed = (press_moves(outreach, name) for name, at in presses.items() if at is not None)
    left = left_moves(outreach, outcomes) if outcomes else {}
    return joined(planning_moves(outreach), ended, *pressed, left)


def joined(*all_moves: Moves) -> dict[tuple[date | None, str], int]:
    """Return several moves as one."""
    total: Counter[tuple[date | None, str]] = Counter()
    for moves in all_moves:
        total.update(moves)
    return {key: count for key, count in total.items() if count}
