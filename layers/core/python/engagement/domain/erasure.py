"""Erasing a user: what goes, what counters keep of it, and what an experiment must not lose (R71, R99).

    item                                what becomes of it
    profile, answers, interactions      gone
    pattern                             gone; its days stay counted, the user leaves the gauges
    award                               gone; it stays counted
    outreach, of which no outcome is
    awaited (any more)                  gone; it stays counted, and so do its outcomes in the experiment's sums
    outreach, whose outcome is awaited  an anonymous stub: type, text, arm, probabilities and the day, of nobody

Counters of days and sums of experiments are numbers about a day or a group, not about a person. They stay, or a month
of the past would look quieter each time somebody leaves, and an experiment would forget its failures: whoever is driven
so far as to be forgotten is the worst outcome there is. What erased users had moved is added up beside them, so that
everything can still be counted again (`services.reconciling`).

A stub is settled on its day like any other exposure: not returned, and stopped.
"""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from engagement.domain.outcomes import SETTLE_AFTER
from engagement.domain.outreach import Outreach, OutreachState

TOMBSTONE_KEPT = timedelta(days=36)
"""A restore reaches back 35 days: no longer can anything come up again."""
SWEEP_AGAIN_AFTER = timedelta(hours=1)
"""The longest run takes a quarter of an hour: whatever a run that was under way has written, the second sweep takes."""

CAMPAIGN, PERIOD = "erased", "exposure"
"""Of every stub: its key says nothing else."""


def awaits_outcome(outreach: Outreach) -> bool:
    """Say whether an outreach counts in an experiment and its outcome is still to come."""
    return outreach.exposed_at is not None and outreach.settled_at is None


def stub_of(outreach: Outreach, stub_id: int) -> Outreach:
    """Return what an experiment needs of an erased user's exposure.

    Args:
        outreach: exposed, not settled.
        stub_id: > 0, random; stands in for the user.

    Raises:
        ValueError: no outcome is awaited of it.
    """
    if outreach.exposed_at is None or outreach.settled_at is not None:
        raise ValueError("only an exposure whose outcome is awaited leaves a stub")
    planned_on, exposed_on = _day(outreach.planned_at), _day(outreach.exposed_at)
    # A message under way may be out; whoever sends it finds nobody to record it of.
    state = OutreachState.UNKNOWN if outreach.state is OutreachState.SENDING else outreach.state
    return replace(
        outreach,
        user_id=-stub_id,
        campaign=CAMPAIGN,
        period=PERIOD,
        state=state,
        priority=0.0,
        trigger=CAMPAIGN,
        planned_at=planned_on,
        due_at=exposed_on,
        expires_at=exposed_on,
        reason=None,
        attempts=0,
        message_id=None,
        sent_at=None,
        values={},
        covariate=round(outreach.covariate, 1),
        context=None,
        exposed_at=exposed_on,
        returned_at=None,
        enhanced=None,
        opened_at=_day(outreach.opened_at) if outreach.opened_at else None,
        not_now_at=_day(outreach.not_now_at) if outreach.not_now_at else None,
        stopped_at=_day(outreach.stopped_at) if outreach.stopped_at else None,
        forgotten=True,
    )


def settles_at(stub: Outreach) -> datetime:
    """Return when a stub's outcome counts: on the day on which its user's would have."""
    exposed_on = stub.exposed_at or stub.planned_at
    return exposed_on + SETTLE_AFTER + timedelta(days=1)


def _day(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
