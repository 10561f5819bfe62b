"""What the bot answers to its own commands and buttons, as the body of the webhook's response.

Telegram executes the method in a webhook's response (https://core.telegram.org/bots/api#making-requests-when-getting-
updates): no outbound call, no waiting, and a lost response is delivered again. One update, one method.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

from engagement.domain.callbacks import CONSENT_BOTH, CONSENT_NO, CONSENT_YES, LEARNING_NO, LEARNING_YES
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.update import Contact

type Reply = dict[str, Any]
"""A Bot API method and its parameters."""

TO_LEARN = "learn from when you write and in what mood, to judge better whom to write to and when"
LEARNING = "I learn from how you use me; /privacy has the button that ends it."


@dataclass(frozen=True, slots=True)
class Replies:
    """The bot's own words, which say what this deployment does.

    Attributes:
        policy: whether a user is asked before being written to.
        stores_text: message texts are kept.
        keep_days: how long an interaction is kept.
    """

    policy: ConsentPolicy
    stores_text: bool
    keep_days: int

    def welcome(self, contact: Contact) -> Reply:
        """Say what is kept, and ask for consent: to learning from the user always, to writing as the policy has it."""
        kept = "your messages and their mood and topics" if self.stores_text else "the mood and topics, not the words,"
        first_line = (
            f"Hello{_named(contact)}! I keep when you write and {kept} for {self.keep_days} days; /privacy says more."
        )
        if self.policy is ConsentPolicy.ASSUME:
            return _message(
                contact,
                f"{first_line}\nNow and then I write to you first; /stop ends that at once.\n"
                f"May I {TO_LEARN}? /privacy takes that back.",
                reply_markup=_buttons([("Yes, learn from me", LEARNING_YES), ("No, thanks", LEARNING_NO)]),
            )
        return _message(
            contact,
            f"{first_line}\nMay I write to you first now and then? /stop ends that at once.\n"
            f"The last button also lets me {TO_LEARN}; /privacy takes that back.",
            reply_markup=_buttons(
                [("Yes, you may", CONSENT_YES), ("No, thanks", CONSENT_NO)],
                [("Yes, and learn from me, too", CONSENT_BOTH)],
            ),
        )

    def stopped(self, contact: Contact) -> Reply:
        """Confirm the end of outreach."""
        return _message(contact, "Done. I will not write to you first any more. /start takes that back.")

    def privacy(self, contact: Contact, profile: Profile | None) -> Reply:
        """Say what is kept, what for, whether models learn from it, and how to leave."""
        text = "and its text" if self.stores_text else "never its text"
        allowed = "unless you say /stop" if self.policy is ConsentPolicy.ASSUME else "only if you allow it"
        if profile is not None and profile.consent_ml:
            learning = f"Yes, you let me {TO_LEARN}. The button below ends that; /stop alone does not."
            button = ("Stop learning from me", LEARNING_NO)
        else:
            learning = f"No. If you let me, I {TO_LEARN}."
            button = ("You may learn from me", LEARNING_YES)
        return _message(
            contact,
            "<b>What I keep about you</b>\n"
            "• your first name, your language and the number of this chat\n"
            f"• for {self.keep_days} days, of each message: when it came, its kind and length, its mood and topics, "
            f"{text}\n"
            "• what that adds up to: when you are active, and how likely you are to come back\n"
            "<b>What for</b>\n"
            f"To write to you rarely and at a good hour, {allowed}.\n"
            "<b>Whether I learn from you</b>\n"
            f"{learning}\n"
            "<b>How to leave</b>\n"
            "/stop ends my messages at once; so does blocking me. "
            "To have everything deleted, ask the owner of this bot.",
            reply_markup=_buttons([button]),
        )

    def consent_noted(self, callback_id: str, profile: Profile | None) -> Reply:
        """Answer a consent button by what holds now, which a later press or /stop may have decided otherwise."""
        if profile is None or profile.consent is not Consent.GRANTED:
            said = "All right, I will not write to you first."
        elif profile.opted_out:
            said = "Noted. You ended my messages with /stop; /start lets me write again."
        else:
            said = "Thank you! I will write now and then; /stop ends that at once."
        return _answer(callback_id, f"{said} {LEARNING}" if profile and profile.consent_ml else said)

    def learning_noted(self, callback_id: str, profile: Profile | None) -> Reply:
        """Answer a button about learning by what holds now."""
        if profile is None or not profile.consent_ml:
            return _answer(
                callback_id, "All right, I will not learn from how you use me; the next training leaves you out."
            )
        return _answer(callback_id, f"Thank you! {LEARNING}")

    def stop_noted(self, callback_id: str) -> Reply:
        """Answer the stop button under an outreach."""
        return _answer(callback_id, "Done. I will not write to you first any more. /start takes that back.")


def _named(contact: Contact) -> str:
    return f", {escape(contact.first_name)}" if contact.first_name.strip() else ""


def _message(contact: Contact, text: str, **parameters: Any) -> Reply:
    return {"method": "sendMessage", "chat_id": contact.chat_id, "text": text, "parse_mode": "HTML", **parameters}


def _buttons(*rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a keyboard; a button is its words and what it sends back."""
    return {"inline_keyboard": [[{"text": text, "callback_data": data} for text, data in row] for row in rows]}


def _answer(callback_id: str, text: str) -> Reply:
    return {"method": "answerCallbackQuery", "callback_query_id": callback_id, "text": text}
