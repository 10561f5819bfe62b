"""Stream: what new interactions of one user bring besides the new pattern; written with it, all or nothing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import batched, chain, groupby

from engagement.domain.interaction import Interaction, by_themselves
from engagement.domain.milestones import Award
from engagement.domain.outreach import Outreach
from engagement.domain.pattern import DAY, SLOT, Pattern, fold
from engagement.domain.profile import Awaiting

GOOD_QUALITY = 0.7
"""Above it an interaction asks for scoring now."""
ASKED_EVERY = timedelta(hours=6)
"""A user is scored at once this often and no more."""
LATE = timedelta(days=1)
"""An interaction this much older than the user's newest is no reason to write: it was replayed, or delayed."""

MOST_DAYS = 30
"""Of one write: it counts each in an item of its own, and a transaction holds 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What is written with a pattern.

    Attributes:
        awards: milestones that the user reached, celebrated or not.
        outreach: what is planned for the user, if anything.
        moves: of the counters; see `domain.statistics`.
        score_at: the user is to be scored then, rather than when they would be due; None leaves that as it is.
        known_awards: names of milestones that were awarded before a pattern was lost that knew of them.
    """

    awards: tuple[Award, ...] = ()
    outreach: Outreach | None = None
    moves: Mapping[tuple[date | None, str], int] = field(default_factory=dict)
    score_at: datetime | None = None
    known_awards: frozenset[str] = frozenset()

    @property
    def touch_other_items(self) -> bool:
        """Something besides the pattern's own item changes."""
        return bool(self.awards or self.outreach or self.moves)


def in_parts(fresh: Sequence[Interaction]) -> list[list[Interaction]]:
    """Part interactions so that one write counts `MOST_DAYS` days at most; one part, but for a replay of weeks.

    Args:
        fresh: ascending by time.

    Returns:
        Ascending too: folded in this order, nothing is taken for a redelivery that would not be in one fold of all.
    """
    by_day = groupby(fresh, key=lambda interaction: int(interaction.occurred_at.timestamp()) // DAY)
    days = [list(interactions) for _, interactions in by_day]
    return [list(chain.from_iterable(part)) for part in batched(days, MOST_DAYS, strict=False)]


def recent_from(pattern: Pattern, newest: Interaction) -> datetime:
    """Return since when an interaction is recent: a day before the user's newest.

    Args:
        pattern: the user's.
        newest: of those that arrived together, in the pattern or not.
    """
    return max(datetime.fromtimestamp(pattern.last_at, UTC), newest.occurred_at) - LATE


def without_recent(before: Pattern, fresh: Iterable[Interaction], since: datetime) -> Pattern:
    """Return the pattern without what is worth a message: what it reached may be awarded, never celebrated.

    Args:
        before: the pattern without the new interactions.
        fresh: the new interactions.
        since: aware; older ones are not worth a message.
    """
    late = [interaction for interaction in fresh if interaction.occurred_at < since]
    return fold(before, late) if late else before


def asks_for_scoring(fresh: Iterable[Interaction], asked: Collection[datetime | None], now: datetime) -> bool:
    """Say whether one of the new interactions is good enough to score the user now, and that was not just done.

    Args:
        fresh: the new interactions.
        asked: when the user was last scored, and last asked to be; None where never.
        now: aware.
    """
    if any(at is not None and at > now - ASKED_EVERY for at in asked):
        return False
    return any(i.quality > GOOD_QUALITY and by_themselves(i) and not i.edited for i in fresh)


def answers(
    awaiting: Iterable[Awaiting], before: Pattern, fresh: Sequence[Interaction]
) -> list[tuple[Awaiting, datetime]]:
    """Return which exposures the new interactions may be the first answer to, and when.

    An exposure that was answered before is mostly told from the pattern: a half-hour after it and before the new
    interaction saw the user. Where that cannot tell, the ledger keeps the earlier of two answers.

    Args:
        awaiting: exposures that are not settled yet.
        before: the pattern without the new interactions; with them again where they are delivered again.
        fresh: the new interactions.
    """
    found = []
    own = [interaction for interaction in fresh if by_themselves(interaction) and not interaction.edited]
    for exposure in awaiting:
        later = [i.occurred_at for i in own if i.occurred_at > exposure.exposed_at]
        if not later:
            continue
        first = min(later)
        exposed_in, answered_in = (int(at.timestamp()) // SLOT for at in (exposure.exposed_at, first))
        if not any(exposed_in < slot < answered_in for slot in before.slots):
            found.append((exposure, first))
    return found
