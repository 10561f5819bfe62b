"""A candidate becomes an outreach: when, for which arm, with which text, and all of it with its probability."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from engagement.domain.experiment import Experiment, Shares
from engagement.domain.gate import Policy, Reason
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from engagement.domain.planning import AT_ONCE, Candidate, celebration_candidate
from engagement.domain.quiet import IsOpen
from engagement.domain.scores import rule_scores
from engagement.domain.templates import AI_SUFFIX, Texts
from engagement.domain.variants import EVEN_UNTIL, EXPLORATION, Performance
from engagement.services.planner import PERFORMANCE_DAYS, Planner, recent_performance
from tests.builders import NOW, policy, profile, silent_for

PATTERN = silent_for(5)
PROFILE = profile(zone="Europe/Berlin")
POLICY = policy(quiet=(22, 8))
CANDIDATE = Candidate(
    outreach_type=OutreachType.RE_ENGAGEMENT,
    campaign="silence",
    period="2026-11-17-1",
    priority=0.9,
    trigger="churn_14d_high",
    planned_at=NOW,
    due_at=NOW,
    expires_at=NOW + timedelta(days=2),
)
NAMES = Texts().variants(OutreachType.RE_ENGAGEMENT)


def planned(answer: Outreach | Reason) -> Outreach:
    assert isinstance(answer, Outreach), answer
    return answer


def at_seven(is_open: IsOpen, at: datetime) -> datetime:
    """Somebody's best hour."""
    return at.replace(hour=19, minute=30)


def test_an_outreach_keeps_what_it_was_planned_with() -> None:
    candidate = replace(celebration_candidate("chatty_newcomer", "Chatty Newcomer", 1, NOW), trigger="because")

    outreach = planned(Planner(POLICY, Texts).prepare(candidate, PROFILE, PATTERN, NOW, context=b"features"))

    assert outreach.state is OutreachState.SCHEDULED
    for name in ("outreach_type", "campaign", "period", "priority", "trigger", "planned_at", "expires_at", "values"):
        assert getattr(outreach, name) == getattr(candidate, name)
    assert outreach.context == b"features"
    assert outreach.covariate == 1 - rule_scores(PATTERN, NOW).churn_7d
    known = Planner(POLICY, Texts).prepare(candidate, PROFILE, PATTERN, NOW, covariate=0.25)
    assert planned(known).covariate == 0.25


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"opted_out": True}, Reason.OPTED_OUT), ({"blocked": True}, Reason.BLOCKED)],
)
def test_what_the_gate_refuses_is_not_prepared(changes: dict[str, object], reason: Reason) -> None:
    """R42."""
    assert Planner(POLICY, Texts).prepare(CANDIDATE, replace(PROFILE, **changes), PATTERN, NOW) is reason


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_support_and_celebrations_go_out_at_once_and_the_others_at_the_best_hour(outreach_type: OutreachType) -> None:
    """At once, within the open hours: at 23 h in Berlin that is the next morning."""
    candidate, planner = replace(CANDIDATE, outreach_type=outreach_type), Planner(POLICY, Texts)
    at_once = outreach_type in AT_ONCE

    by_day = planned(planner.prepare(candidate, PROFILE, PATTERN, NOW, best_time=at_seven))
    late = NOW.replace(hour=22)
    by_night = planned(planner.prepare(replace(candidate, due_at=late), PROFILE, PATTERN, late, best_time=at_seven))

    assert by_day.due_at == (NOW if at_once else NOW.replace(hour=19, minute=30))
    assert by_night.due_at == NOW.replace(day=23, hour=7 if at_once else 19, minute=0 if at_once else 30)


def test_a_best_hour_that_comes_too_late_is_not_waited_for() -> None:
    brief = replace(CANDIDATE, expires_at=NOW + timedelta(hours=3))

    assert planned(Planner(POLICY, Texts).prepare(brief, PROFILE, PATTERN, NOW, best_time=at_seven)).due_at == NOW


def test_the_best_hour_is_asked_for_only_where_the_gate_permits_any() -> None:
    """It may take a model."""

    def never(is_open: IsOpen, at: datetime) -> datetime:
        raise AssertionError

    assert Planner(replace(POLICY, enabled=False), Texts).prepare(
        CANDIDATE, PROFILE, PATTERN, NOW, best_time=never
    ) is (Reason.PAUSED)


def arms(experiment: Experiment, outreach_type: OutreachType = OutreachType.RE_ENGAGEMENT) -> list[Outreach]:
    planner = Planner(replace(POLICY, experiment=experiment), Texts)
    candidate = replace(CANDIDATE, outreach_type=outreach_type)
    return [planned(planner.prepare(candidate, replace(PROFILE, user_id=n), PATTERN, NOW)) for n in range(600)]


def test_the_arm_of_a_user_is_the_same_after_every_deploy() -> None:
    """R43: golden, by sha256sum; another one would draw everybody anew in the middle of an experiment."""
    first = arms(Experiment(name="first", control=0.1, type_control=Shares(0.0, {})))

    assert [o.user_id for o in first if o.arm is Arm.HELD_OUT][:8] == [11, 17, 22, 27, 30, 35, 44, 49]
    assert 0.07 < sum(o.arm is Arm.HELD_OUT for o in first) / 600 < 0.13


def test_the_probabilities_of_the_arm_are_kept() -> None:
    """R43: a global control group, and one of the type within the rest."""
    found = arms(Experiment(name="first", control=0.1, type_control=Shares(0.2, {OutreachType.MOOD_SUPPORT: 0.0})))
    other = arms(
        Experiment(name="first", control=0.1, type_control=Shares(0.2, {OutreachType.MOOD_SUPPORT: 0.0})),
        OutreachType.MOOD_SUPPORT,
    )

    assert {(o.treated_probability, o.program_probability, o.measured_by_type) for o in found} == {
        (0.9 * 0.8, 0.9, True)
    }
    assert {(o.treated_probability, o.program_probability, o.measured_by_type) for o in other} == {(0.9, 0.9, False)}
    assert {o.user_id for o in found if o.in_control} == {o.user_id for o in other if o.in_control}
    assert 0.2 < sum(o.arm is Arm.HELD_OUT for o in found) / 600 < 0.36


def test_the_text_is_drawn_alike_in_both_arms_and_the_same_at_every_call() -> None:
    """R37, R43: planning twice meets itself; the arm tells nothing of the text."""
    experiment = Experiment(name="first", control=0.5, type_control=Shares(0.0, {}))
    first, again = arms(experiment), arms(experiment)

    assert first == again
    by_arm = {arm: Counter(o.template for o in first if o.arm is arm) for arm in Arm}
    assert all(set(counts) == set(NAMES) for counts in by_arm.values())
    assert {o.template_probability for o in first} == {1 / len(NAMES)}


def test_what_people_answer_is_written_more_often_once_enough_is_known() -> None:
    good, bad = NAMES[0], NAMES[1]
    known = Performance({good: EVEN_UNTIL, bad: EVEN_UNTIL, "mood_support.x": 9}, {good: 400, bad: 100})
    planner = Planner(POLICY, Texts, lambda now: known)

    chosen = Counter(
        planned(planner.prepare(CANDIDATE, replace(PROFILE, user_id=n), PATTERN, NOW)).template for n in range(300)
    )

    assert chosen[good] > 200
    assert chosen[bad] < 300 * 3 * EXPLORATION
    others = Performance({"mood_support.x": 5_000}, {"mood_support.x": 100})
    even = planned(Planner(POLICY, Texts, lambda now: others).prepare(CANDIDATE, PROFILE, PATTERN, NOW))
    assert even.template_probability == 1 / len(NAMES), "another type's sends say nothing of this one's texts"


def test_a_text_that_somebody_read_lately_is_worth_less_to_them() -> None:
    """And one that was held out they never saw."""
    known = Performance(dict.fromkeys(NAMES, EVEN_UNTIL), dict.fromkeys(NAMES, 200))
    planner = Planner(POLICY, Texts, lambda now: known)
    base = planned(planner.prepare(CANDIDATE, PROFILE, PATTERN, NOW))
    read = replace(base, state=OutreachState.SENT, exposed_at=NOW - timedelta(days=1))

    after_reading = planned(planner.prepare(CANDIDATE, PROFILE, PATTERN, NOW, history=[read]))
    after_nothing = planned(
        planner.prepare(CANDIDATE, PROFILE, PATTERN, NOW, history=[replace(read, state=OutreachState.HELD_OUT)])
    )

    assert after_nothing == base
    assert after_reading != base


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("ai", [True, False])
def test_a_text_is_rephrased_only_for_those_who_allow_it(allowed: bool, ai: bool) -> None:
    planner = Planner(POLICY, Texts, ai=ai)
    users = [replace(PROFILE, user_id=n, consent_llm=allowed) for n in range(100)]

    chosen = {planned(planner.prepare(CANDIDATE, user, PATTERN, NOW)).template for user in users}

    assert any(name.endswith(AI_SUFFIX) for name in chosen) == (ai and allowed)


def test_texts_and_counters_are_read_once_for_each_moment() -> None:
    """A run plans for hundreds at one time, and an operator's change holds from the next one on."""
    reads: list[str] = []

    def texts() -> Texts:
        reads.append("texts")
        return Texts()

    def performance(now: datetime) -> Performance:
        reads.append(f"{now:%H}")
        return Performance()

    planner = Planner(POLICY, texts, performance)
    for hour in (12, 12, 12, 13):
        planner.prepare(CANDIDATE, PROFILE, PATTERN, NOW.replace(hour=hour))

    assert reads == ["12", "texts", "13", "texts"]
    paused: Policy = replace(POLICY, enabled=False)
    Planner(paused, texts, performance).prepare(CANDIDATE, PROFILE, PATTERN, NOW)
    assert len(reads) == 4, "nothing is read for what is refused"


class Counters:
    """Two days of counters, with types, milestones and users among them."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Mapping[date, Mapping[str, int]]:
        assert (bot_id, last_day - first_day) == (1, timedelta(days=PERFORMANCE_DAYS))
        today = {
            "sent@re_engagement.a": 100,
            "responded@re_engagement.a": 20,
            "stopped@re_engagement.a": 4,
            "left@re_engagement.a": 3,
            "not_now@re_engagement.a": 5,
            "opened@re_engagement.a": 50,
            "sent:re_engagement": 100,
            "stopped:re_engagement": 4,
            "dau": 7,
        }
        return {last_day: today, first_day: {"sent@re_engagement.a": 10, "left@re_engagement.b": 1}}


def test_a_texts_worth_is_read_off_the_counters_of_its_presses_and_of_those_who_left() -> None:
    """R91: a stop or a block costs alike; an offer that was merely opened is worth nothing."""
    assert recent_performance(Counters(), 1, NOW) == Performance(
        sends={"re_engagement.a": 110},
        responses={"re_engagement.a": 20},
        stops={"re_engagement.a": 7, "re_engagement.b": 1},
        not_nows={"re_engagement.a": 5},
    )
