"""Profiles: what users said and did, each decided by the time of its event and never by the order of arrival.

Telegram delivers a user's message, button press and block event concurrently and again after a lost answer. So every
change carries the time of its event, and is written only over an older one: any order and any repetition ends in the
same profile. No change here reads first.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pynamodb.attributes import BooleanAttribute
from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.preferences import Fact, Preferences
from engagement.domain.profile import UNSET_ZONE, Awaiting, Consent, Profile
from engagement.domain.update import Contact
from engagement.domain.zone import checked_zone
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.table import (
    CONDITION_FAILED,
    EpochSeconds,
    ProfileItem,
    TombstoneItem,
    code_of,
    holds,
    keyed,
    translated,
)
from engagement.store.transactions import settled, transact

PAGE = 100
TOMBSTONE = 0
"""Place of the tombstone in the transaction that creates a profile."""
FIRST_LOOK = timedelta(days=30)
"""After which it is asked for the first time whether a profile is still to be kept; see `services.erasing`."""
NUMBERED_WITHIN = timedelta(days=6)
"""Within which Telegram's numbers of updates tell which was first."""


class Profiles:
    """The profiles in the table.

    Every method may raise StoreUnavailableError. Those that change a profile say whether they did; an older event, or
    one that has been applied, does not. `contact` completes a profile that the change has to create.
    """

    partitions = keys.DUE_PARTITIONS

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        """Yield (bot_id, user_id) of those in a partition [0, 16) of whom it is asked whether they are to be kept."""
        for pk, _ in due_rows(keys.keep_shard(partition), now, page=PAGE):
            yield keys.user_of(pk)

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read a profile consistently; None where the user has none."""
        with translated():
            try:
                item = ProfileItem.get(keys.user(bot_id, user_id), keys.PROFILE, consistent_read=True)
            except DoesNotExist:
                return None
        return _profile(item)

    def meet(self, bot_id: int, user_id: int, at: datetime, contact: Contact) -> bool:
        """Make a profile for somebody who has none yet; say whether it did."""
        pk = keys.user(bot_id, user_id)
        is_new = ProfileItem.pk.does_not_exist()
        return self._complete(pk, contact, {}, is_new, at)

    def record_consent(
        self, bot_id: int, user_id: int, consent: Consent, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep the user's answer to "may we write to you?", unless they gave a newer one.

        In one and the same second no wins, as in every consent (R95).
        """
        consent_at = ProfileItem.consent_at
        applies = consent_at.does_not_exist() | (consent_at < at)
        if consent is Consent.DECLINED:
            applies |= (consent_at == at) & (ProfileItem.consent != Consent.DECLINED.value)
        changes = {"consent": ProfileItem.consent.set(consent.value), "consent_at": consent_at.set(at)}
        return self._change(bot_id, user_id, changes | _said(), applies, at, contact)

    def record_consent_ml(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether the user lets models be trained on what they did, unless they gave a newer answer.

        In one and the same second no wins: too little is learned rather than too much.
        """
        applies = _is_newest_answer(ProfileItem.consent_ml, ProfileItem.consent_ml_at, granted, at)
        changes = {
            "consent_ml": ProfileItem.consent_ml.set(granted),
            "consent_ml_at": ProfileItem.consent_ml_at.set(at),
        }
        return self._change(bot_id, user_id, changes, applies, at, contact)

    def record_consent_llm(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether a language model may be told of the user; as `record_consent_ml`, no wins a tie."""
        consent_llm, consent_llm_at = ProfileItem.consent_llm, ProfileItem.consent_llm_at
        applies = _is_newest_answer(consent_llm, consent_llm_at, granted, at)
        changes = {"consent_llm": consent_llm.set(granted), "consent_llm_at": consent_llm_at.set(at)}
        return self._change(bot_id, user_id, changes, applies, at, contact)

    def opt_out(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        """End outreach to the user (/stop), unless they said yes later; in one and the same second, out wins.

        Args:
            bot_id: the bot.
            user_id: the user.
            at: when they said it.
            contact: how to reach them.
            update_id: Telegram's id of the update that brought it; see `_is_newest_word`.
        """
        is_same_second = (ProfileItem.opted_out_at == at) & holds(ProfileItem.opted_out, False)
        changes = _word(at, update_id, out=True) | {"epoch": _next_epoch()}
        return self._change(bot_id, user_id, changes, _is_newest_word(at, update_id) | is_same_second, at, contact)

    def opt_in(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        """Take an opt-out back: only an explicit yes of the user's own, later than that, may (R94).

        Args: as of `opt_out`.
        """
        is_same_second = (ProfileItem.opted_out_at == at) & holds(ProfileItem.opted_out, True)
        applies = _is_newest_word(at, update_id) & ~is_same_second
        return self._change(bot_id, user_id, _word(at, update_id, out=False), applies, at, contact)

    def prefer(self, bot_id: int, user_id: int, fact: Fact, at: datetime, contact: Contact | None = None) -> bool:
        """Keep what the user said of a type of outreach; facts add up, in any order."""
        preferences = ProfileItem.preferences
        is_new = ~preferences.contains(str(fact))
        return self._change(
            bot_id, user_id, {"preferences": preferences.add({str(fact)})} | _said(), is_new, at, contact
        )

    def forget_preferences(self, bot_id: int, user_id: int, facts: frozenset[str]) -> bool:
        """Drop facts without which all that holds is the same; see `Preferences.superseded`."""
        return self._update(bot_id, user_id, [ProfileItem.preferences.delete(set(facts))], ProfileItem.pk.exists())

    def note_crisis(self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None) -> bool:
        """Keep that the user wrote words of crisis; the latest such moment holds."""
        crisis_at = ProfileItem.crisis_at
        applies = crisis_at.does_not_exist() | (crisis_at < at)
        return self._change(bot_id, user_id, {"crisis_at": crisis_at.set(at)} | _said(), applies, at, contact)

    def look_again(self, bot_id: int, user_id: int, at: datetime) -> bool:
        """Have it asked again at `at` whether the profile is still to be kept."""
        pk = keys.user(bot_id, user_id)
        due: list[Action] = [
            ProfileItem.due_shard.set(keys.keep_shard(keys.due_partition(pk))),
            ProfileItem.due_at.set(at),
        ]
        return self._update(bot_id, user_id, due, ProfileItem.pk.exists())

    def set_zone(self, bot_id: int, user_id: int, zone: str, at: datetime, contact: Contact | None = None) -> bool:
        """Keep the time zone the user set, unless they set another later.

        Of two of one and the same second the later in the alphabet wins: one has to, in any order.

        Raises:
            BadZoneError: `zone` is no name of the IANA database, in its spelling.
        """
        # The default means that nobody set one.
        kept = "Etc/UTC" if zone == UNSET_ZONE else checked_zone(zone)
        zone_at = ProfileItem.zone_at
        applies = zone_at.does_not_exist() | (zone_at < at) | ((zone_at == at) & (ProfileItem.zone < kept))
        changes = {"zone": ProfileItem.zone.set(kept), "zone_at": zone_at.set(at)}
        return self._change(bot_id, user_id, changes, applies, at, contact)

    def set_blocked(
        self, bot_id: int, user_id: int, *, blocked: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep that the user blocked or unblocked the bot (my_chat_member), unless a newer event said otherwise.

        In one and the same second unblocked wins: a message too many answers itself with a 403, a user wrongly held
        for blocked would never hear from us again. It says nothing about an opt-out. Of somebody who was erased it
        keeps nothing: blocking the bot is not coming back.
        """
        status_at = ProfileItem.status_at
        applies = status_at.does_not_exist() | (status_at < at)
        if not blocked:
            applies |= (status_at == at) & holds(ProfileItem.blocked, True)
        changes = {"blocked": ProfileItem.blocked.set(blocked), "status_at": status_at.set(at), "epoch": _next_epoch()}
        if blocked:
            # What is kept of somebody who left has an end of its own: to be looked at from now on.
            changes["due_at"] = ProfileItem.due_at.set(at)
        return self._change(bot_id, user_id, changes, applies, at, contact, comes_back=False)

    def mark_blocked_by_send(self, bot_id: int, user_id: int, *, at: datetime, epoch_seen: int) -> bool:
        """Keep that Telegram answered a send with "blocked", unless something newer is known by now.

        Newer by either measure is enough to leave the profile as it is: by date (`status_at`), and, since our clock is
        not Telegram's, by `epoch`, which any stop, block or unblock moves. An answer that is refused for an older
        event that came in meanwhile is not lost: the next send meets the same 403.

        Args:
            bot_id: the bot.
            user_id: the user.
            at: when the send began.
            epoch_seen: the profile's epoch as the sender read it before that.
        """
        status_at = ProfileItem.status_at
        exists = ProfileItem.pk.exists()
        is_newest = status_at.does_not_exist() | (status_at < at)
        nothing_happened_since = ProfileItem.epoch == epoch_seen
        changes = [ProfileItem.blocked.set(True), status_at.set(at), _next_epoch(), ProfileItem.due_at.set(at)]
        return self._update(bot_id, user_id, changes, exists & is_newest & nothing_happened_since)

    def migrate_chat(self, bot_id: int, user_id: int, new_chat_id: int) -> bool:
        """Write to another chat from now on: Telegram said that this one moved."""
        return self._update(bot_id, user_id, [ProfileItem.chat_id.set(new_chat_id)], ProfileItem.pk.exists())

    def _change(
        self,
        bot_id: int,
        user_id: int,
        changes: Mapping[str, Action],
        applies: Condition,
        at: datetime,
        contact: Contact | None,
        *,
        comes_back: bool = True,
    ) -> bool:
        """Apply changes to a profile, which is created where there is none yet; `applies` holds on a missing item.

        `comes_back`: what changes it makes a new life of somebody who was erased.
        """
        if self._update(bot_id, user_id, list(changes.values()), ProfileItem.pk.exists() & applies):
            return True
        # Either the event is old, or there is no profile; an update would create one, even for an erased user.
        contact = contact or Contact(chat_id=user_id, first_name="", language_code=None)
        pk = keys.user(bot_id, user_id)
        return self._complete(pk, contact, changes, applies, at, comes_back=comes_back)

    def _complete(
        self,
        pk: str,
        contact: Contact,
        changes: Mapping[str, Action],
        applies: Condition,
        at: datetime,
        *,
        comes_back: bool = True,
    ) -> bool:
        """Write a profile whole where there is none; an erased user's only for what came after that."""
        base = first_contact(contact.first_name, contact.language_code, contact.chat_id, at, pk)
        failed = self._create(pk, {**base, **changes}, TombstoneItem.erased_at.does_not_exist(), applies)
        if TOMBSTONE in failed and comes_back:
            # They were erased, and are back: nobody is written to again without a yes, which may be this very change.
            complete = {**base, **after_erasure(), **changes}
            failed = self._create(pk, complete, TombstoneItem.erased_at < at, applies)
        return not failed

    @staticmethod
    def _create(
        pk: str, complete: Mapping[str, Action], tombstone_allows: Condition, applies: Condition
    ) -> frozenset[int]:
        """Create a profile, or change it; return the places of the conditions that failed."""

        def write(transaction: TransactWrite) -> None:
            transaction.condition_check(TombstoneItem, pk, keys.TOMBSTONE, condition=tombstone_allows)
            item = keyed(ProfileItem, pk, keys.PROFILE)
            transaction.update(item, actions=list(complete.values()), condition=applies)

        return settled(transact(write))

    def _update(self, bot_id: int, user_id: int, actions: list[Action], condition: Condition) -> bool:
        with translated():
            try:
                keyed(ProfileItem, keys.user(bot_id, user_id), keys.PROFILE).update(
                    actions=actions, condition=condition
                )
            except UpdateError as error:
                if code_of(error) != CONDITION_FAILED:
                    raise
                return False
        return True


def after_erasure() -> dict[str, Action]:
    """Return what else is true of a profile that somebody gets who was erased: they said no, until they say yes."""
    consent = ProfileItem.consent
    return {"consent": consent.set(consent | Consent.DECLINED.value)}


def first_contact(first_name: str, language_code: str | None, chat_id: int, at: datetime, pk: str) -> dict[str, Action]:
    """Return the update actions that make a complete profile where there is none, and leave one that is there alone.

    Args:
        first_name: as Telegram gives it; may be empty.
        language_code: IETF tag; None where absent.
        chat_id: the private chat.
        at: when the user was first seen.
        pk: of the user.

    Returns:
        The actions by attribute, so that a change can take the place of one: an update names each path once.
    """
    values: dict[str, Any] = {
        # An update knows nothing of classes: without its kind the item could not be read back.
        "kind": ProfileItem,
        "chat_id": chat_id,
        "first_name": first_name,
        "language_code": language_code,
        "consent": Consent.UNASKED.value,
        "consent_ml": False,
        "consent_llm": False,
        "opted_out": False,
        "blocked": False,
        "epoch": 0,
        "cap_count": 0,
        "zone": UNSET_ZONE,
        "created_at": at,
        "due_shard": keys.keep_shard(keys.due_partition(pk)),
        "due_at": at + FIRST_LOOK,
    }
    attributes = ProfileItem.get_attributes()
    return {
        name: attributes[name].set(attributes[name] | value)  # `|` is if_not_exists
        for name, value in values.items()
        if value is not None
    }


def _is_newest_answer(answer: BooleanAttribute, answered_at: EpochSeconds, granted: bool, at: datetime) -> Condition:
    applies: Condition = answered_at.does_not_exist() | (answered_at < at)
    return applies if granted else applies | (answered_at == at) & holds(answer, True)


def _is_newest_word(at: datetime, update_id: int | None) -> Condition:
    """Return that a word on being written to at all is newer than the one that is kept.

    A press is dated by its arrival, which may be hours after it was made: so a yes from before a /stop can look newer.
    Telegram numbers updates in the order they were made, but for a week without any
    (https://core.telegram.org/bots/api#update): within that, where both numbers are known, they decide.
    """
    opted_out_at, opted_out_by = ProfileItem.opted_out_at, ProfileItem.opted_out_by
    by_time: Condition = opted_out_at.does_not_exist() | (opted_out_at < at)
    if update_id is None:
        return by_time
    numbered = opted_out_by.exists() & opted_out_at.between(at - NUMBERED_WITHIN, at + NUMBERED_WITHIN)
    is_newest: Condition = (numbered & (opted_out_by < update_id)) | (~numbered & by_time)
    return is_newest


def _word(at: datetime, update_id: int | None, *, out: bool) -> dict[str, Action]:
    """Return the changes that keep a word on being written to at all."""
    opted_out_by = ProfileItem.opted_out_by
    return {
        "opted_out": ProfileItem.opted_out.set(out),
        "opted_out_at": ProfileItem.opted_out_at.set(at),
        "opted_out_by": opted_out_by.remove() if update_id is None else opted_out_by.set(update_id),
    } | _said()


def _said() -> dict[str, Action]:
    """Return that the user said something about being written to: what was decided before is to be decided again."""
    return {"word": ProfileItem.word.set((ProfileItem.word | 0) + 1)}


def _next_epoch() -> Action:
    return ProfileItem.epoch.set((ProfileItem.epoch | 0) + 1)


def _profile(item: ProfileItem) -> Profile:
    bot_id, user_id = keys.user_of(item.pk)
    said_at = (item.consent_at, item.consent_ml_at, item.consent_llm_at, item.zone_at)
    return Profile(
        bot_id=bot_id,
        user_id=user_id,
        chat_id=item.chat_id,
        first_name=item.first_name or "",
        language_code=item.language_code,
        consent=Consent(item.consent),
        consent_ml=item.consent_ml,
        opted_out=item.opted_out,
        blocked=item.blocked,
        status_at=item.status_at,
        epoch=item.epoch,
        cap_day=item.cap_day,
        cap_count=item.cap_count,
        next_ok_at=item.next_ok_at,
        zone=item.zone,
        created_at=item.created_at,
        opted_out_at=item.opted_out_at,
        preferences=Preferences.parse(item.preferences or ()),
        word=item.word or 0,
        crisis_at=item.crisis_at,
        answered_at=max(filter(None, said_at), default=None),
        awaiting=tuple(sorted(Awaiting.parse(text) for text in item.awaiting or ())),
        met=frozenset(item.met or ()),
        consent_llm=item.consent_llm,
    )
