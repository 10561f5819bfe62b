"""Schedule -> housekeeper: what expired or was left behind, whether Telegram still reaches us, how the model does."""

from aws_cdk import Duration
from constructs import Construct

from engagement.settings import HousekeeperSettings
from infra.function import EngagementFunction, Surroundings
from infra.schedule import Schedule

EVERY = Duration.hours(1)


class Housekeeping(Construct):
    """The housekeeper."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings, webhook_url: str) -> None:
        super().__init__(scope, construct_id)
        config = surroundings.config
        self.housekeeper = EngagementFunction(
            self,
            "Housekeeper",
            name="housekeeper",
            settings=HousekeeperSettings(
                table_name=surroundings.storage.table.table_name,
                bot_id=config.bot_id,
                bot_token_parameter=config.bot_token_parameter,
                telegram_api_url=config.telegram_api_url,
                webhook_url=webhook_url,
                model_bucket=surroundings.storage.models.bucket_name,
                user_ttl_days=config.user_ttl_days,
                blocked_user_ttl_days=config.blocked_user_ttl_days,
            ),
            surroundings=surroundings,
            timeout=Duration.minutes(5),
            models=("churn",),
        )
        Schedule(self, "HousekeeperSchedule", function=self.housekeeper, every=EVERY, surroundings=surroundings)
