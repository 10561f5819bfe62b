"""`rekindle templates`: what an operator sees, adds, tries and removes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner, Result

from engagement.domain.callbacks import UNDER_OUTREACH, Signer
from engagement.domain.outreach import OutreachType
from engagement.domain.templates import LANGUAGES, Texts, keyboard, own_templates
from engagement.store import keys
from engagement.store.catalogue import Catalogue
from infra.cli import templates as commands
from infra.cli.target import Target
from infra.local.telegram.server import FakeTelegram
from tests.builders import NOW

BOT = 123456
TOKEN = f"{BOT}:templates-command-token-0123456789abc"
PARAMETER, KEY_PARAMETER = "/rekindle/test/bot-token", "/rekindle/test/callback-key"
NUDGE = "Hi {name}! 👋 Just checking in - how are things going?"

Run = Callable[..., Result]


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram(TOKEN) as running:
        yield running


@pytest.fixture
def run(table: str, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a deployment with this table and this Telegram."""
    settings = {
        "BOT_ID": str(BOT),
        "BOT_TOKEN_PARAMETER": PARAMETER,
        "CALLBACK_KEY_PARAMETER": KEY_PARAMETER,
        "TELEGRAM_API_URL": telegram.url,
    }
    deployment = Target(outputs={"TableName": table}, client=boto3.client, variables={})
    monkeypatch.setattr(Target, "of", lambda _: deployment)
    monkeypatch.setattr(Target, "settings", lambda _self, _function: settings)
    monkeypatch.setattr(commands.console, "width", 160)
    return lambda *words: CliRunner().invoke(commands.templates, words)


def kept() -> dict[str, dict[str, object]]:
    return Catalogue(BOT).all(keys.TEMPLATE_PREFIX)


def refused(result: Result) -> str:
    """Return what a failed command said, on one line."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_the_list_shows_every_text_with_its_source_and_languages(run: Run) -> None:
    run("add", "re_engagement", "gentle_nudge", NUDGE, "--translation", "de=Hallo {name}! 👋 Wie geht es?")

    result = run("list")

    assert result.exit_code == 0, result.output
    names = [name for kind in OutreachType for name in Texts().variants(kind)]
    assert all(name in result.output for name in names)
    (mine,) = [line for line in result.output.splitlines() if "gentle_nudge" in line]
    assert [cell.strip() for cell in mine.split("│")[1:4]] == ["re_engagement.gentle_nudge", "you", "de, en"]
    assert "mood_support" not in run("list", "re_engagement").output


def test_the_list_names_a_text_that_is_not_used_and_why(run: Run) -> None:
    """R56: what a newer version refuses is left out, and said."""
    Catalogue(BOT).put(keys.TEMPLATE_PREFIX, "re_engagement.old", {"texts": {"en": "Hi {user}!"}}, NOW)

    assert "not used: template re_engagement.old" in run("list").output


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_preview_shows_the_text_and_the_buttons_in_the_readers_language(run: Run, language: str) -> None:
    shown = run("preview", "topic_follow_up.came_up", "--language", language, "--value", "topic=<go>").output

    rows = keyboard(OutreachType.TOPIC_FOLLOW_UP, language, str)["inline_keyboard"]
    assert all(button["text"] in shown for row in rows for button in row)
    assert "Ada" in shown
    assert "<go>" in shown
    assert "&lt;" not in shown


def test_a_preview_without_a_name_and_with_markup_is_as_telegram_shows_it(run: Run) -> None:
    run("add", "re_engagement", "bold", "Hi <b>{name}</b>! 👋🏽 <i>So</i>?")

    assert "Hi! 👋🏽 So?" in run("preview", "re_engagement.bold", "--first-name", "").output
    assert "Hi Ada! 👋🏽 So?" in run("preview", "re_engagement.bold+ai").output
    shown = commands._as_shown("👋🏽 <b>So</b>?")
    assert [(str(span.style), shown.plain[span.start : span.end]) for span in shown.spans] == [("bold", "So")]


def test_a_test_message_goes_to_the_operator_as_a_user_would_get_it(run: Run, telegram: FakeTelegram) -> None:
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value=TOKEN, Type="SecureString")
    ssm.put_parameter(Name=KEY_PARAMETER, Value="a-key", Type="SecureString")

    result = run("send-test", "mood_support.no_hurry", "--chat-id", "77", "--language", "de", "--first-name", "Eva")

    assert result.exit_code == 0, result.output
    (message,) = telegram.messages
    assert message.chat_id == 77
    assert message.text.startswith("Hallo Eva.")
    shown = telegram.calls[-1].params["reply_markup"]["inline_keyboard"]
    expected = keyboard(OutreachType.MOOD_SUPPORT, "de", str)["inline_keyboard"]
    assert [[button["text"] for button in row] for row in shown] == [[b["text"] for b in row] for row in expected]
    signer = Signer(BOT, lambda: "a-key")
    presses = [signer.read(button["callback_data"], 77) for row in shown for button in row]
    assert [press and press.button for press in presses] == list(UNDER_OUTREACH)
    assert f"Sent to 77 as message {message.message_id}" in result.output
    assert telegram.problems == []


def test_a_test_message_whose_buttons_could_not_be_signed_is_not_sent(run: Run, telegram: FakeTelegram) -> None:
    """R96: a deployment without its key: nobody is told that the buttons work."""
    boto3.client("ssm").put_parameter(Name=PARAMETER, Value=TOKEN, Type="SecureString")

    assert KEY_PARAMETER in refused(run("send-test", "mood_support.no_hurry", "--chat-id", "77"))
    assert telegram.messages == []


def test_a_test_message_that_is_not_sent_says_why_and_never_the_token(run: Run, telegram: FakeTelegram) -> None:
    """R58: also where Telegram does not know the token."""
    words = ("send-test", "mood_support.no_hurry", "--chat-id", "77")
    assert f"no bot token in {PARAMETER}" in refused(run(*words))

    ssm = boto3.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value=TOKEN.replace("token", "other"), Type="SecureString")
    ssm.put_parameter(Name=KEY_PARAMETER, Value="a-key", Type="SecureString")
    said = refused(run(*words))

    assert "Telegram does not know the bot's token" in said
    assert "0123456789" not in said


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_texts_are_added_from_a_file(run: Run, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mine.{suffix}"
    file.write_text(
        '{"mood_support": {"quiet": {"variables": [], "texts": {"en": "I am here.", "fr": "Je suis là."}}}}'
        if suffix == "json"
        else '[mood_support.quiet]\nvariables = []\ntexts.en = "I am here."\ntexts.fr = "Je suis là."\n'
    )

    result = run("add", "--file", str(file))

    assert "mood_support.quiet: added; see it: rekindle templates preview mood_support.quiet" in result.output
    (template,) = own_templates(kept())
    assert template.texts == {"en": "I am here.", "fr": "Je suis là."}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "mine.toml is not TOML"),
        ("", "mine.toml holds no text"),
        ("re_engagement = 7", "mine.toml holds no text"),
        ("[re_engagement]\nmine = 'Hi'", "expected a table re_engagement.mine"),
        ("[re_engagement.mine]\ntexts.en = 'Hi {name}!'", "not declared: ['name']"),
        ("[winback.mine]\ntexts.en = 'Hi'", "'winback' is no outreach type"),
        ("[re_engagement.fine]\ntexts.en = 'Hi'\n[re_engagement.mine]\ntexts.en = '<b>'", "nothing was added"),
    ],
)
def test_a_file_with_a_fault_adds_nothing(run: Run, tmp_path: Path, content: str, says: str) -> None:
    """R56: all of it is checked before any of it is kept."""
    file = tmp_path / "mine.toml"
    file.write_text(content)

    assert says in refused(run("add", "--file", str(file)))
    assert kept() == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give OUTREACH_TYPE VARIANT TEXT, or --file FILE"),
        (("re_engagement", "mine"), "give OUTREACH_TYPE VARIANT TEXT"),
        (("re_engagement", "mine", "Hi {user}!"), "re_engagement has no variables ['user'], only ['name']"),
        (("re_engagement", "mine", "Hi {name!"), "template re_engagement.mine, en"),
        (("re_engagement", "open_door", "Hi!"), "the catalogue has one of that name"),
        (("re_engagement", "mine", "Hi!", "--translation", "Hallo"), "has no ="),
        (("winback", "mine", "Hi!"), "'winback' is not one of"),
    ],
)
def test_what_cannot_be_added_is_said_with_what_to_mend(run: Run, words: tuple[str, ...], says: str) -> None:
    assert says in refused(run("add", *words))
    assert kept() == {}


def test_a_name_keeps_its_text_unless_told_otherwise(run: Run) -> None:
    """What was measured under a name is the measure of one text."""
    run("add", "re_engagement", "mine", "Hi!")
    assert run("add", "re_engagement", "mine", "Hi!").exit_code == 0
    assert "choose a new name" in refused(run("add", "re_engagement", "mine", "Hello!"))
    assert "replaced" in run("add", "re_engagement", "mine", "Hello!", "--replace").output
    assert own_templates(kept())[0].texts == {"en": "Hello!"}


def test_a_text_is_removed_and_ours_are_not(run: Run) -> None:
    run("add", "re_engagement", "mine", "Hi!")

    assert "re_engagement.mine: removed." in run("remove", "re_engagement.mine").output
    assert kept() == {}
    assert "you have no text re_engagement.mine" in refused(run("remove", "re_engagement.mine"))
    assert "you have no text re_engagement.open_door" in refused(run("remove", "re_engagement.open_door"))


@pytest.mark.parametrize("command", ["preview", "send-test"])
def test_an_unknown_text_or_value_is_said(run: Run, command: str) -> None:
    chat = ("--chat-id", "7") if command == "send-test" else ()
    assert "there is no text re_engagement.gone" in refused(run(command, "re_engagement.gone", *chat))
    assert "expected values []" in refused(run(command, "re_engagement.open_door", "--value", "topic=x", *chat))
    assert "blank values ['topic']" in refused(run(command, "topic_follow_up.came_up", "--value", "topic=", *chat))
