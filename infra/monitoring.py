"""What tells the operator that the flow is broken: alarms on it, and a dashboard."""

# jsii names some parameters unlike the interfaces it implements (aws/jsii#4541).
# pyright: reportArgumentType=false

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from constructs import Construct

from infra.alerts import Alerts
from infra.config import DeploymentConfig
from infra.function import METRICS_NAMESPACE, EngagementFunction


class Monitoring(Construct):
    """Alarms on the flow as a whole; each function has its own on errors.

    One metric and a fixed threshold each: composite and metric-math alarms are refused by the local AWS.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        alerts: Alerts,
        api_stage: apigatewayv2.HttpStage,
        functions: Sequence[EngagementFunction],
        config: DeploymentConfig,
    ) -> None:
        super().__init__(scope, construct_id)
        named = {function.name: function.function for function in functions}
        self._topic = alerts.topic
        self._alarms: list[cloudwatch.IAlarm] = []

        self._alarm(
            "DeadLetters",
            alerts.dead_letters.metric_approximate_number_of_messages_visible(period=Duration.minutes(5)),
            threshold=1,
            meaning="An event could not be handled and waits in the dead-letter queue.",
        )
        self._alarm(
            "StreamDelay",
            named["pattern_updater"].metric("IteratorAge", statistic="Maximum", period=Duration.minutes(5)),
            threshold=15 * 60 * 1000,
            periods=2,
            meaning="Patterns lag behind interactions by more than 15 minutes.",
        )
        self._alarm(
            "WebhookFailures",
            api_stage.metric_server_error(period=Duration.minutes(5), statistic="Sum"),
            threshold=5,
            periods=2,
            meaning="Telegram is told to try again later: DynamoDB is in trouble or the webhook fails.",
        )
        for metric, service, statistic, threshold, meaning in (
            ("OutreachUnknown", "outreach_sender", "Sum", 5, "Five sends in an hour whose outcome nobody knows."),
            ("TelegramThrottled", "outreach_sender", "Sum", 5, "Telegram asked for silence five times in an hour."),
            ("ModelFallback", "scorer", "Sum", 1, "The model could not be used; scores come from rules."),
            ("WebhookUnhealthy", "housekeeper", "Maximum", 1, "Telegram's webhook is not as we set it, or it fails."),
            ("PendingUpdates", "housekeeper", "Maximum", 1000, "Telegram holds updates that we do not take."),
        ):
            self._alarm(metric, _own(metric, service, statistic), threshold=threshold, meaning=meaning)
        self._alarm(
            "HandedToOperator",
            _own("HandedToOperator", "webhook", period=Duration.minutes(5)),
            threshold=1,
            meaning="Somebody wrote words of crisis, or answered support: `rekindle users waiting` says who.",
        )
        for metric, threshold, meaning in (
            ("ModelDegraded", 1, "The churn model ranks or calibrates worse than its card, beyond chance."),
            ("FeatureDrift", 0.2, "Users are not like those whom the churn model knows, beyond chance."),
            ("ModelAgeDays", 35, "For five weeks the trainer did not run, or found nothing better: see its log."),
        ):
            self._alarm(metric, _daily(metric), threshold=threshold, meaning=meaning)

        if config.ai_message_enhancement != "off" and config.ai_daily_budget:
            self._alarm(
                "LlmCalls",
                _own("LlmCalls", "outreach_sender", period=Duration.days(1)),
                threshold=config.ai_daily_budget,
                meaning="The day's calls of the language model are used up; messages go out as their templates are.",
            )

        dashboard = cloudwatch.Dashboard(self, "Dashboard")
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=self._alarms, width=24))
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="In and learned",
                width=12,
                left=[
                    _own("InteractionsStored", "webhook"),
                    _own("InteractionsFolded", "pattern_updater"),
                    _own("UsersScored", "scorer"),
                ],
            ),
            cloudwatch.GraphWidget(
                title="Out",
                width=12,
                left=[
                    _own("OutreachPlanned", "scorer"),
                    _own("OutreachSent", "outreach_sender"),
                    _own("OutreachSuppressed", "outreach_sender"),
                    _own("OutreachFailed", "outreach_sender"),
                ],
            ),
        )
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Held out, and answered of what was sent",
                width=12,
                left=[_own("OutreachHeldOut", "outreach_sender"), _own("OutreachAnswered", "pattern_updater")],
                right=[_own("ResponseRate", "housekeeper", "Average", Duration.days(1))],
            ),
            cloudwatch.GraphWidget(
                title="Awards and outcomes",
                width=12,
                left=[_own("MilestonesAwarded", "pattern_updater"), _own("OutreachSettled", "housekeeper")],
            ),
        )
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Models: ranking and calibration on last week's outcomes",
                width=12,
                left=[_daily("LiveChurnAuc"), _daily("LiveChurnEce")],
                right=[_daily("LabelsRipened")],
            ),
            cloudwatch.GraphWidget(
                title="Models: drift, age, and users at high risk",
                width=12,
                left=[_daily("FeatureDrift")],
                right=[_daily("ModelAgeDays"), _daily("ChurnHighRisk")],
            ),
        )
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Errors", width=12, left=[function.function.metric_errors() for function in functions]
            ),
            cloudwatch.GraphWidget(
                title="Duration, slowest of a hundred",
                width=12,
                left=[function.function.metric_duration(statistic="p99") for function in functions],
            ),
        )

    def _alarm(
        self, name: str, metric: cloudwatch.IMetric, *, threshold: float, meaning: str, periods: int = 1
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            alarm_description=meaning,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))
        self._alarms.append(alarm)


def _own(metric: str, service: str, statistic: str = "Sum", period: Duration | None = None) -> cloudwatch.Metric:
    """Return a metric that a function writes itself (engagement.telemetry), over an hour unless told otherwise."""
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=metric,
        dimensions_map={"service": service},
        statistic=statistic,
        period=period or Duration.hours(1),
    )


def _daily(metric: str) -> cloudwatch.Metric:
    """Return a metric that the housekeeper writes once a day."""
    return _own(metric, "housekeeper", "Maximum", Duration.days(1))
