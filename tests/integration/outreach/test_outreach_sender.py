"""The function as it is deployed: settings, token, the real client over HTTP, the fake Telegram, the local AWS."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from engagement.clients import secrets
from engagement.clients.telegram import TelegramClient
from engagement.domain.callbacks import UNDER_OUTREACH, Signer
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachState, OutreachType
from engagement.domain.templates import MessageTemplate
from engagement.errors import BadTickError, SecretUnavailableError, SettingsError
from engagement.settings import OutreachSenderSettings
from engagement.store import keys
from engagement.store.catalogue import Catalogue
from functions.__main__ import LambdaContext, invoke
from infra.local.emulator import free_port
from infra.local.suite import CALLBACK_KEY
from infra.local.telegram import bot_api, outcomes
from infra.local.telegram.outcomes import Outcome
from infra.local.telegram.server import FakeTelegram

ROOT = Path(__file__).parents[3]
TOKEN = "123456:" + "A" * 35
PARAMETER = "/rekindle/test/bot-token"
KEY_PARAMETER = "/rekindle/test/callback-key"
S = OutreachState
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeTelegram]:
    with FakeTelegram(TOKEN, bot_api=bot_api.find()) as running:
        yield running


@pytest.fixture
def telegram(server: FakeTelegram) -> FakeTelegram:
    server.reset()
    return server


@pytest.fixture
def deployed(table: str, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The function's environment, with its token in SSM."""
    settings = OutreachSenderSettings(
        table_name=table,
        bot_id=123456,
        model_bucket=f"models-{os.environ['AWS_ACCESS_KEY_ID']}",  # bucket names are everybody's
        ml_prediction_enabled="on",
        bot_token_parameter=PARAMETER,
        callback_key_parameter=KEY_PARAMETER,
        helplines="none",
        telegram_api_url=telegram.url,
        sends_per_second=25,
        lease_seconds=300,
        ai_model="default",
        ai_daily_budget=10,
        ai_key_parameter="/rekindle/test/ai-key",
        ai_api_url="default",
        consent_policy="ask",
        max_outreaches_per_user_per_day=1,
        min_hours_between_outreaches=12,
        quiet_hours="off",
        churn_threshold=0.8,
        checkin_threshold=0.6,
        rollout="100",
        daily_budget=0,
        experiment="first",
        control_percent=0.0,
        type_control="0",
        outreach_enabled="on",
        ai_message_enhancement="off",
        mood_support="answered",
        features="none",
    )
    boto3.client("s3").create_bucket(Bucket=settings.model_bucket)
    variables = {**settings.to_env(), "POWERTOOLS_SERVICE_NAME": "outreach_sender"}
    variables["POWERTOOLS_METRICS_NAMESPACE"] = "Rekindle"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    put_token(TOKEN)
    put_key()
    return monkeypatch


def put_token(token: str) -> None:
    boto3.client("ssm").put_parameter(Name=PARAMETER, Value=token, Type="SecureString", Overwrite=True)
    secrets.forget()


def put_key() -> None:
    boto3.client("ssm").put_parameter(Name=KEY_PARAMETER, Value=CALLBACK_KEY, Type="SecureString", Overwrite=True)


@pytest.fixture
def over_http(bot: Any, telegram: FakeTelegram) -> Callable[..., Any]:
    """Run the sender with the real client, less patient than in production."""

    def run(after: timedelta = timedelta(), url: str = telegram.url, **changes: Any) -> Any:
        client = TelegramClient(TOKEN, url, connect_seconds=0.5, read_seconds=0.5)
        return bot.run(after, connect=lambda: client, **changes)

    return run


# --- the function ---


def test_a_tick_delivers_what_is_due(bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any) -> None:
    """R55, R57, R96: the name is shown as it is, the buttons are signed, the paid broadcast is not there."""
    name = '<b>Ömer & "Co"</b> שלום 👍🏽'
    bot.user(7, first_name=name)
    key = bot.plan(7)
    report = invoke("outreach_sender", sample("outreach_sender/tick"))
    assert report["sent"] == 1
    assert report["stopped"] is None
    (message,) = telegram.received_by(7)
    assert message.entities == ()
    assert name in message.text
    assert message.reply_markup is not None
    buttons = [button["callback_data"] for row in message.reply_markup["inline_keyboard"] for button in row]
    presses = [Signer(123456, lambda: CALLBACK_KEY).read(data, 7) for data in buttons]
    exposed_at = bot.stored(key).exposed_at
    assert [(press.button, press.about) for press in presses if press] == [
        (button, Exposure(OutreachType.RE_ENGAGEMENT, exposed_at)) for button in UNDER_OUTREACH
    ]
    assert all(len(data.encode()) <= 64 for data in buttons)
    assert "allow_paid_broadcast" not in message.params
    assert telegram.problems == []
    assert bot.stored(key).state is S.SENT
    assert bot.stored(key).message_id == message.message_id
    assert bot.stored(key).sent_at >= bot.now


def test_a_tick_of_one_shard_delivers_only_its_share(
    bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any
) -> None:
    planned = []
    for user in range(1, 9):
        bot.user(user)
        planned.append(bot.plan(user))
    sent = invoke("outreach_sender", sample("outreach_sender/tick_shard"))["sent"]
    assert 0 < sent < 8
    assert len(telegram.messages) == sent


def test_the_model_is_asked_again_whether_somebody_is_about_to_leave(
    bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any
) -> None:
    """R42: one of two was planned for on a score that nothing speaks for any more."""
    bot.user(7)
    bot.seen(7, *(bot.now - timedelta(days=day, hours=2) for day in range(30)))
    bot.user(8)
    bot.seen(8, *(bot.now - timedelta(days=40 + day) for day in range(3)))
    regular, leaver = (bot.plan(user, trigger="churn_14d_high") for user in (7, 8))
    report = invoke("outreach_sender", sample("outreach_sender/tick"))
    assert (report["sent"], report["suppressed"]) == (1, {"not_needed_any_more": 1})
    assert (bot.state(regular), bot.state(leaver)) == (S.CANCELLED, S.SENT)


def test_the_operators_own_texts_are_sent_too(bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any) -> None:
    """R55: read from the table at each run."""
    own = MessageTemplate("ours", "Good day {name}, the door is open.", ["name"])
    Catalogue(bot.bot_id).put(keys.TEMPLATE_PREFIX, "re_engagement.ours", own.definition, bot.now)
    bot.user(7, first_name="<Ada>")
    bot.plan(7, template="re_engagement.ours")
    assert invoke("outreach_sender", sample("outreach_sender/tick"))["sent"] == 1
    (message,) = telegram.received_by(7)
    assert message.text == "Good day <Ada>, the door is open."


def test_an_unreadable_tick_is_refused(deployed: Any, sample: Any) -> None:
    with pytest.raises(BadTickError, match="scheduled_time"):
        invoke("outreach_sender", sample("outreach_sender/bad_tick"))


def test_switched_off_it_sends_nothing(bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any) -> None:
    bot.user(7)
    key = bot.plan(7)
    deployed.setenv("OUTREACH_ENABLED", "off")
    assert invoke("outreach_sender", sample("outreach_sender/tick"))["stopped"] == "off"
    assert telegram.calls == []
    assert bot.state(key) is S.SCHEDULED


def test_another_bots_token_does_not_start(bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any) -> None:
    """R58: the message names the parameter and the bot, not the token."""
    put_token("654321:" + "B" * 35)
    with pytest.raises(SettingsError, match=r"/rekindle/test/bot-token .* 123456") as error:
        invoke("outreach_sender", sample("outreach_sender/tick"))
    assert "654321" not in str(error.value)
    assert telegram.calls == []


def test_a_missing_token_does_not_start(deployed: Any, sample: Any) -> None:
    deployed.setenv("BOT_TOKEN_PARAMETER", "/rekindle/test/nowhere")
    with pytest.raises(SecretUnavailableError, match="/rekindle/test/nowhere"):
        invoke("outreach_sender", sample("outreach_sender/tick"))


def test_too_little_time_left_sends_nothing(bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any) -> None:
    """R54."""
    bot.user(7)
    key = bot.plan(7)
    context = LambdaContext(function_name="outreach_sender", timeout_seconds=18.0)
    assert invoke("outreach_sender", sample("outreach_sender/tick"), context)["stopped"] == "out_of_time"
    assert telegram.calls == []
    assert bot.state(key) is S.SCHEDULED


# --- Telegram as it really answers ---

ANSWERS: dict[str, tuple[Outcome, OutreachState, int]] = {
    # the answer; what becomes of the outreach; how many messages reach the user
    "ok": (outcomes.OK, S.SENT, 1),
    "accepts, then hangs": (outcomes.ACCEPT_THEN_HANG, S.UNKNOWN, 1),
    "accepts, then resets": (outcomes.ACCEPT_THEN_RESET, S.UNKNOWN, 1),
    "accepts, then closes": (outcomes.ACCEPT_THEN_CLOSE, S.UNKNOWN, 1),
    "hangs": (outcomes.HANG, S.UNKNOWN, 0),
    "resets": (outcomes.RESET, S.UNKNOWN, 0),
    "accepts, then 500": (outcomes.DELETED_AT_ONCE, S.UNKNOWN, 1),
    "502": (outcomes.GATEWAY_PAGE, S.UNKNOWN, 0),
    "garbage": (outcomes.GARBAGE, S.UNKNOWN, 1),
    "blocked": (outcomes.BLOCKED, S.FAILED, 0),
    "deactivated": (outcomes.DEACTIVATED, S.FAILED, 0),
    "cannot initiate": (outcomes.CANNOT_INITIATE, S.FAILED, 0),
    "chat not found": (outcomes.CHAT_NOT_FOUND, S.FAILED, 0),
    "another 400": (outcomes.bad_request("message is too long"), S.FAILED, 0),
    "401": (outcomes.UNAUTHORIZED, S.SCHEDULED, 0),
    "429": (outcomes.too_many_requests(7), S.SCHEDULED, 0),
    "migrated": (outcomes.migrated(-100_777), S.SCHEDULED, 0),
    "cannot parse, then ok": (outcomes.CANNOT_PARSE, S.SENT, 1),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_each_answer_of_telegram_has_its_place(bot: Any, over_http: Any, telegram: FakeTelegram, answer: str) -> None:
    """R44, R49, R50: what is certain is sent or failed or tried again; what is not is unknown for ever."""
    outcome, state, reached = ANSWERS[answer]
    bot.user(7)
    key = bot.plan(7)
    telegram.script(outcome)
    over_http()
    assert bot.state(key) is state
    assert len(telegram.messages) == reached
    # Scheduled again means the count was given back; everything else keeps it.
    assert bot.profile(7).cap_count == (0 if state is S.SCHEDULED else 1)
    assert bot.profile(7).blocked is (answer in {"blocked", "deactivated", "cannot initiate", "chat not found"})
    # Whatever comes later, it reaches the user at most once.
    for hours in (1, 13, 26):
        bot.sweep(hours * HOUR)
        over_http(hours * HOUR)
    assert len(telegram.messages) == (1 if state is S.SCHEDULED else reached)
    assert telegram.problems == []


def test_a_closed_port_costs_nothing_but_attempts(bot: Any, over_http: Any) -> None:
    """R46: connect refused: scheduled, cap refunded, at most three attempts."""
    bot.user(7)
    key = bot.plan(7)
    nobody = f"http://127.0.0.1:{free_port()}"
    states = []
    for minutes in (0, 5, 20, 60):
        over_http(minutes * MINUTE, url=nobody)
        states.append((bot.state(key), bot.stored(key).attempts))
    assert states == [(S.SCHEDULED, 1), (S.SCHEDULED, 2), (S.FAILED, 3), (S.FAILED, 3)]


def test_a_hanging_telegram_does_not_hold_the_run(bot: Any, over_http: Any, telegram: FakeTelegram) -> None:
    """R59: three silences and the run ends, each after its timeout."""
    for user in range(1, 12):
        bot.user(user)
        bot.plan(user)
    telegram.script(outcomes.HANG, times=None)
    began = time.monotonic()
    report = over_http()
    assert time.monotonic() - began < 5
    assert report.stopped == "unwell"
    assert len(telegram.calls) == 3
    telegram.unscript()


def test_with_four_workers_nobody_calls_after_a_429(bot: Any, over_http: Any, telegram: FakeTelegram) -> None:
    """R47: those already under way are the last; 40 users are due, and all get their message in the end."""
    planned = []
    for user in range(1, 41):
        bot.user(user)
        planned.append(bot.plan(user))
    bot.workers = 4
    telegram.script(outcomes.too_many_requests(7))
    report = over_http(monotonic=time.monotonic, sleep=time.sleep)
    assert report.stopped == "throttled"
    assert len(telegram.calls) <= 4
    for seconds in (1, 6):
        assert over_http(timedelta(seconds=seconds)).stopped == "paused"
    assert len(telegram.calls) <= 4
    over_http(timedelta(seconds=9), monotonic=time.monotonic, sleep=time.sleep)
    assert {bot.state(key) for key in planned} == {S.SENT}
    assert len(telegram.messages) == 40


def test_telegram_sees_no_more_messages_a_second_than_it_allows(
    bot: Any, over_http: Any, telegram: FakeTelegram
) -> None:
    """R53: measured where they arrive, with four workers at full speed."""
    for user in range(1, 61):
        bot.user(user)
        bot.plan(user)
    bot.workers = 4
    report = over_http(monotonic=time.monotonic, sleep=time.sleep)
    assert report.sent == 60
    assert telegram.most_sent_within(1.0) <= 30
    assert max(telegram.most_sent_within(1.0, chat_id=user) for user in range(1, 61)) == 1


# --- killed, and listened to ---


def start(sample_name: str, **environment: str) -> subprocess.Popen[str]:
    """Start the function with a sample event, in a process of its own."""
    event = ROOT / "events" / "outreach_sender" / f"{sample_name}.json"
    return subprocess.Popen(
        [sys.executable, "-m", "functions", "outreach_sender", str(event)],
        env=os.environ | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_while_telegram_hangs_it_is_never_sent_again(
    bot: Any, deployed: Any, telegram: FakeTelegram, sample: Any
) -> None:
    """R45: a real SIGKILL between request and record; the user has the message, and gets no second one."""
    bot.user(7)
    key = bot.plan(7)
    telegram.script(outcomes.ACCEPT_THEN_HANG)
    process = start("tick")
    try:
        deadline = time.monotonic() + 20
        while not telegram.messages and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(telegram.messages) == 1
    assert bot.state(key) is S.SENDING
    # The dead run's lease keeps the next one out for a while; then its claim is over, too.
    assert bot.run(MINUTE).stopped == "lease_held"
    assert bot.sweep(6 * MINUTE) == {S.UNKNOWN: 1}
    for hours in (1, 13, 30):
        later = {"scheduled_time": (bot.now + hours * HOUR).isoformat(), "shard": 0, "of": 1}
        assert invoke("outreach_sender", later)["sent"] == 0
    assert len(telegram.messages) == 1
    assert bot.state(key) is S.UNKNOWN


SECRETS = re.compile("A{35}|canary-name|door is open|canary-previous", re.IGNORECASE)


def test_whatever_happens_no_log_holds_the_token_a_name_or_a_text(
    bot: Any, deployed: Any, telegram: FakeTelegram
) -> None:
    """R58: everything the function writes, at DEBUG, with every answer and no connection at all."""
    scripts = [
        outcomes.OK,
        outcomes.ACCEPT_THEN_RESET,
        outcomes.CANNOT_PARSE,
        outcomes.BLOCKED,
        outcomes.GATEWAY_PAGE,
        outcomes.bad_request("message text is empty"),
        outcomes.migrated(-100),
    ]
    for user, script in enumerate(scripts, start=1):
        bot.user(user, first_name="Canary-Name")
        bot.plan(user)
        telegram.script(script, chat_id=user)
    mixed = everything_said_by("tick")
    assert len({call.params["chat_id"] for call in telegram.calls}) == len(scripts)
    for user in range(50, 55):
        bot.user(user, first_name="Canary-Name")
        bot.plan(user)
    telegram.script(outcomes.UNAUTHORIZED, times=None)
    refused = everything_said_by("tick")
    telegram.unscript()
    unconnected = everything_said_by("tick", TELEGRAM_API_URL=f"http://127.0.0.1:{free_port()}")
    telegram.script(outcomes.too_many_requests(7), times=None)
    throttled = everything_said_by("tick")
    telegram.unscript()
    for said, sign in ((mixed, "unknown"), (refused, "bad_token"), (unconnected, "unwell"), (throttled, "throttled")):
        assert f'"{sign}"' in said
        assert SECRETS.search(said) is None


def everything_said_by(sample_name: str, **environment: str) -> str:
    """Run the function to its end, talkative; return all it wrote."""
    process = start(sample_name, POWERTOOLS_LOG_LEVEL="DEBUG", PYTHONWARNINGS="default", **environment)
    said = "\n".join(process.communicate(timeout=60))
    assert process.returncode == 0, said
    return said


def test_the_canary_would_be_found() -> None:
    assert SECRETS.search(f"/bot{TOKEN}/sendMessage")
    assert SECRETS.search("Hi Canary-Name! The door is open")
