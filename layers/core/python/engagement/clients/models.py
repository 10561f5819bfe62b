"""Cold start of the scorer: the promoted model from S3 where there is one, else the one that came with the code.

    models/churn/champion.json        {"prefix": "models/churn/<version>", "sha256": "<of model.onnx>"}
    models/churn/<version>/model.onnx
    models/churn/<version>/card.json

Promotion and rollback are one write of the pointer. A model is data for onnxruntime and JSON, never pickle, and the
pointer's hash has to match before it is opened.
"""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from engagement.clients.predictor import CARD_FILE, MODEL_FILE
from engagement.errors import ModelUnavailableError
from engagement.telemetry import logger

FOLDER = "models/churn"
POINTER = f"{FOLDER}/champion.json"
MAX_BYTES = 32 * 1024 * 1024
"""A bigger object is refused unread: the function has some hundred megabytes for everything."""

_PREFIX = re.compile(rf"{FOLDER}/[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Three objects, each tried twice, stay well within a function's ten seconds of free initialisation.
_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})


def champion_or_bundled(bucket: str, bundled: Path, cache: Path) -> Path:
    """Return the folder of the model to serve: the champion's, or `bundled`.

    Having no champion is normal and silent; one that cannot be used is logged with the reason.

    Args:
        bucket: the bucket of models.
        bundled: folder of the model that came with the function.
        cache: folder for the champion's files; made where missing. A model already in it is not fetched again.
    """
    try:
        return champion(bucket, cache) or bundled
    except ModelUnavailableError as error:
        logger.warning("the champion model cannot be used; the bundled one serves", reason=str(error))
        return bundled


def champion(bucket: str, cache: Path) -> Path | None:
    """Fetch the champion into `cache` and return its folder; None where none was promoted yet.

    Raises:
        ModelUnavailableError: S3 cannot be read, or what it holds is not what the pointer says.
    """
    client = boto3.client("s3", config=_CONFIG)
    raw_pointer = _fetch(client, bucket, POINTER)
    if raw_pointer is None:
        return None
    prefix, sha256 = _parse(raw_pointer)
    folder = cache / sha256
    if _holds(folder, sha256):
        return folder
    model = _fetch(client, bucket, f"{prefix}/{MODEL_FILE}")
    card = _fetch(client, bucket, f"{prefix}/{CARD_FILE}")
    if model is None or card is None:
        raise ModelUnavailableError(f"the champion pointer names {prefix}, which is incomplete")
    if hashlib.sha256(model).hexdigest() != sha256:
        raise ModelUnavailableError(f"{prefix}/{MODEL_FILE} is damaged: its sha256 is not the pointer's")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / CARD_FILE, card)
        _write(folder / MODEL_FILE, model)
    except OSError as error:
        raise ModelUnavailableError(f"the champion cannot be kept: {error.strerror}") from error
    return folder


def _parse(raw: bytes) -> tuple[str, str]:
    try:
        pointer = json.loads(raw)
        prefix, sha256 = pointer["prefix"].rstrip("/"), pointer["sha256"]
        if _PREFIX.fullmatch(prefix) and _SHA256.fullmatch(sha256):
            return prefix, sha256
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailableError(f"{POINTER} is not a pointer") from error
    raise ModelUnavailableError(f"{POINTER} names no model below {FOLDER}/")


def _fetch(client: Any, bucket: str, key: str) -> bytes | None:
    """Return the object, or None where there is none."""
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > MAX_BYTES:
            raise ModelUnavailableError(f"{key} is larger than {MAX_BYTES} bytes")
        body: bytes = answer["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    except ClientError as error:
        raise ModelUnavailableError(f"{key} cannot be read: {error.response['Error']['Code']}") from error
    except BotoCoreError as error:
        raise ModelUnavailableError(f"{key} cannot be read: {type(error).__name__}") from error
    return body


def _holds(folder: Path, sha256: str) -> bool:
    try:
        raw = (folder / MODEL_FILE).read_bytes()
    except OSError:
        return False
    # The card is written first, so a whole model file means a whole folder.
    return hashlib.sha256(raw).hexdigest() == sha256


def _write(path: Path, raw: bytes) -> None:
    """Put the bytes there at once: another start of the same copy never reads half a file."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(raw)
    Path(file.name).replace(path)
