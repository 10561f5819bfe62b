"""Everything that is kept about one user, as JSON can hold it: each item with each attribute, whatever its kind.

Generic on purpose: what a later version keeps is exported without anybody thinking of it. What is packed for the table
is unpacked for people: the pattern's sketch, the features of a decision.
"""

import json
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from engagement.domain.pattern_bytes import decode
from engagement.domain.uplift import NAMES, row_of
from engagement.errors import BadPatternError
from engagement.store import keys
from engagement.store.erasures import rows_of

Plain = dict[str, Any]


class Exports:
    """Reads users' partitions."""

    def items(self, bot_id: int, user_id: int) -> list[Plain]:
        """Return every item of a user's, by sort key, under the names that the table has for its attributes.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        return [_plain_item(row) for row in rows_of(keys.user(bot_id, user_id))]


def _plain_item(row: dict[str, Any]) -> Plain:
    plain = {name: _plain(value) for name, value in row.items()}
    if plain["sk"] == keys.PATTERN:
        with suppress(BadPatternError):  # then as its bytes: this version cannot say more of it
            plain["state"] = asdict(decode(_bytes(row["state"]["B"])))
    if "context" in row and (features := row_of(_bytes(row["context"]["B"]))):
        plain["context"] = dict(zip(NAMES, features, strict=True))
    for name in ("values_json", "outcomes_json"):
        if name in plain:
            plain[name] = json.loads(plain[name])
    return plain


def _plain(value: dict[str, Any]) -> Any:
    """Return a value of DynamoDB's JSON as Python's JSON has it."""
    ((kind, held),) = value.items()
    match kind:
        case "N":
            return _number(held)
        case "B":
            return b64encode(_bytes(held)).decode()
        case "SS":
            return sorted(held)
        case "NS":
            return sorted(map(_number, held))
        case "BS":
            return sorted(b64encode(_bytes(one)).decode() for one in held)
        case "L":
            return [_plain(one) for one in held]
        case "M":
            return {name: _plain(one) for name, one in held.items()}
        case "NULL":
            return None
        case _:
            return held


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _bytes(held: Any) -> bytes:
    """Return binary as bytes: botocore decodes it, PynamoDB's raw answers may hold it either way."""
    return held if isinstance(held, bytes) else b64decode(held)
