"""Learning from a batch of the stream: one write per user, nothing lost, nothing counted twice."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.due import DuePattern
from engagement.domain.interaction import Interaction
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold, last_seen
from engagement.domain.pattern_bytes import encode
from engagement.domain.planning import Thresholds
from engagement.domain.profile import Profile
from engagement.domain.scores import ChurnScores
from engagement.errors import BadUpdateError, StoreUnavailableError
from engagement.services.analyzer import ATTEMPTS, EngagementAnalyzer, StreamRecord
from tests import builders

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def interaction(user_id: int, update_id: int) -> Interaction:
    at = START + timedelta(minutes=update_id)
    return builders.interaction(update_id, at, user_id=user_id, chat_id=user_id)


@dataclass(frozen=True)
class Stored:
    pattern: Pattern
    version: int


class Memory:
    """A pattern store with the table's conditions, which can fail and can be raced."""

    def __init__(self) -> None:
        self.items: dict[int, Stored] = {}
        self.erased: dict[int, datetime] = {}
        self.calls: Counter[str] = Counter()
        self.failures: list[bool] = []
        self.rivals: list[list[Interaction]] = []

    def load(self, bot_id: int, user_id: int) -> Stored | None:
        self.calls["load"] += 1
        found = self.items.get(user_id)
        if self.rivals:
            # Another invocation reads and writes the same user between our read and our write.
            rival = self.rivals.pop()
            before = self.items.get(user_id, Stored(EMPTY, 0))
            self.items[user_id] = Stored(fold(before.pattern, rival), before.version + 1)
        return found

    def create(self, pattern: Pattern, newest: Interaction) -> str:
        self._write()
        erased_at = self.erased.get(newest.user_id)
        if erased_at is not None and pattern.first_at <= erased_at.timestamp():
            return "erased"
        if newest.user_id in self.items:
            return "conflict"
        self.items[newest.user_id] = Stored(pattern, 1)
        return "written"

    def replace(self, pattern: Pattern, seen: Stored, newest: Interaction) -> str:
        self._write()
        if self.items[newest.user_id].version != seen.version:
            return "conflict"
        self.items[newest.user_id] = Stored(pattern, seen.version + 1)
        return "written"

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        return self.erased.get(user_id)

    def _write(self) -> None:
        self.calls["write"] += 1
        if self.failures and self.failures.pop():
            raise StoreUnavailableError("throttled")


class NoScores:
    def needing_engagement(self, limit: int) -> list[DuePattern]:
        return []


class NoProfiles:
    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return None


def analyzer_over(store: Memory) -> EngagementAnalyzer[Stored]:
    return EngagementAnalyzer(store, NoScores(), NoProfiles())


def read(image: Mapping[str, Any]) -> Interaction:
    if "poison" in image:
        raise BadUpdateError("bad_interaction")
    return interaction(image["user"], image["update"])


def records(*items: tuple[int, int]) -> list[StreamRecord]:
    return [StreamRecord(str(1_000 + i), {"user": user, "update": update}) for i, (user, update) in enumerate(items)]


def test_a_hundred_records_of_one_user_are_one_read_and_one_write() -> None:
    """R29."""
    store = Memory()
    report = analyzer_over(store).learn(records(*((7, i) for i in range(100))), read)
    assert store.calls == {"load": 1, "write": 1}
    assert (report.folded, report.patterns_written, report.failed_at) == (100, 1, None)


def test_a_batch_of_known_interactions_writes_nothing() -> None:
    """R22: a redelivered batch is one read per user."""
    store = Memory()
    analyzer = analyzer_over(store)
    analyzer.learn(records((7, 1), (8, 2)), read)
    store.calls.clear()
    report = analyzer.learn(records((7, 1), (8, 2), (7, 1)), read)
    assert store.calls == {"load": 2}
    assert report.folded == 0


@settings(max_examples=80, deadline=None)
@given(
    batch=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), min_size=1, max_size=12, unique=True),
    data=st.data(),
)
def test_a_failure_anywhere_loses_nothing_and_counts_nothing_twice(
    batch: list[tuple[int, int]], data: st.DataObject
) -> None:
    """R23: Lambda delivers again from the reported record on, for every place a write may fail."""
    store = Memory()
    analyzer = analyzer_over(store)
    pending = records(*batch)
    failures = data.draw(st.lists(st.booleans(), max_size=6))
    store.failures = list(failures)
    for _ in range(len(failures) + 1):
        report = analyzer.learn(pending, read)
        if report.failed_at is None:
            break
        pending = [record for record in pending if int(record.sequence) >= int(report.failed_at)]
    assert report.failed_at is None
    for user in {user for user, _ in batch}:
        expected = fold(EMPTY, [interaction(user, update) for owner, update in batch if owner == user])
        assert store.items[user].pattern == expected


def test_a_poison_record_is_reported_after_everything_before_it_was_folded() -> None:
    """R26: the retries then begin at the poison, and only it ends in the dead-letter queue."""
    store = Memory()
    batch = records((7, 1), (8, 2), (7, 3))
    batch[2] = StreamRecord("1002", {"poison": True})
    report = analyzer_over(store).learn(batch, read)
    assert (report.failed_at, report.failure) == ("1002", "bad_interaction")
    assert {user: stored.pattern.total for user, stored in store.items.items()} == {7: 1, 8: 1}


def test_it_stops_at_the_first_user_that_fails() -> None:
    """R23: nothing after the reported record is tried; Lambda delivers it again anyway."""
    store = Memory()
    store.failures = [True]
    report = analyzer_over(store).learn(records((7, 1), (8, 2), (9, 3)), read)
    assert (report.failed_at, report.failure) == ("1000", "StoreUnavailableError")
    assert store.calls == {"load": 1, "write": 1}


def test_a_rival_between_read_and_write_costs_a_second_round_and_no_update() -> None:
    """R24."""
    store = Memory()
    store.rivals = [[interaction(7, 2)]]
    report = analyzer_over(store).learn(records((7, 1)), read)
    assert report.conflicts == 1
    assert store.items[7].pattern == fold(EMPTY, [interaction(7, 1), interaction(7, 2)])


def test_endless_rivals_end_in_a_retry_by_the_stream() -> None:
    """R24: a bound, so that one hot user cannot use up the function's time."""
    store = Memory()
    store.rivals = [[interaction(7, 100 + i)] for i in range(ATTEMPTS)]
    with pytest.raises(StoreUnavailableError):
        analyzer_over(store).update_user_behavior_patterns([interaction(7, 1)])


def test_late_interactions_of_an_erased_user_create_nothing() -> None:
    """R27: what happened before the erasure is dropped; what the user does afterwards counts."""
    store = Memory()
    store.erased[7] = START + timedelta(minutes=5)
    analyzer = analyzer_over(store)
    report = analyzer.learn(records((7, 1), (7, 5)), read)
    assert (report.erased, report.failed_at, store.items) == (2, None, {})
    report = analyzer.learn(records((7, 2), (7, 9)), read)
    assert store.items[7].pattern == fold(EMPTY, [interaction(7, 9)])
    assert report.erased == 1


def test_the_caller_gets_the_pattern_it_asked_for() -> None:
    """The guide's `update_user_behavior_patterns` returns the pattern, changed or not."""
    analyzer = analyzer_over(Memory())
    first = analyzer.update_user_behavior_patterns([interaction(7, 1)])
    assert analyzer.update_user_behavior_patterns([interaction(7, 1)]) == first
    assert replace(first).total == 1


def test_users_at_risk_come_with_the_outreach_that_their_silence_calls_for() -> None:
    """The guide's `find_users_needing_engagement`: who, how likely, since when, and what we would do."""
    regular = fold(EMPTY, [interaction(7, 1_440 * day) for day in range(5)])
    newest = last_seen(regular)
    assert newest is not None

    class OneScore(NoScores):
        def needing_engagement(self, limit: int) -> list[DuePattern]:
            one = DuePattern(
                bot_id=1,
                user_id=7,
                state=encode(regular),
                version=1,
                due_at=None,
                scores=ChurnScores(0.95, 0.9, 0.7),
                scored_at=newest,
            )
            return [one, replace(one, user_id=8, scores=None)][:limit]

    analyzer = EngagementAnalyzer(Memory(), OneScore(), NoProfiles())
    thresholds = Thresholds(re_engagement=0.8, checkin=0.6)
    (found,) = analyzer.find_users_needing_engagement(newest + timedelta(days=5), thresholds)
    assert (found.user_id, found.churn_risk, found.last_seen_at) == (7, 0.9, newest)
    assert found.needs is OutreachType.RE_ENGAGEMENT
    (too_early,) = analyzer.find_users_needing_engagement(newest + timedelta(days=1), thresholds)
    assert too_early.needs is None
