"""What may become of a sendMessage: each way in which the real server answers, or does not.

telegram.script(outcomes.too_many_requests(7))            the next call
telegram.script(outcomes.BLOCKED, chat_id=42, times=None) every call for one chat
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Manner(StrEnum):
    """How the answer travels."""

    REPLY = "reply"
    HANG = "hang"
    """Silence until the client gives up."""
    CLOSE = "close"
    """The connection ends in good order, without an answer."""
    RESET = "reset"
    DRIP = "drip"
    """An answer that comes byte by byte and does not end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scripted outcome.

    Attributes:
        accepted: the message reaches the user, whatever the bot is told.
        manner: how the answer travels.
        status: HTTP status of the answer; 200 answers as Telegram does.
        description: Telegram's words, after the status' own.
        parameters: Telegram's ResponseParameters.
        body: the answer's bytes where it is not Telegram's JSON.
    """

    accepted: bool
    manner: Manner = Manner.REPLY
    status: int = 200
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None


OK = Outcome(accepted=True)
ACCEPT_THEN_HANG = Outcome(accepted=True, manner=Manner.HANG)
ACCEPT_THEN_RESET = Outcome(accepted=True, manner=Manner.RESET)
ACCEPT_THEN_CLOSE = Outcome(accepted=True, manner=Manner.CLOSE)
HANG = Outcome(accepted=False, manner=Manner.HANG)
RESET = Outcome(accepted=False, manner=Manner.RESET)
CLOSE = Outcome(accepted=False, manner=Manner.CLOSE)
DRIP = Outcome(accepted=True, manner=Manner.DRIP)
BLOCKED = Outcome(accepted=False, status=403, description="bot was blocked by the user")
DEACTIVATED = Outcome(accepted=False, status=403, description="user is deactivated")
CANNOT_INITIATE = Outcome(accepted=False, status=403, description="bot can't initiate conversation with a user")
CHAT_NOT_FOUND = Outcome(accepted=False, status=400, description="chat not found")
CANNOT_PARSE = Outcome(
    accepted=False,
    status=400,
    description="can't parse entities: Can't find end tag corresponding to start tag \"b\"",
)
UNAUTHORIZED = Outcome(accepted=False, status=401)
GARBAGE = Outcome(accepted=True, body=b"<html>It works!</html>")
GATEWAY_PAGE = Outcome(accepted=False, status=502, body=b"<html><h1>502 Bad Gateway</h1></html>")
DELETED_AT_ONCE = Outcome(accepted=True, status=500, description="sent message was immediately deleted")


def too_many_requests(retry_after: int) -> Outcome:
    """Return a 429 that asks for `retry_after` seconds of silence."""
    return Outcome(
        accepted=False,
        status=429,
        description=f"retry after {retry_after}",
        parameters={"retry_after": retry_after},
    )


def migrated(new_chat_id: int) -> Outcome:
    """Return the refusal for a group that became a supergroup."""
    return Outcome(
        accepted=False,
        status=400,
        description="group chat was upgraded to a supergroup chat",
        parameters={"migrate_to_chat_id": new_chat_id},
    )


def bad_request(description: str) -> Outcome:
    """Return any other 400."""
    return Outcome(accepted=False, status=400, description=description)


def server_error(status: int = 500, *, accepted: bool = False) -> Outcome:
    """Return a 5xx; whether the message went out first is for the caller to choose, as it is for Telegram."""
    return Outcome(accepted=accepted, status=status)
