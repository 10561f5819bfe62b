"""What a run of the sender works with: the ledger, the profiles, the pause, the Bot API, and its clocks."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from engagement.domain.delivery import Delivery
from engagement.domain.gate import Charge, Policy
from engagement.domain.outreach import Commit, Outreach, OutreachKey, OutreachState
from engagement.domain.pattern import Pattern
from engagement.domain.profile import Profile


class OutreachStore(Protocol):
    """The send ledger; see `store.outreaches`, whose moves these are."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def plan(self, outreach: Outreach) -> bool:
        """Add it unless it was planned before."""
        ...

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return what is to be sent or swept in a partition [0, 16)."""
        ...

    def claim(self, key: OutreachKey, *, owner: str, now: datetime, lease_until: datetime) -> Outreach | None:
        """Take it for oneself."""
        ...

    def commit(self, key: OutreachKey, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count it and mark it as being sent, together."""
        ...

    def record_sent(self, key: OutreachKey, *, owner: str, message_id: int | None, at: datetime) -> bool:
        """Record that Telegram accepted it."""
        ...

    def record_failed(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """Record that it was not sent and never will be."""
        ...

    def record_unknown(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """Record that nobody can tell whether it was sent."""
        ...

    def put_back(self, key: OutreachKey, *, owner: str, due_at: datetime, charge: Charge, attempted: bool) -> bool:
        """Schedule again what was certainly not sent, and give the count back."""
        ...

    def reschedule(self, key: OutreachKey, *, owner: str, due_at: datetime) -> bool:
        """Give a claim up, to be sent later."""
        ...

    def suppress(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End what the gate refused."""
        ...

    def cancel(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End what has no point any more."""
        ...

    def expire(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End what is too late."""
        ...

    def fail(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End what cannot be sent, whoever tries."""
        ...

    def sweep(self, key: OutreachKey, now: datetime) -> OutreachState | None:
        """Settle what its owner left behind; return the state it was moved to."""
        ...


class ProfileStore(Protocol):
    """Where profiles are kept."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...

    def mark_blocked_by_send(self, bot_id: int, user_id: int, *, at: datetime, epoch_seen: int) -> bool:
        """Keep that Telegram refused a message, unless something newer is known."""
        ...

    def migrate_chat(self, bot_id: int, user_id: int, new_chat_id: int) -> bool:
        """Write to another chat from now on."""
        ...


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...


class PatternStore(Protocol):
    """Where patterns are kept."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read one; raises BadPatternError for one of another version."""
        ...


class PauseStore(Protocol):
    """The bot-wide pause after a 429."""

    def until(self, bot_id: int) -> datetime | None:
        """Return until when Telegram asked for silence."""
        ...

    def extend(self, bot_id: int, until: datetime) -> bool:
        """Ask every sender for silence until then, or longer if somebody did."""
        ...


class LeaseStore(Protocol):
    """Keeps two runs apart, to spare them the races."""

    def acquire(self, bot_id: int, function: str, *, owner: str, now: datetime, until: datetime) -> bool:
        """Take the lease; False while somebody else's lasts."""
        ...

    def release(self, bot_id: int, function: str, *, owner: str) -> None:
        """Give it back."""
        ...


class Telegram(Protocol):
    """The Bot API; one call is one HTTP attempt."""

    def send_message(
        self, chat_id: int, text: str, *, parse_mode: str | None = ..., reply_markup: Mapping[str, Any] | None = ...
    ) -> Delivery:
        """Try once to send a text."""
        ...


@dataclass(frozen=True, kw_only=True)
class Transport:
    """What it takes to deliver, beyond the ledger.

    Attributes:
        bot_id: whose messages; those of another bot in the same table are left alone.
        policy: what the operator allows.
        profiles: where profiles are kept.
        patterns: where patterns are kept.
        pauses: the bot-wide pause.
        leases: keeps two runs apart.
        connect: opens the Bot API with the token as it is now.
        sends_per_second: ceiling over all chats and shards, >= 1.
        lease_seconds: how long a claim is held; longer than a run can last.
        workers: messages under way at the same time; with one, everything happens in a fixed order.
        monotonic: seconds of a clock that never goes back.
        sleep: waits some seconds.
        jitter: uniform in [0, 1).
    """

    bot_id: int
    policy: Policy
    profiles: ProfileStore
    patterns: PatternStore
    pauses: PauseStore
    leases: LeaseStore
    connect: Callable[[], Telegram]
    sends_per_second: int
    lease_seconds: float
    workers: int = 4
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
