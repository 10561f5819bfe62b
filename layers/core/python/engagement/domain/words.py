"""A text's words: what topics, quality, greetings and the language gate count by."""

import re

URL = re.compile(r"(?:https?://|www\.|t\.me/)\S+", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def without_links(text: str) -> str:
    """Return the text with its web addresses blanked: their words and question marks are not the user's."""
    return URL.sub(" ", text)


def words(text: str) -> list[str]:
    """Return the words of a text without links, lower case, in order; scripts without spaces give long ones."""
    return WORD.findall(text.lower().replace("’", "'"))


def vocabulary(listed: str) -> frozenset[str]:
    """Return the set of words that are listed with spaces between them."""
    return frozenset(listed.split())
