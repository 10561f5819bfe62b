"""What an answer of Telegram's means for a message, without a socket."""

import json
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.clients.telegram import CONNECT_SECONDS, READ_SECONDS, TelegramClient, delivery_of
from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.webhook import BotCommand
from engagement.errors import TelegramApiError

TOKEN = "123456:" + "T" * 35


def answer(status: int, description: str = "", **parameters: Any) -> tuple[int, bytes]:
    content: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        content["parameters"] = parameters
    return status, json.dumps(content).encode()


@pytest.mark.parametrize(
    ("status", "description", "outcome", "detail"),
    [
        (403, "Forbidden: bot was blocked by the user", DeliveryOutcome.BLOCKED, "blocked"),
        (403, "Forbidden: bot was kicked from the group chat", DeliveryOutcome.BLOCKED, "kicked"),
        (403, "Forbidden: something new", DeliveryOutcome.BLOCKED, "forbidden"),
        (403, "Forbidden: user is deactivated", DeliveryOutcome.UNREACHABLE, "deactivated"),
        (
            403,
            "Forbidden: bot can't initiate conversation with a user",
            DeliveryOutcome.UNREACHABLE,
            "cannot_initiate",
        ),
        (403, "Forbidden: bots can't send messages to bots", DeliveryOutcome.UNREACHABLE, "is_a_bot"),
        (400, "Bad Request: chat not found", DeliveryOutcome.UNREACHABLE, "chat_not_found"),
        (400, "Bad Request: PEER_ID_INVALID", DeliveryOutcome.UNREACHABLE, "chat_not_found"),
        (
            400,
            "Bad Request: can't parse entities: Unsupported start tag",
            DeliveryOutcome.BAD_MARKUP,
            "cannot_parse_entities",
        ),
        (400, "Bad Request: BUTTON_DATA_INVALID", DeliveryOutcome.REJECTED, "rejected"),
        (413, "Request Entity Too Large", DeliveryOutcome.REJECTED, "rejected"),
        (401, "Unauthorized", DeliveryOutcome.BAD_TOKEN, "unauthorized"),
        (404, "Not Found", DeliveryOutcome.BAD_TOKEN, "not_found"),
        (500, "Internal Server Error: sent message was immediately deleted", DeliveryOutcome.UNKNOWN, "server_error"),
        (502, "Bad Gateway", DeliveryOutcome.UNKNOWN, "server_error"),
    ],
)
def test_each_refusal_of_telegrams_has_one_meaning(
    status: int, description: str, outcome: DeliveryOutcome, detail: str
) -> None:
    """R49, R50: 4xx are certainly not sent and told apart; 5xx are unknown."""
    assert delivery_of(*answer(status, description)) == Delivery(outcome, detail=detail)


def test_a_message_that_was_sent_has_an_id() -> None:
    body = b'{"ok": true, "result": {"message_id": 41, "date": 1, "chat": {"id": 7, "type": "private"}}}'
    assert delivery_of(200, body) == Delivery(DeliveryOutcome.SENT, message_id=41)


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [({"retry_after": 7}, 7), ({"retry_after": 10_072}, 10_072), ({"retry_after": 0}, 1), ({}, 30)],
)
def test_a_429_says_how_long_to_be_silent(parameters: dict[str, int], seconds: int) -> None:
    """R47: whatever Telegram asks for, and something sensible where it does not say."""
    delivery = delivery_of(*answer(429, "Too Many Requests", **parameters))
    assert (delivery.outcome, delivery.retry_after) == (DeliveryOutcome.RETRY_LATER, seconds)


def test_a_429_counts_even_when_a_gateway_says_it() -> None:
    """R47: ignoring one leads to bans, so its body need not be readable."""
    delivery = delivery_of(429, b"<html>slow down</html>")
    assert (delivery.outcome, delivery.retry_after) == (DeliveryOutcome.RETRY_LATER, 30)


def test_a_migrated_group_has_a_new_id() -> None:
    """R49: ids of supergroups are negative and have more than 32 bits."""
    delivery = delivery_of(*answer(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1001234567890))
    assert (delivery.outcome, delivery.new_chat_id) == (DeliveryOutcome.MIGRATED, -1001234567890)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>It works!</html>"),
        (200, b'{"ok": true}'),
        (200, b'{"ok": true, "result": {"message_id": true}}'),
        (200, b'{"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}'),
        (403, b"<html>blocked by the user's proxy</html>"),
        (403, b'{"ok": false, "error_code": 400, "description": "chat not found"}'),
        (400, b"[" * 60_000),
        (302, b""),
    ],
)
def test_what_does_not_sound_like_telegram_proves_nothing(status: int, body: bytes) -> None:
    """R50: a message that may be out is never sent again, and nobody is marked as blocked on a proxy's word."""
    assert delivery_of(status, body).outcome is DeliveryOutcome.UNKNOWN


VALUES = st.sampled_from([None, True, False, 0, -1, 403, 429, 2**70, "", "Forbidden: bot was blocked", [], {}])
CONTENTS = st.dictionaries(
    st.sampled_from(["ok", "error_code", "description", "parameters", "result"]),
    VALUES | st.dictionaries(st.sampled_from(["message_id", "retry_after", "migrate_to_chat_id"]), VALUES),
)
BODIES = st.binary(max_size=50) | CONTENTS.map(lambda content: json.dumps(content).encode())


@settings(max_examples=200, deadline=None)
@given(status=st.integers(100, 599) | st.sampled_from([200, 400, 403, 429]), body=BODIES)
def test_any_answer_has_a_meaning_and_only_a_2xx_means_sent(status: int, body: bytes) -> None:
    """R50: garbage never raises."""
    delivery = delivery_of(status, body)
    assert delivery.outcome is not DeliveryOutcome.NOT_SENT
    assert delivery.outcome is not DeliveryOutcome.SENT or (200 <= status < 300 and delivery.message_id is not None)


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every request that would have been made."""
    seen: list[dict[str, Any]] = []

    def request(self: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        seen.append({"method": method, "url": url, "trust_env": self.trust_env, **options})
        raise requests.exceptions.ConnectTimeout

    monkeypatch.setattr(requests.Session, "request", request)
    return seen


def test_every_request_has_a_timeout_and_follows_no_redirect(requested: list[dict[str, Any]]) -> None:
    """R59: no call can outlast the function; R44: none is repeated by a redirect or a library."""
    client = TelegramClient(TOKEN, "https://api.telegram.org")
    sent = [client.send_message(7, "hello"), client.send_document(7, "data.json", b"{}", "hello")]
    assert sent == [Delivery(DeliveryOutcome.NOT_SENT, detail="connect_timeout")] * 2
    for call in (
        lambda: client.set_webhook("https://x.example", "s", ["message"], 10),
        lambda: client.delete_webhook(),
        lambda: client.webhook_info(),
        lambda: client.my_commands(),
        lambda: client.set_my_commands([BotCommand("stop", "Stop")]),
        lambda: client.delete_my_commands("de"),
    ):
        with pytest.raises(TelegramApiError, match="connect_timeout"):
            call()
    assert len(requested) == 8
    for request in requested:
        assert request["timeout"] == (CONNECT_SECONDS, READ_SECONDS)
        assert request["allow_redirects"] is False
        assert request["trust_env"] is False
    assert CONNECT_SECONDS + READ_SECONDS < 15


def test_outreach_is_never_paid_for(requested: list[dict[str, Any]]) -> None:
    """R57: allow_paid_broadcast is not among the parameters, and nothing else unasked for is."""
    keyboard = {"inline_keyboard": [[{"text": "Stop", "callback_data": "outreach:stop"}]]}
    TelegramClient(TOKEN, "https://api.telegram.org").send_message(7, "hello", reply_markup=keyboard)
    TelegramClient(TOKEN, "https://api.telegram.org").send_message(7, "hello", parse_mode=None)
    assert [json.loads(request["data"]) for request in requested] == [
        {"chat_id": 7, "text": "hello", "parse_mode": "HTML", "reply_markup": keyboard},
        {"chat_id": 7, "text": "hello"},
    ]


def test_set_webhook_always_sends_all_four(requested: list[dict[str, Any]]) -> None:
    """R11: what a call leaves out, Telegram clears or resets."""
    with pytest.raises(TelegramApiError):
        TelegramClient(TOKEN, "https://api.telegram.org").set_webhook("https://x.example/t", "s3", ["message"], 10)
    assert json.loads(requested[0]["data"]) == {
        "url": "https://x.example/t",
        "secret_token": "s3",
        "allowed_updates": ["message"],
        "max_connections": 10,
    }


def test_a_webhook_without_a_secret_can_be_put_back(requested: list[dict[str, Any]]) -> None:
    """R121: an absent secret_token is none; the other three are sent all the same."""
    with pytest.raises(TelegramApiError):
        TelegramClient(TOKEN, "https://api.telegram.org").set_webhook("https://x.example/t", None, [], 40)
    assert json.loads(requested[0]["data"]) == {
        "url": "https://x.example/t",
        "allowed_updates": [],
        "max_connections": 40,
    }


def test_a_menu_is_of_one_language_or_of_none(requested: list[dict[str, Any]]) -> None:
    """R121: the default scope, always; language_code only where there is one."""
    client = TelegramClient(TOKEN, "https://api.telegram.org")
    for language in (None, "de"):
        with pytest.raises(TelegramApiError):
            client.set_my_commands([BotCommand("stop", "Stop")], language)
    menu = {"commands": [{"command": "stop", "description": "Stop"}]}
    assert [json.loads(request["data"]) for request in requested] == [menu, menu | {"language_code": "de"}]


def test_the_client_does_not_show_its_token() -> None:
    """R58: neither by repr nor by str."""
    client = TelegramClient(TOKEN, "https://api.telegram.org")
    assert TOKEN not in repr(client) + str(client)
