"""Interactions: written once by the webhook, read by the stream, by a repair and by a user's export."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pynamodb.exceptions import DoesNotExist, PutError

from engagement.domain.interaction import Control, EngagementType, Exposure, Interaction, SentimentType
from engagement.domain.outreach import OutreachType
from engagement.errors import BadUpdateError
from engagement.store import keys
from engagement.store.table import CONDITION_FAILED, InteractionItem, code_of, translated


class Interactions:
    """The interactions in the table; one conditional put each, so that a redelivered update is stored once."""

    def __init__(self, ttl_days: int) -> None:
        self._time_to_live = timedelta(days=ttl_days)

    def add(self, interaction: Interaction) -> bool:
        """Store an interaction unless its update is stored already; say whether it was new.

        Raises:
            ValueError: a score is NaN or infinite; nothing was written.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        is_new = InteractionItem.pk.does_not_exist()
        with translated():
            try:
                self._item(interaction).save(condition=is_new)
            except PutError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True

    def get(self, bot_id: int, user_id: int, update_id: int) -> Interaction | None:
        """Read one interaction consistently; None where there is none.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            try:
                item = InteractionItem.get(
                    keys.user(bot_id, user_id), keys.interaction(update_id), consistent_read=True
                )
            except DoesNotExist:
                return None
        return _interaction(item)

    def of_user(self, bot_id: int, user_id: int, now: datetime) -> Iterator[Interaction]:
        """Yield a user's interactions that are still to be kept at `now`, in no particular order.

        DynamoDB deletes within about two days of the date, so an expired item may still be there; it is left out.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            for item in InteractionItem.query(
                keys.user(bot_id, user_id), InteractionItem.sk.startswith(keys.INTERACTION_PREFIX), consistent_read=True
            ):
                if item.expires_on is None or item.expires_on > now:
                    yield _interaction(item)

    def _item(self, interaction: Interaction) -> InteractionItem:
        return InteractionItem(
            keys.user(interaction.bot_id, interaction.user_id),
            keys.interaction(interaction.update_id),
            chat_id=interaction.chat_id,
            occurred_at=interaction.occurred_at,
            engagement_type=interaction.engagement_type.value,
            sentiment=interaction.sentiment,
            sentiment_type=interaction.sentiment_type.value,
            quality=interaction.quality,
            is_question=interaction.is_question,
            is_greeting=interaction.is_greeting,
            topics=",".join(interaction.topics) or None,
            session_id=interaction.session_id,
            reply_latency_seconds=interaction.reply_latency_seconds,
            characters=interaction.characters,
            edited=interaction.edited,
            first_name=interaction.first_name or None,
            language_code=interaction.language_code,
            text=interaction.text,
            control=interaction.control,
            about=None if interaction.about is None else _about(interaction.about),
            expires_on=interaction.occurred_at + self._time_to_live,
        )


def interaction_of(image: Mapping[str, Any]) -> Interaction:
    """Read an interaction from the new image of a stream record, in DynamoDB's JSON.

    Raises:
        BadUpdateError: the image is not of an interaction, or this version cannot read it; no retry will mend it.
    """
    try:
        # A copy of each value: PynamoDB rewrites the type tags in place.
        return _interaction(InteractionItem.from_raw_data({name: dict(value) for name, value in image.items()}))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        # Without its cause: that may quote a value.
        raise BadUpdateError("bad_interaction") from None


def _interaction(item: InteractionItem) -> Interaction:
    bot_id, user_id = keys.user_of(item.pk)
    return Interaction(
        bot_id=bot_id,
        user_id=user_id,
        chat_id=_present(item.chat_id),
        update_id=int(item.sk.removeprefix(keys.INTERACTION_PREFIX)),
        occurred_at=_present(item.occurred_at),
        engagement_type=EngagementType(item.engagement_type),
        sentiment=None if item.sentiment is None else _finite(item.sentiment),
        sentiment_type=SentimentType(item.sentiment_type),
        quality=_finite(_present(item.quality)),
        is_question=_present(item.is_question),
        is_greeting=_present(item.is_greeting),
        topics=tuple(item.topics.split(",")) if item.topics else (),
        session_id=_present(item.session_id),
        reply_latency_seconds=item.reply_latency_seconds,
        characters=_present(item.characters),
        edited=_present(item.edited),
        first_name=item.first_name or "",
        language_code=item.language_code,
        text=item.text,
        control=Control(item.control) if item.control else None,
        about=_exposure(item.about) if item.about else None,
    )


def _about(exposure: Exposure) -> str:
    return f"{exposure.outreach_type}#{int(exposure.exposed_at.timestamp())}"


def _exposure(text: str) -> Exposure:
    outreach_type, _, seconds = text.partition("#")
    return Exposure(OutreachType(outreach_type), datetime.fromtimestamp(int(seconds), UTC))


def _present[T](value: T | None) -> T:
    """Return a value that every interaction has; PynamoDB reads a missing one as None."""
    if value is None:
        raise ValueError("an attribute is missing")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)
