"""What became of one attempt to send a message: the client's answer to the sender."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryOutcome(StrEnum):
    """The one thing the sender has to know: was it sent, was it certainly not, or can nobody tell?"""

    SENT = "sent"
    BLOCKED = "blocked"
    """403: not sent; the user blocked the bot, or it may not write to them."""
    UNREACHABLE = "unreachable"
    """Not sent; the chat does not exist, the account is gone, or the user never started the bot."""
    MIGRATED = "migrated"
    """Not sent; the chat has a new id."""
    BAD_MARKUP = "bad_markup"
    """Not sent; Telegram could not parse the text's entities."""
    REJECTED = "rejected"
    """Not sent; Telegram found some other fault with the request, and will find it again."""
    RETRY_LATER = "retry_later"
    """429: not sent; wait `retry_after` seconds before the next call of any kind."""
    BAD_TOKEN = "bad_token"  # noqa: S105 - a name, not a secret
    """401 or 404: not sent; no call with this token will be."""
    NOT_SENT = "not_sent"
    """No connection came about, so nothing was sent; safe to try again."""
    UNKNOWN = "unknown"
    """The request may have been accepted; Telegram has no idempotency key, so it is never sent again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one attempt.

    Attributes:
        outcome: what became of it.
        message_id: Telegram's id of the message; set when it was sent.
        retry_after: seconds to wait, >= 1; set with RETRY_LATER.
        new_chat_id: the chat's new id; set with MIGRATED.
        detail: a short code from a closed set, safe to log; "" when it was sent.
    """

    outcome: DeliveryOutcome
    message_id: int | None = None
    retry_after: int | None = None
    new_chat_id: int | None = None
    detail: str = ""
