"""After a deployment: applies what the local AWS drops of a template, and turns off what it plays wrongly.

Dropped without a word (measured on ministack 1.5.33): a table's time to live and point-in-time recovery, a function's
reserved concurrency. Played wrongly: streams (`infra.local.stream` takes their place) and schedules, which fire in real
time and hand the words "<aws.scheduler.scheduled-time>" to the function (`infra.local.scheduler` takes theirs).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.deployment import Deployment, client
from infra.local.stream import MappingSettings

TABLES = frozenset({"AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"})


def apply(deployment: Deployment, endpoint: str) -> list[str]:
    """Make the deployed resources what the template says; returns what was done, one line each."""
    done = []
    tables, functions = client("dynamodb", endpoint), client("lambda", endpoint)
    for kind, name, properties in _resources(deployment, endpoint):
        if kind in TABLES:
            done += _fix_table(tables, name, properties)
        elif kind == "AWS::Lambda::Function" and "ReservedConcurrentExecutions" in properties:
            reserved = properties["ReservedConcurrentExecutions"]
            functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
            done.append(f"{name}: {reserved} reserved copies")
    return done


def take_over_streams(endpoint: str) -> list[MappingSettings]:
    """Turn the local AWS's own reading of streams off; returns what the mappings ask for.

    Raises:
        LocalAwsError: a mapping asks for something that is not played here.
    """
    functions = client("lambda", endpoint)
    pages = functions.get_paginator("list_event_source_mappings").paginate()
    described = [m for page in pages for m in page["EventSourceMappings"] if ":dynamodb:" in m["EventSourceArn"]]
    for mapping in described:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    return [MappingSettings.from_api(mapping) for mapping in described]


def take_over_schedules(endpoint: str) -> list[dict[str, Any]]:
    """Turn the local AWS's own schedules off; returns them as they were deployed (Scheduler's GetSchedule)."""
    schedules = client("scheduler", endpoint)
    deployed = []
    for page in schedules.get_paginator("list_schedules").paginate():
        for summary in page["Schedules"]:
            schedule = schedules.get_schedule(Name=summary["Name"], GroupName=summary["GroupName"])
            kept = ("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow")
            settings = {key: schedule[key] for key in (*kept, "Target") if key in schedule}
            deployed.append({**settings, "State": schedule.get("State", "ENABLED"), "Arn": schedule["Arn"]})
            schedules.update_schedule(**settings, State="DISABLED")
    return deployed


def _fix_table(tables: Any, name: str, properties: Mapping[str, Any]) -> Iterator[str]:
    time_to_live = properties.get("TimeToLiveSpecification", {})
    if time_to_live.get("Enabled"):
        status = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
        if status == "DISABLED":
            tables.update_time_to_live(TableName=name, TimeToLiveSpecification=time_to_live)
        yield f"{name}: time to live in {time_to_live['AttributeName']}"
    # A TableV2 says it for each replica.
    replica = next(iter(properties.get("Replicas", [])), {})
    recovery = properties.get("PointInTimeRecoverySpecification") or replica.get("PointInTimeRecoverySpecification", {})
    if recovery.get("PointInTimeRecoveryEnabled"):
        tables.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        yield f"{name}: point-in-time recovery"


def _resources(deployment: Deployment, endpoint: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield type, physical name and properties of each resource."""
    stacks = client("cloudformation", endpoint)
    pages = stacks.get_paginator("list_stack_resources").paginate(StackName=deployment.stack_name)
    physical = {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in pages for r in p["StackResourceSummaries"]}
    for logical, resource in deployment.template["Resources"].items():
        if logical in physical:
            yield resource["Type"], physical[logical], resource.get("Properties", {})
