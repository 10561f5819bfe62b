"""The fake Telegram's reading of HTML: strict, as the real one's."""

import html

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engagement.domain.templates import BUILT_IN, BY_NAME
from infra.local.telegram.entities import BadMarkupError, clean, parse_html, plain, utf16_units


def test_tags_become_entities_counted_in_utf16() -> None:
    """An emoji with a skin tone is two code points and four units."""
    parsed = parse_html('👍🏽 <b>bold <i>both</i></b> <a href="https://x.example/?a=1&amp;b=2">link</a>')
    assert parsed.text == "👍🏽 bold both link"
    assert parsed.entities == (
        {"type": "bold", "offset": 5, "length": 9},
        {"type": "italic", "offset": 10, "length": 4},
        {"type": "text_link", "offset": 15, "length": 4, "url": "https://x.example/?a=1&b=2"},
    )
    assert utf16_units("👍🏽") == 4


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("&lt;b&gt; &amp; &quot;x&quot;", '<b> & "x"'),
        ("&#60;&#x3E;&#x27;", "<>'"),
        ("fish & chips &copy; &nbsp;", "fish & chips &copy; &nbsp;"),
        ("AT&T", "AT&T"),
        ("a > b", "a > b"),
        ("&amp;lt;", "&lt;"),
        ("<B>shout</B>", "shout"),
        ("<b>x</>", "x"),
        ("<b></b>empty", "empty"),
        ('<span class="tg-spoiler">secret</span>', "secret"),
        ("<blockquote expandable>long</blockquote>", "long"),
        ('<pre><code class="language-python">1</code></pre>', "1"),
        ('<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>', "👍"),
        ("  trimmed \n", "trimmed"),
        ("a\tb\r\nc\x07d", "a b\nc d"),
    ],
)
def test_what_telegram_shows(source: str, shown: str) -> None:
    assert parse_html(source).text == shown


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("abdo <", "Unsupported start tag|Unclosed start tag"),
        ("a <3", "Unclosed start tag"),
        ("a < b", "Unsupported start tag"),
        ("<b>never closed", "Can't find end tag corresponding to start tag"),
        ("closed</b>", "Unexpected end tag at byte offset 6"),
        ("é<b><i>x</b></i>", 'Unmatched end tag at byte offset 9, expected "</i>", found "</b>"'),
        ("<script>x</script>", 'Unsupported start tag "script" at byte offset 0'),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler"'),
        ("<b", "Unclosed start tag"),
        ("<b>x</b", "Unclosed end tag"),
        ('<a href="x', "Unclosed start tag"),
    ],
)
def test_what_fails_the_whole_message(source: str, complaint: str) -> None:
    with pytest.raises(BadMarkupError, match=complaint):
        parse_html(source)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    """R55: whatever a user calls themselves, escaping shows it and breaks nothing."""
    parsed = parse_html(f"<b>{html.escape(text)}</b>!")
    assert parsed.text == clean(text + "!").strip()
    assert plain(text).text == clean(text).strip()


@pytest.mark.parametrize("template", BY_NAME)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.text(st.sampled_from("<&\">'/;#bAé👍🏽مر漢 "), min_size=1, max_size=20), wild=st.text(max_size=64))
def test_every_template_survives_any_name(template: str, name: str, wild: str) -> None:
    """R55: a name of signs, right-to-left letters and emoji is visible in the message; no name breaks one."""
    visible = " ".join(name.split())
    assume(any(character.isalnum() for character in visible))
    values = dict.fromkeys(BY_NAME[template].values, "chess")
    assert visible in parse_html(BUILT_IN.render(template, name, **values)).text
    assert parse_html(BUILT_IN.render(template, wild, **values)).text.startswith(("Hi", "Hello"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from('<>/&;="ab#x39 \n👍'), max_size=40))
def test_any_markup_is_read_or_refused(source: str) -> None:
    """No input ends in anything but a text or a refusal, and entities stay within the text."""
    try:
        parsed = parse_html(source)
    except BadMarkupError:
        return
    for entity in parsed.entities:
        assert 0 <= entity["offset"] < entity["offset"] + entity["length"] <= utf16_units(parsed.text)
