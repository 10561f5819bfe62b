"""HTTP API: the button under a celebration; wired at the first press, so that no cold start pays for it."""

from datetime import datetime

from engagement.store.profiles import Profiles


def progress_of(bot_id: int, user_id: int, now: datetime) -> str:
    """Return how far a user's next milestones are, a line each."""
    from engagement.services.progress import MilestoneProgress
    from engagement.store.milestones import Milestones
    from engagement.store.patterns import Patterns

    return MilestoneProgress(bot_id, Patterns(), Profiles(), Milestones(bot_id).all).lines(user_id, now)
