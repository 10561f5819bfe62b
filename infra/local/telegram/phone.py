"""Draws a conversation as a phone shows it, in plain text: the bot on the left, the user on the right.

print(phone(telegram.chat(42)))
"""

import textwrap
import unicodedata
from collections.abc import Sequence

from infra.local.telegram.methods import USER, Bubble

MARGIN = 6
"""Columns that a bubble leaves free on the other side."""


def phone(chat: Sequence[Bubble], width: int = 40) -> str:
    """Return a conversation as text bubbles, with the buttons below theirs.

    Args:
        chat: see `FakeTelegram.chat`.
        width: columns of the screen, at least 16.
    """
    if width < 16:
        raise ValueError("a screen has at least 16 columns")
    return "\n".join(line.rstrip() for bubble in chat for line in _drawn(bubble, width))


def columns(text: str) -> int:
    """Return how many columns a terminal gives a text: none to marks and joiners, two to emoji and wide letters."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "🏻" <= character <= "🏿":  # marks, and tones of skin
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _drawn(bubble: Bubble, width: int) -> list[str]:
    room = width - MARGIN - 4
    lines = [part for line in bubble.text.split("\n") for part in _wrapped(line, room)]
    rows = [row for labels in bubble.buttons for row in _rows(labels, room + 2)]
    inner = max(map(columns, lines))
    box = [
        f"╭{'─' * (inner + 2)}╮",
        *(f"│ {_padded(line, inner)} │" for line in lines),
        f"╰{'─' * (inner + 2)}╯",
        *(f"  {row}" for row in rows),
    ]
    if bubble.who != USER:
        return box
    return [" " * (width - max(map(columns, box))) + line for line in box]


def _rows(labels: Sequence[str], room: int) -> list[str]:
    """Return a row of buttons; one below another where they have no room side by side."""
    whole = " ".join(f"[ {label} ]" for label in labels)
    return [whole] if columns(whole) <= room else [f"[ {_cut(label, room - 4)} ]" for label in labels]


def _cut(text: str, room: int) -> str:
    if columns(text) <= room:
        return text
    kept = ""
    for character in text:
        if columns(kept + character) >= room:
            break
        kept += character
    return f"{kept.rstrip()}…"


def _wrapped(line: str, room: int) -> list[str]:
    """Break a line between words, and a word that has no room inside it."""
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(longer) <= room:
            lines[-1] = longer
            continue
        # Half as many characters fit where each takes two columns.
        pieces = textwrap.wrap(word, room if columns(word) == len(word) else max(1, room // 2)) or [""]
        lines[-1:] = [*([lines[-1]] if lines[-1] else []), *pieces]
    return lines


def _padded(text: str, inner: int) -> str:
    return text + " " * (inner - columns(text))
