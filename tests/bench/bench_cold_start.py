"""What a cold start costs each function: seconds and peak memory from a fresh interpreter with the staged layers.

Run after `make build`: python tests/bench/bench_cold_start.py. The floor is what no function can do without, imported
by the same interpreter: botocore's session.
"""

import os
import platform
import statistics
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement import settings

ROOT = Path(__file__).parents[2]
RUNS = 7
FUNCTIONS = {
    "webhook": settings.WebhookSettings,
    "pattern_updater": settings.PatternUpdaterSettings,
    "scorer": settings.ScorerSettings,
    "outreach_sender": settings.OutreachSenderSettings,
    "housekeeper": settings.HousekeeperSettings,
}


def main() -> None:
    """Print one row per function: CPU seconds, wall seconds, peak memory, and the ratio to the floor."""
    layers = ROOT / "build" / "layers" / ("arm64" if platform.machine() == "aarch64" else "x86_64")
    if not (layers / "core").exists():
        sys.exit("the layers are not staged; run `.venv/bin/python -m infra.build` first")
    path = os.pathsep.join(str(p) for p in (ROOT, layers / "core" / "python", layers / "inference" / "python"))
    report = Table("function", "CPU s", "x floor", "peak MB")
    floor = 0.0
    for name in track(["(floor: botocore.session)", *FUNCTIONS], description="importing", transient=True):
        statement = "import botocore.session" if name.startswith("(") else f"import functions.{name}.handler"
        environment = {"PYTHONPATH": path, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= variables(FUNCTIONS[name]) if name in FUNCTIONS else {}
        cpu, memory = measure(statement, environment)
        floor = floor or cpu
        report.add_row(name, f"{cpu:.3f}", f"{cpu / floor:.1f}", f"{memory:.0f}")
    Console().print(report)


def variables(cls: type[settings.Settings]) -> dict[str, str]:
    """Return an environment that `cls.from_env` accepts."""
    sample = {str: "off", int: "1", float: "1"}
    env = {field.name.upper(): sample[field.type] for field in fields(cls)}  # type: ignore[index]
    env |= {"TABLE_NAME": "t", "POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_METRICS_NAMESPACE": "bench"}
    env |= {"CONSENT_POLICY": "ask", "TELEGRAM_API_URL": "http://127.0.0.1:1", "LEASE_SECONDS": "600"}
    env |= {"ML_PREDICTION_ENABLED": "on"}
    return env | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}


def measure(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    """Return the median CPU seconds and the largest peak memory in MB of fresh processes."""
    report = (
        "import resource; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    )
    seconds, memory = [], []
    for _ in range(RUNS):
        # -S: no site-packages, as on Lambda: everything must come from the layers.
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"{statement}\n{report}"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        cpu, peak = done.stdout.split()[-2:]
        seconds.append(float(cpu))
        memory.append(int(peak) / 1024)
    return statistics.median(seconds), max(memory)


if __name__ == "__main__":
    main()
