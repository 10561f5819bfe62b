"""A user's message or button press -> the interaction that is kept of it."""

import math
from dataclasses import replace
from datetime import datetime

from engagement.domain.callbacks import Press
from engagement.domain.interaction import Control, EngagementType, Interaction, SentimentType
from engagement.domain.pattern import SLOT
from engagement.domain.sentiment import level, sentiment
from engagement.domain.topics import PRIVATE_TOPICS, topics
from engagement.domain.update import ButtonPressed, MessageSent
from engagement.domain.words import vocabulary, without_links, words

MAX_TEXT_BYTES = 8_000
"""Of the text, where it is kept: with everything else an item stays below 10 KB."""

FULL_LENGTH = 40
"""Words from which a message is as long as it needs to be."""
WORDS_A_SECOND = 2
"""Of speech: about 120 words a minute."""
TAP_QUALITY = 0.1
"""Of a button press and of a bare command: one tap."""

QUESTION_MARKS = frozenset("?？؟")
QUESTION_WORDS = vocabulary(
    "what when where why how who which whose can could would should is are do does did "
    "was wann wo warum wie wer welche qué cuándo dónde cómo quién cuál quel quelle quand où pourquoi comment qui "
    "quando onde como quem perché dove что когда где почему как кто"
)
"""At the head of a text they ask, even where the question mark was saved."""
GREETINGS = vocabulary(
    "hi hello hey heya howdy greetings hiya hallo moin servus guten hola buenas buenos bonjour bonsoir salut "
    "coucou ciao salve buongiorno buonasera olá oi привет здравствуйте здравствуй вітаю cześć hej halo merhaba selam "
    "سلام مرحبا שלום こんにちは おはよう 你好 您好 안녕하세요 안녕"
)
DAYTIMES = vocabulary("morning afternoon evening day")
GREETING_WITHIN = 3
"""Words from the head within which a greeting greets: "I told them to say hi" does not."""


def analyse(
    update: MessageSent | ButtonPressed,
    bot_id: int,
    *,
    store_text: bool,
    control: Control | None = None,
    press: Press | None = None,
) -> Interaction:
    """Describe what a user did.

    Args:
        update: the update, read.
        bot_id: the bot; a reply counts as one where it answers this bot's message.
        store_text: keep the text itself, cut to `MAX_TEXT_BYTES` between two code points.
        control: the button or command of ours that it is; None for what the user did by themselves.
        press: of the button, where it is one of ours.
    """
    if isinstance(update, ButtonPressed):
        about = press.about if press else None
        return replace(_pressed(update, bot_id), control=control, about=about)
    is_command = update.engagement_type is EngagementType.COMMAND
    # What a user says with a sticker is its emoji; a command is said to the machine, not felt.
    score = None if is_command else sentiment(update.text or update.sticker_emoji, update.contact.language_code)
    plain = without_links(update.text)
    found = words(plain)
    latency = None
    if update.replied_to_id == bot_id and update.replied_to_at is not None:
        latency = _seconds_between(update.replied_to_at, update.occurred_at)
    is_question = not is_command and (
        not QUESTION_MARKS.isdisjoint(plain) or (len(found) > 2 and found[0] in QUESTION_WORDS)
    )
    return Interaction(
        bot_id=bot_id,
        user_id=update.user_id,
        chat_id=update.contact.chat_id,
        update_id=update.update_id,
        occurred_at=update.occurred_at,
        engagement_type=update.engagement_type,
        sentiment=score,
        sentiment_type=level(score),
        quality=quality(
            update.engagement_type,
            found,
            spoken_seconds=update.spoken_seconds,
            is_question=is_question,
            is_reply=latency is not None,
        ),
        is_question=is_question,
        is_greeting=not is_command and _greets(found),
        topics=() if is_command else topics(update.text),
        session_id=_slot(update.occurred_at),
        reply_latency_seconds=latency,
        characters=len(update.text),
        edited=update.edited,
        first_name=update.contact.first_name,
        language_code=update.contact.language_code,
        text=_cut(update.text) if store_text and update.text else None,
        control=control,
    )


def is_sensitive(interaction: Interaction) -> bool:
    """Say whether an interaction tells of a mood or of a private topic (R102); a text that is kept may tell of any."""
    return (
        interaction.sentiment is not None
        or interaction.text is not None
        or not PRIVATE_TOPICS.isdisjoint(interaction.topics)
    )


def without_sensitive(interaction: Interaction) -> Interaction:
    """Return an interaction without mood, private topics and text: it is counted like any other of unknown mood."""
    return replace(
        interaction,
        sentiment=None,
        sentiment_type=SentimentType.UNKNOWN,
        topics=tuple(topic for topic in interaction.topics if topic not in PRIVATE_TOPICS),
        text=None,
    )


def quality(
    engagement_type: EngagementType, found: list[str], *, spoken_seconds: int, is_question: bool, is_reply: bool
) -> float:
    """Score how much a user put into an interaction, [0, 1], in thousandths.

    A tap is worth 0.1. Anything else adds up from its parts, which are worth at most:

    | part | at most | grows with |
    |---|---|---|
    | length | 0.50 | the logarithm of its words, spoken ones too, up to 40 |
    | variety | 0.15 | different words among its words, from three words on |
    | question | 0.15 | it asks |
    | reply | 0.10 | it answers a message of ours |
    | media | 0.10 | it is a picture, file or recording (0.05: a sticker) |

    So "ok" scores 0.09, a sentence about 0.45, a thoughtful answer with a question about 0.85.

    Args:
        engagement_type: how the user acted.
        found: the words of the text, lower case.
        spoken_seconds: length of a recording.
        is_question: the text asks.
        is_reply: it answers a message of the bot.
    """
    if engagement_type in (EngagementType.COMMAND, EngagementType.CALLBACK):
        return TAP_QUALITY
    count = len(found) + min(spoken_seconds, 3_600) * WORDS_A_SECOND
    score = 0.5 * min(1.0, math.log1p(count) / math.log1p(FULL_LENGTH))
    if len(found) >= 3:
        score += 0.15 * len(set(found)) / len(found)
    score += 0.15 * is_question + 0.1 * is_reply
    if engagement_type in (EngagementType.DOCUMENT, EngagementType.VOICE_MESSAGE):
        score += 0.1
    elif engagement_type is EngagementType.STICKER:
        score += 0.05
    return round(min(1.0, score), 3)


def _pressed(update: ButtonPressed, bot_id: int) -> Interaction:
    return Interaction(
        bot_id=bot_id,
        user_id=update.user_id,
        chat_id=update.contact.chat_id,
        update_id=update.update_id,
        occurred_at=update.occurred_at,
        engagement_type=EngagementType.CALLBACK,
        sentiment=None,
        sentiment_type=SentimentType.UNKNOWN,
        quality=TAP_QUALITY,
        is_question=False,
        is_greeting=False,
        topics=(),
        session_id=_slot(update.occurred_at),
        reply_latency_seconds=_seconds_between(update.message_at, update.occurred_at) if update.message_at else None,
        characters=0,
        edited=False,
        first_name=update.contact.first_name,
        language_code=update.contact.language_code,
        text=None,
    )


def _greets(found: list[str]) -> bool:
    if found[:1] == ["good"] and not DAYTIMES.isdisjoint(found[1:2]):
        return True
    return not GREETINGS.isdisjoint(found[:GREETING_WITHIN])


def _seconds_between(earlier: datetime, later: datetime) -> int:
    return max(0, int((later - earlier).total_seconds()))


def _slot(at: datetime) -> str:
    return str(int(at.timestamp()) // SLOT)


def _cut(text: str) -> str:
    """Cut a text to `MAX_TEXT_BYTES` of UTF-8; a code point that does not fit whole is left out."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
