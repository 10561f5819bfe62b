"""The interactions in the table: one put each, read back as they were, gone when their time is over."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from engagement.errors import BadUpdateError, StoreUnavailableError
from engagement.store import keys
from engagement.store.interactions import Interactions, interaction_of
from engagement.store.table import InteractionItem, Item, OutreachItem, PatternItem, ProfileItem, bind
from tests.builders import interaction

BOT = 123456
T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
interactions = Interactions(ttl_days=30)

ADA = interaction(
    90001,
    T0,
    bot_id=BOT,
    sentiment=0.6369,
    sentiment_type=SentimentType.VERY_POSITIVE,
    quality=0.621,
    is_question=True,
    topics=("food", "movies"),
    session_id="997410",
    reply_latency_seconds=900,
    characters=57,
    first_name="Ada",
    language_code="en",
)
BARE = replace(
    ADA,
    update_id=90002,
    sentiment=None,
    sentiment_type=SentimentType.UNKNOWN,
    topics=(),
    reply_latency_seconds=None,
    first_name="",
    language_code=None,
)

anything = st.builds(
    Interaction,
    bot_id=st.integers(1, 2**52 - 1),
    user_id=st.integers(1, 2**52 - 1),
    chat_id=st.integers(-(2**52) + 1, 2**52 - 1),
    update_id=st.integers(0, 2**52 - 1),
    occurred_at=st.integers(1_375_315_200, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    engagement_type=st.sampled_from(EngagementType),
    sentiment=st.none() | st.floats(-1, 1).map(lambda score: round(score, 4)),
    sentiment_type=st.sampled_from(SentimentType),
    quality=st.floats(0, 1).map(lambda score: round(score, 3)),
    is_question=st.booleans(),
    is_greeting=st.booleans(),
    topics=st.sampled_from([(), ("food",), ("food", "movies")]),
    session_id=st.integers(0, 10**7).map(str),
    reply_latency_seconds=st.none() | st.integers(0, 2**40),
    characters=st.integers(0, 4_096),
    edited=st.booleans(),
    first_name=st.text(max_size=20),
    language_code=st.none() | st.just("pt-br"),
    text=st.none() | st.text(min_size=1, max_size=50),
)


def image_of(interaction: Interaction) -> dict[str, Any]:
    """The stored item as a stream carries it: DynamoDB's JSON, through JSON."""
    image: dict[str, Any] = json.loads(json.dumps(interactions._item(interaction).serialize()))
    return image


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(interaction=anything)
def test_an_interaction_comes_back_as_it_went_in(table: str, interaction: Interaction) -> None:
    """R8: from the table and from the stream, with ids of 52 bits and of either sign."""
    interactions.add(interaction)
    key = (interaction.bot_id, interaction.user_id, interaction.update_id)

    assert interactions.get(*key) == interaction or interactions.add(interaction) is False
    assert interaction_of(image_of(interaction)) == interaction


@pytest.mark.parametrize("interaction", [ADA, BARE], ids=["full", "bare"])
def test_the_stored_interaction_is_the_one_added(table: str, interaction: Interaction) -> None:
    assert interactions.add(interaction)
    assert interactions.get(BOT, 7, interaction.update_id) == interaction
    assert [type(item) for item in Item.scan()] == [InteractionItem]


def test_the_same_update_is_stored_once(table: str) -> None:
    """R3: the first one stays, whatever a later delivery says."""
    assert interactions.add(ADA)
    assert not interactions.add(replace(ADA, quality=0.1, occurred_at=T0 + timedelta(hours=23)))
    assert interactions.get(BOT, 7, ADA.update_id) == ADA


def test_the_key_is_of_the_bot_the_user_and_the_update_alone(table: str) -> None:
    """R16: at two different times, with two different contents, one key."""
    early, late = interactions._item(ADA), Interactions(ttl_days=1)._item(replace(BARE, update_id=ADA.update_id))

    assert (early.pk, early.sk) == (late.pk, late.sk) == ("USER#123456#7", "INT#90001")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["sentiment", "quality"])
def test_no_interaction_with_a_number_that_is_none_is_written(table: str, field: str, number: float) -> None:
    """R18."""
    with pytest.raises(ValueError, match="not a finite number"):
        interactions.add(replace(ADA, **{field: number}))

    assert list(Item.scan()) == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "attribute",
    [
        InteractionItem.sentiment,
        InteractionItem.quality,
        PatternItem.churn_7d,
        PatternItem.churn_14d,
        PatternItem.churn_30d,
        OutreachItem.priority,
    ],
    ids=lambda attribute: getattr(attribute, "attr_name", None),
)
def test_no_numeric_writer_takes_nan_or_infinity(attribute: Any, number: float) -> None:
    """R18: every attribute of the table that holds a float."""
    with pytest.raises(ValueError, match="not a finite number"):
        attribute.serialize(number)


def test_a_number_too_small_for_dynamodb_is_written_as_nothing(table: str) -> None:
    """R18: below 1E-130 DynamoDB refuses the whole item."""
    assert interactions.add(replace(ADA, quality=8.2e-306, sentiment=-1e-131))
    stored = interactions.get(BOT, 7, ADA.update_id)

    assert stored is not None
    assert (stored.quality, stored.sentiment) == (0.0, 0.0)


def test_every_float_of_the_table_is_a_finite_number() -> None:
    """R18: no item has a number attribute but those that were just tried and the whole ones."""
    kinds = {
        type(attribute).__name__
        for model in (InteractionItem, PatternItem, OutreachItem, ProfileItem)
        for attribute in model.get_attributes().values()
        if attribute.attr_type == "N"
    }

    assert kinds == {"FiniteNumber", "WholeNumber", "EpochSeconds"}


def test_an_interaction_carries_its_time_to_live_in_epoch_seconds(table: str) -> None:
    """R19."""
    interactions.add(ADA)

    assert interactions._item(ADA).serialize()["expires_on"] == {"N": str(int(T0.timestamp()) + 30 * 86_400)}


def test_an_expired_interaction_that_is_still_there_is_not_read(table: str) -> None:
    """R19: DynamoDB deletes up to two days late."""
    interactions.add(ADA)
    interactions.add(replace(BARE, occurred_at=T0 - timedelta(days=1)))
    almost = T0 + timedelta(days=30) - timedelta(seconds=1)

    assert list(interactions.of_user(BOT, 7, almost)) == [ADA]
    assert list(interactions.of_user(BOT, 7, almost + timedelta(seconds=1))) == []
    assert len(list(Item.scan())) == 2


def test_a_users_interactions_are_read_and_nobody_elses(table: str) -> None:
    ProfileItem("USER#123456#7", keys.PROFILE, chat_id=7, created_at=T0).save()
    for each in (ADA, BARE, replace(ADA, user_id=8), replace(ADA, bot_id=9)):
        interactions.add(each)

    assert sorted(i.update_id for i in interactions.of_user(BOT, 7, T0)) == [90001, 90002]


@pytest.mark.parametrize(
    "damage",
    [
        {"occurred_at": None},
        {"quality": None},
        {"sk": {"S": "PROFILE"}},
        {"pk": {"S": "USER#1"}},
        {"pk": None},
        {"kind": {"S": "profile"}},
        {"kind": {"S": "of 2031"}},
        {"engagement_type": {"S": "telepathy"}},
        {"sentiment": {"N": "NaN"}},
        {"occurred_at": {"N": "soon"}},
        {"occurred_at": {"N": "9" * 30}},
        {"edited": {"S": "yes"}},
        {"chat_id": 7},
    ],
    ids=lambda damage: "-".join(damage),
)
def test_an_unreadable_record_of_the_stream_says_so_without_its_values(damage: dict[str, Any]) -> None:
    """R26: the stream's function can tell poison from trouble; R58: no value travels with the error."""
    image = image_of(ADA) | damage
    with pytest.raises(BadUpdateError) as raised:
        interaction_of({name: value for name, value in image.items() if value is not None})

    assert raised.value.reason == "bad_interaction"
    assert raised.value.__cause__ is None


def test_reading_a_record_leaves_the_event_as_it_was() -> None:
    image = image_of(ADA)
    before = json.dumps(image)
    interaction_of(image)

    assert json.dumps(image) == before


def test_trouble_with_dynamodb_has_one_name(aws: dict[str, str]) -> None:
    """R4: here, a table that is not there."""
    bind("rekindle-not-there")

    with pytest.raises(StoreUnavailableError, match="ResourceNotFoundException"):
        interactions.add(ADA)
    with pytest.raises(StoreUnavailableError):
        interactions.get(BOT, 7, 1)
    with pytest.raises(StoreUnavailableError):
        list(interactions.of_user(BOT, 7, T0))
