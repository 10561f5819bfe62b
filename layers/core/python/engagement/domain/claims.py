"""Words that promise something: money, prizes, cures, dates. A rewritten text may use those of its template only.

Lists of everyday words, not a judge of meaning: "you will be rich" in other words gets through, and so do numbers
written as words. One that is here by mistake costs a rewrite, never a message.
"""

import re
from functools import cache

PROMISES = {
    "en": r"(?<!feel\s)free, complimentary, discount*, sale, sales, coupon*, voucher*, promo*, offer, offers, deals,"
    " price*, cheap*, cost*, pay, paid, payment*, money, cash, refund*, percent*, dollar*, euro*, pounds, bitcoin*,"
    " crypto*, guarantee*, promise*, win, wins, winner*, winning, won, prize*, gift*, giveaway*, reward*, bonus*,"
    " jackpot*, lottery, subscri*, upgrade*, premium, trial*, exclusive*, limited, cure*, heal, heals, healing,"
    " diagnos*, proven, certified, official*, invest*, profit*, urgent*",
    "es": "gratis, gratuit*, descuento*, rebaja*, cupón, cupones, oferta*, promoci*, precio*, barat*, cuesta*, pagar,"
    " pago*, dinero, efectivo, reembols*, porcentaje, ciento, dólar*, euro*, bitcoin*, cripto*, garant*, promet*,"
    " promesa*, gana, ganar, ganaste, ganado, ganador*, premio*, regalo*, recompensa*, bono*, lotería,"
    " sorteo*, suscri*, exclusiv*, limitad*, cura, curar, diagnós*, diagnos*, comprobad*, oficial*, invert*,"
    " inversi*, urgent*",
    "pt": "grátis, gratuit*, desconto*, cupom, cupons, oferta*, promoç*, preço*, barat*, custa*, pagar, pagamento*,"
    " dinheiro, reembols*, porcento, cento, dólar*, euro*, reais, bitcoin*, cripto*, garant*, promet*, promessa*,"
    " ganhe, ganhar, ganhou, vencedor*, prêmio*, prémio*, presente*, brinde*, recompensa*, bônus, bónus, loteria,"
    " sorteio*, assin*, exclusiv*, limitad*, cura, curar, diagnós*, diagnos*, comprovad*, oficial*, invest*, urgent*",
    "de": "gratis, kostenlos*, umsonst, rabatt*, gutschein*, angebot*, aktion*, preis*, günstig*, billig*, kostet,"
    " kosten, zahl, zahlen, bezahl*, geld, erstatt*, prozent*, dollar*, euro*, bitcoin*, krypto*, garant*,"
    " versprech*, versprich*, gewinn*, gewonnen, geschenk*, belohn*, bonus*, lotterie*, verlos*, abo, abonn*,"
    " exklusiv*, begrenzt*, limitiert*, heil, heilen, heilt, heilung, diagnos*, bewiesen*, offiziell*, invest*,"
    " dringend*",
    "fr": "gratuit*, rabais, remise*, réduction*, solde*, coupon*, offre, offres, promo*, prix, cher, coûte*, payer,"
    " paie*, paiement*, argent, rembours*, pourcent*, cent, dollar*, euro*, bitcoin*, crypto*, garanti*, promet*,"
    " promesse*, gagne*, gagné*, gagnant*, cadeau*, récompens*, bonus, loterie, tirage*, abonn*, exclusi*, limité*,"
    " guéri*, diagnosti*, prouvé*, officiel*, invest*, urgent*",
    "id": "gratis, cuma-cuma, diskon*, potongan, kupon*, voucher*, promo*, penawaran*, harga*, murah*, biaya*, bayar*,"
    " membayar*, pembayaran*, uang*, tunai, persen*, dolar*, rupiah*, euro*, bitcoin*, kripto*, jamin*, dijamin,"
    " menjamin*, garansi*, janji*, berjanji, menang*, pemenang*, hadiah*, bonus*, undian*, lotre, langganan*,"
    " berlangganan*, eksklusif*, terbatas, sembuh*, menyembuh*, diagnos*, terbukti, resmi*, invest*, untung*,"
    " keuntungan*, mendesak, segera",
    "tr": "bedava*, ücretsiz*, indirim*, kupon*, teklif*, kampanya*, promosyon*, fiyat*, ucuz*, ücret*, öde, ödeme*,"
    " para, parası*, nakit*, iade*, yüzde*, dolar*, lira*, euro*, avro*, bitcoin*, kripto*, garanti*, söz veri*,"
    " kazan, kazanç*, kazandın*, kazanan*, ödül*, hediye*, bonus*, çekiliş*, piyango*, abone*, özel fırsat*, fırsat*,"
    " sınırlı*, tedavi*, iyileştir*, teşhis*, kanıtlan*, resmi*, resmî*, yatırım*, acil*",
    "ru": "бесплатн*, скид*, купон*, промо*, предложени*, акция, акции, акцию, цена, цены, цену, ценам, дешев*, дёшев*,"
    " стоит вам, стоимост*, плат*, оплат*, заплат*, деньг*, денег, наличн*, возврат*, процент*, доллар*, рубл*, евро,"
    " биткоин*, крипто*, гарант*, обеща*, выигр*, побед*, приз, призы, призов, подар*, наград*, бонус*, лотере*,"
    " розыгрыш*, подписк*, подпиш*, эксклюзив*, ограничен*, вылеч*, излеч*, исцел*, диагноз*, доказан*, официальн*,"
    " инвест*, прибыл*, срочн*",
    "ar": "مجان, خصم, تخفيض, قسيمة, كوبون, عرض خاص, عروض, سعر, أسعار, رخيص, تكلفة, ادفع, دفع مبلغ, المال, نقود,"
    " استرداد, بالمئة, بالمائة, في المئة, دولار, يورو, ريال, دينار, درهم, بيتكوين, ضمان, نضمن, أضمن, مضمون, أعدك,"
    " نعدك, وعد, اربح, ربح, تفوز, فوز, فائز, جائزة, جوائز, هدية, هدايا, مكافأة, مكافآت, يانصيب, قرعة, اشتراك, حصري,"
    " محدود, شفاء, علاج, تشخيص, مثبت, رسمي, استثمار, عاجل",
    "hi": "मुफ़्त, मुफ्त, निःशुल्क, छूट, डिस्काउंट, कूपन, ऑफ़र, ऑफर, प्रस्ताव, क़ीमत, कीमत, सस्ता, सस्ते, भुगतान, पैसा, पैसे, नकद, रिफ़ंड,"
    " रिफंड, प्रतिशत, फ़ीसदी, डॉलर, रुपये, रुपए, यूरो, बिटकॉइन, क्रिप्टो, गारंटी, वादा, जीत, विजेता, इनाम, पुरस्कार, तोहफ़ा, तोहफा,"
    " उपहार, बोनस, लॉटरी, सदस्यता, विशेष लाभ, सीमित, इलाज, ठीक कर द, निदान, प्रमाणित, आधिकारिक, निवेश, मुनाफ़ा, तुरंत",
}
"""By language: whole words, or where a star follows beginnings of words; in Arabic and Hindi whatever holds them."""
DATES = {
    "en": "monday, tuesday, wednesday, thursday, friday, saturday, sunday, january, february, april, june, july,"
    " august, september, october, november, december, tomorrow, tonight, yesterday, deadline*, expir*, midnight,"
    " last chance, only today, today only, ends soon, hurry up",
    "es": "lunes, martes, miércoles, jueves, viernes, sábado, domingo, enero, febrero, marzo, abril, mayo, junio,"
    " julio, agosto, septiembre, octubre, noviembre, diciembre, mañana, ayer, esta noche, plazo, caduc*, vence,"
    " medianoche, última oportunidad, solo hoy, sólo hoy, date prisa",
    "pt": "segunda, terça, quarta, quinta, sexta, sábado, domingo, janeiro, fevereiro, março, abril, maio, junho,"
    " julho, agosto, setembro, outubro, novembro, dezembro, amanhã, ontem, esta noite, prazo, expira*, meia-noite,"
    " última chance, só hoje, corra",
    "de": "montag, dienstag, mittwoch, donnerstag, freitag, samstag, sonntag, januar, februar, märz, april, mai, juni,"
    " juli, august, september, oktober, november, dezember, morgen, gestern, heute nacht, frist, ablauf*, läuft ab,"
    " mitternacht, letzte chance, nur heute, beeil*",
    "fr": "lundi, mardi, mercredi, jeudi, vendredi, samedi, dimanche, janvier, février, mars, avril, mai, juin,"
    " juillet, août, septembre, octobre, novembre, décembre, demain, hier, ce soir, délai*, expire*, minuit,"
    " dernière chance, aujourd'hui seulement, dépêche*",
    "id": "senin, selasa, rabu, kamis, jumat, sabtu, minggu depan, januari, februari, maret, april, mei, juni, juli,"
    " agustus, september, oktober, november, desember, besok, kemarin, malam ini, batas waktu, tenggat, kedaluwarsa,"
    " berakhir, tengah malam, kesempatan terakhir, hanya hari ini, buruan",
    "tr": "pazartesi, salı, çarşamba, perşembe, cuma, cumartesi, pazar, ocak, şubat, mart, nisan, mayıs, haziran,"
    " temmuz, ağustos, eylül, ekim, kasım, aralık, yarın, dün, bu gece, son tarih, süresi, gece yarısı, son şans,"
    " son fırsat, sadece bugün, yalnızca bugün, acele et",
    "ru": "понедельник*, вторник*, сред*, четверг*, пятниц*, суббот*, воскресень*, январ*, феврал*, март, марта,"
    " апрел*, мая, июн*, июл*, август*, сентябр*, октябр*, ноябр*, декабр*, завтра, вчера, сегодня ночью, срок*,"
    " истека*, полноч*, последний шанс, только сегодня, торопи*, поспеши*",
    "ar": "الاثنين, الإثنين, الثلاثاء, الأربعاء, الخميس, الجمعة, السبت, الأحد, يناير, فبراير, مارس, أبريل, مايو, يونيو,"
    " يوليو, أغسطس, سبتمبر, أكتوبر, نوفمبر, ديسمبر, غدًا, غدا, أمس, الليلة, موعد نهائي, ينتهي, تنتهي, منتصف الليل,"
    " آخر فرصة, الفرصة الأخيرة, اليوم فقط, أسرع",
    "hi": "सोमवार, मंगलवार, बुधवार, गुरुवार, शुक्रवार, शनिवार, रविवार, जनवरी, फ़रवरी, फरवरी, मार्च, अप्रैल, जून, जुलाई, अगस्त,"
    " सितंबर, अक्टूबर, नवंबर, दिसंबर, आज रात, समय सीमा, अंतिम तिथि, समाप्त, आधी रात, आख़िरी मौका, आखिरी मौका, सिर्फ़ आज,"
    " केवल आज, जल्दी कीजिए",
}
"""English "may" and "march" are verbs first; with a number they are caught by it."""
EXCUSES = {
    "en": "i can't, i cannot, i am unable, i'm unable, i'm sorry but, as an ai, language model, here is a, here's a,"
    " here is the, here's the, rephras*, rewritten, reworded, system prompt, json",
    "es": "no puedo ayudar*, como modelo, modelo de lenguaje, inteligencia artificial, aquí tienes, json",
    "pt": "não posso ajudar*, como modelo, modelo de linguagem, inteligência artificial, aqui está a, json",
    "de": "ich kann nicht helfen, als ki, sprachmodell, künstliche intelligenz, hier ist die, hier ist der, json",
    "fr": "je ne peux pas, en tant que modèle, modèle de langage, intelligence artificielle, voici le, voici la, json",
    "id": "saya tidak bisa, sebagai ai, model bahasa, kecerdasan buatan, berikut ini, berikut adalah, json",
    "tr": "yardımcı olamam, yapay zek*, dil modeli, işte mesaj*, json",
    "ru": "не могу помочь, как ии, языковая модель, искусственн*, вот вариант*, вот текст*",
    "ar": "لا أستطيع المساعدة, لا يمكنني, نموذج لغوي, نموذج لغة, ذكاء اصطناعي, الذكاء الاصطناعي, إليك النص",
    "hi": "मदद नहीं कर सक, भाषा मॉडल, कृत्रिम बुद्धि, यह रहा संदेश, एआई",
}
"""What a model says about itself or its task instead of doing it."""

_WITHIN_WORDS = frozenset({"ar", "hi"})
"""Arabic writes articles and prepositions onto the word; Python takes Devanagari's vowel signs for no letters."""


def promises(language: str, text: str) -> set[str]:
    """Return the promising words of a text in lower case."""
    return set(_pattern(language, PROMISES[language]).findall(text))


def dates(language: str, text: str) -> set[str]:
    """Return the days, months and deadlines of a text in lower case."""
    return set(_pattern(language, DATES[language]).findall(text))


def excuses(language: str, text: str) -> set[str]:
    """Return what a model says about itself in a text in lower case; models tend to do that in English."""
    found = _pattern("en", EXCUSES["en"]).findall(text)
    return {*found, *_pattern(language, EXCUSES[language]).findall(text)}


@cache
def _pattern(language: str, listed: str) -> re.Pattern[str]:
    """Compile a list when it is first asked: most bots speak one language, and rephrasing is off by default."""
    terms = [term.replace("*", r"\w*").replace(" ", r"\s+") for term in listed.split(", ")]
    choice = "|".join(sorted(terms, key=len, reverse=True))
    return re.compile(choice if language in _WITHIN_WORDS else rf"(?<!\w)(?:{choice})(?![\w'])")
