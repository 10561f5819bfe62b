"""The webhook: Telegram posts updates, the table keeps interactions."""
