"""What an operator's command works on: the running local suite, or a stack in the AWS account of the caller."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.config import LOCAL_STAGE, PRODUCTION_STAGE
from infra.local.deployment import client as local_client
from infra.local.emulator import LocalAwsError, environment
from infra.local.suite import SuiteState, function_name, invoke

INVOKE_SECONDS = 900


class NoTargetError(Exception):
    """There is nothing to work on; the message says what to do next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One deployment.

    Attributes:
        outputs: of its stack.
        client: makes a boto3 client of a service.
        variables: to be put into the environment before the table is used.
    """

    outputs: Mapping[str, str]
    client: Callable[..., Any]
    variables: Mapping[str, str]

    @classmethod
    def of(cls, stage: str | None) -> Self:
        """Return the deployment of a stage; without one, the running local suite.

        A command never reaches out to an AWS account because a local suite happened not to run.

        Raises:
            NoTargetError: nothing runs locally, or there is no such stack.
        """
        if stage in {None, "", LOCAL_STAGE}:
            running = SuiteState.read()
            if running is None:
                raise NoTargetError(
                    f"no local suite is running: start one with `rekindle local up`, "
                    f"or name a deployment: `--stage {PRODUCTION_STAGE}`"
                )
            endpoint = running.endpoint
            return cls(
                outputs=running.outputs,
                client=lambda service, **options: local_client(service, endpoint, **options),
                variables=environment(endpoint),
            )
        name = "Rekindle" if stage == PRODUCTION_STAGE else f"Rekindle-{stage}"
        try:
            stacks = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                raise NoTargetError(f"there is no stack {name} here; deploy it with `make deploy`") from None
            raise
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        return cls(outputs=outputs, client=boto3.client, variables={})

    def invoke(self, function: str, event: object) -> Any:
        """Invoke a function and return its result.

        Raises:
            LocalAwsError: there is no such function, it failed, or Lambda refused.
        """
        # A retry by the client would be a second invocation.
        config = Config(read_timeout=INVOKE_SECONDS, retries={"total_max_attempts": 1})
        return invoke(self.client("lambda", config=config), function, function_name(self.outputs, function), event)

    def settings(self, function: str) -> dict[str, str]:
        """Return what a function finds in its environment.

        Raises:
            LocalAwsError: there is no such function.
        """
        described = self.client("lambda").get_function_configuration(FunctionName=function_name(self.outputs, function))
        variables: dict[str, str] = described.get("Environment", {}).get("Variables", {})
        return variables

    def bind_table(self) -> None:
        """Point the store at the deployment's table."""
        from engagement.store.table import SCAN_SECONDS, bind

        os.environ.update(self.variables)
        bind(self.outputs["TableName"], read_seconds=SCAN_SECONDS)


def read_event(text: str) -> Any:
    """Read an event.

    Raises:
        LocalAwsError: it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise LocalAwsError(f"the event is not JSON: {error}") from None
