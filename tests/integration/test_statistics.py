"""The counters in a real table: part of a transaction, or not moved at all."""

from collections import Counter
from datetime import date

import pytest
from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from engagement.store import keys
from engagement.store.statistics import Statistics, count_in, of_moves
from engagement.store.table import Item, ProfileItem, connection, keyed

DAY = date(2026, 11, 21)
MOVES = {(DAY, "sent:re_engagement"): 1, (DAY, "sent@re_engagement.a.b"): 2, (None, "band:3"): -1}
BOT = 123456


def count(user_id: int, *, fails: bool = False) -> None:
    with TransactWrite(connection=connection()) as transaction:
        if fails:
            transaction.condition_check(ProfileItem, "USER#1#1", keys.PROFILE, condition=ProfileItem.pk.exists())
        count_in(transaction, BOT, user_id, of_moves(MOVES))


def test_counters_add_up_over_all_shares(table: str) -> None:
    users = range(40)
    for user_id in users:
        count(user_id)

    assert Statistics().of_days(BOT, DAY, DAY) == {
        DAY: Counter({"sent:re_engagement": len(users), "sent@re_engagement.a.b": 2 * len(users)})
    }
    assert Statistics().gauges(BOT) == Counter({"band:3": -len(users)})
    partitions = {item.pk for item in Item.scan()}
    assert len(partitions) > 10  # no partition takes them all


def test_counters_stay_where_the_transaction_fails(table: str) -> None:
    count(7)
    with pytest.raises(TransactWriteError):
        count(7, fails=True)

    assert Statistics().gauges(BOT) == Counter({"band:3": -1})


def test_days_outside_the_question_and_other_bots_are_left_out(table: str) -> None:
    count(7)

    assert not Statistics().of_days(BOT, date(2026, 11, 22), date(2026, 12, 31))
    assert not Statistics().of_days(BOT + 1, DAY, DAY)
    assert not Statistics().gauges(BOT + 1)


def test_a_days_counters_are_kept_for_two_years_and_gauges_for_good(table: str) -> None:
    count(7)
    expiry = {item.sk: item.expires_on for item in Item.scan()}

    assert expiry[keys.GAUGES] is None
    assert expiry[keys.day_counters(DAY)].date() == date(2029, 1, 29)


def test_an_experiments_sums_are_read_by_group(table: str) -> None:
    for user_id in range(5):
        with TransactWrite(connection=connection()) as transaction:
            sums = {keys.lift("first", "all"): {"treated:n": 1}, keys.lift("first", "re_engagement"): {"held_out:n": 2}}
            count_in(transaction, BOT, user_id, sums)

    assert Statistics().lift(BOT, "first") == {
        "all": Counter({"treated:n": 5}),
        "re_engagement": Counter({"held_out:n": 10}),
    }
    assert not Statistics().lift(BOT, "second")


def test_who_is_due_together_counts_apart() -> None:
    """A pass scores one partition of the index at a time: its writers must not all meet at one item."""
    together = [pk for pk in (keys.user(BOT, user_id) for user_id in range(4_000)) if keys.due_partition(pk) == 3]
    shares = Counter(keys.statistics_share(pk) for pk in together)

    assert len(shares) == keys.DUE_PARTITIONS
    assert max(shares.values()) < 2 * len(together) / keys.DUE_PARTITIONS


def test_an_unused_key_is_not_made(table: str) -> None:
    with TransactWrite(connection=connection()) as transaction:
        transaction.update(keyed(ProfileItem, "USER#1#1", keys.PROFILE), actions=[ProfileItem.cap_count.set(1)])
        count_in(transaction, BOT, 7, {})

    assert [item["pk"]["S"] for item in connection().scan(table)["Items"]] == ["USER#1#1"]
