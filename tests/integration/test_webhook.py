"""The webhook against a real table: what Telegram may send, in any order and any number of times."""

import copy
import http.server
import importlib
import io
import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import pytest

from engagement import telemetry
from engagement.clients import secrets
from engagement.domain.callbacks import Button, Signer, exposure_ref
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachType
from engagement.domain.pattern_bytes import encode
from engagement.domain.preferences import Dismissal
from engagement.domain.profile import Consent, Profile
from engagement.domain.replies import TEXTS
from engagement.errors import SettingsError
from engagement.services.front_door import answer
from engagement.services.milestones import MilestoneSeeder
from engagement.store import keys
from engagement.store.interactions import Interactions
from engagement.store.milestones import Milestones
from engagement.store.profiles import Profiles
from engagement.store.statistics import Statistics
from engagement.store.table import DeadLetterItem, InteractionItem, Item, PatternItem, ProfileItem
from functions.__main__ import invoke
from infra.local.emulator import free_port
from infra.local.suite import CALLBACK_KEY
from tests import builders
from tests.builders import NOW, WEBHOOK

SECRET, PREVIOUS = "local-webhook-secret-0001", "local-webhook-secret-0000"
HEADER = "x-telegram-bot-api-secret-token"
BOT, ADA = 123456, 7_000_000_001
T0 = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
CASES = sorted(path.stem for path in (Path(__file__).parents[2] / "events" / "webhook").glob("*.json"))

BUTTONS = (
    "callback_consent_yes",
    "callback_consent_no",
    "callback_consent_both",
    "callback_learning_yes",
    "callback_learning_no",
    "callback_rewording_yes",
    "callback_rewording_no",
    "callback_later",
    "callback_go_checkin",
    "callback_go_progress",
    "callback_stop",
    "callback_stop_all",
    "callback_settings",
    "callback_settings_write",
    "callback_forget_yes",
    "callback_forget_no",
)

SIGNER = Signer(BOT, lambda: CALLBACK_KEY)
CALL = "pynamodb.connection.base.Connection._make_api_call"

Event = dict[str, Any]
Sample = Callable[[str], Event]


@dataclass
class Hook:
    """The webhook, its settings and its secrets, over a table of one's own."""

    monkeypatch: pytest.MonkeyPatch
    sample: Sample
    log: io.StringIO
    copy: Any = None
    """The one running copy; a new configuration starts another."""

    def configure(self, **changes: str) -> None:
        for name, value in (WEBHOOK.to_env() | {name.upper(): value for name, value in changes.items()}).items():
            self.monkeypatch.setenv(name, value)
        self.copy = None

    def set_secret(self, parameter: str, value: str) -> None:
        secrets._provider().set(parameter, value, parameter_type="SecureString", overwrite=True)
        secrets._provider().clear_cache()

    def cold(self, event: Event) -> dict[str, Any]:
        """Invoke it as a cold start does."""
        self.copy = None
        response: dict[str, Any] = invoke("webhook", event)
        return response

    def warm(self) -> Any:
        """Return the handler's module of the running copy."""
        if self.copy is None:
            sys.modules.pop("functions.webhook.handler", None)
            self.copy = importlib.import_module("functions.webhook.handler")
        return self.copy

    def post(self, case: str, *, later: float = 0, change: Callable[[Event], None] | None = None) -> dict[str, Any]:
        """Post a sample; `later` is seconds of delay, `change` edits the update."""
        response: dict[str, Any] = self.warm().handler(self.event(case, later=later, change=change), None)
        return response

    def event(self, case: str, *, later: float = 0, change: Callable[[Event], None] | None = None) -> Event:
        event = copy.deepcopy(self.sample(f"webhook/{case}"))
        event["requestContext"]["timeEpoch"] += int(later * 1_000)
        if change:
            update = json.loads(event["body"])
            change(update)
            event["body"] = json.dumps(update)
        return event


@pytest.fixture
def hook(table: str, monkeypatch: pytest.MonkeyPatch, sample: Sample) -> Iterator[Hook]:
    secrets.forget()
    hook = Hook(monkeypatch, sample, io.StringIO())
    # The logger holds on to the standard output that it was made with, which may be an earlier test's.
    monkeypatch.setattr(telemetry.logger.registered_handler, "stream", hook.log)
    hook.configure()
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "webhook")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Rekindle")
    hook.set_secret(WEBHOOK.webhook_secret_parameter, SECRET)
    hook.set_secret(WEBHOOK.callback_key_parameter, CALLBACK_KEY)
    yield hook
    secrets.forget()


def items(kind: type[Item] = Item) -> list[Any]:
    return list(kind.scan())


def snapshot() -> dict[str, Any]:
    """Everything in the table, by key, as DynamoDB holds it."""
    return {f"{item.pk} {item.sk}": item.serialize() for item in Item.scan()}


def ada() -> Profile:
    profile = Profiles().get(BOT, ADA)
    assert profile is not None
    return profile


def reply_of(response: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(response["body"])
    return reply


def metrics_in(output: str) -> Counter[str]:
    """Count the metrics in what was printed (embedded metric format)."""
    counted: Counter[str] = Counter()
    for line in output.splitlines():
        record = json.loads(line)
        if "_aws" in record:
            for metric in record["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                counted[metric["Name"]] += int(sum(record[metric["Name"]]))
    return counted


# --- who may come in ---


@pytest.mark.parametrize(
    ("secret", "configured"),
    [
        (None, SECRET),
        ("wrong", SECRET),
        ("", SECRET),
        ("gehéim-ſ", SECRET),
        ("", " "),
        (SECRET, " "),
    ],
    ids=["absent", "wrong", "empty", "not-ascii", "both-empty", "configured-empty"],
)
def test_a_forged_request_gets_401_and_writes_nothing(hook: Hook, secret: str | None, configured: str) -> None:
    """R1: six variants; not one of them is a 500, and the table stays empty."""
    hook.set_secret(WEBHOOK.webhook_secret_parameter, configured)
    event = hook.event("message")
    event["headers"].pop(HEADER)
    if secret is not None:
        event["headers"][HEADER] = secret

    assert hook.cold(event) == {"statusCode": 401, "body": ""}
    assert items() == []


def test_without_a_secret_parameter_it_refuses_to_start(hook: Hook) -> None:
    """R1: the variable names itself at cold start."""
    hook.configure(webhook_secret_parameter="")

    with pytest.raises(SettingsError, match="WEBHOOK_SECRET_PARAMETER"):
        hook.post("message")


def test_a_secret_that_cannot_be_read_lets_nobody_in_and_asks_to_come_again(hook: Hook) -> None:
    """R1, R4: fails closed; Telegram keeps the update."""
    hook.configure(webhook_secret_parameter="/rekindle/test/not-there")

    response = hook.post("message")
    assert (response["statusCode"], int(response["headers"]["retry-after"]) > 0) == (503, True)
    assert items() == []


@pytest.mark.parametrize(("given_secret", "status"), [(SECRET, 200), (PREVIOUS, 200), ("a-third", 401)])
def test_both_secrets_pass_while_one_replaces_the_other(hook: Hook, given_secret: str, status: int) -> None:
    """R2: requests in flight still carry the old one."""
    hook.set_secret(WEBHOOK.webhook_previous_secret_parameter, PREVIOUS)
    event = hook.event("message")
    event["headers"][HEADER] = given_secret

    assert hook.cold(event)["statusCode"] == status
    assert len(items()) == (status == 200)


def test_every_way_in_stores_the_same_interaction(hook: Hook) -> None:
    """R9: HTTP API and function URL, plain and base64, headers in any case."""
    stored = []
    for case in ("message", "message_base64", "message_function_url"):
        assert hook.post(case)["statusCode"] == 200
        (item,) = items()
        stored.append(item.serialize())
        item.delete()

    assert stored[0] == stored[1] == stored[2]


# --- once ---


def enter(module: Any, event: Event) -> dict[str, Any]:
    """Let an event in as the handler does, without its metrics, which are one copy's and not a thread's."""
    arrived = event["requestContext"]["timeEpoch"]
    return answer(module.door.enter(event["headers"], event["body"], event["isBase64Encoded"], arrived))


def post_in_parallel(module: Any, events: list[Event]) -> list[dict[str, Any]]:
    """Let all events in at the same moment; Lambda would run each in a copy of its own."""
    barrier = threading.Barrier(len(events))
    answers: list[dict[str, Any]] = []

    def run(event: Event) -> None:
        barrier.wait()
        answers.append(enter(module, event))

    threads = [threading.Thread(target=run, args=(event,)) for event in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.parametrize("case", ["message", "command_start", "command_stop", "blocked", "sticker", "edited_message"])
def test_a_redelivered_update_has_one_effect(hook: Hook, case: str) -> None:
    """R3: eight times in parallel and again 23 hours later: one interaction, one profile change, one answer."""
    first = post_in_parallel(hook.warm(), [hook.event(case) for _ in range(8)])
    table = snapshot()
    late = hook.post(case, later=23 * 3_600)

    assert {response["statusCode"] for response in [*first, late]} == {200}
    assert len({response["body"] for response in [*first, late]}) == 1
    assert snapshot() == table
    assert len(items(InteractionItem)) == (case != "blocked")
    if case in ("command_stop", "blocked"):
        assert ada().epoch == 1


def test_the_key_is_the_same_whenever_it_arrives(hook: Hook) -> None:
    """R16: the wall clock has no part in it."""
    hook.post("message")
    (key,) = snapshot()

    hook.post("message", later=3_600)
    assert list(snapshot()) == [key] == [f"USER#{BOT}#{ADA} INT#90001"]


def test_an_edited_message_is_kept_as_an_edit(hook: Hook) -> None:
    """R21: beside the message it edits, flagged, however often it is replayed."""
    for case in ("message", "edited_message", "edited_message", "message"):
        hook.post(case)

    assert sorted((item.sk, item.edited) for item in items(InteractionItem)) == [
        ("INT#90001", False),
        ("INT#90003", True),
    ]


def test_a_command_that_an_edit_makes_is_no_command(hook: Hook) -> None:
    response = hook.post("edited_message", change=lambda update: update["edited_message"].update(text="/start"))

    assert response["body"] == ""
    assert items(ProfileItem) == []


# --- trouble ---


class Faulty(http.server.BaseHTTPRequestHandler):
    """A DynamoDB that is down, or throttles."""

    fault: tuple[int, str] = (500, "InternalServerError")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, code = self.fault
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def faulty_dynamodb(fault: tuple[int, str]) -> Iterator[str]:
    handler = type("Handler", (Faulty,), {"fault": fault})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("case", ["message", "command_stop", "callback_consent_yes", "blocked", "malformed"])
@pytest.mark.parametrize(
    "fault", [(500, "InternalServerError"), (400, "ProvisionedThroughputExceededException")], ids=["5xx", "throttled"]
)
def test_trouble_with_dynamodb_defers_the_update(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, case: str, fault: tuple[int, str]
) -> None:
    """R4: 503 and Retry-After; nothing is written, and the redelivery is recorded, once."""
    with faulty_dynamodb(fault) as endpoint, monkeypatch.context() as context:
        context.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))  # between botocore's retries
        context.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        deferred = hook.cold(hook.event(case))

    assert (deferred["statusCode"], deferred["headers"]["retry-after"]) == (503, "5")
    redelivered = hook.post(case, later=5)  # a new copy, bound to the endpoint that works
    assert redelivered["statusCode"] == 200
    table = snapshot()
    hook.post(case, later=9)
    # A dead letter says when it came last; everything else stays as it was.
    assert snapshot() == table or (case == "malformed" and snapshot().keys() == table.keys())
    # Besides the interaction: the profile, and the answer.
    assert len(table) == {"command_stop": 3, "callback_consent_yes": 3}.get(case, 1)


def test_a_dynamodb_that_does_not_answer_at_all_defers_the_update(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: nobody listens."""
    with monkeypatch.context() as context:
        context.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
        context.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{free_port()}")
        deferred = hook.cold(hook.event("message"))

    assert deferred["statusCode"] == 503


@pytest.mark.parametrize("case", ["message", "command_stop", "callback_consent_yes", "blocked", "malformed"])
def test_a_dynamodb_that_takes_the_request_and_says_nothing_defers_the_update(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """R4: it is up and too slow, so that the client gives up waiting."""
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as context:
        context.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
        context.setattr("engagement.store.table.Item.Meta.read_timeout_seconds", 0.1)
        context.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{silent.getsockname()[1]}")
        deferred = hook.cold(hook.event(case))

    assert deferred["statusCode"] == 503


@pytest.mark.parametrize("case", ["command_start", "command_stop", "command_privacy", *BUTTONS])
def test_a_crash_between_two_writes_is_mended_by_the_redelivery(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """R4: whichever call to DynamoDB is the last one, the next delivery ends in the same table and the same answer."""
    module, event, later = hook.warm(), hook.event(case), hook.event(case, later=3)
    calls: list[tuple[str, float]] = []
    with monkeypatch.context() as context:
        context.setattr(CALL, metered(calls))
        whole = enter(module, event)
    end = snapshot()

    assert calls
    for survived in range(len(calls)):
        for item in items():
            item.delete()
        with monkeypatch.context() as context:
            context.setattr(CALL, crashing(survived))
            with pytest.raises(Crash):
                enter(module, event)

        assert enter(module, later) == whole
        assert without_arrival(snapshot()) == without_arrival(end)


def test_a_stop_holds_even_if_nothing_after_it_gets_through(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """R52, R4: the profile comes first; the interaction may follow with the redelivery."""
    hook.post("callback_consent_yes", later=-60)
    module = hook.warm()
    with monkeypatch.context() as context:
        context.setattr(CALL, crashing(1))
        with pytest.raises(Crash):
            enter(module, hook.event("command_stop", change=by_number(90_021)))

    assert ada().opted_out
    assert [item.sk for item in items(InteractionItem)] == ["INT#90020"]


def by_number(update_id: int) -> Callable[[Event], None]:
    """Give an update another number: Telegram counts them in the order in which they were made."""
    return lambda update: update.update(update_id=update_id)


class Crash(BaseException):
    """The process is gone: nothing of it may catch this."""


def crashing(after: int) -> Callable[..., Any]:
    """Return PynamoDB's call to DynamoDB, made to die after so many calls got through."""
    from pynamodb.connection.base import Connection

    original, calls = Connection._make_api_call, iter(range(after))

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if next(calls, None) is None:
            raise Crash
        return original(self, operation, arguments)

    return call


def without_arrival(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a button press, which has no date, takes from the first delivery that got through."""
    timed = {
        "occurred_at",
        "expires_on",
        "consent_at",
        "consent_ml_at",
        "consent_llm_at",
        "opted_out_at",
        "answered_at",
        "created_at",
        "due_at",
        "erased_at",
        "reply_latency_seconds",
    }
    found = {key: {name: value for name, value in item.items() if name not in timed} for key, item in table.items()}
    for item in found.values():
        if "preferences" in item:
            item["preferences"] = sorted(fact.rpartition(".")[0] for fact in item["preferences"]["SS"])
    return found


@pytest.mark.parametrize("case", ["malformed", "too_deep", "no_sender", "too_large"])
def test_an_update_that_can_never_be_read_is_put_aside(hook: Hook, case: str) -> None:
    """R5: 200 and a dead letter, once; the chat's next update is handled."""
    event = hook.event("message" if case == "too_large" else case)
    if case == "too_large":
        event["body"] = json.dumps({"update_id": 90041, "message": {"text": "canary" * 85_000}})
    assert (len(event["body"]) > 500_000) == (case == "too_large")

    assert [hook.cold(event)["statusCode"] for _ in range(2)] == [200, 200]
    (letter,) = items()
    assert isinstance(letter, DeadLetterItem)
    assert letter.reason == {"malformed": "not_json", "no_sender": "no_sender"}.get(case, case)
    assert letter.body_bytes == len(event["body"].encode())
    assert (letter.expires_on - letter.received_at).days == 14
    assert "canary" not in json.dumps(letter.serialize())
    assert hook.post("message")["statusCode"] == 200
    assert len(items(InteractionItem)) == 1


# --- what is none of our business ---


@pytest.mark.parametrize(
    "case",
    ["channel_post", "anonymous_admin", "group_message", "guest_message", "business_message", "unknown_kind"],
)
def test_what_is_no_users_own_message_to_the_bot_leaves_no_trace(hook: Hook, case: str) -> None:
    """R6, R7: 200, and nobody's profile."""
    assert hook.post(case) == {"statusCode": 200, "body": ""}
    assert items() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda update: update["my_chat_member"]["chat"].update(type="supergroup", id=-100),
        lambda update: update["my_chat_member"]["new_chat_member"].update(status="restricted"),
    ],
    ids=["in-a-group", "some-other-status"],
)
def test_a_membership_that_is_no_block_changes_nothing(hook: Hook, change: Callable[[Event], None]) -> None:
    """R6, R7."""
    assert hook.post("blocked", change=change)["statusCode"] == 200
    assert items() == []


# --- commands and buttons ---


def test_start_greets_and_asks(hook: Hook) -> None:
    """R10: in the response itself; whoever has not answered was not asked yet, as far as anybody knows."""
    response = hook.post("command_start")
    reply = reply_of(response)

    assert response["headers"] == {"content-type": "application/json"}
    assert (reply["method"], reply["chat_id"]) == ("sendMessage", ADA)
    assert "Hello, Ada!" in reply["text"]
    assert "/privacy" in reply["text"]
    assert buttons_in(reply) == [[Button.CONSENT_YES, Button.CONSENT_NO], [Button.CONSENT_BOTH]]
    assert [item.consent for item in items(ProfileItem)] == ["unasked"]
    hook.post("callback_consent_yes", later=10)
    assert (ada().consent, ada().first_name, ada().language_code) == (Consent.GRANTED, "Ada", "en")


def buttons_in(reply: dict[str, Any]) -> list[list[Button]]:
    """Return what the buttons below a reply say, each of which proves to be ours and Ada's."""
    return [[said(button["callback_data"]) for button in row] for row in reply["reply_markup"]["inline_keyboard"]]


def said(data: str) -> Button:
    press = SIGNER.read(data, ADA)
    assert press is not None
    assert len(data.encode()) <= 64
    return press.button


def test_start_asks_about_learning_alone_where_the_consent_to_writing_is_assumed(hook: Hook) -> None:
    """R74: it is asked for there, too, and until it is answered it is not given."""
    hook.configure(consent_policy="assume")

    assert buttons_in(reply_of(hook.post("command_start"))) == [[Button.LEARNING_YES, Button.LEARNING_NO]]
    hook.post("callback_consent_yes", later=10)
    assert ada().consent_ml is False


@pytest.mark.parametrize(
    "payload",
    ["", "spring_campaign-7", "x" * 64, "x" * 3_000, "../../etc", "ünïcode 🤡", "' OR 1=1 --", "a\nb", "\x00"],
)
def test_a_start_payload_of_any_kind_is_no_obstacle(hook: Hook, payload: str) -> None:
    """R15: invalid or unknown ones are ignored; nothing uses a valid one yet."""
    reply = hook.post("command_start_payload", change=lambda update: update["message"].update(text=f"/start {payload}"))

    assert reply == hook.post("command_start")
    assert [item.control for item in items(InteractionItem)] == ["command", "command"]


def test_stop_ends_outreach_and_only_an_explicit_yes_takes_it_back(hook: Hook) -> None:
    """R70, R94: at once, confirmed, and only by the user's own later yes; neither an unblock nor a /start is one."""
    assert "not write to you first" in reply_of(hook.post("command_stop"))["text"]
    assert ada().opted_out

    hook.post("unblocked", change=lambda update: update["my_chat_member"].update(date=int(T0.timestamp()) + 50))
    assert ada().opted_out
    hook.post("callback_consent_yes", later=-5, change=by_number(80_000))  # a yes of before, delivered late
    assert ada().opted_out
    hook.post("command_start", later=60, change=lambda update: update["message"].update(date=int(T0.timestamp()) + 60))
    assert ada().opted_out
    hook.post("callback_settings_write", later=70)
    assert not ada().opted_out


def test_privacy_is_answered(hook: Hook) -> None:
    """R73: the answer; the commands' list is set with the webhook."""
    assert "What I keep about you" in reply_of(hook.post("command_privacy"))["text"]


@pytest.mark.parametrize("policy", ["ask", "assume"])
def test_learning_is_allowed_and_taken_back_below_privacy(hook: Hook, policy: str) -> None:
    """R74: what /privacy says and offers follows the answers; /stop is about something else."""
    hook.configure(consent_policy=policy)

    def privacy(later: float) -> dict[str, Any]:
        return reply_of(hook.post("command_privacy", later=later))

    assert buttons_in(privacy(0)) == [[Button.LEARNING_YES]]
    assert "Thank you" in reply_of(hook.post("callback_learning_yes", later=10))["text"]
    hook.post("command_stop", later=20)
    assert (ada().consent, ada().consent_ml) == (Consent.UNASKED, True)
    assert buttons_in(privacy(30)) == [[Button.LEARNING_NO]]
    assert "will not learn" in reply_of(hook.post("callback_learning_no", later=40))["text"]
    assert (ada().consent, ada().consent_ml) == (Consent.UNASKED, False)
    assert buttons_in(privacy(50)) == [[Button.LEARNING_YES]]


@pytest.mark.parametrize("case", ["command_other", "callback_other", "message", "reply", "photo", "voice"])
def test_what_is_the_bots_own_business_is_recorded_and_not_answered(hook: Hook, case: str) -> None:
    assert hook.post(case) == {"statusCode": 200, "body": ""}
    assert len(items(InteractionItem)) == 1
    assert items(ProfileItem) == []


@pytest.mark.parametrize(
    ("case", "consent", "consent_ml", "opted_out"),
    [
        ("callback_consent_yes", Consent.GRANTED, False, False),
        ("callback_consent_no", Consent.DECLINED, False, False),
        ("callback_consent_both", Consent.GRANTED, True, False),
        ("callback_learning_yes", Consent.UNASKED, True, False),
        ("callback_learning_no", Consent.UNASKED, False, False),
        ("callback_rewording_yes", Consent.UNASKED, False, False),
        ("callback_rewording_no", Consent.UNASKED, False, False),
        ("callback_later", Consent.UNASKED, False, False),
        ("callback_stop", Consent.UNASKED, False, False),
        ("callback_stop_all", Consent.UNASKED, False, True),
    ],
)
@pytest.mark.parametrize("policy", ["ask", "assume"])
def test_a_button_is_answered_once_and_a_redelivery_changes_nothing(
    hook: Hook, policy: str, case: str, consent: Consent, consent_ml: bool, opted_out: bool
) -> None:
    """R14, R74: one answerCallbackQuery, in the response; each button says what it says and nothing else."""
    hook.configure(consent_policy=policy)
    first = hook.post(case)
    table = snapshot()

    assert reply_of(first)["method"] == "answerCallbackQuery"
    pressed = json.loads(hook.event(case)["body"])["callback_query"]
    assert reply_of(first)["callback_query_id"] == pressed["id"]
    assert (ada().consent, ada().consent_ml, ada().opted_out) == (consent, consent_ml, opted_out)
    assert [hook.post(case, later=seconds) for seconds in (1, 149)] == [first, first]
    assert snapshot() == table


@pytest.mark.parametrize("case", BUTTONS)
def test_a_button_older_than_telegram_remembers_is_silent(hook: Hook, case: str) -> None:
    """R14: after 150 s an answer would be refused; none is given, and nothing changes."""
    hook.post(case)
    table = snapshot()

    assert hook.post(case, later=151) == {"statusCode": 200, "body": ""}
    assert snapshot() == table


def test_a_redelivered_yes_does_not_undo_a_later_no(hook: Hook) -> None:
    """R14: Telegram dates no button press; the first delivery's time is its time."""
    hook.post("callback_consent_yes")
    hook.post("callback_consent_no", later=10)
    again = hook.post("callback_consent_yes", later=20)

    assert ada().consent is Consent.DECLINED
    assert "will not" in reply_of(again)["text"]


@pytest.mark.parametrize(
    ("first", "then", "learns"),
    [
        ("callback_learning_yes", "callback_learning_no", False),
        ("callback_consent_both", "callback_learning_no", False),
        ("callback_learning_no", "callback_learning_yes", True),
        ("callback_learning_no", "callback_consent_both", True),
        ("callback_consent_both", "callback_consent_no", True),
        ("callback_learning_yes", "callback_consent_yes", True),
    ],
)
def test_a_redelivered_answer_about_learning_does_not_undo_a_later_one(
    hook: Hook, first: str, then: str, learns: bool
) -> None:
    """R14, R74: the first delivery's time is a press's time, and its redelivery is answered by what holds now."""
    hook.post(first)
    hook.post(then, later=10)
    table = snapshot()
    again = hook.post(first, later=20)

    assert ada().consent_ml is learns
    assert ("I learn from how you use me" in reply_of(again)["text"]) == learns
    assert snapshot() == table


def test_a_press_that_comes_late_does_not_undo_a_newer_one(hook: Hook) -> None:
    """R14, R74: the yes is recorded, its answer gets lost on the way to the profile, the no overtakes it."""
    module = hook.warm()
    with hook.monkeypatch.context() as context:
        # Is there a tombstone? And the interaction, which holds the time of the press, and nothing more.
        context.setattr(CALL, crashing(2))
        with pytest.raises(Crash):
            enter(module, hook.event("callback_consent_both"))
    hook.post("callback_learning_no", later=10)
    hook.post("callback_consent_both", later=20)

    assert [item.sk for item in items(InteractionItem)] == ["INT#90025", "INT#90026"]
    assert (ada().consent, ada().consent_ml) == (Consent.GRANTED, False)


def test_a_yes_that_a_later_stop_overtook_promises_nothing(hook: Hook) -> None:
    """R94: it is answered by what holds, whichever came in first."""
    hook.post("command_stop")

    assert "will not write" in reply_of(hook.post("callback_consent_yes", later=-5, change=by_number(80_000)))["text"]
    assert (ada().consent, ada().opted_out) == (Consent.GRANTED, True)


def test_a_language_model_is_told_of_nobody_who_did_not_allow_it(hook: Hook) -> None:
    """R65: asked for below /privacy where one is used, its own answer, taken back as easily, in any delivery."""

    def privacy(later: float) -> list[list[Button]]:
        return buttons_in(reply_of(hook.post("command_privacy", later=later)))

    assert privacy(0) == [[Button.LEARNING_YES]]
    hook.configure(ai_message_enhancement="bedrock")
    assert privacy(5) == [[Button.LEARNING_YES], [Button.REWORDING_YES]]
    hook.post("callback_consent_both", later=10)
    assert ada().consent_llm is False
    assert "may now reword" in reply_of(hook.post("callback_rewording_yes", later=20))["text"]
    assert (ada().consent_llm, privacy(25)) == (True, [[Button.LEARNING_NO], [Button.REWORDING_NO]])
    assert "no language model" in reply_of(hook.post("callback_rewording_no", later=30))["text"]
    assert "no language model" in reply_of(hook.post("callback_rewording_yes", later=40))["text"]  # a redelivery
    assert (ada().consent, ada().consent_ml, ada().consent_llm) == (Consent.GRANTED, True, False)


def test_not_now_doubles_the_distance_of_its_type_and_is_no_stop(hook: Hook) -> None:
    """R57, R92: from the press on, the answer says how long, and a redelivery, which is later, adds nothing."""
    reply = reply_of(hook.post("callback_later"))
    table = snapshot()

    assert "for the next 14 days" in reply["text"]
    pressed_at = datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC)
    about = Exposure(OutreachType.RE_ENGAGEMENT, datetime(2026, 11, 22, 8, 58, tzinfo=UTC))
    assert ada().preferences.facts == {Dismissal(about, pressed_at)}
    assert ada().preferences.held_until(OutreachType.RE_ENGAGEMENT) == pressed_at + timedelta(days=14)
    assert ada().preferences.held_until(OutreachType.TOPIC_FOLLOW_UP) is None
    assert not ada().opted_out
    hook.post("callback_later", later=100)
    assert snapshot() == table
    hook.post("command_start", later=110)
    assert ada().preferences.facts == {Dismissal(about, pressed_at)}


@pytest.mark.parametrize("language", ["de", "hi", "zh"])
@pytest.mark.parametrize("outreach_type", OutreachType)
def test_the_useful_button_is_answered_in_the_readers_language(
    hook: Hook, outreach_type: OutreachType, language: str
) -> None:
    """R57, R91: each type has an answer of its own; nobody becomes a profile by it, and it is kept as what it is."""
    exposed_at = T0 - timedelta(minutes=2)

    def press(update: Event) -> None:
        update["callback_query"]["data"] = SIGNER.data(Button.GO, ADA, exposure_ref(outreach_type, exposed_at))
        update["callback_query"]["from"]["language_code"] = language

    reply = reply_of(hook.post("callback_go_checkin", change=press))

    assert reply["text"] == TEXTS[f"go_{outreach_type}"].get(language, TEXTS[f"go_{outreach_type}"]["en"])
    (kept,) = items(InteractionItem)
    assert (kept.engagement_type, kept.control) == ("callback", "opened")
    assert kept.about == f"{outreach_type}#{int(exposed_at.timestamp())}"
    assert items(ProfileItem) == []


def test_a_zone_is_set_shown_and_set_again(hook: Hook) -> None:
    """R40: by the user's own word, and by the time of it."""

    def timezone(text: str, later: float) -> str:
        change = {"text": text, "date": int(T0.timestamp()) + int(later)}
        reply = hook.post("command_timezone", later=later, change=lambda update: update["message"].update(change))
        text = reply_of(reply)["text"]
        assert isinstance(text, str)
        return text

    assert "when you usually write" in timezone("/timezone", 0)
    assert "Noted: Europe/Berlin, where it is 10:00 now" in reply_of(hook.post("command_timezone_set"))["text"]
    assert "I go by Europe/Berlin" in timezone("/timezone@rekindle_example_bot", 2)
    assert "Noted: America/New_York" in timezone("/timezone  america/new york ", 5)
    assert "America/New_York" in timezone("/timezone Europe/Berlin", 4)  # said before, and delivered late
    assert ada().zone == "America/New_York"
    assert "Noted: Etc/UTC" in timezone("/timezone utc", 6)


@pytest.mark.parametrize(
    "zone", ["../../etc/localtime", "Europe/Berlin\x00", "{zone}", "<b>", "x" * 4_000, "Factory", "🤡"]
)
def test_a_hostile_zone_gets_help_and_changes_nothing(hook: Hook, zone: str) -> None:
    """R40: what was typed is not repeated."""
    reply = hook.post("command_timezone_bad", change=lambda update: update["message"].update(text=f"/timezone {zone}"))

    assert reply_of(reply)["text"].endswith("/timezone Europe/Berlin")
    assert zone not in reply_of(reply)["text"]
    assert items(ProfileItem) == []


def test_a_block_and_an_unblock_are_kept_by_their_date(hook: Hook) -> None:
    """R48."""
    newer = {"date": int(T0.timestamp()) + 60}
    hook.post("unblocked", later=90, change=lambda update: update["my_chat_member"].update(newer))
    hook.post("blocked", later=95)

    assert (ada().blocked, ada().epoch) == (False, 1)
    assert items(InteractionItem) == []


# --- how much ---


def numbered(event: Event, number: int, user_id: int = ADA, text: str = "hello") -> Event:
    update = json.loads(event["body"])
    update["update_id"] = 100_000 + number
    update["message"]["text"] = text
    update["message"]["from"]["id"] = update["message"]["chat"]["id"] = user_id
    return event | {"body": json.dumps(update)}


def test_a_flood_is_counted_and_not_stored(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    """R13: 1,000 updates of one user in ten seconds; others are unaffected, and /stop goes through."""
    module = hook.warm()
    capsys.readouterr()
    for number in range(1_000):
        event = numbered(hook.event("message", later=number / 100), number)
        assert module.handler(event, None)["statusCode"] == 200
    counted = metrics_in(capsys.readouterr().out)

    assert counted == {"InteractionsStored": 60, "InteractionsShed": 940}
    assert len(items(InteractionItem)) == 60
    other = numbered(hook.event("message", later=10), 2_000, user_id=8)
    module.handler(other, None)
    assert [item.pk for item in items(InteractionItem) if item.pk.endswith("#8")] == [f"USER#{BOT}#8"]
    stopped = module.handler(numbered(hook.event("command_stop", later=10), 3_000, text="/stop"), None)
    assert "Done" in reply_of(stopped)["text"]
    assert ada().opted_out


def test_an_interaction_costs_one_write_unit_and_a_read_where_it_shows_a_mood(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price of an interaction is a tested number; R102 is the read: may the mood be kept?

    /stop and a button cost their profile change and their answer on top, a button a look for a tombstone.
    """
    costs = {}
    plain, moody = ("voice", "command_other"), ("message", "reply", "sticker", "photo")
    for case in (*plain, *moody, "command_privacy", "command_stop", "callback_consent_yes", "blocked"):
        module = hook.warm()
        spent: list[tuple[str, float]] = []
        with monkeypatch.context() as context:
            context.setattr(CALL, metered(spent))
            module.handler(hook.event(case), None)
        costs[case] = spent

    for case in plain:
        assert costs[case] == [("PutItem", 1.0)]
    for case in moody:
        assert costs[case] == [("GetItem", 1.0), ("PutItem", 1.0)]
    # The first command of somebody makes their profile.
    privacy = [operation for operation, _ in costs["command_privacy"]]
    assert privacy == ["GetItem", "TransactWriteItems", "GetItem", "PutItem"]
    assert [operation for operation, _ in costs["command_stop"]] == ["UpdateItem", "PutItem", "PutItem"]
    # The profile exists by now: the command before made it. The answer ends the opt-out, too.
    assert costs["callback_consent_yes"] == [
        ("GetItem", 1.0),
        ("PutItem", 1.0),
        ("UpdateItem", 1.0),
        ("UpdateItem", 1.0),
        ("PutItem", 1.0),
        ("GetItem", 1.0),
    ]
    # What is kept of somebody who left is looked at sooner: its row of the index moves.
    assert costs["blocked"] == [("UpdateItem", 1.0 + 2.0)]


def metered(spent: list[tuple[str, float]]) -> Callable[..., Any]:
    from pynamodb.connection.base import Connection

    original = Connection._make_api_call

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        spent.append((operation, 0.0))
        data = original(self, operation, arguments | {"ReturnConsumedCapacity": "TOTAL"})
        capacity = data.get("ConsumedCapacity", {})
        total = capacity if isinstance(capacity, dict) else {}
        spent[-1] = (operation, total.get("CapacityUnits", 0.0))
        return data

    return call


@pytest.mark.parametrize("store_text", ["on", "off"])
def test_the_largest_message_makes_an_item_below_10_kb(hook: Hook, store_text: str) -> None:
    """R17: 4,096 emoji of four bytes, a name of 64; cut between two code points where the text is kept at all."""
    hook.configure(store_text=store_text, sensitive_basis="operator")

    def change(update: Event) -> None:
        update["message"]["text"] = "👩" * 4_096
        update["message"]["from"]["first_name"] = "👩" * 64

    hook.post("message", change=change)
    (item,) = items(InteractionItem)

    assert item_bytes(item) < (10_000 if store_text == "on" else 1_000)
    assert item.characters == 4_096
    assert (item.text or "").strip("👩") == ""
    assert (item.text is None) == (store_text == "off")


def item_bytes(item: Item) -> int:
    """DynamoDB's size of an item: names and values in UTF-8, numbers at two digits a byte (approximately)."""
    size = 0
    for name, value in item.serialize().items():
        (tag, content), *_ = value.items()
        size += len(name) + {"S": len(str(content).encode()), "N": (len(str(content)) + 1) // 2 + 1, "BOOL": 1}[tag]
    return size


def test_a_typical_interaction_is_well_below_one_write_unit(hook: Hook) -> None:
    hook.post("message")
    (item,) = items(InteractionItem)

    assert item_bytes(item) < 600


# --- what never leaves ---

CANARY = "quokkacanary"


def whisper(update: Event) -> None:
    """Put a canary into every text a user can write."""
    for content in update.values():
        if not isinstance(content, dict):
            continue
        for name in ("text", "caption"):
            if name in content and not content[name].startswith("/"):
                content[name] = f"I feel sad about my {CANARY} and want pizza"
        if isinstance(content.get("message"), dict):
            content["message"]["text"] = CANARY
        if isinstance(content.get("reply_to_message"), dict):
            content["reply_to_message"]["text"] = CANARY


def test_no_word_and_no_secret_is_kept_or_logged(
    hook: Hook, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """R20, R85, R58: every sample, whole, refused and deferred; the table, the logs and the metrics are searched."""
    module = hook.warm()
    for case in CASES:
        event = hook.event(case)
        if not event["isBase64Encoded"] and case not in ("malformed", "too_deep"):
            event = hook.event(case, change=whisper)
        module.handler(event, None)
    hook.cold(hook.event("malformed") | {"body": '{"update_id": 1, "message": "' + CANARY})
    with faulty_dynamodb((400, "ValidationException")) as endpoint, hook.monkeypatch.context() as context:
        context.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        hook.cold(hook.event("message", change=whisper))
    hook.post("message")
    printed = capsys.readouterr()
    logged = hook.log.getvalue() + printed.out + printed.err + caplog.text
    kept = json.dumps(snapshot())

    assert len(items(InteractionItem)) >= 12
    assert len(items(DeadLetterItem)) == 4
    assert len(hook.log.getvalue().splitlines()) == len(CASES) + 3
    for place in (kept, logged):
        assert CANARY not in place
        assert SECRET not in place
    # Ids are in the table, where they belong; a log is read by more people and kept by other rules.
    assert str(ADA) not in logged
    assert not re.search(r"\bAda\b", logged)


def test_the_text_is_kept_where_the_operator_says_so_and_still_not_logged(
    hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    """R20."""
    hook.configure(store_text="on")
    hook.post("message", change=whisper)
    assert items(InteractionItem)[0].text is None, "R102: not before they agreed"

    hook.post("callback_consent_yes")
    hook.post("message", change=lambda update: (whisper(update), by_number(99_999)(update)))
    assert CANARY in items(InteractionItem)[-1].text
    assert CANARY not in capsys.readouterr().out + hook.log.getvalue()


def test_the_hook_talks_to_dynamodb_and_ssm_and_to_nobody_else(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, aws: dict[str, str]
) -> None:
    """R10: a reply travels in the response; every connection of every sample goes to the one local AWS."""
    reached: set[tuple[str, int]] = set()
    original = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        reached.add(tuple(address[:2]))
        original(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    secrets.forget()
    module = hook.warm()
    replies = sum(bool(module.handler(hook.event(case), None)["body"]) for case in CASES)

    endpoint = urlparse(aws["AWS_ENDPOINT_URL"])
    assert reached == {(endpoint.hostname, endpoint.port)}
    assert replies >= 7


EXPECTED = {
    "anonymous_admin": "UpdatesIgnored",
    "blocked": "StatusChanges",
    "business_message": "UpdatesIgnored",
    "channel_post": "UpdatesIgnored",
    "forged": "UpdatesForged",
    "forged_no_secret": "UpdatesForged",
    "group_message": "UpdatesIgnored",
    "guest_message": "UpdatesIgnored",
    "malformed": "DeadLetters",
    "no_sender": "DeadLetters",
    "too_deep": "DeadLetters",
    "unblocked": "StatusChanges",
    "unknown_kind": "UpdatesIgnored",
}


def test_every_sample_ends_in_its_metric_and_one_line_of_log(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    """One of each per invocation, and the status that Telegram must see."""
    module = hook.warm()
    assert CASES
    for case in CASES:
        for item in items():
            item.delete()
        hook.log.truncate(0)
        hook.log.seek(0)
        response = module.handler(hook.event(case), None)
        outcome = EXPECTED.get(case, "InteractionsStored")
        (log,) = [json.loads(line) for line in hook.log.getvalue().splitlines()]

        assert response["statusCode"] == (401 if case.startswith("forged") else 200), case
        handed_over = {"HandedToOperator": 1} if case == "crisis" else {}
        assert metrics_in(capsys.readouterr().out) == {outcome: 1} | handed_over, case
        assert (log["message"], log["outcome"]) == ("update received", outcome), case


def test_the_virtual_clock_is_for_the_local_aws_alone(hook: Hook) -> None:
    """A deployed webhook knows no other clock than API Gateway's."""
    virtual = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)

    def press(mode: str) -> datetime:
        hook.configure(virtual_clock=mode)
        event = hook.event("callback_other", change=lambda update: update.update(update_id=len(mode)))
        event["headers"]["x-rekindle-now"] = str(virtual.timestamp())
        hook.cold(event)
        stored = Interactions(1).get(BOT, ADA, len(mode))
        assert stored is not None
        return stored.occurred_at

    assert press("on") == virtual
    assert press("off") == datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC)


def test_the_button_under_a_celebration_shows_what_comes_next(hook: Hook) -> None:
    """Bars in an alert, of the milestones in force and of what the user did; a redelivery shows the same."""
    MilestoneSeeder(BOT, Milestones(BOT), Statistics()).seed_default_milestones(now=NOW)
    state = encode(builders.pattern_of(NOW - timedelta(hours=hour) for hour in range(8)))
    PatternItem(keys.user(BOT, ADA), keys.PATTERN, state=state, version=1).save()

    shown, again = (reply_of(hook.post("callback_go_progress")) for _ in range(2))

    assert shown == again
    assert shown["show_alert"] is True
    assert shown["text"].splitlines()[0] == "Chatty Newcomer ▰▰▰▰▰▰▰▰▱▱ 8 / 10"
