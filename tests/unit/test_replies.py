"""The bot's own words: honest about what is kept, safe with any name, within Telegram's limits."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.callbacks import Button, Press, Signer
from engagement.domain.interaction import OWN_COMMANDS, EngagementType
from engagement.domain.outreach import OutreachType
from engagement.domain.preferences import Preferences, TypeChoice
from engagement.domain.profile import Consent, ConsentPolicy, Profile, SensitiveBasis
from engagement.domain.replies import (
    ANSWER_LIMIT,
    COMMANDS,
    QUESTIONS,
    TEXTS,
    Replies,
    Reply,
    is_of_settings,
    parse,
    say,
    wording,
    words_of,
)
from engagement.domain.templates import LANGUAGES
from engagement.domain.update import ButtonPressed, Contact, MessageSent
from infra.local.telegram.entities import parse_html
from tests.builders import NOW, REPLIES, profile

SIGNER = Signer(1, lambda: "key")
ASK = REPLIES
ASSUME = replace(ASK, policy=ConsentPolicy.ASSUME)
KEEPS_TEXT = replace(ASK, stores_text=True, keep_days=30, user_days=200, blocked_days=20)
ADA = Contact(chat_id=7, first_name="Ada", language_code="en")
PROFILE = profile(language_code=None)
UNASKED = replace(PROFILE, consent=Consent.UNASKED)
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
        message_id=99,
    )


def presses_of(reply: Reply, user_id: int = 7) -> list[list[Press]]:
    """What a press of each button says, row by row."""
    rows = reply["reply_markup"]["inline_keyboard"]
    read = [[SIGNER.read(button["callback_data"], user_id) for button in row] for row in rows]
    assert all(press is not None for row in read for press in row)
    return [[press for press in row if press] for row in read]


def buttons_of(reply: Reply) -> list[list[Button]]:
    """What the buttons say, row by row."""
    return [[press.button for press in row] for row in presses_of(reply)]


def test_the_welcome_asks_after_a_greeting_in_two_short_sentences() -> None:
    """R74: a yes to being written to is one button, a yes to learning as well is another, and says what for."""
    reply = ASK.welcome(ADA, 7, UNASKED)

    assert (reply["method"], reply["chat_id"], reply["parse_mode"]) == ("sendMessage", 7, "HTML")
    greeting, question = reply["text"].split("! ", 1)
    assert greeting == "Hello, Ada"
    assert question == TEXTS["ask"]["en"]
    assert "May I write to you first" in question
    assert "learn from when you write; /privacy says more" in question
    assert buttons_of(reply) == [[Button.CONSENT_YES, Button.CONSENT_NO], [Button.CONSENT_BOTH]]
    assert ASK.welcome(ADA, 7, None) == reply


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("question", ["ask", "assume", "quiet", "agreed"])
def test_no_welcome_is_longer_than_two_or_three_short_sentences(question: str, language: str) -> None:
    assert len(TEXTS[question][language]) <= 200
    assert "\n" not in TEXTS[question][language]


def test_the_welcome_asks_about_learning_even_where_the_consent_to_writing_is_assumed() -> None:
    """R74: consent to learning is individual and explicit; an operator cannot assume it."""
    reply = ASSUME.welcome(ADA, 7, UNASKED)

    assert [part for part in reply["text"].split(". ") if "?" in part] == [
        "May I also learn from when you write? /privacy says more."
    ]
    assert "/stop" in reply["text"]
    assert buttons_of(reply) == [[Button.LEARNING_YES, Button.LEARNING_NO]]


@pytest.mark.parametrize("replies", [ASK, ASSUME], ids=["ask", "assume"])
@pytest.mark.parametrize(
    "profile",
    [
        replace(PROFILE, opted_out=True),
        replace(UNASKED, opted_out=True),
        replace(PROFILE, consent=Consent.DECLINED),
        replace(PROFILE, consent=Consent.DECLINED, opted_out=True),
    ],
    ids=["stopped", "stopped-unasked", "declined", "both"],
)
def test_who_said_no_is_told_that_it_holds_with_the_button_that_changes_it(replies: Replies, profile: Profile) -> None:
    """R94: /start takes nothing back, and asks for nothing again."""
    reply = replies.welcome(ADA, 7, profile)

    assert reply["text"] == f"Hello, Ada! {TEXTS['quiet']['en']}"
    assert buttons_of(reply) == [[Button.CONSENT_YES]]


@pytest.mark.parametrize("replies", [ASK, ASSUME], ids=["ask", "assume"])
def test_who_agreed_is_not_asked_again(replies: Replies) -> None:
    reply = replies.welcome(ADA, 7, PROFILE)

    assert reply["text"] == f"Hello, Ada! {TEXTS['agreed']['en']}"
    assert "reply_markup" not in reply


def test_what_is_said_to_be_kept_follows_the_settings() -> None:
    """R101, R102: a bot that keeps texts says so; the days are the real ones, and so is the ground."""
    assert "and its text" in KEEPS_TEXT.privacy(ADA, 7, PROFILE)["text"]
    assert "never its text" not in KEEPS_TEXT.privacy(ADA, 7, PROFILE)["text"]
    assert "never its text" in ASK.privacy(ADA, 7, PROFILE)["text"]
    for days in ("for 30 days", "200 days after you were last here", "20 days after you blocked me"):
        assert days in KEEPS_TEXT.privacy(ADA, 7, PROFILE)["text"]
    operator = replace(ASK, basis=SensitiveBasis.OPERATOR)
    assert "only once you let me write to you" in ASK.privacy(ADA, 7, PROFILE)["text"]
    assert "only once you let me write to you" not in operator.privacy(ADA, 7, PROFILE)["text"]
    assert "mood and topics of all messages" in operator.privacy(ADA, 7, PROFILE)["text"]


def test_privacy_says_what_is_kept_what_for_and_how_to_leave() -> None:
    text = ASK.privacy(ADA, 7, PROFILE)["text"]

    assert "<b>What I keep about you</b>" in text
    assert "<b>What for</b>" in text
    for way in ("/stop", "/settings", "/mydata", "/forget", "blocking me"):
        assert way in text.partition("<b>How to leave</b>")[2], "R73, R99, R100"


@pytest.mark.parametrize("replies", [ASK, ASSUME], ids=["ask", "assume"])
@pytest.mark.parametrize(
    ("profile", "says", "offers"),
    [
        (None, "No.", Button.LEARNING_YES),
        (PROFILE, "No.", Button.LEARNING_YES),
        (LEARNER, "Yes, you let me", Button.LEARNING_NO),
        (replace(LEARNER, opted_out=True), "Yes, you let me", Button.LEARNING_NO),
    ],
    ids=["unknown", "not-allowed", "allowed", "allowed-and-stopped"],
)
def test_privacy_says_whether_the_bot_learns_and_offers_the_contrary(
    replies: Replies, profile: Profile | None, says: str, offers: Button
) -> None:
    """R74: revocable as easily as it is given; being written to has no part in it."""
    reply = replies.privacy(ADA, 7, profile)
    learning = reply["text"].partition("<b>Whether I learn from you</b>\n")[2].splitlines()[0]

    assert learning.startswith(says)
    assert "learn from when you write and in what mood" in learning
    assert buttons_of(reply) == [[offers]]


@given(name=st.text(max_size=128) | st.sampled_from(['<&">', "abdo <", "<b>", "&lt;", "‮اسم", "👩🏽‍🚀"]))
def test_any_name_is_shown_as_it_is(name: str) -> None:
    """R55: escaped for HTML; the visible text holds the name, and no tag but our own."""
    reply = ASK.welcome(Contact(chat_id=7, first_name=name, language_code=None), 7, None)
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
    user_id = 2**52 - 1
    messages: list[Reply] = [
        replies.stopped(long_name, user_id),
        replies.stop_asked(long_name, user_id),
        replies.forget_asked(long_name, user_id, NOW),
        replies.help(long_name),
        replies.unknown_zone(long_name),
        *(replies.mydata(long_name, said) for said in ("coming", "soon", "none")),
        *(replies.progress(long_name, lines) for lines in ("", "<x> ▓▓▓░░ 6/10")),
    ]
    messages += [
        show(long_name, user_id, profile)
        for profile in profiles
        for show in (replies.welcome, replies.privacy, replies.settings)
    ]
    messages += [replies.settings_changed(press(language), profile) for profile in profiles]
    messages += [replies.zone(long_name, profile, NOW, changed=new) for profile in profiles for new in (True, False)]
    noted_as = ("stopped", "type_stopped", "forgotten", "forget_kept", "button_old")
    answers = [replies.later_noted(press(language), 90), *(replies.noted(press(language), said) for said in noted_as)]
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
    assert ASK.welcome(contact, 7, None)["text"].startswith(greeting)
    assert ", !" not in ASK.welcome(replace(contact, first_name=" "), 7, None)["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_names_the_commands_it_speaks_of(language: str) -> None:
    """R73: who reads it in another language is told of /stop and /privacy, too."""
    for key, texts in TEXTS.items():
        for command in ("/stop", "/start", "/privacy", "/timezone", "/settings", "/mydata", "/forget"):
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
        (REWORDS, None, Button.REWORDING_YES),
        (REWORDS, PROFILE, Button.REWORDING_YES),
        (REWORDS, REWORDED, Button.REWORDING_NO),
    ],
    ids=["off", "unknown", "not-allowed", "allowed"],
)
def test_privacy_offers_a_language_model_only_where_one_is_used(
    replies: Replies, profile: Profile | None, offers: Button | None
) -> None:
    """R65: nobody's name goes to another company before they said so, and saying no again is as easy."""
    reply = replies.privacy(ADA, 7, profile)

    assert ("language model" in reply["text"]) is (offers is not None)
    assert buttons_of(reply) == [[Button.LEARNING_YES], *([[offers]] if offers else [])]


def test_an_answer_about_the_language_model_says_what_holds_now() -> None:
    assert "may now reword" in REWORDS.rewording_noted(press(), REWORDED)["text"]
    assert "no language model" in REWORDS.rewording_noted(press(), PROFILE)["text"]
    assert "no language model" in REWORDS.rewording_noted(press(), None)["text"]


def test_privacy_says_that_some_are_not_written_to() -> None:
    """What is measured and kept is said: outreach, what followed, awards, the control group."""
    text = ASK.privacy(ADA, 7, PROFILE)["text"]

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
    assert say("thanks", "zh-Hans") == say("thanks", None) == say("thanks", "en-GB") == TEXTS["thanks"]["en"]


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (PROFILE, "Thank you"),
        (replace(PROFILE, opted_out=True), "will not"),
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


# --- /settings, /stop, /help, /forget ---


def test_settings_show_each_kind_with_the_button_that_changes_it() -> None:
    """R98: the types that this deployment sends, each on or off; learning and the language model where they are."""
    off = OutreachType.TOPIC_FOLLOW_UP
    sends = replace(REWORDS, types=(OutreachType.RE_ENGAGEMENT, off))
    mine = replace(PROFILE, preferences=Preferences(frozenset({TypeChoice(off, NOW, off=True)})))
    reply = sends.settings(ADA, 7, mine)

    assert [[(p.button, p.outreach_type) for p in row] for row in presses_of(reply)] == [
        [(Button.WRITE_OFF, None)],
        [(Button.TYPE_OFF, OutreachType.RE_ENGAGEMENT)],
        [(Button.TYPE_ON, off)],
        [(Button.LEARNING_YES, None)],
        [(Button.REWORDING_YES, None)],
    ]
    assert [row[0]["text"][0] for row in reply["reply_markup"]["inline_keyboard"]] == ["✅", "✅", "❌", "❌", "❌"]
    asked = {p.wording for row in presses_of(reply) for p in row if p.outreach_type is None}
    assert all(is_of_settings(name) for name in asked)


@pytest.mark.parametrize(
    ("replies", "profile", "writes"),
    [
        (ASK, None, False),
        (ASK, UNASKED, False),
        (ASK, PROFILE, True),
        (ASK, replace(PROFILE, opted_out=True), False),
        (ASK, replace(PROFILE, consent=Consent.DECLINED), False),
        (ASSUME, None, True),
        (ASSUME, UNASKED, True),
        (ASSUME, replace(UNASKED, opted_out=True), False),
    ],
)
def test_settings_say_whether_we_write_at_all_and_kinds_only_then(
    replies: Replies, profile: Profile | None, writes: bool
) -> None:
    (first,), *others = presses_of(replies.settings(ADA, 7, profile))

    assert first.button is (Button.WRITE_OFF if writes else Button.CONSENT_YES)
    assert len([row for row in others if row[0].button is Button.TYPE_OFF]) == (len(OutreachType) if writes else 0)


def test_a_change_in_settings_changes_their_own_message() -> None:
    """R98: no second message; it shows what holds now."""
    shown, changed = ASK.settings(ADA, 7, PROFILE), ASK.settings_changed(press(), PROFILE)

    assert (changed["method"], changed["chat_id"], changed["message_id"]) == ("editMessageText", 7, 99)
    assert (changed["text"], changed["reply_markup"]) == (shown["text"], shown["reply_markup"])
    assert "Europe/Berlin" in ASK.settings(ADA, 7, BERLIN)["text"]


def test_stop_is_confirmed_with_the_button_that_takes_it_back() -> None:
    """R94: only an explicit yes does."""
    assert buttons_of(ASK.stopped(ADA, 7)) == [[Button.CONSENT_YES]]


def test_a_word_for_stop_is_asked_back_with_one_button() -> None:
    """R93."""
    reply = ASK.stop_asked(ADA, 7)
    assert buttons_of(reply) == [[Button.WRITE_OFF]]
    assert reply["text"] == TEXTS["stop_asked"]["en"]


def test_forgetting_takes_one_confirmation() -> None:
    """R99."""
    assert buttons_of(ASK.forget_asked(ADA, 7, NOW)) == [[Button.FORGET_YES], [Button.FORGET_NO]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_lists_every_command_that_is_answered(language: str) -> None:
    """R73: and no other."""
    lines = ASK.help(replace(ADA, language_code=language))["text"].splitlines()[1:]
    assert [line.split(" ")[0] for line in lines] == [f"/{command}" for command in COMMANDS]
    assert set(COMMANDS) == OWN_COMMANDS


def test_a_message_is_handed_over_as_it_is() -> None:
    """R103: forwarded to the operator; nothing is said by a machine."""
    message = MessageSent(
        update_id=1,
        user_id=7,
        contact=ADA,
        occurred_at=NOW,
        engagement_type=EngagementType.MESSAGE,
        command=None,
        text="",
        message_id=55,
        sticker_emoji="",
        spoken_seconds=0,
        replied_to_id=None,
        replied_to_at=None,
        edited=False,
    )
    assert ASK.hand_over(message, 321) == {
        "method": "forwardMessage",
        "chat_id": 321,
        "from_chat_id": 7,
        "message_id": 55,
    }


# --- which text asked ---


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_wording_gives_its_text_back(question: str, language: str) -> None:
    """R97: what somebody agreed to can be shown, in their language."""
    name = wording(question, language)
    assert words_of(name) == TEXTS[question][language]
    assert name.isalnum()
    assert len(name) <= 16
    assert is_of_settings(name) is (question == "settings")


def test_every_wording_has_a_name_of_its_own_and_others_have_no_text() -> None:
    """R97: another language, question or version is another name."""
    names = {wording(question, language) for question in QUESTIONS for language in LANGUAGES}
    assert len(names) == len(QUESTIONS) * len(LANGUAGES)
    assert wording("ask", "zh") == wording("ask", None) == wording("ask", "en-GB") == wording("ask", "en")
    for other in ("", "en000000", "xx123456", "en"):
        assert words_of(other) is None
        assert not is_of_settings(other)


def test_a_question_that_is_answered_by_a_button_says_in_which_wording_it_was_asked() -> None:
    """R97: each button of a question knows which text asked."""
    for reply, question in (
        (ASK.welcome(ADA, 7, None), "ask"),
        (ASSUME.welcome(ADA, 7, None), "assume"),
        (ASK.welcome(ADA, 7, replace(PROFILE, opted_out=True)), "quiet"),
        (ASK.stopped(ADA, 7), "stopped"),
        (ASK.stop_asked(ADA, 7), "stop_asked"),
        (REWORDS.privacy(ADA, 7, None), "privacy"),
    ):
        asked = {press.wording for row in presses_of(reply) for press in row}
        assert {words_of(name) for name in asked} == {TEXTS[question]["en"]}
