"""Secrets from SSM, against the local AWS."""

import logging
import traceback
from collections.abc import Iterator

import pytest

from engagement.clients import secrets
from engagement.clients.secrets import MAX_AGE_SECONDS, read_secret
from engagement.errors import SecretUnavailableError
from infra.local.emulator import free_port

NAME = "/rekindle/test/bot-token"
VALUE = "123456:" + "V" * 35


@pytest.fixture(autouse=True)
def fresh(aws: dict[str, str]) -> Iterator[None]:
    """A cold start, in an account of its own."""
    secrets.forget()
    yield
    secrets.forget()


def put(value: str, name: str = NAME) -> None:
    secrets._provider().client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def test_a_secret_is_decrypted_and_trimmed() -> None:
    """A file pasted into a parameter ends in a newline."""
    put(f"{VALUE}\n")
    assert read_secret(NAME) == VALUE


def test_a_secret_is_believed_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """R2: a rotation must overlap for longer than this."""
    put("old")
    assert read_secret(NAME) == "old"
    put("new")
    assert read_secret(NAME) == "old"
    secrets.forget()
    assert read_secret(NAME) == "new"
    assert MAX_AGE_SECONDS == 300


def test_an_absent_secret_may_be_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """R2: there is no previous secret before the first rotation; that is remembered, and not asked for every update."""
    assert read_secret(NAME, missing_ok=True) == ""
    put("appeared")
    assert read_secret(NAME, missing_ok=True) == ""
    later = secrets.time.monotonic() + MAX_AGE_SECONDS
    monkeypatch.setattr(secrets.time, "monotonic", lambda: later)
    assert read_secret(NAME, missing_ok=True) == "appeared"


def test_an_absent_secret_is_named() -> None:
    with pytest.raises(SecretUnavailableError, match=f"{NAME} does not exist"):
        read_secret(NAME)


def test_trouble_is_not_taken_for_absence(monkeypatch: pytest.MonkeyPatch, aws: dict[str, str]) -> None:
    """R1: or an outage would let the webhook run without its second secret, or with an empty one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for missing_ok in (True, False):
        with pytest.raises(SecretUnavailableError, match=f"{NAME} cannot be read"):
            read_secret(NAME, missing_ok=missing_ok)


def test_a_failure_carries_nothing_along(caplog: pytest.LogCaptureFixture) -> None:
    """R58: no cause and no context, which would hold SSM's answer."""
    put(VALUE)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SecretUnavailableError) as caught:
        read_secret(NAME + "x")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert VALUE not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_reading_a_secret_does_not_log_it(caplog: pytest.LogCaptureFixture) -> None:
    """R58: botocore logs whole answers at DEBUG; `telemetry` keeps it from that whatever the root's level is."""
    import engagement.telemetry

    assert engagement.telemetry.logger
    caplog.set_level(logging.DEBUG)
    put(VALUE)
    assert read_secret(NAME) == VALUE
    assert VALUE not in caplog.text
