"""Reads the index `due`: which items are due in one of its shards."""

from collections.abc import Iterator
from datetime import datetime

from pynamodb.constants import ITEMS, LAST_EVALUATED_KEY

from engagement.store import keys
from engagement.store.table import DueIndex, Item, connection, translated


def due_rows(shard: str, until: datetime | None, *, page: int) -> Iterator[tuple[str, str]]:
    """Yield (pk, sk) of the items in a shard of the index, the longest due first.

    Not by `Item.due_index.query`: PynamoDB adds a filter on the items' kind, an index of keys holds no kind, and on
    AWS such a filter lets nothing through (the local AWS filters the whole item and hides it).

    Args:
        shard: for example "SCORE#07".
        until: due at this time, aware; None for all.
        page: rows per request; the next is asked for when this one is consumed.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    start = None
    while True:
        with translated():
            answer = connection().query(
                Item.Meta.table_name,
                shard,
                range_key_condition=None if until is None else DueIndex.due_at <= until,
                index_name=keys.DUE_INDEX,
                exclusive_start_key=start,
                limit=page,
            )
        for row in answer[ITEMS]:
            yield row["pk"]["S"], row["sk"]["S"]
        start = answer.get(LAST_EVALUATED_KEY)
        if not start:
            return
