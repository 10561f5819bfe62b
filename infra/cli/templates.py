"""`rekindle templates`: what users are written, the operator's own texts, how each looks, and one to try."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engagement.clients.telegram import TelegramClient
from engagement.domain.callbacks import Signer, exposure_ref
from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.outreach import OutreachType
from engagement.domain.templates import (
    FALLBACK,
    LANGUAGES,
    MessageTemplate,
    Template,
    Texts,
    base_of,
    faults,
    keyboard,
    own_templates,
)
from engagement.store import keys
from engagement.store.catalogue import Catalogue
from infra.cli.target import Target
from infra.cli.webhook import SsmParameters
from infra.local.telegram.entities import parse_html

console = Console()

SAMPLE_NAME = "Ada"
SAMPLE_VALUES = {"milestone": "Conversation enthusiast", "feature": "voice messages", "topic": "chess"}
STYLES = {
    "bold": "bold",
    "italic": "italic",
    "underline": "underline",
    "strikethrough": "strike",
    "code": "cyan",
    "pre": "cyan",
    "text_link": "blue underline",
}
"""How a terminal shows what Telegram does; a spoiler is shown as it is."""
FAILURES = {
    DeliveryOutcome.BLOCKED: "this user blocked the bot, or never wrote to it",
    DeliveryOutcome.UNREACHABLE: "there is no such chat; give your own number, after you wrote to the bot",
    DeliveryOutcome.BAD_MARKUP: "Telegram could not parse the text's markup",
    DeliveryOutcome.RETRY_LATER: "Telegram asks for patience; try again in {retry_after} seconds",
    DeliveryOutcome.BAD_TOKEN: "Telegram does not know the bot's token; store BotFather's again",
    DeliveryOutcome.NOT_SENT: "Telegram was not reached ({detail}); try again",
    DeliveryOutcome.UNKNOWN: "Telegram gave no answer ({detail}); it may have arrived: look, before you try again",
}

TYPE = click.Choice([kind.value for kind in OutreachType])

stage_option = click.option(
    "--stage", envvar="REKINDLE_STAGE", help="Which deployment on AWS; without it, the running local suite."
)
reader_options = (
    click.option("--first-name", default=SAMPLE_NAME, show_default=True, help='Of the reader; "" for one without.'),
    click.option("--language", default=FALLBACK, show_default=True, help="Of the reader's Telegram, like de or pt-br."),
    click.option("--value", "values", multiple=True, metavar="KEY=TEXT", help="Instead of a sample, like topic=chess."),
    stage_option,
)


def _for_a_reader(command: Any) -> Any:
    for option in reversed(reader_options):
        command = option(command)
    return command


@click.group()
def templates() -> None:
    """What users are written: the catalogue's texts and your own."""


@templates.command("list")
@click.argument("outreach_type", type=TYPE, metavar="OUTREACH_TYPE", required=False)
@stage_option
def list_command(outreach_type: str | None, stage: str | None) -> None:
    """List all texts, or those of one OUTREACH_TYPE, with where they come from and in which languages they are."""
    definitions = _catalogue(Target.of(stage)).all(keys.TEMPLATE_PREFIX)
    texts = Texts(own_templates(definitions))
    table = Table("template", "from", "languages", "text")
    for kind in OutreachType if outreach_type is None else (OutreachType(outreach_type),):
        for name in texts.variants(kind):
            template = texts.of(name)
            languages = "all ten" if set(template.texts) == set(LANGUAGES) else ", ".join(template.texts)
            text = " ".join(template.texts[template.language(FALLBACK)].split())
            table.add_row(name, "you" if template.own else "catalogue", languages, escape(_shortened(text)))
        table.add_section()
    console.print(table)
    for fault in faults(definitions).values():
        console.print(f"[red]✗[/red] not used: {escape(fault)}", soft_wrap=True)


@templates.command()
@click.argument("name")
@_for_a_reader
def preview(name: str, first_name: str, language: str, values: tuple[str, ...], stage: str | None) -> None:
    """Show the text NAME as a reader sees it, with the buttons below it."""
    template, markup = _rendered(_texts(Target.of(stage)), name, first_name, language, values)
    console.print(Panel(_as_shown(markup), title=escape(f"{template.name} ({template.language(language)})"), width=64))
    for row in keyboard(template.outreach_type, language, str)["inline_keyboard"]:
        console.print("  ".join(escape(f"[ {button['text']} ]") for button in row), highlight=False)


@templates.command("send-test")
@click.argument("name")
@click.option("--chat-id", type=int, required=True, help="Your own number at Telegram; write to the bot first.")
@_for_a_reader
def send_test(
    name: str, chat_id: int, first_name: str, language: str, values: tuple[str, ...], stage: str | None
) -> None:
    """Send the text NAME to yourself, with its buttons, as a user would get it. Nothing is counted or kept."""
    target = Target.of(stage)
    template, markup = _rendered(_texts(target), name, first_name, language, values)
    settings = target.settings("outreach_sender")
    token = SsmParameters(target.client).read(settings["BOT_TOKEN_PARAMETER"])
    if not token:
        raise click.ClickException(f"there is no bot token in {settings['BOT_TOKEN_PARAMETER']}; store BotFather's")
    telegram = TelegramClient(token, settings["TELEGRAM_API_URL"])
    key = SsmParameters(target.client).read(settings["CALLBACK_KEY_PARAMETER"])
    if not key:
        raise click.ClickException(
            f"there is no key in {settings['CALLBACK_KEY_PARAMETER']} to sign the buttons with; `rekindle webhook set` "
            "makes one"
        )
    signer = Signer(int(settings["BOT_ID"]), lambda: key)
    ref = exposure_ref(template.outreach_type, datetime.now(UTC))
    buttons = keyboard(template.outreach_type, language, lambda button: signer.data(button, chat_id, ref))
    sent = telegram.send_message(chat_id, markup, reply_markup=buttons)
    if sent.outcome is not DeliveryOutcome.SENT:
        raise click.ClickException(f"not sent: {_failure(sent)}")
    console.print(f"Sent to {chat_id} as message {sent.message_id}. Its buttons work: they are yours, as any user's.")


@templates.command()
@click.argument("outreach_type", type=TYPE, metavar="OUTREACH_TYPE", required=False)
@click.argument("variant", metavar="VARIANT", required=False)
@click.argument("text", metavar="TEXT", required=False)
@click.option("--language", default=FALLBACK, show_default=True, help="Of TEXT.")
@click.option("--translation", "translations", multiple=True, metavar="LANGUAGE=TEXT", help="The same in another one.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Instead: JSON or TOML, [<type>.<variant>] with variables = ["name"] and texts.en = "Hi {name}!".',
)
@click.option("--replace", is_flag=True, help="Over a text of that name; what was measured of the old one stays.")
@stage_option
def add(
    outreach_type: str | None,
    variant: str | None,
    text: str | None,
    language: str,
    translations: tuple[str, ...],
    file: Path | None,
    stage: str | None,
    *,
    replace: bool,
) -> None:
    """Add a text of your own to an OUTREACH_TYPE as VARIANT; TEXT is Telegram's HTML, like "Hi {name}!"."""
    if file is not None and outreach_type is None:
        definitions = _read(file)
    elif file is None and outreach_type is not None and variant is not None and text is not None:
        mine = MessageTemplate(variant, text, _placeholders(text), language, _pairs(translations, "--translation"))
        definitions = {f"{outreach_type}.{variant}": mine.definition}
    else:
        raise click.UsageError("give OUTREACH_TYPE VARIANT TEXT, or --file FILE")
    if found := faults(definitions):
        raise click.ClickException("nothing was added: " + "; ".join(found.values()))
    catalogue = _catalogue(Target.of(stage))
    known = catalogue.all(keys.TEMPLATE_PREFIX)
    changed = sorted(name for name, definition in definitions.items() if known.get(name, definition) != definition)
    if changed and not replace:
        raise click.ClickException(
            f"nothing was added: there is another {', '.join(changed)}; choose a new name, so that both are measured, "
            "or --replace it"
        )
    for name, definition in sorted(definitions.items()):
        catalogue.put(keys.TEMPLATE_PREFIX, name, definition, datetime.now(UTC))
        console.print(
            f"{name}: {'replaced' if name in changed else 'added'}; see it: rekindle templates preview {name}"
        )


@templates.command()
@click.argument("name")
@stage_option
def remove(name: str, stage: str | None) -> None:
    """Remove your text NAME; a message that was planned with it is not sent any more."""
    catalogue = _catalogue(Target.of(stage))
    if name not in catalogue.all(keys.TEMPLATE_PREFIX):
        raise click.ClickException(f"you have no text {name}; see `rekindle templates list`")
    catalogue.delete(keys.TEMPLATE_PREFIX, name)
    console.print(f"{name}: removed.")


def _catalogue(target: Target) -> Catalogue:
    target.bind_table()
    return Catalogue(int(target.settings("outreach_sender")["BOT_ID"]))


def _texts(target: Target) -> Texts:
    return Texts(own_templates(_catalogue(target).all(keys.TEMPLATE_PREFIX)))


def _rendered(texts: Texts, name: str, first_name: str, language: str, given: Iterable[str]) -> tuple[Template, str]:
    """Return a template and its text, filled with what was typed and samples for the rest."""
    try:
        template = texts.of(name)
    except KeyError:
        raise click.ClickException(f"there is no text {base_of(name)}; see `rekindle templates list`") from None
    values = _pairs(given, "--value")
    samples = {key: SAMPLE_VALUES[key] for key in template.values}
    try:
        return template, texts.render(name, first_name, language, **samples | values)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _as_shown(markup: str) -> Text:
    """Return a text as Telegram shows it; its offsets count UTF-16 units."""
    parsed = parse_html(markup)
    units = parsed.text.encode("utf-16-le")
    shown = Text(parsed.text)
    for entity in parsed.entities:
        start = len(units[: 2 * entity["offset"]].decode("utf-16-le"))
        length = len(units[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode("utf-16-le"))
        shown.stylize(STYLES.get(entity["type"], ""), start, start + length)
    return shown


def _failure(sent: Delivery) -> str:
    words = FAILURES.get(sent.outcome, "Telegram refused it ({detail})")
    return words.format(detail=sent.detail, retry_after=sent.retry_after)


def _read(file: Path) -> dict[str, Mapping[str, Any]]:
    """Read definitions by name from types, variants and their fields, nested."""
    try:
        content = file.read_text(encoding="utf-8")
        tables = json.loads(content) if file.suffix == ".json" else tomllib.loads(content)
    except ValueError as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise click.ClickException(f"{file.name} is not {kind}: {error}") from None
    definitions: dict[str, Mapping[str, Any]] = {}
    for kind, variants in tables.items() if isinstance(tables, dict) else ():
        for variant, definition in variants.items() if isinstance(variants, dict) else ():
            if not isinstance(definition, dict):
                raise click.ClickException(f"{file.name}: expected a table {kind}.{variant} with texts and variables")
            definitions[f"{kind}.{variant}"] = definition
    if not definitions:
        raise click.ClickException(f"{file.name} holds no text; see `rekindle templates add --help`")
    return definitions


def _pairs(given: Iterable[str], option: str) -> dict[str, str]:
    pairs = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise click.UsageError(f"{option} {each!r} has no =")
        pairs[key] = text
    return pairs


def _placeholders(text: str) -> tuple[str, ...]:
    """Return the names in a text's braces; what is no text to fill in is for the check of it to say."""
    try:
        return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(text) if name))
    except ValueError:
        return ()


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
