"""Watching: does the serving churn model still keep what its card promises, on the outcomes of the last week?

Every verdict allows for chance: a bot of fifty users has outcomes enough to see a broken model, and not enough to be
told that a good one is broken. What it cannot see: users whom we wrote to are among those who came back, and a holiday
of a whole community is no chance of its own for each of its users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from math import log, pi, sqrt
from typing import Any

from engagement.domain.census import Census, Outcomes
from engagement.domain.features import NAMES
from engagement.domain.pattern import DAY, MILLI

DAYS = 7
"""Days whose censuses are judged together: in a week nearly every user's outcome comes once."""

FEWEST = 20
"""Outcomes of each kind below which nothing is said about the model: intervals themselves are guesses then."""
FEWEST_USERS = 50
"""Users on either side below which no distribution is compared: the quantile below holds for large samples."""
TOLERATED_AUC = 0.9
"""Of the card's: the guide's alarm is on a drop of more than 10 %."""
TOLERATED_GAP = 0.05
"""Calibration error beyond the card's and beyond chance. Communities that the bundled model never saw: .03 at most."""
TOLERATED_DRIFT = 0.2
"""The usual reading of a population stability index: below .1 nothing, from .2 on another population."""
TWO_SIDED_95 = 1.96
ONE_SIDED_95 = 1.645
FLOOR = 0.002
"""Added to the share of every bin, so that a bin that is empty on one side counts as rare and not as impossible."""
CHI_SQUARE_99 = 21.67
"""99 % quantile at 9 degrees of freedom (10 bins): with five features, one false alarm in twenty looks at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the serving churn model does, over the last complete week.

    Attributes:
        version: of the model.
        outcomes: its scores that came true or did not in that week.
        auc: probability that who stayed away was scored above who did not; None below `FEWEST` of either.
        auc_error: standard error of `auc`.
        brier: mean squared error of the probabilities; None without outcomes.
        ece: mean gap between predicted and observed, [0, 1]; None without outcomes.
        ece_by_chance: what a perfectly calibrated model stays below with 95 %, given as few outcomes.
        drift: for each feature, the population stability index beyond what chance explains, >= 0; empty where there
            is nothing to compare with.
        age_days: since training; None for a model that came with the code, which is not trained on anything that ages.
        high_risk: users in the highest band when scored on the last day.
        degraded: the ranking or the calibration is worse than the card's beyond chance and tolerance.
        drifted: some feature's distribution is another one beyond chance and tolerance.
    """

    version: str
    outcomes: int
    auc: float | None
    auc_error: float | None
    brier: float | None
    ece: float | None
    ece_by_chance: float | None
    drift: Mapping[str, float]
    age_days: float | None
    high_risk: int
    degraded: bool
    drifted: bool

    def metrics(self) -> dict[str, float | None]:
        """Return what is worth an operator's graph or alarm, by the metric's name; None where it is not known."""
        return {
            "LiveChurnAuc": self.auc,
            "LiveChurnEce": self.ece,
            "LabelsRipened": self.outcomes,
            "FeatureDrift": max(self.drift.values(), default=None),
            "ModelAgeDays": self.age_days,
            "ModelDegraded": int(self.degraded),
            "ChurnHighRisk": self.high_risk,
        }

    def concerns(self) -> tuple[str, ...]:
        """Return what is wrong and what to do about it, in words."""
        return tuple(
            advice
            for concerns, advice in (
                (self.degraded, "the churn model is worse than its card: run the trainer, or roll back"),
                (self.drifted, "users are not like those the churn model knows: run the trainer, watch LiveChurnAuc"),
            )
            if concerns
        )


def judge(week: Census, yesterday: Census, earlier: Census, card: Mapping[str, Any], now: datetime) -> Health:
    """Judge the model that `card` describes.

    Drift is measured against what the model was trained on. The model that came with the code was trained on other
    communities, of which six in ten healthy ones differ by more than .2 while the model serves them well; there the
    bot's own past takes that place.

    Args:
        week: sum over the last `DAYS` complete days.
        yesterday: the last of them.
        earlier: sum over `DAYS` days some weeks before; looked at only where the model came with the code.
        card: the serving model's; without "reference" nothing is judged that needs one.
        now: aware.
    """
    found = week.outcomes.get(card["version"], Outcomes())
    reference = card.get("reference", {})
    trained_at = card.get("trained_at")
    if trained_at:
        expected, expected_looks = reference.get("feature_bins", ()), float(reference.get("looks", "inf"))
    else:
        expected, expected_looks = earlier.feature_bins if earlier.looks else (), earlier.looks / DAYS
    seen, away = sum(found.seen), sum(found.stayed_away)
    ranking = _auc(found) if min(away, seen - away) >= FEWEST else None
    brier, ece, ece_by_chance = _calibration(found) if seen else (None, None, None)
    drift = _drift(week, expected, expected_looks)
    return Health(
        version=card["version"],
        outcomes=seen,
        auc=ranking[0] if ranking else None,
        auc_error=ranking[1] if ranking else None,
        brier=brier,
        ece=ece,
        ece_by_chance=ece_by_chance,
        drift=drift,
        age_days=(now - datetime.fromisoformat(trained_at)).total_seconds() / DAY if trained_at else None,
        high_risk=yesterday.bands[-1],
        degraded=ranking is not None
        and (_ranks_worse(*ranking, reference) or _is_off(ece or 0.0, ece_by_chance or 0.0, reference)),
        drifted=max(drift.values(), default=0.0) > TOLERATED_DRIFT,
    )


def _ranks_worse(auc: float, error: float, reference: Mapping[str, Any]) -> bool:
    return "auc_7d" in reference and auc + TWO_SIDED_95 * error < TOLERATED_AUC * float(reference["auc_7d"])


def _is_off(ece: float, by_chance: float, reference: Mapping[str, Any]) -> bool:
    return "ece_7d" in reference and ece > by_chance + float(reference["ece_7d"]) + TOLERATED_GAP


def _auc(found: Outcomes) -> tuple[float, float]:
    """Return the AUC and its standard error, ties counting half.

    The variance is that of the placements (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988), exact for binned
    scores too: all users of a bin share one placement.
    """
    away = found.stayed_away
    back = [seen - gone for seen, gone in zip(found.seen, away, strict=True)]
    many_away, many_back = sum(away), sum(back)
    # Share of the others that a member of each bin is ranked above, or below.
    above = [(s - b / 2) / many_back for s, b in zip(accumulate(back), back, strict=True)]
    below = [1 - (s - a / 2) / many_away for s, a in zip(accumulate(away), away, strict=True)]
    auc = sum(count * share for count, share in zip(away, above, strict=True)) / many_away
    variance = _variance_of_mean(above, away, auc) + _variance_of_mean(below, back, auc)
    return auc, sqrt(variance)


def _variance_of_mean(values: Sequence[float], counts: Sequence[int], mean: float) -> float:
    many = sum(counts)
    return sum(count * (value - mean) ** 2 for value, count in zip(values, counts, strict=True)) / (many - 1) / many


def _calibration(found: Outcomes) -> tuple[float, float, float]:
    """Return the Brier score, the calibration error, and what chance alone brings that to.

    Of a perfectly calibrated model the gap of a bin is normal around 0 with variance p (1 - p) / n, and its absolute
    value half-normal; the bins are independent, so their means and variances add up.
    """
    many = sum(found.seen)
    brier = gaps = mean = variance = 0.0
    for seen, predicted_milli, away in zip(found.seen, found.predicted_milli, found.stayed_away, strict=True):
        if not seen:
            continue
        predicted = predicted_milli / MILLI / seen
        brier += seen * predicted**2 - 2 * predicted * away + away
        gaps += abs(away - seen * predicted)
        spread = seen * predicted * (1 - predicted)
        mean += sqrt(2 / pi * spread)
        variance += (1 - 2 / pi) * spread
    return brier / many, gaps / many, (mean + ONE_SIDED_95 * sqrt(variance)) / many


def _drift(week: Census, expected: Sequence[Sequence[float]], expected_looks: float) -> dict[str, float]:
    """Return each feature's population stability index less what two samples of one population stay below with 99 %.

    That is the chi-square quantile times (1 / n + 1 / m) (Yurdakul, "Statistical properties of population stability
    index", 2018). A week looks at everybody on most of its days, and they hardly change from day to day: n is the
    users, not the looks.
    """
    users = week.looks / DAYS
    if min(users, expected_looks) < FEWEST_USERS or len(expected) != len(NAMES):
        return {}
    by_chance = CHI_SQUARE_99 * (1 / users + 1 / expected_looks)
    return {
        name: max(_stability_index(now, before) - by_chance, 0.0)
        for name, now, before in zip(NAMES, week.feature_bins, expected, strict=True)
        if len(now) == len(before)
    }


def _stability_index(left: Sequence[float], right: Sequence[float]) -> float:
    return sum((a - b) * log(a / b) for a, b in zip(_shares(left), _shares(right), strict=True))


def _shares(counts: Sequence[float]) -> list[float]:
    """Return the shares of the bins; none is empty, so that the logarithm is finite."""
    total = sum(counts)
    return [(count / total + FLOOR) / (1 + FLOOR * len(counts)) for count in counts]
