"""What the demo shows at its end: what came in, what was learned, who was reached, why others were not, one story."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any

from pynamodb.exceptions import DoesNotExist
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engagement.clients.cards import serving_card
from engagement.domain.census import Census, Outcomes
from engagement.domain.champion import MODELS
from engagement.domain.experiment import ALL
from engagement.domain.gate import POINTLESS_ON_RETURN, Reason
from engagement.domain.outreach import OutreachState, OutreachType
from engagement.domain.pattern import HOURS_OF_DAY, MILLI
from engagement.domain.pattern_bytes import decode
from engagement.domain.population import BUNDLED
from engagement.domain.timing import hour_shares
from engagement.domain.watching import Health, judge
from engagement.store import keys
from engagement.store.censuses import Censuses
from engagement.store.table import AwardItem, InteractionItem, Item, OutreachItem, PatternItem, ProfileItem
from infra.local.emulator import ROOT
from infra.local.metrics import Totals
from infra.local.population import Act, Action, Fate, Population
from infra.local.truth import Measured

BARS = " ▁▂▃▄▅▆▇█"
FEWEST_SHOWN = 5
"""Users in each arm below which the demo does not draw a comparison."""
WHISKERS = 15
"""Characters of an interval's picture; odd, so that nought has one in the middle."""
PROMISES = ("duplicate_sends", "sent_after_stop", "cap_breaches", "counters_wrong", "errors")
"""Counts that must be nought."""
DELIVERED = frozenset({OutreachState.SENT, OutreachState.RESPONDED, OutreachState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Reached:
    """One outreach as the fake Telegram received it: the demo's own record, beside what the table says."""

    user_id: int
    at: datetime
    text: str


@dataclass(slots=True)
class Ledger:
    """What happened, seen from outside the functions.

    Attributes:
        acts: everything that people did, in order.
        answers: HTTP statuses of the webhook.
        redelivered: updates posted a second time.
        reached: outreach that Telegram accepted.
        not_planned: outreach that was called for and not planned, by reason.
        risk: churn probability by user and virtual day, for those whose story might be told.
        failures: functions that raised, by name.
        complaints: when, and what each of them said.
    """

    acts: list[Action] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    redelivered: int = 0
    reached: list[Reached] = field(default_factory=list)
    not_planned: Counter[str] = field(default_factory=Counter)
    risk: dict[int, dict[int, float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Records:
    """The table's items, by kind."""

    interactions: list[InteractionItem]
    patterns: list[PatternItem]
    profiles: list[ProfileItem]
    outreach: list[OutreachItem]
    others: list[Item]

    @classmethod
    def read(cls) -> "Records":
        """Read the whole table; for a demo's worth of items only."""
        by_kind: dict[type[Item], list[Any]] = {}
        for item in Item.scan():
            by_kind.setdefault(type(item), []).append(item)
        return cls(
            interactions=by_kind.pop(InteractionItem, []),
            patterns=by_kind.pop(PatternItem, []),
            profiles=by_kind.pop(ProfileItem, []),
            outreach=by_kind.pop(OutreachItem, []),
            others=[item for items in by_kind.values() for item in items],
        )

    @staticmethod
    def risk_of(bot_id: int, user_id: int) -> float | None:
        """Return a user's newest churn probability over 14 days; None before the first score."""
        try:
            item = PatternItem.get(keys.user(bot_id, user_id), keys.PATTERN)
        except DoesNotExist:
            return None
        risk: float | None = item.churn_14d
        return risk


@dataclass(frozen=True, slots=True)
class Predictions:
    """Which models served, how the churn scores came true, and what training on the demo's weeks came to.

    Attributes:
        versions: of the models that served, by name.
        health: of the churn scores that ripened over all of the weeks.
        predicted: mean of those scores, [0, 1]; None where none ripened.
        stayed_away: share of their users who did, [0, 1]; None where none ripened.
        training: the trainer's report.
    """

    versions: Mapping[str, str]
    health: Health
    predicted: float | None
    stayed_away: float | None
    training: Mapping[str, Any]

    @classmethod
    def read(
        cls, bot_id: int, bucket: str, start: datetime, end: datetime, training: Mapping[str, Any]
    ) -> "Predictions":
        """Read the weeks' census and the serving models' cards."""
        cards = {name: serving_card(name, bucket, ROOT / "models" / name) for name in MODELS}
        weeks = Censuses().of_days(bot_id, start.date(), end.date())
        ripe = weeks.outcomes.get(cards["churn"]["version"], Outcomes())
        seen = sum(ripe.seen)
        return cls(
            versions={name: card["version"] for name, card in cards.items()},
            health=judge(weeks, Census(), Census(), cards["churn"], end),
            predicted=sum(ripe.predicted_milli) / MILLI / seen if seen else None,
            stayed_away=sum(ripe.stayed_away) / seen if seen else None,
            training=training,
        )

    def figures(self) -> dict[str, Any]:
        """Return them for `summary.json`."""
        known = {name: getattr(self.health, name) for name in ("auc", "auc_error", "brier", "ece", "ece_by_chance")}
        known |= {"predicted": self.predicted, "stayed_away": self.stayed_away}
        rounded = {name: None if value is None else round(value, 4) for name, value in known.items()}
        results = self.training.get("results", {})
        return {
            "model_versions": dict(self.versions),
            "calibration": {"outcomes": self.health.outcomes} | rounded,
            "training": {name: {key: result[key] for key in ("outcome", "reason")} for name, result in results.items()},
        }


def duplicate_sends(reached: Iterable[Reached], outreach: Iterable[OutreachItem]) -> int:
    """Count messages that Telegram accepted beyond those that the ledger knows of, user by user."""
    accepted = Counter(message.user_id for message in reached)
    known = Counter(keys.user_of(item.pk)[1] for item in outreach if item.state in DELIVERED)
    return (accepted - known).total()


def sent_after_stop(reached: Iterable[Reached], acts: Iterable[Action]) -> int:
    """Count messages to users after their /stop."""
    stopped = {act.user_id: act.at for act in acts if act.text == "/stop"}
    return sum(message.user_id in stopped and message.at > stopped[message.user_id] for message in reached)


def cap_breaches(reached: Iterable[Reached], per_day: int, min_gap: timedelta) -> int:
    """Count messages beyond the cap of a UTC day, and those too soon after the one before."""
    messages = sorted(reached, key=lambda message: message.at)
    days = Counter((message.user_id, message.at.date()) for message in messages)
    breaches = sum(max(count - per_day, 0) for count in days.values())
    newest: dict[int, datetime] = {}
    for message in messages:
        before = newest.get(message.user_id)
        breaches += before is not None and message.at - before < min_gap
        newest[message.user_id] = message.at
    return breaches


def said_after(acts: Iterable[Action], message: Reached) -> list[Action]:
    """Return what a user did after a message reached them, other than to block the bot."""
    return [act for act in acts if act.user_id == message.user_id and act.at > message.at and act.act is not Act.BLOCK]


def near_their_hour(patterns: Sequence[PatternItem], population: Population) -> float:
    """Return the share of people whose best hour, as learned, is within an hour of one they like; [0, 1]."""
    hits = []
    for item in patterns:
        person = population.people[keys.user_of(item.pk)[1]]
        pattern = decode(item.state)
        shares = hour_shares(pattern, BUNDLED, datetime.fromtimestamp(pattern.last_at, UTC))
        best = shares.index(max(shares))
        apart = [(best - hour) % HOURS_OF_DAY for hour in person.hours]
        hits.append(any(min(hours, HOURS_OF_DAY - hours) <= 1 for hours in apart))
    return mean(hits)


def moment(user_id: int, at: datetime) -> tuple[int, str]:
    """Name a message by its hour: the sender's clock runs on while it sends, the demo's does not."""
    return user_id, f"{at:%F %H}"


def delivered(outreach: Iterable[OutreachItem]) -> dict[tuple[int, str], OutreachItem]:
    """Return what reached somebody, or may have, by `moment`."""
    return {moment(keys.user_of(o.pk)[1], o.exposed_at): o for o in outreach if o.state in DELIVERED}


def at_top_hours(reached: Iterable[Reached], acts: Sequence[Action]) -> float | None:
    """Return the share of messages sent at one of the three hours at which their user had been active most, [0, 1].

    By chance it would be 1 in 8. None where nothing was sent.
    """
    hits = []
    for message in reached:
        hours = Counter(act.at.hour for act in acts if act.user_id == message.user_id and act.at < message.at)
        hits.append(message.at.hour in {hour for hour, _ in hours.most_common(3)})
    return mean(hits) if hits else None


def bars(values: Sequence[float], top: float | None = None) -> str:
    """Draw numbers as a row of bars, one character each; `top` is a full one."""
    highest = top or max(values, default=0) or 1
    return "".join(BARS[min(round(value / highest * 8), 8)] if value else BARS[0] for value in values)


def learned(population: Population, patterns: Sequence[PatternItem]) -> Table:
    """Show the model's opinion of each group beside what the simulator knows about it."""
    table = Table(title="What was learned", title_justify="left", expand=True)
    for heading in ("who they really are", "people", "interactions", "14-day risk", ""):
        table.add_column(heading, justify="right" if heading in ("people", "interactions") else "left")
    for fate in Fate:
        group = [p for p in patterns if population.people[keys.user_of(p.pk)[1]].fate is fate]
        risks = [p.churn_14d for p in group if p.churn_14d is not None]
        if not group:
            continue
        risk = mean(risks) if risks else 0.0
        events = sum(decode(p.state).total for p in group)
        table.add_row(fate.value, str(len(group)), str(events), f"{risk:4.0%}", "█" * round(risk * 16))
    return table


def predicted(figures: Mapping[str, Any]) -> Table:
    """Show how the models did, and what the week's training came to."""
    table = Table(title="How good the predictions were", title_justify="left", expand=True, show_header=False)
    table.add_row("models", ", ".join(figures["model_versions"].values()))
    live = figures["calibration"]
    table.add_row("7-day risks that could be checked a week later", str(live["outcomes"]))
    if live["auc"] is not None:
        table.add_row("  ranked right (1 always, 0.5 by chance)", f"{live['auc']:.2f} ± {1.96 * live['auc_error']:.2f}")
    if live["ece"] is not None:
        # Regulars of the demo never leave, which the model cannot know from a few days of them.
        table.add_row("  said on average, and stayed away", f"{live['predicted']:.0%}, {live['stayed_away']:.0%}")
        by_chance = f"(up to {live['ece_by_chance']:.2f} is chance)"
        table.add_row("  mean gap between risk and outcome", f"{live['ece']:.2f} {by_chance}")
    by_reason: dict[str, list[str]] = {}
    for name, result in figures["training"].items():
        by_reason.setdefault(result["reason"], []).append(name.removesuffix("_model"))
    for reason, names in by_reason.items():
        table.add_row(f"training at the end: {', '.join(names)}", reason)
    return table


def helped(figures: Mapping[str, Any]) -> Table:
    """Show what the control groups say of each group, beside what the simulator knows."""
    table = Table(title="Did writing help? Who came back within a week", title_justify="left", expand=True)
    table.add_column("first message")
    table.add_column("came back", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("-100   0   +100", no_wrap=True, min_width=WHISKERS)
    table.add_column("truth", justify="right", no_wrap=True)
    unsaid = []
    for group, found in figures["experiment"].items():
        name = "of any kind" if group == ALL else group.replace("_", " ")
        if min(found["written_to"], found["held_out"]) < FEWEST_SHOWN:
            unsaid.append(name)
            continue
        table.add_row(
            name,
            f"{found['came_back_written_to']:4.0%} of {found['written_to']:2} written to\n"
            f"{found['came_back_held_out']:4.0%} of {found['held_out']:2} held out",
            f"{100 * found['lift']:+.0f}\n{100 * found['low']:+.0f} to {100 * found['high']:+.0f}",
            whiskers(found["low"], found["lift"], found["high"], found["truth"]),
            f"{100 * found['truth']:+.0f}",
        )
    legend = "━ 95 % interval   ● measured   ◆ true, which only the simulator can know"
    table.caption = f"{legend}\nheld out too seldom to say: {', '.join(unsaid)}" if unsaid else legend
    return table


def whiskers(low: float, estimate: float | None, high: float, truth: float) -> Text:
    """Draw an interval from -1 to 1 with what is measured in it and what is true."""

    def place(value: float) -> int:
        return round((min(max(value, -1.0), 1.0) + 1) / 2 * (WHISKERS - 1))

    cells = [("━", "blue") if place(low) <= cell <= place(high) else (" ", "") for cell in range(WHISKERS)]
    cells[place(0)] = ("|", "dim")
    if estimate is not None:
        cells[place(estimate)] = ("●", "bold")
    cells[place(truth)] = ("◆", "bold magenta")
    return Text.assemble(*cells)


def in_words(reason: str) -> str:
    """Return a reason for a stranger; one that is not the gate's is shown as it is."""
    try:
        return Reason(reason).words
    except ValueError:
        return reason.replace("_", " ")


def story(population: Population, ledger: Ledger, outreach: Sequence[OutreachItem], days: int) -> Panel | None:
    """Tell of somebody who left, was written to, and came back; None where nobody did."""
    sent = delivered(outreach)
    returned = [
        message
        for message in ledger.reached
        if message.user_id in ledger.risk
        and said_after(ledger.acts, message)
        and sent[moment(message.user_id, message.at)].outreach_type == OutreachType.RE_ENGAGEMENT
    ]
    if not returned:
        return None
    message = returned[0]
    person = population.people[message.user_id]
    mine = [act for act in ledger.acts if act.user_id == person.user_id]
    per_day = Counter((act.at - population.start).days for act in mine)
    before = [act for act in mine if act.at < message.at]
    after = said_after(mine, message)
    item = sent[moment(message.user_id, message.at)]

    def on(at: datetime) -> str:
        return f"day {(at - population.start).days + 1:2}, {at:%H:%M}"

    lines = Text()
    lines.append("messages a day   ", "bold").append(bars([per_day[day] for day in range(days)]) + "\n", "cyan")
    risks = [ledger.risk[person.user_id].get(day, 0.0) for day in range(days)]
    lines.append("risk of leaving  ", "bold").append(bars(risks, top=1.0) + "\n\n", "red")
    events = [(mine[0].at, "sends /start" + (" and agrees to be written to" if person.consents else ""))]
    events.append((before[-1].at, f"says something for the last time ({len(before)} times so far), then is silent"))
    events.append((item.planned_at, f"the risk is {item.priority:.0%}: {item.outreach_type} is planned"))
    events.append((message.at, f"at a good hour the bot writes: “{message.text.splitlines()[0]}”"))
    if after:
        events.append((after[0].at, f"is back, and talks {len(after)} more times"))
    for at, what in events:
        lines.append(f"{on(at)}  ", "dim").append(what + "\n")
    return Panel(lines, title=f"One user's story: {person.first_name}", title_align="left")


def summarise(
    population: Population,
    ledger: Ledger,
    records: Records,
    predictions: Predictions,
    measured: Measured,
    totals: Totals,
    *,
    per_day: int,
    min_gap: timedelta,
    dead_letters: int,
) -> dict[str, Any]:
    """Return the figures of `summary.json`.

    Args:
        population: who there was.
        ledger: what was seen from outside.
        records: what the table holds.
        predictions: what the models said, and what came true.
        measured: what the control groups say, and the simulator's truth.
        totals: the functions' own metrics, added up.
        per_day: the deployed daily cap.
        min_gap: the deployed gap.
        dead_letters: messages in the dead-letter queue.
    """
    states = Counter(item.state for item in records.outreach)
    reasons = Counter(item.reason for item in records.outreach if item.reason)
    reasons += ledger.not_planned
    errors = {
        "answers_other_than_200": sum(count for status, count in ledger.answers.items() if status != 200),
        "updates_unreadable": sum(item.pk.startswith("DEAD#") for item in records.others),
        "dead_letters": dead_letters,
        **{f"failed_{function}": count for function, count in ledger.failures.items()},
        **{f"logged_by_{function}": count for function, count in totals.errors.items()},
    }
    returned = {message.user_id for message in ledger.reached if said_after(ledger.acts, message)}
    sent = delivered(records.outreach)
    at_best_hour = [m for m in ledger.reached if sent[moment(m.user_id, m.at)].outreach_type in POINTLESS_ON_RETURN]
    at_top = at_top_hours(at_best_hour, ledger.acts)
    return {
        "people": len(population.people),
        "updates_posted": ledger.answers.total(),
        "interactions_stored": len(records.interactions),
        "duplicates_ignored": int(totals.of("DuplicatesIgnored")),
        "redelivered": ledger.redelivered,
        "patterns": len(records.patterns),
        "scored": int(totals.of("UsersScored")),
        "scored_by": sorted({item.scored_by for item in records.patterns if item.scored_by}),
        "model_fallbacks": int(totals.of("ModelFallback")),
        "planned": len(records.outreach),
        "sent": len(ledger.reached),
        "outreach_by_state": dict(sorted(states.items())),
        "suppressed_by_reason": dict(sorted(reasons.items())),
        "came_back_after_outreach": len(returned),
        "best_hour_within_one": round(near_their_hour(records.patterns, population), 3),
        "outreach_at_top3_hour": None if at_top is None else round(at_top, 3),
        "let_it_learn": sum(bool(item.consent_ml) for item in records.profiles),
        "awards": sum(isinstance(item, AwardItem) for item in records.others),
        "sent_by_type": dict(Counter(str(i.outreach_type) for i in records.outreach if i.state in DELIVERED)),
        **predictions.figures(),
        **measured.figures(),
        "duplicate_sends": duplicate_sends(ledger.reached, records.outreach),
        "sent_after_stop": sent_after_stop(ledger.reached, ledger.acts),
        "cap_breaches": cap_breaches(ledger.reached, per_day, min_gap),
        "counters_wrong": len(measured.reconciliation.differences),
        "errors": sum(errors.values()),
        "errors_of": errors,
        "complaints": ledger.complaints,
    }


def show(
    console: Console, population: Population, ledger: Ledger, records: Records, figures: dict[str, Any], days: int
) -> None:
    """Print it for a stranger."""
    incoming = Table(title="What came in", title_justify="left", expand=True, show_header=False)
    per_day = Counter((act.at - population.start).days for act in ledger.acts)
    incoming.add_row("people", str(figures["people"]))
    incoming.add_row("updates Telegram posted", f"{figures['updates_posted']:,}")
    incoming.add_row("interactions kept", f"{figures['interactions_stored']:,}")
    incoming.add_row("delivered twice and ignored", f"{figures['duplicates_ignored']:,}")
    incoming.add_row(f"day by day, {days} days", bars([per_day[day] for day in range(days)]))
    reached = Table(title="Who was written to", title_justify="left", expand=True, show_header=False)
    reached.add_row("times a pattern was scored", f"{figures['scored']:,} by {', '.join(figures['scored_by'])}")
    reached.add_row("outreach planned", str(figures["planned"]))
    for state, count in figures["outreach_by_state"].items():
        reached.add_row(f"  {state}", str(count))
    reached.add_row("came back afterwards", str(figures["came_back_after_outreach"]))
    reached.add_row("best hour learned to within an hour", f"{figures['best_hour_within_one']:.0%} of people")
    if figures["outreach_at_top3_hour"] is not None:
        at_top = f"{figures['outreach_at_top3_hour']:.0%} (12 % by chance)"
        reached.add_row("win-backs at one of the user's three favourite hours", at_top)
    why_not = Table(title="Why others were not (each time it was asked)", title_justify="left", expand=True)
    why_not.show_header = False
    for reason, count in sorted(figures["suppressed_by_reason"].items(), key=lambda pair: -pair[1]):
        why_not.add_row(in_words(reason), str(count))
    promises = Table(title="What must never happen", title_justify="left", expand=True, show_header=False)
    for key in PROMISES:
        style = "green" if figures[key] == 0 else "bold red"
        promises.add_row(key.replace("_", " "), Text(str(figures[key]), style))
    learnt, foretold = learned(population, records.patterns), predicted(figures)
    parts = [incoming, learnt, foretold, reached, why_not, promises, helped(figures)]
    told = story(population, ledger, records.outreach, days)
    console.print(Group(*parts, *([told] if told else [])))
