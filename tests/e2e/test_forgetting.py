"""The deployed stack: somebody asks for their data, asks to be forgotten, and is gone from everywhere it writes to."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engagement.domain.callbacks import Button
from engagement.store import keys
from engagement.store.table import Item, connection
from infra.local.suite import BOT_ID, LocalSuite
from infra.local.telegram.methods import SentMessage

OpenChat = Callable[..., Any]
START = datetime(2026, 9, 7, 18, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NAME = "Kanarienvogel"


def button(message: SentMessage, says: Button) -> str:
    """What a button under a message sends back."""
    rows = (message.reply_markup or {})["inline_keyboard"]
    return next(b["callback_data"] for b in itertools.chain(*rows) if b["callback_data"].split(":")[1] == says)


def rows_of(user_id: int) -> list[str]:
    rows = connection().query(Item.Meta.table_name, keys.user(BOT_ID, user_id), consistent_read=True)["Items"]
    return [row["sk"]["S"] for row in rows]


def everything_written(suite: LocalSuite) -> dict[str, str]:
    """All that the stack has written anywhere, as text, by where."""
    table = json.dumps(list(connection().scan(Item.Meta.table_name)["Items"]), default=str)
    s3, bucket = suite.client("s3"), suite.outputs["ModelBucketName"]
    versions = s3.list_object_versions(Bucket=bucket).get("Versions", [])
    objects = [s3.get_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])["Body"].read() for v in versions]
    logs = suite.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    lines = [
        event["message"] for group in groups for event in logs.filter_log_events(logGroupName=group).get("events", [])
    ]
    return {
        "table": table,
        "bucket": "".join(content.decode(errors="replace") for content in objects),
        "dead letters": json.dumps(suite.dead_letters(), default=str),
        "logs": "\n".join(lines),
    }


def lives(someone: Any, suite: LocalSuite) -> None:
    """Come, agree, talk for a while, fall silent; be scored, written to, and press a button."""
    someone.says("/start", START)
    (question,) = someone.received()
    assert someone.presses(button(question, Button.CONSENT_BOTH), question, START + MINUTE).status == 200
    for day in range(12):
        for turn in range(3):
            someone.says("I love this music!", START + day * DAY + (2 + turn) * MINUTE)
    suite.wait_until_drained()
    for day in range(13, 27):
        suite.tick("scorer", START + day * DAY)
        suite.tick("outreach_sender", START + day * DAY + HOUR)
        suite.tick("outreach_sender", START + day * DAY + 14 * HOUR)


def test_a_person_gets_their_data_and_is_forgotten_everywhere(
    suite: LocalSuite, store: str, chat: OpenChat, rekindle: Callable[..., str], tmp_path: Path
) -> None:
    """R71, R72, R99, R100: canary in pattern, profile, outreach, awards, interactions, index; afterwards 0 finds."""
    rekindle("milestones", "seed")
    someone = chat(NAME)
    lives(someone, suite)
    canary, now = str(someone.user_id), START + 27 * DAY
    kept = rows_of(someone.user_id)
    assert {"PROFILE", "PATTERN"} <= set(kept)
    for prefix in ("INT#", "ANSWER#", "OUT#", "AWARD#"):
        assert any(sk.startswith(prefix) for sk in kept), prefix
    assert canary in everything_written(suite)["table"]

    # Their data, to their own chat.
    someone.says("/mydata", now)
    assert "few minutes" in someone.received()[-1].text
    suite.tick("outreach_sender", now + 5 * MINUTE)
    file = someone.received()[-1]
    assert file.document is not None
    assert file.document.name == "mydata.json"
    held = {item["sk"] for item in json.loads(file.document.content)["items"]}
    assert set(kept) <= held | {"REQUEST#mydata"}
    path = tmp_path / "ada.json"
    said = rekindle("users", "export", canary, "--output", str(path))
    assert NAME in said
    assert {item["sk"] for item in json.loads(path.read_text())["items"]} == set(rows_of(someone.user_id))

    # One confirmation, and they are gone.
    late = someone.message("sent before, delivered a day later", now)
    someone.says("/forget", now + 10 * MINUTE)
    asked = someone.received()[-1]
    assert someone.presses(button(asked, Button.FORGET_YES), asked, now + 11 * MINUTE).status == 200
    assert "deleted" in suite.telegram.calls[-1].params["text"]
    suite.wait_until_drained()
    assert rows_of(someone.user_id) == [keys.TOMBSTONE]

    # Delivered again a day later, late records, and every function once more: nothing comes back.
    assert someone.posts(late, now + 23 * HOUR).status == 200
    assert someone.presses(button(asked, Button.FORGET_YES), asked, now + 12 * MINUTE).status == 200
    suite.wait_until_drained()
    for function in ("scorer", "outreach_sender", "housekeeper"):
        suite.tick(function, now + 24 * HOUR)
    assert rows_of(someone.user_id) == [keys.TOMBSTONE]
    for where, text in everything_written(suite).items():
        assert NAME not in text, where
        finds = text.count(canary)
        assert finds == (1 if where == "table" else 0), where
    assert "counters are what the items say" in rekindle("reconcile")


def test_the_operator_erases_one_user_and_nobody_else(
    suite: LocalSuite, store: str, chat: OpenChat, rekindle: Callable[..., str]
) -> None:
    """R71, R99: `rekindle users erase`, with the tombstone, and sums that stay right."""
    someone, other = chat(NAME), chat("Bruno")
    for person in (someone, other):
        person.says("hello", START)
    suite.wait_until_drained()
    said = rekindle("users", "erase", str(someone.user_id), "--yes")
    assert "items are gone" in said
    assert rows_of(someone.user_id) == [keys.TOMBSTONE]
    assert "PATTERN" in rows_of(other.user_id)
    rekindle("reconcile")
