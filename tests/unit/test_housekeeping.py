"""The housekeeper's tick, with stand-ins for the ledger and for Telegram."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from engagement.domain.census import Census
from engagement.domain.outreach import OutreachState
from engagement.domain.tick import Tick
from engagement.domain.webhook import ALLOWED_UPDATES, WebhookFault, WebhookInfo
from engagement.errors import ModelUnavailableError, SecretUnavailableError, StoreUnavailableError, TelegramApiError
from engagement.services.housekeeping import Housekeeping, Watch

BOT = 123456
URL = "https://abc.execute-api.eu-central-1.amazonaws.com/telegram"


class Ledger:
    """Moves what it is told to."""

    def __init__(self, moved: dict[OutreachState, int], error: Exception | None = None) -> None:
        self.moved, self.error = Counter(moved), error
        self.swept_at: list[datetime] = []

    def sweep(self, now: datetime, remaining_seconds: Callable[[], float]) -> Counter[OutreachState]:
        self.swept_at.append(now)
        if self.error:
            raise self.error
        return self.moved


class Settling:
    """Settles what it is told to."""

    def __init__(self, **done: int) -> None:
        self.done = done

    def settle_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> dict[str, int]:
        return self.done


class Erasing:
    """Sweeps and ends as many as it is told to, and notes in which order it was asked."""

    def __init__(self, swept: int = 0, ended: int = 0, error: Exception | None = None) -> None:
        self.swept, self.ended, self.error = swept, ended, error
        self.asked: list[tuple[str, datetime]] = []

    def sweep_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        self.asked.append(("sweep", now))
        if self.error:
            raise self.error
        return self.swept

    def look(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        self.asked.append(("look", now))
        return self.ended


class Telegram:
    """Answers, or raises, as it is told to."""

    def __init__(self, info: WebhookInfo | None = None, error: Exception | None = None) -> None:
        self.info, self.error = info, error

    def webhook_info(self) -> WebhookInfo:
        if self.error:
            raise self.error
        assert self.info is not None
        return self.info


def webhook(pending: int = 0, url: str = URL, failed_at: datetime | None = None) -> WebhookInfo:
    return WebhookInfo(
        url=url,
        pending_update_count=pending,
        last_error_at=failed_at,
        last_error_message="Wrong response from the webhook: 503 Service Unavailable" if failed_at else "",
        max_connections=10,
        allowed_updates=ALLOWED_UPDATES,
    )


@dataclass
class Censuses:
    """Has counted two users each day, and notes which days were asked for."""

    asked: list[tuple[date, date]] = field(default_factory=list)

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Census:
        assert bot_id == BOT
        self.asked.append((first_day, last_day))
        return Census(users=2 * ((last_day - first_day).days + 1))


CARD: dict[str, Any] = {"version": "1-abc", "trained_at": None, "reference": {}}


def housekeeping(
    ledger: Ledger,
    connect: Callable[[], Telegram],
    censuses: Censuses | None = None,
    read_card: Callable[[], dict[str, Any]] = lambda: CARD,
    settling: Settling | None = None,
    erasing: Erasing | None = None,
) -> Housekeeping:
    watch = Watch(bot_id=BOT, censuses=censuses or Censuses(), read_card=read_card)
    erasing = erasing or Erasing()
    return Housekeeping(ledger, settling or Settling(), erasing, erasing, connect, URL, watch)


@pytest.fixture
def tick(now: datetime) -> Tick:
    return Tick(now, 0, 1)


def seconds_left() -> float:
    return 300.0


def test_what_the_sweep_moved_is_reported(tick: Tick) -> None:
    """R41, R45: expired, of unknown fate, and back in line."""
    ledger = Ledger({OutreachState.EXPIRED: 4, OutreachState.UNKNOWN: 2, OutreachState.SCHEDULED: 1})
    report = housekeeping(ledger, lambda: Telegram(webhook(pending=5))).tidy(tick, seconds_left)
    assert (report.expired, report.swept_unknown, report.released) == (4, 2, 1)
    assert (report.pending_updates, report.faults, report.last_error) == (5, (), "")
    assert ledger.swept_at == [tick.now]


def test_what_was_settled_is_reported_with_its_response_rate(tick: Tick) -> None:
    """Of those that were delivered; there is no rate where nobody was written to."""
    settling = Settling(settled=9, delivered=8, responded=2)
    report = housekeeping(Ledger({}), lambda: Telegram(webhook()), settling=settling).tidy(tick, seconds_left)
    assert (report.settled, report.response_rate) == (9, 0.25)
    assert report.metrics()["OutreachSettled"] == 9
    assert report.measures() == {"ResponseRate": 0.25}
    held_out = Settling(settled=2, delivered=0, responded=0)
    report = housekeeping(Ledger({}), lambda: Telegram(webhook()), settling=held_out).tidy(tick, seconds_left)
    assert (report.settled, report.response_rate) == (2, None)


def test_erased_users_are_swept_first_and_whoever_stayed_away_too_long_goes(tick: Tick) -> None:
    """R99, R101: before anything else that may take all the time there is, and both are reported."""
    erasing, ledger = Erasing(swept=12, ended=3), Ledger({})
    report = housekeeping(ledger, lambda: Telegram(webhook()), erasing=erasing).tidy(tick, seconds_left)
    assert erasing.asked == [("sweep", tick.now), ("look", tick.now)]
    assert (report.swept, report.ended) == (12, 3)
    assert report.metrics()["UsersExpired"] == 3

    broken = Erasing(error=StoreUnavailableError("DynamoDB: ThrottlingException"))
    with pytest.raises(StoreUnavailableError):
        housekeeping(ledger, lambda: Telegram(webhook()), erasing=broken).tidy(tick, seconds_left)
    assert ledger.swept_at == [tick.now], "nothing else was begun"


@pytest.mark.parametrize("error", [TelegramApiError("getWebhookInfo: no answer"), SecretUnavailableError("no token")])
def test_a_silent_telegram_does_not_stop_the_sweep(tick: Tick, error: Exception) -> None:
    """R88: the sweep is done, and the report says that nobody could be asked."""
    ledger = Ledger({OutreachState.EXPIRED: 4})
    report = housekeeping(ledger, lambda: Telegram(error=error)).tidy(tick, seconds_left)
    assert report.expired == 4
    assert report.faults == (WebhookFault.NO_ANSWER,)
    assert report.pending_updates is None


def test_a_token_that_cannot_be_read_does_not_stop_the_sweep(tick: Tick) -> None:
    """R88: the token is fetched within the check, not before the sweep."""

    def connect() -> Telegram:
        raise SecretUnavailableError("SSM parameter /rekindle/test/bot-token cannot be read")

    report = housekeeping(Ledger({OutreachState.UNKNOWN: 1}), connect).tidy(tick, seconds_left)
    assert (report.swept_unknown, report.faults) == (1, (WebhookFault.NO_ANSWER,))


def test_a_failing_webhook_is_reported_with_telegrams_words(tick: Tick) -> None:
    """R88: url changed and deliveries failing."""
    telegram = Telegram(webhook(url="https://elsewhere.example", failed_at=tick.now))
    report = housekeeping(Ledger({}), lambda: telegram).tidy(tick, seconds_left)
    assert report.faults == (WebhookFault.URL_DIFFERS, WebhookFault.ERROR_RECENT)
    assert "503" in report.last_error


def test_trouble_with_the_table_fails_the_tick(tick: Tick) -> None:
    """The next tick sweeps again; hiding the failure would hide the outage."""
    ledger = Ledger({}, StoreUnavailableError("DynamoDB: ThrottlingException"))
    with pytest.raises(StoreUnavailableError):
        housekeeping(ledger, lambda: Telegram(webhook())).tidy(tick, seconds_left)


def test_the_model_is_looked_at_once_a_day_whatever_the_minute(now: datetime) -> None:
    """R87: 24 ticks, in a zone half an hour off; the week is the last seven complete days."""
    censuses = Censuses()
    keeper = housekeeping(Ledger({}), lambda: Telegram(webhook()), censuses)
    start = now.replace(hour=0, minute=30)

    reports = [keeper.tidy(Tick(start + timedelta(hours=hour), 0, 1), seconds_left) for hour in range(24)]

    assert [report.health is not None for report in reports] == [True] + [False] * 23
    assert censuses.asked == [
        (date(2026, 11, 15), date(2026, 11, 21)),
        (date(2026, 11, 21), date(2026, 11, 21)),
        (date(2026, 10, 18), date(2026, 10, 24)),
    ]


def test_a_card_that_cannot_be_read_is_reported_and_nothing_else_suffers(now: datetime) -> None:
    """R87: a model that nobody watches must not look like one that is well."""

    def read_card() -> dict[str, Any]:
        raise ModelUnavailableError("models/churn/champion.json cannot be read: AccessDenied")

    keeper = housekeeping(Ledger({OutreachState.EXPIRED: 4}), lambda: Telegram(webhook()), read_card=read_card)
    report = keeper.tidy(Tick(now.replace(hour=0), 0, 1), seconds_left)

    assert (report.expired, report.health) == (4, None)
    assert "AccessDenied" in report.card_error
    (concern,) = report.concerns
    assert "cannot be watched" in concern
