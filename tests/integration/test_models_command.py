"""`rekindle models`: what serves, taking it back, and training at once, as an operator reads it."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from engagement.clients.registry import ModelRegistry
from infra.cli import main as cli
from infra.cli import models as commands
from infra.cli.target import Target

ROOT = Path(__file__).parents[2]
MONDAY = datetime(2026, 11, 23, 4, tzinfo=UTC)

Run = Callable[..., Result]


@pytest.fixture
def bucket(aws: dict[str, str]) -> str:
    name = f"command-{aws['AWS_ACCESS_KEY_ID']}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def run(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against a deployment that has the bucket."""
    target = Target(outputs={"ModelBucketName": bucket}, client=boto3.client, variables={})
    monkeypatch.setattr(Target, "of", lambda _: target)
    monkeypatch.setattr(commands.console, "width", 200)
    return lambda *words: CliRunner().invoke(cli.main, ["models", *words])


@pytest.fixture
def promote(bucket: str, tmp_path: Path) -> Callable[[int], None]:
    """Publish and promote the n-th churn model, on the n-th Monday."""
    registry = ModelRegistry(bucket)

    def promote(number: int) -> None:
        model = b"model" * number
        figures = {f"churn_{days}d": {"auc": {"value": 0.8, "interval": [0.79, 0.81]}} for days in (7, 14)}
        card = {
            "name": "churn",
            "version": f"churn-v{number}",
            "sha256": hashlib.sha256(model).hexdigest(),
            "metrics": {"candidate": figures, "serving": {"churn_7d": {"auc": {"value": 0.1, "interval": [0, 1]}}}},
        }
        (tmp_path / "model.onnx").write_bytes(model)
        (tmp_path / "card.json").write_text(json.dumps(card))
        entry = registry.publish("churn", tmp_path)
        assert registry.promote("churn", entry, MONDAY + timedelta(weeks=number), over=registry.champion("churn"))

    return promote


def test_before_the_first_training_the_bundled_models_are_listed(run: Run) -> None:
    result = run("list")

    assert result.exit_code == 0, result.output
    for name in ("churn", "timing", "mood"):
        card = json.loads((ROOT / "models" / name / "card.json").read_text())
        assert f"{card['version']} (bundled)" in result.output
    assert result.output.count("the deployment") == 4
    assert re.search(r"uplift.+ none .+needs 200 users in both arms", result.output)


@pytest.mark.parametrize(
    ("name", "path", "metrics"),
    [
        (
            "timing",
            ("top_3",),
            {"candidate": {"top_3": {"value": 0.25, "interval": [0.2, 0.3]}}, "serving": {"top_3": 1}},
        ),
        ("timing", ("top_3",), {"datasets": 7, "timing": {"prior": {"top_3": 1}, "model": {"top_3": 0.25}}}),
        ("churn", ("churn_7d", "auc"), {"churn_7d": {"rules": {"auc": 1}, "model": {"auc": 0.25}}}),
        ("churn", ("churn_7d", "auc"), {"candidate": {"churn_7d": {"auc": 0.25}}, "bundled": {"churn_7d": {"auc": 1}}}),
    ],
)
def test_a_figure_is_of_the_model_and_not_of_what_it_was_compared_with(
    name: str, path: tuple[str, ...], metrics: dict[str, Any]
) -> None:
    """Cards of trained and of bundled models."""
    assert "0.250" in commands._key_figure(name, metrics, path)
    assert commands._key_figure(name, metrics, ("mae",)) == commands._key_figure(name, {}, path) == ""


def test_a_champion_is_listed_with_its_figures_and_those_before_it(run: Run, promote: Callable[[int], None]) -> None:
    """R78: what serves, since when, how good it was, and what a rollback would bring back."""
    for number in range(1, 6):
        promote(number)

    result = run("list")

    assert result.exit_code == 0, result.output
    for shown in (
        "churn-v5",
        "2026-12-28 04:00",
        "churn_7d auc 0.800 [0.790, 0.810]",
        "churn_14d auc",
        "churn-v4 (2026-12-21 04:00)",
        "and 1 more",
    ):
        assert shown in result.output
    assert "0.100" not in result.output  # that is what it was compared with


def test_a_rollback_says_what_serves_now(run: Run, promote: Callable[[int], None]) -> None:
    """R78: one command each, down to the bundled model."""
    promote(1)
    promote(2)

    assert "churn: churn-v1 serves again" in run("rollback", "churn").output
    assert "churn: the bundled model serves again" in run("rollback", "churn").output
    assert "nothing to take back" in run("rollback", "churn").output
    assert "(bundled)" in run("list").output


def test_an_uplift_model_is_listed_and_taken_back_to_none(run: Run, bucket: str, tmp_path: Path) -> None:
    """R78: none comes with the code."""
    registry = ModelRegistry(bucket)
    metrics = {
        "candidate": {"sends": 0.61},
        "rule": {"sends": 1.0},
        "gain": {"rule": {"value": 0.052, "interval": [0.012, 0.092], "effective_sample": 227}},
    }
    card = {
        "name": "uplift",
        "version": "uplift-v1",
        "sha256": hashlib.sha256(b"model").hexdigest(),
        "metrics": metrics,
    }
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert "No uplift model serves already; there is nothing to take back." in run("rollback", "uplift").output
    assert registry.promote("uplift", registry.publish("uplift", tmp_path), MONDAY, over=None)

    listed = run("list").output

    for shown in ("uplift-v1", "gain rule 0.052 [0.012, 0.092]", "sends 0.610"):
        assert shown in listed
    assert "uplift: none serves again" in run("rollback", "uplift").output
    assert "uplift-v1" not in run("list").output


def test_a_pointer_that_cannot_be_read_is_one_line(run: Run, bucket: str) -> None:
    boto3.client("s3").put_object(Bucket=bucket, Key="models/churn/champion.json", Body=b"{")

    for words in (("list",), ("rollback", "churn")):
        result = run(*words)
        assert result.exit_code == 1
        assert result.output == "Error: models/churn/champion.json is not JSON\n"


def test_another_name_is_refused(run: Run) -> None:
    result = run("rollback", "spam")

    assert result.exit_code == 2
    assert "'churn', 'timing', 'mood', 'uplift'" in result.output


REPORT = {
    "models_trained": ["churn"],
    "users": 61,
    "samples": 900,
    "seconds": 14,
    "results": {
        "churn_model": {
            "outcome": "promote",
            "reason": "log-loss -0.02 [-0.03, -0.01] against what serves",
            "samples": 900,
            "serves": "churn-1-abc",
            "accuracy": 0.79,
            "candidate": {"churn_7d": {"auc": {"value": 0.83, "interval": [0.81, 0.85]}}, "accuracy": 0.79},
            "serving": {"churn_7d": {"auc": {"value": 0.81, "interval": [0.79, 0.83]}}},
            "fault": "the champion is damaged",
        },
        "timing_model": {"outcome": "keep", "reason": "[not] better", "samples": 700, "serves": "timing-1-def"},
        "uplift_model": {
            "outcome": "keep",
            "reason": "not better beyond chance: of 4,000 decisions",
            "samples": 4_000,
            "serves": "none",
            "candidate": {"sends": 0.61, "blocks": 0.002},
            "rule": {"sends": 1.0, "blocks": 0.013},
        },
        "mood_model": {"outcome": "too_little_data", "reason": "12 looks", "samples": 12, "serves": "bundled"},
    },
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What the trainer is asked; it answers with the report."""
    events: list[tuple[str, Any]] = []

    def invoke(_: Target, function: str, event: Any) -> Any:
        events.append((function, event))
        return REPORT

    monkeypatch.setattr(Target, "invoke", invoke)
    return events


def test_training_now_prints_what_came_of_each_model(run: Run, asked: list[tuple[str, Any]]) -> None:
    """R77: outcome and reason in words; candidate and serving side by side."""
    result = run("train", "--min-samples", "50")

    assert result.exit_code == 0, result.output
    for shown in (
        "61 users allow it; 14 s.",
        "churn: promote, 900 examples",
        "log-loss -0.02 [-0.03, -0.01] against what serves",
        "the champion could not be used: the champion is damaged",
        "0.830 [0.810, 0.850]",
        "0.810 [0.790, 0.830]",
        "timing: keep, 700 examples",
        "[not] better",
        "mood: too_little_data, 12 examples",
        "serves: bundled",
        "uplift: keep, 4000 examples",
        "0.610",
        "0.013",
        "serves: none",
        "Promoted: churn.",
    ):
        assert shown in result.output
    ((function, event),) = asked
    assert function == "trainer"
    assert event["min_samples"] == 50
    assert datetime.fromisoformat(event["scheduled_time"]).tzinfo is not None


def test_without_a_wish_the_deployed_minimum_holds(run: Run, asked: list[tuple[str, Any]]) -> None:
    run("train")

    assert "min_samples" not in asked[0][1]


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_minimum_that_cannot_be_is_refused(run: Run, asked: list[tuple[str, Any]], number: str) -> None:
    assert run("train", "--min-samples", number).exit_code == 2
    assert asked == []


def test_a_model_trained_elsewhere_is_promoted_by_hand_and_taken_back(run: Run, bucket: str) -> None:
    """R78: the way of bots too big for the trainer: `python -m models train-shards`, then this."""
    folder = ROOT / "models" / "mood"
    version = json.loads((folder / "card.json").read_text())["version"]

    result = run("promote", "mood", str(folder))

    champion = ModelRegistry(bucket).champion("mood")
    assert result.exit_code == 0, result.output
    assert champion is not None
    assert champion.version == version
    assert "bundled model serves again" in run("rollback", "mood").output


@pytest.mark.parametrize("damage", ["model.onnx", "card.json"])
def test_a_folder_without_a_whole_model_is_refused(run: Run, bucket: str, tmp_path: Path, damage: str) -> None:
    """R79: nothing is published, and the message says what is wrong."""
    for file in ("model.onnx", "card.json"):
        (tmp_path / file).write_bytes((ROOT / "models" / "churn" / file).read_bytes())
    (tmp_path / damage).write_bytes(b"{}")

    result = run("promote", "churn", str(tmp_path))

    assert result.exit_code == 1
    assert "Error: " in result.output
    assert ModelRegistry(bucket).champion("churn") is None
    assert "KeyCount" in (listed := boto3.client("s3").list_objects_v2(Bucket=bucket))
    assert listed["KeyCount"] == 0


def test_another_models_folder_is_refused(run: Run, bucket: str) -> None:
    assert run("promote", "timing", str(ROOT / "models" / "mood")).exit_code == 1
    assert ModelRegistry(bucket).champion("timing") is None
