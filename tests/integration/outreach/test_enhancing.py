"""The sender with a language model that does, or does not do, what it should: over real HTTP, before the commit."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engagement.clients.llm import LanguageModel, provider_of
from engagement.domain.enhancement import Failure, Prompt
from engagement.domain.outreach import Arm, OutreachKey, OutreachState
from engagement.domain.profile import Profile
from engagement.domain.templates import AI_SUFFIX
from engagement.services import enhancing
from engagement.services.enhancing import Enhancer
from engagement.store.profiles import Profiles
from infra.local.llm import FakeLanguageModel, Manner

TEMPLATE = "re_engagement.open_door" + AI_SUFFIX
REPHRASED = "Hello Ada! It has been a little while. The door is open whenever you would like to talk again."


@dataclass(frozen=True, slots=True)
class Agreed:
    """Profiles of users who agreed to a language model, or did not."""

    profiles: Profiles
    consent_llm: bool = True

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        profile = self.profiles.get(bot_id, user_id)
        return profile and replace(profile, consent_llm=self.consent_llm)

    def mark_blocked_by_send(self, *arguments: Any, **options: Any) -> bool:
        return self.profiles.mark_blocked_by_send(*arguments, **options)

    def migrate_chat(self, *arguments: Any) -> bool:
        return self.profiles.migrate_chat(*arguments)


@dataclass(slots=True)
class Watched:
    """A provider that notes what the ledger says while it is asked."""

    model: LanguageModel
    bot: Any
    key: OutreachKey
    states: list[OutreachState] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.model.name

    def complete(self, prompt: Prompt, timeout_seconds: float) -> str | Failure:
        self.states += [self.bot.state(self.key)]
        answer = self.model.complete(prompt, timeout_seconds)
        self.states += [self.bot.state(self.key)]
        assert self.bot.telegram.requests == []
        return answer


@pytest.fixture
def model() -> Iterator[FakeLanguageModel]:
    with FakeLanguageModel() as running:
        yield running


def deliver(bot: Any, model: FakeLanguageModel, *, consent_llm: bool = True, **changes: Any) -> tuple[Any, Watched]:
    """Send one message that may be rephrased; return what is stored of it, and who was asked."""
    bot.user(7)
    key = bot.plan(7, template=TEMPLATE, **changes)
    provider = provider_of("openai", "default", model.url, lambda: "a-key-of-tests")
    assert provider is not None
    watched = Watched(provider, bot, key)
    enhancer = Enhancer(watched, bot.budgets, bot_id=bot.bot_id, calls_per_day=5)
    bot.run(enhance=enhancer.enhance, profiles=Agreed(bot.profiles, consent_llm))
    return bot.stored(key), watched


def test_a_rephrased_text_is_sent_and_recorded(bot: Any, model: FakeLanguageModel) -> None:
    """R63: the model is asked while the message is only claimed, and the record says who wrote it."""
    model.behave(Manner.SAY, says=REPHRASED)
    stored, watched = deliver(bot, model)
    (request,) = bot.telegram.requests
    assert request.text == REPHRASED
    assert watched.states == [OutreachState.CLAIMED] * 2
    assert (stored.state, stored.template, stored.enhanced) == (OutreachState.SENT, TEMPLATE, "openai/gpt-6-luna")


@pytest.mark.parametrize(
    ("manner", "extra"),
    [
        (Manner.HANG, {}),
        (Manner.TRICKLE_HEAD, {}),
        (Manner.FLOOD, {}),
        (Manner.STATUS, {"status": 503}),
        (Manner.GARBAGE, {}),
        (Manner.REFUSE, {}),
        (Manner.SAY, {"says": "Hello Ada! Have a look at t.me/x when you like."}),
        (Manner.SAY, {"says": "<b>Hello</b> Ada!"}),
    ],
)
def test_whatever_goes_wrong_the_template_is_sent(
    bot: Any, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch, manner: Manner, extra: dict[str, Any]
) -> None:
    """R63, R64: within five seconds and before the commit; one call, one message."""
    if manner in {Manner.HANG, Manner.TRICKLE_HEAD}:
        monkeypatch.setattr(enhancing, "CALL_SECONDS", 0.3)
    model.behave(manner, **extra)
    began = time.monotonic()
    stored, watched = deliver(bot, model)
    assert time.monotonic() - began < 5
    (request,) = bot.telegram.requests
    assert request.text.startswith("Hi Ada!")
    assert watched.states == [OutreachState.CLAIMED] * 2
    assert (stored.state, stored.enhanced) == (OutreachState.SENT, None)
    assert len(model.calls) == 1


def test_without_consent_nobody_is_asked(bot: Any, model: FakeLanguageModel) -> None:
    """R65: consent_llm=false: no call, also where it was withdrawn after planning; the template is sent."""
    stored, _ = deliver(bot, model, consent_llm=False)
    assert model.calls == []
    assert (stored.state, stored.enhanced) == (OutreachState.SENT, None)


def test_for_a_message_that_is_held_out_nobody_is_asked(bot: Any, model: FakeLanguageModel) -> None:
    """Nothing of it is sent, so nothing of its reader need be told."""
    stored, _ = deliver(bot, model, arm=Arm.HELD_OUT)
    assert (model.calls, bot.telegram.requests) == ([], [])
    assert (stored.state, stored.enhanced) == (OutreachState.HELD_OUT, None)
