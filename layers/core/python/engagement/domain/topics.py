"""What a message is about: a closed catalogue of everyday topics, found by whole English words and their plurals.

Closed, so that a pattern stays small and a prompt or a report can never repeat a user's own words.
"""

from itertools import pairwise

from engagement.domain.words import without_links, words

CATALOGUE = {
    "art": "art, artist, painting, paint, drawing, draw, sketch, sculpture, museum, gallery, photography",
    "books": "book, novel, reading, library, author, poem, poetry, bookshop, kindle",
    "family": "family, mom, mum, mother, dad, father, parent, sister, brother, daughter, kid, children, baby, grandma",
    "fashion": "fashion, clothes, dress, shoes, outfit, jacket, jeans, makeup, hairstyle",
    "feelings": "happy, sad, lonely, anxious, anxiety, stressed, stress, depressed, angry, worried, bored, excited",
    "fitness": "gym, workout, training, running, jogging, yoga, fitness, exercise, marathon, pushups",
    "food": "food, dinner, lunch, breakfast, recipe, cook, cooking, pizza, coffee, cake, vegan, hungry, eat",
    "games": "game, gaming, chess, playstation, xbox, nintendo, minecraft, puzzle, quiz, esports",
    "health": "health, doctor, hospital, medicine, sick, ill, pain, headache, flu, fever, dentist, therapy, diet",
    "home": "home, house, apartment, flat, kitchen, garden, furniture, cleaning, rent, neighbour, neighbor, moving",
    "languages": "english, spanish, french, german, italian, grammar, vocabulary, translate, translation",
    "machine_learning": "ai, llm, chatgpt, dataset, pytorch, machine learning, deep learning, neural network",
    "money": "money, salary, budget, savings, bank, loan, debt, invoice, tax, taxes, crypto, bitcoin, stock, investing",
    "movies": "movie, film, cinema, netflix, series, episode, actor, actress, trailer",
    "music": "music, song, album, band, concert, guitar, piano, playlist, spotify, singer, lyrics",
    "nature": "nature, forest, mountain, hiking, hike, beach, sea, ocean, river, flower, tree, bird",
    "news": "news, politics, election, government, president, war, economy, headline",
    "pets": "pet, dog, cat, puppy, kitten, hamster, vet",
    "programming": "code, coding, programming, developer, python, javascript, java, bug, github, software, database",
    "relationships": "boyfriend, girlfriend, husband, wife, partner, dating, wedding, marriage, friend, breakup",
    "shopping": "shopping, shop, store, order, delivery, discount, sale, price, buy, bought, refund, amazon",
    "sleep": "sleep, sleeping, insomnia, nap, dream, nightmare, bed, asleep, woke up",
    "sports": "football, soccer, basketball, tennis, cricket, baseball, hockey, match, olympics, cycling, swimming",
    "study": "study, studying, school, university, college, exam, homework, teacher, lesson, course, class, student",
    "technology": "phone, laptop, computer, iphone, android, app, gadget, tablet, wifi, internet, camera, robot",
    "travel": "travel, trip, flight, hotel, airport, vacation, holiday, passport, visa, tour, abroad, train",
    "weather": "weather, rain, raining, snow, snowing, sunny, storm, heatwave, cloudy, forecast, wind",
    "work": "work, job, boss, office, meeting, project, deadline, career, interview, colleague",
}
"""Topic -> its words and two-word phrases."""

PRIVATE_TOPICS = frozenset({"feelings", "health", "money", "news", "relationships"})
"""Feelings, health, money trouble, politics and faith (`news`), love: never brought up by us, for who talked about them
did not ask to be reminded; and stored only with consent (R102)."""

TOPIC_OF = {term: topic for topic, terms in CATALOGUE.items() for term in terms.split(", ")}


def topics(text: str) -> tuple[str, ...]:
    """Return the topics a text touches, sorted, each once; links say nothing."""
    found = words(without_links(text))
    singular = (word.removesuffix("s") for word in found)
    terms = {*found, *singular, *(f"{first} {second}" for first, second in pairwise(found))}
    return tuple(sorted({TOPIC_OF[term] for term in terms & TOPIC_OF.keys()}))
