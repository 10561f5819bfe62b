"""Connects a bot to its stack, and gives back what it had: webhook, menus, and a check that each took.

A living bot has a webhook and a menu of its own. What of them would be lost is shown first and kept; only then is
anything changed, so that it can be put back.
"""

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engagement.clients.secrets import MAX_AGE_SECONDS
from engagement.clients.telegram import TelegramClient
from engagement.domain.webhook import (
    ADVICE,
    ALLOWED_UPDATES,
    DEFAULT_MAX_CONNECTIONS,
    WebhookFault,
    WebhookInfo,
    faults,
)
from engagement.errors import TelegramApiError
from infra.cli.before import (
    Found,
    Kept,
    RegistrationError,
    is_foreign,
    look,
    lost,
    menu_changes,
    menus,
    presentable,
    read_kept,
    restoring,
    to_keep,
    written,
)

SECRET_BYTES = 32
"""Random bytes; as text 43 of the characters that Telegram takes."""
OVERLAP_SECONDS = MAX_AGE_SECONDS + 10
"""How long a new secret must lie in its parameter before every running copy of the webhook is sure to know it."""

type Confirm = Callable[[Sequence[str]], bool]
"""Shows what would be lost, a line each, and says whether to go on."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{0,256}", re.ASCII)


class Parameters(Protocol):
    """Where secrets are kept."""

    def read(self, name: str) -> str:
        """Return a parameter's value as it is now; "" where it does not exist."""
        ...

    def write(self, name: str, value: str) -> None:
        """Create or replace a parameter, encrypted."""
        ...

    def delete(self, name: str) -> None:
        """Remove a parameter that exists."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be connected.

    Attributes:
        url: the stack's webhook.
        secret_parameter: name of the parameter with the secret token.
        previous_parameter: name of the one whose value passes as well.
        callback_key_parameter: name of the one with the key that our buttons are signed with.
        before_parameter: name of the one that keeps what the bot had before.
        max_connections: deliveries at a time; the webhook reserves as many running copies.
    """

    url: str
    secret_parameter: str
    previous_parameter: str
    callback_key_parameter: str
    before_parameter: str
    max_connections: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What was done.

    Attributes:
        created_secret: there was no secret before.
        replaced: the bot had something that is not ours, and it is kept.
        info: what Telegram says afterwards.
    """

    created_secret: bool
    replaced: bool
    info: WebhookInfo


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back.

    Attributes:
        info: what Telegram says afterwards.
        without_secret: the webhook was put back without a secret token.
        needs_certificate: it had a certificate of its own, which only its owner can upload again.
    """

    info: WebhookInfo
    without_secret: bool
    needs_certificate: bool


def register(telegram: TelegramClient, parameters: Parameters, plan: Plan, confirm: Confirm) -> Registered:
    """Point Telegram at the stack and set the menus; a second time changes nothing.

    Args:
        telegram: the bot.
        parameters: where the secrets are kept.
        plan: what is to be connected.
        confirm: asked only where something of the bot's own would be lost.

    Raises:
        RegistrationError: it was declined, or Telegram afterwards says something else than it was told.
        TelegramApiError: Telegram refused or did not answer.
    """
    found, replaced = _take(telegram, parameters, plan, confirm)
    created = _create_missing(parameters, plan.secret_parameter)
    _create_missing(parameters, plan.callback_key_parameter)
    secret = parameters.read(plan.secret_parameter)
    return Registered(created, replaced, _connect(telegram, plan, secret, found, replaced=replaced))


def rotate(
    telegram: TelegramClient,
    parameters: Parameters,
    plan: Plan,
    confirm: Confirm,
    wait: Callable[[float], None] = time.sleep,
) -> WebhookInfo:
    """Replace the secret without turning one update away.

    Running copies of the webhook believe each parameter for minutes, one longer than another. So the new secret first
    becomes the *second* one that passes; when every copy knows it, Telegram is told; then it becomes the first one
    too. Whatever mix of old and new values a copy holds, what Telegram sends passes. The old secret stops passing
    within `MAX_AGE_SECONDS`. Interrupted anywhere, `register` sets things right.

    The key of our buttons is never replaced: those under old messages must keep working.

    Args:
        telegram: the bot.
        parameters: where the secrets are kept.
        plan: what is connected.
        confirm: asked only where something of the bot's own would be lost.
        wait: waits for so many seconds.

    Raises:
        RegistrationError: there is no secret to replace, it was declined, or Telegram says something else than it was
            told.
        TelegramApiError: Telegram refused or did not answer.
    """
    if not parameters.read(plan.secret_parameter):
        raise RegistrationError(f"there is no secret in {plan.secret_parameter}; run `rekindle webhook set` first")
    found, replaced = _take(telegram, parameters, plan, confirm)
    _create_missing(parameters, plan.callback_key_parameter)
    new = secrets.token_urlsafe(SECRET_BYTES)
    parameters.write(plan.previous_parameter, new)
    wait(OVERLAP_SECONDS)
    info = _connect(telegram, plan, new, found, replaced=replaced)
    parameters.write(plan.secret_parameter, new)
    return info


def restore(
    telegram: TelegramClient,
    parameters: Parameters,
    plan: Plan,
    confirm: Confirm,
    old_secret: Callable[[], str],
) -> Restored:
    """Put back what the bot had before `register`; what is kept is forgotten only when all of it is back.

    Args:
        telegram: the bot.
        parameters: where it is kept.
        plan: what was connected.
        confirm: shows what will be done, and says whether to go on.
        old_secret: asked for the webhook's secret token where there was a webhook; "" for none.

    Raises:
        RegistrationError: nothing is kept, it was declined, or Telegram says something else than it was told.
        TelegramApiError: Telegram refused or did not answer.
    """
    kept = read_kept(parameters.read(plan.before_parameter), plan.before_parameter)
    if kept is None:
        raise RegistrationError(f"nothing is kept in {plan.before_parameter}: there is nothing to put back")
    found = look(telegram)
    changes = menu_changes(found, kept)
    if not confirm(restoring(found, kept, plan.url, changes)):
        raise RegistrationError("nothing was changed: the bot stays connected to this stack")
    secret = old_secret().strip() if kept.url else ""
    if not _SECRET.fullmatch(secret):
        raise RegistrationError("a secret token is at most 256 of A-Z, a-z, 0-9, _ and -; nothing was changed")
    expected = _restore_webhook(telegram, parameters, plan, found.webhook, kept, secret)
    for language, menu in changes.items():
        if menu:
            telegram.set_my_commands(menu, language or None)
        else:
            telegram.delete_my_commands(language or None)
    info = telegram.webhook_info()
    if not _same(info, *expected):
        raise RegistrationError(
            "Telegram does not report the webhook that was just put back; something else may be setting it at the same "
            "time. Stop that, then run `rekindle webhook restore` again"
        )
    parameters.delete(plan.before_parameter)
    return Restored(info, without_secret=bool(kept.url) and not secret, needs_certificate=kept.has_custom_certificate)


def complaints(info: WebhookInfo, plan: Plan, now: datetime) -> list[str]:
    """Say plainly what is wrong with the webhook, each with its remedy; nothing for a healthy one."""
    words = [ADVICE[fault] + _detail(fault, info) for fault in faults(info, url=plan.url, now=now)]
    if info.url and info.max_connections != plan.max_connections:
        words.append(
            f"Telegram uses {info.max_connections or 40} connections, {plan.max_connections} were asked for: somebody "
            "else called setWebhook, which may have cleared the secret too; run `rekindle webhook set`"
        )
    return words


def _detail(fault: WebhookFault, info: WebhookInfo) -> str:
    match fault:
        case WebhookFault.URL_DIFFERS:
            return f" (they go to {presentable(info.url)})"
        case WebhookFault.UPDATES_DIFFER:
            missing = [kind for kind in ALLOWED_UPDATES if info.allowed_updates and kind not in info.allowed_updates]
            return f" (missing: {', '.join(missing)})" if missing else " (it sends others too)"
        case WebhookFault.ERROR_RECENT:
            return f" (the last: {info.last_error_message})"
        case WebhookFault.PENDING_MANY:
            return f" ({info.pending_update_count} are waiting)"
        case _:
            return ""


def _create_missing(parameters: Parameters, name: str) -> bool:
    """Create a secret unless there is one; say whether there was none."""
    if parameters.read(name):
        return False
    parameters.write(name, secrets.token_urlsafe(SECRET_BYTES))
    return True


def _connect(telegram: TelegramClient, plan: Plan, secret: str, found: Found, *, replaced: bool) -> WebhookInfo:
    try:
        telegram.set_webhook(plan.url, secret, ALLOWED_UPDATES, plan.max_connections)
        for language, menu in menus().items():
            if menu != found.menus[language]:
                telegram.set_my_commands(menu, language or None)
        info = telegram.webhook_info()
    except TelegramApiError as error:
        if not replaced:
            raise
        # A new address that Telegram refuses may have cost the bot its old one already.
        raise TelegramApiError(
            f"{error}; what the bot had is kept: `rekindle webhook restore` puts it back, "
            "`rekindle webhook set` tries again"
        ) from None
    if not _same(info, plan.url, ALLOWED_UPDATES, plan.max_connections):
        raise RegistrationError(
            "Telegram does not report the webhook that was just set; another deployment may be setting it at the same "
            "time. Stop that one, then run `rekindle webhook set` again"
        )
    return info


def _same(info: WebhookInfo, url: str, allowed_updates: Sequence[str], max_connections: int | None) -> bool:
    told = info.url, set(info.allowed_updates)
    return told == (url, set(allowed_updates)) and max_connections in (None, info.max_connections)


def _take(telegram: TelegramClient, parameters: Parameters, plan: Plan, confirm: Confirm) -> tuple[Found, bool]:
    """Look at the bot, have what would be lost confirmed, and keep it; say whether anything was there."""
    kept = read_kept(parameters.read(plan.before_parameter), plan.before_parameter)
    found = look(telegram)
    marks = kept.marks if kept else ()
    losses = lost(found, plan.url, marks)
    if losses and not confirm(losses):
        raise RegistrationError("nothing was changed: the bot keeps its webhook and its menu")
    after = to_keep(found, plan.url, kept)
    if after != kept:
        parameters.write(plan.before_parameter, written(after))
    return found, bool(losses)


def _restore_webhook(
    telegram: TelegramClient, parameters: Parameters, plan: Plan, info: WebhookInfo, kept: Kept, secret: str
) -> tuple[str, tuple[str, ...], int | None]:
    """Put the webhook back; return what Telegram should say of it: address, kinds of update, connections."""
    if kept.url:
        connections = kept.max_connections or DEFAULT_MAX_CONNECTIONS
        telegram.set_webhook(kept.url, secret or None, kept.allowed_updates, connections)
        return kept.url, kept.allowed_updates, connections
    if is_foreign(info, plan.url, kept.marks):
        return info.url, info.allowed_updates, info.max_connections
    if set(info.allowed_updates) != set(kept.allowed_updates):
        # The list outlives the webhook and holds for getUpdates too, but only a call with an address changes it.
        ours = parameters.read(plan.secret_parameter)
        telegram.set_webhook(info.url or plan.url, ours or None, kept.allowed_updates, plan.max_connections)
    telegram.delete_webhook()
    return "", kept.allowed_updates, None
