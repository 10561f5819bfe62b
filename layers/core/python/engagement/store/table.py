"""The one table's items. `bind` gives the table its name, once, at cold start.

PynamoDB's rules here: items are written by conditional `update(actions, condition)` or by a conditional put of a new
item; `save()` on a loaded item is never used (it drops attributes that this version does not know), and every update
of an item that must exist says so (an update creates what is missing, and would bring an erased user back).
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pynamodb.attributes import (
    Attribute,
    BinaryAttribute,
    BooleanAttribute,
    DiscriminatorAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.connection import Connection
from pynamodb.constants import NUMBER
from pynamodb.exceptions import PynamoDBException
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from engagement.errors import StoreUnavailableError
from engagement.store import keys

SMALLEST = 1e-130
READ_SECONDS = 2.0
SCAN_SECONDS = 30.0
"""For those who read whole tables."""


class WholeNumber(Attribute[int]):
    """An integer of any size DynamoDB holds (38 digits)."""

    attr_type = NUMBER

    def serialize(self, value: int) -> str:
        """Write the digits."""
        return str(int(value))

    def deserialize(self, value: str) -> int:
        """Read the digits."""
        return int(value)


class FiniteNumber(NumberAttribute):
    """A float that is a number: NaN and the infinities are refused before they reach the table."""

    def serialize(self, value: float) -> str:
        """Write the shortest digits that read back to the same float.

        Raises:
            ValueError: `value` is NaN or infinite.
        """
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        # DynamoDB refuses magnitudes below 1E-130.
        return repr(float(value)) if abs(value) >= SMALLEST else "0.0"


class EpochSeconds(Attribute[datetime]):
    """An aware UTC time, to the second."""

    attr_type = NUMBER

    def serialize(self, value: datetime) -> str:
        """Write whole seconds since 1970.

        Raises:
            ValueError: `value` has no zone.
        """
        if value.tzinfo is None:
            raise ValueError("a time needs a zone")
        return str(int(value.timestamp()))

    def deserialize(self, value: str) -> datetime:
        """Read whole seconds since 1970."""
        return datetime.fromtimestamp(int(value), UTC)


class DueIndex(GlobalSecondaryIndex["Item"]):  # type: ignore[no-untyped-call] # PynamoDB's __init_subclass__
    """What is due, by shard and time; keys only."""

    class Meta:
        index_name = keys.DUE_INDEX
        projection = KeysOnlyProjection()

    due_shard = UnicodeAttribute(hash_key=True)
    due_at = EpochSeconds(range_key=True)


class Item(Model):
    """The base of every item: the keys, the index and the time to live.

    It is touched first (`bind`), so that all items share one connection; each model would otherwise build its own.
    """

    class Meta:
        table_name = ""
        # An answer later than this is worth less than a retry by the caller.
        connect_timeout_seconds = 1
        read_timeout_seconds: float = READ_SECONDS
        max_retry_attempts = 3

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    kind = DiscriminatorAttribute()
    due_shard = UnicodeAttribute(null=True)
    due_at = EpochSeconds(null=True)
    expires_on = EpochSeconds(null=True)
    """The table's time-to-live attribute. Expired items stay readable for up to two days: readers check it."""
    due_index = DueIndex()


class ProfileItem(Item, discriminator="profile"):
    """See `domain.profile`. Small: every send writes it."""

    chat_id = WholeNumber()
    first_name = UnicodeAttribute(null=True)
    language_code = UnicodeAttribute(null=True)
    consent = UnicodeAttribute(default="unasked")
    consent_at = EpochSeconds(null=True)
    consent_ml = BooleanAttribute(default=False)
    consent_ml_at = EpochSeconds(null=True)
    consent_llm = BooleanAttribute(default=False)
    consent_llm_at = EpochSeconds(null=True)
    opted_out = BooleanAttribute(default=False)
    opted_out_at = EpochSeconds(null=True)
    opted_out_by = WholeNumber(null=True)
    """Telegram's number of the update that said so."""
    blocked = BooleanAttribute(default=False)
    status_at = EpochSeconds(null=True)
    epoch = WholeNumber(default=0)
    cap_day = UnicodeAttribute(null=True)
    cap_count = WholeNumber(default=0)
    next_ok_at = EpochSeconds(null=True)
    zone = UnicodeAttribute(default="UTC")
    zone_at = EpochSeconds(null=True)
    preferences: UnicodeSetAttribute = UnicodeSetAttribute(null=True)
    """Facts of `domain.preferences`; a set, so that adding one is one write that meets no other."""
    word = WholeNumber(null=True)
    """Counts what the user said about being written to; see `domain.profile`."""
    crisis_at = EpochSeconds(null=True)
    awaiting: UnicodeSetAttribute = UnicodeSetAttribute(null=True)
    """See `domain.profile.Awaiting`; a set, so that adding and removing one is one write that meets no other."""
    met: UnicodeSetAttribute = UnicodeSetAttribute(null=True)
    created_at = EpochSeconds()


class InteractionItem(Item, discriminator="interaction"):
    """See `domain.interaction`; written once, never changed."""

    chat_id = WholeNumber()
    occurred_at = EpochSeconds()
    engagement_type = UnicodeAttribute()
    sentiment = FiniteNumber(null=True)
    sentiment_type = UnicodeAttribute()
    quality = FiniteNumber()
    is_question = BooleanAttribute()
    is_greeting = BooleanAttribute()
    topics = UnicodeAttribute(null=True)
    """Slugs, joined by commas; absent where there is none."""
    session_id = UnicodeAttribute()
    reply_latency_seconds = WholeNumber(null=True)
    characters = WholeNumber()
    edited = BooleanAttribute()
    first_name = UnicodeAttribute(null=True)
    language_code = UnicodeAttribute(null=True)
    text = UnicodeAttribute(null=True)
    control = UnicodeAttribute(null=True)
    """The button or command of ours that it is; absent for what the user did by themselves."""
    about = UnicodeAttribute(null=True)
    """`<outreach type>#<epoch seconds>` of the outreach that the button stood under."""


class PatternItem(Item, discriminator="pattern"):
    """The sketch's bytes and the scores beside it.

    `version` moves with the bytes only, so that a score and a new interaction never conflict.
    """

    state = BinaryAttribute(legacy_encoding=False)
    version = WholeNumber()
    known_as = UnicodeAttribute(null=True)
    """Digest of the name and language that the profile was last given."""
    churn_7d = FiniteNumber(null=True)
    churn_14d = FiniteNumber(null=True)
    churn_30d = FiniteNumber(null=True)
    scored_at = EpochSeconds(null=True)
    scored_by = UnicodeAttribute(null=True)
    """Version of the model, or "rules"."""
    mood = FiniteNumber(null=True)
    watched_at = EpochSeconds(null=True)
    """When the score was given whose outcome is awaited; see `domain.outcome`."""
    watched_churn_7d = FiniteNumber(null=True)
    watched_by = UnicodeAttribute(null=True)
    awarded: UnicodeSetAttribute = UnicodeSetAttribute(null=True)
    """Names of the milestones that were awarded; beside the sketch, so that looking costs nothing."""
    asked_at = EpochSeconds(null=True)
    """A good interaction asked for scoring at once; gone when that was done."""


class OutreachItem(Item, discriminator="outreach"):
    """See `domain.outreach`; moved by conditional updates on `state` and `owner`."""

    outreach_type = UnicodeAttribute()
    state = UnicodeAttribute()
    priority = FiniteNumber()
    trigger = UnicodeAttribute()
    template = UnicodeAttribute()
    planned_at = EpochSeconds()
    send_after = EpochSeconds()
    """The outreach's own due time; `due_at` of the index moves on to the lease while it is claimed."""
    expires_at = EpochSeconds()
    reason = UnicodeAttribute(null=True)
    attempts = WholeNumber(default=0)
    owner = UnicodeAttribute(null=True)
    lease_until = EpochSeconds(null=True)
    message_id = WholeNumber(null=True)
    sent_at = EpochSeconds(null=True)
    arm = UnicodeAttribute(default="treated")
    treated_probability = FiniteNumber(default=1.0)
    experiment = UnicodeAttribute(null=True)
    program_probability = FiniteNumber(default=1.0)
    in_control = BooleanAttribute(default=False)
    measured_by_type = BooleanAttribute(default=False)
    template_probability = FiniteNumber(default=1.0)
    values_json = UnicodeAttribute(null=True)
    covariate = FiniteNumber(default=0.0)
    context = BinaryAttribute(legacy_encoding=False, null=True)
    exposed_at = EpochSeconds(null=True)
    first_of: UnicodeSetAttribute = UnicodeSetAttribute(null=True)
    returned_at = EpochSeconds(null=True)
    settled_at = EpochSeconds(null=True)
    outcomes_json = UnicodeAttribute(null=True)
    """`domain.outcomes.Outcomes` once settled."""
    enhanced = UnicodeAttribute(null=True)
    opened_at = EpochSeconds(null=True)
    not_now_at = EpochSeconds(null=True)
    stopped_at = EpochSeconds(null=True)
    forgotten = BooleanAttribute(null=True)
    """Its user was erased: this is what an experiment needs of it, and says of nobody whose it was."""


class AnswerItem(Item, discriminator="answer"):
    """See `domain.answers`; put once, never changed."""

    question = UnicodeAttribute()
    said = UnicodeAttribute()
    answered_at = EpochSeconds()
    source = UnicodeAttribute()
    wording = UnicodeAttribute(null=True)


class AttentionItem(Item, discriminator="attention"):
    """See `domain.attention`: somebody wrote what a person must look at."""

    reason = UnicodeAttribute()
    noticed_at = EpochSeconds()


class RequestItem(Item, discriminator="request"):
    """The user asked for something that takes longer than an answer."""

    asked_at = EpochSeconds()


class TombstoneItem(Item, discriminator="tombstone"):
    """An erased user: late records from before `erased_at` must not bring them back."""

    erased_at = EpochSeconds()


class PauseItem(Item, discriminator="pause"):
    """Telegram asked for silence until `paused_until`."""

    paused_until = EpochSeconds()


class CensusItem(Item, discriminator="census"):
    """See `domain.census`; one of each day and share of the users."""

    counts = BinaryAttribute(legacy_encoding=False)
    version = WholeNumber()
    feature_version = WholeNumber()
    """Bins of another version count something else."""
    written_by = UnicodeAttribute()
    """Token of the last writer, who may not have heard that it succeeded."""


class StatisticsItem(Item, discriminator="statistics"):
    """Counters of one day and share of the users, or sums of an experiment; see `domain.statistics`.

    The counters are attributes of their own names, which no class can list: `store.statistics` reads and adds them.
    """


class AwardItem(Item, discriminator="award"):
    """A milestone that a user reached; put once, never changed."""

    awarded_at = EpochSeconds()
    points = WholeNumber(default=0)


class CatalogueItem(Item, discriminator="catalogue"):
    """A definition of the operator's own: a milestone or a template, as JSON."""

    body = UnicodeAttribute()
    updated_at = EpochSeconds()


class BudgetItem(Item, discriminator="budget"):
    """What was spent of a day's budget: messages, or calls of a language model."""

    spent = WholeNumber(default=0)


class LeaseItem(Item, discriminator="lease"):
    """Keeps two runs of one function apart; no rule depends on it."""

    owner = UnicodeAttribute()
    lease_until = EpochSeconds()


class DeadLetterItem(Item, discriminator="dead_letter"):
    """An update that no retry can mend: its shape, never its words."""

    reason = UnicodeAttribute()
    received_at = EpochSeconds()
    body_bytes = WholeNumber()
    body_sha256 = UnicodeAttribute()
    outline = UnicodeAttribute(null=True)


ITEMS = (
    ProfileItem,
    InteractionItem,
    PatternItem,
    OutreachItem,
    TombstoneItem,
    PauseItem,
    CensusItem,
    StatisticsItem,
    AwardItem,
    CatalogueItem,
    BudgetItem,
    LeaseItem,
    DeadLetterItem,
    AnswerItem,
    AttentionItem,
    RequestItem,
)


def bind(table_name: str, *, read_seconds: float = READ_SECONDS) -> None:
    """Point every item at the table; the endpoint and credentials are botocore's usual ones.

    Args:
        table_name: the one table.
        read_seconds: how long an answer may take. A Scan's takes longer than a Get's, and an operator waits longer than
            a message does.
    """
    Item.Meta.read_timeout_seconds = read_seconds
    for model in (Item, *ITEMS):
        model.Meta.table_name = table_name
        model._connection = None  # noqa: SLF001 - PynamoDB keeps it once made, and has no public way to replace it
    connection = Item._get_connection()  # noqa: SLF001 - no public way to share one connection
    for model in ITEMS:
        model._connection = connection  # noqa: SLF001 - each class would open its own otherwise: one TLS handshake a kind


def connection() -> Connection:
    """Return the shared connection, for transactions."""
    return Item._get_connection().connection  # noqa: SLF001 - TransactWrite asks for it, nothing public has it


CONDITION_FAILED = "ConditionalCheckFailedException"
CONDITION_FAILED_REASON = "ConditionalCheckFailed"
"""The same answer inside a cancelled transaction."""
TRANSACTION_CANCELLED = "TransactionCanceledException"
CONFLICT = "TransactionConflictException"
"""Another transaction on the same item was under way: try again."""
CONFLICT_REASON = "TransactionConflict"
"""The same answer inside a cancelled transaction."""


def code_of(error: PynamoDBException) -> str | None:
    """Return DynamoDB's code of an error; None where DynamoDB gave none, as after a hang or a lost connection.

    PynamoDB 6.1's own `cause_response_code` raises AttributeError there: botocore's error then has no response (R105).
    """
    response = getattr(error.cause, "response", None)
    code: str | None = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code


@contextmanager
def translated() -> Iterator[None]:
    """Turn DynamoDB's trouble into `StoreUnavailableError`.

    A failed condition is an answer, not trouble: callers catch it inside this context.
    """
    try:
        yield
    except PynamoDBException as error:
        raise StoreUnavailableError(f"DynamoDB: {code_of(error) or type(error).__name__}") from error


def holds(flag: BooleanAttribute, value: bool) -> Condition:
    """Return the condition that a flag is there and has this value."""
    # Compared with a variable: `== False` reads like a slip, and is taken for one.
    condition: Condition = flag == value
    return condition


def back_off(attempt: int, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait before the next attempt, twice as long each time and never as long as a rival that failed with us.

    Args:
        attempt: failed so far, from 1.
        seconds: about half of what to wait before the second attempt.
        sleep: waits some seconds.
    """
    jitter = random.uniform(0.5, 1)  # noqa: S311 - it spreads load; nothing depends on nobody guessing it
    sleep(seconds * 2**attempt * jitter)


def keyed(model: type[Any], pk: str, sk: str) -> Any:
    """Return an item that stands for its key, to be updated; nothing is read."""
    return model(pk, sk)
