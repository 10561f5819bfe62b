"""Counters move with what they count: after any history of moves they are what the items say."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from pynamodb.transactions import TransactWrite

from engagement.domain import gate
from engagement.domain.interaction import Exposure
from engagement.domain.outcomes import expose
from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.statistics import PRESSES
from engagement.domain.templates import VARIANTS
from engagement.store.outreaches import plan_in
from engagement.store.table import connection

S = OutreachState
ME = "me"
USERS = range(1, 7)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def moves(bot: Any, chooser: random.Random, one: Outreach) -> dict[str, Callable[[], object]]:
    """Return whatever may be tried with an outreach as it was read, allowed or not."""
    ledger, at = bot.outreaches, bot.now + chooser.randrange(1, 60) * HOUR
    profile = bot.profile(one.user_id)
    charge = gate.charge(profile, bot.policy, bot.now)
    exposed = one if one.exposed_at else expose(one, profile, bot.now)
    counted = {"owner": ME, "charge": charge, "policy": bot.policy, "now": bot.now}

    def press() -> None:
        for other in ledger.of_user(bot.bot_id, one.user_id):
            about = Exposure(other.outreach_type, other.exposed_at or bot.now)
            ledger.press(bot.bot_id, one.user_id, about, chooser.choice(list(PRESSES)), at)

    def answer() -> None:
        for awaiting in profile.awaiting:
            ledger.answer(bot.bot_id, one.user_id, awaiting, at)

    return {
        "plan": lambda: ledger.plan(one),
        "claim": lambda: ledger.claim(one.key, owner=ME, now=bot.now, lease_until=bot.now + HOUR),
        "commit": lambda: ledger.commit(exposed, **counted),
        "hold_out": lambda: ledger.hold_out(exposed, **counted),
        "record_sent": lambda: ledger.record_sent(exposed, owner=ME, message_id=1, at=bot.now),
        "record_unknown": lambda: ledger.record_unknown(exposed, owner=ME, reason="unknown"),
        "record_failed": lambda: ledger.record_failed(exposed, owner=ME, reason="rejected"),
        "put_back": lambda: ledger.put_back(
            exposed, owner=ME, due_at=bot.now, charge=charge, policy=bot.policy, attempted=True
        ),
        "suppress": lambda: ledger.suppress(one, owner=ME, reason="consent"),
        "cancel": lambda: ledger.cancel(one, owner=ME, reason="not_needed_any_more"),
        "expire": lambda: ledger.expire(one, owner=ME, reason="expired"),
        "fail": lambda: ledger.fail(one, owner=ME, reason="no_template"),
        "sweep": lambda: ledger.sweep(one.key, at),
        "answer": answer,
        "press": press,
        "settle": lambda: bot.settle(9 * DAY),
    }


LIKELY = {"claim": 6, "commit": 5, "hold_out": 2, "record_sent": 5, "answer": 3, "press": 3}


@pytest.mark.parametrize("seed", range(8))
def test_after_any_history_of_moves_the_counters_are_what_the_items_say(bot: Any, seed: int) -> None:
    """Of several types, texts and days of planning; moves that are refused count nothing."""
    chooser = random.Random(seed)
    bot.policy = replace(bot.policy, max_per_day=99, min_gap=timedelta(), budget=99)
    planned = []
    for user in USERS:
        bot.user(user)
        for number in range(4):
            kind = chooser.choice(list(OutreachType))
            planned.append(
                bot.plan(
                    user,
                    f"c{number}",
                    outreach_type=kind,
                    template=chooser.choice(VARIANTS[kind]).name,
                    planned_at=bot.now + chooser.randrange(-2, 1) * DAY,
                    experiment="a",
                )
            )
    tried: Counter[str] = Counter()
    for _ in range(360):
        possible = moves(bot, chooser, bot.stored(chooser.choice(planned)))
        (name,) = chooser.choices(list(possible), [LIKELY.get(name, 1) for name in possible])
        possible[name]()
        tried[name] += 1
    assert bot.counted() == bot.recounted(USERS)
    assert len(tried) == 16
    states = {bot.state(key) for key in planned}
    counted = {name.partition(":")[0] for _, name in bot.counted()}
    assert set(PRESSES.values()) <= counted
    assert {S.HELD_OUT} & states
    assert {S.SENT, S.RESPONDED} & states
    exposed = [o for user in USERS for o in bot.outreaches.of_user(bot.bot_id, user) if o.exposed_at]
    spent = bot.budgets.spent(bot.bot_id, "messages", bot.now.date())
    assert spent == sum(o.state is not S.HELD_OUT for o in exposed)


def test_many_who_plan_and_record_at_once_lose_no_count(bot: Any) -> None:
    """Eight threads and one item of counters: they get in each other's way and none is forgotten."""
    users = range(100, 140)
    for user in users:
        bot.user(user)
    gun = threading.Barrier(8)

    def work(own: list[int]) -> None:
        gun.wait()
        for user in own:
            bot.outreaches.plan(bot.outreach(user))
        bot.outreaches.plan(bot.outreach(own[0]))

    threads = [threading.Thread(target=work, args=(list(users[first::8]),)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bot.counted() == bot.recounted(users)
    assert sum(bot.counted().values()) == len(users)


def test_a_plan_within_a_transaction_counts_with_whatever_else_it_counts(bot: Any) -> None:
    """A transaction may touch an item once: what an award counts on the same day goes into the same update."""
    outreach = bot.outreach(1)
    day = outreach.planned_at.date()
    with TransactWrite(connection=connection()) as transaction:
        plan_in(transaction, outreach, {(day, "award:first_steps"): 1, (date(2026, 11, 21), "award:other"): 2})
    assert bot.stored(outreach.key) == outreach
    assert bot.counted() == {
        (day, "award:first_steps"): 1,
        (day, "planned:re_engagement"): 1,
        (date(2026, 11, 21), "award:other"): 2,
    }
