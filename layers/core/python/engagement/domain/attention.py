"""What a person must look at: somebody wrote words of crisis, or answered a message of support (R103)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AttentionReason(StrEnum):
    """Why; safe to log."""

    CRISIS = "crisis"
    SUPPORT_ANSWERED = "support_answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One message that waits for a person.

    Attributes:
        user_id: who wrote it.
        update_id: of the message.
        reason: why.
        noticed_at: when it was written, aware UTC.
    """

    user_id: int
    update_id: int
    reason: AttentionReason
    noticed_at: datetime
