"""What buttons are taken for: claims, texts and messages where people only press, beside presses that count as visits.

Run: python tests/bench/bench_presses.py [bots]

1. Nobody is helped; 15 % of the written to press "stop" and 5 % "not now". Of how many bots is it said, at some of ten
   looks, that messages bring people back?
2. Two texts: 20 % answered and 1 % stopped, or 15 % answered and 20 % stopped. What share does the second one get?
3. A year of somebody who ignores every message, beside the same year of somebody who presses "not now" under each.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain.lift import Measure, Verdict
from tests.pressing import World, share_of_the_annoying_text, year_of

BOTS, USERS = 200, 2_000
CHOOSERS, YEARS = 20, 300


def main(bots: int) -> None:
    """Print both ways beside each other."""
    console = Console(width=100)
    began = time.process_time()
    table = Table("", "as shipped", "a press counts as a visit", box=None)
    for name, measure in (
        (f'"helps" said of {bots} bots of {USERS:,} users', claims(bots)),
        (f"the stopped text's share of the last 1,000 messages, mean of {CHOOSERS}", annoying),
        (f"messages a year to who ignores all, mean of {YEARS}", years(presses=False)),
        ('messages a year to who always presses "not now"', years(presses=True)),
    ):
        table.add_row(name, measure(False), measure(True))
    console.print(table)
    fewer, same, more = compared()
    console.print(
        f'Of {YEARS} people {fewer} get fewer messages when they press "not now" than when they ignore, {same} the '
        f"same (one or none), {more} more."
    )
    console.print(f"{time.process_time() - began:.0f} s of CPU", highlight=False)


def claims(bots: int) -> Callable[[bool], str]:
    """Return how to count the bots of which a lift is claimed."""

    def count(presses_count: bool) -> str:
        world = World(presses_count=presses_count)
        claimed = sum(
            any(lift.verdict(Measure.RETURNED_7D) is Verdict.HELPS for lift in world.looks(seed, USERS))
            for seed in track(range(bots), description="living", transient=True)
        )
        return f"{claimed} ({claimed / bots:.1%})"

    return count


def annoying(presses_count: bool) -> str:
    """Return the share of the text that people stop."""
    return f"{fmean(share_of_the_annoying_text(seed, presses_count=presses_count) for seed in range(CHOOSERS)):.1%}"


def years(*, presses: bool) -> Callable[[bool], str]:
    """Return how to count a year's messages."""

    def count(presses_count: bool) -> str:
        lives = (replace(year_of(seed), presses=presses, presses_count=presses_count) for seed in range(YEARS))
        return f"{fmean(len(life.messages()) for life in lives):.1f}"

    return count


def compared() -> tuple[int, int, int]:
    """Return how many people get fewer, as many and more messages for pressing "not now"."""
    pairs = [
        (len(replace(year_of(seed), presses=True).messages()), len(year_of(seed).messages())) for seed in range(YEARS)
    ]
    return (
        sum(pressed < ignored for pressed, ignored in pairs),
        sum(pressed == ignored for pressed, ignored in pairs),
        sum(pressed > ignored for pressed, ignored in pairs),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else BOTS)
