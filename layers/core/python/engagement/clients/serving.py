"""Cold start: the models to serve, each the champion, the bundled one, or none."""

from dataclasses import dataclass
from pathlib import Path

from engagement.clients.models import champion, champion_or_bundled
from engagement.clients.predictor import ChurnModel, MoodModel, TimingModel, UpliftModel
from engagement.domain.champion import UPLIFT
from engagement.errors import ModelUnavailableError
from engagement.telemetry import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingModels:
    """What serves; None where neither the champion nor the bundled model can be used, so that a rule has to do.

    No uplift model is normal: none comes with the code.
    """

    churn: ChurnModel | None
    timing: TimingModel | None
    mood: MoodModel | None
    uplift: UpliftModel | None = None


def serving_models(bucket: str, bundled_root: Path, cache: Path) -> ServingModels:
    """Load each champion, or the model that came with the function; what cannot be used is logged with its reason.

    Args:
        bucket: where the champions are.
        bundled_root: folder of the models that came with the function, each below its name.
        cache: folder for the champions' files.
    """
    return ServingModels(
        churn=_load(ChurnModel, bucket, bundled_root, cache),
        timing=_load(TimingModel, bucket, bundled_root, cache),
        mood=_load(MoodModel, bucket, bundled_root, cache),
        uplift=_load_uplift(bucket, cache),
    )


def _load[Model: (ChurnModel, TimingModel, MoodModel)](
    kind: type[Model], bucket: str, bundled_root: Path, cache: Path
) -> Model | None:
    name = kind.interface.output
    bundled = bundled_root / name
    for directory in dict.fromkeys((champion_or_bundled(name, bucket, bundled, cache), bundled)):
        try:
            return kind.load(directory)
        except ModelUnavailableError as error:
            logger.warning("model unavailable", model=name, reason=str(error))
    return None


def _load_uplift(bucket: str, cache: Path) -> UpliftModel | None:
    try:
        folder = champion(UPLIFT, bucket, cache)
        return UpliftModel.load(folder) if folder else None
    except ModelUnavailableError as error:
        logger.warning("the uplift model cannot be used; nobody is left out", model=UPLIFT, reason=str(error))
        return None
