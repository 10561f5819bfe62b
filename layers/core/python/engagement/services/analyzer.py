"""Interactions in, patterns out; and the question who needs a word from us."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from engagement.domain.consequences import Consequences, asks_for_scoring, in_parts, recent_from
from engagement.domain.due import DuePattern
from engagement.domain.gate import Reason
from engagement.domain.interaction import Control, Interaction, by_themselves
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold, last_seen
from engagement.domain.pattern_bytes import decode
from engagement.domain.planning import Thresholds, silence_outreach
from engagement.domain.profile import Profile
from engagement.domain.statistics import activity_moves, award_moves, joined
from engagement.errors import BadPatternError, BadUpdateError, StoreUnavailableError
from engagement.services.reactions import Reaction, Reactions

ATTEMPTS = 6
"""Reads and writes of one pattern before a run gives up to the stream's retry; two rivals need two."""


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...

    @property
    def awarded(self) -> frozenset[str]:
        """Names of the milestones that were awarded."""
        ...

    @property
    def scored_at(self) -> datetime | None:
        """When the user was last scored."""
        ...

    @property
    def asked_at(self) -> datetime | None:
        """When the user was last asked to be scored at once, until that is done."""
        ...


class PatternStore[S: StoredPattern](Protocol):
    """Where patterns are kept. Writes answer "written", "erased", "conflict", "awarded" or "planned"."""

    def load(self, bot_id: int, user_id: int) -> S | None:
        """Read a pattern consistently."""
        ...

    def create(self, pattern: Pattern, newest: Interaction, brought: Consequences) -> str:
        """Write a first pattern unless there is one, or the user was erased after it began."""
        ...

    def replace(self, pattern: Pattern, seen: S, newest: Interaction, brought: Consequences) -> str:
        """Write a pattern unless it is no longer the one that was seen."""
        ...

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        """Return when the user asked to be forgotten."""
        ...


class ScoreStore(Protocol):
    """Where scores are kept."""

    def needing_engagement(self, limit: int) -> list[DuePattern]:
        """Return the scored users most likely to stay away, the likeliest first."""
        ...


class ProfileReader(Protocol):
    """Where profiles are kept."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read a profile consistently."""
        ...


class Eraser(Protocol):
    """Erases users; see `services.erasing`."""

    def erase(self, bot_id: int, user_id: int, at: datetime) -> int:
        """Erase everything up to a time; return how many items are gone."""
        ...


class InteractionReader(Protocol):
    """Reads an interaction from the image that a stream carries."""

    def __call__(self, image: Mapping[str, Any]) -> Interaction:
        """Raise BadUpdateError for an image that no retry can mend."""
        ...


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One insert of an interaction, as the stream carries it.

    Attributes:
        sequence: the record's place in its shard; what a failure is reported by.
        image: the new item, in DynamoDB's JSON.
    """

    sequence: str
    image: Mapping[str, Any]


@dataclass(slots=True)
class LearningReport:
    """What came of a batch.

    Attributes:
        records: records in the batch.
        folded: interactions that were new to their pattern.
        patterns_written: patterns created or replaced.
        conflicts: writes that met a newer version and were folded again.
        erased: interactions of users who have been erased since.
        awarded: milestones given.
        planned: outreach planned for users whose interactions called for it.
        answered: exposures that an interaction was the first answer to.
        pressed: buttons under outreach that were pressed for the first time.
        swept: items of users who asked to be erased that are gone.
        asked: users who are to be scored at once.
        refused: messages that were called for and are not planned, by reason.
        failed_at: sequence of the first record that is not dealt with; None when all are. Everything from it on
            must be delivered again; what was already folded then changes nothing.
        failure: why, in a code safe to log.
    """

    records: int = 0
    folded: int = 0
    patterns_written: int = 0
    conflicts: int = 0
    erased: int = 0
    awarded: int = 0
    planned: int = 0
    answered: int = 0
    pressed: int = 0
    swept: int = 0
    asked: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failed_at: str | None = None
    failure: str = ""

    def metrics(self) -> dict[str, int]:
        """Return the counts to publish, by metric name."""
        return {
            "PatternsWritten": self.patterns_written,
            "InteractionsFolded": self.folded,
            "PatternConflicts": self.conflicts,
            "MilestonesAwarded": self.awarded,
            "OutreachPlanned": self.planned,
            "OutreachAnswered": self.answered,
            "ButtonsPressed": self.pressed,
            "ScoringAsked": self.asked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAtRisk:
    """Somebody who may be about to leave, for the operator's eyes.

    Attributes:
        user_id: Telegram's id of the user.
        display_name: first name as Telegram gives it; "" where unknown.
        churn_risk: probability [0, 1] of no interaction within 14 days, when last scored.
        last_seen_at: newest interaction.
        needs: the outreach that their silence calls for now; None where it calls for none (yet, or any more).
    """

    user_id: int
    display_name: str
    churn_risk: float
    last_seen_at: datetime | None
    needs: OutreachType | None


class EngagementAnalyzer[S: StoredPattern]:
    """The guide's analyzer."""

    def __init__(
        self,
        patterns: PatternStore[S],
        scores: ScoreStore,
        profiles: ProfileReader,
        reactions: Reactions | None = None,
        eraser: Eraser | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            patterns: where patterns are kept.
            scores: where scores are kept.
            profiles: where profiles are kept.
            reactions: what is done about new interactions besides folding and counting them; None does nothing.
            eraser: erases those who ask for it; None leaves them to the housekeeper.
        """
        self._patterns = patterns
        self._scores = scores
        self._profiles = profiles
        self._reactions = reactions
        self._eraser = eraser

    def learn(self, records: Sequence[StreamRecord], read: InteractionReader) -> LearningReport:
        """Fold a batch of the stream into the patterns of its users, each read once and written at most once.

        It stops at the first record that cannot be dealt with: Lambda retries from the lowest reported one anyway,
        and going on past it would only do work twice.
        """
        report = LearningReport(records=len(records))
        by_user: dict[tuple[int, int], list[Interaction]] = {}
        first_record: dict[tuple[int, int], str] = {}
        for record in records:
            try:
                interaction = read(record.image)
            except BadUpdateError as error:
                report.failed_at, report.failure = record.sequence, error.reason
                break
            user = (interaction.bot_id, interaction.user_id)
            by_user.setdefault(user, []).append(interaction)
            first_record.setdefault(user, record.sequence)
        for user, interactions in by_user.items():
            try:
                self.update_user_behavior_patterns(interactions, report)
            except (StoreUnavailableError, BadPatternError) as error:
                # Users come in the order of their first records, so this is the lowest that is not dealt with.
                report.failed_at, report.failure = first_record[user], type(error).__name__
                break
        return report

    def update_user_behavior_patterns(
        self, interactions: Iterable[Interaction], report: LearningReport | None = None
    ) -> Pattern:
        """Fold what one user did by themselves into their pattern, known or new, and return it.

        What they said by a button or command of ours is no activity (R90): it is counted apart, and who asked to be
        erased is erased here, where patterns are written, so that the two do not race.

        Args:
            interactions: one user's, at least one, in any order.
            report: counts are added to it.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble, or rivals kept writing first.
            BadPatternError: the stored pattern cannot be read.
        """
        report = report if report is not None else LearningReport()
        fresh = sorted(interactions, key=lambda interaction: interaction.occurred_at)
        self._obey([interaction for interaction in fresh if not by_themselves(interaction)], report)
        own = [interaction for interaction in fresh if by_themselves(interaction)]
        pattern = EMPTY
        for part in in_parts(own):
            pattern = self._update(part, own[-1], report)
        return pattern

    def _obey(self, controls: Sequence[Interaction], report: LearningReport) -> None:
        if self._reactions is not None:
            report.pressed += self._reactions.press(controls)
        for asked in controls:
            if asked.control is Control.FORGET and self._eraser is not None:
                report.swept += self._eraser.erase(asked.bot_id, asked.user_id, asked.occurred_at)

    def _update(self, fresh: Sequence[Interaction], newest: Interaction, report: LearningReport) -> Pattern:
        bot_id, user_id = newest.bot_id, newest.user_id
        known_awards, may_plan = frozenset[str](), True
        for _ in range(ATTEMPTS):
            stored = self._patterns.load(bot_id, user_id)
            before = stored.pattern if stored else EMPTY
            pattern = fold(before, fresh)
            if pattern == before:
                return pattern
            awarded = known_awards | (stored.awarded if stored else frozenset())
            reaction = self._react(before, pattern, fresh, awarded, recent_from(pattern, newest), report)
            if not may_plan and reaction.outreach is not None:
                refused = reaction.refused + Counter({Reason.ALREADY_PLANNED.value: 1})
                reaction = replace(reaction, outreach=None, refused=refused)
            brought = _consequences(stored, before, pattern, fresh, reaction, known_awards)
            if stored is None:
                answer = self._patterns.create(pattern, fresh[-1], brought)
            else:
                answer = self._patterns.replace(pattern, stored, fresh[-1], brought)
            if answer == "written":
                _count(report, before, pattern, brought, reaction)
                return pattern
            if answer == "erased":
                erased_at = self._patterns.erased_at(bot_id, user_id)
                later = [i for i in fresh if erased_at is None or i.occurred_at > erased_at]
                report.erased += len(fresh) - len(later)
                if not later:
                    return EMPTY
                fresh = later
            elif answer == "awarded" and self._reactions is not None:
                known_awards = self._reactions.awarded(bot_id, user_id)
            elif answer == "planned":
                may_plan = False
            else:
                report.conflicts += 1
        raise StoreUnavailableError(f"a pattern was changed by others {ATTEMPTS} times in a row")

    def _react(
        self,
        before: Pattern,
        after: Pattern,
        fresh: Sequence[Interaction],
        awarded: frozenset[str],
        since: datetime,
        report: LearningReport,
    ) -> Reaction:
        if self._reactions is None:
            return Reaction()
        profile = self._profiles.get(fresh[0].bot_id, fresh[0].user_id)
        if profile is not None:
            report.answered += self._reactions.answer(profile, before, fresh)
        return self._reactions.react(profile, before, after, fresh, awarded=awarded, since=since)

    def find_users_needing_engagement(self, now: datetime, thresholds: Thresholds, limit: int = 20) -> list[UserAtRisk]:
        """Return the users most likely to stay away for 14 days, the likeliest first.

        It reads every scored pattern: a question for an operator, not for every tick.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
            BadPatternError: a stored pattern cannot be read.
        """
        found = []
        for scored in self._scores.needing_engagement(limit):
            if scored.scores is None:
                continue
            pattern = decode(scored.state)
            profile = self._profiles.get(scored.bot_id, scored.user_id)
            # The hour is not asked for here, so anybody's do.
            candidate = silence_outreach(pattern, scored.scores, thresholds, now)
            found.append(
                UserAtRisk(
                    user_id=scored.user_id,
                    display_name=profile.first_name if profile else "",
                    churn_risk=scored.scores.churn_14d,
                    last_seen_at=last_seen(pattern),
                    needs=candidate.outreach_type if candidate else None,
                )
            )
        return found


def _consequences(
    stored: StoredPattern | None,
    before: Pattern,
    after: Pattern,
    fresh: Sequence[Interaction],
    reaction: Reaction,
    known_awards: frozenset[str],
) -> Consequences:
    now = fresh[-1].occurred_at
    asked = (stored.scored_at, stored.asked_at) if stored else ()
    awards = [award.milestone_name for award in reaction.awards]
    return Consequences(
        awards=reaction.awards,
        outreach=reaction.outreach,
        moves=joined(activity_moves(before, after), award_moves(awards, now)),
        score_at=now if asks_for_scoring(fresh, asked, now) else None,
        known_awards=known_awards,
    )


def _count(report: LearningReport, before: Pattern, after: Pattern, brought: Consequences, reaction: Reaction) -> None:
    report.patterns_written += 1
    report.folded += after.total + after.edits - before.total - before.edits
    report.awarded += len(brought.awards)
    report.planned += brought.outreach is not None
    report.asked += brought.score_at is not None
    for reason, count in reaction.refused.items():
        report.refused[reason] = report.refused.get(reason, 0) + count
