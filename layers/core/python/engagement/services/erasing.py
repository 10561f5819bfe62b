"""Erasing a user: the tombstone first, then everything; and once more an hour later (R99).

Asked for by the user (/forget), by the operator (`rekindle users erase`), or by the calendar: what is kept has an end
(R101). The webhook writes the tombstone, from which on nothing is sent any more. The pattern updater, whose stream
tells it, sweeps within seconds; what it missed, and what a run that was under way wrote meanwhile, the housekeeper
sweeps. So no function of its own is needed: those two write what has to go.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from engagement.domain.interaction import Interaction
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.profile import Profile
from engagement.domain.retention import Retention
from engagement.errors import BadPatternError

MARGIN_SECONDS = 5.0
"""What the last user may take."""
LOOK_AGAIN = timedelta(days=30)


class TombstoneStore(Protocol):
    """Who was erased; see `store.tombstones`."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def begin(self, bot_id: int, user_id: int, at: datetime) -> None:
        """Write the tombstone, and end outreach."""
        ...

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        """Return when a user was erased."""
        ...

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        """Yield those to be swept."""
        ...

    def swept(self, bot_id: int, user_id: int, erased_at: datetime, now: datetime) -> bool:
        """Keep that a sweep is done; say whether it was the last."""
        ...


class Sweeper(Protocol):
    """Deletes items, with what counters keep of them; see `store.erasures`."""

    def sweep(self, bot_id: int, user_id: int, erased_at: datetime) -> int:
        """Delete everything up to a time; return how many items."""
        ...


class Eraser:
    """Erases users."""

    def __init__(self, tombstones: TombstoneStore, erasures: Sweeper) -> None:
        self._tombstones = tombstones
        self._erasures = erasures

    def erase(self, bot_id: int, user_id: int, at: datetime) -> int:
        """Erase everything that happened up to a time; whoever comes back later begins anew.

        Args:
            bot_id: the bot.
            user_id: the user.
            at: aware UTC; of a later erasure, that one holds.

        Returns:
            How many items are gone.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; the tombstone stands, and the next sweep goes on.
        """
        self._tombstones.begin(bot_id, user_id, at)
        erased_at = self._tombstones.erased_at(bot_id, user_id)
        return 0 if erased_at is None else self._sweep(bot_id, user_id, erased_at, at)

    def sweep_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        """Sweep whoever's time has come, as far as time allows; return how many items are gone.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        gone = 0
        for bot_id, user_id in _in_time(self._tombstones, now, remaining_seconds):
            erased_at = self._tombstones.erased_at(bot_id, user_id)
            if erased_at is not None:
                gone += self._sweep(bot_id, user_id, erased_at, now)
        return gone

    def _sweep(self, bot_id: int, user_id: int, erased_at: datetime, now: datetime) -> int:
        gone = self._erasures.sweep(bot_id, user_id, erased_at)
        self._tombstones.swept(bot_id, user_id, erased_at, now)
        return gone


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...


class ProfileStore(Protocol):
    """Where profiles are kept; see `store.profiles`."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def due(self, partition: int, now: datetime) -> Iterable[tuple[int, int]]:
        """Yield those of whom it is to be asked whether they are still to be kept."""
        ...

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...

    def look_again(self, bot_id: int, user_id: int, at: datetime) -> bool:
        """Have it asked again then."""
        ...


class PatternReader(Protocol):
    """Where patterns are read; see `store.patterns`."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read one consistently."""
        ...


class InteractionReader(Protocol):
    """Where interactions are read; see `store.interactions`."""

    def of_user(self, bot_id: int, user_id: int, now: datetime) -> Iterable[Interaction]:
        """Yield a user's that are still kept, buttons and commands of ours among them."""
        ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """Sees to it that what is kept has an end."""

    eraser: Eraser
    profiles: ProfileStore
    patterns: PatternReader
    interactions: InteractionReader
    retention: Retention

    def look(self, now: datetime, remaining_seconds: Callable[[], float]) -> int:
        """Erase whoever was last here too long ago, as far as time allows; return how many.

        Args:
            now: aware UTC.
            remaining_seconds: what is left of the function's time.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        ended = 0
        for bot_id, user_id in _in_time(self.profiles, now, remaining_seconds):
            profile = self.profiles.get(bot_id, user_id)
            if profile is None:
                continue
            pattern = self._pattern(bot_id, user_id)
            end = self.retention.ends_at(profile, pattern)
            if end <= now:
                # Read by the few only who would be erased.
                times = (done.occurred_at for done in self.interactions.of_user(bot_id, user_id, now))
                end = self.retention.ends_at(profile, pattern, max(times, default=None))
            if end <= now:
                self.eraser.erase(bot_id, user_id, now)
                ended += 1
            else:
                # Not later: the operator may have shortened it by then.
                self.profiles.look_again(bot_id, user_id, min(end, now + LOOK_AGAIN))
        return ended

    def _pattern(self, bot_id: int, user_id: int) -> Pattern:
        """Read the user's pattern; of one that is missing or cannot be read, nothing is known."""
        try:
            stored = self.patterns.load(bot_id, user_id)
        except BadPatternError:
            return EMPTY
        return EMPTY if stored is None else stored.pattern


class _Due(Protocol):
    @property
    def partitions(self) -> int: ...

    def due(self, partition: int, now: datetime) -> Iterable[tuple[int, int]]: ...


def _in_time(store: _Due, now: datetime, remaining_seconds: Callable[[], float]) -> Iterator[tuple[int, int]]:
    """Yield who is due in all partitions, until time is up; each row is read before the next is asked for."""
    for partition in range(store.partitions):
        for user in list(store.due(partition, now)):
            if remaining_seconds() < MARGIN_SECONDS:
                return
            yield user
