"""Histories for the trainer: the interactions of users who allow training, one user at a time, from a paced Scan."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from typing import Any

from pynamodb.pagination import ResultIterator

from engagement.domain.interaction import Interaction
from engagement.errors import BadUpdateError
from engagement.store import keys
from engagement.store.interactions import interaction_of
from engagement.store.table import InteractionItem, Item, connection, translated

READ_UNITS_PER_SECOND = 1_000
"""Half of the table's ceiling: the flow reads beside the training."""
MOST_INTERACTIONS = 50_000
"""Of one user: 130 a day for a year. Who has more is no person, and would not fit beside a model in memory."""
UNREAD = frozenset({"text", "first_name"})
"""What a user said and is called does not leave the table for training."""


class Histories:
    """The interactions in the table, user by user."""

    def consenting(
        self, bot_id: int, now: datetime, *, segment: int = 0, of: int = 1, page: int | None = None
    ) -> Iterator[list[Interaction]]:
        """Yield each user's interactions, oldest first, if the user allows training and was not erased.

        A Scan keeps a partition together, so no more than one user is held at a time. What is to be kept no longer at
        `now` is left out, and so is an interaction that this version cannot read: the pattern never saw it either.

        Args:
            bot_id: the bot.
            now: aware.
            segment: which share of the users, [0, of); all shares together are everybody, each once.
            of: number of shares.
            page: items per request; by default as many as fit into a megabyte.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        rows = _scan(segment, of, page)
        for pk, items in groupby(rows, key=lambda row: row["pk"]["S"]):
            if not pk.startswith(keys.USER_PREFIX) or keys.user_of(pk)[0] != bot_id:
                continue
            history = _history(items, now)
            if history:
                yield history


def _scan(segment: int, of: int, page: int | None) -> Iterator[dict[str, Any]]:
    """Yield items as DynamoDB has them, no faster than `READ_UNITS_PER_SECOND`; consistently, for the revocations."""
    wanted = {*InteractionItem.get_attributes(), "consent_ml"} - UNREAD
    share = {"segment": segment, "total_segments": of} if of > 1 else {}
    options = {"consistent_read": True, "attributes_to_get": sorted(wanted), "limit": page, **share}
    with translated():
        yield from ResultIterator(connection().scan, (Item.Meta.table_name,), options, rate_limit=READ_UNITS_PER_SECOND)


def _history(items: Iterator[dict[str, Any]], now: datetime) -> list[Interaction]:
    """Return what may be learned from one user's items; nothing where they did not allow it.

    The profile comes last, so interactions wait unparsed: most users may not have allowed it.
    """
    found: list[dict[str, Any]] = []
    allowed = erased = False
    for item in items:
        sk = item["sk"]["S"]
        if sk == keys.TOMBSTONE:
            erased = True
        elif sk == keys.PROFILE:
            allowed = item.get("consent_ml", {}).get("BOOL") is True
        elif sk.startswith(keys.INTERACTION_PREFIX) and len(found) <= MOST_INTERACTIONS and not _expired(item, now):
            found.append(item)
    if erased or not allowed or len(found) > MOST_INTERACTIONS:
        return []
    history = []
    for item in found:
        with suppress(BadUpdateError):
            history.append(interaction_of(item))
    return sorted(history, key=lambda interaction: (interaction.occurred_at, interaction.update_id))


def _expired(item: dict[str, Any], now: datetime) -> bool:
    """Say whether an item is to be kept no longer; DynamoDB deletes it within about two days of that."""
    expires_on = item.get("expires_on")
    return expires_on is not None and int(expires_on["N"]) <= now.timestamp()
