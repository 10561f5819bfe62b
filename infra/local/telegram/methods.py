"""What the Bot API's methods do here: checks as the real server makes them, and a record of all that was called."""

import hashlib
import json
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from infra.local.telegram import outcomes
from infra.local.telegram.bot_api import BotApi, Upload
from infra.local.telegram.entities import MAX_BYTES, MAX_CODE_POINTS, BadMarkupError, Parsed, parse_html, plain
from infra.local.telegram.outcomes import Manner, Outcome
from infra.local.telegram.webhook import CALLBACK_SECONDS, BadWebhookError, Webhook, after_set_webhook, kind_of

STATUS_WORDS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
}
MAX_CALLBACK_DATA_BYTES = 64
MAX_CALLBACK_ANSWER = 200
MAX_COMMANDS = 100
MAX_CAPTION = 1024
MAX_DOCUMENT_BYTES = 50_000_000
OLD_QUERY = "query is too old and response timeout expired or query ID is invalid"
SET_WEBHOOK_SECONDS = 1.0
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content "
    "and reply markup of the message"
)
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_LANGUAGE = re.compile(r"([a-z]{2})?")
_DEFAULT_SCOPE = {"type": "default"}
_SCOPES = {
    "default": (),
    "all_private_chats": (),
    "all_group_chats": (),
    "all_chat_administrators": (),
    "chat": ("chat_id",),
    "chat_administrators": ("chat_id",),
    "chat_member": ("chat_id", "user_id"),
}
"""Each kind of BotCommandScope, and what it says besides."""

BOT, USER = "bot", "user"


@dataclass(frozen=True, slots=True)
class Document:
    """A file that reached a chat.

    Attributes:
        name: as the user sees it.
        content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that reached a chat, whatever the bot was told about it; after an edit, as it stands now.

    Attributes:
        chat_id: which chat.
        message_id: its id there; counts up from 1 together with the user's own messages.
        text: what the user sees; of a document, its caption.
        source: the text as the bot sent it, or as it last edited it.
        entities: MessageEntity objects.
        reply_markup: the buttons; None where there are none.
        date: epoch seconds by this server's clock.
        at: monotonic seconds of the wall, for rates.
        via: "http" for a call, "response" for a method in a webhook's answer.
        params: the whole call that sent it.
        document: the file; None for a text.
        before: the message before each edit, the oldest first.
    """

    chat_id: int
    message_id: int
    text: str
    source: str
    entities: tuple[dict[str, Any], ...]
    reply_markup: dict[str, Any] | None
    date: int
    at: float
    via: str
    params: dict[str, Any]
    document: Document | None = None
    before: tuple["SentMessage", ...] = field(default=(), repr=False)


class Bubble(NamedTuple):
    """One message of a conversation, as a person sees it.

    Attributes:
        who: "bot" or "user".
        text: its words; what has none is named in brackets, such as "[sticker 😀]".
        buttons: their labels, row by row.
    """

    who: str
    text: str
    buttons: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class _Entry:
    """A place in a conversation; the bot's messages are looked up, since an edit replaces them."""

    who: str
    message_id: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method.

    Attributes:
        method: as it was called.
        params: its parameters.
        via: "http" or "response".
        status: what was, or would have been, answered; 0 where nothing was.
        description: Telegram's words for a refusal.
        date: epoch seconds by this server's clock.
        at: monotonic seconds of the wall.
    """

    method: str
    params: dict[str, Any]
    via: str
    status: int
    description: str
    date: int
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call comes to.

    Attributes:
        manner: how the answer travels.
        status: HTTP status.
        body: the answer's bytes.
    """

    manner: Manner
    status: int
    body: bytes


class RefusedError(Exception):
    """A method refuses; becomes Telegram's error object."""

    def __init__(self, status: int, description: str, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters or {}


class Methods:
    """One bot's side of Telegram: its chats, its webhook and the methods that act on them. Threads may share it."""

    def __init__(
        self,
        token: str,
        *,
        now: Callable[[], int],
        pending: Callable[[], int],
        specification: BotApi | None,
        strict_chats: bool,
        limit_set_webhook: bool,
    ) -> None:
        self.bot_id = int(token.partition(":")[0])
        self.webhook = Webhook()
        self.messages: list[SentMessage] = []
        self.calls: list[Call] = []
        self.answered: list[str] = []
        self.menus: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.problems: list[str] = []
        self._now, self._pending, self._specification = now, pending, specification
        self._strict_chats, self._limit_set_webhook = strict_chats, limit_set_webhook
        self._lock = threading.RLock()
        self._message_ids: dict[int, int] = defaultdict(int)
        self._conversations: dict[int, list[_Entry]] = defaultdict(list)
        self._seen: set[int] = set()
        self._known: set[int] = set()
        self._blocked: set[int] = set()
        self._queries: dict[str, int] = {}
        self._scripts: dict[tuple[str, int | None], deque[tuple[Outcome, int | None]]] = defaultdict(deque)
        self._last_error: tuple[int, str] | None = None
        self._webhook_set_at = -SET_WEBHOOK_SECONDS
        self._sending: dict[str, Callable[[dict[str, Any]], _Draft]] = {
            "sendmessage": _message_draft,
            "senddocument": _document_draft,
            "forwardmessage": self._forward_draft,
        }
        self._methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "getme": self._get_me,
            "setwebhook": self._set_webhook,
            "deletewebhook": self._delete_webhook,
            "getwebhookinfo": self._get_webhook_info,
            "setmycommands": self._set_my_commands,
            "getmycommands": lambda params: self.menus.get(_menu_of(params), []),
            "deletemycommands": self._delete_my_commands,
            "answercallbackquery": self._answer_callback_query,
            "editmessagetext": self._edit_message_text,
            "editmessagereplymarkup": self._edit_message_reply_markup,
            "sendchataction": self._send_chat_action,
        }

    def script(self, outcome: Outcome, *, method: str, chat_id: int | None, times: int | None) -> None:
        """Let the next calls of a method end so; None stands for every chat, or for ever."""
        with self._lock:
            self._scripts[method.lower(), chat_id].append((outcome, times))

    def unscript(self) -> None:
        """Forget every script."""
        with self._lock:
            self._scripts.clear()

    def next_message_id(self, chat_id: int) -> int:
        """Take the chat's next message id."""
        with self._lock:
            self._message_ids[chat_id] += 1
            return self._message_ids[chat_id]

    def observe(self, update: dict[str, Any]) -> None:
        """Learn from an update what the bot may do next, and check it."""
        kind = kind_of(update)
        content = update.get(kind, {})
        with self._lock:
            if self._specification:
                self.problems += self._specification.update_problems(update)
            if kind == "callback_query":
                self._queries.setdefault(content["id"], self._now())
            chat = content.get("chat") or content.get("message", {}).get("chat")
            if not isinstance(chat, dict):
                return
            self._known.add(chat["id"])
            if "message_id" in content:
                self._message_ids[chat["id"]] = max(self._message_ids[chat["id"]], content["message_id"])
            if kind == "my_chat_member":
                gone = content["new_chat_member"]["status"] in ("kicked", "left")
                (self._blocked.add if gone else self._blocked.discard)(chat["id"])
            if kind in ("message", "edited_message") and update["update_id"] not in self._seen:
                self._seen.add(update["update_id"])  # a redelivery says nothing new
                self._hear(kind, content)

    def chat(self, chat_id: int) -> list[Bubble]:
        """Return a conversation as it stands, in order."""
        with self._lock:
            sent = {message.message_id: message for message in self.messages if message.chat_id == chat_id}
            bubbles = []
            for entry in self._conversations.get(chat_id, []):
                if entry.who == USER:
                    bubbles.append(Bubble(USER, entry.text))
                elif message := sent.get(entry.message_id):
                    bubbles.append(Bubble(BOT, _shown(message.text, message.document), _labels(message.reply_markup)))
            return bubbles

    def webhook_failed(self, words: str) -> None:
        """Remember a failed delivery for getWebhookInfo."""
        with self._lock:
            self._last_error = (self._now(), words)

    def remove_webhook(self) -> None:
        """Remove the webhook, as after a day of 410."""
        with self._lock:
            self.webhook = Webhook(allowed_updates=self.webhook.allowed_updates)

    def call(self, method: str, params: dict[str, Any], via: str) -> Reply:
        """Execute a method and record the call."""
        with self._lock:
            if self._specification:
                self.problems += self._specification.call_problems(method, params)
            if params.get("allow_paid_broadcast"):
                self.problems.append(f"{method}: allow_paid_broadcast costs the owner Stars")
            reply, description = self._execute(method.lower(), params, via)
            silent = reply.manner is not Manner.REPLY
            self.calls.append(
                Call(method, params, via, 0 if silent else reply.status, description, self._now(), time.monotonic())
            )
            return reply

    def _execute(self, method: str, params: dict[str, Any], via: str) -> tuple[Reply, str]:
        try:
            if method in self._sending:
                return self._send(method, params, via)
            if method not in self._methods:
                raise RefusedError(404, "method not found")
            chat_id = params.get("chat_id")
            outcome = self._scripted(method, chat_id if isinstance(chat_id, int) else None) or outcomes.OK
            return _answered(outcome, self._methods[method](params) if outcome.accepted else None)
        except RefusedError as refusal:
            return _refused(refusal), refusal.description

    def _send(self, method: str, params: dict[str, Any], via: str) -> tuple[Reply, str]:
        chat_id, draft = self._chat_of(params), self._sending[method](params)
        # What a webhook's answer asks for is executed in silence; scripts are for calls.
        outcome = (self._scripted(method, chat_id) if via == "http" else None) or self._natural(chat_id)
        return _answered(outcome, self._accept(chat_id, draft, params, via) if outcome.accepted else None)

    def _accept(self, chat_id: int, draft: "_Draft", params: dict[str, Any], via: str) -> dict[str, Any]:
        message = SentMessage(
            chat_id,
            self.next_message_id(chat_id),
            draft.parsed.text,
            draft.source,
            draft.parsed.entities,
            draft.markup,
            self._now(),
            time.monotonic(),
            via,
            params,
            draft.document,
        )
        self.messages.append(message)
        self._conversations[chat_id].append(_Entry(BOT, message.message_id))
        return self._as_result(message) | draft.extra

    def _as_result(self, message: SentMessage) -> dict[str, Any]:
        """Return a Message object."""
        result: dict[str, Any] = {
            "message_id": message.message_id,
            "from": self._bot(),
            "chat": {"id": message.chat_id, "type": "private" if message.chat_id > 0 else "supergroup"},
            "date": message.date,
        }
        words, entities = ("caption", "caption_entities") if message.document else ("text", "entities")
        if message.document:
            name = hashlib.sha256(message.document.content).hexdigest()
            size = len(message.document.content)
            result["document"] = {
                "file_id": f"BQACAgIAAxkDAAI{name[:40]}",
                "file_unique_id": f"AgAD{name[:12]}",
                "file_name": message.document.name,
                "file_size": size,
            }
        if message.text:
            result[words] = message.text
        if message.entities:
            result[entities] = list(message.entities)
        return result | ({"reply_markup": message.reply_markup} if message.reply_markup else {})

    def _hear(self, kind: str, content: dict[str, Any]) -> None:
        """Remember what a user wrote, or what it became by an edit."""
        said = self._conversations[content["chat"]["id"]]
        words = _words(content)
        if kind == "edited_message":
            for entry in reversed(said):
                if (entry.who, entry.message_id) == (USER, content["message_id"]):
                    entry.text = words
                    return
        said.append(_Entry(USER, content["message_id"], words))

    def _forward_draft(self, params: dict[str, Any]) -> "_Draft":
        """Look up what is to be forwarded; a user's message that this server never saw has no words."""
        origin, message_id = self._chat_of(params, "from_chat_id"), _message_id_of(params)
        newest = self._message_ids.get(origin)
        if message_id == 0 or (newest is not None and message_id > newest):
            raise RefusedError(400, "message to forward not found")
        found = self._find(origin, message_id)
        if found:
            draft = _Draft(Parsed(found.text, found.entities), found.source, None, found.document)
            sender = self._bot()
        else:
            said = self._conversations.get(origin, [])
            entry = next((e for e in reversed(said) if (e.who, e.message_id) == (USER, message_id)), _Entry(USER, 0))
            draft = _Draft(Parsed(entry.text, ()), entry.text, None, None)
            sender = {"id": origin, "is_bot": False, "first_name": "User"}
        return replace(draft, extra={"forward_origin": {"type": "user", "date": self._now(), "sender_user": sender}})

    def _find(self, chat_id: int, message_id: int) -> SentMessage | None:
        for message in reversed(self.messages):
            if (message.chat_id, message.message_id) == (chat_id, message_id):
                return message
        return None

    def _scripted(self, method: str, chat_id: int | None) -> Outcome | None:
        for key in ((method, chat_id), (method, None)):
            script = self._scripts.get(key)
            if not script:
                continue
            outcome, times = script[0]
            if times is not None:
                script.popleft()
                if times > 1:
                    script.appendleft((outcome, times - 1))
            return outcome
        return None

    def _natural(self, chat_id: int) -> Outcome:
        if self._strict_chats and chat_id not in self._known:
            return outcomes.CHAT_NOT_FOUND
        return outcomes.BLOCKED if chat_id in self._blocked else outcomes.OK

    def _chat_of(self, params: dict[str, Any], name: str = "chat_id") -> int:
        chat_id = params.get(name, "")
        if isinstance(chat_id, str) and re.fullmatch(r"-?\d{1,16}", chat_id):
            chat_id = int(chat_id)
        if chat_id == "":
            raise RefusedError(400, f"{name} is empty")
        if isinstance(chat_id, bool) or not isinstance(chat_id, int):
            raise RefusedError(400, "chat not found")
        return chat_id

    def _bot(self) -> dict[str, Any]:
        return {"id": self.bot_id, "is_bot": True, "first_name": "Bot", "username": "local_bot"}

    def _get_me(self, _: dict[str, Any]) -> dict[str, Any]:
        abilities = {"can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}
        return self._bot() | abilities

    def _set_webhook(self, params: dict[str, Any]) -> bool:
        if self._limit_set_webhook:
            since = time.monotonic() - self._webhook_set_at
            if since < SET_WEBHOOK_SECONDS:
                raise RefusedError(429, "retry after 1", {"retry_after": 1})
            self._webhook_set_at = time.monotonic()
        try:
            self.webhook = after_set_webhook(self.webhook, params)
        except (BadWebhookError, ValueError) as error:
            raise RefusedError(400, str(error)) from error
        self._last_error = None
        return True

    def _delete_webhook(self, _: dict[str, Any]) -> bool:
        self.remove_webhook()
        return True

    def _get_webhook_info(self, _: dict[str, Any]) -> dict[str, Any]:
        webhook = self.webhook
        info: dict[str, Any] = {
            "url": webhook.url,
            "has_custom_certificate": False,
            "pending_update_count": self._pending(),
        }
        if webhook.url:
            info["max_connections"] = webhook.max_connections
            if self._last_error:
                info["last_error_date"], info["last_error_message"] = self._last_error
        if webhook.allowed_updates is not None:
            info["allowed_updates"] = list(webhook.allowed_updates)
        return info

    def _set_my_commands(self, params: dict[str, Any]) -> bool:
        commands = _from_json(params.get("commands", []))
        if not isinstance(commands, list) or len(commands) > MAX_COMMANDS:
            raise RefusedError(400, "can't parse commands list")
        for entry in commands:
            if not _COMMAND.fullmatch(entry.get("command", "").removeprefix("/")):
                raise RefusedError(400, "BOT_COMMAND_INVALID")
            if not 1 <= len(entry.get("description", "")) <= 256:
                raise RefusedError(400, "BOT_COMMAND_DESCRIPTION_INVALID")
        menu = _menu_of(params)
        self.menus[menu] = [entry | {"command": entry["command"].removeprefix("/")} for entry in commands]
        return True

    def _delete_my_commands(self, params: dict[str, Any]) -> bool:
        self.menus.pop(_menu_of(params), None)
        return True

    def _answer_callback_query(self, params: dict[str, Any]) -> bool:
        query = str(params.get("callback_query_id", ""))
        asked = self._queries.get(query)
        if asked is None or query in self.answered or self._now() - asked > CALLBACK_SECONDS:
            raise RefusedError(400, OLD_QUERY)
        if len(str(params.get("text") or "")) > MAX_CALLBACK_ANSWER:
            raise RefusedError(400, "MESSAGE_TOO_LONG")
        self.answered.append(query)
        return True

    def _edit_message_text(self, params: dict[str, Any]) -> dict[str, Any]:
        found, parsed = self._to_edit(params), _parsed(params)
        if found.document:
            raise RefusedError(400, "there is no text in the message to edit")
        wanted = replace(
            found,
            text=parsed.text,
            source=params["text"],
            entities=parsed.entities,
            reply_markup=_keyboard(params.get("reply_markup")),  # none takes away what was there
        )
        return self._edited(found, wanted)

    def _edit_message_reply_markup(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self._to_edit(params)
        return self._edited(found, replace(found, reply_markup=_keyboard(params.get("reply_markup"))))

    def _to_edit(self, params: dict[str, Any]) -> SentMessage:
        chat_id, message_id = self._chat_of(params), _message_id_of(params)
        if message_id == 0:
            raise RefusedError(400, "message identifier is not specified")
        found = self._find(chat_id, message_id)
        if found is None:
            theirs = any((e.who, e.message_id) == (USER, message_id) for e in self._conversations.get(chat_id, []))
            raise RefusedError(400, "message can't be edited" if theirs else "message to edit not found")
        return found

    def _edited(self, found: SentMessage, wanted: SentMessage) -> dict[str, Any]:
        if _as_seen(wanted) == _as_seen(found):
            raise RefusedError(400, NOT_MODIFIED)
        at = next(index for index, message in enumerate(self.messages) if message is found)
        self.messages[at] = replace(wanted, before=(*found.before, replace(found, before=())))
        return self._as_result(self.messages[at]) | {"edit_date": self._now()}

    def _send_chat_action(self, params: dict[str, Any]) -> bool:
        self._chat_of(params)
        return True


def most_within(seconds: float, times: Iterable[float]) -> int:
    """Return how many of `times` fall into the fullest window of that length; its end does not belong to it."""
    window: deque[float] = deque()
    most = 0
    for moment in sorted(times):
        window.append(moment)
        while moment - window[0] >= seconds:
            window.popleft()
        most = max(most, len(window))
    return most


@dataclass(frozen=True, slots=True)
class _Draft:
    """A message that may be sent: what was checked of a call.

    Attributes:
        parsed: what the user will see.
        source: the words as the bot sent them.
        markup: the buttons.
        document: the file.
        extra: what the answer holds besides.
    """

    parsed: Parsed
    source: str
    markup: dict[str, Any] | None
    document: Document | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def _message_draft(params: dict[str, Any]) -> _Draft:
    return _Draft(_parsed(params), str(params["text"]), _keyboard(params.get("reply_markup")))


def _document_draft(params: dict[str, Any]) -> _Draft:
    file = params.get("document")
    if not file:
        raise RefusedError(400, "there is no document in the request")
    if not isinstance(file, Upload):
        raise RefusedError(400, "wrong remote file identifier specified: this server knows no files but uploaded ones")
    if not file.content:
        raise RefusedError(400, "file must be non-empty")
    if len(file.content) > MAX_DOCUMENT_BYTES:
        raise RefusedError(413, "")
    caption = str(params.get("caption") or "")
    parsed = _marked_up(caption, params)
    if len(parsed.text) > MAX_CAPTION:
        raise RefusedError(400, "message caption is too long")
    return _Draft(parsed, caption, _keyboard(params.get("reply_markup")), Document(file.name, file.content))


def _parsed(params: dict[str, Any]) -> Parsed:
    text = params.get("text", "")
    if not isinstance(text, str) or not text:
        raise RefusedError(400, "message text is empty")
    parsed = _marked_up(text, params)
    if not parsed.text:
        raise RefusedError(400, "message text is empty")
    if len(parsed.text) > MAX_CODE_POINTS:
        raise RefusedError(400, "message is too long")
    return parsed


def _marked_up(text: str, params: dict[str, Any]) -> Parsed:
    """Read a text or a caption as its parse_mode asks for."""
    mode = str(params.get("parse_mode") or "").lower()
    if mode not in ("", "html"):
        raise RefusedError(400, "unsupported parse_mode")
    try:
        if len(text.encode()) > MAX_BYTES:
            raise RefusedError(400, "message is too long")
        return parse_html(text) if mode else plain(text)
    except UnicodeEncodeError as error:
        raise RefusedError(400, "strings must be encoded in UTF-8") from error
    except BadMarkupError as error:
        raise RefusedError(400, f"can't parse entities: {error}") from error


def _message_id_of(params: dict[str, Any]) -> int:
    """Return the parameter message_id; 0 where there is none that could be one."""
    value = params.get("message_id")
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _menu_of(params: dict[str, Any]) -> tuple[str, str]:
    """Return which menu a call is about: its scope as JSON, and its language ("" for those without their own)."""
    scope = _from_json(params.get("scope")) or _DEFAULT_SCOPE
    kind = scope.get("type") if isinstance(scope, dict) else None
    if kind not in _SCOPES:
        raise RefusedError(400, "can't parse BotCommandScope: Unsupported type specified")
    if missing := [name for name in _SCOPES[kind] if name not in scope]:
        raise RefusedError(400, f"can't parse BotCommandScope: Can't find field \"{missing[0]}\"")
    language = str(params.get("language_code") or "")
    if not _LANGUAGE.fullmatch(language):
        raise RefusedError(400, "invalid language code specified")
    return menu_key(scope, language)


def menu_key(scope: dict[str, Any], language_code: str) -> tuple[str, str]:
    """Return where `Methods.menus` keeps the menu of a BotCommandScope and a language."""
    return json.dumps(scope, sort_keys=True), language_code


def _words(content: dict[str, Any]) -> str:
    """Return what a person sees of a user's message."""
    if "text" in content:
        return str(content["text"])
    caption = str(content.get("caption", ""))
    if "document" in content:
        return _shown(caption, Document(content["document"].get("file_name", ""), b""))
    if "sticker" in content:
        return f"[sticker {content['sticker'].get('emoji', '')}]".replace(" ]", "]")
    kind = next((name for name in ("photo", "voice", "video", "audio", "location", "contact") if name in content), "")
    return f"[{kind or 'message'}]" + (f"\n{caption}" if caption else "")


def _shown(text: str, document: Document | None) -> str:
    """Return the words of a message, after the name of its file."""
    return "\n".join(part for part in (f"[file {document.name}]" if document else "", text) if part)


def _labels(markup: dict[str, Any] | None) -> tuple[tuple[str, ...], ...]:
    rows = (markup or {}).get("inline_keyboard", [])
    return tuple(tuple(str(button["text"]) for button in row) for row in rows if row)


def _as_seen(message: SentMessage) -> tuple[object, ...]:
    return message.text, message.entities, message.reply_markup


def _keyboard(markup: Any) -> dict[str, Any] | None:
    """Check an inline keyboard; a button does exactly one thing."""
    markup = _from_json(markup)
    if not markup:
        return None
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise RefusedError(400, "can't parse reply keyboard markup JSON object")
    for button in (button for row in rows for button in row):
        if not isinstance(button, dict) or not str(button.get("text", "")).strip():
            raise RefusedError(400, 'can\'t parse inline keyboard button: Field "text" must be of type String')
        if len(button.keys() - {"text", "style", "icon_custom_emoji_id"}) != 1:
            raise RefusedError(
                400, "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
            )
        data = button.get("callback_data")
        if data is not None and not 1 <= len(str(data).encode()) <= MAX_CALLBACK_DATA_BYTES:
            raise RefusedError(400, "BUTTON_DATA_INVALID")
    return markup


def _from_json(value: Any) -> Any:
    """Read a parameter that a form carries as text."""
    if isinstance(value, str) and value:
        try:
            return json.loads(value)
        except ValueError as error:
            raise RefusedError(400, "can't parse JSON") from error
    return value


def _answered(outcome: Outcome, result: Any) -> tuple[Reply, str]:
    """Return the answer that an outcome asks for, and the words of a refusal."""
    if outcome.status == 200:
        body = json.dumps({"ok": True, "result": result}).encode()
    else:
        body = _refused(RefusedError(outcome.status, outcome.description, outcome.parameters)).body
    return Reply(outcome.manner, outcome.status, body if outcome.body is None else outcome.body), outcome.description


def _refused(refusal: RefusedError) -> Reply:
    words = STATUS_WORDS.get(refusal.status, "Error")
    content: dict[str, Any] = {
        "ok": False,
        "error_code": refusal.status,
        "description": f"{words}: {refusal.description}" if refusal.description else words,
    }
    if refusal.parameters:
        content["parameters"] = refusal.parameters
    return Reply(Manner.REPLY, refusal.status, json.dumps(content).encode())
