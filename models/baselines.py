"""Evaluation: what the models have to beat, in the forms in which the field uses them."""

from bisect import bisect_left
from collections.abc import Sequence
from math import log1p

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engagement.domain.pattern import DAY, WEEK
from models.metrics import Numbers

EWMA = 0.3
EWMA_MESSAGES = 60
DIRICHLET = 10.0
ONE_LEVEL_KAPPA = 20.0
FREQUENT_DAYS = 30


# --- churn ---


def rfm(seconds: Sequence[int], starts: Sequence[int], at: float) -> tuple[float, ...]:
    """Return recency, frequency and the like, each as log(1 + x): the classical features of a user.

    They are hours since the newest event, events of the last 30 days, all events, days since the first one, and the
    mean hours between sessions.

    Args:
        seconds: epoch seconds of the user's events, ascending; at least one before `at`.
        starts: those that began a session.
        at: epoch seconds.
    """
    known, sessions = bisect_left(seconds, at), bisect_left(starts, at)
    first, last = seconds[0], seconds[known - 1]
    frequent = known - bisect_left(seconds, at - FREQUENT_DAYS * DAY)
    gap = (last - first) / max(sessions - 1, 1) / 3_600
    return tuple(map(log1p, ((at - last) / 3_600, frequent, known, (at - first) / DAY, gap)))


def logit(known: Numbers, stayed_away: NDArray[np.bool_], weights: Numbers, asked: Numbers) -> Numbers:
    """Fit a plain logistic regression on the known rows; return what it says of the asked ones."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(known, stayed_away, logisticregression__sample_weight=weights / weights.mean())
    answer: Numbers = pipeline.predict_proba(asked)[:, 1]
    return answer


def rhythm(days: Sequence[int], at: float) -> tuple[int, int, float]:
    """Return what BG/NBD goes by: active days after the first, days from first to last, days from the first until now.

    Args:
        days: active days since 1970-01-01, ascending; at least one.
        at: epoch seconds.
    """
    active = days[-1] - days[0]
    return len(days) - 1, active, max(at / DAY - days[0], active + 1e-3)


class BgNbd:
    """Beta-geometric / negative binomial "buy till you die" (Fader, Hardie and Lee, 2005) over active days.

    While alive, a user is active as a Poisson process; after each active day they may leave for good. Rates and chances
    of leaving differ from user to user, as a gamma and a beta distribution, which are fitted to one community.
    """

    def __init__(self, rhythms: Numbers) -> None:
        """Fit to one row of `rhythm` a user."""
        x, recency, age = _in_weeks(rhythms)

        def loss(logs: Numbers) -> float:
            r, alpha, a, b = np.exp(np.clip(logs, -12, 12))
            rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
            chance = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
            alive = -(r + x) * np.log(alpha + age)
            gone = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + recency)
            either = np.logaddexp(alive, np.where(x > 0, gone, -np.inf))
            # A little regularisation keeps a parameter that the data do not determine from running away.
            return float(-np.mean(rate + chance + either) + 1e-4 * (logs**2).sum())

        options = {"maxiter": 3_000, "fatol": 1e-8, "xatol": 1e-5}
        starts = ([0.0, 0.0, 0.0, 0.0], [-1.0, 1.0, -1.0, 1.0])
        fits = [minimize(loss, np.array(start), method="Nelder-Mead", options=options) for start in starts]
        self._r, self._alpha, self._a, self._b = np.exp(min(fits, key=lambda fit: fit.fun).x)

    def stays_away(self, rhythms: Numbers, horizon: int) -> Numbers:
        """Return P(no active day within `horizon` days): gone for good, or alive and silent."""
        x, recency, age = _in_weeks(rhythms)
        r, alpha = self._r, self._alpha
        odds = np.log(self._a) - np.log(self._b + np.maximum(x, 1) - 1)
        odds = odds + (r + x) * (np.log(alpha + age) - np.log(alpha + recency))
        alive = expit(-np.where(x > 0, odds, -np.inf))
        answer: Numbers = 1 - alive * (1 - ((alpha + age) / (alpha + age + horizon / WEEK)) ** (r + x))
        return answer


def _in_weeks(rhythms: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    x, recency, age = rhythms.T
    return x, recency / WEEK, age / WEEK


# --- timing ---


def own_histogram(counts: Numbers) -> Numbers:
    """Return each user's own session starts by hour, as shares; an hour never seen is not quite impossible."""
    shares: Numbers = (counts + 0.01) / (counts + 0.01).sum(axis=1, keepdims=True)
    return shares


def dirichlet(counts: Numbers, prior: Numbers) -> Numbers:
    """Return the same, shrunk to the population's hours as if those were ten sessions."""
    counted = counts + DIRICHLET * prior
    shares: Numbers = counted / counted.sum(axis=1, keepdims=True)
    return shares


# --- mood ---


def ewma(sentiments: Sequence[float], empty: float = 0.0) -> float:
    """Return the exponentially weighted moving average, each message counting 0.3; the usual "current mood"."""
    if not sentiments:
        return empty
    level = sentiments[0]
    for sentiment in sentiments[-EWMA_MESSAGES:]:
        level += EWMA * (sentiment - level)
    return level


def one_level(mean: Numbers, messages: Numbers, prior: Numbers) -> Numbers:
    """Return the user's mean shrunk to the population's as if that were 20 messages."""
    level: Numbers = (mean * messages + ONE_LEVEL_KAPPA * prior) / (messages + ONE_LEVEL_KAPPA)
    return level
