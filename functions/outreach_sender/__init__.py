"""Due outreach -> Telegram."""
