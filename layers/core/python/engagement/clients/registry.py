"""The registry of models in S3: published once, served while the pointer names them, never pickle.

    models/<name>/champion.json          the pointer: {"prefix", "sha256", "version", "promoted_at", "previous": [...]}
    models/<name>/<version>/model.onnx   data for onnxruntime
    models/<name>/<version>/card.json    what it is, and its hash
    models/<name>/<version>/golden.json  rows and their answers, where it came with some

Promotion and rollback are one conditional write of the pointer, on what was read before: of two at once one wins
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from engagement.domain.champion import CARD_FILE, GOLDEN_FILE, MODEL_FILE, PROMOTABLE, Champion, Entry
from engagement.errors import ModelRegistryError, ModelUnavailableError

MAX_BYTES = 32 * 1024 * 1024
"""A bigger object is refused unread: a function has some hundred megabytes for everything."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Somebody else's write came first: the condition does not hold, or is being decided, or there is no object any more.
_LOST = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
_PATIENT = Config(connect_timeout=2, read_timeout=15, retries={"total_max_attempts": 3, "mode": "standard"})


class ModelRegistry:
    """The models in one bucket; every method may raise ValueError for a name that is none of `PROMOTABLE`."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        """Take the bucket's name, and an S3 client where the usual one is too patient or of another account."""
        self._bucket = bucket
        self._client = client or boto3.client("s3", config=_PATIENT)

    def champion(self, name: str) -> Champion | None:
        """Read the pointer; None where no model was ever promoted.

        Raises:
            ModelUnavailableError: S3 cannot be read, or what is there is no pointer.
        """
        key = pointer_key(name)
        found = self._get(key)
        return None if found is None else _parse(name, *found)

    def fetch(self, name: str, champion: Entry, cache: Path) -> Path:
        """Fetch a published model and return its folder below `cache`; one that is already in it is not fetched again.

        Raises:
            ModelUnavailableError: S3 cannot be read, or what it holds is not what the pointer says.
        """
        folder = cache / name / champion.sha256
        if _holds(folder, champion.sha256):
            return folder
        model, card = (self._get(f"{champion.prefix}/{file}") for file in (MODEL_FILE, CARD_FILE))
        if model is None or card is None:
            raise ModelUnavailableError(f"the champion pointer names {champion.prefix}, which is incomplete")
        if hashlib.sha256(model[0]).hexdigest() != champion.sha256:
            raise ModelUnavailableError(f"{champion.prefix}/{MODEL_FILE} is damaged: its sha256 is not the pointer's")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / CARD_FILE, card[0])
            _write(folder / MODEL_FILE, model[0])
        except OSError as error:
            raise ModelUnavailableError(f"the champion cannot be kept: {error.strerror}") from error
        return folder

    def card(self, entry: Entry) -> dict[str, Any]:
        """Return the card of a published model.

        Raises:
            ModelUnavailableError: S3 cannot be read, or there is no card.
        """
        key = f"{entry.prefix}/{CARD_FILE}"
        found = self._get(key)
        if found is None:
            raise ModelUnavailableError(f"there is no {key}")
        return _object(found[0], key)

    def publish(self, name: str, directory: Path) -> Entry:
        """Put a model's files below its version; it does not serve before it is promoted.

        Raises:
            ModelUnavailableError: the folder does not hold the model that its card describes.
            ModelRegistryError: S3 did not take it.
        """
        folder = _folder(name)
        try:
            files = {file: (directory / file).read_bytes() for file in (MODEL_FILE, CARD_FILE)}
            golden = directory / GOLDEN_FILE
            files |= {GOLDEN_FILE: golden.read_bytes()} if golden.is_file() else {}
        except OSError as error:
            raise ModelUnavailableError(f"there is no model to publish: {error.strerror}") from error
        card = _object(files[CARD_FILE], CARD_FILE)
        sha256 = hashlib.sha256(files[MODEL_FILE]).hexdigest()
        version = str(card.get("version"))
        if (card.get("name"), card.get("sha256")) != (name, sha256) or not _VERSION.fullmatch(version):
            raise ModelUnavailableError(f"{CARD_FILE} does not describe this {name} model; nothing was published")
        prefix = f"{folder}/{version}"
        for file, body in files.items():
            self._put(f"{prefix}/{file}", body)
        return Entry(prefix=prefix, sha256=sha256, version=version)

    def promote(self, name: str, entry: Entry, now: datetime, *, over: Champion | None) -> bool:
        """Let a published model serve; False where the pointer is not what it was any more.

        Args:
            name: one of `PROMOTABLE`.
            entry: as `publish` returned it.
            now: aware.
            over: the champion that it was compared with, as `champion` read it.

        Raises:
            ModelRegistryError: S3 did not take it.
            ModelUnavailableError: S3 could not be asked who won.
        """
        return self._move(name, Champion.after(over, entry, now), over)

    def rollback(self, name: str, now: datetime) -> Entry | None:
        """Let the champion before this one serve again, or the bundled model; None where that serves already.

        Args:
            name: one of `PROMOTABLE`.
            now: aware.

        Raises:
            ModelRegistryError: another promotion came in between, or S3 did not take it.
            ModelUnavailableError: there is a pointer that cannot be read.
        """
        seen = self.champion(name)
        champion = seen.rolled_back(now) if seen else None
        if champion is None:
            return None
        if not self._move(name, champion, seen):
            raise ModelRegistryError(f"the {name} pointer moved meanwhile; nothing was rolled back: look again")
        return champion.entry

    def _move(self, name: str, champion: Champion, seen: Champion | None) -> bool:
        condition = {"IfMatch": seen.revision} if seen else {"IfNoneMatch": "*"}
        if self._put(pointer_key(name), _pointer(champion), **condition):
            return True
        # A write whose answer was lost is repeated by the client, and then meets itself.
        won = self.champion(name)
        return won is not None and won.entry == champion.entry

    def _get(self, key: str) -> tuple[bytes, str] | None:
        """Return an object and its revision, or None where there is none."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            if answer["ContentLength"] > MAX_BYTES:
                raise ModelUnavailableError(f"{key} is larger than {MAX_BYTES} bytes")
            return answer["Body"].read(), answer["ETag"]
        except self._client.exceptions.NoSuchKey:
            return None
        except ClientError as error:
            raise ModelUnavailableError(f"{key} cannot be read: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise ModelUnavailableError(f"{key} cannot be read: {type(error).__name__}") from error

    def _put(self, key: str, body: bytes, **condition: str) -> bool:
        """Write an object; False where the condition does not hold."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if condition and code in _LOST:
                return False
            raise ModelRegistryError(f"{key} cannot be written: {code}") from error
        except BotoCoreError as error:
            raise ModelRegistryError(f"{key} cannot be written: {type(error).__name__}") from error
        return True


def pointer_key(name: str) -> str:
    """Return the key of a model's pointer."""
    return f"{_folder(name)}/champion.json"


def _folder(name: str) -> str:
    if name not in PROMOTABLE:
        raise ValueError(f"there is no model {name}; there are {', '.join(PROMOTABLE)}")
    return f"models/{name}"


def _pointer(champion: Champion) -> bytes:
    fields = _fields(champion) | {"previous": [_fields(entry) for entry in champion.previous]}
    return json.dumps(fields, indent=2).encode()


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        "prefix": entry.prefix,
        "sha256": entry.sha256,
        "version": entry.version,
        "promoted_at": entry.promoted_at.isoformat() if entry.promoted_at else None,
    }


def _parse(name: str, raw: bytes, revision: str) -> Champion:
    pointer = _object(raw, pointer_key(name))
    try:
        serving = _entry(pointer)
        previous = tuple(_entry(entry) for entry in pointer.get("previous", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailableError(f"{pointer_key(name)} is not a pointer") from error
    for entry in (serving, *previous):
        below, _, version = entry.prefix.rpartition("/")
        ours = below == _folder(name) and _VERSION.fullmatch(version) and _SHA256.fullmatch(entry.sha256)
        if not (entry.is_bundled or ours):
            raise ModelUnavailableError(f"{pointer_key(name)} names no model below {_folder(name)}/")
    return Champion(
        prefix=serving.prefix,
        sha256=serving.sha256,
        version=serving.version,
        promoted_at=serving.promoted_at,
        previous=previous,
        revision=revision,
    )


def _entry(fields: Mapping[str, Any]) -> Entry:
    promoted_at = fields["promoted_at"]
    return Entry(
        prefix=fields["prefix"],
        sha256=fields["sha256"],
        version=fields["version"],
        promoted_at=datetime.fromisoformat(promoted_at) if promoted_at else None,
    )


def _object(raw: bytes, key: str) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except ValueError as error:
        raise ModelUnavailableError(f"{key} is not JSON") from error
    if not isinstance(parsed, dict):
        raise ModelUnavailableError(f"{key} is not an object of JSON")
    return parsed


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
