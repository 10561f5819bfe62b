"""Training: two alarms for features that know the future, one exact and one for what only shows in the figures."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from engagement.domain.interaction import Interaction
from engagement.domain.pattern import EMPTY, Pattern, fold

PUBLIC_CEILING = 0.83
"""Mean AUC over the public event streams: no features and no kind of model tried there came beyond 0.826."""


class LeakError(Exception):
    """A feature depends on what happened after its cut-off; nothing may be trained on it."""


def require_no_leak[Row](
    history: Sequence[Interaction], at: float, row: Row, features: Callable[[Pattern, datetime], Row]
) -> None:
    """Compute a training row again, from a history that ends before its cut-off, and compare.

    Args:
        history: everything known of the user, the time after the cut-off too, in any order.
        at: epoch seconds of the cut-off.
        row: what would be trained on.
        features: what the row was made with.

    Raises:
        LeakError: the two differ.
    """
    before = [event for event in history if event.occurred_at.timestamp() < at]
    if features(fold(EMPTY, before), datetime.fromtimestamp(at, UTC)) != row:
        raise LeakError("features differ from those of the history before the cut-off: they know what came after it")


def require_possible(auc_low: float, ceiling: float) -> None:
    """Compare a ranking with the best one that the data allow.

    Args:
        auc_low: lower bound of the interval of the measured AUC, [0, 1].
        ceiling: what cannot be passed: 0.5 where the future does not depend on the past; see `PUBLIC_CEILING`.

    Raises:
        LeakError: the ranking is better than that.
    """
    if auc_low > ceiling:
        raise LeakError(f"AUC is above {auc_low:.3f} where {ceiling:.3f} is possible: look for a label in the features")
