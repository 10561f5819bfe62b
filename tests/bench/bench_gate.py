"""What a decision of the gate costs, beside the cheapest thing that Python can do in its place.

Run: python tests/bench/bench_gate.py [decisions]. The floor is a call that takes the same arguments and returns a
ready-made answer: the figures and their ratio to it are of one run, so that a slow machine slows both. Each line is the
fastest of five rounds, which is the one that nothing else got in the way of.
"""

import sys
import timeit
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement.domain.gate import Decision, Policy, Reason, decide
from engagement.domain.outreach import Arm, OutreachType
from engagement.domain.pattern import Pattern
from engagement.domain.planning import Candidate
from engagement.domain.profile import Profile
from tests.builders import NOW, policy, profile, silent_for

DECISIONS = 2_000
ROUNDS = 5
READY = Decision(None, Reason.PAUSED)
CANDIDATE = Candidate(
    outreach_type=OutreachType.RE_ENGAGEMENT,
    campaign="silence",
    period="2026-11-17-1",
    priority=0.9,
    trigger="churn_14d_high",
    planned_at=NOW,
    due_at=NOW,
    expires_at=NOW + timedelta(days=2),
)
PATTERN = silent_for(5, active_days=60)
BERLIN = profile(zone="Europe/Berlin")
DAY = policy(quiet=(22, 8))
NIGHT = NOW + timedelta(hours=10)
CASES: dict[str, tuple[Candidate, Profile, Pattern, Policy, datetime]] = {
    "kill switch off": (CANDIDATE, BERLIN, PATTERN, replace(DAY, enabled=False), NOW),
    "expired": (CANDIDATE, BERLIN, PATTERN, DAY, NOW + timedelta(days=3)),
    "permitted now, zone set": (CANDIDATE, BERLIN, PATTERN, DAY, NOW),
    "held out, zone set": (replace(CANDIDATE, arm=Arm.HELD_OUT), BERLIN, PATTERN, DAY, NOW),
    "waits for the morning, zone set": (CANDIDATE, BERLIN, PATTERN, DAY, NIGHT),
    "waits for the next day's cap": (
        CANDIDATE,
        replace(BERLIN, cap_day="2026-11-22", cap_count=1),
        PATTERN,
        DAY,
        NOW,
    ),
    "permitted now, zone inferred": (CANDIDATE, profile(), PATTERN, DAY, NOW),
    "waits for the morning, zone inferred": (CANDIDATE, profile(), PATTERN, DAY, NIGHT),
}


def floor(candidate: Candidate, profile: Profile, pattern: Pattern, policy: Policy, now: datetime) -> Decision:
    """Decide nothing."""
    return READY


def microseconds(call: Callable[[], object], decisions: int) -> float:
    """Return what one call takes."""
    return min(timeit.repeat(call, number=decisions, repeat=ROUNDS)) / decisions * 1e6


def main() -> None:
    """Print the table."""
    decisions = int(sys.argv[1]) if len(sys.argv) > 1 else DECISIONS
    table = Table("decision", "answer", "us", "x floor")
    least = microseconds(lambda: floor(CANDIDATE, BERLIN, PATTERN, DAY, NOW), decisions)
    table.add_row("the floor: an empty function", "", f"{least:.2f}", "1")
    for name, case in track(CASES.items(), description="deciding", transient=True):
        answer = decide(*case)
        took = microseconds(lambda case=case: decide(*case), decisions)
        shown = answer.reason or f"{answer.send_at:%d %b %H:%M} UTC"
        table.add_row(name, shown, f"{took:.1f}", f"{took / least:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
