"""A lease keeps two runs of one function apart, to spare them the races; no rule depends on it."""

from datetime import datetime, timedelta

from pynamodb.exceptions import UpdateError

from engagement.store import keys
from engagement.store.table import CONDITION_FAILED, LeaseItem, code_of, translated

KEPT = timedelta(days=1)
"""How long a lease that is over stays in the table."""


class Leases:
    """The lease items of the table, one per bot and function."""

    def acquire(self, bot_id: int, function: str, *, owner: str, now: datetime, until: datetime) -> bool:
        """Take the lease until `until`; False while somebody else's lasts.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        is_free = LeaseItem.lease_until.does_not_exist() | (LeaseItem.lease_until < now) | (LeaseItem.owner == owner)
        with translated():
            try:
                LeaseItem(keys.bot(bot_id), keys.lease(function)).update(
                    actions=[
                        LeaseItem.kind.set(LeaseItem),
                        LeaseItem.owner.set(owner),
                        LeaseItem.lease_until.set(until),
                        LeaseItem.expires_on.set(until + KEPT),
                    ],
                    condition=is_free,
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True

    def release(self, bot_id: int, function: str, *, owner: str) -> None:
        """Give the lease back, if it is still ours.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            try:
                LeaseItem(keys.bot(bot_id), keys.lease(function)).update(
                    actions=[LeaseItem.lease_until.remove()], condition=LeaseItem.owner == owner
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
