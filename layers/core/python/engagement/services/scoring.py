"""Scoring: due patterns -> churn scores -> planned outreach for those whose silence calls for it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import batched, repeat
from typing import Any, NamedTuple, Protocol

from engagement.domain.due import DuePattern
from engagement.domain.features import features
from engagement.domain.gate import Decision, Policy
from engagement.domain.outreach import Outreach, OutreachKey, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import decode
from engagement.domain.planning import REST, Candidate, Thresholds, next_due_at, rested, silence_outreach
from engagement.domain.profile import Profile
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.tick import Tick
from engagement.errors import BadPatternError, ModelUnavailableError

BATCH = 500
"""Users per model call: from here on a bigger batch saves nothing, and this one is held in a few megabytes."""
WRITERS = 8
"""Writes under way at once; one at a time would spend the run waiting for answers."""
RESERVE_SECONDS = 15.0
"""A run stops taking on users when it has no more than this left: a write with all its retries ends within it."""
UNREADABLE_AGAIN_AFTER = timedelta(days=1)
RULES = "rules"
NO_PROFILE = "no_profile"
RESTING = "resting"
SAID_ENOUGH = "said_enough"
"""Why somebody is not planned for, beside the gate's reasons: erased; written to within the last fortnight; did not
answer any of the messages that one silence may bring."""


class ScoreStore(Protocol):
    """Where due patterns and their scores are kept; see `store.scores`."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        """Yield (bot_id, user_id) of the patterns due at `now`."""
        ...

    def load(self, users: Iterable[tuple[int, int]]) -> Iterator[DuePattern]:
        """Yield their patterns, read consistently."""
        ...

    def record(
        self, seen: DuePattern, scores: ChurnScores, *, scored_by: str, now: datetime, next_due_at: datetime | None
    ) -> bool:
        """Write a user's scores and the next due time, unless another run did."""
        ...

    def postpone(self, seen: DuePattern, until: datetime) -> bool:
        """Have a pattern that cannot be read looked at again later."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read, consistently; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one."""
        ...


class OutreachPlanner(Protocol):
    """Plans a message, or says why not; see `services.outreach`."""

    def schedule_proactive_outreach(
        self,
        profile: Profile,
        *,
        outreach_type: OutreachType,
        campaign: str,
        period: str,
        priority: float,
        trigger: str,
        due_at: datetime,
        expires_at: datetime,
        policy: Policy,
        now: datetime,
    ) -> Decision:
        """Plan a message at the earliest time the gate permits."""
        ...


class OutreachReader(Protocol):
    """Where outreach is read, consistently; see `store.outreaches`."""

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one."""
        ...


class ChurnPredictor(Protocol):
    """A model; raises ModelUnavailableError where it cannot answer. See `clients.predictor`."""

    @property
    def version(self) -> str:
        """Version of the model, kept beside the scores."""
        ...

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        """Score rows of features, one result for each."""
        ...


@dataclass(slots=True)
class ScoringReport:
    """What came of a run.

    Attributes:
        scored: users scored by this run.
        scored_elsewhere: users whom the index still named, but another run has scored, or who are gone.
        unreadable: patterns that this version cannot read, by what is wrong with them.
        planned: outreach planned, by type.
        not_planned: outreach that was called for and not planned, by reason.
        fell_back: the model was wanted and rules had to do.
        finished: everything due was looked at; otherwise the time was up, and the next run takes the rest.
    """

    scored: int = 0
    scored_elsewhere: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    not_planned: Counter[str] = field(default_factory=Counter)
    fell_back: bool = False
    finished: bool = True

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it: nothing in it names a user."""
        return {
            "scored": self.scored,
            "scored_elsewhere": self.scored_elsewhere,
            "unreadable": dict(self.unreadable),
            "planned": dict(self.planned),
            "not_planned": dict(self.not_planned),
            "fell_back": self.fell_back,
            "finished": self.finished,
        }


class _Run(NamedTuple):
    """What all users of a run share."""

    now: datetime
    is_time_up: Callable[[], bool]
    writers: ThreadPoolExecutor
    report: ScoringReport


class _Found(NamedTuple):
    """A due pattern that can be read."""

    seen: DuePattern
    pattern: Pattern


class _Settled(NamedTuple):
    """What became of one user; `recorded` is None where the time was up."""

    recorded: bool | None
    planned: str = ""
    not_planned: str = ""


class Scoring:
    """The scheduled pass over everybody who is due; `services.predictor` answers about one user."""

    def __init__(
        self,
        *,
        scores: ScoreStore,
        profiles: ProfileReader,
        outreaches: OutreachReader,
        planner: OutreachPlanner,
        model: ChurnPredictor | None,
        ml_enabled: bool,
        thresholds: Thresholds,
        policy: Policy,
        batch: int = BATCH,
        writers: int = WRITERS,
    ) -> None:
        """Wire it.

        Args:
            scores: where due patterns are found and scores written.
            profiles: who the users are; read for those only whose score calls for a message.
            outreaches: what was planned before.
            planner: plans messages.
            model: None where it could not be loaded, or is not wanted.
            ml_enabled: False scores by rules, on purpose.
            thresholds: the scores from which we write.
            policy: what the gate goes by.
            batch: users per model call.
            writers: threads that write.
        """
        self._scores = scores
        self._profiles = profiles
        self._outreaches = outreaches
        self._planner = planner
        self._model = model if ml_enabled else None
        self._ml_enabled = ml_enabled
        self._thresholds = thresholds
        self._policy = policy
        self._batch = batch
        self._writers = writers

    def score_due(self, tick: Tick, remaining_seconds: Callable[[], float]) -> ScoringReport:
        """Score everybody in the tick's share of the index who is due, and plan for those who need a word.

        A user is planned for first and then scored, which takes them out of what is due: a run that dies in between
        leaves them due, and planning again meets the same outreach. So nothing is skipped and nothing doubled.

        Args:
            tick: the time that scores hold for, and the share.
            remaining_seconds: how long this run may still take, asked again and again.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; who was scored stays scored, the others stay due.
        """
        report = ScoringReport(fell_back=self._ml_enabled and self._model is None)
        with ThreadPoolExecutor(self._writers) as writers:
            run = _Run(tick.now, lambda: remaining_seconds() <= RESERVE_SECONDS, writers, report)
            for users in batched(self._due(tick), self._batch, strict=False):
                if run.is_time_up():
                    report.finished = False
                if not report.finished:
                    break
                self._score(users, run)
        return report

    def _due(self, tick: Tick) -> Iterator[tuple[int, int]]:
        """Name the due users of all partitions in the share, in one stream, so that batches are full."""
        share = tick.partitions(self._scores.partitions)
        # Another one begins every hour: where there is always more than a run can do, none is always last.
        first = int(tick.now.timestamp()) // 3_600 % len(share) if share else 0
        for partition in (*share[first:], *share[:first]):
            yield from self._scores.due(partition, tick.now)

    def _score(self, users: Sequence[tuple[int, int]], run: _Run) -> None:
        found = self._read(users, run)
        if not found:
            return
        scores, scored_by = self._predict([pattern for _, pattern in found], run)
        for settled in run.writers.map(self._settle, found, scores, repeat(scored_by), repeat(run)):
            if settled.recorded is None:
                run.report.finished = False
            elif settled.recorded:
                run.report.scored += 1
            else:
                run.report.scored_elsewhere += 1
            if settled.planned:
                run.report.planned[settled.planned] += 1
            if settled.not_planned:
                run.report.not_planned[settled.not_planned] += 1

    def _read(self, users: Sequence[tuple[int, int]], run: _Run) -> list[_Found]:
        found = []
        unreadable = 0
        for seen in self._scores.load(users):
            # The index lags: the item itself says whether it is still to be scored.
            if seen.due_at is None or seen.due_at > run.now:
                continue
            try:
                found.append(_Found(seen, decode(seen.state)))
            except BadPatternError as error:
                unreadable += 1
                run.report.unreadable[str(error)] += 1
                self._scores.postpone(seen, run.now + UNREADABLE_AGAIN_AFTER)
        run.report.scored_elsewhere += len(users) - len(found) - unreadable
        return found

    def _predict(self, patterns: Sequence[Pattern], run: _Run) -> tuple[list[ChurnScores], str]:
        """Return the scores, in one call of the model, and who gave them."""
        if self._model is not None:
            try:
                scores = self._model.predict([features(pattern, run.now) for pattern in patterns])
            except ModelUnavailableError:
                scores = []
            # A model that answers with anything but probabilities is as good as missing.
            if len(scores) == len(patterns) and all(map(_are_probabilities, scores)):
                return scores, self._model.version
            run.report.fell_back = True
        return [rule_scores(pattern, run.now) for pattern in patterns], RULES

    def _settle(self, found: _Found, scores: ChurnScores, scored_by: str, run: _Run) -> _Settled:
        seen, pattern = found
        if run.is_time_up():
            return _Settled(None)
        candidate = silence_outreach(pattern, scores, self._thresholds, run.now)
        planned, not_planned = self._plan(candidate, seen, run.now) if candidate else ("", "")
        recorded = self._scores.record(
            seen, scores, scored_by=scored_by, now=run.now, next_due_at=next_due_at(pattern, run.now)
        )
        return _Settled(recorded, planned, not_planned)

    def _plan(self, candidate: Candidate, seen: DuePattern, now: datetime) -> tuple[str, str]:
        """Return the type that was planned and "", or "" and the reason why nothing was."""
        profile = self._profiles.get(seen.bot_id, seen.user_id)
        if profile is None:
            return "", NO_PROFILE
        if not rested(profile, self._policy.min_gap, now):
            return "", RESTING
        for period in candidate.periods:
            earlier = self._outreaches.get(OutreachKey(seen.bot_id, seen.user_id, candidate.campaign, period))
            if earlier is None:
                return self._schedule(candidate, period, profile, now)
            if now < earlier.planned_at + REST:
                return "", RESTING
        return "", SAID_ENOUGH

    def _schedule(self, candidate: Candidate, period: str, profile: Profile, now: datetime) -> tuple[str, str]:
        decision = self._planner.schedule_proactive_outreach(
            profile,
            outreach_type=candidate.outreach_type,
            campaign=candidate.campaign,
            period=period,
            priority=candidate.priority,
            trigger=candidate.trigger,
            due_at=candidate.due_at,
            expires_at=candidate.expires_at,
            policy=self._policy,
            now=now,
        )
        return (candidate.outreach_type.value, "") if decision.reason is None else ("", decision.reason.value)


def _are_probabilities(scores: ChurnScores) -> bool:
    """NaN is no probability either: it compares as false."""
    return all(0 <= score <= 1 for score in (scores.churn_7d, scores.churn_14d, scores.churn_30d))
