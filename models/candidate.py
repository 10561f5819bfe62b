"""Weekly training: a candidate -> model files that say what numpy and scikit-learn say; else nothing is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.adapt import Candidate
from models.export import CHECKED_ROWS, GOLDEN_DIGITS, Served, publish, served
from models.metrics import Numbers

GOLDEN_ROWS = 64
SEED = 0


def answers_of(client: type[Served], folder: Path, rows: Numbers) -> Numbers:
    """Return what a published model says, a row for each of `rows`.

    Raises:
        ModelUnavailableError: it cannot be loaded, or not be asked this.
    """
    return served(client.load(folder), rows)


def publish_candidate(
    candidate: Candidate, bundled: Path, rows: Numbers, about: Mapping[str, Any], directory: Path
) -> None:
    """Export, check and write a candidate.

    The golden rows are drawn from the range of the features: no user's own numbers belong into a model's files.

    Args:
        candidate: what was judged.
        bundled: folder of the bundled model.
        rows: what it was fitted to; the export is checked on some of them too.
        about: what its card says beside what every card does.
        directory: where `model.onnx`, `card.json` and `golden.json` go; made where missing.

    Raises:
        ModelUnavailableError: the client that serves it refuses the export, or it differs from what was judged.
            Nothing was written then.
    """
    dice = np.random.default_rng(SEED)
    golden = dice.uniform(rows.min(axis=0), rows.max(axis=0), (GOLDEN_ROWS, *rows.shape[1:]))
    publish(
        candidate.client,
        candidate.to_onnx(bundled),
        about=about,
        golden=np.round(golden, GOLDEN_DIGITS),
        scikit_learn=lambda asked: candidate.answers(asked, answers_of(candidate.client, bundled, asked)),
        checked=[rows[:CHECKED_ROWS]],
        directory=directory,
    )
