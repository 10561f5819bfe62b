"""R72, R97, R100: whoever asks gets everything that is kept about them, in words and as JSON."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engagement.domain.answers import Answer, Said
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY
from engagement.domain.replies import wording, words_of
from engagement.domain.scores import ChurnScores
from engagement.domain.uplift import NAMES, context_of
from engagement.services.exporting import Export, Exporter
from engagement.store import keys
from engagement.store.answers import Answers
from engagement.store.exports import Exports
from engagement.store.table import Item, connection
from tests.integration.test_erasing import BOT, CANARY, NAME, Life

PACKED = {"state", "context", "values_json", "outcomes_json"}
"""Attributes that the file unpacks."""


@pytest.fixture
def life(table: str, now: datetime) -> Life:
    return Life(now.astimezone(UTC))


def exported(now: datetime) -> Export:
    return Exporter(BOT, Exports(), lambda *_: ["active on few days (odds x 1.5)"]).export(CANARY, now=now)


def rows_of(user_id: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection().query(Item.Meta.table_name, keys.user(BOT, user_id))["Items"]
    return rows


def values_of(value: Any) -> Iterator[str]:
    """Every leaf of DynamoDB's JSON, as text."""
    ((kind, held),) = value.items()
    if kind in {"SS", "NS"}:
        yield from map(str, held)
    else:
        yield str(held)


def test_the_file_and_the_table_differ_in_nothing(life: Life) -> None:
    """R100: every attribute of every item of the user's, whatever its kind, is in the file; nobody else's is."""
    context = context_of(EMPTY, OutreachType.RE_ENGAGEMENT, ChurnScores(0.1, 0.2, 0.3), life.now)
    life.has_a_past(CANARY)
    life.plans(CANARY, "topic", outreach_type=OutreachType.TOPIC_FOLLOW_UP, values={"topic": "music"}, context=context)
    life.has_a_past(7)
    export = exported(life.now)
    items = {item["sk"]: item for item in export.items}
    rows = rows_of(CANARY)
    assert set(items) == {row["sk"]["S"] for row in rows}
    assert len(rows) > 20
    for row in rows:
        item = items[row["sk"]["S"]]
        assert set(item) == set(row)
        for name, value in row.items():
            if name in PACKED:
                continue
            shown = item[name] if isinstance(item[name], list) else [item[name]]
            held = sorted(map(float, values_of(value))) if "N" in value else sorted(values_of(value))
            assert (sorted(map(float, shown)) if "N" in value else sorted(map(str, shown))) == held, name
    text = export.as_json()
    assert f"USER#{BOT}#7" not in text
    assert json.loads(text)["items"] == json.loads(json.dumps(export.items))
    decision = items["OUT#topic#topic-1"]
    assert decision["values_json"] == {"topic": "music"}
    assert set(decision["context"]) == set(NAMES)
    assert items[keys.PATTERN]["state"]["total"] == 12


def test_the_words_name_scores_reasons_awards_answers_and_each_message(life: Life) -> None:
    """R72, R97, R100: for people; scores and reasons included, and what somebody agreed to, by which text."""
    life.has_a_past(CANARY)
    asked = wording("ask", "de")
    answer = Answer(question="learn", said=Said.YES, answered_at=life.now, source="button:cb", wording=asked)
    Answers().add(BOT, CANARY, 5, answer)
    words = "\n".join(exported(life.now).words)
    for part in (
        NAME,
        "14 days with 85%",
        "active on few days (odds x 1.5)",
        "chatty_newcomer",
        f'"{words_of(asked)}"',
        'by button:cb to the question "Darf ich',
        "re_engagement was planned for you",
        "among those who do not get it",
        "words of crisis" if "crisis_at" in words else "was shown to a person",
        "You asked for this file",
    ):
        assert part in words, part


def test_of_an_erased_user_the_file_holds_the_tombstone_alone(life: Life) -> None:
    """R71, R100."""
    life.has_a_past(CANARY)
    life.eraser.erase(BOT, CANARY, life.now)
    export = exported(life.now + timedelta(hours=2))
    assert [item["sk"] for item in export.items] == [keys.TOMBSTONE]
    assert export.words == (
        f"You were erased on {life.now:%Y-%m-%d %H:%M} UTC; that is kept until "
        f"{life.now + timedelta(days=36):%Y-%m-%d %H:%M} UTC.",
    )


def test_a_pattern_that_cannot_be_read_is_exported_as_its_bytes(life: Life) -> None:
    """R100: and hides nothing else."""
    life.has_a_past(CANARY)
    damaged = b"\x00damaged"
    connection().update_item(
        Item.Meta.table_name, keys.user(BOT, CANARY), keys.PATTERN, actions=[_state().set(damaged)]
    )
    export = exported(life.now)
    (pattern,) = [item for item in export.items if item["sk"] == keys.PATTERN]
    assert base64.b64decode(pattern["state"]) == damaged
    assert len(export.items) > 20


@pytest.mark.parametrize("kind", ["profile", "answer", "interaction", "outreach", "award", "attention", "request"])
def test_an_item_of_another_version_costs_no_other_its_words(life: Life, kind: str) -> None:
    """R100: it is listed as it is kept, and said to have no words."""
    life.has_a_past(CANARY)
    whole = exported(life.now)
    store = _Odd(kind)
    export = Exporter(BOT, store).export(CANARY, now=life.now)

    assert len(export.items) == len(whole.items)
    assert "One item could not be put into words; it is listed below as it is kept." in export.words
    assert json.loads(export.as_json())["in_words"] == list(export.words)


class _Odd:
    """Everything that is kept, with items of one kind that know nothing but their kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def items(self, bot_id: int, user_id: int) -> list[dict[str, Any]]:
        found = Exports().items(bot_id, user_id)
        return [{"kind": self._kind, "sk": "x"} if item["kind"] == self._kind else item for item in found]


def _state() -> Any:
    from engagement.store.table import PatternItem

    return PatternItem.state
