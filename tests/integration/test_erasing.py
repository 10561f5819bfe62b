"""R71, R99: a user who asks to be erased is gone from everywhere, stays gone, and leaves every counter right."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engagement.domain import gate
from engagement.domain.answers import Answer, Said
from engagement.domain.attention import Attention, AttentionReason
from engagement.domain.consequences import Consequences
from engagement.domain.due import Scored
from engagement.domain.experiment import Experiment, Shares
from engagement.domain.interaction import Control, Exposure, Interaction
from engagement.domain.milestones import Award
from engagement.domain.outcomes import expose
from engagement.domain.outreach import Arm, Commit, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.preferences import TypeChoice
from engagement.domain.profile import Consent
from engagement.domain.scores import ChurnScores
from engagement.domain.statistics import activity_moves, award_moves, joined
from engagement.domain.update import Contact
from engagement.services.analyzer import EngagementAnalyzer, StreamRecord
from engagement.services.erasing import Eraser
from engagement.services.reconciling import Reconciler
from engagement.services.settling import Settling
from engagement.store import erasures, keys
from engagement.store.answers import Answers
from engagement.store.attentions import Attentions
from engagement.store.erasures import Erasures
from engagement.store.histories import Histories
from engagement.store.interactions import Interactions, interaction_of
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.records import Records
from engagement.store.requests import Requests
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics
from engagement.store.table import Item, connection
from engagement.store.tombstones import Tombstones
from tests import builders

BOT = 123456
CANARY = 4_242_424_242_421
"""No other number in the table holds these digits."""
NAME = "Kanarienvogel"
POLICY = builders.policy(
    experiment=Experiment(name="drill", control=0.0, type_control=Shares(0.0, {})),
)


class Life:
    """Somebody's months with a bot, written by the stores that write them in the field, and everything they leave."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.profiles, self.patterns, self.outreaches = Profiles(), Patterns(), Outreaches()
        self.interactions, self.tombstones = Interactions(365), Tombstones()
        self.eraser = Eraser(self.tombstones, Erasures())
        self.update_ids = iter(range(1, 10**6))

    def does(self, user_id: int, at: datetime, **changes: Any) -> Interaction:
        """Store an interaction as the webhook does."""
        values = {"bot_id": BOT, "user_id": user_id, "chat_id": user_id, "first_name": NAME}
        found = builders.interaction(next(self.update_ids), at, **values | changes)
        self.interactions.add(found)
        return found

    def lives(self, user_id: int, days: int = 12) -> list[Interaction]:
        """Live some days, fold them, get an award, be scored, answer questions."""
        since = self.now - timedelta(days=days + 3)
        done = [self.does(user_id, since + timedelta(days=day)) for day in range(days)]
        contact = Contact(user_id, NAME, "de")
        self.profiles.record_consent(BOT, user_id, Consent.GRANTED, since, contact)
        self.profiles.record_consent_ml(BOT, user_id, granted=True, at=since)
        self.profiles.prefer(BOT, user_id, TypeChoice(OutreachType.TOPIC_FOLLOW_UP, since, off=True), since)
        said = Answer(question="write", said=Said.YES, answered_at=since, source="button:cy", wording="de123456")
        Answers().add(BOT, user_id, 1, said)
        waits = Attention(user_id=user_id, update_id=2, reason=AttentionReason.CRISIS, noticed_at=since)
        Attentions().add(BOT, waits)
        Requests().ask(BOT, user_id, since)
        pattern = fold(EMPTY, done)
        award = Award(milestone_name="chatty_newcomer", awarded_at=self.now, points=10)
        moves = joined(activity_moves(EMPTY, pattern), award_moves([award.milestone_name], self.now))
        written = self.patterns.create(pattern, done[-1], Consequences(awards=(award,), moves=moves))
        assert written == "written"
        (due,) = Scores().load([(BOT, user_id)])
        scored = Scored(churn=ChurnScores(0.4, 0.85, 0.9), by="rules", mood=0.1, watched=None)
        assert Scores().record(due, scored, now=self.now, next_due_at=self.now + timedelta(days=1))
        return done

    def plans(self, user_id: int, campaign: str, **changes: Any) -> Outreach:
        values: dict[str, Any] = {
            "bot_id": BOT, "user_id": user_id, "campaign": campaign, "period": f"{campaign}-1",
            "outreach_type": OutreachType.RE_ENGAGEMENT, "state": OutreachState.SCHEDULED, "priority": 0.5,
            "trigger": "churn_14d_high", "template": "re_engagement.open_door",
            "planned_at": self.now - timedelta(hours=1), "due_at": self.now - timedelta(hours=1),
            "expires_at": self.now + timedelta(days=2), "experiment": "drill", "treated_probability": 0.9,
            "program_probability": 0.9, "measured_by_type": True, "covariate": 0.37,
        }  # fmt: skip
        outreach = Outreach(**values | changes)
        assert self.outreaches.plan(outreach)
        return outreach

    def claims(self, outreach: Outreach, at: datetime) -> Outreach:
        lease_until = at + timedelta(minutes=5)
        claimed = self.outreaches.claim(outreach.key, owner="me", now=at, lease_until=lease_until)
        assert claimed is not None
        return claimed

    def commits(self, claimed: Outreach, at: datetime) -> tuple[Commit, Outreach]:
        profile = self.profiles.get(BOT, claimed.user_id)
        assert profile is not None
        charge = gate.charge(profile, POLICY, at)
        exposed = expose(claimed, profile, at)
        move = self.outreaches.hold_out if claimed.arm is Arm.HELD_OUT else self.outreaches.commit
        return move(exposed, owner="me", charge=charge, policy=POLICY, now=at), exposed

    def sends(self, user_id: int, campaign: str, at: datetime, **changes: Any) -> Outreach:
        planned_at = at - timedelta(hours=1)
        times = {"planned_at": planned_at, "due_at": planned_at, "expires_at": at + timedelta(days=2)}
        outreach = self.plans(user_id, campaign, **times | changes)
        commit, exposed = self.commits(self.claims(outreach, at), at)
        assert commit is Commit.COMMITTED
        if exposed.arm is Arm.TREATED:
            assert self.outreaches.record_sent(exposed, owner="me", message_id=77, at=at)
        return exposed

    def settles(self, at: datetime) -> Counter[str]:
        return Settling(self.outreaches, self.profiles, self.patterns).settle_due(at, lambda: 300.0)

    def has_a_past(self, user_id: int) -> dict[str, Outreach]:
        """Everything a user can have: outreach in every state, settled or not, pressed, held out, under way."""
        self.lives(user_id)
        past = {
            "settled": self.sends(user_id, "settled", self.now - timedelta(days=20)),
            "pressed": self.sends(user_id, "pressed", self.now - timedelta(days=5)),
            "held_out": self.sends(user_id, "held", self.now - timedelta(days=3), arm=Arm.HELD_OUT),
        }
        about = Exposure(OutreachType.RE_ENGAGEMENT, past["pressed"].exposed_at or self.now)
        for control in (Control.OPENED, Control.NOT_NOW, Control.STOP_TYPE):
            assert self.outreaches.press(BOT, user_id, about, control, self.now - timedelta(days=4))
        assert self.settles(self.now - timedelta(days=9))["settled"] == 1
        past["sending"] = self.plans(user_id, "sending")
        commit, past["sending"] = self.commits(self.claims(past["sending"], self.now), self.now)
        assert commit is Commit.COMMITTED
        past["claimed"] = self.claims(self.plans(user_id, "claimed"), self.now)
        past["scheduled"] = self.plans(user_id, "scheduled")
        return past


def everything() -> str:
    """All items of the table as text, and with them all that the index can hold."""
    return json.dumps(list(connection().scan(Item.Meta.table_name)["Items"]), default=str)


def differences(now: datetime) -> list[Any]:
    found = Reconciler(BOT, Records(), Statistics()).reconcile(now)
    assert found.compared > 0
    return list(found.differences)


@pytest.fixture
def life(table: str, now: datetime) -> Life:
    return Life(now.astimezone(UTC))


def test_the_canary_is_in_no_item_and_no_index_and_every_counter_is_right(life: Life) -> None:
    """R71, R99: profile, pattern, awards, answers, requests, outreach in every state, interactions: 0 finds."""
    life.has_a_past(7)
    life.has_a_past(CANARY)
    assert differences(life.now) == []
    assert str(CANARY) in everything()

    gone = life.eraser.erase(BOT, CANARY, life.now)

    assert gone > 20
    left = [
        row for row in connection().scan(Item.Meta.table_name)["Items"] if str(CANARY) in json.dumps(row, default=str)
    ]
    assert [row["sk"]["S"] for row in left] == [keys.TOMBSTONE]
    assert NAME not in json.dumps(left, default=str)
    assert differences(life.now) == []
    # The other user's are all there.
    assert everything().count(f"USER#{BOT}#7") > 20


def test_the_gauge_loses_the_user_and_the_past_keeps_its_numbers(life: Life) -> None:
    """R99: what is subtracted (who is at risk now), and what stays as a number of nobody (days, sent, awards)."""
    life.has_a_past(CANARY)
    statistics = Statistics()
    first, last = life.now.date() - timedelta(days=60), life.now.date()
    before, gauges = statistics.of_days(BOT, first, last), statistics.gauges(BOT)
    assert gauges["band:4"] == 1
    life.eraser.erase(BOT, CANARY, life.now)
    after = statistics.of_days(BOT, first, last)
    for day, counts in before.items():
        for name, count in counts.items():
            assert after[day][name] == count, (day, name)
    assert statistics.gauges(BOT)["band:4"] == 0


def test_an_experiment_keeps_an_anonymous_stub_that_counts_as_the_worst_outcome(life: Life) -> None:
    """R99: unsettled exposures are settled on their day, as not returned and stopped; settled ones keep their sums."""
    past = life.has_a_past(CANARY)
    before = Statistics().lift(BOT, "drill")
    life.eraser.erase(BOT, CANARY, life.now)
    assert Statistics().lift(BOT, "drill") == before  # what was settled stays
    stubs = [
        row for row in connection().scan(Item.Meta.table_name)["Items"] if row["pk"]["S"].startswith(f"USER#{BOT}#-")
    ]
    assert len(stubs) == 3  # pressed, held out, under way
    for row in stubs:
        assert {"values_json", "context", "message_id", "sent_at", "returned_at"}.isdisjoint(row)
        assert int(row["exposed_at"]["N"]) % 86_400 == 0
    assert differences(life.now) == []
    assert life.settles(life.now + timedelta(days=1))["settled"] == 0
    assert life.settles(life.now + timedelta(days=10))["settled"] == 3
    assert differences(life.now + timedelta(days=10)) == []
    all_users = Statistics().lift(BOT, "drill")
    stopped = sum(counts[name] for counts in all_users.values() for name in counts if name.endswith(":opted_out"))
    assert stopped >= sum(counts[n] for counts in before.values() for n in counts if n.endswith(":opted_out"))
    assert past["settled"].exposed_at is not None


def test_a_claimed_outreach_is_not_sent_once_the_tombstone_stands(life: Life) -> None:
    """R99: the webhook writes the tombstone; a sender that had claimed and asked the gate is refused at the commit."""
    past = life.has_a_past(CANARY)
    profile = life.profiles.get(BOT, CANARY)
    assert profile is not None
    charge, exposed = gate.charge(profile, POLICY, life.now), expose(past["claimed"], profile, life.now)
    life.tombstones.begin(BOT, CANARY, life.now)
    later = life.now + timedelta(days=1)
    commit = life.outreaches.commit(exposed, owner="me", charge=charge, policy=POLICY, now=later - timedelta(days=1))
    assert commit is Commit.REFUSED
    life.eraser.erase(BOT, CANARY, life.now)
    commit = life.outreaches.commit(exposed, owner="me", charge=charge, policy=POLICY, now=life.now)
    assert commit in {Commit.LOST, Commit.REFUSED}
    # The message that was under way is out; nobody is left to record it of.
    assert not life.outreaches.record_sent(past["sending"], owner="me", message_id=1, at=life.now)
    assert not life.outreaches.record_unknown(past["sending"], owner="me", reason="timeout")
    assert differences(life.now) == []


def test_late_records_of_the_stream_bring_nobody_back(life: Life) -> None:
    """R27, R99: the erased user's interactions, delivered by the stream up to 23 hours later."""
    life.has_a_past(CANARY)
    records = [
        StreamRecord(str(n), row)
        for n, row in enumerate(connection().query(Item.Meta.table_name, keys.user(BOT, CANARY))["Items"])
        if row["sk"]["S"].startswith(keys.INTERACTION_PREFIX)
    ]
    assert len(records) == 12
    life.eraser.erase(BOT, CANARY, life.now)
    analyzer = EngagementAnalyzer(life.patterns, Scores(), life.profiles, eraser=life.eraser)
    report = analyzer.learn(records, interaction_of)
    assert (report.failed_at, report.erased, report.patterns_written) == (None, 12, 0)
    rows = connection().query(Item.Meta.table_name, keys.user(BOT, CANARY))["Items"]
    assert [row["sk"]["S"] for row in rows] == [keys.TOMBSTONE]


def test_what_a_paused_writer_wrote_meanwhile_goes_with_the_second_sweep(life: Life) -> None:
    """R99: a scorer that had read the old life plans after the first sweep; an hour later it is gone, and counted."""
    life.has_a_past(CANARY)
    life.eraser.erase(BOT, CANARY, life.now)
    life.plans(CANARY, "late", planned_at=life.now + timedelta(minutes=1), due_at=life.now + timedelta(days=1))
    life.does(CANARY, life.now - timedelta(seconds=1))
    assert life.eraser.sweep_due(life.now + timedelta(minutes=59), lambda: 300.0) == 0
    assert life.eraser.sweep_due(life.now + timedelta(minutes=61), lambda: 300.0) == 2
    rows = connection().query(Item.Meta.table_name, keys.user(BOT, CANARY))["Items"]
    assert [row["sk"]["S"] for row in rows] == [keys.TOMBSTONE]
    assert differences(life.now) == []
    # That was the last one.
    assert not [user for shard in range(16) for user in life.tombstones.due(shard, life.now + timedelta(days=30))]


def test_who_comes_back_begins_anew_and_a_redelivered_request_spares_the_new_life(life: Life) -> None:
    """R99: /forget delivered again by the stream; what came after it is kept, and counts as a new user's."""
    life.has_a_past(CANARY)
    life.eraser.erase(BOT, CANARY, life.now)
    again = life.does(CANARY, life.now + timedelta(minutes=2))
    analyzer = EngagementAnalyzer(life.patterns, Scores(), life.profiles, eraser=life.eraser)
    analyzer.update_user_behavior_patterns([again])
    asked = builders.interaction(999_999, life.now, bot_id=BOT, user_id=CANARY, chat_id=CANARY, control=Control.FORGET)
    analyzer.update_user_behavior_patterns([asked])
    stored = life.patterns.load(BOT, CANARY)
    assert stored is not None
    assert stored.pattern.total == 1
    profile = life.profiles.get(BOT, CANARY)
    assert profile is not None
    assert profile.consent is Consent.DECLINED
    assert life.eraser.sweep_due(life.now + timedelta(hours=2), lambda: 300.0) == 0
    assert differences(life.now) == []


def test_a_new_life_that_begins_while_the_sweep_reads_is_spared(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """R99: between reading the items and deleting the profile another sweep ends, and the user says "yes" again."""
    life.lives(CANARY)
    life.tombstones.begin(BOT, CANARY, life.now)
    read = erasures.rows_of

    def slowly(pk: str) -> list[dict[str, Any]]:
        rows = list(read(pk))
        monkeypatch.setattr(erasures, "rows_of", read)
        Erasures().sweep(BOT, CANARY, life.now)
        life.profiles.record_consent(BOT, CANARY, Consent.GRANTED, life.now + timedelta(minutes=1))
        return rows

    monkeypatch.setattr(erasures, "rows_of", slowly)
    Erasures().sweep(BOT, CANARY, life.now)

    profile = life.profiles.get(BOT, CANARY)
    assert profile is not None
    assert profile.consent is Consent.GRANTED


def test_the_stream_erases_who_asked_for_it_within_its_batch(life: Life) -> None:
    """R99: the press is a record of the stream; what came before it in the batch goes, what came after stays."""
    life.has_a_past(CANARY)
    before = life.does(CANARY, life.now - timedelta(minutes=1))
    asked = life.does(CANARY, life.now, control=Control.FORGET)
    after = life.does(CANARY, life.now + timedelta(seconds=5))
    analyzer = EngagementAnalyzer(life.patterns, Scores(), life.profiles, eraser=life.eraser)
    analyzer.update_user_behavior_patterns([after, asked, before])
    stored = life.patterns.load(BOT, CANARY)
    assert stored is not None
    assert stored.pattern.total == 1
    kept = {i.update_id for i in life.interactions.of_user(BOT, CANARY, life.now)}
    assert kept == {after.update_id}
    assert differences(life.now) == []


def test_the_next_training_does_not_see_the_user_from_the_tombstone_on(life: Life) -> None:
    """R74, R99: also while the items are still there."""
    life.has_a_past(CANARY)
    seen = [history for history in Histories().consenting(BOT, life.now) if history.interactions]
    assert len(seen) == 1
    life.tombstones.begin(BOT, CANARY, life.now)
    assert not list(Histories().consenting(BOT, life.now))
    life.eraser.erase(BOT, CANARY, life.now)
    assert not list(Histories().consenting(BOT, life.now))


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_a_sweep_that_dies_anywhere_is_finished_by_the_next_one(
    life: Life, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R99: and nothing is counted twice for it."""
    life.has_a_past(CANARY)
    steps = iter(range(1, 1_000))

    def dying(move: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if next(steps) == crash_at:
                raise RuntimeError("killed")
            return move(*arguments)

        return run

    from engagement.store import erasures

    monkeypatch.setattr(erasures, "transact", dying(erasures.transact))
    monkeypatch.setattr(Erasures, "_delete", staticmethod(dying(Erasures._delete)))
    try:
        life.eraser.erase(BOT, CANARY, life.now)
    except RuntimeError:
        monkeypatch.undo()
        life.eraser.erase(BOT, CANARY, life.now)
    rows = connection().query(Item.Meta.table_name, keys.user(BOT, CANARY))["Items"]
    assert [row["sk"]["S"] for row in rows] == [keys.TOMBSTONE]
    assert differences(life.now) == []
