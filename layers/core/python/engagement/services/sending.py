"""One run of the sender: what is due goes out at most once each, as far as time, Telegram and the gate allow.

    claim -> read the profile -> ask the gate -> render -> no pause? -> pace -> time left? -> commit -> POST -> record
                                                   or: -> hold out, and that is all

Up to `commit` anything may fail or stop, and nothing has happened. After it there is exactly one request, and its
outcome is recorded; a sender that dies in between leaves `sending`, which the sweeper turns into `unknown`.

Whose user belongs to a control group goes the same way up to the commit, so that the two arms differ in the message and
in nothing else.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Any

from engagement.domain import gate, helplines, templates
from engagement.domain.callbacks import exposure_ref
from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.enhancement import Enhanced
from engagement.domain.gate import Charge, Policy, Reason
from engagement.domain.outcomes import expose
from engagement.domain.outreach import Commit, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.pacing import Pacer
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.planning import Candidate, is_still_needed
from engagement.domain.profile import Profile
from engagement.domain.tick import Tick
from engagement.errors import BadPatternError
from engagement.services.transport import MESSAGES, Enhance, OutreachStore, Transport

PAGE = 50
"""Rows read from each partition of the index at a time."""
HTTP_SECONDS = 13.05
"""A request's connect and read timeouts together."""
MARGIN_SECONDS = 5.0
"""What recording the outcome may take."""
COMMIT_ROUNDS = 3
"""How often a message is put to the gate again because the user's profile changed under it."""
MAX_ATTEMPTS = 3
"""Attempts at one message that failed for a reason of its own; a 429 or a refused token is none."""
FIRST_RETRY = timedelta(minutes=1)
UNWELL_AFTER = 3
"""Requests in a row without an answer after which Telegram is left alone until the next run."""
DEFAULT_PAUSE_SECONDS = 30


class StopReason(StrEnum):
    """Why a run ended before everything due was looked at."""

    OFF = "off"
    """The kill switch."""
    LEASE_HELD = "lease_held"
    """Another run is under way."""
    PAUSED = "paused"
    """Telegram asked for silence in an earlier run."""
    THROTTLED = "throttled"
    """Telegram asked for silence in this one."""
    BAD_TOKEN = "bad_token"  # noqa: S105 - a name, not a secret
    UNWELL = "unwell"
    """Telegram does not answer."""
    OUT_OF_TIME = "out_of_time"


ADVICE = {
    StopReason.BAD_TOKEN: "Telegram refused the bot token; nothing was lost. Put the current one from BotFather into "
    "the bot-token parameter; a run takes it up within five minutes.",
    StopReason.UNWELL: "Telegram did not answer several times in a row; the next run tries again.",
}


@dataclass(slots=True)
class DeliveryReport:
    """What a run did with the messages that were due; each is counted once.

    Attributes:
        sent: accepted by Telegram.
        enhanced: those of them that a language model rephrased.
        held_out: not sent, because their users belong to a control group.
        failed: not sent and never will be, by reason.
        unknown: may have been sent; never tried again.
        suppressed: ended by the gate, by reason; also those that expired or had no point any more.
        deferred: scheduled again for later.
        lost: another run had them, or they were settled before.
        throttled: 429 answers.
        stopped: why the run ended early; None where it saw everything.
        broken_templates: those that Telegram could not parse.
    """

    sent: int = 0
    enhanced: int = 0
    held_out: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    suppressed: Counter[str] = field(default_factory=Counter)
    deferred: int = 0
    lost: int = 0
    throttled: int = 0
    stopped: StopReason | None = None
    broken_templates: set[str] = field(default_factory=set)

    @property
    def advice(self) -> str | None:
        """What the operator should do; None where all is well."""
        if self.broken_templates:
            return f"Telegram could not parse {sorted(self.broken_templates)}: sent as plain text; mend the markup."
        return ADVICE.get(self.stopped) if self.stopped else None

    def metrics(self) -> dict[str, int]:
        """Return the run's metrics by name."""
        return {
            "OutreachSent": self.sent,
            "OutreachEnhanced": self.enhanced,
            "OutreachHeldOut": self.held_out,
            "OutreachFailed": self.failed.total(),
            "OutreachUnknown": self.unknown,
            "OutreachSuppressed": self.suppressed.total(),
            "OutreachDeferred": self.deferred,
            "TelegramThrottled": self.throttled,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "sent": self.sent,
            "enhanced": self.enhanced,
            "held_out": self.held_out,
            "failed": dict(self.failed),
            "unknown": self.unknown,
            "suppressed": dict(self.suppressed),
            "deferred": self.deferred,
            "lost": self.lost,
            "throttled": self.throttled,
            "stopped": self.stopped,
            "broken_templates": sorted(self.broken_templates),
        }


@dataclass(frozen=True, slots=True)
class _Permit:
    """What the gate said yes to: who is written to, and what we know of them."""

    profile: Profile
    pattern: Pattern
    held_out: bool


class Run:
    """One run of the sender; its workers share the report and the pace."""

    def __init__(
        self,
        outreaches: OutreachStore,
        transport: Transport,
        tick: Tick,
        remaining_seconds: Callable[[], float],
        owner: str,
    ) -> None:
        self.report = DeliveryReport()
        self._outreaches = outreaches
        self._transport = transport
        self._telegram = transport.connect()
        self._texts = transport.texts()
        self._tick = tick
        self._remaining_seconds = remaining_seconds
        self._owner = owner
        self._started = transport.monotonic()
        self._pacer = Pacer(max(1, transport.sends_per_second // tick.of))
        self._unanswered = 0
        self._spent_on: date | None = None
        self._budget_left = 0
        self._lock = Lock()

    def deliver_all(self) -> None:
        """Deliver page after page until nothing new is due or something ends the run."""
        seen: set[OutreachKey] = set()
        partitions = set(self._tick.partitions(self._outreaches.partitions))
        self._check_pause()
        while partitions and not self.report.stopped:
            found: list[OutreachKey] = []
            for partition in sorted(partitions):
                page = self._outreaches.due(partition, self._now(), PAGE)
                new = [key for key in page if key not in seen and key.bot_id == self._transport.bot_id]
                found += new
                if len(page) < PAGE or not new:
                    partitions.remove(partition)
            seen.update(found)
            self._deliver_each(found)

    def _deliver_each(self, keys: Iterable[OutreachKey]) -> None:
        by_user: defaultdict[int, list[OutreachKey]] = defaultdict(list)
        for key in keys:
            by_user[key.user_id].append(key)
        if self._transport.workers == 1:
            for own in by_user.values():
                self._deliver_to_user(own)
            return
        with ThreadPoolExecutor(self._transport.workers) as pool:
            # Waiting keys hold nothing: a claim is made by the worker that serves it.
            for _ in pool.map(self._deliver_to_user, by_user.values()):
                pass

    def _deliver_to_user(self, keys: Sequence[OutreachKey]) -> None:
        """Deliver what is due for one user; where it is more than one, what matters most gets the allowance."""
        if len(keys) > 1 and not self.report.stopped:
            keys = sorted(keys, key=self._rank)
        for key in keys:
            self._deliver(key)

    def _rank(self, key: OutreachKey) -> float:
        outreach = self._outreaches.get(key)
        return -outreach.priority if outreach else 0.0

    def _deliver(self, key: OutreachKey) -> None:
        if self.report.stopped or not self._has_time():
            return
        outreach = self._claim(key)
        if outreach is None:
            return
        enhanced, asked = None, False
        for _ in range(COMMIT_ROUNDS):
            permit = self._permitted(outreach)
            markup = self._rendered(outreach, permit.profile) if permit else None
            if permit is None or markup is None:
                return
            if not asked and (enhance := self._enhancer_for(outreach, permit)):
                asked, enhanced = True, self._enhanced(enhance, outreach, permit, markup)
                continue  # that took its time: the gate may see it differently by now
            if not permit.held_out and not self._may_start(permit.profile.chat_id):
                self._outreaches.reschedule(outreach, owner=self._owner, due_at=outreach.due_at)
                self._count("deferred")
                return
            if self._exposed(outreach, permit, markup, enhanced):
                return
        self._outreaches.reschedule(outreach, owner=self._owner, due_at=_whole_second(self._now() + FIRST_RETRY))
        self._count("deferred")

    def _exposed(self, outreach: Outreach, permit: _Permit, markup: str, enhanced: Enhanced | None) -> bool:
        """Commit and send it, or hold it out; False where the user's profile does not allow it as it was read."""
        now, policy = self._now(), self._transport.policy
        charge = gate.charge(permit.profile, policy, now)
        exposed = expose(outreach, permit.profile, now)
        if enhanced and not permit.held_out:
            exposed, markup = replace(exposed, enhanced=enhanced.by), enhanced.text_html
        # Before the commit: whatever fails after it is a message that was counted and never sent.
        keyboard = {} if permit.held_out else self._keyboard(exposed, permit.profile)
        move = self._outreaches.hold_out if permit.held_out else self._outreaches.commit
        match move(exposed, owner=self._owner, charge=charge, policy=policy, now=now):
            case Commit.COMMITTED if permit.held_out:
                self._count("held_out")
            case Commit.COMMITTED:
                with self._lock:
                    # So that the last message of the day ends it for both arms at once.
                    self._budget_left = max(0, self._budget_left - 1)
                self._send(exposed, permit.profile, charge, markup, keyboard)
            case Commit.LOST:
                self._count("lost")
            case Commit.REFUSED:
                self._spent_on = None  # the budget may be what refused it
                return False
            case Commit.BUSY:
                return False
        return True

    def _claim(self, key: OutreachKey) -> Outreach | None:
        now = self._now()
        lease_until = now + timedelta(seconds=self._transport.lease_seconds)
        outreach = self._outreaches.claim(key, owner=self._owner, now=now, lease_until=lease_until)
        if outreach is not None:
            return outreach
        # Somebody else's, or left behind by a run that died: that is put right at once.
        swept = self._outreaches.sweep(key, now)
        if swept is OutreachState.SCHEDULED:
            outreach = self._outreaches.claim(key, owner=self._owner, now=now, lease_until=lease_until)
        if outreach is None:
            match swept:
                case OutreachState.EXPIRED:
                    self._count("suppressed", Reason.EXPIRED)
                case OutreachState.UNKNOWN:
                    self._count("unknown")
                case _:
                    self._count("lost")
        return outreach

    def _permitted(self, outreach: Outreach) -> _Permit | None:
        """Ask the gate; where it says no or not yet, settle the outreach."""
        profile = self._transport.profiles.get(outreach.bot_id, outreach.user_id)
        now = self._now()
        if profile is None:
            self._refuse(outreach, Reason.CONSENT)  # erased: nobody is left who could have agreed
            return None
        pattern = self._pattern(outreach)
        scores = self._transport.rescore(pattern, now)
        needed = is_still_needed(outreach, pattern, scores, self._transport.thresholds)
        candidate = Candidate.of(outreach, needed=needed)
        decision = gate.decide(candidate, profile, pattern, self._policy(now), now)
        if decision.reason is Reason.HELD_OUT:
            return _Permit(profile, pattern, held_out=True)
        if decision.reason is not None:
            self._refuse(outreach, decision.reason)
            return None
        if decision.send_at is not None and decision.send_at > now:
            self._outreaches.reschedule(outreach, owner=self._owner, due_at=_whole_second(decision.send_at))
            self._count("deferred")
            return None
        return _Permit(profile, pattern, held_out=False)

    def _policy(self, now: datetime) -> Policy:
        """Return the policy with what is left of the day's budget as it was last read; the commit reads it anew."""
        policy = self._transport.policy
        if not policy.budget:
            return policy
        with self._lock:
            if self._spent_on != now.date():
                spent = self._transport.budgets.spent(self._transport.bot_id, MESSAGES, now.date())
                self._spent_on, self._budget_left = now.date(), max(0, policy.budget - spent)
            return replace(policy, budget_left=self._budget_left)

    def _pattern(self, outreach: Outreach) -> Pattern:
        """Read the user's pattern; of one that is missing or cannot be read, nothing is known."""
        try:
            stored = self._transport.patterns.load(outreach.bot_id, outreach.user_id)
        except BadPatternError:
            return EMPTY
        return EMPTY if stored is None else stored.pattern

    def _refuse(self, outreach: Outreach, reason: Reason) -> None:
        match reason:
            case Reason.NOT_NEEDED_ANY_MORE:
                end = self._outreaches.cancel
            case Reason.EXPIRED:
                end = self._outreaches.expire
            case _:
                end = self._outreaches.suppress
        end(outreach, owner=self._owner, reason=reason)
        self._count("suppressed", reason)

    def _rendered(self, outreach: Outreach, profile: Profile) -> str | None:
        try:
            text = self._texts.render(outreach.template, profile.first_name, profile.language_code, **outreach.values)
            if outreach.outreach_type is OutreachType.MOOD_SUPPORT:
                return helplines.below(text, profile.language_code, self._transport.helplines)
            return text
        except KeyError:
            reason = "no_template"
        except ValueError:
            reason = "missing_value"
        self._outreaches.fail(outreach, owner=self._owner, reason=reason)
        self._count("failed", reason)
        return None

    def _enhancer_for(self, outreach: Outreach, permit: _Permit) -> Enhance | None:
        """Return who rephrases the text; None where it is sent as it is."""
        may_be = outreach.template.endswith(templates.AI_SUFFIX) and permit.profile.consent_llm
        may_be = may_be and outreach.outreach_type not in templates.NEVER_REPHRASED
        return self._transport.enhance if may_be and not permit.held_out else None

    def _enhanced(self, enhance: Enhance, outreach: Outreach, permit: _Permit, markup: str) -> Enhanced | None:
        profile, topics = permit.profile, sorted(permit.pattern.topics, key=lambda topic: -topic[1])
        return enhance(
            templates.plain(markup),
            outreach_type=outreach.outreach_type,
            first_name=profile.first_name,
            language_code=self._texts.of(outreach.template).language(profile.language_code),
            topics=[slug for slug, *_ in topics],
            now=self._now(),
            remaining_seconds=self._remaining_seconds(),
            values=outreach.values.values(),
        )

    def _may_start(self, chat_id: int) -> bool:
        self._check_pause()
        with self._lock:
            wait = self._pacer.wait(chat_id, self._transport.monotonic())
        self._transport.sleep(wait)
        return not self.report.stopped and self._has_time()

    def _send(
        self, outreach: Outreach, profile: Profile, charge: Charge, markup: str, keyboard: dict[str, Any]
    ) -> None:
        """Make the one request that was committed, and record what became of it."""
        sent_at = self._now()
        parsed = outreach.template not in self.report.broken_templates
        delivery = self._post(profile.chat_id, markup, keyboard, parsed=parsed)
        if delivery is not None and delivery.outcome is DeliveryOutcome.BAD_MARKUP and parsed:
            with self._lock:
                self.report.broken_templates.add(outreach.template)
            # The first was refused for its markup, so it is not out; plain text cannot be refused for that.
            if self._has_time():
                delivery = self._post(profile.chat_id, markup, keyboard, parsed=False)
        if delivery is None:
            self._defer(outreach, charge, outreach.due_at, attempted=False)
            return
        self._record(outreach, profile, charge, delivery, sent_at)

    def _keyboard(self, outreach: Outreach, profile: Profile) -> dict[str, Any]:
        """Return the buttons, each of which says under which outreach it stands, to nobody but this user."""
        exposed_at = outreach.exposed_at or outreach.planned_at
        ref = exposure_ref(outreach.outreach_type, exposed_at)
        return templates.keyboard(
            outreach.outreach_type,
            profile.language_code,
            lambda button: self._transport.signer.data(button, profile.user_id, ref),
        )

    def _post(self, chat_id: int, markup: str, keyboard: dict[str, Any], *, parsed: bool) -> Delivery | None:
        """Make one request; None where the run was stopped meanwhile and none was made."""
        with self._lock:
            wait = self._pacer.reserve(chat_id, self._transport.monotonic())
        self._transport.sleep(wait)
        if self.report.stopped:
            return None
        text, parse_mode = (markup, "HTML") if parsed else (templates.plain(markup), None)
        return self._telegram.send_message(chat_id, text, parse_mode=parse_mode, reply_markup=keyboard)

    def _record(
        self, outreach: Outreach, profile: Profile, charge: Charge, delivery: Delivery, sent_at: datetime
    ) -> None:
        self._notice_silence(delivery.outcome)
        owner, outcome = self._owner, delivery.outcome
        may_retry = outreach.attempts + 1 < MAX_ATTEMPTS
        match outcome:
            case DeliveryOutcome.SENT:
                self._outreaches.record_sent(outreach, owner=owner, message_id=delivery.message_id, at=sent_at)
                self._count("sent")
                if outreach.enhanced:
                    self._count("enhanced")
            case DeliveryOutcome.UNKNOWN:
                self._outreaches.record_unknown(outreach, owner=owner, reason=delivery.detail or outcome)
                self._count("unknown")
            case DeliveryOutcome.BLOCKED | DeliveryOutcome.UNREACHABLE:
                self._fail(outreach, outcome)
                self._transport.profiles.mark_blocked_by_send(
                    profile.bot_id, profile.user_id, at=sent_at, epoch_seen=profile.epoch
                )
            case DeliveryOutcome.RETRY_LATER:
                self._throttled(outreach, charge, delivery.retry_after or DEFAULT_PAUSE_SECONDS)
            case DeliveryOutcome.BAD_TOKEN:
                self._stop(StopReason.BAD_TOKEN)
                self._defer(outreach, charge, outreach.due_at, attempted=False)
            case DeliveryOutcome.MIGRATED if may_retry and self._moved(profile, delivery.new_chat_id):
                self._defer(outreach, charge, outreach.due_at, attempted=True)
            case DeliveryOutcome.NOT_SENT if may_retry:
                retry = FIRST_RETRY * 2**outreach.attempts * (0.5 + self._transport.jitter())
                self._defer(outreach, charge, self._now() + retry, attempted=True)
            case _:
                self._fail(outreach, outcome)

    def _throttled(self, outreach: Outreach, charge: Charge, retry_after: int) -> None:
        until = _whole_second(self._now() + timedelta(seconds=retry_after))
        self._stop(StopReason.THROTTLED)  # this run's other workers at once, every other sender by the pause
        self._count("throttled")
        self._transport.pauses.extend(self._transport.bot_id, until)
        self._defer(outreach, charge, until, attempted=False)

    def _moved(self, profile: Profile, new_chat_id: int | None) -> bool:
        if new_chat_id is None or new_chat_id == profile.chat_id:
            return False
        return self._transport.profiles.migrate_chat(profile.bot_id, profile.user_id, new_chat_id)

    def _defer(self, outreach: Outreach, charge: Charge, due_at: datetime, *, attempted: bool) -> None:
        is_back = self._outreaches.put_back(
            outreach,
            owner=self._owner,
            due_at=_whole_second(due_at),
            charge=charge,
            policy=self._transport.policy,
            attempted=attempted,
        )
        self._count("deferred" if is_back else "lost")

    def _fail(self, outreach: Outreach, reason: str) -> None:
        self._outreaches.record_failed(outreach, owner=self._owner, reason=reason)
        self._count("failed", reason)

    def _notice_silence(self, outcome: DeliveryOutcome) -> None:
        """End the run when Telegram stops answering, before every message due becomes `unknown`."""
        with self._lock:
            silent = outcome in {DeliveryOutcome.UNKNOWN, DeliveryOutcome.NOT_SENT}
            self._unanswered = self._unanswered + 1 if silent else 0
            unwell = self._unanswered >= UNWELL_AFTER
        if unwell:
            self._stop(StopReason.UNWELL)

    def _check_pause(self) -> None:
        until = self._transport.pauses.until(self._transport.bot_id)
        if until is not None and until > self._now():
            self._stop(StopReason.PAUSED)

    def _has_time(self) -> bool:
        if self._remaining_seconds() >= HTTP_SECONDS + MARGIN_SECONDS:
            return True
        self._stop(StopReason.OUT_OF_TIME)
        return False

    def _stop(self, reason: StopReason) -> None:
        with self._lock:
            self.report.stopped = self.report.stopped or reason

    def _count(self, outcome: str, reason: str | None = None) -> None:
        with self._lock:
            if reason is None:
                setattr(self.report, outcome, getattr(self.report, outcome) + 1)
            else:
                getattr(self.report, outcome)[str(reason)] += 1

    def _now(self) -> datetime:
        """The tick's time, and what has passed since."""
        return self._tick.now + timedelta(seconds=self._transport.monotonic() - self._started)


def _whole_second(at: datetime) -> datetime:
    """Round up: the table keeps whole seconds, and nothing may happen early."""
    return at if not at.microsecond else at.replace(microsecond=0) + timedelta(seconds=1)
