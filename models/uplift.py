"""Weekly training: settled decisions of both arms -> who is helped by a message, and who is driven away.

A T-learner: one logistic regression for those written to, another for those held out, a third for who blocks the bot.
Each is held back towards its mean by the same share whatever the size of its arm: else the smaller arm's flatter slopes
would pass for an effect of the message.

What decides is the policy "send where the value is above 0", not how well a probability fits. Its value is estimated
from the logged draws (`domain.policy_value`), and has to beat what is done now: sending to everybody whom the rules
call a candidate, and the policy of the model that serves, if one does. Decisions are cross-fitted: users are dealt to
five folds, and each fold is decided by a model of the other four. A control group is a tenth of the users, and a part
kept back for judging would hold too few of them. So what is published was fitted to all decisions, by the procedure
that was judged.

Where a model serves already, only a share of the decisions without uplift has a record; each counts for as many as
it stands for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from engagement.clients.predictor import UpliftModel
from engagement.domain.champion import UPLIFT
from engagement.domain.policy_value import Difference, Logged, compare
from engagement.domain.uplift import BLOCK_COST, EXPLORED, FEWEST_USERS, LoggedDecision, Uplift, value
from engagement.errors import ModelUnavailableError
from models.candidate import GOLDEN_ROWS, SEED, answers_of
from models.export import CHECKED_ROWS, GOLDEN_DIGITS, publish, uplift_graph
from models.judge import CANDIDATE, DIGITS, SERVING, Verdict
from models.metrics import Numbers
from models.train import rounded

KIND = "a T-learner: a logistic regression for each arm, and one for who blocks"
FOLDS = 5
RIDGE = 0.03
"""Penalty beside the mean loss of a user, on slopes of standardised features."""
FEWEST_OUTCOMES = 10
"""Of each kind in an arm; of blocks: below it, everybody's share is expected of each."""
Z_99 = 2.575829
"""The interval that decides is wider than usual: every week asks again of mostly the same users, and the estimate takes
the few blocks among the held out for more certain than they are."""
RULE = "rule"
"""What is done without a model: everybody is written to whom the rules call a candidate."""
LIMITS = (
    "Learned from each user's first decision of an experiment: of what a tenth message does to somebody it knows less.",
    "Who let the bot train on their history may differ from who did not, and this week's messages from next week's.",
    "An average effect says nothing of one person: it orders people by it, and many errors cancel out.",
)


@dataclass(frozen=True, slots=True)
class TLearner:
    """A fitted model.

    Attributes:
        sent: gives the probability of coming back when written to.
        alone: the same when held out.
        blocked: gives the probability of blocking or opting out when written to.
        blocked_anyway: share of the held out who did.
    """

    sent: Pipeline
    alone: Pipeline
    blocked: Pipeline
    blocked_anyway: float

    def answers(self, rows: Numbers) -> Numbers:
        """Return scikit-learn's answers, a row for each row, as `Uplift` has them."""
        columns = [model.predict_proba(rows)[:, 1] for model in (self.sent, self.alone, self.blocked)]
        columns[2] = np.maximum(columns[2] - self.blocked_anyway, 0.0)
        return np.column_stack(columns)


@dataclass(frozen=True, slots=True)
class Gain:
    """Returns a decision, blocks taken off, that the candidate's policy brings more than another, and 99 % of it.

    Attributes:
        value: the estimate; not a number where it cannot be told.
        low: lower end of the interval.
        high: upper end.
        effective_sample: people of the smaller arm, among those on whom the policies differ.
        refused: why it cannot be told, in words; "" where it can.
    """

    value: float
    low: float
    high: float
    effective_sample: float
    refused: str

    @classmethod
    def of(cls, found: Difference) -> Self:
        """Widen what was found."""
        half = Z_99 * found.standard_error
        low, high = found.difference - half, found.difference + half
        return cls(found.difference, low, high, found.effective_sample, found.reason or "")

    def __str__(self) -> str:
        if self.refused:
            return f"nothing that can be told ({self.refused})"
        return f"{1_000 * self.value:+.1f} [{1_000 * self.low:+.1f}, {1_000 * self.high:+.1f}] returns in 1,000"

    def as_json(self) -> dict[str, Any]:
        """Return it as a verdict and a card show it."""
        if self.refused:
            return {"value": None, "reason": self.refused}
        interval = [round(self.low, DIGITS), round(self.high, DIGITS)]
        sample = round(self.effective_sample)
        return {"value": round(self.value, DIGITS), "interval": interval, "effective_sample": sample}


@dataclass(frozen=True, slots=True)
class _Decisions:
    """Decisions as columns, in the order of `fold`'s hash: the same whatever order they were read in."""

    rows: Numbers
    sent: NDArray[np.bool_]
    returned: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_]) -> "_Decisions":
        """Return the chosen decisions."""
        return _Decisions(
            rows=self.rows[chosen],
            sent=self.sent[chosen],
            returned=self.returned[chosen],
            lost=self.lost[chosen],
            fold=self.fold[chosen],
        )


def train(
    decisions: Sequence[LoggedDecision],
    *,
    serving: Path | None,
    out: Path,
    now: datetime,
    min_samples: int,
    complete: bool = True,
) -> Verdict:
    """Fit a model, judge its policy, and publish it if it may serve.

    Args:
        decisions: one of each user.
        serving: folder of the model that serves; None where none does.
        out: where a model to be promoted is written.
        now: end of what is known; aware.
        min_samples: fewest decisions that a model is trained from.
        complete: the time sufficed to read all of them.
    """
    ordered = sorted(decisions, key=_hash)
    known = _columns(ordered)
    held_out, written_to = int((~known.sent).sum()), int(known.sent.sum())
    if len(ordered) < min_samples or min(held_out, written_to) < FEWEST_USERS:
        reason = (
            f"the outcomes of {written_to:,} users written to and of {held_out:,} held out are known; it takes "
            f"{FEWEST_USERS} of each, and {min_samples:,} together"
        )
        if not complete:
            return Verdict(UPLIFT, "out_of_time", f"before the time was up, {reason}", len(ordered))
        return Verdict(UPLIFT, "too_little_data", reason, len(ordered))
    if shortage := _one_outcome(known):
        return Verdict(UPLIFT, "one_class", shortage, len(ordered))
    answers = np.zeros((len(ordered), 3))
    for fold in range(FOLDS):
        inside = known.fold == fold
        answers[inside] = fit(known.part(~inside)).answers(known.rows[inside])
    policies = {CANDIDATE: _sends(answers), RULE: [True] * len(ordered)}
    if (champion := _champion(serving, known.rows)) is not None:
        policies[SERVING] = _sends(champion)
    logged = _logged(ordered)
    gains = {
        other: Gain.of(compare(logged, policies[CANDIDATE], sends, block_cost=BLOCK_COST))
        for other, sends in policies.items()
        if other != CANDIDATE
    }
    metrics = _metrics(known, answers, policies, gains)
    reason = _reason(ordered, policies, gains)
    if not all(gain.low > 0 for gain in gains.values()):
        return Verdict(UPLIFT, "keep", f"not better beyond chance: {reason}", len(ordered), metrics)
    try:
        _publish(fit(known), known, metrics, out, now)
    except ModelUnavailableError as error:
        return Verdict(UPLIFT, "keep", f"better, but it cannot be served: {error}", len(ordered), metrics)
    return Verdict(UPLIFT, "promote", f"better beyond chance: {reason}", len(ordered), metrics, out)


def fit(known: _Decisions) -> TLearner:
    """Fit the three regressions; always the same to the last bit."""
    scale = StandardScaler().fit(known.rows)
    treated, control = known.part(known.sent), known.part(~known.sent)
    return TLearner(
        sent=_fit(scale, treated.rows, treated.returned),
        alone=_fit(scale, control.rows, control.returned),
        blocked=_fit(scale, treated.rows, treated.lost),
        blocked_anyway=float(f"{control.lost.mean():.6g}"),
    )


def _fit(scale: StandardScaler, rows: Numbers, labels: NDArray[np.bool_]) -> Pipeline:
    # The second-order solver ends at the optimum itself, so the result does not depend on the path to it.
    logit = LogisticRegression(C=1 / (RIDGE * len(labels)), solver="newton-cholesky", tol=1e-10, max_iter=100)
    happened = int(labels.sum())
    if min(happened, len(labels) - happened) >= FEWEST_OUTCOMES:
        logit.fit(scale.transform(rows), labels)
    else:
        share = (happened + 0.5) / (len(labels) + 1)
        logit.classes_, logit.n_features_in_ = np.array([False, True]), rows.shape[1]
        logit.coef_, logit.intercept_ = np.zeros((1, rows.shape[1])), np.array([np.log(share / (1 - share))])
    return rounded(Pipeline([("scale", scale), ("logit", logit)]))


def _hash(decision: LoggedDecision) -> bytes:
    return hashlib.blake2b(str(decision.user_id).encode(), digest_size=8).digest()


def _columns(ordered: Sequence[LoggedDecision]) -> _Decisions:
    return _Decisions(
        rows=np.array([decision.row for decision in ordered], float),
        sent=np.array([decision.sent for decision in ordered], np.bool_),
        returned=np.array([decision.returned for decision in ordered], np.bool_),
        lost=np.array([decision.lost for decision in ordered], np.bool_),
        fold=np.array([_hash(decision)[-1] % FOLDS for decision in ordered], np.int64),
    )


def _one_outcome(known: _Decisions) -> str:
    """Say in which arm too few came back, or too few did not; "" where there are enough."""
    for name, arm in (("written to", known.sent), ("held out", ~known.sent)):
        back = int(known.returned[arm].sum())
        if min(back, int(arm.sum()) - back) < FEWEST_OUTCOMES:
            return (
                f"{back:,} of {int(arm.sum()):,} users {name} came back; it takes {FEWEST_OUTCOMES} who did and "
                f"{FEWEST_OUTCOMES} who did not"
            )
    return ""


def _sends(answers: Numbers) -> list[bool]:
    """Return whom the policy writes to: by the function that serves."""
    return [value(Uplift(*answer)) > 0 for answer in answers.tolist()]


def _champion(serving: Path | None, rows: Numbers) -> Numbers | None:
    """Return what the serving model says; None where none serves, or can."""
    try:
        return answers_of(UpliftModel, serving, rows) if serving else None
    except ModelUnavailableError:
        return None


def _logged(ordered: Sequence[LoggedDecision]) -> list[Logged]:
    """Return the decisions as they are compared: an outcome counts for as many decisions as it stands for."""
    stands_for = np.array([1 / decision.planned_probability for decision in ordered])
    weights = (stands_for / stands_for.mean()).tolist()
    return [
        Logged(
            sent=decision.sent,
            probability_sent=decision.sent_probability,
            returned=weight * decision.returned,
            blocked=weight * decision.lost,
            covariate=decision.covariate,
        )
        for decision, weight in zip(ordered, weights, strict=True)
    ]


def _reason(
    ordered: Sequence[LoggedDecision], policies: Mapping[str, Sequence[bool]], gains: Mapping[str, Gain]
) -> str:
    """Say in words, with the numbers, what the policy would have brought."""
    held_out = sum(not decision.sent for decision in ordered)
    words = {RULE: "writing to all of them", SERVING: "the model that serves"}
    told = [f"{gain} against {words[other]}" for other, gain in gains.items()]
    return (
        f"of {len(ordered):,} decisions ({held_out:,} held out) it would send {np.mean(policies[CANDIDATE]):.0%}: "
        + "; ".join(told)
    )


def _metrics(
    known: _Decisions, answers: Numbers, policies: Mapping[str, Sequence[bool]], gains: Mapping[str, Gain]
) -> dict[str, Any]:
    """Return what a verdict and a card show; None stands for what cannot be told."""
    shown: dict[str, Any] = {who: {"sends": round(float(np.mean(sends)), DIGITS)} for who, sends in policies.items()}
    means = answers.mean(axis=0).tolist()
    names = ("returns_if_sent", "returns_alone", "blocks")
    shown[CANDIDATE] |= {name: round(mean, DIGITS) for name, mean in zip(names, means, strict=True)}
    shown[RULE] |= {
        "returns_if_sent": round(float(known.returned[known.sent].mean()), DIGITS),
        "returns_alone": round(float(known.returned[~known.sent].mean()), DIGITS),
        "blocks": round(float(known.lost[known.sent].mean() - known.lost[~known.sent].mean()), DIGITS),
    }
    shown["gain"] = {other: gain.as_json() for other, gain in gains.items()}
    return shown


def _publish(model: TLearner, known: _Decisions, metrics: Mapping[str, Any], out: Path, now: datetime) -> None:
    """Export, check and write a model; the golden rows are drawn: no user's own numbers belong into its files.

    Raises:
        ModelUnavailableError: the client that serves it refuses the export, or it differs from scikit-learn.
    """
    dice = np.random.default_rng(SEED)
    low, high = known.rows.min(axis=0), known.rows.max(axis=0)
    about = {
        "predicts": "coming back within 7 days when written to and when not, and blocking because of the message",
        "trained_at": now.isoformat(),
        "model": {"kind": KIND, "ridge": RIDGE, "blocked_anyway": model.blocked_anyway},
        "gate": f"cross-fitted in {FOLDS} folds of users, doubly robust, {BLOCK_COST:g} returns a block: the policy is "
        "served only if the 99 % interval of what it gains over what is done now is above zero",
        "block_cost": BLOCK_COST,
        "explored": EXPLORED,
        "metrics": metrics,
        "limits": LIMITS,
        "data": {"written_to": int(known.sent.sum()), "held_out": int((~known.sent).sum())},
    }
    publish(
        UpliftModel,
        uplift_graph(model.sent, model.alone, model.blocked, model.blocked_anyway),
        about=about,
        golden=np.round(dice.uniform(low, high, (GOLDEN_ROWS, known.rows.shape[1])), GOLDEN_DIGITS),
        scikit_learn=model.answers,
        checked=[known.rows[:CHECKED_ROWS]],
        directory=out,
    )
