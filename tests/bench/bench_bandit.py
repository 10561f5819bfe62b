"""Choosing texts: what ours costs against knowing everything, beside the usual ways, in worlds whose truth is known.

Run: python tests/bench/bench_bandit.py

A seventh of the people is written to every day, each once a week; what became of it is known the next day. Regret is in
returns per 1,000 messages, against whoever knows each text's effect on each person that day and takes the best.
"""

import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain.variants import Performance, choose
from infra.local.world import Effects, World

PEOPLE = 700
DAYS = 182
SEEDS = 10
CYCLE = 7
TASTES = {"a": 0.0, "b": 0.10, "c": 0.05, "d": -0.10}
ALIKE = dict.fromkeys("abcd", 0.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """A world to choose texts in.

    Attributes:
        effects: of the messages.
        arrivals: by template, the day from which it exists; others are there from the start.
    """

    effects: Effects
    arrivals: Mapping[str, int] = field(default_factory=dict)


SETTINGS = {
    "tastes": Setting(Effects(tastes=TASTES)),
    "tastes and fatigue": Setting(Effects(tastes=TASTES, repetition=0.2)),
    "fatigue alone": Setting(Effects(tastes=ALIKE, repetition=0.2)),
    "all alike": Setting(Effects(tastes=ALIKE)),
    "the best comes late": Setting(Effects(tastes=TASTES, repetition=0.2), {"b": 91}),
}

Counts = NDArray[np.int_]
Floats = NDArray[np.float64]
Policy = Callable[[list[str], Counts, Counts, Floats, np.random.Generator, int], Counts]
"""Names, sends, responses, days since each was got (people by names), dice, day -> index of a name for each person."""


def ours(
    names: list[str], sends: Counts, responses: Counts, since: Floats, dice: np.random.Generator, day: int
) -> Counts:
    """As shipped."""
    performance = Performance(
        dict(zip(names, sends.tolist(), strict=True)), dict(zip(names, responses.tolist(), strict=True))
    )
    chosen = []
    for person, days in enumerate(since.tolist()):
        got = {name: gap for name, gap in zip(names, days, strict=True) if gap < np.inf}
        chosen.append(names.index(choose(names, performance, got, f"{day}#{person}#{dice.random()}").name))
    return np.array(chosen)


def without_recovery(
    names: list[str], sends: Counts, responses: Counts, since: Floats, dice: np.random.Generator, day: int
) -> Counts:
    """Ours, if nobody's last texts were known."""
    return ours(names, sends, responses, np.full_like(since, np.inf), dice, day)


def uniform(
    names: list[str], sends: Counts, responses: Counts, since: Floats, dice: np.random.Generator, day: int
) -> Counts:
    """Each text as often as any other."""
    return dice.integers(len(names), size=len(since))


def epsilon_greedy(
    names: list[str], sends: Counts, responses: Counts, since: Floats, dice: np.random.Generator, day: int
) -> Counts:
    """The best so far, and one time in ten any."""
    rates = (responses + 1) / (sends + 2)
    return np.where(dice.random(len(since)) < 0.1, dice.integers(len(names), size=len(since)), rates.argmax())


def thompson(
    names: list[str], sends: Counts, responses: Counts, since: Floats, dice: np.random.Generator, day: int
) -> Counts:
    """Plain Thompson sampling from Beta(1, 1), from the first message on."""
    return dice.beta(1 + responses, 1 + sends - responses, size=(len(since), len(names))).argmax(axis=1)


POLICIES: dict[str, Policy] = {
    "ours": ours,
    "ours without recovery": without_recovery,
    "plain Thompson": thompson,
    "epsilon-greedy (.1)": epsilon_greedy,
    "uniform": uniform,
}


def regret(policy: Policy, setting: Setting, seed: int, people: int = PEOPLE, days: int = DAYS) -> float:
    """Return a policy's regret in returns per 1,000 messages."""
    world = World(seed, people, setting.effects)
    dice = np.random.default_rng([seed, 2])
    names = list(setting.effects.tastes or {})
    sends, responses = np.zeros(len(names), int), np.zeros(len(names), int)
    got_at = np.full((people, len(names)), -np.inf)
    lost, sent = 0.0, 0
    for day in range(days):
        there = [column for column, name in enumerate(names) if setting.arrivals.get(name, 0) <= day]
        today = np.arange(day % CYCLE, people, CYCLE)
        since = day - got_at
        expected = np.column_stack([world.probabilities(names[column], since[:, column]) for column in there])[today]
        fates = np.column_stack([world.fates(day, names[column], since[:, column]).returns_if_sent for column in there])
        chosen = policy(
            [names[column] for column in there], sends[there], responses[there], since[np.ix_(today, there)], dice, day
        )
        taken = np.array(there)[chosen]
        rows = np.arange(len(today))
        lost += float(np.sum(expected.max(axis=1) - expected[rows, chosen]))
        sent += len(today)
        np.add.at(sends, taken, 1)
        np.add.at(responses, taken, fates[today, chosen].astype(int))
        got_at[today, taken] = day
    return 1_000 * lost / sent


def main() -> None:
    """Print regrets and the cost of a choice."""
    console = Console()
    table = Table("policy", *SETTINGS)
    sent = DAYS // CYCLE * PEOPLE
    table.title = f"regret, returns per 1,000 messages: mean ± standard error of {SEEDS} seeds, {sent:,} messages each"
    for name, policy in track(POLICIES.items(), description="choosing", console=console, transient=True):
        cells = []
        for setting in SETTINGS.values():
            found = [regret(policy, setting, seed) for seed in range(SEEDS)]
            cells.append(f"{np.mean(found):.1f} ± {np.std(found, ddof=1) / len(found) ** 0.5:.1f}")
        table.add_row(name, *cells)
    console.print(table)
    for count in (2, 4, 8):
        console.print(f"{count} texts: {cost(count):.0f} µs a choice")


def cost(count: int) -> float:
    """Return microseconds of processor time per choice among that many texts that are in use."""
    names = [f"text{number}" for number in range(count)]
    performance = Performance(dict.fromkeys(names, 500), {name: 100 + rank for rank, name in enumerate(names)})
    timer = timeit.Timer(lambda: choose(names, performance, {"text0": 1.0}, "1#2"), timer=time.process_time)
    return min(timer.repeat(number=500, repeat=9)) / 500 * 1e6


if __name__ == "__main__":
    main()
