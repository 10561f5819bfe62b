"""The fake Telegram itself: what it does to a webhook, and what it makes of calls."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
import requests

from engagement.clients.telegram import TelegramClient
from engagement.domain.delivery import DeliveryOutcome
from engagement.domain.webhook import ALLOWED_UPDATES
from engagement.errors import TelegramApiError
from infra.local.telegram import bot_api, outcomes, updates
from infra.local.telegram.courier import Attempt
from infra.local.telegram.methods import Bubble
from infra.local.telegram.phone import columns, phone
from infra.local.telegram.server import FakeTelegram
from infra.local.telegram.updates import Person

TOKEN = "987654:" + "A" * 35
BOT_ID = 987654
SECRET = "s3cret"
ADA, BOB = Person(2**52 - 1, "Ada"), Person(77, "Bob")
T0 = 1_795_000_000
"""A date for updates made by hand."""

type Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")


class Clock:
    """The server's clock, in the test's hands."""

    now = T0

    def __call__(self) -> int:
        return self.now


@dataclass
class Hook:
    """A webhook that answers as it is told, and remembers."""

    url: str
    answer: Callable[[dict[str, Any]], Answer] = lambda update: OK
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ids(self) -> list[int]:
        return [update["update_id"] for update in self.received]


@pytest.fixture
def hook() -> Iterator[Hook]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            update = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with hook.lock:
                hook.received.append(update)
                hook.headers.append({name.lower(): value for name, value in self.headers.items()})
                hook.at_once += 1
                hook.most_at_once = max(hook.most_at_once, hook.at_once)
            status, headers, body = hook.answer(update)
            with hook.lock:
                hook.at_once -= 1
            self.send_response(status)
            for name, value in (
                {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: Telegram loses patience in some of these tests."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    hook = Hook(f"http://127.0.0.1:{server.server_address[1]}/telegram")
    yield hook
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telegram(clock: Clock) -> Iterator[FakeTelegram]:
    """A thousand times as fast as the real one."""
    with FakeTelegram(TOKEN, time_scale=0.001, bot_api=bot_api.find(), now=clock) as running:
        yield running
    assert running.problems == []


@pytest.fixture
def client(telegram: FakeTelegram) -> TelegramClient:
    return TelegramClient(TOKEN, telegram.url)


@pytest.fixture
def connected(telegram: FakeTelegram, client: TelegramClient, hook: Hook) -> FakeTelegram:
    """A server that delivers to the hook."""
    client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)
    return telegram


def call(telegram: FakeTelegram, method: str, **params: Any) -> dict[str, Any]:
    """Call a method as a stranger to our client would."""
    answer: dict[str, Any] = requests.post(f"{telegram.url}/bot{TOKEN}/{method}", json=params, timeout=5).json()
    return answer


def markup(**button: str) -> dict[str, Any]:
    return {"inline_keyboard": [[{"text": "Stop", **button}]]}


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)


def assert_kept(attempts: list[Attempt]) -> None:
    """No delivery came sooner than was planned after the one before it."""
    for before, after in pairwise(attempts):
        assert before.wait is not None
        assert after.at - before.at >= before.wait


def said(update_id: int, person: Person = ADA, text: str = "hello") -> dict[str, Any]:
    return updates.message(update_id, person, text, date=T0, message_id=update_id)


def pressed(update_id: int, person: Person = ADA, data: str = "outreach:stop") -> dict[str, Any]:
    return updates.callback(update_id, person, data, date=T0, message_id=1, bot_id=BOT_ID)


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_an_update_arrives_with_the_secret(connected: FakeTelegram, hook: Hook) -> None:
    """R1: and with whatever header the local stack needs beside it."""
    assert connected.push(said(1), {"x-rekindle-now": "1795000000"})
    assert connected.drained()
    assert hook.received == [said(1)]
    assert hook.headers[0]["x-telegram-bot-api-secret-token"] == SECRET
    assert hook.headers[0]["x-rekindle-now"] == "1795000000"
    assert hook.headers[0]["content-type"] == "application/json"


def test_setting_the_webhook_without_a_secret_clears_it(connected: FakeTelegram, hook: Hook) -> None:
    """R11: the trap that the registration must not step into."""
    assert call(connected, "setWebhook", url=hook.url) == {"ok": True, "result": True}
    info = call(connected, "getWebhookInfo")["result"]
    assert (info["max_connections"], set(info["allowed_updates"])) == (40, set(ALLOWED_UPDATES))
    connected.push(said(1))
    assert connected.drained()
    assert "x-telegram-bot-api-secret-token" not in hook.headers[0]


def test_a_failed_delivery_is_repeated_at_once_and_then_ever_more_slowly(connected: FakeTelegram, hook: Hook) -> None:
    """R3, R4: 0, 2, 4, 8 ... seconds after each failure, until a 2xx."""
    hook.answer = lambda update: OK if len(hook.received) > 6 else (500, {}, b"")
    connected.push(said(1))
    assert connected.drained()
    assert hook.ids() == [1] * 7
    assert [attempt.wait for attempt in connected.attempts] == [0, 2, 4, 8, 16, 32, None]
    assert_kept(connected.attempts)


def test_retry_after_is_honoured(connected: FakeTelegram, hook: Hook) -> None:
    """R4: a hook in trouble says when to come back, and Telegram does not come sooner."""
    hook.answer = lambda update: OK if len(hook.received) > 2 else (503, {"Retry-After": "90"}, b"")
    connected.push(said(1))
    assert connected.drained()
    assert [(attempt.status, attempt.wait) for attempt in connected.attempts] == [(503, 90), (503, 90), (200, None)]
    assert_kept(connected.attempts)


def test_a_failing_head_blocks_its_queue_and_no_other(connected: FakeTelegram, hook: Hook) -> None:
    """R5: a poison update holds up its own chat only; button presses of the same user overtake it."""
    connected.push(said(1, BOB))
    assert connected.drained()
    refused = {2}
    hook.answer = lambda update: (500, {}, b"") if update["update_id"] in refused else OK
    for update in (said(2), said(3), pressed(4), said(5, BOB)):
        connected.push(update)
    wait_until(lambda: {4, 5} <= set(hook.ids()) and hook.ids().count(2) > 2)
    assert 3 not in hook.ids()
    refused.clear()
    assert connected.drained()
    assert hook.ids()[-2:] == [2, 3]


def test_an_update_is_dropped_when_it_expires(connected: FakeTelegram, hook: Hook, clock: Clock) -> None:
    """R14: a button press lives 150 seconds, and nobody hears of it again; the next one is delivered."""
    hook.answer = lambda update: OK if update["update_id"] == 2 else (500, {}, b"")
    connected.push(pressed(1))
    connected.push(pressed(2))
    clock.now = T0 + 100
    wait_until(lambda: 2 in hook.ids())
    assert connected.drained()
    dropped = [attempt for attempt in connected.attempts if attempt.dropped]
    assert [attempt.update_id for attempt in dropped] == [1]


def test_a_message_is_delivered_for_a_day(connected: FakeTelegram, hook: Hook, clock: Clock) -> None:
    """R3: so a redelivery may come 23 hours and more after the update's own date."""
    hook.answer = lambda update: (500, {}, b"") if len(hook.received) in (1, 3) else OK
    clock.now = T0 + 86_400
    connected.push(said(1))
    assert connected.drained()
    clock.now = T0 + 86_401
    connected.push(said(2))
    assert connected.drained()
    assert hook.ids() == [1, 1, 2]
    assert [attempt.dropped for attempt in connected.attempts] == [False, False, True]


def test_no_more_connections_than_were_asked_for(hook: Hook) -> None:
    """R82: what the webhook's reserved concurrency rests on."""

    def slowly(update: dict[str, Any]) -> Answer:
        time.sleep(0.02)
        return OK

    hook.answer = slowly
    with FakeTelegram(TOKEN) as telegram:
        TelegramClient(TOKEN, telegram.url).set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 3)
        for number in range(1, 31):
            telegram.push(updates.message(number, Person(number, "X"), "x", date=int(time.time()), message_id=1))
        assert telegram.drained()
    assert 1 < hook.most_at_once <= 3
    assert sorted(hook.ids()) == list(range(1, 31))


def test_an_endpoint_that_is_down_is_tried_by_one_connection(hook: Hook) -> None:
    """Without a success for ten seconds Telegram comes in single file; after one it comes in numbers again."""
    with FakeTelegram(TOKEN, time_scale=0.05, now=lambda: T0) as telegram:
        TelegramClient(TOKEN, telegram.url).set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)

        def failing(update: dict[str, Any]) -> Answer:
            time.sleep(0.02)
            return 500, {}, b""

        hook.answer = failing
        for number in range(1, 9):
            telegram.push(said(number, Person(number, "X")))
        wait_until(lambda: len(hook.received) >= 8)
        assert hook.most_at_once == 1


def test_a_webhook_that_is_gone_for_a_day_is_removed(hook: Hook) -> None:
    """23 hours of 410; before that it is retried like any failure."""
    with FakeTelegram(TOKEN, time_scale=1e-5, now=lambda: T0) as telegram:
        client = TelegramClient(TOKEN, telegram.url)
        client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)
        hook.answer = lambda update: (410, {}, b"")
        telegram.push(said(1))
        wait_until(lambda: client.webhook_info().url == "")
        assert len(hook.received) > 2


def test_kinds_that_were_not_asked_for_do_not_arrive(connected: FakeTelegram, hook: Hook) -> None:
    """R12: which is why the list must name every kind we read."""
    assert not connected.push(updates.inline_query(1, ADA, "cats"))
    assert not connected.push(updates.channel_post(2, "news", date=T0, message_id=1, chat_id=-1001))
    assert connected.push(updates.blocked(3, ADA, date=T0, bot_id=BOT_ID))
    assert connected.drained()
    assert hook.ids() == [3]


def test_updates_wait_for_a_webhook(telegram: FakeTelegram, client: TelegramClient, hook: Hook) -> None:
    telegram.push(said(1))
    assert client.webhook_info().pending_update_count == 1
    client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)
    assert telegram.drained()
    assert (hook.ids(), client.webhook_info().pending_update_count) == ([1], 0)


def test_webhook_info_tells_of_the_last_failure(connected: FakeTelegram, client: TelegramClient, hook: Hook) -> None:
    """R88: what the housekeeper reads."""
    hook.answer = lambda update: OK if len(hook.received) > 1 else (401, {}, b"")
    connected.push(said(1))
    assert connected.drained()
    info = client.webhook_info()
    assert info.last_error_message == "Wrong response from the webhook: 401 Unauthorized"
    assert info.last_error_at is not None
    assert info.last_error_at.timestamp() == T0


def test_a_webhook_that_hangs_or_hangs_up_counts_as_failed(hook: Hook) -> None:
    with FakeTelegram(TOKEN, time_scale=0.001, answer_seconds=0.1, now=lambda: T0) as telegram:
        client = TelegramClient(TOKEN, telegram.url)
        client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)

        def slow_once(update: dict[str, Any]) -> Answer:
            time.sleep(0.3 if len(hook.received) == 1 else 0)
            return OK

        hook.answer = slow_once
        telegram.push(said(1))
        assert telegram.drained()
        assert [attempt.status for attempt in telegram.attempts] == [0, 200]
        assert client.webhook_info().last_error_message == "Read timeout expired"


# --- the method in a webhook's answer ---------------------------------------------------------------------------------


def replying(**reply: Any) -> Callable[[dict[str, Any]], Answer]:
    return lambda update: (200, {}, json.dumps(reply).encode())


def test_a_method_in_the_answer_is_executed(connected: FakeTelegram, hook: Hook) -> None:
    """R10: the reply to a command costs no call."""
    hook.answer = replying(method="sendMessage", chat_id=ADA.user_id, text="<b>Welcome</b>", parse_mode="HTML")
    posted = connected.post(updates.command(1, ADA, "/start", date=T0, message_id=1))
    assert (posted.status, posted.method) == (200, "sendMessage")
    (message,) = connected.messages
    assert (message.chat_id, message.text, message.via) == (ADA.user_id, "Welcome", "response")
    assert message.message_id == 2  # the command was the chat's first


def test_pushed_updates_execute_methods_too(connected: FakeTelegram, hook: Hook) -> None:
    """R14: answered once, in the response."""
    query = pressed(1)["callback_query"]["id"]
    hook.answer = replying(method="answerCallbackQuery", callback_query_id=query, text="Done")
    connected.push(pressed(1))
    assert connected.drained()
    assert connected.answered == [query]


@pytest.mark.parametrize("method", ["getMe", "setWebhook", "deleteWebhook", "logOut", "close", ""])
def test_some_methods_do_nothing_in_an_answer(connected: FakeTelegram, hook: Hook, method: str) -> None:
    hook.answer = replying(method=method, url="")
    calls = len(connected.calls)
    assert connected.post(said(1)).method == ""
    assert len(connected.calls) == calls


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Type": "text/plain"}, b'{"method": "sendMessage", "chat_id": 7, "text": "x"}'),
        (200, {}, b"not json"),
        (200, {}, b"[]"),
        (503, {}, b'{"method": "sendMessage", "chat_id": 7, "text": "x"}'),
    ],
)
def test_what_is_no_method_is_ignored(connected: FakeTelegram, hook: Hook, answer: Answer) -> None:
    hook.answer = lambda update: answer
    assert connected.post(said(1)).method == ""
    assert connected.messages == []


def test_an_answer_to_a_button_comes_too_late_after_150_seconds(
    connected: FakeTelegram, hook: Hook, clock: Clock
) -> None:
    """R14: a 400 that nobody hears of, and no visible effect."""
    query = pressed(1)["callback_query"]["id"]

    def late(update: dict[str, Any]) -> Answer:
        clock.now = T0 + 151
        return replying(method="answerCallbackQuery", callback_query_id=query)(update)

    hook.answer = late
    assert connected.post(pressed(1)).status == 200
    assert connected.answered == []
    assert connected.calls[-1].status == 400
    assert "query is too old" in connected.calls[-1].description


def test_a_button_is_answered_once(connected: FakeTelegram, hook: Hook) -> None:
    """R14: a redelivery's second answer has no effect."""
    query = pressed(1)["callback_query"]["id"]
    hook.answer = replying(method="answerCallbackQuery", callback_query_id=query)
    connected.post(pressed(1))
    connected.post(pressed(1))
    assert connected.answered == [query]
    assert [entry.status for entry in connected.calls if entry.method == "answerCallbackQuery"] == [200, 400]


def test_posting_directly_keeps_its_connection_and_is_quick(connected: FakeTelegram, hook: Hook) -> None:
    """The demo posts thousands."""
    began = time.monotonic()
    for number in range(1, 201):
        assert connected.post(said(number)).status == 200
    assert time.monotonic() - began < 4
    assert len(hook.received) == 200


def test_posting_directly_hands_on_a_refusal(connected: FakeTelegram, hook: Hook) -> None:
    hook.answer = lambda update: (503, {"Retry-After": "5"}, b"later")
    posted = connected.post(said(1))
    assert (posted.status, posted.retry_after, posted.body) == (503, 5, b"later")


def test_posting_directly_needs_a_webhook_that_asked_for_it(telegram: FakeTelegram, connected: FakeTelegram) -> None:
    with pytest.raises(ValueError, match="did not ask for inline_query"):
        connected.post(updates.inline_query(1, ADA, "cats"))
    call(connected, "deleteWebhook")
    with pytest.raises(ValueError, match="no webhook is set"):
        telegram.post(said(1))


# --- calls ------------------------------------------------------------------------------------------------------------


def test_the_bot_may_not_write_to_who_blocked_it(connected: FakeTelegram, client: TelegramClient) -> None:
    """R48: 403 follows from the block, and ends with the unblocking."""
    connected.post(updates.blocked(1, ADA, date=T0, bot_id=BOT_ID))
    assert client.send_message(ADA.user_id, "hello").outcome is DeliveryOutcome.BLOCKED
    connected.post(updates.unblocked(2, ADA, date=T0, bot_id=BOT_ID))
    assert client.send_message(ADA.user_id, "hello").outcome is DeliveryOutcome.SENT


def test_strict_chats_are_unknown_until_they_write() -> None:
    with FakeTelegram(TOKEN, strict_chats=True) as telegram:
        client = TelegramClient(TOKEN, telegram.url)
        assert client.send_message(ADA.user_id, "hello").detail == "chat_not_found"
        telegram.push(said(1))
        assert client.send_message(ADA.user_id, "hello").outcome is DeliveryOutcome.SENT


def test_scripts_go_by_chat_first_and_end(telegram: FakeTelegram, client: TelegramClient) -> None:
    telegram.script(outcomes.too_many_requests(3), times=2)
    telegram.script(outcomes.BLOCKED, chat_id=7, times=None)
    seen = [client.send_message(chat, "hello").outcome.value for chat in (7, 8, 7, 9, 8, 7)]
    assert seen == ["blocked", "retry_later", "blocked", "retry_later", "sent", "blocked"]
    telegram.unscript()
    assert client.send_message(7, "hello").outcome is DeliveryOutcome.SENT


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({"text": "x"}, "Bad Request: chat_id is empty"),
        ({"chat_id": "@someone", "text": "x"}, "Bad Request: chat not found"),
        ({"chat_id": 7}, "Bad Request: message text is empty"),
        ({"chat_id": 7, "text": " \n "}, "Bad Request: message text is empty"),
        ({"chat_id": 7, "text": "x" * 4097}, "Bad Request: message is too long"),
        ({"chat_id": 7, "text": "x", "parse_mode": "BBCode"}, "Bad Request: unsupported parse_mode"),
        (
            {"chat_id": 7, "text": "x", "reply_markup": markup(callback_data="é" * 33)},
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        ({"chat_id": 7, "text": "x", "reply_markup": markup(callback_data="")}, "Bad Request: BUTTON_DATA_INVALID"),
        (
            {"chat_id": 7, "text": "x", "reply_markup": markup()},
            "Bad Request: can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
    ],
)
def test_send_message_is_checked(telegram: FakeTelegram, params: dict[str, Any], description: str) -> None:
    """R57: callback_data has 1-64 bytes, not characters."""
    answer = call(telegram, "sendMessage", **params)
    telegram.problems.clear()  # the specification complains of some of these as well
    assert (answer["ok"], answer["description"]) == (False, description)
    assert telegram.messages == []


def test_paying_for_a_broadcast_is_noticed(telegram: FakeTelegram) -> None:
    """R57: it would be accepted, and would cost."""
    call(telegram, "sendMessage", chat_id=7, text="x", allow_paid_broadcast=True)
    assert telegram.problems == ["sendMessage: allow_paid_broadcast costs the owner Stars"]
    telegram.problems.clear()


def test_forms_work_as_json_does(telegram: FakeTelegram) -> None:
    keyboard = json.dumps({"inline_keyboard": [[{"text": "Stop", "callback_data": "x"}]]})
    form = {"chat_id": "7", "text": "hello", "reply_markup": keyboard}
    with FakeTelegram(TOKEN) as plain:  # a specification would want numbers
        answer = requests.post(f"{plain.url}/bot{TOKEN}/SENDMESSAGE", data=form, timeout=5).json()
    assert answer["result"]["reply_markup"] == json.loads(keyboard)
    assert answer["result"]["chat"]["id"] == 7


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/bot{TOKEN}/getMe", 200),
        (f"/bot{TOKEN}/getme", 200),
        (f"/bot{TOKEN}x/getMe", 401),
        ("/bot/getMe", 401),
        (f"/bot{TOKEN}/noSuchMethod", 404),
        ("/", 404),
    ],
)
def test_tokens_and_methods_that_do_not_exist(telegram: FakeTelegram, path: str, status: int) -> None:
    """R49."""
    answer = requests.get(telegram.url + path, timeout=5)
    telegram.problems.clear()
    assert (answer.status_code, answer.json()["ok"]) == (status, status == 200)


def test_a_webhook_without_an_address_is_none_and_leaves_the_kinds_alone(telegram: FakeTelegram, hook: Hook) -> None:
    """R11, R121: only a call with an address changes the list, as in the real server's do_set_webhook."""
    call(telegram, "setWebhook", url=hook.url, secret_token=SECRET, allowed_updates=["message"])
    call(telegram, "setWebhook", url="", allowed_updates=["poll"])
    assert (telegram.webhook.url, telegram.webhook.secret_token) == ("", "")
    assert telegram.webhook.allowed_updates == ("message",)


# --- menus ------------------------------------------------------------------------------------------------------------

STOP, HALT = [{"command": "stop", "description": "Stop"}], [{"command": "stop", "description": "Halt"}]
PRIVATE = {"type": "all_private_chats"}


def test_each_scope_and_language_has_a_menu_of_its_own(telegram: FakeTelegram) -> None:
    """R121: getMyCommands tells exactly the one asked for, and no other in its place."""
    call(telegram, "setMyCommands", commands=STOP)
    call(telegram, "setMyCommands", commands=HALT, language_code="de")
    call(telegram, "setMyCommands", commands=HALT, scope=PRIVATE)
    call(telegram, "setMyCommands", commands=HALT, scope={"type": "chat", "chat_id": 7}, language_code="")
    for params, menu in (
        ({}, STOP),
        ({"scope": {"type": "default"}, "language_code": ""}, STOP),
        ({"language_code": "de"}, HALT),
        ({"language_code": "fr"}, []),
        ({"scope": PRIVATE}, HALT),
        ({"scope": PRIVATE, "language_code": "de"}, []),
        ({"scope": {"type": "chat", "chat_id": 7}}, HALT),
        ({"scope": {"type": "chat", "chat_id": 8}}, []),
    ):
        assert call(telegram, "getMyCommands", **params)["result"] == menu
    call(telegram, "deleteMyCommands", language_code="de")
    call(telegram, "deleteMyCommands", scope=PRIVATE)
    assert (telegram.commands, telegram.menu("de"), telegram.menu(scope=PRIVATE)) == (STOP, [], [])


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({"language_code": "deu"}, "Bad Request: invalid language code specified"),
        ({"language_code": "DE"}, "Bad Request: invalid language code specified"),
        ({"scope": {"type": "chat"}}, "Bad Request: can't parse BotCommandScope: Can't find field \"chat_id\""),
        ({"scope": {"type": "all"}}, "Bad Request: can't parse BotCommandScope: Unsupported type specified"),
    ],
)
def test_a_menu_is_of_a_scope_and_a_language_that_exist(
    telegram: FakeTelegram, params: dict[str, Any], description: str
) -> None:
    for method in ("getMyCommands", "deleteMyCommands"):
        assert call(telegram, method, **params)["description"] == description
    telegram.problems.clear()  # the specification complains of some of these as well


# --- a chat as a person sees it ---------------------------------------------------------------------------------------


def test_an_edit_changes_what_the_user_sees(connected: FakeTelegram, client: TelegramClient) -> None:
    """The order stays, what was there before is remembered, and buttons that are not sent again are gone."""
    client.send_message(7, "first", reply_markup=markup(callback_data="x"))
    client.send_message(7, "second")
    params = {"chat_id": 7, "message_id": 1, "text": "<b>edited</b>", "parse_mode": "HTML"}
    answer = call(connected, "editMessageText", **params)["result"]
    assert (answer["message_id"], answer["text"], answer["edit_date"]) == (1, "edited", T0)
    call(connected, "editMessageReplyMarkup", chat_id=7, message_id=2, reply_markup=markup(callback_data="y"))
    first, second = connected.messages
    assert (first.text, first.source, first.reply_markup) == ("edited", "<b>edited</b>", None)
    assert (second.text, second.reply_markup) == ("second", markup(callback_data="y"))
    assert [(old.text, old.reply_markup) for old in first.before] == [("first", markup(callback_data="x"))]
    call(connected, "editMessageText", chat_id=7, message_id=1, text="again")
    assert [old.text for old in connected.messages[0].before] == ["first", "edited"]


def test_an_edit_in_the_webhooks_answer_is_executed(connected: FakeTelegram, hook: Hook) -> None:
    """R14: the answer to a button may change the message above it."""
    call(connected, "sendMessage", chat_id=ADA.user_id, text="Yes?", reply_markup=markup(callback_data="x"))
    hook.answer = replying(method="editMessageText", chat_id=ADA.user_id, message_id=1, text="Noted.")
    assert connected.post(pressed(1)).method == "editMessageText"
    assert connected.chat(ADA.user_id) == [Bubble("bot", "Noted.")]


@pytest.mark.parametrize(
    ("method", "params", "description"),
    [
        ("editMessageText", {"message_id": 9, "text": "x"}, "message to edit not found"),
        ("editMessageText", {"text": "x"}, "message identifier is not specified"),
        ("editMessageText", {"message_id": 1, "text": "theirs"}, "message can't be edited"),
        ("editMessageText", {"message_id": 2}, "message text is empty"),
        ("editMessageText", {"message_id": 3, "text": "x"}, "there is no text in the message to edit"),
        (
            "editMessageText",
            {"message_id": 2, "text": "hello", "reply_markup": markup(callback_data="x")},
            "message is not modified: specified new message content and reply markup are exactly the same as a current "
            "content and reply markup of the message",
        ),
        ("editMessageReplyMarkup", {"message_id": 9}, "message to edit not found"),
        (
            "editMessageReplyMarkup",
            {"message_id": 3},
            "message is not modified: specified new message content and reply markup are exactly the same as a current "
            "content and reply markup of the message",
        ),
    ],
)
def test_an_edit_that_cannot_be_is_refused(
    telegram: FakeTelegram, client: TelegramClient, method: str, params: dict[str, Any], description: str
) -> None:
    """In Telegram's words; the chat stays as it was."""
    telegram.push(updates.message(1, ADA, "mine", date=T0, message_id=1))
    client.send_message(ADA.user_id, "hello", reply_markup=markup(callback_data="x"))
    client.send_document(ADA.user_id, "data.json", b"{}", "")
    before = telegram.chat(ADA.user_id)
    answer = call(telegram, method, chat_id=ADA.user_id, **params)
    telegram.problems.clear()
    assert (answer["error_code"], answer["description"]) == (400, f"Bad Request: {description}")
    assert telegram.chat(ADA.user_id) == before


def upload(telegram: FakeTelegram, content: bytes = b"{}", **params: Any) -> dict[str, Any]:
    """Send a file as requests does."""
    answer: dict[str, Any] = requests.post(
        f"{telegram.url}/bot{TOKEN}/sendDocument",
        data={"chat_id": "7", **params},
        files={"document": ("data.json", content)},
        timeout=5,
    ).json()
    return answer


def test_a_file_arrives_with_its_caption(telegram: FakeTelegram) -> None:
    """Name, bytes and buttons; the answer is a Message."""
    params = {"caption": "<b>Yours</b>", "parse_mode": "HTML", "reply_markup": json.dumps(markup(callback_data="x"))}
    result = upload(telegram, b"\x00\r\n--x", **params)["result"]
    telegram.problems.clear()  # the specification would want objects, where a form has text
    assert (result["document"]["file_name"], result["document"]["file_size"]) == ("data.json", 6)
    assert (result["caption"], "text" in result) == ("Yours", False)
    (message,) = telegram.messages
    assert message.document is not None
    assert (message.document.name, message.document.content) == ("data.json", b"\x00\r\n--x")
    assert telegram.chat(7) == [Bubble("bot", "[file data.json]\nYours", (("Stop",),))]


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({}, "there is no document in the request"),
        ({"document": "BQACAgIAAxk"}, "wrong remote file identifier specified"),
    ],
)
def test_only_files_that_are_uploaded_can_be_sent(
    telegram: FakeTelegram, params: dict[str, Any], description: str
) -> None:
    assert description in call(telegram, "sendDocument", chat_id=7, **params)["description"]
    telegram.problems.clear()
    assert telegram.messages == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nno end"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnameless\r\n--x--"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--'),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(telegram: FakeTelegram, content_type: str, body: bytes) -> None:
    url, headers = f"{telegram.url}/bot{TOKEN}/sendDocument", {"Content-Type": content_type}
    assert requests.post(url, data=body, headers=headers, timeout=5).status_code == 400
    assert telegram.calls == []


def test_scripts_and_blocks_hold_for_files_and_forwards_too(connected: FakeTelegram, client: TelegramClient) -> None:
    """R48: as for texts; by chat first."""
    connected.script(outcomes.too_many_requests(3), method="sendDocument")
    connected.script(outcomes.DEACTIVATED, method="sendDocument", chat_id=7)
    seen = [client.send_document(chat, "x", b"x", "").outcome.value for chat in (7, 8, 7, 8)]
    assert seen == ["unreachable", "retry_later", "sent", "sent"]
    connected.post(updates.blocked(1, ADA, date=T0, bot_id=BOT_ID))
    assert client.send_document(ADA.user_id, "x", b"x", "").outcome is DeliveryOutcome.BLOCKED
    forward = {"chat_id": ADA.user_id, "from_chat_id": 7, "message_id": 1}
    assert call(connected, "forwardMessage", **forward)["error_code"] == 403


def test_a_message_is_forwarded(connected: FakeTelegram, client: TelegramClient, hook: Hook) -> None:
    """By a call or in a webhook's answer; words and file come along, buttons do not."""
    forward = {"chat_id": BOB.user_id, "from_chat_id": ADA.user_id}
    hook.answer = replying(method="forwardMessage", message_id=1, **forward)
    assert connected.post(said(1, ADA, "help me")).method == "forwardMessage"
    client.send_message(ADA.user_id, "<b>Hi</b>", reply_markup=markup(callback_data="x"))
    client.send_document(ADA.user_id, "data.json", b"{}", "yours")
    for message_id in (2, 3):
        result = call(connected, "forwardMessage", message_id=message_id, **forward)["result"]
        assert result["forward_origin"]["sender_user"]["id"] == BOT_ID
    first, second, third = connected.received_by(BOB.user_id)
    assert (first.text, first.via, first.params) == ("help me", "response", {**forward, "message_id": 1})
    assert (second.text, second.reply_markup, second.via) == ("Hi", None, "http")
    assert third.document is not None
    assert (third.document.content, third.text) == (b"{}", "yours")


def test_only_what_is_there_can_be_forwarded(telegram: FakeTelegram) -> None:
    """A chat that this server never saw may hold anything; one that it knows ends with its newest message."""
    telegram.push(said(1, ADA, "hello"))
    answer = call(telegram, "forwardMessage", chat_id=7, from_chat_id=ADA.user_id, message_id=2)
    assert answer["description"] == "Bad Request: message to forward not found"
    assert call(telegram, "forwardMessage", chat_id=7, from_chat_id=99, message_id=5)["ok"]
    assert [message.text for message in telegram.messages] == [""]


def test_a_chat_has_two_sides(telegram: FakeTelegram, client: TelegramClient) -> None:
    """In order; a redelivery says nothing twice, an edit changes what was said, a button press says nothing."""
    first = updates.command(1, ADA, "/start", date=T0, message_id=1)
    for update in (first, first, pressed(2)):
        telegram.push(update)
    client.send_message(ADA.user_id, "Welcome", reply_markup=markup(callback_data="x"))
    second = updates.message(3, ADA, "thx", date=T0, message_id=3)
    for update in (
        second,
        updates.edited(second, "thanks", update_id=4, edit_date=T0 + 1),
        updates.sticker(5, ADA, date=T0, message_id=4),
        updates.photo(6, ADA, date=T0, message_id=5, caption="look"),
        updates.document(7, ADA, date=T0, message_id=6),
        said(8, BOB, "elsewhere"),
    ):
        telegram.push(update)
    assert telegram.chat(ADA.user_id) == [
        Bubble("user", "/start"),
        Bubble("bot", "Welcome", (("Stop",),)),
        Bubble("user", "thanks"),
        Bubble("user", "[sticker 😀]"),
        Bubble("user", "[photo]\nlook"),
        Bubble("user", "[file notes.pdf]"),
    ]
    assert telegram.chat(404) == []


def test_a_chat_is_drawn_as_a_phone_shows_it() -> None:
    """The bot on the left, the user on the right, buttons below."""
    drawn = phone(
        [
            Bubble("user", "/start"),
            Bubble("bot", "Hello, Ada! May I write to you?", (("Yes", "No"), ("A label too long for the row",))),
        ],
        width=30,
    )
    assert drawn.splitlines() == [
        "                    ╭────────╮",
        "                    │ /start │",
        "                    ╰────────╯",
        "╭───────────────────╮",
        "│ Hello, Ada! May I │",
        "│ write to you?     │",
        "╰───────────────────╯",
        "  [ Yes ] [ No ]",
        "  [ A label too long… ]",
    ]


@pytest.mark.parametrize(
    "text", ["hello " * 20, "x" * 100, "好" * 50, "👍🏽" * 30, "مرحبا " * 20, "a\n\nb", "", "é" * 40]
)
@pytest.mark.parametrize("width", [16, 40])
def test_whatever_is_drawn_fits_the_screen(text: str, width: int) -> None:
    """Wide letters, marks and words without an end included."""
    for who in ("bot", "user"):
        drawn = phone([Bubble(who, text, ((text.strip() or "OK",) * 3,))], width=width)
        assert max(map(columns, drawn.splitlines())) <= width


def test_two_webhooks_a_second_are_too_many(hook: Hook) -> None:
    with FakeTelegram(TOKEN, limit_set_webhook=True) as telegram:
        client = TelegramClient(TOKEN, telegram.url)
        client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)
        with pytest.raises(TelegramApiError, match="429 Too Many Requests"):
            client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)


def test_message_ids_count_up_in_each_chat(telegram: FakeTelegram, client: TelegramClient) -> None:
    telegram.push(updates.message(1, ADA, "hello", date=T0, message_id=40))
    assert client.send_message(ADA.user_id, "hi").message_id == 41
    assert client.send_message(BOB.user_id, "hi").message_id == 1
    assert telegram.next_message_id(ADA.user_id) == 42


def test_the_fullest_window_is_found(telegram: FakeTelegram, client: TelegramClient) -> None:
    """R53: what the sender's pace is measured with."""
    for chat in (7, 7, 8):
        client.send_message(chat, "hello")
    assert telegram.most_sent_within(1.0) == 3
    assert telegram.most_sent_within(1.0, chat_id=7) == 2
    assert telegram.most_sent_within(1e-9) == 1


def test_stopping_cuts_off_what_hangs(hook: Hook) -> None:
    """Nothing is left behind, also when something was under way."""
    before = threading.active_count()
    telegram = FakeTelegram(TOKEN).start()
    client = TelegramClient(TOKEN, telegram.url, read_seconds=30)
    client.set_webhook(hook.url, SECRET, ALLOWED_UPDATES, 10)
    released = threading.Event()
    hook.answer = lambda update: (released.wait(10), OK)[1]
    telegram.push(said(1))
    telegram.script(outcomes.HANG)
    found: list[DeliveryOutcome] = []
    caller = threading.Thread(target=lambda: found.append(client.send_message(7, "hello").outcome))
    caller.start()
    wait_until(lambda: len(telegram.calls) == 2 and len(hook.received) == 1)
    began = time.monotonic()
    telegram.stop()
    telegram.stop()
    caller.join(5)
    assert time.monotonic() - began < 2
    assert found == [DeliveryOutcome.UNKNOWN]
    released.set()
    wait_until(lambda: threading.active_count() <= before + 1)  # the hook keeps a connection's thread
