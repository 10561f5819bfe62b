"""Weekly training: histories, streamed one user at a time -> a bounded sample of looks at them, any shard's the same.

A look is one user at one cut-off: the pattern folded from what came before, and what came after as labels. Which looks
are kept depends on a hash of user and cut-off alone: not on the order of the histories, and not on how they were split
among shards.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, pairwise
from math import inf, isnan, nan
from operator import attrgetter
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from engagement.domain.features import features
from engagement.domain.interaction import Interaction, by_themselves
from engagement.domain.mood import mood_features
from engagement.domain.pattern import DAY, EMPTY, HOURS_OF_DAY, Pattern, fold
from engagement.domain.pattern_bytes import decode, encode
from engagement.domain.population import BUNDLED
from engagement.domain.timing import hour_features
from models.dataset import (
    ELIGIBLE_EVENTS,
    ELIGIBLE_SILENCE_DAYS,
    HORIZONS,
    MOOD_EVENTS,
    MOOD_NEXT,
    OTHER_EVERY,
    REPLAYED_SILENCE_DAYS,
    TIMING_EVENTS,
    hours_after,
    mood_after,
    session_seconds,
)
from models.leaks import require_no_leak

LOOK_EVERY = 3
"""Days between cut-offs; their hour of day rotates so that none is favoured."""
LOOK_BACK = 730
"""Days."""
MAX_LOOKS = 20_000
_NO_HOURS = (0.0,) * HOURS_OF_DAY
CHECKED_EVERY = 64
"""One in this many looks is folded again from the events before its cut-off alone."""


@dataclass(frozen=True, slots=True)
class Look:
    """One user at one cut-off.

    Attributes:
        key: hash of user and cut-off, 64 bits.
        user: hash of the user, 64 bits: what resampling users goes by.
        at: epoch seconds of the cut-off.
        eligible: at least 3 events, one of them in the last 30 days: the benchmark's task.
        pattern: bytes of the pattern folded from the events before the cut-off, without topics and update ids.
        absence: days from the cut-off to the next event; infinite where none came.
        hours: shares of the next 14 days' session starts by UTC hour of day; None where it is no example of timing.
        mood: mean sentiment of the next five messages; None where it is no example of mood.
    """

    key: int
    user: int
    at: float
    eligible: bool
    pattern: bytes
    absence: float
    hours: tuple[float, ...] | None
    mood: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What one reading of histories gave.

    Attributes:
        looks: ascending by key.
        users: histories read.
        events: interactions in them.
        first: epoch seconds of the earliest interaction; infinite while there is none.
        complete: the time sufficed to read all of them.
    """

    looks: tuple[Look, ...]
    users: int
    events: int
    first: float
    complete: bool


def cut_offs(now: datetime) -> list[float]:
    """Return the times at which users are looked at, ascending; the last one is 30 days ago, its labels just ripe."""
    today = int(now.timestamp()) // DAY * DAY
    steps = range(LOOK_BACK // LOOK_EVERY, 0, -1)
    times = (float(today - step * LOOK_EVERY * DAY + 7 * step % 24 * 3_600) for step in steps)
    return [at for at in times if at + max(HORIZONS) * DAY <= now.timestamp()]


def sample(
    histories: Iterable[Sequence[Interaction]],
    now: datetime,
    *,
    enough_time: Callable[[], bool] = lambda: True,
    limit: int = MAX_LOOKS,
) -> Sample:
    """Replay histories to past cut-offs and keep the looks with the smallest hashes.

    Args:
        histories: each user's interactions, oldest first; read once, one history held at a time.
        now: end of what is known; later interactions are left out.
        enough_time: asked before each history; where it says no, reading stops.
        limit: looks to keep; while reading up to a quarter more are held.

    Raises:
        LeakError: the features of a checked look know what came after its cut-off.
    """
    times = cut_offs(now)
    kept: list[Look] = []
    bound = 1 << 64
    users, events, first, complete = 0, 0, inf, True
    for history in histories:
        if not enough_time():
            complete = False
            break
        known = [event for event in history if event.occurred_at < now and by_themselves(event) and not event.edited]
        if not known:
            continue
        users += 1
        events += len(known)
        first = min(first, known[0].occurred_at.timestamp())
        kept.extend(_looks(known, times, bound))
        if len(kept) > limit * 5 // 4:
            kept = sorted(kept, key=attrgetter("key"))[:limit]
            bound = kept[-1].key
    return Sample(tuple(sorted(kept, key=attrgetter("key"))[:limit]), users, events, first, complete)


def merge(samples: Sequence[Sample], limit: int = MAX_LOOKS) -> Sample:
    """Return the sample of all histories together, as if they had been read at once.

    Args:
        samples: at least one; of disjoint users, and of the same time.
        limit: as it was for each of them.
    """
    return Sample(
        looks=tuple(sorted(chain.from_iterable(part.looks for part in samples), key=attrgetter("key"))[:limit]),
        users=sum(part.users for part in samples),
        events=sum(part.events for part in samples),
        first=min(part.first for part in samples),
        complete=all(part.complete for part in samples),
    )


def _looks(history: Sequence[Interaction], times: Sequence[float], bound: int) -> Iterator[Look]:
    """Yield the looks at one user whose hash is below `bound`; a history without edits, which are no visits."""
    seconds = [int(event.occurred_at.timestamp()) for event in history]
    starts = session_seconds(seconds)
    user = _hash(f"{history[0].bot_id}#{history[0].user_id}".encode())
    pattern, folded = EMPTY, 0
    for at in times[bisect_left(times, seconds[0]) :]:
        known = bisect_left(seconds, at)
        silence = at - seconds[known - 1] if known else inf
        if silence > REPLAYED_SILENCE_DAYS * DAY:
            continue
        key = _hash(user.to_bytes(8) + int(at).to_bytes(8))
        eligible = known >= ELIGIBLE_EVENTS and silence <= ELIGIBLE_SILENCE_DAYS * DAY
        if key >= bound or (not eligible and key % OTHER_EVERY):
            continue
        pattern, folded = fold(pattern, history[folded:known]), known
        raw = encode(replace(pattern, topics=(), applied=()))
        if key // OTHER_EVERY % CHECKED_EVERY == 0:
            require_no_leak(history, at, _all_features(decode(raw), datetime.fromtimestamp(at, UTC)), _all_features)
        yield Look(
            key=key,
            user=user,
            at=at,
            eligible=eligible,
            pattern=raw,
            absence=(seconds[known] - at) / DAY if known < len(seconds) else inf,
            hours=hours_after(starts, at) if eligible and known >= TIMING_EVENTS else None,
            mood=mood_after(history[known : known + MOOD_NEXT], at) if eligible and known >= MOOD_EVENTS else None,
        )


def _hash(raw: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest())


def _all_features(pattern: Pattern, now: datetime) -> tuple[float, ...]:
    hours = chain.from_iterable(hour_features(pattern, BUNDLED, now))
    return (*features(pattern, now), *hours, *mood_features(pattern, BUNDLED, now))


# --- the sample as a file, for shards ---


def save(found: Sample, path: Path) -> None:
    """Write a sample as arrays of numbers and bytes; a file that is there is replaced."""
    looks = found.looks
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            key=np.array([look.key for look in looks], np.uint64),
            user=np.array([look.user for look in looks], np.uint64),
            at=np.array([look.at for look in looks]),
            eligible=np.array([look.eligible for look in looks], np.bool_),
            absence=np.array([look.absence for look in looks]),
            mood=np.array([nan if look.mood is None else look.mood for look in looks]),
            hours=np.array([look.hours or _NO_HOURS for look in looks]).reshape(-1, HOURS_OF_DAY),
            pattern=np.frombuffer(b"".join(look.pattern for look in looks), np.uint8),
            pattern_end=np.cumsum([len(look.pattern) for look in looks], dtype=np.int64),
            counts=np.array([found.users, found.events, found.complete], np.int64),
            first=np.array([found.first]),
        )


def load(path: Path) -> Sample:
    """Read what `save` wrote.

    Raises:
        ValueError: the file is not a sample.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        raw, ends = columns["pattern"].tobytes(), columns["pattern_end"].tolist()
        fields = zip(
            *(columns[name].tolist() for name in ("key", "user", "at", "eligible")),
            (raw[start:end] for start, end in pairwise([0, *ends])),
            columns["absence"].tolist(),
            (tuple(shares) if any(shares) else None for shares in columns["hours"].tolist()),
            (None if isnan(mood) else mood for mood in columns["mood"].tolist()),
            strict=True,
        )
        users, events, complete = columns["counts"].tolist()
        first = float(columns["first"][0])
    except (KeyError, OSError, EOFError, BadZipFile, ValueError) as error:
        raise ValueError(f"{path.name} is not a sample of looks") from error
    return Sample(tuple(Look(*values) for values in fields), users, events, first, bool(complete))
