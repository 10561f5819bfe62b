"""R96: only presses under our own messages count, and only their own user's."""

import random
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.callbacks import (
    PREFIX,
    TYPE_CODES,
    TYPE_OF,
    UNDER_OUTREACH,
    Button,
    Press,
    Signer,
    exposure_ref,
    is_ours,
)
from engagement.domain.interaction import Control, Exposure
from engagement.domain.languages import LANGUAGES
from engagement.domain.outreach import OutreachType
from engagement.domain.replies import QUESTIONS, wording
from tests.builders import NOW

BOT, USER = 7_777_777_777, 7_000_000_001
LARGEST = 2**52 - 1
LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SIGNER = Signer(BOT, lambda: "a key of its own")
users = st.integers(1, LARGEST)


def refs_of(button: Button) -> list[str]:
    """Everything that a button can be about."""
    if button in UNDER_OUTREACH:
        return [exposure_ref(outreach_type, at) for outreach_type in OutreachType for at in (NOW, LAST_SECOND)]
    if button in (Button.TYPE_ON, Button.TYPE_OFF):
        return list(TYPE_CODES.values())
    return ["", *(wording(question, language) for question in QUESTIONS for language in LANGUAGES)]


def meant(button: Button, ref: str) -> Press:
    """What a press is to say."""
    if button in UNDER_OUTREACH:
        outreach_type = TYPE_OF[ref[:2]]
        return Press(button, outreach_type, Exposure(outreach_type, datetime.fromtimestamp(int(ref[2:]), UTC)))
    if button in (Button.TYPE_ON, Button.TYPE_OFF):
        return Press(button, TYPE_OF[ref])
    return Press(button, wording=ref)


@pytest.mark.parametrize("button", Button)
@pytest.mark.parametrize("user_id", [1, USER, LARGEST])
def test_what_a_button_says_is_read_back_and_fits_into_64_bytes(button: Button, user_id: int) -> None:
    """For every button, type and user."""
    signer = Signer(LARGEST, lambda: "k" * 500)
    for ref in refs_of(button):
        data = signer.data(button, user_id, ref)
        assert len(data.encode()) <= 64
        assert signer.read(data, user_id) == meant(button, ref)
        assert is_ours(data)


@given(user_id=users, other=users, button=st.sampled_from(Button), pick=st.randoms(use_true_random=False))
def test_a_press_proves_nothing_for_another_user_bot_or_key(
    user_id: int, other: int, button: Button, pick: random.Random
) -> None:
    """A forwarded message's buttons, another bot's, another deployment's."""
    data = SIGNER.data(button, user_id, pick.choice(refs_of(button)))

    assert (SIGNER.read(data, other) is not None) is (other == user_id)
    assert Signer(BOT + 1, lambda: "a key of its own").read(data, user_id) is None
    assert Signer(BOT, lambda: "another key").read(data, user_id) is None
    assert SIGNER.read(data, user_id) is not None


@pytest.mark.parametrize("button", Button)
def test_one_flipped_character_anywhere_makes_it_nobodys(button: Button) -> None:
    """Another button, another outreach, another second: each has a digest of its own."""
    for ref in refs_of(button)[:2]:
        data = SIGNER.data(button, USER, ref)
        for place, character in enumerate(data):
            for other in {"a", "A", "0", "_", ":", "é", chr(ord(character) ^ 1)} - {character}:
                assert SIGNER.read(data[:place] + other + data[place + 1 :], USER) is None


def test_truncated_empty_and_longer_data_are_nobodys() -> None:
    data = SIGNER.data(Button.CONSENT_YES, USER, wording("ask", "en"))

    assert all(SIGNER.read(data[:length], USER) is None for length in range(len(data)))
    assert all(SIGNER.read(longer, USER) is None for longer in (data + "A", data + "\n", " " + data, data * 2))


def test_five_hundred_texts_made_up_are_nobodys() -> None:
    dice = random.Random(96)
    letters = string.ascii_letters + string.digits + ":-_ \0😀ß"
    codes = [button.value for button in Button]
    for _ in range(500):
        digest = "".join(dice.choices(string.ascii_letters + string.digits + "-_", k=12))
        for text in (
            "".join(dice.choices(letters, k=dice.randrange(65))),
            f"{PREFIX}:{dice.choice(codes)}:{dice.choice(['', 're1795337880', 'mc', 'en123456'])}:{digest}",
        ):
            assert SIGNER.read(text, USER) is None


@given(st.text(max_size=64))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert SIGNER.read(text, USER) is None


@pytest.mark.parametrize(
    ("button", "ref"),
    [("zz", ""), ("g", ""), ("g", "re"), ("g", "xx1795337880"), ("g", "re99999999999999"), ("tn", "xx"), ("n", "rex")],
)
def test_what_a_later_version_signed_is_nobodys(button: str, ref: str) -> None:
    """A rolled-back deployment meets buttons that it does not know."""
    assert SIGNER.read(SIGNER.data(button, USER, ref), USER) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        "outreach:later",
        "outreach:stop",
        "outreach:go:show_progress",
        "learning:yes",
        "learning:no",
        "rewording:yes",
        "rewording:no",
        "rk1:cy::AAAAAAAAAAAA",
        "rk1:",
    ],
)
def test_old_and_forged_data_of_our_form_are_told_apart_from_foreign_ones(data: str) -> None:
    """Whoever presses such a button is told that it does not work any more; it has no other effect."""
    assert is_ours(data)
    assert SIGNER.read(data, USER) is None


@pytest.mark.parametrize(
    "data",
    ["", "consent:yes", "consent:no", "consent:both", "outreach:", "outreach:go:", "learning:maybe", "rk2:cy::A", "7"],
)
def test_data_that_any_bot_may_have_are_foreign(data: str) -> None:
    """`consent:yes` among them: other bots have a button so named."""
    assert not is_ours(data)
    assert SIGNER.read(data, USER) is None


def test_the_key_is_read_for_each_button() -> None:
    """It is cached by who reads it, not here: a failure to read it is loud."""
    asked: list[str] = []

    def key() -> str:
        asked.append("")
        return "key"

    signer = Signer(BOT, key)
    assert asked == []
    assert signer.read(signer.data(Button.GO, USER, exposure_ref(OutreachType.RE_ENGAGEMENT, NOW)), USER)
    assert len(asked) == 2


@pytest.mark.parametrize("button", Button)
def test_each_press_is_kept_as_what_it_is(button: Button) -> None:
    """R91: none of them is something that a user did by themselves."""
    expected = {
        Button.GO: Control.OPENED,
        Button.NOT_NOW: Control.NOT_NOW,
        Button.STOP_TYPE: Control.STOP_TYPE,
        Button.STOP_ALL: Control.STOP_ALL,
        Button.FORGET_YES: Control.FORGET,
    }
    assert Press(button).control is expected.get(button, Control.ANSWER)


def test_codes_are_for_good() -> None:
    """R96: they stand under messages that were sent; another code would be another button."""
    assert {kind.value: code for kind, code in TYPE_CODES.items()} == {
        "milestone_celebration": "mc",
        "re_engagement": "re",
        "personalized_checkin": "pc",
        "feature_suggestion": "fs",
        "mood_support": "ms",
        "topic_follow_up": "tf",
        "achievement_unlock": "au",
    }
    assert len({button.value for button in Button}) == len(Button)
    assert SIGNER.data(Button.NOT_NOW, USER, "re1795337880").startswith("rk1:n:re1795337880:")
