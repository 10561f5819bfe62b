"""Context keys become a typed config, or a sentence that says what to type."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from engagement.domain.outreach import OutreachType
from engagement.settings import PlannerSettings
from infra.config import ConfigError, DeploymentConfig, parameter_name


def test_only_the_bot_has_to_be_named() -> None:
    """The defaults are a careful operator's: ask for consent, keep no text, arm64."""
    config = DeploymentConfig.from_context({"bot_id": "123456"})

    assert config.bot_id == 123456
    assert (config.stage, config.architecture, config.consent_policy, config.store_text) == (
        "prod",
        "arm64",
        "ask",
        "off",
    )
    assert config.stack_name == "Rekindle"
    assert not config.disposable


def test_values_arrive_as_text_or_as_json_numbers() -> None:
    """`-c` gives text; cdk.json may give numbers."""
    typed = DeploymentConfig.from_context({"bot_id": 1, "churn_threshold": 0.7, "score_shards": 4})
    texts = DeploymentConfig.from_context({"bot_id": " 1 ", "churn_threshold": "0.7", "score_shards": "4"})

    assert typed == texts


def test_keys_of_the_cdk_itself_are_passed_over() -> None:
    """CDK puts its own flags into the same context."""
    context = {"bot_id": 1, "@aws-cdk/aws-iam:minimizePolicies": True, "aws:cdk:version-reporting": False}

    assert DeploymentConfig.from_context(context).bot_id == 1


def test_each_stage_is_a_stack_with_parameters_of_its_own() -> None:
    """Two stages in one account do not meet."""
    config = DeploymentConfig.from_context({"bot_id": 1, "stage": "test"})

    assert config.stack_name == "Rekindle-test"
    assert config.bot_token_parameter == "/rekindle/test/bot-token"
    assert config.webhook_secret_parameter == parameter_name("test", "webhook-secret")
    assert config.webhook_previous_secret_parameter == "/rekindle/test/webhook-secret-previous"


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ({"bot_id": ""}, r"`bot_id` is missing.*`-c bot_id=123456789`"),
        ({"bot_id": "abc"}, r"`bot_id` is 'abc'; it must be a whole number"),
        ({"bot_id": "0"}, r"`bot_id` is 0; it must be from 1"),
        ({"stge": "test"}, r"`stge` is not a context key.*did you mean `-c stage=test`"),
        ({"zebra": "red"}, r"`zebra` is not a context key.*the keys are: bot_id, stage"),
        ({"stage": "Prod!"}, r"`stage` is 'Prod!'.*`-c stage=test`"),
        ({"architecture": "arm"}, r"`architecture` is 'arm'; it can be arm64 or x86_64"),
        ({"alarm_email": "me"}, r"`alarm_email` is 'me'.*you@example.com"),
        ({"telegram_api_url": "http://telegram.example"}, r"`telegram_api_url`.*http only for 127.0.0.1"),
        ({"telegram_api_url": "api.telegram.org"}, r"`telegram_api_url`.*https://"),
        ({"virtual_clock": "on"}, r"`virtual_clock` is for the local AWS only"),
        ({"consent_policy": "never"}, r"`consent_policy` is 'never'; it can be ask or assume"),
        ({"store_text": "true"}, r"`store_text` is 'true'; it can be on or off"),
        ({"churn_threshold": "1.1"}, r"`churn_threshold` is 1.1; it must be from 0 to 1"),
        ({"churn_threshold": "nan"}, r"`churn_threshold` is nan"),
        ({"interaction_ttl_days": "0"}, r"`interaction_ttl_days` is 0; it must be from 1 to 3650"),
        ({"sends_per_second": "31"}, r"`sends_per_second` is 31; it must be from 1 to 30"),
        ({"score_shards": "17"}, r"`score_shards` is 17; it must be from 1 to 16"),
        ({"training_enabled": "weekly"}, r"`training_enabled` is 'weekly'; it can be on or off"),
        ({"min_training_samples": "0"}, r"`min_training_samples` is 0; it must be from 1 to 1000000"),
        ({"log_retention_days": "31"}, r"`log_retention_days` is 31; it can be 1, 3, 5, 7, 14, 30, 60 or 90"),
        ({"quiet_hours": "22:00-8:00"}, r"`quiet_hours` is '22:00-8:00'; type two hours of the day, or off"),
        ({"control_percent": "95"}, r"`control_percent` is 95.0; it must be from 0 to 90"),
        ({"type_control": "a lot"}, r"type_control is 'a lot'; write one percentage.*`-c type_control=100,"),
        ({"rollout": "100,spam=3"}, r"rollout is '100,spam=3'; write one percentage for all types"),
        ({"rollout": "100,re_engagement=101"}, r"rollout is '100,re_engagement=101'"),
        ({"experiment": "Spring 2027"}, r"`experiment` is 'Spring 2027'.*`-c experiment=spring`"),
        ({"experiment": "a#b"}, r"`experiment` is 'a#b'"),
        ({"daily_budget": "-1"}, r"`daily_budget` is -1; it must be from 0"),
        ({"template_choice": "ucb"}, r"`template_choice` is 'ucb'; it can be thompson or fixed"),
        ({"ai_message_enhancement": "on"}, r"`ai_message_enhancement` is 'on'; it can be off, bedrock, openai or ant"),
        ({"ai_message_enhancement": "bedrock", "ai_model": "us.amazon.nova"}, r"`ai_model` is 'us.amazon.*global\."),
        ({"ai_api_url": "http://llm.example"}, r"`ai_api_url`.*http only for 127.0.0.1"),
        ({"mood_support": "on"}, r"`mood_support` is 'on'; it can be off or answered"),
        ({"sensitive_basis": "contract"}, r"`sensitive_basis` is 'contract'; it can be consent or operator"),
        ({"helplines": "116 123"}, r"'116 123'; write language=text.*`-c helplines='en=Samaritans 116 123'`"),
        ({"helplines": "english=Samaritans"}, r"write language=text, parted by \|"),
        ({"helplines": "en=" + "1" * 301}, r"write language=text"),
        ({"helplines": ""}, r"or none"),
        ({"operator_chat_id": str(2**53)}, r"`operator_chat_id` is 9007199254740992; it must be from -45"),
        ({"mood_support": "answered"}, r"nobody would learn.*`-c operator_chat_id=1234567`.*`-c alarm_email="),
        ({"operator_chat_id": "@me"}, r"`operator_chat_id` is '@me'; it must be a whole number"),
        ({"features": ""}, r"`features` is ''; type names of up to 64 characters.*or none.*`-c features=habits,"),
        ({"features": "habits,,reminders"}, r"`features` is 'habits,,reminders'; type names"),
        ({"features": "habits," + "x" * 65}, r"`features` is .* type names of up to 64 characters"),
        ({"features": "hab\nits"}, r"`features` is 'hab\\nits'"),
        ({"user_ttl_days": "29"}, r"`user_ttl_days` is 29; it must be from 30 to 3650"),
        ({"user_ttl_days": "forever"}, r"`user_ttl_days` is 'forever'; it must be a whole number"),
        ({"user_ttl_days": "4000"}, r"`user_ttl_days` is 4000; it must be from 30 to 3650"),
        ({"blocked_user_ttl_days": "0"}, r"`blocked_user_ttl_days` is 0; it must be from 1 to 3650"),
        ({"blocked_user_ttl_days": "3651"}, r"`blocked_user_ttl_days` is 3651; it must be from 1 to 3650"),
        ({"schedule_timezone": "Mars/Base"}, r"`schedule_timezone` is 'Mars/Base'.*Europe/Berlin"),
        ({"schedule_timezone": "../../etc/passwd"}, r"`schedule_timezone`"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_to_type(context: dict[str, Any], says: str) -> None:
    """The message names the key; nothing is guessed."""
    with pytest.raises(ConfigError, match=says):
        DeploymentConfig.from_context({"bot_id": 1} | context)


def test_one_in_ten_is_never_written_to_and_no_language_model_is_asked_unless_the_operator_says_so() -> None:
    """Causal by default; a model that sees first names is a decision."""
    config = DeploymentConfig.from_context({"bot_id": 1})

    assert (config.control_percent, config.ai_message_enhancement) == (10.0, "off")
    assert config.ai_key_parameter == "/rekindle/prod/ai-key"


def test_what_touches_people_is_careful_unless_the_operator_says_otherwise() -> None:
    """R101-R103: nobody is comforted whom nobody answers, nothing sensitive is kept unasked, and all has an end."""
    config = DeploymentConfig.from_context({"bot_id": 1})

    assert (config.mood_support, config.helplines, config.operator_chat_id) == ("off", "none", 0)
    assert (config.features, config.sensitive_basis) == ("none", "consent")
    assert (config.user_ttl_days, config.blocked_user_ttl_days) == (400, 60)
    assert config.callback_key_parameter == "/rekindle/prod/callback-key"


ALWAYS = (
    "milestone_celebration",
    "re_engagement",
    "personalized_checkin",
    "topic_follow_up",
    "achievement_unlock",
)


@pytest.mark.parametrize(
    ("context", "types"),
    [
        ({}, ALWAYS),
        ({"mood_support": "answered", "operator_chat_id": "-1001234"}, (*ALWAYS, "mood_support")),
        ({"features": "habits,/reminders"}, (*ALWAYS, "feature_suggestion")),
        (
            {"mood_support": "answered", "alarm_email": "a@example.com", "features": "habits", "rollout": "5"},
            tuple(OutreachType),
        ),
        ({"mood_support": "answered", "operator_chat_id": "7", "rollout": "100,mood_support=0"}, ALWAYS),
        ({"rollout": "100,mood_support=50"}, ALWAYS),
        ({"rollout": "0,re_engagement=20"}, ("re_engagement",)),
        ({"features": "habits", "rollout": "100,feature_suggestion=0"}, ALWAYS),
    ],
)
def test_the_types_that_are_sent_are_those_that_can_be(context: dict[str, Any], types: tuple[str, ...]) -> None:
    """R98, R103: /settings shows no type that nobody gets."""
    config = DeploymentConfig.from_context({"bot_id": 1} | context)
    assert set(config.outreach_types.split(",")) == set(types)


def test_no_types_at_all_are_said_so() -> None:
    """An environment variable may not be empty."""
    assert DeploymentConfig.from_context({"bot_id": 1, "rollout": "0"}).outreach_types == "none"


def test_everybody_who_plans_is_given_the_same_limits() -> None:
    """The gate must answer the scorer, the stream and the sender alike."""
    config = DeploymentConfig.from_context({"bot_id": 1, "quiet_hours": "23-7", "rollout": "100,mood_support=0"})
    settings = PlannerSettings(table_name="t", bot_id=1, **config.planning)

    assert (settings.quiet_hours, settings.rollout) == ("23-7", "100,mood_support=0")
    assert config.planning.keys() == {f.name for f in fields(PlannerSettings)} - {"table_name", "bot_id"}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081", "http://localhost:1", "http://[::1]:80", "https://bots.example"]
)
def test_plain_http_is_for_this_machine(url: str) -> None:
    """A token travels in the address: it never leaves the machine unencrypted."""
    assert DeploymentConfig.from_context({"bot_id": 1, "telegram_api_url": url}).telegram_api_url == url


def test_the_config_needs_no_cdk() -> None:
    """The command line and the local suite read it without a Node process."""
    source = Path(__file__).parents[2] / "infra" / "config.py"

    assert "aws_cdk" not in source.read_text()
