"""The deployed stack, once for the whole run, and people who talk to its bot."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engagement.domain.experiment import Experiment, Shares
from engagement.domain.outreach import Arm, OutreachType
from infra.cli import main as cli
from infra.cli import milestones, templates
from infra.config import DeploymentConfig
from infra.local import suite as local_suite
from infra.local.emulator import environment
from infra.local.suite import BOT_ID, LocalSuite
from infra.local.telegram import bot_api, updates
from infra.local.telegram.methods import SentMessage
from infra.local.telegram.server import Posted


@pytest.fixture(scope="session")
def suite() -> Iterator[LocalSuite]:
    """The stack on a local AWS, with a fake Telegram; deployed once."""
    with LocalSuite(bot_api=bot_api.find()) as running:
        yield running


@pytest.fixture(autouse=True)
def _telegram_has_nothing_to_complain_about(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no call that the real Telegram would refuse or ignore."""
    if "suite" not in request.fixturenames:
        yield
        return
    suite: LocalSuite = request.getfixturevalue("suite")
    before = len(suite.telegram.problems)
    yield
    assert suite.telegram.problems[before:] == []


@pytest.fixture
def store(suite: LocalSuite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The deployed table, bound; returns its name."""
    from engagement.store.table import bind

    for name, value in environment(suite.endpoint).items():
        monkeypatch.setenv(name, value)
    bind(suite.table_name)
    return suite.table_name


@pytest.fixture
def rekindle(suite: LocalSuite, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command where the suite runs; returns what it printed."""
    monkeypatch.setattr(local_suite, "STATE_FILE", tmp_path / "local.json")
    for console in (cli.out, milestones.console, templates.console):
        monkeypatch.setattr(console, "width", 200)
    state = suite.state()
    state.write(tmp_path / "local.json")
    # As after `eval "$(rekindle local env)"`.
    for name, value in state.environment().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 0, result.output
        assert suite.webhook_secret not in result.output or words == ("local", "status")
        assert suite._token.partition(":")[2] not in result.output
        return result.output

    return run


_serials = itertools.count(1)
_numbers = itertools.count(7_000_000_001)


@dataclass(frozen=True, slots=True)
class Chat:
    """One person's chat with the bot."""

    suite: LocalSuite
    person: updates.Person

    @property
    def user_id(self) -> int:
        return self.person.user_id

    def says(self, text: str, at: datetime) -> Posted:
        """Write a message or a command."""
        return self.posts(self.message(text, at), at)

    def message(self, text: str, at: datetime) -> dict[str, Any]:
        """Make an update, to be posted."""
        return updates.message(
            next(_serials),
            self.person,
            text,
            date=int(at.timestamp()),
            message_id=self.suite.telegram.next_message_id(self.user_id),
        )

    def posts(self, update: dict[str, Any], at: datetime) -> Posted:
        """Deliver an update."""
        self.suite.clock.set(at)
        return self.suite.post_update(update, at)

    def presses(self, data: str, below: SentMessage, at: datetime) -> Posted:
        """Press a button under a message of the bot's."""
        update = updates.callback(
            next(_serials),
            self.person,
            data,
            date=below.date,
            message_id=below.message_id,
            bot_id=BOT_ID,
        )
        return self.posts(update, at)

    def blocks(self, at: datetime) -> Posted:
        """Block the bot."""
        update = updates.blocked(next(_serials), self.person, date=int(at.timestamp()), bot_id=BOT_ID)
        return self.posts(update, at)

    def consents(self, at: datetime) -> None:
        """Start the bot and allow it to write."""
        from engagement.domain.callbacks import Button

        self.says("/start", at)
        (question,) = self.received()[-1:]
        assert self.presses(data_of(question, Button.CONSENT_YES), question, at).status == 200

    def received(self) -> list[SentMessage]:
        """What the bot wrote, in order."""
        return self.suite.telegram.received_by(self.user_id)

    def outreach(self) -> list[SentMessage]:
        """What the bot wrote without being asked."""
        return [message for message in self.received() if message.via == "http"]


def data_of(message: SentMessage, button: str) -> str:
    """Return what the one button under a message sends back that says so; see `callbacks.Button`."""
    rows = (message.reply_markup or {})["inline_keyboard"]
    found = [one["callback_data"] for row in rows for one in row if one["callback_data"].split(":")[1] == button]
    assert len(found) == 1, found
    return str(found[0])


_DEPLOYED = DeploymentConfig(bot_id=BOT_ID)
EXPERIMENT = Experiment(
    name=_DEPLOYED.experiment,
    control=_DEPLOYED.control_percent / 100,
    type_control=Shares.parse(_DEPLOYED.type_control, "TYPE_CONTROL"),
)


def _drawn(user_id: int, *, control: bool) -> bool:
    """Say whether a user is in the control group, or else held out of no type."""
    arms = [EXPERIMENT.assign(BOT_ID, user_id, outreach_type) for outreach_type in OutreachType]
    return arms[0].in_control if control else all(drawn.arm is Arm.TREATED for drawn in arms)


@pytest.fixture
def chat(suite: LocalSuite) -> Callable[..., Chat]:
    """Open a chat with somebody new, who is written to whatever the type; or, on demand, never."""

    def open_chat(first_name: str = "Ada", language_code: str = "en", *, control: bool = False) -> Chat:
        user_id = next(number for number in _numbers if _drawn(number, control=control))
        return Chat(suite, updates.Person(user_id, first_name, language_code))

    return open_chat
