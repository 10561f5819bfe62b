"""How often the lift report errs, in worlds whose truth is known, looked at on thirty days each.

Run: python tests/bench/bench_lift.py [worlds]. "false claims" are worlds in which at some look an effect was claimed
where there is none; beside it, what a test made for one look claims at the same looks. "missed" are worlds in which the
true effect was outside the interval at some look. At most 5 % of either are promised. The width is that of the interval
at the last look, in points.
"""

import sys
import time
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain.confidence import TWO_SIDED_95
from engagement.domain.lift import NANO, Effect, Measure, Method, Sums, Verdict, balance_of, difference, effect_of
from infra.local.world import NOTHING, Effects, World

WORLDS = 1_000
LOOKS = 30
LARGE = 400_000
"""People from whom the truth is taken."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row."""

    name: str
    measure: Measure
    effects: Effects
    people: int
    share: float = 0.9


CASES = (
    *(Case("nothing works", Measure.RETURNED_7D, NOTHING, people) for people in (100, 412, 1_500, 10_000)),
    Case("nothing works", Measure.RETURNED_7D, NOTHING, 1_500, 0.5),
    *(Case("blocks by chance only", Measure.BLOCKED, NOTHING, people) for people in (412, 10_000)),
    *(Case("it helps some", Measure.RETURNED_7D, Effects(), people) for people in (100, 412, 1_500, 10_000)),
    Case("it helps some", Measure.RETURNED_7D, Effects(), 1_500, 0.5),
    *(Case("it makes some block", Measure.BLOCKED, Effects(), people) for people in (412, 1_500, 10_000)),
)


def main(worlds: int) -> None:
    """Print a row for each case."""
    console = Console(width=120)
    table = Table(title=f"{worlds:,} worlds of each kind, {LOOKS} looks at each", title_justify="left", box=None)
    table.add_column("world", no_wrap=True)
    table.add_column("measure", no_wrap=True)
    for column in ("users", "written to", "true effect", "false claims", "fixed test's", "missed", "found", "width"):
        table.add_column(column, justify="right")
    table.add_column("noise left", justify="right")
    table.add_column("exact looks", justify="right")
    began = time.process_time()
    for case in track(CASES, description="living", console=console, transient=True):
        table.add_row(*row(case, worlds))
    console.print(table)
    console.print(loss_table(min(worlds, 400)))
    console.print(f"{time.process_time() - began:.0f} s of CPU; one effect costs {cost():.0f} µs", highlight=False)


def row(case: Case, worlds: int) -> list[str]:
    """Live in as many worlds and count."""
    truth = true_effect(case)
    claims = fixed = missed = found = 0
    last: list[Effect] = []
    exact: list[bool] = []
    for seed in range(worlds):
        looks = looks_at(case, seed)
        effects = [effect_of(case.measure, *look, case.share) for look in looks]
        claimed = any(effect.verdict is not Verdict.UNKNOWN for effect in effects)
        claims += claimed
        fixed += any(fixed_test_claims(*look) for look in looks)
        missed += not all(e.interval and e.interval.low <= truth <= e.interval.high for e in effects)
        found += effects[-1].verdict is not Verdict.UNKNOWN
        last.append(effects[-1])
        exact += [effect.method is Method.EXACT for effect in effects]
    nothing = abs(truth) < 1e-9
    width = median((e.interval.high - e.interval.low) * 100 for e in last if e.interval)
    return [
        case.name,
        case.measure.value,
        f"{case.people:,}",
        f"{case.share:.0%}",
        f"{truth * 100:+.1f}",
        f"{claims / worlds:.1%}" if nothing else "",
        f"{fixed / worlds:.1%}" if nothing else "",
        f"{missed / worlds:.1%}",
        "" if nothing else f"{found / worlds:.0%}",
        f"{width:.1f}",
        f"{fmean(e.noise_left for e in last):.2f}",
        f"{fmean(exact):.0%}",
    ]


def true_effect(case: Case) -> float:
    """Return what a message adds to the probability, on average."""
    if case.measure is Measure.BLOCKED:
        return case.effects.mix[2] * case.effects.blocks
    world = World(0, LARGE, case.effects)
    return float(world.probabilities().mean() - world.alone.mean())


def looks_at(case: Case, seed: int) -> list[tuple[Sums, Sums]]:
    """Return the sums of both arms at each look at one world."""
    world = World(seed + 1, case.people, case.effects)
    fates, treated = world.fates(0), np.random.default_rng([seed, 9]).random(case.people) < case.share
    if case.measure is Measure.BLOCKED:
        y = np.where(treated, fates.blocks_if_sent, fates.blocks_alone)
        x = np.zeros(case.people, int)
    else:
        y = np.where(treated, fates.returns_if_sent, fates.returns_alone)
        x = np.round(world.predicted * 1_000).astype(int)
    ends = np.linspace(case.people / LOOKS, case.people, LOOKS).astype(int) - 1
    arms = (sums_at(ends, arm, x, y.astype(int)) for arm in (treated, ~treated))
    return list(zip(*arms, strict=True))


def sums_at(ends: NDArray[np.int_], arm: NDArray[np.bool_], x: NDArray[np.int_], y: NDArray[np.int_]) -> list[Sums]:
    """Return one arm's sums at each look."""
    columns = [np.cumsum(arm * part)[ends].tolist() for part in (1, 1_000 * y, 10**6 * y, x, x * x, 1_000 * x * y)]
    return [Sums(*sums) for sums in zip(*columns, strict=True)]


def fixed_test_claims(treated: Sums, held_out: Sums) -> bool:
    """Say what a test for one look says at 5 %."""
    if min(treated.users, held_out.users) < 2:
        return False
    found = difference(treated, held_out)
    return abs(found.estimate) > TWO_SIDED_95 * sqrt(found.variance) > 0


def loss_table(worlds: int) -> Table:
    """Return after how many users a loss of treated users is found; looked at after each hundred."""
    table = Table(title="\nTreated users lost on the way to the sums", title_justify="left", box=None)
    for column in ("lost", "called broken", "at so many users (median)"):
        table.add_column(column, justify="right")
    for lost in (0.0, 0.05, 0.1, 0.2):
        found = [users for seed in range(worlds) if (users := users_until_found(lost, seed))]
        at = f"{median(found):,.0f}" if len(found) > worlds / 2 else ""
        table.add_row(f"{lost:.0%}", f"{len(found) / worlds:.1%}", at)
    return table


def users_until_found(lost: float, seed: int, share: float = 0.9, most: int = 50_000) -> int | None:
    """Return at how many users the split is called broken; None if never up to `most`."""
    rng = np.random.default_rng([seed, 10])
    treated = rng.random(most) < share
    kept = treated[~treated | (rng.random(most) >= lost)]
    surprises = np.cumsum(np.where(kept, -np.log(share), -np.log(1 - share)) * NANO).astype(int)
    counts = np.cumsum(kept)
    for users in range(100, len(kept) + 1, 100):
        arms = {"treated:users": int(counts[users - 1]), "held_out:users": users - int(counts[users - 1])}
        if balance_of({**arms, "surprise": int(surprises[users - 1])}).broken:
            return users
    return None


def cost() -> float:
    """Return the microseconds of an effect, of the kind that costs most."""
    began = time.process_time()
    for _ in range(1_000):
        effect_of(Measure.BLOCKED, Sums(9_000, 90_000, 90_000_000), Sums(1_000, 4_000, 4_000_000), 0.9)
    return (time.process_time() - began) * 1_000


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else WORLDS)
