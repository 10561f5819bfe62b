"""Worlds in which messages make people press buttons, and help nobody: what is claimed, chosen and sent there.

Everything that decides is the shipped code: what an answer is, outcomes, sums, lift, the choice of texts, candidates,
planner and gate. Each simulation can also take a press for something that its user did by themselves, as it was before
R90: the difference is what the predicate is worth.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from engagement.domain import gate
from engagement.domain.consequences import answers
from engagement.domain.experiment import ALL, Experiment, Shares
from engagement.domain.interaction import Control, Exposure, Interaction
from engagement.domain.lift import Lift, increments, report
from engagement.domain.mood import mood_trend
from engagement.domain.outcomes import awaiting_of, outcomes_of
from engagement.domain.outreach import Arm, Outreach, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, Pattern, fold
from engagement.domain.planning import Candidate, Thresholds, candidates, is_still_needed
from engagement.domain.population import BUNDLED
from engagement.domain.preferences import Dismissal
from engagement.domain.profile import Profile
from engagement.domain.scores import rule_scores
from engagement.domain.templates import Texts
from engagement.domain.variants import Performance, choose
from engagement.services.planner import Planner
from tests import builders

DAY = timedelta(days=1)
EPOCH = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
STOPS, PUTS_OFF = 0.15, 0.05
SHARE = 0.9


def _press(user_id: int, at: datetime, control: Control, *, counts: bool) -> Interaction:
    return builders.interaction(user_id, at, user_id=user_id, control=None if counts else control)


@dataclass(frozen=True, slots=True)
class World:
    """A bot whose messages change nothing but that people press buttons.

    Attributes:
        stops: share of the written to who press "stop" within minutes.
        puts_off: share who press "not now".
        presses_count: a press is taken for something its user did by themselves.
    """

    stops: float = STOPS
    puts_off: float = PUTS_OFF
    presses_count: bool = False

    def looks(self, seed: int, users: int, looks: int = 10) -> Iterator[Lift]:
        """Yield what is known of all messages together, at each of so many looks."""
        rng = np.random.default_rng([seed, 21])
        sums: Counter[str] = Counter()
        chance = 1 / (1 + np.exp(-rng.normal(-0.8, 1.0, users)))
        draws = rng.random((users, 5))
        for number, (alone, (arm, returns, when, presses, late)) in enumerate(
            zip(chance.tolist(), draws.tolist(), strict=True), 1
        ):
            outreach = self._exposed(number, Arm.TREATED if arm < SHARE else Arm.HELD_OUT, alone)
            exposed_at = awaiting_of(outreach).exposed_at
            done = []
            if returns < alone:
                done.append(builders.interaction(2, exposed_at + 7 * DAY * when + timedelta(seconds=1)))
            stopped_at = None
            pressed_at = exposed_at + timedelta(minutes=1 + 30 * late)
            if outreach.arm is Arm.TREATED and presses < self.stops:
                stopped_at = pressed_at
                done.append(_press(number, pressed_at, Control.STOP_ALL, counts=self.presses_count))
            elif outreach.arm is Arm.TREATED and presses < self.stops + self.puts_off:
                done.append(_press(number, pressed_at, Control.NOT_NOW, counts=self.presses_count))
            found = answers([awaiting_of(outreach)], EMPTY, done)
            returned_at = found[0][1] if found else None
            outreach = replace(outreach, returned_at=returned_at, stopped_at=stopped_at)
            sums.update(increments(outreach, outcomes_of(outreach, EMPTY, None))[ALL])
            if number % max(1, users // looks) == 0:
                (known,) = report({ALL: sums})
                yield known

    @staticmethod
    def _exposed(number: int, arm: Arm, covariate: float) -> Outreach:
        return Outreach(
            bot_id=1,
            user_id=number,
            campaign="silence",
            period="1",
            outreach_type=OutreachType.RE_ENGAGEMENT,
            state=OutreachState.SENT if arm is Arm.TREATED else OutreachState.HELD_OUT,
            priority=0.5,
            trigger="",
            template="re_engagement.open_door",
            planned_at=EPOCH,
            due_at=EPOCH,
            expires_at=EPOCH + DAY,
            arm=arm,
            treated_probability=SHARE,
            program_probability=SHARE,
            in_control=arm is Arm.HELD_OUT,
            experiment="world",
            covariate=covariate,
            exposed_at=EPOCH,
            first_of=frozenset({ALL}),
        )


def share_of_the_annoying_text(seed: int, messages: int = 4_000, *, presses_count: bool = False) -> float:
    """Return what share of its last thousand messages the chooser gives to a text that people stop.

    Two texts: one is answered by 20 % and makes 1 % stop; the other is answered by 15 % and makes 20 % stop, 10 % put
    it off.
    """
    rng = np.random.default_rng([seed, 22])
    names = ("re_engagement.kind", "re_engagement.annoying")
    rates = {names[0]: (0.20, 0.01, 0.02), names[1]: (0.15, 0.20, 0.10)}
    sends, responses, stops, not_nows = (Counter[str](dict.fromkeys(names, 0)) for _ in range(4))
    taken = []
    for message, (answered, stopped, put_off) in enumerate(rng.random((messages, 3)).tolist()):
        known = Performance(sends, responses) if presses_count else Performance(sends, responses, stops, not_nows)
        name = choose(names, known, {}, f"{seed}#{message}").name
        sends[name] += 1
        pressed = stopped < rates[name][1] or put_off < rates[name][2]
        responses[name] += answered < rates[name][0] or (presses_count and pressed)
        stops[name] += stopped < rates[name][1]
        not_nows[name] += put_off < rates[name][2]
        taken.append(name)
    return taken[-1_000:].count(names[1]) / 1_000


@dataclass(slots=True)
class Year:
    """A year of somebody with a bot: what they do by themselves, and the messages that reach them.

    Attributes:
        active: days, from the first one on, on which they come by themselves, whatever they are sent.
        topics: what they talk about on those days.
        presses: they press "not now" under every message, a few minutes later.
        presses_count: a press is taken for something they did by themselves.
    """

    active: frozenset[int]
    topics: tuple[str, ...] = ()
    presses: bool = False
    presses_count: bool = False

    def messages(self, days: int = 365) -> list[Outreach]:
        """Return the messages of a year, as sent."""
        policy = builders.policy(experiment=Experiment(name="year", control=0.0, type_control=Shares(0.0, {})))
        planner, thresholds = (
            Planner(policy, Texts),
            Thresholds(re_engagement=0.8, checkin=0.6, features=("habits", "reminders")),
        )
        profile = builders.profile(created_at=EPOCH)
        pattern, sent, number = EMPTY, list[Outreach](), 0
        under_way: Outreach | None = None
        for day in range(days):
            now = EPOCH + day * DAY
            if day in self.active:
                number += 1
                did = builders.interaction(number, now - timedelta(hours=2), topics=self.topics)
                pattern = fold(pattern, [did])
            if under_way is None and pattern.total:
                under_way = self._plan(planner, thresholds, profile, pattern, sent, now)
            if under_way is None or under_way.due_at > now + DAY:
                continue
            at = max(under_way.due_at, now)
            needed = is_still_needed(under_way, pattern, rule_scores(pattern, at), thresholds)
            candidate = Candidate.of(under_way, needed=needed)
            decision = gate.decide(candidate, profile, pattern, policy, at)
            if decision.send_at != at:
                if decision.send_at is None:
                    under_way = None
                continue
            charge = gate.charge(profile, policy, at)
            profile = replace(profile, next_ok_at=charge.next_ok_at, cap_day=charge.day, cap_count=1)
            exposed = replace(under_way, state=OutreachState.SENT, exposed_at=at.replace(microsecond=0), sent_at=at)
            sent.append(exposed)
            under_way = None
            if self.presses:
                profile, pattern, number = self._press(exposed, profile, pattern, number)
        return sent

    def _plan(
        self,
        planner: Planner,
        thresholds: Thresholds,
        profile: Profile,
        pattern: Pattern,
        history: list[Outreach],
        now: datetime,
    ) -> Outreach | None:
        trend = mood_trend(pattern, BUNDLED, now)
        for candidate in candidates(pattern, rule_scores(pattern, now), thresholds, trend, history, now):
            answer = planner.prepare(candidate, profile, pattern, now, history=history)
            if isinstance(answer, Outreach):
                return answer
        return None

    def _press(
        self, exposed: Outreach, profile: Profile, pattern: Pattern, number: int
    ) -> tuple[Profile, Pattern, int]:
        at = awaiting_of(exposed).exposed_at + timedelta(minutes=5)
        about = Exposure(exposed.outreach_type, awaiting_of(exposed).exposed_at)
        pressed = _press(number + 1, at, Control.NOT_NOW, counts=self.presses_count)
        pattern = fold(pattern, [pressed])
        if not self.presses_count:
            profile = replace(profile, preferences=profile.preferences.with_(Dismissal(about, at)))
        return profile, pattern, number + 1


def year_of(seed: int) -> Year:
    """Draw somebody: a few weeks of visits, then bursts of them ever further apart, or none."""
    rng = np.random.default_rng([seed, 23])
    active = set(range(0, int(rng.integers(3, 40)), int(rng.integers(1, 4))))
    for _ in range(int(rng.integers(0, 4))):
        begin = int(rng.integers(60, 330))
        active.update(range(begin, begin + int(rng.integers(1, 9)), int(rng.integers(1, 3))))
    topics = (("music", "travel"), ("games",), ())[int(rng.integers(3))]
    return Year(frozenset(active), topics)
