"""The local suite's parts that need no server: it talks to this machine only, and plays schedules and metrics."""

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.local import deployment
from infra.local.deployment import _Step, client, local_config
from infra.local.emulator import Emulator, LocalAwsError, environment, require_loopback
from infra.local.metrics import MetricsReader, Totals, add_up
from infra.local.scheduler import LocalSchedule, LocalScheduler, is_due
from infra.local.suite import BOT_ID, Clock, LocalSuite, SuiteState, function_name, function_names

ELSEWHERE = [
    "https://dynamodb.us-east-1.amazonaws.com",
    "http://10.0.0.1:4566",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com:4566",
    "https://api.telegram.org",
    "",
]


# --- loopback only ---


@pytest.mark.parametrize("url", ELSEWHERE)
def test_an_endpoint_elsewhere_is_refused(url: str) -> None:
    for call in (require_loopback, environment, lambda url: client("dynamodb", url)):
        with pytest.raises(LocalAwsError, match="is not a loopback address"):
            call(url)


def test_the_callers_aws_account_never_reaches_the_cdk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "the-callers")
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "the-callers")

    variables = deployment._variables(Emulator(port=4566))

    assert "the-callers" not in variables.values()
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert variables["AWS_CONFIG_FILE"] == variables["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_a_client_knows_nothing_of_the_callers_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-callers")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-callers")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://dynamodb.us-east-1.amazonaws.com")

    made = client("dynamodb", "http://127.0.0.1:1")

    assert made.meta.endpoint_url == "http://127.0.0.1:1"
    assert made._request_signer._credentials.access_key == "test"


def test_an_emulator_that_was_never_started_leaves_nothing() -> None:
    emulator = Emulator(port=1)

    assert not emulator.directory.exists()
    emulator.stop()
    assert not emulator.running


# --- deployment ---


def test_the_local_stage_is_this_machines() -> None:
    config = local_config(BOT_ID, "http://127.0.0.1:9", consent_policy="assume")

    assert config.stage == "local"
    assert config.disposable
    assert config.virtual_clock == "on"
    assert config.architecture in {"arm64", "x86_64"}
    assert config.consent_policy == "assume"


def test_synthesis_is_skipped_only_while_nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    for name in ("infra/local/x.py", "infra/stack.py", "functions/f/handler.py", "models/churn/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    for name in ("cdk.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    before = deployment._digest(["a=1"])

    (tmp_path / "infra/local/x.py").write_text("2")
    assert deployment._digest(["a=1"]) == before
    assert deployment._digest(["a=2"]) != before
    for name in ("infra/stack.py", "functions/f/handler.py", "models/churn/model.onnx", "cdk.json"):
        (tmp_path / name).write_text("2")
        after = deployment._digest(["a=1"])
        assert after != before
        before = after
    (tmp_path / "functions/f/more.py").write_text("")
    assert deployment._digest(["a=1"]) != before


@pytest.fixture
def failing_cdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    script = tmp_path / "cdk"
    script.write_text('#!/bin/sh\nfor i in $(seq 60); do echo "line $i"; done\necho "the reason" >&2\nexit 3\n')
    script.chmod(0o700)
    monkeypatch.setattr(deployment, "CDK", script)
    monkeypatch.setattr(deployment, "WORKSPACE", tmp_path)
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    emulator = Emulator(port=1)
    emulator.directory = tmp_path / "emulator"
    emulator.directory.mkdir()
    return emulator


def test_a_failing_step_shows_the_end_of_its_log_and_keeps_the_whole(failing_cdk: Emulator, tmp_path: Path) -> None:
    with pytest.raises(LocalAwsError) as caught:
        _Step("synth", failing_cdk, {"PATH": "/usr/bin:/bin"}, [], cwd=tmp_path).finish()

    said = str(caught.value)
    assert "`cdk synth` failed" in said
    assert said.endswith("the reason")
    assert "cdk-synth.log" in said
    assert "line 60" in said
    assert "line 1\n" not in said
    assert "line 1\n" in (tmp_path / "cdk-synth.log").read_text()


# --- schedules ---


@pytest.mark.parametrize(
    ("expression", "zone", "at", "due"),
    [
        ("cron(*/5 * * * ? *)", "UTC", "2026-11-22T12:35:00+00:00", True),
        ("cron(*/5 * * * ? *)", "UTC", "2026-11-22T12:36:00+00:00", False),
        ("cron(0 * * * ? *)", "UTC", "2026-11-22T12:00:59+00:00", True),
        ("cron(0 9 * * ? *)", "Asia/Tokyo", "2026-11-22T00:00:00+00:00", True),
        ("cron(0 9 * * ? *)", "Asia/Tokyo", "2026-11-22T09:00:00+00:00", False),
        ("cron(0 3 ? * MON *)", "UTC", "2026-11-23T03:00:00+00:00", True),  # a Monday
        ("cron(0 3 ? * MON *)", "UTC", "2026-11-22T03:00:00+00:00", False),
        ("cron(0 3 ? * 1 *)", "UTC", "2026-11-22T03:00:00+00:00", True),  # 1 is Sunday on AWS
        ("cron(0 3 ? * MON-FRI *)", "UTC", "2026-11-27T03:00:00+00:00", True),
        ("cron(0,30 8-10 1 JAN ? 2027)", "UTC", "2027-01-01T10:30:00+00:00", True),
        ("cron(10/20 * * * ? *)", "UTC", "2026-11-22T12:50:00+00:00", True),
        ("cron(10/20 * * * ? *)", "UTC", "2026-11-22T12:05:00+00:00", False),
        ("rate(5 minutes)", "UTC", "2026-11-22T12:35:30+00:00", True),
        ("rate(1 hour)", "UTC", "2026-11-22T12:35:00+00:00", False),
        ("at(2026-11-22T13:00:00)", "Europe/Berlin", "2026-11-22T12:00:00+00:00", True),
    ],
)
def test_schedules_tick_when_aws_would(expression: str, zone: str, at: str, due: bool) -> None:
    assert is_due(expression, ZoneInfo(zone), datetime.fromisoformat(at)) is due


@pytest.mark.parametrize(
    "expression", ["cron(* * * *)", "cron(L * * * ? *)", "cron(60 * * * ? *)", "rate(0 minutes)", "rate(5 weeks)", "x"]
)
def test_an_expression_that_is_not_played_is_refused(expression: str) -> None:
    with pytest.raises(LocalAwsError):
        is_due(expression, ZoneInfo("UTC"), datetime(2026, 11, 22, tzinfo=UTC))


SCHEDULE = LocalSchedule.from_api(
    {
        "Name": "Tick",
        "Arn": "arn:tick",
        "ScheduleExpression": "cron(*/5 * * * ? *)",
        "ScheduleExpressionTimezone": "UTC",
        "Target": {
            "Arn": "arn:aws:lambda:us-east-1:000000000000:function:sender",
            "Input": '{"scheduled_time":"<aws.scheduler.scheduled-time>","shard":0,"of":1}',
        },
        "State": "ENABLED",
    }
)


def test_a_tick_carries_the_time_it_stands_for() -> None:
    at = datetime(2026, 11, 22, 13, 5, tzinfo=ZoneInfo("Europe/Berlin"))

    assert SCHEDULE.event(at) == {"scheduled_time": "2026-11-22T12:05:00Z", "shard": 0, "of": 1}


class Functions:
    """Remembers what was invoked."""

    def __init__(self) -> None:
        self.invoked: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> None:
        self.invoked.append(request)


def test_due_schedules_are_invoked_asynchronously_and_disabled_ones_never() -> None:
    functions = Functions()
    off = LocalSchedule.from_api(
        {"Name": "Off", "Arn": "a", "ScheduleExpression": "rate(1 minute)", "Target": {"Arn": "x"}, "State": "DISABLED"}
    )
    scheduler = LocalScheduler([SCHEDULE, off], functions)

    assert scheduler.fire(datetime(2026, 11, 22, 12, 5, tzinfo=UTC)) == 1
    assert scheduler.fire(datetime(2026, 11, 22, 12, 6, tzinfo=UTC)) == 0

    (request,) = functions.invoked
    assert request["InvocationType"] == "Event"
    assert json.loads(request["Payload"])["scheduled_time"] == "2026-11-22T12:05:00Z"


# --- metrics ---


def emf(service: str, **values: list[float] | float) -> str:
    names = [{"Name": name, "Unit": "Count"} for name in values]
    directive = {"Namespace": "Rekindle", "Dimensions": [["service"]], "Metrics": names}
    return json.dumps({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, "service": service, **values})


def test_metrics_are_added_up_by_service_and_other_lines_count_for_nothing() -> None:
    totals = Totals()

    add_up(
        [
            "START RequestId: 1",
            emf("webhook", InteractionsStored=[1.0]),
            emf("webhook", InteractionsStored=[1.0, 2.0], DuplicatesIgnored=3),
            emf("scorer", InteractionsStored=[5.0]),
            '{"level":"INFO","service":"webhook"}',
            '{"level":"ERROR","service":"webhook","message":"trouble"}',
            "{not json",
        ],
        totals,
    )

    assert totals.metrics == {
        ("webhook", "InteractionsStored"): 4,
        ("webhook", "DuplicatesIgnored"): 3,
        ("scorer", "InteractionsStored"): 5,
    }
    assert totals.of("InteractionsStored") == 9
    assert totals.errors == Counter(webhook=1)


class Logs:
    """A log group as the local AWS answers: the oldest events first, `limit` at most, no ids, no next page."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, at: int, stream: str, message: str) -> None:
        self.events.append({"timestamp": at, "logStreamName": stream, "message": message})

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        assert request["logGroupName"] == "group"
        events = [event for event in self.events if event["timestamp"] >= request["startTime"]]
        return {"events": events[: request["limit"]]}


def test_each_line_is_counted_once_however_often_one_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.metrics.PAGE", 7)
    logs = Logs()
    reader = MetricsReader(logs, ["group"])

    for number in range(40):
        logs.write(number // 5, f"stream-{number}", emf("webhook", InteractionsStored=[1.0]))
        if number % 9 == 0:
            assert reader.totals().of("InteractionsStored") == number + 1

    assert reader.totals().of("InteractionsStored") == 40
    assert reader.totals().of("InteractionsStored") == 40


# --- the suite's small parts ---


def test_the_clock_goes_by_the_wall_until_it_is_set() -> None:
    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)

    at = datetime(2026, 11, 22, 13, tzinfo=ZoneInfo("Europe/Berlin"))
    clock.set(at)
    assert clock.virtual
    assert clock.now() == at
    assert clock.now().tzinfo is UTC
    clock.release()
    assert not clock.virtual
    with pytest.raises(ValueError, match="zone"):
        clock.set(at.replace(tzinfo=None))


def test_functions_go_by_their_folders_names() -> None:
    outputs = {"WebhookFunctionName": "a", "OutreachSenderFunctionName": "b", "TableName": "t"}

    assert function_names(outputs) == {"webhook": "a", "outreach_sender": "b"}
    assert function_name(outputs, "outreach_sender") == "b"
    with pytest.raises(LocalAwsError, match="outreach_sender, webhook"):
        function_name(outputs, "trainer")


@pytest.fixture
def state(tmp_path: Path) -> Callable[..., SuiteState]:
    def build(directory: Path) -> SuiteState:
        return SuiteState(
            pid=1,
            directory=str(directory),
            endpoint="http://127.0.0.1:4566",
            telegram_url="http://127.0.0.1:8081",
            webhook_address="http://127.0.0.1:4566/_aws/execute-api/abc/$default/telegram",
            started_at="2026-11-22T12:00:00+00:00",
            outputs={"TableName": "t", "ScorerFunctionName": "s"},
            variables={"TABLE_NAME": "t"},
        )

    return build


def test_a_note_of_a_suite_that_is_gone_is_removed(tmp_path: Path, state: Callable[..., SuiteState]) -> None:
    file, directory = tmp_path / "local.json", tmp_path / "emulator"
    directory.mkdir()
    state(directory).write(file)

    assert SuiteState.read(file) == state(directory)
    directory.rmdir()
    assert SuiteState.read(file) is None
    assert not file.exists()
    file.write_text("{")
    assert SuiteState.read(file) is None


def test_a_second_suite_is_refused_and_does_not_disturb_the_first(tmp_path: Path) -> None:
    file = tmp_path / "local.json"
    first, second = LocalSuite(state_file=file), LocalSuite(state_file=file)
    first._claim_state_file()
    file.write_text("the first one's")

    with pytest.raises(LocalAwsError, match="rekindle local down"):
        second.start()

    assert file.read_text() == "the first one's"
    first.stop()
    assert not file.exists()


def test_the_scheduler_stops_at_once() -> None:
    scheduler = LocalScheduler([SCHEDULE], Functions()).start()
    began_at = time.monotonic()

    scheduler.stop()

    assert time.monotonic() - began_at < 2
