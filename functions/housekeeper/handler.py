"""Schedule -> what expired or was left behind is settled, and the webhook's health is known."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.secrets import read_secret
from engagement.clients.telegram import TelegramClient
from engagement.domain.tick import Tick
from engagement.domain.webhook import ADVICE
from engagement.services.housekeeping import Housekeeping
from engagement.services.outreach import ProactiveOutreachService
from engagement.settings import HousekeeperSettings
from engagement.store.outreaches import Outreaches
from engagement.store.table import bind
from engagement.telemetry import count, logger, metrics


def connect() -> TelegramClient:
    """Take the token as it is now: the check fails without it, the sweep does not."""
    return TelegramClient(read_secret(settings.bot_token_parameter), settings.telegram_api_url)


settings = HousekeeperSettings.from_env()
bind(settings.table_name)
housekeeping = Housekeeping(ProactiveOutreachService(Outreaches()), connect, settings.webhook_url)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tidy up; a fault is a warning with its remedy, and a metric that the alarm watches."""
    report = housekeeping.tidy(Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1_000)
    count(
        {
            "OutreachExpired": report.expired,
            "OutreachSweptUnknown": report.swept_unknown,
            "WebhookUnhealthy": int(bool(report.faults)),
            "PendingUpdates": report.pending_updates or 0,
        }
    )
    result = asdict(report) | {"faults": [str(fault) for fault in report.faults]}
    advice = "; ".join(ADVICE[fault] for fault in report.faults)
    log = logger.warning if report.faults else logger.info
    log(advice or "house kept", **result)
    return result
