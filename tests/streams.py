"""Made-up event streams in the format of the public ones: small, and with something to be learned in each task."""

import gzip
import random
from datetime import UTC, datetime
from pathlib import Path

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = 86_400


def write_stream(path: Path, users: int, seed: int) -> None:
    """Write regulars, occasional users and leavers, each with an hour and a mood of their own, over 200 days."""
    dice = random.Random(seed)
    lines = ["user,ts,tz_offset_min,chars,compound"]
    for user in range(users):
        day, last = dice.uniform(0, 60), dice.choice([60.0, 120.0, 200.0])
        rate = dice.choice([1.0, 4.0, 12.0])
        hour, mood = dice.randrange(24), dice.gauss(0.1, 0.3)
        while day < last:
            ts = int(START.timestamp()) + int(day) * DAY + (hour * 3_600 + int(dice.gauss(0, 5_400))) % DAY
            compound = round(max(-1.0, min(1.0, dice.gauss(mood, 0.3))), 4) if dice.random() < 0.95 else ""
            lines.append(f"{user:08x},{ts},,{dice.randrange(200)},{compound}")
            day += 1 + dice.expovariate(1 / rate)
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
