"""What an operator may choose: CDK context (`-c key=value`, or "context" in cdk.json) -> one typed object.

The only place with defaults. It imports no CDK, so that the command line and the local suite read the same values.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlparse
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engagement.domain import helplines
from engagement.domain.enhancement import DEFAULT, DEFAULT_MODELS
from engagement.domain.experiment import Shares
from engagement.domain.gate import EXPERIMENT_NAME, SUPPORT_ANSWERED, quiet_of, rollout_of
from engagement.domain.outreach import OutreachType
from engagement.domain.templates import NAME_LIMIT
from engagement.errors import SettingsError
from engagement.settings import NOTHING, PlannerSettings, Settings

PRODUCTION_STAGE = "prod"
LOCAL_STAGE = "local"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

WEBHOOK_PATH = "/telegram"
WEBHOOK_MAX_CONNECTIONS = 10
"""What `setWebhook` asks Telegram to keep to; the webhook reserves at least as many running copies.

Small on purpose: at 0.1 s per delivery ten connections carry 8 million updates a day, and a reservation is taken from
what every other function of the account may use.
"""

SWITCHES = (
    "virtual_clock",
    "store_text",
    "outreach_enabled",
    "ml_prediction_enabled",
    "training_enabled",
    "reserve_concurrency",
)

REGIONAL_PROFILES = ("us.", "us-gov.", "ca.", "eu.", "apac.", "jp.", "au.")
"""Begin the names of Bedrock's profiles that run a model somewhere in a part of the world."""

LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90)
"""Those of CloudWatch's periods that suit logs without personal data."""


class ConfigError(ValueError):
    """A context key that cannot be used; the message names it and says what to type."""


def parameter_name(stage: str, name: str) -> str:
    """Return the name of an SSM parameter that the operator creates: `bot-token`, `webhook-secret`, ..."""
    return f"/rekindle/{stage}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """Every choice of a deployment; a field's name is its context key.

    Attributes:
        bot_id: the number before the colon of the bot's token; public.
        stage: "prod" keeps data when the stack is deleted, "local" does not; one stack per stage.
        architecture: "arm64" or "x86_64".
        alarm_email: who is told when something breaks; "" creates the topic without a subscription.
        telegram_api_url: where the Bot API is; plain http only on this machine.
        virtual_clock: "on" lets the holder of the secret say when an update arrived; stage "local" only.
        consent_policy: "ask" (nobody is written to before pressing Yes) or "assume" (they agreed elsewhere).
        store_text: "on" keeps the text of messages, on the ground that `sensitive_basis` names.
        interaction_ttl_days: days an interaction is kept.
        flood_limit_per_minute: interactions of one user stored per minute and running copy.
        churn_threshold: churn probability [0, 1] over 14 days from which re-engagement is planned.
        checkin_threshold: churn probability [0, 1] over 14 days from which a check-in is planned.
        max_outreaches_per_user_per_day: cap per user-local calendar day.
        min_hours_between_outreaches: elapsed hours between two messages to one user.
        quiet_hours: hours of the user's day without messages, like "22-8"; or "off".
        rollout: percent of users whom each type may reach, like "100,re_engagement=20"; 0 turns a type off.
        daily_budget: messages a UTC day to all users together; 0 sets no limit.
        experiment: name of the running experiment; another one draws the control groups anew and measures from there.
        control_percent: percent of users who are never written to, so that the effect can be measured.
        type_control: percent of the others who are held out of each type, like "10,mood_support=0".
        template_choice: "thompson" (learns from 1,000 sends on which text works) or "fixed" (an even split).
        sends_per_second: ceiling over all users; Telegram allows about 30.
        outreach_enabled: the kill switch: "off" plans and sends nothing.
        ai_message_enhancement: "off", "bedrock", "openai" or "anthropic": lets a language model rephrase templates.
        ai_model: name of the provider's model; "default" takes a small one.
        ai_daily_budget: calls of the language model a UTC day.
        ai_api_url: address of the provider, or "default"; plain http only on this machine.
        ml_prediction_enabled: "off" scores by rules alone.
        score_shards: how many scorers share the users, [1, 16].
        training_enabled: "off" trains only when asked to: `rekindle models train`.
        min_training_samples: fewest examples that a model is trained from.
        schedule_timezone: IANA zone of the schedules.
        mood_support: "off", or "answered" once a person answers those who reply to a message of support.
        helplines: whom to call on a hard day, like "en=Samaritans 116 123|de=Telefonseelsorge 0800 1110111"; or "none".
        operator_chat_id: chat or group of your bot that messages are forwarded to which a person must look at; 0: none.
        features: what feature_suggestion may suggest, like "habits,/reminders"; "none" suggests nothing.
        sensitive_basis: "consent" keeps mood and private topics of those only who let the bot write to them;
            "operator" of everybody: you have another legal basis.
        user_ttl_days: days that everything about a user is kept after they were last here.
        blocked_user_ttl_days: days that it is kept after they blocked the bot or deleted their account.
        log_retention_days: one of `LOG_RETENTION_DAYS`.
        reserve_concurrency: "off" for an account whose Lambda limit is too small to reserve from (new ones have 10).
    """

    bot_id: int
    stage: str = PRODUCTION_STAGE
    architecture: str = "arm64"
    alarm_email: str = ""
    telegram_api_url: str = "https://api.telegram.org"
    virtual_clock: str = "off"
    consent_policy: str = "ask"
    store_text: str = "off"
    interaction_ttl_days: int = 365
    flood_limit_per_minute: int = 60
    churn_threshold: float = 0.8
    checkin_threshold: float = 0.6
    max_outreaches_per_user_per_day: int = 1
    min_hours_between_outreaches: float = 12.0
    quiet_hours: str = "22-8"
    rollout: str = "100"
    daily_budget: int = 0
    experiment: str = "first"
    control_percent: float = 10.0
    type_control: str = "10"
    template_choice: str = "thompson"
    sends_per_second: int = 25
    outreach_enabled: str = "on"
    ai_message_enhancement: str = "off"
    ai_model: str = "default"
    ai_daily_budget: int = 200
    ai_api_url: str = "default"
    ml_prediction_enabled: str = "on"
    score_shards: int = 1
    training_enabled: str = "on"
    min_training_samples: int = 500
    schedule_timezone: str = "UTC"
    mood_support: str = "off"
    helplines: str = NOTHING
    operator_chat_id: int = 0
    features: str = NOTHING
    sensitive_basis: str = "consent"
    user_ttl_days: int = 400
    blocked_user_ttl_days: int = 60
    log_retention_days: int = 30
    reserve_concurrency: str = "on"

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Read CDK context; CDK's own keys (they hold ":" or "/") are passed over.

        Raises:
            ConfigError: a key is missing, unknown or has a value it cannot have.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        chosen = {key: value for key, value in context.items() if not _is_cdk_key(key)}
        for key in chosen.keys() - known.keys():
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `-c {close[0]}={chosen[key]}`?" if close else f"the keys are: {', '.join(known)}"
            raise ConfigError(f"`{key}` is not a context key of Rekindle; {hint}")
        if not str(chosen.get("bot_id", "")).strip():
            raise ConfigError(
                "`bot_id` is missing; it is the number before the colon of the bot's token: add `-c bot_id=123456789`"
            )
        values = {key: _read(key, str(value).strip(), known[key].type) for key, value in chosen.items()}
        config = cls(**values)
        config._check()
        return config

    @property
    def stack_name(self) -> str:
        """Name of the CloudFormation stack."""
        return "Rekindle" if self.stage == PRODUCTION_STAGE else f"Rekindle-{self.stage}"

    @property
    def disposable(self) -> bool:
        """Whether deleting the stack deletes the data."""
        return self.stage == LOCAL_STAGE

    @property
    def bot_token_parameter(self) -> str:
        """Name of the parameter with the bot's token."""
        return parameter_name(self.stage, "bot-token")

    @property
    def planning(self) -> dict[str, Any]:
        """Everything of `PlannerSettings` that the operator chooses, by its name."""
        chosen = {field.name for field in dataclasses.fields(PlannerSettings)}
        return {name: getattr(self, name) for name in chosen - {field.name for field in dataclasses.fields(Settings)}}

    @property
    def outreach_types(self) -> str:
        """The types that are sent, with commas between, or `NOTHING`."""
        rollout = rollout_of(self.rollout, self.mood_support)
        sent = [kind.value for kind in OutreachType if rollout.of(kind) > 0]
        if self.features == NOTHING and OutreachType.FEATURE_SUGGESTION in sent:
            sent.remove(OutreachType.FEATURE_SUGGESTION.value)
        return ",".join(sent) or NOTHING

    @property
    def bedrock_model(self) -> str:
        """Name of the model or global profile that Bedrock is asked for."""
        return DEFAULT_MODELS["bedrock"] if self.ai_model == DEFAULT else self.ai_model

    @property
    def ai_key_parameter(self) -> str:
        """Name of the parameter with the key of the language model's provider; Bedrock needs none."""
        return parameter_name(self.stage, "ai-key")

    @property
    def webhook_secret_parameter(self) -> str:
        """Name of the parameter with the webhook's secret token."""
        return parameter_name(self.stage, "webhook-secret")

    @property
    def callback_key_parameter(self) -> str:
        """Name of the parameter with the key that our buttons are signed with; it is created once and never rotated."""
        return parameter_name(self.stage, "callback-key")

    @property
    def webhook_previous_secret_parameter(self) -> str:
        """Name of the parameter with the secret that still passes while it is rotated; it may be absent."""
        return parameter_name(self.stage, "webhook-secret-previous")

    def _check(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_names()
        self._check_rules()
        self._check_address("telegram_api_url")
        if self.ai_api_url != DEFAULT:
            self._check_address("ai_api_url")

    def _check_choices(self) -> None:
        for key in SWITCHES:
            self._check_one_of(key, ("on", "off"))
        self._check_one_of("architecture", ("arm64", "x86_64"))
        self._check_one_of("consent_policy", ("ask", "assume"))
        self._check_one_of("log_retention_days", LOG_RETENTION_DAYS)
        self._check_one_of("template_choice", ("thompson", "fixed"))
        self._check_one_of("mood_support", ("off", SUPPORT_ANSWERED))
        self._check_one_of("sensitive_basis", ("consent", "operator"))
        self._check_one_of("ai_message_enhancement", ("off", "bedrock", "openai", "anthropic"))

    def _check_numbers(self) -> None:
        for key, low, high in (
            ("bot_id", 1, 2**52 - 1),
            ("interaction_ttl_days", 1, 3650),
            ("flood_limit_per_minute", 1, 10_000),
            ("churn_threshold", 0, 1),
            ("checkin_threshold", 0, 1),
            ("max_outreaches_per_user_per_day", 1, 10),
            ("min_hours_between_outreaches", 0, 24 * 30),
            ("daily_budget", 0, 10_000_000),
            ("control_percent", 0, 90),
            ("ai_daily_budget", 0, 1_000_000),
            ("sends_per_second", 1, 30),
            ("score_shards", 1, 16),
            ("min_training_samples", 1, 1_000_000),
            ("operator_chat_id", -(2**52), 2**52),
            ("user_ttl_days", 30, 3650),
            ("blocked_user_ttl_days", 1, 3650),
        ):
            if not low <= getattr(self, key) <= high:
                raise ConfigError(f"`{key}` is {getattr(self, key)}; it must be from {low} to {high}")

    def _check_names(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.stage):
            raise ConfigError(
                f"`stage` is {self.stage!r}; use up to 20 lower-case letters, digits and -: `-c stage=test`"
            )
        if self.mood_support == SUPPORT_ANSWERED and not (self.operator_chat_id or self.alarm_email):
            raise ConfigError(
                "`mood_support` is answered, but nobody would learn of an answer; name the chat that they are "
                "forwarded to, `-c operator_chat_id=1234567`, or who is mailed, `-c alarm_email=you@example.com`"
            )
        if self.virtual_clock == "on" and not self.disposable:
            raise ConfigError("`virtual_clock` is for the local AWS only; leave it out, or add `-c stage=local`")
        if self.alarm_email and not re.fullmatch(r"[^@\s]+@[^@\s]+", self.alarm_email):
            raise ConfigError(
                f"`alarm_email` is {self.alarm_email!r}; type an address: `-c alarm_email=you@example.com`"
            )
        if self.ai_message_enhancement == "bedrock" and self.bedrock_model.startswith(REGIONAL_PROFILES):
            raise ConfigError(
                f"`ai_model` is {self.ai_model!r}: the permission names exact models, so use one of your region or a "
                f"profile that begins with global.: `-c ai_model={DEFAULT_MODELS['bedrock']}`"
            )
        if not EXPERIMENT_NAME.fullmatch(self.experiment):
            raise ConfigError(
                f"`experiment` is {self.experiment!r}; use 1 to 40 letters, digits, - and _: `-c experiment=spring`"
            )
        try:
            ZoneInfo(self.schedule_timezone)
        except (ValueError, ZoneInfoNotFoundError, OSError) as error:
            raise ConfigError(
                f"`schedule_timezone` is {self.schedule_timezone!r}; "
                "type an IANA zone: `-c schedule_timezone=Europe/Berlin`"
            ) from error

    def _check_rules(self) -> None:
        try:
            quiet_of(self.quiet_hours)
        except SettingsError as error:
            raise ConfigError(
                f"`quiet_hours` is {self.quiet_hours!r}; type two hours of the day, or off: `-c quiet_hours=22-8`"
            ) from error
        try:
            helplines.parse(self.helplines)
        except SettingsError as error:
            raise ConfigError(f"{error}: `-c helplines='en=Samaritans 116 123'`") from error
        for name in self.features.split(","):
            if not 1 <= len(name.strip()) <= NAME_LIMIT or not name.isprintable():
                raise ConfigError(
                    f"`features` is {self.features!r}; type names of up to {NAME_LIMIT} characters with commas "
                    "between, or none: `-c features=habits,/reminders`"
                )
        for key in ("rollout", "type_control"):
            try:
                Shares.parse(getattr(self, key), key)
            except SettingsError as error:
                raise ConfigError(f"{error}: `-c {key}=100,re_engagement=20`") from error

    def _check_address(self, key: str) -> None:
        address = getattr(self, key)
        url = urlparse(address)
        is_safe = url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)
        if not (url.hostname and is_safe):
            raise ConfigError(f"`{key}` is {address!r}; use https://... (http only for 127.0.0.1)")

    def _check_one_of(self, key: str, allowed: tuple[object, ...]) -> None:
        if getattr(self, key) not in allowed:
            *others, last = map(str, allowed)
            raise ConfigError(
                f"`{key}` is {getattr(self, key)!r}; it can be {', '.join(others)} or {last}: `-c {key}={last}`"
            )


def _is_cdk_key(key: str) -> bool:
    return ":" in key or "/" in key


def _read(key: str, text: str, kind: Any) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        words = "a whole number" if kind is int else "a number"
        raise ConfigError(f"`{key}` is {text!r}; it must be {words}: `-c {key}=...`") from error
