"""The webhook's one use case: an update in; the interaction, the profile and the reply out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from engagement.domain import callbacks
from engagement.domain.analysis import analyse
from engagement.domain.flood import FloodLimit
from engagement.domain.interaction import Interaction
from engagement.domain.outreach import OutreachType
from engagement.domain.profile import SNOOZE, Consent, Profile
from engagement.domain.replies import Replies, Reply
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
from engagement.domain.zone import is_zone
from engagement.errors import BadUpdateError

CELEBRATIONS = frozenset({OutreachType.MILESTONE_CELEBRATION, OutreachType.ACHIEVEMENT_UNLOCK})
"""Their useful button shows the user's progress."""
BUTTON_LIFETIME = timedelta(seconds=150)
"""How long Telegram takes an answer to a button press."""


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

    def record_consent(
        self, bot_id: int, user_id: int, consent: Consent, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep the user's answer, unless they gave a newer one."""
        ...

    def record_consent_ml(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether models may be trained on what the user did, unless they gave a newer answer."""
        ...

    def record_consent_llm(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether a language model may be told of the user, unless they gave a newer answer."""
        ...

    def opt_out(self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None) -> bool:
        """End outreach to the user."""
        ...

    def opt_in(self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None) -> bool:
        """Take an opt-out back."""
        ...

    def snooze(self, bot_id: int, user_id: int, until: datetime, at: datetime, contact: Contact | None = None) -> bool:
        """Hold outreach to the user back for a while."""
        ...

    def set_zone(self, bot_id: int, user_id: int, zone: str, at: datetime, contact: Contact | None = None) -> bool:
        """Keep the time zone the user set, unless they set another later."""
        ...

    def set_blocked(
        self, bot_id: int, user_id: int, *, blocked: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep a block or an unblock, unless a newer event said otherwise."""
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
    """

    outcome: Outcome
    update_id: int | None = None
    reason: str | None = None
    reply: Reply | None = None


class Reception:
    """Receives updates.

    Every write is idempotent and is made at each delivery, so a crash between two of them is mended by the next one,
    and any number of deliveries ends in the same table and the same answer.
    """

    def __init__(
        self,
        bot_id: int,
        interactions: InteractionStore,
        profiles: ProfileStore,
        dead_letters: DeadLetterStore,
        replies: Replies,
        flood_limit: FloodLimit,
        progress: Callable[[int, datetime], str] | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            bot_id: the bot.
            interactions: where they are kept.
            profiles: where they are kept.
            dead_letters: where they are kept.
            replies: what this deployment says.
            flood_limit: how many interactions of one user are stored.
            progress: says of a user, at a time, how far their next milestones are: plain text, a line each.
        """
        self._bot_id = bot_id
        self._interactions = interactions
        self._profiles = profiles
        self._dead_letters = dead_letters
        self._replies = replies
        self._flood_limit = flood_limit
        self._progress = progress

    def receive(self, body: bytes, arrived_at: datetime) -> Receipt:
        """Receive one update.

        Args:
            body: the request's body, not yet trusted to be anything.
            arrived_at: aware UTC.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; the update must be delivered again.
        """
        try:
            update = read_update(body, arrived_at)
        except BadUpdateError as error:
            letter = dead_letter(body, error.reason)
            self._dead_letters.add(letter, arrived_at)
            return Receipt(Outcome.DEAD_LETTER, letter.update_id, letter.reason)
        match update:
            case MessageSent():
                return self._message(update, arrived_at)
            case ButtonPressed():
                return self._button(update, arrived_at)
            case StatusChanged():
                self._profiles.set_blocked(
                    self._bot_id, update.user_id, blocked=update.blocked, at=update.occurred_at, contact=update.contact
                )
                return Receipt(Outcome.STATUS, update.update_id)
            case Ignored():
                return Receipt(Outcome.IGNORED, update.update_id, update.reason)

    def _message(self, update: MessageSent, arrived_at: datetime) -> Receipt:
        reply = None
        # An edit into a command is no command; commands that are not ours are the bot's own business.
        match None if update.edited else update.command:
            case "start":
                self._profiles.opt_in(self._bot_id, update.user_id, update.occurred_at, update.contact)
                reply = self._replies.welcome(update.contact)
            case "stop":
                # Before anything else can fail: this is the one message that must not be lost.
                self._profiles.opt_out(self._bot_id, update.user_id, update.occurred_at, update.contact)
                reply = self._replies.stopped(update.contact)
            case "privacy":
                profile = self._profiles.get(self._bot_id, update.user_id)
                reply = self._replies.privacy(update.contact, profile)
            case "timezone":
                reply = self._zone(update, arrived_at)
        return Receipt(self._record(update, arrived_at), update.update_id, reply=reply)

    def _zone(self, update: MessageSent, now: datetime) -> Reply:
        """Set the time zone that follows the command; where none does, say which one is set."""
        _, *words = update.text.split()
        if words:
            zone = zone_named("_".join(words))
            if zone is None:
                return self._replies.unknown_zone(update.contact)
            self._profiles.set_zone(self._bot_id, update.user_id, zone, update.occurred_at, update.contact)
        profile = self._profiles.get(self._bot_id, update.user_id)
        return self._replies.zone(update.contact, profile, now, changed=bool(words))

    def _button(self, update: ButtonPressed, arrived_at: datetime) -> Receipt:
        outcome = self._record(update, arrived_at)
        if update.data not in callbacks.OURS:
            return Receipt(outcome, update.update_id)
        pressed_at = update.occurred_at
        if outcome is Outcome.DUPLICATE:
            # Telegram dates no button press. The time kept at the first delivery is its time for good: a redelivery
            # that took its own would pass for a newer answer than one that was given in between.
            known = self._interactions.get(self._bot_id, update.user_id, update.update_id)
            pressed_at = known.occurred_at if known else pressed_at
        reply = self._pressed(update, pressed_at)
        is_late = arrived_at - pressed_at > BUTTON_LIFETIME
        return Receipt(outcome, update.update_id, reply=None if is_late else reply)

    def _pressed(self, update: ButtonPressed, at: datetime) -> Reply:
        """Do what a button of ours says."""
        bot_id, user_id, contact = self._bot_id, update.user_id, update.contact
        if update.data == callbacks.STOP:
            self._profiles.opt_out(bot_id, user_id, at, contact)
            return self._replies.stop_noted(update)
        if update.data == callbacks.LATER:
            self._profiles.snooze(bot_id, user_id, at + SNOOZE, at, contact)
            return self._replies.later_noted(update)
        if (outreach_type := callbacks.GONE_FOR.get(update.data)) is not None:
            progress = self._progress(user_id, at) if self._progress and outreach_type in CELEBRATIONS else None
            return self._replies.gone(update, outreach_type, progress)
        if update.data in (callbacks.LEARNING_YES, callbacks.LEARNING_NO):
            granted = update.data == callbacks.LEARNING_YES
            self._profiles.record_consent_ml(bot_id, user_id, granted=granted, at=at, contact=contact)
            return self._replies.learning_noted(update, self._profiles.get(bot_id, user_id))
        if update.data in (callbacks.REWORDING_YES, callbacks.REWORDING_NO):
            granted = update.data == callbacks.REWORDING_YES
            self._profiles.record_consent_llm(bot_id, user_id, granted=granted, at=at, contact=contact)
            return self._replies.rewording_noted(update, self._profiles.get(bot_id, user_id))
        consent = Consent.DECLINED if update.data == callbacks.CONSENT_NO else Consent.GRANTED
        self._profiles.record_consent(bot_id, user_id, consent, at, contact)
        if update.data == callbacks.CONSENT_BOTH:
            self._profiles.record_consent_ml(bot_id, user_id, granted=True, at=at, contact=contact)
        return self._replies.consent_noted(update, self._profiles.get(bot_id, user_id))

    def _record(self, update: MessageSent | ButtonPressed, arrived_at: datetime) -> Outcome:
        """Store the interaction, once, and within the flood limit; commands and buttons are obeyed beyond it."""
        if not self._flood_limit.admit(update.user_id, arrived_at):
            return Outcome.SHED
        interaction = analyse(update, self._bot_id, store_text=self._replies.stores_text)
        return Outcome.STORED if self._interactions.add(interaction) else Outcome.DUPLICATE


def zone_named(text: str) -> str | None:
    """Return the IANA zone that somebody means, who may have typed it without capitals; None where there is none."""
    typed = text[:64]
    return next((name for name in (typed, typed.title(), typed.upper()) if is_zone(name)), None)
