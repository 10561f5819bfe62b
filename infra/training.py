"""Weekly schedule -> trainer -> bucket of models: what the users who allow it did becomes better models."""

from aws_cdk import Duration
from constructs import Construct

from engagement.domain.champion import MODELS
from engagement.settings import TrainerSettings
from infra.function import EngagementFunction, Surroundings
from infra.schedule import WEEK, Schedule

MEMORY_SIZE = 1_769
"""MiB that buy one whole processor: training keeps one busy, and takes a fifth of the memory."""


class Training(Construct):
    """The trainer."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings) -> None:
        super().__init__(scope, construct_id)
        config, storage = surroundings.config, surroundings.storage
        self.trainer = EngagementFunction(
            self,
            "Trainer",
            name="trainer",
            settings=TrainerSettings(
                table_name=storage.table.table_name,
                bot_id=config.bot_id,
                model_bucket=storage.models.bucket_name,
                min_training_samples=config.min_training_samples,
            ),
            surroundings=surroundings,
            timeout=Duration.minutes(15),  # the longest there is
            memory_size=MEMORY_SIZE,
            models=MODELS,
            layers=[surroundings.training],
        )
        if config.training_enabled == "on":
            Schedule(self, "TrainerSchedule", function=self.trainer, every=WEEK, surroundings=surroundings)
