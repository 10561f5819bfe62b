"""The deployed stack reaches out: milestones, mood, control groups, buttons, what came of it, what operators see."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from engagement.domain.callbacks import Button
from engagement.domain.interaction import Exposure
from engagement.domain.milestones import METRICS, Milestone
from engagement.domain.outcomes import SETTLE_AFTER, Outcomes
from engagement.domain.outreach import Arm, OutreachState, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.pattern_bytes import decode
from engagement.domain.preferences import DISTANCE, Dismissal, TypeChoice
from engagement.domain.profile import Awaiting
from engagement.domain.templates import BUTTONS
from engagement.services.milestones import MilestoneSeeder
from engagement.store import keys
from engagement.store.milestones import Milestones
from engagement.store.statistics import Statistics
from engagement.store.table import AwardItem, OutreachItem, PatternItem, ProfileItem, bind
from infra.cli import main, milestones, templates
from infra.config import DeploymentConfig
from infra.local import emulator
from infra.local.suite import BOT_ID, LocalSuite
from tests.e2e.conftest import data_of

OpenChat = Callable[..., Any]
Rekindle = Callable[..., str]
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
# Ahead of what the other files say by the clock on the wall: a running copy looks for new milestones as time goes on.
FIRST_DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + 2 * DAY
LAST_DAY = FIRST_DAY + 24 * DAY
ZONE = "Africa/Lagos"
"""An hour ahead of UTC, the whole year round."""
MORNING = 7 * HOUR
"""In UTC; when quiet hours end in Lagos."""

FIVE, EIGHT = (
    Milestone(
        milestone_name=f"{name}_commands",
        display_name=f"{name.title()} commands & more",
        description="For commands.",
        metric_name="commands",
        target_value=target,
        metric_type=METRICS["commands"].metric_type,
        category="commands",
        difficulty_level=2,
    )
    for name, target in (("five", 5), ("eight", 8))
)


@pytest.fixture(scope="module", autouse=True)
def milestones_in_force(suite: LocalSuite) -> Iterator[None]:
    """Two milestones that nobody in the other files gets near, since the first day and until the last test.

    What another file has put into force is not any more.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.environment(suite.endpoint).items():
            patch.setenv(name, value)
        bind(suite.table_name)
        suite.wait_until_drained()
        seeder = MilestoneSeeder(BOT_ID, Milestones(BOT_ID), Statistics())
        for milestone in Milestones(BOT_ID).all():
            seeder.remove(milestone.milestone_name)
        for milestone in (FIVE, EIGHT):
            seeder.add(milestone, now=FIRST_DAY)
        yield
        for milestone in (FIVE, EIGHT):
            assert seeder.remove(milestone.milestone_name)


@pytest.fixture
def rekindle(suite: LocalSuite, rekindle: Rekindle, monkeypatch: pytest.MonkeyPatch) -> Rekindle:
    """Run a command at the suite's time."""

    class SuiteTime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return suite.clock.now().astimezone(tz)

    for module in (main, milestones, templates):
        monkeypatch.setattr(module, "datetime", SuiteTime)
    return rekindle


def profile(user_id: int) -> ProfileItem:
    return ProfileItem.get(keys.user(BOT_ID, user_id), keys.PROFILE, consistent_read=True)


def pattern(user_id: int) -> Pattern:
    return decode(PatternItem.get(keys.user(BOT_ID, user_id), keys.PATTERN, consistent_read=True).state)


def outreaches(user_id: int) -> list[OutreachItem]:
    partition = keys.user(BOT_ID, user_id)
    return list(OutreachItem.query(partition, OutreachItem.sk.startswith(keys.OUTREACH_PREFIX), consistent_read=True))


def awards(user_id: int) -> list[str]:
    partition = keys.user(BOT_ID, user_id)
    found = AwardItem.query(partition, AwardItem.sk.startswith(keys.AWARD_PREFIX), consistent_read=True)
    return [item.sk.removeprefix(keys.AWARD_PREFIX) for item in found]


def outcomes(item: OutreachItem) -> Outcomes:
    assert item.outcomes_json is not None
    return Outcomes.from_json(item.outcomes_json)


def agrees(person: Any, at: datetime) -> None:
    """Let somebody allow messages and set their zone; commands of ours are none of theirs."""
    person.consents(at)
    person.says(f"/timezone {ZONE}", at + MINUTE)


def reaches(person: Any, target: int, at: datetime) -> datetime:
    """Let somebody send so many commands; returns when the last came."""
    for number in range(target):
        person.says("/recipes", at + number * MINUTE)
    person.suite.wait_until_drained()
    return at + (target - 1) * MINUTE


def sends(suite: LocalSuite, at: datetime) -> None:
    suite.clock.set(at)
    suite.tick("outreach_sender", at)


def answered(person: Any, button: Button, below: Any, at: datetime) -> str:
    """Press a button and return the words that come back."""
    assert person.presses(data_of(below, button), below, at).status == 200
    call = person.suite.telegram.calls[-1]
    assert (call.method, call.status) == ("answerCallbackQuery", 200)
    return str(call.params["text"])


def labels(message: Any) -> dict[str, str]:
    """Return what is on the buttons below a message, by what they say."""
    rows = (message.reply_markup or {})["inline_keyboard"]
    return {button["callback_data"].split(":")[1]: button["text"] for row in rows for button in row}


def celebrated(suite: LocalSuite, person: Any, day: datetime) -> Any:
    """Let somebody reach the first milestone at noon and get what that brings; returns the message."""
    agrees(person, day + 11 * HOUR)
    reached_at = reaches(person, 5, day + 12 * HOUR)
    sends(suite, reached_at + MINUTE)
    (message,) = person.outreach()
    return message


# --- milestones ---


def test_a_milestone_is_awarded_once_and_congratulated_once_in_open_hours(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R60, R62, R57: however often its cause is delivered; at night it waits; the message has its four buttons."""
    # Given: somebody who agreed
    someone = chat("Ada <3 & co")
    agrees(someone, FIRST_DAY + 20 * HOUR)

    # When: they send their fifth command at eleven at night
    late = FIRST_DAY + 22 * HOUR
    update = someone.message("/recipes", late)
    reaches(someone, 4, late - HOUR)
    suite.wait_until_drained()
    assert not awards(someone.user_id)
    assert not outreaches(someone.user_id)
    someone.posts(update, late)
    suite.wait_until_drained()

    # Then: it is awarded and planned for the morning
    (planned,) = outreaches(someone.user_id)
    assert awards(someone.user_id) == [FIVE.milestone_name]
    assert planned.state == OutreachState.SCHEDULED
    assert planned.send_after == FIRST_DAY + DAY + MORNING
    assert planned.arm == Arm.TREATED

    # When: Telegram and the stream deliver again, more commands come, and the sender ticks through the night
    someone.posts(update, late)
    assert suite.invoke("pattern_updater", insertions(suite, someone.user_id)) == {"batchItemFailures": []}
    someone.says("/recipes", late + MINUTE)
    suite.wait_until_drained()
    for hour in (0, 4, 8):
        sends(suite, late + 2 * MINUTE + hour * HOUR)
    assert someone.outreach() == []
    for hour in (9, 10):
        sends(suite, late + hour * HOUR)
    suite.invoke("pattern_updater", insertions(suite, someone.user_id))
    sends(suite, late + 11 * HOUR)

    # Then: one award, one message
    (message,) = someone.outreach()
    assert "Ada <3 & co" in message.text
    assert FIVE.display_name in message.text
    assert message.date == int((late + 9 * HOUR).timestamp())
    assert labels(message) == {
        Button.GO: "Show my progress",
        Button.NOT_NOW: "Not now",
        Button.STOP_TYPE: BUTTONS["stop"]["en"],
        Button.STOP_ALL: BUTTONS["stop_all"]["en"],
    }
    assert "allow_paid_broadcast" not in message.params
    assert awards(someone.user_id) == [FIVE.milestone_name]
    (sent,) = outreaches(someone.user_id)
    assert (sent.state, sent.message_id) == (OutreachState.SENT, message.message_id)
    assert profile(someone.user_id).cap_count == 1


def insertions(suite: LocalSuite, user_id: int) -> dict[str, Any]:
    """Return everything a user ever said as the stream delivers it."""
    rows = suite.client("dynamodb").query(
        TableName=suite.table_name,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :interaction)",
        ExpressionAttributeValues={
            ":pk": {"S": keys.user(BOT_ID, user_id)},
            ":interaction": {"S": keys.INTERACTION_PREFIX},
        },
    )["Items"]
    records = [
        {
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": {name: row[name] for name in ("pk", "sk")},
                "NewImage": row,
                "SequenceNumber": str(number),
            },
        }
        for number, row in enumerate(rows, 1)
    ]
    return {"Records": records}


# --- control groups and outcomes ---


def test_whoever_is_in_the_control_group_is_recorded_and_charged_but_never_written_to(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R43: both arms go the same way, up to the message."""
    day = FIRST_DAY + 3 * DAY
    held, written = chat(control=True), chat()
    for person in (held, written):
        agrees(person, day + 11 * HOUR)
        reaches(person, 5, day + 12 * HOUR)
    now = day + 13 * HOUR

    for minute in range(3):
        sends(suite, now + minute * MINUTE)

    assert held.outreach() == []
    assert len(written.outreach()) == 1
    (ghost,), (real,) = outreaches(held.user_id), outreaches(written.user_id)
    assert (ghost.state, real.state) == (OutreachState.HELD_OUT, OutreachState.SENT)
    assert ghost.in_control
    assert ghost.message_id is None
    assert not any(call.params.get("chat_id") == held.user_id for call in suite.telegram.calls if call.via == "http")
    assert ghost.first_of == real.first_of == {"all", "milestone_celebration"}
    for person, item in ((held, ghost), (written, real)):
        known, exposed_at = profile(person.user_id), item.exposed_at
        assert now <= exposed_at < now + MINUTE
        assert (known.cap_count, known.cap_day) == (1, f"{day:%Y-%m-%d}")
        assert 12 * HOUR <= known.next_ok_at - exposed_at < 12 * HOUR + MINUTE
        assert known.awaiting == {str(Awaiting(exposed_at, "milestone", FIVE.milestone_name))}
        assert awards(person.user_id) == [FIVE.milestone_name]


def test_answers_are_kept_settled_after_a_week_and_reported_by_group(
    suite: LocalSuite, rekindle: Rekindle, chat: OpenChat
) -> None:
    """An answer within a day responds to what was sent; after eight days both arms are added up; the counts hold."""
    # Given: one who was written to and answers, one who was not and writes anyway
    day = FIRST_DAY + 5 * DAY
    written, held = chat(), chat(control=True)
    for person in (written, held):
        agrees(person, day + 11 * HOUR)
        reaches(person, 5, day + 12 * HOUR)
    now = day + 13 * HOUR
    sends(suite, now)
    assert [outreaches(person.user_id)[0].state for person in (written, held)] == ["sent", "held_out"]

    # When: both write within a day, and again later
    for person in (written, held):
        person.says("That was great, thank you!", now + 3 * HOUR)
        person.says("That was great, thank you!", now + 2 * DAY)
    suite.wait_until_drained()

    # Then: the first of it counts, and only what was sent was responded to
    (sent,), (ghost,) = outreaches(written.user_id), outreaches(held.user_id)
    assert (sent.state, ghost.state) == (OutreachState.RESPONDED, OutreachState.HELD_OUT)
    assert sent.returned_at == ghost.returned_at == now + 3 * HOUR

    # When: a week and a day have passed
    suite.tick("housekeeper", now + SETTLE_AFTER - HOUR)
    assert outreaches(written.user_id)[0].settled_at is None
    (tidied,) = suite.tick("housekeeper", now + SETTLE_AFTER + HOUR)
    suite.tick("housekeeper", now + SETTLE_AFTER + 2 * HOUR)

    # Then: it is settled, once
    assert tidied["settled"] >= 2
    (sent,), (ghost,) = outreaches(written.user_id), outreaches(held.user_id)
    assert sent.settled_at == ghost.settled_at == now + SETTLE_AFTER + HOUR
    for item, responded in ((sent, True), (ghost, False)):
        found = outcomes(item)
        assert (found.returned_24h, found.returned_7d, found.responded) == (True, True, responded)
        assert found.mood_after is not None
        assert found.mood_after > 0
        assert found.blocked is found.opted_out is False
    assert not profile(written.user_id).awaiting
    assert not profile(held.user_id).awaiting

    # Then: the operator reads it, and the counters are what the items say
    report = rekindle("report")
    for words in ('experiment "first"', "written to", "held out", "came back in 7 days", "milestone celebration"):
        assert words in report
    assert "Not known yet whether messages bring anybody back." in report
    assert sent.template in report
    assert "counters are what the items say." in rekindle("reconcile")


# --- buttons ---


def test_the_buttons_below_a_message_do_what_they_say_in_the_readers_language(
    suite: LocalSuite, store: str, chat: OpenChat
) -> None:
    """R57, R62, R91, R92, R98: progress on demand; "not now" and both stops hold back what is earned afterwards.

    And none of the presses is activity, an answer or a return (R90).
    """
    day = FIRST_DAY + 15 * DAY
    people = [chat("Jürgen", language) for language in ("de", "de-AT", "de", "de")]
    curious, later, choosy, leaving = people
    messages = [celebrated(suite, person, day + number * HOUR) for number, person in enumerate(people)]
    at = day + 15 * HOUR

    for message in messages:
        assert "Jürgen" in message.text
        assert FIVE.display_name in message.text
        assert list(labels(message).values()) == [
            "Mein Fortschritt",
            "Jetzt nicht",
            BUTTONS["stop"]["de"],
            BUTTONS["stop_all"]["de"],
        ]
    shown = answered(curious, Button.GO, messages[0], at)
    put_off = answered(later, Button.NOT_NOW, messages[1], at)
    stopped = answered(choosy, Button.STOP_TYPE, messages[2], at)
    left = answered(leaving, Button.STOP_ALL, messages[3], at)

    assert EIGHT.display_name in shown
    assert "5 / 8" in shown
    celebration = OutreachType.MILESTONE_CELEBRATION
    assert f"Die nächsten {2 * DISTANCE[celebration].days} Tage" in put_off
    assert "dieser Art kommen nicht mehr" in stopped
    assert "schreibe dir nicht mehr" in left
    about = Exposure(celebration, outreaches(later.user_id)[0].exposed_at)
    assert profile(later.user_id).preferences == {str(Dismissal(about, at))}
    assert profile(choosy.user_id).preferences == {str(TypeChoice(celebration, at, off=True))}
    assert profile(leaving.user_id).opted_out
    for person in (curious, later, choosy):
        assert not profile(person.user_id).opted_out

    # Then: each press is kept as what it is, and is no activity
    suite.wait_until_drained()
    for person, pressed in ((curious, "opened"), (later, "not_now"), (choosy, "stopped"), (leaving, "stopped")):
        (sent,) = outreaches(person.user_id)
        assert (sent.state, sent.returned_at) == (OutreachState.SENT, None)
        assert getattr(sent, f"{pressed}_at") == at
        assert pattern(person.user_id).total == 5

    # When: all four reach the next milestone the day after
    for person in people:
        reaches(person, 3, day + DAY + 12 * HOUR)
    sends(suite, day + DAY + 13 * HOUR)

    # Then: all four have it, and one of them is told
    assert [len(person.outreach()) for person in people] == [2, 1, 1, 1]
    assert EIGHT.display_name in curious.outreach()[1].text
    for person in people:
        assert sorted(awards(person.user_id)) == [EIGHT.milestone_name, FIVE.milestone_name]
    for person in (later, choosy, leaving):
        assert len(outreaches(person.user_id)) == 1


# --- mood ---

OPERATOR = 99
HELPLINE = "Samaritans 116 123"


@pytest.fixture
def operator_who_answers(suite: LocalSuite) -> Iterator[None]:
    """What deploying with `mood_support=answered` changes, and nothing else of the stack."""
    functions = suite.client("lambda")
    chosen = DeploymentConfig(bot_id=BOT_ID, mood_support="answered", operator_chat_id=OPERATOR)
    support = {"MOOD_SUPPORT": chosen.mood_support}
    changes = {
        "PatternUpdater": support,
        "Scorer": support,
        "OutreachSender": support | {"HELPLINES": f"en={HELPLINE}"},
        "Webhook": {"OUTREACH_TYPES": chosen.outreach_types, "OPERATOR_CHAT_ID": str(OPERATOR)},
    }
    before = {}
    for name, changed in changes.items():
        function = suite.outputs[f"{name}FunctionName"]
        before[function] = functions.get_function_configuration(FunctionName=function)["Environment"]
        assert changed.keys() <= before[function]["Variables"].keys()
        variables = before[function]["Variables"] | changed
        functions.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    yield
    suite.wait_until_drained()
    for function, environment in before.items():
        functions.update_function_configuration(FunctionName=function, Environment=environment)


def test_a_mood_that_turns_down_brings_support_at_once_and_in_open_hours(
    suite: LocalSuite, store: str, chat: OpenChat, operator_who_answers: None
) -> None:
    """R38, R103: planned with the interaction that showed it, sent in the morning, and never cheerful.

    It names who can be called, and what is answered to it goes to the operator.
    """
    # Given: weeks of glad days
    someone = chat()
    first = FIRST_DAY + 2 * HOUR
    agrees(someone, first)
    for day in range(20):
        for minute in (10, 20):
            someone.says("I love this, thank you, it is wonderful!", first + day * DAY + minute * MINUTE)
    night = FIRST_DAY + 20 * DAY + 22 * HOUR
    someone.says("This is bad.", night)
    suite.wait_until_drained()
    assert outreaches(someone.user_id) == []

    # When: clearly unhappy messages, late at night
    said_at = night
    while not outreaches(someone.user_id):
        said_at += MINUTE
        assert said_at < night + 15 * MINUTE
        someone.says("I feel terrible and sad, everything is awful and I hate it.", said_at)
        suite.wait_until_drained()

    # Then: support is planned with the message that made it clear, for the next open hour
    (planned,) = outreaches(someone.user_id)
    assert planned.outreach_type == OutreachType.MOOD_SUPPORT
    assert planned.trigger == "mood_declining"
    assert planned.planned_at == said_at
    assert planned.send_after == FIRST_DAY + 21 * DAY + MORNING
    sends(suite, night + HOUR)
    assert someone.outreach() == []
    sends(suite, FIRST_DAY + 21 * DAY + MORNING)
    (message,) = someone.outreach()
    assert "!" not in message.text
    assert HELPLINE in message.text
    assert labels(message)[Button.GO] == "I'd like to talk"
    assert outreaches(someone.user_id)[0].state == OutreachState.SENT
    said = answered(someone, Button.GO, message, FIRST_DAY + 21 * DAY + MORNING + MINUTE)
    assert said == "I am here. Take your time, and write whatever you like."
    posted = someone.says("It is all a bit much.", FIRST_DAY + 21 * DAY + MORNING + 5 * MINUTE)
    assert (posted.status, posted.method) == (200, "forwardMessage")
    (forwarded,) = suite.telegram.received_by(OPERATOR)
    assert "It is all a bit much." in forwarded.text


# --- what operators choose ---


def test_operators_try_their_own_texts_before_users_get_them(
    suite: LocalSuite, rekindle: Rekindle, chat: OpenChat
) -> None:
    """From adding to removing; a test message is the message, and is counted nowhere."""
    me = chat("Grace <hopper>")
    me.says("hello", FIRST_DAY + 22 * DAY)
    name = "feature_suggestion.mine"

    added = rekindle(
        *("templates", "add", "feature_suggestion", "mine", "Hello {name}! Have you <b>tried</b> {feature}?"),
        *("--translation", "de=Hallo {name}! Schon <b>probiert</b>: {feature}?"),
    )
    try:
        listed = rekindle("templates", "list", "feature_suggestion")
        shown = rekindle("templates", "preview", name, "--first-name", "Grace <hopper>")
        german = rekindle("templates", "preview", name, "--language", "de", "--value", "feature=Schach")
        sent = rekindle(
            *("templates", "send-test", name, "--chat-id", str(me.user_id)), *("--first-name", "Grace <hopper>")
        )
    finally:
        removed = rekindle("templates", "remove", name)

    assert f"{name}: added; see it: rekindle templates preview {name}" in added
    assert next(line for line in listed.splitlines() if name in line).split("│")[2:4] == [" you       ", " de, en    "]
    assert "Hello Grace <hopper>! Have you tried voice messages?" in shown
    assert "[ Tell me more ]" in shown
    assert "Hallo Ada! Schon probiert: Schach?" in german
    assert f"[ {BUTTONS['stop_all']['de']} ]" in german
    (message,) = me.outreach()
    assert message.text == "Hello Grace <hopper>! Have you tried voice messages?"
    assert Button.STOP_ALL in labels(message)
    assert f"Sent to {me.user_id} as message {message.message_id}." in sent
    assert outreaches(me.user_id) == []
    assert f"{name}: removed." in removed
    assert name not in rekindle("templates", "list")


def test_a_milestone_put_into_force_later_congratulates_nobody_for_the_past(
    suite: LocalSuite, rekindle: Rekindle, chat: OpenChat
) -> None:
    """R62: who had reached it gets it without a message; the operator reads what was awarded, and takes it back."""
    someone = chat()
    agrees(someone, LAST_DAY + 8 * HOUR)
    for minute in range(3):
        someone.says("hello", LAST_DAY + 9 * HOUR + minute * MINUTE)
    suite.wait_until_drained()

    added = rekindle(
        *("milestones", "add", "three_greetings", "--display-name", "Three greetings", "--description", "For three."),
        *("--metric", "greetings", "--target", "3", "--category", "greetings", "--difficulty", "1", "--points", "50"),
    )
    try:
        someone.says("what a day", LAST_DAY + 10 * HOUR)
        suite.wait_until_drained()
        listed, counted = rekindle("milestones", "list"), rekindle("milestones", "stats")
    finally:
        removed = rekindle("milestones", "remove", "three_greetings")

    assert awards(someone.user_id) == ["three_greetings"]
    assert not outreaches(someone.user_id)
    assert "Three greetings is in force: greetings from 3 on." in added
    for words in ("is shown as", "three_greetings (own)", FIVE.display_name, "difficulty", "points", "since"):
        assert words in listed
    assert "3 milestones in force" in counted
    assert next(line for line in counted.splitlines() if "three_greetings" in line).split("│")[2].strip() == "1"
    assert "three_greetings is no longer awarded." in removed
    assert "three_greetings" not in rekindle("milestones", "list")
