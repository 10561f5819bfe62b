"""Delivers updates to the webhook: one at a time per queue, again and again until a 2xx or their end."""

import contextlib
import http.client
import json
import math
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

from infra.local.telegram.webhook import MOST_CONNECTIONS, Webhook, expires_at, kind_of, next_delay, queue_of

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name
ANSWER_SECONDS = 60.0
CLOSED = "Webhook connection closed"
PENDING_LIMIT = 100_000
GONE_SECONDS = 23 * 3_600
"""A webhook that answers 410 for this long is removed."""
SUCCESS_SECONDS = 10.0
"""Without a success for this long, one connection must do, and a new one comes every two seconds."""
NEW_CONNECTION_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A webhook's answer to one update.

    Attributes:
        status: HTTP status; 0 where no answer came.
        body: the answer's body.
        content_type: lower case; "" where absent.
        retry_after: seconds from the header of that name; 0 where absent.
        reason: the status' words, or why no answer came.
    """

    status: int
    body: bytes = b""
    content_type: str = ""
    retry_after: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether Telegram counts the update as delivered."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery that was tried.

    Attributes:
        update_id: of which update.
        queue: the queue it waited in.
        at: nominal seconds since the courier began.
        status: HTTP status; 0 where no answer came.
        wait: nominal seconds until the next try; None after a success or when it was dropped.
        dropped: whether it was given up.
    """

    update_id: int
    queue: int
    at: float
    status: int
    wait: int | None
    dropped: bool


@dataclass(slots=True)
class _Waiting:
    update: dict[str, Any]
    headers: dict[str, str]
    expires_at: int
    failures: int = 0
    delay: int = 1


@dataclass(slots=True)
class _Queue:
    entries: deque[_Waiting] = field(default_factory=deque)
    ready_at: float = 0.0
    in_flight: bool = False


class Connections:
    """Keep-alive connections to one webhook at a time, safe to use from many threads."""

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._all: set[http.client.HTTPConnection] = set()
        self._target: tuple[str, int] | None = None
        self._closed = False

    def idle(self) -> int:
        """Return how many connections wait to be used."""
        with self._lock:
            return len(self._idle)

    def post(self, webhook: Webhook, update: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Post one update, once."""
        parsed = urlparse(webhook.url)
        # Names below .localhost are this machine by definition, but not every resolver knows it.
        host = parsed.hostname or ""
        target = ("127.0.0.1" if host.endswith("localhost") else host, parsed.port or 80)
        sent = {"Host": parsed.netloc, "Content-Type": "application/json", "Connection": "keep-alive"}
        if webhook.secret_token:
            sent[SECRET_HEADER] = webhook.secret_token
        path = (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else "")
        connection = self._take(target)
        if connection is None:
            return Answer(0, reason="stopped")
        keep = False
        try:
            connection.request("POST", path, body=json.dumps(update).encode(), headers=sent | dict(headers))
            response = connection.getresponse()
            body = response.read()
            keep = not response.will_close
            return Answer(
                response.status,
                body,
                (response.getheader("Content-Type") or "").lower(),
                _seconds(response.getheader("Retry-After")),
                response.reason,
            )
        except TimeoutError:
            return Answer(0, reason="Read timeout expired")
        except (OSError, http.client.HTTPException):
            return Answer(0, reason=CLOSED)
        finally:
            self._give_back(connection, keep=keep)

    def close(self) -> None:
        """Close every connection, also those in use."""
        with self._lock:
            self._closed = True
            connections = list(self._all)
            self._idle.clear()
        for connection in connections:
            _shut(connection)

    def _take(self, target: tuple[str, int]) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._closed:
                return None
            if target != self._target:
                stale, self._idle = self._idle, []
                self._all.difference_update(stale)
                self._target = target
                for connection in stale:
                    connection.close()
            if self._idle:
                return self._idle.pop()
            connection = http.client.HTTPConnection(*target, timeout=self._answer_seconds)
            self._all.add(connection)
            return connection

    def _give_back(self, connection: http.client.HTTPConnection, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed and (connection.host, connection.port) == self._target:
                self._idle.append(connection)
                return
            self._all.discard(connection)
        connection.close()


class Courier:
    """The queues and the thread that empties them.

    Nominal time runs `1 / time_scale` times as fast as the clock on the wall, so that a test need not wait for the
    schedule.
    """

    def __init__(
        self,
        *,
        webhook: Callable[[], Webhook],
        delivered: Callable[[Answer], object],
        failed: Callable[[str], None],
        gone: Callable[[], None],
        now: Callable[[], int],
        time_scale: float = 1.0,
        answer_seconds: float = ANSWER_SECONDS,
        seed: int = 0,
    ) -> None:
        """Take what a delivery touches.

        Args:
            webhook: the webhook as it is set now.
            delivered: told of each 2xx, with a method to execute perhaps.
            failed: told of each failure, in words.
            gone: told that the webhook is to be removed.
            now: epoch seconds, for the expiry of updates.
            time_scale: real seconds per nominal second.
            answer_seconds: real seconds to wait for an answer.
            seed: of the random caps on the wait.
        """
        self.attempts: list[Attempt] = []
        self._webhook, self._delivered, self._failed, self._gone, self._now = webhook, delivered, failed, gone, now
        self._scale = time_scale
        self._random = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._queues: dict[int, _Queue] = {}
        self._pending = 0
        self._in_flight = 0
        self._own_queue = 1 << 60
        self._last_success = -math.inf
        self._last_connection = -math.inf
        self._gone_since: float | None = None
        self._stopping = False
        self._connections = Connections(answer_seconds)
        self._workers = ThreadPoolExecutor(MOST_CONNECTIONS, thread_name_prefix="telegram-delivery")
        self._thread = threading.Thread(target=self._run, name="telegram-courier", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Stop at once; what is under way is cut off, what waits is lost."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._connections.close()
        if self._thread.is_alive():
            self._thread.join()
        self._workers.shutdown(wait=True, cancel_futures=True)

    def elapsed(self) -> float:
        """Nominal seconds since the courier was made."""
        return (time.monotonic() - self._began) / self._scale

    def push(self, update: dict[str, Any], headers: Mapping[str, str]) -> bool:
        """Queue an update; False when its kind is not asked for or the queue is full, as for the real server."""
        if not self._webhook().allows(kind_of(update)):
            return False
        with self._changed:
            if self._pending >= PENDING_LIMIT:
                return False
            number = queue_of(update)
            if number is None:
                number, self._own_queue = self._own_queue, self._own_queue + 1
            queue = self._queues.setdefault(number, _Queue())
            if not queue.entries:
                queue.ready_at = self.elapsed()
            queue.entries.append(_Waiting(update, dict(headers), expires_at(update, self._now())))
            self._pending += 1
            self._changed.notify_all()
        return True

    def pending(self) -> int:
        """Return how many updates wait or are under way."""
        with self._changed:
            return self._pending

    def forget(self) -> None:
        """Drop every update that is not under way (`drop_pending_updates`)."""
        with self._changed:
            for queue in self._queues.values():
                while len(queue.entries) > queue.in_flight:
                    queue.entries.pop()
                    self._pending -= 1
            self._tidy()

    def wake(self) -> None:
        """Look at the webhook again: it was set or removed."""
        with self._changed:
            self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Wait until nothing is pending; False if that takes longer than `seconds` on the wall."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, timeout=seconds)

    def _run(self) -> None:
        with self._changed:
            while not self._stopping:
                wait = self._begin_what_is_ready()
                self._changed.wait(None if wait is None else max(wait, 0.001))

    def _begin_what_is_ready(self) -> float | None:
        """Begin every delivery that may begin; return the real seconds until the next one may."""
        webhook = self._webhook()
        if not webhook.url:
            return None
        now = self.elapsed()
        waiting = sorted(
            (queue.ready_at, number) for number, queue in self._queues.items() if queue.entries and not queue.in_flight
        )
        for ready_at, number in waiting:
            if ready_at > now:
                return (ready_at - now) * self._scale
            if now - self._last_success > SUCCESS_SECONDS:
                if self._in_flight:
                    return None
                if not self._connections.idle():
                    allowed_at = self._last_connection + NEW_CONNECTION_SECONDS
                    if allowed_at > now:
                        return (allowed_at - now) * self._scale
                    self._last_connection = now
            if self._in_flight >= webhook.max_connections:
                return None
            queue = self._queues[number]
            queue.in_flight = True
            self._in_flight += 1
            self._workers.submit(self._deliver, number, queue.entries[0], webhook)
        return None

    def _deliver(self, number: int, waiting: _Waiting, webhook: Webhook) -> None:
        began = self.elapsed()
        answer = self._connections.post(webhook, waiting.update, waiting.headers)
        if answer.ok:
            self._delivered(answer)
        elif not self._stopping:
            words = f"Wrong response from the webhook: {answer.status} {answer.reason}" if answer.status else ""
            self._failed(words or answer.reason)
        with self._changed:
            self._settle(number, waiting, answer, began)
            gone = self._is_gone(answer)
            self._changed.notify_all()
        if gone:
            self._gone()

    def _settle(self, number: int, waiting: _Waiting, answer: Answer, began: float) -> None:
        queue = self._queues[number]
        queue.in_flight = False
        self._in_flight -= 1
        now = self.elapsed()
        wait: int | None = None
        dropped = False
        if answer.ok:
            self._last_success = now
        else:
            wait, waiting.delay = next_delay(waiting.failures, waiting.delay, answer.retry_after, self._random.randint)
            waiting.failures += 1
            dropped = self._now() + wait > waiting.expires_at
            wait = None if dropped else wait
        self.attempts.append(Attempt(waiting.update["update_id"], number, began, answer.status, wait, dropped=dropped))
        if wait is None:
            queue.entries.popleft()
            queue.ready_at = now
            self._pending -= 1
        else:
            queue.ready_at = now + wait
        self._tidy()

    def _is_gone(self, answer: Answer) -> bool:
        if answer.status != http.client.GONE:
            self._gone_since = None if answer.status else self._gone_since
            return False
        if self._gone_since is None:
            self._gone_since = self.elapsed()
        return self.elapsed() - self._gone_since > GONE_SECONDS

    def _tidy(self) -> None:
        for number in [number for number, queue in self._queues.items() if not queue.entries]:
            del self._queues[number]


def _seconds(header: str | None) -> int:
    return int(header) if header and header.strip().isdigit() else 0


def _shut(connection: http.client.HTTPConnection) -> None:
    """End a connection that another thread may be reading from: closing alone would leave that thread waiting."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    connection.close()
