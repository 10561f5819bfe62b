"""The deployed stack: one update travels over HTTP, through table and stream, to a sent message."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlparse

import pytest

from engagement.domain.callbacks import PREFIX, Button
from engagement.domain.outreach import OutreachState
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import decode
from engagement.domain.profile import Consent
from engagement.store import keys
from engagement.store.table import InteractionItem, Item, OutreachItem, PatternItem, ProfileItem
from infra.local.suite import BOT_ID, CALLBACK_KEY, LocalSuite

OpenChat = Callable[..., Any]
START = datetime(2026, 9, 7, 18, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def partition(user_id: int) -> str:
    return keys.user(BOT_ID, user_id)


def interactions(user_id: int) -> list[InteractionItem]:
    found = InteractionItem.query(partition(user_id), InteractionItem.sk.startswith(keys.INTERACTION_PREFIX))
    return list(found)


def pattern(user_id: int) -> Pattern:
    return decode(PatternItem.get(partition(user_id), keys.PATTERN, consistent_read=True).state)


def profile(user_id: int) -> ProfileItem:
    return ProfileItem.get(partition(user_id), keys.PROFILE, consistent_read=True)


def outreaches(user_id: int) -> list[OutreachItem]:
    return list(OutreachItem.query(partition(user_id), OutreachItem.sk.startswith(keys.OUTREACH_PREFIX)))


def post(suite: LocalSuite, body: bytes, **headers: str) -> int:
    """Post what anybody on the internet could."""
    address = urlparse(suite.webhook_address)
    connection = http.client.HTTPConnection(address.netloc, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", address.path, body, {"content-type": "application/json", **named})
        return connection.getresponse().status
    finally:
        connection.close()


# --- in ---


def test_the_stack_is_deployed_with_its_outputs(suite: LocalSuite) -> None:
    functions = {"Webhook", "PatternUpdater", "Scorer", "OutreachSender", "Housekeeper"}

    assert {f"{name}FunctionName" for name in functions} <= set(suite.outputs)
    assert {"WebhookUrl", "TableName", "ModelBucketName", "DeadLetterQueueUrl"} <= set(suite.outputs)
    assert suite.deployment.stack_name == "Rekindle-local"


def test_only_the_secret_opens_the_door(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    """R1: absent, empty, wrong, shortened, lengthened and non-ASCII secrets are 401 and write nothing."""
    someone = chat()
    secret = suite.webhook_secret
    body = json.dumps(someone.message("hello", START)).encode()
    before = Item.count()
    wrong = ["", "wrong", secret[:-1], secret + "x", secret.upper(), "gehe\xfcim\xff"]

    answers = [post(suite, body)] + [post(suite, body, x_telegram_bot_api_secret_token=one) for one in wrong]

    assert answers == [401] * 7
    assert Item.count() == before
    assert post(suite, body, X_Telegram_Bot_Api_Secret_Token=secret) == 200
    assert len(interactions(someone.user_id)) == 1


def test_an_update_becomes_an_interaction_and_the_stream_makes_it_a_pattern(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R16, R22, R28, R90: what they did by themselves is folded once, by its own time; /start and a press are not."""
    someone = chat()
    someone.consents(START - HOUR)
    for day in range(3):
        for minute in range(4):
            assert someone.says("I love this!", START + day * DAY + timedelta(minutes=minute)).status == 200

    suite.wait_until_drained()

    stored = interactions(someone.user_id)
    learned = pattern(someone.user_id)
    own = [item for item in stored if item.control is None]
    assert len(own) == learned.total == 12
    assert sorted(item.control for item in stored if item.control) == ["answer", "command"]
    assert len(learned.days) == 3
    assert learned.first_at == int(START.timestamp())
    assert {item.sentiment_type for item in own} <= {"positive", "very_positive"}
    assert profile(someone.user_id).first_name == "Ada"


def test_an_update_delivered_again_and_again_counts_once(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    """R3: in parallel, one after the other and 23 hours later: one interaction, one effect, all 200."""
    someone = chat()
    someone.says("first", START)
    update = someone.message("once", START + HOUR)

    with ThreadPoolExecutor(4) as together:
        answers = list(together.map(lambda _: someone.posts(update, START + HOUR).status, range(4)))
    answers += [someone.posts(update, START + HOUR).status for _ in range(3)]
    answers.append(someone.posts(update, START + 24 * HOUR).status)
    suite.wait_until_drained()

    assert answers == [200] * 8
    assert len(interactions(someone.user_id)) == 2
    assert pattern(someone.user_id).total == 2


def test_the_bot_answers_commands_in_the_webhooks_response(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    """R10: the answer to /start travels back; the press of Yes is answered once and remembered."""
    someone = chat("<b>Ada & Grace</b>")

    someone.consents(START)

    assert [message.via for message in someone.received()] == ["response"]
    assert "<b>Ada & Grace</b>" in someone.received()[0].text
    assert profile(someone.user_id).consent == Consent.GRANTED


def test_our_own_writes_go_round_no_loop(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    """R25: patterns and profiles are filtered out, and once drained the stream stays quiet."""
    someone = chat()
    suite.wait_until_drained()
    before = suite.stream.counts()
    someone.says("hello", START)
    suite.wait_until_drained()
    after = suite.stream.counts()

    time.sleep(0.5)
    suite.wait_until_drained()

    assert after.passed == before.passed + 1
    assert after.filtered > before.filtered
    assert suite.stream.counts() == after


def test_a_poison_record_ends_in_the_dead_letter_queue_and_later_records_flow(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R26: finite retries, then ids in the queue; the age recovers. R23: its neighbours lose nothing."""
    suite.dead_letters()
    someone = chat()
    someone.says("before", START)
    suite.client("dynamodb").put_item(
        TableName=store,
        Item={"pk": {"S": partition(someone.user_id)}, "sk": {"S": "INT#poison"}, "kind": {"S": "interaction"}},
    )
    for minute in range(3):
        someone.says("after", START + timedelta(minutes=minute + 1))

    suite.wait_until_drained()

    (letter,) = suite.dead_letters()
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"]
    assert pattern(someone.user_id).total == 4
    assert suite.stream.age() == 0


# --- out ---


def regular(chat: Any) -> datetime:
    """Let somebody consent and write every evening for ten days; returns when they were last seen."""
    chat.consents(START)
    for day in range(10):
        for minute in range(3):
            chat.says("That was great, thank you!", START + day * DAY + timedelta(minutes=10 * minute + 1))
    return START + 9 * DAY


def test_the_silent_are_written_to_once_unless_they_stopped_blocked_or_never_agreed(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R37, R42, R52, R57: from silence to one message in the chat of those, and only those, who may be written to."""
    willing, stopped, blocked, silent_on_consent = chat("Ada <3 & co"), chat(), chat(), chat()
    for person in (willing, stopped, blocked):
        last_seen = regular(person)
    for day in range(10):
        silent_on_consent.says("hello", START + day * DAY)
    suite.wait_until_drained()

    # Given: days pass until the scorer plans something for those who agreed
    reports = []
    for day in range(1, 40):
        now = last_seen + day * DAY
        reports += suite.tick("scorer", now)
        if all(outreaches(person.user_id) for person in (willing, stopped, blocked)):
            break
    suite.tick("scorer", now)
    planned = {person.user_id: outreaches(person.user_id) for person in (willing, stopped, blocked, silent_on_consent)}
    assert [len(found) for found in planned.values()] == [1, 1, 1, 0]
    assert sum(report["scored"] for report in reports) >= 4

    # When: two of them change their minds, and the sender ticks through a day, sometimes twice
    stopped.says("/stop", now)
    blocked.blocks(now)
    for hour in range(26):
        at = now + hour * HOUR
        suite.clock.set(at)
        suite.tick("outreach_sender", at)
        if hour % 8 == 0:
            suite.tick("outreach_sender", at)
        if hour % 24 == 12:
            suite.tick("scorer", at)

    # Then: one message, to the one who is still willing
    (message,) = willing.outreach()
    assert stopped.outreach() == blocked.outreach() == silent_on_consent.outreach() == []
    assert "Ada <3 & co" in message.text
    buttons = [button for row in (message.reply_markup or {})["inline_keyboard"] for button in row]
    said = [button["callback_data"].split(":")[:2] for button in buttons]
    assert [PREFIX, Button.STOP_TYPE] in said
    assert [PREFIX, Button.STOP_ALL] in said
    assert "allow_paid_broadcast" not in message.params
    states = {user_id: [OutreachItem.get(i.pk, i.sk).state for i in items] for user_id, items in planned.items()}
    assert states[willing.user_id] == [OutreachState.SENT]
    for person in (stopped, blocked):
        assert states[person.user_id][0] not in {OutreachState.SENT, OutreachState.SENDING, OutreachState.UNKNOWN}
    assert profile(willing.user_id).cap_count == 1


def test_the_housekeeper_finds_the_webhook_healthy(suite: LocalSuite) -> None:
    """R88: the registered address is the stack's, with every kind of update that we read."""
    (report,) = suite.tick("housekeeper", START)

    assert not report["faults"]


# --- what is kept to itself ---


def everything_written(suite: LocalSuite) -> str:
    """Return the table, the stream, the logs and the dead letters as one text."""
    found: list[Any] = [
        page["Items"] for page in suite.client("dynamodb").get_paginator("scan").paginate(TableName=suite.table_name)
    ]
    streams, logs = suite.client("dynamodbstreams"), suite.client("logs")
    for stream in streams.list_streams(TableName=suite.table_name)["Streams"]:
        arn = stream["StreamArn"]
        for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
            iterator = streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while records := (page := streams.get_records(ShardIterator=iterator))["Records"]:
                found.append(records)
                iterator = page["NextShardIterator"]
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            found.append(logs.filter_log_events(logGroupName=group["logGroupName"])["events"])
    found.append(suite.dead_letters())
    return repr(found)


def test_words_and_secrets_are_nowhere(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    """R20, R58, R85: message text is in no item, stream record, log line or dead letter; no secret is anywhere."""
    someone = chat("Zanzibar")
    someone.says("my secret canary is qxzebra9137, don't tell!", START)
    post(
        suite,
        b'{"update_id": 1, "message": {"text": "qxzebra9137"',
        x_telegram_bot_api_secret_token=suite.webhook_secret,
    )
    suite.wait_until_drained()

    written = everything_written(suite)
    configured = repr(
        [
            suite.client("lambda").get_function_configuration(FunctionName=name)
            for key, name in suite.outputs.items()
            if key.endswith("FunctionName")
        ]
    ) + json.dumps(suite.deployment.template)

    assert "Zanzibar" in written  # the search looks where it should
    assert "qxzebra" not in written
    token = suite.telegram.webhook.secret_token
    for secret in (suite._token, suite._token.partition(":")[2], suite.webhook_secret, token, CALLBACK_KEY):
        assert secret not in written
        assert secret not in configured


# --- what the local AWS leaves out ---


def test_what_the_local_aws_drops_is_applied(suite: LocalSuite) -> None:
    """R82, R84: time to live, recovery and reserved copies are as the template says."""
    tables, functions = suite.client("dynamodb"), suite.client("lambda")

    ttl = tables.describe_time_to_live(TableName=suite.table_name)["TimeToLiveDescription"]
    backups = tables.describe_continuous_backups(TableName=suite.table_name)["ContinuousBackupsDescription"]
    reserved = {
        name: functions.get_function_concurrency(FunctionName=suite.outputs[f"{name}FunctionName"]).get(
            "ReservedConcurrentExecutions"
        )
        for name in ("Webhook", "OutreachSender")
    }

    assert ttl["TimeToLiveStatus"] == "ENABLED"
    assert ttl["AttributeName"] == "expires_on"
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert reserved["OutreachSender"] == 1
    assert reserved["Webhook"] >= 10


def test_nothing_of_the_local_aws_fires_by_itself(suite: LocalSuite) -> None:
    mappings = suite.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    schedules = suite.client("scheduler").list_schedules()["Schedules"]

    assert [mapping["State"] for mapping in mappings] == ["Disabled"]
    assert {schedule["State"] for schedule in schedules} == {"DISABLED"}
    assert len(schedules) >= 3


def test_metrics_agree_with_the_table(suite: LocalSuite, store: str, chat: OpenChat) -> None:
    someone = chat()
    suite.wait_until_drained()
    before = Counter(suite.metrics().metrics)
    update = someone.message("hello", START)
    for _ in range(3):
        someone.posts(update, START)
    suite.wait_until_drained()

    counted = Counter(suite.metrics().metrics) - before

    assert counted["webhook", "InteractionsStored"] == 1
    assert counted["webhook", "DuplicatesIgnored"] == 2
    assert counted["pattern_updater", "InteractionsFolded"] == 1
    assert sum(suite.metrics().errors.values()) == 0


def test_a_function_that_fails_says_so(suite: LocalSuite) -> None:
    from infra.local.suite import FunctionFailedError

    with pytest.raises(FunctionFailedError, match="scorer failed"):
        suite.invoke("scorer", {"scheduled_time": "yesterday"})
