"""Lift: what messages change, from sums over both arms of an experiment: the housekeeper adds them up, reports read.

`increments` turns one settled exposure into integers, which add up in any order and can be counted again from the
items; `report` turns their sums into effects. A user counts once in a group, at their first exposure there, so users
are independent. Every interval may be looked at daily; see docs/experiments.md for the method and its measured errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, exp, inf, log, sqrt
from typing import Self

from engagement.domain.confidence import Interval, critical, log_mixture, ratio_interval, share_sequence
from engagement.domain.experiment import ALL
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Arm, Outreach
from engagement.domain.pattern import MILLI

ALPHA_EXACT = 0.02
ALPHA_ASYMPTOTIC = 0.03
"""The 5 % in which an interval may ever miss, shared: the exact one serves until the asymptotic one may."""
FEWEST_EVENTS = 10
"""In each arm, of users who did and of users who did not; below, the normal approximation fails."""
FEWEST_MOODS = 50
"""Users in each arm below which moods are not compared: there is no exact interval for them."""
POWER_80 = 0.8416212335729143
"""Standard errors: what is called visible is seen with a probability of 80 % or more."""
BROKEN_SPLIT = 100.0
"""E-value from which the arms are not split as drawn; an honest experiment ever reaches it in 1 % of all cases."""
NANO = 1_000_000_000
LEAST = 1e-9
"""Probability of an arm that somebody is in at least, so that its surprise is finite."""


class Measure(StrEnum):
    """What is compared between the arms; the shares of users who, and the mood of those who wrote."""

    RETURNED_7D = "returned_7d"
    RETURNED_24H = "returned_24h"
    MOOD = "mood"
    BLOCKED = "blocked"
    OPTED_OUT = "opted_out"


HARMS = frozenset({Measure.BLOCKED, Measure.OPTED_OUT})
"""More of these is worse."""
ADJUSTED = frozenset({Measure.RETURNED_7D, Measure.RETURNED_24H})
"""What the covariate, the predicted probability of coming back, says something of."""


class Verdict(StrEnum):
    """What may be said of an effect; never more than its interval says."""

    HELPS = "helps"
    HARMS = "harms"
    UNKNOWN = "not known yet"


def increments(outreach: Outreach, outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """Return by how much a settled exposure moves the sums, by group and counter; groups without are left out.

    Counters, for each arm as "<arm>:<name>": users, covariate (thousandths), covariate_squared (millionths), the number
    of users with each outcome and the sums of their covariates as "<outcome>*covariate" (thousandths), mood_users, mood
    (thousandths), mood_squared (millionths). For both arms together: expected (millionths of treated users) and
    surprise (billionths of a nat, rounded down: how improbable the arms were as drawn).
    """
    return {group: _counts(arm, share, outreach, outcomes) for group, (arm, share) in _groups(outreach).items()}


def _groups(outreach: Outreach) -> dict[str, tuple[Arm, float]]:
    """Return the groups it counts in, with the arm there and the probability of being treated."""
    groups = {}
    first, kind = outreach.first_of, outreach.outreach_type
    if ALL in first:
        # The program is measured as a whole: whoever is in it counts as treated, also where a type's control held out.
        arm = Arm.HELD_OUT if outreach.in_control else Arm.TREATED
        groups[ALL] = arm, outreach.program_probability
    if kind in first and outreach.measured_by_type and not outreach.in_control:
        groups[kind.value] = outreach.arm, outreach.treated_probability / outreach.program_probability
    elif kind in first and ALL in first and not outreach.measured_by_type:
        # Only as the first of all: what came before differs between the program and the global control group.
        groups[kind.value] = outreach.arm, outreach.program_probability
    return groups


def _counts(arm: Arm, share: float, outreach: Outreach, outcomes: Outcomes) -> dict[str, int]:
    covariate = round(outreach.covariate * MILLI)
    counts: dict[str, int] = {"users": 1, "covariate": covariate, "covariate_squared": covariate**2}
    happened = {
        Measure.RETURNED_7D: outcomes.returned_7d,
        Measure.RETURNED_24H: outcomes.returned_24h,
        Measure.BLOCKED: outcomes.blocked,
        Measure.OPTED_OUT: outcomes.opted_out,
    }
    for measure, true in happened.items():
        counts[measure] = int(true)
        if measure in ADJUSTED:
            counts[f"{measure}*covariate"] = true * covariate
    if outcomes.mood_after is not None:
        mood = round(outcomes.mood_after * MILLI)
        counts |= {"mood_users": 1, Measure.MOOD: mood, "mood_squared": mood**2}
    moved = {f"{arm}:{name}": count for name, count in counts.items()}
    drawn = share if arm is Arm.TREATED else 1 - share
    surprise = int(-log(max(drawn, LEAST)) * NANO)
    moved |= {"expected": round(share * MILLI**2), "surprise": surprise}
    return {name: count for name, count in moved.items() if count}


@dataclass(frozen=True, slots=True)
class Sums:
    """What an arm's users add up to, in thousandths, and products in millionths; integers, so nothing cancels.

    Attributes:
        users: how many.
        y: sum of the outcome; a thousand for each user with it, where it is a share of users.
        yy: of its square.
        x: sum of the covariate.
        xx: of its square.
        xy: of the product of both.
    """

    users: int
    y: int
    yy: int
    x: int = 0
    xx: int = 0
    xy: int = 0

    @classmethod
    def of(cls, measure: Measure, arm: Arm, counts: Mapping[str, int]) -> Self:
        """Read an arm's from a group's counters."""

        def count(name: str) -> int:
            return counts.get(f"{arm}:{name}", 0)

        if measure is Measure.MOOD:
            return cls(count("mood_users"), count("mood"), count("mood_squared"))
        users, happened = count("users"), count(measure)
        if measure not in ADJUSTED:
            return cls(users, happened * MILLI, happened * MILLI**2)
        x, xx, xy = count("covariate"), count("covariate_squared"), count(f"{measure}*covariate") * MILLI
        return cls(users, happened * MILLI, happened * MILLI**2, x, xx, xy)

    @property
    def happened(self) -> int:
        """Users with the outcome, where it is a share of users."""
        return self.y // MILLI

    @property
    def mean(self) -> float | None:
        """Mean of the outcome; None without users."""
        return self.y / self.users / MILLI if self.users else None

    @property
    def variances(self) -> tuple[float, float, float]:
        """Sample variances of outcome and covariate, and their covariance; of two users or more."""
        n, y, x = self.users, self.y, self.x
        scale = n * (n - 1) * MILLI**2
        return (n * self.yy - y * y) / scale, (n * self.xx - x * x) / scale, (n * self.xy - x * y) / scale


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated less held out, adjusted by the covariate.

    Attributes:
        estimate: the difference of the means less what the arms' covariates explain of it.
        variance: of `estimate`.
        unadjusted_variance: of the plain difference.
        covariance: of `estimate` with the mean of those held out.
        base_variance: of that mean.
    """

    estimate: float
    variance: float
    unadjusted_variance: float
    covariance: float
    base_variance: float


def pooled_slope(treated: Sums, held_out: Sums) -> float:
    """Return what the outcome gains for each unit of the covariate within the arms; 0 where it does not vary.

    Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data" (CUPED), WSDM 2013.
    """
    (_, xx_t, xy_t), (_, xx_h, xy_h) = treated.variances, held_out.variances
    freedom_t, freedom_h = treated.users - 1, held_out.users - 1
    spread = freedom_t * xx_t + freedom_h * xx_h
    return (freedom_t * xy_t + freedom_h * xy_h) / spread if spread else 0.0


def difference(treated: Sums, held_out: Sums, slope: float = 0.0) -> Difference:
    """Return the difference of two arms of two users or more each; a `slope` of 0 adjusts nothing."""
    n_t, n_h = treated.users, held_out.users
    gap_y = treated.y / n_t - held_out.y / n_h
    gap_x = treated.x / n_t - held_out.x / n_h
    (yy_t, xx_t, xy_t), (yy_h, xx_h, xy_h) = treated.variances, held_out.variances
    rest_t = yy_t - 2 * slope * xy_t + slope**2 * xx_t
    rest_h = yy_h - 2 * slope * xy_h + slope**2 * xx_h
    return Difference(
        estimate=(gap_y - slope * gap_x) / MILLI,
        variance=rest_t / n_t + rest_h / n_h,
        unadjusted_variance=yy_t / n_t + yy_h / n_h,
        covariance=-(yy_h - slope * xy_h) / n_h,
        base_variance=yy_h / n_h,
    )


class Method(StrEnum):
    """How an interval was made."""

    EXACT = "exact"
    ASYMPTOTIC = "asymptotic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What messages change in one measure: treated less held out.

    Attributes:
        measure: what is compared.
        treated: share of the treated with the outcome, or their mean mood; None without users.
        held_out: likewise of those held out.
        treated_users: behind `treated`.
        held_out_users: behind `held_out`.
        lift: the difference, adjusted where `method` is asymptotic; None while an arm is empty.
        interval: 95 % interval of `lift`, valid at every look; None for moods of too few users.
        relative: `lift` as a share of `held_out`; None where that is 0 or a mood, whose zero is no nothing.
        relative_interval: 95 % interval of `relative`, without upper limit while `held_out` may be 0; None for moods.
        method: how the intervals were made; None where there are none.
        standard_error: of `lift`; None where there is no interval.
        noise_left: variance after the adjustment as a share of the variance before, [0, 1]; 1 without.
    """

    measure: Measure
    treated: float | None
    held_out: float | None
    treated_users: int
    held_out_users: int
    lift: float | None
    interval: Interval | None
    relative: float | None
    relative_interval: Interval | None
    method: Method | None
    standard_error: float | None
    noise_left: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return Verdict.UNKNOWN
        return Verdict.HARMS if (self.interval.low > 0) == (self.measure in HARMS) else Verdict.HELPS

    @property
    def visible(self) -> float | None:
        """Least true effect that so many users show with a probability of 80 %; None where there is no interval."""
        if self.interval is None or self.standard_error is None:
            return None
        return (self.interval.high - self.interval.low) / 2 + POWER_80 * self.standard_error

    def users_to_see(self, size: float) -> int | None:
        """Return how many users it takes, split and scattering as these, to see an effect of `size` likewise.

        None where nothing is known yet of how they scatter.
        """
        if not self.standard_error:
            return None
        spread = self.standard_error**2 * (self.treated_users + self.held_out_users)

        def shows(users: int) -> bool:
            return (critical(users, ALPHA_ASYMPTOTIC) + POWER_80) * sqrt(spread / users) <= size

        enough = 2
        while not shows(enough):
            enough *= 2
        too_few = enough // 2
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if shows(middle) else (middle, enough)
        return enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Whether the arms are split as drawn; where they are not, one arm loses users and no effect can be believed.

    Attributes:
        treated: users.
        held_out: users.
        expected_treated: users that the logged probabilities promise.
        e_value: evidence against them. The probability that it ever reaches e is 1 / e at most if all is well, at
            whatever time one looks (Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS
            2022, with the logged probability of each draw).
    """

    treated: int
    held_out: int
    expected_treated: float
    e_value: float

    @property
    def broken(self) -> bool:
        """The arms are not split as drawn."""
        return self.e_value >= BROKEN_SPLIT

    @property
    def words(self) -> str:
        """It, for a stranger."""
        users = self.treated + self.held_out
        split = (
            f"{self.treated:,} of {users:,} users are in the arm written to; {self.expected_treated:,.1f} were expected"
        )
        return f"{split}: {'an arm loses users, find out why' if self.broken else 'as drawn'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What is known of one group: everything that is sent, or one outreach type.

    Attributes:
        group: "all", or the outreach type.
        balance: of its arms.
        effects: one for each `Measure`, in that order.
    """

    group: str
    balance: Balance
    effects: tuple[Effect, ...]

    def effect(self, measure: Measure) -> Effect:
        """Return one."""
        return next(effect for effect in self.effects if effect.measure is measure)

    def verdict(self, measure: Measure) -> Verdict:
        """Return what may be said of one; nothing, where the split is broken."""
        return Verdict.UNKNOWN if self.balance.broken else self.effect(measure).verdict

    @property
    def words(self) -> str:
        """How little the users so far can show, for a stranger."""
        effect = self.effect(Measure.RETURNED_7D)
        users = f"{effect.treated_users:,} written to, {effect.held_out_users:,} held out"
        before = f"with {effect.treated_users + effect.held_out_users:,} users ({users})"
        if effect.visible is None or effect.visible >= 1:
            return f"{before} this can see no effect yet"
        return f"{before} this can only see effects above {ceil(100 * effect.visible)} points"


def report(groups: Mapping[str, Mapping[str, int]]) -> list[Lift]:
    """Return what is known of each group, "all" first and then by name.

    Args:
        groups: the sums of `increments`, by group.
    """
    return [
        Lift(
            group=group,
            balance=balance_of(groups[group]),
            effects=tuple(
                effect_of(
                    measure,
                    Sums.of(measure, Arm.TREATED, groups[group]),
                    Sums.of(measure, Arm.HELD_OUT, groups[group]),
                    share_of(groups[group]),
                )
                for measure in Measure
            ),
        )
        for group in sorted(groups, key=lambda group: (group != ALL, group))
    ]


def balance_of(counts: Mapping[str, int]) -> Balance:
    """Return how a group's arms are split."""
    treated, held_out = (counts.get(f"{arm}:users", 0) for arm in (Arm.TREATED, Arm.HELD_OUT))
    evidence = log_mixture(treated, held_out) + counts.get("surprise", 0) / NANO
    return Balance(
        treated=treated,
        held_out=held_out,
        expected_treated=counts.get("expected", 0) / MILLI**2,
        e_value=exp(min(evidence, 700.0)),
    )


def share_of(counts: Mapping[str, int]) -> float:
    """Return the probability of being treated with which a group's users were drawn, on average; 1 without users."""
    users = sum(counts.get(f"{arm}:users", 0) for arm in Arm)
    return counts.get("expected", 0) / MILLI**2 / users if users else 1.0


def effect_of(measure: Measure, treated: Sums, held_out: Sums, share: float) -> Effect:
    """Return the effect on one measure.

    Args:
        measure: what is compared.
        treated: sums of the treated.
        held_out: sums of those held out.
        share: probability of being treated with which the users were drawn, [0, 1].
    """
    if measure is Measure.MOOD:
        may_be_normal = min(treated.users, held_out.users) >= FEWEST_MOODS
        return _asymptotic(measure, treated, held_out) if may_be_normal else _unsaid(measure, treated, held_out)
    if min(n for arm in (treated, held_out) for n in (arm.happened, arm.users - arm.happened)) >= FEWEST_EVENTS:
        return _asymptotic(measure, treated, held_out)
    return _exact(measure, treated, held_out, share)


def _unsaid(measure: Measure, treated: Sums, held_out: Sums) -> Effect:
    return Effect(
        measure=measure,
        treated=treated.mean,
        held_out=held_out.mean,
        treated_users=treated.users,
        held_out_users=held_out.users,
        lift=None if treated.mean is None or held_out.mean is None else treated.mean - held_out.mean,
        interval=None,
        relative=None,
        relative_interval=None,
        method=None,
        standard_error=None,
    )


def _exact(measure: Measure, treated: Sums, held_out: Sums, share: float) -> Effect:
    """Return the effect from three exact sequences: of each arm's share, and of the treated among whom it happened to.

    The third tells most of rare outcomes. Users are drawn independently, so of those to whom it happens a share of
    p r / (p r + 1 - p) is treated, where p is the probability of being treated and r the ratio of the arms' shares.
    Where chance made the arms' sizes so unlike p that the estimates fall outside, the first two have to do.
    """
    alpha = ALPHA_EXACT / 3
    t = share_sequence(treated.happened, treated.users, alpha)
    h = share_sequence(held_out.happened, held_out.users, alpha)
    among = share_sequence(treated.happened, treated.happened + held_out.happened, alpha)
    least, most = (_ratio(end, share) for end in among) if 0 < share < 1 else (0.0, inf)
    unsaid = _unsaid(measure, treated, held_out)
    relative = unsaid.lift / unsaid.held_out if unsaid.lift is not None and unsaid.held_out else None
    interval = Interval(t.low - h.high, t.high - h.low)
    ratio = Interval(t.low / h.high - 1, t.high / h.low - 1 if h.low else inf)
    narrow = _overlap(
        interval,
        Interval((t.low if least > 1 else t.high) * _gain(least), (t.high if most > 1 else t.low) * _gain(most)),
        Interval(
            (h.low if least > 1 else h.high) * (least - 1), h.high * (most - 1) if most > 1 else h.low * (most - 1)
        ),
    )
    narrow_ratio = _overlap(ratio, Interval(least - 1, most - 1))
    if _holds(narrow, unsaid.lift) and _holds(narrow_ratio, relative):
        interval, ratio = narrow, narrow_ratio
    users = treated.users + held_out.users
    # One more of each: that something happened to nobody, or to all, is no proof that it never varies.
    pooled = (treated.happened + held_out.happened + 1) / (users + 2)
    return replace(
        unsaid,
        interval=interval,
        relative=relative,
        relative_interval=ratio,
        method=Method.EXACT,
        standard_error=sqrt(pooled * (1 - pooled) * (1 / treated.users + 1 / held_out.users))
        if treated.users and held_out.users
        else None,
    )


def _ratio(among: float, share: float) -> float:
    """Return the ratio of the arms' shares at which `among` of those to whom it happens are treated."""
    odds = among * (1 - share)
    return odds / ((1 - among) * share) if (1 - among) * share else inf


def _gain(ratio: float) -> float:
    """Return the difference of the shares as a share of the treated one."""
    return 1 - 1 / ratio if ratio else -inf


def _overlap(*intervals: Interval) -> Interval:
    return Interval(max(interval.low for interval in intervals), min(interval.high for interval in intervals))


def _holds(interval: Interval, estimate: float | None) -> bool:
    return interval.low <= interval.high if estimate is None else interval.low <= estimate <= interval.high


def _asymptotic(measure: Measure, treated: Sums, held_out: Sums) -> Effect:
    """Return the effect with the asymptotic sequence of the adjusted difference."""
    slope = pooled_slope(treated, held_out)
    found = difference(treated, held_out, slope)
    alpha = ALPHA_EXACT + ALPHA_ASYMPTOTIC if measure is Measure.MOOD else ALPHA_ASYMPTOTIC
    reach = critical(treated.users + held_out.users, alpha)
    half = reach * sqrt(found.variance)
    interval = Interval(found.estimate - half, found.estimate + half)
    effect = replace(
        _unsaid(measure, treated, held_out),
        lift=found.estimate,
        interval=interval,
        method=Method.ASYMPTOTIC,
        standard_error=sqrt(found.variance),
        noise_left=found.variance / found.unadjusted_variance if found.unadjusted_variance else 1.0,
    )
    if measure is Measure.MOOD:
        return effect
    base = held_out.y / held_out.users / MILLI
    ratio = ratio_interval(found.estimate, found.variance, base, found.base_variance, found.covariance, reach)
    # A share cannot fall by more than all, and the ratio has the sign of the difference.
    low = max(ratio.low, 0.0 if interval.low > 0 else -1.0)
    high = min(ratio.high, 0.0 if interval.high < 0 else inf)
    return replace(effect, relative=found.estimate / base, relative_interval=Interval(low, high))
