"""The bot's own words: honest about what is kept, safe with any name, within Telegram's limits."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.callbacks import CONSENT_NO, CONSENT_YES
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.replies import Replies, Reply
from engagement.domain.update import Contact
from tests.builders import profile

ASK = Replies(ConsentPolicy.ASK, stores_text=False, keep_days=365)
ASSUME = Replies(ConsentPolicy.ASSUME, stores_text=False, keep_days=365)
KEEPS_TEXT = Replies(ConsentPolicy.ASK, stores_text=True, keep_days=30)
ADA = Contact(chat_id=7, first_name="Ada", language_code="en")
PROFILE = profile(language_code=None)


class Visible(HTMLParser):
    """Collects the text that a reader of Telegram's HTML sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_the_welcome_says_what_is_kept_and_asks_in_two_lines() -> None:
    reply = ASK.welcome(ADA)
    buttons = [button["callback_data"] for row in reply["reply_markup"]["inline_keyboard"] for button in row]

    assert (reply["method"], reply["chat_id"], reply["parse_mode"]) == ("sendMessage", 7, "HTML")
    assert len(reply["text"].splitlines()) == 2
    assert "Ada" in reply["text"]
    assert "not the words" in reply["text"]
    assert "/stop" in reply["text"]
    assert buttons == [CONSENT_YES, CONSENT_NO]


def test_the_welcome_asks_nothing_where_consent_is_already_there() -> None:
    reply = ASSUME.welcome(ADA)

    assert "reply_markup" not in reply
    assert "?" not in reply["text"]
    assert "/stop" in reply["text"]


def test_what_is_said_to_be_kept_follows_the_settings() -> None:
    """A bot that keeps texts says so; the days are the real ones."""
    assert "your messages" in KEEPS_TEXT.welcome(ADA)["text"]
    assert "not the words" not in KEEPS_TEXT.welcome(ADA)["text"]
    assert "never its text" not in KEEPS_TEXT.privacy(ADA)["text"]
    assert "never its text" in ASK.privacy(ADA)["text"]
    assert "30 days" in KEEPS_TEXT.privacy(ADA)["text"]


def test_privacy_says_what_is_kept_what_for_and_how_to_leave() -> None:
    text = ASK.privacy(ADA)["text"]

    assert "<b>What I keep about you</b>" in text
    assert "<b>What for</b>" in text
    assert "/stop" in text.partition("<b>How to leave</b>")[2]


@given(name=st.text(max_size=128) | st.sampled_from(['<&">', "abdo <", "<b>", "&lt;", "‮اسم", "👩🏽‍🚀"]))
def test_any_name_is_shown_as_it_is(name: str) -> None:
    """R55: escaped for HTML; the visible text holds the name, and no tag but our own."""
    reply = ASK.welcome(Contact(chat_id=7, first_name=name, language_code=None))
    seen = Visible(reply["text"])

    assert seen.tags == set()
    if name.strip() and "\r" not in name and "\x00" not in name:
        assert name in seen.text


@pytest.mark.parametrize("replies", [ASK, ASSUME, KEEPS_TEXT], ids=["ask", "assume", "keeps-text"])
def test_every_reply_keeps_telegrams_limits(replies: Replies) -> None:
    """R10, R57: 4,096 characters a message, 200 an answer, 64 bytes a button."""
    long_name = Contact(chat_id=7, first_name="&" * 128, language_code=None)
    messages: list[Reply] = [replies.welcome(long_name), replies.stopped(long_name), replies.privacy(long_name)]
    answers = [replies.stop_noted("c"), replies.consent_noted("c", None), replies.consent_noted("c", PROFILE)]

    for message in messages:
        assert 0 < len(message["text"]) <= 4_096
        for row in message.get("reply_markup", {}).get("inline_keyboard", []):
            assert all(0 < len(button["callback_data"].encode()) <= 64 for button in row)
    for answer in answers:
        assert (answer["method"], answer["callback_query_id"]) == ("answerCallbackQuery", "c")
        assert 0 < len(answer["text"]) <= 200


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (PROFILE, "Thank you"),
        (replace(PROFILE, opted_out=True), "/start"),
        (replace(PROFILE, consent=Consent.DECLINED), "will not"),
        (replace(PROFILE, consent=Consent.UNASKED), "will not"),
        (None, "will not"),
    ],
    ids=["granted", "stopped-before", "declined", "unasked", "erased"],
)
def test_an_answer_says_what_holds_now(profile: Profile | None, says: str) -> None:
    """A late Yes after a /stop is not thanked for with messages that will not come."""
    assert says in ASK.consent_noted("c", profile)["text"]
