"""The webhook's one use case: an update in; the interaction, the profile and the reply out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from engagement.domain.analysis import analyse, is_sensitive, without_sensitive
from engagement.domain.attention import Attention, AttentionReason
from engagement.domain.callbacks import Button, Press, is_ours
from engagement.domain.crisis import speaks_of_crisis
from engagement.domain.flood import FloodLimit
from engagement.domain.interaction import OWN_COMMANDS, Control, Interaction
from engagement.domain.outcomes import RESPONSE
from engagement.domain.outreach import Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.profile import Profile, SensitiveBasis, allows_sensitive
from engagement.domain.replies import Replies, Reply
from engagement.domain.stop_words import is_stop
from engagement.domain.update import (
    ButtonPressed,
    Contact,
    DeadLetter,
    Ignored,
    MessageSent,
    StatusChanged,
    dead_letter,
    read_update,
)
from engagement.errors import BadUpdateError

BUTTON_LIFETIME = timedelta(seconds=150)
"""How long Telegram takes an answer to a button press, and delivers the press again."""
NO = frozenset({Button.STOP_ALL, Button.STOP_TYPE, Button.WRITE_OFF, Button.TYPE_OFF, Button.CONSENT_NO})
"""Buttons that are obeyed wherever they stand: too little is sent rather than too much."""
LATE = timedelta(minutes=1)
"""A message that comes so much later than it was written may be one of somebody who was erased meanwhile."""
STOP = "stop"
SUPPORT = OutreachType.MOOD_SUPPORT
REACHED = frozenset({OutreachState.SENDING, OutreachState.SENT, OutreachState.RESPONDED, OutreachState.UNKNOWN})
"""They may have read it; while it is being sent, too: an answer can be faster than what Telegram says of it."""


class InteractionStore(Protocol):
    """Where interactions are kept; see `store.interactions`."""

    def add(self, interaction: Interaction) -> bool:
        """Store one unless it is there; say whether it was stored."""
        ...

    def get(self, bot_id: int, user_id: int, update_id: int) -> Interaction | None:
        """Read one consistently."""
        ...


class ProfileStore(Protocol):
    """Where profiles are kept; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...

    def note_crisis(self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None) -> bool:
        """Keep that the user wrote words of crisis."""
        ...

    def set_blocked(
        self, bot_id: int, user_id: int, *, blocked: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep a block or an unblock, unless a newer event said otherwise."""
        ...


class TombstoneReader(Protocol):
    """Who was erased; see `store.tombstones`."""

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        """Return when a user was erased; None if they were not."""
        ...


class AttentionStore(Protocol):
    """What a person must look at; see `store.attentions`."""

    def add(self, bot_id: int, attention: Attention) -> None:
        """Keep one."""
        ...


class OutreachReader(Protocol):
    """The send ledger; see `store.outreaches`."""

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        ...


class Word(Protocol):
    """Obeys what users say by commands and buttons of ours; see `services.users_word`."""

    def command(self, update: MessageSent, now: datetime) -> Reply | None:
        """Do what a command says."""
        ...

    def press(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        """Do what a button says."""
        ...


class DeadLetterStore(Protocol):
    """Where dead letters are kept; see `store.dead_letters`."""

    def add(self, letter: DeadLetter, received_at: datetime) -> None:
        """Keep one."""
        ...


class Outcome(StrEnum):
    """What became of a request, by the name of the metric that counts it."""

    STORED = "InteractionsStored"
    DUPLICATE = "DuplicatesIgnored"
    SHED = "InteractionsShed"
    """Above the flood limit: counted, not stored."""
    STATUS = "StatusChanges"
    """A block or an unblock."""
    IGNORED = "UpdatesIgnored"
    DEAD_LETTER = "DeadLetters"
    FORGED = "UpdatesForged"
    """It did not know the secret; nothing was read."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request, and what to answer.

    Attributes:
        outcome: what became of it.
        update_id: Telegram's id of the update; None where it could not be read.
        reason: a code, safe to log, of why it was ignored or dead-lettered.
        reply: a method for Telegram to execute; None for an empty answer.
        control: the button or command of ours that it was; None where it was none.
        handed_over: why a person must look at it; None where nobody must.
    """

    outcome: Outcome
    update_id: int | None = None
    reason: str | None = None
    reply: Reply | None = None
    control: Control | None = None
    handed_over: AttentionReason | None = None


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where the reception keeps and finds things."""

    interactions: InteractionStore
    profiles: ProfileStore
    dead_letters: DeadLetterStore
    tombstones: TombstoneReader
    attentions: AttentionStore
    outreaches: OutreachReader | None = None
    """None where support is not sent: then nobody answers it."""


class Reception:
    """Receives updates.

    Every write is idempotent and is made at each delivery, so a crash between two of them is mended by the next one,
    and any number of deliveries ends in the same table and the same answer.
    """

    def __init__(
        self,
        bot_id: int,
        stores: Stores,
        word: Word,
        replies: Replies,
        flood_limit: FloodLimit,
        operator_chat_id: int = 0,
    ) -> None:
        """Take what it works with.

        Args:
            bot_id: the bot.
            stores: where things are kept.
            word: obeys what users say by commands and buttons of ours.
            replies: what this deployment says.
            flood_limit: how many interactions of one user are stored.
            operator_chat_id: where messages are forwarded that a person must look at; 0 is nowhere.
        """
        self._bot_id = bot_id
        self._stores = stores
        self._word = word
        self._replies = replies
        self._flood_limit = flood_limit
        self._operator_chat_id = operator_chat_id

    def receive(self, body: bytes, arrived_at: datetime) -> Receipt:
        """Receive one update.

        Args:
            body: the request's body, not yet trusted to be anything.
            arrived_at: aware UTC.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; the update must be delivered again.
            SecretUnavailableError: the key of our buttons cannot be read; likewise.
        """
        try:
            update = read_update(body, arrived_at)
        except BadUpdateError as error:
            letter = dead_letter(body, error.reason)
            self._stores.dead_letters.add(letter, arrived_at)
            return Receipt(Outcome.DEAD_LETTER, letter.update_id, letter.reason)
        match update:
            case MessageSent():
                return self._message(update, arrived_at)
            case ButtonPressed():
                return self._button(update, arrived_at)
            case StatusChanged():
                self._stores.profiles.set_blocked(
                    self._bot_id, update.user_id, blocked=update.blocked, at=update.occurred_at, contact=update.contact
                )
                return Receipt(Outcome.STATUS, update.update_id)
            case Ignored():
                return Receipt(Outcome.IGNORED, update.update_id, update.reason)

    def _message(self, update: MessageSent, arrived_at: datetime) -> Receipt:
        if arrived_at - update.occurred_at > LATE and self._was_erased(update.user_id, update.occurred_at):
            return Receipt(Outcome.IGNORED, update.update_id, "erased")
        control, reply = _control(update), None
        # An edit into a command is none, but for the one that must not be lost; other commands are the bot's business.
        if control is Control.COMMAND and (not update.edited or update.command == STOP):
            reply = self._word.command(update, arrived_at)
        elif control is Control.STOP_WORD:
            reply = self._stop_asked(update)
        # Beyond the flood limit, too: this must not be lost.
        handed_over = self._hand_over(update, control)
        if handed_over is not None:
            # No machine answers this.
            reply = self._replies.hand_over(update, self._operator_chat_id) if self._operator_chat_id else None
        outcome = Outcome.SHED
        if self._flood_limit.admit(update.user_id, arrived_at):
            outcome = self._store(analyse(update, self._bot_id, store_text=self._replies.stores_text, control=control))
        return Receipt(outcome, update.update_id, reply=reply, control=control, handed_over=handed_over)

    def _button(self, update: ButtonPressed, arrived_at: datetime) -> Receipt:
        press = self._replies.signer.read(update.data, update.user_id)
        control = press.control if press else Control.REFUSED if is_ours(update.data) else None
        # Telegram dates no press: one that is delivered again after the user was erased would look new. Its message,
        # which is dated, does not: nothing under one of the old life counts in the new one.
        if self._was_erased(update.user_id, update.message_at):
            return self._old_button(update, press, control)
        outcome = Outcome.SHED
        if self._flood_limit.admit(update.user_id, arrived_at):
            outcome = self._store(analyse(update, self._bot_id, store_text=False, control=control, press=press))
        pressed_at = update.occurred_at
        if outcome is Outcome.DUPLICATE:
            # The time kept at the first delivery is its time for good: a redelivery that took its own would pass for a
            # newer answer than one that was given in between.
            known = self._stores.interactions.get(self._bot_id, update.user_id, update.update_id)
            pressed_at = known.occurred_at if known else pressed_at
        reply, handed_over = None, None
        if press is not None:
            reply = self._word.press(update, press, pressed_at)
            if press.button is Button.GO and press.outreach_type is SUPPORT:
                handed_over = self._keep_for_a_person(update, AttentionReason.SUPPORT_ANSWERED, pressed_at)
        elif control is Control.REFUSED:
            reply = self._replies.noted(update, "button_old")
        is_late = arrived_at - pressed_at > BUTTON_LIFETIME
        reply = None if is_late else reply
        return Receipt(outcome, update.update_id, reply=reply, control=control, handed_over=handed_over)

    def _old_button(self, update: ButtonPressed, press: Press | None, control: Control | None) -> Receipt:
        """Answer a button under a message from before the user was erased; only a "no" has an effect.

        That is for those who are back: of somebody who is gone nothing is kept, and there is nothing to end.
        """
        reply = None
        if control is Control.FORGET:
            reply = self._replies.noted(update, "forgotten")
        elif press is not None and press.button in NO and self._stores.profiles.get(self._bot_id, update.user_id):
            reply = self._word.press(update, press, update.occurred_at)
        elif control is not None:
            reply = self._replies.noted(update, "button_old")
        return Receipt(Outcome.IGNORED, update.update_id, "erased", reply=reply, control=control)

    def _store(self, interaction: Interaction) -> Outcome:
        """Store an interaction, once; without what it tells of mood and private matters, where we may not keep that."""
        asks_consent = self._replies.basis is SensitiveBasis.CONSENT
        if asks_consent and is_sensitive(interaction):
            profile = self._stores.profiles.get(self._bot_id, interaction.user_id)
            if not allows_sensitive(profile, self._replies.basis):
                interaction = without_sensitive(interaction)
        return Outcome.STORED if self._stores.interactions.add(interaction) else Outcome.DUPLICATE

    def _hand_over(self, update: MessageSent, control: Control | None) -> AttentionReason | None:
        """Keep for a person what a person must look at: words of crisis, and what is answered to support (R103)."""
        if speaks_of_crisis(update.text):
            reason = AttentionReason.CRISIS
            self._stores.profiles.note_crisis(self._bot_id, update.user_id, update.occurred_at, update.contact)
        elif control is None and self._answers_support(update):
            reason = AttentionReason.SUPPORT_ANSWERED
        else:
            return None
        return self._keep_for_a_person(update, reason, update.occurred_at)

    def _keep_for_a_person(
        self, update: MessageSent | ButtonPressed, reason: AttentionReason, at: datetime
    ) -> AttentionReason:
        attention = Attention(user_id=update.user_id, update_id=update.update_id, reason=reason, noticed_at=at)
        self._stores.attentions.add(self._bot_id, attention)
        return reason

    def _answers_support(self, update: MessageSent) -> bool:
        """Say whether a message is the first one after support that reached the user within the last day."""
        if self._stores.outreaches is None:
            return False
        profile = self._stores.profiles.get(self._bot_id, update.user_id)
        for awaiting in profile.awaiting if profile else ():
            if awaiting.campaign != SUPPORT or not awaiting.exposed_at < update.occurred_at <= (
                awaiting.exposed_at + RESPONSE
            ):
                continue
            key = OutreachKey(self._bot_id, update.user_id, awaiting.campaign, awaiting.period)
            outreach = self._stores.outreaches.get(key)
            if outreach is None or outreach.state not in REACHED:
                continue
            return outreach.returned_at is None or update.occurred_at <= outreach.returned_at
        return False

    def _was_erased(self, user_id: int, happened_at: datetime | None) -> bool:
        """Say whether a user was erased after something; what has no date is old: Telegram dates all but that."""
        erased_at = self._stores.tombstones.erased_at(self._bot_id, user_id)
        return erased_at is not None and (happened_at is None or happened_at <= erased_at)

    def _stop_asked(self, update: MessageSent) -> Reply | None:
        """Ask back who wrote a word for stop; None where nothing comes to them that could be stopped."""
        profile = self._stores.profiles.get(self._bot_id, update.user_id)
        return self._replies.stop_asked(update.contact, update.user_id) if self._replies.writes(profile) else None


def _control(update: MessageSent) -> Control | None:
    """Return what a message is of ours: one of our commands, or a word for stop that is asked back."""
    if update.command in OWN_COMMANDS:
        return Control.COMMAND
    if update.command is not None:
        # "/unsubscribe", "/stop_all": the bot's own command, maybe, and a word for stop for certain.
        words = update.text.removeprefix("/").replace("_", " ")
        return Control.STOP_WORD if is_stop(words) else None
    return Control.STOP_WORD if update.mentions_stop or is_stop(update.text) else None
