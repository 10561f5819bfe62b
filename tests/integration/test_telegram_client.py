"""The client against a server that misbehaves as the real one does."""

import html
import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.clients.telegram import IDLE_SECONDS, TelegramClient
from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.webhook import ALLOWED_UPDATES, BotCommand
from engagement.errors import TelegramApiError
from infra.local.emulator import free_port
from infra.local.telegram import bot_api, outcomes
from infra.local.telegram.entities import clean
from infra.local.telegram.outcomes import Manner, Outcome
from infra.local.telegram.server import FakeTelegram

TOKEN = "987654:" + "Secret-Token_" * 3
SECRET = "webhook-secret-0123456789"
TEXT = "canary words of a user"
STOP = "rk1:s:ci1795000000:AbCdEfGh_-12"
PATIENCE = 0.3
"""Seconds that a client waits in vain for an answer that never comes."""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeTelegram]:
    with FakeTelegram(TOKEN, bot_api=bot_api.find()) as running:
        yield running


@pytest.fixture
def telegram(server: FakeTelegram) -> Iterator[FakeTelegram]:
    """The server, as good as new; whatever the test did must be what the Bot API knows."""
    server.reset()
    yield server
    assert server.problems == []


@pytest.fixture
def client(telegram: FakeTelegram) -> TelegramClient:
    return TelegramClient(TOKEN, telegram.url)


def send_once(telegram: FakeTelegram, outcome: Outcome, text: str = "hello", *, as_file: bool = False) -> Delivery:
    """Send a message that ends so, and wait until the server is through with it too."""
    silent = outcome.manner in (Manner.HANG, Manner.DRIP)
    telegram.script(outcome, method="sendDocument" if as_file else "sendMessage")
    client = TelegramClient(TOKEN, telegram.url, read_seconds=PATIENCE if silent else 10)
    delivery = client.send_document(7, "data.json", text.encode(), text) if as_file else client.send_message(7, text)
    deadline = time.monotonic() + 5
    while not telegram.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    return delivery


def test_a_message_arrives_with_its_button(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R57: the opt-out button arrives as it was sent, and nothing is paid for."""
    keyboard = {"inline_keyboard": [[{"text": "Stop", "callback_data": STOP}]]}
    delivery = client.send_message(2**52 - 1, "<b>Hi</b> Ada", reply_markup=keyboard)
    assert delivery == Delivery(DeliveryOutcome.SENT, message_id=1)
    (message,) = telegram.messages
    assert (message.chat_id, message.text, message.reply_markup) == (2**52 - 1, "Hi Ada", keyboard)
    assert len(STOP.encode()) <= 64
    assert set(message.params) == {"chat_id", "text", "parse_mode", "reply_markup"}


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("outcome", [outcomes.ACCEPT_THEN_HANG, outcomes.ACCEPT_THEN_RESET, outcomes.ACCEPT_THEN_CLOSE,
                                     outcomes.GARBAGE, outcomes.DRIP, outcomes.DELETED_AT_ONCE,
                                     outcomes.server_error(502, accepted=True)])  # fmt: skip
def test_a_message_whose_answer_is_lost_is_unknown_and_was_tried_once(
    telegram: FakeTelegram, outcome: Outcome, as_file: bool
) -> None:
    """R44: accepted, then silence or nonsense: delivered once, never tried again; a file is no different."""
    assert send_once(telegram, outcome, as_file=as_file).outcome is DeliveryOutcome.UNKNOWN
    assert len(telegram.messages) == 1
    assert len(telegram.calls) == 1


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize(
    "outcome", [outcomes.HANG, outcomes.RESET, outcomes.CLOSE, outcomes.GATEWAY_PAGE, outcomes.server_error(500)]
)
def test_a_message_that_telegram_may_not_have_taken_is_unknown_too(
    telegram: FakeTelegram, outcome: Outcome, as_file: bool
) -> None:
    """R50: from outside it looks the same as R44, so it is treated the same."""
    assert send_once(telegram, outcome, as_file=as_file).outcome is DeliveryOutcome.UNKNOWN
    assert (len(telegram.messages), len(telegram.calls)) == (0, 1)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (outcomes.BLOCKED, Delivery(DeliveryOutcome.BLOCKED, detail="blocked")),
        (outcomes.DEACTIVATED, Delivery(DeliveryOutcome.UNREACHABLE, detail="deactivated")),
        (outcomes.CANNOT_INITIATE, Delivery(DeliveryOutcome.UNREACHABLE, detail="cannot_initiate")),
        (outcomes.CHAT_NOT_FOUND, Delivery(DeliveryOutcome.UNREACHABLE, detail="chat_not_found")),
        (outcomes.CANNOT_PARSE, Delivery(DeliveryOutcome.BAD_MARKUP, detail="cannot_parse_entities")),
        (outcomes.migrated(-10042), Delivery(DeliveryOutcome.MIGRATED, new_chat_id=-10042, detail="migrated")),
        (outcomes.bad_request("TOPIC_CLOSED"), Delivery(DeliveryOutcome.REJECTED, detail="rejected")),
        (outcomes.UNAUTHORIZED, Delivery(DeliveryOutcome.BAD_TOKEN, detail="unauthorized")),
        (
            outcomes.too_many_requests(10_072),
            Delivery(DeliveryOutcome.RETRY_LATER, retry_after=10_072, detail="too_many_requests"),
        ),
    ],
)
def test_each_refusal_is_told_apart(
    telegram: FakeTelegram, client: TelegramClient, outcome: Outcome, expected: Delivery
) -> None:
    """R47, R49: and none of them was sent, neither as a text nor as a file."""
    for method in ("sendMessage", "sendDocument"):
        telegram.script(outcome, method=method)
    assert client.send_message(7, "hello") == expected
    assert client.send_document(7, "data.json", b"{}", "hello") == expected
    assert telegram.messages == []


def test_a_file_arrives_as_it_is(telegram: FakeTelegram, client: TelegramClient) -> None:
    """Any bytes, any name; the caption is marked up only where that is asked for."""
    content = bytes(range(256)) + b"\r\n--boundary--\r\n"
    assert client.send_document(2**52 - 1, 'Über "alles" 📎.json', content, "<b>Hi</b>").outcome is DeliveryOutcome.SENT
    assert client.send_document(7, "x.txt", b"x", "<b>Hi</b>", parse_mode="HTML").message_id == 1
    first, second = telegram.messages
    assert first.document is not None
    assert (first.chat_id, first.document.name, first.document.content) == (2**52 - 1, 'Über "alles" 📎.json', content)
    assert [message.text for message in telegram.messages] == ["<b>Hi</b>", "Hi"]
    assert set(second.params) == {"chat_id", "caption", "parse_mode", "document"}


@pytest.mark.parametrize(
    ("content", "caption", "parse_mode", "expected"),
    [
        (b"x", "x" * 1024, None, DeliveryOutcome.SENT),
        (b"x", "x" * 1025, None, DeliveryOutcome.REJECTED),
        (b"x", "Hi abdo <", "HTML", DeliveryOutcome.BAD_MARKUP),
        (b"x", "\ud83d", None, DeliveryOutcome.REJECTED),
        (b"", "", None, DeliveryOutcome.REJECTED),
    ],
)
def test_what_telegram_takes_of_a_file(
    client: TelegramClient, content: bytes, caption: str, parse_mode: str | None, expected: DeliveryOutcome
) -> None:
    """R49, R56: a refusal is a value here too, also of half a character."""
    assert client.send_document(7, "x\ud83d.txt", content, caption, parse_mode).outcome is expected


def test_markup_that_cannot_be_parsed_can_be_sent_as_plain_text(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R49: a first name like `abdo <` breaks HTML, not text."""
    assert client.send_message(7, "Hi abdo <").outcome is DeliveryOutcome.BAD_MARKUP
    assert client.send_message(7, "Hi abdo <", parse_mode=None).outcome is DeliveryOutcome.SENT
    assert [message.text for message in telegram.messages] == ["Hi abdo <"]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("x" * 4096, DeliveryOutcome.SENT),
        ("<b>" + "👍" * 4096 + "</b>", DeliveryOutcome.SENT),
        ("x" * 4097, DeliveryOutcome.REJECTED),
        ("<b> </b>", DeliveryOutcome.REJECTED),
        ("\ud83d", DeliveryOutcome.REJECTED),
    ],
)
def test_the_length_is_counted_in_code_points_after_parsing(
    client: TelegramClient, text: str, outcome: DeliveryOutcome
) -> None:
    """R56: what the planner must keep to."""
    assert client.send_message(7, text).outcome is outcome


def test_a_wrong_token_is_not_the_messages_fault(telegram: FakeTelegram) -> None:
    """R49: 401 stops the run; nothing is marked as failed."""
    stranger = TelegramClient("1:nope", telegram.url)
    assert stranger.send_message(7, "hello").outcome is DeliveryOutcome.BAD_TOKEN


def test_a_closed_port_proves_that_nothing_was_sent() -> None:
    """R46: safe to try again."""
    client = TelegramClient(TOKEN, f"http://127.0.0.1:{free_port()}")
    assert client.send_message(7, "hello") == Delivery(DeliveryOutcome.NOT_SENT, detail="no_connection")


def test_a_name_that_does_not_resolve_proves_that_nothing_was_sent() -> None:
    """R46: .invalid never resolves (RFC 6761)."""
    client = TelegramClient(TOKEN, "http://telegram.invalid")
    assert client.send_message(7, "hello") == Delivery(DeliveryOutcome.NOT_SENT, detail="name_not_resolved")


def test_a_certificate_that_does_not_convince_proves_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, client: TelegramClient
) -> None:
    """R46: the handshake comes before the first byte of ours."""
    import ssl

    import urllib3

    def post(self: requests.Session, url: str, **options: Any) -> requests.Response:
        reason = urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed certificate"))
        raise requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(None, url, reason))

    monkeypatch.setattr(requests.Session, "post", post)
    assert client.send_message(7, "hello") == Delivery(DeliveryOutcome.NOT_SENT, detail="certificate")


@pytest.mark.parametrize("outcome", [outcomes.HANG, outcomes.DRIP])
def test_a_hung_server_costs_no_more_than_the_timeouts(telegram: FakeTelegram, outcome: Outcome) -> None:
    """R59: also one that goes on answering, byte by byte, for ever."""
    began = time.monotonic()
    assert send_once(telegram, outcome).detail == "read_timeout"
    assert PATIENCE <= time.monotonic() - began < PATIENCE + 3


def test_an_answer_without_end_is_not_kept(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R59: memory is bounded too."""
    telegram.script(Outcome(accepted=True, body=b" " * 1_000_000))
    assert client.send_message(7, "hello") == Delivery(DeliveryOutcome.UNKNOWN, detail="answer_too_long")


def test_connections_are_used_again_but_not_after_a_rest(
    telegram: FakeTelegram, client: TelegramClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R44: a connection that died unnoticed would lose the message that is sent into it."""
    for _ in range(3):
        client.send_message(7, "hello")
    assert telegram.connections == 1
    later = time.time() + IDLE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    client.send_message(7, "hello")
    assert telegram.connections == 2


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('<&">👍🏽\u202eمر'), max_size=64))
def test_any_name_arrives_as_it_is(telegram: FakeTelegram, client: TelegramClient, name: str) -> None:
    """R55: markup, right-to-left and emoji, escaped on the way and visible at the end."""
    delivery = client.send_message(7, f"Hi {html.escape(name)}!")
    assert delivery.outcome is DeliveryOutcome.SENT
    assert telegram.messages[-1].text == clean(f"Hi {name}!")


def test_the_operators_calls(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R12: the four kinds of update, and what Telegram then says of the webhook."""
    client.set_webhook(f"{telegram.url}/hook", SECRET, ALLOWED_UPDATES, 10)
    client.set_my_commands([BotCommand("stop", "No more messages")])
    info = client.webhook_info()
    assert (info.url, info.max_connections, info.last_error_at) == (f"{telegram.url}/hook", 10, None)
    assert set(info.allowed_updates) == {"message", "edited_message", "callback_query", "my_chat_member"}
    assert telegram.commands == [{"command": "stop", "description": "No more messages"}]
    assert (info.ip_address, info.has_custom_certificate) == ("", False)


def test_menus_are_set_read_and_removed_by_language(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R121: exactly what was set for a language comes back, and nothing where nothing was."""
    english, german = [BotCommand("stop", "No more messages")], [BotCommand("stop", "Keine Nachrichten mehr")]
    client.set_my_commands(english)
    client.set_my_commands(german, "de")
    assert client.my_commands() == tuple(english)
    assert client.my_commands("de") == tuple(german)
    assert client.my_commands("fr") == ()
    client.delete_my_commands("de")
    assert (client.my_commands(), client.my_commands("de")) == (tuple(english), ())


@pytest.mark.parametrize("result", ["true", "[1]", '[{"command": "x"}]', '{"command": "x"}'])
def test_a_menu_that_cannot_be_read_is_said_so(telegram: FakeTelegram, client: TelegramClient, result: str) -> None:
    telegram.script(Outcome(accepted=True, body=f'{{"ok": true, "result": {result}}}'.encode()), method="getMyCommands")
    with pytest.raises(TelegramApiError, match="getMyCommands: Telegram's answer is unreadable"):
        client.my_commands()


def test_a_webhook_is_removed_and_its_kinds_of_update_stay(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R11: as the real server does it."""
    client.set_webhook(f"{telegram.url}/hook", SECRET, ["message"], 10)
    client.delete_webhook()
    info = client.webhook_info()
    assert (info.url, info.allowed_updates, info.max_connections) == ("", ("message",), None)


# What must never be seen in a log, an exception or a value.
HIDDEN = re.compile(r"\d+:[A-Za-z0-9_-]{35}|" + "|".join(map(re.escape, (TOKEN, SECRET, TEXT))))
FAILURES = [
    outcomes.OK, outcomes.ACCEPT_THEN_HANG, outcomes.HANG, outcomes.RESET, outcomes.CLOSE, outcomes.DRIP,
    outcomes.GARBAGE, outcomes.GATEWAY_PAGE, outcomes.BLOCKED, outcomes.CHAT_NOT_FOUND, outcomes.CANNOT_PARSE,
    outcomes.UNAUTHORIZED, outcomes.too_many_requests(7), outcomes.migrated(-10042), outcomes.server_error(500),
    Outcome(accepted=False, status=400, description=f"{TOKEN} {SECRET} {TEXT}"),
]  # fmt: skip


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every log line of every library, at DEBUG."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {record.getMessage()} {record.exc_text or ''} {record.__dict__}")

    listener = Listener(logging.DEBUG)
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    root.addHandler(listener)
    yield lines
    root.removeHandler(listener)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def everything_about(error: BaseException | None) -> str:
    """Return an exception with all that hangs on it, also what a traceback would suppress."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(error.args)
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("outcome", FAILURES)
def test_a_message_that_fails_gives_nothing_away(
    telegram: FakeTelegram, said: list[str], outcome: Outcome, as_file: bool
) -> None:
    """R58: neither the token, nor the text, in any log line or value."""
    delivery = send_once(telegram, outcome, TEXT, as_file=as_file)
    assert len(telegram.calls) == 1
    method = "sendDocument" if as_file else "sendMessage"
    assert any("urllib3" in line and method in line for line in said) == (outcome.manner in (Manner.REPLY, Manner.DRIP))
    assert not HIDDEN.search(" ".join(said) + repr(delivery))


@pytest.mark.parametrize(
    "address",
    [
        lambda server: server.url + "/nowhere",
        lambda server: f"http://127.0.0.1:{free_port()}",
        lambda server: "http://telegram.invalid",
        lambda server: "http://",
        lambda server: "ftp://telegram.invalid",
        lambda server: "http://" + "x" * 70 + ".invalid",
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.set_webhook("http://127.0.0.1/hook", SECRET, ALLOWED_UPDATES, 10),
        lambda client: client.webhook_info(),
        lambda client: client.delete_webhook(),
        lambda client: client.my_commands("de"),
        lambda client: client.set_my_commands([BotCommand("stop", TEXT)], "de"),
        lambda client: client.delete_my_commands(),
    ],
)
def test_an_operators_call_that_fails_gives_nothing_away(
    telegram: FakeTelegram,
    said: list[str],
    address: Callable[[FakeTelegram], str],
    call: Callable[[TelegramClient], object],
) -> None:
    """R58: not in the exception, its cause, its context, nor any log line."""
    with pytest.raises(TelegramApiError) as caught:
        call(TelegramClient(TOKEN, address(telegram), connect_seconds=PATIENCE))
    assert not HIDDEN.search(" ".join(said) + _without_source(everything_about(caught.value)))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_telegrams_own_words_are_cleaned(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R58: even a server that echoes what it should not."""
    echo = outcomes.bad_request(f"{TOKEN} and {SECRET} and 123456:{'x' * 35}")
    telegram.script(echo, method="setWebhook")
    with pytest.raises(TelegramApiError, match="Telegram answered 400 Bad Request: <secret> and <secret> and <secret>"):
        client.set_webhook("http://127.0.0.1/hook", SECRET, ALLOWED_UPDATES, 10)


def _without_source(traceback_text: str) -> str:
    """Drop the lines of this very file that a traceback quotes."""
    return "\n".join(line for line in traceback_text.splitlines() if "TOKEN" not in line and "SECRET" not in line)
