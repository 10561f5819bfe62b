"""Schedule -> what is due goes to Telegram, each message at most once."""

from functools import partial
from pathlib import Path

from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.clients import bots, llm, rescoring, secrets
from engagement.domain import callbacks, gate, helplines, planning, scores, tick
from engagement.services import enhancing, exporting, outreach, transport
from engagement.settings import OutreachSenderSettings
from engagement.store import (
    budgets,
    catalogue,
    exports,
    leases,
    outreaches,
    patterns,
    pauses,
    profiles,
    requests,
    table,
)
from engagement.telemetry import count, logger, metrics
from functions.outreach_sender.reasons import reasons_of

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
    thresholds=planning.Thresholds(
        re_engagement=settings.churn_threshold, checkin=settings.checkin_threshold, features=settings.named_features
    ),
    sends_per_second=settings.sends_per_second,
    lease_seconds=settings.lease_seconds,
    signer=callbacks.Signer(settings.bot_id, partial(secrets.read_secret, settings.callback_key_parameter)),
    helplines=helplines.parse(settings.helplines),
    rescore=rescorer if settings.ml_prediction_enabled == "on" else scores.rule_scores,
    enhance=enhancer.enhance,
)


exporter = exporting.Exporter(settings.bot_id, exports.Exports(), partial(reasons_of, settings.bot_id))
desk = exporting.DataDesk(settings.bot_id, requests.Requests(), profiles.Profiles(), pauses.Pauses(), exporter)


@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Deliver one tick's share, and the files that users asked for; returns what was done, as counts."""
    now = tick.Tick.from_event(event)

    def remaining_seconds() -> float:
        return context.get_remaining_time_in_millis() / 1e3

    files = desk.serve(now.now, bot.connect, remaining_seconds) if now.shard == 0 else 0
    done = service.deliver_due(now, remaining_seconds, means)
    rephrased = enhancer.take_report()
    count(done.metrics() | rephrased.metrics() | {"FilesSent": files})
    summary = done.as_dict() | {"rephrased": rephrased.as_dict(), "files": files}
    (logger.error if done.advice else logger.info)(done.advice or "outreach delivered", **summary)
    return summary
