"""Whether a webhook is as it should be."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engagement.domain.webhook import ADVICE, ALLOWED_UPDATES, PENDING_MANY, RECENT, WebhookFault, WebhookInfo, faults

URL = "https://abc.execute-api.eu-central-1.amazonaws.com/telegram"
HEALTHY = WebhookInfo(
    url=URL,
    pending_update_count=3,
    last_error_at=None,
    last_error_message="",
    max_connections=10,
    allowed_updates=ALLOWED_UPDATES,
)


def test_a_webhook_as_it_was_set_is_healthy(now: datetime) -> None:
    """R88: no fault, whatever the order of the kinds of update."""
    assert faults(HEALTHY, url=URL, now=now) == ()
    assert faults(replace(HEALTHY, allowed_updates=ALLOWED_UPDATES[::-1]), url=URL, now=now) == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"url": "https://elsewhere.example"}, WebhookFault.URL_DIFFERS),
        ({"allowed_updates": ("message",)}, WebhookFault.UPDATES_DIFFER),
        ({"allowed_updates": (*ALLOWED_UPDATES, "poll")}, WebhookFault.UPDATES_DIFFER),
        ({"allowed_updates": ()}, WebhookFault.UPDATES_DIFFER),
        ({"pending_update_count": PENDING_MANY + 1}, WebhookFault.PENDING_MANY),
    ],
)
def test_each_thing_that_may_be_wrong_is_named(now: datetime, change: dict[str, object], fault: WebhookFault) -> None:
    """R88: url or allowed_updates changed by somebody, updates piling up."""
    assert faults(replace(HEALTHY, **change), url=URL, now=now) == (fault,)  # any one field


def test_a_webhook_that_is_not_set_has_one_fault(now: datetime) -> None:
    """R88: what it would send does not matter then."""
    missing = replace(HEALTHY, url="", allowed_updates=(), max_connections=None)
    assert faults(missing, url=URL, now=now) == (WebhookFault.URL_MISSING,)


def test_an_error_is_forgotten_after_a_while(now: datetime) -> None:
    """R88: Telegram keeps the last error for ever; only a recent one says something about today."""
    recent, old = now - RECENT, now - RECENT - timedelta(seconds=1)
    assert faults(replace(HEALTHY, last_error_at=recent), url=URL, now=now) == (WebhookFault.ERROR_RECENT,)
    assert faults(replace(HEALTHY, last_error_at=old), url=URL, now=now) == ()


def test_every_fault_comes_with_advice() -> None:
    assert set(ADVICE) == set(WebhookFault)
