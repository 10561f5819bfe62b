"""The deployed schedules on the local AWS: in real time for `rekindle local up`, or at any virtual time.

The local AWS ignores a schedule's zone and hands "<aws.scheduler.scheduled-time>" to the function as it stands; here
both are as on AWS (docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html).
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.emulator import LocalAwsError

logger = logging.getLogger(__name__)

MINUTE = timedelta(minutes=1)
UNITS = {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1_440, "days": 1_440}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# AWS counts weekdays from Sunday = 1, which is why "MON" is not 1.
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
CRON_FIELDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSchedule:
    """One deployed schedule.

    Attributes:
        name: its name.
        arn: its ARN.
        expression: cron(...), rate(...) or at(...).
        zone: IANA zone that the expression is meant in.
        function_arn: the function it invokes.
        input: what the function is handed, with context attributes still in it.
        enabled: whether it was deployed enabled.
    """

    name: str
    arn: str
    expression: str
    zone: ZoneInfo
    function_arn: str
    input: str
    enabled: bool

    @classmethod
    def from_api(cls, described: Mapping[str, Any]) -> Self:
        """Read Scheduler's GetSchedule."""
        return cls(
            name=described["Name"],
            arn=described["Arn"],
            expression=described["ScheduleExpression"],
            zone=ZoneInfo(described.get("ScheduleExpressionTimezone", "UTC")),
            function_arn=described["Target"]["Arn"],
            input=described["Target"].get("Input", "{}"),
            enabled=described["State"] == "ENABLED",
        )

    def event(self, at: datetime) -> Any:
        """Return what the function is handed by the tick of this time.

        Args:
            at: aware.
        """
        attributes = {
            "scheduled-time": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "schedule-arn": self.arn,
            "execution-id": str(uuid.uuid4()),
            "attempt-number": "1",
        }
        text = self.input
        for name, value in attributes.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return json.loads(text)


def is_due(expression: str, zone: ZoneInfo, at: datetime) -> bool:
    """Say whether a schedule ticks in the minute of `at`.

    A rate ticks when its minutes divide those since 1970; AWS counts from the schedule's creation.

    Args:
        expression: cron(...), rate(...) or at(...).
        zone: IANA zone that cron and at are meant in.
        at: aware.

    Raises:
        LocalAwsError: the expression uses something that is not played here.
    """
    kind, _, rest = expression.partition("(")
    body = rest.removesuffix(")").strip()
    local = at.astimezone(zone)
    match kind:
        case "rate":
            number, _, unit = body.partition(" ")
            if unit not in UNITS or not number.isdigit() or number == "0":
                raise LocalAwsError(f"{expression} is not a rate")
            return int(at.timestamp()) // 60 % (int(number) * UNITS[unit]) == 0
        case "at":
            return datetime.fromisoformat(body).replace(second=0) == local.replace(tzinfo=None, second=0, microsecond=0)
        case "cron":
            return _cron_is_due(expression, body, local)
        case _:
            raise LocalAwsError(f"{expression} is not a schedule expression")


def _cron_is_due(expression: str, body: str, local: datetime) -> bool:
    fields = body.split()
    if len(fields) != CRON_FIELDS:
        raise LocalAwsError(f"{expression} has {len(fields)} fields; it needs {CRON_FIELDS}")
    minute, hour, day, month, weekday, year = fields
    wanted = (
        (minute, local.minute, 0, 59, ()),
        (hour, local.hour, 0, 23, ()),
        (day, local.day, 1, 31, ()),
        (month, local.month, 1, 12, MONTHS),
        (weekday, local.isoweekday() % 7 + 1, 1, 7, WEEKDAYS),
        (year, local.year, 1970, 2199, ()),
    )
    try:
        return all(value in _values(field, low, high, names) for field, value, low, high, names in wanted)
    except ValueError as error:
        raise LocalAwsError(f"the local scheduler cannot read {expression}: {error}") from error


def _values(field: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    """Return the values that one cron field stands for.

    Raises:
        ValueError: it holds something else than `* ? , - /`, numbers and names.
    """

    def number(text: str) -> int:
        value = names.index(text.upper()) + 1 if text.upper() in names else int(text)
        if not low <= value <= high:
            raise ValueError(f"{text} is not from {low} to {high}")
        return value

    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in {"*", "?"}:
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = number(start)
            last = number(end) if dash else high if step else first
        values.update(range(first, last + 1, int(step or 1)))
    return values


class LocalScheduler:
    """Invokes what is due at each full minute, as Scheduler does: asynchronously."""

    def __init__(
        self, schedules: Sequence[LocalSchedule], functions: Any, *, resting: Callable[[], bool] = lambda: False
    ) -> None:
        """Take what to play.

        Args:
            schedules: as they were deployed; disabled ones never tick.
            functions: a boto3 Lambda client.
            resting: asked at each full minute; while it says yes, nothing ticks.
        """
        self._schedules = tuple(schedule for schedule in schedules if schedule.enabled)
        self._functions = functions
        self._resting = resting
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-scheduler", daemon=True)

    def start(self) -> Self:
        """Begin with the next full minute.

        Raises:
            LocalAwsError: a schedule's expression cannot be played.
        """
        for schedule in self._schedules:
            is_due(schedule.expression, schedule.zone, datetime.now(UTC))
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def fire(self, at: datetime) -> int:
        """Invoke every function that is due in the minute of `at`; returns how many ticks that were."""
        due = [schedule for schedule in self._schedules if is_due(schedule.expression, schedule.zone, at)]
        for schedule in due:
            self._functions.invoke(
                FunctionName=schedule.function_arn,
                InvocationType="Event",
                Payload=json.dumps(schedule.event(at)).encode(),
            )
        return len(due)

    def _run(self) -> None:
        following = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
        while not self._stopping.wait(max(0.0, (following - datetime.now(UTC)).total_seconds())):
            try:
                if not self._resting():
                    self.fire(following)
            except (BotoCoreError, ClientError) as error:
                if not self._stopping.is_set():
                    logger.warning("a tick was lost: %s", type(error).__name__)
            following += MINUTE
