"""Choosing texts: even first, then what is answered most, with the probability of each choice on record."""

import math
from collections import Counter
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.variants import EVEN_UNTIL, EXPLORATION, Choice, Performance, choose, probabilities
from tests.bench.bench_bandit import SETTINGS, Policy, ours, regret, thompson, uniform

LONG_AGO = 1_000.0


class Asked(NamedTuple):
    """What a choice is asked with."""

    names: list[str]
    performance: Performance
    days_since: dict[str, float]


texts = st.sampled_from([f"re_engagement.{letter}{ai}" for letter in "abcdefgh" for ai in ("", "+ai")])
days = st.floats(0, 400)


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    """Any number of texts with any past, most of them past the even split."""
    names = draw(st.lists(texts, min_size=1, max_size=16, unique=True))
    sends = draw(st.dictionaries(texts, st.integers(0, 30_000)))
    responses = {name: draw(st.integers(0, sent)) for name, sent in sends.items()}
    return Asked(names, Performance(sends, responses), draw(st.dictionaries(texts, days)))


def rates(sends: int, **percent: float) -> Performance:
    """Return texts sent as often as each other, with their response rates in percent."""
    return Performance(dict.fromkeys(percent, sends), {name: round(sends * of / 100) for name, of in percent.items()})


@given(asked())
@settings(max_examples=200, deadline=None)
def test_probabilities_are_those_of_the_eligible_texts_sum_to_one_and_are_never_below_the_floor(case: Asked) -> None:
    found = probabilities(*case)

    assert set(found) == set(case.names)
    assert math.isclose(sum(found.values()), 1)
    assert min(found.values()) >= min(EXPLORATION, 0.5 / len(case.names)) - 1e-12


@given(asked(), st.text(max_size=20), st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_same_question_gets_the_same_answer_in_whatever_order_the_texts_come(
    case: Asked, seed: str, dice: Random
) -> None:
    """R43: planning twice meets itself, and the probability on record is the one that was drawn with."""
    choice = choose(*case, seed)

    shuffled = case._replace(names=sorted(case.names, key=lambda name: dice.random()))
    assert choose(*shuffled, seed) == choice
    assert choice == Choice(choice.name, probabilities(*case)[choice.name])


def test_a_choice_stays_what_it_was_across_versions() -> None:
    """R43: golden; another draw would give users other texts in the middle of an experiment."""
    names = ["re_engagement.a", "re_engagement.b", "re_engagement.b+ai"]

    chosen = [choose(names, None, {}, f"42#{user}#re_engagement#2026-W47").name[14:] for user in range(8)]

    assert chosen == ["b", "a", "a", "b+ai", "b+ai", "b", "b+ai", "b+ai"]


@pytest.mark.parametrize("performance", [None, Performance(), rates((EVEN_UNTIL - 1) // 3, a=90, b=1, c=0)])
def test_the_split_is_even_until_enough_was_sent(performance: Performance | None) -> None:
    assert probabilities("abc", performance, {"a": 0.0}) == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


def test_from_then_on_what_is_answered_more_is_sent_more() -> None:
    found = probabilities("abc", rates(EVEN_UNTIL // 2, a=30, b=20, c=10), {})

    assert found["a"] > 0.85
    assert found["a"] > found["b"] >= found["c"] >= EXPLORATION


@pytest.mark.parametrize("performance", [None, rates(400, a=20, b=18, c=15, d=10)])
def test_over_many_people_the_choices_have_the_recorded_frequencies(performance: Performance | None) -> None:
    """Judged by a chi-square test; the seeds are fixed, so it cannot fail by chance tomorrow."""
    people = 5_000
    expected = probabilities("abcd", performance, {"b": 3.0})

    counts = Counter(
        choose("abcd", performance, {"b": 3.0}, f"1#{user}#re_engagement#2026-W47").name for user in range(people)
    )

    distance = sum((counts[name] - people * share) ** 2 / (people * share) for name, share in expected.items())
    # The 99.9 % point with three degrees of freedom.
    assert distance < 16.3


def test_the_chances_are_those_of_thompson_sampling() -> None:
    """Computed, they agree with sampling from the Beta posteriors within 0.05, whatever was sent how often."""
    dice = np.random.default_rng(4)
    for _ in range(60):
        names = [f"text{number}" for number in range(dice.integers(2, 6))]
        sends = {name: int(dice.choice([0, 20, 200, 1_000, 20_000])) for name in names} | {"retired": EVEN_UNTIL}
        rate = dice.choice([0.02, 0.1, 0.3, 0.6])
        responses = {name: int(dice.binomial(sent, rate * dice.uniform(0.8, 1.2))) for name, sent in sends.items()}
        answered = sum(responses.values())
        prior = max((sum(sends.values()) - answered + 1) / (answered + 1), 1)
        sampled = np.column_stack(
            [dice.beta(1 + responses[name], prior + sends[name] - responses[name], 20_000) for name in names]
        )
        best = np.bincount(sampled.argmax(axis=1), minlength=len(names)) / len(sampled)

        found = probabilities(names, Performance(sends, responses), {})

        mixed = EXPLORATION + (1 - EXPLORATION * len(names)) * best
        assert np.array([found[name] for name in sorted(names)]) == pytest.approx(mixed, abs=0.05)


def pressed_under(sends: int, **percent: tuple[float, float, float]) -> Performance:
    """Return texts sent as often as each other, with their shares, in percent, of answers, stops and "not now"."""

    def counts(place: int) -> dict[str, int]:
        return {name: round(sends * shares[place] / 100) for name, shares in percent.items()}

    return Performance(dict.fromkeys(percent, sends), counts(0), counts(1), counts(2))


def test_a_text_that_is_stopped_loses_against_one_that_is_answered_less_and_never_stopped() -> None:
    """R91: 20 % answered and 10 % stopped is worth 0.20 - 5 * 0.10; 15 % answered and never stopped 0.15."""
    found = probabilities("ab", pressed_under(2_000, a=(20, 10, 0), b=(15, 0, 0)), {})
    assert found == {"a": pytest.approx(EXPLORATION, abs=1e-3), "b": pytest.approx(1 - EXPLORATION, abs=1e-3)}


def test_not_now_costs_an_answer_and_a_stop_five() -> None:
    """R91: of texts that are worth the same none is preferred, whatever their worth is made of."""
    for worths in (
        {"a": (30, 0, 10), "b": (20, 0, 0)},
        {"a": (30, 2, 0), "b": (20, 0, 0)},
        {"a": (40, 2, 10), "b": (20, 0, 0)},
    ):
        found = probabilities("ab", pressed_under(20_000, **worths), {})
        assert found["a"] == pytest.approx(0.5, abs=0.12), worths
    better = probabilities("ab", pressed_under(20_000, a=(30, 0, 5), b=(20, 0, 0)), {})
    worse = probabilities("ab", pressed_under(20_000, a=(30, 0, 15), b=(20, 0, 0)), {})
    assert better["a"] > 0.9 > 0.1 > worse["a"]


@given(asked())
@settings(max_examples=100, deadline=None)
def test_where_nobody_presses_the_choice_is_that_of_the_answers_alone(case: Asked) -> None:
    """R91: counts of zero change nothing."""
    zeros = dict.fromkeys(case.performance.sends, 0)
    known = Performance(case.performance.sends, case.performance.responses, zeros, zeros)
    assert probabilities(case.names, known, case.days_since) == probabilities(*case)


@given(asked(), st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_pressed_probabilities_sum_to_one_and_keep_the_floor(case: Asked, data: st.DataObject) -> None:
    """R91."""

    def counts() -> dict[str, int]:
        return {name: data.draw(st.integers(0, sent)) for name, sent in case.performance.sends.items()}

    known = Performance(case.performance.sends, case.performance.responses, counts(), counts())
    found = probabilities(case.names, known, case.days_since)
    assert set(found) == set(case.names)
    assert math.isclose(sum(found.values()), 1)
    assert min(found.values()) >= min(EXPLORATION, 0.5 / len(case.names)) - 1e-12


def test_a_new_text_is_taken_to_be_stopped_like_the_others() -> None:
    """R91: it is no better for not having been sent."""
    known = pressed_under(2_000, a=(20, 8, 5), b=(20, 8, 5))
    fresh = Performance({**known.sends, "new": 0}, known.responses, known.stops, known.not_nows)
    found = probabilities(["a", "b", "new"], fresh, {})
    assert 0.15 < found["new"] < 0.7
    kind = pressed_under(2_000, a=(20, 0, 0), b=(20, 8, 5))
    fresh = Performance({**kind.sends, "new": 0}, kind.responses, kind.stops, kind.not_nows)
    assert probabilities(["a", "b", "new"], fresh, {})["b"] == pytest.approx(EXPLORATION, abs=0.01)


def test_a_new_text_is_tried_at_once_and_dropped_when_it_disappoints() -> None:
    """It is expected to be like the others, and may be better: it gets more than its floor."""
    known = rates(5_000, a=20, b=19, c=15)
    after = Performance({**known.sends, "new": 200}, {**known.responses, "new": 10})

    assert probabilities(["a", "b", "c", "new"], known, {})["new"] > 0.2
    assert probabilities(["a", "b", "c", "new"], after, {})["new"] == pytest.approx(EXPLORATION, abs=0.01)


def test_a_text_that_only_some_may_get_competes_only_there() -> None:
    """A rewritten text is a name like any other; whoever did not allow it is never asked about it."""
    performance = Performance({"a": 900, "b": 900, "a+ai": 900}, {"a": 90, "b": 180, "a+ai": 270})

    assert max(probabilities(["a", "b", "a+ai"], performance, {}).items(), key=lambda item: item[1])[0] == "a+ai"
    assert probabilities(["a", "b"], performance, {})["b"] > 0.9


@given(asked(), texts, days, days)
@settings(max_examples=200, deadline=None)
def test_the_longer_ago_a_text_was_got_the_likelier_it_is_again(
    case: Asked, name: str, one: float, other: float
) -> None:
    sooner, later = sorted((one, other))
    names = sorted({*case.names, name})
    never = {text: gap for text, gap in case.days_since.items() if text != name}

    chances = [
        probabilities(names, case.performance, since)[name]
        for since in ({**never, name: sooner}, {**never, name: later}, never)
    ]

    assert chances[0] <= chances[1] + 1e-9
    assert chances[1] <= chances[2] + 1e-9


def test_a_text_shown_yesterday_gives_way_to_one_that_is_nearly_as_good_and_comes_back() -> None:
    performance = rates(5_000, a=21, b=20)

    assert probabilities("ab", performance, {})["a"] > 0.7
    assert probabilities("ab", performance, {"a": 1.0})["a"] < 0.3
    assert probabilities("ab", performance, {"a": LONG_AGO})["a"] > 0.7
    assert probabilities("ab", performance, {"a": 1.0, "b": 1.0})["a"] > 0.7


def test_without_an_eligible_text_there_is_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="no text is eligible"):
        choose([], None, {}, "1#2#re_engagement#2026-W47")


def lost(policy: Policy, setting: str) -> float:
    """Return the regret in a simulated world whose truth is known; the whole table is tests/bench/bench_bandit.py's."""
    return float(np.mean([regret(policy, SETTINGS[setting], seed, people=420, days=126) for seed in range(2)]))


@pytest.mark.parametrize("setting", ["tastes and fatigue", "fatigue alone", "the best comes late"])
def test_where_texts_wear_off_it_loses_less_than_an_even_split_and_no_more_than_plain_thompson(setting: str) -> None:
    least = lost(ours, setting)

    assert least < 0.9 * lost(uniform, setting)
    assert least <= lost(thompson, setting)


def test_where_they_do_not_it_still_loses_less_than_an_even_split() -> None:
    assert lost(ours, "tastes") < 0.7 * lost(uniform, "tastes")
