"""`rekindle`: what it prints, and that trouble is one line with a next step and a non-zero exit."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from click.testing import CliRunner, Result

from engagement.domain.outreach import OutreachType
from engagement.errors import StoreUnavailableError
from engagement.services.analyzer import EngagementAnalyzer, UserAtRisk
from infra.cli import main as cli
from infra.cli.target import Target
from infra.local import suite as local_suite
from infra.local.suite import FunctionFailedError, SuiteState

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a machine where no suite runs."""
    monkeypatch.setattr(local_suite, "STATE_FILE", tmp_path / "local.json")
    monkeypatch.delenv("REKINDLE_STAGE", raising=False)
    monkeypatch.setattr(cli.out, "width", 200)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli.main, words)

    return invoke


@pytest.fixture
def running(tmp_path: Path, run: Run) -> SuiteState:
    """A note of a running suite."""
    state = SuiteState(
        pid=4242,
        directory=str(tmp_path),
        endpoint="http://127.0.0.1:4566",
        telegram_url="http://127.0.0.1:8081",
        webhook_address="http://127.0.0.1:4566/_aws/execute-api/abc/$default/telegram",
        started_at=datetime.now(UTC).isoformat(),
        outputs={"TableName": "the-table", "ScorerFunctionName": "the-scorer"},
        variables={"TABLE_NAME": "the-table", "ODD": "it's; $odd"},
    )
    state.write(tmp_path / "local.json")
    return state


def trouble(result: Result) -> str:
    """Return what a failed command said: one line, no traceback."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output


@pytest.mark.parametrize(
    "words",
    [
        ("local", "status"),
        ("local", "env"),
        ("users", "needing-engagement"),
        ("invoke", "scorer", "events/scorer/tick.json"),
        ("users", "needing-engagement", "--stage", "local"),
    ],
)
def test_without_a_running_suite_a_command_says_how_to_start_one(run: Run, words: tuple[str, ...]) -> None:
    assert "rekindle local up" in trouble(run(*words))


def test_down_is_content_when_nothing_runs(run: Run) -> None:
    result = run("local", "down")

    assert result.exit_code == 0
    assert "Nothing is running" in result.output


def test_a_second_up_in_the_background_is_refused(run: Run, running: SuiteState) -> None:
    assert "already running (process 4242)" in trouble(run("local", "up", "--detach"))


def test_env_can_be_evaluated_by_a_shell(run: Run, running: SuiteState) -> None:
    lines = run("local", "env").output.splitlines()

    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert shlex.split(exported["ODD"]) == ["it's; $odd"]
    assert exported["AWS_ENDPOINT_URL"] == running.endpoint
    assert exported["TABLE_NAME"] == "the-table"
    assert exported["REKINDLE_TELEGRAM_API_URL"] == running.telegram_url
    assert exported["REKINDLE_STAGE"] == "local"


def test_status_shows_how_to_post_an_update(run: Run, running: SuiteState) -> None:
    result = run("local", "status")

    assert result.exit_code == 0
    assert f"curl -si '{running.webhook_address}'" in result.output
    assert "the-table" in result.output


def test_invoke_prints_what_the_function_returns(
    run: Run, running: SuiteState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def invoke(self: Target, function: str, event: object) -> Any:
        asked.append((function, event))
        return {"scored": 3, "name": "Ада"}

    monkeypatch.setattr(Target, "invoke", invoke)
    file = tmp_path / "event.json"
    file.write_text('{"shard": 0}')

    result = run("invoke", "scorer", str(file))

    assert json.loads(result.output) == {"scored": 3, "name": "Ада"}
    assert asked == [("scorer", {"shard": 0})]


def test_invoke_names_an_unknown_function_and_a_broken_event(run: Run, running: SuiteState, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text("{}")
    assert "the stack has: scorer" in trouble(run("invoke", "trainer", str(file)))

    file.write_text("{")
    assert "is not JSON" in trouble(run("invoke", "scorer", str(file)))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FunctionFailedError("scorer", {"errorMessage": "unreadable tick"}), "scorer failed: unreadable tick"),
        (StoreUnavailableError("DynamoDB: Throttling"), "DynamoDB: Throttling"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "Invoke"), "AWS refused Invoke (AccessDenied)"),
        (NoCredentialsError(), "AWS_PROFILE"),
    ],
)
def test_trouble_on_the_way_is_one_line(
    run: Run, running: SuiteState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Target, "invoke", fail)
    file = tmp_path / "event.json"
    file.write_text("{}")

    assert said in trouble(run("invoke", "scorer", str(file)))


@pytest.fixture
def at_risk(monkeypatch: pytest.MonkeyPatch) -> list[UserAtRisk]:
    """What the analyzer finds."""
    found: list[UserAtRisk] = []
    settings = {"CHURN_THRESHOLD": "0.8", "CHECKIN_THRESHOLD": "0.6", "FEATURES": "none"}
    monkeypatch.setattr(Target, "settings", lambda *_: settings)
    monkeypatch.setattr(Target, "bind_table", lambda _: None)
    monkeypatch.setattr(
        EngagementAnalyzer, "find_users_needing_engagement", lambda _self, _now, _thresholds, limit: found[:limit]
    )
    return found


def test_users_needing_engagement_are_listed(run: Run, running: SuiteState, at_risk: list[UserAtRisk]) -> None:
    at_risk += [
        UserAtRisk(
            user_id=7_000_000_001,
            display_name="Ada [bold]<b>",
            churn_risk=0.914,
            last_seen_at=datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
            needs=OutreachType.RE_ENGAGEMENT,
        ),
        UserAtRisk(user_id=2, display_name="", churn_risk=0.2, last_seen_at=None, needs=None),
        UserAtRisk(user_id=3, display_name="Third", churn_risk=0.1, last_seen_at=None, needs=None),
    ]

    result = run("users", "needing-engagement", "--limit", "2")

    assert result.exit_code == 0
    for shown in ("7000000001", "Ada [bold]<b>", "91%", "2026-11-02 09:30", "re_engagement", "never", "nothing"):
        assert shown in result.output
    assert "Third" not in result.output


def test_an_empty_list_says_why(run: Run, running: SuiteState, at_risk: list[UserAtRisk]) -> None:
    assert "Nobody has been scored yet" in run("users", "needing-engagement").output


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_out_of_range_is_refused(run: Run, limit: str) -> None:
    assert run("users", "needing-engagement", "--limit", limit).exit_code == 2


def test_the_commands_of_the_webhook_are_there(run: Run) -> None:
    result = run("webhook", "--help")

    assert result.exit_code == 0
    assert "set" in result.output
    assert "info" in result.output
