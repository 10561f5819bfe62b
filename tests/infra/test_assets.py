"""What is deployed: each function's zip holds that function, the layers hold what it imports, and all of it starts."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engagement.domain.champion import MODELS
from infra import build

FUNCTIONS = ("webhook", "pattern_updater", "scorer", "outreach_sender", "housekeeper", "trainer")
WITH_MODELS = {"scorer", "outreach_sender", "housekeeper", "trainer"}
HOST = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
UNCHECKED_HASH = 1
"""PEP 552: the flags after the magic number say that the bytecode is trusted without a look at its source."""

START = """
import importlib, pkgutil, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:4]
import zoneinfo
zoneinfo.reset_tzpath(())
zoneinfo.ZoneInfo("Europe/Berlin")
import engagement
for module in pkgutil.walk_packages(engagement.__path__, "engagement."):
    importlib.import_module(module.name)
import boto3
for service in ("dynamodb", "s3", "ssm"):
    boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
from engagement.clients.predictor import ChurnModel
from engagement.domain.features import features
from engagement.domain.pattern import EMPTY
from datetime import UTC, datetime
model = ChurnModel.load(Path(sys.argv[1]) / "models" / "churn")
print(len(model.predict([features(EMPTY, datetime(2026, 11, 22, tzinfo=UTC))])))
elsewhere = {m.__file__ for m in list(sys.modules.values()) if "-packages" in (getattr(m, "__file__", None) or "")}
sys.exit(f"imported from outside the layers: {elsewhere}" if elsewhere else 0)
"""

TRAIN = """
import os, sys
sys.path[:0] = sys.argv[1:4]
os.environ |= {"TABLE_NAME": "t", "BOT_ID": "1", "MODEL_BUCKET": "b", "MIN_TRAINING_SAMPLES": "1"}
os.environ |= {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"}
os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
os.environ |= {"POWERTOOLS_SERVICE_NAME": "trainer", "POWERTOOLS_METRICS_NAMESPACE": "Rekindle"}
import functions.trainer.handler
import numpy as np
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
worst = 0.0
for model, labels, answer in (
    (RandomForestClassifier(10, max_depth=4), rows[:, 0] > 0, 1),
    (GradientBoostingRegressor(n_estimators=10), rows[:, 0], 0),
):
    model.fit(rows, labels)
    options = {"zipmap": False} if answer else None
    graph = to_onnx(model, rows[:1], target_opset={"": 18, "ai.onnx.ml": 3}, options=options)
    said = InferenceSession(graph.SerializeToString()).run(None, {"X": rows})[answer]
    expected = model.predict_proba(rows) if answer else model.predict(rows)[:, None]
    worst = max(worst, float(np.abs(said - expected).max()))
print(worst)
elsewhere = {m.__file__ for m in list(sys.modules.values()) if "-packages" in (getattr(m, "__file__", None) or "")}
sys.exit(f"imported from outside the layers: {elsewhere}" if elsewhere else 0)
"""


def files(folder: Path) -> set[str]:
    """Return the paths of a folder's files, without bytecode."""
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_asset_holds_its_function_and_no_other(stack: Any, name: str) -> None:
    """A wrong pattern once left both zips empty, and synthesis did not mind."""
    key = stack.functions()[name]["Code"]["S3Key"].removesuffix(".zip")
    asset = stack.folder / f"asset.{key}"

    held = files(asset)

    own = {f"functions/{name}/{path}" for path in files(build.ROOT / "functions" / name)}
    carried = {path for path in held if path.startswith("models/")}
    assert f"functions/{name}/handler.py" in held
    assert held - carried == own | {"functions/__init__.py"}
    assert bool(carried) is (name in WITH_MODELS)
    assert {path for path in carried if path.endswith(".onnx")} == {
        path.replace("card.json", "model.onnx") for path in carried if path.endswith("card.json")
    }
    assert name == "trainer" or not [path for path in carried if path.endswith(".py")]


def test_the_trainer_carries_the_training_and_nothing_of_the_workshop(stack: Any) -> None:
    """R79: what runs in the function, and none of what draws, measures or speaks to a yardstick."""
    held = files(build.stage_function("trainer", MODELS))

    assert {f"models/{name}/{file}" for name in MODELS for file in ("model.onnx", "card.json")} <= held
    assert {"models/__init__.py", "models/weekly.py"} <= held
    assert not held & {f"models/{name}.py" for name in ("__main__", "harness", "plots", "evaluate")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bytecode_is_trusted_without_a_look_at_its_age(stack: Any, name: str) -> None:
    """CDK's zips are dated 1980: bytecode that checks its age would be compiled again at every cold start."""
    asset = stack.folder / f"asset.{stack.functions()[name]['Code']['S3Key'].removesuffix('.zip')}"
    compiled = list(asset.rglob("*.pyc"))

    assert len(compiled) == len(list(asset.rglob("*.py")))
    for file in compiled:
        assert int.from_bytes(file.read_bytes()[4:8], "little") == UNCHECKED_HASH
        assert str(build.ROOT).encode() not in file.read_bytes()


def test_a_function_without_a_handler_is_not_staged() -> None:
    """Better no deployment than a function that cannot start."""
    with pytest.raises(build.BuildError, match=r"functions/nobody/handler\.py is missing"):
        build.stage_function("nobody")


def test_a_function_without_its_model_is_not_staged() -> None:
    """The model is committed; the message says where it belongs."""
    with pytest.raises(build.BuildError, match=r"models/nothing/model\.onnx is missing"):
        build.stage_function("scorer", models=["nothing"])


def test_staging_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R86: the same inputs give the same bytes, wherever they are staged; unchanged inputs are not staged at all."""
    staged = []
    for place in ("here", "there"):
        monkeypatch.setattr(build, "BUILD", tmp_path / place)
        folder = build.stage_function("webhook")
        staged.append({str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()})
    before = folder.stat().st_ino
    build.stage_function("webhook")

    assert staged[0] == staged[1]
    assert folder.stat().st_ino == before


def test_a_changed_source_is_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed is what is in the tree."""
    handler = tmp_path / "functions" / "probe" / "handler.py"
    handler.parent.mkdir(parents=True)
    (tmp_path / "functions" / "__init__.py").touch()
    (tmp_path / "infra").mkdir()
    builder = tmp_path / "infra" / "build.py"
    builder.touch()
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")
    monkeypatch.setattr(build, "__file__", str(builder))
    for text in ("ANSWER = 1\n", "ANSWER = 2\n"):
        handler.write_text(text)
        assert (build.stage_function("probe") / "functions" / "probe" / "handler.py").read_text() == text
    handler.with_name("gone.py").touch()
    build.stage_function("probe")
    handler.with_name("gone.py").unlink()
    assert files(build.stage_function("probe")) == {"functions/__init__.py", "functions/probe/handler.py"}


def test_broken_code_is_not_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail at the first cold start; what was staged before stays."""
    handler = tmp_path / "functions" / "probe" / "handler.py"
    handler.parent.mkdir(parents=True)
    (tmp_path / "functions" / "__init__.py").touch()
    handler.write_text("def handler(:\n")
    (tmp_path / "build.py").touch()
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))

    with pytest.raises(build.BuildError, match="does not compile"):
        build.stage_function("probe")

    assert not (tmp_path / "build" / "functions" / "probe").exists()


@pytest.fixture(scope="module")
def layers() -> build.Layers:
    """The real layers of this machine's architecture (seconds where they are not staged yet)."""
    return build.stage(HOST)


def test_the_layers_alone_are_enough_to_start(layers: build.Layers) -> None:
    """Everything of ours imports, clients are made and the bundled model predicts, with no other package in sight."""
    asset = build.stage_function("scorer", models=["churn"])
    command = [sys.executable, "-I", "-S", "-c", START, asset, layers.inference / "python", layers.core / "python"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1"


def test_the_training_layer_is_enough_to_train(layers: build.Layers, tmp_path: Path) -> None:
    """The trainer's handler starts, and its exporter agrees with scikit-learn, with no other package in sight."""
    asset = build.stage_function("trainer", MODELS)
    # -B: bytecode beside the sources would be deployed with them.
    command = [sys.executable, "-I", "-S", "-B", "-c", TRAIN, asset, layers.training / "python", layers.core / "python"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert float(result.stdout) <= 1e-5


def test_the_layers_fit_into_lambda(layers: build.Layers) -> None:
    """Lambda's limit is 250 MiB for a function with its layers; a cold start pays for each of them."""
    assert build.unzipped(layers.core) < 20 * 2**20
    assert build.unzipped(layers.inference) < 80 * 2**20


@pytest.mark.parametrize("architecture", build.PLATFORMS)
def test_the_trainer_fits_into_lambda(layers: build.Layers, architecture: str) -> None:
    """Of either architecture, where its layers are staged: this machine's always are, `make check` stages arm64."""
    staged = build.BUILD / "layers" / architecture
    trainer = build.stage_function("trainer", MODELS)

    assert architecture != HOST or (staged / "training").is_dir()
    assert build.unzipped(staged / "core", staged / "training", trainer) < build.LAMBDA_MAX_BYTES


def test_the_layers_hold_what_lambda_reads_and_no_more(layers: build.Layers) -> None:
    """No tests, no stubs, no other AWS service's model; every module's bytecode is trusted by its hash."""
    for folder in (layers.core / "python", layers.inference / "python", layers.training / "python"):
        assert not [f for f in folder.rglob("*") if f.name == "tests" or f.suffix in build.UNUSED_SUFFIXES]
        assert not list(folder.glob("bin"))
    assert not list(layers.training.rglob("*.pyc"))
    for folder in (layers.core / "python", layers.inference / "python"):
        sources = list(folder.rglob("*.py"))
        compiled = list(folder.rglob("*.pyc"))
        assert len(compiled) == len(sources)
        assert all(f.read_bytes()[4] == UNCHECKED_HASH for f in compiled)
    data = layers.core / "python" / "botocore" / "data"
    assert {f.name for f in data.iterdir() if f.is_dir()} == build.AWS_SERVICES
    assert files(layers.core / "python" / "engagement") == files(build.ENGAGEMENT)
