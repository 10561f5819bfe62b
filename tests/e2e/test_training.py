"""The deployed trainer: it learns from those who allow it, promotes what is better, and says why where it is not."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engagement.clients.predictor import TimingModel
from engagement.clients.registry import ModelRegistry
from engagement.domain.champion import PROMOTABLE
from engagement.domain.interaction import Interaction
from engagement.domain.update import Contact
from engagement.store.interactions import Interactions
from engagement.store.profiles import Profiles
from infra.cli import models as cli_models
from infra.local.suite import BOT_ID, LocalSuite
from tests.builders import interaction

MONDAY = datetime(2026, 11, 16, 4, tzinfo=UTC)
USERS = range(9_000_001, 9_000_061)
MONTHS = timedelta(days=150)


def history(user_id: int) -> Iterator[Interaction]:
    """A person of strict habits: always in the same hour, every few days, until some day they stay away."""
    dice = random.Random(user_id)
    first = MONDAY - MONTHS + timedelta(hours=dice.uniform(0, 48))
    leaves = min(MONDAY, first + timedelta(days=dice.uniform(20, 400)))
    hour = dice.choice((7, 8, 18, 19, 20))
    at = first
    while (seen := at.replace(hour=hour, minute=dice.randrange(60))) < leaves:
        update_id = (user_id << 12) + (at - first).days
        yield interaction(update_id, seen, bot_id=BOT_ID, user_id=user_id, chat_id=user_id, sentiment=0.5)
        at += timedelta(days=dice.choice((1, 2, 3, 5, 8)))


@pytest.fixture(scope="module")
def community(suite: LocalSuite) -> None:
    """Sixty people with months behind them, straight into the table, all of whom allow training.

    The stream is done with them before anything is trained: the local AWS is slow while it is not.
    """
    suite.bind_table()
    stored, profiles = Interactions(ttl_days=3_650), Profiles()
    for user_id in USERS:
        contact = Contact(user_id, "Ada", "en")
        profiles.record_consent_ml(BOT_ID, user_id, granted=True, at=MONDAY - MONTHS, contact=contact)
        for said in history(user_id):
            stored.add(said)
    suite.wait_until_drained()


@pytest.fixture(scope="module")
def registry(suite: LocalSuite) -> Iterator[ModelRegistry]:
    """The deployed one; afterwards the bundled models serve again, as other tests expect."""
    registry = ModelRegistry(suite.outputs["ModelBucketName"], suite.client("s3"))
    yield registry
    for name in PROMOTABLE:
        while registry.rollback(name, MONDAY):
            pass


@pytest.fixture(scope="module")
def first(suite: LocalSuite, community: None, registry: ModelRegistry) -> dict[str, Any]:
    """The report of the first Monday."""
    report: dict[str, Any] = suite.invoke("trainer", event(min_samples=100))
    return report


def event(**wishes: object) -> dict[str, object]:
    return {"scheduled_time": MONDAY.isoformat(), **wishes}


def test_every_model_gets_a_verdict_with_its_reason(first: dict[str, Any]) -> None:
    """R77, R78: what came of it, on how many examples, and the figures side by side."""
    assert first["users"] >= len(USERS)
    assert set(first["results"]) == {"churn_model", "timing_model", "mood_model", "uplift_model"}
    for name, result in first["results"].items():
        assert result["outcome"] in {"promote", "keep", "too_little_data", "one_class"}
        assert result["reason"]
        assert result["samples"] >= 0
        if name != "uplift_model" and result["outcome"] in {"promote", "keep"}:
            assert set(result) >= {"candidate", "serving", "bundled"}
    assert 0 <= first["results"]["churn_model"]["accuracy"] <= 1


def test_habits_that_the_bundled_model_does_not_know_are_learned(
    first: dict[str, Any], registry: ModelRegistry, tmp_path: Path
) -> None:
    """R78: people who keep to their hour to the minute are not like those of the public streams."""
    champion = registry.champion("timing")
    timing = first["results"]["timing_model"]

    assert champion is not None
    assert "timing" in first["models_trained"]
    assert timing["serves"] == champion.version
    assert champion.promoted_at == MONDAY
    assert timing["candidate"]["log_loss"]["value"] < timing["bundled"]["log_loss"]["value"]
    assert TimingModel.load(registry.fetch("timing", champion, tmp_path)).version == champion.version


def test_what_was_promoted_serves_and_nothing_else(first: dict[str, Any], registry: ModelRegistry) -> None:
    """R78: a pointer moves for a promotion and for nothing else."""
    moved = [name for name in PROMOTABLE if registry.champion(name)]

    assert moved == first["models_trained"]


def test_the_scheduled_training_of_the_same_week_promotes_nothing_again(
    first: dict[str, Any], suite: LocalSuite, registry: ModelRegistry
) -> None:
    """R78: a candidate has to beat what serves by now, not what was bundled."""
    before = {name: registry.champion(name) for name in PROMOTABLE}

    (report,) = suite.tick("trainer", MONDAY)

    assert report["models_trained"] == []
    assert {name: registry.champion(name) for name in PROMOTABLE} == before


def test_too_little_data_is_said_and_breaks_nothing(
    first: dict[str, Any], rekindle: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R77: in the operator's words, by the operator's command."""
    monkeypatch.setattr(cli_models.console, "width", 200)

    said = rekindle("models", "train", "--min-samples", "1000000")

    assert said.count("too_little_data") == len(PROMOTABLE)
    assert "Promoted: none." in said


def test_an_operator_sees_what_serves_and_takes_it_back(
    first: dict[str, Any], rekindle: Callable[..., str], registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R78: rollback is one command."""
    monkeypatch.setattr(cli_models.console, "width", 200)
    champion = registry.champion("timing")
    assert champion is not None
    assert champion.version in rekindle("models", "list")

    assert "bundled model serves again" in rekindle("models", "rollback", "timing")

    assert champion.version not in rekindle("models", "list")
    assert "nothing to take back" in rekindle("models", "rollback", "timing")


def test_the_trainer_names_no_user(first: dict[str, Any], suite: LocalSuite) -> None:
    """R89: neither in its report nor in its log."""
    logs = suite.client("logs")
    groups = [g["logGroupName"] for g in logs.describe_log_groups()["logGroups"] if "Trainer" in g["logGroupName"]]
    lines = [e["message"] for group in groups for e in logs.filter_log_events(logGroupName=group)["events"]]

    assert any("training run ended" in line for line in lines)
    for text in (json.dumps(first), *lines):
        assert not [user_id for user_id in USERS if str(user_id) in text]
