"""The housekeeper as it is deployed: handler, table, secret and Telegram."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from engagement import telemetry
from engagement.clients import secrets
from engagement.clients.telegram import TelegramClient
from engagement.domain.outreach import OutreachKey, OutreachState
from engagement.domain.webhook import ALLOWED_UPDATES
from engagement.errors import BadTickError
from engagement.settings import HousekeeperSettings
from engagement.store import keys
from engagement.store.outreaches import Outreaches
from engagement.store.table import OutreachItem
from functions.__main__ import invoke
from infra.local.telegram import bot_api, outcomes, updates
from infra.local.telegram.server import FakeTelegram
from infra.local.telegram.updates import Person

BOT_ID = 987654
TOKEN = f"{BOT_ID}:" + "C" * 35
PARAMETER = "/rekindle/test/bot-token"
URL = "http://127.0.0.1:9/telegram"
TICK = "housekeeper/tick"


@pytest.fixture
def telegram(now: datetime) -> Iterator[FakeTelegram]:
    """A Telegram whose webhook is as the stack wants it."""
    with FakeTelegram(TOKEN, bot_api=bot_api.find(), now=lambda: int(now.timestamp()), time_scale=0.001) as running:
        TelegramClient(TOKEN, running.url).set_webhook(URL, "secret", ALLOWED_UPDATES, 10)
        yield running


@pytest.fixture
def deployed(table: str, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The function's environment and secret; returns the table's name."""
    settings = HousekeeperSettings(
        table_name=table,
        bot_id=BOT_ID,
        bot_token_parameter=PARAMETER,
        telegram_api_url=telegram.url,
        webhook_url=URL,
    )
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    secrets.forget()
    secrets._provider().client.put_parameter(Name=PARAMETER, Value=TOKEN, Type="SecureString")
    yield table
    secrets.forget()


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """The function's own log lines, as they would be written."""
    lines: list[dict[str, Any]] = []
    logger: Logger = telemetry.logger

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(logger.registered_formatter.format(record)))

    listener = Listener()
    logger.addHandler(listener)
    yield lines
    logger.removeHandler(listener)


def metrics_of(printed: str) -> dict[str, float]:
    """Read the embedded metrics that a function prints."""
    found: dict[str, float] = {}
    for line in printed.splitlines():
        if '"_aws"' in line:
            record = json.loads(line)
            for metric in record["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                value = record[metric["Name"]]
                found[metric["Name"]] = value[0] if isinstance(value, list) else value
    return found


def outreach(user_id: int, state: OutreachState, now: datetime, *, lease: timedelta, expires: timedelta) -> OutreachKey:
    """Leave an outreach behind as a sender, or nobody, left it."""
    key = OutreachKey(BOT_ID, user_id, "re_engagement", "2026-W47")
    pk = keys.user(BOT_ID, user_id)
    OutreachItem(
        pk,
        keys.outreach(key.campaign, key.period),
        due_shard=keys.outreach_shard(keys.due_partition(pk)),
        due_at=now - timedelta(hours=2),
        outreach_type="re_engagement",
        state=state,
        priority=0.9,
        trigger="churn_14d",
        template="re_engagement_a",
        planned_at=now - timedelta(days=1),
        send_after=now - timedelta(hours=2),
        expires_at=now + expires,
        owner=None if state is OutreachState.SCHEDULED else "a dead sender",
        lease_until=None if state is OutreachState.SCHEDULED else now + lease,
    ).save()
    return key


def state_of(key: OutreachKey) -> OutreachState:
    found = Outreaches().get(key)
    assert found is not None
    return found.state


HOUR = timedelta(hours=1)


def test_a_tick_settles_what_was_left_behind(
    deployed: str, sample: Callable[[str], Any], now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    """R41, R45: expired, of unknown fate, and back in line; what is alive stays as it is."""
    expired = outreach(1, OutreachState.SCHEDULED, now, lease=HOUR, expires=-HOUR)
    died_sending = outreach(2, OutreachState.SENDING, now, lease=-HOUR, expires=HOUR)
    died_claiming = outreach(3, OutreachState.CLAIMED, now, lease=-HOUR, expires=HOUR)
    under_way = outreach(4, OutreachState.SENDING, now, lease=HOUR, expires=HOUR)
    result = invoke("housekeeper", sample(TICK))
    assert [state_of(key).value for key in (expired, died_sending, died_claiming, under_way)] == [
        "expired",
        "unknown",
        "scheduled",
        "sending",
    ]
    assert result == {
        "expired": 1,
        "swept_unknown": 1,
        "released": 1,
        "pending_updates": 0,
        "faults": [],
        "last_error": "",
    }
    assert metrics_of(capsys.readouterr().out) == {
        "OutreachExpired": 1,
        "OutreachSweptUnknown": 1,
    }


def test_a_second_tick_changes_nothing(deployed: str, sample: Callable[[str], Any], now: datetime) -> None:
    """R45: unknown is final; nothing is sent by it or after it."""
    died_sending = outreach(2, OutreachState.SENDING, now, lease=-HOUR, expires=HOUR)
    assert invoke("housekeeper", sample(TICK))["swept_unknown"] == 1
    assert invoke("housekeeper", sample(TICK))["swept_unknown"] == 0
    assert state_of(died_sending) is OutreachState.UNKNOWN


def test_a_changed_webhook_is_a_warning_with_its_remedy(
    deployed: str,
    telegram: FakeTelegram,
    sample: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    logged: list[dict[str, Any]],
) -> None:
    """R88: somebody called setWebhook by hand; updates pile up; one log line says so."""
    TelegramClient(TOKEN, telegram.url).set_webhook("http://127.0.0.1:9/other", "", ["message"], 40)
    for number in range(1, 151):
        telegram.push(updates.message(number, Person(number, "X"), "x", date=number, message_id=1))
    result = invoke("housekeeper", sample(TICK))
    assert result["faults"][:2] == ["url_differs", "updates_differ"]
    (line,) = [line for line in logged if line["level"] == "WARNING"]
    assert "rekindle webhook set" in line["message"]
    assert line["faults"][0] == "url_differs"
    metrics = metrics_of(capsys.readouterr().out)
    assert metrics["WebhookUnhealthy"] == 1
    assert metrics["PendingUpdates"] > 0


def test_a_failing_webhook_is_a_warning(
    deployed: str, telegram: FakeTelegram, sample: Callable[[str], Any], now: datetime
) -> None:
    """R88: nothing listens at the webhook's address, and Telegram has noticed."""
    telegram.push(updates.message(1, Person(7, "X"), "x", date=int(now.timestamp()), message_id=1))
    for _ in range(500):  # the first delivery fails within milliseconds
        if TelegramClient(TOKEN, telegram.url).webhook_info().last_error_at:
            break
    result = invoke("housekeeper", sample(TICK))
    assert result["faults"] == ["error_recent"]
    assert result["last_error"] == "Webhook connection closed"


@pytest.mark.parametrize("trouble", ["down", "wrong token", "no token", "nonsense"])
def test_a_telegram_outage_does_not_stop_the_sweep(
    deployed: str,
    telegram: FakeTelegram,
    sample: Callable[[str], Any],
    now: datetime,
    capsys: pytest.CaptureFixture[str],
    logged: list[dict[str, Any]],
    trouble: str,
) -> None:
    """R58, R88: the ledger is settled, the metric says that something is wrong, and the token is in no line."""
    expired = outreach(1, OutreachState.SCHEDULED, now, lease=HOUR, expires=-HOUR)
    ssm = secrets._provider().client
    if trouble == "down":
        telegram.stop()
    elif trouble == "wrong token":
        ssm.put_parameter(Name=PARAMETER, Value=TOKEN + "x", Type="SecureString", Overwrite=True)
    elif trouble == "no token":
        ssm.delete_parameter(Name=PARAMETER)
    else:
        telegram.script(outcomes.GARBAGE, method="getWebhookInfo")
    result = invoke("housekeeper", sample(TICK))
    assert state_of(expired) is OutreachState.EXPIRED
    assert (result["faults"], result["pending_updates"]) == (["no_answer"], None)
    printed = capsys.readouterr().out
    assert metrics_of(printed) == {"OutreachExpired": 1, "WebhookUnhealthy": 1}
    assert TOKEN not in printed + json.dumps(logged) + json.dumps(result)


@pytest.mark.filterwarnings("ignore:No application metrics")  # said of an invocation that got nowhere
def test_a_tick_without_a_time_is_refused(deployed: str, sample: Callable[[str], Any]) -> None:
    """A local scheduler that does not fill in the time must show; guessing it would expire what is not due."""
    with pytest.raises(BadTickError, match="unreadable tick"):
        invoke("housekeeper", sample("housekeeper/bad_tick"))
