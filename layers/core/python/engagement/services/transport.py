"""What a run of the sender works with: the ledger, the profiles, the pause, the Bot API, and its clocks."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

from engagement.domain.callbacks import Signer
from engagement.domain.delivery import Delivery
from engagement.domain.enhancement import Enhanced
from engagement.domain.gate import Charge, Policy
from engagement.domain.outreach import Commit, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.planning import Thresholds
from engagement.domain.profile import Profile
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.templates import Texts

MESSAGES = "messages"
"""Name of the budget that messages take from; see `store.budgets`."""


class OutreachStore(Protocol):
    """The send ledger; see `store.outreaches`, whose moves these are."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        ...

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return what is to be sent or swept in a partition [0, 16)."""
        ...

    def claim(self, key: OutreachKey, *, owner: str, now: datetime, lease_until: datetime) -> Outreach | None:
        """Take it for oneself."""
        ...

    def commit(self, outreach: Outreach, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count it and mark it as being sent, together."""
        ...

    def hold_out(self, outreach: Outreach, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count it as if it were sent, and end it."""
        ...

    def record_sent(self, outreach: Outreach, *, owner: str, message_id: int | None, at: datetime) -> bool:
        """Record that Telegram accepted it."""
        ...

    def record_failed(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """Record that it was not sent and never will be."""
        ...

    def record_unknown(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """Record that nobody can tell whether it was sent."""
        ...

    def put_back(
        self, outreach: Outreach, *, owner: str, due_at: datetime, charge: Charge, policy: Policy, attempted: bool
    ) -> bool:
        """Schedule again what was certainly not sent, as if it had never been committed."""
        ...

    def reschedule(self, outreach: Outreach, *, owner: str, due_at: datetime) -> bool:
        """Give a claim up, to be sent later."""
        ...

    def suppress(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End what the gate refused."""
        ...

    def cancel(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End what has no point any more."""
        ...

    def expire(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End what is too late."""
        ...

    def fail(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
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


class BudgetStore(Protocol):
    """What was spent of a day's budget."""

    def spent(self, bot_id: int, what: str, day: date) -> int:
        """Return how much is spent, read consistently."""
        ...


class Enhance(Protocol):
    """Lets a language model rephrase a text; see `services.enhancing`."""

    def __call__(
        self,
        text: str,
        *,
        outreach_type: OutreachType,
        first_name: str,
        language_code: str | None,
        topics: Sequence[str],
        now: datetime,
        remaining_seconds: float,
        values: Iterable[str],
    ) -> Enhanced | None:
        """Return the text to send, or None: then the template's own is sent."""
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
        budgets: what was spent of the daily budget of messages.
        texts: returns all texts as they are now; called once a run.
        connect: opens the Bot API with the token as it is now.
        thresholds: churn scores below which nobody is missed.
        rescore: scores a pattern as it is now, so that who is not missed any more is not told so.
        signer: makes what our buttons send back.
        helplines: whom to call on a hard day, by language; stands under every text of support.
        enhance: rewrites a text, for those who allow it; None where that is switched off.
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
    budgets: BudgetStore
    texts: Callable[[], Texts]
    connect: Callable[[], Telegram]
    thresholds: Thresholds
    sends_per_second: int
    lease_seconds: float
    signer: Signer
    helplines: Mapping[str, str] = field(default_factory=dict)
    rescore: Callable[[Pattern, datetime], ChurnScores] = rule_scores
    enhance: Enhance | None = None
    workers: int = 4
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
