"""The reception's own decisions, with stores that only say what they were asked; the rest is in the webhook's tests."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from engagement.domain import callbacks
from engagement.domain.flood import FloodLimit
from engagement.domain.interaction import Interaction
from engagement.domain.outreach import OutreachType
from engagement.domain.profile import ConsentPolicy
from engagement.domain.replies import TEXTS, Replies
from engagement.services.reception import CELEBRATIONS, Reception, zone_named
from tests.builders import NOW

Sample = Callable[[str], dict[str, Any]]
REPLIES = Replies(ConsentPolicy.ASK, stores_text=False, keep_days=365)


class EmptyTable:
    """Stores everything as new and knows nobody; anything else that a store can do is not expected of these tests."""

    def add(self, interaction: Interaction) -> bool:
        return True

    def get(self, *_: int) -> None:
        return None


def pressed(
    sample: Sample, outreach_type: OutreachType, progress: Callable[[int, datetime], str] | None
) -> dict[str, Any]:
    """Press the useful button under an outreach; return the answer."""
    table: Any = EmptyTable()
    update = json.loads(sample("webhook/callback_go_progress")["body"])
    update["callback_query"]["data"] = callbacks.GO[outreach_type]
    reception = Reception(1, table, table, table, REPLIES, FloodLimit(60), progress)
    reply = reception.receive(json.dumps(update).encode(), NOW).reply
    assert reply is not None
    return reply


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_progress_is_shown_under_celebrations_alone(sample: Sample, outreach_type: OutreachType) -> None:
    """R57: the useful button does what it says, and asks nobody where it says something else."""
    asked: list[int] = []

    def progress(user_id: int, at: datetime) -> str:
        asked.append(user_id)
        return "Chatty newcomer ▓▓▓░░ 6/10"

    reply = pressed(sample, outreach_type, progress)

    celebrates = outreach_type in CELEBRATIONS
    assert asked == ([7_000_000_001] if celebrates else [])
    assert reply["text"] == ("Chatty newcomer ▓▓▓░░ 6/10" if celebrates else TEXTS[f"go_{outreach_type}"]["en"])
    assert reply.get("show_alert", False) is celebrates


@pytest.mark.parametrize("outreach_type", sorted(CELEBRATIONS))
def test_without_progress_a_celebration_has_an_answer_too(sample: Sample, outreach_type: OutreachType) -> None:
    for progress in (None, lambda *_: ""):
        assert pressed(sample, outreach_type, progress)["text"] == TEXTS[f"go_{outreach_type}"]["en"]


@pytest.mark.parametrize(
    ("typed", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("america/new_york", "America/New_York"),
        ("AMERICA/ARGENTINA/BUENOS_AIRES", "America/Argentina/Buenos_Aires"),
        ("America/Port_of_Spain", "America/Port_of_Spain"),
        ("utc", "UTC"),
        ("etc/utc", None),
        ("Berlin", None),
        ("../../Etc/UTC", None),
        ("", None),
        ("Europe/Berlin" + "x" * 4_000, None),
    ],
)
def test_a_zone_is_understood_without_its_capitals_and_nothing_else_is(typed: str, zone: str | None) -> None:
    """R40: what no list holds is no zone, whatever path it may look like."""
    assert zone_named(typed) == zone
