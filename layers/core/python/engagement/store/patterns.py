"""Patterns: read one, create it with its profile, or replace it if nobody else did."""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pynamodb.exceptions import DoesNotExist, TransactWriteError, UpdateError
from pynamodb.transactions import TransactWrite

from engagement.domain.interaction import Interaction
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import decode, encode
from engagement.store import keys
from engagement.store.profiles import first_contact_actions
from engagement.store.table import (
    CONDITION_FAILED,
    CONDITION_FAILED_REASON,
    TRANSACTION_CANCELLED,
    PatternItem,
    ProfileItem,
    TombstoneItem,
    connection,
    translated,
)

FIRST_SCORE_AFTER = timedelta(days=1)


class Written(StrEnum):
    """What became of a write."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    """Another run wrote first: read again and fold again."""
    ERASED = "erased"
    """The user asked to be forgotten after these interactions."""


@dataclass(frozen=True, slots=True)
class StoredPattern:
    """A pattern as it was read.

    Attributes:
        pattern: the sketch.
        version: changes with every write of the sketch.
        known_as: digest of the name and language that the profile was last given.
    """

    pattern: Pattern
    version: int
    known_as: str


class Patterns:
    """The patterns in the table; one read and at most one conditional write per user and batch."""

    def load(self, bot_id: int, user_id: int) -> StoredPattern | None:
        """Read a pattern consistently; None where the user has none yet.

        Raises:
            BadPatternError: this version cannot read it.
            StoreUnavailableError: DynamoDB is in trouble.
        """
        with translated():
            try:
                item = PatternItem.get(keys.user(bot_id, user_id), keys.PATTERN, consistent_read=True)
            except DoesNotExist:
                return None
        return StoredPattern(decode(item.state), item.version, item.known_as or "")

    def create(self, pattern: Pattern, newest: Interaction) -> Written:
        """Write a user's first pattern, make sure of their profile, and never bring an erased user back.

        Args:
            pattern: what was folded.
            newest: the newest interaction in it, for the name, the language and the chat.
        """
        pk = keys.user(newest.bot_id, newest.user_id)
        first_at = datetime.fromtimestamp(pattern.first_at, UTC)
        item = PatternItem(
            pk,
            keys.PATTERN,
            state=encode(pattern),
            version=1,
            known_as=known_as(newest),
            due_shard=keys.score_shard(keys.due_partition(pk)),
            due_at=first_at + FIRST_SCORE_AFTER,
        )
        is_new = PatternItem.pk.does_not_exist()
        is_not_erased = TombstoneItem.erased_at.does_not_exist() | (TombstoneItem.erased_at < first_at)
        with translated():
            try:
                with TransactWrite(connection=connection()) as transaction:
                    transaction.condition_check(TombstoneItem, pk, keys.TOMBSTONE, condition=is_not_erased)
                    transaction.save(item, condition=is_new)
                    transaction.update(
                        ProfileItem(pk, keys.PROFILE),
                        actions=first_contact_actions(
                            newest.first_name, newest.language_code, newest.chat_id, newest.occurred_at
                        ),
                    )
            except TransactWriteError as error:
                if error.cause_response_code != TRANSACTION_CANCELLED:
                    raise
                # PynamoDB sends condition checks first: the tombstone's answer comes first.
                tombstone, *_ = error.cancellation_reasons
                erased = tombstone is not None and tombstone.code == CONDITION_FAILED_REASON
                return Written.ERASED if erased else Written.CONFLICT
        return Written.WRITTEN

    def replace(self, pattern: Pattern, seen: StoredPattern, newest: Interaction) -> Written:
        """Write a pattern over the version it was folded from, and the profile if the user changed their name.

        A user who fell silent for so long that nothing was due for them any more is due again.
        """
        pk = keys.user(newest.bot_id, newest.user_id)
        name = known_as(newest)
        due_shard, due_at = PatternItem.due_shard, PatternItem.due_at
        with translated():
            try:
                PatternItem(pk, keys.PATTERN).update(
                    actions=[
                        PatternItem.state.set(encode(pattern)),
                        PatternItem.version.set(seen.version + 1),
                        PatternItem.known_as.set(name),
                        due_shard.set(due_shard | keys.score_shard(keys.due_partition(pk))),
                        due_at.set(due_at | newest.occurred_at + FIRST_SCORE_AFTER),
                    ],
                    condition=PatternItem.version == seen.version,
                )
            except UpdateError as error:
                if error.cause_response_code != CONDITION_FAILED:
                    raise
                return Written.CONFLICT
            if name != seen.known_as:
                self._rename(pk, newest)
        return Written.WRITTEN

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        """Return when the user asked to be forgotten; None if they did not."""
        with translated():
            try:
                item = TombstoneItem.get(keys.user(bot_id, user_id), keys.TOMBSTONE, consistent_read=True)
            except DoesNotExist:
                return None
        erased_at: datetime = item.erased_at
        return erased_at

    def _rename(self, pk: str, newest: Interaction) -> None:
        try:
            ProfileItem(pk, keys.PROFILE).update(
                actions=[
                    ProfileItem.first_name.set(newest.first_name),
                    ProfileItem.language_code.set(newest.language_code)
                    if newest.language_code
                    else ProfileItem.language_code.remove(),
                ],
                condition=ProfileItem.pk.exists(),
            )
        except UpdateError as error:
            if error.cause_response_code != CONDITION_FAILED:
                raise


def known_as(interaction: Interaction) -> str:
    """Digest a user's name and language, to notice a change without reading the profile."""
    return f"{zlib.crc32(f'{interaction.first_name}\n{interaction.language_code}'.encode()):08x}"
