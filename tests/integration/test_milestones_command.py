"""`rekindle milestones`: every command against a real table, and mistakes in one line."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from infra.cli import milestones as command

BOT = 123456
WEEK = (
    "add power_user_week --display-name Week --description Daily --metric consecutive_active_days --target 7 "
    "--category engagement --difficulty 3"
)


@dataclass
class Deployment:
    """A deployment whose table is this test's."""

    def settings(self, function: str) -> dict[str, str]:
        return {"BOT_ID": str(BOT)}

    def bind_table(self) -> None:
        """It is bound."""


@dataclass
class Said:
    """What a command printed, and how it ended."""

    text: str
    exit_code: int


@pytest.fixture
def run(table: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Said]:
    class Target:
        @staticmethod
        def of(stage: str | None) -> Deployment:
            assert stage == "test"
            return Deployment()

    monkeypatch.setattr(command, "Target", Target)
    monkeypatch.setattr(command.console, "width", 200)

    def call(line: str) -> Said:
        # Rich writes to the stream that its console began with, which is not the runner's.
        with command.console.capture() as shown:
            result = CliRunner(env={"REKINDLE_STAGE": "test"}).invoke(command.milestones, line)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Said(shown.get() + result.output, result.exit_code)

    return call


def test_seeding_twice_says_what_it_did(run: Callable[[str], Said]) -> None:
    assert "None is in force yet" in run("list").text
    assert "Created 20, updated 0, skipped 0; 20 are in force." in run("seed").text
    assert "Created 0, updated 0, skipped 20; 20 are in force." in run("seed").text
    shown = run("list").text
    assert "loyal_companion" in shown
    assert "Loyal Companion" in shown


def test_ones_own_is_added_listed_and_removed(run: Callable[[str], Said]) -> None:
    assert "Week is in force: consecutive_active_days from 7 on." in run(WEEK).text
    assert "power_user_week (own)" in run("list").text
    assert "power_user_week is no longer awarded." in run("remove power_user_week").text
    again = run("remove power_user_week")
    assert again.exit_code == 1
    assert "no milestone power_user_week is in force" in again.text


def test_a_mistake_is_one_line_that_says_what_would_be_right(run: Callable[[str], Said]) -> None:
    far = run(WEEK.replace("--target 7", "--target 60"))
    assert far.exit_code == 1
    assert "Error: milestone power_user_week: target_value: expected a whole number above 0, at most 59" in far.text
    assert far.text.count("\n") == 1
    unknown = run(WEEK.replace("consecutive_active_days", "messages"))
    assert unknown.exit_code == 2
    assert "total_interactions" in unknown.text


def test_statistics_come_as_a_table_and_as_json(run: Callable[[str], Said]) -> None:
    run("seed")
    assert "20 milestones in force; 0 awards, 0 points." in run("stats").text
    found = json.loads(run("stats --json").text)
    assert (found["active_milestones"], found["by_milestone"]["power_user"]) == (20, 0)
