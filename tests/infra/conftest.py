"""One synthesis per context for the whole run; aws_cdk (2 s and a Node process) is imported only for it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.build import Layers
from infra.config import DeploymentConfig


@dataclass(frozen=True)
class Assembly:
    """What `cdk synth` would write.

    Attributes:
        folder: the cloud assembly.
        template: the stack's template.
    """

    folder: Path
    template: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of every resource of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }

    def only(self, kind: str) -> dict[str, Any]:
        """Return the properties of the one resource of a type."""
        (properties,) = self.of_type(kind).values()
        return properties

    def functions(self) -> dict[str, dict[str, Any]]:
        """Return every function's properties, by its folder's name."""
        return {f["Handler"].split(".")[1]: f for f in self.of_type("AWS::Lambda::Function").values()}

    def logical_id(self, function: str) -> str:
        """Return a function's logical id."""
        (found,) = (
            name for name, f in self.of_type("AWS::Lambda::Function").items() if f["Handler"].split(".")[1] == function
        )
        return found


Synthesize = Callable[..., Assembly]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Return a function of the context that synthesizes the stack as `cdk` would, with empty layers."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")
        from aws_cdk import App

        from infra.app import assemble

    layer = tmp_path_factory.mktemp("layer")
    (layer / "python").mkdir()
    (layer / "python" / "placeholder.py").touch()
    known: dict[str, Assembly] = {}

    def synthesize(*, again: bool = False, **context: Any) -> Assembly:
        key = json.dumps(context, sort_keys=True)
        if again or key not in known:
            folder = tmp_path_factory.mktemp("assembly")
            config = DeploymentConfig.from_context({"bot_id": "123456"} | context)
            # Seconds of a WASM validator that `cdk synth` runs anyway (make check).
            app = App(outdir=str(folder), builtin_cloud_formation_validation=False)
            assemble(app, config, Layers(core=layer, inference=layer, training=layer))
            app.synth()
            template = json.loads((folder / f"{config.stack_name}.template.json").read_text())
            known[key] = Assembly(folder=folder, template=template)
        return known[key]

    return synthesize


@pytest.fixture(scope="session")
def stack(synthesize: Synthesize) -> Assembly:
    """The stack with nothing chosen but the bot."""
    return synthesize()
