"""The bot's own words: honest about what is kept, safe with any name, within Telegram's limits."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.callbacks import (
    CONSENT_BOTH,
    CONSENT_NO,
    CONSENT_YES,
    LEARNING_NO,
    LEARNING_YES,
    REWORDING_NO,
    REWORDING_YES,
)
from engagement.domain.outreach import OutreachType
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.replies import ANSWER_LIMIT, TEXTS, Replies, Reply, parse, say
from engagement.domain.templates import LANGUAGES
from engagement.domain.update import ButtonPressed, Contact
from infra.local.telegram.entities import parse_html
from tests.builders import NOW, profile

ASK = Replies(ConsentPolicy.ASK, stores_text=False, keep_days=365)
ASSUME = Replies(ConsentPolicy.ASSUME, stores_text=False, keep_days=365)
KEEPS_TEXT = Replies(ConsentPolicy.ASK, stores_text=True, keep_days=30)
ADA = Contact(chat_id=7, first_name="Ada", language_code="en")
PROFILE = profile(language_code=None)
BERLIN = replace(PROFILE, zone="Europe/Berlin")
REWORDS = replace(ASK, rewords=True)
REWORDED = replace(PROFILE, consent_llm=True)
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


def press(language: str | None = "en") -> ButtonPressed:
    """A button pressed by somebody whose Telegram speaks `language`."""
    return ButtonPressed(
        update_id=1,
        user_id=7,
        contact=replace(ADA, language_code=language),
        occurred_at=NOW,
        callback_id="c",
        data="",
        message_at=None,
    )


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


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("replies", [ASK, ASSUME, KEEPS_TEXT, REWORDS], ids=["ask", "assume", "keeps-text", "rewords"])
def test_every_reply_keeps_telegrams_limits(replies: Replies, language: str) -> None:
    """R10, R55, R57: 4,096 characters a message that its parser takes, 200 an answer, 64 bytes a button."""
    long_name = Contact(chat_id=7, first_name="&" * 128, language_code=language)
    profiles = [
        None,
        *(
            replace(PROFILE, consent=consent, opted_out=opted_out, consent_ml=learns, consent_llm=reworded, zone=zone)
            for consent, opted_out, learns, reworded, zone in product(
                Consent, (True, False), (True, False), (True, False), ("UTC", "America/Argentina/ComodRivadavia")
            )
        ),
    ]
    messages: list[Reply] = [replies.welcome(long_name), replies.stopped(long_name), replies.unknown_zone(long_name)]
    messages += [replies.privacy(long_name, profile) for profile in profiles]
    messages += [replies.zone(long_name, profile, NOW, changed=new) for profile in profiles for new in (True, False)]
    answers = [replies.stop_noted(press(language)), replies.later_noted(press(language))]
    answers += [replies.gone(press(language), outreach_type) for outreach_type in OutreachType]
    answers += [
        noted(press(language), profile)
        for noted in (replies.consent_noted, replies.learning_noted, replies.rewording_noted)
        for profile in profiles
    ]

    for message in messages:
        assert 0 < len(parse_html(message["text"]).text) <= 4_096
        assert not set("{}") & set(message["text"])
        for row in message.get("reply_markup", {}).get("inline_keyboard", []):
            assert all(0 < len(button["callback_data"].encode()) <= 64 for button in row)
            assert all(0 < len(button["text"]) <= 40 for button in row)
    for answer in answers:
        assert (answer["method"], answer["callback_query_id"]) == ("answerCallbackQuery", "c")
        assert 0 < len(answer["text"]) <= ANSWER_LIMIT
        assert not set("{}<>") & set(answer["text"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reply_is_in_the_readers_language(language: str) -> None:
    """No text is another language's, but for one word that two of them share."""
    others = [other for other in LANGUAGES if other != language]
    same = [key for key, texts in TEXTS.items() if texts[language] in {texts[other] for other in others}]
    assert same == []


@pytest.mark.parametrize(
    ("language", "greeting"),
    [("en", "Hello, Ada!"), ("de", "Hallo Ada!"), ("ru", "Здравствуйте, Ada!"), ("zh", "Hello, Ada!"), (None, "Hello")],
)
def test_the_greeting_is_spelt_as_its_language_spells_it(language: str | None, greeting: str) -> None:
    contact = replace(ADA, language_code=language)
    assert ASK.welcome(contact)["text"].startswith(greeting)
    assert ", !" not in ASK.welcome(replace(contact, first_name=" "))["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_names_the_commands_it_speaks_of(language: str) -> None:
    """R73: who reads it in another language is told of /stop and /privacy, too."""
    for key, texts in TEXTS.items():
        for command in ("/stop", "/start", "/privacy", "/timezone"):
            assert (command in texts[language]) is (command in texts["en"]), (key, command)
        assert texts[language].count("\n") == texts["en"].count("\n"), key
        assert texts[language].count("<b>") == texts["en"].count("<b>"), key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hello]\nen = 'Hi'", "reply hello: missing or unknown language"),
        (
            "[hello]\n" + "\n".join(f"{code} = '{{name}}'" for code in LANGUAGES[:-1]) + "\nhi = 'x'",
            "hello, hi: expected",
        ),
        ("[hello]\n" + "\n".join(f"{code} = ' '" for code in LANGUAGES), "hello, en: expected a text"),
    ],
    ids=["language", "placeholder", "blank"],
)
def test_a_catalogue_of_replies_that_could_go_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_comfort_is_never_cheerful() -> None:
    """The answer to who feels low has no exclamation mark, in any language."""
    assert not [text for text in TEXTS["go_mood_support"].values() if set("!¡！") & set(text)]


@pytest.mark.parametrize(
    ("profile", "changed", "says"),
    [
        (None, False, "when you usually write"),
        (PROFILE, False, "when you usually write"),
        (replace(PROFILE, zone="../../etc"), False, "when you usually write"),
        (BERLIN, False, "I go by Europe/Berlin, where it is 13:00 now"),
        (BERLIN, True, "Noted: Europe/Berlin, where it is 13:00 now"),
    ],
    ids=["unknown", "unset", "no-zone", "set", "changed"],
)
def test_a_time_zone_is_shown_with_its_time(profile: Profile | None, changed: bool, says: str) -> None:
    """R40: a wrong one shows at once."""
    assert says in ASK.zone(ADA, profile, NOW, changed=changed)["text"]


@pytest.mark.parametrize(
    ("replies", "profile", "offers"),
    [
        (ASK, REWORDED, None),
        (REWORDS, None, REWORDING_YES),
        (REWORDS, PROFILE, REWORDING_YES),
        (REWORDS, REWORDED, REWORDING_NO),
    ],
    ids=["off", "unknown", "not-allowed", "allowed"],
)
def test_privacy_offers_a_language_model_only_where_one_is_used(
    replies: Replies, profile: Profile | None, offers: str | None
) -> None:
    """R65: nobody's name goes to another company before they said so, and saying no again is as easy."""
    reply = replies.privacy(ADA, profile)

    assert ("language model" in reply["text"]) is (offers is not None)
    assert buttons_of(reply) == [[LEARNING_YES], *([[offers]] if offers else [])]


def test_an_answer_about_the_language_model_says_what_holds_now() -> None:
    assert "may now reword" in REWORDS.rewording_noted(press(), REWORDED)["text"]
    assert "no language model" in REWORDS.rewording_noted(press(), PROFILE)["text"]
    assert "no language model" in REWORDS.rewording_noted(press(), None)["text"]


def test_privacy_says_that_some_are_not_written_to() -> None:
    """What is measured and kept is said: outreach, what followed, awards, the control group."""
    text = ASK.privacy(ADA, PROFILE)["text"]

    for kept in ("why I wrote it", "whether you came back", "what you achieved", "drawn by lot, are not written to"):
        assert kept in text


def test_progress_is_shown_as_far_as_an_answer_has_room() -> None:
    """Whole lines of at most 200 characters together, in a box that stays until it is closed."""
    lines = [f"{'x' * 60} {number}" for number in range(9)]
    shown = ASK.gone(press(), OutreachType.MILESTONE_CELEBRATION, "\n".join(lines))

    assert (shown["text"].splitlines(), shown["show_alert"]) == (lines[:3], True)
    for nothing in (None, "", "\n", "x" * 201):
        assert "comes by itself" in ASK.gone(press(), OutreachType.ACHIEVEMENT_UNLOCK, nothing)["text"]


def test_an_unknown_language_is_answered_in_english() -> None:
    assert say("later", "zh-Hans") == say("later", None) == say("later", "en-GB") == TEXTS["later"]["en"]


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
    assert says in ASK.consent_noted(press(), profile)["text"]


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
    for answer in (ASK.consent_noted(press(), profile), ASK.learning_noted(press(), profile)):
        assert ("I learn from how you use me; /privacy" in answer["text"]) == learns
    assert ("will not learn" in ASK.learning_noted(press(), profile)["text"]) != learns
