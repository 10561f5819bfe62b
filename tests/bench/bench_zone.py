"""How well a user's UTC offset is found, how honest the confidence is, and where `domain/zone` has its constants from.

Run: python tests/bench/bench_zone.py <folder of event streams>. Streams that tell the author's offset (`commits_*`)
are the truth: a user is looked at after 1, 2, 3, ... active days, and right means within an hour of the clock at the
last event. Each stream is judged by habits and prior of the others. Offsets never reach the posterior.
"""

import csv
import gzip
import random
import sys
import timeit
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain import zone
from engagement.domain.pattern import DAY, EMPTY, Pattern, fold
from engagement.domain.zone import (
    CLOCKS,
    OFFSETS,
    QUIET,
    ZonePosterior,
    active_hours,
    posterior,
    prior,
    quiet_hours_utc,
    quiet_probability,
    zone_posterior,
)
from tests.builders import interaction

LOOKS = (1, 2, 3, 5, 8, 13, 20, 40, 80, 160)
"""Active days after which a user is looked at."""
KINDS = 3
"""Habits to tell apart; a fourth and a fifth gain nothing (log loss within .001)."""
TEMPER = 0.5
"""Exponent of a user's likelihood while fitting: without it, the busiest few shape the habits."""
ROUNDS = 200
SMOOTH_HOURS = 0.7
UNSEEN = 0.003
"""Prior of an offset that the other streams do not show."""
NOTHING = (0.0,) * 24
"""Active hours of somebody never seen."""
CHAT_DAYS = 10
"""Active days from which a chat's user is judged on what they do later."""

type Curves = tuple[tuple[float, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A user after some active days, and the truth.

    Attributes:
        hours: `active_hours` of the pattern.
        offset: minutes, at the newest event.
    """

    stream: str
    user: str
    days: int
    hours: tuple[float, ...]
    offset: int


def main(folder: Path) -> None:
    """Print the constants, the calibration, what each part brings, a check on chats, and the cost."""
    console = Console()
    paths = sorted(folder.glob("commits_*.csv.gz"))
    everyone = [look for path in track(paths, "folding", console=console, transient=True) for look in looks(path)]
    console.print("HABITS =", *map(str, fit(everyone)), sep="\n", soft_wrap=True)
    judged = left_out(everyone)
    console.print(by_days(judged), by_confidence(judged), what_matters(everyone), by_language(everyone))
    others = [path for path in sorted(folder.glob("*.csv.gz")) if path not in paths and "cdnow" not in path.name]
    console.print(chats(paths, others), f"posterior: {cost():.0f} µs", sep="\n")


def histories(path: Path) -> Iterator[tuple[str, list[tuple[int, int | None]]]]:
    """Yield each user of a stream with (epoch seconds, offset in minutes where told), oldest first."""
    users = defaultdict(list)
    with gzip.open(path, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            users[row["user"]].append((int(row["ts"]), int(row["tz_offset_min"]) if row["tz_offset_min"] else None))
    for user, events in users.items():
        yield user, sorted(events)


def looks(path: Path, *, after: Sequence[int] = LOOKS) -> Iterator[Look]:
    """Yield the users of a stream whose offset is told, after each number of active days; each folded as in service."""
    stream = path.name.removesuffix(".csv.gz")
    for user, events in histories(path):
        pattern = EMPTY
        days: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
        for ts, offset in events:
            days[ts // DAY].append((ts, offset))
        pending: list[int] = []
        for number, day in enumerate(days.values(), start=1):
            pending += [ts for ts, _ in day]
            # One typing error of an author's clock is 21 days ahead; nobody lives there.
            if number in after and (offset := day[-1][1]) in OFFSETS:
                pattern = grown(pattern, pending)
                pending = []
                yield Look(stream, user, number, active_hours(pattern), offset)
            if number == max(after):
                break


def grown(pattern: Pattern, times: Iterable[int]) -> Pattern:
    """Fold interactions at `times` in."""
    return fold(
        pattern, [interaction(pattern.total + i, datetime.fromtimestamp(ts, UTC)) for i, ts in enumerate(times)]
    )


def fit(known: Iterable[Look]) -> Curves:
    """Return the habits of users whose offset is known: a mixture of `KINDS` tempered multinomials over local hours."""
    last = {(look.stream, look.user): look for look in known if look.days > 1}
    local = np.array([np.roll(look.hours, round(look.offset / 60)) for look in last.values()])
    weights = 1 / np.sqrt(1 + local.sum(axis=1) / 10)
    everyone = local.sum(axis=0) + 1
    everyone /= everyone.sum()
    hours = np.arange(24)
    peaks = np.linspace(11, 23, KINDS)
    curves = everyone * np.exp(0.8 * np.cos((hours - peaks[:, None]) * np.pi / 12))
    curves /= curves.sum(axis=1, keepdims=True)
    shares = np.ones(KINDS) / KINDS
    for _ in range(ROUNDS):
        scores = TEMPER * local @ np.log(curves).T + np.log(shares)
        belongs = np.exp(scores - scores.max(axis=1, keepdims=True))
        belongs *= (weights / belongs.sum(axis=1))[:, None]
        shares = belongs.sum(axis=0) / belongs.sum()
        curves = belongs.T @ local + everyone
        curves /= curves.sum(axis=1, keepdims=True)
    kernel = np.exp(-(np.minimum(hours, 24 - hours) ** 2) / (2 * SMOOTH_HOURS**2))
    smooth = np.real(np.fft.ifft(np.fft.fft(curves) * np.fft.fft(kernel / kernel.sum())))
    return tuple(
        (round(float(share), 2), tuple(int(p) for p in np.round(1000 * curve)))
        for share, curve in zip(shares, smooth, strict=True)
    )


def seen(known: Iterable[Look]) -> tuple[float, ...]:
    """Return a prior of `CLOCKS` from where the users of these streams are, each stream counting the same.

    An offset does not tell a clock: it is shared out as the world's users of it are.
    """
    last = {(look.stream, look.user): look.offset for look in known}
    counts = Counter((stream, offset) for (stream, _), offset in last.items())
    users = Counter(stream for stream, _ in last)
    raw = dict.fromkeys(CLOCKS, 0.0)
    for offset in OFFSETS:
        here = {clock: p for clock, p in zip(CLOCKS, prior(None), strict=True) if offset in clock}
        share = UNSEEN + sum(counts[stream, offset] / users[stream] for stream in users)
        for clock, p in here.items():
            raw[clock] += share * p / sum(here.values())
    return tuple(p / sum(raw.values()) for p in raw.values())


type Judged = list[tuple[Look, ZonePosterior]]


def left_out(everyone: Sequence[Look]) -> Judged:
    """Judge each stream by habits and prior of the others."""
    judged: Judged = []
    for stream in sorted({look.stream for look in everyone}):
        others = [look for look in everyone if look.stream != stream]
        habits, before = zone.shifted(fit(others)), seen(others)
        mine = [look for look in everyone if look.stream == stream]
        judged += [(look, posterior(look.hours, before, habits)) for look in mine]
    return judged


def right(look: Look, found: ZonePosterior, minutes: int = 60) -> bool:
    """Whether the best offset is near enough."""
    return abs(found.best_minutes - look.offset) <= minutes


def means(rows: Judged) -> tuple[float, float]:
    """Return the mean confidence and the share that is right."""
    return float(np.mean([found.confidence for _, found in rows])), float(np.mean([right(*row) for row in rows]))


def by_days(judged: Judged) -> Table:
    """One row per number of active days."""
    table = Table("active days", "users", "confidence", "within 1 h", "2 h", "3 h", "open hours", "of them quiet")
    table.title = "left out, by active days; open: hours in which the user may be written to, and by their clock sleeps"
    for days in LOOKS:
        rows = [row for row in judged if row[0].days == days]
        wider = [np.mean([right(*row, minutes) for row in rows]) for minutes in (120, 180)]
        opened, asleep = np.mean([open_hours(*row) for row in rows], axis=0)
        figures = [f"{value:.2f}" for value in (*means(rows), *wider)]
        table.add_row(str(days), str(len(rows)), *figures, f"{opened:.1f}", f"{asleep / opened:.2f}")
    return table


def open_hours(look: Look, found: ZonePosterior) -> tuple[int, int]:
    """Return in how many UTC hours a user may be written to, and how many of those begin in their quiet hours."""
    quiet = quiet_hours_utc(found, date(2026, 1, 1))
    opened = [hour for hour in range(24) if not quiet[hour]]
    return len(opened), sum((hour + look.offset / 60 - QUIET[0]) % 24 < 10 for hour in opened)


def by_confidence(judged: Judged) -> Table:
    """One row per tenth of confidence; users looked at often enough to have any."""
    table = Table("confidence", "looks", "mean", "within 1 h", "mean, 8+ days", "within 1 h", title="calibration")
    for tenth in range(1, 10):
        rows = [row for row in judged if tenth <= row[1].confidence * 10 < tenth + 1]
        regular = [row for row in rows if row[0].days >= 8]
        if len(rows) >= 30:
            figures = [f"{value:.2f}" for value in means(rows)]
            figures += [f"{value:.2f}" for value in means(regular)] if len(regular) >= 30 else ["-", "-"]
            table.add_row(f"{tenth / 10:.1f}-{tenth / 10 + 0.1:.1f}", str(len(rows)), *figures)
    return table


def what_matters(everyone: Sequence[Look]) -> Table:
    """Log loss of the hour around the truth, by what is taken away."""
    table = Table("left out: log loss (± 1 h)", *(f"{days} days" for days in (1, 3, 8, 20, 40, 80)))
    flat = tuple(1 / len(CLOCKS) for _ in CLOCKS)
    variants: dict[str, Callable[[Look, tuple[float, ...], zone.Habits], ZonePosterior]] = {
        "prior and activity": lambda look, before, habits: posterior(look.hours, before, habits),
        "prior alone": lambda look, before, habits: posterior(NOTHING, before, habits),
        "activity alone (flat prior)": lambda look, before, habits: posterior(look.hours, flat, habits),
        "world prior and activity": lambda look, before, habits: posterior(look.hours, prior(None), habits),
        "one habit": lambda look, before, habits: posterior(look.hours, before, one(habits)),
        "evidence up to ten times": credulous,
    }
    learned = {}
    for stream in {look.stream for look in everyone}:
        others = [look for look in everyone if look.stream != stream]
        learned[stream] = seen(others), zone.shifted(fit(others))
    for name, variant in variants.items():
        losses = defaultdict(list)
        for look in everyone:
            if look.days in {1, 3, 8, 20, 40, 80}:
                found = variant(look, *learned[look.stream])
                around = np.dot(found.probabilities, zone._NEIGHBOURS[OFFSETS.index(look.offset)])
                losses[look.days].append(-np.log(around))
        table.add_row(name, *(f"{np.mean(losses[days]):.2f}" for days in sorted(losses)))
    return table


def credulous(look: Look, before: tuple[float, ...], habits: zone.Habits) -> ZonePosterior:
    """Judge as `posterior` does, if evidence ended ten times later."""
    with patch.multiple(zone, EVIDENCE=10 * zone.EVIDENCE, EVIDENCE_HALF=10 * zone.EVIDENCE_HALF):
        return posterior(look.hours, before, habits)


def one(habits: zone.Habits) -> zone.Habits:
    """Return the average of the habits as the only one."""
    mean = sum(share * np.array(curves) for share, curves in habits)
    return ((1.0, tuple(tuple(curve) for curve in mean)),)


def by_language(everyone: Sequence[Look]) -> Table:
    """The shipped posterior on users weighted to live where a language's speakers do; offsets nobody has are lost."""
    table = Table("language", "covered", "best of prior", *(f"{days} days" for days in (3, 8, 20, 40)))
    table.title = "as shipped, users weighted to a language's prior: mean confidence / within 1 h"
    for code in (None, "en", "ru", "es", "pt-br", "de", "it"):
        before = prior(code)
        alone = posterior(NOTHING, before)
        cells = []
        for days in (3, 8, 20, 40):
            rows = [look for look in everyone if look.days == days]
            users = Counter(look.offset for look in rows)
            weights = np.array([alone.probabilities[OFFSETS.index(look.offset)] / users[look.offset] for look in rows])
            found = [posterior(look.hours, before) for look in rows]
            sure = np.average([each.confidence for each in found], weights=weights)
            hits = np.average([right(*row) for row in zip(rows, found, strict=True)], weights=weights)
            cells.append(f"{sure:.2f} / {hits:.2f}")
        covered = sum(alone.probabilities[OFFSETS.index(offset)] for offset in users)
        best = f"{alone.best_minutes / 60:+g} h {alone.confidence:.2f}"
        table.add_row(str(code), f"{covered:.0%}", best, *cells)
    return table


def chats(known: Sequence[Path], unknown: Sequence[Path]) -> Table:
    """What no label is needed for: how much of their later activity falls into what we call their quiet hours."""
    table = Table("stream", "users", "prior alone", "posterior", "true clock", "at random")
    table.title = f"share of later activity in quiet hours, judged after {CHAT_DAYS} active days"
    anywhere = quiet_by_hour(zone_posterior(EMPTY, None))
    for path in [*known, *unknown]:
        rows = []
        for _, events in histories(path):
            days = sorted({ts // DAY for ts, _ in events})
            if len(days) < 2 * CHAT_DAYS:
                continue
            later = {ts // 3_600: offset for ts, offset in events if ts // DAY >= days[CHAT_DAYS]}
            early = grown(EMPTY, (ts for ts, _ in events if ts // DAY < days[CHAT_DAYS]))
            found = quiet_by_hour(zone_posterior(early, None))
            true = [(hour + (offset or 0) / 60 - QUIET[0]) % 24 < 10 for hour, offset in later.items()]
            rows.append([np.mean([odds[hour % 24] for hour in later]) for odds in (anywhere, found)] + [np.mean(true)])
        figures = [f"{share:.2f}" for share in np.mean(rows, axis=0)]
        figures = figures if path in known else [*figures[:2], "-"]
        table.add_row(path.name.removesuffix(".csv.gz"), str(len(rows)), *figures, f"{10 / 24:.2f}")
    return table


def quiet_by_hour(where: ZonePosterior) -> list[float]:
    """Return `quiet_probability` at each full UTC hour."""
    return [quiet_probability(where, datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in range(24)]


def cost() -> float:
    """Return microseconds per posterior of a year's regular user, confidence included."""
    rng = random.Random(1)
    begin = 1_760_000_000
    times = [begin + day * DAY + rng.choice((7, 12, 19, 20, 21)) * 3_600 for day in range(365) for _ in range(3)]
    pattern = grown(EMPTY, times)
    return min(timeit.repeat(lambda: zone_posterior(pattern, "ru").confidence, number=500, repeat=9)) / 500 * 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
