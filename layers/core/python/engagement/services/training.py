"""Training: histories of those who allow it -> candidates -> whatever beats what serves is published and promoted."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from engagement.domain.champion import BUNDLED, NONE, PROMOTABLE, Champion, Entry
from engagement.domain.history import History
from engagement.domain.tick import Tick
from engagement.errors import BadTickError, ModelUnavailableError

RESERVE_SECONDS = 30.0
"""Kept back from the training: what was won still has to be published."""
PROMOTE = "promote"
KEEP = "keep"
NOT_PROMOTED = "not promoted, since the champion pointer is not what was read before the training; {reason}"


class HistoryReader(Protocol):
    """Where histories are read; see `store.histories`."""

    def consenting(self, bot_id: int, now: datetime, *, segment: int = 0, of: int = 1) -> Iterator[History]:
        """Yield the history of each user who allows training."""
        ...


class Registry(Protocol):
    """Where models are published and promoted; see `clients.registry`."""

    def champion(self, name: str) -> Champion | None:
        """Read the pointer; raises ModelUnavailableError where it cannot be read."""
        ...

    def fetch(self, name: str, champion: Entry, cache: Path) -> Path:
        """Fetch a published model; raises ModelUnavailableError where it is not what the pointer says."""
        ...

    def publish(self, name: str, directory: Path) -> Entry:
        """Put a model's files where they can be promoted."""
        ...

    def promote(self, name: str, entry: Entry, now: datetime, *, over: Champion | None) -> bool:
        """Let a model serve instead of `over`, unless something else does by now."""
        ...


class Verdict(Protocol):
    """What came of one model's training; see `models.weekly`."""

    @property
    def name(self) -> str:
        """Return which model it is about."""
        ...

    @property
    def outcome(self) -> str:
        """Return "promote", or why not."""
        ...

    @property
    def reason(self) -> str:
        """Return the reason in words, with the numbers."""
        ...

    @property
    def samples(self) -> int:
        """Return how many examples it was trained and judged on."""
        ...

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Return the figures of the candidate and of what it was compared with."""
        ...

    @property
    def directory(self) -> Path | None:
        """Return the candidate's folder, if it is to be promoted."""
        ...


class TrainAll(Protocol):
    """Trains and judges every model; see `models.weekly`."""

    def __call__(
        self,
        histories: Iterable[History],
        *,
        serving: Mapping[str, Path],
        bundled: Mapping[str, Path],
        out: Path,
        now: datetime,
        min_samples: int,
        remaining_seconds: Callable[[], float],
    ) -> Sequence[Verdict]:
        """Return a verdict for each model; `serving` and `bundled` lack a model that there is none of."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What a run came to; nothing in it names a user.

    Attributes:
        models_trained: names of the models that serve from now on.
        results: per model its outcome, the reason, how many examples it is based on, what serves, and the metrics.
        users: users whose histories were read.
        samples: examples of the model that had most.
        seconds: how long it took.
    """

    models_trained: tuple[str, ...]
    results: Mapping[str, Mapping[str, Any]]
    users: int
    samples: int
    seconds: int

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it, under the guide's names."""
        return {
            "models_trained": list(self.models_trained),
            "results": {f"{name}_model": dict(result) for name, result in self.results.items()},
            "users": self.users,
            "samples": self.samples,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class _Serving:
    """What a candidate has to beat; `fault` says why the champion cannot be it, and is "" where it is.

    A pointer that cannot be read counts as none: a promotion then meets it, and leaves it to the operator.
    No folder: no model serves.
    """

    champion: Champion | None
    folder: Path | None
    fault: str = ""


class Training:
    """The trainer's work."""

    def __init__(
        self, *, bot_id: int, histories: HistoryReader, registry: Registry, train: TrainAll, bundled: Mapping[str, Path]
    ) -> None:
        """Take what the work needs.

        Args:
            bot_id: the bot.
            histories: what is learned from.
            registry: where models are published.
            train: trains and judges.
            bundled: folder of each model that came with the code, by name; those of `PROMOTABLE` that are not in it
                have none.
        """
        self._bot_id = bot_id
        self._histories = histories
        self._registry = registry
        self._train = train
        self._bundled = bundled

    def train_models(self, tick: Tick, min_samples: int, remaining_seconds: Callable[[], float]) -> TrainingReport:
        """Train every model from the tick's share of the users; promote those that beat what serves.

        Args:
            tick: the time that the run stands for, and the share.
            min_samples: fewest examples that a model is trained from.
            remaining_seconds: how long this run may still take, asked again and again.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble; nothing was promoted.
            ModelRegistryError: S3 did not take a model; those promoted before it serve.
        """
        began_with = remaining_seconds()
        users = 0

        def histories() -> Iterator[History]:
            nonlocal users
            for history in self._histories.consenting(self._bot_id, tick.now, segment=tick.shard, of=tick.of):
                users += 1
                yield history

        with tempfile.TemporaryDirectory() as scratch:
            serving = {name: self._serving(name, Path(scratch, "serving")) for name in PROMOTABLE}
            verdicts = self._train(
                histories(),
                serving={name: found.folder for name, found in serving.items() if found.folder},
                bundled=self._bundled,
                out=Path(scratch, "candidates"),
                now=tick.now,
                min_samples=min_samples,
                remaining_seconds=lambda: remaining_seconds() - RESERVE_SECONDS,
            )
            results = {verdict.name: self._settle(verdict, serving[verdict.name], tick.now) for verdict in verdicts}
        return TrainingReport(
            models_trained=tuple(name for name, result in results.items() if result["outcome"] == PROMOTE),
            results=results,
            users=users,
            samples=max((verdict.samples for verdict in verdicts), default=0),
            seconds=round(began_with - remaining_seconds()),
        )

    def _serving(self, name: str, cache: Path) -> _Serving:
        """Find what the scorer would serve: the champion if it can be used, else the bundled model, if there is one."""
        champion, bundled = None, self._bundled.get(name)
        try:
            champion = self._registry.champion(name)
            if champion is None or champion.is_bundled:
                return _Serving(champion, bundled)
            return _Serving(champion, self._registry.fetch(name, champion, cache))
        except ModelUnavailableError as error:
            return _Serving(champion, bundled, fault=str(error))

    def _settle(self, verdict: Verdict, serving: _Serving, now: datetime) -> dict[str, Any]:
        """Publish and promote a model that won; return its part of the report."""
        outcome, reason = verdict.outcome, verdict.reason
        serves = BUNDLED if serving.folder else NONE
        if serving.champion and serving.folder and not serving.fault:
            serves = serving.champion.version
        if outcome == PROMOTE and verdict.directory is not None:
            entry = self._registry.publish(verdict.name, verdict.directory)
            if self._registry.promote(verdict.name, entry, now, over=serving.champion):
                serves = entry.version
            else:
                outcome, reason = KEEP, NOT_PROMOTED.format(reason=reason)
        fault = {"fault": serving.fault} if serving.fault else {}
        judged = {"outcome": outcome, "reason": reason, "samples": verdict.samples, "serves": serves}
        return {**verdict.metrics, **judged, **fault}


def requested_samples(event: Mapping[str, Any], default: int) -> int:
    """Return the fewest examples that an event asks for, or the default.

    Raises:
        BadTickError: it asks for something else than a whole number from 1.
    """
    samples = event.get("min_samples", default)
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise BadTickError('unreadable "min_samples"; expected a whole number from 1')
    return samples
