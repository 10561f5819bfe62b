"""Words of crisis: somebody speaks of suicide, of wanting to die, of hurting themselves.

R103: such a message never gets a cheerful or automated reply; a human being is told at once. So a real cry must be
found, and a false alarm costs somebody a glance: where a phrase may be either, it is listed. Jokes and film titles that
people do write ("die laughing", "Suicide Squad") are taken out first. A closed list of phrases, no judge of meaning:
what is said in other words is not found, and nothing may be built on its silence.
"""

import re
from functools import cache

from engagement.domain.plain_words import plain_words

CRISIS = {
    "en": "want to end everything, kill myself, kill my self, killing myself, killed myself, end my life,"
    " ending my life, end my own life, ending my own life, take my life, take my own life, taking my own life,"
    " end it all, ending it all, want to die, want to be dead, wanna die, wanted to die, wanting to die,"
    " wish i was dead, wish i were dead, wish i could die, wish i'd never been born, wish i was never born,"
    " better off dead, better off without me, rather be dead, suicid*, unalive myself, unaliving myself,"
    " don't want to live, do not want to live, don't wanna live, no longer want to live, not want to live,"
    " never wake up again, don't want to wake up anymore, don't want to be alive, do not want to be alive,"
    " don't wanna be alive, don't want to exist, do not want to exist, don't want to be here anymore,"
    " don't want to be here any more, no reason to live, nothing to live for, nothing left to live for,"
    " not worth living, can't go on living, tired of living, tired of being alive, hate being alive, hurt myself,"
    " hurting myself, harm myself, harming myself, self harm*, selfharm*, want to cut myself, wanna cut myself,"
    " cutting myself, cut myself on purpose, cut myself again, cut myself to, cut my wrist*, slit my wrist*,"
    " cutting my wrist*, hang myself, hanging myself, shoot myself, overdose on my, take all my pills,"
    " took all my pills, jump off a bridge, jump in front of a train, kms, kmsing, wanna be dead, wish i wasn't alive,"
    " wish i weren't alive, wish i was not alive, isn't worth living, no point in living, no point living,"
    " don't wanna be here anymore, don't wanna be here any more, i should die, i hope i die, overdosed, off myself,"
    " offing myself, i'd rather die, i would rather die",
    "es": "suicid*, quiero morir, quiero morirme, me quiero morir, quisiera morir, quisiera morirme, deseo morir,"
    " ganas de morir, ganas de morirme, prefiero morir, prefiero morirme, quiero estar muerto, quiero estar muerta,"
    " quisiera estar muerto, quisiera estar muerta, ojalá me muera, ojalá estuviera muerto, ojalá estuviera muerta,"
    " quiero matarme, me quiero matar, voy a matarme, me voy a matar, pienso en matarme, pensando en matarme,"
    " pienso matarme, pensado en matarme, ganas de matarme, intenté matarme, intentado matarme, quitarme la vida,"
    " quitar la vida, acabar con mi vida, terminar con mi vida, poner fin a mi vida, acabar con todo, no quiero vivir,"
    " no quiero seguir viviendo, no quiero seguir vivo, no quiero seguir viva, sin ganas de vivir,"
    " no tengo ganas de vivir, cansado de vivir, cansada de vivir, no vale la pena vivir, quiero hacerme daño,"
    " ganas de hacerme daño, hacerme daño a mí, me hago daño, me quiero hacer daño, autolesi*, me autolesion*,"
    " cortarme las venas, cortarme los brazos, cortarme las muñecas, me corto las venas, me corto los brazos,"
    " quiero cortarme, ganas de cortarme, quiero ahorcarme, me voy a ahorcar, voy a ahorcarme, no quiero existir,"
    " quiero dejar de existir, estaría mejor muerto, estaría mejor muerta, me corté, no kiero vivir, kiero morir,"
    " kiero morirme, kiero matarme, me kiero matar",
    "pt": "suicid*, quero morrer, queria morrer, eu queria morrer, vontade de morrer, prefiro morrer,"
    " queria estar morto, queria estar morta, quero estar morto, quero estar morta, quero me matar, queria me matar,"
    " vou me matar, quero matar-me, vou matar-me, penso em me matar, pensando em me matar, pensei em me matar,"
    " vontade de me matar, tentei me matar, tirar minha vida, tirar a minha vida, tirar minha própria vida,"
    " tirar a minha própria vida, acabar com minha vida, acabar com a minha vida, acabar com tudo,"
    " pôr fim à minha vida, não quero mais viver, não quero viver, não quero continuar vivendo, não quero estar vivo,"
    " não quero estar viva, sem vontade de viver, cansei de viver, cansado de viver, cansada de viver,"
    " não vale a pena viver, não aguento mais viver, quero me machucar, vontade de me machucar,"
    " me machuco de propósito, automutil*, me automutil*, quero me cortar, vontade de me cortar, me corto,"
    " cortar os pulsos, cortar meus pulsos, me enforcar, n quero mais viver, n quero viver, não quero mais existir,"
    " não quero existir, n quero mais existir, me cortei, prefiro estar morto, prefiro estar morta,"
    " preferia estar morto, preferia estar morta",
    "ru": "хочу умереть, хочется умереть, хотел бы умереть, хотела бы умереть, умереть хочу, умереть хочется,"
    " хочу сдохнуть, хочется сдохнуть, сдохнуть хочу, лучше бы я умер, лучше бы я умерла, лучше умереть,"
    " хочу быть мертвым, хочу быть мертвой, убить себя, убью себя, себя убить, себя убью, убиваю себя,"
    " убить самого себя, покончить с собой, покончу с собой, с собой покончить, с собой покончу, покончить жизнь,"
    " покончить с жизнью, покончу с жизнью, свести счеты с жизнью, уйти из жизни, лишить себя жизни,"
    " наложить на себя руки, наложу на себя руки, суицид*, самоубийств*, самоубиться, самоубьюсь, выпилиться, выпилюсь,"
    " повеситься, повешусь, не хочу жить, не хочу больше жить, жить не хочу, жить больше не хочу, не хочется жить,"
    " жить не хочется, нет смысла жить, незачем жить, нет сил жить, устал жить, устала жить, вскрыть вены, вскрою вены,"
    " вскрыть себе вены, режу вены, резать вены, порезать вены, порежу вены, режу себя, резать себя, порезать себя,"
    " порежу себя, себя режу, себя резать, режу руки, причинить себе вред, причиняю себе вред, причинить себе боль,"
    " причиняю себе боль, навредить себе, навредить самому себе, самоповрежд*, селфхарм*, спрыгнуть с крыши,"
    " спрыгну с крыши, не вижу смысла жить, не вижу смысла в жизни, больше не могу жить, не могу больше жить,"
    " надоело жить, порезала себя, порезал себя, себя порезала, себя порезал, режусь, прыгнуть с крыши, прыгну с крыши,"
    " уснуть и не проснуться, заснуть и не проснуться",
    "de": "suizid*, selbstmord*, selbsttötung*, freitod, mich umbringen, mich umzubringen, ich bring mich um,"
    " ich bringe mich um, bringe ich mich um, bring ich mich um, mich umgebracht, mich töten, mich zu töten,"
    " mich selbst töten, mir das leben nehmen, mir das leben zu nehmen, nehme mir das leben, nehm mir das leben,"
    " mein leben beenden, meinem leben ein ende, beende mein leben, allem ein ende setzen, will sterben, sterben will,"
    " möchte sterben, moechte sterben, möchte am liebsten sterben, sterben wollen, zu sterben wünsch*, will tot sein,"
    " möchte tot sein, tot sein will, wäre ich tot, ich wäre tot, wäre lieber tot, wäre gern tot, wäre gerne tot,"
    " wär ich tot, will nicht mehr leben, möchte nicht mehr leben, mag nicht mehr leben, kann nicht mehr leben,"
    " nicht mehr leben will, nicht mehr leben möchte, nicht weiterleben, nicht mehr weiterleben, nicht länger leben,"
    " nicht mehr am leben sein, keine lust mehr zu leben, keinen bock mehr zu leben, kein bock mehr zu leben,"
    " keinen grund zu leben, lebensmüde, mir etwas antun, mir was antun, mir etwas anzutun, mir was anzutun,"
    " tu mir was an, tue mir etwas an, selbstverletz*, mich verletzen, mich selbst verletz*, mich selbst zu verletzen,"
    " verletze mich selbst, mir selbst wehtun, mir selbst weh tun, mich ritzen, mich zu ritzen, ritze mich, ritz mich,"
    " mich geritzt, pulsadern, mich erhängen, mich aufhängen, vor den zug springen, vor den zug werfen, vor einen zug,"
    " will nicht leben, möchte nicht leben, möchte nicht mehr aufwachen, will nicht mehr aufwachen,"
    " nie wieder aufwachen, nie mehr aufwachen, wenn ich tot wäre, ich wäre nie geboren, wäre ich nie geboren,"
    " ich ritze",
    "fr": "suicid*, veux mourir, envie de mourir, voudrais mourir, aimerais mourir, souhaite mourir, préfère mourir,"
    " préférerais mourir, voudrais être mort, voudrais être morte, aimerais être mort, aimerais être morte,"
    " veux plus vivre, veux pas vivre, plus envie de vivre, pas envie de vivre, marre de vivre, fatigué de vivre,"
    " fatiguée de vivre, plus de raison de vivre, aucune raison de vivre, plus la force de vivre, en finir avec la vie,"
    " en finir avec ma vie, envie d'en finir, veux en finir, vais en finir, pense à en finir, mettre fin à mes jours,"
    " mettre fin à ma vie, m'ôter la vie, veux me tuer, vais me tuer, envie de me tuer, pense à me tuer,"
    " pensé à me tuer, essayé de me tuer, me foutre en l'air, veux me pendre, vais me pendre, envie de me pendre,"
    " scarifi*, me scarifi*, automutil*, me mutiler, envie de me faire du mal, veux me faire du mal,"
    " me faire du mal à moi, je me fais du mal, vais me faire du mal, m'ouvrir les veines, me tailler les veines,"
    " me trancher les veines, me couper les veines, envie de me couper, sauter d'un pont, jeter sous un train,"
    " jeter sous le train, veux crever, envie de crever, jveux mourir, jveux crever, jveux plus vivre, jveux pas vivre,"
    " jveux en finir, veux plus être en vie, veux pas être en vie, jveux plus être en vie, ne plus exister,"
    " veux plus exister",
    "id": "bunuh diri, membunuh diri, membunuh diriku, bundir, ingin mati, pengen mati, pengin mati, pingin mati,"
    " kepengen mati, aku mau mati, saya mau mati, gue mau mati, gw mau mati, mau mati aja, mau mati saja,"
    " lebih baik mati, lebih baik aku mati, lebih baik saya mati, mending mati, mendingan mati, mending aku mati,"
    " mengakhiri hidup*, akhiri hidup*, mengakhiri nyawa*, menghabisi nyawaku, menghabisi diri*, tidak ingin hidup,"
    " tidak mau hidup, nggak mau hidup, gak mau hidup, ga mau hidup, enggak mau hidup, nggak pengen hidup,"
    " gak pengen hidup, ga pengen hidup, capek hidup, cape hidup, lelah hidup, bosan hidup, tak ingin hidup,"
    " menyakiti diri*, nyakitin diri*, melukai diri*, sayat tangan, menyayat tangan*, nyayat tangan, menyilet tangan*,"
    " silet tangan, potong nadi, memotong nadi, gantung diri, self harm*, selfharm*",
    "tr": "intihar*, kendimi öldür*, kendimi asmak, kendimi asacağım, kendimi asıcam, kendimi as, canıma kıy*,"
    " hayatıma son ver*, yaşamıma son ver*, hayatımı sonlandır*, hayatımı bitirmek*, ölmek istiyorum, ölmek istiyom,"
    " ölmek isterdim, ölmek istedim, ölmeyi istiyorum, ölmeyi düşünüyorum, ölmeyi diliyorum, keşke ölsem, ölsem keşke,"
    " keşke ölseydim, keşke ölmüş olsam, ölsem daha iyi, yaşamak istemiyorum, yaşamak istemiyom, yaşamaktan bıktım,"
    " yaşamaktan yoruldum, yaşamaya değmez, yaşama isteğim yok, yaşamak için bir nedenim yok, kendime zarar ver*,"
    " kendimi kesmek*, kendimi kesiyorum, kendimi kestim, kendimi kesece*, kollarımı kesiyorum, kollarımı kestim,"
    " kolumu kesiyorum, kolumu kestim, bileklerimi kes*, bileğimi kes*, kendimi yarala*, kendimi jiletle*,"
    " köprüden atla*, kendimi köprüden at*, uyanmak istemiyorum, uyanmak istemiyom, kendimi asacam, kendimi asıcak*",
    "ar": "انتحار, أنتحر, سأنتحر, انتحر, حنتحر, هنتحر, أقتل نفسي, اقتل نفسي, قتل نفسي, أقتل حالي, اقتل حالي, موت حالي,"
    " أنهي حياتي, انهي حياتي, إنهاء حياتي, إنهاء حياتى, أريد أن أموت, أريد الموت, أود أن أموت, أرغب في الموت,"
    " أتمنى الموت, أتمنى أن أموت, أتمنى لو أموت, ليتني أموت, ليتني مت, يا ريتني أموت, بدي أموت, بدي موت, عايز أموت,"
    " عايزة أموت, عاوز أموت, عاوزة أموت, أبغى أموت, أبي أموت, ودي أموت, نفسي أموت, لا أريد أن أعيش, لا أريد العيش,"
    " لا أرغب في الحياة, لا أريد الحياة, ما بدي أعيش, ما بدي عيش, مش عايز أعيش, مش عايزة أعيش, مش عاوز أعيش,"
    " ما أبغى أعيش, ما أبي أعيش, تعبت من العيش, أؤذي نفسي, أأذي نفسي, أذية نفسي, أذي نفسي, إيذاء نفسي, إيذاء النفس,"
    " أجرح نفسي, جرح نفسي, أجرح يدي, أقطع شراييني, قطع شراييني, أقطع عروقي, أشنق نفسي, شنق نفسي, ما عاد بدي عيش,"
    " ما عاد بدي أعيش, ما عدت أريد أن أعيش, جرحت نفسي",
    "hi": "आत्महत्या, खुदकुशी, ख़ुदकुशी, खुदखुशी, सुसाइड, मरना चाहता हूँ, मरना चाहती हूँ, मर जाना चाहता, मर जाना चाहती,"
    " मुझे मरना है, मरना है मुझे, मुझे मर जाना, मरने का मन, मरने की इच्छा, काश मैं मर, मर जाऊँ तो अच्छा, इससे अच्छा मर,"
    " जीना नहीं चाहता, जीना नहीं चाहती, जीना नही चाहता, जीना नही चाहती, नहीं जीना चाहता, नहीं जीना चाहती, और नहीं जीना,"
    " मुझे नहीं जीना, मुझे जीना नहीं, मुझे अब नहीं जीना, अब जीना नहीं, जीने का मन नहीं, जीने की इच्छा नहीं,"
    " जीने का कोई मतलब नहीं, जीने का कोई फायदा नहीं, खुद को मार, खुद को खत्म, अपने आप को मार, अपने आप को खत्म,"
    " अपनी जान दे, अपनी जान ले, जान देना चाहता, जान देना चाहती, जान दे दूँ, अपनी जिंदगी खत्म, जिंदगी खत्म करना,"
    " जीवन खत्म करना, अपना जीवन खत्म, अपना जीवन समाप्त, जीवन समाप्त करना, फांसी लगा, फाँसी लगा, खुद को नुकसान,"
    " खुद को चोट, खुद को काट, अपने आप को चोट, अपने आप को नुकसान, अपने आप को काट, नस काट, कलाई काट, marna chahta h*,"
    " marna chahti h*, mar jana chahta, mar jana chahti, mujhe marna hai, jeena nahi chaht*, jina nahi chaht*,"
    " jeene ka man nahi, jeene ka mann nahi, khudkushi, khudkhushi, atmahatya, aatmahatya, khud ko maar*, apni jaan de,"
    " मैं मर जाऊंगा, मैं मर जाऊंगी, मैं मर जाउंगा, मैं मर जाउंगी, mujhe jeena nahi, mujhe jina nahi, mujhe nahi jeena,"
    " mujhe nahi jina, mujhe ab jeena nahi, mujhe mar jana, mar jana hai, apni jaan le lunga, apni jaan le lungi,"
    " apni jaan le lu",
}
"""By language: whole words, or where a star follows the beginning of one; in Arabic and Hindi whatever holds them."""

FILLERS = {
    "en": "just, really, honestly, literally, simply, actually, fucking",
    "es": "simplemente, realmente, solamente",
    "pt": "só, apenas, realmente, simplesmente",
    "ru": "просто, реально, правда",
    "de": "nur, noch, einfach, wirklich, echt",
    "fr": "juste, vraiment, seulement, simplement",
    "id": "hanya, cuma, beneran",
    "tr": "sadece, gerçekten, cidden",
    "ar": "فقط, حقا",
    "hi": "बस, सिर्फ़",
}
"""By language: words that change nothing where they stand in the middle of a phrase: "I want to just die"."""

NOT_MEANT = {
    "en": r"die (?:of|from) (?:laughter|laughing|embarrassment|cringe|cuteness|boredom), die laughing,"
    r" die on (?:this|that) hill, (?:kill|killing|killed|hurt|hurting) myself laughing, suicide squad,"
    r" suicide (?:bomb\w*|vests?|doors?|attack\w*), take my life (?:seriously|back), end it all well,"
    r" hurt myself (?:playing|running|skiing|cooking|climbing|training|at (?:work|school|the gym)|by accident),"
    r" live (?:here|there|near|close|abroad|alone|at(?! all)|on (?:my own|campus)),"
    r" live in(?! (?:this|that|such|pain|fear|hell|misery|agony|a world|my body|my head|my skin)),"
    r" live with (?:my (?:parents|family|mother|mom|mum|father|dad|brother|sister|ex)|him|her|them|roommates?),"
    r" (?:\d+k?|one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|fifty|hundred|thousand) kms,"
    r" (?:few|many|some|more|several|couple of|hundreds of|thousands of|in|per|aws|los|muchos|des|les) kms,"
    r" kms (?:away|per|h|hr|an hour|por|keys?),"
    r" (?:it|them|that|this|\w+ed|show|showing|dry|drying|dust|dusting|wash|washing|brush|brushing) off myself,"
    r" overdosed on (?:\w+ )?(?:chocolate|coffee|caffeine|sugar|cake|pizza|candy|sweets|cuteness|netflix|memes),"
    r" rather die than (?:eat|wear|cook|drink|listen to)",
    "es": r"(?:morir|morirme) de (?:risa|calor|sueño|hambre|amor), (?:escuadrón|atentado|terrorista)s? suicidas?,"
    r" vivir (?:aquí|allí|ahí|juntos), vivir en(?! (?:este mundo|este cuerpo|esta|el dolor|el infierno)),"
    r" vivir con (?:ella|ellos|mis padres|mi (?:madre|padre|familia|ex)), acabar con todo (?:el|la|lo),"
    r" me corté (?:un poco )?(?:el pelo|el cabello|las uñas|la barba|las puntas|el flequillo|la melena),"
    r" se me corte, me corte (?:la (?:luz|llamada|línea|señal)|el (?:agua|gas|internet)|internet),"
    r" me corté (?:el|un) dedo (?:cocinando|con (?:un |el )?papel)",
    "pt": r"morrer de (?:rir|calor|sono|fome|amores), me matar de (?:tanto|estudar|trabalhar|rir|comer),"
    r" (?:esquadrão|atentado|homem)s? suicidas?, viver (?:aqui|ali|lá), viver (?:em|no|na)(?! (?:dor|mundo)),"
    r" viver com (?:ele|ela|eles|meus pais|minha (?:mãe|família|ex)), me corto o,"
    r" me cortei (?:o cabelo|cozinhando|fazendo a barba|com (?:um |o )?papel)",
    "ru": r"умереть (?:от|со) (?:смеха|смеху|хохота|скуки|жары), отряд самоубийц\w*, жить (?:тут|здесь|там|вместе|у),"
    r" жить в(?! (?:этом мире|таком|такой|боли|аду)), жить на(?! (?:свете|этом свете|этой земле)),"
    r" жить с (?:ним|ней|ними|родителями|тобой|вами),"
    r" режусь в (?:карты|доту|дотку|кс|танки|игры|игру|покер|домино|майнкрафт|приставку)",
    "de": r"(?:selbstmord|suizid)(?:attent|komm|bomb|ansch|trupp)\w*,"
    r" ich ritze (?:ein |einen |eine )?\w+ in (?:den baum|die rinde|das holz|holz|ton|teig|den teig)",
    "fr": r"mourir de (?:rire|chaud|faim|soif|honte|sommeil), attentats? suicides?,"
    r" vivre (?:ici|là|chez|à|avec (?:lui|elle|eux|mes parents|ma (?:mère|famille|femme)|mon (?:père|mari|ex))),"
    r" vivre en(?! (?:souffrant|enfer|souffrance)), vivre dans(?! (?:ce monde|cette|la douleur)),"
    r" en finir avec(?! (?:la vie|ma vie|cette vie|tout)),"
    r" crever (?:de (?:rire|chaud|faim|soif)|l (?:abcès|écran)|(?:le|un) (?:plafond|pneu|ballon)|les pneus)",
    "id": r"bom bunuh diri, (?:mau|ingin|pengen) hidup (?:di(?! dunia)|sama (?:dia|mereka)|bareng),"
    r" (?:capek|cape|lelah|bosan) hidup di(?! dunia)",
    "tr": r"intihar (?:saldır|bomba|timi|komando|mangası)\w*,"
    r" (?!dünyada|şekilde|halde|hayatta|acıda)\w+[dt][ae] yaşamak istemiyo\w+,"
    r" (?:erken|rüyadan|rüyamdan|uykudan) uyanmak istemiyo\w+",
    "ar": r"(?:ال)?(?:هجوم|تفجير|عملية|حزام|هجمات|عمليات) (?:ال)?انتحاري\w*, (?:فرقة|فريق) (?:ال)?انتحار\w*,"
    r" أموت من (?:الضحك|الحر|الجوع), ليتني مت\w+,"
    r" ما عاد بدي أ?عيش (?:هون|هنا|معه|معها)",
    "hi": "सुसाइड स्क्वाड, सुसाइड स्क्वॉड,"
    r" (?:हँसते|हँसी से|गर्मी से|भूख से|ठंड से) (?:तो )?मैं मर (?:जाऊंगा|जाऊंगी|जाउंगा|जाउंगी)",
}
"""By language: patterns of what holds such words and means something else; taken out of a text before it is judged."""

_WITHIN_WORDS = frozenset({"ar", "hi"})
"""Arabic writes articles and prepositions onto the word; Hindi's lists hold stems; in Latin letters neither does."""
_RUNNING_ON = re.compile("[\u0600-\u06ff\u0900-\u097f]")
"""Their letters."""


def speaks_of_crisis(text: str) -> bool:
    """Return whether a text speaks of suicide, of wanting to die or of hurting oneself, in any of our languages.

    The text's own language decides, not that of the reader's app, so all lists are asked. A text that holds none, as
    nearly all do, is read once and costs some 40 us per 200 characters; only one that does is looked at for jokes.

    Args:
        text: as it was typed, of any length; the work is linear in it.
    """
    said = _spoken(text)
    if not _holds_any(said):
        return False
    return _holds_any(_not_meant().sub(" . ", said))


def _spoken(text: str) -> str:
    """Return the words of a text but the fillers, a space on either side of each; "don't" is two, as in "l'envie"."""
    return f" {_without_fillers(plain_words(text).replace("'", ' '))} "


def _without_fillers(words: str) -> str:
    return " ".join([word for word in words.split() if word not in _FILLERS])


def _holds_any(said: str) -> bool:
    """Return whether words of `_spoken` hold a term; only those are looked for that could be there at all."""
    for word in _BY_FIRST_WORD.keys() & said.split():
        if any(term in said for term in _BY_FIRST_WORD[word]):
            return True
    if any(stem in said for stem in _STEMS):
        return True
    return _RUNNING_ON.search(said) is not None and any(term in said for term in _PARTS)


def _spellings(phrase: str) -> set[str]:
    """Return the ways in which a phrase may stand in `_spoken` words: half the world writes "dont"."""
    words = plain_words(phrase)
    return {_without_fillers(words.replace("'", between)) for between in (" ", "")}


def _sort_terms() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...], tuple[str, ...]]:
    """Return what to look for: terms by their first word, beginnings of words, and what may stand within words."""
    by_first_word: dict[str, list[str]] = {}
    stems, parts = set[str](), set[str]()
    for language, listed in CRISIS.items():
        for phrase in listed.split(", "):
            for spelling in _spellings(phrase):
                first, *rest = spelling.split()
                if language in _WITHIN_WORDS and not phrase.isascii():
                    parts.add(spelling)
                elif phrase.endswith("*") and not rest:
                    stems.add(f" {spelling}")
                else:
                    end = "" if phrase.endswith("*") else " "
                    by_first_word.setdefault(first, []).append(f" {spelling}{end}")
    return {word: tuple(terms) for word, terms in by_first_word.items()}, tuple(sorted(stems)), tuple(sorted(parts))


@cache
def _not_meant() -> re.Pattern[str]:
    """Compile the exceptions when the first is needed: most bots never do."""
    patterns = [pattern for listed in NOT_MEANT.values() for pattern in listed.split(", ")]
    return re.compile("|".join(rf"(?<!\w)(?:{_folded(pattern)})(?!\w)" for pattern in patterns))


def _folded(pattern: str) -> str:
    r"""Return a pattern's letters as `plain_words` has them; its signs stay, and `\w` with them."""
    return re.sub(r"\\?[^\W\d_\u0900-\u097f]+|[\u0900-\u097f]+", _folded_letters, pattern)


def _folded_letters(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("\\") else plain_words(found[0])


_FILLERS = frozenset(plain_words(word) for listed in FILLERS.values() for word in listed.split(", "))
_BY_FIRST_WORD, _STEMS, _PARTS = _sort_terms()
