"""Telegram's HTML (https://core.telegram.org/bots/api#html-style): a marked-up text -> what the user sees.

As strict as the real parser: an unknown tag, a stray `<` or a missing end tag fails the whole message.
"""

import re
from dataclasses import dataclass
from typing import Any

SIMPLE = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}
WITH_ATTRIBUTE = ("a", "span", "tg-emoji", "tg-time")
NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
"""The only four; any other `&name;` stays as it is."""

MAX_CODE_POINTS = 4096
MAX_BYTES = 32_768

_REFERENCE = re.compile(r"&(?:#x(?P<hex>[0-9a-fA-F]+)|#(?P<number>[0-9]+)|(?P<name>lt|gt|amp|quot)(?![a-zA-Z]));?")
_ATTRIBUTE = re.compile(r"""\s*([^\s=>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9.-]+)))?""")
_CONTROL = {code: " " for code in range(32) if code not in (10, 13)} | {13: None}
_REMOVED = dict.fromkeys((*range(0x2028, 0x202F), 0x0333, 0x033F, 0x030A))
"""Line and paragraph separators, direction overrides and lines drawn through the text."""


class BadMarkupError(ValueError):
    """The text cannot be parsed; the message is Telegram's."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the user sees.

    Attributes:
        text: without markup, cleaned and trimmed.
        entities: MessageEntity objects; offsets and lengths count UTF-16 units.
    """

    text: str
    entities: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Open:
    tag: str
    kind: str
    offset: int
    extra: dict[str, Any]


def parse_html(source: str) -> Parsed:
    """Parse a message with parse_mode HTML.

    Raises:
        BadMarkupError: in Telegram's words, without the "Bad Request" before them.
    """
    shown: list[str] = []
    units = 0
    stack: list[_Open] = []
    entities: list[dict[str, Any]] = []

    def show(text: str) -> None:
        nonlocal units
        text = clean(text)
        shown.append(text)
        units += utf16_units(text)

    at = 0
    while at < len(source):
        if source[at] == "&" and (reference := _REFERENCE.match(source, at)):
            character = _character(reference)
            show(character if character is not None else "&")
            at = reference.end() if character is not None else at + 1
        elif source[at] != "<":
            end = min((found for found in (source.find("<", at), source.find("&", at + 1)) if found > 0), default=None)
            show(source[at:end])
            at = len(source) if end is None else end
        elif source.startswith("</", at):
            opened, at = _end_tag(source, at, stack)
            if units > opened.offset:
                entity = {"type": opened.kind, "offset": opened.offset, "length": units - opened.offset}
                entities.append(entity | opened.extra)
        else:
            tag, attributes, end = _start_tag(source, at)
            stack.append(_opened(tag, attributes, units, _bytes_before(source, at)))
            at = end
    if stack:
        raise BadMarkupError(f'Can\'t find end tag corresponding to start tag "{stack[-1].tag}"')
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return _trimmed("".join(shown), entities)


def plain(source: str) -> Parsed:
    """Return a text without parse_mode as the user sees it."""
    return _trimmed(clean(source), [])


def clean(text: str) -> str:
    """Replace or remove the characters that Telegram does not pass on."""
    return text.translate(_CONTROL).translate(_REMOVED)


def utf16_units(text: str) -> int:
    """Length of `text` in the units that entities are counted in."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _trimmed(text: str, entities: list[dict[str, Any]]) -> Parsed:
    """Cut white space at both ends, and move the entities along."""
    start = utf16_units(text) - utf16_units(text.lstrip())
    text = text.strip()
    size = utf16_units(text)
    kept = []
    for entity in entities:
        first = max(entity["offset"] - start, 0)
        last = min(entity["offset"] + entity["length"] - start, size)
        if last > first:
            kept.append(entity | {"offset": first, "length": last - first})
    return Parsed(text, tuple(kept))


def _character(reference: re.Match[str]) -> str | None:
    if name := reference["name"]:
        return NAMED[name]
    code = int(reference["hex"], 16) if reference["hex"] else int(reference["number"])
    if code == 0 or code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    return chr(code)


def _start_tag(source: str, at: int) -> tuple[str, dict[str, str], int]:
    offset = _bytes_before(source, at)
    name = re.compile(r"<([^\s>]*)").match(source, at)
    tag = name[1].lower() if name else ""
    if name is None or name.end() == len(source):
        raise BadMarkupError(f"Unclosed start tag at byte offset {offset}")
    if tag not in SIMPLE and tag not in WITH_ATTRIBUTE:
        raise BadMarkupError(f'Unsupported start tag "{tag}" at byte offset {offset}')
    attributes = {}
    at = name.end()
    while True:
        while at < len(source) and source[at].isspace():
            at += 1
        if at == len(source):
            raise BadMarkupError(f"Unclosed start tag at byte offset {offset}")
        if source[at] == ">":
            return tag, attributes, at + 1
        attribute = _ATTRIBUTE.match(source, at)
        if attribute is None and ">" not in source[at:]:
            raise BadMarkupError(f"Unclosed start tag at byte offset {offset}")
        if attribute is None:
            raise BadMarkupError(f'Empty attribute name in the tag "{tag}" at byte offset {offset}')
        value = next((group for group in attribute.groups()[1:] if group is not None), "")
        attributes[attribute[1].lower()] = _REFERENCE.sub(lambda found: _character(found) or found[0], value)
        at = attribute.end()


def _opened(tag: str, attributes: dict[str, str], units: int, offset: int) -> _Open:
    if tag in SIMPLE:
        kind = "expandable_blockquote" if tag == "blockquote" and "expandable" in attributes else SIMPLE[tag]
        return _Open(tag, kind, units, {})
    if tag == "span":
        if attributes.get("class") != "tg-spoiler":
            raise BadMarkupError(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
        return _Open(tag, "spoiler", units, {})
    if tag == "tg-emoji":
        return _Open(tag, "custom_emoji", units, {"custom_emoji_id": attributes.get("emoji-id", "")})
    if tag == "tg-time":
        if not attributes.get("unix", "").isdigit():
            raise BadMarkupError(f'Tag "tg-time" must have attribute "unix" at byte offset {offset}')
        return _Open(tag, "date_time", units, {"unix_time": int(attributes["unix"])})
    return _Open(tag, "text_link", units, {"url": attributes.get("href", "")})


def _end_tag(source: str, at: int, stack: list[_Open]) -> tuple[_Open, int]:
    offset = _bytes_before(source, at)
    if not stack:
        raise BadMarkupError(f"Unexpected end tag at byte offset {offset}")
    end = source.find(">", at)
    if end < 0:
        raise BadMarkupError(f"Unclosed end tag at byte offset {offset}")
    tag = source[at + 2 : end].strip().lower()
    if tag not in ("", stack[-1].tag):
        raise BadMarkupError(
            f'Unmatched end tag at byte offset {offset}, expected "</{stack[-1].tag}>", found "</{tag}>"'
        )
    return stack.pop(), end + 1


def _bytes_before(source: str, at: int) -> int:
    return len(source[:at].encode(errors="surrogatepass"))
