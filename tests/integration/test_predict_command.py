"""`rekindle users predict`: a card for the operator, of the deployment's own models and people."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from engagement.domain.outreach import OutreachType
from engagement.services.analyzer import EngagementAnalyzer
from engagement.settings import ScorerSettings
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from infra.cli import main as cli
from infra.cli.target import Target
from infra.config import DeploymentConfig
from infra.local import suite as local_suite
from tests.builders import interaction

BOT = 123456
Predict = Callable[..., Result]


@pytest.fixture
def settings(aws: dict[str, str]) -> dict[str, str]:
    """What the deployed scorer finds in its environment."""
    bucket = f"models-{aws['AWS_ACCESS_KEY_ID']}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return ScorerSettings(
        table_name="rekindle",
        bot_id=BOT,
        model_bucket=bucket,
        ml_prediction_enabled="on",
        template_choice="thompson",
        **DeploymentConfig(bot_id=BOT).planning,
    ).to_env()


@pytest.fixture
def predict(table: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Run the command on a deployment with this table."""
    deployment = Target(outputs={"TableName": table}, client=boto3.client, variables={})
    monkeypatch.setattr(Target, "of", lambda _: deployment)
    monkeypatch.setattr(Target, "settings", lambda _self, _function: settings)
    monkeypatch.setattr(cli.out, "width", 160)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli.main, ["users", "predict", *words])

    return run


def talked(user_id: int, first_name: str, *days_ago: int, **changes: Any) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    EngagementAnalyzer(Patterns(), Scores(), Profiles()).update_user_behavior_patterns(
        interaction(
            day, now - timedelta(days=day, minutes=1), bot_id=BOT, user_id=user_id, first_name=first_name, **changes
        )
        for day in days_ago
    )


def test_the_card_shows_risk_with_its_reasons_mood_hours_and_actions(predict: Predict) -> None:
    talked(7, "Ada [bold]", *range(70, 110, 2))

    result = predict("7")

    assert result.exit_code == 0, result.output
    card = result.output
    for shown in (
        "7 Ada [bold]",
        "silent for 70 days, usually every 2 days",
        "Stays away (churn-",
        "14 days",
        "active on 10 of the last 90 days",
        "Mood (",
        "0% from their own messages",
        "Hours of the day, UTC (",
        "of their sessions",
        "Next best action",
        *OutreachType,
    ):
        assert shown in card
    actions = card.partition("Next best action")[2]
    assert actions.split()[0] == "re_engagement"


def test_where_models_are_switched_off_the_card_says_that_rules_answered(
    predict: Predict, settings: dict[str, str]
) -> None:
    settings["ML_PREDICTION_ENABLED"] = "off"
    talked(7, "", *range(5))

    card = predict("7").output

    assert card.count("(rules") == 3


def test_somebody_without_history_is_shown_as_a_typical_user(predict: Predict) -> None:
    Profiles().opt_out(BOT, 7, datetime.now(UTC))

    card = predict("7").output

    assert "no interaction counted yet" in card
    assert "confidence 50%" in card
    assert "against a typical user" not in card


def test_a_stranger_is_one_line_and_a_non_zero_exit(predict: Predict) -> None:
    result = predict("9")

    assert result.exit_code == 1
    assert result.output == "Error: no user 9 is known to bot 123456\n"


@pytest.mark.parametrize("user_id", ["0", "-3", "Ada"])
def test_what_is_no_user_id_is_refused(predict: Predict, user_id: str) -> None:
    assert predict(user_id).exit_code == 2


def test_without_a_running_suite_it_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_suite, "STATE_FILE", tmp_path / "local.json")
    monkeypatch.delenv("REKINDLE_STAGE", raising=False)

    result = CliRunner().invoke(cli.main, ["users", "predict", "7"])

    assert result.exit_code == 1
    assert "rekindle local up" in result.output
