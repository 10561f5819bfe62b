"""Scoring: features -> churn probabilities, by an ONNX model that proves it is the one its card describes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from engagement.domain.features import NAMES, VERSION
from engagement.domain.scores import ChurnScores
from engagement.errors import ModelUnavailableError

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
INPUT, OUTPUT = "features", "churn"
HORIZONS_DAYS = (7, 14, 30)

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


class ChurnModel:
    """A loaded churn model; load it once per running copy and keep it.

    Attributes:
        version: names the model in what it scores; derived from the model file's hash.
        sha256: hex digest of the model file.
    """

    def __init__(self, session: onnxruntime.InferenceSession, version: str, sha256: str) -> None:
        self._session = session
        self.version = version
        self.sha256 = sha256

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Load `model.onnx` as `card.json` beside it describes it.

        Raises:
            ModelUnavailableError: a file is missing or unreadable, the hash is not the card's, the model was trained
                on other features or another version of them, or it is not the graph this client serves.
        """
        raw, card = _read(directory)
        digest = hashlib.sha256(raw).hexdigest()
        if card.get("sha256") != digest:
            raise ModelUnavailableError(f"{MODEL_FILE} is damaged: its sha256 is not the one in {CARD_FILE}")
        if card.get("feature_version") != VERSION:
            raise ModelUnavailableError(
                f"the model takes features of version {card.get('feature_version')}, not {VERSION}; train again"
            )
        if card.get("features") != list(NAMES):
            raise ModelUnavailableError("the model was trained on other features, or in another order; train again")
        version = card.get("version")
        if not isinstance(version, str) or not version:
            raise ModelUnavailableError(f"{CARD_FILE} does not say the model's version")
        model = cls(_session(raw), version, digest)
        # One row through the graph: what cannot answer now would fail in the middle of a run.
        model.predict([(0.0,) * len(NAMES)])
        return model

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        """Score a batch in one call, on one thread.

        Args:
            rows: features as `engagement.domain.features.features` returns them; rounded to float32 on the way.

        Raises:
            ModelUnavailableError: a row has not the model's width, or an answer is not a probability.
        """
        if not rows:
            return []
        try:
            answers = np.asarray(self._session.run([OUTPUT], {INPUT: np.array(rows, dtype=np.float32)})[0])
        except (*_ORT_ERRORS, ValueError) as error:
            raise ModelUnavailableError(f"the model did not answer: {_first_line(error)}") from error
        if answers.shape != (len(rows), len(HORIZONS_DAYS)) or not ((answers >= 0) & (answers <= 1)).all():
            raise ModelUnavailableError("the model's answers are not probabilities")
        return [ChurnScores(*answer) for answer in answers.tolist()]


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


def _session(raw: bytes) -> onnxruntime.InferenceSession:
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
    if inputs != [(INPUT, "tensor(float)", [len(NAMES)])]:
        raise ModelUnavailableError(f"the model takes {inputs}, not {len(NAMES)} float features")
    outputs = [(node.name, node.shape[1:]) for node in session.get_outputs()]
    if outputs != [(OUTPUT, [len(HORIZONS_DAYS)])]:
        raise ModelUnavailableError(f"the model answers {outputs}, not {len(HORIZONS_DAYS)} churn probabilities")
    return session


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
