"""Connects a bot to its stack: the webhook's secret, setWebhook, and a check that it took."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engagement.clients.secrets import MAX_AGE_SECONDS
from engagement.clients.telegram import TelegramClient
from engagement.domain.webhook import ADVICE, ALLOWED_UPDATES, BotCommand, WebhookFault, WebhookInfo, faults
from engagement.errors import EngagementError

SECRET_BYTES = 32
"""Random bytes; as text 43 of the characters that Telegram takes."""
OVERLAP_SECONDS = MAX_AGE_SECONDS + 10
"""How long a new secret must lie in its parameter before every running copy of the webhook is sure to know it."""

COMMANDS = (
    BotCommand("start", "Say hello, and choose whether I may write to you"),
    BotCommand("stop", "No more messages from me"),
    BotCommand("privacy", "What I keep about you, and for how long"),
    BotCommand("timezone", "Tell me your time zone, so that I write at a good hour"),
)
"""Users find /stop and /privacy in the menu; Telegram's terms for bots ask for the latter."""


class RegistrationError(EngagementError):
    """The bot is not connected; the message says what to do next."""


class Parameters(Protocol):
    """Where secrets are kept."""

    def read(self, name: str) -> str:
        """Return a parameter's value as it is now; "" where it does not exist."""
        ...

    def write(self, name: str, value: str) -> None:
        """Create or replace a parameter, encrypted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be connected.

    Attributes:
        url: the stack's webhook.
        secret_parameter: name of the parameter with the secret token.
        previous_parameter: name of the one whose value passes as well.
        max_connections: deliveries at a time; the webhook reserves as many running copies.
    """

    url: str
    secret_parameter: str
    previous_parameter: str
    max_connections: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What was done.

    Attributes:
        created_secret: there was no secret before.
        info: what Telegram says afterwards.
    """

    created_secret: bool
    info: WebhookInfo


def register(telegram: TelegramClient, parameters: Parameters, plan: Plan) -> Registered:
    """Point Telegram at the stack and set the menu; a second time changes nothing.

    Raises:
        RegistrationError: Telegram afterwards says something else than it was told.
        TelegramApiError: Telegram refused or did not answer.
    """
    secret = parameters.read(plan.secret_parameter)
    created = not secret
    if created:
        secret = secrets.token_urlsafe(SECRET_BYTES)
        parameters.write(plan.secret_parameter, secret)
    return Registered(created, _set(telegram, plan, secret))


def rotate(
    telegram: TelegramClient, parameters: Parameters, plan: Plan, wait: Callable[[float], None] = time.sleep
) -> WebhookInfo:
    """Replace the secret without turning one update away.

    Running copies of the webhook believe each parameter for minutes, one longer than another. So the new secret first
    becomes the *second* one that passes; when every copy knows it, Telegram is told; then it becomes the first one
    too. Whatever mix of old and new values a copy holds, what Telegram sends passes. The old secret stops passing
    within `MAX_AGE_SECONDS`. Interrupted anywhere, `register` sets things right.

    Args:
        telegram: the bot.
        parameters: where the secrets are kept.
        plan: what is connected.
        wait: waits for so many seconds.

    Raises:
        RegistrationError: there is no secret to replace, or Telegram says something else than it was told.
        TelegramApiError: Telegram refused or did not answer.
    """
    if not parameters.read(plan.secret_parameter):
        raise RegistrationError(f"there is no secret in {plan.secret_parameter}; run `rekindle webhook set` first")
    new = secrets.token_urlsafe(SECRET_BYTES)
    parameters.write(plan.previous_parameter, new)
    wait(OVERLAP_SECONDS)
    info = _set(telegram, plan, new)
    parameters.write(plan.secret_parameter, new)
    return info


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
            return f" (they go to {info.url})"
        case WebhookFault.UPDATES_DIFFER:
            missing = [kind for kind in ALLOWED_UPDATES if info.allowed_updates and kind not in info.allowed_updates]
            return f" (missing: {', '.join(missing)})" if missing else " (it sends others too)"
        case WebhookFault.ERROR_RECENT:
            return f" (the last: {info.last_error_message})"
        case WebhookFault.PENDING_MANY:
            return f" ({info.pending_update_count} are waiting)"
        case _:
            return ""


def _set(telegram: TelegramClient, plan: Plan, secret: str) -> WebhookInfo:
    telegram.set_webhook(plan.url, secret, ALLOWED_UPDATES, plan.max_connections)
    telegram.set_my_commands(COMMANDS)
    info = telegram.webhook_info()
    told = (plan.url, set(ALLOWED_UPDATES), plan.max_connections)
    if (info.url, set(info.allowed_updates), info.max_connections) != told:
        raise RegistrationError(
            "Telegram does not report the webhook that was just set; another deployment may be setting it at the same "
            "time. Stop that one, then run `rekindle webhook set` again"
        )
    return info
