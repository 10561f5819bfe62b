"""R90: what a user says by a button or command of ours is no activity, wherever activity is looked at."""

import random
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.consequences import answers, asks_for_scoring, without_recent
from engagement.domain.features import features
from engagement.domain.interaction import DISMISSALS, Control, EngagementType, Interaction, SentimentType, by_themselves
from engagement.domain.milestones import DEFAULTS, clock_of, newly_reached, progress
from engagement.domain.mood import mood_trend
from engagement.domain.pattern import EMPTY, fold, last_seen
from engagement.domain.planning import Thresholds, candidates
from engagement.domain.population import BUNDLED
from engagement.domain.profile import Awaiting
from engagement.domain.scores import rule_scores
from engagement.domain.statistics import activity_moves
from tests.builders import NOW, interaction

HOUR = timedelta(hours=1)
BEGIN = NOW - 60 * 24 * HOUR
AT_THE_END = NOW + HOUR
THRESHOLDS = Thresholds(re_engagement=0.8, checkin=0.6, features=("habits",))

hours = st.integers(0, 60 * 24)
moods = st.sampled_from(
    [(None, SentimentType.UNKNOWN), (-0.8, SentimentType.VERY_NEGATIVE), (0.9, SentimentType.VERY_POSITIVE)]
)
what = st.tuples(hours, st.sampled_from(EngagementType), moods, st.floats(0, 1), st.booleans())


def happened(number: int, drawn: tuple, control: Control | None) -> Interaction:  # type: ignore[type-arg]
    hour, kind, (sentiment, sentiment_type), quality, edited = drawn
    return interaction(
        number,
        BEGIN + hour * HOUR,
        engagement_type=kind,
        sentiment=sentiment,
        sentiment_type=sentiment_type,
        quality=quality,
        edited=edited,
        topics=("music",),
        control=control,
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Interaction], list[Interaction]]:
    """What somebody did by themselves; and the same with presses and commands of ours, in any order and repetition."""
    own = [happened(n, drawn, None) for n, drawn in enumerate(draw(st.lists(what, max_size=12)))]
    said = [
        happened(1_000 + n, drawn, draw(st.sampled_from(Control)))
        for n, drawn in enumerate(draw(st.lists(what, max_size=12)))
    ]
    mixed = [*own, *said, *draw(st.lists(st.sampled_from([*own, *said]), max_size=5) if own or said else st.just([]))]
    dice: random.Random = draw(st.randoms(use_true_random=False))
    dice.shuffle(mixed)
    return own, mixed


@given(histories())
def test_a_pattern_is_that_of_what_they_did_by_themselves(history: tuple[list[Interaction], list[Interaction]]) -> None:
    """Days, slots, sessions, `last_seen`, counters: everything that is read off it."""
    own, mixed = history
    alone, among = fold(EMPTY, own), fold(EMPTY, mixed)

    assert among == alone
    assert fold(alone, mixed) == alone
    assert last_seen(among) == last_seen(alone)
    assert activity_moves(EMPTY, among) == activity_moves(EMPTY, alone)


@given(histories())
def test_scores_features_milestones_and_candidates_do_not_see_a_press(
    history: tuple[list[Interaction], list[Interaction]],
) -> None:
    """A scorer and a planner see patterns, and a milestone is reached by them."""
    own, mixed = history
    alone, among = fold(EMPTY, own), fold(EMPTY, mixed)
    clock = clock_of(None, among)

    assert rule_scores(among, AT_THE_END) == rule_scores(alone, AT_THE_END)
    assert newly_reached(DEFAULTS, (), among, clock) == newly_reached(DEFAULTS, (), alone, clock)
    for milestone in DEFAULTS:
        assert progress(milestone, among, clock, AT_THE_END) == progress(milestone, alone, clock, AT_THE_END)
    if own:
        assert features(among, AT_THE_END) == features(alone, AT_THE_END)
    planned = [
        candidates(
            pattern,
            rule_scores(pattern, AT_THE_END),
            THRESHOLDS,
            mood_trend(pattern, BUNDLED, AT_THE_END),
            [],
            AT_THE_END,
        )
        for pattern in (alone, among)
    ]
    assert planned[0] == planned[1]


@given(histories(), hours)
def test_a_press_never_answers_an_exposure(history: tuple[list[Interaction], list[Interaction]], hour: int) -> None:
    """Never `returned`, never `responded`: the answer is the first thing that they did by themselves, or none."""
    own, mixed = history
    awaiting = [Awaiting(BEGIN + hour * HOUR, "silence", "1")]
    found = answers(awaiting, EMPTY, mixed)

    assert found == answers(awaiting, EMPTY, own)
    own_times = {one.occurred_at for one in own}
    assert all(at in own_times for _, at in found)


@given(histories())
def test_a_press_asks_for_no_scoring_and_is_worth_no_message(
    history: tuple[list[Interaction], list[Interaction]],
) -> None:
    own, mixed = history
    since = BEGIN + 30 * 24 * HOUR

    assert asks_for_scoring(mixed, [None], AT_THE_END) == asks_for_scoring(own, [None], AT_THE_END)
    assert without_recent(EMPTY, mixed, since) == without_recent(EMPTY, own, since)


@pytest.mark.parametrize(("control", "kind"), list(product(Control, EngagementType)))
def test_no_kind_of_press_or_command_is_activity(control: Control, kind: EngagementType) -> None:
    """Not one of a streak of 30 days of them, however good."""
    streak = [
        interaction(day, NOW - day * 24 * HOUR, control=control, engagement_type=kind, quality=1.0) for day in range(30)
    ]

    assert fold(EMPTY, streak) == EMPTY
    assert not any(map(by_themselves, streak))
    assert not asks_for_scoring(streak, [None], AT_THE_END)
    assert answers([Awaiting(BEGIN, "silence", "1")], EMPTY, streak) == []


def test_what_users_do_by_themselves_is_everything_else() -> None:
    """A command of the bot's own, a press of its own buttons, a sticker: whatever is not of ours."""
    assert all(by_themselves(interaction(engagement_type=kind)) for kind in EngagementType)
    assert fold(EMPTY, [interaction(engagement_type=EngagementType.COMMAND)]).total == 1
    assert {Control.NOT_NOW, Control.STOP_TYPE, Control.STOP_ALL} == DISMISSALS
