"""Pacing: how long to wait before the next message so that no window of a second holds too many."""

from collections import deque

WINDOW = 1.0
"""Seconds; Telegram counts messages per second, about 30 over all chats and 1 per chat (Bot FAQ)."""


class Pacer:
    """A sliding window over the times at which messages were started.

    Times are seconds of one monotonic clock. Not thread-safe: callers that share one hold a lock around each call.
    """

    def __init__(self, per_second: int) -> None:
        """Allow `per_second` (>= 1) messages in any window of a second, and one per chat."""
        if per_second < 1:
            raise ValueError(f"{per_second} messages a second is no pace; switch outreach off instead")
        self._newest: deque[float] = deque(maxlen=per_second)
        self._by_chat: dict[int, float] = {}

    def wait(self, chat_id: int, now: float) -> float:
        """Return the seconds to wait before a message to `chat_id` may start; nothing is reserved."""
        earliest = now
        if self._newest:
            # Starts are handed out in order, so that the oldest of the last N is all that needs to be remembered.
            earliest = max(earliest, self._newest[-1])
            if len(self._newest) == self._newest.maxlen:
                earliest = max(earliest, self._newest[0] + WINDOW)
        if chat_id in self._by_chat:
            earliest = max(earliest, self._by_chat[chat_id] + WINDOW)
        return earliest - now

    def reserve(self, chat_id: int, now: float) -> float:
        """Reserve the next start for a message to `chat_id`; returns the seconds to wait for it, >= 0."""
        wait = self.wait(chat_id, now)
        start = now + wait
        self._newest.append(start)
        self._by_chat = {chat: at for chat, at in self._by_chat.items() if at + WINDOW > now} | {chat_id: start}
        return wait
