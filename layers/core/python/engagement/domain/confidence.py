"""Intervals that hold however often somebody looks, and one that holds for one look: what `lift` and reports stand on.

A confidence sequence is a rule that gives an interval after every user; with probability 1 - alpha the truth is inside
all of them at once, so that looking daily and stopping at will do no harm. Two kinds are here: for a share, exact from
the first user on; and for whatever has an estimate that is normal in the end, narrower and asymptotic.
"""

from collections.abc import Callable
from math import inf, lgamma, log, log1p, sqrt
from typing import NamedTuple

JEFFREYS = 0.5
"""Both parameters of the beta mixture: more weight near 0 and 1 than an even one has, since blocks are rare."""
TUNED_FOR = 500
"""Users at whom the asymptotic sequence is narrowest. Anywhere between 100 and 50,000 it is at most 17 % wider than one
that is tuned for that very number."""
TWO_SIDED_95 = 1.959963984540054
"""Standard errors."""
HALVINGS = 60


class Interval(NamedTuple):
    """From `low` to `high`; infinite where there is no limit."""

    low: float
    high: float


def log_mixture(successes: int, failures: int) -> float:
    """Return the logarithm of the probability that the beta mixture gives to one order of these outcomes."""
    return _log_beta(successes + JEFFREYS, failures + JEFFREYS) - _log_beta(JEFFREYS, JEFFREYS)


def share_sequence(successes: int, users: int, alpha: float) -> Interval:
    """Return the confidence sequence of a share, exact however few the users and however rare the successes.

    It holds the shares against which the likelihood ratio of the mixture, a martingale at the true share, is below
    1 / alpha (Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41,
    1970).
    """
    failures = users - successes
    least = log_mixture(successes, failures) + log(alpha)

    def holds(share: float) -> bool:
        likelihood = successes * log(share) if successes else 0.0
        return likelihood + (failures * log1p(-share) if failures else 0.0) >= least

    found = successes / users if users else 0.0
    return Interval(
        low=_edge(found, 0.0, holds) if successes else 0.0,
        high=_edge(found, 1.0, holds) if failures else 1.0,
    )


def critical(users: int, alpha: float, tuned_for: int = TUNED_FOR) -> float:
    """Return how many standard errors the asymptotic confidence sequence reaches to either side.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Ann. Statist. 52, 2024 (arXiv 2103.06476): equation 9, tuned by equation 161.
    """
    tuning = -2 * log(alpha)
    information = users * (tuning + log(tuning + 1)) / tuned_for
    return sqrt((information + 1) / information * 2 * log(sqrt(information + 1) / alpha))


def ratio_interval(
    estimate: float, variance: float, base: float, base_variance: float, covariance: float, reach: float
) -> Interval:
    """Return the interval of what `estimate` is of `base`, by Fieller's method.

    It holds the ratios r for which estimate - r * base is within `reach` standard errors of 0, so it is without limit
    where `base` itself cannot be told from 0 (Fieller, "Some problems in interval estimation", J. R. Stat. Soc. B 16,
    1954).

    Args:
        estimate: the numerator.
        variance: of `estimate`.
        base: the denominator.
        base_variance: of `base`.
        covariance: of the two.
        reach: standard errors to either side.
    """
    squared = base**2 - reach**2 * base_variance
    if squared <= 0:
        return Interval(-inf, inf)
    middle = (estimate * base - reach**2 * covariance) / squared
    half = sqrt(max(middle**2 - (estimate**2 - reach**2 * variance) / squared, 0.0))
    return Interval(middle - half, middle + half)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return the 95 % interval of a share for one look (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    if not trials:
        return Interval(0.0, 1.0)
    z = TWO_SIDED_95
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _edge(inside: float, outside: float, holds: Callable[[float], bool]) -> float:
    """Return where `holds` ends between the two, or a hair further out."""
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return outside
