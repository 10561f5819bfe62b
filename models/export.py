"""Training -> `model.onnx`, `card.json` and `golden.json`: written only if onnxruntime says what scikit-learn says."""

import hashlib
import json
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import CARD_FILE, INPUT, MODEL_FILE, OUTPUT, ChurnModel
from engagement.domain.features import NAMES, VERSION, features
from engagement.domain.pattern import EMPTY, fold
from engagement.errors import ModelUnavailableError
from models.dataset import HORIZONS, Dataset, interaction
from models.train import REGULARISATION, probabilities

GOLDEN_FILE = "golden.json"
OPSET = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8
TOLERANCE = 1e-5
GOLDEN_ROWS = 8
"""Of each dataset."""
LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime")
LIMITS = (
    "Trained on group chats, commit histories and purchases, not on talks with a bot: no log of those is public. The "
    "ranking should carry over; the level of the probabilities may not, until a bot's own outcomes correct it.",
    "The figures are for users with at least 3 events, one of them in the last 30 days, and for 7, 14 and 30 days. "
    "Newcomers and users silent for up to a year were trained on, but are not part of the figures.",
    "It says who is likely to stay away, not whom a message would bring back: nobody here was written to.",
    "Times are UTC days and half-hours; a community whose day ends at midnight UTC looks slightly more active.",
)


def to_onnx(pipelines: Sequence[Pipeline]) -> onnx.ModelProto:
    """Return one graph that gives all horizons' probabilities in one call, the longer never above the shorter.

    Input `features`: float32 [rows, features]; output `churn`: float32 [rows, horizons].
    """
    nodes, initializers, columns = [], [], []
    for horizon, pipeline in zip(HORIZONS, pipelines, strict=True):
        converted = convert_sklearn(
            pipeline,
            name=OUTPUT,
            initial_types=[(INPUT, FloatTensorType([None, len(NAMES)]))],
            target_opset=OPSET,
            options={"zipmap": False},
        )
        prefix = f"h{horizon}_"
        graph = compose.add_prefix_graph(converted.graph, prefix, rename_inputs=False)
        nodes += graph.node
        initializers += graph.initializer
        # scikit-learn orders its classes; which column is "stayed away" is read from the model, never assumed.
        stayed_away = list(pipeline.classes_).index(True)
        initializers.append(helper.make_tensor(f"{prefix}column", onnx.TensorProto.INT64, [1], [stayed_away]))
        probability = f"{prefix}probability"
        nodes.append(helper.make_node("Gather", [graph.output[1].name, f"{prefix}column"], [probability], axis=1))
        columns.append(probability)
    for index in range(1, len(columns)):
        capped = f"{columns[index]}_capped"
        nodes.append(helper.make_node("Min", [columns[index - 1], columns[index]], [capped]))
        columns[index] = capped
    nodes.append(helper.make_node("Concat", columns, [OUTPUT], axis=1))
    graph = helper.make_graph(
        nodes,
        OUTPUT,
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["rows", len(NAMES)])],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["rows", len(HORIZONS)])],
        initializers,
    )
    opsets = [helper.make_opsetid(domain, number) for domain, number in OPSET.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rekindle")
    onnx.checker.check_model(model, full_check=True)
    return model


def publish(
    pipelines: Sequence[Pipeline], datasets: Sequence[Dataset], metrics: Mapping[str, Any], directory: Path
) -> dict[str, Any]:
    """Export, check and write a model; return its card.

    Args:
        pipelines: one for each of `HORIZONS`.
        datasets: what they were trained on.
        metrics: how well the procedure does, for the card.
        directory: where `model.onnx`, `card.json` and `golden.json` go; made where missing.

    Raises:
        ModelUnavailableError: the client that serves it refuses the export, or answers otherwise than scikit-learn.
            Nothing was written then.
    """
    raw = to_onnx(pipelines).SerializeToString(deterministic=True)
    golden = golden_rows(datasets)
    card = _card(raw, pipelines, datasets, metrics)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as name:
        staging = Path(name)
        (staging / MODEL_FILE).write_bytes(raw)
        (staging / CARD_FILE).write_text(_text(card), encoding="utf-8")
        (staging / GOLDEN_FILE).write_text(_golden_text(golden, probabilities(pipelines, golden)), encoding="utf-8")
        model = ChurnModel.load(staging)
        require_parity(model, pipelines, golden)
        for data in datasets:
            require_parity(model, pipelines, data.features)
        for file in staging.iterdir():
            file.replace(directory / file.name)
    return card


def require_parity(model: ChurnModel, pipelines: Sequence[Pipeline], rows: NDArray[np.float64]) -> float:
    """Return the largest difference between the served and scikit-learn's probabilities.

    Raises:
        ModelUnavailableError: it exceeds `TOLERANCE`.
    """
    served = np.array([astuple(scores) for scores in model.predict([tuple(row) for row in rows.tolist()])])
    difference = float(np.abs(served - probabilities(pipelines, rows)).max())
    if not difference <= TOLERANCE:
        raise ModelUnavailableError(f"the export differs from scikit-learn by {difference:.1e}; nothing was written")
    return difference


def golden_rows(datasets: Sequence[Dataset]) -> NDArray[np.float64]:
    """Return rows on which an export is checked for good: some of each dataset, and the edges of what can be served."""
    everything = np.concatenate([data.features for data in datasets])
    typical = [row for data in datasets for row in data.features[:: max(len(data.features) // GOLDEN_ROWS, 1)]]
    low, high = everything.min(axis=0), everything.max(axis=0)
    edges = [np.zeros(len(NAMES)), low, high, *np.diag(low), *np.diag(high), *_edge_users()]
    return np.round(np.array([*typical, *edges]), 6)


def _edge_users() -> Iterator[NDArray[np.float64]]:
    seen_at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    newcomer = fold(EMPTY, [interaction(1, 1, int(seen_at.timestamp()))])
    daily = fold(EMPTY, [interaction(1, n, int((seen_at - timedelta(days=n)).timestamp())) for n in range(800)])
    for pattern in (EMPTY, newcomer, daily):
        # A clock that is wrong by a day, no silence, a year of it, and more than counts.
        for silent_days in (-1, 0, 365, 20_000):
            yield np.array(features(pattern, seen_at + timedelta(days=silent_days)))


def _card(
    raw: bytes, pipelines: Sequence[Pipeline], datasets: Sequence[Dataset], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    sha256 = hashlib.sha256(raw).hexdigest()
    return {
        "name": OUTPUT,
        "version": f"{OUTPUT}-{VERSION}-{sha256[:8]}",
        "predicts": "probability of no interaction within each horizon",
        "horizons_days": list(HORIZONS),
        "feature_version": VERSION,
        "features": list(NAMES),
        "sha256": sha256,
        "bytes": len(raw),
        "model": {
            "kind": "a logistic regression per horizon; a longer horizon is never above a shorter",
            "regularisation_C": REGULARISATION,
            "dataset_weight": "square root of its examples in the task; as much again to newcomers and the long silent",
            "log_odds": {f"churn_{horizon}d": _log_odds(p) for horizon, p in zip(HORIZONS, pipelines, strict=True)},
        },
        "metrics": metrics,
        "limits": LIMITS,
        "data": [
            {
                "name": data.name,
                "users": data.users,
                "events": data.events,
                "examples": len(data.eligible),
                "examples_in_task": int(data.eligible.sum()),
                "examples_tested": int((data.eligible & data.held_back).sum()),
            }
            for data in datasets
        ],
        "opset": OPSET | {"ir": IR_VERSION},
        "libraries": {name: version(name) for name in LIBRARIES}
        | {"python": ".".join(platform.python_version_tuple()[:2])},
    }


def _log_odds(pipeline: Pipeline) -> dict[str, float]:
    """Return what one unit of each feature adds to the log odds of staying away, and the start."""
    slopes = pipeline["logit"].coef_[0] / pipeline["scale"].scale_
    start = pipeline["logit"].intercept_[0] - slopes @ pipeline["scale"].mean_
    named = zip(("start", *NAMES), (start, *slopes), strict=True)
    return {name: round(float(number), 4) for name, number in named}


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _golden_text(rows: NDArray[np.float64], answers: NDArray[np.float64]) -> str:
    """Return the rows and what scikit-learn says of each, a line a row: a change then shows where it is."""
    lines = [
        json.dumps({"features": row, "churn": [round(p, 9) for p in answer]})
        for row, answer in zip(rows.tolist(), answers.tolist(), strict=True)
    ]
    head = {"feature_version": VERSION, "features": list(NAMES), "horizons_days": list(HORIZONS)}
    return json.dumps(head)[:-1] + ', "rows": [\n' + ",\n".join(lines) + "\n]}\n"
