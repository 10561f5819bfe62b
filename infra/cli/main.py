"""`rekindle`: what an operator types. Trouble is one line that says what to do next, and a non-zero exit."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engagement.errors import EngagementError
from infra.cli.milestones import milestones
from infra.cli.models import models
from infra.cli.target import NoTargetError, Target, read_event
from infra.cli.templates import templates
from infra.cli.webhook import webhook
from infra.local.emulator import ROOT, LocalAwsError

UP_SECONDS = 900
DOWN_SECONDS = 30
LOG_FILE = ROOT / "build" / "local" / "up.log"

out = Console()
progress = Console(stderr=True)


class OneLineErrors(click.Group):
    """A group whose commands fail in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what an operator can do something about into a message."""
        try:
            return super().invoke(ctx)
        except (LocalAwsError, NoTargetError, EngagementError) as error:
            raise click.ClickException(str(error)) from None
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise click.ClickException(
                f"AWS refused {error.operation_name} ({code}); are these the account and region of that stage?"
            ) from None
        except BotoCoreError as error:
            raise click.ClickException(
                f"AWS cannot be reached ({type(error).__name__}); set AWS_PROFILE and AWS_REGION, "
                "or use the local suite: `rekindle local up`"
            ) from None


def stage_option(command: Any) -> Any:
    """Add --stage to a command."""
    return click.option(
        "--stage", envvar="REKINDLE_STAGE", help="Which deployment on AWS; without it, the running local suite."
    )(command)


@click.group(cls=OneLineErrors)
@click.version_option(package_name="rekindle")
def main() -> None:
    """Rekindle: proactive engagement for a Telegram bot."""


main.add_command(webhook)
main.add_command(models)
main.add_command(milestones)
main.add_command(templates)


# --- rekindle local ---


@main.group()
def local() -> None:
    """The whole suite on this machine, without Docker or an AWS account."""


@local.command()
@click.option("--detach", is_flag=True, help="Return when it is up; `rekindle local down` stops it.")
def up(*, detach: bool) -> None:
    """Start it and keep it in the foreground until Ctrl-C; its schedules tick by the clock on the wall."""
    if detach:
        _up_in_the_background()
    else:
        _up_in_the_foreground()


def _up_in_the_foreground() -> None:
    from infra.local.suite import STATE_FILE, LocalSuite

    with _stoppable(), LocalSuite(say=_say, real_time=True, state_file=STATE_FILE) as suite:
        _show_running()
        progress.print("Running. Ctrl-C stops it.")
        try:
            while suite.emulator.running:
                time.sleep(0.5)
        except KeyboardInterrupt:
            progress.print("Stopping.")
            return
    raise LocalAwsError("the local AWS ended by itself; start it again with `rekindle local up`")


def _up_in_the_background() -> None:
    from infra.local.suite import SuiteState

    if running := SuiteState.read():
        raise LocalAwsError(f"a local suite is already running (process {running.pid}); `rekindle local down` stops it")
    LOG_FILE.parent.mkdir(parents=True, exist_ok=True)
    with LOG_FILE.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli.main", "local", "up"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    told = 0
    try:
        deadline = time.monotonic() + UP_SECONDS
        while process.poll() is None and SuiteState.read() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            lines = LOG_FILE.read_text(errors="replace").splitlines()
            for line in lines[told:]:
                progress.print(line, highlight=False, markup=False)
            told = len(lines)
    except KeyboardInterrupt:
        process.terminate()
        process.wait(DOWN_SECONDS)
        raise
    if SuiteState.read() is None:
        process.terminate()
        last = LOG_FILE.read_text(errors="replace").strip().splitlines()[-1:]
        raise LocalAwsError(f"it did not come up: {''.join(last)} (log: {LOG_FILE.relative_to(ROOT)})")
    _show_running()


@local.command()
def down() -> None:
    """Stop it, wherever it was started."""
    from infra.local.suite import SuiteState

    running = SuiteState.read()
    if running is None:
        progress.print("Nothing is running.")
        return
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while SuiteState.read() is not None:
        if time.monotonic() > deadline:
            raise LocalAwsError(f"process {running.pid} did not stop within {DOWN_SECONDS} s: `kill -9 {running.pid}`")
        time.sleep(0.1)
    progress.print("Stopped; nothing is left behind.")


@local.command()
def status() -> None:
    """Show what is running and how to talk to it."""
    _show_running()


@local.command()
def env() -> None:
    """Print what a shell needs for `python -m functions` and the aws CLI: eval "$(rekindle local env)"."""
    for name, value in sorted(_running().environment().items()):
        click.echo(f"export {name}={shlex.quote(value)}")


def _running() -> Any:
    from infra.local.suite import SuiteState

    running = SuiteState.read()
    if running is None:
        raise LocalAwsError("no local suite is running; start one with `rekindle local up`")
    return running


def _show_running() -> None:
    running = _running()
    since = datetime.now(UTC) - datetime.fromisoformat(running.started_at)
    for label, value in (
        ("up since", f"{running.started_at} ({int(since.total_seconds())} s), process {running.pid}"),
        ("local AWS", running.endpoint),
        ("fake Telegram", running.telegram_url),
        ("webhook", running.webhook_address),
        ("table", running.outputs["TableName"]),
    ):
        out.print(f"{label:<15}{value}", soft_wrap=True, highlight=False, markup=False)
    out.print("\nPost a message to the bot:", highlight=False)
    out.print(running.curl(), soft_wrap=True, highlight=False, markup=False)
    out.print('\nRun a function here: eval "$(rekindle local env)"', highlight=False, markup=False)
    out.print("                     python -m functions webhook events/webhook/message.json", highlight=False)


def _say(what: str) -> None:
    progress.print(f"{datetime.now().astimezone():%H:%M:%S} {what}", highlight=False, markup=False)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- rekindle invoke, rekindle users ---


@main.command()
@click.argument("function")
@click.argument("event", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@stage_option
def invoke(function: str, event: Path, stage: str | None) -> None:
    """Invoke a deployed FUNCTION (the name of its folder) with an EVENT file, and print what it returns."""
    content = read_event(event.read_text())
    click.echo(json.dumps(Target.of(stage).invoke(function, content), indent=2, ensure_ascii=False))


@main.group()
def users() -> None:
    """The people who talk to the bot."""


@users.command("needing-engagement")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many at most.")
@stage_option
def needing_engagement(limit: int, stage: str | None) -> None:
    """List those most likely to stay away for two weeks, the likeliest first."""
    from engagement.domain.planning import Thresholds
    from engagement.services.analyzer import EngagementAnalyzer
    from engagement.settings import listed
    from engagement.store.patterns import Patterns
    from engagement.store.profiles import Profiles
    from engagement.store.scores import Scores

    target = Target.of(stage)
    settings = target.settings("scorer")
    target.bind_table()
    thresholds = Thresholds(
        re_engagement=float(settings["CHURN_THRESHOLD"]),
        checkin=float(settings["CHECKIN_THRESHOLD"]),
        features=listed(settings["FEATURES"]),
    )
    analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())
    found = analyzer.find_users_needing_engagement(datetime.now(UTC), thresholds, limit)
    table = Table("user", "name", "churn in 14 days", "last seen", "calls for")
    for user in found:
        table.add_row(
            str(user.user_id),
            escape(user.display_name),
            f"{user.churn_risk:.0%}",
            f"{user.last_seen_at:%Y-%m-%d %H:%M}" if user.last_seen_at else "never",
            user.needs.value if user.needs else "nothing",
        )
    if found:
        out.print(table)
    else:
        out.print("Nobody has been scored yet; the scorer does so a day after a user's first message.")


@users.command()
@click.argument("user_id", type=click.IntRange(min=1))
@stage_option
def predict(user_id: int, stage: str | None) -> None:
    """Show what is expected of USER_ID (Telegram's number), and why: risk, mood, hours and the next best action."""
    from infra.cli.prediction import show_prediction

    show_prediction(Target.of(stage), user_id, datetime.now(UTC), out)


@users.command()
@click.argument("user_id", type=click.IntRange(min=1))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON there.")
@stage_option
def export(user_id: int, output: Path | None, stage: str | None) -> None:
    """Export everything that is kept about USER_ID (Telegram's number): in words, and as JSON.

    Example: rekindle users export 1234567 --output ada.json
    """
    from infra.cli.people import export_user

    export_user(Target.of(stage), user_id, output, datetime.now(UTC), out)


@users.command()
@click.argument("user_id", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask.")
@stage_option
def erase(user_id: int, stage: str | None, *, yes: bool) -> None:
    """Erase everything that is kept about USER_ID (Telegram's number). It cannot be taken back.

    Example: rekindle users erase 1234567
    """
    from infra.cli.people import erase_user

    erase_user(Target.of(stage), user_id, datetime.now(UTC), out, confirmed=yes)


@users.command()
@click.option("--done", type=click.IntRange(min=1), help="Somebody has looked at what this user wrote.")
@stage_option
def waiting(done: int | None, stage: str | None) -> None:
    """List who waits for a person: words of crisis, and answers to support.

    Example: rekindle users waiting --done 1234567
    """
    from infra.cli.people import show_waiting

    show_waiting(Target.of(stage), done, datetime.now(UTC), out)


# --- rekindle report, rekindle reconcile ---


@main.command()
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True, help="Of outreach to count.")
@stage_option
def report(days: int, stage: str | None) -> None:
    """Show what was sent and answered, and whether it helped, beside the users who were held out."""
    from infra.cli.report import show_report

    show_report(Target.of(stage), days, datetime.now(UTC), out)


@main.command()
@stage_option
def reconcile(stage: str | None) -> None:
    """Count everything again from the items, and say where a counter differs."""
    from infra.cli.reconcile import reconcile_counters, show_reconciliation

    found = reconcile_counters(Target.of(stage), datetime.now(UTC), progress)
    show_reconciliation(found, out)
    if found.differences:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
