"""What we write: short texts in ten languages from `templates.toml`, chosen by a sticky hash, filled in when sent."""

import hashlib
import html
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Formatter

from engagement.domain.outreach import OutreachType

TEXT_LIMIT = 4_096
"""Code points of a message after its markup is parsed (Bot API, sendMessage)."""
NAME_LIMIT = 64
"""Code points of a first name (Telegram's own limit), and of any other value."""
ROOM = NAME_LIMIT + 4
"""A value, at most two code points before it and two invisible marks around it."""
LANGUAGES = ("en", "es", "pt", "ru", "de", "fr", "id", "tr", "ar", "hi")
"""Primary subtags; every text is there in each."""
FALLBACK = "en"
MIN_VARIANTS = 2

VALUES: dict[OutreachType, frozenset[str]] = {
    OutreachType.MILESTONE_CELEBRATION: frozenset({"milestone"}),
    OutreachType.RE_ENGAGEMENT: frozenset(),
    OutreachType.PERSONALIZED_CHECKIN: frozenset(),
    OutreachType.FEATURE_SUGGESTION: frozenset({"feature"}),
    OutreachType.MOOD_SUPPORT: frozenset(),
    OutreachType.TOPIC_FOLLOW_UP: frozenset({"topic"}),
    OutreachType.ACHIEVEMENT_UNLOCK: frozenset({"milestone"}),
}
"""What a type's texts say besides the name: each placeholder once in every text, no other."""

_VOCATIVE_COMMA = frozenset({"es", "pt", "ru"})
"""Their spelling sets off whom one speaks to: "Здравствуйте, Ада!"."""
_RIGHT_TO_LEFT = frozenset({"ar"})
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols to Unicode, nothing to the eye; popular as an "invisible name"."""
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_TAG = re.compile(r"<[^<>]+>")


@dataclass(frozen=True, slots=True)
class Template:
    """One text, in every language.

    Attributes:
        name: `<outreach type>.<variant>`; kept with every outreach, so never reused for another text.
        values: its placeholders besides the name.
        texts: Telegram's HTML by language; `{name}` is the first name with what stands before it (a space, in some
            languages a comma too), or nothing where it is unknown.
    """

    name: str
    values: frozenset[str]
    texts: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check that every language is there and that nothing can be left unfilled.

        Raises:
            ValueError: what is wrong, with the template and the language.
        """
        if set(self.texts) != set(LANGUAGES):
            odd = sorted(set(self.texts) ^ set(LANGUAGES))
            raise ValueError(f"template {self.name}: missing or unknown language {odd}, expected {list(LANGUAGES)}")
        for language, text in self.texts.items():
            try:
                _check(text, self.values | {"name"})
            except ValueError as error:
                raise ValueError(f"template {self.name}, {language}: {error}") from error


def _check(text: object, expected: frozenset[str]) -> None:
    if not isinstance(text, str):
        raise ValueError(f"expected a text, got {type(text).__name__}")
    if not text.strip() or len(text) + len(expected) * ROOM > TEXT_LIMIT:
        raise ValueError(f"expected 1 to {TEXT_LIMIT - len(expected) * ROOM} code points, got {len(text)}")
    parsed = list(Formatter().parse(text))
    fields = sorted(field for _, field, _, _ in parsed if field is not None)
    # A doubled brace is an escaped one to Python and a typing error in a message.
    if fields != sorted(expected) or any("{" in literal or "}" in literal for literal, *_ in parsed):
        raise ValueError(f"expected each of {sorted(expected)} once and no other brace, got {fields} in {text!r}")
    if any(form or conversion for _, _, form, conversion in parsed):
        raise ValueError(f"expected placeholders without a format or a conversion in {text!r}")


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
    if unknown := sorted(set(tables) - set(OutreachType)):
        raise ValueError(f"templates of unknown types: {unknown}")
    variants: dict[OutreachType, tuple[Template, ...]] = {}
    for outreach_type in OutreachType:
        table = tables.get(outreach_type, {})
        if not isinstance(table, dict) or not all(isinstance(texts, dict) for texts in table.values()):
            raise ValueError(f"templates of {outreach_type}: expected tables [{outreach_type}.<variant>]")
        if len(table) < MIN_VARIANTS:
            raise ValueError(f"templates of {outreach_type}: expected {MIN_VARIANTS} or more, got {sorted(table)}")
        variants[outreach_type] = tuple(
            Template(f"{outreach_type}.{variant}", VALUES[outreach_type], texts) for variant, texts in table.items()
        )
    return variants


# Part of the code, like a constant: read once, when the module is, so that a bad one is never deployed.
VARIANTS = parse(resources.files(__package__).joinpath("templates.toml").read_text(encoding="utf-8"))
BY_NAME = {template.name: template for variants in VARIANTS.values() for template in variants}


def choose(outreach_type: OutreachType, user_id: int, period: str) -> str:
    """Choose the variant for a user and period: always the same one, and evenly over the users.

    Returns:
        The template's name.
    """
    variants = VARIANTS[outreach_type]
    digest = hashlib.sha256(f"{outreach_type}#{user_id}#{period}".encode()).digest()
    return variants[int.from_bytes(digest[:8]) % len(variants)].name


def render(template_name: str, first_name: str, language_code: str | None = None, **values: str) -> str:
    """Fill a template in.

    Args:
        template_name: as `choose` gave it.
        first_name: as Telegram gave it; anything, also nothing.
        language_code: IETF tag of the user's Telegram app; English where it is None or not one of `LANGUAGES`.
        values: what the type's texts say besides the name (`VALUES`); made readable like a name.

    Returns:
        Telegram's HTML, with the name and the values escaped.

    Raises:
        KeyError: no such template; a later version may have withdrawn it.
        ValueError: a value is missing, blank or not one of the template's.
    """
    template = BY_NAME[template_name]
    if set(values) != template.values:
        raise ValueError(f"template {template_name}: expected values {sorted(template.values)}, got {sorted(values)}")
    language = (language_code or FALLBACK).lower().split("-")[0]
    if language not in template.texts:
        language = FALLBACK
    filled = {key: _value(value, language) for key, value in values.items()}
    if blank := sorted(key for key, value in filled.items() if not value):
        raise ValueError(f"template {template_name}: blank values {blank}")
    name = _value(first_name, language)
    before = ", " if language in _VOCATIVE_COMMA else " "
    return template.texts[language].format(name=name and before + name, **filled)


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
