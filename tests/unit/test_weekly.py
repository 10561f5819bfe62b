"""The weekly training on a made-up bot: it adapts to it, promotes what is better beyond chance, and else says why."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engagement.clients.predictor import CHURN, ChurnModel
from engagement.domain.history import History
from engagement.domain.interaction import Interaction, SentimentType
from engagement.store.interactions import Interactions, interaction_of
from engagement.store.table import ProfileItem, TombstoneItem
from models import export, judge, sample, shards, weekly
from models.adapt import adapt_churn, adapt_mood, adapt_timing, boost_mood
from models.candidate import answers_of, publish_candidate
from models.judge import Verdict
from models.sample import merge
from models.weekly import split, train_all
from tests.builders import NOW, interaction

ROOT = Path(__file__).parents[2] / "models"
BUNDLED = {name: ROOT / name for name in weekly.TASKS}
DAYS = 240
PLENTY = 900.0


def history(user: int, dice: random.Random) -> list[Interaction]:
    """Somebody who comes every nine days, at an hour of their own, with a mood of their own, until they leave."""
    day = dice.uniform(0, 150) * dice.choice([0, 1])
    last = min(day + dice.expovariate(1 / 150), DAYS)
    hour, mood = dice.randrange(1, 7), dice.gauss(0.2, 0.3)
    found: list[Interaction] = []
    while day < last:
        at = (NOW - timedelta(days=DAYS)).replace(hour=hour, minute=dice.randrange(60)) + timedelta(days=int(day))
        for message in range(3):
            sentiment = max(-1.0, min(1.0, dice.gauss(mood, 0.2)))
            found.append(
                interaction(
                    len(found) + 1,
                    at + timedelta(minutes=message),
                    user_id=user,
                    sentiment=round(sentiment, 4),
                    sentiment_type=SentimentType.NEUTRAL,
                )
            )
        day += dice.gauss(9, 1)
    return [event for event in found if event.occurred_at < NOW]


def people(count: int) -> list[list[Interaction]]:
    dice = random.Random(1)
    return [known for user in range(count) if (known := history(user, dice))]


def run(
    histories: Iterable[list[Interaction]], out: Path, *, serving: dict[str, Path] | None = None, **changes: object
) -> list[Verdict]:
    arguments = {
        "serving": BUNDLED | (serving or {}),
        "bundled": BUNDLED,
        "out": out,
        "now": NOW,
        "min_samples": 300,
        "remaining_seconds": lambda: PLENTY,
    }
    return train_all(map(History, histories), **(arguments | changes))  # type: ignore[arg-type]


@dataclass
class Run:
    histories: list[list[Interaction]]
    out: Path
    verdicts: dict[str, Verdict]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("trained")
    histories = people(90)
    return Run(histories, out, {verdict.name: verdict for verdict in run(iter(histories), out)})


# --- what is promoted ---


def test_a_bot_with_a_rhythm_of_its_own_gets_a_model_of_its_own(trained: Run) -> None:
    """R78: users who come every nine days have not left after eight; the candidate knows it, the bundled one cannot."""
    verdict = trained.verdicts["churn"]

    assert verdict.outcome == "promote", verdict.reason
    assert verdict.directory == trained.out / "churn"
    found = verdict.metrics
    assert found["difference"]["serving"]["interval"][1] < 0
    assert found["candidate"]["churn_7d"]["auc"]["value"] > found["bundled"]["churn_7d"]["auc"]["value"]
    assert 0 <= found["accuracy"] <= 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert verdict.samples >= 300


def test_a_promoted_model_proves_itself_to_the_client_that_serves_it(trained: Run) -> None:
    """R35: card, hash and golden rows; the longer horizon is never above the shorter."""
    directory = trained.out / "churn"
    model = ChurnModel.load(directory)
    golden = json.loads((directory / "golden.json").read_text())["rows"]
    rows = np.array([row["features"] for row in golden])

    served = answers_of(ChurnModel, directory, rows)

    assert np.abs(served - [row["churn"] for row in golden]).max() <= 1e-5
    assert (np.diff(served, axis=1) <= 0).all()
    assert model.version == f"churn-{CHURN.feature_version}-{model.sha256[:8]}"
    assert model.card["trained_at"] == NOW.isoformat()
    assert model.card["bytes"] < 1_500_000
    assert [sum(shares) for shares in model.card["reference"]["feature_bins"]] == pytest.approx([1] * 5, abs=1e-4)


def test_what_serves_already_is_not_promoted_again(trained: Run, tmp_path: Path) -> None:
    """R78: better than bundled is not enough once a champion is as good."""
    serving = {name: trained.out / name for name, found in trained.verdicts.items() if found.outcome == "promote"}

    verdicts = run(iter(trained.histories), tmp_path, serving=serving)

    churn = next(verdict for verdict in verdicts if verdict.name == "churn")
    assert churn.outcome == "keep"
    assert churn.metrics["difference"]["serving"]["value"] == pytest.approx(0, abs=1e-5)
    assert churn.metrics["difference"]["bundled"]["value"] < 0
    assert churn.directory is None
    assert not (tmp_path / "churn").exists()


def test_a_champion_that_cannot_be_used_does_not_keep_others_from_serving(trained: Run, tmp_path: Path) -> None:
    """The candidate then has to beat the bundled model, which is what serves."""
    verdicts = run(iter(trained.histories), tmp_path / "out", serving={"churn": tmp_path / "nothing"})

    assert verdicts[0].outcome == "promote"


def test_gradient_boosting_is_trained_and_named_whether_or_not_it_serves(trained: Run) -> None:
    """The guide's mood model has to beat what serves, like every other."""
    assert "gradient boosting" in trained.verdicts["mood"].reason


@pytest.mark.parametrize(
    ("over_serving", "over_bundled", "expected"),
    [
        ((-0.02, -0.03, -0.01), (-0.02, -0.03, -0.01), True),
        ((-0.02, -0.03, -0.01), (-0.00, -0.03, 0.02), True),
        ((-0.02, -0.04, 0.001), (-0.02, -0.03, -0.01), False),
        ((-0.02, -0.03, -0.01), (0.001, -0.01, 0.02), False),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), False),
    ],
)
def test_only_what_beats_the_champion_beyond_chance_and_is_no_worse_than_bundled_is_promoted(
    over_serving: tuple[float, float, float], over_bundled: tuple[float, float, float], expected: bool
) -> None:
    """R78"""
    assert judge.may_serve(judge.Difference(*over_serving), judge.Difference(*over_bundled)) is expected


def test_one_talkative_user_is_not_taken_for_many() -> None:
    """R78: a thousand looks at three people leave the difference open; at a thousand people they do not."""
    dice = np.random.default_rng(2)
    kinds = np.repeat(dice.normal(-0.3, 1, 3), 334)
    alone, many = np.repeat(np.arange(3), 334), np.arange(1_002)
    ones, none = np.ones(1_002), np.zeros(1_002)

    of_three = judge.difference(alone, ones, kinds, none)
    of_many = judge.difference(many, ones, kinds, none)

    assert of_three.value == of_many.value
    assert of_three.high - of_three.low > 5 * (of_many.high - of_many.low)
    assert judge.difference(alone, ones, kinds, none) == of_three


# --- why nothing is promoted ---


def test_too_few_users_get_no_model_of_their_own(tmp_path: Path) -> None:
    """R77"""
    verdicts = run(iter(people(12)), tmp_path)

    assert {verdict.outcome for verdict in verdicts} == {"too_little_data"}
    assert all("30 users" in verdict.reason for verdict in verdicts[:3])
    assert "200 of each" in verdicts[3].reason
    assert not any(tmp_path.iterdir())


def test_fewer_samples_than_asked_for_are_too_few(trained: Run, tmp_path: Path) -> None:
    """R77: the reason has both numbers."""
    verdicts = run(iter(trained.histories), tmp_path, min_samples=1_000_000)

    assert {verdict.outcome for verdict in verdicts} == {"too_little_data"}
    assert f"{trained.verdicts['churn'].samples:,} looks with a known outcome" in verdicts[0].reason
    assert "1,000,000" in verdicts[0].reason


def test_six_weeks_are_too_short_to_know_who_stays_away_for_a_month(tmp_path: Path) -> None:
    """R77"""
    since = NOW - timedelta(days=42)
    late = [[event for event in known if event.occurred_at > since] for known in people(90)]

    verdicts = run(iter(late), tmp_path, min_samples=1)

    assert verdicts[0].outcome == "too_little_data"
    assert re.search(r"4\d days of history", verdicts[0].reason)


def test_where_nobody_ever_leaves_there_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    """R77"""
    days = range(200)
    daily = [[interaction(n, NOW - timedelta(days=200 - n), user_id=user) for n in days] for user in range(35)]

    verdicts = run(iter(daily), tmp_path)

    assert verdicts[0].outcome == "one_class"
    assert not (tmp_path / "churn").exists()


def test_no_histories_at_all_are_too_little(tmp_path: Path) -> None:
    """R77"""
    assert [verdict.outcome for verdict in run(iter(()), tmp_path)] == ["too_little_data"] * 4


def test_a_clock_that_has_run_out_leaves_everything_as_it_was(trained: Run, tmp_path: Path) -> None:
    """R77: nothing is read, nothing is written."""
    verdicts = run(iter(trained.histories), tmp_path, remaining_seconds=lambda: 1.0)

    assert {verdict.outcome for verdict in verdicts} == {"out_of_time"}
    assert not any(tmp_path.iterdir())


def test_reading_stops_where_time_is_short_and_training_makes_do(trained: Run, tmp_path: Path) -> None:
    """The rest of the clock belongs to what was read."""
    read = []

    def counted() -> Iterator[list[Interaction]]:
        for known in trained.histories:
            read.append(len(known))
            yield known

    clock: Callable[[], float] = lambda: PLENTY if len(read) < 75 else weekly.READING_RESERVE - 1  # noqa: E731
    verdicts = run(counted(), tmp_path, remaining_seconds=clock)

    assert len(read) <= 76 < len(trained.histories)
    assert verdicts[0].outcome == "promote"


def test_reading_that_stops_too_early_to_train_says_so(trained: Run, tmp_path: Path) -> None:
    """R77: not for want of data, but of time."""
    clock = iter([PLENTY] * 5)

    verdicts = run(iter(trained.histories), tmp_path, remaining_seconds=lambda: next(clock, weekly.MODEL_RESERVE + 1))

    assert {verdict.outcome for verdict in verdicts} == {"out_of_time"}
    assert "5 users before the time was up" in verdicts[0].reason
    assert not any(tmp_path.iterdir())


def test_newcomers_alone_are_too_little(tmp_path: Path) -> None:
    """R77: whoever came once is no example of the task."""
    once = [[interaction(1, NOW - timedelta(days=200 - user), user_id=user)] for user in range(150)]

    assert [verdict.outcome for verdict in run(iter(once), tmp_path, min_samples=1)] == ["too_little_data"] * 4


def test_an_export_that_says_something_else_is_not_written(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35: the parity gate stands before the files; the other models get their verdicts all the same."""
    monkeypatch.setattr(export, "TOLERANCE", 0.0)

    verdicts = run(iter(trained.histories), tmp_path)

    won = {name for name, verdict in trained.verdicts.items() if verdict.outcome == "promote"}
    assert won
    assert [verdict.name for verdict in verdicts] == list(trained.verdicts)
    for verdict in verdicts:
        assert verdict.outcome != "promote"
        assert ("differs" in verdict.reason) == (verdict.name in won)
    assert not list(tmp_path.rglob("model.onnx"))


# --- the candidates ---


def test_every_kind_of_candidate_says_by_onnx_what_it_says_by_numpy(tmp_path: Path) -> None:
    """R35: on rows that it never saw; `publish` refuses it otherwise."""
    dice = np.random.default_rng(3)
    churn, timing, mood = dice.normal(1, 1, (400, 5)), dice.normal(-3, 0.5, (50, 24, 4)), dice.normal(0, 0.3, (300, 4))
    hours = dice.dirichlet(np.ones(24), 50)
    away = np.sort(dice.random((400, 3)) < 0.5, axis=1)[:, ::-1]
    moods = np.clip(mood[:, :1] + dice.normal(0, 0.2, (300, 1)), -1, 1)
    asked = dict(zip(BUNDLED, (churn, timing, mood), strict=True))
    said = {name: answers_of(weekly.TASKS[name].client, BUNDLED[name], rows) for name, rows in asked.items()}
    found = [
        ("churn", adapt_churn(churn, away, said["churn"], np.ones(400, bool))),
        ("churn", adapt_churn(churn[:100], away[:100], said["churn"][:100], np.ones(100, bool))),
        ("timing", adapt_timing(timing, hours, said["timing"])),
        ("mood", adapt_mood(mood, moods, said["mood"])),
        ("mood", boost_mood(mood, moods)),
    ]
    for number, (name, fitted) in enumerate(found):
        publish_candidate(fitted, BUNDLED[name], asked[name], {}, tmp_path / str(number))

        fresh = asked[name] + dice.normal(0, 0.1, asked[name].shape)
        bundled = answers_of(fitted.client, BUNDLED[name], fresh)
        served = answers_of(fitted.client, tmp_path / str(number), fresh)
        assert np.abs(served - fitted.answers(fresh, bundled)).max() <= 1e-5


def test_the_forest_waits_for_three_hundred_looks() -> None:
    """prediction.md: weight min(.5, n / 6,000); below .05 the level is shifted and nothing else."""
    dice = np.random.default_rng(4)
    rows, away = dice.normal(1, 1, (400, 5)), np.repeat(dice.random((400, 1)) < 0.3, 3, axis=1)
    said = answers_of(ChurnModel, BUNDLED["churn"], rows)

    few = adapt_churn(rows[:299], away[:299], said[:299], np.ones(299, bool))
    enough = adapt_churn(rows, away, said, np.ones(400, bool))

    assert few.forest is None
    assert (enough.forest is not None, enough.weight) == (True, pytest.approx(400 / 6_000, rel=1e-5))
    assert few.answers(rows, said)[:, 0].mean() < said[:, 0].mean()


def test_training_labels_are_known_before_the_first_judged_look() -> None:
    """R76: and those of the judged before now."""
    at = np.array(sample.cut_offs(NOW))
    first = (NOW - timedelta(days=400)).timestamp()
    window = 30 * 86_400

    fitted, judged = split(at, first, NOW, 30)

    assert fitted.any()
    assert judged.any()
    assert (at[fitted] + window).max() <= at[judged].min()
    assert (at[judged] + window).max() <= NOW.timestamp()
    assert at[fitted].min() >= first


# --- the sample, and shards ---


def test_which_looks_are_kept_depends_neither_on_the_order_nor_on_the_shards(trained: Run) -> None:
    """A cap that keeps the first to come would keep the oldest partitions' users."""
    shuffled = random.Random(5).sample(trained.histories, len(trained.histories))

    whole = sample.sample(iter(trained.histories), NOW, limit=200)
    parts = [sample.sample(iter(shuffled[part::3]), NOW, limit=200) for part in range(3)]

    assert len(whole.looks) == 200
    assert sample.sample(iter(shuffled), NOW, limit=200) == whole
    assert merge(parts, 200) == whole


def test_a_sample_is_read_back_as_it_was_written(trained: Run, tmp_path: Path) -> None:
    found = sample.sample(iter(trained.histories[:20]), NOW)

    sample.save(found, tmp_path / "some.npz")
    (tmp_path / "other.npz").write_bytes(b"no sample")

    assert sample.load(tmp_path / "some.npz") == found
    with pytest.raises(ValueError, match="not a sample"):
        sample.load(tmp_path / "other.npz")


def exported(trained: Run, folder: Path) -> Path:
    """A table export: items as the store writes them, scattered over files; some users may not be learned from."""
    store = Interactions(ttl_days=400)
    items = []
    for number, known in enumerate([*trained.histories, *people(6)]):
        refused = number >= len(trained.histories)
        known = [interaction(e.update_id, e.occurred_at, user_id=number, sentiment=e.sentiment,
                             sentiment_type=e.sentiment_type, topics=("help",)) for e in known]  # fmt: skip
        items += [store._item(event).to_dynamodb_dict() for event in known]
        pk = f"USER#1#{number}"
        learns = not refused or number % 2 == 0
        profile = ProfileItem(pk, "PROFILE", chat_id=number, created_at=NOW, consent_ml=learns)
        items.append(profile.to_dynamodb_dict())
        if refused and learns:
            items.append(TombstoneItem(pk, "ERASED", erased_at=NOW).to_dynamodb_dict())
    random.Random(6).shuffle(items)
    data = folder / "AWSDynamoDB" / "data"
    data.mkdir(parents=True)
    for part in range(3):
        lines = [json.dumps({"Item": item}) for item in items[part::3]]
        (data / f"{part}.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def test_two_shards_merged_train_the_very_model_that_the_trainer_does(trained: Run, tmp_path: Path) -> None:
    """R74: the path for bots beyond one function, from a table export; equal to the last byte."""
    export = exported(trained, tmp_path / "export")
    files = [str(tmp_path / f"{shard}.npz") for shard in range(2)]
    time = ["--now", NOW.isoformat()]
    for shard, file in enumerate(files):
        part = ["--shard", str(shard), "--of", "2", "--out", file]
        collected = CliRunner().invoke(shards.collect, ["--export", str(export), "--bot-id", "1", *part, *time])
        assert collected.exit_code == 0, collected.output

    out = ["--out", str(tmp_path / "out"), "--min-samples", "300"]
    merged = CliRunner().invoke(shards.train_shards, [*reversed(files), *out, *time])

    assert merged.exit_code == 0, merged.output
    verdicts = {verdict["name"]: verdict for verdict in map(json.loads, merged.output.splitlines())}
    assert verdicts["churn"]["outcome"] == "promote"
    for name in weekly.TASKS:
        verdict = trained.verdicts[name]
        assert verdicts[name]["metrics"] == verdict.metrics
        if verdict.directory:
            for file in ("model.onnx", "card.json", "golden.json"):
                assert (tmp_path / "out" / name / file).read_bytes() == (verdict.directory / file).read_bytes()


def test_only_those_who_allow_training_are_read_from_an_export(trained: Run, tmp_path: Path) -> None:
    """R74: neither who said no or nothing, nor who was erased; the shards share out the others, each once."""
    export = exported(trained, tmp_path)

    users = [[known[0].user_id for known in shards.histories(export, 1, NOW, shard=shard, of=2)] for shard in range(2)]

    assert sorted([*users[0], *users[1]]) == list(range(len(trained.histories)))
    assert all(users)
    assert list(shards.histories(export, 2, NOW)) == []


def test_an_export_is_read_as_the_store_reads_its_own_items() -> None:
    """Except for the name and the words, which training does not need."""
    stored = interaction(
        7, sentiment=-0.25, topics=("help", "music"), reply_latency_seconds=60, first_name="Ada", text="so", edited=True
    )
    item = Interactions(ttl_days=400)._item(stored).to_dynamodb_dict()

    read = shards.interaction_of(item)

    assert read == interaction_of({name: value for name, value in item.items() if name not in ("first_name", "text")})
    assert (read.first_name, read.text) == ("", None)


def test_a_folder_without_an_export_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "wrong.json.gz").write_bytes(gzip.compress(b'{"Keys": {}}\n'))
    options = ["--bot-id", "1", "--now", NOW.isoformat(), "--out", str(tmp_path / "x.npz")]
    empty = tmp_path / "empty"
    empty.mkdir()

    nothing = CliRunner().invoke(shards.collect, ["--export", str(empty), *options])
    wrong = CliRunner().invoke(shards.collect, ["--export", str(tmp_path), *options])

    assert (nothing.exit_code, wrong.exit_code) == (1, 1)
    assert "no files of a table export" in nothing.output
    assert "wrong.json.gz, line 1" in wrong.output


def test_a_time_without_an_offset_is_refused(tmp_path: Path) -> None:
    options = ["--export", str(tmp_path), "--bot-id", "1", "--out", str(tmp_path / "x.npz")]

    answers = [CliRunner().invoke(shards.collect, [*options, "--now", now]) for now in ("yesterday", "2026-11-22")]

    assert [answer.exit_code for answer in answers] == [2, 2]


def test_edits_and_later_interactions_are_no_visits() -> None:
    """R76: an edit does not end an absence, and the time after `now` is not known."""
    known = [interaction(n, NOW - timedelta(days=day)) for n, day in enumerate((200, 190, 180))]
    edit = interaction(9, NOW - timedelta(days=100), edited=True)
    tomorrow = interaction(10, NOW + timedelta(days=1))

    assert sample.sample([[*known, edit, tomorrow]], NOW) == sample.sample([known], NOW)


def test_looks_are_spread_over_the_hours_of_the_day() -> None:
    """No hour is favoured; the last look's labels are just ripe."""
    times = sample.cut_offs(NOW)
    last = datetime.fromtimestamp(times[-1], NOW.tzinfo)

    assert times == sorted(set(times))
    assert len({at % 86_400 for at in times}) == 24
    assert timedelta(days=30) <= NOW - last < timedelta(days=34)
