"""Weekly, or when asked: histories -> trained, judged models -> the champion pointers in S3."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.registry import ModelRegistry
from engagement.domain.champion import MODELS
from engagement.domain.tick import Tick
from engagement.services.training import Training, requested_samples
from engagement.settings import TrainerSettings
from engagement.store.histories import Histories
from engagement.store.table import SCAN_SECONDS, bind
from engagement.telemetry import count, logger, metrics
from models.weekly import train_all

settings = TrainerSettings.from_env()
bind(settings.table_name, read_seconds=SCAN_SECONDS)
BUNDLED = Path(__file__).parents[2] / "models"
training = Training(
    bot_id=settings.bot_id,
    histories=Histories(),
    registry=ModelRegistry(settings.model_bucket),
    train=train_all,
    bundled={name: BUNDLED / name for name in MODELS},
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Train on what the users who allow it did; say for each model what came of it, and why."""
    report = training.train_models(
        Tick.from_event(event),
        requested_samples(event, settings.min_training_samples),
        lambda: context.get_remaining_time_in_millis() / 1_000,
    )
    promoted = len(report.models_trained)
    count({"ModelsPromoted": promoted, "TrainingSamples": report.samples, "TrainingSeconds": report.seconds})
    summary = report.summary()
    logger.info("training run ended", **summary)
    return summary
