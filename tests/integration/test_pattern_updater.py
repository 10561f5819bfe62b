"""The stream's function against a real table: equal patterns whatever the stream does to the records."""

import copy
import json
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engagement.domain.consequences import Consequences
from engagement.domain.interaction import Interaction
from engagement.domain.milestones import DEFAULTS, newly_reached
from engagement.domain.pattern import EMPTY, fold
from engagement.services.analyzer import EngagementAnalyzer, StreamRecord
from engagement.services.milestones import MilestoneSeeder
from engagement.settings import PatternUpdaterSettings
from engagement.store import keys
from engagement.store.awards import Awards
from engagement.store.interactions import interaction_of
from engagement.store.milestones import Milestones
from engagement.store.patterns import Patterns, Written
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics
from engagement.store.table import Item, OutreachItem, PatternItem, ProfileItem, TombstoneItem
from functions.__main__ import invoke
from infra.config import DeploymentConfig

BOT, ADA, BRUNO = 123456, 7000000001, 42
Sample = Callable[[str], dict[str, Any]]


@pytest.fixture
def updater(table: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The deployed function's handler, freshly imported, over an empty table."""
    settings = PatternUpdaterSettings(table_name=table, bot_id=BOT, **DeploymentConfig(bot_id=BOT).planning)
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Rekindle")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "pattern_updater")

    def call(event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = invoke("pattern_updater", event)
        return answer

    return call


def history(sample: Sample, size: int) -> list[dict[str, Any]]:
    """Build `size` stream records of two users from the sample, an hour apart."""
    template = sample("pattern_updater/inserts")["Records"]
    records = []
    for number in range(size):
        record = copy.deepcopy(template[0] if number % 3 else template[1])
        change = record["dynamodb"]
        sort_key = {"S": keys.interaction(50_000 + number)}
        change["Keys"]["sk"] = change["NewImage"]["sk"] = sort_key
        at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=number)
        change["NewImage"]["occurred_at"] = {"N": str(int(at.timestamp()))}
        change["SequenceNumber"] = str(10**21 + number)
        records.append(record)
    return records


def folded(records: list[dict[str, Any]], user_id: int) -> object:
    interactions = [interaction_of(record["dynamodb"]["NewImage"]) for record in records]
    return fold(EMPTY, [i for i in interactions if i.user_id == user_id])


def test_inserts_become_one_pattern_and_one_profile_per_user(updater: Callable[..., Any], sample: Sample) -> None:
    """The first interaction creates the profile too, so that a bot's old users need no /start."""
    event = sample("pattern_updater/inserts")
    assert updater(event) == {"batchItemFailures": []}
    for user, name in ((ADA, "Ada"), (BRUNO, "Bruno")):
        stored = Patterns().load(BOT, user)
        assert stored is not None
        assert stored.pattern == folded(event["Records"], user)
        profile = ProfileItem.get(keys.user(BOT, user), keys.PROFILE)
        assert (profile.first_name, profile.consent, profile.opted_out) == (name, "unasked", False)


def test_a_history_in_any_order_with_repeats_and_splits_gives_equal_patterns(
    updater: Callable[..., Any], sample: Sample
) -> None:
    """R22: 200 events through the handler and the table."""
    records = history(sample, 200)
    rng = random.Random(22)
    deliveries = records + rng.choices(records, k=80)
    rng.shuffle(deliveries)
    while deliveries:
        size = rng.randrange(1, 60)
        assert updater({"Records": deliveries[:size]}) == {"batchItemFailures": []}
        deliveries = deliveries[size:]
    for user in (ADA, BRUNO):
        stored = Patterns().load(BOT, user)
        assert stored is not None
        assert stored.pattern == folded(records, user)


def test_a_poison_record_is_reported_by_its_sequence(updater: Callable[..., Any], sample: Sample) -> None:
    """R26: the batch before it is done; the mapping retries from it and ends it in the dead-letter queue."""
    event = sample("pattern_updater/poison")
    poison = event["Records"][1]["dynamodb"]["SequenceNumber"]
    assert updater(event) == {"batchItemFailures": [{"itemIdentifier": poison}]}
    assert Patterns().load(BOT, ADA) is not None
    assert Patterns().load(BOT, BRUNO) is None


def test_expiries_and_our_own_writes_change_nothing(updater: Callable[..., Any], sample: Sample) -> None:
    """R25: a TTL removal, a pattern's own change and a profile's insert come and go without effect."""
    assert updater(sample("pattern_updater/not_ours")) == {"batchItemFailures": []}
    assert list(Item.scan()) == []


def test_an_edit_is_noted_once(updater: Callable[..., Any], sample: Sample) -> None:
    """R21."""
    event = sample("pattern_updater/edited")
    updater(event)
    updater(event)
    stored = Patterns().load(BOT, ADA)
    assert stored is not None
    assert (stored.pattern.total, stored.pattern.edits) == (1, 1)


def test_two_invocations_for_one_user_at_once_lose_no_update(table: str, sample: Sample) -> None:
    """R24: both read, a barrier, then both write; the loser of the condition folds again."""
    halves = history(sample, 60)[::2], history(sample, 60)[1::2]
    barrier = threading.Barrier(2)

    class Racing(Patterns):
        waited = False

        def load(self, bot_id: int, user_id: int) -> Any:
            stored = super().load(bot_id, user_id)
            if not self.waited:
                self.waited = True
                barrier.wait(10)
            return stored

    def learn(records: list[dict[str, Any]]) -> None:
        batch = [StreamRecord(r["dynamodb"]["SequenceNumber"], r["dynamodb"]["NewImage"]) for r in records]
        mine = [r for r in batch if r.image["pk"]["S"] == keys.user(BOT, ADA)]
        reports.append(EngagementAnalyzer(Racing(), Scores(), Profiles()).learn(mine, interaction_of))

    reports: list[Any] = []
    threads = [threading.Thread(target=learn, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stored = Patterns().load(BOT, ADA)
    assert stored is not None
    assert stored.pattern == folded([*halves[0], *halves[1]], ADA)
    assert sum(report.conflicts for report in reports) == 1


def test_what_is_reached_is_awarded_and_celebrated_by_the_deployed_function(
    updater: Callable[..., Any], sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    """R60, R62: the whole wiring, twice over; who is not in a control group is written to, the others are recorded."""
    records = history(sample, 30)
    first_at = datetime(2026, 10, 1, tzinfo=UTC)
    MilestoneSeeder(BOT, Milestones(BOT), Statistics()).seed_default_milestones(now=first_at)
    ProfileItem(
        keys.user(BOT, ADA), keys.PROFILE, chat_id=ADA, consent="granted", zone="Europe/Berlin", created_at=first_at
    ).save()
    for _ in range(2):
        assert updater({"Records": records}) == {"batchItemFailures": []}
    for user in (ADA, BRUNO):
        awarded = {award.milestone_name for award in Awards().of_user(BOT, user)}
        assert awarded == {"first_interaction", "chatty_newcomer", "positive_vibes"}
    (celebration,) = (item for item in Item.query(keys.user(BOT, ADA)) if isinstance(item, OutreachItem))
    assert celebration.sk == keys.outreach("milestone", "positive_vibes")
    assert celebration.arm in ("treated", "held_out")
    said = capsys.readouterr().out
    assert '"MilestonesAwarded":[6' in said.replace(" ", "")
    assert '"OutreachPlanned":[1' in said.replace(" ", "")


def test_a_late_record_of_an_erased_user_creates_nothing(
    updater: Callable[..., Any], sample: Sample, table: str
) -> None:
    """R27: the tombstone is checked in the transaction that would bring the user back."""
    event = sample("pattern_updater/inserts")
    pk = keys.user(BOT, ADA)
    TombstoneItem(pk, keys.TOMBSTONE, erased_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC)).save()
    updater(event)
    assert [item.sk for item in Item.query(pk)] == [keys.TOMBSTONE]
    later = copy.deepcopy(event)
    for record in later["Records"]:
        record["dynamodb"]["NewImage"]["occurred_at"] = {
            "N": str(int(datetime(2026, 11, 22, 11, 0, tzinfo=UTC).timestamp()))
        }
    updater(later)
    assert {item.sk for item in Item.query(pk)} == {keys.TOMBSTONE, keys.PATTERN, keys.PROFILE}


def test_a_changed_name_reaches_the_profile(updater: Callable[..., Any], sample: Sample) -> None:
    """People rename themselves; a message must not greet them by the old name."""
    event = sample("pattern_updater/inserts")
    updater(event)
    renamed = history(sample, 2)[1:]
    renamed[0]["dynamodb"]["NewImage"]["first_name"] = {"S": "Ada L."}
    updater({"Records": renamed})
    assert ProfileItem.get(keys.user(BOT, ADA), keys.PROFILE).first_name == "Ada L."


def test_an_interaction_never_moves_what_is_due(table: str, sample: Sample) -> None:
    """The index is written when a user is new, and when they return from a silence that took them out of it."""
    records = history(sample, 3)
    first, second, third = (interaction_of(record["dynamodb"]["NewImage"]) for record in records)
    analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())
    analyzer.update_user_behavior_patterns([second])
    pk = keys.user(BOT, second.user_id)
    due_at = PatternItem.get(pk, keys.PATTERN).due_at
    assert due_at == second.occurred_at + timedelta(days=1)
    analyzer.update_user_behavior_patterns([third])
    item = PatternItem.get(pk, keys.PATTERN)
    assert (item.due_at, item.version) == (due_at, 2)
    item.update([PatternItem.due_at.remove(), PatternItem.due_shard.remove()])
    much_later = _moved(third, 400, 60_000)
    analyzer.update_user_behavior_patterns([much_later])
    item = PatternItem.get(pk, keys.PATTERN)
    assert item.due_at == much_later.occurred_at + timedelta(days=1)
    assert item.due_shard == keys.score_shard(keys.due_partition(pk))
    assert first.user_id == BRUNO


def _moved(interaction: Interaction, days: int, update_id: int) -> Interaction:
    return replace(interaction, update_id=update_id, occurred_at=interaction.occurred_at + timedelta(days=days))


def test_a_typical_users_item_is_one_write_unit(table: str, sample: Sample) -> None:
    """The whole item stays below 1 KB for 120 interactions, keys, scores and awards included, as DynamoDB counts."""
    interactions = [interaction_of(record["dynamodb"]["NewImage"]) for record in history(sample, 180)]
    ada = [i for i in interactions if i.user_id == ADA]
    assert len(ada) == 120
    EngagementAnalyzer(Patterns(), Scores(), Profiles()).update_user_behavior_patterns(ada)
    item = PatternItem.get(keys.user(BOT, ADA), keys.PATTERN)
    item.churn_7d, item.churn_14d, item.churn_30d = 0.123456789, 0.23456789, 0.3456789
    item.scored_at, item.scored_by = datetime.now(UTC), "churn-2026-11-22"
    item.awarded = {milestone.milestone_name for milestone in newly_reached(DEFAULTS, (), fold(EMPTY, ada), UTC)}
    assert len(item.awarded) == 10
    raw = item.serialize()
    size = sum(len(name) + _attribute_bytes(value) for name, value in raw.items())
    assert size <= 1_024


def _attribute_bytes(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "N":
        return len(str(content)) // 2 + 2
    return len(content) if kind in ("S", "B") else len(json.dumps(content))


def test_a_conflict_is_an_answer_not_an_error(table: str, sample: Sample) -> None:
    """Creating twice, and replacing a version that has gone, say so."""
    interaction = interaction_of(history(sample, 2)[1]["dynamodb"]["NewImage"])
    patterns, pattern = Patterns(), fold(EMPTY, [interaction])
    assert patterns.create(pattern, interaction, Consequences()) is Written.WRITTEN
    assert patterns.create(pattern, interaction, Consequences()) is Written.CONFLICT
    seen = patterns.load(BOT, interaction.user_id)
    assert seen is not None
    assert patterns.replace(pattern, seen, interaction, Consequences()) is Written.WRITTEN
    assert patterns.replace(pattern, seen, interaction, Consequences()) is Written.CONFLICT
