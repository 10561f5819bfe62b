"""A pattern as bytes, kept small since a write costs by the kilobyte.

One format byte, then unsigned LEB128 numbers (signed ones zigzagged). Sets are written as runs: the gap since the last
run's end and the length, so that a habit costs two bytes a session and a silent year costs three.
"""

from itertools import pairwise

from engagement.domain.pattern import HOURS_OF_WEEK, LEVELS, TYPES, WEEK, DayBucket, Pattern, run_starts
from engagement.errors import BadPatternError

FORMAT = 2
MANY_HOURS = 24
"""Stands before the three bytes of a week's mask; a week of one hour is that hour's number alone."""


def encode(pattern: Pattern) -> bytes:
    """Return the pattern's bytes; `decode` gives an equal pattern back."""
    out = bytearray([FORMAT])
    for number in (
        pattern.first_at,
        pattern.last_at - pattern.first_at,
        pattern.total,
        pattern.edits,
        *pattern.by_type,
        *pattern.by_sentiment,
        _zigzag(pattern.sentiment_milli),
        pattern.sentiment_square_milli,
        pattern.quality_milli,
        pattern.questions,
        pattern.greetings,
        pattern.replies,
        pattern.reply_seconds,
    ):
        _put(out, number)
    _put_runs(out, pattern.days)
    _put_runs(out, pattern.slots)
    # A bucket's day is an active day, so only the counts are written, for the last len(buckets) of `days`.
    _put(out, len(pattern.buckets))
    for bucket in pattern.buckets:
        _put(out, bucket.events)
        _put(out, bucket.events - bucket.sentiment_events)
        if bucket.sentiment_events:
            _put(out, _zigzag(bucket.sentiment_milli))
    # Likewise for weeks: the last len(weeks) of those that `days` fall into.
    _put(out, len(pattern.weeks))
    for _, mask in pattern.weeks:
        if mask.bit_count() == 1:
            out.append(mask.bit_length() - 1)
        else:
            out.append(MANY_HOURS)
            out += mask.to_bytes(3)
    cells = [(hour, count) for hour, count in enumerate(pattern.hours_of_week) if count]
    _put(out, len(cells))
    previous = -1
    for hour, count in cells:
        _put(out, hour - previous - 1)
        _put(out, count)
        previous = hour
    newest_day = pattern.days[-1] if pattern.days else 0
    _put(out, len(pattern.topics))
    for slug, events, day in pattern.topics:
        raw = slug.encode()
        _put(out, len(raw))
        out += raw
        _put(out, events)
        _put(out, newest_day - day)
    _put(out, len(pattern.applied))
    day, update_id = 0, 0
    for next_day, next_id in pattern.applied:
        # The low bit says whether a new day begins, so that most updates of a busy day cost their id's step only.
        step = _zigzag(next_id - update_id)
        _put(out, step << 1 | (next_day != day))
        if next_day != day:
            _put(out, next_day - day)
        day, update_id = next_day, next_id
    return bytes(out)


def decode(raw: bytes) -> Pattern:
    """Return the pattern that `encode` wrote.

    Raises:
        BadPatternError: the bytes are of another format, or damaged.
    """
    reader = _Reader(raw)
    try:
        version = reader.byte()
        if version != FORMAT:
            raise BadPatternError(f"pattern format {version} is not {FORMAT}; deploy the version that wrote it")
        first_at = reader.number()
        last_at = first_at + reader.number()
        total, edits = reader.number(), reader.number()
        by_type = tuple(reader.number() for _ in TYPES)
        by_sentiment = tuple(reader.number() for _ in LEVELS)
        sentiment_milli = reader.signed()
        square, quality, questions, greetings, replies, reply_seconds = (reader.number() for _ in range(6))
        days, slots = reader.runs(), reader.runs()
        buckets = []
        count = reader.number()
        for day in days[len(days) - count :]:
            events = reader.number()
            known = events - reader.number()
            buckets.append(DayBucket(day, events, known, reader.signed() if known else 0))
        count = reader.number()
        active = list(dict.fromkeys(day // WEEK for day in days))
        weeks = tuple((week, reader.mask()) for week in active[len(active) - count :])
        hours = [0] * HOURS_OF_WEEK
        hour = -1
        for _ in range(reader.number()):
            hour += reader.number() + 1
            hours[hour] = reader.number()
        newest_day = days[-1] if days else 0
        topics = tuple((reader.text(), reader.number(), newest_day - reader.number()) for _ in range(reader.number()))
        applied = []
        day, update_id = 0, 0
        for _ in range(reader.number()):
            step = reader.number()
            if step & 1:
                day += reader.number()
            update_id += _unzigzag(step >> 1)
            applied.append((day, update_id))
        reader.end()
    except (IndexError, UnicodeDecodeError) as error:
        raise BadPatternError("the pattern's bytes are damaged; rebuild it from the interactions") from error
    return Pattern(
        first_at=first_at,
        last_at=last_at,
        total=total,
        edits=edits,
        by_type=by_type,
        by_sentiment=by_sentiment,
        sentiment_milli=sentiment_milli,
        sentiment_square_milli=square,
        quality_milli=quality,
        questions=questions,
        greetings=greetings,
        replies=replies,
        reply_seconds=reply_seconds,
        days=days,
        slots=slots,
        buckets=tuple(buckets),
        weeks=weeks,
        hours_of_week=tuple(hours),
        topics=topics,
        applied=tuple(applied),
    )


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _unzigzag(number: int) -> int:
    return -((number + 1) >> 1) if number & 1 else number >> 1


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _put_runs(out: bytearray, values: tuple[int, ...]) -> None:
    starts = run_starts(values)
    _put(out, len(starts))
    end = 0
    for start, following in pairwise((*starts, len(values))):
        length = following - start
        # A run of one is the rule; the low bit marks the longer ones.
        _put(out, (values[start] - end) << 1 | (length > 1))
        if length > 1:
            _put(out, length)
        end = values[start] + length


class _Reader:
    """Reads what `encode` wrote, and notices when there is too little or too much."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def byte(self) -> int:
        value = self._raw[self._at]
        self._at += 1
        return value

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def signed(self) -> int:
        return _unzigzag(self.number())

    def text(self) -> str:
        length = self.number()
        if self._at + length > len(self._raw):
            raise IndexError
        self._at += length
        return self._raw[self._at - length : self._at].decode()

    def mask(self) -> int:
        hour = self.byte()
        if hour < MANY_HOURS:
            return 1 << hour
        if hour > MANY_HOURS or self._at + 3 > len(self._raw):
            raise IndexError
        self._at += 3
        return int.from_bytes(self._raw[self._at - 3 : self._at])

    def runs(self) -> tuple[int, ...]:
        values: list[int] = []
        end = 0
        for _ in range(self.number()):
            gap = self.number()
            start = end + (gap >> 1)
            end = start + (self.number() if gap & 1 else 1)
            values.extend(range(start, end))
        return tuple(values)

    def end(self) -> None:
        if self._at != len(self._raw):
            raise IndexError
