"""A message's mood: VADER's compound score where its English lexicon speaks the language, emoji elsewhere, else None.

VADER (Hutto and Gilbert, ICWSM 2014) knows English only, and takes other languages' function words for feelings: the
German "die" and "war" score -2.9 each. A wrong or empty reading must not pass for a neutral mood, so it is None.
"""

import itertools
import re
from functools import cache
from typing import Protocol

from engagement.domain.interaction import SentimentType
from engagement.domain.words import vocabulary, without_links, words

MAX_CHARACTERS = 500
"""VADER's time grows with the square of the length: 4,096 emoji take it seconds."""
MAX_EMOJI = 40
"""Each emoji becomes several words of description."""

POSITIVE_FROM, NEGATIVE_FROM = 0.05, -0.05
"""VADER's own thresholds (https://github.com/cjhutto/vaderSentiment#about-the-scoring)."""
VERY_FROM = 0.6
"""Ours: beyond it either way takes more than one plain word of feeling ("I love this" is .64, "nice" .42)."""

EMOJI = re.compile("[\u203c\u2049\u2600-\u27bf\u2b05-\u2b55\U0001f000-\U0001faff]")
MODIFIERS = re.compile("[\ufe0f\u200d\U0001f3fb-\U0001f3ff]")
"""Skin tones and joiners: they change the picture, not the mood."""
REPEATS = re.compile(f"({EMOJI.pattern})" + r"\1{2,}")

EMOJI_VALENCE = {
    "👍": 1.8, "👎": -1.8, "👏": 1.8, "🙏": 1.2, "💯": 1.8, "🔥": 1.6, "😡": -2.5, "🤬": -3.0, "😤": -1.4, "🙄": -1.4,
    "😒": -1.6, "😔": -1.6, "💔": -2.4, "🤩": 2.6, "💪": 1.4, "🙌": 1.9, "✅": 1.0, "❌": -1.0, "🤮": -2.6, "🤢": -2.2,
    "💩": -1.6, "😥": -1.4, "😑": -0.8, "😣": -1.5, "🖕": -3.0, "⭐": 1.2, "🌟": 1.5, "😉": 1.0, "😋": 1.6, "😜": 1.2,
    "🤦": -1.2, "😿": -1.8, "🥲": -0.4, "🌹": 1.2, "💐": 1.5, "🤝": 1.2, "🤞": 0.8, "🏆": 1.8, "🚀": 1.2, "😈": -0.4,
    "🫶": 2.2, "🥹": 1.2, "🎂": 1.2, "🤒": -1.4, "🤕": -1.4, "😩": -1.6, "🙁": -1.5, "😖": -1.6, "😪": -0.8,
}  # fmt: skip
"""Emoji of chats that VADER passes over or takes for their opposite ("broken heart"), on its scale of [-4, 4]."""

EMOTICONS = vocabulary(":) :-) :( :-( :d :-d ;) ;-) :p :-p xd <3 </3 :'( :'-( :/ :-/ =) :* :-* =d =] :] :[ >:( ^_^ ^^")
EMOTICON_VALENCE = {"^_^": 1.8, "^^": 1.2}

ENGLISH = vocabulary(
    "the is are was were am be been i you he she it we they my your our this that these those and or but not to of in "
    "on at for with from have has had do does did will would can could should what when where why how who a an so if "
    "it's i'm don't can't thanks please hello"
)
FOREIGN = vocabulary(
    # German, Dutch, Scandinavian
    "der das den dem ein eine einen und oder nicht ich du wir ihr sie ist sind bin bist mit für von auf auch aber sehr "
    "mir dir mich dich schon noch danke bitte het een niet ik jij zijn voor maar ook och jeg jag är ikke inte det "
    # Spanish, Portuguese, Italian, French
    "el la los las un una y que de por para con muy es está están pero más gracias hola não você uma muito obrigado "
    "obrigada com mas il lo gli che di non sono per molto grazie ciao le les des et est pas je tu vous nous très merci "
    "avec pour mais bonjour c'est j'ai "
    # Turkish, Indonesian, Polish
    "bir ve çok değil için yang saya tidak dan ini itu terima kasih nie jest się ale dziękuję"
)
"""Frequent words that are no English words; those that are both ("die", "war", "no", "in") are in neither list."""


class Analyzer(Protocol):
    """What we use of VADER's analyzer."""

    emojis: dict[str, str]
    lexicon: dict[str, float]

    def polarity_scores(self, text: str) -> dict[str, float]:
        """Return the scores of a text; `compound` is in [-1, 1]."""
        ...


@cache
def _analyzer() -> Analyzer:
    """Load the lexicon at the first text: a cold start that only answers a button does without."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer: Analyzer = SentimentIntensityAnalyzer()
    for emoji, valence in EMOJI_VALENCE.items():
        # VADER replaces an emoji by its description; ours describe themselves by one word of known valence.
        name = f"emoji{ord(emoji):x}"
        analyzer.emojis[emoji] = name
        analyzer.lexicon[name] = valence
    analyzer.lexicon.update(EMOTICON_VALENCE)
    return analyzer


def sentiment(text: str, language_code: str | None) -> float | None:
    """Score a text's mood.

    Args:
        text: the user's words, of any length; the first `MAX_CHARACTERS` are scored.
        language_code: language of the user's Telegram app; None where unknown. It is not the language of the text,
            but who reads menus in English mostly writes it; the text's own words must not say otherwise.

    Returns:
        Compound score in [-1, 1]; None where nothing in the text can be read as a mood.
    """
    scored = _prepared(text)
    if not _is_english(scored, language_code):
        symbols = [token for token in scored.split() if EMOJI.match(token) or token.lower() in EMOTICONS]
        if not symbols:
            return None
        scores = _analyzer().polarity_scores(" ".join(symbols))
        # Nothing said either way: a pizza is no mood, not a neutral one.
        return scores["compound"] if scores["pos"] or scores["neg"] else None
    return _analyzer().polarity_scores(scored)["compound"]


def level(score: float | None) -> SentimentType:
    """Return the level of a compound score in [-1, 1]; unknown for None."""
    if score is None:
        return SentimentType.UNKNOWN
    if abs(score) >= VERY_FROM:
        return SentimentType.VERY_POSITIVE if score > 0 else SentimentType.VERY_NEGATIVE
    if score >= POSITIVE_FROM:
        return SentimentType.POSITIVE
    return SentimentType.NEGATIVE if score <= NEGATIVE_FROM else SentimentType.NEUTRAL


def _prepared(text: str) -> str:
    """Cut, unlink, and calm a text: a run of one emoji counts three times at most, and few emoji count at all."""
    cut = MODIFIERS.sub("", without_links(text[:MAX_CHARACTERS]))
    seen = itertools.count()

    def spaced(match: re.Match[str]) -> str:
        # VADER glues an emoji's description to the word that follows, and then knows neither.
        return f" {match[0]} " if next(seen) < MAX_EMOJI else " "

    return EMOJI.sub(spaced, REPEATS.sub(r"\1\1\1", cut)).strip()


def _is_english(text: str, language_code: str | None) -> bool:
    """Say whether the lexicon speaks the text's language, by the app's language, the script and the frequent words."""
    letters = [character for character in text if character.isalpha()]
    if not letters or sum(character.isascii() for character in letters) < 0.9 * len(letters):
        return False
    found = words(text)
    english, foreign = sum(word in ENGLISH for word in found), sum(word in FOREIGN for word in found)
    if language_code is None:
        return english > foreign
    return language_code.lower().split("-")[0] == "en" and english >= foreign
