"""The updates that tests and the demo make, against the Bot API's specification where it lies beside the project."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.telegram import bot_api, updates
from infra.local.telegram.bot_api import BotApi
from infra.local.telegram.updates import MAX_ID, Person
from infra.local.telegram.webhook import KINDS

BOT_ID = 123456
GROUP = -1001234567890

BUILDERS: dict[str, Callable[[int, Person], dict[str, Any]]] = {
    "message": lambda n, who: updates.message(n, who, "Hello 👍🏽", date=n, message_id=1),
    "command": lambda n, who: updates.command(n, who, "/start ref-7", date=n, message_id=1),
    "reply": lambda n, who: updates.message(
        n, who, "yes", date=n, message_id=2, reply_to=updates.message(1, who, "?", date=n, message_id=1)["message"]
    ),
    "edited": lambda n, who: updates.edited(
        updates.message(1, who, "a", date=n, message_id=1), "b", update_id=n, edit_date=n + 1
    ),
    "voice": lambda n, who: updates.voice(n, who, date=n, message_id=1),
    "sticker": lambda n, who: updates.sticker(n, who, date=n, message_id=1),
    "document": lambda n, who: updates.document(n, who, date=n, message_id=1, caption="look"),
    "photo": lambda n, who: updates.photo(n, who, date=n, message_id=1, caption="look"),
    "callback": lambda n, who: updates.callback(n, who, "outreach:stop", date=n, message_id=1, bot_id=BOT_ID),
    "blocked": lambda n, who: updates.blocked(n, who, date=n, bot_id=BOT_ID),
    "unblocked": lambda n, who: updates.unblocked(n, who, date=n, bot_id=BOT_ID),
    "inline_query": lambda n, who: updates.inline_query(n, who, "cats"),
    "reaction": lambda n, who: updates.reaction(n, who, date=n, message_id=1),
    "group_message": lambda n, who: updates.group_message(n, who, "hi", date=n, message_id=1, chat_id=GROUP),
    "anonymous_admin": lambda n, who: updates.anonymous_admin(n, "hi", date=n, message_id=1, chat_id=GROUP),
    "channel_post": lambda n, who: updates.channel_post(n, "hi", date=n, message_id=1, chat_id=GROUP),
    "guest_message": lambda n, who: updates.guest_message(n, who, "hi", date=n, message_id=1),
    "business_message": lambda n, who: updates.business_message(n, who, "hi", date=n, message_id=1),
}
PEOPLE = st.builds(
    Person,
    st.integers(1, MAX_ID),
    st.sampled_from(["Ada", "<&>", "مريم", "👩🏽‍💻", "x" * 64]),
    language_code=st.sampled_from([None, "en", "pt-br"]),
    last_name=st.none() | st.just("L"),
    username=st.none() | st.just("ada_l"),
)


@pytest.fixture(scope="module")
def specification() -> BotApi:
    path = bot_api.find()
    if path is None:
        pytest.skip("no Bot API specification lies beside the project (../shared/data/bot-api.json)")
    return BotApi.load(path)


@pytest.mark.parametrize("kind", BUILDERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(update_id=st.integers(1, 2**31 - 1), person=PEOPLE)
def test_every_update_is_one_that_telegram_could_send(
    specification: BotApi, kind: str, update_id: int, person: Person
) -> None:
    """R6, R7, R8: required fields, types, no invented ones, ids of up to 52 bits."""
    update = BUILDERS[kind](update_id, person)
    assert specification.update_problems(update) == []


@pytest.mark.parametrize("kind", BUILDERS)
def test_updates_survive_json(kind: str) -> None:
    """R8: nothing is lost on the wire, also of the largest ids."""
    update = BUILDERS[kind](2**31 - 1, Person(MAX_ID, "🦊"))
    assert json.loads(json.dumps(update)) == update


def test_a_command_carries_its_entity() -> None:
    message = updates.command(1, Person(7, "Ada"), "start ref-7", date=1, message_id=1)["message"]
    assert message["text"] == "/start ref-7"
    assert message["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda update: update.pop("update_id"), "update: has no update_id"),
        (lambda update: update["message"].pop("date"), "update.message: has no date"),
        (lambda update: update["message"].update(date="now"), "update.message.date: 'now' is not of type Integer"),
        (lambda update: update["message"].update(date=True), "update.message.date: True is not of type Integer"),
        (lambda update: update["message"].update(mood="good"), "update.message: has an unknown field mood"),
        (lambda update: update["message"].update(photo={}), "update.message.photo: is not an array"),
        (lambda update: update.update(edited_message=update["message"]), "update: holds other than exactly one kind"),
    ],
)
def test_the_check_can_fail(specification: BotApi, damage: Callable[[dict[str, Any]], object], problem: str) -> None:
    """A check that passes whatever it is given would prove nothing about the builders."""
    update = updates.message(1, Person(7, "Ada"), "hello", date=1, message_id=1)
    damage(update)
    assert specification.update_problems(update) == [problem]


def test_calls_are_checked_too(specification: BotApi) -> None:
    """R57: a misspelt parameter is ignored by Telegram and a bug of ours."""
    assert specification.call_problems("sendMessage", {"chat_id": 7, "text": "x", "parse_mode": "HTML"}) == []
    assert specification.call_problems("sendmessage", {"chat_id": 7, "text": "x", "parsemode": "HTML"}) == [
        "sendMessage: has an unknown field parsemode"
    ]
    assert specification.call_problems("sendMessage", {"chat_id": 7.5}) == [
        "sendMessage: has no text",
        "sendMessage.chat_id: 7.5 is not of type Integer",
    ]
    assert specification.call_problems("sendMesage", {}) == ["sendMesage: no such method"]


def test_the_kinds_of_update_are_the_specifications(specification: BotApi) -> None:
    """R12: so that a kind Telegram adds shows here."""
    fields = {field["name"] for field in specification.type("Update")["fields"]}
    assert fields - {"update_id"} == KINDS
