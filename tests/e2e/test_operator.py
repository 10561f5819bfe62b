"""What an operator types, against the running suite."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.suite import LocalSuite

ROOT = Path(__file__).parents[2]


def test_a_function_is_invoked_by_its_name(rekindle: Callable[..., str], tmp_path: Path) -> None:
    report = json.loads(rekindle("invoke", "scorer", str(ROOT / "events" / "scorer" / "tick.json")))

    assert report["finished"] is True


def test_users_are_listed_once_they_are_scored(
    rekindle: Callable[..., str], suite: LocalSuite, chat: Callable[..., Any]
) -> None:
    someone = chat("Grace [hopper]")
    for day in range(1, 5):
        someone.says("hello", datetime(2026, 9, day, 10, tzinfo=UTC))
    suite.wait_until_drained()
    suite.tick("scorer", datetime(2026, 10, 20, tzinfo=UTC))

    listed = rekindle("users", "needing-engagement", "--limit", "1000")

    assert str(someone.user_id) in listed
    assert "Grace [hopper]" in listed
    assert "2026-09-04 10:00" in listed


def test_the_webhook_is_reported_healthy(rekindle: Callable[..., str], suite: LocalSuite) -> None:
    """R11, R12: what the suite set is what Telegram reports."""
    said = rekindle("webhook", "info")

    assert suite.outputs["WebhookUrl"] in said
    assert "Telegram reaches this stack" in said


def test_setting_the_webhook_again_changes_nothing(rekindle: Callable[..., str], suite: LocalSuite) -> None:
    """R11: idempotent; the secret stays set."""
    before = suite.telegram.webhook

    rekindle("webhook", "set")

    assert suite.telegram.webhook.url == before.url
    assert suite.telegram.webhook.secret_token == before.secret_token


def test_the_printed_curl_command_posts_an_update(rekindle: Callable[..., str]) -> None:
    line = next(line for line in rekindle("local", "status").splitlines() if line.startswith("curl"))

    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout

    assert answer.startswith("HTTP/1.1 200")


def test_a_function_runs_on_this_machine_against_the_suite(rekindle: Callable[..., str]) -> None:
    exported = dict(line.removeprefix("export ").split("=", 1) for line in rekindle("local", "env").splitlines())
    environment = {"PATH": os.environ["PATH"]} | {name: value.strip("'") for name, value in exported.items()}

    done = subprocess.run(
        [sys.executable, "-m", "functions", "webhook", "events/webhook/command_start.json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["statusCode"] == 200
