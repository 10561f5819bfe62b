"""What our buttons send back: `callback_data`, at most 64 bytes each (Telegram's limit), and proof that it is ours.

    rk1:<button>:<ref>:<digest>

`ref` is what the button is about: the type and second of an outreach, an outreach type, or the wording of the question.
The digest is keyed, over bot, user, button and ref: a press of another bot's button, of another user's, or of data
that somebody made up proves nothing and has no effect. The key is a secret of its own that never changes, so that the
buttons under old messages keep working when the webhook's secret is rotated.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from engagement.domain.interaction import Control, Exposure
from engagement.domain.outreach import OutreachType
from engagement.errors import SettingsError

PREFIX = "rk1"
"""Names the format, too: another one is another prefix, and `is_ours` knows all of them."""
DIGEST_BYTES = 9
"""72 bits: whoever guesses has to press, and Telegram lets nobody press 10**20 times."""

_DATA = re.compile(rf"{PREFIX}:([a-z]{{1,2}}):([A-Za-z0-9]{{0,16}}):([A-Za-z0-9_-]{{12}})", re.ASCII)
_RETIRED = re.compile(r"outreach:(?:go:[a-z_]{1,40}|later|stop)|(?:learning|rewording):(?:yes|no)", re.ASCII)
"""What buttons sent before data were signed. `consent:yes` is not among them: any bot may have a button so named."""


class Button(StrEnum):
    """What a button says; the code is part of `callback_data` for good."""

    CONSENT_YES = "cy"
    CONSENT_BOTH = "cb"
    """To be written to, and to be learned from."""
    CONSENT_NO = "cn"
    LEARNING_YES = "ly"
    LEARNING_NO = "ln"
    REWORDING_YES = "ry"
    """A language model may be told about the user."""
    REWORDING_NO = "rn"
    TYPE_ON = "ty"
    TYPE_OFF = "tn"
    WRITE_OFF = "wn"
    """No messages at all any more, said in /settings or in answer to our question."""
    FORGET_YES = "fy"
    FORGET_NO = "fn"

    GO = "g"
    """Under an outreach: the useful thing that its type offers."""
    NOT_NOW = "n"
    STOP_TYPE = "t"
    STOP_ALL = "s"


UNDER_OUTREACH = {
    Button.GO: Control.OPENED,
    Button.NOT_NOW: Control.NOT_NOW,
    Button.STOP_TYPE: Control.STOP_TYPE,
    Button.STOP_ALL: Control.STOP_ALL,
}
"""Buttons under an outreach, and what a press of each is kept as."""

TYPE_CODES = {
    OutreachType.MILESTONE_CELEBRATION: "mc",
    OutreachType.RE_ENGAGEMENT: "re",
    OutreachType.PERSONALIZED_CHECKIN: "pc",
    OutreachType.FEATURE_SUGGESTION: "fs",
    OutreachType.MOOD_SUPPORT: "ms",
    OutreachType.TOPIC_FOLLOW_UP: "tf",
    OutreachType.ACHIEVEMENT_UNLOCK: "au",
}
"""Short names of the types, for good: old buttons and stored preferences hold them."""
TYPE_OF = {code: outreach_type for outreach_type, code in TYPE_CODES.items()}


@dataclass(frozen=True, slots=True)
class Press:
    """What a press of a button of ours says, once it has proved to be one.

    Attributes:
        button: which one.
        outreach_type: that it is about; None where it is about none.
        about: the outreach that it stood under; None where it stood under none.
        wording: of the question that it answers, as `replies.wording` names it; "" where it answers none.
    """

    button: Button
    outreach_type: OutreachType | None = None
    about: Exposure | None = None
    wording: str = ""

    @property
    def control(self) -> Control:
        """What the press is kept as."""
        if self.button is Button.FORGET_YES:
            return Control.FORGET
        return UNDER_OUTREACH.get(self.button, Control.ANSWER)


class Signer:
    """Makes the data of our buttons, and tells them from all others."""

    def __init__(self, bot_id: int, key: Callable[[], str]) -> None:
        """Take what signs.

        Args:
            bot_id: the bot.
            key: reads the secret; called for each button, so it may be rotated away from under us and fail loudly.
        """
        self._bot_id = bot_id
        self._key = key

    def data(self, button: Button, user_id: int, ref: str = "") -> str:
        """Return the data of a button for one user.

        Args:
            button: which one.
            user_id: whose press counts.
            ref: up to 16 letters and digits, see `exposure_ref`, `TYPE_CODES` and `replies.wording`.

        Raises:
            SettingsError: the key is empty: nothing is ever signed with that.
        """
        return f"{PREFIX}:{button}:{ref}:{self._digest(button, user_id, ref)}"

    def check(self) -> None:
        """See that there is a key, before anything is begun that needs a button.

        Raises:
            SettingsError: it is empty.
            SecretUnavailableError: it cannot be read.
        """
        self._digest("", 0, "")

    def read(self, data: str, user_id: int) -> Press | None:
        """Return what a press says; None where the data are not ours, or not for this user.

        Args:
            data: `callback_data` as Telegram gives it; not trusted.
            user_id: who pressed.
        """
        found = _DATA.fullmatch(data)
        if not found:
            return None
        code, ref, digest = found.groups()
        if not hmac.compare_digest(digest, self._digest(code, user_id, ref)):
            return None
        try:
            return _press(Button(code), ref)
        except (KeyError, ValueError, OverflowError):  # signed by a later version
            return None

    def _digest(self, button: str, user_id: int, ref: str) -> str:
        key = self._key()
        if not key:
            raise SettingsError("the key of our buttons is empty: `rekindle webhook set` makes one")
        said = f"{PREFIX}|{self._bot_id}|{user_id}|{button}|{ref}".encode()
        digest = hmac.digest(key.encode(), said, hashlib.sha256)
        return urlsafe_b64encode(digest[:DIGEST_BYTES]).decode()


def is_ours(data: str) -> bool:
    """Say whether data look like ours, whatever they prove: whoever pressed is told if they do not work any more."""
    return data.startswith(f"{PREFIX}:") or _RETIRED.fullmatch(data) is not None


def exposure_ref(outreach_type: OutreachType, exposed_at: datetime) -> str:
    """Return what the buttons under an outreach are about: its type and second."""
    return f"{TYPE_CODES[outreach_type]}{int(exposed_at.timestamp())}"


def _press(button: Button, ref: str) -> Press:
    if button in UNDER_OUTREACH:
        outreach_type = TYPE_OF[ref[:2]]
        return Press(button, outreach_type, Exposure(outreach_type, datetime.fromtimestamp(int(ref[2:]), UTC)))
    if button in (Button.TYPE_ON, Button.TYPE_OFF):
        return Press(button, TYPE_OF[ref])
    return Press(button, wording=ref)
