"""The Telegram Bot API: the one holder of the token, one HTTP attempt per call, every failure told apart.

`sendMessage` has no idempotency key. So what matters of a failure is whether the message may be out: that is decided
here, once, and nothing here ever tries again (https://core.telegram.org/bots/api#making-requests).

The token is part of every URL, and requests puts URLs into its exceptions: none of them leaves this module, nor does
their context.
"""

import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.filepost import encode_multipart_formdata

from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.webhook import BotCommand, WebhookInfo
from engagement.errors import TelegramApiError

CONNECT_SECONDS = 3.05
"""A little over TCP's retransmission of 3 s."""
READ_SECONDS = 10.0
ANSWER_BYTES = 256 * 1024
"""Far above any answer to the calls made here; what is longer does not come from Telegram."""
IDLE_SECONDS = 20.0
"""A connection unused for longer may be dead without either end knowing (a frozen function, a NAT's table), and a
message sent into it would be lost as UNKNOWN. So it is not used again."""
FALLBACK_RETRY_SECONDS = 30
"""For a 429 that does not say how long."""
DESCRIPTION_CHARACTERS = 200

_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{30,}")
_TOKEN_IN_PATH = re.compile(r"/bot[^/\s\"']+")


class _PathRedactor(logging.Filter):
    """Keeps the token out of urllib3's own log lines, which hold every request's path."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "/bot" in message:
            record.msg, record.args = _TOKEN_IN_PATH.sub("/bot<token>", message), ()
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_PathRedactor())


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    detail: str
    certainly_not_sent: bool


class TelegramClient:
    """Calls the Bot API for one bot.

    Threads may share one: the only state they share is urllib3's connection pool, which locks, and the choice of the
    session, which is locked here.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """Take the bot's token and the address of the Bot API.

        Args:
            token: from BotFather, "<bot id>:<secret>".
            api_url: https://api.telegram.org, or a loopback address.
            connect_seconds: limit for a connection to come about.
            read_seconds: limit for silence before the answer, and for the answer's body as a whole.
        """
        self._token = token
        self._api_url = api_url.rstrip("/")
        self._timeout = (connect_seconds, read_seconds)
        self._lock = threading.Lock()
        self._session = _new_session()
        self._used_at = time.time()

    def __repr__(self) -> str:
        return f"TelegramClient(api_url={self._api_url!r})"

    def send_message(
        self,
        chat_id: int,
        text: str,
        *,
        parse_mode: str | None = "HTML",
        reply_markup: Mapping[str, Any] | None = None,
    ) -> Delivery:
        """Try once to send a text (https://core.telegram.org/bots/api#sendmessage).

        `allow_paid_broadcast` is never set: it would cost the owner Stars and get around the rate limits.

        Args:
            chat_id: the private chat.
            text: 1-4096 code points once its entities are parsed.
            parse_mode: "HTML", or None for text as it stands.
            reply_markup: an InlineKeyboardMarkup.
        """
        params: dict[str, Any] = {"chat_id": chat_id, "text": text}
        if parse_mode is not None:
            params["parse_mode"] = parse_mode
        if reply_markup is not None:
            params["reply_markup"] = reply_markup
        return _outcome(self._post("sendMessage", *_json(params)))

    def send_document(
        self, chat_id: int, filename: str, content: bytes, caption: str, parse_mode: str | None = None
    ) -> Delivery:
        """Try once to send a file (https://core.telegram.org/bots/api#senddocument).

        What comes of it is told apart as for a text; here too a lost answer is UNKNOWN, and never tried again.

        Args:
            chat_id: the private chat.
            filename: as the user sees it.
            content: 1 byte to 50 MB.
            caption: 0-1024 code points once its entities are parsed.
            parse_mode: "HTML", or None for a caption as it stands.
        """
        # Half a character is Telegram's to refuse, as it does in a text.
        fields: list[tuple[str, str | bytes | tuple[str, bytes, str]]] = [
            ("chat_id", str(chat_id)),
            ("caption", caption.encode(errors="surrogatepass")),
        ]
        if parse_mode is not None:
            fields.append(("parse_mode", parse_mode))
        name = filename.encode(errors="replace").decode()
        fields.append(("document", (name, content, "application/octet-stream")))
        return _outcome(self._post("sendDocument", *encode_multipart_formdata(fields)))

    def set_webhook(
        self, url: str, secret_token: str | None, allowed_updates: Sequence[str], max_connections: int
    ) -> None:
        """Tell Telegram where to post updates (https://core.telegram.org/bots/api#setwebhook).

        All four are always sent: a call without `secret_token` clears the secret and resets `max_connections` to 40,
        and one without `allowed_updates` keeps whatever was there.

        Args:
            url: where to.
            secret_token: 1-256 of `[A-Za-z0-9_-]`. None leaves the webhook without one: only to put back what was so.
            allowed_updates: kinds of update; an empty list stands for Telegram's default set.
            max_connections: deliveries at a time, 1-100.

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer.
        """
        params: dict[str, Any] = {
            "url": url,
            "allowed_updates": list(allowed_updates),
            "max_connections": max_connections,
        }
        if secret_token is not None:
            params["secret_token"] = secret_token
        self._call("setWebhook", params)

    def delete_webhook(self) -> None:
        """Remove the webhook, and drop no update (https://core.telegram.org/bots/api#deletewebhook).

        The secret goes with it; the kinds of update stay as they are.

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer.
        """
        self._call("deleteWebhook", {})

    def webhook_info(self) -> WebhookInfo:
        """Ask what Telegram knows of the webhook (https://core.telegram.org/bots/api#getwebhookinfo).

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer in a readable way.
        """
        result = self._call("getWebhookInfo", {})
        try:
            last_error = result.get("last_error_date")
            return WebhookInfo(
                url=str(result["url"]),
                pending_update_count=int(result["pending_update_count"]),
                last_error_at=None if last_error is None else datetime.fromtimestamp(int(last_error), UTC),
                last_error_message=self._presentable(str(result.get("last_error_message", ""))),
                max_connections=None if result.get("max_connections") is None else int(result["max_connections"]),
                allowed_updates=tuple(str(name) for name in result.get("allowed_updates", ())),
                ip_address=str(result.get("ip_address", "")),
                has_custom_certificate=result.get("has_custom_certificate") is True,
            )
        except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError):
            pass
        raise TelegramApiError("getWebhookInfo: Telegram's answer is unreadable")

    def my_commands(self, language_code: str | None = None) -> tuple[BotCommand, ...]:
        """Return the menu behind "/" of the default scope (https://core.telegram.org/bots/api#getmycommands).

        Args:
            language_code: two letters; None for everybody whose language has no menu of its own.

        Returns:
            exactly the menu that was set for this language; empty where none was.

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer in a readable way.
        """
        result = self._call("getMyCommands", _in_language(language_code))
        try:
            return tuple(BotCommand(str(entry["command"]), str(entry["description"])) for entry in result)
        except (KeyError, TypeError):
            pass
        raise TelegramApiError("getMyCommands: Telegram's answer is unreadable")

    def set_my_commands(self, commands: Iterable[BotCommand], language_code: str | None = None) -> None:
        """Set the menu behind "/" of the default scope (https://core.telegram.org/bots/api#setmycommands).

        Args:
            commands: at most 100.
            language_code: two letters; None for everybody whose language has no menu of its own.

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer.
        """
        menu = [{"command": entry.command, "description": entry.description} for entry in commands]
        self._call("setMyCommands", {"commands": menu} | _in_language(language_code))

    def delete_my_commands(self, language_code: str | None = None) -> None:
        """Remove one menu of the default scope (https://core.telegram.org/bots/api#deletemycommands).

        Args:
            language_code: two letters; None for the menu of no particular language.

        Raises:
            TelegramApiError: it was refused, or Telegram did not answer.
        """
        self._call("deleteMyCommands", _in_language(language_code))

    def _call(self, method: str, params: Mapping[str, Any]) -> Any:
        answer = self._post(method, *_json(params))
        if isinstance(answer, _NoAnswer):
            raise TelegramApiError(f"{method}: no answer from {self._api_url} ({answer.detail})")
        content = _object(answer.body)
        if answer.status // 100 == 2 and content.get("ok") is True:
            return content.get("result")
        description = self._presentable(str(content.get("description", "")), str(params.get("secret_token", "")))
        hint = "; is this the bot's token?" if answer.status in (401, 404) else ""
        raise TelegramApiError(f"{method}: Telegram answered {answer.status} {description}".rstrip() + hint)

    def _presentable(self, description: str, secret: str = "") -> str:
        """Return Telegram's words for a person to read, whatever a broken server may echo in them."""
        for hidden in (self._token, secret):
            if hidden:
                description = description.replace(hidden, "<secret>")
        return _TOKEN.sub("<secret>", description)[:DESCRIPTION_CHARACTERS]

    def _post(self, method: str, body: bytes, content_type: str) -> _Answer | _NoAnswer:
        """Make the one attempt. Whatever goes wrong comes back as a value, since exceptions would hold the URL."""
        try:
            with self._usable_session().post(
                f"{self._api_url}/bot{self._token}/{method}",
                data=body,
                headers={"Content-Type": content_type},
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._read(response)
        except requests.exceptions.ConnectTimeout:
            return _NoAnswer("connect_timeout", certainly_not_sent=True)
        except requests.exceptions.ReadTimeout:
            return _NoAnswer("read_timeout", certainly_not_sent=False)
        except requests.exceptions.ConnectionError as error:
            return _classified(error)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            return _NoAnswer("bad_url", certainly_not_sent=True)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
            return _NoAnswer("connection_lost", certainly_not_sent=False)

    def _read(self, response: requests.Response) -> _Answer | _NoAnswer:
        """Read the body as it comes: a read timeout only limits each silence, a drip could last for ever."""
        deadline = time.monotonic() + self._timeout[1]
        body = b""
        while chunk := response.raw.read1(ANSWER_BYTES):
            body += chunk
            if len(body) > ANSWER_BYTES:
                return _NoAnswer("answer_too_long", certainly_not_sent=False)
            if time.monotonic() > deadline:
                return _NoAnswer("read_timeout", certainly_not_sent=False)
        return _Answer(response.status_code, body)

    def _usable_session(self) -> requests.Session:
        with self._lock:
            now = time.time()  # the wall clock: a frozen function's monotonic clock may have stood still
            if not 0 <= now - self._used_at <= IDLE_SECONDS:
                # Not closed: another thread may be about to use it; its sockets go when it does.
                self._session = _new_session()
            self._used_at = now
            return self._session


def _json(params: Mapping[str, Any]) -> tuple[bytes, str]:
    return json.dumps(params).encode(), "application/json"


def _in_language(language_code: str | None) -> dict[str, str]:
    return {"language_code": language_code} if language_code else {}


def _outcome(answer: _Answer | _NoAnswer) -> Delivery:
    if isinstance(answer, _NoAnswer):
        outcome = DeliveryOutcome.NOT_SENT if answer.certainly_not_sent else DeliveryOutcome.UNKNOWN
        return Delivery(outcome, detail=answer.detail)
    return delivery_of(answer.status, answer.body)


def delivery_of(status: int, body: bytes) -> Delivery:
    """Say what an answer to sendMessage, or to another method that sends, means for the message.

    A 4xx proves that it was not sent, if it is Telegram that says so; 429, 401 and 404 stop a run even when their body
    is unreadable. A 5xx proves nothing: the server answers 500 also for a message that it has sent
    (tdlib/telegram-bot-api, Client.cpp). Everything unreadable is UNKNOWN.

    Args:
        status: the HTTP status.
        body: the answer's body.
    """
    content = _object(body)
    if status == 429:
        return Delivery(DeliveryOutcome.RETRY_LATER, retry_after=_retry_after(content), detail="too_many_requests")
    if status in (401, 404):
        return Delivery(DeliveryOutcome.BAD_TOKEN, detail="unauthorized" if status == 401 else "not_found")
    if 200 <= status < 300:
        return _sent(content)
    if status >= 500:
        return Delivery(DeliveryOutcome.UNKNOWN, detail="server_error")
    if content.get("ok") is not False or content.get("error_code") != status:
        return Delivery(DeliveryOutcome.UNKNOWN, detail="unreadable_answer")
    return _refused(status, content)


def _sent(content: Mapping[str, Any]) -> Delivery:
    result = content.get("result")
    message_id = result.get("message_id") if isinstance(result, dict) else None
    if content.get("ok") is not True or type(message_id) is not int:
        return Delivery(DeliveryOutcome.UNKNOWN, detail="unreadable_answer")
    return Delivery(DeliveryOutcome.SENT, message_id=message_id)


_REFUSALS = (
    (403, "blocked by the user", DeliveryOutcome.BLOCKED, "blocked"),
    (403, "was kicked", DeliveryOutcome.BLOCKED, "kicked"),
    (403, "user is deactivated", DeliveryOutcome.UNREACHABLE, "deactivated"),
    (403, "can't initiate conversation", DeliveryOutcome.UNREACHABLE, "cannot_initiate"),
    (403, "can't send messages to bots", DeliveryOutcome.UNREACHABLE, "is_a_bot"),
    (403, "", DeliveryOutcome.BLOCKED, "forbidden"),
    (400, "chat not found", DeliveryOutcome.UNREACHABLE, "chat_not_found"),
    (400, "peer_id_invalid", DeliveryOutcome.UNREACHABLE, "chat_not_found"),
    (400, "user is deactivated", DeliveryOutcome.UNREACHABLE, "deactivated"),
    (400, "can't parse entities", DeliveryOutcome.BAD_MARKUP, "cannot_parse_entities"),
)
"""Status, words in Telegram's description (the only place that tells these apart), outcome, detail; first match."""


def _refused(status: int, content: Mapping[str, Any]) -> Delivery:
    new_chat_id = _parameter(content, "migrate_to_chat_id")
    if status == 400 and new_chat_id is not None:
        return Delivery(DeliveryOutcome.MIGRATED, new_chat_id=new_chat_id, detail="migrated")
    description = str(content.get("description", "")).lower()
    for refused_with, words, outcome, detail in _REFUSALS:
        if status == refused_with and words in description:
            return Delivery(outcome, detail=detail)
    return Delivery(DeliveryOutcome.REJECTED, detail="rejected")


def _retry_after(content: Mapping[str, Any]) -> int:
    seconds = _parameter(content, "retry_after")
    return FALLBACK_RETRY_SECONDS if seconds is None else max(1, seconds)


def _parameter(content: Mapping[str, Any], name: str) -> int | None:
    parameters = content.get("parameters")
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if type(value) is int else None


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; an empty one where there is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _classified(error: requests.exceptions.ConnectionError) -> _NoAnswer:
    """Tell a connection that never came about from one that was lost on the way."""
    wrapped = error.args[0] if error.args else None
    cause = getattr(wrapped, "reason", wrapped)
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return _NoAnswer("name_not_resolved", certainly_not_sent=True)
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return _NoAnswer("no_connection", certainly_not_sent=True)
    if cause is not None and any(isinstance(inner, ssl.SSLCertVerificationError) for inner in cause.args):
        return _NoAnswer("certificate", certainly_not_sent=True)  # the handshake comes before the first byte of ours
    return _NoAnswer("connection_lost", certainly_not_sent=False)


def _new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc between us and Telegram
    session.headers.clear()
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rekindle"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=8, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
