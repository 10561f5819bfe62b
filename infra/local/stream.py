"""From the table's stream to a function, on the local AWS: what Lambda's event source mapping does, failures included.

The local AWS ships a poller of its own that loses the rest of a batch after a partial failure and retries for ever, so
`fixups` turns it off and this takes its place. Two parts:

- `Shard` is a pure state machine: records, answers and the time go in, what to do next comes out. It never waits.
- `StreamPoller` is a thread that reads the stream, does what the machines say and tells them how it went.

Semantics, from "Using AWS Lambda with Amazon DynamoDB" and its pages on batching, partial batch responses and error
handling (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html):

- a batch is sent when it is full or its window is over; records that match no filter are passed over;
- one batch of a shard at a time (parallelization factor 1), and a failing batch blocks what is behind it;
- a partial report moves the checkpoint to the lowest failed record; a malformed one fails the whole batch;
- with bisection a failed batch is halved, and a split costs no retry. A report that fails the first record is a failure
  of the whole batch, so it is halved as well: nothing of it succeeded;
- throttling costs no retry either, it only ages the records;
- what is too old or out of retries goes to the on-failure destination as shard and sequence numbers, never as data.
"""

import base64
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.emulator import LocalAwsError

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""One stream record in the shape in which Lambda hands it to a function."""

TOO_OLD = "MaximumRecordAgeExceeded"
OUT_OF_RETRIES = "RetryAttemptsExhausted"
FIRST_BACKOFF_SECONDS = 0.1
"""Lambda waits longer; what a function sees is the same."""
LONGEST_BACKOFF_SECONDS = 1.0
POLL_SECONDS = 0.1
READ_LIMIT = 1_000


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


# --- the thread ---


def to_wire(record: Mapping[str, Any], stream_arn: str) -> Record:
    """Turn a record as boto3 returns it into the JSON that Lambda hands to a function."""
    change = dict(record["dynamodb"])
    created_at = change["ApproximateCreationDateTime"]
    change["ApproximateCreationDateTime"] = created_at.timestamp() if isinstance(created_at, datetime) else created_at
    for image in ("Keys", "NewImage", "OldImage"):
        if image in change:
            change[image] = {name: _attribute(value) for name, value in change[image].items()}
    return {**record, "dynamodb": change, "eventSourceARN": stream_arn}


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {kind: base64.b64encode(content).decode()}
        case "BS":
            return {kind: [base64.b64encode(item).decode() for item in content]}
        case "M":
            return {kind: {name: _attribute(inner) for name, inner in content.items()}}
        case "L":
            return {kind: [_attribute(inner) for inner in content]}
        case _:
            return {kind: content}


@dataclass(frozen=True, slots=True)
class StreamClients:
    """The three AWS clients the poller needs; the Lambda client must neither retry nor time out before the function."""

    streams: Any
    functions: Any
    queues: Any


@dataclass(slots=True)
class _Reader:
    """Where a mapping stands in one shard of its stream."""

    settings: MappingSettings
    shard_id: str
    shard: Shard
    iterator: str | None
    last_sequence_number: str | None = None


@dataclass(slots=True)
class _Progress:
    """What the thread tells those who wait for it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    drained_at: float = 0.0
    failure: str | None = None
    draining: int = 0


class StreamPoller:
    """Plays every mapping of the local AWS's streams, in one thread."""

    def __init__(
        self,
        mappings: Sequence[MappingSettings],
        clients: StreamClients,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._mappings = tuple(mappings)
        self._clients = clients
        self._clock = clock
        self._readers: dict[tuple[str, str, str], _Reader] = {}
        self._queue_urls: dict[str, str] = {}
        self._progress = _Progress()
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream-poller", daemon=True)

    def start(self) -> Self:
        """Begin reading at the mappings' starting positions."""
        self._thread.start()
        return self

    def stop(self, seconds: float = 10.0) -> None:
        """End the thread once the invocation under way has ended; safe to call twice."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def counts(self) -> Counts:
        """Return what all shards have done together."""
        return sum((reader.shard.counts for reader in list(self._readers.values())), Counts())

    def age(self) -> float:
        """Return the age in seconds of the oldest record that no function is done with: Lambda's IteratorAge."""
        now = self._clock()
        return max((reader.shard.age(now) for reader in list(self._readers.values())), default=0.0)

    def wait_until_drained(self, timeout: float = 60.0) -> None:
        """Wait until everything that was in the streams at this call has been passed or given up.

        Batching windows are cut short meanwhile; retries keep their pauses.

        Raises:
            LocalAwsError: it took longer than `timeout` seconds, or the poller ended.
        """
        asked_at = time.monotonic()
        progress = self._progress
        with progress.changed:
            progress.draining += 1
            self._woken.set()
            try:
                done = progress.changed.wait_for(
                    lambda: progress.failure is not None or progress.drained_at > asked_at, timeout
                )
            finally:
                progress.draining -= 1
            if progress.failure is not None:
                raise LocalAwsError(f"the local stream stopped: {progress.failure}; start the local suite again")
            if not done:
                raise LocalAwsError(
                    f"the stream was not drained within {timeout:.0f} s (oldest record: {self.age():.0f} s); "
                    "a function may be failing: see its logs and the dead-letter queue"
                )

    def _run(self) -> None:
        reason = "it ended unexpectedly; see its log"
        try:
            while not self._stopping.is_set():
                began_at = time.monotonic()
                delivered = self._read()
                pause = self._work()
                if not delivered and all(reader.shard.idle for reader in self._readers.values()):
                    self._tell(drained_at=began_at)
                if not delivered:
                    self._woken.wait(pause)
                self._woken.clear()
            reason = "it was told to"
        except (BotoCoreError, ClientError, LocalAwsError) as error:
            reason = str(error)
            if not self._stopping.is_set():
                logger.warning("the local stream stopped: %s", reason)
        finally:
            self._tell(failure=reason)

    def _tell(self, *, drained_at: float | None = None, failure: str | None = None) -> None:
        with self._progress.changed:
            if drained_at is not None:
                self._progress.drained_at = drained_at
            if failure is not None:
                self._progress.failure = failure
            self._progress.changed.notify_all()

    def _read(self) -> int:
        """Read once from every shard that has room; returns how many records came."""
        delivered = 0
        for settings in self._mappings:
            self._discover(settings)
        for reader in self._readers.values():
            if reader.iterator is None or reader.shard.backlog >= READ_LIMIT:
                continue
            records = self._get_records(reader)
            if records:
                reader.last_sequence_number = sequence_number(records[-1])
                arn = reader.settings.stream_arn
                reader.shard.add((to_wire(record, arn) for record in records), self._clock())
            delivered += len(records)
        return delivered

    def _discover(self, settings: MappingSettings) -> None:
        if any(reader.settings is settings for reader in self._readers.values()):
            return
        # A local stream keeps its shards, so they are looked up until the first one shows and not again.
        described = self._clients.streams.describe_stream(StreamArn=settings.stream_arn)["StreamDescription"]
        for shard in described["Shards"]:
            shard_id = shard["ShardId"]
            iterator = self._clients.streams.get_shard_iterator(
                StreamArn=settings.stream_arn, ShardId=shard_id, ShardIteratorType=settings.starting_position
            )["ShardIterator"]
            key = (settings.function_arn, settings.stream_arn, shard_id)
            self._readers[key] = _Reader(settings, shard_id, Shard(settings), iterator)

    def _get_records(self, reader: _Reader) -> list[dict[str, Any]]:
        streams = self._clients.streams
        try:
            page = streams.get_records(ShardIterator=reader.iterator, Limit=READ_LIMIT)
        except streams.exceptions.ExpiredIteratorException:
            # An iterator lives 15 minutes; a shard may be blocked for longer.
            position = (
                {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": reader.last_sequence_number}
                if reader.last_sequence_number
                else {"ShardIteratorType": reader.settings.starting_position}
            )
            reader.iterator = streams.get_shard_iterator(
                StreamArn=reader.settings.stream_arn, ShardId=reader.shard_id, **position
            )["ShardIterator"]
            page = streams.get_records(ShardIterator=reader.iterator, Limit=READ_LIMIT)
        reader.iterator = page.get("NextShardIterator")
        records: list[dict[str, Any]] = page["Records"]
        return records

    def _work(self) -> float:
        """Do what is due on every shard; returns the seconds until something may be due again."""
        pause = POLL_SECONDS
        for reader in self._readers.values():
            while not self._stopping.is_set():
                now = self._clock()
                action = reader.shard.next(now, flush=self._progress.draining > 0)
                if isinstance(action, Wait):
                    if action.until is not None:
                        pause = min(pause, max(action.until - now, 0.001))
                    break
                if isinstance(action, Discard):
                    self._give_up(reader, action)
                else:
                    answer = self._invoke(reader.settings, action.records)
                    reader.shard.answered(answer, self._clock())
        return pause

    def _invoke(self, settings: MappingSettings, records: Sequence[Record]) -> Answer:
        payload = json.dumps({"Records": records}, separators=(",", ":")).encode()
        try:
            response = self._clients.functions.invoke(FunctionName=settings.function_arn, Payload=payload)
        except (BotoCoreError, ClientError) as error:
            logger.warning("the stream could not invoke its function: %s", type(error).__name__)
            return Answer(Result.THROTTLED)
        body = response["Payload"].read()
        if response.get("FunctionError"):
            return Answer(Result.FAILED)
        if not settings.reports_item_failures:
            return Answer(Result.PASSED)
        return read_answer(records, json.loads(body or b"null"))

    def _give_up(self, reader: _Reader, discard: Discard) -> None:
        arn = reader.settings.on_failure_arn
        if arn is None:
            return
        queues = self._clients.queues
        if arn not in self._queue_urls:
            self._queue_urls[arn] = queues.get_queue_url(QueueName=arn.rsplit(":", 1)[1])["QueueUrl"]
        message = failure_message(discard, reader.settings, reader.shard_id, self._clock())
        queues.send_message(QueueUrl=self._queue_urls[arn], MessageBody=json.dumps(message))
