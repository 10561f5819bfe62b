"""Policies: what another way of choosing would have brought, from the logged probabilities of what was done.

Nobody needs to be written to for it: where the log did, by its draw, what the other policy would have done, its outcome
counts for everybody alike, with the inverse of the probability as its weight. Two questions are answered:

- whom to write to (`send_policy_value`, `compare`), from both arms of the experiment. The estimate is doubly robust
  (Robins, Rotnitzky & Zhao 1994; Dudík, Langford & Li, ICML 2011): each arm's outcome is predicted by a line in the
  covariate, and the weighted residuals correct it. The line leaves out the person it predicts, so with the draw's own
  probabilities the estimate has no bias, however bad the line. Weights are never clipped.
- which text to take (`text_policy_value`), from the logged choices: self-normalised (Swaminathan & Joachims, NeurIPS
  2015), or doubly robust where outcome estimates are given. Weights are clipped at `MAXIMUM_WEIGHT`; how many is said.

What a log cannot tell is refused, with a reason in words: the figures are then not numbers (nan), so that no comparison
with them holds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

MINIMUM_EFFECTIVE_SAMPLE = 50
"""Of (sum of weights)^2 / (sum of their squares): about so many people of equal weight. Below it intervals fail."""
MAXIMUM_WEIGHT = 20.0
"""The inverse of `variants.EXPLORATION`: no choice of ours weighs more."""
Z_95 = 1.959964
SUSPICIOUS_Z = 4.0
"""Weights average 1 if the log could take all that the policy wants; further off than this is no chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One person of an experiment, with their first exposure only: units must be independent.

    Attributes:
        sent: the arm, as drawn; held-out people have one, too.
        probability_sent: of the arm `sent`, [0, 1].
        returned: 1.0 if they came back in time, else 0.0; any number will do.
        blocked: 1.0 if they blocked the bot or opted out, else 0.0.
        covariate: known before the exposure; the better it predicts `returned`, the narrower the intervals.
    """

    sent: bool
    probability_sent: float
    returned: float
    blocked: float
    covariate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """A value and how far off it may be; nan where it was refused."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - Z_95 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + Z_95 * self.standard_error


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue(_Estimate):
    """What a policy would bring per person.

    Attributes:
        value: mean of returned - block_cost * blocked; nan where refused.
        standard_error: of the value; nan where refused.
        messages: share of people written to.
        blocks: mean of blocked; nan where refused.
        effective_sample: people that the value rests on.
        reason: why it was refused, in words; None where it was not.
    """

    messages: float
    blocks: float
    effective_sample: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a candidate policy brings more than a baseline, per person; the same people, so only who differs counts.

    Attributes:
        difference: of the two values; nan where refused.
        standard_error: of the difference; nan where refused.
        low: lower end of the 95 % interval; nan where refused, so that `low > 0` does not hold.
        high: upper end.
        effective_sample: of the people on whom the policies differ, the smaller arm's.
        reason: why it was refused, in words; None where it was not.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    effective_sample: float
    reason: str | None = None


def send_policy_value(logged: Sequence[Logged], sends: Sequence[bool], *, block_cost: float) -> PolicyValue:
    """Estimate the value of a policy that writes to some.

    Args:
        logged: both arms of an experiment.
        sends: whether the policy writes to each of these people; it must not depend on what became of them.
        block_cost: how many returns a block costs.

    Raises:
        ValueError: of different lengths.
    """
    sample = effective_sample(_weights(logged, sends))
    messages = fmean(sends) if sends else math.nan
    reason = _never_done(logged, sends) or _too_few(sample)
    if reason:
        return PolicyValue(
            value=math.nan,
            standard_error=math.nan,
            messages=messages,
            blocks=math.nan,
            effective_sample=sample,
            reason=reason,
        )
    values = _scores(logged, sends, [_reward(row, block_cost) for row in logged])
    return PolicyValue(
        value=fmean(values),
        standard_error=_standard_error(values),
        messages=messages,
        blocks=fmean(_scores(logged, sends, [row.blocked for row in logged])),
        effective_sample=sample,
    )


def compare(
    logged: Sequence[Logged], candidate_sends: Sequence[bool], baseline_sends: Sequence[bool], *, block_cost: float
) -> Difference:
    """Estimate what a policy brings more than another; see `send_policy_value`.

    Raises:
        ValueError: of different lengths.
    """
    differing = [
        row
        for row, candidate, baseline in zip(logged, candidate_sends, baseline_sends, strict=True)
        if candidate != baseline
    ]
    arms = ([True] * len(differing), [False] * len(differing))
    sample = min(effective_sample(_weights(differing, arm)) for arm in arms)
    reason = (
        ("the two policies decide alike for everybody" if not differing else None)
        or _never_done(differing, arms[0])
        or _never_done(differing, arms[1])
        or _too_few(sample)
    )
    if reason:
        return Difference(
            difference=math.nan,
            standard_error=math.nan,
            low=math.nan,
            high=math.nan,
            effective_sample=sample,
            reason=reason,
        )
    rewards = [_reward(row, block_cost) for row in logged]
    pairs = zip(_scores(logged, candidate_sends, rewards), _scores(logged, baseline_sends, rewards), strict=True)
    gains = [candidate - baseline for candidate, baseline in pairs]
    difference, error = fmean(gains), _standard_error(gains)
    return Difference(
        difference=difference,
        standard_error=error,
        low=difference - Z_95 * error,
        high=difference + Z_95 * error,
        effective_sample=sample,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message whose text was chosen by `variants.choose`.

    Attributes:
        user_id: who got it; the messages of one user are not independent.
        name: of the template.
        probability: with which it was chosen, (0, 1].
        outcome: 1.0 if it was answered, else 0.0; any number will do.
    """

    user_id: int
    name: str
    probability: float
    outcome: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPolicyValue(_Estimate):
    """What another way of choosing texts would bring per message.

    Attributes:
        value: mean outcome; nan where refused.
        standard_error: of the value, with the messages of one user taken together; nan where refused.
        effective_sample: messages that the value rests on.
        clipped: messages that would have weighed more than `MAXIMUM_WEIGHT`; if any, the value leans towards the
            outcome estimates or, without them, towards the other messages.
        reason: why it was refused, in words; None where it was not.
    """

    effective_sample: float
    clipped: int
    reason: str | None = None


def text_policy_value(
    logged: Sequence[Taken], wanted: Sequence[Mapping[str, float]], estimates: Mapping[str, float] | None = None
) -> TextPolicyValue:
    """Estimate the value of a policy that chooses texts.

    Args:
        logged: messages with the text they had.
        wanted: for each, the policy's probabilities of the texts eligible then; they sum to 1.
        estimates: expected outcome of each text, for example of `mean_outcomes`; with them the estimate is doubly
            robust, without them self-normalised.

    Raises:
        KeyError: a text that is wanted has no estimate.
        ValueError: of different lengths.
    """
    weights = [policy.get(row.name, 0.0) / row.probability for row, policy in zip(logged, wanted, strict=True)]
    users = [row.user_id for row in logged]
    clipped = sum(weight > MAXIMUM_WEIGHT for weight in weights)
    kept = [min(weight, MAXIMUM_WEIGHT) for weight in weights]
    sample = effective_sample(kept)
    reason = _never_taken(logged, wanted) or _too_few(sample) or _off_balance(weights, users)
    if reason:
        return TextPolicyValue(
            value=math.nan, standard_error=math.nan, effective_sample=sample, clipped=clipped, reason=reason
        )
    if estimates is None:
        total = math.fsum(kept)
        value = math.fsum(weight * row.outcome for weight, row in zip(kept, logged, strict=True)) / total
        shares = [len(kept) / total * weight * (row.outcome - value) for weight, row in zip(kept, logged, strict=True)]
    else:
        scores = [
            math.fsum(probability * estimates[name] for name, probability in policy.items() if probability)
            + (weight * (row.outcome - estimates[row.name]) if weight else 0.0)
            for weight, row, policy in zip(kept, logged, wanted, strict=True)
        ]
        value = fmean(scores)
        shares = [score - value for score in scores]
    return TextPolicyValue(
        value=value, standard_error=_clustered_error(shares, users), effective_sample=sample, clipped=clipped
    )


def mean_outcomes(logged: Sequence[Taken]) -> dict[str, float]:
    """Return each text's mean outcome, as if everybody had been equally likely to get it."""
    sums: dict[str, tuple[float, float]] = {}
    for row in logged:
        weight, outcome = sums.get(row.name, (0.0, 0.0))
        sums[row.name] = weight + 1 / row.probability, outcome + row.outcome / row.probability
    return {name: outcome / weight for name, (weight, outcome) in sums.items()}


def _never_taken(logged: Sequence[Taken], wanted: Sequence[Mapping[str, float]]) -> str | None:
    desired = {name for policy in wanted for name, probability in policy.items() if probability > 0}
    missing = sorted(desired - {row.name for row in logged})
    return f"the policy takes {', '.join(missing)}, which the log never took" if missing else None


def _off_balance(weights: Sequence[float], users: Sequence[int]) -> str | None:
    mean = fmean(weights)
    error = _clustered_error([weight - mean for weight in weights], users)
    # Of a policy equal to the log's every weight is 1 but for rounding.
    if abs(mean - 1) <= SUSPICIOUS_Z * error + 1e-6:
        return None
    return (
        f"the weights average {mean:.2f} instead of 1: the policy wants what the log could not take, "
        "or the logged probabilities are not those of the choice"
    )


def _clustered_error(shares: Sequence[float], users: Sequence[int]) -> float:
    """Return the standard error of a mean from each observation's distance to it, summed up by user."""
    sums: dict[int, float] = {}
    for user, share in zip(users, shares, strict=True):
        sums[user] = sums.get(user, 0.0) + share
    return math.sqrt(math.fsum(value * value for value in sums.values())) / len(shares)


def effective_sample(weights: Sequence[float]) -> float:
    """Return how many equally weighted observations the weighted ones are worth (Kish 1965); 0 of none."""
    squares = math.fsum(weight * weight for weight in weights)
    return math.fsum(weights) ** 2 / squares if squares else 0.0


def _reward(row: Logged, block_cost: float) -> float:
    return row.returned - block_cost * row.blocked


def _wanted(logged: Sequence[Logged], sends: Sequence[bool]) -> list[tuple[Logged, bool, float]]:
    """Return rows with what the policy does and the probability with which the log did the same."""
    return [
        (row, send, row.probability_sent if send else 1 - row.probability_sent)
        for row, send in zip(logged, sends, strict=True)
    ]


def _weights(logged: Sequence[Logged], sends: Sequence[bool]) -> list[float]:
    """Return the weights of those to whom happened what the policy wants."""
    return [
        1 / probability for row, send, probability in _wanted(logged, sends) if row.sent == send and probability > 0
    ]


def _never_done(logged: Sequence[Logged], sends: Sequence[bool]) -> str | None:
    rows = _wanted(logged, sends)
    for wanted, words in ((True, "writes to"), (False, "holds out")):
        people = [(row, probability) for row, send, probability in rows if send == wanted]
        impossible = sum(probability <= 0 for _, probability in people)
        if impossible:
            return f"the policy {words} {impossible} people for whom the log never could"
        if people and all(row.sent != wanted for row, _ in people):
            return f"the policy {words} {len(people)} people, and the log did so with none of them"
    return None


def _too_few(sample: float) -> str | None:
    if sample >= MINIMUM_EFFECTIVE_SAMPLE:
        return None
    return f"it rests on {sample:.0f} people; {MINIMUM_EFFECTIVE_SAMPLE} are needed"


def _scores(logged: Sequence[Logged], sends: Sequence[bool], outcomes: Sequence[float]) -> list[float]:
    """Return each person's doubly robust score: their mean estimates the policy's value."""
    lines = {
        arm: _Line([(row.covariate, outcome) for row, outcome in zip(logged, outcomes, strict=True) if row.sent == arm])
        for arm in (False, True)
    }
    scores = []
    for (row, send, probability), outcome in zip(_wanted(logged, sends), outcomes, strict=True):
        line = lines[send]
        if row.sent == send:
            without = line.without(row.covariate, outcome)
            scores.append(without + (outcome - without) / probability)
        else:
            scores.append(line.at(row.covariate))
    return scores


class _Line:
    """A least-squares line; flat where it has fewer than three points or all are at one place."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._count = len(points)
        self._x = fmean(x for x, _ in points) if points else 0.0
        self._y = fmean(y for _, y in points) if points else 0.0
        self._spread = math.fsum((x - self._x) ** 2 for x, _ in points) if self._count > 2 else 0.0
        together = math.fsum((x - self._x) * (y - self._y) for x, y in points)
        self._slope = together / self._spread if self._spread else 0.0

    def at(self, x: float) -> float:
        """Return what the line predicts."""
        return self._y + self._slope * (x - self._x)

    def without(self, x: float, y: float) -> float:
        """Return what the line through all points but this one of them predicts at its place."""
        leverage = 1 / self._count + ((x - self._x) ** 2 / self._spread if self._spread else 0.0)
        # A point that alone decides the line at its place is predicted by nothing.
        return y - (y - self.at(x)) / (1 - leverage) if leverage < 1 - 1e-9 else 0.0


def _standard_error(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
