"""Which model a cold start serves: the promoted one from S3 while it is what its pointer says, else the bundled one."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import boto3
import pytest

from engagement.clients import models, registry, serving
from engagement.clients.models import champion, champion_or_bundled
from engagement.clients.predictor import ChurnModel
from engagement.clients.serving import serving_models
from engagement.domain.features import NAMES
from engagement.errors import ModelUnavailableError
from infra.local.world import World
from models import uplift
from tests.builders import NOW
from tests.decisions import decisions

BUNDLED = Path(__file__).parents[2] / "models" / "churn"
POINTER = "models/churn/champion.json"
PREFIX = "models/churn/v2"


class Bucket:
    """The bucket of models, with one promoted model in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: Any = boto3.client("s3")
        self.card = json.loads((BUNDLED / "card.json").read_text()) | {"version": "promoted"}
        self.model = (BUNDLED / "model.onnx").read_bytes()
        self.put(f"{PREFIX}/model.onnx", self.model)
        self.put(f"{PREFIX}/card.json", json.dumps(self.card).encode())
        self.promote(prefix=PREFIX, sha256=hashlib.sha256(self.model).hexdigest())

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def promote(self, **pointer: object) -> None:
        named = {"version": "v2", "promoted_at": "2026-11-22T12:00:00+00:00", "previous": []}
        self.put(POINTER, json.dumps(named | pointer).encode())


@pytest.fixture
def empty(aws: dict[str, str]) -> str:
    """A bucket with nothing in it; its name is this test's own, since the names of buckets are shared by accounts."""
    name = f"models-{aws['AWS_ACCESS_KEY_ID']}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket(empty: str) -> Bucket:
    return Bucket(empty)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "champion"


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons that were logged."""
    reasons: list[str] = []
    monkeypatch.setattr(models.logger, "warning", lambda _, reason, model: reasons.append(reason))
    return reasons


def test_without_a_champion_the_bundled_model_serves_in_silence(empty: str, cache: Path, warnings: list[str]) -> None:
    """The first weeks of every deployment."""
    assert champion_or_bundled("churn", empty, BUNDLED, cache) == BUNDLED
    assert warnings == []


def test_the_champion_serves_once_it_is_promoted(bucket: Bucket, cache: Path, warnings: list[str]) -> None:
    """And it is a model that loads and answers."""
    folder = champion_or_bundled("churn", bucket.name, BUNDLED, cache)

    model = ChurnModel.load(folder)
    assert folder.is_relative_to(cache)
    assert model.version == "promoted"
    assert len(model.predict([(0.0,) * len(NAMES)])) == 1
    assert sorted(file.name for file in folder.iterdir()) == ["card.json", "model.onnx"]
    assert warnings == []


def test_a_champion_already_there_is_not_fetched_again(bucket: Bucket, cache: Path) -> None:
    """The pointer is asked for; the model is in the cache under its hash."""
    first = champion("churn", bucket.name, cache)
    bucket.delete(f"{PREFIX}/model.onnx")

    assert champion("churn", bucket.name, cache) == first


def test_a_cache_that_was_damaged_is_fetched_again(bucket: Bucket, cache: Path) -> None:
    """R79: a file in /tmp is believed by its hash, not by its name."""
    folder = champion("churn", bucket.name, cache)
    assert folder
    (folder / "model.onnx").write_bytes(b"something else")

    assert champion("churn", bucket.name, cache) == folder
    assert ChurnModel.load(folder).version == "promoted"


def test_a_promotion_and_a_rollback_are_one_write_of_the_pointer(bucket: Bucket, cache: Path) -> None:
    """R78: nothing but the pointer says which model serves."""
    first = champion("churn", bucket.name, cache)
    other = bucket.model + b"\x72\x00"  # an empty metadata entry: the same model, another hash
    sha256 = hashlib.sha256(other).hexdigest()
    bucket.put("models/churn/v3/model.onnx", other)
    bucket.put("models/churn/v3/card.json", json.dumps(bucket.card | {"version": "third", "sha256": sha256}).encode())

    bucket.promote(prefix="models/churn/v3", sha256=sha256)
    second = champion("churn", bucket.name, cache)
    assert second
    assert ChurnModel.load(second).version == "third"

    bucket.promote(prefix=PREFIX, sha256=hashlib.sha256(bucket.model).hexdigest())
    assert champion("churn", bucket.name, cache) == first


def test_a_pointer_to_the_bundled_model_leaves_it_serving_in_silence(
    bucket: Bucket, cache: Path, warnings: list[str]
) -> None:
    """What a rollback of the first champion leaves behind."""
    bucket.promote(prefix="", sha256="", version="bundled")

    assert champion_or_bundled("churn", bucket.name, BUNDLED, cache) == BUNDLED
    assert warnings == []
    assert not cache.exists()


def test_each_model_has_a_champion_of_its_own(bucket: Bucket, cache: Path) -> None:
    """The pointer of one says nothing about another."""
    assert champion("churn", bucket.name, cache)
    assert champion("mood", bucket.name, cache) is None
    assert champion("timing", bucket.name, cache) is None


def other_bytes(bucket: Bucket) -> None:
    bucket.put(f"{PREFIX}/model.onnx", bucket.model[:-1] + b"\x00")


def oversized(bucket: Bucket) -> None:
    bucket.put(f"{PREFIX}/model.onnx", b"\x00" * 10_001)


DAMAGE: dict[str, tuple[Callable[[Bucket], object], str]] = {
    "a tampered model": (other_bytes, "damaged"),
    "no model": (lambda bucket: bucket.delete(f"{PREFIX}/model.onnx"), "incomplete"),
    "no card": (lambda bucket: bucket.delete(f"{PREFIX}/card.json"), "incomplete"),
    "a model too large": (oversized, "larger than"),
    "a pointer that is no JSON": (lambda bucket: bucket.put(POINTER, b"{"), "not JSON"),
    "a pointer in another encoding": (lambda bucket: bucket.put(POINTER, b"\xff\xfe"), "not JSON"),
    "a pointer that is a list": (lambda bucket: bucket.put(POINTER, b"[]"), "not an object"),
    "a pointer whose history is no list": (lambda bucket: bucket.promote(prefix="", previous=7), "not a pointer"),
    "a pointer without a hash": (lambda bucket: bucket.promote(prefix=PREFIX), "not a pointer"),
    "a pointer to nothing": (lambda bucket: bucket.promote(prefix="models/churn/v9", sha256="0" * 64), "incomplete"),
    "a pointer to another model's folder": (
        lambda bucket: bucket.promote(prefix="models/mood/v2", sha256="0" * 64),
        "names no model",
    ),
    "a pointer out of the folder": (
        lambda bucket: bucket.promote(prefix="models/churn/../../secrets", sha256="0" * 64),
        "names no model",
    ),
    "a hash that is a path": (lambda bucket: bucket.promote(prefix=PREFIX, sha256="../../etc"), "names no model"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_champion_that_is_not_what_it_should_be_leaves_the_bundled_model_serving(
    bucket: Bucket, cache: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """R33, R79: one line says why; nothing unchecked is left in the cache."""
    damage, reason = DAMAGE[name]
    monkeypatch.setattr(registry, "MAX_BYTES", 10_000)
    assert champion_or_bundled("churn", bucket.name, BUNDLED, cache) != BUNDLED
    shutil.rmtree(cache)

    damage(bucket)

    assert champion_or_bundled("churn", bucket.name, BUNDLED, cache) == BUNDLED
    assert len(warnings) == 1
    assert reason in warnings[0]
    assert not cache.exists()
    with pytest.raises(ModelUnavailableError, match=reason):
        champion("churn", bucket.name, cache)


def test_a_bucket_that_does_not_answer_leaves_the_bundled_model_serving(
    empty: str, cache: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R33, R59: a closed port, and a bucket that is not there."""
    assert champion_or_bundled("churn", "no-such-bucket", BUNDLED, cache) == BUNDLED
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert champion_or_bundled("churn", empty, BUNDLED, cache) == BUNDLED

    assert [reason.partition(":")[0] for reason in warnings] == [f"{POINTER} cannot be read"] * 2


def test_a_cache_that_cannot_be_written_leaves_the_bundled_model_serving(
    bucket: Bucket, tmp_path: Path, warnings: list[str]
) -> None:
    """R33: /tmp may be full, or something else may be in the way."""
    in_the_way = tmp_path / "champion"
    in_the_way.write_text("not a folder")

    assert champion_or_bundled("churn", bucket.name, BUNDLED, in_the_way) == BUNDLED
    assert "cannot be kept" in warnings[0]
    assert in_the_way.read_text() == "not a folder"


# --- the model that does not come with the code ---


def test_no_uplift_model_serves_before_one_is_promoted_in_silence(
    empty: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is normal, for weeks: nothing is logged, and no rule stands in."""
    monkeypatch.setattr(serving.logger, "warning", None)

    found = serving_models(empty, BUNDLED.parent, cache)

    assert found.uplift is None
    assert found.churn
    assert found.timing
    assert found.mood


def test_a_promoted_uplift_model_serves_until_it_is_taken_back_or_damaged(
    empty: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R78, R79: after a rollback none serves, and nobody is left out for the sake of one that cannot be used."""
    known = decisions(World(11, 4_000), control=0.3)
    verdict = uplift.train(known, serving=None, out=tmp_path / "uplift", now=NOW, min_samples=500)
    assert verdict.directory
    store = registry.ModelRegistry(empty)
    entry = store.publish("uplift", verdict.directory)
    assert store.promote("uplift", entry, NOW, over=None)

    found = serving_models(empty, BUNDLED.parent, cache).uplift

    assert found
    assert found.version == entry.version
    ((sent, alone, blocks),) = (astuple(each) for each in found.predict([known[0].row]))
    assert all(0 <= probability <= 1 for probability in (sent, alone, blocks))
    assert store.rollback("uplift", NOW)
    assert serving_models(empty, BUNDLED.parent, cache).uplift is None
    assert store.promote("uplift", entry, NOW, over=store.champion("uplift"))
    shutil.rmtree(cache)
    boto3.client("s3").put_object(Bucket=empty, Key=f"{entry.prefix}/model.onnx", Body=b"something else")
    reasons: list[str] = []
    monkeypatch.setattr(serving.logger, "warning", lambda _, reason, model: reasons.append(f"{model}: {reason}"))
    assert serving_models(empty, BUNDLED.parent, cache).uplift is None
    assert reasons == [f"uplift: {entry.prefix}/model.onnx is damaged: its sha256 is not the pointer's"]
