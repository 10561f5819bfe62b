"""A user's data: everything that is kept about them, in words and as JSON; for the user and for the operator (R100)."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from engagement.domain.delivery import Delivery, DeliveryOutcome
from engagement.domain.gate import Reason
from engagement.domain.profile import Profile
from engagement.domain.replies import say, words_of

FORMAT = 1
"""Of the file; another one would be another number."""
FILE_NAME = "mydata.json"
DEFAULT_PAUSE_SECONDS = 30
FEWEST_SECONDS = 30.0
"""What a file may take to be put together and sent."""
NO_USE = frozenset({DeliveryOutcome.RETRY_LATER, DeliveryOutcome.BAD_TOKEN, DeliveryOutcome.NOT_SENT})
"""Certainly not sent, and worth another attempt."""

REASONS = {reason.value: reason.words for reason in Reason}

Item = Mapping[str, Any]


class ItemReader(Protocol):
    """Reads everything that is kept about a user; see `store.exports`."""

    def items(self, bot_id: int, user_id: int) -> list[dict[str, Any]]:
        """Return every item, with every attribute."""
        ...


@dataclass(frozen=True, slots=True)
class Export:
    """What is kept about a user.

    Attributes:
        user_id: Telegram's id of the user.
        exported_at: aware UTC.
        words: it in English sentences; empty where nothing is kept.
        items: every item of the table, with every attribute.
    """

    user_id: int
    exported_at: datetime
    words: tuple[str, ...]
    items: tuple[Item, ...]

    def as_json(self) -> str:
        """Return the file: the words first, for people."""
        whole = {
            "format": FORMAT,
            "user_id": self.user_id,
            "exported_at": self.exported_at.isoformat(),
            "in_words": self.words,
            "items": self.items,
        }
        return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"


class Exporter:
    """Exports users."""

    def __init__(
        self, bot_id: int, items: ItemReader, reasons: Callable[[int, datetime], Sequence[str]] = lambda *_: ()
    ) -> None:
        """Take what it works with.

        Args:
            bot_id: whose users.
            items: reads what is kept.
            reasons: says of a user, at a time, why the score is what it is, in phrases.
        """
        self._bot_id = bot_id
        self._items = items
        self._reasons = reasons

    def export(self, user_id: int, *, now: datetime) -> Export:
        """Return everything that is kept about a user.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        items = self._items.items(self._bot_id, user_id)
        words = tuple(self._words(user_id, items, now))
        return Export(user_id, now, words, tuple(items))

    def _words(self, user_id: int, items: Sequence[Item], now: datetime) -> Iterator[str]:
        for kind, time, tell in (
            ("profile", "created_at", _profile_words),
            ("answer", "answered_at", _answer_words),
        ):
            yield from _told(_of_kind(items, kind, time), tell)
        yield from _told([_of_kind(items, "interaction", "occurred_at")], _interaction_words)
        patterns = _of_kind(items, "pattern", "")
        yield from _told(patterns, _pattern_words)
        scored = [item for item in patterns if "churn_14d" in item]
        yield from _told(scored, lambda item: self._score_words(user_id, item, now))
        for kind, time, tell in (
            ("award", "awarded_at", _award_words),
            ("outreach", "planned_at", _outreach_words),
            ("attention", "noticed_at", _attention_words),
            ("request", "asked_at", _request_words),
            ("tombstone", "erased_at", _tombstone_words),
        ):
            yield from _told(_of_kind(items, kind, time), tell)

    def _score_words(self, user_id: int, item: Item, now: datetime) -> Iterator[str]:
        yield (
            f"On {_day(item['scored_at'])} it was estimated, by {item.get('scored_by', 'rules')}, that you stay away "
            f"for 7 days with a probability of {item['churn_7d']:.0%}, for 14 days with {item['churn_14d']:.0%}, and "
            f"for 30 days with {item['churn_30d']:.0%}."
        )
        if "mood" in item:
            yield f"The mood of your next messages was estimated as {item['mood']:+.2f}, from -1 to 1."
        reasons = self._reasons(user_id, now)
        if reasons:
            yield f"What speaks for and against that now: {'; '.join(reasons)}."


def _of_kind(items: Iterable[Item], kind: str, time: str) -> list[Item]:
    """Return the items of a kind, by the attribute that says when they came into being."""
    return sorted((item for item in items if item.get("kind") == kind), key=lambda item: _seconds(item.get(time)))


def _seconds(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0


def _told[T](things: Iterable[T], tell: Callable[[T], Iterable[str]]) -> Iterator[str]:
    """Yield each in words; one that has none, having been written by another version, takes nobody else's away."""
    for thing in things:
        try:
            words = tuple(tell(thing))
        except (LookupError, TypeError, ValueError, ArithmeticError, OSError):
            words = ("One item could not be put into words; it is listed below as it is kept.",)
        yield from words


def _profile_words(item: Item) -> Iterator[str]:
    name, language = item.get("first_name") or "no name", item.get("language_code") or "unknown"
    yield f"Your name is kept as {name}, your language as {language}, your time zone as {item['zone']}."
    yield f"You were first seen on {_day(item['created_at'])}; your chat has the number {item['chat_id']}."
    writing = "stopped" if item["opted_out"] else item["consent"]
    yield f"Writing to you first: {writing}. Learning from you: {_yes(item['consent_ml'])}."
    yield f"A language model may be told of you: {_yes(item['consent_llm'])}."
    if item.get("preferences"):
        yield f"Of types of messages you said: {', '.join(item['preferences'])}."
    if item["blocked"]:
        yield f"You blocked the bot on {_day(item['status_at'])}."
    if "crisis_at" in item:
        yield f"On {_day(item['crisis_at'])} you wrote words of crisis: nothing is sent to you for a month."
    if "next_ok_at" in item:
        yield f"The next message may come from {_day(item['next_ok_at'])} on, as far as the distance is concerned."


def _answer_words(item: Item) -> Iterator[str]:
    asked = words_of(item.get("wording") or "")
    text = f' to the question "{asked}"' if asked else ""
    yield (
        f'On {_day(item["answered_at"])} you answered "{item["said"]}" about "{item["question"]}", by {item["source"]}'
        f"{text}."
    )


def _interaction_words(found: Sequence[Item]) -> Iterator[str]:
    if not found:
        return
    times = [item["occurred_at"] for item in found]
    own = sum("control" not in item for item in found)
    yield (
        f"{len(found)} of your messages and presses are kept, from {_day(min(times))} to {_day(max(times))}; {own} of "
        "them you did by yourself, the others were buttons and commands of ours. Each is listed below."
    )


def _pattern_words(item: Item) -> Iterator[str]:
    state = item["state"]
    if not isinstance(state, Mapping) or not state["total"]:
        return
    topics = ", ".join(f"{slug} ({count})" for slug, count, _ in state["topics"]) or "none"
    yield f"You were active on {len(state['days'])} days, {state['total']} times in all. Topics: {topics}."


def _award_words(item: Item) -> Iterator[str]:
    yield f"You reached the milestone {item['sk'].partition('#')[2]} on {_day(item['awarded_at'])}."


def _attention_words(item: Item) -> Iterator[str]:
    yield f"On {_day(item['noticed_at'])} a message of yours was shown to a person: {item['reason']}."


def _request_words(item: Item) -> Iterator[str]:
    yield f"You asked for this file on {_day(item['asked_at'])}."


def _tombstone_words(item: Item) -> Iterator[str]:
    yield f"You were erased on {_day(item['erased_at'])}; that is kept until {_day(item['expires_on'])}."


def _outreach_words(item: Item) -> Iterator[str]:
    what = f"A message of the type {item['outreach_type']} was planned for you on {_day(item['planned_at'])}"
    why = f"because of {item['trigger']}; it is {item['state']}"
    reason = item.get("reason")
    if reason in REASONS:
        why += f": {REASONS[reason]}"
    elif reason:
        why += f": {reason}"
    if item["arm"] == "held_out":
        why += ". The draw put you among those who do not get it, so that it can be seen whether it helps"
    came = "; you came back" if "returned_at" in item else ""
    yield f"{what}, {why}{came}."


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


class RequestStore(Protocol):
    """Who asked for their data; see `store.requests`."""

    @property
    def partitions(self) -> int:
        """Number of the due index's partitions."""
        ...

    def due(self, partition: int, now: datetime) -> Iterable[tuple[int, int]]:
        """Yield those who wait."""
        ...

    def done(self, bot_id: int, user_id: int) -> bool:
        """Keep that it was served, or cannot be."""
        ...


class ProfileReader(Protocol):
    """Where profiles are read; see `store.profiles`."""

    def get(self, bot_id: int, user_id: int) -> Profile | None:
        """Read one consistently."""
        ...


class PauseStore(Protocol):
    """The bot-wide pause after a 429; see `store.pauses`."""

    def until(self, bot_id: int) -> datetime | None:
        """Return until when Telegram asked for silence."""
        ...

    def extend(self, bot_id: int, until: datetime) -> bool:
        """Ask every sender for silence until then."""
        ...


class DocumentSender(Protocol):
    """The Bot API; one call is one attempt."""

    def send_document(self, chat_id: int, filename: str, content: bytes, caption: str) -> Delivery:
        """Try once to send a file."""
        ...


@dataclass(frozen=True, slots=True)
class DataDesk:
    """Sends users the data that they asked for, to their own chat and nowhere else."""

    bot_id: int
    requests: RequestStore
    profiles: ProfileReader
    pauses: PauseStore
    exporter: Exporter

    def serve(
        self, now: datetime, connect: Callable[[], DocumentSender], remaining_seconds: Callable[[], float]
    ) -> int:
        """Serve who waits, as far as time and Telegram allow; return how many files are out.

        A file whose fate is unclear is not sent again by itself: its user may ask again after an hour.

        Args:
            now: aware UTC.
            connect: opens the Bot API; not called while nobody waits.
            remaining_seconds: what is left of the function's time.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble.
        """
        sent = 0
        paused_until = self.pauses.until(self.bot_id)
        if paused_until is not None and paused_until > now:
            return sent
        for partition in range(self.requests.partitions):
            for bot_id, user_id in list(self.requests.due(partition, now)):
                if bot_id != self.bot_id:
                    continue
                if remaining_seconds() < FEWEST_SECONDS:
                    return sent
                outcome = self._send(user_id, now, connect)
                if outcome in NO_USE:
                    return sent
                self.requests.done(bot_id, user_id)
                sent += outcome is DeliveryOutcome.SENT
        return sent

    def _send(self, user_id: int, now: datetime, connect: Callable[[], DocumentSender]) -> DeliveryOutcome | None:
        profile = self.profiles.get(self.bot_id, user_id)
        if profile is None:  # erased meanwhile
            return None
        content = self.exporter.export(user_id, now=now).as_json().encode()
        caption = say("mydata_caption", profile.language_code)
        delivery = connect().send_document(profile.chat_id, FILE_NAME, content, caption)
        if delivery.outcome is DeliveryOutcome.RETRY_LATER:
            self.pauses.extend(self.bot_id, now + timedelta(seconds=delivery.retry_after or DEFAULT_PAUSE_SECONDS))
        return delivery.outcome
