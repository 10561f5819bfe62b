"""Is Telegram posting the updates we need to the address we listen on? Read by the housekeeper and the operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member")
"""The kinds of update we read; Telegram sends no others, and no fewer."""

DEFAULT_MAX_CONNECTIONS = 40
"""Deliveries at a time where `setWebhook` names no number."""
DEFAULT_UPDATES = frozenset(
    {
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "guest_message",
        "inline_query",
        "chosen_inline_result",
        "callback_query",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "poll",
        "poll_answer",
        "my_chat_member",
        "chat_join_request",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
    }
)
"""The kinds that Telegram sends where nobody chose any."""

RECENT = timedelta(minutes=15)
"""An error older than this has been followed by deliveries, or by nobody writing."""

PENDING_MANY = 100
"""More updates than this in Telegram's queue mean that we do not keep up."""


class WebhookFault(StrEnum):
    """What can be wrong with a webhook; safe to log."""

    URL_MISSING = "url_missing"
    """No webhook is set: Telegram keeps updates for 24 hours and then drops them."""
    URL_DIFFERS = "url_differs"
    """Updates go somewhere else."""
    UPDATES_DIFFER = "updates_differ"
    """Somebody else called setWebhook: not the kinds of update that we ask for."""
    ERROR_RECENT = "error_recent"
    """A delivery failed lately; "401 Unauthorized" means that the secret token was cleared or changed."""
    PENDING_MANY = "pending_many"
    """Updates pile up."""
    NO_ANSWER = "no_answer"
    """Telegram could not be asked: it is down, the token is wrong or cannot be read."""


ADVICE = {
    WebhookFault.URL_MISSING: "no webhook is set; run `rekindle webhook set`",
    WebhookFault.URL_DIFFERS: "updates go to another address than this stack's; run `rekindle webhook set`",
    WebhookFault.UPDATES_DIFFER: "Telegram does not send the kinds of update we asked for; run `rekindle webhook set`",
    WebhookFault.ERROR_RECENT: "deliveries failed lately; a 401 means that the secret changed: `rekindle webhook set`",
    WebhookFault.PENDING_MANY: "updates pile up at Telegram; look at the webhook's throttles and errors",
    WebhookFault.NO_ANSWER: "Telegram could not be asked; look at the bot token's parameter",
}
"""What to do about each, in words for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookInfo:
    """What Telegram knows of the webhook (https://core.telegram.org/bots/api#webhookinfo).

    Attributes:
        url: where updates go; "" where none is set.
        pending_update_count: updates that wait to be delivered.
        last_error_at: newest failed delivery, aware UTC; None before the first.
        last_error_message: its reason in Telegram's words.
        max_connections: deliveries at a time; None where Telegram does not say.
        allowed_updates: kinds of update; empty stands for Telegram's default set; they outlive the webhook.
        ip_address: where Telegram found the webhook's host; "" where it does not say.
        has_custom_certificate: a certificate was uploaded with the webhook.
    """

    url: str
    pending_update_count: int
    last_error_at: datetime | None
    last_error_message: str
    max_connections: int | None
    allowed_updates: tuple[str, ...]
    ip_address: str = ""
    has_custom_certificate: bool = False


@dataclass(frozen=True, slots=True)
class BotCommand:
    """One line of the menu that Telegram shows for "/".

    Attributes:
        command: 1-32 lower-case letters, digits and underscores, without the slash.
        description: 1-256 characters.
    """

    command: str
    description: str


def faults(
    info: WebhookInfo, *, url: str, now: datetime, expected_updates: Sequence[str] = ALLOWED_UPDATES
) -> tuple[WebhookFault, ...]:
    """Return what is wrong, worst first; nothing for a healthy webhook.

    Args:
        info: Telegram's answer.
        url: where updates should go.
        now: what "lately" is measured from.
        expected_updates: the kinds of update that were asked for.
    """
    found = []
    if not info.url:
        found.append(WebhookFault.URL_MISSING)
    elif info.url != url:
        found.append(WebhookFault.URL_DIFFERS)
    if info.url and set(info.allowed_updates) != set(expected_updates):
        found.append(WebhookFault.UPDATES_DIFFER)
    if info.last_error_at is not None and now - info.last_error_at <= RECENT:
        found.append(WebhookFault.ERROR_RECENT)
    if info.pending_update_count > PENDING_MANY:
        found.append(WebhookFault.PENDING_MANY)
    return tuple(found)
