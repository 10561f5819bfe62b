"""Updates as Telegram sends them, to be posted to a webhook: one function for each kind that matters.

Nothing here reads a clock or draws a number: the same arguments give the same update.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

type Update = dict[str, Any]

MAX_ID = 2**52 - 1
"""Ids have at most 52 significant bits."""
ANONYMOUS_ADMIN_ID = 1087968824
"""@GroupAnonymousBot, the sender Telegram shows for an anonymous administrator."""
FOREVER = 0
"""`until_date` of a ban without an end."""


@dataclass(frozen=True, slots=True)
class Person:
    """A Telegram user, as far as a bot is told.

    Attributes:
        user_id: up to 52 bits.
        first_name: 1-64 characters of anything.
        language_code: IETF tag; None where the app sends none.
        last_name: None where there is none.
        username: None where there is none.
    """

    user_id: int
    first_name: str
    language_code: str | None = "en"
    last_name: str | None = None
    username: str | None = None

    def as_user(self) -> dict[str, Any]:
        """Return the User object."""
        user = {"id": self.user_id, "is_bot": False, **self._names()}
        return user | ({"language_code": self.language_code} if self.language_code else {})

    def as_chat(self) -> dict[str, Any]:
        """Return the private Chat object."""
        return {"id": self.user_id, "type": "private", **self._names()}

    def _names(self) -> dict[str, str]:
        names = {"first_name": self.first_name, "last_name": self.last_name, "username": self.username}
        return {key: value for key, value in names.items() if value is not None}


def message(
    update_id: int,
    person: Person,
    text: str,
    *,
    date: int,
    message_id: int,
    reply_to: Update | None = None,
) -> Update:
    """Return a text message; one that begins with a slash carries the command's entity.

    Args:
        update_id: Telegram's id of the update.
        person: who writes, in their private chat.
        text: 1-4096 characters.
        date: epoch seconds.
        message_id: its id in the chat.
        reply_to: the Message it replies to.
    """
    content = _message(person, date, message_id) | {"text": text}
    if text.startswith("/"):
        length = len(text.split(maxsplit=1)[0].encode("utf-16-le")) // 2
        content["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
    if reply_to is not None:
        content["reply_to_message"] = reply_to
    return {"update_id": update_id, "message": content}


def command(update_id: int, person: Person, text: str, *, date: int, message_id: int) -> Update:
    """Return a command, with or without arguments: `/start`, `/start campaign-7`."""
    return message(update_id, person, text if text.startswith("/") else f"/{text}", date=date, message_id=message_id)


def edited(original: Update, text: str, *, update_id: int, edit_date: int) -> Update:
    """Return the edit of a message that an earlier update brought."""
    content = dict(original["message"]) | {"text": text, "edit_date": edit_date}
    return {"update_id": update_id, "edited_message": content}


def voice(update_id: int, person: Person, *, date: int, message_id: int, seconds: int = 7) -> Update:
    """Return a voice message."""
    attachment = _file(message_id) | {"duration": seconds, "mime_type": "audio/ogg", "file_size": 3_400 * seconds}
    return {"update_id": update_id, "message": _message(person, date, message_id) | {"voice": attachment}}


def sticker(update_id: int, person: Person, *, date: int, message_id: int, emoji: str = "😀") -> Update:
    """Return a sticker."""
    attachment = _file(message_id) | {
        "type": "regular",
        "width": 512,
        "height": 512,
        "is_animated": False,
        "is_video": False,
        "emoji": emoji,
        "set_name": "Moods",
        "file_size": 21_340,
    }
    return {"update_id": update_id, "message": _message(person, date, message_id) | {"sticker": attachment}}


def document(
    update_id: int, person: Person, *, date: int, message_id: int, caption: str | None = None, name: str = "notes.pdf"
) -> Update:
    """Return a file, with or without words about it."""
    attachment = _file(message_id) | {"file_name": name, "mime_type": "application/pdf", "file_size": 48_212}
    return _attached(update_id, person, date, message_id, {"document": attachment}, caption)


def photo(update_id: int, person: Person, *, date: int, message_id: int, caption: str | None = None) -> Update:
    """Return a picture, with or without words about it."""
    sizes = [_file(message_id, tail) | {"width": side, "height": side} for tail, side in (("s", 90), ("x", 800))]
    return _attached(update_id, person, date, message_id, {"photo": sizes}, caption)


def callback(
    update_id: int, person: Person, data: str, *, date: int, message_id: int, bot_id: int, text: str = "…"
) -> Update:
    """Return the press of a button under a message of the bot's.

    Args:
        update_id: Telegram's id of the update; the query's id follows from it.
        person: who pressed.
        data: the button's `callback_data`, 1-64 bytes.
        date: epoch seconds of the message under the button; the press itself has no date.
        message_id: id of that message.
        bot_id: number before the colon of the bot's token.
        text: of that message.
    """
    below = {
        "message_id": message_id,
        "from": {"id": bot_id, "is_bot": True, "first_name": "Bot", "username": "local_bot"},
        "chat": person.as_chat(),
        "date": date,
        "text": text,
        "reply_markup": {"inline_keyboard": [[{"text": "OK", "callback_data": data}]]},
    }
    query = {
        "id": str(4_000_000_000_000_000_000 + update_id),
        "from": person.as_user(),
        "message": below,
        "chat_instance": str(person.user_id * 7 + 1),
        "data": data,
    }
    return {"update_id": update_id, "callback_query": query}


def blocked(update_id: int, person: Person, *, date: int, bot_id: int) -> Update:
    """Return the news that the user blocked the bot."""
    return _membership(update_id, person, date, bot_id, old="member", new="kicked")


def unblocked(update_id: int, person: Person, *, date: int, bot_id: int) -> Update:
    """Return the news that the user unblocked the bot."""
    return _membership(update_id, person, date, bot_id, old="kicked", new="member")


def inline_query(update_id: int, person: Person, query: str) -> Update:
    """Return an inline query."""
    content = {"id": str(update_id), "from": person.as_user(), "query": query, "offset": "", "chat_type": "sender"}
    return {"update_id": update_id, "inline_query": content}


def reaction(update_id: int, person: Person, *, date: int, message_id: int, emoji: str = "👍") -> Update:
    """Return a reaction; Telegram sends it only to bots that ask for it and are administrators."""
    content = {
        "chat": person.as_chat(),
        "message_id": message_id,
        "user": person.as_user(),
        "date": date,
        "old_reaction": [],
        "new_reaction": [{"type": "emoji", "emoji": emoji}],
    }
    return {"update_id": update_id, "message_reaction": content}


def group_message(update_id: int, person: Person, text: str, *, date: int, message_id: int, chat_id: int) -> Update:
    """Return a text in a group; group ids are negative."""
    content = _message(person, date, message_id) | {"chat": _group(chat_id), "text": text}
    return {"update_id": update_id, "message": content}


def anonymous_admin(update_id: int, text: str, *, date: int, message_id: int, chat_id: int) -> Update:
    """Return a text that an administrator wrote in the group's own name; its `from` is no user."""
    sender = {"id": ANONYMOUS_ADMIN_ID, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    group = _group(chat_id)
    content = {"message_id": message_id, "from": sender, "sender_chat": group, "chat": group, "date": date}
    return {"update_id": update_id, "message": content | {"text": text}}


def channel_post(update_id: int, text: str, *, date: int, message_id: int, chat_id: int) -> Update:
    """Return a post in a channel; it has no `from`."""
    channel = {"id": chat_id, "type": "channel", "title": "News"}
    content = {"message_id": message_id, "sender_chat": channel, "chat": channel, "date": date, "text": text}
    return {"update_id": update_id, "channel_post": content}


def guest_message(update_id: int, person: Person, text: str, *, date: int, message_id: int) -> Update:
    """Return a message that calls the bot into a chat it is not a member of."""
    content = _message(person, date, message_id) | {"text": text, "guest_query_id": f"g{update_id}"}
    return {"update_id": update_id, "guest_message": content}


def business_message(update_id: int, person: Person, text: str, *, date: int, message_id: int) -> Update:
    """Return a message to a business account that the bot is connected to: not to the bot."""
    content = _message(person, date, message_id) | {"text": text, "business_connection_id": f"b{update_id}"}
    return {"update_id": update_id, "business_message": content}


def _message(person: Person, date: int, message_id: int) -> dict[str, Any]:
    return {"message_id": message_id, "from": person.as_user(), "chat": person.as_chat(), "date": date}


def _attached(
    update_id: int, person: Person, date: int, message_id: int, attachment: dict[str, Any], caption: str | None
) -> Update:
    content = _message(person, date, message_id) | attachment
    if caption is not None:
        content["caption"] = caption
    return {"update_id": update_id, "message": content}


def _file(message_id: int, tail: str = "") -> dict[str, Any]:
    name = hashlib.sha256(f"{message_id}{tail}".encode()).hexdigest()
    return {"file_id": f"AwACAgIAAxkBAAI{name[:40]}", "file_unique_id": f"AgAD{name[:12]}"}


def _group(chat_id: int) -> dict[str, Any]:
    return {"id": chat_id, "type": "supergroup", "title": "Friends"}


def _membership(update_id: int, person: Person, date: int, bot_id: int, *, old: str, new: str) -> Update:
    bot = {"id": bot_id, "is_bot": True, "first_name": "Bot", "username": "local_bot"}

    def member(status: str) -> dict[str, Any]:
        return {"status": status, "user": bot} | ({"until_date": FOREVER} if status == "kicked" else {})

    content = {
        "chat": person.as_chat(),
        "from": person.as_user(),
        "date": date,
        "old_chat_member": member(old),
        "new_chat_member": member(new),
    }
    return {"update_id": update_id, "my_chat_member": content}
