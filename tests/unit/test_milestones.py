"""Milestones: the defaults, each reached by a plain history, and progress as a pure function of the pattern."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.analysis import analyse
from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from engagement.domain.milestones import (
    DEFAULTS,
    METRICS,
    MIN_AVERAGED,
    MetricType,
    Milestone,
    clock_of,
    newly_reached,
    parse,
    progress,
    reached,
)
from engagement.domain.pattern import EMPTY, Pattern, fold, merge
from engagement.domain.update import Contact, MessageSent
from tests.builders import NOW, interaction, pattern_of, profile

BY_NAME = {milestone.milestone_name: milestone for milestone in DEFAULTS}
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)
MONDAY = datetime(2026, 9, 7, 10, 0, tzinfo=UTC)

GUIDE = {
    "first_interaction": ("total_interactions", 1),
    "chatty_newcomer": ("total_interactions", 10),
    "conversation_enthusiast": ("total_interactions", 50),
    "super_communicator": ("total_interactions", 100),
    "conversation_master": ("total_interactions", 500),
    "command_explorer": ("commands", 5),
    "power_user": ("commands", 25),
    "positive_vibes": ("positive_interactions", 10),
    "sunshine_ambassador": ("positive_interactions", 50),
    "daily_chatter": ("consecutive_active_days", 3),
    "weekly_regular": ("consecutive_active_days", 7),
    "dedication_champion": ("consecutive_active_days", 30),
    "quality_conversations": ("average_quality", 0.7),
    "engagement_expert": ("average_quality", 0.8),
    "friendly_neighbor": ("greetings", 10),
    "early_bird": ("early_mornings", 5),
    "night_owl": ("late_nights", 5),
    "weekend_warrior": ("weekend_days", 8),
    "long_term_friend": ("active_days", 90),
    "loyal_companion": ("active_days", 365),
}


def names(pattern: Pattern, clock: timezone | ZoneInfo = UTC) -> set[str]:
    return {milestone.milestone_name for milestone in newly_reached(DEFAULTS, (), pattern, clock)}


def custom(**changes: object) -> Milestone:
    """The guide's example, apart from the changes."""
    fields = {
        "milestone_name": "power_user_week",
        "display_name": "Power User Week",
        "description": "Use the bot every day for a week",
        "metric_name": "consecutive_active_days",
        "target_value": 7.0,
        "metric_type": "streak",
        "category": "engagement",
        "difficulty_level": 3,
    }
    return Milestone.of({**fields, **changes})


# --- the catalogue ---


def test_the_defaults_are_the_twenty_of_the_guide() -> None:
    assert {m.milestone_name: (m.metric_name, m.target_value) for m in DEFAULTS} == GUIDE
    assert {m.points for m in DEFAULTS} >= {10, 1_000}
    assert {m.difficulty_level for m in DEFAULTS} == {1, 2, 3, 4, 5}
    assert not any(m.custom or m.seeded_at for m in DEFAULTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric_name": "messages"}, "unknown metric_name 'messages'; use one of total_interactions, commands, "),
        ({"metric_type": "count"}, "metric_type: consecutive_active_days is a streak"),
        ({"target_value": 0}, "target_value: expected a whole number above 0, at most 59 of consecutive_active_days"),
        ({"target_value": 60}, "at most 59"),
        ({"target_value": 2.5}, "a whole number"),
        ({"target_value": float("nan")}, "target_value"),
        ({"target_value": True}, "target_value"),
        (
            {"metric_name": "average_quality", "metric_type": "average", "target_value": 1.1},
            "a number above 0, at most 1",
        ),
        ({"metric_name": "commands", "metric_type": "count", "target_value": float("inf")}, "target_value"),
        ({"milestone_name": "Power User"}, "milestone_name"),
        ({"milestone_name": "a" * 41}, "milestone_name"),
        ({"display_name": " "}, "display_name: expected 1 to 64 characters"),
        ({"display_name": "a\nb"}, "display_name"),
        ({"description": ""}, "description"),
        ({"category": "a b"}, "category"),
        ({"difficulty_level": 6}, "difficulty_level: expected 1 to 5"),
        ({"points": 5}, "points: expected 10 to 1000"),
        ({"reward": 5}, "unexpected keyword argument 'reward'"),
        ({"seeded_at": "2026-11-22T12:00:00"}, "seeded_at: expected a time with a zone"),
    ],
)
def test_a_milestone_that_is_none_says_what_would_be_right(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"^milestone ") as caught:
        custom(**changes)
    assert message in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"category: .*; points: "):
        custom(category="", points=0)


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(ValueError, match="milestone half: missing 7 required keyword-only arguments: 'display_name'"):
        Milestone.of({"milestone_name": "half"})


@pytest.mark.parametrize("toml", ["a = 1", "[a]\nb = 2", "[", "[a.b]\nc = 1"])
def test_a_catalogue_that_is_none_is_refused(toml: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a TOML error or ours
        parse(toml)


def test_a_definition_reads_back_as_the_same_milestone() -> None:
    for milestone in (*DEFAULTS, custom(), replace(custom(), seeded_at=NOW)):
        assert Milestone.of(milestone.definition()) == milestone


# --- each default is reached ---


def days(count: int, start: datetime = MONDAY, step: timedelta = DAY) -> list[Interaction]:
    return [interaction(number + 1, start + number * step) for number in range(count)]


def wrote(number: int, text: str) -> Interaction:
    """What the webhook makes of a message."""
    message = MessageSent(
        update_id=number,
        user_id=7,
        contact=Contact(chat_id=7, first_name="Ada", language_code="en"),
        occurred_at=MONDAY + number * timedelta(minutes=7),
        engagement_type=EngagementType.COMMAND if text.startswith("/") else EngagementType.MESSAGE,
        text=text,
        command=None,
        sticker_emoji="",
        spoken_seconds=0,
        edited=False,
        replied_to_id=1,
        replied_to_at=MONDAY,
    )
    return analyse(message, 1, store_text=False)


GOOD = "I rewrote the whole parser today and it works on every file that you gave me, so what should come next?"
GREAT = (
    "This morning I finally understood why our two numbers differ: one report counts each person once while another "
    "adds up visits, therefore nothing was lost. Could you show me how such sums are usually written down properly?"
)

HISTORIES: dict[str, list[Interaction]] = {
    "first_interaction": days(1),
    "chatty_newcomer": days(10, step=timedelta(minutes=1)),
    "conversation_enthusiast": days(50, step=timedelta(minutes=1)),
    "super_communicator": days(100, step=timedelta(minutes=1)),
    "conversation_master": days(500, step=timedelta(minutes=1)),
    "command_explorer": [wrote(number, f"/help {number}") for number in range(5)],
    "power_user": [wrote(number, "/start") for number in range(25)],
    "positive_vibes": [wrote(number, "That is wonderful, I love it!") for number in range(10)],
    "sunshine_ambassador": [wrote(number, "great, thank you so much") for number in range(50)],
    "daily_chatter": days(3),
    "weekly_regular": days(7),
    "dedication_champion": days(30),
    "quality_conversations": [wrote(number, GOOD) for number in range(MIN_AVERAGED)],
    "engagement_expert": [wrote(number, GREAT) for number in range(MIN_AVERAGED)],
    "friendly_neighbor": [wrote(number, "Hello there") for number in range(10)],
    "early_bird": days(5, MONDAY.replace(hour=6)),
    "night_owl": days(5, MONDAY.replace(hour=23)),
    "weekend_warrior": [i for i in days(28) if i.occurred_at.weekday() >= 5],
    "long_term_friend": days(90, step=2 * DAY),
    "loyal_companion": days(365),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_each_default_is_reached_by_a_plain_history_and_not_before_its_last_interaction(name: str) -> None:
    """Every default must be reachable: from interactions through the fold, one at a time as the stream may do."""
    history = HISTORIES[name]
    almost = fold(EMPTY, history[:-1])
    assert not reached(BY_NAME[name], almost, UTC)
    whole = fold(almost, history[-1:])
    assert reached(BY_NAME[name], whole, UTC)
    assert progress(BY_NAME[name], whole, UTC, NOW).share == 1


def test_every_default_has_such_a_history() -> None:
    assert set(HISTORIES) == set(GUIDE)


# --- R61: days by the user's clock ---

NEPAL = timezone(timedelta(hours=5, minutes=45))


def at(text: str, clock: timezone | ZoneInfo = BERLIN, fold_: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=clock, fold=fold_).astimezone(UTC)


@pytest.mark.parametrize(
    ("times", "clock", "streak"),
    [
        # Midnight: a minute apart, two days; a day and most of another apart, still two days in a row.
        ([at("2026-07-01T23:59"), at("2026-07-02T00:00")], BERLIN, 2),
        ([at("2026-07-01T00:00"), at("2026-07-02T23:59")], BERLIN, 2),
        ([at("2026-07-01T23:59"), at("2026-07-03T00:00")], BERLIN, 1),
        # One UTC day may be two local ones, and two UTC days one.
        ([at("2026-07-01T22:30", UTC), at("2026-07-01T21:30", UTC)], BERLIN, 2),
        ([at("2026-07-01T22:30", UTC), at("2026-07-02T12:00", UTC)], BERLIN, 1),
        # The clocks go forward: 2026-03-29 has 23 hours in Berlin, its midnights are at 23 h and at 22 h UTC.
        ([at("2026-03-28T12:00"), at("2026-03-29T23:45"), at("2026-03-30T00:15")], BERLIN, 3),
        ([at("2026-03-29T00:15"), at("2026-03-29T23:45")], BERLIN, 1),
        ([at("2026-03-28T23:45"), at("2026-03-29T00:15"), at("2026-03-30T00:15")], BERLIN, 3),
        # They go back: 2026-10-25 has 25 hours, and the hour from 2 to 3 twice.
        ([at("2026-10-25T00:15"), at("2026-10-25T23:45")], BERLIN, 1),
        ([at("2026-10-24T23:45"), at("2026-10-25T23:45"), at("2026-10-26T00:15")], BERLIN, 3),
        ([at("2026-10-25T02:30"), at("2026-10-25T02:30", fold_=1)], BERLIN, 1),
        # Sunday 2026-11-01 has 25 hours in New York.
        (
            [at("2026-10-31T23:59", NEW_YORK), at("2026-11-01T23:59", NEW_YORK), at("2026-11-02T00:00", NEW_YORK)],
            NEW_YORK,
            3,
        ),
        # A quarter of an hour: 00:15 is in a half-hour that began before midnight where clocks differ by quarters.
        ([at("2026-07-01T12:00", NEPAL), at("2026-07-02T00:15", NEPAL)], NEPAL, 2),
        ([at("2026-07-01T12:00", NEPAL), at("2026-07-02T00:14", NEPAL)], NEPAL, 1),
    ],
)
def test_a_streak_is_of_local_days_across_midnight_and_changes_of_clocks(
    times: list[datetime], clock: ZoneInfo, streak: int
) -> None:
    """R61."""
    pattern = pattern_of(times)
    assert METRICS["consecutive_active_days"].measure(pattern, clock) == streak


def test_another_zone_looks_at_the_same_half_hours_by_its_own_clock() -> None:
    """R61: what was 3 days in a row in Berlin may be 2 in New York; the pattern does not change."""
    pattern = pattern_of([at("2026-07-01T12:00"), at("2026-07-02T03:00"), at("2026-07-03T03:00")])
    measure = METRICS["consecutive_active_days"].measure
    assert (measure(pattern, BERLIN), measure(pattern, NEW_YORK)) == (3, 2)
    assert (names(pattern, BERLIN) - names(pattern, NEW_YORK)) == {"daily_chatter"}


def test_a_streak_of_thirty_days_fits_the_window_whatever_came_between() -> None:
    """R61: 30 days in a row are still there 29 days after the last of them, across a change of clocks."""
    times = [at("2026-10-01T23:30") + number * DAY for number in range(30)]
    assert reached(BY_NAME["dedication_champion"], pattern_of([*times, times[-1] + 29 * DAY]), BERLIN)
    assert reached(
        custom(target_value=59), pattern_of(at("2026-09-01T09:00") + number * DAY for number in range(59)), BERLIN
    )


def test_a_gap_ends_a_streak() -> None:
    times = [MONDAY + number * DAY for number in (0, 1, 3, 4)]
    assert names(pattern_of(times)) == {"first_interaction"}


def test_small_hours_belong_to_the_evening_before() -> None:
    """One night from 23 h to 3 h is one night."""
    times = [MONDAY.replace(hour=23), MONDAY.replace(hour=23) + timedelta(hours=3)]
    assert METRICS["late_nights"].measure(pattern_of(times), UTC) == 1
    assert (
        METRICS["late_nights"].measure(pattern_of([MONDAY.replace(hour=4), MONDAY.replace(hour=21, minute=59)]), UTC)
        == 0
    )


def test_the_clock_is_the_one_they_set_or_else_the_likeliest() -> None:
    pattern = pattern_of(MONDAY.replace(hour=3) + number * DAY for number in range(20))
    assert clock_of(profile(zone="Europe/Berlin"), pattern) == BERLIN
    assert clock_of(profile(zone="Etc/UTC"), pattern) == ZoneInfo("Etc/UTC")
    for unset in ("UTC", "../../etc/passwd"):
        assert clock_of(profile(zone=unset, language_code="pt-BR"), pattern).utcoffset(None) == timedelta(hours=-3)
    assert clock_of(None, pattern).utcoffset(None) is not None


# --- progress ---


@pytest.mark.parametrize(
    ("name", "pattern", "now", "bar"),
    [
        (
            "super_communicator",
            pattern_of(MONDAY + n * timedelta(minutes=1) for n in range(30)),
            MONDAY,
            "▰▰▰▱▱▱▱▱▱▱ 30 / 100",
        ),
        ("chatty_newcomer", pattern_of(MONDAY + n * DAY for n in range(12)), MONDAY, "▰▰▰▰▰▰▰▰▰▰ 12 / 10"),
        (
            "quality_conversations",
            fold(EMPTY, [interaction(n, quality=0.6996) for n in range(40)]),
            NOW,
            "▰▰▰▰▰▰▰▰▰▰ 0.7 / 0.7",
        ),
        (
            "quality_conversations",
            fold(EMPTY, [interaction(n, quality=0.699) for n in range(40)]),
            NOW,
            "▰▰▰▰▰▰▰▰▰▱ 0.69 / 0.7",
        ),
        (
            "quality_conversations",
            fold(EMPTY, [interaction(n, quality=0.9) for n in range(5)]),
            NOW,
            "▰▰▱▱▱▱▱▱▱▱ 0.9 / 0.7",
        ),
        ("weekly_regular", pattern_of(MONDAY + n * DAY for n in range(4)), MONDAY + 4 * DAY, "▰▰▰▰▰▱▱▱▱▱ 4 / 7"),
        # Broken: it begins anew.
        ("weekly_regular", pattern_of(MONDAY + n * DAY for n in range(4)), MONDAY + 5 * DAY, "▱▱▱▱▱▱▱▱▱▱ 0 / 7"),
        # Reached within the window: it stays reached.
        ("weekly_regular", pattern_of(MONDAY + n * DAY for n in range(8)), MONDAY + 40 * DAY, "▰▰▰▰▰▰▰▰▰▰ 8 / 7"),
    ],
)
def test_progress_reads_as_a_bar(name: str, pattern: Pattern, now: datetime, bar: str) -> None:
    assert progress(BY_NAME[name], pattern, UTC, now).bar() == bar


def test_nobody_has_any_progress_before_the_first_interaction() -> None:
    for milestone in DEFAULTS:
        assert progress(milestone, EMPTY, UTC, NOW).share == 0


@given(
    counts=st.lists(st.integers(0, 30 * 48), max_size=40),
    quality=st.floats(0, 1),
    sentiment=st.sampled_from(SentimentType),
    clock=st.sampled_from([UTC, BERLIN, NEW_YORK]),
)
@settings(max_examples=150, deadline=None)
def test_a_share_is_one_where_it_is_reached_and_nowhere_else(
    counts: list[int], quality: float, sentiment: SentimentType, clock: ZoneInfo
) -> None:
    pattern = fold(
        EMPTY,
        [
            interaction(n, MONDAY + slot * timedelta(minutes=30), quality=quality, sentiment_type=sentiment)
            for n, slot in enumerate(counts)
        ],
    )
    for milestone in DEFAULTS:
        found = progress(milestone, pattern, clock, MONDAY + 31 * DAY)
        assert 0 <= found.share <= 1
        assert (found.share == 1) is reached(milestone, pattern, clock)


# --- R60: any order, any split, any repetition ---

GROWING = [m for m in DEFAULTS if m.metric_type is not MetricType.AVERAGE]


def given_by(batches: Iterable[list[Interaction]], clock: ZoneInfo) -> list[str]:
    """The awards in the order in which they are given, as the stream gives them: once each."""
    pattern, awarded = EMPTY, list[str]()
    for batch in batches:
        pattern = fold(pattern, batch)
        awarded += [m.milestone_name for m in newly_reached(GROWING, awarded, pattern, clock)]
    return awarded


@given(
    slots=st.lists(st.integers(0, 45 * 48), min_size=1, max_size=120),
    command_share=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    clock=st.sampled_from([BERLIN, NEW_YORK]),
)
@settings(max_examples=80, deadline=None)
def test_any_order_split_and_repetition_gives_the_same_awards_each_once(
    slots: list[int], command_share: int, seed: int, clock: ZoneInfo
) -> None:
    """R60: for what grows only, within an unbroken window; both DST nights of 2026 lie in it."""
    start = datetime(2026, 10, 1, tzinfo=UTC)
    history = [
        interaction(
            n,
            start + slot * timedelta(minutes=30),
            engagement_type=EngagementType.COMMAND if n % 4 < command_share else EngagementType.MESSAGE,
            is_greeting=n % 3 == 0,
            sentiment_type=SentimentType.POSITIVE if n % 2 else SentimentType.NEGATIVE,
        )
        for n, slot in enumerate(slots)
    ]
    dice = random.Random(seed)
    deliveries = history + dice.choices(history, k=len(history) // 2)
    dice.shuffle(deliveries)
    batches = []
    while deliveries:
        size = dice.randint(1, 12)
        batches.append(deliveries[:size])
        deliveries = deliveries[size:]
    awarded = given_by(batches, clock)
    assert len(awarded) == len(set(awarded))
    assert set(awarded) == set(given_by([history], clock)) == set(given_by([[i] for i in history], clock))


def test_milestones_of_a_merged_pattern_are_those_of_the_whole_history() -> None:
    """A pattern that a repair puts together from parts reaches what the stream's would."""
    history = days(31)
    left, right = fold(EMPTY, history[:10]), fold(EMPTY, history[10:])
    assert names(merge(left, right)) == names(fold(EMPTY, history))


def test_the_most_difficult_comes_first() -> None:
    pattern = pattern_of(MONDAY + number * DAY for number in range(30))
    found = newly_reached(DEFAULTS, {"chatty_newcomer"}, pattern, UTC)
    assert found[0].milestone_name == "dedication_champion"
    assert "chatty_newcomer" not in {milestone.milestone_name for milestone in found}
    assert [m.difficulty_level for m in found] == sorted((m.difficulty_level for m in found), reverse=True)
