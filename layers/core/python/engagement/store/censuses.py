"""Scoring: the counts of each pass, added up by day and share of the users."""

import json
import zlib
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import add
from typing import Any
from uuid import uuid4

from pynamodb.exceptions import DoesNotExist, PutError
from pynamodb.expressions.condition import Condition

from engagement.domain.census import Census, Outcomes
from engagement.domain.features import VERSION
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.table import CONDITION_FAILED, CensusItem, back_off, code_of, translated

KEPT = timedelta(days=100)
ATTEMPTS = 8
BACK_OFF_SECONDS = 0.02
MOST_VERSIONS = 3
"""Models whose outcomes one item keeps, those with the most: the present one, the one before, and rules."""


class Censuses:
    """The census items of the table."""

    def add(self, bot_id: int, day: date, share: int, census: Census) -> None:
        """Add to what the day's earlier passes over this share counted; counted once, whoever adds at the same time.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble, or rivals kept writing first.
        """
        token = uuid4().hex
        for attempt in range(ATTEMPTS):
            if attempt:
                back_off(attempt, BACK_OFF_SECONDS)
            if self._merge(bot_id, day, share, census, token):
                return
        raise StoreUnavailableError(f"a census was changed by others {ATTEMPTS} times in a row")

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Census:
        """Return the sum over all shares of the days from `first_day` to `last_day`; empty where there is none.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        between = CensusItem.sk.between(keys.census_day(first_day), keys.census(last_day, 99))
        with translated():
            found = [_census(item) for item in CensusItem.query(keys.bot(bot_id), between)]
        return reduce(add, found, Census())

    def _merge(self, bot_id: int, day: date, share: int, census: Census, token: str) -> bool:
        """Return whether it is counted; False where another pass wrote first."""
        pk, sk = keys.bot(bot_id), keys.census(day, share)
        with translated():
            try:
                seen = CensusItem.get(pk, sk, consistent_read=True)
            except DoesNotExist:
                condition: Condition = CensusItem.pk.does_not_exist()
                version = 0
            else:
                if seen.written_by == token:
                    # The write before this one succeeded, and its answer was lost.
                    return True
                condition = CensusItem.version == seen.version
                version = seen.version
                census += _census(seen)
            item = CensusItem(
                pk,
                sk,
                counts=_packed(census),
                version=version + 1,
                feature_version=VERSION,
                written_by=token,
                expires_on=datetime.combine(day, datetime.min.time(), UTC) + KEPT,
            )
            try:
                item.save(condition=condition)
            except PutError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True


def _packed(census: Census) -> bytes:
    """Return it as compressed JSON: some 600 bytes, where a list of DynamoDB numbers would take three times as many."""
    most = sorted(census.outcomes.items(), key=lambda pair: (-sum(pair[1].seen), pair[0]))[:MOST_VERSIONS]
    counts = asdict(census) | {"outcomes": {version: asdict(outcomes) for version, outcomes in sorted(most)}}
    return zlib.compress(json.dumps(counts, separators=(",", ":")).encode())


def _census(item: CensusItem) -> Census:
    if item.feature_version != VERSION:
        return Census()
    counts: dict[str, Any] = json.loads(zlib.decompress(item.counts))
    counts |= {name: tuple(counts[name]) for name in ("hours", "weekdays", "bands")}
    counts["feature_bins"] = tuple(map(tuple, counts["feature_bins"]))
    counts["outcomes"] = {
        version: Outcomes(**{name: tuple(numbers) for name, numbers in outcomes.items()})
        for version, outcomes in counts["outcomes"].items()
    }
    return Census(**counts)
