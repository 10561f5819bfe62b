"""The due patterns and their scores, in a real table."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.due import DuePattern, Scored
from engagement.domain.outcome import Watched
from engagement.domain.pattern import EMPTY
from engagement.domain.pattern_bytes import encode
from engagement.domain.scores import ChurnScores
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.outreaches import Outreaches
from engagement.store.scores import BATCH_GET_ATTEMPTS, Scores
from engagement.store.statistics import Statistics
from engagement.store.table import Item, PatternItem, connection

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOT = 123456
SCORES = ChurnScores(0.9, 0.8, 0.7)
SCORED = Scored(churn=SCORES, by="rules", mood=0.1, watched=None)
TOMORROW = NOW + timedelta(days=1)


def put(user_id: int, due_at: datetime | None = NOW, shard: int = 0, **attributes: Any) -> None:
    """Store a pattern that is due in a shard of the test's choice."""
    due: dict[str, Any] = {"due_shard": keys.score_shard(shard), "due_at": due_at} if due_at else {}
    PatternItem(keys.user(BOT, user_id), keys.PATTERN, state=encode(EMPTY), version=1, **due, **attributes).save()


def scored(**changes: Any) -> Scored:
    """What a run writes, apart from the changes."""
    return replace(SCORED, **changes)


def stored(user_id: int) -> PatternItem:
    item: PatternItem = PatternItem.get(keys.user(BOT, user_id), keys.PATTERN, consistent_read=True)
    return item


def one(user_id: int) -> DuePattern:
    (found,) = Scores().load([(BOT, user_id)])
    return found


@pytest.fixture
def requests(table: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What is asked of DynamoDB: (operation, parameters)."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked.append((model.name, params))

    events = connection().client.meta.events
    events.register("provide-client-params.dynamodb", note)
    yield asked
    events.unregister("provide-client-params.dynamodb", note)


def test_only_what_is_due_is_found_longest_due_first(table: str) -> None:
    put(1, NOW - timedelta(hours=1))
    put(2, NOW - timedelta(hours=2))
    put(3, NOW)
    put(4, NOW + timedelta(seconds=1))
    put(5, None)
    put(6, NOW, shard=1)

    assert list(Scores().due(0, NOW)) == [(BOT, 2), (BOT, 1), (BOT, 3)]


def test_paging_goes_on_over_what_was_scored_meanwhile(table: str, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """R36: three pages, each row met once although all of them move on in the index while it is read."""
    for user_id in range(6):
        put(user_id, NOW - timedelta(minutes=user_id))
    found = []

    due = Scores().due(0, NOW, page=2)
    while page := list(islice(due, 2)):
        found += page
        for seen in Scores().load(page):
            assert Scores().record(seen, scored(by="rules"), now=NOW, next_due_at=TOMORROW)

    assert found == [(BOT, user_id) for user_id in (5, 4, 3, 2, 1, 0)]
    pages = [params for operation, params in requests if operation == "Query"]
    assert [len(pages), len([page for page in pages if "ExclusiveStartKey" in page])] == [4, 3]
    assert list(Scores().due(0, NOW)) == []


def test_the_index_of_keys_is_asked_for_keys_alone(table: str, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """A filter on an attribute that the index does not hold would let nothing through on AWS, and hides it locally."""
    put(1)

    assert list(due_rows("SCORE#00", NOW, page=10)) == [(keys.user(BOT, 1), keys.PATTERN)]
    assert list(Scores().due(0, NOW)) == [(BOT, 1)]
    assert Outreaches().due(0, NOW, limit=10) == []
    queries = [params for operation, params in requests if operation == "Query"]
    assert len(queries) == 3
    assert not any("FilterExpression" in query for query in queries)


def test_patterns_are_loaded_consistently_and_in_batches_of_a_hundred(
    table: str, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    """R36: what the index said is read again, from the table itself; who has no pattern is left out."""
    for user_id in range(120):
        put(user_id)
    del requests[:]

    found = list(Scores().load([(BOT, user_id) for user_id in range(130)]))

    assert sorted(pattern.user_id for pattern in found) == list(range(120))
    assert {pattern.due_at for pattern in found} == {NOW}
    asked = [params["RequestItems"][Item.Meta.table_name] for operation, params in requests]
    assert [len(request["Keys"]) for request in asked] == [100, 30]
    assert all(request["ConsistentRead"] for request in asked)


def test_a_key_asked_for_twice_is_read_once(table: str) -> None:
    """A row that moves in the index while it is read may be met twice; DynamoDB refuses a batch that repeats a key."""
    put(1)

    assert len(list(Scores().load([(BOT, 1), (BOT, 1)]))) == 1


class Reluctant:
    """A table that puts off all but the first key of each batch, `times` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.batches: list[int] = []
        real = connection().batch_get_item

        def batch_get_item(table_name: str, wanted: list[Any], **options: Any) -> dict[str, Any]:
            self.batches.append(len(wanted))
            if len(self.batches) > times:
                answer: dict[str, Any] = real(table_name, wanted, **options)
                return answer
            answer = real(table_name, wanted[:1], **options)
            raw = [
                {name: {"S": value} if isinstance(value, str) else value for name, value in key.items()}
                for key in wanted[1:]
            ]
            return answer | {"UnprocessedKeys": {table_name: {"Keys": raw, "ConsistentRead": True}}}

        monkeypatch.setattr(connection(), "batch_get_item", batch_get_item)
        monkeypatch.setattr("engagement.store.table.time.sleep", lambda seconds: None)


def test_keys_that_dynamodb_puts_off_are_asked_for_again(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for user_id in range(5):
        put(user_id)
    reluctant = Reluctant(monkeypatch, times=2)

    found = list(Scores().load([(BOT, user_id) for user_id in range(5)]))

    assert sorted(pattern.user_id for pattern in found) == [0, 1, 2, 3, 4]
    assert reluctant.batches == [5, 4, 3]


def test_keys_put_off_again_and_again_end_the_run_and_stay_due(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for user_id in range(20):
        put(user_id)
    reluctant = Reluctant(monkeypatch, times=100)

    with pytest.raises(StoreUnavailableError):
        list(Scores().load([(BOT, user_id) for user_id in range(20)]))
    assert len(reluctant.batches) == BATCH_GET_ATTEMPTS
    assert len(list(Scores().due(0, NOW))) == 20


def test_a_score_is_written_beside_the_pattern_and_the_due_time_moves_on(table: str) -> None:
    put(1)
    before = stored(1)

    assert Scores().record(one(1), scored(by="1-abc", mood=-0.25), now=NOW, next_due_at=TOMORROW)

    after = stored(1)
    assert (after.churn_7d, after.churn_14d, after.churn_30d) == (0.9, 0.8, 0.7)
    assert (after.scored_at, after.scored_by, after.due_at, after.mood) == (NOW, "1-abc", TOMORROW, -0.25)
    assert (after.state, after.version, after.due_shard) == (before.state, before.version, before.due_shard)
    assert one(1).scores == SCORES
    assert one(1).scored_at == NOW


def test_the_watched_score_is_kept_replaced_and_forgotten_with_the_scores(table: str) -> None:
    """R87: in the same write, so that it costs nothing and is taken exactly once."""
    put(1)
    first, second = (Watched(at=NOW + day * timedelta(days=7), churn_7d=0.25, by=f"{day}-abc") for day in range(2))

    for watched in (None, first, first, second, None):
        before = one(1)
        assert before.due_at
        assert Scores().record(before, scored(watched=watched), now=NOW, next_due_at=before.due_at + timedelta(days=1))
        assert one(1).watched == watched

    assert (stored(1).watched_at, stored(1).watched_churn_7d, stored(1).watched_by) == (None, None, None)


def test_of_eight_overlapping_runs_one_scores_the_user(table: str) -> None:
    """R31: all of them saw the same due time; the write that moves it on happens once."""
    put(1)
    seen = one(1)
    start = Barrier(8)
    answers: list[bool] = []

    def run(number: int) -> None:
        start.wait()
        answers.append(Scores().record(seen, scored(by=str(number)), now=NOW, next_due_at=TOMORROW + timedelta(number)))

    threads = [Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [False] * 7 + [True]


def test_an_erased_user_is_not_brought_back_by_a_score(table: str) -> None:
    """R27: an update creates what is missing, unless it says that the item must be there."""
    put(1)
    seen = one(1)
    stored(1).delete()

    assert not Scores().record(seen, scored(by="rules"), now=NOW, next_due_at=TOMORROW)
    assert not Scores().record(seen, scored(by="rules"), now=NOW, next_due_at=None)
    assert not Scores().postpone(seen, TOMORROW)
    assert Item.count() == 0


def test_a_user_silent_for_a_year_leaves_the_index(table: str) -> None:
    put(1)

    assert Scores().record(one(1), scored(by="rules"), now=NOW, next_due_at=None)

    after = stored(1)
    assert (after.due_shard, after.due_at, after.churn_14d) == (None, None, 0.8)
    assert list(Scores().due(0, NOW + timedelta(days=1_000))) == []


def test_a_user_who_returns_while_being_forgotten_stays_in_the_index(table: str) -> None:
    """Given an interaction folded after we read the pattern, it found the due time there and left it alone."""
    put(1)
    seen = one(1)
    stored(1).update(actions=[PatternItem.version.set(2)])

    assert not Scores().record(seen, scored(by="rules"), now=NOW, next_due_at=None)
    assert list(Scores().due(0, NOW)) == [(BOT, 1)]


def test_a_new_interaction_does_not_get_in_the_way_of_a_score(table: str) -> None:
    put(1)
    seen = one(1)
    stored(1).update(actions=[PatternItem.version.set(2)])

    assert Scores().record(seen, scored(by="rules"), now=NOW, next_due_at=TOMORROW)


def test_a_pattern_is_postponed_only_as_it_was_seen(table: str) -> None:
    put(1)
    seen = one(1)

    assert Scores().postpone(seen, TOMORROW)
    assert not Scores().postpone(seen, TOMORROW + timedelta(days=1))
    assert stored(1).due_at == TOMORROW
    assert one(1).scores is None


def test_nan_and_the_infinities_never_reach_the_table(table: str) -> None:
    """R18: whichever of the three scores it is, or the mood."""
    put(1)
    seen = one(1)

    @given(st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 3), st.floats(0, 1))
    @settings(max_examples=30, deadline=None)
    def refused(bad: float, where: int, good: float) -> None:
        values = [good, good, good, good]
        values[where] = bad
        with pytest.raises(ValueError, match="not a finite number"):
            Scores().record(seen, scored(churn=ChurnScores(*values[:3]), mood=values[3]), now=NOW, next_due_at=TOMORROW)

    refused()
    assert stored(1).scored_at is None


def test_the_users_most_likely_to_leave_are_named_first(table: str) -> None:
    for user_id, churn in enumerate((0.2, 0.9, None, 0.5, 0.7)):
        scores = {} if churn is None else {"churn_7d": 1.0, "churn_14d": churn, "churn_30d": 0.1}
        put(user_id, TOMORROW, shard=user_id, **scores)

    found = Scores().needing_engagement(3)

    assert [(user.user_id, user.scores.churn_14d) for user in found if user.scores] == [(1, 0.9), (4, 0.7), (3, 0.5)]
    assert Scores().needing_engagement(0) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda seen: list(Scores().due(0, NOW)),
        lambda seen: list(Scores().load([(BOT, 1)])),
        lambda seen: Scores().record(seen, scored(by="x"), now=NOW, next_due_at=TOMORROW),
        lambda seen: Scores().needing_engagement(1),
    ],
)
def test_trouble_with_the_table_is_told_apart_from_an_answer(table: str, call: Callable[[DuePattern], object]) -> None:
    put(1)
    seen = one(1)
    Item.delete_table()

    with pytest.raises(StoreUnavailableError):
        call(seen)


# --- what is counted beside the scores ---


def bands() -> Counter[str]:
    return +Statistics().gauges(BOT)


def with_churn(churn_14d: float) -> Scored:
    return scored(churn=ChurnScores(1.0, churn_14d, 0.0))


def test_users_are_counted_in_the_band_of_their_newest_score(table: str) -> None:
    """Moved with the score, in one transaction, and only when the band is another one."""
    for user_id in range(6):
        put(user_id)
        assert Scores().record(one(user_id), with_churn(0.85), now=NOW, next_due_at=TOMORROW)
    assert bands() == {"band:4": 6}

    for user_id in range(3):
        assert Scores().record(one(user_id), with_churn(0.5), now=TOMORROW, next_due_at=None)
    assert Scores().record(one(3), with_churn(0.95), now=TOMORROW, next_due_at=None)
    assert bands() == {"band:4": 3, "band:2": 3}


def test_runs_at_once_count_a_user_once(table: str) -> None:
    """R31: the counter and the score are written together, so that who loses the race counts nobody."""
    put(1)
    seen, barrier = one(1), Barrier(6)
    answers: list[bool] = []

    def record() -> None:
        barrier.wait()
        answers.append(Scores().record(seen, with_churn(0.7), now=NOW, next_due_at=TOMORROW))

    threads = [Thread(target=record) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers.count(True) == 1
    assert bands() == {"band:3": 1}


def test_neighbours_who_move_the_same_counters_wait_for_each_other(table: str) -> None:
    share = keys.statistics_share(keys.user(BOT, 0))
    neighbours = [n for n in range(200) if keys.statistics_share(keys.user(BOT, n)) == share][:8]
    for user_id in neighbours:
        put(user_id)
    barrier = Barrier(len(neighbours))

    def record(user_id: int) -> None:
        seen = one(user_id)
        barrier.wait()
        assert Scores().record(seen, with_churn(0.1), now=NOW, next_due_at=TOMORROW)

    threads = [Thread(target=record, args=(user_id,)) for user_id in neighbours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bands() == {"band:0": len(neighbours)}


def test_a_score_that_was_asked_for_is_asked_for_once(table: str) -> None:
    put(1, asked_at=NOW)
    seen = one(1)

    assert seen.asked_at == NOW
    assert Scores().record(seen, SCORED, now=NOW, next_due_at=TOMORROW)
    assert one(1).asked_at is None


def test_an_unreadable_pattern_moves_no_counter(table: str) -> None:
    put(1)

    assert Scores().postpone(one(1), TOMORROW)
    assert not bands()
