"""`rekindle webhook`: connect a bot to its stack, and see whether Telegram reaches it."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlparse

import boto3
import click
from botocore.config import Config
from botocore.exceptions import ClientError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engagement.clients.secrets import MAX_AGE_SECONDS
from engagement.clients.telegram import TelegramClient
from engagement.domain.webhook import ALLOWED_UPDATES, WebhookInfo
from infra.cli.before import presentable
from infra.cli.registration import OVERLAP_SECONDS, Confirm, Plan, complaints, register, restore, rotate
from infra.cli.target import Target
from infra.config import LOCAL_STAGE, LOOPBACK, WEBHOOK_MAX_CONNECTIONS, parameter_name

AWS_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
OLD_WEBHOOK_VARIABLE = "REKINDLE_OLD_WEBHOOK_SECRET"

console = Console()


class SsmParameters:
    """Secrets in SSM, as SecureStrings."""

    def __init__(self, client: Callable[..., Any]) -> None:
        """Take what makes a boto3 client of a service."""
        self._client = client("ssm", config=AWS_CONFIG)

    def read(self, name: str) -> str:
        """Return a parameter's value as it is now; "" where it does not exist."""
        try:
            value: str = self._client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return ""
            raise
        return value.strip()

    def write(self, name: str, value: str) -> None:
        """Create or replace a parameter, encrypted; only one above 4 KB costs anything (the advanced tier)."""
        self._client.put_parameter(
            Name=name, Value=value, Type="SecureString", Overwrite=True, Tier="Intelligent-Tiering"
        )

    def delete(self, name: str) -> None:
        """Remove a parameter that exists."""
        self._client.delete_parameter(Name=name)


@click.group()
def webhook() -> None:
    """Connect the bot to its stack, and see whether Telegram reaches it."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what all commands take."""
    for option in (
        click.option("--telegram-api-url", help="Where the Bot API is; by default as the stack was deployed."),
        click.option("--url", help="The webhook's address; by default the stack's."),
        click.option(
            "--stage", envvar="REKINDLE_STAGE", help="Which deployment on AWS; without it, the running local suite."
        ),
    ):
        command = option(command)
    return command


_yes = click.option("--yes", is_flag=True, help="Show what is replaced, but do not ask: for scripts.")


@webhook.command("set")
@_options
@_yes
@click.option("--rotate", "rotating", is_flag=True, help="Replace the secret; no update is turned away meanwhile.")
@click.option(
    "--overlap-seconds",
    type=click.FloatRange(min=0),
    default=OVERLAP_SECONDS,
    show_default=True,
    help="With --rotate: how long until every running copy of the webhook knows the new secret.",
)
def set_command(
    stage: str | None,
    url: str | None,
    telegram_api_url: str | None,
    *,
    yes: bool,
    rotating: bool,
    overlap_seconds: float,
) -> None:
    """Tell Telegram where to post updates, with which secret, and which. Safe to run again at any time.

    Whatever a living bot would lose is shown first, and kept for `rekindle webhook restore`.
    """
    plan, telegram, parameters = _prepare(stage, url, telegram_api_url)
    confirm = _confirm("This bot has something that would be replaced:", "Replace it?", yes=yes)
    if rotating:
        info = rotate(telegram, parameters, plan, confirm, lambda _: _wait(overlap_seconds))
        console.print(f"The secret was replaced; the old one stops passing within {MAX_AGE_SECONDS // 60} minutes.")
    else:
        done = register(telegram, parameters, plan, confirm)
        info = done.info
        if done.replaced:
            console.print(
                f"What the bot had is kept in {plan.before_parameter}; `rekindle webhook restore` puts it back.",
                soft_wrap=True,
            )
        if done.created_secret:
            console.print(f"A secret was created in {plan.secret_parameter}.")
    console.print(f"Telegram posts {', '.join(ALLOWED_UPDATES)} to {escape(presentable(info.url))}.", soft_wrap=True)
    console.print("Next: `rekindle milestones seed` puts the 20 default milestones into force; then say /start.")


@webhook.command("restore")
@_options
@_yes
def restore_command(stage: str | None, url: str | None, telegram_api_url: str | None, *, yes: bool) -> None:
    """Put back the webhook and the menus that the bot had before `set`.

    Telegram never told the old webhook's secret: it is asked for, or read from REKINDLE_OLD_WEBHOOK_SECRET.
    """
    plan, telegram, parameters = _prepare(stage, url, telegram_api_url)
    confirm = _confirm("This is put back:", "Put it back?", yes=yes)
    done = restore(telegram, parameters, plan, confirm, _old_secret)
    if done.info.url:
        console.print(
            f"Telegram posts to {escape(presentable(done.info.url))}; nothing comes here any more.", soft_wrap=True
        )
    else:
        console.print("The bot has no webhook any more, as before; the menus are as they were.")
    if done.without_secret:
        console.print("It has no secret token: if its owner checks one, they have to call setWebhook with it.")
    if done.needs_certificate:
        console.print("Its owner has to upload the certificate again (setWebhook), or no update arrives.")


@webhook.command("info")
@_options
def info_command(stage: str | None, url: str | None, telegram_api_url: str | None) -> None:
    """Show what Telegram knows of the webhook, and what is wrong with it."""
    plan, telegram, _ = _prepare(stage, url, telegram_api_url)
    info = telegram.webhook_info()
    console.print(_table(info))
    found = complaints(info, plan, datetime.now(UTC))
    for complaint in found:
        console.print(f"[red]✗[/red] {escape(complaint)}", soft_wrap=True)
    if found:
        raise click.exceptions.Exit(1)
    console.print("[green]✓[/green] Telegram reaches this stack.")


def _prepare(
    stage: str | None, url: str | None, telegram_api_url: str | None
) -> tuple[Plan, TelegramClient, SsmParameters]:
    """Find the stack, unless everything that it knows was typed."""
    typed = url and telegram_api_url and stage not in {None, "", LOCAL_STAGE}
    target = None if typed else Target.of(stage)
    api_url = telegram_api_url or (target.settings("housekeeper")["TELEGRAM_API_URL"] if target else "")
    address = urlparse(api_url)
    if address.scheme != "https" and address.hostname not in LOOPBACK:
        raise click.ClickException(f"{api_url} would carry the token in the clear; use https://...")
    parameters = SsmParameters(target.client if target else boto3.client)
    stage = stage or LOCAL_STAGE
    token_parameter = parameter_name(stage, "bot-token")
    token = parameters.read(token_parameter)
    if not token:
        raise click.ClickException(
            f"there is no bot token in {token_parameter}; store BotFather's: "
            f"aws ssm put-parameter --type SecureString --name {token_parameter} --value file://token.txt"
        )
    plan = Plan(
        url=url or (target.outputs["WebhookUrl"] if target else ""),
        secret_parameter=parameter_name(stage, "webhook-secret"),
        previous_parameter=parameter_name(stage, "webhook-secret-previous"),
        callback_key_parameter=parameter_name(stage, "callback-key"),
        before_parameter=parameter_name(stage, "webhook-before"),
        max_connections=WEBHOOK_MAX_CONNECTIONS,
    )
    return plan, TelegramClient(token, api_url), parameters


def _confirm(heading: str, question: str, *, yes: bool) -> Confirm:
    """Return what shows the operator a list and asks about it, unless they said yes beforehand."""

    def confirm(lines: Sequence[str]) -> bool:
        console.print(heading)
        for line in lines:
            console.print(f"  {escape(line)}", soft_wrap=True, highlight=False)
        if yes:
            return True
        if not _has_terminal():
            raise click.ClickException(
                "nothing was changed: there is no terminal to ask on; read the list above, and add --yes to agree"
            )
        try:
            return click.confirm(question, default=False)
        except click.Abort:  # Ctrl-C and Ctrl-D are a no
            click.echo()
            return False

    return confirm


def _old_secret() -> str:
    """Return the secret token that the old webhook was set with; "" for none."""
    given = os.environ.get(OLD_WEBHOOK_VARIABLE)
    if given is not None:
        return given
    if not _has_terminal():
        raise click.ClickException(
            f"nothing was changed: the old webhook's secret token is needed; put it into {OLD_WEBHOOK_VARIABLE}, "
            "or an empty text if it had none"
        )
    secret: str = click.prompt(
        "Secret token of the old webhook (Enter: it had none)", default="", hide_input=True, show_default=False
    )
    return secret


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _wait(seconds: float) -> None:
    """Wait where one can see it."""
    columns = (TextColumn("every running copy learns the new secret"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            progress.update(task, completed=seconds - left)


def _table(info: WebhookInfo) -> Table:
    table = Table(show_header=False, box=None)
    last = f"{info.last_error_at:%Y-%m-%d %H:%M:%S} UTC, {info.last_error_message}" if info.last_error_at else "none"
    for label, value in (
        ("address", presentable(info.url) or "none"),
        ("updates", ", ".join(info.allowed_updates) or "Telegram's default set"),
        ("connections", str(info.max_connections or "")),
        ("waiting", str(info.pending_update_count)),
        ("last error", last),
    ):
        table.add_row(f"[bold]{label}", escape(value))
    return table
