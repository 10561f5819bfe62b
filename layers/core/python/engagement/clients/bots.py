"""The bot itself at the Bot API: its token from SSM, checked to be its own."""

from dataclasses import dataclass
from typing import Self

from engagement.clients.secrets import read_secret
from engagement.clients.telegram import TelegramClient
from engagement.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Bot:
    """How to reach one bot.

    Attributes:
        bot_id: number before the colon of its token.
        token_parameter: name of the SSM SecureString with the token.
        api_url: of the Bot API.
    """

    bot_id: int
    token_parameter: str
    api_url: str

    def checked(self) -> Self:
        """Return it once its token is known to be its own, so that another's shows at the cold start.

        Raises:
            SecretUnavailableError, SettingsError: as for `connect`.
        """
        self.connect()
        return self

    def connect(self) -> TelegramClient:
        """Take the token as it is now: it may change between two runs, the bot it belongs to may not.

        Raises:
            SecretUnavailableError: it cannot be read.
            SettingsError: it is another bot's.
        """
        token = read_secret(self.token_parameter)
        if token.partition(":")[0] != str(self.bot_id):
            raise SettingsError(f"{self.token_parameter} holds no token of bot {self.bot_id}: store that one")
        return TelegramClient(token, self.api_url)
