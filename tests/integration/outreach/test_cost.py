"""What one outreach costs in the table, counted from DynamoDB's own answers."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.store.table import connection


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


def test_an_outreach_costs_eleven_write_units_from_plan_to_record(bot: Any, meter: Meter) -> None:
    """Two of them are the index's for each of plan, claim and record: its rows come, move on and go."""
    bot.user(7)
    bot.seen(7, bot.now)
    meter.writes.clear()

    bot.plan(7, planned_at=bot.now)
    assert meter.writes == [("PutItem", 2.0)]
    meter.writes.clear()
    meter.reads.clear()

    bot.run()
    lease, claim, commit, record, release = meter.writes
    assert claim == ("UpdateItem", 3.0)
    assert commit == ("TransactWriteItems", 4.0)
    assert record == ("UpdateItem", 2.0)
    # Once a run, however many messages it delivers.
    assert lease == release == ("UpdateItem", 1.0)
    # Per message: profile, pattern and pause; per run: the pause once more, and 16 partitions of the index.
    assert meter.reads == {"GetItem": 4, "Query": 16}
    assert meter.read_units == 3 + 1 + 8


def test_an_outreach_that_is_not_sent_costs_less(bot: Any, meter: Meter) -> None:
    bot.user(7, opted_out=True)
    bot.plan(7)
    meter.writes.clear()
    bot.run()
    assert [units for _, units in meter.writes[1:-1]] == [3.0, 2.0]


def test_a_put_back_costs_one_transaction_and_the_index(bot: Any, meter: Meter) -> None:
    bot.user(7)
    bot.plan(7)
    meter.writes.clear()
    bot.telegram.script = [Delivery(DeliveryOutcome.NOT_SENT)]
    bot.run()
    _, claim, commit, put_back, _ = (units for _, units in meter.writes)
    assert (claim, commit, put_back) == (3.0, 4.0, 4.0 + 2.0)


def test_items_stay_below_one_write_unit(bot: Any) -> None:
    """The figures above hold for items of up to 1 KB; ours stay well below with the longest names and texts."""
    bot.user(2**52, first_name="\U0001f9d1" * 64, zone="America/Argentina/ComodRivadavia", cap_day="2026-11-22")
    key = bot.plan(2**52, "a_campaign_with_quite_a_long_name_of_the_operators_own", trigger="churn_14d" * 4)
    bot.run()
    for name in ("PROFILE", f"OUT#{key.campaign}#{key.period}"):
        item = connection().client.get_item(
            TableName="rekindle", Key={"pk": {"S": f"USER#123456#{2**52}"}, "sk": {"S": name}}
        )["Item"]
        size = sum(len(attribute) + len(str(next(iter(value.values()))).encode()) for attribute, value in item.items())
        assert size < 1_000, name
