"""The milestones in force: definitions in the operator's catalogue."""

from datetime import datetime

from engagement.domain.milestones import Milestone
from engagement.store import keys
from engagement.store.catalogue import Catalogue


class Milestones:
    """A bot's milestones in the table; every method may raise StoreUnavailableError."""

    def __init__(self, bot_id: int) -> None:
        self._catalogue = Catalogue(bot_id)

    def all(self) -> tuple[Milestone, ...]:
        """Return those that this version can read, by name.

        A newer version may have written some that it cannot: they wait in the table for that version, and nobody's
        pattern waits for them.
        """
        found = []
        for definition in self._catalogue.all(keys.MILESTONE_PREFIX).values():
            try:
                found.append(Milestone.of(definition))
            except ValueError:
                continue
        return tuple(found)

    def put(self, milestone: Milestone, at: datetime) -> None:
        """Keep a milestone, over an older one of its name."""
        self._catalogue.put(keys.MILESTONE_PREFIX, milestone.milestone_name, milestone.definition(), at)

    def delete(self, milestone_name: str) -> None:
        """Take a milestone out of force; awards that were given stay."""
        self._catalogue.delete(keys.MILESTONE_PREFIX, milestone_name)
