"""Telegram -> HTTP API -> webhook: updates come in."""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

import json

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_logs as logs
from constructs import Construct

from engagement.settings import WebhookSettings
from infra.config import WEBHOOK_MAX_CONNECTIONS, WEBHOOK_PATH
from infra.function import RETENTION, EngagementFunction, Surroundings

# Forged requests reach the function too: only it can compare the secret. This bounds what they cost.
REQUESTS_PER_SECOND = 100
REQUEST_BURST = 200

# A delivery that Telegram gave up on still runs: two more copies than it has connections.
CONCURRENCY = WEBHOOK_MAX_CONNECTIONS + 2


# No header (one holds the secret), no body, no address.
ACCESS_LOG = {
    "requestId": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "route": "$context.routeKey",
    "status": "$context.status",
    "milliseconds": "$context.responseLatency",
    "integrationError": "$context.integrationErrorMessage",
}


class Ingestion(Construct):
    """The public address and the function behind it."""

    def __init__(self, scope: Construct, construct_id: str, surroundings: Surroundings) -> None:
        super().__init__(scope, construct_id)
        config = surroundings.config
        self.webhook = EngagementFunction(
            self,
            "Webhook",
            name="webhook",
            settings=WebhookSettings(
                table_name=surroundings.storage.table.table_name,
                bot_id=config.bot_id,
                webhook_secret_parameter=config.webhook_secret_parameter,
                webhook_previous_secret_parameter=config.webhook_previous_secret_parameter,
                consent_policy=config.consent_policy,
                store_text=config.store_text,
                interaction_ttl_days=config.interaction_ttl_days,
                flood_limit_per_minute=config.flood_limit_per_minute,
                virtual_clock=config.virtual_clock,
                ai_message_enhancement=config.ai_message_enhancement,
                callback_key_parameter=config.callback_key_parameter,
                sensitive_basis=config.sensitive_basis,
                outreach_types=config.outreach_types,
                operator_chat_id=config.operator_chat_id,
                user_ttl_days=config.user_ttl_days,
                blocked_user_ttl_days=config.blocked_user_ttl_days,
            ),
            surroundings=surroundings,
            timeout=Duration.seconds(15),  # below the 30 s of the HTTP API, so that our 503 is what Telegram hears
            reserved_concurrency=CONCURRENCY,
        )
        self.api = apigatewayv2.HttpApi(self, "Api", create_default_stage=False, description="Telegram's updates")
        routes = self.api.add_routes(
            path=WEBHOOK_PATH,
            methods=[apigatewayv2.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("WebhookIntegration", self.webhook.function),
        )
        access_logs = logs.LogGroup(
            self, "AccessLogs", retention=RETENTION[config.log_retention_days], removal_policy=RemovalPolicy.DESTROY
        )
        self.stage = apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(rate_limit=REQUESTS_PER_SECOND, burst_limit=REQUEST_BURST),
        )
        definition = self.stage.node.default_child
        if not isinstance(definition, apigatewayv2.CfnStage):
            raise TypeError("the stage has no definition")
        definition.access_log_settings = apigatewayv2.CfnStage.AccessLogSettingsProperty(
            destination_arn=access_logs.log_group_arn, format=json.dumps(ACCESS_LOG)
        )
        for route in routes:
            Validations.of(route).acknowledge(
                Acknowledgment(
                    id="AwsSolutions::AwsSolutions-APIG4",
                    reason="Telegram signs nothing; it sends a secret header, which the function compares in constant "
                    "time (and the next one too, while it is rotated). The route is throttled.",
                )
            )

    @property
    def webhook_url(self) -> str:
        """What to give to `setWebhook`."""
        return f"{self.api.api_endpoint}{WEBHOOK_PATH}"
