"""Logger and metrics, one of each per running copy; service and namespace come from POWERTOOLS_* variables.

Nothing here logs an event: an update holds the user's words and the header holds the secret.
"""

import logging
import warnings
from collections.abc import Mapping

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()

# At DEBUG these log whole requests and answers: users' words, secrets from SSM, the token in a path.
for _library in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_library).setLevel(logging.INFO)
# An invocation in which nothing happened has nothing to publish; see `count`.
warnings.filterwarnings("ignore", message="No application metrics to publish")


def measure(values: Mapping[str, float | None]) -> None:
    """Add what was measured to the invocation's metrics, noughts too; None is left out."""
    for name, value in values.items():
        if value is not None:
            metrics.add_metric(name, MetricUnit.NoUnit, value)


def count(counts: Mapping[str, int]) -> None:
    """Add what was counted to the invocation's metrics, and leave noughts out.

    CloudWatch bills a metric for each hour in which it is seen at all: a sender with nothing to do would cost as much
    as a busy one.
    """
    for name, value in counts.items():
        if value:
            metrics.add_metric(name, MetricUnit.Count, value)
