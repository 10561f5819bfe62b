"""Rephrasing before the commit: a rendered template goes to a language model, and a checked text or nothing comes back.

    worth it? -> time left? -> provider well? -> budget taken -> one call -> checked -> Enhanced

Whatever goes wrong, the template is sent: nothing here raises, waits longer than `CALL_SECONDS`, or tries again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any, Protocol

from engagement.domain import enhancement
from engagement.domain.enhancement import Enhanced, Failure, Prompt, Rejection, Request
from engagement.domain.outreach import OutreachType
from engagement.errors import StoreUnavailableError

CALL_SECONDS = 4.0
"""For a call as a whole, connection and key included; a small model rephrases 300 characters in about one."""
RESERVE_SECONDS = 20.0
"""What the sender needs afterwards to commit, post and record."""
UNWELL_AFTER = 3
"""Failures in a row after which the provider is left alone."""
LEFT_ALONE = timedelta(minutes=5)
"""Longer than a run of the sender lasts: for the rest of it, the templates do."""
BUDGET = "llm"
"""What the daily calls are counted as."""


class Provider(Protocol):
    """A language model behind an API."""

    @property
    def name(self) -> str:
        """Provider and model, safe to log and to store."""
        ...

    def complete(self, prompt: Prompt, timeout_seconds: float) -> str | Failure:
        """Ask once; return the model's words, or why there are none within the time."""
        ...


class Budgets(Protocol):
    """Counts what is spent of a day; see `store.budgets`."""

    def take(self, bot_id: int, what: str, day: date, limit: int) -> bool:
        """Take one of the day's `limit`, atomically; False where none is left."""
        ...


@dataclass(slots=True)
class EnhancementReport:
    """What became of the texts that could have been rephrased; each is counted once.

    Attributes:
        used: rephrased and found good.
        rejected: rephrased and not sent, by reason.
        failed: the provider gave no text, by reason.
        skipped: no call was made, by reason: "template" (it could not pass itself), "out_of_time", "unwell" (the
            provider failed several times in a row), "budget" (none left), "store" (nothing could be counted).
    """

    used: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def metrics(self) -> dict[str, int]:
        """Return the metrics by name; each call costs money, whatever came of it."""
        return {
            "LlmCalls": self.used + self.rejected.total() + self.failed.total(),
            "LlmRejected": self.rejected.total(),
            "LlmFailed": self.failed.total(),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "used": self.used,
            "rejected": dict(self.rejected),
            "failed": dict(self.failed),
            "skipped": dict(self.skipped),
        }


class Enhancer:
    """Asks a provider for other words; threads may share one."""

    def __init__(self, provider: Provider | None, budgets: Budgets, *, bot_id: int, calls_per_day: int) -> None:
        """Take what it works with.

        Args:
            provider: None where rephrasing is off.
            budgets: counts the calls of a day.
            bot_id: whose budget.
            calls_per_day: most calls of a UTC day.
        """
        self._provider = provider
        self._budgets = budgets
        self._bot_id = bot_id
        self._calls_per_day = calls_per_day
        self._lock = Lock()
        self._report = EnhancementReport()
        self._failures_in_a_row = 0
        self._left_alone_until: datetime | None = None

    def enhance(
        self,
        text: str,
        *,
        outreach_type: OutreachType,
        first_name: str,
        language_code: str | None,
        topics: Sequence[str],
        now: datetime,
        remaining_seconds: float,
        values: Iterable[str] = (),
    ) -> Enhanced | None:
        """Ask once for the text in other words. Only for users who agreed to that (`Profile.consent_llm`).

        Args:
            text: the rendered template without markup.
            outreach_type: why we write.
            first_name: as Telegram gave it; it must be in `text` as the template put it there.
            language_code: IETF tag of the language that `text` is in.
            topics: what the user likes to talk about; only those of our catalogue are told, three at most.
            now: aware UTC; its day's budget is charged.
            remaining_seconds: what is left of the function's time.
            values: the milestone, feature or topic in `text`, to be kept word for word.

        Returns:
            The text to send; None where the template is to be sent as it is.
        """
        provider = self._provider
        if provider is None:
            return None
        request = Request.of(
            text,
            outreach_type=outreach_type,
            first_name=first_name,
            language_code=language_code,
            topics=topics,
            values=values,
        )
        obstacle = self._obstacle(request, now, remaining_seconds)
        if obstacle is not None:
            with self._lock:
                self._report.skipped[obstacle] += 1
            return None
        answer = provider.complete(enhancement.prompt(request), CALL_SECONDS)
        rephrased = None if isinstance(answer, Failure) else enhancement.cleaned(answer)
        verdict = answer if rephrased is None else enhancement.rejection(rephrased, request)
        self._record(verdict, now)
        if rephrased is None or verdict is not None:
            return None
        return Enhanced(text_html=enhancement.as_html(rephrased, request), by=provider.name)

    def take_report(self) -> EnhancementReport:
        """Return what was done since this was last asked, and begin anew."""
        with self._lock:
            report, self._report = self._report, EnhancementReport()
        return report

    def _obstacle(self, request: Request, now: datetime, remaining_seconds: float) -> str | None:
        """Return why no call is made; the budget is asked last, so that nothing is taken in vain."""
        if enhancement.rejection(request.text, request) is not None:
            return "template"
        if remaining_seconds < CALL_SECONDS + RESERVE_SECONDS:
            return "out_of_time"
        with self._lock:
            if self._left_alone_until is not None and now < self._left_alone_until:
                return "unwell"
        try:
            has_budget = self._budgets.take(self._bot_id, BUDGET, now.date(), self._calls_per_day)
        except StoreUnavailableError:
            return "store"  # what cannot be counted is not spent
        return None if has_budget else "budget"

    def _record(self, verdict: object, now: datetime) -> None:
        with self._lock:
            match verdict:
                case Failure():
                    self._report.failed[verdict.value] += 1
                    self._failures_in_a_row += 1
                    if self._failures_in_a_row >= UNWELL_AFTER:
                        self._failures_in_a_row = 0
                        self._left_alone_until = now + LEFT_ALONE
                    return
                case Rejection():
                    self._report.rejected[verdict] += 1
                case _:
                    self._report.used += 1
            self._failures_in_a_row = 0
