"""Logger and metrics, one of each per running copy; service and namespace come from POWERTOOLS_* variables.

Nothing here logs an event: an update holds the user's words and the header holds the secret.
"""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
