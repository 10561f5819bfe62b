"""Lift: sums that add up, intervals that hold at every look, and words that never say more than they do."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from math import inf, isclose, log, sqrt
from statistics import NormalDist, fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaln
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from engagement.domain.confidence import (
    Interval,
    critical,
    log_mixture,
    ratio_interval,
    share_sequence,
    wilson_interval,
)
from engagement.domain.lift import (
    ALPHA_ASYMPTOTIC,
    BROKEN_SPLIT,
    POWER_80,
    Measure,
    Method,
    Sums,
    Verdict,
    balance_of,
    difference,
    effect_of,
    increments,
    pooled_slope,
    report,
)
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from infra.local.world import NOTHING, Effects, World
from tests.builders import NOW

LOOKS = 30
SHARE = 0.9
"""Of the users who are drawn to be written to."""
TYPE = OutreachType.RE_ENGAGEMENT
OUTREACH = Outreach(
    bot_id=1,
    user_id=7,
    campaign="re_engagement",
    period="2026-W47",
    outreach_type=TYPE,
    state=OutreachState.SENT,
    priority=0.9,
    trigger="churn_14d",
    template="re_engagement.plain",
    planned_at=NOW,
    due_at=NOW,
    expires_at=NOW + timedelta(days=1),
    treated_probability=0.9,
    program_probability=0.9,
    experiment="first",
    covariate=0.25,
    exposed_at=NOW,
    first_of=frozenset({"all", TYPE}),
)
OUTCOMES = Outcomes(
    returned_24h=False, returned_7d=True, responded=False, mood_after=-0.5, blocked=False, opted_out=True
)
NOTHING_HAPPENED = Outcomes(
    returned_24h=False, returned_7d=False, responded=False, mood_after=None, blocked=False, opted_out=False
)


# --- What a settled exposure adds ---


def test_a_first_exposure_counts_in_the_group_of_all_and_in_its_types() -> None:
    moved = increments(OUTREACH, OUTCOMES)

    assert moved["all"] == moved["re_engagement"]
    assert moved["all"] == {
        "treated:users": 1,
        "treated:covariate": 250,
        "treated:covariate_squared": 62_500,
        "treated:returned_7d": 1,
        "treated:returned_7d*covariate": 250,
        "treated:opted_out": 1,
        "treated:mood_users": 1,
        "treated:mood": -500,
        "treated:mood_squared": 250_000,
        "expected": 900_000,
        "surprise": int(-log(0.9) * 1e9),
    }


def test_the_global_control_group_is_held_out_everywhere_and_surprises_by_its_rarity() -> None:
    held_out = replace(OUTREACH, state=OutreachState.HELD_OUT, arm=Arm.HELD_OUT, in_control=True)

    assert increments(held_out, NOTHING_HAPPENED)["all"] == {
        "held_out:users": 1,
        "held_out:covariate": 250,
        "held_out:covariate_squared": 62_500,
        "expected": 900_000,
        "surprise": int(-log(1 - 0.9) * 1e9),
    }


def test_a_type_with_its_own_control_group_is_measured_within_the_program() -> None:
    """Whoever is held out of one type only is still in the program, which is measured by the intention to treat."""
    held_out = replace(
        OUTREACH, arm=Arm.HELD_OUT, treated_probability=0.9 * 0.8, measured_by_type=True, state=OutreachState.HELD_OUT
    )
    moved = increments(held_out, NOTHING_HAPPENED)
    assert moved["all"]["treated:users"] == 1
    assert moved["all"]["expected"] == 900_000
    assert moved["re_engagement"]["held_out:users"] == 1
    assert moved["re_engagement"]["expected"] == 800_000

    assert list(increments(replace(held_out, in_control=True), OUTCOMES)) == ["all"]
    assert list(increments(replace(held_out, first_of=frozenset({TYPE})), OUTCOMES)) == ["re_engagement"]


@pytest.mark.parametrize("first_of", [set(), {TYPE}])
def test_what_came_after_other_exposures_counts_nowhere_without_a_control_of_its_own(first_of: set[str]) -> None:
    """R43: a user counts once in a group, so users stay independent of each other."""
    assert increments(replace(OUTREACH, first_of=frozenset(first_of)), OUTCOMES) == {}


outcomes = st.builds(
    Outcomes,
    returned_24h=st.booleans(),
    returned_7d=st.booleans(),
    responded=st.booleans(),
    mood_after=st.none() | st.floats(-1, 1),
    blocked=st.booleans(),
    opted_out=st.booleans(),
)
settled = st.tuples(
    st.builds(
        lambda covariate, arm: replace(OUTREACH, covariate=covariate, arm=arm, in_control=arm is Arm.HELD_OUT),
        st.floats(0, 1),
        st.sampled_from(Arm),
    ),
    outcomes,
)


@given(st.lists(settled, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_sums_are_the_same_in_any_order_and_any_split(
    exposures: list[tuple[Outreach, Outcomes]], data: st.DataObject
) -> None:
    """Integers: a reconciler that counts the items again finds the very same numbers."""
    shuffled = data.draw(st.permutations(exposures))
    cut = data.draw(st.integers(0, len(exposures)))
    there, here, rest = Counter[str](), Counter[str](), Counter[str]()
    for outreach, outcome in exposures:
        there.update(increments(outreach, outcome)["all"])
    for part, counted in ((shuffled[:cut], here), (shuffled[cut:], rest)):
        for outreach, outcome in part:
            counted.update(increments(outreach, outcome)["all"])
    here.update(rest)
    assert here == there
    assert all(type(count) is int for count in there.values())

    treated = [o.mood_after for e, o in exposures if e.arm is Arm.TREATED and o.mood_after is not None]
    mood = Sums.of(Measure.MOOD, Arm.TREATED, there)
    assert mood.mean is None if not treated else isclose(mood.mean or 0.0, fmean(treated), abs_tol=5e-4)


# --- Agreement with others ---

TREATED = Sums(3_600, 1_527_000, 1_527_000_000, 1_268_542, 637_506_348, 722_461_000)
HELD_OUT = Sums(400, 135_000, 135_000_000, 137_598, 67_017_092, 67_523_000)
"""Of made-up users with an effect of .06, covariates Beta(1.2, 2.2)."""
GBSTATS_THETA = 0.9786734369507133
"""Its slope is that of all users together; ours is within the arms, so that an effect cannot tilt it."""


@pytest.mark.parametrize(
    ("tuned_for", "alpha", "low", "high"),
    [
        (5_000, 0.05, 0.012271418189667552, 0.14466369800009177),
        (500, 0.04, 0.006839243113833091, 0.1500958730759262),
    ],
)
def test_the_sequence_of_the_adjusted_difference_is_that_of_gbstats(
    tuned_for: int, alpha: float, low: float, high: float
) -> None:
    """gbstats 0.8.0: SequentialTwoSidedTTest of two RegressionAdjustedStatistics over SampleMeanStatistics."""
    found = difference(TREATED, HELD_OUT, GBSTATS_THETA)
    half = critical(4_000, alpha, tuned_for) * sqrt(found.variance)

    assert found.estimate == pytest.approx(0.07846755809487965, abs=1e-12)
    assert found.variance == pytest.approx(0.0004740360739224059, abs=1e-12)
    assert (found.estimate - half, found.estimate + half) == pytest.approx((low, high), abs=1e-9)


def test_the_plain_difference_is_that_of_gbstats() -> None:
    """gbstats 0.8.0: the same without a covariate."""
    found = difference(TREATED, HELD_OUT)

    assert found.estimate == pytest.approx(0.08666666666666667, abs=1e-12)
    assert found.variance == found.unadjusted_variance == pytest.approx(0.0006282512193004508, abs=1e-12)


def test_the_slope_is_least_squares_with_a_constant_for_each_arm() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 1_001, 300)
    treated = rng.random(300) < 0.8
    y = (rng.random(300) < x / 2_000 + 0.3 * treated).astype(int)
    slope, *_ = np.linalg.lstsq(np.column_stack([x / 1_000, treated, ~treated]), y, rcond=None)[0]

    assert pooled_slope(summed(x[treated], y[treated]), summed(x[~treated], y[~treated])) == pytest.approx(slope)


@pytest.mark.parametrize("users", [20, 500, 3_000, 100_000])
def test_the_reach_of_the_sequence_is_equation_9_of_its_paper(users: int) -> None:
    """Waudby-Smith et al.: sqrt(2 (t rho^2 + 1) log(sqrt(t rho^2 + 1) / alpha) / (t^2 rho^2)), in sigmas."""
    alpha = 0.04
    rho2 = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / 500
    margin = sqrt(2 * (users * rho2 + 1) / (users**2 * rho2) * log(sqrt(users * rho2 + 1) / alpha))

    assert critical(users, alpha) == pytest.approx(margin * sqrt(users), abs=1e-12)


def test_its_tuning_loses_17_percent_at_most_between_100_and_50_000_users() -> None:
    for users in (100, 150, 200, 500, 1_000, 5_000, 20_000, 50_000):
        assert critical(users, ALPHA_ASYMPTOTIC) <= 1.17 * critical(users, ALPHA_ASYMPTOTIC, tuned_for=users)


@pytest.mark.parametrize(("successes", "users"), [(0, 41), (1, 400), (7, 90), (200, 371), (41, 41)])
def test_the_exact_sequence_ends_where_the_mixture_is_as_likely_as_ville_allows(successes: int, users: int) -> None:
    """Against scipy's beta function and root finder."""
    alpha = 0.005
    found = share_sequence(successes, users, alpha)

    def excess(share: float) -> float:
        mixture = betaln(successes + 0.5, users - successes + 0.5) - betaln(0.5, 0.5)
        return float(mixture - successes * log(share) - (users - successes) * log(1 - share) + log(alpha))

    share = min(max(successes / users, 1e-9), 1 - 1e-9)
    low = brentq(excess, 1e-15, share, xtol=1e-14) if successes else 0.0
    high = brentq(excess, share, 1 - 1e-15, xtol=1e-14) if successes < users else 1.0
    assert found == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (3, 10), (50, 1_000), (10, 10)])
def test_the_interval_for_one_look_is_that_of_statsmodels(successes: int, trials: int) -> None:
    expected = proportion_confint(successes, trials, alpha=0.05, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-9)


def test_without_trials_nothing_is_known_of_a_share() -> None:
    assert wilson_interval(0, 0) == share_sequence(0, 0, 0.05) == Interval(0.0, 1.0)


def test_what_is_visible_is_what_statsmodels_says_of_a_test_of_the_same_reach() -> None:
    """At 80 % power; ours asks for the reach of a sequence where a fixed test asks for 1.96 standard errors."""
    effect = effect_of(Measure.RETURNED_7D, TREATED, HELD_OUT, SHARE)
    reach = critical(4_000, ALPHA_ASYMPTOTIC)
    assert effect.standard_error
    deviation = effect.standard_error / sqrt(1 / TREATED.users + 1 / HELD_OUT.users)

    expected = NormalIndPower().solve_power(
        nobs1=HELD_OUT.users,
        ratio=TREATED.users / HELD_OUT.users,
        alpha=1 - NormalDist().cdf(reach),
        power=0.8,
        alternative="larger",
    )

    assert effect.visible == pytest.approx(expected * deviation, abs=1e-6)
    assert NormalDist().inv_cdf(0.8) == pytest.approx(POWER_80, abs=1e-12)


@given(st.floats(-0.5, 0.5), st.floats(0.01, 0.1), st.floats(0.05, 0.9), st.floats(0.01, 0.1), st.floats(-0.9, 0.9))
def test_the_relative_interval_holds_just_the_ratios_within_reach(
    estimate: float, deviation: float, base: float, base_deviation: float, correlation: float
) -> None:
    """Fieller's definition, asked of points inside and outside."""
    reach, covariance = 3.1, correlation * deviation * base_deviation
    found = ratio_interval(estimate, deviation**2, base, base_deviation**2, covariance, reach)

    def within(ratio: float) -> bool:
        variance = deviation**2 - 2 * ratio * covariance + ratio**2 * base_deviation**2
        return (estimate - ratio * base) ** 2 <= reach**2 * variance

    if found.high == inf:
        assert base <= reach * base_deviation
    else:
        width = found.high - found.low
        for edge, inwards in ((found.low, 1), (found.high, -1)):
            assert within(edge + inwards * (1e-6 + width / 1_000))
            assert not within(edge - inwards * (1e-6 + width / 1_000))


# --- Worlds whose truth is known ---


def summed(x: NDArray[np.int_], y: NDArray[np.int_]) -> Sums:
    """The sums of users with covariates in thousandths and outcomes of 0 or 1."""
    happened = int(y.sum())
    return Sums(
        len(x), happened * 1_000, happened * 1_000_000, int(x.sum()), int((x * x).sum()), int((x * y).sum()) * 1_000
    )


def looks_at(
    treated: NDArray[np.bool_], x: NDArray[np.int_], y: NDArray[np.int_], looks: int = LOOKS
) -> list[tuple[Sums, Sums]]:
    """The sums of both arms after each of as many equal days."""
    ends = np.linspace(len(x) / looks, len(x), looks).astype(int) - 1
    columns = []
    for arm in (treated, ~treated):
        users, happened = np.cumsum(arm)[ends], np.cumsum(arm * y)[ends]
        sums = [np.cumsum(arm * part)[ends] for part in (x, x * x, x * y)]
        columns.append(
            [
                Sums(int(n), int(k) * 1_000, int(k) * 1_000_000, int(a), int(b), int(c) * 1_000)
                for n, k, a, b, c in zip(users, happened, *sums, strict=True)
            ]
        )
    return list(zip(*columns, strict=True))


def fixed_test_claims(treated: Sums, held_out: Sums) -> bool:
    """What a test for one look says at 5 %."""
    if min(treated.users, held_out.users) < 2:
        return False
    found = difference(treated, held_out)
    return abs(found.estimate) > 1.96 * sqrt(found.variance) > 0


def returns(seed: int, people: int, effects: Effects, share: float = SHARE) -> list[tuple[Sums, Sums]]:
    """Thirty looks at one world's returns."""
    world, rng = World(seed, people, effects), np.random.default_rng([seed, 9])
    fates, treated = world.fates(0), rng.random(people) < share
    y = np.where(treated, fates.returns_if_sent, fates.returns_alone).astype(int)
    return looks_at(treated, np.round(world.predicted * 1_000).astype(int), y)


def blocks(seed: int, people: int, effects: Effects) -> list[tuple[Sums, Sums]]:
    """Thirty looks at one world's blocks."""
    fates = World(seed, people, effects).fates(0)
    treated = np.random.default_rng([seed, 9]).random(people) < SHARE
    y = np.where(treated, fates.blocks_if_sent, fates.blocks_alone).astype(int)
    return looks_at(treated, np.zeros(people, int), y)


WORLDS = 250
PEOPLE = 1_500
"""Of whom 150 are held out: a bot of some size."""


def test_where_messages_change_nothing_daily_looks_claim_an_effect_in_5_percent_of_worlds_at_most() -> None:
    """R43: beside a fixed test's claims at the same looks, which are what makes daily looks a bad idea with it."""
    claims, fixed = 0, 0
    for seed in range(WORLDS):
        looks = returns(seed, PEOPLE, NOTHING)
        claims += any(effect_of(Measure.RETURNED_7D, *look, SHARE).verdict is not Verdict.UNKNOWN for look in looks)
        fixed += any(fixed_test_claims(*look) for look in looks)

    assert claims / WORLDS <= 0.05
    assert fixed / WORLDS >= 0.2


def true_effect(effects: Effects) -> tuple[float, float]:
    """What a message adds to the probability of coming back, and the probability without, on average."""
    world = World(0, 400_000, effects)
    alone = float(world.alone.mean())
    return float(world.probabilities().mean()) - alone, alone


@pytest.mark.parametrize(("people", "share"), [(60, 0.9), (412, 0.9), (PEOPLE, 0.9), (PEOPLE, 0.5)])
def test_the_truth_stays_inside_both_intervals_at_all_looks_in_95_percent_of_worlds(people: int, share: float) -> None:
    """Also where few are held out, and where nobody is yet."""
    effects = Effects()
    truth, alone = true_effect(effects)
    missed = 0
    for seed in range(WORLDS):
        found = [effect_of(Measure.RETURNED_7D, *look, share) for look in returns(seed, people, effects, share)]
        missed += not all(
            effect.interval
            and effect.relative_interval
            and effect.interval.low <= truth <= effect.interval.high
            and effect.relative_interval.low <= truth / alone <= effect.relative_interval.high
            for effect in found
        )

    assert missed / WORLDS <= 0.05


@pytest.mark.parametrize("people", [300, 3_000])
def test_the_truth_stays_inside_at_all_looks_where_hardly_anybody_blocks(people: int) -> None:
    """Four in a thousand do: a normal approximation would call the first block of an arm an effect."""
    effects = Effects(blocks=0.02)
    truth = effects.mix[2] * effects.blocks
    missed = 0
    for seed in range(WORLDS):
        intervals = [effect_of(Measure.BLOCKED, *look, SHARE).interval for look in blocks(seed, people, effects)]
        missed += not all(interval and interval.low <= truth <= interval.high for interval in intervals)

    assert missed / WORLDS <= 0.05


def test_the_difference_of_skewed_moods_stays_inside_at_all_looks_in_95_percent_of_worlds() -> None:
    """From the first look at which there is an interval; most are well and some are very low."""
    rng, missed = np.random.default_rng(11), 0
    for _ in range(WORLDS):
        moods = np.round(1_000 * (1 - 2 * rng.beta(0.5, 2.5, PEOPLE))).astype(int)
        treated = rng.random(PEOPLE) < SHARE
        ends = np.linspace(PEOPLE / LOOKS, PEOPLE, LOOKS).astype(int) - 1
        arms = [
            [np.cumsum(arm * part)[ends].tolist() for part in (1, moods, moods * moods)] for arm in (treated, ~treated)
        ]
        looks = [[Sums(*sums) for sums in zip(*columns, strict=True)] for columns in arms]
        intervals = [effect_of(Measure.MOOD, *look, SHARE).interval for look in zip(*looks, strict=True)]
        assert intervals[-1]
        missed += not all(interval.low <= 0 <= interval.high for interval in intervals if interval)

    assert missed / WORLDS <= 0.05


def test_a_planted_lift_is_found_and_lies_inside_its_interval() -> None:
    effects = Effects(mix=(0.7, 0.3, 0.0), helps=0.3)
    truth, _ = true_effect(effects)

    effect = effect_of(Measure.RETURNED_7D, *returns(1, 8_000, effects)[-1], SHARE)

    assert effect.interval
    assert effect.interval.low < truth < effect.interval.high
    assert effect.verdict is Verdict.HELPS
    assert effect.method is Method.ASYMPTOTIC


def test_messages_that_drive_people_away_are_found_out() -> None:
    """Harm stands beside benefit."""
    annoying = Effects(mix=(0.0, 0.0, 1.0), blocks=0.25, annoys=0.2)

    assert effect_of(Measure.BLOCKED, *blocks(1, 3_000, annoying)[-1], SHARE).verdict is Verdict.HARMS
    assert effect_of(Measure.RETURNED_7D, *returns(1, 6_000, annoying)[-1], SHARE).verdict is Verdict.HARMS


def test_the_covariate_takes_away_the_noise_that_it_explains() -> None:
    """As much as its correlation with the outcome squared, so fewer users show the same effect."""
    world = World(4, 40_000, NOTHING)
    y = world.fates(0).returns_alone
    explained = float(np.corrcoef(world.predicted, y)[0, 1]) ** 2

    effect = effect_of(Measure.RETURNED_7D, *returns(4, 40_000, NOTHING)[-1], SHARE)

    assert effect.noise_left == pytest.approx(1 - explained, abs=0.02)
    assert effect.noise_left < 0.85


def test_rare_harm_is_seen_by_who_is_written_to_among_those_whom_it_happens_to() -> None:
    """190 of 9,000 against 4 of 1,000: each arm's own interval alone would overlap the other's."""
    effect = effect_of(Measure.BLOCKED, counted(190, 9_000), counted(4, 1_000), SHARE)

    assert effect.method is Method.EXACT
    assert effect.verdict is Verdict.HARMS
    treated, held_out = share_sequence(190, 9_000, 0.02 / 3), share_sequence(4, 1_000, 0.02 / 3)
    assert treated.low < held_out.high


def counted(happened: int, users: int) -> Sums:
    """The sums of a measure without a covariate."""
    return Sums(users, happened * 1_000, happened * 1_000_000)


# --- The split of the arms ---


def split(treated: int, held_out: int, share: float) -> Counter[str]:
    """The sums of a group whose users were drawn with one probability."""
    total = Counter[str]()
    for arm, many in ((Arm.TREATED, treated), (Arm.HELD_OUT, held_out)):
        drawn = replace(OUTREACH, arm=arm, in_control=arm is Arm.HELD_OUT, program_probability=share)
        total.update({name: count * many for name, count in increments(drawn, NOTHING_HAPPENED)["all"].items()})
    return total


@pytest.mark.parametrize(("treated", "held_out"), [(0, 0), (900, 100), (450, 90), (0, 12)])
def test_the_evidence_against_the_split_is_the_mixture_over_the_binomial(treated: int, held_out: int) -> None:
    """Lindon and Malek's e-value, with scipy's beta function."""
    found = balance_of(split(treated, held_out, 0.9))
    likelihood = treated * log(0.9) + held_out * log(0.1)
    mixture = betaln(treated + 0.5, held_out + 0.5) - betaln(0.5, 0.5)

    assert log(found.e_value) == pytest.approx(mixture - likelihood, abs=1e-5)
    assert found.expected_treated == pytest.approx(0.9 * (treated + held_out))


def test_a_split_as_drawn_is_called_broken_in_1_percent_of_experiments_at_most_however_often_one_looks() -> None:
    """Looked at after every single user; the probabilities may change on the way."""
    rng = np.random.default_rng(5)
    shares = np.repeat([0.9, 0.8], 300)
    surprises = -np.log(shares), -np.log(1 - shares)
    alarms = 0
    for _ in range(400):
        drawn = rng.random(600) < shares
        treated, surprise = np.cumsum(drawn), np.cumsum(np.where(drawn, *surprises))
        alarms += any(
            log_mixture(int(n), users - int(n)) + s >= log(BROKEN_SPLIT)
            for users, (n, s) in enumerate(zip(treated, surprise, strict=True), 1)
        )
    assert alarms / 400 <= 0.01


def test_an_arm_that_loses_users_is_found_and_no_effect_is_claimed() -> None:
    """A fifth of the treated never reach the sums, as where those who block at once were forgotten."""
    lost = split(720, 100, 0.9)
    lost.update({"treated:returned_7d": 500, "held_out:returned_7d": 20})
    lost.update({"treated:returned_7d*covariate": 125_000, "held_out:returned_7d*covariate": 5_000})

    (lift,) = report({"all": lost})

    assert not balance_of(split(900, 100, 0.9)).broken
    assert not lift.balance.broken  # 720 of 820 is 87.8 %: not yet told from 90 %
    many = report({"all": {name: 10 * count for name, count in lost.items()}})[0]
    assert many.balance.broken
    assert many.effect(Measure.RETURNED_7D).verdict is Verdict.HELPS
    assert many.verdict(Measure.RETURNED_7D) is Verdict.UNKNOWN
    assert "an arm loses users" in many.balance.words


# --- What is said ---


def test_nothing_is_claimed_of_a_group_before_both_arms_have_users() -> None:
    for treated, held_out in ((0, 0), (5, 0), (0, 3), (1, 1)):
        (lift,) = report({"all": split(treated, held_out, 0.9)})
        assert {lift.verdict(measure) for measure in Measure} == {Verdict.UNKNOWN}
        assert lift.effect(Measure.MOOD).interval is None
        assert "can see no effect yet" in lift.words


def test_nothing_is_claimed_where_nobody_can_be_held_out() -> None:
    """No control group: whatever those do who are written to, there is nothing to compare it with."""
    counts = split(300, 0, 1.0)
    counts.update({"treated:returned_7d": 150, "treated:blocked": 30})

    (lift,) = report({"all": counts})

    assert not lift.balance.broken
    assert {lift.verdict(measure) for measure in Measure} == {Verdict.UNKNOWN}
    assert lift.effect(Measure.BLOCKED).relative_interval == Interval(pytest.approx(-1, abs=0.1), inf)


def test_moods_are_compared_once_both_arms_have_enough_of_them() -> None:
    rng = np.random.default_rng(8)

    def moods(many: int, mean: float) -> Sums:
        drawn = np.round(np.clip(rng.normal(mean, 0.3, many), -1, 1) * 1_000).astype(int)
        return Sums(many, int(drawn.sum()), int((drawn * drawn).sum()))

    assert effect_of(Measure.MOOD, moods(500, 0.5), moods(49, 0.0), SHARE).interval is None
    effect = effect_of(Measure.MOOD, moods(500, 0.4), moods(200, 0.1), SHARE)
    assert effect.interval
    assert effect.interval.low < 0.3 < effect.interval.high
    assert effect.verdict is Verdict.HELPS
    assert effect.relative is effect.relative_interval is None


def test_the_relative_lift_has_no_upper_limit_while_nobody_held_out_came_back() -> None:
    counts = split(371, 41, 0.9)
    counts["treated:returned_7d"] = 90

    effect = report({"all": counts})[0].effect(Measure.RETURNED_7D)

    assert effect.method is Method.EXACT
    assert effect.relative is None
    assert effect.relative_interval
    assert effect.relative_interval.high == inf


def test_how_little_can_be_seen_is_said_in_words() -> None:
    counts = split(371, 41, 0.9)
    counts.update({"treated:returned_7d": 111, "held_out:returned_7d": 12})

    (lift,) = report({"all": counts})

    assert lift.words == "with 412 users (371 written to, 41 held out) this can only see effects above 31 points"


def test_the_users_it_takes_are_those_at_which_an_effect_is_visible() -> None:
    effect = effect_of(Measure.RETURNED_7D, TREATED, HELD_OUT, SHARE)
    assert effect.visible
    assert effect.users_to_see(effect.visible * (1 + 1e-9)) == 4_000
    assert all(more > fewer for more, fewer in pairwise(effect.users_to_see(size) or 0 for size in (0.01, 0.02, 0.05)))
    assert effect_of(Measure.BLOCKED, Sums(0, 0, 0), Sums(0, 0, 0), SHARE).users_to_see(0.05) is None


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 80), st.integers(0, 80), st.sampled_from(list(Measure)))
@settings(deadline=None)
def test_no_verdict_says_more_than_its_interval(a: int, b: int, c: int, d: int, measure: Measure) -> None:
    """The relative interval has the sign of the absolute one, and the estimate lies inside both."""
    treated, held_out = counted(a, a + b), counted(c, c + d)

    effect = effect_of(measure, treated, held_out, SHARE)

    if effect.interval and effect.lift is not None:
        assert effect.interval.low <= effect.lift <= effect.interval.high
        assert (effect.verdict is Verdict.UNKNOWN) == (effect.interval.low <= 0 <= effect.interval.high)
        if effect.relative_interval:
            assert effect.interval.low <= 0 or effect.relative_interval.low >= 0
            assert effect.interval.high >= 0 or effect.relative_interval.high <= 0
            if effect.relative is not None:
                assert effect.relative_interval.low <= effect.relative <= effect.relative_interval.high


def test_groups_are_reported_all_first_and_then_by_name() -> None:
    counts = split(9, 1, 0.9)
    assert [lift.group for lift in report({"re_engagement": counts, "all": counts, "mood_support": counts})] == [
        "all",
        "mood_support",
        "re_engagement",
    ]
