"""The reception's own decisions, with stores that only note what they are told; the rest is in the webhook's tests."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from engagement.domain.attention import Attention, AttentionReason
from engagement.domain.callbacks import Button, Press, Signer, exposure_ref
from engagement.domain.flood import FloodLimit
from engagement.domain.interaction import OWN_COMMANDS, Control, Exposure, Interaction, by_themselves
from engagement.domain.languages import LANGUAGES
from engagement.domain.outreach import Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.profile import Awaiting, Consent, Profile, SensitiveBasis
from engagement.domain.replies import TEXTS, Reply
from engagement.domain.stop_words import STOP
from engagement.domain.update import ButtonPressed, Contact, DeadLetter, MessageSent
from engagement.services.reception import BUTTON_LIFETIME, NO, Outcome, Receipt, Reception, Stores
from tests.builders import NOW, REPLIES, profile

Sample = Callable[[str], dict[str, Any]]
BOT, USER, OPERATOR = 1, 7, 321
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
SIGNER = Signer(BOT, lambda: "key")
REF = exposure_ref(OutreachType.RE_ENGAGEMENT, NOW - DAY)
SUPPORT = Awaiting(NOW - timedelta(hours=2), "mood_support", "2026-W47")


@dataclass
class Table:
    """Interactions, a profile, attentions and a tombstone; notes what is done."""

    profile: Profile | None = field(default_factory=profile)
    erased: datetime | None = None
    interactions: dict[int, Interaction] = field(default_factory=dict)
    attentions: list[Attention] = field(default_factory=list)
    crises: list[datetime] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)

    def add(self, interaction: Interaction) -> bool:
        is_new = interaction.update_id not in self.interactions
        self.interactions.setdefault(interaction.update_id, interaction)
        return is_new

    def get(self, bot_id: int, user_id: int, update_id: int) -> Interaction | None:
        return self.interactions.get(update_id)

    def erased_at(self, bot_id: int, user_id: int) -> datetime | None:
        return self.erased


@dataclass
class Profiles:
    table: Table

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        return self.table.profile

    def note_crisis(self, bot_id: int, user_id: int, at: datetime, contact: Contact | None = None) -> bool:
        self.table.crises.append(at)
        return True

    def set_blocked(
        self, bot_id: int, user_id: int, *, blocked: bool, at: datetime, contact: Contact | None = None
    ) -> bool:
        raise AssertionError("no status change in these tests")


@dataclass
class Attentions:
    table: Table

    def add(self, bot_id: int, attention: Attention) -> None:
        self.table.attentions.append(attention)


@dataclass
class DeadLetters:
    table: Table

    def add(self, letter: DeadLetter, received_at: datetime) -> None:
        self.table.letters.append(letter)


@dataclass
class Ledger:
    outreach: Outreach | None

    def get(self, key: OutreachKey) -> Outreach | None:
        assert key == OutreachKey(BOT, USER, SUPPORT.campaign, SUPPORT.period)
        return self.outreach


@dataclass
class Word:
    """Obeys by noting."""

    commands: list[str | None] = field(default_factory=list)
    presses: list[tuple[Press, datetime]] = field(default_factory=list)

    def command(self, update: MessageSent, now: datetime) -> Reply | None:
        self.commands.append(update.command)
        return {"method": "sendMessage", "text": f"{update.command}"}

    def press(self, update: ButtonPressed, press: Press, at: datetime) -> Reply:
        self.presses.append((press, at))
        return {"method": "answerCallbackQuery", "text": "obeyed"}


@dataclass
class Desk:
    """A reception over one table."""

    table: Table = field(default_factory=Table)
    word: Word = field(default_factory=Word)
    outreach: Outreach | None = None
    basis: SensitiveBasis = SensitiveBasis.CONSENT
    operator: int = 0
    limit: int = 60

    def __post_init__(self) -> None:
        stores = Stores(
            interactions=self.table,
            profiles=Profiles(self.table),
            dead_letters=DeadLetters(self.table),
            tombstones=self.table,
            attentions=Attentions(self.table),
            outreaches=Ledger(self.outreach) if self.outreach else None,
        )
        replies = replace(REPLIES, basis=self.basis)
        self.reception = Reception(BOT, stores, self.word, replies, FloodLimit(self.limit), self.operator)

    def says(
        self, text: str, update_id: int = 1, at: datetime = NOW, arrived: datetime | None = None, **more: Any
    ) -> Receipt:
        sender = {"id": USER, "is_bot": False, "first_name": "Ada", "language_code": "en"}
        message = {
            "message_id": 55,
            "from": sender,
            "chat": {"id": USER, "type": "private"},
            "date": int(at.timestamp()),
            "text": text,
        } | more
        kind = "edited_message" if "edit_date" in more else "message"
        return self.reception.receive(json.dumps({"update_id": update_id, kind: message}).encode(), arrived or at)

    def presses(
        self,
        data: str,
        update_id: int = 2,
        at: datetime = NOW,
        user_id: int = USER,
        message_at: datetime | None = NOW - DAY,
    ) -> Receipt:
        query = {
            "id": "c",
            "from": {"id": user_id, "is_bot": False, "first_name": "Ada", "language_code": "en"},
            "message": {
                "message_id": 9,
                "chat": {"id": user_id, "type": "private"},
                "date": int(message_at.timestamp()) if message_at else 0,
            },
            "data": data,
        }
        body = json.dumps({"update_id": update_id, "callback_query": query}).encode()
        return self.reception.receive(body, at)


# --- presses ---


@pytest.mark.parametrize("button", Button)
def test_a_press_of_ours_is_obeyed_and_kept_as_what_it_is(button: Button) -> None:
    """R90, R91, R96: never as something that they did by themselves."""
    ref = {"ty": "re", "tn": "re"}.get(button.value, REF if button in "gnts" else "")
    desk = Desk()
    receipt = desk.presses(SIGNER.data(button, USER, ref))

    ((press, at),) = desk.word.presses
    assert (press.button, at, receipt.outcome) == (button, NOW, Outcome.STORED)
    (kept,) = desk.table.interactions.values()
    assert kept.control is receipt.control is press.control
    assert not by_themselves(kept)
    about = Exposure(OutreachType.RE_ENGAGEMENT, NOW - DAY)
    assert kept.about == (about if ref == REF else None)


@pytest.mark.parametrize(
    "data",
    [
        SIGNER.data(Button.CONSENT_YES, USER + 1),
        Signer(BOT + 1, lambda: "key").data(Button.STOP_ALL, USER, REF),
        Signer(BOT, lambda: "another").data(Button.FORGET_YES, USER),
        SIGNER.data(Button.FORGET_YES, USER)[:-1] + "-",
        "rk1:fy::AAAAAAAAAAAA",
        "outreach:stop",
        "learning:yes",
    ],
    ids=["another-users", "another-bots", "another-keys", "flipped", "made-up", "of-the-days-before", "old-learning"],
)
def test_what_looks_like_ours_and_proves_nothing_has_no_effect_and_a_kind_answer(data: str) -> None:
    """R96: nothing is obeyed; it is kept as refused, which is no activity."""
    desk = Desk()
    receipt = desk.presses(data)

    assert desk.word.presses == []
    assert receipt.reply == {
        "method": "answerCallbackQuery",
        "callback_query_id": "c",
        "text": TEXTS["button_old"]["en"],
    }
    assert [one.control for one in desk.table.interactions.values()] == [Control.REFUSED]


@pytest.mark.parametrize("data", ["consent:yes", "", "next_page:2", "rk2:cy::AAAAAAAAAAAA"])
def test_a_foreign_press_is_left_to_whose_it_is(data: str) -> None:
    """R96: the bot's own buttons are something that a user did by themselves; we answer nothing."""
    desk = Desk()
    receipt = desk.presses(data)

    assert (desk.word.presses, receipt.reply, receipt.control) == ([], None, None)
    assert all(map(by_themselves, desk.table.interactions.values()))


def test_a_press_that_is_delivered_again_keeps_its_first_time() -> None:
    """R95: or a redelivery would pass for a newer answer."""
    desk, data = Desk(), SIGNER.data(Button.CONSENT_YES, USER)
    desk.presses(data)
    again = desk.presses(data, at=NOW + 100 * SECOND)
    late = desk.presses(data, at=NOW + BUTTON_LIFETIME + SECOND)

    assert again.outcome is late.outcome is Outcome.DUPLICATE
    assert [at for _, at in desk.word.presses] == [NOW, NOW, NOW]
    assert again.reply
    assert late.reply is None, "Telegram takes no answer any more"


def test_a_press_beyond_the_flood_limit_is_obeyed_all_the_same() -> None:
    desk = Desk(limit=1)
    for number in range(3):
        desk.presses(SIGNER.data(Button.STOP_ALL, USER, REF), update_id=number)

    assert len(desk.word.presses) == 3
    assert len(desk.table.interactions) == 1


def test_after_the_erasure_a_late_press_brings_nobody_back() -> None:
    """R99: Telegram dates no press, but its message: what is under one of the old life is not stored nor obeyed."""
    desk = Desk(Table(erased=NOW))
    forget = desk.presses(SIGNER.data(Button.FORGET_YES, USER), at=NOW + SECOND)
    other = desk.presses(SIGNER.data(Button.CONSENT_YES, USER), at=NOW + timedelta(hours=23))
    undated = desk.presses(SIGNER.data(Button.CONSENT_YES, USER), at=NOW + DAY, message_at=None)
    foreign = desk.presses("next_page:2", at=NOW + SECOND)

    assert (forget.outcome, forget.reason) == (other.outcome, other.reason) == (Outcome.IGNORED, "erased")
    assert (desk.table.interactions, desk.word.presses) == ({}, [])
    assert forget.reply
    assert forget.reply["text"] == TEXTS["forgotten"]["en"]
    for old in (other, undated):
        assert old.reply
        assert old.reply["text"] == TEXTS["button_old"]["en"]
    assert foreign.reply is None
    desk.presses(SIGNER.data(Button.CONSENT_YES, USER), at=NOW + 9 * SECOND, message_at=NOW + SECOND)
    assert len(desk.word.presses) == 1, "who comes back later begins anew"


@pytest.mark.parametrize("button", Button)
def test_under_a_message_of_the_old_life_only_a_no_is_obeyed(button: Button) -> None:
    """R99: and only for somebody who is back; nothing is stored of it."""
    ref = {"ty": "re", "tn": "re"}.get(button.value, REF if button in "gnts" else "")
    back, gone = Desk(Table(profile(), erased=NOW)), Desk(Table(None, erased=NOW))
    for desk in (back, gone):
        assert desk.presses(SIGNER.data(button, USER, ref), at=NOW + DAY).reply
        assert desk.table.interactions == {}
    assert [press.button for press, _ in back.word.presses] == [button] * (button in NO)
    assert gone.word.presses == []


def test_a_message_of_before_the_erasure_that_comes_late_brings_nobody_back() -> None:
    """R99: a redelivery 23 hours later."""
    desk = Desk(Table(erased=NOW))
    old = desk.says("/start", at=NOW - SECOND, arrived=NOW + timedelta(hours=23))
    assert (old.outcome, old.reason, desk.word.commands, desk.table.interactions) == (
        Outcome.IGNORED,
        "erased",
        [],
        {},
    )
    assert desk.says("hello", at=NOW + SECOND, arrived=NOW + timedelta(hours=1)).outcome is Outcome.STORED


# --- messages ---


@pytest.mark.parametrize("command", sorted(OWN_COMMANDS))
def test_a_command_of_ours_is_obeyed_and_no_activity(command: str) -> None:
    """R90."""
    desk = Desk()
    receipt = desk.says(f"/{command}")

    assert desk.word.commands == [command]
    assert receipt.control is Control.COMMAND
    assert [one.control for one in desk.table.interactions.values()] == [Control.COMMAND]


@pytest.mark.parametrize("text", ["/weather", "/stop_loss", "/stopping", "stop by the shop", "hello"])
def test_whatever_else_is_said_is_theirs(text: str) -> None:
    """R90, R93."""
    desk = Desk(Table(profile()))
    receipt = desk.says(text)

    assert (desk.word.commands, receipt.reply, receipt.control) == ([], None, None)
    assert all(map(by_themselves, desk.table.interactions.values()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_for_stop_is_asked_back_with_one_button(language: str) -> None:
    """R93: in every language, never ignored, and never an activity."""
    phrase = STOP[language].split(", ")[0]
    for text in (phrase, phrase.upper() + "!!", f"{phrase} 🙏"):
        desk = Desk(Table(profile()))
        receipt = desk.says(text)
        assert receipt.control is Control.STOP_WORD
        assert receipt.reply
        ((button,),) = receipt.reply["reply_markup"]["inline_keyboard"]
        press = SIGNER.read(button["callback_data"], USER)
        assert press
        assert press.button is Button.WRITE_OFF
        assert desk.word.commands == []


def test_stop_within_a_message_is_asked_back() -> None:
    """R93: as Telegram marks it."""
    desk = Desk(Table(profile()))
    entity = {"type": "bot_command", "offset": 7, "length": 5}
    receipt = desk.says("please /stop", entities=[entity])
    assert (receipt.control, desk.word.commands) == (Control.STOP_WORD, [])
    assert receipt.reply
    assert receipt.reply["text"] == TEXTS["stop_asked"]["en"]


@pytest.mark.parametrize("text", ["/start", "/forget", "/settings"])
def test_an_edit_into_a_command_is_none(text: str) -> None:
    desk = Desk(Table(profile()))
    receipt = desk.says(text, edit_date=int(NOW.timestamp()))
    assert (desk.word.commands, receipt.reply) == ([], None)


def test_an_edit_into_stop_is_one() -> None:
    """R93: however it was said."""
    desk = Desk(Table(profile()))
    desk.says("/stop", edit_date=int(NOW.timestamp()))
    assert desk.word.commands == ["stop"]
    receipt = desk.says("unsubscribe", update_id=2, edit_date=int(NOW.timestamp()))
    assert receipt.reply
    assert receipt.reply["text"] == TEXTS["stop_asked"]["en"]


@pytest.mark.parametrize("text", ["/unsubscribe", "/stop_all", "/stopp"])
def test_another_bots_word_for_stop_is_asked_back_too(text: str) -> None:
    """R93: as a command that is none of ours."""
    receipt = Desk(Table(profile())).says(text, entities=[{"type": "bot_command", "offset": 0, "length": len(text)}])
    assert receipt.control is Control.STOP_WORD
    assert receipt.reply


def test_nobody_is_asked_back_whom_nothing_is_sent_to() -> None:
    """R93: "stop" may mean the bot's own dialogue; where there is nothing to end, nothing is asked."""
    for user in (None, profile(opted_out=True), profile(consent=Consent.UNASKED), profile(consent=Consent.DECLINED)):
        receipt = Desk(Table(user)).says("stop")
        assert (receipt.control, receipt.reply, receipt.outcome) == (Control.STOP_WORD, None, Outcome.STORED)


# --- what is sensitive ---


@pytest.mark.parametrize(
    ("user", "basis", "kept"),
    [
        (None, SensitiveBasis.CONSENT, False),
        (profile(consent=Consent.UNASKED), SensitiveBasis.CONSENT, False),
        (profile(), SensitiveBasis.CONSENT, True),
        (profile(opted_out=True), SensitiveBasis.CONSENT, False),
        (None, SensitiveBasis.OPERATOR, True),
        (profile(opted_out=True), SensitiveBasis.OPERATOR, True),
    ],
)
def test_mood_and_private_topics_are_stored_only_where_they_may_be(
    user: Profile | None, basis: SensitiveBasis, kept: bool
) -> None:
    """R102: without them an interaction is counted all the same."""
    desk = Desk(Table(user), basis=basis)
    assert desk.says("I hate this, I am sick, and the music is terrible").outcome is Outcome.STORED

    (one,) = desk.table.interactions.values()
    assert ("health" in one.topics, one.sentiment is not None) == (kept, kept)
    assert "music" in one.topics


# --- what a person must look at ---


@pytest.mark.parametrize("operator", [OPERATOR, 0])
@pytest.mark.parametrize("text", ["I want to kill myself", "ich will nicht mehr leben", "quiero morir"])
def test_words_of_crisis_go_to_a_person_and_get_no_answer_of_a_machine(text: str, operator: int) -> None:
    """R103: kept, and forwarded where the operator has a chat; nothing is sent for a month."""
    desk = Desk(operator=operator)
    receipt = desk.says(text)

    assert receipt.handed_over is AttentionReason.CRISIS
    assert desk.table.crises == [NOW]
    assert desk.table.attentions == [
        Attention(user_id=USER, update_id=1, reason=AttentionReason.CRISIS, noticed_at=NOW)
    ]
    forward = {"method": "forwardMessage", "chat_id": OPERATOR, "from_chat_id": USER, "message_id": 55}
    assert receipt.reply == (forward if operator else None)
    assert receipt.outcome is Outcome.STORED


def sent_support(**changes: Any) -> Outreach:
    outreach = Outreach(
        bot_id=BOT,
        user_id=USER,
        campaign=SUPPORT.campaign,
        period=SUPPORT.period,
        outreach_type=OutreachType.MOOD_SUPPORT,
        state=OutreachState.SENT,
        priority=1.0,
        trigger="mood_declining",
        template="mood_support.listening",
        planned_at=NOW - DAY,
        due_at=NOW - DAY,
        expires_at=NOW + DAY,
        exposed_at=SUPPORT.exposed_at,
    )
    return replace(outreach, **changes)


@pytest.mark.parametrize(
    ("outreach", "at", "handed_over"),
    [
        (sent_support(), NOW, True),
        (sent_support(state=OutreachState.UNKNOWN), NOW, True),
        (sent_support(state=OutreachState.RESPONDED, returned_at=NOW), NOW, True),
        (sent_support(state=OutreachState.RESPONDED, returned_at=NOW - SECOND), NOW, False),
        (sent_support(state=OutreachState.HELD_OUT), NOW, False),
        (sent_support(state=OutreachState.FAILED), NOW, False),
        (sent_support(), NOW + DAY, False),
        (sent_support(), SUPPORT.exposed_at, False),
        (None, NOW, False),
    ],
    ids=["answer", "may-be-out", "delivered-again", "second", "held-out", "failed", "a-day-later", "before", "off"],
)
def test_the_first_answer_to_support_goes_to_a_person(
    outreach: Outreach | None, at: datetime, handed_over: bool
) -> None:
    """R103: whatever it says; never lost."""
    desk = Desk(Table(profile(awaiting=(SUPPORT,))), outreach=outreach, operator=OPERATOR)
    receipt = desk.says("not a good day", at=at)

    assert (receipt.handed_over is AttentionReason.SUPPORT_ANSWERED) is handed_over
    assert len(desk.table.attentions) == handed_over
    assert desk.table.crises == []


def test_the_offer_under_support_calls_a_person() -> None:
    """R103: whoever presses "I'd like to talk" is answered by somebody."""
    desk = Desk(Table(profile(awaiting=(SUPPORT,))), outreach=sent_support(), operator=OPERATOR)
    ref = exposure_ref(OutreachType.MOOD_SUPPORT, SUPPORT.exposed_at)
    receipt = desk.presses(SIGNER.data(Button.GO, USER, ref))

    assert receipt.handed_over is AttentionReason.SUPPORT_ANSWERED
    assert [one.noticed_at for one in desk.table.attentions] == [NOW]
    assert desk.presses(SIGNER.data(Button.GO, USER, REF), update_id=3).handed_over is None


def test_a_command_or_press_answers_no_support() -> None:
    """R90: /stop under it is a stop."""
    desk = Desk(Table(profile(awaiting=(SUPPORT,))), outreach=sent_support(), operator=OPERATOR)
    assert desk.says("/stop").handed_over is None
    assert desk.presses(SIGNER.data(Button.NOT_NOW, USER, REF)).handed_over is None
    assert desk.table.attentions == []


def test_words_of_crisis_beyond_the_flood_limit_reach_a_person_all_the_same() -> None:
    """R103: what is shed is counted and not stored, but never overlooked."""
    desk = Desk(operator=OPERATOR, limit=1)
    desk.says("hello", update_id=1)
    receipt = desk.says("I want to kill myself", update_id=2)

    assert receipt.handed_over is AttentionReason.CRISIS
    assert len(desk.table.attentions) == 1


def test_what_cannot_be_read_is_a_dead_letter() -> None:
    desk = Desk()
    receipt = desk.reception.receive(b"{", NOW)
    assert (receipt.outcome, receipt.reason, len(desk.table.letters)) == (Outcome.DEAD_LETTER, "not_json", 1)
