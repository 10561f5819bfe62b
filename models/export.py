"""Training -> `model.onnx`, `card.json` and `golden.json`: written only if onnxruntime says what scikit-learn says."""

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import (
    CHURN,
    INPUT,
    MOOD,
    TIMING,
    UPLIFT,
    ChurnModel,
    Interface,
    MoodModel,
    TimingModel,
    UpliftModel,
)
from engagement.domain.champion import CARD_FILE, GOLDEN_FILE, MODEL_FILE
from engagement.domain.features import BIN_EDGES, NAMES, bins_of, features
from engagement.domain.mood import mood_features
from engagement.domain.pattern import EMPTY, HOURS_OF_DAY, Pattern, fold
from engagement.domain.population import BUNDLED
from engagement.domain.timing import hour_features
from engagement.errors import ModelUnavailableError
from models.dataset import HORIZONS, ChurnExamples, Dataset, interaction
from models.metrics import Numbers
from models.train import REGULARISATION, TIMING_RIDGE, TrainedMood, hour_shares, moods, probabilities, weights

OPSET = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8
TOLERANCE = 1e-5
GOLDEN_ROWS = 8
"""Of each dataset."""
GOLDEN_USERS = 2
"""Of each dataset; each has 24 rows."""
GOLDEN_DIGITS = 6
CHECKED_ROWS = 2_000
"""Of each dataset, beside the golden ones."""
LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime")
NOT_A_BOT = (
    "Trained on group chats, commit histories and purchases, not on talks with a bot: no log of those is public."
)
CHURN_LIMITS = (
    f"{NOT_A_BOT} The ranking should carry over; the level of the probabilities may not, until a bot's own outcomes "
    "correct it.",
    "The figures are for users with at least 3 events, one of them in the last 30 days, and for 7, 14 and 30 days. "
    "Newcomers and users silent for up to a year were trained on, but are not part of the figures.",
    "It says who is likely to stay away, not whom a message would bring back: nobody here was written to.",
    "Times are UTC days and half-hours; a community whose day ends at midnight UTC looks slightly more active.",
)
TIMING_LIMITS = (
    f"{NOT_A_BOT} When people read and answer a bot may differ from when they talk to each other.",
    "Most of what is to be known is in the user's own hours: the best three of 24 hold a quarter of the next sessions, "
    "and no model tried came further. It is the hour in which people start to talk, not one in which a message works.",
    "The figures are for users with at least 10 events, one of them in the last 30 days, and a session in the next 14. "
    "Others get hours close to the population's.",
    "Hours are UTC: a habit moves by an hour for some weeks when clocks change, which is less than the smoothing.",
)
MOOD_LIMITS = (
    f"{NOT_A_BOT} Mood is VADER's compound score of English text, which misses irony, quotes and most slang.",
    "Nine tenths of how the next five messages differ is chance or unknowable: it is a user's usual mood, not a "
    "forecast of the next message, and no reason to alarm anybody.",
    "The figures are for users with at least 5 events, one of them in the last 30 days, and 5 more within 60 days.",
)

Served = ChurnModel | TimingModel | MoodModel | UpliftModel


# --- graphs ---


def churn_graph(pipelines: Sequence[Pipeline]) -> onnx.ModelProto:
    """Return one graph that gives all horizons' probabilities in one call, the longer never above the shorter.

    Input `features`: float32 [rows, features]; output `churn`: float32 [rows, horizons].
    """
    nodes, initializers, columns = [], [], []
    for horizon, pipeline in zip(HORIZONS, pipelines, strict=True):
        graph, probability = _probability(pipeline, CHURN, f"h{horizon}_")
        nodes += graph.node
        initializers += graph.initializer
        columns.append(probability)
    for index in range(1, len(columns)):
        capped = f"{columns[index]}_capped"
        nodes.append(helper.make_node("Min", [columns[index - 1], columns[index]], [capped]))
        columns[index] = capped
    nodes.append(helper.make_node("Concat", columns, [CHURN.output], axis=1))
    return _model(nodes, initializers, CHURN)


def timing_graph(logit: LogisticRegression) -> onnx.ModelProto:
    """Return a graph that gives each user's shares of the 24 hours.

    Input `features`: float32 [24 * users, features], a user's hours in order; output `timing`: float32 [users, 24].
    """
    graph = _converted(logit, TIMING, "hour_", {"zipmap": False, "raw_scores": True})
    users = helper.make_tensor("hour_shape", onnx.TensorProto.INT64, [2], [-1, HOURS_OF_DAY])
    nodes = [
        *graph.node,
        helper.make_node("Gather", [graph.output[1].name, "hour_column"], ["hour_score"], axis=1),
        helper.make_node("Reshape", ["hour_score", "hour_shape"], ["user_scores"]),
        helper.make_node("Softmax", ["user_scores"], [TIMING.output], axis=1),
    ]
    return _model(nodes, [*graph.initializer, _column("hour_", logit), users], TIMING)


def mood_graph(regressor: Any) -> onnx.ModelProto:
    """Return a graph that gives each user's expected mood, [-1, 1].

    Input `features`: float32 [rows, features]; output `mood`: float32 [rows, 1].
    """
    graph = _converted(regressor, MOOD, "mood_", {})
    bounds = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [end]) for name, end in (("low", -1), ("high", 1))]
    clip = helper.make_node("Clip", [graph.output[0].name, "low", "high"], [MOOD.output])
    return _model([*graph.node, clip], [*graph.initializer, *bounds], MOOD)


def uplift_graph(sent: Any, alone: Any, blocked: Any, blocked_anyway: float) -> onnx.ModelProto:
    """Return one graph that gives what is expected of each decision, as `engagement.domain.uplift.Uplift` has it.

    Input `features`: float32 [rows, features]; output `uplift`: float32 [rows, 3].

    Args:
        sent: gives the probability of coming back when written to.
        alone: the same when held out.
        blocked: gives the probability of blocking or opting out when written to.
        blocked_anyway: share of the held out who did.
    """
    nodes, initializers, columns = [], [], []
    for prefix, model in (("sent_", sent), ("alone_", alone), ("blocked_", blocked)):
        graph, probability = _probability(model, UPLIFT, prefix)
        nodes += graph.node
        initializers += graph.initializer
        columns.append(probability)
    initializers.append(helper.make_tensor("anyway", onnx.TensorProto.FLOAT, [], [blocked_anyway]))
    nodes += [
        helper.make_node("Sub", [columns[2], "anyway"], ["beyond"]),
        helper.make_node("Relu", ["beyond"], ["because"]),
        helper.make_node("Concat", [*columns[:2], "because"], [UPLIFT.output], axis=1),
    ]
    return _model(nodes, initializers, UPLIFT)


def _probability(classifier: Any, interface: Interface, prefix: str) -> tuple[onnx.GraphProto, str]:
    """Return a classifier's part of a graph, and the name of the probability of its true class."""
    graph = _converted(classifier, interface, prefix, {"zipmap": False})
    graph.initializer.append(_column(prefix, classifier))
    name = f"{prefix}probability"
    graph.node.append(helper.make_node("Gather", [graph.output[1].name, f"{prefix}column"], [name], axis=1))
    return graph, name


def _converted(model: Any, interface: Interface, prefix: str, options: Mapping[str, Any]) -> onnx.GraphProto:
    converted = convert_sklearn(
        model,
        name=interface.output,
        initial_types=[(INPUT, FloatTensorType([None, len(interface.names)]))],
        target_opset=OPSET,
        options=dict(options),
    )
    return compose.add_prefix_graph(converted.graph, prefix, rename_inputs=False)


def _column(prefix: str, classifier: Any) -> onnx.TensorProto:
    """Return which column is the true class: scikit-learn orders its classes, so it is read from the model."""
    column = list(classifier.classes_).index(True)
    return helper.make_tensor(f"{prefix}column", onnx.TensorProto.INT64, [1], [column])


def _model(
    nodes: Sequence[onnx.NodeProto], initializers: Sequence[onnx.TensorProto], interface: Interface
) -> onnx.ModelProto:
    answers = "users" if interface.shape[1:] else "rows"
    graph = helper.make_graph(
        nodes,
        interface.output,
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["rows", len(interface.names)])],
        [helper.make_tensor_value_info(interface.output, onnx.TensorProto.FLOAT, [answers, interface.width])],
        initializers,
    )
    opsets = [helper.make_opsetid(domain, number) for domain, number in OPSET.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rekindle")
    onnx.checker.check_model(model, full_check=True)
    return model


# --- publishing ---


def publish_churn(
    pipelines: Sequence[Pipeline], datasets: Sequence[Dataset], metrics: Mapping[str, Any], directory: Path
) -> dict[str, Any]:
    """Export, check and write the churn model; return its card.

    Args:
        pipelines: one for each of `HORIZONS`.
        datasets: what they were trained on.
        metrics: how well the procedure does, for the card.
        directory: see `publish`.

    Raises:
        ModelUnavailableError: see `publish`.
    """
    trained = [data.churn for data in datasets]
    about = {
        "predicts": "probability of no interaction within each horizon",
        "horizons_days": list(HORIZONS),
        "model": {
            "kind": "a logistic regression per horizon; a longer horizon is never above a shorter",
            "regularisation_C": REGULARISATION,
            "dataset_weight": "square root of its examples in the task; as much again to newcomers and the long silent",
            "log_odds": {f"churn_{horizon}d": _log_odds(p) for horizon, p in zip(HORIZONS, pipelines, strict=True)},
        },
        "metrics": metrics,
        "reference": churn_reference(trained, metrics),
        "limits": CHURN_LIMITS,
        "data": [
            {
                "name": data.name,
                "users": data.users,
                "events": data.events,
                "examples": len(data.churn.eligible),
                "examples_in_task": int(data.churn.eligible.sum()),
                "examples_tested": int((data.churn.eligible & data.churn.held_back).sum()),
            }
            for data in datasets
        ],
    }
    return publish(
        ChurnModel,
        churn_graph(pipelines),
        about=about,
        golden=golden_rows([data.features for data in trained]),
        scikit_learn=lambda rows: probabilities(pipelines, rows),
        checked=(_some(data.features) for data in trained),
        directory=directory,
    )


def publish_timing(
    logit: LogisticRegression, datasets: Sequence[Dataset], metrics: Mapping[str, Any], directory: Path
) -> dict[str, Any]:
    """Export, check and write the timing model; return its card; see `publish_churn`."""
    known = [data for data in datasets if len(data.timing.user)]
    about = {
        "predicts": "share of a user's sessions that start in each UTC hour of day",
        "model": {
            "kind": "a conditional logit over the 24 hours",
            "ridge": TIMING_RIDGE,
            "dataset_weight": "square root of its examples",
            "log_odds": dict(zip(TIMING.names, logit.coef_[0].tolist(), strict=True)),
        },
        "metrics": metrics,
        "reference": _model_metrics(metrics, "timing", ("log_loss", "top_3")),
        "limits": TIMING_LIMITS,
        "data": [_told(data, data.timing.held_back) for data in known],
    }
    golden = [data.timing.features[:: max(len(data.timing.user) // GOLDEN_USERS, 1)] for data in known]
    edges = [hour_features(pattern, BUNDLED, now) for pattern, now in _edge_users()]
    return publish(
        TimingModel,
        timing_graph(logit),
        about=about,
        golden=np.round(np.concatenate([*golden, np.array(edges)]), GOLDEN_DIGITS),
        scikit_learn=lambda users: hour_shares(logit, users),
        checked=(_some(data.timing.features) for data in known),
        directory=directory,
    )


def publish_mood(
    model: TrainedMood, datasets: Sequence[Dataset], metrics: Mapping[str, Any], directory: Path
) -> dict[str, Any]:
    """Export, check and write the mood model; return its card; see `publish_churn`."""
    known = [data for data in datasets if len(data.mood.user)]
    about = {
        "predicts": "mean sentiment of the user's next messages, as VADER's compound score",
        "model": {
            "kind": model.kind,
            "refused": model.refused,
            "gate": "trained before the held-back cut-offs and compared on them: served only if the 95 % interval of "
            "what it gains in R2 over the two-step empirical-Bayes level is above zero",
            "dataset_weight": "square root of its examples",
        },
        "metrics": metrics,
        "reference": _model_metrics(metrics, "mood", ("r2", "mae")),
        "limits": MOOD_LIMITS,
        "data": [_told(data, data.mood.held_back) for data in known],
    }
    edges = [mood_features(pattern, BUNDLED, now) for pattern, now in _edge_users()]
    return publish(
        MoodModel,
        mood_graph(model.regressor),
        about=about,
        golden=golden_rows([data.mood.features for data in known], edges),
        scikit_learn=lambda rows: moods(model.regressor, rows)[:, None],
        checked=(_some(data.mood.features) for data in known),
        directory=directory,
    )


def publish(
    kind: type[Served],
    graph: onnx.ModelProto,
    *,
    about: Mapping[str, Any],
    golden: Numbers,
    scikit_learn: Callable[[Numbers], Numbers],
    checked: Iterable[Numbers],
    directory: Path,
) -> dict[str, Any]:
    """Check and write a model; return its card.

    Args:
        kind: the client that serves it.
        graph: what it serves.
        about: what the card says beside what every card does.
        golden: questions on which the export is checked for good; they are written with scikit-learn's answers.
        scikit_learn: gives its answers to questions, a row for each.
        checked: more questions on which the export is checked now.
        directory: where `model.onnx`, `card.json` and `golden.json` go; made where missing.

    Raises:
        ModelUnavailableError: the client refuses the export, or answers otherwise than scikit-learn. Nothing was
            written then.
    """
    raw = graph.SerializeToString(deterministic=True)
    interface = kind.interface
    sha256 = hashlib.sha256(raw).hexdigest()
    card = {
        "name": interface.output,
        "version": f"{interface.output}-{interface.feature_version}-{sha256[:8]}",
        "feature_version": interface.feature_version,
        "features": list(interface.names),
        "sha256": sha256,
        "bytes": len(raw),
        # A bundled model is the same whenever it is made; who trains on a bot's own data says when.
        "trained_at": None,
        **about,
        "opset": OPSET | {"ir": IR_VERSION},
        "libraries": {name: version(name) for name in LIBRARIES}
        | {"python": ".".join(platform.python_version_tuple()[:2])},
    }
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as name:
        staging = Path(name)
        (staging / MODEL_FILE).write_bytes(raw)
        (staging / CARD_FILE).write_text(_text(card), encoding="utf-8")
        text = _golden_text(interface, golden, scikit_learn(golden))
        (staging / GOLDEN_FILE).write_text(text, encoding="utf-8")
        model = kind.load(staging)
        for questions in chain([golden], checked):
            require_parity(model, questions, scikit_learn(questions))
        for file in staging.iterdir():
            file.replace(directory / file.name)
    return card


def _some(questions: Numbers) -> Numbers:
    return questions[:: max(len(questions) // CHECKED_ROWS, 1)]


def require_parity(model: Served, questions: Numbers, answers: Numbers) -> float:
    """Return the largest difference between what is served and scikit-learn's answers.

    Raises:
        ModelUnavailableError: it exceeds `TOLERANCE`.
    """
    difference = float(np.abs(served(model, questions) - answers).max(initial=0))
    if not difference <= TOLERANCE:
        raise ModelUnavailableError(f"the export differs from scikit-learn by {difference:.1e}; nothing was written")
    return difference


def served(model: Served, questions: Numbers) -> Numbers:
    """Return a loaded model's answers as one array, a row for each question."""
    asked = questions.tolist()
    if isinstance(model, ChurnModel | UpliftModel):
        return np.array([astuple(scores) for scores in model.predict(asked)])
    if isinstance(model, TimingModel):
        return np.array(model.predict(asked))
    return np.array(model.predict(asked))[:, None]


# --- golden rows ---


def golden_rows(trained: Sequence[Numbers], edges: Sequence[Sequence[float]] | None = None) -> Numbers:
    """Return rows on which an export is checked for good: some of each dataset, and the edges of what can be served.

    Args:
        trained: the features of each dataset.
        edges: of unusual users; those of the churn features where None.
    """
    everything = np.concatenate(trained)
    typical = [row for rows in trained for row in rows[:: max(len(rows) // GOLDEN_ROWS, 1)]]
    low, high = everything.min(axis=0), everything.max(axis=0)
    unusual = [features(pattern, now) for pattern, now in _edge_users()] if edges is None else edges
    corners = [np.zeros(len(low)), low, high, *np.diag(low), *np.diag(high), *map(np.array, unusual)]
    return np.round(np.array([*typical, *corners]), GOLDEN_DIGITS)


def _edge_users() -> Iterator[tuple[Pattern, datetime]]:
    seen_at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    newcomer = fold(EMPTY, [interaction(1, 1, int(seen_at.timestamp()))])
    daily = fold(EMPTY, [interaction(1, n, int((seen_at - timedelta(days=n)).timestamp())) for n in range(800)])
    for pattern in (EMPTY, newcomer, daily):
        # A clock that is wrong by a day, no silence, a year of it, and more than counts.
        for silent_days in (-1, 0, 365, 20_000):
            yield pattern, seen_at + timedelta(days=silent_days)


# --- cards ---


def churn_reference(trained: Sequence[ChurnExamples], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what live users and outcomes are compared with.

    feature_bins: for each feature the shares of the task's training rows by bin of `features.BIN_EDGES`. auc_7d and
    ece_7d: the model's, where `metrics` has them.
    """
    rows = np.concatenate([data.features[data.eligible] for data in trained])
    weight = np.concatenate([weights(data)[data.eligible] for data in trained])
    bins = np.array([bins_of(row) for row in rows.tolist()])
    counted = zip(bins.T, BIN_EDGES, strict=True)
    shares = [np.bincount(column, weight, len(edges) + 1) / weight.sum() for column, edges in counted]
    quality = _model_metrics(metrics, "churn_7d", ("auc", "ece"))
    return {
        "feature_bins": [[round(share, 4) for share in column.tolist()] for column in shares],
        **{f"{name}_7d": value for name, value in quality.items()},
    }


def _model_metrics(metrics: Mapping[str, Any], task: str, names: Sequence[str]) -> dict[str, float]:
    measured = metrics.get(task, {}).get("model", {})
    return {name: measured[name] for name in names if name in measured}


def _told(data: Dataset, held_back: Any) -> dict[str, Any]:
    return {
        "name": data.name,
        "users": data.users,
        "events": data.events,
        "examples": len(held_back),
        "examples_tested": int(held_back.sum()),
    }


def _log_odds(pipeline: Pipeline) -> dict[str, float]:
    """Return what one unit of each feature adds to the log odds of staying away, and the start."""
    slopes = pipeline["logit"].coef_[0] / pipeline["scale"].scale_
    start = pipeline["logit"].intercept_[0] - slopes @ pipeline["scale"].mean_
    named = zip(("start", *NAMES), (start, *slopes), strict=True)
    return {name: round(float(number), 4) for name, number in named}


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _golden_text(interface: Interface, questions: Numbers, answers: Numbers) -> str:
    """Return the questions and what scikit-learn says of each, a line each: a change then shows where it is."""
    lines = [
        json.dumps({"features": question, interface.output: [round(number, 9) for number in answer]})
        for question, answer in zip(questions.tolist(), answers.tolist(), strict=True)
    ]
    head = {"feature_version": interface.feature_version, "features": list(interface.names)}
    return json.dumps(head)[:-1] + ', "rows": [\n' + ",\n".join(lines) + "\n]}\n"
