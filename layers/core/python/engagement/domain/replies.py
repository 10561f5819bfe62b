"""What the bot answers to its own commands and buttons, as the body of the webhook's response.

Telegram executes the method in a webhook's response (https://core.telegram.org/bots/api#making-requests-when-getting-
updates): no outbound call, no waiting, and a lost response is delivered again. One update, one method: a press is
answered by a line at the top of the screen, and a change in /settings by the changed message itself. The words are in
`replies.toml`, in ten languages.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from importlib import resources
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from engagement.domain.callbacks import TYPE_CODES, Button, Signer
from engagement.domain.languages import FALLBACK, LANGUAGES, primary
from engagement.domain.outreach import OutreachType
from engagement.domain.profile import (
    UNSET_ZONE,
    Consent,
    ConsentPolicy,
    Profile,
    SensitiveBasis,
    may_be_written_to,
)
from engagement.domain.update import ButtonPressed, Contact, MessageSent
from engagement.domain.zone import is_zone

type Reply = dict[str, Any]
"""A Bot API method and its parameters."""

ANSWER_LIMIT = 200
"""Characters of an answer to a button (https://core.telegram.org/bots/api#answercallbackquery)."""
COMMANDS = ("start", "settings", "stop", "progress", "timezone", "privacy", "mydata", "forget", "help")
"""Those that we answer, in the order of the menu; `menu_<command>` are their words."""
ON, OFF = "✅", "❌"
QUESTIONS = ("ask", "assume", "quiet", "stopped", "stop_asked", "settings", "privacy")
"""Texts that ask something; an answer is kept with which of them asked, and in which wording."""

_COMMA_BEFORE_NAME = frozenset({"en", "es", "pt", "ru"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """The bot's own words, which say what this deployment does.

    Attributes:
        policy: whether a user is asked before being written to.
        stores_text: message texts are kept.
        keep_days: how long an interaction is kept.
        user_days: how long everything else is kept after the user was last here.
        blocked_days: how long after they blocked the bot.
        basis: on what ground mood and private topics are kept.
        signer: makes the data of our buttons.
        types: those of outreach that this deployment sends.
        rewords: a language model may reword messages to those who agree.
    """

    policy: ConsentPolicy
    stores_text: bool
    keep_days: int
    user_days: int
    blocked_days: int
    basis: SensitiveBasis
    signer: Signer
    types: Sequence[OutreachType] = tuple(OutreachType)
    rewords: bool = False

    def welcome(self, contact: Contact, user_id: int, profile: Profile | None) -> Reply:
        """Greet, and ask for consent where nobody answered yet: to learning always, to writing as the policy has it.

        Who stopped outreach, or said no, is told that this holds, with the button that changes it (R94).
        """
        code = contact.language_code
        hello = say("hello", code, name=_named(contact))
        if profile is not None and (profile.opted_out or profile.consent is Consent.DECLINED):
            question, rows = "quiet", [[("write_again", Button.CONSENT_YES)]]
        elif profile is not None and profile.consent is Consent.GRANTED:
            return _message(contact, f"{hello} {say('agreed', code)}")
        elif self.policy is ConsentPolicy.ASSUME:
            question, rows = "assume", [[("yes_learn", Button.LEARNING_YES), ("no_thanks", Button.LEARNING_NO)]]
        else:
            question = "ask"
            rows = [
                [("yes_write", Button.CONSENT_YES), ("no_thanks", Button.CONSENT_NO)],
                [("yes_both", Button.CONSENT_BOTH)],
            ]
        keyboard = self._asking(code, user_id, question, rows)
        return _message(contact, f"{hello} {say(question, code)}", reply_markup=keyboard)

    def stopped(self, contact: Contact, user_id: int | None = None) -> Reply:
        """Confirm the end of outreach, with the button that takes it back; without one where it knows no user."""
        code = contact.language_code
        if user_id is None:
            return _message(contact, say("stopped", code))
        keyboard = self._asking(code, user_id, "stopped", [[("write_again", Button.CONSENT_YES)]])
        return _message(contact, say("stopped", code), reply_markup=keyboard)

    def stop_asked(self, contact: Contact, user_id: int) -> Reply:
        """Ask somebody back who wrote a word for stop, with the one button that means it."""
        code = contact.language_code
        keyboard = self._asking(code, user_id, "stop_asked", [[("stop_yes", Button.WRITE_OFF)]])
        return _message(contact, say("stop_asked", code), reply_markup=keyboard)

    def privacy(self, contact: Contact, user_id: int, profile: Profile | None) -> Reply:
        """Say what is kept, what for and for how long, whether models learn from it, and how to leave."""
        code = contact.language_code
        if profile is not None and profile.consent_ml:
            learning, rows = "learning_allowed", [[("learn_no_more", Button.LEARNING_NO)]]
        else:
            learning, rows = "learning_denied", [[("learn", Button.LEARNING_YES)]]
        rewording = ""
        if self.rewords and profile is not None and profile.consent_llm:
            rewording = say("rewording_allowed", code) + "\n"
            rows.append([("reword_no_more", Button.REWORDING_NO)])
        elif self.rewords:
            rewording = say("rewording_denied", code) + "\n"
            rows.append([("reword", Button.REWORDING_YES)])
        text = say(
            "privacy",
            code,
            days=str(self.keep_days),
            user_days=str(self.user_days),
            blocked_days=str(self.blocked_days),
            its_text=say("its_text_too" if self.stores_text else "its_text_never", code),
            allowed=say("allowed_assume" if self.policy is ConsentPolicy.ASSUME else "allowed_ask", code),
            sensitive=say(f"sensitive_{self.basis}", code),
            learning=say(learning, code),
            rewording=rewording,
        )
        return _message(contact, text, reply_markup=self._asking(code, user_id, "privacy", rows))

    def settings(self, contact: Contact, user_id: int, profile: Profile | None) -> Reply:
        """Show what is on and what is off, each with the button that changes it."""
        return _message(contact, **self._settings(contact, user_id, profile))

    def settings_changed(self, press: ButtonPressed, profile: Profile | None) -> Reply:
        """Change the message of /settings to what holds now."""
        return {
            "method": "editMessageText",
            "chat_id": press.contact.chat_id,
            "message_id": press.message_id,
            "parse_mode": "HTML",
            **self._settings(press.contact, press.user_id, profile),
        }

    def _settings(self, contact: Contact, user_id: int, profile: Profile | None) -> Reply:
        code = contact.language_code
        zone = None if profile is None or profile.zone == UNSET_ZONE else profile.zone
        place = say("settings_zone", code, zone=escape(zone)) if zone else say("settings_no_zone", code)
        writes = self.writes(profile)
        asked = wording("settings", code)

        def row(is_on: bool, key: str, turn_on: Button, turn_off: Button, ref: str) -> list[dict[str, str]]:
            data = self.signer.data(turn_off if is_on else turn_on, user_id, ref)
            return [{"text": f"{ON if is_on else OFF} {say(key, code)}", "callback_data": data}]

        rows = [row(writes, "set_write", Button.CONSENT_YES, Button.WRITE_OFF, asked)]
        if writes:
            rows += [
                row(
                    profile is None or not profile.preferences.is_off(kind),
                    f"type_{kind}",
                    Button.TYPE_ON,
                    Button.TYPE_OFF,
                    TYPE_CODES[kind],
                )
                for kind in self.types
            ]
        learns = profile is not None and profile.consent_ml
        rows.append(row(learns, "set_learn", Button.LEARNING_YES, Button.LEARNING_NO, asked))
        if self.rewords:
            told = profile is not None and profile.consent_llm
            rows.append(row(told, "set_reword", Button.REWORDING_YES, Button.REWORDING_NO, asked))
        return {"text": f"{say('settings', code)}\n{place}", "reply_markup": {"inline_keyboard": rows}}

    def writes(self, profile: Profile | None) -> bool:
        """Say whether messages may come to a user, as far as their own word goes."""
        if profile is None:
            return self.policy is ConsentPolicy.ASSUME
        return not profile.opted_out and may_be_written_to(profile, self.policy)

    def help(self, contact: Contact) -> Reply:
        """List the commands that we understand."""
        code = contact.language_code
        lines = (f"/{command} – {escape(say(f'menu_{command}', code))}" for command in COMMANDS)
        return _message(contact, "\n".join((say("help", code), *lines)))

    def progress(self, contact: Contact, lines: str) -> Reply:
        """Show how far the user's next milestones are.

        Args:
            contact: who asks.
            lines: plain text, a milestone a line; empty where there is nothing to show.
        """
        code = contact.language_code
        return _message(
            contact, f"{say('progress_head', code)}\n{escape(lines)}" if lines else say("progress_none", code)
        )

    def forget_asked(self, contact: Contact, user_id: int, now: datetime) -> Reply:
        """Ask once whether everything is to be erased; the button that says so knows when it was asked."""
        code = contact.language_code
        asked_at = str(int(now.timestamp()))
        rows = [
            [{"text": say(key, code), "callback_data": self.signer.data(button, user_id, asked_at)}]
            for key, button in (("forget_yes", Button.FORGET_YES), ("forget_no", Button.FORGET_NO))
        ]
        return _message(contact, say("forget_ask", code), reply_markup={"inline_keyboard": rows})

    def mydata(self, contact: Contact, said: str) -> Reply:
        """Say what becomes of a request for one's data: "coming", "soon" or "none"."""
        return _message(contact, say(f"mydata_{said}", contact.language_code))

    def zone(self, contact: Contact, profile: Profile | None, now: datetime, *, changed: bool) -> Reply:
        """Say which time zone the user set, and what time it is there: that shows a wrong one.

        Args:
            contact: who asks.
            profile: as it is now.
            now: aware.
            changed: they just set it.
        """
        zone = UNSET_ZONE if profile is None else profile.zone
        if zone == UNSET_ZONE or not is_zone(zone):
            return _message(contact, say("zone_unset", contact.language_code))
        time = f"{now.astimezone(ZoneInfo(zone)):%H:%M}"
        text = say("zone_set" if changed else "zone_is", contact.language_code, zone=zone, time=time)
        return _message(contact, text)

    def unknown_zone(self, contact: Contact) -> Reply:
        """Say how a time zone is written; what the user wrote is not repeated."""
        return _message(contact, say("zone_bad", contact.language_code))

    def hand_over(self, update: MessageSent, operator_chat_id: int) -> Reply:
        """Forward a message to the operator: a person answers, and nothing automatic does (R103)."""
        return {
            "method": "forwardMessage",
            "chat_id": operator_chat_id,
            "from_chat_id": update.contact.chat_id,
            "message_id": update.message_id,
        }

    def consent_noted(self, press: ButtonPressed, profile: Profile | None) -> Reply:
        """Answer a consent button by what holds now, which a later press or /stop may have decided otherwise."""
        writes = profile is not None and profile.consent is Consent.GRANTED and not profile.opted_out
        said = "consent_yes" if writes else "consent_no"
        learns = profile is not None and profile.consent_ml
        return _answer(press, said, "learning_yes") if learns else _answer(press, said)

    def learning_noted(self, press: ButtonPressed, profile: Profile | None) -> Reply:
        """Answer a button about learning by what holds now."""
        if profile is None or not profile.consent_ml:
            return _answer(press, "learning_no")
        return _answer(press, "thanks", "learning_yes")

    def rewording_noted(self, press: ButtonPressed, profile: Profile | None) -> Reply:
        """Answer a button about the language model by what holds now."""
        return _answer(press, "rewording_yes" if profile is not None and profile.consent_llm else "rewording_no")

    def noted(self, press: ButtonPressed, said: str) -> Reply:
        """Answer a button by one of our texts: "stopped", "type_stopped", "forgotten", "forget_kept", "button_old"."""
        return _answer(press, said)

    def later_noted(self, press: ButtonPressed, days: int) -> Reply:
        """Answer the "not now" under an outreach: for how many days nothing of its kind comes."""
        return _answered(press, say("later", press.contact.language_code, days=str(days)))

    def gone(self, press: ButtonPressed, outreach_type: OutreachType, progress: str | None = None) -> Reply:
        """Answer the useful button under an outreach.

        Args:
            press: of the button.
            outreach_type: of the outreach.
            progress: plain text, a milestone a line; as many lines are shown as Telegram has room for.
        """
        if progress and (lines := _fitting(progress)):
            return _answered(press, lines) | {"show_alert": True}
        return _answer(press, f"go_{outreach_type}")

    def _asking(
        self, language_code: str | None, user_id: int, question: str, rows: list[list[tuple[str, Button]]]
    ) -> dict[str, Any]:
        """Return a keyboard; a button is the name of its words and what it says, and knows which text asked."""
        ref = wording(question, language_code) if question else ""
        return {
            "inline_keyboard": [
                [
                    {"text": say(key, language_code), "callback_data": self.signer.data(button, user_id, ref)}
                    for key, button in row
                ]
                for row in rows
            ]
        }


def say(key: str, language_code: str | None, **values: str) -> str:
    """Return a text of `replies.toml`, filled in.

    Args:
        key: its name there.
        language_code: IETF tag; English where it is None or not one of `LANGUAGES`.
        values: its placeholders, as they are to stand in the text.
    """
    texts = TEXTS[key]
    return texts.get(primary(language_code), texts[FALLBACK]).format_map(values)


@cache
def wording(question: str, language_code: str | None) -> str:
    """Name the wording in which a user is asked something, like "de3fa9c1": it changes with the text.

    Args:
        question: one of `QUESTIONS`.
        language_code: IETF tag of the reader's app.
    """
    code = primary(language_code)
    language = code if code in LANGUAGES else FALLBACK
    return f"{language}{hashlib.sha256(TEXTS[question][language].encode()).hexdigest()[:6]}"


def is_of_settings(name: str) -> bool:
    """Say whether a wording is that of /settings, whose message shows the answer."""
    return any(name == wording("settings", language) for language in LANGUAGES)


def words_of(name: str) -> str | None:
    """Return the text that a wording names; None where it is one of another version of the code."""
    every = ((question, language) for question in QUESTIONS for language in LANGUAGES)
    return next(
        (TEXTS[question][language] for question, language in every if wording(question, language) == name), None
    )


def parse(catalogue: str) -> dict[str, dict[str, str]]:
    """Read the texts, by name and language.

    Raises:
        ValueError: a language is missing, or its text has other placeholders than the others.
    """
    tables = tomllib.loads(catalogue)
    for key, texts in tables.items():
        if odd := sorted(set(texts) ^ set(LANGUAGES)):
            raise ValueError(f"reply {key}: missing or unknown language {odd}")
        expected = _placeholders(texts[FALLBACK])
        for language, text in texts.items():
            if not text.strip() or _placeholders(text) != expected:
                raise ValueError(f"reply {key}, {language}: expected a text with the placeholders {expected}")
    return tables


def _placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def _named(contact: Contact) -> str:
    if not contact.first_name.strip():
        return ""
    language = primary(contact.language_code)
    before = ", " if language in _COMMA_BEFORE_NAME or language not in LANGUAGES else " "
    return before + escape(contact.first_name)


def _message(contact: Contact, text: str, **parameters: Any) -> Reply:
    return {"method": "sendMessage", "chat_id": contact.chat_id, "text": text, "parse_mode": "HTML", **parameters}


def _answer(press: ButtonPressed, *keys: str) -> Reply:
    return _answered(press, " ".join(say(key, press.contact.language_code) for key in keys))


def _answered(press: ButtonPressed, text: str) -> Reply:
    return {"method": "answerCallbackQuery", "callback_query_id": press.callback_id, "text": text}


def _fitting(text: str) -> str:
    """Return as many whole lines as an answer can hold."""
    shown = ""
    for line in text.splitlines():
        longer = f"{shown}\n{line}".strip()
        if len(longer) > ANSWER_LIMIT:
            break
        shown = longer
    return shown


# Part of the code, like a constant: read once, when the module is, so that a bad one is never deployed.
TEXTS = parse(resources.files(__package__).joinpath("replies.toml").read_text(encoding="utf-8"))
