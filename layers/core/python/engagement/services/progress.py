"""Chat: how far a user's next milestones are, for the button under a celebration."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from engagement.domain.milestones import Milestone, clock_of, progress
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.profile import Profile
from engagement.errors import BadPatternError

NEXT = 3
"""Milestones shown, the nearest first; more do not fit an alert."""


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...


class PatternReader(Protocol):
    """Where patterns are read; see `store.patterns`."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read one; raises BadPatternError for one of another version."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one."""
        ...


class MilestoneProgress:
    """Says how far somebody is."""

    def __init__(
        self,
        bot_id: int,
        patterns: PatternReader,
        profiles: ProfileReader,
        in_force: Callable[[], Iterable[Milestone]],
    ) -> None:
        self._bot_id = bot_id
        self._patterns = patterns
        self._profiles = profiles
        self._in_force = in_force

    def lines(self, user_id: int, now: datetime) -> str:
        """Return a line for each of the milestones that are nearest, the nearest first; "" where none is left.

        Args:
            user_id: Telegram's id of the user.
            now: aware.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        pattern, profile = self._pattern(user_id), self._profiles.get(self._bot_id, user_id)
        clock = clock_of(profile, pattern)
        ways = ((progress(milestone, pattern, clock, now), milestone) for milestone in self._in_force())
        left = sorted(
            ((way, milestone) for way, milestone in ways if way.share < 1),
            key=lambda found: (-found[0].share, found[1].difficulty_level, found[1].milestone_name),
        )
        return "\n".join(f"{milestone.display_name} {way.bar()}" for way, milestone in left[:NEXT])

    def _pattern(self, user_id: int) -> Pattern:
        """Read the user's pattern; of one that is missing or cannot be read, nothing is known."""
        try:
            stored = self._patterns.load(self._bot_id, user_id)
        except BadPatternError:
            return EMPTY
        return EMPTY if stored is None else stored.pattern
