"""Scoring and prediction: what the bot's users are like, by the latest complete census."""

from datetime import date, datetime, timedelta
from typing import Protocol

from engagement.domain.census import Census, population
from engagement.domain.population import BUNDLED, Population


class CensusStore(Protocol):
    """Where the counts of each day's passes are added up; see `store.censuses`."""

    def add(self, bot_id: int, day: date, share: int, census: Census) -> None:
        """Add to what the day's earlier passes over this share counted."""
        ...

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Census:
        """Return the sum over all shares of these days."""
        ...


def population_at(censuses: CensusStore, bot_id: int, now: datetime) -> Population:
    """Return what the bot's users are like, by the census of the day before, or of the one before that.

    Args:
        censuses: where the counts are.
        bot_id: whose users.
        now: aware UTC; today's census is not over yet.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    for days_ago in (1, 2):
        day = now.date() - timedelta(days=days_ago)
        census = censuses.of_days(bot_id, day, day)
        if census.users:
            return population(census)
    return BUNDLED
