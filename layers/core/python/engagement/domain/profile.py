"""Who a user is to the bot: consent, reachability and how often we wrote to them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
        opted_out: /stop or the stop button; only the user's own /start takes it back.
        blocked: the user blocked the bot, or their account is gone.
        status_at: event time of the newest block or unblock; None before the first.
        epoch: counts stops, blocks and unblocks, so that a late answer of Telegram's cannot undo a newer one.
        cap_day: the user-local calendar date (ISO) that `cap_count` counts for; None before the first message.
        cap_count: messages committed on `cap_day`.
        next_ok_at: earliest time of the next message; None before the first.
        zone: IANA name of the zone they set, for calendar days and hours; `UNSET_ZONE` until they do.
        created_at: first seen.
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


def may_be_written_to(profile: Profile, policy: ConsentPolicy) -> bool:
    """Say whether consent allows a message; blocks and opt-outs are the gate's other questions."""
    if policy is ConsentPolicy.ASSUME:
        return profile.consent is not Consent.DECLINED
    return profile.consent is Consent.GRANTED
