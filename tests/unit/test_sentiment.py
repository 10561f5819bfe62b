"""Moods: English by the lexicon, emoji everywhere, and never a false neutral."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain import sentiment as module
from engagement.domain.interaction import SentimentType
from engagement.domain.sentiment import (
    EMOJI_VALENCE,
    EMOTICON_VALENCE,
    EMOTICONS,
    MAX_CHARACTERS,
    MAX_EMOJI,
    level,
    sentiment,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I love this bot, it is wonderful!", SentimentType.VERY_POSITIVE),
        ("That was nice", SentimentType.POSITIVE),
        ("The train leaves at seven", SentimentType.NEUTRAL),
        ("This is bad", SentimentType.NEGATIVE),
        ("I hate it, awful and useless", SentimentType.VERY_NEGATIVE),
        ("not good at all", SentimentType.NEGATIVE),
        ("👍👍👍👍", SentimentType.VERY_POSITIVE),
    ],
)
def test_english_has_five_levels(text: str, expected: SentimentType) -> None:
    assert level(sentiment(text, "en")) is expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Das ist die beste App", "de"),
        ("Das ist die beste App", "en"),
        ("Das war ein schöner Tag", "de"),
        ("Das war ein schöner Tag", "en-GB"),
        ("Danke schön", "en"),
        ("No me puedo quejar, es perfecto", "es"),
        ("Sin duda es la mejor", "es"),
        ("Sin duda es la mejor", "en"),
        ("Non è male per niente", "it"),
        ("C'est pas mal du tout", "fr"),
        ("Dit is die goede app", "nl"),
        ("Bu uygulama çok güzel", "tr"),
        ("Aplikasi ini bagus sekali", "id"),
        ("Это лучшее приложение", "ru"),
        ("Это лучшее приложение", "en"),
        ("これは素晴らしい", "ja"),
        ("هذا رائع", "ar"),
        ("Aplicativo muito bom, não tem erro", None),
        ("", "en"),
        ("   \n", "en"),
        ("1234 5678", "en"),
        ("🍕", "en"),
        ("eine 🍕 bitte", "de"),
        ("https://love.example.com/hate", "de"),
    ],
)
def test_what_the_lexicon_does_not_speak_is_unknown_and_not_neutral(text: str, language: str | None) -> None:
    """The German "die" and the Spanish "no" would score as anger; a null model would read 0 as a mood."""
    assert sentiment(text, language) is None
    assert level(None) is SentimentType.UNKNOWN


@pytest.mark.parametrize("language", ["en", "de", "ru", None])
@pytest.mark.parametrize(
    ("text", "sign"),
    [
        *[(text, 1) for text in ("👍", "👍🏽", "🙏🏿", "💯", "🔥", "❤️", ":)", "xD", "<3")],
        *[(text, -1) for text in ("👎", "😡", "🤬", "💔", ":-(", "</3")],
    ],
)
def test_emoji_and_emoticons_speak_every_language(text: str, sign: int, language: str | None) -> None:
    score = sentiment(text, language)

    assert score is not None
    assert score * sign > 0.05


@pytest.mark.parametrize(
    ("text", "sign"), [("Das ist toll 😀", 1), ("Отлично! 👍", 1), ("schlecht :(", -1), ("うん💔", -1)]
)
def test_emoji_are_read_inside_words_that_are_not(text: str, sign: int) -> None:
    score = sentiment(text, "de")

    assert score is not None
    assert score * sign > 0.05


def test_an_emoji_glued_to_a_word_hides_neither() -> None:
    assert sentiment("great👎", "en") != sentiment("great", "en")
    assert sentiment("x😍really", "en") == sentiment("x 😍 really", "en")


def test_an_unknown_app_language_is_english_only_if_the_words_are() -> None:
    assert sentiment("This is the best day of my life", None) is not None
    assert sentiment("Super toll", None) is None


def test_every_valence_of_ours_has_a_sign_the_scale_allows() -> None:
    """The table is what VADER reads: each entry comes out with its own sign."""
    for emoji, valence in EMOJI_VALENCE.items():
        score = sentiment(emoji, "xx")
        assert len(emoji) == 1
        assert -4 <= valence <= 4
        assert score is not None
        assert score * valence > 0
    assert set(EMOTICON_VALENCE) <= EMOTICONS


@pytest.mark.parametrize(("text", "language"), [(token, "xx") for token in sorted(EMOTICONS)])
def test_every_emoticon_is_in_the_lexicon(text: str, language: str) -> None:
    assert sentiment(text, language) is not None


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=600), language=st.sampled_from(["en", "de", None]))
def test_a_score_is_none_or_finite_between_minus_one_and_one(text: str, language: str | None) -> None:
    """R18."""
    score = sentiment(text, language)

    assert score is None or -1.0 <= score <= 1.0
    assert (level(score) is SentimentType.UNKNOWN) == (score is None)


@pytest.mark.parametrize(
    "text",
    [
        "😀" * 4_096,
        "😀😁😂🤣" * 1_024,
        "good bad " * 455,
        "😀a" * 2_048,
        ":) " * 1_365,
        "👩‍🚀" * 1_365,
        "VERY good " * 409,
    ],
    ids=["one-emoji", "many-emoji", "words", "glued", "emoticons", "joined", "shouting"],
)
def test_only_a_bounded_part_of_a_text_is_scored(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R13: VADER is quadratic (4,096 emoji took it 3.3 s); what reaches it is short whatever the user sends."""
    scored: list[str] = []
    analyzer = module._analyzer()
    original = analyzer.polarity_scores
    monkeypatch.setattr(analyzer, "polarity_scores", lambda part: scored.append(part) or original(part), raising=True)

    sentiment(text, "en")
    sentiment(text, "de")

    assert scored
    for part in scored:
        assert len(part.replace(" ", "")) <= MAX_CHARACTERS
        assert len(module.EMOJI.findall(part)) <= MAX_EMOJI


def test_a_run_of_one_emoji_counts_three_times_at_most() -> None:
    assert sentiment("😀" * 4_096, "en") == sentiment("😀" * 3, "en")
    assert sentiment("😀" * 3, "en") != sentiment("😀", "en")


def test_importing_the_module_loads_no_lexicon() -> None:
    """Cold start: an invocation that scores nothing pays nothing for it."""
    code = "import sys, json, engagement.domain.sentiment; print(json.dumps('vaderSentiment' in sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(printed.stdout) is False


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (1.0, "very_positive"),
        (0.6, "very_positive"),
        (0.59, "positive"),
        (0.05, "positive"),
        (0.04, "neutral"),
        (0.0, "neutral"),
        (-0.04, "neutral"),
        (-0.05, "negative"),
        (-0.59, "negative"),
        (-0.6, "very_negative"),
        (-1.0, "very_negative"),
    ],
)
def test_the_levels_thresholds(score: float, expected: str) -> None:
    assert level(score).value == expected
