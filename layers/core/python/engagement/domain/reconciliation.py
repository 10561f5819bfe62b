"""Reconciling: what the counters count, as it is read from the table, and what differs from them."""

from dataclasses import dataclass
from datetime import datetime

from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Outreach
from engagement.domain.pattern import Pattern


@dataclass(frozen=True, slots=True)
class CountedPattern:
    """A stored pattern and the score beside it, [0, 1]; None before the first."""

    pattern: Pattern
    churn_14d: float | None


@dataclass(frozen=True, slots=True)
class CountedOutreach:
    """A stored outreach and its outcomes once settled."""

    outreach: Outreach
    outcomes: Outcomes | None


@dataclass(frozen=True, slots=True)
class CountedAward:
    """A stored award."""

    milestone: str
    awarded_at: datetime


Record = CountedPattern | CountedOutreach | CountedAward


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A counter that is not what the items say.

    Attributes:
        where: the day, "gauges", or "<experiment>/<group>".
        name: of the counter.
        counter: what it says.
        items: what the items say.
    """

    where: str
    name: str
    counter: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What counting again came to.

    Attributes:
        compared: counters that were looked at.
        differences: those that are wrong. While the bot is busy some may only have moved during the count: count again.
    """

    compared: int
    differences: tuple[Difference, ...]
