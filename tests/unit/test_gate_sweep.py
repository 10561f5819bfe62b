"""The gate over a million cases: no limit is ever crossed, and every answer is true.

What is allowed is worked out here from the requirements alone, by the standard library's calendar and clocks; of the
gate's own parts none is used but the record of a message that was sent (`charge`).
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from engagement.domain.experiment import Experiment, Shares
from engagement.domain.gate import POINTLESS_ON_RETURN, Decision, Policy, Reason, charge, decide
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import Arm, OutreachType
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.planning import Candidate
from engagement.domain.preferences import Dismissal, Preferences, TypeChoice
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.zone import is_zone, quiet_hours_utc, zone_posterior
from tests.builders import pattern_of

CASES = 1_000_000
CASES_A_USER = 25
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 366 * 24 * 60
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = sorted(zone for zone in available_timezones() if zone != "UTC" and is_zone(zone))
UNSET = "UTC"
SETTLED = frozenset(
    {
        Reason.PAUSED,
        Reason.OPTED_OUT,
        Reason.BLOCKED,
        Reason.CONSENT,
        Reason.TYPE_STOPPED,
        Reason.CRISIS,
        Reason.TYPE_OFF,
        Reason.ROLLOUT,
    }
)
WAITED = frozenset(
    {
        Reason.FIRST_HOUR,
        Reason.SNOOZED,
        Reason.MIN_GAP,
        Reason.DAILY_CAP,
        Reason.QUIET_HOURS,
        Reason.LOW_ZONE_CONFIDENCE,
    }
)
USUAL_DAYS = dict(zip(OutreachType, (7, 7, 7, 60, 14, 28, 7), strict=True))
WIN_BACK = (OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN)
TYPES = tuple(OutreachType)
NIGHT_OWL = pattern_of(BEGIN.replace(hour=3) - timedelta(days=day) for day in range(1, 30))
BY_DAY = pattern_of(BEGIN.replace(hour=hour) - timedelta(days=day) for day in range(1, 9) for hour in (9, 15, 20))


@lru_cache
def clock(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)


def changes_of_clocks(zone: str) -> list[datetime]:
    """The moments of the year, to the quarter of an hour, at which a zone's clocks change."""
    found, here = [], clock(zone)
    offset = BEGIN.astimezone(here).utcoffset()
    for day in range(367):
        at = BEGIN + day * DAY
        if at.astimezone(here).utcoffset() != offset:
            while (at - 15 * MINUTE).astimezone(here).utcoffset() != offset:
                at -= 15 * MINUTE
            found.append(at)
            offset = at.astimezone(here).utcoffset()
    return found


@cache
def open_hours_of_a_stranger(user: str, language: str | None, quiet: tuple[int, int]) -> frozenset[int]:
    """UTC hours that `domain.zone` leaves open for somebody who set no zone, and those of their habit."""
    closed = quiet_hours_utc(zone_posterior(PATTERNS[user], language), BEGIN.date(), quiet)
    habit = {"night owl": {3}, "by day": {9, 15, 20}, "nobody": set()}[user]
    return frozenset({hour for hour in range(24) if not closed[hour]} | habit)


PATTERNS: dict[str, Pattern] = {"night owl": NIGHT_OWL, "by day": BY_DAY, "nobody": EMPTY}


@dataclass(frozen=True, slots=True)
class User:
    """A generated user: what the gate sees, and how it came about."""

    profile: Profile
    who: str
    last_sent: datetime | None
    gap: timedelta
    pressed: tuple[tuple[OutreachType, datetime], ...] = ()
    """When they pressed "not now", each time in the second in which a message came."""
    chose: tuple[tuple[datetime, OutreachType, bool], ...] = ()
    """When they switched a type off (True) or on."""

    def is_off(self, outreach_type: OutreachType) -> bool:
        """Whether the newest choice says so; of one second, off."""
        choices = sorted((at, off) for at, kind, off in self.chose if kind == outreach_type)
        return bool(choices) and choices[-1][1]

    def held_until(self, outreach_type: OutreachType) -> datetime:
        """Until when "not now" holds: each one within a year doubles the usual distance, to 90 days at most."""
        times = sorted(at for kind, at in self.pressed if kind == outreach_type)
        held = BEGIN - 366 * DAY
        for number, at in enumerate(times):
            doublings = sum(at - earlier < 365 * DAY for earlier in times[:number])
            held = max(held, at + min(90, USUAL_DAYS[outreach_type] * 2 ** (doublings + 1)) * DAY)
        return held


def draw_policy(rng: random.Random) -> Policy:
    """A policy; one in fifty is switched off."""
    quiet = rng.choice(((22, 8), (22, 8), (22, 8), (0, 6), (23, 7), (3, 2), (0, 0)))
    return Policy(
        consent=rng.choice((ConsentPolicy.ASK, ConsentPolicy.ASSUME)),
        max_per_day=rng.choice((1, 1, 1, 2, 3, 0)),
        min_gap=rng.choice((12 * HOUR, 12 * HOUR, HOUR, 36 * HOUR, timedelta())),
        quiet=quiet,
        rollout=Shares(rng.choice((1.0, 1.0, 0.5, 0.9)), {TYPES[5]: 0.0}),
        experiment=Experiment(name="sweep", control=0.1, type_control=Shares(0.0, {})),
        budget=rng.choice((0, 100)),
        enabled=rng.random() > 0.02,
        budget_left=rng.choice((None, None, 5, 0)),
    )


def draw_word(
    rng: random.Random, around: datetime
) -> tuple[tuple[tuple[OutreachType, datetime], ...], tuple[tuple[datetime, OutreachType, bool], ...]]:
    """What one user in three pressed: "not now" up to three times, or types off and on."""
    fate = rng.random()
    if fate < 0.2:
        kinds = rng.sample(TYPES, rng.randrange(1, 3))
        times = (
            around.replace(second=0) - rng.randrange(1, 130) * DAY + rng.randrange(2_000) * MINUTE for _ in range(3)
        )
        return tuple((rng.choice(kinds), at) for at in list(times)[: rng.randrange(1, 4)]), ()
    if fate < 0.35:
        moments = [around - number * DAY for number in range(1, 4)]
        kinds = rng.sample(TYPES, 3)
        return (), tuple(
            (rng.choice(moments), rng.choice(kinds), rng.random() < 0.6) for _ in range(rng.randrange(1, 7))
        )
    return (), ()


def draw_user(rng: random.Random, number: int, zone: str, around: datetime, policy: Policy) -> User:
    """A user at some time of theirs; two in three were written to before."""
    told = rng.random()
    pressed, chose = draw_word(rng, around)
    bare = Profile(
        bot_id=1,
        user_id=number,
        chat_id=number,
        first_name="",
        language_code=rng.choice(("en", "de", "ru", None)),
        consent=Consent.GRANTED if told < 0.9 else Consent.UNASKED if told < 0.96 else Consent.DECLINED,
        opted_out=rng.random() < 0.02,
        blocked=rng.random() < 0.02,
        status_at=None,
        epoch=0,
        cap_day=None,
        cap_count=0,
        next_ok_at=None,
        zone=zone,
        created_at=around + rng.randrange(-700, 1_300) * MINUTE if rng.random() < 0.05 else BEGIN,
        crisis_at=around - rng.randrange(60) * DAY if rng.random() < 0.03 else None,
        preferences=Preferences(
            frozenset(
                (
                    *(Dismissal(Exposure(kind, at), at) for kind, at in pressed),
                    *(TypeChoice(kind, at, off) for at, kind, off in chose),
                )
            )
        ),
    )
    last_sent = None
    if rng.random() < 0.67:
        last_sent = around - timedelta(seconds=rng.randrange(172_800), microseconds=rng.choice((0, 1)))
        cost = charge(bare, policy, last_sent)
        bare = Profile(
            **{name: getattr(bare, name) for name in Profile.__slots__}
            | {"cap_day": cost.day, "cap_count": rng.randrange(1, 4), "next_ok_at": cost.next_ok_at}
        )
    return User(bare, rng.choice(tuple(PATTERNS)), last_sent, policy.min_gap, pressed, chose)


def draw_candidate(rng: random.Random, now: datetime) -> Candidate:
    """A message planned before, due around now, and worth something for up to three days."""
    due = now + rng.randrange(-2_000, 1_000) * MINUTE
    return Candidate(
        outreach_type=TYPES[int(rng.random() * 7)],
        campaign=rng.choice(("c", "silence")),
        period="p",
        priority=0.5,
        trigger="t",
        planned_at=now - rng.randrange(0, 4_000) * MINUTE,
        due_at=due,
        expires_at=due + rng.randrange(1, 4_320) * MINUTE,
        arm=(None, Arm.TREATED, Arm.HELD_OUT)[int(rng.random() * 3)],
        needed=rng.random() > 0.02,
    )


def reached(outreach_type: str, user_id: int, share: float) -> bool:
    """Whether a rollout to that share of the users reaches this one: a hash, so that it never takes back a yes."""
    digest = hashlib.sha256(f"rollout#1#{user_id}#{outreach_type}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56 < share


def refusal(candidate: Candidate, user: User, policy: Policy, seen_at: datetime | None, now: datetime) -> Reason | None:
    """What R42 and the operator's switches say, whatever the hour."""
    profile, share = user.profile, policy.rollout.of(candidate.outreach_type)
    agreed = {Consent.GRANTED} | ({Consent.UNASKED} if policy.consent is ConsentPolicy.ASSUME else set())
    pointless = candidate.outreach_type in POINTLESS_ON_RETURN and seen_at and seen_at > candidate.planned_at
    ended = candidate.campaign == "silence" and any(
        kind in WIN_BACK and (seen_at is None or at > seen_at) for kind, at in user.pressed
    )
    checks = (
        (not policy.enabled, Reason.PAUSED),
        (profile.opted_out, Reason.OPTED_OUT),
        (profile.blocked, Reason.BLOCKED),
        (profile.consent not in agreed, Reason.CONSENT),
        (user.is_off(candidate.outreach_type), Reason.TYPE_STOPPED),
        (profile.crisis_at is not None and now - profile.crisis_at < 30 * DAY, Reason.CRISIS),
        (share == 0, Reason.TYPE_OFF),
        (not reached(candidate.outreach_type, profile.user_id, share), Reason.ROLLOUT),
        (max(now, candidate.due_at) >= candidate.expires_at, Reason.EXPIRED),
        (not candidate.needed or bool(pointless), Reason.NOT_NEEDED_ANY_MORE),
        (ended, Reason.SERIES_ENDED),
    )
    return next((reason for applies, reason in checks if applies), None)


def limits(user: User, outreach_type: OutreachType, policy: Policy, now: datetime) -> Callable[[datetime], set[Reason]]:
    """Return the function that names the limits which a message at some moment would cross."""
    profile, held_until = user.profile, user.held_until(outreach_type)
    here = clock(profile.zone)
    begin, end = policy.quiet

    def crossed(at: datetime) -> set[Reason]:
        local, found = at.astimezone(here), set()
        if at < profile.created_at + HOUR:
            found.add(Reason.FIRST_HOUR)
        if at < held_until:
            found.add(Reason.SNOOZED)
        if user.last_sent and (at - user.last_sent).total_seconds() < user.gap.total_seconds():
            found.add(Reason.MIN_GAP)
        today = local.date().isoformat()
        counted = profile.cap_count if profile.cap_day == today else 0
        if counted >= policy.max_per_day or (profile.cap_day and today < profile.cap_day):
            found.add(Reason.DAILY_CAP)
        if profile.zone == UNSET:
            awake = begin == end or at.hour in open_hours_of_a_stranger(user.who, profile.language_code, policy.quiet)
        else:
            quiet = local.hour >= begin or local.hour < end if begin > end else begin <= local.hour < end
            awake = begin == end or not quiet
        if not awake:
            found.add(Reason.QUIET_HOURS)
        if policy.budget_left == 0 and at.date() == now.date():
            found.add(Reason.BUDGET)
        return found

    return crossed


def fault(
    decision: Decision, candidate: Candidate, user: User, policy: Policy, now: datetime, rng: random.Random
) -> str | None:
    """What is wrong with a decision; None where nothing is."""
    seen = PATTERNS[user.who].last_at
    expected = refusal(candidate, user, policy, datetime.fromtimestamp(seen, UTC) if seen else None, now)
    if expected or decision.reason in SETTLED:
        return None if decision.reason is expected else f"{expected} expected"
    earliest, crossed = max(now, candidate.due_at), limits(user, candidate.outreach_type, policy, now)
    if decision.reason is Reason.HELD_OUT:
        return None if candidate.arm is Arm.HELD_OUT and earliest == now and not crossed(now) else "not held out"
    until = decision.send_at or candidate.expires_at
    if until > earliest:
        # Nothing earlier was permitted: at any moment before it, some limit says no.
        before = earliest + rng.random() * (until - earliest)
        if not crossed(min(before, until - timedelta(microseconds=1))) or not crossed(earliest):
            return f"{before} was permitted"
    if decision.send_at is None:
        if decision.reason is Reason.LOW_ZONE_CONFIDENCE:
            return None if user.profile.zone == UNSET else "the zone is known"
        named = decision.reason in crossed(candidate.expires_at - timedelta(microseconds=1))
        return None if named or decision.reason in {Reason.QUIET_HOURS, Reason.BUDGET} else "no such limit"
    if not earliest <= decision.send_at < candidate.expires_at:
        return "too early or too late"
    if decision.send_at == now and candidate.arm is Arm.HELD_OUT:
        return "held out, and yet sent"
    return ", ".join(crossed(decision.send_at)) or None


def test_a_million_cases_cross_no_limit_and_each_is_explained() -> None:
    """R37-R42, R51, R92, R98, R103, R104: every zone there is, both nights of each.

    And anything that a profile, a word of the user's, a policy and a message can be.
    """
    rng = random.Random(41)
    nights = {zone: changes_of_clocks(zone) for zone in ZONES}
    answers: Counter[str] = Counter()
    around_a_change: Counter[tuple[str, datetime]] = Counter()
    faults = []
    for number in range(CASES // CASES_A_USER):
        zone = UNSET if number % 40 == 0 else ZONES[number % len(ZONES)]
        changes = nights.get(zone)
        if changes and number % 3:
            change = changes[number // len(ZONES) % len(changes)]
            around = change + rng.randrange(-720, 720) * MINUTE
            around_a_change[zone, change] += CASES_A_USER
        else:
            around = BEGIN + rng.randrange(MINUTES) * MINUTE
        policy = draw_policy(rng)
        user = draw_user(rng, number, zone, around, policy)
        pattern = PATTERNS[user.who]
        for _ in range(CASES_A_USER):
            now = around + timedelta(seconds=rng.randrange(-40_000, 80_000))
            candidate = draw_candidate(rng, now)
            decision = decide(candidate, user.profile, pattern, policy, now)
            wrong = fault(decision, candidate, user, policy, now, rng)
            if wrong:
                faults.append((wrong, decision, candidate, user.profile, policy, now))
            answers[decision.reason or "time"] += 1

    assert faults == [], faults[:1]
    assert answers.total() == CASES
    assert set(answers) == {
        "time",
        *WAITED,
        *SETTLED,
        "expired",
        "not_needed_any_more",
        "series_ended",
        "budget",
        "held_out",
    }
    assert min(answers.values()) >= 100, answers
    assert set(around_a_change) == {(zone, change) for zone in ZONES for change in nights[zone]}
