"""Schedule -> what is due goes to Telegram, each message at most once."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients.secrets import read_secret
from engagement.clients.telegram import TelegramClient
from engagement.domain.gate import Policy
from engagement.domain.tick import Tick
from engagement.errors import SettingsError
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.transport import Transport
from engagement.settings import OutreachSenderSettings
from engagement.store import leases, outreaches, patterns, pauses, profiles, table
from engagement.telemetry import count, logger, metrics


def connect() -> TelegramClient:
    """Take the token as it is now: it may change between two runs, the bot it belongs to may not."""
    token = read_secret(settings.bot_token_parameter)
    if token.partition(":")[0] != str(settings.bot_id):
        raise SettingsError(f"{settings.bot_token_parameter} holds no token of bot {settings.bot_id}: store that one")
    return TelegramClient(token, settings.telegram_api_url)


settings = OutreachSenderSettings.from_env()
table.bind(settings.table_name)
connect()  # another bot's token shows at the cold start, not at the first message
service = ProactiveOutreachService(outreaches.Outreaches())
transport = Transport(
    profiles=profiles.Profiles(),
    patterns=patterns.Patterns(),
    pauses=pauses.Pauses(),
    leases=leases.Leases(),
    bot_id=settings.bot_id,
    policy=Policy.of(settings, enabled=settings.outreach_enabled == "on"),
    connect=connect,
    sends_per_second=settings.sends_per_second,
    lease_seconds=settings.lease_seconds,
)


@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Deliver one tick's share; returns what was done, as counts."""
    done = service.deliver_due(Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1e3, transport)
    count(done.metrics())
    log = logger.error if done.advice else logger.info
    log(done.advice or "outreach delivered", **done.as_dict())
    return done.as_dict()
