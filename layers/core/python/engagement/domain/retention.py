"""Until when everything about a user is kept: so many days after they were last here, fewer after they left (R101)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engagement.domain.pattern import Pattern
from engagement.domain.profile import Profile


@dataclass(frozen=True, slots=True)
class Retention:
    """How long.

    Attributes:
        after_seen: after the user was last here.
        after_blocked: after they blocked the bot, or deleted their account; the earlier end holds.
    """

    after_seen: timedelta
    after_blocked: timedelta

    def ends_at(self, profile: Profile, pattern: Pattern, here_at: datetime | None = None) -> datetime:
        """Return when a user's data are to be erased, aware UTC.

        Having been here is wider than activity: whoever changes a setting has been here.

        Args:
            profile: the user's.
            pattern: the same user's.
            here_at: when they were last here by what is kept of it besides: a command, an offer that they opened.
        """
        seen_at = [
            profile.created_at,
            profile.answered_at,
            profile.opted_out_at,
            profile.preferences.newest_at,
            here_at,
            datetime.fromtimestamp(pattern.last_at, UTC) if pattern.total else None,
        ]
        end = max(at for at in seen_at if at is not None) + self.after_seen
        if profile.blocked and profile.status_at is not None:
            end = min(end, profile.status_at + self.after_blocked)
        return end
