"""The churn model as it is served: it proves that it is what its card says, and answers what scikit-learn answers."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from engagement.clients.predictor import ChurnModel
from engagement.domain.features import NAMES, VERSION, features
from engagement.domain.pattern import EMPTY
from engagement.errors import ModelUnavailableError

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "models" / "churn"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def model() -> ChurnModel:
    return ChurnModel.load(BUNDLED)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((BUNDLED / "golden.json").read_text())
    return content


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the bundled model to damage."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "churn"))


def test_the_bundled_model_answers_the_golden_rows_as_scikit_learn_does(
    model: ChurnModel, golden: dict[str, Any]
) -> None:
    """R35: to 1e-5, with the same class as "stayed away"; the edges of what can be served are among the rows."""
    rows = [tuple(row["features"]) for row in golden["rows"]]
    expected = np.array([row["churn"] for row in golden["rows"]])

    served = np.array([astuple(scores) for scores in model.predict(rows)])

    assert golden["features"] == list(NAMES)
    assert len(rows) > 80
    assert np.abs(served - expected).max() <= 1e-5
    # Swapped classes would give one minus this, which no tolerance hides on rows that are this sure.
    assert expected.min() < 0.1
    assert expected.max() > 0.99


def test_the_card_and_the_golden_rows_belong_to_this_version_of_the_features(golden: dict[str, Any]) -> None:
    """R35"""
    card = json.loads((BUNDLED / "card.json").read_text())

    assert card["feature_version"] == golden["feature_version"] == VERSION
    assert card["sha256"] == hashlib.sha256((BUNDLED / "model.onnx").read_bytes()).hexdigest()
    assert card["version"].endswith(card["sha256"][:8])
    assert card["limits"]
    assert (BUNDLED / "model.onnx").stat().st_size < 100_000


def test_the_card_says_that_the_model_beats_every_baseline_beside_it() -> None:
    """A model that a rule beats is not shipped."""
    metrics = json.loads((BUNDLED / "card.json").read_text())["metrics"]

    for horizon in ("churn_7d", "churn_14d", "churn_30d"):
        candidates = dict(metrics[horizon])
        trained = candidates.pop("model")
        assert trained["auc"] >= 0.81
        assert trained["ece"] <= 0.065
        assert candidates.keys() == {"rules", "recency logit", "base rate"}
        assert all(trained["auc"] > baseline["auc"] for baseline in candidates.values())
        assert all(trained["brier"] < baseline["brier"] for baseline in candidates.values())


def test_a_batch_answers_what_one_row_at_a_time_does(model: ChurnModel, golden: dict[str, Any]) -> None:
    """Rows are independent, whatever else is in the batch."""
    rows = [tuple(row["features"]) for row in golden["rows"]]

    one_by_one = [astuple(scores) for row in rows for scores in model.predict([row])]

    # Not equal to the last bit: a batch is added up in another order.
    assert np.abs(np.array(one_by_one) - [astuple(scores) for scores in model.predict(rows)]).max() < 1e-6
    assert model.predict([]) == []


@given(
    row=st.tuples(st.floats(0, 6), st.floats(0, 6), st.floats(0, 6), st.floats(-5, 5), st.floats(0, 5)),
)
@settings(max_examples=200)
def test_scores_are_probabilities_that_never_rise_with_the_horizon(
    model: ChurnModel, row: tuple[float, float, float, float, float]
) -> None:
    """R34: for any row within the features' ranges, likely or not."""
    (scores,) = model.predict([row])

    assert 1 >= scores.churn_7d >= scores.churn_14d >= scores.churn_30d >= 0
    assert all(math.isfinite(score) for score in astuple(scores))


def test_users_who_were_never_seen_get_a_finite_score(model: ChurnModel) -> None:
    """R34"""
    (stranger, zeros) = model.predict([features(EMPTY, NOW), (0.0,) * len(NAMES)])

    assert stranger.churn_14d > 0.9
    assert all(0 < score < 1 for score in astuple(zeros))


def test_a_year_of_silence_raises_the_score_of_a_newcomer_week_by_week(model: ChurnModel) -> None:
    """A score must not freeze: silence is when users leave."""
    newcomer = type(EMPTY)(
        first_at=int(NOW.timestamp()),
        last_at=int(NOW.timestamp()),
        total=1,
        days=(int(NOW.timestamp()) // 86_400,),
        slots=(int(NOW.timestamp()) // 1_800,),
    )
    rows = [features(newcomer, NOW + timedelta(weeks=weeks)) for weeks in range(52)]

    scores = [scores.churn_14d for scores in model.predict(rows)]

    assert scores == sorted(scores)
    assert scores[0] < 0.85 < 0.98 < scores[-1]


def test_one_thread_serves(model: ChurnModel) -> None:
    """A function has one core: a pool of threads would cost 45 ms of each cold start and then spin."""
    options = model._session.get_session_options()

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


# --- a model that must not be served ---


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def replace_model(folder: Path, raw: bytes) -> None:
    """Put another model there, with the right hash: only what is in it can give it away."""
    (folder / "model.onnx").write_bytes(raw)
    edit_card(folder, sha256=hashlib.sha256(raw).hexdigest())


def graph(width: int, outputs: int = 3, name: str = "churn", bias: float = 0.5) -> bytes:
    """A model that adds up: `outputs` numbers for `width` features."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [width, outputs], [0.0] * width * outputs)
    start = helper.make_tensor("start", TensorProto.FLOAT, [outputs], [bias] * outputs)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["features", "weight"], ["product"]),
                helper.make_node("Add", ["product", "start"], [name]),
            ],
            "g",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", width])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", outputs])],
            [weight, start],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no readable model"),
    "no model": (lambda folder: (folder / "model.onnx").unlink(), "no readable model"),
    "no card": (lambda folder: (folder / "card.json").unlink(), "no readable model"),
    "a truncated model": (
        lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-9]),
        "damaged",
    ),
    "an empty model": (lambda folder: (folder / "model.onnx").write_bytes(b""), "damaged"),
    "another hash": (lambda folder: edit_card(folder, sha256="0" * 64), "damaged"),
    "no hash": (lambda folder: edit_card(folder, sha256=None), "damaged"),
    "a card that is no JSON": (lambda folder: (folder / "card.json").write_text("{"), "not JSON"),
    "a card in another encoding": (lambda folder: (folder / "card.json").write_bytes(b"\xff\xfe{"), "not JSON"),
    "a card that is a list": (lambda folder: (folder / "card.json").write_text("[]"), "not an object"),
    "another feature version": (lambda folder: edit_card(folder, feature_version=VERSION + 1), "version"),
    "fewer features": (lambda folder: edit_card(folder, features=list(NAMES[:-1])), "other features"),
    "another order": (lambda folder: edit_card(folder, features=list(NAMES[::-1])), "other features"),
    "no version": (lambda folder: edit_card(folder, version=None), "version"),
    "not ONNX": (lambda folder: replace_model(folder, b"import os; os.system('true')"), "not a model"),
    "a truncated model with its hash": (
        lambda folder: replace_model(folder, (folder / "model.onnx").read_bytes()[:-9]),
        "not a model",
    ),
    "more inputs": (lambda folder: replace_model(folder, graph(len(NAMES) + 1)), "float features"),
    "fewer outputs": (lambda folder: replace_model(folder, graph(len(NAMES), outputs=2)), "churn probabilities"),
    "another output": (lambda folder: replace_model(folder, graph(len(NAMES), name="mood")), "churn probabilities"),
    "answers above one": (lambda folder: replace_model(folder, graph(len(NAMES), bias=1.5)), "not probabilities"),
    "answers that are no numbers": (
        lambda folder: replace_model(folder, graph(len(NAMES), bias=math.nan)),
        "not probabilities",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_model_that_is_not_what_its_card_says_is_not_served(copy: Path, name: str) -> None:
    """R33: missing, truncated, of another hash, version, width or kind: one error, with a reason to act on."""
    damage, reason = DAMAGE[name]
    assert ChurnModel.load(copy).version

    damage(copy)

    with pytest.raises(ModelUnavailableError, match=reason):
        ChurnModel.load(copy)


def test_a_sound_model_of_another_kind_is_served(copy: Path) -> None:
    """R33: what is refused above is refused for its reason, not for being another graph."""
    replace_model(copy, graph(len(NAMES)))

    assert ChurnModel.load(copy).predict([(0.0,) * len(NAMES)])[0].churn_7d == 0.5


def test_rows_of_another_width_are_refused(model: ChurnModel) -> None:
    """R33"""
    with pytest.raises(ModelUnavailableError, match="did not answer"):
        model.predict([(0.0,) * (len(NAMES) + 1)])
    with pytest.raises(ModelUnavailableError, match="did not answer"):
        model.predict([(0.0,) * len(NAMES), (0.0,)])


def test_nothing_that_serves_can_unpickle() -> None:
    """R79: a pickled model runs code when it is opened; ours are data."""
    sources = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers" / "core" / "python").rglob("*.py")]

    assert len(sources) > 20
    for source in sources:
        text = source.read_text()
        assert not any(f"import {module}" in text for module in ("pickle", "joblib", "cloudpickle", "marshal")), source
