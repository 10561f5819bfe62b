"""R90-R92: in worlds where messages only make people press buttons nothing is claimed, preferred or sent for it."""

from dataclasses import replace

import pytest

from engagement.domain.lift import Measure, Verdict
from tests.pressing import World, share_of_the_annoying_text, year_of

BOTS, USERS = 20, 1_000


def claims(world: World) -> int:
    """Bots of which, at some look, it is said that messages bring people back."""
    return sum(
        any(lift.verdict(Measure.RETURNED_7D) is Verdict.HELPS for lift in world.looks(seed, USERS))
        for seed in range(BOTS)
    )


def test_messages_that_only_make_people_press_claim_no_lift() -> None:
    """R90: 15 % press stop and 5 % "not now", nobody is helped; and the predicate is what makes the difference."""
    assert claims(World()) <= 1
    assert claims(World(presses_count=True)) > BOTS / 4


def test_the_harm_is_seen_for_what_it_is() -> None:
    """R91: a press of stop is a stop."""
    *_, last = World().looks(3, USERS)
    stopped = last.effect(Measure.OPTED_OUT)
    assert stopped.treated == pytest.approx(0.15, abs=0.04)
    assert stopped.held_out == 0


def test_the_text_that_people_stop_is_not_preferred() -> None:
    """R91: worth is P(answered) - 5 P(stop) - P(not now); a press used to pass for an answer."""
    assert share_of_the_annoying_text(1, 2_500) < 0.15
    assert share_of_the_annoying_text(1, 2_500, presses_count=True) > 0.5


@pytest.mark.parametrize("seed", range(40))
def test_who_presses_not_now_gets_fewer_messages_in_a_year_than_who_ignores(seed: int) -> None:
    """R92: the same life, one ignoring every message, one pressing "not now" under each."""
    ignores = year_of(seed)
    presses = replace(ignores, presses=True)
    received, ignored = len(presses.messages()), len(ignores.messages())
    assert received < ignored or received == ignored <= 1
