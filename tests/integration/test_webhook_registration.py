"""`rekindle webhook set` and `info`: the logic against the fake Telegram, the command against the local AWS."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from engagement.clients.secrets import MAX_AGE_SECONDS
from engagement.clients.telegram import TelegramClient
from engagement.errors import TelegramApiError
from infra.cli.main import main
from infra.cli.registration import OVERLAP_SECONDS, Plan, RegistrationError, complaints, register, rotate
from infra.config import WEBHOOK_MAX_CONNECTIONS, parameter_name
from infra.local.telegram import bot_api, outcomes
from infra.local.telegram.server import FakeTelegram

TOKEN = "987654:" + "B" * 35
URL = "http://127.0.0.1:9/telegram"
CURRENT, PREVIOUS = "/rekindle/test/webhook-secret", "/rekindle/test/webhook-secret-previous"
PLAN = Plan(url=URL, secret_parameter=CURRENT, previous_parameter=PREVIOUS, max_connections=10)
WANTED = {"message", "edited_message", "callback_query", "my_chat_member"}


class Shelf(dict[str, str]):
    """Parameters in memory, with a history of writes."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[tuple[str, str]] = []

    def read(self, name: str) -> str:
        return self.get(name, "")

    def write(self, name: str, value: str) -> None:
        self[name] = value
        self.history.append((name, value))


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram(TOKEN, bot_api=bot_api.find()) as running:
        yield running
    assert running.problems == []


@pytest.fixture
def client(telegram: FakeTelegram) -> TelegramClient:
    return TelegramClient(TOKEN, telegram.url)


def test_the_first_registration_creates_a_secret_and_sets_everything(
    telegram: FakeTelegram, client: TelegramClient
) -> None:
    """R11, R12: url, secret, the four kinds of update and the number of connections, in one call."""
    shelf = Shelf()
    done = register(client, shelf, PLAN)
    assert done.created_secret
    assert len(shelf[CURRENT]) >= 43
    (call,) = [call for call in telegram.calls if call.method == "setWebhook"]
    assert set(call.params) == {"url", "secret_token", "allowed_updates", "max_connections"}
    assert set(call.params["allowed_updates"]) >= WANTED
    assert telegram.webhook.secret_token == shelf[CURRENT]
    assert (telegram.webhook.url, telegram.webhook.max_connections) == (URL, 10)


def test_a_second_registration_leaves_the_secret_set(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R11: setWebhook clears what it is not told again, so it is told everything every time."""
    shelf = Shelf()
    register(client, shelf, PLAN)
    before = telegram.webhook
    assert before.secret_token
    assert not register(client, shelf, PLAN).created_secret
    assert telegram.webhook == before
    assert len(shelf.history) == 1


def test_a_registration_repairs_what_somebody_else_did(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R11: a bare setWebhook by hand cleared the secret and the connections."""
    shelf = Shelf()
    register(client, shelf, PLAN)
    client.set_webhook("http://127.0.0.1:9/other", "", ["message"], 40)
    register(client, shelf, PLAN)
    assert telegram.webhook.secret_token == shelf[CURRENT]
    assert set(telegram.webhook.allowed_updates or ()) == WANTED


def test_a_webhook_that_did_not_take_is_noticed(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R11: verified by getWebhookInfo, not believed."""
    other = b'{"ok": true, "result": {"url": "http://127.0.0.1:9/other", "pending_update_count": 0}}'
    telegram.script(outcomes.Outcome(accepted=True, body=other), method="getWebhookInfo")
    with pytest.raises(RegistrationError, match="run `rekindle webhook set` again"):
        register(client, Shelf(), PLAN)


def test_a_refusal_is_passed_on(client: TelegramClient) -> None:
    with pytest.raises(TelegramApiError, match="bad webhook"):
        register(client, Shelf(), Plan(url="https://x.example", secret_parameter=CURRENT,
                                       previous_parameter=PREVIOUS, max_connections=10))  # fmt: skip


def test_stop_and_privacy_are_in_the_menu(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R73: Telegram's terms ask for /privacy; /stop must be found without asking."""
    register(client, Shelf(), PLAN)
    assert {"stop", "privacy", "start"} <= {entry["command"] for entry in telegram.commands}


def test_no_update_is_turned_away_while_the_secret_is_replaced(
    telegram: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2: whatever mix of old and new parameters a running copy of the webhook holds, Telegram's secret passes."""
    shelf = Shelf()
    register(client, shelf, PLAN)
    old = telegram.webhook.secret_token
    held = {CURRENT: {old}, PREVIOUS: {""}}  # what a cache may hold of each parameter
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        for parameter, values in held.items():
            values.add(shelf.read(parameter))
        for current, previous in product(held[CURRENT], held[PREVIOUS]):
            assert telegram.webhook.secret_token in (current, previous)

    def wait(seconds: float) -> None:
        assert seconds >= OVERLAP_SECONDS > MAX_AGE_SECONDS
        check()
        for parameter, values in held.items():  # by now every cache has run out
            values.clear()
            values.add(shelf.read(parameter))

    real_write, real_set = shelf.write, client.set_webhook
    monkeypatch.setattr(shelf, "write", lambda *values: (real_write(*values), check()))
    monkeypatch.setattr(client, "set_webhook", lambda *values: (real_set(*values), check()))
    rotate(client, shelf, PLAN, wait)
    assert checks == 4
    assert telegram.webhook.secret_token == shelf[CURRENT] == shelf[PREVIOUS] != old


@pytest.mark.parametrize("writes", [0, 1])
def test_a_rotation_that_is_interrupted_leaves_a_secret_that_passes(
    telegram: FakeTelegram, client: TelegramClient, writes: int
) -> None:
    """R2: and running `set` afterwards puts things right."""

    class Fragile(Shelf):
        def write(self, name: str, value: str) -> None:
            if len(self.history) > writes:
                raise KeyboardInterrupt
            super().write(name, value)

    shelf = Fragile()
    register(client, shelf, PLAN)
    with pytest.raises(KeyboardInterrupt):
        rotate(client, shelf, PLAN, lambda _: None)
    assert telegram.webhook.secret_token in (shelf[CURRENT], shelf.read(PREVIOUS))
    register(client, shelf, PLAN)
    assert telegram.webhook.secret_token == shelf[CURRENT]


def test_there_must_be_a_secret_to_replace(client: TelegramClient) -> None:
    with pytest.raises(RegistrationError, match="run `rekindle webhook set` first"):
        rotate(client, Shelf(), PLAN, lambda _: None)


def test_what_is_wrong_is_said_plainly(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R88: each complaint names its remedy."""
    register(client, Shelf(), PLAN)
    now = datetime.now(UTC)
    assert complaints(client.webhook_info(), PLAN, now) == []
    client.set_webhook("http://127.0.0.1:9/other", "", ["message"], 40)
    different, updates, connections = complaints(client.webhook_info(), PLAN, now)
    assert "they go to http://127.0.0.1:9/other" in different
    assert "missing: edited_message, callback_query, my_chat_member" in updates
    assert "40 connections" in connections
    assert all("rekindle webhook set" in line for line in (different, updates, connections))


# --- the commands -----------------------------------------------------------------------------------------------------


def aws_client(service: str) -> Any:
    """Return a client with this test's credentials; boto3's default session would keep the first test's."""
    return boto3.Session().client(service)


def run(telegram: FakeTelegram, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["webhook", *arguments, "--stage", "test", "--telegram-api-url", telegram.url])


@pytest.fixture
def token(aws: dict[str, str]) -> None:
    """The bot's token, where the operator put it."""
    aws_client("ssm").put_parameter(Name=parameter_name("test", "bot-token"), Value=TOKEN, Type="SecureString")


def test_set_and_info_by_command(telegram: FakeTelegram, token: None) -> None:
    """R11, R12: the secret is created once, kept, and never shown."""
    first, second = run(telegram, "set", "--url", URL), run(telegram, "set", "--url", URL)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    secret = aws_client("ssm").get_parameter(Name=CURRENT, WithDecryption=True)["Parameter"]
    assert (secret["Value"], secret["Type"]) == (telegram.webhook.secret_token, "SecureString")
    assert telegram.webhook.max_connections == WEBHOOK_MAX_CONNECTIONS
    assert "A secret was created" in first.output
    assert "A secret was created" not in second.output

    info = run(telegram, "info", "--url", URL)
    assert info.exit_code == 0
    assert "Telegram reaches this stack" in info.output
    wrong = run(telegram, "info", "--url", URL + "2")
    assert wrong.exit_code == 1
    assert "another address than this stack's" in wrong.output
    for output in (first.output, second.output, info.output, wrong.output):
        assert TOKEN not in output
        assert secret["Value"] not in output


def test_rotate_by_command(telegram: FakeTelegram, token: None) -> None:
    """R2: both parameters hold the new secret in the end."""
    run(telegram, "set", "--url", URL)
    old = telegram.webhook.secret_token
    began = time.monotonic()
    result = run(telegram, "set", "--url", URL, "--rotate", "--overlap-seconds", "0")
    assert result.exit_code == 0, result.output
    assert time.monotonic() - began < 5
    new = telegram.webhook.secret_token
    ssm = aws_client("ssm")
    values = [ssm.get_parameter(Name=n, WithDecryption=True)["Parameter"]["Value"] for n in (CURRENT, PREVIOUS)]
    assert values == [new, new]
    assert new != old
    assert new not in result.output


def test_the_address_comes_from_the_stack(telegram: FakeTelegram, token: None) -> None:
    """R11: without --url, the stack's own output."""
    missing = run(telegram, "set")
    assert missing.exit_code == 1
    assert "there is no stack Rekindle-test here; deploy it" in missing.output
    template = {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"WebhookUrl": {"Value": URL}}}
    aws_client("cloudformation").create_stack(StackName="Rekindle-test", TemplateBody=json.dumps(template))
    found = run(telegram, "set")
    assert found.exit_code == 0, found.output
    assert telegram.webhook.url == URL


def test_errors_say_what_to_do_next(telegram: FakeTelegram, aws: dict[str, str]) -> None:
    no_token = run(telegram, "set", "--url", URL)
    assert no_token.exit_code == 1
    assert "store BotFather's" in no_token.output
    aws_client("ssm").put_parameter(Name=parameter_name("test", "bot-token"), Value="1:x", Type="SecureString")
    wrong = run(telegram, "set", "--url", URL)
    assert "is this the bot's token?" in wrong.output
    in_the_clear = ["--stage", "test", "--url", URL, "--telegram-api-url", "http://api.telegram.org"]
    refused = CliRunner().invoke(main, ["webhook", "info", *in_the_clear])
    assert "would carry the token in the clear" in refused.output


def test_no_command_goes_to_aws_because_nothing_runs_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a stage it is the local suite or nothing."""
    monkeypatch.setattr("infra.local.suite.STATE_FILE", tmp_path / "local.json")
    result = CliRunner().invoke(main, ["webhook", "info"], env={"REKINDLE_STAGE": ""})
    assert result.exit_code == 1
    assert "no local suite is running" in result.output
