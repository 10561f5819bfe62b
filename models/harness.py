"""Evaluation: the serving fold, features, population and ONNX models behind the benchmark's streaming interface.

python ../shared/data/harness/evaluate.py --data <folder> --model models/harness.py
python -m models evaluate --data <folder>
python ../shared/data/harness/evaluate.py --data <folder> --model models/harness.py:LeaveOneOut
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Protocol

import numpy as np

from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel
from engagement.domain.features import features
from engagement.domain.history import History
from engagement.domain.interaction import Interaction
from engagement.domain.mood import mood_features
from engagement.domain.pattern import DAY, EMPTY, Pattern, fold
from engagement.domain.population import BUNDLED, Population
from engagement.domain.timing import hour_features
from models.crowd import SILENCE_DAYS, Counts, counts, population_of
from models.dataset import interaction
from models.weekly import train_all

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
LEAVE_ONE_OUT = ROOT / "build" / "leave-one-out"
MIN_SAMPLES = 500


class Events(Protocol):
    """What the benchmark hands over of one user: arrays of equal length, oldest first."""

    ts: Sequence[float]
    chars: Sequence[float]
    compound: Sequence[float]


class Model:
    """The bundled models, as a bot's first day has them; `fit` is the weekly training."""

    def reset(self, name: str) -> None:
        """Forget everybody; a new dataset begins."""
        folder = self._folder(name)
        self._bundled = {kind: folder / kind for kind in ("churn", "timing", "mood")}
        self._serve(self._bundled)
        self._patterns: dict[str, Pattern] = {}
        self._counts: dict[str, Counts] = {}
        self._pending: dict[str, list[Interaction]] = {}
        self._seen = 0
        self._at: float | None = None
        self._population = BUNDLED

    def _folder(self, name: str) -> Path:  # noqa: ARG002 - which models does not depend on the dataset here
        return MODELS

    def _serve(self, folders: Mapping[str, Path]) -> None:
        self._churn = ChurnModel.load(folders["churn"])
        self._timing = TimingModel.load(folders["timing"])
        self._mood = MoodModel.load(folders["mood"])
        self._scored: dict[str, tuple[float, float, float]] = {}

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the models that answer."""
        return {"churn": self._churn.version, "timing": self._timing.version, "mood": self._mood.version}

    def observe(self, user: str, ts: float, tz_offset_min: float, chars: float, compound: float) -> None:  # noqa: ARG002 - the benchmark's signature
        """Take in one event; `tz_offset_min` stays unread, since Telegram sends none."""
        self._seen += 1
        event = interaction(1, self._seen, int(ts), chars=chars, compound=compound)
        self._pending.setdefault(user, []).append(event)

    def fit(self, events_by_user: Mapping[str, Events], t: float) -> None:
        """Train as the bot would at `t`, and serve what the gate promotes."""
        with tempfile.TemporaryDirectory() as name:
            verdicts = train_all(
                _histories(events_by_user),
                serving=self._bundled,
                bundled=self._bundled,
                out=Path(name),
                now=datetime.fromtimestamp(t, UTC),
                min_samples=MIN_SAMPLES,
                remaining_seconds=lambda: inf,
            )
            promoted = {verdict.name: verdict.directory for verdict in verdicts if verdict.directory}
            self._serve(self._bundled | promoted)

    def predict_churn(self, users: Sequence[str], t: float, horizon: int) -> dict[str, float]:
        """Return the probability of no event within `horizon` days for each user."""
        now = self._look(t)
        asked = [user for user in users if user not in self._scored]
        scores = self._churn.predict([features(self._pattern(user), now) for user in asked])
        self._scored |= {
            user: (each.churn_7d, each.churn_14d, each.churn_30d) for user, each in zip(asked, scores, strict=True)
        }
        return {user: self._scored[user][(7, 14, 30).index(horizon)] for user in users}

    def predict_timing(self, users: Sequence[str], t: float) -> dict[str, tuple[float, ...]]:
        """Return the shares of the 24 UTC hours for each user."""
        rows = self._rows(hour_features, users, t)
        return dict(zip(users, self._timing.predict(rows), strict=True))

    def predict_mood(self, users: Sequence[str], t: float) -> dict[str, float]:
        """Return the mean sentiment expected of each user's next messages."""
        rows = self._rows(mood_features, users, t)
        return dict(zip(users, self._mood.predict(rows), strict=True))

    def _rows[Row](
        self, make: Callable[[Pattern, Population, datetime], Row], users: Sequence[str], t: float
    ) -> list[Row]:
        now = self._look(t)
        return [make(self._pattern(user), self._population, now) for user in users]

    def _pattern(self, user: str) -> Pattern:
        return self._patterns.get(user, EMPTY)

    def _look(self, t: float) -> datetime:
        """Fold what came before a new cut-off, and count everybody, as the passes of a day would."""
        now = datetime.fromtimestamp(t, UTC)
        if self._at == t and not self._pending:
            return now
        for user, events in self._pending.items():
            self._patterns[user] = fold(self._pattern(user), events)
            self._counts[user] = counts(self._patterns[user])
        self._pending.clear()
        counted = [
            self._counts[user] for user, pattern in self._patterns.items() if t - pattern.last_at <= SILENCE_DAYS * DAY
        ]
        self._population = population_of(np.sum(counted, axis=0)) if counted else BUNDLED
        self._at, self._scored = t, {}
        return now


class LeaveOneOut(Model):
    """For each dataset, the models that never saw it."""

    def _folder(self, name: str) -> Path:
        return LEAVE_ONE_OUT / name


def _histories(events_by_user: Mapping[str, Events]) -> Iterator[History]:
    for number, events in enumerate(events_by_user.values(), start=1):
        columns = zip(events.ts, events.chars, events.compound, strict=True)
        yield History(
            [
                interaction(number, index, int(ts), chars=float(chars), compound=float(compound))
                for index, (ts, chars, compound) in enumerate(columns, start=1)
            ]
        )
