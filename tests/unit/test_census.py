"""The counts of a scoring pass: how they add up, and what they say of a bot's users."""

from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.census import Census, Outcomes, Tally, population
from engagement.domain.features import BIN_EDGES, NAMES, bins_of, features
from engagement.domain.interaction import SentimentType
from engagement.domain.outcome import Outcome
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.population import BUNDLED
from engagement.domain.scores import ChurnScores
from tests.builders import NOW, interaction, pattern_of, silent_for

SCORES = ChurnScores(0.9, 0.7, 0.5)
User = tuple[Pattern, ChurnScores, Outcome | None]


def census_of(users: list[User]) -> Census:
    tally = Tally()
    for pattern, scores, outcome in users:
        tally.count(pattern, features(pattern, NOW), scores, outcome, NOW)
    return tally.census()


def spoken(sentiments: list[float | None], first: datetime = NOW) -> Pattern:
    """A user who said these things, an hour apart."""
    return fold(
        EMPTY,
        [
            interaction(
                number,
                first - timedelta(hours=number),
                sentiment=sentiment,
                sentiment_type=SentimentType.UNKNOWN if sentiment is None else SentimentType.POSITIVE,
            )
            for number, sentiment in enumerate(sentiments)
        ],
    )


patterns = st.lists(st.one_of(st.none(), st.floats(-1, 1)), max_size=12).map(spoken)
probabilities = st.floats(0, 1).map(lambda p: ChurnScores(p, p * 0.9, p * 0.8))
outcomes = st.none() | st.builds(
    Outcome, churn_7d=st.floats(0, 1), by=st.sampled_from(["1-abc", "2-def", "rules"]), stayed_away=st.booleans()
)
users = st.lists(st.tuples(patterns, probabilities, outcomes), max_size=8)


@given(users, st.data())
@settings(max_examples=60, deadline=None)
def test_any_split_and_order_of_the_users_adds_up_to_the_same_census(counted: list[User], data: st.DataObject) -> None:
    """Shares, runs and days can be merged as they come."""
    shuffled = data.draw(st.permutations(counted))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(counted)), max_size=4)))
    parts = [shuffled[begin:end] for begin, end in pairwise((0, *cuts, len(shuffled)))]

    assert reduce(add, map(census_of, parts), Census()) == census_of(counted)


def test_everybody_counts_once_however_much_they_write() -> None:
    """A user of sixty mornings and one of a single evening: half of the habits each."""
    morning = pattern_of([datetime(2026, 11, 1 + day // 3, 6 + day % 3 * 2, tzinfo=NOW.tzinfo) for day in range(60)])
    evening = pattern_of([datetime(2026, 11, 21, 20, tzinfo=NOW.tzinfo)])

    census = census_of([(morning, SCORES, None), (evening, SCORES, None)])

    assert {hour: count for hour, count in enumerate(census.hours) if count} == {6: 333, 8: 333, 10: 333, 20: 1000}
    assert sum(census.weekdays) == pytest.approx(2000, abs=7)
    assert census.weekdays[5] > 1000, "2026-11-21 was a Saturday"


def test_mood_is_summed_over_messages_whose_sentiment_is_known() -> None:
    census = census_of([(spoken([0.5, -0.1, None]), SCORES, None), (spoken([None]), SCORES, None)])

    assert (census.users, census.messages, census.writers, census.sentiment_milli) == (2, 2, 1, 400)
    assert census.scatter_milli == 180


@pytest.mark.parametrize(("churn_14d", "band"), [(0.0, 0), (0.19, 0), (0.2, 1), (0.79, 3), (0.8, 4), (1.0, 4)])
def test_users_are_counted_by_the_band_of_their_risk(churn_14d: float, band: int) -> None:
    census = census_of([(EMPTY, ChurnScores(1.0, churn_14d, 0.0), None)])

    assert census.bands == tuple(int(index == band) for index in range(5))


def test_features_are_counted_of_those_only_of_whom_the_card_speaks() -> None:
    """How many newcomers and long silent are looked at is decided by the schedule, not by what users are like."""
    regular = silent_for(2)
    census = census_of([(p, SCORES, None) for p in (regular, silent_for(40), silent_for(1, active_days=2), EMPTY)])

    assert (census.users, census.looks) == (4, 1)
    row = bins_of(features(regular, NOW))
    assert census.feature_bins == tuple(tuple(int(index == bin_) for index in range(10)) for bin_ in row)


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=5))
def test_every_row_has_a_bin_of_each_feature(row: list[float]) -> None:
    for value, bin_, edges in zip(row, bins_of(row), BIN_EDGES, strict=True):
        assert 0 <= bin_ <= len(edges)
        assert bin_ == 0 or edges[bin_ - 1] <= value
        assert bin_ == len(edges) or value < edges[bin_]
    assert len(BIN_EDGES) == len(NAMES)


def test_outcomes_are_kept_apart_by_the_model_that_gave_the_scores() -> None:
    """A promotion in the middle of a week must not mix two models."""
    told = [Outcome(churn_7d=0.955, by="1-abc", stayed_away=True), Outcome(churn_7d=0.01, by="2-def", stayed_away=True)]

    census = census_of([(EMPTY, SCORES, outcome) for outcome in told])

    assert set(census.outcomes) == {"1-abc", "2-def"}
    first, second = census.outcomes["1-abc"], census.outcomes["2-def"]
    assert (first.seen[18], first.predicted_milli[18], first.stayed_away[18]) == (1, 955, 1)
    assert (second.seen[0], second.predicted_milli[0], second.stayed_away[0]) == (1, 10, 1)
    assert sum(first.seen) == sum(second.seen) == 1


def test_before_anything_is_counted_the_population_is_the_bundled_one() -> None:
    empty = population(Census())

    assert empty.hours == pytest.approx(BUNDLED.hours)
    assert empty.weekdays == pytest.approx(BUNDLED.weekdays)
    assert (empty.mood, empty.mood_variance) == (pytest.approx(BUNDLED.mood), pytest.approx(BUNDLED.mood_variance))


def test_three_users_do_not_rule_a_bot_and_three_hundred_do() -> None:
    at_three = pattern_of([datetime(2026, 11, day, 3, tzinfo=NOW.tzinfo) for day in range(1, 15)])

    few = population(census_of([(at_three, SCORES, None)] * 3))
    many = population(census_of([(at_three, SCORES, None)] * 300))

    assert few.hours[3] == pytest.approx((3 + 30 * BUNDLED.hours[3]) / 33)
    assert many.hours[3] > 0.9


@given(users)
@settings(max_examples=60, deadline=None)
def test_a_population_is_always_a_possible_one(counted: list[User]) -> None:
    """Whatever was counted: positive shares that sum to 1, a mood in its range, a positive variance."""
    found = population(census_of(counted))

    for shares in (found.hours, found.weekdays):
        assert all(share > 0 for share in shares)
        assert sum(shares) == pytest.approx(1)
    assert -1 <= found.mood <= 1
    assert found.mood_variance > 0


def test_the_scatter_is_that_around_each_users_own_mean() -> None:
    """Of two very different but steady users, the messages of one do not scatter."""
    steady = [spoken([level] * 2_000) for level in (0.9, -0.9)]
    moody = [spoken([0.5, -0.5] * 1_000)] * 2

    assert population(census_of([(p, SCORES, None) for p in steady])).mood_variance < 0.02
    assert population(census_of([(p, SCORES, None) for p in moody])).mood_variance == pytest.approx(0.23, abs=0.01)


def test_the_sum_of_no_outcomes_is_none() -> None:
    assert Outcomes() + Outcomes() == Outcomes()
    assert (Census() + Census()).outcomes == {}
