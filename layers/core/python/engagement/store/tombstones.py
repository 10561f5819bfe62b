"""Tombstones: who was erased, and when; whatever happened before must not bring them back.

A tombstone is written before anything is deleted, and stands until nothing old can come up any more: redeliveries, late
records of the stream, and a restore. While there is something to sweep it is in the index.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.erasure import SWEEP_AGAIN_AFTER, TOMBSTONE_KEPT
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.table import (
    CONDITION_FAILED,
    ProfileItem,
    TombstoneItem,
    code_of,
    keyed,
    translated,
)
from engagement.store.transactions import settled, transact

PAGE = 50


def erased_at(bot_id: int, user_id: int) -> datetime | None:
    """Return when a user was erased; None if they were not, or so long ago that nothing old can come up any more.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    with translated():
        try:
            item = TombstoneItem.get(keys.user(bot_id, user_id), keys.TOMBSTONE, consistent_read=True)
        except DoesNotExist:
            return None
    found: datetime = item.erased_at
    return found


class Tombstones:
    """The tombstones of the table. Every method may raise StoreUnavailableError."""

    partitions = keys.DUE_PARTITIONS

    def begin(self, bot_id: int, user_id: int, at: datetime) -> None:
        """Write the tombstone, and end outreach to the user in the same moment; a later erasure moves it on.

        From here on nothing that happened up to `at` brings the user back, and no message is committed.
        """
        pk = keys.user(bot_id, user_id)
        kind = TombstoneItem.get_attributes()["kind"]
        actions: list[Action] = [
            kind.set(TombstoneItem),
            TombstoneItem.erased_at.set(at),
            TombstoneItem.expires_on.set(at + TOMBSTONE_KEPT),
            TombstoneItem.due_shard.set(keys.erase_shard(keys.due_partition(pk))),
            TombstoneItem.due_at.set(at),
        ]
        is_newer = TombstoneItem.erased_at.does_not_exist() | (TombstoneItem.erased_at < at)

        def write(transaction: TransactWrite, *, with_profile: bool) -> None:
            transaction.update(keyed(TombstoneItem, pk, keys.TOMBSTONE), actions=actions, condition=is_newer)
            if with_profile:
                stopped: list[Action] = [
                    ProfileItem.opted_out.set(True),
                    ProfileItem.word.set((ProfileItem.word | 0) + 1),
                ]
                is_old = ProfileItem.pk.exists() & (ProfileItem.created_at <= at)
                transaction.update(keyed(ProfileItem, pk, keys.PROFILE), actions=stopped, condition=is_old)

        failed = settled(transact(partial(write, with_profile=True)))
        if failed == {1}:
            settled(transact(partial(write, with_profile=False)))

    @staticmethod
    def erased_at(bot_id: int, user_id: int) -> datetime | None:
        """Return when a user was erased; see `erased_at`."""
        return erased_at(bot_id, user_id)

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        """Yield (bot_id, user_id) of those to be swept in a partition [0, 16) of the index."""
        for pk, _ in due_rows(keys.erase_shard(partition), now, page=PAGE):
            yield keys.user_of(pk)

    def swept(self, bot_id: int, user_id: int, erased_at: datetime, now: datetime) -> bool:
        """Keep that a sweep is done, and have another one an hour after the tombstone; say whether it was the last."""
        is_last = now >= erased_at + SWEEP_AGAIN_AFTER
        due_shard, due_at = TombstoneItem.due_shard, TombstoneItem.due_at
        again_at = erased_at + SWEEP_AGAIN_AFTER
        actions: list[Action] = [due_shard.remove(), due_at.remove()] if is_last else [due_at.set(again_at)]
        is_same = TombstoneItem.erased_at == erased_at
        with translated():
            try:
                keyed(TombstoneItem, keys.user(bot_id, user_id), keys.TOMBSTONE).update(
                    actions=actions, condition=is_same & due_at.exists()
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
        return is_last
