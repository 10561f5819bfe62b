"""The local stream: Lambda's failure semantics, without a stream, a function or (but for the thread) a clock."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.emulator import LocalAwsError
from infra.local.stream import (
    OUT_OF_RETRIES,
    TOO_OLD,
    Answer,
    Counts,
    Discard,
    Invoke,
    MappingSettings,
    Record,
    Result,
    Shard,
    Wait,
    failure_message,
    matches,
    read_answer,
    sequence_number,
)
from infra.local.stream_poller import StreamClients, StreamPoller, to_wire

MAPPING = MappingSettings(
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:updater",
    stream_arn="arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/2026",
    batch_size=5,
    retries=2,
    record_age_seconds=3_600,
    bisects=True,
    reports_item_failures=True,
    on_failure_arn="arn:aws:sqs:us-east-1:000000000000:dead",
    filters=({"eventName": ["INSERT"], "dynamodb": {"Keys": {"sk": {"S": [{"prefix": "INT#"}]}}}},),
)
START = 1_795_348_800.0
Function = Callable[[Sequence[Record]], Answer]


def record(number: int, *, event: str = "INSERT", sk: str | None = None, at: float = START) -> Record:
    return {
        "eventID": f"e{number}",
        "eventName": event,
        "dynamodb": {
            "ApproximateCreationDateTime": at,
            "Keys": {"pk": {"S": "USER#1#2"}, "sk": {"S": sk or f"INT#{number}"}},
            "SequenceNumber": f"{number:021}",
        },
    }


def number(of: Record) -> int:
    return int(sequence_number(of))


def numbers(of: Sequence[Record]) -> list[int]:
    return [number(one) for one in of]


class Run:
    """Drives a shard to its end, moving a clock of its own past every wait."""

    def __init__(self, mapping: MappingSettings, function: Function) -> None:
        self.shard = Shard(mapping)
        self.function = function
        self.now = START
        self.batches: list[list[int]] = []
        self.discards: list[Discard] = []
        self.done: list[int] = []
        """Records passed or given up, in the order in which the shard was done with them."""

    def add(self, records: Sequence[Record]) -> None:
        self.shard.add(records, self.now)

    def until_idle(self, limit: int = 10_000) -> None:
        for _ in range(limit):
            action = self.shard.next(self.now)
            match action:
                case Wait(None):
                    return
                case Wait(float(until)):
                    assert until > self.now
                    self.now = until
                case Discard():
                    self.discards.append(action)
                    self.done += numbers(action.records)
                case Invoke(records):
                    self.batches.append(numbers(records))
                    answer = self.function(records)
                    if answer.result is Result.PASSED:
                        self.done += numbers(records)
                    elif answer.result is Result.PARTLY:
                        self.done += numbers(records)[: answer.first_failed]
                    self.shard.answered(answer, self.now)
        pytest.fail(f"not idle after {limit} steps")


def passes(_: Sequence[Record]) -> Answer:
    return Answer(Result.PASSED)


class Counting:
    """A function that counts what it sees and stops at the first record it cannot deal with, once or for ever."""

    def __init__(self, bad: set[int], *, transient: bool) -> None:
        self.bad = bad
        self.transient = transient
        self.seen: Counter[int] = Counter()
        self.applied: list[int] = []

    def __call__(self, records: Sequence[Record]) -> Answer:
        for one in records:
            self.seen[number(one)] += 1
            if number(one) in self.bad:
                if self.transient:
                    self.bad.discard(number(one))
                return read_answer(records, {"batchItemFailures": [{"itemIdentifier": sequence_number(one)}]})
            self.applied.append(number(one))
        return read_answer(records, {"batchItemFailures": []})


# --- partial batches ---


@pytest.mark.parametrize("bisects", [True, False])
@pytest.mark.parametrize("index", range(5))
def test_a_transient_failure_at_any_index_loses_nothing_and_counts_nothing_twice(index: int, bisects: bool) -> None:
    """R23: retried from the lowest failed sequence; what passed before it is not sent again."""
    function = Counting({index}, transient=True)
    run = Run(replace(MAPPING, bisects=bisects), function)
    run.add([record(i) for i in range(5)])

    run.until_idle()

    assert function.applied == [0, 1, 2, 3, 4]
    assert run.discards == []
    assert function.seen == Counter({i: 2 if i == index else 1 for i in range(5)})
    if index or not bisects:
        assert run.batches == [[0, 1, 2, 3, 4], list(range(index, 5))]


def test_the_lowest_reported_sequence_decides_whatever_the_order_of_the_report() -> None:
    """R23: a report of several failures retries from the lowest one."""
    records = [record(i) for i in range(5)]
    reported = [{"itemIdentifier": sequence_number(records[i])} for i in (4, 2, 3)]

    assert read_answer(records, {"batchItemFailures": reported}) == Answer(Result.PARTLY, 2)


@pytest.mark.parametrize("payload", [None, {}, [], {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_an_empty_response_passes_the_batch(payload: object) -> None:
    assert read_answer([record(1)], payload) == Answer(Result.PASSED)


@pytest.mark.parametrize(
    "failure",
    [
        {"itemIdentifier": ""},
        {"itemIdentifier": None},
        {"itemIdentifier": "7"},
        {"itemIdentifier": 1},
        {"id": "1"},
        "1",
    ],
)
def test_a_malformed_report_fails_the_whole_batch(failure: object) -> None:
    payload = {"batchItemFailures": [{"itemIdentifier": sequence_number(record(1))}, failure]}

    assert read_answer([record(1)], payload) == Answer(Result.FAILED)


def test_a_response_that_is_no_report_fails_the_whole_batch() -> None:
    assert read_answer([record(1)], "done") == Answer(Result.FAILED)


# --- poison ---


@pytest.mark.parametrize("index", range(5))
def test_a_poison_record_is_retried_to_the_limit_and_only_it_is_given_up(index: int) -> None:
    """R26: after finite retries the poison is in the dead-letter queue with its ids, and later records flow."""
    function = Counting({index}, transient=False)
    run = Run(MAPPING, function)
    run.add([record(i) for i in range(12)])

    run.until_idle()

    (discard,) = run.discards
    assert numbers(discard.records) == [index]
    assert discard.condition == OUT_OF_RETRIES
    # One record alone is tried once and then retried twice; the batches it was in before came on top.
    assert run.batches.count([index]) == 1 + MAPPING.retries
    assert function.applied == [i for i in range(12) if i != index]


def test_a_function_that_raises_is_bisected_down_to_the_poison() -> None:
    """R26: without a report the batch is halved until the poison is alone; a split costs no retry."""

    def raises_on_three(records: Sequence[Record]) -> Answer:
        return Answer(Result.FAILED if 3 in numbers(records) else Result.PASSED)

    run = Run(replace(MAPPING, batch_size=4, reports_item_failures=False), raises_on_three)
    run.add([record(i) for i in range(6)])

    run.until_idle()

    assert run.batches == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [3], [3], [4, 5]]
    assert [numbers(discard.records) for discard in run.discards] == [[3]]
    assert run.discards[0].raised


def test_without_bisection_what_is_out_of_retries_takes_the_rest_of_its_batch_along() -> None:
    """R26: as Lambda does; the reason why the mapping must bisect (R80)."""
    function = Counting({2}, transient=False)
    run = Run(replace(MAPPING, bisects=False), function)
    run.add([record(i) for i in range(8)])

    run.until_idle()

    assert run.batches == [[0, 1, 2, 3, 4], [2, 3, 4], [2, 3, 4], [5, 6, 7]]
    assert [numbers(discard.records) for discard in run.discards] == [[2, 3, 4]]


def test_the_age_grows_while_a_poison_blocks_the_shard_and_recovers() -> None:
    """R26: the iterator age shows the blocked shard and returns to 0."""
    run = Run(MAPPING, Counting({0}, transient=False))
    run.add([record(i) for i in range(3)])
    run.now += 100

    assert run.shard.age(run.now) == 100
    assert isinstance(run.shard.next(run.now), Invoke)
    run.shard.answered(Answer(Result.FAILED), run.now)
    run.now += 50
    assert run.shard.age(run.now) == 150
    assert not run.shard.idle
    run.until_idle()

    assert run.shard.idle
    assert run.shard.age(run.now) == 0
    assert run.shard.counts.passed == 2
    assert run.shard.counts.discarded == 1


def test_a_failing_batch_blocks_what_is_behind_it() -> None:
    """R23: one batch of a shard at a time, in order; records that arrive meanwhile wait."""
    shard = Shard(MAPPING)
    shard.add([record(0)], START)
    assert shard.next(START) == Invoke((record(0),))
    shard.answered(Answer(Result.FAILED), START)
    shard.add([record(i) for i in range(1, 9)], START)

    action = shard.next(START)

    assert isinstance(action, Wait)
    assert action.until is not None
    assert shard.next(action.until) == Invoke((record(0),))


def test_throttling_costs_no_retry() -> None:
    answers = iter([Answer(Result.THROTTLED)] * 20 + [Answer(Result.PASSED)])
    run = Run(replace(MAPPING, retries=0), lambda _: next(answers))
    run.add([record(1)])

    run.until_idle()

    assert run.discards == []
    assert run.shard.counts.passed == 1
    assert run.shard.counts.invocations == 1


def test_retries_without_an_end_go_on_until_the_records_are_too_old() -> None:
    run = Run(replace(MAPPING, retries=-1, record_age_seconds=60), lambda _: Answer(Result.FAILED))
    run.add([record(1)])

    run.until_idle()

    (discard,) = run.discards
    assert discard.condition == TOO_OLD
    assert discard.invocations > 10
    assert 60 < run.now - START < 70


def test_records_that_are_too_old_are_given_up_before_they_are_sent() -> None:
    run = Run(MAPPING, passes)
    run.now += 4_000
    run.add([record(0), record(1), record(2, at=run.now)])

    run.until_idle()

    assert [numbers(discard.records) for discard in run.discards] == [[0, 1]]
    assert run.discards[0].condition == TOO_OLD
    assert run.discards[0].invocations == 0
    assert run.batches == [[2]]


# --- batches and filters ---


def test_a_batch_waits_for_its_window_unless_it_is_full() -> None:
    shard = Shard(replace(MAPPING, window_seconds=10))
    shard.add([record(0)], START)

    assert shard.next(START) == Wait(START + 10)
    shard.add([record(1)], START + 9)
    assert shard.next(START + 9) == Wait(START + 10)
    assert shard.next(START + 10) == Invoke((record(0), record(1)))

    full = Shard(replace(MAPPING, window_seconds=10))
    full.add([record(i) for i in range(7)], START)
    assert full.next(START) == Invoke(tuple(record(i) for i in range(5)))


def test_draining_does_not_wait_for_a_window() -> None:
    shard = Shard(replace(MAPPING, window_seconds=300))
    shard.add([record(0)], START)

    assert shard.next(START, flush=True) == Invoke((record(0),))


@pytest.mark.parametrize(
    "passed_over",
    [
        record(1, event="REMOVE"),  # the time to live
        record(1, event="MODIFY", sk="PATTERN"),  # our own write: it would loop
        record(1, event="INSERT", sk="PROFILE"),
        record(1, event="MODIFY"),
        record(1, event="INSERT", sk="OUT#re_engagement#2026-W47"),
    ],
)
def test_records_of_no_interest_never_reach_the_function(passed_over: Record) -> None:
    """R25: removals, our own writes and profiles have no effect and make no loop."""
    run = Run(MAPPING, passes)
    run.add([passed_over, record(2)])

    run.until_idle()

    assert run.batches == [[2]]
    assert run.shard.counts.filtered == 1


def test_a_record_needs_to_match_one_of_several_filters() -> None:
    run = Run(replace(MAPPING, filters=(*MAPPING.filters, {"eventName": ["REMOVE"]})), passes)
    run.add([record(1), record(2, event="MODIFY"), record(3, event="REMOVE", sk="PROFILE")])

    run.until_idle()

    assert run.batches == [[1, 3]]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"eventName": ["INSERT", "MODIFY"]}, True),
        ({"eventName": ["MODIFY"]}, False),
        ({"eventName": [{"anything-but": ["REMOVE"]}]}, True),
        ({"eventName": [{"anything-but": "INSERT"}]}, False),
        ({"dynamodb": {"Keys": {"sk": {"S": [{"suffix": "#1"}]}}}}, True),
        ({"dynamodb": {"OldImage": [{"exists": False}]}}, True),
        ({"dynamodb": {"OldImage": {"kind": {"S": ["interaction"]}}}}, False),
        ({"userIdentity": [{"exists": True}]}, False),
        ({"absent": [None]}, False),
        ({}, True),
    ],
)
def test_filter_patterns_match_as_lambda_documents(pattern: dict[str, Any], expected: bool) -> None:
    assert matches(record(1), pattern) is expected


def test_an_unknown_filter_operator_is_refused_rather_than_ignored() -> None:
    with pytest.raises(LocalAwsError, match="numeric"):
        matches(record(1), {"eventName": [{"numeric": [">", 1]}]})


# --- what the mapping says, and what the dead-letter queue is told ---


def test_a_mapping_is_read_from_lambdas_own_description() -> None:
    described = {
        "FunctionArn": MAPPING.function_arn,
        "EventSourceArn": MAPPING.stream_arn,
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 5,
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRetryAttempts": 2,
        "MaximumRecordAgeInSeconds": 3_600,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": MAPPING.on_failure_arn}},
        "FilterCriteria": {"Filters": [{"Pattern": json.dumps(MAPPING.filters[0])}]},
        "ParallelizationFactor": 1,
    }

    assert MappingSettings.from_api(described) == MAPPING
    with pytest.raises(LocalAwsError, match="ParallelizationFactor"):
        MappingSettings.from_api({**described, "ParallelizationFactor": 4})


def test_the_failure_message_holds_ids_and_no_data() -> None:
    """R26: the dead letter names shard and sequence numbers; R20: never what the records hold."""
    discard = Discard((record(7), record(8, at=START + 2)), OUT_OF_RETRIES, 3, raised=True)

    message = failure_message(discard, MAPPING, "shard-1", START + 10)

    assert message["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert message["requestContext"]["approximateInvokeCount"] == 3
    assert message["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert message["DDBStreamBatchInfo"] == {
        "shardId": "shard-1",
        "startSequenceNumber": sequence_number(record(7)),
        "endSequenceNumber": sequence_number(record(8)),
        "approximateArrivalOfFirstRecord": "2026-11-22T12:00:00.000Z",
        "approximateArrivalOfLastRecord": "2026-11-22T12:00:02.000Z",
        "batchSize": 2,
        "streamArn": MAPPING.stream_arn,
    }
    assert "USER#" not in json.dumps(message)


def test_binary_attributes_travel_as_base64_at_any_depth() -> None:
    change = {
        "ApproximateCreationDateTime": START,
        "SequenceNumber": "1",
        "Keys": {"pk": {"S": "a"}},
        "NewImage": {"b": {"B": b"\x00\xff"}, "m": {"M": {"l": {"L": [{"BS": [b"x"]}, {"N": "1"}]}}}},
    }

    wire = to_wire({"eventName": "INSERT", "dynamodb": change}, MAPPING.stream_arn)

    assert wire["dynamodb"]["NewImage"] == {
        "b": {"B": "AP8="},
        "m": {"M": {"l": {"L": [{"BS": ["eA=="]}, {"N": "1"}]}}},
    }
    assert wire["eventSourceARN"] == MAPPING.stream_arn
    assert json.loads(json.dumps(wire)) == wire


# --- the thread ---


class ExpiredIteratorError(Exception):
    """As botocore makes it of an error code."""


class Streams:
    """A stream with one shard, as the DynamoDB Streams API answers."""

    exceptions = SimpleNamespace(ExpiredIteratorException=ExpiredIteratorError)

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.expired = False

    def write(self, count: int) -> None:
        for _ in range(count):
            one = record(len(self.records), at=time.time())
            self.records.append({**one, "dynamodb": {**one["dynamodb"], "NewImage": {"b": {"B": b"x"}}}})

    def describe_stream(self, **_: str) -> dict[str, Any]:
        return {"StreamDescription": {"Shards": [{"ShardId": "shard-1"}]}}

    def get_shard_iterator(self, **request: str) -> dict[str, str]:
        after = request.get("SequenceNumber")
        assert request["ShardIteratorType"] == ("AFTER_SEQUENCE_NUMBER" if after else "TRIM_HORIZON")
        return {"ShardIterator": str(int(after) + 1) if after else "0"}

    def get_records(self, **request: Any) -> dict[str, Any]:
        if self.expired:
            self.expired = False
            raise ExpiredIteratorError
        start = int(request["ShardIterator"])
        page = self.records[start : start + request["Limit"]]
        return {"Records": page, "NextShardIterator": str(start + len(page))}


class Functions:
    """A function that keeps the numbers of the records it gets, and fails on some."""

    def __init__(self, poison: set[int] | None = None) -> None:
        self.poison = poison or set()
        self.throttled = 0
        self.got: list[int] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        if self.throttled:
            self.throttled -= 1
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        records = json.loads(request["Payload"])["Records"]
        bad = next((one for one in records if number(one) in self.poison), None)
        failures = [{"itemIdentifier": sequence_number(bad)}] if bad else []
        self.got += [number(one) for one in (records[: records.index(bad)] if bad else records)]
        return {"Payload": io.BytesIO(json.dumps({"batchItemFailures": failures}).encode())}


class Queues:
    """A queue that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def get_queue_url(self, **request: str) -> dict[str, str]:
        assert request == {"QueueName": "dead"}
        return {"QueueUrl": "http://queue"}

    def send_message(self, **request: str) -> None:
        assert request["QueueUrl"] == "http://queue"
        self.sent.append(json.loads(request["MessageBody"]))


@pytest.fixture
def poll() -> Iterator[Callable[..., StreamPoller]]:
    started: list[StreamPoller] = []

    def start(streams: Any, functions: Any, queues: Any = None, **changes: Any) -> StreamPoller:
        clients = StreamClients(streams=streams, functions=functions, queues=queues or Queues())
        started.append(StreamPoller([replace(MAPPING, **changes)], clients).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_drained_means_that_everything_written_before_has_arrived(poll: Callable[..., StreamPoller]) -> None:
    streams, functions = Streams(), Functions()
    poller = poll(streams, functions, window_seconds=300, batch_size=100)

    for _ in range(3):
        streams.write(7)
        poller.wait_until_drained(5)
        assert functions.got == list(range(len(streams.records)))

    assert poller.counts() == Counts(passed=21, invocations=3)
    assert poller.age() == 0


def test_the_poller_tells_the_dead_letter_queue_and_goes_on(poll: Callable[..., StreamPoller]) -> None:
    """R26: the poison's ids are in the queue, its neighbours reach the function."""
    streams, functions, queues = Streams(), Functions({3}), Queues()
    functions.throttled = 2
    streams.write(8)
    poller = poll(streams, functions, queues, retries=1)

    poller.wait_until_drained(10)

    assert functions.got == [0, 1, 2, 4, 5, 6, 7]
    (letter,) = queues.sent
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"] == sequence_number(record(3))
    assert letter["DDBStreamBatchInfo"]["shardId"] == "shard-1"


def test_an_expired_iterator_loses_nothing_and_repeats_nothing(poll: Callable[..., StreamPoller]) -> None:
    streams, functions = Streams(), Functions()
    poller = poll(streams, functions)
    streams.write(5)
    poller.wait_until_drained(5)

    streams.expired = True
    streams.write(5)
    poller.wait_until_drained(5)

    assert functions.got == list(range(10))


def test_who_waits_for_a_stream_that_ended_is_told_why(poll: Callable[..., StreamPoller]) -> None:
    class Broken(Streams):
        def get_records(self, **_: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "InternalServerError"}}, "GetRecords")

    poller = poll(Broken(), Functions())

    with pytest.raises(LocalAwsError, match="InternalServerError"):
        poller.wait_until_drained(5)


def test_waiting_ends_with_the_time_allowed(poll: Callable[..., StreamPoller]) -> None:
    streams, functions = Streams(), Functions()
    functions.throttled = 10**6
    streams.write(1)
    poller = poll(streams, functions)

    with pytest.raises(LocalAwsError, match="not drained within"):
        poller.wait_until_drained(0.3)


# --- anything may fail, at any time ---

SCRIPTS = st.lists(st.sampled_from(["pass", "fail", "throttle", 0, 1, 2, 3, 4]), max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    script=SCRIPTS,
    count=st.integers(1, 30),
    batch_size=st.integers(1, 6),
    retries=st.integers(0, 3),
    bisects=st.booleans(),
    poison=st.sets(st.integers(0, 29), max_size=4),
    arrivals=st.lists(st.integers(1, 7), max_size=10),
)
def test_whatever_fails_every_record_passes_or_is_given_up_in_order(
    script: list[str | int],
    count: int,
    batch_size: int,
    retries: int,
    bisects: bool,
    poison: set[int],
    arrivals: list[int],
) -> None:
    """R23, R26: nothing is lost, nothing passes twice, order holds, poison ends in the dead-letter queue."""
    answers = iter(script)

    def function(records: Sequence[Record]) -> Answer:
        said = next(answers, "pass")
        if said == "throttle":
            return Answer(Result.THROTTLED)
        if said == "fail":
            return Answer(Result.FAILED)
        bad = [i for i, one in enumerate(records) if number(one) in poison or i == said]
        return Answer(Result.PARTLY, bad[0]) if bad else Answer(Result.PASSED)

    mapping = replace(MAPPING, batch_size=batch_size, retries=retries, bisects=bisects, record_age_seconds=-1)
    run = Run(mapping, function)
    waiting = [record(i) for i in range(count)]
    for size in [*arrivals, count]:
        run.add(waiting[:size])
        waiting = waiting[size:]
        run.until_idle()

    given_up = [n for discard in run.discards for n in numbers(discard.records)]
    assert run.done == list(range(count))
    assert poison & set(range(count)) <= set(given_up)
    assert run.shard.idle
    assert run.shard.counts.discarded == len(given_up)
    assert run.shard.counts.passed == count - len(given_up)
    for batch in run.batches:
        assert len(batch) <= batch_size
        assert batch == list(range(batch[0], batch[0] + len(batch)))
    if bisects:
        assert all(len(discard.records) == 1 for discard in run.discards)
