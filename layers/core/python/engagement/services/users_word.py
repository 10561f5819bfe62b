"""What a user says to us, by a command or a button of ours: understood, kept with where it came from, obeyed, answered.

Every write is idempotent and decided by the time of its event, so any order and any number of deliveries ends in the
same profile; of two contrary answers of one second "no" holds (`store.profiles`, `domain.preferences`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from engagement.domain.answers import Answer, Question, Said
from engagement.domain.callbacks import Button, Press
from engagement.domain.outreach import OutreachType
from engagement.domain.preferences import Dismissal, Fact, TypeChoice
from engagement.domain.profile import Consent, Profile
from engagement.domain.replies import Replies, Reply, is_of_settings
from engagement.domain.update import ButtonPressed, Contact, MessageSent
from engagement.domain.zone import is_zone
from engagement.errors import SecretUnavailableError, SettingsError

CELEBRATIONS = frozenset({OutreachType.MILESTONE_CELEBRATION, OutreachType.ACHIEVEMENT_UNLOCK})
"""Their useful button shows the user's progress."""
SECONDS_A_DAY = 86_400
FORGET_WITHIN = 900
"""Seconds after the question within which "erase everything" is obeyed: a press by accident, years later, is not."""


class ProfileStore(Protocol):
    """Where profiles are kept; see `store.profiles`. Changes say whether they applied; older events do not."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...

    def meet(self, bot_id: int, user_id: int, at: datetime, contact: Contact) -> bool:
        """Make a profile for somebody who has none yet."""
        ...

    def record_consent(
        self, bot_id: int, user_id: int, consent: Consent, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep the user's answer to "may we write to you?"."""
        ...

    def record_consent_ml(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether models may be trained on what the user did."""
        ...

    def record_consent_llm(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        """Keep whether a language model may be told of the user."""
        ...

    def opt_out(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        """End outreach to the user."""
        ...

    def opt_in(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        """Take an opt-out back."""
        ...

    def prefer(self, bot_id: int, user_id: int, fact: Fact, at: datetime, contact: Contact | None = None) -> bool:
        """Keep what the user said of a type of outreach."""
        ...

    def forget_preferences(self, bot_id: int, user_id: int, facts: frozenset[str]) -> bool:
        """Drop facts that say nothing any more."""
        ...

    def set_zone(self, bot_id: int, user_id: int, zone: str, at: datetime, contact: Contact | None = None) -> bool:
        """Keep the time zone the user set."""
        ...


class AnswerStore(Protocol):
    """The ledger of answers; see `store.answers`."""

    def add(self, bot_id: int, user_id: int, update_id: int, answer: Answer) -> None:
        """Keep one."""
        ...


class TombstoneStore(Protocol):
    """Who was erased; see `store.tombstones`."""

    def begin(self, bot_id: int, user_id: int, at: datetime) -> None:
        """Write the tombstone, and end outreach."""
        ...


class RequestStore(Protocol):
    """What takes longer than an answer; see `store.requests`."""

    def ask(self, bot_id: int, user_id: int, at: datetime) -> bool:
        """Ask for the user's data; False where that was asked a short while ago."""
        ...


class UsersWord:
    """Obeys users."""

    def __init__(
        self,
        bot_id: int,
        profiles: ProfileStore,
        answers: AnswerStore,
        tombstones: TombstoneStore,
        requests: RequestStore,
        replies: Replies,
        progress: Callable[[int, datetime], str] | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            bot_id: the bot.
            profiles: where what holds is kept.
            answers: where what was answered is kept.
            tombstones: where erasing begins.
            requests: where a request for one's data waits for the sender.
            replies: what this deployment says.
            progress: says of a user, at a time, how far their next milestones are: plain text, a line each.
        """
        self._bot_id = bot_id
        self._profiles = profiles
        self._answers = answers
        self._tombstones = tombstones
        self._requests = requests
        self._replies = replies
        self._progress = progress

    def command(self, update: MessageSent, now: datetime) -> Reply | None:
        """Do what a command of ours says; None for a command that is none.

        Args:
            update: the message.
            now: aware; when it arrived.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; the update must be delivered again.
        """
        user_id, contact, at = update.user_id, update.contact, update.occurred_at
        match update.command:
            case "stop":
                # Before anything else can fail: this is the one message that must not be lost.
                self._profiles.opt_out(self._bot_id, user_id, at, contact, update_id=update.update_id)
                self._keep(update, Question.WRITE, Said.STOP, at, "command:/stop")
                return self._stopped(contact, user_id)
            case "start":
                return self._replies.welcome(contact, user_id, self._met(update))
            case "settings":
                return self._replies.settings(contact, user_id, self._met(update))
            case "privacy":
                return self._replies.privacy(contact, user_id, self._met(update))
            case "timezone":
                return self._zone(update, now)
            case "progress":
                return self._replies.progress(contact, self._progress(user_id, now) if self._progress else "")
            case "forget":
                return self._replies.forget_asked(contact, user_id, now)
            case "mydata":
                return self._mydata(update)
            case "help":
                return self._replies.help(contact)
        return None

    def press(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        """Do what a button of ours says, and return the answer.

        Args:
            update: the press.
            press: what it says, proved to be ours and this user's.
            at: when it was pressed, as it is kept.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; the update must be delivered again.
        """
        user_id, contact = update.user_id, update.contact
        match press.button:
            case Button.STOP_ALL | Button.WRITE_OFF:
                self._profiles.opt_out(self._bot_id, user_id, at, contact, update_id=update.update_id)
                self._answered(update, press, Question.WRITE, Said.STOP, at)
                return self._shown(update, press) or self._replies.noted(update, "stopped")
            case Button.STOP_TYPE | Button.TYPE_OFF | Button.TYPE_ON:
                return self._type_chosen(update, press, at)
            case Button.NOT_NOW:
                return self._not_now(update, press, at)
            case Button.GO:
                return self._go(update, press, at)
            case Button.CONSENT_YES | Button.CONSENT_BOTH | Button.CONSENT_NO:
                return self._consent(update, press, at)
            case Button.LEARNING_YES | Button.LEARNING_NO:
                granted = press.button is Button.LEARNING_YES
                self._learning(update, press, granted=granted, at=at)
                return self._shown(update, press) or self._replies.learning_noted(update, self._profile(user_id))
            case Button.REWORDING_YES | Button.REWORDING_NO:
                granted = press.button is Button.REWORDING_YES
                self._profiles.record_consent_llm(self._bot_id, user_id, granted=granted, at=at, contact=contact)
                self._answered(update, press, Question.REWORD, Said.YES if granted else Said.NO, at)
                return self._shown(update, press) or self._replies.rewording_noted(update, self._profile(user_id))
            case Button.FORGET_YES:
                return self._forget(update, press, at)
            case Button.FORGET_NO:
                return self._replies.noted(update, "forget_kept")

    def _stopped(self, contact: Contact, user_id: int) -> Reply:
        """Confirm the end of outreach: by words alone, where the key of the button that undoes it cannot be read."""
        try:
            return self._replies.stopped(contact, user_id)
        except (SecretUnavailableError, SettingsError):
            return self._replies.stopped(contact)

    def _forget(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        if not _is_fresh(press, at):
            return self._replies.noted(update, "button_old")
        self._tombstones.begin(self._bot_id, update.user_id, at)
        return self._replies.noted(update, "forgotten")

    def _consent(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        says_yes = press.button is not Button.CONSENT_NO
        consent = Consent.GRANTED if says_yes else Consent.DECLINED
        self._profiles.record_consent(self._bot_id, update.user_id, consent, at, update.contact)
        if says_yes:
            # The explicit yes, and nothing else, ends an opt-out (R94).
            self._profiles.opt_in(self._bot_id, update.user_id, at, update.contact, update_id=update.update_id)
        self._answered(update, press, Question.WRITE, Said.YES if says_yes else Said.NO, at)
        if press.button is Button.CONSENT_BOTH:
            self._learning(update, press, granted=True, at=at)
        return self._shown(update, press) or self._replies.consent_noted(update, self._profile(update.user_id))

    def _learning(self, update: ButtonPressed, press: Press, *, granted: bool, at: datetime) -> None:
        self._profiles.record_consent_ml(self._bot_id, update.user_id, granted=granted, at=at, contact=update.contact)
        self._answered(update, press, Question.LEARN, Said.YES if granted else Said.NO, at)

    def _type_chosen(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        if press.outreach_type is None:
            raise AssertionError("a button about a type knows which")
        off = press.button is not Button.TYPE_ON
        self._prefer(update, TypeChoice(press.outreach_type, at, off), at)
        self._answered(update, press, f"type:{press.outreach_type}", Said.NO if off else Said.YES, at)
        if press.button is Button.STOP_TYPE:
            return self._replies.noted(update, "type_stopped")
        return self._replies.settings_changed(update, self._profile(update.user_id))

    def _not_now(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        if press.about is None:
            raise AssertionError('"not now" stands under an outreach')
        profile = self._prefer(update, Dismissal(press.about, at), at)
        until = profile.preferences.held_until(press.about.outreach_type) if profile else None
        seconds = (until - at).total_seconds() if until else 0.0
        return self._replies.later_noted(update, max(1, round(seconds / SECONDS_A_DAY)))

    def _prefer(self, update: ButtonPressed, fact: Fact, at: datetime) -> Profile | None:
        """Keep a fact unless it says nothing new, drop what it makes pointless; return the profile as it is then."""
        profile = self._profile(update.user_id)
        if profile is None or str(fact) not in profile.preferences.with_(fact).superseded():
            self._profiles.prefer(self._bot_id, update.user_id, fact, at, update.contact)
            profile = self._profile(update.user_id)
        if profile is not None and (pointless := profile.preferences.superseded()):
            self._profiles.forget_preferences(self._bot_id, update.user_id, pointless)
        return profile

    def _go(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        if press.outreach_type is None:
            raise AssertionError("an offer stands under an outreach")
        shows = self._progress is not None and press.outreach_type in CELEBRATIONS
        progress = self._progress(update.user_id, at) if shows and self._progress else None
        return self._replies.gone(update, press.outreach_type, progress)

    def _mydata(self, update: MessageSent) -> Reply:
        if self._met(update) is None:
            return self._replies.mydata(update.contact, "none")
        asked = self._requests.ask(self._bot_id, update.user_id, update.occurred_at)
        return self._replies.mydata(update.contact, "coming" if asked else "soon")

    def _zone(self, update: MessageSent, now: datetime) -> Reply:
        """Set the time zone that follows the command; where none does, say which one is set."""
        _, *words = update.text.split()
        if words:
            zone = zone_named("_".join(words))
            if zone is None:
                return self._replies.unknown_zone(update.contact)
            self._profiles.set_zone(self._bot_id, update.user_id, zone, update.occurred_at, update.contact)
        return self._replies.zone(update.contact, self._profile(update.user_id), now, changed=bool(words))

    def _shown(self, update: ButtonPressed, press: Press) -> Reply | None:
        """Return the changed message of /settings, where the button stood under it."""
        if not is_of_settings(press.wording):
            return None
        return self._replies.settings_changed(update, self._profile(update.user_id))

    def _answered(self, update: ButtonPressed, press: Press, question: str, said: Said, at: datetime) -> None:
        under = f"#{press.about.outreach_type}" if press.about else ""
        self._keep(update, question, said, at, f"button:{press.button}{under}", press.wording)

    def _keep(
        self,
        update: MessageSent | ButtonPressed,
        question: str,
        said: Said,
        at: datetime,
        source: str,
        wording: str = "",
    ) -> None:
        answer = Answer(question=question, said=said, answered_at=at, source=source, wording=wording)
        self._answers.add(self._bot_id, update.user_id, update.update_id, answer)

    def _met(self, update: MessageSent) -> Profile | None:
        """Return the profile of somebody who used a command of ours; one is made for who has none, and is known by now.

        None for what an erased user had sent before.
        """
        profile = self._profile(update.user_id)
        if profile is None and self._profiles.meet(self._bot_id, update.user_id, update.occurred_at, update.contact):
            profile = self._profile(update.user_id)
        return profile

    def _profile(self, user_id: int) -> Profile | None:
        return self._profiles.get(self._bot_id, user_id)


def _is_fresh(press: Press, at: datetime) -> bool:
    """Say whether "erase everything" answers a question of just now: the button knows when it was asked."""
    asked_at = press.wording
    return asked_at.isascii() and asked_at.isdigit() and at.timestamp() - int(asked_at) <= FORGET_WITHIN


def zone_named(text: str) -> str | None:
    """Return the IANA zone that somebody means, who may have typed it without capitals; None where there is none."""
    typed = text[:64]
    return next((name for name in (typed, typed.title(), typed.upper()) if is_zone(name)), None)
