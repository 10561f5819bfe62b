"""What the bot answers to its own commands and buttons, as the body of the webhook's response.

Telegram executes the method in a webhook's response (https://core.telegram.org/bots/api#making-requests-when-getting-
updates): no outbound call, no waiting, and a lost response is delivered again. One update, one method.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

from engagement.domain.callbacks import CONSENT_NO, CONSENT_YES
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.update import Contact

type Reply = dict[str, Any]
"""A Bot API method and its parameters."""


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
        """Say what is kept, and ask for consent where it must be asked for."""
        kept = "your messages and their mood and topics" if self.stores_text else "the mood and topics, not the words,"
        first_line = (
            f"Hello{_named(contact)}! I keep when you write and {kept} for {self.keep_days} days; /privacy says more."
        )
        if self.policy is ConsentPolicy.ASSUME:
            return _message(contact, f"{first_line}\nNow and then I write to you first; /stop ends that at once.")
        return _message(
            contact,
            f"{first_line}\nMay I write to you first now and then? /stop ends that at once.",
            reply_markup={
                "inline_keyboard": [
                    [
                        {"text": "Yes, you may", "callback_data": CONSENT_YES},
                        {"text": "No, thanks", "callback_data": CONSENT_NO},
                    ]
                ]
            },
        )

    def stopped(self, contact: Contact) -> Reply:
        """Confirm the end of outreach."""
        return _message(contact, "Done. I will not write to you first any more. /start takes that back.")

    def privacy(self, contact: Contact) -> Reply:
        """Say what is kept, what for, and how to leave."""
        text = "and its text" if self.stores_text else "never its text"
        allowed = "unless you say /stop" if self.policy is ConsentPolicy.ASSUME else "only if you allow it"
        return _message(
            contact,
            "<b>What I keep about you</b>\n"
            "• your first name, your language and the number of this chat\n"
            f"• for {self.keep_days} days, of each message: when it came, its kind and length, its mood and topics, "
            f"{text}\n"
            "• what that adds up to: when you are active, and how likely you are to come back\n"
            "<b>What for</b>\n"
            f"To write to you rarely and at a good hour, {allowed}.\n"
            "<b>How to leave</b>\n"
            "/stop ends my messages at once; so does blocking me. "
            "To have everything deleted, ask the owner of this bot.",
        )

    def consent_noted(self, callback_id: str, profile: Profile | None) -> Reply:
        """Answer a consent button by what holds now, which a later press or /stop may have decided otherwise."""
        if profile is None or profile.consent is not Consent.GRANTED:
            return _answer(callback_id, "All right, I will not write to you first.")
        if profile.opted_out:
            return _answer(callback_id, "Noted. You ended my messages with /stop; /start lets me write again.")
        return _answer(callback_id, "Thank you! I will write now and then; /stop ends that at once.")

    def stop_noted(self, callback_id: str) -> Reply:
        """Answer the stop button under an outreach."""
        return _answer(callback_id, "Done. I will not write to you first any more. /start takes that back.")


def _named(contact: Contact) -> str:
    return f", {escape(contact.first_name)}" if contact.first_name.strip() else ""


def _message(contact: Contact, text: str, **parameters: Any) -> Reply:
    return {"method": "sendMessage", "chat_id": contact.chat_id, "text": text, "parse_mode": "HTML", **parameters}


def _answer(callback_id: str, text: str) -> Reply:
    return {"method": "answerCallbackQuery", "callback_query_id": callback_id, "text": text}
