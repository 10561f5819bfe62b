"""Uplift: what a message changes, for whom; the features of a decision, and what the model's answer is worth.

Whether somebody comes back says little of what a message did: most would have come anyway. Only a control group tells,
so the model is learned from the bot's own experiment (`models.uplift`), and none comes with the code.

The features are taken once, when the outreach is planned, in both arms, and stored with it as `Outreach.context`; the
labels come days later (`domain.outcomes`). So no feature can know what the message did, and what is learned from is
what the decision saw, even where the code or the pattern changed since.

    name                  meaning
    (domain.features)     the five numbers that churn is predicted from
    return_log_odds_7d    log odds of coming back within 7 days, as predicted without a message
    log_interactions      log(1 + interactions so far)
    log_age_days          log(1 + days since the first one)
    usual_mood            mean sentiment so far, shrunk to 0 by 30 messages' worth of it
    type_<outreach type>  1 for the type of the message, else 0; seven of them

As bytes: version, percent of such decisions that are planned, index of the type, then nine big-endian float32.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, log, log1p

from engagement.domain import features
from engagement.domain.experiment import draw
from engagement.domain.mood import KAPPA
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import DAY, MILLI, Pattern
from engagement.domain.scores import ChurnScores

VERSION = 1
"""First byte of a context, and part of the model's card; it changes with the features, and with the types."""
TYPES = tuple(OutreachType)
MEASURED = (*features.NAMES, "return_log_odds_7d", "log_interactions", "log_age_days", "usual_mood")
NAMES = (*MEASURED, *(f"type_{outreach_type}" for outreach_type in TYPES))

BLOCK_COST = 5.0
"""Returns that a block or an opt-out costs: it loses this user's later returns, and with them all later messages."""
FEWEST_USERS = 200
"""In each arm, with known outcomes: below it nothing is learned."""
EXPLORED = 0.1
"""Share of the decisions without uplift that are planned all the same, or the model could never be found wrong."""

_BYTES = struct.Struct(f">3B{len(MEASURED)}f")
_SHARE = 1
"""Index of the percent in a context."""
_MARGIN = 1e-4
"""Predicted probabilities are taken to be at least this far from 0 and 1."""


@dataclass(frozen=True, slots=True)
class Uplift:
    """What is expected of one user for one message.

    Attributes:
        returns_if_sent: probability [0, 1] of coming back within 7 days when written to.
        returns_alone: the same when held out.
        blocks: probability [0, 1] that the message makes them block the bot or opt out within 7 days: of those written
            to, beyond the share of the held out who do so anyway.
    """

    returns_if_sent: float
    returns_alone: float
    blocks: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """A settled decision to learn from: what was known, what was drawn, and what came of it.

    Attributes:
        user_id: Telegram's id of the user; one decision of each, so that decisions are independent.
        row: the features, in the order of `NAMES`.
        planned_probability: with which a decision like this one got a record at all, (0, 1]; see `explored`.
        sent: the arm. One whose sending failed counts as sent: it is the decision that is judged.
        sent_probability: with which the arm was drawn as `sent`, (0, 1).
        returned: came back by themselves within 7 days, and did not leave for good.
        lost: blocked the bot or opted out within 7 days.
        covariate: probability [0, 1] of coming back without a message, as predicted when planned.
    """

    user_id: int
    row: tuple[float, ...]
    planned_probability: float
    sent: bool
    sent_probability: float
    returned: bool
    lost: bool
    covariate: float


def value(uplift: Uplift) -> float:
    """Return what a message is worth, in returns; at 0 or below it is better not sent."""
    return uplift.returns_if_sent - uplift.returns_alone - BLOCK_COST * uplift.blocks


def context_of(pattern: Pattern, outreach_type: OutreachType, scores: ChurnScores, now: datetime) -> bytes:
    """Return the features of a decision, to be stored with it; 39 bytes, finite for every pattern.

    Args:
        pattern: the user's.
        outreach_type: of the message in question.
        scores: as predicted at `now`.
        now: aware.
    """
    away = min(max(scores.churn_7d, _MARGIN), 1 - _MARGIN)
    age_days = max(now.timestamp() - pattern.first_at, 0.0) / DAY if pattern.total else 0.0
    measured = (
        *features.features(pattern, now),
        log((1 - away) / away),
        log1p(pattern.total),
        log1p(age_days),
        pattern.sentiment_milli / MILLI / (pattern.sentiment_events + KAPPA),
    )
    return _BYTES.pack(VERSION, 100, TYPES.index(outreach_type), *measured)


def row_of(context: bytes) -> tuple[float, ...] | None:
    """Return the features in the order of `NAMES`; None where the context is of another version, or damaged."""
    if len(context) != _BYTES.size or context[0] != VERSION:
        return None
    _, percent, index, *measured = _BYTES.unpack(context)
    if not 0 < percent <= 100 or index >= len(TYPES) or not all(map(isfinite, measured)):
        return None
    return (*measured, *(float(index == other) for other in range(len(TYPES))))


def explores(bot_id: int, user_id: int, campaign: str, period: str) -> bool:
    """Say whether a decision without uplift is planned all the same; the same at every call.

    It does not ask for the arm: both arms are thinned alike, so that they stay comparable, the control group's size
    stays what it should be, and the probability of the arm stays what it was.
    """
    return draw("explore", bot_id, user_id, campaign, period) < EXPLORED


def explored(context: bytes) -> bytes:
    """Return the context of a decision that was planned only because it `explores`."""
    return context[:_SHARE] + bytes([round(100 * EXPLORED)]) + context[_SHARE + 1 :]


def planned_probability(context: bytes) -> float:
    """Return with which probability a decision like this one was planned: 1, or `EXPLORED`."""
    return context[_SHARE] / 100
