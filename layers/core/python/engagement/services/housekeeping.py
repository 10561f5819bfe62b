"""Every hour: settle outreach, what was left behind and what came of the rest, and see whether updates still reach us.

And once a day: judge the serving churn model by what happened.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from engagement.domain.census import Census
from engagement.domain.outreach import OutreachState
from engagement.domain.tick import Tick
from engagement.domain.watching import DAYS, Health, judge
from engagement.domain.webhook import ADVICE, WebhookFault, WebhookInfo, faults
from engagement.errors import ModelUnavailableError, SecretUnavailableError, TelegramApiError

EARLIER_DAYS = 28
"""How much older the week is that the bundled model's users are compared with."""


class Sweeper(Protocol):
    """Settles outreach; see `services.outreach`."""

    def sweep(self, now: datetime, remaining_seconds: Callable[[], float]) -> Mapping[OutreachState, int]:
        """Return how many were moved to each state."""
        ...


class Settler(Protocol):
    """Adds up what came of exposures; see `services.settling`."""

    def settle_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> Mapping[str, int]:
        """Return how many were "settled", and of them "delivered" and "responded"."""
        ...


class Sweeping(Protocol):
    """Sweeps erased users away; see `services.erasing`."""

    def sweep_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        """Return how many items are gone."""
        ...


class Keeper(Protocol):
    """Sees to it that what is kept has an end; see `services.erasing`."""

    def look(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        """Return how many users were erased."""
        ...


class WebhookReader(Protocol):
    """Asks Telegram; see `clients.telegram`."""

    def webhook_info(self) -> WebhookInfo:
        """Raise TelegramApiError where there is no answer."""
        ...


class CensusReader(Protocol):
    """Where the counts of each day's scoring are; see `store.censuses`."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Census:
        """Return the sum over these days."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What it takes to judge the serving model.

    Attributes:
        bot_id: whose users it scores.
        censuses: what the scorer counted.
        read_card: returns the serving model's card, or raises ModelUnavailableError; called anew each day.
    """

    bot_id: int
    censuses: CensusReader
    read_card: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingReport:
    """What a tick came to.

    Attributes:
        expired: outreach that was not sent in time.
        swept_unknown: outreach whose sender died while sending: it may be out, and counts as sent.
        released: outreach whose sender died before sending: scheduled again.
        swept: items of erased users that are gone.
        ended: users erased because they were last here too long ago.
        settled: exposures whose outcomes were added up.
        response_rate: share of the delivered among them that were answered within a day; None where none was.
        pending_updates: updates that wait at Telegram; None where it could not be asked.
        faults: what is wrong with the webhook, worst first.
        last_error: Telegram's words for a delivery that failed lately, or why it could not be asked; "" for neither.
        health: of the serving churn model; None at every tick but the first of a UTC day, and where the card cannot be
            read.
        card_error: why it cannot be read; "" where it can, or was not asked for.
    """

    expired: int
    swept_unknown: int
    released: int
    swept: int
    ended: int
    settled: int
    response_rate: float | None
    pending_updates: int | None
    faults: tuple[WebhookFault, ...]
    last_error: str
    health: Health | None
    card_error: str

    @property
    def concerns(self) -> tuple[str, ...]:
        """What is wrong and what to do about it, in words."""
        return (
            *(ADVICE[fault] for fault in self.faults),
            *(self.health.concerns() if self.health else ()),
            *([f"the churn model cannot be watched: {self.card_error}"] if self.card_error else ()),
        )

    def metrics(self) -> dict[str, int]:
        """Return what is counted, by the metric's name."""
        return {
            "OutreachExpired": self.expired,
            "OutreachSweptUnknown": self.swept_unknown,
            "OutreachSettled": self.settled,
            "UsersExpired": self.ended,
            "WebhookUnhealthy": int(bool(self.faults)),
            "PendingUpdates": self.pending_updates or 0,
        }

    def measures(self) -> dict[str, float | None]:
        """Return what is measured, by the metric's name; None where there is nothing to measure."""
        return {"ResponseRate": self.response_rate, **(self.health.metrics() if self.health else {})}

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it: nothing in it names a user."""
        return asdict(self) | {"faults": [fault.value for fault in self.faults]}


class Housekeeping:
    """The housekeeper's work."""

    def __init__(
        self,
        outreach: Sweeper,
        settling: Settler,
        eraser: Sweeping,
        keeping: Keeper,
        connect: Callable[[], WebhookReader],
        webhook_url: str,
        watch: Watch,
    ) -> None:
        """Take what the work needs.

        Args:
            outreach: settles outreach that was left behind.
            settling: adds up what came of the rest.
            eraser: sweeps once more what erased users had left.
            keeping: erases whoever was last here too long ago.
            connect: takes the bot's token and returns who asks Telegram; called anew for each tick.
            webhook_url: where updates should go.
            watch: what it takes to judge the serving model.
        """
        self._outreach = outreach
        self._settling = settling
        self._eraser = eraser
        self._keeping = keeping
        self._connect = connect
        self._webhook_url = webhook_url
        self._watch = watch

    def tidy(self, tick: Tick, remaining_seconds: Callable[[], float]) -> HousekeepingReport:
        """Sweep, look at the webhook and, once a day, at the model, then settle; a silent Telegram is reported.

        Args:
            tick: the time.
            remaining_seconds: what is left of the function's time.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        # First: somebody's word waits for it.
        swept = self._eraser.sweep_due(tick.now, remaining_seconds)
        ended = self._keeping.look(tick.now, remaining_seconds)
        moved = self._outreach.sweep(tick.now, remaining_seconds)
        pending, found, last_error = self._look_at_webhook(tick.now)
        health, card_error = self._look_at_model(tick.now)
        # Last: it may take all the time there is.
        came = self._settling.settle_due(tick.now, remaining_seconds)
        return HousekeepingReport(
            expired=moved.get(OutreachState.EXPIRED, 0),
            swept_unknown=moved.get(OutreachState.UNKNOWN, 0),
            released=moved.get(OutreachState.SCHEDULED, 0),
            swept=swept,
            ended=ended,
            settled=came.get("settled", 0),
            response_rate=came.get("responded", 0) / came["delivered"] if came.get("delivered") else None,
            pending_updates=pending,
            faults=found,
            last_error=last_error,
            health=health,
            card_error=card_error,
        )

    def _look_at_webhook(self, now: datetime) -> tuple[int | None, tuple[WebhookFault, ...], str]:
        try:
            info = self._connect().webhook_info()
        except (TelegramApiError, SecretUnavailableError) as error:
            return None, (WebhookFault.NO_ANSWER,), str(error)
        found = faults(info, url=self._webhook_url, now=now)
        last_error = info.last_error_message if WebhookFault.ERROR_RECENT in found else ""
        return info.pending_update_count, found, last_error

    def _look_at_model(self, now: datetime) -> tuple[Health | None, str]:
        # Ticks come every hour, in any zone's: the first of a UTC day is in its first hour.
        if now.hour:
            return None, ""
        try:
            card = self._watch.read_card()
        except ModelUnavailableError as error:
            return None, str(error)
        yesterday = now.date() - timedelta(days=1)
        health = judge(
            week=self._census(yesterday, DAYS),
            yesterday=self._census(yesterday, 1),
            earlier=self._census(yesterday - timedelta(days=EARLIER_DAYS), DAYS),
            card=card,
            now=now,
        )
        return health, ""

    def _census(self, last_day: date, days: int) -> Census:
        return self._watch.censuses.of_days(self._watch.bot_id, last_day - timedelta(days=days - 1), last_day)
