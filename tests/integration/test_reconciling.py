"""Counting again: what the counters say beside what the items say, in a real table."""

from dataclasses import replace
from datetime import timedelta

from pynamodb.transactions import TransactWrite

from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.statistics import Moves
from engagement.services.analyzer import EngagementAnalyzer
from engagement.services.reconciling import BACK, Reconciler
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.records import Records
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics, count_in, of_moves
from engagement.store.table import connection
from tests.builders import NOW, interaction

BOT = 123456
OUTREACH = Outreach(
    bot_id=BOT,
    user_id=7,
    campaign="silence",
    period="2026-11-01-1",
    outreach_type=OutreachType.RE_ENGAGEMENT,
    state=OutreachState.SCHEDULED,
    priority=0.9,
    trigger="churn_14d_high",
    template="re_engagement.open_door",
    planned_at=NOW,
    due_at=NOW,
    expires_at=NOW + timedelta(days=2),
    experiment="first",
)


def reconciler() -> Reconciler:
    return Reconciler(BOT, Records(), Statistics())


def live() -> None:
    """Two users write on a few days, and something is planned for one."""
    analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())
    for user_id in (7, 8):
        for day in range(4):
            at = NOW - timedelta(days=day, hours=user_id)
            analyzer.update_user_behavior_patterns([interaction(10 * user_id + day, at, bot_id=BOT, user_id=user_id)])
    assert Outreaches().plan(OUTREACH)


def count_wrongly(moves: Moves) -> None:
    with TransactWrite(connection=connection()) as transaction:
        count_in(transaction, BOT, 7, of_moves(moves))


def test_what_was_counted_with_its_items_is_what_they_say(table: str) -> None:
    live()
    told: list[int] = []
    found = reconciler().reconcile(NOW, told.append)

    assert found.differences == ()
    # Four or five days of activity, two new users, one plan.
    assert found.compared >= 6
    assert told == [1, 2, 3]


def test_a_counter_that_moved_alone_is_found(table: str) -> None:
    live()
    day = NOW.date()
    count_wrongly({(day, "dau"): 1, (day, "planned:re_engagement"): -1, (None, "band:4"): 1})

    (dau, planned, band) = reconciler().reconcile(NOW).differences

    assert (dau.where, dau.name, dau.counter - dau.items) == (day.isoformat(), "dau", 1)
    assert (planned.name, planned.counter, planned.items) == ("planned:re_engagement", 0, 1)
    assert (band.where, band.name, band.counter, band.items) == ("gauges", "band:4", 1, 0)


def test_other_bots_are_another_matter(table: str) -> None:
    live()

    assert Reconciler(BOT + 1, Records(), Statistics()).reconcile(NOW).compared == 0


def test_days_whose_outreach_is_no_longer_kept_are_not_compared(table: str) -> None:
    """Their counters stay for two years; what they counted is gone after one."""
    old = NOW - BACK - timedelta(days=2)
    Outreaches().plan(replace(OUTREACH, planned_at=old))
    count_wrongly({(old.date(), "sent:re_engagement"): 5})

    assert reconciler().reconcile(NOW).compared == 0
