"""R92, R95, R98: what a user wants of each type, whatever the order in which it is heard of."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachType
from engagement.domain.preferences import (
    DISTANCE,
    LONGEST,
    NONE,
    SILENCE_TYPES,
    Dismissal,
    Fact,
    Preferences,
    TypeChoice,
)
from tests.builders import NOW

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
RE = OutreachType.RE_ENGAGEMENT
types = st.sampled_from(OutreachType)
few_types = st.sampled_from([RE, OutreachType.PERSONALIZED_CHECKIN])
times = st.integers(0, 800).map(lambda days: NOW + days * DAY) | st.integers(0, 3).map(lambda s: NOW + s * SECOND)


def dismissals(kinds: st.SearchStrategy[OutreachType]) -> st.SearchStrategy[Fact]:
    """A press comes after its message, at once or much later."""
    return st.builds(
        lambda kind, exposed_at, later: Dismissal(Exposure(kind, exposed_at), exposed_at + later),
        kinds,
        times,
        st.integers(1, 60).map(lambda seconds: seconds * SECOND) | st.integers(1, 400).map(lambda days: days * DAY),
    )


def facts(kinds: st.SearchStrategy[OutreachType] = few_types) -> st.SearchStrategy[Fact]:
    return dismissals(kinds) | st.builds(TypeChoice, kinds, times, st.booleans())


def pressed(*days: float, outreach_type: OutreachType = RE) -> Preferences:
    """Somebody who pressed "not now" on these days after `NOW`, each time a minute after the message."""
    times = [NOW + day * DAY for day in days]
    return Preferences(frozenset(Dismissal(Exposure(outreach_type, at - 60 * SECOND), at) for at in times))


def what_holds(preferences: Preferences, since: datetime = NOW) -> object:
    return (
        {kind: preferences.is_off(kind) for kind in OutreachType},
        {kind: preferences.held_until(kind) for kind in OutreachType},
        preferences.ended_silence(since),
    )


@given(st.lists(facts(types), max_size=14), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_ends_in_the_same_preferences(found: list[Fact], dice: random.Random) -> None:
    again = [*found, *found[: len(found) // 2]]
    dice.shuffle(again)
    first = second = NONE
    for fact in found:
        first = first.with_(fact)
    for fact in again:
        second = second.with_(fact)

    assert first == second
    assert what_holds(first) == what_holds(second)


@given(st.lists(facts(types), max_size=14))
def test_what_is_kept_as_text_reads_back_equal(found: list[Fact]) -> None:
    preferences = Preferences(frozenset(found))
    assert Preferences.parse(map(str, preferences.facts)) == preferences


@given(st.lists(st.text(max_size=30)))
@pytest.mark.parametrize(
    "unknown",
    [
        "n.re.1.2.3",
        "n.re.1",
        "n.xx.1.2",
        "s.re",
        "s.re.x",
        "s.re.99999999999999999999",
        "z.re.1",
        "",
        ".",
        "s",
        "s.re.-99999999999",
    ],
)
def test_what_a_later_version_wrote_is_passed_over(unknown: str, texts: list[str]) -> None:
    known = TypeChoice(RE, NOW, off=True)
    read = Preferences.parse([unknown, str(known), *texts])
    assert known in read.facts
    assert Preferences.parse([unknown]) == NONE


def test_of_two_choices_of_one_second_off_holds() -> None:
    """R95: no wins a tie, in every consent alike."""
    on, off = TypeChoice(RE, NOW, off=False), TypeChoice(RE, NOW, off=True)
    assert NONE.with_(on).with_(off).is_off(RE)
    assert NONE.with_(off).with_(on).is_off(RE)
    assert not NONE.with_(off).with_(TypeChoice(RE, NOW + SECOND, off=False)).is_off(RE)
    assert NONE.with_(TypeChoice(RE, NOW - SECOND, off=False)).with_(off).is_off(RE)
    assert not NONE.with_(off).is_off(OutreachType.MOOD_SUPPORT), "of that type alone"
    assert not NONE.is_off(RE)


def test_each_not_now_within_a_year_doubles_the_distance() -> None:
    """R92: of a week to 14, 28, 56 days, and to 90 at most."""
    for count, days in enumerate((14, 28, 56, 90, 90, 90), 1):
        presses = range(count)
        assert pressed(*presses).held_until(RE) == NOW + (count - 1) * DAY + days * DAY
    assert NONE.held_until(RE) is None
    assert pressed(0).held_until(OutreachType.MOOD_SUPPORT) is None


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_every_type_has_a_distance_that_doubles_to_ninety_days(outreach_type: OutreachType) -> None:
    """R92."""
    usual = DISTANCE[outreach_type]
    assert timedelta() < usual < LONGEST == 90 * DAY
    for count in range(1, 6):
        held_until = pressed(*range(count), outreach_type=outreach_type).held_until(outreach_type)
        assert held_until == NOW + (count - 1) * DAY + min(usual * 2**count, 90 * DAY)


def test_after_a_year_a_press_is_forgotten() -> None:
    """R92: a year and a day later it is the first one again."""
    assert pressed(0, 364).held_until(RE) == NOW + (364 + 28) * DAY
    assert pressed(0, 366).held_until(RE) == NOW + (366 + 14) * DAY


def test_a_second_press_under_the_same_message_says_nothing_new() -> None:
    """R92: an impatient thumb doubles nothing."""
    about = Exposure(RE, NOW)
    once = NONE.with_(Dismissal(about, NOW + SECOND))
    twice = once.with_(Dismissal(about, NOW + 2 * DAY))
    assert twice.held_until(RE) == once.held_until(RE)


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_not_now_ends_the_series_of_a_silence(outreach_type: OutreachType) -> None:
    """R92: a press under a message that this silence brought; of the win-back's types alone."""
    preferences = pressed(5, outreach_type=outreach_type)
    of_a_silence = outreach_type in SILENCE_TYPES
    assert preferences.ended_silence(since=NOW) is of_a_silence
    assert not preferences.ended_silence(since=NOW + 6 * DAY)
    assert not NONE.ended_silence(since=NOW)


UNDER_AN_OLDER_ONE = [
    Dismissal(Exposure(RE, NOW + day * DAY), NOW + (100 if day == 0 else day) * DAY + SECOND) for day in range(5)
]
"""The first message of five is put off last, when somebody scrolls up."""


@given(st.lists(facts(), max_size=14), times)
@example(UNDER_AN_OLDER_ONE, NOW)
def test_what_is_superseded_can_go_and_nothing_changes(found: list[Fact], since: datetime) -> None:
    """R92, R98: also where "not now" is pressed under an older message after newer ones."""
    preferences = Preferences(frozenset(found))
    superseded = preferences.superseded()
    kept = Preferences(frozenset(fact for fact in preferences.facts if str(fact) not in superseded))

    assert what_holds(kept, since) == what_holds(preferences, since)
    assert kept.superseded() == frozenset()


def test_what_is_superseded_can_go_where_every_press_is_under_the_newest_message() -> None:
    """R92: presses in the order of their messages, a day to a year apart."""
    dice = random.Random(92)
    for _ in range(500):
        at, days = 0.0, list[float]()
        for _ in range(dice.randrange(1, 9)):
            at += dice.choice((1, 3, 14, 60, 300))
            days.append(at)
        preferences = pressed(*days)
        kept = Preferences(frozenset(f for f in preferences.facts if str(f) not in preferences.superseded()))
        assert what_holds(kept) == what_holds(preferences)


def test_few_facts_are_kept_whatever_somebody_presses() -> None:
    """The table's item does not grow without end: twenty years of a press a fortnight, of a switch a week."""
    preferences = pressed(*range(0, 20 * 365, 14))
    for week in range(20 * 52):
        preferences = preferences.with_(TypeChoice(RE, NOW + week * 7 * DAY, off=week % 2 == 0))
    assert len(preferences.facts) - len(preferences.superseded()) <= 50


@given(st.lists(facts(types), max_size=8))
def test_the_newest_word_is_known(found: list[Fact]) -> None:
    """R101: whoever changes a setting has been here."""
    spoken = [fact.pressed_at if isinstance(fact, Dismissal) else fact.at for fact in found]
    assert Preferences(frozenset(found)).newest_at == max(spoken, default=None)


def test_times_are_whole_seconds_of_utc() -> None:
    (fact,) = Preferences.parse(["s.re.1795337880"]).facts
    assert isinstance(fact, TypeChoice)
    assert fact.at == datetime(2026, 11, 22, 8, 58, tzinfo=UTC)
