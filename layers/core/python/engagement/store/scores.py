"""Scoring: the patterns that are due, and their scores.

A score is written once per due time: the write moves `due_at` on, on condition that it still is what the reader saw.
So two overlapping runs score a user once, and an index that lags behind costs a read and nothing else.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import nlargest
from itertools import batched
from typing import Any

from pynamodb.constants import KEYS, RESPONSES, UNPROCESSED_KEYS
from pynamodb.exceptions import TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.due import DuePattern, Scored
from engagement.domain.outcome import Watched
from engagement.domain.scores import ChurnScores
from engagement.domain.statistics import Moves, band_moves
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.statistics import count_in, of_moves
from engagement.store.table import (
    CONDITION_FAILED,
    CONDITION_FAILED_REASON,
    CONFLICT,
    CONFLICT_REASON,
    TRANSACTION_CANCELLED,
    Item,
    PatternItem,
    back_off,
    code_of,
    connection,
    keyed,
    translated,
)

PAGE = 250
"""Rows of the index per Query."""
BATCH_GET_LIMIT = 100
BATCH_GET_ATTEMPTS = 6
BACK_OFF_SECONDS = 0.05
WRITE_ATTEMPTS = 8
"""Of a write that others got in the way of: neighbours who move the same counters, or the stream."""


class Scores:
    """The due index's scoring half, and the scores beside the patterns."""

    partitions = keys.DUE_PARTITIONS

    def due(self, partition: int, now: datetime, *, page: int = PAGE) -> Iterator[tuple[int, int]]:
        """Yield (bot_id, user_id) of the patterns due at `now`, the longest due first.

        The index lags behind the table: some may have been scored already. `load` tells.

        Args:
            partition: of the index, [0, `partitions`).
            now: aware.
            page: rows per request; they are asked for as they are consumed.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        for pk, _ in due_rows(keys.score_shard(partition), now, page=page):
            yield keys.user_of(pk)

    def load(self, users: Iterable[tuple[int, int]]) -> Iterator[DuePattern]:
        """Yield the patterns of those users who have one, read consistently, in no particular order.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble, or kept putting off some of the keys.
        """
        for chunk in batched(users, BATCH_GET_LIMIT, strict=False):
            wanted: list[Any] = [{"pk": keys.user(*user), "sk": keys.PATTERN} for user in dict.fromkeys(chunk)]
            for attempt in range(BATCH_GET_ATTEMPTS):
                if attempt:
                    back_off(attempt, BACK_OFF_SECONDS)
                with translated():
                    answer = connection().batch_get_item(Item.Meta.table_name, wanted, consistent_read=True)
                yield from map(_due_pattern, answer[RESPONSES][Item.Meta.table_name])
                wanted = answer.get(UNPROCESSED_KEYS, {}).get(Item.Meta.table_name, {}).get(KEYS, [])
                if not wanted:
                    break
            else:
                raise StoreUnavailableError(f"DynamoDB put off {len(wanted)} reads {BATCH_GET_ATTEMPTS} times")

    def record(self, seen: DuePattern, scored: Scored, *, now: datetime, next_due_at: datetime | None) -> bool:
        """Write a user's scores and the time of the next ones; False where another run did or the user is gone.

        Args:
            seen: as `load` gave it.
            scored: finite numbers.
            now: when the scores hold, aware.
            next_due_at: None takes the user out of the index, until their next interaction.

        Raises:
            ValueError: a number is NaN or infinite.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        actions = [
            PatternItem.churn_7d.set(scored.churn.churn_7d),
            PatternItem.churn_14d.set(scored.churn.churn_14d),
            PatternItem.churn_30d.set(scored.churn.churn_30d),
            PatternItem.scored_at.set(now),
            PatternItem.scored_by.set(scored.by),
            PatternItem.mood.set(scored.mood),
            *_watch_actions(seen.watched, scored.watched),
        ]
        if seen.asked_at is not None:
            actions.append(PatternItem.asked_at.remove())
        moves = band_moves(seen.scores.churn_14d if seen.scores else None, scored.churn.churn_14d)
        if next_due_at is not None:
            return self._update(seen, [*actions, PatternItem.due_at.set(next_due_at)], moves=moves)
        # An interaction folded since would find the user in the index and leave them to us: then they must stay in it.
        nothing_new = PatternItem.version == seen.version
        actions += [PatternItem.due_shard.remove(), PatternItem.due_at.remove()]
        return self._update(seen, actions, nothing_new, moves=moves)

    def postpone(self, seen: DuePattern, until: datetime) -> bool:
        """Have a pattern that cannot be read looked at again later; False where it is not as it was seen.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return self._update(seen, [PatternItem.due_at.set(until)])

    def needing_engagement(self, limit: int) -> list[DuePattern]:
        """Return the scored users most likely to stay away for 14 days, the likeliest first.

        It reads every pattern in the index: a question for an operator, not for every tick.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        # Each once: a pattern that is scored meanwhile moves on in the index, and may be met again there.
        everyone = dict.fromkeys(
            keys.user_of(pk)
            for partition in range(self.partitions)
            for pk, _ in due_rows(keys.score_shard(partition), None, page=PAGE)
        )
        scored = ((found.scores.churn_14d, found) for found in self.load(everyone) if found.scores)
        return [found for _, found in nlargest(limit, scored, key=lambda pair: pair[0])]

    def _update(
        self, seen: DuePattern, actions: list[Action], also: Condition | None = None, *, moves: Moves | None = None
    ) -> bool:
        # Never true of an item that is gone: an erased user is not brought back.
        still_due = PatternItem.due_at == seen.due_at
        condition = still_due & also if also is not None else still_due
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            with translated():
                try:
                    if moves:
                        self._write_counting(seen, actions, condition, moves)
                    else:
                        self._write(seen, actions, condition)
                except (UpdateError, TransactWriteError) as error:
                    if not _met_another(error) or attempt == WRITE_ATTEMPTS:
                        if _is_refused(error):
                            return False
                        raise
                else:
                    return True
            back_off(attempt, BACK_OFF_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    @staticmethod
    def _write(seen: DuePattern, actions: list[Action], condition: Condition) -> None:
        pk = keys.user(seen.bot_id, seen.user_id)
        connection().update_item(Item.Meta.table_name, pk, keys.PATTERN, actions=actions, condition=condition)

    @staticmethod
    def _write_counting(seen: DuePattern, actions: list[Action], condition: Condition, moves: Moves) -> None:
        """Write the scores together with the users of each band: exact, or not at all."""
        with TransactWrite(connection=connection()) as transaction:
            item = keyed(PatternItem, keys.user(seen.bot_id, seen.user_id), keys.PATTERN)
            transaction.update(item, actions=actions, condition=condition)
            count_in(transaction, seen.bot_id, seen.user_id, of_moves(moves))


def _codes(error: UpdateError | TransactWriteError) -> set[str | None]:
    """Return what DynamoDB says of a write that it refused; of a transaction, what it says of its parts."""
    if isinstance(error, TransactWriteError) and code_of(error) == TRANSACTION_CANCELLED:
        return {reason.code for reason in error.cancellation_reasons if reason}
    return {code_of(error)}


def _is_refused(error: UpdateError | TransactWriteError) -> bool:
    return bool(_codes(error) & {CONDITION_FAILED, CONDITION_FAILED_REASON})


def _met_another(error: UpdateError | TransactWriteError) -> bool:
    """Say whether another transaction on the same items was under way, and nothing else is wrong."""
    return _codes(error) <= {CONFLICT, CONFLICT_REASON}


def _watch_actions(before: Watched | None, after: Watched | None) -> list[Action]:
    if after == before:
        return []
    if after is None:
        return [PatternItem.watched_at.remove(), PatternItem.watched_churn_7d.remove(), PatternItem.watched_by.remove()]
    return [
        PatternItem.watched_at.set(after.at),
        PatternItem.watched_churn_7d.set(after.churn_7d),
        PatternItem.watched_by.set(after.by),
    ]


def _due_pattern(raw: dict[str, Any]) -> DuePattern:
    item = PatternItem.from_raw_data(raw)
    bot_id, user_id = keys.user_of(item.pk)
    scored = item.churn_7d is not None and item.churn_14d is not None and item.churn_30d is not None
    watched = item.watched_at is not None and item.watched_churn_7d is not None and item.watched_by is not None
    return DuePattern(
        bot_id=bot_id,
        user_id=user_id,
        state=item.state,
        version=item.version,
        due_at=item.due_at,
        scores=ChurnScores(item.churn_7d, item.churn_14d, item.churn_30d) if scored else None,
        scored_at=item.scored_at,
        asked_at=item.asked_at,
        watched=Watched(at=item.watched_at, churn_7d=item.watched_churn_7d, by=item.watched_by) if watched else None,
    )
