"""What our buttons send back: `callback_data`, at most 64 bytes each (Telegram's limit)."""

from engagement.domain.outreach import OutreachType

CONSENT_YES = "consent:yes"
CONSENT_NO = "consent:no"
CONSENT_BOTH = "consent:both"
"""To be written to, and to be learned from."""
LEARNING_YES = "learning:yes"
LEARNING_NO = "learning:no"
REWORDING_YES = "rewording:yes"
REWORDING_NO = "rewording:no"
"""Whether a language model may be told about the user."""

GO = {outreach_type: f"outreach:go:{outreach_type}" for outreach_type in OutreachType}
"""Under every outreach: the useful thing that its type offers."""
GONE_FOR = {data: outreach_type for outreach_type, data in GO.items()}
LATER = "outreach:later"
"""Under every outreach: not now."""
STOP = "outreach:stop"
"""Under every outreach: the same as /stop."""

OURS = frozenset(
    {
        *(CONSENT_YES, CONSENT_NO, CONSENT_BOTH, LEARNING_YES, LEARNING_NO, REWORDING_YES, REWORDING_NO),
        *(*GONE_FOR, LATER, STOP),
    }
)
"""Any other is the bot's own business."""
