"""Why a score is what it is, for the file with somebody's data; wired when a file is asked for."""

from collections.abc import Sequence
from datetime import datetime
from math import exp

from engagement.domain.planning import Thresholds
from engagement.domain.population import BUNDLED
from engagement.errors import BadPatternError, UnknownUserError


def reasons_of(bot_id: int, user_id: int, now: datetime) -> Sequence[str]:
    """Return what makes a user's churn prediction differ from a typical user's, the largest first, by rules."""
    from engagement.services.predictor import BehavioralPredictor
    from engagement.store.patterns import Patterns
    from engagement.store.profiles import Profiles

    predictor = BehavioralPredictor(
        bot_id=bot_id,
        patterns=Patterns(),
        profiles=Profiles(),
        population=lambda _: BUNDLED,
        models=None,
        thresholds=Thresholds(re_engagement=1.0, checkin=1.0),
    )
    try:
        prediction = predictor.predict_churn_risk(user_id, now=now)
    except (BadPatternError, UnknownUserError):
        return ()
    return [
        f"{factor.words} (odds of staying away x {exp(factor.effect):.2f})"
        for factor in prediction.contributing_factors
    ]
