"""One way to write several items together: which conditions failed is an answer, a rival is waited out."""

import time
from collections.abc import Callable

from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from engagement.errors import StoreUnavailableError
from engagement.store.table import (
    CONDITION_FAILED_REASON,
    CONFLICT_REASON,
    TRANSACTION_CANCELLED,
    back_off,
    code_of,
    connection,
    translated,
)

TRIES = 6
"""Of a write that other transactions on the same items got in the way of; all the waits together last under two
seconds. Two outreaches planned on one day, to users of one share, are counted in one item."""
FIRST_PAUSE_SECONDS = 0.02

type Write = Callable[[TransactWrite], None]


def transact(write: Write, sleep: Callable[[float], None] = time.sleep) -> frozenset[int] | None:
    """Write several items together, or none of them.

    PynamoDB sends condition checks first, then deletions, then puts, then updates, each in the order of the calls.

    Args:
        write: fills the transaction; called anew for each try.
        sleep: waits some seconds.

    Returns:
        Places of those whose conditions failed (none: it is written); None where others kept getting in the way.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    for attempt in range(TRIES):
        with translated():
            try:
                with TransactWrite(connection=connection()) as transaction:
                    write(transaction)
            except TransactWriteError as error:
                if code_of(error) != TRANSACTION_CANCELLED:
                    raise
                codes = [reason.code if reason else None for reason in error.cancellation_reasons]
                if not set(codes) <= {None, CONDITION_FAILED_REASON, CONFLICT_REASON}:
                    raise
                if failed := frozenset(i for i, code in enumerate(codes) if code == CONDITION_FAILED_REASON):
                    return failed
            else:
                return frozenset()
        back_off(attempt, FIRST_PAUSE_SECONDS, sleep)
    return None


def settled(failed: frozenset[int] | None) -> frozenset[int]:
    """Return the places of failed conditions, where a rival that keeps getting in the way is trouble.

    Raises:
        StoreUnavailableError: others kept writing the same items.
    """
    if failed is None:
        raise StoreUnavailableError("DynamoDB: others kept writing the same items")
    return failed
