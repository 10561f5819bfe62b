"""A Telegram of one's own: a real HTTP server on loopback that behaves, and misbehaves, as the real one does."""
