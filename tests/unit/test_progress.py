"""How far somebody is, for the button under a celebration: the nearest milestones, as lines that fit an alert."""

from dataclasses import dataclass
from datetime import timedelta

from engagement.domain.milestones import DEFAULTS
from engagement.domain.pattern import Pattern
from engagement.domain.profile import Profile
from engagement.errors import BadPatternError
from engagement.services.progress import NEXT, MilestoneProgress
from tests.builders import NOW, pattern_of, profile

HOURS = [NOW - timedelta(hours=hour) for hour in range(8)]


@dataclass(frozen=True, slots=True)
class Table:
    """One user's pattern and profile."""

    pattern: Pattern | None

    def load(self, bot_id: int, user_id: int) -> "Table | None":
        return None if self.pattern is None else self

    def get(self, bot_id: int, user_id: int) -> Profile:
        return profile(zone="Europe/Berlin")


class Damaged:
    """A pattern that nobody can read."""

    def load(self, bot_id: int, user_id: int) -> None:
        raise BadPatternError("format 99")


def lines(pattern: Pattern | None, milestones: object = DEFAULTS) -> list[str]:
    table = Table(pattern)
    return MilestoneProgress(1, table, table, lambda: milestones).lines(7, NOW).splitlines()


def test_the_nearest_milestones_come_first_and_reached_ones_are_left_out() -> None:
    shown = lines(pattern_of(HOURS))

    assert len(shown) == NEXT
    assert shown[0] == "Chatty Newcomer ▰▰▰▰▰▰▰▰▱▱ 8 / 10"
    assert not any("First" in line for line in shown)


def test_somebody_without_a_history_is_at_the_beginning_of_all() -> None:
    for shown in (lines(None), lines(pattern_of([]))):
        assert len(shown) == NEXT
        assert all("▱▱▱▱▱▱▱▱▱▱ 0 /" in line for line in shown)


def test_a_pattern_that_cannot_be_read_is_no_reason_to_leave_a_button_unanswered() -> None:
    found = MilestoneProgress(1, Damaged(), Table(None), lambda: DEFAULTS).lines(7, NOW)

    assert len(found.splitlines()) == NEXT


def test_where_nothing_is_in_force_nothing_is_said() -> None:
    assert lines(pattern_of(HOURS), ()) == []


def test_the_lines_of_the_default_milestones_fit_an_alert() -> None:
    """Telegram shows 200 characters (answerCallbackQuery)."""
    for count in (1, 9, 40, 99, 400):
        history = [NOW - timedelta(hours=7 * hour) for hour in range(count)]
        assert len("\n".join(lines(pattern_of(history)))) <= 200
