"""Planning: a candidate becomes an outreach, or the one reason why not.

    gate -> the user's best hour -> expected to help? -> arm -> text -> outreach

This is the decision point of every experiment: up to the arm nothing differs between those who will be written to and
those who will be held out, and what is drawn is kept on the outreach with its probability. Nothing is stored here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Protocol

from engagement.domain import gate
from engagement.domain.gate import Policy, Reason
from engagement.domain.outreach import Outreach, OutreachState, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.planning import AT_ONCE, Candidate
from engagement.domain.profile import Profile
from engagement.domain.quiet import IsOpen, open_hours
from engagement.domain.scores import rule_scores
from engagement.domain.statistics import LEFT
from engagement.domain.templates import Texts
from engagement.domain.uplift import explored, explores, row_of, value
from engagement.domain.variants import Choice, Performance, choose
from engagement.errors import ModelUnavailableError
from engagement.services.models import UpliftPredictor

PERFORMANCE_DAYS = 90
"""How far back a text's responses count: long enough for a small bot, short enough for taste to change."""
DAY = timedelta(days=1)

BestTime = Callable[[IsOpen, datetime], datetime]
"""Says at what time from a moment on a user is best written to; see `planning.send_time`."""


class Counters(Protocol):
    """Where counters are read; see `store.statistics`."""

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        """Return the counters of each day that has any."""
        ...


def recent_performance(counters: Counters, bot_id: int, now: datetime) -> Performance:
    """Return what became of all texts in the last 90 days.

    Raises:
        StoreUnavailableError: DynamoDB is in trouble.
    """
    found: dict[str, Counter[str]] = {event: Counter() for event in ("sent", "responded", "stopped", LEFT, "not_now")}
    for counts in counters.of_days(bot_id, now.date() - PERFORMANCE_DAYS * DAY, now.date()).values():
        for name, count in counts.items():
            event, _, template = name.partition("@")
            if template and event in found:
                found[event][template] += count
    return Performance(found["sent"], found["responded"], found["stopped"] + found[LEFT], found["not_now"])


class Planner:
    """Prepares outreach; one instance serves many threads."""

    def __init__(
        self,
        policy: Policy,
        texts: Callable[[], Texts],
        performance: Callable[[datetime], Performance] | None = None,
        *,
        ai: bool = False,
    ) -> None:
        """Wire it.

        Args:
            policy: what the operator allows.
            texts: reads the texts, the operator's own among them; asked once for each moment of planning.
            performance: says what became of the texts until then; likewise. None chooses evenly among them.
            ai: a language model may rephrase the texts, for users who allow it.
        """
        self._policy = policy
        self._read_texts = texts
        self._read_performance = performance
        self._ai = ai
        self._lock = Lock()
        self._known: tuple[datetime, Texts, Performance | None] | None = None

    def prepare(
        self,
        candidate: Candidate,
        profile: Profile,
        pattern: Pattern,
        now: datetime,
        *,
        history: Sequence[Outreach] = (),
        covariate: float | None = None,
        context: bytes | None = None,
        best_time: BestTime | None = None,
        uplift: UpliftPredictor | None = None,
    ) -> Outreach | Reason:
        """Return the outreach that is to be stored, held out or not; or why there is none.

        Args:
            candidate: what is wanted.
            profile: the user, as read just now.
            pattern: the same user's.
            now: aware UTC.
            history: the user's outreach so far; says which texts they have seen.
            covariate: probability [0, 1] of coming back within 7 days without us; by the rule where it is None.
            context: features of the decision, see `uplift.context_of`.
            best_time: asked for those messages that wait for a good hour; without it they go out when they may.
            uplift: the model that says whom a message helps; asked only where there is a context.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        decision = gate.decide(candidate, profile, pattern, self._policy, now)
        if decision.reason is not None:
            return decision.reason
        send_at = decision.send_at or now
        if best_time is not None and candidate.outreach_type not in AT_ONCE:
            best = best_time(open_hours(pattern, profile, self._policy.quiet), send_at)
            later = gate.decide(replace(candidate, due_at=best), profile, pattern, self._policy, now)
            # A good hour that would come too late is no reason to give up a permitted one.
            send_at = later.send_at or send_at
        if context is not None and uplift is not None and not _helps(uplift, context):
            if not explores(profile.bot_id, profile.user_id, candidate.campaign, candidate.period):
                return Reason.NO_UPLIFT
            context = explored(context)
        arm = self._policy.experiment.assign(profile.bot_id, profile.user_id, candidate.outreach_type)
        text = self._choose(candidate, profile, history, now)
        return Outreach(
            bot_id=profile.bot_id,
            user_id=profile.user_id,
            campaign=candidate.campaign,
            period=candidate.period,
            outreach_type=candidate.outreach_type,
            state=OutreachState.SCHEDULED,
            priority=candidate.priority,
            trigger=candidate.trigger,
            template=text.name,
            planned_at=now,
            due_at=send_at,
            expires_at=candidate.expires_at,
            arm=arm.arm,
            treated_probability=arm.treated_probability,
            experiment=self._policy.experiment.name,
            program_probability=arm.program_probability,
            in_control=arm.in_control,
            measured_by_type=arm.measured_by_type,
            template_probability=text.probability,
            values=candidate.values,
            covariate=1 - rule_scores(pattern, now).churn_7d if covariate is None else covariate,
            context=context,
        )

    def _choose(self, candidate: Candidate, profile: Profile, history: Sequence[Outreach], now: datetime) -> Choice:
        texts, performance = self._known_at(now)
        names = texts.variants(candidate.outreach_type, ai=self._ai and profile.consent_llm)
        seed = f"{profile.bot_id}#{profile.user_id}#{candidate.campaign}#{candidate.period}"
        return choose(names, _of_type(performance, candidate.outreach_type), _days_since(history, now), seed)

    def _known_at(self, now: datetime) -> tuple[Texts, Performance | None]:
        """Return texts and performance, read once for each moment: a whole run shares one."""
        with self._lock:
            if self._known is None or self._known[0] != now:
                performance = self._read_performance(now) if self._read_performance else None
                self._known = (now, self._read_texts(), performance)
            _, texts, performance = self._known
            return texts, performance


def _helps(uplift: UpliftPredictor, context: bytes) -> bool:
    """Say whether a message is expected to do more good than harm; where the model cannot tell, it is sent."""
    row = row_of(context)
    if row is None:
        return True
    try:
        (expected,) = uplift.predict([row])
    except ModelUnavailableError:
        return True
    return value(expected) > 0


def _of_type(performance: Performance | None, outreach_type: OutreachType) -> Performance | None:
    if performance is None:
        return None
    of_type = f"{outreach_type}."

    def kept(counts: Mapping[str, int]) -> dict[str, int]:
        return {name: count for name, count in counts.items() if name.startswith(of_type)}

    return Performance(
        kept(performance.sends), kept(performance.responses), kept(performance.stops), kept(performance.not_nows)
    )


def _days_since(history: Sequence[Outreach], now: datetime) -> dict[str, float]:
    """Return how many days ago the user last got each text; one that was held out they never saw."""
    seen: dict[str, float] = {}
    for outreach in history:
        if outreach.exposed_at is not None and outreach.state is not OutreachState.HELD_OUT:
            days = (now - outreach.exposed_at) / DAY
            seen[outreach.template] = min(days, seen.get(outreach.template, days))
    return seen
