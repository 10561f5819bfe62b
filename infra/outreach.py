"""Schedules -> scorer -> due index -> outreach_sender -> Telegram: who needs a message, and sending it."""

from collections.abc import Iterator

from aws_cdk import Duration, Stack
from constructs import Construct

from engagement.settings import OutreachSenderSettings, ScorerSettings
from infra.function import EngagementFunction, Surroundings
from infra.schedule import Schedule

SCORER_EVERY = Duration.minutes(30)
SENDER_EVERY = Duration.minutes(5)
SENDER_TIMEOUT_SECONDS = 270
"""Below the sender's interval, so that one run ends before the next begins."""
GLOBAL = "global."
"""Begins the names of Bedrock's profiles that run a model in any region."""
LEASE_MARGIN_SECONDS = 30
"""Clocks of two copies differ; a claim outlives its function by more than that."""


class Outreach(Construct):
    """The scorer, which plans, and the sender."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings) -> None:
        super().__init__(scope, construct_id)
        config, storage = surroundings.config, surroundings.storage
        self._config = config
        self.scorer = EngagementFunction(
            self,
            "Scorer",
            name="scorer",
            settings=ScorerSettings(
                table_name=storage.table.table_name,
                bot_id=config.bot_id,
                model_bucket=storage.models.bucket_name,
                ml_prediction_enabled=config.ml_prediction_enabled,
                template_choice=config.template_choice,
                **config.planning,
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
                callback_key_parameter=config.callback_key_parameter,
                helplines=config.helplines,
                telegram_api_url=config.telegram_api_url,
                model_bucket=storage.models.bucket_name,
                ml_prediction_enabled=config.ml_prediction_enabled,
                sends_per_second=config.sends_per_second,
                lease_seconds=SENDER_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS,
                ai_model=config.ai_model,
                ai_daily_budget=config.ai_daily_budget,
                ai_key_parameter=config.ai_key_parameter,
                ai_api_url=config.ai_api_url,
                **config.planning,
            ),
            surroundings=surroundings,
            timeout=Duration.seconds(SENDER_TIMEOUT_SECONDS),
            models=("churn",),
            layers=[surroundings.inference],
            reserved_concurrency=1,  # Telegram's limits are per bot: one copy keeps to them
        )
        Schedule(self, "SenderSchedule", function=self.sender, every=SENDER_EVERY, surroundings=surroundings)

    def allow_language_model(self) -> None:
        """Permit the sender to ask the one language model that the operator chose, if any."""
        config = self._config
        if config.ai_message_enhancement == "bedrock":
            for arn in self._bedrock_models(config.bedrock_model):
                self.sender.allow("bedrock:InvokeModel", on=arn)
        elif config.ai_message_enhancement != "off":
            self.sender.allow_secret(config.ai_key_parameter)

    def _bedrock_models(self, model: str) -> Iterator[str]:
        """Yield what may be invoked: a model of this region, or a global profile and the model behind it.

        https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html asks for all three.
        """
        stack = Stack.of(self)
        name = model.removeprefix(GLOBAL)
        yield stack.format_arn(service="bedrock", account="", resource="foundation-model", resource_name=name)
        if model.startswith(GLOBAL):
            yield stack.format_arn(service="bedrock", resource="inference-profile", resource_name=model)
            yield stack.format_arn(
                service="bedrock", account="", region="", resource="foundation-model", resource_name=name
            )
