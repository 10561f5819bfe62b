"""The whole suite in one stack: read from top to bottom it is the flow, each grant beside the arrow that it permits."""

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.alerts import Alerts
from infra.build import Layers
from infra.config import DeploymentConfig
from infra.function import Surroundings, layer
from infra.housekeeping import Housekeeping
from infra.ingestion import Ingestion
from infra.learning import Learning
from infra.monitoring import Monitoring
from infra.outreach import Outreach
from infra.storage import Storage
from infra.training import Training

GET, BATCH_GET, QUERY, SCAN, CHECK, PUT, UPDATE, DELETE, BATCH_WRITE = (
    f"dynamodb:{action}"
    for action in (
        *("GetItem", "BatchGetItem", "Query", "Scan", "ConditionCheckItem"),
        *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"),
    )
)
READ_STREAM = tuple(f"dynamodb:{a}" for a in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"))


class RekindleStack(Stack):
    """Telegram -> webhook -> table -> stream -> patterns -> scores -> outreach -> Telegram."""

    def __init__(self, scope: Construct, *, config: DeploymentConfig, layers: Layers) -> None:
        super().__init__(scope, config.stack_name, description="Rekindle: proactive engagement for a Telegram bot")
        storage = Storage(self, "Storage", config=config)
        alerts = Alerts(self, "Alerts", config=config)
        table, due, dead_letters = storage.table.table_arn, storage.due_index_arn, alerts.dead_letters.queue_arn
        surroundings = Surroundings(
            config=config,
            storage=storage,
            alerts=alerts,
            core=layer(self, "CoreLayer", layers.core, config),
            inference=layer(self, "InferenceLayer", layers.inference, config),
            training=layer(self, "TrainingLayer", layers.training, config),
        )

        # Telegram -- update --> HTTP API --> webhook -- interaction --> table
        ingestion = Ingestion(self, "Ingestion", surroundings)
        webhook = ingestion.webhook
        webhook.allow(GET, QUERY, PUT, UPDATE, CHECK, on=table)
        webhook.allow_secret(config.webhook_secret_parameter)
        webhook.allow_secret(config.webhook_previous_secret_parameter)
        webhook.allow_secret(config.callback_key_parameter)

        # table -- stream of new interactions --> pattern_updater -- pattern --> table; who asks for it is erased
        pattern_updater = Learning(self, "Learning", surroundings).pattern_updater
        pattern_updater.allow(*READ_STREAM, on=storage.stream_arn)
        pattern_updater.allow(GET, QUERY, PUT, UPDATE, CHECK, DELETE, BATCH_WRITE, on=table)
        pattern_updater.allow("sqs:SendMessage", on=dead_letters)

        # schedule --> scorer -- due patterns, model --> scores and planned outreach --> table
        outreach = Outreach(self, "Outreach", surroundings)
        scorer = outreach.scorer
        scorer.allow(QUERY, on=due)
        scorer.allow(GET, BATCH_GET, QUERY, PUT, UPDATE, on=table)
        scorer.allow_models("s3:GetObject")

        # schedule --> outreach_sender -- due outreach --> Telegram; outcome --> table
        sender = outreach.sender
        sender.allow(QUERY, on=due)
        sender.allow(GET, QUERY, UPDATE, on=table)
        sender.allow_models("s3:GetObject")
        sender.allow_secret(config.bot_token_parameter)
        sender.allow_secret(config.callback_key_parameter)
        outreach.allow_language_model()

        # schedule --> housekeeper -- what expired, was left behind or is kept too long --> table; how are the webhook
        # and the model?
        housekeeper = Housekeeping(self, "Housekeeping", surroundings, ingestion.webhook_url).housekeeper
        housekeeper.allow(QUERY, on=due)
        housekeeper.allow(GET, QUERY, PUT, UPDATE, DELETE, BATCH_WRITE, on=table)
        housekeeper.allow_models("s3:GetObject")
        housekeeper.allow_secret(config.bot_token_parameter)

        # schedule --> trainer -- histories of those who allow it --> models, and which of them serve --> bucket
        trainer = Training(self, "Training", surroundings).trainer
        trainer.allow(SCAN, on=table)
        trainer.allow_models("s3:GetObject", "s3:PutObject")

        functions = (webhook, pattern_updater, scorer, sender, housekeeper, trainer)
        Monitoring(self, "Monitoring", alerts=alerts, api_stage=ingestion.stage, functions=functions, config=config)
        for name, value in {
            "WebhookUrl": ingestion.webhook_url,
            "TableName": storage.table.table_name,
            "ModelBucketName": storage.models.bucket_name,
            "DeadLetterQueueUrl": alerts.dead_letters.queue_url,
            **{f"{function.node.id}FunctionName": function.function.function_name for function in functions},
        }.items():
            CfnOutput(self, name, value=value)
