"""Is a text written in the language it should be? By its letters, and for Latin languages by their small words.

Conservative on purpose: it says no only to what is clearly something else. Small words ("the", "de", "und") make up a
third of a text and more, in Turkish a tenth; a text of ten words or more with hardly any is in some other language, and
one with three more of another language's is in that one. Not told apart: Russian and Bulgarian, Hindi and Marathi,
Arabic and Urdu without its own letters, Indonesian and Malay, and a few words of Latin languages without accents.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from string import ascii_lowercase

from engagement.domain.words import vocabulary

SCRIPTS = {"ru": "CYRILLIC", "ar": "ARABIC", "hi": "DEVANAGARI"}
"""First word of the letters' Unicode names."""
FOREIGN = {"ru": frozenset("іїєґўђћљњј"), "ar": frozenset("پچژگکیٹڈڑںھے")}
"""Letters of the script that the language does not have."""
ACCENTED = {
    "en": "éèêëïöüçñà",
    "es": "áéíóúüñ",
    "pt": "áâãàçéêíóôõúü",
    "de": "äöüßé",
    "fr": "àâæçéèêëîïôœùûüÿ",
    "id": "é",
    "tr": "çğıöşüâîû",
}
"""What a Latin language writes beside a to z."""
STOP_WORDS = {
    "en": vocabulary(
        "the a an and or but of to in on at for with is are was be been have has had do does did you your i me my we"
        " our it its this that if not no so what how when where there here can could would will just from about as by"
        " all any anything something more some whenever s t m d re ve ll who which they them than then now let up out"
    ),
    "es": vocabulary(
        "el la los las un una y o pero de del a al en con por para es está estás estoy ser si sí no que qué cómo como"
        " cuando cuándo te tu tú tus ti me mi yo lo le se su más muy aquí hay algo todo este esta esto ha has sin"
        " nuestro nuestra tienes tengo puedes quieras sobre ya hasta donde también otro otra cualquier eres"
    ),
    "pt": vocabulary(
        "o a os as um uma e ou mas de do da dos das em no na com por para é está estou ser se não que como quando você"
        " te seu sua me meu minha lhe mais muito aqui há algo tudo este esta isto tem sem foi ao à nosso já até só eu"
        " pode quiser sobre onde também outro outra qualquer ficar nos isso"
    ),
    "de": vocabulary(
        "der die das den dem des ein eine einen und oder aber von zu im in an auf für mit ist sind war sein hast hat"
        " habe du dich dir dein deine ich mich mir wir es wenn nicht so was wie wo da hier kann kannst könnte wird nur"
        " aus über als auch noch schon mal etwas zum zur uns am bei nach dass bist immer gern jetzt ganz mehr"
    ),
    "fr": vocabulary(
        "le la les un une des et ou mais de du à au aux en dans pour avec est es suis être si ne pas que qu quoi"
        " comment quand tu te toi ton ta tes je me moi mon nous on il ce cette ça plus très ici y a as sans sur qui là"
        " l d j n s c t m vous votre rien tout toute quelque bien ces où aussi peu envie encore"
    ),
    "id": vocabulary(
        "yang dan atau tapi tetapi di ke dari untuk dengan ini itu ada adalah apa bagaimana kapan kalau jika tidak"
        " bukan belum sudah akan bisa boleh kamu anda kami kita aku saya lagi juga saja pun agar karena pada dalam"
        " semua hai halo silakan mau ingin ya jadi hal pernah masih hari sebuah lain sini agak hanya lebih bagimu"
    ),
    "tr": vocabulary(
        "bir ve veya ya da de mi mı mu mü bu şu o ne nasıl için ile gibi kadar daha çok en ama ise değil var yok olan"
        " olarak ben sen biz siz seni sana senin beni bana benim her şey istersen merhaba istediğin zaman hakkında"
        " olur eğer hem şimdi artık hiç biraz dilediğinde bunun burada aklında varsa yapman önce sonra yalnızca"
        " yeniden olduğunu"
    ),
}
FEW = 6
"""Words of a text, from which at least one must be a small one of its language."""
ENOUGH = 10
"""Words of a text, from which `SHARE` of them must be."""
SHARE = {"tr": 0.1}
USUAL_SHARE = 0.25
"""In our own texts it is .32 and more, in natural Turkish ones .1."""
LEAD = 3
"""By how many small words another language must be ahead to be clearly meant."""

_ALPHABETS = {language: frozenset(ascii_lowercase + accented) for language, accented in ACCENTED.items()}
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_END = re.compile(r"[.!?…:;\n]+")


def is_in_script_of(language: str, words: Iterable[str]) -> bool:
    """Say whether every letter is of the language's script, and none is of its neighbours' only.

    Args:
        language: one of `languages.LANGUAGES`.
        words: in lower case.
    """
    letters = {char for word in words for char in word if unicodedata.category(char)[0] == "L"}
    if language in ACCENTED:
        return letters <= _ALPHABETS[language]
    return not letters & FOREIGN.get(language, frozenset()) and all(
        _script(letter) == SCRIPTS[language] for letter in letters
    )


def reads_like(language: str, text: str) -> bool:
    """Say whether a text and each sentence of it may be in a Latin language; True for the others, which scripts tell.

    Args:
        language: one of `languages.LANGUAGES`.
        text: in lower case.
    """
    if language not in STOP_WORDS:
        return True
    found = _WORD.findall(text)
    small = sum(word in STOP_WORDS[language] for word in found)
    if (len(found) >= FEW and not small) or (
        len(found) >= ENOUGH and small < SHARE.get(language, USUAL_SHARE) * len(found)
    ):
        return False
    sentences = (_WORD.findall(sentence) for sentence in _SENTENCE_END.split(text))
    return not any(_is_clearly_another(language, part) for part in (found, *sentences))


def _is_clearly_another(language: str, found: list[str]) -> bool:
    counts = {name: sum(word in small for word in found) for name, small in STOP_WORDS.items()}
    return max(counts.values()) >= counts[language] + LEAD


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
