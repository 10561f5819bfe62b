"""Training data: histories replayed through the serving fold to past times, labelled by what happened afterwards.

The yardstick is the program that judges predictors on the same event streams (`models.harness` speaks to it). Its churn
task: at each of its cut-offs, users with at least 3 events, one of them in the last 30 days; who has no event within
the next 7, 14 and 30 days?
"""

import csv
import gzip
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby
from math import floor, inf, isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engagement.domain.features import NAMES, features, silence_days
from engagement.domain.interaction import EngagementType, Interaction
from engagement.domain.pattern import DAY, EMPTY, fold
from engagement.domain.scores import rule_scores
from engagement.domain.sentiment import level

HORIZONS = (7, 14, 30)
"""Days."""
SUFFIX = ".csv.gz"

# The yardstick's cut-offs and eligibility, so that our figures are those of its tasks.
CUT_OFFS = 90
FEWEST_CUT_OFFS = 10
CUT_OFF_STEP_DAYS = 2.0
WARM_UP = 0.25
TEST_FROM = 0.6
ELIGIBLE_EVENTS = 3
ELIGIBLE_SILENCE_DAYS = 30

REPLAYED_SILENCE_DAYS = 365
"""Scoring goes on for a year of silence, so a user is looked at for as long here."""
OTHER_EVERY = 8
"""One in this many looks at users outside the yardstick's task is kept: newcomers and the long silent are many."""


@dataclass(frozen=True, slots=True)
class Example:
    """One look at one user.

    Attributes:
        at: epoch seconds of the cut-off; only events before it were folded.
        eligible: at least 3 events, one of them in the last 30 days: the yardstick's task.
        features: as `NAMES`.
        silence: days since the newest event, at the cut-off.
        rules: what `rule_scores` says for each horizon.
        absence: days from the cut-off to the next event; infinite where none came.
    """

    at: float
    eligible: bool
    features: tuple[float, ...]
    silence: float
    rules: tuple[float, float, float]
    absence: float


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one event stream, as columns of equal length.

    Attributes:
        name: the file's name without its suffix.
        users: number of users in the stream.
        events: number of events in the stream.
        features: one row an example, one column a feature.
        silence, rules, absence, eligible: see `Example`.
        held_back: the example's cut-off is among the last 40 %, on which the yardstick tests.
    """

    name: str
    users: int
    events: int
    features: NDArray[np.float64]
    silence: NDArray[np.float64]
    rules: NDArray[np.float64]
    absence: NDArray[np.float64]
    eligible: NDArray[np.bool_]
    held_back: NDArray[np.bool_]

    def stayed_away(self, horizon: int) -> NDArray[np.bool_]:
        """Return the labels: no event within `horizon` days after the cut-off."""
        labels: NDArray[np.bool_] = self.absence > horizon
        return labels


def files(folder: Path) -> list[Path]:
    """Return the event streams of a folder, by name.

    Raises:
        FileNotFoundError: there is none; the message says what is expected.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no event streams (<name>{SUFFIX}: user,ts,tz_offset_min,chars,compound)"
        )
    return found


def histories(path: Path) -> Iterator[list[Interaction]]:
    """Yield each user's interactions, oldest first; the file is sorted by user, then time, and never held whole."""
    with gzip.open(path, "rt", newline="") as text:
        rows = csv.DictReader(text)
        for number, (_, events) in enumerate(groupby(rows, key=lambda row: row["user"]), start=1):
            yield [
                interaction(number, index, int(row["ts"]), chars=row["chars"], compound=row["compound"])
                for index, row in enumerate(events, start=1)
            ]


def interaction(
    user_id: int, update_id: int, ts: int, *, chars: str | float = "", compound: str | float = ""
) -> Interaction:
    """Return a stream's event as the interaction that the webhook would have stored.

    Args:
        user_id: any number of one's own for the user.
        update_id: distinct among the user's events.
        ts: epoch seconds.
        chars: length of the text; empty or NaN where it is unknown.
        compound: VADER's compound score, [-1, 1]; empty or NaN where there was no text.
    """
    sentiment = _number(compound)
    return Interaction(
        bot_id=1,
        user_id=user_id,
        chat_id=user_id,
        update_id=update_id,
        occurred_at=datetime.fromtimestamp(ts, UTC),
        engagement_type=EngagementType.MESSAGE,
        sentiment=sentiment,
        sentiment_type=level(sentiment),
        quality=0.0,
        is_question=False,
        is_greeting=False,
        topics=(),
        session_id="",
        reply_latency_seconds=None,
        characters=int(_number(chars) or 0),
        edited=False,
        first_name="",
        language_code=None,
        text=None,
    )


def _number(value: str | float) -> float | None:
    number = float(value) if value != "" else float("nan")
    return None if isnan(number) else number


def cut_offs(first: float, last: float) -> tuple[list[float], int]:
    """Return the times at which a stream is looked at, and how many of them come before the held-back ones.

    Up to 90, from a quarter of the span to 30 days before its end so that every label is known; the hour of the day
    rotates so that none is favoured.

    Args:
        first: epoch seconds of the stream's first event.
        last: epoch seconds of its last event.
    """
    start, end = first + WARM_UP * (last - first), last - max(HORIZONS) * DAY
    count = int(min(CUT_OFFS, max(FEWEST_CUT_OFFS, (end - start) / DAY / CUT_OFF_STEP_DAYS)))
    times = (floor(t / DAY) * DAY + 7 * i % 24 * 3_600.0 for i, t in enumerate(np.linspace(start, end, count).tolist()))
    chosen = sorted({t for t in times if t <= end})
    return chosen, int(len(chosen) * TEST_FROM)


def examples(history: Sequence[Interaction], times: Sequence[float], *, offset: int = 0) -> Iterator[Example]:
    """Replay one user's history and yield a look at each time that counts.

    Args:
        history: oldest first.
        times: epoch seconds, ascending; at each, what came before is folded and what came after is the label.
        offset: of the looks outside the yardstick's task, which one in `OTHER_EVERY` is kept.
    """
    seconds = [int(event.occurred_at.timestamp()) for event in history]
    pattern, folded = EMPTY, 0
    for index, at in enumerate(times):
        known = bisect_left(seconds, at)
        if not known or at - seconds[known - 1] > REPLAYED_SILENCE_DAYS * DAY:
            continue
        eligible = known >= ELIGIBLE_EVENTS and at - seconds[known - 1] <= ELIGIBLE_SILENCE_DAYS * DAY
        if not eligible and (index + offset) % OTHER_EVERY:
            continue
        pattern, folded = fold(pattern, history[folded:known]), known
        now = datetime.fromtimestamp(at, UTC)
        rules = rule_scores(pattern, now)
        yield Example(
            at=at,
            eligible=eligible,
            features=features(pattern, now),
            silence=silence_days(pattern, now),
            rules=(rules.churn_7d, rules.churn_14d, rules.churn_30d),
            absence=(seconds[known] - at) / DAY if known < len(seconds) else inf,
        )


def read(path: Path) -> Dataset:
    """Replay an event stream to all its cut-offs.

    The file is read twice, a user at a time: once for the span of time, once for the examples.

    Raises:
        ValueError: the stream has no events, or spans too little time to look at any user.
    """
    first, last, users, events = inf, -inf, 0, 0
    for history in histories(path):
        first = min(first, history[0].occurred_at.timestamp())
        last = max(last, history[-1].occurred_at.timestamp())
        users += 1
        events += len(history)
    times, tested_from = cut_offs(first, last) if users else ([], 0)
    found: Iterable[Example] = chain.from_iterable(
        examples(history, times, offset=number) for number, history in enumerate(histories(path))
    )
    rows = list(found)
    if not rows:
        raise ValueError(f"{path.name} gives no examples: too few events, or less than two months of them")
    return Dataset(
        name=path.name.removesuffix(SUFFIX),
        users=users,
        events=events,
        features=np.array([row.features for row in rows]).reshape(-1, len(NAMES)),
        silence=np.array([row.silence for row in rows]),
        rules=np.array([row.rules for row in rows]),
        absence=np.array([row.absence for row in rows]),
        eligible=np.array([row.eligible for row in rows]),
        held_back=np.array([row.at >= times[tested_from] for row in rows]),
    )
