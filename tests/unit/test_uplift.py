"""Uplift: what a decision knew, what is learned from what came of it, and that nothing serves which brings nothing."""

import json
import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.clients.predictor import UPLIFT, UpliftModel
from engagement.domain import uplift
from engagement.domain.features import features
from engagement.domain.interaction import SentimentType
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.policy_value import compare
from engagement.domain.scores import ChurnScores
from engagement.domain.uplift import (
    BLOCK_COST,
    EXPLORED,
    FEWEST_USERS,
    MEASURED,
    NAMES,
    TYPES,
    LoggedDecision,
    Uplift,
    context_of,
    explored,
    explores,
    planned_probability,
    row_of,
    value,
)
from infra.local.world import NOTHING, Effects, Kind, World
from models import export
from models import uplift as training
from models.candidate import answers_of
from models.judge import Verdict
from tests.builders import NOW, interaction
from tests.decisions import decisions

WORLD = World(11, 4_000)
"""A fifth of its people are annoyed by messages; see `Effects`."""


def train(logged: list[LoggedDecision], out: Path, *, serving: Path | None = None, min_samples: int = 500) -> Verdict:
    return training.train(logged, serving=serving, out=out, now=NOW, min_samples=min_samples)


@pytest.fixture(scope="module")
def logged() -> list[LoggedDecision]:
    return decisions(WORLD, control=0.3)


@pytest.fixture(scope="module")
def verdict(logged: list[LoggedDecision], tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    return train(logged, tmp_path_factory.mktemp("uplift") / "uplift")


# --- what a decision knew ---

patterns = st.lists(
    st.tuples(st.integers(0, 700 * 24), st.sampled_from([None, -0.9, 0.0, 0.7])), min_size=0, max_size=30
).map(
    lambda events: fold(
        EMPTY,
        [interaction(number, NOW - timedelta(hours=ago), sentiment=mood) for number, (ago, mood) in enumerate(events)],
    )
)


@given(
    pattern=patterns,
    outreach_type=st.sampled_from(OutreachType),
    churn=st.floats(0, 1),
    later=st.timedeltas(timedelta(days=-2), timedelta(days=3_000)),
)
def test_what_is_stored_is_what_was_known(
    pattern: Pattern, outreach_type: OutreachType, churn: float, later: timedelta
) -> None:
    """R76: to float32, finite for every user, at any time; one of the types is marked."""
    context = context_of(pattern, outreach_type, ChurnScores(churn, churn, churn), NOW + later)
    row = row_of(context)

    assert len(context) == 39
    assert row is not None
    assert len(row) == len(NAMES)
    assert all(map(math.isfinite, row))
    assert row[:5] == pytest.approx(features(pattern, NOW + later), rel=1e-6, abs=1e-6)
    assert row[len(MEASURED) :] == tuple(float(outreach_type is other) for other in TYPES)
    assert planned_probability(context) == 1


def test_likely_returners_have_higher_log_odds_and_moods_are_shrunk() -> None:
    """What the names say."""
    glad = {"sentiment": 0.5, "sentiment_type": SentimentType.POSITIVE}
    pattern = fold(EMPTY, [interaction(n, NOW - timedelta(days=n), **glad) for n in range(30)])

    def known(churn: float) -> dict[str, float]:
        context = context_of(pattern, OutreachType.RE_ENGAGEMENT, ChurnScores(churn, churn, churn), NOW)
        return dict(zip(NAMES, row_of(context) or (), strict=True))

    assert known(0.25)["return_log_odds_7d"] == pytest.approx(math.log(3))
    assert known(0.0)["return_log_odds_7d"] > 9 > -9 > known(1.0)["return_log_odds_7d"]
    assert known(0.5)["usual_mood"] == pytest.approx(0.25)
    assert known(0.5)["log_interactions"] == pytest.approx(math.log(31))
    assert known(0.5)["log_age_days"] == pytest.approx(math.log(30))


def test_a_context_of_another_version_or_a_damaged_one_is_not_read() -> None:
    """R76: features that were made otherwise are other features."""
    context = context_of(EMPTY, OutreachType.RE_ENGAGEMENT, ChurnScores(0.5, 0.5, 0.5), NOW)
    damaged = (
        bytes([uplift.VERSION + 1]) + context[1:],
        context[:1] + bytes([0]) + context[2:],
        context[:1] + bytes([101]) + context[2:],
        context[:2] + bytes([len(TYPES)]) + context[3:],
        context[:-4] + bytes.fromhex("7fc00000"),
        context[:-1],
        b"",
    )

    assert row_of(context)
    assert [row_of(each) for each in damaged] == [None] * len(damaged)


def test_a_message_is_worth_what_it_adds_less_what_it_drives_away() -> None:
    assert value(Uplift(0.5, 0.3, 0.01)) == pytest.approx(0.2 - BLOCK_COST * 0.01)
    assert value(Uplift(0.3, 0.3, 0.0)) == 0


def test_a_tenth_of_what_has_no_uplift_is_planned_all_the_same() -> None:
    """Sticky by decision, so that planning twice says the same; and the record says with which probability."""
    context = context_of(EMPTY, OutreachType.RE_ENGAGEMENT, ChurnScores(0.5, 0.5, 0.5), NOW)
    drawn = [explores(1, user, "re_engagement", "2026-W47") for user in range(10_000)]

    assert drawn == [explores(1, user, "re_engagement", "2026-W47") for user in range(10_000)]
    assert np.mean(drawn) == pytest.approx(EXPLORED, abs=0.01)
    assert drawn != [explores(1, user, "re_engagement", "2026-W48") for user in range(10_000)]
    assert planned_probability(explored(context)) == EXPLORED
    assert row_of(explored(context)) == row_of(context)


# --- what is learned ---


def test_where_messages_annoy_some_it_finds_them_and_is_promoted(verdict: Verdict) -> None:
    """R78: beyond a 99 % interval of the policy value; and in the truth of people it never saw."""
    gain = verdict.metrics["gain"]["rule"]

    assert verdict.outcome == "promote", verdict.reason
    assert gain["interval"][0] > 0
    assert "returns in 1,000 against writing to all of them" in verdict.reason
    assert json.loads(json.dumps(verdict.metrics, allow_nan=False)) == verdict.metrics
    assert verdict.directory
    strangers = World(1_011, 20_000)
    rows = [decision.row for decision in decisions(strangers)]
    sends = np.array([value(found) > 0 for found in UpliftModel.load(verdict.directory).predict(rows)])
    annoyed = strangers.kinds == Kind.ANNOYED
    blocks = np.where(annoyed, strangers.effects.blocks, 0.0)
    worth = strangers.probabilities() - strangers.alone - BLOCK_COST * blocks
    assert worth[sends].sum() > 3 * max(worth.sum(), 0) > 0
    assert blocks[sends].sum() < blocks.sum() / 2
    assert sends[annoyed].mean() < 0.5 < sends[strangers.kinds == Kind.HELPED].mean()


def test_the_estimated_gain_is_the_true_one_but_for_chance(verdict: Verdict, logged: list[LoggedDecision]) -> None:
    """The policy's gain over writing to everybody, known here for each of the people it was estimated from."""
    assert verdict.directory
    answers = answers_of(UpliftModel, verdict.directory, np.array([decision.row for decision in logged]))
    blocks = np.where(WORLD.kinds == Kind.ANNOYED, WORLD.effects.blocks, 0.0)
    worth = WORLD.probabilities() - WORLD.alone - BLOCK_COST * blocks
    truth = float(-(worth * ~np.array(training._sends(answers))).mean())

    low, high = verdict.metrics["gain"]["rule"]["interval"]
    assert low < truth < high


def test_where_messages_change_nothing_hardly_one_is_promoted(tmp_path: Path) -> None:
    """R78: A/A worlds; at most one in twenty may be a stroke of luck."""
    worlds = [World(seed, 2_500, NOTHING) for seed in range(40)]

    outcomes = [train(decisions(world), tmp_path / str(number)).outcome for number, world in enumerate(worlds)]

    assert set(outcomes) <= {"keep", "promote"}
    assert outcomes.count("promote") <= 2


def test_where_everybody_is_helped_everybody_is_written_to(tmp_path: Path) -> None:
    """A model that decides as the rule does is not better than it."""
    kind = World(3, 4_000, Effects(mix=(1.0, 0.0, 0.0), helps=0.5, blocks_anyway=0.0))

    found = train(decisions(kind), tmp_path)

    assert found.outcome == "keep"
    assert found.metrics["candidate"]["sends"] > 0.95
    assert "nothing that can be told" in found.reason


def test_what_a_model_kept_from_being_planned_still_counts_in_full() -> None:
    """Of what a model would not send only a tenth has a record: each stands for ten, and the gain stays what it was."""
    logged = decisions(World(12, 40_000), control=0.3)
    refuses = [decision.row[MEASURED.index("usual_mood")] < -0.5 for decision in logged]
    kept = [not refused or explores(1, each.user_id, "x", "y") for each, refused in zip(logged, refuses, strict=True)]
    thinned = [
        replace(each, planned_probability=EXPLORED if refused else 1.0)
        for each, refused, keep in zip(logged, refuses, kept, strict=True)
        if keep
    ]
    all_sends, policy = [True] * len(logged), [not refused for refused in refuses]
    few_policy = [not refused for refused, keep in zip(refuses, kept, strict=True) if keep]

    whole = compare(training._logged(logged), policy, all_sends, block_cost=BLOCK_COST)
    part = compare(training._logged(thinned), few_policy, [True] * len(thinned), block_cost=BLOCK_COST)

    assert len(thinned) < 0.9 * len(logged)
    assert whole.low > 0
    assert abs(part.difference - whole.difference) < 2 * math.hypot(part.standard_error, whole.standard_error)
    assert whole.standard_error < part.standard_error < whole.difference / 3


# --- what is published ---


def test_a_promoted_model_proves_itself_to_the_client_that_serves_it(verdict: Verdict) -> None:
    """R35, R79: card, hash and golden rows; no row of a user's is in the files."""
    assert verdict.directory
    model = UpliftModel.load(verdict.directory)
    golden = json.loads((verdict.directory / "golden.json").read_text())["rows"]
    expected = np.array([row["uplift"] for row in golden])

    served = answers_of(UpliftModel, verdict.directory, np.array([row["features"] for row in golden]))

    assert np.abs(served - expected).max() <= 1e-5
    assert len(golden) == 64
    assert (expected[:, 0] != expected[:, 1]).all()
    assert model.version == f"uplift-{UPLIFT.feature_version}-{model.sha256[:8]}"
    assert model.card["trained_at"] == NOW.isoformat()
    assert model.card["bytes"] < 10_000
    assert sum(model.card["data"].values()) == len(WORLD)


def test_the_same_decisions_give_the_same_bytes_in_any_order(
    logged: list[LoggedDecision], verdict: Verdict, tmp_path: Path
) -> None:
    """R78: a Scan has no order of its own."""
    again = train(logged[::-1], tmp_path)

    assert again.metrics == verdict.metrics
    assert verdict.directory
    for file in ("model.onnx", "card.json", "golden.json"):
        assert (tmp_path / file).read_bytes() == (verdict.directory / file).read_bytes()


def test_what_serves_already_is_not_promoted_again(
    logged: list[LoggedDecision], verdict: Verdict, tmp_path: Path
) -> None:
    """R78: it beats the rule as before, but not the champion, which decides much alike."""
    found = train(logged, tmp_path, serving=verdict.directory)

    assert found.outcome == "keep"
    assert found.metrics["gain"]["rule"]["interval"][0] > 0
    assert found.metrics["serving"]["sends"] == pytest.approx(found.metrics["candidate"]["sends"], abs=0.1)
    assert "against the model that serves" in found.reason
    assert not list(tmp_path.iterdir())


def test_a_champion_that_cannot_be_used_is_not_compared_with(
    logged: list[LoggedDecision], verdict: Verdict, tmp_path: Path
) -> None:
    """R79: then none serves."""
    found = train(logged, tmp_path / "out", serving=tmp_path / "nothing")

    assert found.outcome == "promote"
    assert found.metrics == verdict.metrics


def test_an_export_that_says_something_else_is_not_written(
    logged: list[LoggedDecision], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35"""
    monkeypatch.setattr(export, "TOLERANCE", 0.0)

    found = train(logged, tmp_path)

    assert found.outcome == "keep"
    assert "differs from scikit-learn" in found.reason
    assert not list(tmp_path.iterdir())


# --- why nothing is learned ---


def test_too_few_held_out_are_said_with_their_number(logged: list[LoggedDecision], tmp_path: Path) -> None:
    """R77"""
    held_out = [decision for decision in logged if not decision.sent]
    sent = [decision for decision in logged if decision.sent]

    few = train([*sent, *held_out[: FEWEST_USERS - 1]], tmp_path)
    enough = train([*sent, *held_out[:FEWEST_USERS]], tmp_path)

    assert few.outcome == "too_little_data"
    assert f"{len(sent):,} users written to and of 199 held out are known; it takes 200 of each" in few.reason
    assert enough.outcome in {"keep", "promote"}
    assert train([], tmp_path).outcome == "too_little_data"
    assert train(logged, tmp_path, min_samples=5_000).outcome == "too_little_data"


def test_where_the_time_was_up_it_is_said(logged: list[LoggedDecision], tmp_path: Path) -> None:
    """R77: not for want of data."""
    found = training.train(logged[:50], serving=None, out=tmp_path, now=NOW, min_samples=1, complete=False)

    assert found.outcome == "out_of_time"


def test_an_arm_that_all_but_never_comes_back_has_nothing_to_tell_apart(
    logged: list[LoggedDecision], tmp_path: Path
) -> None:
    """R77"""
    gone = [replace(decision, returned=decision.sent and decision.returned) for decision in logged]

    found = train(gone, tmp_path)

    assert found.outcome == "one_class"
    assert re.match(r"0 of 1,\d+ users held out came back; it takes 10 who did", found.reason)


def test_a_few_blocks_tell_nobody_apart(logged: list[LoggedDecision]) -> None:
    """Nine blocks and sixteen features would make a story of chance: everybody is expected to block alike."""
    lost = [decision.user_id for decision in logged if decision.sent and decision.lost][:9]
    few = [replace(decision, lost=decision.user_id in lost) for decision in logged]
    known = training._columns(sorted(few, key=training._hash))

    answers = training.fit(known).answers(known.rows)

    assert np.ptp(answers[:, 2]) == 0
    assert answers[0, 2] == pytest.approx(9.5 / (known.sent.sum() + 1), rel=1e-4)


def test_blocks_that_would_come_anyway_are_not_the_messages_fault(logged: list[LoggedDecision]) -> None:
    """One in five of everybody, written to or not."""
    dice = np.random.default_rng(5)
    anyway = [replace(decision, lost=bool(dice.random() < 0.2)) for decision in logged]
    known = training._columns(sorted(anyway, key=training._hash))

    assert training.fit(known).answers(known.rows)[:, 2].mean() < 0.06
