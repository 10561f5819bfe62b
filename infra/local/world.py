"""A world whose truth is known: people whom a message helps, leaves cold or annoys, and what each does either way.

Every person has two fates at each decision point, one for being written to and one for not, drawn from one number, so
that the effect of a message on a person is a fact of the world. Tests of lift, bandits, uplift and policies ask it what
no bot's owner can know; `make demo` lives in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Kind(IntEnum):
    """How people take a message."""

    HELPED = 0
    """Likelier to come back."""
    INDIFFERENT = 1
    ANNOYED = 2
    """Less likely to come back, and some block the bot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a message does, in probabilities.

    Attributes:
        mix: shares of helped, indifferent and annoyed people; they sum to 1.
        helps: added to a helped person's probability of coming back.
        annoys: taken off an annoyed person's.
        blocks: probability that an annoyed person blocks the bot because of a message.
        blocks_anyway: probability that anybody blocks it within the time, written to or not.
        tastes: by template, what it adds to the effect on a helped person; those not named add nothing.
        repetition: what the same template loses when it is shown again at once; it recovers with the days.
        recovery_days: half-life of that.
        telling: how much of a person's kind shows in their features, [0, 1]; 0 makes targeting hopeless.
    """

    mix: tuple[float, float, float] = (0.35, 0.45, 0.20)
    helps: float = 0.25
    annoys: float = 0.10
    blocks: float = 0.06
    blocks_anyway: float = 0.004
    tastes: Mapping[str, float] | None = None
    repetition: float = 0.0
    recovery_days: float = 14.0
    telling: float = 0.8


NOTHING = Effects(helps=0.0, annoys=0.0, blocks=0.0)
"""An A/A world: messages change nothing."""


@dataclass(frozen=True, slots=True)
class Fates:
    """What people do at one decision point, both ways; arrays of one entry a person.

    Attributes:
        returns_alone: whether they come back within 7 days unwritten to.
        returns_if_sent: whether they do when written to.
        blocks_alone: whether they block the bot anyway.
        blocks_if_sent: whether they do when written to.
    """

    returns_alone: Bools
    returns_if_sent: Bools
    blocks_alone: Bools
    blocks_if_sent: Bools

    @property
    def lift(self) -> float:
        """Average effect of a message on coming back among these people: the truth that an experiment estimates."""
        return float(np.mean(self.returns_if_sent.astype(float) - self.returns_alone.astype(float)))


class World:
    """People of one seed.

    Attributes:
        kinds: each person's `Kind`.
        alone: each person's probability of coming back within 7 days by themselves.
        predicted: what a calibrated model says of `alone`, from features that see most of it.
        features: two columns that a model may see: `predicted`, and a trace of the kind (see `Effects.telling`).
    """

    def __init__(self, seed: int, people: int, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        self.kinds: NDArray[np.int_] = rng.choice(3, size=people, p=self.effects.mix)
        # Regulars who paused, and those who are all but gone: most bots have both.
        logit = rng.normal(-1.2, 1.3, people)
        self.alone: Floats = 1 / (1 + np.exp(-logit))
        self.predicted: Floats = 1 / (1 + np.exp(-(logit + rng.normal(0, 0.5, people)) / 1.08))
        trace = np.where(self.kinds == Kind.HELPED, 1.0, np.where(self.kinds == Kind.ANNOYED, -1.0, 0.0))
        told = rng.random(people) < self.effects.telling
        self.features: Floats = np.column_stack(
            [self.predicted, np.where(told, trace, rng.permutation(trace)) + rng.normal(0, 0.35, people)]
        )

    def __len__(self) -> int:
        return len(self.kinds)

    def probabilities(self, template: str | None = None, days_since_same: Floats | None = None) -> Floats:
        """Return each person's probability of coming back within 7 days when written to.

        Args:
            template: which text; None is one without a taste.
            days_since_same: days since each person got the same text; None where nobody did (infinite: never).
        """
        effects = self.effects
        taste = (effects.tastes or {}).get(template or "", 0.0)
        fatigue = 0.0
        if days_since_same is not None:
            fatigue = effects.repetition * 0.5 ** (days_since_same / effects.recovery_days)
        change = np.select(
            [self.kinds == Kind.HELPED, self.kinds == Kind.ANNOYED],
            [effects.helps + taste - fatigue, -effects.annoys],
            0.0,
        )
        return np.clip(self.alone + change, 0.0, 1.0)

    def fates(self, moment: int, template: str | None = None, days_since_same: Floats | None = None) -> Fates:
        """Return what everybody does at decision point number `moment`, both ways; the same at every call."""
        rng = np.random.default_rng([self._seed, 1, moment])
        returning, blocking = rng.random(len(self)), rng.random(len(self))
        blocks = np.where(self.kinds == Kind.ANNOYED, self.effects.blocks, 0.0) + self.effects.blocks_anyway
        return Fates(
            returns_alone=returning < self.alone,
            returns_if_sent=returning < self.probabilities(template, days_since_same),
            blocks_alone=blocking < self.effects.blocks_anyway,
            blocks_if_sent=blocking < blocks,
        )
