"""Stages what is deployed, without Docker: the layers (pinned wheels, trimmed, compiled) and each function's folder.

    requirements/core.txt ------ pip, hashes checked --> trim --> compile --.
    layers/core/python/engagement --------------------------------> compile --> build/layers/<architecture>/core
    requirements/inference.txt - pip, hashes checked --> trim --> compile ----> build/layers/<architecture>/inference
    inference.txt, training.txt  pip, hashes checked --> trim ----------------> build/layers/<architecture>/training
    functions/<name>, models/<model>, what it imports of models -> compile ---> build/functions/<name>

The same inputs give the same bytes, so CDK's asset hashes do not move; unchanged inputs are not staged again.
"""

import argparse
import ast
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from engagement.domain.champion import CARD_FILE, MODEL_FILE, MODELS

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
ENGAGEMENT = ROOT / "layers" / "core" / "python" / "engagement"

# What pip calls the machine. Both tags: with 2_28 alone pip finds no wheel of packages that are built for 2014,
# with 2014 alone no onnxruntime. Lambda's python3.13 runs on Amazon Linux 2023 (glibc 2.34).
PLATFORMS = {
    "arm64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64"),
    "x86_64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
}
PYTHON = (3, 13)
LAMBDA_MAX_BYTES = 250 * 2**20
"""A function and its layers, unzipped (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

PINS = {"core": ("core",), "inference": ("inference",), "training": ("inference", "training")}
"""The files in requirements/ whose wheels make a layer. The trainer also runs what it exports."""
COMPILED = frozenset({"core", "inference"})
"""Bytecode would take the training layer over Lambda's limit on arm64; once a week, two seconds more do not matter."""

UNUSED_SUFFIXES = frozenset({".pyi", ".pxd", ".pyx", ".c", ".h", ".cc", ".a", ".proto"})
INSTALL_RECORDS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "entry_points.txt"})
"""Of a *.dist-info only the name, version and licence texts stay: the record would list files that are gone."""

# Clients are made for these; botocore scans the folder of every service it knows at each client's creation.
AWS_SERVICES = frozenset({"dynamodb", "s3", "ssm", "sts"})

_UNUSED_BY_INFERENCE = (
    "bin",
    "flatbuffers*",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/capi/libonnxruntime.so.*",  # a second copy of what the extension module holds
    "numpy/_core/_simd*.so",
    "numpy/_core/*_tests*.so",
)
UNUSED = {
    "core": ("bin",),
    # InferenceSession imports numpy and nothing else of what onnxruntime's wheel asks for.
    "inference": (*_UNUSED_BY_INFERENCE, "google", "packaging*", "protobuf-*", "numpy/f2py"),
    "training": (
        *_UNUSED_BY_INFERENCE,
        "onnx/backend/test",
        "sklearn/datasets/data",
        "sklearn/datasets/descr",
        "sklearn/datasets/images",
    ),
}


class BuildError(RuntimeError):
    """Something cannot be staged; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Folders that become the layers; each holds `python/`, which Lambda puts on the path."""

    core: Path
    inference: Path
    training: Path


def stage(architecture: str) -> Layers:
    """Stage the layers, or do nothing where their inputs have not changed.

    Raises:
        BuildError: this is not Python 3.13, or pip could not install the pinned wheels.
    """
    if sys.version_info[:2] != PYTHON:
        raise BuildError(
            f"layers are compiled by the Python that runs them: use {PYTHON[0]}.{PYTHON[1]} (`make setup`)"
        )
    with _one_at_a_time():
        folder = BUILD / "layers" / architecture
        core, inference, training = (folder / layer for layer in PINS)
        packages = _stage_packages("core", architecture, BUILD / "packages" / architecture / "core")
        _stage_packages("inference", architecture, inference)
        _stage_packages("training", architecture, training)
        key = _digest(_sources(ENGAGEMENT), packages.with_suffix(".key").read_text())
        with _staged(core, key) as target:
            if target:
                shutil.copytree(packages, target, dirs_exist_ok=True)
                _copy(ENGAGEMENT, target / "python" / "engagement", _sources(ENGAGEMENT))
                _compile(target / "python" / "engagement", "/opt/python/engagement")
        return Layers(core=core, inference=inference, training=training)


def stage_function(name: str, models: Iterable[str] = ()) -> Path:
    """Stage one function's asset: its folder, the models it carries, the modules of `models` it runs; nothing else.

    Raises:
        BuildError: the handler or a model is missing.
    """
    package = ROOT / "functions"
    sources = [package / "__init__.py", *_sources(package / name)]
    sources += _modules_of_models(sources)
    for model in models:
        sources += [ROOT / "models" / model / file for file in (MODEL_FILE, CARD_FILE)]
    for source in (package / name / "handler.py", *sources):
        if not source.is_file():
            raise BuildError(f"{source.relative_to(ROOT)} is missing; restore it from the repository")
    target = BUILD / "functions" / name
    with _one_at_a_time(), _staged(target, _digest(sources)) as folder:
        if folder:
            _copy(ROOT, folder, sources)
            _compile(folder, "/var/task")
    return target


def _modules_of_models(sources: Iterable[Path]) -> list[Path]:
    """Return the modules of `models` that these files import, with those that they import in turn."""
    package = ROOT / "models"
    found: set[Path] = set()
    unread = [source for source in sources if source.suffix == ".py"]
    while unread:
        imported = {package / "__init__.py", *(package / f"{name}.py" for name in _names_of_models(unread.pop()))}
        fresh = {path for path in imported if len(imported) > 1 and path.is_file()} - found
        found |= fresh
        unread += fresh
    return sorted(found)


def _names_of_models(source: Path) -> Iterator[str]:
    """Yield the names that a file imports from `models`; what does not parse is refused later, when it is compiled."""
    with suppress(SyntaxError):
        for node in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module == "models":
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("models."):
                yield str(node.module).split(".")[1]


def _stage_packages(layer: str, architecture: str, target: Path) -> Path:
    """Install a layer's pinned wheels for `architecture`, drop what Lambda never reads, compile the rest."""
    requirements = [ROOT / "requirements" / f"{name}.txt" for name in PINS[layer]]
    with _staged(target, _digest(requirements, architecture)) as folder:
        if folder:
            started = time.monotonic()
            _say(f"{layer} layer for {architecture}: installing the pinned wheels")
            _install(requirements, architecture, folder / "python")
            _trim(folder / "python", layer)
            if layer in COMPILED:
                _say(f"{layer} layer for {architecture}: compiling")
                _compile(folder / "python", "/opt/python")
            _say(f"{layer} layer for {architecture}: done in {time.monotonic() - started:.0f} s")
    return target


def _install(requirements: Iterable[Path], architecture: str, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--target", str(target), "--no-deps", "--no-compile", "--require-hashes", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", ".".join(map(str, PYTHON))]
    for platform in PLATFORMS[architecture]:
        command += ["--platform", platform]
    for file in requirements:
        command += ["-r", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(
            f"pip could not install {target.parent.stem}'s pinned wheels for {architecture}; "
            f"is the package index reachable?\n{result.stderr[-2_000:]}"
        )


def _trim(python: Path, layer: str) -> None:
    for pattern in UNUSED[layer]:
        for path in python.glob(pattern):
            _remove(path)
    for data in (python / "botocore" / "data", python / "boto3" / "data"):
        for service in data.glob("*/"):
            if service.name not in AWS_SERVICES:
                _remove(service)
    for path in list(python.rglob("*")):
        unused = path.suffix in UNUSED_SUFFIXES or path.name == "tests"
        if unused or (path.parent.suffix == ".dist-info" and path.name in INSTALL_RECORDS):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _compile(folder: Path, deployed_as: str) -> None:
    """Write bytecode that is trusted without looking at the source's time.

    CDK's zips set every time to 1980, so ordinary bytecode counts as stale, and the place is read-only: every cold
    start would compile everything again (measured: 2.5 times the CPU). The paths inside are those on Lambda.
    """
    command = [sys.executable, "-W", "ignore", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    result = subprocess.run(
        [*command, "-s", str(folder), "-p", deployed_as, str(folder)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BuildError(f"{folder} does not compile:\n{result.stdout[-2_000:]}")


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _copy(root: Path, target: Path, sources: Iterable[Path]) -> None:
    # Copied, never linked: an edit of one must not reach the other.
    for source in sources:
        destination = target / source.relative_to(root)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def _digest(files: Iterable[Path], *words: str) -> str:
    """Return a hash of everything that decides the result: the files, this one, the Python that compiles."""
    digest = hashlib.sha256(repr((words, sys.version_info[:3])).encode())
    for file in (Path(__file__), *files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def _staged(target: Path, key: str) -> Iterator[Path | None]:
    """Give an empty folder that becomes `target` when the block ends well; None if `target` was made from `key`."""
    record = target.with_suffix(".key")
    if target.is_dir() and record.is_file() and record.read_text() == key:
        yield None
        return
    fresh = target.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    record.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    record.write_text(key)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold off other processes that stage into the same folder."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    # Not stdout: that is where `cdk synth` prints the template.
    print(f"build: {text}", file=sys.stderr, flush=True)


def sizes(folder: Path) -> tuple[int, int]:
    """Return the bytes of a layer's files, and of a zip of them at the strongest compression."""
    with NamedTemporaryFile(suffix=".zip") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(folder))
        return unzipped(folder), Path(file.name).stat().st_size


def unzipped(*folders: Path) -> int:
    """Return the bytes of the files in folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Stage the layers and say what they weigh, and how close the heaviest function comes to Lambda's limit."""
    parser = argparse.ArgumentParser(prog="python -m infra.build", description=main.__doc__)
    parser.add_argument("--architecture", choices=[*PLATFORMS, "both"], default="arm64")
    chosen = parser.parse_args().architecture
    print(f"{'layer':<12}{'architecture':<14}{'unzipped MiB':>14}{'zipped MiB':>12}")
    trainer = stage_function("trainer", MODELS)
    totals = []
    for architecture in PLATFORMS if chosen == "both" else (chosen,):
        layers = stage(architecture)
        for name, folder in (("core", layers.core), ("inference", layers.inference), ("training", layers.training)):
            bytes_unzipped, bytes_zipped = sizes(folder)
            print(f"{name:<12}{architecture:<14}{bytes_unzipped / 2**20:>14.1f}{bytes_zipped / 2**20:>12.1f}")
        totals.append((architecture, unzipped(layers.core, layers.training, trainer)))
    for architecture, total in totals:
        print(f"trainer with its layers, {architecture}: {total / 2**20:.1f} of {LAMBDA_MAX_BYTES / 2**20:.0f} MiB")
        if total > LAMBDA_MAX_BYTES:
            raise BuildError("the trainer is larger than Lambda takes; trim the training layer (UNUSED)")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        raise SystemExit(f"build: {error}") from error
