"""Scoring: due patterns -> scores -> planned outreach for those who may need a word; and a census of all."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import batched, repeat
from typing import Any, NamedTuple, Protocol

from engagement.domain.census import Tally
from engagement.domain.due import DuePattern, Scored
from engagement.domain.features import features
from engagement.domain.gate import Reason
from engagement.domain.mood import mood_features, mood_level, mood_trend
from engagement.domain.outcome import Outcome, ripen, watch
from engagement.domain.outreach import Outreach
from engagement.domain.pattern import HOURS_OF_DAY, Pattern
from engagement.domain.pattern_bytes import decode
from engagement.domain.planning import Candidate, Thresholds, candidates, next_due_at, send_time
from engagement.domain.population import Population
from engagement.domain.profile import Profile
from engagement.domain.quiet import IsOpen
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.tick import Tick
from engagement.domain.timing import hour_features, hour_shares
from engagement.domain.uplift import context_of
from engagement.errors import BadPatternError, ModelUnavailableError
from engagement.services.models import RULES, Models
from engagement.services.planner import Planner
from engagement.services.population import CensusStore, population_at

BATCH = 500
"""Users per model call: from here on a bigger batch saves nothing, and this one is held in a few megabytes."""
WRITERS = 8
"""Writes under way at once; one at a time would spend the run waiting for answers."""
RESERVE_SECONDS = 15.0
"""A run stops taking on users when it has no more than this left: a write with all its retries ends within it."""
UNREADABLE_AGAIN_AFTER = timedelta(days=1)


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

    def record(self, seen: DuePattern, scored: Scored, *, now: datetime, next_due_at: datetime | None) -> bool:
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


class Ledger(Protocol):
    """Where outreach is kept; see `store.outreaches`."""

    def of_user(self, bot_id: int, user_id: int) -> list[Outreach]:
        """Read everything that was planned for a user, consistently."""
        ...

    def plan(self, outreach: Outreach) -> bool:
        """Add it unless it was planned before."""
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
        fell_back: a model was wanted and its rule had to do.
        finished: everything due was looked at; otherwise the time was up, and the next run takes the rest.
    """

    scored: int = 0
    scored_elsewhere: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    not_planned: Counter[str] = field(default_factory=Counter)
    fell_back: bool = False
    finished: bool = True

    def metrics(self) -> dict[str, int]:
        """Return what is counted, by the metric's name."""
        return {
            "UsersScored": self.scored,
            "OutreachPlanned": self.planned.total(),
            "ModelFallback": int(self.fell_back),
        }

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
    models: Models | None
    population: Population
    is_time_up: Callable[[], bool]
    writers: ThreadPoolExecutor
    report: ScoringReport
    tally: Tally


class _Found(NamedTuple):
    """A due pattern that can be read."""

    seen: DuePattern
    pattern: Pattern


class _Settled(NamedTuple):
    """What became of one user; `recorded` is None where the time was up."""

    recorded: bool | None
    planned: Outreach | None = None
    not_planned: Sequence[Reason] = ()
    outcome: Outcome | None = None


class Scoring:
    """The scheduled pass over everybody who is due; `services.predictor` answers about one user."""

    def __init__(
        self,
        *,
        bot_id: int,
        scores: ScoreStore,
        profiles: ProfileReader,
        outreaches: Ledger,
        censuses: CensusStore,
        planner: Planner,
        models: Callable[[], Models] | None,
        thresholds: Thresholds,
        batch: int = BATCH,
        writers: int = WRITERS,
    ) -> None:
        """Wire it.

        Args:
            bot_id: whose users are counted.
            scores: where due patterns are found and scores written.
            profiles: who the users are; read for those only whose score calls for a message.
            outreaches: what was planned before, and where plans go.
            censuses: what earlier runs counted, and where this one's counts go.
            planner: asks the gate, draws the arm and chooses the text.
            models: asked at each run, so that a promotion or a rollback holds from the next tick on; each is None
                where it could not be loaded. None instead of them all scores by rules, on purpose.
            thresholds: the scores from which we write.
            batch: users per model call.
            writers: threads that write.
        """
        self._bot_id = bot_id
        self._scores = scores
        self._profiles = profiles
        self._outreaches = outreaches
        self._censuses = censuses
        self._planner = planner
        self._models = models
        self._thresholds = thresholds
        self._batch = batch
        self._writers = writers

    def score_due(self, tick: Tick, remaining_seconds: Callable[[], float]) -> ScoringReport:
        """Score everybody in the tick's share of the index who is due, and plan for those who need a word.

        A user is planned for first and then scored, which takes them out of what is due: a run that dies in between
        leaves them due, and planning again meets the same outreach. So nothing is skipped and nothing doubled.

        Whom a run scored it also counts, and adds the counts to the day's census at its end, however it ends. A run
        that is killed before that loses its counts: a census has nobody twice, and may lack somebody.

        Args:
            tick: the time that scores hold for, and the share.
            remaining_seconds: how long this run may still take, asked again and again.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; who was scored stays scored, the others stay due.
        """
        models = self._models() if self._models else None
        report = ScoringReport(
            fell_back=models is not None and (models.churn is None or models.timing is None or models.mood is None)
        )
        known = population_at(self._censuses, self._bot_id, tick.now)
        tally = Tally()
        try:
            with ThreadPoolExecutor(self._writers) as writers:
                run = _Run(
                    now=tick.now,
                    models=models,
                    population=known,
                    is_time_up=lambda: remaining_seconds() <= RESERVE_SECONDS,
                    writers=writers,
                    report=report,
                    tally=tally,
                )
                for users in batched(self._due(tick), self._batch, strict=False):
                    if run.is_time_up():
                        report.finished = False
                    if not report.finished:
                        break
                    self._score(users, run)
        finally:
            if tally.users:
                self._censuses.add(self._bot_id, tick.now.date(), tick.shard, tally.census())
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
        patterns = [pattern for _, pattern in found]
        rows = [features(pattern, run.now) for pattern in patterns]
        scores, scored_by = self._predict_churn(patterns, rows, run)
        moods = self._predict_moods(patterns, run)
        settled = run.writers.map(self._settle, found, scores, moods, repeat(scored_by), repeat(run))
        for (seen, pattern), row, given, result in zip(found, rows, scores, settled, strict=True):
            if result.recorded is None:
                run.report.finished = False
            elif result.recorded:
                run.report.scored += 1
                if seen.bot_id == self._bot_id:
                    run.tally.count(pattern, row, given, result.outcome, run.now)
            else:
                run.report.scored_elsewhere += 1
            if result.planned:
                run.report.planned[result.planned.outreach_type.value] += 1
            run.report.not_planned.update(reason.value for reason in result.not_planned)

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

    def _predict_churn(
        self, patterns: Sequence[Pattern], rows: Sequence[tuple[float, ...]], run: _Run
    ) -> tuple[list[ChurnScores], str]:
        """Return the scores, in one call of the model, and who gave them."""
        if run.models and run.models.churn:
            try:
                scores = run.models.churn.predict(rows)
            except ModelUnavailableError:
                scores = []
            # A model that answers with anything but probabilities is as good as missing.
            if len(scores) == len(patterns) and all(map(_are_probabilities, scores)):
                return scores, run.models.churn.version
            run.report.fell_back = True
        return [rule_scores(pattern, run.now) for pattern in patterns], RULES

    def _predict_moods(self, patterns: Sequence[Pattern], run: _Run) -> list[float]:
        """Return what each user's next messages are expected to be like, [-1, 1], in one call of the model."""
        if run.models and run.models.mood:
            try:
                moods = run.models.mood.predict(
                    [mood_features(pattern, run.population, run.now) for pattern in patterns]
                )
            except ModelUnavailableError:
                moods = []
            if len(moods) == len(patterns) and all(-1 <= mood <= 1 for mood in moods):
                return moods
            run.report.fell_back = True
        return [mood_level(pattern, run.population, run.now).level for pattern in patterns]

    def _predict_hours(self, pattern: Pattern, run: _Run) -> Sequence[float]:
        """Return how good each UTC hour of day is for the user; asked for the few only who are to be written to."""
        if run.models and run.models.timing:
            try:
                (shares,) = run.models.timing.predict([hour_features(pattern, run.population, run.now)])
            except ModelUnavailableError:
                shares = ()
            if len(shares) == HOURS_OF_DAY and all(0 <= share <= 1 for share in shares):
                return shares
            run.report.fell_back = True
        return hour_shares(pattern, run.population, run.now)

    def _settle(self, found: _Found, scores: ChurnScores, mood: float, scored_by: str, run: _Run) -> _Settled:
        seen, pattern = found
        if run.is_time_up():
            return _Settled(None)
        planned, not_planned = self._plan(found, scores, run)
        scored = Scored(
            churn=scores,
            by=scored_by,
            mood=mood,
            watched=watch(seen.watched, pattern, scores.churn_7d, scored_by, run.now),
        )
        recorded = self._scores.record(seen, scored, now=run.now, next_due_at=next_due_at(pattern, run.now))
        return _Settled(recorded, planned, not_planned, ripen(seen.watched, pattern, run.now))

    def _plan(self, found: _Found, scores: ChurnScores, run: _Run) -> tuple[Outreach | None, list[Reason]]:
        """Plan the most urgent message that the gate permits; return it, and why the others were not planned."""
        seen, pattern = found
        # Most patterns call for nothing: who the users are and what they were sent is read for the others only.
        if not self._called_for(found, scores, (), run):
            return None, []
        profile = self._profiles.get(seen.bot_id, seen.user_id)
        if profile is None:
            return None, [Reason.NO_PROFILE]
        history = self._outreaches.of_user(seen.bot_id, seen.user_id)
        called_for = self._called_for(found, scores, history, run)
        if not called_for:
            return None, [Reason.RESTING]
        refused = []
        for number, candidate in enumerate(called_for, 1):
            answer = self._planner.prepare(
                candidate,
                profile,
                pattern,
                run.now,
                history=history,
                covariate=1 - scores.churn_7d,
                context=context_of(pattern, candidate.outreach_type, scores, run.now),
                best_time=lambda is_open, at: self._best_time(pattern, run, is_open, at),
                uplift=run.models.uplift if run.models else None,
            )
            if isinstance(answer, Reason):
                refused.append(answer)
                continue
            outranked = [Reason.OUTRANKED] * (len(called_for) - number)
            if self._outreaches.plan(answer):
                return answer, [*refused, *outranked]
            # Another run was faster, and one message a pass is enough.
            return None, [*refused, Reason.ALREADY_PLANNED, *outranked]
        return None, refused

    def _called_for(
        self, found: _Found, scores: ChurnScores, history: Sequence[Outreach], run: _Run
    ) -> tuple[Candidate, ...]:
        seen, pattern = found
        trend = mood_trend(pattern, run.population, run.now)
        asked = seen.asked_at is not None
        return candidates(pattern, scores, self._thresholds, trend, history, run.now, asked=asked)

    def _best_time(self, pattern: Pattern, run: _Run, is_open: IsOpen, at: datetime) -> datetime:
        return send_time(self._predict_hours(pattern, run), run.population.weekdays, is_open, at)


def _are_probabilities(scores: ChurnScores) -> bool:
    """NaN is no probability either: it compares as false."""
    return all(0 <= score <= 1 for score in (scores.churn_7d, scores.churn_14d, scores.churn_30d))
