"""Watching: the card of the model that serves, read without the model, so that the reader needs no onnxruntime."""

import json
from pathlib import Path
from typing import Any

from engagement.clients.registry import ModelRegistry
from engagement.domain.champion import CARD_FILE
from engagement.errors import ModelUnavailableError


def serving_card(name: str, bucket: str, bundled: Path) -> dict[str, Any]:
    """Return the champion's card, or the one of the model that came with the code.

    Args:
        name: "churn", "timing" or "mood".
        bucket: the bucket of models.
        bundled: folder of the model that came with the function.

    Raises:
        ModelUnavailableError: S3 cannot be read, or there is no readable card.
    """
    registry = ModelRegistry(bucket)
    champion = registry.champion(name)
    if champion is not None and not champion.is_bundled:
        return registry.card(champion)
    try:
        card: dict[str, Any] = json.loads((bundled / CARD_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"the bundled {name} model has no readable {CARD_FILE}") from error
    return card
