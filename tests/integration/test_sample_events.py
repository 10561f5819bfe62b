"""Every sample event, invoked as `python -m functions` does: none crashes, those that stand for an error give it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import boto3.session
import pytest

from engagement.clients import secrets
from engagement.errors import BadTickError
from engagement.settings import PlannerSettings, Settings
from engagement.store.table import Item, bind
from functions.__main__ import invoke, main, names
from infra.config import LOCAL_STAGE, DeploymentConfig
from infra.local.emulator import Emulator, environment
from infra.local.suite import BOT_ID, CALLBACK_KEY, WEBHOOK_SECRET
from infra.local.telegram.server import FakeTelegram

ROOT = Path(__file__).parents[2]
CASES = sorted(str(path.relative_to(ROOT / "events").with_suffix("")) for path in (ROOT / "events").glob("*/*.json"))
TOKEN = f"{BOT_ID}:sample-events-token-0123456789abcde"
WEBHOOK_URL = "https://abc123.execute-api.eu-central-1.amazonaws.com/telegram"

UNAUTHORIZED = {"webhook/forged", "webhook/forged_no_secret"}
BAD_TICKS = {f"{name}/bad_tick" for name in ("housekeeper", "outreach_sender", "scorer", "trainer")}
POISON = {"pattern_updater/poison"}


@pytest.fixture(scope="module")
def deployed(emulator: Emulator) -> Iterator[str]:
    """The environment of every function, the table, and the parameters that an operator creates; the table's name.

    One for all samples: each of them is to be met by whatever is already there.
    """
    with FakeTelegram(TOKEN) as telegram, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(emulator.endpoint, access_key="990000000001").items():
            patch.setenv(name, value)
        config = DeploymentConfig(bot_id=BOT_ID, stage=LOCAL_STAGE, telegram_api_url=telegram.url, virtual_clock="on")
        parameters = ("bot_token", "webhook_secret", "webhook_previous_secret", "ai_key", "callback_key")
        values = asdict(config) | {f"{name}_parameter": getattr(config, f"{name}_parameter") for name in parameters}
        values |= {"outreach_types": config.outreach_types}
        values |= {"table_name": "samples", "model_bucket": "none", "webhook_url": WEBHOOK_URL, "lease_seconds": 300}
        for settings in (*Settings.__subclasses__(), *PlannerSettings.__subclasses__()):
            for field in fields(settings):
                patch.setenv(field.name.upper(), str(values[field.name]))
        ssm = boto3.session.Session().client("ssm")
        secret_values = {
            config.bot_token_parameter: TOKEN,
            config.webhook_secret_parameter: WEBHOOK_SECRET,
            config.callback_key_parameter: CALLBACK_KEY,
        }
        for name, value in secret_values.items():
            ssm.put_parameter(Name=name, Value=value, Type="SecureString")
        secrets._provider.cache_clear()
        bind("samples")
        Item.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        yield "samples"


# A run that raises has counted nothing, which Powertools mentions.
@pytest.mark.filterwarnings("ignore:No application metrics to publish")
@pytest.mark.parametrize("case", CASES)
def test_a_sample_event_gives_its_documented_result(case: str, deployed: str) -> None:
    function = case.partition("/")[0]
    event = json.loads((ROOT / "events" / f"{case}.json").read_text())

    if case in BAD_TICKS:
        with pytest.raises(BadTickError):
            invoke(function, event)
        return
    result = invoke(function, event)

    json.dumps(result)  # Lambda refuses what is not JSON
    if function == "webhook":
        assert result["statusCode"] == (401 if case in UNAUTHORIZED else 200)
    if function == "pattern_updater":
        assert bool(result["batchItemFailures"]) is (case in POISON)


def test_every_function_has_a_sample() -> None:
    assert {case.partition("/")[0] for case in CASES} == set(names())


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_the_command_prints_what_the_function_returns_and_nothing_else(
    deployed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["webhook", "events/webhook/message.json"]) == 0
    assert main(["webhook", "forged"]) == 0

    printed = capsys.readouterr().out
    first, second = printed.split("}\n{")
    assert json.loads(first + "}")["statusCode"] == 200
    assert json.loads("{" + second)["statusCode"] == 401


def test_the_command_names_a_missing_setting_in_one_line(
    deployed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TABLE_NAME")

    assert main(["scorer", "events/scorer/tick.json"]) == 2

    said = capsys.readouterr().err
    assert "TABLE_NAME is not set" in said
    assert 'eval "$(rekindle local env)"' in said
    assert said.count("\n") == 1
