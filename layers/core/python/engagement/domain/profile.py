"""Who a user is to the bot: consent, reachability and how often we wrote to them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from engagement.domain.preferences import NONE, Preferences


class Consent(StrEnum):
    """What a user said to being written to."""

    UNASKED = "unasked"
    GRANTED = "granted"
    DECLINED = "declined"


class ConsentPolicy(StrEnum):
    """Whether silence means no (`ask`) or the bot already has the user's consent (`assume`)."""

    ASK = "ask"
    ASSUME = "assume"


UNSET_ZONE = "UTC"
"""Who sets this one is kept as "Etc/UTC"."""
FIRST_HOUR = timedelta(hours=1)
"""Nobody is written to so soon after they first came (R104)."""
CRISIS_QUIET = timedelta(days=30)
"""How long nothing of ours reaches somebody after words of crisis: a person should answer, not a machine (R103)."""


class Awaiting(NamedTuple):
    """An exposure whose outcome is not settled yet: the user's next interaction answers it.

    Attributes:
        exposed_at: when it was sent or held out, aware UTC, whole seconds.
        campaign: with `period` the outreach's identity.
        period: see `campaign`.
    """

    exposed_at: datetime
    campaign: str
    period: str

    @classmethod
    def parse(cls, text: str) -> "Awaiting":
        """Read what `str` wrote: "<epoch seconds>#<campaign>#<period>"."""
        seconds, campaign, period = text.split("#")
        return cls(datetime.fromtimestamp(int(seconds), UTC), campaign, period)

    def __str__(self) -> str:
        return f"{int(self.exposed_at.timestamp())}#{self.campaign}#{self.period}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One user of one bot, as the gate and the sender see them.

    Attributes:
        bot_id: number before the colon of the bot's token.
        user_id: Telegram's id of the user.
        chat_id: where to write to.
        first_name: as Telegram gives it.
        language_code: IETF tag of the user's Telegram app; None where unknown.
        consent: the answer to "may we write to you?".
        consent_ml: the user lets models be trained on what they did; only ever their own answer, whatever the policy
            (https://telegram.org/tos/bot-developers, 4.3).
        opted_out: /stop or the stop button; only an explicit yes of the user's own takes it back (R94).
        blocked: the user blocked the bot, or their account is gone.
        status_at: event time of the newest block or unblock; None before the first.
        epoch: counts stops, blocks and unblocks, so that a late answer of Telegram's cannot undo a newer one.
        cap_day: the user-local calendar date (ISO) that `cap_count` counts for; None before the first message.
        cap_count: messages committed on `cap_day`.
        next_ok_at: earliest time of the next message; None before the first.
        zone: IANA name of the zone they set, for calendar days and hours; `UNSET_ZONE` until they do.
        created_at: first seen.
        opted_out_at: event time of the newest stop or yes that counts; None before the first.
        preferences: which types they switched off, and what they said "not now" to.
        word: counts what they said about being written to: a message is committed only if nothing was said meanwhile.
        crisis_at: when they last wrote words of crisis; None where never.
        answered_at: when they last answered a question of ours or set their zone; None before the first time.
        awaiting: exposures of the last days whose outcome is not settled yet.
        met: what they were exposed to before: "<experiment>:all" and "<experiment>:<type>".
        consent_llm: a language model may be told their first name, language and topics; only ever their own answer.
    """

    bot_id: int
    user_id: int
    chat_id: int
    first_name: str
    language_code: str | None
    consent: Consent
    consent_ml: bool = False
    opted_out: bool
    blocked: bool
    status_at: datetime | None
    epoch: int
    cap_day: str | None
    cap_count: int
    next_ok_at: datetime | None
    zone: str
    created_at: datetime
    opted_out_at: datetime | None = None
    preferences: Preferences = NONE
    word: int = 0
    crisis_at: datetime | None = None
    answered_at: datetime | None = None
    awaiting: tuple[Awaiting, ...] = ()
    met: frozenset[str] = frozenset()
    consent_llm: bool = False


def may_be_written_to(profile: Profile, policy: ConsentPolicy) -> bool:
    """Say whether consent allows a message; blocks and opt-outs are the gate's other questions."""
    if policy is ConsentPolicy.ASSUME:
        return profile.consent is not Consent.DECLINED
    return profile.consent is Consent.GRANTED


class SensitiveBasis(StrEnum):
    """On what ground mood and private topics are stored (R102)."""

    CONSENT = "consent"
    """The user let us write to them, and has not taken that back."""
    OPERATOR = "operator"
    """The operator has another one, and answers for it."""


def allows_sensitive(profile: Profile | None, basis: SensitiveBasis) -> bool:
    """Say whether mood and private topics of a user may be stored; None is somebody who has no profile yet."""
    if basis is SensitiveBasis.OPERATOR:
        return True
    return profile is not None and profile.consent is Consent.GRANTED and not profile.opted_out
