"""HTTP API: one update from Telegram -> the interaction in the table, and the reply in the response."""

from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.secrets import read_secret
from engagement.errors import SecretUnavailableError, SettingsError, StoreUnavailableError
from engagement.services.front_door import TRY_AGAIN, FrontDoor, answer
from engagement.settings import WebhookSettings
from engagement.store import table
from engagement.telemetry import logger, metrics
from functions.webhook.wiring import reception_of

settings = WebhookSettings.from_env()
table.bind(settings.table_name)
current = partial(read_secret, settings.webhook_secret_parameter)
previous = partial(read_secret, settings.webhook_previous_secret_parameter, missing_ok=True)
door = FrontDoor(reception_of(settings), current, previous, virtual_clock=settings.virtual_clock == "on")


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request; 503 asks Telegram to deliver it again."""
    request = APIGatewayProxyEventV2(event)
    arrived_ms = request.request_context.time_epoch
    try:
        receipt = door.enter(request.headers, request.body, bool(request.is_base64_encoded), arrived_ms)
    except (SecretUnavailableError, SettingsError, StoreUnavailableError) as error:
        metrics.add_metric("UpdatesDeferred", MetricUnit.Count, 1)
        logger.warning("update deferred", reason=type(error).__name__)
        return TRY_AGAIN
    metrics.add_metric(receipt.outcome, MetricUnit.Count, 1)
    if receipt.handed_over is not None:
        metrics.add_metric("HandedToOperator", MetricUnit.Count, 1)
    logger.info(
        "update received",
        outcome=receipt.outcome,
        update_id=receipt.update_id,
        reason=receipt.reason,
        control=receipt.control,
        handed_over=receipt.handed_over,
    )
    return answer(receipt)
