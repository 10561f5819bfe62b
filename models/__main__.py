"""`python -m models`: a folder of event streams -> the bundled models, or how well the procedure does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from models.dataset import Dataset, files, read
from models.evaluate import (
    CHURN_TASKS,
    METRICS,
    MODEL,
    TASKS,
    Round,
    ahead,
    averages,
    candidates,
    for_card,
    intervals,
    leave_one_out,
    measures,
)
from models.export import publish_churn, publish_mood, publish_timing
from models.leaks import PUBLIC_CEILING, LeakError, require_possible
from models.metrics import Measure
from models.plots import draw
from models.shards import collect, train_shards
from models.train import train_churn, train_mood, train_timing

HERE = Path(__file__).parent
LEAVE_ONE_OUT = HERE.parent / "build" / "leave-one-out"
PICTURES = HERE.parent / "docs"
console = Console()
PLAIN: dict[str, Any] = {"box": None, "padding": (0, 2, 0, 0)}
"""Narrow enough for a terminal of 80 columns."""
data_option = click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of event streams: <name>.csv.gz with user,ts,tz_offset_min,chars,compound, sorted by user and time.",
)


@click.group()
def main() -> None:
    """Train and measure the models that the functions serve."""


main.add_command(collect)
main.add_command(train_shards)


@main.command()
@data_option
@click.option(
    "--out",
    default=HERE,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the models to replace, each below its name.",
)
def train(folder: Path, out: Path) -> None:
    """Train churn, timing and mood; write each model, its card and golden rows if the export says what was trained."""
    datasets = _read(folder)
    rounds = _rounds(datasets)
    measured = _measured(rounds)
    _show(measured)
    churn = train_churn([data.churn for data in datasets])
    timing = train_timing([data.timing for data in datasets])
    mood = train_mood([data.mood for data in datasets])
    cards = (
        publish_churn(churn, datasets, for_card(measured, rounds, CHURN_TASKS), out / "churn"),
        publish_timing(timing, datasets, for_card(measured, rounds, ("timing",)), out / "timing"),
        publish_mood(mood, datasets, for_card(measured, rounds, ("mood",)), out / "mood"),
    )
    for card in cards:
        console.print(f"{card['version']}: {card['bytes']} bytes, sha256 {card['sha256']}")


@main.command()
@data_option
@click.option(
    "--keep",
    default=LEAVE_ONE_OUT,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the models of the evaluation, each below the name of the dataset it never saw.",
)
@click.option(
    "--pictures", default=PICTURES, type=click.Path(file_okay=False, path_type=Path), help="Folder for the pictures."
)
def evaluate(folder: Path, keep: Path, pictures: Path) -> None:
    """Leave one dataset out: print how well the models do on each, beside the baselines, and draw it."""
    rounds = _rounds(_read(folder), keep)
    measured = _measured(rounds)
    _show_each(measured)
    _show(measured)
    for picture in draw(rounds, pictures):
        console.print(f"drawn: {picture.name}")


def _read(folder: Path) -> list[Dataset]:
    try:
        paths = files(folder)
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    return [read(path) for path in track(paths, "Replaying histories", console=console)]


def _rounds(datasets: list[Dataset], keep: Path | None = None) -> list[Round]:
    if len(datasets) < 2:
        raise click.ClickException("leaving one dataset out takes at least two event streams in the folder")
    rounds = leave_one_out(datasets, keep)
    return list(track(rounds, "Leaving one out", total=len(datasets), console=console))


def _measured(rounds: Sequence[Round]) -> list[Measure]:
    found = track(rounds, "Resampling users", console=console)
    return [measure for each in found for measure in measures(each)]


def _show(measured: list[Measure]) -> None:
    for task in TASKS:
        first, *others = METRICS[task]
        title = escape(f"{task}: mean over datasets, each left out of training [95 % interval]")
        table = Table("candidate", first, *others, f"model ahead in {first}", title=title, **PLAIN)
        for candidate in candidates(measured, task):
            if means := averages(measured, task, candidate):
                main_figure = f"{means[first]:.4f} {_interval(intervals(measured, task, candidate)[first])}"
                gain, ends = ahead(measured, task, candidate)
                better = "" if candidate == MODEL else f"{gain:+.4f} {_interval(ends)}"
                table.add_row(candidate, main_figure, *(f"{means[name]:.4f}" for name in others), better)
        console.print(table)
    _warn_of_leaks(measured)


def _warn_of_leaks(measured: list[Measure]) -> None:
    """Say so where the model ranks better than is possible; other streams than the public ones may permit more."""
    for task in CHURN_TASKS:
        try:
            require_possible(intervals(measured, task, MODEL)["auc"][0], PUBLIC_CEILING)
        except LeakError as error:
            console.print(f"[bold red]{task}: {escape(str(error))}[/bold red]")


def _interval(ends: Sequence[float]) -> str:
    low, high = ends
    return escape(f"[{low:.3f}, {high:.3f}]")


def _show_each(measured: list[Measure]) -> None:
    table = Table("dataset", "task", "tested", "metrics", title="The model on each dataset", **PLAIN)
    for one in measured:
        if one.candidate == MODEL:
            metrics = ", ".join(f"{name} {value:.4f}" for name, value in one.values.items())
            table.add_row(one.dataset, one.task, f"{one.tested}", metrics)
    console.print(table)


if __name__ == "__main__":
    main()
