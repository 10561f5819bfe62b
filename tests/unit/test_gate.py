"""The gate: one answer to every candidate, and no limit it lets anybody cross."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.experiment import Shares, draw
from engagement.domain.gate import (
    POINTLESS_ON_RETURN,
    Decision,
    Policy,
    Reason,
    charge,
    decide,
    local_date,
    quiet_of,
    start_of_day,
)
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import Arm, OutreachType
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.planning import Candidate
from engagement.domain.preferences import NONE, Dismissal, Preferences, TypeChoice
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.errors import SettingsError
from tests.builders import NOW, pattern_of, policy, profile

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Beirut",
    "America/Havana",
    "Australia/Lord_Howe",
    "Nowhere/Atlantis",
)
POLICY = policy()
LONG_KNOWN = datetime(2025, 1, 1, tzinfo=UTC)
PROFILE = profile(created_at=LONG_KNOWN)
BERLIN = profile(created_at=LONG_KNOWN, zone="Europe/Berlin")
NIGHT = policy(quiet=(22, 8))
"""Berlin's 22 to 8 h: in winter 21 to 7 UTC."""


def ask(
    profile: Profile = PROFILE,
    policy: Policy = POLICY,
    *,
    now: datetime = NOW,
    due: timedelta = timedelta(),
    expires: timedelta = 2 * DAY,
    pattern: Pattern = EMPTY,
    **changes: Any,
) -> Decision:
    """Ask about a win-back planned an hour ago; times are relative to `now`."""
    candidate = Candidate(
        outreach_type=OutreachType.RE_ENGAGEMENT,
        campaign="silence",
        period="2026-11-17-1",
        priority=0.9,
        trigger="churn_14d_high",
        planned_at=now - HOUR,
        due_at=now + due,
        expires_at=now + expires,
    )
    return decide(replace(candidate, **changes), profile, pattern, policy, now)


STOPPED = Preferences(frozenset({TypeChoice(OutreachType.RE_ENGAGEMENT, NOW - DAY, off=True)}))


def not_now(at: datetime, outreach_type: OutreachType = OutreachType.RE_ENGAGEMENT) -> Preferences:
    """What is held of somebody who pressed "not now" under an outreach, in the second in which it came."""
    return Preferences(frozenset({Dismissal(Exposure(outreach_type, at), at)}))


def test_a_permitted_message_goes_at_once() -> None:
    assert ask() == Decision(NOW, None)
    assert ask(due=-HOUR) == Decision(NOW, None)


def test_a_message_waits_for_its_due_time() -> None:
    assert ask(due=3 * HOUR) == Decision(NOW + 3 * HOUR, None)


@pytest.mark.parametrize(
    ("reason", "changes", "policy", "times"),
    [
        (Reason.PAUSED, {}, {"enabled": False}, {}),
        (Reason.OPTED_OUT, {"opted_out": True}, {}, {}),
        (Reason.BLOCKED, {"blocked": True}, {}, {}),
        (Reason.CONSENT, {"consent": Consent.UNASKED}, {}, {}),
        (Reason.CONSENT, {"consent": Consent.DECLINED}, {}, {}),
        (Reason.CONSENT, {"consent": Consent.DECLINED}, {"consent": ConsentPolicy.ASSUME}, {}),
        (Reason.TYPE_STOPPED, {"preferences": STOPPED}, {}, {}),
        (Reason.CRISIS, {"crisis_at": NOW - 29 * DAY}, {}, {}),
        (Reason.TYPE_OFF, {}, {"rollout": Shares(1.0, {OutreachType.RE_ENGAGEMENT: 0.0})}, {}),
        (Reason.ROLLOUT, {}, {"rollout": Shares(1e-9, {})}, {}),
        (Reason.EXPIRED, {}, {}, {"expires": timedelta()}),
        (Reason.EXPIRED, {}, {}, {"due": 3 * DAY}),
        (Reason.NOT_NEEDED_ANY_MORE, {}, {}, {"pattern": pattern_of([NOW - HOUR / 2])}),
        (Reason.NOT_NEEDED_ANY_MORE, {}, {}, {"needed": False}),
        (Reason.SERIES_ENDED, {"preferences": not_now(NOW - 2 * HOUR)}, {}, {}),
        (Reason.FIRST_HOUR, {"created_at": NOW - HOUR / 4}, {}, {"expires": HOUR / 2}),
        (Reason.SNOOZED, {"preferences": not_now(NOW - 2 * HOUR)}, {}, {"campaign": "weekly"}),
        (Reason.MIN_GAP, {"next_ok_at": NOW + 2 * DAY}, {}, {}),
        (Reason.DAILY_CAP, {"cap_day": "2026-11-22", "cap_count": 1}, {}, {"expires": 11 * HOUR}),
        (Reason.DAILY_CAP, {}, {"max_per_day": 0}, {}),
        (Reason.QUIET_HOURS, {"zone": "Asia/Tokyo"}, {"quiet": (20, 8)}, {"expires": 10 * HOUR}),
        (
            Reason.LOW_ZONE_CONFIDENCE,
            {"language_code": None},
            {"quiet": (22, 8)},
            {"due": 4 * HOUR, "expires": 5 * HOUR},
        ),
        (Reason.BUDGET, {}, {"budget_left": 0}, {"expires": 12 * HOUR}),
        (Reason.HELD_OUT, {}, {}, {"arm": Arm.HELD_OUT}),
    ],
)
def test_each_refusal_has_its_reason(reason: Reason, changes: Any, policy: Any, times: Any) -> None:
    """R42: the matrix of who is not written to."""
    assert ask(replace(PROFILE, **changes), replace(POLICY, **policy), **times) == Decision(None, reason)


def test_of_several_reasons_the_first_of_the_list_is_given() -> None:
    """One reason a candidate, always the same: taking the first away uncovers the next."""
    obstacles: list[tuple[Reason, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        (Reason.PAUSED, {}, {"enabled": False}, {}),
        (Reason.OPTED_OUT, {"opted_out": True}, {}, {}),
        (Reason.BLOCKED, {"blocked": True}, {}, {}),
        (Reason.CONSENT, {"consent": Consent.DECLINED}, {}, {}),
        (Reason.TYPE_STOPPED, {"preferences": STOPPED}, {}, {}),
        (Reason.CRISIS, {"crisis_at": NOW}, {}, {}),
        (Reason.TYPE_OFF, {}, {"rollout": Shares(0.0, {})}, {}),
        (Reason.ROLLOUT, {}, {"rollout": Shares(1e-9, {})}, {}),
        (Reason.EXPIRED, {}, {}, {"due": 10 * HOUR}),
        (Reason.NOT_NEEDED_ANY_MORE, {}, {}, {"needed": False}),
        (Reason.SERIES_ENDED, {"preferences": not_now(NOW - HOUR)}, {}, {"pattern": pattern_of([NOW - 2 * HOUR])}),
        (Reason.FIRST_HOUR, {"created_at": NOW}, {}, {"expires": HOUR / 2}),
        (Reason.SNOOZED, {"preferences": not_now(NOW - 3 * HOUR)}, {}, {"pattern": pattern_of([NOW - 2 * HOUR])}),
        (Reason.MIN_GAP, {"next_ok_at": NOW + 3 * DAY}, {}, {}),
        (Reason.DAILY_CAP, {}, {"max_per_day": 0}, {}),
        (Reason.QUIET_HOURS, {"zone": "Europe/Berlin"}, {"quiet": (22, 21)}, {}),
        (Reason.BUDGET, {}, {"budget_left": 0}, {}),
        (Reason.HELD_OUT, {}, {}, {"arm": Arm.HELD_OUT}),
    ]
    assert [reason for reason, *_ in obstacles] == [
        reason for reason in list(Reason)[: len(obstacles) + 1] if reason is not Reason.LOW_ZONE_CONFIDENCE
    ]
    for first in range(len(obstacles)):
        changes: dict[str, Any] = {}
        policy: dict[str, Any] = {}
        times: dict[str, Any] = {}
        for _, profile_part, policy_part, time_part in reversed(obstacles[first:]):
            said = changes.get("preferences", NONE).facts | profile_part.get("preferences", NONE).facts
            changes |= profile_part | {"preferences": Preferences(said)}
            policy |= policy_part
            times |= time_part
        times.setdefault("expires", 8 * HOUR)
        assert ask(replace(PROFILE, **changes), replace(POLICY, **policy), **times).reason is obstacles[first][0]


def test_where_consent_is_assumed_only_a_no_counts() -> None:
    assume = replace(POLICY, consent=ConsentPolicy.ASSUME)
    assert ask(replace(PROFILE, consent=Consent.UNASKED), assume).send_at == NOW


def test_who_was_there_before_the_plan_is_still_written_to() -> None:
    assert ask(pattern=pattern_of([NOW - 2 * HOUR])).send_at == NOW
    assert ask(pattern=pattern_of([NOW - HOUR])).send_at == NOW, "the interaction that led to the plan"


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_coming_back_ends_only_what_says_that_they_were_missed(outreach_type: OutreachType) -> None:
    decision = ask(pattern=pattern_of([NOW - HOUR / 2]), outreach_type=outreach_type)

    assert (decision.reason is Reason.NOT_NEEDED_ANY_MORE) == (outreach_type in POINTLESS_ON_RETURN)


def test_a_message_waits_until_not_now_is_over() -> None:
    """R92: twice the usual week after the press; a message of another type does not."""
    seen = pattern_of([NOW - 2 * HOUR])

    def pressed(ago: timedelta) -> Profile:
        return replace(PROFILE, preferences=not_now(NOW - ago))

    assert ask(pressed(14 * DAY - 30 * HOUR), pattern=seen).send_at == NOW + 30 * HOUR
    assert ask(pressed(14 * DAY + HOUR), pattern=seen).send_at == NOW
    assert ask(pressed(DAY), pattern=seen, outreach_type=OutreachType.TOPIC_FOLLOW_UP).send_at == NOW


def test_not_now_ends_the_series_of_this_silence_and_no_other() -> None:
    """R92: of its two types alike; the next silence, and what is no silence's, goes on."""
    pressed = replace(PROFILE, preferences=not_now(NOW - 20 * DAY))
    before, since = pattern_of([NOW - 30 * DAY]), pattern_of([NOW - 10 * DAY])

    for outreach_type in (OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN):
        assert ask(pressed, pattern=before, outreach_type=outreach_type).reason is Reason.SERIES_ENDED
        assert ask(pressed, pattern=since, outreach_type=outreach_type).send_at == NOW
    assert ask(pressed, pattern=before, campaign="weekly").send_at == NOW


def test_each_way_to_say_no_is_named_apart() -> None:
    """R92, R98: stop, stop of a type, and "not now"; a type that was switched on again is not off."""
    other = Preferences(frozenset({TypeChoice(OutreachType.TOPIC_FOLLOW_UP, NOW - DAY, off=True)}))
    again = STOPPED.with_(TypeChoice(OutreachType.RE_ENGAGEMENT, NOW - HOUR, off=False))

    assert ask(replace(PROFILE, opted_out=True, preferences=STOPPED)).reason is Reason.OPTED_OUT
    assert ask(replace(PROFILE, preferences=STOPPED)).reason is Reason.TYPE_STOPPED
    for preferences in (other, again):
        assert ask(replace(PROFILE, preferences=preferences)).send_at == NOW


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_after_words_of_crisis_nothing_is_sent_for_thirty_days(outreach_type: OutreachType) -> None:
    """R103: whatever it is, support too: a person should answer, not a machine."""

    def after(ago: timedelta) -> Decision:
        return ask(replace(PROFILE, crisis_at=NOW - ago), campaign="any", outreach_type=outreach_type)

    assert after(timedelta()).reason is after(30 * DAY - timedelta(seconds=1)).reason is Reason.CRISIS
    assert after(30 * DAY).send_at == NOW


def test_nothing_is_sent_within_the_first_hour() -> None:
    """R104: it waits for the hour's end; what has expired by then is not sent at all."""
    for minutes in (0, 1, 30, 59):
        came_at = NOW - timedelta(minutes=minutes)
        newcomer = replace(PROFILE, created_at=came_at)
        for outreach_type in OutreachType:
            assert ask(newcomer, outreach_type=outreach_type).send_at == came_at + HOUR
            assert ask(newcomer, expires=came_at + HOUR - NOW, outreach_type=outreach_type) == Decision(
                None, Reason.FIRST_HOUR
            )
    assert ask(replace(PROFILE, created_at=NOW - HOUR)).send_at == NOW


def test_a_used_up_budget_puts_messages_off_to_the_next_day() -> None:
    """Of UTC, and into the hours that are open there."""
    spent = replace(POLICY, budget=100, budget_left=0)

    assert ask(policy=spent).send_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert ask(BERLIN, replace(spent, quiet=(22, 8))).send_at == datetime(2026, 11, 23, 7, tzinfo=UTC)
    assert ask(policy=spent, due=DAY).send_at == NOW + DAY, "tomorrow's budget is not today's"
    assert ask(policy=replace(spent, budget_left=1)).send_at == NOW


def test_who_is_held_out_is_treated_alike_until_the_moment_of_sending() -> None:
    """R43: the answer of a control group's member differs only where it would be sent now."""
    waiting = replace(PROFILE, next_ok_at=NOW + 6 * HOUR)

    assert ask(waiting, arm=Arm.HELD_OUT) == ask(waiting, arm=Arm.TREATED) == Decision(NOW + 6 * HOUR, None)
    assert ask(arm=Arm.HELD_OUT) == Decision(None, Reason.HELD_OUT)
    assert ask(arm=Arm.TREATED) == ask(arm=None) == Decision(NOW, None)


def test_a_rollout_reaches_its_share_and_takes_nobody_back() -> None:
    """R43: the same users at every call, and more of them as the share grows."""
    users = [replace(PROFILE, user_id=user_id) for user_id in range(2_000)]

    def reached(share: float) -> set[int]:
        policy = replace(POLICY, rollout=Shares(share, {}))
        return {user.user_id for user in users if ask(user, policy).send_at}

    fifth, half = reached(0.2), reached(0.5)
    assert fifth < half
    assert (len(fifth) / 2_000, len(half) / 2_000) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.5, abs=0.04))
    assert fifth == reached(0.2) == {u for u in range(2_000) if draw("rollout", 1, u, "re_engagement") < 0.2}
    assert len(reached(1.0)) == 2_000


def test_only_a_stranger_is_refused_for_the_uncertainty_of_where_they_are() -> None:
    """R40: at 16 h UTC it is day for nearly all who speak German; of anybody, many are asleep."""
    german, anybody = replace(PROFILE, language_code="de"), replace(PROFILE, language_code=None)

    def at_four(profile: Profile, **changes: Any) -> Decision:
        return ask(profile, NIGHT, **{"due": 4 * HOUR, "expires": 5 * HOUR} | changes)

    assert at_four(BERLIN).send_at == at_four(german).send_at == NOW + 4 * HOUR
    assert at_four(anybody).reason is Reason.LOW_ZONE_CONFIDENCE
    at_night = {"due": 11 * HOUR, "expires": 12 * HOUR}
    assert at_four(german, **at_night).reason is Reason.QUIET_HOURS, "night by the likeliest clock too"
    assert at_four(anybody, pattern=pattern_of([NOW + (4 - 24 * day) * HOUR for day in range(1, 6)])).send_at, "up then"


def test_the_gap_and_the_cap_move_a_message_to_the_first_time_both_allow() -> None:
    counted = replace(PROFILE, cap_day="2026-11-22", cap_count=1, next_ok_at=NOW + 6 * HOUR)
    assert ask(counted).send_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert ask(replace(counted, next_ok_at=NOW + 15 * HOUR)).send_at == NOW + 15 * HOUR
    assert ask(counted, replace(POLICY, max_per_day=2)).send_at == NOW + 6 * HOUR


def test_the_cap_is_counted_by_the_days_of_the_users_zone() -> None:
    """R51: noon UTC is 21 h in Tokyo and 4 h in Los Angeles."""
    counted = replace(PROFILE, cap_day="2026-11-22", cap_count=1)
    assert ask(replace(counted, zone="Asia/Tokyo")).send_at == NOW + 3 * HOUR
    assert ask(replace(counted, zone="America/Los_Angeles")).send_at == NOW + 20 * HOUR
    assert ask(replace(counted, cap_day="2026-11-21", zone="America/Los_Angeles")).send_at == NOW


def test_who_flew_west_is_not_given_the_same_day_twice() -> None:
    """Counted on the 23rd in Kiritimati (UTC+14), then in Los Angeles, where it is still the 22nd."""
    moved = replace(PROFILE, zone="America/Los_Angeles", cap_day="2026-11-23", cap_count=1)
    assert ask(moved, expires=3 * DAY).send_at == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert ask(moved, replace(POLICY, max_per_day=2), expires=3 * DAY).send_at == datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", ["Nowhere/Atlantis", "", "../../etc/passwd", "/etc/passwd", "UTC\0", "America", "\ud800", "x" * 5_000]
)
def test_an_unknown_zone_counts_as_utc(zone: str) -> None:
    """R40: a hostile zone string neither raises nor reads a file."""
    assert local_date(zone, NOW) == date(2026, 11, 22)
    assert start_of_day(zone, date(2026, 11, 22)) == datetime(2026, 11, 22, tzinfo=UTC)
    assert ask(replace(PROFILE, zone=zone, cap_day="2026-11-22", cap_count=1)).send_at == datetime(
        2026, 11, 23, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Asia/Beirut", date(2026, 3, 29), 23),  # midnight itself does not exist
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
    ],
)
def test_a_local_day_may_be_longer_or_shorter_than_24_hours(zone: str, day: date, hours: float) -> None:
    """R39: both nights; the day begins and ends at its first moments."""
    begin, end = start_of_day(zone, day), start_of_day(zone, day + DAY)
    assert end - begin == timedelta(hours=hours)
    second = timedelta(seconds=1)
    assert [local_date(zone, at) for at in (begin - second, begin, end - second, end)] == [
        day - DAY,
        day,
        day,
        day + DAY,
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_the_gap_is_elapsed_time_on_every_night_of_the_year(zone: str) -> None:
    """R39: as wall arithmetic it is 13 h or 11 h on two of them."""
    wall_hours = set()
    for day in range(365):
        evening = datetime(2026, 1, 1, 21, tzinfo=ZoneInfo(zone)) + timedelta(days=day)
        next_ok_at = charge(replace(PROFILE, zone=zone), POLICY, evening.astimezone(UTC)).next_ok_at
        assert (next_ok_at - evening.astimezone(UTC)).total_seconds() == 43_200
        wall_hours.add((next_ok_at.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) - evening.replace(tzinfo=UTC)) / HOUR)
    assert wall_hours == {11, 12, 13}, "the two nights were among them"


def test_a_charge_keeps_whole_seconds_and_never_shortens_the_gap() -> None:
    """R39: the table cuts fractions off."""
    late = NOW + timedelta(microseconds=1)
    assert charge(PROFILE, POLICY, late).next_ok_at == NOW + 12 * HOUR + timedelta(seconds=1)
    assert charge(PROFILE, POLICY, NOW).next_ok_at == NOW + 12 * HOUR


def test_a_decision_is_a_time_or_a_reason() -> None:
    for send_at, reason in ((None, None), (NOW, Reason.PAUSED)):
        with pytest.raises(ValueError, match="either"):
            Decision(send_at, reason)


class Limits:
    """The operator's settings, as the functions get them."""

    consent_policy = "ask"
    max_outreaches_per_user_per_day = 1
    min_hours_between_outreaches = 12.0
    quiet_hours = "off"
    rollout = "100"
    daily_budget = 0
    experiment = "test"
    control_percent = 0.0
    type_control = "0"
    mood_support = "answered"


def test_a_policy_reads_the_settings() -> None:
    assert Policy.of(Limits()) == POLICY
    assert not Policy.of(Limits(), enabled=False).enabled
    limits = Limits()
    limits.rollout, limits.control_percent, limits.type_control = "100,mood_support=50", 10.0, "0,re_engagement=20"
    read = Policy.of(limits)
    assert read.rollout.of(OutreachType.MOOD_SUPPORT) == 0.5
    assert (read.experiment.control, read.experiment.type_control.of(OutreachType.RE_ENGAGEMENT)) == (0.1, 0.2)


@pytest.mark.parametrize("rollout", ["100", "100,mood_support=100", "0,mood_support=50"])
def test_support_is_sent_to_nobody_until_somebody_answers_it(rollout: str) -> None:
    """R103: whatever the rollout says; no other type is touched by that."""
    limits = Limits()
    limits.rollout, limits.mood_support = rollout, "off"
    off = Policy.of(limits)
    limits.mood_support = "answered"
    answered = Policy.of(limits)

    assert ask(policy=off, outreach_type=OutreachType.MOOD_SUPPORT).reason is Reason.TYPE_OFF
    assert answered.rollout.of(OutreachType.MOOD_SUPPORT) > 0
    others = set(OutreachType) - {OutreachType.MOOD_SUPPORT}
    assert all(off.rollout.of(kind) == answered.rollout.of(kind) for kind in others)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("consent_policy", "always"),
        ("quiet_hours", "late"),
        ("rollout", "all"),
        ("rollout", "101"),
        ("rollout", "100,reengagement=5"),
        ("type_control", "-1"),
        ("experiment", ""),
        ("experiment", "first#second"),
        ("control_percent", 100.0),
        ("control_percent", float("nan")),
        ("daily_budget", -1),
        ("mood_support", "on"),
        ("mood_support", ""),
    ],
)
def test_a_bad_setting_is_named(setting: str, value: object) -> None:
    limits = Limits()
    setattr(limits, setting, value)
    with pytest.raises(SettingsError, match=setting.upper()):
        Policy.of(limits)


seconds = st.integers(0, 400 * 86_400).map(lambda n: timedelta(seconds=n))


@given(zone=st.sampled_from(ZONES), offset=seconds, max_per_day=st.integers(1, 3), gap=st.sampled_from([0, 1, 5, 12]))
def test_messages_sent_as_permitted_never_exceed_the_cap_or_close_the_gap(
    zone: str, offset: timedelta, max_per_day: int, gap: int
) -> None:
    """R39, R51: a user who is sent all the gate permits, for three days, in whole and broken seconds."""
    policy = replace(POLICY, max_per_day=max_per_day, min_gap=gap * HOUR)
    profile = replace(PROFILE, zone=zone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + offset
    end, sent = now + 3 * DAY, []
    while (send_at := ask(profile, policy, now=now, expires=end - now).send_at) is not None:
        cost = charge(profile, policy, send_at)
        count = 1 if cost.first_of_day else profile.cap_count + 1
        profile = replace(profile, cap_day=cost.day, cap_count=count, next_ok_at=cost.next_ok_at)
        sent.append(send_at)
        now = send_at + timedelta(milliseconds=1)
    days = [local_date(zone, at) for at in sent]
    assert max(map(days.count, days)) <= max_per_day
    assert all(later - earlier >= gap * HOUR for earlier, later in pairwise(sent))
    assert len(sent) >= 2


def test_every_reason_is_a_code_with_words() -> None:
    """One closed list: codes to store and log, words for people."""
    for reason in Reason:
        assert reason.value.isascii()
        assert reason.value == str(reason) == reason.lower()
        assert len(reason.words.split()) >= 3
        assert Reason(reason.value) is reason


@pytest.mark.parametrize(("setting", "quiet"), [("22-8", (22, 8)), ("0-6", (0, 6)), ("off", (0, 0))])
def test_quiet_hours_are_two_hours_of_the_day_or_off(setting: str, quiet: tuple[int, int]) -> None:
    assert quiet_of(setting) == quiet


@pytest.mark.parametrize("setting", ["", "22", "22-24", "8-8", "22:00-8:00", "-1-8", "on", "٢٢-٨"])
def test_other_quiet_hours_are_refused_with_an_example(setting: str) -> None:
    with pytest.raises(SettingsError, match="22-8, or off"):
        quiet_of(setting)


def test_a_message_that_falls_into_quiet_hours_waits_for_their_end() -> None:
    """R38: in Kathmandu it is 17:45 at noon UTC; the hours begin and end on their clock."""
    here = replace(PROFILE, zone="Asia/Kathmandu")
    evening, late = replace(POLICY, quiet=(17, 21)), {"quiet": (17, 21)}

    assert ask(here, evening).send_at == NOW.replace(hour=15, minute=15)
    assert ask(here, replace(POLICY, **late), due=timedelta(minutes=7)).send_at == NOW.replace(hour=15, minute=15)
    assert ask(here, evening, expires=3 * HOUR) == Decision(None, Reason.QUIET_HOURS)


@pytest.mark.parametrize(
    ("zone", "night"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 22, 30, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 22, 30, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 4, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 13, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 13, tzinfo=UTC)),
    ],
)
def test_on_both_nights_of_the_year_quiet_hours_end_at_eight_on_the_wall(zone: str, night: datetime) -> None:
    """R38: whether the night has an hour more or less."""
    send_at = ask(replace(PROFILE, zone=zone), NIGHT, now=night).send_at

    assert send_at
    local = send_at.astimezone(ZoneInfo(zone))
    assert (local.hour, local.minute, local.date()) == (8, 0, (night + 12 * HOUR).astimezone(ZoneInfo(zone)).date())


@pytest.mark.parametrize("hour", range(24))
def test_a_day_with_one_open_hour_has_one_even_where_the_clocks_skip_it(hour: int) -> None:
    """R38: quiet for 23 hours; on the night in question the only open hour may not exist."""
    narrow = replace(POLICY, quiet=((hour + 1) % 24, hour))
    for begin in (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 23, tzinfo=UTC)):
        send_at = ask(BERLIN, narrow, now=begin, expires=3 * DAY).send_at

        assert send_at
        assert send_at.astimezone(ZoneInfo("Europe/Berlin")).hour == hour
