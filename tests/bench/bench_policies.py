"""Whom to write to: what each policy brings in worlds whose truth is known, and whether an experiment's log can tell.

Run: python tests/bench/bench_policies.py

The bot's first people are an experiment: every candidate is written to but a control group. Ours is the model that the
weekly training (`models.uplift`) learns from them, if its own verdict lets it serve; else all candidates are written to
as before. The gate's limits (consent, caps, quiet hours) hold for every policy alike and are left out.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from engagement.clients.predictor import UpliftModel
from engagement.domain.policy_value import Difference, Logged, PolicyValue, compare, send_policy_value
from engagement.domain.uplift import BLOCK_COST, NAMES, LoggedDecision, value
from infra.local.world import NOTHING, Effects, Kind, World
from models import uplift

SIZES = (8_000, 24_000)
"""People in the log that is learned from."""
JUDGED = 4_000
"""People in the later log, by which the estimates are judged."""
CONTROL = 0.1
OTHERS = 20_000
"""People of the same kind, on whom the truth is counted."""
SEEDS = 20
NOW = datetime(2026, 11, 22, tzinfo=UTC)
COLUMNS = (NAMES.index("return_log_odds_7d"), NAMES.index("usual_mood"))
"""Where the world's two features go: the prediction, and the trace of a person's kind. The others are 0."""
FIGURES = ("returns", "messages", "blocks", "value")

WORLDS = {
    "default": Effects(),
    "nobody is helped": Effects(helps=0.0),
    "messages change nothing": NOTHING,
    "features tell nothing": Effects(telling=0.0),
    "everybody is helped": Effects(mix=(1.0, 0.0, 0.0)),
}

Bools = NDArray[np.bool_]
Policy = Callable[[World], Bools]


@dataclass(frozen=True, slots=True)
class Worth:
    """What a policy really brings, per 1,000 people: expected numbers, no draw of one fate.

    Attributes:
        returns: beyond those who come back anyway.
        messages: sent.
        blocks: beyond those who block the bot anyway.
    """

    returns: float
    messages: float
    blocks: float

    @property
    def value(self) -> float:
        """Returns minus what the blocks cost."""
        return self.returns - BLOCK_COST * self.blocks


@dataclass(frozen=True, slots=True)
class Experiment:
    """People of whom all but a control group were written to, and what became of them."""

    world: World
    control: float
    sent: Bools
    returned: Bools
    blocked: Bools

    @classmethod
    def run(cls, seed: int, effects: Effects, people: int, control: float = CONTROL) -> "Experiment":
        """Draw the arms and let it happen."""
        world = World(seed, people, effects)
        sent = np.random.default_rng([seed, 4]).random(people) >= control
        fates = world.fates(0)
        returned = np.where(sent, fates.returns_if_sent, fates.returns_alone)
        return cls(world, control, sent, returned, np.where(sent, fates.blocks_if_sent, fates.blocks_alone))

    def decisions(self, candidates: Bools) -> list[LoggedDecision]:
        """Return what the training gets: the candidates alone."""
        return [
            LoggedDecision(
                user_id=int(person),
                row=tuple(row),
                planned_probability=1.0,
                sent=bool(self.sent[person]),
                sent_probability=1 - self.control,
                returned=bool(self.returned[person]),
                lost=bool(self.blocked[person]),
                covariate=float(self.world.predicted[person]),
            )
            for person, row in zip(np.flatnonzero(candidates), rows(self.world)[candidates].tolist(), strict=True)
        ]

    def log(self) -> list[Logged]:
        """Return what policies are judged by."""
        happened = zip(self.sent, self.returned, self.blocked, self.world.predicted, strict=True)
        return [
            Logged(
                sent=bool(sent),
                probability_sent=1 - self.control,
                returned=float(returned),
                blocked=float(blocked),
                covariate=float(predicted),
            )
            for sent, returned, blocked, predicted in happened
        ]


def rows(world: World) -> NDArray[np.float64]:
    """Return the features as the model takes them."""
    predicted = np.clip(world.features[:, 0], 1e-4, 1 - 1e-4)
    found = np.zeros((len(world), len(NAMES)))
    found[:, COLUMNS] = np.column_stack([np.log(predicted / (1 - predicted)), world.features[:, 1]])
    return found


def rule(world: World) -> Bools:
    """Write to whoever leaves with more than 80 %."""
    return 1 - world.predicted > 0.8


def nobody(world: World) -> Bools:
    """Write to nobody."""
    return np.zeros(len(world), bool)


def everybody(world: World) -> Bools:
    """Write to all."""
    return np.ones(len(world), bool)


def at_random(share: float, seed: int) -> Policy:
    """Return a policy that writes to that share of the people, whoever they are."""
    return lambda world: np.random.default_rng([seed, 3]).random(len(world)) < share


def learned(experiment: Experiment, candidates: Policy) -> tuple[Policy, bool]:
    """Return what is done after the weekly training, and whether a model serves: it only drops candidates."""
    # The trainer has one processor; several threads on so small a matrix only wait for each other.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        verdict = uplift.train(
            experiment.decisions(candidates(experiment.world)),
            serving=None,
            out=Path(folder) / "model",
            now=NOW,
            min_samples=1_000,
        )
        if verdict.directory is None:
            return candidates, False
        model = UpliftModel.load(verdict.directory)

    def sends(world: World) -> Bools:
        asked = list(map(tuple, rows(world).tolist()))
        return candidates(world) & np.array([value(expected) > 0 for expected in model.predict(asked)])

    return sends, True


def worth(policy: Policy, world: World) -> Worth:
    """Return what a policy is worth among these people."""
    sends = policy(world)
    gain = world.probabilities() - world.alone
    blocks = np.where(world.kinds == Kind.ANNOYED, world.effects.blocks, 0.0)
    figures = (float(np.mean(sends * each)) for each in (gain, 1.0, blocks))
    return Worth(*(1_000 * figure for figure in figures))


def estimates(log: Sequence[Logged], people: World, policies: Sequence[Policy], truth: World) -> list[bool | None]:
    """Say of each policy's value and of each pair's difference whether the 95 % interval holds it; None: refused."""
    decided = [policy(people).tolist() for policy in policies]
    alone = float(np.mean(truth.alone)) - BLOCK_COST * truth.effects.blocks_anyway
    true = [worth(policy, truth).value / 1_000 + alone for policy in policies]
    values = [send_policy_value(log, sends, block_cost=BLOCK_COST) for sends in decided]
    held = [_holds(found, there) for found, there in zip(values, true, strict=True)]
    for one, first in enumerate(decided):
        for other in range(one):
            found = compare(log, first, decided[other], block_cost=BLOCK_COST)
            held.append(_holds(found, true[one] - true[other]))
    return held


def _holds(found: PolicyValue | Difference, true: float) -> bool | None:
    return None if found.reason else found.low <= true <= found.high


@dataclass(frozen=True, slots=True)
class Run:
    """One bot in one world.

    Attributes:
        worths: by policy, the truth.
        held: see `estimates`.
        served: the model of the rule's candidates was let to serve.
    """

    worths: dict[str, Worth]
    held: list[bool | None]
    served: bool


def run(seed: int, effects: Effects, people: int, judged: int = JUDGED, others: int = OTHERS) -> Run:
    """Learn, judge, and count the truth."""
    first = Experiment.run(3 * seed, effects, people)
    ours, served = learned(first, rule)
    ours_of_all, _ = learned(first, everybody)
    rest = World(3 * seed + 2, others, effects)
    sent = float(np.mean(ours(rest)))
    policies = {
        "gate + uplift, of those with churn > 0.8": ours,
        "churn > 0.8 -> message": rule,
        "random, as many as gate + uplift": at_random(sent, seed),
        "gate + uplift, of everybody": ours_of_all,
        "everybody": everybody,
        "nobody": nobody,
    }
    later = Experiment.run(3 * seed + 1, effects, judged)
    fixed = [policy for name, policy in policies.items() if "random" not in name]
    held = estimates(later.log(), later.world, fixed, rest)
    return Run({name: worth(policy, rest) for name, policy in policies.items()}, held, served)


def main() -> None:
    """Print a table for each world and size of experiment."""
    console = Console()
    for name, people in product(WORLDS, SIZES):
        numbers = track(range(SEEDS), f"{name}, {people:,}", console=console, transient=True)
        console.print(
            report(f"{name}, {people:,} people in the experiment", [run(n, WORLDS[name], people) for n in numbers])
        )


def report(title: str, runs: Sequence[Run]) -> Table:
    """Return the table of one world."""
    asked = [hit for each in runs for hit in each.held]
    held = [hit for hit in asked if hit is not None]
    table = Table("policy", "returns gained", "messages", "blocks caused", "value")
    table.title = f"{title}: per 1,000 people, mean ± 1.96 standard errors of {len(runs)} bots"
    table.caption = (
        f"a model served {np.mean([each.served for each in runs]):.0%} of the bots; "
        f"of {len(held)} estimates {np.mean(held):.1%} held the truth, {len(asked) - len(held)} more were refused"
    )
    for policy in runs[0].worths:
        found = [each.worths[policy] for each in runs]
        table.add_row(policy, *(shown([getattr(each, figure) for each in found]) for figure in FIGURES))
    return table


def shown(figures: list[float]) -> str:
    """Return the mean and half the width of its 95 % interval."""
    return f"{np.mean(figures):.1f} ± {1.96 * np.std(figures, ddof=1) / len(figures) ** 0.5:.1f}"


if __name__ == "__main__":
    main()
