"""Planning an outreach, and the run's own rules, with stores that keep everything in memory."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from engagement.domain.gate import Decision, Policy, Reason
from engagement.domain.outreach import MOVES, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.profile import Consent, Profile
from engagement.domain.templates import BY_NAME
from engagement.domain.tick import Tick
from engagement.errors import StoreUnavailableError
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.sending import ADVICE, DeliveryReport, StopReason
from engagement.services.transport import Transport
from tests.builders import NOW, always, policy, profile

DAY = timedelta(days=1)
POLICY = policy()
PROFILE = profile()


class Plans:
    """Where outreach is planned, and the index is read."""

    partitions = 16

    def __init__(self) -> None:
        self.planned: dict[OutreachKey, Outreach] = {}
        self.asked: list[int] = []

    def plan(self, outreach: Outreach) -> bool:
        return self.planned.setdefault(outreach.key, outreach) is outreach

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        self.asked.append(partition)
        return []


@pytest.fixture
def plans() -> Plans:
    return Plans()


@pytest.fixture
def schedule(plans: Plans) -> Callable[..., Decision]:
    service = ProactiveOutreachService(plans)  # planning needs nothing else

    def call(profile: Profile = PROFILE, policy: Policy = POLICY, **changes: Any) -> Decision:
        values: dict[str, Any] = {
            "outreach_type": OutreachType.RE_ENGAGEMENT,
            "campaign": "silence",
            "period": "2026-W47",
            "priority": 0.9,
            "trigger": "churn_14d",
            "due_at": NOW + timedelta(hours=7),
            "expires_at": NOW + 2 * DAY,
            "is_open": always,
        }
        return service.schedule_proactive_outreach(profile, policy=policy, now=NOW, **values | changes)

    return call


def test_a_permitted_outreach_is_planned_for_its_best_hour(plans: Plans, schedule: Callable[..., Decision]) -> None:
    assert schedule() == Decision(NOW + timedelta(hours=7), None)
    (outreach,) = plans.planned.values()
    assert outreach.state is OutreachState.SCHEDULED
    assert outreach.template in BY_NAME
    assert (outreach.planned_at, outreach.due_at) == (NOW, NOW + timedelta(hours=7))


def test_it_is_planned_for_when_the_gate_permits_it(plans: Plans, schedule: Callable[..., Decision]) -> None:
    later = NOW + timedelta(hours=20)
    assert schedule(replace(PROFILE, next_ok_at=later)).send_at == later
    assert [outreach.due_at for outreach in plans.planned.values()] == [later]


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.OPTED_OUT, {"opted_out": True}),
        (Reason.BLOCKED, {"blocked": True}),
        (Reason.CONSENT, {"consent": Consent.UNASKED}),
    ],
)
def test_who_may_not_be_written_to_is_not_planned(
    plans: Plans, schedule: Callable[..., Decision], reason: Reason, changes: dict[str, Any]
) -> None:
    """R42."""
    assert schedule(replace(PROFILE, **changes)).reason is reason
    assert plans.planned == {}


def test_the_same_campaign_and_period_is_planned_once(plans: Plans, schedule: Callable[..., Decision]) -> None:
    """R37: and the second answer says why."""
    assert schedule().reason is None
    assert schedule(priority=0.1).reason is Reason.ALREADY_PLANNED
    assert [outreach.priority for outreach in plans.planned.values()] == [0.9]
    assert schedule(period="2026-W48").reason is None


# --- the run's own rules ---


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
        "connect": lambda: None,
        "sends_per_second": 25,
        "lease_seconds": 300,
    }
    return Transport(**values | changes)


def deliver(plans: Any, tick: Tick, **changes: Any) -> DeliveryReport:
    return ProactiveOutreachService(plans).deliver_due(tick, lambda: 270.0, transport(**changes))


def test_the_shards_of_a_tick_together_read_every_partition_once(plans: Plans) -> None:
    for shard in range(3):
        deliver(plans, Tick(NOW, shard, 3))
    assert sorted(plans.asked) == list(range(16))


def test_the_kill_switch_does_not_even_open_a_connection(plans: Plans) -> None:
    def connect() -> None:
        raise AssertionError("no token is needed to send nothing")

    report = deliver(plans, Tick(NOW, 0, 1), policy=replace(POLICY, enabled=False), connect=connect)
    assert report.stopped is StopReason.OFF
    assert plans.asked == []


def test_the_lease_is_given_back_when_the_run_fails(plans: Plans) -> None:
    lease = Lease()

    class Broken(Plans):
        def due(self, *_: object) -> list[OutreachKey]:
            raise StoreUnavailableError("DynamoDB: ThrottlingException")

    with pytest.raises(StoreUnavailableError):
        deliver(Broken(), Tick(NOW, 0, 1), leases=lease)
    assert lease.released == 1


def test_a_run_that_cannot_have_the_lease_leaves_it_alone(plans: Plans) -> None:
    lease = Lease(free=False)
    assert deliver(plans, Tick(NOW, 0, 1), leases=lease).stopped is StopReason.LEASE_HELD
    assert (lease.released, plans.asked) == (0, [])


def test_a_failure_in_one_worker_comes_out_of_the_run(plans: Plans) -> None:
    """What DynamoDB could not do is the handler's to decide about, also from another thread."""

    class OneDue(Plans):
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
