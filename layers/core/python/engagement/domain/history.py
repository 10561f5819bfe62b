"""Training: what one user who allows it gives to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

from engagement.domain.interaction import Interaction
from engagement.domain.uplift import LoggedDecision


@dataclass(frozen=True, slots=True)
class History:
    """One user's history.

    Attributes:
        interactions: oldest first.
        decision: the decision about a message that they count with, if its outcomes are known.
    """

    interactions: Sequence[Interaction]
    decision: LoggedDecision | None = None
