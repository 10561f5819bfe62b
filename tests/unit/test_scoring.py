"""A scoring run over fakes: who is scored, by what, who is planned for, and what a run leaves for the next one."""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.census import Census, population
from engagement.domain.due import DuePattern, Scored
from engagement.domain.experiment import Experiment, Shares
from engagement.domain.features import NAMES
from engagement.domain.gate import Policy
from engagement.domain.interaction import SentimentType
from engagement.domain.mood import mood_level
from engagement.domain.outcome import Watched
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.pattern_bytes import encode
from engagement.domain.planning import REST, SPACING, STEPS, Thresholds
from engagement.domain.population import BUNDLED, Population
from engagement.domain.preferences import Preferences
from engagement.domain.profile import Consent, ConsentPolicy, Profile
from engagement.domain.scores import ChurnScores, rule_scores
from engagement.domain.templates import Texts
from engagement.domain.tick import Tick
from engagement.domain.timing import best_send_time, hour_features, hour_shares
from engagement.domain.uplift import Uplift, context_of, explored, row_of
from engagement.errors import ModelUnavailableError, StoreUnavailableError
from engagement.services.planner import Planner
from engagement.services.scoring import RESERVE_SECONDS, Scoring, ScoringReport
from tests.builders import NOW, interaction, pattern_of, policy, profile, silent_for

BOT = 123456
TICK = Tick(now=NOW, shard=0, of=1)
POLICY = policy()
LEAVING = ChurnScores(0.95, 0.9, 0.85)
DRIFTING = ChurnScores(0.8, 0.7, 0.6)
STAYING = ChurnScores(0.3, 0.2, 0.1)

PROFILE = profile(bot_id=BOT, user_id=1, chat_id=1)


@dataclass
class Table:
    """Patterns, profiles and outreach in memory, behind the protocols of the service; the index may lag."""

    partitions: int = 16
    items: dict[int, DuePattern] = field(default_factory=dict)
    index: dict[int, datetime] = field(default_factory=dict)
    profiles: dict[int, Profile] = field(default_factory=dict)
    planned: dict[tuple[int, str, str], Outreach] = field(default_factory=dict)
    recorded: list[tuple[int, ChurnScores, str]] = field(default_factory=list)
    written: list[Scored] = field(default_factory=list)
    censuses: dict[tuple[date, int], Census] = field(default_factory=dict)
    profiles_read: list[int] = field(default_factory=list)
    histories_read: list[int] = field(default_factory=list)
    index_lags: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(
        self,
        user_id: int,
        pattern: Pattern | bytes,
        due_at: datetime = NOW,
        asked_at: datetime | None = None,
        **changes: object,
    ) -> None:
        state = pattern if isinstance(pattern, bytes) else encode(pattern)
        self.items[user_id] = DuePattern(
            bot_id=BOT,
            user_id=user_id,
            state=state,
            version=1,
            due_at=due_at,
            scores=None,
            scored_at=None,
            asked_at=asked_at,
        )
        self.index[user_id] = due_at
        self.profiles[user_id] = replace(PROFILE, user_id=user_id, **changes)

    def due(self, partition: int, now: datetime) -> Iterator[tuple[int, int]]:
        rows = sorted((at, user_id) for user_id, at in self.index.items() if at <= now)
        return iter([(BOT, user_id) for _, user_id in rows if user_id % self.partitions == partition])

    def load(self, users: Iterable[tuple[int, int]]) -> Iterator[DuePattern]:
        return iter([self.items[user_id] for _, user_id in users if user_id in self.items])

    def record(self, seen: DuePattern, scored: Scored, *, now: datetime, next_due_at: datetime | None) -> bool:
        if not self._move(seen, next_due_at, watched=scored.watched):
            return False
        self.recorded.append((seen.user_id, scored.churn, scored.by))
        self.written.append(scored)
        return True

    def postpone(self, seen: DuePattern, until: datetime) -> bool:
        return self._move(seen, until)

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        self.profiles_read.append(user_id)
        return self.profiles.get(user_id)

    def plan(self, outreach: Outreach) -> bool:
        with self.lock:
            identity = (outreach.user_id, outreach.campaign, outreach.period)
            return self.planned.setdefault(identity, outreach) is outreach

    def of_user(self, bot_id: int, user_id: int) -> list[Outreach]:
        self.histories_read.append(user_id)
        with self.lock:
            return [outreach for (owner, *_), outreach in self.planned.items() if owner == user_id]

    def add(self, bot_id: int, day: date, share: int, census: Census) -> None:
        assert bot_id == BOT
        with self.lock:
            self.censuses[day, share] = self.censuses.get((day, share), Census()) + census

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> Census:
        assert bot_id == BOT
        return sum((c for (day, _), c in self.censuses.items() if first_day <= day <= last_day), Census())

    @property
    def census(self) -> Census:
        return sum(self.censuses.values(), Census())

    def _move(self, seen: DuePattern, due_at: datetime | None, **changes: object) -> bool:
        with self.lock:
            item = self.items.get(seen.user_id)
            if item is None or item.due_at != seen.due_at:
                return False
            self.items[seen.user_id] = replace(item, due_at=due_at, **changes)
            if not self.index_lags:
                self.index.pop(seen.user_id)
                if due_at:
                    self.index[seen.user_id] = due_at
            return True


@dataclass
class Model:
    """Gives everybody the same score, and counts its calls."""

    answer: ChurnScores = LEAVING
    version: str = "1-abc"
    batches: list[int] = field(default_factory=list)

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        assert all(len(row) == len(NAMES) for row in rows)
        self.batches.append(len(rows))
        return [self.answer] * len(rows)


class BrokenModel(Model):
    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[ChurnScores]:
        raise ModelUnavailableError("damaged")


@dataclass
class TimingModel:
    """Prefers one hour of everybody's, and notes who was asked about."""

    version: str = "timing-1"
    answer: tuple[float, ...] | None = tuple(float(hour == 13) for hour in range(24))
    asked: list[object] = field(default_factory=list)

    def predict(self, users: Sequence[Sequence[tuple[float, ...]]]) -> list[tuple[float, ...]]:
        self.asked.extend(users)
        if self.answer is None:
            raise ModelUnavailableError("damaged")
        return [self.answer] * len(users)


@dataclass
class MoodModel:
    """Gives everybody the same mood, and counts its calls."""

    version: str = "mood-1"
    answer: float | None = 0.25
    batches: list[int] = field(default_factory=list)

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[float]:
        self.batches.append(len(rows))
        if self.answer is None:
            raise ModelUnavailableError("damaged")
        return [self.answer] * len(rows)


@dataclass
class Models:
    churn: Model | None
    timing: TimingModel | None = field(default_factory=TimingModel)
    mood: MoodModel | None = field(default_factory=MoodModel)
    uplift: "UpliftModel | None" = None


@dataclass
class UpliftModel:
    """Expects the same of every message."""

    answer: Uplift | None
    version: str = "uplift-1"

    def predict(self, rows: Sequence[tuple[float, ...]]) -> list[Uplift]:
        if self.answer is None:
            raise ModelUnavailableError("damaged")
        return [self.answer] * len(rows)


PESSIMIST = Model()


def scoring(table: Table, model: Model | None = PESSIMIST, policy: Policy = POLICY, **changes: object) -> Scoring:
    options: dict[str, object] = {
        "bot_id": BOT,
        "scores": table,
        "profiles": table,
        "outreaches": table,
        "censuses": table,
        "planner": Planner(policy, Texts),
        "models": Models(model),
        "thresholds": Thresholds(re_engagement=0.8, checkin=0.6, features=("habits",)),
        "writers": 2,
    }
    chosen = options | changes
    models = chosen.pop("models")
    return Scoring(**chosen, models=None if models is None else lambda: models)


def plenty() -> float:
    return 900.0


def test_a_due_user_is_scored_and_due_again_tomorrow() -> None:
    table = Table()
    table.put(1, silent_for(1))

    report = scoring(table).score_due(TICK, plenty)

    assert report == ScoringReport(scored=1)
    assert table.recorded == [(1, LEAVING, "1-abc")]
    assert table.items[1].due_at == NOW + timedelta(days=1)


def test_the_model_is_asked_once_per_batch_over_all_partitions() -> None:
    table = Table()
    for user_id in range(250):
        table.put(user_id, silent_for(1))
    model = Model()

    report = scoring(table, model, batch=100).score_due(TICK, plenty)

    assert report.scored == 250
    assert model.batches == [100, 100, 50]


@pytest.mark.parametrize("shards", range(1, 17))
def test_the_shares_of_all_shards_cover_each_user_exactly_once(shards: int) -> None:
    table = Table()
    for user_id in range(64):
        table.put(user_id, silent_for(1))

    reports = [
        scoring(table).score_due(Tick(now=NOW, shard=shard, of=shards), plenty) for shard in reversed(range(shards))
    ]

    assert sum(report.scored for report in reports) == 64
    assert sorted(user_id for user_id, *_ in table.recorded) == list(range(64))
    assert all(report.scored_elsewhere == 0 for report in reports)


def test_more_shards_than_partitions_leave_some_with_nothing_to_do() -> None:
    table = Table()
    table.put(1, silent_for(1))

    assert scoring(table).score_due(Tick(now=NOW, shard=16, of=17), plenty) == ScoringReport()


def test_another_partition_comes_first_every_hour() -> None:
    """Where there is more than a run can do, no partition is always the one left over."""
    firsts = set()
    for hour in range(16):
        table = Table()
        for user_id in range(16):
            table.put(user_id, silent_for(1))
        tick = Tick(now=NOW + timedelta(hours=hour), shard=0, of=1)
        scoring(table, writers=1).score_due(tick, plenty)
        firsts.add(table.recorded[0][0])

    assert firsts == set(range(16))


def test_two_overlapping_runs_score_each_user_once() -> None:
    """R31: threads over one table whose index goes on naming who was scored."""
    table = Table(index_lags=True)
    for user_id in range(200):
        table.put(user_id, silent_for(5))
    reports: list[ScoringReport] = []
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        reports.append(scoring(table, batch=20).score_due(TICK, plenty))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(user_id for user_id, *_ in table.recorded) == list(range(200))
    assert sum(report.scored for report in reports) == 200
    assert sum(report.scored_elsewhere for report in reports) == 200
    assert sum(report.planned.total() for report in reports) == len(table.planned) == 200


def test_a_lagging_index_row_costs_a_read_and_nothing_else() -> None:
    """R36: the index says due, the item says tomorrow."""
    table = Table()
    table.put(1, silent_for(1), due_at=NOW + timedelta(days=1))
    table.index[1] = NOW - timedelta(days=1)
    table.put(2, silent_for(1))
    del table.items[2]
    model = Model()

    report = scoring(table, model).score_due(TICK, plenty)

    assert report == ScoringReport(scored_elsewhere=2)
    assert (table.recorded, model.batches) == ([], [])


@dataclass
class Clock:
    """Remaining seconds that run down by one with each question."""

    left: float

    def __call__(self) -> float:
        self.left -= 1
        return self.left


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_a_run_whose_time_is_up_leaves_the_rest_to_the_next(batch: int) -> None:
    """R32: whatever the batch, every user is scored exactly once over as many runs as it takes."""
    table = Table()
    for user_id in range(60):
        table.put(user_id, silent_for(5))
    runs = []
    while not runs or not runs[-1].finished:
        assert len(runs) < 20
        runs.append(scoring(table, batch=batch).score_due(TICK, Clock(RESERVE_SECONDS + 20)))

    assert len(runs) > 2
    assert sorted(user_id for user_id, *_ in table.recorded) == list(range(60))
    assert sum(run.scored for run in runs) == len(table.planned) == 60
    assert sum(run.scored_elsewhere for run in runs) == 0


def test_a_run_without_time_does_nothing_and_says_so() -> None:
    """R32: and one without users has finished, however late it is."""
    table = Table()
    assert scoring(table).score_due(TICK, lambda: 0.0).finished
    table.put(1, silent_for(1))

    model = Model()

    report = scoring(table, model).score_due(TICK, lambda: RESERVE_SECONDS)

    assert report == ScoringReport(finished=False)
    assert model.batches == []
    assert table.censuses == {}


class DyingTable(Table):
    """Dies at the n-th write, as a killed function does: planned, and not recorded."""

    writes_left = 3

    def record(self, *args: object, **kwargs: object) -> bool:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise StoreUnavailableError("DynamoDB: ThrottlingException")
        return super().record(*args, **kwargs)


def test_a_run_that_dies_between_planning_and_recording_skips_and_doubles_nobody() -> None:
    """R32, R37: the user is still due, and planning again meets the same outreach."""
    table = DyingTable()
    for user_id in range(10):
        table.put(user_id, silent_for(5))

    with pytest.raises(StoreUnavailableError):
        scoring(table, writers=1).score_due(TICK, plenty)
    table.writes_left = 100
    report = scoring(table, writers=1).score_due(TICK, plenty)

    assert report.scored == 7
    assert report.not_planned["resting"] >= 1
    assert sorted(user_id for user_id, *_ in table.recorded) == list(range(10))
    assert len(table.planned) == 10


@pytest.mark.parametrize(
    ("model", "fell_back"),
    [
        (BrokenModel(), True),
        (Model(ChurnScores(math.nan, 0.5, 0.5)), True),
        (Model(ChurnScores(0.5, math.inf, 0.5)), True),
        (Model(ChurnScores(0.5, 0.5, 1.1)), True),
        (Model(), False),
    ],
)
def test_a_model_that_cannot_answer_is_replaced_by_rules(model: Model, fell_back: bool) -> None:
    """R33, R18: the run completes, and nothing but probabilities is written."""
    table = Table()
    table.put(1, silent_for(10))

    report = scoring(table, model).score_due(TICK, plenty)

    assert (report.scored, report.fell_back, report.finished) == (1, fell_back, True)
    expected = (1, rule_scores(silent_for(10), NOW), "rules") if fell_back else (1, LEAVING, "1-abc")
    assert table.recorded == [expected]


@pytest.mark.parametrize(("models", "fell_back"), [(Models(None), True), (None, False)])
def test_rules_by_choice_are_no_fallback(models: Models | None, fell_back: bool) -> None:
    """R33: the metric tells a missing model from one that the operator switched off."""
    table = Table()
    table.put(1, silent_for(10))

    report = scoring(table, models=models).score_due(TICK, plenty)

    assert (report.scored, report.fell_back) == (1, fell_back)
    assert table.recorded[0][2] == "rules"


@pytest.mark.parametrize(
    "models",
    [
        Models(Model(), timing=None),
        Models(Model(), mood=None),
        Models(Model(), timing=TimingModel(answer=None)),
        Models(Model(), timing=TimingModel(answer=(math.nan,) * 24)),
        Models(Model(), timing=TimingModel(answer=(1.0,))),
        Models(Model(), mood=MoodModel(answer=None)),
        Models(Model(), mood=MoodModel(answer=math.nan)),
        Models(Model(), mood=MoodModel(answer=1.5)),
    ],
)
def test_each_model_falls_back_by_itself(models: Models) -> None:
    """R33, R18: the others go on serving, and nothing impossible is written."""
    table = Table()
    pattern = silent_for(5)
    table.put(1, pattern)

    report = scoring(table, models=models).score_due(TICK, plenty)

    assert (report.scored, report.fell_back) == (1, True)
    assert table.recorded == [(1, LEAVING, "1-abc")]
    (scored,), (outreach,) = table.written, table.planned.values()
    mood_serves = models.mood is not None and models.mood.answer == MoodModel().answer
    timing_serves = models.timing is not None and models.timing.answer == TimingModel().answer
    assert mood_serves + timing_serves == 1
    assert scored.mood == (0.25 if mood_serves else mood_level(pattern, BUNDLED, NOW).level)
    by_rule = best_send_time(hour_shares(pattern, BUNDLED, NOW), NOW, within=timedelta(days=1))
    assert outreach.due_at == (NOW.replace(hour=13, minute=30) if timing_serves else by_rule)


def test_a_missing_model_is_told_also_by_a_run_without_users() -> None:
    """R33: otherwise a quiet hour would hide it."""
    nobody = scoring(Table(), None).score_due(TICK, plenty)

    assert (nobody.fell_back, nobody.scored) == (True, 0)


def test_a_damaged_pattern_does_not_stop_the_others() -> None:
    """It is told apart from the others by what is wrong with it, never by whose it is."""
    table = Table()
    table.put(777001, silent_for(1))
    table.put(777002, b"\x63damaged")
    table.put(777003, encode(silent_for(1))[:-1])
    table.put(777004, silent_for(1))

    report = scoring(table).score_due(TICK, plenty)

    assert (report.scored, report.scored_elsewhere, report.unreadable.total()) == (2, 0, 2)
    assert "777" not in str(report.summary())
    assert [table.items[user_id].due_at for user_id in (777002, 777003)] == [NOW + timedelta(days=1)] * 2


@pytest.mark.parametrize(
    "pattern",
    [EMPTY, fold(EMPTY, [interaction()]), fold(EMPTY, [interaction(edited=True)])],
    ids=["empty", "new user", "edits only"],
)
def test_a_new_user_and_an_empty_pattern_get_a_finite_score_and_no_message(pattern: Pattern) -> None:
    """R34."""
    table = Table()
    table.put(1, pattern)

    report = scoring(table, BrokenModel()).score_due(TICK, plenty)

    ((_, scores, _),) = table.recorded
    assert all(0 <= p <= 1 for p in (scores.churn_7d, scores.churn_14d, scores.churn_30d))
    assert (report.scored, report.planned, report.not_planned) == (1, {}, {})


def test_a_silent_users_score_keeps_rising_from_run_to_run() -> None:
    """The stored pattern never changes, and yet each run writes a higher score."""
    table = Table()
    table.put(1, silent_for(0))

    for day in range(30):
        tick = Tick(now=NOW + timedelta(days=day), shard=0, of=1)
        scoring(table, BrokenModel()).score_due(tick, plenty)

    risks = [scores.churn_14d for _, scores, _ in table.recorded]
    assert len(risks) > 20
    assert risks == sorted(set(risks))


def test_an_outreach_is_planned_at_the_users_best_hour_with_all_it_needs() -> None:
    table = Table()
    table.put(1, silent_for(5))

    report = scoring(table).score_due(TICK, plenty)

    (outreach,) = table.planned.values()
    assert report.planned == {"re_engagement": 1}
    assert outreach == Outreach(
        bot_id=BOT,
        user_id=1,
        campaign="silence",
        period="2026-11-17-1",
        outreach_type=outreach.outreach_type,
        state=OutreachState.SCHEDULED,
        priority=0.9,
        trigger="churn_14d_high",
        template=outreach.template,
        planned_at=NOW,
        due_at=NOW.replace(hour=13, minute=30),
        expires_at=NOW + timedelta(days=2),
        experiment="test",
        template_probability=1 / len(Texts().variants(outreach.outreach_type)),
        covariate=1 - LEAVING.churn_7d,
        context=context_of(silent_for(5), outreach.outreach_type, LEAVING, NOW),
    )
    assert outreach.template in Texts().variants(outreach.outreach_type)


def test_profiles_are_read_for_those_only_whose_score_calls_for_a_message() -> None:
    table = Table()
    for user_id in range(20):
        table.put(user_id, silent_for(5 if user_id == 7 else 1))

    scoring(table).score_due(TICK, plenty)

    assert table.profiles_read == table.histories_read == [7]


@pytest.mark.parametrize(
    ("changes", "policy", "expected"),
    [
        ({}, POLICY, None),
        ({"opted_out": True}, POLICY, "opted_out"),
        ({"blocked": True}, POLICY, "blocked"),
        ({"consent": Consent.UNASKED}, POLICY, "consent"),
        ({"consent": Consent.DECLINED}, POLICY, "consent"),
        ({"consent": Consent.UNASKED}, replace(POLICY, consent=ConsentPolicy.ASSUME), None),
        ({"consent": Consent.DECLINED}, replace(POLICY, consent=ConsentPolicy.ASSUME), "consent"),
        ({"opted_out": True}, replace(POLICY, consent=ConsentPolicy.ASSUME), "opted_out"),
        ({"blocked": True}, replace(POLICY, consent=ConsentPolicy.ASSUME), "blocked"),
        ({"next_ok_at": NOW + timedelta(days=3)}, POLICY, "min_gap"),
        ({"preferences": Preferences.parse(["s.re.1795000000", "s.pc.1795000000"])}, POLICY, "type_stopped"),
        ({"preferences": Preferences.parse(["n.pc.1795300000.1795300000"])}, POLICY, "series_ended"),
        ({"crisis_at": NOW - timedelta(days=3)}, POLICY, "crisis"),
        ({}, replace(POLICY, enabled=False), "paused"),
    ],
)
@pytest.mark.parametrize("scores", [LEAVING, DRIFTING])
def test_nobody_is_planned_for_who_could_not_be_written_to(
    changes: dict[str, object], policy: Policy, expected: str | None, scores: ChurnScores
) -> None:
    """R42: scored all the same, and the reason is counted."""
    table = Table()
    table.put(1, silent_for(5), **changes)

    report = scoring(table, Model(scores), policy=policy).score_due(TICK, plenty)

    assert report.scored == 1
    assert len(table.planned) == (expected is None)
    assert report.not_planned == ({expected: 1} if expected else {})


def test_an_erased_user_is_not_planned_for() -> None:
    """R42: the profile is gone while the pattern still waits to be."""
    table = Table()
    table.put(1, silent_for(5))
    del table.profiles[1]

    assert scoring(table).score_due(TICK, plenty).not_planned == {"no_profile": 1}
    assert table.planned == {}


def test_who_stays_is_left_alone() -> None:
    table = Table()
    table.put(1, silent_for(5))

    report = scoring(table, Model(STAYING)).score_due(TICK, plenty)

    assert (report.planned, report.not_planned, table.planned) == ({}, {}, {})


@st.composite
def habits(draw: st.DrawFn) -> Pattern:
    """A user of any rhythm, from several times a day to once in two months, last seen at NOW."""
    gaps = draw(st.lists(st.floats(0.01, 60), min_size=2, max_size=12))
    times = [NOW]
    for gap in gaps:
        times.append((times[-1] - timedelta(days=gap)).replace(microsecond=0))
    return pattern_of(times)


@given(habits(), st.sampled_from([LEAVING, DRIFTING, None]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_year_of_silence_brings_three_messages_at_most_ever_further_apart(
    pattern: Pattern, answer: ChurnScores | None, delivered: bool
) -> None:
    """A simulated year: scored whenever due, planned whenever called for, and sent at the due time or never."""
    table = Table()
    table.put(1, pattern)
    now = NOW
    days = 0
    while (due := table.items[1].due_at) is not None:
        now = max(due, now)
        for identity, outreach in table.planned.items():
            if delivered and outreach.due_at <= now and outreach.exposed_at is None:
                table.planned[identity] = replace(
                    outreach, state=OutreachState.SENT, exposed_at=outreach.due_at, sent_at=outreach.due_at
                )
        model = Model(answer) if answer else BrokenModel()
        assert scoring(table, model, writers=1).score_due(Tick(now=now, shard=0, of=1), plenty).scored == 1
        days += 1
    everything = sorted(table.planned.values(), key=lambda outreach: outreach.planned_at)
    planned = [outreach for outreach in everything if outreach.campaign == "silence"]

    assert now - NOW > timedelta(days=365)
    assert days < 100
    assert len(planned) <= STEPS
    assert len(planned) == STEPS or answer is None, "somebody silent for a year was written to"
    for before, after in pairwise(everything):
        assert before.expires_at < after.due_at, "never two under way at once"
        assert not delivered or after.planned_at - before.due_at >= REST
    for (before, after), spacing in zip(pairwise(planned), SPACING, strict=False):
        assert after.planned_at - (before.exposed_at or before.planned_at) >= spacing


def test_planning_again_every_day_meets_the_same_outreach() -> None:
    """R37: and a week, and then a fortnight later, the second and the last one of this silence."""
    table = Table()
    table.put(1, silent_for(3))
    reasons = []

    for day in range(60):
        report = scoring(table).score_due(Tick(now=NOW + timedelta(days=day), shard=0, of=1), plenty)
        reasons += list(report.not_planned)

    first, second, third = table.planned.values()
    assert [outreach.period for outreach in (first, second, third)] == [f"2026-11-19-{n}" for n in (1, 2, 3)]
    assert first.planned_at == NOW
    assert SPACING[0] <= second.planned_at - first.planned_at <= SPACING[0] + timedelta(days=2)
    assert SPACING[1] <= third.planned_at - second.planned_at <= SPACING[1] + timedelta(days=2)
    assert set(reasons) == {"resting"}


def test_a_user_who_returned_and_left_again_is_in_another_silence() -> None:
    table = Table()
    table.put(1, silent_for(30), due_at=NOW - timedelta(days=9))
    scoring(table).score_due(Tick(now=NOW - timedelta(days=9), shard=0, of=1), plenty)
    table.put(1, silent_for(5))

    scoring(table).score_due(TICK, plenty)

    assert [outreach.period for outreach in table.planned.values()] == ["2026-10-23-1", "2026-11-17-1"]


def test_many_writers_lose_no_user(now: datetime) -> None:
    table = Table()
    for user_id in range(500):
        table.put(user_id, silent_for(5))

    report = scoring(table, writers=8).score_due(Tick(now=now, shard=0, of=1), plenty)

    assert (report.scored, report.planned.total()) == (500, 500)


def test_mood_is_asked_once_per_batch_and_hours_only_of_those_to_be_written_to() -> None:
    table = Table()
    for user_id in range(20):
        table.put(user_id, silent_for(5 if user_id == 7 else 1))
    models = Models(Model())

    scoring(table, models=models, batch=15).score_due(TICK, plenty)

    assert models.mood
    assert models.timing
    assert models.mood.batches == [15, 5]
    assert models.timing.asked == [hour_features(silent_for(5), BUNDLED, NOW)]
    assert {scored.mood for scored in table.written} == {0.25}


# -- one message a pass


def gloomy(last_days_ago: float = 0) -> Pattern:
    """Weeks of joy and a fortnight of gloom, at the end of which somebody falls silent."""
    last = NOW - timedelta(days=last_days_ago)
    return fold(
        EMPTY,
        [
            interaction(
                day,
                last - timedelta(days=day),
                sentiment=-0.8 if day < 12 else 0.8,
                sentiment_type=SentimentType.NEGATIVE if day < 12 else SentimentType.POSITIVE,
            )
            for day in range(50)
        ],
    )


def test_of_several_messages_called_for_the_most_urgent_one_is_planned() -> None:
    """One a user and pass: the others are counted, and may come another day."""
    table = Table()
    table.put(1, gloomy(last_days_ago=4))

    report = scoring(table).score_due(TICK, plenty)

    (outreach,) = table.planned.values()
    assert (outreach.outreach_type, outreach.due_at) == ("mood_support", NOW), "at once, not at the best hour"
    assert report.planned == {"mood_support": 1}
    assert report.not_planned == {"outranked": 1}


def test_what_the_gate_refuses_leaves_its_place_to_the_next() -> None:
    table = Table()
    table.put(1, gloomy(last_days_ago=4))
    without_support = replace(POLICY, rollout=Shares(1.0, {OutreachType.MOOD_SUPPORT: 0.0}))

    report = scoring(table, policy=without_support).score_due(TICK, plenty)

    assert report.planned == {"re_engagement": 1}
    assert report.not_planned == {"type_off": 1}


def test_a_good_interaction_of_somebody_at_risk_is_followed_by_a_message_hours_later() -> None:
    """The guide's advanced integration: quality > 0.7 asks for the scoring, churn > 0.8 plans with priority."""
    table = Table()
    table.put(1, silent_for(0), asked_at=NOW)
    table.put(2, silent_for(0))
    table.put(3, silent_for(0, active_days=15))

    report = scoring(table).score_due(TICK, plenty)

    asked = next(outreach for outreach in table.planned.values() if outreach.user_id == 1)
    assert (asked.trigger, asked.priority) == ("high_churn_risk_detected", 0.9)
    assert asked.due_at == (NOW + timedelta(days=1)).replace(hour=13, minute=30), "the best hour, six hours on"
    assert report.planned == {"re_engagement": 1, "feature_suggestion": 1}


class Rival(Table):
    """A ledger into which another run always writes first."""

    def plan(self, outreach: Outreach) -> bool:
        return False


def test_who_loses_the_race_plans_nothing_else_instead() -> None:
    """R37: two runs at once plan one message for a user, not the first choice and the second."""
    table = Rival()
    table.put(1, gloomy(last_days_ago=4))

    report = scoring(table).score_due(TICK, plenty)

    assert (report.planned, report.not_planned) == ({}, {"already_planned": 1, "outranked": 1})


def test_both_arms_are_planned_alike_but_for_the_arm() -> None:
    """R43: the same decision points, by a hash that knows no run: what is held out is written down like the others."""
    experiment = Experiment(name="first", control=0.3, type_control=Shares(0.0, {}))
    table, again = Table(), Table()
    for user_id in range(300):
        table.put(user_id, silent_for(5))
        again.put(user_id, silent_for(5))

    scoring(table, policy=replace(POLICY, experiment=experiment)).score_due(TICK, plenty)
    scoring(again, policy=replace(POLICY, experiment=experiment), batch=7).score_due(TICK, plenty)

    assert table.planned == again.planned
    arms = [outreach.arm for outreach in table.planned.values()]
    assert len(arms) == 300
    assert 60 <= arms.count(Arm.HELD_OUT) <= 120
    assert {(o.treated_probability, o.program_probability, o.experiment) for o in table.planned.values()} == {
        (0.7, 0.7, "first")
    }
    texts = {arm: {o.template for o in table.planned.values() if o.arm is arm} for arm in Arm}
    assert texts[Arm.HELD_OUT] == texts[Arm.TREATED], "ghosts have a text too"


def test_whom_a_message_would_not_help_is_left_alone_but_for_those_who_keep_the_model_honest() -> None:
    """Before the arm is drawn: both arms are thinned alike."""
    table = Table()
    for user_id in range(400):
        table.put(user_id, silent_for(5))
    models = Models(Model(), uplift=UpliftModel(Uplift(returns_if_sent=0.2, returns_alone=0.2, blocks=0.01)))

    report = scoring(table, models=models).score_due(TICK, plenty)

    kept = report.planned.total()
    assert 20 <= kept <= 60
    assert report.not_planned == {"no_uplift": 400 - kept}
    plain = context_of(silent_for(5), OutreachType.RE_ENGAGEMENT, LEAVING, NOW)
    assert {outreach.context for outreach in table.planned.values()} == {explored(plain)}
    assert row_of(plain) == row_of(explored(plain))


@pytest.mark.parametrize("answer", [None, Uplift(returns_if_sent=0.3, returns_alone=0.2, blocks=0.01)])
def test_whom_a_message_helps_is_written_to_and_so_is_everybody_where_the_model_cannot_answer(
    answer: Uplift | None,
) -> None:
    table = Table()
    for user_id in range(20):
        table.put(user_id, silent_for(5))

    report = scoring(table, models=Models(Model(), uplift=UpliftModel(answer))).score_due(TICK, plenty)

    assert (report.planned, report.not_planned) == ({"re_engagement": 20}, {})


# -- the census


def yesterdays(pattern: Pattern, users: int, days_ago: int) -> tuple[Table, Population]:
    """A table whose census of an earlier day counts so many of the same users."""
    table = Table()
    for user_id in range(users):
        table.put(user_id, pattern, due_at=NOW - timedelta(days=days_ago))
    scoring(table).score_due(Tick(now=NOW - timedelta(days=days_ago), shard=0, of=1), plenty)
    table.items.clear()
    table.index.clear()
    table.planned.clear()
    return table, population(table.census)


@pytest.mark.parametrize("shards", [1, 3, 16])
def test_every_scored_user_is_counted_once_under_the_share_that_scored_them(shards: int) -> None:
    table, alone = Table(), Table()
    for user_id in range(64):
        table.put(user_id, silent_for(user_id / 3))
        alone.put(user_id, silent_for(user_id / 3))

    for shard in range(shards):
        scoring(table, batch=7).score_due(Tick(now=NOW, shard=shard, of=shards), plenty)
    scoring(alone).score_due(TICK, plenty)

    assert set(table.censuses) == {(NOW.date(), shard) for shard in range(shards)}
    assert table.census == alone.census
    assert table.census.users == 64


def test_a_run_that_scores_nobody_writes_no_census() -> None:
    table = Table()
    table.put(1, b"damaged")

    scoring(table).score_due(TICK, plenty)

    assert table.censuses == {}


def test_two_overlapping_runs_count_each_user_and_outcome_once() -> None:
    """R31: whoever's write was refused counts nothing, and neither does a run that comes later."""
    table = Table(index_lags=True)
    for user_id in range(100):
        table.put(user_id, silent_for(5))
        table.items[user_id] = replace(
            table.items[user_id], watched=Watched(at=NOW - timedelta(days=7), churn_7d=0.5, by="0-old")
        )
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        scoring(table, batch=20).score_due(TICK, plenty)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scoring(table).score_due(TICK, plenty)

    assert table.census.users == 100
    assert sum(table.census.outcomes["0-old"].seen) == 100
    assert {item.watched for item in table.items.values()} == {Watched(at=NOW, churn_7d=0.95, by="1-abc")}


def test_a_run_whose_time_is_up_counts_whom_it_scored() -> None:
    """R32: over as many runs as it takes, each user once."""
    table = Table()
    for user_id in range(60):
        table.put(user_id, silent_for(5))

    while not scoring(table, batch=7).score_due(TICK, Clock(RESERVE_SECONDS + 20)).finished:
        assert table.census.users == len(table.recorded)

    assert table.census.users == 60


def test_a_run_that_dies_counts_nobody_twice() -> None:
    """R32: whom it scored in its last moment may be missing; nobody is in a census doubly."""
    table = DyingTable()
    for user_id in range(10):
        table.put(user_id, silent_for(5))

    with pytest.raises(StoreUnavailableError):
        scoring(table, writers=1).score_due(TICK, plenty)
    assert table.census.users == 3
    table.writes_left = 100
    scoring(table, writers=1).score_due(TICK, plenty)

    assert table.census.users == 10


def test_another_bots_users_are_scored_and_not_counted() -> None:
    table = Table()
    table.put(1, silent_for(1))
    table.put(2, silent_for(1))
    table.items[2] = replace(table.items[2], bot_id=BOT + 1)

    assert scoring(table).score_due(TICK, plenty).scored == 2
    assert table.census.users == 1


@pytest.mark.parametrize("days_ago", [1, 2])
def test_few_data_are_shrunk_to_what_was_counted_the_day_before_or_the_one_before_that(days_ago: int) -> None:
    """A bot whose users talk at two in the night: that is what is assumed of those who said little."""
    at_two = pattern_of(NOW - timedelta(days=day, hours=9.5) for day in range(3, 13))
    table, known = yesterdays(at_two, users=300, days_ago=days_ago)
    table.put(1, silent_for(5))
    models = Models(Model())

    scoring(table, models=models).score_due(TICK, plenty)

    assert known.hours[2] > 0.5
    assert models.timing
    assert models.timing.asked == [hour_features(silent_for(5), known, NOW)]


@pytest.mark.parametrize("days_ago", [0, 3])
def test_what_was_counted_today_or_longer_ago_is_no_prior(days_ago: int) -> None:
    """Today's census is not over: it would be of those who are scored first."""
    table, _ = yesterdays(silent_for(4), users=50, days_ago=days_ago)
    table.put(1, silent_for(5))
    models = Models(Model())

    scoring(table, models=models).score_due(TICK, plenty)

    assert models.timing
    assert models.timing.asked == [hour_features(silent_for(5), BUNDLED, NOW)]


def test_a_score_is_watched_for_a_week_and_then_counted_with_its_outcome() -> None:
    """R87: a user who comes once more on the third day, scored every day for three weeks."""
    table = Table()
    before = [NOW - timedelta(days=day) for day in range(14)]
    table.put(1, pattern_of(before))

    for day in range(22):
        now = NOW + timedelta(days=day)
        if day == 3:
            table.items[1] = replace(table.items[1], state=encode(pattern_of([*before, now - timedelta(hours=1)])))
        table.items[1] = replace(table.items[1], due_at=now)
        table.index[1] = now
        scoring(table, Model(version=f"week-{day // 7}")).score_due(Tick(now=now, shard=0, of=1), plenty)

    outcomes = table.census.outcomes
    assert {version: (sum(o.seen), sum(o.stayed_away)) for version, o in outcomes.items()} == {
        "week-0": (1, 0),
        "week-1": (1, 1),
        "week-2": (1, 1),
    }
