"""The demo's experiment beside the truth: what the suite measured, and what its people would have done otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import mean
from typing import Any

from engagement.domain.experiment import ALL
from engagement.domain.lift import Lift, Measure, increments, report
from engagement.domain.outcomes import WEEK
from engagement.domain.outreach import Outreach
from engagement.domain.reconciliation import CountedOutreach, Reconciliation
from engagement.services.reconciling import Reconciler
from engagement.store.records import Records
from engagement.store.statistics import Statistics
from infra.local.population import Population


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, and what was true.

    Attributes:
        lifts: as the operator's report has them.
        truth: by group, the average effect of a message on coming back within a week, in the simulator's own people.
        reconciliation: the counters beside the items.
    """

    lifts: Sequence[Lift]
    truth: Mapping[str, float]
    reconciliation: Reconciliation

    @classmethod
    def read(cls, bot_id: int, experiment: str, population: Population, now: datetime) -> "Measured":
        """Read the sums of the experiment, and ask the population about everybody who is in them."""
        effects: dict[str, list[float]] = {}
        for record in Records().all(bot_id):
            if isinstance(record, CountedOutreach) and record.outcomes:
                for group in increments(record.outreach, record.outcomes):
                    effects.setdefault(group, []).append(_effect(record.outreach, group, population))
        return cls(
            lifts=report(Statistics().lift(bot_id, experiment)),
            truth={group: mean(found) for group, found in effects.items()},
            reconciliation=Reconciler(bot_id, Records(), Statistics()).reconcile(now),
        )

    def figures(self) -> dict[str, Any]:
        """Return them for `summary.json`."""
        return {
            "experiment": {lift.group: self._figures(lift) for lift in self.lifts},
            "counters_compared": self.reconciliation.compared,
        }

    def _figures(self, lift: Lift) -> dict[str, Any]:
        effect = lift.effect(Measure.RETURNED_7D)
        interval = effect.interval
        known = {
            "came_back_written_to": effect.treated,
            "came_back_held_out": effect.held_out,
            "lift": effect.lift,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "truth": self.truth[lift.group],
        }
        return {
            "written_to": effect.treated_users,
            "held_out": effect.held_out_users,
            **{name: None if value is None else round(value, 4) for name, value in known.items()},
            "verdict": lift.verdict(Measure.RETURNED_7D).value,
            "split_broken": lift.balance.broken,
        }


def _effect(outreach: Outreach, group: str, population: Population) -> float:
    """Return what a message at that moment changes for that person; for all, what being in the program does."""
    if outreach.exposed_at is None:
        raise ValueError("a settled outreach has no exposure")
    if_sent, if_not = (
        population.would_return(outreach.user_id, outreach.exposed_at, WEEK, sent=sent) for sent in (True, False)
    )
    share = outreach.treated_probability / outreach.program_probability if group == ALL else 1.0
    return share * (if_sent - if_not)
