"""What we write: short texts in ten languages from `templates.toml`, and the operator's own, filled in when sent.

A template is one variant of an outreach type, `<type>.<variant>`. `<type>.<variant>+ai` names the same text as a
language model may rewrite it: a variant of its own to the experiment, and the same text wherever it is not rewritten.
"""

import html
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Formatter
from typing import Any

from engagement.domain.callbacks import Button
from engagement.domain.languages import FALLBACK as FALLBACK
from engagement.domain.languages import LANGUAGES as LANGUAGES
from engagement.domain.languages import primary
from engagement.domain.outreach import OutreachType

TEXT_LIMIT = 4_096
"""Code points of a message after its markup is parsed (Bot API, sendMessage)."""
BYTE_LIMIT = 32_768
"""Bytes of a message with its markup."""
NAME_LIMIT = 64
"""Code points of a first name (Telegram's own limit), and of any other value."""
ROOM = NAME_LIMIT + 4
"""A value, at most two code points before it and two invisible marks around it."""
BYTES_OF_VALUE = 6 * ROOM
"""A value of quotation marks, each written as `&quot;`; no character takes more."""
MIN_VARIANTS = 2
AI_SUFFIX = "+ai"
NEVER_REPHRASED = frozenset({OutreachType.MOOD_SUPPORT})
"""What somebody reads on a hard day was written by a person (R103)."""
COMMON_BUTTONS = ("later", "stop", "stop_all")

VALUES: dict[OutreachType, frozenset[str]] = {
    OutreachType.MILESTONE_CELEBRATION: frozenset({"milestone"}),
    OutreachType.RE_ENGAGEMENT: frozenset(),
    OutreachType.PERSONALIZED_CHECKIN: frozenset(),
    OutreachType.FEATURE_SUGGESTION: frozenset({"feature"}),
    OutreachType.MOOD_SUPPORT: frozenset(),
    OutreachType.TOPIC_FOLLOW_UP: frozenset({"topic"}),
    OutreachType.ACHIEVEMENT_UNLOCK: frozenset({"milestone"}),
}
"""What a type's texts say besides the name: each once in every text of ours; the operator's may leave them out."""

_VOCATIVE_COMMA = frozenset({"es", "pt", "ru"})
"""Their spelling sets off whom one speaks to: "Здравствуйте, Ада!"."""
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols to Unicode, nothing to the eye; popular as an "invisible name"."""
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"

_TAG = re.compile(r"<[^<>]+>")
_KNOWN_TAG = re.compile(
    r"<(?:(?P<close>/)?(?P<plain>b|strong|i|em|u|ins|s|strike|del|tg-spoiler|code|pre|blockquote)"
    r'|a href="https?://[^"<>{}\s]+"|(?P<end>/)a)>'
)
"""Those of Telegram's tags (https://core.telegram.org/bots/api#html-style) that a short message can want."""
_TAGGED_NAME = re.compile(r"<([a-z-]+)(?: [^<>]*)?>\{name\}</\1>")
_NAME_AND_BEFORE = re.compile(r"[,،、]?\s*\{name\}")
_LEADING = re.compile(r"^((?:<[^<>]+>)*)\{name\}[\s,،、;:!.]*")

_SURROGATE = re.compile("[\ud800-\udfff]")
_VARIANT = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Template:
    """One text, in one or more languages.

    Attributes:
        name: `<outreach type>.<variant>`; kept with every outreach, so never reused for another text.
        values: its placeholders besides the name.
        texts: Telegram's HTML by language; `{name}` is the first name.
        nameless: the same for a reader without a name.
        own: it is the operator's, not one of ours.
    """

    name: str
    values: frozenset[str]
    texts: Mapping[str, str]
    nameless: Mapping[str, str]
    own: bool = False

    @property
    def outreach_type(self) -> OutreachType:
        """Why it is sent."""
        return OutreachType(self.name.partition(".")[0])

    def language(self, language_code: str | None) -> str:
        """Return the language to write in: the reader's, else English, else the first there is."""
        language = primary(language_code)
        return next(code for code in (language, FALLBACK, *self.texts) if code in self.texts)


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """The operator's own text, as the guide writes it.

    Attributes:
        name: of the variant, like "gentle_nudge".
        text: Telegram's HTML with placeholders, like "Hi {name}!"; what stands before an unknown name goes with it.
        variables: the placeholders it has, each once or more: "name", and what the outreach type says (`VALUES`).
        language: of the text.
        translations: the same text in other languages, by primary subtag.
    """

    name: str
    text: str
    variables: Sequence[str] = ()
    language: str = FALLBACK
    translations: Mapping[str, str] = field(default_factory=dict)

    @property
    def definition(self) -> dict[str, Any]:
        """How it is kept: what `own_templates` reads."""
        return {"texts": {self.language: self.text, **self.translations}, "variables": list(self.variables)}

    def of(self, outreach_type: OutreachType) -> Template:
        """Return it as a template of an outreach type.

        Raises:
            ValueError: what is wrong with it, and in which language.
        """
        return _own_template(f"{outreach_type}.{self.name}", self.definition)


class Texts:
    """All that can be sent: our texts, and the operator's own."""

    def __init__(self, own: Sequence[Template] = ()) -> None:
        """Add the operator's own, from `own_templates` or `MessageTemplate.of`."""
        self._variants = {kind: [*VARIANTS[kind]] for kind in OutreachType}
        for template in own:
            self._variants[template.outreach_type].append(template)
        self._by_name = {template.name: template for kind in OutreachType for template in self._variants[kind]}

    def variants(self, outreach_type: OutreachType, *, ai: bool = False) -> tuple[str, ...]:
        """Return the names of a type's variants, ours first, always in the same order.

        Args:
            outreach_type: why we write.
            ai: each may also be rewritten by a language model.
        """
        names = [template.name for template in self._variants[outreach_type]]
        rephrased = (name + AI_SUFFIX for name in names) if ai and outreach_type not in NEVER_REPHRASED else ()
        return (*names, *rephrased)

    def of(self, name: str) -> Template:
        """Return a template by its name, with or without `AI_SUFFIX`.

        Raises:
            KeyError: no such template; a later version or the operator may have withdrawn it.
        """
        return self._by_name[base_of(name)]

    def render(self, name: str, /, first_name: str, language_code: str | None = None, **values: str) -> str:
        """Fill a template in.

        Args:
            name: of the template, with or without `AI_SUFFIX`.
            first_name: as Telegram gave it; anything, also nothing.
            language_code: IETF tag of the user's Telegram app; see `Template.language`.
            values: what the type's texts say besides the name (`VALUES`); made readable like a name.

        Returns:
            Telegram's HTML, with the name and the values escaped.

        Raises:
            KeyError: no such template.
            ValueError: a value is missing, blank or none that the type has.
        """
        template = self.of(name)
        if not template.values <= set(values) <= VALUES[template.outreach_type]:
            expected = sorted(template.values if template.own else VALUES[template.outreach_type])
            raise ValueError(f"template {template.name}: expected values {expected}, got {sorted(values)}")
        language = template.language(language_code)
        filled = {key: _value(values[key], language) for key in template.values}
        if blank := sorted(key for key, value in filled.items() if not value):
            raise ValueError(f"template {template.name}: blank values {blank}")
        shown = _value(first_name, language)
        text = (template.texts if shown else template.nameless)[language]
        return text.format(name=shown, **filled)


def base_of(name: str) -> str:
    """Return the name of the text that a name stands for: without `AI_SUFFIX`."""
    return name.removesuffix(AI_SUFFIX)


def keyboard(outreach_type: OutreachType, language_code: str | None, data: Callable[[Button], str]) -> dict[str, Any]:
    """Return the buttons under an outreach, as an InlineKeyboardMarkup: a useful action, not now, stop these, stop all.

    Args:
        outreach_type: why it is sent.
        language_code: IETF tag of the reader's app.
        data: makes what a button sends back.
    """
    language = primary(language_code)

    def button(name: str, says: Button) -> dict[str, str]:
        words = BUTTONS[name]
        return {"text": words.get(language, words[FALLBACK]), "callback_data": data(says)}

    return {
        "inline_keyboard": [
            [button(outreach_type, Button.GO)],
            [button("later", Button.NOT_NOW)],
            [button("stop", Button.STOP_TYPE), button("stop_all", Button.STOP_ALL)],
        ]
    }


def parse(catalogue: str) -> dict[OutreachType, tuple[Template, ...]]:
    """Read a catalogue of texts and check it.

    Args:
        catalogue: TOML, as `templates.toml` describes itself.

    Returns:
        Each type's variants, in the order of the catalogue.

    Raises:
        ValueError: no TOML, an unknown type, one with too few variants, or a text that could go wrong.
    """
    tables = tomllib.loads(catalogue)
    if unknown := sorted(set(tables) - set(OutreachType) - {"buttons"}):
        raise ValueError(f"templates of unknown types: {unknown}")
    variants: dict[OutreachType, tuple[Template, ...]] = {}
    for outreach_type in OutreachType:
        table = tables.get(outreach_type, {})
        if not isinstance(table, dict) or not all(isinstance(texts, dict) for texts in table.values()):
            raise ValueError(f"templates of {outreach_type}: expected tables [{outreach_type}.<variant>]")
        if len(table) < MIN_VARIANTS:
            raise ValueError(f"templates of {outreach_type}: expected {MIN_VARIANTS} or more, got {sorted(table)}")
        variants[outreach_type] = tuple(
            _our_template(f"{outreach_type}.{variant}", VALUES[outreach_type], texts)
            for variant, texts in table.items()
        )
    return variants


def parse_buttons(catalogue: str) -> dict[str, dict[str, str]]:
    """Read the words on the buttons, by type or one of `COMMON_BUTTONS`, and then by language.

    Raises:
        ValueError: one is missing, in some language, or is not short.
    """
    buttons = tomllib.loads(catalogue).get("buttons", {})
    if odd := sorted(set(buttons) ^ {*OutreachType, *COMMON_BUTTONS}):
        raise ValueError(f"buttons: missing or unknown {odd}")
    for name, texts in buttons.items():
        _check_languages(f"button {name}", texts)
        if long := sorted(text for text in texts.values() if not 1 <= len(text) <= 24 or not text.isprintable()):
            raise ValueError(f"button {name}: expected 1 to 24 printable code points, got {long}")
    return dict(buttons)


def own_templates(definitions: Mapping[str, Mapping[str, Any]]) -> tuple[Template, ...]:
    """Return the operator's templates, by name, without those that `faults` would name.

    Args:
        definitions: `MessageTemplate.definition` by `<outreach type>.<variant>`.
    """
    bad = faults(definitions)
    return tuple(_own_template(name, definitions[name]) for name in sorted(definitions) if name not in bad)


def faults(definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Say what is wrong with which of the operator's templates; nothing where all are fine."""
    found = {}
    for name, definition in definitions.items():
        try:
            _own_template(name, definition)
        except ValueError as error:
            found[name] = str(error)
    return found


def _our_template(name: str, values: frozenset[str], texts: Mapping[str, Any]) -> Template:
    """Return a template of the catalogue, whose `{name}` stands for the name and what its language puts before it."""
    _check_languages(f"template {name}", texts)
    for language, text in texts.items():
        with_place = f"template {name}, {language}"
        fields = _checked_fields(text, with_place)
        if fields != sorted(values | {"name"}):
            raise ValueError(
                f"{with_place}: expected each of {sorted(values | {'name'})} once and no other brace, got {fields} "
                f"in {text!r}"
            )
    before = {language: ", " if language in _VOCATIVE_COMMA else " " for language in texts}
    return Template(
        name,
        values,
        texts={language: text.replace("{name}", before[language] + "{name}") for language, text in texts.items()},
        nameless={language: text.replace("{name}", "") for language, text in texts.items()},
    )


def _own_template(name: str, definition: Mapping[str, Any]) -> Template:
    """Return an operator's template, whose `{name}` stands for the name alone, as the operator wrote around it."""
    kind, _, variant = name.partition(".")
    if kind not in set(OutreachType):
        raise ValueError(f"template {name}: {kind!r} is no outreach type; they are {', '.join(OutreachType)}")
    if not _VARIANT.fullmatch(variant):
        raise ValueError(f"template {name}: name the variant with up to 40 of a-z, 0-9 and _, a letter first")
    if name in BY_NAME:
        raise ValueError(f"template {name}: the catalogue has one of that name; choose another")
    texts, variables = definition.get("texts"), definition.get("variables", [])
    if not isinstance(texts, Mapping) or not texts:
        raise ValueError(f'template {name}: expected texts by language, like {{"en": "Hi {{name}}!"}}')
    if not isinstance(variables, Sequence) or isinstance(variables, str) or not all(map(_is_text, variables)):
        raise ValueError(f'template {name}: expected variables as a list, like ["name"]')
    allowed = VALUES[OutreachType(kind)] | {"name"}
    if odd := sorted(set(variables) - allowed):
        raise ValueError(f"template {name}: {kind} has no variables {odd}, only {sorted(allowed)}")
    for language, text in texts.items():
        _check_own_text(language, text, set(variables), f"template {name}, {language}")
    nameless = {language: _without_name(text) for language, text in texts.items()}
    return Template(name, frozenset(variables) - {"name"}, dict(texts), nameless, own=True)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_own_text(language: object, text: object, variables: set[str], place: str) -> None:
    if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
        raise ValueError(f"{place}: name the language by two or three small letters, like en")
    fields = set(_checked_fields(text, place))
    if fields != variables:
        unused, undeclared = sorted(variables - fields), sorted(fields - variables)
        raise ValueError(f"{place}: variables that the text lacks: {unused}; not declared: {undeclared}")
    if not plain(_without_name(str(text))).strip():
        raise ValueError(f"{place}: nothing is left of it for a reader without a name")


def _without_name(text: str) -> str:
    """Return a text for a reader without a name: what leads to it goes with it, so that no gap is left."""
    while (shorter := _TAGGED_NAME.sub("{name}", text)) != text:
        text = shorter
    while leading := _LEADING.match(text):
        rest = text[leading.end() :]
        text = leading[1] + rest[:1].upper() + rest[1:]
    return _NAME_AND_BEFORE.sub("", text)


def _check_languages(what: str, texts: Mapping[str, Any]) -> None:
    if not isinstance(texts, dict) or set(texts) != set(LANGUAGES):
        odd = sorted(set(texts) ^ set(LANGUAGES))
        raise ValueError(f"{what}: missing or unknown language {odd}, expected {list(LANGUAGES)}")
    if odd := sorted(language for language, text in texts.items() if not isinstance(text, str)):
        raise ValueError(f"{what}, {odd[0]}: expected a text, got {type(texts[odd[0]]).__name__}")


def _checked_fields(text: object, place: str) -> list[str]:
    """Return the placeholders of a text, sorted, once nothing about it can go wrong when it is sent.

    Raises:
        ValueError: what would.
    """
    if not isinstance(text, str):
        raise ValueError(f"{place}: expected a text, got {type(text).__name__}")
    if _SURROGATE.search(text):
        raise ValueError(f"{place}: half a surrogate pair is no character; Telegram refuses it")
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{place}: {error} in {text!r}") from error
    fields = sorted(field for _, field, _, _ in parsed if field is not None)
    # A doubled brace is an escaped one to Python and a typing error in a message.
    if any("{" in literal or "}" in literal for literal, *_ in parsed):
        raise ValueError(f"{place}: expected placeholders and no other brace in {text!r}")
    if any(form or conversion for _, _, form, conversion in parsed):
        raise ValueError(f"{place}: expected placeholders without a format or a conversion in {text!r}")
    room = TEXT_LIMIT - len(fields) * ROOM
    shown = plain("".join(literal for literal, *_ in parsed))
    if not shown.strip() or len(shown) > room:
        raise ValueError(f"{place}: expected 1 to {room} code points beside the placeholders, got {len(shown)}")
    if len(text.encode()) + len(fields) * BYTES_OF_VALUE > BYTE_LIMIT:
        raise ValueError(f"{place}: with its markup it is longer than {BYTE_LIMIT} bytes")
    _check_markup(text, place)
    return fields


def _check_markup(text: str, place: str) -> None:
    """Refuse what Telegram would not parse: one bad tag, and the whole message is refused."""
    stack: list[str] = []
    for found in re.finditer(r"<[^<>]*>?", text):
        tag = _KNOWN_TAG.fullmatch(found[0])
        if tag is None:
            raise ValueError(f"{place}: {found[0]!r} is none of Telegram's tags; write `<` itself as &lt;")
        kind = tag["plain"] or "a"
        if not (tag["close"] or tag["end"]):
            stack.append(kind)
        elif not stack or stack.pop() != kind:
            raise ValueError(f"{place}: </{kind}> closes nothing that was opened last")
    if stack:
        raise ValueError(f"{place}: <{stack[-1]}> is never closed")


def plain(markup: str) -> str:
    """Return the text of Telegram's HTML without its tags, for a second attempt after Telegram could not parse it."""
    return html.unescape(_TAG.sub("", markup))


def _value(raw: str, language: str) -> str:
    """Return a name or another value as it may stand in a text of that language; "" if blank."""
    readable = _readable(raw)
    if readable and (language in _RIGHT_TO_LEFT or any(unicodedata.bidirectional(c) in {"R", "AL"} for c in readable)):
        # Isolated, what runs the other way cannot drag the punctuation after it to its other side.
        return f"{_FIRST_STRONG_ISOLATE}{html.escape(readable)}{_POP_ISOLATE}"
    return html.escape(readable)


def _readable(value: str) -> str:
    """Return a value as one line of at most 64 code points that cannot disturb the text around it; "" if blank."""
    kept = "".join(
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in value
        # Half a surrogate pair is no character: Telegram refuses the whole message for it.
        if c not in _BIDI_CONTROLS and unicodedata.category(c) != "Cs"
    )
    line = " ".join(kept.split())[:NAME_LIMIT].rstrip()
    return line if any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK_LETTERS for c in line) else ""


# Part of the code, like a constant: read once, when the module is, so that a bad one is never deployed.
_CATALOGUE = resources.files(__package__).joinpath("templates.toml").read_text(encoding="utf-8")
VARIANTS = parse(_CATALOGUE)
BY_NAME = {template.name: template for variants in VARIANTS.values() for template in variants}
BUTTONS = parse_buttons(_CATALOGUE)
BUILT_IN = Texts()
