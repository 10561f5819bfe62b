"""A seeded population that talks to the bot over several virtual weeks, and reacts to being written to.

Every person draws from random numbers of their own, by day, so that one person's fate does not move another's and the
same seed gives the same world whatever the order of questions. So it can be asked what nobody can ask people: what
somebody would have done had they not been written to (`would_return`), which is the truth that an experiment estimates.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from engagement.domain.callbacks import Button
from infra.local.world import Kind


class Fate(StrEnum):
    """What becomes of a person if nobody does anything."""

    REGULAR = "regular"
    DRIFTER = "drifter"
    LEAVER = "leaver"
    PASSER_BY = "passer-by"
    """Leaves after a few days, as most people do."""
    NEWCOMER = "newcomer"
    BLOCKER = "blocker"
    """Leaves, and blocks the bot when it writes."""
    STOPPER = "stopper"
    """Leaves, and has sent /stop before."""


class Act(StrEnum):
    """What a person does in the chat."""

    TEXT = "text"
    EDIT = "edit"
    VOICE = "voice"
    STICKER = "sticker"
    DOCUMENT = "document"
    PRESS = "press"
    """A button under the bot's newest message that has one; `text` is what the button says, see `callbacks.Button`."""
    BLOCK = "block"


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """One thing one person does.

    Attributes:
        at: when, aware UTC, whole seconds.
        user_id: who.
        serial: orders what one person does within a second.
        act: what.
        text: the message, or what the button says.
    """

    at: datetime
    user_id: int
    serial: int
    act: Act
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with habits.

    Attributes:
        user_id: Telegram's id; some have more than 32 bits, as new accounts do.
        first_name: some need escaping.
        language_code: of their Telegram app; None where it sends none.
        fate: see `Fate`.
        joins_on: virtual day of their first message.
        leaves_on: virtual day from which they stay away; None for those who do not.
        hours: UTC hours at which they like to talk.
        sessions_a_day: how often, while they are around.
        gladness: share of cheerful messages, [0, 1].
        consents: their answer to "may we write to you?"; None never answers.
        lets_learn: whether a yes of theirs is also one to learning from them.
        kind: how they take a message.
    """

    user_id: int
    first_name: str
    language_code: str | None
    fate: Fate
    joins_on: int
    leaves_on: int | None
    hours: tuple[int, ...]
    sessions_a_day: float
    gladness: float
    consents: bool | None
    lets_learn: bool
    kind: Kind


NAMES = (
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Igor", "Jana", "Kofi", "Lena", "Mateo",
    "Nadia", "Omar", "Priya", "Quinn", "Rosa", "Sven", "Tomás", "Uma", "Viktor", "Wei", "Ximena", "Yusuf", "Zoë",
    "<Max & Co>", "עדי", "🦊 Fox",
)  # fmt: skip
GLAD = (
    "I finished my run today and feel great!",
    "Love this, thank you so much 😊",
    "Best lesson so far, really enjoyed it",
    "My code finally works, amazing!",
    "Had a wonderful dinner with friends ❤️",
)
PLAIN = (
    "What is on my list for tomorrow?",
    "hello",
    "Remind me to call the bank at nine",
    "Which book did you mention last week?",
    "ok",
    "Ten minutes of guitar practice done",
    "How long should I study before the exam?",
)
SAD = (
    "This is frustrating, nothing works today",
    "I feel sad and tired of all this work",
    "Awful day, I hate this job",
    "that answer was useless",
)
COMMANDS = ("/help", "/today", "/settings", "/stats")

MIX = (
    (Fate.REGULAR, 8),
    (Fate.DRIFTER, 12),
    (Fate.LEAVER, 20),
    (Fate.NEWCOMER, 6),
    (Fate.BLOCKER, 1),
    (Fate.STOPPER, 1),
    (Fate.PASSER_BY, 72),
)
"""How many of each; 120 people."""
KINDS = ((Kind.HELPED, Kind.INDIFFERENT, Kind.ANNOYED), (55, 30, 15))
"""How people take a message, and how many in a hundred."""
HELPS = 0.9
"""Probability that a message brings somebody back whom messages help."""
BLOCKS = 0.3
"""Probability that a message makes somebody block the bot whom messages annoy."""
STOPS = 0.3
"""Probability that it makes them press a button that ends messages instead."""
PUTS_OFF = 0.2
"""Probability that it makes them press "not now" instead; likewise, of those whom it leaves cold."""
WHIM = 0.015
"""Probability, each day, that somebody who left looks in by themselves."""

DAYS = 42
"""The virtual days that fates are spread over."""
VISIT_AFTER = timedelta(hours=2)
HALVED_EVERY = 9
"""Days in which a drifter's visits become half as frequent."""
RETURN_DAYS = 6
"""How long somebody who came back stays."""


class Population:
    """Who there is, what they do on a given day, and how they take a message from the bot."""

    def __init__(self, seed: int, start: datetime) -> None:
        self.start = start
        self._seed = seed
        self._returned_on: dict[int, int] = {}
        self._blocked: set[int] = set()
        self._serial = 0
        self.people = {person.user_id: person for person in self._settle()}

    def day(self, day: int) -> list[Action]:
        """Return what happens on virtual day `day`, in order; reactions to the bot come from `hears`."""
        actions: list[Action] = []
        for person in self.people.values():
            actions += self._day_of(person, day, self._returned_on.get(person.user_id))
        return sorted(actions)

    def hears(self, user_id: int, at: datetime) -> list[Action]:
        """Return how a person takes an outreach that reached them at `at`: a visit, a press, a block, or nothing."""
        person, rng = self.people[user_id], self._random(user_id, _hearing(at))
        if self._takes_offence(person, rng):
            self._blocked.add(user_id)
            return [self._action(person, at + timedelta(minutes=4), Act.BLOCK)]
        if button := self._dismisses(person, at):
            return [self._action(person, at + timedelta(minutes=3), Act.PRESS, button)]
        if not self._is_moved(person, rng) or not self._is_away(person, at, self._returned_on.get(user_id)):
            return []
        later = self._visit_at(at, rng)
        self._returned_on[user_id] = (later - self.start).days
        return list(self._session(person, later, rng))

    def would_return(self, user_id: int, at: datetime, within: timedelta, *, sent: bool) -> bool:
        """Say whether a person does anything within some time after `at` if they are, or are not, written to then.

        Whatever reached them before `at` is taken as it was; only messages at `at` itself are thought in or away.
        """
        person, rng = self.people[user_id], self._random(user_id, _hearing(at))
        returned_on = self._returned_on.get(user_id)
        first, last = (at - self.start).days, (at + within - self.start).days
        if returned_on is not None and returned_on >= first:
            # The visit that the message at `at` brought is the one to think away.
            returned_on = None
        if sent:
            if self._takes_offence(person, rng):
                return False
            if self._is_moved(person, rng) and self._is_away(person, at, returned_on):
                return self._visit_at(at, rng) <= at + within
        return any(
            at < action.at <= at + within
            for day in range(first, last + 1)
            for action in self._day_of(person, day, returned_on)
        )

    @staticmethod
    def _takes_offence(person: Person, rng: random.Random) -> bool:
        drawn = rng.random()
        return person.fate is Fate.BLOCKER or (person.kind is Kind.ANNOYED and drawn < BLOCKS)

    def _dismisses(self, person: Person, at: datetime) -> Button | None:
        """Return the button by which a person turns a message down; its draw is of its own, and moves no other fate."""
        if person.kind is Kind.HELPED:
            return None
        drawn = self._random(person.user_id, f"dismisses {at:%Y-%m-%d %H}").random()
        if person.kind is Kind.ANNOYED and drawn < STOPS:
            return Button.STOP_TYPE if drawn < STOPS / 2 else Button.STOP_ALL
        return Button.NOT_NOW if 1 - drawn < PUTS_OFF else None

    @staticmethod
    def _is_moved(person: Person, rng: random.Random) -> bool:
        drawn = rng.random()
        return person.kind is Kind.HELPED and drawn < HELPS

    def _is_away(self, person: Person, at: datetime, returned_on: int | None) -> bool:
        """Say whether a message finds the person gone: to those who are around it changes nothing."""
        day = (at - self.start).days
        if returned_on is not None and day <= returned_on + RETURN_DAYS:
            return False
        if person.fate is Fate.DRIFTER:
            return day > person.joins_on + 2 * HALVED_EVERY
        return person.leaves_on is not None and day >= person.leaves_on

    @staticmethod
    def _visit_at(at: datetime, rng: random.Random) -> datetime:
        return at + VISIT_AFTER * rng.random() + timedelta(minutes=5)

    def _settle(self) -> Iterator[Person]:
        rng = random.Random(self._seed)  # noqa: S311 - a simulation, not a secret
        number = 0
        for fate, count in MIX:
            for _ in range(count):
                number += 1
                joins_on = {
                    Fate.NEWCOMER: rng.randrange(DAYS // 2, DAYS - 4),
                }.get(fate, rng.randrange(3))
                leaves_on = None
                # These two leave early, so that there is time for what they are here to show.
                certain = fate in (Fate.BLOCKER, Fate.STOPPER)
                if certain or fate is Fate.LEAVER:
                    leaves_on = rng.randrange(6, 9) if certain else rng.randrange(DAYS // 5, DAYS // 2)
                if fate is Fate.PASSER_BY:
                    joins_on = rng.randrange(DAYS // 3)
                    leaves_on = joins_on + rng.randrange(3, 7)
                first_hour = rng.choice((6, 7, 12, 16, 18, 19, 20, 21))
                yield Person(
                    user_id=100_000 + 7 * number if number % 4 else 7_000_000_000 + 13 * number,
                    first_name=NAMES[number % len(NAMES)],
                    language_code=rng.choice(("en", "en", "en", "de", "es", None)),
                    fate=fate,
                    joins_on=joins_on,
                    leaves_on=leaves_on,
                    hours=(first_hour, (first_hour + rng.choice((0, 1, 2))) % 24),
                    sessions_a_day=rng.uniform(0.7, 1.6) if fate is not Fate.NEWCOMER else rng.uniform(0.6, 1.2),
                    gladness=rng.choice((0.2, 0.5, 0.7)),
                    consents=True if certain else rng.choices((True, False, None), (80, 10, 10))[0],
                    # Two in three of each group. One more draw would give everybody after them another fate.
                    lets_learn=number % 3 > 0,
                    kind=rng.choices(*KINDS)[0],
                )

    def _day_of(self, person: Person, day: int, returned_on: int | None) -> Iterator[Action]:
        """Yield what a person does on a day by themselves, given the day on which a message brought them back."""
        if day < person.joins_on or person.user_id in self._blocked:
            return
        rng = self._random(person.user_id, f"day {day}")
        if day == person.joins_on:
            yield from self._joins(person, day, rng)
        if person.fate is Fate.STOPPER and day == (person.leaves_on or 0) - 1:
            yield self._action(person, self._moment(person, day, rng), Act.TEXT, "/stop")
        expected = self._expected_sessions(person, day, returned_on, rng)
        sessions = int(expected) + (rng.random() < expected % 1)
        for _ in range(sessions):
            yield from self._session(person, self._moment(person, day, rng), rng)

    @staticmethod
    def _expected_sessions(person: Person, day: int, returned_on: int | None, rng: random.Random) -> float:
        whim = rng.random() < WHIM
        if returned_on is not None and returned_on < day <= returned_on + RETURN_DAYS:
            return person.sessions_a_day
        if person.leaves_on is not None and day >= person.leaves_on:
            return float(whim)
        if person.fate is Fate.DRIFTER:
            # Quiet by the third week, gone by the fifth.
            return float(person.sessions_a_day * 0.5 ** ((day - person.joins_on) / HALVED_EVERY))
        return person.sessions_a_day

    def _joins(self, person: Person, day: int, rng: random.Random) -> Iterator[Action]:
        at = self._moment(person, day, rng)
        yield self._action(person, at, Act.TEXT, "/start")
        if person.consents is not None:
            yes = Button.CONSENT_BOTH if person.lets_learn else Button.CONSENT_YES
            answer = yes if person.consents else Button.CONSENT_NO
            yield self._action(person, at + timedelta(seconds=rng.randrange(3, 60)), Act.PRESS, answer)

    def _session(self, person: Person, at: datetime, rng: random.Random) -> Iterator[Action]:
        for turn in range(rng.choice((1, 1, 2, 2, 3, 4))):
            at += timedelta(seconds=rng.randrange(15, 150)) if turn else timedelta(0)
            yield self._action(person, at, *self._says(person, rng))

    def _says(self, person: Person, rng: random.Random) -> tuple[Act, str]:
        kind = rng.random()
        if kind < 0.06:
            return Act.TEXT, rng.choice(COMMANDS)
        if kind < 0.09:
            return Act.VOICE, ""
        if kind < 0.12:
            return Act.STICKER, ""
        if kind < 0.14:
            return Act.DOCUMENT, ""
        if kind < 0.16:
            return Act.EDIT, rng.choice(PLAIN)
        if kind < 0.5:
            return Act.TEXT, rng.choice(PLAIN)
        return Act.TEXT, rng.choice(GLAD if rng.random() < person.gladness else SAD)

    def _moment(self, person: Person, day: int, rng: random.Random) -> datetime:
        hour = rng.choice(person.hours)
        return self.start + timedelta(days=day, hours=hour, seconds=rng.randrange(3_600))

    def _action(self, person: Person, at: datetime, act: Act, text: str = "") -> Action:
        self._serial += 1
        return Action(at, person.user_id, self._serial, act, text)

    def _random(self, user_id: int, what: str) -> random.Random:
        return random.Random(f"{self._seed} {user_id} {what}")  # noqa: S311 - a simulation, not a secret


def _hearing(at: datetime) -> str:
    """Name the moment of a message by its hour: the sender's and the demo's clock differ by seconds."""
    return f"hears {at:%Y-%m-%d %H}"
