"""What we write: short texts with one placeholder, at least two variants a type, chosen by a sticky hash."""

import hashlib
import html
import re
import unicodedata
from dataclasses import dataclass
from string import Formatter

from engagement.domain.outreach import OutreachType

TEXT_LIMIT = 4_096
"""Code points of a message after its markup is parsed (Bot API, sendMessage)."""
NAME_LIMIT = 64
"""Code points of a first name (Telegram's own limit)."""
NAME_ROOM = NAME_LIMIT + 3
"""A name, the space before it and two invisible marks around it."""
PLACEHOLDERS = frozenset({"name"})

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols to Unicode, nothing to the eye; popular as an "invisible name"."""
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_TAG = re.compile(r"<[^<>]+>")


@dataclass(frozen=True, slots=True)
class Template:
    """One text.

    Attributes:
        name: `<outreach type>.<variant>`; kept with every outreach, so never reused for another text.
        text: Telegram's HTML; `{name}` is the first name with a space before it, or nothing where it is unknown.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        """Check that nothing can be left unfilled.

        Raises:
            ValueError: an unknown or missing placeholder, a stray brace, or a text that could get too long.
        """
        fields = {field for _, field, _, _ in Formatter().parse(self.text) if field is not None}
        if fields != PLACEHOLDERS:
            raise ValueError(f"template {self.name}: placeholders {sorted(fields)}, expected {sorted(PLACEHOLDERS)}")
        if not self.text.strip() or len(self.text) + NAME_ROOM > TEXT_LIMIT:
            raise ValueError(f"template {self.name}: 1 to {TEXT_LIMIT - NAME_ROOM} code points, got {len(self.text)}")


VARIANTS: dict[OutreachType, tuple[Template, ...]] = {
    OutreachType.RE_ENGAGEMENT: (
        Template(
            "re_engagement.open_door",
            "Hi{name}! It has been a little while. Nothing you need to do - I just wanted to say that the door is "
            "open whenever you feel like picking things up again.",
        ),
        Template(
            "re_engagement.where_we_left",
            "Hello{name}, good to think of you! We can carry on right where we left off, or start with something "
            "new. Just send me a message when it suits you.",
        ),
    ),
    OutreachType.PERSONALIZED_CHECKIN: (
        Template(
            "personalized_checkin.how_are_you",
            "Hi{name}, how have you been? If there is anything on your mind, I'm happy to hear about it.",
        ),
        Template(
            "personalized_checkin.your_week",
            "Hello{name}! How is your week going? One word or a whole story, both are welcome.",
        ),
    ),
}
BY_NAME = {template.name: template for variants in VARIANTS.values() for template in variants}


def choose(outreach_type: OutreachType, user_id: int, period: str) -> str:
    """Choose the variant for a user and period: always the same one, and evenly over the users.

    Returns:
        The template's name.

    Raises:
        KeyError: there are no texts of this type yet.
    """
    variants = VARIANTS[outreach_type]
    digest = hashlib.sha256(f"{outreach_type}#{user_id}#{period}".encode()).digest()
    return variants[int.from_bytes(digest[:8]) % len(variants)].name


def render(template_name: str, first_name: str) -> str:
    """Fill a template in.

    Args:
        template_name: as `choose` gave it.
        first_name: as Telegram gave it; anything, also nothing.

    Returns:
        Telegram's HTML, with the name escaped.

    Raises:
        KeyError: no such template; a later version may have withdrawn it.
    """
    name = _readable(first_name)
    return BY_NAME[template_name].text.format(name=f" {html.escape(name)}" if name else "")


def plain(markup: str) -> str:
    """Return the text of Telegram's HTML without its tags, for a second attempt after Telegram could not parse it."""
    return html.unescape(_TAG.sub("", markup))


def _readable(first_name: str) -> str:
    """Return the name as one line of at most 64 code points that cannot disturb the text around it; "" if blank."""
    kept = "".join(
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in first_name
        # Half a surrogate pair is no character: Telegram refuses the whole message for it.
        if c not in _BIDI_CONTROLS and unicodedata.category(c) != "Cs"
    )
    name = " ".join(kept.split())[:NAME_LIMIT].rstrip()
    if not any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK_LETTERS for c in name):
        return ""
    if any(unicodedata.bidirectional(c) in {"R", "AL"} for c in name):
        # Isolated, a right-to-left name cannot drag the punctuation after it to its other side.
        return f"{_FIRST_STRONG_ISOLATE}{name}{_POP_ISOLATE}"
    return name
