"""Awards: put once, in the transaction of the pattern that earned them."""

from pynamodb.transactions import TransactWrite

from engagement.domain.milestones import Award
from engagement.store import keys
from engagement.store.table import AwardItem, translated


def award_in(transaction: TransactWrite, bot_id: int, user_id: int, award: Award) -> None:
    """Give an award as a part of a transaction, which fails where the user has it."""
    item = AwardItem(
        keys.user(bot_id, user_id),
        keys.award(award.milestone_name),
        awarded_at=award.awarded_at,
        points=award.points,
    )
    transaction.save(item, condition=AwardItem.pk.does_not_exist())


class Awards:
    """The awards in the table."""

    def of_user(self, bot_id: int, user_id: int) -> tuple[Award, ...]:
        """Return a user's awards, by name.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            found = AwardItem.query(
                keys.user(bot_id, user_id), AwardItem.sk.startswith(keys.AWARD_PREFIX), consistent_read=True
            )
            return tuple(
                Award(
                    milestone_name=item.sk.removeprefix(keys.AWARD_PREFIX),
                    awarded_at=item.awarded_at,
                    points=item.points,
                )
                for item in found
            )
