"""The trainer's use case: what it hands to the training, and what it does with the verdicts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engagement.domain.champion import MODELS, PROMOTABLE, UPLIFT, Champion, Entry
from engagement.domain.history import History
from engagement.domain.tick import Tick
from engagement.errors import BadTickError, ModelUnavailableError, StoreUnavailableError
from engagement.services.training import RESERVE_SECONDS, Training, TrainingReport, requested_samples
from tests.builders import interaction

MONDAY = datetime(2026, 11, 23, 4, tzinfo=UTC)
BUNDLED = {name: Path("/bundled") / name for name in MODELS}
CHAMPION = Champion(prefix="models/churn/v1", sha256="1" * 64, version="v1", promoted_at=MONDAY, revision="r1")


@dataclass(frozen=True)
class Verdict:
    name: str
    outcome: str = "keep"
    reason: str = "AUC .80, which is not above .81"
    samples: int = 700
    metrics: Mapping[str, Any] = field(default_factory=dict)
    directory: Path | None = None


class Histories:
    """Two users."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, datetime, int, int]] = []

    def consenting(self, bot_id: int, now: datetime, *, segment: int = 0, of: int = 1) -> Iterator[History]:
        self.asked.append((bot_id, now, segment, of))
        yield History([interaction(1)])
        yield History([interaction(2), interaction(3)])


class Registry:
    """One champion, for churn; what happens to it is written down."""

    def __init__(self) -> None:
        self.champions: dict[str, Champion | None] = {"churn": CHAMPION}
        self.unreadable: set[str] = set()
        self.damaged: set[str] = set()
        self.moved: set[str] = set()
        self.published: dict[str, list[str]] = {}
        self.promoted: dict[str, tuple[Entry, datetime, Champion | None]] = {}

    def champion(self, name: str) -> Champion | None:
        if name in self.unreadable:
            raise ModelUnavailableError("the pointer cannot be read")
        return self.champions.get(name)

    def fetch(self, name: str, champion: Entry, cache: Path) -> Path:
        if name in self.damaged:
            raise ModelUnavailableError("the champion is damaged")
        folder = cache / name / champion.version
        folder.mkdir(parents=True)
        return folder

    def publish(self, name: str, directory: Path) -> Entry:
        self.published[name] = [file.name for file in directory.iterdir()]
        return Entry(prefix=f"models/{name}/v2", sha256="2" * 64, version="v2")

    def promote(self, name: str, entry: Entry, now: datetime, *, over: Champion | None) -> bool:
        if name in self.moved:
            return False
        self.promoted[name] = (entry, now, over)
        return True


class Trainer:
    """Says what it was told to say, after reading everything; a candidate to be promoted leaves a file."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = [Verdict(name) for name in PROMOTABLE]
        self.winners: set[str] = set()
        self.histories: list[History] = []
        self.given: dict[str, Any] = {}

    def __call__(self, histories: Iterator[History], **given: Any) -> list[Verdict]:
        self.histories = list(histories)
        self.given = given | {"left": given["remaining_seconds"]()}
        assert all(path in BUNDLED.values() or path.is_dir() for path in given["serving"].values())
        return [self._win(verdict) if verdict.name in self.winners else verdict for verdict in self.verdicts]

    def _win(self, verdict: Verdict) -> Verdict:
        folder = self.given["out"] / verdict.name
        folder.mkdir(parents=True)
        (folder / "model.onnx").touch()
        return Verdict(verdict.name, "promote", "AUC .83, above .81", 900, {"accuracy": 0.79}, folder)


class Scene:
    """A trainer with everything around it."""

    def __init__(self) -> None:
        self.histories, self.registry, self.trainer = Histories(), Registry(), Trainer()
        self.remaining = iter([900.0, 800.0, 780.0])

    def train(self, tick: Tick | None = None, min_samples: int = 500) -> TrainingReport:
        training = Training(
            bot_id=7, histories=self.histories, registry=self.registry, train=self.trainer, bundled=BUNDLED
        )
        return training.train_models(tick or Tick(MONDAY, 0, 1), min_samples, lambda: next(self.remaining))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_every_model_is_trained_from_all_histories_against_what_serves(scene: Scene) -> None:
    """R78: the champion where there is one, else the model that came with the code."""
    report = scene.train()

    assert scene.histories.asked == [(7, MONDAY, 0, 1)]
    assert [len(history.interactions) for history in scene.trainer.histories] == [1, 2]
    given = scene.trainer.given
    assert set(given["serving"]) == set(MODELS)
    assert given["serving"]["churn"].parts[-2:] == ("churn", "v1")
    assert (given["serving"]["mood"], given["bundled"]) == (BUNDLED["mood"], BUNDLED)
    assert (given["now"], given["min_samples"]) == (MONDAY, 500)
    assert (report.users, report.samples, report.seconds) == (2, 700, 120)


def test_a_share_of_the_users_may_be_asked_for(scene: Scene) -> None:
    """A bot too large for one run is sampled by whole users."""
    scene.train(Tick(MONDAY, 1, 4))

    assert scene.histories.asked == [(7, MONDAY, 1, 4)]


def test_time_is_kept_back_for_publishing(scene: Scene) -> None:
    """R77: a training that ends with the clock has published nothing."""
    scene.train()

    assert scene.trainer.given["left"] == 800.0 - RESERVE_SECONDS


def test_what_won_is_published_and_promoted_over_what_it_was_compared_with(scene: Scene) -> None:
    """R78: the pointer moves only if it still is what was read before the training."""
    scene.trainer.winners = {"churn", "mood"}

    report = scene.train()

    assert report.models_trained == ("churn", "mood")
    assert scene.registry.published == {"churn": ["model.onnx"], "mood": ["model.onnx"]}
    assert scene.registry.promoted["churn"][1:] == (MONDAY, CHAMPION)
    assert scene.registry.promoted["mood"][1:] == (MONDAY, None)
    assert report.results["churn"]["serves"] == report.results["mood"]["serves"] == "v2"
    assert report.results["timing"]["serves"] == "bundled"


def test_where_no_uplift_model_serves_there_is_nothing_to_compare_one_with(scene: Scene) -> None:
    """R78: none comes with the code; the first is promoted over no pointer, and serves."""
    assert scene.train().results[UPLIFT]["serves"] == "none"
    assert UPLIFT not in scene.trainer.given["serving"]

    again = Scene()
    again.trainer.winners = {UPLIFT}
    report = again.train()

    assert report.models_trained == (UPLIFT,)
    assert again.registry.promoted[UPLIFT][2] is None
    assert report.results[UPLIFT]["serves"] == "v2"


@pytest.mark.parametrize("prefix", ["models/uplift/v1", ""])
def test_a_champion_of_uplift_is_compared_with_and_a_rolled_back_one_is_not(scene: Scene, prefix: str) -> None:
    """R78"""
    scene.registry.champions[UPLIFT] = Champion(prefix=prefix, sha256="3" * 64, version="u1", revision="r1")

    report = scene.train()

    assert (UPLIFT in scene.trainer.given["serving"]) == bool(prefix)
    assert report.results[UPLIFT]["serves"] == ("u1" if prefix else "none")


def test_a_champion_of_uplift_that_cannot_be_used_leaves_none_serving(scene: Scene) -> None:
    """R79: nobody is left out for its sake; the report says why."""
    scene.registry.champions[UPLIFT] = Champion(prefix="models/uplift/v1", sha256="3" * 64, version="u1", revision="r1")
    scene.registry.damaged = {UPLIFT}

    found = scene.train().results[UPLIFT]

    assert (found["serves"], found["fault"]) == ("none", "the champion is damaged")


def test_a_pointer_that_moved_meanwhile_stays_where_it_is(scene: Scene) -> None:
    """R78: whoever moved it knew nothing of this model, nor this model of theirs."""
    scene.trainer.winners = {"churn"}
    scene.registry.moved = {"churn"}

    report = scene.train()

    assert report.models_trained == ()
    assert report.results["churn"]["outcome"] == "keep"
    assert "not what was read before the training; AUC .83" in report.results["churn"]["reason"]
    assert report.results["churn"]["serves"] == "v1"


def test_a_champion_that_cannot_be_used_is_replaced(scene: Scene) -> None:
    """R79: it does not serve, so the bundled model is what a candidate has to beat; the report says why."""
    scene.registry.damaged = {"churn"}
    scene.trainer.winners = {"churn"}

    report = scene.train()

    assert scene.trainer.given["serving"]["churn"] == BUNDLED["churn"]
    assert scene.registry.promoted["churn"][2] == CHAMPION
    assert report.results["churn"]["fault"] == "the champion is damaged"


def test_a_pointer_that_cannot_be_read_is_left_to_the_operator(scene: Scene) -> None:
    """R78: it counts as none, and a promotion over none meets it."""
    scene.registry.unreadable = {"churn"}
    scene.registry.moved = {"churn"}
    scene.trainer.winners = {"churn"}

    report = scene.train()

    assert report.models_trained == ()
    assert report.results["churn"]["fault"] == "the pointer cannot be read"
    assert report.results["churn"]["serves"] == "bundled"


@pytest.mark.parametrize("outcome", ["keep", "too_little_data", "one_class", "out_of_time"])
def test_a_training_without_a_result_is_a_result(scene: Scene, outcome: str) -> None:
    """R77: said, and nothing is touched."""
    scene.trainer.verdicts = [Verdict(name, outcome, "12 examples, 500 are wanted", 12) for name in PROMOTABLE]

    report = scene.train()

    assert report.models_trained == ()
    assert {result["outcome"] for result in report.results.values()} == {outcome}
    assert scene.registry.published == {}


def test_the_report_speaks_the_guides_names(scene: Scene) -> None:
    """`models_trained`, `results.churn_model.accuracy`, and the honest metrics beside it; as JSON."""
    scene.trainer.winners = {"churn"}

    summary = json.loads(json.dumps(scene.train().summary()))

    assert summary["models_trained"] == ["churn"]
    assert set(summary["results"]) == {"churn_model", "timing_model", "mood_model", "uplift_model"}
    assert summary["results"]["churn_model"] == {
        "accuracy": 0.79,
        "outcome": "promote",
        "reason": "AUC .83, above .81",
        "samples": 900,
        "serves": "v2",
    }
    assert (summary["users"], summary["samples"], summary["seconds"]) == (2, 900, 120)


def test_nothing_is_left_on_the_disk(scene: Scene) -> None:
    """A warm copy trains again next week; its disk is half a gigabyte."""
    scene.trainer.winners = {"churn"}
    scene.train()

    assert not scene.trainer.given["out"].exists()
    assert not scene.trainer.given["serving"]["churn"].exists()


def test_trouble_with_the_table_promotes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """R77: half of the users are not the users."""

    def broken(*_: object, **__: object) -> Iterator[History]:
        yield History([interaction(1)])
        raise StoreUnavailableError("DynamoDB: Throttling")

    monkeypatch.setattr(scene.histories, "consenting", broken)
    scene.trainer.winners = {"churn"}

    with pytest.raises(StoreUnavailableError):
        scene.train()
    assert scene.registry.published == {}


def test_an_event_may_ask_for_fewer_samples() -> None:
    """The guide's `train_models(min_samples=500)`."""
    assert requested_samples({"scheduled_time": "..."}, 500) == 500
    assert requested_samples({"min_samples": 20}, 500) == 20


@pytest.mark.parametrize("wrong", ["many", "20", 0, -1, 1.5, True, None])
def test_an_unreadable_wish_is_refused(wrong: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadTickError, match="min_samples"):
        requested_samples({"min_samples": wrong}, 500)


def test_only_the_trainer_imports_the_training() -> None:
    """R79: no other function carries scikit-learn, nor joblib behind it."""
    handlers = (Path(__file__).parents[2] / "functions").glob("*/handler.py")

    assert [path.parent.name for path in handlers if "from models" in path.read_text()] == ["trainer"]
