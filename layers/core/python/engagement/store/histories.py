"""Histories for the trainer: what users who allow training did, one user at a time, from a paced Scan.

Their settled decisions about messages come with the same Scan: it reads every item of a user anyway, and is paid by
what it reads, so a second one would double the cost and the time.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from typing import Any

from pynamodb.pagination import ResultIterator

from engagement.domain import uplift
from engagement.domain.experiment import ALL
from engagement.domain.history import History
from engagement.domain.interaction import Interaction
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Arm
from engagement.domain.uplift import LoggedDecision
from engagement.errors import BadUpdateError
from engagement.store import keys
from engagement.store.interactions import interaction_of
from engagement.store.table import InteractionItem, Item, OutreachItem, connection, translated

READ_UNITS_PER_SECOND = 1_000
"""Half of the table's ceiling: the flow reads beside the training."""
MOST_INTERACTIONS = 50_000
"""Of one user: 130 a day for a year. Who has more is no person, and would not fit beside a model in memory."""
OF_USERS = frozenset({"consent_ml", "created_at", "erased_at"})
"""What is read of profile and tombstone."""
UNREAD = frozenset({"text", "first_name", "values_json"})
"""What a user said and is called does not leave the table for training."""


class Histories:
    """The interactions and decisions in the table, user by user."""

    def consenting(
        self, bot_id: int, now: datetime, *, segment: int = 0, of: int = 1, page: int | None = None
    ) -> Iterator[History]:
        """Yield each user's history, if the user allows training and was not erased.

        A Scan keeps a partition together, so no more than one user is held at a time. What is to be kept no longer at
        `now` is left out, and so is an interaction that this version cannot read: the pattern never saw it either.

        The decision is the newest that was the first of its kind: of any message at all, or of a type with a control
        group of its own. Others are of those whom earlier ones left there, in one arm more than in the other; and one
        of each user keeps them apart.

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
            if history.interactions or history.decision:
                yield history


def _scan(segment: int, of: int, page: int | None) -> Iterator[dict[str, Any]]:
    """Yield items as DynamoDB has them, no faster than `READ_UNITS_PER_SECOND`; consistently, for the revocations."""
    wanted = {*InteractionItem.get_attributes(), *OutreachItem.get_attributes(), *OF_USERS} - UNREAD
    share = {"segment": segment, "total_segments": of} if of > 1 else {}
    options = {"consistent_read": True, "attributes_to_get": sorted(wanted), "limit": page, **share}
    with translated():
        yield from ResultIterator(connection().scan, (Item.Meta.table_name,), options, rate_limit=READ_UNITS_PER_SECOND)


def _history(items: Iterator[dict[str, Any]], now: datetime) -> History:
    """Return what may be learned from one user's items; nothing where they did not allow it.

    The profile comes last, so the others wait unparsed: most users may not have allowed it.
    """
    found: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    allowed, created_at, erased_at = False, 0, -1
    for item in items:
        sk = item["sk"]["S"]
        if sk == keys.TOMBSTONE:
            erased_at = int(item["erased_at"]["N"])
        elif sk == keys.PROFILE:
            allowed = item.get("consent_ml", {}).get("BOOL") is True
            created_at = int(item.get("created_at", {}).get("N", 0))
        elif sk.startswith(keys.INTERACTION_PREFIX) and len(found) <= MOST_INTERACTIONS and not _expired(item, now):
            found.append(item)
        elif sk.startswith(keys.OUTREACH_PREFIX) and "settled_at" in item and not _expired(item, now):
            settled.append(item)
    # Of an erased user nothing is learned, from the moment of the tombstone on; who came back begins anew.
    if not allowed or created_at <= erased_at or len(found) > MOST_INTERACTIONS:
        return History(())
    found = [item for item in found if int(item["occurred_at"]["N"]) > erased_at]
    settled = [item for item in settled if int(item["planned_at"]["N"]) > erased_at]
    interactions: list[Interaction] = []
    for item in found:
        with suppress(BadUpdateError):
            interactions.append(interaction_of(item))
    interactions.sort(key=lambda interaction: (interaction.occurred_at, interaction.update_id))
    return History(interactions, _decision(settled))


def _decision(settled: list[dict[str, Any]]) -> LoggedDecision | None:
    """Return the newest of a user's settled outreach that can be learned from."""
    for item in sorted(settled, key=lambda item: int(item["exposed_at"]["N"]), reverse=True):
        if decision := _decision_of(OutreachItem.from_raw_data(item)):
            return decision
    return None


def _decision_of(item: OutreachItem) -> LoggedDecision | None:
    """Return a decision to learn from; None where the features are of another version, or the arm was not drawn."""
    row = uplift.row_of(item.context) if item.context else None
    probability = _sent_probability(item)
    if row is None or item.outcomes_json is None or not 0 < probability < 1:
        return None
    outcomes = Outcomes.from_json(item.outcomes_json)
    lost = outcomes.blocked or outcomes.opted_out
    return LoggedDecision(
        user_id=keys.user_of(item.pk)[1],
        row=row,
        planned_probability=uplift.planned_probability(item.context),
        sent=item.arm == Arm.TREATED,
        sent_probability=probability,
        returned=outcomes.returned_7d and not lost,
        lost=lost,
        covariate=item.covariate,
    )


def _sent_probability(item: OutreachItem) -> float:
    """Return with which probability it was drawn to be sent; 0 where what came before may differ between the arms."""
    first_of = item.first_of or set()
    if ALL in first_of:
        return item.treated_probability
    if item.outreach_type in first_of and item.measured_by_type and not item.in_control:
        # Within the program the type's own draw is the first thing in which the arms differ.
        return item.treated_probability / item.program_probability
    return 0.0


def _expired(item: dict[str, Any], now: datetime) -> bool:
    """Say whether an item is to be kept no longer; DynamoDB deletes it within about two days of that."""
    expires_on = item.get("expires_on")
    return expires_on is not None and int(expires_on["N"]) <= now.timestamp()
