"""`python -m functions`: what it says when it cannot invoke anything."""

import json
from pathlib import Path

import pytest

from functions.__main__ import LambdaContext, main, names


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("arguments", [[], ["webhook"], ["nobody", "events/webhook/message.json"], ["a", "b", "c"]])
def test_a_wrong_command_line_lists_the_functions(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2

    line = said(capsys)
    assert all(name in line for name in names())


def test_an_unknown_case_lists_the_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pattern_updater", "events/pattern_updater/nothing.json"]) == 2

    assert "duplicates, edited, inserts, not_ours, poison" in said(capsys)


def test_without_an_endpoint_it_says_in_one_line_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scorer", "events/scorer/tick.json"]) == 2

    line = said(capsys)
    assert "rekindle local up" in line
    assert 'eval "$(rekindle local env)"' in line


def test_an_event_that_is_not_json_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    file = tmp_path / "broken.json"
    file.write_text("{")

    assert main(["scorer", str(file)]) == 2

    assert f"{file} is not JSON" in said(capsys)


def test_the_context_looks_like_lambdas() -> None:
    context = LambdaContext(function_name="scorer", timeout_seconds=3)

    assert 2_900 < context.get_remaining_time_in_millis() <= 3_000
    assert context.function_name == "scorer"
    assert context.invoked_function_arn.endswith(":function:scorer")
    assert len(context.aws_request_id) == 36
    assert context.memory_limit_in_mb >= 128
    assert LambdaContext(function_name="scorer", timeout_seconds=-1).get_remaining_time_in_millis() == 0
    assert LambdaContext(function_name="a").aws_request_id != LambdaContext(function_name="a").aws_request_id


def test_every_sample_is_json() -> None:
    for file in (Path(__file__).parents[2] / "events").glob("*/*.json"):
        json.loads(file.read_text())
