"""Schedule -> what expired, was left behind or has had its effect is settled; the webhook's and the model's health."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.cards import serving_card
from engagement.clients.secrets import read_secret
from engagement.clients.telegram import TelegramClient
from engagement.domain.retention import Retention
from engagement.domain.tick import Tick
from engagement.services.erasing import Eraser, Keeping
from engagement.services.housekeeping import Housekeeping, Watch
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.settling import Settling
from engagement.settings import HousekeeperSettings
from engagement.store.censuses import Censuses
from engagement.store.erasures import Erasures
from engagement.store.interactions import Interactions
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.table import bind
from engagement.store.tombstones import Tombstones
from engagement.telemetry import count, logger, measure, metrics

BUNDLED = Path(__file__).parents[2] / "models" / "churn"


def connect() -> TelegramClient:
    """Take the token as it is now: the check fails without it, the sweep does not."""
    return TelegramClient(read_secret(settings.bot_token_parameter), settings.telegram_api_url)


settings = HousekeeperSettings.from_env()
bind(settings.table_name)
card = partial(serving_card, "churn", settings.model_bucket, BUNDLED)
watch = Watch(bot_id=settings.bot_id, censuses=Censuses(), read_card=card)
outreaches = Outreaches()
settling = Settling(outreaches, Profiles(), Patterns())
retention = Retention(timedelta(days=settings.user_ttl_days), timedelta(days=settings.blocked_user_ttl_days))
eraser = Eraser(Tombstones(), Erasures())
housekeeping = Housekeeping(
    ProactiveOutreachService(outreaches),
    settling,
    eraser,
    Keeping(eraser, Profiles(), Patterns(), Interactions(settings.user_ttl_days), retention),
    connect,
    settings.webhook_url,
    watch,
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tidy up; a fault is a warning with its remedy, and a metric that the alarm watches."""
    report = housekeeping.tidy(Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1_000)
    count(report.metrics())
    measure(report.measures())
    summary = report.summary()
    log = logger.warning if report.concerns else logger.info
    log("; ".join(report.concerns) or "house kept", **summary)
    return summary
