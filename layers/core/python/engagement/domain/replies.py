"""What the bot answers to its own commands and buttons, as the body of the webhook's response.

Telegram executes the method in a webhook's response (https://core.telegram.org/bots/api#making-requests-when-getting-
updates): no outbound call, no waiting, and a lost response is delivered again. One update, one method. The words are
in `replies.toml`, in ten languages.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from engagement.domain import callbacks
from engagement.domain.languages import FALLBACK, LANGUAGES, primary
from engagement.domain.outreach import OutreachType
from engagement.domain.profile import UNSET_ZONE, Consent, ConsentPolicy, Profile
from engagement.domain.update import ButtonPressed, Contact
from engagement.domain.zone import is_zone

type Reply = dict[str, Any]
"""A Bot API method and its parameters."""

ANSWER_LIMIT = 200
"""Characters of an answer to a button (https://core.telegram.org/bots/api#answercallbackquery)."""

_COMMA_BEFORE_NAME = frozenset({"en", "es", "pt", "ru"})


@dataclass(frozen=True, slots=True)
class Replies:
    """The bot's own words, which say what this deployment does.

    Attributes:
        policy: whether a user is asked before being written to.
        stores_text: message texts are kept.
        keep_days: how long an interaction is kept.
        rewords: a language model may reword messages to those who agree.
    """

    policy: ConsentPolicy
    stores_text: bool
    keep_days: int
    rewords: bool = False

    def welcome(self, contact: Contact) -> Reply:
        """Say what is kept, and ask for consent: to learning from the user always, to writing as the policy has it."""
        code = contact.language_code
        hello = say(
            "hello_keeps_text" if self.stores_text else "hello", code, name=_named(contact), days=str(self.keep_days)
        )
        if self.policy is ConsentPolicy.ASSUME:
            question, rows = "assume", [[("yes_learn", callbacks.LEARNING_YES), ("no_thanks", callbacks.LEARNING_NO)]]
        else:
            question = "ask"
            rows = [
                [("yes_write", callbacks.CONSENT_YES), ("no_thanks", callbacks.CONSENT_NO)],
                [("yes_both", callbacks.CONSENT_BOTH)],
            ]
        return _message(contact, f"{hello}\n{say(question, code)}", reply_markup=_buttons(code, rows))

    def stopped(self, contact: Contact) -> Reply:
        """Confirm the end of outreach."""
        return _message(contact, say("stopped", contact.language_code))

    def privacy(self, contact: Contact, profile: Profile | None) -> Reply:
        """Say what is kept, what for, whether models learn from it or are told of it, and how to leave."""
        code = contact.language_code
        if profile is not None and profile.consent_ml:
            learning, rows = "learning_allowed", [[("learn_no_more", callbacks.LEARNING_NO)]]
        else:
            learning, rows = "learning_denied", [[("learn", callbacks.LEARNING_YES)]]
        rewording = ""
        if self.rewords and profile is not None and profile.consent_llm:
            rewording = say("rewording_allowed", code) + "\n"
            rows.append([("reword_no_more", callbacks.REWORDING_NO)])
        elif self.rewords:
            rewording = say("rewording_denied", code) + "\n"
            rows.append([("reword", callbacks.REWORDING_YES)])
        text = say(
            "privacy",
            code,
            days=str(self.keep_days),
            its_text=say("its_text_too" if self.stores_text else "its_text_never", code),
            allowed=say("allowed_assume" if self.policy is ConsentPolicy.ASSUME else "allowed_ask", code),
            learning=say(learning, code),
            rewording=rewording,
        )
        return _message(contact, text, reply_markup=_buttons(code, rows))

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

    def consent_noted(self, press: ButtonPressed, profile: Profile | None) -> Reply:
        """Answer a consent button by what holds now, which a later press or /stop may have decided otherwise."""
        if profile is None or profile.consent is not Consent.GRANTED:
            said = "consent_no"
        else:
            said = "consent_stopped" if profile.opted_out else "consent_yes"
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

    def stop_noted(self, press: ButtonPressed) -> Reply:
        """Answer the stop button under an outreach."""
        return _answer(press, "stopped")

    def later_noted(self, press: ButtonPressed) -> Reply:
        """Answer the "not now" under an outreach."""
        return _answer(press, "later")

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


def say(key: str, language_code: str | None, **values: str) -> str:
    """Return a text of `replies.toml`, filled in.

    Args:
        key: its name there.
        language_code: IETF tag; English where it is None or not one of `LANGUAGES`.
        values: its placeholders, as they are to stand in the text.
    """
    texts = TEXTS[key]
    return texts.get(primary(language_code), texts[FALLBACK]).format_map(values)


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


def _buttons(language_code: str | None, rows: list[list[tuple[str, str]]]) -> dict[str, Any]:
    """Return a keyboard; a button is the name of its words and what it sends back."""
    return {
        "inline_keyboard": [
            [{"text": say(key, language_code), "callback_data": data} for key, data in row] for row in rows
        ]
    }


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
