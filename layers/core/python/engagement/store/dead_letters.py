"""Dead letters: the shape of updates that no retry can mend, kept for two weeks."""

from datetime import datetime, timedelta

from engagement.domain.update import DeadLetter
from engagement.store import keys
from engagement.store.table import DeadLetterItem, translated

KEEP = timedelta(days=14)


class DeadLetters:
    """The dead letters of one bot."""

    def __init__(self, bot_id: int) -> None:
        self._bot_id = bot_id

    def add(self, letter: DeadLetter, received_at: datetime) -> None:
        """Keep a dead letter; the same update on the same day meets itself.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        name = letter.body_sha256 if letter.update_id is None else str(letter.update_id)
        item = DeadLetterItem(
            keys.dead_letters(self._bot_id, received_at.date()),
            name,
            reason=letter.reason,
            received_at=received_at,
            body_bytes=letter.body_bytes,
            body_sha256=letter.body_sha256,
            outline=letter.outline,
            expires_on=received_at + KEEP,
        )
        with translated():
            item.save()
