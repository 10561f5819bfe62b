"""Questions about one user: will they stay away, how do they feel, when do they talk, and what to do next?

The answers come from the pattern as it is now, with the same features and models as the scheduled pass
(`services.scoring`). Where a model is missing or cannot answer, its rule does, and `scored_by` says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from engagement.domain.actions import Action, rank_actions
from engagement.domain.explanation import SILENCE, TYPICAL, TYPICAL_SILENCE, Factor, factors, typical_row, variants
from engagement.domain.features import NAMES, features, silence_days
from engagement.domain.mood import KAPPA, Direction, mood_features, mood_level, mood_trend
from engagement.domain.pattern import DAY, EMPTY, HOURS_OF_DAY, Pattern
from engagement.domain.planning import Thresholds, send_time
from engagement.domain.population import Population
from engagement.domain.profile import Profile
from engagement.domain.quiet import open_hours
from engagement.domain.scores import ACTIVE_DAYS, ChurnScores, rule
from engagement.domain.tick import Tick
from engagement.domain.timing import hour_features, hour_shares
from engagement.domain.zone import QUIET
from engagement.errors import ModelUnavailableError, UnknownUserError
from engagement.services.models import RULES, Models

MOOD_DAYS = 60
"""The furthest that a mood is forecast: the mood model's labels are messages of the next 60 days."""
TOP_HOURS = 3
NOTHING_KNOWN = 0.5
"""Confidence in a churn prediction for somebody without any history: a coin's."""
TWO_SIDED_95 = 1.96
"""Standard errors."""
MIN_SAMPLES = 500
"""The guide's MIN_TRAINING_SAMPLES."""


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...


class PatternReader(Protocol):
    """Where patterns are read, consistently; see `store.patterns`."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read one."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read, consistently; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one."""
        ...


class TrainingReport(Protocol):
    """What a training run came to; see `services.training`."""

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it, under the guide's names."""
        ...


class Trainer(Protocol):
    """Trains, judges and promotes; see `services.training`."""

    def train_models(self, tick: Tick, min_samples: int, remaining_seconds: Callable[[], float]) -> TrainingReport:
        """Train every model from the tick's share of the users."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnPrediction:
    """Whether a user stays away.

    Attributes:
        prediction: probability [0, 1] of no interaction within the next 14 days.
        by_horizon: within the next 7, 14 and 30 days.
        confidence: probability [0.5, 1] that the likelier of the two outcomes is the one that comes.
        contributing_factors: what makes the prediction differ from a typical user's, the largest first; none for
            somebody without any history, whose prediction is a typical user's.
        scored_by: version of the model, or "rules".
    """

    prediction: float
    by_horizon: ChurnScores
    confidence: float
    contributing_factors: tuple[Factor, ...]
    scored_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodPrediction:
    """How a user's messages feel, in the sentiment's units, [-1, 1].

    Attributes:
        level: what messages written now are expected to be like.
        forecast: what messages written `days_ahead` from now are expected to be like. A level, no trend drawn on:
            moods return to what is usual for a user, so what was different lately fades with the days.
        interval: 95 % interval of `forecast`, as the user's mean; one message scatters far wider.
        direction: steady unless the last fortnight differs from the weeks before by more than two standard errors.
        change: that difference.
        confidence: how much of the user's usual level is their own messages', [0, 1); the rest is the population's.
        days_ahead: as asked.
        scored_by: version of the model, or "rules".
    """

    level: float
    forecast: float
    interval: tuple[float, float]
    direction: Direction
    change: float
    confidence: float
    days_ahead: int
    scored_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPrediction:
    """When a user starts to talk.

    Attributes:
        hours: share of the user's sessions that start in each UTC hour of day; 24 numbers that sum to 1.
        best_hour: the UTC hour with the largest share.
        best_at: the middle of the best hour within the next day that is none of their quiet ones, aware UTC.
        top_hours: the best three hours, the best first.
        confidence: share of the user's sessions expected in the best three hours, [0.125, 1].
        scored_by: version of the model, or "rules".
    """

    hours: tuple[float, ...]
    best_hour: int
    best_at: datetime
    top_hours: tuple[int, ...]
    confidence: float
    scored_by: str


class BehavioralPredictor:
    """The guide's predictor."""

    def __init__(
        self,
        *,
        bot_id: int,
        patterns: PatternReader,
        profiles: ProfileReader,
        population: Callable[[datetime], Population],
        models: Models | None,
        thresholds: Thresholds,
        quiet: tuple[int, int] = QUIET,
        trainer: Trainer | None = None,
    ) -> None:
        """Wire it.

        Args:
            bot_id: whose users are asked about.
            patterns: where they are read.
            profiles: who the users are.
            population: what the bot's users are like at a time.
            models: those that serve; None answers by rules alone.
            thresholds: the scores from which we write.
            quiet: first local hour without messages and the hour in which they end.
            trainer: None where this installation does not train.
        """
        self._bot_id = bot_id
        self._patterns = patterns
        self._profiles = profiles
        self._population = population
        self._models = models
        self._thresholds = thresholds
        self._quiet = quiet
        self._trainer = trainer

    def predict_churn_risk(self, user_id: int, *, now: datetime) -> ChurnPrediction:
        """Predict whether a user stays away for two weeks, and say why.

        Args:
            user_id: Telegram's id of the user.
            now: aware UTC; silence up to here counts.

        Raises:
            UnknownUserError: the user never wrote to the bot.
            BadPatternError: the stored pattern cannot be read.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return self._churn(self._pattern(user_id), now)

    def predict_mood_trend(self, user_id: int, days_ahead: int = 7, *, now: datetime) -> MoodPrediction:
        """Predict how a user's messages will feel, and say whether that changed.

        Args:
            user_id: Telegram's id of the user.
            days_ahead: when the messages are written, days from `now`, [0, `MOOD_DAYS`].
            now: aware UTC.

        Raises:
            ValueError: `days_ahead` is out of range.
            UnknownUserError, BadPatternError, StoreUnavailableError: as for `predict_churn_risk`.
        """
        if not 0 <= days_ahead <= MOOD_DAYS:
            raise ValueError(f"a mood is forecast for 0 to {MOOD_DAYS} days, not {days_ahead}")
        pattern, population = self._pattern(user_id), self._population(now)
        then = now + timedelta(days=days_ahead)
        (level, forecast), scored_by = self._mood(pattern, population, (now, then))
        known = mood_level(pattern, population, then)
        reach = TWO_SIDED_95 * known.standard_error
        trend = mood_trend(pattern, population, now)
        return MoodPrediction(
            level=level,
            forecast=forecast,
            interval=(max(forecast - reach, -1.0), min(forecast + reach, 1.0)),
            direction=trend.direction,
            change=trend.change,
            confidence=known.messages / (known.messages + KAPPA),
            days_ahead=days_ahead,
            scored_by=scored_by,
        )

    def predict_optimal_timing(self, user_id: int, *, now: datetime) -> TimingPrediction:
        """Predict at which hours of the UTC day a user starts to talk, and when they are best written to.

        Args:
            user_id: Telegram's id of the user.
            now: aware UTC.

        Raises:
            UnknownUserError, BadPatternError, StoreUnavailableError: as for `predict_churn_risk`.
        """
        pattern, profile, population = self._pattern(user_id), self._profile(user_id), self._population(now)
        shares, scored_by = self._hours(pattern, population, now)
        ranked = sorted(range(HOURS_OF_DAY), key=lambda hour: (-shares[hour], hour))
        return TimingPrediction(
            hours=shares,
            best_hour=ranked[0],
            best_at=send_time(shares, population.weekdays, open_hours(pattern, profile, self._quiet), now),
            top_hours=tuple(ranked[:TOP_HOURS]),
            confidence=sum(shares[hour] for hour in ranked[:TOP_HOURS]),
            scored_by=scored_by,
        )

    def recommend_next_action(self, user_id: int, *, now: datetime, milestone: str | None = None) -> tuple[Action, ...]:
        """Rank all outreach types for a user, the best first, each with why or why not.

        Where even the first scores 0, nothing is called for.

        Args:
            user_id: Telegram's id of the user.
            now: aware UTC.
            milestone: display name of a milestone that the user reached within the last day.

        Raises:
            UnknownUserError, BadPatternError, StoreUnavailableError: as for `predict_churn_risk`.
        """
        pattern = self._pattern(user_id)
        trend = mood_trend(pattern, self._population(now), now)
        scores = self._churn(pattern, now).by_horizon
        return rank_actions(pattern, scores, trend, self._thresholds, now, milestone=milestone)

    def train_models(
        self,
        min_samples: int = MIN_SAMPLES,
        *,
        now: datetime,
        remaining_seconds: Callable[[], float] = lambda: DAY,
    ) -> dict[str, Any]:
        """Train every model on the users who consented, and promote what is better than what serves.

        Args:
            min_samples: with fewer labelled examples a model is left as it is.
            now: aware UTC; what happened up to here is learned from.
            remaining_seconds: how long it may still take, asked again and again; a day where nobody says.

        Returns:
            models_trained: names of the models that serve from now on; and results: for each `<name>_model` its
            outcome, the reason for it in words, samples and metrics. "accuracy" of the churn model (at a probability
            of one half, 14 days ahead) is None where none was trained.

        Raises:
            ModelUnavailableError: nothing trains here.
            StoreUnavailableError, ModelRegistryError: DynamoDB or S3 is in trouble.
        """
        if self._trainer is None:
            raise ModelUnavailableError("no trainer was given: nothing trains here")
        tick = Tick(now=now, shard=0, of=1)
        summary = self._trainer.train_models(tick, min_samples, remaining_seconds).summary()
        summary["results"].setdefault("churn_model", {}).setdefault("accuracy", None)
        return summary

    def _pattern(self, user_id: int) -> Pattern:
        """Read the pattern; an empty one for somebody who has a profile and no history yet."""
        stored = self._patterns.load(self._bot_id, user_id)
        if stored is not None:
            return stored.pattern
        self._profile(user_id)
        return EMPTY

    def _profile(self, user_id: int) -> Profile:
        profile = self._profiles.get(self._bot_id, user_id)
        if profile is None:
            raise UnknownUserError(f"no user {user_id} is known to bot {self._bot_id}")
        return profile

    def _churn(self, pattern: Pattern, now: datetime) -> ChurnPrediction:
        scored, scored_by, names = self._scores(pattern, now)
        prediction = scored[0].churn_14d
        explained: tuple[Factor, ...] = ()
        confidence = NOTHING_KNOWN
        if pattern.total:
            confidence = max(prediction, 1 - prediction)
            explained = factors(names, [scores.churn_14d for scores in scored], pattern, now)
        return ChurnPrediction(
            prediction=prediction,
            by_horizon=scored[0],
            confidence=confidence,
            contributing_factors=explained,
            scored_by=scored_by,
        )

    def _scores(self, pattern: Pattern, now: datetime) -> tuple[list[ChurnScores], str, Sequence[str]]:
        """Return the scores as they are and with each of the names replaced by a typical user's; and who gave them."""
        # Endless silence is what the features of an empty pattern say; a user without history is new, not gone.
        model = self._models.churn if self._models else None
        if model:
            typical = typical_row(model.card)
            row = features(pattern, now) if pattern.total else typical
            try:
                return model.predict(variants(row, typical)), model.version, NAMES
            except ModelUnavailableError:
                pass
        row = features(pattern, now) if pattern.total else TYPICAL
        active, silence = row[ACTIVE_DAYS], silence_days(pattern, now) if pattern.total else TYPICAL_SILENCE
        scored = [rule(active, silence), rule(TYPICAL[ACTIVE_DAYS], silence), rule(active, TYPICAL_SILENCE)]
        return scored, RULES, (NAMES[ACTIVE_DAYS], SILENCE)

    def _mood(self, pattern: Pattern, population: Population, times: Sequence[datetime]) -> tuple[list[float], str]:
        model = self._models.mood if self._models else None
        if model:
            try:
                return model.predict([mood_features(pattern, population, time) for time in times]), model.version
            except ModelUnavailableError:
                pass
        return [mood_level(pattern, population, time).level for time in times], RULES

    def _hours(self, pattern: Pattern, population: Population, now: datetime) -> tuple[tuple[float, ...], str]:
        model = self._models.timing if self._models else None
        if model:
            try:
                return model.predict([hour_features(pattern, population, now)])[0], model.version
            except ModelUnavailableError:
                pass
        return hour_shares(pattern, population, now), RULES
