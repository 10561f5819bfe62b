"""One interaction: what is kept of one Telegram update."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from engagement.domain.outreach import OutreachType


class EngagementType(StrEnum):
    """How a user acted. The order is fixed: patterns count by it."""

    MESSAGE = "message"
    COMMAND = "command"
    CALLBACK = "callback"
    VOICE_MESSAGE = "voice_message"
    DOCUMENT = "document"
    STICKER = "sticker"
    REACTION = "reaction"
    INLINE_QUERY = "inline_query"


class SentimentType(StrEnum):
    """Five levels, and unknown where the lexicon does not speak the language. The order is fixed."""

    VERY_POSITIVE = "very_positive"
    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"
    VERY_NEGATIVE = "very_negative"
    UNKNOWN = "unknown"


class Control(StrEnum):
    """A button or command of ours that a user used: what they said to us, never something that they did by themselves.

    Kept with the interaction, so that it can be counted as what it is (R91).
    """

    COMMAND = "command"
    """One of `OWN_COMMANDS`."""
    OPENED = "opened"
    """The offer under an outreach."""
    NOT_NOW = "not_now"
    STOP_TYPE = "stop_type"
    STOP_ALL = "stop_all"
    STOP_WORD = "stop_word"
    """A message that is nothing but a word for stop: it is asked back."""
    ANSWER = "answer"
    """To a question of ours, or a change of a setting."""
    FORGET = "forget"
    REFUSED = "refused"
    """A button that looks like ours and does not prove to be: old, forged or another user's."""


DISMISSALS = frozenset({Control.NOT_NOW, Control.STOP_TYPE, Control.STOP_ALL})
OWN_COMMANDS = frozenset({"start", "stop", "privacy", "timezone", "settings", "progress", "forget", "mydata", "help"})
"""Those that we answer; any other command is the bot's own business."""


class Exposure(NamedTuple):
    """The outreach that a button stood under; no other of the user's has both.

    Attributes:
        outreach_type: why it was sent.
        exposed_at: when, aware UTC, whole seconds.
    """

    outreach_type: OutreachType
    exposed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Features of one update; the text itself only where the operator asked for it.

    Attributes:
        bot_id: number before the colon of the bot's token.
        user_id: Telegram's id of the user, up to 52 bits.
        chat_id: the private chat; equal to `user_id` today, but Telegram does not promise that.
        update_id: Telegram's id of the update: an identity, not a clock (a week of silence restarts it at random).
        occurred_at: aware UTC, whole seconds; from the update's own date, never later than its arrival.
        engagement_type: how the user acted.
        sentiment: compound score in [-1, 1]; None where it is unknown.
        sentiment_type: the level of `sentiment`.
        quality: how much the user put into it, [0, 1].
        is_question: the text asks something.
        is_greeting: the text greets.
        topics: slugs from the topic catalogue, sorted, each once.
        session_id: the half-hour slot it fell into; runs of slots are one session (see `pattern`).
        reply_latency_seconds: seconds since our message that this replies to; None where it replies to none.
        characters: code points of the text or caption.
        edited: an edit of an earlier message: kept, but never counted again.
        first_name: as Telegram gives it; shown to the user only.
        language_code: IETF tag of the user's Telegram app; None where absent.
        text: the message text, only while `store_text` is on.
        control: the button or command of ours that it is; None for what the user did by themselves.
        about: the outreach that the button stood under; None for everything else.
    """

    bot_id: int
    user_id: int
    chat_id: int
    update_id: int
    occurred_at: datetime
    engagement_type: EngagementType
    sentiment: float | None
    sentiment_type: SentimentType
    quality: float
    is_question: bool
    is_greeting: bool
    topics: tuple[str, ...]
    session_id: str
    reply_latency_seconds: int | None
    characters: int
    edited: bool
    first_name: str
    language_code: str | None
    text: str | None
    control: Control | None = None
    about: Exposure | None = None


def by_themselves(interaction: Interaction) -> bool:
    """Say whether a user did something by themselves, rather than use a button or command of ours (R90).

    Only such an interaction is activity: for days, sessions, streaks, milestones, features and labels, and as the
    return or the answer that a message brought.
    """
    return interaction.control is None
