"""The fake Telegram: answers a bot's calls over HTTP and posts updates to its webhook, all on loopback.

with FakeTelegram("123456:token") as telegram:
    TelegramClient("123456:token", telegram.url).send_message(7, "hello")
    assert telegram.messages[0].text == "hello"
"""

import json
import os
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self, cast

from infra.local.loopback import LoopbackServer
from infra.local.telegram.bot_api import BotApi, Upload
from infra.local.telegram.courier import ANSWER_SECONDS, CLOSED, Answer, Attempt, Connections, Courier
from infra.local.telegram.methods import Bubble, Call, Methods, Reply, SentMessage, menu_key, most_within
from infra.local.telegram.outcomes import Manner, Outcome
from infra.local.telegram.webhook import Webhook, kind_of

NOT_IN_A_RESPONSE = ("deletewebhook", "setwebhook", "close", "logout")
DRIP_SECONDS = 0.05

_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|([^;\s]+))", re.IGNORECASE)
_NAMED = re.compile(r"\b(name|filename)=\"([^\"]*)\"", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of one update posted directly.

    Attributes:
        status: HTTP status; 0 where no answer came.
        body: the answer's body.
        retry_after: seconds; 0 where the answer does not say.
        method: the method in the answer that was executed; "" for none.
    """

    status: int
    body: bytes
    retry_after: int
    method: str


class FakeTelegram:
    """One bot's Telegram. Everything it saw can be read from its lists while it runs and afterwards."""

    def __init__(
        self,
        token: str,
        port: int = 0,
        *,
        now: Callable[[], int] | None = None,
        time_scale: float = 1.0,
        bot_api: Path | None = None,
        strict_chats: bool = False,
        limit_set_webhook: bool = False,
        answer_seconds: float = ANSWER_SECONDS,
        seed: int = 0,
    ) -> None:
        """Listen, but do not answer yet.

        Args:
            token: the one token that is right, "<bot id>:<secret>".
            port: 0 takes a free one.
            now: epoch seconds for dates and expiries; by default the clock on the wall, `1 / time_scale` as fast.
            time_scale: real seconds per nominal second of the re-delivery schedule.
            bot_api: a Bot API specification to check every update and call against; see `problems`.
            strict_chats: a chat that never wrote is "chat not found".
            limit_set_webhook: more than one setWebhook a second is a 429.
            answer_seconds: real seconds the webhook has for an answer.
            seed: of the random caps on waits between deliveries.
        """
        began, epoch = time.monotonic(), time.time()
        self._now = now or (lambda: int(epoch + (time.monotonic() - began) / time_scale))
        self._token = token
        self._new_methods = partial(
            Methods,
            token,
            now=self._now,
            pending=lambda: self._courier.pending(),
            specification=BotApi.load(bot_api) if bot_api else None,
            strict_chats=strict_chats,
            limit_set_webhook=limit_set_webhook,
        )
        self._methods = self._new_methods()
        self._courier = Courier(
            webhook=lambda: self._methods.webhook,
            delivered=self._execute_answer,
            failed=lambda words: self._methods.webhook_failed(words),
            gone=lambda: self._methods.remove_webhook(),
            now=self._now,
            time_scale=time_scale,
            answer_seconds=answer_seconds,
            seed=seed,
        )
        self._direct = Connections(answer_seconds)
        self._server = _Server(port, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="telegram", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Answer calls and deliver updates."""
        self._thread.start()
        self._courier.start()
        return self

    def stop(self) -> None:
        """Stop at once, cutting off whatever hangs; safe to call twice."""
        self._server.stopping.set()
        self._courier.stop()
        self._direct.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.cut_off()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget everything: chats, scripts, the webhook, what was seen. For a test that shares a server."""
        self._courier.forget()
        self._courier.attempts.clear()
        self._methods = self._new_methods()
        self._server.accepted = 0

    @property
    def bot_id(self) -> int:
        """The number before the colon of the token."""
        return self._methods.bot_id

    @property
    def messages(self) -> list[SentMessage]:
        """Every message that reached a chat, in order."""
        return self._methods.messages

    @property
    def calls(self) -> list[Call]:
        """Every call, in order, whatever came of it."""
        return self._methods.calls

    @property
    def connections(self) -> int:
        """How many connections the bot has opened."""
        return self._server.accepted

    @property
    def attempts(self) -> list[Attempt]:
        """Every delivery tried of updates that were pushed."""
        return self._courier.attempts

    @property
    def answered(self) -> list[str]:
        """Ids of the callback queries that were answered in time."""
        return self._methods.answered

    @property
    def commands(self) -> list[dict[str, str]]:
        """The menu behind "/" of everybody who has no other: the default scope's, in no particular language."""
        return self.menu()

    def menu(self, language_code: str = "", scope: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
        """Return the menu that was set for a language and a scope; empty where none was.

        Args:
            language_code: two letters; "" for everybody whose language has no menu.
            scope: a BotCommandScope; the default one where None.
        """
        return self._methods.menus.get(menu_key(dict(scope or {"type": "default"}), language_code), [])

    @property
    def problems(self) -> list[str]:
        """What the real Telegram would ignore or never send, and we should not: should stay empty."""
        return self._methods.problems

    @property
    def webhook(self) -> Webhook:
        """The webhook as it is set, with its secret."""
        return self._methods.webhook

    def received_by(self, chat_id: int) -> list[SentMessage]:
        """Return the messages of one chat, in order."""
        return [message for message in self.messages if message.chat_id == chat_id]

    def chat(self, chat_id: int) -> list[Bubble]:
        """Return a conversation as a person sees it now, edits included: (who, text, buttons), in order.

        The user's side is known from the updates that were pushed or posted.
        """
        return self._methods.chat(chat_id)

    def most_sent_within(self, seconds: float, chat_id: int | None = None) -> int:
        """Return how many messages went out in the fullest window of real seconds, overall or to one chat."""
        return most_within(
            seconds, (message.at for message in self.messages if chat_id is None or message.chat_id == chat_id)
        )

    def next_message_id(self, chat_id: int) -> int:
        """Take the chat's next message id, for an update about to be made."""
        return self._methods.next_message_id(chat_id)

    def script(
        self, outcome: Outcome, *, method: str = "sendMessage", chat_id: int | None = None, times: int | None = 1
    ) -> None:
        """Let coming calls end in a certain way; a chat's own scripts go first.

        Args:
            outcome: see `outcomes`.
            method: of which method.
            chat_id: only for this chat (of methods that have one); None for any.
            times: for so many calls; None for ever.
        """
        self._methods.script(outcome, method=method, chat_id=chat_id, times=times)

    def unscript(self) -> None:
        """Forget every script."""
        self._methods.unscript()

    def push(self, update: dict[str, Any], headers: Mapping[str, str] | None = None) -> bool:
        """Queue an update for delivery as Telegram does it; False when the bot did not ask for its kind.

        Args:
            update: see `updates`.
            headers: sent along, for example the local stack's `x-rekindle-now`.
        """
        self._methods.observe(update)
        return self._courier.push(update, headers or {})

    def drained(self, seconds: float = 10.0) -> bool:
        """Wait until every pushed update was delivered or dropped; False if that takes longer."""
        return self._courier.drained(seconds)

    def post(self, update: dict[str, Any], headers: Mapping[str, str] | None = None) -> Posted:
        """Post an update at once and once, past the queues, and execute the method in the answer.

        Only a connection that ends without an answer is tried again, immediately, as the queues do.

        Args:
            update: see `updates`.
            headers: sent along, for example the local stack's `x-rekindle-now`.
        """
        webhook = self._methods.webhook
        if not webhook.url:
            raise ValueError("no webhook is set; call setWebhook first")
        self._methods.observe(update)
        if not webhook.allows(kind_of(update)):
            raise ValueError(f"the webhook did not ask for {kind_of(update)}")
        answer = self._direct.post(webhook, update, headers or {})
        if answer.reason == CLOSED:
            answer = self._direct.post(webhook, update, headers or {})
        if not answer.ok:
            words = f"Wrong response from the webhook: {answer.status} {answer.reason}"
            self._methods.webhook_failed(words if answer.status else answer.reason)
        method = self._execute_answer(answer) if answer.ok else ""
        return Posted(answer.status, answer.body, answer.retry_after, method)

    def handle(self, path: str, content_type: str, body: bytes) -> Reply:
        """Answer one HTTP request of the bot's."""
        target = urllib.parse.urlsplit(path)
        token, _, method = urllib.parse.unquote(target.path).removeprefix("/bot").partition("/")
        if not target.path.startswith("/bot") or not method:
            return _error(404, "Not Found")
        if token != self._token:
            return _error(401, "Unauthorized")
        try:
            params = _form(target.query) | _params(content_type, body)
        except ValueError:
            return _error(400, "Bad Request: can't parse the request's body")
        reply = self._methods.call(method, params, "http")
        if method.lower() in ("setwebhook", "deletewebhook"):
            if params.get("drop_pending_updates"):
                self._courier.forget()
            self._courier.wake()
        return reply

    def _execute_answer(self, answer: Answer) -> str:
        """Execute the method in a webhook's answer; nobody learns what came of it."""
        try:
            params = _params(answer.content_type, answer.body)
        except ValueError:
            return ""
        method = str(params.pop("method", ""))
        if not method or method.lower() in NOT_IN_A_RESPONSE or method.lower().startswith("get"):
            return ""
        self._methods.call(method, params, "response")
        return method


class _Server(LoopbackServer):
    daemon_threads = False

    def __init__(self, port: int, telegram: FakeTelegram) -> None:
        self.telegram = telegram
        super().__init__(port, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server = cast(_Server, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = server.telegram.handle(self.path, self.headers.get("Content-Type") or "", body)
        match reply.manner:
            case Manner.REPLY:
                self._answer(reply)
            case Manner.HANG:
                server.stopping.wait()
                self.close_connection = True
            case Manner.CLOSE:
                self.close_connection = True
            case Manner.RESET:
                self._reset()
            case Manner.DRIP:
                self._drip(server.stopping)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the path holds the token."""

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _reset(self) -> None:
        """End the connection by RST, as a middle box or a dying server does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def _drip(self, stopping: threading.Event) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**6))
        self.end_headers()
        self.close_connection = True
        while not stopping.wait(DRIP_SECONDS):
            self.wfile.write(b" ")


def _error(status: int, description: str) -> Reply:
    content = {"ok": False, "error_code": status, "description": description}
    return Reply(Manner.REPLY, status, json.dumps(content).encode())


def _params(content_type: str, body: bytes) -> dict[str, Any]:
    """Read parameters from a body: JSON or a form, which may hold files; anything else has none.

    Raises:
        ValueError: it is JSON, but no object, or a form that ends in its midst.
    """
    kind = content_type.lower()
    if not body:
        return {}
    if "json" in kind:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content
    if "multipart/form-data" in kind:
        return _multipart(content_type, body)
    return _form(body.decode()) if "x-www-form-urlencoded" in kind else {}


def _form(text: str) -> dict[str, Any]:
    return dict(urllib.parse.parse_qsl(text, keep_blank_values=True))


def _multipart(content_type: str, body: bytes) -> dict[str, Any]:
    """Read a form with files (RFC 7578): each part is a header, an empty line and its bytes."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise ValueError("no boundary")
    mark = b"--" + (boundary[1] or boundary[2]).encode()
    first, *parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise ValueError("not a form")
    params: dict[str, Any] = {}
    for part in parts[:-1]:
        header, separator, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = {key: _unescaped(value) for key, value in _NAMED.findall(header.decode())}
        if not separator or "name" not in named:
            raise ValueError("a part without a name")
        is_file = "filename" in named
        params[named["name"]] = Upload(named["filename"], content) if is_file else content.decode()
    return params


def _unescaped(value: str) -> str:
    """Undo what browsers and urllib3 do to quotes and line ends in a name (HTML, "multipart/form-data")."""
    return value.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
