"""The registry of models: published, promoted by a conditional write, rolled back; of two promotions one wins."""

import hashlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from engagement.clients.predictor import ChurnModel
from engagement.clients.registry import ModelRegistry, pointer_key
from engagement.domain.champion import KEPT, Champion, Entry
from engagement.errors import ModelRegistryError, ModelUnavailableError

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "models" / "churn"
MONDAY = datetime(2026, 11, 23, 4, tzinfo=UTC)
WEEK = timedelta(weeks=1)

Candidate = Callable[[int], Path]


@pytest.fixture
def bucket(aws: dict[str, str]) -> str:
    """An empty bucket of one's own."""
    name = f"registry-{aws['AWS_ACCESS_KEY_ID']}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def registry(bucket: str) -> ModelRegistry:
    return ModelRegistry(bucket)


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    """Make the n-th candidate: the bundled model with n empty entries of metadata, and its card."""

    def make(number: int) -> Path:
        folder = tmp_path / f"candidate{number}"
        folder.mkdir(exist_ok=True)
        model = (BUNDLED / "model.onnx").read_bytes() + b"\x72\x00" * number
        sha256 = hashlib.sha256(model).hexdigest()
        card = json.loads((BUNDLED / "card.json").read_text()) | {"version": f"churn-v{number}", "sha256": sha256}
        (folder / "model.onnx").write_bytes(model)
        (folder / "card.json").write_text(json.dumps(card))
        (folder / "golden.json").write_text("{}")
        return folder

    return make


@pytest.fixture
def promote(registry: ModelRegistry, candidate: Candidate) -> Callable[[int], Entry]:
    """Publish the n-th candidate and promote it in week n."""

    def promote(number: int) -> Entry:
        entry = registry.publish("churn", candidate(number))
        assert registry.promote("churn", entry, MONDAY + number * WEEK, over=registry.champion("churn"))
        return entry

    return promote


def keys_of(bucket: str) -> list[str]:
    return [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(champion: Champion | None) -> tuple[str, list[str]]:
    assert champion is not None
    return champion.version, [entry.version for entry in champion.previous]


def test_a_published_model_does_not_serve_before_it_is_promoted(
    registry: ModelRegistry, candidate: Candidate, bucket: str
) -> None:
    """R78: publishing and promoting are two steps."""
    entry = registry.publish("churn", candidate(1))

    assert entry.prefix == "models/churn/churn-v1"
    assert keys_of(bucket) == [f"{entry.prefix}/{file}" for file in ("card.json", "golden.json", "model.onnx")]
    assert registry.champion("churn") is None


def test_a_promoted_model_is_fetched_and_answers(
    registry: ModelRegistry, promote: Callable[[int], Entry], tmp_path: Path
) -> None:
    """R78: the way from the trainer to whoever serves."""
    promote(1)
    champion = registry.champion("churn")
    assert champion is not None

    model = ChurnModel.load(registry.fetch("churn", champion, tmp_path / "cache"))

    assert (model.version, model.sha256) == (champion.version, champion.sha256)
    assert champion.promoted_at == MONDAY + WEEK
    assert registry.card(champion)["version"] == "churn-v1"


def test_the_pointer_says_what_serves_and_what_did(bucket: str, promote: Callable[[int], Entry]) -> None:
    """What other tools may read of it."""
    first, second = promote(1), promote(2)
    pointer = json.loads(boto3.client("s3").get_object(Bucket=bucket, Key=pointer_key("churn"))["Body"].read())

    assert pointer == {
        "prefix": second.prefix,
        "sha256": second.sha256,
        "version": "churn-v2",
        "promoted_at": "2026-12-07T04:00:00+00:00",
        "previous": [
            {
                "prefix": first.prefix,
                "sha256": first.sha256,
                "version": "churn-v1",
                "promoted_at": "2026-11-30T04:00:00+00:00",
            }
        ],
    }


def test_rolling_back_ends_at_the_bundled_model(registry: ModelRegistry, promote: Callable[[int], Entry]) -> None:
    """R78: one write each; what was rolled back does not come back by another rollback."""
    for number in (1, 2):
        promote(number)

    first = registry.rollback("churn", MONDAY + 10 * WEEK)
    assert first is not None
    assert first.version == "churn-v1"
    assert versions(registry.champion("churn")) == ("churn-v1", [])

    bundled = registry.rollback("churn", MONDAY + 10 * WEEK)
    assert bundled is not None
    assert bundled.is_bundled
    assert registry.rollback("churn", MONDAY + 10 * WEEK) is None
    assert registry.rollback("mood", MONDAY) is None

    promote(3)
    assert versions(registry.champion("churn")) == ("churn-v3", [])


def test_history_is_kept_and_ends(registry: ModelRegistry, promote: Callable[[int], Entry]) -> None:
    """R78: the newest first; the pointer stays small."""
    for number in range(KEPT + 3):
        promote(number)

    version, previous = versions(registry.champion("churn"))
    assert version == f"churn-v{KEPT + 2}"
    assert previous == [f"churn-v{number}" for number in range(KEPT + 1, 1, -1)]


@pytest.mark.parametrize("earlier", [0, 1])
def test_of_two_promotions_at_once_one_wins(
    bucket: str, candidate: Candidate, promote: Callable[[int], Entry], earlier: int
) -> None:
    """R78: both were compared with the same champion; the second would undo the first unseen."""
    for number in range(earlier):
        promote(number)
    registries = [ModelRegistry(bucket, boto3.client("s3")) for _ in range(8)]
    entries = [each.publish("churn", candidate(10 + number)) for number, each in enumerate(registries)]
    over = registries[0].champion("churn")
    together = Barrier(len(registries))

    def race(each: ModelRegistry, entry: Entry) -> bool:
        together.wait()
        return each.promote("churn", entry, MONDAY, over=over)

    with ThreadPoolExecutor(len(registries)) as threads:
        won = list(threads.map(race, registries, entries))

    assert won.count(True) == 1
    version, previous = versions(registries[0].champion("churn"))
    assert version == entries[won.index(True)].version
    assert previous == [f"churn-v{number}" for number in range(earlier)]


def test_a_promotion_over_a_champion_that_was_rolled_back_meanwhile_is_refused(
    registry: ModelRegistry, candidate: Candidate, promote: Callable[[int], Entry]
) -> None:
    """R78: the operator's word, given while the trainer was at work, stands."""
    promote(1)
    seen = registry.champion("churn")
    registry.rollback("churn", MONDAY)

    assert not registry.promote("churn", registry.publish("churn", candidate(2)), MONDAY, over=seen)
    champion = registry.champion("churn")
    assert champion is not None
    assert champion.is_bundled


class Interrupted:
    """An S3 client to which something happens right before it writes a pointer."""

    def __init__(self, happens: Callable[[dict[str, Any]], object]) -> None:
        self._client: Any = boto3.client("s3")
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **request: Any) -> Any:
        if request["Key"].endswith("champion.json"):
            self._happens(request)
        return self._client.put_object(**request)


def test_a_rollback_that_meets_a_promotion_says_so(bucket: str, promote: Callable[[int], Entry]) -> None:
    """R78: it would take back a model that the operator has not seen."""
    promote(1)
    crossed = ModelRegistry(bucket, Interrupted(lambda _: promote(2)))

    with pytest.raises(ModelRegistryError, match="moved meanwhile"):
        crossed.rollback("churn", MONDAY)
    assert versions(ModelRegistry(bucket).champion("churn"))[0] == "churn-v2"


def test_a_promotion_whose_answer_was_lost_is_not_reported_as_lost(bucket: str, candidate: Candidate) -> None:
    """R78: the client repeats the write and meets its own; what counts is who serves."""
    repeated = ModelRegistry(bucket, Interrupted(lambda request: boto3.client("s3").put_object(**request)))
    entry = repeated.publish("churn", candidate(1))

    assert repeated.promote("churn", entry, MONDAY, over=None)


def refuse(_: object) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")


def test_a_bucket_that_takes_nothing_is_named(bucket: str, candidate: Candidate) -> None:
    """R59: trouble is one error of ours, never a promotion."""
    refused = ModelRegistry(bucket, Interrupted(refuse))
    with pytest.raises(ModelRegistryError, match=r"models/churn/champion\.json cannot be written: AccessDenied"):
        refused.promote("churn", refused.publish("churn", candidate(1)), MONDAY, over=None)
    with pytest.raises(ModelRegistryError, match="NoSuchBucket"):
        ModelRegistry("no-such-bucket").publish("churn", candidate(1))


def test_a_bucket_that_does_not_answer_is_named(
    aws: dict[str, str], candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R59: a closed port."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ModelRegistryError, match="EndpointConnectionError"):
        ModelRegistry("any").publish("churn", candidate(1))
    with pytest.raises(ModelUnavailableError, match="EndpointConnectionError"):
        ModelRegistry("any").champion("churn")


def changed_byte(folder: Path) -> None:
    raw = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


def changed_hash(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"sha256": "0" * 64}))


def another_name(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"name": "mood"}))


def a_version_that_is_a_path(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"version": "../../secrets"}))


@pytest.mark.parametrize("damage", [changed_byte, changed_hash, another_name, a_version_that_is_a_path])
def test_what_its_card_does_not_describe_is_not_published(
    registry: ModelRegistry, candidate: Candidate, bucket: str, damage: Callable[[Path], None]
) -> None:
    """R79: neither a wrong model nor a wrong card leaves the trainer."""
    folder = candidate(1)
    damage(folder)

    with pytest.raises(ModelUnavailableError, match="does not describe this churn model"):
        registry.publish("churn", folder)
    assert keys_of(bucket) == []


def test_without_files_nothing_is_published(registry: ModelRegistry, tmp_path: Path) -> None:
    """A folder that is not a model's."""
    with pytest.raises(ModelUnavailableError, match="no model to publish"):
        registry.publish("churn", tmp_path)


@pytest.mark.parametrize(("file", "damage"), [("model.onnx", changed_byte), ("card.json", changed_hash)])
def test_a_tampered_artefact_is_not_loaded(
    bucket: str,
    registry: ModelRegistry,
    candidate: Candidate,
    promote: Callable[[int], Entry],
    tmp_path: Path,
    file: str,
    damage: Callable[[Path], None],
) -> None:
    """R79: one changed byte of the model, or the hash in its card, and it does not serve."""
    entry = promote(1)
    folder = candidate(1)
    damage(folder)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{entry.prefix}/{file}", Body=(folder / file).read_bytes())

    with pytest.raises(ModelUnavailableError, match="damaged"):
        ChurnModel.load(registry.fetch("churn", entry, tmp_path / "cache"))


def test_there_are_no_other_models(registry: ModelRegistry, tmp_path: Path) -> None:
    """R79: a name is one of three, never a path."""
    for name in ("spam", "", "../churn", "churn/x"):
        with pytest.raises(ValueError, match="there are churn, timing, mood"):
            registry.champion(name)
        with pytest.raises(ValueError, match="there are churn, timing, mood"):
            registry.publish(name, tmp_path)


def test_no_code_of_ours_unpickles() -> None:
    """R79: a model is data for onnxruntime and JSON; a pickle is a program of whoever wrote it."""
    sources = [
        *(ROOT / "layers" / "core" / "python" / "engagement").rglob("*.py"),
        *(ROOT / "functions").rglob("*.py"),
        *(ROOT / "models").glob("*.py"),
    ]
    forbidden = re.compile(r"^\s*(?:import|from)\s+(?:pickle|_pickle|cloudpickle|dill|joblib|marshal|shelve)\b", re.M)

    assert len(sources) > 50
    assert [source.name for source in sources if forbidden.search(source.read_text())] == []
    assert forbidden.search("import numpy\n    from joblib import load\n")
