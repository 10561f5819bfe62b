"""Counters: added to in the transaction that changes what they count, read as sums over all shares of the users."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pynamodb.constants import ITEMS, LAST_EVALUATED_KEY
from pynamodb.expressions.operand import Path, Value
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.statistics import Moves
from engagement.store import keys
from engagement.store.table import Item, StatisticsItem, connection, keyed, translated

A_MONTH = timedelta(days=31)
KEPT = timedelta(days=800)
"""Two years and a bit, so that a year can be laid beside the one before."""
OWN = frozenset({"pk", "sk", "kind", "expires_on"})
"""Attributes of a counters' item that are no counters."""

GONE_DAY = "|"
"""Stands between the day of the month and a counter's name in what erased users had moved."""

Increments = Mapping[str, Mapping[str, int]]
"""By sort key of the item (`keys.day_counters`, `keys.GAUGES`, `keys.lift`): by how much each counter moves."""


def of_moves(moves: Moves) -> dict[str, dict[str, int]]:
    """Return moves as increments."""
    increments: dict[str, dict[str, int]] = defaultdict(dict)
    for (day, name), count in moves.items():
        increments[keys.GAUGES if day is None else keys.day_counters(day)][name] = count
    return increments


def gone_increments(moves: Moves) -> dict[str, dict[str, int]]:
    """Return what counters of days keep of an erased user, as increments of what is gone: an item a month."""
    increments: dict[str, dict[str, int]] = defaultdict(dict)
    for (day, name), count in moves.items():
        if day is not None:
            increments[keys.gone_month(day)][f"{day.day:02}{GONE_DAY}{name}"] = count
    return increments


def gone_sums(experiment: str, increments: Increments) -> dict[str, dict[str, int]]:
    """Return what an experiment's sums keep of an erased user, by group, as increments of what is gone."""
    return {keys.gone_lift(experiment, group): dict(counts) for group, counts in increments.items() if counts}


def count_in(transaction: TransactWrite, bot_id: int, user_id: int, increments: Increments) -> None:
    """Add to the counters as a part of a transaction: one update for each item, two write units each.

    Args:
        transaction: which also changes what is counted.
        bot_id: the bot.
        user_id: whose state changes; says which share is counted.
        increments: see `Increments`; nothing is added where it is empty.
    """
    share = keys.statistics_share(keys.user(bot_id, user_id))
    for sk, counts in increments.items():
        item = keyed(StatisticsItem, keys.statistics(bot_id, share), sk)
        transaction.update(item, actions=_actions(sk, counts))


class Statistics:
    """The counters of the table."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        """Return the counters of each day from `first_day` to `last_day` that has any, summed over all shares.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        days: dict[date, Counter[str]] = defaultdict(Counter)
        between = StatisticsItem.sk.between(keys.day_counters(first_day), keys.day_counters(last_day))
        for sk, counts in self._read(bot_id, between):
            days[date.fromisoformat(sk.partition("#")[2])].update(counts)
        return dict(days)

    def gauges(self, bot_id: int) -> Counter[str]:
        """Return the gauges, summed over all shares."""
        return self._sum(bot_id, StatisticsItem.sk == keys.GAUGES)

    def lift(self, bot_id: int, experiment: str) -> dict[str, Counter[str]]:
        """Return the sums of each group of an experiment, over all shares."""
        groups: dict[str, Counter[str]] = defaultdict(Counter)
        for sk, counts in self._read(bot_id, StatisticsItem.sk.startswith(keys.lift(experiment, ""))):
            groups[sk.rpartition("#")[2]].update(counts)
        return dict(groups)

    def gone_of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        """Return what erased users had moved of each day's counters."""
        days: dict[date, Counter[str]] = defaultdict(Counter)
        between = StatisticsItem.sk.between(keys.gone_month(first_day), keys.gone_month(last_day))
        for sk, counts in self._read(bot_id, between):
            year, month = sk.removeprefix(keys.GONE_PREFIX).split("-")
            for marked, count in counts.items():
                day, _, name = marked.partition(GONE_DAY)
                days[date(int(year), int(month), int(day))][name] += count
        return {day: counts for day, counts in days.items() if first_day <= day <= last_day}

    def gone_of_lift(self, bot_id: int, experiment: str) -> dict[str, Counter[str]]:
        """Return what erased users had moved of the sums of each group of an experiment."""
        groups: dict[str, Counter[str]] = defaultdict(Counter)
        for sk, counts in self._read(bot_id, StatisticsItem.sk.startswith(keys.gone_lift(experiment, ""))):
            groups[sk.rpartition("#")[2]].update(counts)
        return dict(groups)

    def _sum(self, bot_id: int, condition: Any) -> Counter[str]:
        total: Counter[str] = Counter()
        for _, counts in self._read(bot_id, condition):
            total.update(counts)
        return total

    def _read(self, bot_id: int, condition: Any) -> Iterator[tuple[str, dict[str, int]]]:
        for share in range(keys.DUE_PARTITIONS):
            start = None
            while True:
                with translated():
                    answer = connection().query(
                        Item.Meta.table_name,
                        keys.statistics(bot_id, share),
                        range_key_condition=condition,
                        consistent_read=True,
                        exclusive_start_key=start,
                    )
                for row in answer[ITEMS]:
                    yield row["sk"]["S"], {name: int(value["N"]) for name, value in row.items() if name not in OWN}
                start = answer.get(LAST_EVALUATED_KEY)
                if not start:
                    break


def _actions(sk: str, counts: Mapping[str, int]) -> list[Action]:
    # An update creates what is missing, and knows nothing of classes: without its kind nobody could read the item.
    kind = StatisticsItem.get_attributes()["kind"]
    actions: list[Action] = [kind.set(kind | StatisticsItem)]
    if sk.startswith("DAY#"):
        day = datetime.combine(date.fromisoformat(sk.partition("#")[2]), datetime.min.time(), UTC)
        actions.append(StatisticsItem.expires_on.set(day + KEPT))
    elif sk.startswith(keys.GONE_PREFIX) and not sk.startswith(keys.GONE_LIFT_PREFIX):
        month = datetime.fromisoformat(f"{sk.removeprefix(keys.GONE_PREFIX)}-01").replace(tzinfo=UTC)
        actions.append(StatisticsItem.expires_on.set(month + A_MONTH + KEPT))
    # In a list a name is one name, whatever it holds; as text a dot in it would be a path.
    return [*actions, *(Path([name]).add(Value(count)) for name, count in counts.items())]
