"""Training on made-up populations: labels look ahead, features do not, and a damaged export is never written."""

import gzip
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel
from engagement.domain.census import Tally, population
from engagement.domain.features import features
from engagement.domain.mood import mood_features
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.scores import ChurnScores
from engagement.domain.timing import hour_features
from engagement.errors import ModelUnavailableError
from models import export, train
from models.__main__ import main
from models.crowd import Crowd
from models.dataset import (
    HORIZONS,
    OTHER_EVERY,
    Dataset,
    MoodExamples,
    cut_offs,
    examples,
    files,
    histories,
    interaction,
    mood_examples,
    read,
    timing_examples,
)
from models.evaluate import (
    CHURN_TASKS,
    MODEL,
    RECENCY,
    UNIFORM,
    Round,
    averages,
    for_card,
    intervals,
    leave_one_out,
    measures,
)
from models.plots import draw
from models.train import (
    BOOSTING,
    EMPIRICAL_BAYES,
    LINEAR,
    hour_shares,
    level_alone,
    moods,
    probabilities,
    train_churn,
    train_mood,
    train_timing,
    weights,
)
from tests.streams import DAY, START, write_stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three made-up communities."""
    streams = tmp_path_factory.mktemp("streams")
    for seed, name in enumerate(("first", "second", "third")):
        write_stream(streams / f"{name}.csv.gz", users=40, seed=seed)
    return streams


@pytest.fixture(scope="module")
def datasets(folder: Path) -> list[Dataset]:
    return [read(path) for path in files(folder)]


@pytest.fixture(scope="module")
def pipelines(datasets: list[Dataset]) -> tuple[Pipeline, ...]:
    return train_churn([data.churn for data in datasets])


@pytest.fixture(scope="module")
def rounds(datasets: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Round], Path]:
    """Each community answered by models of the other two, and where those models are."""
    kept = tmp_path_factory.mktemp("kept")
    return list(leave_one_out(datasets, kept)), kept


# --- examples ---


def test_every_event_of_a_stream_becomes_an_interaction(folder: Path) -> None:
    """What is trained on is folded from the very type that the webhook stores."""
    people = list(histories(folder / "first.csv.gz"))
    lines = gzip.decompress((folder / "first.csv.gz").read_bytes()).decode().splitlines()

    assert len(people) == 40
    assert sum(map(len, people)) == len(lines) - 1
    moods = [event.sentiment for person in people for event in person]
    assert None in moods
    assert all(mood is None or -1 <= mood <= 1 for mood in moods)
    assert all(person == sorted(person, key=lambda event: event.occurred_at) for person in people)


def test_cut_offs_leave_room_for_every_label_and_favour_no_hour() -> None:
    """A label needs the longest horizon's days after its cut-off."""
    first, last = START.timestamp(), START.timestamp() + 400 * DAY

    times, tested_from = cut_offs(first, last)

    assert len(times) == 89  # the last of 90 would fall a few hours too late
    assert times == sorted(times)
    assert first + 0.25 * (last - first) - DAY <= times[0]
    assert times[-1] <= last - max(HORIZONS) * DAY
    assert tested_from == 53
    assert len({at % DAY for at in times}) == 24


def test_labels_say_what_happened_after_the_cut_off_and_features_what_happened_before() -> None:
    """R76: of an event at the very second of the cut-off, the features know nothing."""
    cut_off = START.timestamp() + 20 * DAY
    days = (1, 2, 3, 20, 29)
    history = [interaction(1, number, int(START.timestamp() + day * DAY)) for number, day in enumerate(days, start=1)]

    (example,) = examples(history, [cut_off])

    assert example.eligible
    assert example.silence == 17
    assert example.absence == 0
    assert example.features == features(fold(EMPTY, history[:3]), datetime.fromtimestamp(cut_off, UTC))


def test_what_comes_after_a_cut_off_changes_no_feature_before_it() -> None:
    """R76: two futures of one past differ in the label alone."""
    past = [interaction(1, number, int(START.timestamp()) + number * DAY) for number in range(1, 6)]
    cut_off = [START.timestamp() + 10 * DAY]
    returns = [*past, interaction(1, 9, int(START.timestamp()) + 12 * DAY)]

    (gone,) = examples(past, cut_off)
    (back,) = examples(returns, cut_off)

    assert gone.absence == math.inf
    assert back.absence == 2
    assert (gone.features, gone.silence, gone.rules) == (back.features, back.silence, back.rules)


def test_newcomers_and_the_long_silent_are_looked_at_too_but_less_often() -> None:
    """They are scored in production, so the model has to have seen them; the benchmark's task leaves them out."""
    history = [interaction(1, 1, int(START.timestamp()))]
    times = [START.timestamp() + day * DAY for day in range(1, 500)]

    found = list(examples(history, times))

    assert len(found) == math.ceil(365 / OTHER_EVERY)
    assert not any(example.eligible for example in found)
    assert max(example.silence for example in found) <= 365


streams = st.lists(
    st.tuples(st.integers(0, 120 * 24 * 4), st.sampled_from([None, -0.5, 0.0, 0.25, 0.9])), min_size=1, max_size=80
).map(lambda found: sorted(found, key=lambda event: event[0]))
"""Quarters of an hour since the start, and sentiments."""


@given(stream=streams, days=st.lists(st.integers(1, 110), min_size=1, max_size=4, unique=True).map(sorted))
@settings(max_examples=150, deadline=None)
def test_labels_are_what_counting_by_hand_gives(stream: list[tuple[int, float | None]], days: list[int]) -> None:
    """R76: the benchmark's three tasks, spelt out over plain lists."""
    seconds = [int(START.timestamp()) + quarter * 900 for quarter, _ in stream]
    sentiments = [sentiment for _, sentiment in stream]
    history = [
        interaction(1, number, at, compound="" if sentiment is None else sentiment)
        for number, (at, sentiment) in enumerate(zip(seconds, sentiments, strict=True), start=1)
    ]
    times = [START.timestamp() + day * DAY + 7 * day % 24 * 3_600 for day in days]
    found = {example.at: example for example in examples(history, times) if example.eligible}

    for at in times:
        before = [second for second in seconds if second < at]
        after = [second for second in seconds if second >= at]
        assert (at in found) == (len(before) >= 3 and before[-1] >= at - 30 * DAY)
        if at not in found:
            continue
        example = found[at]
        assert example.absence == ((after[0] - at) / DAY if after else math.inf)
        sessions = [
            second
            for number, second in enumerate(seconds)
            if at <= second < at + 14 * DAY and (number == 0 or second - seconds[number - 1] >= 1_800)
        ]
        hours = [datetime.fromtimestamp(second, UTC).hour for second in sessions]
        asked = len(before) >= 10 and hours
        assert example.hours == (tuple(hours.count(hour) / len(hours) for hour in range(24)) if asked else None)
        following = sentiments[len(before) : len(before) + 5]
        asked = len(before) >= 5 and len(following) == 5 and None not in following
        asked = asked and after[4] < at + 60 * DAY
        assert example.mood == (pytest.approx(sum(filter(None, following)) / 5) if asked else None)


def test_timing_and_mood_rows_are_of_what_was_known_at_the_cut_off_of_everybody(folder: Path) -> None:
    """R76: the population too is the census of that time, taken by the code that takes it in production."""
    people = list(histories(folder / "first.csv.gz"))
    times = [START.timestamp() + day * DAY + 5 * 3_600 for day in (80, 110, 140)]
    crowd = Crowd(len(times))
    found = [example for number, one in enumerate(people) for example in examples(one, times, user=number, crowd=crowd)]
    populations = crowd.populations()
    timing = timing_examples(found, populations, times[-1])
    mood = mood_examples(found, populations, times[-1])

    timing_rows, mood_rows = iter(timing.features), iter(mood.features)
    expected = []
    for at in times:
        now, tally = datetime.fromtimestamp(at, UTC), Tally()
        for one in people:
            if known := [event for event in one if event.occurred_at < now]:
                tally.count(fold(EMPTY, known), (0.0,) * 5, ChurnScores(0.5, 0.5, 0.5), None, now)
        expected.append(population(tally.census()))
    assert list(populations) == expected
    assert len(timing.user) > 20 < len(mood.user)
    for example in found:
        now = datetime.fromtimestamp(example.at, UTC)
        pattern = fold(EMPTY, [event for event in people[example.user] if event.occurred_at < now])
        if example.hours is not None:
            rows = hour_features(pattern, expected[example.cut_off], now)
            assert next(timing_rows).tolist() == [list(row) for row in rows]
        if example.mood is not None:
            assert next(mood_rows).tolist() == list(mood_features(pattern, expected[example.cut_off], now))
    assert timing.held_back.tolist() == [at == times[-1] for at in timing.at]


def test_a_user_is_counted_until_a_year_after_they_were_last_seen() -> None:
    """As in production, where nobody is scored beyond that."""
    history = [interaction(1, 1, int(START.timestamp()), compound=0.9)]
    times = [START.timestamp() + day * DAY for day in (-1, 0, 1, 365, 366)]
    crowd = Crowd(len(times))

    list(examples(history, times, crowd=crowd))

    moods = [one.mood for one in crowd.populations()]
    assert moods[0] == moods[1] == moods[4] < moods[2] == moods[3]


def test_a_stream_of_dates_has_no_hours_to_learn(tmp_path: Path) -> None:
    """All events at midnight: a day of purchases, not a habit."""
    lines = ["user,ts,tz_offset_min,chars,compound"]
    lines += [f"{user},{int(START.timestamp()) + day * DAY},,," for user in range(3) for day in range(0, 200, 3)]
    (tmp_path / "shop.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))

    data = read(tmp_path / "shop.csv.gz")

    assert len(data.churn.user) > 100
    assert len(data.timing.user) == len(data.mood.user) == 0


def test_a_stream_without_examples_is_refused_by_name(tmp_path: Path) -> None:
    """Silence about it would train on less than the operator believes."""
    (tmp_path / "short.csv.gz").write_bytes(gzip.compress(b"user,ts,tz_offset_min,chars,compound\na,1,,,\n"))
    (tmp_path / "empty.csv.gz").write_bytes(gzip.compress(b"user,ts,tz_offset_min,chars,compound\n"))

    for name in ("short", "empty"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / f"{name}.csv.gz")
    with pytest.raises(FileNotFoundError, match="no event streams"):
        files(tmp_path / "nowhere")


# --- training ---


def test_a_dataset_weighs_by_the_square_root_of_its_task_half_of_it_outside_the_task(datasets: list[Dataset]) -> None:
    """Else the biggest community would be the model."""
    for data in datasets:
        weight = weights(data.churn)

        assert weight[data.churn.eligible].sum() == pytest.approx(math.sqrt(data.churn.eligible.sum()))
        assert weight[~data.churn.eligible].sum() == pytest.approx(math.sqrt(data.churn.eligible.sum()))


def test_training_twice_gives_the_same_numbers(datasets: list[Dataset], pipelines: Sequence[Pipeline]) -> None:
    """Rounded to six digits, so that neither threads nor another processor shows in the file."""
    again = train_churn([data.churn for data in datasets])
    logits = [train_timing([data.timing for data in datasets]) for _ in range(2)]
    boosted = [
        train.fit_boosting([data.mood for data in datasets], [data.mood.at > 0 for data in datasets]) for _ in range(2)
    ]

    for one, other in zip(pipelines, again, strict=True):
        assert one["logit"].coef_.tolist() == other["logit"].coef_.tolist()
        assert all(float(f"{number:.6g}") == number for number in one["logit"].coef_.ravel())
    assert logits[0].coef_.tolist() == logits[1].coef_.tolist()
    rows = datasets[0].mood.features
    assert moods(boosted[0], rows).tolist() == moods(boosted[1], rows).tolist()


def test_one_outcome_only_is_not_trained_on(datasets: list[Dataset]) -> None:
    """R77"""
    data = datasets[0].churn
    nobody_left = replace(data, absence=np.zeros(len(data.absence)))

    with pytest.raises(ValueError, match="one outcome only"):
        train_churn([nobody_left])
    for trainer in (train_churn, train_timing, train_mood):
        with pytest.raises(ValueError, match="nothing to train on"):
            trainer([])


def test_leavers_rank_above_those_who_stay(datasets: list[Dataset], pipelines: Sequence[Pipeline]) -> None:
    """Made-up leavers are easy: what cannot rank them has its classes swapped."""
    data = datasets[0].churn
    answers = probabilities(pipelines, data.features)

    for column, horizon in enumerate(HORIZONS):
        left = data.stayed_away(horizon)
        assert answers[left, column].mean() > answers[~left, column].mean() + 0.2


def test_the_conditional_logit_is_where_its_likelihood_is_highest(datasets: list[Dataset]) -> None:
    """A step in any direction from the fitted coefficients makes the sessions that followed less likely."""
    known = [data.timing for data in datasets]
    logit = train_timing(known)

    def loss(coefficients: np.ndarray) -> float:
        logit.coef_ = coefficients
        each = [-(data.hours * np.log(hour_shares(logit, data.features))).sum(axis=1).mean() for data in known]
        sizes = [math.sqrt(len(data.user)) for data in known]
        return float(np.average(each, weights=sizes) + train.TIMING_RIDGE * (coefficients**2).sum())

    best = logit.coef_.copy()
    for column in range(best.shape[1]):
        for step in (-0.05, 0.05):
            moved = best.copy()
            moved[0, column] += step
            assert loss(moved) > loss(best)


def test_the_level_serves_as_long_as_nothing_beats_it_beyond_doubt(datasets: list[Dataset]) -> None:
    """The made-up moods scatter around a mean of each user's own: there is nothing more to be learned."""
    model = train_mood([data.mood for data in datasets])
    rows = datasets[0].mood.features

    assert model.kind == EMPIRICAL_BAYES
    assert moods(model.regressor, rows).tolist() == rows[:, 0].tolist()
    assert model.refused.keys() == {LINEAR, BOOSTING}


def mood_data(slope: float, count: int = 2_000) -> MoodExamples:
    """A community whose next mood is `slope` times the level, and a little noise."""
    dice = np.random.default_rng(0)
    level = dice.normal(0, 0.2, count)
    at = START.timestamp() + np.arange(count) / count * 400 * DAY
    return MoodExamples(
        user=np.arange(count) % 200,
        at=at,
        held_back=at >= at[count * 6 // 10],
        features=np.column_stack([level, level, np.zeros(count), np.ones(count)]),
        mood=slope * level + dice.normal(0, 0.05, count),
        own_mean=level,
        messages=np.full(count, 10.0),
        ewma=level,
    )


def test_a_mood_model_that_beats_the_level_beyond_doubt_is_served_and_clipped() -> None:
    """Where the next mood is the level's opposite, both beat it by far, and the straight line is the better one."""
    model = train_mood([mood_data(slope=-1)])

    assert model.kind == LINEAR
    assert model.refused.keys() == {BOOSTING}
    assert moods(model.regressor, np.array([[0.4, 0.4, 0, 1], [-9, -9, 0, 1]])) == pytest.approx([-0.4, 1], abs=0.02)


def test_too_little_held_back_to_judge_leaves_the_level_in_place() -> None:
    """No evidence is none, however good the fit."""
    model = train_mood([mood_data(slope=-1, count=100)])

    assert model.kind == EMPIRICAL_BAYES
    assert model.refused == {LINEAR: None, BOOSTING: None}


# --- export ---


def publish_all(datasets: list[Dataset], folder: Path) -> list[dict[str, object]]:
    return [
        export.publish_churn(train_churn([data.churn for data in datasets]), datasets, {}, folder / "churn"),
        export.publish_timing(train_timing([data.timing for data in datasets]), datasets, {}, folder / "timing"),
        export.publish_mood(train_mood([data.mood for data in datasets]), datasets, {}, folder / "mood"),
    ]


def test_published_models_are_served_as_scikit_learn_answers(datasets: list[Dataset], tmp_path: Path) -> None:
    """R35: also on rows that are not golden, of boosted trees too."""
    cards = publish_all(datasets, tmp_path)
    data = datasets[1]
    boosted = train.fit_boosting([data.mood], [data.mood.at > 0])
    export.publish_mood(train.TrainedMood(BOOSTING, boosted, {}), datasets, {}, tmp_path / "boosted")

    checks = (
        (
            ChurnModel,
            "churn",
            data.churn.features,
            probabilities(train_churn([d.churn for d in datasets]), data.churn.features),
        ),
        (
            TimingModel,
            "timing",
            data.timing.features,
            hour_shares(train_timing([d.timing for d in datasets]), data.timing.features),
        ),
        (MoodModel, "mood", data.mood.features, moods(level_alone(), data.mood.features)[:, None]),
        (MoodModel, "boosted", data.mood.features, moods(boosted, data.mood.features)[:, None]),
    )
    for kind, name, rows, expected in checks:
        model = kind.load(tmp_path / name)
        assert export.require_parity(model, rows, expected) <= 1e-5
        assert {file.name for file in (tmp_path / name).iterdir()} == {"model.onnx", "card.json", "golden.json"}
        assert str(tmp_path) not in (tmp_path / name / "card.json").read_text()
        assert [told["name"] for told in model.card["data"]] == ["first", "second", "third"]
    assert [card["version"] for card in cards] == [kind.load(tmp_path / name).version for kind, name, *_ in checks[:3]]


def test_publishing_twice_writes_the_same_bytes(datasets: list[Dataset], tmp_path: Path) -> None:
    """No time, no path and no order of a dict is in them."""
    for name in ("once", "twice"):
        publish_all(datasets, tmp_path / name)

    for kind in ("churn", "timing", "mood"):
        for file in ("model.onnx", "card.json", "golden.json"):
            assert (tmp_path / "once" / kind / file).read_bytes() == (tmp_path / "twice" / kind / file).read_bytes()


def swap_classes(model: onnx.ModelProto) -> None:
    """Answer with the other class."""
    for tensor in model.graph.initializer:
        if tensor.name.endswith("column"):
            tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, onnx.TensorProto.INT64, [1], [0]))


def bend_a_coefficient(model: onnx.ModelProto) -> None:
    """Change one number by a thousandth."""
    node = next(node for node in model.graph.node if node.op_type == "LinearClassifier")
    coefficients = next(attribute for attribute in node.attribute if attribute.name == "coefficients")
    coefficients.floats[-1] += 0.001


def forget_an_output(model: onnx.ModelProto) -> None:
    """Answer for two horizons."""
    concat = next(node for node in model.graph.node if node.op_type == "Concat")
    del concat.input[-1]
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2


@pytest.mark.parametrize(
    ("graph", "damage"),
    [
        ("churn_graph", swap_classes),
        ("churn_graph", bend_a_coefficient),
        ("churn_graph", forget_an_output),
        ("timing_graph", swap_classes),
        ("timing_graph", bend_a_coefficient),
    ],
)
def test_a_damaged_export_is_not_written(
    datasets: list[Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graph: str,
    damage: Callable[[onnx.ModelProto], None],
) -> None:
    """R35: what was there before stays, to the last byte."""
    publish_all(datasets, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    convert = getattr(export, graph)

    def damaged(trained: object) -> onnx.ModelProto:
        model: onnx.ModelProto = convert(trained)
        damage(model)
        return model

    monkeypatch.setattr(export, graph, damaged)

    with pytest.raises(ModelUnavailableError, match=r"differs from scikit-learn|not 3 churn"):
        publish_all(datasets, tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_a_longer_horizon_is_capped_by_every_shorter_one(
    datasets: list[Dataset], pipelines: tuple[Pipeline, ...], tmp_path: Path
) -> None:
    """R35: where the three fits cross, 30 days are capped by 7 days too, not by the uncapped 14."""
    export.publish_churn(pipelines[::-1], datasets, {}, tmp_path)
    rows = datasets[0].churn.features

    answers = np.array([astuple(s) for s in ChurnModel.load(tmp_path).predict([tuple(row) for row in rows.tolist()])])

    uncapped = pipelines[2].predict_proba(rows)[:, 1]
    assert answers[:, 0] == pytest.approx(uncapped, abs=1e-5)
    assert (np.diff(answers, axis=1) <= 0).all()


# --- evaluation ---


def test_a_dataset_is_answered_by_models_that_never_saw_it(
    datasets: list[Dataset], rounds: tuple[list[Round], Path]
) -> None:
    """R76: and beside baselines that never saw it either."""
    found, kept = rounds
    measured = [measure for each in found for measure in measures(each, draws=20)]

    for left_out in datasets:
        for kind in ("churn", "timing", "mood"):
            card = json.loads((kept / left_out.name / kind / "card.json").read_text())
            assert left_out.name not in [told["name"] for told in card["data"]]
    for task in CHURN_TASKS:
        assert averages(measured, task, MODEL)["auc"] > averages(measured, task, RECENCY)["auc"]
    hours = averages(measured, "timing", MODEL)
    low, high = intervals(measured, "timing", MODEL)["log_loss"]
    assert low < hours["log_loss"] < high < averages(measured, "timing", UNIFORM)["log_loss"] == 3.1781


def test_what_a_card_says_can_be_written_as_json(rounds: tuple[list[Round], Path]) -> None:
    """Every candidate of every task, with an interval beside every figure."""
    found, _ = rounds
    measured = [measure for each in found for measure in measures(each, draws=20)]

    for tasks in (CHURN_TASKS, ("timing",), ("mood",)):
        card = json.loads(json.dumps(for_card(measured, found, tasks), allow_nan=False))
        for task in tasks:
            assert all(f"{name}_95" in line for line in card[task].values() for name in line if "_95" not in name)
            assert card["calibration"][task]


def test_the_pictures_are_the_same_whenever_they_are_drawn(rounds: tuple[list[Round], Path], tmp_path: Path) -> None:
    """No date and no version is in them, so a change of a picture is a change of what it shows."""
    found, _ = rounds
    once, twice = draw(found, tmp_path / "once"), draw(found, tmp_path / "twice")

    assert [picture.name for picture in once] == ["reliability.png", "lift.png", "hours.png"]
    for one, other in zip(once, twice, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"\x89PNG")


# --- the commands ---


def test_the_commands_train_and_measure_from_a_folder(folder: Path, tmp_path: Path) -> None:
    """`python -m models train|evaluate`, as the README has it."""
    trained = CliRunner().invoke(main, ["train", "--data", str(folder), "--out", str(tmp_path / "models")])
    kept, pictures = tmp_path / "kept", tmp_path / "pictures"
    measured = CliRunner().invoke(
        main, ["evaluate", "--data", str(folder), "--keep", str(kept), "--pictures", str(pictures)]
    )

    assert (trained.exit_code, measured.exit_code) == (0, 0), trained.output + measured.output
    for kind, name in ((ChurnModel, "churn"), (TimingModel, "timing"), (MoodModel, "mood")):
        assert kind.load(tmp_path / "models" / name).card["metrics"]["datasets"] > 0
        assert (kept / "second" / name / "model.onnx").exists()
    assert "BG/NBD" in measured.output
    assert len(list(pictures.iterdir())) == 3


def test_a_folder_without_streams_is_an_error_that_says_what_to_put_there(tmp_path: Path) -> None:
    """No stack trace for a wrong folder."""
    answer = CliRunner().invoke(main, ["train", "--data", str(tmp_path)])

    assert answer.exit_code == 1
    assert "user,ts,tz_offset_min,chars,compound" in answer.output


def test_one_stream_is_not_enough_to_leave_one_out(folder: Path, tmp_path: Path) -> None:
    """What was never scored on strangers is not published."""
    (tmp_path / "only.csv.gz").write_bytes((folder / "first.csv.gz").read_bytes())

    answer = CliRunner().invoke(main, ["train", "--data", str(tmp_path), "--out", str(tmp_path / "models")])

    assert answer.exit_code == 1
    assert "at least two" in answer.output
    assert not (tmp_path / "models").exists()
