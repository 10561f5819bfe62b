"""The score at the moment of sending: the serving model's, or the rule's."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engagement.clients import rescoring
from engagement.clients.predictor import ChurnModel
from engagement.clients.rescoring import Rescorer
from engagement.domain.features import features
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.errors import ModelUnavailableError
from tests.builders import NOW, silent_for

BUNDLED = Path(__file__).parents[2] / "models" / "churn"
PATTERN = silent_for(9)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where the champion is looked for, last first; the bundled model where nothing else is said."""
    found = [BUNDLED]
    monkeypatch.setattr(rescoring, "champion_or_bundled", lambda *_: found[-1])
    return found


def test_the_serving_model_scores_the_pattern_as_it_is_now(folders: list[Path]) -> None:
    (expected,) = ChurnModel.load(BUNDLED).predict([features(PATTERN, NOW)])
    assert Rescorer("bucket", BUNDLED)(PATTERN, NOW) == expected
    assert expected != rule_scores(PATTERN, NOW)


def test_a_champion_that_cannot_be_loaded_leaves_it_to_the_bundled_model(folders: list[Path], tmp_path: Path) -> None:
    folders.append(tmp_path / "nothing here")
    (expected,) = ChurnModel.load(BUNDLED).predict([features(PATTERN, NOW)])
    assert Rescorer("bucket", BUNDLED)(PATTERN, NOW) == expected


def test_without_any_model_the_rule_scores(folders: list[Path], tmp_path: Path) -> None:
    folders.append(tmp_path)
    assert Rescorer("bucket", tmp_path)(PATTERN, NOW) == rule_scores(PATTERN, NOW)


class Model:
    """Answers as it is told."""

    def __init__(self, answer: ChurnScores | None) -> None:
        self.answer = answer

    def predict(self, rows: Any) -> list[ChurnScores]:
        if self.answer is None:
            raise ModelUnavailableError("it is broken")
        return [self.answer]


@pytest.mark.parametrize("answer", [None, ChurnScores(0.5, float("nan"), 0.1), ChurnScores(0.5, 1.5, 0.1)])
def test_a_model_that_answers_with_anything_but_probabilities_is_as_good_as_missing(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, answer: ChurnScores | None
) -> None:
    monkeypatch.setattr(ChurnModel, "load", lambda _: Model(answer))
    assert Rescorer("bucket", BUNDLED)(PATTERN, NOW) == rule_scores(PATTERN, NOW)


def test_nothing_is_loaded_before_it_is_needed_and_then_once_an_hour(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another champion is noticed within the hour."""
    loaded: list[Path] = []

    def load(folder: Path) -> Model:
        loaded.append(folder)
        return Model(ChurnScores(0.1 * len(loaded), 0.1, 0.1))

    monkeypatch.setattr(ChurnModel, "load", load)
    rescorer = Rescorer("bucket", BUNDLED)
    assert loaded == []
    given = [rescorer(PATTERN, NOW + timedelta(minutes=minutes)).churn_7d for minutes in (0, 1, 59, 60, 61)]
    assert given == [0.1, 0.1, 0.1, 0.2, 0.2]
    assert len(loaded) == 2
