"""Language models: one bounded HTTP request for Bedrock, OpenAI and Anthropic alike, every failure told apart.

An answer is limited as a whole: timeouts of HTTP libraries only limit each silence, so a server that sends a byte now
and then could hold a caller for ever. The request therefore runs in a thread of its own, which is left behind when its
time is up; it keeps none of our state, and there can only be `MAX_UNDER_WAY` of them.

Nothing is tried again, no redirect is followed (it would take the key elsewhere), and neither the key nor the prompt
is in a log or an exception: whatever goes wrong comes back as a `Failure`.
"""

import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from queue import Empty, SimpleQueue
from typing import Any

import boto3
import requests
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from requests.adapters import HTTPAdapter

from engagement.domain.enhancement import DEFAULT, DEFAULT_MODELS, Failure, Prompt
from engagement.errors import SecretUnavailableError, SettingsError

DEFAULT_URLS = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}
ANTHROPIC_VERSION = "2023-06-01"
MAX_TOKENS = 400
"""More than 300 characters take in any of our languages."""
CONNECT_SECONDS = 2.0
ANSWER_BYTES = 64 * 1024
"""Far above any answer to these prompts."""
MAX_UNDER_WAY = 8

_WITHOUT_THOUGHT = re.compile(r"gpt-(?:5\.|[6-9])")
"""OpenAI's models that think before they answer unless told not to; older ones refuse to be told."""
_ODD_SHAPES = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What reading an answer of any other form than the provider's may raise."""
_KEY = re.compile(r"[!-~]{8,}")

KeyReader = Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class LanguageModel(ABC):
    """A provider and its model. Threads may share one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._slots = threading.BoundedSemaphore(MAX_UNDER_WAY)

    @property
    def name(self) -> str:
        """Provider and model, safe to log and to store."""
        return self._name

    def complete(self, prompt: Prompt, timeout_seconds: float) -> str | Failure:
        """Ask once.

        Args:
            prompt: what to say.
            timeout_seconds: for everything: reading the key, connecting, the whole answer.

        Returns:
            The model's words as they are, or why there are none.
        """
        if not self._slots.acquire(blocking=False):
            return Failure.TIMEOUT  # those before it are still hanging
        deadline = time.monotonic() + timeout_seconds
        answers: SimpleQueue[str | Failure] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._ask(prompt, deadline))
            finally:
                self._slots.release()

        threading.Thread(target=ask, name="llm", daemon=True).start()
        try:
            return answers.get(timeout=timeout_seconds)
        except Empty:
            return Failure.TIMEOUT

    @abstractmethod
    def _ask(self, prompt: Prompt, deadline: float) -> str | Failure:
        """Make the request; may outlast its deadline, but not by much unless the other side wants it to."""


class OpenAI(LanguageModel):
    """Chat completions (https://developers.openai.com/api/reference/resources/chat)."""

    def __init__(self, model: str, url: str, read_key: KeyReader) -> None:
        """Take the model's name, the address before `/v1`, and how to read the key."""
        super().__init__(f"openai/{model}")
        self._model, self._url, self._read_key = model, f"{url}/v1/chat/completions", read_key

    def _ask(self, prompt: Prompt, deadline: float) -> str | Failure:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.data},
            ],
            "max_completion_tokens": MAX_TOKENS,
            "store": False,
        }
        if _WITHOUT_THOUGHT.match(self._model):
            body["reasoning_effort"] = "none"
        return _ask_over_http(
            self._url, body, self._read_key, lambda key: {"Authorization": f"Bearer {key}"}, self._words, deadline
        )

    @staticmethod
    def _words(content: Any) -> str | Failure:
        choice = content["choices"][0]
        if choice["finish_reason"] != "stop" or choice["message"].get("refusal"):
            return Failure.REFUSED
        return _text(choice["message"]["content"])


class Anthropic(LanguageModel):
    """Messages (https://platform.claude.com/docs/en/api/messages/create)."""

    def __init__(self, model: str, url: str, read_key: KeyReader) -> None:
        """Take the model's name, the address before `/v1`, and how to read the key."""
        super().__init__(f"anthropic/{model}")
        self._model, self._url, self._read_key = model, f"{url}/v1/messages", read_key

    def _ask(self, prompt: Prompt, deadline: float) -> str | Failure:
        body = {
            "model": self._model,
            "system": prompt.instructions,
            "messages": [{"role": "user", "content": prompt.data}],
            "max_tokens": MAX_TOKENS,
            "thinking": {"type": "disabled"},
        }
        return _ask_over_http(
            self._url,
            body,
            self._read_key,
            lambda key: {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION},
            self._words,
            deadline,
        )

    @staticmethod
    def _words(content: Any) -> str | Failure:
        if content["stop_reason"] != "end_turn":
            return Failure.REFUSED
        return _text("".join(block["text"] for block in content["content"] if block["type"] == "text"))


class Bedrock(LanguageModel):
    """Converse (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).

    boto3 builds, signs and reads; the request itself is made like the others', since botocore would read an answer
    without end and limits each silence only.
    """

    def __init__(self, model: str, url: str | None = None) -> None:
        """Take the id of a model or inference profile; the address is for tests."""
        super().__init__(f"bedrock/{model}")
        self._model = model
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=5, retries={"total_max_attempts": 1})
        self._client = boto3.client("bedrock-runtime", endpoint_url=url, config=config)
        self._deadline = threading.local()
        self._client.meta.events.register("before-send.bedrock-runtime.Converse", self._send)

    def _ask(self, prompt: Prompt, deadline: float) -> str | Failure:
        self._deadline.at = deadline
        try:
            content = self._client.converse(
                modelId=self._model,
                system=[{"text": prompt.instructions}],
                messages=[{"role": "user", "content": [{"text": prompt.data}]}],
                inferenceConfig={"maxTokens": MAX_TOKENS},
            )
        except _FailedError as error:
            return error.failure
        except ClientError as error:
            return _failure_of(error.response["ResponseMetadata"]["HTTPStatusCode"])
        except (BotoCoreError, *_ODD_SHAPES):  # its parser trusts what it reads
            return Failure.UNREADABLE
        return _read(self._words, content)

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Make botocore's signed request in its place."""
        answer = _post(request.url, request.body, dict(request.headers.items()), self._deadline.at)
        if isinstance(answer, Failure):
            raise _FailedError(answer)
        return AWSResponse(request.url, answer.status, answer.headers, _Body(answer.body))

    @staticmethod
    def _words(content: Any) -> str | Failure:
        if content["stopReason"] != "end_turn":
            return Failure.REFUSED
        return _text("".join(block.get("text", "") for block in content["output"]["message"]["content"]))


class _FailedError(Exception):
    """Carries a failure through botocore."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class _Body:
    """What botocore reads an answer's body from."""

    body: bytes

    def stream(self) -> Iterator[bytes]:
        """Give it out at once."""
        yield self.body


def provider_of(kind: str, model: str, url: str, read_key: KeyReader) -> LanguageModel | None:
    """Return the provider that the operator chose; None for "off".

    Args:
        kind: "off", "bedrock", "openai" or "anthropic".
        model: its name there, or "default".
        url: address before `/v1`, or "default".
        read_key: reads the key when it is needed; Bedrock needs none.

    Raises:
        SettingsError: there is no such provider.
    """
    if kind == "off":
        return None
    if kind not in DEFAULT_MODELS:
        raise SettingsError(f"AI_MESSAGE_ENHANCEMENT is {kind!r}: choose off, {', '.join(sorted(DEFAULT_MODELS))}")
    model = DEFAULT_MODELS[kind] if model == DEFAULT else model
    if kind == "bedrock":
        return Bedrock(model, None if url == DEFAULT else url)
    address = DEFAULT_URLS[kind] if url == DEFAULT else url.rstrip("/")
    return OpenAI(model, address, read_key) if kind == "openai" else Anthropic(model, address, read_key)


def _ask_over_http(
    url: str,
    body: Mapping[str, Any],
    read_key: KeyReader,
    headers_of: Callable[[str], dict[str, str]],
    words: Callable[[Any], str | Failure],
    deadline: float,
) -> str | Failure:
    try:
        key = read_key()
    except SecretUnavailableError:
        return Failure.BAD_KEY
    if not _KEY.fullmatch(key):
        return Failure.BAD_KEY  # also because an HTTP library would quote it when it complains
    headers = headers_of(key) | {"Content-Type": "application/json"}
    answer = _post(url, json.dumps(body).encode(), headers, deadline)
    if isinstance(answer, Failure):
        return answer
    if answer.status != 200:
        return _failure_of(answer.status)
    try:
        content = json.loads(answer.body)
    except _ODD_SHAPES:
        return Failure.UNREADABLE
    return _read(words, content)


def _read(words: Callable[[Any], str | Failure], content: Any) -> str | Failure:
    """Find the words in an answer that may hold anything."""
    try:
        return words(content)
    except _ODD_SHAPES:
        return Failure.UNREADABLE


def _text(found: Any) -> str | Failure:
    return found if isinstance(found, str) else Failure.UNREADABLE


def _failure_of(status: int) -> Failure:
    if status == 429:
        return Failure.THROTTLED
    if status in (401, 403):
        return Failure.BAD_KEY
    return Failure.SERVER_ERROR if status >= 500 else Failure.BAD_REQUEST


def _post(url: str, body: bytes, headers: Mapping[str, str], deadline: float) -> _Answer | Failure:
    """Make the one request."""
    left = deadline - time.monotonic()
    if left <= 0:
        return Failure.TIMEOUT
    try:
        with (
            _new_session() as session,
            session.post(
                url,
                data=body,
                headers=dict(headers),
                timeout=(min(CONNECT_SECONDS, left), left),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            return _bounded(response, deadline)
    except requests.exceptions.Timeout:
        return Failure.TIMEOUT
    except (requests.exceptions.ConnectionError, urllib3.exceptions.HTTPError):
        return Failure.UNREACHABLE
    except (requests.exceptions.RequestException, ValueError):
        return Failure.BAD_REQUEST


def _bounded(response: requests.Response, deadline: float) -> _Answer | Failure:
    """Read the body as it comes."""
    body = b""
    while chunk := response.raw.read1(ANSWER_BYTES):
        body += chunk
        if len(body) > ANSWER_BYTES:
            return Failure.FLOOD
        if time.monotonic() > deadline:
            return Failure.TIMEOUT
    return _Answer(response.status_code, response.headers, body)


def _new_session() -> requests.Session:
    """Open a connection of its own: a call takes a second and is rare, and an idle connection may be dead."""
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc between us and the provider
    session.headers.clear()
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rekindle"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
