"""Schedule -> due patterns get their scores, and those about to leave an outreach."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.serving import serving_models
from engagement.domain.gate import Policy
from engagement.domain.planning import Thresholds
from engagement.domain.tick import Tick
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.scoring import Scoring
from engagement.settings import ScorerSettings
from engagement.store.censuses import Censuses
from engagement.store.outreaches import Outreaches
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from engagement.store.table import bind
from engagement.telemetry import count, logger, metrics

settings = ScorerSettings.from_env()
bind(settings.table_name)
BUNDLED = Path(__file__).parents[2] / "models"
CACHE = Path(tempfile.gettempdir()) / "champion"
look_up = partial(serving_models, settings.model_bucket, BUNDLED, CACHE)
outreaches = Outreaches()
scoring = Scoring(
    bot_id=settings.bot_id,
    scores=Scores(),
    profiles=Profiles(),
    outreaches=outreaches,
    censuses=Censuses(),
    planner=ProactiveOutreachService(outreaches),
    models=look_up if settings.ml_prediction_enabled == "on" else None,
    thresholds=Thresholds(re_engagement=settings.churn_threshold, checkin=settings.checkin_threshold),
    policy=Policy.of(settings),
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Score this tick's share of the users."""
    report = scoring.score_due(Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1_000)
    count(report.metrics())
    summary = report.summary()
    logger.info("scoring run ended", **summary)
    return summary
