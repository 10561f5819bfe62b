"""Requests of users that take longer than an answer: the file with their data; the sender serves them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pynamodb.exceptions import UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.table import CONDITION_FAILED, RequestItem, code_of, keyed, translated

AGAIN_AFTER = timedelta(hours=1)
"""Nobody's file is asked for more often."""
KEPT = timedelta(days=2)
PAGE = 50


class Requests:
    """What users asked for. Every method may raise StoreUnavailableError."""

    partitions = keys.DUE_PARTITIONS

    def ask(self, bot_id: int, user_id: int, at: datetime) -> bool:
        """Ask for the user's data; False where they were asked for within the last hour.

        The same request again, by a redelivered update, counts as asked.
        """
        pk = keys.user(bot_id, user_id)
        kind = RequestItem.get_attributes()["kind"]
        actions: list[Action] = [
            kind.set(RequestItem),
            RequestItem.asked_at.set(at),
            RequestItem.due_shard.set(keys.request_shard(keys.due_partition(pk))),
            RequestItem.due_at.set(at),
            RequestItem.expires_on.set(at + KEPT),
        ]
        is_due = RequestItem.asked_at.does_not_exist() | (RequestItem.asked_at <= at - AGAIN_AFTER)
        if self._update(pk, actions, is_due):
            return True
        return self._asked_at(pk) == at.replace(microsecond=0)

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        """Yield (bot_id, user_id) of those who wait in a partition [0, 16), the longest first."""
        for pk, _ in due_rows(keys.request_shard(partition), now, page=PAGE):
            yield keys.user_of(pk)

    def done(self, bot_id: int, user_id: int) -> bool:
        """Keep that it was served, or cannot be; False where it is gone."""
        gone: list[Action] = [RequestItem.due_shard.remove(), RequestItem.due_at.remove()]
        return self._update(keys.user(bot_id, user_id), gone, RequestItem.due_at.exists())

    def _asked_at(self, pk: str) -> datetime | None:
        with translated():
            for item in RequestItem.query(pk, RequestItem.sk == keys.REQUEST_MYDATA, consistent_read=True):
                asked_at: datetime = item.asked_at
                return asked_at
        return None

    @staticmethod
    def _update(pk: str, actions: list[Action], condition: Condition) -> bool:
        with translated():
            try:
                keyed(RequestItem, pk, keys.REQUEST_MYDATA).update(actions=actions, condition=condition)
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True
