"""Supply chain: what is deployed is listed (CycloneDX) and looked up among known vulnerabilities, or it says so.

An index without advisories answers like one that knows of none; that must not read as "no known vulnerability".
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
REQUIREMENTS = ("core", "inference", "training")
SBOM = ROOT / "build" / "sbom.json"
TIMEOUT_SECONDS = 300


def verdict(report: str | None) -> tuple[bool, str]:
    """Read pip-audit's JSON report; None or "" when it could not make one.

    Returns:
        Whether this may pass, and what to tell.
    """
    dependencies = json.loads(report)["dependencies"] if report else []
    found = [
        f"{dependency['name']} {dependency['version']}: {', '.join(known['id'] for known in dependency['vulns'])}"
        for dependency in dependencies
        if dependency.get("vulns")
    ]
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if found:
        return False, "known vulnerabilities:\n  " + "\n  ".join(found)
    if not dependencies or len(skipped) == len(dependencies):
        return True, "NOT CHECKED for known vulnerabilities: the advisory service cannot be reached from here"
    if skipped:
        return True, f"no known vulnerability, but NOT CHECKED: {', '.join(skipped)}"
    return True, f"{len(dependencies)} packages, no known vulnerability"


def main() -> int:
    """Write the bill of materials, look the packages up, and say what came of it."""
    files = [ROOT / "requirements" / f"{name}.txt" for name in REQUIREMENTS]
    SBOM.parent.mkdir(exist_ok=True)
    pins = "\n".join(file.read_text() for file in files)
    _run(["cyclonedx-py", "requirements", "-", "--output-reproducible", "-o", str(SBOM)], stdin=pins).check_returncode()
    components = len(json.loads(SBOM.read_text())["components"])
    print(f"sbom: {components} components in {SBOM.relative_to(ROOT)}")

    flags = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    result = _run(["pip-audit", *flags, *(f"--requirement={file}" for file in files)])
    passed, text = verdict(result.stdout)
    print(f"audit: {text}")
    if not result.stdout and result.stderr:
        print(result.stderr.strip().splitlines()[-1])
    return 0 if passed else 1


def _run(command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / command[0], *command[1:]],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


if __name__ == "__main__":
    sys.exit(main())
