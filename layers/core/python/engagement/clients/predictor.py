"""Prediction: features -> churn, hours, mood, uplift, each by an ONNX model that proves to be what its card says."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from engagement.domain import features, mood, timing, uplift
from engagement.domain.champion import CARD_FILE, MODEL_FILE
from engagement.domain.pattern import HOURS_OF_DAY
from engagement.domain.scores import ChurnScores
from engagement.domain.uplift import Uplift
from engagement.errors import ModelUnavailableError

INPUT = "features"
SESSIONS_KEPT = 8
"""The four models that serve and those they are compared with; each is held once however often it is loaded."""
ROUNDING = 1e-4
"""How far from 1 the float32 shares of 24 hours may add up to."""

# The runtime's own exceptions share no base but Exception.
_ORT_ERRORS = (
    ort.EPFail,
    ort.EngineError,
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NoModel,
    ort.NoSuchFile,
    ort.NotImplemented,
    ort.RuntimeException,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a kind of model takes and gives.

    Attributes:
        output: name of the answer, and of the kind.
        meaning: what the numbers of an answer are.
        names: the features, in their order.
        feature_version: of the code that makes them.
        shape: of the features for one answer.
        width: numbers of one answer.
    """

    output: str
    meaning: str
    names: tuple[str, ...]
    feature_version: int
    shape: tuple[int, ...]
    width: int


CHURN = Interface(
    output="churn",
    meaning="churn probabilities",
    names=features.NAMES,
    feature_version=features.VERSION,
    shape=(len(features.NAMES),),
    width=3,
)
TIMING = Interface(
    output="timing",
    meaning="shares of the hours",
    names=timing.NAMES,
    feature_version=timing.VERSION,
    shape=(HOURS_OF_DAY, len(timing.NAMES)),
    width=HOURS_OF_DAY,
)
MOOD = Interface(
    output="mood",
    meaning="mood",
    names=mood.NAMES,
    feature_version=mood.VERSION,
    shape=(len(mood.NAMES),),
    width=1,
)
UPLIFT = Interface(
    output="uplift",
    meaning="probabilities of returning and of blocking",
    names=uplift.NAMES,
    feature_version=uplift.VERSION,
    shape=(len(uplift.NAMES),),
    width=3,
)


class _Model(ABC):
    """A loaded model; load it once per running copy and keep it.

    Attributes:
        version: names the model in what it answers; derived from the model file's hash.
        sha256: hex digest of the model file.
        card: all that its card says.
    """

    interface: ClassVar[Interface]

    def __init__(self, session: onnxruntime.InferenceSession, version: str, sha256: str, card: dict[str, Any]) -> None:
        self._session = session
        self.version = version
        self.sha256 = sha256
        self.card = card

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Load `model.onnx` as `card.json` beside it describes it.

        Raises:
            ModelUnavailableError: a file is missing or unreadable, the hash is not the card's, the model was trained
                on other features or another version of them, or it is not the graph this client serves.
        """
        expected = cls.interface
        raw, card = _read(directory)
        digest = hashlib.sha256(raw).hexdigest()
        if card.get("sha256") != digest:
            raise ModelUnavailableError(f"{MODEL_FILE} is damaged: its sha256 is not the one in {CARD_FILE}")
        if card.get("feature_version") != expected.feature_version:
            raise ModelUnavailableError(
                f"the model takes features of version {card.get('feature_version')}, not {expected.feature_version}; "
                "train again"
            )
        if card.get("features") != list(expected.names):
            raise ModelUnavailableError("the model was trained on other features, or in another order; train again")
        version = card.get("version")
        if not isinstance(version, str) or not version:
            raise ModelUnavailableError(f"{CARD_FILE} does not say the model's version")
        model = cls(_session(raw, digest, expected), version, digest, card)
        # One answer of the graph: what cannot answer now would fail in the middle of a run.
        model._answer(np.zeros((1, *expected.shape), np.float32))
        return model

    def _answer(self, asked: Sequence[Any] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one row for each of `asked`, in one call and on one thread; checked by `_is_possible`."""
        expected = self.interface
        try:
            rows = np.array(asked, dtype=np.float32)
            if rows.shape[1:] != expected.shape:
                raise ValueError(f"it takes {expected.shape} numbers, not {rows.shape[1:]}")
            answered = self._session.run([expected.output], {INPUT: rows.reshape(-1, len(expected.names))})
            answers = np.asarray(answered[0])
        except (*_ORT_ERRORS, ValueError) as error:
            raise ModelUnavailableError(f"the model did not answer: {_first_line(error)}") from error
        if answers.shape != (len(asked), expected.width) or not self._is_possible(answers):
            raise ModelUnavailableError(f"the model's answers are not {expected.meaning}")
        return answers

    @staticmethod
    @abstractmethod
    def _is_possible(answers: NDArray[np.float32]) -> bool:
        """Say whether every number can be one of this kind; NaN never can: it compares as false."""


class _Probabilities(_Model):
    """A model whose every answer is a probability."""

    @staticmethod
    def _is_possible(answers: NDArray[np.float32]) -> bool:
        return bool(((answers >= 0) & (answers <= 1)).all())


class ChurnModel(_Probabilities):
    """Probabilities of no interaction within 7, 14 and 30 days."""

    interface = CHURN

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        """Score a batch in one call.

        Args:
            rows: features as `engagement.domain.features.features` returns them; rounded to float32 on the way.

        Raises:
            ModelUnavailableError: a row has not the model's width, or an answer is not a probability.
        """
        return [ChurnScores(*answer) for answer in self._answer(rows).tolist()] if rows else []


class UpliftModel(_Probabilities):
    """What a message changes; see `engagement.domain.uplift.Uplift`."""

    interface = UPLIFT

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[Uplift]:
        """Return what is expected of each decision, in one call.

        Args:
            rows: features as `engagement.domain.uplift.row_of` returns them.

        Raises:
            ModelUnavailableError: a row has not the model's width, or an answer is not a probability.
        """
        return [Uplift(*answer) for answer in self._answer(rows).tolist()] if rows else []


class TimingModel(_Model):
    """Shares of a user's sessions that start in each UTC hour of day."""

    interface = TIMING

    def predict(self, users: Sequence[Sequence[tuple[float, ...]]]) -> list[tuple[float, ...]]:
        """Return 24 shares that sum to 1 for each user, in one call.

        Args:
            users: for each, 24 rows as `engagement.domain.timing.hour_features` returns them.

        Raises:
            ModelUnavailableError: a user has not 24 rows of the model's width, or an answer is not 24 shares.
        """
        return list(map(tuple, self._answer(users).tolist())) if users else []

    @staticmethod
    def _is_possible(answers: NDArray[np.float32]) -> bool:
        return bool((answers >= 0).all() and (np.abs(answers.sum(axis=1) - 1) <= ROUNDING).all())


class MoodModel(_Model):
    """Mean sentiment of the messages that a user writes next."""

    interface = MOOD

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[float]:
        """Return the expected mood of each user, [-1, 1], in one call.

        Args:
            rows: features as `engagement.domain.mood.mood_features` returns them.

        Raises:
            ModelUnavailableError: a row has not the model's width, or an answer is not a mood.
        """
        return [float(mood) for (mood,) in self._answer(rows).tolist()] if rows else []

    @staticmethod
    def _is_possible(answers: NDArray[np.float32]) -> bool:
        return bool((np.abs(answers) <= 1).all())


def _read(directory: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        raw = (directory / MODEL_FILE).read_bytes()
        card = json.loads((directory / CARD_FILE).read_bytes())
    except OSError as error:
        raise ModelUnavailableError(f"there is no readable model in {directory.name}: {error.strerror}") from error
    except ValueError as error:
        raise ModelUnavailableError(f"{CARD_FILE} is not JSON") from error
    if not isinstance(card, dict):
        raise ModelUnavailableError(f"{CARD_FILE} is not an object")
    return raw, card


_sessions: dict[tuple[str, str], onnxruntime.InferenceSession] = {}
"""By kind and sha256."""


def _session(raw: bytes, sha256: str, expected: Interface) -> onnxruntime.InferenceSession:
    """Return the session of these very bytes: the one that is there, or a new one whose interface is as expected."""
    key = (expected.output, sha256)
    if key not in _sessions:
        session = _open(raw, expected)
        if len(_sessions) >= SESSIONS_KEPT:
            del _sessions[next(iter(_sessions))]
        _sessions[key] = session
    return _sessions[key]


def _open(raw: bytes, expected: Interface) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # A function has one core or a share of it: a pool of threads costs start-up and spins.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise ModelUnavailableError(f"{MODEL_FILE} is not a model: {_first_line(error)}") from error
    inputs = [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()]
    if inputs != [(INPUT, "tensor(float)", [len(expected.names)])]:
        raise ModelUnavailableError(f"the model takes {inputs}, not {len(expected.names)} float features")
    outputs = [(node.name, node.shape[1:]) for node in session.get_outputs()]
    if outputs != [(expected.output, [expected.width])]:
        raise ModelUnavailableError(f"the model answers {outputs}, not {expected.width} {expected.meaning}")
    return session


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
