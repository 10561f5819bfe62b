"""Experiments: who is held out, for good, whatever runs the code."""

from collections import Counter
from statistics import fmean

import pytest

from engagement.domain.experiment import Experiment, Shares, draw
from engagement.domain.outreach import Arm, OutreachType
from engagement.errors import SettingsError

EXPERIMENT = Experiment(name="first", control=0.1, type_control=Shares(0.2, {OutreachType.MOOD_SUPPORT: 0.0}))
USERS = range(1, 20_001)


def letter(user_id: int, outreach_type: OutreachType, experiment: Experiment = EXPERIMENT) -> str:
    """c: global control group, h: held out of the type, t: treated."""
    assigned = experiment.assign(1, user_id, outreach_type)
    return "c" if assigned.in_control else "h" if assigned.arm is Arm.HELD_OUT else "t"


def test_the_arms_are_these_in_every_run_and_every_deployment() -> None:
    """R43: golden; whoever changes the draw restarts every experiment that runs anywhere."""
    arms = ["".join(letter(user_id, kind) for kind in OutreachType) for user_id in range(1, 41)]

    assert arms == GOLDEN
    assert draw("first", "control", 1, 1) == 0.9479508300298347


def test_a_user_of_the_control_group_is_held_out_of_every_type() -> None:
    for user_id in USERS[:500]:
        arms = {EXPERIMENT.assign(1, user_id, kind).in_control for kind in OutreachType}
        assert len(arms) == 1


def test_as_many_are_treated_as_the_logged_probabilities_say() -> None:
    """Within four standard errors."""
    for kind in OutreachType:
        assigned = [EXPERIMENT.assign(1, user_id, kind) for user_id in USERS]
        for logged, found in (
            (assigned[0].treated_probability, fmean(a.arm is Arm.TREATED for a in assigned)),
            (assigned[0].program_probability, fmean(not a.in_control for a in assigned)),
        ):
            assert found == pytest.approx(logged, abs=4 * (logged * (1 - logged) / len(USERS)) ** 0.5)


def test_who_is_held_out_of_one_type_says_nothing_of_another() -> None:
    kinds = OutreachType.RE_ENGAGEMENT, OutreachType.TOPIC_FOLLOW_UP
    pairs = Counter(tuple(letter(user_id, kind) for kind in kinds) for user_id in USERS)
    program = sum(many for pair, many in pairs.items() if "c" not in pair)

    assert pairs["h", "h"] / program == pytest.approx(0.2 * 0.2, abs=0.006)


def test_another_name_or_another_bot_draws_everybody_anew() -> None:
    other = Experiment(name="second", control=0.1, type_control=Shares(0.2, {}))
    both = sum(
        letter(u, OutreachType.RE_ENGAGEMENT) == letter(u, OutreachType.RE_ENGAGEMENT, other) == "c" for u in USERS
    )
    assert both / len(USERS) == pytest.approx(0.01, abs=0.003)
    bots = fmean(
        EXPERIMENT.assign(1, u, OutreachType.RE_ENGAGEMENT) == EXPERIMENT.assign(2, u, OutreachType.RE_ENGAGEMENT)
        for u in USERS
    )
    assert bots < 0.75


def test_more_control_moves_users_into_it_and_none_out() -> None:
    """A share that is changed later moves as few as it can."""
    wider = Experiment(name="first", control=0.2, type_control=EXPERIMENT.type_control)
    kind = OutreachType.RE_ENGAGEMENT
    for user_id in USERS[:2_000]:
        assert letter(user_id, kind, wider) == "c" or letter(user_id, kind, wider) == letter(user_id, kind)


def test_a_type_is_measured_by_itself_where_it_has_a_control_group() -> None:
    assert EXPERIMENT.assign(1, 1, OutreachType.RE_ENGAGEMENT).measured_by_type
    assert not EXPERIMENT.assign(1, 1, OutreachType.MOOD_SUPPORT).measured_by_type


def test_shares_are_one_percentage_and_exceptions() -> None:
    shares = Shares.parse(" 100, re_engagement=20,topic_follow_up = 0.5", "ROLLOUT")

    assert shares.of(OutreachType.MOOD_SUPPORT) == 1.0
    assert shares.of(OutreachType.RE_ENGAGEMENT) == 0.2
    assert shares.of(OutreachType.TOPIC_FOLLOW_UP) == 0.005


@pytest.mark.parametrize(
    "setting", ["", "all", "101", "-1", "nan", "50,nonsense=3", "50,re_engagement", "50,re_engagement=x"]
)
def test_a_share_that_is_none_says_what_to_write(setting: str) -> None:
    """R1: at the start, not at the first message."""
    with pytest.raises(SettingsError, match=r"ROLLOUT is .*re_engagement=20"):
        Shares.parse(setting, "ROLLOUT")


GOLDEN = [
    "thttttt",
    "tthhttt",
    "thttttt",
    "ttttttt",
    "ththttt",
    "thtttth",
    "htthttt",
    "tthttht",
    "thttttt",
    "ttthtth",
    "ccccccc",
    "tthtttt",
    "ttttttt",
    "ttttttt",
    "tthtttt",
    "ttttttt",
    "ccccccc",
    "hhttttt",
    "tttttth",
    "tthhttt",
    "tthtttt",
    "ccccccc",
    "tttttht",
    "tthtttt",
    "ttththh",
    "httttht",
    "ccccccc",
    "ttttttt",
    "tttttht",
    "ccccccc",
    "ttttttt",
    "ttthttt",
    "ttttttt",
    "hhtttth",
    "ccccccc",
    "httttht",
    "ttttthh",
    "ttthtth",
    "tthttht",
    "tthtttt",
]
"""Of users 1 to 40 of bot 1: a letter for each type, in their order."""
