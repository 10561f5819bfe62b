"""What a bot had before it was connected: shown before it is replaced, kept, and read again to be put back (R121)."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engagement.clients.telegram import TelegramClient
from engagement.domain.languages import FALLBACK, LANGUAGES
from engagement.domain.replies import COMMANDS, say
from engagement.domain.webhook import (
    ALLOWED_UPDATES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_UPDATES,
    BotCommand,
    WebhookInfo,
)
from engagement.errors import EngagementError

ANY_LANGUAGE = ""
"""Stands for everybody whose language has no menu of its own; their menu is English."""

FORMAT = 1
"""Of what is kept; a higher one is a newer version's."""
KEPT_BYTES = 8_192
"""What a parameter holds at most, in SSM's advanced tier; a bot's menus may be larger than the standard tier's half."""
MARKS = 120
"""How many marks of our own past menus and addresses are kept: ten or so for every change of words."""

type Menu = tuple[BotCommand, ...]

_TOKEN = re.compile(r"\d{5,}(?::|%3A)[A-Za-z0-9_-]{30,}", re.ASCII | re.IGNORECASE)


class RegistrationError(EngagementError):
    """The bot is not connected; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a bot has now.

    Attributes:
        webhook: as Telegram tells it.
        menus: of the default scope, by language, for each language of ours; () where none was set.
    """

    webhook: WebhookInfo
    menus: Mapping[str, Menu]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a bot had before it was ours, and by what we know our own.

    Attributes:
        url: of its webhook; "" where it had none.
        allowed_updates: kinds of update; empty stands for Telegram's default set.
        max_connections: deliveries at a time; None where Telegram did not say.
        ip_address: where Telegram found the webhook's host.
        has_custom_certificate: a certificate was uploaded with the webhook.
        menus: by language; those that it had.
        marks: of each address and menu that `set` has put in place, so that an older version's are not taken for
            somebody else's.
    """

    url: str = ""
    allowed_updates: tuple[str, ...] = ()
    max_connections: int | None = None
    ip_address: str = ""
    has_custom_certificate: bool = False
    menus: Mapping[str, Menu] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


def menus() -> dict[str, Menu]:
    """Return our own menus, by language."""
    others = (language for language in LANGUAGES if language != FALLBACK)
    return {ANY_LANGUAGE: _menu(FALLBACK)} | {language: _menu(language) for language in others}


def presentable(url: str) -> str:
    """Return a webhook's address for a person to read: many bots have their token in its path."""
    return _TOKEN.sub("<token>", url)


def _menu(language: str) -> Menu:
    return tuple(BotCommand(command, say(f"menu_{command}", language)) for command in COMMANDS)


def look(telegram: TelegramClient) -> Found:
    """Ask Telegram what the bot has now.

    Raises:
        TelegramApiError: Telegram refused or did not answer.
    """
    webhook = telegram.webhook_info()
    return Found(webhook, {language: telegram.my_commands(language or None) for language in menus()})


# --- what of it would be lost ---


def lost(found: Found, our_url: str, marks: Sequence[str]) -> list[str]:
    """Say what of the bot's own `set` would replace, a line each; nothing where all is ours or was never set."""
    info = found.webhook
    lines = []
    if is_foreign(info, our_url, marks):
        lines.append(f"webhook: {presentable(info.url)} ({', '.join(_details(info))})")
        if info.pending_update_count:
            lines.append(f"updates that wait for it, and will come to this stack: {info.pending_update_count}")
    if kinds := _dropped(info):
        lines.append(f"updates that will no longer arrive: {', '.join(kinds)}")
    for language, menu in _foreign_menus(found, marks).items():
        lines.append(f"{_called(language)}: {_listed(menu)}")
    if is_foreign(info, our_url, marks):
        lines.append(
            "its secret token, if it has one: Telegram never tells it, so note it now; `rekindle webhook restore` asks "
            "for it"
        )
    return lines


def is_foreign(info: WebhookInfo, our_url: str, marks: Sequence[str]) -> bool:
    """Say whether a webhook is there that we did not set."""
    return bool(info.url) and info.url != our_url and _mark(info.url) not in marks


def _dropped(info: WebhookInfo) -> list[str]:
    """Return the kinds of update that arrive now and would not any more.

    A bot without a webhook, and with Telegram's default set, may be a new one or fetch its updates itself: nobody can
    tell, and there is nothing to name.
    """
    arriving = set(info.allowed_updates) or (DEFAULT_UPDATES if info.url else frozenset[str]())
    return sorted(arriving - set(ALLOWED_UPDATES))


def _foreign_menus(found: Found, marks: Sequence[str]) -> dict[str, Menu]:
    ours = set(menus().values())
    return {
        language: menu
        for language, menu in found.menus.items()
        if menu and menu not in ours and _menu_mark(menu) not in marks
    }


def _details(info: WebhookInfo) -> list[str]:
    return [
        f"{info.max_connections or DEFAULT_MAX_CONNECTIONS} connections",
        *([f"at {info.ip_address}"] if info.ip_address else []),
        *(["with a certificate of its own, which only its owner can upload again"] * info.has_custom_certificate),
    ]


def _called(language: str) -> str:
    return f"menu in {language}" if language else "menu"


def _listed(menu: Menu) -> str:
    return "; ".join(f"/{entry.command} {entry.description}" for entry in menu)


# --- keeping it ---


def to_keep(found: Found, our_url: str, kept: Kept | None) -> Kept:
    """Return what is to be kept from now on: the newest of the bot's own, and never anything of ours.

    So a second `set`, or one after a first that was cut short, keeps what the first one found.
    """
    info = found.webhook
    before = kept or Kept()
    if is_foreign(info, our_url, before.marks):
        before = replace(
            before,
            url=info.url,
            allowed_updates=info.allowed_updates,
            max_connections=info.max_connections,
            ip_address=info.ip_address,
            has_custom_certificate=info.has_custom_certificate,
        )
    elif _dropped(info) or (kept is None and not info.url):
        before = replace(before, allowed_updates=info.allowed_updates)
    marks = [_mark(our_url), *map(_menu_mark, menus().values())]
    return replace(
        before,
        menus={**before.menus, **_foreign_menus(found, before.marks)},
        marks=tuple(dict.fromkeys((*before.marks, *marks)))[-MARKS:],
    )


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _menu_mark(menu: Menu) -> str:
    return _mark("\n".join(f"/{entry.command} {entry.description}" for entry in menu))


def written(kept: Kept) -> str:
    """Return what is kept as JSON.

    Raises:
        RegistrationError: it is too large for a parameter.
    """
    text = _json(
        {
            "format": FORMAT,
            "webhook": {
                "url": kept.url,
                "allowed_updates": kept.allowed_updates,
                "max_connections": kept.max_connections,
                "ip_address": kept.ip_address,
                "has_custom_certificate": kept.has_custom_certificate,
            },
            "menus": {
                language: [[entry.command, entry.description] for entry in menu]
                for language, menu in kept.menus.items()
            },
            "marks": kept.marks,
        }
    )
    if len(text.encode()) > KEPT_BYTES // 2:
        text = _json({"format": FORMAT, "packed": base64.b64encode(zlib.compress(text.encode(), 9)).decode()})
    if len(text.encode()) > KEPT_BYTES:
        raise RegistrationError(
            "the bot's menus are too large to be kept, and nothing was changed; save them yourself (getMyCommands, by "
            "language), remove them with deleteMyCommands, and run `rekindle webhook set` again"
        )
    return text


def _json(content: object) -> str:
    # SSM takes two braces for a reference to another parameter; in our JSON they only open inside words.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("{{", "\\u007b\\u007b")


def read_kept(text: str, name: str) -> Kept | None:
    """Return what is kept; None where nothing is.

    Raises:
        RegistrationError: this version cannot read it.
    """
    if not text:
        return None
    try:
        return _parsed(text)
    except (AttributeError, KeyError, TypeError, ValueError, zlib.error):
        pass
    raise RegistrationError(
        f"{name} keeps what the bot had before, but is damaged or a newer version's, and nothing was changed. Use that "
        f"version; or look at it (aws ssm get-parameter --with-decryption --name {name}), put it back by hand, and "
        f"remove it: aws ssm delete-parameter --name {name}"
    )


def _parsed(text: str) -> Kept:
    content = json.loads(text)
    if content["format"] == FORMAT and "packed" in content:
        content = json.loads(zlib.decompress(base64.b64decode(content["packed"], validate=True)))
    if content["format"] != FORMAT:
        raise ValueError("another format")
    webhook = content["webhook"]
    connections = webhook["max_connections"]
    return Kept(
        url=_typed(webhook["url"], str),
        allowed_updates=tuple(_typed(kind, str) for kind in _typed(webhook["allowed_updates"], list)),
        max_connections=None if connections is None else _typed(connections, int),
        ip_address=_typed(webhook["ip_address"], str),
        has_custom_certificate=_typed(webhook["has_custom_certificate"], bool),
        menus={
            language: tuple(BotCommand(_typed(command, str), _typed(words, str)) for command, words in menu)
            for language, menu in content["menus"].items()
        },
        marks=tuple(_typed(mark, str) for mark in content["marks"]),
    )


def _typed[T](value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


# --- putting it back ---


def menu_changes(found: Found, kept: Kept) -> dict[str, Menu]:
    """Return which menus to set, by language; () removes one of ours, and nobody else's."""
    changes: dict[str, Menu] = {}
    foreign = _foreign_menus(found, kept.marks)
    for language, menu in found.menus.items():
        wanted = kept.menus.get(language, ())
        if menu != wanted and (wanted or language not in foreign):
            changes[language] = wanted
    return changes


def restoring(found: Found, kept: Kept, our_url: str, changes: Mapping[str, Menu]) -> list[str]:
    """Say what will be put back, a line each."""
    info = found.webhook
    since = is_foreign(info, our_url, kept.marks) and info.url != kept.url
    kinds = ", ".join(kept.allowed_updates) or "Telegram's default set"
    if kept.url:
        connections = kept.max_connections or DEFAULT_MAX_CONNECTIONS
        lines = [f"webhook: {presentable(kept.url)} ({connections} connections; updates: {kinds})"]
        if since:
            lines.append(f"in place of {presentable(info.url)}, which somebody set since")
        if kept.has_custom_certificate:
            lines.append("its certificate cannot be put back: its owner has to upload it again")
    elif since:
        lines = [f"webhook: stays {presentable(info.url)}, which somebody set since; the bot had none"]
    else:
        lines = [f"webhook: removed, for the bot had none (updates: {kinds})"]
    lines += [f"{_called(language)}: {_listed(menu)}" for language, menu in changes.items() if menu]
    if removed := [language or "no particular language" for language, menu in changes.items() if not menu]:
        lines.append(f"menus in {', '.join(removed)}: removed, for the bot had none")
    return lines
