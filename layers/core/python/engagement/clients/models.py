"""Cold start of whoever predicts: the champion from S3 where there is one, else the model that came with the code."""

from pathlib import Path

import boto3
from botocore.config import Config

from engagement.clients.registry import ModelRegistry
from engagement.errors import ModelUnavailableError
from engagement.telemetry import logger

# S3 that hangs costs a cold start two tries of at most three seconds a model; then the bundled one serves.
_HURRIED = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})


def champion_or_bundled(name: str, bucket: str, bundled: Path, cache: Path) -> Path:
    """Return the folder of the model to serve: the champion's, or `bundled`.

    Having no champion is normal and silent; one that cannot be used is logged with the reason.

    Args:
        name: "churn", "timing" or "mood".
        bucket: the bucket of models.
        bundled: folder of the model that came with the function.
        cache: folder for champions' files; made where missing. A model already in it is not fetched again.
    """
    try:
        return champion(name, bucket, cache) or bundled
    except ModelUnavailableError as error:
        logger.warning("the champion model cannot be used; the bundled one serves", model=name, reason=str(error))
        return bundled


def champion(name: str, bucket: str, cache: Path) -> Path | None:
    """Fetch the champion into `cache` and return its folder; None where the bundled model is to serve.

    Raises:
        ModelUnavailableError: S3 cannot be read, or what it holds is not what the pointer says.
    """
    registry = ModelRegistry(bucket, boto3.client("s3", config=_HURRIED))
    found = registry.champion(name)
    return None if found is None or found.is_bundled else registry.fetch(name, found, cache)
