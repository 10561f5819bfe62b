"""Typed configuration: CDK writes it with `to_env()`, a function reads it back with `from_env()`.

One frozen dataclass per function. Fields are str, int or float only, because an environment holds text and
`bool("False")` is true: switches are the words "on" and "off". There are no defaults here; the operator's
defaults live in `infra.config`, so that what runs is always what the template says.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from engagement.errors import SettingsError

NOTHING = "none"
"""Stands for an empty list: an environment variable may not be empty."""
READERS: dict[object, Callable[[str], str | int | float]] = {str: str, int: int, float: float}


def listed(setting: str) -> tuple[str, ...]:
    """Read a list with commas between, or `NOTHING`."""
    return () if setting == NOTHING else tuple(name.strip() for name in setting.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every function needs.

    Attributes:
        table_name: the one DynamoDB table.
        bot_id: the number before the colon of the bot's token; public.
    """

    table_name: str
    bot_id: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read every field from the environment variable of its upper-case name.

        Raises:
            SettingsError: a variable is missing, empty or not of its type; it names them all at once.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        problems = []
        for field in fields(cls):
            variable = field.name.upper()
            text = source.get(variable, "").strip()
            if not text:
                problems.append(f"{variable} is not set")
                continue
            try:
                values[field.name] = READERS[field.type](text)
            except ValueError:
                problems.append(f"{variable} is not a valid {field.type}")
        if problems:
            raise SettingsError(f"{cls.__name__}: " + "; ".join(problems) + ". Deploy the stack again, or set them.")
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """Return the environment variables that `from_env` reads back to an equal object."""
        return {field.name.upper(): str(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(Settings):
    """The webhook's settings.

    Attributes:
        webhook_secret_parameter: name of the SSM parameter with the current secret token.
        webhook_previous_secret_parameter: name of the one that still passes while the secret is rotated.
        consent_policy: "ask" (nobody is written to before pressing Yes) or "assume" (they agreed elsewhere).
        store_text: "on" keeps the message text in the interaction, "off" keeps only what was measured of it.
        interaction_ttl_days: days an interaction is kept.
        flood_limit_per_minute: interactions of one user stored per minute and running copy; the rest are counted.
        virtual_clock: "on" lets the holder of the secret say when an update arrived (local AWS only).
        ai_message_enhancement: "off", or who rewords messages: /privacy asks for consent to that.
        callback_key_parameter: name of the SSM parameter with the key that our buttons are signed with.
        sensitive_basis: on what ground mood and private topics are kept: "consent" or "operator".
        outreach_types: those that are sent, with commas between; /settings shows them. "none" where none is.
        operator_chat_id: chat that messages are forwarded to which a person must look at; 0 is none.
        user_ttl_days: days that everything about a user is kept after they were last here.
        blocked_user_ttl_days: days that it is kept after they blocked the bot.
    """

    webhook_secret_parameter: str
    webhook_previous_secret_parameter: str
    consent_policy: str
    store_text: str
    interaction_ttl_days: int
    flood_limit_per_minute: int
    virtual_clock: str
    ai_message_enhancement: str
    callback_key_parameter: str
    sensitive_basis: str
    outreach_types: str
    operator_chat_id: int
    user_ttl_days: int
    blocked_user_ttl_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings(Settings):
    """What everybody needs who plans or sends outreach: the gate must ask all of them the same.

    Attributes:
        consent_policy: as for the webhook; nobody is planned for who could not be written to.
        max_outreaches_per_user_per_day: cap per user-local calendar day.
        min_hours_between_outreaches: elapsed hours between two messages to one user.
        quiet_hours: local hours without messages, "22-8", or "off".
        churn_threshold: churn probability [0, 1] over 14 days from which re-engagement is planned.
        checkin_threshold: churn probability [0, 1] over 14 days from which a check-in is planned.
        rollout: percent of users whom each type may reach; see `experiment.Shares`.
        daily_budget: messages a UTC day to all users together; 0 sets no limit.
        experiment: name of the running experiment; another one draws the control groups anew.
        control_percent: percent of users who are never written to, so that the effect can be measured.
        type_control: percent of the others who are held out of each type; see `experiment.Shares`.
        outreach_enabled: the kill switch: "off" plans and sends nothing.
        ai_message_enhancement: "off", "bedrock", "openai" or "anthropic": lets a language model rephrase templates.
        mood_support: "answered" where a person answers those who reply to support, or "off": then none is sent.
        features: what may be suggested, with commas between; "none" suggests nothing.
    """

    consent_policy: str
    max_outreaches_per_user_per_day: int
    min_hours_between_outreaches: float
    quiet_hours: str
    churn_threshold: float
    checkin_threshold: float
    rollout: str
    daily_budget: int
    experiment: str
    control_percent: float
    type_control: str
    outreach_enabled: str
    ai_message_enhancement: str
    mood_support: str
    features: str

    @property
    def named_features(self) -> tuple[str, ...]:
        """What the operator named that may be suggested."""
        return listed(self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternUpdaterSettings(PlannerSettings):
    """The pattern updater's settings: it plans celebrations and support from the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSettings(PlannerSettings):
    """The scorer's settings.

    Attributes:
        model_bucket: S3 bucket whose champion pointer, if any, replaces the bundled model.
        ml_prediction_enabled: "off" scores by rules alone.
        template_choice: "thompson" (from 1,000 sends on) or "fixed".
    """

    model_bucket: str
    ml_prediction_enabled: str
    template_choice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutreachSenderSettings(PlannerSettings):
    """The sender's settings.

    Attributes:
        model_bucket: S3 bucket whose champion pointer, if any, replaces the bundled model.
        ml_prediction_enabled: "off" scores by rules alone.
        bot_token_parameter: name of the SSM SecureString with the bot's token.
        callback_key_parameter: name of the one with the key that our buttons are signed with.
        helplines: whom to call on a hard day, by language; see `helplines.parse`.
        telegram_api_url: https://api.telegram.org, or a loopback address on the local AWS.
        sends_per_second: ceiling over all users; Telegram allows about 30.
        lease_seconds: how long a claim is held; must exceed the function's timeout.
        ai_model: name of the model; "default" takes the provider's.
        ai_daily_budget: calls of the language model a UTC day.
        ai_key_parameter: name of the SSM SecureString with the provider's key.
        ai_api_url: address of the provider, or "default".
    """

    model_bucket: str
    ml_prediction_enabled: str
    bot_token_parameter: str
    callback_key_parameter: str
    helplines: str
    telegram_api_url: str
    sends_per_second: int
    lease_seconds: int
    ai_model: str
    ai_daily_budget: int
    ai_key_parameter: str
    ai_api_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeeperSettings(Settings):
    """The housekeeper's settings.

    Attributes:
        bot_token_parameter: name of the SSM SecureString with the bot's token.
        telegram_api_url: https://api.telegram.org, or a loopback address on the local AWS.
        webhook_url: the address that Telegram should be posting updates to.
        model_bucket: S3 bucket whose champion pointer names the model that is watched.
        user_ttl_days: days that everything about a user is kept after they were last here.
        blocked_user_ttl_days: days that it is kept after they blocked the bot.
    """

    bot_token_parameter: str
    telegram_api_url: str
    webhook_url: str
    model_bucket: str
    user_ttl_days: int
    blocked_user_ttl_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings(Settings):
    """The trainer's settings.

    Attributes:
        model_bucket: S3 bucket where models are published and the champion pointers are.
        min_training_samples: fewest examples that a model is trained from.
    """

    model_bucket: str
    min_training_samples: int
