"""Awards and celebrations against a real table: given once whatever breaks, and what they cost."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.milestones import DEFAULTS, Milestone
from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.profile import Awaiting
from engagement.domain.templates import BUILT_IN
from engagement.errors import StoreUnavailableError
from engagement.services.analyzer import EngagementAnalyzer, LearningReport
from engagement.services.milestones import MilestoneSeeder, MilestonesInForce
from engagement.services.planner import Planner
from engagement.services.reactions import Reactions
from engagement.store import keys
from engagement.store.awards import Awards
from engagement.store.milestones import Milestones
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns, StoredPattern
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics
from engagement.store.table import (
    AwardItem,
    CatalogueItem,
    OutreachItem,
    PatternItem,
    ProfileItem,
    StatisticsItem,
    TombstoneItem,
    connection,
)
from tests import builders
from tests.integration.outreach.test_cost import Meter

BOT = 1
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""A Monday morning."""
DAY = timedelta(days=1)
LONG_AGO = START - 400 * DAY


class Killed(BaseException):
    """The process ends; nothing may catch it."""


def interaction(user_id: int, number: int, at: datetime, **changes: object) -> Interaction:
    return builders.interaction(number, at, user_id=user_id, chat_id=user_id, bot_id=BOT, **changes)


def minutes(user_id: int, count: int, start: datetime = START) -> list[Interaction]:
    return [interaction(user_id, number, start + number * timedelta(minutes=1)) for number in range(1, count + 1)]


def agree(user_id: int, **changes: Any) -> None:
    """A user who lives in Berlin and wants to be written to."""
    values = {"consent": "granted", "zone": "Europe/Berlin", "first_name": "Ada"} | changes
    ProfileItem(keys.user(BOT, user_id), keys.PROFILE, chat_id=user_id, created_at=LONG_AGO, **values).save()


def analyzer(milestones: Sequence[Milestone] | None = None, **policy: object) -> EngagementAnalyzer[StoredPattern]:
    """What the handler wires; the milestones in force are those given, else the table's."""
    read = Milestones(BOT).all if milestones is None else lambda: milestones
    planner = Planner(builders.policy(**policy), lambda: BUILT_IN)
    reactions = Reactions(MilestonesInForce(read), planner, Awards(), Outreaches())
    return EngagementAnalyzer(Patterns(), Scores(), Profiles(), reactions)


def seeded(*names: str) -> list[Milestone]:
    return [replace(m, seeded_at=LONG_AGO) for m in DEFAULTS if not names or m.milestone_name in names]


def outreaches(user_id: int) -> dict[str, OutreachItem]:
    found = OutreachItem.query(keys.user(BOT, user_id), OutreachItem.sk.startswith(keys.OUTREACH_PREFIX))
    return {item.sk: item for item in found}


def awards(user_id: int) -> set[str]:
    return {award.milestone_name for award in Awards().of_user(BOT, user_id)}


def counted(prefix: str) -> int:
    days = Statistics().of_days(BOT, LONG_AGO.date(), (START + 400 * DAY).date()).values()
    return sum(count for counters in days for name, count in counters.items() if name.startswith(prefix))


# --- R60: one award, one celebration ---


@contextmanager
def calls_observed(on_call: Callable[[str], None], on_answer: Callable[[str], None]) -> Iterator[None]:
    events = connection().client.meta.events

    def before(model: Any, **_: Any) -> None:
        on_call(model.name)

    def after(model: Any, **_: Any) -> None:
        on_answer(model.name)

    events.register("before-call.dynamodb", before)
    events.register("after-call.dynamodb", after)
    try:
        yield
    finally:
        events.unregister("before-call.dynamodb", before)
        events.unregister("after-call.dynamodb", after)


def test_a_crash_at_any_call_ends_in_one_award_and_one_celebration(table: str) -> None:
    """R60, R23: killed before or after each request to the table, and delivered again by the stream."""
    batches = 0
    for user_id in range(100, 200):
        agree(user_id)
        learner = analyzer(seeded("chatty_newcomer"))
        history = minutes(user_id, 10)
        learner.update_user_behavior_patterns(history[:9])
        calls = 0
        step, after_it = divmod(user_id - 100, 2)

        def killed(_: str, *, dies: bool, step: int = step) -> None:
            nonlocal calls
            if dies and calls == step:
                raise Killed
            calls += not dies

        # The answer of a call is counted; the request of the next one is met with the count so far.
        before = (lambda name: killed(name, dies=True)) if not after_it else (lambda _: None)
        after = (
            (lambda name: (killed(name, dies=True), killed(name, dies=False)))
            if after_it
            else (lambda name: killed(name, dies=False))
        )
        survived = False
        with suppress(Killed), calls_observed(before, after):
            learner.update_user_behavior_patterns(history[9:])
            survived = True
        report = LearningReport()
        analyzer(seeded("chatty_newcomer")).update_user_behavior_patterns(history[9:], report)
        batches += 1
        assert awards(user_id) == {"chatty_newcomer"}
        assert [item.state for item in outreaches(user_id).values()] == [OutreachState.SCHEDULED]
        if survived:
            break
    # Two reads and one transaction, each with a crash before and after, and the run that was not killed.
    assert batches == 3 * 2 + 1
    assert counted("award:") == counted("planned:") == counted("dau") == batches


def test_two_runs_at_once_award_once(table: str) -> None:
    """R24, R60: both read nine interactions; the loser of the condition folds again and finds the award given."""
    agree(7)
    history = minutes(7, 11)
    analyzer(()).update_user_behavior_patterns(history[:9])
    barrier = threading.Barrier(2)

    class Racing(Patterns):
        waited = False

        def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
            stored = super().load(bot_id, user_id)
            if not self.waited:
                self.waited = True
                barrier.wait(10)
            return stored

    def learn(one: Interaction) -> None:
        definitions = MilestonesInForce(lambda: seeded("chatty_newcomer"))
        planner = Planner(builders.policy(), lambda: BUILT_IN)
        learner = EngagementAnalyzer(
            Racing(), Scores(), Profiles(), Reactions(definitions, planner, Awards(), Outreaches())
        )
        learner.update_user_behavior_patterns([one], report)

    report = LearningReport()
    threads = [threading.Thread(target=learn, args=(one,)) for one in history[9:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stored = Patterns().load(BOT, 7)
    assert stored is not None
    assert stored.pattern.total == 11
    assert (awards(7), len(outreaches(7)), report.awarded, report.planned) == ({"chatty_newcomer"}, 1, 1, 1)
    assert counted("award:chatty_newcomer") == 1


def test_many_users_at_once_move_the_same_counters_exactly(table: str) -> None:
    """Neighbours share a counters' item; who loses to another transaction tries again."""

    def learn(first: int) -> None:
        learner = analyzer(seeded("first_interaction"))
        for user_id in range(first, first + 20):
            for attempt in range(5):
                try:
                    learner.update_user_behavior_patterns(minutes(user_id, 1))
                except StoreUnavailableError:
                    assert attempt < 4  # the stream delivers again
                else:
                    break

    threads = [threading.Thread(target=learn, args=(first,)) for first in range(1_000, 1_080, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted("award:first_interaction") == counted("dau") == counted("new_users") == 80


def test_a_lost_pattern_is_built_again_and_celebrates_nothing_twice(table: str) -> None:
    """R60: the pattern's item is gone, the awards are not."""
    agree(7)
    history = [interaction(7, day + 1, START + day * DAY) for day in range(12)]
    for one in history:
        analyzer(seeded()).update_user_behavior_patterns([one])
    before, planned = awards(7), set(outreaches(7))
    assert {"weekly_regular", "chatty_newcomer"} < before
    PatternItem(keys.user(BOT, 7), keys.PATTERN).delete()
    report = LearningReport()
    for one in history:
        analyzer(seeded()).update_user_behavior_patterns([one], report)
    stored = Patterns().load(BOT, 7)
    assert stored is not None
    assert (stored.pattern.total, stored.awarded) == (12, before)
    assert (awards(7), set(outreaches(7)), report.awarded, report.planned) == (before, planned, 0, 0)


def test_what_the_pattern_forgot_is_found_among_the_awards_and_the_outreach(table: str) -> None:
    """R60: neither an award nor an outreach that is there already keeps a pattern from being written."""
    agree(7)
    analyzer(seeded("chatty_newcomer")).update_user_behavior_patterns(minutes(7, 10))
    pattern = PatternItem(keys.user(BOT, 7), keys.PATTERN)
    pattern.update([PatternItem.awarded.remove()])
    report = LearningReport()
    # Reached before and not known to be awarded: silent, if it were not found.
    analyzer(seeded("chatty_newcomer")).update_user_behavior_patterns(minutes(7, 11), report)
    stored = Patterns().load(BOT, 7)
    assert stored is not None
    assert (stored.awarded, stored.pattern.total, report.awarded) == ({"chatty_newcomer"}, 11, 0)

    pattern.delete()
    AwardItem(keys.user(BOT, 7), keys.award("chatty_newcomer")).delete()
    analyzer(seeded("chatty_newcomer")).update_user_behavior_patterns(minutes(7, 10), report)
    assert (awards(7), len(outreaches(7)), report.awarded) == ({"chatty_newcomer"}, 1, 1)
    assert report.refused == {"already_planned": 1}


def test_a_batch_over_more_days_than_a_transaction_holds_is_written_in_parts(table: str) -> None:
    """A replay of the dead-letter queue must not become a poison of its own."""
    agree(7)
    report = LearningReport()
    analyzer(seeded()).update_user_behavior_patterns(
        [interaction(7, day + 1, START + day * DAY) for day in range(100)], report
    )
    assert (report.patterns_written, counted("dau")) == (4, 100)
    assert {"long_term_friend", "super_communicator"} < awards(7)
    # The hundredth interaction is today's; the rest is history.
    assert list(outreaches(7)) == [keys.outreach("milestone", "super_communicator")]


def test_an_erased_user_is_awarded_nothing(table: str) -> None:
    """R27."""
    TombstoneItem(keys.user(BOT, 7), keys.TOMBSTONE, erased_at=START + DAY).save()
    analyzer(seeded()).update_user_behavior_patterns(minutes(7, 12))
    assert (awards(7), outreaches(7), counted("")) == (set(), {}, 0)


# --- R62: the gate, and seeding ---


def test_a_celebration_says_what_was_reached_and_keeps_what_the_experiment_drew(table: str) -> None:
    agree(7)
    analyzer(seeded("chatty_newcomer")).update_user_behavior_patterns(minutes(7, 10))
    (item,) = outreaches(7).values()
    assert item.sk == keys.outreach("milestone", "chatty_newcomer")
    assert item.outreach_type == OutreachType.MILESTONE_CELEBRATION
    assert "Chatty Newcomer" in item.values_json
    assert item.template.startswith("milestone_celebration.")
    assert 0 < item.template_probability <= 1
    assert item.due_at == item.planned_at == START + timedelta(minutes=10)
    (award,) = Awards().of_user(BOT, 7)
    assert (award.awarded_at, award.points) == (START + timedelta(minutes=10), 20)


@pytest.mark.parametrize(
    ("profile", "policy", "reason"),
    [
        ({"opted_out": True}, {}, "opted_out"),
        ({"blocked": True}, {}, "blocked"),
        ({"consent": "unasked"}, {}, "consent"),
        ({}, {"enabled": False}, "paused"),
        ({}, {"max_per_day": 0}, "daily_cap"),
    ],
)
def test_who_may_not_be_written_to_is_awarded_without_a_word(
    table: str, profile: dict[str, Any], policy: dict[str, Any], reason: str
) -> None:
    """R62."""
    agree(7, **profile)
    report = LearningReport()
    analyzer(seeded("chatty_newcomer"), **policy).update_user_behavior_patterns(minutes(7, 10), report)
    assert (awards(7), outreaches(7), report.refused) == ({"chatty_newcomer"}, {}, {reason: 1})


def test_a_celebration_waits_for_the_end_of_quiet_hours_and_of_the_gap(table: str) -> None:
    """R62: reached at 23:10 in Berlin, said at 8 the next morning, or when the gap is over."""
    late = datetime(2026, 11, 2, 22, 0, tzinfo=UTC)
    for user_id, next_ok_at, due_at in (
        (7, None, datetime(2026, 11, 3, 7, 0, tzinfo=UTC)),
        (8, late + timedelta(hours=11), datetime(2026, 11, 3, 9, 0, tzinfo=UTC)),
    ):
        agree(user_id, next_ok_at=next_ok_at)
        analyzer(seeded("chatty_newcomer"), quiet=(22, 8)).update_user_behavior_patterns(minutes(user_id, 10, late))
        (item,) = outreaches(user_id).values()
        assert item.due_at == due_at


def test_seeding_sends_nothing_and_congratulates_nobody_for_the_past(table: str) -> None:
    """R62: no outreach comes of seeding, nor of the next interaction of those who had reached it before."""
    history = [interaction(7, day + 1, START + day * DAY) for day in range(10)]
    agree(7)
    analyzer().update_user_behavior_patterns(history[:9])
    seeder = MilestoneSeeder(BOT, Milestones(BOT), Statistics())
    seeder.seed_default_milestones(now=history[8].occurred_at + timedelta(hours=1))
    assert (awards(7), outreaches(7)) == (set(), {})
    analyzer().update_user_behavior_patterns(history[9:])
    # Nine days in a row were the past; the tenth interaction is news.
    assert awards(7) == {"first_interaction", "daily_chatter", "weekly_regular", "chatty_newcomer"}
    assert list(outreaches(7)) == [keys.outreach("milestone", "chatty_newcomer")]


def test_seeding_again_skips_what_is_there_and_leaves_the_operators_own_alone(table: str) -> None:
    seeder = MilestoneSeeder(BOT, Milestones(BOT), Statistics())
    own = replace(DEFAULTS[1], target_value=12, custom=True)
    assert seeder.add(own, now=START).seeded_at == START
    first = seeder.seed_default_milestones(now=START + DAY)
    assert first == {
        "milestones_created": 19,
        "milestones_updated": 0,
        "milestones_skipped": 1,
        "total_milestones": 20,
    }
    again = seeder.seed_default_milestones(now=START + 2 * DAY)
    assert (again["milestones_created"], again["milestones_skipped"], again["total_milestones"]) == (0, 20, 20)
    kept = {milestone.milestone_name: milestone for milestone in Milestones(BOT).all()}
    assert kept["chatty_newcomer"].target_value == 12
    assert {milestone.seeded_at for milestone in kept.values()} == {START, START + DAY}


def test_a_default_of_an_earlier_version_is_updated_and_counts_anew_only_if_it_asks_for_something_else(
    table: str,
) -> None:
    milestones = Milestones(BOT)
    seeder = MilestoneSeeder(BOT, milestones, Statistics())
    seeder.seed_default_milestones(now=START)
    by_name = {milestone.milestone_name: milestone for milestone in milestones.all()}
    milestones.put(replace(by_name["power_user"], description="Used many commands"), START)
    milestones.put(replace(by_name["chatty_newcomer"], target_value=20), START)
    counts = seeder.seed_default_milestones(now=START + DAY)
    assert (counts["milestones_updated"], counts["milestones_skipped"]) == (2, 18)
    by_name = {milestone.milestone_name: milestone for milestone in milestones.all()}
    assert by_name["power_user"].seeded_at == START
    assert (by_name["chatty_newcomer"].seeded_at, by_name["chatty_newcomer"].target_value) == (START + DAY, 10)


def test_a_definition_of_a_newer_version_waits_and_stops_nobody(table: str) -> None:
    """After a rollback the stream goes on with what it can read."""
    MilestoneSeeder(BOT, Milestones(BOT), Statistics()).seed_default_milestones(now=LONG_AGO)
    pk = keys.catalogue(BOT)
    for name, body in {
        "later": '{"milestone_name": "later", "metric_name": "voice_minutes"}',
        "odd": '{"a": 1}',
    }.items():
        CatalogueItem(pk, f"{keys.MILESTONE_PREFIX}{name}", body=body, updated_at=START).save()
    assert len(Milestones(BOT).all()) == 20
    analyzer().update_user_behavior_patterns(minutes(7, 1))
    assert awards(7) == {"first_interaction"}


def test_definitions_are_read_once_in_five_minutes() -> None:
    """In either direction: a replay brings events of another day."""
    reads: list[int] = []
    in_force = MilestonesInForce(lambda: (reads.append(1), tuple(DEFAULTS))[1])
    for seconds in (0, 1, 299, -3_600, 300, 301):
        assert in_force.at(START + timedelta(seconds=seconds)) == DEFAULTS
    assert len(reads) == 3


def test_what_was_awarded_is_counted_for_the_operator(table: str) -> None:
    seeder = MilestoneSeeder(BOT, Milestones(BOT), Statistics())
    seeder.seed_default_milestones(now=LONG_AGO)
    for user_id in (7, 8):
        analyzer().update_user_behavior_patterns(minutes(user_id, 10 * (user_id == 7) + 1))
    assert seeder.remove("first_interaction")
    assert not seeder.remove("first_interaction")
    stats = seeder.get_milestone_stats(now=START + DAY)
    assert (stats["active_milestones"], stats["total_awards"], stats["total_points"]) == (19, 3, 20)
    assert (
        stats["by_milestone"] | {"first_interaction": 2, "chatty_newcomer": 1, "power_user": 0} == stats["by_milestone"]
    )
    assert stats["by_category"] == {
        "conversation": 1,
        "exploration": 0,
        "mood": 0,
        "consistency": 0,
        "quality": 0,
        "rhythm": 0,
        "loyalty": 0,
    }
    assert stats["by_difficulty"] == {1: 1, 2: 0, 3: 0, 4: 0, 5: 0}


# --- answers, support, scores ---


def expose(user_id: int, at: datetime) -> None:
    """An outreach that was sent at `at`, and whose answer is awaited."""
    agree(user_id, awaiting={str(Awaiting(at, "silence", "1"))})
    outreach = Outreach(
        bot_id=BOT,
        user_id=user_id,
        campaign="silence",
        period="1",
        outreach_type=OutreachType.RE_ENGAGEMENT,
        state=OutreachState.SCHEDULED,
        priority=0.5,
        trigger="test",
        template="re_engagement.open_door",
        planned_at=at - DAY,
        due_at=at,
        expires_at=at + DAY,
    )
    assert Outreaches().plan(outreach)
    OutreachItem(keys.user(BOT, user_id), keys.outreach("silence", "1")).update(
        [OutreachItem.state.set("sent"), OutreachItem.sent_at.set(at), OutreachItem.exposed_at.set(at)]
    )


def test_the_next_interaction_answers_an_outreach_and_counts_it_once(table: str) -> None:
    """Contract of the stream: sent, and answered within a day, in whatever order the answers arrive."""
    expose(7, START)
    history = minutes(7, 3, START + timedelta(hours=3))
    report = LearningReport()
    for one in (history[2], history[0], history[1], history[0]):
        analyzer(()).update_user_behavior_patterns([one], report)
    (item,) = outreaches(7).values()
    assert (item.state, item.returned_at) == ("responded", history[0].occurred_at)
    assert counted("responded:re_engagement") == 1


def test_support_is_scheduled_with_the_interaction_that_turns_the_mood(table: str) -> None:
    agree(7)

    def felt(first: int, sentiment: float, at: datetime) -> list[Interaction]:
        kind = SentimentType.POSITIVE if sentiment > 0 else SentimentType.VERY_NEGATIVE
        return [
            interaction(7, first + n, at + n * timedelta(minutes=1), sentiment=sentiment, sentiment_type=kind)
            for n in range(30)
        ]

    analyzer(()).update_user_behavior_patterns(felt(1, 0.6, START))
    assert outreaches(7) == {}
    for _ in range(2):
        analyzer(()).update_user_behavior_patterns(felt(100, -0.7, START + 20 * DAY))
    (item,) = outreaches(7).values()
    assert item.outreach_type == OutreachType.MOOD_SUPPORT
    assert counted("planned:mood_support") == 1


def test_a_good_interaction_moves_the_user_to_the_head_of_the_scorers_queue(table: str) -> None:
    agree(7)
    learner = analyzer(())
    learner.update_user_behavior_patterns([interaction(7, 1, START)])
    item = PatternItem.get(keys.user(BOT, 7), keys.PATTERN)
    assert (item.due_at, item.asked_at) == (START + DAY, None)
    good = START + timedelta(hours=2)
    learner.update_user_behavior_patterns([interaction(7, 2, good, quality=0.8)])
    learner.update_user_behavior_patterns([interaction(7, 3, good + timedelta(hours=5), quality=0.9)])
    item = PatternItem.get(keys.user(BOT, 7), keys.PATTERN)
    assert (item.due_at, item.asked_at, item.version) == (good, good, 3)


# --- what it costs ---


@pytest.fixture
def meter(table: str) -> Iterator[Meter]:
    events, meter = connection().client.meta.events, Meter()
    events.register("provide-client-params.dynamodb", meter.ask)
    events.register("after-call.dynamodb", meter.read)
    yield meter
    events.unregister("provide-client-params.dynamodb", meter.ask)
    events.unregister("after-call.dynamodb", meter.read)


def test_an_interaction_costs_one_write_unit_and_its_users_first_of_a_day_four(meter: Meter) -> None:
    """R29: the day is counted once, in the transaction of the pattern: two units for each of the two items."""
    agree(7)
    learner = analyzer(seeded())
    learner.update_user_behavior_patterns(minutes(7, 2))
    meter.writes.clear()
    meter.reads.clear()

    learner.update_user_behavior_patterns([interaction(7, 3, START + timedelta(hours=1))])
    assert meter.writes == [("UpdateItem", 1.0)]
    assert meter.reads == {"GetItem": 2}

    meter.writes.clear()
    learner.update_user_behavior_patterns([interaction(7, 4, START + DAY)])
    assert meter.writes == [("TransactWriteItems", 4.0)]

    meter.writes.clear()
    meter.reads.clear()
    learner.update_user_behavior_patterns([interaction(7, 4, START + DAY)])
    assert (meter.writes, meter.reads) == ([], {"GetItem": 1})


def test_a_new_user_an_award_a_celebration_and_a_request_for_scores_have_their_price(meter: Meter) -> None:
    """New: tombstone, pattern, profile and counters at two units each; one for each row of the index.

    There is one for the scores and one for the day on which it is asked whether the user is still to be kept.

    An award adds two; its celebration two more, and one for its row in the index.
    """
    learner = analyzer(seeded("chatty_newcomer"))
    learner.update_user_behavior_patterns(minutes(8, 1))
    assert meter.writes == [("TransactWriteItems", 10.0)]

    meter.writes.clear()
    learner.update_user_behavior_patterns(minutes(8, 10)[1:])
    # Pattern, award, counters; nobody asked this user whether we may write.
    assert meter.writes == [("TransactWriteItems", 6.0)]

    agree(7)
    learner.update_user_behavior_patterns(minutes(7, 9))
    meter.writes.clear()
    learner.update_user_behavior_patterns(minutes(7, 10)[9:])
    assert meter.writes == [("TransactWriteItems", 9.0)]

    meter.writes.clear()
    learner.update_user_behavior_patterns([interaction(7, 11, START + timedelta(hours=1), quality=0.9)])
    # The pattern, and its row in the index: gone from there, put here.
    assert meter.writes == [("UpdateItem", 3.0)]


def test_the_first_hello_is_awarded_in_silence(table: str) -> None:
    """R104: nobody is congratulated on having come, whenever the milestone was put into force."""
    agree(7)
    learner = analyzer(seeded("first_interaction"))

    report = LearningReport()
    learner.update_user_behavior_patterns(minutes(7, 1), report)

    assert (awards(7), outreaches(7)) == ({"first_interaction"}, {})
    assert (report.awarded, report.planned, report.refused) == (1, 0, {})


def test_an_award_is_a_small_item(table: str) -> None:
    agree(7)
    analyzer(seeded("conversation_enthusiast")).update_user_behavior_patterns(minutes(7, 50))
    item = AwardItem.get(keys.user(BOT, 7), keys.award("conversation_enthusiast"))
    assert len(str(item.serialize())) < 400
    assert all(row.expires_on for row in StatisticsItem.scan() if row.kind == "statistics")
