"""Schedule -> due patterns get their scores, and those who may need a word an outreach."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.serving import serving_models
from engagement.domain import gate, planning, tick
from engagement.services.planner import Planner, recent_performance
from engagement.services.scoring import Scoring
from engagement.settings import ScorerSettings
from engagement.store import catalogue, censuses, outreaches, profiles, scores, statistics, table
from engagement.telemetry import count, logger, metrics

settings = ScorerSettings.from_env()
table.bind(settings.table_name)
BUNDLED = Path(__file__).parents[2] / "models"
CACHE = Path(tempfile.gettempdir()) / "champion"
look_up = partial(serving_models, settings.model_bucket, BUNDLED, CACHE)
performance = partial(recent_performance, statistics.Statistics(), settings.bot_id)
planner = Planner(
    gate.Policy.of(settings, enabled=settings.outreach_enabled == "on"),
    texts=catalogue.Catalogue(settings.bot_id).texts,
    performance=performance if settings.template_choice == "thompson" else None,
    ai=settings.ai_message_enhancement != "off",
)
scoring = Scoring(
    bot_id=settings.bot_id,
    scores=scores.Scores(),
    profiles=profiles.Profiles(),
    outreaches=outreaches.Outreaches(),
    censuses=censuses.Censuses(),
    planner=planner,
    models=look_up if settings.ml_prediction_enabled == "on" else None,
    thresholds=planning.Thresholds(
        re_engagement=settings.churn_threshold, checkin=settings.checkin_threshold, features=settings.named_features
    ),
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Score this tick's share of the users."""
    report = scoring.score_due(tick.Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1_000)
    count(report.metrics())
    summary = report.summary()
    logger.info("scoring run ended", **summary)
    return summary
