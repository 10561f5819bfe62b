"""Where updates go and how: setWebhook's rules, the queues, and the schedule of re-deliveries.

Follows the source of the public server (tdlib/telegram-bot-api, Client.cpp and WebhookActor.cpp).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from engagement.domain.webhook import DEFAULT_MAX_CONNECTIONS, DEFAULT_UPDATES

MOST_CONNECTIONS = 100
MAX_RETRY_AFTER = 3_600
RESEND_SECONDS = 60
"""The wait doubles up to a random value between this and its double."""
DAY = 86_400
CALLBACK_SECONDS = 150
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
KINDS = DEFAULT_UPDATES | NOT_BY_DEFAULT

_SECRET = re.compile(r"[A-Za-z0-9_-]*")


class BadWebhookError(ValueError):
    """setWebhook refuses; the message is Telegram's."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """What setWebhook left behind.

    Attributes:
        url: "" where none is set.
        secret_token: "" where none is set.
        allowed_updates: names in the order given; None stands for the default set.
        max_connections: 1-100.
    """

    url: str = ""
    secret_token: str = ""
    allowed_updates: tuple[str, ...] | None = None
    max_connections: int = DEFAULT_MAX_CONNECTIONS

    def allows(self, kind: str) -> bool:
        """Say whether updates of this kind are delivered."""
        return kind in (DEFAULT_UPDATES if self.allowed_updates is None else self.allowed_updates)


def after_set_webhook(before: Webhook, params: dict[str, Any]) -> Webhook:
    """Return what a call of setWebhook leaves behind.

    What the call leaves out is not kept: the secret is cleared and the connections go back to 40. Only the list of
    updates stays. A list of nothing but unknown names becomes the default set. A call without an address removes the
    webhook and changes nothing of the list, whatever it says.

    Raises:
        BadWebhookError: a value that the server refuses.
    """
    secret = str(params.get("secret_token") or "")
    if len(secret) > 256:
        raise BadWebhookError("secret token is too long")
    if not _SECRET.fullmatch(secret):
        raise BadWebhookError("secret token contains unallowed characters")
    url = str(params.get("url") or "")
    if url and not is_loopback(url):
        raise BadWebhookError("bad webhook: this server delivers to its own machine only")
    allowed = before.allowed_updates
    if not url:
        return Webhook(allowed_updates=allowed)
    if "allowed_updates" in params:
        listed = params["allowed_updates"]
        if isinstance(listed, str):
            listed = json.loads(listed) if listed else []
        if not isinstance(listed, list):
            raise BadWebhookError("can't parse allowed updates: Expected an Array of strings")
        allowed = tuple(name for name in listed if name in KINDS) or None
    connections = int(params.get("max_connections") or DEFAULT_MAX_CONNECTIONS)
    return Webhook(url, secret, allowed, min(max(connections, 1), MOST_CONNECTIONS))


def is_loopback(url: str) -> bool:
    """Say whether `url` is an http address on this machine; names below .localhost are (RFC 6761)."""
    parsed = urlparse(url)
    host = parsed.hostname or ""
    return parsed.scheme == "http" and (host in LOOPBACK or host.endswith(".localhost"))


def kind_of(update: dict[str, Any]) -> str:
    """Return the one kind an update holds; "" for none."""
    return next((key for key in update if key != "update_id"), "")


def queue_of(update: dict[str, Any]) -> int | None:
    """Return the queue an update waits in; None gives it one of its own.

    A queue's head blocks what is behind it. A user's messages, button presses and blocks wait in different ones, so
    they arrive at once and in any order.
    """
    kind = kind_of(update)
    content = update.get(kind, {})
    match kind:
        case "callback_query":
            return int(content["from"]["id"]) + (3 << 33)
        case "my_chat_member":
            return int(content["chat"]["id"]) + (5 << 33)
        case "message_reaction":
            return int(content["chat"]["id"]) + (8 << 33)
        case "inline_query":
            return int(content["from"]["id"]) + (1 << 33)
        case _ if "chat" in content:
            return int(content["chat"]["id"])
    return None


def expires_at(update: dict[str, Any], now: int) -> int:
    """Return the epoch second after which an update is dropped."""
    kind = kind_of(update)
    content = update.get(kind, {})
    match kind:
        case "callback_query" | "shipping_query" | "pre_checkout_query":
            return now + CALLBACK_SECONDS
        case "inline_query":
            return now + 30
        case "chosen_inline_result":
            return now + 600
    return int(content.get("edit_date") or content.get("date") or now) + DAY


def next_delay(failures: int, delay: int, retry_after: int, between: Callable[[int, int], int]) -> tuple[int, int]:
    """Return (seconds to wait, the delay to remember) after a delivery failed.

    The first failure is sent again at once, then after 2, 4, 8 ... seconds; a Retry-After replaces the wait and does
    not move the schedule.

    Args:
        failures: how often it failed before.
        delay: the delay remembered so far; 1 at first.
        retry_after: from the answer's header; 0 where absent.
        between: draws a whole number from a closed range.
    """
    retry_after = min(max(retry_after, 0), MAX_RETRY_AFTER)
    if retry_after == 0 and failures > 0:
        delay = min(between(RESEND_SECONDS, 2 * RESEND_SECONDS), delay * 2)
        return delay, delay
    return retry_after, delay
