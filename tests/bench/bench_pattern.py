"""What a pattern weighs and what folding costs, on real event streams.

Run: python tests/bench/bench_pattern.py [folder of event streams]; without the folder it uses made-up users.
The floor is what any per-user state must do: read the update's time and add to a dictionary.
"""

import csv
import gzip
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.pattern_bytes import decode, encode
from tests.builders import interaction

BATCH = 20
"""Interactions per fold: a user's share of a stream batch is seldom more."""


def main(folder: Path | None) -> None:
    """Print bytes per pattern and microseconds per interaction, one row per data set."""
    columns = ("users", "interactions", "bytes median", "p95", "max", "fold µs/event", "x floor", "encode+decode µs")
    report = Table(*columns)
    console = Console()
    sources = sorted(folder.glob("*.csv.gz")) if folder else [None]
    for source in track(sources, description="folding", console=console, transient=True):
        users = list(read(source) if source else made_up())
        events = sum(len(history) for history in users)
        began = time.process_time()
        patterns = []
        for history in users:
            pattern = EMPTY
            for start in range(0, len(history), BATCH):
                pattern = fold(pattern, history[start : start + BATCH])
            patterns.append(pattern)
        folding = time.process_time() - began
        began = time.process_time()
        for history in users:
            counts: Counter[int] = Counter()
            for event in history:
                counts[int(event.occurred_at.timestamp()) // 3_600 % 24] += 1
        floor = time.process_time() - began
        began = time.process_time()
        sizes = sorted(len(encode(pattern)) for pattern in patterns)
        for pattern in patterns:
            decode(encode(pattern))
        coding = (time.process_time() - began) / len(patterns)
        report.add_row(
            str(len(users)),
            str(events),
            str(round(statistics.median(sizes))),
            str(sizes[int(len(sizes) * 0.95)]),
            str(sizes[-1]),
            f"{folding / events * 1e6:.1f}",
            f"{folding / floor:.1f}",
            f"{coding * 1e6 / 1.5:.0f}",
        )
    console.print(report)


def read(source: Path) -> Iterator[list[Interaction]]:
    """Yield each user's history."""
    history: list[Interaction] = []
    user = None
    with gzip.open(source, "rt") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["user"] != user and history:
                yield history
                history = []
            user = row["user"]
            history.append(made(number, int(float(row["ts"])), float(row["compound"] or 0)))
    yield history


def made_up(users: int = 500, seed: int = 1) -> Iterator[list[Interaction]]:
    """Yield seeded users whose activity spreads as widely as real ones'."""
    rng = random.Random(seed)
    for _ in range(users):
        size = int(rng.paretovariate(0.8)) + 1
        times = sorted(rng.uniform(1.7e9, 1.76e9) for _ in range(min(size, 3_000)))
        yield [made(rng.randrange(2**31), int(at), rng.uniform(-1, 1)) for at in times]


def made(number: int, at: int, compound: float) -> Interaction:
    """Build an interaction of the data set's columns."""
    return interaction(
        number, datetime.fromtimestamp(at, UTC), sentiment=compound, sentiment_type=SentimentType.NEUTRAL
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
