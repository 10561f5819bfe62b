"""Everything that counters count, from a paced Scan of the whole table."""

from collections.abc import Iterator
from typing import Any

from pynamodb.pagination import ResultIterator

from engagement.domain.outcomes import Outcomes
from engagement.domain.pattern_bytes import decode
from engagement.domain.reconciliation import CountedAward, CountedOutreach, CountedPattern, Record
from engagement.store import keys
from engagement.store.outreaches import outreach_of
from engagement.store.table import AwardItem, Item, OutreachItem, PatternItem, connection, translated

READ_UNITS_PER_SECOND = 1_000
"""Half of the table's ceiling: the flow reads beside the count."""


class Records:
    """The patterns, outreach and awards of the table."""

    def all(self, bot_id: int) -> Iterator[Record]:
        """Yield each once, read consistently, in no particular order.

        Raises:
            BadPatternError: a stored pattern cannot be read.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        options = {"consistent_read": True}
        with translated():
            rows: ResultIterator[dict[str, Any]] = ResultIterator(
                connection().scan, (Item.Meta.table_name,), options, rate_limit=READ_UNITS_PER_SECOND
            )
            for row in rows:
                pk = row["pk"]["S"]
                if pk.startswith(keys.USER_PREFIX) and keys.user_of(pk)[0] == bot_id:
                    yield from _record(row)


def _record(row: dict[str, Any]) -> Iterator[Record]:
    sk = row["sk"]["S"]
    if sk == keys.PATTERN:
        pattern = PatternItem.from_raw_data(row)
        yield CountedPattern(decode(pattern.state), pattern.churn_14d)
    elif sk.startswith(keys.OUTREACH_PREFIX):
        item = OutreachItem.from_raw_data(row)
        yield CountedOutreach(outreach_of(item), Outcomes.from_json(item.outcomes_json) if item.outcomes_json else None)
    elif sk.startswith(keys.AWARD_PREFIX):
        award = AwardItem.from_raw_data(row)
        yield CountedAward(sk.removeprefix(keys.AWARD_PREFIX), award.awarded_at)
