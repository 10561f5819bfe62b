"""What a user's history adds up to: a sketch of about 1 KB that any order of delivery folds to the same state.

Everything in it is an integer or a set of integers, so "the same" means equal, not close:

- sums and counts add up;
- first/last times are a minimum and a maximum;
- active days, half-hours, hours of a week and day buckets are sets in a window that ends at the newest event;
- `applied` names the newest `APPLIED_LIMIT` updates, so that a redelivered one is counted once.

Every decayed counter of any half-life, the streaks, the sessions and the longest absence are read off the sets
(`active_days`, `session_starts`, `day_buckets`): nothing decays in storage, so a silent user's features keep moving.

The sketch forgets one thing: an update older than all of a full `applied` is taken for a redelivery and skipped.
Telegram redelivers for 24 h and a stream for 24 h more, so this takes more than 256 interactions of one user in two
days; the webhook's flood limit keeps a user from being counted wrong rather than too little.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from engagement.domain.interaction import EngagementType, Interaction, SentimentType, by_themselves

DAY = 86_400
SLOT = 1_800
"""Seconds of a slot; runs of active slots are one session (the usual 30-minute rule, on a grid)."""
SLOT_WINDOW = 60 * DAY // SLOT
BUCKET_WINDOW = 60
WEEK = 7
"""Days; weeks are counted from 1970-01-01, a Thursday."""
WEEK_WINDOW = 52
HOURS_OF_DAY = 24
APPLIED_LIMIT = 256
HOURS_OF_WEEK = 168
REPLY_CAP = 7 * DAY
MILLI = 1_000

TYPES = tuple(EngagementType)
LEVELS = tuple(SentimentType)


@dataclass(frozen=True, slots=True)
class DayBucket:
    """One active day: interactions, those whose sentiment is known, and the sum of it in thousandths."""

    day: int
    events: int
    sentiment_events: int
    sentiment_milli: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """The sketch of one user's history.

    Attributes:
        first_at: epoch seconds of the first interaction; 0 while there is none.
        last_at: epoch seconds of the newest interaction; 0 while there is none.
        total: interactions counted (edits are not).
        edits: edited messages.
        by_type: interactions of each `EngagementType`, in its order.
        by_sentiment: interactions of each `SentimentType`, in its order.
        sentiment_milli: sum of the known sentiments, in thousandths.
        sentiment_square_milli: sum of their squares, in thousandths.
        quality_milli: sum of the quality scores, in thousandths.
        questions: interactions that asked something.
        greetings: interactions that greeted.
        replies: interactions that replied to a message of ours.
        reply_seconds: sum of their latencies, each capped at a week.
        days: active days (days since 1970-01-01 UTC), ascending, never forgotten.
        slots: active half-hours (since 1970-01-01 UTC) of the last 60 days, ascending.
        buckets: the active days of the last 60 days, ascending.
        weeks: (week, mask) of the last 52 weeks, ascending: bit h of the mask says that UTC hour h saw an interaction.
        hours_of_week: interactions by UTC hour of week [0, 168), 0 = Monday 00-01 h.
        topics: (slug, interactions, newest day), by slug.
        applied: (day, update_id) of the newest updates folded in, ascending.
    """

    first_at: int = 0
    last_at: int = 0
    total: int = 0
    edits: int = 0
    by_type: tuple[int, ...] = (0,) * len(TYPES)
    by_sentiment: tuple[int, ...] = (0,) * len(LEVELS)
    sentiment_milli: int = 0
    sentiment_square_milli: int = 0
    quality_milli: int = 0
    questions: int = 0
    greetings: int = 0
    replies: int = 0
    reply_seconds: int = 0
    days: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    buckets: tuple[DayBucket, ...] = ()
    weeks: tuple[tuple[int, int], ...] = ()
    hours_of_week: tuple[int, ...] = (0,) * HOURS_OF_WEEK
    topics: tuple[tuple[str, int, int], ...] = ()
    applied: tuple[tuple[int, int], ...] = ()

    @property
    def sentiment_events(self) -> int:
        """Interactions whose sentiment is known."""
        return self.total - self.by_sentiment[LEVELS.index(SentimentType.UNKNOWN)]


EMPTY = Pattern()


@dataclass(slots=True)
class _Draft:
    """A pattern while it is being folded: the same fields, mutable."""

    first_at: int
    last_at: int
    by_type: list[int]
    by_sentiment: list[int]
    days: set[int]
    slots: set[int]
    buckets: dict[int, list[int]]
    weeks: dict[int, int]
    hours_of_week: list[int]
    topics: dict[str, list[int]]
    applied: set[tuple[int, int]]
    sums: list[int] = field(default_factory=lambda: [0] * 9)


def fold(pattern: Pattern, interactions: Iterable[Interaction]) -> Pattern:
    """Add a user's interactions to their pattern.

    Args:
        pattern: the pattern so far; `EMPTY` for a new user. It is left as it is.
        interactions: any of one user's, in any order, with any repetition, known or new. Those that they did not do
            by themselves change nothing.

    Returns:
        The pattern of the union; equal to `pattern` where every interaction was known.
    """
    draft = _Draft(
        first_at=pattern.first_at,
        last_at=pattern.last_at,
        by_type=list(pattern.by_type),
        by_sentiment=list(pattern.by_sentiment),
        days=set(pattern.days),
        slots=set(pattern.slots),
        buckets={b.day: [b.events, b.sentiment_events, b.sentiment_milli] for b in pattern.buckets},
        weeks=dict(pattern.weeks),
        hours_of_week=list(pattern.hours_of_week),
        topics={slug: [events, day] for slug, events, day in pattern.topics},
        applied=set(pattern.applied),
    )
    # Memory has a floor only once something fell out of it; below it, new and redelivered look the same.
    forgot = pattern.total + pattern.edits > len(pattern.applied)
    floor = pattern.applied[0] if forgot else (0, 0)
    known = {update_id for _, update_id in pattern.applied}
    changed = False
    for interaction in interactions:
        identity = (int(interaction.occurred_at.timestamp()) // DAY, interaction.update_id)
        if not by_themselves(interaction) or interaction.update_id in known or identity < floor:
            continue
        known.add(interaction.update_id)
        draft.applied.add(identity)
        _add(draft, interaction)
        changed = True
    return _finish(pattern, draft) if changed else pattern


def _add(draft: _Draft, interaction: Interaction) -> None:
    sums = draft.sums
    if interaction.edited:
        sums[1] += 1
        return
    at = int(interaction.occurred_at.timestamp())
    day, slot = at // DAY, at // SLOT
    draft.first_at = min(draft.first_at or at, at)
    draft.last_at = max(draft.last_at, at)
    draft.by_type[TYPES.index(interaction.engagement_type)] += 1
    draft.by_sentiment[LEVELS.index(interaction.sentiment_type)] += 1
    draft.days.add(day)
    draft.slots.add(slot)
    week, hour = day // WEEK, at % DAY // 3_600
    draft.weeks[week] = draft.weeks.get(week, 0) | 1 << hour
    # 1970-01-01 was a Thursday; Monday is day 0 of the hours of the week.
    draft.hours_of_week[(day + 3) % 7 * HOURS_OF_DAY + hour] += 1
    bucket = draft.buckets.setdefault(day, [0, 0, 0])
    bucket[0] += 1
    sums[0] += 1
    if interaction.sentiment is not None and interaction.sentiment_type is not SentimentType.UNKNOWN:
        milli = round(interaction.sentiment * MILLI)
        bucket[1] += 1
        bucket[2] += milli
        sums[2] += milli
        sums[3] += round(interaction.sentiment**2 * MILLI)
    sums[4] += round(interaction.quality * MILLI)
    sums[5] += interaction.is_question
    sums[6] += interaction.is_greeting
    if interaction.reply_latency_seconds is not None:
        sums[7] += 1
        sums[8] += min(max(interaction.reply_latency_seconds, 0), REPLY_CAP)
    for slug in interaction.topics:
        topic = draft.topics.setdefault(slug, [0, day])
        topic[0] += 1
        topic[1] = max(topic[1], day)


def _finish(before: Pattern, draft: _Draft) -> Pattern:
    sums = draft.sums
    oldest_slot = max(draft.slots, default=0) - SLOT_WINDOW
    oldest_bucket = max(draft.buckets, default=0) - BUCKET_WINDOW
    oldest_week = max(draft.weeks, default=0) - WEEK_WINDOW
    return Pattern(
        first_at=draft.first_at,
        last_at=draft.last_at,
        total=before.total + sums[0],
        edits=before.edits + sums[1],
        by_type=tuple(draft.by_type),
        by_sentiment=tuple(draft.by_sentiment),
        sentiment_milli=before.sentiment_milli + sums[2],
        sentiment_square_milli=before.sentiment_square_milli + sums[3],
        quality_milli=before.quality_milli + sums[4],
        questions=before.questions + sums[5],
        greetings=before.greetings + sums[6],
        replies=before.replies + sums[7],
        reply_seconds=before.reply_seconds + sums[8],
        days=tuple(sorted(draft.days)),
        slots=tuple(sorted(slot for slot in draft.slots if slot > oldest_slot)),
        buckets=tuple(DayBucket(day, *counts) for day, counts in sorted(draft.buckets.items()) if day > oldest_bucket),
        weeks=tuple((week, mask) for week, mask in sorted(draft.weeks.items()) if week > oldest_week),
        hours_of_week=tuple(draft.hours_of_week),
        topics=tuple((slug, events, day) for slug, (events, day) in sorted(draft.topics.items())),
        applied=tuple(sorted(draft.applied)[-APPLIED_LIMIT:]),
    )


def merge(left: Pattern, right: Pattern) -> Pattern:
    """Combine the patterns of two disjoint parts of one user's history.

    Raises:
        ValueError: both have counted one update, so that a sum would count it twice; fold the interactions instead.
    """
    if not {identity for _, identity in left.applied}.isdisjoint(identity for _, identity in right.applied):
        raise ValueError("the patterns share updates; fold their interactions instead of merging")
    buckets = {b.day: b for b in left.buckets}
    for b in right.buckets:
        a = buckets.get(b.day, DayBucket(b.day, 0, 0, 0))
        buckets[b.day] = DayBucket(
            b.day,
            a.events + b.events,
            a.sentiment_events + b.sentiment_events,
            a.sentiment_milli + b.sentiment_milli,
        )
    weeks = dict(left.weeks)
    for week, mask in right.weeks:
        weeks[week] = weeks.get(week, 0) | mask
    topics = {slug: (events, day) for slug, events, day in left.topics}
    for slug, events, day in right.topics:
        known_events, known_day = topics.get(slug, (0, day))
        topics[slug] = (known_events + events, max(known_day, day))
    slots = {*left.slots, *right.slots}
    oldest_slot = max(slots, default=0) - SLOT_WINDOW
    oldest_bucket = max(buckets, default=0) - BUCKET_WINDOW
    oldest_week = max(weeks, default=0) - WEEK_WINDOW
    return Pattern(
        first_at=min(left.first_at or right.first_at, right.first_at or left.first_at),
        last_at=max(left.last_at, right.last_at),
        total=left.total + right.total,
        edits=left.edits + right.edits,
        by_type=_add_up(left.by_type, right.by_type),
        by_sentiment=_add_up(left.by_sentiment, right.by_sentiment),
        sentiment_milli=left.sentiment_milli + right.sentiment_milli,
        sentiment_square_milli=left.sentiment_square_milli + right.sentiment_square_milli,
        quality_milli=left.quality_milli + right.quality_milli,
        questions=left.questions + right.questions,
        greetings=left.greetings + right.greetings,
        replies=left.replies + right.replies,
        reply_seconds=left.reply_seconds + right.reply_seconds,
        days=tuple(sorted({*left.days, *right.days})),
        slots=tuple(sorted(slot for slot in slots if slot > oldest_slot)),
        buckets=tuple(b for day, b in sorted(buckets.items()) if day > oldest_bucket),
        weeks=tuple((week, mask) for week, mask in sorted(weeks.items()) if week > oldest_week),
        hours_of_week=_add_up(left.hours_of_week, right.hours_of_week),
        topics=tuple((slug, events, day) for slug, (events, day) in sorted(topics.items())),
        applied=tuple(sorted({*left.applied, *right.applied})[-APPLIED_LIMIT:]),
    )


def _add_up(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


# --- what is read off the sets ---


def last_seen(pattern: Pattern) -> datetime | None:
    """Return when the user last interacted, aware UTC; None before the first time."""
    return datetime.fromtimestamp(pattern.last_at, UTC) if pattern.total else None


def session_starts(pattern: Pattern) -> tuple[int, ...]:
    """Return epoch seconds at which the sessions of the last 60 days began, ascending, on the half-hour grid."""
    if not pattern.slots:
        return ()
    later = (slot for before, slot in pairwise(pattern.slots) if slot > before + 1)
    return (pattern.slots[0] * SLOT, *(slot * SLOT for slot in later))


def longest_streak(pattern: Pattern) -> int:
    """Return the longest run of consecutive active UTC days."""
    return max(_runs(pattern.days), default=0)


def current_streak(pattern: Pattern, now: datetime) -> int:
    """Return the run of consecutive active UTC days that ends today or yesterday; 0 if it is broken."""
    today = int(now.timestamp()) // DAY
    if not pattern.days or pattern.days[-1] < today - 1:
        return 0
    *_, last = _runs(pattern.days)
    return last


def _runs(values: tuple[int, ...]) -> Iterator[int]:
    """Yield the lengths of the runs of consecutive numbers, in order."""
    for start, following in pairwise((*run_starts(values), len(values))):
        yield following - start


def run_starts(values: tuple[int, ...]) -> list[int]:
    """Return the indices at which the runs of consecutive numbers begin."""
    return [i for i, value in enumerate(values) if i == 0 or value != values[i - 1] + 1]
