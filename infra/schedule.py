"""EventBridge Scheduler -> function: ticks that say what time they stand for, and never pile up."""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

from aws_cdk import Duration, Stack, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.function import EngagementFunction, Surroundings

ATTEMPTS = 2
WEEK = Duration.days(7)
MAX_EVENT_AGE = Duration.hours(6)
"""Lambda keeps an event no longer."""


class Schedule(Construct):
    """One schedule for each shard of a function's work.

    A tick that could not be delivered within its interval is worth nothing: the next one reads the same due items.
    The defaults would retry it for a day (Scheduler) and again for six hours (Lambda).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        function: EngagementFunction,
        every: Duration,
        surroundings: Surroundings,
        shards: int = 1,
    ) -> None:
        super().__init__(scope, construct_id)
        give_up_after = Duration.seconds(min(every.to_seconds() - 60, MAX_EVENT_AGE.to_seconds()))
        function.function.configure_async_invoke(
            max_event_age=give_up_after,
            retry_attempts=0,
            on_failure=destinations.SqsDestination(surroundings.alerts.dead_letters),
        )
        function.allow("sqs:SendMessage", on=surroundings.alerts.dead_letters.queue_arn)

        stack = Stack.of(self)
        group_arn = stack.format_arn(service="scheduler", resource="schedule-group", resource_name="default")
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": stack.account, "aws:SourceArn": group_arn}},
            ),
        )
        for action, arn in (
            ("lambda:InvokeFunction", function.function.function_arn),
            ("sqs:SendMessage", surroundings.alerts.dead_letters.queue_arn),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=[action], resources=[arn]))
        for shard in range(shards):
            schedule = scheduler.Schedule(
                self,
                f"Shard{shard}",
                description=f"{function.name}, share {shard + 1} of {shards}",
                schedule=scheduler.ScheduleExpression.cron(
                    **_cron(every), time_zone=TimeZone.of(surroundings.config.schedule_timezone)
                ),
                target=targets.LambdaInvoke(
                    function.function,
                    input=scheduler.ScheduleTargetInput.from_object(
                        {"scheduled_time": scheduler.ContextAttribute.scheduled_time, "shard": shard, "of": shards}
                    ),
                    max_event_age=give_up_after,
                    retry_attempts=ATTEMPTS,
                    dead_letter_queue=surroundings.alerts.dead_letters,
                    # CDK would also permit every version and alias of the function.
                    role=role.without_policy_updates(),
                ),
            )
            # Scheduler checks at creation that the role may invoke.
            schedule.node.add_dependency(role.node.find_child("DefaultPolicy").node.find_child("Resource"))


def _cron(every: Duration) -> dict[str, str]:
    """Return cron fields for a week, or an interval that divides the hour: it keeps its time whenever it is deployed.

    A week's tick comes on Monday at four, when few write. A weekday is spelled: Scheduler counts from Sunday.
    """
    minutes = int(every.to_minutes())
    if minutes == WEEK.to_minutes():
        return {"minute": "0", "hour": "4", "week_day": "MON", "month": "*", "year": "*"}
    if minutes > 60 or 60 % minutes:
        raise ValueError(f"{minutes} minutes do not divide an hour")
    return {"minute": "0" if minutes == 60 else f"*/{minutes}", "hour": "*", "day": "*", "month": "*", "year": "*"}
