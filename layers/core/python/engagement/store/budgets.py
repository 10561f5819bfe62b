"""Budgets: what all users together may be sent, or a language model be asked, in one UTC day; counted atomically."""

from datetime import UTC, date, datetime, timedelta

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.store import keys
from engagement.store.table import CONDITION_FAILED, BudgetItem, code_of, keyed, translated

MESSAGES = "messages"
KEPT = timedelta(days=7)
"""How long a day's budget stays in the table."""


class Budgets:
    """The budget items of the table, one per bot, purpose and UTC day.

    Every method may raise StoreUnavailableError.
    """

    def spent(self, bot_id: int, what: str, day: date) -> int:
        """Return how much of a day's budget is spent, read consistently."""
        with translated():
            try:
                item = BudgetItem.get(keys.bot(bot_id), keys.budget(what, day), consistent_read=True)
            except DoesNotExist:
                return 0
        spent: int = item.spent
        return spent

    def take(self, bot_id: int, what: str, day: date, limit: int) -> bool:
        """Spend one of a day's budget; False where `limit` is spent already.

        An answer that is lost spends one too many: never more than `limit` are granted.
        """
        with translated():
            try:
                _item(bot_id, what, day).update(actions=_spend(day, 1), condition=_is_left(limit))
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True


def take_in(transaction: TransactWrite, bot_id: int, what: str, day: date, limit: int) -> None:
    """Spend one of a day's budget as a part of a transaction, which fails where `limit` (>= 1) is spent already."""
    transaction.update(_item(bot_id, what, day), actions=_spend(day, 1), condition=_is_left(limit))


def give_back_in(transaction: TransactWrite, bot_id: int, what: str, day: date) -> None:
    """Give back, as a part of a transaction, one that was taken before."""
    transaction.update(_item(bot_id, what, day), actions=_spend(day, -1))


def _item(bot_id: int, what: str, day: date) -> BudgetItem:
    item: BudgetItem = keyed(BudgetItem, keys.bot(bot_id), keys.budget(what, day))
    return item


def _spend(day: date, count: int) -> list[Action]:
    # An update creates what is missing, and knows nothing of classes: without its kind nobody could read the item.
    kind = BudgetItem.get_attributes()["kind"]
    return [
        kind.set(kind | BudgetItem),
        BudgetItem.expires_on.set(datetime.combine(day, datetime.min.time(), UTC) + KEPT),
        BudgetItem.spent.add(count),
    ]


def _is_left(limit: int) -> Condition:
    left: Condition = BudgetItem.spent < limit
    # Of nothing, nothing can be spent.
    return BudgetItem.spent.does_not_exist() | left if limit > 0 else left
