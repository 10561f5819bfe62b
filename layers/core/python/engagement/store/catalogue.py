"""The operator's own milestones and templates, as JSON by name."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engagement.domain.templates import Texts, own_templates
from engagement.store import keys
from engagement.store.table import CatalogueItem, translated


class Catalogue:
    """The definitions in the table; few, so that they are read together."""

    def __init__(self, bot_id: int) -> None:
        self._pk = keys.catalogue(bot_id)

    def put(self, prefix: str, name: str, definition: Mapping[str, Any], at: datetime) -> None:
        """Keep a definition, over an older one of the same name.

        Args:
            prefix: `keys.MILESTONE_PREFIX` or `keys.TEMPLATE_PREFIX`.
            name: of the milestone or template.
            definition: what JSON can hold.
            at: aware.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble (also for every other method).
        """
        body = json.dumps(definition, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        with translated():
            CatalogueItem(self._pk, f"{prefix}{name}", body=body, updated_at=at).save()

    def all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the definitions of a kind, by name."""
        with translated():
            found = CatalogueItem.query(self._pk, CatalogueItem.sk.startswith(prefix), consistent_read=True)
            return {item.sk.removeprefix(prefix): json.loads(item.body) for item in found}

    def texts(self) -> Texts:
        """Return what users are written: the built-in texts and those of the operator's that can be read."""
        return Texts(own_templates(self.all(keys.TEMPLATE_PREFIX)))

    def delete(self, prefix: str, name: str) -> None:
        """Forget a definition; nothing happens where there is none."""
        with translated():
            CatalogueItem(self._pk, f"{prefix}{name}").delete()
