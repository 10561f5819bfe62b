"""HTTP API: what the webhook is made of."""

from datetime import datetime
from functools import partial

from engagement.clients.secrets import read_secret
from engagement.domain.callbacks import Signer
from engagement.domain.flood import FloodLimit
from engagement.domain.outreach import Outreach, OutreachKey, OutreachType
from engagement.domain.profile import ConsentPolicy, SensitiveBasis
from engagement.domain.replies import Replies
from engagement.services.reception import Reception, Stores
from engagement.services.users_word import UsersWord
from engagement.settings import WebhookSettings, listed
from engagement.store.answers import Answers
from engagement.store.attentions import Attentions
from engagement.store.dead_letters import DeadLetters
from engagement.store.interactions import Interactions
from engagement.store.profiles import Profiles
from engagement.store.requests import Requests
from engagement.store.tombstones import Tombstones


def reception_of(settings: WebhookSettings) -> Reception:
    """Wire the reception as the operator has set it."""
    bot_id, profiles, tombstones = settings.bot_id, Profiles(), Tombstones()
    types = tuple(map(OutreachType, listed(settings.outreach_types)))
    replies = Replies(
        policy=ConsentPolicy(settings.consent_policy),
        stores_text=settings.store_text == "on",
        keep_days=settings.interaction_ttl_days,
        user_days=settings.user_ttl_days,
        blocked_days=settings.blocked_user_ttl_days,
        basis=SensitiveBasis(settings.sensitive_basis),
        signer=Signer(bot_id, partial(read_secret, settings.callback_key_parameter)),
        types=types,
        rewords=settings.ai_message_enhancement != "off",
    )
    word = UsersWord(
        bot_id, profiles, Answers(), tombstones, Requests(), replies, progress=partial(progress_of, bot_id)
    )
    stores = Stores(
        interactions=Interactions(settings.interaction_ttl_days),
        profiles=profiles,
        dead_letters=DeadLetters(bot_id),
        tombstones=tombstones,
        attentions=Attentions(),
        outreaches=Ledger() if OutreachType.MOOD_SUPPORT in types else None,
    )
    limit = FloodLimit(settings.flood_limit_per_minute)
    return Reception(bot_id, stores, word, replies, limit, settings.operator_chat_id)


# Wired at the first use, so that no cold start pays for them.


class Ledger:
    """Reads the send ledger: was support sent to whoever writes now?"""

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        from engagement.store.outreaches import Outreaches

        return Outreaches().get(key)


def progress_of(bot_id: int, user_id: int, now: datetime) -> str:
    """Return how far a user's next milestones are, a line each."""
    from engagement.services.progress import MilestoneProgress
    from engagement.store.milestones import Milestones
    from engagement.store.patterns import Patterns

    return MilestoneProgress(bot_id, Patterns(), Profiles(), Milestones(bot_id).all).lines(user_id, now)
