"""Who asks us to stop without knowing the command: "Stop!", "unsubscribe", "не пишите мне".

R93: nobody reads a manual before saying "leave me alone", and a bot that goes on writing is blocked. Such a message is
asked back with one button, never ignored. It is nothing but one of these phrases, perhaps with a "please": in a longer
one "stop" may mean anything ("stop by the shop"), and asking back there would be a nuisance. "cancel" and "end" are in
no list, nor are "iptal" and "إلغاء": other bots' dialogues need them, and everyday words that
mean something else more often.
"""

import re
from itertools import groupby

from engagement.domain.plain_words import plain_words

MAX_CHARACTERS = 80
"""Twice the longest phrase with its courtesies; what is longer is no bare "stop", and costs nothing to refuse."""

STOP = {
    "en": "stop, stop it, stop this, stop that, stop now, just stop, stop all, stopall, stop messages, stop messaging,"
    " stop messaging me, stop texting me, stop writing, stop writing me, stop writing to me, stop contacting me,"
    " stop sending messages, stop sending me messages, stop bothering me, stop spamming, stop spamming me, unsubscribe,"
    " unsubscribe me, opt out, opt me out, remove me, leave me alone, leave me be, go away, that's enough,"
    " no more messages, don't write to me, don't write me, don't message me, don't text me, don't contact me,"
    " do not write to me, do not message me, do not contact me, don't write me anymore, don't write to me any more,"
    " don't message me anymore, optout, stop sending me these messages, stop sending these messages,"
    " stop these messages, stop the messages, stop sending me stuff, stop notifications, stop notifying me,"
    " i want to unsubscribe, i want to opt out, don't write me again, don't write to me again, don't message me again,"
    " don't text me again, don't contact me again, don't contact me anymore, don't text me anymore,"
    " don't write to me anymore, i don't want any more messages, i don't want more messages,"
    " i don't want your messages, i don't want messages, no more notifications",
    "es": "para, para ya, para de escribirme, detente, alto, basta, basta ya, ya basta, ya para,"
    " deja de escribirme, deja de escribir, deja de molestar, deja de molestarme, deja de enviarme mensajes,"
    " deja de mandarme mensajes, no me escribas, no me escribas más, ya no me escribas, no más mensajes,"
    " no quiero más mensajes, déjame en paz, déjame tranquilo, déjame tranquila, cancelar suscripción,"
    " cancela mi suscripción, cancelar la suscripción, darme de baja, dame de baja, darse de baja,"
    " quiero darme de baja, desuscribir, desuscribirme, no quiero mensajes, no quiero recibir mensajes,"
    " no quiero recibir más mensajes, no me mandes mensajes, no me mandes más mensajes, no me envíes mensajes,"
    " no me envíes más mensajes, no me molestes, no me molestes más, para de mandarme mensajes,"
    " para de enviarme mensajes, para de molestarme",
    "pt": "pare, parar, para com isso, pare com isso, pare já, chega, basta, já chega, pare de escrever,"
    " pare de me escrever, pare de mandar mensagem, pare de mandar mensagens, pare de me mandar mensagem,"
    " pare de me mandar mensagens, pare de enviar mensagens, para de me mandar mensagem, não me escreva,"
    " não me escreva mais, não escreva mais, não me mande mais mensagens, não mande mais mensagens,"
    " não quero mais mensagens, chega de mensagens, me deixe em paz, me deixa em paz, deixe-me em paz, descadastrar,"
    " me descadastre, cancelar inscrição, cancelar assinatura, cancelar subscrição, sair da lista,"
    " não quero receber mensagens, não quero mais receber mensagens, não quero receber mais mensagens,"
    " não quero mensagens, para de me mandar mensagens, para de me enviar mensagens, para de mandar mensagens,"
    " para de escrever, para de me escrever",
    "ru": "стоп, стой, хватит, прекрати, прекратите, перестань, перестаньте, отписаться, отпишись, отпишите,"
    " отпишите меня, отписка, отмена подписки, отменить подписку, хочу отписаться, не пиши, не пишите, не пиши мне,"
    " не пишите мне, не пиши больше, не пишите больше, не пиши мне больше, не пишите мне больше, больше не пиши,"
    " больше не пишите, больше не пиши мне, больше не пишите мне, перестань писать, перестаньте писать,"
    " перестань мне писать, перестаньте мне писать, прекрати писать, прекратите писать, хватит писать,"
    " хватит мне писать, отстань, отстаньте, оставь меня в покое, оставьте меня в покое, отвали, не беспокоить,"
    " не беспокойте, не беспокойте меня, не надо мне писать, не надо писать мне, не надо писать,"
    " не надо мне больше писать, отпишите меня от рассылки, отпишите от рассылки, отпиши меня, отписаться от рассылки,"
    " отключить рассылку, не хочу получать сообщения, не хочу больше получать сообщения, прекрати мне писать,"
    " прекратите мне писать, остановись, остановитесь",
    "de": "stopp, aufhören, hör auf, hör auf damit, hör auf zu schreiben, hör auf mir zu schreiben, aufhoeren,"
    " hoer auf, schluss, schluss damit, es reicht, das reicht, abmelden, abbestellen, mich abmelden, melde mich ab,"
    " deabonnieren, abo kündigen, austragen, schreib mir nicht, schreib mir nicht mehr, schreib nicht mehr,"
    " schreiben sie mir nicht mehr, nicht mehr schreiben, bitte nicht mehr schreiben, keine nachrichten mehr,"
    " keine weiteren nachrichten, lass mich in ruhe, lass mich in frieden, lassen sie mich in ruhe, lass das,"
    " ich will keine nachrichten mehr, hören sie auf, hören sie auf damit, hören sie auf mir zu schreiben,"
    " schreib mich nicht an, schreib mich nicht mehr an, schreiben sie mich nicht mehr an,"
    " ich möchte keine nachrichten, ich möchte keine nachrichten mehr, ich möchte mich abmelden,"
    " ich will mich abmelden",
    "fr": "arrête, arrêter, arrêtez, arrête ça, arrêtez ça, arrête de m'écrire, arrêtez de m'écrire, arrête d'écrire,"
    " arrête les messages, arrête de m'envoyer des messages, ça suffit, stop aux messages, désabonner,"
    " me désabonner, désabonne-moi, désabonnez-moi, désabonnement, se désabonner, je veux me désabonner, désinscrire,"
    " me désinscrire, désinscription, ne m'écris plus, ne m'écrivez plus, m'écris plus, ne m'écris pas, n'écris plus,"
    " plus de messages, plus de message, je ne veux plus de messages, laisse-moi tranquille, laissez-moi tranquille,"
    " fiche-moi la paix, fous-moi la paix, arrêt, je ne veux plus recevoir de messages,"
    " je veux plus recevoir de messages, je veux plus de messages, ne me contacte plus, ne me contactez plus,"
    " arrêtez de m'envoyer des messages, arrêtez les messages",
    "id": "berhenti, stop dulu, stop kirim pesan, stop chat, berhenti dong, berhenti kirim pesan,"
    " berhenti mengirim pesan, berhenti mengirimiku pesan, berhenti menulis, berhenti chat, berhenti berlangganan,"
    " berhenti langganan, hentikan, hentikan pesan, hentikan ini, hentikan semua pesan, sudah cukup, udah cukup,"
    " cukup sudah, jangan kirim lagi, jangan kirim pesan, jangan kirim pesan lagi, jangan kirimi aku pesan,"
    " jangan kirimi aku pesan lagi, jangan hubungi aku, jangan hubungi saya, jangan hubungi aku lagi,"
    " jangan hubungi saya lagi, jangan chat aku, jangan chat lagi, jangan ganggu, jangan ganggu aku,"
    " jangan ganggu saya, tinggalkan aku sendiri, batal langganan, batalkan langganan, jangan chat saya,"
    " jangan chat saya lagi, jangan chat aku lagi, jangan ganggu saya lagi, jangan ganggu aku lagi, jangan ganggu lagi,"
    " unsub, udah stop, sudah stop",
    "tr": "dur, durdur, durdurun, dur artık, yeter, yeter artık, artık yeter, kes, kes şunu, bırak, aboneliği iptal et,"
    " abonelik iptali, abonelik iptal, abonelikten çık, abonelikten çıkar, abonelikten çıkmak istiyorum, üyelikten çık,"
    " beni çıkar, listeden çıkar, bana yazma, bana yazmayın, bana artık yazma, artık yazma, artık bana yazma, yazma,"
    " yazmayın, yazma artık, bir daha yazma, bana bir daha yazma, mesaj atma, bana mesaj atma, mesaj gönderme,"
    " bana mesaj gönderme, mesaj istemiyorum, artık mesaj istemiyorum, rahatsız etme, beni rahatsız etme,"
    " rahatsız etmeyin, beni rahat bırak, rahat bırak beni, mesaj atmayın, bana mesaj atmayın, mesaj göndermeyin,"
    " bana mesaj göndermeyin, artık mesaj atmayın",
    "ar": "توقف, توقفي, توقفوا, أوقف, أوقفي, قف, ستوب, كفى, كفاية, يكفي, توقف عن مراسلتي, توقف عن الكتابة,"
    " توقف عن الكتابة لي, توقف عن إرسال الرسائل, أوقف الرسائل, إيقاف, إيقاف الرسائل, وقف الرسائل, لا تراسلني,"
    " لا تراسليني, لا تراسلني بعد الآن, لا تكتب لي, لا تكتب إلي, لا ترسل لي, لا ترسل لي رسائل, لا ترسل رسائل,"
    " لا أريد رسائل, لا أريد المزيد من الرسائل, لا مزيد من الرسائل, ما تراسلني, ما ترسل لي, لا تزعجني, اتركني وشأني,"
    " دعني وشأني, اتركني, إلغاء الاشتراك, ألغ الاشتراك, الغي الاشتراك, إلغاء اشتراكي, أريد إلغاء الاشتراك, لا ترسلي,"
    " لا ترسلي لي, لا ترسلي لي رسائل, لا ترسل, مش عايز رسائل, مش عايزة رسائل, ما بدي رسائل, وقف, وقفي",
    "hi": "बंद करो, बंद करें, बंद कीजिए, बंद कर दो, बंद कर दीजिए, बंद, इसे बंद करो, ये बंद करो, यह बंद करो,"
    " संदेश बंद करो, संदेश बंद करें, मैसेज बंद करो, मैसेज बंद करें, रुको, रुकिए, रुक जाओ, रुकें, रोको, स्टॉप, बस,"
    " बस करो, बस कीजिए, बहुत हुआ, मुझे मैसेज मत करो, मुझे मैसेज मत भेजो, मैसेज मत करो, मैसेज मत भेजो,"
    " मुझे संदेश मत भेजो, मुझे संदेश न भेजें, संदेश मत भेजो, मुझे मत लिखो, मत लिखो, मुझे परेशान मत करो, परेशान मत करो,"
    " मुझे अकेला छोड़ दो, सदस्यता रद्द करें, सदस्यता रद्द करो, अनसब्सक्राइब, अनसब्सक्राइब करो, band karo, band kar do,"
    " message mat karo, mujhe message mat karo, bas karo, ruko, मुझे मैसेज करना बंद करो, मुझे मैसेज करना बंद करें,"
    " मैसेज करना बंद करो, मुझे मैसेज भेजना बंद करो, मैसेज भेजना बंद करो, mujhe message mat bhejo, message mat bhejo,"
    " message band karo, message karna band karo, stop karo",
}
"""By language; compared as `plain_words` has them, so accents, case, punctuation and apostrophes do not matter."""

COURTESIES = {
    "en": "please, pls, plz, thanks, thank you, ok, okay, now, bot, hey, hi, can you, could you, would you",
    "es": "por favor, porfa, gracias, ya, bot, oye",
    "pt": "por favor, obrigado, obrigada, agora, bot",
    "ru": "пожалуйста, плиз, спасибо, всё, уже, бот, уж",
    "de": "bitte, danke, jetzt, endlich, bot, hey",
    "fr": "s'il te plaît, s'il vous plaît, stp, svp, merci, maintenant, bot, le bot",
    "id": "tolong, mohon, makasih, terima kasih, ya, dong, sekarang, bot",
    "tr": "lütfen, teşekkürler, tamam, artık, bot",
    "ar": "من فضلك, رجاء, لو سمحت, شكرا, أرجوك, الآن, بوت, يا بوت",
    "hi": "कृपया, प्लीज़, धन्यवाद, अब, अभी, please, बॉट, bot",
}
"""By language: what may stand before, after or within a phrase without making it another."""

_USERNAME = re.compile(r"(?<=\w)@\w+")
"""As Telegram's menu writes it after a command in a group: /stop@the_bot."""


def is_stop(text: str) -> bool:
    """Return whether a message is nothing but a wish not to be written to, in any of our languages.

    The message's own language decides, not that of the reader's app, so all lists are asked; a word that two languages
    share means the same in both.

    Args:
        text: as it was typed; refused at once beyond `MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        return False
    said = _key(_USERNAME.sub("", text))
    while said and said not in _STOP:
        shorter = _COURTEOUS.sub("", said, count=1)
        if shorter == said:
            return _once(_COURTESY.sub("", said)) in _STOP
        said = shorter
    return bool(said)


def _key(text: str) -> str:
    """Return a text as the lists have it: "dont" is "don't", and "stop stop" is "stop"."""
    return _once(plain_words(text).replace("'", ""))


def _once(words: str) -> str:
    """Return words without those that only repeat the one before."""
    return " ".join(word for word, _ in groupby(words.split()))


_STOP = frozenset(_key(phrase) for phrases in STOP.values() for phrase in phrases.split(", "))
_POLITE = "|".join(sorted({_key(phrase) for phrases in COURTESIES.values() for phrase in phrases.split(", ")}))
_COURTEOUS = re.compile(rf"^(?:{_POLITE}) | (?:{_POLITE})$")
_COURTESY = re.compile(rf"(?<!\S)(?:{_POLITE})(?!\S)")
