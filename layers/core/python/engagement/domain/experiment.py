"""Experiments: who is written to and who is held out, drawn by a sticky hash, so that every effect can be measured.

Two draws, both for good while the experiment keeps its name:

- the global control group is never written to; everybody else is in the program;
- within the program a type may have a control group of its own, which gets all but that type.

Whoever is held out gets an outreach record at the same decision points, up to the moment of sending (a ghost message):
gate, allowance and limits treat both arms alike, so the two differ in the message and in nothing else.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from engagement.domain.outreach import Arm, OutreachType
from engagement.errors import SettingsError

ALL = "all"
"""The group in which the first exposure of any type counts."""


def draw(*what: object) -> float:
    """Return a number that looks uniform in [0, 1), always the same for the same words or numbers."""
    digest = hashlib.sha256("#".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


@dataclass(frozen=True, slots=True)
class Shares:
    """A share of the users for each outreach type.

    Attributes:
        default: of the types that are not named, [0, 1].
        by_type: of those that are.
    """

    default: float
    by_type: Mapping[OutreachType, float]

    @classmethod
    def parse(cls, setting: str, name: str) -> Self:
        """Read percentages: one for all, or exceptions after it: "100,re_engagement=20,topic_follow_up=0".

        Args:
            setting: the text.
            name: of the setting, for the error.

        Raises:
            SettingsError: not of that form; it names the setting and says what to write.
        """
        first, *rest = (part.strip() for part in setting.split(","))
        try:
            by_type = {OutreachType(kind.strip()): _share(text) for kind, _, text in (x.partition("=") for x in rest)}
            return cls(_share(first), by_type)
        except ValueError:
            raise SettingsError(
                f"{name} is {setting!r}; write one percentage for all types, and exceptions after it, "
                'like "100,re_engagement=20,mood_support=50"'
            ) from None

    def without(self, outreach_type: OutreachType) -> Self:
        """Return the same shares, but none of a type."""
        return replace(self, by_type={**self.by_type, outreach_type: 0.0})

    def of(self, outreach_type: OutreachType) -> float:
        """Return a type's share, [0, 1]."""
        return self.by_type.get(outreach_type, self.default)


def _share(text: str) -> float:
    percent = float(text)
    if not 0 <= percent <= 100:
        raise ValueError(text)
    return percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A user's arm for a type; see `domain.outreach.Outreach`, which keeps it."""

    arm: Arm
    treated_probability: float
    program_probability: float
    in_control: bool
    measured_by_type: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """How users are drawn.

    Attributes:
        name: another one draws everybody anew, and measures from the beginning.
        control: share of users in the global control group, [0, 1].
        type_control: share of the program's users who are held out of a type.
    """

    name: str
    control: float
    type_control: Shares

    def assign(self, bot_id: int, user_id: int, outreach_type: OutreachType) -> Assignment:
        """Return a user's arm for a type: the same at every call."""
        in_control = draw(self.name, "control", bot_id, user_id) < self.control
        held = self.type_control.of(outreach_type)
        held_out = in_control or draw(self.name, outreach_type, bot_id, user_id) < held
        return Assignment(
            arm=Arm.HELD_OUT if held_out else Arm.TREATED,
            treated_probability=(1 - self.control) * (1 - held),
            program_probability=1 - self.control,
            in_control=in_control,
            measured_by_type=held > 0,
        )
