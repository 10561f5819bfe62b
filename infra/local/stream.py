"""From the table's stream to a function, on the local AWS: what Lambda's event source mapping does, failures included.

The local AWS ships a poller of its own that loses the rest of a batch after a partial failure and retries for ever, so
`fixups` turns it off. Here is what takes its place, as a pure state machine: records, answers and the time go in, what
to do next comes out. It never waits and never calls; `infra.local.stream_poller` does.

Semantics, from "Using AWS Lambda with Amazon DynamoDB" and its pages on batching, partial batch responses and error
handling (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html):

- a batch is sent when it is full or its window is over; records that match no filter are passed over;
- one batch of a shard at a time (parallelization factor 1), and a failing batch blocks what is behind it;
- a partial report moves the checkpoint to the lowest failed record; a malformed one fails the whole batch;
- with bisection a failed batch is halved, and a split costs no retry. A report that fails the first record is taken for
  a failure of the whole batch, since nothing of it succeeded, and halved as well (AWS's pages leave this case open);
- throttling costs no retry either, it only ages the records;
- what is too old or out of retries goes to the on-failure destination as shard and sequence numbers, never as data.
"""

import json
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from infra.local.emulator import LocalAwsError

Record = dict[str, Any]
"""One stream record in the shape in which Lambda hands it to a function."""

TOO_OLD = "MaximumRecordAgeExceeded"
OUT_OF_RETRIES = "RetryAttemptsExhausted"
FIRST_BACKOFF_SECONDS = 0.1
"""Lambda waits longer; what a function sees is the same."""
LONGEST_BACKOFF_SECONDS = 1.0


# --- what an event source mapping says ---


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """One event source mapping of a DynamoDB stream.

    Attributes:
        function_arn: the function to invoke.
        stream_arn: the stream to read.
        starting_position: TRIM_HORIZON or LATEST.
        batch_size: records of one invocation at most.
        window_seconds: how long an unfull batch waits for more.
        retries: invocations after the first one that failed; -1 = until the records expire.
        record_age_seconds: records older than this are discarded; -1 = never.
        bisects: a failed batch is halved.
        reports_item_failures: the function says which records failed.
        on_failure_arn: the SQS queue that is told what was discarded; None = nobody is told.
        filters: patterns of which a record must match one; empty = every record passes.
    """

    function_arn: str
    stream_arn: str
    starting_position: str = "TRIM_HORIZON"
    batch_size: int = 100
    window_seconds: float = 0
    retries: int = -1
    record_age_seconds: float = -1
    bisects: bool = False
    reports_item_failures: bool = False
    on_failure_arn: str | None = None
    filters: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_api(cls, described: Mapping[str, Any]) -> Self:
        """Read an entry of Lambda's ListEventSourceMappings.

        Raises:
            LocalAwsError: it asks for something that is not played here.
        """
        if described.get("ParallelizationFactor", 1) != 1:
            raise LocalAwsError("the local stream plays ParallelizationFactor 1 only, as the stack must have it (R80)")
        destination = described.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if destination and ":sqs:" not in destination:
            raise LocalAwsError(f"the local stream sends failures to SQS queues only, not to {destination}")
        return cls(
            function_arn=described["FunctionArn"],
            stream_arn=described["EventSourceArn"],
            starting_position=described.get("StartingPosition", "LATEST"),
            batch_size=described.get("BatchSize", 100),
            window_seconds=described.get("MaximumBatchingWindowInSeconds", 0),
            retries=described.get("MaximumRetryAttempts", -1),
            record_age_seconds=described.get("MaximumRecordAgeInSeconds", -1),
            bisects=described.get("BisectBatchOnFunctionError", False),
            reports_item_failures="ReportBatchItemFailures" in described.get("FunctionResponseTypes", []),
            on_failure_arn=destination,
            filters=tuple(json.loads(f["Pattern"]) for f in described.get("FilterCriteria", {}).get("Filters", [])),
        )


def matches(record: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    """Say whether a record matches a filter pattern (Lambda event filtering; all keys must, one of a key's values may).

    Raises:
        LocalAwsError: the pattern uses an operator that is not played here.
    """
    for key, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            inner = record.get(key)
            if not isinstance(inner, Mapping) or not matches(inner, wanted):
                return False
        elif not any(_leaf_matches(record, key, value) for value in wanted):
            return False
    return True


def _leaf_matches(record: Mapping[str, Any], key: str, wanted: object) -> bool:
    value = record.get(key)
    if not isinstance(wanted, Mapping):
        return key in record and value == wanted
    (operator, argument) = next(iter(wanted.items()))
    match operator:
        case "exists":
            return (key in record) == argument
        case "prefix":
            return isinstance(value, str) and value.startswith(argument)
        case "suffix":
            return isinstance(value, str) and value.endswith(argument)
        case "anything-but":
            return key in record and value not in (argument if isinstance(argument, list) else [argument])
        case _:
            raise LocalAwsError(f"the local stream does not know the filter operator {operator!r}")


# --- the state machine ---


class Result(Enum):
    """How an invocation ended."""

    PASSED = "passed"
    PARTLY = "partly"
    FAILED = "failed"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation said.

    Attributes:
        result: how it ended.
        first_failed: index of the lowest failed record; only of a PARTLY.
    """

    result: Result
    first_failed: int = 0


def read_answer(records: Sequence[Record], payload: object) -> Answer:
    """Read the response of a function that reports item failures and did not raise.

    Nothing, an empty object and an empty list pass the batch; an identifier that is missing, empty or not one of the
    batch's fails all of it ("Success and failure conditions" of the partial batch response page).
    """
    if not payload:
        return Answer(Result.PASSED)
    if not isinstance(payload, Mapping):
        return Answer(Result.FAILED)
    failures = payload.get("batchItemFailures")
    if not failures:
        return Answer(Result.PASSED)
    index_of = {sequence_number(record): index for index, record in enumerate(records)}
    indices = []
    for entry in failures:
        identifier = entry.get("itemIdentifier") if isinstance(entry, Mapping) else None
        if not isinstance(identifier, str) or identifier not in index_of:
            return Answer(Result.FAILED)
        indices.append(index_of[identifier])
    return Answer(Result.PARTLY, min(indices))


def sequence_number(record: Mapping[str, Any]) -> str:
    """Return a record's sequence number: an identity within its shard, not a number to compare."""
    return str(record["dynamodb"]["SequenceNumber"])


@dataclass(frozen=True, slots=True)
class Invoke:
    """Invoke the function with these records, then tell the shard what it said."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Discard:
    """Give these records up, and tell the on-failure destination.

    Attributes:
        records: neighbours in the shard, oldest first.
        condition: why: `TOO_OLD` or `OUT_OF_RETRIES`.
        invocations: how often a batch with these records was sent.
        raised: the last of these invocations ended in an error, not in a report.
    """

    records: tuple[Record, ...]
    condition: str
    invocations: int
    raised: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time, or until records arrive.

    Attributes:
        until: epoch seconds; None = until records arrive.
    """

    until: float | None


@dataclass(slots=True)
class _Batch:
    records: tuple[Record, ...]
    retries: int = 0
    throttles: int = 0
    invocations: int = 0
    raised: bool = False
    not_before: float = 0.0


@dataclass(slots=True)
class Counts:
    """What a shard has done so far.

    Attributes:
        filtered: records that matched no filter.
        passed: records that a function accepted.
        discarded: records that were given up.
        invocations: invocations that reached the function.
        failures: of these, the ones that did not pass their whole batch.
    """

    filtered: int = 0
    passed: int = 0
    discarded: int = 0
    invocations: int = 0
    failures: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Add up, count by count."""
        mine, theirs = astuple(self), astuple(other)
        return Counts(*(a + b for a, b in zip(mine, theirs, strict=True)))


class Shard:
    """One shard of a mapping: its records in order, one batch of them at a time."""

    def __init__(self, settings: MappingSettings) -> None:
        self.counts = Counts()
        self._settings = settings
        self._pending: deque[Record] = deque()
        self._window_began_at = 0.0
        # The batch under way and, after a split, its later parts; everything else waits behind them.
        self._work: deque[_Batch] = deque()
        self._discards: deque[Discard] = deque()

    def add(self, records: Iterable[Record], now: float) -> None:
        """Take in what the stream delivered, oldest first; `now` in epoch seconds."""
        began_empty = not self._pending
        for record in records:
            if self._settings.filters and not any(matches(record, pattern) for pattern in self._settings.filters):
                self.counts.filtered += 1
            else:
                self._pending.append(record)
        if began_empty:
            self._window_began_at = now

    @property
    def idle(self) -> bool:
        """Whether everything taken in was passed or given up."""
        return not (self._pending or self._work or self._discards)

    @property
    def backlog(self) -> int:
        """How many records are waiting for their batch."""
        return len(self._pending)

    def age(self, now: float) -> float:
        """Return the age in seconds of the oldest record not yet done with: Lambda's IteratorAge; 0 when idle."""
        oldest = self._work[0].records[0] if self._work else self._pending[0] if self._pending else None
        return max(0.0, now - _created_at(oldest)) if oldest else 0.0

    def next(self, now: float, *, flush: bool = False) -> Invoke | Discard | Wait:
        """Say what to do now. An `Invoke` must be followed by `answered`.

        Args:
            now: epoch seconds.
            flush: do not wait for a batching window to end.
        """
        if self._discards:
            return self._discards.popleft()
        if not self._work:
            if not self._pending:
                return Wait(None)
            window_ends_at = self._window_began_at + self._settings.window_seconds
            if len(self._pending) < self._settings.batch_size and now < window_ends_at and not flush:
                return Wait(window_ends_at)
            size = min(self._settings.batch_size, len(self._pending))
            self._work.append(_Batch(tuple(self._pending.popleft() for _ in range(size))))
            self._window_began_at = now
        if expired := self._expired(now):
            return expired
        batch = self._work[0]
        return Wait(batch.not_before) if now < batch.not_before else Invoke(batch.records)

    def answered(self, answer: Answer, now: float) -> None:
        """Take in what the function said to the last `Invoke`."""
        batch = self._work.popleft()
        if answer.result is Result.THROTTLED:
            batch.throttles += 1
            batch.not_before = now + _backoff(batch.throttles)
            self._work.appendleft(batch)
            return
        self.counts.invocations += 1
        batch.invocations += 1
        batch.raised = answer.result is Result.FAILED
        if answer.result is Result.PASSED:
            self.counts.passed += len(batch.records)
            return
        self.counts.failures += 1
        moved = answer.first_failed if answer.result is Result.PARTLY else 0
        self.counts.passed += moved
        batch.records = batch.records[moved:]
        if not self._settings.bisects:
            self._retry(batch, now)
        elif moved:
            # Split at the reported record: what is before it is done with, and a split costs no retry.
            self._work.appendleft(batch)
        elif len(batch.records) > 1:
            middle = len(batch.records) // 2
            for half in (batch.records[middle:], batch.records[:middle]):
                self._work.appendleft(_Batch(half, batch.retries, 0, batch.invocations, batch.raised))
        else:
            self._retry(batch, now)

    def _retry(self, batch: _Batch, now: float) -> None:
        if 0 <= self._settings.retries <= batch.retries:
            self._give_up(batch.records, OUT_OF_RETRIES, batch)
            return
        batch.retries += 1
        batch.not_before = now + _backoff(batch.retries)
        self._work.appendleft(batch)

    def _expired(self, now: float) -> Discard | None:
        """Take the records that are too old off the front; they are the oldest, so nothing before them is left."""
        if self._settings.record_age_seconds < 0:
            return None
        batch = self._work[0]
        limit = now - self._settings.record_age_seconds
        count = next((i for i, r in enumerate(batch.records) if _created_at(r) >= limit), len(batch.records))
        if not count:
            return None
        self._give_up(batch.records[:count], TOO_OLD, batch)
        batch.records = batch.records[count:]
        if not batch.records:
            self._work.popleft()
        return self._discards.popleft()

    def _give_up(self, records: tuple[Record, ...], condition: str, batch: _Batch) -> None:
        self.counts.discarded += len(records)
        self._discards.append(Discard(records, condition, batch.invocations, batch.raised))


def _backoff(attempt: int) -> float:
    return min(FIRST_BACKOFF_SECONDS * 2 ** min(attempt - 1, 10), LONGEST_BACKOFF_SECONDS)


def _created_at(record: Mapping[str, Any]) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def failure_message(discard: Discard, settings: MappingSettings, shard_id: str, now: float) -> dict[str, Any]:
    """Return what Lambda tells an on-failure destination: where the records are in the stream, not what they hold."""
    response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    if discard.raised:
        response["functionError"] = "Unhandled"
    message: dict[str, Any] = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": settings.function_arn,
            "condition": discard.condition,
            "approximateInvokeCount": discard.invocations,
        },
        "version": "1.0",
        "timestamp": _iso(now),
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": sequence_number(discard.records[0]),
            "endSequenceNumber": sequence_number(discard.records[-1]),
            "approximateArrivalOfFirstRecord": _iso(_created_at(discard.records[0])),
            "approximateArrivalOfLastRecord": _iso(_created_at(discard.records[-1])),
            "batchSize": len(discard.records),
            "streamArn": settings.stream_arn,
        },
    }
    if discard.invocations:
        message["responseContext"] = response
    return message


def _iso(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
