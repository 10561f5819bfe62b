"""R101: until when everything about a user is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from engagement.domain.interaction import Control, Exposure
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.preferences import Dismissal, Preferences, TypeChoice
from engagement.domain.retention import Retention
from tests.builders import NOW, interaction, pattern_of, profile

DAY = timedelta(days=1)
RETENTION = Retention(after_seen=400 * DAY, after_blocked=60 * DAY)
CAME = NOW - 300 * DAY
TYPE = OutreachType.RE_ENGAGEMENT
CHOSE = Preferences(frozenset({TypeChoice(TYPE, NOW - 20 * DAY, off=True)}))
PUT_OFF = Preferences(frozenset({Dismissal(Exposure(TYPE, NOW - 30 * DAY), NOW - 25 * DAY)}))


@pytest.mark.parametrize(
    ("changes", "active_at", "kept_until"),
    [
        ({}, None, CAME + 400 * DAY),
        ({}, NOW - 10 * DAY, NOW + 390 * DAY),
        ({}, CAME - DAY, CAME + 400 * DAY),
        ({"answered_at": NOW - 5 * DAY}, NOW - 10 * DAY, NOW + 395 * DAY),
        ({"opted_out_at": NOW - 4 * DAY, "opted_out": True}, None, NOW + 396 * DAY),
        ({"preferences": CHOSE}, None, NOW + 380 * DAY),
        ({"preferences": PUT_OFF}, None, NOW + 375 * DAY),
        ({"status_at": NOW - DAY}, None, CAME + 400 * DAY),
        ({"blocked": True, "status_at": NOW - DAY}, NOW - 2 * DAY, NOW + 59 * DAY),
        ({"blocked": True, "status_at": NOW - DAY}, CAME - 80 * DAY, NOW + 59 * DAY),
        ({"blocked": True, "status_at": NOW - DAY, "created_at": NOW - 380 * DAY}, None, NOW + 20 * DAY),
        ({"blocked": True, "status_at": None}, None, CAME + 400 * DAY),
        ({"next_ok_at": NOW, "cap_day": "2026-11-22", "crisis_at": CAME}, None, CAME + 400 * DAY),
    ],
    ids=[
        "came-once",
        "was-active",
        "late-interaction",
        "answered",
        "stopped",
        "chose-a-type",
        "pressed-not-now",
        "unblocked",
        "blocked",
        "blocked-and-old",
        "blocked-when-nearly-over",
        "blocked-unknown-when",
        "written-to",
    ],
)
def test_what_is_kept_has_an_end(changes: dict[str, object], active_at: datetime | None, kept_until: datetime) -> None:
    """So many days after they were last here, fewer after a block; being written to is no visit."""
    pattern = pattern_of([active_at]) if active_at else EMPTY
    assert RETENTION.ends_at(profile(**{"created_at": CAME} | changes), pattern) == kept_until


def test_of_two_ends_the_earlier_holds() -> None:
    longer_after_block = Retention(after_seen=30 * DAY, after_blocked=60 * DAY)
    blocked = profile(created_at=CAME, blocked=True, status_at=NOW)
    assert longer_after_block.ends_at(blocked, pattern_of([NOW])) == NOW + 30 * DAY


def test_a_press_is_a_visit_by_what_it_leaves_in_the_profile() -> None:
    """R90: the pattern knows nothing of it."""
    pattern = fold(EMPTY, [interaction(1, NOW, control=Control.ANSWER)])
    assert RETENTION.ends_at(profile(created_at=CAME), pattern) == CAME + 400 * DAY
    assert RETENTION.ends_at(profile(created_at=CAME, answered_at=NOW), pattern) == NOW + 400 * DAY


def test_ends_are_aware() -> None:
    assert RETENTION.ends_at(profile(), pattern_of([NOW])).tzinfo is UTC
