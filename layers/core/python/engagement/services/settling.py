"""Settling: what came of each exposure is added up once a week and a day have passed, and booked for the experiment."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from engagement.domain.lift import increments
from engagement.domain.outcomes import Outcomes, outcomes_of
from engagement.domain.outreach import Outreach, OutreachKey, OutreachState
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.profile import Profile
from engagement.errors import BadPatternError
from engagement.services.transport import PatternStore

LIMIT = 1_000
"""Rows of each partition of the index settled in one run; the next run takes the others."""
MARGIN_SECONDS = 5.0
"""What the last one may take."""


class Exposures(Protocol):
    """The exposures in the send ledger; see `store.outreaches`."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def due_to_settle(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return whose outcomes are to be added up, longest due first."""
        ...

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        ...

    def settle(
        self, outreach: Outreach, outcomes: Outcomes, increments: Mapping[str, Mapping[str, int]], now: datetime
    ) -> bool:
        """Keep the outcomes and book them, together and once."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...


class Settling:
    """Adds outcomes up."""

    def __init__(self, exposures: Exposures, profiles: ProfileReader, patterns: PatternStore) -> None:
        self._exposures = exposures
        self._profiles = profiles
        self._patterns = patterns

    def settle_due(self, now: datetime, remaining_seconds: Callable[[], float]) -> Counter[str]:
        """Settle what is due, as far as time allows.

        Args:
            now: aware UTC.
            remaining_seconds: what is left of the function's time.

        Returns:
            Numbers of those "settled", of those "delivered" among them, and of those "responded" among these.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; what is settled stays settled.
        """
        done: Counter[str] = Counter()
        for partition in range(self._exposures.partitions):
            for key in self._exposures.due_to_settle(partition, now, LIMIT):
                if remaining_seconds() < MARGIN_SECONDS:
                    return done
                self._settle(key, now, done)
        return done

    def _settle(self, key: OutreachKey, now: datetime, done: Counter[str]) -> None:
        outreach = self._exposures.get(key)
        # The index lags: it may be gone or settled by now.
        if outreach is None or outreach.exposed_at is None or outreach.settled_at is not None:
            return
        profile = self._profiles.get(key.bot_id, key.user_id)
        outcomes = outcomes_of(outreach, self._pattern(key), profile)
        if self._exposures.settle(outreach, outcomes, increments(outreach, outcomes), now):
            done["settled"] += 1
            done["delivered"] += outreach.state in {OutreachState.SENT, OutreachState.RESPONDED}
            done["responded"] += outcomes.responded

    def _pattern(self, key: OutreachKey) -> Pattern:
        """Read the user's pattern, which only the mood is taken from; of one that cannot be read, nothing is known."""
        try:
            stored = self._patterns.load(key.bot_id, key.user_id)
        except BadPatternError:
            return EMPTY
        return EMPTY if stored is None else stored.pattern
