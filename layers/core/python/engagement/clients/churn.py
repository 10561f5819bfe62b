"""Cold start of the scorer: the churn model to serve, or none."""

from pathlib import Path

from engagement.clients.models import champion_or_bundled
from engagement.clients.predictor import ChurnModel
from engagement.errors import ModelUnavailableError
from engagement.telemetry import logger


def serving_churn_model(bucket: str, bundled: Path, cache: Path) -> ChurnModel | None:
    """Load the champion, or the model that came with the function; None where neither can be used.

    Args:
        bucket: where the champion is.
        bundled: folder of the model that came with the function.
        cache: folder for the champion's files.
    """
    for directory in dict.fromkeys((champion_or_bundled(bucket, bundled, cache), bundled)):
        try:
            return ChurnModel.load(directory)
        except ModelUnavailableError as error:
            logger.warning("churn model unavailable", reason=str(error))
    return None
