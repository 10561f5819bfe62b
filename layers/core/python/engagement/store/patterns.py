"""Patterns: read one, create it with its profile, or replace it if nobody else did; with whatever it brought.

A pattern that brings nothing else is one conditional update. Otherwise one transaction holds the pattern, the awards,
the outreach and the counters: all of it, or nothing, and then the batch is delivered again.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.consequences import Consequences
from engagement.domain.interaction import Interaction
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import decode, encode
from engagement.store import keys
from engagement.store.awards import award_in
from engagement.store.outreaches import plan_in
from engagement.store.profiles import after_erasure, first_contact
from engagement.store.statistics import count_in, of_moves
from engagement.store.table import (
    CONDITION_FAILED,
    CONFLICT,
    PatternItem,
    ProfileItem,
    TombstoneItem,
    back_off,
    code_of,
    translated,
)
from engagement.store.tombstones import erased_at
from engagement.store.transactions import settled, transact

FIRST_SCORE_AFTER = timedelta(days=1)
WRITE_ATTEMPTS = 6
"""Of a write that others got in the way of: neighbours who move the same counters, or the sender."""
BACK_OFF_SECONDS = 0.02


class Written(StrEnum):
    """What became of a write; where several hold, the first."""

    WRITTEN = "written"
    ERASED = "erased"
    """The user asked to be forgotten after these interactions."""
    CONFLICT = "conflict"
    """Another run wrote first: read again and fold again."""
    AWARDED = "awarded"
    """The user has one of the awards, although the pattern does not know: it was lost and is built again."""
    PLANNED = "planned"
    """The outreach was planned before."""


@dataclass(frozen=True, slots=True)
class StoredPattern:
    """A pattern as it was read.

    Attributes:
        pattern: the sketch.
        version: changes with every write of the sketch.
        known_as: digest of the name and language that the profile was last given.
        awarded: names of the milestones that were awarded.
        scored_at: when the user was last scored; None before the first time.
        asked_at: when the user was last asked to be scored at once, until that is done.
    """

    pattern: Pattern
    version: int
    known_as: str
    awarded: frozenset[str] = frozenset()
    scored_at: datetime | None = None
    asked_at: datetime | None = None


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
        return StoredPattern(
            pattern=decode(item.state),
            version=item.version,
            known_as=item.known_as or "",
            awarded=frozenset(item.awarded or ()),
            scored_at=item.scored_at,
            asked_at=item.asked_at,
        )

    def create(self, pattern: Pattern, newest: Interaction, brought: Consequences) -> Written:
        """Write a user's first pattern, make sure of their profile, and never bring an erased user back.

        Args:
            pattern: what was folded.
            newest: the newest interaction in it, for the name, the language and the chat.
            brought: what is written with it.
        """
        pk = keys.user(newest.bot_id, newest.user_id)
        first_at = datetime.fromtimestamp(pattern.first_at, UTC)
        is_new = PatternItem.pk.does_not_exist()
        profile = first_contact(newest.first_name, newest.language_code, newest.chat_id, newest.occurred_at, pk)

        def write(transaction: TransactWrite, *, was_erased: bool) -> None:
            erased_at = TombstoneItem.erased_at
            is_not_erased = (erased_at < first_at) if was_erased else erased_at.does_not_exist()
            actions = profile | after_erasure() if was_erased else profile
            item = PatternItem(
                pk,
                keys.PATTERN,
                state=encode(pattern),
                version=1,
                known_as=known_as(newest),
                due_shard=keys.score_shard(keys.due_partition(pk)),
                due_at=brought.score_at or first_at + FIRST_SCORE_AFTER,
                asked_at=brought.score_at,
                awarded=_names(brought) or None,
            )
            transaction.condition_check(TombstoneItem, pk, keys.TOMBSTONE, condition=is_not_erased)
            transaction.save(item, condition=is_new)
            transaction.update(ProfileItem(pk, keys.PROFILE), actions=list(actions.values()))
            _bring(transaction, newest, brought)

        # PynamoDB sends condition checks first, then puts, then updates, each kind in the order of the calls.
        meanings = [Written.ERASED, Written.CONFLICT, *_puts(brought)]
        written = _transact(partial(write, was_erased=False), meanings)
        # Of two conditions that fail the tombstone's comes first: there is one, and it says whether they are back.
        return _transact(partial(write, was_erased=True), meanings) if written is Written.ERASED else written

    def replace(self, pattern: Pattern, seen: StoredPattern, newest: Interaction, brought: Consequences) -> Written:
        """Write a pattern over the version it was folded from, and the profile if the user changed their name.

        A user who fell silent for so long that nothing was due for them any more is due again.

        Args:
            pattern: what was folded.
            seen: what it was folded from.
            newest: the newest of the new interactions.
            brought: what is written with it.
        """
        pk = keys.user(newest.bot_id, newest.user_id)
        if known_as(newest) != seen.known_as:
            # First: once the pattern is written, nothing would be left to tell that the profile is behind.
            self._rename(pk, newest)
        is_as_seen = PatternItem.version == seen.version
        actions = _replacing(pk, pattern, seen, newest, brought)
        if not brought.touch_other_items:
            return _update(pk, actions, seen.version)

        def write(transaction: TransactWrite) -> None:
            # Before the counters, which are updates too.
            transaction.update(PatternItem(pk, keys.PATTERN), actions=actions, condition=is_as_seen)
            _bring(transaction, newest, brought)

        return _transact(write, [*_puts(brought), Written.CONFLICT])

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        """Return when the user asked to be forgotten; None if they did not."""
        return erased_at(bot_id, user_id)

    def _rename(self, pk: str, newest: Interaction) -> None:
        with translated():
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
                if code_of(error) != CONDITION_FAILED:
                    raise


def known_as(interaction: Interaction) -> str:
    """Digest a user's name and language, to notice a change without reading the profile."""
    return f"{zlib.crc32(f'{interaction.first_name}\n{interaction.language_code}'.encode()):08x}"


def _names(brought: Consequences) -> set[str]:
    return {award.milestone_name for award in brought.awards} | brought.known_awards


def _replacing(
    pk: str, pattern: Pattern, seen: StoredPattern, newest: Interaction, brought: Consequences
) -> list[Action]:
    due_shard, due_at = PatternItem.due_shard, PatternItem.due_at
    actions: list[Action] = [
        PatternItem.state.set(encode(pattern)),
        PatternItem.version.set(seen.version + 1),
        PatternItem.known_as.set(known_as(newest)),
        due_shard.set(due_shard | keys.score_shard(keys.due_partition(pk))),
    ]
    if brought.score_at is None:
        actions.append(due_at.set(due_at | newest.occurred_at + FIRST_SCORE_AFTER))
    else:
        actions += [due_at.set(brought.score_at), PatternItem.asked_at.set(brought.score_at)]
    if names := _names(brought):
        actions.append(PatternItem.awarded.add(names))
    return actions


def _puts(brought: Consequences) -> list[Written]:
    """Return what the failure of each of `_bring`'s puts means."""
    return [Written.AWARDED] * len(brought.awards) + [Written.PLANNED] * (brought.outreach is not None)


def _bring(transaction: TransactWrite, newest: Interaction, brought: Consequences) -> None:
    for award in brought.awards:
        award_in(transaction, newest.bot_id, newest.user_id, award)
    if brought.outreach is not None:
        plan_in(transaction, brought.outreach, brought.moves)
    else:
        count_in(transaction, newest.bot_id, newest.user_id, of_moves(brought.moves))


def _update(pk: str, actions: list[Action], version: int) -> Written:
    for attempt in range(1, WRITE_ATTEMPTS + 1):
        with translated():
            try:
                PatternItem(pk, keys.PATTERN).update(actions=actions, condition=PatternItem.version == version)
            except UpdateError as error:
                if code_of(error) == CONDITION_FAILED:
                    return Written.CONFLICT
                if code_of(error) != CONFLICT or attempt == WRITE_ATTEMPTS:
                    raise
            else:
                return Written.WRITTEN
        back_off(attempt, BACK_OFF_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def _transact(write: Callable[[TransactWrite], None], meanings: Sequence[Written]) -> Written:
    """Write a transaction.

    Args:
        write: fills it.
        meanings: of a failed condition of each of its operations, in the order in which PynamoDB sends them; those
            after the last one have none.
    """
    failed = settled(transact(write))
    found = {meaning for place, meaning in enumerate(meanings) if place in failed}
    return next((meaning for meaning in Written if meaning in found), Written.WRITTEN)
