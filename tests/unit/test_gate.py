"""The gate: one answer to every candidate, and no limit it lets anybody cross."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.gate import Decision, Policy, Reason, charge, decide, local_date, quiet_of, start_of_day
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.quiet import IsOpen
from engagement.errors import SettingsError
from tests.builders import NOW, always, policy, profile

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
PROFILE = profile()


def ask(
    profile: Profile = PROFILE,
    policy: Policy = POLICY,
    *,
    now: datetime = NOW,
    due: timedelta = timedelta(),
    expires: timedelta = 2 * DAY,
    seen: timedelta | None = None,
    is_open: IsOpen = always,
) -> Decision:
    """Ask about a message planned an hour ago; times are relative to `now`."""
    return decide(
        profile=profile,
        planned_at=now - HOUR,
        due_at=now + due,
        expires_at=now + expires,
        last_interaction_at=None if seen is None else now + seen,
        is_open=is_open,
        policy=policy,
        now=now,
    )


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
        (Reason.EXPIRED, {}, {}, {"expires": timedelta()}),
        (Reason.EXPIRED, {}, {}, {"due": 3 * DAY}),
        (Reason.NOT_NEEDED_ANY_MORE, {}, {}, {"seen": -HOUR / 2}),
        (Reason.MIN_GAP, {"next_ok_at": NOW + 2 * DAY}, {}, {}),
        (Reason.DAILY_CAP, {"cap_day": "2026-11-22", "cap_count": 1}, {}, {"expires": 11 * HOUR}),
        (Reason.DAILY_CAP, {}, {"max_per_day": 0}, {}),
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
        (Reason.EXPIRED, {}, {}, {"expires": timedelta()}),
        (Reason.NOT_NEEDED_ANY_MORE, {}, {}, {"seen": timedelta()}),
        (Reason.MIN_GAP, {"next_ok_at": NOW + 3 * DAY}, {}, {}),
        (Reason.DAILY_CAP, {}, {"max_per_day": 0}, {}),
    ]
    for first in range(len(obstacles)):
        changes: dict[str, Any] = {}
        policy: dict[str, Any] = {}
        times: dict[str, Any] = {}
        for _, profile_part, policy_part, time_part in obstacles[first:]:
            changes |= profile_part
            policy |= policy_part
            times |= time_part
        assert ask(replace(PROFILE, **changes), replace(POLICY, **policy), **times).reason is obstacles[first][0]


def test_where_consent_is_assumed_only_a_no_counts() -> None:
    assume = replace(POLICY, consent=ConsentPolicy.ASSUME)
    assert ask(replace(PROFILE, consent=Consent.UNASKED), assume).send_at == NOW


def test_who_was_there_before_the_plan_is_still_written_to() -> None:
    assert ask(seen=-2 * HOUR).send_at == NOW
    assert ask(seen=-HOUR).send_at == NOW, "the interaction that led to the plan"


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


def test_a_policy_reads_the_settings_and_names_a_bad_one() -> None:
    class Limits:
        consent_policy = "ask"
        max_outreaches_per_user_per_day = 1
        min_hours_between_outreaches = 12.0
        quiet_hours = "off"

    assert Policy.of(Limits()) == POLICY
    assert not Policy.of(Limits(), enabled=False).enabled
    Limits.consent_policy = "always"
    with pytest.raises(SettingsError, match="CONSENT_POLICY"):
        Policy.of(Limits())


minutes = st.integers(-4_000, 4_000).map(lambda n: timedelta(minutes=n))
seconds = st.integers(0, 400 * 86_400).map(lambda n: timedelta(seconds=n))
profiles = st.builds(
    lambda zone, consent, opted_out, blocked, cap_day, cap_count, gap: replace(
        PROFILE,
        zone=zone,
        consent=consent,
        opted_out=opted_out,
        blocked=blocked,
        cap_day=None if cap_day is None else (date(2026, 1, 1) + timedelta(days=cap_day)).isoformat(),
        cap_count=cap_count,
        next_ok_at=None if gap is None else datetime(2026, 1, 1, tzinfo=UTC) + gap,
    ),
    st.sampled_from(ZONES),
    st.sampled_from([Consent.GRANTED, Consent.GRANTED, Consent.UNASKED, Consent.DECLINED]),
    st.integers(0, 7).map(lambda n: n == 0),
    st.integers(0, 7).map(lambda n: n == 0),
    st.none() | st.integers(0, 400),
    st.integers(0, 3),
    st.none() | seconds,
)
policies = st.builds(
    Policy,
    consent=st.sampled_from(ConsentPolicy),
    max_per_day=st.integers(0, 3),
    min_gap=st.sampled_from([timedelta(), HOUR, 12 * HOUR]),
    quiet=st.just((0, 0)),
    enabled=st.integers(0, 9).map(bool),
)


@given(
    profile=profiles,
    policy=policies,
    offset=seconds,
    planned=minutes,
    due=minutes,
    expires=minutes,
    seen=st.none() | minutes,
    open_hours=st.just(frozenset(range(24))) | st.frozensets(st.integers(0, 23), min_size=1),
)
def test_every_answer_keeps_every_limit(
    profile: Profile,
    policy: Policy,
    offset: timedelta,
    planned: timedelta,
    due: timedelta,
    expires: timedelta,
    seen: timedelta | None,
    open_hours: frozenset[int],
) -> None:
    """R38, R39, R42, R51: over zones, both nights of each, and anything a profile can hold."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + offset
    last = None if seen is None else now + seen

    def is_open(at: datetime) -> bool:
        return at.hour in open_hours

    decision = decide(
        profile=profile,
        planned_at=now + planned,
        due_at=now + due,
        expires_at=now + expires,
        last_interaction_at=last,
        is_open=is_open,
        policy=policy,
        now=now,
    )
    assert (decision.send_at is None) != (decision.reason is None)
    if decision.send_at is None:
        return
    send_at = decision.send_at
    assert policy.enabled
    assert not profile.opted_out
    assert not profile.blocked
    assert profile.consent is Consent.GRANTED or (policy.consent, profile.consent) == (
        ConsentPolicy.ASSUME,
        Consent.UNASKED,
    )
    assert max(now, now + due) <= send_at < now + expires
    assert is_open(send_at)
    assert last is None or last <= now + planned
    assert profile.next_ok_at is None or send_at >= profile.next_ok_at
    day = local_date(profile.zone, send_at).isoformat()
    assert policy.max_per_day > 0
    assert profile.cap_day is None or day >= profile.cap_day
    assert day != profile.cap_day or profile.cap_count < policy.max_per_day
    # It is the earliest such time: a second before, one of the limits said no.
    before = send_at - timedelta(seconds=1)
    earlier_day = local_date(profile.zone, before).isoformat()
    assert (
        before < max(now, now + due)
        or not is_open(before)
        or (profile.next_ok_at is not None and before < profile.next_ok_at)
        or (profile.cap_day is not None and earlier_day < profile.cap_day)
        or (earlier_day == profile.cap_day and profile.cap_count >= policy.max_per_day)
    )
    # And asked again at that time, it says "now".
    again = decide(
        profile=profile,
        planned_at=now + planned,
        due_at=now + due,
        expires_at=now + expires,
        last_interaction_at=last,
        is_open=is_open,
        policy=policy,
        now=send_at,
    )
    assert again.send_at == send_at


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


def test_every_reason_can_be_given() -> None:
    reasons = set()
    for enabled, opted_out, blocked, consent, days in product((True, False), repeat=5):
        profile = replace(
            PROFILE,
            opted_out=opted_out,
            blocked=blocked,
            consent=Consent.GRANTED if consent else Consent.UNASKED,
            next_ok_at=NOW + 3 * DAY if days else None,
            cap_day="2026-11-25",
        )
        for seen in (None, timedelta()):
            for expires in (timedelta(), DAY):
                reasons.add(ask(profile, replace(POLICY, enabled=enabled), seen=seen, expires=expires).reason)
    reasons.add(ask(expires=HOUR, is_open=lambda at: at.hour == 3).reason)
    assert reasons >= set(Reason) - {Reason.ALREADY_PLANNED}


@pytest.mark.parametrize(("setting", "quiet"), [("22-8", (22, 8)), ("0-6", (0, 6)), ("off", (0, 0))])
def test_quiet_hours_are_two_hours_of_the_day_or_off(setting: str, quiet: tuple[int, int]) -> None:
    assert quiet_of(setting) == quiet


@pytest.mark.parametrize("setting", ["", "22", "22-24", "8-8", "22:00-8:00", "-1-8", "on", "٢٢-٨"])
def test_other_quiet_hours_are_refused_with_an_example(setting: str) -> None:
    with pytest.raises(SettingsError, match="22-8, or off"):
        quiet_of(setting)


def test_a_message_that_falls_into_quiet_hours_waits_for_their_end() -> None:
    """R38: NOW is 12:00; open from 15:15 on."""
    assert ask(is_open=lambda at: (at.hour, at.minute) >= (15, 15)).send_at == NOW.replace(hour=15, minute=15)
    assert ask(due=timedelta(minutes=7), is_open=lambda at: at.hour != 12).send_at == NOW + HOUR
    assert ask(expires=HOUR, is_open=lambda at: at.hour != 12) == Decision(None, Reason.QUIET_HOURS)
