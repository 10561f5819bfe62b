"""R103: whom somebody can call on a hard day, and that nobody is written to about it whom nobody answers."""

import pytest

from engagement.domain.helplines import LONGEST, below, parse
from engagement.domain.languages import LANGUAGES
from engagement.domain.outreach import OutreachType
from engagement.domain.replies import TEXTS
from engagement.domain.templates import AI_SUFFIX, NEVER_REPHRASED, Texts
from engagement.errors import SettingsError
from infra.local.telegram.entities import parse_html

SETTING = "en=Samaritans 116 123|de=Telefonseelsorge 0800 1110111"


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("none", {}),
        (SETTING, {"en": "Samaritans 116 123", "de": "Telefonseelsorge 0800 1110111"}),
        (" en = A = 1 , B 2 | fil = Hopeline ", {"en": "A = 1 , B 2", "fil": "Hopeline"}),
        ("ar=خط المساعدة 123", {"ar": "خط المساعدة 123"}),
        (f"en={'x' * LONGEST}", {"en": "x" * LONGEST}),
    ],
)
def test_helplines_are_read_by_language(setting: str, read: dict[str, str]) -> None:
    assert parse(setting) == read


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "en",
        "en=",
        "=Samaritans",
        "EN=Samaritans",
        "english=Samaritans",
        "en-GB=Samaritans",
        "en=A|",
        "en=A||de=B",
        "en=A\nB",
        "en=A\x00",
        f"en={'x' * (LONGEST + 1)}",
        "116 123",
    ],
)
def test_a_bad_setting_says_what_to_write(setting: str) -> None:
    with pytest.raises(SettingsError, match=r"HELPLINES.*en=Samaritans 116 123\|de="):
        parse(setting)


@pytest.mark.parametrize("language", LANGUAGES)
def test_they_stand_under_a_text_of_support_in_the_readers_language(language: str) -> None:
    """And are shown as they were written, whatever they hold."""
    line = "Fish & <b>Chips</b> 116 123"
    markup = below("Take <i>care</i>.", f"{language}-XX", {language: line})

    shown = parse_html(markup).text
    assert markup.startswith("Take <i>care</i>.\n\n")
    assert shown == f"Take care.\n\n{TEXTS['helplines'][language].format(helplines=line)}"


@pytest.mark.parametrize(
    ("code", "helplines"), [("fr", parse(SETTING)), ("zh-Hans", parse(SETTING)), ("en", {}), (None, {})]
)
def test_where_there_are_none_of_a_language_the_text_stays_as_it_is(
    code: str | None, helplines: dict[str, str]
) -> None:
    """A number of another country helps nobody."""
    assert below("Take care.", code, helplines) == "Take care."


def test_a_text_of_support_with_its_helplines_fits_into_one_message() -> None:
    texts = Texts()
    for name in texts.variants(OutreachType.MOOD_SUPPORT):
        for language in LANGUAGES:
            markup = below(texts.render(name, "&" * 64, language), language, {language: "&" * LONGEST})
            assert len(parse_html(markup).text) <= 4_096


def test_support_is_never_rephrased_by_a_model() -> None:
    """R103: what somebody reads on a hard day was written by a person; everything else may be."""
    texts = Texts()
    assert {OutreachType.MOOD_SUPPORT} == NEVER_REPHRASED
    for outreach_type in OutreachType:
        names = texts.variants(outreach_type, ai=True)
        assert any(name.endswith(AI_SUFFIX) for name in names) is (outreach_type not in NEVER_REPHRASED)
