"""Supply chain: pins, hashes, and an audit that admits when it could not look."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.audit import verdict

ROOT = Path(__file__).parents[2]
CLEAN: dict[str, Any] = {"name": "requests", "version": "2.34.2", "vulns": []}
BAD: dict[str, Any] = {"name": "urllib3", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
SKIPPED: dict[str, Any] = {"name": "boto3", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "passes", "says"),
    [
        ([CLEAN], True, r"1 packages, no known vulnerability"),
        ([CLEAN, BAD, SKIPPED], False, r"urllib3 1.0: PYSEC-1, PYSEC-2"),
        ([CLEAN, SKIPPED], True, r"NOT CHECKED: boto3"),
        ([SKIPPED, SKIPPED], True, r"^NOT CHECKED"),
        ([], True, r"^NOT CHECKED"),
    ],
)
def test_an_audit_says_what_it_did_not_check(dependencies: list[dict[str, Any]], passes: bool, says: str) -> None:
    """R86: an index without advisories must not read as one that knows of no vulnerability."""
    passed, text = verdict(json.dumps({"dependencies": dependencies, "fixes": []}))

    assert passed is passes
    assert re.search(says, text)


def test_an_audit_that_could_not_run_says_so() -> None:
    """R86: no report is not a clean report."""
    assert verdict("") == (
        True,
        "NOT CHECKED for known vulnerabilities: the advisory service cannot be reached from here",
    )


@pytest.mark.parametrize("name", ["core", "inference", "training", "dev", "local"])
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    """R86: what was tested is what is installed and deployed."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = [entry for entry in re.split(r"(?m)^(?=\S)", text) if entry and not entry.startswith("#")]

    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_cdk_command_line_is_pinned_with_a_hash() -> None:
    """R86: npm's latest `aws-cdk` cannot read what the library writes."""
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert packages["node_modules/aws-cdk"]["version"] == "2.1148.1"
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
