"""The demo's people: the same seed gives the same world, and they press buttons that are there."""

from datetime import UTC, datetime, timedelta

from engagement.domain.callbacks import Button
from engagement.domain.update import Contact
from infra.local.population import DAYS, Act, Action, Population
from tests.builders import REPLIES

START = datetime(2026, 1, 5, tzinfo=UTC)


def presses(population: Population) -> dict[int, Action]:
    """What each person presses; nobody presses twice."""
    pressed = [act for day in range(DAYS) for act in population.day(day) if act.act is Act.PRESS]
    by_person = {act.user_id: act for act in pressed}
    assert len(by_person) == len(pressed)
    return by_person


def test_two_in_three_of_those_who_agree_to_be_written_to_also_let_the_bot_learn() -> None:
    population = Population(7, START)
    answers = [act.text for act in presses(population).values()]
    agreed = len(answers) - answers.count(Button.CONSENT_NO)

    assert 0.6 < answers.count(Button.CONSENT_BOTH) / agreed < 0.75
    assert presses(population).keys() == {p.user_id for p in population.people.values() if p.consents is not None}


def test_the_same_seed_gives_the_same_presses() -> None:
    def pressed() -> dict[int, tuple[datetime, str]]:
        return {user_id: (act.at, act.text) for user_id, act in presses(Population(7, START)).items()}

    assert pressed() == pressed()


def test_people_press_buttons_of_the_welcome_soon_after_start() -> None:
    welcome = REPLIES.welcome(Contact(7, "Ada", "en"), 7, None)
    data = [button["callback_data"] for row in welcome["reply_markup"]["inline_keyboard"] for button in row]
    offered = {press.button for press in (REPLIES.signer.read(each, 7) for each in data) if press}
    population = Population(7, START)
    started = {act.user_id: act.at for day in range(DAYS) for act in population.day(day) if act.text == "/start"}

    assert (
        {act.text for act in presses(population).values()}
        == offered
        == {
            Button.CONSENT_YES,
            Button.CONSENT_NO,
            Button.CONSENT_BOTH,
        }
    )
    assert all(
        timedelta(0) < act.at - started[user_id] < timedelta(minutes=1) for user_id, act in presses(population).items()
    )
