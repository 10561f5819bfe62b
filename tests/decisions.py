"""Settled decisions of a world whose truth is known, as the trainer reads them."""

import numpy as np

from engagement.domain.uplift import MEASURED, TYPES, LoggedDecision
from infra.local.world import World


def decisions(world: World, *, control: float = 0.1, moment: int = 0) -> list[LoggedDecision]:
    """Write to everybody but a control group, once, and say what came of it.

    The features that tell something hold `world.features`; the others are noise.
    """
    dice = np.random.default_rng([len(world), moment])
    fates = world.fates(moment)
    sent = dice.random(len(world)) >= control
    lost = np.where(sent, fates.blocks_if_sent, fates.blocks_alone)
    returned = np.where(sent, fates.returns_if_sent, fates.returns_alone) & ~lost
    measured = dice.normal(size=(len(world), len(MEASURED)))
    measured[:, MEASURED.index("return_log_odds_7d")] = np.log(world.predicted / (1 - world.predicted))
    measured[:, MEASURED.index("usual_mood")] = world.features[:, 1]
    types = np.eye(len(TYPES))[dice.integers(0, 3, len(world))]
    rows = np.column_stack([measured, types]).astype(np.float32).astype(float)
    return [
        LoggedDecision(
            user_id=number,
            row=tuple(row),
            planned_probability=1.0,
            sent=bool(sent[number]),
            sent_probability=1 - control,
            returned=bool(returned[number]),
            lost=bool(lost[number]),
            covariate=float(world.predicted[number]),
        )
        for number, row in enumerate(rows.tolist())
    ]
