"""The scorer against a real table: patterns in, scores and planned outreach out."""

import hashlib
import importlib.util
import json
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from pynamodb.transactions import TransactWrite

from engagement.clients.registry import ModelRegistry
from engagement.domain.champion import MODELS
from engagement.domain.outcome import Watched, ripen
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import encode
from engagement.domain.planning import Thresholds
from engagement.domain.profile import Consent
from engagement.domain.scores import ChurnScores
from engagement.domain.templates import MessageTemplate, Texts
from engagement.domain.tick import Tick
from engagement.domain.variants import Performance
from engagement.errors import BadTickError
from engagement.services.planner import Planner, recent_performance
from engagement.services.scoring import Scoring, ScoringReport
from engagement.settings import ScorerSettings
from engagement.store import keys
from engagement.store.catalogue import Catalogue
from engagement.store.censuses import Censuses
from engagement.store.outreaches import Outreaches
from engagement.store.profiles import Profiles, first_contact
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics, count_in, of_moves
from engagement.store.table import OutreachItem, PatternItem, ProfileItem, connection, keyed
from functions.__main__ import LambdaContext, invoke
from tests import builders
from tests.builders import NOW, pattern_of, policy

ROOT = Path(__file__).parents[2]
BOT = 123456
Sample = Callable[[str], dict[str, Any]]

# A user of a few days, unless a test says otherwise.
silent_for = partial(builders.silent_for, active_days=5)


def put(
    user_id: int,
    pattern: Pattern | bytes,
    consent: Consent = Consent.GRANTED,
    shard: int | None = None,
    scores: ChurnScores | None = None,
) -> None:
    """Store what the stream's function would: a pattern that is due, and a profile; scored before, where scores say."""
    pk = keys.user(BOT, user_id)
    PatternItem(
        pk,
        keys.PATTERN,
        state=pattern if isinstance(pattern, bytes) else encode(pattern),
        version=1,
        due_shard=keys.score_shard(keys.due_partition(pk) if shard is None else shard),
        due_at=NOW - timedelta(minutes=user_id % 60),
        **asdict(scores) if scores else {},
        scored_at=NOW - timedelta(days=1) if scores else None,
    ).save()
    actions = first_contact("Ada", "en", user_id, NOW - timedelta(days=90), pk).values()
    keyed(ProfileItem, pk, keys.PROFILE).update(actions=list(actions))
    if consent is not Consent.UNASKED:
        Profiles().record_consent(BOT, user_id, consent, NOW)


def pattern_item(user_id: int) -> PatternItem:
    item: PatternItem = PatternItem.get(keys.user(BOT, user_id), keys.PATTERN, consistent_read=True)
    return item


def outreach_of(user_id: int) -> list[OutreachItem]:
    return list(OutreachItem.query(keys.user(BOT, user_id), OutreachItem.sk.startswith(keys.OUTREACH_PREFIX)))


LEAVING = ChurnScores(0.95, 0.9, 0.85)


class Pessimist:
    """To whom everybody is leaving, who feels nothing and has no favourite hour."""

    timing = mood = uplift = None
    version = "pessimist"

    @property
    def churn(self) -> "Pessimist":
        return self

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        return [LEAVING] * len(rows)


def scoring(**changes: Any) -> Scoring:
    """The pass over the real stores, to whose model everybody is leaving."""
    options: dict[str, Any] = {
        "bot_id": BOT,
        "scores": Scores(),
        "profiles": Profiles(),
        "outreaches": Outreaches(),
        "censuses": Censuses(),
        "planner": Planner(policy(), Texts),
        "models": Pessimist(),
        "thresholds": Thresholds(re_engagement=0.8, checkin=0.6),
    }
    chosen = options | changes
    models = chosen.pop("models")
    return Scoring(**chosen, models=None if models is None else lambda: models)


def run(**changes: Any) -> ScoringReport:
    return scoring(**changes).score_due(Tick(now=NOW, shard=0, of=1), lambda: 900.0)


@pytest.fixture
def settings(table: str, aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScorerSettings:
    """The environment that the stack gives the function, and a /tmp of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = ScorerSettings(
        table_name=table,
        bot_id=BOT,
        model_bucket=f"models-{aws['AWS_ACCESS_KEY_ID']}",  # bucket names are everybody's
        consent_policy="ask",
        churn_threshold=0.8,
        checkin_threshold=0.6,
        max_outreaches_per_user_per_day=1,
        min_hours_between_outreaches=12.0,
        quiet_hours="22-8",
        ml_prediction_enabled="on",
        rollout="100",
        daily_budget=0,
        experiment="first",
        control_percent=0.0,
        type_control="0",
        outreach_enabled="on",
        ai_message_enhancement="off",
        mood_support="answered",
        features="none",
        template_choice="thompson",
    )
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Rekindle")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "scorer")
    return settings


def metrics_in(output: str) -> dict[str, float]:
    """Read the one line of embedded metrics that an invocation prints."""
    (line,) = [line for line in output.splitlines() if '"_aws"' in line]
    found = json.loads(line)
    return {metric["Name"]: found[metric["Name"]][0] for metric in found["_aws"]["CloudWatchMetrics"][0]["Metrics"]}


def test_a_tick_scores_with_the_model_and_plans_for_those_about_to_leave(
    settings: ScorerSettings, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    put(1, silent_for(0.5, active_days=14))
    put(2, silent_for(25, active_days=3))

    summary = invoke("scorer", sample("scorer/tick"))

    assert (summary["scored"], summary["fell_back"], summary["finished"]) == (2, False, True)
    loyal, leaving = pattern_item(1), pattern_item(2)
    assert loyal.scored_by == leaving.scored_by != "rules"
    assert 0 < loyal.churn_14d < leaving.churn_14d < 1
    assert loyal.scored_at == NOW
    assert loyal.due_at == NOW + timedelta(days=1) < leaving.due_at
    assert outreach_of(1) == []
    (planned,) = outreach_of(2)
    assert (planned.state, planned.trigger, planned.planned_at) == ("scheduled", "churn_14d_high", NOW)
    assert NOW < planned.send_after <= NOW + timedelta(days=1) < planned.expires_at
    assert metrics_in(capsys.readouterr().out) == {"UsersScored": 2, "OutreachPlanned": 1}


def test_a_shard_leaves_the_other_shards_users_alone(settings: ScorerSettings, sample: Sample) -> None:
    for user_id in range(16):
        put(user_id, silent_for(0.5), shard=user_id)

    assert invoke("scorer", sample("scorer/tick_shard_1_of_4"))["scored"] == 4
    assert [user_id for user_id in range(16) if pattern_item(user_id).scored_at] == [1, 5, 9, 13]


@pytest.mark.filterwarnings("ignore:No application metrics")  # said of an invocation that got nowhere
def test_a_bad_tick_fails_the_invocation_and_writes_nothing(settings: ScorerSettings, sample: Sample) -> None:
    put(1, silent_for(12))

    with pytest.raises(BadTickError, match="scheduled_time"):
        invoke("scorer", sample("scorer/bad_tick"))
    assert pattern_item(1).scored_at is None


def test_a_function_about_to_be_killed_leaves_everything_due(settings: ScorerSettings, sample: Sample) -> None:
    """R32: the next run takes it up."""
    put(1, silent_for(12))

    late = invoke("scorer", sample("scorer/tick"), LambdaContext(function_name="scorer", timeout_seconds=1))
    in_time = invoke("scorer", sample("scorer/tick"))

    assert (late["scored"], late["finished"]) == (0, False)
    assert (in_time["scored"], in_time["finished"]) == (1, True)


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def truncate(folder: Path) -> None:
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])


def flip_a_byte(folder: Path) -> None:
    model = folder / "model.onnx"
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 1
    model.write_bytes(bytes(raw))


def remove_the_card(folder: Path) -> None:
    (folder / "card.json").unlink()


def damage_the_card(folder: Path) -> None:
    (folder / "card.json").write_text("{")


def change_the_features(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"features": card["features"][:-1]}))


def change_the_feature_version(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"feature_version": card["feature_version"] + 1}))


@pytest.fixture
def asset(settings: ScorerSettings, tmp_path: Path) -> Iterator[Callable[[], ModuleType]]:
    """The function's asset, laid out as in its zip; calling it is a cold start."""
    shutil.copytree(ROOT / "functions" / "scorer", tmp_path / "functions" / "scorer")
    for model in MODELS:
        shutil.copytree(ROOT / "models" / model, tmp_path / "models" / model)

    def cold_start() -> ModuleType:
        spec = importlib.util.spec_from_file_location("scorer_asset", tmp_path / "functions" / "scorer" / "handler.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return cold_start


@pytest.mark.parametrize(
    "damage",
    [
        remove,
        truncate,
        flip_a_byte,
        remove_the_card,
        damage_the_card,
        change_the_features,
        change_the_feature_version,
    ],
)
def test_a_missing_or_damaged_model_leaves_the_run_to_the_rules(
    asset: Callable[[], ModuleType],
    damage: Callable[[Path], None],
    tmp_path: Path,
    sample: Sample,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """R33: the run completes, the scores say who made them, and a metric tells the operator."""
    put(1, silent_for(12))
    damage(tmp_path / "models" / "churn")

    summary = asset().handler(sample("scorer/tick"), LambdaContext(function_name="scorer"))

    assert (summary["scored"], summary["fell_back"], summary["finished"]) == (1, True, True)
    assert pattern_item(1).scored_by == "rules"
    assert metrics_in(capsys.readouterr().out)["ModelFallback"] == 1


def test_an_intact_asset_serves_its_model(asset: Callable[[], ModuleType], sample: Sample) -> None:
    """R33: the other side of the damage above."""
    put(1, silent_for(12))

    assert not asset().handler(sample("scorer/tick"), LambdaContext(function_name="scorer"))["fell_back"]
    assert pattern_item(1).scored_by != "rules"


@pytest.fixture
def promote(settings: ScorerSettings) -> Callable[..., None]:
    """Make the bundled model the champion, under a card of one's own."""

    def put_champion(**changes: object) -> None:
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=settings.model_bucket)
        raw = (ROOT / "models" / "churn" / "model.onnx").read_bytes()
        card = json.loads((ROOT / "models" / "churn" / "card.json").read_text()) | changes
        sha256 = hashlib.sha256(raw).hexdigest()
        pointer = {"prefix": "models/churn/next", "sha256": sha256, "version": "next", "promoted_at": None}
        s3.put_object(Bucket=settings.model_bucket, Key="models/churn/next/model.onnx", Body=raw)
        s3.put_object(Bucket=settings.model_bucket, Key="models/churn/next/card.json", Body=json.dumps(card))
        s3.put_object(Bucket=settings.model_bucket, Key="models/churn/champion.json", Body=json.dumps(pointer))

    return put_champion


def test_a_champion_serves_instead_of_the_bundled_model(promote: Callable[..., None], sample: Sample) -> None:
    promote(version="churn-1-champion")
    put(1, silent_for(12))

    assert not invoke("scorer", sample("scorer/tick"))["fell_back"]
    assert pattern_item(1).scored_by == "churn-1-champion"


def test_a_promotion_and_its_rollback_hold_from_the_next_tick_on(
    promote: Callable[..., None], asset: Callable[[], ModuleType], settings: ScorerSettings, sample: Sample
) -> None:
    """R78: a running copy of the function looks at the pointer at each tick; it need not start anew."""
    scorer = asset()

    def scored_by(user_id: int) -> str:
        put(user_id, silent_for(12))
        scorer.handler(sample("scorer/tick"), LambdaContext(function_name="scorer"))
        return str(pattern_item(user_id).scored_by)

    bundled = scored_by(1)
    promote(version="churn-1-champion")
    promoted = scored_by(2)
    ModelRegistry(settings.model_bucket).rollback("churn", NOW)

    assert (promoted, scored_by(3)) == ("churn-1-champion", bundled)


def test_a_champion_that_cannot_be_served_leaves_the_bundled_model(
    promote: Callable[..., None], sample: Sample
) -> None:
    """R33: whole, and yet trained on other features; rules are the last resort, not the first."""
    promote(version="churn-2-champion", feature_version=99)
    put(1, silent_for(12))

    assert not invoke("scorer", sample("scorer/tick"))["fell_back"]
    assert pattern_item(1).scored_by not in {"churn-2-champion", "rules"}


def test_a_model_switched_off_is_no_fallback(
    settings: ScorerSettings, sample: Sample, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(1, silent_for(12))
    monkeypatch.setenv("ML_PREDICTION_ENABLED", "off")

    summary = invoke("scorer", sample("scorer/tick"))

    assert (summary["scored"], summary["fell_back"]) == (1, False)
    assert pattern_item(1).scored_by == "rules"
    assert "ModelFallback" not in metrics_in(capsys.readouterr().out)


def test_two_overlapping_runs_score_and_plan_each_user_once(table: str) -> None:
    """R31, R37: two runs over one table at the same time."""
    for user_id in range(40):
        put(user_id, silent_for(12))
    reports: list[ScoringReport] = []
    start = threading.Barrier(2)

    def one_run() -> None:
        start.wait()
        reports.append(run(batch=10, writers=4))

    threads = [threading.Thread(target=one_run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(report.scored for report in reports) == 40
    assert sum(report.planned.total() for report in reports) == 40
    assert [len(outreach_of(user_id)) for user_id in range(40)] == [1] * 40


class Lagging(Scores):
    """An index that shows what was due before the run."""

    def __init__(self) -> None:
        self.rows = {partition: list(super(Lagging, self).due(partition, NOW)) for partition in range(self.partitions)}

    def due(self, partition: int, now: datetime, *, page: int = 250) -> Iterator[tuple[int, int]]:
        return iter(self.rows[partition])


def test_two_overlapping_runs_count_each_outcome_once(table: str) -> None:
    """R31, R87: the outcome is counted by whoever's write moved the due time on, and by nobody else."""
    watched = Watched(at=NOW - timedelta(days=7), churn_7d=0.5, by="0-old")
    pattern = silent_for(12)
    for user_id in range(40):
        put(user_id, pattern)
        pattern_item(user_id).update(
            actions=[
                PatternItem.watched_at.set(watched.at),
                PatternItem.watched_churn_7d.set(watched.churn_7d),
                PatternItem.watched_by.set(watched.by),
            ]
        )
    start = threading.Barrier(2)

    def one_run() -> None:
        start.wait()
        run(batch=10, writers=4)

    threads = [threading.Thread(target=one_run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run()

    census = Censuses().of_days(BOT, NOW.date(), NOW.date())
    expected = ripen(watched, pattern, NOW)
    assert expected
    assert census.users == sum(census.outcomes["0-old"].seen) == 40
    assert sum(census.outcomes["0-old"].stayed_away) == 40 * expected.stayed_away
    assert {pattern_item(user_id).watched_by for user_id in range(40)} == {"pessimist"}


def test_a_lagging_index_row_is_read_again_before_anything_is_written(table: str) -> None:
    """R36: the second run is told of users that the first has scored; the items themselves say otherwise."""
    for user_id in range(5):
        put(user_id, silent_for(12))
    before = Lagging()

    first, second = run(), run(scores=before)

    assert (first.scored, second.scored, second.scored_elsewhere) == (5, 0, 5)
    assert (second.planned.total(), second.not_planned.total()) == (0, 0)


def test_a_damaged_pattern_waits_for_a_day_and_the_others_are_scored(table: str) -> None:
    put(1, silent_for(12))
    put(2, b"\x63")
    put(3, silent_for(12))

    report = run()

    assert (report.scored, report.unreadable.total()) == (2, 1)
    damaged = pattern_item(2)
    assert (damaged.due_at, damaged.scored_at, damaged.state) == (NOW + timedelta(days=1), None, b"\x63")


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (lambda user_id: None, None),
        (lambda user_id: Profiles().opt_out(BOT, user_id, NOW), "opted_out"),
        (lambda user_id: Profiles().set_blocked(BOT, user_id, blocked=True, at=NOW), "blocked"),
        (
            lambda user_id: Profiles().record_consent(BOT, user_id, Consent.DECLINED, NOW + timedelta(seconds=1)),
            "consent",
        ),
        (lambda user_id: ProfileItem(keys.user(BOT, user_id), keys.PROFILE).delete(), "no_profile"),
    ],
)
def test_nobody_is_planned_for_who_could_not_be_written_to(
    table: str, fate: Callable[[int], object], reason: str | None
) -> None:
    """R42: opted out, blocked, erased, declined."""
    put(1, silent_for(12))
    fate(1)

    report = run()

    assert report.scored == 1
    assert len(outreach_of(1)) == (reason is None)
    assert report.not_planned == ({reason: 1} if reason else {})


def test_nobody_is_planned_for_who_was_never_asked(table: str) -> None:
    """R42: under the policy `ask`, silence means no."""
    put(1, silent_for(12), consent=Consent.UNASKED)

    assert run().not_planned == {"consent": 1}
    assert outreach_of(1) == []


@dataclass
class Meter:
    """Counts requests and what DynamoDB says they cost."""

    requests: dict[str, int] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)

    def ask(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def note(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests[model.name] = self.requests.get(model.name, 0) + 1
        spent = parsed.get("ConsumedCapacity", {})
        for table in spent if isinstance(spent, list) else [spent]:
            self.units[model.name] = self.units.get(model.name, 0) + table.get("CapacityUnits", 0)


@pytest.fixture
def meter(table: str) -> Iterator[Meter]:
    meter = Meter()
    events = connection().client.meta.events
    events.register("provide-client-params.dynamodb", meter.ask)
    events.register("after-call.dynamodb", meter.note)
    yield meter
    events.unregister("provide-client-params.dynamodb", meter.ask)
    events.unregister("after-call.dynamodb", meter.note)


PLANNED_UNITS = 5
"""Write units of planning: an outreach below 1 KB and a counter, each doubled by the transaction, and the index."""
CENSUS = {"GetItem": 1, "PutItem": 1}
"""What a run's census costs on top of two Queries for the days before, however many users it scored."""


def test_a_scored_user_costs_one_read_and_three_write_units(table: str, meter: Meter) -> None:
    """One for the item of at most 1 KB, two for its move in the index; neither profile nor outreach is read."""
    users = 50
    for user_id in range(users):
        put(user_id, silent_for(1, active_days=4), scores=LEAVING)
    meter.requests.clear()
    meter.units.clear()

    assert run().scored == users

    assert meter.units["UpdateItem"] == 3 * users
    assert meter.requests == CENSUS | {"Query": 16 + 2, "BatchGetItem": 1, "UpdateItem": users}
    assert meter.units["PutItem"] == 1


def test_a_planned_user_costs_two_more_reads_and_one_more_transaction(table: str, meter: Meter) -> None:
    """Read: the profile, and what they were sent before. Written: the outreach, its place in the index, a counter."""
    users = 20
    for user_id in range(users):
        put(user_id, silent_for(12), scores=LEAVING)
    meter.requests.clear()
    meter.units.clear()

    assert run().planned.total() == users

    assert meter.units["UpdateItem"] == 3 * users
    assert meter.units["TransactWriteItems"] == PLANNED_UNITS * users
    assert meter.units["PutItem"] == 1
    assert meter.requests == {
        "Query": 16 + 2 + users,
        "BatchGetItem": 1,
        "GetItem": users + CENSUS["GetItem"],
        "PutItem": CENSUS["PutItem"],
        "TransactWriteItems": users,
        "UpdateItem": users,
    }


def test_a_watched_score_whose_week_is_over_costs_no_further_read_or_write(table: str, meter: Meter) -> None:
    """R87: what became of it is read off the pattern, and written with the scores; the item stays below 1 KB."""
    users = 20
    for user_id in range(users):
        put(user_id, pattern_of(NOW - timedelta(hours=hour) for hour in range(0, 120 * 7, 7)), scores=STAYING)
        pattern_item(user_id).update(
            actions=[
                PatternItem.known_as.set("0123abcd"),
                PatternItem.watched_at.set(NOW - timedelta(days=7)),
                PatternItem.watched_churn_7d.set(0.1234),
                PatternItem.watched_by.set("churn-1-01234567"),
            ]
        )
    meter.requests.clear()
    meter.units.clear()

    assert run(models=Measured()).scored == users

    assert meter.units["UpdateItem"] == 3 * users
    assert meter.requests == CENSUS | {"Query": 16 + 2, "BatchGetItem": 1, "UpdateItem": users}
    outcomes = Censuses().of_days(BOT, NOW.date(), NOW.date()).outcomes["churn-1-01234567"]
    assert (sum(outcomes.seen), sum(outcomes.stayed_away)) == (users, 0)
    assert max(size_of(pattern_item(user_id)) for user_id in range(users)) <= 1_024


STAYING = ChurnScores(0.12345678901234567, 0.11345678901234567, 0.10345678901234567)


class Measured:
    """Three models whose answers have as many digits as they can have."""

    version = "churn-1-89abcdef"

    @property
    def churn(self) -> "Measured":
        return self

    @property
    def mood(self) -> "MeasuredMood":
        return MeasuredMood()

    timing = uplift = None

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        return [STAYING] * len(rows)


class MeasuredMood:
    version = "mood-1"

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[float]:
        return [-0.12345678901234567] * len(rows)


def size_of(item: PatternItem) -> int:
    """Return an item's bytes as DynamoDB counts them: names and values; a number takes half its digits and one."""
    size = 0
    for name, value in item.serialize().items():
        ((kind, held),) = value.items()
        size += len(name) + {"S": len, "B": len, "N": lambda n: len(n.strip("-0.")) // 2 + 2}[kind](held)
    return size


# --- what is planned, and with which text ---


def test_the_kill_switch_plans_nothing(
    settings: ScorerSettings, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(2, silent_for(25, active_days=3))
    monkeypatch.setenv("OUTREACH_ENABLED", "off")

    assert invoke("scorer", sample("scorer/tick"))["not_planned"] == {"paused": 1}
    assert outreach_of(2) == []


def test_members_of_a_control_group_are_planned_for_too(
    settings: ScorerSettings, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R43: and the record says who they are, with which probability, and what they would have read."""
    for user_id in range(40):
        put(user_id, silent_for(25, active_days=3))
    monkeypatch.setenv("CONTROL_PERCENT", "50")

    assert invoke("scorer", sample("scorer/tick"))["planned"] == {"re_engagement": 40}

    planned = [item for user_id in range(40) for item in outreach_of(user_id)]
    assert 10 <= sum(item.arm == "held_out" for item in planned) <= 30
    assert all(item.state == "scheduled" and item.template.startswith("re_engagement.") for item in planned)
    stored = [outreach for user_id in range(40) for outreach in Outreaches().of_user(BOT, user_id)]
    assert {(o.experiment, o.treated_probability, o.program_probability) for o in stored} == {("first", 0.5, 0.5)}
    assert all(0 < outreach.covariate < 0.5 and outreach.context for outreach in stored)


def test_the_operators_own_texts_are_chosen_too(settings: ScorerSettings, sample: Sample) -> None:
    own = MessageTemplate("gentle_nudge", "Hi {name}! Just checking in - how are things going?", ["name"])
    Catalogue(BOT).put(keys.TEMPLATE_PREFIX, "re_engagement.gentle_nudge", own.definition, NOW)
    for user_id in range(40):
        put(user_id, silent_for(25, active_days=3))

    invoke("scorer", sample("scorer/tick"))

    chosen = Counter(item.template for user_id in range(40) for item in outreach_of(user_id))
    assert chosen.keys() > {"re_engagement.gentle_nudge"}
    assert chosen.keys() <= {*Texts().variants(OutreachType.RE_ENGAGEMENT), "re_engagement.gentle_nudge"}


def test_what_became_of_each_text_is_read_off_the_counters(table: str) -> None:
    """The last ninety days; what the variants are chosen by."""
    moves = {
        (NOW.date(), "sent@re_engagement.open_door"): 3,
        (NOW.date(), "responded@re_engagement.open_door"): 1,
        (NOW.date(), "sent:re_engagement"): 3,
        (NOW.date() - timedelta(days=90), "sent@mood_support.here"): 2,
        (NOW.date() - timedelta(days=91), "sent@mood_support.here"): 100,
    }
    with TransactWrite(connection=connection()) as transaction:
        count_in(transaction, BOT, 1, of_moves(moves))

    assert recent_performance(Statistics(), BOT, NOW) == Performance(
        {"re_engagement.open_door": 3, "mood_support.here": 2}, {"re_engagement.open_door": 1}
    )
