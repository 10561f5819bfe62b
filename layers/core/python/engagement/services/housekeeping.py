"""Every hour: settle the outreach that was left behind, and ask Telegram whether its updates still reach us."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engagement.domain.outreach import OutreachState
from engagement.domain.tick import Tick
from engagement.domain.webhook import WebhookFault, WebhookInfo, faults
from engagement.errors import SecretUnavailableError, TelegramApiError


class Sweeper(Protocol):
    """Settles outreach; see `services.outreach`."""

    def sweep(self, now: datetime, remaining_seconds: Callable[[], float]) -> Mapping[OutreachState, int]:
        """Return how many were moved to each state."""
        ...


class WebhookReader(Protocol):
    """Asks Telegram; see `clients.telegram`."""

    def webhook_info(self) -> WebhookInfo:
        """Raise TelegramApiError where there is no answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingReport:
    """What a tick came to.

    Attributes:
        expired: outreach that was not sent in time.
        swept_unknown: outreach whose sender died while sending: it may be out, and counts as sent.
        released: outreach whose sender died before sending: scheduled again.
        pending_updates: updates that wait at Telegram; None where it could not be asked.
        faults: what is wrong with the webhook, worst first.
        last_error: Telegram's words for a delivery that failed lately, or why it could not be asked; "" for neither.
    """

    expired: int
    swept_unknown: int
    released: int
    pending_updates: int | None
    faults: tuple[WebhookFault, ...]
    last_error: str


class Housekeeping:
    """The housekeeper's work."""

    def __init__(self, outreach: Sweeper, connect: Callable[[], WebhookReader], webhook_url: str) -> None:
        """Take what the work needs.

        Args:
            outreach: settles outreach.
            connect: takes the bot's token and returns who asks Telegram; called anew for each tick.
            webhook_url: where updates should go.
        """
        self._outreach = outreach
        self._connect = connect
        self._webhook_url = webhook_url

    def tidy(self, tick: Tick, remaining_seconds: Callable[[], float]) -> HousekeepingReport:
        """Settle outreach, then look at the webhook; a silent Telegram is part of the report.

        Args:
            tick: the time.
            remaining_seconds: what is left of the function's time.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        moved = self._outreach.sweep(tick.now, remaining_seconds)
        pending, found, last_error = self._look_at_webhook(tick.now)
        return HousekeepingReport(
            expired=moved.get(OutreachState.EXPIRED, 0),
            swept_unknown=moved.get(OutreachState.UNKNOWN, 0),
            released=moved.get(OutreachState.SCHEDULED, 0),
            pending_updates=pending,
            faults=found,
            last_error=last_error,
        )

    def _look_at_webhook(self, now: datetime) -> tuple[int | None, tuple[WebhookFault, ...], str]:
        try:
            info = self._connect().webhook_info()
        except (TelegramApiError, SecretUnavailableError) as error:
            return None, (WebhookFault.NO_ANSWER,), str(error)
        found = faults(info, url=self._webhook_url, now=now)
        last_error = info.last_error_message if WebhookFault.ERROR_RECENT in found else ""
        return info.pending_update_count, found, last_error
