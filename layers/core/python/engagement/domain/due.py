"""Scoring: a pattern as it waits in the table to be scored, still in its bytes, and what is then written beside it."""

from dataclasses import dataclass
from datetime import datetime

from engagement.domain.outcome import Watched
from engagement.domain.scores import ChurnScores


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePattern:
    """A stored pattern and the scores beside it.

    It is decoded by those who read it, one by one, so that a damaged pattern spoils only itself.

    Attributes:
        bot_id: number before the colon of the bot's token.
        user_id: Telegram's id of the user.
        state: the sketch's bytes; see `pattern_bytes.decode`.
        version: changes with every write of the sketch.
        due_at: when it is to be scored; None while it is not to be.
        scores: of the last scoring; None before the first.
        scored_at: when that was.
        watched: the earlier score that waits for its outcome, if any.
        asked_at: when a good interaction asked for the scoring; None where only the time did.
    """

    bot_id: int
    user_id: int
    state: bytes
    version: int
    due_at: datetime | None
    scores: ChurnScores | None
    scored_at: datetime | None
    watched: Watched | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scoring writes beside a pattern.

    Attributes:
        churn: how likely the user is to stay away.
        by: version of the churn model, or "rules".
        mood: what the next messages are expected to be like, [-1, 1]; see `domain.mood`.
        watched: the score that waits for its outcome from now on, if any.
    """

    churn: ChurnScores
    by: str
    mood: float
    watched: Watched | None
