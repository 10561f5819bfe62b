"""What most tests start from: an interaction, a profile, a policy, a pattern; a test names only what it is about."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from engagement.domain.callbacks import Signer
from engagement.domain.experiment import Experiment, Shares
from engagement.domain.gate import Policy
from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.profile import Consent, ConsentPolicy, Profile, SensitiveBasis
from engagement.domain.replies import Replies
from engagement.settings import WebhookSettings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
"""A Sunday noon."""

_INTERACTION = Interaction(
    bot_id=1,
    user_id=7,
    chat_id=7,
    update_id=1,
    occurred_at=NOW,
    engagement_type=EngagementType.MESSAGE,
    sentiment=None,
    sentiment_type=SentimentType.UNKNOWN,
    quality=0.5,
    is_question=False,
    is_greeting=False,
    topics=(),
    session_id="",
    reply_latency_seconds=None,
    characters=1,
    edited=False,
    first_name="",
    language_code=None,
    text=None,
)
_PROFILE = Profile(
    bot_id=1,
    user_id=7,
    chat_id=7,
    first_name="Ada",
    language_code="en",
    consent=Consent.GRANTED,
    opted_out=False,
    blocked=False,
    status_at=None,
    epoch=0,
    cap_day=None,
    cap_count=0,
    next_ok_at=None,
    zone="UTC",
    created_at=NOW - timedelta(days=90),
)
REPLIES = Replies(
    policy=ConsentPolicy.ASK,
    stores_text=False,
    keep_days=365,
    user_days=400,
    blocked_days=60,
    basis=SensitiveBasis.CONSENT,
    signer=Signer(1, lambda: "key"),
)
WEBHOOK = WebhookSettings(
    table_name="rekindle",
    bot_id=123456,
    webhook_secret_parameter="/rekindle/test/webhook-secret",
    webhook_previous_secret_parameter="/rekindle/test/webhook-secret-previous",
    consent_policy="ask",
    store_text="off",
    interaction_ttl_days=365,
    flood_limit_per_minute=60,
    virtual_clock="off",
    ai_message_enhancement="off",
    callback_key_parameter="/rekindle/test/callback-key",
    sensitive_basis="consent",
    outreach_types="milestone_celebration,re_engagement,personalized_checkin",
    operator_chat_id=0,
    user_ttl_days=400,
    blocked_user_ttl_days=60,
)
_POLICY = Policy(
    consent=ConsentPolicy.ASK,
    max_per_day=1,
    min_gap=timedelta(hours=12),
    quiet=(0, 0),
    rollout=Shares(1.0, {}),
    experiment=Experiment(name="test", control=0.0, type_control=Shares(0.0, {})),
    budget=0,
    enabled=True,
)


def interaction(update_id: int = 1, occurred_at: datetime = NOW, **changes: object) -> Interaction:
    """A plain message in a language the lexicon does not speak, apart from the changes."""
    return replace(_INTERACTION, update_id=update_id, occurred_at=occurred_at, **changes)


def profile(**changes: object) -> Profile:
    """A user who said yes and was never written to, apart from the changes."""
    return replace(_PROFILE, **changes)


def policy(**changes: object) -> Policy:
    """One message a day, half a day apart, at any hour, to all who said yes, apart from the changes."""
    return replace(_POLICY, **changes)


def pattern_of(times: Iterable[datetime]) -> Pattern:
    """The pattern of a user with one interaction at each of `times`."""
    return fold(EMPTY, [interaction(number, at) for number, at in enumerate(times)])


def silent_for(days: float, active_days: int = 14) -> Pattern:
    """A daily user of `active_days` who at `NOW` has been silent for `days`."""
    last = NOW - timedelta(days=days)
    return pattern_of(last - timedelta(days=day) for day in range(active_days))
