"""Variants: which of a type's texts somebody gets when an outreach is planned, and with what probability.

An even split until a type's texts have been sent `EVEN_UNTIL` times; from then on Thompson sampling, as a sleeping and
recovering bandit (Yancey & Settles, "A Sleeping, Recovering Bandit Algorithm for Optimizing Recurring Notifications",
KDD 2020):

- sleeping: only the names given compete, those that fit this person;
- recovering: what this person got lately is worth less to them, and recovers with the days;
- no eligible text is chosen with less than `EXPLORATION`, so that the log can judge any other policy
  (`domain.policy_value`) and a text whose time has come is noticed.

What a text is worth is P(answered by themselves) - 5 P(stop or block) - P(not now): a text that makes people press a
button is not a good one for that (R91).

The probability of being the best is not sampled but computed, and the choice is drawn from the computed numbers by the
seed: the probability on record is therefore the very one that the choice was made with, and the same question gets the
same answer. Of the posteriors only that computation is approximate (Beta by a normal on the angular scale, 24 points
each, and three for what presses cost); an error there changes which text is favoured by how much, never the truth of
the record.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from statistics import NormalDist
from typing import Self

from engagement.domain.experiment import draw
from engagement.domain.uplift import BLOCK_COST

EVEN_UNTIL = 1_000
"""Sends of a type's texts together: of four texts answered at about 20 %, that tells 10 points apart (power 80 %)."""
EXPLORATION = 0.05
"""Of each eligible text: 1,000 sends then hold 50 of each, what `policy_value` needs at least."""
STOP_COST = BLOCK_COST
"""Answers that a stop or a block costs, as a message's worth has it (`domain.uplift`)."""
NOT_NOW_COST = 1.0
"""Answers that a "not now" costs: it takes away at least one later message of the type."""
FATIGUE = 0.10
"""Share of the response rate that the same text loses when it is repeated at once."""
RECOVERY_DAYS = 15.0
"""Half-life of that; the paper's."""

_HERMITE = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
"""Three points and weights that stand for a standard normal."""
_NODES = tuple(NormalDist().inv_cdf((point + 0.5) / 24) for point in range(24))


@dataclass(frozen=True, slots=True)
class Performance:
    """What became of the texts of one type, counted over the same time.

    Attributes:
        sends: messages sent, by template name; a name that is missing was never sent.
        responses: those that were answered within 24 h, by somebody who wrote by themselves (R90).
        stops: those after which their user ended messages, of the type or all, or blocked the bot.
        not_nows: those under which "not now" was pressed.
    """

    sends: Mapping[str, int] = field(default_factory=dict)
    responses: Mapping[str, int] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    not_nows: Mapping[str, int] = field(default_factory=dict)


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
    """Return each text's probability of being the one that is worth most for this person."""
    prior = _Prior.of(performance)
    beliefs = [_Belief.of(name, performance, prior, _freshness(days_since.get(name))) for name in names]
    pressed = any(cost for belief in beliefs for cost, _ in belief.costs)
    # While nobody has pressed anything, angles compare as the rates do that they stand for: five times as fast.
    points, below = (_points, _below) if pressed else (_angles, _below_angle)
    chances = []
    for index, belief in enumerate(beliefs):
        others = beliefs[:index] + beliefs[index + 1 :]
        chances.append(sum([weight * below(worth, others) for worth, weight in points(belief)]))
    total = sum(chances)
    return [chance / total for chance in chances]


@dataclass(frozen=True, slots=True)
class _Prior:
    """What a text is taken for that nothing is known of: like all of its type together, in so few messages.

    Attributes:
        size: messages it counts for.
        response: share of them that are answered.
        stop: share of them after which somebody stops.
        not_now: share of them under which "not now" is pressed.
    """

    size: float
    response: float
    stop: float
    not_now: float

    @classmethod
    def of(cls, performance: Performance) -> Self:
        """Read it off all texts: of one answer, so that a new text may be twice as good, hardly ten times."""
        sends = sum(performance.sends.values())
        responses, stops = sum(performance.responses.values()), sum(performance.stops.values())
        size = 1 + max((sends - responses + 1) / (responses + 1), 1.0)
        many = max(sends, 1)
        return cls(size, 1 / size, stops / many, sum(performance.not_nows.values()) / many)


def _freshness(days: float | None) -> float:
    return 1.0 if days is None else 1 - FATIGUE * 0.5 ** (max(days, 0.0) / RECOVERY_DAYS)


@dataclass(frozen=True, slots=True)
class _Belief:
    """What one more message with a text is believed to be worth, in answers.

    Attributes:
        centre: mean of arcsin(sqrt(response rate)), on whose scale a Beta posterior is nearly normal.
        spread: standard deviation of that.
        scale: 1 / (spread * sqrt(2)).
        costs: what stops and "not now" take away, and the weights: points that stand for the whole belief of it.
    """

    centre: float
    spread: float
    scale: float
    costs: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, name: str, performance: Performance, prior: _Prior, freshness: float) -> Self:
        """Add what is known of a text to what is known of all."""
        sends, responses = performance.sends.get(name, 0), performance.responses.get(name, 0)
        messages = prior.size + sends
        median = (prior.size * prior.response + responses - 1 / 3) / (messages - 2 / 3)
        stopped = (prior.size * prior.stop + performance.stops.get(name, 0)) / messages
        put_off = (prior.size * prior.not_now + performance.not_nows.get(name, 0)) / messages
        variance = STOP_COST**2 * stopped * (1 - stopped) + NOT_NOW_COST**2 * put_off * (1 - put_off)
        cost, doubt = STOP_COST * stopped + NOT_NOW_COST * put_off, math.sqrt(variance / (messages + 1))
        return cls(
            centre=math.asin(math.sqrt(median * freshness)),
            spread=0.5 / math.sqrt(messages),
            scale=math.sqrt(2 * messages),
            costs=tuple((cost + doubt * off, weight) for off, weight in _HERMITE),
        )


def _angles(belief: _Belief) -> list[tuple[float, int]]:
    """Return angles that stand for a belief, each with its weight."""
    return [(belief.centre + belief.spread * node, 1) for node in _NODES]


def _below_angle(angle: float, others: Sequence[_Belief]) -> float:
    """Return the probability that all others are below an angle; a power of two too large, which cancels out."""
    below = 1.0
    for other in others:
        # cdf(x) of a normal is (1 + erf((x - centre) / spread / sqrt(2))) / 2.
        below *= 1 + math.erf((angle - other.centre) * other.scale)
    return below


def _points(belief: _Belief) -> list[tuple[float, float]]:
    """Return worths that stand for a belief, each with its weight."""
    rates = (_rate(angle) for angle, _ in _angles(belief))
    return [(rate - cost, weight) for rate, (cost, weight) in product(rates, belief.costs)]


def _below(worth: float, others: Sequence[_Belief]) -> float:
    """Return the probability that all others are worth less; a power of two too large, likewise."""
    below = 1.0
    for other in others:
        below *= sum(
            [
                weight * (1 + math.erf((_angle(worth + cost) - other.centre) * other.scale))
                for cost, weight in other.costs
            ]
        )
    return below


def _angle(rate: float) -> float:
    """Return arcsin(sqrt(rate)), mirrored below 0."""
    return math.copysign(math.asin(math.sqrt(min(abs(rate), 1.0))), rate)


def _rate(angle: float) -> float:
    """Return the rate that `_angle` gives an angle for."""
    return math.copysign(math.sin(min(abs(angle), math.pi / 2)) ** 2, angle)
