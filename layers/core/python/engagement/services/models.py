"""Prediction: the models that may serve, as the services see them; a rule stands in for each that is missing."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from engagement.domain.scores import ChurnScores
from engagement.domain.uplift import Uplift

RULES = "rules"
"""Stands for a model's version where none served."""


class ChurnPredictor(Protocol):
    """A model; raises ModelUnavailableError where it cannot answer. See `clients.predictor`."""

    @property
    def version(self) -> str:
        """Version of the model, kept beside the scores."""
        ...

    @property
    def card(self) -> Mapping[str, Any]:
        """What is known of the model; its `reference` says what the users are like that it was trained on."""
        ...

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        """Score rows of `domain.features.features`, one result for each."""
        ...


class TimingPredictor(Protocol):
    """A model; raises ModelUnavailableError where it cannot answer. See `clients.predictor`."""

    @property
    def version(self) -> str:
        """Version of the model."""
        ...

    def predict(self, users: Sequence[Sequence[tuple[float, ...]]]) -> list[tuple[float, ...]]:
        """Return 24 shares that sum to 1 for each user's `domain.timing.hour_features`."""
        ...


class MoodPredictor(Protocol):
    """A model; raises ModelUnavailableError where it cannot answer. See `clients.predictor`."""

    @property
    def version(self) -> str:
        """Version of the model."""
        ...

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[float]:
        """Return the expected mood, [-1, 1], for rows of `domain.mood.mood_features`."""
        ...


class UpliftPredictor(Protocol):
    """A model; raises ModelUnavailableError where it cannot answer. See `clients.predictor`."""

    @property
    def version(self) -> str:
        """Version of the model."""
        ...

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[Uplift]:
        """Return what a message changes, for rows of `domain.uplift.row_of`."""
        ...


class Models(Protocol):
    """The models that serve; None where one could not be loaded, or is not wanted. See `clients.serving`."""

    @property
    def churn(self) -> ChurnPredictor | None:
        """Probabilities of staying away."""
        ...

    @property
    def timing(self) -> TimingPredictor | None:
        """Shares of the hours."""
        ...

    @property
    def mood(self) -> MoodPredictor | None:
        """Expected sentiment."""
        ...

    @property
    def uplift(self) -> UpliftPredictor | None:
        """What a message changes; None wherever none was ever promoted: then no rule stands in, and all are treated."""
        ...
