"""Stream of the table -> pattern_updater: new interactions become the user's pattern."""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from constructs import Construct

from engagement.settings import PatternUpdaterSettings
from infra.function import EngagementFunction, Surroundings


class Learning(Construct):
    """The stream's one reader."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings) -> None:
        super().__init__(scope, construct_id)
        self.pattern_updater = EngagementFunction(
            self,
            "PatternUpdater",
            name="pattern_updater",
            settings=PatternUpdaterSettings(
                table_name=surroundings.storage.table.table_name,
                bot_id=surroundings.config.bot_id,
                **surroundings.config.planning,
            ),
            surroundings=surroundings,
            timeout=Duration.seconds(60),
        )
        self.pattern_updater.function.add_event_source(
            event_sources.DynamoEventSource(
                surroundings.storage.table,
                # Interactions and nothing else: what the functions themselves write, and what expires, must not loop.
                filters=[
                    lambda_.FilterCriteria.filter(
                        {
                            "eventName": lambda_.FilterRule.is_equal("INSERT"),
                            "dynamodb": {"Keys": {"sk": {"S": lambda_.FilterRule.begins_with("INT#")}}},
                        }
                    )
                ],
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,  # LATEST may skip what comes during creation
                batch_size=100,
                max_batching_window=Duration.seconds(2),
                parallelization_factor=1,  # more would keep order per item only, and a user's interactions are many
                # Lambda's defaults retry a poison record for a day, with everything behind it.
                report_batch_item_failures=True,
                bisect_batch_on_error=True,
                retry_attempts=8,
                max_record_age=Duration.hours(12),
                on_failure=event_sources.SqsDlq(surroundings.alerts.dead_letters),
            )
        )
