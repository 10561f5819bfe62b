"""Outreach from plan to settlement: the gate decides when, the send ledger sees to it that it happens once.

`scorer` plans (`schedule_proactive_outreach`), `outreach_sender` delivers (`deliver_due`), `housekeeper` settles what
was left behind (`sweep`).
"""

import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from engagement.domain import gate, templates
from engagement.domain.gate import Decision, Policy, Reason
from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.profile import Profile
from engagement.domain.quiet import IsOpen
from engagement.domain.tick import Tick
from engagement.services.sending import MARGIN_SECONDS, DeliveryReport, Run, StopReason
from engagement.services.transport import OutreachStore, Transport

FUNCTION = "outreach_sender"
SWEEP_LIMIT = 1_000
"""Rows of each partition of the index looked at in one sweep."""


class ProactiveOutreachService:
    """Plans, delivers and settles outreach."""

    def __init__(self, outreaches: OutreachStore) -> None:
        self._outreaches = outreaches

    def schedule_proactive_outreach(
        self,
        profile: Profile,
        *,
        outreach_type: OutreachType,
        campaign: str,
        period: str,
        priority: float,
        trigger: str,
        due_at: datetime,
        expires_at: datetime,
        is_open: IsOpen,
        policy: Policy,
        now: datetime,
    ) -> Decision:
        """Plan a message to a user, at the earliest time the gate permits.

        Args:
            profile: the user.
            outreach_type: why we write; there must be templates for it.
            campaign: with `period` the outreach's identity: planned twice, it is sent once.
            period: the slot it may happen once in.
            priority: [0, 1], higher first.
            trigger: why it is planned, in a short code safe to log.
            due_at: when we would like to send it.
            expires_at: after this it is worth nothing.
            is_open: says whether the user may be written to at a moment; see `quiet.open_hours`.
            policy: what the operator allows.
            now: aware UTC.

        Returns:
            When it is due, or the one reason why it was not planned.
        """
        decision = gate.decide(
            profile=profile,
            planned_at=now,
            due_at=due_at,
            expires_at=expires_at,
            last_interaction_at=None,
            is_open=is_open,
            policy=policy,
            now=now,
        )
        if decision.send_at is None:
            return decision
        is_new = self._outreaches.plan(
            Outreach(
                bot_id=profile.bot_id,
                user_id=profile.user_id,
                campaign=campaign,
                period=period,
                outreach_type=outreach_type,
                state=OutreachState.SCHEDULED,
                priority=priority,
                trigger=trigger,
                template=templates.choose(outreach_type, profile.user_id, period),
                planned_at=now,
                due_at=decision.send_at,
                expires_at=expires_at,
            )
        )
        return decision if is_new else Decision(None, Reason.ALREADY_PLANNED)

    def deliver_due(self, tick: Tick, remaining_seconds: Callable[[], float], transport: Transport) -> DeliveryReport:
        """Deliver what is due in the tick's share of the index, as far as time and Telegram allow.

        Args:
            tick: the time and the share.
            remaining_seconds: what is left of the function's time.
            transport: what it takes to deliver.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; what was under way is settled by the sweeper.
        """
        owner = uuid.uuid4().hex
        if not transport.policy.enabled:
            return DeliveryReport(stopped=StopReason.OFF)
        lease = f"{FUNCTION}.{tick.shard}"
        until = tick.now + timedelta(seconds=transport.lease_seconds)
        if not transport.leases.acquire(transport.bot_id, lease, owner=owner, now=tick.now, until=until):
            return DeliveryReport(stopped=StopReason.LEASE_HELD)
        try:
            run = Run(self._outreaches, transport, tick, remaining_seconds, owner)
            run.deliver_all()
        finally:
            transport.leases.release(transport.bot_id, lease, owner=owner)
        return run.report

    def sweep(self, now: datetime, remaining_seconds: Callable[[], float]) -> Counter[OutreachState]:
        """Settle what dead senders left behind and what was not sent in time.

        Args:
            now: aware UTC.
            remaining_seconds: what is left of the function's time.

        Returns:
            How many were moved to each state: scheduled (a dead claim), unknown (died while sending), expired.
        """
        moved: Counter[OutreachState] = Counter()
        for partition in range(self._outreaches.partitions):
            for key in self._outreaches.due(partition, now, SWEEP_LIMIT):
                if remaining_seconds() < MARGIN_SECONDS:
                    return moved
                state = self._outreaches.sweep(key, now)
                if state is not None:
                    moved[state] += 1
        return moved
