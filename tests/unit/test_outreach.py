"""The run's own rules, with stores that keep everything in memory."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from engagement.domain.callbacks import Signer
from engagement.domain.outreach import MOVES, OutreachKey, OutreachState
from engagement.domain.planning import Thresholds
from engagement.domain.templates import Texts
from engagement.domain.tick import Tick
from engagement.errors import StoreUnavailableError
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.sending import ADVICE, DeliveryReport, StopReason
from engagement.services.transport import Transport
from tests.builders import NOW, policy

POLICY = policy()


class Ledger:
    """Where nothing is due, and the index is read."""

    partitions = 16

    def __init__(self) -> None:
        self.asked: list[int] = []

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        self.asked.append(partition)
        return []


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class Lease:
    """The lease, taken or free; notes when it is given back."""

    def __init__(self, free: bool = True) -> None:
        self.free, self.released = free, 0

    def acquire(self, *_: object, **__: object) -> bool:
        return self.free

    def release(self, *_: object, **__: object) -> None:
        self.released += 1


class NoPause:
    def until(self, bot_id: int) -> datetime | None:
        return None


def transport(**changes: Any) -> Transport:
    values: dict[str, Any] = {
        "bot_id": 1,
        "policy": POLICY,
        "profiles": None,
        "patterns": None,
        "pauses": NoPause(),
        "leases": Lease(),
        "budgets": None,
        "texts": Texts,
        "thresholds": Thresholds(re_engagement=0.8, checkin=0.6),
        "connect": lambda: None,
        "sends_per_second": 25,
        "lease_seconds": 300,
        "signer": Signer(1, lambda: "key"),
    }
    return Transport(**values | changes)


def deliver(ledger: Any, tick: Tick, **changes: Any) -> DeliveryReport:
    return ProactiveOutreachService(ledger).deliver_due(tick, lambda: 270.0, transport(**changes))


def test_the_shards_of_a_tick_together_read_every_partition_once(ledger: Ledger) -> None:
    for shard in range(3):
        deliver(ledger, Tick(NOW, shard, 3))
    assert sorted(ledger.asked) == list(range(16))


def test_the_kill_switch_does_not_even_open_a_connection(ledger: Ledger) -> None:
    def connect() -> None:
        raise AssertionError("no token is needed to send nothing")

    report = deliver(ledger, Tick(NOW, 0, 1), policy=replace(POLICY, enabled=False), connect=connect)
    assert report.stopped is StopReason.OFF
    assert ledger.asked == []


def test_the_lease_is_given_back_when_the_run_fails(ledger: Ledger) -> None:
    lease = Lease()

    class Broken(Ledger):
        def due(self, *_: object) -> list[OutreachKey]:
            raise StoreUnavailableError("DynamoDB: ThrottlingException")

    with pytest.raises(StoreUnavailableError):
        deliver(Broken(), Tick(NOW, 0, 1), leases=lease)
    assert lease.released == 1


def test_a_run_that_cannot_have_the_lease_leaves_it_alone(ledger: Ledger) -> None:
    lease = Lease(free=False)
    assert deliver(ledger, Tick(NOW, 0, 1), leases=lease).stopped is StopReason.LEASE_HELD
    assert (lease.released, ledger.asked) == (0, [])


def test_a_failure_in_one_worker_comes_out_of_the_run(ledger: Ledger) -> None:
    """What DynamoDB could not do is the handler's to decide about, also from another thread."""

    class OneDue(Ledger):
        def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
            return [OutreachKey(1, user, "silence", "2026-W47") for user in range(9)] if partition == 0 else []

        def claim(self, *_: object, **__: object) -> None:
            raise StoreUnavailableError("DynamoDB: ThrottlingException")

    with pytest.raises(StoreUnavailableError):
        deliver(OneDue(), Tick(NOW, 0, 1))


def test_every_reason_that_needs_the_operator_says_what_to_do() -> None:
    assert DeliveryReport().advice is None
    for reason, advice in ADVICE.items():
        assert DeliveryReport(stopped=reason).advice == advice
    assert DeliveryReport(stopped=StopReason.PAUSED).advice is None


def test_nothing_leaves_a_final_state() -> None:
    """R44, R45: above all not `unknown`."""
    final = {state for state, targets in MOVES.items() if not targets}
    assert {OutreachState.UNKNOWN, OutreachState.FAILED, OutreachState.EXPIRED} <= final
    assert OutreachState.SCHEDULED not in MOVES[OutreachState.UNKNOWN]
