"""Invokes one function with a sample event, as a cold start: `python -m functions <name> events/<name>/<case>.json`.

Tests use `invoke`. This file is in no function's zip.
"""

import contextlib
import importlib
import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engagement.errors import SettingsError

ROOT = Path(__file__).parents[1]
EVENTS = ROOT / "events"
USAGE_ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaContext:
    """What Lambda tells a function about the invocation (docs.aws.amazon.com/lambda/latest/dg/python-context.html).

    Attributes:
        function_name: name of the function.
        timeout_seconds: how long this invocation may take; Lambda itself gives only what remains of it.
    """

    function_name: str
    timeout_seconds: float = 60.0
    memory_limit_in_mb: int = 512
    function_version: str = "$LATEST"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None
    began_at: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN, in the account of a local AWS."""
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """The log group that Lambda would write to."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left; never less than 0."""
        return max(0, int((self.timeout_seconds - (time.monotonic() - self.began_at)) * 1_000))


def names() -> list[str]:
    """Return the names of all functions."""
    return sorted(handler.parent.name for handler in (ROOT / "functions").glob("*/handler.py"))


def invoke(name: str, event: object, context: object | None = None) -> Any:
    """Import `functions.<name>.handler` afresh, as a cold start does, and call it.

    Only the handler's module is imported again: it reads the settings and binds the table, and nothing else keeps
    state that a test would notice.

    Args:
        name: folder of the function.
        event: what Lambda would hand over.
        context: a `LambdaContext`, or anything with what the function reads of it; one minute by default.
    """
    os.environ.setdefault("POWERTOOLS_SERVICE_NAME", name)
    os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Rekindle")
    module = f"functions.{name}.handler"
    sys.modules.pop(module, None)
    handler = importlib.import_module(module).handler
    return handler(event, context or LambdaContext(function_name=name))


def main(arguments: Sequence[str]) -> int:
    """Invoke what the command line names; returns the exit code."""
    if len(arguments) != 2 or arguments[0] not in names():
        return _refuse(f"usage: python -m functions <name> <event.json>, where <name> is one of: {', '.join(names())}")
    name, case = arguments
    file = _find(name, case)
    if file is None:
        cases = ", ".join(sorted(path.stem for path in (EVENTS / name).glob("*.json"))) or "none yet"
        return _refuse(f"there is no file {case}; the samples in events/{name}/ are: {cases}")
    if not os.environ.get("AWS_ENDPOINT_URL"):
        return _refuse(
            'no AWS to talk to: start one with `rekindle local up`, then type `eval "$(rekindle local env)"` here'
        )
    try:
        event = json.loads(file.read_text())
    except ValueError as error:
        return _refuse(f"{case} is not JSON: {error}")
    try:
        # Logs and metrics go to stdout on Lambda; here stdout is for what the function returns.
        with contextlib.redirect_stdout(sys.stderr):
            result = invoke(name, event)
    except SettingsError as error:
        return _refuse(f'{error} Here: eval "$(rekindle local env)"')
    print(json.dumps(result, indent=2, default=str))
    return 0


def _find(name: str, case: str) -> Path | None:
    """Find a sample by its path, or by its name alone."""
    candidates = (Path(case), ROOT / case, EVENTS / name / f"{case}.json")
    return next((path for path in candidates if path.is_file()), None)


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return USAGE_ERROR


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
