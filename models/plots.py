"""Evaluation -> the README's pictures: are probabilities right, does asking the likely leavers pay, are hours hit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.dataset import HORIZONS
from models.evaluate import (
    CHURN_TASKS,
    FEWEST_TESTED,
    MODEL,
    OWN_HISTOGRAM,
    POPULATION,
    RECENCY,
    RULES,
    Round,
    calibration_of,
)
from models.metrics import gains, hit_rate

STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d1711b", "#3b8c57", "#8a8a8a"
LIFT_DAYS = 14
SHARES = tuple(step / 100 for step in range(0, 101, 2))
BEST_HOURS = (1, 2, 3, 4, 5, 6)
HOURS = 24


def draw(rounds: Sequence[Round], folder: Path) -> list[Path]:
    """Draw the pictures into a folder, which is made where missing; the same rounds give the same bytes.

    Everything shown is a mean over datasets, each answered by models that never saw it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Sequence[Round]], Figure]] = {
        "reliability.png": reliability,
        "lift.png": lift,
        "hours.png": hours,
    }
    with mpl.rc_context(STYLE):
        for name, picture in pictures.items():
            # matplotlib writes its version into a picture, unless told not to.
            picture(rounds).savefig(folder / name, metadata={"Software": None})
    return [folder / name for name in pictures]


def reliability(rounds: Sequence[Round]) -> Figure:
    """Draw what churn probabilities said against what happened, model beside rule, a panel for each horizon."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(HORIZONS), sharex=True, sharey=True))
    for panel, horizon, task in zip(panels, HORIZONS, CHURN_TASKS, strict=True):
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect")
        for candidate, label, colour, marker in ((RULES, "rule", ORANGE, "s"), (MODEL, "model", BLUE, "o")):
            table = calibration_of(rounds, task, candidate)
            said, seen = [bin_["said"] for bin_ in table], [bin_["seen"] for bin_ in table]
            panel.plot(said, seen, color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label)
        panel.set(
            title=f"silent for {horizon} days", xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted probability"
        )
    panels[0].set_ylabel("share that stayed away")
    panels[0].legend(loc="upper left")
    return figure


def lift(rounds: Sequence[Round]) -> Figure:
    """Draw which share of the leavers is found among the users most likely to leave."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    panel: Axes = figure.subplots()
    column = HORIZONS.index(LIFT_DAYS)
    tested = [found.churn for found in rounds if len(found.churn.user) >= FEWEST_TESTED]
    for candidate, label, colour in ((MODEL, "model", BLUE), (RECENCY, "recency alone", ORANGE)):
        curves = [gains(data.labels[:, column], data.said[candidate][:, column], SHARES) for data in tested]
        panel.plot(SHARES, np.mean(curves, axis=0), color=colour, linewidth=1.8, label=label)
    perfect = [np.minimum(np.array(SHARES) / data.labels[:, column].mean(), 1) for data in tested]
    panel.plot(SHARES, np.mean(perfect, axis=0), color=GREEN, linewidth=1, linestyle=":", label="perfect foresight")
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="random")
    panel.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="share of users asked, the likeliest leavers first",
        ylabel=f"share found of those silent for {LIFT_DAYS} days",
    )
    panel.legend(loc="lower right")
    return figure


def hours(rounds: Sequence[Round]) -> Figure:
    """Draw which share of the next fortnight's sessions starts in a user's best hours."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    panel: Axes = figure.subplots()
    tested = [found.timing for found in rounds if len(found.timing.user) >= FEWEST_TESTED]
    shown = (
        (MODEL, "model", BLUE, "o"),
        (OWN_HISTOGRAM, "user's own histogram", ORANGE, "s"),
        (POPULATION, "population's hours", GREEN, "^"),
    )
    for candidate, label, colour, marker in shown:
        rates = [
            np.mean([hit_rate(data.labels, data.said[candidate], best).mean() for data in tested])
            for best in BEST_HOURS
        ]
        panel.plot(BEST_HOURS, rates, color=colour, marker=marker, markersize=5, linewidth=1.6, label=label)
    chance = [best / HOURS for best in BEST_HOURS]
    panel.plot(BEST_HOURS, chance, color=GREY, linewidth=1, linestyle="--", label="chance")
    panel.set(
        ylim=(0, None),
        xlabel="best hours of the day taken",
        ylabel="share of the next 14 days' sessions in them",
        xticks=BEST_HOURS,
    )
    panel.legend(loc="upper left")
    return figure
