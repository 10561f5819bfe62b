"""Start and stop the local AWS (ministack), in its own environment, on loopback, with its files on tmpfs."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Self
from urllib.parse import urlparse

ROOT = Path(__file__).parents[2]
BINARY = ROOT / ".venv-local" / "bin" / "ministack"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
REGION = "us-east-1"
ACCOUNT = "000000000000"
START_SECONDS = 20
PREFIX = "rekindle-aws-"
"""Of the directories on tmpfs."""

GUARD = """
while read -r _; do :; done
kill -s KILL -- "-$1"
rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
"""
"""A shell that waits for its standard input to close, which only the end of this process does, however it ends: so a
killed run leaves nothing behind either."""


class LocalAwsError(RuntimeError):
    """The local AWS cannot do what was asked; the message says what to do next."""


def require_loopback(url: str) -> str:
    """Return `url` if it points at this machine.

    Raises:
        LocalAwsError: it does not; nothing local ever talks to a real AWS account.
    """
    if urlparse(url).hostname not in LOOPBACK:
        raise LocalAwsError(f"{url} is not a loopback address; the local suite talks to this machine only")
    return url


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(endpoint: str, access_key: str = "test") -> dict[str, str]:
    """Return the variables that point any AWS client at the local AWS and nowhere else.

    Args:
        endpoint: loopback URL of the local AWS.
        access_key: "test", or twelve digits for an account of one's own.
    """
    return {
        "AWS_ENDPOINT_URL": require_loopback(endpoint),
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Emulator:
    """One running ministack; a context manager that leaves nothing behind, even when this process is killed."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        shared_memory = Path("/dev/shm")  # noqa: S108 - in memory; the folder made in it has a random name
        parent = shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())
        self.directory = parent / f"{PREFIX}{uuid.uuid4().hex}"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            LocalAwsError: it is not installed, or did not answer in time.
        """
        if not BINARY.exists():
            raise LocalAwsError("the local AWS is not installed; run `make setup`")
        self.directory.mkdir(mode=0o700)
        try:
            self._start()
        except BaseException:  # Ctrl-C included
            self.stop()
            raise
        return self

    def _start(self) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "POWERTOOLS_"))}
        with (self.directory / "ministack.log").open("wb") as log:
            self._process = subprocess.Popen(
                [BINARY],
                env=inherited
                | {
                    "TMPDIR": str(self.directory),
                    "BIND_HOST": "127.0.0.1",
                    "GATEWAY_PORT": str(self.port),
                    "MINISTACK_HOST": "localhost",
                    "IOT_MTLS_ENABLED": "0",
                    "SFTP_ENABLED": "0",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # one signal then reaches its workers too, and Ctrl-C only us
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._is_healthy():
                return
            time.sleep(0.05)
        raise LocalAwsError(
            f"the local AWS did not answer on port {self.port} within {START_SECONDS} s; it said:\n{self.log_tail()}"
        )

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/_ministack/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def log_tail(self, characters: int = 2_000) -> str:
        """Return the end of its log."""
        return (self.directory / "ministack.log").read_text(errors="replace")[-characters:]

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it and its workers, and remove their files; safe to call twice.

        It keeps nothing on purpose, so there is nothing to say goodbye to; asked kindly it takes two seconds.
        """
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
