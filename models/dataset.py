"""Training data: histories replayed through the serving fold to past times, labelled by what happened afterwards.

The benchmark judges predictors on public event streams; it is a program of its own, which need not be at hand: all that
it asks is written out here, and `models.harness` is what it talks to. Its tasks, at each of its cut-offs, for users
with an event in the last 30 days:

    churn    at least 3 events: is there no event within the next 7, 14 and 30 days?
    timing   at least 10 events, and a session in the next 14 days: in which UTC hours do those sessions start?
    mood     at least 5 events, and 5 more within 60 days: what is the mean sentiment of the next 5?

One replay serves all three. The prior of timing and mood is the population at the cut-off, which is known only when all
users were replayed: until then a pattern waits as the bytes in which it would have been stored.
"""

import csv
import gzip
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from math import floor, inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engagement.domain.features import NAMES, features, silence_days
from engagement.domain.interaction import EngagementType, Interaction
from engagement.domain.mood import NAMES as MOOD_NAMES
from engagement.domain.mood import mood_features
from engagement.domain.pattern import DAY, EMPTY, HOURS_OF_DAY, MILLI, fold
from engagement.domain.pattern_bytes import decode, encode
from engagement.domain.population import Population
from engagement.domain.scores import rule_scores
from engagement.domain.sentiment import level
from engagement.domain.timing import NAMES as TIMING_NAMES
from engagement.domain.timing import hour_features, hour_shares
from models.baselines import ewma, rfm, rhythm
from models.crowd import SILENCE_DAYS, Crowd, counts
from models.metrics import Numbers

HORIZONS = (7, 14, 30)
"""Days."""
SUFFIX = ".csv.gz"
SECONDS_OF_HOUR = 3_600

# The benchmark's cut-offs and eligibility, so that our figures are those of its tasks.
CUT_OFFS = 90
FEWEST_CUT_OFFS = 10
CUT_OFF_STEP_DAYS = 2.0
WARM_UP = 0.25
TEST_FROM = 0.6
ELIGIBLE_EVENTS = 3
ELIGIBLE_SILENCE_DAYS = 30
SESSION_GAP = 1_800
"""Seconds."""
TIMING_EVENTS = 10
TIMING_DAYS = 14
MOOD_EVENTS = 5
MOOD_NEXT = 5
MOOD_DAYS = 60

REPLAYED_SILENCE_DAYS = SILENCE_DAYS
"""Scoring goes on for a year of silence, so a user is looked at for as long here."""
OTHER_EVERY = 8
"""One in this many looks at users outside the benchmark's task is kept: newcomers and the long silent are many."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """One look at one user.

    Attributes:
        user: number of the user in the stream.
        cut_off: number of the cut-off.
        at: epoch seconds of the cut-off; only events before it were folded.
        eligible: at least 3 events, one of them in the last 30 days: the benchmark's task.
        features: as `NAMES`.
        silence: days since the newest event, at the cut-off.
        rules: what `rule_scores` says for each horizon.
        absence: days from the cut-off to the next event; infinite where none came.
        rfm, rhythm: what the baselines go by, see `models.baselines`.
        state: the pattern's bytes, without topics and update ids; empty where neither label below is known.
        hours: shares of the next 14 days' session starts by UTC hour; None where the timing task leaves the user out.
        own_hours: all session starts before the cut-off by UTC hour; None likewise.
        mood: mean sentiment of the next five messages; None where the mood task leaves the user out.
        ewma: exponentially weighted moving average of the sentiments before; 0 where there is none.
    """

    user: int
    cut_off: int
    at: float
    eligible: bool
    features: tuple[float, ...]
    silence: float
    rules: tuple[float, float, float]
    absence: float
    rfm: tuple[float, ...]
    rhythm: tuple[int, int, float]
    state: bytes
    hours: tuple[float, ...] | None
    own_hours: tuple[int, ...] | None
    mood: float | None
    ewma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnExamples:
    """Looks at users as columns of equal length; see `Example`.

    Attributes:
        user: what belongs to one user is resampled together.
        at, features, silence, rules, absence, eligible, rfm, rhythm: one row an example.
        held_back: the cut-off is among the last 40 %, on which the benchmark tests.
    """

    user: NDArray[np.int64]
    at: Numbers
    features: Numbers
    silence: Numbers
    rules: Numbers
    absence: Numbers
    eligible: Flags
    rfm: Numbers
    rhythm: Numbers
    held_back: Flags

    def stayed_away(self, horizon: int) -> Flags:
        """Return the labels: no event within `horizon` days after the cut-off."""
        labels: Flags = self.absence > horizon
        return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingExamples:
    """Looks at users of the timing task.

    Attributes:
        user, at, held_back: as in `ChurnExamples`.
        features: [examples, 24, features] of `domain.timing.hour_features`.
        hours: [examples, 24] shares of the sessions that followed: the label.
        own_hours: [examples, 24] session starts before the cut-off.
        rule: [examples, 24] of `domain.timing.hour_shares`.
    """

    user: NDArray[np.int64]
    at: Numbers
    held_back: Flags
    features: Numbers
    hours: Numbers
    own_hours: Numbers
    rule: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodExamples:
    """Looks at users of the mood task.

    Attributes:
        user, at, held_back: as in `ChurnExamples`.
        features: of `domain.mood.mood_features`.
        mood: mean sentiment of the five messages that followed: the label.
        own_mean: mean sentiment of the messages before; 0 where there is none.
        messages: number of those.
        ewma: see `Example`.
    """

    user: NDArray[np.int64]
    at: Numbers
    held_back: Flags
    features: Numbers
    mood: Numbers
    own_mean: Numbers
    messages: Numbers
    ewma: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The examples of one event stream.

    Attributes:
        name: the file's name without its suffix.
        users: number of users in the stream.
        events: number of events in the stream.
        churn, timing, mood: the examples of each task; a stream without hours or texts has none of those.
        rhythms: one row of `models.baselines.rhythm` for each user known at the first held-back cut-off.
    """

    name: str
    users: int
    events: int
    churn: ChurnExamples
    timing: TimingExamples
    mood: MoodExamples
    rhythms: Numbers


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


def examples(
    history: Sequence[Interaction], times: Sequence[float], *, user: int = 0, crowd: Crowd | None = None
) -> Iterator[Example]:
    """Replay one user's history and yield a look at each time that counts.

    Args:
        history: oldest first.
        times: epoch seconds, ascending; at each, what came before is folded and what came after is the label.
        user: number of the user; it also says which one in `OTHER_EVERY` looks outside the benchmark's task is kept.
        crowd: where the user is counted, at every one of `times`; None where nobody asks for a population.
    """
    seconds = [int(event.occurred_at.timestamp()) for event in history]
    starts = session_seconds(seconds)
    pattern, folded = EMPTY, 0
    for index, at in enumerate(times):
        known = bisect_left(seconds, at)
        if not known or at - seconds[known - 1] > REPLAYED_SILENCE_DAYS * DAY:
            continue
        now = datetime.fromtimestamp(at, UTC)
        eligible = known >= ELIGIBLE_EVENTS and at - seconds[known - 1] <= ELIGIBLE_SILENCE_DAYS * DAY
        kept = eligible or not (index + user) % OTHER_EVERY
        if known > folded and (kept or crowd):
            pattern, folded = fold(pattern, history[folded:known]), known
            if crowd:
                until = seconds[known - 1] + REPLAYED_SILENCE_DAYS * DAY
                until = min(until, seconds[known]) if known < len(seconds) else until
                crowd.add(counts(pattern), slice(index, bisect_right(times, until)))
        if not kept:
            continue
        rules = rule_scores(pattern, now)
        hours = hours_after(starts, at) if eligible and known >= TIMING_EVENTS else None
        mood = mood_after(history[known : known + MOOD_NEXT], at) if eligible and known >= MOOD_EVENTS else None
        waits = hours is not None or mood is not None
        yield Example(
            user=user,
            cut_off=index,
            at=at,
            eligible=eligible,
            features=features(pattern, now),
            silence=silence_days(pattern, now),
            rules=(rules.churn_7d, rules.churn_14d, rules.churn_30d),
            absence=(seconds[known] - at) / DAY if known < len(seconds) else inf,
            rfm=rfm(seconds, starts, at),
            rhythm=rhythm(pattern.days, at),
            state=encode(replace(pattern, topics=(), applied=())) if waits else b"",
            hours=hours,
            own_hours=None if hours is None else by_hour(starts[: bisect_left(starts, at)]),
            mood=mood,
            ewma=0.0 if mood is None else ewma(_sentiments(history[:known])),
        )


def session_seconds(seconds: Sequence[int]) -> list[int]:
    """Return those of a user's event times that come at least 30 minutes after the one before; the first one too."""
    return [*seconds[:1], *(after for before, after in pairwise(seconds) if after - before >= SESSION_GAP)]


def hours_after(starts: Sequence[int], at: float) -> tuple[float, ...] | None:
    """Return the shares of the session starts in [at, at + 14 days) by UTC hour of day; None where there is none."""
    following = starts[bisect_left(starts, at) : bisect_left(starts, at + TIMING_DAYS * DAY)]
    return tuple(count / len(following) for count in by_hour(following)) if following else None


def by_hour(seconds: Sequence[int]) -> tuple[int, ...]:
    """Return how many of the times fall into each UTC hour of day."""
    found = [0] * HOURS_OF_DAY
    for second in seconds:
        found[second % DAY // SECONDS_OF_HOUR] += 1
    return tuple(found)


def mood_after(following: Sequence[Interaction], at: float) -> float | None:
    """Return the mean sentiment of the next five interactions; None unless there are five with one, within 60 days."""
    sentiments = _sentiments(following)
    if len(sentiments) < MOOD_NEXT or following[-1].occurred_at.timestamp() >= at + MOOD_DAYS * DAY:
        return None
    return sum(sentiments) / len(sentiments)


def _sentiments(history: Sequence[Interaction]) -> list[float]:
    return [event.sentiment for event in history if event.sentiment is not None]


def read(path: Path) -> Dataset:
    """Replay an event stream to all its cut-offs.

    The file is read twice, a user at a time: once for the span of time, once for the examples.

    Raises:
        ValueError: the stream has no events, or spans too little time to look at any user.
    """
    first, last, has_hours = _span(path)
    times, tested_from = cut_offs(first, last) if last >= first else ([], 0)
    crowd = Crowd(len(times))
    rows: list[Example] = []
    rhythms: list[tuple[int, int, float]] = []
    users, events = 0, 0
    for number, history in enumerate(histories(path)):
        users += 1
        events += len(history)
        rows += examples(history, times, user=number, crowd=crowd)
        rhythms += _rhythm(history, times[tested_from]) if times else ()
    if not rows:
        raise ValueError(f"{path.name} gives no examples: too few events, or less than two months of them")
    populations = crowd.populations()
    return Dataset(
        name=path.name.removesuffix(SUFFIX),
        users=users,
        events=events,
        churn=churn_examples(rows, times[tested_from]),
        timing=timing_examples(rows if has_hours else (), populations, times[tested_from]),
        mood=mood_examples(rows, populations, times[tested_from]),
        rhythms=_matrix(rhythms, 3),
    )


def _rhythm(history: Sequence[Interaction], at: float) -> list[tuple[int, int, float]]:
    """Return the user's rhythm, or none where nothing was known of them by then."""
    seconds = (int(event.occurred_at.timestamp()) for event in history)
    days = sorted({second // DAY for second in seconds if second < at})
    return [rhythm(days, at)] if days else []


def _span(path: Path) -> tuple[int, int, bool]:
    """Return the first and the last event's epoch seconds, and whether the stream has hours, or dates only."""
    first, last, hours = 1 << 62, -1, set()
    with gzip.open(path, "rt", newline="") as text:
        for row in csv.DictReader(text):
            at = int(row["ts"])
            first, last = min(first, at), max(last, at)
            hours.add(at % DAY // SECONDS_OF_HOUR)
    return first, last, len(hours) > 1


def churn_examples(rows: Sequence[Example], held_back_from: float) -> ChurnExamples:
    """Return looks as columns; those at or after `held_back_from`, in epoch seconds, are held back."""
    return ChurnExamples(
        **_common(rows, held_back_from),
        features=_matrix([row.features for row in rows], len(NAMES)),
        silence=np.array([row.silence for row in rows]),
        rules=_matrix([row.rules for row in rows], len(HORIZONS)),
        absence=np.array([row.absence for row in rows]),
        eligible=np.array([row.eligible for row in rows], np.bool_),
        rfm=_matrix([row.rfm for row in rows], 5),
        rhythm=_matrix([row.rhythm for row in rows], 3),
    )


def timing_examples(
    rows: Sequence[Example], populations: Sequence[Population], held_back_from: float
) -> TimingExamples:
    """Return the looks of the timing task as columns; `populations` are those at each cut-off."""
    chosen = [row for row in rows if row.hours is not None]
    found = []
    for row in chosen:
        pattern, now, crowd = decode(row.state), datetime.fromtimestamp(row.at, UTC), populations[row.cut_off]
        found.append((hour_features(pattern, crowd, now), hour_shares(pattern, crowd, now)))
    shape = (-1, HOURS_OF_DAY, len(TIMING_NAMES))
    return TimingExamples(
        **_common(chosen, held_back_from),
        features=np.array([hours for hours, _ in found]).reshape(shape),
        hours=_matrix([row.hours for row in chosen], HOURS_OF_DAY),
        own_hours=_matrix([row.own_hours for row in chosen], HOURS_OF_DAY),
        rule=_matrix([shares for _, shares in found], HOURS_OF_DAY),
    )


def mood_examples(rows: Sequence[Example], populations: Sequence[Population], held_back_from: float) -> MoodExamples:
    """Return the looks of the mood task as columns; `populations` are those at each cut-off."""
    chosen = [row for row in rows if row.mood is not None]
    patterns = [decode(row.state) for row in chosen]
    found = [
        mood_features(pattern, populations[row.cut_off], datetime.fromtimestamp(row.at, UTC))
        for row, pattern in zip(chosen, patterns, strict=True)
    ]
    messages = np.array([pattern.sentiment_events for pattern in patterns], float)
    total = np.array([pattern.sentiment_milli for pattern in patterns], float) / MILLI
    return MoodExamples(
        **_common(chosen, held_back_from),
        features=_matrix(found, len(MOOD_NAMES)),
        mood=np.array([row.mood for row in chosen], float),
        own_mean=total / np.maximum(messages, 1),
        messages=messages,
        ewma=np.array([row.ewma for row in chosen]),
    )


def _common(rows: Sequence[Example], held_back_from: float) -> dict[str, Any]:
    at = np.array([row.at for row in rows], float)
    return {"user": np.array([row.user for row in rows], np.int64), "at": at, "held_back": at >= held_back_from}


def _matrix(rows: Sequence[Any], width: int) -> Numbers:
    return np.array(rows, float).reshape(-1, width)
