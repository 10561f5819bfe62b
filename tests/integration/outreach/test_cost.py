"""What one outreach costs in the table, counted from DynamoDB's own answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.interaction import Control, Exposure
from engagement.domain.outreach import Arm, OutreachType
from engagement.domain.preferences import Dismissal
from engagement.domain.profile import Awaiting
from engagement.store.interactions import Interactions
from engagement.store.table import connection
from tests.builders import interaction


class Meter:
    """Capacity units by operation; reads by the documented rule, since the local AWS does not round them up."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, float]] = []
        self.reads: Counter[str] = Counter()

    def ask(self, params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def read(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in {"GetItem", "Query"}:
            self.reads[model.name] += 1
            return
        consumed = parsed["ConsumedCapacity"]
        entries = consumed if isinstance(consumed, list) else [consumed]
        self.writes.append((model.name, sum(entry["CapacityUnits"] for entry in entries)))

    @property
    def read_units(self) -> float:
        """One for a consistent read of up to 4 KB, half for an eventual one, as every query of the index is."""
        return self.reads["GetItem"] + self.reads["Query"] / 2


@pytest.fixture
def meter(bot: Any) -> Iterator[Meter]:
    events, meter = connection().client.meta.events, Meter()
    events.register("provide-client-params.dynamodb", meter.ask)
    events.register("after-call.dynamodb", meter.read)
    yield meter
    events.unregister("provide-client-params.dynamodb", meter.ask)
    events.unregister("after-call.dynamodb", meter.read)


FIRST = {"experiment": "first", "program_probability": 0.9, "treated_probability": 0.9}


def units(meter: Meter) -> list[float]:
    """Return the units of each write since this was asked last."""
    written = [units for _, units in meter.writes]
    meter.writes.clear()
    return written


def test_a_sent_outreach_costs_thirty_one_write_units_from_plan_to_settlement(bot: Any, meter: Meter) -> None:
    """A part of a transaction costs two units, a row of the index one to come and one to go.

    Of the 31 ten are the index's, twelve the counters' and the experiment's: what is exact cannot be added up later.
    """
    bot.user(7)
    bot.seen(7, bot.now)
    units(meter)

    # The outreach, its counter; a row of the index comes.
    key = bot.plan(7, planned_at=bot.now, **FIRST)
    assert units(meter) == [2 + 1 + 2]
    meter.reads.clear()

    bot.run()
    lease, claim, commit, record, release = units(meter)
    # Its row of the index moves on.
    assert claim == 1 + 2
    # The outreach, the profile.
    assert commit == 2 + 2
    # The outreach, its counter; its row of the index moves to those that are to be settled.
    assert record == 2 + 2 + 2
    # Once a run, however many messages it delivers.
    assert lease == release == 1
    # Per message: profile, pattern and pause; per run: the pause once more, and 16 partitions of the index.
    assert meter.reads == {"GetItem": 4, "Query": 16}
    assert meter.read_units == 3 + 1 + 8

    # The outreach, its counter.
    meter.reads.clear()
    (awaiting,) = bot.profile(7).awaiting
    assert bot.outreaches.answer(bot.bot_id, 7, awaiting, bot.now + timedelta(hours=1))
    assert units(meter) == [2 + 2]

    # The outreach, the profile, two sums of the experiment; its row of the index goes.
    meter.reads.clear()
    assert bot.settle(timedelta(days=8))["settled"] == 1
    assert units(meter) == [2 + 2 + 4 + 1]
    assert meter.reads == {"GetItem": 3, "Query": 16}
    assert 5 + 3 + 4 + 6 + 4 + 9 == 31
    assert bot.stored(key).settled_at is not None


def test_one_that_is_held_out_costs_twenty_six(bot: Any, meter: Meter) -> None:
    """Commit and record are one transaction; nobody answers it, so that a return is one unit."""
    bot.user(7)
    units(meter)
    bot.plan(7, planned_at=bot.now, arm=Arm.HELD_OUT, in_control=True, **FIRST)
    assert units(meter) == [5]
    bot.run()
    _, claim, hold_out, _ = units(meter)
    assert claim == 3
    # The outreach, the profile, the counter; its row of the index moves.
    assert hold_out == 2 + 2 + 2 + 2
    (awaiting,) = bot.profile(7).awaiting
    assert bot.outreaches.answer(bot.bot_id, 7, awaiting, bot.now + timedelta(hours=1))
    assert units(meter) == [1]
    assert bot.settle(timedelta(days=8))["settled"] == 1
    assert units(meter) == [9]
    assert 5 + 3 + 8 + 1 + 9 == 26


def test_a_later_exposure_settles_for_less(bot: Any, meter: Meter) -> None:
    """Nobody counts twice in an experiment: no sums move."""
    bot.user(7, met={"first:all", "first:re_engagement"})
    bot.plan(7, **FIRST)
    bot.run()
    units(meter)
    assert bot.settle(timedelta(days=8))["settled"] == 1
    assert units(meter) == [2 + 2 + 1]


def test_an_outreach_that_is_not_sent_costs_less(bot: Any, meter: Meter) -> None:
    bot.user(7, opted_out=True)
    bot.plan(7)
    units(meter)
    bot.run()
    assert units(meter)[1:-1] == [3, 2 + 2 + 1]


def test_a_budget_costs_two_units_a_message(bot: Any, meter: Meter) -> None:
    bot.policy = replace(bot.policy, budget=100)
    bot.user(7)
    bot.plan(7)
    units(meter)
    bot.run()
    _, claim, commit, record, _ = units(meter)
    assert (claim, commit, record) == (3, 4 + 2, 6)


def test_a_put_back_costs_one_transaction_and_the_index(bot: Any, meter: Meter) -> None:
    bot.user(7)
    bot.plan(7)
    units(meter)
    bot.telegram.script = [Delivery(DeliveryOutcome.NOT_SENT)]
    bot.run()
    _, claim, commit, put_back, _ = units(meter)
    assert (claim, commit, put_back) == (3, 4, 4 + 2)


def test_a_press_of_not_now_costs_six_write_units(bot: Any, meter: Meter) -> None:
    """R91, R92: its interaction and its fact in the webhook, then the outreach and the day's counters in the stream.

    A press of "stop" costs one more: the answer is kept (R97).
    """
    bot.user(7)
    key = bot.plan(7)
    bot.run()
    exposed_at = bot.stored(key).exposed_at
    about = Exposure(OutreachType.RE_ENGAGEMENT, exposed_at)
    pressed_at = exposed_at + timedelta(minutes=1)
    units(meter)

    Interactions(365).add(interaction(1, pressed_at, bot_id=bot.bot_id, control=Control.NOT_NOW, about=about))
    bot.profiles.prefer(bot.bot_id, 7, Dismissal(about, pressed_at), pressed_at)
    assert units(meter) == [1, 1]
    assert bot.outreaches.press(bot.bot_id, 7, about, Control.NOT_NOW, pressed_at)
    assert units(meter) == [2 + 2]


def test_items_stay_below_one_write_unit(bot: Any) -> None:
    """The figures above hold for items of up to 1 KB.

    Ours stay below with long names and texts, and with what a user who gets a message a day of every type is awaited
    for and has met.
    """
    met = {f"autumn-2026:{group}" for group in ("all", *OutreachType)}
    awaiting = {str(Awaiting(bot.now, kind, "2026-11-03-1")) for kind in OutreachType}
    bot.user(
        2**52,
        first_name="Maximiliane-Alexandra",
        language_code="pt-br",
        zone="America/Argentina/ComodRivadavia",
        cap_day="2026-11-21",
        met=met,
        awaiting=awaiting,
    )
    key = bot.plan(
        2**52,
        "a_campaign_with_quite_a_long_name_of_the_operators_own",
        trigger="churn_14d" * 4,
        experiment="autumn-2026",
        measured_by_type=True,
        values={"topic": "artificial intelligence"},
        context=bytes(64),
    )
    bot.run()
    bot.settle(timedelta(days=8))
    for name in ("PROFILE", f"OUT#{key.campaign}#{key.period}"):
        item = connection().client.get_item(
            TableName="rekindle", Key={"pk": {"S": f"USER#123456#{2**52}"}, "sk": {"S": name}}
        )["Item"]
        assert sum(len(attribute) + bytes_of(value) for attribute, value in item.items()) < 1_024, name


def bytes_of(value: dict[str, Any]) -> int:
    """Return what a value counts as, by DynamoDB's rules."""
    ((kind, content),) = value.items()
    match kind:
        case "SS":
            return 3 + sum(len(text.encode()) + 1 for text in content)
        case "B":
            return len(content)
        case "BOOL":
            return 1
        case "N":
            return len(content) // 2 + 2
        case _:
            return len(content.encode())
