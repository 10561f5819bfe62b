"""Who asks to be left alone in their own words is understood, whatever their keyboard adds; nobody else is."""

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.languages import LANGUAGES
from engagement.domain.plain_words import plain_words
from engagement.domain.stop_words import COURTESIES, MAX_CHARACTERS, STOP, is_stop

TYPED = {
    "en": "stop|Stop it!|unsubscribe|stop messaging me|please stop|PLEASE STOP NOW|Dont write to me|don’t message me",
    "es": "para|¡Alto!|basta|deja de escribirme|cancelar suscripcion|darme de baja|No me escribas más, por favor",
    "pt": "pare|parar|Chega!|não me escreva mais|nao me escreva mais|descadastrar|me deixa em paz, obrigada",
    "ru": "стоп|Хватит!|отписаться|не пишите мне|ПЕРЕСТАНЬ ПИСАТЬ|Пожалуйста, больше не пишите",
    "de": "stopp|aufhören|Aufhoeren!|abmelden|abbestellen|Schreib mir nicht mehr!|Bitte lass mich in Ruhe.|HÖR AUF",
    "fr": "arrête|ARRETE|stop|désabonner|Ne m’écris plus|ne m'ecris plus|laisse-moi tranquille, s'il te plaît",
    "id": "berhenti|stop|Jangan kirim lagi|berhenti langganan|tolong berhenti|CUKUP SUDAH!",
    "tr": "dur|DURDUR|yeter|ABONELİĞİ İPTAL ET|abonelik iptali|ABONELİKTEN ÇIK|abonelikten cik"
    "|BANA YAZMA|lütfen yazma|RAHATSIZ ETME",
    "ar": "توقف|أوقف|اوقف|كفى|كفي|لا تراسلني|لا تُراسِلني|إلغاء الاشتراك|الغاء الاشتراك|تـــوقف|من فضلك توقف",
    "hi": "बंद करो|रुको|बस|मुझे मैसेज मत करो|कृपया बंद करें।|Band karo",
}
ASKED_OTHERWISE = {
    "en": "stop stop|STOP STOP STOP|stop please stop|hey stop|can you stop|please stop sending me these messages"
    "|stop these messages|i want to unsubscribe|don't write me again|don't contact me again|dont text me anymore"
    "|I don't want any more messages|stop notifications|bot, stop|stop, bot!|Can you please stop messaging me?",
    "es": "no quiero más mensajes|no quiero recibir más mensajes|no me mandes más mensajes|no me envíes más mensajes"
    "|no me molestes|para de mandarme mensajes|para bot|no me escribas, por favor, más",
    "pt": "não quero receber mensagens|não quero mais receber mensagens|para de me mandar mensagens|para de escrever"
    "|pare bot",
    "ru": "не надо мне писать|отпишите меня от рассылки|отписаться от рассылки|не хочу получать сообщения"
    "|прекрати мне писать|остановись|СТОП бот|не пишите мне, пожалуйста, больше",
    "de": "hör bitte auf|hören sie auf|lass mich bitte in ruhe|schreib mich nicht mehr an"
    "|ich möchte keine nachrichten mehr|ich möchte mich abmelden|Stopp, Bot",
    "fr": "je ne veux plus recevoir de messages|ne me contacte plus|ne me contactez plus"
    "|arrêtez de m'envoyer des messages|arrête bot",
    "id": "jangan chat saya|jangan chat saya lagi|jangan ganggu saya lagi|unsub|udah stop|berhenti bot",
    "tr": "mesaj atmayın|bana mesaj göndermeyin|dur bot",
    "ar": "لا ترسلي|مش عايز رسائل|ما بدي رسائل|وقف|توقف يا بوت",
    "hi": "मुझे मैसेज करना बंद करो|mujhe message mat bhejo|message band karo|stop karo|रुको रुको|बॉट रुको",
}
"""Repeated, with a courtesy in the middle or a word to the bot, and longer ones."""
COMMANDS = (
    *("/unsubscribe", "/stopp", "/stop_all", "/stopall", "/optout", "/parar", "/dur", "/berhenti", "/arret"),
    *("stop_all", "/opt_out", "/unsubscribe@rekindle_bot"),
)
CHAT = """stop by the shop
non-stop music
I cannot stop laughing
the bus stop is closed
don't stop
please don't stop
stop and smell the roses
I want to unsubscribe from that newsletter
that's enough for today
how do I stop?
cancel
end
para mañana
basta con eso
hay que parar el coche
не останавливайся
остановка
стоп-кран в поезде
genug davon, erzähl weiter
schreib mir morgen
ne t'arrête pas
jangan berhenti
durma
dur bakalım ne olacak
लाइन में बस खड़ी है
बस स्टॉप
بسم الله
توقف القطار في المحطة
hello
please
thanks
now
iptal
iptal et
İPTAL
إلغاء
خلاص
بس
بس خلاص
cukup
genug
reicht
enough
baja
no más
no more
no more, thanks
довольно
/stop_loss
stop the bot from eating
can you
can you stop the car
hey
hey bot
stop or go stop""".splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_understood_in_every_language(language: str) -> None:
    """R93: any case, accents or none, and with a please."""
    assert [text for text in TYPED[language].split("|") if not is_stop(text)] == []
    assert [phrase for phrase in STOP[language].split(", ") if not is_stop(phrase.upper())] == []


@pytest.mark.parametrize("text", [text for texts in ASKED_OTHERWISE.values() for text in texts.split("|")])
def test_it_is_understood_in_other_words(text: str) -> None:
    """R93: whoever asks does not choose among our phrases."""
    assert is_stop(text)


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_that_we_do_not_have_is_understood(text: str) -> None:
    """R93: a slash in front changes nothing, and an underscore is a space."""
    assert is_stop(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "STOP",
            "Stop.",
            "stop!!!",
            "  stop\n",
            "\tstop\r\n",
            "“stop”",
            "'stop'",
            "«Stop»",
            "stop…",
            "stop。",
            "¡stop!",
        ),
        *(
            "stop 🛑",
            "🙏🏽 stop 🙏🏽",
            "🛑stop🛑",
            "stop ✋\ufe0f",
            "👩‍💻 stop",
            "stop :(",
            "*stop*",
            "_stop_",
            "- stop -",
        ),
        *(
            "st\u200bop",
            "\ufeffstop",
            "stop\u200d",
            "s\u00adtop",
            "\u202estop\u202c",
            "st\u2060op\x00",
            "stop\U000e0067",
        ),
        *("/stop", "/STOP", " /stop ", "/stop@rekindle_bot", "stop@bot", "ｓｔｏｐ", "𝐬𝐭𝐨𝐩", "ştop", "śtóp", "stop-it"),
    ],
)
def test_it_is_understood_as_people_type_it(text: str) -> None:
    """R93: any case, punctuation, emoji, invisible character, command or not."""
    assert is_stop(text)


@pytest.mark.parametrize("text", CHAT)
def test_nothing_else_is_taken_for_it(text: str) -> None:
    """R93: the message is nothing but the phrase; a word of it within another sentence means something else."""
    assert not is_stop(text)


@pytest.mark.parametrize("text", ["", " ", "🛑", "!!!", "/", "\u200b", "\x00", "'", "_", "@bot", "ok", "please please"])
def test_a_message_without_a_phrase_asks_for_nothing(text: str) -> None:
    """R93."""
    assert not is_stop(text)


def test_a_long_message_is_refused_at_once() -> None:
    """R93: the work is bounded; the longest phrase has room for its courtesies."""
    assert is_stop("stop" + " " * (MAX_CHARACTERS - 4))
    assert not is_stop("stop" + " " * (MAX_CHARACTERS - 3))
    assert max(len(phrase) for listed in STOP.values() for phrase in listed.split(", ")) <= MAX_CHARACTERS // 2
    worst = "please " * 11
    assert timeit.timeit(lambda: is_stop(worst), number=100) / 100 < 0.005
    assert not is_stop("stop " * 100_000)


def test_the_lists_are_whole() -> None:
    """R93: each language of the catalogue has its own, written once, and no courtesy is a wish to stop."""
    assert set(STOP) == set(COURTESIES) == set(LANGUAGES)
    for language, listed in STOP.items():
        phrases = listed.split(", ")
        assert len(phrases) >= 12
        assert sorted(phrases) == sorted(set(phrases)), language
        assert all(phrase == phrase.strip() and phrase for phrase in phrases)
    assert not [word for listed in COURTESIES.values() for word in listed.split(", ") if is_stop(word)]


@given(text=st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    """R93: anything may arrive; plain words are plain already."""
    is_stop(text)
    plain = plain_words(text)
    assert plain == plain.strip()
    assert "  " not in plain


def test_plain_words_keep_what_makes_a_word() -> None:
    """Accents and case go, vowel signs of Hindi stay, an apostrophe within a word is straight."""
    assert plain_words(" L’ÉTÉ, ’s\u200bchön’!  ") == "l'ete schon"
    assert plain_words("STRASSE / Straße") == "strasse strasse"
    assert plain_words("ёлка и чай") == plain_words("елка и чай")
    assert plain_words("ज़रूर, हूँ।") == plain_words("जरूर हूं")
    assert plain_words("कि") != plain_words("का")
    assert plain_words("أَنْتَ إلى") == plain_words("انت الي")
    assert plain_words("IĞDIR") == plain_words("ığdır")
