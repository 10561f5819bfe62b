"""The census items on a real table."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest

from engagement.domain.census import Census, Outcomes, Tally
from engagement.domain.features import VERSION, features
from engagement.domain.outcome import Outcome
from engagement.domain.scores import ChurnScores
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.censuses import KEPT, MOST_VERSIONS, Censuses
from engagement.store.table import CensusItem, Item, connection
from tests.builders import NOW, silent_for

BOT = 123456
DAY = NOW.date()


def census(users: int = 3, versions: int = 1, seed: int = 1) -> Census:
    rng = random.Random(seed)
    tally = Tally()
    for number in range(users):
        pattern = silent_for(rng.uniform(0, 40), active_days=rng.randrange(1, 20))
        outcome = Outcome(churn_7d=rng.random(), by=f"churn-1-{number % versions:08}", stayed_away=rng.random() < 0.5)
        tally.count(pattern, features(pattern, NOW), ChurnScores(*[rng.random()] * 3), outcome, NOW)
    return tally.census()


def items() -> Iterator[CensusItem]:
    return CensusItem.query(keys.bot(BOT))


def of_day(day: date = DAY) -> Census:
    return Censuses().of_days(BOT, day, day)


def test_a_census_reads_back_as_it_was_written(table: str) -> None:
    Censuses().add(BOT, DAY, 0, census())

    assert of_day() == census()
    (item,) = items()
    assert (item.pk, item.sk) == (f"BOT#{BOT}", "CENSUS#2026-11-22#00")
    assert item.expires_on == datetime(2026, 11, 22, tzinfo=NOW.tzinfo) + KEPT


def test_the_runs_of_a_day_and_the_shares_of_the_users_add_up(table: str) -> None:
    parts = [census(seed=seed) for seed in range(4)]
    for part, share in zip(parts, (0, 0, 1, 15), strict=True):
        Censuses().add(BOT, DAY, share, part)

    assert len(list(items())) == 3
    assert of_day() == sum(parts[1:], parts[0])


def test_days_are_summed_by_one_query_and_other_days_and_bots_left_out(table: str) -> None:
    for days_ago in range(5):
        Censuses().add(BOT, DAY - timedelta(days=days_ago), 99, census(seed=days_ago))
    Censuses().add(BOT + 1, DAY, 0, census())
    asked: list[str] = []
    events = connection().client.meta.events
    events.register("provide-client-params.dynamodb", lambda model, **_: asked.append(model.name))

    found = Censuses().of_days(BOT, DAY - timedelta(days=3), DAY - timedelta(days=1))

    assert found == census(seed=1) + census(seed=2) + census(seed=3)
    assert asked == ["Query"]
    assert Censuses().of_days(BOT, DAY + timedelta(days=1), DAY + timedelta(days=9)) == Census()


def test_passes_that_end_at_the_same_time_are_both_counted(table: str) -> None:
    """R31: two runs of one share, whose scores never overlap, write one item again and again."""
    start = Barrier(2)

    def add(seed: int) -> None:
        start.wait()
        for _ in range(5):
            Censuses().add(BOT, DAY, 0, census(seed=seed))

    threads = [Thread(target=add, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert of_day().users == 30
    assert of_day() == sum([census(seed=seed) for seed in (1, 2) for _ in range(5)], Census())


def test_a_write_whose_answer_was_lost_is_counted_once(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats it, and the repetition meets its own success as a rival's."""
    Censuses().add(BOT, DAY, 0, census())
    real, answers = CensusItem.save, []

    def save(self: CensusItem, **options: Any) -> None:
        answers.append(real(self, **options))
        if len(answers) == 1:
            real(self, **options)  # refused: the version has moved on

    monkeypatch.setattr(CensusItem, "save", save)
    Censuses().add(BOT, DAY, 0, census())

    assert of_day() == census() + census()
    assert len(answers) == 1


def test_rivals_without_end_are_trouble(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Censuses, "_merge", lambda *_: False)
    monkeypatch.setattr("engagement.store.table.time.sleep", lambda seconds: None)

    with pytest.raises(StoreUnavailableError):
        Censuses().add(BOT, DAY, 0, census())


def test_the_busiest_day_fits_into_two_kilobytes_and_keeps_the_models_with_most_outcomes(table: str) -> None:
    rare = census(users=1)
    big = Census()
    for seed in range(20):
        big += census(users=200, versions=5, seed=seed)
    big = Census(
        **{
            **{name: getattr(big, name) for name in ("messages", "writers", "sentiment_milli", "scatter_milli")},
            "users": 1_000_000,
            "hours": tuple(10**9 // 7 + 10**6 * hour for hour in range(24)),
            "weekdays": tuple(10**9 // 3 + 10**6 * day for day in range(7)),
            "bands": (123_456,) * 5,
            "feature_bins": tuple(tuple(10**6 // 9 + 31 * cell for cell in bins) for bins in big.feature_bins),
            "outcomes": dict(big.outcomes)
            | {
                f"churn-1-{number:08}": Outcomes(
                    *(tuple(part * 10**3 + number * cell * 77 for cell in range(20)) for part in (1, 500, 2))
                )
                for number in range(1, 4)
            },
        }
    )

    Censuses().add(BOT, DAY, 0, big)
    Censuses().add(BOT, DAY, 0, rare)

    (item,) = items()
    size = sum(len(name) for name in item.attribute_values) + len(item.counts) + len(item.pk) + len(item.sk) + 60
    assert size < 2_048
    assert set(of_day().outcomes) == {f"churn-1-{number:08}" for number in range(1, MOST_VERSIONS + 1)}


def test_counts_of_another_feature_version_are_left_out_and_written_over(table: str) -> None:
    """Their bins are of other features: adding them up would make a distribution of nothing."""
    Censuses().add(BOT, DAY, 0, census())
    (item,) = items()
    item.update(actions=[CensusItem.feature_version.set(VERSION + 1)])

    assert of_day() == Census()
    Censuses().add(BOT, DAY, 0, census(seed=2))
    assert of_day() == census(seed=2)


def test_a_table_in_trouble_is_told_apart_from_an_empty_one(table: str) -> None:
    Item.delete_table()

    with pytest.raises(StoreUnavailableError):
        of_day()
    with pytest.raises(StoreUnavailableError):
        Censuses().add(BOT, DAY, 0, census())
