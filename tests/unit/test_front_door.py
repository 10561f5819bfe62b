"""The webhook's door: who knows the secret comes in, as bytes, with a time of arrival."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import SecretUnavailableError
from engagement.services.front_door import CLOCK_HEADER, SECRET_HEADER, FrontDoor, answer
from engagement.services.reception import Outcome, Receipt

SECRET, PREVIOUS = "local-webhook-secret-0001", "local-webhook-secret-0000"
ARRIVED_MS = 1_795_338_001_250
ARRIVED = datetime(2026, 11, 22, 9, 0, 1, 250_000, tzinfo=UTC)


class Desk:
    """Receives, and remembers what it received."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, datetime]] = []

    def receive(self, body: bytes, arrived_at: datetime) -> Receipt:
        self.received.append((body, arrived_at))
        return Receipt(Outcome.STORED, 1)


def enter(
    headers: dict[str, str],
    body: str | None = "{}",
    *,
    is_base64: bool = False,
    current: str = SECRET,
    previous: str = "",
    virtual_clock: bool = False,
) -> tuple[Receipt, list[tuple[bytes, datetime]]]:
    desk = Desk()
    door = FrontDoor(desk, lambda: current, lambda: previous, virtual_clock=virtual_clock)
    return door.enter(headers, body, is_base64, ARRIVED_MS), desk.received


@pytest.mark.parametrize(
    ("headers", "current"),
    [
        ({}, SECRET),
        ({SECRET_HEADER: "wrong"}, SECRET),
        ({SECRET_HEADER: ""}, SECRET),
        ({SECRET_HEADER: "ſecret-é-\ud83d"}, SECRET),
        ({SECRET_HEADER: ""}, ""),
        ({SECRET_HEADER: "anything"}, ""),
        ({SECRET_HEADER: SECRET + " "}, SECRET),
        ({SECRET_HEADER: SECRET[:-1]}, SECRET),
    ],
    ids=["absent", "wrong", "empty", "not-ascii", "both-empty", "configured-empty", "with-a-space", "a-prefix"],
)
def test_who_does_not_know_the_secret_stays_outside(headers: dict[str, str], current: str) -> None:
    """R1: it fails closed, and nothing of the body is looked at."""
    receipt, received = enter(headers, current=current)

    assert receipt == Receipt(Outcome.FORGED)
    assert answer(receipt)["statusCode"] == 401
    assert received == []


@pytest.mark.parametrize("given_secret", [SECRET, PREVIOUS])
def test_both_secrets_pass_while_one_replaces_the_other(given_secret: str) -> None:
    """R2."""
    receipt, received = enter({SECRET_HEADER: given_secret}, previous=PREVIOUS)

    assert receipt.outcome is Outcome.STORED
    assert len(received) == 1


@pytest.mark.parametrize(("given_secret", "previous"), [("a-third", PREVIOUS), (PREVIOUS, ""), ("", "")])
def test_a_third_secret_does_not_pass(given_secret: str, previous: str) -> None:
    """R2."""
    receipt, _ = enter({SECRET_HEADER: given_secret}, previous=previous)

    assert receipt.outcome is Outcome.FORGED


@given(header=st.text(max_size=60))
def test_no_header_ever_raises(header: str) -> None:
    """R1: compare_digest refuses text that is not ASCII; we compare bytes."""
    receipt, _ = enter({SECRET_HEADER: header})

    assert (receipt.outcome is Outcome.STORED) == (header == SECRET)


def test_no_secret_is_read_for_a_request_without_one() -> None:
    """Forged hits cost no call to SSM."""

    def read() -> str:
        raise SecretUnavailableError("asked")

    assert (
        FrontDoor(Desk(), read, read, virtual_clock=False).enter({}, "{}", False, ARRIVED_MS).outcome is Outcome.FORGED
    )


@pytest.mark.parametrize("name", [SECRET_HEADER, SECRET_HEADER.upper(), "X-Telegram-Bot-Api-Secret-Token"])
def test_a_headers_case_does_not_matter(name: str) -> None:
    """R9."""
    assert enter({name: SECRET})[0].outcome is Outcome.STORED


@given(body=st.text(max_size=100))
def test_an_encoded_body_is_the_same_body(body: str) -> None:
    """R9."""
    encoded = base64.b64encode(body.encode()).decode()

    assert enter({SECRET_HEADER: SECRET}, body)[1] == enter({SECRET_HEADER: SECRET}, encoded, is_base64=True)[1]


@pytest.mark.parametrize(("body", "is_base64"), [(None, False), ("", True), ("no base64!", True), ("\ud83d", False)])
def test_any_body_gets_to_the_desk_as_bytes(body: str | None, is_base64: bool) -> None:
    """R5: what is no update is told so there, not here."""
    receipt, received = enter({SECRET_HEADER: SECRET}, body, is_base64=is_base64)

    assert receipt.outcome is Outcome.STORED
    assert isinstance(received[0][0], bytes)


@pytest.mark.parametrize(
    ("virtual_clock", "expected"), [(False, ARRIVED), (True, datetime(2026, 12, 24, 12, 0, tzinfo=UTC))]
)
def test_only_the_local_clock_can_be_set(virtual_clock: bool, expected: datetime) -> None:
    headers = {SECRET_HEADER: SECRET, CLOCK_HEADER: str(datetime(2026, 12, 24, 12, 0, tzinfo=UTC).timestamp())}

    assert enter(headers, virtual_clock=virtual_clock)[1] == [(b"{}", expected)]


@pytest.mark.parametrize("clock", ["noon", "nan", "inf", "-1e300", ""])
def test_an_unreadable_local_clock_is_said_to_be_one(clock: str) -> None:
    receipt, received = enter({SECRET_HEADER: SECRET, CLOCK_HEADER: clock}, virtual_clock=True)

    assert receipt == Receipt(Outcome.IGNORED, reason="bad_clock")
    assert received == []


def test_the_local_clock_is_no_way_around_the_secret() -> None:
    """R1."""
    assert enter({CLOCK_HEADER: "1795338001"}, virtual_clock=True)[0].outcome is Outcome.FORGED


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.FORGED])
def test_whatever_was_received_is_answered_with_200(outcome: Outcome) -> None:
    """R5, R6: a refusal would block the chat's queue for a day."""
    assert answer(Receipt(outcome)) == {"statusCode": 200, "body": ""}


def test_a_reply_is_the_response() -> None:
    """R10."""
    reply: dict[str, Any] = {"method": "sendMessage", "chat_id": 2**52 - 1, "text": "é"}
    response = answer(Receipt(Outcome.STORED, 1, reply=reply))

    assert response["headers"] == {"content-type": "application/json"}
    assert response["body"] == '{"method": "sendMessage", "chat_id": 4503599627370495, "text": "\\u00e9"}'
