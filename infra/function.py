"""One Lambda function as all of ours are: settings as environment, its own log group, one alarm, no permission at all.

What a function may do is written in `infra.stack` beside the arrow it permits. CDK's own grants do not reach its role:
they are wider than what the code calls.
"""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from engagement.settings import Settings
from infra import build
from infra.alerts import Alerts
from infra.config import DeploymentConfig
from infra.storage import Storage

RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    5: logs.RetentionDays.FIVE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
}
METRICS_NAMESPACE = "Rekindle"
RUNTIME = lambda_.Runtime.PYTHON_3_13


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every function is given.

    Attributes:
        storage: the table, its key and the bucket of models.
        alerts: where failures go.
        core: the layer with our package and what it imports.
        inference: the layer with onnxruntime, for functions that run models.
        training: the layer with onnxruntime and scikit-learn, for the function that trains them.
    """

    config: DeploymentConfig
    storage: Storage
    alerts: Alerts
    core: lambda_.LayerVersion
    inference: lambda_.LayerVersion
    training: lambda_.LayerVersion


class EngagementFunction(Construct):
    """The function of the folder `functions/<name>`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        settings: Settings,
        surroundings: Surroundings,
        timeout: Duration,
        memory_size: int = 512,
        reserved_concurrency: int | None = None,
        models: Sequence[str] = (),
        layers: Sequence[lambda_.LayerVersion] = (),
    ) -> None:
        """Define it.

        Args:
            scope: the stage of the flow it belongs to.
            construct_id: the agent noun in PascalCase.
            name: its folder.
            settings: becomes the environment.
            surroundings: what every function is given.
            timeout: after which Lambda kills it.
            memory_size: MiB; 512 buys the CPU for a short cold start, memory itself is not the limit.
            reserved_concurrency: running copies kept for it, and at most; left out when the operator turned it off.
            models: folders under `models/` that it carries.
            layers: beside the core layer.
        """
        super().__init__(scope, construct_id)
        config = surroundings.config
        self.name = name
        self._models = surroundings.storage.models
        self.log_group = logs.LogGroup(
            self, "Logs", retention=RETENTION[config.log_retention_days], removal_policy=RemovalPolicy.DESTROY
        )
        self._role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=RUNTIME,
            architecture=architecture(config),
            handler=f"functions.{name}.handler.handler",
            code=lambda_.Code.from_asset(str(build.stage_function(name, models))),
            layers=[surroundings.core, *layers],
            environment=settings.to_env()
            | {
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": "INFO",
            },
            role=self._role.without_policy_updates(),
            timeout=timeout,
            memory_size=memory_size,
            reserved_concurrent_executions=reserved_concurrency if config.reserve_concurrency == "on" else None,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            # X-Ray would need a permission on every resource, and its HTTP spans would hold the bot's token.
            tracing=lambda_.Tracing.DISABLED,
        )
        Validations.of(self.function).acknowledge(
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-L1",
                reason="The pinned wheels, the layers' bytecode and the tests are Python 3.13.",
            )
        )
        self.allow("logs:CreateLogStream", "logs:PutLogEvents", on=self.log_group.log_group_arn)
        self.allow("kms:Decrypt", on=surroundings.storage.key.key_arn)
        self.function.metric_errors(period=Duration.minutes(5)).create_alarm(
            self,
            "Errors",
            alarm_description=f"{name} raised or timed out: see its log group.",
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        ).add_alarm_action(actions.SnsAction(surroundings.alerts.topic))

    def allow(self, *exact_actions: str, on: str) -> None:
        """Permit exactly these actions on exactly this ARN."""
        self._role.add_to_policy(iam.PolicyStatement(actions=list(exact_actions), resources=[on]))

    def allow_secret(self, parameter: str) -> None:
        """Permit reading one SSM parameter; its name begins with a slash."""
        arn = Stack.of(self).format_arn(service="ssm", resource="parameter", resource_name=parameter.removeprefix("/"))
        self.allow("ssm:GetParameter", on=arn)

    def allow_models(self, *exact_actions: str) -> None:
        """Permit these actions on the bucket's models: a model's key holds its version, so it cannot be named here."""
        # Without the listing, an object that is not there reads as forbidden.
        self.allow("s3:ListBucket", on=self._models.bucket_arn)
        self.allow(*exact_actions, on=self._models.arn_for_objects("models/*"))
        bucket = Stack.of(self).resolve(self._models.bucket_arn)["Fn::GetAtt"][0]
        Validations.of(self._role).acknowledge(
            Acknowledgment(
                id=f"AwsSolutions::AwsSolutions-IAM5[Resource::<{bucket}.Arn>/models/*]",
                reason="A model's key holds its version; the bucket holds nothing but models.",
            )
        )


def layer(scope: Construct, construct_id: str, folder: Path, config: DeploymentConfig) -> lambda_.LayerVersion:
    """Define a layer from a staged folder."""
    return lambda_.LayerVersion(
        scope,
        construct_id,
        code=lambda_.Code.from_asset(str(folder)),
        compatible_runtimes=[RUNTIME],
        compatible_architectures=[architecture(config)],
    )


def architecture(config: DeploymentConfig) -> lambda_.Architecture:
    """Return what layers and functions are built for."""
    return lambda_.Architecture.ARM_64 if config.architecture == "arm64" else lambda_.Architecture.X86_64
