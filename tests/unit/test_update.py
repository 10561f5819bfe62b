"""Reading updates: strict in what we need, blind to what we do not know."""

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.interaction import EngagementType
from engagement.domain.update import (
    MAX_BODY_BYTES,
    ButtonPressed,
    Contact,
    Ignored,
    MessageSent,
    StatusChanged,
    dead_letter,
    read_update,
)
from engagement.errors import BadUpdateError

AT = 1_795_338_000
ARRIVED = datetime(2026, 11, 22, 9, 0, 1, 250_000, tzinfo=UTC)
SPECIFICATION = Path(__file__).parents[3] / "shared" / "data" / "bot-api.json"
READ = ("message", "edited_message", "callback_query", "my_chat_member")

Sample = Callable[[str], dict[str, Any]]


def body_of(sample: Sample, case: str) -> bytes:
    return str(sample(f"webhook/{case}")["body"]).encode()


def update(**message: Any) -> bytes:
    private = {"id": 7, "type": "private", "first_name": "Ada"}
    sender = {"id": 7, "is_bot": False, "first_name": "Ada"}
    whole = {"message_id": 1, "from": sender, "chat": private, "date": AT, "text": "hi"} | message
    return json.dumps({"update_id": 1, "message": whole}).encode()


def read(body: bytes) -> Any:
    return read_update(body, ARRIVED)


def answer_or_reason(body: bytes) -> Any:
    """Read an update; the code where it is refused."""
    try:
        return read(body)
    except BadUpdateError as error:
        return error.reason


def test_a_message_is_read(sample: Sample) -> None:
    assert read(body_of(sample, "message")) == MessageSent(
        update_id=90001,
        user_id=7_000_000_001,
        contact=Contact(chat_id=7_000_000_001, first_name="Ada", language_code="en"),
        occurred_at=datetime(2026, 11, 22, 9, 0, tzinfo=UTC),
        engagement_type=EngagementType.MESSAGE,
        command=None,
        text="Good morning! I love this, what should I cook for dinner? 😀",
        message_id=11,
        sticker_emoji="",
        spoken_seconds=0,
        replied_to_id=None,
        replied_to_at=None,
        edited=False,
    )


def test_a_button_press_is_dated_by_its_arrival(sample: Sample) -> None:
    """Telegram gives no date with a callback_query."""
    assert read(body_of(sample, "callback_stop")) == ButtonPressed(
        update_id=90022,
        user_id=7_000_000_001,
        contact=Contact(chat_id=7_000_000_001, first_name="Ada", language_code="en"),
        occurred_at=datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC),
        callback_id="4382bfdwdsb323b2d9",
        data=json.loads(body_of(sample, "callback_stop"))["callback_query"]["data"],
        message_at=datetime(2026, 11, 22, 8, 58, tzinfo=UTC),
        message_id=9,
    )


@pytest.mark.parametrize(("case", "blocked"), [("blocked", True), ("unblocked", False)])
def test_a_block_and_an_unblock_are_read(sample: Sample, case: str, blocked: bool) -> None:
    change = read(body_of(sample, case))

    assert isinstance(change, StatusChanged)
    assert (change.blocked, change.occurred_at) == (blocked, datetime(2026, 11, 22, 9, 0, tzinfo=UTC))


def test_an_edit_is_dated_by_the_edit(sample: Sample) -> None:
    """R21: an edit is known as one, at the time it was made."""
    edit = read(body_of(sample, "edited_message"))

    assert (edit.edited, edit.occurred_at) == (True, datetime(2026, 11, 22, 9, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"voice": {"duration": 3}}, EngagementType.VOICE_MESSAGE),
        ({"video_note": {"duration": 3}}, EngagementType.VOICE_MESSAGE),
        ({"sticker": {"emoji": "😍"}}, EngagementType.STICKER),
        ({"photo": [{}], "caption": "hi"}, EngagementType.DOCUMENT),
        ({"animation": {}, "document": {}}, EngagementType.DOCUMENT),
        ({"video": {}}, EngagementType.DOCUMENT),
        ({"audio": {}}, EngagementType.DOCUMENT),
        ({"location": {"latitude": 1.5, "longitude": 2.5}}, EngagementType.MESSAGE),
        ({"text": "hi"}, EngagementType.MESSAGE),
        ({"text": "/start"}, EngagementType.COMMAND),
        ({"text": "/start@rekindle_bot spring"}, EngagementType.COMMAND),
        ({"text": "/usr/bin/python"}, EngagementType.MESSAGE),
        ({"photo": [{}], "caption": "/stop"}, EngagementType.DOCUMENT),
    ],
)
def test_the_type_follows_from_the_content(content: dict[str, Any], expected: EngagementType) -> None:
    assert read(update(**({"text": None} | content))).engagement_type is expected


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/start", "start"),
        ("/START", "start"),
        ("/start campaign-7", "start"),
        ("/start \x00\ud83d 🤡 \n' OR 1=1", "start"),
        ("/start " + "x" * 3_000, "start"),
        ("/stop@some_bot", "stop"),
        ("stop", None),
        ("please /stop", None),
        ("/", None),
        ("//start", None),
    ],
)
def test_a_command_is_known_by_its_name_whatever_follows(text: str, command: str | None) -> None:
    """R15: an invalid or unknown /start payload is ignored; the command holds."""
    assert read(update(text=text)).command == command


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("channel_post", "kind"),
        ("business_message", "kind"),
        ("guest_message", "kind"),
        ("unknown_kind", "kind"),
        ("group_message", "not_private"),
        ("anonymous_admin", "not_private"),
    ],
)
def test_what_is_no_users_own_message_to_the_bot_is_left_alone(sample: Sample, case: str, reason: str) -> None:
    """R7: no channel, group, anonymous admin, guest or business message becomes a user."""
    ignored = read(body_of(sample, case))

    assert isinstance(ignored, Ignored)
    assert ignored.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sender_chat": {"id": -1}}, "not_private"),
        ({"business_connection_id": "b"}, "not_private"),
        ({"guest_query_id": "g"}, "not_private"),
        ({"from": {"id": 8, "is_bot": True, "first_name": "Bot"}}, "not_a_user"),
        ({"text": None, "pinned_message": {}}, "content"),
        ({"text": None, "message_auto_delete_timer_changed": {}}, "content"),
        ({"text": None, "a_content_of_2031": {}}, "content"),
    ],
)
def test_a_private_message_that_nobody_said_is_left_alone(change: dict[str, Any], reason: str) -> None:
    """R7, R6."""
    assert read(update(**change)) == Ignored(1, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b'{"update_id": NaN}', "not_json"),
        (b'{"update_id": ' + b"9" * 5_000 + b"}", "not_json"),
        (b"[" * 50_000 + b"]" * 50_000, "too_deep"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "too_deep"),
        (b" " * 500_000, "too_large"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "no_update_id"),
        (b'{"update_id": "1"}', "no_update_id"),
        (b'{"update_id": true}', "no_update_id"),
        (b'{"update_id": 1.5}', "no_update_id"),
        (b'{"update_id": -1}', "no_update_id"),
        (b'{"update_id": 1, "message": 5}', "wrong_type"),
        (b'{"update_id": 1, "my_chat_member": null}', "wrong_type"),
        (update(chat=None), "wrong_type"),
        (update(**{"from": None}), "no_sender"),
        (update(**{"from": {"is_bot": False}}), "wrong_type"),
        (update(**{"from": {"id": "7"}}), "wrong_type"),
        (update(**{"from": {"id": 2**53}}), "wrong_type"),
        (update(text=5), "wrong_type"),
        (update(text=["a"]), "wrong_type"),
        (update(date="today"), "bad_date"),
        (update(date=True), "bad_date"),
        (update(date=0), "bad_date"),
        (update(date=-(10**18)), "bad_date"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_retry_can_mend_says_why(body: bytes, reason: str) -> None:
    """R5: each kind of permanently bad update has its code; the code says nothing of the content."""
    with pytest.raises(BadUpdateError) as raised:
        read(body)

    assert raised.value.reason == reason
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_full_message_fits_below_the_limit() -> None:
    """R5: the limit hits no message that Telegram can carry: two texts of 4,096 emoji, escaped to ASCII."""
    emoji = "👩" * 4_096
    entities = [{"offset": i, "length": 1, "type": "bold"} for i in range(200)]
    body = update(
        text=emoji,
        entities=entities,
        reply_to_message={"message_id": 2, "text": emoji, "entities": entities, "date": AT, "from": {"id": 9}},
    )

    assert len(body) < MAX_BODY_BYTES
    assert read(body).text == emoji


def test_a_date_in_the_future_becomes_the_arrival() -> None:
    """R28: Telegram's clock, or a forger's, does not move us ahead of our own."""
    arrival = datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC)

    assert read(update(date=AT + 3_600)).occurred_at == arrival
    assert read(update(date=10**30)).occurred_at == arrival
    assert read(update(date=AT - 86_400)).occurred_at == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def test_half_a_surrogate_pair_is_replaced() -> None:
    """It is valid JSON, and no store can hold it."""
    name = {"id": 7, "first_name": "A\ud83d"}
    message = read(update(text="a\udc00b", **{"from": name}))

    assert (message.text, message.contact.first_name) == ("a?b", "A?")


def test_what_is_merely_nice_to_have_may_be_anything() -> None:
    """R6: a field we can do without is never a reason to refuse the update."""
    odd = read(
        update(
            **{"from": {"id": 7, "first_name": 5, "language_code": ["en"]}},
            reply_to_message={"from": {"id": "x"}, "date": "y"},
            entities="none",
        )
    )

    assert odd.contact == Contact(chat_id=7, first_name="", language_code=None)
    assert (odd.replied_to_id, odd.replied_to_at) == (None, None)


@given(user_id=st.integers(1, 2**52 - 1), chat_id=st.integers(-(2**52) + 1, 2**52 - 1))
def test_ids_of_52_bits_are_read_losslessly(user_id: int, chat_id: int) -> None:
    """R8."""
    message = read(update(**{"from": {"id": user_id}, "chat": {"id": chat_id, "type": "private"}}))

    assert (message.user_id, message.contact.chat_id) == (user_id, chat_id)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(kind=st.text(max_size=20).filter(lambda name: name not in (*READ, "update_id")), value=json_values)
def test_an_unknown_kind_is_ignored_whatever_it_holds(kind: str, value: Any) -> None:
    """R6."""
    assert read(json.dumps({"update_id": 5, kind: value}).encode()) == Ignored(5, "kind")


@given(extra=st.dictionaries(st.text(max_size=12).map("x_{}".format), json_values, max_size=4))
def test_unknown_fields_change_nothing(extra: dict[str, Any]) -> None:
    """R6: in the update, the message, the chat or the sender."""
    sender, chat = {"id": 7, "first_name": "Ada"} | extra, {"id": 7, "type": "private"} | extra
    plain = read(update(**{"from": {"id": 7, "first_name": "Ada"}, "chat": {"id": 7, "type": "private"}}))

    assert read(update(**{"from": sender, "chat": chat}, **extra)) == plain


@given(kind=st.sampled_from(READ), value=json_values)
def test_our_kinds_with_anything_in_them_are_read_ignored_or_refused(kind: str, value: Any) -> None:
    """R5, R6: nothing but the documented refusal ever comes out."""
    answer = answer_or_reason(json.dumps({"update_id": 5, kind: value}).encode())

    assert answer in {"wrong_type", "no_sender", "bad_date"} or answer.update_id == 5


class FromSpecification:
    """Makes up values of the Bot API's types, required fields always and optional ones at random."""

    def __init__(self, types: dict[str, Any], rng: random.Random) -> None:
        self.types, self.rng = types, rng

    def value(self, name: str, depth: int) -> Any:
        rng = self.rng
        if name.startswith("Array of "):
            return [self.value(name.removeprefix("Array of "), depth + 1) for _ in range(rng.randint(0, 2))]
        if name == "Integer":
            return rng.choice([0, 1, -1, AT, rng.randrange(2**52), -rng.randrange(2**52)])
        if name in ("Float", "Boolean", "True"):
            return rng.random() if name == "Float" else rng.random() < 0.5
        if name == "String" or name not in self.types:
            return rng.choice(
                [
                    "",
                    "private",
                    "private",
                    "private",
                    "kicked",
                    "member",
                    "/start",
                    "consent:yes",
                    "🤖",
                    "a value of 2031",
                ]
            )
        described = self.types[name]
        if described.get("subtypes"):
            return self.value(rng.choice(described["subtypes"]), depth)
        return {
            field["name"]: self.value(rng.choice(field["types"]), depth + 1)
            for field in described.get("fields", [])
            if field["required"] or (depth < 4 and rng.random() < 0.3)
        }


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="shared/data/bot-api.json is not beside this checkout")
def test_every_kind_of_the_bot_api_is_read_ignored_or_refused() -> None:
    """R6: made-up updates of every kind in the specification, most of them with fields we do not know."""
    types = json.loads(SPECIFICATION.read_text())["types"]
    kinds = [field for field in types["Update"]["fields"] if field["name"] != "update_id"]
    made = FromSpecification(types, random.Random(20261122))
    seen = set()
    assert len(kinds) > len(READ)
    for kind in kinds:
        for number in range(400 if kind["name"] in READ else 20):
            body = {"update_id": number, kind["name"]: made.value(kind["types"][0], 1)}
            answer = answer_or_reason(json.dumps(body).encode())
            if kind["name"] in READ:
                assert answer in {"wrong_type", "no_sender", "bad_date"} or answer.update_id == number, body
                seen.add(answer if isinstance(answer, str) else type(answer).__name__)
            else:
                assert answer == Ignored(number, "kind")
    assert {"MessageSent", "ButtonPressed", "StatusChanged", "Ignored"} <= seen


def test_a_dead_letter_holds_the_shape_and_no_words() -> None:
    """R5, R20: names of fields and types; a field name that could be a word of the user's is not repeated."""
    body = json.dumps(
        {"update_id": 7, "message": {"text": 5, "from": {"first_name": "Canary", "id": 1}}, "My Secret": "canary"}
    ).encode()
    letter = dead_letter(body, "wrong_type")

    assert letter.outline == "{update_id:int,message:{text:int,from:{first_name:str,id:int}},?:str}"
    assert (letter.reason, letter.update_id, letter.body_bytes) == ("wrong_type", 7, len(body))
    assert len(letter.body_sha256) == 64


@pytest.mark.parametrize("body", [b"{", b"[" * 60_000, b" " * 500_000, b"[1]"])
def test_a_body_that_is_no_update_still_gets_a_dead_letter(body: bytes) -> None:
    """R5."""
    letter = dead_letter(body, "any")

    assert (letter.update_id, letter.outline, letter.body_bytes) == (None, None, len(body))


def test_a_long_outline_is_cut() -> None:
    body = json.dumps({"update_id": 1, "message": {"a" * 39 + "_": 1, **{"b" * n: 1 for n in range(1, 40)}}}).encode()

    assert len(dead_letter(body, "any").outline or "") == 512


def test_reading_does_not_touch_the_interpreters_limits() -> None:
    """R5: refusing deep nesting leaves the recursion limit as it was."""
    before = sys.getrecursionlimit()
    with pytest.raises(BadUpdateError):
        read(b"[" * 60_000)

    assert sys.getrecursionlimit() == before
    assert replace(read(update()), update_id=2).update_id == 2


# --- /stop as people type it ---


def marked(text: str, *commands: str) -> bytes:
    """A message as Telegram delivers it, with each of these commands marked where it stands."""
    entities = []
    for command in commands:
        before = text[: text.index(command)]
        offset, length = (len(part.encode("utf-16-le")) // 2 for part in (before, command))
        entities.append({"type": "bot_command", "offset": offset, "length": length})
    return update(text=text, entities=entities)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/stop", "/stop"),
        ("/STOP", "/STOP"),
        ("/Stop!", "/Stop"),
        ("/stop.", "/stop"),
        ("/stop…", "/stop"),
        ("/stop?!!", "/stop"),
        ("/stop 🙏", "/stop"),
        ("/stop🙏🏽", "/stop"),
        ("/stop please, it is enough", "/stop"),
        ("/stop\nnow", "/stop"),
        ("/stop@rekindle_bot", "/stop@rekindle_bot"),
        ("/STOP@Rekindle_Bot!", "/STOP@Rekindle_Bot"),
        ("  /stop", "/stop"),
        ("\u200b/stop", "/stop"),
        ("\u2060\ufeff/stop", "/stop"),
        ("/stop\u200b", "/stop"),
        ("/stop, danke", "/stop"),
        ("/stop_", "/stop_"),
        ("/stop: (", "/stop"),
    ],
)
def test_stop_is_understood_however_it_is_typed(text: str, command: str) -> None:
    """R93: by Telegram's mark, and by the word where there is none."""
    for body in (marked(text, command), update(text=text), update(text=text, entities=None)):
        message = read(body)
        assert (message.command, message.mentions_stop) == ("stop", False), body
        assert message.engagement_type is EngagementType.COMMAND


@pytest.mark.parametrize(
    "text",
    [
        "／stop",
        "／ｓｔｏｐ",
        "/ｓｔｏｐ",
        "/s\u200btop",
        "/st\u00adop!",
        "\u202a/stop\u202c",
        "/\u2060stop",
        "/stop\ufe0f",
        "/s\u200dt\u200co\u200dp",
    ],
)
def test_stop_is_understood_where_telegram_marks_nothing(text: str) -> None:
    """R93: full-width, or with an invisible character that a keyboard put there."""
    assert read(update(text=text)).command == "stop"
    assert read(update(text=text, entities=[])).command == "stop"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/stopping", "stopping"),
        ("/stop_loss", "stop_loss"),
        ("/stop_loss@rekindle_bot", "stop_loss"),
        ("/stop2", "stop2"),
        ("/nonstop", "nonstop"),
        ("stop by the shop", None),
        ("stop", None),
        ("non/stop", None),
        ("https://example.org/stop", None),
        ("//stop", None),
        ("/ stop", None),
    ],
)
def test_what_is_another_command_or_none_is_not_stop(text: str, command: str | None) -> None:
    """R93: /stop_loss is somebody's own."""
    bodies = [update(text=text)] + ([marked(text, text)] if command else [])
    for body in bodies:
        message = read(body)
        assert (message.command, message.mentions_stop) == (command, False)


@pytest.mark.parametrize(
    "text",
    [
        "please /stop",
        "👩🏽‍🚀👍 please /stop 🙏",
        "I said: /STOP!",
        "😀😀😀/stop",
        "/help and /stop",
        "ok\n/stop@rekindle_bot",
    ],
)
def test_stop_within_a_message_is_mentioned(text: str) -> None:
    """R93: asked back with one button; offsets count UTF-16 code units, as emoji have two."""
    found = re.search(r"/stop(@\w+)?", text, re.IGNORECASE)
    assert found
    marks = [found[0]] + (["/help"] if text.startswith("/help") else [])
    message = read(marked(text, *marks))
    assert message.mentions_stop
    assert message.command == ("help" if text.startswith("/help") else None)


def test_of_a_message_without_marks_nothing_is_mentioned_but_its_head() -> None:
    """R93: a path or an address within a text is none."""
    for text in ("please /stop", "see example.org/stop"):
        message = read(update(text=text))
        assert (message.command, message.mentions_stop) == (None, False)


@pytest.mark.parametrize(
    "entities",
    [
        7,
        "bot_command",
        [None, 7, "x", []],
        [{"type": "bot_command"}],
        [{"type": "bot_command", "offset": -1, "length": 5}],
        [{"type": "bot_command", "offset": 0, "length": 0}],
        [{"type": "bot_command", "offset": 0, "length": 10**9}],
        [{"type": "bot_command", "offset": 1.5, "length": "5"}],
        [{"type": "bot_command", "offset": True, "length": True}],
        [{"type": "bot_command", "offset": 1, "length": 1}],
        [{"type": ["bot_command"], "offset": 0, "length": 5}],
    ],
)
def test_marks_that_cannot_be_are_passed_over(entities: Any) -> None:
    """R93: what Telegram never sends neither stops anybody nor fails the update."""
    assert read(update(text="😀 hello", entities=entities)).command is None
    assert read(update(text="/stop", entities=entities)).command == "stop"


def test_stop_in_a_caption_or_an_edit_is_read_as_what_it_is() -> None:
    caption = read(update(text=None, photo=[{}], caption="/stop"))
    assert (caption.command, caption.mentions_stop) == (None, False)
    edited = json.loads(update(text="/stop", edit_date=AT))
    edited["edited_message"] = edited.pop("message")
    message = read(json.dumps(edited).encode())
    assert (message.command, message.edited) == ("stop", True)
