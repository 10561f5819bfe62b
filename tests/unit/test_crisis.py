"""A cry is found in any of the ten languages, and a joke about one mostly is not."""

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.crisis import CRISIS, FILLERS, NOT_MEANT, speaks_of_crisis
from engagement.domain.languages import LANGUAGES

CRIES = {
    "en": """I want to die
I want to kill myself.
sometimes i think i should just end my life
I DON'T WANT TO LIVE ANYMORE
i dont want to live anymore
I don’t want to be here any more
I've been feeling suicidal lately
thinking about suicide again
I keep hurting myself
I hurt myself when I'm sad
I don't want to live at all
sometimes I don't want to live on
I want to hurt myself
i cut my wrists last night
everyone would be better off without me
I wish I was dead
self-harm
I just want to really die
k\u200bill mys\u200belf
I don't want to live in this world
I can't live in London any more, I want to die
kms
i want to kms
gonna kms tonight
i wanna be dead
I wish I wasn't alive
life isn't worth living
life isnt worth living
no point in living
I don't wanna be here anymore
I should just die
I hope I die
I overdosed
i overdosed on pills
i want to off myself
I'd rather die
id rather die
I'd rather die than see another day""",
    "es": """me quiero morir
Quiero morirme
ya no quiero vivir
No quiero seguir viviendo
pienso en matarme todos los días
quiero quitarme la vida
he pensado en el suicidio
tengo ganas de morir
Me corto los brazos cuando estoy mal
no quiero vivir en este mundo
ya no quiero existir
estaría mejor muerta
estaría mejor muerto
me corté
anoche me corte otra vez
ya no kiero vivir""",
    "pt": """quero morrer
não quero mais viver
nao quero mais viver
tenho vontade de me matar
vou me matar hoje
quero me matar de uma vez
penso em suicídio
quero acabar com a minha vida
tô cansada de viver
eu me corto
n quero mais viver
não quero mais existir
me cortei
me cortei o braço ontem
prefiro estar morto
prefiro estar morta""",
    "ru": """хочу умереть
Хочется просто умереть
Я НЕ ХОЧУ ЖИТЬ
я больше не хочу жить
думаю покончить с собой
Хочу убить себя.
мысли о самоубийстве
суицидальные мысли
я режу себя
я устала жить
не хочу жить в этом мире
не хочу жить на свете
не вижу смысла жить
я больше не могу жить
надоело жить
порезала себя
порезал себя
я режусь
режусь в ванной
хочу прыгнуть с крыши
хочу уснуть и не проснуться""",
    "de": """ich will sterben
Ich will einfach nur noch sterben
Ich möchte nicht mehr leben
ich moechte sterben
ich bringe mich um
ich will mich umbringen
ich denke an Selbstmord
Ich habe Suizidgedanken
ich ritze mich
Ich nehme mir das Leben
ich wünschte, ich wäre tot
will nicht leben
ich möchte nicht mehr aufwachen
es wäre besser wenn ich tot wäre
Es wäre besser, wenn ich tot wäre
wünschte ich wäre nie geboren
ich ritze
ich ritze wieder
ich ritze mir den Arm auf""",
    "fr": """je veux mourir
je veux juste mourir
j’ai envie de mourir
jai envie de mourir
je ne veux plus vivre
j'ai envie d'en finir
J'ai envie d’en finir avec la vie
je pense à me suicider
je vais me tuer
mettre fin a mes jours
je me scarifie
l'envie de mourir ne me quitte pas
je veux crever
je veux crever, les gens me détestent
jveux mourir
je ne veux plus être en vie
je voudrais ne plus exister""",
    "id": """aku ingin mati
aku mau mati aja
saya ingin bunuh diri
pengen bunuh diri rasanya
gue mau mati
aku ingin mengakhiri hidupku
aku tidak ingin hidup lagi
aku suka menyakiti diri sendiri
capek hidup""",
    "tr": """ölmek istiyorum
ÖLMEK İSTİYORUM
olmek istiyorum
kendimi öldürmek istiyorum
intihar etmeyi düşünüyorum
artık yaşamak istemiyorum
bu dünyada yaşamak istemiyorum
hayatıma son vermek istiyorum
kendime zarar veriyorum
bileklerimi kestim
ben de yaşamak istemiyorum
KENDIMI ÖLDÜRECEĞIM
uyanmak istemiyorum
yarın uyanmak istemiyorum
kendimi asacam""",
    "ar": """أريد أن أموت
اريد ان اموت
أُريدُ أنْ أموتَ
أفكر في الانتحار
سأقتل نفسي
أريد أن أقتل نفسي
بدي اموت
عايزة اموت
لا أريد أن أعيش
أريد إنهاء حياتي
أؤذي نفسي
ما عاد بدي عيش
جرحت نفسي""",
    "hi": """मैं मरना चाहता हूँ
मैं मरना चाहती हूं
मुझे आत्महत्या के ख़याल आते हैं
ख़ुदकुशी करने का मन है
मैं जीना नहीं चाहती
मुझे अब जीना नहीं है
मैं अपनी जान दे दूँगा
मैं खुद को नुकसान पहुँचाता हूँ
main marna chahta hoon
मैं अपनी ज़िंदगी ख़त्म करना चाहती हूँ
mujhe jeena nahi hai
mujhe mar jana hai
apni jaan le lunga
apni jaan le lungi
मैं मर जाऊंगा
मैं मर जाऊँगी
फांसी लगा लूँगा""",
}
HARMLESS = """I'm dying of laughter
this heat kills me
Suicide Squad is a great film
I want to die laughing
I nearly killed myself laughing
I don't want to live in Paris
I hurt myself playing football
I cut myself a slice of cake
my phone died
killing time at the station
the deadline is killing me
that joke killed me
I would kill for a coffee
a suicide bomber in the news
end my day
quiero morirme de risa
este calor me mata
ya no quiero vivir aquí
mi madre me va a matar
Escuadrón Suicida
me muero de hambre
quase morri de rir
vou me matar de estudar
quero morrer de rir
minha mãe vai me matar
não quero viver em São Paulo
умираю от смеха
чуть не умерла со смеху
хочу умереть от смеха
не хочу жить в Москве
Отряд самоубийц
это меня убивает
ich sterbe vor Lachen
der Lärm bringt mich um
Selbstmordattentat in den Nachrichten
meine Großeltern leben nicht mehr
bring mich um acht nach Hause
je meurs de rire
je suis mort de fatigue
je ne veux plus vivre à Paris
je veux en finir avec ce projet
ma mère va me tuer
HP-ku mau mati
mati ketawa
listrik mati lagi
bom bunuh diri
aku tidak mau hidup di kota besar
gülmekten öldüm
intihar saldırısı haberi
Ankarada yaşamak istemiyorum
kendimi kesinlikle iyi hissediyorum
ليتني متزوج
I take my life seriously
açlıktan ölüyorum
متّ من الضحك
أموت فيك
تفجير انتحاري
we walked 10 kms
it is 150 kms away
the AWS KMS key
I ran a few kms
I took it off myself
I overdosed on chocolate
I'd rather die than eat that
I hope I die laughing
me corté el pelo
me corte el pelo ayer
ojalá no se me corte la llamada
me cortei fazendo a barba
режусь в доту
больше не могу жить в Москве
ich ritze ein Herz in den Baum
je veux crever un ballon
sabah erken uyanmak istemiyorum
ما عاد بدي عيش هون
गर्मी से मैं मर जाऊंगा
हँसते हँसते मर गया
गर्मी से मर रहा हूँ
बहुत मज़ा आया
hello, how are you?""".splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cry_is_found_in_every_language(language: str) -> None:
    """R103: words of crisis are handed to a human being; none may be missed for its spelling."""
    assert [cry for cry in CRIES[language].splitlines() if not speaks_of_crisis(cry)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_found_anywhere_in_a_text(language: str) -> None:
    """R103: between other words, in lines of its own, among emoji."""
    for cry in CRIES[language].splitlines():
        assert speaks_of_crisis(f"hello 🙂\n{cry}… 😔")
        assert speaks_of_crisis("word " * 1_000 + cry.upper() + " word" * 1_000)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_joke_or_a_title_is_none(text: str) -> None:
    """R103: who is alarmed for nothing too often looks no more."""
    assert not speaks_of_crisis(text)


def test_a_joke_does_not_hide_a_cry() -> None:
    """R103: only the joke itself is passed over."""
    assert speaks_of_crisis("We saw Suicide Squad. I want to die.")
    assert speaks_of_crisis("You make me die laughing, but I want to kill myself")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_listed_is_found(language: str) -> None:
    """R103: and each is written once."""
    phrases = CRISIS[language].split(", ")
    assert sorted(phrases) == sorted(set(phrases))
    assert [phrase for phrase in phrases if not speaks_of_crisis(phrase.removesuffix("*"))] == []
    assert all(phrase == phrase.strip() and phrase.removesuffix("*").strip() for phrase in phrases)


def test_each_language_has_its_lists() -> None:
    """R103."""
    assert set(CRISIS) == set(FILLERS) == set(NOT_MEANT) == set(LANGUAGES)


def test_a_text_without_a_cry_costs_little() -> None:
    """R103: it is asked of every message."""
    text = (
        "We walked along the river today, and it was lovely; tomorrow I want to cook something new for my friends. " * 2
    )
    assert min(timeit.repeat(lambda: speaks_of_crisis(text[:200]), number=100, repeat=5)) / 100 < 0.000_5


@given(text=st.text(max_size=300))
def test_any_text_is_judged(text: str) -> None:
    """R103: anything may arrive."""
    speaks_of_crisis(text)
