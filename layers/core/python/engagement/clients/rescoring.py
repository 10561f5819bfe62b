"""The moment of sending: the churn model that serves, or the rule, scores a pattern once more."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from engagement.clients.models import champion_or_bundled
from engagement.clients.predictor import ChurnModel
from engagement.domain.features import features
from engagement.domain.pattern import Pattern
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.errors import ModelUnavailableError
from engagement.telemetry import logger

CACHE = Path(tempfile.gettempdir()) / "champion"
LOOKED_UP_EVERY = timedelta(hours=1)
"""Another champion is noticed so late at most; most runs send nothing and load nothing."""


class Rescorer:
    """Scores one pattern at a time; threads may share one."""

    def __init__(self, bucket: str, bundled: Path) -> None:
        """Take where the model may be; nothing is loaded before it is needed.

        Args:
            bucket: where the champion is.
            bundled: folder of the model that came with the function.
        """
        self._bucket, self._bundled = bucket, bundled
        self._lock = Lock()
        self._model: ChurnModel | None = None
        self._looked_up_at: datetime | None = None

    def __call__(self, pattern: Pattern, now: datetime) -> ChurnScores:
        """Score a pattern at `now`, aware; by the rule where no model can."""
        with self._lock:
            if self._looked_up_at is None or now - self._looked_up_at >= LOOKED_UP_EVERY:
                self._model, self._looked_up_at = self._load(), now
            model = self._model
        if model is not None:
            try:
                (scores,) = model.predict([features(pattern, now)])
            except ModelUnavailableError as error:
                logger.warning("the churn model cannot answer; the rule does", reason=str(error))
            else:
                if all(0 <= score <= 1 for score in (scores.churn_7d, scores.churn_14d, scores.churn_30d)):
                    return scores
        return rule_scores(pattern, now)

    def _load(self) -> ChurnModel | None:
        name = ChurnModel.interface.output
        champion = champion_or_bundled(name, self._bucket, self._bundled, CACHE)
        for folder in dict.fromkeys((champion, self._bundled)):
            try:
                return ChurnModel.load(folder)
            except ModelUnavailableError as error:
                logger.warning("model unavailable", model=name, reason=str(error))
        return None
