"""What users say is understood, kept, obeyed, and answered: the webhook's wiring over a real table (R92-R103)."""

import itertools
import json
import random
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from engagement.clients import secrets
from engagement.clients.telegram import TelegramClient
from engagement.domain.answers import Answer, Question, Said
from engagement.domain.attention import Attention, AttentionReason
from engagement.domain.callbacks import PREFIX, Button, Signer, exposure_ref
from engagement.domain.interaction import Control, Interaction
from engagement.domain.outreach import OutreachKey, OutreachState, OutreachType
from engagement.domain.preferences import TypeChoice
from engagement.domain.profile import Awaiting, Consent, Profile
from engagement.domain.replies import TEXTS, say, wording, words_of
from engagement.services.exporting import DataDesk, Exporter
from engagement.services.reception import Outcome, Receipt
from engagement.settings import WebhookSettings
from engagement.store import keys
from engagement.store.answers import Answers
from engagement.store.attentions import Attentions
from engagement.store.exports import Exports
from engagement.store.interactions import Interactions
from engagement.store.outreaches import Outreaches
from engagement.store.pauses import Pauses
from engagement.store.profiles import Profiles
from engagement.store.requests import Requests
from engagement.store.table import Item, OutreachItem, ProfileItem, RequestItem, keyed
from functions.webhook.wiring import reception_of
from infra.local.telegram import bot_api, outcomes, updates
from infra.local.telegram.server import FakeTelegram
from infra.local.telegram.updates import Person
from tests.builders import WEBHOOK

BOT, OPERATOR = 123456, 99
TOKEN = f"{BOT}:" + "W" * 35
KEY, KEY_PARAMETER = "a-key-of-these-tests", "/rekindle/test/callback-key"
T0 = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ADA, EVE = Person(7_000_000_001, "Ada"), Person(7_000_000_002, "Eve")
SIGNER = Signer(BOT, lambda: KEY)
SETTINGS = replace(
    WEBHOOK,
    flood_limit_per_minute=10_000,
    outreach_types="re_engagement,personalized_checkin,mood_support,topic_follow_up",
)
RE, CHECKIN = OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN

Update = dict[str, Any]


@dataclass
class Talk:
    """People who talk to the webhook, wired as it is deployed."""

    settings: WebhookSettings = SETTINGS
    numbers: Iterator[int] = field(default_factory=partial(itertools.count, 1))

    def __post_init__(self) -> None:
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        self.reception = reception_of(self.settings)

    def posts(self, update: Update, at: datetime) -> Receipt:
        return self.reception.receive(json.dumps(update).encode(), at)

    def says(self, text: str, at: datetime, person: Person = ADA, *, marked: bool = True) -> Receipt:
        """Send a message that arrives at once; `marked` lets Telegram mark the command that it begins with."""
        update = self.message(text, at, person)
        if not marked:
            update["message"].pop("entities", None)
        return self.posts(update, at)

    def message(self, text: str, at: datetime, person: Person = ADA) -> Update:
        number = next(self.numbers)
        return updates.message(number, person, text, date=int(at.timestamp()), message_id=number)

    def presses(self, data: str, at: datetime, person: Person = ADA, *, message_id: int = 5) -> Receipt:
        return self.posts(self.press(data, at, person, message_id=message_id), at)

    def press(self, data: str, at: datetime, person: Person = ADA, *, message_id: int = 5) -> Update:
        date = int((at - MINUTE).timestamp())
        return updates.callback(next(self.numbers), person, data, date=date, message_id=message_id, bot_id=BOT)


@pytest.fixture
def talk(table: str) -> Iterator[Talk]:
    secrets.forget()
    secrets._provider().set(KEY_PARAMETER, KEY, parameter_type="SecureString", overwrite=True)
    yield Talk()
    secrets.forget()


def profile_of(person: Person = ADA) -> Profile | None:
    return Profiles().get(BOT, person.user_id)


def known(person: Person = ADA) -> Profile:
    profile = profile_of(person)
    assert profile is not None
    return profile


def answers_of(person: Person = ADA) -> tuple[Answer, ...]:
    return Answers().of_user(BOT, person.user_id)


def items_of(person: Person = ADA, but: str = "") -> dict[str, Any]:
    """Everything that is kept of somebody, by sort key, without the kind that is named."""
    found = Item.query(keys.user(BOT, person.user_id), consistent_read=True)
    return {item.sk: item.serialize() for item in found if not but or not item.sk.startswith(but)}


def interaction_of(update: Update) -> Interaction:
    found = Interactions(1).get(BOT, ADA.user_id, update["update_id"])
    assert found is not None
    return found


def buttons_in(reply: dict[str, Any] | None) -> dict[Button, str]:
    """What the buttons of a reply send back, by what they say to Ada."""
    assert reply is not None
    found = {}
    for button in itertools.chain(*reply["reply_markup"]["inline_keyboard"]):
        press = SIGNER.read(button["callback_data"], ADA.user_id)
        assert press is not None
        found[press.button] = button["callback_data"]
    return found


def data(button: Button, person: Person = ADA, ref: str = "") -> str:
    return SIGNER.data(button, person.user_id, ref)


# --- R93: /stop as people type it, and other words for it ---

SPELLINGS = (
    "/stop",
    "/STOP",
    "/Stop",
    "/stop.",
    "/STOP!",
    "/stop!!!",
    "/stop?",
    "/stop 🙏",
    "/stop@rekindle_example_bot",
    "/STOP@Rekindle_Example_Bot!",
    "/stop, please",
    "/stop\nnow",
    "\u200b/stop",
    "/st\u200bop",
    "/stop\u200d.",
    " \u2060/stop…",
    "／stop",
    "/sto\u00adp;",
)


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("text", SPELLINGS)
def test_stop_is_obeyed_however_it_is_typed(talk: Talk, text: str, marked: bool) -> None:
    """R93: case, punctuation, emoji, invisible characters, @bot; whether Telegram marks it as a command or not."""
    assert len(SPELLINGS) >= 14
    talk.presses(data(Button.CONSENT_YES), T0)

    receipt = talk.says(text, T0 + MINUTE, marked=marked)

    assert known().opted_out
    assert receipt.reply is not None
    assert receipt.reply["text"] == TEXTS["stopped"]["en"]
    assert receipt.control is Control.COMMAND


@pytest.mark.parametrize("text", ["/stopwatch", "/stop_timer", "/unstop", "nonstop", "bus stop", "/sto p"])
def test_what_is_no_stop_stops_nothing(talk: Talk, text: str) -> None:
    """R93: a command of the bot's own that begins alike is the bot's own business."""
    talk.presses(data(Button.CONSENT_YES), T0)

    receipt = talk.says(text, T0 + MINUTE)

    assert (receipt.reply, receipt.control, known().opted_out) == (None, None, False)


WORDS = {
    "en": "Unsubscribe!",
    "es": "¡Ya basta!",
    "pt": "Não me escreva mais",
    "ru": "Стоп!!",
    "de": "Hör auf, bitte.",
    "fr": "Arrête de m’écrire !",
    "id": "berhenti dong",
    "tr": "Bana yazma 🙏",
    "ar": "توقف",
    "hi": "बंद करो।",
}


@pytest.mark.parametrize("language", TEXTS["stop_asked"])
def test_a_word_for_stop_is_asked_back_with_one_button_that_means_it(talk: Talk, language: str) -> None:
    """R93: nothing happens by the word alone, and it is never ignored; it is no activity either (R90)."""
    person = Person(ADA.user_id, "Ada", language)
    talk.presses(data(Button.CONSENT_YES), T0, person)
    update = talk.message(WORDS[language], T0 + MINUTE, person)

    receipt = talk.posts(update, T0 + MINUTE)

    assert receipt.reply is not None
    assert receipt.reply["text"] == TEXTS["stop_asked"][language]
    assert (list(buttons_in(receipt.reply)), known().opted_out) == ([Button.WRITE_OFF], False)
    assert interaction_of(update).control is Control.STOP_WORD
    pressed = talk.presses(buttons_in(receipt.reply)[Button.WRITE_OFF], T0 + 2 * MINUTE, person)
    assert pressed.reply is not None
    assert (pressed.reply["text"], known().opted_out) == (TEXTS["stopped"][language], True)


# --- R94: an opt-out ends by an explicit yes only ---


@pytest.mark.parametrize("policy", ["ask", "assume"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_no_start_lifts_a_stop_in_any_order(talk: Talk, policy: str, order: tuple[int, ...]) -> None:
    """R94: /stop, then /start with and without a payload, as they may arrive; then the one button that does."""
    talk.configure(consent_policy=policy)
    talk.presses(data(Button.CONSENT_YES), T0 - HOUR)
    said = [
        talk.message(text, T0 + number * SECOND)
        for number, text in enumerate(("/stop", "/start", "/start promo-7", "/start@rekindle_example_bot x"))
    ]

    for index in (*order, *order):  # each is delivered twice
        receipt = talk.posts(said[index], T0 + 10 * SECOND)

    assert known().opted_out
    # Whichever came last is answered with the stop in force.
    assert receipt.reply is not None
    quiet = TEXTS["stopped"]["en"] if order[-1] == 0 else f"{say('hello', 'en', name=', Ada')} {TEXTS['quiet']['en']}"
    assert receipt.reply["text"] == quiet
    (yes,) = buttons_in(receipt.reply)
    assert yes is Button.CONSENT_YES

    noted = talk.presses(buttons_in(receipt.reply)[yes], T0 + MINUTE)
    assert noted.reply is not None
    assert noted.reply["text"] == TEXTS["consent_yes"]["en"]
    assert (known().opted_out, known().consent) == (False, Consent.GRANTED)


def test_a_yes_of_before_a_stop_does_not_lift_it_either(talk: Talk) -> None:
    """R94: an explicit yes, after it; in one and the same second the stop holds (R95)."""
    yes = talk.press(data(Button.CONSENT_YES), T0)
    talk.says("/stop", T0 + MINUTE)

    talk.posts(yes, T0)
    assert known().opted_out
    talk.posts(talk.press(data(Button.CONSENT_YES), T0 + MINUTE), T0 + MINUTE)
    assert known().opted_out
    talk.says("/stop", T0 + 2 * MINUTE)
    talk.posts(talk.press(data(Button.CONSENT_YES), T0 + 2 * MINUTE + SECOND), T0 + 2 * MINUTE + SECOND)
    assert not known().opted_out


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1), (0, 1, 0)])
def test_a_yes_pressed_before_a_stop_that_arrives_after_it_lifts_nothing(talk: Talk, order: tuple[int, ...]) -> None:
    """R94: a press is dated by its arrival, which may be hours late; Telegram's numbers tell which was first."""
    yes, stop = talk.press(data(Button.CONSENT_YES), T0), talk.message("/stop", T0 + MINUTE)
    for number in order:
        talk.posts((yes, stop)[number], T0 + timedelta(hours=2))
    assert known().opted_out

    talk.presses(data(Button.CONSENT_YES), T0 + timedelta(hours=3))
    assert not known().opted_out


# --- R95: histories of answers ---

KINDS = ("yes", "no", "stop", "learn", "learn not", "reword", "reword not", "on", "off")


def answer(user_id: int, kind: str, at: datetime) -> None:
    """Write an answer as `services.users_word` does."""
    profiles = Profiles()
    match kind:
        case "yes":
            profiles.record_consent(BOT, user_id, Consent.GRANTED, at)
            profiles.opt_in(BOT, user_id, at)
        case "no":
            profiles.record_consent(BOT, user_id, Consent.DECLINED, at)
        case "stop":
            profiles.opt_out(BOT, user_id, at)
        case "learn" | "learn not":
            profiles.record_consent_ml(BOT, user_id, granted=kind == "learn", at=at)
        case "reword" | "reword not":
            profiles.record_consent_llm(BOT, user_id, granted=kind == "reword", at=at)
        case _:
            profiles.prefer(BOT, user_id, TypeChoice(CHECKIN, at, off=kind == "off"), at)


def newest(history: list[tuple[str, datetime]], yes: str, no: str) -> str | None:
    """The reference: the newest of the two answers; of one second, no."""
    found = [(at, kind == no, kind) for kind, at in history if kind in (yes, no)]
    return max(found)[2] if found else None


def expected(history: list[tuple[str, datetime]]) -> tuple[object, ...]:
    consent = {"yes": Consent.GRANTED, "no": Consent.DECLINED, None: Consent.UNASKED}[newest(history, "yes", "no")]
    return (
        consent,
        newest(history, "yes", "stop") == "stop",
        newest(history, "learn", "learn not") == "learn",
        newest(history, "reword", "reword not") == "reword",
        newest(history, "on", "off") == "off",
    )


def test_a_thousand_histories_of_answers_end_in_one_profile_each(table: str) -> None:
    """R95: yes, no and stop, and the other consents, in any order and some of them twice; the same second included."""
    rng, contrary = random.Random(95), 0
    for number in range(1_000):
        kinds = rng.choice((KINDS[:3], KINDS[3:5], KINDS[5:7], KINDS[7:], KINDS))
        history = [(rng.choice(kinds), T0 + rng.randrange(3) * SECOND) for _ in range(rng.randrange(2, 6))]
        deliveries = history + rng.choices(history, k=rng.randrange(3))
        rng.shuffle(deliveries)
        user_id = 1_000 + number

        for kind, at in deliveries:
            answer(user_id, kind, at)

        found = Profiles().get(BOT, user_id)
        assert found is not None
        holds = (found.consent, found.opted_out, found.consent_ml, found.consent_llm, found.preferences.is_off(CHECKIN))
        assert holds == expected(history), (history, deliveries)
        contrary += len(set(history)) > len({at for _, at in history})
    assert contrary > 300, "contrary answers of one second are among them"


# --- R96: only presses under our own messages count ---

STOP_REF = exposure_ref(RE, T0)
OURS = data(Button.STOP_ALL, ref=STOP_REF)
LIKE_OURS = {
    "another user's": data(Button.STOP_ALL, EVE, STOP_REF),
    "another bot's": Signer(BOT + 1, lambda: KEY).data(Button.STOP_ALL, ADA.user_id, STOP_REF),
    "of another key": Signer(BOT, lambda: "another key").data(Button.STOP_ALL, ADA.user_id, STOP_REF),
    "no digest": f"{PREFIX}:s:{STOP_REF}:",
    "a made-up digest": f"{PREFIX}:s:{STOP_REF}:AAAAAAAAAAAA",
    "the digest of another button": f"{PREFIX}:s:{STOP_REF}:{data(Button.GO, ref=STOP_REF).rpartition(':')[2]}",
    "the digest of another message": f"{PREFIX}:s:{exposure_ref(RE, T0 + DAY)}:{OURS.rpartition(':')[2]}",
    "cut short": OURS[:-1],
    "longer": OURS + "A",
    "in capitals": f"{PREFIX}:{OURS[4:].upper()}",
    "of an unknown button": f"{PREFIX}:zz:{STOP_REF}:{OURS.rpartition(':')[2]}",
    "of no known type": data(Button.STOP_ALL, ref="xx1795338000"),
    "of no time": data(Button.STOP_ALL, ref="re"),
    "before data were signed": "outreach:stop",
    "another of these": "learning:no",
}
FOREIGN = {
    "any bot's": "consent:no",
    "the bot's own": "menu:2",
    "the longest": "x" * 64,
    "empty": "",
    "prefixed": f" {OURS}",
    "a later format": f"rk2:s:{STOP_REF}:AAAAAAAAAAAA",
    "half a character": "\ud83d",
    "hostile": "' OR 1=1 --",
}


@pytest.mark.parametrize("case", LIKE_OURS)
def test_what_only_looks_like_ours_changes_nothing_and_is_answered_kindly(talk: Talk, case: str) -> None:
    """R96: forged, foreign, another user's, as a forwarded message shows them, and data of the days before."""
    talk.presses(data(Button.CONSENT_BOTH), T0)
    before = items_of(but=keys.INTERACTION_PREFIX)
    assert known().consent is Consent.GRANTED
    update = talk.press(LIKE_OURS[case], T0 + MINUTE)

    receipt = talk.posts(update, T0 + MINUTE)

    assert receipt.reply == {
        "method": "answerCallbackQuery",
        "callback_query_id": update["callback_query"]["id"],
        "text": TEXTS["button_old"]["en"],
    }
    assert items_of(but=keys.INTERACTION_PREFIX) == before
    assert profile_of(EVE) is None
    assert (interaction_of(update).control, interaction_of(update).about) == (Control.REFUSED, None)


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_ours_at_all_is_the_bots_own_business(talk: Talk, case: str) -> None:
    """R96: no answer, which would take the host bot's own away, and no effect; to us it is something they did."""
    talk.presses(data(Button.CONSENT_BOTH), T0)
    before = items_of(but=keys.INTERACTION_PREFIX)
    update = talk.press(FOREIGN[case], T0 + MINUTE)

    receipt = talk.posts(update, T0 + MINUTE)

    assert (receipt.outcome, receipt.reply) == (Outcome.STORED, None)
    assert items_of(but=keys.INTERACTION_PREFIX) == before
    assert interaction_of(update).control is None


def test_a_stranger_who_presses_what_is_not_theirs_leaves_no_profile(talk: Talk) -> None:
    """R96: a message that Ada forwarded, or showed in a screenshot, works for Ada alone."""
    for button in Button:
        ref = STOP_REF if button in (Button.GO, Button.NOT_NOW, Button.STOP_TYPE, Button.STOP_ALL) else "re"
        talk.presses(data(button, ADA, ref), T0, EVE)

    assert profile_of(EVE) is None
    assert profile_of(ADA) is None
    assert items_of(ADA) == {}
    assert {sk.partition("#")[0] for sk in items_of(EVE)} == {"INT"}


# --- R97: each answer is kept with where it came from ---


def test_each_answer_is_kept_with_its_source_and_the_wording_that_asked(talk: Talk) -> None:
    """R97: once, however often it is delivered; the operator can show what somebody agreed to."""
    asked = buttons_in(talk.says("/start", T0).reply)
    yes = talk.press(asked[Button.CONSENT_BOTH], T0 + MINUTE)
    for _ in range(3):
        talk.posts(yes, T0 + MINUTE)
    talk.presses(data(Button.STOP_TYPE, ref=exposure_ref(RE, T0)), T0 + 2 * MINUTE)
    talk.says("/stop", T0 + 3 * MINUTE)
    talk.presses(data(Button.STOP_ALL, ref=exposure_ref(CHECKIN, T0)), T0 + 4 * MINUTE)

    the_question = wording("ask", "en")
    assert words_of(the_question) == TEXTS["ask"]["en"]
    assert answers_of() == (
        Answer(
            question=Question.LEARN,
            said=Said.YES,
            answered_at=T0 + MINUTE,
            source="button:cb",
            wording=the_question,
        ),
        Answer(
            question=Question.WRITE,
            said=Said.YES,
            answered_at=T0 + MINUTE,
            source="button:cb",
            wording=the_question,
        ),
        Answer(
            question="type:re_engagement",
            said=Said.NO,
            answered_at=T0 + 2 * MINUTE,
            source="button:t#re_engagement",
        ),
        Answer(question=Question.WRITE, said=Said.STOP, answered_at=T0 + 3 * MINUTE, source="command:/stop"),
        Answer(
            question=Question.WRITE,
            said=Said.STOP,
            answered_at=T0 + 4 * MINUTE,
            source="button:s#personalized_checkin",
        ),
    )


# --- R98: /settings ---


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram(TOKEN, bot_api=bot_api.find(), now=lambda: int(T0.timestamp())) as running:
        yield running


def execute(telegram: FakeTelegram, reply: dict[str, Any] | None) -> Any:
    """Let Telegram execute a method of the webhook's response; return its result."""
    assert reply is not None
    params = {name: value for name, value in reply.items() if name != "method"}
    request = urllib.request.Request(
        f"{telegram.url}/bot{TOKEN}/{reply['method']}",
        json.dumps(params).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answered:
        return json.load(answered)["result"]


def test_settings_shows_what_is_on_and_edits_its_own_message(talk: Talk, telegram: FakeTelegram) -> None:
    """R98: one message, whose lines change as they are tapped, and the profile with them."""
    talk.configure(ai_message_enhancement="bedrock")
    talk.presses(data(Button.CONSENT_YES), T0)
    message_id = execute(telegram, talk.says("/settings", T0 + MINUTE).reply)["message_id"]
    clock = itertools.count(2)

    def lines() -> dict[str, bool]:
        """What the one message shows, by the words behind the mark."""
        (bubble,) = telegram.chat(ADA.user_id)
        marked = [label for row in bubble.buttons for label in row]
        assert all(label[0] in "✅❌" for label in marked)
        return {label[2:]: label[0] == "✅" for label in marked}

    def tap(words: str) -> dict[str, bool]:
        (message,) = telegram.received_by(ADA.user_id)
        rows = (message.reply_markup or {})["inline_keyboard"]
        (button,) = [one for row in rows for one in row if one["text"][2:] == words]
        receipt = talk.presses(button["callback_data"], T0 + next(clock) * MINUTE, message_id=message_id)
        assert receipt.reply is not None
        assert (receipt.reply["method"], receipt.reply["message_id"]) == ("editMessageText", message_id)
        execute(telegram, receipt.reply)
        return lines()

    write, learn, reword, returning, checkin, support, topic = (
        TEXTS[key]["en"]
        for key in (
            *("set_write", "set_learn", "set_reword"),
            *(f"type_{kind}" for kind in ("re_engagement", "personalized_checkin", "mood_support", "topic_follow_up")),
        )
    )
    types = {returning: True, checkin: True, support: True, topic: True}
    assert lines() == {write: True, **types, learn: False, reword: False}

    assert tap(checkin) == {write: True, **types, checkin: False, learn: False, reword: False}
    assert known().preferences.is_off(CHECKIN)
    assert not known().preferences.is_off(RE)
    assert tap(learn)[learn]
    assert known().consent_ml
    assert tap(reword)[reword]
    assert known().consent_llm
    # Off is off: the lines of the types are gone, since nothing of them comes.
    assert tap(write) == {write: False, learn: True, reword: True}
    assert known().opted_out
    assert tap(write) == {write: True, **types, checkin: False, learn: True, reword: True}
    assert not known().opted_out
    assert tap(checkin)[checkin]
    assert not known().preferences.is_off(CHECKIN)
    assert len(telegram.received_by(ADA.user_id)) == 1
    assert telegram.problems == []


# --- R92: "not now" ---


def test_each_not_now_doubles_the_distance_and_says_how_long(talk: Talk) -> None:
    """R92: a week becomes 14 days, 28, 56 and never more than 90; the same press, or the same message, adds nothing."""
    at, told = T0, []
    for number in range(5):
        update = talk.press(data(Button.NOT_NOW, ref=exposure_ref(CHECKIN, T0 + number * DAY)), at)
        for _ in range(2):
            receipt = talk.posts(update, at)
        again = talk.presses(data(Button.NOT_NOW, ref=exposure_ref(CHECKIN, T0 + number * DAY)), at + MINUTE)
        assert receipt.reply is not None
        assert again.reply is not None
        told.append(receipt.reply["text"])
        assert known().preferences.held_until(CHECKIN) == at + timedelta(days=min(14 * 2**number, 90))
        at += 20 * DAY

    assert told == [say("later", "en", days=str(days)) for days in (14, 28, 56, 90, 90)]
    assert known().preferences.held_until(RE) is None
    assert not known().opted_out


def test_a_year_later_not_now_is_forgotten(talk: Talk) -> None:
    """R92: whoever pressed it long ago is asked as seldom as anybody who presses it for the first time."""
    talk.presses(data(Button.NOT_NOW, ref=exposure_ref(CHECKIN, T0)), T0)
    later = T0 + 366 * DAY

    receipt = talk.presses(data(Button.NOT_NOW, ref=exposure_ref(CHECKIN, later)), later)

    assert receipt.reply is not None
    assert receipt.reply["text"] == say("later", "en", days="14")


# --- R102: what is sensitive is kept with consent only ---

SAD = "I feel so sad, I hate being ill and in debt, but I love pizza"


def test_mood_and_private_topics_are_kept_after_consent_and_not_after_a_stop(talk: Talk) -> None:
    """R102: before it an interaction is counted without them; what is harmless is kept all along."""

    def kept(at: datetime) -> tuple[bool, bool, bool]:
        update = talk.message(SAD, at)
        assert talk.posts(update, at).outcome is Outcome.STORED
        found = interaction_of(update)
        assert (found.sentiment is None) == (found.sentiment_type == "unknown")
        return found.sentiment is not None, "health" in found.topics, "food" in found.topics

    assert kept(T0) == (False, False, True)
    talk.says("/start", T0 + MINUTE)
    assert kept(T0 + 2 * MINUTE) == (False, False, True)
    talk.presses(data(Button.LEARNING_YES), T0 + 3 * MINUTE)  # is about something else
    assert kept(T0 + 4 * MINUTE) == (False, False, True)
    talk.presses(data(Button.CONSENT_YES), T0 + 5 * MINUTE)
    assert kept(T0 + 6 * MINUTE) == (True, True, True)
    talk.says("/stop", T0 + 7 * MINUTE)
    assert kept(T0 + 8 * MINUTE) == (False, False, True)
    talk.presses(data(Button.CONSENT_YES), T0 + 9 * MINUTE)
    talk.presses(data(Button.CONSENT_NO), T0 + 10 * MINUTE)
    assert kept(T0 + 11 * MINUTE) == (False, False, True)


@pytest.mark.parametrize("policy", ["ask", "assume"])
def test_an_operator_with_another_basis_keeps_it_of_everybody(talk: Talk, policy: str) -> None:
    """R102: that is a setting of its own; being allowed to write by assumption is not consent."""
    talk.configure(consent_policy=policy)
    before = talk.message(SAD, T0)
    talk.posts(before, T0)
    talk.configure(sensitive_basis="operator")
    after = talk.message(SAD, T0 + MINUTE)
    talk.posts(after, T0 + MINUTE)
    talk.says("/stop", T0 + 2 * MINUTE)
    stopped = talk.message(SAD, T0 + 3 * MINUTE)
    talk.posts(stopped, T0 + 3 * MINUTE)

    assert [interaction_of(update).sentiment is None for update in (before, after, stopped)] == [True, False, False]
    assert [("health" in interaction_of(update).topics) for update in (before, after, stopped)] == [False, True, True]


# --- R103: a person looks at it ---

CRY = "I want to kill myself"


def test_words_of_crisis_go_to_the_operator_and_get_no_automated_reply(talk: Talk) -> None:
    """R103: kept for a person, forwarded in the response, and nothing of ours comes for a month."""
    talk.configure(operator_chat_id=OPERATOR)
    talk.presses(data(Button.CONSENT_YES), T0)
    update = talk.message(CRY, T0 + MINUTE)

    receipts = [talk.posts(update, T0 + MINUTE) for _ in range(2)]

    forward = {
        "method": "forwardMessage",
        "chat_id": OPERATOR,
        "from_chat_id": ADA.user_id,
        "message_id": update["message"]["message_id"],
    }
    assert [receipt.reply for receipt in receipts] == [forward, forward]
    assert {receipt.handed_over for receipt in receipts} == {AttentionReason.CRISIS}
    attention = Attention(
        user_id=ADA.user_id,
        update_id=update["update_id"],
        reason=AttentionReason.CRISIS,
        noticed_at=T0 + MINUTE,
    )
    assert Attentions().waiting(T0 + HOUR) == [attention]
    assert known().crisis_at == T0 + MINUTE
    assert CRY not in json.dumps(items_of())

    assert Attentions().done(BOT, attention)
    assert not Attentions().done(BOT, attention)
    assert Attentions().waiting(T0 + HOUR) == []


def test_a_cry_is_kept_for_a_person_of_whoever_it_is_and_wherever_it_can_be_forwarded_to(talk: Talk) -> None:
    """R103: without a chat of the operator's, of somebody who never agreed to anything, and in an edit."""
    first = talk.says(CRY, T0)
    assert (first.reply, first.handed_over) == (None, AttentionReason.CRISIS)
    assert (known().crisis_at, known().consent) == (T0, Consent.UNASKED)

    edited = updates.edited(
        talk.message("hm", T0), CRY, update_id=next(talk.numbers), edit_date=int(T0.timestamp()) + 5
    )
    assert talk.posts(edited, T0 + 5 * SECOND).handed_over is AttentionReason.CRISIS
    assert [one.reason for one in Attentions().waiting(T0 + HOUR)] == [AttentionReason.CRISIS] * 2
    assert known().crisis_at == T0 + 5 * SECOND


def exposed_to_support(state: OutreachState, at: datetime) -> OutreachKey:
    """Leave what the sender leaves of a message of support that is out, or was held out."""
    key = OutreachKey(BOT, ADA.user_id, "mood_support", "2026-W47")
    pk = keys.user(BOT, ADA.user_id)
    OutreachItem(
        pk,
        keys.outreach(key.campaign, key.period),
        outreach_type="mood_support",
        state=state,
        priority=0.9,
        trigger="mood_declining",
        template="mood_support.no_hurry",
        planned_at=at - HOUR,
        send_after=at,
        expires_at=at + DAY,
        exposed_at=at,
        expires_on=at + 365 * DAY,
    ).save()
    awaiting = Awaiting(at, key.campaign, key.period)
    keyed(ProfileItem, pk, keys.PROFILE).update(actions=[ProfileItem.awaiting.set({str(awaiting)})])
    return key


@pytest.mark.parametrize(
    ("state", "handed_over"),
    [
        (OutreachState.SENT, AttentionReason.SUPPORT_ANSWERED),
        (OutreachState.UNKNOWN, AttentionReason.SUPPORT_ANSWERED),
        (OutreachState.HELD_OUT, None),
    ],
)
def test_what_is_answered_to_support_is_handed_over_and_to_what_was_held_out_is_not(
    talk: Talk, state: OutreachState, handed_over: AttentionReason | None
) -> None:
    """R103: never lost; and whoever got nothing has answered nothing."""
    talk.configure(operator_chat_id=OPERATOR)
    talk.presses(data(Button.CONSENT_YES), T0 - DAY)
    exposed_to_support(state, T0)

    command = talk.says("/settings", T0 + MINUTE)
    receipt = talk.says("It is all a bit much.", T0 + 2 * MINUTE)

    assert command.handed_over is None
    assert receipt.handed_over is handed_over
    assert (receipt.reply is not None) == (handed_over is not None)
    waiting = [one.reason for one in Attentions().waiting(T0 + HOUR)]
    assert waiting == ([handed_over] if handed_over else [])


def test_only_the_first_answer_within_a_day_is_one_to_support(talk: Talk) -> None:
    """R103: what they write next is a conversation with the bot again, and the day after it was no answer."""
    talk.configure(operator_chat_id=OPERATOR)
    talk.presses(data(Button.CONSENT_YES), T0 - DAY)
    key = exposed_to_support(OutreachState.SENT, T0)

    assert talk.says("hello", T0 + DAY + SECOND).handed_over is None
    update = talk.message("It is all a bit much.", T0 + MINUTE)
    assert talk.posts(update, T0 + MINUTE).handed_over is AttentionReason.SUPPORT_ANSWERED
    Outreaches().answer(BOT, ADA.user_id, Awaiting(T0, key.campaign, key.period), T0 + MINUTE)
    assert talk.says("And pizza?", T0 + 3 * MINUTE).handed_over is None
    assert talk.posts(update, T0 + 4 * MINUTE).handed_over is AttentionReason.SUPPORT_ANSWERED  # a redelivery


# --- R100: their data ---


def text_of(receipt: Receipt) -> str:
    assert receipt.reply is not None
    return str(receipt.reply["text"])


def test_the_file_is_asked_for_once_an_hour(talk: Talk) -> None:
    """R100: the answer says what becomes of it, and a redelivery is not a second question."""
    talk.presses(data(Button.CONSENT_YES), T0)
    coming, soon = TEXTS["mydata_coming"]["en"], TEXTS["mydata_soon"]["en"]
    update = talk.message("/mydata", T0 + MINUTE)

    assert [text_of(talk.posts(update, T0 + MINUTE)) for _ in range(2)] == [coming, coming]
    assert text_of(talk.says("/mydata", T0 + 2 * MINUTE)) == soon
    assert text_of(talk.says("/mydata", T0 + HOUR)) == soon
    assert text_of(talk.says("/mydata", T0 + MINUTE + HOUR)) == coming


def test_whoever_only_said_start_is_not_told_that_nothing_is_kept(talk: Talk) -> None:
    """R100: everything held; their commands are, from the first one on."""
    talk.says("/start", T0)
    assert set(items_of()) == {"INT#1", "PROFILE"}

    assert text_of(talk.says("/mydata", T0 + MINUTE)) != TEXTS["mydata_none"]["en"]


@dataclass
class Desk:
    """The sender's desk, over the real stores and a Telegram of its own."""

    telegram: FakeTelegram
    connected: int = 0

    def serve(self, now: datetime, remaining: float = 300.0) -> int:
        def connect() -> TelegramClient:
            self.connected += 1
            return TelegramClient(TOKEN, self.telegram.url)

        desk = DataDesk(BOT, Requests(), Profiles(), Pauses(), Exporter(BOT, Exports()))
        return desk.serve(now, connect, lambda: remaining)


@pytest.fixture
def desk(telegram: FakeTelegram) -> Desk:
    return Desk(telegram)


def asked(talk: Talk, *people: Person) -> None:
    for person in people:
        talk.presses(data(Button.CONSENT_YES, person), T0, person)
        assert text_of(talk.says("/mydata", T0 + MINUTE, person)) == TEXTS["mydata_coming"]["en"]


def is_waiting(person: Person = ADA) -> bool:
    return RequestItem.get(keys.user(BOT, person.user_id), keys.REQUEST_MYDATA).due_shard is not None


def test_the_file_goes_to_the_users_own_chat_and_nowhere_else(talk: Talk, desk: Desk) -> None:
    """R100, R72: everything that is kept, once, to whoever asked."""
    talk.presses(data(Button.CONSENT_YES, EVE), T0, EVE)
    asked(talk, ADA)
    kept = set(items_of())

    assert [desk.serve(T0 + 2 * MINUTE), desk.serve(T0 + 3 * MINUTE)] == [1, 0]

    (message,) = desk.telegram.messages
    assert (message.chat_id, message.text) == (ADA.user_id, TEXTS["mydata_caption"]["en"])
    assert message.document is not None
    assert message.document.name == "mydata.json"
    file = json.loads(message.document.content)
    assert file["user_id"] == ADA.user_id
    assert {item["sk"] for item in file["items"]} == kept
    assert str(EVE.user_id) not in message.document.content.decode()
    assert any("you answered" in sentence for sentence in file["in_words"])
    assert not is_waiting()
    assert desk.telegram.problems == []


def test_a_429_pauses_the_desk_and_the_file_waits(talk: Talk, desk: Desk) -> None:
    """R100, R47: for all senders, as long as Telegram asks; nobody is forgotten meanwhile."""
    asked(talk, ADA, EVE)
    desk.telegram.script(outcomes.too_many_requests(70), method="sendDocument", times=1)
    now = T0 + 2 * MINUTE

    assert desk.serve(now) == 0
    assert desk.connected == 1, "the first refusal is for all"
    assert Pauses().until(BOT) == now + timedelta(seconds=70)
    assert is_waiting(ADA)
    assert is_waiting(EVE)
    assert desk.serve(now + MINUTE) == 0
    assert desk.connected == 1, "nobody asks during the pause"
    assert desk.serve(now + timedelta(seconds=70)) == 2
    assert {message.chat_id for message in desk.telegram.messages} == {ADA.user_id, EVE.user_id}


def test_the_request_of_somebody_who_blocked_the_bot_ends(talk: Talk, desk: Desk) -> None:
    """R100: it holds nobody up, and is not tried for ever."""
    asked(talk, ADA, EVE)
    desk.telegram.script(outcomes.BLOCKED, method="sendDocument", chat_id=ADA.user_id)

    assert desk.serve(T0 + 2 * MINUTE) == 1
    assert [message.chat_id for message in desk.telegram.messages] == [EVE.user_id]
    assert not is_waiting(ADA)
    assert desk.serve(T0 + 3 * MINUTE) == 0


def test_a_file_whose_fate_is_unclear_is_not_sent_twice(talk: Talk, desk: Desk) -> None:
    """R100, R51: it may be out; the user can ask again after an hour."""
    asked(talk, ADA)
    desk.telegram.script(outcomes.server_error(accepted=True), method="sendDocument", times=1)

    assert [desk.serve(T0 + minutes * MINUTE) for minutes in (2, 3, 4)] == [0, 0, 0]
    assert len(desk.telegram.messages) == 1
    assert text_of(talk.says("/mydata", T0 + 2 * HOUR)) == TEXTS["mydata_coming"]["en"]
    assert desk.serve(T0 + 2 * HOUR + MINUTE) == 1


def test_a_sender_about_to_be_killed_leaves_the_request_where_it_is(talk: Talk, desk: Desk) -> None:
    asked(talk, ADA)

    assert desk.serve(T0 + 2 * MINUTE, remaining=20.0) == 0
    assert desk.connected == 0
    assert desk.serve(T0 + 3 * MINUTE) == 1
