"""The local suite leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.emulator import Emulator
from infra.local.suite import LocalSuite

EMULATOR = """
import io, time, zipfile
from infra.local.deployment import client
from infra.local.emulator import Emulator

emulator = Emulator()
print(emulator.directory, flush=True)
with emulator:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\\n    print('here')\\n    return 1\\n")
    functions = client("lambda", emulator.endpoint)
    functions.create_function(
        FunctionName="f", Runtime="python3.13", Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
        Code={"ZipFile": code.getvalue()},
    )
    functions.invoke(FunctionName="f")
    print("ready", flush=True)
    time.sleep(600)
"""

SUITE = """
import sys, time
from pathlib import Path
from infra.local import deployment
from infra.local.suite import LocalSuite

deployment.WORKSPACE = Path(sys.argv[1])
suite = LocalSuite(say=lambda what: print(what, flush=True))
print(suite.emulator.directory, flush=True)
with suite:
    time.sleep(600)
"""


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if wanted in line:
            return lines
    pytest.fail(f"it ended before it said {wanted!r}: {lines}")


def processes() -> dict[tuple[int, str], int]:
    """Return (id, start time) -> parent id of everything that runs."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,lstart="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return {(int(pid), began): int(parent) for pid, parent, began in rows}


def family(pid: int) -> set[tuple[int, str]]:
    """Return a process's descendants, without itself."""
    everyone = processes()
    found: set[tuple[int, str]] = set()
    parents = {pid}
    while parents:
        children = {one for one, parent in everyone.items() if parent in parents}
        found |= children
        parents = {one for one, _ in children}
    return found


def gone(those: set[tuple[int, str]], directory: Path, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not (those & processes().keys()) and not directory.exists():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_local_aws_leaves_neither_processes_nor_files(how: signal.Signals) -> None:
    with running(EMULATOR) as process:
        directory = Path(lines_until(process, "ready")[0])
        descendants = family(process.pid)
        assert len(descendants) >= 3  # the local AWS, its function's worker, the guard
        assert list(directory.glob("ministack-lambda-*"))

        os.kill(process.pid, how)
        process.wait(20)

        assert gone(descendants, directory)


def test_ctrl_c_half_way_through_a_deployment_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(SUITE, str(tmp_path)) as process:
        directory = Path(lines_until(process, "synthesizing the stack")[0])
        deadline = time.monotonic() + 20
        while len(descendants := family(process.pid)) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(descendants) >= 5  # the local AWS, the guard, two cdk commands, the app

        os.kill(process.pid, signal.SIGINT)
        process.wait(20)

        assert gone(descendants, directory)


def test_a_failed_start_stops_what_had_been_started(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = LocalSuite()

    def fail(*_: object) -> None:
        raise RuntimeError("half-way")

    monkeypatch.setattr("infra.local.suite.deploy", fail)
    with pytest.raises(RuntimeError, match="half-way"):
        suite.start()

    assert not suite.emulator.running
    assert not suite.emulator.directory.exists()


def test_two_local_clouds_run_side_by_side() -> None:
    with Emulator() as one, Emulator() as other:
        assert one.endpoint != other.endpoint
        assert one.directory != other.directory


def test_the_environment_is_as_it_was_after_the_suite_stopped(
    suite: LocalSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    other = LocalSuite()
    other.emulator, other._deployment = suite.emulator, suite._deployment

    other.bind_table()
    assert os.environ["AWS_ENDPOINT_URL"] == suite.endpoint
    other._restore_environment()

    assert os.environ["AWS_REGION"] == "eu-central-1"
    assert "AWS_ENDPOINT_URL" not in os.environ
