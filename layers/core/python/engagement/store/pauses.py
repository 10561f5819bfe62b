"""The bot-wide pause after a 429: written by the sender that met it, read by every sender before it commits."""

from datetime import datetime, timedelta

from pynamodb.exceptions import DoesNotExist, UpdateError

from engagement.store import keys
from engagement.store.table import CONDITION_FAILED, PauseItem, code_of, translated

KEPT = timedelta(days=1)
"""How long a pause that is over stays in the table."""


class Pauses:
    """The pause items of the table, one per bot."""

    def until(self, bot_id: int) -> datetime | None:
        """Return until when Telegram asked for silence, read consistently; None where it never did.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            try:
                item = PauseItem.get(keys.bot(bot_id), keys.PAUSE, consistent_read=True)
            except DoesNotExist:
                return None
        paused_until: datetime = item.paused_until
        return paused_until

    def extend(self, bot_id: int, until: datetime) -> bool:
        """Ask every sender for silence until `until` (whole seconds); False where it is longer already.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        longer = PauseItem.paused_until.does_not_exist() | (PauseItem.paused_until < until)
        with translated():
            try:
                PauseItem(keys.bot(bot_id), keys.PAUSE).update(
                    actions=[
                        PauseItem.kind.set(PauseItem),
                        PauseItem.paused_until.set(until),
                        PauseItem.expires_on.set(until + KEPT),
                    ],
                    condition=longer,
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True
