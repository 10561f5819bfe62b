"""The documents say what the code does."""

import dataclasses
import re
from pathlib import Path

import pytest

from engagement import settings
from infra.config import DeploymentConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("field", dataclasses.fields(DeploymentConfig), ids=lambda field: field.name)
def test_the_readme_lists_every_choice_with_its_default(field: dataclasses.Field[object]) -> None:
    """An operator reads the README, not the source."""
    row = re.search(rf"^\| `{field.name}` \| (.*?) \|", README, re.MULTILINE)
    assert row, f"README.md has no row for {field.name}"
    default = field.default
    expected = "(required)" if default is dataclasses.MISSING else f"`{default}`" if default != "" else "(none)"
    assert row[1] == expected


def test_every_command_of_the_readme_is_there() -> None:
    """`make X` names a target that exists."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) - {"sure"} <= targets


def test_links_of_the_documents_lead_somewhere() -> None:
    """A path in a link is a file of the project."""
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\((.+?)\)", document.read_text()):
            path = link.partition("#")[0]
            if "://" not in link and path:
                assert (document.parent / path).exists(), f"{document.name} links to {link}"


@pytest.mark.parametrize(
    "cls",
    [
        settings.WebhookSettings,
        settings.PatternUpdaterSettings,
        settings.ScorerSettings,
        settings.OutreachSenderSettings,
        settings.HousekeeperSettings,
        settings.TrainerSettings,
    ],
)
class TestSettings:
    """One dataclass a function: what CDK writes is what the function reads."""

    @staticmethod
    def filled(cls: type[settings.Settings]) -> settings.Settings:
        values = {str: "x", int: 7, float: 0.5}
        return cls(**{field.name: values[field.type] for field in dataclasses.fields(cls)})

    def test_what_is_written_reads_back_equal(self, cls: type[settings.Settings]) -> None:
        """`from_env(to_env())` is the identity."""
        filled = self.filled(cls)
        assert cls.from_env(filled.to_env()) == filled

    def test_a_missing_variable_names_itself(self, cls: type[settings.Settings]) -> None:
        """R1: an empty configuration refuses to start, and says all that is wrong at once."""
        with pytest.raises(settings.SettingsError) as raised:
            cls.from_env({"BOT_ID": "seven"})
        for field in dataclasses.fields(cls):
            assert field.name.upper() in str(raised.value)

    def test_fields_are_text_or_numbers(self, cls: type[settings.Settings]) -> None:
        """An environment holds text, and bool("False") is true."""
        assert {field.type for field in dataclasses.fields(cls)} <= {str, int, float}
