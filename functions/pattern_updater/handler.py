"""Interaction stream: new interactions -> the user's pattern."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecordEventName
from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.services.analyzer import EngagementAnalyzer, StreamRecord
from engagement.settings import PatternUpdaterSettings
from engagement.store.interactions import interaction_of
from engagement.store.keys import INTERACTION_PREFIX
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles
from engagement.store.scores import Scores
from engagement.store.table import bind
from engagement.telemetry import count, logger, metrics

settings = PatternUpdaterSettings.from_env()
bind(settings.table_name)
analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Fold a batch; report the first record that could not be dealt with, from which Lambda retries."""
    report = analyzer.learn(inserted_interactions(event), interaction_of)
    written, folded = report.patterns_written, report.folded
    count({"PatternsWritten": written, "InteractionsFolded": folded, "PatternConflicts": report.conflicts})
    logger.info("batch folded", **asdict(report))
    if report.failed_at is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": report.failed_at}]}


def inserted_interactions(event: dict[str, Any]) -> list[StreamRecord]:
    """Keep the inserts of interactions; the mapping's filter does so too, but a filter can be edited away."""
    records = []
    for record in DynamoDBStreamEvent(event).records:
        change = record.raw_event["dynamodb"]
        sort_key = change["Keys"]["sk"]["S"]
        if record.event_name is DynamoDBRecordEventName.INSERT and sort_key.startswith(INTERACTION_PREFIX):
            records.append(StreamRecord(change["SequenceNumber"], change["NewImage"]))
    return records
