"""What a user answered to our questions, and how we know: a ledger, so that it can be shown what somebody agreed to.

What holds now stands in the profile, decided by the times of the events; nothing is decided here (R97).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Question(StrEnum):
    """What was asked, in a code that is stored; a type of outreach is asked about as `type:<outreach type>`."""

    WRITE = "write"
    """May we write to you first?"""
    LEARN = "learn"
    """May models be trained on what you did?"""
    REWORD = "reword"
    """May a language model be told of you?"""


class Said(StrEnum):
    """What the answer was."""

    YES = "yes"
    NO = "no"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        question: a `Question`, or `type:<outreach type>`.
        said: what the answer was.
        answered_at: aware UTC, whole seconds.
        source: where it came from: `button:<callbacks.Button>`, with `#<outreach type>` where it stood under an
            outreach, or `command:/stop`.
        wording: names the text that asked; see `replies.wording`. "" where nothing asked.
    """

    question: str
    said: Said
    answered_at: datetime
    source: str
    wording: str = ""
