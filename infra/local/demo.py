"""`make demo`: deploy the real stack to the local AWS and let a population live with the bot for six virtual weeks."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engagement.services.milestones import MilestoneSeeder
from engagement.store.milestones import Milestones
from engagement.store.statistics import Statistics
from infra.config import DeploymentConfig
from infra.local.emulator import ROOT, LocalAwsError
from infra.local.population import DAYS, Act, Action, Fate, Population
from infra.local.suite import BOT_ID, STATE_FILE, FunctionFailedError, LocalSuite
from infra.local.summary import PROMISES, Ledger, Predictions, Reached, Records, show, summarise
from infra.local.telegram import bot_api, updates
from infra.local.telegram.methods import SentMessage
from infra.local.truth import Measured
from infra.local.world import Kind

HOUR = timedelta(hours=1)
SCORE_EVERY = 12
"""Virtual hours between ticks; the deployed schedule is finer than a replay needs."""
SEND_AT = timedelta(minutes=35)
"""Of each virtual hour: messages come due in its middle, and the deployed sender looks every five minutes."""
WAKING_HOURS = range(5, 23)
"""UTC; nobody here is up at other hours, so nothing comes due then, and the replay need not ask."""
REDELIVER_EVERY = 40
"""Telegram sends an update again when an answer got lost: here one in so many."""
CHOICES: dict[str, str | float] = {
    "experiment": "demo",
    # Half of the win-backs are held out: six weeks of a hundred people would show nothing otherwise.
    "type_control": "10,re_engagement=50",
    # Step by step: of the other types few people get any yet.
    "rollout": "20,re_engagement=100,personalized_checkin=100,mood_support=100",
    # Nobody answers here, and nobody is sad: it shows that support goes out.
    "mood_support": "answered",
    "operator_chat_id": "424242",
    # One type for everybody who falls silent, so that its arms are as large as they can be.
    "churn_threshold": 0.6,
    "checkin_threshold": 0.6,
}
WIDTH = 100
"""Characters of the picture."""
OUTPUT = ROOT / "build" / "demo"


class World:
    """The virtual weeks: people act, functions tick, messages arrive, people react."""

    def __init__(self, suite: LocalSuite, population: Population) -> None:
        self.suite = suite
        self.population = population
        self.ledger = Ledger()
        self._pending: list[Action] = []
        self._update_id = 500_000
        self._spoken: dict[int, updates.Update] = {}
        self._messages_seen = 0
        self._days_lived = 0
        self._reports: dict[str, dict[str, Any]] = {}

    def live(self, days: int) -> Iterator[int]:
        """Run `days` days, yielding each when it is over."""
        for day in range(days):
            self._pending += self.population.day(day)
            heapify(self._pending)
            for hour in range(24):
                self._live_hour(self.population.start + timedelta(days=day, hours=hour))
            self._note_risks(day)
            self._days_lived += 1
            yield day
        self.suite.wait_until_drained()

    def train(self) -> dict[str, Any]:
        """Let the trainer look at all that happened, at its hour of the Monday after; return its report."""
        self.suite.clock.set(self.population.start + timedelta(days=self._days_lived, hours=4))
        self._tick("trainer", self.suite.clock.now())
        return self._reports.get("trainer", {})

    def _live_hour(self, begins: datetime) -> None:
        ends = begins + HOUR
        self._act_until(begins + SEND_AT)
        if begins.hour in WAKING_HOURS:
            self._tick("outreach_sender", begins + SEND_AT)
            self._let_people_react(begins + SEND_AT)
        self._act_until(ends)
        if ends.hour % SCORE_EVERY == 0:
            self.suite.wait_until_drained()
            self._tick("scorer", ends)
        if ends.hour == 0:
            self._tick("housekeeper", ends)

    def _act_until(self, at: datetime) -> None:
        while self._pending and self._pending[0].at < at:
            self._act(heappop(self._pending))
        self.suite.clock.set(at)

    def _act(self, action: Action) -> None:
        self.suite.clock.set(action.at)
        self._update_id += 1
        update = self._update(action)
        self._post(update)
        if self._update_id % REDELIVER_EVERY == 0:
            self._post(update)
            self.ledger.redelivered += 1
        self.ledger.acts.append(action)

    def _update(self, action: Action) -> updates.Update:
        """Say it as Telegram would."""
        someone = self.population.people[action.user_id]
        person = updates.Person(someone.user_id, someone.first_name, someone.language_code)
        at, number = int(action.at.timestamp()), self._update_id
        spoken = self._spoken.get(person.user_id)
        if action.act is Act.PRESS:
            below, data = self._button(person.user_id, action.text)
            return updates.callback(number, person, data, date=below.date, message_id=below.message_id, bot_id=BOT_ID)
        if action.act is Act.BLOCK:
            return updates.blocked(number, person, date=at, bot_id=BOT_ID)
        if action.act is Act.EDIT and spoken:
            return updates.edited(spoken, action.text, update_id=number, edit_date=at)
        message_id = self.suite.telegram.next_message_id(person.user_id)
        attachments = {Act.VOICE: updates.voice, Act.STICKER: updates.sticker, Act.DOCUMENT: updates.document}
        if attach := attachments.get(action.act):
            return attach(number, person, date=at, message_id=message_id)
        self._spoken[person.user_id] = updates.message(number, person, action.text, date=at, message_id=message_id)
        return self._spoken[person.user_id]

    def _button(self, user_id: int, says: str) -> tuple[SentMessage, str]:
        """Return the newest message with a button that says so, and what the button sends back."""
        for message in reversed(self.suite.telegram.received_by(user_id)):
            rows = (message.reply_markup or {}).get("inline_keyboard", [])
            for button in (button for row in rows for button in row):
                if button.get("callback_data", "").split(":")[1:2] == [says]:
                    return message, button["callback_data"]
        raise LocalAwsError(f"no message to {user_id} has a button that says {says}")

    def _post(self, update: updates.Update) -> None:
        self.ledger.answers[self.suite.post_update(update).status] += 1

    def _tick(self, function: str, at: datetime) -> None:
        try:
            for report in self.suite.tick(function, at):
                self._reports[function] = report
                self.ledger.not_planned.update(report.get("not_planned", {}))
        except FunctionFailedError as error:
            self.ledger.failures[function] += 1
            self.ledger.complaints.append(f"{at:%Y-%m-%d %H:%M} {error}")

    def _let_people_react(self, at: datetime) -> None:
        messages = self.suite.telegram.messages[self._messages_seen :]
        self._messages_seen += len(messages)
        for message in messages:
            # Replies travel in the webhook's answers; only outreach is a call.
            if message.via == "http":
                self.ledger.reached.append(Reached(message.chat_id, at, message.text))
                for action in self.population.hears(message.chat_id, at):
                    heappush(self._pending, action)

    def _note_risks(self, day: int) -> None:
        """Remember the scores of those whose story may be told."""
        for person in self.population.people.values():
            if person.fate is Fate.LEAVER and person.kind is Kind.HELPED:
                risk = Records.risk_of(BOT_ID, person.user_id)
                if risk is not None:
                    self.ledger.risk.setdefault(person.user_id, {})[day] = risk


def six_weeks_ago(today: datetime) -> datetime:
    """Return the Monday, midnight UTC, from which six weeks end before today."""
    monday = today.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=today.weekday())
    return monday - timedelta(days=DAYS)


@click.command(help=__doc__)
@click.option("--seed", default=7, show_default=True, help="the same seed gives the same world")
@click.option("--days", default=DAYS, show_default=True, help="virtual days to play")
@click.option("--keep", is_flag=True, help="leave everything running afterwards, until Ctrl-C")
@click.option("--picture", type=click.Path(path_type=Path), help="also save what is shown at the end, as SVG")
def main(seed: int, days: int, keep: bool, picture: Path | None) -> None:
    """Run the demo and exit non-zero when a promise was broken."""
    console = Console(record=True, width=WIDTH) if picture else Console()
    try:
        figures = run(console, seed=seed, days=days, keep=keep, picture=picture)
    except LocalAwsError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("stopped; nothing is left behind") from None
    if broken := [promise for promise in PROMISES if figures[promise]]:
        raise click.ClickException(f"not as it should be: {', '.join(broken)}; see {_shown(OUTPUT)}/summary.json")


def run(console: Console, *, seed: int, days: int, keep: bool, picture: Path | None = None) -> dict[str, Any]:
    """Play the weeks, write build/demo/summary.json, show it, and return its figures."""
    began = time.monotonic()
    population = Population(seed, six_weeks_ago(datetime.now(UTC)))
    with ExitStack() as stack:
        progress = stack.enter_context(_progress(console))
        step = progress.add_task("starting", total=None)
        suite = stack.enter_context(
            LocalSuite(
                say=lambda what: progress.update(step, description=what),
                real_time=keep,
                state_file=STATE_FILE if keep else None,
                bot_api=bot_api.find(),
                choices=CHOICES,
            )
        )
        suite.bind_table()
        MilestoneSeeder(BOT_ID, Milestones(BOT_ID), Statistics()).seed_default_milestones(now=population.start)
        deployed = time.monotonic() - began
        progress.update(step, description=f"{len(population.people)} people, {days} days", total=days)
        world = World(suite, population)
        for _ in world.live(days):
            progress.advance(step)
        progress.update(step, description="training on those who let it")
        training = world.train()
        progress.update(step, description="adding up")
        records = Records.read()
        bucket = suite.outputs["ModelBucketName"]
        predictions = Predictions.read(BOT_ID, bucket, population.start, suite.clock.now(), training)
        measured = Measured.read(BOT_ID, str(CHOICES["experiment"]), population, suite.clock.now())
        config = DeploymentConfig(bot_id=BOT_ID)
        figures = summarise(
            population,
            world.ledger,
            records,
            predictions,
            measured,
            suite.metrics(),
            per_day=config.max_outreaches_per_user_per_day,
            min_gap=timedelta(hours=config.min_hours_between_outreaches),
            dead_letters=len(suite.dead_letters()),
        )
        figures["problems_telegram_noticed"] = len(suite.telegram.problems)
        figures["seconds"] = {"deploy": round(deployed, 1), "all": round(time.monotonic() - began, 1)}
        _write(figures, seed)
        progress.stop()
        show(console, population, world.ledger, records, figures, days)
        console.print(f"All figures: {_shown(OUTPUT)}/summary.json   {figures['seconds']['all']} s")
        if picture:
            # Whoever looks at it has a monospaced font; it need not be fetched from anywhere.
            drawn = re.sub(r"@font-face {.*?}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
            picture.write_text(drawn)
        if keep:
            suite.clock.release()
            _wait(console, suite)
    return figures


def _write(figures: dict[str, Any], seed: int) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "summary.json").write_text(json.dumps({"seed": seed} | figures, indent=2, ensure_ascii=False) + "\n")


def _wait(console: Console, suite: LocalSuite) -> None:
    console.print("\nEverything is still running; the schedules tick by the clock. Post an update:", style="bold")
    console.print(suite.state().curl(), soft_wrap=True, highlight=False, markup=False)
    console.print("Look around with `.venv/bin/rekindle local status`; Ctrl-C stops it.")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("stopping")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
