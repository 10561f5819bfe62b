"""The thread that reads the local AWS's streams, does what `infra.local.stream` says, and tells it how that went."""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.emulator import LocalAwsError
from infra.local.stream import (
    Answer,
    Counts,
    Discard,
    MappingSettings,
    Record,
    Result,
    Shard,
    Wait,
    failure_message,
    read_answer,
    sequence_number,
)

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""Lambda's own base rate; whoever waits for the stream wakes it."""
READ_LIMIT = 1_000


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
