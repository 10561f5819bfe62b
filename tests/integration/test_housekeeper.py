"""The housekeeper as it is deployed: handler, table, secret and Telegram."""

import json
import logging
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from math import exp
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from engagement import telemetry
from engagement.clients import secrets
from engagement.clients.telegram import TelegramClient
from engagement.domain.census import Census, Tally
from engagement.domain.consequences import Consequences
from engagement.domain.features import NAMES, features
from engagement.domain.interaction import Control, Exposure
from engagement.domain.outcome import Outcome
from engagement.domain.outreach import OutreachKey, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.preferences import Dismissal, TypeChoice
from engagement.domain.profile import Consent
from engagement.domain.scores import ChurnScores
from engagement.domain.statistics import activity_moves
from engagement.domain.update import Contact
from engagement.domain.webhook import ALLOWED_UPDATES
from engagement.errors import BadTickError
from engagement.settings import HousekeeperSettings
from engagement.store import keys
from engagement.store.censuses import Censuses
from engagement.store.interactions import Interactions
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.statistics import Statistics
from engagement.store.table import Item, OutreachItem, ProfileItem
from functions.__main__ import invoke
from infra.local.telegram import bot_api, outcomes, updates
from infra.local.telegram.server import FakeTelegram
from infra.local.telegram.updates import Person
from tests.builders import NOW, interaction, silent_for

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
def deployed(
    table: str, aws: dict[str, str], telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HousekeeperSettings]:
    """The function's environment, its secret and a bucket without champions."""
    settings = HousekeeperSettings(
        table_name=table,
        bot_id=BOT_ID,
        bot_token_parameter=PARAMETER,
        telegram_api_url=telegram.url,
        webhook_url=URL,
        model_bucket=f"models-{aws['AWS_ACCESS_KEY_ID']}",  # bucket names are everybody's
        user_ttl_days=400,
        blocked_user_ttl_days=60,
    )
    boto3.client("s3").create_bucket(Bucket=settings.model_bucket)
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    secrets.forget()
    secrets._provider().client.put_parameter(Name=PARAMETER, Value=TOKEN, Type="SecureString")
    yield settings
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


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_a_tick_settles_what_was_left_behind(
    deployed: HousekeeperSettings, sample: Callable[[str], Any], now: datetime, capsys: pytest.CaptureFixture[str]
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
        "swept": 0,
        "ended": 0,
        "settled": 0,
        "response_rate": None,
        "pending_updates": 0,
        "faults": [],
        "last_error": "",
        "health": None,
        "card_error": "",
    }
    assert metrics_of(capsys.readouterr().out) == {
        "OutreachExpired": 1,
        "OutreachSweptUnknown": 1,
    }


# --- R101: what is kept has an end ---

FIRST = datetime(2026, 11, 22, 12, tzinfo=UTC)
USER = 7


def tick(day: float) -> dict[str, Any]:
    """Let the housekeeper look, so many days after somebody's first; never in the hour in which models are judged."""
    report: dict[str, Any] = invoke("housekeeper", {"scheduled_time": (FIRST + day * DAY).isoformat()})
    return report


def kept() -> set[str]:
    return {item.sk for item in Item.query(keys.user(BOT_ID, USER), consistent_read=True)}


def lived(last_day: float) -> None:
    """Somebody comes, agrees at once, and is active until some day; written as in the field."""
    profiles, interactions = Profiles(), Interactions(365)
    own = [
        interaction(number, FIRST + number * DAY, bot_id=BOT_ID, user_id=USER, chat_id=USER)
        for number in range(1, int(last_day) + 1)
    ]
    profiles.record_consent(BOT_ID, USER, Consent.GRANTED, FIRST, Contact(USER, "Ada", "en"))
    pattern = fold(EMPTY, own)
    moves = activity_moves(EMPTY, pattern)
    assert Patterns().create(pattern, own[-1], Consequences(moves=moves)) == "written"
    for one in own:
        interactions.add(one)


def test_whoever_is_silent_for_400_days_is_erased_by_the_clock_alone(deployed: HousekeeperSettings) -> None:
    """R101: counted from the day they were last seen, not from the first; every item, but for the tombstone."""
    lived(last_day=10)
    assert {"PROFILE", "PATTERN", "INT#10"} <= kept()

    assert [tick(day)["ended"] for day in (1, 59, 61, 200, 399, 401, 409.9)] == [0] * 7
    assert {"PROFILE", "PATTERN", "INT#10"} <= kept()
    assert tick(410)["ended"] == 1
    assert kept() == {keys.TOMBSTONE}
    assert tick(411)["ended"] == 0


def test_whoever_was_here_399_days_ago_is_kept(deployed: HousekeeperSettings) -> None:
    """R101: and is asked for again on the day that counts from then."""
    lived(last_day=10)
    tick(100)
    seen = Patterns().load(BOT_ID, USER)
    assert seen is not None
    again = interaction(99, FIRST + 200 * DAY, bot_id=BOT_ID, user_id=USER, chat_id=USER)
    assert Patterns().replace(fold(seen.pattern, [again]), seen, again, Consequences()) == "written"

    assert [tick(day)["ended"] for day in (410, 450, 599)] == [0, 0, 0]
    assert {"PROFILE", "PATTERN"} <= kept()
    assert tick(600)["ended"] == 1


def test_whoever_blocked_the_bot_is_erased_60_days_later(deployed: HousekeeperSettings) -> None:
    """R101: and whoever unblocked it meanwhile is kept like anybody else."""
    lived(last_day=10)
    profiles = Profiles()
    profiles.set_blocked(BOT_ID, USER, blocked=True, at=FIRST + 20 * DAY)
    assert [tick(day)["ended"] for day in (20.1, 50, 79.9)] == [0, 0, 0]
    profiles.set_blocked(BOT_ID, USER, blocked=False, at=FIRST + 79.95 * DAY)
    assert [tick(day)["ended"] for day in (80, 100)] == [0, 0]
    profiles.set_blocked(BOT_ID, USER, blocked=True, at=FIRST + 101 * DAY)
    assert [tick(day)["ended"] for day in (102, 160.9)] == [0, 0]
    assert tick(161)["ended"] == 1
    assert kept() == {keys.TOMBSTONE}


def test_a_block_that_a_send_met_counts_as_well(deployed: HousekeeperSettings) -> None:
    """R101: also an account that is gone tells us nothing but that."""
    lived(last_day=10)
    assert Profiles().mark_blocked_by_send(BOT_ID, USER, at=FIRST + 20 * DAY, epoch_seen=0)

    assert [tick(day)["ended"] for day in (21, 79.9, 80)] == [0, 0, 1]


def here(word: str, at: datetime) -> None:
    """Let somebody say something to us, as the webhook writes it."""
    profiles = Profiles()
    match word:
        case "a type switched off":
            profiles.prefer(BOT_ID, USER, TypeChoice(OutreachType.TOPIC_FOLLOW_UP, at, off=True), at)
        case "not now":
            about = Exposure(OutreachType.RE_ENGAGEMENT, at - DAY)
            profiles.prefer(BOT_ID, USER, Dismissal(about, at), at)
        case "learning switched on":
            profiles.record_consent_ml(BOT_ID, USER, granted=True, at=at)
        case "/stop":
            profiles.opt_out(BOT_ID, USER, at)
        case "/timezone Europe/Berlin":
            profiles.set_zone(BOT_ID, USER, "Europe/Berlin", at)
        case _:
            control = Control.OPENED if word == "an offer opened" else Control.COMMAND
            said = interaction(500, at, bot_id=BOT_ID, user_id=USER, chat_id=USER, control=control)
            Interactions(365).add(said)


@pytest.mark.parametrize(
    "word",
    [
        *("a type switched off", "not now", "learning switched on", "/stop", "/timezone Europe/Berlin"),
        *("/settings", "an offer opened"),
    ],
)
def test_whoever_only_used_a_button_or_command_of_ours_yesterday_was_here(
    deployed: HousekeeperSettings, word: str
) -> None:
    """R101: it is no activity (R90), and yet they are still there: nobody is erased the day after they looked in."""
    lived(last_day=10)
    tick(100)
    here(word, FIRST + 409 * DAY)

    assert tick(410)["ended"] == 0
    assert {"PROFILE", "PATTERN"} <= kept()


def test_a_tick_settles_what_came_of_the_messages_of_last_week(
    deployed: HousekeeperSettings, sample: Callable[[str], Any], now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two exposures one was answered; both are booked for the experiment, once."""
    ProfileItem(keys.user(BOT_ID, 1), keys.PROFILE, chat_id=1, created_at=now - 90 * DAY).save()
    for user, returned_at in ((1, now - 8 * DAY), (2, None)):
        pk = keys.user(BOT_ID, user)
        OutreachItem(
            pk,
            keys.outreach("silence", "2026-11-03-1"),
            due_shard=keys.settle_shard(keys.due_partition(pk)),
            due_at=now - HOUR,
            outreach_type="re_engagement",
            state=OutreachState.SENT,
            priority=0.9,
            trigger="churn_14d_high",
            template="re_engagement.open_door",
            planned_at=now - 10 * DAY,
            send_after=now - 9 * DAY,
            expires_at=now - 7 * DAY,
            experiment="first",
            program_probability=0.9,
            treated_probability=0.9,
            exposed_at=now - 8 * DAY - HOUR,
            first_of={"all", "re_engagement"},
            returned_at=returned_at,
        ).save()
    result = invoke("housekeeper", sample(TICK))
    assert (result["settled"], result["response_rate"]) == (2, 0.5)
    assert metrics_of(capsys.readouterr().out) == {"OutreachSettled": 2, "ResponseRate": 0.5}
    sums = Statistics().lift(BOT_ID, "first")
    assert set(sums) == {"all", "re_engagement"}
    assert sums["all"]["treated:users"] == 2
    again = invoke("housekeeper", sample(TICK))
    assert (again["settled"], again["response_rate"]) == (0, None)
    assert Statistics().lift(BOT_ID, "first") == sums


def test_a_second_tick_changes_nothing(
    deployed: HousekeeperSettings, sample: Callable[[str], Any], now: datetime
) -> None:
    """R45: unknown is final; nothing is sent by it or after it."""
    died_sending = outreach(2, OutreachState.SENDING, now, lease=-HOUR, expires=HOUR)
    assert invoke("housekeeper", sample(TICK))["swept_unknown"] == 1
    assert invoke("housekeeper", sample(TICK))["swept_unknown"] == 0
    assert state_of(died_sending) is OutreachState.UNKNOWN


def test_a_changed_webhook_is_a_warning_with_its_remedy(
    deployed: HousekeeperSettings,
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
    deployed: HousekeeperSettings, telegram: FakeTelegram, sample: Callable[[str], Any], now: datetime
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
    deployed: HousekeeperSettings,
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
def test_a_tick_without_a_time_is_refused(deployed: HousekeeperSettings, sample: Callable[[str], Any]) -> None:
    """A local scheduler that does not fill in the time must show; guessing it would expire what is not due."""
    with pytest.raises(BadTickError, match="unreadable tick"):
        invoke("housekeeper", sample("housekeeper/bad_tick"))


# -- the model, once a day

MIDNIGHT = "housekeeper/first_tick_of_a_day"
CARD = json.loads((Path(__file__).parents[2] / "models" / "churn" / "card.json").read_text())


def a_day(rng: random.Random, *, by: str, good: bool, users: int = 400) -> Census:
    """A day on which so many scores ripened, of a model that knows its users or of one that guesses."""
    tally = Tally()
    for number in range(users):
        chance = 1 / (1 + exp(-rng.gauss(1.5, 1.6)))
        said = chance if good else 1 / (1 + exp(-rng.gauss(1.5, 1.6)))
        outcome = Outcome(churn_7d=said, by=by, stayed_away=rng.random() < chance)
        pattern = silent_for(number % 20, active_days=3 + number % 11)
        tally.count(pattern, features(pattern, NOW), ChurnScores(0.9, 0.85 if number % 4 else 0.1, 0.5), outcome, NOW)
    return tally.census()


def test_the_first_tick_of_a_day_measures_the_bundled_model_on_last_weeks_outcomes(
    deployed: HousekeeperSettings, sample: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """R87: what ripened on the day itself waits for tomorrow, and nothing else is of the last seven days."""
    rng = random.Random(1)
    for days_ago in (0, 1, 7, 8):
        day = date(2026, 11, 23) - timedelta(days=days_ago)
        Censuses().add(BOT_ID, day, days_ago, a_day(rng, by=CARD["version"], good=True))

    health = invoke("housekeeper", sample(MIDNIGHT))["health"]

    assert (health["version"], health["outcomes"], health["age_days"]) == (CARD["version"], 800, None)
    assert health["auc"] > 0.75
    assert (health["degraded"], health["drifted"], health["high_risk"]) == (False, False, 300)
    metrics = metrics_of(capsys.readouterr().out)
    assert metrics == {
        "LiveChurnAuc": health["auc"],
        "LiveChurnEce": health["ece"],
        "LabelsRipened": 800,
        "ModelDegraded": 0,
        "ChurnHighRisk": 300,
    }


def test_a_champion_that_guesses_is_an_alarm_and_a_warning_with_its_remedy(
    deployed: HousekeeperSettings,
    sample: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    logged: list[dict[str, Any]],
) -> None:
    """R87: its card comes from the bucket, and its users are compared with those it was trained on."""
    others = [[0.0] * 9 + [1.0]] * len(NAMES)
    reference = {"auc_7d": 0.82, "ece_7d": 0.04, "feature_bins": others}
    card = CARD | {"version": "churn-1-next", "trained_at": "2026-10-14T00:00:00+00:00", "reference": reference}
    pointer = {"prefix": "models/churn/next", "sha256": "0" * 64, "version": "next", "promoted_at": None}
    s3 = boto3.client("s3")
    s3.put_object(Bucket=deployed.model_bucket, Key="models/churn/next/card.json", Body=json.dumps(card))
    s3.put_object(Bucket=deployed.model_bucket, Key="models/churn/champion.json", Body=json.dumps(pointer))
    rng = random.Random(2)
    for days_ago in range(1, 8):
        day = date(2026, 11, 23) - timedelta(days=days_ago)
        Censuses().add(BOT_ID, day, 0, a_day(rng, by="churn-1-next", good=False))

    health = invoke("housekeeper", sample(MIDNIGHT))["health"]

    assert (health["degraded"], health["drifted"], health["age_days"]) == (True, True, 40)
    metrics = metrics_of(capsys.readouterr().out)
    assert (metrics["ModelDegraded"], metrics["ModelAgeDays"]) == (1, 40)
    assert metrics["FeatureDrift"] > 0.2
    (line,) = [line for line in logged if line["level"] == "WARNING"]
    assert "roll back" in line["message"]


def test_after_a_rollback_to_the_bundled_model_it_is_that_one_that_is_watched(
    deployed: HousekeeperSettings, sample: Callable[[str], Any]
) -> None:
    pointer = {"prefix": "", "sha256": "", "version": "bundled", "promoted_at": "2026-11-20T00:00:00+00:00"}
    boto3.client("s3").put_object(
        Bucket=deployed.model_bucket, Key="models/churn/champion.json", Body=json.dumps(pointer)
    )

    health = invoke("housekeeper", sample(MIDNIGHT))["health"]

    assert (health["version"], health["age_days"]) == (CARD["version"], None)


def test_a_bucket_that_cannot_be_read_does_not_stop_the_sweep(
    deployed: HousekeeperSettings,
    sample: Callable[[str], Any],
    now: datetime,
    logged: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R87: the ledger is settled, and the log says that the model is not watched."""
    expired = outreach(1, OutreachState.SCHEDULED, now, lease=HOUR, expires=-HOUR)
    monkeypatch.setenv("MODEL_BUCKET", "no-such-bucket")

    result = invoke("housekeeper", sample(MIDNIGHT))

    assert state_of(expired) is OutreachState.EXPIRED
    assert (result["health"], "NoSuchBucket" in result["card_error"]) == (None, True)
    assert any("cannot be watched" in line["message"] for line in logged if line["level"] == "WARNING")
