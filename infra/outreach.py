"""Schedules -> scorer -> due index -> outreach_sender -> Telegram: who needs a message, and sending it."""

from aws_cdk import Duration
from constructs import Construct

from engagement.settings import OutreachSenderSettings, ScorerSettings
from infra.function import EngagementFunction, Surroundings
from infra.schedule import Schedule

SCORER_EVERY = Duration.minutes(30)
SENDER_EVERY = Duration.minutes(5)
SENDER_TIMEOUT_SECONDS = 270
"""Below the sender's interval, so that one run ends before the next begins."""
LEASE_MARGIN_SECONDS = 30
"""Clocks of two copies differ; a claim outlives its function by more than that."""


class Outreach(Construct):
    """The scorer, which plans, and the sender."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings) -> None:
        super().__init__(scope, construct_id)
        config, storage = surroundings.config, surroundings.storage
        self.scorer = EngagementFunction(
            self,
            "Scorer",
            name="scorer",
            settings=ScorerSettings(
                table_name=storage.table.table_name,
                bot_id=config.bot_id,
                model_bucket=storage.models.bucket_name,
                consent_policy=config.consent_policy,
                churn_threshold=config.churn_threshold,
                checkin_threshold=config.checkin_threshold,
                max_outreaches_per_user_per_day=config.max_outreaches_per_user_per_day,
                min_hours_between_outreaches=config.min_hours_between_outreaches,
                quiet_hours=config.quiet_hours,
                ml_prediction_enabled=config.ml_prediction_enabled,
            ),
            surroundings=surroundings,
            timeout=Duration.minutes(10),
            memory_size=1024,
            models=("churn", "timing", "mood"),
            layers=[surroundings.inference],
        )
        Schedule(
            self,
            "ScorerSchedule",
            function=self.scorer,
            every=SCORER_EVERY,
            shards=config.score_shards,
            surroundings=surroundings,
        )
        self.sender = EngagementFunction(
            self,
            "OutreachSender",
            name="outreach_sender",
            settings=OutreachSenderSettings(
                table_name=storage.table.table_name,
                bot_id=config.bot_id,
                bot_token_parameter=config.bot_token_parameter,
                telegram_api_url=config.telegram_api_url,
                consent_policy=config.consent_policy,
                max_outreaches_per_user_per_day=config.max_outreaches_per_user_per_day,
                min_hours_between_outreaches=config.min_hours_between_outreaches,
                quiet_hours=config.quiet_hours,
                sends_per_second=config.sends_per_second,
                lease_seconds=SENDER_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS,
                outreach_enabled=config.outreach_enabled,
            ),
            surroundings=surroundings,
            timeout=Duration.seconds(SENDER_TIMEOUT_SECONDS),
            reserved_concurrency=1,  # Telegram's limits are per bot: one copy keeps to them
        )
        Schedule(self, "SenderSchedule", function=self.sender, every=SENDER_EVERY, surroundings=surroundings)
