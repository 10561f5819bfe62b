"""`rekindle webhook set`, `restore` and `info`: the logic against the fake Telegram, the command against local AWS."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from engagement.clients.secrets import MAX_AGE_SECONDS
from engagement.clients.telegram import TelegramClient
from engagement.domain.languages import LANGUAGES
from engagement.domain.replies import COMMANDS, say
from engagement.domain.webhook import BotCommand
from engagement.errors import TelegramApiError
from infra.cli import before
from infra.cli import webhook as command
from infra.cli.main import main
from infra.cli.registration import (
    OVERLAP_SECONDS,
    Plan,
    RegistrationError,
    complaints,
    register,
    restore,
    rotate,
)
from infra.config import WEBHOOK_MAX_CONNECTIONS, parameter_name
from infra.local.telegram import bot_api, outcomes, updates
from infra.local.telegram.server import FakeTelegram
from infra.local.telegram.updates import Person
from infra.local.telegram.webhook import Webhook

TOKEN = "987654:" + "B" * 35
URL = "http://127.0.0.1:9/telegram"
CURRENT, PREVIOUS = "/rekindle/test/webhook-secret", "/rekindle/test/webhook-secret-previous"
BUTTONS, BEFORE = "/rekindle/test/callback-key", "/rekindle/test/webhook-before"
PLAN = Plan(
    url=URL,
    secret_parameter=CURRENT,
    previous_parameter=PREVIOUS,
    callback_key_parameter=BUTTONS,
    before_parameter=BEFORE,
    max_connections=10,
)
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

    def delete(self, name: str) -> None:
        del self[name]


class Asked:
    """An operator who is asked: remembers what was shown, and answers as told."""

    def __init__(self, *, answer: bool = True) -> None:
        self.answer = answer
        self.shown: list[list[str]] = []

    def __call__(self, lines: Sequence[str]) -> bool:
        self.shown.append(list(lines))
        return self.answer


def never(lines: Sequence[str]) -> bool:
    pytest.fail(f"asked about {lines}")


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
    done = register(client, shelf, PLAN, never)
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
    register(client, shelf, PLAN, never)
    before = telegram.webhook
    assert before.secret_token
    assert not register(client, shelf, PLAN, never).created_secret
    assert telegram.webhook == before
    assert sorted(name for name, _ in shelf.history) == [BUTTONS, BEFORE, CURRENT]
    assert [call.method for call in telegram.calls].count("setMyCommands") == len(LANGUAGES)


def test_a_registration_repairs_what_somebody_else_did(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R11: a bare setWebhook by hand cleared the secret and the connections."""
    shelf = Shelf()
    register(client, shelf, PLAN, never)
    client.set_webhook(URL, "", ["message"], 40)
    register(client, shelf, PLAN, never)
    assert telegram.webhook.secret_token == shelf[CURRENT]
    assert set(telegram.webhook.allowed_updates or ()) == WANTED


def test_a_webhook_that_did_not_take_is_noticed(
    telegram: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R11: verified by getWebhookInfo, not believed."""
    other = b'{"ok": true, "result": {"url": "http://127.0.0.1:9/other", "pending_update_count": 0}}'
    ours = client.set_webhook

    def set_webhook(*values: Any) -> None:
        ours(*values)
        telegram.script(outcomes.Outcome(accepted=True, body=other), method="getWebhookInfo")

    monkeypatch.setattr(client, "set_webhook", set_webhook)
    with pytest.raises(RegistrationError, match="run `rekindle webhook set` again"):
        register(client, Shelf(), PLAN, never)


def test_a_refusal_is_passed_on(client: TelegramClient) -> None:
    with pytest.raises(TelegramApiError, match="bad webhook"):
        register(client, Shelf(), replace(PLAN, url="https://x.example"), never)


def test_stop_and_privacy_are_in_the_menu_of_every_language(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R73: Telegram's terms ask for /privacy; /stop must be found without asking, and read."""
    register(client, Shelf(), PLAN, never)
    assert [entry["command"] for entry in telegram.commands] == list(COMMANDS)
    assert {"start", "stop", "privacy"} <= set(COMMANDS)
    assert telegram.menu("en") == []  # English is for everybody who has no menu of their own
    for language in set(LANGUAGES) - {"en"}:
        menu = {entry["command"]: entry["description"] for entry in telegram.menu(language)}
        assert menu == {name: say(f"menu_{name}", language) for name in COMMANDS}
    assert len({json.dumps(telegram.menu(language)) for language in LANGUAGES}) == len(LANGUAGES)


def test_the_key_of_the_buttons_is_made_once_and_never_replaced(client: TelegramClient) -> None:
    """R121: buttons under old messages keep working, also when the secret is rotated."""
    shelf = Shelf()
    register(client, shelf, PLAN, never)
    key = shelf[BUTTONS]
    assert len(key) >= 43
    assert key != shelf[CURRENT]
    register(client, shelf, PLAN, never)
    rotate(client, shelf, PLAN, never, lambda _: None)
    assert shelf[BUTTONS] == key
    assert shelf.history.count((BUTTONS, key)) == 1


def test_no_update_is_turned_away_while_the_secret_is_replaced(
    telegram: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2: whatever mix of old and new parameters a running copy of the webhook holds, Telegram's secret passes."""
    shelf = Shelf()
    register(client, shelf, PLAN, never)
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
    rotate(client, shelf, PLAN, never, wait)
    assert checks == 4
    assert telegram.webhook.secret_token == shelf[CURRENT] == shelf[PREVIOUS] != old


@pytest.mark.parametrize("writes", [0, 1])
def test_a_rotation_that_is_interrupted_leaves_a_secret_that_passes(
    telegram: FakeTelegram, client: TelegramClient, writes: int
) -> None:
    """R2: and running `set` afterwards puts things right."""

    class Fragile(Shelf):
        def write(self, name: str, value: str) -> None:
            if [name for name, _ in self.history].count(CURRENT) and len(self.history) > 2 + writes:
                raise KeyboardInterrupt
            super().write(name, value)

    shelf = Fragile()
    register(client, shelf, PLAN, never)
    with pytest.raises(KeyboardInterrupt):
        rotate(client, shelf, PLAN, never, lambda _: None)
    assert telegram.webhook.secret_token in (shelf[CURRENT], shelf.read(PREVIOUS))
    register(client, shelf, PLAN, never)
    assert telegram.webhook.secret_token == shelf[CURRENT]


def test_there_must_be_a_secret_to_replace(client: TelegramClient) -> None:
    with pytest.raises(RegistrationError, match="run `rekindle webhook set` first"):
        rotate(client, Shelf(), PLAN, never, lambda _: None)


def test_what_is_wrong_is_said_plainly(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R88: each complaint names its remedy."""
    register(client, Shelf(), PLAN, never)
    now = datetime.now(UTC)
    assert complaints(client.webhook_info(), PLAN, now) == []
    client.set_webhook("http://127.0.0.1:9/other", "", ["message"], 40)
    different, updates, connections = complaints(client.webhook_info(), PLAN, now)
    assert "they go to http://127.0.0.1:9/other" in different
    assert "missing: edited_message, callback_query, my_chat_member" in updates
    assert "40 connections" in connections
    assert all("rekindle webhook set" in line for line in (different, updates, connections))


# --- a bot that lives already ---

HOST = "http://127.0.0.1:9/the-shop"
KINDS = ["message", "callback_query", "pre_checkout_query"]
SHOP = {None: [BotCommand("buy", "Buy something"), BotCommand("help", "Ask us")], "de": [BotCommand("buy", "Kaufen")]}


@pytest.fixture
def living(telegram: FakeTelegram, client: TelegramClient) -> FakeTelegram:
    """A shop's bot: a webhook with a secret, payments, and a menu in two languages."""
    client.set_webhook(HOST, "shops-secret", KINDS, 25)
    for language, menu in SHOP.items():
        client.set_my_commands(menu, language)
    return telegram


def changing(telegram: FakeTelegram) -> list[str]:
    """Return the calls so far that change something."""
    return [call.method for call in telegram.calls if not call.method.startswith("get")]


def as_the_shop_left_it(telegram: FakeTelegram, secret: str = "shops-secret") -> bool:
    webhook = telegram.webhook
    menus = {language: telegram.menu(language or "") for language in (None, *LANGUAGES)}
    expected = {
        language: [{"command": e.command, "description": e.description} for e in SHOP.get(language, [])]
        for language in menus
    }
    told = (webhook.url, webhook.secret_token, list(webhook.allowed_updates or ()), webhook.max_connections)
    return told == (HOST, secret, KINDS, 25) and menus == expected


def test_what_would_be_lost_is_shown_and_a_no_changes_nothing(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: address, connections, kinds of update, each menu; and that the secret cannot be told."""
    living.push(updates.message(1, Person(7, "Ada"), "hi", date=int(time.time()), message_id=1))
    shelf, no, before = Shelf(), Asked(answer=False), changing(living)
    for take in (lambda: register(client, shelf, PLAN, no), lambda: register(client, shelf, PLAN, no)):
        with pytest.raises(RegistrationError, match="nothing was changed"):
            take()
    assert (shelf, shelf.history, changing(living)) == ({}, [], before)
    assert as_the_shop_left_it(living)
    assert (
        no.shown[0]
        == no.shown[1]
        == [
            f"webhook: {HOST} (25 connections)",
            "updates that wait for it, and will come to this stack: 1",
            "updates that will no longer arrive: pre_checkout_query",
            "menu: /buy Buy something; /help Ask us",
            "menu in de: /buy Kaufen",
            "its secret token, if it has one: Telegram never tells it, so note it now; `rekindle webhook restore` asks "
            "for it",
        ]
    )


def test_what_is_taken_can_be_put_back(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: the webhook with its options and the old secret, the menus, and none where there was none."""
    shelf, yes = Shelf(), Asked()
    assert register(client, shelf, PLAN, yes).replaced
    assert (living.webhook.url, living.webhook.secret_token) == (URL, shelf[CURRENT])
    assert not register(client, shelf, PLAN, never).replaced  # set twice keeps the first
    done = restore(client, shelf, PLAN, yes, lambda: "shops-secret")
    assert as_the_shop_left_it(living)
    assert (done.info.url, done.without_secret, done.needs_certificate) == (HOST, False, False)
    assert yes.shown[-1][:3] == [
        f"webhook: {HOST} (25 connections; updates: message, callback_query, pre_checkout_query)",
        "menu: /buy Buy something; /help Ask us",
        "menu in de: /buy Kaufen",
    ]
    assert yes.shown[-1][3:] == ["menus in es, pt, ru, fr, id, tr, ar, hi: removed, for the bot had none"]
    with pytest.raises(RegistrationError, match="there is nothing to put back"):
        restore(client, shelf, PLAN, yes, lambda: "shops-secret")


def test_a_no_to_putting_back_changes_nothing(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: nor does a secret that Telegram would refuse."""
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    before, kept = changing(living), shelf[BEFORE]
    with pytest.raises(RegistrationError, match="nothing was changed"):
        restore(client, shelf, PLAN, Asked(answer=False), lambda: "shops-secret")
    with pytest.raises(RegistrationError, match="at most 256"):
        restore(client, shelf, PLAN, Asked(), lambda: "two words")
    assert (changing(living), shelf[BEFORE]) == (before, kept)


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ([], "inline_query"),
        (KINDS, "pre_checkout_query"),
        (["message"], ""),
        (["chat_member", "message"], "chat_member"),
    ],
)
def test_kinds_of_update_are_named_and_put_back(
    telegram: FakeTelegram, client: TelegramClient, kinds: list[str], shown: str
) -> None:
    """R121: also Telegram's default set, which it does not name and which an empty list sets."""
    client.set_webhook(HOST, None, kinds, 40)
    before, shelf, yes = telegram.webhook, Shelf(), Asked()
    register(client, shelf, PLAN, yes)
    assert any(line.startswith("updates that will no longer") and shown in line for line in yes.shown[0]) == bool(shown)
    assert restore(client, shelf, PLAN, yes, lambda: "").without_secret
    assert telegram.webhook == before


@pytest.mark.parametrize("kinds", [None, ["message", "pre_checkout_query"]])
def test_a_bot_that_fetches_its_updates_gets_its_kinds_back(
    telegram: FakeTelegram, client: TelegramClient, kinds: list[str] | None
) -> None:
    """R121: the list outlives the webhook and would keep payments from getUpdates for ever."""
    if kinds:
        client.set_webhook(HOST, None, kinds, 40)
        client.delete_webhook()
    before, shelf, yes = telegram.webhook, Shelf(), Asked()
    register(client, shelf, PLAN, yes)
    assert yes.shown == ([["updates that will no longer arrive: pre_checkout_query"]] if kinds else [])
    restore(client, shelf, PLAN, yes, lambda: pytest.fail("there was no webhook"))
    assert telegram.webhook == before
    assert BEFORE not in shelf
    assert not any(telegram.menu(language) for language in ("", *LANGUAGES))


@pytest.mark.parametrize("method", ["setWebhook", "setMyCommands", "getWebhookInfo"])
def test_nothing_is_lost_when_telegram_refuses_half_way(
    living: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """R121: what was there is kept before anything is changed, and a second try does not keep ours instead."""
    shelf, yes = Shelf(), Asked()

    def write(name: str, value: str) -> None:
        if name == BEFORE:
            assert as_the_shop_left_it(living)
            if method == "getWebhookInfo":  # the second look, after the change
                living.script(outcomes.server_error(502), method=method)
        Shelf.write(shelf, name, value)

    monkeypatch.setattr(shelf, "write", write)
    if method != "getWebhookInfo":
        living.script(outcomes.server_error(502), method=method)
    with pytest.raises(TelegramApiError, match=r"502 .*`rekindle webhook restore` puts it back"):
        register(client, shelf, PLAN, yes)
    register(client, shelf, PLAN, yes)
    restore(client, shelf, PLAN, yes, lambda: "shops-secret")
    assert as_the_shop_left_it(living)


@pytest.mark.parametrize("method", ["setWebhook", "setMyCommands", "deleteMyCommands"])
def test_what_is_kept_stays_until_all_of_it_is_back(living: FakeTelegram, client: TelegramClient, method: str) -> None:
    """R121: a restore that fails can be run again."""
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    living.script(outcomes.too_many_requests(3), method=method)
    with pytest.raises(TelegramApiError, match="429"):
        restore(client, shelf, PLAN, Asked(), lambda: "shops-secret")
    restore(client, shelf, PLAN, Asked(), lambda: "shops-secret")
    assert as_the_shop_left_it(living)


def test_a_webhook_that_did_not_come_back_is_noticed(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: verified by getWebhookInfo; what is kept stays."""
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    client_says = client.webhook_info()
    client.webhook_info = lambda: client_says  # type: ignore[method-assign]
    with pytest.raises(RegistrationError, match="run `rekindle webhook restore` again"):
        restore(client, shelf, PLAN, Asked(), lambda: "shops-secret")
    assert BEFORE in shelf


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: text.replace('"format":1', '"format":2'),
        lambda text: text.replace('"marks":[', '"marks":[7,'),
        lambda text: '{"format":1,"packed":"AAAA"}',
        lambda text: "[]",
    ],
)
def test_what_is_kept_but_cannot_be_read_is_never_overwritten(
    living: FakeTelegram, client: TelegramClient, damage: Callable[[str], str]
) -> None:
    """R121: another version's or a damaged one; the message says what to do."""
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    shelf[BEFORE] = damage(shelf[BEFORE]) or "x"
    kept, before = shelf[BEFORE], changing(living)
    for use in (
        lambda: register(client, shelf, PLAN, never),
        lambda: rotate(client, shelf, PLAN, never, lambda _: None),
        lambda: restore(client, shelf, PLAN, never, lambda: ""),
    ):
        with pytest.raises(RegistrationError, match=f"aws ssm delete-parameter --name {BEFORE}"):
            use()
    assert (shelf[BEFORE], changing(living)) == (kept, before)


def test_our_own_older_words_and_address_are_nobody_elses(
    living: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R121: after a new version or a new stack nothing is asked, and the shop's things stay kept."""
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    moved = replace(PLAN, url=URL + "-new")
    monkeypatch.setattr(before, "say", lambda key, language: f"{say(key, language)}!")
    done = register(client, shelf, moved, never)
    assert (done.replaced, living.webhook.url) == (False, moved.url)
    assert all(entry["description"].endswith("!") for entry in living.menu("hi"))
    restore(client, shelf, moved, Asked(), lambda: "shops-secret")
    assert as_the_shop_left_it(living)


def test_what_the_bot_was_given_since_is_asked_for_and_kept(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: the newest of the bot's own is what can be put back, whether set or restore comes across it."""
    shelf, yes = Shelf(), Asked()
    register(client, shelf, PLAN, yes)
    client.set_webhook(HOST + "2", "new", KINDS, 25)
    client.set_my_commands([BotCommand("achat", "Acheter")], "fr")
    no = Asked(answer=False)
    with pytest.raises(RegistrationError):
        restore(client, shelf, PLAN, no, lambda: "")
    assert f"in place of {HOST}2, which somebody set since" in no.shown[0]
    assert not any(line.startswith("menu in fr") for line in no.shown[0])
    register(client, shelf, PLAN, yes)
    assert [line.partition(" (")[0] for line in yes.shown[1] if "25 connections" in line] == [f"webhook: {HOST}2"]
    restore(client, shelf, PLAN, yes, lambda: "new")
    assert (living.webhook.url, living.webhook.secret_token) == (HOST + "2", "new")
    assert [entry["command"] for entry in living.menu("fr")] == ["achat"]
    assert living.commands[0]["command"] == "buy"


def test_a_webhook_that_is_not_ours_is_not_removed(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R121: the bot had none when we came; what it was given since is not ours to take."""
    shelf, yes = Shelf(), Asked()
    register(client, shelf, PLAN, never)
    client.set_webhook(HOST, "shops-secret", KINDS, 25)
    restore(client, shelf, PLAN, yes, lambda: pytest.fail("there was no webhook"))
    assert yes.shown[0][0] == f"webhook: stays {HOST}, which somebody set since; the bot had none"
    assert (telegram.webhook.url, telegram.webhook.secret_token) == (HOST, "shops-secret")


def test_rotating_takes_nothing_either(living: FakeTelegram, client: TelegramClient) -> None:
    """R121: `set --rotate` sets the webhook too."""
    shelf = Shelf()
    shelf[CURRENT] = "old"
    with pytest.raises(RegistrationError, match="nothing was changed"):
        rotate(client, shelf, PLAN, Asked(answer=False), lambda _: pytest.fail("waited"))
    assert as_the_shop_left_it(living)
    rotate(client, shelf, PLAN, Asked(), lambda _: None)
    restore(client, shelf, PLAN, Asked(), lambda: "shops-secret")
    assert as_the_shop_left_it(living)


@pytest.mark.parametrize("commands", [3, 20])
def test_large_menus_are_kept_too(telegram: FakeTelegram, client: TelegramClient, commands: int) -> None:
    """R121: a parameter holds 8 KB; words with two braces are no reference to another parameter."""
    menus = {
        language: tuple(BotCommand(f"c{number}", f"{{{{x}}}} ده {number * 7919} words") for number in range(commands))
        for language in (None, *LANGUAGES[1:])
    }
    for language, menu in menus.items():
        client.set_my_commands(menu, language)
    shelf = Shelf()
    register(client, shelf, PLAN, Asked())
    assert json.loads(shelf[BEFORE])["format"] == 1
    assert len(shelf[BEFORE].encode()) <= 8_192
    assert "{{" not in shelf[BEFORE]
    restore(client, shelf, PLAN, Asked(), lambda: "")
    assert {language: client.my_commands(language) for language in menus} == menus


def test_menus_that_cannot_be_kept_are_not_taken(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R121: the message says what to do."""
    for language in LANGUAGES:
        client.set_my_commands([BotCommand(f"c{n}", secrets.token_hex(60)) for n in range(20)], language)
    shelf, before = Shelf(), changing(telegram)
    with pytest.raises(RegistrationError, match="too large to be kept, and nothing was changed"):
        register(client, shelf, PLAN, Asked())
    assert (changing(telegram), shelf) == (before, {})


# --- the commands -----------------------------------------------------------------------------------------------------


def aws_client(service: str) -> Any:
    """Return a client with this test's credentials; boto3's default session would keep the first test's."""
    return boto3.Session().client(service)


def run(telegram: FakeTelegram, *arguments: str, answer: str | None = None) -> Result:
    where = ["--stage", "test", "--telegram-api-url", telegram.url]
    return CliRunner().invoke(main, ["webhook", *arguments, *where], input=answer)


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


def kept() -> dict[str, Any] | None:
    """Return what the command keeps; None for nothing."""
    ssm = aws_client("ssm")
    try:
        parameter = ssm.get_parameter(Name=BEFORE, WithDecryption=True)["Parameter"]
    except ssm.exceptions.ParameterNotFound:
        return None
    assert parameter["Type"] == "SecureString"
    content: dict[str, Any] = json.loads(parameter["Value"])
    return content


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits there."""
    monkeypatch.setattr(command, "_has_terminal", lambda: True)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_living_bot_is_left_alone_by_default(living: FakeTelegram, token: None, terminal: None, answer: str) -> None:
    """R121: [y/N], one line, exit code 1; nothing at all was changed, in Telegram or in AWS."""
    before = changing(living)
    result = run(living, "set", "--url", URL, answer=answer)
    assert result.exit_code == 1
    assert "Replace it? [y/N]:" in result.output
    assert f"webhook: {HOST} (25 connections)" in result.output
    assert "updates that will no longer arrive: pre_checkout_query" in result.output
    assert "Telegram never tells it" in result.output
    assert result.output.endswith("Error: nothing was changed: the bot keeps its webhook and its menu\n")
    assert changing(living) == before
    names = [parameter["Name"] for parameter in aws_client("ssm").describe_parameters()["Parameters"]]
    assert names == [parameter_name("test", "bot-token")]


@pytest.mark.parametrize("path", [TOKEN, TOKEN.replace(":", "%3A"), f"hook/{TOKEN}?x=1"])
def test_a_token_in_the_old_address_is_not_shown(
    telegram: FakeTelegram, client: TelegramClient, token: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """R58, R121: many bots have their token in the webhook's path; it is put back all the same."""
    host = f"http://127.0.0.1:9/{path}"
    client.set_webhook(host, None, [], 40)
    monkeypatch.setenv("REKINDLE_OLD_WEBHOOK_SECRET", "")
    before = run(telegram, "info", "--url", URL)
    taken, back = run(telegram, "set", "--url", URL, "--yes"), run(telegram, "restore", "--url", URL, "--yes")
    assert (taken.exit_code, back.exit_code, telegram.webhook.url) == (0, 0, host), taken.output + back.output
    for output in (before.output, taken.output, back.output):
        assert "<token>" in output
        assert TOKEN.partition(":")[2] not in output


def test_without_a_terminal_a_script_has_to_say_yes(living: FakeTelegram, token: None) -> None:
    """R121: and is shown what it agrees to."""
    before = changing(living)
    refused = run(living, "set", "--url", URL)
    assert refused.exit_code == 1
    assert "no terminal to ask on; read the list above, and add --yes to agree" in refused.output
    assert changing(living) == before
    done = run(living, "set", "--url", URL, "--yes")
    assert done.exit_code == 0, done.output
    assert "menu in de: /buy Kaufen" in done.output
    assert "`rekindle webhook restore` puts it back" in done.output
    assert (kept() or {})["webhook"]["url"] == HOST


def test_set_and_restore_by_command(
    living: FakeTelegram, token: None, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R121: the old secret is typed unseen, or comes from the environment; no secret is ever shown or kept."""
    outputs = []
    for typed in (True, False):
        taken = run(living, "set", "--url", URL, answer="y\n")
        assert taken.exit_code == 0, taken.output
        outputs += [taken.output, json.dumps(kept()), living.webhook.secret_token]
        if not typed:
            monkeypatch.setenv("REKINDLE_OLD_WEBHOOK_SECRET", "shops-secret")
        back = run(living, "restore", "--url", URL, answer="y\nshops-secret\n" if typed else "y\n")
        assert back.exit_code == 0, back.output
        assert ("Secret token of the old webhook" in back.output) == typed
        assert f"Telegram posts to {HOST}" in back.output
        assert as_the_shop_left_it(living)
        assert kept() is None
        ours = outputs.pop()
        outputs.append(back.output)
        assert not any(secret in output for output in outputs for secret in (TOKEN, "shops-secret", ours))
    again = run(living, "restore", "--url", URL)
    assert again.exit_code == 1
    assert again.output == f"Error: nothing is kept in {BEFORE}: there is nothing to put back\n"


def test_restoring_in_a_script(living: FakeTelegram, token: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """R121: nothing is put back half because the old secret is missing; an empty one is none, and said so."""
    run(living, "set", "--url", URL, "--yes")
    for arguments, words in ((["--yes"], "put it into REKINDLE_OLD_WEBHOOK_SECRET"), ([], "add --yes to agree")):
        refused = run(living, "restore", "--url", URL, *arguments)
        assert refused.exit_code == 1
        assert words in refused.output
        assert living.webhook.url == URL
    monkeypatch.setenv("REKINDLE_OLD_WEBHOOK_SECRET", "")
    back = run(living, "restore", "--url", URL, "--yes")
    assert back.exit_code == 0, back.output
    assert "It has no secret token" in back.output
    assert as_the_shop_left_it(living, secret="")


def test_restoring_a_bot_that_had_nothing(telegram: FakeTelegram, token: None) -> None:
    """R121: no webhook, no menu, and nothing asked for."""
    run(telegram, "set", "--url", URL)
    back = run(telegram, "restore", "--url", URL, "--yes")
    assert back.exit_code == 0, back.output
    assert "webhook: removed, for the bot had none (updates: Telegram's default set)" in back.output
    assert "The bot has no webhook any more, as before" in back.output
    assert telegram.webhook == Webhook()


@pytest.mark.parametrize("outcome", [outcomes.server_error(502), outcomes.too_many_requests(7)])
def test_a_refusal_in_the_middle_is_one_line(living: FakeTelegram, token: None, outcome: outcomes.Outcome) -> None:
    """R121: and says how to go back or on."""
    living.script(outcome, method="setMyCommands")
    result = run(living, "set", "--url", URL, "--yes")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: setMyCommands: Telegram answered")
    assert "`rekindle webhook restore` puts it back" in line
    assert "Traceback" not in result.output


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
