"""Schedule -> what is due goes to Telegram, each message at most once."""

from functools import partial
from pathlib import Path

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients import bots, llm, rescoring, secrets
from engagement.domain import gate, planning, scores, tick
from engagement.services import enhancing, outreach, transport
from engagement.settings import OutreachSenderSettings
from engagement.store import budgets, catalogue, leases, outreaches, patterns, pauses, profiles, table
from engagement.telemetry import count, logger, metrics

settings = OutreachSenderSettings.from_env()
table.bind(settings.table_name)
bot = bots.Bot(settings.bot_id, settings.bot_token_parameter, settings.telegram_api_url).checked()
rescorer = rescoring.Rescorer(settings.model_bucket, Path(__file__).parents[2] / "models" / "churn")
read_key = partial(secrets.read_secret, settings.ai_key_parameter)
provider = llm.provider_of(settings.ai_message_enhancement, settings.ai_model, settings.ai_api_url, read_key)
spent = budgets.Budgets()
enhancer = enhancing.Enhancer(provider, spent, bot_id=settings.bot_id, calls_per_day=settings.ai_daily_budget)
service = outreach.ProactiveOutreachService(outreaches.Outreaches())
means = transport.Transport(
    profiles=profiles.Profiles(),
    patterns=patterns.Patterns(),
    pauses=pauses.Pauses(),
    leases=leases.Leases(),
    budgets=spent,
    texts=catalogue.Catalogue(settings.bot_id).texts,
    bot_id=settings.bot_id,
    policy=gate.Policy.of(settings, enabled=settings.outreach_enabled == "on"),
    connect=bot.connect,
    thresholds=planning.Thresholds(re_engagement=settings.churn_threshold, checkin=settings.checkin_threshold),
    sends_per_second=settings.sends_per_second,
    lease_seconds=settings.lease_seconds,
    rescore=rescorer if settings.ml_prediction_enabled == "on" else scores.rule_scores,
    enhance=enhancer.enhance,
)


@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Deliver one tick's share; returns what was done, as counts."""
    done = service.deliver_due(tick.Tick.from_event(event), lambda: context.get_remaining_time_in_millis() / 1e3, means)
    rephrased = enhancer.take_report()
    count(done.metrics() | rephrased.metrics())
    summary = done.as_dict() | {"rephrased": rephrased.as_dict()}
    (logger.error if done.advice else logger.info)(done.advice or "outreach delivered", **summary)
    return summary
