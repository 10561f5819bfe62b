"""What a person must look at: kept in the user's partition, found by the index until somebody has looked."""

from datetime import datetime

from pynamodb.exceptions import DoesNotExist, UpdateError

from engagement.domain.attention import Attention, AttentionReason
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.table import CONDITION_FAILED, AttentionItem, code_of, keyed, translated

PAGE = 100


class Attentions:
    """What waits for a person. Every method may raise StoreUnavailableError."""

    def add(self, bot_id: int, attention: Attention) -> None:
        """Keep one; the same message again changes nothing."""
        pk = keys.user(bot_id, attention.user_id)
        item = AttentionItem(
            pk,
            keys.attention(attention.update_id),
            due_shard=keys.attention_shard(keys.due_partition(pk)),
            due_at=attention.noticed_at,
            reason=attention.reason.value,
            noticed_at=attention.noticed_at,
        )
        with translated():
            item.save()

    def waiting(self, now: datetime) -> list[Attention]:
        """Return what nobody has looked at yet, the longest waiting first."""
        rows = (
            row
            for partition in range(keys.DUE_PARTITIONS)
            for row in due_rows(keys.attention_shard(partition), now, page=PAGE)
        )
        found = (_attention(pk, sk) for pk, sk in rows)
        return sorted((one for one in found if one is not None), key=lambda one: one.noticed_at)

    def done(self, bot_id: int, attention: Attention) -> bool:
        """Keep that somebody has looked; False where it is gone, or was looked at before."""
        item = keyed(AttentionItem, keys.user(bot_id, attention.user_id), keys.attention(attention.update_id))
        with translated():
            try:
                item.update(
                    actions=[AttentionItem.due_shard.remove(), AttentionItem.due_at.remove()],
                    condition=AttentionItem.due_at.exists(),
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True


def _attention(pk: str, sk: str) -> Attention | None:
    """Read one; None where the index lags behind, and it is gone."""
    with translated():
        try:
            item = AttentionItem.get(pk, sk, consistent_read=True)
        except DoesNotExist:
            return None
    return Attention(
        user_id=keys.user_of(pk)[1],
        update_id=int(sk.removeprefix(keys.ATTENTION_PREFIX)),
        reason=AttentionReason(item.reason),
        noticed_at=item.noticed_at,
    )
