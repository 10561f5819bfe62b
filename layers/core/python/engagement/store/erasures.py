"""Erasing: every item of the user's goes, each with what counters keep of it; only the tombstone stays.

An item that counters count is deleted in one transaction with what they keep (`domain.erasure`), so that a crash
anywhere leaves every counter right, and the next sweep goes on where this one stopped.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from pynamodb.constants import ITEMS, LAST_EVALUATED_KEY
from pynamodb.exceptions import DeleteError
from pynamodb.expressions.condition import Condition
from pynamodb.transactions import TransactWrite

from engagement.domain.erasure import awaits_outcome, settles_at, stub_of
from engagement.domain.lift import increments
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import OutreachState
from engagement.domain.pattern import EMPTY
from engagement.domain.pattern_bytes import decode
from engagement.domain.statistics import (
    Moves,
    activity_moves,
    award_moves,
    band_moves,
    ending_moves,
    outreach_moves,
)
from engagement.errors import BadPatternError
from engagement.store import keys
from engagement.store.outreaches import RETENTION, item_of, outreach_of
from engagement.store.statistics import count_in, gone_increments, gone_sums, of_moves
from engagement.store.table import (
    CONDITION_FAILED,
    AwardItem,
    Item,
    OutreachItem,
    PatternItem,
    ProfileItem,
    code_of,
    connection,
    keyed,
    translated,
)
from engagement.store.transactions import settled, transact

DELETES = 25
"""Of one request (BatchWriteItem's limit)."""
STUB_IDS = 2**51

Row = dict[str, Any]


class Erasures:
    """Sweeps the items of erased users away. Every method may raise StoreUnavailableError."""

    def sweep(self, bot_id: int, user_id: int, erased_at: datetime) -> int:
        """Delete everything of a user's that is not of a life after the erasure; return how many items.

        Args:
            bot_id: the bot.
            user_id: the user.
            erased_at: from the tombstone, which stays.
        """
        pk = keys.user(bot_id, user_id)
        rows = {row["sk"]["S"]: row for row in rows_of(pk)}
        profile = rows.get(keys.PROFILE)
        new_life_at = _time(profile, "created_at") if profile else None
        if new_life_at is not None and new_life_at <= erased_at:
            new_life_at = None
        old = {sk: row for sk, row in rows.items() if sk != keys.TOMBSTONE and _is_old(sk, row, erased_at, new_life_at)}
        # First whatever something is still done with; the profile goes before all, so that nothing is sent any more.
        deleted = self._delete_profile(pk, erased_at) if keys.PROFILE in old else 0
        for sk, row in old.items():
            if sk == keys.PATTERN:
                deleted += self._delete_pattern(bot_id, user_id, row)
            elif sk.startswith(keys.OUTREACH_PREFIX):
                deleted += self._delete_outreach(bot_id, user_id, row)
            elif sk.startswith(keys.AWARD_PREFIX):
                deleted += self._delete_award(bot_id, user_id, row)
        return deleted + self._delete(pk, [sk for sk in old if sk != keys.PROFILE and not _is_counted(sk)])

    @staticmethod
    def _delete(pk: str, sort_keys: Iterable[str]) -> int:
        """Delete items that no counter counts."""
        many = 0
        for chunk in batched(sort_keys, DELETES, strict=False):
            with translated(), Item.batch_write() as batch:
                for sk in chunk:
                    batch.delete(keyed(Item, pk, sk))
            many += len(chunk)
        return many

    @staticmethod
    def _delete_profile(pk: str, erased_at: datetime) -> int:
        """Delete the profile unless it is by now that of a new life, which began after it was read."""
        created_at = ProfileItem.created_at
        is_old = created_at.does_not_exist() | (created_at <= erased_at)
        with translated():
            try:
                keyed(ProfileItem, pk, keys.PROFILE).delete(condition=is_old)
            except DeleteError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return 0
        return 1

    def _delete_pattern(self, bot_id: int, user_id: int, row: Row) -> int:
        item = PatternItem.from_raw_data(_copy(row))
        try:
            moves = activity_moves(EMPTY, decode(item.state))
        except BadPatternError:
            # What it counted cannot be told any more; `reconcile` will say so. The user goes all the same.
            moves = {}
        gauges = _negated(band_moves(None, item.churn_14d)) if item.churn_14d is not None else {}
        unchanged = PatternItem.version == item.version
        unchanged &= (
            PatternItem.churn_14d == item.churn_14d
            if item.churn_14d is not None
            else (PatternItem.churn_14d.does_not_exist())
        )

        def write(transaction: TransactWrite) -> None:
            transaction.delete(keyed(PatternItem, item.pk, item.sk), condition=unchanged)
            count_in(transaction, bot_id, user_id, gone_increments(moves) | of_moves(gauges))

        return self._deleted(write)

    def _delete_award(self, bot_id: int, user_id: int, row: Row) -> int:
        item = AwardItem.from_raw_data(_copy(row))
        moves = award_moves([item.sk.removeprefix(keys.AWARD_PREFIX)], item.awarded_at)

        def write(transaction: TransactWrite) -> None:
            transaction.delete(keyed(AwardItem, item.pk, item.sk), condition=AwardItem.pk.exists())
            count_in(transaction, bot_id, user_id, gone_increments(moves))

        return self._deleted(write)

    def _delete_outreach(self, bot_id: int, user_id: int, row: Row) -> int:
        item = OutreachItem.from_raw_data(_copy(row))
        outreach = outreach_of(item)
        unchanged = _same(item)
        if not awaits_outcome(outreach):
            outcomes = Outcomes.from_json(item.outcomes_json) if item.outcomes_json else None
            kept = gone_increments(outreach_moves(outreach, outcomes))
            if outcomes is not None:
                kept |= gone_sums(outreach.experiment, increments(outreach, outcomes))

            def write_gone(transaction: TransactWrite) -> None:
                transaction.delete(keyed(OutreachItem, item.pk, item.sk), condition=unchanged)
                count_in(transaction, bot_id, user_id, kept)

            return self._deleted(write_gone)
        stub = stub_of(outreach, 1 + secrets.randbelow(STUB_IDS))
        ended: Moves = {}
        if outreach.state is OutreachState.SENDING:
            ended = ending_moves(outreach, OutreachState.UNKNOWN)
        pk = keys.user(stub.bot_id, stub.user_id)
        left = item_of(
            stub,
            due_shard=keys.settle_shard(keys.due_partition(pk)),
            due_at=settles_at(stub),
            expires_on=stub.planned_at + RETENTION,
        )

        def write_stub(transaction: TransactWrite) -> None:
            transaction.delete(keyed(OutreachItem, item.pk, item.sk), condition=unchanged)
            transaction.save(left, condition=OutreachItem.pk.does_not_exist())
            if ended:
                count_in(transaction, bot_id, user_id, of_moves(ended))

        return self._deleted(write_stub)

    @staticmethod
    def _deleted(write: Callable[[TransactWrite], None]) -> int:
        """Write; one deleted item, or none where it changed since it was read: then the next sweep sees it as it is."""
        return 0 if settled(transact(write)) else 1


def rows_of(pk: str) -> Iterator[Row]:
    """Yield the items of a partition as DynamoDB has them, read consistently."""
    start = None
    while True:
        with translated():
            answer = connection().query(Item.Meta.table_name, pk, consistent_read=True, exclusive_start_key=start)
        yield from answer[ITEMS]
        start = answer.get(LAST_EVALUATED_KEY)
        if not start:
            return


def _is_old(sk: str, row: Row, erased_at: datetime, new_life_at: datetime | None) -> bool:
    """Say whether an item is of the life that was erased.

    What a user did tells by its own time. What was written about them (outreach, awards, answers, requests) may have
    been written by a run that still knew the old life: it is of the new one only if that had begun.
    """
    if sk == keys.PROFILE:
        return new_life_at is None
    if sk == keys.PATTERN:
        return _first_at(row) <= erased_at.timestamp()
    if sk.startswith(keys.INTERACTION_PREFIX):
        return _time(row, "occurred_at") <= erased_at
    if new_life_at is None:
        return True
    born = next((_time(row, name) for name in BORN if name in row), erased_at)
    return born < new_life_at


BORN = ("planned_at", "awarded_at", "answered_at", "noticed_at", "asked_at")
"""Which attribute says when an item came into being, one for each kind that has one."""


def _first_at(row: Row) -> float:
    """Return when a stored pattern's history began; one that cannot be read is as old as can be."""
    try:
        return decode(PatternItem.from_raw_data(_copy(row)).state).first_at
    except BadPatternError:
        return 0.0


def _is_counted(sk: str) -> bool:
    return sk == keys.PATTERN or sk.startswith((keys.OUTREACH_PREFIX, keys.AWARD_PREFIX))


def _same(item: OutreachItem) -> Condition:
    """Return that an outreach is as it was read, in all that counters count."""
    same: Condition = OutreachItem.state == item.state
    for attribute in (
        OutreachItem.exposed_at,
        OutreachItem.settled_at,
        OutreachItem.opened_at,
        OutreachItem.not_now_at,
        OutreachItem.stopped_at,
    ):
        value = getattr(item, attribute.attr_name)
        same &= attribute.does_not_exist() if value is None else attribute == value
    return same


def _negated(moves: Moves) -> Moves:
    return {key: -count for key, count in moves.items()}


def _time(row: Row, name: str) -> datetime:
    return datetime.fromtimestamp(int(row[name]["N"]), UTC)


def _copy(row: Row) -> Row:
    """Return a copy of each value: PynamoDB rewrites the type tags in place."""
    return {name: dict(value) for name, value in row.items()}
