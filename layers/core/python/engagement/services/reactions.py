"""Stream: what a user's new interactions call for besides a new pattern: awards, a celebration, support, an answer.

Every award is given in the transaction of the pattern that earned it, so that a crash leaves both or neither. Of
several milestones reached at once only the most difficult is celebrated; of several messages called for at once only
the one with the highest priority that the gate allows is planned. What is left uncelebrated stays so.

Nothing is celebrated that says no more than that somebody has come (R104), that was reached by what happened before
the milestone was in force, or more than a day before
the user's newest interaction (a replay, or a delivery that came late): it is awarded with its points, in silence. Nor
is anything planned for somebody whose profile comes with this very pattern: nobody asked them yet.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from engagement.domain.consequences import answers, without_recent
from engagement.domain.gate import Reason
from engagement.domain.interaction import Control, Exposure, Interaction
from engagement.domain.milestones import Award, Milestone, clock_of, newly_reached, reached
from engagement.domain.outreach import Outreach
from engagement.domain.pattern import Pattern
from engagement.domain.planning import Candidate, celebration_candidate, mood_candidate
from engagement.domain.population import BUNDLED
from engagement.domain.profile import Awaiting, Profile
from engagement.domain.statistics import PRESSES

MOST_AWARDS = 50
"""In one write, which holds 100 items; who reaches more at once gets the others with their next interaction."""


class Planner(Protocol):
    """Turns a candidate into an outreach, or into the reason why not; see `services.planner`."""

    def prepare(self, candidate: Candidate, profile: Profile, pattern: Pattern, now: datetime) -> Outreach | Reason:
        """Ask the gate, draw the arm and choose the text; nothing is stored."""
        ...


class Definitions(Protocol):
    """The milestones in force; see `services.milestones`."""

    def at(self, now: datetime) -> Sequence[Milestone]:
        """Return them."""
        ...


class AwardReader(Protocol):
    """Where awards are kept; see `store.awards`."""

    def of_user(self, bot_id: int, user_id: int) -> Sequence[Award]:
        """Return a user's."""
        ...


class AnswerLedger(Protocol):
    """Where exposures wait for their answer; see `store.outreaches`."""

    def answer(self, bot_id: int, user_id: int, awaiting: Awaiting, at: datetime) -> bool:
        """Keep a user's first interaction after an exposure, unless an earlier one is known; say whether it was new."""
        ...

    def press(self, bot_id: int, user_id: int, about: Exposure, control: Control, at: datetime) -> bool:
        """Keep the first press of a kind of button under an outreach, and count it; say whether it was the first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What is to be written with a pattern.

    Attributes:
        awards: milestones that the user reached.
        outreach: what to send them, if anything.
        refused: why the messages that were called for besides are not planned, by reason.
    """

    awards: tuple[Award, ...] = ()
    outreach: Outreach | None = None
    refused: Counter[str] = field(default_factory=Counter)


class Reactions:
    """What the stream does about new interactions."""

    def __init__(
        self, definitions: Definitions, planner: Planner, awards: AwardReader, outreaches: AnswerLedger
    ) -> None:
        self._definitions = definitions
        self._planner = planner
        self._awards = awards
        self._outreaches = outreaches

    def answer(self, profile: Profile, before: Pattern, fresh: Sequence[Interaction]) -> int:
        """Settle which exposures the new interactions answer; return how many.

        It comes before the pattern is written: a batch that is delivered again answers again, which changes nothing,
        and one whose pattern is written has been answered.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return sum(
            self._outreaches.answer(profile.bot_id, profile.user_id, awaiting, at)
            for awaiting, at in answers(profile.awaiting, before, fresh)
        )

    def press(self, controls: Sequence[Interaction]) -> int:
        """Keep and count the presses of buttons under outreach among a user's interactions; return how many are new.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return sum(
            self._outreaches.press(pressed.bot_id, pressed.user_id, pressed.about, pressed.control, pressed.occurred_at)
            for pressed in controls
            if pressed.about is not None and pressed.control in PRESSES
        )

    def awarded(self, bot_id: int, user_id: int) -> frozenset[str]:
        """Return the names of a user's awards, for a pattern that was lost and does not know of them.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return frozenset(award.milestone_name for award in self._awards.of_user(bot_id, user_id))

    def react(
        self,
        profile: Profile | None,
        before: Pattern,
        after: Pattern,
        fresh: Sequence[Interaction],
        *,
        awarded: Collection[str],
        since: datetime,
    ) -> Reaction:
        """Say what new interactions call for.

        Args:
            profile: the user's, read with the pattern; None where there is none yet.
            before: the pattern without the new interactions.
            after: the pattern with them.
            fresh: the new interactions, ascending by time; the newest says what time it is.
            awarded: names of the milestones that the user has.
            since: those before it are no reason to write; see `consequences.recent_from`.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        clock, now = clock_of(profile, after), fresh[-1].occurred_at
        found = newly_reached(self._definitions.at(now), awarded, after, clock)[:MOST_AWARDS]
        news = [
            milestone
            for milestone in found
            if milestone.celebrated
            and not reached(milestone, without_recent(before, fresh, max(since, milestone.seeded_at or since)), clock)
        ]
        called_for = [
            celebration_candidate(m.milestone_name, m.display_name, m.difficulty_level, now) for m in news[:1]
        ]
        earlier = without_recent(before, fresh, since)
        mood = mood_candidate(earlier, after, BUNDLED, now) if earlier != after else None
        if mood is not None:
            called_for.append(mood)
        outreach, refused = self._plan(called_for, profile, after, now)
        awards = (Award(milestone_name=m.milestone_name, awarded_at=now, points=m.points) for m in found)
        return Reaction(awards=tuple(awards), outreach=outreach, refused=refused)

    def _plan(
        self, candidates: Sequence[Candidate], profile: Profile | None, pattern: Pattern, now: datetime
    ) -> tuple[Outreach | None, Counter[str]]:
        planned, refused = None, Counter[str]()
        for candidate in sorted(candidates, key=lambda candidate: candidate.priority, reverse=True):
            answer: Outreach | Reason
            if profile is None:
                answer = Reason.NO_PROFILE
            elif planned is not None:
                answer = Reason.OUTRANKED
            else:
                answer = self._planner.prepare(candidate, profile, pattern, now)
            if isinstance(answer, Reason):
                refused[answer.value] += 1
            else:
                planned = answer
        return planned, refused
