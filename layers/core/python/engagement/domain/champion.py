"""Which of the trained models serves, which served before it, and what a promotion or a rollback makes of that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

MODELS = ("churn", "timing", "mood")
"""Those that come with the code."""
UPLIFT = "uplift"
PROMOTABLE = (*MODELS, UPLIFT)
"""What is trained and can be promoted; there are no others, and each has a client that serves it.

The uplift model does not come with the code: whom a message helps is learned from a bot's own control group or not at
all. Where none was promoted, none serves, and nobody is left out for its sake.
"""
MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
GOLDEN_FILE = "golden.json"
"""What a model's folder holds: the graph, what it is, and rows with their answers."""
BUNDLED = "bundled"
"""Version of the model that came with the code, where nothing else is known of it."""
NONE = "none"
"""Stands for a version where no model serves."""
KEPT = 20
"""Champions remembered for a rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A published model.

    Attributes:
        prefix: the folder it is in; "" is the model that came with the code, or none where none did.
        sha256: hex digest of its model file; "" for the bundled one.
        version: as its card says.
        promoted_at: when it became the champion, aware; None before that.
    """

    prefix: str
    sha256: str
    version: str
    promoted_at: datetime | None = None

    @property
    def is_bundled(self) -> bool:
        """Whether it stands for the model that came with the code, or for none where none did."""
        return not self.prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion(Entry):
    """The model that serves.

    Attributes:
        previous: champions before it that were not rolled back, the newest first, at most `KEPT`.
        revision: of the pointer as it was read; every move makes another.
    """

    previous: tuple[Entry, ...] = ()
    revision: str = ""

    @classmethod
    def after(cls, seen: "Champion | None", entry: Entry, now: datetime) -> Self:
        """Return what a promotion of `entry` over `seen` makes; what was served before stays in reach of a rollback."""
        before = () if seen is None or seen.is_bundled else (seen.entry, *seen.previous)
        return cls(
            prefix=entry.prefix,
            sha256=entry.sha256,
            version=entry.version,
            promoted_at=now,
            previous=before[:KEPT],
        )

    def rolled_back(self, now: datetime) -> "Champion | None":
        """Return what stands after a rollback; None where the bundled model serves already."""
        if self.is_bundled:
            return None
        target, *older = self.previous or (Entry(prefix="", sha256="", version=BUNDLED),)
        return Champion(
            prefix=target.prefix,
            sha256=target.sha256,
            version=target.version,
            promoted_at=now,
            previous=tuple(older),
        )

    @property
    def entry(self) -> Entry:
        """The model alone."""
        return Entry(prefix=self.prefix, sha256=self.sha256, version=self.version, promoted_at=self.promoted_at)
