"""What our buttons send back: `callback_data`, at most 64 bytes each (Telegram's limit)."""

CONSENT_YES = "consent:yes"
CONSENT_NO = "consent:no"
STOP = "outreach:stop"
"""Under every outreach: the same as /stop."""
