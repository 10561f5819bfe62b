"""How much of one user's haste is kept: a limit per minute, in memory, for as many users as memory is given for."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)
MAX_USERS = 2_048
"""Watched at once; the one unheard of for longest is forgotten first, so a flood of users costs no more memory."""


class FloodLimit:
    """Admits at most `per_minute` (1 or more) interactions of one user in any minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._admitted: OrderedDict[int, deque[datetime]] = OrderedDict()

    def admit(self, user_id: int, at: datetime) -> bool:
        """Say whether one more interaction of the user is kept, and count it if so."""
        times = self._admitted.setdefault(user_id, deque(maxlen=self._per_minute))
        self._admitted.move_to_end(user_id)
        if len(self._admitted) > MAX_USERS:
            self._admitted.popitem(last=False)
        # Either way: a replay may begin before the last one ended.
        if len(times) == self._per_minute and abs(at - times[0]) < WINDOW:
            return False
        times.append(at)
        return True
