"""`rekindle reconcile`: are the counters what the items say?"""

from datetime import datetime

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from engagement.domain.reconciliation import Reconciliation
from infra.cli.target import Target

MOST_SHOWN = 40


def reconcile_counters(target: Target, now: datetime, progress: Console) -> Reconciliation:
    """Count everything again and compare.

    Args:
        target: the deployment.
        now: aware UTC.
        progress: where to say how far the count is.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    from engagement.services.reconciling import Reconciler
    from engagement.store.records import Records
    from engagement.store.statistics import Statistics

    target.bind_table()
    bot_id = int(target.settings("scorer")["BOT_ID"])
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=progress, transient=True) as bar:
        task = bar.add_task("reading the table", total=None)
        reconciler = Reconciler(bot_id, Records(), Statistics())
        return reconciler.reconcile(now, lambda count: bar.update(task, description=f"{count:,} items counted"))


def show_reconciliation(found: Reconciliation, out: Console) -> None:
    """Print what differs, or that nothing does."""
    if not found.differences:
        out.print(f"All {found.compared:,} counters are what the items say.")
        return
    table = Table("where", "counter", "says", "items say")
    for difference in found.differences[:MOST_SHOWN]:
        table.add_row(difference.where, difference.name, f"{difference.counter:,}", f"{difference.items:,}")
    out.print(table)
    out.print(
        f"{len(found.differences):,} of {found.compared:,} counters differ. While the bot is busy some only moved "
        "during the count: count again; what stays different is a fault worth reporting."
    )
