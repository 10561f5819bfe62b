"""R105: a DynamoDB that hangs or hangs up is our own error, not an AttributeError of PynamoDB's."""

import socket
import threading
from collections.abc import Iterator

import boto3
import pytest

from engagement.domain.profile import Consent
from engagement.errors import StoreUnavailableError
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.table import Item, bind
from engagement.store.tombstones import Tombstones
from infra.local.emulator import environment
from tests.builders import NOW


@pytest.fixture(params=["hangs", "hangs up"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that takes every request and never answers, or closes the connection at once; the stores bound to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if request.param == "hangs up":
                    connection.close()
                else:
                    taken.append(connection)

        threading.Thread(target=serve, daemon=True).start()
        for name, value in environment(f"http://127.0.0.1:{server.getsockname()[1]}").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        monkeypatch.setattr(Item.Meta, "max_retry_attempts", 0, raising=False)
        bind("rekindle", read_seconds=0.2)
        yield
        for connection in taken:
            connection.close()


def test_a_read_a_write_and_a_transaction_say_that_the_store_is_unavailable(broken: None) -> None:
    """R105: so that the webhook answers 503, and the stream delivers again."""
    with pytest.raises(StoreUnavailableError):
        Profiles().get(1, 7)
    with pytest.raises(StoreUnavailableError):
        Profiles().record_consent(1, 7, Consent.GRANTED, NOW)
    with pytest.raises(StoreUnavailableError):
        Tombstones().begin(1, 7, NOW)
    with pytest.raises(StoreUnavailableError):
        Patterns().load(1, 7)
    with pytest.raises(StoreUnavailableError):
        Outreaches().of_user(1, 7)
