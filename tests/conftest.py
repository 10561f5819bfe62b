"""What every test may use: sample events, a fixed clock, and (on request) a local AWS with a table of one's own."""

import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader

from engagement.clients import secrets
from infra.local.emulator import Emulator, environment
from tests.builders import NOW

# Powertools reads these when it is imported, which a test module does before any fixture runs.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Rekindle")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def now() -> datetime:
    """A Sunday noon."""
    return NOW


@pytest.fixture(scope="session")
def sample() -> Callable[[str], dict[str, Any]]:
    """Load a sample event by name: `sample("webhook/message")`."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
        return event

    return load


@pytest.fixture(scope="session", autouse=True)
def _descriptions_of_aws_are_read_once() -> Iterator[None]:
    """Most tests make clients of their own, and each would read the same files again for 40 ms."""
    shared = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda *_: shared)
        yield


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """One local AWS for the whole run (per test worker)."""
    with Emulator() as running:
        yield running


_accounts = itertools.count(int(uuid.uuid4().int % 10**9) * 100)


@pytest.fixture
def aws(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Point this test's AWS clients at an account of its own; returns the environment."""
    variables = environment(emulator.endpoint, access_key=f"{next(_accounts) % 10**12:012}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # Clients made for another test belong to its account.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    secrets.forget()
    return variables


@pytest.fixture
def table(aws: dict[str, str]) -> str:
    """An empty table of one's own, bound; returns its name."""
    from engagement.store.table import Item, bind

    bind("rekindle")
    Item.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
    return "rekindle"
