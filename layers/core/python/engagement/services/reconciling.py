"""The operator's question whether the counters are right: everything is counted again from the items.

And from what erased users had moved, which is all that is left of them; see `domain.erasure`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Protocol

from engagement.domain.lift import increments
from engagement.domain.pattern import EMPTY
from engagement.domain.reconciliation import (
    CountedAward,
    CountedOutreach,
    CountedPattern,
    Difference,
    Reconciliation,
    Record,
)
from engagement.domain.statistics import Moves, activity_moves, award_moves, band_moves, joined, outreach_moves

BACK = timedelta(days=350)
"""Outreach is kept for a year after planning: older days cannot be counted again."""


class Records(Protocol):
    """Everything that is counted; see `store.records`."""

    def all(self, bot_id: int) -> Iterator[Record]:
        """Yield each once, in any order."""
        ...


class CounterReader(Protocol):
    """The counters; see `store.statistics`."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Mapping[date, Counter[str]]:
        """Return the counters of each day."""
        ...

    def gauges(self, bot_id: int) -> Counter[str]:
        """Return the gauges."""
        ...

    def lift(self, bot_id: int, experiment: str) -> Mapping[str, Counter[str]]:
        """Return the sums of an experiment's groups."""
        ...

    def gone_of_days(self, bot_id: int, first_day: date, last_day: date) -> Mapping[date, Counter[str]]:
        """Return what erased users had moved of each day's counters."""
        ...

    def gone_of_lift(self, bot_id: int, experiment: str) -> Mapping[str, Counter[str]]:
        """Return what erased users had moved of the sums of an experiment's groups."""
        ...


class Reconciler:
    """Counts again."""

    def __init__(self, bot_id: int, records: Records, counters: CounterReader) -> None:
        self._bot_id = bot_id
        self._records = records
        self._counters = counters

    def reconcile(self, now: datetime, progress: Callable[[int], None] = lambda _: None) -> Reconciliation:
        """Compare every counter of the last 350 days, the gauges and the sums of experiments with the items.

        An experiment that began more than 350 days ago is left out: its first outreach is no longer there.

        It reads the whole table: a question for an operator, not for every tick.

        Args:
            now: aware UTC.
            progress: told the number of items counted, again and again.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        moves: Counter[tuple[date | None, str]] = Counter()
        sums: dict[tuple[str, str], Counter[str]] = {}
        began: dict[str, datetime] = {}
        for number, record in enumerate(self._records.all(self._bot_id), 1):
            moves.update(_moves(record))
            if isinstance(record, CountedOutreach):
                name = record.outreach.experiment
                began[name] = min(began.get(name, now), record.outreach.planned_at)
            if isinstance(record, CountedOutreach) and record.outcomes:
                for group, increment in increments(record.outreach, record.outcomes).items():
                    sums.setdefault((record.outreach.experiment, group), Counter()).update(increment)
            progress(number)
        whole = {experiment for experiment, at in began.items() if at > now - BACK}
        return self._compare(moves, {key: sum_ for key, sum_ in sums.items() if key[0] in whole}, now)

    def _compare(
        self,
        moves: Mapping[tuple[date | None, str], int],
        sums: Mapping[tuple[str, str], Counter[str]],
        now: datetime,
    ) -> Reconciliation:
        first, last = (now - BACK).date(), now.date() + timedelta(days=1)
        found: dict[str, Counter[str]] = {}
        for (day, name), count in moves.items():
            if day is None or first <= day <= last:
                found.setdefault("gauges" if day is None else day.isoformat(), Counter())[name] = count
        for day, counts in self._counters.gone_of_days(self._bot_id, first, last).items():
            found.setdefault(day.isoformat(), Counter()).update(counts)
        known = {
            "gauges": self._counters.gauges(self._bot_id),
            **{day.isoformat(): counts for day, counts in self._counters.of_days(self._bot_id, first, last).items()},
        }
        found |= {f"{experiment}/{group}": counts for (experiment, group), counts in sums.items()}
        for experiment in {experiment for experiment, _ in sums}:
            for group, counts in self._counters.lift(self._bot_id, experiment).items():
                known[f"{experiment}/{group}"] = counts
            for group, counts in self._counters.gone_of_lift(self._bot_id, experiment).items():
                found.setdefault(f"{experiment}/{group}", Counter()).update(counts)
        names = {(where, name) for counted in (known, found) for where, counts in counted.items() for name in counts}
        return Reconciliation(compared=len(names), differences=tuple(_differences(names, known, found)))


def _moves(record: Record) -> Moves:
    match record:
        case CountedPattern(pattern, churn_14d):
            return joined(activity_moves(EMPTY, pattern), {} if churn_14d is None else band_moves(None, churn_14d))
        case CountedOutreach(outreach, outcomes):
            return outreach_moves(outreach, outcomes)
        case CountedAward(milestone, awarded_at):
            return award_moves([milestone], awarded_at)


def _differences(
    names: Iterable[tuple[str, str]], known: Mapping[str, Counter[str]], found: Mapping[str, Counter[str]]
) -> Iterator[Difference]:
    nothing: Counter[str] = Counter()
    for where, name in sorted(names):
        counter, items = known.get(where, nothing)[name], found.get(where, nothing)[name]
        if counter != items:
            yield Difference(where=where, name=name, counter=counter, items=items)
