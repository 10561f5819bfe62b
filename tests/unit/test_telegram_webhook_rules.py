"""The fake Telegram's rules for webhooks: what setWebhook leaves behind, which queue, how long to wait."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.telegram import updates
from infra.local.telegram.updates import Person
from infra.local.telegram.webhook import (
    DEFAULT_UPDATES,
    KINDS,
    BadWebhookError,
    Webhook,
    after_set_webhook,
    expires_at,
    is_loopback,
    next_delay,
    queue_of,
)

URL = "http://127.0.0.1:8080/telegram"
ADA = Person(2**52 - 1, "Ada")
SET = Webhook(URL, "s3cret", ("message", "callback_query"), 10)


def test_leaving_out_the_secret_clears_it() -> None:
    """R11: and the connections go back to 40, while the kinds of update stay."""
    assert after_set_webhook(SET, {"url": URL}) == Webhook(URL, "", ("message", "callback_query"), 40)


@pytest.mark.parametrize("listed", [[], ["mesage"], ["mesage", "callbackquery"], "[]", ""])
def test_a_list_of_nothing_known_becomes_the_default_set(listed: Any) -> None:
    """R12: a misspelt kind is dropped in silence."""
    after = after_set_webhook(SET, {"url": URL, "allowed_updates": listed})
    assert after.allowed_updates is None
    assert {kind for kind in KINDS if after.allows(kind)} == DEFAULT_UPDATES


def test_known_names_survive_beside_unknown_ones() -> None:
    after = after_set_webhook(SET, {"url": URL, "allowed_updates": ["mesage", "poll", "message"]})
    assert after.allowed_updates == ("poll", "message")


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"secret_token": "x" * 257}, "too long"),
        ({"secret_token": "with space"}, "unallowed characters"),
        ({"secret_token": "schlüssel"}, "unallowed characters"),
        ({"url": "https://example.com/hook"}, "its own machine only"),
        ({"url": "http://10.0.0.1/hook"}, "its own machine only"),
        ({"allowed_updates": {"message": True}}, "can't parse allowed updates"),
    ],
)
def test_what_set_webhook_refuses(params: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadWebhookError, match=complaint):
        after_set_webhook(SET, {"url": URL} | params)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (100, 100), (1000, 100), (-3, 1), (None, 40), (0, 40)])
def test_connections_are_clamped(asked: int | None, given: int) -> None:
    assert after_set_webhook(SET, {"url": URL, "max_connections": asked}).max_connections == given


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:4566/x", True),
        ("http://abc123.execute-api.localhost:4566/telegram", True),
        ("http://[::1]:80/", True),
        ("https://127.0.0.1/", False),
        ("http://localhost.example.com/", False),
    ],
)
def test_which_addresses_are_this_machine(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_the_schedule_of_redeliveries() -> None:
    """At once, then 2, 4, 8 ... seconds up to a random minute or two."""
    delay, waits = 1, []
    for failures in range(10):
        wait, delay = next_delay(failures, delay, 0, lambda low, high: high)
        waits.append(wait)
    assert waits == [0, 2, 4, 8, 16, 32, 64, 120, 120, 120]
    assert next_delay(9, 64, 0, lambda low, high: low) == (60, 60)


@given(st.lists(st.just(0) | st.integers(1, 10_000), min_size=2, max_size=15))
def test_retry_after_replaces_the_wait_and_keeps_the_schedule(answers: list[int]) -> None:
    """R4: a 503 with Retry-After is not hurried, and not punished."""
    delay, delays = 1, []
    for failures, retry_after in enumerate(answers):
        wait, delay = next_delay(failures, delay, retry_after, lambda low, high: low)
        delays.append(delay)
        if retry_after:
            assert wait == min(retry_after, 3_600)
    assert all(before <= after for before, after in pairwise(delays))


def test_each_kind_waits_in_a_queue_of_its_own() -> None:
    """So a message, a button press and a block of one user arrive at once and in any order."""
    user = ADA.user_id
    assert queue_of(updates.message(1, ADA, "x", date=5, message_id=1)) == user
    assert queue_of(updates.callback(2, ADA, "x", date=5, message_id=1, bot_id=9)) == user + (3 << 33)
    assert queue_of(updates.blocked(3, ADA, date=5, bot_id=9)) == user + (5 << 33)
    assert queue_of(updates.reaction(4, ADA, date=5, message_id=1)) == user + (8 << 33)
    assert queue_of({"update_id": 5, "poll": {"id": "1"}}) is None


def test_how_long_updates_live() -> None:
    """A day from their date; a button press has none, and lives 150 seconds."""
    assert expires_at(updates.message(1, ADA, "x", date=1_000, message_id=1), now=5_000) == 1_000 + 86_400
    assert expires_at(updates.blocked(1, ADA, date=1_000, bot_id=9), now=5_000) == 1_000 + 86_400
    assert expires_at(updates.callback(1, ADA, "x", date=1, message_id=1, bot_id=9), now=5_000) == 5_150
    original = updates.message(1, ADA, "x", date=1_000, message_id=1)
    assert expires_at(updates.edited(original, "y", update_id=2, edit_date=3_000), now=5_000) == 3_000 + 86_400
