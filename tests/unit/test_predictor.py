"""Questions about one user: honest answers with and without models, for known, new and unknown users."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import exp, log
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.actions import ActionReason
from engagement.domain.explanation import SILENCE, TYPICAL, TYPICAL_SILENCE
from engagement.domain.features import NAMES, features
from engagement.domain.interaction import SentimentType
from engagement.domain.mood import Direction, mood_level
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.planning import Thresholds
from engagement.domain.population import BUNDLED
from engagement.domain.profile import Profile
from engagement.domain.scores import ACTIVE_DAYS, ChurnScores, rule, rule_scores
from engagement.domain.tick import Tick
from engagement.errors import ModelUnavailableError, UnknownUserError
from engagement.services.models import RULES
from engagement.services.predictor import MOOD_DAYS, NOTHING_KNOWN, BehavioralPredictor
from tests.builders import NOW, interaction, pattern_of, profile, silent_for

KNOWN, NEW, STRANGER = 7, 8, 9
REGULAR = silent_for(12)
HORIZONS = ((3.3, 1.2), (2.9, 1.0), (2.4, 0.8))
"""Of the test models: start and slope."""


@dataclass
class Logit:
    """A churn model with known weights; remembers its calls."""

    version: str = "churn-1-test"
    card: Mapping[str, Any] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        self.calls.append(len(rows))
        return [ChurnScores(*(self.score(row, *horizon) for horizon in HORIZONS)) for row in rows]

    def score(self, row: tuple[float, ...], start: float, slope: float) -> float:
        return 1 / (1 + exp(-start - slope * self.evidence(row)))

    def evidence(self, row: tuple[float, ...]) -> float:
        return sum(w * x for w, x in zip((-0.3, -0.8, -0.9, 0.3, 0.6), row, strict=True))


class Forest(Logit):
    """A churn model without slopes: it knows two leaves."""

    def evidence(self, row: tuple[float, ...]) -> float:
        return -4.0 if row[2] > 0.1 or row[4] > 0.1 else 0.0


class Evening:
    """A timing model that has an opinion on 18 to 20 h."""

    version = "timing-1-test"

    def predict(self, users: Sequence[Sequence[tuple[float, ...]]]) -> list[tuple[float, ...]]:
        assert [len(user) for user in users] == [24]
        raw = [5.0 if hour in {18, 19, 20} else 1.0 for hour in range(24)]
        raw[19] = 8.0
        return [tuple(value / sum(raw) for value in raw)]


class Gloomy:
    """A mood model that takes a tenth off the level."""

    version = "mood-1-test"

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[float]:
        return [row[0] - 0.1 for row in rows]


class Broken:
    """Any model whose file turned out to be damaged."""

    version = "broken"
    card: Mapping[str, Any] = {}

    def predict(self, rows: object) -> list[Any]:
        raise ModelUnavailableError("the model did not answer")


@dataclass(frozen=True)
class Patterns:
    patterns: Mapping[int, Pattern]

    def load(self, bot_id: int, user_id: int) -> SimpleNamespace | None:
        found = self.patterns.get(user_id) if bot_id == 1 else None
        return found if found is None else SimpleNamespace(pattern=found)


class Profiles:
    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return profile(user_id=user_id) if user_id in {KNOWN, NEW} else None


def predictor(
    pattern: Pattern = REGULAR, *, churn: Any = None, timing: Any = None, mood: Any = None, trainer: Any = None
) -> BehavioralPredictor:
    return BehavioralPredictor(
        bot_id=1,
        patterns=Patterns({KNOWN: pattern}),
        profiles=Profiles(),
        population=lambda _: BUNDLED,
        models=SimpleNamespace(churn=churn, timing=timing, mood=mood),
        thresholds=Thresholds(re_engagement=0.8, checkin=0.6),
        trainer=trainer,
    )


def felt(*spells: tuple[float, int, int]) -> Pattern:
    """Somebody who wrote daily with each (sentiment, from, to) so many days ago."""
    days = [(day, score) for score, oldest, newest in spells for day in range(newest, oldest + 1)]
    return fold(
        EMPTY,
        [
            interaction(number, NOW - timedelta(days=day), sentiment=score, sentiment_type=SentimentType.NEUTRAL)
            for number, (day, score) in enumerate(days)
        ],
    )


# --- churn ---


def test_the_prediction_is_what_the_model_says_of_the_features_now() -> None:
    model = Logit()

    answer = predictor(churn=model).predict_churn_risk(KNOWN, now=NOW)

    (expected,) = Logit().predict([features(REGULAR, NOW)])
    assert answer.by_horizon == expected
    assert answer.prediction == expected.churn_14d
    assert answer.scored_by == "churn-1-test"


def test_a_prediction_and_its_explanation_cost_one_call_of_the_model() -> None:
    model = Logit()

    predictor(churn=model).predict_churn_risk(KNOWN, now=NOW)

    assert model.calls == [1 + len(NAMES)]


def log_odds(scores: ChurnScores) -> float:
    return log(scores.churn_14d / (1 - scores.churn_14d))


def test_the_effects_add_up_to_the_distance_from_a_typical_user_at_two_weeks() -> None:
    by_model = predictor(churn=Logit()).predict_churn_risk(KNOWN, now=NOW)
    by_rule = predictor().predict_churn_risk(KNOWN, now=NOW)

    (typical,) = Logit().predict([TYPICAL])
    effects = sum(factor.effect for factor in by_model.contributing_factors)
    assert effects == pytest.approx(log_odds(by_model.by_horizon) - log_odds(typical), abs=0.03)
    typical = rule(TYPICAL[ACTIVE_DAYS], TYPICAL_SILENCE)
    effects = sum(factor.effect for factor in by_rule.contributing_factors)
    assert effects == pytest.approx(log_odds(by_rule.by_horizon) - log_odds(typical), abs=0.01)


def test_the_factors_say_in_words_what_the_user_did_the_weightiest_first() -> None:
    regular = pattern_of(NOW - timedelta(days=3 + 2 * day) for day in range(9))

    answer = predictor(regular, churn=Logit()).predict_churn_risk(KNOWN, now=NOW)

    words = {factor.feature: factor.words for factor in answer.contributing_factors}
    assert words["active_days_30"] == "active on 9 of the last 30 days"
    assert words["own_gap_log_odds"] == "silent for 3 days, usually every 2 days"
    sizes = [abs(factor.effect) for factor in answer.contributing_factors]
    assert sizes == sorted(sizes, reverse=True)


def test_any_model_can_be_explained_even_one_without_slopes() -> None:
    away = silent_for(40)

    answer = predictor(away, churn=Forest()).predict_churn_risk(KNOWN, now=NOW)

    # A typical user is in the other leaf by their activity: only what keeps this one apart counts, and alone it cannot.
    assert {factor.feature for factor in answer.contributing_factors} <= set(NAMES)
    assert all(abs(factor.effect) < 30 for factor in answer.contributing_factors)


@pytest.mark.parametrize("churn", [None, Logit(), Forest(), Broken()])
@given(silence=st.floats(0, 400), active_days=st.integers(1, 60))
def test_the_confidence_is_the_probability_of_the_likelier_outcome(
    churn: Any, silence: float, active_days: int
) -> None:
    answer = predictor(silent_for(silence, active_days), churn=churn).predict_churn_risk(KNOWN, now=NOW)

    assert answer.confidence == max(answer.prediction, 1 - answer.prediction)
    assert 0.5 <= answer.confidence <= 1


def test_silence_alone_moves_the_prediction() -> None:
    """A score never freezes: the pattern is the same, the time is not."""
    asked = predictor(churn=Logit())

    risks = [asked.predict_churn_risk(KNOWN, now=NOW + timedelta(days=day)).prediction for day in range(0, 40, 4)]

    assert risks == sorted(risks)
    assert len(set(risks)) == len(risks)


@pytest.mark.parametrize("model", [None, Broken()])
def test_without_a_usable_model_the_rule_answers_and_says_so(model: Any) -> None:
    """R33."""
    answer = predictor(churn=model).predict_churn_risk(KNOWN, now=NOW)

    assert answer.by_horizon == rule_scores(REGULAR, NOW)
    assert answer.scored_by == RULES
    assert {factor.feature for factor in answer.contributing_factors} <= {"active_days_30", SILENCE}


def test_the_typical_user_is_of_those_that_the_model_was_trained_on() -> None:
    edges = [[0.0] * 9 + [1.0] for _ in NAMES]
    of_regulars = Logit(card={"reference": {"feature_bins": edges}})

    lapsed = predictor(silent_for(5, 3), churn=of_regulars).predict_churn_risk(KNOWN, now=NOW)

    effect = {factor.feature: factor.effect for factor in lapsed.contributing_factors}
    usual = {
        factor.feature: factor.effect
        for factor in predictor(silent_for(5, 3), churn=Logit()).predict_churn_risk(KNOWN, now=NOW).contributing_factors
    }
    assert effect["active_days_90"] > usual["active_days_90"]


# --- new and unknown users ---


Ask = Callable[[BehavioralPredictor, int], object]
QUESTIONS: dict[str, Ask] = {
    "churn": lambda asked, user: asked.predict_churn_risk(user, now=NOW),
    "mood": lambda asked, user: asked.predict_mood_trend(user, now=NOW),
    "timing": lambda asked, user: asked.predict_optimal_timing(user, now=NOW),
    "action": lambda asked, user: asked.recommend_next_action(user, now=NOW),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_a_stranger_is_an_error_that_names_them(question: str) -> None:
    with pytest.raises(UnknownUserError, match="no user 9 is known to bot 1"):
        QUESTIONS[question](predictor(), STRANGER)


@pytest.mark.parametrize("churn", [None, Logit()])
def test_of_somebody_without_any_history_the_population_is_the_answer_and_nobody_is_sure(churn: Any) -> None:
    """R34: a new user gets finite answers, and is not taken for somebody who left."""
    asked = predictor(churn=churn)

    risk = asked.predict_churn_risk(NEW, now=NOW)
    mood = asked.predict_mood_trend(NEW, now=NOW)
    timing = asked.predict_optimal_timing(NEW, now=NOW)

    assert 0.4 < risk.prediction < 0.95
    assert risk.confidence == NOTHING_KNOWN
    assert risk.contributing_factors == ()
    assert (mood.level, mood.forecast, mood.confidence) == (BUNDLED.mood, BUNDLED.mood, 0.0)
    assert mood.direction is Direction.STEADY
    assert timing.hours == pytest.approx(BUNDLED.hours)
    assert {action.score for action in asked.recommend_next_action(NEW, now=NOW)} == {0.0}


def test_a_new_users_risk_is_a_typical_users() -> None:
    (typical,) = Logit().predict([TYPICAL])

    assert predictor(churn=Logit()).predict_churn_risk(NEW, now=NOW).by_horizon == typical


# --- mood ---


def test_a_mood_turns_only_beyond_two_standard_errors() -> None:
    darker = predictor(felt((0.6, 40, 15), (-0.6, 13, 0))).predict_mood_trend(KNOWN, now=NOW)
    brighter = predictor(felt((-0.6, 40, 15), (0.6, 13, 0))).predict_mood_trend(KNOWN, now=NOW)
    hardly = predictor(felt((0.2, 40, 15), (0.15, 13, 0))).predict_mood_trend(KNOWN, now=NOW)

    assert (darker.direction, brighter.direction, hardly.direction) == (
        Direction.DECLINING,
        Direction.IMPROVING,
        Direction.STEADY,
    )
    assert darker.change == pytest.approx(-1.2)


def test_a_mood_is_never_drawn_on_beyond_what_was_seen() -> None:
    """A trend does not extrapolate: what was different lately fades back to what is usual."""
    asked = predictor(felt((0.6, 40, 15), (-0.6, 13, 0)))

    forecasts = [asked.predict_mood_trend(KNOWN, days, now=NOW).forecast for days in (0, 7, 30, 60)]

    usual = mood_level(felt((0.6, 40, 15), (-0.6, 13, 0)), BUNDLED, NOW + timedelta(days=10_000)).level
    assert forecasts == sorted(forecasts)
    assert forecasts[-1] < usual
    assert asked.predict_mood_trend(KNOWN, 7, now=NOW).level == forecasts[0]


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 60)), max_size=40),
    st.integers(0, MOOD_DAYS),
    st.sampled_from((None, Gloomy())),
)
def test_a_mood_forecast_lies_inside_its_interval_and_the_scale(
    messages: list[tuple[float, int]], days_ahead: int, model: Any
) -> None:
    pattern = felt(*((score, day, day) for score, day in messages))
    asked = predictor(pattern, mood=model)

    mood = asked.predict_mood_trend(KNOWN, days_ahead, now=NOW)

    low, high = mood.interval
    assert -1 <= low < high <= 1
    assert low <= mood.forecast <= high
    assert 0 <= mood.confidence < 1
    assert mood.days_ahead == days_ahead


def test_more_messages_make_a_narrower_interval_and_more_confidence() -> None:
    few = predictor(felt((0.3, 4, 0))).predict_mood_trend(KNOWN, now=NOW)
    many = predictor(felt((0.3, 59, 0))).predict_mood_trend(KNOWN, now=NOW)

    assert many.interval[1] - many.interval[0] < few.interval[1] - few.interval[0]
    assert few.confidence == pytest.approx(5 / 35)
    assert many.confidence == pytest.approx(60 / 90)


def test_a_mood_model_that_serves_gives_the_forecast() -> None:
    pattern = felt((0.3, 20, 0))

    mood = predictor(pattern, mood=Gloomy()).predict_mood_trend(KNOWN, 0, now=NOW)

    assert mood.forecast == pytest.approx(mood_level(pattern, BUNDLED, NOW).level - 0.1)
    assert mood.scored_by == "mood-1-test"
    assert predictor(pattern, mood=Broken()).predict_mood_trend(KNOWN, now=NOW).scored_by == RULES


@pytest.mark.parametrize("days_ahead", [-1, MOOD_DAYS + 1])
def test_a_mood_is_not_forecast_for_the_past_or_for_next_year(days_ahead: int) -> None:
    with pytest.raises(ValueError, match=f"not {days_ahead}"):
        predictor().predict_mood_trend(KNOWN, days_ahead, now=NOW)


# --- timing ---


def test_the_best_hour_is_when_the_user_starts_to_talk() -> None:
    evenings = pattern_of(NOW.replace(hour=19) - timedelta(days=day) for day in range(1, 30))

    timing = predictor(evenings).predict_optimal_timing(KNOWN, now=NOW)

    assert timing.best_hour == 19
    assert timing.best_at == NOW.replace(hour=19, minute=30)
    assert set(timing.top_hours) == {18, 19, 20}
    assert timing.scored_by == RULES


@pytest.mark.parametrize("model", [None, Evening(), Broken()])
@given(days=st.lists(st.floats(0, 90), min_size=1, max_size=30), minutes=st.integers(0, 1_440))
def test_the_confidence_in_the_hours_is_their_share_and_the_time_is_within_a_day(
    model: Any, days: list[float], minutes: int
) -> None:
    now = NOW + timedelta(minutes=minutes)
    asked = predictor(pattern_of(NOW - timedelta(days=day) for day in days), timing=model)

    timing = asked.predict_optimal_timing(KNOWN, now=now)

    assert sum(timing.hours) == pytest.approx(1)
    assert timing.confidence == pytest.approx(sum(sorted(timing.hours)[-3:]))
    assert 3 / 24 - 1e-9 <= timing.confidence <= 1
    assert timing.hours[timing.best_hour] == max(timing.hours)
    assert now < timing.best_at <= now + timedelta(days=1)


def test_a_timing_model_that_serves_gives_the_hours() -> None:
    timing = predictor(timing=Evening()).predict_optimal_timing(KNOWN, now=NOW)

    assert (timing.best_hour, timing.top_hours, timing.scored_by) == (19, (19, 18, 20), "timing-1-test")


# --- next best action ---


def test_the_actions_are_ranked_by_the_users_own_scores_and_mood() -> None:
    lapsed = predictor(silent_for(40), churn=Logit()).recommend_next_action(KNOWN, now=NOW)
    sad = predictor(felt((0.6, 40, 15), (-0.6, 13, 0))).recommend_next_action(KNOWN, now=NOW)

    assert lapsed[0].outreach_type is OutreachType.RE_ENGAGEMENT
    assert lapsed[0].score == predictor(silent_for(40), churn=Logit()).predict_churn_risk(KNOWN, now=NOW).prediction
    assert sad[0].outreach_type is OutreachType.MOOD_SUPPORT
    assert len(lapsed) == len(sad) == len(OutreachType)


def test_a_milestone_that_was_just_reached_is_celebrated() -> None:
    first, *_ = predictor(silent_for(0)).recommend_next_action(KNOWN, now=NOW, milestone="Super Communicator")

    assert first.reason is ActionReason.MILESTONE_REACHED


# --- training ---


@dataclass
class Trainer:
    """The trainer's port."""

    results: dict[str, dict[str, Any]]
    asked: list[tuple[Tick, int]] = field(default_factory=list)

    def train_models(self, tick: Tick, min_samples: int, remaining_seconds: Callable[[], float]) -> SimpleNamespace:
        assert remaining_seconds() > 0
        self.asked.append((tick, min_samples))
        return SimpleNamespace(summary=lambda: {"models_trained": ["churn"], "results": self.results})


def test_training_is_passed_on_as_of_now_with_the_guides_fewest_samples() -> None:
    trainer = Trainer({"churn_model": {"accuracy": 0.81, "outcome": "promote"}})

    report = predictor(trainer=trainer).train_models(now=NOW)

    assert trainer.asked == [(Tick(now=NOW, shard=0, of=1), 500)]
    assert report["models_trained"] == ["churn"]
    assert report["results"]["churn_model"]["accuracy"] == 0.81


def test_a_churn_model_that_was_not_trained_has_no_accuracy() -> None:
    """R77: too little data is a result, not a failure."""
    trainer = Trainer({"churn_model": {"outcome": "too_little_data", "reason": "12 of 500 samples", "samples": 12}})

    report = predictor(trainer=trainer).train_models(min_samples=500, now=NOW)

    assert report["results"]["churn_model"]["accuracy"] is None
    assert report["results"]["churn_model"]["reason"] == "12 of 500 samples"


def test_where_nothing_trains_it_says_so() -> None:
    with pytest.raises(ModelUnavailableError, match="nothing trains here"):
        predictor().train_models(now=NOW)
