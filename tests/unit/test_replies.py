"""The bot's own words: honest about what is kept, safe with any name, within Telegram's limits."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.callbacks import CONSENT_BOTH, CONSENT_NO, CONSENT_YES, LEARNING_NO, LEARNING_YES
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.replies import Replies, Reply
from engagement.domain.update import Contact
from tests.builders import profile

ASK = Replies(ConsentPolicy.ASK, stores_text=False, keep_days=365)
ASSUME = Replies(ConsentPolicy.ASSUME, stores_text=False, keep_days=365)
KEEPS_TEXT = Replies(ConsentPolicy.ASK, stores_text=True, keep_days=30)
ADA = Contact(chat_id=7, first_name="Ada", language_code="en")
PROFILE = profile(language_code=None)
LEARNER = replace(PROFILE, consent_ml=True)


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


def buttons_of(reply: Reply) -> list[list[str]]:
    """What the buttons send back, row by row."""
    return [[button["callback_data"] for button in row] for row in reply["reply_markup"]["inline_keyboard"]]


def test_the_welcome_says_what_is_kept_and_asks_in_three_lines() -> None:
    """R74: a yes to being written to is one button, a yes to learning as well is another, and says what for."""
    reply = ASK.welcome(ADA)

    assert (reply["method"], reply["chat_id"], reply["parse_mode"]) == ("sendMessage", 7, "HTML")
    assert len(reply["text"].splitlines()) == 3
    assert "Ada" in reply["text"]
    assert "not the words" in reply["text"]
    assert "/stop" in reply["text"]
    assert "learn from when you write and in what mood" in reply["text"].splitlines()[2]
    assert buttons_of(reply) == [[CONSENT_YES, CONSENT_NO], [CONSENT_BOTH]]


def test_the_welcome_asks_about_learning_even_where_the_consent_to_writing_is_assumed() -> None:
    """R74: consent to learning is individual and explicit; an operator cannot assume it."""
    reply = ASSUME.welcome(ADA)

    assert [line for line in reply["text"].splitlines() if "?" in line] == [reply["text"].splitlines()[2]]
    assert "May I learn from when you write and in what mood" in reply["text"]
    assert "/stop" in reply["text"]
    assert buttons_of(reply) == [[LEARNING_YES, LEARNING_NO]]


def test_what_is_said_to_be_kept_follows_the_settings() -> None:
    """A bot that keeps texts says so; the days are the real ones."""
    assert "your messages" in KEEPS_TEXT.welcome(ADA)["text"]
    assert "not the words" not in KEEPS_TEXT.welcome(ADA)["text"]
    assert "never its text" not in KEEPS_TEXT.privacy(ADA, PROFILE)["text"]
    assert "never its text" in ASK.privacy(ADA, PROFILE)["text"]
    assert "30 days" in KEEPS_TEXT.privacy(ADA, PROFILE)["text"]


def test_privacy_says_what_is_kept_what_for_and_how_to_leave() -> None:
    text = ASK.privacy(ADA, PROFILE)["text"]

    assert "<b>What I keep about you</b>" in text
    assert "<b>What for</b>" in text
    assert "/stop" in text.partition("<b>How to leave</b>")[2]


@pytest.mark.parametrize("replies", [ASK, ASSUME], ids=["ask", "assume"])
@pytest.mark.parametrize(
    ("profile", "says", "offers"),
    [
        (None, "No.", LEARNING_YES),
        (PROFILE, "No.", LEARNING_YES),
        (LEARNER, "Yes, you let me", LEARNING_NO),
        (replace(LEARNER, opted_out=True), "Yes, you let me", LEARNING_NO),
    ],
    ids=["unknown", "not-allowed", "allowed", "allowed-and-stopped"],
)
def test_privacy_says_whether_the_bot_learns_and_offers_the_contrary(
    replies: Replies, profile: Profile | None, says: str, offers: str
) -> None:
    """R74: revocable as easily as it is given; being written to has no part in it."""
    reply = replies.privacy(ADA, profile)
    learning = reply["text"].partition("<b>Whether I learn from you</b>\n")[2].splitlines()[0]

    assert learning.startswith(says)
    assert "learn from when you write and in what mood" in learning
    assert buttons_of(reply) == [[offers]]


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
    profiles = [
        None,
        *(
            replace(PROFILE, consent=consent, opted_out=opted_out, consent_ml=consent_ml)
            for consent, opted_out, consent_ml in product(Consent, (True, False), (True, False))
        ),
    ]
    messages: list[Reply] = [replies.welcome(long_name), replies.stopped(long_name)]
    messages += [replies.privacy(long_name, profile) for profile in profiles]
    answers = [replies.stop_noted("c")]
    answers += [
        noted("c", profile) for noted in (replies.consent_noted, replies.learning_noted) for profile in profiles
    ]

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


@pytest.mark.parametrize(
    ("profile", "learns"),
    [
        (LEARNER, True),
        (replace(LEARNER, consent=Consent.DECLINED), True),
        (replace(LEARNER, opted_out=True), True),
        (PROFILE, False),
        (None, False),
    ],
    ids=["both", "declined", "stopped", "writing-only", "erased"],
)
def test_every_answer_about_consent_says_whether_the_bot_learns(profile: Profile | None, learns: bool) -> None:
    """R74: who says no to being written to hears that learning goes on, and where to end it."""
    for answer in (ASK.consent_noted("c", profile), ASK.learning_noted("c", profile)):
        assert ("I learn from how you use me; /privacy" in answer["text"]) == learns
    assert ("will not learn" in ASK.learning_noted("c", profile)["text"]) != learns
