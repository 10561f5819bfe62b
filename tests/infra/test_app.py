"""The entry point that `cdk` runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_mistyped_context_key_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    """The operator reads what to type, not where in our code it was noticed; and no credentials were needed."""
    context = json.dumps({"bot_id": "123456", "alarm_mail": "ops@example.com"})
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    silenced = {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"}

    result = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env=inherited | silenced | {"CDK_CONTEXT_JSON": context, "CDK_OUTDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.strip() == (
        "rekindle: `alarm_mail` is not a context key of Rekindle; did you mean `-c alarm_email=ops@example.com`?"
    )
    assert not list(tmp_path.iterdir())
