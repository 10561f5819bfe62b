"""The chat as a phone shows it, in three languages: what docs/chat.md prints is what the deployed stack says.

`REKINDLE_WRITE_DOCS=1 pytest tests/e2e/test_chat.py` writes the page anew; then read it aloud before it is committed.
"""

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engagement.domain.callbacks import TYPE_CODES, Button
from engagement.domain.outreach import OutreachType
from infra.local.suite import LocalSuite
from infra.local.telegram import updates
from infra.local.telegram.methods import SentMessage
from infra.local.telegram.phone import phone
from tests.e2e.conftest import Chat, _drawn

PAGE = Path(__file__).parents[2] / "docs" / "chat.md"
START = datetime(2026, 9, 7, 18, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WIDTH = 46
READERS = {"en": "Ada", "de": "Jana", "es": "Tomás"}
HEAD = """# The chat
What a person sees, from `/start` to being forgotten, at the width of a phone. A test lets the deployed stack say it and
compares ([test_chat.py](../tests/e2e/test_chat.py)), so this page is what is sent. Lines with ⓘ are shown at the top of
the screen for a moment, after a press.
"""


class Conversation:
    """One person's chat, drawn as it goes on."""

    def __init__(self, suite: LocalSuite, user_id: int, language: str) -> None:
        self.suite = suite
        self.chat = Chat(suite, updates.Person(user_id, READERS[language], language))
        self.drawn: list[str] = []
        self.shown = 0

    def says(self, text: str, at: datetime) -> None:
        self.chat.says(text, at)

    def presses(self, button: Button, at: datetime, about: str = "") -> None:
        """Press the newest button that says so, and draw what the top of the screen shows."""
        for message in reversed(self.chat.received()):
            if data := _data(message, button, about):
                label = next(b["text"] for b in _buttons(message) if b["callback_data"] == data)
                assert self.chat.presses(data, message, at).status == 200
                self.draw()
                call = self.suite.telegram.calls[-1]
                said = call.params["text"] if call.method == "answerCallbackQuery" else "…"
                self.drawn.append(f"{f'👆 {label}':>{WIDTH}}")
                self.drawn.append(
                    f"ⓘ {said}" if call.method == "answerCallbackQuery" else "(the message above changes)"
                )
                return
        raise AssertionError(f"no button says {button}")

    def draw(self) -> None:
        """Draw what is new."""
        bubbles = self.suite.telegram.chat(self.chat.user_id)
        if bubbles[self.shown :]:
            self.drawn.append(phone(bubbles[self.shown :], WIDTH))
        self.shown = len(bubbles)

    def skip(self, words: str) -> None:
        """Say what happened instead of drawing it."""
        self.shown = len(self.suite.telegram.chat(self.chat.user_id))
        self.drawn.append(f"{f'· · ·  {words}  · · ·':^{WIDTH}}".rstrip())


def _buttons(message: SentMessage) -> list[dict[str, str]]:
    return list(itertools.chain(*(message.reply_markup or {"inline_keyboard": []})["inline_keyboard"]))


def _data(message: SentMessage, button: Button, about: str) -> str | None:
    for found in _buttons(message):
        _, says, ref, _ = found["callback_data"].split(":")
        if says == button and ref.startswith(about):
            return found["callback_data"]
    return None


def converse(suite: LocalSuite, user_id: int, language: str) -> str:
    """Live from /start to being forgotten; return it drawn."""
    person = Conversation(suite, user_id, language)
    person.says("/start", START)
    person.draw()
    person.presses(Button.CONSENT_YES, START + MINUTE)
    for day in range(12):
        person.says("👍", START + day * DAY + HOUR)
    suite.wait_until_drained()
    person.skip("twelve days of talking, two weeks of silence")
    day = 13
    while not person.chat.outreach():
        suite.tick("scorer", START + day * DAY)
        for hour in (1, 8, 14, 20):
            suite.tick("outreach_sender", START + day * DAY + hour * HOUR)
        day += 1
        assert day < 40, "nothing was sent"
    now = START + day * DAY
    person.draw()
    person.presses(Button.NOT_NOW, now)
    person.says("/settings", now + MINUTE)
    person.draw()
    person.presses(Button.TYPE_OFF, now + 2 * MINUTE, TYPE_CODES[OutreachType.PERSONALIZED_CHECKIN])
    person.shown -= 1
    person.draw()
    for number, command in enumerate(("/privacy", "/help", "/mydata", "/stop", "/start", "/forget"), 3):
        person.says(command, now + number * MINUTE)
        person.draw()
    person.presses(Button.FORGET_YES, now + 10 * MINUTE)
    suite.wait_until_drained()
    return "\n".join(person.drawn)


def test_the_page_shows_what_the_stack_says(suite: LocalSuite, store: str, rekindle: Callable[..., str]) -> None:
    """R73, R94, R98-R100: /start to first message, /settings, /privacy, /help, /mydata, /stop, /forget."""
    rekindle("milestones", "seed")
    numbers = (number for number in itertools.count(8_100_000_001) if _drawn(number, control=False))
    parts = [HEAD]
    for language in READERS:
        parts.append(f"## {language}\n```\n{converse(suite, next(numbers), language)}\n```\n")
    page = "\n".join(parts)
    if os.environ.get("REKINDLE_WRITE_DOCS"):
        PAGE.write_text(page, encoding="utf-8")
    assert page == PAGE.read_text(encoding="utf-8"), "the chat changed: write docs/chat.md anew, and read it"
