"""Prediction: what a churn score is made of, factor by factor, in words for people.

A factor's effect is what the score's log odds lose when that one number is replaced by a typical user's and all others
stay. It asks nothing of the model but answers, so it holds for a logistic regression (where the effects add up exactly)
as for a forest (where they need not).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from typing import Any

from engagement.domain.features import BIN_EDGES, silence_days
from engagement.domain.pattern import DAY, SLOT, Pattern
from engagement.domain.planning import usual_gap

TYPICAL = (1.0, 1.4, 0.15, 0.0, 0.0)
"""Of each feature, in their order: the median over active users of ten public event streams, rounded; for models whose
card does not say what its users are like."""
TYPICAL_SILENCE = 10.0
"""Days, likewise."""
NEGLIGIBLE = 0.005
"""Log odds; a smaller effect moves no probability by more than a thousandth and is left out."""
SILENCE = "silence"
"""What the rule goes by beside the active days."""

_CERTAIN = 1e-6
"""Log odds of a probability nearer to 0 or 1 are those of this distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One reason for a score.

    Attributes:
        feature: its name among `features.NAMES`, or `SILENCE`.
        words: what it is about, as the user did it: a phrase for people.
        effect: what it adds to the log odds of staying away, against a typical user; negative speaks for their return.
    """

    feature: str
    words: str
    effect: float


def typical_row(card: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the features of the typical user among those that a model was trained on.

    Args:
        card: the model's; `reference.feature_bins` holds for each feature the shares of the users by `BIN_EDGES`.
    """
    bins = card.get("reference", {}).get("feature_bins", ())
    if [len(shares) for shares in bins] != [len(edges) + 1 for edges in BIN_EDGES]:
        return TYPICAL
    return tuple(map(_median, bins, BIN_EDGES))


def _median(shares: Sequence[float], edges: Sequence[float]) -> float:
    """Return the median of what was counted in bins, as if spread evenly in each; the outer ones have one edge only."""
    half, below = sum(shares) / 2, 0.0
    for share, low, high in zip(shares, (edges[0], *edges), (*edges, edges[-1]), strict=True):
        if share and below + share >= half:
            return low + (half - below) / share * (high - low)
        below += share
    return edges[-1]


def variants(row: tuple[float, ...], typical: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Return the row itself and, for each feature in order, the row with the typical one in its place."""
    return [row, *((*row[:i], value, *row[i + 1 :]) for i, value in enumerate(typical))]


def factors(
    names: Sequence[str], probabilities: Sequence[float], pattern: Pattern, now: datetime
) -> tuple[Factor, ...]:
    """Return what the score is made of, the largest effect first.

    Args:
        names: what was replaced, in order.
        probabilities: the score, then the score with each of `names` replaced by a typical user's.
        pattern: the user's; at least one interaction.
        now: when the score holds, aware.
    """
    score, *replaced = map(_log_odds, probabilities)
    found = [
        Factor(feature=name, words=WORDS[name](pattern, now), effect=score - other)
        for name, other in zip(names, replaced, strict=True)
        if abs(score - other) >= NEGLIGIBLE
    ]
    return tuple(sorted(found, key=lambda factor: (-abs(factor.effect), factor.feature)))


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _CERTAIN), 1 - _CERTAIN)
    return log(inside / (1 - inside))


# --- words ---


def silence_words(pattern: Pattern, now: datetime) -> str:
    """Return "silent for 12 days, usually every 2 days"."""
    silence = f"silent for {duration(timedelta(days=silence_days(pattern, now)))}"
    usual = usual_gap(pattern)
    return (
        f"{silence}, usually every {duration(usual).removeprefix('1 ')}" if usual else f"{silence}, no rhythm known yet"
    )


def duration(length: timedelta) -> str:
    """Return "12 days", "1 day" or, below a day, "5 hours": whole ones, and half days where they are exact."""
    days, hours = length / timedelta(days=1), int(length / timedelta(hours=1))
    if days < 1:
        return f"{hours} hour{'' if hours == 1 else 's'}"
    shown = f"{days:g}" if days * 2 == int(days * 2) else f"{int(days)}"
    return f"{shown} day{'' if shown == '1' else 's'}"


def _active_days(within: int) -> Callable[[Pattern, datetime], str]:
    def words(pattern: Pattern, now: datetime) -> str:
        today = int(now.timestamp()) // DAY
        count = sum(day > today - within for day in pattern.days)
        return f"active on {count} of the last {within} days" if count else f"not active in the last {within} days"

    return words


def _lately(pattern: Pattern, now: datetime) -> str:
    current = int(now.timestamp()) // SLOT
    count = sum(slot > current - 3 * DAY // SLOT for slot in pattern.slots)
    if not count:
        return "not active in the last 3 days"
    return f"active in {count} half-hour{'' if count == 1 else 's'} of the last 3 days"


def _long_silence(pattern: Pattern, now: datetime) -> str:
    return f"away for {duration(timedelta(days=silence_days(pattern, now)))}"


WORDS: dict[str, Callable[[Pattern, datetime], str]] = {
    "active_days_30": _active_days(30),
    "active_days_90": _active_days(90),
    "active_half_hours_3": _lately,
    "own_gap_log_odds": silence_words,
    "long_silence": _long_silence,
    SILENCE: silence_words,
}
"""A phrase for each feature."""
