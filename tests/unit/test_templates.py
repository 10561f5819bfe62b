"""What users read: every text filled in, escaped, and the same for a user whenever it is asked for."""

import json
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engagement.domain.callbacks import Button, Signer, exposure_ref
from engagement.domain.interaction import Exposure
from engagement.domain.outreach import OutreachType
from engagement.domain.templates import (
    AI_SUFFIX,
    BUTTONS,
    BY_NAME,
    LANGUAGES,
    TEXT_LIMIT,
    VALUES,
    VARIANTS,
    MessageTemplate,
    Texts,
    base_of,
    faults,
    keyboard,
    own_templates,
    parse,
    parse_buttons,
    plain,
)
from infra.local.telegram.entities import parse_html
from tests.builders import NOW

INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"
HOSTILE = ("<b>&\"'", "abdo <", "{name}{0}{}", "محمد", "👍🏽👨‍👩‍👧", "q\u202ez", "&lt;&amp;#60;", "x" * 200, "O'Neill")
CATALOGUE = resources.files("engagement.domain").joinpath("templates.toml").read_text(encoding="utf-8")
OURS = Texts()
render = OURS.render
RE, TOPIC = OutreachType.RE_ENGAGEMENT, OutreachType.TOPIC_FOLLOW_UP
names = st.sampled_from(sorted(BY_NAME))
languages = st.sampled_from(LANGUAGES)
every_text = pytest.mark.parametrize(
    ("name", "language"), [(name, language) for name in sorted(BY_NAME) for language in LANGUAGES]
)


def values(name: str, value: str = "chess") -> dict[str, str]:
    """Return a value for each of a template's placeholders besides the name."""
    return dict.fromkeys(BY_NAME[name].values, value)


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_each_type_has_at_least_two_variants_that_differ_in_every_language(outreach_type: OutreachType) -> None:
    variants = VARIANTS[outreach_type]
    assert len(variants) >= 2
    assert len({text for variant in variants for text in variant.texts.values()}) == len(variants) * len(LANGUAGES)
    assert all(variant.name.startswith(f"{outreach_type}.") for variant in variants)


def test_template_names_are_unique() -> None:
    assert len(BY_NAME) == sum(len(variants) for variants in VARIANTS.values())


def test_a_kept_name_keeps_its_text() -> None:
    """Names are kept with outreach: "sent open_door" must mean the same text for ever."""
    assert {name: BY_NAME[name].nameless["en"] for name in BY_NAME if name.startswith(("re_", "personalized"))} == {
        "re_engagement.open_door": "Hi! It has been a little while. Nothing you need to do - I just wanted to "
        "say that the door is open whenever you feel like picking things up again.",
        "re_engagement.where_we_left": "Hello, good to think of you! We can carry on right where we left off, "
        "or start with something new. Just send me a message when it suits you.",
        "re_engagement.short_hello": "Hi! Just a short hello from me. Whenever you feel like talking, one word is "
        "enough; and if you would rather have it quiet, the buttons below see to that.",
        "personalized_checkin.how_are_you": "Hi, how have you been? If there is anything on your mind, "
        "I'm happy to hear about it.",
        "personalized_checkin.your_week": "Hello! How is your week going? One word or a whole story, both are welcome.",
    }


@every_text
def test_a_text_is_short_and_names_its_reader_and_its_matter(name: str, language: str) -> None:
    text = render(name, "Ada", language, **values(name))
    assert "Ada" in text
    assert ("chess" in text) is bool(VALUES[OutreachType(name.split(".")[0])])
    assert 35 <= len(text) <= 250
    assert text == text.strip()
    assert "  " not in text
    assert not set("{}") & set(text)


@every_text
@pytest.mark.parametrize("first_name", ["", " ", "\t\n", "\u200b\u200d", "\u3164", "\u202e", "\ud800", "\u2800\u2800"])
def test_a_blank_name_leaves_no_gap(name: str, language: str, first_name: str) -> None:
    """An "invisible name" is no name: the greeting stands without it, before its punctuation."""
    text = render(name, first_name, language, **values(name))
    greeting, _, after = BY_NAME[name].texts[language].partition("{name}")
    assert text == render(name, "", language, **values(name))
    assert text.startswith(greeting.rstrip(", ") + after[:2])
    assert greeting.rstrip(", ").lstrip("¡").isprintable()
    assert after.lstrip("\u00a0")[0] in "!,.،।"
    assert "  " not in text


@pytest.mark.parametrize(
    ("language", "greeting"),
    [
        ("en", "Hi Ada!"),
        ("es", "¡Hola, Ada!"),
        ("pt", "Olá, Ada!"),
        ("ru", "Здравствуйте, Ада!"),
        ("de", "Hallo Ada!"),
        ("fr", "Bonjour Ada\u00a0!"),
        ("id", "Hai Ada!"),
        ("tr", "Merhaba Ada!"),
        ("ar", "مرحبًا \u2068Ada\u2069!"),
        ("hi", "नमस्ते Ada!"),
    ],
)
def test_a_greeting_is_spelt_as_its_language_spells_it(language: str, greeting: str) -> None:
    name = "Ада" if language == "ru" else "Ada"
    assert render("re_engagement.open_door", name, language).startswith(greeting)


@every_text
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_or_value_is_shown_and_changes_nothing_else(name: str, language: str, hostile: str) -> None:
    """R55, R56: in every text, for the name and for what else is filled in."""
    parsed = parse_html(render(name, hostile, language, **values(name, hostile)))
    shown = hostile.replace("\u202e", "")[:64]
    assert parsed.entities == ()
    assert parsed.text.count(shown) == 1 + len(BY_NAME[name].values)
    assert parsed.text.count("\u2068") == parsed.text.count("\u2069")
    assert len(parsed.text) <= TEXT_LIMIT


@given(name=names, language=languages, first_name=st.text(max_size=100))
@example(name="re_engagement.open_door", language="en", first_name="<b>&\"'")
@example(name="re_engagement.open_door", language="en", first_name="{name}{0}{}")
@example(name="re_engagement.open_door", language="ar", first_name="x" * 200)
def test_any_name_is_escaped_and_reads_as_it_is_written(name: str, language: str, first_name: str) -> None:
    """R55, R56: Telegram's parser accepts it, shows the name itself, adds no entity, and it fits."""
    markup = render(name, first_name, language, **values(name))
    parsed = parse_html(markup)
    assert parsed.entities == ()
    assert 0 < len(parsed.text) <= TEXT_LIMIT
    assert len(markup.encode()) <= 32_768
    visible = Counter(c for c in " ".join(first_name.split())[:64] if c.isalnum() and c not in INVISIBLE_LETTERS)
    assert visible <= Counter(parsed.text)
    # What is around the name is the template, filled and otherwise untouched.
    before, after = around(name, language)
    assert parsed.text.startswith(before)
    assert parsed.text.endswith(after)


@given(name=names, language=languages, first_name=st.text(max_size=70))
def test_as_plain_text_the_reader_sees_the_same(name: str, language: str, first_name: str) -> None:
    """R49: the second attempt, without markup."""
    markup = render(name, first_name, language, **values(name))
    before, after = around(name, language)
    assert plain(markup).startswith(before)
    assert plain(markup).endswith(after)
    assert "&lt;" not in plain(render(name, "<", language, **values(name, "<")))


def around(name: str, language: str) -> tuple[str, str]:
    """Return a text before and after the name, with its values as `values` gives them."""
    before, _, after = render(name, "Ada", language, **values(name)).partition("Ada")
    return before.rstrip("\u2068, "), after.lstrip("\u2069")


def test_plain_text_has_no_tags() -> None:
    assert plain("<b>Hi</b> A&amp;B &lt;3") == "Hi A&B <3"


def test_a_right_to_left_name_keeps_the_punctuation_after_it() -> None:
    """R55: isolated, it cannot drag its surroundings along; nor can a left-to-right one in Arabic."""
    assert "Hi \u2068\u05d0\u05d1\u2069!" in render("re_engagement.open_door", "\u05d0\u05d1")
    assert ": \u2068chess\u2069؟" in render("topic_follow_up.some_more", "Ada", "ar", topic="chess")


@pytest.mark.parametrize(
    ("language_code", "greeting"),
    [
        ("de", "Hallo"),
        ("de-AT", "Hallo"),
        ("pt-br", "Olá"),
        ("PT", "Olá"),
        ("zh-Hans", "Hi"),
        ("ja", "Hi"),
        ("deu", "Hi"),
        ("-", "Hi"),
        ("", "Hi"),
        (None, "Hi"),
    ],
)
def test_the_language_goes_by_the_primary_subtag_and_falls_back_to_english(
    language_code: str | None, greeting: str
) -> None:
    assert render("re_engagement.open_door", "", language_code).startswith(f"{greeting}!")


@every_text
def test_comfort_is_never_cheerful(name: str, language: str) -> None:
    """No exclamation mark and no emoji to who feels low; and none of our texts has emoji at all."""
    text = BY_NAME[name].texts[language]
    assert not [c for c in text if unicodedata.category(c) in {"So", "Sk"}]
    if name.startswith(OutreachType.MOOD_SUPPORT):
        assert not set("!¡！") & set(text)


@pytest.mark.parametrize(
    ("name", "given_values", "message"),
    [
        ("topic_follow_up.came_up", {}, r"came_up: expected values \['topic'\], got \[\]"),
        ("topic_follow_up.came_up", {"feature": "quiz"}, r"expected values \['topic'\], got \['feature'\]"),
        ("topic_follow_up.came_up", {"topic": "chess", "name": "x"}, "expected values"),
        ("topic_follow_up.came_up", {"topic": " \u3164"}, r"came_up: blank values \['topic'\]"),
        ("re_engagement.open_door", {"topic": "chess"}, r"expected values \[\], got \['topic'\]"),
    ],
)
def test_a_value_is_neither_missing_nor_left_over(name: str, given_values: dict[str, str], message: str) -> None:
    """R56: no reader ever sees an unfilled brace or a colon with nothing behind it."""
    with pytest.raises(ValueError, match=message):
        render(name, "Ada", "de", **given_values)


def test_a_withdrawn_template_says_so() -> None:
    with pytest.raises(KeyError):
        render("re_engagement.withdrawn", "Ada")


def catalogue(**texts: Any) -> dict[str, Any]:
    """Return the catalogue as it is shipped, with the changed texts in `topic_follow_up.came_up`."""
    tables = tomllib.loads(CATALOGUE)
    tables["topic_follow_up"]["came_up"] |= texts
    return tables


def toml(tables: Mapping[str, Any]) -> str:
    """Write types, variants and texts as TOML, whose strings may be written as JSON writes them."""
    lines: list[str] = []
    for outreach_type, variants in tables.items():
        for variant, texts in variants.items():
            lines.append(f"[{outreach_type}.{variant}]")
            lines += [f"{language} = {json.dumps(text, ensure_ascii=False)}" for language, text in texts.items()]
    return "\n".join(lines)


def test_the_catalogue_written_again_reads_the_same() -> None:
    assert parse(toml(catalogue())) == parse(CATALOGUE) == VARIANTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hallo!", r"expected each of \['name', 'topic'\] once and no other brace, got \[\]"),
        ("Hallo{name}!", r"got \['name'\]"),
        ("Hallo{name}! {topic} {topic}", r"got \['name', 'topic', 'topic'\]"),
        ("Hallo{name}! {topic} {feature}", r"got \['feature', 'name', 'topic'\]"),
        ("Hallo{name}! {topic} {}", r"got \['', 'name', 'topic'\]"),
        ("Hallo{name}! {topic.x}", r"got \['name', 'topic.x'\]"),
        ("Hallo{name}! {topic} {{x}}", "no other brace"),
        ("Hallo{name}! {topic} <blink>x</blink>", "none of Telegram's tags"),
        ("Hallo{name}! {topic} <b>x", "<b> is never closed"),
        ("Hallo{name}! {topic} {", "Single '{'"),
        ("Hallo{name}! {topic", "expected '}'"),
        ("Hallo{name}! {topic} }", "Single '}'"),
        ("Hallo{name}! {topic!r}", "without a format or a conversion"),
        ("Hallo{name}! {topic:>9}", "without a format or a conversion"),
        (
            "{name}{topic}" + "x" * (TEXT_LIMIT - 135),
            "expected 1 to 3960 code points beside the placeholders, got 3961",
        ),
        (" ", "expected 1 to 4096 code points beside the placeholders, got 1"),
        (7, "expected a text, got int"),
    ],
)
def test_a_text_that_could_go_wrong_is_refused_with_its_template_and_language(text: Any, message: str) -> None:
    """R56: found when the module is imported, not when a message is sent."""
    with pytest.raises(ValueError, match=rf"template topic_follow_up\.came_up, de: .*{message}"):
        parse(toml(catalogue(de=text)))


def without_a_language() -> str:
    tables = catalogue()
    del tables["mood_support"]["no_hurry"]["hi"]
    return toml(tables)


def without_a_variant() -> str:
    tables = catalogue()
    del tables["mood_support"]["no_hurry"]
    return toml(tables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (without_a_language(), r"template mood_support\.no_hurry: missing or unknown language \['hi'\]"),
        (toml(catalogue(it="Ciao{name}! {topic}")), r"topic_follow_up\.came_up: missing or unknown language \['it'\]"),
        (without_a_variant(), r"templates of mood_support: expected 2 or more, got \['here_to_listen'\]"),
        (CATALOGUE + "[winback.soon]\nen = 'Hi'", r"unknown types: \['winback'\]"),
        ("milestone_celebration = 7", r"expected tables \[milestone_celebration\.<variant>\]"),
        ("[milestone_celebration]\nen = 'Hi'", r"expected tables \[milestone_celebration\.<variant>\]"),
        (CATALOGUE + "[mood_support.no_hurry]", "Cannot declare"),
        ("", "templates of milestone_celebration: expected 2 or more"),
        ("[", "at end of document"),
    ],
    ids=["language", "languages", "variant", "type", "number", "text", "twice", "empty", "no_toml"],
)
def test_a_catalogue_with_something_missing_or_unknown_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


# --- buttons ---


@pytest.mark.parametrize("language", [*LANGUAGES, "de-AT", "zh", "", None])
@pytest.mark.parametrize("outreach_type", OutreachType)
def test_every_outreach_has_a_useful_button_not_now_stop_these_and_stop_all(
    outreach_type: OutreachType, language: str | None
) -> None:
    """R57, R96, R98: at most 64 bytes of data that say under which outreach, words that fit on a telephone."""
    signer, ref = Signer(1, lambda: "key"), exposure_ref(outreach_type, NOW)
    rows = keyboard(outreach_type, language, lambda button: signer.data(button, 7, ref))["inline_keyboard"]
    words, data = zip(*((button["text"], button["callback_data"]) for row in rows for button in row), strict=True)

    pressed = [press for press in (signer.read(each, 7) for each in data) if press]
    assert [press.button for press in pressed] == [Button.GO, Button.NOT_NOW, Button.STOP_TYPE, Button.STOP_ALL]
    assert {press.about for press in pressed} == {Exposure(outreach_type, NOW)}
    assert all(signer.read(each, 8) is None for each in data), "nobody else's press counts"
    assert all(len(each.encode()) <= 64 for each in data)
    assert all(0 < len(text) <= 20 for text in words)
    if language in (None, "", "zh"):
        assert words[1:] == ("Not now", BUTTONS["stop"]["en"], BUTTONS["stop_all"]["en"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_buttons_are_in_the_readers_language(language: str) -> None:
    others = {texts[other] for texts in BUTTONS.values() for other in LANGUAGES if other != language}
    assert not {texts[language] for texts in BUTTONS.values()} & others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("[buttons.later]", "[buttons.sooner]"), r"missing or unknown \['later', 'sooner'\]"),
        (lambda text: text.replace('en = "Not now"\n', ""), r"button later: missing or unknown language \['en'\]"),
        (lambda text: text.replace('"Not now"', '""'), "button later: expected 1 to 24 printable"),
        (lambda text: text.replace('"Not now"', '"Not now, and not for a while"'), "button later: expected 1 to 24"),
        (lambda text: text.replace('"Not now"', "7"), "button later, en: expected a text, got int"),
        (lambda text: text.partition("[buttons.")[0], "buttons: missing or unknown"),
    ],
    ids=["name", "language", "blank", "long", "number", "none"],
)
def test_a_catalogue_of_buttons_that_could_go_wrong_is_refused(change: Callable[[str], str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_buttons(change(CATALOGUE))


# --- variants, and those that a language model may reword ---


@pytest.mark.parametrize("outreach_type", OutreachType)
def test_a_reworded_text_is_a_variant_of_its_own_with_the_text_to_fall_back_on(outreach_type: OutreachType) -> None:
    """R63: the same text wherever it is not rewritten."""
    plain_names, all_names = OURS.variants(outreach_type), OURS.variants(outreach_type, ai=True)

    if outreach_type is OutreachType.MOOD_SUPPORT:
        assert all_names == plain_names, "R103: never rewritten by a machine"
    else:
        assert all_names == (*plain_names, *(name + AI_SUFFIX for name in plain_names))
        assert [base_of(name) for name in all_names] == [*plain_names, *plain_names]
    for name in plain_names:
        assert OURS.of(name + AI_SUFFIX) is OURS.of(name)
        assert render(name + AI_SUFFIX, "Ada", "tr", **values(name)) == render(name, "Ada", "tr", **values(name))


def test_a_win_back_of_three_steps_never_repeats_itself() -> None:
    assert len(OURS.variants(RE)) >= 3


# --- the operator's own ---


def own(text: str, variables: Sequence[str] = ("name",), kind: OutreachType = RE, **translations: str) -> Texts:
    """Our texts and the operator's `<kind>.mine`."""
    return Texts([MessageTemplate("mine", text, variables, translations=translations).of(kind)])


@pytest.mark.parametrize(
    ("text", "named", "nameless"),
    [
        ("Hi {name}! How?", "Hi Ada! How?", "Hi! How?"),
        ("Hi, {name}! How?", "Hi, Ada! How?", "Hi! How?"),
        ("{name}, how are you?", "Ada, how are you?", "How are you?"),
        ("How are you, {name}?", "How are you, Ada?", "How are you?"),
        ("Hi <b>{name}</b>!", "Hi <b>Ada</b>!", "Hi!"),
        ("<b><i>{name}</i></b>: how?", "<b><i>Ada</i></b>: how?", "How?"),
        ("<i>{name}! {name}, so?</i>", "<i>Ada! Ada, so?</i>", "<i>So?</i>"),
        ("مرحبا {name}!", "مرحبا Ada!", "مرحبا!"),
    ],
)
def test_an_own_text_leaves_no_gap_where_the_name_is_unknown(text: str, named: str, nameless: str) -> None:
    """R55: what leads to the name goes with it, and so does its markup."""
    texts = own(text)
    assert texts.render("re_engagement.mine", "Ada") == named
    assert texts.render("re_engagement.mine", " \u3164") == nameless
    assert parse_html(nameless)


def test_own_texts_come_after_ours_and_are_told_apart() -> None:
    texts = own("Hi {name}!")

    assert texts.variants(RE) == (*OURS.variants(RE), "re_engagement.mine")
    assert [texts.of(name).own for name in texts.variants(RE)] == [False] * (len(texts.variants(RE)) - 1) + [True]
    assert texts.variants(TOPIC) == OURS.variants(TOPIC)


@pytest.mark.parametrize(
    ("language_code", "greeting"), [("de-CH", "Hallo Ada"), ("fr", "Hi Ada"), (None, "Hi Ada"), ("xx", "Hi Ada")]
)
def test_an_own_text_is_in_the_readers_language_or_in_english(language_code: str | None, greeting: str) -> None:
    assert own("Hi {name}", de="Hallo {name}").render("re_engagement.mine", "Ada", language_code) == greeting


def test_an_own_text_without_english_is_in_the_language_it_has() -> None:
    template = MessageTemplate("mine", "Ciao {name}", ["name"], language="it").of(RE)
    assert Texts([template]).render("re_engagement.mine", "Ada", "fr") == "Ciao Ada"


def test_an_own_text_may_leave_a_value_out_and_repeat_another() -> None:
    texts = own("{topic}! Yes, {topic}.", ["topic"], TOPIC)
    assert texts.render("topic_follow_up.mine", "Ada", topic="<chess>") == "&lt;chess&gt;! Yes, &lt;chess&gt;."
    assert own("Hello!", [], TOPIC).render("topic_follow_up.mine", "Ada", topic="chess") == "Hello!"
    with pytest.raises(ValueError, match="expected values"):
        texts.render("topic_follow_up.mine", "Ada")
    with pytest.raises(ValueError, match="expected values"):
        texts.render("topic_follow_up.mine", "Ada", topic="chess", feature="quiz")


@given(first_name=st.text(max_size=100), language=languages)
@example(first_name="<b>&\"'", language="ar")
def test_any_name_is_escaped_in_an_own_text(first_name: str, language: str) -> None:
    """R55, R56: as in ours, between tags too."""
    for text in ("Hi <b>{name}</b>, <i>so</i>?", "{name}! So?"):
        parsed = parse_html(own(text).render("re_engagement.mine", first_name, language))
        assert len(parsed.entities) <= 2
        assert parsed.text.rstrip("?")
        assert len(parsed.text) <= 90


LONG = "x" * (TEXT_LIMIT - 68)


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("Hi {name}!", [], r", en: variables that the text lacks: \[\]; not declared: \['name'\]"),
        ("Hi!", ["name"], r"variables that the text lacks: \['name'\]; not declared: \[\]"),
        ("Hi {name}!", ["name", "topic"], r"re_engagement has no variables \['topic'\], only \['name'\]"),
        ("Hi {user_name}!", ["user_name"], r"no variables \['user_name'\]"),
        ("Hi {name!r}!", ["name"], "without a format or a conversion"),
        ("Hi {{name}}!", [], "no other brace"),
        ("Hi {name", ["name"], "expected '}'"),
        ("Hi {name}} !", ["name"], "Single '}'"),
        ("Hi {}!", [], "not declared"),
        ("{name}!", ["name"], "nothing is left of it for a reader without a name"),
        (" \n", [], "expected 1 to 4096 code points"),
        (LONG + "x{name}", ["name"], "expected 1 to 4028 code points beside the placeholders, got 4029"),
        ("<strong>x</strong>" * 2_000, [], "longer than 32768 bytes"),
        ("Hi <b>{name}!", ["name"], "<b> is never closed"),
        ("Hi <b>{name}</i>!", ["name"], "</i> closes nothing that was opened last"),
        ("Hi {name}</b>!", ["name"], "closes nothing"),
        ("I <3 you", [], "'<3 you' is none of Telegram's tags; write `<` itself as &lt;"),
        ("<a href='javascript:x'>Hi</a>", [], "none of Telegram's tags"),
        ('<a href="https://x.example/{name}">Hi</a>', ["name"], "none of Telegram's tags"),
        ("Hi \ud83d!", [], "half a surrogate pair"),
        (7, [], "expected a text, got int"),
    ],
)
def test_an_own_text_that_could_go_wrong_is_refused_with_what_to_mend(
    text: Any, variables: Sequence[str], message: str
) -> None:
    """R56: when it is added, not when it is sent."""
    with pytest.raises(ValueError, match=rf"template re_engagement\.mine.*{message}"):
        MessageTemplate("mine", text, variables).of(RE)


@pytest.mark.parametrize(
    "text", [LONG + "{name}", '<a href="https://x.example/?a=1">Hi</a> &lt;3 & co', "<code>x</code>"]
)
def test_what_telegram_takes_is_taken(text: str) -> None:
    """R56: at the very limit, and with markup that a short message can want."""
    rendered = own(text, ["name"] if "{name}" in text else []).render("re_engagement.mine", "&" * 64)
    assert 0 < len(parse_html(rendered).text) <= TEXT_LIMIT


GOOD: dict[str, Any] = {"texts": {"en": "Hi {name}!"}, "variables": ["name"]}


@pytest.mark.parametrize(
    ("name", "definition", "message"),
    [
        ("winback.mine", GOOD, "'winback' is no outreach type; they are milestone_celebration, "),
        ("mine", GOOD, "'mine' is no outreach type"),
        ("re_engagement.", GOOD, "name the variant with up to 40"),
        ("re_engagement.Mine", GOOD, "name the variant with up to 40"),
        ("re_engagement.mine+ai", GOOD, "name the variant with up to 40"),
        ("re_engagement.open_door", GOOD, "the catalogue has one of that name"),
        ("re_engagement.mine", {}, "expected texts by language"),
        ("re_engagement.mine", {"texts": {}}, "expected texts by language"),
        ("re_engagement.mine", {"texts": "Hi"}, "expected texts by language"),
        ("re_engagement.mine", GOOD | {"variables": "name"}, "expected variables as a list"),
        ("re_engagement.mine", GOOD | {"variables": [7]}, "expected variables as a list"),
        ("re_engagement.mine", {"texts": {"english": "Hi"}}, "name the language by two or three small letters"),
        ("re_engagement.mine", {"texts": {"EN": "Hi"}}, "name the language by two or three small letters"),
    ],
)
def test_a_bad_definition_is_left_out_and_reported(name: str, definition: dict[str, Any], message: str) -> None:
    """One bad text stops nothing but itself."""
    definitions = {name: definition, "re_engagement.good": GOOD}

    assert [template.name for template in own_templates(definitions)] == ["re_engagement.good"]
    assert set(faults(definitions)) == {name}
    assert message in faults(definitions)[name]


def test_a_definition_is_read_back_as_it_was_kept() -> None:
    mine = MessageTemplate("mine", "Hi {name}!", ["name"], translations={"de": "Hallo {name}!"})
    kept = json.loads(json.dumps(mine.definition))

    assert own_templates({"re_engagement.mine": kept}) == (mine.of(RE),)
