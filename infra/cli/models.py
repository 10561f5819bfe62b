"""`rekindle models`: which models serve, taking one back, promoting one, and training at once."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel, UpliftModel
from engagement.clients.registry import ModelRegistry
from engagement.domain.champion import BUNDLED, CARD_FILE, MODELS, NONE, PROMOTABLE, Champion
from engagement.domain.uplift import FEWEST_USERS
from engagement.errors import ModelUnavailableError
from infra.cli.target import Target, read_event
from infra.local.emulator import ROOT

console = Console()

SERVED = {"churn": ChurnModel, "timing": TimingModel, "mood": MoodModel, "uplift": UpliftModel}
KEY_FIGURES = {
    "churn": (("churn_7d", "auc"), ("churn_14d", "auc"), ("churn_30d", "auc")),
    "timing": (("log_loss",), ("top_3",)),
    "mood": (("r2",), ("mae",)),
    "uplift": (("gain", "rule"), ("sends",)),
}
"""Where a card's metrics hold what an operator compares models by."""
COMPARED = ("candidate", "serving", "bundled", "rule")
"""In a training's report."""
SHOWN = 3
"""Earlier champions in the list."""

stage_option = click.option(
    "--stage", envvar="REKINDLE_STAGE", help="Which deployment on AWS; without it, the running local suite."
)


@click.group()
def models() -> None:
    """The models that predict: which serve, and how they get better."""


@models.command("list")
@stage_option
def list_command(stage: str | None) -> None:
    """Show the model that serves, since when, how well it did when it was judged, and those before it."""
    registry = _registry(Target.of(stage))
    table = Table("model", "serves", "since", "when it was judged", "before it")
    for name in PROMOTABLE:
        champion = registry.champion(name)
        since = _date(champion.promoted_at) if champion else "the deployment"
        if champion and not champion.is_bundled:
            version, card = champion.version, registry.card(champion)
        elif name in MODELS:
            card = _bundled_card(name)
            version = f"{card['version']} (bundled)"
        else:
            table.add_row(name, NONE, since, f"needs {FEWEST_USERS} users in both arms, outcomes known", "")
            continue
        figures = (_key_figure(name, card.get("metrics", {}), path) for path in KEY_FIGURES[name])
        judged = "\n".join(filter(None, figures)) or "no figures"
        table.add_row(name, escape(version), since, escape(judged), escape(_before(name, champion)))
    console.print(table)


@models.command()
@click.argument("name", type=click.Choice(PROMOTABLE))
@stage_option
def rollback(name: str, stage: str | None) -> None:
    """Let the model before this one serve again; before the first one, that is the bundled model, or none."""
    entry = _registry(Target.of(stage)).rollback(name, datetime.now(UTC))
    if entry is None:
        serves = f"The bundled {name} model" if name in MODELS else f"No {name} model"
        console.print(f"{serves} serves already; there is nothing to take back.")
        return
    which = (f"the {BUNDLED} model" if name in MODELS else NONE) if entry.is_bundled else entry.version
    console.print(f"{name}: {escape(which)} serves again, from the scorer's next tick on.", soft_wrap=True)


@models.command()
@click.argument("name", type=click.Choice(PROMOTABLE))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@stage_option
def promote(name: str, folder: Path, stage: str | None) -> None:
    """Let the model in FOLDER serve: one that `python -m models train-shards` has judged the better."""
    registry = _registry(Target.of(stage))
    over = registry.champion(name)
    try:
        SERVED[name].load(folder)
        entry = registry.publish(name, folder)
    except ModelUnavailableError as error:
        raise click.ClickException(str(error)) from None
    if not registry.promote(name, entry, datetime.now(UTC), over=over):
        raise click.ClickException("another model was promoted meanwhile; nothing was changed: look again")
    console.print(f"{name}: {escape(entry.version)} serves, from the scorer's next tick on.", soft_wrap=True)


@models.command()
@click.option(
    "--min-samples", type=click.IntRange(1), help="Fewest examples to train a model from; by default as deployed."
)
@stage_option
def train(min_samples: int | None, stage: str | None) -> None:
    """Train now, with those users' histories who allow it; takes up to 15 minutes. Only a better model is promoted."""
    event: dict[str, Any] = {"scheduled_time": datetime.now(UTC).isoformat(timespec="seconds")}
    if min_samples is not None:
        event["min_samples"] = min_samples
    target = Target.of(stage)
    with console.status("training; the trainer reads the histories, trains and compares"):
        report = target.invoke("trainer", event)
    console.print(f"{report['users']} users allow it; {report['seconds']} s.", highlight=False)
    for name in PROMOTABLE:
        result = report["results"].get(f"{name}_model")
        if result:
            _show(name, result)
    promoted = ", ".join(report["models_trained"]) or "none"
    console.print(f"Promoted: {promoted}.", highlight=False)


def _registry(target: Target) -> ModelRegistry:
    return ModelRegistry(target.outputs["ModelBucketName"], target.client("s3"))


def _bundled_card(name: str) -> dict[str, Any]:
    card: dict[str, Any] = read_event((ROOT / "models" / name / CARD_FILE).read_text())
    return card


def _date(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "unknown"


def _before(name: str, champion: Champion | None) -> str:
    if champion is None or champion.is_bundled:
        return ""
    earlier = [f"{entry.version} ({_date(entry.promoted_at)})" for entry in champion.previous]
    more = [f"and {len(earlier) - SHOWN} more"] if len(earlier) > SHOWN else []
    return "\n".join([*earlier[:SHOWN], *more]) or (BUNDLED if name in MODELS else NONE)


def _key_figure(name: str, metrics: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Return a figure of the model that a card is about; "" where the card has none.

    The card of a trained model holds it under "candidate" or above it, that of a bundled one under its task's "model",
    each beside what it was compared with.
    """
    found: Any = metrics
    for key in path:
        while isinstance(found, Mapping) and key not in found:
            found = next((found[own] for own in ("candidate", name, "model") if own in found), None)
        if not isinstance(found, Mapping):
            return ""
        found = found[key]
    text = _number(found)
    return f"{' '.join(path)} {text}" if text else ""


def _show(name: str, result: Mapping[str, Any]) -> None:
    """Print what came of one model: the outcome in words, and the figures of those that were compared."""
    console.print(f"\n[bold]{name}[/bold]: {result['outcome']}, {result['samples']} examples", highlight=False)
    console.print(escape(result["reason"]), highlight=False, soft_wrap=True)
    if fault := result.get("fault"):
        console.print(f"[red]the champion could not be used: {escape(fault)}[/red]", highlight=False, soft_wrap=True)
    compared = {who: dict(_figures(result[who])) for who in COMPARED if isinstance(result.get(who), Mapping)}
    if compared:
        table = Table("", *compared)
        for figure in dict.fromkeys(figure for figures in compared.values() for figure in figures):
            table.add_row(escape(figure), *(escape(figures.get(figure, "")) for figures in compared.values()))
        console.print(table)
    console.print(f"serves: {escape(str(result['serves']))}", highlight=False)


def _figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every figure with its name, those of the same group together."""
    for key, value in metrics.items():
        name = f"{prefix} {key}".strip()
        if text := _number(value):
            yield name, text
        elif isinstance(value, Mapping):
            yield from _figures(value, name)


def _number(value: object) -> str:
    """Return a number, or one with its interval, as text; "" for anything else."""
    match value:
        case bool():
            return ""
        case int() | float():
            return f"{value:.3f}" if isinstance(value, float) else str(value)
        case {"value": int() | float() as number, "interval": [low, high]}:
            return f"{number:.3f} [{low:.3f}, {high:.3f}]"
        case _:
            return ""
