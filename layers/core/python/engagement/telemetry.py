"""Logger and metrics, one of each per running copy; service and namespace come from POWERTOOLS_* variables.

Nothing here logs an event: an update holds the user's words and the header holds the secret.
"""

import logging

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()

# At DEBUG these log whole requests and answers: users' words, secrets from SSM, the token in a path.
for _library in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_library).setLevel(logging.INFO)
