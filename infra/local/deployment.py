"""The unmodified stack onto the local AWS, with the real `cdk` CLI: secrets first, then synth, bootstrap and deploy."""

import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.session import Session

from infra.config import LOCAL_STAGE, DeploymentConfig
from infra.local.emulator import ACCOUNT, REGION, ROOT, Emulator, LocalAwsError, environment

CDK = ROOT / "node_modules" / ".bin" / "cdk"
WORKSPACE = ROOT / "build" / "local"
"""Kept between runs: the last assembly with its zips, and the logs of what failed."""
STEP_SECONDS = 600
KEPT_LINES = 25

# Everything that decides what is synthesized. The layers are staged from these too.
INPUTS = ("infra", "functions", "layers", "models", "requirements", "cdk.json", "package-lock.json")
NOT_INPUTS = ("infra/local/", "infra/cli/")
SUFFIXES = frozenset({".py", ".txt", ".json", ".onnx", ".toml", ".js", ".html", ".csv"})

Say = Callable[[str], None]
"""Told in a few words what is being done, as it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A stack on the local AWS.

    Attributes:
        stack_name: its name.
        outputs: CloudFormation outputs by name.
        template: the synthesized template, for what the local AWS dropped of it.
        seconds: how long each step took.
    """

    stack_name: str
    outputs: Mapping[str, str]
    template: Mapping[str, Any]
    seconds: Mapping[str, float]


def local_config(bot_id: int, telegram_api_url: str, **choices: str | float) -> DeploymentConfig:
    """Return the config of the local stage: this machine's architecture, the virtual clock, the fake Telegram.

    Args:
        bot_id: the number before the colon of the bot's token.
        telegram_api_url: loopback address of the fake Telegram.
        choices: any other field of `DeploymentConfig`.
    """
    context = {
        "bot_id": bot_id,
        "stage": LOCAL_STAGE,
        "architecture": "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64",
        "telegram_api_url": telegram_api_url,
        "virtual_clock": "on",
    }
    return DeploymentConfig.from_context(context | choices)


def deploy(emulator: Emulator, config: DeploymentConfig, secrets: Mapping[str, str], say: Say) -> Deployment:
    """Deploy the stack to a running local AWS.

    Args:
        emulator: the local AWS.
        config: what the operator chose; becomes `-c key=value`.
        secrets: SSM parameters by name, created first, as an operator does.
        say: told what is being done.

    Raises:
        LocalAwsError: the CDK is not installed, or a step failed; the message holds the end of what it said.
    """
    if not CDK.exists():
        raise LocalAwsError("the CDK command line is not installed; run `make setup`")
    variables = _variables(emulator)
    seconds: dict[str, float] = {}
    _put_secrets(emulator, secrets)
    with _assembly_to_oneself() as assembly:
        # Most of it is waiting, so it runs beside the synthesis.
        bootstrap = _Step("bootstrap", emulator, variables, [f"aws://{ACCOUNT}/{REGION}"], cwd=emulator.directory)
        try:
            with _timed(seconds, "synth"):
                _synthesize(assembly, config, emulator, variables, say)
            say("bootstrapping the local AWS")
            with _timed(seconds, "bootstrap, beyond synth"):
                bootstrap.finish()
        finally:
            bootstrap.kill()
        say("deploying the stack")
        outputs_file = emulator.directory / "outputs.json"
        with _timed(seconds, "deploy"):
            options = ["--app", str(assembly), "--require-approval", "never", "--outputs-file", str(outputs_file)]
            _Step("deploy", emulator, variables, [config.stack_name, *options], cwd=emulator.directory).finish()
        template = json.loads((assembly / f"{config.stack_name}.template.json").read_text())
    outputs: dict[str, str] = json.loads(outputs_file.read_text())[config.stack_name]
    return Deployment(stack_name=config.stack_name, outputs=outputs, template=template, seconds=seconds)


def _put_secrets(emulator: Emulator, secrets: Mapping[str, str]) -> None:
    parameters = client("ssm", emulator.endpoint)
    for name, value in secrets.items():
        parameters.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def client(service: str, endpoint: str, **options: Any) -> Any:
    """Return a boto3 client of the local AWS that knows nothing of the caller's credentials.

    Raises:
        LocalAwsError: `endpoint` is not a loopback address.
    """
    variables = environment(endpoint)
    # A session of its own: the default one would read the caller's profile.
    return Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    ).client(service, endpoint_url=variables["AWS_ENDPOINT_URL"], **options)


def _variables(emulator: Emulator) -> dict[str, str]:
    """Return the environment of `cdk`: the caller's without anything that points at an AWS account."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return (
        inherited
        | environment(emulator.endpoint)
        | {
            # It remembers accounts by access key there; every local AWS has the same key.
            "CDK_HOME": str(emulator.directory / "cdk-home"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DISABLE_VERSION_CHECK": "true",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
            "NO_COLOR": "1",
            "PATH": os.pathsep.join([str(CDK.parent), str(Path(sys.executable).parent), inherited.get("PATH", "")]),
        }
    )


# --- the assembly, kept while nothing of it changes ---


def _synthesize(
    assembly: Path, config: DeploymentConfig, emulator: Emulator, variables: Mapping[str, str], say: Say
) -> None:
    context = [f"{field.name}={getattr(config, field.name)}" for field in dataclasses.fields(config)]
    key = _digest(context)
    record = assembly.with_suffix(".key")
    if record.is_file() and record.read_text() == key and (assembly / "manifest.json").is_file():
        say("the stack is unchanged since the last run: synthesis skipped")
        return
    say("synthesizing the stack")
    record.unlink(missing_ok=True)
    # Zips are named by what they hold: keeping them saves packing the layers again.
    for leftover in assembly.glob("*"):
        if leftover.name != ".cache":
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    # `make check` validates the template; here that would take two thirds of the time.
    options = ["--quiet", "--no-validation", "--output", str(assembly)]
    options += [word for pair in context for word in ("-c", pair)]
    _Step("synth", emulator, variables, options, cwd=ROOT).finish(say)
    record.write_text(key)


def _digest(context: Iterable[str]) -> str:
    digest = hashlib.sha256(repr((sys.version_info[:3], sorted(context))).encode())
    for file in _inputs():
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _inputs() -> Iterator[Path]:
    for name in INPUTS:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            relative = file.relative_to(ROOT).as_posix()
            if file.suffix in SUFFIXES and file.is_file() and not relative.startswith(NOT_INPUTS):
                yield file


@contextmanager
def _assembly_to_oneself() -> Iterator[Path]:
    """Give the one assembly folder; another run on this machine waits for it."""
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    assembly = WORKSPACE / "cdk.out"
    assembly.mkdir(exist_ok=True)
    with (WORKSPACE / "cdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield assembly


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    began_at = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - began_at, 1)


class _Step:
    """One `cdk` command under way, in a process group of its own: Ctrl-C ends it through us, with all it started."""

    def __init__(
        self, name: str, emulator: Emulator, variables: Mapping[str, str], arguments: Iterable[str], *, cwd: Path
    ) -> None:
        self._name = name
        self._log = emulator.directory / f"cdk-{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [CDK, name, "--no-color", "--no-notices", *arguments],
                cwd=cwd,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, say: Say | None = None) -> None:
        """Wait for it, passing on what the layer build says meanwhile.

        Raises:
            LocalAwsError: it failed, or took longer than ten minutes.
        """
        deadline = time.monotonic() + STEP_SECONDS
        told = 0
        try:
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                if say:
                    lines = [line for line in self._read().splitlines() if line.startswith("build: ")]
                    for line in lines[told:]:
                        say(line.removeprefix("build: "))
                    told = len(lines)
        finally:
            self.kill()
        if self._process.returncode:
            kept = WORKSPACE / self._log.name
            shutil.copyfile(self._log, kept)
            tail = "\n".join(line for line in self._read().splitlines()[-KEPT_LINES:] if line.strip())
            raise LocalAwsError(
                f"`cdk {self._name}` failed; the whole log is in {kept.relative_to(ROOT)}, and it ends:\n{tail}"
            )

    def kill(self) -> None:
        """End it and everything it started; nothing happens if it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _read(self) -> str:
        return self._log.read_text(errors="replace")
