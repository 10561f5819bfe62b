"""Every exception this package raises, in one tree.

    EngagementError
    ├── SettingsError            a missing or unreadable setting; the message names it
    ├── BadUpdateError           an update that no retry can mend: answer 200, keep a dead letter
    ├── BadTickError             a schedule's event without a readable time or shard
    ├── BadPatternError          a stored pattern that this version cannot read
    ├── UnknownUserError         a question about somebody who never wrote to the bot
    ├── BadZoneError             a time zone that does not exist; the message is safe to show
    ├── StoreUnavailableError    DynamoDB throttled, failed or timed out: try again later
    ├── TelegramApiError         Telegram refused an operator's call (setWebhook, getWebhookInfo)
    ├── SecretUnavailableError   a secret parameter is absent or cannot be read
    ├── ModelUnavailableError    a model is missing, damaged or of another feature version
    └── ModelRegistryError       a model or the pointer to it could not be written

Expected outcomes (a duplicate update, a lost claim, a blocked user) are return values, not exceptions.
"""


class EngagementError(Exception):
    """Base of all."""


class SettingsError(EngagementError):
    """A missing or unreadable setting; the message names it."""


class BadUpdateError(EngagementError):
    """An update that no retry can mend.

    Attributes:
        reason: a short code from a closed set (`not_json`, `too_large`, `too_deep`, `no_update_id`, ...),
            safe to log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadTickError(EngagementError):
    """A schedule's event without a readable time or shard; the message says what it should hold."""


class BadPatternError(EngagementError):
    """A stored pattern that this version cannot read."""


class UnknownUserError(EngagementError):
    """A question about somebody who never wrote to the bot, or was erased since."""


class BadZoneError(EngagementError):
    """A time zone that does not exist; the message is safe to show."""


class StoreUnavailableError(EngagementError):
    """DynamoDB throttled, failed or timed out: try again later."""


class TelegramApiError(EngagementError):
    """Telegram refused an operator's call; the message never holds the token."""


class SecretUnavailableError(EngagementError):
    """A secret parameter is absent or cannot be read; the message names the parameter, never its value."""


class ModelUnavailableError(EngagementError):
    """A model is missing, damaged or of another feature version."""


class ModelRegistryError(EngagementError):
    """A model or the pointer to it could not be written; the message says what to look at."""
