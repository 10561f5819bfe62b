"""`rekindle report`: what was sent, what came back and what it changed, on one page for a stranger."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engagement.domain.confidence import Interval
from engagement.domain.lift import HARMS, Effect, Lift, Measure, Verdict
from engagement.services.analytics import Analytics
from infra.cli.target import Target

WORDS = {
    Measure.RETURNED_7D: "came back in 7 days",
    Measure.RETURNED_24H: "came back in 24 h",
    Measure.MOOD: "mood if they wrote",
    Measure.BLOCKED: "blocked the bot",
    Measure.OPTED_OUT: "stopped messages",
}
STYLES = {Verdict.HELPS: "bold green", Verdict.HARMS: "bold red", Verdict.UNKNOWN: "dim"}
WORTH_SEEING = 0.05
"""The effect whose price in users is told, and the harm from which "none shown" would be too much said: five points."""
BAR = 13
"""Columns of an interval's picture; odd, so that nought has one in the middle."""
SHOWN_TEMPLATES = 8


def show_report(target: Target, days: int, now: datetime, out: Console) -> None:
    """Print how a deployment's outreach did.

    Args:
        target: the deployment; the experiment its settings name is reported.
        days: UTC days whose planned outreach is counted, today included; 1 or more.
        now: aware.
        out: where to.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    from engagement.store.statistics import Statistics

    settings = target.settings("scorer")
    target.bind_table()
    experiment = settings["EXPERIMENT"]
    analytics = Analytics(bot_id=int(settings["BOT_ID"]), statistics=Statistics(), experiment=experiment)
    out.print(rendered(analytics.get_outreach_analytics(days, now=now), analytics.lift(), experiment, now))


def rendered(figures: Mapping[str, Any], lifts: Sequence[Lift], experiment: str, now: datetime) -> RenderableType:
    """Return the page.

    Args:
        figures: of `Analytics.get_outreach_analytics`.
        lifts: of `Analytics.lift`.
        experiment: its name.
        now: aware.
    """
    until = now.astimezone(UTC).date()
    parts: list[RenderableType] = [
        Text(f"Outreach planned in the {figures['period_days']} days up to {until}", "bold"),
        Padding(_performance(figures), (0, 2)),
    ]
    if figures["template_performance"]:
        parts += [Text("\nTexts, the most sent first", "bold"), Padding(_templates(figures), (0, 2))]
    parts.append(Text(f'\nWhat it changes (experiment "{experiment}", since it began)', "bold"))
    if not lifts:
        nothing = "Nothing is known yet: outcomes count 8 days after a message was sent, or held out."
        parts.append(Padding(Text(nothing), (0, 2)))
    parts += [Padding(lift_panel(lift), (0, 2)) for lift in lifts[:1]]
    if lifts[1:]:
        parts += [Text("\nBy type", "bold"), Padding(_by_type(lifts[1:]), (0, 2))]
    return Group(*parts)


def lift_panel(lift: Lift) -> RenderableType:
    """Return what one group's messages change: in a sentence each, in figures and as a picture."""
    shares = [effect for effect in lift.effects if effect.measure is not Measure.MOOD]
    reach = max((_reach(effect.interval) for effect in shares), default=1.0) or 1.0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "written to", "held out", "change", "interval"):
        table.add_column(column, justify="left" if column in ("", "interval") else "right", no_wrap=True)
    table.add_column(Text(_scale(reach)), no_wrap=True)
    table.add_column("", no_wrap=True)
    for effect in lift.effects:
        verdict = lift.verdict(effect.measure)
        is_share = effect.measure is not Measure.MOOD
        table.add_row(
            WORDS[effect.measure],
            _level(effect.treated, effect),
            _level(effect.held_out, effect),
            _change(effect.lift, effect),
            _range(effect),
            Text(_bar(effect, reach) if is_share else "", STYLES[verdict]),
            Text(verdict.value, STYLES[verdict]),
        )
    return Group(*(Text(line, style) for line, style in _sentences(lift)), Text(), table, Text(), *_notes(lift))


def _sentences(lift: Lift) -> Iterable[tuple[str, str]]:
    """Yield what may be said of benefit and harm, each with its style."""
    if lift.balance.broken:
        yield "The arms are not split as they were drawn: believe no effect.", STYLES[Verdict.HARMS]
        return
    effect, verdict = lift.effect(Measure.RETURNED_7D), lift.verdict(Measure.RETURNED_7D)
    if verdict is Verdict.UNKNOWN or effect.interval is None:
        yield "Not known yet whether messages bring anybody back.", "bold"
    else:
        ends = sorted(abs(limit) * 100 for limit in effect.interval)
        more = "more" if verdict is Verdict.HELPS else "fewer"
        yield (
            f"Of 100 users written to, {abs(effect.lift or 0) * 100:.1f} {more} come back within 7 days "
            f"({ends[0]:.1f} to {ends[1]:.1f}){_relative(effect)}.",
            STYLES[verdict],
        )
    for measure in Measure:
        if measure in HARMS:
            yield _harm(lift.effect(measure))


def _harm(effect: Effect) -> tuple[str, str]:
    words, interval = WORDS[effect.measure], effect.interval or Interval(-1, 1)
    if effect.verdict is Verdict.HARMS:
        found = f"{(effect.lift or 0) * 100:.1f} more {words} ({interval.low * 100:.1f} to {interval.high * 100:.1f})"
        return f"Harm: of 100 users written to, {found}.", STYLES[Verdict.HARMS]
    at_most = f"of 100 users written to, at most {interval.high * 100:.1f} more {words}"
    if interval.high > WORTH_SEEING:
        return f"Not known yet whether it harms: {at_most}.", "bold"
    return f"No harm shown: {at_most}.", ""


def _relative(effect: Effect) -> str:
    interval = effect.relative_interval
    if effect.relative is None or interval is None:
        return ""
    upper = f"{interval.high:+.0%}" if isfinite(interval.high) else "no limit"
    return f", {effect.relative:+.0%} ({interval.low:+.0%} to {upper})"


def _notes(lift: Lift) -> Iterable[Text]:
    needed = lift.effect(Measure.RETURNED_7D).users_to_see(WORTH_SEEING)
    yield Text(f"{lift.words[0].upper()}{lift.words[1:]}.")
    if needed:
        yield Text(f"To see an effect of {WORTH_SEEING * 100:.0f} points takes {needed:,} users.")
    yield Text(f"{lift.balance.words}.", STYLES[Verdict.HARMS] if lift.balance.broken else "")
    for note in (
        "Change in points (mood: -1 to 1), with the interval that holds the truth in 95 of 100",
        "experiments, however often one looks. Moods are of those who wrote, which messages may change.",
    ):
        yield Text(note, "dim")


def _performance(figures: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for column in ("planned", "sent", "held out", "answered", "", "not now", "stopped"):
        table.add_column(column, justify="right")
    rows = {**figures["by_outreach_type"], "all": figures["overall_metrics"]}
    for kind, row in rows.items():
        table.add_row(
            kind.replace("_", " "),
            f"{row['total_outreaches']:,}",
            f"{row['successful_sends']:,}",
            f"{row['held_out']:,}",
            f"{row['total_responses']:,}",
            f"{row['response_rate']:.1f}%" if row["successful_sends"] else "",
            f"{row['not_now']:,}",
            f"{row['stopped'] + row['left']:,}",
            style="bold" if kind == "all" else "",
        )
    return table


def _templates(figures: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("text", "sent", "answered", "", "95% interval", "not now", "stopped"):
        table.add_column(column if column != "text" else "", justify="left" if column == "text" else "right")
    for name, row in list(figures["template_performance"].items())[:SHOWN_TEMPLATES]:
        low, high = row["interval"]
        rate = f"{row['response_rate']:.1f}%"
        pressed = (f"{row['not_now']:,}", f"{row['stopped'] + row['left']:,}")
        answered = (f"{row['responses']:,}", rate, f"{low:.1f} to {high:.1f}%")
        table.add_row(Text(name), f"{row['sends']:,}", *answered, *pressed)
    hidden = len(figures["template_performance"]) - SHOWN_TEMPLATES
    if hidden > 0:
        table.add_row(f"and {hidden} more", style="dim")
    return table


def _by_type(lifts: Sequence[Lift]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("", "users", "held out", "came back in 7 days", "", "blocked the bot"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for lift in lifts:
        back, blocked = lift.effect(Measure.RETURNED_7D), lift.effect(Measure.BLOCKED)
        verdict, harm = lift.verdict(Measure.RETURNED_7D), lift.verdict(Measure.BLOCKED)
        table.add_row(
            lift.group.replace("_", " "),
            f"{lift.balance.treated + lift.balance.held_out:,}",
            f"{lift.balance.held_out:,}",
            f"{_change(back.lift, back)} ({_range(back)})",
            Text("broken split" if lift.balance.broken else verdict.value, STYLES[verdict]),
            Text(f"{_change(blocked.lift, blocked)} ({_range(blocked)})", STYLES[harm]),
        )
    return table


def _level(value: float | None, effect: Effect) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if effect.measure is Measure.MOOD else f"{value:.1%}"


def _change(value: float | None, effect: Effect) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if effect.measure is Measure.MOOD else f"{value * 100:+.1f}"


def _range(effect: Effect) -> str:
    if effect.interval is None:
        return "too few yet"
    return " to ".join(_change(limit, effect) for limit in effect.interval)


def _reach(interval: Interval | None) -> float:
    return max(abs(limit) for limit in interval) if interval else 0.0


def _scale(reach: float) -> str:
    """Label the ends and the middle of the pictures."""
    end = f"{reach * 100:.0f}"
    return f"-{end}".ljust(BAR // 2) + "0" + f"+{end}".rjust(BAR // 2)


def _bar(effect: Effect, reach: float) -> str:
    """Draw an interval around nought, from -reach to reach."""
    if effect.interval is None:
        return ""

    def column(value: float) -> int:
        return round((value / reach + 1) / 2 * (BAR - 1))

    low, high = (column(limit) for limit in effect.interval)
    cells = ["━" if low <= place <= high else " " for place in range(BAR)]
    cells[BAR // 2] = "┿" if effect.interval.low <= 0 <= effect.interval.high else "│"
    if effect.lift is not None:
        cells[column(effect.lift)] = "●"
    return "".join(cells)
