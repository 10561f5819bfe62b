"""Checks updates and calls against a machine-readable Bot API specification, where there is one."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[3]
BESIDE_THE_PROJECT = ROOT.parent / "shared" / "data" / "bot-api.json"
SCALARS: dict[str, tuple[type, ...]] = {"Integer": (int,), "Float": (int, float), "String": (str,), "Boolean": (bool,)}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a call's body: an InputFile.

    Attributes:
        name: of the file, as the bot sent it.
        content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)


def find() -> Path | None:
    """Return the specification that lies beside the project; None in a clone that has none."""
    return BESIDE_THE_PROJECT if BESIDE_THE_PROJECT.is_file() else None


class BotApi:
    """The types and methods of one version of the Bot API.

    Stricter than Telegram, which ignores parameters it does not know: a misspelt one is a bug here.
    """

    def __init__(self, specification: dict[str, Any]) -> None:
        self.version: str = specification["version"]
        self._types: dict[str, Any] = specification["types"]
        self._methods: dict[str, Any] = specification["methods"]
        self._lower = {name.lower(): name for name in self._methods}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a specification."""
        return cls(_specification(path))

    def type(self, name: str) -> dict[str, Any]:
        """Return the definition of a type."""
        return self._types[name]

    def update_problems(self, update: Any) -> list[str]:
        """Say what of an update Telegram would not send; nothing for a real one."""
        problems = self._problems(update, ["Update"], "update")
        if isinstance(update, dict) and len(update.keys() - {"update_id"}) != 1:
            problems.append("update: holds other than exactly one kind")
        return problems

    def call_problems(self, method: str, params: dict[str, Any]) -> list[str]:
        """Say what of a call the Bot API does not know; method names are read without regard to case."""
        name = self._lower.get(method.lower())
        if name is None:
            return [f"{method}: no such method"]
        return self._fields(params, self._methods[name].get("fields", []), name)

    def _problems(self, value: Any, types: list[str], at: str) -> list[str]:
        """Return the problems of the alternative that fits best."""
        tried = [self._problems_of_one(value, one, at) for one in types]
        return min(tried, key=len)

    def _problems_of_one(self, value: Any, kind: str, at: str) -> list[str]:
        if kind.startswith("Array of "):
            if not isinstance(value, list):
                return [f"{at}: is not an array"]
            inner = kind.removeprefix("Array of ")
            return [
                problem
                for index, entry in enumerate(value)
                for problem in self._problems(entry, [inner], f"{at}[{index}]")
            ]
        if kind in SCALARS:
            # In Python a bool is an int; in JSON it is not.
            fits = isinstance(value, SCALARS[kind]) and (kind == "Boolean") == isinstance(value, bool)
            return [] if fits else [f"{at}: {value!r:.40} is not of type {kind}"]
        if kind == "InputFile":
            return [] if isinstance(value, Upload) else [f"{at}: is not a file"]
        definition = self._types[kind]
        if definition.get("subtypes"):
            return self._problems(value, definition["subtypes"], at)
        if not isinstance(value, dict):
            return [f"{at}: is not a {kind}"]
        return self._fields(value, definition.get("fields", []), at)

    def _fields(self, value: dict[str, Any], fields: list[dict[str, Any]], at: str) -> list[str]:
        known = {field["name"]: field for field in fields}
        problems = [f"{at}: has no {name}" for name, field in known.items() if field["required"] and name not in value]
        for name, content in value.items():
            if name not in known:
                problems.append(f"{at}: has an unknown field {name}")
            else:
                problems += self._problems(content, known[name]["types"], f"{at}.{name}")
        return problems


@cache
def _specification(path: Path) -> dict[str, Any]:
    specification: dict[str, Any] = json.loads(path.read_text())
    return specification
