"""What the sender does with each of Telegram's answers, and with everything that can change while a message waits."""

import itertools
import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engagement.domain.callbacks import Button, Signer
from engagement.domain.delivery import Delivery
from engagement.domain.enhancement import Enhanced
from engagement.domain.gate import rollout_of
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import Arm, Commit, OutreachState, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.planning import Thresholds
from engagement.domain.preferences import Dismissal, TypeChoice
from engagement.domain.profile import Consent
from engagement.domain.scores import ChurnScores
from engagement.domain.tick import Tick
from engagement.errors import SecretUnavailableError, SettingsError
from engagement.services.outreach import ProactiveOutreachService
from engagement.services.sending import HTTP_SECONDS, MARGIN_SECONDS
from engagement.store import keys
from engagement.store.table import PatternItem, ProfileItem

S = OutreachState
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
Build = Callable[..., Delivery]


class Hooked:
    """A store with some of its methods replaced."""

    def __init__(self, store: Any, **methods: Any) -> None:
        self._store = store
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_due_message_is_sent_and_recorded(bot: Any) -> None:
    """R57, R96: HTML, with both stop buttons, signed data of at most 64 bytes each, and never a paid broadcast."""
    bot.user(7, first_name="Ada <3")
    key = bot.plan(7)
    report = bot.run()
    assert report.sent == 1
    (request,) = bot.telegram.requests
    assert (request.chat_id, request.parse_mode) == (7, "HTML")
    assert request.text.startswith("Hi Ada &lt;3!")
    buttons = [button["callback_data"] for row in request.reply_markup["inline_keyboard"] for button in row]
    presses = [bot.signer.read(data, 7) for data in buttons]
    assert [press and press.button for press in presses] == [
        Button.GO,
        Button.NOT_NOW,
        Button.STOP_TYPE,
        Button.STOP_ALL,
    ]
    assert {press.about for press in presses if press} == {Exposure(OutreachType.RE_ENGAGEMENT, bot.now)}
    assert [bot.signer.read(data, 8) for data in buttons] == [None] * 4
    assert all(1 <= len(data.encode()) <= 64 for data in buttons)
    stored = bot.stored(key)
    assert (stored.state, stored.message_id, stored.sent_at) == (S.SENT, 1_001, bot.now)
    assert bot.run(MINUTE).as_dict() == {
        "sent": 0,
        "enhanced": 0,
        "held_out": 0,
        "failed": {},
        "unknown": 0,
        "suppressed": {},
        "deferred": 0,
        "lost": 0,
        "throttled": 0,
        "stopped": None,
        "broken_templates": [],
    }


def test_what_is_not_due_yet_waits(bot: Any) -> None:
    bot.user(7)
    key = bot.plan(7, due_at=bot.now + MINUTE)
    assert bot.run().sent == 0
    assert bot.run(MINUTE).sent == 1
    assert bot.state(key) is S.SENT


def test_the_kill_switch_sends_nothing_and_ends_nothing(bot: Any) -> None:
    bot.user(7)
    key = bot.plan(7)
    report = bot.run(policy=replace(bot.policy, enabled=False))
    assert report.stopped == "off"
    assert bot.telegram.requests == []
    assert bot.state(key) is S.SCHEDULED


def test_a_run_under_way_keeps_the_next_one_out(bot: Any) -> None:
    bot.user(7)
    bot.plan(7)
    inner = []
    bot.telegram.before = lambda _: inner.append(bot.run())
    assert bot.run().sent == 1
    assert [report.stopped for report in inner] == ["lease_held"]
    assert bot.run(MINUTE).stopped is None, "the lease is given back"


def _unreadable() -> str:
    raise SecretUnavailableError("no such parameter")


@pytest.mark.parametrize("key", [_unreadable, str], ids=["unreadable", "empty"])
def test_without_the_key_of_the_buttons_nothing_is_begun(bot: Any, key: Callable[[], str]) -> None:
    """R96: a message without its "stop" is none; it is not claimed, and goes out once the key is there."""
    bot.user(7)
    outreach = bot.plan(7)
    with pytest.raises((SecretUnavailableError, SettingsError)):
        bot.run(signer=Signer(123456, key))
    assert bot.state(outreach) is S.SCHEDULED

    assert bot.run(MINUTE).sent == 1


def test_a_key_that_goes_away_within_a_run_costs_no_message(bot: Any) -> None:
    """R96: the buttons are made before the commit, after which a message counts as sent."""
    bot.user(7)
    outreach = bot.plan(7)
    answers = iter(["a-key"])
    with pytest.raises(SecretUnavailableError):
        bot.run(signer=Signer(123456, lambda: next(answers, None) or _unreadable()))
    assert (bot.state(outreach), bot.telegram.requests) == (S.CLAIMED, [])

    bot.sweep(timedelta(minutes=30))
    assert bot.run(timedelta(minutes=31)).sent == 1


def test_messages_of_another_bot_are_left_alone(bot: Any) -> None:
    bot.user(7)
    bot.plan(7)
    assert bot.run(bot_id=99).as_dict()["sent"] == 0
    assert bot.telegram.requests == []


# --- the gate at the moment of sending ---

REFUSALS = {
    "opted_out": {"opted_out": True},
    "blocked": {"blocked": True},
    "consent": {"consent": Consent.DECLINED.value},
    "min_gap": {"next_ok_at": timedelta(days=3)},
    "daily_cap": {"cap_day": "2026-11-24", "cap_count": 1},
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refused_message_is_suppressed_with_its_reason(bot: Any, reason: str) -> None:
    """R42: planned when it was allowed, refused when it is due."""
    bot.user(7, **{k: bot.now + v if isinstance(v, timedelta) else v for k, v in REFUSALS[reason].items()})
    key = bot.plan(7)
    report = bot.run()
    assert report.suppressed == {reason: 1}
    assert (bot.state(key), bot.stored(key).reason) == (S.SUPPRESSED, reason)
    assert bot.telegram.requests == []


def test_an_erased_user_is_not_written_to(bot: Any) -> None:
    """R42: no profile, no consent."""
    key = bot.plan(7)
    assert bot.run().suppressed == {"consent": 1}
    assert bot.state(key) is S.SUPPRESSED


def test_a_message_that_is_too_early_waits_for_its_time(bot: Any) -> None:
    bot.user(7, next_ok_at=bot.now + HOUR)
    key = bot.plan(7)
    assert bot.run().deferred == 1
    assert bot.stored(key).due_at == bot.now + HOUR
    assert bot.run(HOUR - MINUTE).as_dict()["sent"] == 0
    assert bot.run(HOUR).sent == 1


def test_the_cap_counts_the_users_own_days(bot: Any) -> None:
    """R51: noon UTC is 21 h in Tokyo; the next day there begins at 15 h UTC."""
    bot.policy = replace(bot.policy, min_gap=timedelta())
    bot.user(7, zone="Asia/Tokyo")
    bot.plan(7, "first")
    second = bot.plan(7, "second")
    report = bot.run()
    assert (report.sent, report.deferred) == (1, 1)
    assert bot.stored(second).due_at == bot.now + 3 * HOUR


def test_who_came_back_is_not_told_that_they_were_missed(bot: Any) -> None:
    """R42: not needed any more once the user wrote after it was planned."""
    bot.user(7)
    bot.seen(7, bot.now - MINUTE)
    key = bot.plan(7, planned_at=bot.now - HOUR)
    assert bot.run().suppressed == {"not_needed_any_more": 1}
    assert (bot.state(key), bot.stored(key).reason) == (S.CANCELLED, "not_needed_any_more")


def not_now(bot: Any) -> Dismissal:
    """Pressed an hour ago, under the message of the day before."""
    return Dismissal(Exposure(OutreachType.RE_ENGAGEMENT, bot.now - 24 * HOUR), bot.now - HOUR)


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (lambda bot: bot.profiles.opt_out(123456, 7, bot.now), "opted_out"),
        (lambda bot: bot.profiles.record_consent(123456, 7, Consent.DECLINED, bot.now), "consent"),
        (
            lambda bot: bot.profiles.prefer(
                123456, 7, TypeChoice(OutreachType.RE_ENGAGEMENT, bot.now, off=True), bot.now
            ),
            "type_stopped",
        ),
        (lambda bot: bot.profiles.prefer(123456, 7, not_now(bot), bot.now), "snoozed"),
        (lambda bot: bot.profiles.note_crisis(123456, 7, bot.now), "crisis"),
    ],
    ids=["stop", "no", "type-off", "not-now", "crisis"],
)
@pytest.mark.parametrize("when", ["before the tick", "between the gate and the commit"])
def test_what_a_user_says_in_time_holds_the_message_back_for_its_own_reason(
    bot: Any, say: Callable[[Any], object], reason: str, when: str
) -> None:
    """R52, R92, R98, R103: said before the run, or while it was at it: nothing is sent, and the reason says why."""
    bot.user(7)
    key = bot.plan(7)
    if when == "before the tick":
        say(bot)
        bot.run()
    else:
        said = []

        def commit(*args: Any, **kwargs: Any) -> Commit:
            if not said:
                said.append(say(bot))
            return bot.outreaches.commit(*args, **kwargs)

        service = ProactiveOutreachService(Hooked(bot.outreaches, commit=commit))
        service.deliver_due(Tick(bot.now, 0, 1), lambda: bot.remaining, bot.transport())
        assert said == [True]
    assert bot.telegram.requests == []
    if bot.state(key) is not S.SUPPRESSED:  # put back in line; asked again at its next turn
        bot.run(HOUR)
    assert (bot.state(key), bot.stored(key).reason) == (S.SUPPRESSED, reason)


def test_somebody_who_has_just_come_is_written_to_after_an_hour(bot: Any) -> None:
    """R104: however early it is due."""
    bot.user(7, created_at=bot.now - 59 * MINUTE)
    key = bot.plan(7)
    assert bot.run().sent == 0
    assert bot.state(key) is S.SCHEDULED
    assert bot.run(MINUTE).sent == 1


def test_support_names_whom_to_call_in_the_readers_language(bot: Any) -> None:
    """R103: as the operator configured it, escaped; and nothing is added for a reader of another language."""
    helplines = {"en": "Samaritans <116 123>"}
    policy = replace(bot.policy, rollout=rollout_of("100", "answered"))
    for user, language in ((7, "en-GB"), (8, "de")):
        bot.user(user, language_code=language)
        bot.plan(user, outreach_type=OutreachType.MOOD_SUPPORT, template="mood_support.no_hurry")
    assert bot.run(helplines=helplines, policy=policy).sent == 2
    texts = {request.chat_id: request.text for request in bot.telegram.requests}
    assert "Samaritans &lt;116 123&gt;" in texts[7]
    assert "Samaritans" not in texts[8]


def test_support_reaches_nobody_while_nobody_answers_it(bot: Any) -> None:
    """R103: also what was planned while somebody did."""
    bot.user(7)
    key = bot.plan(7, outreach_type=OutreachType.MOOD_SUPPORT, template="mood_support.no_hurry")
    assert bot.run(policy=replace(bot.policy, rollout=rollout_of("100", "off"))).sent == 0
    assert bot.stored(key).reason == "type_off"


def plan_suggestion(bot: Any) -> Any:
    return bot.plan(
        7,
        outreach_type=OutreachType.FEATURE_SUGGESTION,
        template="feature_suggestion.maybe_new",
        values={"feature": "/plan"},
    )


def test_a_message_that_is_no_question_of_absence_is_sent_all_the_same(bot: Any) -> None:
    bot.user(7)
    bot.seen(7, bot.now - MINUTE)
    plan_suggestion(bot)
    thresholds = Thresholds(re_engagement=0.8, checkin=0.6, features=("/plan",))
    assert bot.run(thresholds=thresholds).sent == 1


def test_a_suggestion_of_what_the_operator_does_not_name_any_more_is_not_sent(bot: Any) -> None:
    """No list may be false: the sender asks again what the planner was told."""
    bot.user(7)
    key = plan_suggestion(bot)
    thresholds = Thresholds(re_engagement=0.8, checkin=0.6, features=("/other",))
    assert bot.run(thresholds=thresholds).sent == 0
    assert bot.stored(key).reason == "not_needed_any_more"


@pytest.mark.parametrize("state", [None, b"\xff damaged"])
def test_without_a_readable_pattern_the_gate_still_decides(bot: Any, state: bytes | None) -> None:
    bot.user(7)
    if state is not None:
        PatternItem(keys.user(123456, 7), keys.PATTERN, state=state, version=1).save()
    bot.plan(7)
    assert bot.run().sent == 1


def test_a_withdrawn_template_fails_the_message_and_not_the_run(bot: Any) -> None:
    bot.user(7)
    bot.user(8)
    gone = bot.plan(7, template="re_engagement.withdrawn")
    bot.plan(8)
    report = bot.run()
    assert (report.sent, report.failed) == (1, {"no_template": 1})
    assert (bot.state(gone), bot.stored(gone).reason) == (S.FAILED, "no_template")
    assert bot.profile(7).cap_count == 0


def test_a_message_is_in_the_language_of_the_users_app(bot: Any) -> None:
    """The one that the profile has when it is sent."""
    bot.user(7, language_code="de")
    bot.plan(7)
    assert bot.run().sent == 1
    (request,) = bot.telegram.requests
    assert request.text.startswith("Hallo Ada! Es ist eine Weile her.")


def test_a_text_that_needs_what_the_outreach_does_not_say_fails_the_message_and_not_the_run(bot: Any) -> None:
    """R56: no reader sees an unfilled brace."""
    bot.user(7)
    bot.user(8)
    unsaid = bot.plan(7, outreach_type=OutreachType.TOPIC_FOLLOW_UP, template="topic_follow_up.came_up")
    bot.plan(8)
    report = bot.run()
    assert (report.sent, report.failed) == (1, {"missing_value": 1})
    assert (bot.state(unsaid), bot.stored(unsaid).reason) == (S.FAILED, "missing_value")


def test_after_an_outage_nothing_expired_is_sent_and_nothing_bursts(bot: Any) -> None:
    """R41: 24 h without a sender; 5 users with 3 messages each, of which 2 have expired."""
    for user in range(1, 6):
        bot.user(user)
        bot.plan(user, "old", expires_at=bot.now + 10 * HOUR)
        bot.plan(user, "older", expires_at=bot.now + 24 * HOUR)
        bot.plan(user, "valid", expires_at=bot.now + 48 * HOUR)
    report = bot.run(24 * HOUR)
    assert report.suppressed == {"expired": 10}
    assert report.sent == 5
    assert {request.chat_id for request in bot.telegram.requests} == set(range(1, 6))
    times = [request.at for request in bot.telegram.requests]
    assert len(times) == 5


@pytest.mark.parametrize(
    ("zone", "evening"),
    [
        ("Europe/Berlin", "2026-03-28 21:30+01:00"),
        ("Europe/Berlin", "2026-10-24 21:30+02:00"),
        ("America/New_York", "2026-03-07 21:30-05:00"),
        ("America/New_York", "2026-10-31 21:30-04:00"),
    ],
)
def test_twelve_hours_are_elapsed_time_across_a_change_of_clocks(bot: Any, zone: str, evening: str) -> None:
    """R39: as wall arithmetic it would be 13 h in two of these nights and 11 h in the others."""
    bot.now = datetime.fromisoformat(evening).astimezone(UTC)
    before, after = (at.astimezone(ZoneInfo(zone)).utcoffset() for at in (bot.now, bot.now + 12 * HOUR))
    assert before != after, "the clocks change in this night"
    bot.user(7, zone=zone)
    for campaign in ("evening", "morning"):
        bot.plan(7, campaign, expires_at=bot.now + 48 * HOUR)
    sent: list[timedelta] = []
    for after_evening in (0 * HOUR, 10 * HOUR, 11 * HOUR, 12 * HOUR - timedelta(seconds=1), 12 * HOUR, 13 * HOUR):
        sent += [after_evening] * bot.run(after_evening).sent
    assert sent == [timedelta(), timedelta(seconds=43_200)]


def test_a_message_that_comes_due_at_night_waits_for_the_morning_of_the_zone_they_set(bot: Any) -> None:
    """R38: 12:00 UTC is 21:00 in Tokyo; two hours later it is night there, until 23:00 UTC."""
    bot.policy = replace(bot.policy, quiet=(22, 8))
    bot.user(7, zone="Asia/Tokyo")
    key = bot.plan(7, due_at=bot.now + 2 * HOUR, expires_at=bot.now + 48 * HOUR)
    assert bot.run(2 * HOUR).deferred == 1
    assert bot.stored(key).due_at == bot.now + 11 * HOUR
    assert bot.run(11 * HOUR - MINUTE).sent == 0
    assert bot.run(11 * HOUR).sent == 1


def test_a_message_whose_morning_comes_too_late_is_suppressed(bot: Any) -> None:
    """R38: better not at all than at night."""
    bot.policy = replace(bot.policy, quiet=(22, 8))
    bot.user(7, zone="Asia/Tokyo")
    key = bot.plan(7, due_at=bot.now + 2 * HOUR, expires_at=bot.now + 6 * HOUR)
    assert bot.run(2 * HOUR).suppressed == {"quiet_hours": 1}
    assert (bot.state(key), bot.stored(key).reason) == (S.SUPPRESSED, "quiet_hours")


def test_whose_zone_is_unknown_is_written_to_in_hours_of_their_own(bot: Any) -> None:
    """R40: of whom nothing is known, 12 to 15 h UTC are safe; who keeps talking at 3 h is up at 3 h."""
    bot.policy = replace(bot.policy, quiet=(22, 8))
    night = bot.now.replace(hour=3) + 24 * HOUR
    for user in (7, 8):
        bot.user(user)
    bot.seen(8, *(night - day * 24 * HOUR for day in range(2, 6)))
    keys = [bot.plan(user, planned_at=bot.now, due_at=night, expires_at=night + 48 * HOUR) for user in (7, 8)]
    assert (report := bot.run(night - bot.now)).sent == 1
    assert report.deferred == 1
    assert bot.state(keys[1]) is S.SENT
    assert bot.stored(keys[0]).due_at == night.replace(hour=12)


# --- who is held out ---


def held(bot: Any, user: int, campaign: str = "re_engagement", **changes: Any) -> Any:
    return bot.plan(user, campaign, arm=Arm.HELD_OUT, in_control=True, experiment="first", **changes)


def test_who_is_held_out_gets_nothing_and_counts_as_if_they_had(bot: Any) -> None:
    """The same claim, gate and allowance; no request, no pace, and no share of the budget."""
    bot.policy = replace(bot.policy, budget=1)
    for user in (7, 8, 9):
        bot.user(user)
    ghosts = [held(bot, 7), held(bot, 8)]
    sent = bot.plan(9)
    report = bot.run()
    assert (report.held_out, report.sent, report.deferred) == (2, 1, 0)
    assert report.metrics()["OutreachHeldOut"] == 2
    assert [request.chat_id for request in bot.telegram.requests] == [9]
    assert {bot.state(key) for key in ghosts} == {S.HELD_OUT}
    for key in (*ghosts, sent):
        assert bot.profile(key.user_id).cap_count == 1
        assert bot.profile(key.user_id).next_ok_at == bot.now + 12 * HOUR
        assert bot.stored(key).exposed_at == bot.now
    assert bot.budgets.spent(bot.bot_id, "messages", bot.now.date()) == 1


@pytest.mark.parametrize("reason", REFUSALS)
def test_the_gate_refuses_both_arms_alike(bot: Any, reason: str) -> None:
    """R42."""
    for user in (7, 8):
        bot.user(user, **{k: bot.now + v if isinstance(v, timedelta) else v for k, v in REFUSALS[reason].items()})
    bot.plan(7)
    held(bot, 8)
    assert bot.run().suppressed == {reason: 2}


def test_both_arms_wait_for_the_same_time_and_fail_for_the_same_text(bot: Any) -> None:
    """What only one arm went through would look like an effect of the message."""
    for user in (7, 8):
        bot.user(user, next_ok_at=bot.now + HOUR)
    pairs = [bot.plan(7), held(bot, 8)]
    assert bot.run().deferred == 2
    assert {bot.stored(key).due_at for key in pairs} == {bot.now + HOUR}
    report = bot.run(HOUR)
    assert (report.sent, report.held_out) == (1, 1)
    for user in (17, 18):
        bot.user(user)
    bot.plan(17, template="re_engagement.withdrawn")
    held(bot, 18, template="re_engagement.withdrawn")
    assert bot.run(HOUR).failed == {"no_template": 2}


def test_a_message_that_was_held_out_keeps_the_next_one_off(bot: Any) -> None:
    """R51: delivered and held out together are never more than the cap."""
    bot.user(7)
    held(bot, 7, priority=0.9)
    later = bot.plan(7, "second", priority=0.1)
    report = bot.run()
    assert (report.held_out, report.deferred) == (1, 1)
    assert bot.stored(later).due_at == bot.now + 12 * HOUR


# --- several at once, and the budget ---


@pytest.mark.parametrize("first_planned", ["urgent", "idle"])
def test_of_several_due_the_most_important_gets_the_allowance(bot: Any, first_planned: str) -> None:
    bot.user(7)
    priorities = {"urgent": 0.9, "idle": 0.2, "other": 0.5}
    for number, campaign in enumerate(sorted(priorities, key=lambda name: name != first_planned)):
        bot.plan(7, campaign, priority=priorities[campaign], due_at=bot.now - HOUR + number * MINUTE)
    report = bot.run()
    assert (report.sent, report.deferred) == (1, 2)
    own = bot.outreaches.of_user(bot.bot_id, 7)
    assert [outreach.campaign for outreach in own if outreach.state is S.SENT] == ["urgent"]


def test_beyond_the_days_budget_messages_wait_for_tomorrow(bot: Any) -> None:
    """The gate says so as soon as somebody has looked; the commit refuses whom it let through."""
    bot.policy = replace(bot.policy, budget=3)
    planned = []
    for user in range(1, 8):
        bot.user(user)
        planned.append(bot.plan(user, expires_at=bot.now + 48 * HOUR))
    report = bot.run()
    assert (report.sent, report.deferred, len(bot.telegram.requests)) == (3, 4, 3)
    midnight = (bot.now + 24 * HOUR).replace(hour=0)
    waiting = [key for key in planned if bot.state(key) is S.SCHEDULED]
    assert {bot.stored(key).due_at for key in waiting} == {midnight}
    assert bot.run(midnight - bot.now - MINUTE).as_dict()["sent"] == 0
    assert bot.run(midnight - bot.now).sent == 3


def test_the_days_last_message_ends_the_budget_for_both_arms(bot: Any) -> None:
    """Held-out ones take nothing of it; but were they held out today and the others tomorrow, the arms would differ."""
    bot.policy = replace(bot.policy, budget=1)
    bot.user(1)
    bot.user(2)
    bot.plan(1, priority=0.9)
    held_out = bot.plan(2, arm=Arm.HELD_OUT, due_at=bot.now, expires_at=bot.now + 48 * HOUR)
    # Whichever partition of the index comes first: the held-out one is looked at after the message was sent.
    real_due = bot.outreaches.due
    bot.outreaches = Hooked(
        bot.outreaches,
        due=lambda partition, now, limit: (
            sorted((key for part in range(16) for key in real_due(part, now, limit)), key=lambda key: key.user_id)
            if partition == 0
            else []
        ),
    )
    report = bot.run()

    assert (report.sent, report.held_out, report.deferred) == (1, 0, 1)
    assert bot.stored(held_out).due_at == (bot.now + 24 * HOUR).replace(hour=0)


def test_a_budget_that_ends_too_late_for_a_message_suppresses_it(bot: Any) -> None:
    bot.policy = replace(bot.policy, budget=1)
    assert bot.budgets.take(bot.bot_id, "messages", bot.now.date(), 1)
    bot.user(7)
    key = bot.plan(7, expires_at=bot.now + 2 * HOUR)
    assert bot.run().suppressed == {"budget": 1}
    assert bot.stored(key).reason == "budget"


def test_a_budget_that_others_use_up_meanwhile_is_noticed_by_the_commit(bot: Any) -> None:
    bot.policy = replace(bot.policy, budget=1)
    bot.user(7)
    key = bot.plan(7)
    commit = bot.outreaches.commit
    take = partial(bot.budgets.take, bot.bot_id, "messages", bot.now.date(), 1)
    real, bot.outreaches = bot.outreaches, Hooked(bot.outreaches, commit=surrounded(commit, before=take))
    assert bot.run().deferred == 1
    bot.outreaches = real
    assert bot.telegram.requests == []
    assert bot.stored(key).due_at == (bot.now + 24 * HOUR).replace(hour=0)


# --- the text at the moment of sending ---


def test_who_is_not_likely_to_leave_any_more_is_not_asked_back(bot: Any) -> None:
    """R42: scored again, with the pattern as it is now."""
    asked: list[tuple[int, datetime]] = []

    def rescore(pattern: Pattern, at: datetime) -> ChurnScores:
        asked.append((pattern.total, at))
        return ChurnScores(0.5, 0.2 if pattern.total == 2 else 0.9, 0.5)

    for user in (7, 8):
        bot.user(user)
        bot.plan(user, trigger="churn_14d_high")
    bot.seen(7, bot.now - 30 * HOUR, bot.now - 28 * HOUR)
    bot.seen(8, bot.now - 30 * HOUR)
    report = bot.run(rescore=rescore)
    assert (report.sent, report.suppressed) == (1, {"not_needed_any_more": 1})
    assert [request.chat_id for request in bot.telegram.requests] == [8]
    assert {total for total, _ in asked} == {1, 2}
    assert {at for _, at in asked} == {bot.now}


def test_a_text_says_what_the_outreach_keeps(bot: Any) -> None:
    """R55: as escaped as a name."""
    bot.user(7)
    topic = OutreachType.TOPIC_FOLLOW_UP
    bot.plan(7, outreach_type=topic, template="topic_follow_up.came_up", values={"topic": "gardens <&> parks"})
    assert bot.run().sent == 1
    assert "gardens &lt;&amp;&gt; parks" in bot.telegram.requests[0].text


@dataclass
class Rewriter:
    """Rephrases as it is told to, and notes what it was asked."""

    answer: Enhanced | None
    clock: Any
    seconds: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, text: str, **told: Any) -> Enhanced | None:
        self.asked.append({"text": text, **told})
        self.clock.seconds += self.seconds
        return self.answer


def everybody_agrees(bot: Any) -> None:
    """Let every user allow that a language model rephrases what they get."""
    read = bot.profiles.get
    bot.profiles = Hooked(bot.profiles, get=lambda *who: replace(read(*who), consent_llm=True))


REPHRASED = Enhanced(text_html="Good to think of you, <b>Ada</b>.", by="openai/small")
AI = "re_engagement.open_door+ai"


def test_a_rephrased_text_is_sent_and_its_author_kept(bot: Any) -> None:
    bot.user(7, language_code="sv")
    everybody_agrees(bot)
    key = bot.plan(7, template=AI)
    rewriter = Rewriter(REPHRASED, bot.clock)
    report = bot.run(enhance=rewriter)
    assert (report.sent, report.enhanced) == (1, 1)
    assert report.metrics()["OutreachEnhanced"] == 1
    assert bot.telegram.requests[0].text == REPHRASED.text_html
    assert (bot.stored(key).template, bot.stored(key).enhanced) == (AI, "openai/small")
    (asked,) = rewriter.asked
    assert asked["text"].startswith("Hi Ada! It has been a little while.")
    # There is no Swedish text, so what is rephrased is English.
    assert (asked["first_name"], asked["language_code"], list(asked["values"])) == ("Ada", "en", [])
    assert asked["now"] == bot.now
    assert asked["remaining_seconds"] == bot.remaining
    assert bot.counted()[bot.now.date(), f"sent@{AI}"] == 1


NOT_REPHRASED = {
    # whether the user agreed, the template, whether the language model is asked
    "nobody agreed": (False, AI, False),
    "another variant": (True, "re_engagement.open_door", False),
    "it fails": (True, AI, True),
}


@pytest.mark.parametrize("why", NOT_REPHRASED)
def test_otherwise_the_template_is_sent_as_it_is(bot: Any, why: str) -> None:
    agreed, template, is_asked = NOT_REPHRASED[why]
    bot.user(7)
    key = bot.plan(7, template=template)
    if agreed:
        everybody_agrees(bot)
    rewriter = Rewriter(None if is_asked else REPHRASED, bot.clock)
    report = bot.run(enhance=rewriter)
    assert (report.sent, report.enhanced) == (1, 0)
    assert len(rewriter.asked) == is_asked
    assert bot.telegram.requests[0].text.startswith("Hi Ada! It has been a little while.")
    assert bot.stored(key).enhanced is None


def test_nobody_is_asked_to_rephrase_what_is_not_sent(bot: Any) -> None:
    bot.user(7)
    bot.user(8, opted_out=True)
    everybody_agrees(bot)
    held(bot, 7, template=AI)
    bot.plan(8, template=AI)
    rewriter = Rewriter(REPHRASED, bot.clock)
    report = bot.run(enhance=rewriter)
    assert (report.held_out, report.suppressed) == (1, {"opted_out": 1})
    assert rewriter.asked == []


def test_what_changes_while_a_text_is_rephrased_is_seen(bot: Any) -> None:
    """R38, R52: the gate is asked again afterwards; the model only once."""
    bot.policy = replace(bot.policy, quiet=(22, 8))
    bot.user(7, zone="Asia/Tokyo")
    everybody_agrees(bot)
    key = bot.plan(7, template=AI, due_at=bot.now + 59 * MINUTE, expires_at=bot.now + 48 * HOUR)
    rewriter = Rewriter(REPHRASED, bot.clock, seconds=120)
    assert bot.run(59 * MINUTE, enhance=rewriter).deferred == 1
    assert bot.telegram.requests == []
    assert bot.stored(key).due_at == bot.now + 11 * HOUR
    assert len(rewriter.asked) == 1


# --- Telegram's answers ---


def test_an_answer_that_never_came_is_never_asked_for_again(bot: Any, delivery: Build) -> None:
    """R44, R50: accepted, then silence; or a 5xx: unknown, terminal, and it counts."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("unknown", detail="read_timeout")]
    assert bot.run().unknown == 1
    assert (bot.state(key), bot.stored(key).reason) == (S.UNKNOWN, "read_timeout")
    assert bot.profile(7).cap_count == 1
    for hours in (1, 13, 40):
        bot.sweep(hours * HOUR)
        bot.run(hours * HOUR)
    assert len(bot.telegram.requests) == 1


def test_a_block_ends_the_message_and_marks_the_user(bot: Any, delivery: Build) -> None:
    """R48: a 403."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("blocked")]
    assert bot.run().failed == {"blocked": 1}
    assert (bot.state(key), bot.stored(key).reason) == (S.FAILED, "blocked")
    assert bot.profile(7).blocked


@pytest.mark.parametrize("unblocked_during_the_send", [True, False])
@pytest.mark.parametrize("later", [True, False])
def test_a_block_never_undoes_a_newer_unblock(
    bot: Any, delivery: Build, unblocked_during_the_send: bool, later: bool
) -> None:
    """R48: the 403 and the user's unblock in any order of arrival; the newer event decides."""
    bot.user(7)
    bot.plan(7)
    bot.telegram.script = [delivery("blocked")]
    unblocked_at = bot.now + (MINUTE if later else -MINUTE)

    def unblock(*_: object) -> None:
        bot.profiles.set_blocked(123456, 7, blocked=False, at=unblocked_at)

    if unblocked_during_the_send:
        bot.telegram.before = unblock
        bot.run()
        # The answer was given before the user's event came in, so the event stands, whatever its date.
        assert not bot.profile(7).blocked
    else:
        bot.run()
        unblock()
        assert bot.profile(7).blocked is not later


def test_an_unreachable_chat_fails_and_is_not_tried_again(bot: Any, delivery: Build) -> None:
    """R49: chat not found, deactivated."""
    bot.user(7)
    key = bot.plan(7)
    second = bot.plan(7, "another", due_at=bot.now + 20 * HOUR)
    bot.telegram.script = [delivery("unreachable")]
    assert bot.run().failed == {"unreachable": 1}
    assert bot.state(key) is S.FAILED
    assert bot.run(20 * HOUR).suppressed == {"blocked": 1}
    assert bot.state(second) is S.SUPPRESSED
    assert len(bot.telegram.requests) == 1


def test_a_migrated_chat_is_written_to_at_its_new_address(bot: Any, delivery: Build) -> None:
    """R49."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("migrated", new_chat_id=-100_777)]
    assert bot.run().deferred == 1
    assert bot.state(key) is S.SCHEDULED
    assert bot.profile(7).cap_count == 0
    assert bot.run(MINUTE).sent == 1
    assert [request.chat_id for request in bot.telegram.requests] == [7, -100_777]


def test_a_chat_that_keeps_migrating_fails(bot: Any, delivery: Build) -> None:
    """R49: not for ever, either."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("migrated", new_chat_id=-number) for number in range(1, 9)]
    for minutes in range(5):
        bot.run(minutes * MINUTE)
    assert len(bot.telegram.requests) == 3
    assert (bot.state(key), bot.stored(key).reason) == (S.FAILED, "migrated")


@pytest.mark.parametrize("new_chat_id", [None, 7])
def test_a_chat_that_migrated_nowhere_fails(bot: Any, delivery: Build, new_chat_id: int | None) -> None:
    """R49: no endless circle."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("migrated", new_chat_id=new_chat_id)]
    assert bot.run().failed == {"migrated": 1}
    assert bot.state(key) is S.FAILED


def test_markup_that_telegram_cannot_parse_goes_out_once_more_as_plain_text(bot: Any, delivery: Build) -> None:
    """R49: one resend, the first was refused; the template is not used with markup again in this run."""
    for user in (7, 8):
        bot.user(user, first_name="A&B")
        bot.plan(user)
    bot.telegram.script = [delivery("bad_markup")]
    report = bot.run()
    assert report.sent == 2
    assert report.broken_templates == {"re_engagement.open_door"}
    assert report.advice is not None
    assert "re_engagement.open_door" in report.advice
    first, again, other = bot.telegram.requests
    assert (first.parse_mode, again.parse_mode, other.parse_mode) == ("HTML", None, None)
    assert first.chat_id == again.chat_id != other.chat_id
    assert "A&amp;B" in first.text
    assert "A&B" in again.text
    assert again.reply_markup == first.reply_markup
    assert again.at - first.at >= 1, "R53: still one message a second for this chat"


def test_plain_text_that_is_refused_too_is_not_tried_a_third_time(bot: Any, deliveries: Any) -> None:
    """R49."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = deliveries(["bad_markup", "bad_markup"])
    assert bot.run().failed == {"bad_markup": 1}
    assert bot.state(key) is S.FAILED
    assert len(bot.telegram.requests) == 2


def test_a_resend_that_no_time_is_left_for_is_not_made(bot: Any, delivery: Build) -> None:
    """R49, R54."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("bad_markup")]

    def hours_pass(_: object) -> None:
        bot.remaining = HTTP_SECONDS

    bot.telegram.before = hours_pass
    report = bot.run()
    assert (report.failed, report.stopped) == ({"bad_markup": 1}, "out_of_time")
    assert bot.state(key) is S.FAILED
    assert len(bot.telegram.requests) == 1


def test_another_fault_of_the_request_fails_it(bot: Any, delivery: Build) -> None:
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("rejected", detail="message_too_long")]
    assert bot.run().failed == {"rejected": 1}
    assert bot.state(key) is S.FAILED
    assert not bot.profile(7).blocked


def test_a_refused_token_ends_the_run_and_nothing_fails(bot: Any, delivery: Build) -> None:
    """R49: 401 or 404: nothing is lost, and the log line says what to do."""
    planned = []
    for user in range(1, 6):
        bot.user(user)
        planned.append(bot.plan(user))
    bot.telegram.script = [delivery("bad_token")]
    report = bot.run()
    assert report.stopped == "bad_token"
    assert report.advice is not None
    assert "bot-token" in report.advice
    assert len(bot.telegram.requests) == 1
    assert {bot.state(key) for key in planned} == {S.SCHEDULED}
    assert {bot.profile(user).cap_count for user in range(1, 6)} == {0}
    assert {bot.stored(key).attempts for key in planned} == {0}, "nor is an attempt used up"
    assert bot.run(MINUTE).sent == 5


def test_no_connection_is_tried_again_three_times_with_jitter(bot: Any, delivery: Build) -> None:
    """R46: scheduled, cap refunded, at most three attempts, each further apart."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.by_chat[7] = delivery("not_sent", detail="connect_error")
    assert bot.run(jitter=lambda: 0.0).deferred == 1
    assert bot.stored(key).due_at == bot.now + timedelta(seconds=30)
    assert bot.profile(7).cap_count == 0
    assert bot.profile(7).next_ok_at is None
    assert bot.run(timedelta(seconds=29)).as_dict()["deferred"] == 0
    assert bot.run(MINUTE, jitter=lambda: 0.999).deferred == 1
    assert bot.stored(key).due_at == bot.now + timedelta(seconds=60 + 180)
    assert bot.run(5 * MINUTE).failed == {"not_sent": 1}
    assert bot.state(key) is S.FAILED
    assert len(bot.telegram.requests) == 3
    assert bot.run(HOUR).as_dict()["failed"] == {}


def test_a_connection_that_comes_back_delivers(bot: Any, delivery: Build) -> None:
    """R46."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("not_sent"), delivery("not_sent")]
    for minutes in (0, 2, 10):
        bot.run(minutes * MINUTE)
    assert bot.state(key) is S.SENT
    assert bot.profile(7).cap_count == 1


@pytest.mark.parametrize("outcome", ["not_sent", "unknown"])
def test_a_telegram_that_does_not_answer_is_left_alone(bot: Any, delivery: Build, outcome: str) -> None:
    """R46: three silences in a row end the run, before every message is `unknown` or out of attempts."""
    planned = []
    for user in range(1, 9):
        bot.user(user)
        bot.telegram.by_chat[user] = delivery(outcome)
        planned.append(bot.plan(user))
    report = bot.run()
    assert report.stopped == "unwell"
    assert len(bot.telegram.requests) == 3
    assert [bot.state(key) for key in planned].count(S.SCHEDULED) == (8 if outcome == "not_sent" else 5)


def test_after_a_429_nobody_calls_before_its_time(bot: Any, delivery: Build) -> None:
    """R47: retry_after=7: this run ends, later ones wait, and nothing is lost."""
    planned = []
    for user in range(1, 6):
        bot.user(user)
        planned.append(bot.plan(user))
    bot.telegram.script = [delivery("sent", message_id=1), delivery("retry_later", retry_after=7)]
    report = bot.run()
    assert (report.sent, report.throttled, report.stopped) == (1, 1, "throttled")
    assert len(bot.telegram.requests) == 2
    throttled = bot.telegram.requests[1].chat_id
    (stored,) = (bot.stored(key) for key in planned if key.user_id == throttled)
    assert (stored.state, stored.attempts) == (S.SCHEDULED, 0)
    assert stored.due_at >= bot.now + timedelta(seconds=7)
    assert bot.profile(throttled).cap_count == 0
    for seconds in range(7):
        assert bot.run(timedelta(seconds=seconds)).stopped == "paused"
    assert len(bot.telegram.requests) == 2
    assert bot.run(timedelta(seconds=8)).sent == 4
    assert {bot.state(key) for key in planned} == {S.SENT}


def test_a_429_of_almost_three_hours_is_waited_for_and_not_slept_through(bot: Any, delivery: Build) -> None:
    """R47: 10 072 seconds have been seen: the run ends at once, the message stays scheduled."""
    bot.user(7)
    key = bot.plan(7)
    bot.telegram.script = [delivery("retry_later", retry_after=10_072)]
    began = bot.clock()
    assert bot.run().stopped == "throttled"
    assert bot.clock() - began < 2
    assert bot.state(key) is S.SCHEDULED
    assert bot.run(timedelta(seconds=10_071)).stopped == "paused"
    assert bot.run(timedelta(seconds=10_073)).sent == 1


def test_a_429_stops_the_other_workers_and_puts_back_what_they_had_committed(bot: Any, delivery: Build) -> None:
    """R47: four workers; one meets a 429 while the others stand between commit and request."""
    bot.workers = 4
    planned = []
    for user in range(1, 5):
        bot.user(user)
        planned.append(bot.plan(user))
    bot.telegram.script = [delivery("retry_later", retry_after=7)]
    worker = threading.local()
    all_committed, first, refused = threading.Barrier(4), threading.Lock(), threading.Event()
    commit, extend = bot.outreaches.commit, bot.pauses.extend

    def commit_together(*args: Any, **kwargs: Any) -> Commit:
        answer: Commit = commit(*args, **kwargs)
        all_committed.wait(10)
        worker.has_committed = True
        return answer

    def wait_for_the_first(_: float) -> None:
        if getattr(worker, "has_committed", False) and not first.acquire(blocking=False):
            assert refused.wait(10)

    def extend_and_tell(*args: Any) -> bool:
        refused.set()
        longer: bool = extend(*args)
        return longer

    bot.outreaches = Hooked(bot.outreaches, commit=commit_together)
    bot.pauses = Hooked(bot.pauses, extend=extend_and_tell)
    report = bot.run(sleep=wait_for_the_first)
    assert (report.throttled, report.deferred, report.sent) == (1, 4, 0)
    assert len(bot.telegram.requests) == 1
    assert {bot.state(key) for key in planned} == {S.SCHEDULED}
    assert [bot.profile(user).cap_count for user in range(1, 5)] == [0] * 4
    assert [bot.stored(key).attempts for key in planned] == [0] * 4


# --- what changes while a message is on its way ---

STEPS = (("outreaches", "claim"), ("profiles", "get"), ("pauses", "until"), ("outreaches", "commit"))
CHANGES: dict[str, tuple[str, Callable[[Any, int], object]]] = {
    "stop": ("opted_out", lambda bot, user: bot.profiles.opt_out(123456, user, bot.now)),
    "block": ("blocked", lambda bot, user: bot.profiles.set_blocked(123456, user, blocked=True, at=bot.now)),
    "erase": ("consent", lambda _, user: ProfileItem(keys.user(123456, user), keys.PROFILE).delete()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stop_at_any_point_before_the_commit_wins(bot: Any, change: str) -> None:
    """R52: /stop, a block or an erasure before or after every call up to the commit."""
    reason, happen = CHANGES[change]
    points = [(store, step, when) for store, step in STEPS for when in ("before", "after")]
    assert points.pop() == ("outreaches", "commit", "after"), "by then it is on its way"
    for user, (store, step, when) in enumerate(points, start=1):
        bot.user(user)
        key = bot.plan(user)
        real = getattr(bot, store)
        event = partial(happen, copy(bot), user)
        hooked = surrounded(getattr(real, step), **{when: event})
        setattr(bot, store, Hooked(real, **{step: hooked}))
        assert bot.run().suppressed == {reason: 1}, (store, step, when)
        setattr(bot, store, real)
        assert bot.state(key) is S.SUPPRESSED
    assert bot.telegram.requests == []


def surrounded(
    call: Callable[..., Any], before: Callable[[], object] = list, after: Callable[[], object] = list
) -> Callable[..., Any]:
    """Return `call` with something happening before or after it."""

    def surrounding(*args: Any, **kwargs: Any) -> Any:
        before()
        answer = call(*args, **kwargs)
        after()
        return answer

    return surrounding


def test_a_claim_lost_before_the_commit_is_dropped(bot: Any) -> None:
    bot.user(7)
    key = bot.plan(7)
    bot.outreaches = Hooked(bot.outreaches, commit=lambda *_, **__: Commit.LOST)
    assert bot.run().lost == 1
    assert bot.telegram.requests == []
    assert bot.state(key) is S.CLAIMED


@pytest.mark.parametrize("answer", [Commit.BUSY, Commit.REFUSED])
def test_a_user_in_the_middle_of_other_writes_is_written_to_later(bot: Any, answer: Commit) -> None:
    bot.user(7)
    key = bot.plan(7)
    asked = []

    def commit(*_: object, **__: object) -> Commit:
        asked.append(answer)
        return answer

    real = bot.outreaches
    bot.outreaches = Hooked(real, commit=commit)
    assert bot.run().deferred == 1
    assert len(asked) == 3
    assert bot.state(key) is S.SCHEDULED
    bot.outreaches = real
    assert bot.run(MINUTE).sent == 1


def test_a_dead_claim_is_freed_and_sent_by_the_next_run(bot: Any) -> None:
    bot.user(7)
    key = bot.plan(7)
    assert bot.outreaches.claim(key, owner="dead", now=bot.now, lease_until=bot.now + 5 * MINUTE)
    assert bot.run(MINUTE).as_dict()["sent"] == 0
    assert bot.run(6 * MINUTE).sent == 1


def test_killed_between_request_and_record_is_unknown_and_never_sent_again(bot: Any) -> None:
    """R45: the sender dies with the answer in its hands."""

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> bool:
        raise Killed

    bot.user(7)
    key = bot.plan(7)
    real = bot.outreaches
    bot.outreaches = Hooked(real, record_sent=die)
    with pytest.raises(Killed):
        bot.run()
    bot.outreaches = real
    assert bot.state(key) is S.SENDING
    assert bot.run(MINUTE).as_dict()["sent"] == 0
    assert bot.sweep(6 * MINUTE) == {S.UNKNOWN: 1}
    for hours in (1, 13, 30):
        assert bot.run(hours * HOUR).as_dict()["sent"] == 0
    assert len(bot.telegram.requests) == 1


# --- time and pace ---


def test_without_time_for_a_request_nothing_is_claimed(bot: Any) -> None:
    """R54."""
    bot.user(7)
    key = bot.plan(7)
    bot.remaining = HTTP_SECONDS + MARGIN_SECONDS - 0.01
    assert bot.run().stopped == "out_of_time"
    assert bot.state(key) is S.SCHEDULED
    assert bot.raw(key).owner is None


def test_time_that_runs_out_after_the_claim_prevents_the_commit(bot: Any) -> None:
    """R54: asked again just before the point of no return; the claim goes back at once."""
    bot.user(7)
    key = bot.plan(7)
    until = bot.pauses.until

    def time_passes(bot_id: int) -> datetime | None:
        if bot.raw(key).owner is not None:
            bot.remaining = HTTP_SECONDS + MARGIN_SECONDS - 0.01
        paused: datetime | None = until(bot_id)
        return paused

    real, bot.pauses = bot.pauses, Hooked(bot.pauses, until=time_passes)
    report = bot.run()
    bot.pauses = real
    assert (report.stopped, report.deferred) == ("out_of_time", 1)
    assert bot.telegram.requests == []
    assert bot.state(key) is S.SCHEDULED
    assert bot.profile(7).cap_count == 0
    bot.remaining = HTTP_SECONDS + MARGIN_SECONDS
    assert bot.run(MINUTE).sent == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_no_second_holds_more_messages_than_allowed(bot: Any, workers: int) -> None:
    """R53: a sliding window over the requests, overall and per chat; three chats get three messages each."""
    bot.policy = replace(bot.policy, max_per_day=5, min_gap=timedelta())
    bot.workers = workers
    for user in range(1, 31):
        bot.user(user)
        for n in range(3 if user <= 3 else 1):
            bot.plan(user, f"c{n}")
    lock = threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            bot.clock.seconds += seconds

    report = bot.run(sends_per_second=10, sleep=sleep)
    assert report.sent == 36
    times = sorted(request.at for request in bot.telegram.requests)
    assert max(sum(start <= at < start + 1 - 1e-6 for at in times) for start in times) <= 10
    for chat in (1, 2, 3):
        own = sorted(request.at for request in bot.telegram.requests if request.chat_id == chat)
        assert len(own) == 3
        assert all(later - earlier >= 1 - 1e-6 for earlier, later in itertools.pairwise(own))


def test_a_sharded_run_takes_its_share_of_the_pace_and_of_the_users(bot: Any) -> None:
    """R53: over all instances."""
    for user in range(1, 41):
        bot.user(user)
        bot.plan(user)
    sent = []
    for shard in range(4):
        bot.clock.seconds = 1_000.0
        bot.telegram.requests.clear()
        tick = Tick(bot.now, shard, 4)
        transport = bot.transport(sends_per_second=8)
        sent.append(bot.service.deliver_due(tick, lambda: 270.0, transport).sent)
        times = [request.at for request in bot.telegram.requests]
        assert max((sum(start <= at < start + 1 - 1e-6 for at in times) for start in times), default=0) <= 2
    assert sum(sent) == 40
