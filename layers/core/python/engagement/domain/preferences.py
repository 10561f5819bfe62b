"""What a user wants of each type of outreach: which types are off, and how long "not now" holds.

Kept as a set of small facts, each with the time of its event: a press of "not now", or a type switched on or off. What
holds is read off the set, so any order of arrival and any repetition ends in the same preferences (R92, R95, R98).

    n.<type>.<exposed at>.<pressed at>     "not now" under one outreach
    y.<type>.<at>   and   s.<type>.<at>    the type is on from then; is off from then (of one and the same second: off)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from engagement.domain.callbacks import TYPE_CODES, TYPE_OF
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachType

DISTANCE = {
    OutreachType.MILESTONE_CELEBRATION: timedelta(days=7),
    OutreachType.RE_ENGAGEMENT: timedelta(days=7),
    OutreachType.PERSONALIZED_CHECKIN: timedelta(days=7),
    OutreachType.FEATURE_SUGGESTION: timedelta(days=60),
    OutreachType.MOOD_SUPPORT: timedelta(days=14),
    OutreachType.TOPIC_FOLLOW_UP: timedelta(days=28),
    OutreachType.ACHIEVEMENT_UNLOCK: timedelta(days=7),
}
"""Usual distance of two messages of a type; each "not now" within a year doubles it."""
LONGEST = timedelta(days=90)
REMEMBERED = timedelta(days=365)
SPENT_AFTER = REMEMBERED + LONGEST
"""A dismissal so much older than the newest one neither holds any more nor makes another one hold longer."""
SILENCE_TYPES = frozenset({OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN})
"""Both are steps of one series, the win-back of a silence."""


class Dismissal(NamedTuple):
    """A press of "not now".

    Attributes:
        about: the outreach that it stood under.
        pressed_at: aware UTC, whole seconds.
    """

    about: Exposure
    pressed_at: datetime

    def __str__(self) -> str:
        kind, exposed_at = TYPE_CODES[self.about.outreach_type], int(self.about.exposed_at.timestamp())
        return f"n.{kind}.{exposed_at}.{int(self.pressed_at.timestamp())}"


class TypeChoice(NamedTuple):
    """A type switched on or off.

    Attributes:
        outreach_type: which.
        at: aware UTC, whole seconds.
        off: switched off; of two choices of one second this one holds.
    """

    outreach_type: OutreachType
    at: datetime
    off: bool

    def __str__(self) -> str:
        return f"{'s' if self.off else 'y'}.{TYPE_CODES[self.outreach_type]}.{int(self.at.timestamp())}"


Fact = Dismissal | TypeChoice


@dataclass(frozen=True, slots=True)
class Preferences:
    """What holds, read off the facts."""

    facts: frozenset[Fact] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read what `str` wrote of each fact; what a later version wrote is passed over."""
        return cls(frozenset(fact for text in texts if (fact := _fact(text)) is not None))

    def with_(self, fact: Fact) -> Self:
        """Return the preferences with one more fact."""
        return type(self)(self.facts | {fact})

    def is_off(self, outreach_type: OutreachType) -> bool:
        """Say whether the user asked for no more messages of a type."""
        newest = max(self._choices(outreach_type), default=None)
        return newest is not None and newest.off

    def held_until(self, outreach_type: OutreachType) -> datetime | None:
        """Return until when "not now" holds messages of a type back; None where it was never pressed.

        The first press within a year doubles the type's usual distance, the second doubles that, up to `LONGEST`.
        """
        pressed = sorted(press.pressed_at for press in self._dismissals(outreach_type))
        ends = (
            at + min(DISTANCE[outreach_type] * 2 ** (1 + sum(at - REMEMBERED < e < at for e in pressed)), LONGEST)
            for at in pressed
        )
        return max(ends, default=None)

    def ended_silence(self, since: datetime) -> bool:
        """Say whether "not now" was pressed under a message that the silence since `since` had brought."""
        return any(
            isinstance(fact, Dismissal) and fact.about.outreach_type in SILENCE_TYPES and fact.about.exposed_at > since
            for fact in self.facts
        )

    def superseded(self) -> frozenset[str]:
        """Return the facts, as texts, that say nothing any more and need not be kept.

        All that holds is the same without them, as long as nobody presses a button again under a message that is
        older than `SPENT_AFTER`: that counts as a press of then.
        """
        kept: set[Fact] = set()
        for outreach_type in OutreachType:
            dismissals = self._dismissals(outreach_type)
            newest = max((dismissal.pressed_at for dismissal in dismissals), default=None)
            kept.update(d for d in dismissals if newest is not None and d.pressed_at > newest - SPENT_AFTER)
            # The newest outreach says whether the series of a silence has ended.
            kept.update(sorted(dismissals)[-1:])
            kept.update(sorted(self._choices(outreach_type))[-1:])
        return frozenset(str(fact) for fact in self.facts - kept)

    @property
    def newest_at(self) -> datetime | None:
        """When the user last said something of this."""
        times = (fact.pressed_at if isinstance(fact, Dismissal) else fact.at for fact in self.facts)
        return max(times, default=None)

    def _choices(self, outreach_type: OutreachType) -> list[TypeChoice]:
        return [f for f in self.facts if isinstance(f, TypeChoice) and f.outreach_type is outreach_type]

    def _dismissals(self, outreach_type: OutreachType) -> list[Dismissal]:
        """Return one for each outreach: the first press counts, a second one under it says nothing new."""
        first: dict[Exposure, Dismissal] = {}
        for fact in self.facts:
            if isinstance(fact, Dismissal) and fact.about.outreach_type is outreach_type:
                known = first.get(fact.about)
                first[fact.about] = fact if known is None else min(known, fact)
        return list(first.values())


NONE = Preferences()


def _fact(text: str) -> Fact | None:
    kind, *rest = text.split(".")
    try:
        outreach_type, times = TYPE_OF[rest[0]], [datetime.fromtimestamp(int(t), UTC) for t in rest[1:]]
        if kind == "n":
            exposed_at, pressed_at = times
            return Dismissal(Exposure(outreach_type, exposed_at), pressed_at)
        if kind in ("y", "s"):
            (at,) = times
            return TypeChoice(outreach_type, at, kind == "s")
    except (KeyError, IndexError, ValueError, OverflowError, OSError):
        pass
    return None
