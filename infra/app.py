"""What `cdk` runs: context -> config -> staged layers -> the stack, checked by cdk-nag. Needs no credentials."""

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.build import BuildError, Layers, stage
from infra.config import ConfigError, DeploymentConfig
from infra.stack import RekindleStack


def assemble(app: App, config: DeploymentConfig, layers: Layers) -> None:
    """Put the stack into `app`; its synthesis then fails on what AWS Solutions' rules forbid and nobody explained."""
    RekindleStack(app, config=config, layers=layers)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def main() -> None:
    """Write the cloud assembly."""
    app = App()
    try:
        config = DeploymentConfig.from_context(app.node.get_all_context())
        assemble(app, config, stage(config.architecture))
    except (BuildError, ConfigError) as error:
        raise SystemExit(f"rekindle: {error}") from error
    app.synth()


if __name__ == "__main__":
    main()
