"""Variants: which of a type's texts somebody gets when an outreach is planned, and with what probability.

An even split until a type's texts have been sent `EVEN_UNTIL` times; from then on Thompson sampling, as a sleeping and
recovering bandit (Yancey & Settles, "A Sleeping, Recovering Bandit Algorithm for Optimizing Recurring Notifications",
KDD 2020):

- sleeping: only the names given compete, those that fit this person;
- recovering: what this person got lately is worth less to them, and recovers with the days;
- no eligible text is chosen with less than `EXPLORATION`, so that the log can judge any other policy
  (`domain.policy_value`) and a text whose time has come is noticed.

The probability of being the best is not sampled but computed, and the choice is drawn from the computed numbers by the
seed: the probability on record is therefore the very one that the choice was made with, and the same question gets the
same answer. Of the posteriors only that computation is approximate (Beta by a normal on the angular scale, 24 points
each); an error there changes which text is favoured by how much, never the truth of the record.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import NormalDist

from engagement.domain.experiment import draw

EVEN_UNTIL = 1_000
"""Sends of a type's texts together: of four texts answered at about 20 %, that tells 10 points apart (power 80 %)."""
EXPLORATION = 0.05
"""Of each eligible text: 1,000 sends then hold 50 of each, what `policy_value` needs at least."""
FATIGUE = 0.10
"""Share of the response rate that the same text loses when it is repeated at once."""
RECOVERY_DAYS = 15.0
"""Half-life of that; the paper's."""

_NODES = tuple(NormalDist().inv_cdf((point + 0.5) / 24) for point in range(24))


@dataclass(frozen=True, slots=True)
class Performance:
    """What became of the texts of one type, counted over the same time.

    Attributes:
        sends: messages sent, by template name; a name that is missing was never sent.
        responses: those that were answered within 24 h.
    """

    sends: Mapping[str, int] = field(default_factory=dict)
    responses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """A template's name and the probability, (0, 1], with which it was chosen."""

    name: str
    probability: float


def choose(names: Sequence[str], performance: Performance | None, days_since: Mapping[str, float], seed: str) -> Choice:
    """Choose a text; the same at every call.

    Args:
        names: of the eligible templates, in any order.
        performance: of the type's templates; None splits evenly.
        days_since: since this person last got a template, by name; those never got are missing.
        seed: what the choice is for: bot, user, campaign and period.

    Raises:
        ValueError: there are no names.
    """
    chances = probabilities(names, performance, days_since)
    if not chances:
        raise ValueError("no text is eligible")
    drawn = draw(seed, "text")
    # Rounding may leave the last sum a hair below 1.
    index = min(bisect_right(list(accumulate(chances.values())), drawn), len(chances) - 1)
    name = list(chances)[index]
    return Choice(name, chances[name])


def probabilities(
    names: Sequence[str], performance: Performance | None, days_since: Mapping[str, float]
) -> dict[str, float]:
    """Return the probabilities with which `choose` chooses, by name in alphabetical order; they sum to 1."""
    eligible = sorted(set(names))
    if performance is None or sum(performance.sends.values()) < EVEN_UNTIL:
        return {name: 1 / len(eligible) for name in eligible}
    best = _best(eligible, performance, days_since)
    # Of very many texts no more than half the messages explore.
    floor = min(EXPLORATION, 0.5 / len(eligible))
    return {name: floor + (1 - floor * len(eligible)) * chance for name, chance in zip(eligible, best, strict=True)}


def _best(names: Sequence[str], performance: Performance, days_since: Mapping[str, float]) -> list[float]:
    """Return each text's probability of being the one that this person answers likeliest."""
    prior_failures = _prior_failures(performance)
    posteriors = [
        _posterior(
            1 + performance.responses.get(name, 0),
            prior_failures + performance.sends.get(name, 0) - performance.responses.get(name, 0),
            _freshness(days_since.get(name)),
        )
        for name in names
    ]
    chances = []
    for index, (centre, spread) in enumerate(posteriors):
        # cdf(x) of a normal is (1 + erf((x - centre) / spread / sqrt(2))) / 2; the halves cancel in the division below.
        others = [
            (middle, 1 / (width * math.sqrt(2))) for middle, width in posteriors[:index] + posteriors[index + 1 :]
        ]
        chance = 0.0
        for node in _NODES:
            at = centre + spread * node
            below = 1.0
            for middle, scale in others:
                below *= 1 + math.erf((at - middle) * scale)
            chance += below
        chances.append(chance)
    total = sum(chances)
    return [chance / total for chance in chances]


def _prior_failures(performance: Performance) -> float:
    """Return b of Beta(1, b), whose mean is the rate of all texts: a new one may be twice as good, hardly ten times."""
    sends, responses = sum(performance.sends.values()), sum(performance.responses.values())
    return max((sends - responses + 1) / (responses + 1), 1.0)


def _freshness(days: float | None) -> float:
    return 1.0 if days is None else 1 - FATIGUE * 0.5 ** (max(days, 0.0) / RECOVERY_DAYS)


def _posterior(responses: float, failures: float, freshness: float) -> tuple[float, float]:
    """Return mean and standard deviation of arcsin(sqrt(rate * freshness)), where Beta posteriors are nearly normal."""
    median = (responses - 1 / 3) / (responses + failures - 2 / 3)
    return math.asin(math.sqrt(median * freshness)), 0.5 / math.sqrt(responses + failures)
