"""Histories for the trainer: whose they are, what is in them, and that they come one user at a time."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pynamodb.connection import Connection

from engagement.domain.interaction import Interaction
from engagement.domain.outcomes import Outcomes
from engagement.domain.outreach import Arm, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY
from engagement.domain.scores import ChurnScores
from engagement.domain.update import Contact
from engagement.domain.uplift import EXPLORED, LoggedDecision, context_of, explored, row_of
from engagement.errors import StoreUnavailableError
from engagement.store import histories as module
from engagement.store import keys
from engagement.store.histories import Histories
from engagement.store.interactions import Interactions
from engagement.store.profiles import Profiles
from engagement.store.table import InteractionItem, OutreachItem, TombstoneItem, bind
from tests.builders import interaction

BOT = 42
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
profiles = Profiles()
histories = Histories()


def put(user_id: int, times: Iterable[datetime], *, bot_id: int = BOT, ttl_days: int = 365, **changes: Any) -> None:
    """Store a user's interactions, numbered in this order."""
    stored = Interactions(ttl_days)
    for number, at in enumerate(times):
        stored.add(interaction(1_000 * user_id + number, at, bot_id=bot_id, user_id=user_id, **changes))


def days_ago(*days: float) -> list[datetime]:
    return [NOW - timedelta(days=day) for day in days]


def allow(user_id: int, at: datetime = NOW, *, granted: bool = True, bot_id: int = BOT) -> None:
    profiles.record_consent_ml(bot_id, user_id, granted=granted, at=at, contact=Contact(user_id, "Ada", "en"))


def erase(user_id: int) -> None:
    TombstoneItem(keys.user(BOT, user_id), keys.TOMBSTONE, erased_at=NOW).save()


def read(**options: Any) -> dict[int, list[Interaction]]:
    """Return the histories by user; each comes once."""
    found: dict[int, list[Interaction]] = {}
    for history in histories.consenting(BOT, NOW, **options):
        (user_id,) = {interaction.user_id for interaction in history.interactions}
        assert user_id not in found
        found[user_id] = list(history.interactions)
    return found


@pytest.fixture
def community(table: str) -> set[int]:
    """Users 1 to 12, of whom every third allows training, between others' items; returns who does."""
    for user_id in range(1, 13):
        put(user_id, days_ago(*range(user_id, 0, -1)))
        allow(user_id, granted=user_id % 3 == 0)
    return {3, 6, 9, 12}


def test_only_those_who_allow_it_are_learned_from(community: set[int]) -> None:
    """R74: nobody else, whatever they did; a user without a profile, or who was never asked, is nobody too."""
    put(20, days_ago(1))
    put(21, days_ago(1))
    profiles.opt_in(BOT, 21, NOW, Contact(21, "Eve", None))

    found = read()

    assert set(found) == community
    assert {user_id: len(history) for user_id, history in found.items()} == {3: 3, 6: 6, 9: 9, 12: 12}


def test_who_takes_it_back_is_gone_from_the_next_run(community: set[int]) -> None:
    """R74: revocation needs no other trigger than the run itself."""
    allow(6, NOW + timedelta(seconds=1), granted=False)

    assert set(read()) == community - {6}


def test_who_was_erased_is_left_out(community: set[int]) -> None:
    """R71: whatever a late record brought back of them."""
    erase(9)

    assert set(read()) == community - {9}


def test_what_is_to_be_kept_no_longer_is_left_out(table: str) -> None:
    """R74: DynamoDB deletes up to two days late; that is no consent."""
    put(1, days_ago(40, 31, 30, 29, 1), ttl_days=30)
    allow(1)

    assert [history.occurred_at for history in read()[1]] == days_ago(29, 1)


def test_another_bots_users_are_another_matter(community: set[int]) -> None:
    """The table may outlive a bot."""
    put(1, days_ago(1), bot_id=7)
    allow(1, bot_id=7)

    assert set(read()) == community


def test_a_history_is_in_the_order_of_time(table: str) -> None:
    """Sort keys are not: update ids are text there, and Telegram restarts them after a week of silence."""
    times = days_ago(1, 3, 2, 10, 9, 8, 7, 6, 5, 4, 12)
    put(1, times)
    allow(1)

    assert [interaction.occurred_at for interaction in read()[1]] == sorted(times)


def test_what_a_user_said_and_is_called_stays_in_the_table(table: str) -> None:
    """R74: training takes what was measured of a text."""
    put(1, days_ago(1), text="my secret", first_name="Ada", characters=9)
    allow(1)

    (said,) = read()[1]
    assert (said.text, said.first_name, said.characters) == (None, "", 9)


def test_an_interaction_that_cannot_be_read_is_left_out(table: str) -> None:
    """One of another version must not stop every training from now on."""
    put(1, days_ago(3, 2, 1))
    allow(1)
    InteractionItem(keys.user(BOT, 1), keys.interaction(1_001)).update(
        actions=[InteractionItem.engagement_type.set("telepathy")]
    )

    assert len(read()[1]) == 2


def test_small_pages_change_nothing(community: set[int]) -> None:
    """A page ends wherever it is full: in the middle of a user, and right at the border of two."""
    whole = read()

    for page in (1, 2, 3, 5, 7):
        assert read(page=page) == whole


def test_shares_together_are_everybody(community: set[int]) -> None:
    """Each user is in exactly one share, with all of their history."""
    shares = [read(segment=segment, of=3, page=4) for segment in range(3)]

    assert sum(map(len, shares)) == len(community)
    assert {user: history for share in shares for user, history in share.items()} == read()


def test_no_more_than_one_user_is_held(community: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two users, nothing has been read but what the next one needs."""
    read_so_far: list[str] = []
    make = module.interaction_of

    def watched(item: dict[str, Any]) -> Interaction:
        read_so_far.append(item["pk"]["S"])
        return make(item)

    monkeypatch.setattr(module, "interaction_of", watched)
    for history in histories.consenting(BOT, NOW, page=1):
        assert read_so_far[-1] == keys.user(BOT, history.interactions[0].user_id)


def test_who_writes_more_than_a_person_can_is_left_out(community: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by a number, not by hope; up to it nothing is lost."""
    monkeypatch.setattr(module, "MOST_INTERACTIONS", 9)

    found = read()

    assert set(found) == community - {12}
    assert len(found[9]) == 9


def test_training_leaves_reads_for_the_flow(community: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A Scan at full speed would spend the table's read units, and the webhook would be throttled."""
    asked: list[dict[str, Any]] = []
    scan = Connection.scan

    def watched(self: Connection, table_name: str, **options: Any) -> Any:
        asked.append(options)
        return scan(self, table_name, **options)

    monkeypatch.setattr(Connection, "scan", watched)
    read()

    assert all(options["return_consumed_capacity"] == "TOTAL" for options in asked)
    assert all(options["consistent_read"] for options in asked)


def test_trouble_is_told(table: str) -> None:
    """R59: as everywhere in the store."""
    bind("no-such-table")

    with pytest.raises(StoreUnavailableError):
        read()


# --- decisions ---

CONTEXT = context_of(EMPTY, OutreachType.RE_ENGAGEMENT, ChurnScores(0.75, 0.5, 0.5), NOW)
NOTHING = Outcomes(
    returned_24h=False, returned_7d=False, responded=False, mood_after=None, blocked=False, opted_out=False
)


def decide(user_id: int, period: str = "2026-W40", *, days_ago: float = 20, **changes: Any) -> None:
    """Store a settled outreach: the user's first of any type, held out with probability 0.1."""
    exposed_at = NOW - timedelta(days=days_ago)
    fields: dict[str, Any] = {
        "outreach_type": OutreachType.RE_ENGAGEMENT,
        "state": OutreachState.SENT,
        "priority": 0.5,
        "trigger": "churn_14d",
        "template": "re_engagement.warm",
        "planned_at": exposed_at,
        "send_after": exposed_at,
        "expires_at": exposed_at + timedelta(days=2),
        "expires_on": exposed_at + timedelta(days=365),
        "treated_probability": 0.9,
        "values_json": '{"topic": "help"}',
        "covariate": 0.25,
        "context": CONTEXT,
        "exposed_at": exposed_at,
        "first_of": {"all", "re_engagement"},
        "settled_at": exposed_at + timedelta(days=8),
        "outcomes_json": replace(NOTHING, returned_7d=True).as_json(),
    }
    OutreachItem(keys.user(BOT, user_id), keys.outreach("re_engagement", period), **(fields | changes)).save()


def decisions() -> dict[int, LoggedDecision]:
    known = (history.decision for history in histories.consenting(BOT, NOW))
    return {decision.user_id: decision for decision in known if decision}


def test_settled_decisions_come_with_what_was_drawn_and_what_came_of_it(table: str) -> None:
    """Both arms; somebody without an interaction left is one to learn from, too."""
    allow(1)
    put(1, days_ago(3))
    decide(1)
    allow(2)
    decide(2, arm=Arm.HELD_OUT, state=OutreachState.HELD_OUT, outcomes_json=NOTHING.as_json())

    found = decisions()

    assert found[1] == LoggedDecision(
        user_id=1,
        row=row_of(CONTEXT) or (),
        planned_probability=1.0,
        sent=True,
        sent_probability=0.9,
        returned=True,
        lost=False,
        covariate=0.25,
    )
    assert found[2] == replace(found[1], user_id=2, sent=False, returned=False)
    assert [len(history.interactions) for history in histories.consenting(BOT, NOW)] in ([1, 0], [0, 1])


def test_the_features_of_a_decision_are_those_that_were_stored_with_it(table: str) -> None:
    """R76: what the user did since changes none of them."""
    allow(1)
    decide(1)
    before = decisions()
    put(1, days_ago(19, 18, 17, 1))

    assert decisions() == before


def test_who_comes_back_to_leave_for_good_has_not_returned(table: str) -> None:
    """A press of "stop" is an interaction, and the end of them."""
    for user_id, leaves in ((1, {"blocked": True}), (2, {"opted_out": True})):
        allow(user_id)
        decide(user_id, outcomes_json=replace(NOTHING, returned_7d=True, **leaves).as_json())

    assert [(found.returned, found.lost) for found in decisions().values()] == [(False, True)] * 2


def test_decisions_of_those_who_do_not_allow_training_are_left_out(table: str) -> None:
    """R74, R71"""
    for user_id in (1, 2, 3):
        decide(user_id)
    allow(2, granted=False)
    allow(3)
    erase(3)

    assert decisions() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"settled_at": None, "outcomes_json": None},
        {"first_of": {"re_engagement"}},
        {"first_of": None},
        {"context": None},
        {"context": bytes([9]) + CONTEXT[1:]},
        {"treated_probability": 1.0},
        {"treated_probability": 0.0},
        {"expires_on": NOW - timedelta(days=1)},
    ],
)
def test_what_cannot_be_learned_from_is_left_out(table: str, changes: dict[str, Any]) -> None:
    """Not settled, not the first, of another version, drawn with certainty, or to be kept no longer."""
    allow(1)
    put(1, days_ago(1))
    decide(1, **changes)

    assert decisions() == {}


def test_a_type_with_a_control_group_of_its_own_is_learned_from_whatever_came_before(table: str) -> None:
    """A celebration that came first says nothing of win-backs: within the program those are drawn apart from it."""
    own = {"first_of": {"re_engagement"}, "measured_by_type": True, "program_probability": 0.9}
    allow(1)
    allow(2)
    decide(1, "2026-W40", treated_probability=0.45, **own)
    decide(2, "2026-W40", treated_probability=0.45, in_control=True, arm="held_out", **own)

    found = decisions()

    assert {user_id: decision.sent_probability for user_id, decision in found.items()} == {1: pytest.approx(0.5)}


def test_one_decision_of_each_user_counts_that_of_the_newest_experiment(table: str) -> None:
    """Units are independent."""
    allow(1)
    decide(1, "2026-W30", days_ago=90, experiment="spring", covariate=0.1)
    decide(1, "2026-W40", days_ago=20, experiment="autumn", covariate=0.2)
    decide(1, "2026-W41", days_ago=12, experiment="autumn", covariate=0.3, first_of=None)

    assert decisions()[1].covariate == 0.2


def test_a_decision_that_was_planned_to_explore_stands_for_ten(table: str) -> None:
    allow(1)
    decide(1, context=explored(CONTEXT))

    assert decisions()[1].planned_probability == EXPLORED
