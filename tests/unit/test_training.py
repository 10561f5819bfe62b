"""Training on made-up populations: labels look ahead, features do not, and a damaged export is never written."""

import gzip
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from sklearn.pipeline import Pipeline

from engagement.clients.predictor import ChurnModel
from engagement.domain.features import NAMES, features
from engagement.domain.pattern import EMPTY, fold
from engagement.errors import ModelUnavailableError
from models import export, harness
from models.__main__ import main
from models.dataset import HORIZONS, OTHER_EVERY, Dataset, cut_offs, examples, files, histories, interaction, read
from models.evaluate import MODEL, RECENCY, averages, calibration_error, leave_one_out
from models.train import probabilities, train, weights

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = 86_400


def write_stream(path: Path, users: int, seed: int) -> None:
    """Write a population of regulars, occasional users and leavers over 200 days, as the event streams have it."""
    dice = random.Random(seed)
    lines = ["user,ts,tz_offset_min,chars,compound"]
    for user in range(users):
        day, last = dice.uniform(0, 60), dice.choice([60.0, 120.0, 200.0])
        rate = dice.choice([1.0, 4.0, 12.0])
        while day < last:
            ts = int(START.timestamp() + day * DAY)
            lines.append(f"{user:08x},{ts},,{dice.randrange(200)},{dice.choice(['', '0.5', '-0.3'])}")
            day += dice.expovariate(1 / rate)
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


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
    return train(datasets)


# --- examples ---


def test_every_event_of_a_stream_becomes_an_interaction(folder: Path) -> None:
    """What is trained on is folded from the very type that the webhook stores."""
    people = list(histories(folder / "first.csv.gz"))
    lines = gzip.decompress((folder / "first.csv.gz").read_bytes()).decode().splitlines()

    assert len(people) == 40
    assert sum(map(len, people)) == len(lines) - 1
    assert {event.sentiment for person in people for event in person} == {None, 0.5, -0.3}
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
    """They are scored in production, so the model has to have seen them; the yardstick's task leaves them out."""
    history = [interaction(1, 1, int(START.timestamp()))]
    times = [START.timestamp() + day * DAY for day in range(1, 500)]

    found = list(examples(history, times))

    assert len(found) == math.ceil(365 / OTHER_EVERY)
    assert not any(example.eligible for example in found)
    assert max(example.silence for example in found) <= 365


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
        weight = weights(data)

        assert weight[data.eligible].sum() == pytest.approx(math.sqrt(data.eligible.sum()))
        assert weight[~data.eligible].sum() == pytest.approx(math.sqrt(data.eligible.sum()))


def test_training_twice_gives_the_same_numbers(datasets: list[Dataset], pipelines: Sequence[Pipeline]) -> None:
    """Rounded to six digits, so that neither threads nor another processor shows in the file."""
    again = train(datasets)

    for one, other in zip(pipelines, again, strict=True):
        assert one["logit"].coef_.tolist() == other["logit"].coef_.tolist()
        assert all(float(f"{number:.6g}") == number for number in one["logit"].coef_.ravel())


def test_one_outcome_only_is_not_trained_on(datasets: list[Dataset]) -> None:
    """R77"""
    data = datasets[0]
    nobody_left = Dataset(
        name="loyal",
        users=data.users,
        events=data.events,
        features=data.features,
        silence=data.silence,
        rules=data.rules,
        absence=np.zeros(len(data.absence)),
        eligible=data.eligible,
        held_back=data.held_back,
    )

    with pytest.raises(ValueError, match="one outcome only"):
        train([nobody_left])
    with pytest.raises(ValueError, match="nothing to train on"):
        train([])


def test_leavers_rank_above_those_who_stay(datasets: list[Dataset], pipelines: Sequence[Pipeline]) -> None:
    """Made-up leavers are easy: what cannot rank them has its classes swapped."""
    data = datasets[0]
    answers = probabilities(pipelines, data.features)

    for column, horizon in enumerate(HORIZONS):
        left = data.stayed_away(horizon)
        assert answers[left, column].mean() > answers[~left, column].mean() + 0.2


# --- export ---


def test_a_published_model_is_served_as_scikit_learn_answers(
    datasets: list[Dataset], pipelines: tuple[Pipeline, ...], tmp_path: Path
) -> None:
    """R35: also on rows that are not golden."""
    card = export.publish(pipelines, datasets, {"auc": 1}, tmp_path)
    model = ChurnModel.load(tmp_path)

    assert export.require_parity(model, pipelines, datasets[1].features) <= 1e-5
    assert model.version == card["version"]
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "card.json", "golden.json"}
    written = json.loads((tmp_path / "card.json").read_text())
    assert written["metrics"] == {"auc": 1}
    assert [data["name"] for data in written["data"]] == ["first", "second", "third"]
    assert str(tmp_path) not in (tmp_path / "card.json").read_text()


def test_publishing_twice_writes_the_same_bytes(datasets: list[Dataset], tmp_path: Path) -> None:
    """No time, no path and no order of a dict is in them."""
    for name in ("once", "twice"):
        export.publish(train(datasets), datasets, {}, tmp_path / name)

    for file in ("model.onnx", "card.json", "golden.json"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes()


def swap_classes(model: onnx.ModelProto) -> None:
    """Answer with the probability of coming back."""
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


@pytest.mark.parametrize("damage", [swap_classes, bend_a_coefficient, forget_an_output])
def test_a_damaged_export_is_not_written(
    datasets: list[Dataset],
    pipelines: tuple[Pipeline, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[onnx.ModelProto], None],
) -> None:
    """R35: what was there before stays, to the last byte."""
    export.publish(pipelines, datasets, {}, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    convert = export.to_onnx

    def damaged(pipelines: Sequence[Pipeline]) -> onnx.ModelProto:
        model = convert(pipelines)
        damage(model)
        return model

    monkeypatch.setattr(export, "to_onnx", damaged)

    with pytest.raises(ModelUnavailableError, match=r"differs from scikit-learn|not 3 churn"):
        export.publish(pipelines, datasets, {"newer": True}, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_longer_horizon_is_capped_by_every_shorter_one(
    datasets: list[Dataset], pipelines: tuple[Pipeline, ...], tmp_path: Path
) -> None:
    """R35: where the three fits cross, 30 days are capped by 7 days too, not by the uncapped 14."""
    export.publish(pipelines[::-1], datasets, {}, tmp_path)
    rows = datasets[0].features

    served = np.array([astuple(s) for s in ChurnModel.load(tmp_path).predict([tuple(row) for row in rows.tolist()])])

    uncapped = pipelines[2].predict_proba(rows)[:, 1]
    assert served[:, 0] == pytest.approx(uncapped, abs=1e-5)
    assert (np.diff(served, axis=1) <= 0).all()


# --- evaluation ---


def test_a_dataset_is_scored_by_a_model_that_never_saw_it(datasets: list[Dataset], tmp_path: Path) -> None:
    """R76: and beside baselines that never saw it either."""
    measures = [measure for found in leave_one_out(datasets, tmp_path) for measure in found]

    for left_out in datasets:
        card = json.loads((tmp_path / left_out.name / "card.json").read_text())
        assert left_out.name not in [data["name"] for data in card["data"]]
    for horizon in HORIZONS:
        assert averages(measures, horizon, MODEL)["auc"] > averages(measures, horizon, RECENCY)["auc"]


def test_calibration_error_is_the_gap_between_said_and_seen() -> None:
    """Ten bins of equal size: half of them right, half of them wrong by 0.4."""
    answers = np.array([0.2] * 50 + [0.6] * 50)
    labels = np.array(([True] + [False] * 4) * 10 + [True] * 50)

    assert calibration_error(labels, answers) == pytest.approx(0.2)


def test_the_yardstick_sees_the_served_model(folder: Path, datasets: list[Dataset]) -> None:
    """R35: streamed through the adapter, users get the scores that the bundled model gives their replayed features."""
    data = datasets[0]
    people = {f"user {n}": history for n, history in enumerate(histories(folder / "first.csv.gz"))}
    first = min(history[0].occurred_at for history in people.values())
    last = max(history[-1].occurred_at for history in people.values())
    times, _ = cut_offs(first.timestamp(), last.timestamp())
    in_task = [(name, e) for name, history in people.items() for e in examples(history, times) if e.eligible]
    assert len(in_task) == data.eligible.sum()
    bundled = ChurnModel.load(harness.BUNDLED)

    adapter = harness.Model()
    adapter.reset("first")
    stream = sorted((event.occurred_at, name) for name, history in people.items() for event in history)
    position = 0
    for at in times[:: len(times) // 5]:
        while position < len(stream) and stream[position][0].timestamp() < at:
            when, name = stream[position]
            adapter.observe(name, when.timestamp(), math.nan, 10.0, math.nan)
            position += 1
        expected = {name: example for name, example in in_task if example.at == at}
        for horizon in HORIZONS:
            answers = adapter.predict_churn(list(expected), at, horizon)
            assert answers.keys() == expected.keys()
            for name, example in expected.items():
                served = getattr(bundled.predict([example.features])[0], f"churn_{horizon}d")
                assert answers[name] == pytest.approx(served, abs=1e-6)


# --- the commands ---


def test_the_commands_train_and_measure_from_a_folder(folder: Path, tmp_path: Path) -> None:
    """`python -m models train|evaluate`, as the README has it."""
    trained = CliRunner().invoke(main, ["train", "--data", str(folder), "--out", str(tmp_path / "churn")])
    measured = CliRunner().invoke(main, ["evaluate", "--data", str(folder), "--keep", str(tmp_path / "kept")])

    assert (trained.exit_code, measured.exit_code) == (0, 0), trained.output + measured.output
    assert ChurnModel.load(tmp_path / "churn").predict([(0.0,) * len(NAMES)])
    assert (tmp_path / "kept" / "second" / "model.onnx").exists()
    assert "AUC" in measured.output


def test_a_folder_without_streams_is_an_error_that_says_what_to_put_there(tmp_path: Path) -> None:
    """No stack trace for a wrong folder."""
    answer = CliRunner().invoke(main, ["train", "--data", str(tmp_path)])

    assert answer.exit_code == 1
    assert "user,ts,tz_offset_min,chars,compound" in answer.output


def test_one_stream_is_not_enough_to_leave_one_out(folder: Path, tmp_path: Path) -> None:
    """What was never scored on strangers is not published."""
    (tmp_path / "only.csv.gz").write_bytes((folder / "first.csv.gz").read_bytes())

    answer = CliRunner().invoke(main, ["train", "--data", str(tmp_path), "--out", str(tmp_path / "churn")])

    assert answer.exit_code == 1
    assert "at least two" in answer.output
    assert not (tmp_path / "churn").exists()
