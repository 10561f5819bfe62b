"""The suite on a laptop: a local AWS, a fake Telegram and what AWS does between functions. Loopback only."""
