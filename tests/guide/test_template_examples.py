"""The guide's example of templates to compare: its two texts become variants of an outreach type."""

import pytest

from engagement.domain.outreach import OutreachType
from engagement.domain.templates import MessageTemplate, Texts, own_templates
from engagement.store import keys
from engagement.store.catalogue import Catalogue
from tests.builders import NOW

BOT = 123456


@pytest.fixture
def texts() -> Texts:
    """Both of the guide's templates, in its words."""
    template_a = MessageTemplate("gentle_nudge", "Hi {name}! 👋 Just checking in - how are things going?", ["name"])
    template_b = MessageTemplate(
        "feature_highlight", "Hey {name}! 🚀 I learned something new that might interest you!", ["name"]
    )
    return Texts([template_a.of(OutreachType.PERSONALIZED_CHECKIN), template_b.of(OutreachType.FEATURE_SUGGESTION)])


def test_the_guides_templates_are_variants_beside_ours(texts: Texts) -> None:
    assert texts.variants(OutreachType.PERSONALIZED_CHECKIN)[-1] == "personalized_checkin.gentle_nudge"
    assert texts.variants(OutreachType.FEATURE_SUGGESTION)[-1] == "feature_suggestion.feature_highlight"


@pytest.mark.parametrize(
    ("first_name", "text"),
    [
        ("Ada", "Hi Ada! 👋 Just checking in - how are things going?"),
        ("<Ada>", "Hi &lt;Ada&gt;! 👋 Just checking in - how are things going?"),
        ("", "Hi! 👋 Just checking in - how are things going?"),
    ],
)
def test_the_guides_text_reads_well_with_and_without_a_name(texts: Texts, first_name: str, text: str) -> None:
    """R55, R56: no double space, no unfilled brace."""
    assert texts.render("personalized_checkin.gentle_nudge", first_name, "en") == text


def test_a_suggestion_may_leave_its_feature_unsaid(texts: Texts) -> None:
    shown = texts.render("feature_suggestion.feature_highlight", "Ada", "de", feature="voice messages")
    assert shown == "Hey Ada! 🚀 I learned something new that might interest you!"


def test_the_operators_templates_survive_the_table(table: str) -> None:
    mine = MessageTemplate("gentle_nudge", "Hi {name}! 👋", ["name"], translations={"de": "Hallo {name}! 👋"})
    catalogue = Catalogue(BOT)
    catalogue.put(keys.TEMPLATE_PREFIX, "personalized_checkin.gentle_nudge", mine.definition, NOW)

    texts = Texts(own_templates(catalogue.all(keys.TEMPLATE_PREFIX)))

    assert texts.render("personalized_checkin.gentle_nudge", "Ada", "de-AT") == "Hallo Ada! 👋"
