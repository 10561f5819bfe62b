"""Evaluation: the serving fold, features and ONNX model behind the yardstick's streaming interface.

python ../shared/data/harness/evaluate.py --data <folder> --model models/harness.py
python -m models evaluate --data <folder> --keep build/leave-one-out
python ../shared/data/harness/evaluate.py --data <folder> --model models/harness.py:LeaveOneOut
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from engagement.clients.predictor import ChurnModel
from engagement.domain.features import features
from engagement.domain.interaction import Interaction
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.scores import ChurnScores
from models.dataset import interaction

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "models" / "churn"
LEAVE_ONE_OUT = ROOT / "build" / "leave-one-out"


class Model:
    """The bundled model, as a bot's first day has it."""

    def reset(self, name: str) -> None:
        """Forget everybody; a new dataset begins."""
        self._model = ChurnModel.load(self._folder(name))
        self._patterns: dict[str, Pattern] = {}
        self._pending: dict[str, list[Interaction]] = {}
        self._seen = 0
        self._scored: tuple[float, dict[str, ChurnScores]] = (0.0, {})

    def _folder(self, name: str) -> Path:  # noqa: ARG002 - which model does not depend on the dataset here
        return BUNDLED

    def observe(self, user: str, ts: float, tz_offset_min: float, chars: float, compound: float) -> None:  # noqa: ARG002 - the yardstick's signature
        """Take in one event; `tz_offset_min` stays unread, since Telegram sends none."""
        self._seen += 1
        event = interaction(1, self._seen, int(ts), chars=chars, compound=compound)
        self._pending.setdefault(user, []).append(event)

    def predict_churn(self, users: Sequence[str], t: float, horizon: int) -> dict[str, float]:
        """Return the probability of no event within `horizon` days for each user."""
        at, scores = self._scored
        if at != t or any(user not in scores for user in users):
            scores = self._score(users, t)
            self._scored = (t, scores)
        return {user: getattr(scores[user], f"churn_{horizon}d") for user in users}

    def _score(self, users: Sequence[str], t: float) -> dict[str, ChurnScores]:
        now = datetime.fromtimestamp(t, UTC)
        rows = [features(self._pattern(user), now) for user in users]
        return dict(zip(users, self._model.predict(rows), strict=True))

    def _pattern(self, user: str) -> Pattern:
        pattern = fold(self._patterns.get(user, EMPTY), self._pending.pop(user, ()))
        self._patterns[user] = pattern
        return pattern


class LeaveOneOut(Model):
    """For each dataset, the model that never saw it."""

    def _folder(self, name: str) -> Path:
        return LEAVE_ONE_OUT / name
