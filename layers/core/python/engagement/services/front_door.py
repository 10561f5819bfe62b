"""The webhook's door: only who knows the secret comes in, with a body as bytes and a time of arrival."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from engagement.services.reception import Outcome, Receipt

SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 - a header's name
CLOCK_HEADER = "x-rekindle-now"
TRY_AGAIN: dict[str, Any] = {"statusCode": HTTPStatus.SERVICE_UNAVAILABLE, "headers": {"retry-after": "5"}, "body": ""}
"""Telegram keeps the update, honours Retry-After (seconds), and delivers it again."""


class Receiver(Protocol):
    """Whoever receives what came in; see `services.reception`."""

    def receive(self, body: bytes, arrived_at: datetime) -> Receipt:
        """Receive one update that arrived at this time."""
        ...


class FrontDoor:
    """Lets requests in by Telegram's secret header, the only proof that an update is Telegram's."""

    def __init__(
        self,
        receiver: Receiver,
        current_secret: Callable[[], str],
        previous_secret: Callable[[], str],
        *,
        virtual_clock: bool,
    ) -> None:
        """Keep what is needed.

        Args:
            receiver: receives what came in.
            current_secret: reads the secret that the webhook was set with; empty means that nobody comes in.
            previous_secret: reads the one that still passes while the secret is rotated; empty where there is none.
            virtual_clock: who knows the secret may say when an update arrived (local AWS only).
        """
        self._receiver = receiver
        self._current_secret = current_secret
        self._previous_secret = previous_secret
        self._virtual_clock = virtual_clock

    def enter(self, headers: Mapping[str, str], body: str | None, is_base64: bool, arrived_ms: int) -> Receipt:
        """Check a request and pass it on.

        Args:
            headers: by name, in any case.
            body: as API Gateway gives it.
            is_base64: the body is encoded.
            arrived_ms: arrival by API Gateway's clock, milliseconds since 1970.

        Raises:
            SecretUnavailableError: the secret cannot be read, so nobody can be let in now.
            StoreUnavailableError: DynamoDB is in trouble; the update must be delivered again.
        """
        lower_case = {name.lower(): value for name, value in headers.items()}
        arrived_at = datetime.fromtimestamp(arrived_ms / 1000, UTC)
        if not self._knows_secret(lower_case.get(SECRET_HEADER, "")):
            return Receipt(Outcome.FORGED)
        if self._virtual_clock and CLOCK_HEADER in lower_case:
            try:
                arrived_at = datetime.fromtimestamp(float(lower_case[CLOCK_HEADER]), UTC)
            except (OverflowError, ValueError):
                return Receipt(Outcome.IGNORED, reason="bad_clock")
        return self._receiver.receive(_bytes(body or "", is_base64), arrived_at)

    def _knows_secret(self, given: str) -> bool:
        if not given:
            return False
        return _same(given, self._current_secret()) or _same(given, self._previous_secret())


def answer(receipt: Receipt) -> dict[str, Any]:
    """Return the response, in API Gateway's payload format 2.0, to whoever was received.

    Whatever cannot be read now cannot be read later either: 200, so that Telegram moves on to the chat's next update.
    """
    if receipt.outcome is Outcome.FORGED:
        return {"statusCode": HTTPStatus.UNAUTHORIZED, "body": ""}
    if receipt.reply is None:
        return {"statusCode": HTTPStatus.OK, "body": ""}
    headers = {"content-type": "application/json"}
    return {"statusCode": HTTPStatus.OK, "headers": headers, "body": json.dumps(receipt.reply)}


def _same(given: str, secret: str) -> bool:
    """Compare in constant time; as bytes, since compare_digest refuses text that is not ASCII."""
    return bool(secret) and hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def _bytes(body: str, is_base64: bool) -> bytes:
    if is_base64:
        try:
            return base64.b64decode(body, validate=True)
        except ValueError:
            pass  # what is not base64 is not JSON either, and ends with the dead letters
    return body.encode(errors="replace")
