"""Helplines: whom somebody can call on a hard day, by language, as the operator configured them (R103)."""

import re
from collections.abc import Mapping
from html import escape

from engagement.domain.languages import primary
from engagement.domain.replies import say
from engagement.errors import SettingsError

SEPARATOR = "|"
LONGEST = 300
"""Code points of one language's: a few names and numbers."""
_LANGUAGE = re.compile(r"[a-z]{2,3}", re.ASCII)


def parse(setting: str) -> dict[str, str]:
    """Read helplines by language: "en=Samaritans 116 123|de=Telefonseelsorge 0800 1110111"; "none" is none.

    Raises:
        SettingsError: not of that form; it says what to write.
    """
    if setting == "none":
        return {}
    found = {}
    for part in setting.split(SEPARATOR):
        language, _, text = (side.strip() for side in part.partition("="))
        if not _LANGUAGE.fullmatch(language) or not 1 <= len(text) <= LONGEST or not text.isprintable():
            raise SettingsError(
                f"HELPLINES is {setting!r}; write language=text, parted by {SEPARATOR}, like "
                "en=Samaritans 116 123|de=Telefonseelsorge 0800 1110111, or none"
            )
        found[language] = text
    return found


def below(markup: str, language_code: str | None, helplines: Mapping[str, str]) -> str:
    """Return a text of support with the helplines of the reader's language under it; as it is where there are none.

    Args:
        markup: Telegram's HTML.
        language_code: IETF tag of the reader's app.
        helplines: from `parse`.
    """
    text = helplines.get(primary(language_code))
    return markup if text is None else f"{markup}\n\n{say('helplines', language_code, helplines=escape(text))}"
