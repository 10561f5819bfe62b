"""What a cold start costs each function: seconds and peak memory from a fresh interpreter with the staged layers.

Run: python tests/bench/bench_cold_start.py. The floor is what no function can do without, imported
by the same interpreter: botocore's session.
"""

import os
import platform
import statistics
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from boto3.session import Session
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engagement import settings
from engagement.domain.champion import MODELS
from infra import build
from infra.local.emulator import REGION, Emulator, environment

TOKEN_PARAMETER = "/rekindle/bench/bot-token"
RUNS = 7
FUNCTIONS = {
    "webhook": settings.WebhookSettings,
    "pattern_updater": settings.PatternUpdaterSettings,
    "scorer": settings.ScorerSettings,
    "outreach_sender": settings.OutreachSenderSettings,
    "housekeeper": settings.HousekeeperSettings,
    "trainer": settings.TrainerSettings,
}
CARRIED = {"scorer": MODELS, "outreach_sender": ("churn",), "housekeeper": ("churn",), "trainer": MODELS}


def main() -> None:
    """Print one row per function: CPU seconds, the ratio to the floor, and peak memory."""
    architecture = "arm64" if platform.machine() == "aarch64" else "x86_64"
    layers = build.stage(architecture)
    shared = [layers.core / "python", layers.inference / "python"]
    shared_by = {"trainer": [layers.core / "python", layers.training / "python"]}
    report = Table("function", "CPU s", "x floor", "peak MB")
    with Emulator() as aws:
        access = environment(aws.endpoint)
        ssm = Session(access["AWS_ACCESS_KEY_ID"], access["AWS_SECRET_ACCESS_KEY"], region_name=REGION).client(
            "ssm", endpoint_url=aws.endpoint
        )
        # The sender takes its token at the cold start.
        ssm.put_parameter(Name=TOKEN_PARAMETER, Value="1:" + "A" * 35, Type="SecureString")
        floor, memory = measure("import botocore.session", path_of(shared))
        report.add_row("(floor: botocore.session)", f"{floor:.3f}", "1.0", f"{memory:.0f}")
        for name, cls in track(FUNCTIONS.items(), description="importing", transient=True):
            staged = build.stage_function(name, CARRIED.get(name, ()))
            variables = path_of([staged, *shared_by.get(name, shared)]) | access | settings_of(cls)
            cpu, memory = measure(f"import functions.{name}.handler", variables)
            report.add_row(name, f"{cpu:.3f}", f"{cpu / floor:.1f}", f"{memory:.0f}")
    Console().print(report)


def path_of(folders: list[Path]) -> dict[str, str]:
    """Return the variables that make these folders the only place to import from."""
    return {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"}


def settings_of(cls: type[settings.Settings]) -> dict[str, str]:
    """Return an environment that `cls.from_env` accepts."""
    sample = {str: "off", int: "1", float: "1"}
    env = {field.name.upper(): sample[field.type] for field in fields(cls)}
    env |= {"CONSENT_POLICY": "ask", "ML_PREDICTION_ENABLED": "on", "BOT_TOKEN_PARAMETER": TOKEN_PARAMETER}
    env |= {"ROLLOUT": "100", "TYPE_CONTROL": "10", "SENSITIVE_BASIS": "consent", "OUTREACH_TYPES": "re_engagement"}
    env |= {"HELPLINES": "none", "FEATURES": "none"}
    return env | {"POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_METRICS_NAMESPACE": "bench"}


def measure(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    """Return the median CPU seconds and the largest peak memory in MB of fresh processes."""
    # Not ru_maxrss: it carries over what the process that forked it had.
    report = (
        "import os, re; u = os.times(); status = open('/proc/self/status').read(); "
        "print(u.user + u.system, re.search('VmHWM:\\s*(.*) kB', status)[1])"
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
