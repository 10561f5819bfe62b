"""The fake language model: speaks OpenAI's, Anthropic's and Bedrock's API on loopback, well or as badly as it is told.

with FakeLanguageModel() as model:
    provider = provider_of("openai", "default", model.url, lambda: "a-key-of-tests")
    model.behave(Manner.HANG)                    # the next call
    model.behave(Manner.SAY, says="send t.me/x", times=None)
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from infra.local.loopback import LoopbackServer

DRIP_SECONDS = 0.02
FLOOD_CHUNK = b" " * 65_536


class Manner(StrEnum):
    """What becomes of a call."""

    SAY = "say"
    """A good answer, with the given words; without any, with those it was to rephrase."""
    REFUSE = "refuse"
    """The provider's own way of saying that the model declines."""
    CUT_SHORT = "cut_short"
    """The model ran into its limit."""
    STATUS = "status"
    """An error of the given status."""
    REDIRECT = "redirect"
    """To another path of this server, which would be seen as another call."""
    GARBAGE = "garbage"
    """Bytes that are no JSON."""
    OTHER_JSON = "other_json"
    """The given JSON text instead of the provider's own form."""
    HANG = "hang"
    """Silence until the client gives up."""
    CLOSE = "close"
    """The connection ends without an answer."""
    TRICKLE = "trickle"
    """A body that comes byte by byte and does not end."""
    TRICKLE_HEAD = "trickle_head"
    """The same, but within a header: no read timeout ever sees that."""
    FLOOD = "flood"
    """A body without end, as fast as it is read."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one call ends.

    Attributes:
        manner: in which way.
        says: the words of an answer, or the JSON text.
        status: for `Manner.STATUS`.
    """

    manner: Manner
    says: str | None = None
    status: int = 500


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came.

    Attributes:
        provider: "openai", "anthropic" or "bedrock", by its path; "" for any other.
        path: as requested.
        headers: by lower-case name.
        text: the body as it was.
        body: the body's JSON.
    """

    provider: str
    path: str
    headers: Mapping[str, str]
    text: str
    body: Mapping[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object in the user's turn."""
        content = self.body["messages"][-1]["content"]
        data: dict[str, Any] = json.loads(content[0]["text"] if self.provider == "bedrock" else content)
        return data

    @property
    def instructions(self) -> str:
        """What the model is told beside it."""
        match self.provider:
            case "openai":
                return self.body["messages"][0]["content"]
            case "anthropic":
                return self.body["system"]
            case _:
                return self.body["system"][0]["text"]


class FakeLanguageModel:
    """One server that is every provider; `calls` holds what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._behaviours: list[Behaviour] = []
        self._usual = Behaviour(Manner.SAY)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="llm", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.cut_off()
        self._server.server_close()

    def behave(self, manner: Manner, *, says: str | None = None, status: int = 500, times: int | None = 1) -> None:
        """Let coming calls end in a certain way.

        Args:
            manner: in which way.
            says: the words of an answer, or the JSON text.
            status: for `Manner.STATUS`.
            times: for so many calls; None for all that no other behaviour was asked for.
        """
        behaviour = Behaviour(manner, says, status)
        with self._lock:
            if times is None:
                self._usual = behaviour
            else:
                self._behaviours += [behaviour] * times

    def reset(self) -> None:
        """Forget every behaviour and call."""
        with self._lock:
            self.calls.clear()
            self._behaviours.clear()
            self._usual = Behaviour(Manner.SAY)

    def receive(self, call: Call) -> Behaviour:
        """Keep a call and say how it ends."""
        with self._lock:
            self.calls.append(call)
            return self._behaviours.pop(0) if self._behaviours else self._usual


class _Server(LoopbackServer):
    daemon_threads = True

    def __init__(self, model: FakeLanguageModel) -> None:
        self.model = model
        super().__init__(0, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server = cast(_Server, self.server)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(_provider(self.path), self.path, headers, text, json.loads(text))
        behaviour = server.model.receive(call)
        match behaviour.manner:
            case Manner.HANG:
                server.stopping.wait()
                self.close_connection = True
            case Manner.CLOSE:
                self.close_connection = True
            case Manner.TRICKLE | Manner.TRICKLE_HEAD:
                self._trickle(server.stopping, within_head=behaviour.manner is Manner.TRICKLE_HEAD)
            case Manner.FLOOD:
                self._flood(server.stopping)
            case Manner.REDIRECT:
                self._reply(307, b"", {"Location": f"{server.model.url}/elsewhere"})
            case Manner.GARBAGE:
                self._reply(200, b"\xff\x00<html>busy</html>")
            case Manner.OTHER_JSON:
                self._reply(200, (behaviour.says or "{}").encode())
            case Manner.STATUS:
                self._reply(behaviour.status, json.dumps(_error(call.provider, behaviour.status)).encode())
            case _:
                self._reply(200, json.dumps(_answer(call, behaviour)).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self, stopping: threading.Event, *, within_head: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**6))
        if within_head:
            self.flush_headers()
            self.wfile.write(b"X-Slow: ")
        else:
            self.end_headers()
        self.close_connection = True
        while not stopping.wait(DRIP_SECONDS):
            self.wfile.write(b" ")

    def _flood(self, stopping: threading.Event) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()  # without a length: until the connection ends
        self.close_connection = True
        while not stopping.is_set():
            self.wfile.write(FLOOD_CHUNK)


def _provider(path: str) -> str:
    if path == "/v1/chat/completions":
        return "openai"
    if path == "/v1/messages":
        return "anthropic"
    return "bedrock" if path.startswith("/model/") and path.endswith("/converse") else ""


def _answer(call: Call, behaviour: Behaviour) -> dict[str, Any]:
    """Return an answer in the provider's form."""
    refused, cut = behaviour.manner is Manner.REFUSE, behaviour.manner is Manner.CUT_SHORT
    says = str(call.data["text"]) if behaviour.says is None else behaviour.says
    match call.provider:
        case "openai":
            message = {"role": "assistant", "content": None if refused else says, "refusal": says if refused else None}
            reason = "length" if cut else "stop"
            return {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": call.body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                "usage": {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360},
            }
        case "anthropic":
            return {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": call.body["model"],
                "content": [{"type": "text", "text": says}],
                "stop_reason": "refusal" if refused else "max_tokens" if cut else "end_turn",
                "usage": {"input_tokens": 300, "output_tokens": 60},
            }
        case _:
            return {
                "output": {"message": {"role": "assistant", "content": [{"text": says}]}},
                "stopReason": "content_filtered" if refused else "max_tokens" if cut else "end_turn",
                "usage": {"inputTokens": 300, "outputTokens": 60, "totalTokens": 360},
                "metrics": {"latencyMs": 400},
            }


def _error(provider: str, status: int) -> dict[str, Any]:
    words = "not now"
    if provider == "anthropic":
        return {"type": "error", "error": {"type": "api_error", "message": words}}
    if provider == "openai":
        return {"error": {"message": words, "type": "server_error", "code": str(status)}}
    return {"message": words}
