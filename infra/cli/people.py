"""`rekindle users export`, `erase` and `waiting`: what an operator owes one user."""

from datetime import datetime
from math import exp
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli.target import NoTargetError, Target


def export_user(target: Target, user_id: int, output: Path | None, now: datetime, out: Console) -> None:
    """Print everything that is kept about a user in words, and the JSON too, or write it to a file.

    Raises:
        NoTargetError: nothing is kept about them.
        StoreUnavailableError: DynamoDB is in trouble.
    """
    from engagement.errors import BadPatternError, UnknownUserError
    from engagement.services.exporting import Exporter
    from engagement.store.exports import Exports
    from infra.cli.prediction import predictor_of

    settings = target.settings("scorer")
    target.bind_table()
    bot_id = int(settings["BOT_ID"])

    def reasons(user_id: int, now: datetime) -> list[str]:
        try:
            factors = predictor_of(bot_id, settings).predict_churn_risk(user_id, now=now).contributing_factors
        except (BadPatternError, UnknownUserError):
            return []
        return [f"{factor.words} (odds of staying away x {exp(factor.effect):.2f})" for factor in factors]

    found = Exporter(bot_id, Exports(), reasons).export(user_id, now=now)
    if not found.items:
        raise NoTargetError(f"nothing is kept about user {user_id}")
    if output is None:
        # The words are its first field: one document, for people and for programs.
        click.echo(found.as_json(), nl=False)
        return
    output.write_text(found.as_json(), encoding="utf-8")
    for line in found.words:
        out.print(line, markup=False, highlight=False)
    out.print(f"{len(found.items)} items written to {output}.", markup=False, highlight=False)


def erase_user(target: Target, user_id: int, now: datetime, out: Console, *, confirmed: bool) -> None:
    """Erase a user, after asking.

    Raises:
        NoTargetError: nothing is kept about them.
        StoreUnavailableError: DynamoDB is in trouble; the tombstone stands, and the housekeeper goes on.
    """
    from engagement.services.erasing import Eraser
    from engagement.store.erasures import Erasures
    from engagement.store.exports import Exports
    from engagement.store.tombstones import Tombstones

    settings = target.settings("scorer")
    target.bind_table()
    bot_id = int(settings["BOT_ID"])
    many = len(Exports().items(bot_id, user_id))
    if not many:
        raise NoTargetError(f"nothing is kept about user {user_id}")
    if not confirmed:
        click.confirm(f"Erase all {many} items of user {user_id}? It cannot be taken back.", abort=True)
    gone = Eraser(Tombstones(), Erasures()).erase(bot_id, user_id, now)
    out.print(
        f"{gone} items are gone; a tombstone keeps late records from bringing user {user_id} back, and expires after "
        "36 days. The housekeeper sweeps once more in an hour.",
        highlight=False,
        soft_wrap=True,
    )


def show_waiting(target: Target, done: int | None, now: datetime, out: Console) -> None:
    """List what waits for a person; first take off the list what somebody has looked at.

    Args:
        target: the deployment.
        done: Telegram's id of the user; None takes nothing off.
        now: aware UTC.
        out: where to.

    Raises:
        NoTargetError: nothing of that user waits.
        StoreUnavailableError: DynamoDB is in trouble.
    """
    from engagement.store.attentions import Attentions
    from engagement.store.profiles import Profiles

    settings = target.settings("scorer")
    target.bind_table()
    bot_id, attentions, profiles = int(settings["BOT_ID"]), Attentions(), Profiles()
    if done is not None:
        looked_at = [attention for attention in attentions.waiting(now) if attention.user_id == done]
        if not looked_at:
            raise NoTargetError(f"nothing of user {done} waits")
        for attention in looked_at:
            attentions.done(bot_id, attention)
    found = attentions.waiting(now)
    if not found:
        out.print("Nobody waits.")
        return
    table = Table("user", "name", "written", "why")
    for attention in found:
        profile = profiles.get(bot_id, attention.user_id)
        name = escape(profile.first_name) if profile else ""
        written = f"{attention.noticed_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(str(attention.user_id), name, written, attention.reason.replace("_", " "))
    out.print(table)
    out.print("Answer them in Telegram; then `rekindle users waiting --done USER`.", highlight=False)
