"""The template: what AWS is asked for, and what it is not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engagement import settings
from engagement.store import keys
from engagement.store.histories import READ_UNITS_PER_SECOND
from engagement.store.table import Item
from infra.config import WEBHOOK_MAX_CONNECTIONS

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "webhook": settings.WebhookSettings,
    "pattern_updater": settings.PatternUpdaterSettings,
    "scorer": settings.ScorerSettings,
    "outreach_sender": settings.OutreachSenderSettings,
    "housekeeper": settings.HousekeeperSettings,
    "trainer": settings.TrainerSettings,
}
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}
EVERY = {
    "scorer": timedelta(minutes=30),
    "outreach_sender": timedelta(minutes=5),
    "housekeeper": timedelta(hours=1),
    "trainer": timedelta(weeks=1),
}
LONGEST_EVENT_AGE = {"lambda": timedelta(hours=6), "scheduler": timedelta(hours=24)}
"""What AWS takes (docs.aws.amazon.com: PutFunctionEventInvokeConfig, RetryPolicy)."""
ALL = {"logs:CreateLogStream", "logs:PutLogEvents", "kms:Decrypt"}
# What the code calls, per function: facts.md section 4. A new call fails here first.
MAY = {
    "webhook": ALL
    | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"}
    | {"dynamodb:Query", "ssm:GetParameter"},
    "pattern_updater": ALL
    | {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
    | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"}
    | {"dynamodb:Query", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "sqs:SendMessage"},
    "scorer": ALL
    | {"dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    | {"s3:GetObject", "s3:ListBucket", "sqs:SendMessage"},
    "outreach_sender": ALL
    | {"dynamodb:Query", "dynamodb:GetItem", "dynamodb:UpdateItem", "ssm:GetParameter", "sqs:SendMessage"}
    | {"s3:GetObject", "s3:ListBucket"},
    "housekeeper": ALL
    | {"dynamodb:Query", "dynamodb:GetItem", "dynamodb:UpdateItem", "ssm:GetParameter", "sqs:SendMessage"}
    | {"dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"}
    | {"s3:GetObject", "s3:ListBucket"},
}

MAY["trainer"] = ALL | {"dynamodb:Scan", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "sqs:SendMessage"}

# A bot's token, and what an AWS access key looks like.
SECRET = re.compile(r"\d{6,}:[A-Za-z0-9_-]{35}|AKIA[A-Z0-9]{16}")

PHYSICAL_NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Scheduler::Schedule": "Name",
}


@pytest.fixture(scope="module")
def local(synthesize: Callable[..., Any]) -> Any:
    """The stack as the local AWS gets it."""
    return synthesize(stage="local", architecture="x86_64", virtual_clock="on", telegram_api_url="http://127.0.0.1:9")


@pytest.fixture(scope="module")
def chosen(synthesize: Callable[..., Any]) -> Any:
    """The stack of an operator who chose everything otherwise."""
    return synthesize(
        consent_policy="assume",
        store_text="on",
        interaction_ttl_days=90,
        flood_limit_per_minute=7,
        churn_threshold=0.9,
        checkin_threshold=0.5,
        max_outreaches_per_user_per_day=2,
        min_hours_between_outreaches=6,
        quiet_hours="23-7",
        rollout="100,mood_support=20",
        daily_budget=1_000,
        experiment="spring-2027",
        control_percent=5,
        type_control="20",
        template_choice="fixed",
        ai_message_enhancement="openai",
        ai_model="some-model",
        ai_daily_budget=7,
        ai_api_url="https://llm.example",
        sends_per_second=10,
        outreach_enabled="off",
        ml_prediction_enabled="off",
        telegram_api_url="https://bots.example",
        log_retention_days=7,
        score_shards=3,
        training_enabled="off",
        min_training_samples=50,
        schedule_timezone="Asia/Kolkata",
        alarm_email="ops@example.com",
        reserve_concurrency="off",
        mood_support="answered",
        helplines="en=Samaritans 116 123|de=Telefonseelsorge 0800 1110111",
        operator_chat_id=321,
        features="habits,/reminders",
        sensitive_basis="operator",
        user_ttl_days=200,
        blocked_user_ttl_days=20,
    )


def test_what_the_operator_chose_reaches_those_who_need_it(chosen: Any) -> None:
    """R98, R101-R103: the webhook shows and keeps by it, the sender writes by it, the housekeeper ends by it."""
    of = {name: function["Environment"]["Variables"] for name, function in chosen.functions().items()}

    assert of["webhook"]["OPERATOR_CHAT_ID"] == "321"
    assert of["webhook"]["SENSITIVE_BASIS"] == "operator"
    assert {"mood_support", "feature_suggestion"} <= set(of["webhook"]["OUTREACH_TYPES"].split(","))
    assert of["outreach_sender"]["HELPLINES"].startswith("en=Samaritans 116 123|")
    for name in ("pattern_updater", "scorer", "outreach_sender"):
        assert (of[name]["MOOD_SUPPORT"], of[name]["FEATURES"]) == ("answered", "habits,/reminders")
    for name in ("webhook", "housekeeper"):
        assert (of[name]["USER_TTL_DAYS"], of[name]["BLOCKED_USER_TTL_DAYS"]) == ("200", "20")


# -- the stream


def test_the_stream_is_read_from_its_beginning_and_gives_up_on_poison(stack: Any) -> None:
    """R80: Lambda's defaults would retry a poison record for a day, with all that stands behind it."""
    mapping = stack.only("AWS::Lambda::EventSourceMapping")

    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] <= 100
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] < timedelta(hours=24).total_seconds()
    assert mapping["ParallelizationFactor"] == 1
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == queue_arn(stack)


def test_the_stream_brings_new_interactions_and_nothing_else(stack: Any) -> None:
    """R80, R25: expiries and what the functions write themselves never reach the pattern updater."""
    (pattern,) = stack.only("AWS::Lambda::EventSourceMapping")["FilterCriteria"]["Filters"]

    assert json.loads(pattern["Pattern"]) == {
        "eventName": ["INSERT"],
        "dynamodb": {"Keys": {"sk": {"S": [{"prefix": keys.INTERACTION_PREFIX}]}}},
    }
    assert stack.only("AWS::DynamoDB::Table")["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


# -- the schedules


@pytest.mark.parametrize("name", EVERY)
def test_a_tick_is_given_up_before_the_next_one(stack: Any, name: str) -> None:
    """R81: the defaults retry a tick for a day and queue it for six hours; ticks would pile up."""
    (schedule,) = schedules(stack, name)
    invocation = async_invocation(stack, name)

    retry = schedule["Target"]["RetryPolicy"]
    assert retry["MaximumEventAgeInSeconds"] < EVERY[name].total_seconds()
    assert retry["MaximumRetryAttempts"] <= 2
    assert schedule["Target"]["DeadLetterConfig"]["Arn"] == queue_arn(stack)
    assert invocation["MaximumEventAgeInSeconds"] < EVERY[name].total_seconds()
    assert invocation["MaximumRetryAttempts"] == 0
    assert retry["MaximumEventAgeInSeconds"] <= LONGEST_EVENT_AGE["scheduler"].total_seconds()
    assert invocation["MaximumEventAgeInSeconds"] <= LONGEST_EVENT_AGE["lambda"].total_seconds()
    assert invocation["DestinationConfig"]["OnFailure"]["Destination"] == queue_arn(stack)


def test_a_tick_says_what_time_it_stands_for(stack: Any) -> None:
    """R81: functions know no clock but the tick's."""
    for name in EVERY:
        (schedule,) = schedules(stack, name)
        assert json.loads(schedule["Target"]["Input"]) == {
            "scheduled_time": "<aws.scheduler.scheduled-time>",
            "shard": 0,
            "of": 1,
        }


def test_schedules_run_at_their_interval(stack: Any) -> None:
    """R81: cron's fields, spelled; a weekday, where one is used, is a name (1 is Sunday here and Monday elsewhere)."""
    expressions = {name: schedules(stack, name)[0]["ScheduleExpression"] for name in EVERY}

    assert expressions == {
        "scorer": "cron(*/30 * * * ? *)",
        "outreach_sender": "cron(*/5 * * * ? *)",
        "housekeeper": "cron(0 * * * ? *)",
        "trainer": "cron(0 4 ? * MON *)",
    }
    for expression in expressions.values():
        assert not re.search(r"\d", expression.split()[4])


def test_the_trainer_can_be_left_to_the_operator(chosen: Any) -> None:
    """Without its schedule it is still there to be invoked, and nothing else invokes it."""
    assert "trainer" in chosen.functions()
    assert schedules(chosen, "trainer") == []


def test_the_trainer_has_a_whole_processor_and_all_the_time_there_is(stack: Any) -> None:
    """R77: 1,769 MB are one processor (docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
    trainer = stack.functions()["trainer"]

    assert trainer["MemorySize"] >= 1_769
    assert trainer["Timeout"] == timedelta(minutes=15).total_seconds()
    assert "ReservedConcurrentExecutions" not in trainer


def test_training_leaves_reads_for_the_flow(stack: Any) -> None:
    """R84: a Scan at full speed would use up the table's ceiling, and the webhook would be throttled."""
    ceiling = stack.only("AWS::DynamoDB::Table")["OnDemandThroughput"]["MaxReadRequestUnits"]

    assert ceiling / 2 >= READ_UNITS_PER_SECOND


def test_scorers_share_the_users_in_the_operators_zone(chosen: Any) -> None:
    """One schedule per share; every share is named once, in an IANA zone."""
    inputs = [json.loads(schedule["Target"]["Input"]) for schedule in schedules(chosen, "scorer")]

    assert sorted((tick["shard"], tick["of"]) for tick in inputs) == [(0, 3), (1, 3), (2, 3)]
    assert {s["ScheduleExpressionTimezone"] for s in chosen.of_type("AWS::Scheduler::Schedule").values()} == {
        "Asia/Kolkata"
    }


def test_every_asynchronous_source_has_a_failure_destination(stack: Any) -> None:
    """R81: nothing that could not be handled is lost in silence."""
    for mapping in stack.of_type("AWS::Lambda::EventSourceMapping").values():
        assert mapping["DestinationConfig"]["OnFailure"]["Destination"]
    scheduled = set()
    for schedule in stack.of_type("AWS::Scheduler::Schedule").values():
        assert schedule["Target"]["DeadLetterConfig"]["Arn"]
        scheduled.add(schedule["Target"]["Arn"]["Fn::GetAtt"][0])
    invocations = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert scheduled == {invocation["FunctionName"]["Ref"] for invocation in invocations}
    assert len(scheduled) == len(EVERY)


# -- concurrency


def test_the_hook_takes_what_telegram_may_send_at_once(stack: Any) -> None:
    """R82: fewer copies than connections, and Telegram meets 429s."""
    assert stack.functions()["webhook"]["ReservedConcurrentExecutions"] >= WEBHOOK_MAX_CONNECTIONS


def test_one_sender_runs_and_its_claims_outlive_it(stack: Any) -> None:
    """R82: a claim that ends before its function would let another send the same message."""
    sender = stack.functions()["outreach_sender"]

    assert sender["ReservedConcurrentExecutions"] == 1
    assert int(sender["Environment"]["Variables"]["LEASE_SECONDS"]) >= sender["Timeout"] + 30
    assert sender["Timeout"] < EVERY["outreach_sender"].total_seconds()


def test_reservations_can_be_left_out_for_a_new_account(chosen: Any) -> None:
    """R82: a new account's limit is ten, of which nothing can be reserved; conditions, not copies, keep the rules."""
    assert all("ReservedConcurrentExecutions" not in f for f in chosen.functions().values())


def test_reservations_are_few(stack: Any) -> None:
    """R82: what is reserved is taken from every other function of the account."""
    reserved = [f.get("ReservedConcurrentExecutions", 0) for f in stack.functions().values()]

    assert sum(reserved) <= 20


# -- permissions


def test_no_permission_holds_a_wildcard(stack: Any) -> None:
    """R83: no star in an action; none in a resource but the models' prefix (a key's policy means itself by one)."""
    seen = 0
    for name, statement in allowing(stack):
        seen += 1
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        assert not [action for action in listed(statement["Action"]) if "*" in action], name
        starred = [text for text in literals(statement.get("Resource", [])) if "*" in text]
        if stack.template["Resources"][name]["Type"] == "AWS::KMS::Key":
            assert starred == ["*"]
        elif starred:
            assert set(listed(statement["Action"])) <= {"s3:GetObject", "s3:PutObject"}
            assert starred == ["/models/*"]
        assert "*" not in literals(statement.get("Principal", {})), name
    assert seen >= 30


def test_no_managed_policy_widens_a_role(stack: Any) -> None:
    """R83: what AWS manages, AWS may widen."""
    for role in stack.of_type("AWS::IAM::Role").values():
        assert not role.get("ManagedPolicyArns")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_may_do_what_its_code_calls(stack: Any, name: str) -> None:
    """R83: exactly the actions of the list, on the resources of the flow."""
    role = stack.functions()[name]["Role"]["Fn::GetAtt"][0]

    assert {action for statement in granted(stack, role) for action in listed(statement["Action"])} == MAY[name]
    queried = {
        list(literals(statement["Resource"]))[-1]
        for statement in granted(stack, role)
        if "dynamodb:Query" in listed(statement["Action"])
    }
    # The table itself is asked for the census, the counters, a user's outreach and the operator's definitions.
    due, itself = {f"/index/{keys.DUE_INDEX}"}, {"Arn"}
    both = dict.fromkeys(("scorer", "housekeeper", "outreach_sender"), due | itself)
    assert queried == {**both, "pattern_updater": itself, "webhook": itself}.get(name, set())


@pytest.mark.parametrize(
    ("provider", "action", "resource"),
    [
        ("bedrock", "bedrock:InvokeModel", "foundation-model/"),
        ("openai", "ssm:GetParameter", "parameter/rekindle/prod/ai-key"),
        ("anthropic", "ssm:GetParameter", "parameter/rekindle/prod/ai-key"),
    ],
)
def test_only_the_sender_may_ask_a_language_model_and_only_the_one_that_was_chosen(
    stack: Any, synthesize: Callable[..., Any], provider: str, action: str, resource: str
) -> None:
    """R83: off by default; then one model, or one key."""

    def asking(of: Any) -> dict[str, list[str]]:
        return {
            name: [
                text
                for statement in granted(of, function["Role"]["Fn::GetAtt"][0])
                if action in listed(statement["Action"])
                for text in literals(statement["Resource"])
                if resource in text
            ]
            for name, function in of.functions().items()
        }

    assert not any(asking(stack).values())
    enabled = asking(synthesize(ai_message_enhancement=provider))
    assert [name for name, found in enabled.items() if found] == ["outreach_sender"]
    assert not [text for found in enabled.values() for text in found if "*" in text]


def test_permissions_come_before_what_needs_them(stack: Any) -> None:
    """R83: AWS checks a role when a stream, a failure queue or a schedule is attached; it must not be empty then."""
    for resource in stack.template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            role = resource["Properties"]["Role"]["Fn::GetAtt"][0]
        elif resource["Type"] == "AWS::Scheduler::Schedule":
            role = resource["Properties"]["Target"]["RoleArn"]["Fn::GetAtt"][0]
        else:
            continue
        policies = stack.of_type("AWS::IAM::Policy")
        assert {name for name in resource["DependsOn"] if {"Ref": role} in policies.get(name, {}).get("Roles", [])}


def test_a_function_reads_its_own_secrets_only(stack: Any) -> None:
    """R83, R96: the webhook never sees the token, the sender never the webhook's secret; both sign buttons."""
    may_read = {
        name: {
            text
            for statement in granted(stack, f["Role"]["Fn::GetAtt"][0])
            if statement["Action"] == "ssm:GetParameter"
            for text in literals(statement["Resource"])
            if text.startswith(":parameter")
        }
        for name, f in stack.functions().items()
    }

    assert may_read == {
        "webhook": {
            ":parameter/rekindle/prod/webhook-secret",
            ":parameter/rekindle/prod/webhook-secret-previous",
            ":parameter/rekindle/prod/callback-key",
        },
        "pattern_updater": set(),
        "scorer": set(),
        "outreach_sender": {":parameter/rekindle/prod/bot-token", ":parameter/rekindle/prod/callback-key"},
        "housekeeper": {":parameter/rekindle/prod/bot-token"},
        "trainer": set(),
    }


def test_items_are_deleted_by_those_alone_who_erase(stack: Any) -> None:
    """R83, R99: the pattern updater, at once, and the housekeeper, once more; nobody else can delete anything."""
    deleting = {
        name
        for name, f in stack.functions().items()
        for statement in granted(stack, f["Role"]["Fn::GetAtt"][0])
        if {"dynamodb:DeleteItem", "dynamodb:BatchWriteItem"} & set(listed(statement["Action"]))
    }

    assert deleting == {"pattern_updater", "housekeeper"}


def test_models_are_written_by_the_trainer_alone(stack: Any) -> None:
    """R79, R83: what serves was trained, judged and promoted; nobody who serves it can change it."""
    writers = {
        name
        for name, f in stack.functions().items()
        for statement in granted(stack, f["Role"]["Fn::GetAtt"][0])
        if "s3:PutObject" in listed(statement["Action"])
    }

    assert writers == {"trainer"}


def test_a_schedule_may_invoke_its_function_and_no_other(stack: Any) -> None:
    """R83: not even the function's versions, which CDK's own grant would add; and no other account's schedule may."""
    for schedule in stack.of_type("AWS::Scheduler::Schedule").values():
        role = schedule["Target"]["RoleArn"]["Fn::GetAtt"][0]
        may = {statement["Action"]: statement["Resource"] for statement in granted(stack, role)}
        assert may == {"lambda:InvokeFunction": schedule["Target"]["Arn"], "sqs:SendMessage": queue_arn(stack)}
        (trust,) = stack.of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}


# -- data


def test_the_table_is_kept_safe(stack: Any) -> None:
    """R84: recovery, deletion protection, expiry, a key of its own, and a ceiling on cost; CDK's defaults have none."""
    table = stack.only("AWS::DynamoDB::Table")
    (index,) = table["GlobalSecondaryIndexes"]

    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_on", "Enabled": True}
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["SSESpecification"]["KMSMasterKeyId"]["Fn::GetAtt"][0] in stack.of_type("AWS::KMS::Key")
    assert stack.only("AWS::KMS::Key")["EnableKeyRotation"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    for throughput in (table["OnDemandThroughput"], index["OnDemandThroughput"]):
        assert 0 < throughput["MaxReadRequestUnits"] < 40_000
        assert 0 < throughput["MaxWriteRequestUnits"] < 40_000
    assert not stack.of_type("AWS::DynamoDB::GlobalTable")  # cdk-nag does not look at these


def test_the_table_is_the_one_the_code_knows(stack: Any) -> None:
    """R84: keys, index and expiry have the names of `engagement.store.table`."""
    table = stack.only("AWS::DynamoDB::Table")
    (index,) = table["GlobalSecondaryIndexes"]
    attributes = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}

    assert [key["AttributeName"] for key in table["KeySchema"]] == [Item.pk.attr_name, Item.sk.attr_name]
    assert index["IndexName"] == keys.DUE_INDEX
    assert [key["AttributeName"] for key in index["KeySchema"]] == [Item.due_shard.attr_name, Item.due_at.attr_name]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert attributes == {
        attribute.attr_name: attribute.attr_type for attribute in (Item.pk, Item.sk, Item.due_shard, Item.due_at)
    }
    assert table["TimeToLiveSpecification"]["AttributeName"] == Item.expires_on.attr_name


def test_the_bucket_is_private_encrypted_and_versioned(stack: Any) -> None:
    """R84, R79: a model that was replaced can be brought back; nobody outside reads or writes one."""
    bucket = stack.only("AWS::S3::Bucket")
    (denied,) = stack.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_data_outlives_the_stack_except_on_the_local_aws(stack: Any, local: Any) -> None:
    """R84: deleting the production stack deletes no user's data."""
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key"):
        (kept,) = (r for r in stack.template["Resources"].values() if r["Type"] == kind)
        (gone,) = (r for r in local.template["Resources"].values() if r["Type"] == kind)
        assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("Retain", "Retain")
        assert gone["DeletionPolicy"] == "Delete"
    assert local.only("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is False


def test_the_ids_of_table_key_and_bucket_never_move(stack: Any) -> None:
    """A new logical id would replace the data by an empty table."""
    assert list(stack.of_type("AWS::DynamoDB::Table")) == ["StorageTableB43FDCE7"]
    assert list(stack.of_type("AWS::S3::Bucket")) == ["StorageModels44005BB0"]
    assert list(stack.of_type("AWS::KMS::Key")) == ["StorageKeyBAA9457B"]


# -- logs and secrets


def test_every_log_has_an_end(stack: Any) -> None:
    """R85: retention on every group, and a group for every function."""
    groups = stack.of_type("AWS::Logs::LogGroup")
    written = {f["LoggingConfig"]["LogGroup"]["Ref"] for f in stack.functions().values()}
    access = stack.only("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["DestinationArn"]["Fn::GetAtt"][0]

    assert all(group["RetentionInDays"] == 30 for group in groups.values())
    assert written | {access} == set(groups)
    assert len(written) == len(SETTINGS)
    assert all(f["LoggingConfig"]["LogFormat"] == "JSON" for f in stack.functions().values())


def test_access_logs_hold_no_secret(stack: Any) -> None:
    """R85: the secret is a header; neither headers nor bodies are logged."""
    logged = json.loads(stack.only("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["Format"])

    assert set(logged.values()) == {
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationErrorMessage",
    }


def test_the_template_holds_no_secret(stack: Any) -> None:
    """R85: secrets are named, never written; nor do the environments hold any."""
    assert not SECRET.search(json.dumps(stack.template))
    assert SECRET.search("123456:" + "a" * 35)
    for f in stack.functions().values():
        for variable, value in f["Environment"]["Variables"].items():
            if re.search("SECRET|TOKEN|PASSWORD|KEY", variable):
                assert variable.endswith("_PARAMETER")
                assert value.startswith("/rekindle/prod/")


# -- functions


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_gets_its_settings_and_nothing_else(stack: Any, name: str) -> None:
    """Every field is set, reads back in its type, and nothing is set that no field reads."""
    variables = stack.functions()[name]["Environment"]["Variables"]
    environment = {k: v if isinstance(v, str) else "from-a-resource" for k, v in variables.items()}

    read = SETTINGS[name].from_env(environment)

    assert set(variables) == set(read.to_env()) | POWERTOOLS
    assert environment["POWERTOOLS_SERVICE_NAME"] == name
    assert environment["POWERTOOLS_METRICS_NAMESPACE"] == "Rekindle"


def test_the_stack_has_the_functions_of_the_folders(stack: Any) -> None:
    """A folder that is not deployed, or the other way round, is a mistake."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}

    assert set(stack.functions()) == folders == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_has_an_alarm_on_its_errors(stack: Any, name: str) -> None:
    """R87: somebody is told."""
    (alarm,) = (
        alarm
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "Errors" and alarm["Dimensions"][0]["Value"] == {"Ref": stack.logical_id(name)}
    )

    assert alarm["AlarmActions"] == [{"Ref": next(iter(stack.of_type("AWS::SNS::Topic")))}]
    assert alarm["TreatMissingData"] == "notBreaching"


def test_functions_are_arm64_unless_told_otherwise(stack: Any, local: Any) -> None:
    """Layers and functions always agree: wheels are compiled."""
    for assembly, architecture in ((stack, "arm64"), (local, "x86_64")):
        assert all(f["Architectures"] == [architecture] for f in assembly.functions().values())
        for layer in assembly.of_type("AWS::Lambda::LayerVersion").values():
            assert layer["CompatibleArchitectures"] == [architecture]
            assert layer["CompatibleRuntimes"] == ["python3.13"]
        assert all(f["Runtime"] == "python3.13" for f in assembly.functions().values())


def test_a_function_carries_no_layer_that_it_does_not_import(stack: Any) -> None:
    """70 MB that a webhook need not unpack at its cold start; scikit-learn is the trainer's alone."""
    layers = {
        name: {re.sub("[0-9A-F]{8}$", "", layer["Ref"]) for layer in f["Layers"]}
        for name, f in stack.functions().items()
    }

    assert {name: own - {"CoreLayer"} for name, own in layers.items() if own != {"CoreLayer"}} == {
        "scorer": {"InferenceLayer"},
        "outreach_sender": {"InferenceLayer"},
        "trainer": {"TrainingLayer"},
    }


# -- the front door


def test_one_throttled_route_is_open(stack: Any) -> None:
    """R13: a forged request costs little, and there is nothing else to find."""
    stage = stack.only("AWS::ApiGatewayV2::Stage")

    assert stack.only("AWS::ApiGatewayV2::Route")["RouteKey"] == "POST /telegram"
    assert 0 < stage["DefaultRouteSettings"]["ThrottlingRateLimit"] <= 1_000
    assert 0 < stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] <= 1_000
    assert stack.only("AWS::ApiGatewayV2::Integration")["PayloadFormatVersion"] == "2.0"
    assert not stack.of_type("AWS::Lambda::Url")


# -- alarms on the flow


def test_the_flow_is_watched(stack: Any) -> None:
    """R87: dead letters, stream delay, failures at the door, and what the functions count themselves."""
    alarms = {
        (alarm["Namespace"], alarm["MetricName"]): alarm
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] != "Errors"
    }

    assert set(alarms) == {
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/Lambda", "IteratorAge"),
        ("AWS/ApiGateway", "5xx"),
        ("Rekindle", "OutreachUnknown"),
        ("Rekindle", "HandedToOperator"),
        ("Rekindle", "TelegramThrottled"),
        ("Rekindle", "ModelFallback"),
        ("Rekindle", "WebhookUnhealthy"),
        ("Rekindle", "PendingUpdates"),
        ("Rekindle", "ModelDegraded"),
        ("Rekindle", "FeatureDrift"),
        ("Rekindle", "ModelAgeDays"),
    }
    for alarm in alarms.values():
        assert alarm["AlarmActions"]
        assert alarm["TreatMissingData"] == "notBreaching"
        if alarm["Namespace"] == "Rekindle":
            (dimension,) = alarm["Dimensions"]
            assert dimension["Name"] == "service"
            assert dimension["Value"] in SETTINGS


def test_a_language_models_spend_is_watched_where_there_is_one(stack: Any, chosen: Any) -> None:
    """R87: the day's budget is the ceiling; that it was reached is worth knowing."""

    def spend(of: Any) -> list[Any]:
        alarms = of.of_type("AWS::CloudWatch::Alarm").values()
        return [(a["Threshold"], a["Period"], a["Statistic"]) for a in alarms if a["MetricName"] == "LlmCalls"]

    assert spend(stack) == []
    assert spend(chosen) == [(7, timedelta(days=1).total_seconds(), "Sum")]


@pytest.mark.parametrize(("metric", "threshold"), [("ModelDegraded", 1), ("FeatureDrift", 0.2), ("ModelAgeDays", 35)])
def test_a_model_that_is_judged_once_a_day_stays_in_alarm_for_the_day(
    stack: Any, metric: str, threshold: float
) -> None:
    """R87: over an hour the alarm would be over before anybody looked."""
    (alarm,) = [a for a in stack.of_type("AWS::CloudWatch::Alarm").values() if a["MetricName"] == metric]

    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (threshold, "GreaterThanOrEqualToThreshold")
    assert timedelta(seconds=alarm["Period"] * alarm["EvaluationPeriods"]) == timedelta(days=1)
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "housekeeper"}]


def test_alarms_are_of_the_kind_the_local_aws_takes(stack: Any) -> None:
    """One template for both: no composite and no metric-math alarm, no custom resource."""
    types = {resource["Type"] for resource in stack.template["Resources"].values()}

    assert "AWS::CloudWatch::CompositeAlarm" not in types
    assert not [kind for kind in types if kind.startswith("Custom::") or "CustomResource" in kind]
    assert all("Metrics" not in alarm for alarm in stack.of_type("AWS::CloudWatch::Alarm").values())


def test_alarms_may_publish_to_a_topic_that_refuses_plain_http(stack: Any) -> None:
    """R87: the policy that asks for TLS replaces the one that would have let them."""
    allowed = [
        statement
        for statement in stack.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]

    assert [(s["Principal"], s["Action"]) for s in allowed] == [
        ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    ]


def test_an_address_is_told_only_when_given(stack: Any, chosen: Any) -> None:
    """The topic is there either way."""
    assert not stack.of_type("AWS::SNS::Subscription")
    assert chosen.only("AWS::SNS::Subscription")["Endpoint"] == "ops@example.com"


# -- the template as a whole


def test_nothing_has_a_physical_name(stack: Any) -> None:
    """A name blocks replacement, and makes two stages collide."""
    for kind, prop in PHYSICAL_NAMES.items():
        assert stack.of_type(kind), kind
        assert all(prop not in properties for properties in stack.of_type(kind).values()), kind


def test_the_outputs_are_what_the_command_line_reads(stack: Any) -> None:
    """The local suite and the operator's command find everything by these."""
    functions = {
        f"{name}FunctionName"
        for name in ("Webhook", "PatternUpdater", "Scorer", "OutreachSender", "Housekeeper", "Trainer")
    }

    assert set(stack.template["Outputs"]) == functions | {
        "WebhookUrl",
        "TableName",
        "ModelBucketName",
        "DeadLetterQueueUrl",
    }
    assert list(literals(stack.template["Outputs"]["WebhookUrl"]["Value"]))[-1] == "/telegram"
    housekeeper = stack.functions()["housekeeper"]["Environment"]["Variables"]
    assert housekeeper["WEBHOOK_URL"] == stack.template["Outputs"]["WebhookUrl"]["Value"]


def test_the_same_context_gives_the_same_template(stack: Any, synthesize: Callable[..., Any]) -> None:
    """`cdk diff` shows what changed, and nothing when nothing did."""
    assert synthesize(again=True).template == stack.template


def test_an_operators_choice_reaches_its_functions(chosen: Any) -> None:
    """Each context key ends in the environment of the functions that read it."""
    read = {
        name: SETTINGS[name].from_env(
            {k: v if isinstance(v, str) else "from-a-resource" for k, v in f["Environment"]["Variables"].items()}
        )
        for name, f in chosen.functions().items()
    }

    for function, field, value in (
        ("webhook", "bot_id", 123456),
        ("webhook", "consent_policy", "assume"),
        ("webhook", "store_text", "on"),
        ("webhook", "interaction_ttl_days", 90),
        ("webhook", "flood_limit_per_minute", 7),
        ("webhook", "ai_message_enhancement", "openai"),
        *(
            (function, field, value)
            for function in ("scorer", "pattern_updater", "outreach_sender")
            for field, value in {
                "consent_policy": "assume",
                "churn_threshold": 0.9,
                "checkin_threshold": 0.5,
                "max_outreaches_per_user_per_day": 2,
                "min_hours_between_outreaches": 6.0,
                "quiet_hours": "23-7",
                "rollout": "100,mood_support=20",
                "daily_budget": 1_000,
                "experiment": "spring-2027",
                "control_percent": 5.0,
                "type_control": "20",
                "outreach_enabled": "off",
                "ai_message_enhancement": "openai",
            }.items()
        ),
        ("scorer", "template_choice", "fixed"),
        ("scorer", "ml_prediction_enabled", "off"),
        ("outreach_sender", "sends_per_second", 10),
        ("outreach_sender", "ml_prediction_enabled", "off"),
        ("outreach_sender", "ai_model", "some-model"),
        ("outreach_sender", "ai_daily_budget", 7),
        ("outreach_sender", "ai_api_url", "https://llm.example"),
        ("trainer", "min_training_samples", 50),
        ("outreach_sender", "telegram_api_url", "https://bots.example"),
        ("housekeeper", "telegram_api_url", "https://bots.example"),
    ):
        assert getattr(read[function], field) == value, (function, field)
    assert {group["RetentionInDays"] for group in chosen.of_type("AWS::Logs::LogGroup").values()} == {7}


def test_cloudformations_linter_finds_nothing(stack: Any) -> None:
    """R86: no error and no warning, but the one that .cfnlintrc.yaml explains."""
    linter = Path(sys.executable).parent / "cfn-lint"
    result = subprocess.run(
        [linter, next(stack.folder.glob("*.template.json"))], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert result.stdout == ""
    assert result.returncode == 0


def test_every_finding_of_cdk_nag_is_explained(stack: Any) -> None:
    """R86: nothing is open, and what was acknowledged says why, and is all that was."""
    report = json.loads((stack.folder / "validation-report.json").read_text())
    (nag,) = (plugin for plugin in report["pluginReports"] if plugin["pluginName"] == "AwsSolutions")

    assert nag["conclusion"] == "success"
    assert nag["violations"] == []
    assert {finding["ruleName"].partition("[")[0] for finding in nag["suppressedViolations"]} == {
        "AwsSolutions-APIG4",
        "AwsSolutions-IAM5",
        "AwsSolutions-L1",
        "AwsSolutions-S1",
        "AwsSolutions-SQS3",
    }
    assert all(len(finding["reason"].split()) >= 5 for finding in nag["suppressedViolations"])


# -- reading the template


def schedules(stack: Any, function: str) -> list[dict[str, Any]]:
    """Return the schedules that invoke a function."""
    found = stack.of_type("AWS::Scheduler::Schedule").values()
    return [s for s in found if s["Target"]["Arn"]["Fn::GetAtt"][0] == stack.logical_id(function)]


def async_invocation(stack: Any, function: str) -> dict[str, Any]:
    """Return how Lambda treats a function's asynchronous events."""
    found = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    (config,) = (c for c in found if c["FunctionName"]["Ref"] == stack.logical_id(function))
    return config


def queue_arn(stack: Any) -> dict[str, Any]:
    """Return the reference to the one dead-letter queue."""
    (queue,) = stack.of_type("AWS::SQS::Queue")
    return {"Fn::GetAtt": [queue, "Arn"]}


def granted(stack: Any, role: str) -> list[dict[str, Any]]:
    """Return the statements of a role's policies."""
    return [
        statement
        for policy in stack.of_type("AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def allowing(stack: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every Allow statement of the template with the logical id of its resource."""
    for name, resource in stack.template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [properties.get(key) for key in ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument")]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for document in filter(None, documents):
            for statement in document["Statement"]:
                if statement["Effect"] == "Allow":
                    yield name, statement


def listed(value: Any) -> list[Any]:
    """Return one or many as a list."""
    return value if isinstance(value, list) else [value]


def literals(value: Any) -> Iterator[str]:
    """Yield every text inside a CloudFormation value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from literals(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from literals(inner)
