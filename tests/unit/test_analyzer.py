"""Learning from a batch of the stream: one write per user, nothing lost, nothing counted twice."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.consequences import Consequences
from engagement.domain.due import DuePattern
from engagement.domain.gate import Reason
from engagement.domain.interaction import Control, Exposure, Interaction, SentimentType
from engagement.domain.milestones import DEFAULTS, Award, MetricType, Milestone
from engagement.domain.outreach import Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold, last_seen
from engagement.domain.pattern_bytes import encode
from engagement.domain.planning import Candidate, Thresholds
from engagement.domain.profile import Awaiting, Profile
from engagement.domain.scores import ChurnScores
from engagement.domain.statistics import PRESSES, activity_moves
from engagement.errors import BadUpdateError, StoreUnavailableError
from engagement.services.analyzer import ATTEMPTS, EngagementAnalyzer, LearningReport, StreamRecord
from engagement.services.reactions import Reactions
from tests import builders

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def interaction(user_id: int, update_id: int) -> Interaction:
    at = START + timedelta(minutes=update_id)
    return builders.interaction(update_id, at, user_id=user_id, chat_id=user_id)


@dataclass(frozen=True)
class Stored:
    pattern: Pattern
    version: int
    awarded: frozenset[str] = frozenset()
    scored_at: datetime | None = None
    asked_at: datetime | None = None


class Memory:
    """The table in small: its conditions, all or nothing; it can fail, before a write or after it, and can be raced."""

    def __init__(self) -> None:
        self.items: dict[int, Stored] = {}
        self.erased: dict[int, datetime] = {}
        self.calls: Counter[str] = Counter()
        self.failures: list[bool] = []
        self.lost_answers: list[bool] = []
        self.rivals: list[list[Interaction]] = []
        self.awards: dict[int, dict[str, Award]] = defaultdict(dict)
        self.outreaches: dict[OutreachKey, Outreach] = {}
        self.answered: dict[tuple[int, Awaiting], datetime] = {}
        self.counters: Counter[tuple[date | None, str]] = Counter()
        self.pressed: dict[tuple[int, Exposure, str], datetime] = {}

    def load(self, bot_id: int, user_id: int) -> Stored | None:
        self.calls["load"] += 1
        found = self.items.get(user_id)
        if self.rivals:
            # Another invocation reads and writes the same user between our read and our write.
            rival = self.rivals.pop()
            before = self.items.get(user_id, Stored(EMPTY, 0))
            self.items[user_id] = Stored(fold(before.pattern, rival), before.version + 1)
        return found

    def create(self, pattern: Pattern, newest: Interaction, brought: Consequences) -> str:
        self._write()
        erased_at = self.erased.get(newest.user_id)
        if erased_at is not None and pattern.first_at <= erased_at.timestamp():
            return "erased"
        if newest.user_id in self.items:
            return "conflict"
        return self._bring(Stored(pattern, 1), newest.user_id, brought)

    def replace(self, pattern: Pattern, seen: Stored, newest: Interaction, brought: Consequences) -> str:
        self._write()
        if self.items[newest.user_id].version != seen.version:
            return "conflict"
        return self._bring(replace(seen, pattern=pattern, version=seen.version + 1), newest.user_id, brought)

    def _bring(self, stored: Stored, user_id: int, brought: Consequences) -> str:
        names = {award.milestone_name for award in brought.awards}
        if not names.isdisjoint(self.awards[user_id]):
            return "awarded"
        if brought.outreach is not None and brought.outreach.key in self.outreaches:
            return "planned"
        self.awards[user_id].update({award.milestone_name: award for award in brought.awards})
        if brought.outreach is not None:
            self.outreaches[brought.outreach.key] = brought.outreach
        self.counters.update(dict(brought.moves))
        self.items[user_id] = replace(
            stored,
            awarded=stored.awarded | names | brought.known_awards,
            asked_at=brought.score_at or stored.asked_at,
        )
        if self.lost_answers and self.lost_answers.pop():
            raise StoreUnavailableError("timed out")
        return "written"

    def of_user(self, bot_id: int, user_id: int) -> list[Award]:
        self.calls["awards"] += 1
        return list(self.awards[user_id].values())

    def answer(self, bot_id: int, user_id: int, awaiting: Awaiting, at: datetime) -> bool:
        self.calls["answer"] += 1
        known = self.answered.get((user_id, awaiting))
        if known is not None and known <= at:
            return False
        self.answered[user_id, awaiting] = at
        return True

    def press(self, bot_id: int, user_id: int, about: Exposure, control: Control, at: datetime) -> bool:
        kind = (user_id, about, PRESSES[control])
        is_first = kind not in self.pressed
        self.pressed.setdefault(kind, at)
        return is_first

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        return self.erased.get(user_id)

    def _write(self) -> None:
        self.calls["write"] += 1
        if self.failures and self.failures.pop():
            raise StoreUnavailableError("throttled")


class NoScores:
    def needing_engagement(self, limit: int) -> list[DuePattern]:
        return []


class NoProfiles:
    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return None


@dataclass
class OneProfile:
    profile: Profile

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return replace(self.profile, user_id=user_id)


class Writes:
    """A planner that plans whatever it is asked to, unless it is told a reason."""

    def __init__(self) -> None:
        self.refusing: dict[OutreachType, Reason] = {}
        self.asked: list[Candidate] = []

    def prepare(self, candidate: Candidate, profile: Profile, pattern: Pattern, now: datetime) -> Outreach | Reason:
        self.asked.append(candidate)
        if reason := self.refusing.get(candidate.outreach_type):
            return reason
        return Outreach(
            bot_id=profile.bot_id,
            user_id=profile.user_id,
            campaign=candidate.campaign,
            period=candidate.period,
            outreach_type=candidate.outreach_type,
            state=OutreachState.SCHEDULED,
            priority=candidate.priority,
            trigger=candidate.trigger,
            template="any",
            planned_at=now,
            due_at=candidate.due_at,
            expires_at=candidate.expires_at,
        )


@dataclass
class InForce:
    milestones: Sequence[Milestone]

    def at(self, now: datetime) -> Sequence[Milestone]:
        return self.milestones


SEEDED = tuple(replace(milestone, seeded_at=START - timedelta(days=400)) for milestone in DEFAULTS)


def analyzer_over(store: Memory) -> EngagementAnalyzer[Stored]:
    return EngagementAnalyzer(store, NoScores(), NoProfiles())


def reacting(
    store: Memory, milestones: Sequence[Milestone] = SEEDED, planner: Writes | None = None, **of_profile: object
) -> EngagementAnalyzer[Stored]:
    """The whole analyzer, of users in Berlin."""
    profiles = OneProfile(builders.profile(**({"zone": "Europe/Berlin"} | of_profile)))
    return EngagementAnalyzer(
        store, NoScores(), profiles, Reactions(InForce(milestones), planner or Writes(), store, store)
    )


def read(image: Mapping[str, Any]) -> Interaction:
    if "poison" in image:
        raise BadUpdateError("bad_interaction")
    return interaction(image["user"], image["update"])


def records(*items: tuple[int, int]) -> list[StreamRecord]:
    return [StreamRecord(str(1_000 + i), {"user": user, "update": update}) for i, (user, update) in enumerate(items)]


def test_a_hundred_records_of_one_user_are_one_read_and_one_write() -> None:
    """R29."""
    store = Memory()
    report = analyzer_over(store).learn(records(*((7, i) for i in range(100))), read)
    assert store.calls == {"load": 1, "write": 1}
    assert (report.folded, report.patterns_written, report.failed_at) == (100, 1, None)


def test_a_batch_of_known_interactions_writes_nothing() -> None:
    """R22: a redelivered batch is one read per user."""
    store = Memory()
    analyzer = analyzer_over(store)
    analyzer.learn(records((7, 1), (8, 2)), read)
    store.calls.clear()
    report = analyzer.learn(records((7, 1), (8, 2), (7, 1)), read)
    assert store.calls == {"load": 2}
    assert report.folded == 0


@settings(max_examples=80, deadline=None)
@given(
    batch=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), min_size=1, max_size=12, unique=True),
    data=st.data(),
)
def test_a_failure_anywhere_loses_nothing_and_counts_nothing_twice(
    batch: list[tuple[int, int]], data: st.DataObject
) -> None:
    """R23: Lambda delivers again from the reported record on, for every place a write may fail."""
    store = Memory()
    analyzer = analyzer_over(store)
    pending = records(*batch)
    failures = data.draw(st.lists(st.booleans(), max_size=6))
    store.failures = list(failures)
    for _ in range(len(failures) + 1):
        report = analyzer.learn(pending, read)
        if report.failed_at is None:
            break
        pending = [record for record in pending if int(record.sequence) >= int(report.failed_at)]
    assert report.failed_at is None
    for user in {user for user, _ in batch}:
        expected = fold(EMPTY, [interaction(user, update) for owner, update in batch if owner == user])
        assert store.items[user].pattern == expected


def test_a_poison_record_is_reported_after_everything_before_it_was_folded() -> None:
    """R26: the retries then begin at the poison, and only it ends in the dead-letter queue."""
    store = Memory()
    batch = records((7, 1), (8, 2), (7, 3))
    batch[2] = StreamRecord("1002", {"poison": True})
    report = analyzer_over(store).learn(batch, read)
    assert (report.failed_at, report.failure) == ("1002", "bad_interaction")
    assert {user: stored.pattern.total for user, stored in store.items.items()} == {7: 1, 8: 1}


def test_it_stops_at_the_first_user_that_fails() -> None:
    """R23: nothing after the reported record is tried; Lambda delivers it again anyway."""
    store = Memory()
    store.failures = [True]
    report = analyzer_over(store).learn(records((7, 1), (8, 2), (9, 3)), read)
    assert (report.failed_at, report.failure) == ("1000", "StoreUnavailableError")
    assert store.calls == {"load": 1, "write": 1}


def test_a_rival_between_read_and_write_costs_a_second_round_and_no_update() -> None:
    """R24."""
    store = Memory()
    store.rivals = [[interaction(7, 2)]]
    report = analyzer_over(store).learn(records((7, 1)), read)
    assert report.conflicts == 1
    assert store.items[7].pattern == fold(EMPTY, [interaction(7, 1), interaction(7, 2)])


def test_endless_rivals_end_in_a_retry_by_the_stream() -> None:
    """R24: a bound, so that one hot user cannot use up the function's time."""
    store = Memory()
    store.rivals = [[interaction(7, 100 + i)] for i in range(ATTEMPTS)]
    with pytest.raises(StoreUnavailableError):
        analyzer_over(store).update_user_behavior_patterns([interaction(7, 1)])


def test_late_interactions_of_an_erased_user_create_nothing() -> None:
    """R27: what happened before the erasure is dropped; what the user does afterwards counts."""
    store = Memory()
    store.erased[7] = START + timedelta(minutes=5)
    analyzer = analyzer_over(store)
    report = analyzer.learn(records((7, 1), (7, 5)), read)
    assert (report.erased, report.failed_at, store.items) == (2, None, {})
    report = analyzer.learn(records((7, 2), (7, 9)), read)
    assert store.items[7].pattern == fold(EMPTY, [interaction(7, 9)])
    assert report.erased == 1


def test_the_caller_gets_the_pattern_it_asked_for() -> None:
    """The guide's `update_user_behavior_patterns` returns the pattern, changed or not."""
    analyzer = analyzer_over(Memory())
    first = analyzer.update_user_behavior_patterns([interaction(7, 1)])
    assert analyzer.update_user_behavior_patterns([interaction(7, 1)]) == first
    assert replace(first).total == 1


def test_users_at_risk_come_with_the_outreach_that_their_silence_calls_for() -> None:
    """The guide's `find_users_needing_engagement`: who, how likely, since when, and what we would do."""
    regular = fold(EMPTY, [interaction(7, 1_440 * day) for day in range(5)])
    newest = last_seen(regular)
    assert newest is not None

    class OneScore(NoScores):
        def needing_engagement(self, limit: int) -> list[DuePattern]:
            one = DuePattern(
                bot_id=1,
                user_id=7,
                state=encode(regular),
                version=1,
                due_at=None,
                scores=ChurnScores(0.95, 0.9, 0.7),
                scored_at=newest,
            )
            return [one, replace(one, user_id=8, scores=None)][:limit]

    analyzer = EngagementAnalyzer(Memory(), OneScore(), NoProfiles())
    thresholds = Thresholds(re_engagement=0.8, checkin=0.6)
    (found,) = analyzer.find_users_needing_engagement(newest + timedelta(days=5), thresholds)
    assert (found.user_id, found.churn_risk, found.last_seen_at) == (7, 0.9, newest)
    assert found.needs is OutreachType.RE_ENGAGEMENT
    (too_early,) = analyzer.find_users_needing_engagement(newest + timedelta(days=1), thresholds)
    assert too_early.needs is None


# --- milestones ---

BASICS = tuple(milestone for milestone in SEEDED if milestone.metric_type is not MetricType.AVERAGE)


def daily(days: int, first: int = 1) -> list[Interaction]:
    return [builders.interaction(day, START + timedelta(days=day - 1)) for day in range(first, first + days)]


def deliver(
    analyzer: EngagementAnalyzer[Stored], batches: Sequence[Sequence[Interaction]], report: LearningReport | None = None
) -> LearningReport:
    """Deliver each batch until it is dealt with, as the stream does."""
    report = report or LearningReport()
    for batch in batches:
        for _ in range(20):
            try:
                analyzer.update_user_behavior_patterns(batch, report)
            except StoreUnavailableError:
                continue
            break
        else:
            raise AssertionError("never dealt with")
    return report


def test_a_milestone_is_awarded_and_celebrated_with_the_interaction_that_reaches_it() -> None:
    """R60."""
    store, planner = Memory(), Writes()
    analyzer = reacting(store, planner=planner)
    history = daily(3)
    deliver(analyzer, [history[:2]])
    assert set(store.awards[7]) == {"first_interaction"}
    report = deliver(analyzer, [history[2:]])
    award = store.awards[7]["daily_chatter"]
    assert (award.awarded_at, award.points) == (history[2].occurred_at, 30)
    assert (report.awarded, report.planned, report.refused) == (1, 1, {})
    celebration = planner.asked[-1]
    assert (celebration.period, dict(celebration.values)) == ("daily_chatter", {"milestone": "Daily Chatter"})
    assert store.counters[award.awarded_at.date(), "award:daily_chatter"] == 1


def test_of_several_reached_at_once_only_the_most_difficult_is_celebrated() -> None:
    store, planner = Memory(), Writes()
    analyzer = reacting(store, planner=planner)
    three_more = [builders.interaction(20 + n, START + timedelta(hours=n)) for n in range(3)]
    deliver(analyzer, [[*daily(6), *three_more]])
    planner.asked.clear()
    report = deliver(analyzer, [daily(1, 7)])
    # The tenth interaction, on the seventh day in a row.
    assert {"chatty_newcomer", "weekly_regular"} < set(store.awards[7])
    assert [candidate.period for candidate in planner.asked] == ["weekly_regular"]
    assert (report.awarded, report.planned, report.refused) == (2, 1, {})


def test_what_the_gate_refuses_is_awarded_all_the_same_and_the_reason_told() -> None:
    """R62: a celebration is a candidate like any other; consent, cap and quiet hours are the planner's questions."""
    store, planner = Memory(), Writes()
    planner.refusing[OutreachType.MILESTONE_CELEBRATION] = Reason.OPTED_OUT
    report = deliver(reacting(store, planner=planner), [daily(3)])
    assert set(store.awards[7]) == {"first_interaction", "daily_chatter"}
    assert (store.outreaches, report.refused) == ({}, {"opted_out": 1})


def test_nothing_is_planned_for_somebody_whose_profile_comes_with_the_pattern() -> None:
    store = Memory()
    analyzer = EngagementAnalyzer(store, NoScores(), NoProfiles(), Reactions(InForce(SEEDED), Writes(), store, store))
    report = deliver(analyzer, [daily(3)])
    assert set(store.awards[7]) == {"first_interaction", "daily_chatter"}
    assert (store.outreaches, report.refused) == ({}, {"no_profile": 1})


def test_nobody_is_congratulated_on_having_come() -> None:
    """R104: "First Hello" is awarded with its points, in silence: no planner is even asked."""
    store, planner = Memory(), Writes()
    report = deliver(reacting(store, planner=planner), [daily(1)])
    assert {name: award.points for name, award in store.awards[7].items()} == {"first_interaction": 10}
    assert (planner.asked, store.outreaches, report.awarded, report.planned) == ([], {}, 1, 0)


def test_seeding_congratulates_nobody_for_the_past() -> None:
    """R60, R62: awarded in silence with the next interaction; what is reached from now on is celebrated."""
    store, planner = Memory(), Writes()
    history = daily(11)
    deliver(reacting(store, milestones=()), [history[:9]])
    assert (store.awards[7], store.outreaches) == ({}, {})
    seeded = [replace(milestone, seeded_at=history[9].occurred_at) for milestone in BASICS]
    deliver(reacting(store, seeded, planner), [history[9:10]])
    assert set(store.awards[7]) == {"first_interaction", "daily_chatter", "weekly_regular", "chatty_newcomer"}
    assert [candidate.period for candidate in planner.asked] == ["chatty_newcomer"]


def test_what_happened_before_a_milestone_was_in_force_is_the_past_also_where_it_arrives_later() -> None:
    """R62: the stream may lag behind the operator."""
    store, planner = Memory(), Writes()
    history = daily(10)
    seeded = [replace(milestone, seeded_at=START + timedelta(days=6, hours=1)) for milestone in BASICS]
    deliver(reacting(store, seeded, planner), [history])
    assert {"weekly_regular", "chatty_newcomer"} < set(store.awards[7])
    assert [candidate.period for candidate in planner.asked] == ["chatty_newcomer"]


def test_a_late_interaction_is_awarded_and_not_celebrated() -> None:
    """A replay, or a delivery a day late: the streak is complete, but nobody cheers about last week."""
    store, planner = Memory(), Writes()
    history = daily(7)
    analyzer = reacting(store, planner=planner)
    deliver(analyzer, [[*history[:4], *history[5:]]])
    assert "weekly_regular" not in store.awards[7]
    asked = len(planner.asked)
    report = deliver(analyzer, [history[4:5]])
    assert "weekly_regular" in store.awards[7]
    assert (len(planner.asked), report.planned, report.awarded) == (asked, 0, 1)


def test_a_lost_pattern_that_is_built_again_celebrates_nothing_twice() -> None:
    """R60: the awards are found, and the pattern knows of them again."""
    store, planner = Memory(), Writes()
    history = daily(12)
    deliver(reacting(store, planner=planner), [[one] for one in history])
    awards, celebrated = dict(store.awards[7]), dict(store.outreaches)
    del store.items[7]
    store.calls.clear()
    deliver(reacting(store, planner=planner), [[one] for one in history])
    assert store.awards[7] == awards
    assert store.outreaches == celebrated
    assert store.items[7].awarded == set(awards)
    assert store.calls["awards"] == 1


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    seed=st.integers(0, 10**6),
    failures=st.lists(st.booleans(), max_size=8),
    lost_answers=st.lists(st.booleans(), max_size=8),
)
def test_faults_repetition_and_order_end_in_one_award_and_at_most_one_celebration_each(
    days: list[int], seed: int, failures: list[bool], lost_answers: list[bool]
) -> None:
    """R60: a write fails, or succeeds and nobody hears of it; the batch comes again, and ends in the same awards."""
    dice = random.Random(seed)
    history = [
        builders.interaction(n, START + timedelta(days=day, hours=dice.randrange(24)), is_greeting=n % 2 == 0)
        for n, day in enumerate(days)
    ]
    calm = Memory()
    deliver(reacting(calm, BASICS), [history])
    store, planner = Memory(), Writes()
    store.failures, store.lost_answers = list(failures), list(lost_answers)
    deliveries = history + dice.choices(history, k=len(history) // 2)
    dice.shuffle(deliveries)
    batches = [deliveries[start : start + 5] for start in range(0, len(deliveries), 5)]
    deliver(reacting(store, BASICS, planner), batches)
    assert store.items[7].pattern == calm.items[7].pattern
    assert set(store.awards[7]) == set(calm.awards[7]) == store.items[7].awarded
    assert Counter(name for _, name in store.counters.elements() if name.startswith("award:")) == Counter(
        f"award:{name}" for name in store.awards[7]
    )
    assert {key.period for key in store.outreaches} <= set(store.awards[7])
    whole = activity_moves(EMPTY, calm.items[7].pattern)
    assert {key: count for key, count in store.counters.items() if count and not key[1].startswith("award:")} == whole


def test_a_replay_of_months_is_counted_in_parts_and_celebrates_only_its_last_day() -> None:
    """A transaction holds 100 items, and each day is counted in one; what is reached is the same."""
    store, planner = Memory(), Writes()
    history = daily(95)
    seeded = [m for m in BASICS if m.metric_name in ("active_days", "total_interactions", "consecutive_active_days")]
    report = deliver(reacting(store, seeded, planner), [history[:90]])
    assert store.calls == {"load": 3, "write": 3}
    assert (report.patterns_written, report.folded) == (3, 90)
    assert store.items[7].pattern == fold(EMPTY, history[:90])
    assert {"dedication_champion", "long_term_friend", "conversation_enthusiast"} < set(store.awards[7])
    # The 90th day is the batch's last one; everything else was reached weeks before it.
    assert [candidate.period for candidate in planner.asked] == ["long_term_friend"]
    assert sum(count for (_, name), count in store.counters.items() if name == "dau") == 90


# --- mood, answers and scores ---


def moody(first: int, count: int, sentiment: float, day: int) -> list[Interaction]:
    kind = SentimentType.POSITIVE if sentiment > 0 else SentimentType.VERY_NEGATIVE
    return [
        builders.interaction(
            first + n, START + timedelta(days=day, minutes=n), sentiment=sentiment, sentiment_type=kind
        )
        for n in range(count)
    ]


def test_support_is_planned_at_once_when_the_mood_turns_and_not_again_while_it_stays() -> None:
    store, planner = Memory(), Writes()
    analyzer = reacting(store, (), planner)
    deliver(analyzer, [moody(1, 30, 0.6, 0)])
    assert planner.asked == []
    report = deliver(analyzer, [moody(100 + 10 * n, 10, -0.7, 30) for n in range(5)])
    assert [candidate.outreach_type for candidate in planner.asked] == [OutreachType.MOOD_SUPPORT]
    assert report.planned == 1


def test_old_sadness_is_no_reason_to_write() -> None:
    store, planner = Memory(), Writes()
    analyzer = reacting(store, (), planner)
    deliver(analyzer, [moody(1, 30, 0.6, 0), moody(200, 1, 0.6, 33)])
    deliver(analyzer, [moody(100, 40, -0.7, 30)])
    assert planner.asked == []


def test_one_message_at_most_comes_of_a_batch_the_more_important_one() -> None:
    """Support goes before a celebration; the award is given all the same."""
    store, planner = Memory(), Writes()
    analyzer = reacting(store, [m for m in SEEDED if m.milestone_name == "conversation_enthusiast"], planner)
    report = deliver(analyzer, [moody(1, 30, 0.6, 0), moody(100, 30, -0.7, 30)])
    assert set(store.awards[7]) == {"conversation_enthusiast"}
    assert {outreach.outreach_type for outreach in store.outreaches.values()} == {OutreachType.MOOD_SUPPORT}
    assert report.refused == {"outranked": 1}


def test_an_outreach_that_was_planned_before_does_not_keep_the_pattern_from_being_written() -> None:
    store, planner = Memory(), Writes()
    analyzer = reacting(store, (), planner)
    history = [moody(1, 30, 0.6, 0), moody(100, 30, -0.7, 30)]
    deliver(analyzer, history)
    del store.items[7]
    report = deliver(analyzer, history)
    assert report.refused == {"already_planned": 1}
    assert store.items[7].pattern.total == 60


EXPOSED = START + timedelta(days=1)
EXPOSURE = Awaiting(EXPOSED, "silence", "2026-01-06-1")


def test_the_first_interaction_after_an_exposure_answers_it() -> None:
    store = Memory()
    analyzer = reacting(store, (), awaiting=(EXPOSURE,))
    times = [EXPOSED, EXPOSED + timedelta(hours=5), EXPOSED + timedelta(hours=2), EXPOSED + timedelta(hours=3)]
    batch = [builders.interaction(number, at) for number, at in enumerate(times)]
    report = deliver(analyzer, [batch[:2], batch[2:]])
    assert store.answered == {(7, EXPOSURE): times[2]}
    assert report.answered == 2
    store.calls.clear()
    deliver(analyzer, [[builders.interaction(9, EXPOSED + timedelta(hours=9))]])
    assert store.calls["answer"] == 0


def test_an_edit_answers_nothing() -> None:
    store = Memory()
    deliver(reacting(store, (), awaiting=(EXPOSURE,)), [[builders.interaction(1, EXPOSED + timedelta(1), edited=True)]])
    assert store.answered == {}


@settings(max_examples=60, deadline=None)
@given(
    minutes=st.lists(st.integers(-600, 6_000), min_size=1, max_size=12),
    failures=st.lists(st.booleans(), max_size=6),
    seed=st.integers(0, 10**6),
)
def test_in_any_order_and_through_faults_the_earliest_answer_is_kept(
    minutes: list[int], failures: list[bool], seed: int
) -> None:
    store = Memory()
    store.failures = list(failures)
    dice = random.Random(seed)
    history = [builders.interaction(n, EXPOSED + timedelta(minutes=m)) for n, m in enumerate(minutes)]
    deliveries = history + dice.choices(history, k=3)
    dice.shuffle(deliveries)
    deliver(reacting(store, (), awaiting=(EXPOSURE,)), [deliveries[n : n + 3] for n in range(0, len(deliveries), 3)])
    after = [m for m in minutes if m > 0]
    expected = {(7, EXPOSURE): EXPOSED + timedelta(minutes=min(after))} if after else {}
    assert store.answered == expected


def test_a_good_interaction_asks_for_scoring_now_once_in_six_hours() -> None:
    store = Memory()
    analyzer = reacting(store, ())
    hours = [0, 1, 6, 7]
    batches = [
        [builders.interaction(number, START + timedelta(hours=hour), quality=quality)]
        for number, (hour, quality) in enumerate(zip(hours, [0.7, 0.71, 0.9, 0.71], strict=True))
    ]
    deliver(analyzer, batches[:1])
    assert store.items[7].asked_at is None
    report = deliver(analyzer, batches[1:])
    assert store.items[7].asked_at == START + timedelta(hours=7)
    assert report.asked == 2
    store.items[7] = replace(store.items[7], asked_at=None, scored_at=START + timedelta(hours=8))
    deliver(analyzer, [[builders.interaction(9, START + timedelta(hours=13), quality=0.9)]])
    assert store.items[7].asked_at is None


def test_a_batch_is_one_read_of_each_and_one_write_whatever_it_brings() -> None:
    """R29."""
    store = Memory()
    deliver(reacting(store), [daily(30)])
    assert store.calls == {"load": 1, "write": 1}
    assert len(store.awards[7]) > 3


# --- what is said to us by our buttons and commands ---


def said(update_id: int, control: Control, **changes: object) -> Interaction:
    """A press or command of ours, a day later for each update."""
    return builders.interaction(update_id, START + timedelta(days=update_id), control=control, quality=1.0, **changes)


@given(
    own=st.lists(st.integers(0, 400), max_size=12, unique=True),
    said_at=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(Control)), max_size=12),
    random_order=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_pressed_besides_the_table_is_the_same(
    own: list[int], said_at: list[tuple[int, Control]], random_order: random.Random
) -> None:
    """R90: pattern, awards, plans, counters and answers are those of what the user did by themselves."""
    awaiting = (Awaiting(START + timedelta(hours=3), "silence", "1"),)
    did = [builders.interaction(hour, START + timedelta(hours=hour)) for hour in own]
    pressed = [
        builders.interaction(1_000 + number, START + timedelta(hours=hour), control=control, quality=1.0)
        for number, (hour, control) in enumerate(said_at)
    ]
    mixed = [*did, *pressed, *pressed[:3]]
    random_order.shuffle(mixed)
    alone, among = Memory(), Memory()
    if did:
        deliver(reacting(alone, awaiting=awaiting), [did])
    if mixed:
        deliver(reacting(among, awaiting=awaiting), [mixed])
    for kept in ("items", "awards", "outreaches", "answered", "counters"):
        assert getattr(among, kept) == getattr(alone, kept)


def test_who_only_presses_is_no_user_of_the_analyzers() -> None:
    """R90: nothing is read, written, awarded, planned, scored or answered for a press."""
    store, planner = Memory(), Writes()
    awaiting = (Awaiting(START, "silence", "1"),)
    report = deliver(
        reacting(store, planner=planner, awaiting=awaiting),
        [[said(number, control) for number, control in enumerate(Control, 1)]],
    )
    assert (store.items, store.calls, planner.asked) == ({}, Counter(), [])
    assert (report.folded, report.awarded, report.planned, report.answered, report.asked) == (0, 0, 0, 0, 0)


def test_each_kind_of_press_under_an_outreach_is_counted_once() -> None:
    """R91: the offer opened, "not now", and stop, of the type or of all; a second press of a kind says nothing new."""
    store = Memory()
    about = Exposure(OutreachType.RE_ENGAGEMENT, START)
    kinds = (Control.OPENED, Control.NOT_NOW, Control.STOP_TYPE, Control.STOP_ALL, Control.OPENED)
    presses = [said(number, control, about=about) for number, control in enumerate(kinds, 1)]
    nowhere = [said(10, Control.NOT_NOW), said(11, Control.ANSWER, about=about), said(12, Control.COMMAND)]
    report = deliver(reacting(store), [presses, nowhere, presses])
    assert report.pressed == 3
    assert {name for *_, name in store.pressed} == {"opened", "not_now", "stopped"}


@dataclass
class Eraser:
    asked: list[tuple[int, int, datetime]]

    def erase(self, bot_id: int, user_id: int, at: datetime) -> int:
        self.asked.append((bot_id, user_id, at))
        return 9


def test_who_asks_to_be_forgotten_is_erased_where_patterns_are_written() -> None:
    """R99: up to the second of the press; where nobody erases, the housekeeper does."""
    store, eraser = Memory(), Eraser([])
    analyzer = EngagementAnalyzer(store, NoScores(), NoProfiles(), eraser=eraser)
    forget = said(1, Control.FORGET)
    report = deliver(analyzer, [[forget, said(2, Control.ANSWER)]])
    assert eraser.asked == [(1, 7, forget.occurred_at)]
    assert report.swept == 9
    assert deliver(analyzer_over(store), [[forget]]).swept == 0
