"""Outreach from plan to settlement: the gate decides when, the send ledger sees to it that it happens once.

`outreach_sender` delivers (`deliver_due`), `housekeeper` settles what was left behind (`sweep`). The guide's methods
plan one message each for somebody's bot, script or notebook; the schedule's own planning is `services.scoring`.
"""

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from engagement.domain.gate import Reason
from engagement.domain.interaction import SentimentType
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType, iso_week
from engagement.domain.pattern import EMPTY, Pattern, last_seen
from engagement.domain.planning import (
    SILENCE,
    VALID_FOR,
    Candidate,
    about_topic,
    celebration_candidate,
    send_time,
    silence_period,
    support,
)
from engagement.domain.population import Population
from engagement.domain.profile import Awaiting, Profile
from engagement.domain.quiet import IsOpen
from engagement.domain.scores import rule_scores
from engagement.domain.templates import VALUES
from engagement.domain.tick import Tick
from engagement.domain.timing import hour_shares
from engagement.domain.topics import CATALOGUE, PRIVATE_TOPICS
from engagement.services.planner import Planner
from engagement.services.sending import MARGIN_SECONDS, DeliveryReport, Run, StopReason
from engagement.services.transport import OutreachStore, Transport

FUNCTION = "outreach_sender"
SWEEP_LIMIT = 1_000
"""Rows of each partition of the index looked at in one sweep."""
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,60}", re.ASCII)
"""What a trigger, campaign or period may look like: it is kept in keys and logged."""
GLOOMY = frozenset({SentimentType.NEGATIVE, SentimentType.VERY_NEGATIVE})


class Ledger(OutreachStore, Protocol):
    """The send ledger, as the guide's methods need it beyond delivering."""

    def plan(self, outreach: Outreach) -> bool:
        """Add it unless it was planned before."""
        ...

    def of_user(self, bot_id: int, user_id: int) -> list[Outreach]:
        """Return everything that was planned for a user."""
        ...

    def answer(self, bot_id: int, user_id: int, awaiting: Awaiting, at: datetime) -> bool:
        """Keep a user's first interaction after an exposure; say whether it was new."""
        ...


class StoredPattern(Protocol):
    """A pattern as it was read."""

    @property
    def pattern(self) -> Pattern:
        """The sketch."""
        ...


class PatternReader(Protocol):
    """Where patterns are read, consistently; see `store.patterns`."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read one."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read, consistently; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one."""
        ...


class OutreachAnalytics(Protocol):
    """What outreach came to; see `services.analytics`."""

    def get_outreach_analytics(self, days: int, *, now: datetime) -> dict[str, Any]:
        """Return it under the guide's names."""
        ...


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What it takes to plan a message for one user, beyond the ledger.

    Attributes:
        bot_id: whose users.
        planner: asks the gate, draws the arm and chooses the text.
        patterns: where the users' patterns are.
        profiles: who the users are.
        population: what the bot's users are like at a time.
    """

    bot_id: int
    planner: Planner
    patterns: PatternReader
    profiles: ProfileReader
    population: Callable[[datetime], Population]


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What became of a wish to write to somebody: exactly one of the two is set.

    Attributes:
        outreach: as it was planned; held out where its arm says so.
        reason: why it was not.
    """

    outreach: Outreach | None
    reason: Reason | None

    @property
    def words(self) -> str:
        """The answer as a sentence for people, without a user in it."""
        if self.outreach is None:
            return f"not planned: {self.reason.words}" if self.reason else "not planned"
        when = f"{self.outreach.due_at:%Y-%m-%d %H:%M} UTC"
        if self.outreach.arm is Arm.HELD_OUT:
            return f"recorded for {when} and not sent: {Reason.HELD_OUT.words}"
        return f"planned for {when}"


class ProactiveOutreachService:
    """Plans, delivers and settles outreach."""

    def __init__(
        self, outreaches: Ledger, *, desk: Desk | None = None, analytics: OutreachAnalytics | None = None
    ) -> None:
        """Wire it.

        Args:
            outreaches: the send ledger; enough to deliver and to sweep.
            desk: for the methods that plan or track; they raise TypeError without it.
            analytics: for `get_outreach_analytics`, which raises TypeError without it.
        """
        self._outreaches = outreaches
        self._desk = desk
        self._analytics = analytics

    # Every method that plans may raise BadPatternError (the stored pattern cannot be read) and StoreUnavailableError.

    def schedule_proactive_outreach(
        self,
        user_id: int,
        outreach_type: OutreachType,
        priority_score: float = 0.5,
        context_data: Mapping[str, object] | None = None,
        *,
        now: datetime,
    ) -> PlanResult:
        """Plan a message to a user, at the best time that the gate permits.

        Args:
            user_id: Telegram's id of the user.
            outreach_type: why we write.
            priority_score: [0, 1], higher first.
            context_data: `trigger` (a short code, kept and logged), `campaign` and `period` (its identity: planned
                twice, it is sent once; without them, once an ISO week for each type), and what the type's texts say
                besides the name (`templates.VALUES`). Anything else is not looked at.
            now: aware UTC.

        Raises:
            ValueError: a priority, a code or a value for the text that cannot be.
        """
        context = dict(context_data or {})
        if not 0 <= priority_score <= 1:
            raise ValueError(f"a priority is a number from 0 to 1, not {priority_score}")
        values = {name: str(context.get(name, "")) for name in VALUES[outreach_type]}
        if missing := sorted(name for name, value in values.items() if not value.strip()):
            raise ValueError(f"a {outreach_type} says {missing}: put it into context_data")
        candidate = Candidate(
            outreach_type=outreach_type,
            campaign=_code(context.get("campaign", outreach_type)),
            period=_code(context.get("period", iso_week(now.date()))),
            priority=priority_score,
            trigger=_code(context.get("trigger", "scheduled")),
            planned_at=now,
            due_at=now,
            expires_at=now + VALID_FOR,
            values=values,
        )
        return self._plan(user_id, candidate, now)

    def create_mood_support_outreach(
        self, user_id: int, mood_trend: float, recent_sentiment: SentimentType | str, *, now: datetime
    ) -> PlanResult:
        """Plan support, at once; once a fortnight at most.

        Args:
            user_id: Telegram's id of the user.
            mood_trend: by how much the mood has changed; support is for a fall.
            recent_sentiment: of the latest message; support is for a gloomy one too.
            now: aware UTC.

        Raises:
            ValueError: no such sentiment.
        """
        needed = mood_trend < 0 or SentimentType(recent_sentiment) in GLOOMY
        return self._plan(user_id, replace(support("mood_reported", now), needed=needed), now)

    def create_milestone_celebration(
        self, user_id: int, milestone_id: str | int, achievement_data: Mapping[str, object], *, now: datetime
    ) -> PlanResult:
        """Plan the celebration of a milestone, at once; once a milestone, however often it is asked for.

        Args:
            user_id: Telegram's id of the user.
            milestone_id: the milestone's name or number.
            achievement_data: `name`, as the user reads it, and `difficulty_level` ([1, 5], 1 where it is missing).
            now: aware UTC.

        Raises:
            ValueError: no name, or an id that cannot be a key.
        """
        name = str(achievement_data.get("name", "")).strip()
        if not name:
            raise ValueError("a milestone that is celebrated has a name: put it into achievement_data")
        difficulty = int(str(achievement_data.get("difficulty_level", 1)))
        return self._plan(user_id, celebration_candidate(_code(milestone_id), name, difficulty, now), now)

    def create_topic_follow_up(
        self, user_id: int, topic: str, last_mention_days: float, relevance_score: float, *, now: datetime
    ) -> PlanResult:
        """Plan a message about a topic that the user cared about and left; once a topic and month at most.

        Args:
            user_id: Telegram's id of the user.
            topic: one of the catalogue of `domain.topics`, as a slug or in words: "machine learning". No other, so
                that a user's own words are never repeated to them.
            last_mention_days: how long ago it came up last; 0 or less is a topic that was not left.
            relevance_score: [0, 1]; becomes the priority.
            now: aware UTC.

        Raises:
            ValueError: no such topic, or a relevance that cannot be.
        """
        slug = topic.strip().lower().replace(" ", "_")
        if slug not in CATALOGUE:
            raise ValueError(f"no such topic; take one of {', '.join(sorted(CATALOGUE))}")
        if not 0 <= relevance_score <= 1:
            raise ValueError(f"a relevance is a number from 0 to 1, not {relevance_score}")
        if slug in PRIVATE_TOPICS:
            return PlanResult(None, Reason.PRIVATE_TOPIC)
        candidate = replace(about_topic(slug, relevance_score, now), needed=last_mention_days > 0)
        return self._plan(user_id, candidate, now)

    def create_re_engagement_campaign(self, user_ids: Iterable[int], *, now: datetime) -> dict[int, PlanResult]:
        """Plan the first step of the win-back for each of the users; the schedule takes the next ones.

        It shares its name with the schedule's: whoever was planned for in this silence before is not planned for again.

        Args:
            user_ids: Telegram's ids of the users, for example of `find_users_needing_engagement`.
            now: aware UTC.

        Returns:
            What became of each, by user.
        """
        return {user_id: self._win_back(user_id, now) for user_id in dict.fromkeys(user_ids)}

    def track_outreach_response(self, user_id: int, campaign: str, period: str, *, at: datetime) -> bool:
        """Keep that a user answered an outreach; an ordinary interaction is kept by itself.

        Args:
            user_id: Telegram's id of the user.
            campaign: the outreach's.
            period: likewise.
            at: when, aware UTC.

        Returns:
            False where it was neither sent nor held out before `at`, its outcome is settled, or an earlier answer is
            known.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        desk = self._needed_desk()
        profile = desk.profiles.get(desk.bot_id, user_id)
        for awaiting in profile.awaiting if profile else ():
            if (awaiting.campaign, awaiting.period) == (campaign, period) and awaiting.exposed_at < at:
                return self._outreaches.answer(desk.bot_id, user_id, awaiting, at)
        return False

    def get_outreach_analytics(self, days: int = 30, *, now: datetime) -> dict[str, Any]:
        """Return what the outreach of the last days came to, under the guide's names, and the lift.

        Args:
            days: up to now, >= 1.
            now: aware UTC.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        if self._analytics is None:
            raise TypeError("analytics were asked for: give ProactiveOutreachService(analytics=...)")
        return self._analytics.get_outreach_analytics(days, now=now)

    def _win_back(self, user_id: int, now: datetime) -> PlanResult:
        desk = self._needed_desk()
        pattern = self._pattern(user_id)
        seen_at = last_seen(pattern)
        if seen_at is None:
            # Who never wrote is not asked back.
            unknown = desk.profiles.get(desk.bot_id, user_id) is None
            return PlanResult(None, Reason.NO_PROFILE if unknown else Reason.NOT_NEEDED_ANY_MORE)
        candidate = Candidate(
            outreach_type=OutreachType.RE_ENGAGEMENT,
            campaign=SILENCE,
            period=silence_period(seen_at, 1),
            priority=rule_scores(pattern, now).churn_14d,
            trigger="campaign",
            planned_at=now,
            due_at=now,
            expires_at=now + VALID_FOR,
        )
        return self._plan(user_id, candidate, now)

    def _plan(self, user_id: int, candidate: Candidate, now: datetime) -> PlanResult:
        desk = self._needed_desk()
        profile = desk.profiles.get(desk.bot_id, user_id)
        if profile is None:
            return PlanResult(None, Reason.NO_PROFILE)
        pattern = self._pattern(user_id)

        def best_time(is_open: IsOpen, at: datetime) -> datetime:
            population = desk.population(now)
            return send_time(hour_shares(pattern, population, now), population.weekdays, is_open, at)

        answer = desk.planner.prepare(
            candidate,
            profile,
            pattern,
            now,
            history=self._outreaches.of_user(desk.bot_id, user_id),
            best_time=best_time,
        )
        if isinstance(answer, Reason):
            return PlanResult(None, answer)
        if not self._outreaches.plan(answer):
            return PlanResult(None, Reason.ALREADY_PLANNED)
        return PlanResult(answer, None)

    def _pattern(self, user_id: int) -> Pattern:
        desk = self._needed_desk()
        stored = desk.patterns.load(desk.bot_id, user_id)
        return stored.pattern if stored else EMPTY

    def _needed_desk(self) -> Desk:
        if self._desk is None:
            raise TypeError("a message was to be planned or tracked: give ProactiveOutreachService(desk=Desk(...))")
        return self._desk

    def deliver_due(self, tick: Tick, remaining_seconds: Callable[[], float], transport: Transport) -> DeliveryReport:
        """Deliver what is due in the tick's share of the index, as far as time and Telegram allow.

        Args:
            tick: the time and the share.
            remaining_seconds: what is left of the function's time.
            transport: what it takes to deliver.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; what was under way is settled by the sweeper.
            SecretUnavailableError: the key of our buttons cannot be read; nothing was begun.
            SettingsError: it is empty; likewise.
        """
        owner = uuid.uuid4().hex
        if not transport.policy.enabled:
            return DeliveryReport(stopped=StopReason.OFF)
        # Without it no message could have buttons: nothing is claimed, and nothing is lost.
        transport.signer.check()
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


def _code(value: object) -> str:
    """Return what stands in a key and a log; ValueError for anything that looks like a text."""
    text = str(value)
    if not CODE.fullmatch(text):
        raise ValueError("campaign, period, trigger and milestone are short codes of letters, digits and _ . : -")
    return text
