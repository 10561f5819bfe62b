"""What our buttons send back: `callback_data`, at most 64 bytes each (Telegram's limit)."""

CONSENT_YES = "consent:yes"
CONSENT_NO = "consent:no"
CONSENT_BOTH = "consent:both"
"""To be written to, and to be learned from."""
LEARNING_YES = "learning:yes"
LEARNING_NO = "learning:no"
STOP = "outreach:stop"
"""Under every outreach: the same as /stop."""
OURS = frozenset({CONSENT_YES, CONSENT_NO, CONSENT_BOTH, LEARNING_YES, LEARNING_NO, STOP})
"""Any other is the bot's own business."""
