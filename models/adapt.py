"""Weekly training: the bundled model + what one bot's users did -> a candidate, as one graph on top of the bundled one.

Every candidate starts from the model that came with the code, not from last week's: errors cannot add up over the
weeks, and little data change little. Where one bot has not enough to say, it says what the bundled model says.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, override

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, compose, helper, numpy_helper
from scipy.optimize import brentq
from scipy.special import expit, logit, softmax
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge

from engagement.clients.predictor import CHURN, INPUT, MOOD, TIMING, ChurnModel, Interface, MoodModel, TimingModel
from engagement.domain.champion import MODEL_FILE
from engagement.domain.pattern import HOURS_OF_DAY
from models.dataset import OTHER_EVERY
from models.export import IR_VERSION, OPSET, Served
from models.metrics import Numbers

PSEUDO_LABELS = 200
"""Looks at which the bundled model is taken to be right, when its level is shifted."""
LARGEST_SHIFT = 5.0
"""Log odds."""
TREES, DEPTH, LEAF = 100, 7, 60
FULL_WEIGHT, MOST_WEIGHT = 6_000, 0.5
"""The forest weighs looks / `FULL_WEIGHT`, and never more than `MOST_WEIGHT`."""
LEAST_WEIGHT = 0.05
"""Below it the forest is left out: 300 looks."""
SURE = 0.005
"""A forest of so few leaves is never surer than this."""
EPSILON = 1e-5
"""Of the bundled model's probabilities: what float32 can tell from 0 and 1."""
PRIOR_SESSIONS = 200.0
"""How many users' fortnights the bundled timing model counts as, for each unit of its coefficients."""
PRIOR_MOODS = 200.0
SEED = 0


class Candidate(ABC):
    """A model that may come to serve.

    Attributes:
        client: what serves it.
    """

    client: ClassVar[type[Served]]

    @property
    @abstractmethod
    def kind(self) -> str:
        """What it is, for its card."""

    @property
    @abstractmethod
    def details(self) -> dict[str, object]:
        """Its numbers, for its card."""

    @abstractmethod
    def answers(self, rows: Numbers, bundled: Numbers) -> Numbers:
        """Return what it says by numpy and scikit-learn, a row for each of `rows`.

        Args:
            rows: features of the users.
            bundled: what the bundled model says of the same.
        """

    @abstractmethod
    def to_onnx(self, bundled: Path) -> onnx.ModelProto:
        """Return it as a graph of its own, which includes the bundled model where it builds on it.

        Args:
            bundled: folder of the bundled model.
        """


@dataclass(frozen=True, slots=True)
class AdaptedChurn(Candidate):
    """The bundled churn model at this bot's level, mixed in log odds with a forest that saw this bot only.

    The forest is one for all horizons. It regresses the three outcomes, which for zeros and ones is the classifier's
    Gini criterion and the classifier's class shares, and it is a single node of the graph; of a classifier with three
    outcomes skl2onnx 1.20 makes a graph that onnxruntime refuses.
    """

    shift: tuple[float, ...]
    weight: float
    forest: RandomForestRegressor | None

    client = ChurnModel

    @property
    @override
    def kind(self) -> str:
        return "the bundled model, its level shifted" + (", mixed with a random forest" if self.forest else "")

    @property
    @override
    def details(self) -> dict[str, object]:
        return {"shift_log_odds": list(self.shift), "forest_weight": self.weight}

    @override
    def answers(self, rows: Numbers, bundled: Numbers) -> Numbers:
        odds = logit(np.clip(bundled, EPSILON, 1 - EPSILON)) + self.shift
        if self.forest:
            own = logit(np.clip(self.forest.predict(rows), SURE, 1 - SURE))
            odds = (1 - self.weight) * odds + self.weight * own
        lowest: Numbers = np.minimum.accumulate(expit(odds), axis=1)
        return lowest

    @override
    def to_onnx(self, bundled: Path) -> onnx.ModelProto:
        graph = _Graph(CHURN)
        odds = graph.add("Add", graph.log_odds(graph.include(_read(bundled)), EPSILON), graph.constant(self.shift))
        if self.forest:
            own = graph.log_odds(graph.include(_converted(self.forest, CHURN)), SURE)
            odds = graph.add(
                "Add",
                graph.add("Mul", odds, graph.constant(1 - self.weight)),
                graph.add("Mul", own, graph.constant(self.weight)),
            )
        said = graph.add("Sigmoid", odds)
        columns = [graph.add("Gather", said, graph.constant([index], np.int64), axis=1) for index in range(CHURN.width)]
        for index in range(1, CHURN.width):
            columns[index] = graph.add("Min", columns[index - 1], columns[index])
        return graph.finish(graph.add("Concat", *columns, axis=1))


def adapt_churn(
    rows: Numbers, stayed_away: NDArray[np.bool_], bundled: Numbers, task: NDArray[np.bool_]
) -> AdaptedChurn:
    """Fit the shift and, if there is enough to see, the forest.

    Args:
        rows: features of the looks.
        stayed_away: a column for each horizon.
        bundled: what the bundled model says, likewise.
        task: the looks that the forest's weight goes by; the others are newcomers and the long silent.
    """
    weights = task_weights(task)
    odds = logit(np.clip(bundled, EPSILON, 1 - EPSILON))
    shift = tuple(_shift(odds[:, column], stayed_away[:, column], weights) for column in range(CHURN.width))
    weight = float(f"{min(MOST_WEIGHT, int(task.sum()) / FULL_WEIGHT):.6g}")
    forest = None
    if weight >= LEAST_WEIGHT:
        forest = RandomForestRegressor(
            TREES, max_depth=DEPTH, min_samples_leaf=LEAF, max_features="sqrt", random_state=SEED, n_jobs=1
        )
        forest.fit(rows, stayed_away.astype(float), sample_weight=weights)
    return AdaptedChurn(shift, weight if forest else 0.0, forest)


def shifted_only(adapted: AdaptedChurn) -> AdaptedChurn:
    """Return the candidate without its forest."""
    return AdaptedChurn(adapted.shift, 0.0, None)


def task_weights(task: NDArray[np.bool_]) -> Numbers:
    """Return the weight of each look: 1 in the benchmark's task; the others together weigh as much as the task.

    Where they are few, each stands for the `OTHER_EVERY` of which it was kept, and no more.
    """
    inside = int(task.sum())
    outside = len(task) - inside
    each = min(inside / outside, OTHER_EVERY) if inside and outside else 1.0
    weights: Numbers = np.where(task, 1.0, each)
    return weights


def _shift(odds: Numbers, stayed_away: NDArray[np.bool_], weights: Numbers) -> float:
    """Return what the log odds have to rise by, for the mean to be right; pseudo-labels hold it back."""

    def excess(shift: float) -> float:
        moved = expit(odds + shift)
        return float((weights * (stayed_away - moved)).sum() + PSEUDO_LABELS * np.mean(expit(odds) - moved))

    if excess(LARGEST_SHIFT) >= 0:
        return LARGEST_SHIFT
    if excess(-LARGEST_SHIFT) <= 0:
        return -LARGEST_SHIFT
    return float(f"{brentq(excess, -LARGEST_SHIFT, LARGEST_SHIFT):.6g}")


@dataclass(frozen=True, slots=True)
class AdaptedTiming(Candidate):
    """The bundled conditional logit with other coefficients: since it is a softmax, a difference adds to its log."""

    difference: tuple[float, ...]

    client = TimingModel
    kind = "the bundled conditional logit over the 24 hours, its coefficients moved"

    @property
    @override
    def details(self) -> dict[str, object]:
        return {"coefficients_moved_by": dict(zip(TIMING.names, self.difference, strict=True))}

    @override
    def answers(self, rows: Numbers, bundled: Numbers) -> Numbers:
        shares: Numbers = softmax(np.log(bundled) + rows @ np.array(self.difference), axis=1)
        return shares

    @override
    def to_onnx(self, bundled: Path) -> onnx.ModelProto:
        graph = _Graph(TIMING)
        column = np.array(self.difference)[:, None]
        moved = graph.add("MatMul", INPUT, graph.constant(column))
        moved = graph.add("Reshape", moved, graph.constant([-1, HOURS_OF_DAY], np.int64))
        said = graph.add("Log", graph.include(_read(bundled)))
        return graph.finish(graph.add("Softmax", graph.add("Add", said, moved), axis=1))


def adapt_timing(rows: Numbers, hours: Numbers, bundled: Numbers) -> AdaptedTiming:
    """Fit the bot's own conditional logit, held back towards the bundled one.

    Args:
        rows: 24 rows of features for each look.
        hours: shares of the sessions that followed, likewise.
        bundled: what the bundled model says, likewise.
    """
    start = np.log(bundled)
    difference = np.zeros(rows.shape[2])
    # Newton's method on a convex loss; four numbers need no more than a few steps.
    for _ in range(20):
        shares = softmax(start + rows @ difference, axis=1)
        gradient = np.einsum("uh,uhf->f", shares - hours, rows) + PRIOR_SESSIONS * difference
        centred = rows - np.einsum("uh,uhf->uf", shares, rows)[:, None, :]
        curvature = np.einsum("uh,uhf,uhg->fg", shares, centred, centred) + PRIOR_SESSIONS * np.eye(len(difference))
        step = np.linalg.solve(curvature, gradient)
        difference = difference - step
        if np.abs(step).max() < 1e-9:
            break
    return AdaptedTiming(tuple(float(f"{number:.6g}") for number in difference))


@dataclass(frozen=True, slots=True)
class AdaptedMood(Candidate):
    """The bundled mood model with a linear correction."""

    slopes: tuple[float, ...]
    start: float

    client = MoodModel
    kind = "the bundled mood model with a linear correction"

    @property
    @override
    def details(self) -> dict[str, object]:
        return {"start": self.start, "slopes": dict(zip(MOOD.names, self.slopes, strict=True))}

    @override
    def answers(self, rows: Numbers, bundled: Numbers) -> Numbers:
        correction = rows @ np.array(self.slopes) + self.start
        moods: Numbers = np.clip(bundled + correction[:, None], -1, 1)
        return moods

    @override
    def to_onnx(self, bundled: Path) -> onnx.ModelProto:
        graph = _Graph(MOOD)
        correction = graph.add("MatMul", INPUT, graph.constant(np.array(self.slopes)[:, None]))
        correction = graph.add("Add", correction, graph.constant(self.start))
        return graph.finish(graph.clipped(graph.add("Add", graph.include(_read(bundled)), correction), -1, 1))


def adapt_mood(rows: Numbers, moods: Numbers, bundled: Numbers) -> AdaptedMood:
    """Fit what the bundled model leaves over, held back towards nothing; all in one column."""
    ridge = Ridge(alpha=PRIOR_MOODS).fit(rows, moods[:, 0] - bundled[:, 0])
    slopes = tuple(float(f"{slope:.6g}") for slope in ridge.coef_)
    return AdaptedMood(slopes, float(f"{ridge.intercept_:.6g}"))


@dataclass(frozen=True, slots=True)
class BoostedMood(Candidate):
    """Gradient boosting, as tame as it has to be with so much noise: what the textbook would serve."""

    boosted: GradientBoostingRegressor

    client = MoodModel
    kind = "gradient boosting"

    @property
    @override
    def details(self) -> dict[str, object]:
        return {"trees": int(self.boosted.n_estimators), "depth": int(self.boosted.max_depth)}

    @override
    def answers(self, rows: Numbers, bundled: Numbers) -> Numbers:
        moods: Numbers = np.clip(self.boosted.predict(rows), -1, 1)[:, None]
        return moods

    @override
    def to_onnx(self, bundled: Path) -> onnx.ModelProto:
        graph = _Graph(MOOD)
        return graph.finish(graph.clipped(graph.include(_converted(self.boosted, MOOD)), -1, 1))


def boost_mood(rows: Numbers, moods: Numbers) -> BoostedMood:
    """Fit gradient boosting; moods in one column."""
    boosting = GradientBoostingRegressor(
        n_estimators=150, max_depth=2, learning_rate=0.03, subsample=0.5, min_samples_leaf=50, random_state=SEED
    )
    return BoostedMood(boosting.fit(rows, moods[:, 0]))


# --- graphs ---


class _Graph:
    """A graph while it is being put together; every part takes the input `features`."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []

    def include(self, model: onnx.ModelProto) -> str:
        """Take in a whole model; return the name of its answer."""
        part = compose.add_prefix_graph(model.graph, f"part{len(self._nodes)}_", rename_inputs=False)
        self._nodes += part.node
        self._initializers += part.initializer
        name: str = part.output[0].name
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of what it gives."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object, kind: type[np.generic] = np.float32) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def clipped(self, name: str, low: float, high: float) -> str:
        return self.add("Clip", name, self.constant(low), self.constant(high))

    def log_odds(self, probability: str, margin: float) -> str:
        kept = self.clipped(probability, margin, 1 - margin)
        rest = self.add("Sub", self.constant(1.0), kept)
        return self.add("Sub", self.add("Log", kept), self.add("Log", rest))

    def finish(self, answer: str) -> onnx.ModelProto:
        """Return the checked model whose answer that is."""
        interface = self._interface
        self._nodes.append(helper.make_node("Identity", [answer], [interface.output]))
        graph = helper.make_graph(
            self._nodes,
            interface.output,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", len(interface.names)])],
            [helper.make_tensor_value_info(interface.output, TensorProto.FLOAT, ["answers", interface.width])],
            self._initializers,
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in OPSET.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rekindle")
        onnx.checker.check_model(model, full_check=True)
        return model


def _read(folder: Path) -> onnx.ModelProto:
    return onnx.load(str(folder / MODEL_FILE))


def _converted(trees: RandomForestRegressor | GradientBoostingRegressor, interface: Interface) -> onnx.ModelProto:
    kind: Sequence[tuple[str, FloatTensorType]] = [(INPUT, FloatTensorType([None, len(interface.names)]))]
    model: onnx.ModelProto = convert_sklearn(trees, name="trees", initial_types=kind, target_opset=OPSET)
    return model
