"""The benchmark's adapter: what it answers is what the bundled models say of the very rows that training makes."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel
from models import harness
from models.dataset import Dataset, read
from models.export import publish_mood, served
from models.judge import Verdict
from models.train import BOOSTING, TrainedMood, fit_boosting
from tests.streams import write_stream

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "made_up.csv.gz"
    write_stream(path, users=30, seed=7)
    return path


@pytest.fixture(scope="module")
def data(stream: Path) -> Dataset:
    return read(stream)


def observed(stream: Path, adapter: harness.Model, until: float, after: float = -math.inf) -> None:
    """Hand over the events of [after, until) in the order of time, as the benchmark does."""
    rows = [line.split(",") for line in gzip.decompress(stream.read_bytes()).decode().splitlines()[1:]]
    for user, ts, _, chars, compound in sorted(rows, key=lambda row: int(row[1])):
        if after <= int(ts) < until:
            adapter.observe(user, float(ts), math.nan, float(chars), float(compound or "nan"))


def test_the_adapter_answers_what_the_bundled_models_say_of_replayed_histories(stream: Path, data: Dataset) -> None:
    """R35, R76: one fold, one population, one set of features, whether events come one by one or by user."""
    adapter = harness.Model()
    adapter.reset("made_up")
    compared, before = 0, -math.inf
    for at in np.unique(data.timing.at)[::6].tolist():
        observed(stream, adapter, at, before)
        before = at
        names = {
            kind: [f"{user:08x}" for user in part.user[part.at == at]]
            for kind, part in (("churn", data.churn), ("timing", data.timing), ("mood", data.mood))
        }
        rows = {
            "churn": served(ChurnModel.load(ROOT / "models" / "churn"), data.churn.features[data.churn.at == at]),
            "timing": served(TimingModel.load(ROOT / "models" / "timing"), data.timing.features[data.timing.at == at]),
        }
        for column, horizon in enumerate((7, 14, 30)):
            answers = adapter.predict_churn(names["churn"], at, horizon)
            assert list(answers.values()) == pytest.approx(rows["churn"][:, column].tolist(), abs=1e-6)
        hours = adapter.predict_timing(names["timing"], at)
        assert np.array(list(hours.values())) == pytest.approx(rows["timing"], abs=1e-6)
        if names["mood"]:
            expected = served(MoodModel.load(ROOT / "models" / "mood"), data.mood.features[data.mood.at == at])
            moods = adapter.predict_mood(names["mood"], at)
            assert list(moods.values()) == pytest.approx(expected[:, 0].tolist(), abs=1e-6)
        compared += len(hours)
    assert compared > 30


def test_somebody_never_observed_gets_an_answer_too() -> None:
    """R34: the benchmark counts a missing answer as a coin's."""
    adapter = harness.Model()
    adapter.reset("nothing")

    assert adapter.predict_churn(["stranger"], 1e9, 7)["stranger"] > 0.9
    assert sum(adapter.predict_timing(["stranger"], 1e9)["stranger"]) == pytest.approx(1, abs=1e-5)
    assert -1 < adapter.predict_mood(["stranger"], 1e9)["stranger"] < 1


def test_after_the_weekly_training_the_adapter_serves_what_was_promoted_and_nothing_else(
    stream: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R78: the training is the trainer's own, and it sees the histories before its time."""
    publish_mood(TrainedMood(BOOSTING, fit_boosting([data.mood], [data.mood.at > 0]), {}), [data], {}, tmp_path)
    seen: list[int] = []

    def trained(histories: Any, **options: Any) -> list[Verdict]:
        seen.extend(len(history.interactions) for history in histories)
        assert options["serving"] == options["bundled"]
        return [
            Verdict("churn", "keep", "no better", 900),
            Verdict("mood", "promote", "better", 900, directory=tmp_path),
        ]

    monkeypatch.setattr(harness, "train_all", trained)
    adapter = harness.Model()
    adapter.reset("made_up")
    at = float(data.mood.at[-1])
    observed(stream, adapter, at)
    user = f"{data.mood.user[-1]:08x}"
    before = (adapter.predict_mood([user], at), adapter.predict_churn([user], at, 7))

    class Events:
        ts = np.array([1.0, 2.0])
        chars = np.array([3.0, math.nan])
        compound = np.array([0.5, math.nan])

    adapter.fit({"one": Events(), "other": Events()}, at)

    assert seen == [2, 2]
    assert adapter.predict_mood([user], at) != before[0]
    assert adapter.predict_churn([user], at, 7) == before[1]


def test_a_dataset_is_answered_by_the_models_kept_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make evaluate` keeps them, each below the name of what it never saw."""
    monkeypatch.setattr(harness, "LEAVE_ONE_OUT", tmp_path)
    for kind in ("churn", "timing", "mood"):
        folder = tmp_path / "made_up" / kind
        folder.mkdir(parents=True)
        for file in ("model.onnx", "card.json"):
            (folder / file).write_bytes((ROOT / "models" / kind / file).read_bytes())
        card = json.loads((folder / "card.json").read_text()) | {"version": f"{kind} without it"}
        (folder / "card.json").write_text(json.dumps(card))

    adapter = harness.LeaveOneOut()
    adapter.reset("made_up")

    assert adapter.versions == {kind: f"{kind} without it" for kind in ("churn", "timing", "mood")}
