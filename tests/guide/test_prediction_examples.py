"""The guide's usage examples of the behavioral predictor, on a real table and with the models that come with the code.

They differ from the guide's text in two points: nothing is awaited, and every call is told what time it is (`now`).
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from engagement.clients.serving import ServingModels, serving_models
from engagement.domain.analysis import quality
from engagement.domain.features import features
from engagement.domain.interaction import EngagementType, Interaction
from engagement.domain.outreach import OutreachType
from engagement.domain.planning import Thresholds
from engagement.domain.sentiment import level, sentiment
from engagement.domain.tick import Tick
from engagement.domain.words import words
from engagement.services.analyzer import EngagementAnalyzer
from engagement.services.population import population_at
from engagement.services.predictor import BehavioralPredictor
from engagement.store.censuses import Censuses
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from tests.builders import NOW, interaction

ROOT = Path(__file__).parents[2]
BOT = 123456
MIN_SAMPLES = 500


class Trainer:
    """The trainer's port; the training itself has tests of its own."""

    def train_models(self, tick: Tick, min_samples: int, remaining_seconds: Callable[[], float]) -> SimpleNamespace:
        assert (tick.now, min_samples) == (NOW, MIN_SAMPLES)
        report = {
            "models_trained": ["churn"],
            "results": {"churn_model": {"accuracy": 0.78, "outcome": "promote"}, "mood_model": {"outcome": "keep"}},
        }
        return SimpleNamespace(summary=lambda: report)


@pytest.fixture
def models(aws: dict[str, str], tmp_path: Path) -> ServingModels:
    """What a function serves before anything was trained: the models that came with it."""
    bucket = f"models-{aws['AWS_ACCESS_KEY_ID']}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return serving_models(bucket, ROOT / "models", tmp_path)


@pytest.fixture
def predictor(table: str, models: ServingModels) -> BehavioralPredictor:
    return BehavioralPredictor(
        bot_id=BOT,
        patterns=Patterns(),
        profiles=Profiles(),
        population=lambda now: population_at(Censuses(), BOT, now),
        models=models,
        thresholds=Thresholds(re_engagement=0.8, checkin=0.6),
        trainer=Trainer(),
    )


@pytest.fixture
def analyzer(table: str) -> EngagementAnalyzer[Any]:
    return EngagementAnalyzer(Patterns(), Scores(), Profiles())


def says(text: str, user_id: int, update_id: int, days_ago: float, *, is_reply: bool = False) -> Interaction:
    """A message, measured as the webhook measures it."""
    found = words(text)
    score = sentiment(text, "en")
    return interaction(
        update_id,
        NOW - timedelta(days=days_ago),
        bot_id=BOT,
        user_id=user_id,
        sentiment=score,
        sentiment_type=level(score),
        quality=quality(
            EngagementType.MESSAGE, found, spoken_seconds=0, is_question=text.endswith("?"), is_reply=is_reply
        ),
    )


def daily(user_id: int, text: str, first_days_ago: int, last_days_ago: int) -> list[Interaction]:
    return [says(text, user_id, day, day) for day in range(last_days_ago, first_days_ago + 1)]


def test_advanced_integration_a_thoughtful_message_has_its_users_churn_predicted(
    predictor: BehavioralPredictor, analyzer: EngagementAnalyzer[Any], models: ServingModels
) -> None:
    """The guide's "Predict churn risk for high-value interactions"."""
    user_id = 7_000_000_001
    engagement = says(
        "I have been thinking about what you said on Monday, and I believe that small steps every morning, with tea "
        "and no phone at all, would suit me far better than another big plan; which one should I begin with?",
        user_id,
        100,
        days_ago=0,
        is_reply=True,
    )
    pattern = analyzer.update_user_behavior_patterns([*daily(user_id, "good morning", 20, 1), engagement])

    assert engagement.quality > 0.7
    churn_prediction = predictor.predict_churn_risk(user_id, now=NOW)

    assert models.churn is not None
    (expected,) = models.churn.predict([features(pattern, NOW)])
    assert churn_prediction.prediction == pytest.approx(expected.churn_14d, abs=1e-6)
    assert churn_prediction.prediction < 0.3
    assert churn_prediction.scored_by == models.churn.version
    assert "active on 21 of the last 30 days" in {factor.words for factor in churn_prediction.contributing_factors}


def test_advanced_integration_a_high_risk_calls_for_re_engagement(
    predictor: BehavioralPredictor, analyzer: EngagementAnalyzer[Any]
) -> None:
    """The guide's "High churn risk - immediate re-engagement": the prediction is what the outreach would carry."""
    user_id = 7_000_000_002
    analyzer.update_user_behavior_patterns(daily(user_id, "good morning", 104, 90))

    churn_prediction = predictor.predict_churn_risk(user_id, now=NOW)
    first, *_ = predictor.recommend_next_action(user_id, now=NOW)

    assert churn_prediction.prediction > 0.8
    assert first.outreach_type is OutreachType.RE_ENGAGEMENT
    assert first.score == churn_prediction.prediction


def test_usage_example_3_training_reports_what_was_trained_and_how_accurate_it_is(
    predictor: BehavioralPredictor,
) -> None:
    training_results = predictor.train_models(min_samples=MIN_SAMPLES, now=NOW)

    assert f"Models trained: {training_results['models_trained']}" == "Models trained: ['churn']"
    assert training_results["results"]["churn_model"]["accuracy"] == 0.78


def test_mood_trend_forecasting(predictor: BehavioralPredictor, analyzer: EngagementAnalyzer[Any]) -> None:
    """ "Mood trend forecasting": a fortnight of gloom after weeks of joy is a decline, and calls for support."""
    user_id = 7_000_000_003
    joy = daily(user_id, "this is wonderful, I love it, thank you so much", 55, 15)
    analyzer.update_user_behavior_patterns([*joy, *daily(user_id, "this is terrible, I hate it, so sad", 13, 0)])

    mood = predictor.predict_mood_trend(user_id, days_ahead=7, now=NOW)
    first, *_ = predictor.recommend_next_action(user_id, now=NOW)

    assert mood.direction == "declining"
    assert mood.interval[0] <= mood.forecast <= mood.interval[1]
    assert first.outreach_type is OutreachType.MOOD_SUPPORT


def test_optimal_timing_prediction(predictor: BehavioralPredictor, analyzer: EngagementAnalyzer[Any]) -> None:
    """ "Optimal timing prediction": somebody who writes at noon is best written to around noon."""
    user_id = 7_000_000_004
    analyzer.update_user_behavior_patterns(daily(user_id, "lunch", 40, 1))

    timing = predictor.predict_optimal_timing(user_id, now=NOW)

    assert timing.best_hour == 12
    assert timing.best_at == NOW + timedelta(minutes=30)
    assert timing.confidence > 0.3
