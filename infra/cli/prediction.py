"""`rekindle users predict`: what is expected of one user and why, as a card for the operator."""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from math import exp
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engagement.domain.actions import Action
from engagement.domain.explanation import silence_words
from engagement.domain.gate import quiet_of
from engagement.domain.pattern import last_seen
from engagement.domain.planning import Thresholds
from engagement.services.predictor import BehavioralPredictor, ChurnPrediction, MoodPrediction, TimingPrediction
from engagement.settings import listed
from infra.cli.target import Target
from infra.local.emulator import ROOT

BARS = "▁▂▃▄▅▆▇█"
INDENT = "  "


def show_prediction(target: Target, user_id: int, now: datetime, out: Console) -> None:
    """Print what the deployment's models say of a user.

    Args:
        target: the deployment; its settings and champions are used.
        user_id: Telegram's id of the user.
        now: aware UTC.
        out: where to.

    Raises:
        UnknownUserError: the user never wrote to the bot.
        BadPatternError: the stored pattern cannot be read.
        StoreUnavailableError: DynamoDB is in trouble.
    """
    from engagement.store.patterns import Patterns
    from engagement.store.profiles import Profiles

    settings = target.settings("scorer")
    target.bind_table()
    bot_id = int(settings["BOT_ID"])
    predictor = predictor_of(bot_id, settings)
    churn = predictor.predict_churn_risk(user_id, now=now)
    profile, stored = Profiles().get(bot_id, user_id), Patterns().load(bot_id, user_id)
    name = f" {profile.first_name}" if profile and profile.first_name else ""
    _line(out, f"{user_id}{name}")
    if stored and (seen_at := last_seen(stored.pattern)):
        _line(out, f"{INDENT}last seen {seen_at:%Y-%m-%d %H:%M} UTC; {silence_words(stored.pattern, now)}")
    else:
        _line(out, f"{INDENT}no interaction counted yet: what follows is a typical user")
    _show_churn(churn, out)
    _show_mood(predictor.predict_mood_trend(user_id, now=now), out)
    _show_timing(predictor.predict_optimal_timing(user_id, now=now), out)
    _show_actions(predictor.recommend_next_action(user_id, now=now), out)


def predictor_of(bot_id: int, settings: dict[str, str]) -> BehavioralPredictor:
    """Wire the predictor as a deployment is set, with its champions.

    Args:
        bot_id: whose users.
        settings: of the scorer, as its environment has them.
    """
    from engagement.clients.serving import serving_models
    from engagement.services.population import population_at
    from engagement.store.censuses import Censuses
    from engagement.store.patterns import Patterns
    from engagement.store.profiles import Profiles

    models = None
    if settings["ML_PREDICTION_ENABLED"] == "on":
        # A model is read whole: its files are not needed any more once it is loaded.
        with tempfile.TemporaryDirectory() as cache:
            models = serving_models(settings["MODEL_BUCKET"], ROOT / "models", Path(cache))
    return BehavioralPredictor(
        bot_id=bot_id,
        patterns=Patterns(),
        profiles=Profiles(),
        population=lambda now: population_at(Censuses(), bot_id, now),
        models=models,
        quiet=quiet_of(settings["QUIET_HOURS"]),
        thresholds=Thresholds(
            re_engagement=float(settings["CHURN_THRESHOLD"]),
            checkin=float(settings["CHECKIN_THRESHOLD"]),
            features=listed(settings["FEATURES"]),
        ),
    )


def _show_churn(churn: ChurnPrediction, out: Console) -> None:
    _line(out, f"\nStays away ({churn.scored_by}; confidence {churn.confidence:.0%})")
    by_horizon = churn.by_horizon
    for days, risk in ((7, by_horizon.churn_7d), (14, by_horizon.churn_14d), (30, by_horizon.churn_30d)):
        _line(out, f"{INDENT}{days:>2} days  {risk:>4.0%}  {'█' * round(20 * risk)}")
    if churn.contributing_factors:
        _line(out, f"{INDENT}Odds of staying away for 14 days, against a typical user:")
    for factor in churn.contributing_factors:
        _line(out, f"{INDENT}×{exp(factor.effect):<6.2f} {factor.words}")


def _show_mood(mood: MoodPrediction, out: Console) -> None:
    low, high = mood.interval
    _line(out, f"\nMood ({mood.scored_by}), from -1 to 1")
    _line(
        out,
        f"{INDENT}{mood.level:+.2f} now; {mood.forecast:+.2f} ({low:+.2f} to {high:+.2f}) in {mood.days_ahead} days; "
        f"{mood.direction}; {mood.confidence:.0%} from their own messages",
    )


def _show_timing(timing: TimingPrediction, out: Console) -> None:
    _line(out, f"\nHours of the day, UTC ({timing.scored_by})")
    highest = max(timing.hours)
    bars = (BARS[min(int(share / highest * len(BARS)), len(BARS) - 1)] for share in timing.hours)
    _line(out, f"{INDENT}{''.join(bar * 2 for bar in bars)}")
    _line(out, f"{INDENT}{''.join(f'{hour:<6}' for hour in range(0, 24, 3))}")
    best = ", ".join(f"{hour:02}-{(hour + 1) % 24:02}" for hour in timing.top_hours)
    _line(out, f"{INDENT}best {best}: {timing.confidence:.0%} of their sessions; next {timing.best_at:%Y-%m-%d %H:%M}")


def _show_actions(actions: Sequence[Action], out: Console) -> None:
    _line(out, "\nNext best action")
    table = Table.grid(padding=(0, 2))
    for action in actions:
        table.add_row("", action.outreach_type.value, f"{action.score:.2f}" if action.score else "-", action.words)
    out.print(table)


def _line(out: Console, text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)
