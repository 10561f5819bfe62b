"""`rekindle milestones`: which are in force, putting more into force, and what came of them."""

import json
from datetime import UTC, datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engagement.domain.milestones import METRICS, Milestone
from infra.cli.target import Target

console = Console()

stage_option = click.option(
    "--stage", envvar="REKINDLE_STAGE", help="Which deployment on AWS; without it, the running local suite."
)


@click.group()
def milestones() -> None:
    """What users are awarded and congratulated for."""


@milestones.command()
@stage_option
def seed(stage: str | None) -> None:
    """Put the 20 defaults into force; doing it again changes nothing, and congratulates nobody for the past."""
    counts = _seeder(Target.of(stage)).seed_default_milestones(now=datetime.now(UTC))
    console.print(
        f"Created {counts['milestones_created']}, updated {counts['milestones_updated']}, "
        f"skipped {counts['milestones_skipped']}; {counts['total_milestones']} are in force.",
        highlight=False,
    )


@milestones.command("list")
@stage_option
def list_command(stage: str | None) -> None:
    """Show the milestones in force, the easiest first."""
    from engagement.store.milestones import Milestones

    target = Target.of(stage)
    target.bind_table()
    in_force = Milestones(_bot_id(target)).all()
    if not in_force:
        console.print("None is in force yet; `rekindle milestones seed` starts with 20.")
        return
    table = Table(
        "milestone", "is shown as", "metric", "target", "difficulty", "points", "since", box=box.SIMPLE, pad_edge=False
    )
    for milestone in sorted(in_force, key=lambda m: (m.difficulty_level, m.points, m.milestone_name)):
        table.add_row(
            f"{milestone.milestone_name}{' (own)' if milestone.custom else ''}",
            escape(milestone.display_name),
            milestone.metric_name,
            f"{milestone.target_value:g}",
            str(milestone.difficulty_level),
            str(milestone.points),
            f"{milestone.seeded_at:%Y-%m-%d}" if milestone.seeded_at else "",
        )
    console.print(table)


@milestones.command()
@click.argument("name")
@click.option("--display-name", required=True, help="What users read, 64 characters at most.")
@click.option("--description", required=True, help="What it is given for, in a sentence that users read.")
@click.option("--metric", "metric_name", required=True, type=click.Choice(list(METRICS)), help="What it counts.")
@click.option("--target", "target_value", required=True, type=float, help="The metric's value that reaches it.")
@click.option("--category", required=True, help="A name; statistics are added up by it.")
@click.option("--difficulty", "difficulty_level", required=True, type=click.IntRange(1, 5), help="1 is easy.")
@click.option("--points", type=click.IntRange(10, 1_000), default=100, show_default=True, help="What it is worth.")
@stage_option
def add(name: str, stage: str | None, **values: Any) -> None:
    """Put a milestone of your own into force, over one of that NAME.

    It holds from now on: who has reached it already gets it without a message.
    """
    try:
        milestone = Milestone(milestone_name=name, metric_type=METRICS[values["metric_name"]].metric_type, **values)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    added = _seeder(Target.of(stage)).add(milestone, now=datetime.now(UTC))
    console.print(
        f"{escape(added.display_name)} is in force: {added.metric_name} from {added.target_value:g} on.",
        highlight=False,
        soft_wrap=True,
    )


@milestones.command()
@click.argument("name")
@stage_option
def remove(name: str, stage: str | None) -> None:
    """Take the milestone NAME out of force; who was awarded it keeps it."""
    if not _seeder(Target.of(stage)).remove(name):
        raise click.ClickException(f"no milestone {name} is in force; `rekindle milestones list` names those that are")
    console.print(f"{escape(name)} is no longer awarded.", highlight=False)


@milestones.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for other programs.")
@stage_option
def stats(stage: str | None, *, as_json: bool) -> None:
    """Show what was awarded in the last 800 days."""
    found = _seeder(Target.of(stage)).get_milestone_stats(now=datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console.print(
        f"{found['active_milestones']} milestones in force; {found['total_awards']} awards, "
        f"{found['total_points']} points.",
        highlight=False,
    )
    table = Table("milestone", "awards")
    for name, count in sorted(found["by_milestone"].items(), key=lambda pair: (-pair[1], pair[0])):
        table.add_row(escape(name), str(count))
    console.print(table)


def _bot_id(target: Target) -> int:
    return int(target.settings("pattern_updater")["BOT_ID"])


def _seeder(target: Target) -> Any:
    from engagement.services.milestones import MilestoneSeeder
    from engagement.store.milestones import Milestones
    from engagement.store.statistics import Statistics

    target.bind_table()
    bot_id = _bot_id(target)
    return MilestoneSeeder(bot_id, Milestones(bot_id), Statistics())
