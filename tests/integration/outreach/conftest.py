"""A bot with users and planned outreach in the local AWS, a clock that tests move, and a scripted Telegram."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from engagement.clients import secrets
from engagement.domain.callbacks import Signer
from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.gate import Policy
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.pattern_bytes import encode
from engagement.domain.planning import Thresholds
from engagement.domain.profile import Consent, Profile
from engagement.domain.statistics import Moves, joined, outreach_moves
from engagement.domain.templates import Texts
from engagement.domain.tick import Tick
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.sending import DeliveryReport
from engagement.services.settling import Settling
from engagement.services.transport import Transport
from engagement.store import keys
from engagement.store.budgets import Budgets
from engagement.store.leases import Leases
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.pauses import Pauses
from engagement.store.profiles import Profiles
from engagement.store.statistics import Statistics
from engagement.store.table import Item, OutreachItem, PatternItem, ProfileItem, bind
from infra.local.emulator import Emulator, environment
from tests import builders

BOT = 123456
LEASE_SECONDS = 300
SIGNER = Signer(BOT, lambda: "a-key-of-the-tests")


@dataclass(slots=True)
class Clock:
    """Seconds that pass only when told to, or slept."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Request:
    """One sendMessage as it was made."""

    chat_id: int
    text: str
    parse_mode: str | None
    reply_markup: Any
    at: float


@dataclass(slots=True)
class ScriptedTelegram:
    """Answers as it is told, otherwise "sent"; `before` runs as each request arrives."""

    clock: Clock
    script: list[Delivery] = field(default_factory=list)
    by_chat: dict[int, Delivery] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    before: Callable[[Request], None] = field(default=lambda _: None)

    def send_message(
        self,
        chat_id: int,
        text: str,
        *,
        parse_mode: str | None = "HTML",
        reply_markup: Mapping[str, Any] | None = None,
    ) -> Delivery:
        request = Request(chat_id, text, parse_mode, reply_markup, self.clock())
        self.requests.append(request)
        self.before(request)
        if chat_id in self.by_chat:
            return self.by_chat[chat_id]
        if self.script:
            return self.script.pop(0)
        return Delivery(DeliveryOutcome.SENT, message_id=1_000 + len(self.requests))


@dataclass(slots=True)
class Bot:
    """What a test of the sender needs, over the real stores."""

    now: datetime
    clock: Clock
    telegram: ScriptedTelegram
    policy: Policy
    bot_id: int = BOT
    outreaches: Outreaches = field(default_factory=Outreaches)
    profiles: Profiles = field(default_factory=Profiles)
    patterns: Patterns = field(default_factory=Patterns)
    budgets: Budgets = field(default_factory=Budgets)
    statistics: Statistics = field(default_factory=Statistics)
    pauses: Pauses = field(default_factory=Pauses)
    leases: Leases = field(default_factory=Leases)
    remaining: float = 270.0
    workers: int = 1
    signer: Signer = SIGNER

    def user(self, user_id: int, **changes: Any) -> None:
        """Write a profile that may be written to, apart from the changes."""
        values = {
            "chat_id": user_id,
            "first_name": "Ada",
            "consent": Consent.GRANTED.value,
            "created_at": self.now - timedelta(days=90),
        }
        ProfileItem(keys.user(self.bot_id, user_id), keys.PROFILE, **values | changes).save()

    def profile(self, user_id: int) -> Profile:
        profile = self.profiles.get(self.bot_id, user_id)
        assert profile is not None
        return profile

    def seen(self, user_id: int, *times: datetime) -> None:
        """Write the pattern of somebody who was active at these times."""
        state = encode(builders.pattern_of(times))
        PatternItem(keys.user(self.bot_id, user_id), keys.PATTERN, state=state, version=1).save()

    def outreach(self, user_id: int, campaign: str = "re_engagement", **changes: Any) -> Outreach:
        values: dict[str, Any] = {
            "bot_id": self.bot_id,
            "user_id": user_id,
            "campaign": campaign,
            "period": "2026-W47",
            "outreach_type": OutreachType.RE_ENGAGEMENT,
            "state": OutreachState.SCHEDULED,
            "priority": 0.5,
            "trigger": "churn_14d",
            "template": "re_engagement.open_door",
            "planned_at": self.now - timedelta(hours=1),
            "due_at": self.now,
            "expires_at": self.now + timedelta(days=2),
        }
        return Outreach(**values | changes)

    def plan(self, user_id: int, campaign: str = "re_engagement", **changes: Any) -> OutreachKey:
        outreach = self.outreach(user_id, campaign, **changes)
        assert self.outreaches.plan(outreach)
        return outreach.key

    def transport(self, **changes: Any) -> Transport:
        values: dict[str, Any] = {
            "bot_id": self.bot_id,
            "policy": self.policy,
            "profiles": self.profiles,
            "patterns": self.patterns,
            "budgets": self.budgets,
            "texts": Texts,
            "thresholds": Thresholds(re_engagement=0.8, checkin=0.6),
            "pauses": self.pauses,
            "leases": self.leases,
            "connect": lambda: self.telegram,
            "sends_per_second": 25,
            "lease_seconds": LEASE_SECONDS,
            "signer": self.signer,
            "workers": self.workers,
            "monotonic": self.clock,
            "sleep": self.clock.sleep,
            "jitter": lambda: 0.5,
        }
        return Transport(**values | changes)

    @property
    def service(self) -> ProactiveOutreachService:
        return ProactiveOutreachService(self.outreaches)

    def run(self, after: timedelta = timedelta(), **changes: Any) -> DeliveryReport:
        """Run the sender for a tick `after` the bot's beginning."""
        tick = Tick(self.now + after, 0, 1)
        return self.service.deliver_due(tick, lambda: self.remaining, self.transport(**changes))

    def sweep(self, after: timedelta) -> dict[OutreachState, int]:
        return dict(self.service.sweep(self.now + after, lambda: self.remaining))

    def settle(self, after: timedelta) -> dict[str, int]:
        settling = Settling(self.outreaches, self.profiles, self.patterns)
        return dict(settling.settle_due(self.now + after, lambda: self.remaining))

    def counted(self) -> Moves:
        """Return every counter of the days around now."""
        day = self.now.date()
        days = self.statistics.of_days(self.bot_id, day - timedelta(days=3), day + timedelta(days=30))
        return {(on, name): n for on, counts in days.items() for name, n in counts.items() if n}

    def recounted(self, users: Iterable[int]) -> Moves:
        """Count again, from the items."""
        every = (outreach for user in users for outreach in self.outreaches.of_user(self.bot_id, user))
        return joined(*(outreach_moves(outreach, self.outcomes(outreach.key)) for outreach in every))

    def outcomes(self, key: OutreachKey) -> Outcomes | None:
        """Return what came of an exposure; None while it is not settled."""
        stored = self.raw(key).outcomes_json
        return None if stored is None else Outcomes.from_json(stored)

    def state(self, key: OutreachKey) -> OutreachState:
        return self.stored(key).state

    def stored(self, key: OutreachKey) -> Outreach:
        outreach = self.outreaches.get(key)
        assert outreach is not None
        return outreach

    def raw(self, key: OutreachKey) -> OutreachItem:
        return OutreachItem.get(keys.user(key.bot_id, key.user_id), keys.outreach(key.campaign, key.period))

    def to_settle(self, after: timedelta) -> set[OutreachKey]:
        at = self.now + after
        return {key for partition in range(16) for key in self.outreaches.due_to_settle(partition, at, 100)}

    def due(self, after: timedelta) -> set[OutreachKey]:
        at = self.now + after
        return {key for partition in range(16) for key in self.outreaches.due(partition, at, 100)}


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Iterator[dict[str, str]]:
    """One account and one connection for all tests of a file: a new client takes longer than most of them."""
    variables = environment(emulator.endpoint, access_key=f"{uuid.uuid4().int % 10**12:012}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        # Clients made before belong to another test's account.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        secrets.forget()
        bind("rekindle")
        yield variables


@pytest.fixture
def table(client: dict[str, str]) -> Iterator[str]:
    """An empty table of one's own, bound; returns its name."""
    Item.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
    yield "rekindle"
    Item.delete_table()


@pytest.fixture
def policy() -> Policy:
    return builders.policy()


@pytest.fixture
def bot(table: str, now: datetime, policy: Policy) -> Bot:
    clock = Clock()
    return Bot(now=now.astimezone(UTC), clock=clock, telegram=ScriptedTelegram(clock), policy=policy)


@pytest.fixture
def delivery() -> Callable[..., Delivery]:
    """Build an answer by the name of its outcome: `delivery("retry_later", retry_after=7)`."""

    def build(outcome: str, **values: Any) -> Delivery:
        return Delivery(DeliveryOutcome(outcome), **values)

    return build


@pytest.fixture
def deliveries(delivery: Callable[..., Delivery]) -> Callable[[Iterable[str]], list[Delivery]]:
    return lambda outcomes: [delivery(outcome) for outcome in outcomes]
