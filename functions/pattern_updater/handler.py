"""Interaction stream: new interactions -> the user's pattern, and what they call for: awards, a message, an answer."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecordEventName
from aws_lambda_powertools.utilities.typing import LambdaContext

from engagement.domain import gate
from engagement.services import analyzer, erasing, milestones, planner, reactions
from engagement.settings import PatternUpdaterSettings
from engagement.store import (
    awards,
    catalogue,
    erasures,
    interactions,
    keys,
    outreaches,
    patterns,
    profiles,
    scores,
    table,
    tombstones,
)
from engagement.store.milestones import Milestones
from engagement.telemetry import count, logger, metrics

settings = PatternUpdaterSettings.from_env()
table.bind(settings.table_name)
planning = planner.Planner(
    gate.Policy.of(settings, enabled=settings.outreach_enabled == "on"),
    texts=catalogue.Catalogue(settings.bot_id).texts,
    ai=settings.ai_message_enhancement != "off",
)
in_force = milestones.MilestonesInForce(Milestones(settings.bot_id).all)
reacting = reactions.Reactions(in_force, planning, awards.Awards(), outreaches.Outreaches())
eraser = erasing.Eraser(tombstones.Tombstones(), erasures.Erasures())
learner = analyzer.EngagementAnalyzer(patterns.Patterns(), scores.Scores(), profiles.Profiles(), reacting, eraser)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Fold a batch; report the first record that could not be dealt with, from which Lambda retries."""
    report = learner.learn(inserted_interactions(event), interactions.interaction_of)
    count(report.metrics())
    logger.info("batch folded", **asdict(report))
    return {"batchItemFailures": [{"itemIdentifier": report.failed_at}] if report.failed_at is not None else []}


def inserted_interactions(event: dict[str, Any]) -> list[analyzer.StreamRecord]:
    """Keep the inserts of interactions; the mapping's filter does so too, but a filter can be edited away."""
    records = []
    for record in DynamoDBStreamEvent(event).records:
        change = record.raw_event["dynamodb"]
        sort_key = change["Keys"]["sk"]["S"]
        if record.event_name is DynamoDBRecordEventName.INSERT and sort_key.startswith(keys.INTERACTION_PREFIX):
            records.append(analyzer.StreamRecord(change["SequenceNumber"], change["NewImage"]))
    return records
