"""What users say by commands and buttons of ours is obeyed and kept; with stores that note what they are told."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.answers import Answer, Question, Said
from engagement.domain.callbacks import TYPE_CODES, UNDER_OUTREACH, Button, Press, Signer
from engagement.domain.interaction import EngagementType, Exposure
from engagement.domain.languages import LANGUAGES
from engagement.domain.outreach import OutreachType
from engagement.domain.preferences import Dismissal, Fact, Preferences, TypeChoice
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.replies import TEXTS, Replies, Reply, wording, words_of
from engagement.domain.update import ButtonPressed, Contact, MessageSent
from engagement.errors import SecretUnavailableError
from engagement.services.users_word import CELEBRATIONS, UsersWord, zone_named
from tests.builders import NOW, REPLIES, profile

BOT, USER = 1, 7
ADA = Contact(USER, "Ada", "en")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ABOUT = Exposure(OutreachType.RE_ENGAGEMENT, NOW - DAY)


@dataclass
class Table:
    """All four stores in small, with one user; notes which methods were called, in order."""

    profile: Profile | None = field(default_factory=lambda: profile(consent=Consent.UNASKED))
    calls: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    begun: list[tuple[int, int, datetime]] = field(default_factory=list)
    asked_before: bool = False
    consent_at: datetime | None = None

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return self.profile

    def meet(self, bot_id: int, user_id: int, at: datetime, contact: Contact) -> bool:
        self.calls.append("meet")
        return self.profile is None and self._change()

    def record_consent(
        self, bot_id: int, user_id: int, consent: Consent, at: datetime, contact: Contact | None = None
    ) -> bool:
        self.calls.append(f"record_consent:{consent}")
        newer = self.consent_at is None or at > self.consent_at
        if not newer and not (at == self.consent_at and consent is Consent.DECLINED):
            return False
        self.consent_at = at
        return self._change(consent=consent)

    def record_consent_ml(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        self.calls.append(f"record_consent_ml:{granted}")
        return self._change(consent_ml=granted)

    def record_consent_llm(
        self, bot_id: int, user_id: int, *, granted: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        self.calls.append(f"record_consent_llm:{granted}")
        return self._change(consent_llm=granted)

    def opt_out(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        self.calls.append("opt_out")
        known = self.profile.opted_out_at if self.profile else None
        return (known is None or at >= known) and self._change(opted_out=True, opted_out_at=at)

    def opt_in(
        self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None, *, update_id: int | None = None
    ) -> bool:
        self.calls.append("opt_in")
        known = self.profile.opted_out_at if self.profile else None
        return (known is None or at > known) and self._change(opted_out=False, opted_out_at=at)

    def prefer(self, bot_id: int, user_id: int, fact: Fact, at: datetime, contact: Contact | None = None) -> bool:
        self.calls.append("prefer")
        assert self.profile
        return self._change(preferences=self.profile.preferences.with_(fact))

    def forget_preferences(self, bot_id: int, user_id: int, facts: frozenset[str]) -> bool:
        self.calls.append("forget_preferences")
        assert self.profile
        kept = {str(fact) for fact in self.profile.preferences.facts} - facts
        return self._change(preferences=Preferences.parse(kept))

    def set_zone(self, bot_id: int, user_id: int, zone: str, at: datetime, contact: Contact | None = None) -> bool:
        self.calls.append(f"set_zone:{zone}")
        return self._change(zone=zone)

    def add(self, bot_id: int, user_id: int, update_id: int, answer: Answer) -> None:
        self.answers.append(answer)

    def begin(self, bot_id: int, user_id: int, at: datetime) -> None:
        self.begun.append((bot_id, user_id, at))

    def ask(self, bot_id: int, user_id: int, at: datetime) -> bool:
        self.calls.append("ask")
        return not self.asked_before

    def _change(self, **changes: object) -> bool:
        if self.profile is None:
            return False
        self.profile = replace(self.profile, **changes)
        return True


def word(table: Table, progress: str | None = None, replies: Replies = REPLIES) -> UsersWord:
    return UsersWord(
        BOT, table, table, table, table, replies, progress=None if progress is None else lambda *_: progress
    )


def message(command: str | None, text: str = "", at: datetime = NOW, contact: Contact = ADA) -> MessageSent:
    return MessageSent(
        update_id=1,
        user_id=USER,
        contact=contact,
        occurred_at=at,
        engagement_type=EngagementType.COMMAND,
        command=command,
        text=text or f"/{command}",
        message_id=5,
        sticker_emoji="",
        spoken_seconds=0,
        replied_to_id=None,
        replied_to_at=None,
        edited=False,
    )


def pressed(table: Table, press: Press, at: datetime = NOW, progress: str | None = None) -> Reply:
    """Press a button; return the answer."""
    update = ButtonPressed(
        update_id=2,
        user_id=USER,
        contact=ADA,
        occurred_at=at,
        callback_id="c",
        data="",
        message_at=None,
        message_id=9,
    )
    return word(table, progress).press(update, press, at)


def holds(table: Table) -> Profile:
    assert table.profile
    return table.profile


# --- consent ---


@pytest.mark.parametrize("text", ["/start", "/start spring", "/start " + "x" * 64, "/start yes", "/start@the_bot 1"])
@pytest.mark.parametrize("policy", ConsentPolicy)
@pytest.mark.parametrize(
    "before",
    [None, profile(), profile(opted_out=True, opted_out_at=NOW - DAY), profile(consent=Consent.DECLINED)],
    ids=["new", "agreed", "stopped", "declined"],
)
def test_start_changes_nothing_with_or_without_payload(
    text: str, policy: ConsentPolicy, before: Profile | None
) -> None:
    """R94: a deep link lifts no opt-out; it says that it holds, with the button that lifts it."""
    table = Table(before)
    reply = word(table, replies=replace(REPLIES, policy=policy)).command(message("start", text), NOW)

    # Who has no profile gets one, in which nothing is answered.
    assert (table.calls, table.answers, table.profile) == ([] if before else ["meet"], [], before)
    assert reply
    if before and (before.opted_out or before.consent is Consent.DECLINED):
        assert TEXTS["quiet"]["en"] in reply["text"]


def test_stop_is_obeyed_first_and_kept() -> None:
    """R94, R97: the one message that must not be lost; where it came from is kept."""
    table = Table(profile())
    reply = word(table).command(message("stop"), NOW)

    assert table.calls == ["opt_out"]
    assert holds(table).opted_out
    assert table.answers == [Answer(question=Question.WRITE, said=Said.STOP, answered_at=NOW, source="command:/stop")]
    assert reply
    assert reply["text"] == TEXTS["stopped"]["en"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("button", [Button.CONSENT_YES, Button.CONSENT_BOTH])
def test_an_explicit_yes_ends_an_opt_out_and_is_kept_with_its_source_and_wording(button: Button, language: str) -> None:
    """R94, R97: what was agreed to, by which button and in which words, can be shown in ten languages."""
    table = Table(profile(opted_out=True, opted_out_at=NOW - DAY, consent=Consent.DECLINED))
    asked = wording("ask", language)
    pressed(table, Press(button, wording=asked))

    assert table.calls[:2] == ["record_consent:granted", "opt_in"]
    assert (holds(table).consent, holds(table).opted_out) == (Consent.GRANTED, False)
    assert table.answers[0] == Answer(
        question=Question.WRITE, said=Said.YES, answered_at=NOW, source=f"button:{button}", wording=asked
    )
    assert words_of(table.answers[0].wording) == TEXTS["ask"][language]
    learned = [answer for answer in table.answers if answer.question == Question.LEARN]
    assert holds(table).consent_ml is (button is Button.CONSENT_BOTH) is bool(learned)


def test_a_no_ends_nothing_and_begins_nothing() -> None:
    """R94: it declines; it never opts in."""
    table = Table(profile(opted_out=True, opted_out_at=NOW - DAY))
    pressed(table, Press(Button.CONSENT_NO, wording=wording("ask", "en")))

    assert table.calls == ["record_consent:declined"]
    assert (holds(table).consent, holds(table).opted_out) == (Consent.DECLINED, True)
    assert table.answers[0].said is Said.NO


def test_no_other_button_or_command_lifts_an_opt_out() -> None:
    """R94: nothing but the explicit yes calls `opt_in`."""
    wide = {
        Button.TYPE_ON: Press(Button.TYPE_ON, OutreachType.RE_ENGAGEMENT),
        Button.TYPE_OFF: Press(Button.TYPE_OFF, OutreachType.RE_ENGAGEMENT),
    } | {button: Press(button, ABOUT.outreach_type, ABOUT) for button in UNDER_OUTREACH}
    for button in set(Button) - {Button.CONSENT_YES, Button.CONSENT_BOTH}:
        table = Table(profile(opted_out=True, opted_out_at=NOW - DAY))
        pressed(table, wide.get(button, Press(button)))
        assert "opt_in" not in table.calls
        assert holds(table).opted_out
    for command in ("start", "settings", "privacy", "timezone", "progress", "forget", "mydata", "help", "yes", None):
        table = Table(profile(opted_out=True, opted_out_at=NOW - DAY))
        word(table).command(message(command), NOW)
        assert "opt_in" not in table.calls


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["stop", "start", "yes", "no", "all"])), min_size=1, max_size=8
    )
)
def test_who_said_no_last_is_opted_out_or_declined(history: list[tuple[int, str]]) -> None:
    """R94, R95: in the order of the events; of one second, no holds."""
    table = Table()
    for second, what in sorted(history, key=lambda event: event[0]):
        at = NOW + second * SECOND
        match what:
            case "stop" | "start":
                word(table).command(message(what, at=at), at)
            case "yes":
                pressed(table, Press(Button.CONSENT_YES), at)
            case "no":
                pressed(table, Press(Button.CONSENT_NO), at)
            case "all":
                pressed(table, Press(Button.STOP_ALL, ABOUT.outreach_type, ABOUT), at)
    stops = [second for second, what in history if what in ("stop", "all")]
    yeses = [second for second, what in history if what == "yes"]
    assert holds(table).opted_out is (bool(stops) and max(stops) >= max(yeses, default=-1))


@pytest.mark.parametrize(
    ("button", "question", "said"),
    [
        (Button.LEARNING_YES, Question.LEARN, Said.YES),
        (Button.LEARNING_NO, Question.LEARN, Said.NO),
        (Button.REWORDING_YES, Question.REWORD, Said.YES),
        (Button.REWORDING_NO, Question.REWORD, Said.NO),
        (Button.WRITE_OFF, Question.WRITE, Said.STOP),
    ],
)
@pytest.mark.parametrize("asked", ["privacy", "settings"])
def test_every_answer_is_kept_with_where_it_came_from(
    button: Button, question: Question, said: Said, asked: str
) -> None:
    """R97; R98: under /settings the answer is their changed message."""
    table = Table(profile())
    name = wording(asked, "de")
    reply = pressed(table, Press(button, wording=name))

    assert table.answers == [
        Answer(question=question, said=said, answered_at=NOW, source=f"button:{button}", wording=name)
    ]
    assert reply["method"] == ("editMessageText" if asked == "settings" else "answerCallbackQuery")


# --- types, and "not now" ---


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_stop_these_ends_the_type_and_settings_bring_it_back(outreach_type: OutreachType) -> None:
    """R97, R98: each is kept with the type, and under which outreach it was pressed."""
    table, about = Table(profile()), Exposure(outreach_type, NOW - DAY)
    reply = pressed(table, Press(Button.STOP_TYPE, outreach_type, about))

    assert reply["text"] == TEXTS["type_stopped"]["en"]
    assert holds(table).preferences.is_off(outreach_type)
    assert not holds(table).opted_out
    assert table.answers == [
        Answer(
            question=f"type:{outreach_type}",
            said=Said.NO,
            answered_at=NOW,
            source=f"button:{Button.STOP_TYPE}#{outreach_type}",
        )
    ]
    reply = pressed(table, Press(Button.TYPE_ON, outreach_type), NOW + SECOND)
    assert reply["method"] == "editMessageText"
    assert not holds(table).preferences.is_off(outreach_type)
    pressed(table, Press(Button.TYPE_OFF, outreach_type), NOW + 2 * SECOND)
    assert holds(table).preferences.is_off(outreach_type)
    assert [answer.said for answer in table.answers] == [Said.NO, Said.YES, Said.NO]


def test_stop_all_ends_everything() -> None:
    """R98: the second button."""
    table = Table(profile())
    reply = pressed(table, Press(Button.STOP_ALL, ABOUT.outreach_type, ABOUT))

    assert holds(table).opted_out
    assert reply["text"] == TEXTS["stopped"]["en"]
    assert table.answers[0].source == f"button:{Button.STOP_ALL}#{ABOUT.outreach_type}"


def test_not_now_says_for_how_long_it_holds() -> None:
    """R92: twice a week, then four weeks, and so on to 90 days."""
    table = Table(profile())
    said = []
    for number in range(5):
        at = NOW + number * 5 * DAY
        said.append(pressed(table, Press(Button.NOT_NOW, ABOUT.outreach_type, replace_at(ABOUT, at - DAY)), at)["text"])

    assert said == [TEXTS["later"]["en"].format(days=days) for days in (14, 28, 56, 90, 90)]
    assert len(holds(table).preferences.facts) == 5
    assert table.answers == [], "not an answer to a question of ours"


def replace_at(about: Exposure, at: datetime) -> Exposure:
    return Exposure(about.outreach_type, at)


def test_a_press_that_says_nothing_new_is_not_written() -> None:
    """R92: an old choice that arrives late, when a newer one holds."""
    newer = TypeChoice(OutreachType.RE_ENGAGEMENT, NOW, off=True)
    table = Table(profile(preferences=Preferences(frozenset({newer}))))
    pressed(table, Press(Button.TYPE_ON, OutreachType.RE_ENGAGEMENT), NOW - DAY)

    assert "prefer" not in table.calls
    assert holds(table).preferences == Preferences(frozenset({newer}))


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_progress_is_shown_under_celebrations_alone(outreach_type: OutreachType) -> None:
    """R57: the useful button does what it says, and asks nobody where it says something else."""
    asked: list[int] = []

    def progress(user_id: int, at: datetime) -> str:
        asked.append(user_id)
        return "Chatty newcomer ▓▓▓░░ 6/10"

    table = Table()
    update = ButtonPressed(
        update_id=2, user_id=USER, contact=ADA, occurred_at=NOW, callback_id="c", data="", message_at=None
    )
    press = Press(Button.GO, outreach_type, Exposure(outreach_type, NOW - DAY))
    reply = UsersWord(BOT, table, table, table, table, REPLIES, progress).press(update, press, NOW)

    celebrates = outreach_type in CELEBRATIONS
    assert asked == ([USER] if celebrates else [])
    assert reply["text"] == ("Chatty newcomer ▓▓▓░░ 6/10" if celebrates else TEXTS[f"go_{outreach_type}"]["en"])
    assert reply.get("show_alert", False) is celebrates
    assert table.calls == []


@pytest.mark.parametrize("outreach_type", sorted(CELEBRATIONS))
def test_without_progress_a_celebration_has_an_answer_too(outreach_type: OutreachType) -> None:
    press = Press(Button.GO, outreach_type, Exposure(outreach_type, NOW - DAY))
    for progress in (None, ""):
        assert pressed(Table(), press, progress=progress)["text"] == TEXTS[f"go_{outreach_type}"]["en"]


# --- erase, export, the rest ---


def test_forgetting_begins_with_the_confirmation_and_not_before() -> None:
    """R99: /forget asks; the yes writes the tombstone, the no changes nothing."""
    table = Table(profile())
    word(table).command(message("forget"), NOW)
    asked = str(int(NOW.timestamp()))
    kept = pressed(table, Press(Button.FORGET_NO, wording=asked))
    assert (table.begun, table.calls, kept["text"]) == ([], [], TEXTS["forget_kept"]["en"])

    done = pressed(table, Press(Button.FORGET_YES, wording=asked), NOW + SECOND)
    assert table.begun == [(BOT, USER, NOW + SECOND)]
    assert (table.answers, done["text"]) == ([], TEXTS["forgotten"]["en"])


@pytest.mark.parametrize(
    ("asked_before", "obeyed"), [(0, True), (900, True), (901, False), (400 * 86_400, False), (None, False)]
)
def test_the_button_that_erases_everything_works_for_a_quarter_of_an_hour(
    asked_before: int | None, obeyed: bool
) -> None:
    """R99: a press by accident under a message of last year erases nobody."""
    table = Table(profile())
    asked = "" if asked_before is None else str(int(NOW.timestamp()) - asked_before)
    reply = pressed(table, Press(Button.FORGET_YES, wording=asked), NOW)

    assert bool(table.begun) is obeyed
    assert reply["text"] == TEXTS["forgotten" if obeyed else "button_old"]["en"]


def test_stop_is_confirmed_by_words_where_the_key_of_the_buttons_cannot_be_read() -> None:
    """R93: the one message that must not be lost is not answered by silence, either."""

    def unreadable() -> str:
        raise SecretUnavailableError("no such parameter")

    for key in (unreadable, lambda: ""):
        table = Table(profile())
        obeys = word(table, replies=replace(REPLIES, signer=Signer(BOT, key)))
        reply = obeys.command(message("stop"), NOW)
        assert reply
        assert (reply["text"], "reply_markup" in reply) == (TEXTS["stopped"]["en"], False)
        assert holds(table).opted_out


@pytest.mark.parametrize(
    ("known", "asked_before", "says"), [(True, False, "coming"), (True, True, "soon"), (False, False, "none")]
)
def test_ones_data_are_asked_for_once_an_hour(known: bool, asked_before: bool, says: str) -> None:
    """R100: the file comes later, to their own chat; who was erased since they asked is told that nothing is kept."""
    table = Table(profile() if known else None, asked_before=asked_before)
    reply = word(table).command(message("mydata"), NOW)

    assert reply
    assert (reply["text"], reply["chat_id"]) == (TEXTS[f"mydata_{says}"]["en"], USER)
    assert table.calls == (["ask"] if known else ["meet"])


def test_progress_is_shown_on_command() -> None:
    reply = word(Table(), "<b>x</b> ▓░ 1/2").command(message("progress"), NOW)
    assert reply
    assert "&lt;b&gt;x&lt;/b&gt; ▓░ 1/2" in reply["text"]
    nothing = word(Table()).command(message("progress"), NOW)
    assert nothing
    assert nothing["text"] == TEXTS["progress_none"]["en"]


@pytest.mark.parametrize("command", ["settings", "privacy", "help"])
def test_what_only_shows_changes_nothing(command: str) -> None:
    """R73."""
    table = Table(profile())
    assert word(table).command(message(command), NOW)
    assert (table.calls, table.answers) == ([], [])


def test_a_command_that_is_not_ours_is_the_bots_own_business() -> None:
    assert word(Table()).command(message("stop_loss"), NOW) is None
    assert word(Table()).command(message(None), NOW) is None


def test_a_zone_is_set_by_the_words_behind_the_command() -> None:
    """R40."""
    table = Table(profile())
    for text, said in (
        ("/timezone new york", TEXTS["zone_bad"]["en"]),
        ("/timezone america/new york", "Noted: America/New_York"),
        ("/timezone", "I go by America/New_York"),
    ):
        reply = word(table).command(message("timezone", text), NOW)
        assert reply
        assert said in reply["text"]
    assert table.calls == ["set_zone:America/New_York"]


@pytest.mark.parametrize(
    ("typed", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("america/new_york", "America/New_York"),
        ("AMERICA/ARGENTINA/BUENOS_AIRES", "America/Argentina/Buenos_Aires"),
        ("America/Port_of_Spain", "America/Port_of_Spain"),
        ("utc", "UTC"),
        ("etc/utc", None),
        ("Berlin", None),
        ("../../Etc/UTC", None),
        ("", None),
        ("Europe/Berlin" + "x" * 4_000, None),
    ],
)
def test_a_zone_is_understood_without_its_capitals_and_nothing_else_is(typed: str, zone: str | None) -> None:
    """R40: what no list holds is no zone, whatever path it may look like."""
    assert zone_named(typed) == zone


def test_every_dismissal_is_kept_in_a_form_that_can_be_read_back() -> None:
    """R92: what the table holds is text."""
    for outreach_type in TYPE_CODES:
        fact = Dismissal(Exposure(outreach_type, NOW), NOW + SECOND)
        assert Preferences.parse([str(fact)]).facts == {fact}
