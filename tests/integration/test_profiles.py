"""The profiles in the table: what a user said and did, decided by the time of its event."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachType
from engagement.domain.preferences import Dismissal, Fact, Preferences, TypeChoice
from engagement.domain.profile import Awaiting, Consent, Profile
from engagement.domain.update import Contact
from engagement.errors import BadZoneError
from engagement.store import keys
from engagement.store.profiles import Profiles, first_contact
from engagement.store.table import Item, ProfileItem, TombstoneItem, keyed
from engagement.store.tombstones import Tombstones
from tests.builders import profile

BOT = 42
T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ADA = Contact(chat_id=7, first_name="Ada", language_code="en")
profiles = Profiles()
users = itertools.count(1)

Change = Callable[[int], object]


def minutes(number: float) -> datetime:
    return T0 + timedelta(minutes=number)


def items_of(user_id: int) -> list[Item]:
    return list(Item.query(keys.user(BOT, user_id)))


def known(user_id: int) -> Profile:
    profile = profiles.get(BOT, user_id)
    assert profile is not None
    return profile


def test_an_upserted_profile_reads_back_complete(table: str) -> None:
    """Given nobody, when a profile is made by first contact, then it loads as what it is (its kind is set)."""
    pk = keys.user(BOT, 7)
    actions = first_contact("Ada", None, 7, T0, pk)
    keyed(ProfileItem, pk, keys.PROFILE).update(actions=list(actions.values()))

    assert known(7) == profile(bot_id=BOT, language_code=None, consent=Consent.UNASKED, created_at=T0)
    assert [type(item) for item in items_of(7)] == [ProfileItem]  # a query over all kinds reads it back, too


def test_a_second_first_contact_changes_nothing(table: str) -> None:
    """R3: the profile of a user who is known keeps its name, consent and counters."""
    profiles.record_consent(BOT, 7, Consent.GRANTED, T0, ADA)
    before = known(7)

    pk = keys.user(BOT, 7)
    actions = first_contact("Eve", "de", 8, minutes(5), pk)
    keyed(ProfileItem, pk, keys.PROFILE).update(actions=list(actions.values()))

    assert known(7) == before


@pytest.mark.parametrize("name", ["", "Ada", '<&">', "ادا 👩🏽‍🚀", "x" * 128])
def test_any_name_survives(table: str, name: str) -> None:
    profiles.opt_in(BOT, 7, T0, Contact(chat_id=7, first_name=name, language_code="pt-br"))

    assert (known(7).first_name, known(7).language_code) == (name, "pt-br")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user_id=st.integers(1, 2**52 - 1), chat_id=st.integers(-(2**52) + 1, 2**52 - 1))
def test_large_and_negative_ids_are_lossless(table: str, user_id: int, chat_id: int) -> None:
    """R8: ids of 52 bits and of either sign come back as they went in."""
    profiles.opt_in(BOT, user_id, T0, Contact(chat_id=chat_id, first_name="", language_code=None))

    profiles.migrate_chat(BOT, user_id, chat_id)

    assert (known(user_id).user_id, known(user_id).chat_id) == (user_id, chat_id)


def final_states(steps: list[Change]) -> set[tuple[object, ...]]:
    """Apply the steps in every order, each twice (a redelivery), to a new user each time; collect the ends."""
    ends = set()
    for order in itertools.permutations(steps):
        user_id = next(users)
        for step in order:
            step(user_id)
            step(user_id)
        profile = known(user_id)
        ends.add((profile.consent, profile.opted_out, profile.blocked, profile.status_at))
    return ends


def block(at: datetime) -> Change:
    return lambda user: profiles.set_blocked(BOT, user, blocked=True, at=at)


def unblock(at: datetime) -> Change:
    return lambda user: profiles.set_blocked(BOT, user, blocked=False, at=at)


def refused_send(at: datetime, epoch_seen: int) -> Change:
    return lambda user: profiles.mark_blocked_by_send(BOT, user, at=at, epoch_seen=epoch_seen)


@pytest.mark.parametrize("epoch_seen", [0, 1, 2, 3, 4])
def test_an_unblock_newer_than_a_refused_send_wins_in_any_order(table: str, epoch_seen: int) -> None:
    """R48: a 403 of 12:10 and an unblock of 12:12, with an older block, in any order: reachable at the end."""
    steps = [block(minutes(9)), refused_send(minutes(10), epoch_seen), unblock(minutes(12))]

    assert final_states(steps) == {(Consent.UNASKED, False, False, minutes(12))}


def test_a_block_newer_than_an_unblock_wins_in_any_order(table: str) -> None:
    """R48: block events are decided by their own date."""
    steps = [unblock(minutes(1)), block(minutes(2)), unblock(minutes(3)), block(minutes(4))]

    assert final_states(steps) == {(Consent.UNASKED, False, True, minutes(4))}


def test_a_block_and_an_unblock_of_one_second_end_the_same_in_any_order(table: str) -> None:
    """R48: Telegram's dates have no more than seconds; the tie goes to the user we can reach."""
    assert final_states([block(T0), unblock(T0)]) == {(Consent.UNASKED, False, False, T0)}


def test_a_refused_send_marks_the_user_it_was_sent_to(table: str) -> None:
    """R48: nothing newer is known, so a 403 counts, once."""
    profiles.opt_in(BOT, 7, T0, ADA)

    assert profiles.mark_blocked_by_send(BOT, 7, at=minutes(1), epoch_seen=0)
    assert (known(7).blocked, known(7).status_at, known(7).epoch) == (True, minutes(1), 1)
    assert not profiles.mark_blocked_by_send(BOT, 7, at=minutes(1), epoch_seen=0)


def test_a_refused_send_loses_to_an_unblock_whatever_our_clock_says(table: str) -> None:
    """R48: an unblock came in since the profile was read; our clock, running ahead, may not undo it."""
    profiles.opt_in(BOT, 7, T0, ADA)
    seen = known(7).epoch
    profiles.set_blocked(BOT, 7, blocked=False, at=minutes(2))

    assert not profiles.mark_blocked_by_send(BOT, 7, at=minutes(3), epoch_seen=seen)
    assert not known(7).blocked


def test_a_refused_send_to_an_erased_user_creates_nobody(table: str) -> None:
    assert not profiles.mark_blocked_by_send(BOT, 7, at=T0, epoch_seen=0)
    assert not profiles.migrate_chat(BOT, 7, 8)
    assert items_of(7) == []


def says_yes(at: datetime) -> Change:
    return lambda user: profiles.opt_in(BOT, user, at)


def stop(at: datetime) -> Change:
    return lambda user: profiles.opt_out(BOT, user, at)


@pytest.mark.parametrize(
    ("steps", "opted_out"),
    [
        ([says_yes(T0), stop(minutes(1))], True),
        ([stop(T0), says_yes(minutes(1))], False),
        ([stop(T0), says_yes(T0)], True),
        ([stop(T0), says_yes(minutes(1)), stop(minutes(2))], True),
        ([stop(T0), block(minutes(1)), unblock(minutes(2))], True),
    ],
    ids=["stop-last", "yes-last", "same-second", "stop-again", "unblock-does-not-undo-stop"],
)
def test_only_a_later_yes_takes_a_stop_back(table: str, steps: list[Change], opted_out: bool) -> None:
    """R70, R94, R48: by the time of the event, in any order, each delivered twice."""
    assert {end[1] for end in final_states(steps)} == {opted_out}


def test_consent_is_the_newest_answer_in_any_order(table: str) -> None:
    def answer(consent: Consent, at: datetime) -> Change:
        return lambda user: profiles.record_consent(BOT, user, consent, at)

    steps = [answer(Consent.GRANTED, minutes(1)), answer(Consent.DECLINED, minutes(2)), stop(minutes(3))]

    assert {end[:2] for end in final_states(steps)} == {(Consent.DECLINED, True)}


def learning(granted: bool, at: datetime) -> Change:
    return lambda user: profiles.record_consent_ml(BOT, user, granted=granted, at=at)


def rewording(granted: bool, at: datetime) -> Change:
    return lambda user: profiles.record_consent_llm(BOT, user, granted=granted, at=at)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=6).flatmap(
        lambda answers: st.tuples(st.just(answers), st.permutations(answers + answers))
    )
)
def test_consent_to_learning_and_to_rewording_is_the_newest_answer_in_any_order(
    table: str, answers: tuple[list[tuple[bool, int]], list[tuple[bool, int]]]
) -> None:
    """R65, R74: explicit and revocable: each answer delivered twice, anyhow; in one and the same second no wins."""
    given_answers, deliveries = answers
    newest = max(at for _, at in given_answers)
    user_id = next(users)

    for granted, at in deliveries:
        learning(granted, minutes(at))(user_id)
        rewording(granted, minutes(at))(user_id)

    expected = all(granted for granted, at in given_answers if at == newest)
    assert (known(user_id).consent_ml, known(user_id).consent_llm) == (expected, expected)


def test_learning_and_being_written_to_are_consented_to_apart(table: str) -> None:
    """R74: individual: no answer to the one question moves the answer to the other, nor do /stop, a yes and blocks."""
    profiles.record_consent_ml(BOT, 7, granted=True, at=T0, contact=ADA)
    assert (known(7).consent, known(7).consent_ml, known(7).epoch) == (Consent.UNASKED, True, 0)

    profiles.record_consent(BOT, 7, Consent.DECLINED, minutes(1))
    for change in (stop(minutes(2)), says_yes(minutes(3)), block(minutes(4)), unblock(minutes(5))):
        change(7)
    assert (known(7).consent, known(7).consent_ml) == (Consent.DECLINED, True)

    profiles.record_consent(BOT, 7, Consent.GRANTED, minutes(6))
    profiles.record_consent_ml(BOT, 7, granted=False, at=minutes(6))
    assert (known(7).consent, known(7).consent_ml) == (Consent.GRANTED, False)


def test_nobody_who_was_not_asked_has_consented_to_learning(table: str) -> None:
    """R65, R74: a profile from before there was the question holds no answer to it."""
    profiles.record_consent(BOT, 7, Consent.GRANTED, T0, ADA)
    keyed(ProfileItem, keys.user(BOT, 7), keys.PROFILE).update(
        actions=[ProfileItem.consent_ml.remove(), ProfileItem.consent_llm.remove()]
    )

    assert (known(7).consent_ml, known(7).consent_llm) == (False, False)
    assert profiles.record_consent_ml(BOT, 7, granted=True, at=T0)
    assert known(7).consent_ml is True


CHECKIN, TOPIC = OutreachType.PERSONALIZED_CHECKIN, OutreachType.TOPIC_FOLLOW_UP


def not_now(at: datetime, number: int = 0, outreach_type: OutreachType = CHECKIN) -> Dismissal:
    """A press under the `number`-th message of a type."""
    return Dismissal(Exposure(outreach_type, T0 - timedelta(days=99 - number)), at)


FACTS = st.one_of(
    st.builds(lambda at, number: not_now(minutes(at), number), st.integers(0, 40), st.integers(0, 6)),
    st.builds(lambda day, number: not_now(T0 + timedelta(days=day), number), st.integers(0, 360), st.integers(0, 6)),
    st.builds(TypeChoice, st.just(CHECKIN), st.integers(0, 3).map(minutes), st.booleans()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    facts=st.lists(FACTS, min_size=1, max_size=8).flatmap(
        lambda facts: st.tuples(st.just(facts), st.permutations(facts + facts))
    )
)
def test_what_is_preferred_is_the_same_in_any_order(table: str, facts: tuple[list[Fact], list[Fact]]) -> None:
    """R92, R95, R98: each press delivered twice, anyhow, and what says nothing new is dropped in between."""
    given_facts, deliveries = facts
    user_id = next(users)

    for fact in deliveries:
        at = fact.pressed_at if isinstance(fact, Dismissal) else fact.at
        profiles.prefer(BOT, user_id, fact, at)
        if pointless := known(user_id).preferences.superseded():
            profiles.forget_preferences(BOT, user_id, pointless)

    found, expected = known(user_id).preferences, Preferences(frozenset(given_facts))
    assert found.is_off(CHECKIN) == expected.is_off(CHECKIN)
    assert (found.is_off(TOPIC), found.held_until(TOPIC)) == (False, None)
    assert not found.superseded()
    last = [fact for fact in given_facts if isinstance(fact, TypeChoice)]
    if last:
        newest = max(choice.at for choice in last)
        assert found.is_off(CHECKIN) == any(choice.off for choice in last if choice.at == newest)
    assert found.held_until(CHECKIN) == expected.held_until(CHECKIN)
    assert (known(user_id).opted_out, known(user_id).consent, known(user_id).epoch) == (False, Consent.UNASKED, 0)


@pytest.mark.parametrize(
    "say",
    [
        lambda at: profiles.record_consent(BOT, 7, Consent.GRANTED, at),
        lambda at: profiles.opt_out(BOT, 7, at),
        lambda at: profiles.opt_in(BOT, 7, at),
        lambda at: profiles.prefer(BOT, 7, not_now(at), at),
        lambda at: profiles.prefer(BOT, 7, TypeChoice(CHECKIN, at, off=True), at),
        lambda at: profiles.note_crisis(BOT, 7, at),
    ],
    ids=["consent", "stop", "yes", "not-now", "type-off", "crisis"],
)
def test_whatever_is_said_about_writing_moves_the_word_once(table: str, say: Callable[[datetime], bool]) -> None:
    """R52, R103: a message that was decided on before is not committed any more; a redelivery says nothing."""
    profiles.set_zone(BOT, 7, "Europe/Berlin", T0, ADA)
    assert known(7).word == 0

    assert say(minutes(1))
    assert not say(minutes(1))

    assert known(7).word == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]), st.integers(0, 2)), min_size=1, max_size=5
    ).flatmap(lambda changes: st.tuples(st.just(changes), st.permutations(changes + changes)))
)
def test_the_zone_is_the_one_set_last_in_any_order(
    table: str, changes: tuple[list[tuple[str, int]], list[tuple[str, int]]]
) -> None:
    """R40: what the user set wins, by the time they set it; "UTC" is kept as a zone that was set."""
    given_changes, deliveries = changes
    user_id = next(users)

    for zone, at in deliveries:
        profiles.set_zone(BOT, user_id, zone, minutes(at))

    newest = max(at for _, at in given_changes)
    assert known(user_id).zone == max({"UTC": "Etc/UTC"}.get(zone, zone) for zone, at in given_changes if at == newest)


@pytest.mark.parametrize(
    "zone", ["", "Europe/berlin", "../../etc/localtime", "/etc/localtime", "localtime", "\x00", "CEST"]
)
def test_a_hostile_zone_is_not_kept(table: str, zone: str) -> None:
    """R40: neither a path nor a word that is no zone comes into a profile, or makes one."""
    with pytest.raises(BadZoneError):
        profiles.set_zone(BOT, 7, zone, T0, ADA)
    assert items_of(7) == []


WEEK = 7 * 24 * 60


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.tuples(st.booleans(), st.integers(0, 24)), min_size=1, max_size=5).flatmap(
        lambda words: st.tuples(st.just(words), st.permutations([*enumerate(words), *enumerate(words)]))
    )
)
def test_of_numbered_words_the_one_said_last_holds_however_late_each_arrives(
    table: str, words: tuple[list[tuple[bool, int]], list[tuple[int, tuple[bool, int]]]]
) -> None:
    """R94: in any order, with any repetition; a press is dated by its arrival, up to 24 hours after it was made."""
    said, deliveries = words
    user_id = next(users)
    for number, (out, delay) in deliveries:
        # No two of one second: of those the no holds, whatever the numbers say.
        at = minutes(number + delay * 60) + timedelta(seconds=number)
        (profiles.opt_out if out else profiles.opt_in)(BOT, user_id, at, update_id=number + 1)

    assert known(user_id).opted_out is said[-1][0]


def test_numbers_of_another_week_say_nothing(table: str) -> None:
    """Telegram draws a new number at random after a week without updates: then the time decides."""
    profiles.opt_in(BOT, 7, T0, ADA, update_id=900)
    profiles.opt_out(BOT, 7, minutes(WEEK), update_id=5)
    assert known(7).opted_out
    profiles.opt_in(BOT, 7, minutes(2 * WEEK), update_id=3)
    assert not known(7).opted_out


@pytest.mark.parametrize("consent", [None, Consent.GRANTED])
def test_who_was_erased_and_comes_back_is_not_written_to_without_a_yes(table: str, consent: Consent | None) -> None:
    """R94, R99: whatever they do first, but for saying yes."""
    Tombstones().begin(BOT, 7, T0)
    if consent:
        profiles.record_consent(BOT, 7, consent, minutes(1), ADA)
    else:
        profiles.set_zone(BOT, 7, "Europe/Berlin", minutes(1), ADA)
    profiles.meet(BOT, 7, minutes(2), ADA)
    assert known(7).consent is (consent or Consent.DECLINED)

    Tombstones().begin(BOT, 8, T0)
    assert profiles.meet(BOT, 8, minutes(1), ADA)
    assert known(8).consent is Consent.DECLINED


def test_a_block_brings_nobody_back_who_was_erased(table: str) -> None:
    """R99: most people erase a bot and block it; that is no new life."""
    Tombstones().begin(BOT, 7, T0)
    assert not profiles.set_blocked(BOT, 7, blocked=True, at=minutes(1), contact=ADA)
    assert profiles.get(BOT, 7) is None


def test_what_awaits_an_answer_is_read_in_the_order_of_time(table: str) -> None:
    """A set has no order; the stream answers the oldest exposure first."""
    profiles.opt_in(BOT, 7, T0, ADA)
    assert (known(7).awaiting, known(7).met, known(7).preferences.facts) == ((), frozenset(), frozenset())
    awaiting = tuple(Awaiting(minutes(at), "winback", f"2026-W{at}") for at in (1, 9, 50))
    keyed(ProfileItem, keys.user(BOT, 7), keys.PROFILE).update(
        actions=[
            ProfileItem.awaiting.set({str(one) for one in awaiting}),
            ProfileItem.met.set({"first:all", "first:re_engagement"}),
        ]
    )

    assert (known(7).awaiting, known(7).met) == (awaiting, {"first:all", "first:re_engagement"})
    assert known(7).opted_out_at == T0


def test_stopping_twice_moves_the_epoch_once(table: str) -> None:
    """R70: /stop is idempotent; a redelivery of it is no second stop."""
    assert profiles.opt_out(BOT, 7, T0, ADA)
    assert not profiles.opt_out(BOT, 7, T0, ADA)
    assert (known(7).opted_out, known(7).epoch, known(7).first_name) == (True, 1, "Ada")


@pytest.mark.parametrize(
    "change",
    [
        *(stop(T0), says_yes(T0), block(T0), unblock(T0), learning(True, T0), learning(False, T0)),
        *(rewording(True, T0), rewording(False, T0)),
        lambda user: profiles.prefer(BOT, user, not_now(T0), T0),
        lambda user: profiles.note_crisis(BOT, user, T0),
        lambda user: profiles.set_zone(BOT, user, "Europe/Berlin", T0),
    ],
)
def test_a_late_event_does_not_bring_an_erased_user_back(table: str, change: Change) -> None:
    """R27: erased at 12:01, an event of 12:00 arrives: the tombstone stays alone."""
    TombstoneItem(keys.user(BOT, 7), keys.TOMBSTONE, erased_at=minutes(1)).save()

    assert change(7) is False
    assert [item.sk for item in items_of(7)] == [keys.TOMBSTONE]


def test_an_erased_user_may_come_back_on_their_own(table: str) -> None:
    TombstoneItem(keys.user(BOT, 7), keys.TOMBSTONE, erased_at=minutes(1)).save()

    assert profiles.opt_in(BOT, 7, minutes(2), ADA)
    assert known(7).created_at == minutes(2)
