"""`python -m models`: train the churn model, or measure how well the procedure does, from a folder of event streams."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.dataset import HORIZONS, Dataset, files, read
from models.evaluate import CANDIDATES, MODEL, Measure, averages, for_card, leave_one_out
from models.export import publish
from models.train import train as fit

CHURN = Path(__file__).parent / "churn"
console = Console()
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


@main.command()
@data_option
@click.option(
    "--out", default=CHURN, type=click.Path(file_okay=False, path_type=Path), help="Folder of the model to replace."
)
def train(folder: Path, out: Path) -> None:
    """Train the churn model; write model.onnx, card.json and golden.json if the export says what scikit-learn says."""
    datasets = _read(folder)
    measures = _measure(datasets)
    _show(measures)
    card = publish(fit(datasets), datasets, for_card(measures), out)
    console.print(f"{card['version']}: {card['bytes']} bytes, sha256 {card['sha256']}")


@main.command()
@data_option
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the models of the evaluation, each below the name of the dataset it never saw.",
)
def evaluate(folder: Path, keep: Path | None) -> None:
    """Leave one dataset out: print how well the churn model does on each, beside the baselines."""
    measures = _measure(_read(folder), keep)
    _show_each(measures)
    _show(measures)


def _read(folder: Path) -> list[Dataset]:
    try:
        paths = files(folder)
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    return [read(path) for path in track(paths, "Replaying histories", console=console)]


def _measure(datasets: list[Dataset], keep: Path | None = None) -> list[Measure]:
    if len(datasets) < 2:
        raise click.ClickException("leaving one dataset out takes at least two event streams in the folder")
    rounds = track(leave_one_out(datasets, keep), "Leaving one out", total=len(datasets), console=console)
    return [measure for measures in rounds for measure in measures]


def _show(measures: list[Measure]) -> None:
    table = Table("candidate", "horizon", "AUC", "Brier", "ECE", title="Mean over datasets, each left out of training")
    for candidate in CANDIDATES:
        for horizon in HORIZONS:
            mean = averages(measures, horizon, candidate)
            table.add_row(candidate, f"{horizon} d", *(f"{value:.4f}" for value in mean.values()))
        table.add_section()
    console.print(table)


def _show_each(measures: list[Measure]) -> None:
    table = Table("dataset", "horizon", "tested", "stayed away", "AUC", "Brier", "ECE", title="The model")
    for m in measures:
        if m.candidate == MODEL:
            row = (f"{m.tested}", f"{m.stayed_away:.2f}", f"{m.auc:.4f}", f"{m.brier:.4f}", f"{m.ece:.4f}")
            table.add_row(m.dataset, f"{m.horizon} d", *row)
    console.print(table)


if __name__ == "__main__":
    main()
