"""The whole suite on this machine: local AWS, fake Telegram, the deployed stack, its stream and its schedules.

with LocalSuite() as suite:
    suite.post_update(updates.message(1, Person(7), "hello", date=..., message_id=1))
    suite.wait_until_drained()
    suite.tick("scorer", at)
"""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urlparse

from botocore.config import Config
from botocore.exceptions import ClientError

from infra.config import LOCAL_STAGE, WEBHOOK_MAX_CONNECTIONS, DeploymentConfig
from infra.local import fixups
from infra.local.deployment import Deployment, Say, client, deploy, local_config
from infra.local.emulator import ROOT, Emulator, LocalAwsError, environment, free_port
from infra.local.metrics import MetricsReader, Totals
from infra.local.scheduler import LocalSchedule, LocalScheduler
from infra.local.stream_poller import StreamClients, StreamPoller

if TYPE_CHECKING:
    from infra.local.telegram.server import FakeTelegram, Posted

STATE_FILE = ROOT / "build" / "local.json"
"""Where `rekindle local` finds the running suite."""

BOT_ID = 123456
CALLBACK_KEY = "local-callback-key-0001"
"""The buttons in events/ are signed with it; it opens nothing."""
WEBHOOK_SECRET = "local-webhook-secret-0001"  # noqa: S105 - of the local AWS, which answers on loopback alone
ARRIVAL_HEADER = "x-rekindle-now"
TELEGRAM_PORT = 48_081
"""Preferred, so that the stack, which holds the address, stays the same from run to run."""
INVOKE_SECONDS = 900


class FunctionFailedError(LocalAwsError):
    """A function raised or timed out.

    Attributes:
        function: name of its folder.
        payload: what Lambda returned instead of a result.
    """

    def __init__(self, function: str, payload: object) -> None:
        words = payload.get("errorMessage", "") if isinstance(payload, Mapping) else ""
        super().__init__(f"{function} failed: {words}")
        self.function = function
        self.payload = payload


class Clock:
    """The suite's idea of now: the clock on the wall, until it is set."""

    def __init__(self) -> None:
        self._at: datetime | None = None

    @property
    def virtual(self) -> bool:
        """Whether it was set; the schedules rest meanwhile, since their ticks would come from another time."""
        return self._at is not None

    def set(self, at: datetime) -> None:
        """Stop the clock at this time, aware."""
        if at.tzinfo is None:
            raise ValueError("a time needs a zone")
        self._at = at

    def release(self) -> None:
        """Go by the clock on the wall again."""
        self._at = None

    def now(self) -> datetime:
        """Return the time, aware UTC."""
        return (self._at or datetime.now(UTC)).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteState:
    """What other processes need to know of a running suite; nothing secret.

    Attributes:
        pid: the process that runs it.
        directory: the local AWS's files; gone when the suite is, however it ended.
        endpoint: the local AWS.
        telegram_url: the fake Telegram.
        webhook_address: where to post updates; unlike the output WebhookUrl every client can resolve it.
        started_at: ISO-8601.
        outputs: of the stack.
        variables: what a function of the stack finds in its environment, all functions together.
    """

    pid: int
    directory: str
    endpoint: str
    telegram_url: str
    webhook_address: str
    started_at: str
    outputs: Mapping[str, str]
    variables: Mapping[str, str]

    @classmethod
    def read(cls, file: Path | None = None) -> Self | None:
        """Return the running suite; None if there is none (what a killed one left behind is removed)."""
        file = file or STATE_FILE
        try:
            state = cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            file.unlink(missing_ok=True)
            return None
        # The directory goes with the process, and no other process will ever make it again: no doubt about reused ids.
        if Path(state.directory).is_dir():
            return state
        file.unlink(missing_ok=True)
        return None

    def write(self, file: Path) -> None:
        """Leave a note for other processes."""
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n")
        fresh.replace(file)

    def environment(self) -> dict[str, str]:
        """Return what a shell needs to talk to the suite and to run its functions."""
        operator = {"REKINDLE_STAGE": LOCAL_STAGE, "REKINDLE_TELEGRAM_API_URL": self.telegram_url}
        return {**self.variables, **operator, **environment(self.endpoint)}

    def curl(self) -> str:
        """Return a command that posts a message to the bot."""
        update = (
            '{"update_id":\'$RANDOM\',"message":{"message_id":1,"date":\'$(date +%s)\',"text":"hello, I love this!",'
            '"from":{"id":42,"is_bot":false,"first_name":"You","language_code":"en"},"chat":{"id":42,"type":"private"}}}'
        )
        return (
            f"curl -si '{self.webhook_address}' -H 'content-type: application/json' "
            f"-H 'x-telegram-bot-api-secret-token: {WEBHOOK_SECRET}' -d '{update}'"
        )


class LocalSuite:
    """Everything that runs; a context manager that leaves nothing behind."""

    def __init__(
        self,
        *,
        say: Say = lambda _: None,
        choices: Mapping[str, str | float] | None = None,
        real_time: bool = False,
        state_file: Path | None = None,
        bot_api: Path | None = None,
    ) -> None:
        """Take what may be chosen; nothing starts yet.

        Args:
            say: told what is being done.
            choices: fields of `DeploymentConfig` other than the local stage's.
            real_time: run the deployed schedules by the clock on the wall.
            state_file: where to leave a note for `rekindle local`; at most one suite at a time may use it.
            bot_api: a Bot API specification for the fake Telegram to check against.
        """
        self.clock = Clock()
        self.emulator = Emulator()
        self.webhook_secret = WEBHOOK_SECRET
        self._token = f"{BOT_ID}:{secrets.token_urlsafe(27)[:35]}"
        self._say = say
        self._choices = dict(choices or {})
        self._real_time = real_time
        self._state_file = state_file
        self._bot_api = bot_api
        self._telegram: FakeTelegram | None = None
        self._deployment: Deployment | None = None
        self._stream: StreamPoller | None = None
        self._scheduler: LocalScheduler | None = None
        self._schedules: list[LocalSchedule] = []
        self._metrics: MetricsReader | None = None
        self._claim: IO[str] | None = None
        self._environment_before: dict[str, str | None] = {}
        self._functions: Any = None

    # --- starting and stopping ---

    def start(self) -> Self:
        """Start everything, one after the other.

        Raises:
            LocalAwsError: something could not be started; what had been is stopped again.
        """
        try:
            self._claim_state_file()
            self._start()
        except BaseException:  # Ctrl-C included
            self.stop()
            raise
        return self

    def _claim_state_file(self) -> None:
        """Make sure that no other suite uses the state file; the system takes the claim back however we end."""
        if not self._state_file:
            return
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        self._claim = self._state_file.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._claim.close()
            self._claim = None
            raise LocalAwsError("a local suite is already running; `rekindle local down` stops it") from None

    def _start(self) -> None:
        self._say("starting the local AWS")
        self.emulator.start()
        self._say("starting the fake Telegram")
        self._telegram = self._start_telegram()
        config = local_config(BOT_ID, self._telegram.url, **self._choices)
        secret_values = {
            config.bot_token_parameter: self._token,
            config.webhook_secret_parameter: self.webhook_secret,
            config.callback_key_parameter: CALLBACK_KEY,
        }
        self._deployment = deploy(self.emulator, config, secret_values, self._say)
        self._say("completing what the local AWS leaves out")
        fixups.apply(self._deployment, self.endpoint)
        mappings = fixups.take_over_streams(self.endpoint)
        self._schedules = [LocalSchedule.from_api(schedule) for schedule in fixups.take_over_schedules(self.endpoint)]
        self._functions = self._lambda_client()
        self._stream = StreamPoller(
            mappings,
            StreamClients(
                streams=client("dynamodbstreams", self.endpoint),
                functions=self._lambda_client(),
                queues=client("sqs", self.endpoint),
            ),
        ).start()
        self._set_webhook(config)
        if self._real_time:
            self._scheduler = LocalScheduler(
                self._schedules, self._lambda_client(), resting=lambda: self.clock.virtual
            ).start()
        if self._state_file:
            self.state().write(self._state_file)

    def _start_telegram(self) -> "FakeTelegram":
        from infra.local.telegram.server import FakeTelegram

        options: dict[str, Any] = {"now": lambda: int(self.clock.now().timestamp()), "bot_api": self._bot_api}
        try:
            return FakeTelegram(self._token, TELEGRAM_PORT, **options).start()
        except OSError:  # the port is taken, by another suite most likely
            return FakeTelegram(self._token, free_port(), **options).start()

    def _set_webhook(self, config: DeploymentConfig) -> None:
        from engagement.clients.telegram import TelegramClient
        from engagement.domain.webhook import ALLOWED_UPDATES

        TelegramClient(self._token, config.telegram_api_url).set_webhook(
            self.outputs["WebhookUrl"], self.webhook_secret, ALLOWED_UPDATES, WEBHOOK_MAX_CONNECTIONS
        )

    def stop(self) -> None:
        """Stop everything; safe to call twice, and Ctrl-C cannot cut it short."""
        with _undisturbed():
            if self._scheduler:
                self._scheduler.stop()
            if self._stream:
                self._stream.stop(0)
            # An invocation under way ends with the local AWS, and with it whatever waits for one.
            self.emulator.stop()
            if self._stream:
                self._stream.stop()
            if self._telegram:
                self._telegram.stop()
            self._restore_environment()
            if self._state_file and self._claim:
                self._state_file.unlink(missing_ok=True)
                self._claim.close()
                self._claim = None

    def _restore_environment(self) -> None:
        for name, value in self._environment_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment_before.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- what is there ---

    @property
    def endpoint(self) -> str:
        """URL of the local AWS."""
        return self.emulator.endpoint

    @property
    def telegram(self) -> "FakeTelegram":
        """The fake Telegram; its lists say what it saw."""
        return _started(self._telegram)

    @property
    def deployment(self) -> Deployment:
        """The stack as it was deployed."""
        return _started(self._deployment)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.deployment.outputs

    @property
    def stream(self) -> StreamPoller:
        """What plays the stream."""
        return _started(self._stream)

    @property
    def table_name(self) -> str:
        """Name of the one table."""
        return self.outputs["TableName"]

    @property
    def webhook_address(self) -> str:
        """Where to post updates; unlike the output WebhookUrl every client can resolve it."""
        url = urlparse(self.outputs["WebhookUrl"])
        api_id = (url.hostname or "").partition(".")[0]
        return f"{self.endpoint}/_aws/execute-api/{api_id}/$default{url.path}"

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of the local AWS."""
        return client(service, self.endpoint, **options)

    def state(self) -> SuiteState:
        """Return what other processes need to know."""
        return SuiteState(
            pid=os.getpid(),
            directory=str(self.emulator.directory),
            endpoint=self.endpoint,
            telegram_url=self.telegram.url,
            webhook_address=self.webhook_address,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            outputs=dict(self.outputs),
            variables=self._variables(),
        )

    def bind_table(self) -> None:
        """Point this process's AWS clients and the store at the deployed table, until the suite stops."""
        from engagement.store.table import SCAN_SECONDS, bind

        for name, value in environment(self.endpoint).items():
            self._environment_before.setdefault(name, os.environ.get(name))
            os.environ[name] = value
        bind(self.table_name, read_seconds=SCAN_SECONDS)

    # --- what can be done ---

    def post_update(self, update: dict[str, Any], at: datetime | None = None) -> "Posted":
        """Post an update to the deployed webhook over HTTP, as Telegram does; its reply is executed.

        Args:
            update: see `infra.local.telegram.updates`.
            at: when it arrives, aware; by default the suite's clock.
        """
        arrival = str(int((at or self.clock.now()).timestamp()))
        return self.telegram.post(update, {ARRIVAL_HEADER: arrival})

    def invoke(self, function: str, event: object) -> Any:
        """Invoke a deployed function and return its result.

        Args:
            function: name of its folder, such as "outreach_sender".
            event: what Lambda hands over.

        Raises:
            FunctionFailedError: it raised or timed out.
            LocalAwsError: there is no such function, or Lambda refused (all its reserved copies are busy).
        """
        return invoke(self._functions, function, function_name(self.outputs, function), event)

    def tick(self, function: str, at: datetime) -> list[Any]:
        """Invoke a function as its schedules do at this time, one after the other; returns its results.

        Args:
            function: name of its folder.
            at: the time the ticks stand for, aware.
        """
        name = function_name(self.outputs, function)
        events = [s.event(at) for s in self._schedules if s.function_arn.rsplit(":", 1)[-1] == name]
        if not events:
            raise LocalAwsError(f"{function} has no schedule")
        return [self.invoke(function, event) for event in events]

    def wait_until_drained(self, timeout: float = 60.0) -> None:
        """Wait until the stream's readers are done with everything written so far.

        Raises:
            LocalAwsError: it took longer than `timeout` seconds.
        """
        self.stream.wait_until_drained(timeout)

    def metrics(self) -> Totals:
        """Return what the functions counted since the deployment, and how many error lines they logged."""
        if self._metrics is None:
            self._metrics = MetricsReader(self.client("logs"), self._log_groups().values())
        return self._metrics.totals()

    def dead_letters(self) -> list[dict[str, Any]]:
        """Take everything out of the dead-letter queue."""
        queues = self.client("sqs")
        taken: list[dict[str, Any]] = []
        while messages := queues.receive_message(
            QueueUrl=self.outputs["DeadLetterQueueUrl"], MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                taken.append(json.loads(message["Body"]))
                queues.delete_message(
                    QueueUrl=self.outputs["DeadLetterQueueUrl"], ReceiptHandle=message["ReceiptHandle"]
                )
        return taken

    def _lambda_client(self) -> Any:
        # A retry by the client would be a second invocation that nobody counts.
        return self.client("lambda", config=Config(read_timeout=INVOKE_SECONDS, retries={"total_max_attempts": 1}))

    def _configurations(self) -> dict[str, dict[str, Any]]:
        return {
            name: self._functions.get_function_configuration(FunctionName=physical)
            for name, physical in function_names(self.outputs).items()
        }

    def _log_groups(self) -> dict[str, str]:
        groups = {name: described["LoggingConfig"]["LogGroup"] for name, described in self._configurations().items()}
        known = {
            g["logGroupName"]
            for p in self.client("logs").get_paginator("describe_log_groups").paginate()
            for g in p["logGroups"]
        }
        return {name: group for name, group in groups.items() if group in known}

    def _variables(self) -> dict[str, str]:
        """Return the settings of all functions; they never disagree, but for each one's own service name."""
        merged: dict[str, str] = {}
        for described in self._configurations().values():
            merged |= described.get("Environment", {}).get("Variables", {})
        merged.pop("POWERTOOLS_SERVICE_NAME", None)
        return merged


def function_names(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the deployed name of each function, by the name of its folder."""
    suffix = "FunctionName"
    return {_snake(key.removesuffix(suffix)): value for key, value in sorted(outputs.items()) if key.endswith(suffix)}


def function_name(outputs: Mapping[str, str], function: str) -> str:
    """Return the deployed name of a function.

    Raises:
        LocalAwsError: the stack has no such function.
    """
    names = function_names(outputs)
    if function not in names:
        raise LocalAwsError(f"there is no function {function}; the stack has: {', '.join(names)}")
    return names[function]


def invoke(functions: Any, function: str, deployed_as: str, event: object) -> Any:
    """Invoke a deployed function and return its result.

    Args:
        functions: a boto3 Lambda client.
        function: what to call it in errors.
        deployed_as: its deployed name.
        event: what Lambda hands over.

    Raises:
        FunctionFailedError: it raised or timed out.
        LocalAwsError: Lambda refused.
    """
    try:
        response = functions.invoke(FunctionName=deployed_as, Payload=json.dumps(event).encode())
    except ClientError as error:
        raise LocalAwsError(f"{function} was not invoked: {error.response['Error']['Code']}") from error
    payload = json.loads(response["Payload"].read() or b"null")
    if response.get("FunctionError"):
        raise FunctionFailedError(function, payload)
    return payload


def _snake(pascal: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in pascal).removeprefix("_")


def _started[Part](part: Part | None) -> Part:
    if part is None:
        raise LocalAwsError("the local suite has not been started")
    return part


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C and a polite kill off for the second that stopping takes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
