"""An update as Telegram posts it -> the few things we need of it, typed; or why it is left alone, or cannot be read.

Field names are Telegram's (https://core.telegram.org/bots/api#update). Unknown kinds, fields and values are the normal
case (the API grows every month) and are ignored; what we do read must be of its type.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeIs

from engagement.domain.interaction import OWN_COMMANDS, EngagementType
from engagement.errors import BadUpdateError

MAX_BODY_BYTES = 262_144
"""Two texts of 4,096 emoji, each escaped to twelve bytes, with their entities and a keyboard, are a third of it."""
MAX_ID = 2**52
"""Telegram promises at most 52 significant bits."""
TELEGRAM_BEGAN = 1_375_315_200
"""August 2013; a date before it is no date."""
MAX_NAME = 128
OUTLINE_DEPTH = 3
OUTLINE_CHARACTERS = 512

CONTENT = {
    "voice": EngagementType.VOICE_MESSAGE,
    "video_note": EngagementType.VOICE_MESSAGE,
    "sticker": EngagementType.STICKER,
    "animation": EngagementType.DOCUMENT,
    "audio": EngagementType.DOCUMENT,
    "document": EngagementType.DOCUMENT,
    "live_photo": EngagementType.DOCUMENT,
    "paid_media": EngagementType.DOCUMENT,
    "photo": EngagementType.DOCUMENT,
    "story": EngagementType.DOCUMENT,
    "video": EngagementType.DOCUMENT,
    "text": EngagementType.MESSAGE,
    "checklist": EngagementType.MESSAGE,
    "contact": EngagementType.MESSAGE,
    "dice": EngagementType.MESSAGE,
    "game": EngagementType.MESSAGE,
    "location": EngagementType.MESSAGE,
    "poll": EngagementType.MESSAGE,
    "rich_message": EngagementType.MESSAGE,
    "venue": EngagementType.MESSAGE,
    "web_app_data": EngagementType.MESSAGE,
}
"""What a user can say with. A message with none of these is Telegram's own notice (pinned, timer changed, ...)."""

COMMAND = re.compile(r"/([a-z0-9_]{1,64})(?:@[a-z0-9_]{0,64})?(?![a-z0-9_])", re.IGNORECASE | re.ASCII)
PATH = frozenset("/<>")
"""What follows a command that is none."""
LANGUAGE = re.compile(r"[A-Za-z0-9-]{2,35}")
FIELD_NAME = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Contact:
    """How to reach a user and what to call them.

    Attributes:
        chat_id: the private chat.
        first_name: as Telegram gives it, at most 128 characters; may be empty.
        language_code: IETF tag of the user's Telegram app; None where absent.
    """

    chat_id: int
    first_name: str
    language_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent:
    """A user's message, or an edit of one.

    Attributes:
        update_id: Telegram's id of the update.
        message_id: Telegram's id of the message in its chat; 0 where it gives none.
        user_id: who sent it.
        contact: how to reach them.
        occurred_at: aware UTC; when it was sent or edited, never later than its arrival.
        engagement_type: from its content.
        command: lower case and without the slash; None where it is none.
        mentions_stop: /stop stands somewhere in it, yet not at its head.
        text: the text or caption; empty where it has none.
        sticker_emoji: the emoji that the sticker stands for; empty where it is no sticker.
        spoken_seconds: length of a voice or video message; 0 otherwise.
        replied_to_id: who wrote the message that this replies to; None where it replies to none.
        replied_to_at: when that was written.
        edited: it is an edit.
    """

    update_id: int
    user_id: int
    contact: Contact
    occurred_at: datetime
    engagement_type: EngagementType
    command: str | None
    text: str
    message_id: int = 0
    mentions_stop: bool = False
    sticker_emoji: str
    spoken_seconds: int
    replied_to_id: int | None
    replied_to_at: datetime | None
    edited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ButtonPressed:
    """A user pressed a button under one of the bot's messages.

    Attributes:
        update_id: Telegram's id of the update.
        user_id: who pressed it.
        contact: how to reach them.
        occurred_at: aware UTC; its arrival, since Telegram dates no button press.
        callback_id: what an answer refers to.
        data: the button's `callback_data`; empty where it has none.
        message_at: when the message with the button was sent; None where Telegram no longer says.
        message_id: Telegram's id of that message in its chat; 0 where it gives none.
    """

    update_id: int
    user_id: int
    contact: Contact
    occurred_at: datetime
    callback_id: str
    data: str
    message_at: datetime | None
    message_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """A user blocked or unblocked the bot.

    Attributes:
        update_id: Telegram's id of the update.
        user_id: who did.
        contact: how to reach them.
        occurred_at: aware UTC, never later than its arrival.
        blocked: True for blocked, False for unblocked.
    """

    update_id: int
    user_id: int
    contact: Contact
    occurred_at: datetime
    blocked: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """An update that is none of our business.

    Attributes:
        update_id: Telegram's id of the update.
        reason: `kind`, `not_private`, `not_a_user`, `content` or `status`; safe to log.
    """

    update_id: int
    reason: str


type Update = MessageSent | ButtonPressed | StatusChanged | Ignored


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is kept of an update that cannot be read: enough to mend the reader, none of the user's words.

    Attributes:
        reason: the code of the error.
        update_id: where it could be made out.
        body_bytes: size of the body.
        body_sha256: digest of the body, in hex.
        outline: field names and types down to three levels; None where it is not JSON.
    """

    reason: str
    update_id: int | None
    body_bytes: int
    body_sha256: str
    outline: str | None


def read_update(body: bytes, arrived_at: datetime) -> Update:
    """Read one update.

    Args:
        body: the request's body.
        arrived_at: aware UTC; stands in where Telegram gives no date, and bounds the dates that it gives.

    Raises:
        BadUpdateError: it can never be read: `too_large`, `not_json`, `too_deep`, `not_an_object`, `no_update_id`,
            `no_sender`, `wrong_type` or `bad_date`.
    """
    update = _parsed(body)
    update_id = update.get("update_id")
    if not _is_id(update_id) or update_id < 0:
        raise BadUpdateError("no_update_id")
    arrived_at = arrived_at.replace(microsecond=0)
    for kind in ("message", "edited_message"):
        if kind in update:
            return _message(update_id, _object(update[kind]), arrived_at, edited=kind == "edited_message")
    if "callback_query" in update:
        return _button(update_id, _object(update["callback_query"]), arrived_at)
    if "my_chat_member" in update:
        return _status(update_id, _object(update["my_chat_member"]), arrived_at)
    return Ignored(update_id, "kind")


def dead_letter(body: bytes, reason: str) -> DeadLetter:
    """Describe an update that `read_update` refused for `reason`."""
    try:
        update = _parsed(body)
    except BadUpdateError:
        update, outline = {}, None
    else:
        outline = _outline(update, OUTLINE_DEPTH)[:OUTLINE_CHARACTERS]
    update_id = update.get("update_id")
    return DeadLetter(
        reason=reason,
        update_id=update_id if _is_id(update_id) else None,
        body_bytes=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        outline=outline,
    )


def _parsed(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise BadUpdateError("too_large")
    try:
        update = json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError:
        raise BadUpdateError("too_deep") from None
    except ValueError:
        # Without its cause: that quotes the body.
        raise BadUpdateError("not_json") from None
    if not isinstance(update, dict):
        raise BadUpdateError("not_an_object")
    return update


def _refuse(constant: str) -> NoReturn:
    """NaN and the infinities are no JSON, though Python reads them."""
    raise ValueError(constant)


def _message(update_id: int, message: dict[str, Any], arrived_at: datetime, *, edited: bool) -> Update:
    ignored = _not_a_private_user(message)
    if ignored:
        return Ignored(update_id, ignored)
    content = next((kind for kind in CONTENT if message.get(kind) is not None), None)
    if content is None:
        return Ignored(update_id, "content")
    user_id, contact = _sender(message, message["chat"])
    text = _text(message.get("text")) or _text(message.get("caption"))
    command, mentions_stop = _commands(text, message.get("entities")) if message.get("text") else (None, False)
    media = message[content]
    original = message.get("reply_to_message")
    replied_to_id = replied_to_at = None
    if isinstance(original, dict) and isinstance(original.get("from"), dict):
        replied_to_id, replied_to_at = original["from"].get("id"), _past(original.get("date"))
    return MessageSent(
        update_id=update_id,
        user_id=user_id,
        contact=contact,
        occurred_at=_date(message.get("edit_date" if edited else "date"), arrived_at),
        engagement_type=EngagementType.COMMAND if command else CONTENT[content],
        command=command,
        text=text,
        message_id=_message_id(message),
        mentions_stop=mentions_stop,
        sticker_emoji=_text(media.get("emoji")) if content == "sticker" and isinstance(media, dict) else "",
        spoken_seconds=_seconds(media) if CONTENT[content] is EngagementType.VOICE_MESSAGE else 0,
        replied_to_id=replied_to_id if _is_id(replied_to_id) else None,
        replied_to_at=replied_to_at,
        edited=edited,
    )


def _button(update_id: int, query: dict[str, Any], arrived_at: datetime) -> Update:
    message = query.get("message")
    if not isinstance(message, dict):
        return Ignored(update_id, "not_private")  # pressed under an inline message, in somebody else's chat
    ignored = _not_a_private_user({"from": query.get("from"), "chat": message.get("chat")})
    if ignored:
        return Ignored(update_id, ignored)
    user_id, contact = _sender(query, message["chat"])
    callback_id = query.get("id")
    if not isinstance(callback_id, str) or not callback_id:
        raise BadUpdateError("wrong_type")
    return ButtonPressed(
        update_id=update_id,
        user_id=user_id,
        contact=contact,
        occurred_at=arrived_at,
        callback_id=_text(callback_id),
        data=_text(query.get("data")),
        message_at=_past(message.get("date")),
        message_id=_message_id(message),
    )


def _status(update_id: int, change: dict[str, Any], arrived_at: datetime) -> Update:
    ignored = _not_a_private_user(change)
    if ignored:
        return Ignored(update_id, ignored)
    user_id, contact = _sender(change, change["chat"])
    status = _object(change.get("new_chat_member")).get("status")
    if status not in ("kicked", "member"):
        return Ignored(update_id, "status")
    return StatusChanged(
        update_id=update_id,
        user_id=user_id,
        contact=contact,
        occurred_at=_date(change.get("date"), arrived_at),
        blocked=status == "kicked",
    )


def _not_a_private_user(event: dict[str, Any]) -> str | None:
    """Say why an event is not a person's in a private chat with the bot; None if it is."""
    if _object(event.get("chat")).get("type") != "private":
        return "not_private"
    # On behalf of a chat, of a business account, or of a guest: the chat is not with the bot.
    if any(event.get(name) is not None for name in ("sender_chat", "business_connection_id", "guest_query_id")):
        return "not_private"
    sender = event.get("from")
    if sender is None:
        raise BadUpdateError("no_sender")
    return "not_a_user" if _object(sender).get("is_bot") is True else None


def _sender(event: dict[str, Any], chat: dict[str, Any]) -> tuple[int, Contact]:
    sender = event["from"]
    user_id, chat_id = sender.get("id"), chat.get("id")
    if not _is_id(user_id) or user_id <= 0 or not _is_id(chat_id):
        raise BadUpdateError("wrong_type")
    name, language = sender.get("first_name"), sender.get("language_code")
    return user_id, Contact(
        chat_id=chat_id,
        first_name=_text(name)[:MAX_NAME] if isinstance(name, str) else "",
        language_code=language if isinstance(language, str) and LANGUAGE.fullmatch(language) else None,
    )


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadUpdateError("wrong_type")
    return value


def _is_id(value: object) -> TypeIs[int]:
    return type(value) is int and -MAX_ID < value < MAX_ID


def _text(value: object) -> str:
    """Return a text; half a surrogate pair, which no store can hold, becomes a question mark."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadUpdateError("wrong_type")
    return value.encode(errors="replace").decode()


def _commands(text: str, entities: object) -> tuple[str | None, bool]:
    """Return the command that a text begins with, and whether /stop stands somewhere behind its head.

    Telegram marks commands by entities, and what it marks at the head decides. Where it marks nothing there, or
    something that is no command of ours, the words decide: people type "/STOP!", or have an invisible character in it
    that their keyboard put there, and mean what they say (R93).
    """
    marked = list(_marked_commands(text, entities))
    at_head = next((name for name, is_head in marked if is_head), None)
    plain = _plain(text)
    found = COMMAND.match(plain)
    typed = found[1].lower().rstrip("_") if found else None
    if found and typed not in OWN_COMMANDS and plain[found.end() : found.end() + 1] in PATH:
        typed = None  # "/usr/bin" is a path, to Telegram too
    command = typed if typed in OWN_COMMANDS and at_head not in OWN_COMMANDS else at_head or typed
    return command, command != "stop" and any(name == "stop" for name, is_head in marked if not is_head)


def _marked_commands(text: str, entities: object) -> Iterator[tuple[str, bool]]:
    """Yield what Telegram marked as commands, and whether only invisible characters stand before it."""
    units = text.encode("utf-16-le")  # offsets count UTF-16 code units
    for entity in entities if isinstance(entities, list) else ():
        if not isinstance(entity, dict) or entity.get("type") != "bot_command":
            continue
        begin, length = entity.get("offset"), entity.get("length")
        if type(begin) is not int or type(length) is not int or not 0 <= begin < begin + length <= len(units) // 2:
            continue
        before, marked = (
            part.decode("utf-16-le", errors="ignore") for part in (units[: 2 * begin], units[2 * begin :][: 2 * length])
        )
        if found := COMMAND.match(marked):
            yield found[1].lower().rstrip("_"), not _plain(before)


def _plain(text: str) -> str:
    """Return a text without what cannot be seen at its head or within it, full-width forms as plain ones."""
    shown = (c for c in unicodedata.normalize("NFKC", text[:256]) if unicodedata.category(c) not in {"Cf", "Mn"})
    return "".join(shown).lstrip()


def _message_id(message: dict[str, Any]) -> int:
    message_id = message.get("message_id")
    return message_id if _is_id(message_id) else 0


def _seconds(media: object) -> int:
    duration = media.get("duration") if isinstance(media, dict) else None
    return duration if type(duration) is int and 0 < duration < MAX_ID else 0


def _date(value: object, arrived_at: datetime) -> datetime:
    """Return an event's date; a date in the future, by a wrong clock, becomes the arrival."""
    if type(value) is not int or value < TELEGRAM_BEGAN:
        raise BadUpdateError("bad_date")
    return datetime.fromtimestamp(min(value, int(arrived_at.timestamp())), UTC)


def _past(value: object) -> datetime | None:
    """Return the date of an earlier message; None where Telegram gives none (0: no longer accessible)."""
    if type(value) is not int or not TELEGRAM_BEGAN <= value < MAX_ID:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError):
        return None


def _outline(value: object, depth: int) -> str:
    """Name the fields and types of a value; a name that Telegram would not use may hold words, and is not repeated."""
    if not isinstance(value, dict) or depth == 0:
        return type(value).__name__
    names = ((name if FIELD_NAME.fullmatch(name) else "?", inner) for name, inner in value.items())
    return "{" + ",".join(f"{name}:{_outline(inner, depth - 1)}" for name, inner in names) + "}"
