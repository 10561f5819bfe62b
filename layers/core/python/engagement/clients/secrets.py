"""Secrets from SSM by parameter name: read at first use, believed for five minutes, never in the environment."""

import time
from functools import cache

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config
from botocore.exceptions import ClientError

from engagement.errors import SecretUnavailableError

MAX_AGE_SECONDS = 300
"""How long an answer is believed, also "there is none": a rotation takes at least this long to be known everywhere."""

CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 3, "mode": "standard"})

_absent_until: dict[str, float] = {}


@cache
def _provider() -> SSMProvider:
    return SSMProvider(boto_config=CLIENT_CONFIG)


def read_secret(parameter_name: str, *, missing_ok: bool = False) -> str:
    """Return the decrypted value of an SSM parameter, at most `MAX_AGE_SECONDS` old.

    White space around it is dropped: none of our secrets has any, and a file pasted into a parameter ends in a newline.

    Args:
        parameter_name: the parameter's full name, `/rekindle/<stage>/...`.
        missing_ok: answer "" for a parameter that does not exist.

    Raises:
        SecretUnavailableError: it does not exist, or SSM cannot be read; the message names the parameter only.
    """
    if missing_ok and time.monotonic() < _absent_until.get(parameter_name, 0.0):
        return ""
    try:
        value = _provider().get(parameter_name, max_age=MAX_AGE_SECONDS, decrypt=True)
    except GetParameterError as error:
        absent = _is_absent(error)
    else:
        return str(value or "").strip()
    if absent and missing_ok:
        # Remembered, or a webhook without a rotation under way would ask SSM again for every update.
        _absent_until[parameter_name] = time.monotonic() + MAX_AGE_SECONDS
        return ""
    # Raised outside the `except`, so that no part of SSM's answer travels along as its context.
    raise SecretUnavailableError(f"SSM parameter {parameter_name} {'does not exist' if absent else 'cannot be read'}")


def forget() -> None:
    """Drop every cached answer and the client, as a cold start does."""
    _provider.cache_clear()
    _absent_until.clear()


def _is_absent(error: GetParameterError) -> bool:
    cause = error.__context__  # Powertools keeps only the text of the cause, but Python keeps the cause
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ParameterNotFound"
